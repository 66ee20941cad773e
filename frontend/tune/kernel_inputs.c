// See kernel_trial.h: made-up inputs for one kernel.
#include "kernel_trial.h"

#include "rng.h"

#include <string.h>

typedef struct Bound {
    int64_t size;                           // the ints of a value must be below it; 0: nothing is known
    bool    is_some;                        // none of them may be negative: something is taken with it, and kernels trust arguments
} Bound;

static void set_bound(Bound *bound, ValueId v, int64_t size, bool is_some)
{
    if (size > 0 && (!bound[v].size || size < bound[v].size))
        bound[v].size = size;
    bound[v].is_some |= is_some;
}

// From what picks with an index back to the argument that it came from.
static Bound *find_bounds(Arena *arena, const Graph *g)
{
    Bound *bound = arena_array(arena, Bound, g->n_nodes);
    for (ValueId v = (ValueId)g->n_nodes - 1; v > 0; v--) {
        const Node *n = &g->node[v];
        if (n->op == OP_TAKE)
            set_bound(bound, n->in[1], graph_size(g, n->attr[0].axis), true);
        else if (n->op == OP_PUT_ADD)
            set_bound(bound, n->in[1], graph_size(g, n->attr[1].axis), false);
        else if (n->op == OP_PUT)
            set_bound(bound, n->in[1], graph_size(g, n->attr[0].axis), false);
        else if (n->op == OP_SLOT)
            set_bound(bound, n->in[0], graph_size(g, n->attr[0].axis), false);
        if (n->type.dtype == DTYPE_I32 && bound[v].size)
            for (int i = 0; i < n->n_in; i++)
                if (g->node[n->in[i]].type.dtype == DTYPE_I32)
                    set_bound(bound, n->in[i], bound[v].size, bound[v].is_some);
    }
    return bound;
}

double **trial_inputs(Arena *arena, const Graph *g)
{
    const Bound *bound = find_bounds(arena, g);
    double **numbers = arena_array(arena, double *, g->n_nodes);
    for (ValueId v = 1; v < g->n_nodes; v++) {
        const Node *n = &g->node[v];
        int64_t count = 0;
        if (n->op != OP_ARG || !type_count(g, &n->type, &count))
            continue;
        numbers[v] = arena_array(arena, double, (size_t)count + 1);
        const uint32_t key = rng_key(17, 0, v);
        for (int64_t i = 0; i < count; i++) {
            const double u = rng_uniform(key, (uint32_t)i);
            if (n->type.dtype != DTYPE_I32)
                numbers[v][i] = (double)(float)(2 * u - 1);
            else if (!bound[v].size)
                numbers[v][i] = u < 0.5 ? 0 : 1;
            else if (u < 0.03 && !bound[v].is_some)
                numbers[v][i] = -1;
            else
                numbers[v][i] = (double)((int64_t)(u * (double)(bound[v].size * 33)) % bound[v].size);
        }
    }
    return numbers;
}
