// concat(a, b, .., over=Z): values one after another along Z.
//
// Each operand gives one axis, or none, which counts as 1; the others it keeps. Sizes alone do not tell which axis that is: an
// axis of size 1 is as long as none, and a width may happen to fit. So of all choices whose sizes add up to Z, the best is
// taken, in this order:
//
//   1. axes that Z's size was written with (`axis P = T + 1`: T), the more the better
//   2. none at all, where every operand has the same axes and Z is their number: they are stacked
//   3. the whole has few axes
//   4. Z itself, then features, then none, then batch or time, the first operand first
#include "build_functions.h"

#include <string.h>

enum { CONCAT_MAX = 16, CONCAT_TRIES = 100000 };

typedef struct Concat {
    size_t   n;
    AxisList have[CONCAT_MAX];
    AxisId   odd[CONCAT_MAX];               // 0: none, size 1
    AxisId   to;
    int64_t  size;
    unsigned tries;
    bool     found, is_stack;               // is_stack: the same axes everywhere, and Z is their number
    AxisId   best[CONCAT_MAX];
    long     best_score;
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

static bool is_named(const Build *b, const Concat *c, AxisId axis)
{
    const AxisList *of = &b->axis[c->to].made_of;
    for (size_t i = 0; i < of->n; i++)
        if (of->id[i] == axis || b->axis[of->id[i]].root == b->axis[axis].root)
            return true;
    return axis == c->to;
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

static long score(Build *b, const Concat *c)
{
    long named = 0, none = 0;
    for (size_t i = 0; i < c->n; i++) {
        named += c->odd[i] && is_named(b, c, c->odd[i]);
        none += !c->odd[i];
    }
    const bool stacked = c->is_stack && none == (long)c->n;
    return named * 1000 + stacked * 100 - (long)concat_result(c).n;
}

static void concat_offer(Build *b, Concat *c)
{
    if (!concat_agrees(c))
        return;
    const long now = score(b, c);
    if (c->found && now <= c->best_score)
        return;
    c->found = true;
    c->best_score = now;
    for (size_t i = 0; i < c->n; i++)
        c->best[i] = c->odd[i];
}

// Goes through the choices operand by operand, the preferred ones first.
static void concat_choose(Build *b, Concat *c, size_t i, int64_t left)
{
    if (i == c->n) {
        if (left == 0)
            concat_offer(b, c);
        return;
    }
    if (left <= 0 || ++c->tries > CONCAT_TRIES)
        return;
    for (int want = 3; want >= 1; want--) {
        if (want == 1 && !axes_has(&c->have[i], c->to)) {       // before batch and time: size 1
            c->odd[i] = 0;
            concat_choose(b, c, i + 1, left - 1);
        }
        for (size_t k = c->have[i].n; k-- > 0;) {
            AxisId axis = c->have[i].id[k];
            if (preference(b, c, axis) != want || axis_size(b, axis) > left)
                continue;
            c->odd[i] = axis;
            concat_choose(b, c, i + 1, left - axis_size(b, axis));
        }
    }
}

static bool all_alike(const Concat *c)
{
    for (size_t i = 1; i < c->n; i++) {
        if (c->have[i].n != c->have[0].n)
            return false;
        for (size_t k = 0; k < c->have[i].n; k++)
            if (!axes_has(&c->have[0], c->have[i].id[k]))
                return false;
    }
    return true;
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

static Val concat_fails(Build *b, const Expr *e, const Concat *c, const Val *x)
{
    if (report(b, e->at, "E0206", "the parts do not make up axis `%s` of size %lld", axis_name(b, c->to), (long long)c->size)) {
        for (size_t i = 0; i < c->n && i < 6; i++)
            label_axes(b, call_arg(e, i)->at, x[i]);
        diag_note(b->diag, "the parts agree but for one axis each (a missing one has size 1); those sizes add up");
    }
    return val_error();
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
    c.is_stack = all_alike(&c) && c.size == (int64_t)c.n && !b->axis[c.to].made_of.n;
    b->g->at = e->at;
    concat_choose(b, &c, 0, c.size);
    if (!c.found)
        return concat_fails(b, e, &c, x);
    memcpy(c.odd, c.best, sizeof c.odd);
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
