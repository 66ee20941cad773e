// Packing of intervals into as few bytes as possible (dynamic storage allocation, which is NP-hard; so: heuristics
// that are good on the graphs we have, and a lower bound that says how good).
//
// 1. Greedy by size (Pisarchyk and Lee 2020, "Efficient memory management for deep neural net inference", section 5.2):
//    the largest piece first, into the tightest gap between those placed before it that are alive with it. Good on
//    anything small; its cost is the number of pairs that are alive together, so it is left out where these are too many.
//    Tried in other orders, too: longest-lived first, largest area first, and what is alive at the peak first, which
//    then stands without gaps. In further tries, what stood above the lower bound is placed earlier. Where more than a percent
//    is wasted in the end, the best order is shaken: pieces move a little, what stands highest a lot.
// 2. Facing stacks: one walk in time with a free list, inside a fixed number of bytes. What lives long (an activation
//    kept for the backward pass) goes to the lowest free place, what lives short to the highest. Training keeps and
//    releases activations like a stack, so the low part stays without holes, and the short-lived pieces at the other
//    end take whatever the stack leaves at that moment. n log n. Tried with a few ideas of "long", in ever more bytes
//    from the lower bound on, until one fits.
#include "plan_pack.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { MANY = 5000, VERY_MANY = 50000 };    // pieces: greedy by size is tried little; few ideas of "long" are tried
static const double FIRST_BUDGET = 1e7, WHOLE_BUDGET = 1e8;     // pairs looked at in all tries together

// Free blocks, ordered by address, each node with the largest block below it: a treap.
typedef struct Block {
    size_t   begin, size, largest;          // largest size in this subtree
    uint32_t left, right;                   // 0: none
    uint32_t priority;
} Block;

typedef struct FreeList {
    Block   *block;                         // block[0] is "none"
    uint32_t n, capacity, root, unused;     // unused: chain of given back nodes through `right`
} FreeList;

static void update(FreeList *f, uint32_t i)
{
    Block *b = &f->block[i];
    size_t left = f->block[b->left].largest, right = f->block[b->right].largest;
    b->largest = b->size;
    if (left > b->largest)
        b->largest = left;
    if (right > b->largest)
        b->largest = right;
}

// Splits the tree into blocks that begin before `at` and the others.
static void split(FreeList *f, uint32_t i, size_t at, uint32_t *out_left, uint32_t *out_right)
{
    if (!i) {
        *out_left = *out_right = 0;
        return;
    }
    Block *b = &f->block[i];
    if (b->begin < at) {
        split(f, b->right, at, &b->right, out_right);
        *out_left = i;
    } else {
        split(f, b->left, at, out_left, &b->left);
        *out_right = i;
    }
    update(f, i);
}

static uint32_t join(FreeList *f, uint32_t a, uint32_t b)
{
    if (!a || !b)
        return a | b;
    uint32_t top;
    if (f->block[a].priority > f->block[b].priority) {
        f->block[a].right = join(f, f->block[a].right, b);
        top = a;
    } else {
        f->block[b].left = join(f, a, f->block[b].left);
        top = b;
    }
    update(f, top);
    return top;
}

static uint32_t new_block(FreeList *f, size_t begin, size_t size)
{
    uint32_t i = f->unused;
    if (i)
        f->unused = f->block[i].right;
    else
        i = f->n++;
    assert(i < f->capacity);
    uint32_t priority = (uint32_t)(((uint64_t)i * 0x9e3779b97f4a7c15u + begin) * 0xd1342543de82ef95u >> 32);
    f->block[i] = (Block){.begin = begin, .size = size, .largest = size, .priority = priority};
    return i;
}

// Finds the lowest (or highest) block of at least `size` bytes; 0: none.
static uint32_t find(const FreeList *f, size_t size, bool lowest)
{
    uint32_t i = f->root;
    if (f->block[i].largest < size)
        return 0;
    for (;;) {
        const Block *b = &f->block[i];
        uint32_t near = lowest ? b->left : b->right, far = lowest ? b->right : b->left;
        if (f->block[near].largest >= size)
            i = near;
        else if (b->size >= size)
            return i;
        else
            i = far;
    }
}

