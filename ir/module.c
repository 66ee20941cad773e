// See module.h.
#include "module.h"

#include <string.h>

Module *module_make(Arena *arena, Diag *diag)
{
    Module *m = arena_new(arena, Module);
    m->arena = arena;
    m->diag = diag;
    return m;
}

void module_add_graph(Module *m, Graph *g)
{
    for (size_t i = 0; i < m->n_graphs; i++)
        if (strcmp(m->graph[i]->name, g->name) == 0) {
            m->graph[i] = g;
            return;
        }
    m->graph = arena_grow(m->arena, m->graph, m->n_graphs, &m->graph_capacity, sizeof *m->graph);
    m->graph[m->n_graphs++] = g;
}

Graph *module_graph(const Module *m, const char *name)
{
    for (size_t i = 0; i < m->n_graphs; i++)
        if (strcmp(m->graph[i]->name, name) == 0)
            return m->graph[i];
    return NULL;
}

bool param_count(const Graph *g, const Param *p, int64_t *out_count)
{
    int64_t all;
    if (!type_count(g, &p->type, &all))
        return false;
    int64_t n = p->lower_row ? graph_size(g, p->lower_row) : 0;
    *out_count = n ? all / (n * n) * (n * (n + 1) / 2) : all;
    return true;
}
