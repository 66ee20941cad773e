// Functions that are compositions: softmax and its kin, masks, losses, dropout, rotary positions. Passes recognise
// them again, so each has one form.
#include "build_functions.h"

#include <math.h>
#include <string.h>

// Scores where the mask is 0. Finite, so that nothing becomes NaN; exp of it is 0 in float32 beside any real score.
static const double masked_score = -1e30;

static Val value_with_axes(Build *b, const Expr *e, size_t i)
{
    Val x = value_of_tensor(b, call_arg(e, i)->value);
    if (x.kind == VAL_FIELD && x.field->id)
        return val_tensor(x.field->id, false);
    if (x.kind == VAL_FIELD)
        report(b, call_arg(e, i)->at, "E0603", "how `%s` is shaped cannot be told from this use", x.field->name);
    return x.kind == VAL_TENSOR ? to_float(b, x) : val_error();
}

// exp(x - max) and its sum over `over`. Where a mask may hide a whole row, the maximum is kept finite and the sum above
// 0, so that such a row gives 0: real rows have a sum of at least 1, which adding 1e-30 does not change in float32.
typedef struct Exps { ValueId max, exp, sum; } Exps;

static Exps exps(Build *b, Val x, const AxisList *over)
{
    Exps r;
    r.max = graph_unary(b->g, OP_STOP, graph_reduce(b->g, RED_MAX, x.id, over->id, over->n));
    if (x.may_be_empty)
        r.max = graph_binary(b->g, OP_MAX, r.max, scalar(b, masked_score / 10));
    r.exp = graph_map(b->g, ACT_EXP, graph_binary(b->g, OP_SUB, x.id, r.max));
    r.sum = graph_reduce(b->g, RED_SUM, r.exp, over->id, over->n);
    if (x.may_be_empty)
        r.sum = graph_binary(b->g, OP_ADD, r.sum, scalar(b, 1e-30));
    return r;
}

// The softmax family: e is f(x over AXES). False: reported.
static bool along(Build *b, const Expr *e, Val *out_x, AxisList *out_over)
{
    *out_x = value_with_axes(b, e, 0);
    if (out_x->kind != VAL_TENSOR || !call_over(b, e, *out_x, out_over))
        return false;
    b->g->at = e->at;
    return true;
}

Val fn_softmax(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    Val x;
    AxisList over;
    if (!along(b, e, &x, &over))
        return val_error();
    Exps s = exps(b, x, &over);
    Val v = val_tensor(graph_binary(b->g, OP_DIV, s.exp, s.sum), x.free);
    v.softmaxed = true;
    return v;
}

static ValueId logsumexp(Build *b, Val x, const AxisList *over)
{
    Exps s = exps(b, x, over);
    return graph_binary(b->g, OP_ADD, graph_map(b->g, ACT_LOG, s.sum), s.max);
}

Val fn_log_softmax(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    Val x;
    AxisList over;
    if (!along(b, e, &x, &over))
        return val_error();
    return val_tensor(graph_binary(b->g, OP_SUB, x.id, logsumexp(b, x, &over)), x.free);
}

Val fn_logsumexp(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    Val x;
    AxisList over;
    if (!along(b, e, &x, &over))
        return val_error();
    return val_tensor(logsumexp(b, x, &over), x.free);
}

// x where `keep` is not 0, else `other`; the axes stay in x's order.
ValueId keep_where(Build *b, ValueId keep, ValueId x, double other)
{
    const Type type = b->g->node[x].type;
    return graph_select(b->g, spread(b, keep, type.axis, type.n_axes), x, scalar(b, other));
}

// keep = index(T') <= index(T) leaves every row its own position.
static bool never_empty(Build *b, Val keep)
{
    const Node *n = &b->g->node[keep.id];
    if (n->op != OP_LE || b->g->node[n->in[0]].op != OP_INDEX || b->g->node[n->in[1]].op != OP_INDEX)
        return false;
    AxisId x = b->g->node[n->in[0]].type.axis[0], y = b->g->node[n->in[1]].type.axis[0];
    return b->axis[x].root == b->axis[y].root;
}

