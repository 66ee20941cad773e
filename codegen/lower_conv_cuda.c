// Long convolutions by transforms, in CUDA: 512 threads hold a few channels' complex numbers, sixteen a thread, and exchange them
// through shared memory between products with small DFT matrices (a Monarch factorisation of the DFT: 16 x 16 x .. x 2, 4 or 8, with
// twiddles between; Fu et al., 2023, "FlashFFTConv", does it with half-precision matrices on tensor cores). Here each 16 x 16 product is
// made of butterflies in registers, which in float32 costs a tenth of the multiplications and rounds like any float32 sum.
//
//   read x, gates      z[p] = (x[p] + i x[p + n]) w^p, w^n = i      n a power of two: modulo X^n - i, so that nothing is moved as zeros
//   transform          registers -> shared memory -> registers, once for each factor but the first
//   times the spectrum of the filter, which lies in memory in the same order
//   transform back     of the conjugate
//   numbers p, p + n   to shared memory, from where each result is read, gated, stored
//
// Both operands are transformed where the filter is not shared by rows, or products of spectra are summed (its gradient). Errors: about
// 3 roundings for each factor, 1e-6 of the largest number at length 8192.
#include "lower_conv_cuda.h"

enum { LEAST = 16, MOST_THREADS = 512, FEW_THREADS = 256 };

int64_t conv_cuda_numbers(const ConvFft *f)
{
    return f->c.size + f->c.last - f->c.first - 1;
}

int64_t conv_cuda_n(const ConvFft *f)
{
    int64_t n = LEAST;
    while (2 * n < conv_cuda_numbers(f))
        n *= 2;
    return n > (f->is_cuda ? CONV_MOST_LONG : CONV_MOST) ? 0 : n;
}

bool conv_is_direct(const ConvFft *f)
{
    return !f->c.circular && f->c.shift >= 0 && f->c.shift + f->c.out <= 2 * conv_cuda_n(f);
}

// Floats of shared memory: two of each number of a channel, a place left out behind every sixteenth.
static int64_t room(int64_t n, int64_t channels)
{
    return 2 * (n + n / CONV_EACH) * channels;
}

// Channels of a block. Three transforms at hand take more registers than each of 512 threads has.
static int64_t channels_of(int64_t n, int64_t lanes, int64_t most_threads)
{
    const int64_t threads = n / CONV_EACH;
    int64_t c = 1;
    while (c < lanes && 2 * c * threads <= most_threads && 4 * room(n, 2 * c) <= CONV_MOST_BYTES)
        c *= 2;
    while (c * threads < 32)
        c *= 2;
    return c;
}

Scope *conv_unrolled(Emitter *E, Scope *at, const char **out_name)
{
    *out_name = emit_name(E, "e");
    return scope_block(E, at, arena_printf(E->arena, "_Pragma(\"unroll\") for (int %s = 0; %s < %d; %s++) {", *out_name, *out_name, CONV_EACH, *out_name));
}

void conv_block_lane(ConvBlock *b, Scope *s, Ix group, int64_t channels, const char *c)
{
    Emitter *E = b->E;
    Text first = text_make(E->arena);
    b->inside = NULL;
    ix_print(E->ix, ix_scale(E->ix, group, channels), false, 0, NULL, &first);
    const char *at = emit_name(E, "lane"), *raw = at;
    if (b->lanes % channels != 0) {
        raw = emit_name(E, "at");
        scope_line(s, "const long %s = %s + %s, %s = %s < %lld ? %s : %lld;", raw, text_str(&first), c, at, raw, N(b->lanes), raw, N(b->lanes - 1));
        b->inside = arena_printf(E->arena, "%s < %lld", raw, N(b->lanes));
    } else {
        scope_line(s, "const long %s = %s + %s;", at, text_str(&first), c);
    }
    b->lane = scope_var(E, s, at, 0, b->lanes > 1 ? b->lanes - 1 : 1, 1);
}

void conv_block_thread(ConvBlock *b, Scope *s, Ix group, const char *unit)
{
    Emitter *E = b->E;
    b->step = b->n / CONV_EACH;
    b->t = emit_name(E, "t");
    b->c = emit_name(E, "c");
    b->roots = emit_workspace(E, b->f->twiddles, "roots", DTYPE_F32, false);
    scope_set_threads(s);
    scope_line(s, "const int %s = %s %% %lld, %s = %s / %lld;", b->c, unit, N(b->channels), b->t, unit, N(b->channels));
    conv_block_lane(b, s, group, b->channels, b->c);
}

