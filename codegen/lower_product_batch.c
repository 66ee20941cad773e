// Products whose batches lie side by side in memory: y[i, j, g] = sum over k of a[i, k, g] * b[g, k, j], as in the second
// factor of a Monarch product, whose blocks take every G-th feature and store every G-th. One batch after the other
// would read and write single floats of many lines; here a work item takes a vector's worth of batches at once:
//
//   for each block of terms:
//       pack the rows of all batches, turned against them      rows x batches of a term -> batches x rows
//       for each batch: all tiles
//   for each row: columns x batches of c are turned; what follows the product, with lanes over the batches
//
// Needs: floats, no band. The order of each sum is that of a plan, whatever the number of threads.
#include "lower_product.h"

#include <assert.h>

#define N(x) ((long long)(x))

// The anchor's axis that is innermost in the stored value v of the epilogue's space; 0: none of them.
static AxisId innermost(const Graph *g, const Space *space, ValueId v)
{
    const AtomMap *map = space_find(space, v), *anchor = space_find(space, space->anchor);
    const Type *from = &g->node[space->anchor].type;
    int last = -1;
    for (int i = 0; i < g->node[v].type.n_axes; i++)
        for (int k = 0; k < map->axis[i].n; k++)
            if (space->size[map->axis[i].atom[k]] > 1)
                last = map->axis[i].atom[k];
    for (int i = 0; i < from->n_axes; i++)
        for (int k = anchor->axis[i].n; k-- > 0;)
            if (space->size[anchor->axis[i].atom[k]] > 1) {
                if (anchor->axis[i].atom[k] == last)
                    return from->axis[i];
                break;
            }
    return 0;
}

static bool stores_across(const ProductText *P, const Space *space, AxisId axis)
{
    bool any = false;
    for (size_t m = 0; m < space->n_maps; m++)
        if (P->E->g->node[space->map[m].value].kernel == P->E->kernel) {
            if (innermost(P->E->g, space, space->map[m].value) != axis)
                return false;
            any = true;
        }
    return any;
}

// All batches of up to four vectors, as memory is read in longer runs then: of 32 or 64 batches that takes 10 to 20 % less time than
// a vector of them at a time. Of more as many as a vector has lanes, or a few less, so that items are equal; 1: it does not divide.
static int64_t batches_together(int64_t size, int lanes)
{
    if (size <= (size % lanes ? 2 : 4) * lanes)
        return size >= lanes / 2 ? size : 1;
    int64_t n = lanes;
    while (size % n != 0)
        n--;
    return n >= lanes / 2 ? n : 1;
}

// As many as the schedule says, or the next less that divide.
static int64_t batches_of(int64_t size, int lanes, const Schedule *schedule)
{
    int64_t n = schedule->knob[KNOB_BATCHES];
    if (n > size)
        n = size;
    while (n > 1 && size % n != 0)
        n--;
    return n > 1 ? n : batches_together(size, lanes);
}

bool product_find_across(ProductText *P, const Space *space, const Target *target, const Schedule *schedule)
{
    const AxisGroup group = P->p.group[CLASS_BATCH];
    if (P->plan.tile.pairs || P->band.kind != BAND_NONE || P->n_totals > 0)
        return false;
    for (int at = 0; at < 2 * group.n; at++) {                 // what is stored comes first
        const int i = at % group.n;
        const bool is_first = at < group.n;
        const int64_t n = batches_of(graph_size(P->E->g, group.axis[i]), P->plan.tile.lanes, schedule);
        P->lane_axis = group.axis[i];
        if (n < 2 || !(is_first ? stores_across(P, space, P->lane_axis) : pack_lies_across(P, 0) || pack_lies_across(P, 1)))
            continue;
        AxisGroup *to = &P->p.group[CLASS_BATCH];
        for (int k = i; k + 1 < group.n; k++)
            to->axis[k] = group.axis[k + 1];
        to->axis[group.n - 1] = P->lane_axis;
        plan_together(&P->plan, target, schedule, n);
        P->plan.ahead = P->plan.ahead && !pack_lies_across(P, 1);
        return true;
    }
    P->lane_axis = 0;
    return false;
}

typedef struct Across {
    const Space *space;
    ProductBlock item;
    const char  *l0, *a, *b, *c, *turned;   // first batch; scratch: rows, columns (NULL: packed ahead), results, a row of them
    int64_t      n, size, a_apart, b_apart, c_apart;    // batches of the item and of the axis; floats from one to the next
    bool         a_across, b_across;
} Across;

static void set_batch(ProductText *P, const Across *A, Ix index)
{
    P->lane_index = index;
    P->batch = ix_add(P->E->ix, ix_scale(P->E->ix, P->outer_batch, A->size), index);
}