// Takes `size` bytes from the low or high end. False: there is no such block.
static bool take(FreeList *f, size_t size, bool lowest, size_t *out_offset)
{
    uint32_t i = find(f, size, lowest), left, middle, right;
    if (!i)
        return false;
    size_t begin = f->block[i].begin, rest = f->block[i].size - size;
    split(f, f->root, begin, &left, &right);
    split(f, right, begin + 1, &middle, &right);
    assert(middle == i);
    *out_offset = lowest ? begin : begin + rest;
    if (rest) {
        f->block[i].begin = lowest ? begin + size : begin;
        f->block[i].size = rest;
        update(f, i);
        left = join(f, left, i);
    } else {
        f->block[i].right = f->unused;
        f->unused = i;
    }
    f->root = join(f, left, right);
    return true;
}

static uint32_t extreme(const FreeList *f, uint32_t i, bool last)
{
    while (i && (last ? f->block[i].right : f->block[i].left))
        i = last ? f->block[i].right : f->block[i].left;
    return i;
}

// Gives bytes back and merges them with free neighbours.
static void give(FreeList *f, size_t begin, size_t size)
{
    uint32_t left, middle, right;
    split(f, f->root, begin, &left, &right);
    uint32_t before = extreme(f, left, true), after = extreme(f, right, false);
    if (before && f->block[before].begin + f->block[before].size == begin) {
        split(f, left, f->block[before].begin, &left, &middle);
        begin = f->block[before].begin;
        size += f->block[before].size;
        f->block[before].right = f->unused;
        f->unused = before;
    }
    if (after && f->block[after].begin == begin + size) {
        split(f, right, f->block[after].begin + 1, &middle, &right);
        size += f->block[after].size;
        f->block[after].right = f->unused;
        f->unused = after;
    }
    f->root = join(f, join(f, left, new_block(f, begin, size)), right);
}

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

size_t pack_lower_bound(Arena *scratch, const Piece *piece, size_t n, uint32_t n_times)
{
    uint32_t peak;
    return lower_bound(scratch, piece, n, n_times, &peak);
}

// Facing stacks in `bytes`; pieces that live for more than `long_time` launches go to the low end.
static bool stacks(FreeList *f, Piece *piece, const ByTime *start, const ByTime *end, uint32_t n_times, size_t bytes,
                   uint32_t long_time)
{
    f->n = 1;
    f->unused = 0;
    f->root = new_block(f, 0, bytes);
    for (uint32_t t = 0; t < n_times; t++) {
        for (uint32_t k = start->begin[t]; k < start->begin[t + 1]; k++) {
            Piece *p = &piece[start->list[k]];
            if (!take(f, p->size, p->last - p->first > long_time, &p->offset))
                return false;
        }
        for (uint32_t k = end->begin[t]; k < end->begin[t + 1]; k++)
            give(f, piece[end->list[k]].offset, piece[end->list[k]].size);
    }
    return true;
}

typedef struct Placed {
    size_t begin, end;
} Placed;

static int by_begin(const void *a, const void *b)
{
    const Placed *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

// The tightest gap between the placed ones that holds `size`; above them all where there is none.
static size_t tightest_gap(Placed *placed, size_t n, size_t size)
{
    qsort(placed, n, sizeof *placed, by_begin);
    size_t top = 0, best = SIZE_MAX, best_waste = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        if (placed[i].begin > top && placed[i].begin - top >= size && placed[i].begin - top - size < best_waste) {
            best_waste = placed[i].begin - top - size;
            best = top;
        }
        if (placed[i].end > top)
            top = placed[i].end;
    }
    return best == SIZE_MAX ? top : best;
}

// Greedy by size. Placed pieces are found by time: those that cover p's first time, from the tree of segments over
// time, and those that start during p.
static size_t greedy(Arena *scratch, Piece *piece, const Keyed *order, size_t n, uint32_t n_times)
{
    typedef struct Link { uint32_t piece; struct Link *next; } Link;
    uint32_t leaves = 1;
    while (leaves < n_times)
        leaves *= 2;
    Link **cover = arena_array(scratch, Link *, (size_t)leaves * 2), **starts = arena_array(scratch, Link *, n_times);
    Placed *found = arena_array(scratch, Placed, n);
    size_t used = 0;
    for (size_t k = 0; k < n; k++) {
        uint32_t i = order[k].index;
        Piece *p = &piece[i];
        size_t n_found = 0;
        for (uint32_t s = leaves + p->first; s; s /= 2)
            for (const Link *l = cover[s]; l; l = l->next)
                found[n_found++] = (Placed){piece[l->piece].offset, piece[l->piece].offset + piece[l->piece].size};
        for (uint32_t t = p->first + 1; t <= p->last; t++)
            for (const Link *l = starts[t]; l; l = l->next)
                found[n_found++] = (Placed){piece[l->piece].offset, piece[l->piece].offset + piece[l->piece].size};
        p->offset = tightest_gap(found, n_found, p->size);
        if (p->offset + p->size > used)
            used = p->offset + p->size;
        Link *l = arena_new(scratch, Link);
        *l = (Link){i, starts[p->first]};
        starts[p->first] = l;
        for (uint32_t lo = leaves + p->first, hi = leaves + p->last + 1; lo < hi; lo /= 2, hi /= 2) {
            if (lo & 1) {
                l = arena_new(scratch, Link);
                *l = (Link){i, cover[lo]};
                cover[lo++] = l;
            }
            if (hi & 1) {
                l = arena_new(scratch, Link);
                *l = (Link){i, cover[--hi]};
                cover[hi] = l;
            }
        }
    }
    return used;
}

