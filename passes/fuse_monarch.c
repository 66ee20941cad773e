// fuse-monarch: chains of small block-diagonal products, such as the factors of a Monarch multiply, become one kernel, in which what
// one product hands to the next stays in the cache. For C targets only: a GPU's blocks have no such cache, and its products keep
// their kernels.
//
// Rule. A contract kernel that stores one value hands it on when
//   - the one way from that value leads through views to operand 0 of one product, the anchor of a contract kernel that stores
//     one value as well: nobody else reads it, and it is no output (in training the backward pass reads most of them);
//   - its outermost axes are the rows of its product, with nothing but element-by-element values between the two, and row i
//     of the next product reads nothing but row i of it: a block of rows can run through both;
//   - both products have batches (they are block-diagonal) and no band of zeros, and are float32;
//   - a block of rows of all that is handed on fits a quarter of the second-level cache, the factors another half.
// The values join the kernel of the last product. A chain has at most MONARCH_MOST_STAGES products.
//
// No circle can come about: whoever needs the first kernel is the second.
//
// Needs: fuse_loops has run. Keeps: nodes and ids; kernels are numbered anew.
#include "band.h"
#include "monarch.h"
#include "pass.h"
#include "rewrite.h"
#include "users.h"

#include <string.h>

enum { MOST_DOWN = 512 };                   // values between a stored one and its product

typedef struct Chain {                      // by kernel
    ValueId member;                         // the one value that it stores; of several the last
    uint32_t n_members;
    int     n_stages;
    int64_t width, factors;                 // floats: handed on for a row, all stages; of the operands 1
} Chain;

typedef struct Fuse {
    Graph        *g;
    const Target *target;
    Users         users;
    Chain        *chain;                    // [n_kernels]
} Fuse;

// The only reader of v; 0: none, several, or v is an output.
static ValueId only_user(const Fuse *f, ValueId v)
{
    const size_t first = f->users.first[v];
    return f->users.first[v + 1] == first + 1 && !f->users.is_output[v] ? f->users.user[first] : 0;
}

// The one product that the stored value v is made of, with none but it on the way; 0: there are more, or none.
static ValueId only_product(const Fuse *f, ValueId v)
{
    const Graph *g = f->g;
    ValueId seen[MOST_DOWN], product = 0;
    size_t n = 0, next = 0;
    for (seen[n++] = v; next < n; next++) {
        const Node *node = &g->node[seen[next]];
        if (node->op == OP_CONTRACT) {
            if (product != 0)
                return 0;
            product = seen[next];
            continue;
        }
        for (size_t k = 0; k < node->n_in; k++) {
            const ValueId in = node->in[k];
            bool known = value_is_stored(g, in);
            for (size_t i = 0; i < n && !known; i++)
                known = seen[i] == in;
            if (known)
                continue;
            if (n == MOST_DOWN)
                return 0;
            seen[n++] = in;
        }
    }
    return product;
}

// A stage: float32, block-diagonal, the anchor of a kernel with one value.
static bool is_stage(const Fuse *f, uint32_t kernel, Product *out)
{
    const Graph *g = f->g;
    const KernelFamily family = g->kernel[kernel];
    const Chain *c = &f->chain[kernel];
    if (kernel == 0 || (family != FAMILY_CONTRACT && family != FAMILY_MONARCH) || (family == FAMILY_CONTRACT && c->n_members != 1))
        return false;
    const ValueId product = only_product(f, c->member);
    if (product == 0)
        return false;
    const Product p = *out = product_of(g, product);
    Band band;
    return p.group[CLASS_BATCH].size > 1 && g->node[c->member].type.dtype == DTYPE_F32
        && g->node[p.operand[0]].type.dtype == DTYPE_F32 && g->node[p.operand[1]].type.dtype == DTYPE_F32
        && !band_of(g, p.operand[0], &band) && !band_of(g, p.operand[1], &band);
}

static int64_t factor_floats(const Product *p)
{
    return p->group[CLASS_BATCH].size * p->group[CLASS_COL].size * p->group[CLASS_SUM].size;
}

// From the product to the stored value each step is element by element, and the only one.
static bool follows_directly(const Fuse *f, ValueId product, ValueId stored)
{
    ValueId v = product;
    while (v != stored) {
        v = only_user(f, v);
        if (v == 0 || !(op_row[f->g->node[v].op].flags & OP_FLAG_POINTWISE))
            return false;
    }
    return true;
}

