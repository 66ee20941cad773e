// The simulator: runs one launch of a PTX kernel on memory that it watches. It finds what a GPU passes over in silence:
// accesses outside of every buffer, misaligned ones, values that nobody wrote, barriers that not all threads reach,
// threads that race on shared memory. Every finding names the PTX line and, where `.loc` tells, the source line.
#ifndef MIXC_SIM_H
#define MIXC_SIM_H

#include "ptx.h"
#include "sim_counters.h"
#include "status.h"

// A piece of global memory that a launch may touch. Regions may lie over one another (a state updated in place).
typedef struct SimRegion {
    const char    *name;
    uint64_t       base;                    // its address on the device
    size_t         bytes;
    unsigned char *data;                    // borrowed
    uint8_t       *defined;                 // borrowed; one for each byte: somebody wrote it
    bool           is_writable;
} SimRegion;

typedef struct SimLaunch {
    const PtxModule *module;
    const char      *kernel;
    const char      *line;                  // of the model, for messages; NULL or "": not known
    uint32_t         grid[3], block[3];
    const uint64_t  *arg;                   // the value of each parameter
    size_t           n_args;
    size_t           shared_bytes;          // beside what the kernel declares
    const SimRegion *region;
    size_t           n_regions;
    uint64_t         max_instructions;      // of a warp, then it is said to hang; 0: 2^36
    uint64_t         seed;                  // of the order of blocks and warps; 0: ascending
    bool             fill_is_unset;         // what a copy fills up with zeros has no value: does anything depend on it?
    uint64_t        *trace;                 // NULL; else [2]: [0] gets a hash added of every access to global and shared memory, where and the
                                            // bits that it stores, [1] of what is stored in global memory alone. Neither the order nor
                                            // who does it matters
} SimLaunch;

// Fails with INTERNAL when the kernel does what it must not: the message begins with NAME:LINE of the PTX.
Status sim_launch(const SimLaunch *launch, SimCounters *counters, StatusText *why);

#endif
