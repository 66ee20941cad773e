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

#include <string.h>

static const Clause *clause_of(const Route *r, ClauseKind kind)
{
    for (const Clause *c = r->clauses; c; c = c->next)
        if (c->kind == kind)
            return c;
    return NULL;
}

// The mode that a term was written for; a name that is no mode was refused by the parser.
static ModeName mode_of(const Name *name)
{
    return name ? mode_named(name->text) : MODE_NONE;
}

// The term that counts in this mode. What a mode does not name falls back generate -> eval -> train; a term without a mode
// counts where no other does.
static const ClauseTerm *active_term(const Build *b, const Clause *c)
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

static const char *word_of(const Expr *e)
{
    return e && e->kind == EXPR_NAME ? e->text : e && e->kind == EXPR_CALL && e->a->kind == EXPR_NAME ? e->a->text : "";
}

static bool is_unknown(Build *b, Span at, const char *what, const char *word, const char *known)
{
    if (report(b, at, "E0306", "`%s` is no %s", word, what))
        diag_help(b->diag, "there are %s", known);
    return true;
}

// ---- scores and choices ----

// -log(-log(u)), u in (0, 1): adding it and taking the largest draws from the softmax of the scores (Gumbel 1954).
static ValueId gumbel(Build *b, const char *key, const Type *type)
{
    Graph *g = b->g;
    ValueId u = graph_binary(g, OP_MAX, random_uniform(b, step_value(b), key, type), scalar(b, 1e-20));
    ValueId inner = graph_binary(g, OP_MAX, graph_unary(g, OP_NEG, graph_map(g, ACT_LOG, u)), scalar(b, 1e-20));
    return graph_unary(g, OP_NEG, graph_map(g, ACT_LOG, inner));
}

// Box and Muller 1958.
static ValueId gaussian(Build *b, const char *key, const Type *type)
{
    Graph *g = b->g;
    ValueId u = random_uniform(b, step_value(b), arena_printf(b->arena, "%s.radius", key), type);
    ValueId angle = random_uniform(b, step_value(b), arena_printf(b->arena, "%s.angle", key), type);
    ValueId log_u = graph_map(g, ACT_LOG, graph_binary(g, OP_SUB, scalar(b, 1), u));
    ValueId radius = graph_map(g, ACT_SQRT, graph_binary(g, OP_MUL, scalar(b, -2), log_u));
    return graph_binary(g, OP_MUL, radius, graph_map(g, ACT_COS, graph_binary(g, OP_MUL, angle, scalar(b, 6.283185307179586))));
}

static const char *stream_key(Build *b, const Route *r, const char *what)
{
    return arena_printf(b->arena, "%s:%s:%u", b->frame->path, what, r->at.begin);
}

static ValueId add_noise(Build *b, const Route *r, ValueId score)
{
    const Clause *c = clause_of(r, CLAUSE_NOISE);
    if (!c || b->mode != MODE_TRAIN || b->noise_off || (c->mode && mode_of(c->mode) != MODE_TRAIN))
        return score;
    const char *word = word_of(c->value), *key = stream_key(b, r, "noise");
    Type type = b->g->node[score].type;
    if (strcmp(word, "gumbel") == 0)
        return graph_binary(b->g, OP_ADD, score, gumbel(b, key, &type));
    bool is_gaussian = strcmp(word, "gaussian") == 0;
    const Arg *arg = c->value->kind == EXPR_CALL ? call_arg(c->value, 0) : NULL;
    if ((!is_gaussian && strcmp(word, "learned") != 0) || !arg) {
        is_unknown(b, c->value->at, "noise", word, "gaussian(s), gumbel and learned(s)");
        return 0;
    }
    Val width = to_float(b, value_of_tensor(b, arg->value));
    if (width.kind != VAL_TENSOR)
        return 0;
    if (!is_gaussian)                       // Shazeer et al. 2017, equation 4
        width.id = graph_map(b->g, ACT_SOFTPLUS, width.id);
    return graph_binary(b->g, OP_ADD, score, graph_binary(b->g, OP_MUL, gaussian(b, key, &type), width.id));
}

