// Short forms for the ops: each packs its attributes and calls graph_add. See graph.h.
#include "graph.h"

#include <assert.h>

static Attr attr_int(int64_t i)             { return (Attr){.kind = ATTR_INT, .i = i}; }
static Attr attr_float(double f)            { return (Attr){.kind = ATTR_FLOAT, .f = f}; }
static Attr attr_axis(AxisId axis)          { return (Attr){.kind = ATTR_AXIS, .axis = axis}; }
static Attr attr_act(Act act)               { return (Attr){.kind = ATTR_ACT, .act = act}; }
static Attr attr_red(Red red)               { return (Attr){.kind = ATTR_RED, .red = red}; }
static Attr attr_dtype(DType dtype)         { return (Attr){.kind = ATTR_DTYPE, .dtype = dtype}; }
static Attr attr_name(const char *name)     { return (Attr){.kind = ATTR_NAME, .name = name}; }

// Borrows `axes`, which graph_add copies; it only reads them.
static Attr attr_axes(const AxisId *axes, size_t n)
{
    assert(n <= UINT8_MAX);
    return (Attr){.kind = ATTR_AXES, .axes = {(uint8_t)n, (AxisId *)axes}};
}

ValueId graph_leaf(Graph *g, Op op, const char *name, Type type)
{
    assert(op == OP_ARG || op == OP_PARAM || op == OP_STATE);
    Attr attr = attr_name(name);
    return graph_add(g, op, NULL, 0, &attr, 1, &type);
}

ValueId graph_const(Graph *g, DType dtype, double value)
{
    Attr attr = attr_float(value);
    Type type = type_make(dtype, NULL, 0);
    return graph_add(g, OP_CONST, NULL, 0, &attr, 1, &type);
}

ValueId graph_index(Graph *g, AxisId axis)
{
    Attr attr = attr_axis(axis);
    return graph_add(g, OP_INDEX, NULL, 0, &attr, 1, NULL);
}

ValueId graph_random(Graph *g, ValueId seed, ValueId step, int64_t stream, Type type)
{
    Attr attr = attr_int(stream);
    return graph_add(g, OP_RANDOM, (ValueId[]){seed, step}, 2, &attr, 1, &type);
}

ValueId graph_unary(Graph *g, Op op, ValueId x)
{
    return graph_add(g, op, &x, 1, NULL, 0, NULL);
}

ValueId graph_binary(Graph *g, Op op, ValueId a, ValueId b)
{
    return graph_add(g, op, (ValueId[]){a, b}, 2, NULL, 0, NULL);
}

ValueId graph_select(Graph *g, ValueId c, ValueId a, ValueId b)
{
    return graph_add(g, OP_SELECT, (ValueId[]){c, a, b}, 3, NULL, 0, NULL);
}

ValueId graph_map(Graph *g, Act f, ValueId x)
{
    Attr attr = attr_act(f);
    return graph_add(g, OP_MAP, &x, 1, &attr, 1, NULL);
}

ValueId graph_slope(Graph *g, Act f, ValueId x_or_y)
{
    Attr attr = attr_act(f);
    return graph_add(g, OP_SLOPE, &x_or_y, 1, &attr, 1, NULL);
}

ValueId graph_cast(Graph *g, DType to, ValueId x)
{
    if (x == 0 || g->node[x].type.dtype == to)
        return x;
    Attr attr = attr_dtype(to);
    return graph_add(g, OP_CAST, &x, 1, &attr, 1, NULL);
}

ValueId graph_expand(Graph *g, ValueId x, const AxisId *to, size_t n)
{
    Attr attr = attr_axes(to, n);
    return graph_add(g, OP_EXPAND, &x, 1, &attr, 1, NULL);
}

ValueId graph_contract(Graph *g, ValueId a, ValueId b, const AxisId *over, size_t n)
{
    Attr attr = attr_axes(over, n);
    return graph_add(g, OP_CONTRACT, (ValueId[]){a, b}, 2, &attr, 1, NULL);
}

ValueId graph_reduce(Graph *g, Red f, ValueId x, const AxisId *over, size_t n)
{
    if (n == 0)
        return x;
    Attr attr[] = {attr_red(f), attr_axes(over, n)};
    return graph_add(g, OP_REDUCE, &x, 1, attr, 2, NULL);
}

ValueId graph_fftconv(Graph *g, ValueId x, ValueId k, const Attr *attr)
{
    return graph_add(g, OP_FFTCONV, (ValueId[]){x, k}, 2, attr, 6, NULL);
}

