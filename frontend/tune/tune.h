// The search for faster schedules: candidates from the cost model, each checked and timed in a child process, every time
// kept as soon as it is known (runtime/tuning.h). Killed at any moment, the next search goes on from there.
#ifndef MIXC_TUNE_H
#define MIXC_TUNE_H

#include "engine.h"
#include "kernel_schedule.h"
#include "tuning.h"

typedef struct TuneOptions {
    size_t      kernels;                    // those that take most of a step, at most so many; 0: all
    size_t      candidates;                 // of each kernel, at most, the default included
    double      budget_s;                   // 0: no limit
    double      seconds;                    // of timing, for each candidate
    const char *match;                      // only kernels of this family, or whose description holds this; NULL: all
    DeviceOptions on_device;                // as the engine's
} TuneOptions;

typedef struct TuneKernel {                 // a structure of the graph that has candidates
    uint64_t    key;
    uint32_t    kernel;                     // of the graph
    size_t      instances;
    const char *about;                      // in words
    Candidate  *candidate; size_t n;
    bool       *known;                      // [n] measured before
    size_t      n_known;
} TuneKernel;

typedef struct Tune {
    Arena        *arena;
    const Graph  *g;                        // fused
    const Engine *engine;
    Tuning       *db;
    TuneOptions   options;
    TuneKernel   *kernel; size_t n;         // those with a choice
    size_t        n_structures;             // all
    size_t        n_candidates, n_known;
} Tune;

// Finds the kernels, their candidates and what is known of them.
void   tune_begin(Tune *tune);

// Measures what is not known, kernel by kernel. `progress` is called before each kernel (i of n) and may return false to
// stop. *out_finished: nothing is left.
typedef bool TuneProgress(void *user, const Tune *tune, size_t i);
Status tune_run(Tune *tune, TuneProgress *progress, void *user, bool *out_finished, StatusText *why);

#endif
