// fold's rules about axes: views of views, and sums of what does not vary or of one chosen element. See fold.h.
#include "fold.h"

// rename(rename(x)): one renaming, from x's names to the final ones; x where nothing is left of it.
static ValueId fold_rename(Fold *f, const Node *n)
{
    Graph *g = f->rw.out;
    const Node *inner = &g->node[n->in[0]];
    AxisId from[MAX_AXES], to[MAX_AXES];
    uint8_t k = 0;
    bool is_rename = inner->op == OP_RENAME;
    ValueId x = is_rename ? inner->in[0] : n->in[0];
    Type type = g->node[x].type;
    for (size_t i = 0; i < type.n_axes; i++) {
        AxisId name = type.axis[i];
        for (size_t j = 0; is_rename && j < inner->attr[0].axes.n; j++)
            if (inner->attr[0].axes.id[j] == type.axis[i])
                name = inner->attr[1].axes.id[j];
        AxisId last = name;
        for (size_t j = 0; j < n->attr[0].axes.n; j++)
            if (n->attr[0].axes.id[j] == name)
                last = n->attr[1].axes.id[j];
        if (last != type.axis[i]) {
            from[k] = type.axis[i];
            to[k++] = last;
        }
    }
    if (k == 0)
        return x;
    if (!is_rename)
        return 0;
    Attr attr[2] = {{.kind = ATTR_AXES, .axes = {k, from}}, {.kind = ATTR_AXES, .axes = {k, to}}};
    return graph_add(g, OP_RENAME, &x, 1, attr, 2, NULL);
}

// split(merge(x)) and merge(split(x)) with the same sizes in the same order: a renaming.
static ValueId fold_split(Fold *f, const Node *n)
{
    Graph *g = f->rw.out;
    const Node *m = &g->node[n->in[0]];
    if (m->op != OP_MERGE || m->attr[1].axis != n->attr[0].axis || m->attr[0].axes.n != n->attr[1].axes.n)
        return 0;
    AxisId from[MAX_AXES], to[MAX_AXES];
    uint8_t k = 0;
    for (size_t i = 0; i < m->attr[0].axes.n; i++) {
        AxisId a = m->attr[0].axes.id[i], b = n->attr[1].axes.id[i];
        if (graph_size(g, a) != graph_size(g, b))
            return 0;
        if (a != b) {
            from[k] = a;
            to[k++] = b;
        }
    }
    ValueId x = m->in[0];
    Attr attr[2] = {{.kind = ATTR_AXES, .axes = {k, from}}, {.kind = ATTR_AXES, .axes = {k, to}}};
    return k ? graph_add(g, OP_RENAME, &x, 1, attr, 2, NULL) : x;
}

static ValueId fold_merge(Fold *f, const Node *n)
{
    Graph *g = f->rw.out;
    const Node *s = &g->node[n->in[0]];
    if (s->op != OP_SPLIT || s->attr[1].axes.n != n->attr[0].axes.n)
        return 0;
    for (size_t i = 0; i < n->attr[0].axes.n; i++)
        if (s->attr[1].axes.id[i] != n->attr[0].axes.id[i])
            return 0;
    AxisId from = s->attr[0].axis, to = n->attr[1].axis;
    return from == to ? s->in[0] : graph_rename(g, s->in[0], from, to);
}

static ValueId fold_expand(Fold *f, const Node *n)
{
    Graph *g = f->rw.out;
    const Node *x = &g->node[n->in[0]];
    if (x->type.n_axes == n->type.n_axes)
        return n->in[0];
    return x->op == OP_EXPAND ? graph_expand(g, x->in[0], n->type.axis, n->type.n_axes) : 0;
}

// slice and pad of the whole axis: its other name.
static ValueId fold_whole(Fold *f, const Node *n)
{
    Graph *g = f->rw.out;
    AxisId from = n->attr[0].axis, to = n->attr[2].axis;
    if (n->attr[1].i != 0 || graph_size(g, from) != graph_size(g, to))
        return 0;
    return from == to ? n->in[0] : graph_rename(g, n->in[0], from, to);
}

// A view of a number is that number, unless the view brings zeros (pad, window, unwindow).
static ValueId fold_view_of_const(Fold *f, const Node *n)
{
    double value;
    bool brings_zeros = n->op == OP_PAD || n->op == OP_WINDOW || n->op == OP_UNWINDOW;
    if (n->op == OP_EXPAND || !fold_const(f, n->in[0], &value) || (brings_zeros && value != 0))
        return 0;
    return fold_as(f, graph_const(f->rw.out, n->type.dtype, value), &n->type);
}

