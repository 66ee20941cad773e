// The written spec of a legal graph. Each rule stands once, as a comment, above the code that checks it. A breach is
// a bug of ours (or of IR text), so it is reported by node id. Runs in n log n.
#include "graph.h"
#include "scan.h"
#include "shape.h"

#include <stdlib.h>
#include <string.h>

typedef struct Verify {
    const Graph *g;
    Diag        *diag;
    bool         ok;
} Verify;

static void breach(Verify *v, Span at, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void breach(Verify *v, Span at, const char *format, ...)
{
    Text text = text_make(v->diag->arena);
    va_list args;
    va_start(args, format);
    text_vprintf(&text, format, args);
    va_end(args);
    diag_error(v->diag, at, "E0917", "graph @%s: %s", v->g->name, text_str(&text));
    v->ok = false;
}

static void check_axes(Verify *v)
{
    const Graph *g = v->g;
    for (size_t i = 1; i < g->n_axes; i++) {
        const Axis *a = &g->axis[i];
        // An axis has a printable name, by which it is found again: so names are unique.
        if (!text_is_name(a->name) || graph_find_axis(g, a->name) != i)
            breach(v, (Span){0}, "axis %zu: the name `%s` is not a name or not unique", i, a->name);
        // Kinds are of the table; sizes are not negative.
        if (a->kind >= AXIS_KIND_COUNT || a->size < 0)
            breach(v, (Span){0}, "axis `%s`: bad kind or size", a->name);
        // A twin comes after the axis it is a twin of, and has its size.
        if (a->twin_of && (a->twin_of >= i || g->axis[a->twin_of].size != a->size))
            breach(v, (Span){0}, "axis `%s`: a twin comes after its axis and has the same size", a->name);
    }
}

static void check_node(Verify *v, ValueId id)
{
    const Graph *g = v->g;
    const Node *n = &g->node[id];
    // Operands come before users.
    for (size_t i = 0; i < n->n_in; i++)
        if (n->in[i] == 0 || n->in[i] >= id) {
            breach(v, n->at, "%%%u: operand %zu is %%%u, which does not come before it", id, i + 1, n->in[i]);
            return;
        }
    // Operands and attributes are as many, and of the kinds, that the op's row says, and the shape rule accepts them.
    ShapeCall call = {g, v->diag, n->at, n->op, n->in, n->n_in, n->attr, n->n_attr, &n->type};
    Type inferred;
    if (!shape_infer(&call, &inferred)) {
        v->ok = false;
        return;
    }
    // The type is the inferred one; only the order of its axes may differ (layout).
    if (!type_same_axes(&inferred, &n->type)) {
        Text has = text_make(v->diag->arena), gives = text_make(v->diag->arena);
        if (n->type.n_axes <= MAX_AXES)
            type_print(g, &n->type, &has);
        type_print(g, &inferred, &gives);
        breach(v, n->at, "%%%u: the type is %s, but %s gives %s", id, text_str(&has), op_row[n->op].text,
               text_str(&gives));
    }
    // A kernel number is of the graph's list.
    if (n->kernel >= g->n_kernels && n->kernel != 0)
        breach(v, n->at, "%%%u: there is no kernel k%u", id, n->kernel);
    // A hint can be printed.
    if (n->hint && !text_is_name(n->hint))
        breach(v, n->at, "%%%u: the hint `%s` is not a name", id, n->hint);
}

typedef struct Named {                      // a leaf or an output, to be sorted by group and name
    int         group;
    const char *name;
    uint32_t    index;
} Named;

static int by_name(const void *a, const void *b)
{
    const Named *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : x->group - y->group;
}

// Leaves of one kind and name have one type (as a set of axes).
static void check_leaves(Verify *v)
{
    const Graph *g = v->g;
    Named *leaf = arena_array(v->diag->arena, Named, g->n_nodes);
    size_t n = 0;
    for (uint32_t i = 1; i < g->n_nodes; i++)
        if (g->node[i].op == OP_ARG || g->node[i].op == OP_PARAM || g->node[i].op == OP_STATE)
            leaf[n++] = (Named){g->node[i].op, g->node[i].attr[0].name, i};
    if (n)
        qsort(leaf, n, sizeof *leaf, by_name);
    for (size_t i = 1; i < n; i++)
        if (by_name(&leaf[i - 1], &leaf[i]) == 0 &&
            !type_same_axes(&g->node[leaf[i - 1].index].type, &g->node[leaf[i].index].type))
            breach(v, g->node[leaf[i].index].at, "%%%u: %s \"%s\" has another type elsewhere", leaf[i].index,
                   op_row[leaf[i].group].text, leaf[i].name);
}

static void check_outputs(Verify *v)
{
    const Graph *g = v->g;
    Named *out = arena_array(v->diag->arena, Named, g->n_outputs);
    size_t n = 0;
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        const Output *o = &g->output[i];
        // An output has a role, a name and a value of this graph.
        if (o->role >= OUTPUT_ROLE_COUNT || !o->name || o->value == 0 || o->value >= g->n_nodes)
            breach(v, (Span){0}, "output %u: bad role, name or value", i);
        // A loss is a scalar.
        else if ((o->role == OUTPUT_LOSS || o->role == OUTPUT_FAULT) && g->node[o->value].type.n_axes)
            breach(v, g->node[o->value].at, "the loss \"%s\" is not a scalar", o->name);
        else
            out[n++] = (Named){(int)o->role, o->name, i};
    }
    // No two outputs have one role and name.
    if (n)
        qsort(out, n, sizeof *out, by_name);
    for (size_t i = 1; i < n; i++)
        if (by_name(&out[i - 1], &out[i]) == 0)
            breach(v, (Span){0}, "two outputs are %s \"%s\"", output_role_text[out[i].group], out[i].name);
}

