// fuse_loops: which values are stored, and which are stored by one kernel.
//
// Needs: fuse_rows and fuse_product have run: what they gave a kernel stays as it is. Keeps: every node.
//
// What a kernel of CONTRACT, GROUPED or CONV reaches through values without a kernel, down to its anchor or to other values
// that it stores, is inside that kernel and stays so; for ROWS also what it reaches down to products. Everything else is decided from the outputs backwards. A value is stored when
//   - it is an output, the result of a product that nobody claimed, or of a put_add, but for a few choices that one loop reads;
//   - it is a reduction, unless a single loop kernel reads it and can make it once per row;
//   - several kernels read it and it costs more to compute again than to read (more than a few operations or loads);
//   - it is the number that a loss takes out of each row of a product's results;
//   - a product reads it and it costs more than a few operations;
//   - it would need more operands than a kernel may have, or the chain up to it is very long.
// Those stored values that can share loops then share a kernel (fuse_group.c).
//
// Views, constants, indices and random masks are never stored: they are index arithmetic or cheaper than memory.
#include "conv.h"
#include "fuse_group.h"
#include "grouped.h"
#include "loop_shape.h"
#include "pass.h"
#include "rewrite.h"

#include <string.h>

enum {
    CHEAP = 4, CHEAP_LOADS = 2,             // operations and operands up to which several readers compute a value again
    CHEAP_FOR_PRODUCT = 6,                  // operations a product may repeat for each element of an operand
    MANY_TIMES = 16,                        // a factor of a product in a loop that is read so often is computed once
    FREE_OF_MEMORY = 40,                    // the same for what reads no memory
    MOST_READS = 40,                        // operands of a value that is computed in place
    LONGEST_CHAIN = 200,                    // of values computed in place, one inside the other
    FEW_TERMS = 16,                         // of a sum that its only reader makes
    MANY_ROWS = 64, FEW_ELEMENTS = 16384,   // a reduction inside another kernel: parallel enough, or small
};

typedef struct Fuse {
    Graph      *g;                          // the copy that gets kernels
    Arena      *scratch;
    bool        is_cuda;                    // what the loops are for
    bool       *live, *is_output, *is_root;
    bool       *has_contract;               // an unstored product is inside
    uint16_t   *ops, *loads, *reads;        // to compute the value from what is stored or reduced; loads: with axes
    uint16_t   *depth;                      // of what is computed in place
    bool       *is_wide;                    // too many reads or too deep: stored
    ValueId    *reader;                     // a stored value that needs it
    uint8_t    *flags;
    const AxisId **row; uint8_t *n_row;     // by root: the free axes of the reductions inside it
    ValueId    *anchor;                     // [n_kernels + 1] what a kernel of CONTRACT, GROUPED or CONV is about
    ValueId    *lowest;                     // [n_kernels + 1] the least of that and what the kernel stores
    uint32_t   *asked; bool *answer;        // of reaches() and find_anchor(): the kernel last asked for, and whether
} Fuse;

enum { MANY = 1, BY_PRODUCT = 2, INSIDE = 4, VIEWED = 8, PUT_INTO = 16, REPEATED = 32, REUSED = 64 };   // REPEATED: wanted at several places

static bool is_leaf(const Node *n)
{
    return n->op == OP_ARG || n->op == OP_PARAM || n->op == OP_STATE;
}

static bool is_view(const Node *n)
{
    return (op_row[n->op].flags & OP_FLAG_VIEW) != 0;
}

static bool by_product_family(const Graph *g, ValueId root)
{
    KernelFamily family = g->kernel[g->node[root].kernel];
    return g->node[root].kernel && (family == FAMILY_CONTRACT || family == FAMILY_ROWS || family == FAMILY_GROUPED || family == FAMILY_CONV
                                    || family == FAMILY_ROUTE);
}

static unsigned act_ops(Act f)
{
    return f == ACT_RELU || f == ACT_ABS || f == ACT_SIGN || f == ACT_FLOOR || f == ACT_CEIL ? 1 : 8;
}

