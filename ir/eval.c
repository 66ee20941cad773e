// The reference evaluator: marks what the outputs need, then runs one naive loop nest per op. See eval.h.
#include "eval.h"
#include "act_math.h"
#include "checked.h"
#include "eval_walk.h"
#include "rng.h"

#include <string.h>

int64_t type_stride(const Graph *g, const Type *type, AxisId axis)
{
    int p = type_find(type, axis);
    int64_t stride = p < 0 ? 0 : 1;
    for (int i = p + 1; p >= 0 && i < type->n_axes; i++)
        stride *= graph_size(g, type->axis[i]);
    return stride;
}

Walk walk_over(const Graph *g, const Type *type)
{
    Walk w = {.n_axes = type->n_axes};
    for (size_t i = 0; i < w.n_axes; i++) {
        w.axis[i] = type->axis[i];
        w.size[i] = graph_size(g, type->axis[i]);
    }
    return w;
}

void walk_follow(Walk *w, size_t k, const Graph *g, const Type *x)
{
    for (size_t i = 0; i < w->n_axes; i++)
        w->stride[k][i] = type_stride(g, x, w->axis[i]);
}

void walk_stride(Walk *w, size_t k, AxisId axis, int64_t stride)
{
    for (size_t i = 0; i < w->n_axes; i++)
        if (w->axis[i] == axis)
            w->stride[k][i] = stride;
}

void walk_flatten(Walk *w)
{
    size_t n = 0;                           // axes kept so far
    for (size_t i = 0; i < w->n_axes; i++) {
        if (w->size[i] == 1)
            continue;
        bool joins = n > 0;
        for (size_t k = 0; k < WALK_PLACES; k++)
            joins = joins && w->stride[k][n - 1] == w->stride[k][i] * w->size[i];
        size_t to = joins ? n - 1 : n++;
        w->size[to] = joins ? w->size[to] * w->size[i] : w->size[i];
        for (size_t k = 0; k < WALK_PLACES; k++)
            w->stride[k][to] = w->stride[k][i];
    }
    w->n_axes = n;
}

void walk_next(Walk *w)
{
    for (size_t i = w->n_axes; i-- > 0; ) {
        int64_t back = 0;
        if (++w->index[i] == w->size[i]) {
            w->index[i] = 0;
            back = w->size[i];
        }
        for (size_t k = 0; k < WALK_PLACES; k++)
            w->at[k] += (1 - back) * w->stride[k][i];
        if (!back)
            return;
    }
}

static Status eval_leaf(Eval *e, const Node *n, double *out, size_t n_out)
{
    const double *given = e->leaf ? e->leaf(e->user, e->g, n) : NULL;
    if (!given)
        return status_fail(e->why, STATUS_BAD_MODEL, "the evaluator was given no numbers for %s \"%s\"",
                           op_row[n->op].text, n->attr[0].name);
    memcpy(out, given, n_out * sizeof *out);
    return STATUS_OK;
}

static Status eval_const(Eval *e, const Node *n, double *out, size_t n_out)
{
    (void)e;
    for (size_t i = 0; i < n_out; i++)
        out[i] = n->attr[0].f;
    return STATUS_OK;
}

static Status eval_index(Eval *e, const Node *n, double *out, size_t n_out)
{
    (void)e, (void)n;
    for (size_t i = 0; i < n_out; i++)
        out[i] = (double)i;
    return STATUS_OK;
}

uint32_t eval_seed_bits(double x)
{
    return x >= INT32_MIN && x <= UINT32_MAX ? (uint32_t)(int64_t)x : 0;
}

static Status eval_random(Eval *e, const Node *n, double *out, size_t n_out)
{
    double seed = e->value[n->in[0]][0], step = e->value[n->in[1]][0];
    uint32_t key = rng_key(eval_seed_bits(seed), eval_seed_bits(step), (uint32_t)n->attr[0].i);
    for (size_t i = 0; i < n_out; i++)
        out[i] = rng_uniform(key, (uint32_t)i);
    return STATUS_OK;
}

static EvalRule *const eval_rule[OP_COUNT] = {
#define OP(id, text, n_in, attrs, shape, eval, grad, lower, flags) [OP_##id] = eval_##eval,
#include "ops.def"
#undef OP
};

