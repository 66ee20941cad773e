// Classes of the values of a row kernel (rows.h).
#include "rows.h"

AxisId axis_twin_root(const Graph *g, AxisId axis)
{
    while (g->axis[axis].twin_of)
        axis = g->axis[axis].twin_of;
    return axis;
}

bool type_holds_twins(const Graph *g, const Type *type)
{
    for (int i = 0; i < type->n_axes; i++)
        for (int k = 0; k < i; k++)
            if (axis_twin_root(g, type->axis[i]) == axis_twin_root(g, type->axis[k]))
                return true;
    return false;
}

bool rows_is_wide(const Graph *g, ValueId v, AxisId row, AxisId col)
{
    const Type *type = &g->node[v].type;
    return type_has(type, row) && type_has(type, col);
}

static bool sums(const Node *n, AxisId axis)
{
    const Attr *over = &n->attr[n->op == OP_REDUCE ? 1 : 0];
    for (int i = 0; i < over->axes.n; i++)
        if (over->axes.id[i] == axis)
            return true;
    return false;
}

bool rows_out_sums_columns(const Graph *g, ValueId out, AxisId col)
{
    return sums(&g->node[out], col);
}

int rows_wide_operand(const Graph *g, ValueId out, const uint8_t *class_of)
{
    return class_of[g->node[out].in[0]] == ROWS_WIDE ? 0 : 1;
}

static RowsClass class_of_contract(const Graph *g, const Node *n, AxisId row, AxisId col, const uint8_t *class_of)
{
    int n_wide = 0, n_line = 0;
    for (int k = 0; k < 2; k++) {
        const uint8_t c = class_of[n->in[k]];
        n_wide += c == ROWS_WIDE;
        n_line += c == ROWS_FREE;
    }
    const bool has_row = type_has(&n->type, row), has_col = type_has(&n->type, col);
    if (n_wide == 0 && n_line == 0) {
        const Type *a = &g->node[n->in[0]].type, *b = &g->node[n->in[1]].type;
        const bool apart = type_has(a, row) != type_has(b, row) && type_has(a, col) != type_has(b, col)
                        && type_has(a, row) != type_has(a, col);
        return has_row && has_col && apart ? ROWS_WIDE : ROWS_NONE;
    }
    const bool one_axis = n->attr[0].axes.n == 1 && has_row != has_col;
    const bool other_has_it = one_axis && (sums(n, row) || sums(n, col));
    return n_wide == 1 && n_line == 0 && other_has_it ? ROWS_OUT : ROWS_BAD;
}

RowsClass rows_class(const Graph *g, ValueId v, AxisId row, AxisId col, const uint8_t *class_of)
{
    const Node *n = &g->node[v];
    if (n->op == OP_CONTRACT)
        return class_of_contract(g, n, row, col, class_of);
    bool wide = false, line = false, free = false;
    for (size_t k = 0; k < n->n_in; k++) {
        const uint8_t c = class_of[n->in[k]];
        wide |= c == ROWS_WIDE;
        line |= c == ROWS_LINE || c == ROWS_REDUCE;
        free |= c == ROWS_FREE;
    }
    const bool elementwise = (op_row[n->op].flags & OP_FLAG_POINTWISE) || n->op == OP_EXPAND;
    if (wide) {
        if (elementwise && n->op != OP_EXPAND)
            return ROWS_WIDE;
        const bool over_columns = n->op == OP_REDUCE && n->attr[1].axes.n == 1 && n->attr[1].axes.id[0] == col;
        return over_columns ? ROWS_REDUCE : ROWS_BAD;
    }
    if (!elementwise || !(line || free))
        return ROWS_NONE;
    if (type_has(&n->type, col))
        return ROWS_FREE;
    return type_has(&n->type, row) ? ROWS_LINE : ROWS_NONE;
}
