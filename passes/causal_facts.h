// What the causality proof knows of a value: how far along the time axis its elements read the claim's inputs, and where
// its elements are known. Worked out from operands to users by causal_facts.c; judged and reported by causal.c.
#ifndef MIXC_CAUSAL_FACTS_H
#define MIXC_CAUSAL_FACTS_H

#include "graph.h"

enum { MAX_BOUNDS = 6, MAX_TERMS = 4, MAX_FACTS = 8 };
#define NOWHERE INT64_MIN                   // before every position
#define ORDINARY 1e8                        // scores, weights and sums stay between -ORDINARY and ORDINARY
#define LOW_ENOUGH (-1e9)                   // exp of it is 0 in every element type, also next to usual numbers

// The elements with i_a > max(i_b + shift, floor). b = 0: with i_a > floor. floor may be NOWHERE.
// Or, on_diagonal: those with i_a = i_b.
typedef struct Region {
    AxisId  a, b;
    int64_t shift, floor;
    bool    on_diagonal;
} Region;

enum Known {
    KNOWN_SAME = 1,                         // does not depend on the claim's inputs
    KNOWN_LOW  = 2,                         // so negative that its exp is 0, whatever moderate number is added
    KNOWN_ZERO = 4,                         // is 0
    KNOWN_ONE  = 8,                         // is 1
    KNOWN_FAIR = 16                         // is not LOW; only kept for diagonals
};

typedef struct Fact {
    Region   where;
    unsigned known;
} Fact;

// Positions up to the sum of stride * i_axis over the terms, plus shift. A value that still counts time by one axis has
// one term of stride 1; where time is split into digits there is a term for each. Terms are in order of their axes.
typedef struct Bound {
    struct { AxisId axis; int64_t stride; } term[MAX_TERMS];
    size_t  n_terms;
    int64_t shift;
} Bound;

typedef struct Reads {
    // An element reads inputs at positions up to the largest of its bounds and of `fixed`; with `all`, it may read any.
    // No bounds, fixed = NOWHERE and not all: it does not depend on the inputs.
    Bound   bound[MAX_BOUNDS];
    size_t  n_bounds;
    int64_t fixed;
    bool    all;
    Fact    fact[MAX_FACTS];
    size_t  n_facts;
    bool    is_linear;                      // the value is i_plus - i_minus + offset (either axis may be 0)
    AxisId  plus, minus;
    int64_t offset;
    double  least, most;                    // bounds of all elements; -ORDINARY and ORDINARY for usual numbers
    double  low_at_most;                    // the LOW elements are not more than this
    bool    is_binary;                      // every element is 0 or 1
    bool    is_const;                       // every element is `value`
    double  value;
} Reads;

bool    reads_depend(const Reads *r);
bool    reads_along(const Reads *r, AxisId axis);       // a bound has a term along it
// A claim's input: position t along `axis` (or a twin of it) reads position t.
Reads   reads_input(const Graph *g, const Type *type, AxisId axis);
// From the operands of n; `reads` holds what is known of each, by id.
Reads   reads_of_node(const Graph *g, const Node *n, const Reads *const *reads);

#endif
