// Trials of kernels: right schedules are timed, wrong results and crashes are told apart, texts of schedules read back.
#include "trial_process.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

// y[I,J] = relu(sum over K of a[I,K] * b[K,J]), one product kernel.
static Graph *product(Arena *arena, Diag *diag, int64_t rows)
{
    Graph *g = graph_make(arena, diag, "main");
    const AxisId i = graph_axis(g, "I", AXIS_FEATURE, rows, 0), k = graph_axis(g, "K", AXIS_FEATURE, 70, 0),
                 j = graph_axis(g, "J", AXIS_FEATURE, 45, 0);
    const ValueId a = graph_leaf(g, OP_ARG, "a", type_make(DTYPE_F32, (AxisId[]){i, k}, 2));
    const ValueId b = graph_leaf(g, OP_PARAM, "b", type_make(DTYPE_F32, (AxisId[]){k, j}, 2));
    const ValueId c = graph_contract(g, a, b, &k, 1);
    const ValueId y = graph_map(g, ACT_RELU, c);
    g->node[c].kernel = 0;
    g->node[y].kernel = graph_add_kernel(g, FAMILY_CONTRACT);
    graph_output(g, OUTPUT_RESULT, "y", y);
    return g;
}

typedef struct Fixture {
    Arena   arena;
    Sources sources;
    Diag    diag;
    Graph  *whole, *kernel;
    Target  target;
} Fixture;

static int set_up(void **state)
{
    Fixture *f = calloc(1, sizeof *f);
    arena_init(&f->arena);
    f->sources = sources_make(&f->arena);
    f->diag = diag_make(&f->arena, &f->sources);
    f->whole = product(&f->arena, &f->diag, 61);
    f->kernel = codegen_kernel_graph(&f->arena, &f->diag, f->whole, 1);
    f->target = (Target){.name = "cpu", .vector_floats = 8, .vector_registers = 16, .l1_bytes = 32768, .l2_bytes = 1 << 20, .threads = 2};
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    Fixture *f = *state;
    arena_free(&f->arena);
    free(f);
    return 0;
}

// What the trial says, in a child so that a crash stays there. *out_how: as waitpid gives it.
static char *run(Fixture *f, const DeviceOps *ops, const Schedule *schedule, size_t n, int *out_how)
{
    char path[] = "/tmp/mixc-trial-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    const pid_t pid = fork();
    if (pid == 0) {
        FILE *out = fdopen(fd, "w");
        trial_run(&(Trial){.g = f->kernel, .target = &f->target, .schedule = schedule, .n = n, .ops = ops, .seconds = 0.001,
                           .on_device = &(DeviceOptions){.threads = 2, .cache_dir = ""}}, out);
        fflush(out);
        _exit(0);
    }
    waitpid(pid, out_how, 0);
    char *text = arena_array(&f->arena, char, 65536);
    const ssize_t got = pread(fd, text, 65535, 0);
    assert_true(got >= 0);
    close(fd);
    unlink(path);
    return text;
}

static void all_candidates_are_right(void **state)
{
    Fixture *f = *state;
    Candidate *candidate;
    const size_t n = codegen_candidates(&f->arena, f->whole, 1, &f->target, 12, &candidate);
    Schedule schedule[12];
    int how;
    assert_true(n > 4);
    assert_true(schedule_is_default(&candidate[0].schedule));
    for (size_t i = 0; i < n; i++) {
        Schedule back;
        schedule[i] = candidate[i].schedule;
        assert_true(schedule_parse(schedule_text(&f->arena, &schedule[i]), &back));
        assert_memory_equal(&back, &schedule[i], sizeof back);
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(&schedule[k], &schedule[i], sizeof back);
        assert_true(candidate[i].cycles > 0);
    }
    Candidate *few;
    assert_int_equal(codegen_candidates(&f->arena, f->whole, 1, &f->target, 4, &few), 4);
    for (size_t i = 0; i < 4; i++)          // fewer are the first of more
        assert_memory_equal(&few[i].schedule, &candidate[i].schedule, sizeof few[i].schedule);
    const char *said = run(f, &device_cpu, schedule, n, &how);
    assert_int_equal(how, 0);
    for (size_t i = 0; i < n; i++)
        assert_non_null(strstr(said, arena_printf(&f->arena, "ok %zu ", i)));
    assert_null(strstr(said, "wrong"));
}

