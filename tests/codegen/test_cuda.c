// The CUDA text of kernels: run on host threads through cuda_shim.h and compared with the evaluator, and, where the
// toolkit is installed, compiled with NVRTC for sm_80 and sm_90a.
#include "run_graph.h"

#include "loop_cases.h"
#include "product_cases.h"

#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

typedef void ShimKernel(void *const *p);
typedef void ShimLaunch(ShimKernel *kernel, void *const *p, long n_blocks, unsigned n_threads);

enum { THREADS = 4, MOST_BLOCKS = 400 };    // of a launch on host threads

static const char *with_sizes(char *text, size_t room, const LoopCase *c, size_t i)
{
    const char *at = strchr(c->text, '@');
    at = strchr(at + 1, '@');
    snprintf(text, room, "%.*s%s%s", (int)(at - c->text), c->text, c->sizes[i], at + 1);
    return text;
}

static bool has_cuda(const Program *p)
{
    for (size_t k = 1; k < p->n_kernels; k++)
        if (!p->kernel[k].cuda)
            return false;
    return true;
}

// Instructions of the GPU's own are for the simulator (test_sim_kernels, test_product_cuda).
static bool is_small(const Program *p)
{
    if (strstr(p->cuda_prelude, "asm"))
        return false;
    for (size_t i = 0; i < p->n_launches; i++)
        if (p->launch[i].cuda_blocks > MOST_BLOCKS)
            return false;
    return true;
}

// The CUDA text as C, and for each kernel a function that takes its arguments from an array.
static void as_c(const Program *p, Text *out)
{
    Text cuda = text_make(out->arena);
    codegen_emit_cuda(p, &cuda);
    text_printf(out, "#include \"%s/codegen/cuda_shim.h\"\n", MIXC_TESTS);
    const char *mark = "extern \"C\" __global__";
    for (const char *s = text_str(&cuda); *s;) {
        const char *next = strstr(s, mark);
        text_add_n(out, s, next ? (size_t)(next - s) : strlen(s));
        s = next ? next + strlen(mark) : s + strlen(s);
        text_add(out, next ? "static" : "");
    }
    for (size_t k = 1; k < p->n_kernels; k++) {
        text_printf(out, "void run_%s(void *const *p);\nvoid run_%s(void *const *p)\n{\n    %s(", p->kernel[k].name, p->kernel[k].name,
                    p->kernel[k].name);
        for (uint32_t i = 0; i < p->kernel[k].n_params; i++)
            text_printf(out, "%sp[%u]", i ? ", " : "", i);
        text_add(out, ");\n}\n");
    }
}

static void *build(Ran *r, const char *folder)
{
    Text c = text_make(&r->arena);
    as_c(r->program, &c);
    const char *path = arena_printf(&r->arena, "%s/kernels.c", folder), *object = arena_printf(&r->arena, "%s/kernels.so", folder);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text_str(&c), f);
    fclose(f);
    const char *command = arena_printf(&r->arena, "cc -std=gnu17 -O1 -w -shared -fPIC -o %s %s -lpthread", object, path);
    if (system(command) != 0)
        fail_msg("the CUDA text does not compile on the host:\n%s", text_str(&c));
    void *handle = dlopen(object, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(handle);
    unlink(path);
    unlink(object);
    return handle;
}

static void put(Ran *r, char *memory, BufferKind kind, ValueId v)
{
    const Node *n = &r->given->node[v];
    uint32_t b = program_find_buffer(r->program, kind, n->attr[0].name);
    if (!b)
        return;
    int64_t count = 0;
    type_count(r->given, &n->type, &count);
    char *to = memory + r->program->buffer[b].offset;
    for (int64_t i = 0; i < count; i++) {
        if (n->type.dtype == DTYPE_I32)
            ((int32_t *)(void *)to)[i] = (int32_t)r->leaf[v][i];
        else
            ((float *)(void *)to)[i] = (float)r->leaf[v][i];
    }
}

