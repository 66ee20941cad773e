// The keys of train, data and generate sections, all in one place: those that the build reads (keys.def and a few more)
// and those that only the run reads (run_keys.def).
#ifndef MIXC_SECTION_KEYS_H
#define MIXC_SECTION_KEYS_H

#include "arena.h"

#include <stdbool.h>
#include <stddef.h>

// Is SECTION.NAME a key? `name` ends after n characters. Else *out_near is the nearest key, without its section, or NULL.
bool section_key_known(Arena *arena, const char *section, const char *name, size_t n, const char **out_near);

// The keys of a section, for a message: names with blanks between, without the arguments of optimizer and schedule.
const char *section_keys_text(Arena *arena, const char *section);

// What a key of run_keys.def takes.
typedef enum KeyForm {
    KEY_FREE,                               // whoever reads it says what is wrong
    KEY_COUNT,                              // a whole number, 0 or more
    KEY_EVERY,                              // a whole number of at least 1, or every(NUMBER, ..)
    KEY_SHARE,                              // a number, 0 or more
} KeyForm;

KeyForm section_key_form(const char *section, const char *name);

#endif
