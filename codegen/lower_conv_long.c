// Long convolutions in CUDA whose transforms no block can hold: two steps through memory (Bailey, 1990, "FFTs in external or hierarchical
// memory"), up to 2^20 complex numbers. With n = n1*n2, p = p1*n2 + p2 and k = k1 + n1*k2,
//
//   columns   z[p] = (x[p] + i x[p + n]) w^p, transformed over p1, times exp(-2 pi i p2 k1/n)         -> work[row][k1][p2][lane]
//   rows      over p2; times the spectrum [k1][k2]; back over k2, of the conjugate; the same twiddle      in place
//   results   over k1: the numbers p and p + n, straight to what follows; circular: by way of memory
//
// so that memory is crossed three times whatever the length. Transforms, roots and readings are those of lower_conv_cuda.c. In programs
// for a GPU only, because the steps' launches and workspaces are of no use to a processor. A filter's gradient takes this way beyond
// 4096 numbers already: three transforms of 8192 are more than a block's registers.
#include "lower_conv_cuda.h"

enum { MOST_ROW = 1024, LEAST_COLUMN = 64, MOST_LANES = 8, THREADS = 256, PLAIN = 256, WARP = 32 };

bool conv_is_long(const ConvFft *f)
{
    const int64_t n = conv_cuda_n(f);
    return f->is_cuda && n > (f->both ? CONV_MOST_BOTH : CONV_MOST);
}

typedef struct Long {                       // a launch while it is written
    ConvBlock b;
    int64_t  n1, n2, wide;                  // wide: lanes side by side in a block
    int64_t  columns;                       // a block of the steps over columns: so many p2 side by side, times wide
} Long;

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t power_up_to(int64_t x, int64_t most)
{
    int64_t p = 1;
    while (p < x && 2 * p <= most)
        p *= 2;
    return p;
}

static Long plan(const ConvFft *f, const Space *space, Emitter *E, int64_t lanes)
{
    const int64_t n = conv_cuda_n(f), n2 = smaller(MOST_ROW, n / LEAST_COLUMN), n1 = n / n2;
    Long l = {.b = {.E = E, .f = f, .space = space, .n = n, .lanes = lanes}, .n1 = n1, .n2 = n2};
    l.wide = power_up_to(lanes, smaller(MOST_LANES, n2 <= THREADS * CONV_EACH / MOST_LANES ? MOST_LANES : THREADS * CONV_EACH / n2));
    while (l.wide * n2 / CONV_EACH < WARP)
        l.wide *= 2;
    l.columns = smaller(n2, THREADS * CONV_EACH / n1 / l.wide);
    if (l.columns < 1)
        l.columns = 1;
    return l;
}

static int64_t groups_of(const Long *l)
{
    return (l->b.lanes + l->wide - 1) / l->wide;
}

static int64_t room(int64_t n, int64_t channels)
{
    return 2 * (n + n / CONV_EACH) * channels;
}

// Opens a block: `size` numbers of each of `columns` side by side; t and c. `outer`: what of the block's number is not the group of lanes.
static Ix open_block(Long *l, Scope *s, int64_t size, int64_t columns, const char **out_outer)
{
    Emitter *E = l->b.E;
    const int64_t groups = groups_of(l);
    l->b.t = emit_name(E, "t");
    l->b.c = emit_name(E, "c");
    l->b.step = size / CONV_EACH;
    l->b.channels = columns;
    l->b.roots = emit_workspace(E, l->b.f->twiddles, "roots", DTYPE_F32, false);
    scope_set_threads(s);
    scope_line(s, "const int %s = threadIdx.x %% %lld, %s = threadIdx.x / %lld;", l->b.c, N(columns), l->b.t, N(columns));
    const Ix group = conv_block_part(E, s, "group", arena_printf(E->arena, "blockIdx.x %% %lld", N(groups)), groups);
    *out_outer = groups == 1 ? "blockIdx.x" : arena_printf(E->arena, "blockIdx.x / %lld", N(groups));
    conv_block_lane(&l->b, s, group, l->wide, columns == l->wide ? l->b.c : arena_printf(E->arena, "%s %% %lld", l->b.c, N(l->wide)));
    return group;
}

