// Gradient rules of the elementwise ops. `y` is the node, `dy` its cotangent; the formula stands before each rule.
#include "grad_rules.h"

#include <math.h>

static ValueId in(const Grad *gr, ValueId id, size_t i)
{
    return gr->g->node[id].in[i];
}

static ValueId mul(Grad *gr, ValueId a, ValueId b)
{
    if (a && grad_is_const(gr, a, 1))
        return b;
    return graph_binary(gr->g, OP_MUL, a, b);
}

void grad_none(Grad *gr, ValueId y, ValueId dy)
{
    (void)gr, (void)y, (void)dy;
}

// da = dy, db = dy
void grad_add(Grad *gr, ValueId y, ValueId dy)
{
    ValueId a = in(gr, y, 0), b = in(gr, y, 1);
    grad_give(gr, y, a, dy);
    grad_give(gr, y, b, dy);
}

// Whether m is the mean of x over the axes R: those that x has and m lacks.
static bool is_mean(const Grad *gr, ValueId m, ValueId x)
{
    const Graph *g = gr->g;
    const Node *n = &g->node[m];
    if (n->op != OP_DIV && n->op != OP_MUL)
        return false;
    const Node *sum = &g->node[n->in[0]], *count = &g->node[n->in[1]];
    if (sum->op != OP_REDUCE || sum->attr[0].red != RED_SUM || sum->in[0] != x || count->op != OP_CONST)
        return false;
    double size = 1;
    for (size_t i = 0; i < sum->attr[1].axes.n; i++)
        size *= (double)graph_size(g, sum->attr[1].axes.id[i]);
    return n->op == OP_DIV ? count->attr[0].f == size : fabs(count->attr[0].f * size - 1) < 1e-12;
}

static bool lacks(const Grad *gr, ValueId v, const AxisId *axes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (type_has(&gr->g->node[v].type, axes[i]))
            return false;
    return true;
}

// The sum over R of dy, where y = x - mean(x) over R, so that y itself sums to zero. A part s y with s the same along R
// adds nothing; a part d s or d / s is summed before the factor. In a layer norm, that makes the two sums of the backward
// pass independent of each other: one pass over the row and not two.
static ValueId sum_of_centred(Grad *gr, ValueId y, ValueId mean)
{
    Graph *g = gr->g;
    AxisId rows[MAX_AXES];
    size_t n_rows = axes_minus(&g->node[y].type, &g->node[mean].type, rows);
    ValueId sum = 0;
    for (const GradPart *p = gr->part[y]; p; p = p->next) {
        const Node *n = &g->node[p->value];
        bool product = p->value >= gr->n_values && (n->op == OP_MUL || n->op == OP_DIV);
        ValueId d = p->value, factor = 0;
        for (size_t i = 0; product && i < 2; i++)
            if ((n->op == OP_MUL || i == 1) && lacks(gr, n->in[i], rows, n_rows) && !lacks(gr, n->in[1 - i], rows, n_rows)) {
                factor = n->in[i];
                d = n->in[1 - i];
            }
        Op op = n->op;
        if (factor && op == OP_MUL && d == y)
            continue;
        ValueId term = grad_sum_to(gr, y, mean, d);
        if (factor)
            term = graph_binary(g, op, term, factor);
        sum = sum ? graph_binary(g, OP_ADD, sum, term) : term;
    }
    return sum;
}

// da = dy, db = -dy
void grad_sub(Grad *gr, ValueId y, ValueId dy)
{
    ValueId a = in(gr, y, 0), b = in(gr, y, 1);
    grad_give(gr, y, a, dy);
    if (!grad_wants(gr, b))
        return;
    ValueId sum = is_mean(gr, b, a) ? sum_of_centred(gr, y, b) : grad_sum_to(gr, y, b, dy);
    if (sum)
        grad_push(gr, y, b, graph_unary(gr->g, OP_NEG, sum));
}

// da = dy b, db = dy a; of a square: 2 dy a
void grad_mul(Grad *gr, ValueId y, ValueId dy)
{
    ValueId a = in(gr, y, 0), b = in(gr, y, 1);
    if (a == b) {
        if (grad_wants(gr, a))
            grad_give_op(gr, y, a, OP_MUL, mul(gr, dy, grad_const(gr, dy, 2)), a);
        return;
    }
    if (!grad_gate(gr, y, a, dy, b))
        grad_give_op(gr, y, a, OP_MUL, dy, b);
    if (!grad_gate(gr, y, b, dy, a))
        grad_give_op(gr, y, b, OP_MUL, dy, a);
}

static bool same_axes(const Attr *a, const Attr *b)
{
    bool same = a->axes.n == b->axes.n;
    for (size_t i = 0; same && i < a->axes.n; i++) {
        bool found = false;
        for (size_t j = 0; j < b->axes.n; j++)
            found |= a->axes.id[i] == b->axes.id[j];
        same = found;
    }
    return same;
}