// The k best; with `sample m` the last m of them are drawn from the softmax, without those chosen before.
static ValueId choose(Build *b, const Route *r, const Routing *routing, int64_t n_choices)
{
    Graph *g = b->g;
    const Clause *c = clause_of(r, CLAUSE_SAMPLE);
    ValueId score = graph_unary(g, OP_STOP, routing->score);
    int64_t drawn = 0;
    Number n;
    if (c && b->mode == MODE_TRAIN && !b->noise_off && (!c->mode || mode_of(c->mode) == MODE_TRAIN) &&
        (!value_of_number(b, c->value, &n) || !number_whole(n, &drawn) || drawn < 0 || drawn > n_choices)) {
        report(b, c->at, "E0306", "`sample` draws some of the %lld choices", (long long)n_choices);
        return 0;
    }
    if (!drawn)
        return graph_topk(g, score, routing->experts, routing->choice);
    Type type = g->node[score].type;
    AxisId last = axis_make(b, "drawn", AXIS_FEATURE, drawn, r->at), first = 0;
    ValueId picked = 0, rest = score;
    if (drawn < n_choices) {
        first = axis_make(b, "first", AXIS_FEATURE, n_choices - drawn, r->at);
        picked = graph_topk(g, score, routing->experts, first);
        ValueId same = graph_binary(g, OP_EQ, graph_index(g, routing->experts), picked);
        rest = graph_select(g, graph_reduce(g, RED_MAX, same, &first, 1), scalar(b, -1e30), score);
    }
    rest = graph_binary(g, OP_ADD, rest, gumbel(b, stream_key(b, r, "sample"), &type));
    ValueId others = graph_pad(g, graph_topk(g, rest, routing->experts, last), last, n_choices - drawn, routing->choice);
    return picked ? graph_binary(g, OP_ADD, graph_pad(g, picked, first, 0, routing->choice), others) : others;
}

// The pool of a clause: the axes after `over`, or all token axes.
static bool pool_axes(Build *b, const Routing *routing, const Expr *over, AxisList *out)
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

static ValueId balanced(Build *b, const Routing *routing, const AxisList *pool)
{
    Graph *g = b->g;
    ValueId expert = graph_assign(g, graph_unary(g, OP_STOP, routing->score), routing->experts, pool->id, pool->n);
    Type type = g->node[expert].type;
    type.axis[type.n_axes++] = routing->choice;
    return graph_expand(g, expert, type.axis, type.n_axes);
}

static ValueId assign_choices(Build *b, const Route *r, const Routing *routing, int64_t n_choices)
{
    const Clause *c = clause_of(r, CLAUSE_ASSIGN);
    const ClauseTerm *t = active_term(b, c);
    const char *word = t ? word_of(t->value) : "greedy";
    AxisList pool;
    if (strcmp(word, "greedy") == 0)
        return choose(b, r, routing, n_choices);
    if (strcmp(word, "balanced") != 0) {
        is_unknown(b, t->at, "way to assign that is built", word, "greedy and balanced");
        return 0;
    }
    if (n_choices != 1) {
        report(b, t->at, "E0306", "a balanced assignment gives one expert to each, not %lld", (long long)n_choices);
        return 0;
    }
    return pool_axes(b, routing, t->over, &pool) ? balanced(b, routing, &pool) : 0;
}

// ---- gates ----

static ValueId softmax_over(Build *b, ValueId x, AxisId axis)
{
    Graph *g = b->g;
    ValueId max = graph_unary(g, OP_STOP, graph_reduce(g, RED_MAX, x, &axis, 1));
    ValueId e = graph_map(g, ACT_EXP, graph_binary(g, OP_SUB, x, max));
    return graph_binary(g, OP_DIV, e, graph_reduce(g, RED_SUM, e, &axis, 1));
}

typedef enum Norm { NORM_NONE, NORM_CHOSEN, NORM_KEPT } Norm;

static bool read_gate(Build *b, const Route *r, const char **out_word, Norm *out_norm)
{
    const Clause *c = clause_of(r, CLAUSE_GATE);
    *out_word = c ? word_of(c->value) : "softmax";
    *out_norm = NORM_NONE;
    if (strcmp(*out_word, "softmax") && strcmp(*out_word, "sigmoid") && strcmp(*out_word, "one"))
        return !is_unknown(b, c->value->at, "gate", *out_word, "softmax, sigmoid and one");
    const Arg *norm = c && c->value->kind == EXPR_CALL ? call_named(c->value, "norm") : NULL;
    if (!norm)
        return true;
    const char *word = word_of(norm->value);
    *out_norm = strcmp(word, "chosen") == 0 ? NORM_CHOSEN : strcmp(word, "kept") == 0 ? NORM_KEPT : NORM_NONE;
    return *out_norm != NORM_NONE || !is_unknown(b, norm->at, "norm", word, "chosen and kept");
}

