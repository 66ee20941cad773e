// The order in which a graph's kernels run, and which leaves their new values may overwrite. See codegen_state.h.
#include "codegen_state.h"

#include "lower_loop.h"
#include "random_keys.h"

#include <stdlib.h>
#include <string.h>

void codegen_cone(Codegen *c, uint32_t kernel)
{
    cone_find(&c->scratch, c->g, kernel, &c->member[c->first[kernel]], c->first[kernel + 1] - c->first[kernel], &c->cones,
              c->n_uses, &c->cone);
}

enum { MOST_TURNS = 32 };                   // circles that are looked at one by one

typedef struct Edge {
    uint32_t before, after, next;           // next: further edges of `before`; 0: none
    ValueId  leaf;                          // what `before` reads and `after` overwrites; 0: it reads what `before` stores
} Edge;

typedef struct Order {
    Edge     *edge; size_t n_edges, edge_capacity;
    uint32_t *head, *n_before;              // [n_kernels]
    uint32_t *heap; size_t n_heap;          // ready kernels, smallest first stored value on top
} Order;

static void add_edge(Codegen *c, Order *o, uint32_t before, uint32_t after, ValueId leaf)
{
    if (before == after)
        return;
    o->edge = arena_grow(&c->scratch, o->edge, o->n_edges, &o->edge_capacity, sizeof *o->edge);
    o->edge[o->n_edges] = (Edge){before, after, o->head[before], leaf};
    o->head[before] = (uint32_t)o->n_edges++;
    o->n_before[after]++;
}

static bool sooner(const Codegen *c, uint32_t a, uint32_t b)
{
    return c->member[c->first[a]] < c->member[c->first[b]];
}

static void heap_push(const Codegen *c, Order *o, uint32_t k)
{
    size_t i = o->n_heap++;
    o->heap[i] = k;
    while (i && sooner(c, o->heap[i], o->heap[(i - 1) / 2])) {
        uint32_t t = o->heap[i];
        o->heap[i] = o->heap[(i - 1) / 2];
        o->heap[(i - 1) / 2] = t;
        i = (i - 1) / 2;
    }
}

static uint32_t heap_pop(const Codegen *c, Order *o)
{
    uint32_t top = o->heap[0];
    o->heap[0] = o->heap[--o->n_heap];
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2; child++)
            if (child < o->n_heap && sooner(c, o->heap[child], o->heap[least]))
                least = child;
        if (least == i)
            return top;
        uint32_t t = o->heap[i];
        o->heap[i] = o->heap[least];
        o->heap[least] = t;
        i = least;
    }
}

// Whether what follows a product can write `v` over the leaf: whoever reads the leaf in the kernel of c->cone does so element
// by element, for values with v's axes, which are computed together with it.
static bool follows_product(Codegen *c, uint32_t kernel, ValueId v, ValueId leaf)
{
    enum { AT_ITS_PLACE = 1, ELSEWHERE = 2 };
    const Graph *g = c->g;
    const Type *type = &g->node[v].type;
    uint8_t *reads = arena_array(&c->scratch, uint8_t, c->cone.n + 1);
    for (size_t i = 0; i < c->cone.n; i++) {                // operands come first
        const ValueId x = c->cone.value[i];
        const Node *n = &g->node[x];
        if (x == leaf)
            reads[i] = AT_ITS_PLACE;
        if (c->cone.is_read[i])
            continue;
        for (int k = 0; k < n->n_in; k++)
            reads[i] |= reads[c->cones.local[n->in[k]]];
        if (reads[i] && !(op_row[n->op].flags & OP_FLAG_POINTWISE))
            reads[i] = ELSEWHERE;
        if (n->kernel == kernel && reads[i]
            && (reads[i] & ELSEWHERE || n->type.n_axes != type->n_axes || memcmp(n->type.axis, type->axis, type->n_axes * sizeof(AxisId))))
            return false;
    }
    return true;
}