static size_t offset_of(const Program *p, uint32_t b)
{
    while (p->buffer[b].same_as)
        b = p->buffer[b].same_as;
    return p->buffer[b].offset;
}

static double worst_error(Ran *r, const char *memory)
{
    double worst = 0;
    const Graph *g = r->given;
    for (size_t i = 0; i < g->n_outputs; i++) {
        const Output *o = &g->output[i];
        const char *name = buffer_name(r, o);
        uint32_t b = program_find_buffer(r->program, o->role == OUTPUT_NEXT ? BUFFER_PARAM : BUFFER_OUTPUT, name);
        if (!b)
            b = program_find_buffer(r->program, BUFFER_STATE, name);
        const float *got = (const float *)(const void *)(memory + offset_of(r->program, b));
        const double *want = r->expected.value[o->value];
        int64_t count = 0;
        double scale = 1;
        type_count(g, &g->node[o->value].type, &count);
        for (int64_t k = 0; k < count; k++)
            scale = fabs(want[k]) > scale ? fabs(want[k]) : scale;
        for (int64_t k = 0; k < count; k++) {
            double e = fabs((double)got[k] - want[k]) / scale;
            if (!(e <= worst))
                worst = e;
        }
    }
    return worst;
}

static void check_on_threads(const char *text, double tolerance, const char *folder)
{
    Ran r;
    compile_graph(&r, text, 16);
    if (!has_cuda(r.program) || !is_small(r.program)) {
        arena_free(&r.arena);
        return;
    }
    void *handle = build(&r, folder);
    ShimLaunch *launch = (ShimLaunch *)dlsym(handle, "shim_launch");
    char *memory = aligned_alloc(64, r.program->arena_bytes + 64);
    memset(memory, 0xff, r.program->arena_bytes);       // NaN where nobody wrote
    for (ValueId v = 1; v < r.given->n_nodes; v++)
        if (r.leaf[v]) {
            Op op = r.given->node[v].op;
            put(&r, memory, op == OP_ARG ? BUFFER_INPUT : op == OP_PARAM ? BUFFER_PARAM : BUFFER_STATE, v);
        }
    for (size_t i = 0; i < r.program->n_launches; i++) {
        const Launch *l = &r.program->launch[i];
        const Kernel *k = &r.program->kernel[l->kernel];
        void *p[64];
        for (uint32_t a = 0; a < k->n_params; a++)
            p[a] = memory + offset_of(r.program, l->buffer[a]);
        ShimKernel *kernel = (ShimKernel *)dlsym(handle, arena_printf(&r.arena, "run_%s", k->name));
        assert_non_null(kernel);
        // Tiles of a product belong to a certain number of threads, and what warps do to whole ones; loops do with any.
        const bool fixed = k->family == FAMILY_CONTRACT || k->family == FAMILY_ROWS || k->family == FAMILY_SCATTER;
        launch(kernel, p, (long)l->cuda_blocks, fixed ? (unsigned)k->cuda_threads : THREADS);
    }
    double error = worst_error(&r, memory);
    if (!(error <= tolerance)) {
        Text t = text_make(&r.arena);
        codegen_emit_cuda(r.program, &t);
        fprintf(stderr, "%s\n", text_str(&t));
        fail_msg("error %g is above %g", error, tolerance);
    }
    free(memory);
    dlclose(handle);
    arena_free(&r.arena);
}

static void test_cuda_text_on_host_threads(void **state)
{
    (void)state;
    char text[8192], folder[] = "/tmp/mixc-cuda-XXXXXX";
    assert_non_null(mkdtemp(folder));
    for (size_t k = 0; k < N_LOOP_CASES; k++)
        for (size_t i = 0; i < LOOP_CASE_SIZES && loop_case[k].sizes[i]; i++)
            check_on_threads(with_sizes(text, sizeof text, &loop_case[k], i), loop_case[k].tolerance, folder);
    for (size_t k = 0; k < N_PRODUCT_CASES; k++)
        for (size_t i = 0; i < LOOP_CASE_SIZES && product_case[k].sizes[i]; i++)
            check_on_threads(with_sizes(text, sizeof text, &product_case[k], i), product_case[k].tolerance, folder);
    rmdir(folder);
}

