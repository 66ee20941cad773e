// Long convolutions of bf16 numbers in CUDA, on tensor cores: a Monarch factorisation of the DFT, n = F * 16 * 16 (Fu et al., 2023,
// "FlashFFTConv"). The products with the DFT matrix of 16 numbers are mma.sync with float32 sums; the DFT of F and everything that
// multiplies single numbers - twiddles, spectra, gates - is float32. Between them numbers are rounded to bf16.
//
//   read x, gates      z[p] = (x[p] + i x[p + n]) w^p, w^n = i, as in lower_conv_cuda.c: no number is padding
//   DFT of F           in a thread's registers; twiddles; as words of two bf16 numbers to shared memory
//   DFT of 256         in a warp's registers: two products, the spectrum, two products, from and to the same words
//   DFT of F           and the results straight from registers; circular: by way of shared memory
//
// What differs from FlashFFTConv: no pass through shared memory between the four inner products (its layouts are those of mma.sync's
// sums, which are those of its operands if the terms are taken in another order), half the transforms' length, any length and
// shift. Errors: about 1e-3 of the largest result for each of five roundings.
#include "lower_conv_cuda.h"

enum { LEAST = 256, MOST = 4096, INNER = 256, THREADS = 256, WARP = 32, MOST_CHANNELS = 16, MOST_SUMS = 2 };

bool conv_is_mma(const Graph *g, const ConvFft *f)
{
    const int64_t n = conv_cuda_n(f);
    return g->node[f->v].type.dtype == DTYPE_BF16 && n >= LEAST && n <= MOST;
}

typedef struct Mma {
    ConvBlock b;
    Ix       group;
    int64_t  threads, stride, parts;        // stride: words of a channel; parts: F
    bool     direct;                        // each number is a result of its own
    const char *words;
    const char *w, *tw;                     // what a warp holds, see bfft_start_s
} Mma;

// A channel's words, so many that the numbers of a few channels which a warp writes at once are in different banks.
static int64_t stride_of(int64_t n, int64_t channels)
{
    return n + (channels > 1 && channels < WARP ? WARP / channels : 0);
}

// Words of shared memory: of one operand or of two, and where results are looked up, two numbers each.
static int64_t words_of(const ConvFft *f, int64_t n, int64_t channels)
{
    return (f->both ? 2 : 1) * stride_of(n, channels) * channels + (conv_is_direct(f) ? 0 : 2 * n * channels);
}

