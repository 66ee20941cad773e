// ROUTE kernels that choose for each token (passes/fuse_route.c). A work item is a block of the scores' rows:
//
//   product  copy the rows; for each panel of columns: a band; store the scores            (lower_bands.c)
//   choice   as many rows of scores as a vector has lanes, turned, past sorted lists       (lower_route.c)
//   rest     row sums, weights: what else is stored, row by row                            (loop_bodies.c)
//
// A row of the product holds the scores of `each` rows of the topk, one for each column that is no expert (heads, say). What one
// part stores the next one reads, still in the nearest cache. In CUDA a block takes one row of the product.
#include "lower_route.h"

#include "emit_parts.h"
#include "product_cuda.h"

#include <string.h>

#define N(x) ((long long)(x))

enum { MOST_COLS = 512, MOST_MEMBERS = LOOP_MAX_MEMBERS, MOST_ROWS = 112, LEAST_BLOCKS = 24 };

typedef struct Tokens {
    ProductText P;
    Space       space;                      // of the scores alone
    Type        token;                      // axes of a row of the topk
    int64_t     each;                       // such rows in a row of the product
    Route       topk[MOST_MEMBERS]; size_t n_topk;
    RouteArrays arrays[MOST_MEMBERS];
    LoopGroup   rest[8]; size_t n_rest;
    ValueId     ready[2 * MOST_MEMBERS]; size_t n_ready;    // what the parts so far have stored
} Tokens;

static int64_t round_up(int64_t size, int64_t step)
{
    return (size + step - 1) / step * step;
}

static Plan plan_tokens(const Graph *g, const Product *p, const Target *target)
{
    Plan plan = {.batch = 1, .rows = p->group[CLASS_ROW].size, .cols = p->group[CLASS_COL].size, .sum = p->group[CLASS_SUM].size,
                 .tile = tile_for(target)};
    plan.tile.pairs = target->has_bf16_dot && g->node[p->operand[0]].type.dtype == DTYPE_BF16
        && g->node[p->operand[1]].type.dtype == DTYPE_BF16;
    const int64_t sums = (plan.sum + BANDS_MOST_TERMS - 1) / BANDS_MOST_TERMS;
    plan.block_sum = round_up((plan.sum + sums - 1) / sums, plan.tile.lanes);
    plan.n_sum_blocks = (plan.sum + plan.block_sum - 1) / plan.block_sum;
    plan.block_rows = round_up(plan.rows / LEAST_BLOCKS + 1, plan.tile.rows);
    if (plan.block_rows > MOST_ROWS)
        plan.block_rows = MOST_ROWS;
    plan.n_row_blocks = (plan.rows + plan.block_rows - 1) / plan.block_rows;
    const int64_t blocks = (plan.cols + MOST_COLS - 1) / MOST_COLS;
    plan.block_cols = round_up((plan.cols + blocks - 1) / blocks, tile_width(plan.tile));
    plan.n_col_blocks = (plan.cols + plan.block_cols - 1) / plan.block_cols;
    return plan;
}

static void sort_members(Lower *L, Tokens *T)
{
    const Graph *g = L->g;
    for (size_t m = 0; m < L->n_members; m++) {
        const ValueId v = L->member[m];
        if (g->node[v].op == OP_CONTRACT)
            T->P.p = product_of(g, v);
    }
    T->token = g->node[T->P.p.value].type;
    T->token.n_axes--;
    T->each = T->P.p.group[CLASS_COL].size / graph_size(g, g->node[T->P.p.value].type.axis[T->token.n_axes]);
    for (size_t m = 0; m < L->n_members; m++) {
        const ValueId v = L->member[m];
        if (g->node[v].op == OP_TOPK) {
            T->topk[T->n_topk++] = route_describe(L, v);
        } else if (v != T->P.p.value) {
            if (!T->n_rest || T->rest[T->n_rest - 1].n == LOOP_MAX_MEMBERS) {
                LoopGroup *group = &T->rest[T->n_rest++];
                *group = (LoopGroup){.wish = {.shape = LOOP_ROWS, .n_rows = T->token.n_axes}};
                memcpy(group->wish.row, T->token.axis, sizeof group->wish.row);
            }
            T->rest[T->n_rest - 1].member[T->rest[T->n_rest - 1].n++] = v;
        }
    }
}

