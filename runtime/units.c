// See units.h.
#define _GNU_SOURCE
#include "units.h"

#include <string.h>

// Launches that touch less than this are not worth waking anybody.
static const double alone_flops = 20e3, alone_bytes = 16e3;

// Each kernel goes to the shortest unit so far.
int units_deal(const Program *p, bool cuda, int most, Arena *scratch, int *unit_of)
{
    int used = 0, n = most < 1 ? 1 : most;
    size_t *length = arena_array(scratch, size_t, (size_t)n);
    for (size_t k = 1; k < p->n_kernels; k++) {
        int best = 0;
        for (int u = 1; u < n; u++)
            if (length[u] < length[best])
                best = u;
        unit_of[k] = best;
        length[best] += strlen(cuda ? p->kernel[k].cuda : p->kernel[k].text) + 1;
        if (best >= used)
            used = best + 1;
    }
    return used;
}

char *units_text(const Program *p, int unit, const int *unit_of, Arena *arena)
{
    size_t length = strlen(p->prelude);
    for (size_t k = 1; k < p->n_kernels; k++)
        length += unit_of[k] == unit ? strlen(p->kernel[k].text) + 1 : 0;
    char *text = arena_alloc(arena, length + 2, 1), *end = stpcpy(text, p->prelude);
    *end++ = '\n';
    for (size_t k = 1; k < p->n_kernels; k++) {
        if (unit_of[k] != unit)
            continue;
        end = stpcpy(end, p->kernel[k].text);
        *end++ = '\n';
    }
    *end = '\0';
    return text;
}

int64_t units_grain(const Launch *l)
{
    const bool small = l->flops > 0 && l->flops < alone_flops && l->bytes > 0 && l->bytes < alone_bytes;
    return small ? l->n_work : l->grain;
}
