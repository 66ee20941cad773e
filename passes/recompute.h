// Between the files of the pass recompute. `forward[id]`: node id is of the forward part; `again[id]`: the backward part
// computes this forward value again. Arrays of g->n_nodes.
#ifndef MIXC_RECOMPUTE_H
#define MIXC_RECOMPUTE_H

#include "graph.h"

// Marks elementwise values that follow, in a few steps, from values that are there anyway (recompute_cheap.c).
void   recompute_mark_cheap(const Graph *g, const bool *forward, Arena *scratch, bool *again);
// Bytes of forward values that are kept for the backward part.
size_t recompute_kept_bytes(const Graph *g, const bool *forward, const bool *again, Arena *scratch);

#endif
