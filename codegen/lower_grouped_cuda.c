// Grouped products in CUDA: the kernel of lower_product_cuda.c on rows that are looked up.
//
//   order   one block of threads: each warp counts the rows of its stretch by group, 32 at a time; sums over groups and warps say
//           where each warp's rows of a group go; each warp puts them there. Stable, so the order is that of the C text
//   rows    a tile is of one group, from the list of blocks that `order` wrote; rows are fetched through the order
//   sums    a tile of one group's matrix; its terms are the group's rows, fetched through the order
//
// Tiles that no group needs end at once.
#include "lower_grouped.h"

#include "product_cuda.h"

#define N(x) ((long long)(x))

enum { THREADS = 1024, MOST_COUNTS = 16384, LEAST_WARPS = 2 };

static int64_t blocks_of(int64_t size, int64_t block)
{
    return (size + block - 1) / block;
}

// Warps that count: as many as their counts of all groups have room for.
static int64_t counting_warps(const Grouped *of)
{
    int64_t warps = THREADS / 32;
    while (warps > 1 && (warps * (of->n_groups + 1) > MOST_COUNTS || warps * 32 > 2 * of->n_rows))
        warps /= 2;
    return warps * (of->n_groups + 1) > MOST_COUNTS ? 0 : warps < LEAST_WARPS ? LEAST_WARPS : warps;
}

// --- the order

// Opens the loop over a warp's rows, 32 at a time; *out_row: the lane's, *out_group: what it chose, -1 behind the end. *out_same: the
// lanes whose rows chose the same; *out_before: how many of them come before this one.
static Scope *open_rows(GroupedText *G, Scope *at, const char *first, const char *last, const char **out_row, const char **out_group,
                        const char **out_before, const char **out_same)
{
    Emitter *E = G->P.E;
    const char *r0 = emit_name(E, "r0"), *r = emit_name(E, "r"), *group = emit_name(E, "group"), *same = emit_name(E, "same");
    const char *before = emit_name(E, "before");
    Scope *rows = scope_set_threads(scope_block(E, at, arena_printf(E->arena, "for (long %s = %s; %s < %s; %s += 32) {", r0, first, r0, last, r0)));
    scope_line(rows, "const long %s = %s + threadIdx.x %% 32;", r, r0);
    scope_line(rows, "int %s = -1;", group);
    Scope *inside = scope_set_threads(scope_block(E, rows, arena_printf(E->arena, "if (%s < %s) {", r, last)));
    const char *chosen = order_declare_group(E, &G->rows, inside, scope_var(E, inside, r, 0, product_top_index(G->of.n_rows), 1));
    scope_line(inside, "%s = (int)%s;", group, chosen);
    scope_close(E, inside);
    scope_line(rows, "const unsigned %s = __match_any_sync(0xffffffffu, %s);", same, group);
    scope_line(rows, "const int %s = __popc(%s & ((1u << threadIdx.x %% 32) - 1));", before, same);
    *out_row = r;
    *out_group = group;
    *out_before = before;
    *out_same = same;
    return rows;
}

// Lists of blocks: each thread those of a group.
static void emit_blocks(GroupedText *G, Scope *at, const char *ints, const char *scan, int64_t threads)
{
    Emitter *E = G->P.E;
    const char *n = emit_name(E, "n"), *g0 = emit_name(E, "g0"), *g = emit_name(E, "g"), *from = emit_name(E, "from"), *to = emit_name(E, "to");
    const char *b = emit_name(E, "b"), *blocks = emit_name(E, "blocks");
    const long long block = N(G->rows.cuda_block), groups = N(G->of.n_groups + 1);
    scope_line(at, "int %s = 0;", n);
    Scope *some = scope_block(E, at, arena_printf(E->arena, "for (int %s = 0; %s < %lld; %s += %lld) {", g0, g0, groups, g0, N(threads)));
    scope_line(some, "const int %s = %s + (int)threadIdx.x;", g, g0);
    scope_line(some, "const int %s = %s < %lld ? %s[%lld + %s] : 0, %s = %s < %lld ? %s[%lld + %s + 1] : 0;", from, g, groups, ints, N(G->rows.start),
               g, to, g, groups, ints, N(G->rows.start), g);
    scope_line(some, "const int %s = (%s - %s + %lld) / %lld;", blocks, to, from, block - 1, block);
    scope_line(some, "int %s = %s + block_scan_s(%s, %s);", b, n, blocks, scan);
    scope_line(some, "for (int first = %s; first < %s; first += %lld) {", from, to, block);
    scope_line(some, "    %s[%lld + %s] = %s;", ints, N(G->rows.block_group), b, g);
    scope_line(some, "    %s[%lld + %s] = first;", ints, N(G->rows.block_first), b);
    scope_line(some, "    %s[%lld + %s++] = first + %lld < %s ? first + %lld : %s;", ints, N(G->rows.block_end), b, block, to, block, to);
    scope_line(some, "}");
    scope_line(some, "%s += %s[blockDim.x - 1];", n, scan);
    scope_line(some, "__syncthreads();");
    scope_close(E, some);
    scope_line(at, "if (threadIdx.x == 0)");
    scope_line(at, "    %s[%lld] = %s;", ints, N(G->rows.n_blocks), n);
}