// A mask that is one number other than 0 everywhere hides nothing: full(1, over=B*T), renamed or not.
static bool keeps_all(Build *b, Val keep)
{
    const Node *n = &b->g->node[keep.id];
    while (n->op == OP_EXPAND || n->op == OP_RENAME || n->op == OP_CAST)
        n = &b->g->node[n->in[0]];
    return n->op == OP_CONST && n->attr[0].f != 0;
}

Val fn_mask(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    Val x = value_with_axes(b, e, 0);
    const Arg *keep_arg = call_named(e, "keep");
    if (!keep_arg || !keep_arg->value) {
        if (report(b, e->at, "E0220", "say what to keep: `mask(s, keep = index(T') <= index(T))`"))
            label_axes(b, call_arg(e, 0)->at, x);
        return val_error();
    }
    Val keep = value_of(b, keep_arg->value);
    if (keep.kind == VAL_ERROR || x.kind == VAL_ERROR)
        return val_error();
    if (keep.kind == VAL_NUMBER) {
        if (number_true(keep.number))
            return x;
        report(b, keep_arg->at, "E0226", "this mask keeps nothing: it is the number 0, not a value with axes");
        return val_error();
    }
    if (keep.kind == VAL_FIELD) {
        AxisList axes;
        keep = field_as(b, keep, DTYPE_F32, axes_of(b, x, &axes));
    }
    AxisList of_keep, of_x;
    axes_of(b, keep, &of_keep);
    axes_of(b, x, &of_x);
    for (size_t i = 0; i < of_keep.n; i++)
        if (!axes_has(&of_x, of_keep.id[i])) {
            if (report(b, keep_arg->at, "E0203", "the mask holds axis `%s`, which the scores do not have",
                       axis_name(b, of_keep.id[i]))) {
                label_axes(b, call_arg(e, 0)->at, x);
                label_axes(b, keep_arg->value->at, keep);
            }
            return val_error();
        }
    if (keeps_all(b, keep))
        return x;
    b->g->at = e->at;
    Val v = val_tensor(keep_where(b, to_float(b, keep).id, x.id, masked_score), false);
    v.may_be_empty = !never_empty(b, keep);
    return v;
}

// ---- random masks; in training only ----

static bool rate_of(Build *b, const Expr *e, double *out)
{
    Number n;
    if (!value_of_number(b, call_arg(e, 1)->value, &n))
        return false;
    *out = n.value;
    if (n.value >= 0 && n.value < 1)
        return true;
    report(b, call_arg(e, 1)->at, "E0227", "the rate of `%s` must be at least 0 and less than 1, not %s", e->a->text,
           number_text(b->arena, n));
    return false;
}

// One stream per place and use, named by the path of the instance, so that modes and other layers do not shift it.
static ValueId noise_of(Build *b, Val x, const char *what)
{
    const char *key = arena_printf(b->arena, "%s:%s", b->frame ? b->frame->space->path : "", what);
    uintptr_t n = (uintptr_t)map_get(&b->uses, key) + 1;
    map_set(b->arena, &b->uses, key, (void *)n);
    Type type = b->g->node[x.id].type;
    type.dtype = DTYPE_F32;
    return random_uniform(b, step_value(b), arena_printf(b->arena, "%s.%zu", key, (size_t)n), &type);
}

Val fn_dropout(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    double rate;
    Val x = value_with_axes(b, e, 0);
    if (x.kind != VAL_TENSOR || !rate_of(b, e, &rate))
        return val_error();
    if (!isnan(b->dropout_factor))
        rate = b->dropout_factor;
    if (b->mode != MODE_TRAIN || rate <= 0)
        return x;
    ValueId u = noise_of(b, x, "dropout");
    ValueId keep = graph_binary(b->g, OP_LE, scalar(b, rate), u);
    ValueId scaled = graph_binary(b->g, OP_MUL, x.id, scalar(b, 1 / (1 - rate)));
    return val_tensor(graph_select(b->g, keep, scaled, scalar(b, 0)), false);
}

