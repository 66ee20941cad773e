// Diagnostics of the build: once per place and code, with the axes of the operands and the nearest name.
#include "build_state.h"
#include "nearest.h"

#include <string.h>

static bool first_time(Build *b, Span at, const char *code)
{
    const char *key = arena_printf(b->arena, "%s:%u:%u", code, at.file, at.begin);
    if (map_get(b->reported, key))
        return false;
    map_set(b->arena, b->reported, key, b);
    return true;
}

// The message at `at`, unless this code was said of this place before.
static const char *message(Build *b, Span at, const char *code, const char *format, va_list args)
{
    if (!first_time(b, at, code))
        return NULL;
    Text t = text_make(b->arena);
    text_vprintf(&t, format, args);
    return text_str(&t);
}

bool report(Build *b, Span at, const char *code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *text = message(b, at, code, format, args);
    va_end(args);
    if (text)
        diag_error(b->diag, at, code, "%s", text);
    return text != NULL;
}

bool report_warning(Build *b, Span at, const char *code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *text = message(b, at, code, format, args);
    va_end(args);
    if (text)
        diag_warning(b->diag, at, code, "%s", text);
    return text != NULL;
}

const char *list_text(Build *b, const AxisList *axes)
{
    Text t = text_make(b->arena);
    text_char(&t, '[');
    for (size_t i = 0; i < axes->n; i++) {
        if (i)
            text_char(&t, ',');
        text_add(&t, axis_name(b, axes->id[i]));
    }
    text_char(&t, ']');
    return text_str(&t);
}

const char *axes_text(Build *b, Val v)
{
    AxisList list;
    switch (v.kind) {
    case VAL_NUMBER:  return "a number";
    case VAL_TEXT:    return "text";
    case VAL_FIELD:   return "a data field";
    case VAL_ROUTING: return "a routing";
    case VAL_SEVERAL: return "several results";
    case VAL_ERROR:   return "?";
    case VAL_TENSOR:  break;
    }
    axes_of(b, v, &list);
    if (val_dtype(b, v) == DTYPE_I32)
        return arena_printf(b->arena, "int%s", list_text(b, &list));
    return list_text(b, &list);
}

void label_axes(Build *b, Span at, Val v)
{
    if (v.kind != VAL_ERROR)
        diag_label(b->diag, at, "%s", axes_text(b, v));
}

const char *near_name(Build *b, const char *name, bool (*fits)(const Symbol *))
{
    Nearest near = {0};
    for (const Scope *s = b->scope; s; s = s->parent)
        for (size_t i = 0; i < s->map.capacity; i++) {
            const Symbol *sym = s->map.entry[i].key ? s->map.entry[i].value : NULL;
            if (sym && (!fits || fits(sym)) && strcmp(name, sym->name))
                nearest_offer(&near, name, sym->name);
        }
    return near.best;
}

uint32_t line_of(Build *b, Span at)
{
    return at.file ? sources_line_col(b->sources, at.file, at.begin).line : 0;
}

const char *source_text(Build *b, Span at)
{
    if (!at.file || at.file >= b->sources->n_files)
        return "";
    const SourceFile *f = &b->sources->file[at.file];
    if (at.end > f->n || at.begin >= at.end)
        return "";
    return arena_strndup(b->arena, f->data + at.begin, at.end - at.begin);
}
