// fold: constants, identities, views of views.
//
// Only what is exact is rewritten: every rule gives the same number for all operands, infinities and NaN included (the
// sign of a zero aside). So x*0 stays, and sums are not reordered. A rule sees a node whose operands are folded already
// and returns the value that stands for it, or 0 to keep the node.
#include "act_math.h"
#include "clean.h"
#include "fold.h"
#include "pass.h"

#include <math.h>
#include <string.h>

bool fold_const(const Fold *f, ValueId v, double *out_value)
{
    const Node *n = &f->rw.out->node[v];
    while (n->op == OP_EXPAND)
        n = &f->rw.out->node[n->in[0]];
    if (n->op != OP_CONST)
        return false;
    *out_value = n->attr[0].f;
    return true;
}

bool fold_is(const Fold *f, ValueId v, double value)
{
    double c;
    return fold_const(f, v, &c) && c == value;
}

ValueId fold_as(Fold *f, ValueId v, const Type *type)
{
    Graph *g = f->rw.out;
    if (!v || type_same_axes(&g->node[v].type, type))
        return v;
    if (g->node[v].op == OP_EXPAND)
        v = g->node[v].in[0];
    return type_same_axes(&g->node[v].type, type) ? v : graph_expand(g, v, type->axis, type->n_axes);
}

static double act_value(Act f, double x)
{
    switch (f) {
#define ACT(id, text, value, uses, derivative) \
    case ACT_##id: return value;
#include "acts.def"
#undef ACT
    case ACT_COUNT: break;
    }
    return NAN;
}

// The value of an elementwise op on constants. False for ops that are not worth a rule.
static bool evaluate(const Node *n, const double *x, double *out)
{
    switch (n->op) {
    case OP_ADD:    *out = x[0] + x[1]; return true;
    case OP_SUB:    *out = x[0] - x[1]; return true;
    case OP_MUL:    *out = x[0] * x[1]; return true;
    case OP_DIV:    *out = x[0] / x[1]; return true;
    case OP_POW:    *out = pow(x[0], x[1]); return true;
    case OP_MAX:    *out = m_max(x[0], x[1]); return true;
    case OP_MIN:    *out = m_min(x[0], x[1]); return true;
    case OP_NEG:    *out = -x[0]; return true;
    case OP_STOP:   *out = x[0]; return true;
    case OP_LT:     *out = x[0] < x[1]; return true;
    case OP_LE:     *out = x[0] <= x[1]; return true;
    case OP_EQ:     *out = x[0] == x[1]; return true;
    case OP_NE:     *out = x[0] != x[1]; return true;
    case OP_MAP:    *out = act_value(n->attr[0].act, x[0]); return true;
    case OP_CAST:   *out = n->type.dtype == DTYPE_I32 ? trunc(x[0]) : x[0]; return true;
    default:        return false;
    }
}

// Elementwise on constants only: a constant. Ints must stay in their range.
static ValueId fold_constants(Fold *f, const Node *n)
{
    double x[3], value;
    if (n->n_in == 0 || n->n_in > 3 || !(op_row[n->op].flags & OP_FLAG_POINTWISE))
        return 0;
    for (size_t i = 0; i < n->n_in; i++)
        if (!fold_const(f, n->in[i], &x[i]))
            return 0;
    if (!evaluate(n, x, &value))
        return 0;
    if (n->type.dtype == DTYPE_I32 && !(fabs(value) <= INT32_MAX))
        return 0;
    return fold_as(f, graph_const(f->rw.out, n->type.dtype, value), &n->type);
}

static ValueId fold_binary(Fold *f, const Node *n)
{
    Graph *g = f->rw.out;
    ValueId a = n->in[0], b = n->in[1];
    const Node *na = &g->node[a], *nb = &g->node[b];
    switch (n->op) {
    case OP_ADD:
        if (fold_is(f, a, 0)) return b;
        if (fold_is(f, b, 0)) return a;
        if (nb->op == OP_NEG) return graph_binary(g, OP_SUB, a, nb->in[0]);
        if (na->op == OP_NEG) return graph_binary(g, OP_SUB, b, na->in[0]);
        return 0;
    case OP_SUB:
        if (fold_is(f, b, 0)) return a;
        if (fold_is(f, a, 0)) return graph_unary(g, OP_NEG, b);
        if (nb->op == OP_NEG) return graph_binary(g, OP_ADD, a, nb->in[0]);
        return 0;
    case OP_MUL:
        if (fold_is(f, a, 1)) return b;
        if (fold_is(f, b, 1)) return a;
        if (fold_is(f, a, -1)) return graph_unary(g, OP_NEG, b);
        if (fold_is(f, b, -1)) return graph_unary(g, OP_NEG, a);
        return 0;
    case OP_DIV: {
        double c;
        int exponent;
        if (fold_is(f, b, 1)) return a;
        if (fold_is(f, b, -1)) return graph_unary(g, OP_NEG, a);
        // a power of two has an exact inverse
        if (fold_const(f, b, &c) && fabs(frexp(c, &exponent)) == 0.5 && exponent > -100 && exponent < 100)
            return graph_binary(g, OP_MUL, a, graph_const(g, n->type.dtype, 1 / c));
        return 0;
    }
    case OP_POW:
        if (fold_is(f, b, 1)) return a;
        if (fold_is(f, b, 2)) return graph_binary(g, OP_MUL, a, a);
        return 0;
    case OP_MAX:
    case OP_MIN:
        return a == b ? a : 0;
    default:
        return 0;
    }
}

