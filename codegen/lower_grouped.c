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
    MOST_ROWS = 168, LEAST_ROWS = 56,       // of a block
    MOST_TERMS = 512,                       // rows of 512 terms and room for a vector fill a third of the second-level cache
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

// Rows of a block. They follow from the index alone, so that all products by one index can share its order.
static int64_t rows_of_block(const Grouped *of)
{
    const int64_t even = round_to(2 * (of->n_rows / of->n_groups + 1), 28);
    return at_most(even < LEAST_ROWS ? LEAST_ROWS : even, MOST_ROWS);
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
        plan.block_sum = round_to(knob_or(schedule, KNOB_TERMS, at_most(round_to(2 * each, 32), MOST_TERMS / 2), 32, 4 * MOST_TERMS), 32);
        plan.block_rows = round_to(blocks_of(plan.rows, blocks_of(plan.rows, knob_or(schedule, KNOB_ROWS, 224, 16, 4096))), 16);
        cut_columns(&plan, knob_or(schedule, KNOB_COLS, 256, tile_width(plan.tile), 4096));
    } else {
        plan.n_sum_blocks = blocks_of(plan.sum, knob_or(schedule, KNOB_TERMS, MOST_TERMS, plan.tile.lanes, MOST_TERMS));
        plan.block_sum = round_to(blocks_of(plan.sum, plan.n_sum_blocks), plan.tile.lanes);
        plan.n_sum_blocks = blocks_of(plan.sum, plan.block_sum);
        plan.block_rows = rows_of_block(of);
        cut_columns(&plan, knob_or(schedule, KNOB_COLS, of->n_rows <= FEW_ROWS ? 128 : MOST_FLOATS / plan.block_rows, tile_width(plan.tile), 4096));
    }
    plan.n_row_blocks = blocks_of(plan.rows, plan.block_rows);
    return plan;
}

static void place_parts(GroupedText *G)
{
    const Grouped *of = &G->of;
    const int64_t touched = at_most(of->n_rows, of->n_groups + 1);
    G->block = rows_of_block(of);
    G->most_blocks = of->n_rows / G->block + touched;
    G->cuda_block = grouped_cuda_rows_of_block(of);
    G->most_cuda_blocks = of->n_rows / G->cuda_block + touched;
    const int64_t room = G->most_blocks > G->most_cuda_blocks ? G->most_blocks : G->most_cuda_blocks;
    G->start = of->n_rows;
    G->block_group = G->start + of->n_groups + 3;
    G->block_first = G->block_group + room;
    G->block_end = G->block_first + room;
    G->n_blocks = G->block_end + room;
    G->n_ints = G->n_blocks + 1;
}

static const AxisGroup *row_axes(const Grouped *of)
{
    return &of->p.group[of->is_sum ? CLASS_SUM : CLASS_ROW];
}

// ---------------------------------------------------------------------------------------------------------------
// The sort

const char *grouped_declare_group(GroupedText *G, Scope *at, Ix row)
{
    Emitter *E = G->P.E;
    const char *group = emit_name(E, "group");
    Env env = env_of(E, G->of.index);
    env_group(E, &env, row_axes(&G->of), row);
    const Val index = val_named(E, at, emit_value(E, at, G->of.index, &env), "index");
    const AxisGroup *batch = &G->of.p.group[CLASS_BATCH];
    Ix paired = ix_const(E->ix, 0);
    for (int i = 0; i < batch->n; i++) {
        const Ix here = batch->axis[i] == G->of.expert ? ix_const(E->ix, 0) : env_get(&env, batch->axis[i]);
        paired = ix_add(E->ix, ix_scale(E->ix, paired, graph_size(E->g, batch->axis[i])), here);
    }
    Text text = text_make(E->arena);
    ix_print(E->ix, paired, false, 0, NULL, &text);
    scope_line(at, "const long %s = %s < 0 ? %lld : %s + %s;", group, index.text, N(G->of.n_groups), text_str(&text), index.text);
    return group;
}