// A block of columns: its row, and which p2 the thread has.
static Ix open_columns(Long *l, Scope *s, int64_t rows, const char **out_p2)
{
    Emitter *E = l->b.E;
    const int64_t bands = l->n2 / l->columns;
    const char *outer, *p2 = *out_p2 = emit_name(E, "p2");
    open_block(l, s, l->n1, l->columns * l->wide, &outer);
    scope_line(s, "const int %s = %s %% %lld * %lld + %s / %lld;", p2, outer, N(bands), N(l->columns), l->b.c, N(l->wide));
    return conv_block_part(E, s, "row", arena_printf(E->arena, "%s / %lld", outer, N(bands)), rows);
}

// A block of rows: its row of the result (or filter) and k1.
static Ix open_rows(Long *l, Scope *s, int64_t rows, const char **out_k1)
{
    Emitter *E = l->b.E;
    const char *outer, *k1 = *out_k1 = emit_name(E, "k1");
    open_block(l, s, l->n2, l->wide, &outer);
    scope_line(s, "const int %s = %s %% %lld;", k1, outer, N(l->n1));
    return conv_block_part(E, s, "row", arena_printf(E->arena, "%s / %lld", outer, N(l->n1)), rows);
}

static void finish(const Long *l, int64_t size, int64_t blocks, LowerText *text)
{
    text->cuda_blocks = blocks * groups_of(l);
    text->cuda_threads = size / CONV_EACH * l->b.channels;
    text->cuda_dynamic_bytes = 4 * room(size, l->b.channels);
    l->b.E->launch_threads = (int)text->cuda_threads;
}

static const char *numbers(Long *l, Scope *s, const char *hint)
{
    const char *name = emit_name(l->b.E, hint);
    scope_line(s, "float %s_re[%d], %s_im[%d];", name, CONV_EACH, name, CONV_EACH);
    return name;
}

static void transform(Long *l, Scope *s, int64_t size, const char *z)
{
    scope_line(s, "cfft_s(CfftSize<%lld, %lld, %lld>(), %s_re, %s_im, dynamic, %s, %s, %s);", N(size), N(l->b.channels), N(l->b.n / size), z, z,
               l->b.roots, l->b.t, l->b.c);
}

// The place of a complex number in a workspace: [row][k][p2][lane], in floats.
static const char *place(Long *l, Ix row, Ix lane, int64_t lanes, const char *k, const char *p2)
{
    Emitter *E = l->b.E;
    Text t = text_make(E->arena);
    ix_print(E->ix, ix_add(E->ix, ix_scale(E->ix, row, 2 * l->b.n * lanes), ix_scale(E->ix, lane, 2)), false, 0, NULL, &t);
    return arena_printf(E->arena, "%s + (%s*%lldL + %s)*%lldL", text_str(&t), k, N(l->n2), p2, N(2 * lanes));
}

static void load(Long *l, Scope *s, const char *z, const char *e, const char *from, const char *at)
{
    const char *v = emit_name(l->b.E, "v");
    scope_line(s, "const float2 %s = *(const float2 *)(%s + %s);", v, from, at);
    scope_line(s, "%s_re[%s] = %s.x, %s_im[%s] = %s.y;", z, e, v, z, e, v);
}

// Stores number e of z to `to`, times exp(-2 pi i p2 k1/n).
static void store_twisted(Long *l, Scope *s, const char *z, const char *e, const char *k1, const char *p2, const char *to, const char *at)
{
    const char *u = emit_name(l->b.E, "u");
    scope_line(s, "const float2 %s = root_s(%s, %lld, 4*%s*%s);", u, l->b.roots, N(l->b.n), p2, k1);
    Scope *in = l->b.inside ? scope_block(l->b.E, s, arena_printf(l->b.E->arena, "if (%s) {", l->b.inside)) : s;
    scope_line(in, "put2_s(%s + %s, fmaf(%s_re[%s], %s.x, %s_im[%s]*%s.y), fmaf(%s_im[%s], %s.x, -(%s_re[%s]*%s.y)));", to, at, z, e, u, z, e, u, z, e, u,
               z, e, u);
    if (in != s)
        scope_close(l->b.E, in);
}

