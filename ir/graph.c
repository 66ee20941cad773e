// The graph: axes interned by name, nodes appended with the type their shape rule gives. See graph.h.
#include "graph.h"
#include "shape.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { MAX_GRAPH_AXES = UINT16_MAX };

// Open addressing, at most half full; a slot holds an axis id or 0.
struct AxisIndex {
    AxisId *slot;
    size_t  n_slots;                        // a power of two
};

static uint64_t hash_name(const char *name, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)name[i]) * 0x100000001b3u;
    return h ^ h >> 29;
}

// The slot that holds the name, or the free one where it belongs.
static size_t find_slot(const Graph *g, const char *name)
{
    size_t n = strlen(name), mask = g->index->n_slots - 1, i = hash_name(name, n) & mask;
    while (g->index->slot[i] && strcmp(g->axis[g->index->slot[i]].name, name) != 0)
        i = (i + 1) & mask;
    return i;
}

static void index_axes(Graph *g, size_t n_slots)
{
    g->index->slot = arena_array(g->arena, AxisId, n_slots);
    g->index->n_slots = n_slots;
    for (size_t i = 1; i < g->n_axes; i++)
        g->index->slot[find_slot(g, g->axis[i].name)] = (AxisId)i;
}

Graph *graph_make(Arena *arena, Diag *diag, const char *name)
{
    Graph *g = arena_new(arena, Graph);
    g->arena = arena;
    g->diag = diag;
    g->name = arena_strdup(arena, name);
    g->axis = arena_grow(arena, NULL, 0, &g->axis_capacity, sizeof *g->axis);
    g->node = arena_grow(arena, NULL, 0, &g->node_capacity, sizeof *g->node);
    g->kernel = arena_grow(arena, NULL, 0, &g->kernel_capacity, sizeof *g->kernel);
    g->n_axes = g->n_nodes = g->n_kernels = 1;      // index 0 is "error", or unused
    g->axis[0] = (Axis){.name = "?"};
    g->index = arena_new(arena, struct AxisIndex);
    index_axes(g, 64);
    return g;
}

static AxisId add_axis(Graph *g, size_t slot, const char *name, AxisKind kind, int64_t size, AxisId twin_of)
{
    if (g->n_axes >= MAX_GRAPH_AXES) {
        diag_error(g->diag, g->at, "E0913", "the graph `%s` has more than %d axes", g->name, MAX_GRAPH_AXES - 1);
        return 0;
    }
    AxisId id = (AxisId)g->n_axes;
    g->axis = arena_grow(g->arena, g->axis, g->n_axes, &g->axis_capacity, sizeof *g->axis);
    g->axis[g->n_axes++] = (Axis){arena_strdup(g->arena, name), kind, size, twin_of};
    g->index->slot[slot] = id;
    if (g->n_axes * 2 > g->index->n_slots)
        index_axes(g, g->index->n_slots * 2);
    return id;
}

// Length of NAME without a trailing .N, and N (1 when there is none).
static size_t base_name(const char *name, unsigned long *out_number)
{
    const char *dot = strrchr(name, '.');
    *out_number = 1;
    if (!dot || !dot[1] || strspn(dot + 1, "0123456789") != strlen(dot + 1) || strlen(dot) > 10)
        return strlen(name);
    for (const char *p = dot + 1; *p; p++)
        *out_number = (p == dot + 1 ? 0 : *out_number * 10) + (unsigned long)(*p - '0');
    return (size_t)(dot - name);
}

AxisId graph_axis(Graph *g, const char *name, AxisKind kind, int64_t size, AxisId twin_of)
{
    assert(size >= 0 && name[0]);
    unsigned long number;
    size_t n_base = base_name(name, &number);
    char *other = NULL;
    for (const char *wanted = name;; wanted = other) {
        size_t slot = find_slot(g, wanted);
        AxisId id = g->index->slot[slot];
        if (!id)
            return add_axis(g, slot, wanted, kind, size, twin_of);
        if (g->axis[id].size == size && g->axis[id].kind == kind)
            return id;
        if (!other)
            other = arena_alloc(g->arena, n_base + 24, 1);
        snprintf(other, n_base + 24, "%.*s.%lu", (int)n_base, name, ++number);
    }
}

AxisId graph_find_axis(const Graph *g, const char *name)
{
    return g->index->slot[find_slot(g, name)];
}

int64_t graph_size(const Graph *g, AxisId axis)
{
    assert(axis < g->n_axes);
    return g->axis[axis].size;
}

// Copies an attribute's array or name, so that the node does not depend on the caller's memory.
static Attr own_attr(Arena *arena, const Attr *attr)
{
    Attr copy = *attr;
    if (attr->kind == ATTR_NAME)
        copy.name = arena_strdup(arena, attr->name);
    if (attr->kind == ATTR_AXES) {
        copy.axes.id = arena_array(arena, AxisId, attr->axes.n);
        if (attr->axes.n)
            memcpy(copy.axes.id, attr->axes.id, attr->axes.n * sizeof(AxisId));
    }
    return copy;
}