Val fn_jitter(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    double width;
    Val x = value_with_axes(b, e, 0);
    if (x.kind != VAL_TENSOR || !rate_of(b, e, &width))
        return val_error();
    if (b->mode != MODE_TRAIN || b->noise_off || width <= 0)
        return x;
    ValueId u = noise_of(b, x, "jitter");
    ValueId factor = graph_binary(b->g, OP_ADD, graph_binary(b->g, OP_MUL, u, scalar(b, 2 * width)),
                                  scalar(b, 1 - width));
    return val_tensor(graph_binary(b->g, OP_MUL, x.id, factor), false);
}

// ---- rotary positions ----
//
// With h = part/2 and the angle a(t, j) = t * base^(-2j/part), j < h:
//   y[t, j] = x[t, j] cos a - x[t, j+h] sin a,   y[t, j+h] = x[t, j+h] cos a + x[t, j] sin a,   the rest as it was.
// Source: Su et al., RoFormer, equation 34; pairs (j, j+h) as in GPT-NeoX. Written as x*C + turned(x)*S with tables
// C and S of [T, K].
static bool rope_axes(Build *b, const Expr *e, Val x, AxisId *out_time, AxisId *out_along, double *out_part)
{
    AxisList over, have;
    const Arg *along = call_named(e, "along");
    if (!call_over(b, e, x, &over))
        return false;
    if (over.n != 1) {
        report(b, e->at, "E0217", "`rope` runs over one axis of positions");
        return false;
    }
    axes_of(b, x, &have);
    *out_time = over.id[0];
    *out_along = have.id[have.n - 1];
    if (along) {
        AxisList a = {0};
        if (!axes_read(b, along->value, &a))
            return false;
        *out_along = a.id[0];
    }
    if (*out_along == *out_time || !axes_has(&have, *out_along)) {
        if (report(b, e->at, "E0228", "`rope` turns the last axis, and here that is `%s`", axis_name(b, *out_along))) {
            label_axes(b, call_arg(e, 0)->at, x);
            diag_help(b->diag, "name another: `rope(x, over=%s, along=K)`", axis_name(b, *out_time));
        }
        return false;
    }
    int64_t size = axis_size(b, *out_along);
    if (!call_number(b, e, "part", (double)(size - size % 2), out_part))
        return false;
    int64_t part = (int64_t)*out_part;
    if ((double)part == *out_part && part >= 2 && part % 2 == 0 && part <= size)
        return true;
    report(b, e->at, "E0228", "`rope` turns an even number of entries, 2 to %lld of `%s`, not %g",
           (long long)(size - size % 2), axis_name(b, *out_along), *out_part);
    return false;
}

// The two halves exchanged, the first negated: [-x2, x1, 0..].
static ValueId turned(Build *b, ValueId x, AxisId along, int64_t half)
{
    AxisList have;
    axes_of(b, val_tensor(x, false), &have);
    AxisId h = axis_beside(b, axis_name(b, along), AXIS_FEATURE, half, b->g->at, &have);
    ValueId x1 = graph_slice(b->g, x, along, 0, h);
    ValueId x2 = graph_unary(b->g, OP_NEG, graph_slice(b->g, x, along, half, h));
    return graph_binary(b->g, OP_ADD, graph_pad(b->g, x2, h, 0, along), graph_pad(b->g, x1, h, half, along));
}

Val fn_rope(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    AxisId time, along;
    double part, base;
    Val x = value_with_axes(b, e, 0);
    if (x.kind != VAL_TENSOR || !rope_axes(b, e, x, &time, &along, &part) ||
        !call_number(b, e, "base", 10000, &base))
        return val_error();
    Graph *g = b->g;
    g->at = e->at;
    ValueId j = graph_binary(g, OP_MOD, graph_index(g, along), graph_const(g, DTYPE_I32, part / 2));
    ValueId power = graph_binary(g, OP_MUL, graph_cast(g, DTYPE_F32, j), scalar(b, -2 / part * log(base)));
    ValueId t = graph_cast(g, DTYPE_F32, graph_index(g, time));
    ValueId angle = graph_binary(g, OP_MUL, t, graph_map(g, ACT_EXP, power));            // [T, K]
    ValueId c = graph_map(g, ACT_COS, angle), s = graph_map(g, ACT_SIN, angle);
    if ((int64_t)part < axis_size(b, along)) {
        ValueId inside = graph_binary(g, OP_LT, graph_index(g, along), graph_const(g, DTYPE_I32, part));
        c = graph_select(g, inside, c, scalar(b, 1));
    }
    ValueId y = graph_binary(g, OP_MUL, x.id, c);
    ValueId z = graph_binary(g, OP_MUL, turned(b, x.id, along, (int64_t)part / 2), s);
    return val_tensor(graph_binary(g, OP_ADD, y, z), false);
}