// A loop over the thread's numbers, and the name of number t + e*step.
static Scope *each_number(Long *l, Scope *s, const char *hint, const char **out_e, const char **out_number)
{
    Scope *each = conv_unrolled(l->b.E, s, out_e);
    *out_number = emit_name(l->b.E, hint);
    scope_line(each, "const int %s = %s + %s*%lld;", *out_number, l->b.t, *out_e, N(l->b.step));
    return each;
}

// The axes of an operand that a result has as well, or that the convolution sums.
static size_t operand_rows(const Graph *g, const ConvFft *f, int operand, AxisId *axis)
{
    const Node *n = &g->node[f->v];
    const Type *type = &g->node[n->in[operand]].type;
    const Attr *over = &n->attr[4];
    size_t k = 0;
    if (operand && !f->both) {
        for (size_t i = 0; i < f->n_filter; i++)
            axis[k++] = f->filter[i];
        return k;
    }
    for (size_t i = 0; i < f->n_other; i++)
        if (type_has(type, f->other[i]))
            axis[k++] = f->other[i];
    for (size_t i = 0; i < over->axes.n; i++)
        if (type_has(type, over->axes.id[i]))
            axis[k++] = over->axes.id[i];
    return k;
}

// --- the launches

// What only CUDA does: the C text is empty.
static void launch(Lower *L, const char *hint, const char *comment, Emitter *E, LowerText text)
{
    Emitter *c = lower_emitter(L, DIALECT_C, NULL);
    c->n_uses = NULL;
    product_share_params(c, E);
    text.hint = hint;
    text.comment = comment;
    text.c = c;
    text.cuda = E;
    text.n_work = text.grain = 1;
    lower_launch(L, &text);
}

uint32_t conv_long_columns(Lower *L, const ConvFft *f, int operand)
{
    AxisId axis[2 * MAX_AXES];
    const ValueId v = L->g->node[f->v].in[operand];
    const size_t n_axes = operand_rows(L->g, f, operand, axis);
    const int64_t rows = loop_count(L->g, axis, n_axes), lanes = operand && !f->both && !f->lane_in_filter ? 1 : f->lanes;
    const uint32_t work = lower_workspace(L, "columns", DTYPE_F32, 2 * conv_cuda_n(f) * rows * lanes);
    Emitter *E = lower_emitter(L, DIALECT_CUDA, NULL);
    Long l = plan(f, NULL, E, lanes);
    Scope *s = scope_block(E, E->top, "{");
    const char *to = emit_workspace(E, work, "columns", DTYPE_F32, true), *p2, *e, *p1, *p = emit_name(E, "p"), *x = emit_name(E, "x"),
               *y = emit_name(E, "y"), *r = emit_name(E, "r"), *k1;
    const Ix row = open_columns(&l, s, rows, &p2);
    l.b.env = env_of(E, v);
    loop_set(E, &l.b.env, axis, n_axes, row);
    const char *z = numbers(&l, s, "z");
    Scope *each = each_number(&l, s, "p1", &e, &p1);
    scope_line(each, "const int %s = %s*%lld + %s;", p, p1, N(l.n2), p2);
    scope_line(each, "const float2 %s = *(const float2 *)(%s + 2*%s);", r, l.b.roots, p);
    scope_line(each, "float %s, %s;", x, y);
    conv_block_read(&l.b, each, operand, 0, p, x);
    conv_block_read(&l.b, each, operand, 1, p, y);
    scope_line(each, "%s_re[%s] = fmaf(%s, %s.x, -(%s*%s.y));", z, e, x, r, y, r);
    scope_line(each, "%s_im[%s] = fmaf(%s, %s.y, %s*%s.x);", z, e, x, r, y, r);
    scope_close(E, each);
    transform(&l, s, l.n1, z);
    each = each_number(&l, s, "k1", &e, &k1);
    store_twisted(&l, each, z, e, k1, p2, to, place(&l, row, l.b.lane, lanes, k1, p2));
    scope_close(E, each);
    scope_close(E, s);
    LowerText text = {0};
    finish(&l, l.n1, rows * (l.n2 / l.columns), &text);
    launch(L, "columns", "an operand of a long convolution: its columns, transformed", E, text);
    return work;
}

