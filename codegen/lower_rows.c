// lower_rows: attention and its like, as one kernel.
//
//   for each batch element (a work item, or several with a share of the rows each):
//       pack what is read by column: keys, values                          once
//       for each block of rows:
//           wide products into scratch                                     the micro-kernel
//           passes over the block: masks, maxima, exponentials, sums       (lower_rows_stage.c)
//           products that sum columns away: rows of the result, stored
//           products that sum rows away: added to sums in scratch
//       store these sums
//
// A causal mask bounds the columns of a block. Blocks of one batch element run in order in one thread when something
// sums over rows, so the bits do not depend on the number of threads.
#include "lower_rows.h"

#include <assert.h>
#include <math.h>

#define N(x) ((long long)(x))

static int64_t pad(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

static AxisGroup one_axis(const Graph *g, AxisId axis)
{
    return (AxisGroup){.n = 1, .axis = {axis}, .size = graph_size(g, axis)};
}

static void add_axis(const Graph *g, AxisGroup *group, AxisId axis)
{
    group->axis[group->n++] = axis;
    group->size *= graph_size(g, axis);
}

static bool in_group(const AxisGroup *group, AxisId axis)
{
    for (int i = 0; i < group->n; i++)
        if (group->axis[i] == axis)
            return true;
    return false;
}

static RowsPart wide_part(const Rows *R, ValueId v)
{
    const Graph *g = R->g;
    const Node *n = &g->node[v];
    const int rows_in = type_has(&g->node[n->in[0]].type, R->row) ? 0 : 1;
    RowsPart part = {.text.p = {.value = v, .operand = {n->in[rows_in], n->in[1 - rows_in]}}};
    AxisGroup *group = part.text.p.group;
    group[CLASS_ROW] = one_axis(g, R->row);
    group[CLASS_COL] = one_axis(g, R->col);
    group[CLASS_SUM] = (AxisGroup){.size = 1};
    const Type *type = &g->node[n->in[1 - rows_in]].type;
    for (int i = 0; i < type->n_axes; i++)
        if (!type_has(&n->type, type->axis[i]))
            add_axis(g, &group[CLASS_SUM], type->axis[i]);
    return part;
}

static RowsPart out_part(const Rows *R, ValueId v)
{
    const Graph *g = R->g;
    const Node *n = &g->node[v];
    const int wide = rows_wide_operand(g, v, R->class_of);
    RowsPart part = {.is_out = true, .text.p = {.value = v, .operand = {n->in[wide], n->in[1 - wide]}}};
    part.over_columns = rows_out_sums_columns(g, v, R->col);
    AxisGroup *group = part.text.p.group;
    group[CLASS_ROW] = one_axis(g, part.over_columns ? R->row : R->col);
    group[CLASS_SUM] = one_axis(g, part.over_columns ? R->col : R->row);
    group[CLASS_COL] = (AxisGroup){.size = 1};
    for (int i = 0; i < n->type.n_axes; i++)
        if (!in_group(&R->batch, n->type.axis[i]) && !in_group(&group[CLASS_ROW], n->type.axis[i]))
            add_axis(g, &group[CLASS_COL], n->type.axis[i]);
    part.space = space_make(R->L->arena, g, v);
    return part;
}

// The blocks of a part, for packing.
static Plan part_plan(const Rows *R, const RowsPart *part)
{
    const AxisGroup *group = part->text.p.group;
    Plan plan = {.tile = R->tile, .batch = R->batch.size, .rows = group[CLASS_ROW].size, .cols = group[CLASS_COL].size,
                 .sum = group[CLASS_SUM].size, .n_row_blocks = 1, .n_col_blocks = 1, .n_sum_blocks = 1};
    plan.block_rows = R->block_rows;
    plan.block_cols = pad(plan.cols, tile_width(R->tile));
    plan.block_sum = plan.sum;
    if (part->is_out && !part->over_columns) {
        plan.block_sum = R->block_rows;
        plan.n_sum_blocks = 2;              // terms come block by block, from no particular multiple
    }
    return plan;
}

static void find_parts(Rows *R)
{
    for (size_t i = 0; i < R->n_members; i++) {
        const ValueId v = R->member[i];
        const bool out = R->class_of[v] == ROWS_OUT;
        if (!out && !(R->class_of[v] == ROWS_WIDE && R->g->node[v].op == OP_CONTRACT))
            continue;
        assert(R->n_parts < ROWS_MOST_PARTS);
        RowsPart *part = &R->part[R->n_parts++];
        *part = out ? out_part(R, v) : wide_part(R, v);
        part->text.p.group[CLASS_BATCH] = R->batch;
        part->text.E = R->E;
        part->text.plan = part_plan(R, part);
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Text

// for (long NAME = from; NAME < to; NAME += step) {
static Scope *open_loop(Rows *R, Scope *at, const char *hint, const char *from, const char *to, int64_t step,
                        const char **out_name)
{
    const char *name = emit_name(R->E, hint);
    *out_name = name;
    return scope_block(R->E, at, arena_printf(R->E->arena, "for (long %s = %s; %s < %s; %s += %lld) {", name, from, name, to,
                                              name, N(step)));
}

static const char *number(const Rows *R, int64_t n)
{
    return product_number(R->E, n);
}

typedef struct Places {                     // C names of the shared scratch
    const char *rows, *cols, *tile;
} Places;

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static Places declare_places(Rows *R)
{
    int64_t rows = 0, cols = 0, tile = 0, strip = 0;
    Scope *top = R->E->top;
    for (size_t i = 0; i < R->n_parts; i++) {
        RowsPart *part = &R->part[i];
        const Plan *plan = &part->text.plan;
        if (!part->is_out)
            rows = most(rows, R->block_rows * plan->sum);
        if (part->is_out && part->over_columns)
            tile = most(tile, R->block_rows * plan->block_cols);
        if (part->is_out && !part->over_columns)
            cols = most(cols, R->block_rows * plan->block_cols);
        strip = most(strip, (int64_t)pack_scratch_floats(&part->text, 1));
        if (!part->is_out)
            strip = most(strip, (int64_t)pack_scratch_floats(&part->text, 0));
    }
    Places places = {.rows = product_scratch(R->E, top, "rows", rows)};
    if (cols > 0)
        places.cols = product_scratch(R->E, top, "cols", cols);
    if (tile > 0)
        places.tile = product_scratch(R->E, top, "tile", tile);
    const char *strip_name = strip > 0 ? product_scratch(R->E, top, "strip", strip) : NULL;
    for (int s = 0; s < R->n_slots; s++)
        R->slot[s] = product_scratch(R->E, top, "wide", R->block_rows * R->stride);
    for (size_t i = 0; i < R->n_members; i++)
        if (R->class_of[R->member[i]] == ROWS_REDUCE)
            R->line[i] = product_scratch(R->E, top, "line", R->block_rows);
    for (size_t i = 0; i < R->n_parts; i++) {
        RowsPart *part = &R->part[i];
        const Plan *plan = &part->text.plan;
        part->text.scratch = strip_name;
        if (part->is_out && !part->over_columns)
            part->sums = product_scratch(R->E, top, "sums", pad(plan->rows, R->sums_tile.rows) * plan->block_cols);
        else
            part->cols = product_scratch(R->E, top, "cols", plan->block_cols * plan->sum);
    }
    return places;
}

// Before the rows: panels of what is read by column, and zeros for the sums.
static void emit_before(Rows *R, Scope *at)
{
    for (size_t i = 0; i < R->n_parts; i++) {
        RowsPart *part = &R->part[i];
        const Plan *plan = &part->text.plan;
        if (part->cols != NULL) {
            pack_operand(&part->text, at, 1, (PackRange){"0", number(R, plan->cols), "0", number(R, plan->sum), part->cols});
        } else {
            const char *j;
            Scope *loop = open_loop(R, at, "j", "0", number(R, pad(plan->rows, R->sums_tile.rows) * plan->block_cols), 1, &j);
            scope_line(loop, "%s[%s] = 0;", part->sums, j);
            scope_close(R->E, loop);
        }
    }
}

static const char *slot_of(const Rows *R, ValueId wide)
{
    const RowsBuffer *b = rows_buffer(R, wide);
    assert(b != NULL && "a wide value that a product reads or makes lies in scratch");
    return R->slot[b->slot];
}

// Tiles of rows r0 .. r1 by columns 0 .. cols: c = rows * panels of columns. `row_step`: from a row to the next.
static void emit_tiles(Rows *R, Scope *at, Tile tile, const char *rows, const char *row_step, const char *cols,
                       const char *n_cols, const char *terms, const char *all_terms, const char *c, int64_t stride)
{
    const char *j, *i;
    Scope *over_cols = open_loop(R, at, "j", "0", n_cols, tile_width(R->tile), &j);
    Scope *over_rows = open_loop(R, over_cols, "i", R->r0, R->r1, R->tile.rows, &i);
    const char *from = minus(R->E, i, R->r0);
    scope_line(over_rows, "%s(%s + %s*%s, %s + %s*%s, %d, %s + %s*%lld + %s, %lld, %s, 0);",
               tile_name(R->E->arena, tile), rows, from, row_step, cols, j, all_terms, tile_width(tile), c, from, N(stride), j,
               N(stride), terms);
    scope_close(R->E, over_rows);
    scope_close(R->E, over_cols);
}

static void emit_wide(Rows *R, Scope *at, RowsPart *part, const Places *places)
{
    const char *terms = number(R, part->text.plan.sum);
    pack_operand(&part->text, at, 0, (PackRange){R->r0, R->r1, "0", terms, places->rows});
    emit_tiles(R, at, R->tile, places->rows, terms, part->cols, R->nc, terms, terms, slot_of(R, part->text.p.value), R->stride);
}

static void emit_out_rows(Rows *R, Scope *at, RowsPart *part, const Places *places)
{
    Emitter *E = R->E;
    const Plan *plan = &part->text.plan;
    const char *t, *slot = slot_of(R, part->text.p.operand[0]);
    emit_tiles(R, at, R->rows_tile, slot, number(R, R->stride), part->cols, number(R, plan->cols), R->nc,
               number(R, plan->sum), places->tile, plan->block_cols);
    Scope *rows = open_loop(R, at, "i", R->r0, R->r1, 1, &t);
    const Ix row = scope_var(E, rows, t, 0, product_top_index(R->n_rows), 1);
    const char *acc = emit_name(E, "acc");
    scope_line(rows, "const float *const %s = %s + %s*%lld;", acc, places->tile, minus(E, t, R->r0), N(plan->block_cols));
    product_epilogue_row(&part->text, rows, &part->space, row, "0", number(R, plan->cols), acc);
    scope_close(E, rows);
}

static void emit_out_sums(Rows *R, Scope *at, RowsPart *part, const Places *places)
{
    Emitter *E = R->E;
    const Plan *plan = &part->text.plan;
    const char *c, *j, *terms = minus(E, R->r1, R->r0);
    pack_operand(&part->text, at, 1, (PackRange){"0", number(R, plan->cols), R->r0, terms, places->cols});
    Scope *tiles = open_loop(R, at, "j", "0", number(R, plan->cols), tile_width(R->tile), &j);
    Scope *panels = open_loop(R, tiles, "c", "0", R->nc, R->sums_tile.rows, &c);
    scope_line(panels, "%s(%s + %s, %s + %s*%s, %d, %s + %s*%lld + %s, %lld, %s, 1);", tile_name(E->arena, R->sums_tile),
               slot_of(R, part->text.p.operand[0]), c, places->cols, j, terms, tile_width(R->tile), part->sums, c,
               N(plan->block_cols), j, N(plan->block_cols), terms);
    scope_close(E, panels);
    scope_close(E, tiles);
}

static void emit_block(Rows *R, Scope *at, const Places *places)
{
    for (size_t i = 0; i < R->n_parts; i++)
        if (!R->part[i].is_out)
            emit_wide(R, at, &R->part[i], places);
    rows_emit_stages(R, at);
    for (size_t i = 0; i < R->n_parts; i++)
        if (R->part[i].is_out && R->part[i].over_columns)
            emit_out_rows(R, at, &R->part[i], places);
        else if (R->part[i].is_out)
            emit_out_sums(R, at, &R->part[i], places);
}

// After the rows: the sums are complete.
static void emit_after(Rows *R, Scope *at)
{
    Emitter *E = R->E;
    for (size_t i = 0; i < R->n_parts; i++) {
        RowsPart *part = &R->part[i];
        const Plan *plan = &part->text.plan;
        if (part->sums == NULL)
            continue;
        const char *c;
        Scope *rows = open_loop(R, at, "c", "0", number(R, plan->rows), 1, &c);
        const Ix row = scope_var(E, rows, c, 0, product_top_index(plan->rows), 1);
        const char *acc = emit_name(E, "acc");
        scope_line(rows, "const float *const %s = %s + %s*%lld;", acc, part->sums, c, N(plan->block_cols));
        product_epilogue_row(&part->text, rows, &part->space, row, "0", number(R, plan->cols), acc);
        scope_close(E, rows);
    }
}

static void emit_kernel(Rows *R)
{
    Emitter *E = R->E;
    Arena *arena = E->arena;
    const Places places = declare_places(R);
    const char *w, *r0;
    Scope *work = open_loop(R, E->top, "w", "begin", "end", 1, &w);
    const char *batch = R->chunks == 1 ? w : product_declare(E, work, "g", arena_printf(arena, "%s / %lld", w, N(R->chunks)));
    R->batch_at = R->batch.size == 1 ? ix_const(E->ix, 0) : scope_var(E, work, batch, 0, R->batch.size - 1, 1);
    for (size_t i = 0; i < R->n_parts; i++)
        R->part[i].text.batch = R->batch_at;
    const int64_t blocks = (R->n_rows + R->block_rows - 1) / R->block_rows;
    const int64_t chunk = (blocks + R->chunks - 1) / R->chunks * R->block_rows;
    const char *first = "0", *last = number(R, R->n_rows);
    if (R->chunks > 1) {
        first = product_declare(E, work, "first", arena_printf(arena, "%s %% %lld * %lld", w, N(R->chunks), N(chunk)));
        last = product_declare(E, work, "last", arena_printf(arena, "%s + %lld < %lld ? %s + %lld : %lld", first, N(chunk),
                                                             N(R->n_rows), first, N(chunk), N(R->n_rows)));
    }
    emit_before(R, work);
    Scope *block = open_loop(R, work, "r0", first, last, R->block_rows, &r0);
    R->r0 = r0;
    R->r1 = product_declare(E, block, "r1", arena_printf(arena, "%s + %lld < %s ? %s + %lld : %s", r0, N(R->block_rows), last,
                                                         r0, N(R->block_rows), last));
    R->nc = number(R, R->n_cols);
    if (R->causal) {
        const int lanes = R->tile.lanes;
        const char *up = arena_printf(arena, "(%s + %d) / %d * %d", R->r1, lanes - 1, lanes, lanes);
        R->nc = product_declare(E, block, "nc", arena_printf(arena, "%s < %lld ? %s : %lld", up, N(R->n_cols), up,
                                                             N(R->n_cols)));
    }
    emit_block(R, block, &places);
    scope_close(E, block);
    emit_after(R, work);
    scope_close(E, work);
}

static double part_flops(const Rows *R)
{
    double flops = 0;
    for (size_t i = 0; i < R->n_parts; i++) {
        const Plan *plan = &R->part[i].text.plan;
        flops += 2.0 * (double)R->batch.size * (double)plan->rows * (double)plan->cols * (double)plan->sum;
    }
    return R->causal ? flops / 2 : flops;
}

bool lower_rows(Lower *L)
{
    Rows *R = arena_new(L->arena, Rows);
    R->L = L;
    R->g = L->g;
    if (!rows_find(R))
        return lower_loop(L);
    R->E = lower_emitter(L, DIALECT_C, NULL);
    rows_plan_buffers(R);
    rows_cut(R);
    find_parts(R);
    emit_kernel(R);
    Text comment = text_make(L->arena);
    for (size_t i = 0; i < R->n_parts; i++) {
        const Product *p = &R->part[i].text.p;
        text_add(&comment, i ? "\n" : "");
        lower_describe(L->g, p->value, &comment);
        text_add(&comment, " = ");
        lower_describe(L->g, p->operand[0], &comment);
        text_add(&comment, " * ");
        lower_describe(L->g, p->operand[1], &comment);
    }
    const Node *last = &L->g->node[L->member[L->n_members - 1]];
    LowerText text = {.hint = last->hint ? last->hint : "rows", .comment = text_str(&comment), .c = R->E, .grain = 1,
                      .uses_scratch = true, .scratch_bytes = 4 * R->E->scratch_floats,
                      .n_work = R->batch.size * R->chunks, .flops = part_flops(R)};
    if (rows_tiles(R, &text))
        return true;
    rows_cuda(R, &text);
    lower_launch(L, &text);
    return true;
}

// --- schedules

// Cycles of the busiest thread, by what its blocks multiply, the passes over them, and what each work item packs.
static double rows_cycles(const Rows *R, int threads)
{
    const double rows = (double)R->n_rows / (double)R->chunks, cols = (double)R->stride * (R->causal ? 0.6 : 1);
    const double blocks = ceil(rows / (double)R->block_rows), padded = blocks * (double)R->block_rows;
    double terms = 0, packed = 0;
    for (size_t i = 0; i < R->n_members; i++) {
        const Node *n = &R->g->node[R->member[i]];
        if (n->op == OP_CONTRACT && (R->class_of[R->member[i]] == ROWS_OUT || R->class_of[R->member[i]] == ROWS_WIDE)) {
            const Product p = product_of(R->g, R->member[i]);
            const double width = (double)p.group[CLASS_SUM].size * (double)p.group[CLASS_COL].size * (double)p.group[CLASS_ROW].size;
            terms += width / ((double)R->n_rows * (double)R->n_cols);
        }
    }
    packed = terms * (double)R->n_cols * 0.3;
    const double products = padded * cols * terms * tile_cycles(R->tile) / (R->tile.rows * tile_width(R->tile));
    const double passes = rows * cols * (1 + R->n_stages) * 0.3, edges = blocks * cols * (double)R->n_slots * 0.5;
    const double items = ceil((double)(R->batch.size * R->chunks) / threads);
    const double spilled = (double)R->block_rows * (double)R->stride * 4.0 * R->n_slots / (double)(R->L->target->l2_bytes + 1);
    return items * (products + passes * (spilled > 0.5 ? 1.5 : 1) + edges + packed + 500);
}

size_t candidates_rows(Lower *L, size_t most, Candidate **out)
{
    static const int32_t parts[] = {0, 1, 2, 4, 8, 16}, panels[] = {0, 1, 2, 3, 4, 6, 8}, wide[] = {0, 1, 3, 4};
    enum { N_PARTS = 6, N_PANELS = 7, N_WIDE = 4 };
    Rows *R = arena_new(L->arena, Rows);
    R->L = L;
    R->g = L->g;
    if (!rows_find(R))
        return candidates_loop(L, most, out);
    rows_plan_buffers(R);
    CandidateList list = {.arena = L->arena};
    for (int i = 0; i < N_PARTS * N_PANELS * N_WIDE; i++) {
        Schedule s = {0};
        const int vectors = wide[i / (N_PARTS * N_PANELS)], height = vectors ? tile_height(L->target, vectors) : tile_for(L->target).rows;
        s.knob[KNOB_PARTS] = parts[i % N_PARTS];
        s.knob[KNOB_ROWS] = panels[i / N_PARTS % N_PANELS] * height;
        s.knob[KNOB_TILE_VECTORS] = vectors;
        s.knob[KNOB_TILE_ROWS] = vectors ? height : 0;
        L->schedule = s;
        rows_cut(R);
        if (i > 0 && R->block_rows * R->stride * R->n_slots > (int64_t)(L->target->l2_bytes ? L->target->l2_bytes : 524288) / 4)
            continue;
        uint64_t sign = schedule_sign(schedule_sign((uint64_t)R->tile.rows, R->tile.vectors), R->block_rows);
        candidates_add(&list, s, rows_cycles(R, L->target->threads > 0 ? L->target->threads : 1), schedule_sign(sign, R->chunks));
    }
    return candidates_ranked(&list, most, out);
}
