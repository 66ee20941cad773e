// Products that cuBLASLt multiplies. A measurement gave them to it (docs/tuning.md); each kernel's product is described to the
// library once, when a program is loaded, and its launches are recorded in the graph like all others.
//
//   y[g,i,j] = sum over k of a[g,i,k]*b[g,k,j], rows contiguous, is to the library, whose columns are contiguous, y' = b' a'
//
// Float32 stays float32: a pedantic sum takes no TF32 and no emulation. Parts of a long sum are added up in float32 and in order, so the bits
// are the same in every run. What the library cannot do our own kernel does, and the program's statistics say why.
#include "cuda_program.h"

#include "cublaslt.h"

#include <stdio.h>
#include <stdlib.h>

enum { ALIGNED = 64, MOST_WAYS = 32 };      // bytes, of every buffer (check.c)

struct LibraryCall {
    void       *product, *layout[3];        // of the library's first and second operand, and of the result
    LtWay       way;
    uint32_t    param[3];                   // of the kernel
    int64_t     offset[3];                  // bytes
};

static const struct { int code; const char *text; } blas_error[] = {
    {1, "it is not initialised"}, {3, "it has no memory"}, {7, "it takes an argument for wrong"}, {8, "it does not know this GPU"},
    {11, "it cannot reach the GPU's memory"}, {13, "its kernel failed"}, {14, "it failed inside"}, {15, "it does not offer such products"},
    {16, "it wants a licence"},
};

static const char *text_of(int code)
{
    for (size_t i = 0; i < sizeof blas_error / sizeof *blas_error; i++)
        if (blas_error[i].code == code)
            return blas_error[i].text;
    return "for a reason that it does not tell";
}

// The library, found when it is first wanted. NULL: there is none, or nobody may use it.
const BlasApi *cuda_blas(Device *d)
{
    StatusText ignored = {0};
    if (!d->blas && !d->sim && !d->looked_for_blas && !getenv("MIXC_NO_CUBLASLT"))
        cuda_find_blas(d->libraries, &d->blas, &ignored);
    d->looked_for_blas = true;
    return d->blas;
}

static int64_t bytes_of(DType type)
{
    return (int64_t)dtype_row[type].bytes;
}

static int lt_type(DType type)
{
    return type == DTYPE_BF16 ? LT_BF16 : LT_F32;
}

typedef struct Matrix { int64_t rows, cols, line; bool turned; } Matrix;       // columns are contiguous

// x by k, of which k is wanted down (or across): as it lies, or turned.
static Matrix matrix_of(const MatrixPlace *m, int64_t n_x, int64_t n_k, bool k_down)
{
    const bool k_follows = m->step == 1 && (m->outer != 1 || n_k > 1);
    const int64_t rows = k_follows ? n_k : n_x, line = k_follows ? m->outer : m->step;
    return (Matrix){.rows = rows, .cols = k_follows ? n_x : n_k, .line = line > rows ? line : rows, .turned = k_follows != k_down};
}

static int make_layout(const BlasApi *api, const Matrix *m, DType type, int64_t batch, int64_t stride, void **out)
{
    const int32_t n = (int32_t)batch;
    int error = api->layout_make(api->self, out, lt_type(type), (uint64_t)m->rows, (uint64_t)m->cols, m->line);
    if (error == 0 && batch > 1)
        error = api->layout_set(api->self, *out, LT_LAYOUT_BATCHES, &n, sizeof n);
    if (error == 0 && batch > 1)
        error = api->layout_set(api->self, *out, LT_LAYOUT_BATCH_STRIDE, &stride, sizeof stride);
    return error;
}