static void now_ready(Tokens *T, ValueId v)
{
    T->ready[T->n_ready++] = v;
    T->P.E->ready = T->ready;
    T->P.E->n_ready = T->n_ready;
}

static void emit_scores(Tokens *T, Scope *work, ProductBlock rows)
{
    ProductText *P = &T->P;
    Emitter *E = P->E;
    const Plan *plan = &P->plan;
    const int64_t line = bands_line(plan);
    Bands use = {.c_line = plan->block_cols};
    const char *k0, *kn;
    use.a = product_scratch(E, E->top, "rows", (plan->block_rows + 1) * line);
    use.c = product_scratch(E, E->top, "c", (plan->block_rows + 1) * use.c_line);
    if (bands_need_panel(P))
        use.panel = product_scratch(E, E->top, "panel", plan_places(plan, plan->block_sum) * tile_width(plan->tile));
    const size_t strip_a = pack_lines_floats(P, 0), strip_b = pack_scratch_floats(P, 1);
    if (strip_a + strip_b > 0)
        P->scratch = product_scratch(E, E->top, "strip", (int64_t)(strip_a > strip_b ? strip_a : strip_b));
    const bool once = plan->n_sum_blocks == 1;
    if (once)
        pack_lines(P, work, 0, (PackRange){rows.i0, rows.i1, "0", product_number(E, plan->sum), use.a}, line);
    Scope *cols = work;
    ProductBlock block = {rows.i0, rows.i1, "0", product_number(E, plan->cols)};
    if (plan->n_col_blocks > 1) {
        const char *j0 = emit_name(E, "j0");
        cols = scope_block(E, work, arena_printf(E->arena, "for (long %s = 0; %s < %lld; %s += %lld) {", j0, j0, N(plan->cols), j0,
                                                 N(plan->block_cols)));
        block.j0 = j0;
        block.j1 = product_declare(E, cols, "j1", product_block_end(E, j0, plan->block_cols, plan->cols));
    }
    Scope *terms = product_sum_blocks(P, cols, &k0, &kn);
    if (!once)
        pack_lines(P, terms, 0, (PackRange){rows.i0, rows.i1, k0, kn, use.a}, line);
    bands_emit(P, terms, block, k0, kn, &use, once ? "0" : arena_printf(E->arena, "%s > 0", k0));
    if (terms != cols)
        scope_close(E, terms);
    const char *i = emit_name(E, "i"), *acc = emit_name(E, "acc");
    Scope *each = scope_block(E, cols, arena_printf(E->arena, "for (long %s = %s; %s < %s; %s++) {", i, rows.i0, i, rows.i1, i));
    const Ix index = scope_var(E, each, i, 0, product_top_index(plan->rows), 1);
    scope_line(each, "const float *const %s = %s + %s*%lld;", acc, use.c, minus(E, i, rows.i0), N(use.c_line));
    product_epilogue_row(P, each, &T->space, index, block.j0, block.j1, acc);
    scope_close(E, each);
    if (cols != work)
        scope_close(E, cols);
}

static void emit_choice(Tokens *T, Scope *work, const Route *r, const RouteArrays *use, const char *first, const char *last)
{
    Emitter *E = T->P.E;
    const char *from = emit_name(E, "from");
    if (route_by_lanes(E, r)) {
        Scope *some = scope_block(E, work, arena_printf(E->arena, "for (long %s = %s; %s < %s; %s += %d) {", from, first, from, last, from, E->vl));
        const char *end = product_declare(E, some, "end", arena_printf(E->arena, "%s + %d < %s ? %s + %d : %s", from, E->vl, last, from, E->vl, last));
        route_topk_lanes(E, some, r, use, from, end);
        scope_close(E, some);
        return;
    }
    Ix row;
    Scope *each = scope_loop_text(E, work, "row", first, last, 1, 0, r->n_rows - 1, &row);
    Env env = route_env(E, r);
    loop_set(E, &env, r->item, r->n_items, row);
    route_topk(E, each, r, &env);
    scope_close(E, each);
}

