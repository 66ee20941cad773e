// See fix.h.
#include "fix.h"

#include <stdlib.h>
#include <string.h>

static int by_place(const void *a, const void *b)
{
    const DiagItem *x = *(const DiagItem *const *)a, *y = *(const DiagItem *const *)b;
    if (x->edit_at.begin != y->edit_at.begin)
        return x->edit_at.begin < y->edit_at.begin ? -1 : 1;
    return x < y ? -1 : x > y;
}

static bool same_edit(const DiagItem *a, const DiagItem *b)
{
    return a->edit_at.begin == b->edit_at.begin && a->edit_at.end == b->edit_at.end && !strcmp(a->edit, b->edit);
}

size_t fix_apply(const Diag *diag, uint32_t file, Text *out)
{
    const SourceFile *source = &diag->sources->file[file];
    const DiagItem **item = arena_array(out->arena, const DiagItem *, diag->n_items + 1);
    size_t n = 0, n_made = 0, done = 0;
    for (size_t i = 0; i < diag->n_items; i++) {
        const DiagItem *d = &diag->item[i];
        if (d->help_is_edit && d->edit && d->edit_at.file == file && d->edit_at.end <= source->n &&
            d->edit_at.begin <= d->edit_at.end)
            item[n++] = d;
    }
    qsort(item, n, sizeof *item, by_place);
    const DiagItem *before = NULL;
    for (size_t i = 0; i < n; i++) {
        const DiagItem *d = item[i];
        // Two insertions at one place would be a guess about their order: the second waits for the next run.
        bool touches = before && (d->edit_at.begin < done || d->edit_at.begin == before->edit_at.begin);
        if (touches || (before && same_edit(before, d)))
            continue;
        text_add_n(out, source->data + done, d->edit_at.begin - done);
        text_add(out, d->edit);
        done = d->edit_at.end;
        before = d;
        n_made++;
    }
    text_add_n(out, source->data + done, source->n - done);
    return n_made;
}
