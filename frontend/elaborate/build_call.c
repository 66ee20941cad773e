// Calls: of functions (functions.def), methods and layers; reading their arguments.
#include "build_functions.h"
#include "habits.h"
#include "nearest.h"

#include <string.h>

#define FUNCTION(name, min, max, named, build, act, summary) {name, min, max, named, fn_##build, ACT_##act, summary},
const Function function_table[] = {
#include "functions.def"
    {NULL, 0, 0, NULL, NULL, ACT_EXP, NULL}
};
#undef FUNCTION

const Arg *call_arg(const Expr *e, size_t i)
{
    for (const Arg *a = e->args; a; a = a->next)
        if (!a->name && i-- == 0)
            return a;
    return NULL;
}

const Arg *call_named(const Expr *e, const char *name)
{
    for (const Arg *a = e->args; a; a = a->next)
        if (a->name && strcmp(a->name->text, name) == 0)
            return a;
    return NULL;
}

const char *call_word(const Arg *arg)
{
    return arg && arg->value && arg->value->kind == EXPR_NAME ? arg->value->text : NULL;
}

bool call_number(Build *b, const Expr *e, const char *name, double fallback, double *out)
{
    const Arg *a = call_named(e, name);
    Number n;
    *out = fallback;
    if (!a)
        return true;
    if (!a->value || !value_of_number(b, a->value, &n))
        return false;
    *out = n.value;
    return true;
}

bool call_over(Build *b, const Expr *e, Val x, AxisList *out)
{
    const Arg *a = call_named(e, "over");
    AxisList have;
    out->n = 0;
    if (!a) {
        if (report(b, e->at, "E0220", "say over which axes: `%s(.., over=T)`", e->a->text) && x.kind == VAL_TENSOR)
            label_axes(b, call_arg(e, 0)->at, x);
        return false;
    }
    axes_of(b, x, &have);
    if (a->rest) {
        for (size_t i = 0; b->frame && i < b->frame->rest.n; i++)
            if (axes_has(&have, b->frame->rest.id[i]))
                axes_add(out, b->frame->rest.id[i]);
        return true;
    }
    if (!axes_read(b, a->value, out))
        return false;
    for (size_t i = 0; i < out->n; i++)
        if (x.kind == VAL_TENSOR && !axes_has(&have, out->id[i])) {
            if (report(b, a->value->at, "E0203", "the value does not hold axis `%s`", axis_name(b, out->id[i])))
                label_axes(b, call_arg(e, 0)->at, x);
            return false;
        }
    return true;
}

static const Function *function_find(const char *name)
{
    for (const Function *f = function_table; f->name; f++)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

static bool check_args(Build *b, const Expr *e, const Function *f)
{
    unsigned n = 0;
    for (const Arg *a = e->args; a; a = a->next) {
        if (a->to) {
            report(b, a->at, "E0221", "`->` has no place in a call of `%s`", f->name);
            return false;
        }
        if (!a->name) {
            n++;
            continue;
        }
        if (!strstr(f->named, arena_printf(b->arena, " %s ", a->name->text))) {
            if (report(b, a->at, "E0222", "`%s` has no argument `%s`", f->name, a->name->text)) {
                const int n_named = (int)strlen(f->named) - 1;          // " over where "
                if (n_named > 0)
                    diag_help(b->diag, "its named arguments are:%.*s", n_named, f->named);
                else
                    diag_help(b->diag, "its arguments have no names: %s", f->summary);
            }
            return false;
        }
    }
    if (n >= f->min && n <= f->max)
        return true;
    if (report(b, e->at, "E0223", "`%s` takes %u%s argument%s, and %u are given", f->name, f->min,
               f->max > f->min ? " or more" : "", f->max == 1 ? "" : "s", n))
        diag_help(b->diag, "%s", f->summary);
    return false;
}

static const char *near_function(const char *name)
{
    Nearest near = {0};
    for (const Function *f = function_table; f->name; f++)
        nearest_offer(&near, name, f->name);
    return near.best;
}

static bool is_layer(const Symbol *s)
{
    return s->kind == SYM_LAYER || s->kind == SYM_INSTANCE;
}

// Layers that are there for a `use`.
static const char *library_of(const char *name)
{
    static const char *const known[][2] = {
        {"LN", "std.norm"}, {"LNfree", "std.norm"}, {"BN", "std.norm"},
        {"Attention", "std.attention"}, {"Mlp", "std.attention"}, {"Filter", "std.hyena"}, {"Rope", "std.rope"}
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i][0], name) == 0)
            return known[i][1];
    return NULL;
}

static Val unknown_callee(Build *b, const Expr *callee)
{
    Symbol *sym = scope_find(b->scope, callee->text, NULL);
    if (sym) {
        if (report(b, callee->at, "E0224", "`%s` is a value, not a layer or a function", callee->text))
            diag_note(b->diag, "it is made on line %u", line_of(b, sym->at));
        return val_error();
    }
    if (!report(b, callee->at, "E0225", "no layer or function is called `%s`", callee->text))
        return val_error();
    diag_label(b->diag, callee->at, "not declared");
    const char *library = library_of(callee->text), *near = near_name(b, callee->text, is_layer);
    const char *habit = habit_of_call(callee->text);
    if (library)
        diag_help(b->diag, "`use %s` brings it", library);
    else if (habit)
        diag_help(b->diag, "%s", habit);
    else if (near || (near = near_function(callee->text)))
        diag_help(b->diag, "`%s` is close", near);
    return val_error();
}

Val value_of_call(Build *b, const Expr *e)
{
    const Expr *callee = e->a;
    if (callee->kind == EXPR_FIELD)
        return value_of_method(b, e);
    Val made;
    if (b->init && init_call(b, e, &made))
        return made;
    LayerUse use;
    if (layer_find(b, callee, &use))
        return use.layer ? layer_call(b, e, &use) : val_error();
    if (callee->kind == EXPR_SELECT && callee->a->kind == EXPR_NAME)
        return unknown_callee(b, callee->a);
    if (callee->kind != EXPR_NAME) {
        report(b, callee->at, "E0225", "this cannot be called");
        return val_error();
    }
    const Function *f = function_find(callee->text);
    if (!f)
        return unknown_callee(b, callee);
    if (!check_args(b, e, f))
        return val_error();
    b->g->at = e->at;
    Val v = f->build(b, e, f);
    return v;
}
