// See conv.h.
#include "conv.h"

// Cycles for each vector of results: a number that goes through the transforms both ways, by level and besides; a tap.
static const double per_level = 3.6, per_number = 12, per_tap = 0.75;

enum { MOST_LEVELS = 26, LEAST_SIZE = 16 };

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

// The least 4, 3 or 5 times a power of two that is at least `n`.
static void choose_size(int64_t n, Conv *c)
{
    static const int radix[] = {4, 3, 5};
    c->n = INT64_MAX;
    for (int i = 0; i < 3; i++) {
        int64_t size = 4 * radix[i];
        while (size < n)
            size *= 2;
        if (size < c->n) {
            c->n = size;
            c->radix = radix[i];
        }
    }
}

static int levels(int64_t n)
{
    return 64 - __builtin_clzll((unsigned long long)n);
}

Conv conv_of(const Graph *g, ValueId v)
{
    const Node *n = &g->node[v];
    Conv c = {.axis = n->attr[0].axis, .taps = n->attr[1].axis, .to = n->attr[2].axis, .circular = n->attr[5].i != 0};
    int64_t left = n->attr[3].i, count = 0;
    c.size = graph_size(g, c.axis);
    c.out = graph_size(g, c.to);
    c.last = graph_size(g, c.taps);
    c.shift = left;
    if (!c.size || !c.out || !c.last || !type_count(g, &n->type, &count) || !count)
        return c;
    if (c.circular) {
        c.shift = (left % c.size + c.size) % c.size;
    } else {
        c.first = least(c.last, most(0, left - (c.size - 1)));
        c.last = most(c.first, least(c.last, left + c.out));
        c.shift = left - c.first;
    }
    int64_t taps = c.last - c.first, whole = c.size + taps - 1;
    if (!taps || whole > INT64_C(1) << MOST_LEVELS)
        return c;
    // Numbers 2n and beyond come out again, negated, from 0 on: no result may be among those.
    int64_t low = most(0, c.shift), high = least(whole, c.shift + c.out);
    int64_t need = c.circular ? whole : most(most(high, whole - low), most(c.size, taps));
    choose_size(most((need + 1) / 2, LEAST_SIZE), &c);
    double direct = per_tap * (double)taps * (double)c.out;
    c.by_transforms = (per_level * levels(c.n) + per_number) * (double)c.n < direct;
    return c;
}