// Whether node n is its operand u times something that needs no gradient (dropout), or u rounded: then du u = dn n.
static bool only_scales(const Grad *gr, const Node *n, ValueId u)
{
    switch (n->op) {
    case OP_MUL:
        return n->in[0] != n->in[1] && !grad_wants(gr, n->in[n->in[0] == u]);
    case OP_DIV:
        return n->in[0] == u && !grad_wants(gr, n->in[1]);
    case OP_CAST:
        return n->type.dtype != DTYPE_I32;
    case OP_SELECT:
        return n->in[0] != u && n->in[1] != n->in[2] && grad_is_const(gr, n->in[n->in[1] == u ? 2 : 1], 0);
    default:
        return false;
    }
}

static ValueId as_float(Graph *g, ValueId v)
{
    return g->node[v].type.dtype == DTYPE_BF16 ? graph_cast(g, DTYPE_F32, v) : v;
}

// The sums of dy y over the axes A, for y = e / sum(e) over A. Where y's one reader is a product o = y @[A] v, they are
// sums of do o too, and these need no pass over y:
//     sum over A of dy y = sum over A, K of do v y = sum over K of do o
// (Dao et al. 2022, FlashAttention, section B.2, equation 4).
static ValueId softmax_row_sums(Grad *gr, ValueId y, ValueId dy, const Attr *over)
{
    Graph *g = gr->g;
    ValueId u = y;
    while (gr->part[u] && !gr->part[u]->next) {
        ValueId user = gr->part[u]->user;
        Node n = g->node[user];
        if (n.op == OP_CONTRACT && n.in[0] != n.in[1] && same_axes(&n.attr[0], over)) {
            AxisId columns[MAX_AXES];
            size_t n_columns = axes_minus(&n.type, &g->node[y].type, columns);
            const ValueId d = as_float(g, grad_full(gr, gr->d[user], user)), o = as_float(g, user);
            return graph_reduce(g, RED_SUM, mul(gr, d, o), columns, n_columns);
        }
        if (!only_scales(gr, &n, u) || n.type.n_axes != g->node[y].type.n_axes)
            break;
        u = user;
    }
    return graph_reduce(g, RED_SUM, mul(gr, dy, y), over->axes.id, over->axes.n);
}

// y = e / s with e = exp(z), s = sum(e) over A (or that plus a constant, which keeps a masked row from 0/0):
//     dz = y (dy - sum over A of dy y)
// all at once. The parts through e and through s would cancel to this; taken together they are four nodes, and only y
// is needed from the forward pass. A masked z has y = 0 there and gets 0.
static bool grad_softmax(Grad *gr, ValueId y, ValueId dy)
{
    const Graph *g = gr->g;
    const Node *e = &g->node[in(gr, y, 0)], *s = &g->node[in(gr, y, 1)];
    if (s->op == OP_ADD && g->node[s->in[1]].op == OP_CONST)
        s = &g->node[s->in[0]];
    if (e->op != OP_MAP || e->attr[0].act != ACT_EXP || s->op != OP_REDUCE || s->attr[0].red != RED_SUM ||
        s->in[0] != in(gr, y, 0))
        return false;
    ValueId z = e->in[0];
    if (!grad_wants(gr, z))
        return true;
    Attr over = s->attr[1];
    ValueId rows = softmax_row_sums(gr, y, dy, &over);
    grad_push(gr, y, z, mul(gr, graph_binary(gr->g, OP_SUB, dy, rows), y));
    return true;
}

// da = dy / b, db = -(dy y) / b
void grad_div(Grad *gr, ValueId y, ValueId dy)
{
    ValueId a = in(gr, y, 0), b = in(gr, y, 1);
    if (grad_softmax(gr, y, dy))
        return;
    grad_give_op(gr, y, a, OP_DIV, dy, b);
    if (grad_wants(gr, b)) {
        ValueId sum = grad_sum_to(gr, y, b, mul(gr, dy, y));
        grad_push(gr, y, b, graph_unary(gr->g, OP_NEG, graph_binary(gr->g, OP_DIV, sum, b)));
    }
}

