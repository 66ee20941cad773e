// Functions of elements, reductions and index arithmetic. Those of numbers are computed here and now.
#include "build_functions.h"

#include <math.h>
#include <string.h>

ValueId scalar(Build *b, double value)
{
    return graph_const(b->g, DTYPE_F32, value);
}

double one_over_size(Build *b, const AxisList *axes)
{
    double n = 1;
    for (size_t i = 0; i < axes->n; i++)
        n *= (double)axis_size(b, axes->id[i]);
    return 1 / n;
}

static Val first_value(Build *b, const Expr *e)
{
    Val v = value_of(b, call_arg(e, 0)->value);
    if (v.kind == VAL_NUMBER || v.kind == VAL_TENSOR || v.kind == VAL_ERROR)
        return v;
    if (v.kind == VAL_FIELD && v.field->id)
        return val_tensor(v.field->id, false);
    if (v.kind == VAL_FIELD)
        report(b, e->at, "E0603", "how `%s` is shaped cannot be told from this use", v.field->name);
    else
        report(b, e->at, "E0210", "`%s` needs a number or a value with axes, and this is %s", e->a->text,
               axes_text(b, v));
    return val_error();
}

static Val operand(Build *b, const Expr *e, size_t i)
{
    Val v = value_of(b, call_arg(e, i)->value);
    if (v.kind == VAL_NUMBER || v.kind == VAL_TENSOR || v.kind == VAL_ERROR || v.kind == VAL_FIELD)
        return v;
    report(b, call_arg(e, i)->at, "E0210", "`%s` needs a number or a value with axes, and this is %s", e->a->text,
           axes_text(b, v));
    return val_error();
}

// The value of an elementwise function of a number; the same rows as acts.def.
static double map_number(Act f, double x)
{
    switch (f) {
    case ACT_EXP:       return exp(x);
    case ACT_LOG:       return log(x);
    case ACT_SQRT:      return sqrt(x);
    case ACT_RSQRT:     return 1 / sqrt(x);
    case ACT_SIN:       return sin(x);
    case ACT_COS:       return cos(x);
    case ACT_TANH:      return tanh(x);
    case ACT_SIGMOID:   return 1 / (1 + exp(-x));
    case ACT_RELU:      return x > 0 ? x : 0;
    case ACT_SILU:      return x / (1 + exp(-x));
    case ACT_GELU:      return 0.5 * x * (1 + erf(x * M_SQRT1_2));
    case ACT_GELU_TANH: return 0.5 * x * (1 + tanh(0.79788456080286536 * (x + 0.044715 * x * x * x)));
    case ACT_SOFTPLUS:  return fmax(x, 0) + log1p(exp(-fabs(x)));
    case ACT_ERF:       return erf(x);
    case ACT_ABS:       return fabs(x);
    case ACT_SIGN:      return (x > 0) - (x < 0);
    case ACT_FLOOR:     return floor(x);
    case ACT_CEIL:      return ceil(x);
    case ACT_COUNT:     break;
    }
    return NAN;
}

Val fn_map(Build *b, const Expr *e, const Function *row)
{
    Val x = first_value(b, e);
    if (x.kind == VAL_ERROR)
        return x;
    if (x.kind == VAL_NUMBER) {
        switch (row->act) {                 // exact where sizes are made
        case ACT_FLOOR: return val_number(number_floor(x.number));
        case ACT_CEIL:  return val_number(number_ceil(x.number));
        default:        return val_number(number_double(map_number(row->act, x.number.value)));
        }
    }
    if (row->act == ACT_FLOOR || row->act == ACT_CEIL)
        if (val_dtype(b, x) == DTYPE_I32)
            return x;
    return val_tensor(graph_map(b->g, row->act, to_float(b, x).id), x.free);
}

Val fn_atan2(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    Val y = operand(b, e, 0), x = operand(b, e, 1);
    if (x.kind == VAL_NUMBER && y.kind == VAL_NUMBER)
        return val_number(number_double(atan2(y.number.value, x.number.value)));
    return combine(b, e, OP_ATAN2, y, x);
}

static Val extreme(Build *b, const Expr *e, Val x, Val y, bool larger)
{
    if (x.kind == VAL_ERROR || y.kind == VAL_ERROR)
        return val_error();
    if (x.kind == VAL_NUMBER && y.kind == VAL_NUMBER) {
        bool less = number_true(number_binary(BINARY_LT, x.number, y.number));
        return val_number(less == larger ? y.number : x.number);
    }
    return combine(b, e, larger ? OP_MAX : OP_MIN, x, y);
}

Val fn_clamp(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    Val x = operand(b, e, 0), low = operand(b, e, 1), high = operand(b, e, 2);
    return extreme(b, e, extreme(b, e, x, low, true), high, false);
}

