// See batch.h.
#include "batch.h"

#include <string.h>

const char *batch_axis(const Ast *ast)
{
    for (const Item *item = ast->items; item; item = item->next)
        for (const AxisDecl *a = item->axes; a; a = a->next)
            if (a->kind && !strcmp(a->kind->text, "batch"))
                return a->name->text;
    return NULL;
}

void batch_bind(Arena *arena, BuildOptions *options, const char *axis, int64_t rows)
{
    Binding *all = arena_array(arena, Binding, options->n_bindings + 1);
    size_t n = 0;
    for (size_t i = 0; i < options->n_bindings; i++)
        if (strcmp(options->binding[i].name, axis) != 0)
            all[n++] = options->binding[i];
    all[n++] = (Binding){axis, arena_printf(arena, "%lld", (long long)rows), false};
    options->binding = all;
    options->n_bindings = n;
}

Status batch_rows(const Module *m, int64_t *out_rows, StatusText *why)
{
    const int64_t parts = m->train.grad_accum > 1 ? m->train.grad_accum : 1;
    if (m->train.batch % parts)
        return status_fail(why, STATUS_BAD_MODEL, "train.batch = %lld cannot be cut into train.grad_accum = %lld equal parts",
                           (long long)m->train.batch, (long long)parts);
    *out_rows = m->train.batch / parts;
    return STATUS_OK;
}