static unsigned own_ops(const Node *n)
{
    switch (n->op) {
    case OP_MAP: return act_ops(n->attr[0].act);
    case OP_SLOPE: return act_slope_uses_value[n->attr[0].act] ? 2 : act_ops(n->attr[0].act);
    case OP_DIV: return 3;
    case OP_POW: case OP_ATAN2: return 16;
    case OP_MOD: return 4;
    case OP_RANDOM: return 12;
    case OP_TAKE: return 3;
    case OP_CONST: case OP_INDEX: case OP_STOP: return 0;
    default: return is_view(n) ? 0 : 1;
    }
}

static uint16_t clamp16(unsigned v)
{
    return v > 10000 ? 10000 : (uint16_t)v;
}

// A sum of a few numbers for each element, like that of a token's experts: whoever reads it adds them up itself.
static int64_t few_terms(const Graph *g, const Node *n)
{
    int64_t terms = 1;
    if (n->op != OP_REDUCE || n->attr[0].red != RED_SUM || n->type.n_axes == 0)
        return 0;
    const Type *type = &g->node[n->in[0]].type;
    if (n->type.axis[n->type.n_axes - 1] != type->axis[type->n_axes - 1])
        return 0;
    for (size_t i = 0; i < n->attr[1].axes.n; i++)
        terms *= graph_size(g, n->attr[1].axes.id[i]);
    return terms <= FEW_TERMS ? terms : 0;
}

// What it takes to compute each value in place, reductions and stored values counting as reads.
static void estimate(Fuse *f)
{
    const Graph *g = f->g;
    for (ValueId v = 1; v < g->n_nodes; v++) {
        const Node *n = &g->node[v];
        unsigned ops = own_ops(n), loads = 0, reads = 0, depth = 0;
        for (int i = 0; i < n->n_in; i++)
            depth = f->depth[n->in[i]] >= depth ? f->depth[n->in[i]] + 1u : depth;
        if (op_row[n->op].flags & OP_FLAG_ROUTING || n->op == OP_PUT) {        // always stored: nobody computes it, or what is behind it
            f->loads[v] = f->reads[v] = 1;
            continue;
        }
        f->is_wide[v] = depth > LONGEST_CHAIN && !n->kernel;
        f->depth[v] = is_leaf(n) || n->kernel || f->is_wide[v] ? 0 : (uint16_t)depth;
        if (is_leaf(n) || n->kernel || loop_is_reduction(n)) {
            f->loads[v] = n->kernel || !few_terms(g, n) ? n->type.n_axes > 0 : clamp16((unsigned)few_terms(g, n) * f->loads[n->in[0]]);
            f->reads[v] = 1;
            f->has_contract[v] = n->op == OP_CONTRACT && !n->kernel;
            for (int i = 0; i < n->n_in && !n->kernel; i++)
                f->has_contract[v] |= f->has_contract[n->in[i]];
            continue;
        }
        for (int i = 0; i < n->n_in; i++) {
            // What has fewer axes is computed or read once for many elements.
            bool smaller = g->node[n->in[i]].type.n_axes < n->type.n_axes;
            ops += smaller ? 0 : f->ops[n->in[i]];
            loads += smaller ? 0 : f->loads[n->in[i]];
            reads += f->reads[n->in[i]];
            f->has_contract[v] |= f->has_contract[n->in[i]];
        }
        if (reads > MOST_READS || f->is_wide[v]) {
            f->is_wide[v] = true;
            f->depth[v] = 0;
            f->loads[v] = n->type.n_axes > 0;
            f->reads[v] = 1;
            continue;
        }
        f->reads[v] = clamp16(reads);
        f->ops[v] = clamp16(ops);
        f->loads[v] = clamp16(loads);
    }
}

static int64_t count_of(const Graph *g, const AxisId *axis, size_t n)
{
    int64_t count = 1;
    for (size_t i = 0; i < n; i++)
        count *= graph_size(g, axis[i]);
    return count;
}

static bool axes_in(const AxisId *axis, size_t n, const Type *type)
{
    for (size_t i = 0; i < n; i++)
        if (!type_has(type, axis[i]))
            return false;
    return true;
}