void conv_long_spectra(const ConvFft *f, uint32_t columns, Emitter *E, LowerText *text)
{
    const int64_t lanes = f->lane_in_filter ? f->lanes : 1, rows = loop_count(E->g, f->filter, f->n_filter);
    Long l = plan(f, NULL, E, lanes);
    Scope *s = scope_block(E, E->top, "{");
    const char *spectra = emit_workspace(E, f->spectra, "spectra", DTYPE_F32, true), *from = emit_workspace(E, columns, "columns", DTYPE_F32, false);
    const char *k1, *e, *p2, *k2;
    const Ix row = open_rows(&l, s, rows, &k1);
    const char *z = numbers(&l, s, "z");
    Scope *each = each_number(&l, s, "p2", &e, &p2);
    load(&l, each, z, e, from, place(&l, row, l.b.lane, lanes, k1, p2));
    scope_close(E, each);
    transform(&l, s, l.n2, z);
    Scope *in = l.b.inside ? scope_block(E, s, arena_printf(E->arena, "if (%s) {", l.b.inside)) : s;
    each = each_number(&l, in, "k2", &e, &k2);
    scope_line(each, "put2_s(%s + %s, %s_re[%s]*%.9gf, %s_im[%s]*%.9gf);", spectra, place(&l, row, l.b.lane, lanes, k1, k2), z, e, 1.0 / (double)l.b.n, z,
               e, 1.0 / (double)l.b.n);
    scope_close(E, each);
    if (in != s)
        scope_close(E, in);
    scope_close(E, s);
    finish(&l, l.n2, rows * l.n1, text);
}

// z = the conjugate of z times the spectrum.
static void times_spectrum(Long *l, Scope *s, const char *z, const char *k1)
{
    Emitter *E = l->b.E;
    const ConvFft *f = l->b.f;
    const char *spectra = emit_workspace(E, f->spectra, "spectra", DTYPE_F32, false), *e, *k2, *k = emit_name(E, "k"), *x = emit_name(E, "x");
    Scope *each = each_number(l, s, "k2", &e, &k2);
    scope_line(each, "const float2 %s = *(const float2 *)(%s + %s);", k, spectra,
               place(l, conv_row(E, f->filter, f->n_filter, &l->b.env), f->lane_in_filter ? l->b.lane : ix_const(E->ix, 0), f->lane_in_filter ? f->lanes : 1,
                     k1, k2));
    scope_line(each, "const float %s = fmaf(%s_re[%s], %s.x, -(%s_im[%s]*%s.y));", x, z, e, k, z, e, k);
    scope_line(each, "%s_im[%s] = -fmaf(%s_re[%s], %s.y, %s_im[%s]*%s.x);", z, e, z, e, k, z, e, k);
    scope_line(each, "%s_re[%s] = %s;", z, e, x);
    scope_close(E, each);
}

// An operand's row, transformed.
static const char *transformed_row(Long *l, Scope *s, int operand, const char *from, const char *k1)
{
    AxisId axis[2 * MAX_AXES];
    const size_t n = operand_rows(l->b.E->g, l->b.f, operand, axis);
    const char *e, *p2, *z = numbers(l, s, operand ? "k" : "x");
    Scope *each = each_number(l, s, "p2", &e, &p2);
    load(l, each, z, e, from, place(l, conv_row(l->b.E, axis, n, &l->b.env), l->b.lane, l->b.lanes, k1, p2));
    scope_close(l->b.E, each);
    transform(l, s, l->n2, z);
    return z;
}

// ConvOperand: the rows of both operands, whose columns are transformed.
typedef struct Operands {
    Long       *l;
    const char *columns[2], *k1;
} Operands;