static ValueId fold_select(Fold *f, const Node *n)
{
    double c;
    if (n->in[1] == n->in[2])
        return n->in[1];
    if (fold_const(f, n->in[0], &c))
        return c != 0 ? n->in[1] : n->in[2];
    return 0;
}

static ValueId fold_unary(Fold *f, const Node *n)
{
    const Node *x = &f->rw.out->node[n->in[0]];
    switch (n->op) {
    case OP_NEG:
        if (x->op == OP_NEG) return x->in[0];
        if (x->op == OP_SUB) return graph_binary(f->rw.out, OP_SUB, x->in[1], x->in[0]);
        return 0;
    case OP_CAST:
        return x->type.dtype == n->type.dtype ? n->in[0] : 0;
    case OP_STOP:
        return f->drop_stops || x->op == OP_STOP ? n->in[0] : 0;
    default:
        return 0;
    }
}

// An elementwise op matches axes by name, so it reads x itself instead of x expanded, as long as the axes of the result
// still come from some operand. With one operand, the expansion comes after the op.
static ValueId fold_expanded_operands(Fold *f, const Node *n)
{
    Graph *g = f->rw.out;
    ValueId in[3];
    bool changed = false;
    if (n->n_in == 0 || n->n_in > 3 || !(op_row[n->op].flags & OP_FLAG_POINTWISE))
        return 0;
    if (n->n_in == 1 && g->node[n->in[0]].op == OP_EXPAND)
        return graph_add(g, n->op, &g->node[n->in[0]].in[0], 1, n->attr, n->n_attr, NULL);
    for (size_t i = 0; i < n->n_in; i++)
        in[i] = n->in[i];
    for (size_t i = 0; i < n->n_in; i++) {
        if (g->node[in[i]].op != OP_EXPAND)
            continue;
        bool covered = true;
        for (size_t a = 0; a < n->type.n_axes && covered; a++) {
            covered = type_has(&g->node[g->node[in[i]].in[0]].type, n->type.axis[a]);
            for (size_t j = 0; j < n->n_in && !covered; j++)
                covered = j != i && type_has(&g->node[in[j]].type, n->type.axis[a]);
        }
        if (covered) {
            in[i] = g->node[in[i]].in[0];
            changed = true;
        }
    }
    if (!changed)
        return 0;
    Node m = *n;
    m.in = in;
    ValueId better = fold_node(f, &m);          // without the expansion more rules may match
    if (better)
        return better;
    ValueId id = graph_add(g, n->op, in, n->n_in, n->attr, n->n_attr, NULL);
    if (id)
        g->node[id].type = n->type;
    return id;
}

ValueId fold_node(Fold *f, const Node *n)
{
    ValueId v = fold_constants(f, n);
    if (!v && n->n_in == 2 && (op_row[n->op].flags & OP_FLAG_POINTWISE))
        v = fold_binary(f, n);
    if (!v && n->op == OP_SELECT)
        v = fold_select(f, n);
    if (!v && n->n_in == 1 && (op_row[n->op].flags & OP_FLAG_POINTWISE))
        v = fold_unary(f, n);
    if (!v)
        v = fold_view(f, n);
    if (!v)
        v = fold_sum(f, n);
    if (!v)
        v = fold_expanded_operands(f, n);
    return fold_as(f, v, &n->type);
}

Graph *graph_fold(Arena *arena, const Graph *in, bool drop_stops)
{
    Arena scratch = scratch_arena(arena);
    Fold f = {.rw = rewrite_begin(arena, &scratch, in), .drop_stops = drop_stops};
    for (ValueId id = 1; id < in->n_nodes; id++) {
        Node n = in->node[id];
        if (!f.rw.live[id])
            continue;
        n.in = arena_array(&scratch, ValueId, n.n_in);
        for (size_t i = 0; i < n.n_in; i++)
            n.in[i] = f.rw.map[in->node[id].in[i]];
        rewrite_at(&f.rw, id);
        ValueId v = n.kernel ? 0 : fold_node(&f, &n);
        if (v)
            rewrite_replace(&f.rw, id, v);
        else
            rewrite_copy_with(&f.rw, id, n.in);
    }
    Graph *out = rewrite_end(&f.rw);
    arena_free(&scratch);
    return out;
}

// `stop` has done its work where no gradient will be taken any more: everywhere but in a main that becomes a step.
static Graph *rewrite_graph(PassContext *ctx, const Graph *in)
{
    return graph_fold(ctx->arena, in, !(ctx->train && strcmp(in->name, "main") == 0));
}

bool pass_fold(PassContext *ctx, const Module *in, Module *out)
{
    return pass_each_graph(ctx, in, out, rewrite_graph);
}
