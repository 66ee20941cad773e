// See triangle.h.
#include "triangle.h"

static bool is_zero(const Graph *g, ValueId v)
{
    const Node *n = &g->node[v];
    while (n->op == OP_EXPAND || n->op == OP_CAST)
        n = &g->node[n->in[0]];
    return n->op == OP_CONST && n->attr[0].f == 0;
}

// index(a) + something is no index: only the plain one, perhaps under another name.
static AxisId index_axis(const Graph *g, ValueId v)
{
    const Node *n = &g->node[v];
    if (n->op == OP_CAST || n->op == OP_EXPAND)
        return index_axis(g, n->in[0]);
    return n->op == OP_INDEX ? n->attr[0].axis : 0;
}

// A comparison that holds only where i_low <= i_high; with `negated`, one that fails only there.
static bool ordered(const Graph *g, ValueId condition, bool negated, AxisId *low, AxisId *high)
{
    const Node *n = &g->node[condition];
    if (n->op == OP_EXPAND)
        return ordered(g, n->in[0], negated, low, high);
    if (n->op != OP_LE && n->op != OP_LT)
        return false;
    *low = index_axis(g, n->in[negated]);               // not (a < b): b <= a
    *high = index_axis(g, n->in[!negated]);
    return *low && *high && *low != *high;
}

bool triangle_of(const Graph *g, ValueId v, AxisId *out_low, AxisId *out_high)
{
    const Node *n = &g->node[v];
    if (n->op == OP_CAST || n->op == OP_EXPAND)
        return triangle_of(g, n->in[0], out_low, out_high);
    if (n->op == OP_SELECT && is_zero(g, n->in[2]))
        return ordered(g, n->in[0], false, out_low, out_high);
    if (n->op == OP_SELECT && is_zero(g, n->in[1]))
        return ordered(g, n->in[0], true, out_low, out_high);
    for (int i = 0; n->op == OP_MUL && i < 2; i++)
        if (ordered(g, n->in[i], false, out_low, out_high))
            return true;
    return false;
}

// Whether the group runs over this axis alone.
static bool is_only(const Graph *g, const AxisGroup *group, AxisId axis)
{
    bool found = false;
    for (int i = 0; i < group->n; i++) {
        found |= group->axis[i] == axis;
        if (group->axis[i] != axis && graph_size(g, group->axis[i]) != 1)
            return false;
    }
    return found;
}

Triangle triangle_of_product(const Graph *g, const Product *p)
{
    const AxisGroup *sum = &p->group[CLASS_SUM];
    for (int i = 0; i < 2; i++) {
        const AxisGroup *own = &p->group[i == 0 ? CLASS_ROW : CLASS_COL];
        AxisId low, high;
        if (!triangle_of(g, p->operand[i], &low, &high))
            continue;
        if (is_only(g, sum, low) && is_only(g, own, high))
            return i == 0 ? TRIANGLE_TERMS_BELOW_ROW : TRIANGLE_TERMS_BELOW_COL;
        if (is_only(g, sum, high) && is_only(g, own, low))
            return i == 0 ? TRIANGLE_TERMS_FROM_ROW : TRIANGLE_TERMS_FROM_COL;
    }
    return TRIANGLE_NONE;
}

Triangle triangle_of_result(const Graph *g, const Product *p, ValueId reader)
{
    AxisId low, high;                       // a choice, not a product with 0 or 1: what is left out may be anything
    if (!reader || g->node[reader].op != OP_SELECT || !triangle_of(g, reader, &low, &high))
        return TRIANGLE_NONE;
    if (is_only(g, &p->group[CLASS_COL], low) && is_only(g, &p->group[CLASS_ROW], high))
        return TRIANGLE_COLS_BELOW_ROW;
    if (is_only(g, &p->group[CLASS_COL], high) && is_only(g, &p->group[CLASS_ROW], low))
        return TRIANGLE_COLS_FROM_ROW;
    return TRIANGLE_NONE;
}
