// A product in CUDA. A block of threads makes a tile of c; strips of both operands go through shared memory in stages, so that
// some are under way while one is multiplied:
//
//   for each strip of terms t:
//       wait for the copies of strip t; barrier
//       start the copies of strip t + stages - 1                   (operands that lie there as they are needed)
//       read strip t + 1 into registers                            (operands that are rounded or computed)
//       multiply strip t                                           (bf16: tensor cores; float32: fmaf)
//       put the registers down in stage t + 1
//   what follows the product, and the stores                       (the epilogue, as in the C text)
//
// Any GPU from sm_80 on. A strip's terms are added in order, so the bits are the same in every run.
#include "product_cuda.h"

#define N(x) ((long long)(x))

enum {
    BAND = 8,                               // rows of tiles that blocks go through side by side, so that they share columns
    ADDERS = 256,                           // threads of a block that adds up parts
};

// The C text may read an operand from the workspace that the CUDA text reads in place: both take the same arguments.
void product_share_params(Emitter *c, const Emitter *cuda)
{
    for (size_t i = c->n_params; i < cuda->n_params; i++) {
        const EmitParam *p = &cuda->param[i];
        const char *name = p->workspace == EMIT_KEY ? emit_key(c, p->value)
                         : p->workspace ? emit_workspace(c, p->workspace, p->name, p->dtype, p->is_written) : emit_param(c, p->value, p->is_written);
        scope_line(c->top, "(void)%s;           // CUDA only", name);
    }
}

static const char *stage_of(ProductCuda *T, const char *t)
{
    return arena_printf(T->P.E->arena, "(char *)dynamic + %s %% %d * %lld", t, T->plan.stages, N(T->plan.stage_bytes));
}

static const char *first_term(ProductCuda *T, const char *t)
{
    const char *from = T->k_begin[0] == '0' && !T->k_begin[1] ? "" : arena_printf(T->P.E->arena, "%s + ", T->k_begin);
    return arena_printf(T->P.E->arena, "%s%s*%dL", from, t, T->plan.terms);
}

// Opens "if (ahead < n) {" for strip t + far and declares its first term and stage.
static Scope *open_ahead(ProductCuda *T, Scope *at, const char *t, int far, const char *n, const char **out_k0, const char **out_stage)
{
    Emitter *E = T->P.E;
    const char *ahead = emit_name(E, "ahead");
    const char *from = far == T->plan.stages - 1 ? "" : arena_printf(E->arena, "%s >= %d && ", t, -far);
    scope_line(at, "const int %s = %s + %d;", ahead, t, far);
    Scope *some = scope_block(E, at, arena_printf(E->arena, "if (%s%s < %s) {", from, ahead, n));
    *out_k0 = emit_name(E, "k0");
    *out_stage = emit_name(E, "stage");
    scope_line(some, "const long %s = %s;", *out_k0, first_term(T, ahead));
    scope_line(some, "char *const %s = %s;", *out_stage, stage_of(T, ahead));
    return some;
}

// The loop over strips. With copies it begins before the first strip: they run so far ahead.
static void emit_strips(ProductCuda *T, Scope *at, const char *n)
{
    Emitter *E = T->P.E;
    const bool copied[2] = {cuda_is_copied(T, 0), cuda_is_copied(T, 1)};
    const bool copies = copied[0] || copied[1], fetches = !copied[0] || !copied[1];
    const char *t = emit_name(E, "t"), *k0, *stage;
    Scope *loop = scope_block(E, at, arena_printf(E->arena, "for (int %s = %d; %s < %s; %s++) {", t, copies ? 1 - T->plan.stages : -1, t, n, t));
    scope_line(loop, "if (%s >= 0) {", t);
    if (copies)
        scope_line(loop, "    copies_wait_s(%d);", T->plan.stages - 2);
    scope_line(loop, "    __syncthreads();");
    scope_line(loop, "}");
    if (copies) {
        Scope *some = open_ahead(T, loop, t, T->plan.stages - 1, n, &k0, &stage);
        for (int which = 0; which < 2; which++)
            if (copied[which])
                cuda_emit_copy(T, some, which, stage, k0);
        scope_close(E, some);
        scope_line(loop, "copies_end_s();");
    }
    if (fetches) {
        Scope *some = open_ahead(T, loop, t, 1, n, &k0, &stage);
        for (int which = 0; which < 2; which++)
            if (!copied[which])
                cuda_emit_fetch(T, some, which, k0);
        scope_close(E, some);
    }
    Scope *now = scope_block(E, loop, arena_printf(E->arena, "if (%s >= 0) {", t));
    const char *here = emit_name(E, "here");
    scope_line(now, "const char *const %s = %s;", here, stage_of(T, t));
    cuda_emit_multiply(T, now, here);
    scope_close(E, now);
    if (fetches) {
        Scope *some = open_ahead(T, loop, t, 1, n, &k0, &stage);
        for (int which = 0; which < 2; which++)
            if (!copied[which])
                cuda_emit_put(T, some, which, stage);
        scope_close(E, some);
    }
    scope_close(E, loop);
}

