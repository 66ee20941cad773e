// Times of loaded programs against each other, in one process.
//
// In every round each racer runs once, after the caches of all threads were filled with something else. What counts is not a
// racer's best time but the ratio of its time to that of the first one in the same round: a neighbour's noise, a slow or a fast
// spell of the machine meets both. The median of these ratios is what a race says.
#ifndef MIXC_KERNEL_RACE_H
#define MIXC_KERNEL_RACE_H

#include "device.h"

struct GpuDevice;

enum { RACE_MOST_ROUNDS = 120 };

typedef struct Racer {
    const Program *program;
    LoadedProgram *loaded;                  // NULL: it takes no part
    float  time[RACE_MOST_ROUNDS];          // seconds of round i; 0: it was not in it
    int    n_rounds, n_wins;                // all; those in which it was faster than the first one
    double ratio;                           // the median of its times over those of the first one; 0: it never ran
    double seconds;                         // the median of its times
    bool   is_out;
} Racer;

typedef struct Race {
    const DeviceOps *ops;
    Device       *device;
    const Target *target;
    Racer        *racer; size_t n;          // the first that is loaded stays to the end: the others are held against it
    double        seconds;                  // of timing, for each of those that stay to the end, about
    bool          is_final;                 // nobody drops out
    const struct GpuDevice *counted_as;     // what a simulator's counts are weighed for (gpu_model.h); NULL: the first of all
} Race;

// Fills in the racers. Successive halving, unless it is the final: all run a few times, the best half a few times more, the best
// three as often as the time allows. Where the device counts instead of taking time (the simulator), each runs once, and its time
// is what a GPU would take for these counts: exact, so it stands for enough rounds to be sure. Errors: those of the device.
Status race_run(Arena *arena, Race *race, StatusText *why);

#endif
