// Copying a graph while replacing parts of it. See rewrite.h.
#include "rewrite.h"

#include <assert.h>
#include <string.h>

Arena scratch_arena(const Arena *arena)
{
    Arena scratch;
    arena_init(&scratch);
    scratch.out_of_memory = arena->out_of_memory;
    scratch.user = arena->user;
    return scratch;
}

void graph_mark_live(const Graph *g, bool *live)
{
    for (size_t i = 0; i < g->n_outputs; i++)
        live[g->output[i].value] = true;
    for (size_t id = g->n_nodes; id-- > 1;) {
        if (!live[id])
            continue;
        const Node *n = &g->node[id];
        for (size_t i = 0; i < n->n_in; i++)
            live[n->in[i]] = true;
    }
    if (g->n_nodes > 0)
        live[0] = false;
}

// Text that outlives the arena of the old graph.
static const char *keep_text(Arena *arena, const char *text)
{
    return text ? arena_strdup(arena, text) : NULL;
}

static Attr keep_attr(Arena *arena, const Attr *attr)
{
    Attr copy = *attr;
    if (attr->kind == ATTR_NAME) {
        copy.name = keep_text(arena, attr->name);
    } else if (attr->kind == ATTR_AXES) {
        copy.axes.id = arena_array(arena, AxisId, attr->axes.n);
        if (attr->axes.n)
            memcpy(copy.axes.id, attr->axes.id, attr->axes.n * sizeof *copy.axes.id);
    }
    return copy;
}

// Appends a node as it stands, with these operands. No shape rule runs: the type is the old one.
static ValueId append(Graph *g, const Node *node, const ValueId *in, bool same_arena)
{
    g->node = arena_grow(g->arena, g->node, g->n_nodes, &g->node_capacity, sizeof *g->node);
    Node *n = &g->node[g->n_nodes];
    *n = *node;
    n->in = arena_array(g->arena, ValueId, node->n_in);
    if (node->n_in)
        memcpy(n->in, in, node->n_in * sizeof *n->in);
    if (!same_arena) {
        n->attr = arena_array(g->arena, Attr, node->n_attr);
        for (size_t i = 0; i < node->n_attr; i++)
            n->attr[i] = keep_attr(g->arena, &node->attr[i]);
        n->hint = keep_text(g->arena, node->hint);
        n->layer = keep_text(g->arena, node->layer);
    }
    return (ValueId)g->n_nodes++;
}

// A graph with the axes and kernels of `in` and nothing else.
static Graph *empty_like(Arena *arena, const Graph *in, const char *name)
{
    Graph *g = graph_make(arena, in->diag, keep_text(arena, name));
    assert(g->n_axes == 1 && "a fresh graph holds the error axis only");
    g->node_capacity = in->n_nodes + in->n_nodes / 8 + 8;       // about as many again
    g->node = arena_array(arena, Node, g->node_capacity);
    for (size_t i = 1; i < in->n_axes; i++) {
        const Axis *a = &in->axis[i];
        AxisId id = graph_axis(g, a->name, a->kind, a->size, a->twin_of);
        assert(id == i && "names are unique, so axes keep their ids");
        (void)id;
    }
    for (size_t i = 1; i < in->n_kernels; i++)
        graph_add_kernel(g, in->kernel[i]);
    return g;
}

Rewrite rewrite_begin(Arena *arena, Arena *scratch, const Graph *in)
{
    Rewrite rw = {.in = in, .arena = arena, .scratch = scratch};
    rw.out = empty_like(arena, in, in->name);
    rw.map = arena_array(scratch, ValueId, in->n_nodes);
    rw.live = arena_array(scratch, bool, in->n_nodes);
    graph_mark_live(in, rw.live);
    return rw;
}

void rewrite_at(Rewrite *rw, ValueId old)
{
    rw->out->at = rw->in->node[old].at;
    rw->out->layer = rw->in->node[old].layer;
}

ValueId rewrite_copy_with(Rewrite *rw, ValueId old, const ValueId *in)
{
    return rw->map[old] = append(rw->out, &rw->in->node[old], in, rw->in->arena == rw->out->arena);
}

const ValueId *rewrite_operands(const Rewrite *rw, ValueId old)
{
    const Node *n = &rw->in->node[old];
    ValueId *in = arena_array(rw->scratch, ValueId, n->n_in);
    for (size_t i = 0; i < n->n_in; i++)
        in[i] = rw->map[n->in[i]];
    return in;
}

ValueId rewrite_copy(Rewrite *rw, ValueId old)
{
    const Node *n = &rw->in->node[old];
    ValueId few[8], *in = n->n_in <= 8 ? few : arena_array(rw->scratch, ValueId, n->n_in);
    for (size_t i = 0; i < n->n_in; i++) {
        in[i] = rw->map[n->in[i]];
        assert(in[i] && "operands are mapped before their users");
    }
    return rewrite_copy_with(rw, old, in);
}

ValueId rewrite_replace(Rewrite *rw, ValueId old, ValueId value)
{
    Node *n = &rw->out->node[value];
    if (value && !n->hint)
        n->hint = rw->in->arena == rw->out->arena ? rw->in->node[old].hint
                                                  : keep_text(rw->arena, rw->in->node[old].hint);
    return rw->map[old] = value;
}

Graph *rewrite_end(Rewrite *rw)
{
    for (size_t i = 0; i < rw->in->n_outputs; i++) {
        const Output *o = &rw->in->output[i];
        const Type *was = &rw->in->node[o->value].type;
        ValueId value = rw->map[o->value];
        if (!type_equal(was, &rw->out->node[value].type)) {         // the host sees an output's order of axes
            rewrite_at(rw, o->value);
            value = graph_expand(rw->out, value, was->axis, was->n_axes);
        }
        graph_output(rw->out, o->role, keep_text(rw->arena, o->name), value);
    }
    rw->out->at = (Span){0};
    rw->out->layer = NULL;
    graph_sweep(rw->out);
    return rw->out;
}

Graph *graph_copy(Arena *arena, const Graph *in, const char *name, bool with_outputs)
{
    Graph *g = empty_like(arena, in, name);
    for (size_t id = 1; id < in->n_nodes; id++)
        append(g, &in->node[id], in->node[id].in, in->arena == arena);
    for (size_t i = 0; with_outputs && i < in->n_outputs; i++)
        graph_output(g, in->output[i].role, keep_text(arena, in->output[i].name), in->output[i].value);
    return g;
}

void graph_sweep(Graph *g)
{
    Arena scratch = scratch_arena(g->arena);
    bool *live = arena_array(&scratch, bool, g->n_nodes);
    ValueId *map = arena_array(&scratch, ValueId, g->n_nodes);
    size_t n = 1;
    graph_mark_live(g, live);
    for (size_t id = 1; id < g->n_nodes; id++) {
        if (!live[id])
            continue;
        Node *node = &g->node[n];
        if (n != id)
            *node = g->node[id];
        for (size_t i = 0; i < node->n_in; i++)
            node->in[i] = map[node->in[i]];
        map[id] = (ValueId)n++;
    }
    g->n_nodes = n;
    for (size_t i = 0; i < g->n_outputs; i++)
        g->output[i].value = map[g->output[i].value];
    arena_free(&scratch);
}