void cuda_emit_block(ProductCuda *T, Scope *at, const Space *space)
{
    Emitter *E = T->P.E;
    const int64_t sum = T->P.p.group[CLASS_SUM].size;
    const char *n = product_number(E, (sum + T->plan.terms - 1) / T->plan.terms);
    if (T->n_strips) {
        n = emit_name(E, "n");
        scope_line(at, "const int %s = %s;", n, T->n_strips);
    }
    E->launch_threads = T->plan.threads;
    T->lane = emit_name(E, "lane");
    T->warp = emit_name(E, "warp");
    scope_line(at, "const int %s = threadIdx.x %% 32, %s = threadIdx.x / 32;", T->lane, T->warp);
    cuda_declare_sums(T, at);
    cuda_declare_operand(T, at, 0);
    cuda_declare_operand(T, at, 1);
    emit_strips(T, at, n);
    if (cuda_is_copied(T, 0) || cuda_is_copied(T, 1))
        scope_line(at, "copies_wait_s(0);");
    scope_line(at, "__syncthreads();");
    cuda_emit_results(T, at, space);
}

// Block b of a batch: a tile. With many both ways, bands of rows of tiles, column by column.
void cuda_place_tile(ProductCuda *T, Scope *at, const char *b)
{
    Emitter *E = T->P.E;
    const CudaPlan *plan = &T->plan;
    const long long down = N(plan->down), across = N(plan->across);
    T->i0 = emit_name(E, "i0");
    T->j0 = emit_name(E, "j0");
    if (down <= BAND || across <= 1) {
        scope_line(at, "const long %s = %s %% %lld * %d, %s = %s / %lld * %d;", T->i0, b, down, plan->tile.rows, T->j0, b, down, plan->tile.cols);
        return;
    }
    const char *band = emit_name(E, "band"), *rows = emit_name(E, "rows"), *in = emit_name(E, "in");
    scope_line(at, "const long %s = %s / %lld * %d, %s = %s %% %lld;", band, b, across * BAND, BAND, in, b, across * BAND);
    if (down % BAND == 0)
        scope_line(at, "const long %s = %d;", rows, BAND);
    else
        scope_line(at, "const long %s = %lld - %s < %d ? %lld - %s : %d;", rows, down, band, BAND, down, band, BAND);
    scope_line(at, "const long %s = (%s + %s %% %s) * %d, %s = %s / %s * %d;", T->i0, band, in, rows, plan->tile.rows, T->j0, in, rows,
               plan->tile.cols);
}

static const char *plus(Emitter *E, const char *a, int64_t b)
{
    return b == 0 ? a : arena_printf(E->arena, b > 0 ? "%s + %lld" : "%s - %lld", a, N(b > 0 ? b : -b));
}

// Strips that a tile needs not: their terms do not count for any of its rows (or columns), or nobody wants its results.
static void emit_band(ProductCuda *T, Scope *at, const ProductBand *band, int64_t strips)
{
    Emitter *E = T->P.E;
    const CudaPlan *plan = &T->plan;
    if (band->kind == BAND_COLS_OF_ROW) {
        Text outside = text_make(E->arena);
        if (band->most != BAND_FAR)
            text_printf(&outside, "%s > %s", T->j0, plus(E, T->i0, plan->tile.rows - 1 + band->most));
        if (band->least != -BAND_FAR)
            text_printf(&outside, "%s%s < %s", outside.n ? " || " : "", plus(E, T->j0, plan->tile.cols - 1), plus(E, T->i0, band->least));
        if (outside.n)
            T->n_strips = arena_printf(E->arena, "%s ? 0 : %lld", text_str(&outside), N(strips));
        return;
    }
    const bool of_row = band->kind == BAND_TERMS_OF_ROW;
    const char *x0 = of_row ? T->i0 : T->j0, *first = emit_name(E, "first"), *last = emit_name(E, "last"), *top = emit_name(E, "top");
    const int side = of_row ? plan->tile.rows : plan->tile.cols;
    scope_line(at, "long %s = 0, %s = %lld;", first, last, N(strips));
    if (band->least != -BAND_FAR)
        scope_line(at, "%s = %s > 0 ? (%s) / %d : 0;", first, plus(E, x0, band->least), plus(E, x0, band->least), plan->terms);
    if (band->most != BAND_FAR) {
        scope_line(at, "const long %s = %s;", top, plus(E, x0, side - 1 + band->most));
        scope_line(at, "%s = %s < 0 ? 0 : %s / %d + 1 < %lld ? %s / %d + 1 : %lld;", last, top, top, plan->terms, N(strips), top, plan->terms, N(strips));
    }
    scope_line(at, "%s *= %d;", first, plan->terms);
    T->k_begin = first;
    T->n_strips = arena_printf(E->arena, "(int)(%s - %s / %d)", last, first, plan->terms);
}

