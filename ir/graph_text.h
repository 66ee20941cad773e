// Inside the text forms: what module_text.c uses of the reader of graphs.
#ifndef MIXC_GRAPH_TEXT_H
#define MIXC_GRAPH_TEXT_H

#include "graph.h"
#include "scan.h"

// Reads one graph up to and with its `}`, and verifies it. NULL after an error.
Graph *graph_read(Scan *s);
bool   graph_read_axis(Scan *s, const Graph *g, AxisId *out_axis);
bool   graph_read_type(Scan *s, const Graph *g, Type *out_type);       // f32[B,T]

#endif
