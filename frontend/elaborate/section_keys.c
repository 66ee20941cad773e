// The list of all keys of sections: two tables, and the keys of a train section that are no plain numbers.
#include "section_keys.h"
#include "nearest.h"
#include "text.h"

#include <string.h>

typedef struct KeyRow {
    const char *section, *name;
    KeyForm     form;
    bool        is_argument;                // of optimizer or schedule; overridden as train.NAME
} KeyRow;

static const KeyRow key_row[] = {
#define KEY(section, name, form, what) {section, name, KEY_##form, false},
#include "run_keys.def"
#undef KEY
#define OPTION(call, name, field, fallback, summary) {"train", name, KEY_FREE, sizeof call > 1},
#include "keys.def"
    {"train", "loss", KEY_FREE, false}, {"train", "optimizer", KEY_FREE, false}, {"train", "schedule", KEY_FREE, false},
    {"train", "batch", KEY_FREE, false}, {"train", "grad_accum", KEY_FREE, false}, {"train", "precision", KEY_FREE, false},
    {"train", "groups", KEY_FREE, false}, {"train", "warmup", KEY_FREE, false},
};

static const size_t n_keys = sizeof key_row / sizeof *key_row;

// `batchsize` begins with `batch`, `temp` begins `temperature`.
static bool begins_alike(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b), n = na < nb ? na : nb;
    return n >= 3 && strncmp(a, b, n) == 0;
}

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
    for (size_t i = 0; i < n_keys && !near.best; i++)
        if (strcmp(key_row[i].section, section) == 0 && begins_alike(key_row[i].name, wanted))
            near.best = key_row[i].name;
    *out_near = near.best;
    return false;
}

const char *section_keys_text(Arena *arena, const char *section)
{
    Text list = text_make(arena);
    for (size_t i = 0; i < n_keys; i++)
        if (strcmp(key_row[i].section, section) == 0 && !key_row[i].is_argument)
            text_printf(&list, "%s%s", text_str(&list)[0] ? " " : "", key_row[i].name);
    return text_str(&list);
}

KeyForm section_key_form(const char *section, const char *name)
{
    for (size_t i = 0; i < n_keys; i++)
        if (strcmp(key_row[i].section, section) == 0 && strcmp(key_row[i].name, name) == 0)
            return key_row[i].form;
    return KEY_FREE;
}
