// lower_grouped: grouped products (ir/grouped.h), whose rows choose their own matrix.
//
//   order   one work item: the rows in order of their group, stably; where each group starts; blocks of rows. All products
//           by one index share it
//   rows    for each block of rows of one group, for each block of columns (a work item):
//               copy the rows through the order; for each panel of the group's columns: a band; epilogue, through the order
//   sums    for each group, for each block of c (a work item):
//               for each block of the group's rows, in order: copy both operands through the order; bands
//
// The group's columns are read where they are, unless their terms follow each other in memory: then each panel is turned.
// Cost follows the rows, not the groups: there are at most rows/block + groups blocks, and a work item without rows ends
// at once. The order of every sum is that of the rows, so the bits are the same for any number of threads. Rows that
// chose nothing form a last group, whose products are 0.
#include "lower_grouped.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define N(x) ((long long)(x))

enum {
    MOST_FLOATS = 1 << 16,                  // of a block of c
    FEW_ROWS = 64,                          // in all (a few tokens of a text that grows): narrow blocks, so that threads share a matrix
};

static int64_t at_most(int64_t a, int64_t most)
{
    return a < most ? a : most;
}

static int64_t blocks_of(int64_t size, int64_t block)
{
    return (size + block - 1) / block;
}

static int64_t round_to(int64_t size, int64_t step)
{
    return blocks_of(size, step) * step;
}

// The columns in equal blocks of whole panels, at most `most` wide.
static void cut_columns(Plan *plan, int64_t most)
{
    const int64_t width = tile_width(plan->tile);
    plan->block_cols = round_to(blocks_of(plan->cols, blocks_of(plan->cols, most)), width);
    plan->n_col_blocks = blocks_of(plan->cols, plan->block_cols);
}

// The knob, or what is usual; between the bounds.
static int64_t knob_or(const Schedule *schedule, KnobId knob, int64_t usual, int64_t least, int64_t most)
{
    const int64_t value = schedule->knob[knob] > 0 ? schedule->knob[knob] : usual;
    return value < least ? least : at_most(value, most);
}

static Plan plan_grouped(const Graph *g, const Grouped *of, const Target *target, const Schedule *schedule)
{
    const AxisGroup *group = of->p.group;
    Plan plan = {.batch = of->n_groups, .rows = group[CLASS_ROW].size, .cols = group[CLASS_COL].size,
                 .sum = group[CLASS_SUM].size, .tile = tile_for(target), .n_sum_blocks = 1};
    plan.tile.pairs = target->has_bf16_dot && g->node[of->p.operand[0]].type.dtype == DTYPE_BF16
        && g->node[of->p.operand[1]].type.dtype == DTYPE_BF16;
    if (of->is_sum) {
        const int64_t each = of->n_rows / of->n_groups + 1; // rows of a group, if they are even
        plan.block_sum = round_to(knob_or(schedule, KNOB_TERMS, at_most(round_to(2 * each, 32), BANDS_MOST_TERMS / 2), 32, 4 * BANDS_MOST_TERMS), 32);
        plan.block_rows = round_to(blocks_of(plan.rows, blocks_of(plan.rows, knob_or(schedule, KNOB_ROWS, 224, 16, 4096))), 16);
        cut_columns(&plan, knob_or(schedule, KNOB_COLS, 256, tile_width(plan.tile), 4096));
    } else {
        plan.n_sum_blocks = blocks_of(plan.sum, knob_or(schedule, KNOB_TERMS, BANDS_MOST_TERMS, plan.tile.lanes, BANDS_MOST_TERMS));
        plan.block_sum = round_to(blocks_of(plan.sum, plan.n_sum_blocks), plan.tile.lanes);
        plan.n_sum_blocks = blocks_of(plan.sum, plan.block_sum);
        plan.block_rows = order_of_rows(of).block;
        cut_columns(&plan, knob_or(schedule, KNOB_COLS, of->n_rows <= FEW_ROWS ? 128 : MOST_FLOATS / plan.block_rows, tile_width(plan.tile), 4096));
    }
    plan.n_row_blocks = blocks_of(plan.rows, plan.block_rows);
    return plan;
}

