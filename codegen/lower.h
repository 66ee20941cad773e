// Lowering: from one kernel of the graph to kernel texts and launches.
//
// codegen_program calls the lowering of the kernel's family once for each distinct structure: a kernel whose nodes,
// sizes and operands are the same as an earlier one's (another layer's) gets the same launches with its own buffers.
// So a lowering must depend on nothing but what the kernel key holds (kernel_key.c): ops, attributes, types, sizes and
// which operand is which.
#ifndef MIXC_LOWER_H
#define MIXC_LOWER_H

#include "codegen.h"
#include "emitter.h"
#include "kernel_schedule.h"

typedef struct LowerLaunch {
    uint32_t   kernel;                      // of the program
    uint32_t   n_args;
    ValueId   *value;                       // [n_args]: the argument's value; 0: a workspace
    uint32_t  *workspace;                   // [n_args]; EMIT_KEY: the key of the value's random stream
    int64_t    n_work, grain, cuda_blocks;
    double     flops, bytes;
    bool       is_shared;                   // writes a workspace that is made of a value and nothing else: left out where it is there already
} LowerLaunch;

typedef struct LowerWorkspace {
    const char *hint;
    DType       dtype;
    int64_t     count;
    ValueId     made_of;                    // holds what follows from this value alone, and kernels share it: the order of rows by an
    uint64_t    made_key;                   // index (lower_order.h), an operand rounded. 0: it is the kernel's own. made_key says what it is
} LowerWorkspace;

typedef struct Lower {
    Arena        *arena;
    Diag         *diag;
    const Graph  *g;
    const Target *target;
    Program      *program;
    uint32_t      kernel;                   // of the graph
    const ValueId *member; size_t n_members;   // the values it stores, ascending
    const ValueId *ready; size_t n_ready;   // what its launches so far have stored
    Schedule      schedule;                 // what was measured to be best; all 0: the family decides
    uint32_t     *n_uses;                   // [n_nodes]: how often the kernel's nodes read each; for Emitter.n_uses
    const ValueId *order_for;               // [n_nodes] a grouped product by this index, whose order its maker may write; NULL: none
    bool          keeps_weights;            // matrices made ready for products are made once, and there is room for all of them
    LowerWorkspace *workspace; size_t n_workspaces, workspace_capacity;   // [0] is unused
    LowerLaunch  *launch; size_t n_launches, launch_capacity;
} Lower;

// One row for each family. Returns false after an error in diag.
bool lower_loop(Lower *L);
bool lower_contract(Lower *L);
bool lower_rows(Lower *L);
bool lower_scatter(Lower *L);
bool lower_route(Lower *L);
bool lower_conv(Lower *L);
bool lower_grouped(Lower *L);
bool lower_monarch(Lower *L);

// The schedules of a family that has a choice, as codegen_candidates gives them. Nothing is lowered.
size_t candidates_contract(Lower *L, size_t most, Candidate **out);
size_t candidates_loop(Lower *L, size_t most, Candidate **out);
size_t candidates_rows(Lower *L, size_t most, Candidate **out);
size_t candidates_grouped(Lower *L, size_t most, Candidate **out);
size_t candidates_monarch(Lower *L, size_t most, Candidate **out);

// An emitter for a kernel of L. For CUDA give the C emitter, whose parameters (and their order) it takes over.
Emitter *lower_emitter(Lower *L, Dialect dialect, const Emitter *like);

// A buffer that lives for this kernel's launches only. Returns its number, for emit_workspace.
uint32_t lower_workspace(Lower *L, const char *hint, DType dtype, int64_t count);

typedef struct LowerText {
    const char *hint;                       // for the kernel's name
    const char *comment;                    // what it computes: lines without "//", '\n' between them
    Emitter    *c, *cuda;                   // finished; cuda may be NULL
    int64_t     n_work, grain;
    size_t      scratch_bytes;
    int64_t     cuda_blocks, cuda_threads;  // threads: a power of two
    int64_t     cuda_shared_floats;         // of the block's array `shared`; 0: one for each warp, if it is used
    int64_t     cuda_dynamic_bytes;         // of the block's array `dynamic` of floats, a multiple of 128 in memory; 0: none
    double      flops, bytes;
    bool        uses_scratch;
    const LibraryProduct *library;          // Kernel.library
    bool        is_shared;                  // LowerLaunch.is_shared
} LowerText;

// Adds the kernel and its launch. The C function is
//     void NAME(void *const *p, long begin, long end, void *scratch) { parameters; the emitter's body }
void lower_launch(Lower *L, const LowerText *text);

// Adds a kernel that is a sweep (ir/program.h) and returns it. The bodies are those of a piece, whose parameters the functions look up; `count`
// (elements of each piece) and `piece` are theirs to use, in CUDA also `at`, a piece and a chunk of it for each block.
uint32_t lower_sweep(Lower *L, const char *hint, const char *comment, const Emitter *c, const Emitter *cuda, const Sweep *sweep, int64_t threads);

// The CUDA function of a finished emitter: extern "C" __global__ void NAME(typed pointers) { the body }. `shared`: floats of
// the block's array of that name, if the body uses it.
const char *lower_cuda_function(Lower *L, const Emitter *E, const char *comment, const char *name, int64_t shared);

// Gives kernels of L that have C text only a CUDA text too: the stored values one by one as plain loops. Slow, but the
// same numbers.
void lower_plain_cuda(Lower *L);

// "y[b,t,d] = ..": names and axes of a value for comments.
void lower_describe(const Graph *g, ValueId v, Text *out);

#endif
