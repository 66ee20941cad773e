// What the keys of sections say: unknown names are reported with the nearest known one, and values that only the run
// reads are held against the form that run_keys.def gives them.
#include "build_state.h"
#include "section_keys.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *section_word(SectionKind kind)
{
    return kind == SECTION_TRAIN ? "train" : kind == SECTION_DATA ? "data" : kind == SECTION_GENERATE ? "generate" : NULL;
}

static bool has_model(const Build *b, const char *name)
{
    for (const Item *item = b->ast->items; item; item = item->next)
        if (item->kind == ITEM_LAYER && strcmp(item->layer->name->text, name) == 0)
            return true;
    return false;
}

// `train MODEL on DATA`, `generate MODEL`: the file has the model. The data may come from the command line.
static void check_section_names(Build *b, const Section *s)
{
    if (s->kind != SECTION_DATA && s->name && !has_model(b, s->name->text))
        report(b, s->name->at, "E0608", "the file has no model `%s`", s->name->text);
}

void check_section_keys(Build *b)
{
    for (const Item *item = b->ast->items; item; item = item->next) {
        const char *word = item->kind == ITEM_SECTION ? section_word(item->section->kind) : NULL, *near = NULL;
        if (word)
            check_section_names(b, item->section);
        for (const KeyValue *kv = word ? item->section->props : NULL; kv; kv = kv->next) {
            const char *name = kv->name->text;
            if (section_key_known(b->arena, word, name, strlen(name), &near))
                continue;
            if (!report(b, kv->name->at, "E0606", "a `%s` section has no key `%s`", word, name))
                continue;
            if (near)
                diag_help_edit(b->diag, kv->name->at, near, "did you mean `%s`?", near);
            else
                diag_help(b->diag, "there are %s", section_keys_text(b->arena, word));
        }
    }
}

static const Field *field_named(const Field *field, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(field[i].key, key) == 0)
            return &field[i];
    return NULL;
}

static bool is_number(const char *text, bool whole)
{
    char *end;
    double value = strtod(text, &end);
    return end != text && !*end && value >= 0 && value <= UINT32_MAX && (!whole || value == floor(value));
}

// Keys whose value is one of a few words, each perhaps with arguments.
static const struct { const char *key, *word[5], *what; } choice[] = {
    {"sampler", {"greedy", "sample", "top_k", "top_p"}, "greedy, sample(..), top_k(..) or top_p(..)"},
    {"tokens",  {"bytes", "chars", "bpe"},              "bytes, chars or bpe(\"vocab.json\")"},
    {"windows", {"next", "mlm"},                        "next(T) or mlm(T, rate=0.15)"},
};

// What `field` should have been; NULL: it is well.
static const char *wanted(Build *b, const char *section, const Field *field, const Field *all, size_t n)
{
    for (size_t c = 0; c < sizeof choice / sizeof *choice; c++) {
        if (strcmp(field->key, choice[c].key) != 0)
            continue;
        for (const char *const *word = choice[c].word; *word; word++)
            if (strcmp(field->value, *word) == 0)
                return NULL;
        return choice[c].what;
    }
    const Field *first = field_named(all, n, arena_printf(b->arena, "%s.0", field->key));
    bool every = strcmp(field->value, "every") == 0 && first && is_number(first->value, true);
    switch (section_key_form(section, field->key)) {
    case KEY_FREE:  return NULL;
    case KEY_COUNT: return is_number(field->value, true) ? NULL : "a whole number";
    case KEY_EVERY: return every || is_number(field->value, true) ? NULL : "a whole number, or every(NUMBER, ..)";
    case KEY_SHARE: return is_number(field->value, false) ? NULL : "a number of at least 0";
    }
    return NULL;
}

void check_fields(Build *b, const Section *s, const char *section, const Field *field, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *form = strchr(field[i].key, '.') ? NULL : wanted(b, section, &field[i], field, n);
        if (!form)
            continue;
        Span at = {0};
        for (const KeyValue *kv = s ? s->props : NULL; kv; kv = kv->next)
            if (strcmp(kv->name->text, field[i].key) == 0)
                at = kv->value->at;
        if (binding_find(b, arena_printf(b->arena, "%s.%s", section, field[i].key)))
            at = (Span){0};
        diag_error(b->diag, at, "E0606", "`%s.%s` takes %s, not `%s`", section, field[i].key, form, field[i].value);
    }
}