// ---------------------------------------------------------------------------------------------------------------
// The product

static void open_columns(GroupedText *G, Scope *at, const char *w, ProductBlock *block)
{
    Emitter *E = G->P.E;
    const Plan *plan = &G->P.plan;
    const char *jb = product_part(E, at, "jb", w, plan->n_col_blocks, 1, false);
    block->j0 = plan->n_col_blocks == 1 ? "0"
        : product_declare(E, at, "j0", arena_printf(E->arena, "%s*%lld", jb, N(plan->block_cols)));
    block->j1 = product_declare(E, at, "j1", product_block_end(E, block->j0, plan->block_cols, plan->cols));
}

// A thread's own: copied rows and columns, a panel of columns where they are not read in place, and the block of c.
typedef struct Arrays {
    const char *a, *b, *panel, *c;
    int64_t     a_line, b_line, c_line;     // from one row (terms: of a sum) to the next
} Arrays;

static Arrays declare_arrays(GroupedText *G)
{
    ProductText *P = &G->P;
    Emitter *E = P->E;
    const Plan *plan = &P->plan;
    Arrays use = {.c_line = plan->block_cols};
    const int64_t spare = 2 * plan->tile.lanes;
    if (G->of.is_sum) {
        use.a_line = plan->block_rows + plan->tile.lanes;
        use.b_line = plan->block_cols + plan->tile.lanes;
        use.a = product_scratch(E, E->top, "rows", plan_places(plan, plan->block_sum) * use.a_line + spare);
        use.b = product_scratch(E, E->top, "cols", plan_places(plan, plan->block_sum) * use.b_line + spare);
    } else {
        use.a_line = bands_line(plan);
        use.a = product_scratch(E, E->top, "rows", (plan->block_rows + 1) * use.a_line);
    }
    use.c = product_scratch(E, E->top, "c", (plan->block_rows + 1) * use.c_line);
    return use;
}

// Room for what is computed before it is packed.
static void declare_strip(ProductText *P, size_t a, size_t b)
{
    if (a + b > 0)
        P->scratch = product_scratch(P->E, P->E->top, "strip", (int64_t)(a > b ? a : b));
}

static Tile band_tile(const GroupedText *G)
{
    Tile tile = G->P.plan.tile;
    tile.row_step = 0;
    return tile;
}

// What follows the product, row by row; `gathered`: row i is number order[i].
static void emit_epilogue(GroupedText *G, Scope *at, const Space *space, ProductBlock block, const char *c, bool gathered)
{
    Emitter *E = G->P.E;
    const char *i = emit_name(E, "i"), *row = i, *acc = emit_name(E, "acc");
    Scope *rows = scope_block(E, at, arena_printf(E->arena, "for (long %s = %s; %s < %s; %s++) {", i, block.i0, i, block.i1, i));
    if (gathered) {
        row = emit_name(E, "row");
        scope_line(rows, "const long %s = %s[%s];", row, G->ints, i);
    }
    const Ix index = scope_var(E, rows, row, 0, product_top_index(G->P.plan.rows), 1);
    scope_line(rows, "const float *const %s = %s + %s*%lld;", acc, c, minus(E, i, block.i0), N(G->P.plan.block_cols));
    product_epilogue_row(&G->P, rows, space, index, block.j0, block.j1, acc);
    scope_close(E, rows);
}

// A result that no cache could keep until it is read: its lines need not be read before they are written. 0: there is none.
static ValueId find_stream(const GroupedText *G, const Space *space, const Target *target)
{
    const Graph *g = G->P.E->g;
    for (size_t m = 0; m < space->n_maps; m++) {
        const ValueId v = space->map[m].value;
        size_t bytes;
        if (g->node[v].kernel == G->P.E->kernel && type_bytes(g, &g->node[v].type, &bytes) && bytes > PRODUCT_STREAMED*target->l2_bytes)
            return v;
    }
    return 0;
}

