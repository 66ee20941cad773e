// cse: equal values are computed once, and what no output needs is dropped.
//
// Hash-consing in one walk: a node whose op, attributes and (already merged) operands were seen before is that earlier
// node. Operands of ops that commute are compared in a fixed order. Linear in the size of the graph. The first of equal
// nodes stays, with its place, hint and layer. Nodes that a fuse pass has given kernels are left alone.
#include "clean.h"
#include "pass.h"
#include "rewrite.h"

#include <string.h>

static uint64_t mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 29);
}

static uint64_t mix_text(uint64_t h, const char *text)
{
    for (; *text; text++)
        h = mix(h, (unsigned char)*text);
    return h;
}

static uint64_t hash_attr(uint64_t h, const Attr *attr)
{
    uint64_t bits = 0;
    switch (attr->kind) {
    case ATTR_INT:   return mix(h, (uint64_t)attr->i);
    case ATTR_FLOAT: memcpy(&bits, &attr->f, sizeof bits); return mix(h, bits);
    case ATTR_AXIS:  return mix(h, attr->axis);
    case ATTR_AXES:
        for (size_t i = 0; i < attr->axes.n; i++)
            h = mix(h, attr->axes.id[i]);
        return mix(h, attr->axes.n);
    case ATTR_ACT:   return mix(h, (uint64_t)attr->act);
    case ATTR_RED:   return mix(h, (uint64_t)attr->red);
    case ATTR_DTYPE: return mix(h, (uint64_t)attr->dtype);
    case ATTR_NAME:  return mix_text(h, attr->name);
    }
    return h;
}

// Bits, not values: 0 and -0 differ, and a NaN equals itself.
static bool same_attr(const Attr *a, const Attr *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case ATTR_INT:   return a->i == b->i;
    case ATTR_FLOAT: return memcmp(&a->f, &b->f, sizeof a->f) == 0;
    case ATTR_AXIS:  return a->axis == b->axis;
    case ATTR_AXES:
        return a->axes.n == b->axes.n &&
               (a->axes.n == 0 || memcmp(a->axes.id, b->axes.id, a->axes.n * sizeof *a->axes.id) == 0);
    case ATTR_ACT:   return a->act == b->act;
    case ATTR_RED:   return a->red == b->red;
    case ATTR_DTYPE: return a->dtype == b->dtype;
    case ATTR_NAME:  return strcmp(a->name, b->name) == 0;
    }
    return false;
}

static bool swapped(const Node *n, const ValueId *in)
{
    return (op_row[n->op].flags & OP_FLAG_COMMUTES) && in[0] > in[1];
}

static uint64_t hash_node(const Node *n, const ValueId *in)
{
    uint64_t h = mix(n->op, n->type.dtype);
    bool swap = swapped(n, in);
    for (size_t i = 0; i < n->n_in; i++)
        h = mix(h, in[swap ? 1 - i : i]);
    for (size_t i = 0; i < n->n_attr; i++)
        h = hash_attr(h, &n->attr[i]);
    return h;
}

// The type follows from the rest, but for leaves, and for random numbers, which count elements in the type's order.
static bool same_node(const Node *a, const ValueId *a_in, const Node *b)
{
    if (a->op != b->op || a->n_in != b->n_in || a->n_attr != b->n_attr)
        return false;
    bool swap_a = swapped(a, a_in), swap_b = swapped(b, b->in);
    for (size_t i = 0; i < a->n_in; i++)
        if (a_in[swap_a ? 1 - i : i] != b->in[swap_b ? 1 - i : i])
            return false;
    for (size_t i = 0; i < a->n_attr; i++)
        if (!same_attr(&a->attr[i], &b->attr[i]))
            return false;
    return a->op == OP_RANDOM ? type_equal(&a->type, &b->type) : type_same_axes(&a->type, &b->type);
}

Graph *graph_cse(Arena *arena, const Graph *in)
{
    Arena scratch = scratch_arena(arena);
    Rewrite rw = rewrite_begin(arena, &scratch, in);
    size_t capacity = 64;
    while (capacity < 2 * in->n_nodes)
        capacity *= 2;
    ValueId *table = arena_array(&scratch, ValueId, capacity);       // of nodes of rw.out; open addressing
    for (ValueId id = 1; id < in->n_nodes; id++) {
        const Node *n = &in->node[id];
        if (!rw.live[id])
            continue;
        const ValueId *operand = rewrite_operands(&rw, id);
        if (n->kernel) {
            rewrite_copy_with(&rw, id, operand);
            continue;
        }
        size_t at = hash_node(n, operand) & (capacity - 1);
        while (table[at] && !same_node(n, operand, &rw.out->node[table[at]]))
            at = (at + 1) & (capacity - 1);
        if (table[at])
            rw.map[id] = table[at];
        else
            table[at] = rewrite_copy_with(&rw, id, operand);
    }
    Graph *out = rewrite_end(&rw);
    arena_free(&scratch);
    return out;
}

static Graph *rewrite_graph(PassContext *ctx, const Graph *in)
{
    return graph_cse(ctx->arena, in);
}

bool pass_cse(PassContext *ctx, const Module *in, Module *out)
{
    return pass_each_graph(ctx, in, out, rewrite_graph);
}