// Whether loops that write `r` make a reduction inside it once for each of its results. They do when its terms lie side by side, since a row is
// then one of its results, and when r has nothing but its results. A sum for each channel, though, the terms of which lie a row
// apart, would be made again in every row: the gradient of a batch norm would take the square of the batch.
static bool is_made_once(const Graph *g, const Node *n, const Node *r)
{
    const Type *x = &g->node[n->in[0]].type;
    const Attr *over = loop_reduced_axes(n);
    if (n->type.n_axes == 0 || x->n_axes == 0 || count_of(g, over->axes.id, over->axes.n) <= FEW_TERMS)
        return true;
    for (size_t i = 0; i < over->axes.n; i++)
        if (over->axes.id[i] == x->axis[x->n_axes - 1])
            return true;
    if (r->op != OP_REDUCE)
        return r->type.n_axes == n->type.n_axes;
    const LoopWish wish = loop_ask(g, 0, (ValueId)(r - g->node));
    return !wish.is_column || !axes_in(r->type.axis, r->type.n_axes, &n->type) || r->type.n_axes != n->type.n_axes;
}

// Whether the only reader of a reduction can make it itself, once per row.
static bool fits_inside(Fuse *f, ValueId v)
{
    const Graph *g = f->g;
    const Node *n = &g->node[v];
    ValueId root = f->reader[v];
    const Node *r = &g->node[root];
    if (n->op == OP_REDUCE && r->kernel && g->kernel[r->kernel] == FAMILY_ROUTE)
        return !(f->flags[v] & (MANY | VIEWED | BY_PRODUCT)) && axes_in(n->type.axis, n->type.n_axes, &r->type);
    if (n->op != OP_REDUCE || (f->flags[v] & (MANY | VIEWED | BY_PRODUCT)) || (r->kernel && g->kernel[r->kernel] != FAMILY_LOOP) ||
        r->op == OP_CONTRACT || r->op == OP_PUT_ADD)
        return false;
    const Type *space = r->op == OP_REDUCE ? &g->node[r->in[0]].type : &r->type;
    int64_t elements = 0;
    if (!axes_in(n->type.axis, n->type.n_axes, space) || !is_made_once(g, n, r) || !type_count(g, &g->node[n->in[0]].type, &elements))
        return false;
    if (count_of(g, n->type.axis, n->type.n_axes) < MANY_ROWS && elements > FEW_ELEMENTS)
        return false;
    if (!f->row[root]) {
        f->row[root] = n->type.axis;
        f->n_row[root] = n->type.n_axes;
        // A reduction that is stored runs over rows of its own, or over these.
        bool own_rows = r->type.n_axes == n->type.n_axes && axes_in(r->type.axis, r->type.n_axes, &n->type);
        bool over_these = true;
        for (int i = 0; i < n->type.n_axes; i++)
            over_these &= !type_has(&r->type, n->type.axis[i]);
        if (r->op == OP_REDUCE && !own_rows && !over_these)
            return false;
    }
    return f->n_row[root] == n->type.n_axes && axes_in(f->row[root], f->n_row[root], &n->type);
}

// Whether the gradient of what was chosen, a number at each of a few choices, is put where the only loop that reads it goes anyway: it
// compares each of its elements with the choices. On a cpu that is no gain where they are many.
static bool puts_few(const Fuse *f, ValueId v)
{
    const Graph *g = f->g;
    const Node *n = &g->node[v], *r = &g->node[f->reader[v]];
    const ValueId dy = n->in[0];
    const Type *index = &g->node[n->in[1]].type;
    int64_t terms = 1;
    if (n->op != OP_PUT_ADD || n->type.dtype != DTYPE_F32 || n->type.n_axes != index->n_axes - (int)n->attr[0].axes.n + 1
        || n->type.axis[n->type.n_axes - 1] != n->attr[1].axis || (f->flags[v] & (MANY | VIEWED | REPEATED | BY_PRODUCT)))
        return false;
    for (size_t i = 0; i < n->attr[0].axes.n; i++)
        terms *= graph_size(g, n->attr[0].axes.id[i]);
    return terms <= (f->is_cuda ? FEW_TERMS : 1) && f->ops[dy] <= CHEAP && f->loads[dy] <= CHEAP_LOADS && !f->has_contract[dy]
        && f->loads[n->in[1]] <= 1 && (!r->kernel || g->kernel[r->kernel] == FAMILY_LOOP) && (op_row[r->op].flags & OP_FLAG_POINTWISE)
        && type_has(&r->type, n->attr[1].axis);
}

