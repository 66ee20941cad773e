// The list of all keys of sections: two tables, and the keys of a train section that are no plain numbers.
#include "section_keys.h"
#include "nearest.h"

#include <string.h>

typedef struct KeyRow { const char *section, *name; KeyForm form; } KeyRow;

static const KeyRow key_row[] = {
#define KEY(section, name, form, what) {section, name, KEY_##form},
#include "run_keys.def"
#undef KEY
#define OPTION(call, name, field, fallback, summary) {"train", name, KEY_FREE},
#include "keys.def"
    {"train", "loss", KEY_FREE}, {"train", "optimizer", KEY_FREE}, {"train", "schedule", KEY_FREE},
    {"train", "batch", KEY_FREE}, {"train", "grad_accum", KEY_FREE}, {"train", "precision", KEY_FREE},
    {"train", "groups", KEY_FREE}, {"train", "warmup", KEY_FREE},
};

static const size_t n_keys = sizeof key_row / sizeof *key_row;

bool section_key_known(Arena *arena, const char *section, const char *name, size_t n, const char **out_near)
{
    Nearest near = {0};
    const char *wanted = arena_printf(arena, "%.*s", (int)n, name);
    for (size_t i = 0; i < n_keys; i++) {
        if (strcmp(key_row[i].section, section) != 0)
            continue;
        if (strcmp(key_row[i].name, wanted) == 0)
            return true;
        nearest_offer(&near, wanted, key_row[i].name);
    }
    *out_near = near.best;
    return false;
}

KeyForm section_key_form(const char *section, const char *name)
{
    for (size_t i = 0; i < n_keys; i++)
        if (strcmp(key_row[i].section, section) == 0 && strcmp(key_row[i].name, name) == 0)
            return key_row[i].form;
    return KEY_FREE;
}
