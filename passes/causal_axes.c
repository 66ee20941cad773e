// The rules of the causality proof for sums, products, views and indexing: what becomes of bounds and facts when axes
// are summed, renamed, shifted or lose their order.
#include "causal_rules.h"

#include <math.h>

// Sums

// Zero above the middle and the middle zero above the last: so the product of two lower triangles is one.
static void chain_facts(Reads *out, const Reads *x, AxisId middle)
{
    for (size_t i = 0; i < x->n_facts; i++)
        for (size_t k = 0; k < x->n_facts; k++) {
            const Region *u = &x->fact[i].where, *v = &x->fact[k].where;
            if (!(x->fact[i].known & x->fact[k].known & KNOWN_ZERO) || u->b != middle || v->a != middle ||
                u->on_diagonal || v->on_diagonal)
                continue;
            Region where = {u->a, v->b, v->b ? place_moved(u->shift, v->shift) : NOWHERE,
                            max_place(u->floor, place_moved(v->floor, u->shift)), false};
            reads_add_fact(out, where, KNOWN_ZERO);
        }
}

// The place along an axis is at most that where a region begins: max(i_b + shift, floor).
static void reads_up_to(Reads *r, AxisId axis, const Region *where)
{
    Reads first = *r;
    reads_forget(r, axis);
    if (where->b) {
        Reads x = first;
        reads_replace(&x, axis, where->b, where->shift);
        reads_add(r, &x);
    }
    if (where->floor != NOWHERE) {
        reads_replace(&first, axis, 0, where->floor);
        reads_add(r, &first);
    }
}

// Sums (or takes the largest or smallest) along one axis. Elements that are zero, or the same whatever the inputs are,
// tell the result nothing of them.
static Reads reads_reduced(const Graph *g, const Reads *x, AxisId axis, Red f)
{
    Reads out = *x;
    out.n_facts = 0;
    out.is_linear = out.is_const = false;
    out.is_binary &= f != RED_SUM;
    if (f == RED_SUM && out.least < -ORDINARY)
        out.least = -INFINITY;
    if (f == RED_SUM && out.most > ORDINARY)
        out.most = INFINITY;
    unsigned silent = f == RED_MAX ? KNOWN_SAME | KNOWN_LOW : KNOWN_SAME;
    const Region *best = NULL;
    for (size_t i = 0; i < x->n_facts; i++) {
        const Fact *fact = &x->fact[i];
        bool touched = fact->where.a == axis || fact->where.b == axis;
        if (fact->where.on_diagonal && touched) {   // every row has an element that is not LOW
            AxisId other = fact->where.a == axis ? fact->where.b : fact->where.a;
            if (f == RED_MAX && fact->known & KNOWN_FAIR && graph_size(g, axis) >= graph_size(g, other))
                out.least = -ORDINARY;
            continue;
        }
        if (fact->where.a == axis && fact->known & silent && (!best || fact->where.shift < best->shift))
            best = &fact->where;
        if (!touched)
            reads_add_fact(&out, fact->where, f == RED_SUM ? fact->known & ~(unsigned)KNOWN_ONE : fact->known);
    }
    if (f == RED_SUM)
        chain_facts(&out, x, axis);
    if (!best)                              // up to the last place of the axis
        reads_replace(&out, axis, 0, graph_size(g, axis) - 1);
    else
        reads_up_to(&out, axis, best);
    return out;
}

static Reads reads_reduce(const Graph *g, const Reads *x, const Attr *over, Red f)
{
    Reads out = *x;
    for (size_t i = 0; i < over->axes.n; i++)
        out = reads_reduced(g, &out, over->axes.id[i], f);
    out.is_linear = out.is_const = false;
    return out;
}

static Reads reads_contract(const Graph *g, const Node *n, const Reads *const *in)
{
    Node product = {.op = OP_MUL, .n_in = 2};
    Reads both = reads_pointwise(&product, in);
    return reads_reduce(g, &both, &n->attr[0], RED_SUM);
}

// What is put where a zero is, adds nothing, wherever it is put.
static Reads reads_put_add(const Graph *g, const Node *n, const Reads *const *in)
{
    Reads both = *in[0];
    both.n_facts = 0;
    reads_add(&both, in[1]);
    for (size_t i = 0; i < in[0]->n_facts; i++)
        reads_add_fact(&both, in[0]->fact[i].where,
                 in[0]->fact[i].known & (KNOWN_ZERO | (reads_depend(in[1]) ? 0u : KNOWN_SAME)));
    return reads_reduce(g, &both, &n->attr[0], RED_SUM);
}

