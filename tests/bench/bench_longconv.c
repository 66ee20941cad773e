// Gated long convolution, y = w * (conv(u * v, k) + skip * u * v), [B, T, C] with C = 256: ours against FFTW with a schedule fused
// by rows (gate, transform, spectrum, transform, skip and gate while a row is in the cache), taking turns in one process.
// A benchmark, not a test; tests/bench/longconv.sh runs it beside PyTorch.
//
//     bench_longconv B T [ROUNDS [processor]]       prints "ours forward", "ours forward and gradients", "FFTW forward" in milliseconds
//
// With "processor": one thread, processor time, for a machine that is busy with other work. FFTW plans with FFTW_MEASURE; its
// rows are [B, C, T], contiguous, its best case, and each thread takes a share of them.
#include "engine.h"
#include "grad.h"

#include <complex.h>
#include <fftw3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CHANNELS = 256, MOST_THREADS = 64, MOST_ROUNDS = 100 };

static const char model[] =
    "mix 1\n"
    "axis B : batch in 1..1024, T : time = 256, C = 256\n"
    "model Conv(u: [B,T,C], v: [B,T,C], w: [B,T,C]) -> y: [B,T,C] {\n"
    "  param k[T,C] = normal(0.02), skip[C] = normal(1)\n"
    "  x = u * v\n"
    "  y = (fftconv(x, k, over=T) + skip*x) * w\n"
    "}\n";

static double now_ms(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "bench_longconv: %s\n", what);
    exit(1);
}

// --- FFTW

typedef struct Rows {
    long B, T, first, last;                 // rows of [B*C]
    const float *u, *v, *w, *skip;
    float *y, *line;                        // line: [2T]
    const fftwf_complex *spectra;           // [C][T + 1], over 2T
    fftwf_complex *freq;
    fftwf_plan forward, backward;
} Rows;

static void *run_rows(void *user)
{
    Rows *r = user;
    const long T = r->T;
    for (long row = r->first; row < r->last; row++) {
        const float *u = r->u + row*T, *v = r->v + row*T, *w = r->w + row*T, skip = r->skip[row % CHANNELS];
        const fftwf_complex *k = r->spectra + (row % CHANNELS) * (T + 1);
        for (long t = 0; t < T; t++)
            r->line[t] = u[t] * v[t];
        memset(r->line + T, 0, (size_t)T * sizeof *r->line);
        fftwf_execute(r->forward);
        for (long f = 0; f <= T; f++) {
            const float re = crealf(r->freq[f]), im = cimagf(r->freq[f]), a = crealf(k[f]), b = cimagf(k[f]);
            r->freq[f] = CMPLXF(re*a - im*b, re*b + im*a);
        }
        fftwf_execute(r->backward);
        for (long t = 0; t < T; t++)
            r->y[row*T + t] = (r->line[t] + skip * u[t] * v[t]) * w[t];
    }
    return NULL;
}

static float *numbers(size_t n, float size)
{
    float *x = fftwf_malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = size * ((float)(i * 2654435761u % 2001) / 1000 - 1);
    return x;
}

typedef struct Fftw {
    Rows part[MOST_THREADS];
    int  threads;
} Fftw;

static void make_fftw(Fftw *f, long B, long T, int threads)
{
    const size_t n = (size_t)B * CHANNELS * (size_t)T;
    Rows r = {.B = B, .T = T, .u = numbers(n, 1), .v = numbers(n, 1), .w = numbers(n, 1), .skip = numbers(CHANNELS, 1), .y = numbers(n, 0)};
    fftwf_complex *spectra = fftwf_malloc(sizeof *spectra * CHANNELS * (size_t)(T + 1));
    f->threads = threads;
    for (int i = 0; i < threads; i++) {
        f->part[i] = r;
        Rows *p = &f->part[i];
        p->first = B * CHANNELS * i / threads;
        p->last = B * CHANNELS * (i + 1) / threads;
        p->line = fftwf_malloc(sizeof(float) * 2 * (size_t)T);
        p->freq = fftwf_malloc(sizeof *p->freq * (size_t)(T + 1));
        p->spectra = spectra;
        p->forward = fftwf_plan_dft_r2c_1d((int)(2*T), p->line, p->freq, FFTW_MEASURE);
        p->backward = fftwf_plan_dft_c2r_1d((int)(2*T), p->freq, p->line, FFTW_MEASURE);
    }
    Rows *p = &f->part[0];
    for (long c = 0; c < CHANNELS; c++) {
        for (long t = 0; t < 2*T; t++)
            p->line[t] = t < T ? 0.02f * (float)((c * 31 + t * 7) % 13 - 6) / (float)(2*T) : 0;
        fftwf_execute(p->forward);
        memcpy(spectra + c * (T + 1), p->freq, sizeof *spectra * (size_t)(T + 1));
    }
}

