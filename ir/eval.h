// The reference evaluator: double precision, one naive loop nest per op, written from the equations. It is too dumb
// to be wrong; every pass, kernel and device is compared with it.
#ifndef MIXC_EVAL_H
#define MIXC_EVAL_H

#include "graph.h"
#include "status.h"

// Gives a leaf (ARG, PARAM, STATE) its numbers: row-major in the node's type, ints as whole doubles. Returns NULL when
// there are none, which is an error. The array is only read.
typedef const double *EvalLeaf(void *user, const Graph *g, const Node *leaf);

typedef struct EvalResult {
    double **value;                         // [n_nodes]: each node's elements, row-major in its type; NULL if not needed
} EvalResult;

// Evaluates everything the outputs need. Results live in `arena`.
Status graph_eval(const Graph *g, EvalLeaf *leaf, void *user, Arena *arena, EvalResult *out_result, StatusText *why);

// The same, but keeps the values of outputs only; the memory of the others is used again as soon as it can be.
Status graph_eval_outputs(const Graph *g, EvalLeaf *leaf, void *user, Arena *arena, EvalResult *out_result,
                          StatusText *why);

// One element: a function of acts.def, its derivative (of x or of y, as its row says), rounding to bf16.
double act_value(Act f, double x);
double act_slope(Act f, double x_or_y);
double bf16_round(double x);

#endif
