// The simulator on small PTX texts (tests/sim/*.ptx; sim_case.h says how they are written), in the plain order of warps and blocks
// and in others; what it refuses to launch; damaged texts.
#include "device.h"
#include "../sim/sim_case.h"
#include "sim/sim_driver.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// A tree that was carried elsewhere says where its tests are.
static const char *kernels(char *out, size_t room, const char *file)
{
    const char *tests = getenv("MIXC_TESTS");
    snprintf(out, room, "%s/sim%s", tests && tests[0] ? tests : MIXC_TESTS, file);
    return out;
}

static int run_folder(const DriverApi *api, bool has_seed)
{
    char path[512];
    const char *folder = kernels(path, sizeof path, "");
    DIR *d = opendir(folder);
    int n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        const size_t length = strlen(e->d_name);
        SimCase c;
        if (length < 5 || strcmp(e->d_name + length - 4, ".ptx") != 0)
            continue;
        sim_case(&c, api, folder, e->d_name, has_seed);
        if (c.complaint[0])
            fail_msg("%s: %s", e->d_name, c.complaint);
        arena_free(&c.arena);
        n++;
    }
    closedir(d);
    return n;
}

static void test_conformance_texts(void **state)
{
    static const char *const seed[] = {"0", "1", "2", "3", "77"};
    (void)state;
    setenv("MIXC_SIM_LIMIT", "100000", 1);
    for (size_t i = 0; i < sizeof seed / sizeof *seed; i++) {
        SimDriver *driver = NULL;
        StatusText why = {0};
        setenv("MIXC_SIM_SEED", seed[i], 1);
        assert_int_equal(sim_driver_open(&driver, &why), STATUS_OK);
        assert_true(run_folder(sim_driver_api(driver), i > 0) >= 50);
        sim_driver_close(driver);
    }
    unsetenv("MIXC_SIM_SEED");
    unsetenv("MIXC_SIM_LIMIT");
}

// Every function that the cuda device may call is there.
static void test_table_is_full(void **state)
{
    (void)state;
    SimDriver *driver = NULL;
    StatusText why = {0};
    assert_int_equal(sim_driver_open(&driver, &why), STATUS_OK);
    const DriverApi *api = sim_driver_api(driver);
#define DRIVER(field, symbol, parameters, arguments) \
    if (!api->field) \
        fail_msg("the simulator has no %s", #symbol);
#include "cuda_api.def"
    sim_driver_close(driver);
    setenv("MIXC_SIM_SEED", "many", 1);
    assert_int_equal(sim_driver_open(&driver, &why), STATUS_BAD_USAGE);
    assert_string_equal(why.text, "MIXC_SIM_SEED is a number, not 'many'");
    unsetenv("MIXC_SIM_SEED");
}

static void test_launch_is_checked(void **state)
{
    (void)state;
    Arena arena = {0};
    PtxModule *m = NULL;
    SimCounters counters = {0};
    StatusText why = {0};
    const char *text = ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 k_p0)\n.maxntid 64, 1, 1\n{\nret;\n}\n";
    assert_int_equal(ptx_parse(&arena, "t.ptx", text, &m, &why), STATUS_OK);
    const uint64_t arg[2] = {0};
    SimLaunch l = {.module = m, .kernel = "k", .grid = {1, 1, 1}, .block = {64, 1, 1}, .arg = arg, .n_args = 1};
    assert_int_equal(sim_launch(&l, &counters, &why), STATUS_OK);
    l.block[0] = 65;
    assert_int_equal(sim_launch(&l, &counters, &why), STATUS_INTERNAL);
    assert_string_equal(why.text, "kernel 'k': a block of 65 threads, and it says 64 at most");
    why = (StatusText){0};
    l.block[0] = 64;
    l.n_args = 2;
    assert_int_equal(sim_launch(&l, &counters, &why), STATUS_INTERNAL);
    assert_string_equal(why.text, "kernel 'k' takes 1 arguments, not 2");
    why = (StatusText){0};
    l.kernel = "j";
    assert_int_equal(sim_launch(&l, &counters, &why), STATUS_INTERNAL);
    assert_string_equal(why.text, "t.ptx has no kernel 'j'");
    assert_int_equal(counters.launches, 1);
    arena_free(&arena);
}

