// How scores become choices: noise, the k best, drawn or given-up choices, even assignments.
//
//   scores [B,T,E] --noise--> score --assign--> picked [B,T,K] --sample--> chosen [B,T,K], -1: given up
#include "build_route.h"

// ---- noise ----

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

// x * (1 + e * (2u - 1)): the factor is even in 1-e .. 1+e (Fedus et al. 2021, appendix F, on the scores).
static ValueId jittered(Build *b, const char *key, ValueId score, double width)
{
    Graph *g = b->g;
    Type type = g->node[score].type;
    ValueId u = graph_binary(g, OP_MUL, random_uniform(b, step_value(b), key, &type), scalar(b, 2 * width));
    return graph_binary(g, OP_MUL, score, graph_binary(g, OP_ADD, u, scalar(b, 1 - width)));
}

// Expert dropout: an expert is left out of a token's choice with probability p (Csordas et al. 2023, section 5.1).
static bool leave_out(Build *b, const Clause *c, const char *key, Routing *routing)
{
    double p;
    if (!clause_number(b, c->value, -1, &p))
        return false;
    if (p < 0 || p >= 1) {
        report(b, c->value->at, "E0306", "experts are left out with a probability from 0 up to 1");
        return false;
    }
    Type type = b->g->node[routing->score].type;
    ValueId u = random_uniform(b, step_value(b), key, &type);
    ValueId open = graph_binary(b->g, OP_LE, scalar(b, p), u);
    routing->open = routing->open ? graph_binary(b->g, OP_MUL, routing->open, open) : open;
    return true;
}

static bool one_noise(Build *b, const Route *r, const Clause *c, size_t number, Routing *routing)
{
    Graph *g = b->g;
    const char *word = clause_word(c->value);
    const char *key = route_stream(b, r, number ? arena_printf(b->arena, "noise.%zu", number + 1) : "noise");
    Type type = g->node[routing->score].type;
    if (strcmp(word, "gumbel") == 0) {
        routing->score = graph_binary(g, OP_ADD, routing->score, gumbel(b, key, &type));
        return true;
    }
    const Arg *arg = c->value->kind == EXPR_CALL ? call_arg(c->value, 0) : NULL;
    bool is_gaussian = strcmp(word, "gaussian") == 0, is_learned = strcmp(word, "learned") == 0;
    if (arg && strcmp(word, "drop") == 0)
        return leave_out(b, c, key, routing);
    if (arg && strcmp(word, "jitter") == 0) {
        double width;
        if (!clause_number(b, c->value, 0, &width))
            return false;
        routing->score = jittered(b, key, routing->score, width);
        return true;
    }
    if (!arg || (!is_gaussian && !is_learned))
        return clause_unknown(b, c->value->at, "noise", word, "gaussian(s), learned(s), gumbel, jitter(e) and drop(p)");
    Val width = to_float(b, value_of_tensor(b, arg->value));
    if (width.kind != VAL_TENSOR)
        return false;
    if (!fits_elementwise(b, arg->value, val_tensor(routing->score, false), width))
        return false;
    if (is_learned)                         // Shazeer et al. 2017, equation 4
        width.id = graph_map(g, ACT_SOFTPLUS, width.id);
    routing->score = graph_binary(g, OP_ADD, routing->score, graph_binary(g, OP_MUL, gaussian(b, key, &type), width.id));
    return true;
}

bool route_noise(Build *b, const Route *r, Routing *routing)
{
    size_t number = 0;
    if (b->mode != MODE_TRAIN || b->noise_off)
        return true;
    for (const Clause *c = r->clauses; c; c = c->next)
        if (c->kind == CLAUSE_NOISE && clause_acts(b, c) && !one_noise(b, r, c, number++, routing))
            return false;
    return true;
}

// The scores by which experts are chosen: no gradient; an expert that is left out is out of reach.
static ValueId choice_score(Build *b, const Routing *routing)
{
    ValueId score = graph_unary(b->g, OP_STOP, routing->score);
    return routing->open ? graph_select(b->g, routing->open, score, scalar(b, -1e30)) : score;
}

// ---- the k best ----

