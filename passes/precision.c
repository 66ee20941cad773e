// precision: where bf16 is asked for (train.precision, --dtype), products with a parameter read bf16 operands.
//
// Each such product of float32 values becomes a product of their roundings to bf16, summed in float32; the sum is not
// rounded unless it is stored as bf16. Everything else (norms, softmax, losses, residual sums) stays in float32, and so do
// the parameters, of which the optimiser keeps the only copy. torch.autocast rounds the same operands of linear layers.
// The pass runs before gradients are taken: those of a cast are casts, so the backward products read bf16 as well.
//
// A product with matrices that its rows choose (experts) is one with a parameter: the matrices are rounded, then chosen.
//
// Scores and their weighted sums (products of two activations over pairs of positions) are left alone on a processor, where
// they gain nothing; on a GPU, whose tensor cores multiply bf16, they are rounded like the others. So are both operands of a long
// convolution: its transforms are products with DFT matrices there.
#include "conv.h"
#include "pass.h"
#include "rewrite.h"
#include "rows.h"

#include <string.h>

// Whether a value is a parameter, seen through views and elementwise steps on parameters and constants only.
static void mark_weights(const Graph *g, bool *is_weight)
{
    for (ValueId id = 1; id < g->n_nodes; id++) {
        const Node *n = &g->node[id];
        bool follows = n->n_in > 0 && (op_row[n->op].flags & (OP_FLAG_VIEW | OP_FLAG_POINTWISE)), any = false;
        for (size_t i = 0; i < n->n_in; i++) {
            const Node *x = &g->node[n->in[i]];
            follows = follows && (is_weight[n->in[i]] || x->op == OP_CONST || x->type.dtype == DTYPE_I32 ||
                                  x->op == OP_LE || x->op == OP_LT);
            any |= is_weight[n->in[i]];
        }
        is_weight[id] = n->op == OP_PARAM || (follows && any);
    }
}

// Matrices of a parameter, chosen by an index.
static bool is_chosen(const Graph *g, const bool *is_weight, ValueId v)
{
    return g->node[v].op == OP_TAKE && is_weight[g->node[v].in[0]];
}

static ValueId rounded(Rewrite *rw, ValueId *cast, ValueId old)
{
    if (!cast[old]) {
        rewrite_at(rw, old);
        cast[old] = graph_cast(rw->out, DTYPE_BF16, rw->map[old]);
    }
    return cast[old];
}

// A product of attention: it makes scores, or it weights with them.
static bool is_attention(const Graph *g, const bool *is_weight, const Node *n)
{
    const Type *a = &g->node[n->in[0]].type, *b = &g->node[n->in[1]].type;
    return !is_weight[n->in[0]] && !is_weight[n->in[1]] && a->dtype == DTYPE_F32 && b->dtype == DTYPE_F32
        && (type_holds_twins(g, &n->type) || type_holds_twins(g, a) || type_holds_twins(g, b));
}

// What is chosen is rounded before.
static ValueId rounded_operand(Rewrite *rw, ValueId *cast, ValueId old, bool chosen)
{
    const Node *n = &rw->in->node[old];
    if (!chosen)
        return rounded(rw, cast, old);
    const ValueId w = rounded(rw, cast, n->in[0]);
    rewrite_at(rw, old);
    const ValueId taken = graph_take(rw->out, w, rw->map[n->in[1]], n->attr[0].axis);
    rw->out->node[taken].type.n_axes = n->type.n_axes;
    memcpy(rw->out->node[taken].type.axis, n->type.axis, sizeof n->type.axis);
    return taken;
}

static Graph *rewrite_graph(PassContext *ctx, const Graph *in)
{
    Arena scratch = scratch_arena(ctx->arena);
    Rewrite rw = rewrite_begin(ctx->arena, &scratch, in);
    bool *is_weight = arena_array(&scratch, bool, in->n_nodes);
    ValueId *cast = arena_array(&scratch, ValueId, in->n_nodes);
    mark_weights(in, is_weight);
    for (ValueId id = 1; id < in->n_nodes; id++) {
        const Node *n = &in->node[id];
        if (!rw.live[id])
            continue;
        const bool product = n->op == OP_CONTRACT && n->type.dtype == DTYPE_F32;
        const bool chosen = product && !is_weight[n->in[0]] && !is_weight[n->in[1]]
            && is_chosen(in, is_weight, n->in[0]) != is_chosen(in, is_weight, n->in[1]);
        const bool scores = product && ctx->target && ctx->target->is_cuda && is_attention(in, is_weight, n);
        const bool convolution = ctx->target && ctx->target->is_cuda && n->op == OP_FFTCONV && n->type.dtype == DTYPE_F32 &&
            in->node[n->in[0]].type.dtype == DTYPE_F32 && conv_of(in, id).by_transforms;
        const bool with_weight = chosen || scores || (product && is_weight[n->in[0]] != is_weight[n->in[1]]);
        if (!with_weight && !convolution) {
            rewrite_copy(&rw, id);
            continue;
        }
        ValueId a = rounded_operand(&rw, cast, n->in[0], chosen && is_chosen(in, is_weight, n->in[0]));
        ValueId b = rounded_operand(&rw, cast, n->in[1], chosen && is_chosen(in, is_weight, n->in[1]));
        rewrite_at(&rw, id);
        const ValueId y = convolution ? graph_fftconv(rw.out, a, b, n->attr) : graph_contract(rw.out, a, b, n->attr[0].axes.id, n->attr[0].axes.n);
        rewrite_replace(&rw, id, graph_cast(rw.out, DTYPE_F32, y));
        rw.out->node[y].type.n_axes = n->type.n_axes;       // the order that the product had
        memcpy(rw.out->node[y].type.axis, n->type.axis, sizeof n->type.axis);
        memcpy(rw.out->node[rw.map[id]].type.axis, n->type.axis, sizeof n->type.axis);
    }
    Graph *out = rewrite_end(&rw);
    arena_free(&scratch);
    return out;
}

static Graph *as_is(PassContext *ctx, const Graph *in)
{
    (void)ctx;
    return (Graph *)in;
}

bool pass_precision(PassContext *ctx, const Module *in, Module *out)
{
    bool wanted = ctx->bf16 || (in->has_train && in->train.bf16);
    return pass_each_graph(ctx, in, out, wanted ? rewrite_graph : as_is);
}
