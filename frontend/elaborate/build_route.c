// `route`: who goes to which expert, and what is done there.
//
// A routing is small integers: index[tokens, K] names the expert of each choice, -1 for none (dropped, or not routed). In the
// body a value that holds the expert axis is read at the choice (`take`), so that it holds the token axes and K instead; these
// are hidden from the body (axes_of) and carried through it by the ops, which pair axes by name. Nothing here sorts, pads or
// moves rows: that is how kernels may do it.
//
//   scores [B,T,E] --topk--> index [B,T,K] --slot < capacity--> kept [B,T,K]
//   body: t [B,T,D] @[D] take(W1 [E,D,F], index) [B,T,K,D,F] -> [B,T,K,F] -> ..   sum over K of gate * y
#include "build_route.h"

#include <math.h>

// ---- clauses ----

const Clause *clause_of(const Route *r, ClauseKind kind)
{
    for (const Clause *c = r->clauses; c; c = c->next)
        if (c->kind == kind)
            return c;
    return NULL;
}

// A clause stands once: of two, one would go unread. Noise and balance terms add up, samples act by mode.
static bool check_clauses(Build *b, const Route *r)
{
    for (const Clause *c = r->clauses; c; c = c->next) {
        const bool adds_up = c->kind == CLAUSE_NOISE || c->kind == CLAUSE_SAMPLE || c->kind == CLAUSE_BALANCE;
        const Clause *first = clause_of(r, c->kind);
        const Clause *rival = c->kind == CLAUSE_DROPLESS ? clause_of(r, CLAUSE_CAPACITY) : NULL;
        const char *text = source_text(b, c->at);
        const char *word = arena_strndup(b->arena, text, strcspn(text, " \t\r\n#"));
        if (rival && report(b, c->at, "E0306", "`dropless` and `capacity` contradict each other")) {
            diag_label(b->diag, rival->at, "the other");
            diag_help(b->diag, "to have each in its mode: `capacity 1.25 over B*T in train, dropless in eval`");
        } else if (!rival && first != c && !adds_up && report(b, c->at, "E0306", "a second `%s` in the same route", word)) {
            diag_label(b->diag, first->at, "the first");
        }
        if (rival || (first != c && !adds_up))
            return false;
    }
    return true;
}

// The mode that a term was written for; a name that is no mode was refused by the parser.
static ModeName mode_of(const Name *name)
{
    return name ? mode_named(name->text) : MODE_NONE;
}

const ClauseTerm *clause_term(const Build *b, const Clause *c)
{
    const ClauseTerm *plain = NULL;
    for (int mode = (int)b->mode; c && mode >= MODE_TRAIN; mode--)
        for (const ClauseTerm *t = c->terms; t; t = t->next) {
            if (!t->mode)
                plain = t;
            else if (mode_of(t->mode) == (ModeName)mode)
                return t;
        }
    return plain;
}

bool clause_acts(const Build *b, const Clause *c)
{
    const ModeName mode = c->mode ? mode_of(c->mode) : MODE_TRAIN;
    return b->mode == mode || (b->mode == MODE_GENERATE && mode == MODE_EVAL);
}

const char *clause_word(const Expr *e)
{
    return e && e->kind == EXPR_NAME ? e->text : e && e->kind == EXPR_CALL && e->a->kind == EXPR_NAME ? e->a->text : "";
}

bool clause_unknown(Build *b, Span at, const char *what, const char *word, const char *known)
{
    if (report(b, at, "E0306", "`%s` is no %s", word, what))
        diag_help(b->diag, "there are %s", known);
    return false;
}

bool clause_number(Build *b, const Expr *e, double fallback, double *out)
{
    const Arg *arg = e->kind == EXPR_CALL ? call_arg(e, 0) : NULL;
    Number n;
    *out = fallback;
    if (!arg)
        return true;
    if (!value_of_number(b, arg->value, &n))
        return false;
    *out = n.value;
    return true;
}

bool route_pool(Build *b, const Routing *routing, const Expr *over, AxisList *out)
{
    *out = routing->token;
    if (!over)
        return true;
    AxisList named = {0};
    if (!axes_read(b, over, &named))
        return false;
    for (size_t i = 0; i < named.n; i++)
        if (!axes_has(&routing->token, named.id[i])) {
            if (report(b, over->at, "E0302", "the scores do not hold `%s`", axis_name(b, named.id[i])))
                diag_help(b->diag, "the axes that are routed are %s", list_text(b, &routing->token));
            return false;
        }
    *out = named;
    return true;
}