// What the outputs need, and for how long: users that are still to come. An output has one more, and stays.
static uint32_t *count_uses(const Graph *g, Arena *arena)
{
    uint32_t *uses = arena_array(arena, uint32_t, g->n_nodes);
    for (size_t i = 0; i < g->n_outputs; i++)
        uses[g->output[i].value]++;
    for (size_t id = g->n_nodes; id-- > 1; )
        for (size_t i = 0; uses[id] && i < g->node[id].n_in; i++)
            uses[g->node[id].in[i]]++;
    return uses;
}

typedef struct Spare {                      // memory of a value that nobody needs any more
    double *data;
    size_t  capacity;
} Spare;

typedef struct Pool {
    Arena  *arena;
    Spare  *spare;
    size_t  n, spare_capacity;
    size_t *capacity;                       // [n_nodes]: of each value
} Pool;

// Zeroed memory for n numbers: the smallest spare piece that is large enough, but not far too large.
static double *pool_take(Pool *pool, size_t n, size_t *out_capacity)
{
    size_t best = pool->n;
    for (size_t i = 0; i < pool->n; i++)
        if (pool->spare[i].capacity >= n && pool->spare[i].capacity <= 4 * n + 64 &&
            (best == pool->n || pool->spare[i].capacity < pool->spare[best].capacity))
            best = i;
    if (best == pool->n) {
        *out_capacity = n + !n;
        return arena_array(pool->arena, double, n + !n);
    }
    Spare piece = pool->spare[best];
    pool->spare[best] = pool->spare[--pool->n];
    memset(piece.data, 0, n * sizeof *piece.data);
    *out_capacity = piece.capacity;
    return piece.data;
}

static void pool_give(Pool *pool, double *data, size_t capacity)
{
    pool->spare = arena_grow(pool->arena, pool->spare, pool->n, &pool->spare_capacity, sizeof *pool->spare);
    pool->spare[pool->n++] = (Spare){data, capacity};
}

static void release_operands(Eval *e, Pool *pool, uint32_t *uses, const Node *n)
{
    for (size_t i = 0; i < n->n_in; i++)
        if (--uses[n->in[i]] == 0) {
            pool_give(pool, e->value[n->in[i]], pool->capacity[n->in[i]]);
            e->value[n->in[i]] = NULL;
        }
}

static Status evaluate(const Graph *g, EvalLeaf *leaf, void *user, Arena *arena, bool keep_all, EvalResult *out_result,
                       StatusText *why)
{
    Eval e = {g, leaf, user, arena, why, arena_array(arena, double *, g->n_nodes)};
    Pool pool = {.arena = arena, .capacity = arena_array(arena, size_t, g->n_nodes)};
    uint32_t *uses = count_uses(g, arena);
    if (uses[0])
        return status_fail(why, STATUS_BAD_MODEL, "graph @%s: an output has no value", g->name);
    for (size_t id = 1; id < g->n_nodes; id++) {
        const Node *n = &g->node[id];
        int64_t count;
        if (!uses[id])
            continue;
        if (!type_count(g, &n->type, &count))
            return status_fail(why, STATUS_TOO_LARGE, "graph @%s: %%%zu has too many elements", g->name, id);
        e.value[id] = pool_take(&pool, (size_t)count, &pool.capacity[id]);
        Status status = count ? eval_rule[n->op](&e, n, e.value[id], (size_t)count) : STATUS_OK;
        if (status != STATUS_OK)
            return status;
        if (!keep_all)
            release_operands(&e, &pool, uses, n);
    }
    out_result->value = e.value;
    return STATUS_OK;
}

Status graph_eval(const Graph *g, EvalLeaf *leaf, void *user, Arena *arena, EvalResult *out_result, StatusText *why)
{
    return evaluate(g, leaf, user, arena, true, out_result, why);
}

Status graph_eval_outputs(const Graph *g, EvalLeaf *leaf, void *user, Arena *arena, EvalResult *out_result,
                          StatusText *why)
{
    return evaluate(g, leaf, user, arena, false, out_result, why);
}