static Env token_env(Tokens *T, Ix row)
{
    Env env = {.n = T->token.n_axes};
    memcpy(env.axis, T->token.axis, sizeof env.axis);
    loop_set(T->P.E, &env, T->token.axis, T->token.n_axes, row);
    return env;
}

static void emit_c(Tokens *T)
{
    Emitter *E = T->P.E;
    const Plan *plan = &T->P.plan;
    const int64_t n_tokens = plan->rows * T->each;
    const char *w;
    for (size_t i = 0; i < T->n_topk; i++)
        if (route_by_lanes(E, &T->topk[i]))
            T->arrays[i] = route_arrays(E, &T->topk[i]);
    Scope *work = product_items(E, &w);
    T->P.batch = ix_const(E->ix, 0);
    ProductBlock rows = {.i0 = plan->n_row_blocks == 1 ? "0" : product_declare(E, work, "i0", arena_printf(E->arena, "%s*%lld", w, N(plan->block_rows)))};
    rows.i1 = product_declare(E, work, "i1", product_block_end(E, rows.i0, plan->block_rows, plan->rows));
    emit_scores(T, work, rows);
    now_ready(T, T->P.p.value);
    const char *first = rows.i0, *last = rows.i1;
    if (T->each > 1) {
        first = product_declare(E, work, "first", arena_printf(E->arena, "%s*%lld", rows.i0, N(T->each)));
        last = product_declare(E, work, "last", arena_printf(E->arena, "%s*%lld", rows.i1, N(T->each)));
    }
    for (size_t i = 0; i < T->n_topk; i++) {
        emit_choice(T, work, &T->topk[i], &T->arrays[i], first, last);
        now_ready(T, T->topk[i].v);
    }
    for (size_t i = 0; i < T->n_rest; i++) {
        Ix row;
        Scope *each = scope_loop_text(E, work, "row", first, last, 1, 0, n_tokens - 1, &row);
        const Env env = token_env(T, row);
        rows_at(E, each, &T->rest[i], &env);
        scope_close(E, each);
    }
    scope_close(E, work);
}

// A block's rows: few enough for all processors to have some.
static int cuda_rows(const Plan *plan)
{
    return plan->rows >= 64 * 256 ? 64 : 32;
}

// All columns of the block's rows, a tile of them after the other.
static void cuda_scores(Tokens *T, ProductCuda *C, Scope *work)
{
    Emitter *E = T->P.E;
    const CudaPlan *plan = &C->plan;
    const int64_t sum = T->P.plan.sum;
    C->i0 = product_declare(E, work, "i0", arena_printf(E->arena, "blockIdx.x*%dL", plan->tile.rows));
    C->rows_end = T->P.plan.rows % plan->tile.rows == 0 ? NULL : product_number(E, T->P.plan.rows);
    C->k_end = sum % plan->terms == 0 ? NULL : product_number(E, sum);
    C->P.batch = ix_const(E->ix, 0);
    C->j0 = emit_name(E, "j0");
    Scope *cols = scope_block(E, work, plan->across == 1 ? "{" : arena_printf(E->arena, "for (long %s = 0; %s < %lld; %s += %d) {", C->j0, C->j0,
                                                                              N(T->P.plan.cols), C->j0, plan->tile.cols));
    if (plan->across == 1)
        scope_line(cols, "const long %s = 0;", C->j0);
    cuda_emit_block(C, cols, &T->space);
    scope_line(cols, "__syncthreads();");
    scope_close(E, cols);
}

