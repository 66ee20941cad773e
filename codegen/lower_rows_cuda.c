// A row kernel in CUDA, plainly: a block of threads for each batch element goes through the rows in order, with the wide
// values of one row in shared memory. What sums rows away is added in global memory, each element by one thread, in order.
#include "lower_rows.h"

#define N(x) ((long long)(x))

enum { THREADS = 64, MOST_SHARED_FLOATS = 12288 };

static Scope *share(Rows *R, Scope *at, const char *hint, int64_t size, const char **out_name)
{
    *out_name = emit_name(R->E, hint);
    return scope_set_threads(scope_block(R->E, at, arena_printf(R->E->arena, "for (long %s = threadIdx.x; %s < %lld; %s += blockDim.x) {",
                                                                *out_name, *out_name, N(size), *out_name)));
}

static Ix bounded(Rows *R, Scope *at, const char *name, int64_t size)
{
    return scope_var(R->E, at, name, 0, product_top_index(size), 1);
}

// An operand of a part at (row or column, term).
static const char *operand(Rows *R, Scope *at, RowsPart *part, int which, Ix x, Ix term, Prec prec)
{
    const ValueId v = part->text.p.operand[which];
    Env env = env_of(R->E, v);
    env_group(R->E, &env, &R->batch, R->batch_at);
    env_group(R->E, &env, &part->text.p.group[which == 0 ? CLASS_ROW : CLASS_COL], x);
    env_group(R->E, &env, &part->text.p.group[CLASS_SUM], term);
    return val_text(R->E, val_float(R->E, emit_value(R->E, at, v, &env)), prec);
}

static const char *buffer(const Rows *R, ValueId wide)
{
    return R->slot[rows_buffer(R, wide)->slot];
}

static void emit_wide(Rows *R, Scope *at, RowsPart *part, Ix row)
{
    Emitter *E = R->E;
    const char *c, *k = emit_name(E, "k"), *s = emit_name(E, "s");
    const int64_t terms = part->text.p.group[CLASS_SUM].size;
    Scope *cols = share(R, at, "c", R->n_cols, &c);
    const Ix col = bounded(R, cols, c, R->n_cols);
    scope_line(cols, "float %s = 0.0f;", s);
    Scope *loop = scope_block(E, cols, arena_printf(E->arena, "for (long %s = 0; %s < %lld; %s++) {", k, k, N(terms), k));
    const Ix term = bounded(R, loop, k, terms);
    const char *a = operand(R, loop, part, 0, row, term, PREC_COMPARE), *b = operand(R, loop, part, 1, col, term, PREC_COMPARE);
    scope_line(loop, "%s = fmaf(%s, %s, %s);", s, a, b, s);
    scope_close(E, loop);
    scope_line(cols, "(%s)[%s] = %s;", buffer(R, part->text.p.value), c, s);
    scope_close(E, cols);
}

static void emit_out_row(Rows *R, Scope *at, RowsPart *part, Ix row)
{
    Emitter *E = R->E;
    const char *j, *c = emit_name(E, "c"), *s = emit_name(E, "s");
    const int64_t size = part->text.p.group[CLASS_COL].size;
    Scope *cols = share(R, at, "j", size, &j);
    const Ix col = bounded(R, cols, j, size);
    scope_line(cols, "float %s = 0.0f;", s);
    Scope *loop = scope_block(E, cols, arena_printf(E->arena, "for (long %s = 0; %s < %lld; %s++) {", c, c, N(R->n_cols), c));
    const char *b = operand(R, loop, part, 1, col, bounded(R, loop, c, R->n_cols), PREC_UNARY);
    scope_line(loop, "%s += (%s)[%s]*%s;", s, buffer(R, part->text.p.operand[0]), c, b);
    scope_close(E, loop);
    product_epilogue_point(&part->text, cols, &part->space, row, col, val_name(s, VAL_FLOAT, false));
    scope_close(E, cols);
}

static void emit_out_sum(Rows *R, Scope *at, RowsPart *part, Ix row, const char *t)
{
    Emitter *E = R->E;
    const ValueId v = part->text.p.value;
    const AxisGroup *group = part->text.p.group;
    const int64_t cols = group[CLASS_COL].size;
    const char *e, *c = emit_name(E, "c"), *j = emit_name(E, "j"), *name = emit_param(E, v, true);
    Scope *loop = share(R, at, "e", R->n_cols * cols, &e);
    scope_line(loop, "const long %s = %s / %lld, %s = %s %% %lld;", c, e, N(cols), j, e, N(cols));
    const Ix at_c = bounded(R, loop, c, R->n_cols), at_j = bounded(R, loop, j, cols);
    const char *b = operand(R, loop, part, 1, at_j, row, PREC_UNARY);
    Env env = env_of(E, v);
    env_group(E, &env, &R->batch, R->batch_at);
    env_group(E, &env, &group[CLASS_ROW], at_c);
    env_group(E, &env, &group[CLASS_COL], at_j);
    Text place = text_make(E->arena);
    ix_print(E->ix, emit_offset(E, v, &env), false, 0, NULL, &place);
    scope_line(loop, "%s[%s] = (%s > 0 ? %s[%s] : 0.0f) + (%s)[%s]*%s;", name, text_str(&place), t, name, text_str(&place),
               buffer(R, part->text.p.operand[0]), c, b);
    scope_close(E, loop);
}

void rows_cuda(Rows *R, LowerText *text)
{
    const int64_t shared = THREADS / 32 + R->n_slots * R->n_cols;
    for (size_t i = 0; i < R->n_parts; i++)
        if (R->part[i].sums != NULL && R->g->node[R->part[i].text.p.value].type.dtype != DTYPE_F32)
            return;
    if (shared > MOST_SHARED_FLOATS)
        return;
    Emitter *E = R->E = lower_emitter(R->L, DIALECT_CUDA, text->c);
    Scope *top = scope_block(E, E->top, "{");
    const char *g = emit_name(E, "g"), *t = emit_name(E, "i");
    if (R->batch.size > 1)
        scope_line(top, "const long %s = blockIdx.x;", g);
    R->batch_at = R->batch.size > 1 ? scope_var(E, top, g, 0, R->batch.size - 1, 1) : ix_const(E->ix, 0);
    for (int s = 0; s < R->n_slots; s++)
        R->slot[s] = arena_printf(E->arena, "shared + %lld", N(THREADS / 32 + s * R->n_cols));
    Scope *rows = scope_block(E, top, arena_printf(E->arena, "for (long %s = 0; %s < %lld; %s++) {", t, t, N(R->n_rows), t));
    const Ix row = bounded(R, rows, t, R->n_rows);
    for (size_t i = 0; i < R->n_parts; i++) {
        R->part[i].text.E = E;
        R->part[i].text.batch = R->batch_at;
        if (!R->part[i].is_out)
            emit_wide(R, rows, &R->part[i], row);
    }
    scope_line(rows, "__syncthreads();");
    rows_emit_stages_cuda(R, rows, row);
    for (size_t i = 0; i < R->n_parts; i++)
        if (R->part[i].is_out && R->part[i].over_columns)
            emit_out_row(R, rows, &R->part[i], row);
        else if (R->part[i].is_out)
            emit_out_sum(R, rows, &R->part[i], row, t);
    scope_line(rows, "__syncthreads();");
    scope_close(E, rows);
    scope_close(E, top);
    product_share_params(text->c, E);
    text->cuda = E;
    text->cuda_blocks = R->batch.size;
    text->cuda_threads = THREADS;
    text->cuda_shared_floats = shared;
}
