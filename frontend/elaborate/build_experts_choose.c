// `assign experts_choose`: each expert takes its best tokens (Zhou et al. 2022, equation 1), as many as its capacity. With a
// softmax the best are those of largest probability: a token's own sum over experts counts.
//
//   gates [B,T,E] --rank along the pool--> turn [B,T,E]; the tokens with turn < C stand at the expert's places
//   token_at [rest, E, C] --take--> t [rest, E, C, D] --body--> y [rest, E, C, ..] --put_add--> [tokens, ..]
//
// All shapes are static and every place is taken. The choice of a token depends on the whole pool, so this is causal along
// none of its axes.
#include "build_route.h"

// A value that holds axes of the pool, over the one axis that counts the pool's tokens in their place.
static ValueId over_pool(Build *b, const Routing *routing, ValueId v)
{
    const Type *type = &b->g->node[v].type;
    if (routing->pool.n == 1)
        return v;
    AxisList axes = routing->pool;          // all of them: what lacks one is the same along it
    for (size_t i = 0; i < type->n_axes; i++)
        axes_add(&axes, type->axis[i]);
    return graph_merge(b->g, spread(b, v, axes.id, axes.n), routing->pool.id, routing->pool.n, routing->pool_axis);
}

static ValueId back_from_pool(Build *b, const Routing *routing, ValueId v)
{
    return routing->pool.n == 1 ? v : graph_split(b->g, v, routing->pool_axis, routing->pool.id, routing->pool.n);
}

static ValueId put_back(Build *b, const Routing *routing, ValueId y)
{
    const AxisId over[] = {routing->experts, routing->choice};
    return back_from_pool(b, routing, graph_put_add(b->g, y, routing->token_at, over, 2, routing->pool_axis));
}

// Who stands at each place: the number of the token whose turn it is.
static ValueId tokens_by_turn(Build *b, const Routing *routing, ValueId score)
{
    Graph *g = b->g;
    ValueId pooled = over_pool(b, routing, score);
    ValueId turn = graph_rank(g, pooled, &routing->pool_axis, 1);
    ValueId number = spread(b, graph_cast(g, DTYPE_F32, graph_index(g, routing->pool_axis)), g->node[turn].type.axis,
                            g->node[turn].type.n_axes);
    ValueId rows = graph_const(g, DTYPE_I32, (double)axis_size(b, routing->choice));
    ValueId place = graph_select(g, graph_binary(g, OP_LT, turn, rows), turn, graph_const(g, DTYPE_I32, -1));
    return graph_cast(g, DTYPE_I32, graph_put_add(g, number, place, &routing->pool_axis, 1, routing->choice));
}

static bool set_pool(Build *b, const Route *r, Routing *routing, int64_t *out_rows)
{
    const ClauseTerm *t = clause_term(b, clause_of(r, CLAUSE_ASSIGN));
    AxisList of_capacity = {0};
    if (!route_pool(b, routing, t->over, &routing->pool) || !route_rows(b, r, routing, &of_capacity, out_rows))
        return false;
    if (*out_rows < 0) {
        if (report(b, t->at, "E0306", "experts that choose need a capacity: how many tokens does each take?"))
            diag_help(b->diag, "for example `capacity 1.25 over %s`", pool_text(b, &routing->pool));
        return false;
    }
    bool same = of_capacity.n == routing->pool.n;
    for (size_t i = 0; i < of_capacity.n; i++)
        same = same && axes_has(&routing->pool, of_capacity.id[i]);
    if (!t->over)
        routing->pool = of_capacity;
    else if (!same) {
        report(b, t->over->at, "E0306", "the experts choose over %s, but their capacity is counted over %s",
               pool_text(b, &routing->pool), pool_text(b, &of_capacity));
        return false;
    }
    return true;
}

static bool refuse(Build *b, const Route *r, ClauseKind kind, const char *word)
{
    const Clause *c = clause_of(r, kind);
    if (c)
        report(b, c->at, "E0306", "`%s` is about tokens that choose, and here the experts do", word);
    return !c;
}