static int64_t channels_of(const ConvFft *f, int64_t n, int64_t lanes)
{
    const int64_t most = f->both ? MOST_SUMS * (THREADS / WARP) * INNER / n : MOST_CHANNELS;
    int64_t c = 1;
    while (c < lanes && c < MOST_CHANNELS && 2 * c <= most && 4 * words_of(f, n, 2 * c) <= CONV_MOST_BYTES)
        c *= 2;
    return c;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static Mma plan(const ConvFft *f, const Space *space, Emitter *E, int64_t lanes)
{
    const int64_t n = conv_cuda_n(f), channels = channels_of(f, n, lanes);
    const ConvBlock b = {.E = E, .f = f, .space = space, .n = n, .channels = channels, .lanes = lanes, .rounds = true};
    return (Mma){.b = b, .threads = smaller(THREADS, n / INNER * channels * WARP), .stride = stride_of(n, channels), .parts = n / INNER,
                 .direct = conv_is_direct(f)};
}

static int64_t groups_of(const Mma *m)
{
    return (m->b.lanes + m->b.channels - 1) / m->b.channels;
}

// Opens the block: which row and group of channels, and what its warps hold.
static Ix open_block(Mma *m, Scope *s, int64_t rows)
{
    Emitter *E = m->b.E;
    const int64_t groups = groups_of(m);
    const Ix row = conv_block_part(E, s, "row", arena_printf(E->arena, "blockIdx.x / %lld", N(groups)), rows);
    m->group = conv_block_part(E, s, "group", arena_printf(E->arena, "blockIdx.x %% %lld", N(groups)), groups);
    m->words = emit_name(E, "words");
    m->w = emit_name(E, "w");
    m->tw = emit_name(E, "tw");
    m->b.roots = emit_workspace(E, m->b.f->twiddles, "roots", DTYPE_F32, false);
    scope_set_threads(s);
    scope_line(s, "unsigned *const %s = (unsigned *)dynamic;", m->words);
    scope_line(s, "unsigned %s[16];", m->w);
    scope_line(s, "float %s[16];", m->tw);
    scope_line(s, "bfft_start_s(%s, %s, %s, %lld);", m->w, m->tw, m->b.roots, N(m->b.n));
    return row;
}

// A loop over units: sixteen numbers of a channel for a thread.
static Scope *each_unit(Mma *m, Scope *s)
{
    Emitter *E = m->b.E;
    const char *u = emit_name(E, "u");
    const int64_t units = m->b.n / CONV_EACH * m->b.channels;
    Scope *loop = scope_block(E, s, arena_printf(E->arena, "_Pragma(\"unroll 1\") for (int %s = threadIdx.x; %s < %lld; %s += %lld) {", u, u, N(units), u, N(m->threads)));
    conv_block_thread(&m->b, loop, m->group, u);
    return loop;
}

static const char *sixteen(Emitter *E, Scope *s)
{
    const char *z = emit_name(E, "z");
    scope_line(s, "float %s_re[%d], %s_im[%d];", z, CONV_EACH, z, CONV_EACH);
    return z;
}

// The operand, turned by w^p and transformed by F, to words.
static void read_operand(Mma *m, Scope *s, int operand, const char *words)
{
    ConvBlock *b = &m->b;
    Emitter *E = b->E;
    Scope *unit = each_unit(m, s);
    const char *e, *z = sixteen(E, unit), *p = emit_name(E, "p"), *x = emit_name(E, "x"), *y = emit_name(E, "y"), *r = emit_name(E, "r");
    Scope *each = conv_unrolled(E, unit, &e);
    scope_line(each, "const int %s = %s + %s*%lld;", p, b->t, e, N(b->step));
    scope_line(each, "const float2 %s = *(const float2 *)(%s + 2*%s);", r, b->roots, p);
    scope_line(each, "float %s, %s;", x, y);
    conv_block_read(b, each, operand, 0, p, x);
    conv_block_read(b, each, operand, 1, p, y);
    scope_line(each, "%s_re[%s] = fmaf(%s, %s.x, -(%s*%s.y));", z, e, x, r, y, r);
    scope_line(each, "%s_im[%s] = fmaf(%s, %s.y, %s*%s.x);", z, e, x, r, y, r);
    scope_close(E, each);
    scope_line(unit, "bfft_in_s(BfftSize<%lld>(), %s_re, %s_im, %s + %s*%lld, %s, %s);", N(b->n), z, z, words, b->c, N(m->stride), b->roots, b->t);
    scope_close(E, unit);
}

// A loop over the tasks of a warp, 256 words each: their number and their first word.
typedef struct Task { const char *number, *place; } Task;

static Scope *each_task(Mma *m, Scope *s, Task *out)
{
    Emitter *E = m->b.E;
    const int64_t tasks = m->parts * m->b.channels;
    const char *k = out->number = emit_name(E, "task");
    Scope *loop = scope_block(E, s, arena_printf(E->arena, "for (int %s = threadIdx.x / %d; %s < %lld; %s += %lld) {", k, WARP, k, N(tasks), k,
                                                 N(m->threads / WARP)));
    out->place = arena_printf(E->arena, "%s / %lld*%lld + %s %% %lld*%d", k, N(m->parts), N(m->stride), k, N(m->parts), INNER);
    return loop;
}

static const char *eight(Emitter *E, Scope *s, const char *hint)
{
    const char *z = emit_name(E, hint);
    scope_line(s, "float %s_re[8], %s_im[8];", z, z);
    return z;
}

// The C text of where the lane's eight words of a spectrum are: spectra[row][channel][part][lane][8].
static const char *spectrum_at(Mma *m, Scope *s, Ix row, int64_t lanes, const Task *task)
{
    Emitter *E = m->b.E;
    const char *channel = emit_name(E, "channel");
    Text first = text_make(E->arena), t = text_make(E->arena);
    if (lanes == 1) {
        scope_line(s, "const long %s = 0;", channel);
    } else {
        ix_print(E->ix, ix_scale(E->ix, m->group, m->b.channels), false, 0, NULL, &first);
        scope_line(s, "const long %s = min((long)(%s + %s / %lld), %lldL);", channel, text_str(&first), task->number, N(m->parts), N(lanes - 1));
    }
    ix_print(E->ix, ix_scale(E->ix, row, lanes * m->b.n), false, 0, NULL, &t);
    return arena_printf(E->arena, "%s + %s*%lld + %s %% %lld*%d + threadIdx.x %% %d*8", text_str(&t), channel, N(m->b.n), task->number, N(m->parts),
                        INNER, WARP);
}

static void finish(const Mma *m, int64_t rows, LowerText *text)
{
    text->cuda_blocks = rows * groups_of(m);
    text->cuda_threads = m->threads;
    text->cuda_dynamic_bytes = 4 * words_of(m->b.f, m->b.n, m->b.channels);
    m->b.E->launch_threads = (int)m->threads;
}

int64_t conv_mma_spectra_floats(const Graph *g, const ConvFft *f)
{
    return conv_cuda_n(f) * loop_count(g, f->filter, f->n_filter) * (f->lane_in_filter ? f->lanes : 1);
}

void conv_mma_spectra(const ConvFft *f, Emitter *E, LowerText *text)
{
    const int64_t lanes = f->lane_in_filter ? f->lanes : 1, rows = loop_count(E->g, f->filter, f->n_filter);
    Mma m = plan(f, NULL, E, lanes);
    Scope *s = scope_block(E, E->top, "{");
    const char *spectra = emit_workspace(E, f->spectra, "spectra", DTYPE_F32, true);
    const Ix row = open_block(&m, s, rows);
    m.b.env = env_of(E, E->g->node[f->v].in[1]);
    loop_set(E, &m.b.env, f->filter, f->n_filter, row);
    read_operand(&m, s, 1, m.words);
    scope_line(s, "__syncthreads();");
    Task task;
    Scope *loop = each_task(&m, s, &task), *in = loop;
    const char *z = eight(E, loop, "z");
    scope_line(loop, "bfft_down_s(%s + %s, %s, %s, %s_re, %s_im);", m.words, task.place, m.w, m.tw, z, z);
    const char *at = spectrum_at(&m, loop, row, lanes, &task);
    if (lanes % m.b.channels) {
        Text first = text_make(E->arena);
        ix_print(E->ix, ix_scale(E->ix, m.group, m.b.channels), false, 0, NULL, &first);
        in = scope_block(E, loop, arena_printf(E->arena, "if (%s + %s / %lld < %lld) {", text_str(&first), task.number, N(m.parts), N(lanes)));
    }
    scope_line(in, "bfft_words_s((unsigned *)%s + %s, %s_re, %s_im, %.9gf);", spectra, at, z, z, 1.0 / (double)m.b.n);
    if (in != loop)
        scope_close(E, in);
    scope_close(E, loop);
    scope_close(E, s);
    finish(&m, rows, text);
}

// Down, times the spectrum, and up, task by task.
static void multiply(Mma *m, Scope *s)
{
    Emitter *E = m->b.E;
    const ConvFft *f = m->b.f;
    const char *spectra = emit_workspace(E, f->spectra, "spectra", DTYPE_F32, false);
    Task task;
    read_operand(m, s, 0, m->words);
    scope_line(s, "__syncthreads();");
    Scope *loop = each_task(m, s, &task);
    const char *z = eight(E, loop, "z");
    scope_line(loop, "bfft_down_s(%s + %s, %s, %s, %s_re, %s_im);", m->words, task.place, m->w, m->tw, z, z);
    const char *at = spectrum_at(m, loop, conv_row(E, f->filter, f->n_filter, &m->b.env), f->lane_in_filter ? f->lanes : 1, &task);
    scope_line(loop, "bfft_times_s((const unsigned *)%s + %s, %s_re, %s_im);", spectra, at, z, z);
    scope_line(loop, "bfft_up_s(%s + %s, %s, %s, %s_re, %s_im);", m->words, task.place, m->w, m->tw, z, z);
    scope_close(E, loop);
}

// Opens a loop over the warp's tasks whose number is known: the sums of each stay in registers.
static Scope *each_sum(Mma *m, Scope *s, int64_t sums, const char **out_number, const char **out_place)
{
    Emitter *E = m->b.E;
    const char *i = *out_number = emit_name(E, "i"), *task = emit_name(E, "task");
    Scope *loop = scope_block(E, s, arena_printf(E->arena, "_Pragma(\"unroll\") for (int %s = 0; %s < %lld; %s++) {", i, i, N(sums), i));
    scope_line(loop, "const int %s = threadIdx.x / %d + %s*%lld;", task, WARP, i, N(m->threads / WARP));
    *out_place = arena_printf(E->arena, "%s / %lld*%lld + %s %% %lld*%d", task, N(m->parts), N(m->stride), task, N(m->parts), INNER);
    return loop;
}

// Both operands are transformed, products of spectra added up over the axes that the convolution sums.
static void sum_products(Mma *m, Scope *s)
{
    ConvBlock *b = &m->b;
    Emitter *E = b->E;
    const Attr *over = &E->g->node[b->f->v].attr[4];
    const int64_t sums = m->parts * b->channels / (m->threads / WARP), second = m->stride * b->channels;
    const char *re = emit_name(E, "sum_re"), *im = emit_name(E, "sum_im"), *i, *place, *e = emit_name(E, "e");
    scope_line(s, "float %s[%lld][8] = {}, %s[%lld][8] = {};", re, N(sums), im, N(sums));
    Scope *chain[MAX_AXES], *inner = s;
    for (size_t a = 0; a < over->axes.n; a++) {
        Ix at;
        inner = chain[a] = scope_loop(E, inner, loop_hint(E, over->axes.id[a]), 0, graph_size(E->g, over->axes.id[a]), 1, &at);
        b->env.axis[b->env.n] = over->axes.id[a];
        b->env.at[b->env.n++] = at;
    }
    read_operand(m, inner, 0, m->words);
    read_operand(m, inner, 1, arena_printf(E->arena, "%s + %lld", m->words, N(second)));
    scope_line(inner, "__syncthreads();");
    Scope *each = each_sum(m, inner, sums, &i, &place);
    const char *x = eight(E, each, "x"), *k = eight(E, each, "k");
    scope_line(each, "bfft_down_s(%s + %s, %s, %s, %s_re, %s_im);", m->words, place, m->w, m->tw, x, x);
    scope_line(each, "bfft_down_s(%s + %lld + %s, %s, %s, %s_re, %s_im);", m->words, N(second), place, m->w, m->tw, k, k);
    Scope *all = scope_block(E, each, arena_printf(E->arena, "_Pragma(\"unroll\") for (int %s = 0; %s < 8; %s++) {", e, e, e));
    scope_line(all, "%s[%s][%s] = fmaf(%s_re[%s], %s_re[%s], fmaf(-%s_im[%s], %s_im[%s], %s[%s][%s]));", re, i, e, x, e, k, e, x, e, k, e, re, i, e);
    scope_line(all, "%s[%s][%s] = fmaf(%s_re[%s], %s_im[%s], fmaf(%s_im[%s], %s_re[%s], %s[%s][%s]));", im, i, e, x, e, k, e, x, e, k, e, im, i, e);
    scope_close(E, all);
    scope_line(each, "__syncwarp();");      // one task after the other: more at a time take more registers than there are
    scope_close(E, each);
    scope_line(inner, "__syncthreads();");
    for (size_t a = over->axes.n; a-- > 0;)
        scope_close(E, chain[a]);
    b->env.n = (uint8_t)(b->env.n - over->axes.n);
    each = each_sum(m, s, sums, &i, &place);
    all = scope_block(E, each, arena_printf(E->arena, "_Pragma(\"unroll\") for (int %s = 0; %s < 8; %s++) {", e, e, e));
    scope_line(all, "%s[%s][%s] *= %.9gf, %s[%s][%s] *= -%.9gf;", re, i, e, 1.0 / (double)b->n, im, i, e, 1.0 / (double)b->n);
    scope_close(E, all);
    scope_line(each, "bfft_up_s(%s + %s, %s, %s, %s[%s], %s[%s]);", m->words, place, m->w, m->tw, re, i, im, i);
    scope_close(E, each);
}

// The numbers of a thread, turned back: each is a result, or goes to where results are looked up.
static void write_results(Mma *m, Scope *s)
{
    ConvBlock *b = &m->b;
    const ConvFft *f = b->f;
    Emitter *E = b->E;
    const int64_t first = (f->both ? 2 : 1) * m->stride * b->channels;
    b->results = arena_printf(E->arena, "(dynamic + %lld)", N(first));
    scope_line(s, "__syncthreads();");
    Scope *unit = each_unit(m, s);
    const char *e, *z = sixteen(E, unit), *p = emit_name(E, "p"), *r = emit_name(E, "r"), *lo = emit_name(E, "lo"),
               *hi = emit_name(E, "hi");
    scope_line(unit, "bfft_out_s(BfftSize<%lld>(), %s_re, %s_im, %s + %s*%lld, %s, %s);", N(b->n), z, z, m->words, b->c, N(m->stride), b->roots, b->t);
    Scope *each = conv_unrolled(E, unit, &e);
    scope_line(each, "const int %s = %s + %s*%lld;", p, b->t, e, N(b->step));
    scope_line(each, "const float2 %s = *(const float2 *)(%s + 2*%s);", r, b->roots, p);
    scope_line(each, "const float %s = fmaf(%s_re[%s], %s.x, -(%s_im[%s]*%s.y)), %s = -fmaf(%s_re[%s], %s.y, %s_im[%s]*%s.x);", lo, z, e, r, z, e, r, hi,
               z, e, r, z, e, r);
    if (m->direct) {
        conv_block_put_number(b, each, 0, p, lo);
        conv_block_put_number(b, each, 1, p, hi);
    } else {
        scope_line(each, "%s[%s*%lld + %s] = %s;", b->results, p, N(b->channels), b->c, lo);
        scope_line(each, "%s[(%s + %lld)*%lld + %s] = %s;", b->results, p, N(b->n), N(b->channels), b->c, hi);
    }
    scope_close(E, each);
    scope_close(E, unit);
    if (m->direct)
        return;
    scope_line(s, "__syncthreads();");
    unit = each_unit(m, s);
    conv_block_store(b, unit);
    scope_close(E, unit);
}

void conv_mma(const ConvFft *f, const Space *space, Emitter *E, LowerText *text)
{
    Mma m = plan(f, space, E, f->lanes);
    Scope *s = scope_block(E, E->top, "{");
    // Groups move fastest: blocks side by side read the same sectors.
    const Ix row = open_block(&m, s, f->rows);
    m.b.env = env_of(E, f->v);
    loop_set(E, &m.b.env, f->other, f->n_other, row);
    if (f->both)
        sum_products(&m, s);
    else
        multiply(&m, s);
    write_results(&m, s);
    scope_close(E, s);
    finish(&m, f->rows, text);
}
