// See fuse_group.h.
//
// Values are taken in order. Each looks for a group among those that made what it reads and those that read the same
// arrays; it joins the first that fits, else it opens its own. At the end, what nobody else reads is not stored.
#include "fuse_group.h"

#include "kernel_order.h"
#include "loop_shape.h"

#include <assert.h>
#include <string.h>

enum { MOST_MEMBERS = 24, MOST_OPERANDS = 48, NEAR = 64, READERS = 4, MOST_CONE = 4096 };

typedef struct Group {                      // a kernel: of ours, or one that was there
    ValueId  last;                          // largest stored value
    bool     is_ours;
    LoopWish wish;
    ValueId  member[MOST_MEMBERS]; size_t n;
    bool     is_column[MOST_MEMBERS];
    size_t   n_operands;                    // upper bound
} Group;

typedef struct Grouping {
    Graph     *g;
    Arena     *scratch;
    const bool *stored;
    Group    **group;                       // [n_groups], 0 unused
    size_t     n_groups, capacity;
    uint32_t  *group_of;                    // [n_nodes] of stored values
    uint32_t  *first_read; size_t n_reads, read_capacity;   // [n_nodes + 1] into read: what a stored value needs from memory
    ValueId   *read;
    uint32_t (*reader)[READERS];            // [n_nodes] the last groups that read the value
    uint32_t  *stamp;                       // [n_nodes]
    uint32_t   serial;
    KernelOrder *order;                     // of the stored values
} Grouping;

static bool in_memory(const Grouping *p, ValueId v)
{
    const Node *n = &p->g->node[v];
    return n->op == OP_ARG || n->op == OP_PARAM || n->op == OP_STATE || p->stored[v];
}

// Appends what `v` reads, through what is computed in place.
static void collect_reads(Grouping *p, ValueId v)
{
    const Node *n = &p->g->node[v];
    for (int i = 0; i < n->n_in; i++) {
        ValueId in = n->in[i];
        if (p->stamp[in] == p->serial)
            continue;
        p->stamp[in] = p->serial;
        if (!in_memory(p, in)) {
            collect_reads(p, in);
            continue;
        }
        p->read = arena_grow(p->scratch, p->read, p->n_reads, &p->read_capacity, sizeof *p->read);
        p->read[p->n_reads++] = in;
    }
}

static void find_reads(Grouping *p)
{
    size_t n = p->g->n_nodes;
    p->first_read = arena_array(p->scratch, uint32_t, n + 1);
    for (ValueId v = 1; v < n; v++) {
        p->first_read[v] = (uint32_t)p->n_reads;
        p->serial++;
        if (p->stored[v])
            collect_reads(p, v);
    }
    p->first_read[n] = (uint32_t)p->n_reads;
}

static uint32_t add_group(Grouping *p, Group group)
{
    p->group = arena_grow(p->scratch, p->group, p->n_groups, &p->capacity, sizeof *p->group);
    p->group[p->n_groups] = arena_new(p->scratch, Group);
    *p->group[p->n_groups] = group;
    return (uint32_t)p->n_groups++;
}

// Kernels that were there before: groups that nobody joins. Their members are not listed.
static void add_given(Grouping *p)
{
    Graph *g = p->g;
    uint32_t *by_kernel = arena_array(p->scratch, uint32_t, g->n_kernels);
    ValueId *first = arena_array(p->scratch, ValueId, g->n_kernels);
    p->n_groups = 0;
    add_group(p, (Group){0});
    for (ValueId v = 1; v < g->n_nodes; v++) {
        uint32_t k = g->node[v].kernel;
        if (!k || !p->stored[v])
            continue;
        if (!by_kernel[k]) {
            by_kernel[k] = add_group(p, (Group){0});
            first[k] = v;
        }
        p->group[by_kernel[k]]->last = v;
        p->group_of[v] = by_kernel[k];
        bool can_run = kernel_order_merge(p->order, (uint32_t[]){first[k], v}, 2);
        assert(can_run && "the passes before gave kernels that can run");
        (void)can_run;
    }
}

// Whether `v` reaches the stored value `to` only at its own place. *budget bounds the walk.
static bool reads_in_place(const Grouping *p, ValueId v, ValueId to, bool *out_reaches, size_t *budget)
{
    const Node *n = &p->g->node[v];
    if (!*budget)
        return false;
    --*budget;
    for (int i = 0; i < n->n_in; i++) {
        ValueId in = n->in[i];
        bool reaches = in == to;
        if (!reaches && in > to && !in_memory(p, in) && !reads_in_place(p, in, to, &reaches, budget))
            return false;
        if (reaches && loop_moves_index(n))
            return false;
        *out_reaches |= reaches;
    }
    return true;
}

static bool fits(Grouping *p, uint32_t into, ValueId v, const LoopWish *wish)
{
    Group *group = p->group[into];
    size_t n_operands = p->first_read[v + 1] - p->first_read[v] + 2;
    if (!group->is_ours || group->n == MOST_MEMBERS || v - group->last > NEAR || group->n_operands + n_operands > MOST_OPERANDS)
        return false;
    for (size_t i = 0; i < group->n; i++) {
        bool reaches = false;
        size_t budget = MOST_CONE;
        if (!reads_in_place(p, v, group->member[i], &reaches, &budget) || (reaches && group->is_column[i]))
            return false;
    }
    LoopWish shape = group->wish;
    if (!loop_join(p->g, &shape, group->member, group->n, wish, v) ||
        !kernel_order_merge(p->order, (uint32_t[]){group->member[0], v}, 2))
        return false;
    group->wish = shape;
    return true;
}