// The gate of each place; the token's gates are normalised over the experts that chose it.
static ValueId weights(Build *b, const Routing *routing, const Gate *gate)
{
    Graph *g = b->g;
    ValueId taken = graph_binary(g, OP_LE, graph_const(g, DTYPE_I32, 0), routing->token_at);
    if (strcmp(gate->word, "one") == 0) {   // a score that is no number is passed on
        ValueId zero = graph_binary(g, OP_MUL, graph_unary(g, OP_STOP, routing->score), scalar(b, 0));
        zero = graph_take(g, over_pool(b, routing, zero), routing->token_at, routing->pool_axis);
        return graph_binary(g, OP_ADD, taken, zero);
    }
    ValueId all = route_all_weights(b, routing, gate);
    if (gate->norm != NORM_NONE) {          // divided before it is taken: a place that nobody took reads 0, and not 0/0
        ValueId sum = graph_reduce(g, RED_SUM, graph_binary(g, OP_MUL, all, routing->chosen_by), &routing->experts, 1);
        all = graph_binary(g, OP_DIV, all, graph_binary(g, OP_MAX, sum, scalar(b, 1.2e-7)));
    }
    return graph_take(g, over_pool(b, routing, all), routing->token_at, routing->pool_axis);
}

bool experts_choose(Build *b, const Route *r, const Gate *gate, Routing *routing)
{
    Graph *g = b->g;
    int64_t rows;
    routing->by_expert = true;
    if (!refuse(b, r, CLAUSE_PRIORITY, "priority") || !refuse(b, r, CLAUSE_OVERFLOW, "overflow") ||
        !refuse(b, r, CLAUSE_SAMPLE, "sample") || !set_pool(b, r, routing, &rows))
        return false;
    const int64_t n = axes_count(b, &routing->pool);
    rows = rows < n ? rows : n;             // an expert takes a token once
    routing->info.rows = rows;
    routing->pool_axis = routing->pool.n == 1 ? routing->pool.id[0] : axis_make(b, "pool", AXIS_FEATURE, n, r->at);
    routing->choice = axis_make(b, "place", AXIS_FEATURE, rows, r->at);
    routing->has_choice_axis = false;
    const bool by_prob = strcmp(gate->word, "softmax") == 0;    // sigmoid keeps the order of the scores
    ValueId score = graph_unary(g, OP_STOP, by_prob ? routing->prob : routing->score), open = routing->open;
    if (routing->where) {
        ValueId routed = graph_binary(g, OP_NE, routing->where, scalar(b, 0));
        open = open ? graph_binary(g, OP_MUL, open, routed) : routed;
    }
    if (open) {
        const Type *type = &g->node[score].type;
        open = spread(b, open, type->axis, type->n_axes);
        score = graph_select(g, open, score, scalar(b, -1e30));
    }
    routing->token_at = tokens_by_turn(b, routing, score);
    if (open) {                             // fewer tokens than places
        ValueId is_open = graph_take(g, over_pool(b, routing, open), routing->token_at, routing->pool_axis);
        routing->token_at = graph_select(g, is_open, routing->token_at, graph_const(g, DTYPE_I32, -1));
    }
    const Type *places = &g->node[routing->token_at].type;
    ValueId one = graph_expand(g, scalar(b, 1), places->axis, places->n_axes);
    one = graph_put_add(g, one, routing->token_at, &routing->choice, 1, routing->pool_axis);
    routing->chosen_by = back_from_pool(b, routing, one);
    routing->weight = weights(b, routing, gate);
    return true;
}

Val experts_read(Build *b, const Routing *routing, Val v)
{
    bool in_pool = false;
    for (size_t i = 0; i < routing->pool.n; i++)
        in_pool |= type_has(&b->g->node[v.id].type, routing->pool.id[i]);
    if (!in_pool)
        return v;                           // with E or without: the body holds E
    return val_tensor(graph_take(b->g, over_pool(b, routing, v.id), routing->token_at, routing->pool_axis), false);
}

Val experts_combine(Build *b, const Routing *routing, ValueId y)
{
    AxisList axes = {0};
    const Type *type = &b->g->node[y].type, *places = &b->g->node[routing->token_at].type;
    for (size_t i = 0; i < places->n_axes; i++)
        axes_add(&axes, places->axis[i]);
    for (size_t i = 0; i < type->n_axes; i++)
        axes_add(&axes, type->axis[i]);
    return val_tensor(put_back(b, routing, spread(b, y, axes.id, axes.n)), false);
}
