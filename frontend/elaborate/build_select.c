// Selections x[A = ..] and methods .rename .split .merge .window: axis surgery.
#include "build_functions.h"
#include "habits.h"

#include <math.h>
#include <string.h>

static Val missing_axis(Build *b, Span at, const char *name, const Expr *of, Val x)
{
    if (report(b, at, "E0203", "the value does not hold axis `%s`", name))
        label_axes(b, of->at, x);
    return val_error();
}

static Val held_twice(Build *b, Span at, const char *name, const Expr *of, Val x)
{
    if (report(b, at, "E0103", "axis `%s` would be held twice", name)) {
        label_axes(b, of->at, x);
        const char *edit = arena_printf(b->arena, "%s'", name);
        if (strcmp(source_text(b, at), name) == 0)
            diag_help_edit(b->diag, at, edit, "use a twin, which has the same size and another name:  %s", edit);
        else
            diag_help(b->diag, "use a twin, which has the same size and another name: `%s`", edit);
    }
    return val_error();
}

static Val select_slice(Build *b, const Expr *e, const Sel *s, AxisId axis, Val x)
{
    Number from, to;
    int64_t start, end;
    AxisList have;
    AxisId result = s->to ? axis_find(b, s->to->text, s->to->at, false) : 0;
    if (!value_of_number(b, s->value, &from) || !value_of_number(b, s->end, &to) || !result)
        return val_error();
    if (!number_whole(from, &start) || !number_whole(to, &end)) {
        report(b, s->at, "E0214", "the ends of a slice must be whole numbers");
        return val_error();
    }
    if (start < 0 || end > axis_size(b, axis) || start > end) {
        if (report(b, s->at, "E0215", "the slice %lld..%lld lies outside `%s`, which has %lld entries",
                   (long long)start, (long long)end, axis_name(b, axis), (long long)axis_size(b, axis)))
            label_axes(b, e->a->at, x);
        return val_error();
    }
    if (end - start != axis_size(b, result)) {
        if (report(b, s->at, "E0205", "the slice has %lld entries, and `%s` has size %lld", (long long)(end - start),
                   s->to->text, (long long)axis_size(b, result)))
            diag_label(b->diag, s->to->at, "size %lld", (long long)axis_size(b, result));
        return val_error();
    }
    axes_of(b, x, &have);
    if (result != axis && axes_has(&have, result))
        return held_twice(b, s->to->at, s->to->text, e->a, x);
    return val_tensor(graph_slice(b->g, x.id, axis, start, result), x.free);
}

static Val select_one(Build *b, const Expr *e, const Sel *s, Val x)
{
    AxisList have, by;
    AxisId axis = axis_find(b, s->axis->text, s->axis->at, false);
    if (!axis)
        return val_error();
    axes_of(b, x, &have);
    if (!axes_has(&have, axis))
        return missing_axis(b, s->axis->at, s->axis->text, e->a, x);
    b->g->at = e->at;
    if (s->end)
        return select_slice(b, e, s, axis, x);
    Val v = value_of(b, s->value);
    if (v.kind == VAL_FIELD && v.field->id)
        v = val_tensor(v.field->id, false);
    if (v.kind == VAL_NUMBER) {
        int64_t i;
        if (!number_whole(v.number, &i) || i < 0 || i >= axis_size(b, axis)) {
            if (report(b, s->value->at, "E0215", "`%s` has positions 0 to %lld, not %s", axis_name(b, axis),
                       (long long)axis_size(b, axis) - 1, number_text(b->arena, v.number)))
                label_axes(b, e->a->at, x);
            return val_error();
        }
        return val_tensor(graph_at(b->g, x.id, axis, i), x.free);
    }
    if (v.kind != VAL_TENSOR) {
        if (v.kind != VAL_ERROR)
            report(b, s->value->at, "E0210", "an index is wanted here, and this is %s", axes_text(b, v));
        return val_error();
    }
    if (val_dtype(b, v) != DTYPE_I32) {
        if (report(b, s->value->at, "E0204", "an index must be whole numbers (int), and this is float"))
            label_axes(b, s->value->at, v);
        return val_error();
    }
    axes_of(b, v, &by);
    (void)by;                               // shared axes are paired, the others are new
    return val_tensor(graph_take(b->g, x.id, v.id, axis), false);
}

Val value_of_select(Build *b, const Expr *e)
{
    Val x = value_of_tensor(b, e->a);
    if (x.kind == VAL_FIELD)
        x = x.field->id ? val_tensor(x.field->id, false) : val_error();
    for (const Sel *s = e->sels; s && x.kind == VAL_TENSOR; s = s->next) {
        if (!s->axis) {
            if (report(b, s->at, "E0216", "say along which axis: `x[T = ..]`"))
                label_axes(b, e->a->at, x);
            return val_error();
        }
        x = select_one(b, e, s, x);
    }
    return x;
}

