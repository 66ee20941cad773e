// See independent.h.
//
// Each value is FREE (of inputs), ALONG (its element at i of the axis depends on inputs at i only) or MIXED. An op that leaves the
// axis alone keeps ALONG; one that sums, moves, orders or counts along it gives MIXED, as does one that drops it.
#include "independent.h"

enum { FREE, ALONG, MIXED };

static bool in_attr(const Attr *a, AxisId axis)
{
    if (a->kind == ATTR_AXIS)
        return a->axis == axis;
    for (size_t i = 0; a->kind == ATTR_AXES && i < a->axes.n; i++)
        if (a->axes.id[i] == axis)
            return true;
    return false;
}

static bool touches(const Node *n, AxisId axis)
{
    if (n->op == OP_EXPAND)                 // its attribute lists all axes of the result
        return false;
    for (size_t i = 0; i < n->n_attr; i++)
        if (in_attr(&n->attr[i], axis))
            return true;
    return false;
}

static int state_of(const Graph *g, const Node *n, AxisId axis, const uint8_t *state)
{
    int most = FREE;
    if (n->op == OP_ARG)
        return type_has(&n->type, axis) ? ALONG : FREE;
    for (size_t i = 0; i < n->n_in; i++)
        most = state[n->in[i]] > most ? state[n->in[i]] : most;
    if (most != ALONG)
        return most;
    for (size_t i = 0; i < n->n_in; i++)    // x[B = i]: reads other examples than its own
        if (state[n->in[i]] == ALONG && !type_has(&g->node[n->in[i]].type, axis))
            return MIXED;
    return touches(n, axis) || !type_has(&n->type, axis) ? MIXED : ALONG;
}

static void mark(const Graph *g, ValueId root, bool *live)
{
    live[root] = true;
    for (ValueId v = root + 1; v-- > 1;)
        for (size_t i = 0; live[v] && i < g->node[v].n_in; i++)
            live[g->node[v].in[i]] = true;
}

const Node *couples_examples(const Graph *g, AxisId axis, Arena *scratch)
{
    bool *live = arena_array(scratch, bool, g->n_nodes);
    uint8_t *state = arena_array(scratch, uint8_t, g->n_nodes);
    for (size_t i = 0; i < g->n_outputs; i++)
        if (g->output[i].role == OUTPUT_RESULT)
            mark(g, g->output[i].value, live);
    for (ValueId v = 1; v < g->n_nodes; v++) {
        if (!live[v])
            continue;
        state[v] = (uint8_t)state_of(g, &g->node[v], axis, state);
        if (state[v] == MIXED)
            return &g->node[v];
    }
    return NULL;
}