static const char *operand_of_rows(void *user, Scope *s, int operand)
{
    const Operands *o = user;
    return transformed_row(o->l, s, operand, o->columns[operand], o->k1);
}

static void launch_rows(Lower *L, const ConvFft *f, const uint32_t from[2], uint32_t to)
{
    Emitter *E = lower_emitter(L, DIALECT_CUDA, NULL);
    Long l = plan(f, NULL, E, f->lanes);
    Scope *s = scope_block(E, E->top, "{");
    const char *work = emit_workspace(E, to, "work", DTYPE_F32, true), *k1, *e, *p2, *z;
    const Ix row = open_rows(&l, s, f->rows, &k1);
    l.b.env = env_of(E, f->v);
    loop_set(E, &l.b.env, f->other, f->n_other, row);
    if (f->both) {
        z = numbers(&l, s, "sum");
        Operands operands = {.l = &l, .k1 = k1};
        for (int i = 0; i < 2; i++)
            operands.columns[i] = emit_workspace(E, from[i], "columns", DTYPE_F32, false);
        conv_sum_products(&l.b, s, z, operand_of_rows, &operands);
    } else {
        z = numbers(&l, s, "z");
        Scope *each = each_number(&l, s, "p2", &e, &p2);
        load(&l, each, z, e, work, place(&l, row, l.b.lane, f->lanes, k1, p2));
        scope_close(E, each);
        transform(&l, s, l.n2, z);
        times_spectrum(&l, s, z, k1);
    }
    transform(&l, s, l.n2, z);
    Scope *each = each_number(&l, s, "p2", &e, &p2);
    store_twisted(&l, each, z, e, k1, p2, work, place(&l, row, l.b.lane, f->lanes, k1, p2));
    scope_close(E, each);
    scope_close(E, s);
    LowerText text = {0};
    finish(&l, l.n2, f->rows * l.n1, &text);
    launch(L, "rows", "a long convolution: rows transformed, times spectra, and back", E, text);
}

// The last transforms. Their numbers are results, or go back to `work` as [row][p][lane], p and p + n side by side.
static void results_body(Long *l, uint32_t work)
{
    ConvBlock *b = &l->b;
    const ConvFft *f = b->f;
    Emitter *E = b->E;
    const bool direct = conv_is_direct(f);
    Scope *s = scope_block(E, E->top, "{");
    const char *from = emit_workspace(E, work, "work", DTYPE_F32, !direct), *p2, *e, *k1, *p1, *p = emit_name(E, "p"), *r = emit_name(E, "r"),
               *lo = emit_name(E, "lo"), *hi = emit_name(E, "hi");
    const Ix row = open_columns(l, s, f->rows, &p2);
    b->env = env_of(E, f->v);
    loop_set(E, &b->env, f->other, f->n_other, row);
    const char *z = numbers(l, s, "z");
    Scope *each = each_number(l, s, "k1", &e, &k1);
    load(l, each, z, e, from, place(l, row, b->lane, f->lanes, k1, p2));
    scope_close(E, each);
    transform(l, s, l->n1, z);
    each = each_number(l, s, "p1", &e, &p1);
    scope_line(each, "const int %s = %s*%lld + %s;", p, p1, N(l->n2), p2);
    scope_line(each, "const float2 %s = *(const float2 *)(%s + 2*%s);", r, b->roots, p);
    scope_line(each, "const float %s = fmaf(%s_re[%s], %s.x, -(%s_im[%s]*%s.y)), %s = -fmaf(%s_re[%s], %s.y, %s_im[%s]*%s.x);", lo, z, e, r, z, e, r, hi,
               z, e, r, z, e, r);
    if (direct) {
        conv_block_put_number(b, each, 0, p, lo);
        conv_block_put_number(b, each, 1, p, hi);
    } else {
        Scope *in = b->inside ? scope_block(E, each, arena_printf(E->arena, "if (%s) {", b->inside)) : each;
        scope_line(in, "put2_s(%s + %s, %s, %s);", from, place(l, row, b->lane, f->lanes, p1, p2), lo, hi);
        if (in != each)
            scope_close(E, in);
    }
    scope_close(E, each);
    scope_close(E, s);
}

