// Which numbers a model can look things up with. Kernels do not check indices, so whoever hands a model whole numbers
// compares them with this first.
#ifndef MIXC_INDEX_LIMIT_H
#define MIXC_INDEX_LIMIT_H

#include "graph.h"

// The input `arg` indexes nothing longer than the result: its numbers must be 0 <= x < result. INT64_MAX when it
// indexes nothing. *out_axis: the axis that says so (NULL: none).
int64_t index_limit(const Graph *g, const char *arg, const char **out_axis);

#endif
