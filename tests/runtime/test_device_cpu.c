// The cpu device: compiles, loads, runs and keeps state; the same for any number of threads; compiled kernels are
// found again, damaged ones are made again, and a compiler that is missing or broken is a clear message.
#include "device.h"
#include "programs.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/mixc-test-XXXXXX";

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const char *path(const char *name)
{
    static char text[256];
    snprintf(text, sizeof text, "%s/%s", folder, name);
    return text;
}

static void run_affine(Device *d, LoadStats *out_stats)
{
    Arena arena = {0};
    StatusText why = {0};
    LoadedProgram *l = NULL;
    float x[N], y[N], count = 0;
    const Program *p = make_affine(&arena);
    for (int i = 0; i < N; i++)
        x[i] = (float)i * 0.5f;
    assert_int_equal(device_cpu.load(d, p, &l, &why), STATUS_OK);
    assert_string_equal(why.text, "");
    for (int run = 1; run <= 3; run++) {
        memset(y, 0, sizeof y);
        assert_int_equal(device_cpu.write(l, 1, 0, x, sizeof x, &why), STATUS_OK);
        assert_int_equal(device_cpu.run(l, &why), STATUS_OK);
        assert_int_equal(device_cpu.read(l, 3, 0, y, sizeof y, &why), STATUS_OK);
        assert_int_equal(device_cpu.read(l, 4, 0, &count, sizeof count, &why), STATUS_OK);
        for (int i = 0; i < N; i++)
            assert_true(y[i] == (float)i + 1);
        assert_true(count == (float)run);
    }
    device_cpu.stats(l, out_stats);
    assert_int_equal(out_stats->launches, 9);
    device_cpu.unload(l);
    arena_free(&arena);
}

static void test_runs_for_any_number_of_threads(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 5; threads++) {
        DeviceOptions options = {.threads = threads, .cache_dir = ""};
        StatusText why = {0};
        Device *d = NULL;
        LoadStats stats;
        Target target;
        assert_int_equal(device_cpu.open(&options, &d, &why), STATUS_OK);
        device_cpu.target(d, &target);
        assert_int_equal(target.threads, threads);
        assert_true(target.vector_floats >= 4 && target.l1_bytes > 0);
        run_affine(d, &stats);
        assert_int_equal(stats.cache_hits, 0);
        device_cpu.close(d);
    }
}

static LoadStats run_once(const char *cache)
{
    DeviceOptions options = {.threads = 2, .cache_dir = cache};
    StatusText why = {0};
    Device *d = NULL;
    LoadStats stats;
    assert_int_equal(device_cpu.open(&options, &d, &why), STATUS_OK);
    run_affine(d, &stats);
    static char refused[512];               // the text belongs to the device
    snprintf(refused, sizeof refused, "%s", stats.cache_refused ? stats.cache_refused : "");
    stats.cache_refused = refused;
    device_cpu.close(d);
    return stats;
}

