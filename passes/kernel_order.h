// The one place that says which values may share a kernel: a kernel must not need, through others, what it stores itself.
//
// Items are values; item i needs items before it. Those that are put together act as one: they run when everything that any
// of them needs is there. The order keeps a place for each, in which what is needed comes first, and `kernel_order_merge`
// refuses what would leave no such order. So whatever the passes put together, in whatever sequence, the kernels can run.
//
// Source: Pearce and Kelly 2006, A dynamic topological sort algorithm: only the places between the merged items are touched.
#ifndef MIXC_KERNEL_ORDER_H
#define MIXC_KERNEL_ORDER_H

#include "graph.h"

typedef struct KernelOrder KernelOrder;

// Items 1 .. n-1; item i needs need[first[i]] .. need[first[i + 1] - 1], all smaller than i. Everything lives in `arena`; the
// arrays are borrowed. `first` has n + 1 entries.
KernelOrder *kernel_order_make(Arena *arena, size_t n, const uint32_t *first, const uint32_t *need);

// Items are the nodes of g, live or not. The values that a kernel stores are together, and with them those that nobody stores
// and that lie between two of them: they are computed inside.
KernelOrder *kernel_order_of_graph(Arena *arena, const Graph *g);

// Puts the items together if one kernel can store them all; else changes nothing and returns false. An item that was put
// together with others brings these along.
bool         kernel_order_merge(KernelOrder *order, const uint32_t *item, size_t n_items);

// Whether `a` and `b` were put together.
bool         kernel_order_together(const KernelOrder *order, uint32_t a, uint32_t b);

#endif