// count[group][warp] -> where the warp's first row of the group goes; where each group begins.
static void emit_places(GroupedText *G, Scope *at, const char *ints, const char *count, const char *scan, int64_t warps)
{
    Emitter *E = G->P.E;
    const int64_t n = warps * (G->of.n_groups + 1), each = blocks_of(n, warps * 32);
    const char *i = emit_name(E, "i"), *own = emit_name(E, "own"), *place = emit_name(E, "place"), *here = emit_name(E, "here");
    const char *from = emit_name(E, "from");
    scope_line(at, "const int %s = (int)threadIdx.x*%lld;", from, N(each));
    scope_line(at, "int %s = 0;", own);
    scope_line(at, "for (int %s = %s; %s < %s + %lld && %s < %lld; %s++)", i, from, i, from, N(each), i, N(n), i);
    scope_line(at, "    %s += %s[%s];", own, count, i);
    scope_line(at, "int %s = block_scan_s(%s, %s);", place, own, scan);
    Scope *loop = scope_block(E, at, arena_printf(E->arena, "for (int %s = %s; %s < %s + %lld && %s < %lld; %s++) {", i, from, i, from, N(each), i, N(n), i));
    scope_line(loop, "const int %s = %s[%s];", here, count, i);
    scope_line(loop, "%s[%s] = %s;", count, i, place);
    scope_line(loop, "if (%s %% %lld == 0)", i, N(warps));
    scope_line(loop, "    %s[%lld + %s / %lld] = %s;", ints, N(G->rows.start), i, N(warps), place);
    scope_line(loop, "%s += %s;", place, here);
    scope_close(E, loop);
    scope_line(at, "if (threadIdx.x == 0)");
    scope_line(at, "    %s[%lld] = %lld;", ints, N(G->rows.start + G->of.n_groups + 1), N(G->of.n_rows));
    scope_line(at, "__syncthreads();");
}

void grouped_cuda_order(Lower *L, const GroupedText *of, LowerText *text)
{
    GroupedText G = *of;
    const int64_t warps = counting_warps(&G.of), counts = warps * (G.of.n_groups + 1);
    if (warps == 0)
        return;
    Emitter *E = G.P.E = lower_emitter(L, DIALECT_CUDA, text->c);
    E->n_uses = NULL;
    const int64_t each = blocks_of(blocks_of(G.of.n_rows, warps), 32) * 32;
    const char *ints = emit_workspace(E, G.order, "order", DTYPE_I32, true), *r, *group, *before, *same;
    Scope *top = scope_block(E, E->top, "{");
    const char *count = emit_name(E, "count"), *scan = emit_name(E, "scan"), *warp = emit_name(E, "warp"), *first = emit_name(E, "first");
    const char *last = emit_name(E, "last");
    scope_line(top, "int *const %s = (int *)dynamic, *const %s = %s + %lld;", count, scan, count, N(counts));
    scope_line(top, "const int %s = threadIdx.x / 32;", warp);
    scope_line(top, "const long %s = %s*%lldL, %s = %s + %lld < %lld ? %s + %lld : %lld;", first, warp, N(each), last, first, N(each), N(G.of.n_rows),
               first, N(each), N(G.of.n_rows));
    scope_line(top, "for (int i = threadIdx.x; i < %lld; i += %lld)", N(counts), N(warps * 32));
    scope_line(top, "    %s[i] = 0;", count);
    scope_line(top, "__syncthreads();");
    Scope *rows = open_rows(&G, top, first, last, &r, &group, &before, &same);
    scope_line(rows, "if (%s >= 0 && %s == 0)", group, before);
    scope_line(rows, "    %s[%s*%lld + %s] += __popc(%s);", count, group, N(warps), warp, same);
    scope_line(rows, "__syncwarp();");
    scope_close(E, rows);
    scope_line(top, "__syncthreads();");
    emit_places(&G, top, ints, count, scan, warps);
    rows = open_rows(&G, top, first, last, &r, &group, &before, &same);
    scope_line(rows, "if (%s >= 0)", group);
    scope_line(rows, "    %s[%s[%s*%lld + %s] + %s] = (int)%s;", ints, count, group, N(warps), warp, before, r);
    scope_line(rows, "__syncwarp();");
    scope_line(rows, "if (%s >= 0 && %s == 0)", group, before);
    scope_line(rows, "    %s[%s*%lld + %s] += __popc(%s);", count, group, N(warps), warp, same);
    scope_line(rows, "__syncwarp();");
    scope_close(E, rows);
    emit_blocks(&G, top, ints, scan, warps * 32);
    scope_close(E, top);
    product_share_params(text->c, E);
    text->cuda = E;
    text->cuda_blocks = 1;
    text->cuda_threads = warps * 32;
    text->cuda_dynamic_bytes = 4 * (counts + warps * 32);
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
    if (counting_warps(&G->of) == 0)
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