static const char *numbers(ConvBlock *b, Scope *s, const char *hint)
{
    const char *name = emit_name(b->E, hint);
    scope_line(s, "float %s_re[%d], %s_im[%d];", name, CONV_EACH, name, CONV_EACH);
    return name;
}

static void transform(ConvBlock *b, Scope *s, const char *z)
{
    scope_line(s, "cfft_s(CfftSize<%lld, %lld>(), %s_re, %s_im, dynamic, %s, %s, %s);", N(b->n), N(b->channels), z, z, b->roots, b->t, b->c);
}

// One element of an operand, added to `to` where it is in range: `half` 0 numbers p, 1 numbers p + n.
// An operand that is rounded to bf16 as it is read: numbers are rounded once they are transformed, so that this is left out.
static ValueId unrounded(const Emitter *E, ValueId v)
{
    const Node *n = &E->g->node[v];
    return n->op == OP_CAST && n->type.dtype == DTYPE_BF16 && !emit_is_stored(E, v) && E->g->node[n->in[0]].type.dtype == DTYPE_F32 ? n->in[0] : v;
}

void conv_block_read(ConvBlock *b, Scope *s, int operand, int half, const char *p, const char *to)
{
    Emitter *E = b->E;
    const ConvFft *f = b->f;
    const Node *n = &E->g->node[f->v];
    const ValueId v = b->rounds ? unrounded(E, n->in[operand]) : n->in[operand];
    const int64_t size = operand ? f->c.last - f->c.first : f->c.size, from = operand ? f->c.first : 0;
    scope_line(s, "%s = 0.0f;", to);
    if (half && size <= b->n)
        return;
    const char *at = emit_name(E, "at");
    const bool whole = size >= (half + 1) * b->n;           // p < n: always in range
    Scope *in = scope_block(E, s, whole ? "{" : arena_printf(E->arena, "if (%s < %lld) {", p, N(size - half * b->n)));
    scope_line(in, "const long %s = %s + %lld;", at, p, N(half * b->n));
    Env env = env_of(E, v);
    for (int i = 0; i < env.n; i++)
        if (env_get(&b->env, env.axis[i]))
            env.at[i] = env_get(&b->env, env.axis[i]);
    loop_set(E, &env, f->lane, f->n_lane, b->lane);
    const Ix place = scope_var(E, in, at, 0, size > 1 ? size - 1 : 1, 1);
    env_set(&env, operand ? f->c.taps : f->c.axis, ix_offset(E->ix, place, from));
    const Val x = val_float(E, emit_value(E, in, v, &env));
    scope_line(in, "%s = %s;", to, val_text(E, x, PREC_COMPARE));
    if (operand && f->skip) {
        Scope *lag = scope_block(E, in, arena_printf(E->arena, "if (%s == %lld) {", at, N(n->attr[3].i - f->c.first)));
        scope_line(lag, "%s += %s;", to, val_text(E, val_float(E, emit_value(E, s, f->skip, &env)), PREC_SUM));
        scope_close(E, lag);
    }
    scope_close(E, in);
}

// z = the operand, turned by w^p, transformed.
static void read_operand(ConvBlock *b, Scope *s, int operand, const char *z)
{
    Emitter *E = b->E;
    const char *e, *p = emit_name(E, "p"), *x = emit_name(E, "x"), *y = emit_name(E, "y"), *u = emit_name(E, "u"), *v = emit_name(E, "v");
    Scope *each = conv_unrolled(E, s, &e);
    scope_line(each, "const int %s = %s + %s*%lld;", p, b->t, e, N(b->step));
    scope_line(each, "const float %s = %s[2*%s], %s = %s[2*%s + 1];", u, b->roots, p, v, b->roots, p);
    scope_line(each, "float %s, %s;", x, y);
    conv_block_read(b, each, operand, 0, p, x);
    conv_block_read(b, each, operand, 1, p, y);
    scope_line(each, "%s_re[%s] = %s*%s - %s*%s;", z, e, x, u, y, v);
    scope_line(each, "%s_im[%s] = %s*%s + %s*%s;", z, e, x, v, y, u);
    scope_close(E, each);
    transform(b, s, z);
}

void conv_block_put(ConvBlock *b, Scope *s, const char *o, const char *y)
{
    Emitter *E = b->E;
    const ConvFft *f = b->f;
    Scope *in = b->inside ? scope_block(E, s, arena_printf(E->arena, "if (%s) {", b->inside)) : s;
    Env env = env_of(E, f->v);
    for (int i = 0; i < env.n; i++)
        if (env_get(&b->env, env.axis[i]))
            env.at[i] = env_get(&b->env, env.axis[i]);
    loop_set(E, &env, f->lane, f->n_lane, b->lane);
    env_set(&env, f->c.to, scope_var(E, in, o, 0, f->c.out > 1 ? f->c.out - 1 : 1, 1));
    conv_store(E, in, b->space, f->sum, &env, val_name(y, VAL_FLOAT, false));
    if (in != s)
        scope_close(E, in);
}

