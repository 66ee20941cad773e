// fuse-product: each big contract becomes the anchor of a kernel, with the elementwise values that follow it.
//
// Rule. A contract is an anchor when it is worth a register-tiled kernel (product_is_worth). The rest is left to
// fuse_loops.
//
// A value may join the anchor's kernel when it has one element for each element of the anchor (elementwise, or a
// one-to-one view), and every other operand is ready before the kernel runs. It does join
//   - along a chain: while the value at hand has one user, that user joins and the value itself is not stored; or
//   - for a goal: it must be stored in any case (a product, a gather or an output wants it), and then everything
//     between the anchor and the goal joins.
// The sum of all elements of such a value (a gradient's norm wants it) is a goal of a grouped gradient: with it and with the
// update of the weights in its kernel, the gradient itself need not be stored.
// What somebody outside the kernel reads is stored; a view is not, because its reader sees through it.
//
// `ready` gives each value a time at which it may be there, where a contract or reduction runs after everything it needs. A
// value joins when its other operands are ready before the anchor runs. Whether what came together can run as one kernel is
// for kernel_order.h to say; if not, the goals are given up, and then the chain.
//
// A convolution is an anchor as well: gates and skips behind it join its kernel.
//
// Needs: types with their final axis order. Keeps: nodes and ids; only `kernel` is set.
#include "grouped.h"
#include "kernel_order.h"
#include "pass.h"
#include "product.h"
#include "rewrite.h"
#include "rows.h"
#include "users.h"

#include <string.h>

enum { MAX_JOINED = 96, MAX_SEEN = 512 };

typedef struct Fuse {
    Graph    *g;                            // being marked
    Arena    *scratch;
    Users     users;
    ValueId  *ready;                        // [n_nodes] time at which the value can be read
    uint8_t  *state;                        // [n_nodes] bits below, of the anchor at hand
    KernelOrder *order;
} Fuse;

enum { JOINED = 1, KEPT = 2, SEEN = 4, OUTSIDE = 8, TOTAL = 16 };

// A row of a parameter, looked up where it is wanted, is there as soon as the index is.
static bool is_heavy(const Graph *g, const Node *n)
{
    switch ((int)n->op) {
    case OP_TAKE: return g->node[n->in[0]].op != OP_PARAM;
    case OP_CONTRACT: case OP_REDUCE: case OP_PUT_ADD: return true;
    default: return (op_row[n->op].flags & (OP_FLAG_ROUTING | OP_FLAG_ALONE)) != 0;
    }
}

// The time of a kernel that exists already is that of its last value, or later if it waits for others: what it makes for itself
// it need not wait for. by[v]: the kernel that v waits for longest.
static void find_ready(Fuse *f)
{
    const Graph *g = f->g;
    ValueId *last = arena_array(f->scratch, ValueId, g->n_kernels + 1);
    uint32_t *by = arena_array(f->scratch, uint32_t, g->n_nodes);
    for (size_t id = 1; id < g->n_nodes; id++)
        if (g->node[id].kernel != 0)
            last[g->node[id].kernel] = (ValueId)id;
    for (size_t id = 1; id < g->n_nodes; id++) {
        const Node *n = &g->node[id];
        ValueId time = 0;
        by[id] = n->kernel;
        for (size_t k = 0; k < n->n_in; k++) {
            const ValueId in = n->in[k];
            if (f->ready[in] <= time || (n->kernel != 0 && by[in] == n->kernel))
                continue;
            time = f->ready[in];
            if (n->kernel == 0)
                by[id] = by[in];
        }
        if (is_heavy(g, n) || n->kernel != 0) {
            time++;
            if (time < id)
                time = (ValueId)id;
            if (time < last[n->kernel])
                time = last[n->kernel];
        }
        f->ready[id] = time;
    }
}

// Somebody needs the value in memory: an output, or an op that reads it many times or by index.
static bool is_goal(const Fuse *f, ValueId v, int depth)
{
    if (f->users.is_output[v])
        return true;
    for (size_t u = f->users.first[v]; u < f->users.first[v + 1]; u++) {
        const Node *n = &f->g->node[f->users.user[u]];
        if (n->op == OP_CONTRACT || n->op == OP_FFTCONV || n->op == OP_TAKE || n->op == OP_PUT_ADD || n->op == OP_PUT)
            return true;
        if ((op_row[n->op].flags & OP_FLAG_VIEW) && depth < 8 && is_goal(f, f->users.user[u], depth + 1))
            return true;
    }
    return false;
}

