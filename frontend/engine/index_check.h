// Indices that a model computes from what it is given, compared with the axes that they index: what `run` says before it
// runs, and training after each step. Kernels take an index that is too large for none (passes/bounds.c), so nothing is read that is not there; but
// whoever gave the numbers wants to know.
#ifndef MIXC_INDEX_CHECK_H
#define MIXC_INDEX_CHECK_H

#include "engine.h"
#include "eval.h"

// Evaluates every index of `g` whose bounds do not follow from the graph (index_range.h). Indices that hang on a product,
// a transform or a router are left out: they are no arithmetic on what was given. `leaf` answers for inputs, params and
// states. Errors: BAD_MODEL, with the number, the axis and the model's line; the evaluator's.
Status index_check(const Graph *g, EvalLeaf *leaf, void *user, const Sources *sources, Arena *arena, StatusText *why);

// After a run of a training step: what it says of its indices (OUTPUT_FAULT), one number read for each that could be too large.
// Errors: BAD_MODEL, with the number, the axis and, as far as it is known, the model's line; the device's.
Status index_check_step(Net *net, StatusText *why);

#endif
