// A cuBLASLt that is not there: it checks what it is told, multiplies by a plain kernel of its own on whatever GPU the driver is, and takes as
// long as the script says. Its clock is that of the driver's events.
#ifndef MIXC_TEST_BLAS_FAKE_H
#define MIXC_TEST_BLAS_FAKE_H

#include "cublaslt.h"
#include "cuda_fake.h"
#include "nvrtc.h"

#include <stdlib.h>

enum { LT_EVENTS = 256, LT_INVALID = 7 };

typedef struct LtLayout { int type; uint64_t rows, cols; int64_t line, stride; int32_t batches; } LtLayout;
typedef struct LtProduct { int compute; int32_t turn[2]; } LtProduct;
typedef struct LtWish { size_t work_bytes; uint32_t summing, align[4]; } LtWish;

typedef struct LtFake {
    Fake            fake;                   // first: the driver's functions are given it
    BlasApi         blas;
    CudaFunction   *function;               // the plain product
    int             n_ways;                 // that it offers
    int             create_error, ways_error, multiply_error;
    int             n_created, n_destroyed, n_multiplied, balance;
    bool            is_exact;               // float32 was asked for as float32
    // Milliseconds of a launch of a kernel of ours, and of a product with more than `large` multiplications, and of others.
    double          own_ms, large_ms, small_ms, large;
    double          clock_ms;
    CudaEvent      *event[LT_EVENTS];
    double          at_ms[LT_EVENTS];
    int             n_events;
} LtFake;

static const char lt_text[] =
    "extern \"C\" __global__ void plain(const void *a, const void *b, void *d, long m, long n, long k, long lda, long ldb, long ldd, int ta,\n"
    "                                 int tb, long sa, long sb, long sd, long all, int is_short, int gives_short)\n"
    "{\n"
    "    const long e = blockIdx.x*64L + threadIdx.x;\n"
    "    if (e >= all)\n"
    "        return;\n"
    "    const long g = e / (m*n), i = e % m, j = e / m % n;\n"
    "    float sum = 0.0f;\n"
    "    for (long t = 0; t < k; t++) {\n"
    "        const long x = g*sa + (ta ? i*lda + t : t*lda + i), y = g*sb + (tb ? t*ldb + j : j*ldb + t);\n"
    "        const float u = is_short ? __int_as_float(((const unsigned short *)a)[x] << 16) : ((const float *)a)[x];\n"
    "        const float v = is_short ? __int_as_float(((const unsigned short *)b)[y] << 16) : ((const float *)b)[y];\n"
    "        sum = fmaf(u, v, sum);\n"
    "    }\n"
    "    if (gives_short) {\n"
    "        const unsigned bits = __float_as_int(sum);\n"
    "        ((unsigned short *)d)[g*sd + j*ldd + i] = (unsigned short)(bits + 0x7fff + (bits >> 16 & 1) >> 16);\n"
    "    } else\n"
    "        ((float *)d)[g*sd + j*ldd + i] = sum;\n"
    "}\n";

static int lt_property(void *self, int which, int *out)
{
    (void)self;
    *out = which == LT_MAJOR ? 13 : which;
    return 0;
}

static int lt_create(void *self, void **out)
{
    LtFake *f = self;
    *out = f;
    f->n_created += f->create_error == 0;
    return f->create_error;
}

static int lt_destroy(void *self, void *handle)
{
    LtFake *f = self;
    f->n_destroyed++;
    return handle == f ? 0 : LT_INVALID;
}

static int lt_make(void *self, void **out, size_t bytes)
{
    *out = calloc(1, bytes);
    ((LtFake *)self)->balance++;
    return 0;
}

static int lt_free(void *self, void *what)
{
    free(what);
    ((LtFake *)self)->balance--;
    return 0;
}

static int lt_product_make(void *self, void **out, int compute, int scale)
{
    lt_make(self, out, sizeof(LtProduct));
    ((LtProduct *)*out)->compute = compute;
    ((LtFake *)self)->is_exact |= compute == LT_COMPUTE_F32_PEDANTIC;
    return scale == LT_F32 ? 0 : LT_INVALID;
}

static int lt_product_set(void *self, void *product, int which, const void *value, size_t n)
{
    (void)self;
    if (n != sizeof(int32_t) || (which != LT_PRODUCT_TURN_A && which != LT_PRODUCT_TURN_B))
        return LT_INVALID;
    memcpy(&((LtProduct *)product)->turn[which == LT_PRODUCT_TURN_B], value, n);
    return 0;
}