void conv_block_put_number(ConvBlock *b, Scope *s, int half, const char *p, const char *value)
{
    Emitter *E = b->E;
    const int64_t all = conv_cuda_numbers(b->f), first = half * b->n, from = b->f->c.shift - first, to = from + b->f->c.out;
    if (from >= b->n || to <= 0)            // results from <= p < to
        return;
    const char *o = emit_name(E, "o"), *y = emit_name(E, "y");
    Scope *in = scope_block(E, s, from <= 0 && to >= b->n ? "{" : from <= 0 ? arena_printf(E->arena, "if (%s < %lld) {", p, N(to)) :
                            arena_printf(E->arena, "if (%s >= %lld && %s < %lld) {", p, N(from), p, N(to)));
    scope_line(in, "const long %s = %s - %lld;", o, p, N(from));
    if (all - first < b->n)
        scope_line(in, "const float %s = %s < %lld ? %s : 0.0f;", y, p, N(all - first), value);
    else
        scope_line(in, "const float %s = %s;", y, value);
    conv_block_put(b, in, o, y);
    scope_close(E, in);
}

void conv_block_store(ConvBlock *b, Scope *s)
{
    Emitter *E = b->E;
    const ConvFft *f = b->f;
    const char *o = emit_name(E, "o"), *q = emit_name(E, "q"), *y = emit_name(E, "y");
    const int64_t all = conv_cuda_numbers(f), channels = b->channels;
    Scope *loop = scope_block(E, s, arena_printf(E->arena, "for (long %s = %s; %s < %lld; %s += %lld) {", o, b->t, o, N(f->c.out), o, N(b->step)));
    if (f->c.circular) {
        scope_line(loop, "const long %s = (%s + %lld) %% %lld;", q, o, N(f->c.shift), N(f->c.size));
        scope_line(loop, "const float %s = %s[%s*%lld + %s] + (%s < %lld ? %s[(%s + %lld)*%lld + %s] : 0.0f);", y, b->results, q, N(channels), b->c,
                   q, N(all - f->c.size), b->results, q, N(f->c.size), N(channels), b->c);
    } else {
        scope_line(loop, "const long %s = %s + %lld;", q, o, N(f->c.shift));
        scope_line(loop, "const float %s = %s >= 0 && %s < %lld ? %s[%s*%lld + %s] : 0.0f;", y, q, q, N(all), b->results, q, N(channels), b->c);
    }
    conv_block_put(b, loop, o, y);
    scope_close(E, loop);
}

// z holds the conjugate of a product of spectra, divided by n: back, and out.
static void write_results(ConvBlock *b, Scope *s, const char *z)
{
    Emitter *E = b->E;
    const char *e, *p = emit_name(E, "p"), *u = emit_name(E, "u"), *v = emit_name(E, "v");
    transform(b, s, z);
    Scope *each = conv_unrolled(E, s, &e);
    scope_line(each, "const int %s = %s + %s*%lld;", p, b->t, e, N(b->step));
    scope_line(each, "const float %s = %s[2*%s], %s = %s[2*%s + 1];", u, b->roots, p, v, b->roots, p);
    scope_line(each, "dynamic[%s*%lld + %s] = %s_re[%s]*%s - %s_im[%s]*%s;", p, N(b->channels), b->c, z, e, u, z, e, v);
    scope_line(each, "dynamic[(%s + %lld)*%lld + %s] = -(%s_re[%s]*%s + %s_im[%s]*%s);", p, N(b->n), N(b->channels), b->c, z, e, v, z, e, u);
    scope_close(E, each);
    scope_line(s, "__syncthreads();");
    b->results = "dynamic";
    conv_block_store(b, s);
}

// --- the launches

void conv_cuda_roots(const ConvFft *f, const char *name, Emitter *E, LowerText *text)
{
    enum { THREADS = 256 };
    const int64_t n = conv_cuda_n(f);
    Scope *item = E->top;
    const char *i = emit_name(E, "k");
    scope_line(item, "const long %s = blockIdx.x*%dL + threadIdx.x;", i, THREADS);
    Scope *in = scope_block(E, item, arena_printf(E->arena, "if (%s < %lld) {", i, N(n)));
    scope_line(in, "%s[2*%s] = cos_s((float)(%s*%.17g));", name, i, i, 1.57079632679489662 / (double)n);
    scope_line(in, "%s[2*%s + 1] = sin_s((float)(%s*%.17g));", name, i, i, 1.57079632679489662 / (double)n);
    scope_close(E, in);
    text->cuda_blocks = (n + THREADS - 1) / THREADS;
    text->cuda_threads = THREADS;
}

