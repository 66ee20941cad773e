// One kernel, under several schedules: made-up inputs, checked results, times in turns (kernel_race.h).
#ifndef MIXC_KERNEL_TRIAL_H
#define MIXC_KERNEL_TRIAL_H

#include "device.h"
#include "kernel_schedule.h"

#include <stdio.h>

// Made-up numbers for the arguments of a kernel's graph: floats between -1 and 1; ints in range of the axis that they pick
// from, now and then -1 (none) unless something is taken with them. *out_numbers[v] for argument v, row-major.
double **trial_inputs(Arena *arena, const Graph *g);

// Tries the schedules on a device opened for it and reports on `out`, a line each:
//     try I                       before schedule I is compiled and run
//     refused I WHY               it could not be compiled, loaded or run
//     wrong I WHY                 its results differ from the evaluator's (or, where evaluating would take too long, from
//                                 those of the first schedule)
//     ok I SECONDS RATIO ROUNDS WINS    the median time of a run; that of its ratio to the first schedule's in the same round;
//                                 rounds, and how many of them it won (kernel_race.h)
//     unable 0 WHY                the device could not be opened; this says nothing of a schedule
// Meant for a child process, as a kernel may crash. `g` is a kernel's graph (codegen_kernel_graph).
typedef struct Trial {
    const Graph     *g;
    const Target    *target;                // NULL: what the device says of itself
    const Schedule  *schedule; size_t n;
    const DeviceOps *ops;
    const DeviceOptions *on_device;
    double           seconds;               // of timing, for each schedule that stays to the end, about
    const char      *counted_as;            // the GPU that a simulator's counts are weighed for (gpu_model.h); NULL: the usual one
    bool             is_final;              // all were found right before and stay to the end: only their times are wanted
} Trial;

void trial_run(const Trial *trial, FILE *out);

#endif