// Product of the block's rows; rows of the last group, which chose nothing, are 0.
static void emit_rows(GroupedText *G, const Space *space, const Target *target, uint32_t packed)
{
    ProductText *P = &G->P;
    Emitter *E = P->E;
    const Plan *plan = &P->plan;
    const char *w, *k0, *kn, *ib, *next_group = NULL;   // the group after the one at hand, or that if it is the last
    ProductBlock block;
    G->ints = emit_workspace(E, G->order, "order", DTYPE_I32, false);
    P->gather = G->ints;
    Arrays use = declare_arrays(G);
    Scope *work = product_items(E, &w);
    ib = product_declare(E, work, "ib", plan->n_col_blocks == 1 ? w : arena_printf(E->arena, "%s / %lld", w, N(plan->n_col_blocks)));
    scope_line(work, "if (%s >= %s[%lld])", ib, G->ints, N(G->rows.n_blocks));
    scope_line(work, "    continue;");
    const char *g = product_declare(E, work, "g", arena_printf(E->arena, "%s[%lld + %s]", G->ints, N(G->rows.block_group), ib));
    block.i0 = product_declare(E, work, "i0", arena_printf(E->arena, "%s[%lld + %s]", G->ints, N(G->rows.block_first), ib));
    block.i1 = product_declare(E, work, "i1", arena_printf(E->arena, "%s[%lld + %s]", G->ints, N(G->rows.block_end), ib));
    open_columns(G, work, w, &block);
    P->batch = scope_var(E, work, g, 0, product_top_index(plan->batch), 1);
    if (plan->n_col_blocks == 1)
        next_group = product_declare(E, work, "next", arena_printf(E->arena, "%s + 1 < %lld ? %s + 1 : %s", g, N(plan->batch), g, g));
    if (bands_need_panel(P) && !packed)
        use.panel = product_scratch(E, E->top, "panel", plan_places(plan, plan->block_sum) * tile_width(plan->tile));
    declare_strip(P, pack_lines_floats(P, 0), packed ? 0 : pack_scratch_floats(P, 1));
    Scope *some = scope_block(E, work, arena_printf(E->arena, "if (%s < %lld) {", g, N(plan->batch)));
    Scope *terms = product_sum_blocks(P, some, &k0, &kn);
    pack_lines(P, terms, 0, (PackRange){block.i0, block.i1, k0, kn, use.a}, use.a_line);
    const Bands bands = {.a = use.a, .panel = use.panel, .c = use.c, .c_line = use.c_line, .next = next_group,
                         .packed = packed ? emit_workspace(E, packed, "packed", DTYPE_F32, false) : NULL};
    bands_emit(P, terms, block, k0, kn, &bands, plan->n_sum_blocks == 1 ? "0" : arena_printf(E->arena, "%s > 0", k0));
    if (terms != some)
        scope_close(E, terms);
    scope_close(E, some);
    Scope *none = scope_block(E, work, "else {");
    scope_line(none, "__builtin_memset(%s, 0, (unsigned long)(%s - %s)*%lld);", use.c, block.i1, block.i0, N(4 * use.c_line));
    scope_close(E, none);
    E->stream = find_stream(G, space, target);
    emit_epilogue(G, work, space, block, use.c, true);
    scope_close(E, work);
    if (E->stream)
        scope_line(E->top, "fence_s();");
}

// Sums of all elements among what the kernel stores. Their parts are one for each work item, or block of a GPU.
static void find_totals(Lower *L, GroupedText *G)
{
    const Graph *g = L->g;
    ProductText *P = &G->P;
    const int64_t work = plan_work(&P->plan), blocks = grouped_cuda_blocks(L, G);
    P->total = arena_array(L->arena, ProductTotal, L->n_members);
    G->sum = arena_array(L->arena, LoopGroup *, L->n_members);
    for (size_t m = 0; m < L->n_members; m++) {
        const Node *n = &g->node[L->member[m]];
        if (n->op != OP_REDUCE || n->type.n_axes != 0)
            continue;
        LoopGroup *sum = G->sum[P->n_totals] = arena_new(L->arena, LoopGroup);
        int64_t count = 0;
        type_count(g, &g->node[n->in[0]].type, &count);
        *sum = (LoopGroup){.wish = {.shape = LOOP_TOTAL}, .member = {L->member[m]}, .n = 1, .is_column = {true}, .has_columns = true,
                           .n_chunks = work > blocks ? work : blocks};
        sum->chunk = blocks_of(count, sum->n_chunks);
        sum->part[0] = lower_workspace(L, "part", DTYPE_F32, sum->n_chunks);
        P->total[P->n_totals++] = (ProductTotal){.value = L->member[m]};
    }
}

