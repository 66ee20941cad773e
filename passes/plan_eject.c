// Ejection: pieces are put, one by one, into a fixed number of bytes. One that finds no gap takes the place where what stands in
// its way weighs least; those pieces are taken out, grow heavier by it, and wait for their turn again. So the pieces that are
// hard to place settle, and the light ones are packed around them. The rule is that of Nagata and Braysy 2009, "A powerful
// route minimization heuristic for the vehicle routing problem with time windows"; here weights begin as sizes
// times lifetimes.
#include "plan_eject.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

typedef struct Edge {                       // of a piece in the way of another
    size_t at;                              // below: the last offset that it leaves free; above: the first one
    double weight;
} Edge;

typedef struct Ejection {
    Piece    *piece;                        // [n]
    size_t    n, bytes;
    uint32_t *placed;                       // [n_placed] by offset
    uint32_t *waiting;                      // [n_waiting] in no order
    size_t    n_placed, n_waiting;
    double   *weight;                       // [n]
    Edge     *low, *high;                   // [n] of one lightest_place
    uint64_t  state;                        // of roll
    double    work;                         // pieces looked at, about
} Ejection;

typedef struct Sized {
    size_t   size;
    uint32_t index;
} Sized;

static int by_size(const void *a, const void *b)
{
    const Sized *x = a, *y = b;
    if (x->size != y->size)
        return x->size < y->size ? 1 : -1;
    return x->index < y->index ? -1 : x->index > y->index;
}

// A number below n, the same for every run.
static uint64_t roll(uint64_t *state, uint64_t n)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (*state >> 33) % n;
}

static bool are_alive_together(const Piece *a, const Piece *b)
{
    return a->first <= b->last && b->first <= a->last;
}

// The lowest gap that holds p.
static bool find_gap(const Ejection *E, const Piece *p, size_t *out_offset)
{
    size_t top = 0;
    for (size_t i = 0; i < E->n_placed; i++) {
        const Piece *q = &E->piece[E->placed[i]];
        if (!are_alive_together(p, q))
            continue;
        if (q->offset >= top + p->size)
            break;
        if (q->offset + q->size > top)
            top = q->offset + q->size;
    }
    *out_offset = top;
    return top + p->size <= E->bytes;
}

// The place where what stands in p's way weighs least. That is at the low end, or beside a piece that is placed.
static size_t lightest_place(Ejection *E, const Piece *p)
{
    Edge *low = E->low, *high = E->high;
    size_t n_low = 0, n_high = 0, best_at = 0;
    double weight = 0;
    for (size_t i = 0; i < E->n_placed; i++) {
        const uint32_t j = E->placed[i];
        const Piece *q = &E->piece[j];
        if (!are_alive_together(p, q))
            continue;
        if (q->offset < p->size)
            weight += E->weight[j];
        else
            low[n_low++] = (Edge){q->offset - p->size, E->weight[j]};
        size_t k = n_high++;
        for (; k > 0 && high[k - 1].at > q->offset + q->size; k--)      // few: pieces alive with each other are in order
            high[k] = high[k - 1];
        high[k] = (Edge){q->offset + q->size, E->weight[j]};
    }
    E->work += (double)E->n_placed + 2 * (double)n_high;
    double best = weight;
    for (size_t l = 0, h = 0, ties = 1; h < n_high && high[h].at + p->size <= E->bytes;) {
        const size_t at = high[h].at;
        for (; l < n_low && low[l].at < at; l++)
            weight += low[l].weight;
        for (; h < n_high && high[h].at == at; h++)
            weight -= high[h].weight;
        ties = weight < best * (1 - 1e-9) ? 1 : ties + 1;
        if (weight < best * (1 + 1e-9) && roll(&E->state, ties) == 0) {
            best = weight;
            best_at = at;
        }
    }
    return best_at;
}

// Takes out what stands in p's way.
static void eject(Ejection *E, const Piece *p)
{
    size_t n = 0;
    for (size_t i = 0; i < E->n_placed; i++) {
        const uint32_t j = E->placed[i];
        const Piece *q = &E->piece[j];
        if (are_alive_together(p, q) && q->offset < p->offset + p->size && p->offset < q->offset + q->size) {
            E->waiting[E->n_waiting++] = j;
            E->weight[j] *= 1.1;
        } else
            E->placed[n++] = j;
    }
    E->n_placed = n;
}

static void put(Ejection *E, uint32_t i)
{
    size_t low = 0, high = E->n_placed;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (E->piece[E->placed[middle]].offset < E->piece[i].offset)
            low = middle + 1;
        else
            high = middle;
    }
    memmove(E->placed + low + 1, E->placed + low, (E->n_placed - low) * sizeof *E->placed);
    E->placed[low] = i;
    E->n_placed++;
}

// Piece i takes its place, and whatever is in the way leaves its own.
static void settle(Ejection *E, uint32_t i)
{
    Piece *p = &E->piece[i];
    E->work += (double)E->n_placed;
    if (!find_gap(E, p, &p->offset)) {
        p->offset = lightest_place(E, p);
        eject(E, p);
    }
    put(E, i);
}

// What fits into the bytes where it stands stays there; the others wait, the largest at the end.
static void begin(Ejection *E, Arena *scratch)
{
    Sized *order = arena_array(scratch, Sized, E->n);
    for (uint32_t i = 0; i < E->n; i++) {
        const Piece *p = &E->piece[i];
        assert(p->size <= E->bytes);
        E->weight[i] = (double)p->size * ((double)(p->last - p->first) + 1);
        order[i] = (Sized){p->size, i};
    }
    qsort(order, E->n, sizeof *order, by_size);
    for (size_t k = 0; k < E->n; k++) {
        const Piece *p = &E->piece[order[k].index];
        if (p->offset + p->size <= E->bytes)
            put(E, order[k].index);
        else
            E->waiting[E->n_waiting++] = order[k].index;
    }
}

bool pack_eject(Arena *scratch, Piece *piece, size_t n, size_t bytes, double budget)
{
    Ejection E = {.n = n, .bytes = bytes, .state = 1};
    E.piece = arena_array(scratch, Piece, n);
    E.placed = arena_array(scratch, uint32_t, n);
    E.waiting = arena_array(scratch, uint32_t, n);
    E.weight = arena_array(scratch, double, n);
    E.low = arena_array(scratch, Edge, n);
    E.high = arena_array(scratch, Edge, n);
    memcpy(E.piece, piece, n * sizeof *piece);
    begin(&E, scratch);
    while (E.n_waiting && E.work < budget) {
        const size_t k = roll(&E.state, E.n_waiting);
        const uint32_t i = E.waiting[k];
        E.waiting[k] = E.waiting[--E.n_waiting];
        settle(&E, i);
    }
    while (E.n_waiting) {                                   // on top of the others, then
        const uint32_t i = E.waiting[--E.n_waiting];
        find_gap(&E, &E.piece[i], &E.piece[i].offset);
        put(&E, i);
    }
    const size_t end = pack_end(E.piece, n);
    if (end < pack_end(piece, n))
        memcpy(piece, E.piece, n * sizeof *piece);
    return end <= bytes;
}
