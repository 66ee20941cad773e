// fftconv: long convolutions.
#include "build_functions.h"

static Val tensor_arg(Build *b, const Expr *e)
{
    Val v = value_of_tensor(b, e);
    if (v.kind == VAL_FIELD && v.field->id)
        v = val_tensor(v.field->id, false);
    return v.kind == VAL_TENSOR ? to_float(b, v) : val_error();
}

// The axis that the filter runs along: the one of `taps=`, else the same as x's.
static bool taps_of(Build *b, const Expr *e, Val k, AxisId axis, AxisId *out)
{
    const Arg *arg = call_named(e, "taps");
    AxisList have, list = {0};
    *out = axis;
    if (arg && !axes_read(b, arg->value, &list))
        return false;
    if (arg && list.n != 1) {
        report(b, arg->at, "E0217", "`fftconv` has one axis of taps");
        return false;
    }
    if (arg)
        *out = list.id[0];
    axes_of(b, k, &have);
    if (axes_has(&have, *out))
        return true;
    if (report(b, call_arg(e, 1)->at, "E0203", "the filter does not hold axis `%s`", axis_name(b, *out))) {
        label_axes(b, call_arg(e, 1)->at, k);
        if (!arg)
            diag_help(b->diag, "name the axis of its taps: `fftconv(x, k, over=%s, taps=S)`", axis_name(b, axis));
    }
    return false;
}

// One filter for both directions, along an axis of its own: the reverse one turned round, then k. So lag 0 is at n.
static ValueId both_ways(Build *b, ValueId k, ValueId r, AxisId taps, AxisId *out_axis)
{
    Graph *g = b->g;
    AxisList have;
    axes_of(b, val_tensor(k, false), &have);
    int64_t n = axis_size(b, taps);
    *out_axis = axis_beside(b, axis_name(b, taps), AXIS_FEATURE, 2 * n, g->at, &have);
    ValueId back = graph_pad(g, graph_reverse(g, r, taps), taps, 0, *out_axis);
    return graph_binary(g, OP_ADD, graph_pad(g, k, taps, n, *out_axis), back);
}

// Axes that x and the filter share are paired; neither may hold the other's axis of positions.
static bool fits(Build *b, const Expr *e, Val x, Val k, AxisId axis, AxisId taps)
{
    AxisList of_x, of_k;
    axes_of(b, x, &of_x);
    axes_of(b, k, &of_k);
    if (taps == axis || (!axes_has(&of_x, taps) && !axes_has(&of_k, axis)))
        return true;
    if (report(b, e->at, "E0203", "`%s` runs along x only and `%s` along the filter only; rename one of them", axis_name(b, axis),
               axis_name(b, taps))) {
        label_axes(b, call_arg(e, 0)->at, x);
        label_axes(b, call_arg(e, 1)->at, k);
    }
    return false;
}

// y[t] = sum over s of k[s] x[t-s] + sum over s of r[s] x[t+1+s], times the gate.
Val fn_fftconv(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    Val x = tensor_arg(b, call_arg(e, 0)->value), k = tensor_arg(b, call_arg(e, 1)->value);
    const Arg *reverse = call_named(e, "reverse"), *gate = call_named(e, "gate");
    AxisList over;
    AxisId axis, taps;
    double circular;
    if (x.kind != VAL_TENSOR || k.kind != VAL_TENSOR || !call_over(b, e, x, &over) || !call_number(b, e, "circular", 0, &circular))
        return val_error();
    if (over.n != 1) {
        report(b, e->at, "E0217", "`fftconv` runs over one axis of positions");
        return val_error();
    }
    axis = over.id[0];
    if (!taps_of(b, e, k, axis, &taps) || !fits(b, e, x, k, axis, taps))
        return val_error();
    b->g->at = e->at;
    int64_t left = 0;
    ValueId filter = k.id;
    if (reverse) {
        Val r = tensor_arg(b, reverse->value);
        AxisList of_k, of_r;
        if (r.kind != VAL_TENSOR)
            return val_error();
        axes_of(b, k, &of_k);
        axes_of(b, r, &of_r);
        if (!axes_has(&of_r, taps) || of_r.n != of_k.n) {
            if (report(b, reverse->at, "E0203", "the reverse filter must have the axes of the filter"))
                label_axes(b, call_arg(e, 1)->at, k);
            return val_error();
        }
        left = axis_size(b, taps);
        b->g->at = e->at;
        filter = both_ways(b, k.id, r.id, taps, &taps);
    }
    if (circular != 0 && axis_size(b, taps) > axis_size(b, axis)) {
        report(b, e->at, "E0203", "a circular filter is at most as long as `%s`", axis_name(b, axis));
        return val_error();
    }
    Attr attr[6] = {{.kind = ATTR_AXIS, .axis = axis}, {.kind = ATTR_AXIS, .axis = taps}, {.kind = ATTR_AXIS, .axis = axis},
                    {.kind = ATTR_INT, .i = left}, {.kind = ATTR_AXES}, {.kind = ATTR_INT, .i = circular != 0}};
    ValueId y = graph_fftconv(b->g, x.id, filter, attr);
    if (!gate)
        return val_tensor(y, false);
    Val w = tensor_arg(b, gate->value);
    b->g->at = e->at;
    return w.kind == VAL_TENSOR ? val_tensor(graph_binary(b->g, OP_MUL, y, w.id), false) : val_error();
}
