// The two clean-up rewrites as functions on one graph, for passes that make graphs to be cleaned (train_step).
#ifndef MIXC_CLEAN_H
#define MIXC_CLEAN_H

#include "graph.h"

// Constants, identities, views of views (fold.c). drop_stops: no gradient will be taken any more, so `stop` is dropped.
Graph *graph_fold(Arena *arena, const Graph *in, bool drop_stops);
// Equal values are computed once (cse.c).
Graph *graph_cse(Arena *arena, const Graph *in);

#endif
