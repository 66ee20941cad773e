// layout: the order of axes of every stored value. The order is the physical layout and only that.
//
// An order that the maker of a node chose stays. Where it only follows from the order in which operands are written,
// an elementwise value is laid out like its largest operand, so that a bias or a mask written on the left
// (`b + x @[D] W`) does not turn the result around; its other axes follow in the order in which operands bring them.
// Views and reductions keep what their operand's order makes of it. Leaves, random numbers (their elements are counted in
// the type's order), products and outputs stay as they are. An output has its order by an expansion that brings no axes;
// the elementwise chain before it, and the product that begins it, are laid out that way from the start, and then the
// expansion is dropped.
#include "pass.h"
#include "rewrite.h"
#include "shape.h"

// The axes of `type` in the order of the largest operand, then of the others.
static Type like_largest(const Graph *g, const Type *type, const ValueId *in, size_t n_in)
{
    Type out = {.dtype = type->dtype};
    size_t largest = 0;
    for (size_t i = 1; i < n_in; i++)
        if (g->node[in[i]].type.n_axes > g->node[in[largest]].type.n_axes)
            largest = i;
    for (size_t k = 0; k < n_in; k++) {
        const Type *x = &g->node[in[k == 0 ? largest : k - (k <= largest)]].type;
        for (size_t i = 0; i < x->n_axes; i++)
            if (!type_has(&out, x->axis[i]))
                out.axis[out.n_axes++] = x->axis[i];
    }
    return out;
}

// wanted[id]: the order in which a value's only reader wants it; no axes: no wish.
static void find_wanted(const Graph *g, Arena *scratch, Type *wanted)
{
    uint32_t *n_readers = arena_array(scratch, uint32_t, g->n_nodes);
    for (ValueId id = 1; id < g->n_nodes; id++)
        for (size_t i = 0; i < g->node[id].n_in; i++)
            n_readers[g->node[id].in[i]]++;
    for (size_t i = 0; i < g->n_outputs; i++)
        n_readers[g->output[i].value]++;
    for (ValueId id = (ValueId)g->n_nodes; id-- > 1;) {
        const Node *n = &g->node[id];
        const Type *order = n->op == OP_EXPAND ? &n->type : &wanted[id];
        if (n->op != OP_EXPAND && !(op_row[n->op].flags & OP_FLAG_POINTWISE))
            continue;
        for (size_t i = 0; i < n->n_in && order->n_axes; i++) {
            const Node *x = &g->node[n->in[i]];
            if (n_readers[n->in[i]] == 1 && x->n_in && x->type.n_axes == order->n_axes) {
                wanted[n->in[i]] = *order;
                wanted[n->in[i]].dtype = x->type.dtype;
            }
        }
    }
}

// An order that is not the one the shape rule gives was chosen by whoever made the node.
static bool is_chosen(const Graph *in, const Node *n)
{
    ShapeCall call = {in, NULL, n->at, n->op, n->in, n->n_in, n->attr, n->n_attr, &n->type};
    Type inferred;
    return shape_infer(&call, &inferred) && !type_equal(&inferred, &n->type);
}

static Type choose(const Rewrite *rw, const Node *n, const Type *wanted, const ValueId *in)
{
    unsigned flags = op_row[n->op].flags;
    Type type = n->type;
    if (n->n_in == 0 || n->kernel || (flags & OP_FLAG_DECLARED) || n->op == OP_EXPAND)
        return type;
    if (wanted->n_axes && ((flags & OP_FLAG_POINTWISE) || n->op == OP_CONTRACT))
        return *wanted;
    if (is_chosen(rw->in, n))
        return type;
    if (flags & OP_FLAG_POINTWISE)
        return like_largest(rw->out, &type, in, n->n_in);
    ShapeCall call = {rw->out, NULL, n->at, n->op, in, n->n_in, n->attr, n->n_attr, &n->type};
    if ((flags & OP_FLAG_VIEW) || n->op == OP_REDUCE)
        shape_infer(&call, &type);
    return type;
}

static Graph *rewrite_graph(PassContext *ctx, const Graph *in)
{
    Arena scratch = scratch_arena(ctx->arena);
    Rewrite rw = rewrite_begin(ctx->arena, &scratch, in);
    Type *wanted = arena_array(&scratch, Type, in->n_nodes);
    find_wanted(in, &scratch, wanted);
    for (ValueId id = 1; id < in->n_nodes; id++) {
        const Node *n = &in->node[id];
        if (!rw.live[id])
            continue;
        const ValueId *operand = rewrite_operands(&rw, id);
        if (n->op == OP_EXPAND && type_equal(&n->type, &rw.out->node[operand[0]].type)) {
            rewrite_replace(&rw, id, operand[0]);
            continue;
        }
        Type type = choose(&rw, n, &wanted[id], operand);
        ValueId copy = rewrite_copy_with(&rw, id, operand);
        rw.out->node[copy].type = type;
    }
    Graph *out = rewrite_end(&rw);
    arena_free(&scratch);
    return out;
}

bool pass_layout(PassContext *ctx, const Module *in, Module *out)
{
    return pass_each_graph(ctx, in, out, rewrite_graph);
}