static const Arg *arrow_arg(Build *b, const Expr *e)
{
    const Arg *a = e->args;
    if (a && !a->name && a->value && a->to)
        return a;
    if (report(b, e->at, "E0217", "`.%s` wants `from -> to`", e->a->text))
        diag_help(b->diag, "for example `.rename(T -> T')`, `.split(D -> H*K)`, `.merge(H*K -> D)`");
    return NULL;
}

static bool only_names(Build *b, const Expr *e, AxisList *out)
{
    out->n = 0;
    return axes_read(b, e, out);
}

static Val method_rename(Build *b, const Expr *e, Val x)
{
    for (const Arg *a = arrow_arg(b, e); a; a = a->next) {
        AxisList from, to, have;
        if (!a->value || !a->to || !only_names(b, a->value, &from) || !only_names(b, a->to, &to))
            return val_error();
        axes_of(b, x, &have);
        if (from.n != 1 || to.n != 1) {
            report(b, a->at, "E0217", "`.rename` takes one axis on each side of the arrow");
            return val_error();
        }
        if (!axes_has(&have, from.id[0]))
            return missing_axis(b, a->value->at, axis_name(b, from.id[0]), e->a->a, x);
        if (from.id[0] == to.id[0])
            continue;
        if (axes_has(&have, to.id[0]))
            return held_twice(b, a->to->at, axis_name(b, to.id[0]), e->a->a, x);
        if (axis_size(b, from.id[0]) != axis_size(b, to.id[0])) {
            if (report(b, a->at, "E0205", "`%s` has size %lld and `%s` has size %lld", axis_name(b, from.id[0]),
                       (long long)axis_size(b, from.id[0]), axis_name(b, to.id[0]), (long long)axis_size(b, to.id[0])))
                diag_help(b->diag, "a part of an axis is a slice: `x[%s = 0..n -> %s]`", axis_name(b, from.id[0]),
                          axis_name(b, to.id[0]));
            return val_error();
        }
        bool masked = x.may_be_empty;
        x = val_tensor(graph_rename(b->g, x.id, from.id[0], to.id[0]), x.free);
        x.may_be_empty = masked;
    }
    return x;
}

// split: one -> several; merge: several -> one. The sizes must multiply up.
static bool product_fits(Build *b, const Arg *a, AxisId whole, const AxisList *parts)
{
    int64_t product = 1;
    for (size_t i = 0; i < parts->n; i++)
        if (__builtin_mul_overflow(product, axis_size(b, parts->id[i]), &product))
            product = INT64_MAX;
    if (product == axis_size(b, whole))
        return true;
    if (!report(b, a->at, "E0205", "`%s` has size %lld, and the parts make %lld", axis_name(b, whole),
                (long long)axis_size(b, whole), (long long)product))
        return false;
    Text t = text_make(b->arena);
    for (size_t i = 0; i < parts->n; i++)
        text_printf(&t, "%s%s = %lld", i ? ", " : "", axis_name(b, parts->id[i]),
                    (long long)axis_size(b, parts->id[i]));
    diag_note(b->diag, "%s", text_str(&t));
    return false;
}

static Val method_split(Build *b, const Expr *e, Val x)
{
    const Arg *a = arrow_arg(b, e);
    AxisList from, to, have;
    if (!a || !only_names(b, a->value, &from) || !only_names(b, a->to, &to))
        return val_error();
    if (from.n != 1) {
        report(b, a->value->at, "E0217", "`.split` takes one axis on the left of the arrow");
        return val_error();
    }
    axes_of(b, x, &have);
    if (!axes_has(&have, from.id[0]))
        return missing_axis(b, a->value->at, axis_name(b, from.id[0]), e->a->a, x);
    for (size_t i = 0; i < to.n; i++)
        if (to.id[i] != from.id[0] && axes_has(&have, to.id[i]))
            return held_twice(b, a->to->at, axis_name(b, to.id[i]), e->a->a, x);
    if (!product_fits(b, a, from.id[0], &to))
        return val_error();
    return val_tensor(graph_split(b->g, x.id, from.id[0], to.id, to.n), x.free);
}

static Val method_merge(Build *b, const Expr *e, Val x)
{
    const Arg *a = arrow_arg(b, e);
    AxisList from, to, have;
    if (!a || !only_names(b, a->value, &from) || !only_names(b, a->to, &to))
        return val_error();
    if (to.n != 1) {
        report(b, a->to->at, "E0217", "`.merge` makes one axis");
        return val_error();
    }
    axes_of(b, x, &have);
    for (size_t i = 0; i < from.n; i++)
        if (!axes_has(&have, from.id[i]))
            return missing_axis(b, a->value->at, axis_name(b, from.id[i]), e->a->a, x);
    if (axes_has(&have, to.id[0]) && !axes_has(&from, to.id[0]))
        return held_twice(b, a->to->at, axis_name(b, to.id[0]), e->a->a, x);
    if (!product_fits(b, a, to.id[0], &from))
        return val_error();
    return val_tensor(graph_merge(b->g, x.id, from.id, from.n, to.id[0]), x.free);
}

typedef struct Window { AxisId axis, out, offset; int64_t stride, left; } Window;