// How much greedy by size would look at: pairs that are alive together, and the times that each piece spans.
static double greedy_cost(const Piece *piece, size_t n, uint32_t n_times, Arena *scratch)
{
    uint32_t *started = arena_array(scratch, uint32_t, (size_t)n_times + 1);
    uint32_t *ended = arena_array(scratch, uint32_t, (size_t)n_times + 1);
    for (size_t i = 0; i < n; i++) {
        started[piece[i].first]++;
        ended[piece[i].last]++;
    }
    double cost = 0, alive = 0;
    for (uint32_t t = 0; t < n_times; t++) {
        cost += (double)started[t] * (alive + started[t]) + alive;
        alive += (double)started[t] - (double)ended[t];
    }
    return cost;
}

// Orders in which greedy places.
typedef enum Order { BY_SIZE, BY_AREA, PEAK_BY_SIZE, PEAK_BY_TIME, PEAK_BY_START, PEAK_BY_END, BY_TIME, ORDER_COUNT } Order;

static uint64_t key_of(const Piece *p, Order order, uint32_t peak)
{
    const uint64_t first = (uint64_t)1 << 63, time = p->last - p->first;
    uint64_t size = p->size / 64;
    bool at_peak = p->first <= peak && peak <= p->last;
    switch (order) {
    case BY_AREA:       return size * (time + 1);
    case PEAK_BY_SIZE:  return size | (at_peak ? first : 0);
    case PEAK_BY_TIME:  return at_peak ? time | first : size;
    case PEAK_BY_START: return at_peak ? (UINT32_MAX - p->first) | first : size;
    case PEAK_BY_END:   return at_peak ? p->last | first : size;
    case BY_TIME:       return time;
    case BY_SIZE:
    case ORDER_COUNT:   break;
    }
    return size;
}

static void sort_by(Keyed *order, const Piece *piece, size_t n, Order by, uint32_t peak)
{
    for (size_t i = 0; i < n; i++)
        order[i] = (Keyed){key_of(&piece[i], by, peak), (uint32_t)i};
    qsort(order, n, sizeof *order, by_key);
}

// Moves the pieces that stand above the bound to the front, both parts in their order.
static void raise_high(Keyed *order, const Piece *piece, size_t n, size_t bound)
{
    const uint64_t step = n;
    for (size_t k = 0; k < n; k++) {
        const Piece *p = &piece[order[k].index];
        order[k].key = n - k + (p->offset + p->size > bound ? step : 0);
    }
    qsort(order, n, sizeof *order, by_key);
}

// A number below n, the same for every run.
static uint64_t roll(uint64_t *state, uint64_t n)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (*state >> 33) % n;
}

// `best` is an order and `offset` the best places so far. Pieces change places with those near them, those above the bound
// with any before them.
static void shake(Keyed *order, const Keyed *best, const Piece *piece, const size_t *offset, size_t n, size_t bound, uint64_t *state)
{
    const uint64_t reach = 1 + n / 4, near = 1 + roll(state, reach), often = 1 + roll(state, 16), high_often = 1 + roll(state, 4);
    for (size_t k = 0; k < n; k++) {
        const uint32_t i = best[k].index;
        const bool moves = roll(state, often) == 0, is_high = offset[i] + piece[i].size > bound && roll(state, high_often) == 0;
        order[k] = (Keyed){2 * n - k + (moves ? roll(state, near) : 0) + (is_high ? roll(state, k + 2) : 0), i};
    }
    qsort(order, n, sizeof *order, by_key);
}