// "for (long l = l0; l < l0 + n; l++) {", the batch at hand.
static Scope *open_batch(ProductText *P, Scope *at, const Across *A, const char **out_name)
{
    Emitter *E = P->E;
    const char *l = *out_name = emit_name(E, "l");
    Scope *loop = scope_block(E, at, arena_printf(E->arena, "for (long %s = %s; %s < %s + %lld; %s++) {", l, A->l0, l, A->l0, N(A->n), l));
    set_batch(P, A, scope_var(E, loop, l, 0, A->size - 1, 1));
    return loop;
}

static const char *of_batch(ProductText *P, Scope *at, const Across *A, const char *l, const char *hint, const char *from, int64_t apart)
{
    const char *name = emit_name(P->E, hint);
    scope_line(at, "float *const %s = %s + %s*%lld;", name, from, minus(P->E, l, A->l0), N(apart));
    return name;
}

static void emit_terms(ProductText *P, Scope *at, const Across *A, Ix first, const char *workspace)
{
    const ProductBlock item = A->item;
    const char *k0, *kn, *l;
    Scope *terms = product_sum_blocks(P, at, &k0, &kn);
    set_batch(P, A, first);
    if (A->a_across)
        pack_across(P, terms, 0, (PackRange){item.i0, item.i1, k0, kn, A->a}, A->n, A->a_apart);
    if (A->b_across)
        pack_across(P, terms, 1, (PackRange){item.j0, item.j1, k0, kn, A->b}, A->n, A->b_apart);
    Scope *each = open_batch(P, terms, A, &l);
    const char *a = of_batch(P, each, A, l, "a", A->a, A->a_apart), *c = of_batch(P, each, A, l, "c", A->c, A->c_apart);
    const char *b = A->b ? of_batch(P, each, A, l, "b", A->b, A->b_apart)
                         : product_packed_at(P, each, workspace, item.j0, k0, kn, false);
    if (!A->a_across)
        pack_operand(P, each, 0, (PackRange){item.i0, item.i1, k0, kn, a});
    if (!A->b_across && A->b)
        pack_operand(P, each, 1, (PackRange){item.j0, item.j1, k0, kn, b});
    product_tiles(P, each, item, a, b, c, k0, kn);
    scope_close(P->E, each);
    if (terms != at)
        scope_close(P->E, terms);
}

// One row with lanes over the batches: what the panel at A->turned holds, [column][batch].
static void store_turned(ProductText *P, Scope *at, const Across *A, Ix row)
{
    Emitter *E = P->E;
    const int lanes = P->plan.tile.lanes;
    const char *j = emit_name(E, "j");
    Scope *cols = scope_block(E, at, arena_printf(E->arena, "for (long %s = %s; %s < %s; %s++) {", j, A->item.j0, j, A->item.j1, j));
    const Ix col = scope_var(E, cols, j, 0, product_top_index(P->plan.cols), 1);
    const char *l = emit_name(E, "l");
    scope_line(cols, "long %s = %s;", l, A->l0);
    for (int vector = A->n >= lanes; vector >= (A->n % lanes == 0); vector--) {
        Scope *loop = scope_block(E, cols, vector ? arena_printf(E->arena, "for (; %s + %d <= %s + %lld; %s += %d) {", l, lanes, A->l0, N(A->n), l, lanes)
                                                  : arena_printf(E->arena, "for (; %s < %s + %lld; %s++) {", l, A->l0, N(A->n), l));
        const Ix index = scope_var(E, loop, l, 0, A->size - 1, vector && A->n % lanes == 0 ? lanes : 1);
        const char *y = emit_name(E, "y");
        if (vector)
            scope_set_lane(loop, index, lanes);
        scope_line(loop, vector ? "const vf %s = *(const vf *)(%s + %s*%lld + %s);" : "const float %s = (%s + %s*%lld)[%s];", y, A->turned,
                   minus(E, j, A->item.j0), N(A->n), minus(E, l, A->l0));
        set_batch(P, A, index);
        product_epilogue_point(P, loop, A->space, row, col, val_name(y, VAL_FLOAT, vector));
        scope_close(E, loop);
    }
    scope_close(E, cols);
}

static void emit_stores(ProductText *P, Scope *at, const Across *A)
{
    Emitter *E = P->E;
    Arena *arena = E->arena;
    const Plan *plan = &P->plan;
    const char *i = emit_name(E, "i"), *acc = emit_name(E, "acc"), *l;
    Scope *outer = A->turned ? at : open_batch(P, at, A, &l);
    Scope *rows = scope_block(E, outer, arena_printf(arena, "for (long %s = %s; %s < %s; %s++) {", i, A->item.i0, i, A->item.i1, i));
    const Ix row = scope_var(E, rows, i, 0, product_top_index(plan->rows), 1);
    scope_line(rows, "const float *const %s = %s + %s*%lld;", acc,
               A->turned ? A->c : arena_printf(arena, "%s + %s*%lld", A->c, minus(E, l, A->l0), N(A->c_apart)), minus(E, i, A->item.i0),
               N(plan->block_cols));
    if (A->turned) {
        pack_turn_panel(P, rows, (int)A->n, A->turned, acc, product_number(E, A->c_apart), product_number(E, A->n),
                        arena_printf(arena, "%s - %s", A->item.j1, A->item.j0));
        store_turned(P, rows, A, row);
    } else {
        product_epilogue_row(P, rows, A->space, row, A->item.j0, A->item.j1, acc);
    }
    scope_close(E, rows);
    if (outer != at)
        scope_close(E, outer);
}

