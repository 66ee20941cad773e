// Packing of intervals into as few bytes as possible (dynamic storage allocation, which is NP-hard; so: heuristics
// that are good on the graphs we have, and a lower bound that says how good).
//
// 1. Outwards from the peak. The pieces that are alive when most bytes are fill the bytes without a gap. From there one walk
//    goes on in time and one back, each with a free list. What is alive for long takes the lowest place, what is alive for
//    short the highest: training keeps and releases activations like a stack, so the low part stays without holes, and the
//    short-lived pieces at the other end take whatever the stack leaves at that moment. n log n. Tried with a few orders of
//    the pieces at the peak and a few ideas of "long", in ever more bytes from the lower bound on, until one fits.
// 2. Ejection (plan_eject.c), where that wastes more than half a percent and the pieces are few enough to compare.
#include "plan_pack.h"
#include "plan_eject.h"
#include "plan_free.h"

#include <stdlib.h>

enum { VERY_MANY = 50000, MOST_EJECTED = 8000 };   // pieces: few ideas of "long" are tried; no ejection

// Pieces by a key, largest first; equal keys by index, so that the plan is deterministic.
typedef struct Keyed {
    uint64_t key;
    uint32_t index;
} Keyed;

static int by_key(const void *a, const void *b)
{
    const Keyed *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? 1 : -1;
    return x->index < y->index ? -1 : x->index > y->index;
}

// Pieces in groups by a time: those of time t are list[begin[t]] .. list[begin[t + 1] - 1].
typedef struct ByTime {
    uint32_t *begin, *list;
} ByTime;

static ByTime group(Arena *scratch, const Piece *piece, const Keyed *order, size_t n, uint32_t n_times, bool by_last)
{
    ByTime g = {arena_array(scratch, uint32_t, (size_t)n_times + 2), arena_array(scratch, uint32_t, n)};
    for (size_t i = 0; i < n; i++)
        g.begin[(by_last ? piece[i].last : piece[i].first) + 2]++;
    for (uint32_t t = 2; t < n_times + 2; t++)
        g.begin[t] += g.begin[t - 1];
    for (size_t k = 0; k < n; k++) {
        uint32_t i = order[k].index;
        g.list[g.begin[(by_last ? piece[i].last : piece[i].first) + 1]++] = i;
    }
    return g;
}

static size_t lower_bound(Arena *scratch, const Piece *piece, size_t n, uint32_t n_times, uint32_t *out_peak)
{
    size_t *change = arena_array(scratch, size_t, (size_t)n_times + 1), alive = 0, peak = 0;
    for (size_t i = 0; i < n; i++) {
        change[piece[i].first] += piece[i].size;
        change[piece[i].last + 1] -= piece[i].size;         // wraps, and the sum wraps back
    }
    for (uint32_t t = 0; t < n_times; t++) {
        alive += change[t];
        if (alive > peak) {
            peak = alive;
            *out_peak = t;
        }
    }
    return peak;
}

size_t pack_end(const Piece *piece, size_t n)
{
    size_t end = 0;
    for (size_t i = 0; i < n; i++)
        if (piece[i].offset + piece[i].size > end)
            end = piece[i].offset + piece[i].size;
    return end;
}

size_t pack_lower_bound(Arena *scratch, const Piece *piece, size_t n, uint32_t n_times)
{
    uint32_t peak = 0;
    return lower_bound(scratch, piece, n, n_times, &peak);
}

typedef struct Packing {
    Arena    *scratch;
    Piece    *piece;
    size_t    n;
    uint32_t  n_times, peak;
    size_t    bound;                        // no plan is below it
    size_t    best;                         // bytes of the best plan; SIZE_MAX: there is none yet
    FreeList  free;
    ByTime    start, end;                   // those that start, or end, together: longest-lived first
    Keyed    *at_peak;                      // [n_at_peak]
    size_t    n_at_peak;
} Packing;

// Orders of the pieces at the peak: what stands lowest.
typedef enum Layout { LAST_END, FIRST_START, LARGEST, LONGEST, FIRST_END, LAYOUT_COUNT } Layout;

static void lay_out(Packing *P, Layout layout)
{
    P->n_at_peak = 0;
    for (uint32_t i = 0; i < P->n; i++) {
        const Piece *p = &P->piece[i];
        if (p->first > P->peak || p->last < P->peak)
            continue;
        const uint64_t key[LAYOUT_COUNT] = {p->last, P->n_times - p->first, p->size, p->last - p->first, P->n_times - p->last};
        P->at_peak[P->n_at_peak++] = (Keyed){key[layout], i};
    }
    qsort(P->at_peak, P->n_at_peak, sizeof *P->at_peak, by_key);
}

