// Who gets a place at an expert, and what a choice weighs.
//
//   chosen [B,T,K] --slot < rows--> kept [B,T,K] --> index [B,T,K], -1: dropped
//   weight = gate at the choice, normalised as asked for, 0 where the choice is given up or dropped
#include "build_route.h"

#include "drop_rate.h"

#include <math.h>

// ---- gates ----

bool route_gate(Build *b, const Route *r, Gate *out)
{
    const Clause *c = clause_of(r, CLAUSE_GATE);
    *out = (Gate){c ? clause_word(c->value) : "softmax", NORM_NONE};
    if (strcmp(out->word, "softmax") && strcmp(out->word, "sigmoid") && strcmp(out->word, "one"))
        return clause_unknown(b, c->value->at, "gate", out->word, "softmax, sigmoid and one");
    const Arg *norm = c && c->value->kind == EXPR_CALL ? call_named(c->value, "norm") : NULL;
    if (!norm)
        return true;
    const char *word = clause_word(norm->value);
    out->norm = strcmp(word, "chosen") == 0 ? NORM_CHOSEN : strcmp(word, "kept") == 0 ? NORM_KEPT : NORM_NONE;
    return out->norm != NORM_NONE || clause_unknown(b, norm->at, "norm", word, "chosen and kept");
}

ValueId route_all_weights(Build *b, const Routing *routing, const Gate *gate)
{
    return strcmp(gate->word, "sigmoid") == 0 ? graph_map(b->g, ACT_SIGMOID, routing->score) : routing->prob;
}

static ValueId times(Build *b, ValueId x, ValueId mask)
{
    return mask ? graph_binary(b->g, OP_MUL, x, mask) : x;
}

static ValueId plain_weights(Build *b, const Routing *routing)
{
    Graph *g = b->g;
    ValueId routed = graph_binary(g, OP_LE, graph_const(g, DTYPE_I32, 0), routing->picked);
    if (!routing->score)
        return routed;
    // A score that is no number is passed on: weights of 1 would hide it.
    ValueId score = graph_take(g, graph_unary(g, OP_STOP, routing->score), routing->picked, routing->experts);
    return graph_binary(g, OP_ADD, routed, graph_binary(g, OP_MUL, score, scalar(b, 0)));
}

// The weight of each choice; of one that is given up or dropped 0, unless it passes its token through.
ValueId route_weights(Build *b, const Routing *routing, const Gate *gate)
{
    Graph *g = b->g;
    ValueId kept = routing->passes || routing->fails ? 0 : routing->kept, w;
    if (strcmp(gate->word, "one") == 0 || !routing->score)
        w = plain_weights(b, routing);
    else
        w = graph_take(g, route_all_weights(b, routing, gate), routing->picked, routing->experts);
    if (routing->blemish)
        w = graph_binary(g, OP_ADD, w, routing->blemish);
    if (gate->norm == NORM_KEPT)
        w = times(b, times(b, w, routing->used), routing->kept);
    if (gate->norm != NORM_NONE && routing->choice) {
        ValueId sum = graph_reduce(g, RED_SUM, w, &routing->choice, 1);
        w = graph_binary(g, OP_DIV, w, graph_binary(g, OP_MAX, sum, scalar(b, 1.2e-7)));
    }
    w = times(b, times(b, w, routing->used), kept);
    // `overflow error`: what found no place weighs "not a number", which shows in every result it reaches.
    return routing->fails && routing->kept ? graph_select(g, routing->kept, w, scalar(b, NAN)) : w;
}

// ---- places ----

// floor(F*k*n/E), or the number in rows(..).
static bool count_rows(Build *b, const ClauseTerm *t, Routing *routing, const AxisList *pool, int64_t *out)
{
    Number rows;
    const Expr *e = t->value;
    const bool exact = strcmp(clause_word(e), "rows") == 0 && e->kind == EXPR_CALL && call_arg(e, 0);
    if (!value_of_number(b, exact ? call_arg(e, 0)->value : e, &rows))
        return false;
    routing->info.factor = exact ? NAN : rows.value;
    if (!exact) {
        rows = number_binary(BINARY_MUL, rows, number_of(routing->n_choices));
        for (size_t i = 0; i < pool->n; i++)
            rows = number_binary(BINARY_MUL, rows, number_of(axis_size(b, pool->id[i])));
        rows = number_floor(number_binary(BINARY_DIV, rows, number_of(axis_size(b, routing->experts))));
    }
    if (!number_whole(rows, out) || *out < 0) {
        report(b, e->at, "E0306", "a capacity is a whole number of rows, not %s", number_text(b->arena, rows));
        return false;
    }
    return true;
}