static void open_totals(GroupedText *G, Scope *work)
{
    Emitter *E = G->P.E;
    for (size_t t = 0; t < G->P.n_totals; t++) {
        ProductTotal *total = &G->P.total[t];
        total->lanes = val_name(emit_name(E, "total"), VAL_FLOAT, true);
        total->rest = val_name(emit_name(E, "rest"), VAL_FLOAT, false);
        scope_line(work, "vf %s = set_v(0.0f);", total->lanes.text);
        scope_line(work, "float %s = 0.0f;", total->rest.text);
    }
}

static void close_totals(GroupedText *G, Scope *work, const char *w)
{
    Emitter *E = G->P.E;
    const long long n = N(plan_work(&G->P.plan));
    for (size_t t = 0; t < G->P.n_totals; t++) {
        const char *part = emit_workspace(E, G->sum[t]->part[0], "part", DTYPE_F32, true);
        scope_line(work, "%s[%s] = sum_v(%s) + %s;", part, w, G->P.total[t].lanes.text, G->P.total[t].rest.text);
        if (G->sum[t]->n_chunks <= n)
            continue;
        scope_line(work, "for (long i = %s + %lld; i < %lld; i += %lld)", w, n, N(G->sum[t]->n_chunks), n);     // a GPU has more work items
        scope_line(work, "    %s[i] = 0.0f;", part);
    }
}

// What the bands of a sum fetch: the first array that the epilogue writes (and, in an update, reads) at the tile.
static const char *result_next(GroupedText *G, const Space *space, const char *i0, const char *j, const char *nothing)
{
    Emitter *E = G->P.E;
    const char *from;
    int64_t row;
    for (size_t m = 0; m < space->n_maps; m++)
        if (E->g->node[space->map[m].value].kernel == E->kernel && type_equal(&E->g->node[space->map[m].value].type, &E->g->node[space->anchor].type)
            && pack_result_place(&G->P, space->map[m].value, &from, &row))
            return arena_printf(E->arena, "%s + %s*%lld + %s, %lld", from, i0, N(row), j, N(row));
    return arena_printf(E->arena, "%s, 0", nothing);
}

