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
        return status_fail(e->why, STATUS_BAD_MODEL, "the evaluator was given no numbers for %s \"%s\"", op_row[n->op].text,
                           n->attr[0].name);
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

// A seed or step as 32 bits; numbers that no int can hold are taken for 0.
static uint32_t bits_of(double x)
{
    return x >= INT32_MIN && x <= UINT32_MAX ? (uint32_t)(int64_t)x : 0;
}

static Status eval_random(Eval *e, const Node *n, double *out, size_t n_out)
{
    double seed = e->value[n->in[0]][0], step = e->value[n->in[1]][0];
    uint32_t key = rng_key(bits_of(seed), bits_of(step), (uint32_t)n->attr[0].i);
    for (size_t i = 0; i < n_out; i++)
        out[i] = rng_uniform(key, (uint32_t)i);
    return STATUS_OK;
}

static EvalRule *const eval_rule[OP_COUNT] = {
#define OP(id, text, n_in, attrs, shape, eval, grad, lower, flags) [OP_##id] = eval_##eval,
#include "ops.def"
#undef OP
};

static bool *find_needed(const Graph *g, Arena *arena)
{
    bool *needed = arena_array(arena, bool, g->n_nodes);
    for (size_t i = 0; i < g->n_outputs; i++)
        needed[g->output[i].value] = true;
    for (size_t id = g->n_nodes; id-- > 1; )
        for (size_t i = 0; needed[id] && i < g->node[id].n_in; i++)
            needed[g->node[id].in[i]] = true;
    return needed;
}

Status graph_eval(const Graph *g, EvalLeaf *leaf, void *user, Arena *arena, EvalResult *out_result, StatusText *why)
{
    Eval e = {g, leaf, user, arena, why, arena_array(arena, double *, g->n_nodes)};
    const bool *needed = find_needed(g, arena);
    if (needed[0])
        return status_fail(why, STATUS_BAD_MODEL, "graph @%s: an output has no value", g->name);
    for (size_t id = 1; id < g->n_nodes; id++) {
        const Node *n = &g->node[id];
        int64_t count;
        if (!needed[id])
            continue;
        if (!type_count(g, &n->type, &count))
            return status_fail(why, STATUS_TOO_LARGE, "graph @%s: %%%zu has too many elements", g->name, id);
        e.value[id] = arena_array(arena, double, (size_t)count + !count);
        Status status = count ? eval_rule[n->op](&e, n, e.value[id], (size_t)count) : STATUS_OK;
        if (status != STATUS_OK)
            return status;
    }
    out_result->value = e.value;
    return STATUS_OK;
}