// The kernel of all tiles; with parts, of all tiles of each part.
static void emit_tiles(ProductCuda *T, Scope *top, const ProductBand *band, const Space *space, const char *parts)
{
    Emitter *E = T->P.E;
    const Product *p = &T->P.p;
    const int64_t rows = p->group[CLASS_ROW].size, cols = p->group[CLASS_COL].size, sum = p->group[CLASS_SUM].size, batch = p->group[CLASS_BATCH].size;
    const int64_t tiles = T->plan.across * T->plan.down, strips = (sum + T->plan.terms - 1) / T->plan.terms;
    const char *g = emit_name(E, "g"), *b = emit_name(E, "b");
    T->rows_end = rows % T->plan.tile.rows == 0 ? NULL : product_number(E, rows);
    T->k_end = sum % T->plan.terms == 0 ? NULL : product_number(E, sum);
    if (batch > 1)
        scope_line(top, "const long %s = blockIdx.x / %lld %% %lld, %s = blockIdx.x %% %lld;", g, N(tiles), N(batch), b, N(tiles));
    else
        scope_line(top, "const long %s = blockIdx.x%s;", b, parts ? arena_printf(E->arena, " %% %lld", N(tiles)) : "");
    T->P.batch = batch > 1 ? scope_var(E, top, g, 0, batch - 1, 1) : ix_const(E->ix, 0);
    if (parts) {
        const int64_t each = (strips + T->plan.parts - 1) / T->plan.parts;
        const char *part = emit_name(E, "part"), *first = emit_name(E, "first"), *to = emit_name(E, "to");
        scope_line(top, "const long %s = blockIdx.x / %lld, %s = %s*%lld;", part, N(tiles * batch), first, part, N(each * T->plan.terms));
        scope_line(top, "float *const %s = %s + (%s*%lld + %s)*%lld;", to, parts, part, N(batch), batch > 1 ? g : "0", N(rows * cols));
        T->k_begin = first;
        T->n_strips = arena_printf(E->arena, "%lld - %s*%lld < %lld ? (int)(%lld - %s*%lld) : %lld", N(strips), part, N(each), N(each), N(strips), part,
                                   N(each), N(each));
        T->part = to;
    }
    cuda_place_tile(T, top, b);
    if (band && band->kind != BAND_NONE)
        emit_band(T, top, band, strips);
    cuda_emit_block(T, top, space);
}

// The launch before: parts of the sum, each in a place of its own; with one part, the product without what follows it.
static uint32_t launch_parts(ProductCuda *like, Lower *L, const Space *space, const char *hint)
{
    ProductCuda T = *like;
    const AxisGroup *group = T.P.p.group;
    const int64_t batch = group[CLASS_BATCH].size;
    const uint32_t workspace = lower_workspace(L, "parts", DTYPE_F32, T.plan.parts * batch * group[CLASS_ROW].size * group[CLASS_COL].size);
    Emitter *c = lower_emitter(L, DIALECT_C, NULL), *E = T.P.E = lower_emitter(L, DIALECT_CUDA, NULL);
    Scope *top = scope_block(E, E->top, "{");
    emit_tiles(&T, top, NULL, space, emit_workspace(E, workspace, "parts", DTYPE_F32, true));
    scope_close(E, top);
    const LibraryProduct *library = T.library.way ? cuda_library(&T, L, workspace) : NULL;
    product_share_params(c, E);
    lower_launch(L, &(LowerText){.hint = arena_printf(L->arena, library ? "%s_sums" : "%s_parts", hint), .c = c, .library = library,
                                 .comment = library ? "the next product's sums, on a GPU" : "parts of the next product's sums, on a GPU",
                                 .cuda = E, .n_work = 1, .grain = 1, .cuda_blocks = batch * T.plan.across * T.plan.down * T.plan.parts,
                                 .cuda_threads = T.plan.threads, .cuda_dynamic_bytes = cuda_shared_bytes(&T.plan),
                                 .flops = 2 * product_flops(&T.P.p)});
    return workspace;
}

