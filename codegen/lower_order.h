// The order of rows by what they chose, which grouped products and whoever makes their index share: a workspace of ints.
#ifndef MIXC_LOWER_ORDER_H
#define MIXC_LOWER_ORDER_H

#include "grouped.h"
#include "lower.h"

typedef struct RowOrder {
    const Grouped *of;                      // any product by the index; borrowed
    int64_t block, most_blocks;             // rows of a block at most; blocks there may be
    int64_t cuda_block, most_cuda_blocks;   // the same on a GPU, where the lists of blocks are others
    // Where the parts begin: the rows in order of their group (stably) from 0 on; where each group starts; of each block its
    // group and its first and last row; the number of blocks; all of it.
    int64_t start, block_group, block_first, block_end, n_blocks, n_ints;
} RowOrder;

RowOrder    order_of_rows(const Grouped *of);
// The workspace for it, which kernels with the same index and the same groups have in common.
uint32_t    order_workspace(Lower *L, const RowOrder *order);
// What two products by the same index must share for their orders to be the same.
uint64_t    order_key(const Graph *g, const Grouped *of);
// Declares the group of a row, in scope `at`, and returns its name: groups, and behind them the one of rows that chose nothing.
const char *order_declare_group(Emitter *E, const RowOrder *order, Scope *at, Ix row);
// Writes the order into `ints`, the workspace's name: the text of one thread.
void        order_emit(Emitter *E, Scope *at, const RowOrder *order, const char *ints);

#endif