ValueId fold_view(Fold *f, const Node *n)
{
    if (!(op_row[n->op].flags & OP_FLAG_VIEW))
        return 0;
    ValueId v = fold_view_of_const(f, n);
    if (v)
        return v;
    const Node *x = &f->rw.out->node[n->in[0]];
    switch (n->op) {
    case OP_RENAME:  return fold_rename(f, n);
    case OP_SPLIT:   return fold_split(f, n);
    case OP_MERGE:   return fold_merge(f, n);
    case OP_EXPAND:  return fold_expand(f, n);
    case OP_SLICE:
    case OP_PAD:     return fold_whole(f, n);
    case OP_REVERSE: return x->op == OP_REVERSE && x->attr[0].axis == n->attr[0].axis ? x->in[0] : 0;
    case OP_AT:
        // the axis that an expansion brought is taken away again
        if (x->op == OP_EXPAND && !type_has(&f->rw.out->node[x->in[0]].type, n->attr[0].axis))
            return x->in[0];
        return 0;
    default:         return 0;
    }
}

// A whole number from 0 to size - 1 everywhere, as far as one can see: a constant, or the positions of another axis.
static bool is_position(const Fold *f, ValueId i, int64_t size)
{
    double value;
    if (fold_const(f, i, &value))
        return value >= 0 && value < (double)size;
    const Node *n = &f->rw.out->node[i];
    return n->op == OP_INDEX && graph_size(f->rw.out, n->attr[0].axis) <= size;
}

// sum over A of select(index(A) == i, x, 0), with i from 0 to size(A) - 1: x, read at A = i where it has A.
static ValueId fold_sum_of_choice(Fold *f, const Node *n)
{
    Graph *g = f->rw.out;
    const Node *s = &g->node[n->in[0]];
    if (n->attr[1].axes.n != 1 || s->op != OP_SELECT || !fold_is(f, s->in[2], 0))
        return 0;
    AxisId axis = n->attr[1].axes.id[0];
    const Node *eq = &g->node[s->in[0]];
    if (eq->op != OP_EQ)
        return 0;
    for (size_t k = 0; k < 2; k++) {
        const Node *index = &g->node[eq->in[k]];
        ValueId i = eq->in[1 - k], x = s->in[1];
        if (index->op != OP_INDEX || index->attr[0].axis != axis || type_has(&g->node[i].type, axis) ||
            !is_position(f, i, graph_size(g, axis)))
            continue;
        return type_has(&g->node[x].type, axis) ? graph_take(g, x, i, axis) : x;
    }
    return 0;
}

// The sum of what is the same along some of the axes is a multiple; its maximum or minimum is itself.
static ValueId fold_reduce_expanded(Fold *f, const Node *n)
{
    Graph *g = f->rw.out;
    const Node *e = &g->node[n->in[0]];
    if (e->op != OP_EXPAND)
        return 0;
    const Attr *over = &n->attr[1];
    ValueId x = e->in[0];
    AxisId rest[MAX_AXES];
    size_t n_rest = 0;
    double count = 1;
    for (size_t i = 0; i < over->axes.n; i++) {
        if (type_has(&g->node[x].type, over->axes.id[i]))
            rest[n_rest++] = over->axes.id[i];
        else if (graph_size(g, over->axes.id[i]) == 0)
            return 0;
        else
            count *= (double)graph_size(g, over->axes.id[i]);
    }
    if (n_rest == over->axes.n)
        return 0;
    x = graph_reduce(g, n->attr[0].red, x, rest, n_rest);
    if (n->attr[0].red != RED_SUM || count == 1)
        return x;
    double value;
    if (fold_const(f, x, &value) && n->type.dtype != DTYPE_I32)
        return graph_const(g, n->type.dtype, value * count);
    return graph_binary(g, OP_MUL, x, graph_const(g, n->type.dtype, count));
}

// Along axes of one element nothing is combined.
static ValueId fold_reduce_single(Fold *f, const Node *n)
{
    Graph *g = f->rw.out;
    const Attr *over = &n->attr[1];
    for (size_t i = 0; i < over->axes.n; i++)
        if (graph_size(g, over->axes.id[i]) != 1)
            return 0;
    ValueId x = n->in[0];
    for (size_t i = 0; i < over->axes.n; i++)
        x = graph_at(g, x, over->axes.id[i], 0);
    return x;
}

ValueId fold_sum(Fold *f, const Node *n)
{
    if (n->op != OP_REDUCE)
        return 0;
    if (n->attr[1].axes.n == 0)
        return n->in[0];
    const ValueId single = fold_reduce_single(f, n);
    if (single)
        return single;
    ValueId v = fold_reduce_expanded(f, n);
    if (!v && n->attr[0].red == RED_SUM)
        v = fold_sum_of_choice(f, n);
    return v;
}