// Whether the only reader of a sum of a few terms is a loop that reads all of them anyway.
static bool adds_few(const Fuse *f, ValueId v)
{
    const Graph *g = f->g;
    const Node *n = &g->node[v], *r = &g->node[f->reader[v]];
    return few_terms(g, n) && !(f->flags[v] & (MANY | REPEATED | BY_PRODUCT)) && g->node[n->in[0]].kernel && !loop_is_reduction(r)
        && (!r->kernel || g->kernel[r->kernel] == FAMILY_LOOP) && (op_row[r->op].flags & OP_FLAG_POINTWISE);
}

// A number out of each long row that a product has made, for a sum over the rows. It is taken by the kernel that goes through the rows
// anyway: then that is the last to read them, and may write over them (codegen_reuse.c).
static bool is_picked(const Fuse *f, ValueId v)
{
    const Graph *g = f->g;
    const Node *n = &g->node[v], *x = &g->node[n->in[0]];
    return n->op == OP_TAKE && x->kernel && g->kernel[x->kernel] == FAMILY_CONTRACT && n->type.n_axes + 1 == x->type.n_axes
        && x->type.axis[x->type.n_axes - 1] == n->attr[0].axis && f->reader[v] && g->node[f->reader[v]].type.n_axes == 0;
}

static bool is_stored(Fuse *f, ValueId v)
{
    const Graph *g = f->g;
    const Node *n = &g->node[v];
    if (n->kernel || f->is_output[v])
        return true;
    if (f->flags[v] & INSIDE)
        return false;
    if (f->is_wide[v] || f->flags[v] & PUT_INTO)
        return true;
    if (is_view(n) || n->op == OP_CONST || n->op == OP_INDEX)
        return false;
    if (n->op == OP_PUT_ADD && n->attr[0].axes.n)
        return !puts_few(f, v);
    if (is_picked(f, v))
        return true;
    if (n->op == OP_CONTRACT || (op_row[n->op].flags & (OP_FLAG_ROUTING | OP_FLAG_ALONE)))
        return true;
    if (n->op == OP_REDUCE)
        return !fits_inside(f, v) && !adds_few(f, v);
    if (f->loads[v] == 0 && f->ops[v] <= FREE_OF_MEMORY)
        return false;
    if (f->flags[v] & REUSED && f->ops[v] > 1)
        return true;
    if (f->flags[v] & BY_PRODUCT)
        return f->ops[v] > CHEAP_FOR_PRODUCT || ((f->flags[v] & MANY) && f->ops[v] > 1);
    return (f->flags[v] & MANY) && (f->ops[v] > CHEAP || f->loads[v] > CHEAP_LOADS);
}

// A product that a kernel of this family can be about.
static bool can_anchor(const Graph *g, ValueId v, KernelFamily family, double *flops)
{
    Grouped grouped;
    if (family == FAMILY_GROUPED) {
        *flops = 0;
        return grouped_of(g, v, &grouped);
    }
    if (family == FAMILY_CONV || family == FAMILY_ROUTE) {
        *flops = 0;
        return family == FAMILY_CONV ? g->node[v].op == OP_FFTCONV : g->node[v].op == OP_CONTRACT && g->node[v].kernel != 0;
    }
    if (g->node[v].op != OP_CONTRACT)
        return false;
    const Product p = product_of(g, v);
    *flops = product_flops(&p);
    return product_is_worth(g, &p);
}

// The product at the bottom of what the kernel of `root` computes. What else it reads may hold products too, in place of
// stored values: those of other kernels stand behind what these store, and the rest is not worth a kernel.
static void find_anchor(Fuse *f, ValueId root, ValueId *stack, double *most)
{
    const Graph *g = f->g;
    const uint32_t kernel = g->node[root].kernel;
    size_t n_stack = 0;
    if (f->asked[root] != kernel)
        stack[n_stack++] = root;
    f->asked[root] = kernel;
    while (n_stack > 0) {
        const ValueId v = stack[--n_stack];
        const Node *n = &g->node[v];
        double flops;
        if (is_leaf(n) || (n->kernel && n->kernel != kernel))
            continue;
        const bool can = can_anchor(g, v, g->kernel[kernel], &flops);
        if (can && flops > *most) {
            *most = flops;
            f->anchor[kernel] = v;
        }
        for (int i = 0; i < n->n_in && !can && !loop_is_reduction(n); i++) {
            if (f->asked[n->in[i]] != kernel)
                stack[n_stack++] = n->in[i];
            f->asked[n->in[i]] = kernel;
        }
    }
}

