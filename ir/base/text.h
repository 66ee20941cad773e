// A growing text buffer (used by every printer) and a view of text that somebody else owns.
#ifndef MIXC_TEXT_H
#define MIXC_TEXT_H

#include "arena.h"

#include <stdbool.h>
#include <stdio.h>

typedef struct Text {
    Arena *arena;                           // borrowed; holds `data`
    char  *data;                            // always zero-terminated once anything was written
    size_t n, capacity;
} Text;

typedef struct View {
    const char *data;                       // borrowed, not zero-terminated
    size_t      n;
} View;

Text text_make(Arena *arena);
void text_add(Text *text, const char *s);
void text_add_n(Text *text, const char *s, size_t n);
void text_char(Text *text, char c);
void text_printf(Text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_vprintf(Text *text, const char *format, va_list args);
// Writes `s` as a JSON string, quotes included. Bytes that are not UTF-8 become U+FFFD.
void text_json(Text *text, const char *s);
// Writes the shortest decimal that reads back as the same double; nan, inf, -inf by these names.
void text_double(Text *text, double value);
// The buffer as a C string; "" when nothing was written.
const char *text_str(const Text *text);

#endif
