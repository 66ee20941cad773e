// fuse-route: what chooses the experts of a token becomes one kernel, and what gives the choices their places another.
//
//   tokens   the product that makes a topk's scores, the topk, and what follows from both for each token alone: row sums of a
//            softmax, the weights of the choices, the mean and the deviation of what the scores are made of
//   places   the slots, ranks and assignments of a pool, and what follows from them for each choice: the choice that is kept
//
// Rule. A kernel of tokens begins with a contract that a topk over one of its columns reads, straight or through elementwise
// values over the same axes. It is joined by what has an element (or a few, along the scores or the choices) for each token:
// elementwise values, reductions along the scores, the choices or what the scores are made of, and takes at a choice. Of these,
// whatever is read outside is stored, but for values over all scores and the like: whoever wants these makes them again. A kernel of places begins
// with a slot, a rank or an assign; others of the same pools and elementwise values over the same axes join it.
//
// Whether the values can run as one kernel is for kernel_order.h to say, one by one.
//
// Needs: types with their final axis order, before fuse_product. Keeps: nodes and ids; only `kernel` is set.
#include "kernel_order.h"
#include "pass.h"
#include "product.h"
#include "rewrite.h"
#include "users.h"

#include <string.h>

enum { MOST_JOINED = 48, MOST_SEEN = 256, LEAST_ROWS = 4, LEAST_TERMS = 4, LEAST_PRODUCTS = 8192 };

typedef struct Fuse {
    Graph       *g;                         // being marked
    Users        users;
    KernelOrder *order;
    ValueId      joined[MOST_JOINED]; size_t n_joined;
    ValueId      seen[MOST_SEEN]; size_t n_seen;
    uint32_t    *in_kernel, *listed, *wanted;   // [n_nodes] the serial of the kernel at hand
    uint32_t     serial;
    ValueId      source;                    // what the scores are made of: its users may join as well; 0: nothing
} Fuse;

// ---- sets of values ----

static bool is_joined(const Fuse *f, ValueId v)
{
    return f->in_kernel[v] == f->serial;
}

static bool reads_joined(const Fuse *f, const Node *n)
{
    for (int i = 0; i < n->n_in; i++)
        if (is_joined(f, n->in[i]) || (f->source && n->in[i] == f->source))
            return true;
    return false;
}

// The users of v come next, in order of their ids, the smallest last.
static void list_users(Fuse *f, ValueId v)
{
    for (size_t u = f->users.first[v]; u < f->users.first[v + 1] && f->n_seen < MOST_SEEN; u++) {
        const ValueId user = f->users.user[u];
        if (f->listed[user] == f->serial || is_joined(f, user))
            continue;
        f->listed[user] = f->serial;
        size_t i = f->n_seen++;
        for (; i > 0 && f->seen[i - 1] < user; i--)
            f->seen[i] = f->seen[i - 1];
        f->seen[i] = user;
    }
}

static void begin(Fuse *f)
{
    f->serial++;
    f->n_joined = f->n_seen = 0;
    f->source = 0;
}

static bool join(Fuse *f, ValueId v)
{
    if (f->n_joined == MOST_JOINED || (f->n_joined && !kernel_order_merge(f->order, (uint32_t[]){f->joined[0], v}, 2)))
        return false;
    f->in_kernel[v] = f->serial;
    f->joined[f->n_joined++] = v;
    list_users(f, v);
    return true;
}

static bool is_routing(const Node *n)
{
    return (op_row[n->op].flags & OP_FLAG_ROUTING) != 0;
}

static bool is_read_outside(const Fuse *f, ValueId v)
{
    bool outside = f->users.is_output[v];
    for (size_t u = f->users.first[v]; u < f->users.first[v + 1]; u++)
        outside |= !is_joined(f, f->users.user[u]);
    return outside;
}

// ---- tokens ----

typedef struct Tokens {
    ValueId scores;                         // the contract
    AxisId  expert;                         // its last axis
    Type    token;                          // its other axes
    AxisGroup sum;                          // what it sums over
} Tokens;

static bool has_all(const Type *type, const Type *axes)
{
    for (int i = 0; i < axes->n_axes; i++)
        if (!type_has(type, axes->axis[i]))
            return false;
    return true;
}

// The contract behind a topk's operand, through elementwise values over the same axes; 0: there is none.
static ValueId scores_of(const Fuse *f, ValueId x, const Type *type, int depth)
{
    const Node *n = &f->g->node[x];
    if (n->kernel || n->type.n_axes != type->n_axes || !has_all(&n->type, type) || depth > 12)
        return 0;
    if (n->op == OP_CONTRACT)
        return x;
    for (int i = 0; i < n->n_in && (op_row[n->op].flags & OP_FLAG_POINTWISE) && n->op != OP_STOP; i++) {
        const ValueId found = scores_of(f, n->in[i], type, depth + 1);
        if (found)
            return found;
    }
    return 0;
}

