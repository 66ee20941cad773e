// See kernel_key.h.
#include "kernel_key.h"

#include "band.h"
#include "lower_order.h"
#include "random_keys.h"

#include <string.h>

ConeScratch cone_scratch(Arena *arena, const Graph *g)
{
    return (ConeScratch){.stamp = arena_array(arena, uint32_t, g->n_nodes), .local = arena_array(arena, uint32_t, g->n_nodes)};
}

static bool reads(const Graph *g, uint32_t kernel, ValueId v)
{
    const Node *n = &g->node[v];
    return n->op == OP_ARG || n->op == OP_PARAM || n->op == OP_STATE || (n->kernel && n->kernel != kernel);
}

typedef struct Frame {
    ValueId v;
    uint8_t next;                           // operand to look at
} Frame;

void cone_find(Arena *arena, const Graph *g, uint32_t kernel, const ValueId *member, size_t n_members, ConeScratch *scratch,
               uint32_t *n_uses, Cone *cone)
{
    Frame *stack = NULL;
    size_t capacity = 0;
    uint32_t serial = ++scratch->serial;
    cone->n = 0;
    for (size_t m = 0; m < n_members; m++) {
        size_t depth = 0;
        if (scratch->stamp[member[m]] == serial)
            continue;
        stack = arena_grow(arena, stack, depth, &capacity, sizeof *stack);
        stack[depth++] = (Frame){member[m], 0};
        scratch->stamp[member[m]] = serial;
        n_uses[member[m]] = 0;
        while (depth) {
            Frame *f = &stack[depth - 1];
            const Node *n = &g->node[f->v];
            bool is_read = reads(g, kernel, f->v);
            if (!is_read && f->next < n->n_in) {
                ValueId in = n->in[f->next++];
                if (scratch->stamp[in] != serial) {
                    scratch->stamp[in] = serial;
                    n_uses[in] = 0;
                    stack = arena_grow(arena, stack, depth, &capacity, sizeof *stack);
                    stack[depth++] = (Frame){in, 0};
                }
                n_uses[in]++;
                continue;
            }
            cone->value = arena_grow(arena, cone->value, cone->n, &cone->capacity, sizeof *cone->value);
            cone->is_read = arena_grow(arena, cone->is_read, cone->n, &cone->is_read_capacity, sizeof *cone->is_read);
            scratch->local[f->v] = (uint32_t)cone->n;
            cone->is_read[cone->n] = is_read;
            cone->value[cone->n++] = f->v;
            depth--;
        }
    }
}

typedef struct Axes {                       // axes by first appearance
    AxisId  *id; size_t n, capacity;
} Axes;

static void put(Text *out, int64_t value)
{
    // 7 bits at a time
    uint64_t u = (uint64_t)value;
    do {
        text_char(out, (char)((u & 127) | (u > 127 ? 128 : 0)));
        u >>= 7;
    } while (u);
}

static void put_axis(const Graph *g, AxisId axis, Axes *axes, Text *out)
{
    for (size_t i = 0; i < axes->n; i++)
        if (axes->id[i] == axis) {
            put(out, (int64_t)i);
            return;
        }
    axes->id = arena_grow(out->arena, axes->id, axes->n, &axes->capacity, sizeof *axes->id);
    axes->id[axes->n] = axis;
    put(out, (int64_t)axes->n++);
    put(out, graph_size(g, axis));
}

static void put_attr(const Graph *g, const Attr *a, Axes *axes, Text *out)
{
    switch (a->kind) {
    case ATTR_INT: put(out, a->i); break;
    case ATTR_FLOAT: text_add_n(out, (const char *)&a->f, sizeof a->f); break;
    case ATTR_AXIS: put_axis(g, a->axis, axes, out); break;
    case ATTR_AXES:
        put(out, a->axes.n);
        for (size_t i = 0; i < a->axes.n; i++)
            put_axis(g, a->axes.id[i], axes, out);
        break;
    case ATTR_ACT: put(out, a->act); break;
    case ATTR_RED: put(out, a->red); break;
    case ATTR_DTYPE: put(out, a->dtype); break;
    case ATTR_NAME: break;
    }
}

// Whose order of rows a kernel of choices may write along with the index.
static void put_order(const Graph *g, ValueId product, Text *out)
{
    Grouped of;
    put(out, product && grouped_of(g, product, &of));
    if (product) {
        put(out, (int64_t)(order_key(g, &of) >> 1));
        put(out, of.is_sum);
    }
}

void cone_key(const Graph *g, uint32_t kernel, const Cone *cone, const ConeScratch *scratch, const ValueId *order_for, Text *out)
{
    Axes axes = {0};
    put(out, g->kernel[kernel]);
    for (size_t i = 0; i < cone->n; i++) {
        const Node *n = &g->node[cone->value[i]];
        put(out, cone->is_read[i] ? 0 : 1 + (n->kernel == kernel));
        put(out, n->type.dtype);
        put(out, n->type.n_axes);
        for (int k = 0; k < n->type.n_axes; k++)
            put_axis(g, n->type.axis[k], &axes, out);
        if (cone->is_read[i]) {             // an int may be an index: the loads differ for what may be none (value.c)
            put(out, n->type.dtype != DTYPE_I32 ? 0 : n->op == OP_ARG ? 1 : (op_row[n->op].flags & OP_FLAG_ROUTING) ? 2 : 3);
            Band band;
            if (band_of(g, cone->value[i], &band)) {                // a product skips what is known to be 0
                put_axis(g, band.from, &axes, out);
                put_axis(g, band.to, &axes, out);
                put(out, band.least);
                put(out, band.most);
            }
            continue;
        }
        put(out, n->op);
        if (g->kernel[kernel] == FAMILY_ROUTE && n->kernel == kernel)
            put_order(g, order_for ? order_for[cone->value[i]] : 0, out);
        bool has_key = random_has_key(g, n);        // its stream is an argument
        put(out, has_key);
        for (int k = 0; k < n->n_attr && !has_key; k++)
            put_attr(g, &n->attr[k], &axes, out);
        put(out, n->n_in);
        for (int k = 0; k < n->n_in; k++)
            put(out, scratch->local[n->in[k]]);
    }
}

uint64_t cone_hash(const Text *key)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < key->n; i++)
        h = (h ^ (unsigned char)key->data[i]) * 0x100000001b3u;
    return h;
}

KernelMembers kernel_members(Arena *arena, const Graph *g)
{
    KernelMembers m = {.first = arena_array(arena, uint32_t, g->n_kernels + 2)};
    size_t n = 0;
    for (ValueId v = 1; v < g->n_nodes; v++)
        if (g->node[v].kernel) {
            m.first[g->node[v].kernel + 1]++;
            n++;
        }
    for (size_t k = 1; k <= g->n_kernels; k++)
        m.first[k] += m.first[k - 1];
    m.member = arena_array(arena, ValueId, n + 1);
    uint32_t *next = arena_array(arena, uint32_t, g->n_kernels + 1);
    for (ValueId v = 1; v < g->n_nodes; v++)
        if (g->node[v].kernel) {
            const uint32_t k = g->node[v].kernel;
            m.member[m.first[k] + next[k]++] = v;
        }
    return m;
}