// Whether an operand or axis is the error value: then the failure was already reported.
static bool carries_error(const ValueId *in, size_t n_in, const Attr *attr, size_t n_attr, const Type *declared)
{
    for (size_t i = 0; i < n_in; i++)
        if (in[i] == 0)
            return true;
    for (size_t i = 0; i < n_attr; i++) {
        if (attr[i].kind == ATTR_AXIS && attr[i].axis == 0)
            return true;
        for (size_t k = 0; attr[i].kind == ATTR_AXES && k < attr[i].axes.n; k++)
            if (attr[i].axes.id[k] == 0)
                return true;
    }
    return declared && type_has(declared, 0);
}

ValueId graph_add(Graph *g, Op op, const ValueId *in, size_t n_in, const Attr *attr, size_t n_attr, const Type *declared)
{
    if (carries_error(in, n_in, attr, n_attr, declared))
        return 0;
    ShapeCall call = {g, g->diag, g->at, op, in, n_in, attr, n_attr, declared};
    Type type;
    if (!shape_infer(&call, &type))
        return 0;
    if (g->n_nodes >= UINT32_MAX) {
        diag_error(g->diag, g->at, "E0913", "the graph `%s` has too many nodes", g->name);
        return 0;
    }
    g->node = arena_grow(g->arena, g->node, g->n_nodes, &g->node_capacity, sizeof *g->node);
    Node *n = &g->node[g->n_nodes];
    *n = (Node){.op = op, .n_in = (uint8_t)n_in, .n_attr = (uint8_t)n_attr, .type = type, .at = g->at, .layer = g->layer};
    n->in = arena_array(g->arena, ValueId, n_in);
    if (n_in)
        memcpy(n->in, in, n_in * sizeof *in);
    n->attr = arena_array(g->arena, Attr, n_attr);
    for (size_t i = 0; i < n_attr; i++)
        n->attr[i] = own_attr(g->arena, &attr[i]);
    return (ValueId)g->n_nodes++;
}

void graph_output(Graph *g, OutputRole role, const char *name, ValueId value)
{
    g->output = arena_grow(g->arena, g->output, g->n_outputs, &g->output_capacity, sizeof *g->output);
    g->output[g->n_outputs++] = (Output){role, arena_strdup(g->arena, name), value};
}

ValueId graph_find_output(const Graph *g, OutputRole role, const char *name)
{
    for (size_t i = 0; i < g->n_outputs; i++)
        if (g->output[i].role == role && strcmp(g->output[i].name, name) == 0)
            return g->output[i].value;
    return 0;
}

uint32_t graph_add_kernel(Graph *g, KernelFamily family)
{
    g->kernel = arena_grow(g->arena, g->kernel, g->n_kernels, &g->kernel_capacity, sizeof *g->kernel);
    g->kernel[g->n_kernels] = family;
    return (uint32_t)g->n_kernels++;
}

// Structural equality.

static bool same_double(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static bool attr_equal(const Attr *a, const Attr *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case ATTR_INT:   return a->i == b->i;
    case ATTR_FLOAT: return same_double(a->f, b->f);
    case ATTR_AXIS:  return a->axis == b->axis;
    case ATTR_AXES:  return a->axes.n == b->axes.n &&
                            (a->axes.n == 0 || memcmp(a->axes.id, b->axes.id, a->axes.n * sizeof(AxisId)) == 0);
    case ATTR_ACT:   return a->act == b->act;
    case ATTR_RED:   return a->red == b->red;
    case ATTR_DTYPE: return a->dtype == b->dtype;
    case ATTR_NAME:  return strcmp(a->name, b->name) == 0;
    }
    return false;
}

static bool node_equal(const Node *a, const Node *b)
{
    if (a->op != b->op || a->n_in != b->n_in || a->n_attr != b->n_attr || a->kernel != b->kernel ||
        !type_equal(&a->type, &b->type) || (a->n_in && memcmp(a->in, b->in, a->n_in * sizeof *a->in) != 0))
        return false;
    for (size_t i = 0; i < a->n_attr; i++)
        if (!attr_equal(&a->attr[i], &b->attr[i]))
            return false;
    return true;
}

bool graph_equal(const Graph *a, const Graph *b)
{
    if (a->n_axes != b->n_axes || a->n_nodes != b->n_nodes || a->n_outputs != b->n_outputs ||
        a->n_kernels != b->n_kernels || strcmp(a->name, b->name) != 0)
        return false;
    for (size_t i = 1; i < a->n_axes; i++) {
        const Axis *x = &a->axis[i], *y = &b->axis[i];
        if (strcmp(x->name, y->name) != 0 || x->kind != y->kind || x->size != y->size || x->twin_of != y->twin_of)
            return false;
    }
    for (size_t i = 1; i < a->n_nodes; i++)
        if (!node_equal(&a->node[i], &b->node[i]))
            return false;
    for (size_t i = 0; i < a->n_outputs; i++)
        if (a->output[i].role != b->output[i].role || a->output[i].value != b->output[i].value ||
            strcmp(a->output[i].name, b->output[i].name) != 0)
            return false;
    for (size_t i = 1; i < a->n_kernels; i++)
        if (a->kernel[i] != b->kernel[i])
            return false;
    return true;
}