// ---- losses ----

// Targets: int with the axes of x less the class axis; or float, a distribution over it. A data field becomes int.
static bool targets_of(Build *b, const Expr *e, Val x, AxisId classes, Val *out)
{
    AxisList axes, rest = {0}, have;
    Val t = value_of(b, call_arg(e, 1)->value);
    axes_of(b, x, &axes);
    for (size_t i = 0; i < axes.n; i++)
        if (axes.id[i] != classes)
            axes_add(&rest, axes.id[i]);
    if (t.kind == VAL_FIELD)
        t = field_as(b, t, DTYPE_I32, &rest);
    *out = t;
    if (t.kind == VAL_ERROR)
        return false;
    axes_of(b, t, &have);
    bool soft = val_dtype(b, t) != DTYPE_I32;
    bool fits = t.kind == VAL_TENSOR && have.n == rest.n + soft && axes_has(&have, classes) == soft;
    for (size_t i = 0; i < rest.n && fits; i++)
        fits = axes_has(&have, rest.id[i]);
    if (fits)
        return true;
    if (report(b, e->at, "E0229", "the targets must be int%s, or float%s", list_text(b, &rest), list_text(b, &axes))) {
        label_axes(b, call_arg(e, 0)->at, x);
        label_axes(b, call_arg(e, 1)->at, t);
    }
    return false;
}

// sum(w * x) / sum(w) with `where=`, else the plain mean.
static Val counted_mean(Build *b, const Expr *e, ValueId x)
{
    AxisList axes;
    axes_of(b, val_tensor(x, false), &axes);
    const Arg *where = call_named(e, "where");
    if (!where) {
        if (axes.n == 0)
            return val_tensor(x, false);
        ValueId sum = graph_reduce(b->g, RED_SUM, x, axes.id, axes.n);
        return val_tensor(graph_binary(b->g, OP_MUL, sum, scalar(b, one_over_size(b, &axes))), false);
    }
    Val w = value_of(b, where->value);
    if (w.kind == VAL_FIELD)
        w = field_as(b, w, DTYPE_F32, &axes);
    if (w.kind == VAL_NUMBER)
        w = to_float(b, w);
    if (w.kind != VAL_TENSOR)
        return val_error();
    AxisList of;
    axes_of(b, w, &of);
    for (size_t i = 0; i < of.n; i++)
        if (!axes_has(&axes, of.id[i])) {
            if (report(b, where->at, "E0203", "`where` holds axis `%s`, which the positions do not have",
                       axis_name(b, of.id[i])))
                label_axes(b, where->value->at, w);
            return val_error();
        }
    b->g->at = e->at;
    ValueId full = spread(b, to_float(b, w).id, axes.id, axes.n);
    ValueId some = graph_reduce(b->g, RED_SUM, graph_binary(b->g, OP_MUL, x, full), axes.id, axes.n);
    ValueId count = graph_reduce(b->g, RED_SUM, full, axes.id, axes.n);
    ValueId safe = graph_binary(b->g, OP_ADD, count, scalar(b, 1e-30));       // no position counted: 0, not NaN
    return val_tensor(graph_binary(b->g, OP_DIV, some, safe), false);
}

static bool class_axis(Build *b, const Expr *e, Val x, AxisId *out)
{
    AxisList over;
    if (!call_over(b, e, x, &over))
        return false;
    *out = over.id[0];
    if (over.n == 1)
        return true;
    report(b, e->at, "E0217", "`%s` has one axis of classes", e->a->text);
    return false;
}