static int lt_layout_make(void *self, void **out, int type, uint64_t rows, uint64_t cols, int64_t line)
{
    lt_make(self, out, sizeof(LtLayout));
    *(LtLayout *)*out = (LtLayout){.type = type, .rows = rows, .cols = cols, .line = line, .batches = 1};
    return line >= (int64_t)rows ? 0 : LT_INVALID;
}

static int lt_layout_set(void *self, void *layout, int which, const void *value, size_t n)
{
    LtLayout *l = layout;
    (void)self;
    void *to = which == LT_LAYOUT_BATCHES ? (void *)&l->batches : which == LT_LAYOUT_BATCH_STRIDE ? (void *)&l->stride : NULL;
    if (!to || n != (which == LT_LAYOUT_BATCHES ? sizeof l->batches : sizeof l->stride))
        return LT_INVALID;
    memcpy(to, value, n);
    return 0;
}

static int lt_wish_make(void *self, void **out)
{
    return lt_make(self, out, sizeof(LtWish));
}

static int lt_wish_set(void *self, void *wish, int which, const void *value, size_t n)
{
    LtWish *w = wish;
    (void)self;
    void *to = which == LT_WISH_WORK_BYTES ? (void *)&w->work_bytes : which == LT_WISH_SUMMING ? (void *)&w->summing
             : which >= LT_WISH_ALIGN_A && which <= LT_WISH_ALIGN_D ? (void *)&w->align[which - LT_WISH_ALIGN_A] : NULL;
    if (!to || n != (which == LT_WISH_WORK_BYTES ? sizeof w->work_bytes : sizeof(uint32_t)))
        return LT_INVALID;
    memcpy(to, value, n);
    return 0;
}

static bool lt_fits(const LtProduct *p, const LtLayout *a, const LtLayout *b, const LtLayout *d)
{
    const uint64_t m = p->turn[0] ? a->cols : a->rows, k = p->turn[0] ? a->rows : a->cols, kb = p->turn[1] ? b->cols : b->rows,
                   n = p->turn[1] ? b->rows : b->cols;
    return d->rows == m && d->cols == n && kb == k && a->type == b->type && (d->type == LT_F32 || (d->type == LT_BF16 && a->type == LT_BF16))
        && a->batches == d->batches && b->batches == d->batches;
}

// Way w wants w KiB of work; the sums have to be those of float32, in order.
static int lt_ways(void *self, void *handle, void *product, void *a, void *b, void *c, void *d, void *wish, int most, void *out_way, int *out_n)
{
    LtFake *f = self;
    const LtWish *w = wish;
    LtWay *way = out_way;
    if (handle != f || c != d || !lt_fits(product, a, b, d) || w->summing != LT_SUMMING_IN_F32)
        return LT_INVALID;
    for (int i = 0; i < 4; i++)
        if (w->align[i] < 2 || w->align[i] > 64)
            return LT_INVALID;
    *out_n = f->n_ways < most ? f->n_ways : most;
    for (int i = 0; i < *out_n; i++)
        way[i] = (LtWay){.algorithm = {(uint64_t)i + 1}, .work_bytes = (size_t)(i + 1) << 10};
    return f->ways_error;
}

static int lt_load(LtFake *f)
{
    CudaLibraries *libraries = cuda_libraries_open();
    const NvrtcApi *nvrtc = NULL;
    Arena arena;
    NvrtcImage image = {0};
    StatusText why = {0};
    CudaModule *module;
    arena_init(&arena);
    const NvrtcJob job = {.name = "plain.cu", .text = lt_text, .arch = "sm_80", .wants_ptx = true};
    int error = cuda_find_nvrtc(libraries, &nvrtc, &why) == STATUS_OK && nvrtc_compile(nvrtc, &arena, &job, &image, &why) == STATUS_OK ? 0 : 14;
    error = error ? error : f->fake.next->module_load(f->fake.next->self, &module, image.data);
    error = error ? error : f->fake.next->module_function(f->fake.next->self, &f->function, module, "plain");
    arena_free(&arena);
    cuda_libraries_close(libraries);
    return error;
}