static bool take_all(Packing *P, const uint32_t *list, const uint32_t *end, uint32_t long_time)
{
    for (; list < end; list++) {
        Piece *p = &P->piece[*list];
        if (!free_take(&P->free, p->size, p->last - p->first > long_time, &p->offset))
            return false;
    }
    return true;
}

static void give_all(Packing *P, const uint32_t *list, const uint32_t *end)
{
    for (; list < end; list++)
        free_give(&P->free, P->piece[*list].offset, P->piece[*list].size);
}

// From the peak to the end of time, or to its beginning, in `bytes`; what lives for more than `long_time` launches goes to the low end.
static bool walk(Packing *P, size_t bytes, bool forward, uint32_t long_time)
{
    const ByTime *come = forward ? &P->start : &P->end, *go = forward ? &P->end : &P->start;
    free_reset(&P->free, bytes);
    for (size_t k = 0; k < P->n_at_peak; k++) {
        Piece *p = &P->piece[P->at_peak[k].index];
        free_take(&P->free, p->size, true, &p->offset);     // the bytes are no fewer than all of these
    }
    const uint32_t n_steps = forward ? P->n_times - 1 - P->peak : P->peak;
    for (uint32_t k = 1; k <= n_steps; k++) {
        const uint32_t t = forward ? P->peak + k : P->peak - k, before = forward ? t - 1 : t + 1;
        give_all(P, go->list + go->begin[before], go->list + go->begin[before + 1]);
        if (!take_all(P, come->list + come->begin[t], come->list + come->begin[t + 1], long_time))
            return false;
    }
    return true;
}

static bool walk_somehow(Packing *P, size_t bytes, bool forward)
{
    for (uint32_t long_time = 1; long_time < 2 * P->n_times; long_time += 1 + (P->n < VERY_MANY ? long_time / 2 : 3 * long_time))
        if (walk(P, bytes, forward, long_time))
            return true;
    return false;
}

static bool try_outwards(Packing *P, size_t bytes)
{
    for (Layout layout = 0; layout < LAYOUT_COUNT; layout++) {
        lay_out(P, layout);
        if (walk_somehow(P, bytes, true) && walk_somehow(P, bytes, false))
            return true;
    }
    return false;
}

static size_t more(size_t bytes, double factor)
{
    return bytes + (((size_t)((double)bytes * (factor - 1)) + 63) & ~(size_t)63);
}

static void pack_outwards(Packing *P)
{
    static const double factor[] = {1, 1.002, 1.005, 1.01, 1.015, 1.02, 1.03, 1.04, 1.06, 1.08, 1.1, 1.15, 1.25, 1.5, 2, 4, 16};
    Keyed *order = P->at_peak;                              // not needed yet
    for (uint32_t i = 0; i < P->n; i++)
        order[i] = (Keyed){P->piece[i].last - P->piece[i].first, i};
    qsort(order, P->n, sizeof *order, by_key);
    P->start = group(P->scratch, P->piece, order, P->n, P->n_times, false);
    P->end = group(P->scratch, P->piece, order, P->n, P->n_times, true);
    P->free = free_make(P->scratch, P->n);
    for (size_t k = 0; k < sizeof factor / sizeof *factor && P->best == SIZE_MAX; k++)
        if (try_outwards(P, more(P->bound, factor[k])))
            P->best = more(P->bound, factor[k]);
}

// In half a percent more than the bound, or else in a little more than that.
static void pack_by_ejection(Packing *P)
{
    static const double factor[] = {1.005, 1.01, 1.015, 1.02, 1.03, 1.04, 1.06, 1.08};
    for (size_t k = 0; k < sizeof factor / sizeof *factor; k++) {
        const size_t bytes = more(P->bound, factor[k]);
        if (bytes >= pack_end(P->piece, P->n) || pack_eject(P->scratch, P->piece, P->n, bytes, 3e7))
            return;
    }
}

size_t pack(Arena *scratch, Piece *piece, size_t n, uint32_t n_times)
{
    if (n == 0)
        return 0;
    Packing P = {.scratch = scratch, .piece = piece, .n = n, .n_times = n_times, .best = SIZE_MAX};
    P.bound = lower_bound(scratch, piece, n, n_times, &P.peak);
    P.at_peak = arena_array(scratch, Keyed, n);
    pack_outwards(&P);
    if (P.best == SIZE_MAX)                                 // not seen; but a plan there must be
        for (size_t i = 1; i < n; i++)
            piece[i].offset = piece[i - 1].offset + piece[i - 1].size;
    if (n <= MOST_EJECTED)
        pack_by_ejection(&P);
    return pack_end(piece, n);
}
