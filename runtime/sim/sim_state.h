// The state of a launch while it runs; private to runtime/sim.
#ifndef MIXC_SIM_STATE_H
#define MIXC_SIM_STATE_H

#include "sim.h"

#define SIM_SHARED_WINDOW UINT64_C(0x7e0000000000)     // where shared memory lies in the generic address space
#define SIM_LOCAL_WINDOW  UINT64_C(0x7f0000000000)
#define SIM_WINDOW_BYTES  UINT64_C(0x10000000000)

enum { BARRIERS = 16 };                      // that a block has; barrier 0 is __syncthreads

typedef struct Warp {
    uint32_t  live, waiting, parked;        // lanes that have not ended; of them, those at a barrier, those at what their partners have not come to
    uint32_t  names[WARP_LANES];            // the partners of lanes that are parked
    uint32_t  pc[WARP_LANES];               // of lanes that are not in `mask`
    uint32_t  mask, at;                     // the lanes that run now, all at instruction `at`
    uint32_t  until;                        // the next instruction where others wait to be run
    uint32_t  n_backward;                   // jumps back while others wait, since a change of lanes
    uint32_t *parted, *parted_at;           // [n_joins] lanes that went different ways and have not come to the join; at which jump
    uint32_t  n_parted;                     // joins that some lane has not come to
    uint32_t  index, first_thread;
    uint64_t  n_instructions;
    Slot     *reg;                          // [n_slots]
    uint32_t *defined;                      // [n_slots] of lanes
    uint32_t *low_defined;                  // [n_slots] the same of the low half, where a mov put the register together
    // Happens-before: time moves on at barriers. What warp v did at a time below known[v] is over for this warp.
    uint32_t  clock;
    uint32_t *known;                        // [n_warps]
    uint32_t  n_groups[WARP_LANES];         // of copies that each lane committed
} Warp;

// Who touched a place, and when. block 0: nobody; else its number in the grid plus 1.
typedef struct Toucher {
    uint32_t block, clock;
    uint16_t thread;
    bool     is_strong;                     // an atomic, or an access made for threads that race
} Toucher;

typedef struct Reads {                      // of one warp, at one place
    uint32_t clock, lanes;                  // the last time, and who read then; earlier reads are over when those are
} Reads;

typedef struct Traffic {                    // at one place
    Toucher  writer, strong_reader;         // the last ones
    uint32_t block;                         // whose plain reads these are; 0: nobody's
    uint16_t warp;                          // that `one` is of
    uint16_t other_thread;
    uint32_t other_block;                   // another one that has read; 0: none
    Reads    one, *all;                     // all: [n_warps], once more than one warp has read; NULL
} Traffic;

enum { WORD = 4 };

// A piece of memory where traffic is watched: accesses of whole words by words, smaller ones by bytes, each checked against both.
typedef struct Ground {
    size_t   n_bytes;
    Traffic *word;                          // [n_bytes/WORD]; NULL: nothing so far
    Traffic *byte;                          // [n_bytes]; NULL: nothing smaller than a word so far
} Ground;

enum { PAGE_BYTES = 4096, SECTOR_BYTES = 32 };

typedef struct Page {                       // what happened to a piece of global memory in this launch
    uint64_t     number;                    // of the page; PAGE_NONE: the place in the table is free
    Ground       ground;
    uint64_t     read[PAGE_BYTES / SECTOR_BYTES / 64], written[PAGE_BYTES / SECTOR_BYTES / 64];       // sectors that were touched
} Page;

typedef struct Flight {                     // a copy that was issued and not yet waited for
    uint32_t             thread, group;     // group: how many the thread had committed before
    uint32_t             to, bytes;         // in shared memory
    const unsigned char *from;              // NULL: zeros
    uint32_t             from_bytes;        // the rest is zeros
    uint32_t             mbarrier;          // where it ends, its byte plus 1; 0: its thread waits for its group
    bool                 has_landed;        // and nobody can know yet
} Flight;

typedef struct Mbarrier {                   // in shared memory
    uint32_t  at, count, pending;           // its first byte; arrivals of a phase, those that are missing
    int64_t   bytes;                        // announced and not yet there
    uint32_t  parity;                       // of the phase that is not over
    uint32_t *known, *done;                 // [n_warps] what those know who arrived, in this phase and in the last one
} Mbarrier;