// Adds the parts up in order, element by element, and does what follows the product.
static void emit_addition(ProductCuda *T, Scope *top, const Space *space, const char *parts)
{
    Emitter *E = T->P.E;
    const AxisGroup *group = T->P.p.group;
    const int64_t rows = group[CLASS_ROW].size, cols = group[CLASS_COL].size, batch = group[CLASS_BATCH].size, all = batch * rows * cols;
    const char *e = emit_name(E, "e"), *g = emit_name(E, "g"), *i = emit_name(E, "i"), *j = emit_name(E, "j"), *y = emit_name(E, "y"), *k = emit_name(E, "part");
    scope_line(top, "const long %s = blockIdx.x*%dL + threadIdx.x;", e, ADDERS);
    Scope *some = scope_set_threads(scope_block(E, top, arena_printf(E->arena, "if (%s < %lld) {", e, N(all))));
    scope_line(some, "const long %s = %s / %lld %% %lld, %s = %s %% %lld;", i, e, N(cols), N(rows), j, e, N(cols));
    if (batch > 1)
        scope_line(some, "const long %s = %s / %lld;", g, e, N(rows * cols));
    scope_line(some, "float %s = 0.0f;", y);
    scope_line(some, "for (int %s = 0; %s < %d; %s++)", k, k, T->plan.parts, k);
    scope_line(some, "    %s += %s[%s*%lldL + %s];", y, parts, k, N(all), e);
    T->P.batch = batch > 1 ? scope_var(E, some, g, 0, batch - 1, 1) : ix_const(E->ix, 0);
    product_epilogue_point(&T->P, some, space, scope_var(E, some, i, 0, product_top_index(rows), 1), scope_var(E, some, j, 0, product_top_index(cols), 1),
                           val_name(y, VAL_FLOAT, false));
    scope_close(E, some);
}

static ProductCuda make_text(const Lower *L, Emitter *E, const Product *p, const ProductBand *band)
{
    return (ProductCuda){.P = {.E = E, .p = *p}, .k_begin = "0", .may_part = L->target->is_cuda && band->kind == BAND_NONE};
}

size_t product_cuda_candidates(Lower *L, const Product *p, const ProductBand *band, size_t most, Candidate **out)
{
    const ProductCuda T = make_text(L, lower_emitter(L, DIALECT_CUDA, NULL), p, band);
    return cuda_candidates(L, &T, 0, most, out);
}

void product_cuda(Lower *L, const Product *p, const ProductBand *band, const Space *space, LowerText *text)
{
    Emitter *E = lower_emitter(L, DIALECT_CUDA, text->c);
    ProductCuda T = make_text(L, E, p, band);
    cuda_prepare(&T, L, 0);
    const int64_t batch = p->group[CLASS_BATCH].size, results = batch * p->group[CLASS_ROW].size * p->group[CLASS_COL].size;
    const bool is_library = cuda_find_library(&T, L), has_parts = is_library ? !T.library_result : T.plan.parts > 1;
    const uint32_t workspace = has_parts ? launch_parts(&T, L, space, text->hint) : 0;
    Scope *top = scope_block(E, E->top, "{");
    if (has_parts)
        emit_addition(&T, top, space, emit_workspace(E, workspace, "parts", DTYPE_F32, false));
    else
        emit_tiles(&T, top, band, space, NULL);
    scope_close(E, top);
    if (is_library && !has_parts)
        text->library = cuda_library(&T, L, 0);
    if (has_parts)
        text->flops = (double)(T.plan.parts * results);
    product_share_params(text->c, E);
    text->cuda = E;
    text->cuda_blocks = has_parts ? (results + ADDERS - 1) / ADDERS : batch * T.plan.across * T.plan.down;
    text->cuda_threads = has_parts ? ADDERS : T.plan.threads;
    text->cuda_dynamic_bytes = has_parts ? 0 : cuda_shared_bytes(&T.plan);
}