static void join(Grouping *p, uint32_t into, ValueId v, const LoopWish *wish)
{
    Group *group = p->group[into];
    group->is_column[group->n] = wish->is_column;
    group->member[group->n++] = v;
    group->last = v;
    group->n_operands += p->first_read[v + 1] - p->first_read[v] + 2;
    p->group_of[v] = into;
}

// Candidates: who made what v reads, then who reads the same.
static uint32_t find_group(Grouping *p, ValueId v, const LoopWish *wish)
{
    const Graph *g = p->g;
    for (int siblings = 0; siblings <= 1; siblings++)
        for (uint32_t r = p->first_read[v + 1]; r-- > p->first_read[v];) {
            ValueId x = p->read[r];
            if (!siblings && p->group_of[x] && fits(p, p->group_of[x], v, wish))
                return p->group_of[x];
            for (int i = 0; siblings && i < READERS && g->node[x].type.n_axes; i++)
                if (p->reader[x][i] && fits(p, p->reader[x][i], v, wish))
                    return p->reader[x][i];
        }
    return 0;
}

static void note_reader(Grouping *p, ValueId v)
{
    uint32_t group = p->group_of[v];
    for (uint32_t r = p->first_read[v]; r < p->first_read[v + 1]; r++) {
        uint32_t *reader = p->reader[p->read[r]];
        if (reader[0] == group)
            continue;
        memmove(reader + 1, reader, (READERS - 1) * sizeof *reader);
        reader[0] = group;
    }
}

// A value that only its own kernel reads is not stored after all: that kernel has it where it makes it. Known when all groups are.
// Reductions stay: whether one is made inside of a loop was decided before.
static void keep_inside(Grouping *p, bool *is_new)
{
    const Graph *g = p->g;
    bool *is_needed = arena_array(p->scratch, bool, g->n_nodes);
    for (size_t i = 0; i < g->n_outputs; i++)
        is_needed[g->output[i].value] = true;
    for (ValueId v = 1; v < g->n_nodes; v++)
        for (uint32_t r = p->first_read[v]; p->stored[v] && r < p->first_read[v + 1]; r++)
            is_needed[p->read[r]] = is_needed[p->read[r]] || p->group_of[p->read[r]] != p->group_of[v];
    for (ValueId v = 1; v < g->n_nodes; v++)
        if (is_new[v] && !is_needed[v] && p->group[p->group_of[v]]->is_ours && !loop_is_reduction(&g->node[v])) {
            is_new[v] = false;
            p->g->node[v].kernel = 0;
        }
}

static KernelFamily family_of(const Node *n)
{
    if (op_row[n->op].flags & OP_FLAG_ROUTING)
        return FAMILY_ROUTE;
    if (n->op == OP_FFTCONV)
        return FAMILY_CONV;
    if (n->op == OP_PUT)
        return FAMILY_SCATTER;
    return n->op == OP_PUT_ADD && n->attr[0].axes.n && n->type.dtype == DTYPE_F32 ? FAMILY_SCATTER : FAMILY_LOOP;
}

void fuse_group(Graph *g, Arena *scratch, const bool *stored)
{
    size_t n = g->n_nodes;
    Grouping p = {.g = g, .scratch = scratch, .stored = stored, .group_of = arena_array(scratch, uint32_t, n),
                  .stamp = arena_array(scratch, uint32_t, n), .reader = arena_alloc(scratch, n, sizeof *p.reader)};
    find_reads(&p);
    p.order = kernel_order_make(scratch, n, p.first_read, p.read);
    add_given(&p);
    bool *is_new = arena_array(scratch, bool, n);
    // Until the kernels are known each value is its own, so that shapes are asked for one value at a time.
    for (ValueId v = 1; v < n; v++)
        if (stored[v] && !g->node[v].kernel) {
            is_new[v] = true;
            g->node[v].kernel = UINT32_MAX - v;
        }
    for (ValueId v = 1; v < n; v++) {
        const Node *node = &g->node[v];
        if (!is_new[v])
            continue;
        KernelFamily family = family_of(node);
        LoopWish wish = {0};
        if (family == FAMILY_LOOP)
            wish = loop_ask(g, node->kernel, v);
        uint32_t into = family == FAMILY_LOOP ? find_group(&p, v, &wish) : 0;
        if (!into)
            into = add_group(&p, (Group){.last = v, .is_ours = family == FAMILY_LOOP, .wish = wish});
        join(&p, into, v, &wish);
        note_reader(&p, v);
    }
    keep_inside(&p, is_new);
    uint32_t *kernel = arena_array(scratch, uint32_t, p.n_groups);
    for (ValueId v = 1; v < n; v++) {
        uint32_t group = p.group_of[v];
        if (!is_new[v])
            continue;
        if (!kernel[group])
            kernel[group] = graph_add_kernel(g, family_of(&g->node[v]));
        g->node[v].kernel = kernel[group];
    }
}