// `noise=0` turns off what is drawn; `above(w)` draws nothing.
static const Clause *acting_sample(const Build *b, const Route *r)
{
    for (const Clause *c = r->clauses; c; c = c->next)
        if (c->kind == CLAUSE_SAMPLE && clause_acts(b, c) && (!b->noise_off || strcmp(clause_word(c->value), "above") == 0))
            return c;
    return NULL;
}

// How many of the last choices are drawn; false after an error.
static bool count_drawn(Build *b, const Route *r, int64_t n_choices, int64_t *out)
{
    const Clause *c = acting_sample(b, r);
    Number n;
    *out = 0;
    if (!c || c->value->kind == EXPR_CALL)
        return true;
    if (value_of_number(b, c->value, &n) && number_whole(n, out) && *out >= 0 && *out <= n_choices)
        return true;
    report(b, c->at, "E0306", "`sample` draws some of the %lld choices", (long long)n_choices);
    return false;
}

// The k best; with `sample m` the last m of them are drawn from the softmax, without those chosen before.
static ValueId choose_best(Build *b, const Route *r, const Routing *routing, ValueId score)
{
    Graph *g = b->g;
    int64_t drawn, n_choices = routing->n_choices;
    if (!count_drawn(b, r, n_choices, &drawn))
        return 0;
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
    rest = graph_binary(g, OP_ADD, rest, gumbel(b, route_stream(b, r, "sample"), &type));
    ValueId others = graph_pad(g, graph_topk(g, rest, routing->experts, last), last, n_choices - drawn, routing->choice);
    return picked ? graph_binary(g, OP_ADD, graph_pad(g, picked, first, 0, routing->choice), others) : others;
}

// 1 where a token is routed at all; 0: all are.
static ValueId is_routed(Build *b, const Routing *routing)
{
    return routing->where ? graph_binary(b->g, OP_NE, routing->where, scalar(b, 0)) : 0;
}

// A token that is not routed takes any place: what it holds must not decide where the others go.
static ValueId balanced(Build *b, const Routing *routing, ValueId score, const AxisList *pool)
{
    Graph *g = b->g;
    ValueId routed = is_routed(b, routing);
    if (routed)
        score = graph_select(g, spread(b, routed, g->node[score].type.axis, g->node[score].type.n_axes), score, scalar(b, 0));
    ValueId expert = graph_assign(g, score, routing->experts, pool->id, pool->n);
    Type type = g->node[expert].type;
    type.axis[type.n_axes++] = routing->choice;
    return graph_expand(g, expert, type.axis, type.n_axes);
}

// exp(score) scaled by rows and columns in turn until both sum to one load (Sinkhorn and Knopp 1967; for experts Clark et al.
// 2022). A row's own factor does not change which experts are its best, so only the columns' factors are wanted in the end:
//   r[t] = 1 / sum over e of m[t,e] c[e],  c[e] = n/E / sum over t of m[t,e] r[t];  chosen: the best of score + log c
static ValueId sinkhorn(Build *b, const ClauseTerm *t, const Routing *routing, ValueId score, const AxisList *pool)
{
    Graph *g = b->g;
    double rounds;
    AxisId experts = routing->experts;
    if (!clause_number(b, t->value, 8, &rounds))
        return 0;
    if (rounds < 1 || rounds > 100 || rounds != (double)(int)rounds) {
        report(b, t->value->at, "E0306", "sinkhorn takes a number of rounds from 1 to 100");
        return 0;
    }
    ValueId max = graph_reduce(g, RED_MAX, score, &experts, 1);
    ValueId m = graph_map(g, ACT_EXP, graph_binary(g, OP_SUB, score, max)), columns = 0, tiny = scalar(b, 1e-30);
    double share = (double)axes_count(b, pool) / (double)axis_size(b, experts);
    ValueId routed = is_routed(b, routing);
    if (routed)                             // tokens that are not routed load no expert
        m = graph_binary(g, OP_MUL, m, routed);
    for (int i = 0; i < (int)rounds; i++) {
        ValueId sum = columns ? graph_contract(g, m, columns, &experts, 1) : graph_reduce(g, RED_SUM, m, &experts, 1);
        ValueId rows = graph_binary(g, OP_DIV, scalar(b, 1), graph_binary(g, OP_MAX, sum, tiny));
        columns = graph_contract(g, m, rows, pool->id, pool->n);
        columns = graph_binary(g, OP_DIV, scalar(b, share), graph_binary(g, OP_MAX, columns, tiny));
    }
    return graph_binary(g, OP_ADD, score, graph_map(g, ACT_LOG, columns));
}