// Opens the loop over rows; declares the group of the row at hand.
static Scope *open_rows(GroupedText *G, Scope *at, const char **out_row, const char **out_group)
{
    Emitter *E = G->P.E;
    const char *r = emit_name(E, "r");
    Scope *rows = scope_block(E, at, arena_printf(E->arena, "for (long %s = 0; %s < %lld; %s++) {", r, r, N(G->of.n_rows), r));
    *out_row = r;
    *out_group = grouped_declare_group(G, rows, scope_var(E, rows, r, 0, product_top_index(G->of.n_rows), 1));
    return rows;
}

// Cuts the rows of each group into blocks of about the same even number, and lists where they begin.
static void emit_blocks(GroupedText *G, Scope *once, const char *ints, const char *start)
{
    Emitter *E = G->P.E;
    const char *n = emit_name(E, "n"), *first = emit_name(E, "first"), *g = emit_name(E, "g"), *rows = emit_name(E, "rows");
    const char *blocks = emit_name(E, "blocks"), *step = emit_name(E, "step");
    const int64_t most = G->block, height = 2;
    scope_line(once, "int %s = 0;", n);
    Scope *each = scope_block(E, once, arena_printf(E->arena, "for (int %s = 0; %s < %lld; %s++) {", g, g, N(G->of.n_groups + 1), g));
    scope_line(each, "const int %s = %s[%s + 1] - %s[%s], %s = (%s + %lld) / %lld;", rows, start, g, start, g, blocks, rows,
               N(most - 1), N(most));
    scope_line(each, "const int %s = %s ? (%s + %s*%lld - 1) / (%s*%lld) * %lld : 1;", step, blocks, rows, blocks, N(height), blocks,
               N(height), N(height));
    scope_line(each, "for (int %s = %s[%s]; %s < %s[%s + 1]; %s += %s) {", first, start, g, first, start, g, first, step);
    scope_line(each, "    %s[%lld + %s] = %s;", ints, N(G->block_group), n, g);
    scope_line(each, "    %s[%lld + %s] = %s;", ints, N(G->block_first), n, first);
    scope_line(each, "    %s[%lld + %s++] = %s + %s < %s[%s + 1] ? %s + %s : %s[%s + 1];", ints, N(G->block_end), n, first, step,
               start, g, first, step, start, g);
    scope_line(each, "}");
    scope_close(E, each);
    scope_line(once, "%s[%lld] = %s;", ints, N(G->n_blocks), n);
}