// Any numbers whatever give a right kernel.
static void odd_schedules_are_right(void **state)
{
    Fixture *f = *state;
    static const char *const text[] = {
        "default", "tile_rows=1 tile_vectors=1", "tile_rows=99 tile_vectors=7", "rows=1 cols=1 terms=1 pack=1", "rows=99999 pack=2",
        "tile_rows=3 tile_vectors=4 rows=5 cols=7 terms=9 pack=2", "terms=999999",
    };
    enum { N = sizeof text / sizeof *text };
    Schedule schedule[N];
    int how;
    for (size_t i = 0; i < N; i++)
        assert_true(schedule_parse(text[i], &schedule[i]));
    const char *said = run(f, &device_cpu, schedule, N, &how);
    assert_int_equal(how, 0);
    for (size_t i = 0; i < N; i++)
        assert_non_null(strstr(said, arena_printf(&f->arena, "ok %zu ", i)));
}

static void bad_texts_are_refused(void **state)
{
    (void)state;
    static const char *const text[] = {"", "rows", "rows=", "rows=0", "rows=x", "rows=-3", "columns=4", "rows=4  cols=5", "rows=4 ",
                                       "rows=99999999999"};
    Schedule s;
    for (size_t i = 0; i < sizeof text / sizeof *text; i++)
        assert_false(schedule_parse(text[i], &s));
}

// Devices that err from the second program on.
static int loads;
static Status load_counted(Device *device, const Program *p, LoadedProgram **out, StatusText *why)
{
    loads++;
    return device_cpu.load(device, p, out, why);
}

static Status read_wrong(LoadedProgram *loaded, uint32_t buffer, size_t offset, void *data, size_t bytes, StatusText *why)
{
    const Status status = device_cpu.read(loaded, buffer, offset, data, bytes, why);
    if (loads == 2)
        ((float *)data)[7] += 0.5f;
    return status;
}

static Status run_crashing(LoadedProgram *loaded, StatusText *why)
{
    if (loads == 2)
        _exit(9);
    return device_cpu.run(loaded, why);
}

static void wrong_results_are_told(void **state)
{
    Fixture *f = *state;
    DeviceOps ops = device_cpu;
    Schedule schedule[3] = {{{0}}, {{0}}, {{0}}};
    int how;
    ops.load = load_counted;
    ops.read = read_wrong;
    schedule[1].knob[KNOB_TERMS] = 16;
    schedule[2].knob[KNOB_TERMS] = 32;
    const char *said = run(f, &ops, schedule, 3, &how);
    assert_non_null(strstr(said, "wrong 1 element 7 of y1"));
    assert_non_null(strstr(said, "ok 0 "));
    assert_null(strstr(said, "ok 1 "));
    assert_non_null(strstr(said, "ok 2 "));
}

static void a_crash_names_its_schedule(void **state)
{
    Fixture *f = *state;
    DeviceOps ops = device_cpu;
    Schedule schedule[2] = {{{0}}, {{0}}};
    int how;
    ops.load = load_counted;
    ops.run = run_crashing;
    schedule[1].knob[KNOB_TERMS] = 16;
    const char *said = run(f, &ops, schedule, 2, &how);
    assert_int_not_equal(how, 0);
    assert_non_null(strstr(said, "try 1"));
    assert_null(strstr(said, "ok"));
}

static Status run_failing(LoadedProgram *loaded, StatusText *why)
{
    if (loads == 1)
        return status_fail(why, STATUS_IO, "no run\nwrong 2 is not what this says");
    return device_cpu.run(loaded, why);
}

