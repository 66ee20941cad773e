// Statistics of a routing: the terms of the clause `balance`, and its fields.
//
//   w[token]     the tokens' weights in the pool, summing to 1 (equal, or as `where` says)
//   f[e]         share of the choices that name e, before any is dropped; no gradient
//   P[e]         sum of w * softmax(scores)[e]
#include "build_route.h"

#include <math.h>
#include <string.h>

typedef struct Stats {
    const Routing *r;
    AxisList       pool, rest;              // token axes in the pool and outside it
    ValueId        w;                       // [pool] (and rest, with `where`)
    ValueId        weight;                  // as `where` says, before they are made to sum to 1; 0: all the same
} Stats;

static ValueId mul(Build *b, ValueId x, ValueId y)
{
    return graph_binary(b->g, OP_MUL, x, y);
}

static ValueId sum(Build *b, ValueId x, const AxisList *over)
{
    AxisList held = {0};
    for (size_t i = 0; i < over->n; i++)
        if (x && type_has(&b->g->node[x].type, over->id[i]))
            axes_add(&held, over->id[i]);
    return graph_reduce(b->g, RED_SUM, x, held.id, held.n);
}

static AxisList one_axis(AxisId axis)
{
    return (AxisList){.n = axis != 0, .id = {axis}};
}

static double size_of(Build *b, const AxisList *axes)
{
    double n = 1;
    for (size_t i = 0; i < axes->n; i++)
        n *= (double)axis_size(b, axes->id[i]);
    return n;
}

static ValueId x_log_x(Build *b, ValueId x)
{
    return mul(b, x, graph_map(b->g, ACT_LOG, graph_binary(b->g, OP_MAX, x, scalar(b, 1e-30))));
}

// 1 where a choice names the expert: [tokens, choice, E]
static ValueId one_hot(Build *b, const Routing *r)
{
    return graph_binary(b->g, OP_EQ, graph_index(b->g, r->experts), r->chosen);
}

static ValueId over_total(Build *b, ValueId x, ValueId total)
{
    return graph_binary(b->g, OP_DIV, x, graph_binary(b->g, OP_MAX, total, scalar(b, 1e-30)));
}

static bool make_stats(Build *b, const Routing *r, const Expr *over, Stats *out)
{
    *out = (Stats){.r = r, .pool = r->token};
    if (!route_pool(b, r, over, &out->pool))
        return false;
    for (size_t i = 0; i < r->token.n; i++)
        if (!axes_has(&out->pool, r->token.id[i]))
            axes_add(&out->rest, r->token.id[i]);
    double n = size_of(b, &out->pool);
    out->w = scalar(b, n > 0 ? 1 / n : 0);
    if (r->where) {
        Type type = type_make(DTYPE_F32, r->token.id, r->token.n);
        out->weight = spread(b, r->where, type.axis, type.n_axes);
        out->w = over_total(b, out->weight, sum(b, out->weight, &out->pool));
    }
    return true;
}

// Mean over the token axes outside the pool.
static ValueId mean_rest(Build *b, const Stats *s, ValueId x)
{
    double n = 1;
    for (size_t i = 0; i < s->rest.n; i++)
        if (x && type_has(&b->g->node[x].type, s->rest.id[i]))
            n *= (double)axis_size(b, s->rest.id[i]);
    x = sum(b, x, &s->rest);
    return n == 1 ? x : mul(b, x, scalar(b, 1 / n));
}

static ValueId mean_prob(Build *b, const Stats *s)
{
    return sum(b, mul(b, s->r->prob, s->w), &s->pool);
}

// 1 where a token is at an expert: [tokens, E]
static ValueId chosen_field(Build *b, const Routing *r)
{
    AxisList choice = one_axis(r->choice);
    if (r->by_expert)
        return r->chosen_by;
    return choice.n ? graph_reduce(b->g, RED_MAX, one_hot(b, r), choice.id, 1) : one_hot(b, r);
}

// The weights of the choices at each expert, summed.
static ValueId count_choices(Build *b, const Routing *r, ValueId chosen, ValueId weight, const AxisList *over)
{
    const Type type = b->g->node[chosen].type;
    ValueId each = spread(b, graph_unary(b->g, OP_STOP, weight), type.axis, type.n_axes);
    return graph_put_add(b->g, each, chosen, over->id, over->n, r->experts);
}

// Share of the choices (or of the first ones only) that name each expert.
static ValueId share(Build *b, const Stats *s, bool first_only)
{
    if (s->r->by_expert) {                  // each takes as many as the others, or as there are
        const double all = (double)axis_size(b, s->r->choice) * (double)axis_size(b, s->r->experts);
        ValueId hot = mul(b, s->r->chosen_by, scalar(b, size_of(b, &s->r->pool) / all));
        return graph_unary(b->g, OP_STOP, sum(b, mul(b, hot, s->w), &s->pool));
    }
    AxisList choice = one_axis(s->r->choice), over = s->pool;
    ValueId chosen = s->r->chosen, all;
    if (choice.n && first_only)
        chosen = graph_at(b->g, chosen, s->r->choice, 0);
    else if (choice.n)
        axes_add(&over, s->r->choice);
    // Counted by index: the matrix of who is where has tokens x choices x experts elements.
    all = s->r->where ? count_choices(b, s->r, chosen, s->w, &over) : mul(b, count_choices(b, s->r, chosen, scalar(b, 1), &over), s->w);
    return graph_unary(b->g, OP_STOP, first_only ? all : mul(b, all, scalar(b, 1 / size_of(b, &choice))));
}

