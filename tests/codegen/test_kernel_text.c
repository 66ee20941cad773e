// The text of generated kernels as such: the whole file compiles alone with warnings as errors, with and without an
// instruction set, by each compiler at hand; the same graph gives the same bytes; equal structures share a kernel; no
// byte of it comes from names that are not checked identifiers.
#include "run_graph.h"

#include "loop_cases.h"
#include "merge_kernels.h"

#include <unistd.h>

static const char *with_sizes(char *text, size_t room, const LoopCase *c, size_t i)
{
    const char *at = strchr(c->text, '@');
    at = strchr(at + 1, '@');
    snprintf(text, room, "%.*s%s%s", (int)(at - c->text), c->text, c->sizes[i], at + 1);
    return text;
}

static char *emit(const char *text, int lanes)
{
    Ran r;
    compile_graph(&r, text, lanes);
    Text c = text_make(&r.arena);
    codegen_emit_c(r.program, &c);
    char *copy = strdup(text_str(&c));
    arena_free(&r.arena);
    return copy;
}

static void compile_alone(const char *c, const char *command)
{
    char path[] = "/tmp/mixc-text-XXXXXX.c", line[512];
    int fd = mkstemps(path, 2);
    assert_true(fd >= 0);
    assert_true(write(fd, c, strlen(c)) == (ssize_t)strlen(c));
    close(fd);
    snprintf(line, sizeof line, "%s -std=c17 -Wall -Wextra -Werror -O1 -c -o /dev/null %s", command, path);
    int status = system(line);
    unlink(path);
    if (status != 0) {
        fprintf(stderr, "%s\n", c);
        fail_msg("`%s` does not take it", command);
    }
}

static bool there_is(const char *compiler)
{
    char line[128];
    snprintf(line, sizeof line, "command -v %s > /dev/null 2>&1", compiler);
    return system(line) == 0;
}

// All cases in one file for each vector length.
static void test_compiles_alone(void **state)
{
    (void)state;
    char text[8192];
    static const int lanes[] = {4, 8, 16};
    for (size_t k = 0; k < N_LOOP_CASES; k++) {
        char *c = emit(with_sizes(text, sizeof text, &loop_case[k], 0), lanes[k % 3]);
        assert_null(strstr(c, "#pragma"));
        compile_alone(c, "cc");
        if (k % 3 == 0 && there_is("clang"))
            compile_alone(c, "clang -march=native");
        if (k % 3 == 1 && there_is("gcc"))
            compile_alone(c, "gcc -march=native");
        free(c);
    }
}

static void test_same_bytes(void **state)
{
    (void)state;
    char text[8192];
    for (size_t k = 0; k < N_LOOP_CASES; k++) {
        char *a = emit(with_sizes(text, sizeof text, &loop_case[k], 0), 8), *b = emit(text, 8);
        assert_string_equal(a, b);
        free(a);
        free(b);
    }
}

// Two layers of the same structure under other names: one kernel, two launches.
static void test_equal_structures_share(void **state)
{
    (void)state;
    Ran r;
    compile_graph(&r, "graph @main\naxis B = 10, D = 32, E = 32\n{\n"
                  "  %1.x = arg \"x\" : f32[B,D]\n  %2.a = param \"l0.gain\" : f32[D]\n  %3.b = param \"l1.other\" : f32[E]\n"
                  "  %4.h = mul %1, %2\n  %5.y = map %4 {f = gelu}\n  %6.z = arg \"z\" : f32[B,E]\n  %7.k = mul %6, %3\n"
                  "  %8.w = map %7 {f = gelu}\n  result \"y\" = %5\n  result \"w\" = %8\n}\n", 16);
    assert_int_equal(r.program->n_kernels, 2);
    assert_int_equal(r.program->n_launches, 2);
    arena_free(&r.arena);
}

// Streams are arguments, so that masks share kernels too: one for the keys, one for both masks.
static void test_random_streams_share(void **state)
{
    (void)state;
    Ran r;
    compile_graph(&r, "graph @main\naxis B = 10, D = 32\n{\n  %1.x = arg \"x\" : f32[B,D]\n  %2.z = arg \"z\" : f32[B,D]\n"
                  "  %3.seed = arg \"seed\" : int[]\n  %4.step = arg \"step\" : int[]\n"
                  "  %5 = random %3, %4 {stream = 5} : f32[B,D]\n  %6.y = mul %1, %5\n"
                  "  %7 = random %3, %4 {stream = 77} : f32[B,D]\n  %8.w = mul %2, %7\n"
                  "  result \"y\" = %6\n  result \"w\" = %8\n}\n", 16);
    assert_int_equal(r.program->n_kernels - 1, 2);
    assert_int_equal(r.program->n_launches, 3);
    arena_free(&r.arena);
}