const char *pool_text(Build *b, const AxisList *pool)
{
    Text t = text_make(b->arena);
    for (size_t i = 0; i < pool->n; i++)
        text_printf(&t, "%s%s", i ? "*" : "", axis_name(b, pool->id[i]));
    return pool->n ? text_str(&t) : "nothing";
}

int64_t axes_count(Build *b, const AxisList *axes)
{
    int64_t n = 1;
    for (size_t i = 0; i < axes->n; i++)
        n *= axis_size(b, axes->id[i]);
    return n;
}

const char *route_stream(Build *b, const Route *r, const char *what)
{
    return arena_printf(b->arena, "%s:%s:%u", b->frame->path, what, r->at.begin);
}

// ---- a routing ----

static bool choice_count(Build *b, const Route *r, Routing *routing)
{
    const Clause *c = clause_of(r, CLAUSE_TOP);
    Number n = number_of(1);
    int64_t *out = &routing->n_choices;
    *out = 1;
    if (c && c->value->kind == EXPR_NAME) {
        AxisId axis = axis_quiet(b, c->value->text);
        if (axis && axis == routing->experts) {
            if (report(b, c->at, "E0303", "`%s` counts the experts; choices need an axis of their own", c->value->text))
                diag_help(b->diag, "declare one, `axis K = 2`, and say `top K`");
            return false;
        }
        routing->choice = axis;
        routing->has_choice_axis = axis != 0;
    }
    if (c && (!value_of_number(b, c->value, &n) || !number_whole(n, out)))
        return false;
    int64_t experts = axis_size(b, routing->experts);
    if (*out < 1 || *out > experts) {
        if (report(b, c ? c->at : r->at, "E0303", "%lld choices of %lld experts are not possible", (long long)*out, (long long)experts))
            diag_help(b->diag, "`top k` takes 1 to %lld", (long long)experts);
        return false;
    }
    if (!routing->choice)
        routing->choice = axis_make(b, "choice", AXIS_FEATURE, *out, r->at);
    return true;
}

static bool read_where(Build *b, const Route *r, Routing *routing)
{
    const Clause *c = clause_of(r, CLAUSE_WHERE);
    if (!c)
        return true;
    Val w = value_of_tensor(b, c->value);
    if (w.kind != VAL_TENSOR)
        return false;
    routing->where = to_float(b, w).id;
    return true;
}

static ValueId softmax_over(Build *b, ValueId x, AxisId axis)
{
    Graph *g = b->g;
    ValueId max = graph_unary(g, OP_STOP, graph_reduce(g, RED_MAX, x, &axis, 1));
    ValueId e = graph_map(g, ACT_EXP, graph_binary(g, OP_SUB, x, max));
    return graph_binary(g, OP_DIV, e, graph_reduce(g, RED_SUM, e, &axis, 1));
}

static bool experts_are_to_choose(const Build *b, const Route *r)
{
    const ClauseTerm *t = clause_term(b, clause_of(r, CLAUSE_ASSIGN));
    return t && strcmp(clause_word(t->value), "experts_choose") == 0;
}

// A choice of -1 is none: not routed, or given up.
static ValueId none_where_zero(Build *b, ValueId mask, ValueId index)
{
    return mask ? graph_select(b->g, mask, index, graph_const(b->g, DTYPE_I32, -1)) : index;
}

static bool finish_choices(Build *b, const Route *r, const Gate *gate, Routing *routing)
{
    ValueId routed = routing->where ? graph_binary(b->g, OP_NE, routing->where, scalar(b, 0)) : 0;
    routing->picked = none_where_zero(b, routed, routing->picked);
    if (!route_give_up(b, r, gate, routing))
        return false;
    ValueId index = none_where_zero(b, routing->used, routing->picked);
    routing->chosen = index;                // before dropping: what the balance terms count
    if (!route_limit(b, r, routing, &index))
        return false;
    routing->index = index;
    routing->weight = route_weights(b, routing, gate);
    return true;
}

static bool route_scores(Build *b, const Route *r, Routing *routing, Val by)
{
    Gate gate;
    if (by.softmaxed && report_warning(b, r->by->at, "W0311", "these scores were already through softmax; `gate softmax` would do it twice"))
        diag_help(b->diag, "hand over the raw scores");
    if (!choice_count(b, r, routing) || !read_where(b, r, routing) || !route_gate(b, r, &gate))
        return false;
    routing->score = to_float(b, by).id;
    if (!route_noise(b, r, routing))
        return false;
    routing->prob = softmax_over(b, routing->score, routing->experts);
    if (experts_are_to_choose(b, r))
        return experts_choose(b, r, &gate, routing);
    routing->picked = route_choices(b, r, routing);
    return routing->picked && finish_choices(b, r, &gate, routing);
}