static void test_finds_what_it_compiled(void **state)
{
    (void)state;
    char cache[256];
    snprintf(cache, sizeof cache, "%s", path("cache/deep"));
    LoadStats first = run_once(cache), second = run_once(cache);
    assert_int_equal(first.units, 2);
    assert_int_equal(first.cache_hits, 0);
    assert_int_equal(second.cache_hits, 2);
    assert_string_equal(second.cache_refused, "");
    print_message("compile: cold %.0f ms, warm %.1f ms\n", first.compile_s * 1e3, second.compile_s * 1e3);
    struct stat st;
    assert_int_equal(stat(cache, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    // Damage every entry: each is made again, silently, and counted.
    char command[512];
    snprintf(command, sizeof command, "for f in %s/*.mixo; do printf X | dd of=$f bs=1 seek=200 conv=notrunc 2>/dev/null; done",
             cache);
    assert_int_equal(system(command), 0);
    LoadStats third = run_once(cache), fourth = run_once(cache);
    assert_int_equal(third.cache_hits, 0);
    assert_int_equal(third.cache_damaged, 2);
    assert_int_equal(fourth.cache_hits, 2);
    // A folder that others may write to is not used.
    assert_int_equal(chmod(cache, 0777), 0);
    LoadStats fifth = run_once(cache);
    assert_int_equal(fifth.cache_hits, 0);
    assert_non_null(strstr(fifth.cache_refused, "mode 777"));
    assert_int_equal(chmod(cache, 0700), 0);
}

static Status load_with(const char *compiler, StatusText *why)
{
    Arena arena = {0};
    DeviceOptions options = {.threads = 2, .cache_dir = "", .compiler = compiler};
    Device *d = NULL;
    LoadedProgram *l = NULL;
    assert_int_equal(device_cpu.open(&options, &d, why), STATUS_OK);
    Status s = device_cpu.load(d, make_affine(&arena), &l, why);
    device_cpu.unload(l);
    device_cpu.close(d);
    arena_free(&arena);
    return s;
}

static const char *make_script(const char *name, const char *body)
{
    const char *script = path(name);
    FILE *f = fopen(script, "w");
    assert_non_null(f);
    fprintf(f, "#!/bin/sh\n%s\n", body);
    fclose(f);
    assert_int_equal(chmod(script, 0700), 0);
    return script;
}

static void expect_no_compiler(const char *compiler, const char *fragment)
{
    StatusText why = {0};
    double begin = now_s();
    Status s = load_with(compiler, &why);
    if (s != STATUS_NO_COMPILER || !strstr(why.text, fragment))
        fail_msg("status %d: %s", (int)s, why.text);
    assert_true(now_s() - begin < 8);
}

static void test_says_what_is_wrong_with_the_compiler(void **state)
{
    (void)state;
    char *old_path = strdup(getenv("PATH"));
    setenv("PATH", "", 1);
    expect_no_compiler("cc", "there is no C compiler 'cc' on the search path");
    setenv("PATH", old_path, 1);
    free(old_path);
    expect_no_compiler("/nowhere/gcc", "there is no C compiler '/nowhere/gcc'");
    expect_no_compiler(make_script("fails", "exit 1"), "exit code 1");
    expect_no_compiler(make_script("fails-late", "[ \"$1\" = --version ] && echo v1 && exit 0\necho no licence >&2\nexit 3"),
                       "does not work: the C compiler");
    expect_no_compiler(make_script("idle", "echo v1; exit 0"), "left no output");
    expect_no_compiler(make_script("garbage", "[ \"$1\" = --version ] && echo v1 && exit 0\n"
                                   "while [ \"$1\" != -o ]; do shift; done\nhead -c 5000 /dev/urandom > \"$2\""),
                       "cannot be loaded");
    expect_no_compiler(make_script("crashes", "kill -SEGV $$"), "killed by signal 11");
    setenv("MIXC_COMPILE_TIMEOUT", "0.3", 1);
    expect_no_compiler(make_script("hangs", "sleep 1000 & sleep 1000"), "did not finish within 0.3 seconds");
    unsetenv("MIXC_COMPILE_TIMEOUT");
}

static void test_a_compiler_without_our_flags(void **state)
{
    (void)state;
    StatusText why = {0};
    const char *script = make_script("simple", "for a; do case $a in -march*|-std*|-ff*) echo unknown $a >&2; exit 1;; esac; done\n"
                                               "exec cc \"$@\"");
    if (load_with(script, &why) != STATUS_OK)
        fail_msg("%s", why.text);
}

static void test_a_refused_kernel_is_our_fault(void **state)
{
    (void)state;
    Arena arena = {0};
    StatusText why = {0};
    DeviceOptions options = {.threads = 1, .cache_dir = ""};
    Device *d = NULL;
    LoadedProgram *l = NULL;
    Program *p = make_affine(&arena);
    p->kernel[2].text = "void add_one(void) { return undefined_name; }\n";
    assert_int_equal(device_cpu.open(&options, &d, &why), STATUS_OK);
    assert_int_equal(device_cpu.load(d, p, &l, &why), STATUS_INTERNAL);
    assert_non_null(strstr(why.text, "undefined_name"));
    device_cpu.close(d);
    arena_free(&arena);
}

static void test_temporary_files_are_gone(void **state)
{
    (void)state;
    char command[512];
    snprintf(command, sizeof command, "test -z \"$(ls -A %s/tmp)\"", folder);
    assert_int_equal(system(command), 0);
}

// What a launch costs beyond its work, and what the first touch of memory costs. Prints; fails only when absurd.
static void test_cost_of_a_launch(void **state)
{
    (void)state;
    enum { LAUNCHES = 300 };
    for (int threads = 1; threads <= 2; threads++) {
        Arena arena = {0};
        StatusText why = {0};
        DeviceOptions options = {.threads = threads, .cache_dir = ""};
        Device *d = NULL;
        LoadedProgram *l = NULL;
        LoadStats stats;
        Program *p = make_affine(&arena);
        add_buffer(p, "large", BUFFER_TEMP, 16 << 20, 12160);
        for (int i = 0; i < LAUNCHES; i++)
            add_launch(p, 2, (uint32_t[]){2, 3}, 16, 1);
        assert_int_equal(device_cpu.open(&options, &d, &why), STATUS_OK);
        assert_int_equal(device_cpu.load(d, p, &l, &why), STATUS_OK);
        double best = 1;
        for (int round = 0; round < 50; round++) {
            double begin = now_s();
            assert_int_equal(device_cpu.run(l, &why), STATUS_OK);
            double each = (now_s() - begin) / (LAUNCHES + 3);
            best = each < best ? each : best;
        }
        device_cpu.stats(l, &stats);
        print_message("%d thread(s): %.2f us a launch; first touch %.2f ms for %.0f MiB\n", threads, best * 1e6,
                      stats.touch_s * 1e3, (double)stats.arena_bytes / 1048576);
        assert_true(best < 1e-3);
        device_cpu.unload(l);
        device_cpu.close(d);
        arena_free(&arena);
    }
}

// y = w * x with a temporary; `counter` is a state that `update` adds to. w: 1, x: 2, t: 3, y: 4, counter: 5.
static Program *make_scale(Arena *arena, const char *name, bool update, int64_t n)
{
    Program *p = program_make(arena, name);
    size_t row = (size_t)(n * 4 + 63) / 64 * 64;
    uint32_t w = add_buffer(p, "w", BUFFER_PARAM, 8, 0), x = add_buffer(p, "x", BUFFER_INPUT, n, 128);
    uint32_t t = add_buffer(p, "t", BUFFER_TEMP, n, 128 + row), y = add_buffer(p, "output.y", BUFFER_OUTPUT, n, 128 + 2 * row);
    uint32_t c = add_buffer(p, "counter", BUFFER_STATE, 1, 64);
    uint32_t k1 = add_kernel(p, "scale",
        "void scale(void *const *p, long begin, long end, void *scratch)\n"
        "{\n    const float *w = p[0], *x = p[1];\n    float *y = p[2];\n    (void)scratch;\n"
        "    for (long i = begin; i < end; i++) y[i] = w[i % 8] * x[i];\n}\n", 3, 0);
    uint32_t k2 = add_kernel(p, "add",
        "void add(void *const *p, long begin, long end, void *scratch)\n"
        "{\n    const float *x = p[0];\n    const float *c = p[1];\n    float *y = p[2];\n    (void)scratch;\n"
        "    for (long i = begin; i < end; i++) y[i] = x[i] + c[0];\n}\n", 3, 0);
    p->kernel[k1].writes = p->kernel[k2].writes = 4;
    add_launch(p, k1, (uint32_t[]){w, x, t}, n, 1);
    add_launch(p, k2, (uint32_t[]){t, c, y}, n, 1);
    if (update)
        add_launch(p, k2, (uint32_t[]){c, c, c}, 1, 1);      // doubles
    return p;
}

static float run_scale(LoadedProgram *l, int64_t n)
{
    static float x[4096], y[4096];
    StatusText why = {0};
    for (int i = 0; i < n; i++)
        x[i] = (float)i;
    assert_int_equal(device_cpu.write(l, 2, 0, x, (size_t)n * 4, &why), STATUS_OK);
    assert_int_equal(device_cpu.run(l, &why), STATUS_OK);
    assert_int_equal(device_cpu.read(l, 4, 0, y, (size_t)n * 4, &why), STATUS_OK);
    for (int64_t i = 8; i < n; i++)         // w is 1 .. 8 times something
        assert_true((y[i] - y[0]) * 2 == (y[1] - y[0]) * (float)((i % 8 + 1) * i));
    return y[0];
}

// A second program uses the parameters and the room of the first, unless it writes them.
static void test_loading_beside(void **state)
{
    (void)state;
    Arena arena = {0};
    StatusText why = {0};
    DeviceOptions options = {.threads = 2, .cache_dir = ""};
    Device *d = NULL;
    LoadedProgram *train = NULL, *eval = NULL, *large = NULL;
    LoadStats stats;
    float w[8] = {1, 2, 3, 4, 5, 6, 7, 8}, one = 1, count;
    assert_int_equal(device_cpu.open(&options, &d, &why), STATUS_OK);
    assert_int_equal(device_cpu.load(d, make_scale(&arena, "train", true, 1000), &train, &why), STATUS_OK);
    assert_int_equal(device_cpu.load_beside(train, make_scale(&arena, "eval", false, 500), &eval, &why), STATUS_OK);
    assert_int_equal(device_cpu.load_beside(train, make_scale(&arena, "large", true, 3000), &large, &why), STATUS_OK);
    device_cpu.stats(eval, &stats);
    assert_int_equal(stats.arena_bytes, 2048);               // x alone, rounded up
    assert_true(device_cpu.is_shared(eval, 1) && device_cpu.is_shared(eval, 5) && !device_cpu.is_shared(eval, 2));
    assert_true(device_cpu.is_shared(large, 1) && !device_cpu.is_shared(large, 5) && !device_cpu.is_shared(train, 1));
    device_cpu.stats(large, &stats);
    assert_int_equal(stats.arena_bytes, 12032 + 64 + 2 * 12032);     // x, its own counter, and what does not fit
    assert_int_equal(device_cpu.write(train, 1, 0, w, sizeof w, &why), STATUS_OK);
    assert_int_equal(device_cpu.write(train, 5, 0, &one, 4, &why), STATUS_OK);
    assert_int_equal(device_cpu.write(large, 5, 0, &one, 4, &why), STATUS_OK);
    for (int round = 1; round <= 4; round++) {
        float expected = (float)(1 << (round - 1));
        assert_true(run_scale(eval, 500) == expected);       // sees what training left
        assert_true(run_scale(large, 3000) == expected);     // counts for itself
        assert_true(run_scale(train, 1000) == expected);
        assert_int_equal(device_cpu.read(train, 5, 0, &count, 4, &why), STATUS_OK);
        assert_true(count == 2 * expected);
        for (int i = 0; i < 8; i++)
            w[i] += (float)(i + 1);
        assert_int_equal(device_cpu.write(train, 1, 0, w, sizeof w, &why), STATUS_OK);
    }
    device_cpu.unload(large);
    device_cpu.unload(eval);
    device_cpu.unload(train);
    device_cpu.close(d);
    arena_free(&arena);
}

static void test_words_in_cc(void **state)
{
    (void)state;
    StatusText why = {0};
    assert_int_equal(load_with("env cc", &why), STATUS_OK);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    mkdir(path("tmp"), 0700);
    setenv("TMPDIR", path("tmp"), 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs_for_any_number_of_threads),
        cmocka_unit_test(test_finds_what_it_compiled),
        cmocka_unit_test(test_says_what_is_wrong_with_the_compiler),
        cmocka_unit_test(test_a_compiler_without_our_flags),
        cmocka_unit_test(test_a_refused_kernel_is_our_fault),
        cmocka_unit_test(test_loading_beside),
        cmocka_unit_test(test_words_in_cc),
        cmocka_unit_test(test_cost_of_a_launch),
        cmocka_unit_test(test_temporary_files_are_gone),
    };
    int failed = cmocka_run_group_tests_name("cpu device", tests, NULL, NULL);
    char command[256];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) != 0 || failed != 0;
}