Val fn_select(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    Val c = operand(b, e, 0), x = operand(b, e, 1), y = operand(b, e, 2);
    if (c.kind == VAL_ERROR || x.kind == VAL_ERROR || y.kind == VAL_ERROR)
        return val_error();
    if (c.kind == VAL_NUMBER)
        return number_true(c.number) ? x : y;
    AxisList axes;
    if (x.kind == VAL_FIELD || y.kind == VAL_FIELD || c.kind == VAL_FIELD) {
        Val of = x.kind == VAL_TENSOR ? x : y.kind == VAL_TENSOR ? y : c;
        axes_of(b, of, &axes);
        c = c.kind == VAL_FIELD ? field_as(b, c, DTYPE_F32, &axes) : c;
        x = x.kind == VAL_FIELD ? field_as(b, x, DTYPE_F32, &axes) : x;
        y = y.kind == VAL_FIELD ? field_as(b, y, DTYPE_F32, &axes) : y;
    }
    if (!fits_elementwise(b, e, x, y) || !fits_elementwise(b, e, c, x.kind == VAL_NUMBER ? y : x))
        return val_error();
    DType dtype = val_dtype(b, x) == DTYPE_I32 && val_dtype(b, y) == DTYPE_I32 ? DTYPE_I32 : DTYPE_F32;
    bool is_free = c.free && x.free && y.free;
    return val_tensor(graph_select(b->g, to_float(b, c).id, to_dtype(b, x, dtype).id, to_dtype(b, y, dtype).id),
                      is_free);
}

static Val reduced(Build *b, const Expr *e, Red f)
{
    Val x = value_of_tensor(b, call_arg(e, 0)->value);
    AxisList over;
    if (x.kind == VAL_FIELD)
        x = x.field->id ? val_tensor(x.field->id, false) : x;
    if (x.kind != VAL_TENSOR || !call_over(b, e, x, &over))
        return val_error();
    return val_tensor(graph_reduce(b->g, f, x.id, over.id, over.n), x.free);
}

Val fn_min(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    return call_arg(e, 1) ? extreme(b, e, operand(b, e, 0), operand(b, e, 1), false) : reduced(b, e, RED_MIN);
}

Val fn_max(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    return call_arg(e, 1) ? extreme(b, e, operand(b, e, 0), operand(b, e, 1), true) : reduced(b, e, RED_MAX);
}

Val fn_sum(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    return reduced(b, e, RED_SUM);
}

Val fn_mean(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    AxisList over;
    Val x = value_of_tensor(b, call_arg(e, 0)->value);
    if (x.kind == VAL_FIELD)
        x = x.field->id ? val_tensor(x.field->id, false) : x;
    if (x.kind != VAL_TENSOR || !call_over(b, e, x, &over))
        return val_error();
    if (over.n == 0)
        return x;
    ValueId sum = graph_reduce(b->g, RED_SUM, to_float(b, x).id, over.id, over.n);
    return val_tensor(graph_binary(b->g, OP_MUL, sum, scalar(b, one_over_size(b, &over))), x.free);
}

Val fn_outer(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    Val x = operand(b, e, 0), y = operand(b, e, 1);
    x.free = true;                          // any axes go together: that is what was asked for
    Val v = combine(b, e, OP_MUL, x, y);
    return v;
}

Val fn_index(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    AxisList axes = {0};
    if (!axes_read(b, call_arg(e, 0)->value, &axes))
        return val_error();
    if (axes.n != 1) {
        report(b, e->at, "E0217", "`index` takes one axis");
        return val_error();
    }
    return val_tensor(graph_index(b->g, axes.id[0]), true);
}

Val fn_full(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    Number n;
    AxisList over;
    const Val none = val_error();
    if (!value_of_number(b, call_arg(e, 0)->value, &n) || !call_over(b, e, none, &over))
        return val_error();
    return val_tensor(spread(b, scalar(b, n.value), over.id, over.n), true);
}

Val fn_linspace(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    Number from, to;
    AxisList over;
    if (!value_of_number(b, call_arg(e, 0)->value, &from) || !value_of_number(b, call_arg(e, 1)->value, &to) ||
        !call_over(b, e, val_error(), &over))
        return val_error();
    if (over.n != 1) {
        report(b, e->at, "E0217", "`linspace` runs along one axis");
        return val_error();
    }
    int64_t n = axis_size(b, over.id[0]);
    double step = n > 1 ? (to.value - from.value) / (double)(n - 1) : 0;
    ValueId i = graph_cast(b->g, DTYPE_F32, graph_index(b->g, over.id[0]));
    ValueId scaled = graph_binary(b->g, OP_MUL, i, scalar(b, step));
    return val_tensor(graph_binary(b->g, OP_ADD, scaled, scalar(b, from.value)), true);
}

Val fn_reverse(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    Val x = value_of_tensor(b, call_arg(e, 0)->value);
    AxisList over;
    if (x.kind != VAL_TENSOR || !call_over(b, e, x, &over))
        return val_error();
    for (size_t i = 0; i < over.n; i++)
        x = val_tensor(graph_reverse(b->g, x.id, over.id[i]), x.free);
    return x;
}

Val fn_f32(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    return to_float(b, operand(b, e, 0));
}

Val fn_stop(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    Val x = first_value(b, e);
    return x.kind == VAL_TENSOR ? val_tensor(graph_unary(b->g, OP_STOP, x.id), x.free) : x;
}
