// The users of every value, as one list cut by node (users.h).
#include "users.h"

Users users_of(Arena *arena, const Graph *g, const bool *live)
{
    Users u = {.first = arena_array(arena, size_t, g->n_nodes + 2)};
    for (size_t id = 1; id < g->n_nodes; id++)
        for (size_t k = 0; (!live || live[id]) && k < g->node[id].n_in; k++)
            u.first[g->node[id].in[k] + 2]++;
    for (size_t id = 2; id < g->n_nodes + 2; id++)
        u.first[id] += u.first[id - 1];
    u.user = arena_array(arena, ValueId, u.first[g->n_nodes + 1] + 1);
    for (size_t id = 1; id < g->n_nodes; id++)              // afterwards first[v + 1] is where v's users end
        for (size_t k = 0; (!live || live[id]) && k < g->node[id].n_in; k++)
            u.user[u.first[g->node[id].in[k] + 1]++] = (ValueId)id;
    u.is_output = arena_array(arena, bool, g->n_nodes);
    for (size_t i = 0; i < g->n_outputs; i++)
        u.is_output[g->output[i].value] = true;
    return u;
}