// A launch of one thread that stores one number in shared memory and another in global memory.
static void trace_of(int shared, int global, uint64_t out_trace[2])
{
    Arena arena = {0};
    PtxModule *m = NULL;
    SimCounters counters = {0};
    StatusText why = {0};
    unsigned char data[4] = {0};
    uint8_t defined[4] = {0};
    char text[512];
    snprintf(text, sizeof text,
             ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 k_p0)\n{\n.reg .b64 %%rd<3>;\n.reg .b32 %%r<2>;\n"
             ".shared .align 4 .b8 tile[4];\nld.param.u64 %%rd1, [k_p0];\nmov.u32 %%r1, %d;\nst.shared.u32 [tile], %%r1;\nmov.u32 %%r1, %d;\n"
             "st.global.u32 [%%rd1], %%r1;\nret;\n}\n", shared, global);
    assert_int_equal(ptx_parse(&arena, "t.ptx", text, &m, &why), STATUS_OK);
    const uint64_t arg[] = {0x1000};
    const SimRegion region = {.name = "y", .base = 0x1000, .bytes = sizeof data, .data = data, .defined = defined, .is_writable = true};
    out_trace[0] = out_trace[1] = 0;
    const SimLaunch l = {.module = m, .kernel = "k", .grid = {1, 1, 1}, .block = {1, 1, 1}, .arg = arg, .n_args = 1,
                         .region = &region, .n_regions = 1, .trace = out_trace};
    assert_int_equal(sim_launch(&l, &counters, &why), STATUS_OK);
    arena_free(&arena);
}

static void test_trace_tells_memory_from_the_rest(void **state)
{
    (void)state;
    uint64_t plain[2], again[2], inside[2], outside[2];
    trace_of(1, 7, plain);
    trace_of(1, 7, again);
    trace_of(2, 7, inside);
    trace_of(1, 8, outside);
    assert_memory_equal(plain, again, sizeof plain);
    assert_true(plain[0] != inside[0]);
    assert_true(plain[1] == inside[1] && plain[1] != 0);
    assert_true(plain[0] != outside[0] && plain[1] != outside[1]);
}

// Every form has a name of its own, and cutting a text anywhere is an error or parses, never worse.
static void test_damaged_texts(void **state)
{
    (void)state;
    for (int i = 1; i < FORM_COUNT; i++)
        for (int j = i + 1; j < FORM_COUNT; j++)
            assert_string_not_equal(ptx_row[i].name, ptx_row[j].name);
    Arena arena = {0};
    char path[512], *text = (char *)case_read(&arena, kernels(path, sizeof path, "/block_sum.ptx"));
    for (size_t n = strlen(text); n-- > 0;) {
        Arena scratch = {0};
        PtxModule *m = NULL;
        StatusText why = {0};
        text[n] = 0;
        if (ptx_parse(&scratch, "cut.ptx", text, &m, &why) != STATUS_OK)
            assert_true(strncmp(why.text, "cut.ptx:", 8) == 0);
        arena_free(&scratch);
    }
    arena_free(&arena);
}

static void test_device_without_nvrtc(void **state)
{
    (void)state;
    Device *d = NULL;
    StatusText why = {0};
    assert_ptr_equal(device_find("sim"), &device_sim);
    setenv("MIXC_NVRTC", "/nowhere/libnvrtc.so", 1);
    assert_int_equal(device_sim.open(&(DeviceOptions){0}, &d, &why), STATUS_NO_DEVICE);
    assert_string_equal(why.text, "cannot load '/nowhere/libnvrtc.so', which MIXC_NVRTC names as libnvrtc, the compiler of CUDA text");
    assert_null(d);
    unsetenv("MIXC_NVRTC");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conformance_texts),
        cmocka_unit_test(test_table_is_full),
        cmocka_unit_test(test_launch_is_checked),
        cmocka_unit_test(test_trace_tells_memory_from_the_rest),
        cmocka_unit_test(test_damaged_texts),
        cmocka_unit_test(test_device_without_nvrtc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
