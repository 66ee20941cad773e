// Grouped products in CUDA: the kernel of lower_product_cuda.c on rows that are looked up.
//
//   order   one block of threads counts (count_cuda.h), so the order is that of the C text
//   rows    a tile is of one group, from the list of blocks that `order` wrote; rows are fetched through the order
//   sums    a tile of one group's matrix; its terms are the group's rows, fetched through the order
//
// Tiles that no group needs end at once.
#include "lower_grouped.h"

#include "count_cuda.h"
#include "product_cuda.h"

#define N(x) ((long long)(x))

static int64_t blocks_of(int64_t size, int64_t block)
{
    return (size + block - 1) / block;
}

// Warps that put the rows in order; 0: there are too many groups.
static int64_t order_warps(const Grouped *of)
{
    return count_cuda_warps(of->n_rows, of->n_groups + 1);
}

void grouped_cuda_order(Lower *L, const GroupedText *of, LowerText *text)
{
    const int64_t warps = order_warps(&of->of);
    if (warps == 0)
        return;
    Emitter *E = lower_emitter(L, DIALECT_CUDA, text->c);
    E->n_uses = NULL;
    Scope *top = scope_block(E, E->top, "{");
    count_cuda_order(E, top, &of->rows, emit_workspace(E, of->order, "order", DTYPE_I32, true), warps);
    scope_close(E, top);
    product_share_params(text->c, E);
    text->cuda = E;
    text->cuda_blocks = 1;
    text->cuda_threads = warps * 32;
    text->cuda_dynamic_bytes = count_cuda_bytes(warps, of->of.n_groups + 1);
}

// --- the products

static int tile_rows(const GroupedText *G)
{
    return G->of.is_sum ? 0 : (int)G->rows.cuda_block;
}

static ProductCuda make_text(Lower *L, const GroupedText *G, Emitter *E)
{
    ProductCuda T = {.P = {.E = E, .p = G->of.p, .gather = "order", .gather_sum = G->of.is_sum}, .k_begin = "0"};
    cuda_plan(&T, &L->schedule, tile_rows(G));
    return T;
}

size_t grouped_cuda_candidates(Lower *L, const GroupedText *G, size_t most, Candidate **out)
{
    const ProductCuda T = make_text(L, G, lower_emitter(L, DIALECT_CUDA, NULL));
    return cuda_candidates(L, &T, tile_rows(G), most, out);
}

int64_t grouped_cuda_blocks(Lower *L, const GroupedText *G)
{
    const ProductCuda T = make_text(L, G, lower_emitter(L, DIALECT_CUDA, NULL));
    return G->of.is_sum ? G->of.n_groups * T.plan.down * T.plan.across : G->rows.most_cuda_blocks * T.plan.across;
}

// A tile of rows of one group: place, rows and group come from the list.
static void emit_rows(ProductCuda *T, const GroupedText *G, Scope *top, const Space *space)
{
    Emitter *E = T->P.E;
    const CudaPlan *plan = &T->plan;
    const int64_t sum = G->of.p.group[CLASS_SUM].size, groups = G->of.n_groups;
    const char *ib = emit_name(E, "ib"), *i1 = emit_name(E, "i1"), *g = emit_name(E, "g"), *m = emit_name(E, "m");
    T->i0 = emit_name(E, "i0");
    T->j0 = emit_name(E, "j0");
    scope_line(top, "const int %s = blockIdx.x / %lld;", ib, N(plan->across));
    scope_line(top, "if (%s >= %s[%lld])", ib, T->P.gather, N(G->rows.n_blocks));
    scope_line(top, "    return;");
    scope_line(top, "const int %s = %s[%lld + %s], %s = %s < %lld ? %s : 0;", g, T->P.gather, N(G->rows.block_group), ib, m, g, N(groups), g);
    scope_line(top, "const long %s = %s[%lld + %s], %s = %s[%lld + %s], %s = blockIdx.x %% %lld * %d;", T->i0, T->P.gather, N(G->rows.block_first), ib,
               i1, T->P.gather, N(G->rows.block_end), ib, T->j0, N(plan->across), plan->tile.cols);
    T->rows_end = i1;
    T->k_end = sum % plan->terms == 0 ? NULL : product_number(E, sum);
    T->n_strips = arena_printf(E->arena, "%s < %lld ? %lld : 0", g, N(groups), N(blocks_of(sum, plan->terms)));
    T->P.batch = scope_var(E, top, m, 0, product_top_index(groups), 1);
    cuda_emit_block(T, top, space);
}

