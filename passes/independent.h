// Are the examples of a batch independent of each other? Beside causality this is the other thing that a pool can spoil: places
// counted over B*T let one sequence take another's.
#ifndef MIXC_INDEPENDENT_H
#define MIXC_INDEPENDENT_H

#include "graph.h"

// The first op of the graph at which a result at one index of `axis` comes to depend on inputs at other indices; NULL: there is
// none, so every result is independent over the axis. Only what results need counts; losses and terms are means by purpose.
// Values made without inputs (parameters, constants, random numbers) are free.
const Node *couples_examples(const Graph *g, AxisId axis, Arena *scratch);

#endif
