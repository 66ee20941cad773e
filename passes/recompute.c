// recompute: what the backward part of a graph computes again instead of keeping it from the forward part.
//
// Attention. A value that holds an axis and its twin (scores, masks, probabilities over T and T') is as large as the
// square of the sequence. Where the backward part reads such a value, it gets a copy of the chain that made it, down to
// values without such a pair: queries, keys, and the row maximum and sum, which are kept. So each pair of positions
// lives inside one fused kernel, forward and backward, and is never stored.
//
//     forward    s = q @ k      m = max(s)  e = exp(s - m)  l = sum(e)   p = e/l     o = p @ v
//     backward   s'= q @ k                  e'= exp(s'- m)               p'= e'/l    dv = p' @ do   ...
//
// The forward part is what a loss, a term or a result needs; the rest is the backward part, so no mark travels with the
// graph. cse runs before this pass and not after it: it would merge the copies again.
#include "pass.h"
#include "rewrite.h"

#include <string.h>

typedef struct Recompute {
    Rewrite  rw;
    bool    *forward;                       // [n_nodes]
    bool    *square;                        // [n_nodes] a forward value to be computed again
    ValueId *copy;                          // [n_nodes] of a square value: its copy for the backward part; 0: none yet
} Recompute;

static AxisId twin_root(const Graph *g, AxisId axis)
{
    while (g->axis[axis].twin_of)
        axis = g->axis[axis].twin_of;
    return axis;
}

static bool holds_twins(const Graph *g, const Type *type)
{
    for (size_t i = 0; i < type->n_axes; i++)
        for (size_t j = 0; j < i; j++)
            if (twin_root(g, type->axis[i]) == twin_root(g, type->axis[j]))
                return true;
    return false;
}

static void mark_forward(const Graph *g, bool *forward)
{
    for (size_t i = 0; i < g->n_outputs; i++) {
        OutputRole role = g->output[i].role;
        if (role == OUTPUT_LOSS || role == OUTPUT_TERM || role == OUTPUT_RESULT)
            forward[g->output[i].value] = true;
    }
    for (size_t id = g->n_nodes; id-- > 1;)
        for (size_t i = 0; forward[id] && i < g->node[id].n_in; i++)
            forward[g->node[id].in[i]] = true;
}

// The copy of a square value, made after those of its square operands.
static ValueId copy_of(Recompute *r, ValueId old)
{
    const Node *n = &r->rw.in->node[old];
    if (!r->square[old])
        return r->rw.map[old];
    if (r->copy[old])
        return r->copy[old];
    ValueId *in = arena_array(r->rw.scratch, ValueId, n->n_in), kept = r->rw.map[old];
    for (size_t i = 0; i < n->n_in; i++)
        in[i] = copy_of(r, n->in[i]);
    r->copy[old] = rewrite_copy_with(&r->rw, old, in);
    r->rw.map[old] = kept;
    return r->copy[old];
}

static Graph *rewrite_graph(PassContext *ctx, const Graph *in)
{
    Arena scratch = scratch_arena(ctx->arena);
    Recompute r = {.rw = rewrite_begin(ctx->arena, &scratch, in)};
    r.forward = arena_array(&scratch, bool, in->n_nodes);
    r.square = arena_array(&scratch, bool, in->n_nodes);
    r.copy = arena_array(&scratch, ValueId, in->n_nodes);
    mark_forward(in, r.forward);
    for (ValueId id = 1; id < in->n_nodes; id++)
        r.square[id] = r.forward[id] && op_row[in->node[id].op].n_in > 0 && holds_twins(in, &in->node[id].type);
    for (ValueId id = 1; id < in->n_nodes; id++) {
        const Node *n = &in->node[id];
        if (!r.rw.live[id])
            continue;
        if (r.forward[id]) {
            rewrite_copy(&r.rw, id);
            continue;
        }
        ValueId *operand = arena_array(&scratch, ValueId, n->n_in);
        for (size_t i = 0; i < n->n_in; i++)
            operand[i] = copy_of(&r, n->in[i]);
        rewrite_copy_with(&r.rw, id, operand);
    }
    Graph *out = rewrite_end(&r.rw);
    arena_free(&scratch);
    return out;
}

bool pass_recompute(PassContext *ctx, const Module *in, Module *out)
{
    return pass_each_graph(ctx, in, out, rewrite_graph);
}