// Totals: each thread's, then the block's, in a fixed order. Parts that only the C text has are 0.
static void open_totals(ProductCuda *T, const GroupedText *G, Scope *at)
{
    Emitter *E = T->P.E;
    T->P.n_totals = G->P.n_totals;
    T->P.total = arena_array(E->arena, ProductTotal, G->P.n_totals + 1);
    for (size_t t = 0; t < T->P.n_totals; t++) {
        T->P.total[t] = (ProductTotal){.value = G->P.total[t].value, .rest = val_name(emit_name(E, "total"), VAL_FLOAT, false)};
        scope_line(at, "float %s = 0.0f;", T->P.total[t].rest.text);
    }
}

static void close_totals(ProductCuda *T, const GroupedText *G, Scope *at, int64_t blocks)
{
    Emitter *E = T->P.E;
    for (size_t t = 0; t < T->P.n_totals; t++) {
        const char *part = emit_workspace(E, G->sum[t]->part[0], "part", DTYPE_F32, true), *of_block = emit_name(E, "of_block");
        scope_line(at, "__syncthreads();");
        scope_line(at, "const float %s = block_sum_s(%s, dynamic);", of_block, T->P.total[t].rest.text);
        scope_line(at, "if (threadIdx.x == 0)");
        scope_line(at, "    %s[blockIdx.x] = %s;", part, of_block);
        if (G->sum[t]->n_chunks > blocks) {
            scope_line(at, "for (long i = %lld + blockIdx.x*%d + threadIdx.x; i < %lld; i += %lld)", N(blocks), T->plan.threads, N(G->sum[t]->n_chunks),
                       N(blocks * T->plan.threads));
            scope_line(at, "    %s[i] = 0.0f;", part);
        }
    }
}

static void emit_sums(ProductCuda *T, const GroupedText *G, Scope *top, const Space *space, int64_t blocks)
{
    Emitter *E = T->P.E;
    const CudaPlan *plan = &T->plan;
    const int64_t rows = G->of.p.group[CLASS_ROW].size, tiles = plan->down * plan->across;
    const char *g = emit_name(E, "g"), *b = emit_name(E, "b"), *first = emit_name(E, "first"), *end = emit_name(E, "behind");
    scope_line(top, "const long %s = blockIdx.x / %lld, %s = blockIdx.x %% %lld;", g, N(tiles), b, N(tiles));
    scope_line(top, "const long %s = %s[%lld + %s], %s = %s[%lld + %s];", first, T->P.gather, N(G->rows.start), g, end, T->P.gather, N(G->rows.start + 1), g);
    cuda_place_tile(T, top, b);
    T->rows_end = rows % plan->tile.rows == 0 ? NULL : product_number(E, rows);
    T->k_begin = first;
    T->k_end = end;
    T->n_strips = arena_printf(E->arena, "(int)((%s - %s + %d) / %d)", end, first, plan->terms - 1, plan->terms);
    T->P.batch = scope_var(E, top, g, 0, product_top_index(G->of.n_groups), 1);
    open_totals(T, G, top);
    cuda_emit_block(T, top, space);
    close_totals(T, G, top, blocks);
}

void grouped_cuda(Lower *L, const GroupedText *G, const Space *space, LowerText *text)
{
    if (order_warps(&G->of) == 0)
        return;
    Emitter *E = lower_emitter(L, DIALECT_CUDA, text->c);
    ProductCuda T = make_text(L, G, E);
    const int64_t blocks = grouped_cuda_blocks(L, G);
    cuda_prepare(&T, L, tile_rows(G));
    T.P.gather = emit_workspace(E, G->order, "order", DTYPE_I32, false);
    Scope *top = scope_block(E, E->top, "{");
    if (G->of.is_sum)
        emit_sums(&T, G, top, space, blocks);
    else
        emit_rows(&T, G, top, space);
    scope_close(E, top);
    product_share_params(text->c, E);
    text->cuda = E;
    text->cuda_blocks = blocks;
    text->cuda_threads = T.plan.threads;
    text->cuda_dynamic_bytes = cuda_shared_bytes(&T.plan);
}
