// What launches did in the simulator: facts about kernels, not times.
#ifndef MIXC_SIM_COUNTERS_H
#define MIXC_SIM_COUNTERS_H

#include <stdint.h>

// COUNTER(name): what a launch did.
#define SIM_COUNTERS \
    COUNTER(launches) COUNTER(blocks) \
    COUNTER(instructions)                   /* of warps: issue slots */ \
    COUNTER(thread_instructions)            /* of lanes that took part */ \
    COUNTER(divergent_branches) \
    COUNTER(barriers)                       /* of blocks */ \
    COUNTER(global_requests) COUNTER(global_sectors)        /* of warps: sectors of 32 bytes between L1 and L2 */ \
    COUNTER(global_bytes)                   /* that lanes ask for */ \
    COUNTER(first_read_sectors) COUNTER(first_written_sectors)      /* each once in a launch: what memory has to move */ \
    COUNTER(shared_requests) COUNTER(shared_bytes) \
    COUNTER(bank_conflicts)                 /* further passes that a request to shared memory needs */ \
    COUNTER(copy_bytes)                     /* by cp.async */ \
    COUNTER(flops)                          /* of float32 additions, products and fused ones, without tensor cores */ \
    COUNTER(tensor_flops)

typedef struct SimCounters {                // added to by every launch
#define COUNTER(name) uint64_t name;
    SIM_COUNTERS
#undef COUNTER
} SimCounters;

void sim_counters_add(SimCounters *to, const SimCounters *what);
void sim_counters_subtract(SimCounters *from, const SimCounters *what);

#endif