// The place o reads x up to o + left and the filter's taps up to there too, since x begins at 0; a circular one reads all.
static Reads reads_fftconv(const Graph *g, const Node *n, const Reads *const *in)
{
    Reads out = reads_nothing;
    const Attr *over = &n->attr[4];
    for (size_t k = 0; k < 2; k++) {
        AxisId along = n->attr[k].axis;
        Reads x = reads_nothing;
        reads_add(&x, in[k]);
        for (size_t i = 0; i < over->axes.n; i++)
            reads_replace(&x, over->axes.id[i], 0, graph_size(g, over->axes.id[i]) - 1);
        if (n->attr[5].i)
            reads_replace(&x, along, 0, graph_size(g, along) - 1);
        else
            reads_replace(&x, along, n->attr[2].axis, n->attr[3].i);
        reads_add(&out, &x);
    }
    return out;
}

// Views

// The place along `axis` becomes `to` with i_axis = i_to + by (for a window: between by_low and by_high). `lost` is what
// no longer holds where the result has zeros of its own.
static Reads reads_shifted(const Reads *x, AxisId axis, AxisId to, int64_t by_low, int64_t by_high, unsigned lost)
{
    Reads out = *x;
    out.n_facts = 0;
    out.is_linear = out.is_const = false;
    reads_replace(&out, axis, to, by_high);
    for (size_t i = 0; i < x->n_facts; i++) {
        Region where = x->fact[i].where;
        if (where.on_diagonal && (where.a == axis || where.b == axis))
            continue;
        if (where.a == axis) {              // i_to + by > i_b + shift
            where.a = to;
            where.shift = where.b ? place_moved(where.shift, -by_low) : NOWHERE;
            where.floor = place_moved(where.floor, -by_low);
        } else if (where.b == axis) {       // i_a > i_to + by + shift
            where.b = to;
            where.shift = place_moved(where.shift, by_high);
        }
        reads_add_fact(&out, where, x->fact[i].known & ~lost);
    }
    return out;
}

static AxisId renamed(const Node *n, AxisId axis)
{
    const Attr *from = &n->attr[0], *to = &n->attr[1];
    for (size_t k = 0; k < from->axes.n; k++)
        if (from->axes.id[k] == axis)
            return to->axes.id[k];
    return axis;
}

// Ids that no graph reaches.
static AxisId nobodys(size_t i)
{
    return (AxisId)(UINT16_MAX - i);
}

static Reads reads_rename(const Node *n, const Reads *x)
{
    Reads out = *x;
    out.n_facts = 0;
    for (size_t i = 0; i < n->attr[0].axes.n; i++)      // by way of axes that nobody has, as names may be exchanged
        reads_replace(&out, n->attr[0].axes.id[i], nobodys(i), 0);
    for (size_t i = 0; i < n->attr[0].axes.n; i++)
        reads_replace(&out, nobodys(i), n->attr[1].axes.id[i], 0);
    for (size_t i = 0; i < x->n_facts; i++) {
        Region where = x->fact[i].where;
        where.a = renamed(n, where.a);
        where.b = renamed(n, where.b);
        reads_add_fact(&out, where, x->fact[i].known);
    }
    out.plus = renamed(n, x->plus);
    out.minus = renamed(n, x->minus);
    return out;
}

// One place along an axis: a bound along it becomes a fixed one.
static Reads reads_at(const Reads *x, AxisId axis, int64_t index)
{
    Reads out = *x;
    out.n_facts = 0;
    out.is_linear = out.is_const = false;
    reads_replace(&out, axis, 0, index);
    for (size_t i = 0; i < x->n_facts; i++) {
        Region where = x->fact[i].where;
        if (where.a == axis || (where.on_diagonal && where.b == axis))
            continue;
        if (where.b == axis) {
            where.floor = max_place(where.floor, place_moved(where.shift, index));
            where.b = 0;
            where.shift = NOWHERE;
        }
        reads_add_fact(&out, where, x->fact[i].known);
    }
    return out;
}

// Position along these axes loses its meaning: whatever reads along them reads everything.
static Reads reads_scrambled(const Reads *x, const AxisId *axes, size_t n)
{
    Reads out = *x;
    out.n_facts = 0;
    out.is_linear = out.is_const = false;
    for (size_t i = 0; i < n; i++)
        out.all |= reads_forget(&out, axes[i]);
    for (size_t k = 0; k < x->n_facts; k++) {
        bool touched = false;
        for (size_t i = 0; i < n; i++)
            touched |= x->fact[k].where.a == axes[i] || x->fact[k].where.b == axes[i];
        if (!touched)
            reads_add_fact(&out, x->fact[k].where, x->fact[k].known);
    }
    return out;
}

