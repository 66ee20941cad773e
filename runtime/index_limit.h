// Which numbers a model can look things up with. Kernels do not check indices, so whoever hands a model whole numbers
// compares them with this first.
#ifndef MIXC_INDEX_LIMIT_H
#define MIXC_INDEX_LIMIT_H

#include "graph.h"

// The input `arg` indexes nothing longer than the result: its numbers must be *out_least <= x < result. INT64_MAX when
// it indexes nothing. *out_axis: the axis that says so (NULL: none). *out_least is 0, or INT64_MIN where negative
// numbers mean none: the graph raises them to one that `take` reads as 0.
int64_t index_limit(const Graph *g, const char *arg, int64_t *out_least, const char **out_axis);

#endif