// --- NVRTC

typedef struct Nvrtc {
    void *handle;
    int (*create)(void **program, const char *source, const char *name, int n, const char *const *headers, const char *const *names);
    int (*compile)(void *program, int n, const char *const *options);
    int (*log_size)(void *program, size_t *size);
    int (*log)(void *program, char *log);
    int (*destroy)(void **program);
} Nvrtc;

static bool open_nvrtc(Nvrtc *n)
{
    static const char *const place[] = {"libnvrtc.so", "/usr/local/cuda/lib64/libnvrtc.so", "/usr/local/cuda-13.0/lib/libnvrtc.so",
                                        "libnvrtc.so.13", "libnvrtc.so.12"};
    const char *given = getenv("MIXC_NVRTC");
    n->handle = given ? dlopen(given, RTLD_NOW) : NULL;
    for (size_t i = 0; !n->handle && i < sizeof place / sizeof *place; i++)
        n->handle = dlopen(place[i], RTLD_NOW);
    if (!n->handle)
        return false;
    *(void **)&n->create = dlsym(n->handle, "nvrtcCreateProgram");
    *(void **)&n->compile = dlsym(n->handle, "nvrtcCompileProgram");
    *(void **)&n->log_size = dlsym(n->handle, "nvrtcGetProgramLogSize");
    *(void **)&n->log = dlsym(n->handle, "nvrtcGetProgramLog");
    *(void **)&n->destroy = dlsym(n->handle, "nvrtcDestroyProgram");
    return n->create && n->compile && n->log_size && n->log && n->destroy;
}

static void compile_with(const Nvrtc *n, Arena *arena, const char *source, const char *arch)
{
    void *program = NULL;
    const char *options[] = {arch, "--std=c++17", "-DNDEBUG"};
    assert_int_equal(n->create(&program, source, "kernels.cu", 0, NULL, NULL), 0);
    if (n->compile(program, 3, options) != 0) {
        size_t size = 0;
        n->log_size(program, &size);
        char *log = arena_alloc(arena, size + 1, 1);
        n->log(program, log);
        fprintf(stderr, "%s\n%s: %s\n", source, arch, log);
        _exit(1);
    }
    n->destroy(&program);
}

static void compile_all_with(const Nvrtc *nvrtc)
{
    char text[8192];
    for (size_t k = 0; k < N_LOOP_CASES + N_PRODUCT_CASES; k++) {
        Ran r;
        const LoopCase *c = k < N_LOOP_CASES ? &loop_case[k] : &product_case[k - N_LOOP_CASES];
        compile_graph(&r, with_sizes(text, sizeof text, c, 0), 16);
        Text cuda = text_make(&r.arena);
        codegen_emit_cuda(r.program, &cuda);
        compile_with(nvrtc, &r.arena, text_str(&cuda), "--gpu-architecture=sm_80");
        compile_with(nvrtc, &r.arena, text_str(&cuda), "--gpu-architecture=sm_90a");
        arena_free(&r.arena);
    }
}

// In a process of its own, because the library keeps memory to itself that a leak checker would report.
static void test_cuda_text_compiles_with_nvrtc(void **state)
{
    (void)state;
    Nvrtc nvrtc = {0};
    if (!open_nvrtc(&nvrtc)) {
        print_message("no CUDA toolkit: skipped\n");
        skip();
    }
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        compile_all_with(&nvrtc);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cuda_text_on_host_threads),
        cmocka_unit_test(test_cuda_text_compiles_with_nvrtc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