// Adds the users of v to the list of what may come next: sorted, the smallest id last.
static void list_users(Fuse *f, ValueId v, ValueId *seen, size_t *n_seen)
{
    for (size_t u = f->users.first[v]; u < f->users.first[v + 1] && *n_seen < MAX_SEEN; u++) {
        const ValueId user = f->users.user[u];
        if (f->state[user] & SEEN)
            continue;
        f->state[user] |= SEEN;
        size_t i = (*n_seen)++;
        for (; i > 0 && seen[i - 1] < user; i--)
            seen[i] = seen[i - 1];
        seen[i] = user;
    }
}

// The sum of all elements of a joined value, behind a grouped gradient.
static bool is_total(const Fuse *f, const Space *space, ValueId v)
{
    const Node *n = &f->g->node[v];
    return f->g->node[space->anchor].op == OP_PUT_ADD && n->op == OP_REDUCE && n->attr[0].red == RED_SUM && n->type.n_axes == 0
        && n->type.dtype == DTYPE_F32 && (f->state[n->in[0]] & JOINED);
}

// All values that may join, by increasing id. Returns their number.
static size_t find_joinable(Fuse *f, Space *space, ValueId *joined, ValueId *seen)
{
    const ValueId time = f->ready[space->anchor];
    size_t n = 0, n_seen = 0, next = 0;     // next: of the joined values, the first whose users are not listed
    joined[n++] = space->anchor;
    f->state[space->anchor] = JOINED;
    for (;;) {
        for (; next < n; next++)
            list_users(f, joined[next], seen, &n_seen);
        if (n_seen == 0 || n == MAX_JOINED)
            break;
        const ValueId v = seen[--n_seen];
        const Node *node = &f->g->node[v];
        f->state[v] = 0;
        bool fits = node->kernel == 0 && node->op != OP_STOP;      // behind a stop: what recompute makes again later
        for (size_t k = 0; k < node->n_in && fits; k++)
            fits = (f->state[node->in[k]] & JOINED) || f->ready[node->in[k]] < time;
        if (fits && is_total(f, space, v)) {
            f->state[v] = TOTAL;
            joined[n++] = v;
        } else if (fits && space_add(space, f->g, v)) {
            f->state[v] = JOINED;
            joined[n++] = v;
        }
    }
    while (n_seen > 0)
        f->state[seen[--n_seen]] = 0;
    return n;
}

// The only user of v; 0 when there are several or none, or when v is an output.
static ValueId only_user(const Fuse *f, ValueId v)
{
    ValueId one = 0;
    for (size_t u = f->users.first[v]; u < f->users.first[v + 1]; u++) {
        if (one != 0 && f->users.user[u] != one)
            return 0;
        one = f->users.user[u];
    }
    return f->users.is_output[v] ? 0 : one;
}

static void keep_chain(Fuse *f, ValueId anchor)
{
    for (ValueId v = anchor; v != 0 && (f->state[v] & JOINED); v = only_user(f, v))
        f->state[v] |= KEPT;
}

// Paths to goals, from the back.
static void keep_goals(Fuse *f, const ValueId *joined, size_t n)
{
    const Graph *g = f->g;
    for (size_t i = n; i-- > 0;) {
        const ValueId v = joined[i];
        if ((f->state[v] & TOTAL) || is_goal(f, v, 0))
            f->state[v] |= KEPT;
        for (size_t k = 0; (f->state[v] & KEPT) && k < g->node[v].n_in; k++)
            if (f->state[g->node[v].in[k]] & JOINED)
                f->state[g->node[v].in[k]] |= KEPT;
    }
}

// Whether what is kept can run as one kernel.
static bool can_run(Fuse *f, const ValueId *joined, size_t n)
{
    ValueId kept[MAX_JOINED];
    size_t n_kept = 0;
    for (size_t i = 0; i < n; i++)
        if (f->state[joined[i]] & KEPT)
            kept[n_kept++] = joined[i];
    return kernel_order_merge(f->order, kept, n_kept);
}

static void choose_kept(Fuse *f, ValueId anchor, const ValueId *joined, size_t n)
{
    keep_chain(f, anchor);
    keep_goals(f, joined, n);
    for (int less = 0; less < 2 && !can_run(f, joined, n); less++) {
        for (size_t i = 0; i < n; i++)
            f->state[joined[i]] &= (uint8_t)~KEPT;
        if (less == 0)
            keep_chain(f, anchor);
        else
            f->state[anchor] |= KEPT;
    }
}

