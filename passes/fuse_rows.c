// fuse-rows: attention becomes one kernel, forward and backward, and no value over pairs of positions is stored.
//
// Rule. For each pair of twin axes (row, col) the wide values - elementwise chains from products that hold both - form
// groups: two belong together when one reads the other. A group becomes a kernel when every reader of its wide values
// is in it (an elementwise value, a reduction over columns, or a product that sums rows or columns away), when it has
// such a product, and when it can run as one (kernel_order.h). It stores these products, and the
// reductions (and what is elementwise in them) that somebody else reads: the row statistics of the backward part.
//
// Needs: the backward part has its own copy of the forward's wide values (pass recompute). Keeps: nodes and ids; only
// `kernel` is set. A group that does not fit is left to fuse_product and fuse_loops, which store wide values.
#include "kernel_order.h"
#include "pass.h"
#include "rewrite.h"
#include "rows.h"
#include "users.h"

#include <string.h>

enum { MAX_PAIRS = 32, MAX_GROUP = 200, MAX_PRODUCTS = 12 };    // what the lowering has room for

typedef struct Finder {
    Graph   *g;                             // being marked
    Arena   *scratch;
    AxisId   row, col;
    uint8_t *class_of;                      // [n_nodes] RowsClass
    ValueId *group;                         // [n_nodes] union-find over wide values; reductions, lines and outs point to one
    bool    *live, *bad;                    // [n_nodes]; bad: of a group's root
    bool    *needed;                        // [n_nodes] a line that wide values of its group read
    uint8_t *taint;                         // [n_nodes] of the group at hand
    KernelOrder *order;
} Finder;

static ValueId find_group(Finder *f, ValueId v)
{
    while (f->group[v] != v)
        v = f->group[v] = f->group[f->group[v]];
    return v;
}

static void join_groups(Finder *f, ValueId a, ValueId b)
{
    a = find_group(f, a);
    b = find_group(f, b);
    f->group[a < b ? b : a] = a < b ? a : b;
}

static bool is_member(const Finder *f, ValueId v)
{
    const uint8_t c = f->class_of[v];
    return c == ROWS_WIDE || c == ROWS_REDUCE || c == ROWS_LINE || c == ROWS_OUT;
}

static void classify(Finder *f)
{
    const Graph *g = f->g;
    for (ValueId v = 1; v < g->n_nodes; v++) {
        f->class_of[v] = ROWS_NONE;
        f->group[v] = v;
        f->bad[v] = f->needed[v] = false;
        if (!f->live[v] || g->node[v].kernel != 0)
            continue;
        f->class_of[v] = (uint8_t)rows_class(g, v, f->row, f->col, f->class_of);
    }
    for (ValueId v = 1; v < g->n_nodes; v++) {
        const Node *n = &g->node[v];
        const uint8_t c = f->class_of[v];
        for (size_t k = 0; k < n->n_in && is_member(f, v); k++) {
            const ValueId in = n->in[k];
            if (f->class_of[in] == ROWS_WIDE)
                join_groups(f, v, in);
            else if (c == ROWS_LINE && (f->class_of[in] == ROWS_REDUCE || f->class_of[in] == ROWS_LINE))
                f->group[v] = find_group(f, in);            // of the last operand, when there are several groups
        }
    }
    for (ValueId v = 1; v < g->n_nodes; v++)
        if (f->class_of[v] == ROWS_BAD)
            for (size_t k = 0; k < g->node[v].n_in; k++)
                f->bad[find_group(f, g->node[v].in[k])] = true;
    for (size_t i = 0; i < g->n_outputs; i++)
        if (f->class_of[g->output[i].value] == ROWS_WIDE)
            f->bad[find_group(f, g->output[i].value)] = true;
}

// Lines are members when a wide value of their group reads them, itself or through lines and free values.
static void mark_needed(Finder *f)
{
    const Graph *g = f->g;
    for (ValueId v = (ValueId)g->n_nodes; v-- > 1;) {
        const uint8_t c = f->class_of[v];
        if (c != ROWS_WIDE && c != ROWS_FREE && !(c == ROWS_LINE && f->needed[v]))
            continue;
        for (size_t k = 0; k < g->node[v].n_in; k++) {
            const ValueId in = g->node[v].in[k];
            if (f->class_of[in] == ROWS_LINE && (c == ROWS_FREE || find_group(f, in) == find_group(f, v)))
                f->needed[in] = true;
        }
    }
    for (ValueId v = 1; v < g->n_nodes; v++)
        if (f->class_of[v] == ROWS_LINE && !f->needed[v])
            f->class_of[v] = ROWS_NONE;
}

