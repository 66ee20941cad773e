// Grouped products, inside: what the C and the CUDA text of one share. See lower_grouped.c.
#ifndef MIXC_LOWER_GROUPED_H
#define MIXC_LOWER_GROUPED_H

#include "grouped.h"
#include "lower_loop.h"
#include "lower_product.h"

typedef struct GroupedText {
    ProductText P;
    Grouped     of;
    uint32_t    order;                      // workspace of ints: rows, then the parts below
    int64_t     start, block_group, block_first, block_end, n_blocks, n_ints;      // where they begin
    int64_t     block, most_blocks;         // rows of a block
    int64_t     cuda_block, most_cuda_blocks;       // the same on a GPU, where the lists of blocks are others
    const char *ints;                       // the workspace's name in the text at hand
    LoopGroup **sum;                        // [P.n_totals]: where the work items' parts of each total go
    const char *next_group;                 // the group after the one at hand, or that if it is the last
} GroupedText;

// Rows of a block on a GPU. They follow from the index alone.
int64_t grouped_cuda_rows_of_block(const Grouped *of);
// Blocks of threads of the main kernel.
int64_t grouped_cuda_blocks(Lower *L, const GroupedText *G);
// Declares the group of a row, in scope `at`, and returns its name: groups, and behind them the one of rows that chose nothing.
const char *grouped_declare_group(GroupedText *G, Scope *at, Ix row);

// Fill in the CUDA half of `text`, whose C half is finished; they leave it out where there are too many groups to sort.
void grouped_cuda_order(Lower *L, const GroupedText *G, LowerText *text);
void grouped_cuda(Lower *L, const GroupedText *G, const Space *space, LowerText *text);

#endif