Val fn_cross_entropy(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    AxisId classes;
    Val x = value_with_axes(b, e, 0), t;
    double smooth;
    if (x.kind != VAL_TENSOR || !class_axis(b, e, x, &classes) || !targets_of(b, e, x, classes, &t) ||
        !call_number(b, e, "smooth", 0, &smooth))
        return val_error();
    AxisList over = {.n = 1, .id = {classes}};
    Graph *g = b->g;
    g->at = e->at;
    ValueId lse = logsumexp(b, x, &over);
    ValueId chosen, total = lse;
    if (val_dtype(b, t) == DTYPE_I32) {
        // where some positions do not count, a negative target is a way to say so: it chooses none
        ValueId target = call_named(e, "where") ? graph_binary(g, OP_MAX, t.id, graph_const(g, DTYPE_I32, -1)) : t.id;
        chosen = graph_take(g, x.id, target, classes);
    } else {
        chosen = graph_reduce(g, RED_SUM, graph_binary(g, OP_MUL, t.id, x.id), over.id, 1);
        total = graph_binary(g, OP_MUL, lse, graph_reduce(g, RED_SUM, t.id, over.id, 1));
    }
    ValueId loss = graph_binary(g, OP_SUB, total, chosen);
    if (smooth != 0) {
        ValueId mean = graph_binary(g, OP_MUL, graph_reduce(g, RED_SUM, x.id, over.id, 1),
                                    scalar(b, one_over_size(b, &over)));
        ValueId even = graph_binary(g, OP_SUB, lse, mean);
        loss = graph_binary(g, OP_ADD, graph_binary(g, OP_MUL, loss, scalar(b, 1 - smooth)),
                            graph_binary(g, OP_MUL, even, scalar(b, smooth)));
    }
    return counted_mean(b, e, loss);
}

// A position counts as right when its target's score is the largest (ties count).
Val fn_accuracy(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    AxisId classes;
    Val x = value_with_axes(b, e, 0), t;
    if (x.kind != VAL_TENSOR || !class_axis(b, e, x, &classes) || !targets_of(b, e, x, classes, &t))
        return val_error();
    if (val_dtype(b, t) != DTYPE_I32) {
        report(b, call_arg(e, 1)->at, "E0229", "`accuracy` needs int targets");
        return val_error();
    }
    b->g->at = e->at;
    ValueId best = graph_reduce(b->g, RED_MAX, x.id, &classes, 1);
    ValueId right = graph_binary(b->g, OP_LE, best, graph_take(b->g, x.id, t.id, classes));
    return counted_mean(b, e, right);
}

ValueId pooled_value(Build *b, ValueId x, const char *key)
{
    Pool *p = map_get(&b->pool_by_key, key);
    if (!p) {
        p = arena_new(b->arena, Pool);
        p->key = key;
        map_set(b->arena, &b->pool_by_key, key, p);
        b->pool = arena_grow(b->arena, b->pool, b->n_pools, &b->pool_capacity, sizeof *b->pool);
        b->pool[b->n_pools++] = p;
    }
    size_t capacity = p->capacity;
    p->value = arena_grow(b->arena, p->value, p->n, &p->capacity, sizeof *p->value);
    p->stand_in = arena_grow(b->arena, p->stand_in, p->n, &capacity, sizeof *p->stand_in);
    p->value[p->n] = x;
    AxisList axes = {0};
    for (size_t i = 0; i < b->g->node[x].type.n_axes; i++)
        axes_add(&axes, b->g->node[x].type.axis[i]);
    p->stand_in[p->n] = stand_in(b, DTYPE_F32, &axes).id;    // replaced by the mean over all uses (build_finish.c)
    return p->stand_in[p->n++];
}

Val fn_pooled(Build *b, const Expr *e, const Function *row)
{
    (void)row;
    if (b->in_pooled) {
        report(b, e->at, "E0230", "`pooled` inside `pooled`");
        return val_error();
    }
    b->in_pooled = true;
    Val x = value_with_axes(b, e, 0);
    b->in_pooled = false;
    if (x.kind != VAL_TENSOR)
        return val_error();
    const char *key = arena_printf(b->arena, "%s:%u:%u", b->frame ? b->frame->path : "", e->at.file, e->at.begin);
    return val_tensor(pooled_value(b, x.id, key), false);
}
