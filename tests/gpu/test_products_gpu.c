// Dense products y[M,N] = x[M,K] W[K,N] on the GPU beside cuBLASLt, in one process and in turns: our kernels, and the best of eight ways
// that cuBLASLt offers. Without a GPU it says so and compares small products in the simulator with plain loops.
#include "build.h"
#include "cublaslt.h"
#include "cuda_api.h"
#include "engine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 7, WAYS = 8, WORK_BYTES = 32 << 20 };

typedef struct Shape { int64_t m, n, k; bool is_bf16; } Shape;

static const Shape big[] = {
    {4096, 4096, 4096, true}, {8192, 8192, 8192, true}, {8192, 1024, 1024, true}, {8192, 4096, 1024, true}, {16384, 768, 768, true},
    {16384, 3072, 768, true}, {512, 512, 512, true}, {4096, 4096, 4096, false}, {16384, 768, 768, false}};
static const Shape small[] = {{33, 35, 37, false}, {1, 64, 9, false}, {64, 32, 128, false}, {65, 31, 17, true}};

typedef struct Ours {
    Arena   arena;
    Sources sources;
    Diag    diag;
    Engine *engine;
    Module *module;
    Net    *net;
} Ours;

static Status load(Ours *o, const char *device, const Shape *s, StatusText *why)
{
    *o = (Ours){0};
    const char *text = arena_printf(&o->arena, "mix 1\naxis M : batch = %lld, K = %lld, N = %lld\nmodel P(x: [M,K]) -> y: [M,N] {\n"
                                    "  param W[K,N] = normal(0.02)\n  y = x @[K] W\n}\n", (long long)s->m, (long long)s->k, (long long)s->n);
    o->sources = sources_make(&o->arena);
    o->diag = diag_make(&o->arena, &o->sources);
    Status status = engine_open(&(EngineOptions){.device = device, .bf16 = s->is_bf16}, &o->engine, why);
    return status != STATUS_OK ? status : engine_load_text(o->engine, &o->arena, &o->diag, &o->sources, "product.mix", text,
                                                           &(BuildOptions){.mode = MODE_EVAL}, &(LoadOptions){0}, &o->module, &o->net, why);
}

static void unload(Ours *o)
{
    net_free(o->net);
    engine_close(o->engine);
    arena_free(&o->arena);
}

static float *numbers(size_t n, uint32_t seed)
{
    float *x = malloc((n + 1) * sizeof *x);
    for (size_t i = 0; x && i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)((int)(seed >> 16 & 255) - 128) / 128.0f;        // exact in bf16
    }
    return x;
}

static Status fill(Ours *o, const Shape *s, StatusText *why)
{
    float *x = numbers((size_t)(s->m * s->k), 1), *w = numbers((size_t)(s->k * s->n), 2);
    Status status = x && w ? net_write(o->net, net_slot(o->net, BUFFER_INPUT, "x"), x, why)
                           : status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for the operands");
    if (status == STATUS_OK)
        status = net_write(o->net, net_slot(o->net, BUFFER_PARAM, "P.W"), w, why);
    free(x);
    free(w);
    return status;
}

static Status time_ours(Ours *o, double *out_best, StatusText *why)
{
    const size_t n = net_program(o->net)->n_launches;
    double *seconds = calloc(n + 1, sizeof *seconds), sum = 0;
    Status status = seconds ? net_run_timed(o->net, seconds, why) : STATUS_OUT_OF_MEMORY;
    for (size_t i = 0; i < n && status == STATUS_OK; i++)
        sum += seconds[i];
    *out_best = sum < *out_best ? sum : *out_best;
    free(seconds);
    return status;
}

// --- cuBLASLt

typedef struct Peer {
    const DriverApi *driver;
    const BlasApi   *blas;
    int              gpu;
    CudaContext     *context;
    CudaStream      *stream;
    CudaEvent       *event[2];
    void            *handle, *product, *a, *b, *c, *wish;
    uint64_t         x, w, y, work;
    LtWay            way[WAYS];
    int              n_ways;
} Peer;

// The numbers that our operands have, since the same bytes everywhere would draw less power.
static int give(Peer *p, uint64_t to, const Shape *s, int64_t n, uint32_t seed)
{
    float *x = numbers((size_t)n, seed);
    uint16_t *half = (uint16_t *)(void *)x;
    if (!x)
        return 2;
    for (int64_t i = 0; s->is_bf16 && i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        half[i] = (uint16_t)(bits >> 16);
    }
    int e = p->driver->copy_in(p->driver->self, to, x, (size_t)n * (s->is_bf16 ? 2 : 4), p->stream);
    e = e ? e : p->driver->stream_wait(p->driver->self, p->stream);
    free(x);
    return e;
}