// Whether the innermost axis of more than one element is summed: then rows of the operand can be copied term by term.
static bool has_terms_inside(const Graph *g, const Product *p)
{
    const Type *type = &g->node[p->operand[0]].type;
    for (int i = type->n_axes - 1; i >= 0; i--)
        if (graph_size(g, type->axis[i]) != 1)
            return !type_has(&g->node[p->value].type, type->axis[i]);
    return false;
}

// A product of rows, whose axes come first, and columns, of which the experts are last.
static bool can_be_scores(const Graph *g, ValueId v, AxisId expert)
{
    const Type *type = &g->node[v].type;
    if (type->dtype == DTYPE_I32 || type->n_axes < 2 || type->axis[type->n_axes - 1] != expert || graph_size(g, expert) < 2)
        return false;
    const Product p = product_of(g, v);
    const AxisGroup *row = &p.group[CLASS_ROW];
    for (int i = 0; i < row->n; i++)
        if (row->axis[i] != type->axis[i])
            return false;
    return p.group[CLASS_BATCH].n == 0 && row->n > 0 && row->size >= LEAST_ROWS && p.group[CLASS_SUM].size >= LEAST_TERMS
        && product_flops(&p) >= LEAST_PRODUCTS && type_has(&g->node[p.operand[1]].type, expert) && has_terms_inside(g, &p);
}

static bool find_tokens(const Fuse *f, ValueId topk, Tokens *out)
{
    const Graph *g = f->g;
    const Node *n = &g->node[topk];
    const Type *x = &g->node[n->in[0]].type;
    *out = (Tokens){.expert = n->attr[0].axis};
    const ValueId scores = scores_of(f, n->in[0], x, 0);
    if (!scores || !can_be_scores(g, scores, out->expert))
        return false;
    out->scores = scores;
    out->sum = product_of(g, scores).group[CLASS_SUM];
    out->token = g->node[scores].type;
    out->token.n_axes--;
    // The choices of a token follow each other, in the order of the tokens.
    return n->type.n_axes == out->token.n_axes + 1 && !memcmp(n->type.axis, out->token.axis, out->token.n_axes * sizeof(AxisId));
}

// A value with such an axis is made again by whoever wants it, not stored.
static bool is_wide_axis(const Tokens *t, AxisId axis)
{
    bool wide = axis == t->expert;
    for (int i = 0; i < t->sum.n; i++)
        wide |= t->sum.axis[i] == axis;
    return wide;
}

static bool is_wide(const Tokens *t, const Type *type)
{
    bool wide = false;
    for (int i = 0; i < type->n_axes && t; i++)
        wide |= is_wide_axis(t, type->axis[i]);
    return wide;
}

// An axis that a value of the kernel may have besides those of the tokens: also the choices of a topk in it.
static bool is_inner(const Fuse *f, const Tokens *t, AxisId axis)
{
    bool inner = is_wide_axis(t, axis);
    for (size_t i = 0; i < f->n_joined; i++) {
        const Node *n = &f->g->node[f->joined[i]];
        inner |= n->op == OP_TOPK && n->attr[1].axis == axis;
    }
    return inner;
}

static bool is_of_tokens(const Fuse *f, const Tokens *t, const Type *type)
{
    if (!has_all(type, &t->token))
        return false;
    for (int i = 0; i < type->n_axes; i++)
        if (!type_has(&t->token, type->axis[i]) && !is_inner(f, t, type->axis[i]))
            return false;
    return true;
}

static bool joins_tokens(const Fuse *f, const Tokens *t, ValueId v)
{
    const Node *n = &f->g->node[v];
    if (n->kernel || n->op == OP_STOP || !reads_joined(f, n))
        return false;
    if (n->op == OP_TOPK) {
        Tokens other;
        return find_tokens(f, v, &other) && other.scores == t->scores;
    }
    const bool local = (op_row[n->op].flags & OP_FLAG_POINTWISE) || n->op == OP_REDUCE || (n->op == OP_AT && graph_size(f->g, n->attr[0].axis) == 1)
        || (n->op == OP_TAKE && is_joined(f, n->in[1]) && n->attr[0].axis == t->expert && is_of_tokens(f, t, &f->g->node[n->in[0]].type));
    return local && is_of_tokens(f, t, &n->type);
}

// One step from a single stored value: not worth a place of its own.
static bool is_cheap(const Fuse *f, const Node *n)
{
    int n_values = 0;
    switch ((int)n->op) {
    case OP_ADD: case OP_SUB: case OP_MUL: case OP_NEG: case OP_LT: case OP_LE: case OP_EQ: case OP_NE: break;
    default: return false;
    }
    for (int i = 0; i < n->n_in; i++)
        n_values += f->g->node[n->in[i]].op != OP_CONST;
    return n_values == 1;
}