// E * sum over e of f*P (Fedus et al. 2021, equation 4; with K choices as WideNet's code has it), f of the first choices
// for GShard (Lepikhin et al. 2020, algorithm 1, scaled so that even loads give 1).
static ValueId load_loss(Build *b, const Stats *s, bool first_only)
{
    AxisList experts = one_axis(s->r->experts);
    ValueId dot = sum(b, mul(b, share(b, s, first_only), mean_prob(b, s)), &experts);
    return mul(b, mean_rest(b, s, dot), scalar(b, size_of(b, &experts)));
}

// Mean of logsumexp(scores)^2 (Zoph et al. 2022, equation 5).
static ValueId z_loss(Build *b, const Stats *s)
{
    AxisList experts = one_axis(s->r->experts);
    Graph *g = b->g;
    ValueId max = graph_unary(g, OP_STOP, graph_reduce(g, RED_MAX, s->r->score, experts.id, 1));
    ValueId total = sum(b, graph_map(g, ACT_EXP, graph_binary(g, OP_SUB, s->r->score, max)), &experts);
    ValueId lse = graph_binary(g, OP_ADD, graph_map(g, ACT_LOG, total), max);
    return mean_rest(b, s, sum(b, mul(b, mul(b, lse, lse), s->w), &s->pool));
}

// The mean of x over the pool's tokens; with a key over those of all uses of the instance, each token by its weight.
static ValueId pool_mean(Build *b, const Stats *s, ValueId x, const char *key)
{
    if (!key)
        return sum(b, mul(b, x, s->w), &s->pool);
    if (!s->weight)
        return pooled_value(b, sum(b, mul(b, x, s->w), &s->pool), key);
    ValueId total = pooled_value(b, sum(b, s->weight, &s->pool), arena_printf(b->arena, "%s:total", key));
    return over_total(b, pooled_value(b, sum(b, mul(b, x, s->weight), &s->pool), key), total);
}

// sum over e of P log P, which is minus the entropy of the mean (Csordas et al. 2023 and 2024).
static ValueId entropy_loss(Build *b, const Stats *s, const char *pool_key)
{
    AxisList experts = one_axis(s->r->experts);
    return mean_rest(b, s, sum(b, x_log_x(b, pool_mean(b, s, s->r->prob, pool_key)), &experts));
}

// Minus the mutual information of token and expert: sum P log P minus the mean of sum p log p (Tan et al. 2023).
static ValueId mi_loss(Build *b, const Stats *s, const char *pool_key)
{
    AxisList experts = one_axis(s->r->experts);
    ValueId p = pool_mean(b, s, s->r->prob, pool_key), each = sum(b, x_log_x(b, s->r->prob), &experts);
    ValueId own = pool_mean(b, s, each, pool_key ? arena_printf(b->arena, "%s:own", pool_key) : NULL);
    return mean_rest(b, s, graph_binary(b->g, OP_SUB, sum(b, x_log_x(b, p), &experts), own));
}

static bool balance_term(Build *b, const Route *r, const Routing *routing, const ClauseTerm *t)
{
    const Expr *e = t->value;
    const char *word = e->kind == EXPR_CALL && e->a->kind == EXPR_NAME ? e->a->text : "";
    const Arg *arg = *word ? call_arg(e, 0) : NULL;
    Number factor;
    Stats s;
    if (!arg || !value_of_number(b, arg->value, &factor)) {
        if (report(b, t->at, "E0306", "a balance term and its factor are wanted here"))
            diag_help(b->diag, "for example `balance switch(0.01) over B*T`");
        return false;
    }
    if (!make_stats(b, routing, t->over, &s))
        return false;
    const char *key = arena_printf(b->arena, "%s:%s:%u:%u", b->frame->path, word, t->at.file, t->at.begin);
    const char *pool = t->pooled ? key : NULL;
    ValueId loss = 0;
    if (strcmp(word, "switch") == 0)
        loss = load_loss(b, &s, false);
    else if (strcmp(word, "gshard") == 0)
        loss = load_loss(b, &s, true);
    else if (strcmp(word, "zloss") == 0)
        loss = z_loss(b, &s);
    else if (strcmp(word, "entropy") == 0)
        loss = entropy_loss(b, &s, pool);
    else if (strcmp(word, "mi") == 0)
        loss = mi_loss(b, &s, pool);
    if (!loss) {
        if (report(b, t->at, "E0306", "`%s` is no balance term", word))
            diag_help(b->diag, "there are switch, gshard, zloss, entropy and mi");
        return false;
    }
    (void)r;
    add_term(b, word, key, mul(b, loss, scalar(b, factor.value)));
    return true;
}