// Row-major y = x W is column-major y' = W' x'.
static int peer_open(Peer *p, const Shape *s)
{
    const DriverApi *d = p->driver;
    const BlasApi *l = p->blas;
    const int type = s->is_bf16 ? LT_BF16 : LT_F32;
    const size_t bytes = s->is_bf16 ? 2 : 4, most = WORK_BYTES;
    int e = d->device_get(d->self, &p->gpu, 0);
    e = e ? e : d->context_retain(d->self, &p->context, p->gpu);
    e = e ? e : d->context_use(d->self, p->context);
    e = e ? e : d->stream_make(d->self, &p->stream, 1);
    for (int i = 0; i < 2; i++)
        e = e ? e : d->event_make(d->self, &p->event[i], 0);
    e = e ? e : d->memory_take(d->self, &p->x, (size_t)(s->m * s->k) * bytes);
    e = e ? e : d->memory_take(d->self, &p->w, (size_t)(s->k * s->n) * bytes);
    e = e ? e : d->memory_take(d->self, &p->y, (size_t)(s->m * s->n) * bytes);
    e = e ? e : d->memory_take(d->self, &p->work, WORK_BYTES);
    e = e ? e : give(p, p->x, s, s->m * s->k, 1);
    e = e ? e : give(p, p->w, s, s->k * s->n, 2);
    e = e ? e : l->create(l->self, &p->handle);
    e = e ? e : l->product_make(l->self, &p->product, s->is_bf16 ? LT_COMPUTE_F32 : LT_COMPUTE_F32_PEDANTIC, LT_F32);
    e = e ? e : l->layout_make(l->self, &p->a, type, (uint64_t)s->n, (uint64_t)s->k, s->n);
    e = e ? e : l->layout_make(l->self, &p->b, type, (uint64_t)s->k, (uint64_t)s->m, s->k);
    e = e ? e : l->layout_make(l->self, &p->c, type, (uint64_t)s->n, (uint64_t)s->m, s->n);
    e = e ? e : l->wish_make(l->self, &p->wish);
    e = e ? e : l->wish_set(l->self, p->wish, LT_WISH_WORK_BYTES, &most, sizeof most);
    return e ? e : l->ways(l->self, p->handle, p->product, p->a, p->b, p->c, p->c, p->wish, WAYS, p->way, &p->n_ways);
}

static void peer_close(Peer *p)
{
    const DriverApi *d = p->driver;
    const BlasApi *l = p->blas;
    void *const layout[] = {p->a, p->b, p->c};
    const uint64_t memory[] = {p->x, p->w, p->y, p->work};
    for (int i = 0; i < 3; i++)
        if (layout[i])
            l->layout_free(l->self, layout[i]);
    if (p->wish)
        l->wish_free(l->self, p->wish);
    if (p->product)
        l->product_free(l->self, p->product);
    if (p->handle)
        l->destroy(l->self, p->handle);
    for (int i = 0; i < 4; i++)
        if (memory[i])
            d->memory_free(d->self, memory[i]);
    for (int i = 0; i < 2; i++)
        if (p->event[i])
            d->event_free(d->self, p->event[i]);
    if (p->stream)
        d->stream_free(d->self, p->stream);
    if (p->context)
        d->context_release(d->self, p->gpu);
}

static int time_peer(Peer *p, double *out_best)
{
    const DriverApi *d = p->driver;
    const BlasApi *l = p->blas;
    const float one = 1, zero = 0;
    for (int i = 0; i < p->n_ways; i++) {
        float ms = 0;
        int e = d->event_record(d->self, p->event[0], p->stream);
        e = e ? e : l->multiply(l->self, p->handle, p->product, &one, (void *)(uintptr_t)p->w, p->a, (void *)(uintptr_t)p->x, p->b, &zero,
                                (void *)(uintptr_t)p->y, p->c, (void *)(uintptr_t)p->y, p->c, &p->way[i], (void *)(uintptr_t)p->work,
                                WORK_BYTES, p->stream);
        e = e ? e : d->event_record(d->self, p->event[1], p->stream);
        e = e ? e : d->stream_wait(d->self, p->stream);
        e = e ? e : d->event_ms(d->self, &ms, p->event[0], p->event[1]);
        if (e)
            return e;
        *out_best = ms * 1e-3 < *out_best ? ms * 1e-3 : *out_best;
    }
    return 0;
}