static void finish(const ConvBlock *b, Emitter *E, int64_t blocks, LowerText *text)
{
    text->cuda_blocks = blocks;
    text->cuda_threads = b->step * b->channels;
    text->cuda_dynamic_bytes = 4 * room(b->n, b->channels);
    E->launch_threads = (int)text->cuda_threads;
}

Ix conv_block_part(Emitter *E, Scope *s, const char *hint, const char *text, int64_t size)
{
    if (size == 1)
        return ix_const(E->ix, 0);
    return scope_var(E, s, product_declare(E, s, hint, text), 0, size - 1, 1);
}

// Spectrum `row`, number p, channel `lane`: spectra[((row*n + p)*lanes + lane)*2].
static const char *spectrum_text(ConvBlock *b, Ix row, Ix lane, const char *p, int64_t lanes)
{
    Emitter *E = b->E;
    Text t = text_make(E->arena);
    ix_print(E->ix, ix_add(E->ix, ix_scale(E->ix, row, 2 * b->n * lanes), ix_scale(E->ix, lane, 2)), false, 0, NULL, &t);
    return arena_printf(E->arena, "%s + %s*%lldL", text_str(&t), p, N(2 * lanes));
}

int64_t conv_cuda_spectra_floats(const Graph *g, const ConvFft *f)
{
    return 2 * conv_cuda_n(f) * loop_count(g, f->filter, f->n_filter) * (f->lane_in_filter ? f->lanes : 1);
}

void conv_cuda_spectra(const ConvFft *f, Emitter *E, LowerText *text)
{
    const int64_t lanes = f->lane_in_filter ? f->lanes : 1, n = conv_cuda_n(f), rows = loop_count(E->g, f->filter, f->n_filter);
    ConvBlock b = {.E = E, .f = f, .n = n, .channels = channels_of(n, lanes, MOST_THREADS), .lanes = lanes};
    const int64_t groups = (lanes + b.channels - 1) / b.channels;
    Scope *s = scope_block(E, E->top, "{");
    const char *spectra = emit_workspace(E, f->spectra, "spectra", DTYPE_F32, true), *e, *p = emit_name(E, "p");
    const Ix row = conv_block_part(E, s, "row", arena_printf(E->arena, "blockIdx.x / %lld", N(groups)), rows);
    conv_block_thread(&b, s, conv_block_part(E, s, "group", arena_printf(E->arena, "blockIdx.x %% %lld", N(groups)), groups), "threadIdx.x");
    b.env = env_of(E, E->g->node[f->v].in[1]);
    loop_set(E, &b.env, f->filter, f->n_filter, row);
    const char *z = numbers(&b, s, "z");
    read_operand(&b, s, 1, z);
    Scope *in = b.inside ? scope_block(E, s, arena_printf(E->arena, "if (%s) {", b.inside)) : s;
    Scope *each = conv_unrolled(E, in, &e);
    scope_line(each, "const int %s = %s + %s*%lld;", p, b.t, e, N(b.step));
    const char *at = spectrum_text(&b, row, b.lane, p, lanes);
    scope_line(each, "put2_s(%s + %s, %s_re[%s]*%.9gf, %s_im[%s]*%.9gf);", spectra, at, z, e, 1.0 / (double)n, z, e, 1.0 / (double)n);
    scope_close(E, each);
    if (in != s)
        scope_close(E, in);
    scope_close(E, s);
    finish(&b, E, rows * groups, text);
}

Ix conv_row(Emitter *E, const AxisId *axis, size_t n, const Env *env)
{
    Ix at = ix_const(E->ix, 0);
    for (size_t i = 0; i < n; i++)
        at = ix_add(E->ix, ix_scale(E->ix, at, graph_size(E->g, axis[i])), env_get(env, axis[i]));
    return at;
}