// The C text of number q of the product, in floats behind the row's first.
static const char *number_at(Long *l, const char *q)
{
    const int64_t n = l->b.n;
    return arena_printf(l->b.E->arena, "%s %% %lldL*%lldL + %s / %lldL", q, N(n), N(2 * l->b.lanes), q, N(n));
}

// Results that are looked up: one for a thread.
static void lookup_body(Long *l, uint32_t work, LowerText *text)
{
    ConvBlock *b = &l->b;
    const ConvFft *f = b->f;
    Emitter *E = b->E;
    const int64_t all = conv_cuda_numbers(f), count = f->rows * f->c.out * f->lanes;
    const char *from = emit_workspace(E, work, "work", DTYPE_F32, false), *i = emit_name(E, "i"), *o = emit_name(E, "o"), *q = emit_name(E, "q"),
               *y = emit_name(E, "y"), *lane = emit_name(E, "lane"), *row = emit_name(E, "row"), *of = emit_name(E, "of");
    scope_line(E->top, "const long %s = blockIdx.x*%dL + threadIdx.x;", i, PLAIN);
    Scope *s = scope_set_threads(scope_block(E, E->top, arena_printf(E->arena, "if (%s < %lldL) {", i, N(count))));
    scope_line(s, "const long %s = %s %% %lldL, %s = %s / %lldL %% %lldL, %s = %s / %lldL;", lane, i, N(f->lanes), o, i, N(f->lanes), N(f->c.out), row, i,
               N(f->lanes * f->c.out));
    b->env = env_of(E, f->v);
    loop_set(E, &b->env, f->other, f->n_other, f->rows > 1 ? scope_var(E, s, row, 0, f->rows - 1, 1) : ix_const(E->ix, 0));
    b->lane = scope_var(E, s, lane, 0, f->lanes > 1 ? f->lanes - 1 : 1, 1);
    scope_line(s, "const float *const %s = %s + (%s*%lldL + %s)*2;", of, from, row, N(b->n * f->lanes), lane);
    if (f->c.circular) {
        scope_line(s, "const long %s = (%s + %lld) %% %lld;", q, o, N(f->c.shift), N(f->c.size));
        scope_line(s, "const float %s = %s[%s] + (%s < %lld ? %s[%s] : 0.0f);", y, of, number_at(l, q), q, N(all - f->c.size), of,
                   number_at(l, arena_printf(E->arena, "(%s + %lld)", q, N(f->c.size))));
    } else {
        scope_line(s, "const long %s = %s + %lld;", q, o, N(f->c.shift));
        scope_line(s, "const float %s = %s >= 0 && %s < %lld ? %s[%s] : 0.0f;", y, q, q, N(all), of, number_at(l, q));
    }
    conv_block_put(b, s, o, y);
    scope_close(E, s);
    text->cuda_blocks = (count + PLAIN - 1) / PLAIN;
    text->cuda_threads = PLAIN;
    E->launch_threads = PLAIN;
}

void conv_long(Lower *L, const ConvFft *f, const Space *space, Emitter *E, LowerText *text)
{
    uint32_t from[2] = {conv_long_columns(L, f, 0), f->both ? conv_long_columns(L, f, 1) : 0};
    const uint32_t work = f->both ? lower_workspace(L, "work", DTYPE_F32, 2 * conv_cuda_n(f) * f->rows * f->lanes) : from[0];
    launch_rows(L, f, from, work);
    Long l = plan(f, space, E, f->lanes);
    if (conv_is_direct(f)) {
        results_body(&l, work);
        finish(&l, l.n1, f->rows * (l.n2 / l.columns), text);
        return;
    }
    Long last = plan(f, space, lower_emitter(L, DIALECT_CUDA, NULL), f->lanes);
    LowerText numbers_text = {0};
    results_body(&last, work);
    finish(&last, last.n1, f->rows * (last.n2 / last.columns), &numbers_text);
    launch(L, "numbers", "a long convolution: columns transformed back", last.b.E, numbers_text);
    lookup_body(&l, work, text);
}
