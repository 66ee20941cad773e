// The cases of tests/ops/<op>.ir: a small graph, literal inputs, expected outputs. Any implementation of the ops can be
// held to them.
//
//     // title
//     graph @main
//     axis A = 2
//     { ... result "r" = %2 }
//     input x = 1 2
//     expect r = 3 4
//
// Cases are split by a line `----`. Instead of `expect` a case may say `refuse MESSAGE` (the graph is not legal) or
// `fails MESSAGE` (its evaluation ends with that).
#ifndef MIXC_OP_CASES_H
#define MIXC_OP_CASES_H

#include "eval.h"

typedef struct OpNumbers {
    const char *name;
    double     *value;
    size_t      n;
} OpNumbers;

enum { MAX_CASE_NUMBERS = 8 };

typedef struct OpCase {
    const char *title, *text;               // the graph's text
    OpNumbers   input[MAX_CASE_NUMBERS];
    size_t      n_inputs;
    OpNumbers   expect[MAX_CASE_NUMBERS];
    size_t      n_expects;
    const char *refuse, *fails;             // NULL: neither
} OpCase;

// Reads a file. Returns the number of cases; 0 when it cannot be read or a line is not understood.
size_t op_cases_read(Arena *arena, const char *path, OpCase **out_cases);
// The case's graph; NULL, with diagnostics, when it is not legal.
Graph *op_case_graph(const OpCase *c, Arena *arena, Diag *diag);
// An EvalLeaf whose user is an OpCase.
const double *op_case_leaf(void *user, const Graph *g, const Node *leaf);

#endif