static void find_anchors(Fuse *f)
{
    const Graph *g = f->g;
    double *most = arena_array(f->scratch, double, g->n_kernels + 1);
    ValueId *stack = arena_array(f->scratch, ValueId, g->n_nodes);
    for (size_t k = 0; k <= g->n_kernels; k++)
        most[k] = -1;
    for (ValueId v = 1; v < g->n_nodes; v++)
        if (g->node[v].kernel && g->kernel[g->node[v].kernel] != FAMILY_ROWS)
            find_anchor(f, v, stack, &most[g->node[v].kernel]);
    memset(f->asked, 0, g->n_nodes * sizeof *f->asked);
    for (ValueId v = (ValueId)g->n_nodes; v-- > 1;)
        f->lowest[g->node[v].kernel] = v;
    for (size_t k = 1; k < g->n_kernels; k++)
        if (f->anchor[k] && f->anchor[k] < f->lowest[k])
            f->lowest[k] = f->anchor[k];
}

// Does an unstored value need the kernel's anchor or one that it stores? Then it lies on the way to a stored value.
static bool reaches(Fuse *f, ValueId v, uint32_t kernel)
{
    const Node *n = &f->g->node[v];
    if (v == f->anchor[kernel])
        return true;
    if (v < f->lowest[kernel])              // operands come before
        return false;
    if (n->kernel || is_leaf(n) || (loop_is_reduction(n) && f->g->kernel[kernel] != FAMILY_ROUTE))
        return n->kernel == kernel;
    if (f->asked[v] == kernel)
        return f->answer[v];
    bool yes = false;
    for (int i = 0; i < n->n_in && !yes; i++)
        yes = reaches(f, n->in[i], kernel);
    f->asked[v] = kernel;
    f->answer[v] = yes;
    return yes;
}

// Whether the value has an element for each pair of positions, like the scores of attention. Of the operands of a product
// inside a kernel, these stay inside: they would be the largest values of all. What they are made of is stored.
static bool holds_twins(const Graph *g, ValueId v)
{
    const Type *type = &g->node[v].type;
    for (size_t i = 0; i < type->n_axes; i++)
        if (g->axis[type->axis[i]].twin_of && type_has(type, g->axis[type->axis[i]].twin_of))
            return true;
    return false;
}

// The vector of a product of a vector and a matrix, which each of many results needs.
static bool is_reused(const Graph *g, const Node *product, ValueId in)
{
    const ValueId other = product->in[product->in[0] == in];
    int64_t own = 0, all = 0;
    return type_count(g, &g->node[in].type, &own) && type_count(g, &g->node[other].type, &all) && all / MANY_TIMES >= own;
}

// `root` needs operand `in`, through `via`.
static void add_reader(Fuse *f, ValueId via, ValueId in, ValueId root)
{
    const Graph *g = f->g;
    const Node *n = &g->node[via];
    if (f->reader[in] && f->reader[in] != root)
        f->flags[in] |= MANY;
    f->reader[in] = root;
    if (n->op == OP_PUT && in == n->in[0])
        f->flags[in] |= PUT_INTO;
    if (via == root && n->op == OP_CONTRACT && !n->kernel && is_reused(g, n, in))
        f->flags[in] |= REUSED;
    if (loop_moves_index(n) || (via != root && (f->flags[via] & VIEWED)))
        f->flags[in] |= VIEWED;
    if ((loop_moves_index(n) && n->op != OP_RENAME && n->op != OP_SPLIT && n->op != OP_MERGE) || (via != root && (f->flags[via] & REPEATED)))
        f->flags[in] |= REPEATED;
    if (by_product_family(g, root)) {
        bool inside = via == root || (f->flags[via] & INSIDE), own = reaches(f, in, g->node[root].kernel);
        bool rows = g->kernel[g->node[root].kernel] == FAMILY_ROWS;
        bool product = rows && f->has_contract[in] && (n->op != OP_CONTRACT || holds_twins(g, in));
        if (inside && !g->node[in].kernel && (own || product))
            f->flags[in] |= INSIDE;
        else if (n->op == OP_CONTRACT || rows || (n->op == OP_FFTCONV && !conv_of(g, via).by_transforms) ||
                 (via != root && (f->flags[via] & BY_PRODUCT)))
            f->flags[in] |= BY_PRODUCT;     // an operand; what an epilogue reads is computed once for each element
    }
    if (!f->is_root[via])
        f->flags[in] |= f->flags[via] & MANY;
}