static void emit_sums(GroupedText *G, const Space *space)
{
    ProductText *P = &G->P;
    Emitter *E = P->E;
    const Plan *plan = &P->plan;
    const char *w;
    ProductBlock block;
    G->ints = emit_workspace(E, G->order, "order", DTYPE_I32, false);
    P->gather = G->ints;
    P->gather_sum = true;
    const Arrays use = declare_arrays(G);
    declare_strip(P, pack_lines_floats(P, 0), pack_lines_floats(P, 1));
    Scope *work = product_items(E, &w);
    const char *g = product_part(E, work, "g", w, plan->batch, plan->n_row_blocks * plan->n_col_blocks, true);
    const char *ib = product_part(E, work, "ib", w, plan->n_row_blocks, plan->n_col_blocks, plan->batch == 1);
    block.i0 = plan->n_row_blocks == 1 ? "0"
        : product_declare(E, work, "i0", arena_printf(E->arena, "%s*%lld", ib, N(plan->block_rows)));
    block.i1 = product_declare(E, work, "i1", product_block_end(E, block.i0, plan->block_rows, plan->rows));
    open_columns(G, work, w, &block);
    P->batch = plan->batch == 1 ? ix_const(E->ix, 0) : scope_var(E, work, g, 0, plan->batch - 1, 1);
    const char *first = product_declare(E, work, "first", arena_printf(E->arena, "%s[%lld + %s]", G->ints, N(G->rows.start), g));
    const char *end = product_declare(E, work, "end", arena_printf(E->arena, "%s[%lld + %s]", G->ints, N(G->rows.start + 1), g));
    const char *k0 = emit_name(E, "k0");
    // A group without rows goes round once, with no terms: c becomes 0.
    Scope *terms = scope_block(E, work, arena_printf(E->arena, "for (long %s = %s; %s == %s || %s < %s; %s += %lld) {", k0, first, k0,
                                                     first, k0, end, k0, N(plan->block_sum)));
    const char *kn = product_declare(E, terms, "kn", arena_printf(E->arena, "%s - %s < %lld ? %s - %s : %lld", end, k0,
                                                                  N(plan->block_sum), end, k0, N(plan->block_sum)));
    pack_lines(P, terms, 0, (PackRange){block.i0, block.i1, k0, kn, use.a}, use.a_line);
    pack_lines(P, terms, 1, (PackRange){block.j0, block.j1, k0, kn, use.b}, use.b_line);
    const char *j = emit_name(E, "j");
    Scope *loop = scope_block(E, terms, arena_printf(E->arena, "for (long %s = %s; %s < %s; %s += %d) {", j, block.j0, j, block.j1, j,
                                                     tile_width(plan->tile)));
    const char *at = minus(E, j, block.j0);
    scope_line(loop, "%s(%s, %s, %lld, %s + %s, %lld, %s + %s, %lld, %s, %s > %s, %s);", band_name(E->arena, band_tile(G)),
               minus(E, block.i1, block.i0), use.a, N(use.a_line), use.b, at, N(use.b_line), use.c, at, N(use.c_line),
               product_places(E->arena, plan, kn), k0, first,
               result_next(G, space, block.i0, j, use.b));
    scope_close(E, loop);
    scope_close(E, terms);
    open_totals(G, work);
    emit_epilogue(G, work, space, block, use.c, false);
    close_totals(G, work, w);
    scope_close(E, work);
}

static LowerText launch_text(const GroupedText *G, const char *hint, const char *comment)
{
    const Emitter *E = G->P.E;
    return (LowerText){.hint = hint, .comment = comment, .c = G->P.E, .grain = 1, .uses_scratch = E->scratch_floats > 0,
                       .scratch_bytes = 4 * E->scratch_floats};
}

static const char *describe(Lower *L, const Grouped *of)
{
    Text out = text_make(L->arena);
    lower_describe(L->g, of->value, &out);
    text_add(&out, of->is_sum ? " = sum of " : " = ");
    lower_describe(L->g, of->p.operand[0], &out);
    text_add(&out, " * ");
    lower_describe(L->g, of->p.operand[1], &out);
    text_add(&out, of->is_sum ? " over the rows that chose it, " : " at ");
    lower_describe(L->g, of->index, &out);
    return text_str(&out);
}

// Matrices that stay as they are are rounded once, to half the bytes that every run would read, and lie in panels then.
static bool packs_ahead(const Lower *L, const GroupedText *G)
{
    return L->keeps_weights && G->P.plan.tile.pairs && !G->of.is_sum;
}

