// Reverse-mode gradients: appends to a graph the nodes that compute the derivative of one scalar.
//
// The gradient of every op is written in the same set of ops (passes/grad_rules*.c, one rule per op, named in
// ir/ops.def). Values that do not depend on what is asked for get no gradient nodes, and neither do values that
// the total does not depend on.
#ifndef MIXC_GRAD_H
#define MIXC_GRAD_H

#include "module.h"

// Appends the gradient of `total` (f32[]) with respect to each of wrt[0..n) to g, a graph being built.
// out_grad[i] has the axes of wrt[i] in its order, or is 0 where total does not depend on wrt[i].
// Hints are `d` and the hint of the value; places and layers are those of the node whose rule made them.
// Returns false after an error in g->diag (total is not a float scalar).
bool grad_build(Graph *g, ValueId total, const ValueId *wrt, size_t n, ValueId *out_grad);

typedef struct RunGradOptions {
    const char *const *cotangent;           // names of results for which the caller gives a cotangent
    size_t             n_cotangents;
    bool               with_loss;           // the train loss is part of the total, else the aux loss (when there is one)
} RunGradOptions;

// For `mixc run --grad`, before any pass: replaces graph `main` by one that also computes gradients.
//   total = sum over NAME of sum(ARG "cotangent.NAME" * result NAME) + (OUTPUT_LOSS "train", or else "aux" if any)
// New inputs: ARG "cotangent.NAME" (f32, the axes of the result). New outputs: OUTPUT_GRAD "input.NAME" for every ARG
// that is f32 and not a scalar of the host (seed, step, lr), OUTPUT_GRAD "param.NAME" for every trained parameter;
// zeros where the total does not depend on it. Returns false after an error: no such result, no train loss, a total
// with nothing in it.
bool grad_of_run(Module *m, const RunGradOptions *options);

#endif