// A new value can overwrite the old one while it is computed when each element is made from the same element only:
// every stored value of the kernel has the same axes, and all between it and what is read is element by element.
static bool is_elementwise(Codegen *c, uint32_t kernel)
{
    const Graph *g = c->g;
    const Type *type = &g->node[c->member[c->first[kernel]]].type;
    if (c->first[kernel + 1] - c->first[kernel] > LOOP_MAX_MEMBERS)
        return false;                       // several launches: the second one would read what the first one wrote
    for (size_t i = 0; i < c->cone.n; i++) {
        const Node *n = &g->node[c->cone.value[i]];
        if (c->cone.is_read[i])
            continue;
        if (n->kernel == kernel && (n->type.n_axes != type->n_axes || memcmp(n->type.axis, type->axis, type->n_axes * sizeof(AxisId))))
            return false;
        if (!(op_row[n->op].flags & OP_FLAG_POINTWISE) && n->op != OP_EXPAND)
            return false;
    }
    return g->kernel[kernel] == FAMILY_LOOP;
}

// A put over its own leaf, which nothing else in the kernel reads.
static bool puts_in_place(Codegen *c, uint32_t kernel, const ValueId *old)
{
    const ValueId v = c->member[c->first[kernel]];
    const Node *put = &c->g->node[v];
    if (put->op != OP_PUT || put->in[0] != old[v])
        return false;
    for (size_t i = 0; i < c->cone.n; i++) {
        const Node *n = &c->g->node[c->cone.value[i]];
        for (size_t k = 0; k < n->n_in && !c->cone.is_read[i]; k++)
            if (n->in[k] == old[v] && !(n == put && k == 0))
                return false;
    }
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const NamedLeaf *)a)->name, ((const NamedLeaf *)b)->name);
}

void codegen_find_leaves(Codegen *c)
{
    const Graph *g = c->g;
    c->leaf = arena_array(&c->scratch, NamedLeaf, g->n_nodes);
    for (ValueId v = 1; v < g->n_nodes; v++)
        if (g->node[v].op == OP_PARAM || g->node[v].op == OP_STATE)
            c->leaf[c->n_leaves++] = (NamedLeaf){g->node[v].attr[0].name, v};
    qsort(c->leaf, c->n_leaves, sizeof *c->leaf, by_name);
}

// The leaf that the output replaces; 0: none.
ValueId codegen_replaced_leaf(const Codegen *c, const Output *output)
{
    NamedLeaf key = {output->name, 0};
    const NamedLeaf *found = bsearch(&key, c->leaf, c->n_leaves, sizeof key, by_name);
    return found ? found->value : 0;
}

// old[v]: the leaf whose buffer the value v is to overwrite; 0: none.
ValueId *codegen_replacements(Codegen *c)
{
    const Graph *g = c->g;
    ValueId *old = arena_array(&c->scratch, ValueId, g->n_nodes);
    c->copied = arena_array(&c->scratch, bool, g->n_outputs + 1);
    bool *is_result = arena_array(&c->scratch, bool, g->n_nodes);
    for (size_t i = 0; i < g->n_outputs; i++)
        if (g->output[i].role != OUTPUT_NEXT)
            is_result[g->output[i].value] = true;
    for (size_t i = 0; i < g->n_outputs; i++) {
        const Output *o = &g->output[i];
        if (o->role != OUTPUT_NEXT)
            continue;
        ValueId leaf = codegen_replaced_leaf(c, o);
        const Node *n = &g->node[o->value];
        bool same_type = leaf && type_equal(&n->type, &g->node[leaf].type);
        c->copied[i] = true;
        if (o->value == leaf)
            c->copied[i] = false;
        else if (leaf && n->kernel && same_type && !old[o->value] && !is_result[leaf] && !is_result[o->value]) {
            old[o->value] = leaf;
            c->copied[i] = false;
        }
    }
    return old;
}

// Where some kernels wait for each other in a circle, the smallest new value that one of them was to write over what another
// still reads gets a place of its own. False when there is none.
static bool break_circle(Codegen *c, const Order *o, ValueId *old)
{
    const Graph *g = c->g;
    uint32_t *waits_for = arena_array(&c->scratch, uint32_t, g->n_kernels), k = 0;      // an edge
    bool *passed = arena_array(&c->scratch, bool, g->n_kernels);
    for (uint32_t e = 1; e < o->n_edges; e++) {
        const Edge *edge = &o->edge[e];
        if (!o->n_before[edge->before] || !o->n_before[edge->after])
            continue;
        if (!waits_for[edge->after] || !edge->leaf)
            waits_for[edge->after] = e;
        k = edge->after;
    }
    for (; k && !passed[k]; k = o->edge[waits_for[k]].before)
        passed[k] = true;
    ValueId least = 0;
    size_t least_bytes = SIZE_MAX;
    for (uint32_t at = k, turns = 0; k && (turns == 0 || at != k); at = o->edge[waits_for[at]].before, turns++)
        for (uint32_t m = c->first[at]; m < c->first[at + 1]; m++) {
            const ValueId leaf = old[c->member[m]];
            size_t bytes;
            if (leaf && leaf == o->edge[waits_for[at]].leaf && type_bytes(g, &g->node[leaf].type, &bytes) && bytes < least_bytes) {
                least = c->member[m];
                least_bytes = bytes;
            }
        }
    if (least)
        old[least] = 0;
    return least != 0;
}