// Where the first schedule cannot be run and the evaluator says nothing, the next one is what the others are held against.
static void the_first_may_fail(void **state)
{
    Fixture *f = *state;
    DeviceOps ops = device_cpu;
    Schedule schedule[3] = {{{0}}, {{0}}, {{0}}};
    int how;
    f->whole = product(&f->arena, &f->diag, 40000);         // too large for the evaluator
    f->kernel = codegen_kernel_graph(&f->arena, &f->diag, f->whole, 1);
    ops.load = load_counted;
    ops.run = run_failing;
    schedule[1].knob[KNOB_TERMS] = 16;
    schedule[2].knob[KNOB_TERMS] = 32;
    const char *said = run(f, &ops, schedule, 3, &how);
    assert_int_equal(how, 0);
    assert_non_null(strstr(said, "refused 0 no run wrong 2"));
    assert_non_null(strstr(said, "ok 1 "));
    assert_non_null(strstr(said, "ok 2 "));
}

static Status open_failing(const DeviceOptions *options, Device **out_device, StatusText *why)
{
    (void)options, (void)out_device;
    return status_fail(why, STATUS_OUT_OF_MEMORY, "no threads");
}

// What is wrong with the machine is not held against a schedule.
static void no_device_refuses_nothing(void **state)
{
    Fixture *f = *state;
    DeviceOps ops = device_cpu;
    int how;
    ops.open = open_failing;
    assert_string_equal(run(f, &ops, &(Schedule){{0}}, 1, &how), "unable 0 no threads\n");
    assert_int_equal(how, 0);
}

// The kernel as a graph of its own has the key that it has in its model.
static void keys_agree(void **state)
{
    Fixture *f = *state;
    KernelClass *a, *b;
    assert_int_equal(codegen_kernel_classes(&f->arena, f->whole, &a), 1);
    assert_int_equal(codegen_kernel_classes(&f->arena, f->kernel, &b), 1);
    assert_true(a->key == b->key);
}

// A trial goes to another process as text, and means the same there; what is no trial is said to be none.
static void a_trial_is_text(void **state)
{
    Fixture *f = *state;
    static const char *const bad[] = {"", "nonsense\n", "device moon\ngraph\n", "device cpu\ntry rows=x\ngraph\n", "device cpu\ntry default\ngraph\n(\n"};
    char text[16384] = {0}, said[4096] = {0};
    Schedule schedule[2] = {{{0}}, {{0}}};
    schedule[1].knob[KNOB_TERMS] = 16;
    FILE *to = fmemopen(text, sizeof text, "w");
    trial_print(&(Trial){.g = f->kernel, .schedule = schedule, .n = 2, .ops = &device_cpu, .seconds = 0.001,
                         .on_device = &(DeviceOptions){.threads = 2, .cache_dir = ""}}, to);
    fclose(to);
    assert_non_null(strstr(text, "device cpu\nthreads 2\nseconds 0.001"));
    assert_non_null(strstr(text, "\ntry default\ntry terms=16\ngraph\n"));
    FILE *in = fmemopen(text, strlen(text), "r"), *out = fmemopen(said, sizeof said - 1, "w");
    assert_int_equal(trial_serve(in, out), 0);
    fclose(in);
    fclose(out);
    assert_non_null(strstr(said, "try 0 \ntry 1 \nok 0 "));
    assert_non_null(strstr(said, "ok 1 "));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memset(said, 0, sizeof said);
        in = *bad[i] ? fmemopen((char *)(uintptr_t)bad[i], strlen(bad[i]), "r") : fopen("/dev/null", "r");
        out = fmemopen(said, sizeof said - 1, "w");
        assert_int_not_equal(trial_serve(in, out), 0);
        fclose(in);
        fclose(out);
        assert_string_equal(said, "unable 0 what to try cannot be read\n");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_candidates_are_right, set_up, tear_down),
        cmocka_unit_test_setup_teardown(odd_schedules_are_right, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_results_are_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_crash_names_its_schedule, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_first_may_fail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_device_refuses_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_trial_is_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_agree, set_up, tear_down),
        cmocka_unit_test(bad_texts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