static Program *kernels(Arena *arena, const char *const *text, size_t n)
{
    Program *p = program_make(arena, "main");
    for (size_t i = 0; i < n; i++) {
        const char *name = arena_printf(arena, "k%zu_f", i + 1);
        const uint32_t k = program_add_kernel(p, (Kernel){.name = name, .text = arena_printf(arena, text[i], name), .n_params = 1, .writes = 1});
        program_add_launch(p, (Launch){.kernel = k, .buffer = arena_array(arena, uint32_t, 1)});
    }
    merge_kernels(p, arena);
    return p;
}

// Graphs that differ, texts that do not: kernels are compared by what they do, not by what their variables are called.
static void test_names_do_not_matter(void **state)
{
    (void)state;
    static const char *const same[] = {
        "// dgain: adds up\nvoid %s(void *const *p, long n)\n{\n    float *x = p[0];\n    const vf y = exp_v(x[n]);   // why\n}\n",
        "// dbias: adds up\nvoid %s(void *const *p, long m)\n{\n    float *y = p[0];\n    const vf x = exp_v(y[m]);\n}\n",
    };
    static const char *const other[] = {
        "void %s(long n)\n{\n    float x = 0, *y = 0;\n    long a = n, b = n;\n    f(x, a);\n}\n",
        "void %s(long n)\n{\n    float x = 0, *y = 0;\n    long a = n, b = n;\n    g(x, a);\n}\n",      // another helper
        "void %s(long n)\n{\n    float x = 0, *y = 0;\n    long b = n, a = n;\n    f(x, a);\n}\n",      // another of the two
        "void %s(long n)\n{\n    float x = 0, *y = 0;\n    long a = n, b = n;\n    f(x, 1);\n}\n",      // another number
        "void %s(long n)\n{\n    float x = 0, *y = 0;\n    int a = n, b = n;\n    f(x, a);\n}\n",       // another type
    };
    Arena arena = {0};
    Program *p = kernels(&arena, same, 2);
    assert_int_equal(p->n_kernels - 1, 1);
    assert_int_equal(p->launch[0].kernel, 1);
    assert_int_equal(p->launch[1].kernel, 1);
    assert_string_equal(p->kernel[1].name, "k1_f");
    assert_int_equal(kernels(&arena, other, 5)->n_kernels - 1, 5);
    arena_free(&arena);
    Ran r;                                  // two gradients' sums over chunks, and two sums of squares
    compile_graph(&r, "graph @main\naxis B = 2048, D = 48, E = 48\n{\n  %1.x = arg \"x\" : f32[B,D]\n  %2.z = arg \"z\" : f32[B,E]\n"
                  "  %3.h = map %1 {f = exp}\n  %4.dgain = reduce %3 {f = sum, over = [B]}\n  %5.dbias = reduce %2 {f = sum, over = [B]}\n"
                  "  result \"y\" = %4\n  result \"w\" = %5\n}\n", 16);
    assert_int_equal(r.program->n_launches, 4);
    assert_int_equal(r.program->n_kernels - 1, 3);
    arena_free(&r.arena);
}

// Names that are C keywords, helpers, or carry primes and numbers.
static void test_names(void **state)
{
    (void)state;
    check_graph("graph @main\naxis int = 5, T = 20, T' = 20 twin T\n{\n"
                "  %1.for = arg \"for\" : f32[int,T]\n  %2.exp_v = map %1 {f = exp}\n  %3.begin = rename %2 {from = [T], to = [T']}\n"
                "  %4.x_ = add %3, %3\n  %5.p = map %4 {f = log}\n  %6.q = reverse %5 {axis = T'}\n  result \"y\" = %6\n}\n", 3e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compiles_alone),
        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_equal_structures_share),
        cmocka_unit_test(test_random_streams_share),
        cmocka_unit_test(test_names_do_not_matter),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
