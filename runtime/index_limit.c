// See index_limit.h. Follows the input through everything that hands its numbers on unchanged.
#include "index_limit.h"

#include <string.h>

static bool hands_on(const Node *n)
{
    return (op_row[n->op].flags & OP_FLAG_VIEW) || n->op == OP_EXPAND || n->op == OP_CAST || n->op == OP_STOP;
}

int64_t index_limit(const Graph *g, const char *arg, const char **out_axis)
{
    int64_t limit = INT64_MAX;
    Arena scratch = {0};
    bool *carries = arena_array(&scratch, bool, g->n_nodes);
    *out_axis = NULL;
    for (size_t i = 1; i < g->n_nodes; i++) {
        const Node *n = &g->node[i];
        if (n->op == OP_ARG)
            carries[i] = strcmp(n->attr[0].name, arg) == 0;
        else if (hands_on(n) || n->op == OP_TAKE)            // take hands on what it takes from
            carries[i] = carries[n->in[0]];
        ValueId index = n->op == OP_TAKE || n->op == OP_PUT_ADD ? n->in[1] : 0;
        AxisId axis = n->op == OP_TAKE ? n->attr[0].axis : n->op == OP_PUT_ADD ? n->attr[1].axis : 0;
        if (carries[index] && graph_size(g, axis) < limit) {
            limit = graph_size(g, axis);
            *out_axis = g->axis[axis].name;
        }
    }
    arena_free(&scratch);
    return limit;
}