static double run_fftw(Fftw *f, clockid_t clock)
{
    pthread_t thread[MOST_THREADS];
    const double begin = now_ms(clock);
    for (int i = 1; i < f->threads; i++)
        if (pthread_create(&thread[i], NULL, run_rows, &f->part[i]))
            fail("no thread");
    run_rows(&f->part[0]);
    for (int i = 1; i < f->threads; i++)
        pthread_join(thread[i], NULL);
    return now_ms(clock) - begin;
}

// --- ours

typedef struct Ours {
    Arena   arena;
    Sources sources;
    Diag    diag;
    Net    *net;
} Ours;

static void make_ours(Ours *o, Engine *engine, const char *B, const char *T, bool gradients)
{
    StatusText why = {0};
    Binding binding[] = {{.name = "B", .value = B}, {.name = "T", .value = T}};
    BuildOptions build = {.mode = gradients ? MODE_TRAIN : MODE_EVAL, .binding = binding, .n_bindings = 2};
    o->sources = sources_make(&o->arena);
    o->diag = diag_make(&o->arena, &o->sources);
    uint32_t file = sources_add(&o->sources, "longconv.mix", model, strlen(model));
    const Ast *ast = ast_parse(&o->arena, &o->diag, &o->sources, file);
    Module *module = build_module(&o->arena, &o->diag, &o->sources, ast, &build);
    const char *cotangent[] = {"y"};
    RunGradOptions grad = {.cotangent = cotangent, .n_cotangents = 1};
    if (!module || (gradients && !grad_of_run(module, &grad)) ||
        engine_load(engine, &o->arena, &o->diag, module, &(LoadOptions){0}, &o->net, &why) != STATUS_OK ||
        net_init(o->net, module, 1, &why) != STATUS_OK)
        fail(why.text[0] ? why.text : "the model was not accepted");
    const Slot *slot;
    for (size_t n = net_slots(o->net, &slot); n > 0; n--, slot++) {
        float *x = slot->kind == BUFFER_INPUT ? numbers((size_t)slot->count, 1) : NULL;
        if (x && net_write(o->net, slot, x, &why) != STATUS_OK)
            fail(why.text);
        if (x)
            fftwf_free(x);
    }
}

static double run_ours(Ours *o, clockid_t clock)
{
    StatusText why = {0};
    const double begin = now_ms(clock);
    if (net_run(o->net, &why) != STATUS_OK)
        fail(why.text);
    return now_ms(clock) - begin;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        fail("usage: bench_longconv B T [ROUNDS [processor]]");
    const long B = atol(argv[1]), T = atol(argv[2]);
    const int rounds = argc > 3 ? atoi(argv[3]) : 9;
    const bool processor = argc > 4 && !strcmp(argv[4], "processor");
    const clockid_t clock = processor ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
    static double time[3][MOST_ROUNDS];
    static Ours forward, both;
    static Fftw fftw;
    Engine *engine;
    StatusText why = {0};
    if (B < 1 || T < 1 || rounds < 1 || rounds > MOST_ROUNDS)
        fail("B, T and ROUNDS (to 100) are positive");
    if (engine_open(&(EngineOptions){.device = "cpu", .on_device.threads = processor ? 1 : 0}, &engine, &why) != STATUS_OK)
        fail(why.text);
    make_ours(&forward, engine, argv[1], argv[2], false);
    make_ours(&both, engine, argv[1], argv[2], true);
    make_fftw(&fftw, B, T, engine_target(engine)->threads);
    for (int r = -1; r < rounds; r++) {     // the first round warms up
        const double t[3] = {run_ours(&forward, clock), run_ours(&both, clock), run_fftw(&fftw, clock)};
        for (int i = 0; i < 3 && r >= 0; i++)
            time[i][r] = t[i];
    }
    for (int i = 0; i < 3; i++) {
        qsort(time[i], (size_t)rounds, sizeof **time, by_value);
        printf("%s%.3f", i ? " " : "", time[i][rounds / 2]);
    }
    printf("\n");
    return 0;
}