static int bench(const DriverApi *driver, const BlasApi *blas, const Shape *s)
{
    Ours ours;
    Peer peer = {.driver = driver, .blas = blas};
    StatusText why = {0};
    double best = INFINITY, peers = INFINITY;
    const double flops = 2.0 * (double)s->m * (double)s->n * (double)s->k;
    Status status = load(&ours, "cuda", s, &why);
    status = status == STATUS_OK ? fill(&ours, s, &why) : status;
    int error = blas ? peer_open(&peer, s) : 1;
    for (int r = 0; r < ROUNDS && status == STATUS_OK; r++) {
        status = time_ours(&ours, &best, &why);
        error = error ? error : time_peer(&peer, &peers);
    }
    if (blas)
        peer_close(&peer);
    unload(&ours);
    if (status != STATUS_OK)
        printf("| %lld x %lld x %lld | %s | failed: %s |\n", (long long)s->m, (long long)s->n, (long long)s->k, s->is_bf16 ? "bf16" : "f32",
               why.text);
    else
        printf("| %lld x %lld x %lld | %s | %.3f ms | %.1f TFLOP/s | %.3f ms | %.1f TFLOP/s | %.2f |\n", (long long)s->m, (long long)s->n,
               (long long)s->k, s->is_bf16 ? "bf16" : "f32", best * 1e3, flops / best * 1e-12, peers * 1e3, flops / peers * 1e-12,
               peers / best);
    fflush(stdout);
    return status != STATUS_OK;
}

// --- in the simulator

static int check(const Shape *s)
{
    Ours ours;
    StatusText why = {0};
    double worst = 0;
    float *x = numbers((size_t)(s->m * s->k), 1), *w = numbers((size_t)(s->k * s->n), 2), *y = numbers((size_t)(s->m * s->n), 3);
    Status status = load(&ours, "sim", s, &why);
    status = status == STATUS_OK ? fill(&ours, s, &why) : status;
    status = status == STATUS_OK ? net_run(ours.net, &why) : status;
    status = status == STATUS_OK ? net_read(ours.net, net_slot(ours.net, BUFFER_OUTPUT, "output.y"), y, &why) : status;
    for (int64_t i = 0; status == STATUS_OK && i < s->m; i++)
        for (int64_t j = 0; j < s->n; j++) {
            double sum = 0;
            for (int64_t k = 0; k < s->k; k++)
                sum += (double)x[i * s->k + k] * (double)w[k * s->n + j];
            worst = fmax(worst, fabs((double)y[i * s->n + j] - sum));
        }
    printf("| %lld x %lld x %lld | %s | %s%s | error %.2g |\n", (long long)s->m, (long long)s->n, (long long)s->k, s->is_bf16 ? "bf16" : "f32",
           status == STATUS_OK ? "simulated" : "failed: ", why.text, worst);
    free(x);
    free(w);
    free(y);
    unload(&ours);
    return status != STATUS_OK || !(worst <= 1e-4);
}

static int run(void)
{
    Device *device = NULL;
    StatusText why = {0}, no_blas = {0};
    CudaLibraries *libraries = cuda_libraries_open();
    const DriverApi *driver = NULL;
    const NvrtcApi *nvrtc = NULL;
    const BlasApi *blas = NULL;
    int failed = 0;
    if (cuda_find_nvrtc(libraries, &nvrtc, &why) != STATUS_OK) {
        printf("skipped: %s\n", why.text);
        return 77;
    }
    if (device_cuda.open(&(DeviceOptions){.threads = 1}, &device, &why) == STATUS_OK
        && cuda_find_driver(libraries, &driver, &why) == STATUS_OK) {
        if (cuda_find_blas(libraries, &blas, &no_blas) != STATUS_OK)
            printf("%s\n", no_blas.text);
        printf("%s\n\n| M x N x K | type | ours | | cuBLASLt | | ratio |\n|---|---|---|---|---|---|---|\n", device_cuda.describe(device));
        for (size_t i = 0; i < sizeof big / sizeof *big; i++)
            failed += bench(driver, blas, &big[i]);
    } else {
        printf("no GPU (%s): small products in the simulator\n", why.text);
        for (size_t i = 0; i < sizeof small / sizeof *small; i++)
            failed += check(&small[i]);
    }
    device_cuda.close(device);
    cuda_libraries_close(libraries);
    return failed > 0;
}

// In a process of its own, because the libraries keep memory to themselves that a leak checker would report.
int main(void)
{
    const pid_t child = fork();
    if (child == 0) {
        const int code = run();
        fflush(stdout);
        _exit(code);
    }
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
