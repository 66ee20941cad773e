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

// ---- concat: which axis of each operand is laid along Z ----

enum { CONCAT_MAX = 16, CONCAT_TRIES = 100000 };

typedef struct Concat {
    size_t   n;
    AxisList have[CONCAT_MAX];
    AxisId   odd[CONCAT_MAX];               // 0: none, size 1
    AxisId   to;
    int64_t  size;
    unsigned tries;
} Concat;

// No operand's odd axis may stand among the axes that another one keeps.
static bool concat_agrees(const Concat *c)
{
    for (size_t i = 0; i < c->n; i++)
        for (size_t j = 0; j < c->n && c->odd[i]; j++)
            if (c->odd[j] != c->odd[i] && axes_has(&c->have[j], c->odd[i]))
                return false;
    return true;
}

static int preference(Build *b, const Concat *c, AxisId axis)
{
    if (axis == c->to)
        return 3;
    AxisKind kind = b->g->axis[axis].kind;
    return kind == AXIS_FEATURE || kind == AXIS_EXPERT ? 2 : 1;
}

// Chooses operand by operand so that the sizes add up: Z itself, then features, then nothing, then batch or time.
static bool concat_choose(Build *b, Concat *c, size_t i, int64_t left)
{
    if (i == c->n)
        return left == 0 && concat_agrees(c);
    if (++c->tries > CONCAT_TRIES)
        return false;
    for (int want = 3; want >= 0; want--) {
        if (want == 1) {                    // before batch and time: size 1
            c->odd[i] = 0;
            bool holds = axes_has(&c->have[i], c->to);
            if (!holds && left >= 1 && concat_choose(b, c, i + 1, left - 1))
                return true;
        }
        for (size_t k = c->have[i].n; k-- > 0 && want > 0;) {
            AxisId axis = c->have[i].id[k];
            if (preference(b, c, axis) != want || axis_size(b, axis) > left)
                continue;
            c->odd[i] = axis;
            if (concat_choose(b, c, i + 1, left - axis_size(b, axis)))
                return true;
        }
    }
    return false;
}

// The axes of the whole, in the order of the operand that holds most of them.
static AxisList concat_result(const Concat *c)
{
    AxisList result = {0};
    size_t most = 0;
    for (size_t i = 1; i < c->n; i++)
        if (c->have[i].n > c->have[most].n)
            most = i;
    for (size_t i = 0; i <= c->n; i++) {
        const size_t from = i == 0 ? most : i - 1;
        for (size_t k = 0; k < c->have[from].n; k++)
            axes_add(&result, c->have[from].id[k] == c->odd[from] ? c->to : c->have[from].id[k]);
    }
    axes_add(&result, c->to);
    return result;
}

static Val concat_add(Build *b, const Concat *c, size_t i, Val x, int64_t at, ValueId sum, const AxisList *result)
{
    ValueId id = to_float(b, x).id;
    int64_t size = c->odd[i] ? axis_size(b, c->odd[i]) : 1;
    AxisId part = c->odd[i];
    AxisList axes;
    if (!part) {                            // an axis of size 1 to be padded
        axes_of(b, x, &axes);
        part = axis_beside(b, arena_printf(b->arena, "%s.1", axis_name(b, c->to)), AXIS_FEATURE, 1, b->g->at, &axes);
        axes_add(&axes, part);
        id = spread(b, id, axes.id, axes.n);
    }
    if (part != c->to || size != axis_size(b, c->to))
        id = graph_pad(b->g, id, part, at, c->to);
    axes_of(b, val_tensor(id, false), &axes);
    if (axes.n != result->n)
        id = spread(b, id, result->id, result->n);
    return val_tensor(sum ? graph_binary(b->g, OP_ADD, sum, id) : id, false);
}

Val fn_concat(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    Concat c = {0};
    Val x[CONCAT_MAX];
    AxisList over;
    bool ok = call_over(b, e, val_error(), &over), all_free = true;
    for (const Arg *a; (a = call_arg(e, c.n)) != NULL; c.n++) {
        x[c.n] = value_of_tensor(b, a->value);
        ok = ok && x[c.n].kind == VAL_TENSOR;
        axes_of(b, x[c.n], &c.have[c.n]);
        all_free = all_free && x[c.n].free;
    }
    if (!ok)
        return val_error();
    if (over.n != 1) {
        report(b, e->at, "E0217", "`concat` lays its parts along one axis");
        return val_error();
    }
    c.to = over.id[0];
    c.size = axis_size(b, c.to);
    b->g->at = e->at;
    if (!concat_choose(b, &c, 0, c.size)) {
        if (report(b, e->at, "E0206", "the parts do not make up axis `%s` of size %lld", axis_name(b, c.to),
                   (long long)c.size)) {
            for (size_t i = 0; i < c.n && i < 6; i++)
                label_axes(b, call_arg(e, i)->at, x[i]);
            diag_note(b->diag, "the parts agree but for one axis each (a missing one has size 1); those sizes add up");
        }
        return val_error();
    }
    AxisList result = concat_result(&c);
    Val sum = val_error();
    int64_t at = 0;
    for (size_t i = 0; i < c.n; i++) {
        sum = concat_add(b, &c, i, x[i], at, i ? sum.id : 0, &result);
        if (sum.kind == VAL_ERROR)
            return sum;
        at += c.odd[i] ? axis_size(b, c.odd[i]) : 1;
    }
    sum.free = all_free;
    return sum;
}
