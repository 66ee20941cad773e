// Random legal graphs over all ops, the same for the same seed, and numbers for their leaves.
#ifndef MIXC_RANDOM_GRAPH_H
#define MIXC_RANDOM_GRAPH_H

#include "eval.h"

typedef struct RandomGraphOptions {
    size_t n_nodes;                         // about so many; 0: 24
    bool   with_host_ops;                   // ops that only initialisers use
    bool   with_bf16;
    bool   tame;                            // no function or division whose value may be huge or not a number
} RandomGraphOptions;

// Every value that nobody uses is a result ("r0", "r1", ..). Sizes are 1 to 12; no value has more than 4,096 elements.
// Indices are always in range.
Graph *random_graph(Arena *arena, Diag *diag, uint64_t seed, const RandomGraphOptions *options);

// An EvalLeaf: numbers in (-2, 2), small whole numbers for int, a pure function of leaf name and element. `user` is an
// Arena.
const double *random_leaf(void *user, const Graph *g, const Node *leaf);

#endif