// Batch axes are the same for all wide products, and every wide value has no others; both axes have elements. Values may be
// rounded to bf16 on the way.
static bool axes_agree(const Finder *f, const ValueId *member, size_t n)
{
    const Type *batch = NULL;
    for (size_t i = 0; i < n; i++) {
        const Node *node = &f->g->node[member[i]];
        if (f->class_of[member[i]] != ROWS_WIDE)
            continue;
        if (batch == NULL)
            batch = &node->type;
        Type type = node->type;
        type.dtype = batch->dtype;
        if (node->type.dtype == DTYPE_I32 || !type_same_axes(batch, &type))
            return false;
    }
    int64_t count;
    return batch != NULL && type_count(f->g, batch, &count) && count > 0;
}

// The lowering: what the group computes must not need, even by way of the outside, the products that it sums up.
static bool is_schedulable(Finder *f, ValueId root, const ValueId *member, size_t n)
{
    const Graph *g = f->g;
    const ValueId first = member[0], last = member[n - 1];
    bool fine = true;
    for (ValueId v = first; v <= last && fine; v++) {
        const Node *node = &g->node[v];
        const bool inside = is_member(f, v) && find_group(f, v) == root;
        bool after = false;                 // depends on a result of the group by way of the outside
        for (size_t k = 0; k < node->n_in; k++) {
            const ValueId in = node->in[k];
            const bool in_group = is_member(f, in) && find_group(f, in) == root;
            const bool result = in_group && f->class_of[in] != ROWS_WIDE
                             && (f->class_of[in] == ROWS_OUT || (!inside && f->class_of[v] != ROWS_FREE));
            after |= result || (in >= first && !in_group && f->taint[in]);
        }
        f->taint[v] = after;
        fine = !(inside && after);
    }
    return fine;
}

// Whether the group can be one kernel, beside those there are. Free values between two members are computed inside.
static bool can_run(Finder *f, ValueId root, const ValueId *member, size_t n)
{
    const Graph *g = f->g;
    enum { BELOW = 1, ABOVE = 2, OF_GROUP = 4 };
    const ValueId first = member[0], last = member[n - 1];
    size_t n_inside = 0;
    ValueId *inside = arena_array(f->scratch, ValueId, last - first + 1);
    for (ValueId v = first; v <= last; v++) {
        f->taint[v] = is_member(f, v) && find_group(f, v) == root ? OF_GROUP : 0;
        for (size_t k = 0; f->class_of[v] == ROWS_FREE && k < g->node[v].n_in; k++)
            if (g->node[v].in[k] >= first && (f->taint[g->node[v].in[k]] & (BELOW | OF_GROUP)))
                f->taint[v] |= BELOW;
    }
    for (ValueId v = last + 1; v-- > first;) {
        if ((f->taint[v] & OF_GROUP) || f->taint[v] == (BELOW | ABOVE))
            inside[n_inside++] = v;
        for (size_t k = 0; f->taint[v] & (ABOVE | OF_GROUP) && k < g->node[v].n_in; k++)
            if (g->node[v].in[k] >= first && f->class_of[g->node[v].in[k]] == ROWS_FREE)
                f->taint[g->node[v].in[k]] |= ABOVE;
    }
    return kernel_order_merge(f->order, inside, n_inside);
}

// Somebody who is not a wide value or a line of the group reads v.
static bool is_read_outside(Finder *f, const Users *users, ValueId v, ValueId root)
{
    for (size_t u = users->first[v]; u < users->first[v + 1]; u++) {
        const uint8_t c = f->class_of[users->user[u]];
        if (!(c == ROWS_WIDE || c == ROWS_LINE) || find_group(f, users->user[u]) != root)
            return true;
    }
    return users->is_output[v];
}