// y = x[axis = index]: an index that is itself a position plus a constant is a shift; any other may point anywhere.
static Reads reads_take(const Node *n, const Reads *const *in)
{
    AxisId axis = n->attr[0].axis;
    Reads out = reads_scrambled(in[0], &axis, 1), moved = *in[0];
    if (in[1]->is_linear && !in[1]->minus) {
        out.all = in[0]->all;
        reads_replace(&moved, axis, in[1]->plus, in[1]->offset);
        reads_add(&out, &moved);
    }
    reads_add(&out, in[1]);
    for (size_t i = 0; i < out.n_facts; i++)    // an index of none gives 0
        out.fact[i].known &= KNOWN_ZERO | (reads_depend(in[1]) ? 0u : KNOWN_SAME);
    return out;
}

// y[o, j] = x[o*stride + j - left]
static Reads reads_window(const Graph *g, const Node *n, const Reads *x)
{
    AxisId axis = n->attr[0].axis;
    const AxisId *to = n->attr[1].axes.id;
    int64_t stride = n->attr[2].i, left = n->attr[3].i, last = graph_size(g, to[1]) - 1 - left;
    if (stride == 1)
        return reads_shifted(x, axis, to[0], -left, last, KNOWN_LOW | KNOWN_ONE);
    Reads out = reads_scrambled(x, &axis, 1), moved = *x;
    out.all = x->all;
    reads_replace_all(&moved, axis, to, &stride, 1, last);
    reads_add(&out, &moved);
    return out;
}

// Time counted by digits, the slowest first: i = sum of i_k times the sizes after k.
static Reads reads_split(const Graph *g, const Node *n, const Reads *x)
{
    AxisId axis = n->attr[0].axis;
    const Attr *to = &n->attr[1];
    int64_t stride[MAX_AXES], after = 1;
    for (size_t k = to->axes.n; k-- > 0; after *= graph_size(g, to->axes.id[k]))
        stride[k] = after;
    Reads out = reads_scrambled(x, &axis, 1), moved = *x;
    out.all = x->all;
    reads_replace_all(&moved, axis, to->axes.id, stride, to->axes.n, 0);
    reads_add(&out, &moved);
    return out;
}

// And back: the sum of c_k i_k is at most s*i for the least s with c_k <= s times the sizes after k.
static Reads reads_merge(const Graph *g, const Node *n, const Reads *x)
{
    const Attr *from = &n->attr[0];
    Reads out = reads_scrambled(x, from->axes.id, from->axes.n);
    out.all = x->all;
    for (size_t i = 0; i < x->n_bounds; i++) {
        Bound b = x->bound[i];
        int64_t after = 1, least = 0;
        for (size_t k = from->axes.n; k-- > 0; after *= graph_size(g, from->axes.id[k]))
            least = max_place(least, (bound_take(&b, from->axes.id[k]) + after - 1) / after);
        if (least)
            bound_add(&b, n->attr[1].axis, least);
        reads_add_bound(&out, &b);
    }
    return out;
}

// y[i, j] = x[(i + left - j)/stride, j], at most x[i + left, j]
static Reads reads_unwindow(const Node *n, const Reads *x)
{
    AxisId o = n->attr[0].axes.id[0];
    Reads out = reads_scrambled(x, &o, 1), moved = *x;
    out.all = x->all;
    reads_replace(&moved, o, n->attr[1].axis, n->attr[3].i);
    reads_add(&out, &moved);
    for (size_t i = 0; i < out.n_facts; i++)
        out.fact[i].known &= KNOWN_SAME | KNOWN_ZERO;
    return out;
}

// Routing: whole numbers that say who goes where. A pool is read along all of its axes, to their ends; what is left of a
// record is that it may be the same whatever the inputs are.
static Reads reads_pooled(const Graph *g, const Reads *x, const AxisId *axes, size_t n)
{
    Reads out = reads_nothing;
    reads_add(&out, x);
    for (size_t i = 0; i < n; i++)
        reads_replace(&out, axes[i], 0, graph_size(g, axes[i]) - 1);
    for (size_t k = 0; k < x->n_facts; k++) {
        bool touched = false;
        for (size_t i = 0; i < n; i++)
            touched |= x->fact[k].where.a == axes[i] || x->fact[k].where.b == axes[i];
        if (!touched)
            reads_add_fact(&out, x->fact[k].where, x->fact[k].known & KNOWN_SAME);
    }
    return out;
}