// With rows of y contiguous the library's first operand is b, else a.
static int describe(const BlasApi *api, const LibraryProduct *l, struct LibraryCall *call)
{
    const bool swapped = l->y.step == 1 && (l->y.outer != 1 || l->cols > 1);
    const MatrixPlace *const place[3] = {swapped ? &l->b : &l->a, swapped ? &l->a : &l->b, &l->y};
    const int64_t n_x[2] = {swapped ? l->cols : l->rows, swapped ? l->rows : l->cols};
    Matrix m[3] = {matrix_of(place[0], n_x[0], l->sum, false), matrix_of(place[1], n_x[1], l->sum, true),
                   {.rows = n_x[0], .cols = n_x[1], .line = swapped ? l->y.outer : l->y.step}};
    m[2].line = m[2].line > m[2].rows ? m[2].line : m[2].rows;
    int error = api->product_make(api->self, &call->product, l->type == DTYPE_F32 ? LT_COMPUTE_F32_PEDANTIC : LT_COMPUTE_F32, LT_F32);
    for (int i = 0; i < 2 && error == 0; i++) {
        const int32_t turned = m[i].turned ? LT_TURNED : LT_AS_IT_IS;
        error = api->product_set(api->self, call->product, i == 0 ? LT_PRODUCT_TURN_A : LT_PRODUCT_TURN_B, &turned, sizeof turned);
    }
    for (int i = 0; i < 3 && error == 0; i++) {
        const DType type = i == 2 ? l->result : l->type;
        call->param[i] = place[i]->param;
        call->offset[i] = place[i]->offset * bytes_of(type);
        error = make_layout(api, &m[i], type, l->batch, place[i]->batch, &call->layout[i]);
    }
    return error;
}

// The power of two that an operand's address is a multiple of, as far as we promise.
static uint32_t alignment(int64_t offset)
{
    uint32_t bytes = ALIGNED;
    while (offset % bytes != 0)
        bytes /= 2;
    return bytes;
}

static int set_wishes(const BlasApi *api, void *wish, const struct LibraryCall *call, size_t work_bytes)
{
    const uint32_t summing = LT_SUMMING_IN_F32;
    static const int align[] = {LT_WISH_ALIGN_A, LT_WISH_ALIGN_B, LT_WISH_ALIGN_C, LT_WISH_ALIGN_D};
    int error = api->wish_set(api->self, wish, LT_WISH_WORK_BYTES, &work_bytes, sizeof work_bytes);
    error = error ? error : api->wish_set(api->self, wish, LT_WISH_SUMMING, &summing, sizeof summing);
    for (int i = 0; i < 4 && error == 0; i++) {
        const uint32_t bytes = alignment(call->offset[i < 2 ? i : 2]);
        error = api->wish_set(api->self, wish, align[i], &bytes, sizeof bytes);
    }
    return error;
}

// *out_n: how many ways there are, up to the wanted one, which is call->way then.
static int find_way(const BlasApi *api, void *handle, struct LibraryCall *call, int wanted, size_t work_bytes, int *out_n)
{
    LtWay way[MOST_WAYS];
    void *wish = NULL;
    *out_n = 0;
    int error = api->wish_make(api->self, &wish);
    if (error != 0)
        return error;
    error = set_wishes(api, wish, call, work_bytes);
    if (error == 0)
        error = api->ways(api->self, handle, call->product, call->layout[0], call->layout[1], call->layout[2], call->layout[2], wish,
                          wanted < MOST_WAYS ? wanted : MOST_WAYS, way, out_n);
    api->wish_free(api->self, wish);
    if (error == 0 && *out_n >= wanted && wanted <= MOST_WAYS) {
        call->way = way[wanted - 1];
        *out_n = call->way.state == 0 && call->way.work_bytes <= work_bytes ? *out_n : 0;
    }
    return error;
}

static void free_call(const BlasApi *api, struct LibraryCall *call)
{
    for (int i = 0; i < 3; i++)
        if (call->layout[i])
            api->layout_free(api->self, call->layout[i]);
    if (call->product)
        api->product_free(api->self, call->product);
}

// Our own kernel runs, and the first reason is kept.
static void refuse(LoadedProgram *l, size_t kernel, int error, int ways)
{
    const Program *p = l->program;
    char line[256];
    const Launch *launch = program_first_launch(p, kernel);
    if (l->stats.library_refused)
        return;
    const char *what = launch ? cuda_describe_launch(p, launch, line, sizeof line) : "never launched";
    l->stats.library_refused =
        error ? arena_printf(&l->arena, "cuBLASLt does not compute kernel '%s' (%s): %s (error %d of cuBLASLt); our own does", p->kernel[kernel].name,
                             what, text_of(error), error)
              : arena_printf(&l->arena, "cuBLASLt does not compute kernel '%s' (%s): it offers %d ways, and way %d was measured; our own does",
                             p->kernel[kernel].name, what, ways, p->kernel[kernel].library->way);
}

