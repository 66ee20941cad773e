// A token that has halted (choice -1) costs an expert layer nothing but its place: no kernel of the layer, forward or
// backward, reads the token's rows, nor the matrices of an expert that nobody chose. Such rows and matrices lie on pages
// that may not be touched while the generated kernels run.
#define _GNU_SOURCE
#include "run_graph.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

// Choices are one less than the leaf: some -1, and nobody chooses the last expert. A row of D floats is two pages.
static const char layer[] =
    "graph @main\naxis T : time = 40, E : expert = 5, D = 2048, F = 64\n{\n"
    "  %1.i = arg \"i\" : int[T]\n  %2 = const {value = 1} : int[]\n  %3 = sub %1, %2\n"
    "  %4.x = arg \"x\" : f32[T,D]\n  %5.dy = arg \"dy\" : f32[T,D]\n"
    "  %6.W1 = param \"W1\" : f32[E,D,F]\n  %7.W2 = param \"W2\" : f32[E,F,D]\n"
    "  %8 = take %6, %3 {axis = E}\n  %9 = take %7, %3 {axis = E}\n"
    "  %10.u = contract %4, %8 {over = [D]}\n  %11.h = map %10 {f = silu}\n  %12.y = contract %11, %9 {over = [F]}\n"
    "  %13 = contract %5, %9 {over = [D]}\n  %14 = slope %10 {f = silu}\n  %15.du = mul %13, %14\n"
    "  %16.dx = contract %15, %8 {over = [F]}\n  %17 = mul %11, %5\n  %18 = put_add %17, %3 {over = [T], to = E}\n"
    "  %19 = mul %4, %15\n  %20 = put_add %19, %3 {over = [T], to = E}\n"
    "  result \"y\" = %12\n  grad \"input.x\" = %16\n  grad \"param.W1\" = %20\n  grad \"param.W2\" = %18\n}\n";
enum { T = 40, E = 5, D = 2048, F = 64, MAX_BUFFERS = 64 };

typedef void KernelFunction(void *const *p, long begin, long end, void *scratch);

typedef struct Bench {
    Ran   r;
    void *library, *scratch;
    char  folder[64];
    char *data[MAX_BUFFERS];                // of each buffer; on pages of its own
    size_t bytes[MAX_BUFFERS];
} Bench;

static sigjmp_buf on_touch;
static char *volatile touched;

static void touch(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    touched = info->si_addr;
    siglongjmp(on_touch, 1);
}

static void compile(Bench *b)
{
    Text text = text_make(&b->r.arena);
    codegen_emit_c(b->r.program, &text);
    strcpy(b->folder, "/tmp/mixc_halted_XXXXXX");
    assert_non_null(mkdtemp(b->folder));
    const char *source = arena_printf(&b->r.arena, "%s/k.c", b->folder), *out = arena_printf(&b->r.arena, "%s/k.so", b->folder);
    FILE *f = fopen(source, "w");
    assert_non_null(f);
    fputs(text_str(&text), f);
    fclose(f);
    const char *compiler = getenv("CC") ? getenv("CC") : "cc";
    assert_int_equal(system(arena_printf(&b->r.arena, "%s -w -O1 -shared -fPIC -o %s %s -lm", compiler, out, source)), 0);
    b->library = dlopen(out, RTLD_NOW);
    assert_non_null(b->library);
    unlink(source);
    unlink(out);
    rmdir(b->folder);
}

