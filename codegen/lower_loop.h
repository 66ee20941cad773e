// The parts of the LOOP lowering: how values are grouped (lower_loop.c) and the bodies of each shape (loop_bodies.c).
#ifndef MIXC_LOWER_LOOP_H
#define MIXC_LOWER_LOOP_H

#include "loop_shape.h"
#include "lower.h"

enum { LOOP_MAX_MEMBERS = 24 };

typedef struct LoopGroup {                  // one launch (and a second one for columns)
    LoopWish  wish;
    ValueId   member[LOOP_MAX_MEMBERS]; size_t n;
    bool      is_column[LOOP_MAX_MEMBERS];  // a reduction over the rows: goes through a workspace
    bool      has_columns;
    uint32_t  part[LOOP_MAX_MEMBERS];       // columns: the workspace [chunks, columns]
    int64_t   n_chunks, chunk;              // of rows, or of elements
    int64_t   c_chunks;                     // columns: n_chunks of the C text, where the CUDA text has others
    AxisId    order[MAX_AXES];              // LANES: the axes from the outermost loop to the lanes
    int       n_flat;                       // LANES: so many innermost axes are run through as one
    int64_t   lane_size, block, n_blocks;   // LANES: of the flattened axis; blocks of it are work items
} LoopGroup;

// Cuts a group anew for its CUDA text, whose blocks are smaller and more; returns their number. `n_work`: of the C text.
int64_t loop_cut_for_cuda(const Lower *L, LoopGroup *group, int64_t n_work);

typedef void LoopBody(const Lower *L, const LoopGroup *group, Emitter *E);

// Each plan fills in the group's sizes and returns the number of work items.
int64_t lanes_plan(Lower *L, LoopGroup *group);
int64_t rows_plan(Lower *L, LoopGroup *group);
int64_t total_plan(Lower *L, LoopGroup *group);
LoopBody lanes_body, rows_body, total_body;
// Computes and stores the group's values, none of them a column, of the row at the indices `at` (of the axes wish.row).
void    rows_at(Emitter *E, Scope *row, const LoopGroup *group, const Env *at);
// The launches that add up the chunks.
void    lower_finish(Lower *L, LoopGroup *group);

// lower_plain_cuda for a kernel with sums of all elements: chunks of each go into its workspaces; lower_finish adds them up.
void    lower_plain_cuda_totals(Lower *L, LoopGroup *const *total, size_t n_totals);

// Pieces for other families' loops, in both dialects.

// The scope of one work item; *out_item is its number. In C a loop over the kernel's range, in CUDA the block.
Scope  *loop_items(Emitter *E, const char *hint, int64_t n_work, Ix *out_item);
void    loop_items_end(Emitter *E, Scope *item);
// Sets the indices of `axis`, the last one moving fastest, from a running number.
void    loop_set(Emitter *E, Env *env, const AxisId *axis, size_t n, Ix number);

typedef struct LoopSpan {                   // of a lane loop: [0, size), or the block [first, last) of it
    const char *hint;
    int64_t     size, length;               // length: of a block
    const char *first, *last;               // C variables; NULL: all
} LoopSpan;

typedef void LoopStep(Emitter *E, Scope *s, Ix at, void *user);

// The lane loop, and in C a second loop over what is left after whole vectors; in CUDA the threads share it out.
void    loop_lanes(Emitter *E, Scope *parent, const LoopSpan *span, LoopStep *step, void *user);
// Declares first and last of block number `block` of `length` out of `size`.
void    loop_block(Emitter *E, Scope *s, Ix block, int64_t length, int64_t size, LoopSpan *span);
// Statements for one thread of the block (or of the warp) only.
Scope  *loop_single(Emitter *E, Scope *s);
void    loop_single_end(Emitter *E, Scope *outer, Scope *s);

int64_t loop_count(const Graph *g, const AxisId *axis, size_t n);

#endif