// What the capacity came to, and what the largest pool would give.
static void report_no_rows(Build *b, const ClauseTerm *t, const Routing *routing, const AxisList *pool)
{
    const double factor = routing->info.factor, k = (double)routing->n_choices, experts = (double)axis_size(b, routing->experts);
    if (!report(b, t->value->at, "E0301", "every expert would get capacity 0, so all tokens are dropped"))
        return;
    const int64_t n = axes_count(b, pool), all = axes_count(b, &routing->token);
    if (isfinite(factor)) {
        diag_label(b->diag, t->value->at, "floor(%g * %g * %lld / %g) = 0", factor, k, (long long)n, experts);
        diag_note(b->diag, "the capacity is counted over %s, %lld token%s; all of %s together give %lld", pool_text(b, pool), (long long)n,
                  n == 1 ? "" : "s", pool_text(b, &routing->token), (long long)floor(factor * k * (double)all / experts));
    }
    diag_help(b->diag, "pool more tokens (`over B*T`), use fewer experts, or `dropless`");
}

bool route_rows(Build *b, const Route *r, Routing *routing, AxisList *out_pool, int64_t *out)
{
    const ClauseTerm *t = clause_term(b, clause_of(r, CLAUSE_CAPACITY));
    *out = -1;
    if (!t || t->dropless || (b->mode == MODE_GENERATE && !routing->by_expert))
        return true;
    if (!route_pool(b, routing, t->over, out_pool) || !count_rows(b, t, routing, out_pool, out))
        return false;
    if (*out == 0 && b->at_low)             // at the lowest bound of a range, one token, that is no mistake of the model
        *out = 1;
    if (*out == 0 && axes_count(b, out_pool) > 0) {
        report_no_rows(b, t, routing, out_pool);
        return false;
    }
    return true;
}

// 1 where a choice has a place, 0 where it is dropped. Counters run on past the capacity: nobody moves up.
static ValueId keep_of(Build *b, const Route *r, Routing *routing, ValueId index, const AxisList *pool, int64_t rows)
{
    Graph *g = b->g;
    const Clause *c = clause_of(r, CLAUSE_PRIORITY);
    const char *word = c ? c->name->text : "token";
    bool by_token = strcmp(word, "token") == 0, by_score = strcmp(word, "score") == 0;
    if (!by_token && !by_score && strcmp(word, "choice") != 0) {
        clause_unknown(b, c->at, "priority", word, "token, choice and score");
        return 0;
    }
    if (by_score && !routing->prob) {
        report(b, c->at, "E0306", "`priority score` needs scores, and these are numbers of experts");
        return 0;
    }
    AxisList order = {0};
    if (!by_token && routing->choice)
        axes_add(&order, routing->choice);
    for (size_t i = 0; i < pool->n; i++)
        axes_add(&order, pool->id[i]);
    if (routing->choice)
        axes_add(&order, routing->choice);
    ValueId turn = 0;
    if (by_score) {
        ValueId best = graph_reduce(g, RED_MAX, graph_unary(g, OP_STOP, routing->prob), &routing->experts, 1);
        turn = graph_rank(g, best, pool->id, pool->n);
    }
    routing->slot = graph_slot(g, index, turn, routing->experts, order.id, order.n);
    return graph_binary(g, OP_LT, routing->slot, graph_const(g, DTYPE_I32, (double)rows));
}

static bool read_overflow(Build *b, const Route *r, Routing *routing)
{
    const Clause *c = clause_of(r, CLAUSE_OVERFLOW);
    const char *word = c ? c->name->text : "skip";
    routing->passes = strcmp(word, "pass") == 0;
    routing->fails = strcmp(word, "error") == 0;
    if (routing->passes || routing->fails || strcmp(word, "skip") == 0)
        return true;
    return clause_unknown(b, c->at, "overflow", word, "skip, pass and error");
}

// A warning where many choices will be dropped even if all experts are chosen alike.
static void warn_drops(Build *b, const Route *r, const Routing *routing, const AxisList *pool, int64_t rows)
{
    const Clause *c = clause_of(r, CLAUSE_CAPACITY);
    const int64_t n = axes_count(b, pool), experts = axis_size(b, routing->experts);
    const double rate = drop_rate(n, experts, routing->n_choices, rows);
    if (b->mode != MODE_TRAIN || b->at_low || n < 2 || !routing->score || !(rate > 0.1) || !c)
        return;
    if (report_warning(b, c->at, "W0303", "about %.0f %% of the choices will be dropped, even if all experts are chosen equally often",
                       100 * rate)) {
        diag_note(b->diag, "%lld tokens make %lld choices of %lld experts with %lld places each", (long long)n,
                  (long long)(n * routing->n_choices), (long long)experts, (long long)rows);
        diag_help(b->diag, "a larger capacity, a larger pool, or `dropless`: `mixc plan` shows what each would drop");
    }
}

bool route_limit(Build *b, const Route *r, Routing *routing, ValueId *index)
{
    AxisList pool = routing->token;
    int64_t rows;
    if (!read_overflow(b, r, routing) || !route_rows(b, r, routing, &pool, &rows))
        return false;
    routing->pool = pool;
    routing->info.rows = rows;
    if (rows < 0)
        return true;
    warn_drops(b, r, routing, &pool, rows);
    routing->kept = keep_of(b, r, routing, *index, &pool, rows);
    if (!routing->kept)
        return false;
    *index = graph_select(b->g, routing->kept, *index, graph_const(b->g, DTYPE_I32, -1));
    return true;
}