static void open_bench(Bench *b)
{
    *b = (Bench){0};
    compile_graph(&b->r, layer, 8);
    compile(b);
    const Program *p = b->r.program;
    size_t scratch = 64;
    assert_true(p->n_buffers < MAX_BUFFERS);
    for (uint32_t i = 1; i < p->n_buffers; i++) {
        b->bytes[i] = (bytes_of(p, i) + 64 + 8191) / 8192 * 8192;
        b->data[i] = mmap(NULL, b->bytes[i], PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(b->data[i] != MAP_FAILED);
    }
    for (size_t k = 0; k < p->n_kernels; k++)
        scratch = p->kernel[k].scratch_bytes > scratch ? p->kernel[k].scratch_bytes : scratch;
    b->scratch = aligned_alloc(64, (scratch + 63) / 64 * 64);
    for (ValueId v = 1; v < b->r.given->n_nodes; v++) {
        if (!b->r.leaf[v])
            continue;
        const Node *n = &b->r.given->node[v];
        uint32_t at = program_find_buffer(p, n->op == OP_ARG ? BUFFER_INPUT : BUFFER_PARAM, n->attr[0].name);
        size_t count = bytes_of(p, at) / 4;
        for (size_t i = 0; i < count; i++) {
            if (n->type.dtype == DTYPE_I32)
                ((int32_t *)(void *)b->data[at])[i] = (int32_t)b->r.leaf[v][i];
            else
                ((float *)(void *)b->data[at])[i] = (float)b->r.leaf[v][i];
        }
    }
}

static void close_bench(Bench *b)
{
    for (uint32_t i = 1; i < b->r.program->n_buffers; i++)
        munmap(b->data[i], b->bytes[i]);
    free(b->scratch);
    dlclose(b->library);
    arena_free(&b->r.arena);
}

// Runs all launches; false when a page was touched that may not be.
static bool run(Bench *b)
{
    const Program *p = b->r.program;
    struct sigaction action = {.sa_sigaction = touch, .sa_flags = SA_SIGINFO}, before;
    assert_int_equal(sigaction(SIGSEGV, &action, &before), 0);
    bool whole = sigsetjmp(on_touch, 1) == 0;
    for (size_t i = 0; whole && i < p->n_launches; i++) {
        const Launch *l = &p->launch[i];
        void *argument[MAX_BUFFERS];
        KernelFunction *f = NULL;
        void *symbol = dlsym(b->library, p->kernel[l->kernel].name);
        memcpy(&f, &symbol, sizeof f);
        assert_non_null(symbol);
        for (uint32_t k = 0; k < p->kernel[l->kernel].n_params; k++)
            argument[k] = b->data[l->buffer[k]];
        f(argument, 0, (long)l->n_work, b->scratch);
    }
    sigaction(SIGSEGV, &before, NULL);
    return whole;
}

static int32_t choice_of(const Bench *b, int t)
{
    return ((const int32_t *)(const void *)b->data[program_find_buffer(b->r.program, BUFFER_INPUT, "i")])[t] - 1;
}

// Forbids (or allows) the row of token t in x and dy, or the matrices of expert e.
static void forbid(Bench *b, BufferKind kind, const char *name, int at, size_t bytes, bool yes)
{
    uint32_t buffer = program_find_buffer(b->r.program, kind, name);
    assert_int_not_equal(buffer, 0);
    assert_int_equal(mprotect(b->data[buffer] + (size_t)at * bytes, bytes, yes ? PROT_NONE : PROT_READ | PROT_WRITE), 0);
}

static int forbid_halted(Bench *b, bool yes)
{
    int n = 0;
    for (int t = 0; t < T; t++)
        if (choice_of(b, t) < 0) {
            forbid(b, BUFFER_INPUT, "x", t, D * 4, yes);
            forbid(b, BUFFER_INPUT, "dy", t, D * 4, yes);
            n++;
        }
    forbid(b, BUFFER_PARAM, "W1", E - 1, (size_t)D * F * 4, yes);
    forbid(b, BUFFER_PARAM, "W2", E - 1, (size_t)D * F * 4, yes);
    return n;
}

static void check_output(Bench *b, const char *name, ValueId value, size_t count)
{
    uint32_t at = program_find_buffer(b->r.program, BUFFER_OUTPUT, name);
    const float *got = (const float *)(const void *)b->data[at];
    const double *want = b->r.expected.value[value];
    double worst = 0, scale = 1;
    for (size_t i = 0; i < count; i++)
        scale = fabs(want[i]) > scale ? fabs(want[i]) : scale;
    for (size_t i = 0; i < count; i++)
        worst = !(fabs((double)got[i] - want[i]) <= worst) ? fabs((double)got[i] - want[i]) : worst;
    if (!(worst <= 1e-5 * scale))
        fail_msg("%s: error %g at scale %g", name, worst, scale);
}

static void halted_tokens_are_not_touched(void **state)
{
    (void)state;
    assert_int_equal(8192 % sysconf(_SC_PAGESIZE), 0);      // or rows share pages
    Bench b;
    open_bench(&b);
    size_t n_grouped = 0;
    for (size_t k = 1; k < b.r.fused->n_kernels; k++)
        n_grouped += b.r.fused->kernel[k] == FAMILY_GROUPED;
    assert_int_equal(n_grouped, 6);
    int n = forbid_halted(&b, true);
    assert_true(n >= 3 && n <= T - 10);
    if (!run(&b))
        fail_msg("a kernel touched %p", (void *)touched);
    forbid_halted(&b, false);
    check_output(&b, "output.y", 12, (size_t)T * D);
    check_output(&b, "grad.input.x", 16, (size_t)T * D);
    check_output(&b, "grad.param.W1", 20, (size_t)E * D * F);
    check_output(&b, "grad.param.W2", 18, (size_t)E * D * F);
    close_bench(&b);
}

// The means of the test work: a token that has not halted, and an expert that somebody chose, are touched.
static void others_are_touched(void **state)
{
    (void)state;
    Bench b;
    open_bench(&b);
    int t = 0;
    while (t < T && choice_of(&b, t) < 0)
        t++;
    assert_true(t < T);
    int e = choice_of(&b, t);
    forbid(&b, BUFFER_INPUT, "x", t, D * 4, true);
    assert_false(run(&b));
    forbid(&b, BUFFER_INPUT, "x", t, D * 4, false);
    forbid(&b, BUFFER_PARAM, "W2", e, (size_t)D * F * 4, true);
    assert_false(run(&b));
    forbid(&b, BUFFER_PARAM, "W2", e, (size_t)D * F * 4, false);
    assert_true(run(&b));
    close_bench(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halted_tokens_are_not_touched),
        cmocka_unit_test(others_are_touched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
