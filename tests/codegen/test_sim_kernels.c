// The emitted CUDA kernels of small graphs in the simulator, against the evaluator: what NVRTC makes of the text computes
// the right numbers, and none of the simulator's checks accuses a kernel. Then kernels with one edit each that it must
// accuse. Skipped where there is no NVRTC.
#include "run_graph.h"

#include "loop_cases.h"
#include "product_cases.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *with_sizes(char *text, size_t room, const LoopCase *c, size_t i)
{
    const char *at = strchr(strchr(c->text, '@') + 1, '@');
    snprintf(text, room, "%.*s%s%s", (int)(at - c->text), c->text, c->sizes[i], at + 1);
    return text;
}

static bool is_for_sim(const Program *p)
{
    for (size_t k = 1; k < p->n_kernels; k++)
        if (!p->kernel[k].cuda)
            return false;
    for (size_t i = 0; i < p->n_launches; i++)
        if (p->launch[i].cuda_blocks > 400)
            return false;
    return true;
}

// Returns 1 when the case ran, 0 when it is not for the simulator.
static int check_in_sim(Device *d, const char *text, const char *name, double tolerance)
{
    Ran r;
    StatusText why = {0};
    LoadedProgram *l = NULL;
    uint64_t bits = 1;
    compile_graph(&r, text, 16);
    const bool runs = is_for_sim(r.program);
    if (runs) {
        r.ops = &device_sim;
        if (device_sim.load(d, r.program, &l, &why) != STATUS_OK)
            fail_msg("%s: %s", name, why.text);
        write_leaves(&r, l);
        if (device_sim.run(l, &why) != STATUS_OK)
            fail_msg("%s: %s", name, why.text);
        double error = compare_outputs(&r, l, &bits);
        if (!(error <= tolerance))
            fail_msg("%s: error %g is above %g", name, error, tolerance);
        device_sim.unload(l);
    }
    arena_free(&r.arena);
    return runs;
}

static Device *open_sim(void)
{
    Device *d = NULL;
    StatusText why = {0};
    if (device_sim.open(&(DeviceOptions){.cache_dir = ""}, &d, &why) != STATUS_OK)
        fail_msg("%s", why.text);
    return d;
}

static void test_kernels_in_the_simulator(void **state)
{
    (void)state;
    char text[8192];
    Device *d = open_sim();
    int n = 0;
    for (size_t k = 0; k < N_LOOP_CASES; k++)
        n += check_in_sim(d, with_sizes(text, sizeof text, &loop_case[k], 0), loop_case[k].name, loop_case[k].tolerance);
    for (size_t k = 0; k < N_PRODUCT_CASES; k++)
        n += check_in_sim(d, with_sizes(text, sizeof text, &product_case[k], 0), product_case[k].name, product_case[k].tolerance);
    device_sim.close(d);
    print_message("%d graphs ran in the simulator\n", n);
    assert_true(n >= 20);
}

// --- kernels with one edit

static const char *replace_once(Arena *arena, const char *text, const char *old, const char *new)
{
    const char *at = strstr(text, old);
    return at ? arena_printf(arena, "%.*s%s%s", (int)(at - text), text, new, at + strlen(old)) : NULL;
}

// Edits the text of every kernel where `old` is; the run must fail with `finding`, or give other numbers when it is NULL.
static void check_mutant(Device *d, const char *old, const char *new, const char *finding)
{
    char text[8192];
    int n_edited = 0, n_killed = 0;
    for (size_t k = 0; k < N_PRODUCT_CASES && n_edited < 2; k++) {
        Ran r;
        StatusText why = {0};
        LoadedProgram *l = NULL;
        bool is_edited = false;
        compile_graph(&r, with_sizes(text, sizeof text, &product_case[k], 0), 16);
        for (size_t i = 1; is_for_sim(r.program) && i < r.program->n_kernels; i++) {
            const char *edited = replace_once(&r.arena, r.program->kernel[i].cuda, old, new);
            is_edited = is_edited || edited;
            r.program->kernel[i].cuda = edited ? edited : r.program->kernel[i].cuda;
        }
        if (is_edited) {
            r.ops = &device_sim;
            assert_int_equal(device_sim.load(d, r.program, &l, &why), STATUS_OK);
            write_leaves(&r, l);
            n_killed += device_sim.run(l, &why) != STATUS_OK && strstr(why.text, finding) && strstr(why.text, "(kernels.cu:");
            if (getenv("MIXC_TEST_VERBOSE"))
                print_message("%s\n", why.text);
            device_sim.unload(l);
            n_edited++;
        }
        arena_free(&r.arena);
    }
    if (n_edited == 0 || n_killed == 0)
        fail_msg("`%s` became `%s` in %d graphs and was found in %d", old, new, n_edited, n_killed);
}

static void test_mutants_are_accused(void **state)
{
    (void)state;
    Device *d = open_sim();
    check_mutant(d, "                __syncthreads();\n            }\n", "            }\n", "with no barrier between");
    check_mutant(d, "copies_wait_s(1)", "copies_wait_s(2)", "while a copy to it is under way");
    check_mutant(d, "% 3 * 4096;", "% 3 * 5120;", "of shared memory, which has 12288");
    check_mutant(d, "if (i < ", "if (i + 1 <= 1 + (blockIdx.x + 1)*", "nothing orders blocks");
    device_sim.close(d);
}

static int run_here(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernels_in_the_simulator),
        cmocka_unit_test(test_mutants_are_accused),
    };
    Device *d = NULL;
    StatusText why = {0};
    if (device_sim.open(&(DeviceOptions){.cache_dir = ""}, &d, &why) != STATUS_OK) {
        fprintf(stderr, "skipped: %s\n", why.text);
        return 77;
    }
    device_sim.close(d);
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}

// In a process of its own, because NVRTC keeps memory to itself that a leak checker would report.
int main(void)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        int code = run_here();
        fflush(NULL);
        _exit(code);
    }
    int status = 0;
    return child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) ? 1 : WEXITSTATUS(status);
}
