// Grouped products, inside: what the C and the CUDA text of one share. See lower_grouped.c.
#ifndef MIXC_LOWER_GROUPED_H
#define MIXC_LOWER_GROUPED_H

#include "lower_loop.h"
#include "lower_order.h"
#include "lower_product.h"

typedef struct GroupedText {
    ProductText P;
    Grouped     of;
    RowOrder    rows;                       // where the parts of the order begin
    uint32_t    order;                      // its workspace
    const char *ints;                       // the workspace's name in the text at hand
    LoopGroup **sum;                        // [P.n_totals]: where the work items' parts of each total go
} GroupedText;

// Blocks of threads of the main kernel.
int64_t grouped_cuda_blocks(Lower *L, const GroupedText *G);
// The schedules of the CUDA text.
size_t  grouped_cuda_candidates(Lower *L, const GroupedText *G, size_t most, Candidate **out);
// Fill in the CUDA half of `text`, whose C half is finished; they leave it out where there are too many groups to sort.
void grouped_cuda_order(Lower *L, const GroupedText *G, LowerText *text);
void grouped_cuda(Lower *L, const GroupedText *G, const Space *space, LowerText *text);

#endif
