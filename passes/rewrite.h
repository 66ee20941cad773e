// Rebuilds a graph: walk the old one in order, copy or replace each node, drop what nobody needs any more.
//
//     Rewrite rw = rewrite_begin(ctx->arena, &scratch, in);
//     for (ValueId id = 1; id < in->n_nodes; id++)
//         if (rw.live[id])
//             rw.map[id] = replaced(&rw, id) or rewrite_copy(&rw, id);
//     Graph *out = rewrite_end(&rw);
//
// Axis ids stay what they are, so types and attributes carry over as they stand. Claims are not carried over: the pass
// `causal`, which runs first, has used them up.
#ifndef MIXC_REWRITE_H
#define MIXC_REWRITE_H

#include "graph.h"

typedef struct Rewrite {
    const Graph *in;                        // borrowed
    Graph       *out;                       // being filled
    ValueId     *map;                       // [in->n_nodes] new id of an old value; 0: none (yet)
    bool        *live;                      // [in->n_nodes] an output needs it
    Arena       *arena, *scratch;           // of the result; of map and live
} Rewrite;

// An empty arena for the inside of one pass; it hands out-of-memory on to the handler of `arena`.
Arena scratch_arena(const Arena *arena);

// live[id]: an output of g needs node id. `live` has g->n_nodes entries, zeroed.
void graph_mark_live(const Graph *g, bool *live);

Rewrite rewrite_begin(Arena *arena, Arena *scratch, const Graph *in);
// New nodes get the place and layer of this old one.
void    rewrite_at(Rewrite *rw, ValueId old);
// The operands of an old node in the new graph, in scratch memory.
const ValueId *rewrite_operands(const Rewrite *rw, ValueId old);
// Copies a node whose operands are mapped; keeps type (with its order), place, hint, layer and kernel. Sets the map.
ValueId rewrite_copy(Rewrite *rw, ValueId old);
// The same with other operands: as many, of the same element types and axes.
ValueId rewrite_copy_with(Rewrite *rw, ValueId old, const ValueId *in);
// `value` stands for the old node: sets the map; the hint moves when `value` is new and has none.
ValueId rewrite_replace(Rewrite *rw, ValueId old, ValueId value);
// Maps the outputs, which keep their order of axes, and returns the graph without what became unreachable.
Graph  *rewrite_end(Rewrite *rw);

// A copy of `in` under another name, live or not; its nodes and axes keep their ids. The outputs come along when wanted.
Graph  *graph_copy(Arena *arena, const Graph *in, const char *name, bool with_outputs);
// Drops the nodes that no output needs; the others move together. For a graph that nobody else has ids of.
void    graph_sweep(Graph *g);

#endif