static bool window_shape(Build *b, const Expr *e, const Arg *a, Window *w)
{
    const Arg *pad = call_named(e, "pad");
    const char *word = call_word(pad);
    double stride, zeros = 0;
    if (!call_number(b, e, "stride", 1, &stride))
        return false;
    w->stride = (int64_t)stride;
    if (stride < 1 || (double)w->stride != stride) {
        report(b, e->at, "E0218", "a stride is a whole number of at least 1");
        return false;
    }
    int64_t n = axis_size(b, w->axis), j = axis_size(b, w->offset), want;
    w->left = 0;
    if (!pad) {
        want = n >= j ? (n - j) / w->stride + 1 : 0;
    } else if (word && (strcmp(word, "past") == 0 || strcmp(word, "same") == 0 || strcmp(word, "ahead") == 0)) {
        want = (n + w->stride - 1) / w->stride;
        int64_t total = (want - 1) * w->stride + j - n;
        if (word[0] == 'p')
            w->left = j - 1;
        else if (word[0] == 's')
            w->left = total > 0 ? total / 2 : 0;
    } else if ((!word || scope_find(b->scope, word, NULL)) && call_number(b, e, "pad", 0, &zeros) &&
               zeros >= 0 && zeros <= INT32_MAX && zeros == floor(zeros)) {
        w->left = (int64_t)zeros;
        want = n + 2 * w->left >= j ? (n + 2 * w->left - j) / w->stride + 1 : 0;
    } else {
        if (report(b, pad->at, "E0218", "`pad` is past, same or ahead, or how many zeros stand on each side"))
            diag_help(b->diag, "past: zeros before the first; ahead: after the last; same: on both sides");
        return false;
    }
    if (want == axis_size(b, w->out))
        return true;
    if (report(b, a->at, "E0205", "the window has %lld places along `%s`, and `%s` has size %lld", (long long)want,
               axis_name(b, w->axis), axis_name(b, w->out), (long long)axis_size(b, w->out)))
        diag_note(b->diag, "%lld entries, %lld taps, stride %lld%s%s", (long long)n, (long long)j,
                  (long long)w->stride, pad ? ", pad=" : ", no pad", word ? word : "");
    return false;
}

static Val method_window(Build *b, const Expr *e, Val x)
{
    const Arg *a = arrow_arg(b, e);
    AxisList from, to, have;
    if (!a || !only_names(b, a->value, &from) || !only_names(b, a->to, &to))
        return val_error();
    if (from.n != 1 || to.n != 2) {
        if (report(b, a->at, "E0217", "`.window` wants `Y -> Yo*J`: places and offsets"))
            diag_help(b->diag, "J is the axis of the window's taps");
        return val_error();
    }
    Window w = {.axis = from.id[0], .out = to.id[0], .offset = to.id[1]};
    axes_of(b, x, &have);
    if (!axes_has(&have, w.axis))
        return missing_axis(b, a->value->at, axis_name(b, w.axis), e->a->a, x);
    for (size_t i = 0; i < 2; i++)
        if (to.id[i] != w.axis && axes_has(&have, to.id[i]))
            return held_twice(b, a->to->at, axis_name(b, to.id[i]), e->a->a, x);
    if (!window_shape(b, e, a, &w))
        return val_error();
    return val_tensor(graph_window(b->g, x.id, w.axis, w.out, w.offset, w.stride, w.left), x.free);
}

typedef struct Method { const char *name; Val (*build)(Build *, const Expr *, Val); } Method;

static const Method method[] = {
    {"rename", method_rename}, {"split", method_split}, {"merge", method_merge}, {"window", method_window}, {0, 0}
};

Val value_of_method(Build *b, const Expr *e)
{
    const char *name = e->a->text;
    for (const Method *m = method; m->name; m++) {
        if (strcmp(m->name, name) != 0)
            continue;
        Val x = value_of_tensor(b, e->a->a);
        if (x.kind == VAL_FIELD)
            x = x.field->id ? val_tensor(x.field->id, false) : val_error();
        if (x.kind != VAL_TENSOR)
            return val_error();
        b->g->at = e->at;
        return m->build(b, e, x);
    }
    if (report(b, e->a->op_at.file ? e->a->op_at : e->a->at, "E0219", "values have no method `.%s`", name)) {
        const char *habit = habit_of_call(name);
        for (const Function *f = function_table; f->name && !habit; f++)
            if (strcmp(f->name, name) == 0)
                habit = arena_printf(b->arena, "functions stand in front: `%s(..)`; %s", name, f->summary);
        diag_help(b->diag, "%s", habit ? habit : "there are .rename, .split, .merge and .window");
    }
    return val_error();
}

Val value_of_field(Build *b, const Expr *e)
{
    Val v = value_of(b, e->a);
    if (v.kind == VAL_ERROR)
        return v;
    if (v.kind == VAL_ROUTING)
        return routing_field(b, e, v.routing);
    if (report(b, e->at, "E0219", "`.%s`: only a routing has fields", e->text))
        label_axes(b, e->a->at, v);
    return val_error();
}