// A block of threads makes the scores of its rows; then each warp takes rows of the topk, one after the other.
static void emit_cuda(Tokens *T, ProductCuda *C)
{
    Emitter *E = T->P.E;
    const CudaPlan *plan = &C->plan;
    const int64_t n_tokens = T->P.plan.rows * T->each, of_block = plan->tile.rows * T->each;
    Ix row;
    Scope *work = E->top;
    work->is_floor = true;                  // what one part reads, another part wrote
    T->n_ready = 0;
    cuda_scores(T, C, work);
    now_ready(T, T->P.p.value);
    E->by_warp = true;
    const char *last = product_declare(E, work, "last", n_tokens % of_block == 0 ? arena_printf(E->arena, "(blockIdx.x + 1)*%lldL", N(of_block))
        : arena_printf(E->arena, "(blockIdx.x + 1)*%lldL < %lld ? (blockIdx.x + 1)*%lldL : %lld", N(of_block), N(n_tokens), N(of_block), N(n_tokens)));
    Scope *each = scope_loop_text(E, work, "row", arena_printf(E->arena, "blockIdx.x*%lldL + threadIdx.x / 32", N(of_block)), last, 1, 0,
                                  n_tokens ? n_tokens - 1 : 0, &row);
    scope_share(E, each, arena_printf(E->arena, "%d", plan->threads / 32));
    for (size_t i = 0; i < T->n_topk; i++) {
        const Route *r = &T->topk[i];
        Env env = route_env(E, r);
        loop_set(E, &env, r->item, r->n_items, row);
        route_topk_warp(E, each, r, &env);
        now_ready(T, r->v);
    }
    for (size_t i = 0; i < T->n_rest; i++) {
        const Env env = token_env(T, row);
        rows_at(E, each, &T->rest[i], &env);
    }
    scope_close(E, each);
}

static const char *describe(Lower *L, const Tokens *T)
{
    Text out = text_make(L->arena);
    lower_describe(L->g, T->P.p.value, &out);
    text_add(&out, " = ");
    lower_describe(L->g, T->P.p.operand[0], &out);
    text_add(&out, " * ");
    lower_describe(L->g, T->P.p.operand[1], &out);
    for (size_t m = 0; m < L->n_members; m++)
        if (L->member[m] != T->P.p.value) {
            text_add(&out, "\nand ");
            lower_describe(L->g, L->member[m], &out);
            text_printf(&out, ": %s", op_row[L->g->node[L->member[m]].op].text);
        }
    return text_str(&out);
}

bool lower_route_tokens(Lower *L)
{
    Tokens *T = arena_new(L->arena, Tokens);
    sort_members(L, T);
    T->P.plan = plan_tokens(L->g, &T->P.p, L->target);
    T->space = space_make(L->arena, L->g, T->P.p.value);
    LowerText t = {.hint = "route", .comment = describe(L, T), .n_work = T->P.plan.n_row_blocks, .grain = 1,
                   .flops = 2 * product_flops(&T->P.p)};
    t.c = T->P.E = lower_emitter(L, DIALECT_C, NULL);
    for (size_t m = 0; m < L->n_members; m++)           // results first, so that they have their own names
        emit_param(t.c, L->member[m], true);
    emit_c(T);
    t.scratch_bytes = 4 * t.c->scratch_floats;
    t.uses_scratch = true;
    t.cuda = T->P.E = lower_emitter(L, DIALECT_CUDA, t.c);
    ProductCuda C = {.P = {.E = t.cuda, .p = T->P.p}, .k_begin = "0"};
    cuda_plan(&C, &(Schedule){0}, cuda_rows(&T->P.plan));
    emit_cuda(T, &C);
    t.cuda_blocks = C.plan.down;
    t.cuda_threads = C.plan.threads;
    t.cuda_dynamic_bytes = cuda_shared_bytes(&C.plan);
    product_share_params(t.c, t.cuda);
    lower_launch(L, &t);
    return true;
}