// Whole numbers name the expert of each token, or with `top K` the experts along K.
static bool route_numbers(Build *b, const Route *r, Routing *routing, Val by)
{
    static const struct { ClauseKind kind; const char *word; } needs_scores[] = {
        {CLAUSE_SAMPLE, "sample"}, {CLAUSE_NOISE, "noise"}, {CLAUSE_ASSIGN, "assign"}, {CLAUSE_BALANCE, "balance"}};
    const Clause *top = clause_of(r, CLAUSE_TOP);
    Gate gate;
    for (size_t i = 0; i < sizeof needs_scores / sizeof *needs_scores; i++) {
        const Clause *c = clause_of(r, needs_scores[i].kind);
        if (!c)
            continue;
        if (report(b, c->at, "E0306", "`%s` needs scores, and these are numbers of experts", needs_scores[i].word))
            label_axes(b, r->by->at, by);
        return false;
    }
    routing->n_choices = 1;
    if (top && top->value->kind == EXPR_NAME)
        routing->choice = axis_quiet(b, top->value->text);
    routing->has_choice_axis = routing->choice != 0;
    Number n;
    if (top && !routing->choice && value_of_number(b, top->value, &n) && n.value == 1)
        top = NULL;                         // the one that there is
    if (top && (!routing->choice || !axes_has(&routing->token, routing->choice))) {
        if (report(b, top->at, "E0306", "whole numbers are the choices themselves: `top` can only name an axis of theirs"))
            label_axes(b, r->by->at, by);
        return false;
    }
    if (routing->choice) {
        AxisList token = {0};
        for (size_t i = 0; i < routing->token.n; i++)
            if (routing->token.id[i] != routing->choice)
                axes_add(&token, routing->token.id[i]);
        routing->token = token;
        routing->n_choices = axis_size(b, routing->choice);
    }
    if (!read_where(b, r, routing) || !route_gate(b, r, &gate))
        return false;
    if (clause_of(r, CLAUSE_GATE) && strcmp(gate.word, "one") != 0) {
        report(b, clause_of(r, CLAUSE_GATE)->at, "E0306", "`gate %s` needs scores, and these are numbers of experts", gate.word);
        return false;
    }
    gate = (Gate){"one", NORM_NONE};
    routing->picked = by.id;
    return finish_choices(b, r, &gate, routing);
}

// What plans and reports say of it.
static void note_routing(Build *b, const Route *r, Routing *routing)
{
    Module *m = b->module;
    AxisList rest = {0};
    RouteInfo *info = &routing->info;
    if (!routing->pool.n)
        routing->pool = routing->token;
    for (size_t i = 0; i < routing->token.n; i++)
        if (!axes_has(&routing->pool, routing->token.id[i]))
            axes_add(&rest, routing->token.id[i]);
    info->layer = b->frame->path;
    info->at = r->at;
    LineCol at = sources_line_col(b->sources, r->at.file, r->at.begin);
    info->place = arena_printf(b->arena, "%s:%u:%u", b->sources->file[r->at.file].name, at.line, at.col);
    info->fails = routing->fails;
    info->experts = axis_name(b, routing->experts);
    info->pool = pool_text(b, &routing->pool);
    info->choice_axis = routing->choice ? b->g->axis[routing->choice].name : NULL;
    info->n_experts = axis_size(b, routing->experts);
    info->n_choices = routing->n_choices;
    info->pool_tokens = axes_count(b, &routing->pool);
    info->n_pools = axes_count(b, &rest);
    info->by_expert = routing->by_expert;
    info->by_number = !routing->score;
    routing_stats(b, routing);
    m->route = arena_grow(b->arena, m->route, m->n_routes, &m->route_capacity, sizeof *m->route);
    m->route[m->n_routes++] = *info;
}

static Routing *make_routing(Build *b, const Route *r, Val by)
{
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
    for (size_t i = 0; i < have.n; i++)
        if (have.id[i] != experts)
            axes_add(&routing->token, have.id[i]);
    routing->info.rows = -1;
    b->g->at = r->at;
    if (!check_clauses(b, r))
        return NULL;
    if (direct ? !route_numbers(b, r, routing, by) : !route_scores(b, r, routing, by))
        return NULL;
    if (!balance_terms(b, r, routing))
        return NULL;
    note_routing(b, r, routing);
    return routing;
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
    return make_routing(b, r, by);
}

