// The state of a launch while it runs; private to runtime/sim.
#ifndef MIXC_SIM_STATE_H
#define MIXC_SIM_STATE_H

#include "sim.h"

#define SIM_SHARED_WINDOW UINT64_C(0x7e0000000000)     // where shared memory lies in the generic address space
#define SIM_LOCAL_WINDOW  UINT64_C(0x7f0000000000)
#define SIM_WINDOW_BYTES  UINT64_C(0x10000000000)

typedef struct Warp {
    uint32_t  live, waiting;                // lanes that have not ended; of them, those at a barrier
    uint32_t  pc[WARP_LANES];               // of lanes that are not in `mask`
    uint32_t  mask, at;                     // the lanes that run now, all at instruction `at`
    uint32_t  until;                        // the next instruction where others wait to be run
    uint32_t  n_backward;                   // jumps back while others wait, since a change of lanes
    uint32_t  first_thread;
    uint64_t  n_instructions;
    Slot     *reg;                          // [n_slots]
    uint32_t *defined;                      // [n_slots] of lanes
} Warp;

// What happened to a byte of shared memory since the last barrier: epochs say which accesses still count.
typedef struct Traffic {
    uint32_t write_epoch, read_epoch;
    uint16_t writer, reader;                // threads; reader MANY: several
} Traffic;

enum { MANY_THREADS = UINT16_MAX };

typedef struct Sim {
    const SimLaunch *launch;
    const PtxKernel *kernel;
    SimCounters     *counters;
    StatusText      *why;
    bool             failed;
    Arena            arena;
    unsigned char   *param;
    uint32_t         n_threads, n_warps, block[3];     // block: the index of the one that runs
    Warp            *warp;
    size_t           shared_bytes;
    unsigned char   *shared;
    uint8_t         *shared_defined;
    Traffic         *traffic;
    uint32_t         epoch;                 // counts barriers over all blocks
    unsigned char   *local;                 // [n_threads, local_bytes]
    uint8_t         *local_defined;
    size_t           last_region;           // where the last access was found
} Sim;

// Records the first failure, at instruction i. Returns false.
bool sim_fail(Sim *s, const PtxInsn *i, const char *format, ...) __attribute__((format(printf, 3, 4)));
// The name of an opcode as it is written.
const char *sim_opcode(const PtxInsn *i, char *out, size_t room);
static inline const Slot *sim_source(const Sim *s, const Warp *w, int32_t reg)
{
    return reg < 0 ? &s->kernel->constant[~reg] : &w->reg[reg];
}
// False after a failure: one of the lanes has no value in the register.
bool sim_is_defined(Sim *s, const Warp *w, const PtxInsn *i, int32_t reg, uint32_t mask);

void sim_alu(PtxForm form, Slot *d, const Slot *a, const Slot *b, const Slot *c, uint32_t mask);
// The new value of memory, from what was there and the operands; bits of the type.
uint64_t sim_atomic(PtxForm form, uint64_t a, uint64_t b, uint64_t c);
// Loads, stores and atomics of the lanes of `mask`. False after a failure.
bool sim_memory(Sim *s, Warp *w, const PtxInsn *i, uint32_t mask);
// Shuffles, votes, fields: instructions that move data between lanes or have five operands.
bool sim_exchange(Sim *s, Warp *w, const PtxInsn *i, uint32_t mask);

#endif