// Orders the kernels. `old` loses the entries that could not be honoured; in a circle one, and *out_again.
static bool order_kernels(Codegen *c, ValueId *old, bool *out_again)
{
    const Graph *g = c->g;
    uint32_t *overwriter = arena_array(&c->scratch, uint32_t, g->n_nodes);   // by leaf: the kernel that overwrites it
    for (uint32_t k = 1; k < g->n_kernels; k++) {
        if (c->first[k] == c->first[k + 1])
            continue;
        bool any = false;
        for (uint32_t m = c->first[k]; m < c->first[k + 1]; m++)
            any |= old[c->member[m]] != 0;
        if (!any)
            continue;
        codegen_cone(c, k);
        bool fits = is_elementwise(c, k) || puts_in_place(c, k, old);
        const bool after_product = (g->kernel[k] == FAMILY_GROUPED || g->kernel[k] == FAMILY_CONTRACT)
            && c->first[k + 1] - c->first[k] <= LOOP_MAX_MEMBERS;
        for (uint32_t m = c->first[k]; m < c->first[k + 1]; m++) {
            ValueId v = c->member[m];
            const bool good = fits || (after_product && old[v] && follows_product(c, k, v, old[v]));
            if (!good || (old[v] && overwriter[old[v]]))
                old[v] = 0;
            else if (old[v])
                overwriter[old[v]] = k;
        }
    }
    Order o = {.head = arena_array(&c->scratch, uint32_t, g->n_kernels), .n_before = arena_array(&c->scratch, uint32_t, g->n_kernels),
               .heap = arena_array(&c->scratch, uint32_t, g->n_kernels), .n_edges = 1};
    o.edge = arena_grow(&c->scratch, o.edge, 0, &o.edge_capacity, sizeof *o.edge);
    for (uint32_t k = 1; k < g->n_kernels; k++) {
        if (c->first[k] == c->first[k + 1])
            continue;
        codegen_cone(c, k);
        for (size_t i = 0; i < c->cone.n; i++) {
            ValueId v = c->cone.value[i];
            if (!c->cone.is_read[i] && random_has_key(g, &g->node[v]))
                c->key_of[v] = 1;           // wanted
            if (c->cone.is_read[i] && g->node[v].kernel) {
                add_edge(c, &o, g->node[v].kernel, k, 0);
                c->reader[v] = !c->reader[v] || c->reader[v] == k ? k : SEVERAL_READERS;
            }
            if (c->cone.is_read[i] && overwriter[v])
                add_edge(c, &o, k, overwriter[v], v);
        }
    }
    size_t n_kernels = 0;
    c->n_order = 0;
    for (uint32_t k = 1; k < g->n_kernels; k++)
        if (c->first[k] < c->first[k + 1]) {
            n_kernels++;
            if (!o.n_before[k])
                heap_push(c, &o, k);
        }
    while (o.n_heap) {
        uint32_t k = heap_pop(c, &o);
        c->order[c->n_order++] = k;
        for (uint32_t e = o.head[k]; e; e = o.edge[e].next)
            if (!--o.n_before[o.edge[e].after])
                heap_push(c, &o, o.edge[e].after);
    }
    const bool done = c->n_order == n_kernels;
    *out_again = !done && break_circle(c, &o, old);
    return done;
}

bool codegen_order(Codegen *c, ValueId *old)
{
    c->order = arena_array(&c->scratch, uint32_t, c->g->n_kernels + 1);
    bool again = true;
    for (int turn = 0; again && turn < MOST_TURNS; turn++)
        if (order_kernels(c, old, &again))
            return true;
    memset(old, 0, c->g->n_nodes * sizeof *old);           // too many circles: nothing is overwritten
    if (order_kernels(c, old, &again))
        return true;
    diag_error(c->diag, (Span){0}, NULL, "internal: the kernels of graph `%s` need each other's results in a circle", c->g->name);
    return false;
}