// ---- the body ----

// A value as the body of the current route sees it: at this token's choice.
Val route_read(Build *b, Val v)
{
    const Routing *r = b->routing;
    if (!r || v.kind != VAL_TENSOR || !v.id)
        return v;
    if (r->by_expert)
        return experts_read(b, r, v);
    if (!type_has(&b->g->node[v.id].type, r->experts))
        return v;
    return val_tensor(graph_take(b->g, v.id, r->index, r->experts), false);
}

bool route_hides(const Build *b, AxisId axis)
{
    const Routing *r = b->routing;
    return r && (axis == r->choice || axes_has(&r->token, axis) || (r->by_expert && (axis == r->experts || axis == r->pool_axis)));
}

static Val run_route_body(Build *b, const Route *r, Routing *routing, Val payload)
{
    Frame *f = b->frame;
    Scope *outer = b->scope;
    AxisList per_expert = f->per_expert;
    Val *outer_yield = f->route_yield, yielded = val_error();
    bool outer_has = f->route_has_yield;
    b->scope = scope_make(b, outer);
    b->scope->route = routing;
    b->routing = routing;
    if (r->each)
        scope_add(b, b->scope, SYM_VALUE, r->each->text, r->each->at)->val = route_read(b, payload);
    if (r->gate)
        scope_add(b, b->scope, SYM_VALUE, r->gate->text, r->gate->at)->val = val_tensor(routing->weight, false);
    axes_add(&f->per_expert, routing->experts);
    f->route_yield = &yielded;
    f->route_has_yield = false;
    run_body(b, r->body);
    if (!f->route_has_yield)
        report(b, r->at, "E0502", "the body of this route yields nothing");
    if (yielded.kind == VAL_NUMBER)
        yielded = to_float(b, yielded);
    f->route_yield = outer_yield;
    f->route_has_yield = outer_has;
    f->per_expert = per_expert;
    b->scope = outer;
    b->routing = NULL;
    return yielded;
}

// What comes back: the choices' results weighted and summed, or one by one. A choice without an expert gives 0; with
// `overflow pass` one that was dropped for want of room gives the token itself, as if an expert had returned it.
static Val combine_choices(Build *b, const Route *r, const Routing *routing, Val payload, Val y)
{
    Graph *g = b->g;
    b->g->at = r->at;
    y = to_float(b, y);
    if (routing->by_expert)
        return experts_combine(b, routing, r->gate ? y.id : graph_binary(g, OP_MUL, y.id, routing->weight));
    if (routing->passes && routing->kept)
        y.id = graph_select(g, routing->kept, y.id, to_float(b, payload).id);
    if (!r->gate && !r->over)
        y.id = graph_binary(g, OP_MUL, y.id, routing->weight);
    else if (!routing->passes) {
        ValueId routed = graph_binary(g, OP_LE, graph_const(g, DTYPE_I32, 0), routing->index);
        y.id = graph_select(g, routed, y.id, scalar(b, 0));
        if (routing->fails && routing->kept)
            y.id = graph_select(g, routing->kept, y.id, scalar(b, NAN));
    }
    if (!r->over && routing->choice)
        y.id = graph_reduce(g, RED_SUM, y.id, &routing->choice, 1);
    return val_tensor(y.id, false);
}

Val value_of_route(Build *b, const Route *r)
{
    if (b->routing) {
        report(b, r->at, "E0307", "a route inside the body of a route");
        return val_error();
    }
    Val payload = r->payload ? value_of_tensor(b, r->payload) : val_error();
    Routing *routing = routing_of(b, r);
    if (!routing || (r->payload && payload.kind != VAL_TENSOR))
        return val_error();
    if (!r->has_body)
        return (Val){.kind = VAL_ROUTING, .routing = routing};
    if (r->over && (!routing->has_choice_axis || axis_find(b, r->over->text, r->over->at, false) != routing->choice)) {
        report(b, r->over->at, "E0308", "`over %s` needs a routing made with `top %s`", r->over->text, r->over->text);
        return val_error();
    }
    Val y = run_route_body(b, r, routing, payload);
    return y.kind == VAL_TENSOR ? combine_choices(b, r, routing, payload, y) : val_error();
}
