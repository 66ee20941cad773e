// See index_limit.h. Follows the input through everything that hands its numbers on unchanged.
#include "index_limit.h"

#include <string.h>

static bool hands_on(const Node *n)
{
    return (op_row[n->op].flags & OP_FLAG_VIEW) || n->op == OP_EXPAND || n->op == OP_CAST || n->op == OP_STOP;
}

// max(x, -1): a negative number means none.
static bool raises(const Graph *g, const Node *n)
{
    const Node *low = n->op == OP_MAX ? &g->node[n->in[1]] : NULL;
    return low && low->op == OP_CONST && low->attr[0].f < 0;
}

int64_t index_limit(const Graph *g, const char *arg, int64_t *out_least, const char **out_axis)
{
    enum { NOT, RAISED, AS_IT_IS };
    int64_t limit = INT64_MAX;
    Arena scratch = {0};
    uint8_t *carries = arena_array(&scratch, uint8_t, g->n_nodes);
    *out_axis = NULL;
    *out_least = INT64_MIN;
    for (size_t i = 1; i < g->n_nodes; i++) {
        const Node *n = &g->node[i];
        if (n->op == OP_ARG)
            carries[i] = strcmp(n->attr[0].name, arg) == 0 ? AS_IT_IS : NOT;
        else if (hands_on(n) || n->op == OP_TAKE)            // take hands on what it takes from
            carries[i] = carries[n->in[0]];
        else if (raises(g, n))
            carries[i] = carries[n->in[0]] ? RAISED : NOT;
        ValueId index = n->op == OP_TAKE || n->op == OP_PUT_ADD ? n->in[1] : 0;
        AxisId axis = n->op == OP_TAKE ? n->attr[0].axis : n->op == OP_PUT_ADD ? n->attr[1].axis : 0;
        if (carries[index] == AS_IT_IS)
            *out_least = 0;
        if (carries[index] && graph_size(g, axis) < limit) {
            limit = graph_size(g, axis);
            *out_axis = g->axis[axis].name;
        }
    }
    arena_free(&scratch);
    return limit;
}
