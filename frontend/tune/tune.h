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
    const char *counted_as;                 // as Trial's
    DeviceOptions on_device;                // as the engine's
} TuneOptions;

typedef struct TuneKernel {                 // a structure of the graph that has candidates
    uint64_t    key;
    uint32_t    kernel;                     // of the graph
    size_t      instances;
    const char *about;                      // in words
    Candidate  *candidate; size_t n;
    bool       *known;                      // [n] measured before
    double     *ratio;                      // [n] where known: its time over the default's; 0: it was not OK
    size_t      n_known;
    bool        is_settled;                 // and the best have met the default in the last races
} TuneKernel;

typedef struct Tune {
    Arena        *arena;
    const Graph  *g;                        // fused
    const Engine *engine;
    Tuning       *db;
    TuneOptions   options;
    Schedules     face;                     // what the cost model is told: no winners, the constants
    TuneKernel   *kernel; size_t n;         // those with a choice
    size_t        n_structures;             // all
    size_t        n_candidates, n_known, n_settled;
} Tune;

// The constants of the cost model: those in the database, or, where it has none or `anew`, measured now (half a second) and kept.
// Zero on devices that have none. The database then holds what belongs to them. Before tune_begin.
Status tune_calibrate(Tune *tune, const char *place, bool anew, StatusText *why);

// Finds the kernels, their candidates and what is known of them.
void   tune_begin(Tune *tune);

// Measures what is not known, kernel by kernel: first all candidates in one race (kernel_race.h), then, in TUNING_RACES processes
// more, the three best against the default. `progress` is called before each kernel (i of n) and may return false to
// stop. *out_finished: nothing is left.
typedef bool TuneProgress(void *user, const Tune *tune, size_t i);
Status tune_run(Tune *tune, TuneProgress *progress, void *user, bool *out_finished, StatusText *why);

// Times schedules of the kernels that were found against their defaults, in `races` processes one after the other, and keeps
// nothing. `visit` gets each outcome: the race, the schedule (0: the default), "ok", "wrong" or "refused".
typedef struct TuneHeat { int race; size_t schedule; const char *outcome; double seconds, ratio; int rounds, wins; } TuneHeat;
typedef void TuneVisit(void *user, const TuneKernel *kernel, const TuneHeat *heat);
Status tune_try(Tune *tune, const Schedule *schedule, size_t n, int races, TuneVisit *visit, void *user, StatusText *why);

#endif