// The kernel that stores what `v` becomes, along single readers; 0: none.
static uint32_t kernel_behind(const Fuse *f, ValueId v)
{
    while (v != 0 && f->g->node[v].kernel == 0)
        v = only_user(f, v);
    return v ? f->g->node[v].kernel : 0;
}

// The product that alone reads the stored value h, through views; 0: none.
static ValueId product_behind(const Fuse *f, ValueId h)
{
    ValueId v = only_user(f, h);
    while (v != 0 && (op_row[f->g->node[v].op].flags & OP_FLAG_VIEW) && f->g->node[v].kernel == 0)
        v = only_user(f, v);
    return v != 0 && f->g->node[v].op == OP_CONTRACT ? v : 0;
}

// Puts the kernel that stores h and the next one together, where they are such a pair.
static void join(Fuse *f, ValueId h)
{
    Graph *g = f->g;
    const uint32_t from = g->node[h].kernel;
    Product first, second;
    if (!is_stage(f, from, &first) || f->chain[from].member != h)
        return;
    const ValueId reader = product_behind(f, h);
    const uint32_t to = reader ? kernel_behind(f, reader) : 0;
    int64_t width;
    if (to == from || !is_stage(f, to, &second) || second.value != reader || monarch_reads_rows(g, &second, &width) != h
        || first.group[CLASS_ROW].size != second.group[CLASS_ROW].size || monarch_row_width(g, h, &first) != width
        || !follows_directly(f, first.value, h))
        return;
    Chain *a = &f->chain[from], *b = &f->chain[to];
    const int64_t cache = (int64_t)(f->target->l2_bytes ? f->target->l2_bytes : 524288) / 4;
    const int64_t factors = (a->n_stages > 1 ? a->factors : factor_floats(&first)) + factor_floats(&second);
    const int n_stages = a->n_stages + 1;
    if (n_stages > MONARCH_MOST_STAGES || factors > cache / 2
        || !monarch_fits(f->target, second.group[CLASS_ROW].size, a->width + width))
        return;
    *b = (Chain){.member = b->member, .n_members = b->n_members + a->n_members, .n_stages = n_stages, .width = a->width + width,
                 .factors = factors};
    g->kernel[to] = FAMILY_MONARCH;
    for (ValueId v = 1; v <= h; v++)
        if (g->node[v].kernel == from)
            g->node[v].kernel = to;
    a->n_members = 0;
}

static void number_anew(Fuse *f, Arena *scratch)
{
    Graph *g = f->g;
    uint32_t *number = arena_array(scratch, uint32_t, g->n_kernels + 1), n = 1;
    for (uint32_t k = 1; k < g->n_kernels; k++)
        if (f->chain[k].n_members > 0) {
            g->kernel[n] = g->kernel[k];
            number[k] = n++;
        }
    for (ValueId v = 1; v < g->n_nodes; v++)
        g->node[v].kernel = number[g->node[v].kernel];
    g->n_kernels = g->n_kernels ? n : 0;
}

static Graph *fuse(PassContext *ctx, const Graph *in)
{
    Graph *g = graph_copy(ctx->arena, in, in->name, true);
    if (!ctx->target || ctx->target->is_cuda)      // no target: as far as any device goes the same way
        return g;
    Arena scratch = scratch_arena(ctx->arena);
    bool *live = arena_array(&scratch, bool, g->n_nodes);
    graph_mark_live(g, live);
    Fuse f = {.g = g, .target = ctx->target, .users = users_of(&scratch, g, live), .chain = arena_array(&scratch, Chain, g->n_kernels + 1)};
    for (ValueId v = 1; v < g->n_nodes; v++) {
        Chain *c = &f.chain[g->node[v].kernel];
        c->member = v;
        c->n_members++;
        c->n_stages = 1;
    }
    for (ValueId v = 1; v < g->n_nodes; v++)
        if (live[v] && g->node[v].kernel != 0)
            join(&f, v);
    number_anew(&f, &scratch);
    arena_free(&scratch);
    return g;
}

bool pass_fuse_monarch(PassContext *ctx, const Module *in, Module *out)
{
    return pass_each_graph(ctx, in, out, fuse);
}
