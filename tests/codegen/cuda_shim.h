// Runs generated CUDA text on host threads: enough of the language for our kernels, one block after another, one host
// thread for each CUDA thread, __syncthreads as a barrier, exchanges by way of memory. The text is compiled as C behind this header, with
// `extern "C" __global__` taken out.
#include <math.h>
#include <pthread.h>
#include <string.h>

#define __global__
#define __device__
#define __forceinline__ inline __attribute__((unused))
#define __shared__ static

typedef struct { unsigned x; } ShimIndex;
static __thread ShimIndex threadIdx;
static ShimIndex blockIdx, blockDim, gridDim __attribute__((unused));
static pthread_barrier_t shim_barrier;

static inline __attribute__((unused)) void __syncthreads(void) { pthread_barrier_wait(&shim_barrier); }
static inline __attribute__((unused)) int __float_as_int(float x) { int i; memcpy(&i, &x, 4); return i; }
static inline __attribute__((unused)) float __int_as_float(int i) { float x; memcpy(&x, &i, 4); return x; }
static inline __attribute__((unused)) unsigned __float_as_uint(float x) { unsigned i; memcpy(&i, &x, 4); return i; }
static inline __attribute__((unused)) float __uint_as_float(unsigned i) { float x; memcpy(&x, &i, 4); return x; }
static inline __attribute__((unused)) long long __double_as_longlong(double x) { long long i; memcpy(&i, &x, 8); return i; }
static inline __attribute__((unused)) double __longlong_as_double(long long i) { double x; memcpy(&x, &i, 8); return x; }

static float shim_lane[256];

static inline __attribute__((unused)) float __shfl_xor_sync(unsigned mask, float x, unsigned n)
{
    (void)mask;
    shim_lane[threadIdx.x] = x;
    __syncthreads();
    x = shim_lane[threadIdx.x ^ n];
    __syncthreads();
    return x;
}

static int shim_int[256];

static inline __attribute__((unused)) int __shfl_sync(unsigned mask, int x, int lane)
{
    (void)mask;
    shim_int[threadIdx.x] = x;
    __syncthreads();
    x = shim_int[threadIdx.x / 32 * 32 + (unsigned)lane];
    __syncthreads();
    return x;
}

static inline __attribute__((unused)) unsigned __ballot_sync(unsigned mask, int x)
{
    unsigned all = 0;
    (void)mask;
    shim_int[threadIdx.x] = x;
    __syncthreads();
    for (unsigned l = 0; l < 32; l++)
        all |= (unsigned)(shim_int[threadIdx.x / 32 * 32 + l] != 0) << l;
    __syncthreads();
    return all;
}

static inline __attribute__((unused)) int __popc(unsigned x) { return __builtin_popcount(x); }

typedef struct { float x, y, z, w; } __attribute__((aligned(16))) float4;
typedef struct { int x, y, z, w; } __attribute__((aligned(16))) int4;
typedef struct { unsigned x, y; } __attribute__((aligned(8))) uint2;
#define make_float4(...) ((float4){__VA_ARGS__})
#define make_int4(...) ((int4){__VA_ARGS__})
#define make_uint2(...) ((uint2){__VA_ARGS__})

typedef void ShimKernel(void *const *p);    // calls the kernel with the arguments of the array

typedef struct {
    ShimKernel  *kernel;
    void *const *p;
    unsigned     thread;
    long         n_blocks;
} ShimThread;

static void *shim_thread(void *user)
{
    ShimThread *t = user;
    threadIdx.x = t->thread;
    for (long b = 0; b < t->n_blocks; b++) {
        pthread_barrier_wait(&shim_barrier);
        if (t->thread == 0)
            blockIdx.x = (unsigned)b;
        pthread_barrier_wait(&shim_barrier);
        t->kernel(t->p);
    }
    return NULL;
}

void shim_launch(ShimKernel *kernel, void *const *p, long n_blocks, unsigned n_threads);
void shim_launch(ShimKernel *kernel, void *const *p, long n_blocks, unsigned n_threads)
{
    pthread_t handle[256];
    ShimThread t[256];
    blockDim.x = n_threads;
    gridDim.x = (unsigned)n_blocks;
    pthread_barrier_init(&shim_barrier, NULL, n_threads);
    for (unsigned i = 0; i < n_threads; i++) {
        t[i] = (ShimThread){kernel, p, i, n_blocks};
        pthread_create(&handle[i], NULL, shim_thread, &t[i]);
    }
    for (unsigned i = 0; i < n_threads; i++)
        pthread_join(handle[i], NULL);
    pthread_barrier_destroy(&shim_barrier);
}
