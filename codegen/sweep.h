// Kernels that run as one launch: see sweep.c. Inside codegen.
#ifndef MIXC_SWEEP_H
#define MIXC_SWEEP_H

#include "codegen_state.h"

typedef struct SweepStep {                  // what comes next in the program
    const uint32_t *kernel; size_t n;       // of the graph; more than one: the pieces of a sweep
} SweepStep;

// Steps in the order of execution, from c->order; buffers are known. For a target that is no GPU every kernel is a step.
size_t sweep_plan(Codegen *c, SweepStep **out);
// Adds the kernels and launches of a step with more than one kernel.
void   sweep_add(Codegen *c, const SweepStep *step);

#endif
