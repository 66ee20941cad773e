// Recognition of grouped products (grouped.h).
#include "grouped.h"

enum { MIN_FLOPS = 65536, MIN_COLS = 8, MIN_SUM = 4 };

static void group_add(const Graph *g, AxisGroup *group, AxisId axis)
{
    int64_t size;
    group->axis[group->n++] = axis;
    if (__builtin_mul_overflow(group->size, graph_size(g, axis), &size))
        size = INT64_MAX;
    group->size = size;
}

static void begin(ValueId v, ValueId index, AxisId expert, ValueId through, Grouped *out)
{
    *out = (Grouped){.value = v, .index = index, .through = through, .expert = expert};
    out->p.value = v;
    for (int c = 0; c < CLASS_COUNT; c++)
        out->p.group[c].size = 1;
    out->n_rows = 1;
}

// The batch: axes of `weights` that the index shares, then the expert.
static void add_groups(const Graph *g, const Type *weights, Grouped *out)
{
    const Type *index = &g->node[out->index].type;
    AxisGroup *batch = &out->p.group[CLASS_BATCH];
    for (int i = 0; i < weights->n_axes; i++)
        if (type_has(index, weights->axis[i]))
            group_add(g, batch, weights->axis[i]);
    group_add(g, batch, out->expert);
    out->n_groups = batch->size;
}

static AxisId innermost(const Graph *g, const Type *type)
{
    for (int i = type->n_axes - 1; i >= 0; i--)
        if (graph_size(g, type->axis[i]) != 1)
            return type->axis[i];
    return 0;
}

static bool holds(const AxisGroup *group, AxisId axis)
{
    for (int i = 0; i < group->n; i++)
        if (group->axis[i] == axis)
            return true;
    return false;
}

static bool over_has(const Attr *over, AxisId axis)
{
    for (int i = 0; i < over->axes.n; i++)
        if (over->axes.id[i] == axis)
            return true;
    return false;
}

static bool rows_form(const Graph *g, ValueId v, int side, Grouped *out)
{
    const Node *n = &g->node[v], *take = &g->node[n->in[side]];
    const Attr *over = &n->attr[0];
    if (take->op != OP_TAKE || take->kernel != 0)
        return false;
    const ValueId a = n->in[1 - side], w = take->in[0], index = take->in[1];
    const Type *at = &g->node[a].type, *wt = &g->node[w].type, *it = &g->node[index].type;
    const AxisId expert = take->attr[0].axis;
    begin(v, index, expert, n->in[side], out);
    out->p.operand[0] = a;
    out->p.operand[1] = w;
    if (type_has(it, expert) || type_has(at, expert))
        return false;
    for (int i = 0; i < it->n_axes; i++) {
        if (!type_has(&n->type, it->axis[i]))
            return false;
        group_add(g, &out->p.group[CLASS_ROW], it->axis[i]);
    }
    for (int i = 0; i < at->n_axes; i++)
        if (!type_has(it, at->axis[i]) && !over_has(over, at->axis[i]))
            return false;
    for (int i = 0; i < wt->n_axes; i++)
        if (over_has(over, wt->axis[i]))
            group_add(g, &out->p.group[CLASS_SUM], wt->axis[i]);
    for (int i = 0; i < n->type.n_axes; i++)
        if (!type_has(it, n->type.axis[i]))
            group_add(g, &out->p.group[CLASS_COL], n->type.axis[i]);
    add_groups(g, wt, out);
    out->n_rows = out->p.group[CLASS_ROW].size;
    return out->p.group[CLASS_SUM].n == over->axes.n && holds(&out->p.group[CLASS_COL], innermost(g, &n->type));
}

static bool sums_form(const Graph *g, ValueId v, int side, Grouped *out)
{
    const Node *n = &g->node[v], *mul = &g->node[n->in[0]];
    const Type *it = &g->node[n->in[1]].type;
    if (mul->op != OP_MUL || mul->kernel != 0)
        return false;
    const ValueId a = mul->in[1 - side], b = mul->in[side];
    const Type *at = &g->node[a].type, *bt = &g->node[b].type;
    begin(v, n->in[1], n->attr[1].axis, n->in[0], out);
    out->is_sum = true;
    out->p.operand[0] = a;
    out->p.operand[1] = b;
    if (type_has(it, out->expert) || type_has(&mul->type, out->expert))
        return false;
    for (int i = 0; i < it->n_axes; i++) {
        if (!type_has(&mul->type, it->axis[i]))
            return false;
        group_add(g, &out->p.group[CLASS_SUM], it->axis[i]);
    }
    for (int i = 0; i < n->type.n_axes; i++) {
        const AxisId axis = n->type.axis[i];
        if (axis == out->expert || type_has(it, axis))
            continue;
        if (type_has(at, axis) && type_has(bt, axis))
            return false;
        group_add(g, &out->p.group[type_has(at, axis) ? CLASS_ROW : CLASS_COL], axis);
    }
    add_groups(g, &n->type, out);
    out->n_rows = out->p.group[CLASS_SUM].size;
    return holds(&out->p.group[CLASS_COL], innermost(g, &n->type));
}

bool grouped_of(const Graph *g, ValueId v, Grouped *out)
{
    const Node *n = &g->node[v];
    if (n->type.dtype == DTYPE_I32)
        return false;
    for (int side = 1; side >= 0; side--) {
        if (n->op == OP_CONTRACT && rows_form(g, v, side, out))
            return true;
        if (n->op == OP_PUT_ADD && n->attr[0].axes.n && sums_form(g, v, side, out))
            return true;
    }
    return false;
}

bool grouped_is_worth(const Grouped *p)
{
    const double cols = (double)p->p.group[CLASS_COL].size, rows = (double)p->n_rows;
    const double other = (double)p->p.group[p->is_sum ? CLASS_ROW : CLASS_SUM].size;
    return cols >= MIN_COLS && other >= MIN_SUM && rows * cols * other >= MIN_FLOPS && rows < 1 << 30
        && (double)p->n_groups < 1 << 24;
}
