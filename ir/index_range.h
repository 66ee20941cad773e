// Which numbers a model looks things up with. Kernels do not compare an index with its axis: what is too large must never
// reach them. There are three ways, and every `take` and `put_add` goes one of them:
//   - the index is an input handed on as it is: whoever fills the input compares it with index_limit;
//   - its bounds follow from the ops that make it: index_bounds proves it;
//   - neither: the pass `bounds` makes a number that is too large a negative one, which means none.
#ifndef MIXC_INDEX_RANGE_H
#define MIXC_INDEX_RANGE_H

#include "graph.h"

// The input `arg` indexes nothing longer than the result: its numbers must be *out_least <= x < result. INT64_MAX when
// it indexes nothing. *out_axis: the axis that says so (NULL: none). *out_least is 0, or INT64_MIN where negative
// numbers mean none: the graph raises them to one that `take` reads as 0.
int64_t index_limit(const Graph *g, const char *arg, int64_t *out_least, const char **out_axis);

// [n_nodes] in the arena: every number of the value lies in least .. most, given that inputs keep to their limit.
// Nothing is known of params and states, which come from files, and of most float arithmetic.
typedef struct Bounds { double least, most; } Bounds;
Bounds *index_bounds(const Graph *g, Arena *arena);

// The index operand and the looked-up axis of a take or put_add; 0: another op.
ValueId index_operand(const Node *n, AxisId *out_axis);
// True when no number of the node's index can be too large for its axis, or the node has none.
bool    index_is_proved(const Graph *g, const Bounds *bounds, const Node *n);

#endif