// y = a^b: da = dy b a^(b-1), 0 where b is 0; db = dy y log a, 0 where a is 0
void grad_pow(Grad *gr, ValueId y, ValueId dy)
{
    Graph *g = gr->g;
    ValueId a = in(gr, y, 0), b = in(gr, y, 1);
    if (grad_wants(gr, a)) {
        bool is_const = g->node[b].op == OP_CONST;
        double power = is_const ? g->node[b].attr[0].f : 0;
        ValueId lower = is_const ? grad_const(gr, b, power - 1) : graph_binary(g, OP_SUB, b, grad_const(gr, b, 1));
        ValueId slope;
        if (is_const && power == 2)
            slope = mul(gr, grad_const(gr, a, 2), a);
        else
            slope = mul(gr, b, graph_binary(g, OP_POW, a, lower));
        if (!is_const)
            slope = graph_select(g, graph_binary(g, OP_NE, b, grad_const(gr, b, 0)), slope, grad_const(gr, a, 0));
        if (!is_const || power != 0)
            grad_give_op(gr, y, a, OP_MUL, dy, slope);
    }
    if (grad_wants(gr, b)) {
        ValueId safe = graph_select(g, graph_binary(g, OP_NE, a, grad_const(gr, a, 0)), a, grad_const(gr, a, 1));
        grad_give_op(gr, y, b, OP_MUL, dy, mul(gr, y, graph_map(g, ACT_LOG, safe)));
    }
}

// The larger (smaller) operand gets dy. Equal ones share it evenly when both want a gradient, as torch.maximum does;
// beside an operand that needs none, the other gets all, so that clamp has slope 1 on its bounds, as torch.clamp does.
static void grad_extremum(Grad *gr, ValueId y, ValueId dy, bool is_max)
{
    Graph *g = gr->g;
    bool both = grad_wants(gr, in(gr, y, 0)) && grad_wants(gr, in(gr, y, 1));
    for (size_t i = 0; i < 2; i++) {
        ValueId v = in(gr, y, i), other = in(gr, y, 1 - i), zero = grad_const(gr, dy, 0);
        if (!grad_wants(gr, v))
            continue;
        ValueId low = is_max ? other : v, high = is_max ? v : other, d;
        if (both) {
            ValueId half = mul(gr, dy, grad_const(gr, dy, 0.5));
            d = graph_select(g, graph_binary(g, OP_LT, low, high), dy, zero);
            d = graph_select(g, graph_binary(g, OP_EQ, low, high), half, d);
        } else {
            d = graph_select(g, graph_binary(g, OP_LE, low, high), dy, zero);
        }
        grad_give(gr, y, v, d);
    }
}

void grad_max(Grad *gr, ValueId y, ValueId dy)
{
    grad_extremum(gr, y, dy, true);
}

void grad_min(Grad *gr, ValueId y, ValueId dy)
{
    grad_extremum(gr, y, dy, false);
}

// y = atan2(a, b): da = dy b / (a^2 + b^2), db = -dy a / (a^2 + b^2)
void grad_atan2(Grad *gr, ValueId y, ValueId dy)
{
    Graph *g = gr->g;
    ValueId a = in(gr, y, 0), b = in(gr, y, 1);
    ValueId square = graph_binary(g, OP_ADD, mul(gr, a, a), mul(gr, b, b));
    if (grad_wants(gr, a))
        grad_give_op(gr, y, a, OP_MUL, dy, graph_binary(g, OP_DIV, b, square));
    if (grad_wants(gr, b))
        grad_give_op(gr, y, b, OP_MUL, dy, graph_binary(g, OP_DIV, graph_unary(g, OP_NEG, a), square));
}

// da = dy where c, db = dy elsewhere. A choice and not a product: what was not chosen may be infinite.
void grad_select(Grad *gr, ValueId y, ValueId dy)
{
    ValueId c = in(gr, y, 0), a = in(gr, y, 1), b = in(gr, y, 2), zero = grad_const(gr, dy, 0);
    if (grad_wants(gr, a))
        grad_give(gr, y, a, graph_select(gr->g, c, dy, zero));
    if (grad_wants(gr, b))
        grad_give(gr, y, b, graph_select(gr->g, c, zero, dy));
}

void grad_neg(Grad *gr, ValueId y, ValueId dy)
{
    grad_push(gr, y, in(gr, y, 0), graph_unary(gr->g, OP_NEG, dy));
}

// dx = dy f'(x), with the slope in x or in y as acts.def says; exp is its own slope
void grad_map(Grad *gr, ValueId y, ValueId dy)
{
    ValueId x = in(gr, y, 0);
    Act f = gr->g->node[y].attr[0].act;
    if (!grad_wants(gr, x))
        return;
    ValueId slope = f == ACT_EXP ? y : graph_slope(gr->g, f, act_slope_uses_value[f] ? y : x);
    grad_push(gr, y, x, mul(gr, dy, slope));
}

void grad_cast(Grad *gr, ValueId y, ValueId dy)
{
    ValueId x = in(gr, y, 0);
    grad_push(gr, y, x, graph_cast(gr->g, gr->g->node[x].type.dtype, dy));
}

// More axes on the way out, sums on the way back.
void grad_expand(Grad *gr, ValueId y, ValueId dy)
{
    grad_give(gr, y, in(gr, y, 0), dy);
}
