// Speed of generated product and row kernels at the shapes of a GPT's training step: one thread, processor time, the best
// of some runs, packing and epilogue included. A benchmark, not a test:
//     ninja -C build bench_products && build/tests/bench_products [avx512 | avx2 | sse | bf16]
#include "../codegen/run_program.h"

#include <time.h>

typedef struct Machine { const char *name, *flags; int lanes, registers; bool bf16; } Machine;

static const Machine machine[] = {
    {"avx512", "-O2 -march=native", 16, 32, false},
    {"avx2", "-O2 -march=haswell", 8, 16, false},
    {"sse", "-O2", 4, 16, false},
    {"bf16", "-O2 -march=native", 16, 32, true},            // products of operands rounded to bf16
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fill_buffers(Case *c)
{
    const Program *p = c->program;
    c->buffer = arena_array(&c->arena, void *, p->n_buffers);
    for (uint32_t b = 1; b < p->n_buffers; b++) {
        c->buffer[b] = p->buffer[b].same_as ? c->buffer[p->buffer[b].same_as] : aligned_alloc(64, (p->buffer[b].bytes + 127) / 64 * 64);
        for (size_t i = 0; i < p->buffer[b].bytes / 4; i++)
            ((float *)c->buffer[b])[i] = (float)((double)(i * 2654435761u % 2001) / 1000 - 1);
    }
}

// The best time of all launches together, in seconds.
static double best_run(Case *c, int runs)
{
    const Program *p = c->program;
    void *scratch = aligned_alloc(64, (size_t)64 << 20);
    double best = 1e9;
    memset(scratch, 0, (size_t)64 << 20);
    for (int r = 0; r < runs; r++) {
        const double start = now_s();
        for (size_t i = 0; i < p->n_launches; i++) {
            const Launch *l = &p->launch[i];
            KernelFunction *function;
            *(void **)&function = dlsym(c->library, p->kernel[l->kernel].name);
            void *args[64];
            for (uint32_t a = 0; a < p->kernel[l->kernel].n_params; a++)
                args[a] = c->buffer[l->buffer[a]];
            function(args, 0, (long)l->n_work, scratch);
        }
        const double time = now_s() - start;
        best = time < best ? time : best;
    }
    free(scratch);
    return best;
}

static void measure(const Machine *m, const char *what, const char *text, double flops)
{
    static const char *const passes[] = {"fuse_rows", "fuse_product", "fuse_loops"};
    const Target target = {.name = "cpu", .vector_floats = m->lanes, .vector_registers = m->registers,
                           .has_bf16_dot = m->bf16, .l1_bytes = 49152,
                           .l2_bytes = 1 << 20, .threads = 2};
    Case c;
    case_begin(&c, text, &target);
    if (!run_passes(&c, passes, 3))
        fail_msg("passes: %s", case_error(&c));
    case_compile(&c, "cc", arena_printf(&c.arena, "%s -fno-math-errno -fno-trapping-math -ffp-contract=fast", m->flags));
    fill_buffers(&c);
    const double time = best_run(&c, 10);
    printf("%-44s %8.2f ms %8.1f GFLOP/s\n", what, time * 1e3, flops / time * 1e-9);
    for (uint32_t b = 1; b < c.program->n_buffers; b++)
        if (!c.program->buffer[b].same_as)
            free(c.buffer[b]);
    case_end(&c);
}

static void product(const Machine *m, int rows, int cols, int sum, const char *a, const char *b, bool with_gelu)
{
    Arena arena = {0};
    static const char f32[] = "  %3.c = contract %1, %2 {over = [K]} : f32[M,N]\n";
    static const char bf16[] = "  %3 = cast %1 {to = bf16}\n  %4 = cast %2 {to = bf16}\n"
                               "  %5 = contract %3, %4 {over = [K]} : bf16[M,N]\n  %6.c = cast %5 {to = f32} : f32[M,N]\n";
    const int c = m->bf16 ? 6 : 3;          // the number of the value c
    const char *gelu = arena_printf(&arena, "  %%%d.u = arg \"u\" : f32[N]\n  %%%d = add %%%d, %%%d\n"
                                    "  %%%d = map %%%d {f = gelu_tanh}\n  result \"u\" = %%%d\n  result \"y\" = %%%d\n",
                                    c + 1, c + 2, c, c + 1, c + 3, c + 2, c + 2, c + 3);
    const char *plain = arena_printf(&arena, "  result \"c\" = %%%d\n", c);
    const char *text = arena_printf(&arena, "graph @main\naxis M = %d, N = %d, K = %d\n{\n  %%1.a = arg \"a\" : f32[%s]\n"
                                    "  %%2.b = arg \"b\" : f32[%s]\n%s%s}\n", rows, cols, sum, a, b, m->bf16 ? bf16 : f32,
                                    with_gelu ? gelu : plain);
    const char *what = arena_printf(&arena, "%d x %d x %d  a[%s] b[%s]%s", rows, cols, sum, a, b, with_gelu ? " + gelu" : "");
    measure(m, what, text, 2.0 * rows * cols * sum);
    arena_free(&arena);
}

static void attention(const Machine *m, bool backward)
{
    Arena arena = {0};
    const int b = 16, h = 6, t = 256, k = 64;
    const char *back = backward
        ? "  %15.do = arg \"do\" : f32[B,T,H,K]\n  %16.dv = contract %14, %15 {over = [T]}\n  %17 = contract %15, %3 {over = [K]}\n"
          "  %18.d = arg \"d\" : f32[B,T,H]\n  %19 = sub %17, %18\n  %20 = mul %19, %14\n  %21 = const {value = 0} : f32[]\n"
          "  %22 = select %7, %20, %21\n  %23.dq = contract %22, %2 {over = [T']}\n  %24.dk = contract %1, %22 {over = [T]}\n"
          "  result \"dq\" = %23\n  result \"dk\" = %24\n  result \"dv\" = %16\n}\n"
        : "  %15.o = contract %14, %3 {over = [T']}\n  result \"o\" = %15\n}\n";
    const char *softmax = backward
        ? "  %10.m = arg \"m\" : f32[B,T,H]\n  %11 = sub %9, %10\n  %12.e = map %11 {f = exp}\n  %13.l = arg \"l\" : f32[B,T,H]\n"
        : "  %10.m = reduce %9 {f = max, over = [T']}\n  %11 = sub %9, %10\n  %12.e = map %11 {f = exp}\n"
          "  %13.l = reduce %12 {f = sum, over = [T']}\n";
    const char *text = arena_printf(&arena, "graph @main\naxis B = %d, T : time = %d, T' : time = %d twin T, H = %d, K = %d\n{\n"
        "  %%1.q = arg \"q\" : f32[B,T,H,K]\n  %%2.k = arg \"k\" : f32[B,T',H,K]\n  %%3.v = arg \"v\" : f32[B,T',H,K]\n"
        "  %%4.s = contract %%1, %%2 {over = [K]}\n  %%5 = index {axis = T'}\n  %%6 = index {axis = T}\n  %%7 = le %%5, %%6\n"
        "  %%8 = const {value = -1e30} : f32[]\n  %%9 = select %%7, %%4, %%8\n%s  %%14.p = div %%12, %%13\n%s",
        b, t, t, h, k, softmax, back);
    // Half of the products' multiplications: the causal mask's share.
    measure(m, backward ? "attention backward 16 x 6 x 256 x 64, causal" : "attention forward 16 x 6 x 256 x 64, causal", text,
            (backward ? 5.0 : 2.0) * b * h * t * t * k);
    arena_free(&arena);
}

int main(int argc, char **argv)
{
    const Machine *m = &machine[__builtin_cpu_supports("avx512f") ? 0 : __builtin_cpu_supports("avx2") ? 1 : 2];
    for (size_t i = 0; argc > 1 && i < sizeof machine / sizeof *machine; i++)
        if (strcmp(argv[1], machine[i].name) == 0)
            m = &machine[i];
    printf("%s, one thread, best of 10\n", m->name);
    product(m, 1024, 1024, 1024, "M,K", "K,N", false);
    product(m, 4096, 384, 384, "M,K", "K,N", false);
    product(m, 4096, 1536, 384, "M,K", "K,N", true);
    product(m, 4096, 384, 1536, "M,K", "K,N", false);
    product(m, 4096, 1536, 384, "M,K", "N,K", false);
    product(m, 4096, 384, 1536, "M,K", "N,K", false);
    product(m, 384, 384, 4096, "K,M", "K,N", false);
    product(m, 384, 1536, 4096, "K,M", "K,N", false);
    product(m, 1536, 384, 4096, "K,M", "K,N", false);
    product(m, 64, 256, 2048, "K,M", "K,N", false);
    if (!m->bf16) {                         // products of two activations stay float32
        attention(m, false);
        attention(m, true);
    }
    return 0;
}
