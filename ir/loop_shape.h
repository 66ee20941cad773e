// The shape of the loops that compute a stored value: what decides which values one loop kernel can store together. Used by
// the fusion (what to put together) and by code generation (how to write it), so that they agree.
//
//   lanes   the innermost axis in lanes, every other index its own; reductions over other axes inside the lane loop
//   rows    a row is an index for each axis of `row`; reductions along the row come first, then the row is written
//   total   a reduction of everything to one number
//
// A column is a reduction over the rows (and perhaps along them): it adds up from row to row.
#ifndef MIXC_LOOP_SHAPE_H
#define MIXC_LOOP_SHAPE_H

#include "graph.h"

typedef enum LoopShape { LOOP_LANES, LOOP_ROWS, LOOP_TOTAL } LoopShape;

typedef struct LoopWish {
    LoopShape shape;
    bool      is_column;
    AxisId    row[MAX_AXES]; size_t n_rows; // ROWS
} LoopWish;

// The shape for the value alone. What other kernels than `kernel` store is read; everything else is computed in place.
LoopWish loop_ask(const Graph *g, uint32_t kernel, ValueId v);

// Whether `v`, which asks for `wish`, can be written by the loops `group` that write `first` (and others) already. May
// change the group's shape from lanes to rows. Says nothing about dependencies.
bool     loop_join(const Graph *g, LoopWish *group, const ValueId *member, size_t n_members, const LoopWish *wish, ValueId v);

// A reduction, a product or a put_add with something to sum.
bool     loop_is_reduction(const Node *n);
// The axes it sums over.
const Attr *loop_reduced_axes(const Node *n);
// The axis along which most of what a reduction reads lies side by side in memory; 0: none.
AxisId   loop_memory_axis(const Graph *g, uint32_t kernel, ValueId v);
// Whether an op's value at an index needs its operands at other indices than the same.
bool     loop_moves_index(const Node *n);

#endif