// A slot counts what stands before it in the pool. Along the pool's first axis that is only what came earlier; along the
// others, and where a second operand gives the order, it may be anything. Rows of a batch that come first are no matter:
// the claim is about positions of one's own row (what other rows do to it, a pool over the batch says by itself).
static Reads reads_slot(const Graph *g, const Node *n, const Reads *const *in)
{
    const Attr *over = &n->attr[1];
    const Type *turn = n->n_in > 1 ? &g->node[n->in[1]].type : NULL;
    AxisId whole[MAX_AXES];
    size_t n_whole = 0;
    bool first = true;
    for (size_t i = 0; i < over->axes.n; i++) {
        AxisId axis = over->axes.id[i];
        if (!first || (turn && type_has(turn, axis)))
            whole[n_whole++] = axis;
        first = first && (graph_size(g, axis) == 1 || g->axis[axis].kind == AXIS_BATCH);
    }
    Reads both = *in[0];
    both.n_facts = 0;
    if (turn)
        reads_add(&both, in[1]);
    return reads_pooled(g, &both, whole, n_whole);
}

Reads reads_input(const Graph *g, const Type *type, AxisId axis)
{
    Reads r = reads_nothing;
    for (size_t i = 0; i < type->n_axes; i++) {
        AxisId a = type->axis[i];
        if (a == axis || g->axis[a].twin_of == axis || (g->axis[axis].twin_of && g->axis[axis].twin_of == a))
            reads_add_bound(&r, &(Bound){.term = {{a, 1}}, .n_terms = 1});
    }
    return r;
}

static Reads reads_other(const Graph *g, const Node *n, const Reads *const *in)
{
    Reads out = reads_nothing;
    switch ((int)n->op) {
    case OP_ARG: case OP_PARAM: case OP_STATE: case OP_RANDOM: return out;
    case OP_CONST:
        reads_set_const(&out, n->attr[0].f);
        return out;
    case OP_INDEX:
        out.is_linear = true;
        out.plus = n->attr[0].axis;
        return out;
    case OP_CONTRACT: return reads_contract(g, n, in);
    case OP_FFTCONV:  return reads_fftconv(g, n, in);
    case OP_REDUCE:   return reads_reduce(g, in[0], &n->attr[1], n->attr[0].red);
    case OP_RENAME:   return reads_rename(n, in[0]);
    case OP_SPLIT:    return reads_split(g, n, in[0]);
    case OP_MERGE:    return reads_merge(g, n, in[0]);
    case OP_AT:       return reads_at(in[0], n->attr[0].axis, n->attr[1].i);
    case OP_SLICE:    return reads_shifted(in[0], n->attr[0].axis, n->attr[2].axis, n->attr[1].i, n->attr[1].i, 0);
    case OP_PAD:
        return reads_shifted(in[0], n->attr[0].axis, n->attr[2].axis, -n->attr[1].i, -n->attr[1].i, KNOWN_LOW | KNOWN_ONE);
    case OP_REVERSE:  return reads_scrambled(in[0], &n->attr[0].axis, 1);
    case OP_WINDOW:   return reads_window(g, n, in[0]);
    case OP_UNWINDOW: return reads_unwindow(n, in[0]);
    case OP_TAKE:     return reads_take(n, in);
    case OP_PUT_ADD:  return reads_put_add(g, n, in);
    case OP_TOPK:     return reads_pooled(g, in[0], &n->attr[0].axis, 1);
    case OP_RANK:     return reads_pooled(g, in[0], n->attr[0].axes.id, n->attr[0].axes.n);
    case OP_SLOT:     return reads_slot(g, n, in);
    case OP_ASSIGN:
        out = reads_pooled(g, in[0], n->attr[1].axes.id, n->attr[1].axes.n);
        return reads_pooled(g, &out, &n->attr[0].axis, 1);
    default:
        for (size_t i = 0; i < n->n_in; i++)
            out.all |= reads_depend(in[i]);
        return out;
    }
}

Reads reads_of_node(const Graph *g, const Node *n, const Reads *const *reads)
{
    const Reads *in[OP_ANY];
    const Node *first = n->n_in ? &g->node[n->in[0]] : NULL;
    if (n->op == OP_REVERSE && first->op == OP_REVERSE && first->attr[0].axis == n->attr[0].axis)
        return *reads[first->in[0]];        // turned round twice
    for (size_t i = 0; i < n->n_in; i++)
        in[i] = reads[n->in[i]];
    bool pointwise = op_row[n->op].flags & OP_FLAG_POINTWISE && n->n_in > 0 && n->op != OP_RANDOM;
    Reads out = pointwise || n->op == OP_EXPAND ? reads_pointwise(n, in) : reads_other(g, n, in);
    unsigned known = 0;
    for (size_t i = 0; i < out.n_facts; i++) {
        if (out.low_at_most > LOW_ENOUGH)
            out.fact[i].known &= ~(unsigned)KNOWN_LOW;
        known |= out.fact[i].known;
    }
    if (!(known & KNOWN_LOW))
        out.low_at_most = -INFINITY;
    return out;
}