static int lt_multiply(void *self, void *handle, void *product, const void *alpha, const void *a, void *layout_a, const void *b, void *layout_b,
                       const void *beta, const void *c, void *layout_c, void *d, void *layout_d, const void *way, void *work, size_t work_bytes,
                       CudaStream *stream)
{
    LtFake *f = self;
    const LtProduct *p = product;
    const LtLayout *A = layout_a, *B = layout_b, *D = layout_d;
    (void)work;
    f->n_multiplied++;
    if (f->multiply_error)
        return f->multiply_error;
    if (handle != f || *(const float *)alpha != 1 || *(const float *)beta != 0 || c != d || layout_c != layout_d || !lt_fits(p, A, B, D)
        || ((const LtWay *)way)->algorithm[0] < 1 || ((const LtWay *)way)->work_bytes > work_bytes)
        return LT_INVALID;
    long m = (long)D->rows, n = (long)D->cols, k = (long)(p->turn[0] ? A->rows : A->cols), all = m * n * D->batches;
    const double multiplications = (double)all * (double)k;
    f->clock_ms += multiplications > f->large ? f->large_ms : f->small_ms;
    if (f->fake.is_idle)
        return 0;
    if (!f->function && lt_load(f) != 0)
        return 14;
    uint64_t at[3] = {(uint64_t)(uintptr_t)a, (uint64_t)(uintptr_t)b, (uint64_t)(uintptr_t)d};
    int ta = p->turn[0], tb = p->turn[1], is_short = A->type == LT_BF16, gives_short = D->type == LT_BF16;
    long lda = A->line, ldb = B->line, ldd = D->line, sa = A->stride, sb = B->stride, sd = D->stride;
    void *argument[] = {&at[0], &at[1], &at[2], &m, &n, &k, &lda, &ldb, &ldd, &ta, &tb, &sa, &sb, &sd, &all, &is_short, &gives_short};
    return f->fake.next->launch(f->fake.next->self, f->function, (unsigned)((all + 63) / 64), 1, 1, 64, 1, 1, 0, stream, argument, NULL) ? 13 : 0;
}

// --- the driver's clock

static int lt_launch(void *self, CudaFunction *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
                     unsigned block_z, unsigned shared_bytes, CudaStream *stream, void **argument, void **extra)
{
    LtFake *f = self;
    f->clock_ms += f->own_ms;
    return own_launch(self, function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes, stream, argument, extra);
}

static int lt_event_record(void *self, CudaEvent *event, CudaStream *stream)
{
    LtFake *f = self;
    int i = 0;
    while (i < f->n_events && f->event[i] != event)
        i++;
    if (i == LT_EVENTS)
        return 2;
    f->n_events += i == f->n_events;
    f->event[i] = event;
    f->at_ms[i] = f->clock_ms;
    return fake_event_record(self, event, stream);
}

static double lt_time_of(const LtFake *f, const CudaEvent *event)
{
    for (int i = 0; i < f->n_events; i++)
        if (f->event[i] == event)
            return f->at_ms[i];
    return 0;
}

static int lt_event_ms(void *self, float *out, CudaEvent *from, CudaEvent *to)
{
    *out = (float)(lt_time_of(self, to) - lt_time_of(self, from));
    return fake_enter(self, CALL_event_ms);
}

// As fake_open. A library with four ways; a launch of ours takes 1 ms, a product with more than 20,000 multiplications 0.25, others 4.
static inline bool lt_open(LtFake *f, bool is_idle)
{
    memset(f, 0, sizeof *f);
    if (!fake_open(&f->fake, is_idle))
        return false;
    f->fake.l2_bytes = 1 << 16;
    f->n_ways = 4;
    f->own_ms = 1;
    f->large_ms = 0.25;
    f->small_ms = 4;
    f->large = 20000;
    f->fake.driver.launch = lt_launch;
    f->fake.driver.event_record = lt_event_record;
    f->fake.driver.event_ms = lt_event_ms;
    f->blas = (BlasApi){.self = f, .property = lt_property, .create = lt_create, .destroy = lt_destroy, .product_make = lt_product_make,
                        .product_free = lt_free, .product_set = lt_product_set, .layout_make = lt_layout_make, .layout_set = lt_layout_set,
                        .layout_free = lt_free, .wish_make = lt_wish_make, .wish_free = lt_free, .wish_set = lt_wish_set, .ways = lt_ways,
                        .multiply = lt_multiply};
    return true;
}

#endif
