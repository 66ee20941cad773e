// bounds: an index that might be too large for its axis becomes none where it is.
//
//     take(x, i)  ->  take(x, select(i < n, i, -1))       n: the size of the axis that is looked up
//
// Kernels read what an index names without looking (ir/index_range.h), so nothing outside may reach them, whatever numbers
// an input holds. An input that is handed on as it is has been compared by whoever filled it, and most indices that a
// model computes have bounds that follow from the ops (a remainder, a choice among experts): those stay as they are.
// Runs before gradients are taken, so that a put_add reads the same index. The evaluator does without this pass: there
// an index that is too large is an error. So that it is one in training as well, where no host looks at the numbers in between, each
// such index has an output of role fault, a number that is read along with the loss:
//
//     fault "V.65.0" = max(select(i < 65, -1, i))
#include "index_range.h"
#include "pass.h"
#include "rewrite.h"

#include <string.h>

typedef struct Cut { ValueId index, cut; int64_t size; } Cut;      // of the old graph; in the new one

typedef struct Cuts {
    Cut   *item; size_t n, capacity;
    bool   are_told;                        // each gets an output
} Cuts;

// The largest position beyond the axis, or -1.
static ValueId largest_beyond(Graph *g, ValueId inside, ValueId i)
{
    const ValueId beyond = graph_cast(g, DTYPE_F32, graph_select(g, inside, graph_const(g, DTYPE_I32, -1), i));
    const Type type = g->node[beyond].type;
    return graph_reduce(g, RED_MAX, beyond, type.axis, type.n_axes);
}

static ValueId cut_index(Rewrite *rw, Cuts *cuts, ValueId index, AxisId axis)
{
    const int64_t size = graph_size(rw->in, axis);
    for (size_t i = 0; i < cuts->n; i++)
        if (cuts->item[i].index == index && cuts->item[i].size == size)
            return cuts->item[i].cut;
    Graph *g = rw->out;
    rewrite_at(rw, index);
    ValueId i = rw->map[index];
    ValueId inside = graph_binary(g, OP_LT, i, graph_const(g, DTYPE_I32, (double)size));
    ValueId cut = graph_select(g, inside, i, graph_const(g, DTYPE_I32, -1));
    cuts->item = arena_grow(rw->scratch, cuts->item, cuts->n, &cuts->capacity, sizeof *cuts->item);
    cuts->item[cuts->n++] = (Cut){index, cut, size};
    if (cuts->are_told) {
        const char *name = arena_printf(g->arena, "%s.%lld.%zu", g->axis[axis].name, (long long)size, cuts->n - 1);
        graph_output(g, OUTPUT_FAULT, name, largest_beyond(g, inside, i));
    }
    return cut;
}

static Graph *rewrite_graph(PassContext *ctx, const Graph *in)
{
    Arena scratch = scratch_arena(ctx->arena);
    const Bounds *bounds = index_bounds(in, &scratch);
    bool all = true;
    for (ValueId id = 1; id < in->n_nodes && all; id++)
        all = index_is_proved(in, bounds, &in->node[id]);
    if (all) {
        arena_free(&scratch);
        return (Graph *)in;
    }
    Rewrite rw = rewrite_begin(ctx->arena, &scratch, in);
    Cuts cuts = {.are_told = ctx->train && strcmp(in->name, "main") == 0};
    for (ValueId id = 1; id < in->n_nodes; id++) {
        const Node *n = &in->node[id];
        AxisId axis;
        ValueId index = index_operand(n, &axis);
        if (!rw.live[id])
            continue;
        if (index_is_proved(in, bounds, n)) {
            rewrite_copy(&rw, id);
            continue;
        }
        ValueId operand[3] = {0};           // the index is the second
        for (size_t i = 0; i < n->n_in; i++)
            operand[i] = i == 1 ? cut_index(&rw, &cuts, index, axis) : rw.map[n->in[i]];
        rewrite_copy_with(&rw, id, operand);
    }
    Graph *out = rewrite_end(&rw);
    arena_free(&scratch);
    return out;
}

bool pass_bounds(PassContext *ctx, const Module *in, Module *out)
{
    return pass_each_graph(ctx, in, out, rewrite_graph);
}