static void times_spectrum(ConvBlock *b, Scope *s, const char *z)
{
    Emitter *E = b->E;
    const ConvFft *f = b->f;
    const int64_t lanes = f->lane_in_filter ? f->lanes : 1;
    const char *spectra = emit_workspace(E, f->spectra, "spectra", DTYPE_F32, false), *e, *p = emit_name(E, "p"), *k = emit_name(E, "k"),
               *x = emit_name(E, "x");
    Scope *each = conv_unrolled(E, s, &e);
    scope_line(each, "const int %s = %s + %s*%lld;", p, b->t, e, N(b->step));
    scope_line(each, "const float *const %s = %s + %s;", k, spectra,
               spectrum_text(b, conv_row(E, f->filter, f->n_filter, &b->env), f->lane_in_filter ? b->lane : ix_const(E->ix, 0), p, lanes));
    scope_line(each, "const float %s = %s_re[%s]*%s[0] - %s_im[%s]*%s[1];", x, z, e, k, z, e, k);
    scope_line(each, "%s_im[%s] = -(%s_re[%s]*%s[1] + %s_im[%s]*%s[0]);", z, e, z, e, k, z, e, k);
    scope_line(each, "%s_re[%s] = %s;", z, e, x);
    scope_close(E, each);
}

void conv_sum_products(ConvBlock *b, Scope *s, const char *sum, ConvOperand *operand, void *user)
{
    Emitter *E = b->E;
    const Attr *over = &E->g->node[b->f->v].attr[4];
    const char *e;
    Scope *each = conv_unrolled(E, s, &e), *chain[MAX_AXES], *inner = s;
    scope_line(each, "%s_re[%s] = %s_im[%s] = 0.0f;", sum, e, sum, e);
    scope_close(E, each);
    for (size_t i = 0; i < over->axes.n; i++) {
        Ix at;
        inner = chain[i] = scope_loop(E, inner, loop_hint(E, over->axes.id[i]), 0, graph_size(E->g, over->axes.id[i]), 1, &at);
        b->env.axis[b->env.n] = over->axes.id[i];
        b->env.at[b->env.n++] = at;
    }
    const char *x = operand(user, inner, 0), *k = operand(user, inner, 1);
    each = conv_unrolled(E, inner, &e);
    scope_line(each, "%s_re[%s] = fmaf(%s_re[%s], %s_re[%s], fmaf(-%s_im[%s], %s_im[%s], %s_re[%s]));", sum, e, x, e, k, e, x, e, k, e, sum, e);
    scope_line(each, "%s_im[%s] = fmaf(%s_re[%s], %s_im[%s], fmaf(%s_im[%s], %s_re[%s], %s_im[%s]));", sum, e, x, e, k, e, x, e, k, e, sum, e);
    scope_close(E, each);
    for (size_t i = over->axes.n; i-- > 0;)
        scope_close(E, chain[i]);
    b->env.n = (uint8_t)(b->env.n - over->axes.n);
    each = conv_unrolled(E, s, &e);
    scope_line(each, "%s_re[%s] *= %.9gf, %s_im[%s] *= -%.9gf;", sum, e, 1.0 / (double)b->n, sum, e, 1.0 / (double)b->n);
    scope_close(E, each);
}

// ConvOperand: of a convolution that fits a block.
static const char *transformed_operand(void *user, Scope *s, int operand)
{
    ConvBlock *b = user;
    const char *z = numbers(b, s, operand ? "k" : "x");
    read_operand(b, s, operand, z);
    return z;
}

void conv_cuda(const ConvFft *f, const Space *space, Emitter *E, LowerText *text)
{
    const int64_t n = conv_cuda_n(f);
    ConvBlock b = {.E = E, .f = f, .space = space, .n = n, .channels = channels_of(n, f->lanes, f->both ? FEW_THREADS : MOST_THREADS), .lanes = f->lanes};
    const int64_t groups = (f->lanes + b.channels - 1) / b.channels;
    Scope *s = scope_block(E, E->top, "{");
    // Groups move fastest: blocks side by side read the same sectors.
    const Ix row = conv_block_part(E, s, "row", arena_printf(E->arena, "blockIdx.x / %lld", N(groups)), f->rows);
    conv_block_thread(&b, s, conv_block_part(E, s, "group", arena_printf(E->arena, "blockIdx.x %% %lld", N(groups)), groups), "threadIdx.x");
    b.env = env_of(E, f->v);
    loop_set(E, &b.env, f->other, f->n_other, row);
    const char *z;
    if (f->both) {
        z = numbers(&b, s, "sum");
        conv_sum_products(&b, s, z, transformed_operand, &b);
    } else {
        z = numbers(&b, s, "z");
        read_operand(&b, s, 0, z);
        times_spectrum(&b, s, z);
    }
    write_results(&b, s, z);
    scope_close(E, s);
    finish(&b, E, f->rows * groups, text);
}