static void prepare_kernel(LoadedProgram *l, size_t kernel, size_t work_bytes)
{
    Device *d = l->device;
    const LibraryProduct *product = l->program->kernel[kernel].library;
    struct LibraryCall *call = arena_new(&l->arena, struct LibraryCall);
    void *handle = d->blas_handle;
    int n = 0, error = handle ? 0 : d->blas->create(d->blas->self, &handle);
    if (error == 0) {
        d->blas_handle = handle;
        error = describe(d->blas, product, call);
    }
    if (error == 0)
        error = find_way(d->blas, d->blas_handle, call, product->way, work_bytes, &n);
    if (error == 0 && n >= product->way) {
        l->library[kernel] = call;
        l->stats.library_kernels++;
        return;
    }
    free_call(d->blas, call);
    refuse(l, kernel, error, n);
}

void cuda_prepare_library(LoadedProgram *l)
{
    const Program *p = l->program;
    l->library = arena_array(&l->arena, struct LibraryCall *, p->n_kernels + 1);
    for (size_t k = 1; k < p->n_kernels; k++) {
        const Launch *launch = p->kernel[k].library ? program_first_launch(p, k) : NULL;
        if (!launch)
            continue;
        if (!cuda_blas(l->device)) {
            l->stats.library_refused = "cuBLASLt is not here, or MIXC_NO_CUBLASLT is set; our own kernels run instead";
            return;
        }
        prepare_kernel(l, k, p->buffer[launch->buffer[p->kernel[k].library->work]].bytes);
    }
}

void cuda_free_library(LoadedProgram *l)
{
    for (size_t k = 1; l->library && k < l->program->n_kernels; k++)
        if (l->library[k])
            free_call(l->device->blas, l->library[k]);
}

Status cuda_launch_library(LoadedProgram *l, size_t i, StatusText *why)
{
    Device *d = l->device;
    const BlasApi *api = d->blas;
    const Launch *launch = &l->program->launch[i];
    const Kernel *k = &l->program->kernel[launch->kernel];
    const struct LibraryCall *call = l->library[launch->kernel];
    const float one = 1, zero = 0;
    void *at[3];
    for (int m = 0; m < 3; m++)
        at[m] = l->place.address[launch->buffer[call->param[m]]] + call->offset[m];
    const uint32_t work = launch->buffer[k->library->work];
    const int error = api->multiply(api->self, d->blas_handle, call->product, &one, at[0], call->layout[0], at[1], call->layout[1], &zero, at[2],
                                    call->layout[2], at[2], call->layout[2], &call->way, l->place.address[work], l->program->buffer[work].bytes,
                                    l->stream);
    if (error == 0)
        return STATUS_OK;
    char line[256];
    const char *what = cuda_describe_launch(l->program, launch, line, sizeof line);
    const int lasting = l->exec ? d->driver->stream_wait(d->driver->self, l->stream) : 0;     // while launches are recorded nobody can wait
    if (lasting != 0)                       // what was enqueued before has failed, and the library only met it
        return cuda_status(d, lasting, why, "before kernel '%s' (%s)", k->name, what);
    return status_fail(why, STATUS_NO_DEVICE, "kernel '%s' (%s) cannot be computed by cuBLASLt: %s (error %d of cuBLASLt); MIXC_NO_CUBLASLT=1 "
                       "takes our own kernels", k->name, what, text_of(error), error);
}

// "cublaslt 13.0.2", for the place that times are kept for: another version offers other ways.
const char *cuda_library_version(Device *d, Arena *arena)
{
    const BlasApi *api = cuda_blas(d);
    int part[3] = {0};
    if (!api)
        return "no cublaslt";
    for (int i = 0; i < 3; i++)
        if (api->property(api->self, LT_MAJOR + i, &part[i]) != 0)
            return "a cublaslt without a version";
    return arena_printf(arena, "cublaslt %d.%d.%d", part[0], part[1], part[2]);
}