static void mark_stored(Fuse *f, const ValueId *joined, size_t n, uint32_t kernel)
{
    Graph *g = f->g;
    for (size_t i = n; i-- > 0;) {
        const ValueId v = joined[i];
        if (!(f->state[v] & KEPT))
            continue;
        for (size_t u = f->users.first[v]; u < f->users.first[v + 1]; u++)
            if (!(f->state[f->users.user[u]] & KEPT))
                f->state[v] |= OUTSIDE;
        const bool is_view = (op_row[g->node[v].op].flags & OP_FLAG_VIEW) != 0;
        if (f->users.is_output[v] || ((f->state[v] & OUTSIDE) && !is_view))
            g->node[v].kernel = kernel;
        else if (f->state[v] & OUTSIDE)
            f->state[g->node[v].in[0]] |= OUTSIDE;
    }
}

// inside[v]: a row kernel computes it; of products, those over pairs of positions.
static void mark_inside(const Graph *g, bool *inside)
{
    for (size_t v = g->n_nodes; v-- > 1;) {
        const Node *n = &g->node[v];
        const bool stored_by_rows = n->kernel != 0 && g->kernel[n->kernel] == FAMILY_ROWS;
        if (!stored_by_rows && !(inside[v] && n->op != OP_CONTRACT))
            continue;
        for (size_t k = 0; k < n->n_in; k++) {
            const Node *in = &g->node[n->in[k]];
            inside[n->in[k]] |= in->kernel == 0 && (in->op != OP_CONTRACT || type_holds_twins(g, &in->type));
        }
    }
}

// The family of kernels that v can be the anchor of; FAMILY_LOOP: none.
static KernelFamily anchor_family(const Fuse *f, ValueId v)
{
    const Graph *g = f->g;
    const Node *n = &g->node[v];
    Grouped grouped;
    if (n->kernel == 0 && n->op == OP_FFTCONV)
        return FAMILY_CONV;
    if (n->kernel != 0 || (n->op != OP_CONTRACT && n->op != OP_PUT_ADD))
        return FAMILY_LOOP;
    if (grouped_of(g, v, &grouped) && grouped_is_worth(&grouped) && !f->users.is_output[grouped.through])
        return FAMILY_GROUPED;
    if (n->op != OP_CONTRACT)
        return FAMILY_LOOP;
    const Product p = product_of(g, v);
    return product_is_worth(g, &p) ? FAMILY_CONTRACT : FAMILY_LOOP;
}

static Graph *fuse(PassContext *ctx, const Graph *in)
{
    Graph *g = graph_copy(ctx->arena, in, in->name, true);
    Arena scratch = scratch_arena(ctx->arena);
    bool *live = arena_array(&scratch, bool, g->n_nodes);
    graph_mark_live(g, live);
    Fuse f = {.g = g, .scratch = &scratch, .users = users_of(&scratch, g, live)};
    f.ready = arena_array(&scratch, ValueId, g->n_nodes);
    f.state = arena_array(&scratch, uint8_t, g->n_nodes);
    find_ready(&f);
    f.order = kernel_order_of_graph(&scratch, g);
    bool *inside = arena_array(&scratch, bool, g->n_nodes);
    mark_inside(g, inside);
    ValueId *joined = arena_array(&scratch, ValueId, MAX_JOINED), *seen = arena_array(&scratch, ValueId, MAX_SEEN + 1);
    for (ValueId v = 1; v < g->n_nodes; v++) {
        const KernelFamily family = live[v] && !inside[v] ? anchor_family(&f, v) : FAMILY_LOOP;
        if (family == FAMILY_LOOP)
            continue;
        Space space = space_make(&scratch, g, v);
        const size_t n = find_joinable(&f, &space, joined, seen);
        const uint32_t kernel = graph_add_kernel(g, family);
        choose_kept(&f, v, joined, n);
        mark_stored(&f, joined, n, kernel);
        for (size_t i = 0; i < n; i++)
            f.state[joined[i]] = 0;
    }
    arena_free(&scratch);
    return g;
}

bool pass_fuse_product(PassContext *ctx, const Module *in, Module *out)
{
    return pass_each_graph(ctx, in, out, fuse);
}