static void emit_sort(GroupedText *G)
{
    Emitter *E = G->P.E;
    const char *w, *r, *group, *ints = emit_workspace(E, G->order, "order", DTYPE_I32, true);
    const char *start = emit_name(E, "start"), *g = emit_name(E, "g");
    const int64_t groups = G->of.n_groups;
    Scope *once = product_items(E, &w);
    scope_line(once, "int *const %s = %s + %lld;", start, ints, N(G->start));
    scope_line(once, "for (long %s = 0; %s < %lld; %s++)", g, g, N(groups + 3), g);
    scope_line(once, "    %s[%s] = 0;", start, g);
    Scope *count = open_rows(G, once, &r, &group);
    scope_line(count, "%s[%s + 2]++;", start, group);
    scope_close(E, count);
    scope_line(once, "for (long %s = 2; %s < %lld; %s++)", g, g, N(groups + 3), g);
    scope_line(once, "    %s[%s] += %s[%s - 1];", start, g, start, g);
    Scope *place = open_rows(G, once, &r, &group);
    scope_line(place, "%s[%s[%s + 1]++] = (int)%s;", ints, start, group, r);
    scope_close(E, place);
    emit_blocks(G, once, ints, start);
    scope_close(E, once);
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

// From one copied row to the next: the same for all products, which share the micro-kernel, and never a multiple of a page.
static int64_t line_of(const Plan *plan)
{
    return plan_places(plan, MOST_TERMS) + 16;
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
        use.a_line = line_of(plan);
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
    tile.row_step = G->of.is_sum ? 0 : (int)line_of(&G->P.plan);
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

// The group's columns of a block of rows, where they lie.
typedef struct Columns {
    bool        is_place, in_place;         // floats in memory; with columns that follow each other
    const char *from;
    int64_t     row, step;
} Columns;

static Columns find_columns(GroupedText *G)
{
    Columns cols = {.from = NULL};
    cols.is_place = pack_place(&G->P, 1, &cols.from, &cols.row, &cols.step);
    cols.in_place = cols.is_place && cols.row == 1 && !G->P.plan.tile.pairs;
    return cols;
}

// Where the next work item's columns begin: those of the next block, or of the next group.
static const char *emit_following(GroupedText *G, Scope *at, const char *panels, ProductBlock block)
{
    ProductText *P = &G->P;
    Emitter *E = P->E;
    if (P->plan.n_col_blocks > 1)
        return arena_printf(E->arena, "%s + %s", panels, block.j1);
    const Ix here = P->batch;
    Columns cols;
    P->batch = scope_var(E, at, G->next_group, 0, product_top_index(P->plan.batch), 1);
    cols = find_columns(G);
    P->batch = here;
    return cols.from;
}

// The bands of a block, panel by panel: columns as they are, or packed into a panel first.
static void emit_bands(GroupedText *G, Scope *at, ProductBlock block, const char *k0, const char *kn, const Arrays *use, const char *add)
{
    ProductText *P = &G->P;
    Emitter *E = P->E;
    const Plan *plan = &P->plan;
    const int width = tile_width(plan->tile);
    const Columns cols = find_columns(G);
    const bool has_edge = plan->cols % width != 0;
    const char *rows = minus(E, block.i1, block.i0), *j = emit_name(E, "j"), *band = band_name(E->arena, band_tile(G));
    if (cols.in_place) {
        const char *panels = emit_name(E, "panels");
        Text from = text_make(E->arena);
        text_add(&from, cols.from);
        if (strcmp(k0, "0") != 0)
            text_printf(&from, " + %s*%lld", k0, N(cols.step));
        scope_line(at, "const float *const %s = %s;", panels, text_str(&from));
        const char *following = emit_following(G, at, panels, block);
        const char *head = has_edge ? arena_printf(E->arena, "for (long %s = %s; %s + %d <= %s; %s += %d) {", j, block.j0, j, width, block.j1, j, width)
                                    : arena_printf(E->arena, "for (long %s = %s; %s < %s; %s += %d) {", j, block.j0, j, block.j1, j, width);
        Scope *loop = scope_block(E, at, head);
        scope_line(loop, "%s(%s, %s, %s + %s, %lld, %s + %s, %lld, %s, %s, %s + %d < %s ? %s + %s + %d : %s, %lld);", band, rows, use->a,
                   panels, j, N(cols.step), use->c, minus(E, j, block.j0), N(use->c_line), kn, add, j, width, block.j1, panels, j, width,
                   following, N(cols.step));
        scope_close(E, loop);
        if (!has_edge)
            return;
    }
    const char *first = cols.in_place ? arena_printf(E->arena, "%s/%d*%d", block.j1, width, width) : block.j0;
    Scope *loop = scope_block(E, at, arena_printf(E->arena, "for (long %s = %s; %s < %s; %s += %d) {", j, first, j, block.j1, j, width));
    const char *end = product_declare(E, loop, "end", arena_printf(E->arena, "%s + %d < %s ? %s + %d : %s", j, width, block.j1, j, width, block.j1));
    pack_operand(P, loop, 1, (PackRange){j, end, k0, kn, use->panel});
    const bool lined_up = cols.is_place && cols.step == 1 && cols.row == plan->sum && plan->n_sum_blocks == 1;
    const char *next = lined_up ? arena_printf(E->arena, "%s + (%s + %d)*%lld, %d", cols.from, j, width, N(cols.row), width)
        : cols.is_place && cols.row == 1 ? arena_printf(E->arena, "%s + %s*%lld + %s + %d, %lld", cols.from, k0, N(cols.step), j, width, N(cols.step))
                                         : arena_printf(E->arena, "%s, 0", use->panel);
    scope_line(loop, "%s(%s, %s, %s, %d, %s + %s, %lld, %s, %s, %s);", band, rows, use->a, use->panel, width, use->c,
               minus(E, j, block.j0), N(use->c_line), product_places(E->arena, plan, kn), add, next);
    scope_close(E, loop);
}

// Product of the block's rows; rows of the last group, which chose nothing, are 0.
static void emit_rows(GroupedText *G, const Space *space)
{
    ProductText *P = &G->P;
    Emitter *E = P->E;
    const Plan *plan = &P->plan;
    const char *w, *k0, *kn, *ib;
    ProductBlock block;
    G->ints = emit_workspace(E, G->order, "order", DTYPE_I32, false);
    P->gather = G->ints;
    Arrays use = declare_arrays(G);
    Scope *work = product_items(E, &w);
    ib = product_declare(E, work, "ib", plan->n_col_blocks == 1 ? w : arena_printf(E->arena, "%s / %lld", w, N(plan->n_col_blocks)));
    scope_line(work, "if (%s >= %s[%lld])", ib, G->ints, N(G->n_blocks));
    scope_line(work, "    continue;");
    const char *g = product_declare(E, work, "g", arena_printf(E->arena, "%s[%lld + %s]", G->ints, N(G->block_group), ib));
    block.i0 = product_declare(E, work, "i0", arena_printf(E->arena, "%s[%lld + %s]", G->ints, N(G->block_first), ib));
    block.i1 = product_declare(E, work, "i1", arena_printf(E->arena, "%s[%lld + %s]", G->ints, N(G->block_end), ib));
    open_columns(G, work, w, &block);
    P->batch = scope_var(E, work, g, 0, product_top_index(plan->batch), 1);
    if (plan->n_col_blocks == 1)
        G->next_group = product_declare(E, work, "next", arena_printf(E->arena, "%s + 1 < %lld ? %s + 1 : %s", g, N(plan->batch), g, g));
    const Columns cols = find_columns(G);
    if (!cols.in_place || plan->cols % tile_width(plan->tile) != 0)
        use.panel = product_scratch(E, E->top, "panel", plan_places(plan, plan->block_sum) * tile_width(plan->tile));
    declare_strip(P, pack_lines_floats(P, 0), pack_scratch_floats(P, 1));
    Scope *some = scope_block(E, work, arena_printf(E->arena, "if (%s < %lld) {", g, N(plan->batch)));
    Scope *terms = product_sum_blocks(P, some, &k0, &kn);
    pack_lines(P, terms, 0, (PackRange){block.i0, block.i1, k0, kn, use.a}, use.a_line);
    emit_bands(G, terms, block, k0, kn, &use, plan->n_sum_blocks == 1 ? "0" : arena_printf(E->arena, "%s > 0", k0));
    if (terms != some)
        scope_close(E, terms);
    scope_close(E, some);
    Scope *none = scope_block(E, work, "else {");
    scope_line(none, "__builtin_memset(%s, 0, (unsigned long)(%s - %s)*%lld);", use.c, block.i1, block.i0, N(4 * use.c_line));
    scope_close(E, none);
    emit_epilogue(G, work, space, block, use.c, true);
    scope_close(E, work);
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
    const char *first = product_declare(E, work, "first", arena_printf(E->arena, "%s[%lld + %s]", G->ints, N(G->start), g));
    const char *end = product_declare(E, work, "end", arena_printf(E->arena, "%s[%lld + %s]", G->ints, N(G->start + 1), g));
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
    place_parts(&G);
    G.order = lower_workspace(L, "order", DTYPE_I32, G.n_ints);
    const char *hint = g->node[G.of.value].hint ? g->node[G.of.value].hint : "grouped";
    G.P.E = lower_emitter(L, DIALECT_C, NULL);
    G.P.E->n_uses = NULL;                   // what else this kernel reads must not show in a text that others share
    emit_sort(&G);
    LowerText text = launch_text(&G, "order", "rows in the order of what they chose");
    text.n_work = 1;
    text.is_shared = true;
    text.bytes = 8.0 * (double)G.of.n_rows;
    grouped_cuda_order(L, &G, &text);
    lower_launch(L, &text);
    G.P.E = lower_emitter(L, DIALECT_C, NULL);
    if (G.of.is_sum)
        find_totals(L, &G);
    if (G.of.is_sum)
        emit_sums(&G, &space);
    else
        emit_rows(&G, &space);
    text = launch_text(&G, hint, describe(L, &G.of));
    const Plan *plan = &G.P.plan;
    text.n_work = G.of.is_sum ? plan_work(plan) : G.most_blocks * plan->n_col_blocks;
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