ValueId route_choices(Build *b, const Route *r, Routing *routing)
{
    const ClauseTerm *t = clause_term(b, clause_of(r, CLAUSE_ASSIGN));
    const char *word = t ? clause_word(t->value) : "greedy";
    AxisList pool;
    ValueId score = choice_score(b, routing), index = 0;
    if (strcmp(word, "greedy") == 0) {
        index = choose_best(b, r, routing, score);
    } else if (strcmp(word, "sinkhorn") == 0) {
        score = route_pool(b, routing, t->over, &pool) ? sinkhorn(b, t, routing, score, &pool) : 0;
        index = score ? choose_best(b, r, routing, score) : 0;
    } else if (strcmp(word, "balanced") != 0) {
        clause_unknown(b, t->at, "way to assign", word, "greedy, balanced, sinkhorn and experts_choose");
    } else if (routing->n_choices != 1) {
        report(b, t->at, "E0306", "a balanced assignment gives one expert to each, not %lld", (long long)routing->n_choices);
    } else if (route_pool(b, routing, t->over, &pool)) {
        index = balanced(b, routing, score, &pool);
    }
    if (strcmp(word, "greedy") != 0) {      // who is chosen need not be the one whose score is no number: all of them count
        ValueId zero = graph_binary(b->g, OP_MUL, graph_unary(b->g, OP_STOP, routing->score), scalar(b, 0));
        routing->blemish = graph_reduce(b->g, RED_SUM, zero, &routing->experts, 1);
    }
    if (!index || !routing->open)
        return index;
    // Fewer experts are open than choices were asked for: the last ones are none.
    ValueId is_open = graph_take(b->g, routing->open, index, routing->experts);
    return graph_select(b->g, is_open, index, graph_const(b->g, DTYPE_I32, -1));
}

// ---- choices that are given up ----

// `sample proportional(f)`: a choice after the first is used with probability f times its weight (f = 2: GShard's second
// choice, Lepikhin et al. 2020, algorithm 1); `sample above(w)`: where its weight is above w.
bool route_give_up(Build *b, const Route *r, const Gate *gate, Routing *routing)
{
    const Clause *c = acting_sample(b, r);
    Graph *g = b->g;
    double x;
    if (!c || c->value->kind != EXPR_CALL || !routing->choice)
        return true;
    const char *word = clause_word(c->value);
    bool proportional = strcmp(word, "proportional") == 0;
    if ((!proportional && strcmp(word, "above") != 0) || !call_arg(c->value, 0))
        return clause_unknown(b, c->value->at, "way to use later choices", word, "a number of drawn ones, proportional(f) and above(w)");
    if (!clause_number(b, c->value, 0, &x))
        return false;
    Routing plain = *routing;               // weights as if every choice were used
    plain.kept = plain.used = 0;
    Gate by = {gate->word, gate->norm == NORM_CHOSEN ? NORM_CHOSEN : NORM_NONE};
    ValueId weight = graph_unary(g, OP_STOP, route_weights(b, &plain, &by)), used;
    if (proportional) {
        Type type = g->node[weight].type;
        ValueId u = random_uniform(b, step_value(b), route_stream(b, r, "use"), &type);
        used = graph_binary(g, OP_LT, u, graph_binary(g, OP_MUL, weight, scalar(b, x)));
    } else {
        used = graph_binary(g, OP_LT, scalar(b, x), weight);
    }
    ValueId is_first = graph_binary(g, OP_EQ, graph_index(g, routing->choice), graph_const(g, DTYPE_I32, 0));
    routing->used = graph_binary(g, OP_MAX, used, is_first);
    return true;
}