typedef struct Sim {
    const SimLaunch *launch;
    const PtxKernel *kernel;
    SimCounters     *counters;
    StatusText      *why;
    bool             failed;
    Arena            arena;
    unsigned char   *param;
    uint32_t         n_threads, n_warps, block[3];     // block: the index of the one that runs
    uint32_t         block_number;          // in the grid, plus 1
    Warp            *warp;
    uint32_t        *order;                 // [n_warps] in which warps take turns
    uint32_t        *joined;                // [n_warps] of those that meet at a barrier
    size_t           shared_bytes;
    unsigned char   *shared;
    uint8_t         *shared_defined;
    uint8_t         *shared_flight;         // copies that are under way to the byte
    uint8_t         *shared_gap;            // the byte is of no array; NULL: all are of some
    bool            *can_change;            // [n_regions] somebody may write to it, so reads of it are watched
    Ground           ground;                // of shared memory
    unsigned char   *local;                 // [n_threads, local_bytes]
    uint8_t         *local_defined;
    size_t           last_region;           // where the last access was found
    Page            *page; size_t n_pages, page_capacity;      // a hash table
    Page            *last_page;
    Flight          *flight; size_t n_flights, flight_capacity;
    Mbarrier        *mbarrier; size_t n_mbarriers, mbarrier_capacity;
    uint32_t         n_idle_waits;          // at mbarriers, since a warp did anything else
    uint64_t         random;                // state; 0: plain order
} Sim;

// A memory access of one lane.
typedef struct Access {
    const PtxInsn *insn;
    const Warp    *warp;
    uint32_t       thread;
    uint64_t       address;
    size_t         bytes;
    bool           reads, writes, is_strong;
    bool           is_mbarrier;             // made for one
} Access;

typedef struct Place {
    unsigned char *data;
    uint8_t       *defined;                 // NULL: always
} Place;

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
// The address that a lane accesses.
uint64_t sim_address(const Sim *s, const Warp *w, const PtxAddress *a, int lane);
// Finds the bytes of an access in that space, with all checks. False after a failure.
bool sim_find(Sim *s, PtxSpace space, const Access *a, Place *out);
// The same for an access with a generic address; *space and the address become those of the window it lies in.
PtxSpace sim_narrow_generic(uint64_t *address);
void sim_count_shared(Sim *s, const uint64_t *address, size_t bytes, uint32_t mask);
void sim_count_global(Sim *s, const uint64_t *address, size_t bytes, uint32_t mask, bool reads, bool writes);

// Picks the lanes that run next, of those that are ready; with none mask is 0.
void sim_pick_lanes(Sim *s, Warp *w);
void sim_branch(Sim *s, Warp *w, const PtxInsn *i, uint32_t taken);
// The lanes of `who` end, or wait at a barrier, at the instruction where they are; the rest goes on. False after a failure.
bool sim_leave(Sim *s, Warp *w, uint32_t who, bool has_ended);
// The running lanes are at a join.
void sim_join(Warp *w, uint16_t join);
// An instruction that lanes of a warp do together: now, or when the last of them comes. False after a failure. Moves them on.
bool sim_meet(Sim *s, Warp *w, const PtxInsn *i, uint32_t mask);
// The lanes of `mask` are not on one of several ways of their warp. False after a failure.
bool sim_check_together(Sim *s, const Warp *w, const PtxInsn *i, uint32_t mask);
// Nothing goes on any more: false when some lane waits for another one.
bool sim_check_parked(Sim *s);

// Shuffles, votes, fields: instructions that move data between lanes or have many operands.
bool sim_exchange(Sim *s, Warp *w, const PtxInsn *i, uint32_t mask);
// mma and ldmatrix.
bool sim_tensor(Sim *s, Warp *w, const PtxInsn *i, uint32_t mask);
// cp.async: issue, commit, wait.
bool sim_copy(Sim *s, Warp *w, const PtxInsn *i, uint32_t mask);
// Threads that end have waited for what they copied: nobody can use it any more.
bool sim_check_landed(Sim *s, const Warp *w, const PtxInsn *i, uint32_t mask);

// mbarrier instructions and bulk copies.
bool sim_mbarrier(Sim *s, Warp *w, const PtxInsn *i, uint32_t mask);
// The barrier that has one of these bytes of shared memory; NULL: none.
const Mbarrier *sim_mbarrier_at(const Sim *s, uint64_t at, size_t bytes);

// Checks and records an access to the ground's bytes from `begin` on; false when another thread's access is not ordered with it. `at`:
// its first byte in `what`, for the message.
bool sim_check_race(Sim *s, const Access *a, Ground *g, size_t begin, size_t at, const char *what);
// Forgets what happened: another block uses the memory.
void sim_forget(Ground *g);
// What happened at an address of global memory in this launch.
Page *sim_page(Sim *s, uint64_t address);

// A number that the seed decides; 0 when the order is plain.
uint64_t sim_random(Sim *s);

#endif
