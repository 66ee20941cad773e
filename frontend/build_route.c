// `route`: the place where routing will be built. Until it is, a model with routes can be counted and not run: the
// types of what a route gives are inferred, its parameters are declared, and the values are stand-ins.
#include "build_state.h"

#include <string.h>

static Val not_built(Build *b, Span at)
{
    if (report(b, at, "E0600", "`route` is not built yet"))
        diag_note(b->diag, "`mixc show` counts models that use it; they cannot run");
    return val_error();
}

// `top K` with an axis K: the choices are wanted one by one.
static AxisId choice_axis(Build *b, const Route *r)
{
    for (const Clause *c = r->clauses; c; c = c->next) {
        if (c->kind != CLAUSE_TOP || !c->value || c->value->kind != EXPR_NAME)
            continue;
        Symbol *sym = scope_find(b->scope, c->value->text, NULL);
        if (sym && (sym->kind == SYM_AXIS || sym->kind == SYM_LAZY_AXIS))
            return axis_quiet(b, c->value->text);
    }
    return 0;
}

static Routing *routing_of(Build *b, const Route *r)
{
    Val by = value_of(b, r->by);
    if (by.kind == VAL_ROUTING)
        return by.routing;
    if (by.kind != VAL_TENSOR) {
        if (by.kind != VAL_ERROR && report(b, r->by->at, "E0210", "scores or a routing are wanted here"))
            label_axes(b, r->by->at, by);
        return NULL;
    }
    AxisId experts = r->experts ? axis_find(b, r->experts->text, r->experts->at, false) : 0;
    if (!experts) {
        if (!r->experts)
            report(b, r->by->at, "E0305", "say which axis counts the experts: `by .. to E experts`");
        return NULL;
    }
    AxisList have;
    axes_of(b, by, &have);
    bool direct = val_dtype(b, by) == DTYPE_I32;
    if (!direct && !axes_has(&have, experts)) {
        if (report(b, r->by->at, "E0305", "the scores do not hold the expert axis `%s`", r->experts->text))
            label_axes(b, r->by->at, by);
        return NULL;
    }
    Routing *routing = arena_new(b->arena, Routing);
    routing->experts = experts;
    routing->choice = choice_axis(b, r);
    for (size_t i = 0; i < have.n; i++)
        if (have.id[i] != experts)
            axes_add(&routing->token, have.id[i]);
    return routing;
}

static Val lose_routing(Build *b, Val v, const Routing *r)
{
    AxisList lost = r->token;
    axes_add(&lost, r->experts);
    axes_add(&lost, r->choice);
    return v.kind == VAL_TENSOR ? lose_axes(b, v, &lost) : v;
}

static Val run_route_body(Build *b, const Route *r, Routing *routing, Val payload)
{
    Frame *f = b->frame;
    Scope *outer = b->scope;
    AxisList per_expert = f->per_expert;
    Val *outer_yield = f->route_yield, yielded = val_error();
    bool outer_has = f->route_has_yield;
    AxisList none = {0};
    b->scope = scope_make(b, outer);
    b->scope->route = routing;
    if (r->each)
        scope_add(b, b->scope, SYM_VALUE, r->each->text, r->each->at)->val = lose_routing(b, payload, routing);
    if (r->gate)
        scope_add(b, b->scope, SYM_VALUE, r->gate->text, r->gate->at)->val = stand_in(b, DTYPE_F32, &none);
    axes_add(&f->per_expert, routing->experts);
    f->route_yield = &yielded;
    f->route_has_yield = false;
    run_body(b, r->body);
    if (!f->route_has_yield)
        report(b, r->at, "E0502", "the body of this route yields nothing");
    f->route_yield = outer_yield;
    f->route_has_yield = outer_has;
    f->per_expert = per_expert;
    b->scope = outer;
    return yielded;
}

Val value_of_route(Build *b, const Route *r)
{
    if (!b->options->count_only)
        return not_built(b, r->at);
    Val payload = r->payload ? value_of_tensor(b, r->payload) : val_error();
    Routing *routing = routing_of(b, r);
    if (!routing || (r->payload && payload.kind != VAL_TENSOR))
        return val_error();
    if (!r->has_body)
        return (Val){.kind = VAL_ROUTING, .routing = routing};
    Routing here = *routing;
    if (r->over)
        here.choice = axis_find(b, r->over->text, r->over->at, false);
    Val y = run_route_body(b, r, &here, payload);
    if (y.kind == VAL_NUMBER)
        y = to_float(b, y);
    if (y.kind != VAL_TENSOR)
        return val_error();
    AxisList axes = here.token, body;
    if (r->over)
        axes_add(&axes, here.choice);
    axes_of(b, y, &body);
    for (size_t i = 0; i < body.n; i++)
        axes_add(&axes, body.id[i]);
    return stand_in(b, DTYPE_F32, &axes);
}

Val routing_field(Build *b, const Expr *e, const Routing *r)
{
    AxisList axes = r->token;
    const char *field = e->text;
    if (!b->options->count_only)
        return not_built(b, e->at);
    if (strcmp(field, "prob") == 0 || strcmp(field, "score") == 0 || strcmp(field, "chosen") == 0) {
        axes_add(&axes, r->experts);
        return stand_in(b, DTYPE_F32, &axes);
    }
    if (strcmp(field, "load") == 0) {
        axes = (AxisList){.n = 1, .id = {r->experts}};
        return stand_in(b, DTYPE_F32, &axes);
    }
    bool is_index = strcmp(field, "index") == 0;
    if ((is_index || strcmp(field, "weight") == 0) && r->choice) {
        axes_add(&axes, r->choice);
        return stand_in(b, is_index ? DTYPE_I32 : DTYPE_F32, &axes);
    }
    if (report(b, e->at, "E0219", "a routing has no field `%s`", field))
        diag_help(b->diag, "there are prob, score, chosen and load, and with `top K` also index and weight");
    return val_error();
}