void product_across_item(ProductText *P, Scope *at, const Space *space, const char *w, const char *workspace)
{
    Emitter *E = P->E;
    const Plan *plan = &P->plan;
    const int64_t lanes = plan->tile.lanes, size = graph_size(E->g, P->lane_axis), n = plan->together, groups = size / n;
    Across A = {.space = space, .n = n, .size = size, .a_across = pack_lies_across(P, 0), .b_across = pack_lies_across(P, 1),
                .a_apart = plan->block_rows * plan->block_sum + lanes, .b_apart = plan->block_cols * plan->block_sum + lanes,
                .c_apart = plan->block_rows * plan->block_cols + lanes};
    assert(n > 1 && size % n == 0 && "a work item has equal parts of the axis");
    A.a = product_scratch(E, E->top, "rows", n * A.a_apart);
    A.c = product_scratch(E, E->top, "c", n * A.c_apart);
    A.b = plan->ahead ? NULL : product_scratch(E, E->top, "cols", n * A.b_apart);
    if (stores_across(P, space, P->lane_axis))
        A.turned = product_scratch(E, E->top, "turned", n * plan->block_cols + lanes);
    const size_t strip_a = pack_scratch_floats(P, 0), strip_b = plan->ahead ? 0 : pack_scratch_floats(P, 1);
    if (strip_a + strip_b > 0)
        P->scratch = product_scratch(E, E->top, "strip", (int64_t)(strip_a > strip_b ? strip_a : strip_b));
    const char *g;
    A.item = product_open_item(P, at, w, &g);
    A.l0 = groups == 1 ? "0" : product_declare(E, at, "l0", arena_printf(E->arena, "%s %% %lld * %lld", g, N(groups), N(n)));
    P->outer_batch = ix_const(E->ix, 0);
    if (plan->batch > size)
        P->outer_batch = scope_var(E, at, product_declare(E, at, "outer", arena_printf(E->arena, "%s / %lld", g, N(groups))), 0,
                                   plan->batch / size - 1, 1);
    const Ix first = groups == 1 ? ix_const(E->ix, 0) : scope_var(E, at, A.l0, 0, size - n, n);
    emit_terms(P, at, &A, first, workspace);
    emit_stores(P, at, &A);
}

// --- schedules

size_t product_across_candidates(const ProductText *P, const Space *space, const Target *target, size_t most, Candidate **out)
{
    static const int32_t rows[] = {0, 8, 16, 32, 64, 128, 256}, cols[] = {0, 32, 128, 256}, terms[] = {0, 32, 128, 256}, batches[] = {0, 8, 16, 32, 64},
                         wide[] = {0, 1, 3, 4};
    CandidateList list = {.arena = P->E->arena};
    const int threads = target->threads > 0 ? target->threads : 1;
    for (size_t i = 0; i < 7 * 4 * 4 * 5 * 4; i++) {
        Schedule s = {0};
        s.knob[KNOB_ROWS] = rows[i % 7];
        s.knob[KNOB_COLS] = cols[i / 7 % 4];
        s.knob[KNOB_TERMS] = terms[i / 28 % 4];
        s.knob[KNOB_BATCHES] = batches[i / 112 % 5];
        s.knob[KNOB_TILE_VECTORS] = wide[i / 560];
        s.knob[KNOB_TILE_ROWS] = wide[i / 560] ? tile_height(target, wide[i / 560]) : 0;
        ProductText trial = *P;
        const Tile tile = tile_of(target, &s, P->plan.rows);
        trial.plan.tile.rows = tile.rows;
        trial.plan.tile.vectors = tile.vectors;
        if (!product_find_across(&trial, space, target, &s))
            continue;
        const Plan *plan = &trial.plan;
        const int64_t numbers[] = {plan->block_rows, plan->block_cols, plan->block_sum, plan->together, plan->tile.rows, plan->tile.vectors};
        uint64_t sign = plan->ahead;
        for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++)
            sign = schedule_sign(sign, numbers[n]);
        if (plan->together * plan->block_rows * (plan->block_cols + plan->block_sum) > (int64_t)(target->l2_bytes ? target->l2_bytes : 524288) / 4)
            continue;                       // of the second-level cache, all of it
        candidates_add(&list, s, plan_together_cycles(plan, threads, pack_lies_across(&trial, 1)), sign);
    }
    return list.n ? candidates_ranked(&list, most, out) : 1;
}