ValueId graph_rename(Graph *g, ValueId x, AxisId from, AxisId to)
{
    Attr attr[] = {attr_axes(&from, 1), attr_axes(&to, 1)};
    return graph_add(g, OP_RENAME, &x, 1, attr, 2, NULL);
}

ValueId graph_split(Graph *g, ValueId x, AxisId axis, const AxisId *to, size_t n)
{
    Attr attr[] = {attr_axis(axis), attr_axes(to, n)};
    return graph_add(g, OP_SPLIT, &x, 1, attr, 2, NULL);
}

ValueId graph_merge(Graph *g, ValueId x, const AxisId *axes, size_t n, AxisId to)
{
    Attr attr[] = {attr_axes(axes, n), attr_axis(to)};
    return graph_add(g, OP_MERGE, &x, 1, attr, 2, NULL);
}

ValueId graph_at(Graph *g, ValueId x, AxisId axis, int64_t index)
{
    Attr attr[] = {attr_axis(axis), attr_int(index)};
    return graph_add(g, OP_AT, &x, 1, attr, 2, NULL);
}

ValueId graph_slice(Graph *g, ValueId x, AxisId axis, int64_t start, AxisId to)
{
    Attr attr[] = {attr_axis(axis), attr_int(start), attr_axis(to)};
    return graph_add(g, OP_SLICE, &x, 1, attr, 3, NULL);
}

ValueId graph_pad(Graph *g, ValueId x, AxisId axis, int64_t start, AxisId to)
{
    Attr attr[] = {attr_axis(axis), attr_int(start), attr_axis(to)};
    return graph_add(g, OP_PAD, &x, 1, attr, 3, NULL);
}

ValueId graph_reverse(Graph *g, ValueId x, AxisId axis)
{
    Attr attr = attr_axis(axis);
    return graph_add(g, OP_REVERSE, &x, 1, &attr, 1, NULL);
}

ValueId graph_window(Graph *g, ValueId x, AxisId axis, AxisId out, AxisId offset, int64_t stride, int64_t left)
{
    AxisId to[] = {out, offset};
    Attr attr[] = {attr_axis(axis), attr_axes(to, 2), attr_int(stride), attr_int(left)};
    return graph_add(g, OP_WINDOW, &x, 1, attr, 4, NULL);
}

ValueId graph_unwindow(Graph *g, ValueId x, AxisId out, AxisId offset, AxisId to, int64_t stride, int64_t left)
{
    AxisId axes[] = {out, offset};
    Attr attr[] = {attr_axes(axes, 2), attr_axis(to), attr_int(stride), attr_int(left)};
    return graph_add(g, OP_UNWINDOW, &x, 1, attr, 4, NULL);
}

ValueId graph_take(Graph *g, ValueId x, ValueId index, AxisId axis)
{
    Attr attr = attr_axis(axis);
    return graph_add(g, OP_TAKE, (ValueId[]){x, index}, 2, &attr, 1, NULL);
}

ValueId graph_put_add(Graph *g, ValueId dy, ValueId index, const AxisId *over, size_t n, AxisId to)
{
    Attr attr[] = {attr_axes(over, n), attr_axis(to)};
    return graph_add(g, OP_PUT_ADD, (ValueId[]){dy, index}, 2, attr, 2, NULL);
}

ValueId graph_put(Graph *g, ValueId x, ValueId index, ValueId y, AxisId axis)
{
    Attr attr = attr_axis(axis);
    return graph_add(g, OP_PUT, (ValueId[]){x, index, y}, 3, &attr, 1, NULL);
}

ValueId graph_topk(Graph *g, ValueId x, AxisId axis, AxisId to)
{
    Attr attr[] = {attr_axis(axis), attr_axis(to)};
    return graph_add(g, OP_TOPK, &x, 1, attr, 2, NULL);
}

ValueId graph_rank(Graph *g, ValueId x, const AxisId *over, size_t n)
{
    Attr attr = attr_axes(over, n);
    return graph_add(g, OP_RANK, &x, 1, &attr, 1, NULL);
}

ValueId graph_slot(Graph *g, ValueId i, ValueId turn, AxisId axis, const AxisId *over, size_t n)
{
    Attr attr[] = {attr_axis(axis), attr_axes(over, n)};
    return graph_add(g, OP_SLOT, (ValueId[]){i, turn}, turn ? 2 : 1, attr, 2, NULL);
}

ValueId graph_assign(Graph *g, ValueId x, AxisId axis, const AxisId *over, size_t n)
{
    Attr attr[] = {attr_axis(axis), attr_axes(over, n)};
    return graph_add(g, OP_ASSIGN, &x, 1, attr, 2, NULL);
}