bool lower_grouped(Lower *L)
{
    const Graph *g = L->g;
    const Space space = product_space(L);
    GroupedText G = {0};
    const bool found = grouped_of(g, space.anchor, &G.of);
    assert(found && "a grouped kernel has a grouped product");
    (void)found;
    G.P.p = G.of.p;
    G.P.plan = plan_grouped(g, &G.of, L->target, &L->schedule);
    G.rows = order_of_rows(&G.of);
    G.order = order_workspace(L, &G.rows);
    const char *hint = g->node[G.of.value].hint ? g->node[G.of.value].hint : "grouped";
    G.P.E = lower_emitter(L, DIALECT_C, NULL);
    G.P.E->n_uses = NULL;                   // what else this kernel reads must not show in a text that others share
    const char *w;
    Scope *once = product_items(G.P.E, &w);
    order_emit(G.P.E, once, &G.rows, emit_workspace(G.P.E, G.order, "order", DTYPE_I32, true));
    scope_close(G.P.E, once);
    LowerText text = launch_text(&G, "order", "rows in the order of what they chose");
    text.n_work = 1;
    text.is_shared = true;
    text.bytes = 8.0 * (double)G.of.n_rows;
    grouped_cuda_order(L, &G, &text);
    lower_launch(L, &text);
    const uint32_t packed = packs_ahead(L, &G) ? product_pack_ahead(L, &G.P) : 0;
    G.P.E = lower_emitter(L, DIALECT_C, NULL);
    if (G.of.is_sum)
        find_totals(L, &G);
    if (G.of.is_sum)
        emit_sums(&G, &space);
    else
        emit_rows(&G, &space, L->target, packed);
    text = launch_text(&G, hint, describe(L, &G.of));
    const Plan *plan = &G.P.plan;
    text.n_work = G.of.is_sum ? plan_work(plan) : G.rows.most_blocks * plan->n_col_blocks;
    text.flops = 2 * (double)plan->rows * (double)plan->cols * (double)plan->sum;
    grouped_cuda(L, &G, &space, &text);
    lower_launch(L, &text);
    if (G.P.n_totals > 0)
        lower_plain_cuda_totals(L, G.sum, G.P.n_totals);
    for (size_t t = 0; t < G.P.n_totals; t++)
        lower_finish(L, G.sum[t]);
    return true;
}

// --- schedules

// Cycles of the busiest thread: rows are copied once for each block of columns, matrices read once for each block of rows.
static double grouped_cycles(const Plan *plan, const Grouped *of, int threads)
{
    const double rows = (double)plan->rows, cols = (double)plan->cols, sum = (double)plan->sum, n = (double)of->n_rows;
    const double groups = (double)of->n_groups, each = n / groups, tile = tile_cycles(plan->tile) / (plan->tile.rows * tile_width(plan->tile));
    double cycles, items;
    if (of->is_sum) {
        const double visits = ceil(each / (double)plan->block_sum);
        items = groups * (double)(plan->n_row_blocks * plan->n_col_blocks);
        cycles = rows * cols * n * tile + n * (rows * (double)plan->n_col_blocks + cols * (double)plan->n_row_blocks) * 0.25
               + groups * rows * cols * (0.5 * visits + 1);
    } else {
        const double blocks = n / (double)plan->block_rows + groups;
        items = blocks * (double)plan->n_col_blocks;
        cycles = n * cols * sum * tile + n * sum * (double)plan->n_col_blocks * 0.25 + blocks * sum * cols * 0.1
               + n * cols * (0.5 * (double)plan->n_sum_blocks + 1);
    }
    return cycles / items * ceil(items / threads) + items / threads * 1000;
}

size_t candidates_grouped(Lower *L, size_t most, Candidate **out)
{
    static const int32_t rows[] = {0, 96, 128, 448}, cols[] = {0, 64, 128, 192, 384, 512, 1024}, terms[] = {0, 64, 128, 256, 512};
    enum { N_ROWS = 4, N_COLS = 7, N_TERMS = 5 };
    const Space space = product_space(L);
    Grouped of;
    CandidateList list = {.arena = L->arena};
    if (!grouped_of(L->g, space.anchor, &of))
        return 1;
    if (L->target->is_cuda) {
        const GroupedText G = {.P = {.p = of.p}, .of = of, .rows = order_of_rows(&of)};
        return grouped_cuda_candidates(L, &G, most, out);
    }
    for (int i = 0; i < N_ROWS * N_COLS * N_TERMS; i++) {
        Schedule s = {0};
        s.knob[KNOB_COLS] = cols[i % N_COLS];
        s.knob[KNOB_TERMS] = terms[i / N_COLS % N_TERMS];
        s.knob[KNOB_ROWS] = of.is_sum ? rows[i / (N_COLS * N_TERMS)] : 0;
        const Plan plan = plan_grouped(L->g, &of, L->target, &s);
        const uint64_t sign = schedule_sign(schedule_sign((uint64_t)plan.block_rows, plan.block_cols), plan.block_sum);
        candidates_add(&list, s, grouped_cycles(&plan, &of, L->target->threads > 0 ? L->target->threads : 1), sign);
    }
    return candidates_ranked(&list, most, out);
}