static void check_kernels(Verify *v)
{
    const Graph *g = v->g;
    bool *stores = arena_array(v->diag->arena, bool, g->n_kernels);
    for (size_t i = 1; i < g->n_nodes; i++)
        stores[g->node[i].kernel] = true;
    // A kernel is of a family, and stores something.
    for (uint32_t i = 1; i < g->n_kernels; i++)
        if (g->kernel[i] >= FAMILY_COUNT || !stores[i])
            breach(v, (Span){0}, "kernel k%u: no such family, or it stores nothing", i);
}

typedef struct Need {                       // kernel `who` needs a value of kernel `of`
    uint32_t who, of;
} Need;

typedef struct Needs {
    Arena *arena;
    Need  *item; size_t n, capacity;
} Needs;

// Kernels of which this one needs a value, through values that nobody stores.
static void add_needs(const Graph *g, uint32_t k, const ValueId *member, size_t n_members, uint32_t *stamp, ValueId *stack, Needs *needs)
{
    size_t n = 0;
    for (size_t m = 0; m < n_members; m++)
        stack[n++] = member[m];
    while (n > 0) {
        const Node *node = &g->node[stack[--n]];
        for (size_t i = 0; i < node->n_in; i++) {
            ValueId in = node->in[i];
            uint32_t other = g->node[in].kernel;
            if (other == k || stamp[in] == k)
                continue;
            stamp[in] = k;
            if (other == 0) {
                stack[n++] = in;
                continue;
            }
            needs->item = arena_grow(needs->arena, needs->item, needs->n, &needs->capacity, sizeof *needs->item);
            needs->item[needs->n++] = (Need){k, other};
        }
    }
}

// Kernels do not need each other in a circle: some order of them runs.
static void check_kernel_order(Verify *v)
{
    const Graph *g = v->g;
    Arena *a = v->diag->arena;
    uint32_t *first = arena_array(a, uint32_t, g->n_kernels + 2), *stamp = arena_array(a, uint32_t, g->n_nodes);
    ValueId *member = arena_array(a, ValueId, g->n_nodes), *stack = arena_array(a, ValueId, 2 * g->n_nodes);
    for (ValueId id = 1; id < g->n_nodes; id++)             // of kernel k, afterwards: member[first[k]] .. member[first[k + 1] - 1]
        first[g->node[id].kernel + (g->node[id].kernel ? 2 : 0)]++;
    first[0] = first[1] = 0;
    for (uint32_t k = 2; k <= g->n_kernels; k++)
        first[k] += first[k - 1];
    for (ValueId id = 1; id < g->n_nodes; id++)
        if (g->node[id].kernel)
            member[first[g->node[id].kernel + 1]++] = id;
    Needs needs = {.arena = a};
    for (uint32_t k = 1; k < g->n_kernels; k++)
        add_needs(g, k, member + first[k], first[k + 1] - first[k], stamp, stack, &needs);
    // Whatever needs no kernel that is left can go; a circle never can.
    uint32_t *n_open = arena_array(a, uint32_t, g->n_kernels + 1), *start = arena_array(a, uint32_t, g->n_kernels + 3);
    uint32_t *user = arena_array(a, uint32_t, needs.n + 1), *ready = arena_array(a, uint32_t, g->n_kernels + 1), n_ready = 0;
    for (size_t i = 0; i < needs.n; i++) {
        n_open[needs.item[i].who]++;
        start[needs.item[i].of + 2]++;
    }
    for (uint32_t k = 1; k <= g->n_kernels + 1; k++)
        start[k] += start[k - 1];
    for (size_t i = 0; i < needs.n; i++)
        user[start[needs.item[i].of + 1]++] = needs.item[i].who;
    for (uint32_t k = 1; k < g->n_kernels; k++)
        if (n_open[k] == 0)
            ready[n_ready++] = k;
    for (uint32_t done = 0; done < n_ready; done++)
        for (uint32_t u = start[ready[done]]; u < start[ready[done] + 1]; u++)
            if (--n_open[user[u]] == 0)
                ready[n_ready++] = user[u];
    for (uint32_t k = 1; k < g->n_kernels && n_ready + 1 < g->n_kernels; k++)
        if (n_open[k] > 0) {
            breach(v, g->node[member[first[k]]].at, "kernel k%u needs what needs kernel k%u itself", k, k);
            return;
        }
}

static void check_claims(Verify *v)
{
    const Graph *g = v->g;
    for (size_t i = 0; i < g->n_claims; i++) {
        const Claim *c = &g->claim[i];
        // A claim is about an axis and values of this graph.
        bool sound = c->axis != 0 && c->axis < g->n_axes;
        for (size_t k = 0; k < c->n_in; k++)
            sound = sound && c->in[k] < g->n_nodes;
        for (size_t k = 0; k < c->n_out; k++)
            sound = sound && c->out[k] < g->n_nodes;
        if (!sound)
            breach(v, c->at, "the claim of %s names an axis or a value that is not there", c->layer ? c->layer : "?");
    }
}

bool graph_verify(const Graph *g, Diag *diag)
{
    Verify v = {g, diag, true};
    if (!text_is_name(g->name))
        breach(&v, (Span){0}, "the graph's name cannot be printed");
    check_axes(&v);
    for (ValueId id = 1; id < g->n_nodes; id++)
        check_node(&v, id);
    if (!v.ok)                              // what follows takes sound nodes for granted
        return false;
    check_leaves(&v);
    check_outputs(&v);
    check_claims(&v);
    check_kernels(&v);
    if (v.ok && g->n_kernels > 1)
        check_kernel_order(&v);
    return v.ok;
}
