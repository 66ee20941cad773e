// Which stored values share a loop kernel.
#ifndef MIXC_FUSE_GROUP_H
#define MIXC_FUSE_GROUP_H

#include "graph.h"

// Gives every value of `stored` that has no kernel yet one: values that can share loops and gain from it share a kernel.
// A put_add gets a scatter kernel of its own.
//
// Two values gain when one reads the other at its own place, or both read the same array. They may share when their loops
// fit (loop_shape.h), when they are near in the graph (else one would be made long before it is needed) and when no
// path leads from the kernel through another one back to it (kernel_order.h).
void fuse_group(Graph *g, Arena *scratch, const bool *stored);

#endif