// Stores what is read outside. Where that is cheap, a view, or has an element for each expert, it is made again from what it reads.
static void mark_stored(Fuse *f, const Tokens *t)
{
    Graph *g = f->g;
    const uint32_t kernel = graph_add_kernel(g, FAMILY_ROUTE);
    for (size_t i = f->n_joined; i-- > 0;) {
        const ValueId v = f->joined[i];
        Node *n = &g->node[v];
        const bool is_view = (op_row[n->op].flags & OP_FLAG_VIEW) != 0;
        const bool outside = f->users.is_output[v] || f->wanted[v] == f->serial || is_read_outside(f, v);
        if (n->op == OP_CONTRACT || is_routing(n) || f->users.is_output[v] || (outside && !is_view && !is_wide(t, &n->type) && !is_cheap(f, n)))
            n->kernel = kernel;
        for (int k = 0; k < n->n_in && outside && !n->kernel; k++)
            f->wanted[n->in[k]] = f->serial;
    }
}

static void fuse_tokens(Fuse *f, ValueId topk)
{
    Tokens t;
    if (!find_tokens(f, topk, &t))
        return;
    begin(f);
    join(f, t.scores);
    f->source = product_of(f->g, t.scores).operand[0];
    list_users(f, f->source);
    bool has_topk = false;
    while (f->n_seen > 0) {
        const ValueId v = f->seen[--f->n_seen];
        f->listed[v] = 0;                   // an operand that joins later brings it back
        if (joins_tokens(f, &t, v) && join(f, v))
            has_topk |= v == topk;
    }
    if (has_topk)
        mark_stored(f, &t);
}

// ---- places ----

// The axes of a pool's elements and of the pools.
static const Attr *pool_of(const Node *n)
{
    return n->op == OP_RANK ? &n->attr[0] : &n->attr[1];
}

static bool pool_has(const Node *n, AxisId axis)
{
    const Attr *pool = pool_of(n);
    for (size_t i = 0; i < pool->axes.n; i++)
        if (pool->axes.id[i] == axis)
            return true;
    return false;
}

// Whether the points of both outside their pools are the same.
static bool same_pools(const Node *a, const Node *b)
{
    for (int i = 0; i < a->type.n_axes; i++)
        if (!pool_has(a, a->type.axis[i]) && (!type_has(&b->type, a->type.axis[i]) || pool_has(b, a->type.axis[i])))
            return false;
    for (int i = 0; i < b->type.n_axes; i++)
        if (!pool_has(b, b->type.axis[i]) && (!type_has(&a->type, b->type.axis[i]) || pool_has(a, b->type.axis[i])))
            return false;
    return true;
}

static bool joins_places(const Fuse *f, const Type *widest, ValueId v)
{
    const Graph *g = f->g;
    const Node *n = &g->node[v], *first = &g->node[f->joined[0]];
    if (n->kernel || n->op == OP_STOP || !reads_joined(f, n))
        return false;
    if (n->op == OP_SLOT || n->op == OP_RANK)
        return same_pools(first, n);
    return (op_row[n->op].flags & OP_FLAG_POINTWISE) && n->type.n_axes == widest->n_axes && has_all(widest, &n->type);
}

static void fuse_places(Fuse *f, ValueId v)
{
    const Graph *g = f->g;
    begin(f);
    join(f, v);
    const Type *widest = &g->node[v].type;
    while (f->n_seen > 0) {
        const ValueId next = f->seen[--f->n_seen];
        f->listed[next] = 0;
        if (joins_places(f, widest, next) && join(f, next) && g->node[next].type.n_axes > widest->n_axes)
            widest = &g->node[next].type;
    }
    mark_stored(f, NULL);
}

static Graph *fuse(PassContext *ctx, const Graph *in)
{
    Graph *g = graph_copy(ctx->arena, in, in->name, true);
    bool any = false;
    for (ValueId v = 1; v < g->n_nodes && !any; v++)
        any = is_routing(&g->node[v]);
    if (!any)
        return g;
    Arena scratch = scratch_arena(ctx->arena);
    bool *live = arena_array(&scratch, bool, g->n_nodes);
    graph_mark_live(g, live);
    Fuse f = {.g = g, .users = users_of(&scratch, g, live), .order = kernel_order_of_graph(&scratch, g),
              .in_kernel = arena_array(&scratch, uint32_t, g->n_nodes), .wanted = arena_array(&scratch, uint32_t, g->n_nodes),
              .listed = arena_array(&scratch, uint32_t, g->n_nodes)};
    for (ValueId v = 1; v < g->n_nodes; v++)
        if (live[v] && !g->node[v].kernel && g->node[v].op == OP_TOPK)
            fuse_tokens(&f, v);
    for (ValueId v = 1; v < g->n_nodes; v++)
        if (live[v] && !g->node[v].kernel && (g->node[v].op == OP_SLOT || g->node[v].op == OP_RANK || g->node[v].op == OP_ASSIGN))
            fuse_places(&f, v);
    arena_free(&scratch);
    return g;
}

bool pass_fuse_route(PassContext *ctx, const Module *in, Module *out)
{
    return pass_each_graph(ctx, in, out, fuse);
}