typedef struct Packing {
    Arena   *scratch;
    Piece   *piece;
    size_t   n;
    uint32_t n_times, peak;
    size_t   bound, enough;                 // no plan is below the bound; half a percent above it is not worth the time of a start
    double   cost;                          // of one greedy
    unsigned n_tries;                       // of them, so far
    uint64_t state;                         // of roll
    size_t   best;                          // SIZE_MAX: there is no plan yet
    size_t  *offset;                        // [n] of the best
    Keyed   *order, *best_order;            // [n] at hand; of the best greedy
} Packing;

static void keep(Packing *P, size_t used)
{
    P->best = used;
    for (size_t i = 0; i < P->n; i++)
        P->offset[i] = P->piece[i].offset;
}

static void try_greedy(Packing *P)
{
    const size_t used = greedy(P->scratch, P->piece, P->order, P->n, P->n_times);
    if (used > P->best)
        return;
    keep(P, used);
    memcpy(P->best_order, P->order, P->n * sizeof *P->order);
}

// Until a plan needs no more than `enough`: the orders, then the best one shaken.
static void try_orders(Packing *P, size_t enough, double budget)
{
    for (; P->best > enough && P->cost * (P->n_tries + 1) < budget; P->n_tries++) {
        if (P->n_tries >= 8 * ORDER_COUNT)
            shake(P->order, P->best_order, P->piece, P->offset, P->n, P->bound, &P->state);
        else if (P->n_tries % 8 == 0)
            sort_by(P->order, P->piece, P->n, P->n_tries / 8, P->peak);
        else
            raise_high(P->order, P->piece, P->n, P->bound);
        try_greedy(P);
    }
}

static void try_stacks(Packing *P)
{
    sort_by(P->order, P->piece, P->n, BY_TIME, P->peak);
    // From here on, pieces that start together are taken longest-lived first.
    FreeList f = {.capacity = (uint32_t)(2 * P->n + 4)};
    f.block = arena_array(P->scratch, Block, f.capacity);
    ByTime start = group(P->scratch, P->piece, P->order, P->n, P->n_times, false),
           end = group(P->scratch, P->piece, P->order, P->n, P->n_times, true);
    static const double factor[] = {1, 1.002, 1.004, 1.006, 1.008, 1.01, 1.015, 1.02, 1.03, 1.04, 1.06, 1.1, 1.15, 1.25, 1.5,
                                    2, 4, 16};
    for (size_t k = 0; k < sizeof factor / sizeof *factor; k++) {
        size_t bytes = (size_t)((double)P->bound * factor[k]) & ~(size_t)63;
        if (bytes < P->bound)
            bytes = P->bound;
        if (bytes >= P->best || P->best <= P->enough)
            return;
        for (uint32_t long_time = 1, fits = 0; !fits && long_time < 2 * P->n_times;
             long_time += 1 + (P->n < VERY_MANY ? long_time / 4 : 3 * long_time))
            if (stacks(&f, P->piece, &start, &end, P->n_times, bytes, long_time)) {
                keep(P, bytes);
                fits = 1;
            }
    }
}

size_t pack(Arena *scratch, Piece *piece, size_t n, uint32_t n_times)
{
    if (n == 0)
        return 0;
    Packing P = {.scratch = scratch, .piece = piece, .n = n, .n_times = n_times, .best = SIZE_MAX, .state = 1};
    P.bound = lower_bound(scratch, piece, n, n_times, &P.peak);
    P.enough = P.bound + P.bound / 200;
    P.cost = greedy_cost(piece, n, n_times, scratch);
    P.offset = arena_array(scratch, size_t, n);
    P.order = arena_array(scratch, Keyed, n);
    P.best_order = arena_array(scratch, Keyed, n);
    try_orders(&P, P.enough, FIRST_BUDGET);
    try_stacks(&P);
    if (n < MANY)                           // of which pairs are slow to look at, too
        try_orders(&P, P.bound + P.bound / 100, WHOLE_BUDGET);
    if (P.best == SIZE_MAX) {                               // not seen; but a plan there must be
        P.best = 0;
        for (size_t i = 0; i < n; P.best += piece[i++].size)
            P.offset[i] = P.best;
    }
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        piece[i].offset = P.offset[i];
        if (P.offset[i] + piece[i].size > used)
            used = P.offset[i] + piece[i].size;
    }
    return used;
}
