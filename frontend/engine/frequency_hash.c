#include "frequency_hash.h"

#include <stdlib.h>

typedef struct Entry { int64_t count; size_t token; } Entry;

static int by_falling_count(const void *a, const void *b)
{
    const Entry *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return x->token < y->token ? -1 : x->token > y->token;
}

double *frequency_hash(Arena *arena, size_t n, size_t experts, const int64_t *count, size_t n_counts)
{
    Entry *entry = arena_array(arena, Entry, n + 1);
    int64_t *load = arena_array(arena, int64_t, experts + 1);
    double *expert = arena_array(arena, double, n + 1);
    for (size_t v = 0; v < n; v++)
        entry[v] = (Entry){count && v < n_counts ? count[v] : 1, v};
    qsort(entry, n, sizeof *entry, by_falling_count);
    for (size_t i = 0; i < n; i++) {
        size_t least = 0;
        for (size_t e = 1; e < experts; e++)
            least = load[e] < load[least] ? e : least;
        load[least] += entry[i].count;
        expert[entry[i].token] = (double)least;
    }
    return expert;
}