bool balance_terms(Build *b, const Route *r, const Routing *routing)
{
    for (const Clause *c = r->clauses; c; c = c->next)
        for (const ClauseTerm *t = c->kind == CLAUSE_BALANCE && b->mode == MODE_TRAIN ? c->terms : NULL; t; t = t->next)
            if (!balance_term(b, r, routing, t))
                return false;
    return true;
}

// ---- what training logs and reports read ----

// An output that reads like a watch: route.N.NAME.
static void add_stat(Build *b, const char *name, ValueId v)
{
    graph_output(b->g, OUTPUT_WATCH, arena_printf(b->arena, "route.%zu.%s", b->module->n_routes, name), v);
}

static ValueId count_all(Build *b, ValueId x)
{
    const Type type = b->g->node[x].type;
    return graph_reduce(b->g, RED_SUM, x, type.axis, type.n_axes);
}

// load [E]: choices of each expert before any is dropped; choices, dropped: how many; entropy: mean over tokens of that of
// prob, in nats; bad: tokens with a score that is no finite number. Counts are exact below 2^24.
void routing_stats(Build *b, Routing *r)
{
    Graph *g = b->g;
    if (!b->options->with_routing_stats)
        return;
    AxisList choice = one_axis(r->choice), experts = one_axis(r->experts);
    if (r->by_expert) {
        AxisList all = r->token;
        add_stat(b, "load", sum(b, r->chosen_by, &all));
    } else {
        AxisList over = r->token;
        if (choice.n)
            axes_add(&over, r->choice);
        add_stat(b, "load", count_choices(b, r, r->chosen, scalar(b, 1), &over));
        if (r->kept) {
            ValueId routed = graph_binary(g, OP_LE, graph_const(g, DTYPE_I32, 0), r->chosen);
            add_stat(b, "dropped", count_all(b, graph_binary(g, OP_SUB, routed, mul(b, routed, r->kept))));
        }
    }
    if (!r->score)
        return;
    // log z - sum of p (s - max): one logarithm a token. Where p is 0 a score may be minus infinity.
    ValueId score = graph_unary(g, OP_STOP, r->score), p = graph_unary(g, OP_STOP, r->prob);
    ValueId max = graph_unary(g, OP_STOP, graph_reduce(g, RED_MAX, r->score, experts.id, 1));
    ValueId less = graph_binary(g, OP_SUB, score, max), z = sum(b, graph_map(g, ACT_EXP, less), &experts);
    ValueId part = sum(b, mul(b, p, graph_select(g, graph_binary(g, OP_LT, scalar(b, 0), p), less, scalar(b, 0))), &experts);
    ValueId own = graph_binary(g, OP_SUB, graph_map(g, ACT_LOG, z), part), zero = mul(b, own, scalar(b, 0));
    add_stat(b, "entropy", mul(b, count_all(b, own), scalar(b, 1 / fmax(1, size_of(b, &r->token)))));
    add_stat(b, "bad", count_all(b, graph_binary(g, OP_NE, zero, zero)));
}

// The place of each choice at its expert, -1: none. Without a capacity places are counted in the order of tokens.
static ValueId slot_field(Build *b, const Routing *r)
{
    AxisList order = r->token;
    if (r->choice)
        axes_add(&order, r->choice);
    ValueId slot = r->slot ? r->slot : graph_slot(b->g, r->index, 0, r->experts, order.id, order.n);
    ValueId routed = graph_binary(b->g, OP_LE, graph_const(b->g, DTYPE_I32, 0), r->index);
    return graph_select(b->g, routed, slot, graph_const(b->g, DTYPE_I32, -1));
}

// r.prob, r.score, r.chosen [tokens, E]; r.load [E]; with `top K` r.index, r.weight, r.slot [tokens, K].
Val routing_field(Build *b, const Expr *e, const Routing *r)
{
    const char *field = e->text;
    Stats s;
    b->g->at = e->at;
    if (strcmp(field, "prob") == 0 && r->prob)
        return route_read(b, val_tensor(r->prob, false));
    if (strcmp(field, "score") == 0 && r->score)
        return route_read(b, val_tensor(r->score, false));
    if (strcmp(field, "chosen") == 0)
        return route_read(b, val_tensor(chosen_field(b, r), false));
    if (strcmp(field, "load") == 0 && make_stats(b, r, NULL, &s))
        return route_read(b, val_tensor(share(b, &s, false), false));
    if (strcmp(field, "index") == 0 && r->has_choice_axis)
        return val_tensor(r->index, false);
    if (strcmp(field, "weight") == 0 && r->has_choice_axis)
        return val_tensor(r->weight, false);
    if (strcmp(field, "slot") == 0 && r->has_choice_axis)
        return val_tensor(slot_field(b, r), false);
    if (report(b, e->at, "E0219", "a routing has no field `%s`", field))
        diag_help(b->diag, "there are prob, score, chosen and load, and with `top K` also index, weight and slot");
    return val_error();
}