// The weight of each choice; of a dropped one 0, unless it passes its token through.
static ValueId gate_of(Build *b, const Routing *routing, ValueId index, const char *word, Norm norm)
{
    Graph *g = b->g;
    bool drops = routing->kept && !routing->passes;
    if (strcmp(word, "one") == 0 || !routing->score) {
        ValueId routed = graph_binary(g, OP_LE, graph_const(g, DTYPE_I32, 0), index);
        return drops ? graph_binary(g, OP_MUL, routed, routing->kept) : routed;
    }
    ValueId all = strcmp(word, "sigmoid") == 0 ? graph_map(g, ACT_SIGMOID, routing->score) : routing->prob;
    ValueId w = graph_take(g, all, index, routing->experts);
    if (norm == NORM_KEPT && routing->kept)
        w = graph_binary(g, OP_MUL, w, routing->kept);
    if (norm != NORM_NONE && routing->choice) {
        ValueId sum = graph_reduce(g, RED_SUM, w, &routing->choice, 1);
        w = graph_binary(g, OP_DIV, w, graph_binary(g, OP_MAX, sum, scalar(b, 1.2e-7)));
    }
    return drops ? graph_binary(g, OP_MUL, w, routing->kept) : w;
}

// ---- capacity ----

// Rows of each expert in a pool of n tokens: rows(EXPR), or floor(F*k*n/E).
static bool capacity_rows(Build *b, const ClauseTerm *t, const Routing *routing, const AxisList *pool, int64_t n_choices, int64_t *out)
{
    Number rows;
    const Expr *e = t->value;
    if (strcmp(word_of(e), "rows") == 0 && e->kind == EXPR_CALL && call_arg(e, 0)) {
        if (!value_of_number(b, call_arg(e, 0)->value, &rows))
            return false;
    } else {
        if (!value_of_number(b, e, &rows))
            return false;
        rows = number_binary(BINARY_MUL, rows, number_of(n_choices));
        for (size_t i = 0; i < pool->n; i++)
            rows = number_binary(BINARY_MUL, rows, number_of(axis_size(b, pool->id[i])));
        rows = number_floor(number_binary(BINARY_DIV, rows, number_of(axis_size(b, routing->experts))));
    }
    if (!number_whole(rows, out) || *out < 0) {
        report(b, e->at, "E0306", "a capacity is a whole number of rows, not %s", number_text(b->arena, rows));
        return false;
    }
    if (*out == 0 && b->at_low)             // at the lowest bound of a range, one token, that is no mistake of the model
        *out = 1;
    if (*out == 0 && report(b, e->at, "E0301", "every expert would get capacity 0, so all tokens are dropped"))
        diag_help(b->diag, "pool more tokens (`over B*T`), use fewer experts, or `dropless`");
    return *out > 0;
}

// 1 where a choice has a place, 0 where it is dropped. Counters run on past the capacity: nobody moves up.
static ValueId keep_of(Build *b, const Route *r, Routing *routing, ValueId index, const AxisList *pool, int64_t rows)
{
    Graph *g = b->g;
    const Clause *c = clause_of(r, CLAUSE_PRIORITY);
    const char *word = c ? c->name->text : "token";
    bool by_token = strcmp(word, "token") == 0, by_score = strcmp(word, "score") == 0;
    if (!by_token && !by_score && strcmp(word, "choice") != 0) {
        is_unknown(b, c->at, "priority", word, "token, choice and score");
        return 0;
    }
    AxisList order = {0};
    if (!by_token)
        axes_add(&order, routing->choice);
    for (size_t i = 0; i < pool->n; i++)
        axes_add(&order, pool->id[i]);
    axes_add(&order, routing->choice);
    ValueId turn = 0;
    if (by_score && routing->prob) {
        ValueId best = graph_reduce(g, RED_MAX, graph_unary(g, OP_STOP, routing->prob), &routing->experts, 1);
        turn = graph_rank(g, best, pool->id, pool->n);
    }
    routing->slot = graph_slot(g, index, turn, routing->experts, order.id, order.n);
    return graph_binary(g, OP_LT, routing->slot, graph_const(g, DTYPE_I32, (double)rows));
}

