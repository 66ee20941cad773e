// See diag.h.
#include "diag.h"

#include <string.h>

enum { MAX_ITEMS = 1000 };                  // kept; a text of one megabyte can earn a million

Diag diag_make(Arena *arena, const Sources *sources)
{
    return (Diag){.arena = arena, .sources = sources};
}

// The newest diagnostic was counted, not kept: nothing can be added to it.
static bool is_flooded(const Diag *diag)
{
    return diag->n_errors + diag->n_warnings > MAX_ITEMS;
}

static char *format_text(Arena *arena, const char *format, va_list args)
{
    Text text = text_make(arena);
    text_vprintf(&text, format, args);
    return arena_strdup(arena, text_str(&text));
}

static void add_item(Diag *diag, Severity severity, Span at, const char *code, const char *format,
                     va_list args)
{
    if (severity == SEVERITY_ERROR)
        diag->n_errors++;
    else
        diag->n_warnings++;
    if (is_flooded(diag))
        return;
    diag->item = arena_grow(diag->arena, diag->item, diag->n_items, &diag->capacity, sizeof *diag->item);
    diag->item[diag->n_items++] = (DiagItem){
        .severity = severity, .code = code, .at = at, .message = format_text(diag->arena, format, args),
    };
}

void diag_error(Diag *diag, Span at, const char *code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_item(diag, SEVERITY_ERROR, at, code, format, args);
    va_end(args);
}

void diag_warning(Diag *diag, Span at, const char *code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_item(diag, SEVERITY_WARNING, at, code, format, args);
    va_end(args);
}

void diag_label(Diag *diag, Span at, const char *format, ...)
{
    if (is_flooded(diag))
        return;
    DiagItem *item = &diag->item[diag->n_items - 1];
    va_list args;
    va_start(args, format);
    item->label = arena_grow(diag->arena, item->label, item->n_labels, &item->label_capacity,
                             sizeof *item->label);
    item->label[item->n_labels++] = (DiagLabel){at, format_text(diag->arena, format, args)};
    va_end(args);
}

void diag_note(Diag *diag, const char *format, ...)
{
    if (is_flooded(diag))
        return;
    va_list args;
    va_start(args, format);
    diag->item[diag->n_items - 1].note = format_text(diag->arena, format, args);
    va_end(args);
}

void diag_help(Diag *diag, const char *format, ...)
{
    if (is_flooded(diag))
        return;
    va_list args;
    va_start(args, format);
    diag->item[diag->n_items - 1].help = format_text(diag->arena, format, args);
    va_end(args);
}

void diag_help_edit(Diag *diag, Span edit_at, const char *edit, const char *format, ...)
{
    if (is_flooded(diag))
        return;
    DiagItem *item = &diag->item[diag->n_items - 1];
    va_list args;
    va_start(args, format);
    item->help = format_text(diag->arena, format, args);
    item->help_is_edit = true;
    item->edit_at = edit_at;
    item->edit = arena_strdup(diag->arena, edit);
    va_end(args);
}