// A grouped product reads what is behind its take or mul, which nobody stores. False when v is none.
static bool read_grouped(Fuse *f, ValueId v)
{
    const Graph *g = f->g;
    const ValueId root = f->is_root[v] ? v : f->reader[v];
    const uint32_t kernel = g->node[root].kernel;
    Grouped grouped;
    if (!kernel || g->kernel[kernel] != FAMILY_GROUPED || (v != root && !(f->flags[v] & INSIDE)) || !grouped_of(g, v, &grouped))
        return false;
    const ValueId operand[] = {grouped.p.operand[0], grouped.p.operand[1], grouped.index};
    for (int i = 0; i < 3; i++) {
        const ValueId in = operand[i];
        f->flags[in] |= BY_PRODUCT | (f->reader[in] && f->reader[in] != root ? MANY : 0);
        f->reader[in] = root;
    }
    f->flags[grouped.through] |= INSIDE;
    return true;
}

static void choose_stored(Fuse *f)
{
    const Graph *g = f->g;
    for (ValueId v = (ValueId)g->n_nodes; v-- > 1;) {
        const Node *n = &g->node[v];
        if (!f->live[v] || is_leaf(n))
            continue;
        f->is_root[v] = is_stored(f, v);
        if (read_grouped(f, v) || (!f->is_root[v] && !f->reader[v]))
            continue;
        for (int i = 0; i < n->n_in; i++)
            add_reader(f, v, n->in[i], f->is_root[v] ? v : f->reader[v]);
    }
}

static void fuse_graph(Graph *g, Arena *scratch, const Target *target)
{
    size_t n = g->n_nodes;
    Fuse f = {.g = g, .is_cuda = target && target->is_cuda, .live = arena_array(scratch, bool, n), .is_output = arena_array(scratch, bool, n),
              .is_root = arena_array(scratch, bool, n), .has_contract = arena_array(scratch, bool, n),
              .ops = arena_array(scratch, uint16_t, n), .loads = arena_array(scratch, uint16_t, n),
              .reads = arena_array(scratch, uint16_t, n), .depth = arena_array(scratch, uint16_t, n), .is_wide = arena_array(scratch, bool, n),
              .reader = arena_array(scratch, ValueId, n), .flags = arena_array(scratch, uint8_t, n),
              .scratch = scratch, .anchor = arena_array(scratch, ValueId, g->n_kernels + 1),
              .lowest = arena_array(scratch, ValueId, g->n_kernels + 1),
              .asked = arena_array(scratch, uint32_t, n), .answer = arena_array(scratch, bool, n),
              .row = arena_array(scratch, const AxisId *, n), .n_row = arena_array(scratch, uint8_t, n)};
    graph_mark_live(g, f.live);
    for (size_t i = 0; i < g->n_outputs; i++)
        f.is_output[g->output[i].value] = !is_leaf(&g->node[g->output[i].value]);
    estimate(&f);
    find_anchors(&f);
    choose_stored(&f);
    fuse_group(g, scratch, f.is_root);
}

bool pass_fuse_loops(PassContext *ctx, const Module *in, Module *out)
{
    for (size_t i = 0; i < in->n_graphs; i++) {
        const Graph *old = in->graph[i];
        if (strcmp(old->name, "init") == 0) {
            module_add_graph(out, in->graph[i]);        // the evaluator runs it
            continue;
        }
        Arena scratch = scratch_arena(ctx->arena);
        Graph *g = graph_copy(ctx->arena, old, old->name, true);
        fuse_graph(g, &scratch, ctx->target);
        arena_free(&scratch);
        module_add_graph(out, g);
    }
    return true;
}