// Makes a kernel of the group with these members, if it fits.
static void fuse_group(Finder *f, const Users *users, ValueId root, const ValueId *member, size_t n)
{
    size_t n_outs = 0, n_products = 0;
    for (size_t i = 0; i < n; i++) {
        n_outs += f->class_of[member[i]] == ROWS_OUT;
        n_products += f->g->node[member[i]].op == OP_CONTRACT;
    }
    if (n_outs == 0 || n > MAX_GROUP || n_products > MAX_PRODUCTS || f->bad[root] || !axes_agree(f, member, n) || !is_schedulable(f, root, member, n)
        || !can_run(f, root, member, n))
        return;
    const uint32_t kernel = graph_add_kernel(f->g, FAMILY_ROWS);
    for (size_t i = 0; i < n; i++) {
        const uint8_t c = f->class_of[member[i]];
        if (c == ROWS_OUT || (c != ROWS_WIDE && is_read_outside(f, users, member[i], root)))
            f->g->node[member[i]].kernel = kernel;
    }
}

static void fuse_pair(Finder *f, const Users *users)
{
    const Graph *g = f->g;
    classify(f);
    mark_needed(f);
    // Members by group: counted, then listed.
    size_t *first = arena_array(f->scratch, size_t, g->n_nodes + 2);
    size_t n_members = 0;
    for (ValueId v = 1; v < g->n_nodes; v++)
        if (is_member(f, v)) {
            first[find_group(f, v) + 2]++;
            n_members++;
        }
    for (ValueId v = 2; v < g->n_nodes + 2; v++)
        first[v] += first[v - 1];
    ValueId *member = arena_array(f->scratch, ValueId, n_members + 1);
    for (ValueId v = 1; v < g->n_nodes; v++)
        if (is_member(f, v))
            member[first[find_group(f, v) + 1]++] = v;
    for (ValueId root = 1; root < g->n_nodes; root++)
        if (first[root + 1] > first[root])
            fuse_group(f, users, root, &member[first[root]], first[root + 1] - first[root]);
}

// The pairs of twins that some product holds, each in both orders.
static size_t find_pairs(const Graph *g, const bool *live, AxisId (*pair)[2])
{
    size_t n = 0;
    for (ValueId v = 1; v < g->n_nodes; v++) {
        const Type *type = &g->node[v].type;
        if (!live[v] || g->node[v].op != OP_CONTRACT)
            continue;
        for (int i = 0; i < type->n_axes; i++)
            for (int k = 0; k < type->n_axes; k++) {
                if (i == k || axis_twin_root(g, type->axis[i]) != axis_twin_root(g, type->axis[k]))
                    continue;
                bool known = n == MAX_PAIRS;
                for (size_t p = 0; p < n && !known; p++)
                    known = pair[p][0] == type->axis[i] && pair[p][1] == type->axis[k];
                if (!known) {
                    pair[n][0] = type->axis[i];
                    pair[n++][1] = type->axis[k];
                }
            }
    }
    return n;
}

static Graph *fuse(PassContext *ctx, const Graph *in)
{
    Graph *g = graph_copy(ctx->arena, in, in->name, true);
    Arena scratch = scratch_arena(ctx->arena);
    Finder f = {.g = g, .scratch = &scratch};
    f.class_of = arena_array(&scratch, uint8_t, g->n_nodes);
    f.group = arena_array(&scratch, ValueId, g->n_nodes);
    f.live = arena_array(&scratch, bool, g->n_nodes);
    f.bad = arena_array(&scratch, bool, g->n_nodes);
    f.needed = arena_array(&scratch, bool, g->n_nodes);
    f.taint = arena_array(&scratch, uint8_t, g->n_nodes);
    graph_mark_live(g, f.live);
    f.order = kernel_order_of_graph(&scratch, g);
    const Users users = users_of(&scratch, g, f.live);
    AxisId pair[MAX_PAIRS][2];
    const size_t n_pairs = find_pairs(g, f.live, pair);
    for (size_t p = 0; p < n_pairs; p++) {
        f.row = pair[p][0];
        f.col = pair[p][1];
        fuse_pair(&f, &users);
    }
    arena_free(&scratch);
    return g;
}

bool pass_fuse_rows(PassContext *ctx, const Module *in, Module *out)
{
    return pass_each_graph(ctx, in, out, fuse);
}