// Sets kept and, where a choice is dropped, index to -1.
static bool limit(Build *b, const Route *r, Routing *routing, ValueId *index, int64_t n_choices)
{
    const Clause *c = clause_of(r, CLAUSE_CAPACITY);
    const ClauseTerm *t = active_term(b, c);
    AxisList pool;
    int64_t rows;
    if (!t || t->dropless || b->mode == MODE_GENERATE)
        return true;
    if (!pool_axes(b, routing, t->over, &pool) || !capacity_rows(b, t, routing, &pool, n_choices, &rows))
        return false;
    routing->kept = keep_of(b, r, routing, *index, &pool, rows);
    if (!routing->kept)
        return false;
    Graph *g = b->g;
    *index = graph_select(g, routing->kept, *index, graph_const(g, DTYPE_I32, -1));
    const Clause *o = clause_of(r, CLAUSE_OVERFLOW);
    const char *word = o ? o->name->text : "skip";
    routing->passes = strcmp(word, "pass") == 0;
    if (!routing->passes && strcmp(word, "skip") != 0)
        return !is_unknown(b, o->at, "overflow that is built", word, "skip and pass");
    return true;
}

// ---- a routing ----

static bool choice_count(Build *b, const Route *r, Routing *routing, int64_t *out)
{
    const Clause *c = clause_of(r, CLAUSE_TOP);
    Number n = number_of(1);
    *out = 1;
    if (c && c->value->kind == EXPR_NAME) {
        AxisId axis = axis_quiet(b, c->value->text);
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

static bool route_scores(Build *b, const Route *r, Routing *routing, Val by)
{
    Graph *g = b->g;
    int64_t n_choices;
    const char *gate;
    Norm norm;
    if (by.softmaxed && report_warning(b, r->by->at, "W0311", "these scores were already through softmax; `gate softmax` would do it twice"))
        diag_help(b->diag, "hand over the raw scores");
    if (!choice_count(b, r, routing, &n_choices) || !read_where(b, r, routing) || !read_gate(b, r, &gate, &norm))
        return false;
    routing->score = add_noise(b, r, to_float(b, by).id);
    if (!routing->score)
        return false;
    routing->prob = softmax_over(b, routing->score, routing->experts);
    ValueId index = assign_choices(b, r, routing, n_choices);
    if (!index)
        return false;
    if (routing->where) {
        ValueId routed = graph_binary(g, OP_NE, routing->where, scalar(b, 0));
        index = graph_select(g, routed, index, graph_const(g, DTYPE_I32, -1));
    }
    routing->chosen = index;                // before dropping: what the balance terms count
    if (!limit(b, r, routing, &index, n_choices))
        return false;
    routing->index = index;
    routing->weight = gate_of(b, routing, routing->chosen, gate, norm);
    return true;
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
    b->g->at = r->at;
    if (direct) {                           // the scores are the choice
        routing->index = routing->chosen = by.id;
        routing->weight = gate_of(b, routing, by.id, "one", NORM_NONE);
    } else if (!route_scores(b, r, routing, by)) {
        return NULL;
    }
    return balance_terms(b, r, routing) ? routing : NULL;
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
    if (!r || v.kind != VAL_TENSOR || !v.id || !type_has(&b->g->node[v.id].type, r->experts))
        return v;
    return val_tensor(graph_take(b->g, v.id, r->index, r->experts), false);
}

bool route_hides(const Build *b, AxisId axis)
{
    return b->routing && (axis == b->routing->choice || axes_has(&b->routing->token, axis));
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
    if (routing->passes)
        y.id = graph_select(g, routing->kept, y.id, to_float(b, payload).id);
    if (!r->gate && !r->over)
        y.id = graph_binary(g, OP_MUL, y.id, routing->weight);
    else if (!routing->passes) {
        ValueId routed = graph_binary(g, OP_LE, graph_const(g, DTYPE_I32, 0), routing->index);
        y.id = graph_select(g, routed, y.id, scalar(b, 0));
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
