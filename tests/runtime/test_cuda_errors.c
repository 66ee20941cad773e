// What the cuda device says when something is wrong, on a GPU and a compiler that are not there: missing, old, full, broken.
// Nothing here needs a toolkit. Then every call of the driver fails once.
#include "device.h"

#include "cuda_fake.h"
#include "programs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <pthread.h>
#include <stdlib.h>

#include <cmocka.h>

static const char add_cuda[] = "extern \"C\" __global__ void add_one(const float *x, float *y) { y[0] = x[0] + 1; }\n";

// y = x + 1 + 1, with CUDA texts; 40 bytes each.
static Program *make_program(Arena *arena)
{
    Program *p = program_make(arena, "affine");
    uint32_t x = add_buffer(p, "x", BUFFER_INPUT, 10, 0), t = add_buffer(p, "hidden", BUFFER_TEMP, 10, 64),
             y = add_buffer(p, "output.y", BUFFER_OUTPUT, 10, 128);
    uint32_t k = add_kernel(p, "add_one", "", 2, 0);
    p->kernel[k].cuda = add_cuda;
    p->kernel[k].cuda_threads = 32;
    p->kernel[k].writes = 2;
    add_launch(p, k, (uint32_t[]){x, t}, 1, 1);
    add_launch(p, k, (uint32_t[]){t, y}, 1, 1);
    p->launch[0].cuda_blocks = p->launch[1].cuda_blocks = 1;
    return p;
}

typedef struct Try {
    Fake           fake;
    Arena          arena;
    Device        *device;
    LoadedProgram *loaded;
    StatusText     why;
} Try;

static void begin(Try *t)
{
    memset(t, 0, sizeof *t);
    assert_true(fake_open(&t->fake, true));
}

static Status open_device(Try *t)
{
    t->why = (StatusText){0};
    return device_cuda.open(&(DeviceOptions){.threads = 1, .cache_dir = "", .driver = &t->fake.driver, .nvrtc = &t->fake.nvrtc},
                            &t->device, &t->why);
}

static Status load(Try *t)
{
    t->why = (StatusText){0};
    return device_cuda.load(t->device, make_program(&t->arena), &t->loaded, &t->why);
}

static void end(Try *t)
{
    device_cuda.unload(t->loaded);
    device_cuda.close(t->device);
    fake_close(&t->fake);
    arena_free(&t->arena);
}

static void open_fails(Try *t, const char *message)
{
    assert_int_equal(open_device(t), STATUS_NO_DEVICE);
    assert_null(t->device);
    assert_string_equal(t->why.text, message);
    assert_int_equal(t->fake.n[CALL_memory_take], 0);
    end(t);
}

static void test_libraries_that_are_not_there(void **state)
{
    (void)state;
    Device *d = NULL;
    StatusText why = {0};
    setenv("MIXC_LIBCUDA", "/nowhere/libcuda.so", 1);
    assert_int_equal(device_cuda.open(&(DeviceOptions){0}, &d, &why), STATUS_NO_DEVICE);
    assert_string_equal(why.text, "cannot load '/nowhere/libcuda.so', which MIXC_LIBCUDA names as libcuda, the driver of NVIDIA GPUs");
    setenv("MIXC_LIBCUDA", "libz.so.1", 1);
    why = (StatusText){0};
    assert_int_equal(device_cuda.open(&(DeviceOptions){0}, &d, &why), STATUS_NO_DEVICE);
    assert_string_equal(why.text, "'libz.so.1' has no cuLaunchKernel; the driver of a GPU for CUDA 12 or newer is needed");
    unsetenv("MIXC_LIBCUDA");
    Try t;
    begin(&t);
    setenv("MIXC_NVRTC", "/nowhere/libnvrtc.so", 1);
    why = (StatusText){0};
    assert_int_equal(device_cuda.open(&(DeviceOptions){.driver = &t.fake.driver}, &d, &why), STATUS_NO_DEVICE);
    assert_string_equal(why.text, "cannot load '/nowhere/libnvrtc.so', which MIXC_NVRTC names as libnvrtc, the compiler of CUDA text");
    assert_int_equal(t.fake.total, 0);
    unsetenv("MIXC_NVRTC");
    assert_null(d);
    end(&t);
}

static void test_gpus_that_cannot_be_used(void **state)
{
    (void)state;
    Try t;
    begin(&t);
    t.fake.n_gpus = 0;
    open_fails(&t, "no GPU: the driver finds no GPU (error 100 of the driver); is one there, and does CUDA_VISIBLE_DEVICES allow it? "
               "--device cpu works without");
    begin(&t);
    t.fake.fail_call = CALL_init;
    t.fake.fail_at = 1;
    t.fake.fail_with = 803;
    open_fails(&t, "the driver does not start: the driver and its kernel module are of different versions (error 803 of the driver); "
               "restart the machine after an update of the driver");
    begin(&t);
    t.fake.version = 11040;
    open_fails(&t, "the driver is for CUDA 11.4, and 12.0 or newer is needed; update it");
    begin(&t);
    t.fake.version = 12080;
    open_fails(&t, "the toolkit is that of CUDA 13.0 and the driver is for CUDA 12.8; update the driver, or name an older libnvrtc in "
               "MIXC_NVRTC");
    begin(&t);
    t.fake.toolkit = 11;
    open_fails(&t, "libnvrtc is that of CUDA 11.0, and 12.0 or newer is needed");
    begin(&t);
    t.fake.capability = 75;
    open_fails(&t, "the simulated GPU has compute capability 7.5, and 8.0 or newer is needed; --device cpu works without");
    begin(&t);
    t.fake.capability = 100;
    open_fails(&t, "the simulated GPU has compute capability 10.0, which the toolkit does not know; install a newer one");
}

static void test_architecture(void **state)
{
    (void)state;
    static const struct { int capability; const char *about; } row[] = {
        {80, "the simulated GPU, sm_80"}, {89, "the simulated GPU, sm_89"}, {90, "the simulated GPU, sm_90a"}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        Try t;
        begin(&t);
        t.fake.capability = t.fake.knows = row[i].capability;
        assert_int_equal(open_device(&t), STATUS_OK);
        assert_string_equal(device_cuda.describe(t.device), row[i].about);
        end(&t);
    }
}

static void test_a_plan_that_does_not_fit(void **state)
{
    (void)state;
    Try t;
    begin(&t);
    t.fake.n_free = 100;
    assert_int_equal(open_device(&t), STATUS_OK);
    assert_int_equal(load(&t), STATUS_OUT_OF_MEMORY);
    assert_string_equal(t.why.text, "the plan needs 0.0 MiB and the simulated GPU has 0.0 MiB free of 0.0; the largest: 'x' 0.0 MiB (given by "
                        "the host), 'hidden' 0.0 MiB (its line is not known), 'output.y' 0.0 MiB (its line is not known); take a smaller "
                        "batch, or --max-mem 0M");
    assert_int_equal(t.fake.n[CALL_memory_take], 0);
    assert_int_equal(t.fake.n_compiled, 0);
    t.fake.n_free = 0;
    assert_int_equal(load(&t), STATUS_OK);
    end(&t);
}

static void test_memory_that_another_program_took(void **state)
{
    (void)state;
    Try t;
    begin(&t);
    assert_int_equal(open_device(&t), STATUS_OK);
    t.fake.fail_call = CALL_memory_take;
    t.fake.fail_at = 1;
    t.fake.fail_with = 2;
    assert_int_equal(load(&t), STATUS_OUT_OF_MEMORY);
    assert_string_equal(t.why.text, "0.0 MiB on the simulated GPU for 'affine': not enough memory on the GPU (error 2 of the driver); "
                        "take a smaller batch, or --max-mem; other programs may use it too");
    assert_int_equal(load(&t), STATUS_OK);  // the device goes on
    end(&t);
}

static void test_text_that_does_not_compile(void **state)
{
    (void)state;
    Try t;
    begin(&t);
    assert_int_equal(open_device(&t), STATUS_OK);
    t.fake.compile_error = 6;
    t.fake.log = "kernels.cu(3): warning: unused\nkernels.cu(7): error: identifier \"z\" is undefined\n\n1 error\n";
    assert_int_equal(load(&t), STATUS_INTERNAL);
    assert_string_equal(t.why.text, "the CUDA text does not compile for sm_80: kernels.cu(7): error: identifier \"z\" is undefined"
                        " (kernel 'add_one', its line is not known)");
    t.fake.log = "";
    assert_int_equal(load(&t), STATUS_INTERNAL);
    assert_string_equal(t.why.text, "the CUDA text does not compile for sm_80: error 6 of the compiler");
    t.fake.compile_error = 1;
    assert_int_equal(load(&t), STATUS_OUT_OF_MEMORY);
    assert_string_equal(t.why.text, "the CUDA compiler has no memory for kernels.cu");
    t.fake.compile_error = 0;
    assert_int_equal(load(&t), STATUS_OK);
    end(&t);
}

// A log as long as a book, and a compiler that says that it is done and gives nothing: one sentence, and the device goes on.
static void test_a_compiler_that_raves(void **state)
{
    (void)state;
    Try t;
    char *log = malloc((1 << 21) + 1);
    memset(log, 'x', 1 << 21);
    log[1 << 21] = 0;
    begin(&t);
    assert_int_equal(open_device(&t), STATUS_OK);
    t.fake.compile_error = 6;
    t.fake.log = log;
    assert_int_equal(load(&t), STATUS_INTERNAL);
    assert_memory_equal(t.why.text, "the CUDA text does not compile for sm_80: xxxx", 46);
    assert_true(strlen(t.why.text) < sizeof t.why.text);
    t.fake.compile_error = 0;
    t.fake.log = "";
    t.fake.makes_nothing = true;
    assert_int_equal(load(&t), STATUS_INTERNAL);
    assert_string_equal(t.why.text, "the CUDA compiler gives no PTX for sm_80");
    t.fake.makes_nothing = false;
    assert_int_equal(load(&t), STATUS_OK);
    end(&t);
    free(log);
}

// Every error of the driver that a user may meet, when a GPU is opened and in a run: what failed, what it is, what to do.
static void test_every_error_has_its_sentence(void **state)
{
    (void)state;
    static const struct { int code; const char *text, *remedy; } row[] = {
        {2, "not enough memory on the GPU", "take a smaller batch"}, {3, "is not initialised", "restart the program"},
        {34, "a stub for linking", "MIXC_LIBCUDA"}, {35, "older than the libraries", "update the driver"},
        {46, "all GPUs are taken", "nvidia-smi"}, {100, "finds no GPU", "CUDA_VISIBLE_DEVICES"}, {101, "does not know this GPU", "CUDA_VISIBLE_DEVICES"},
        {200, "are damaged", "mixc cache clear"}, {209, "for another GPU", "mixc cache clear"}, {214, "cannot be corrected", "nvidia-smi -q"},
        {218, "cannot read the compiled kernels", "update it"}, {222, "newer than the driver", "MIXC_NVRTC"},
        {500, "is missing from what was compiled", "mixc cache clear"}, {700, "memory that is not its own", "--device sim"},
        {701, "more registers or shared memory", "smaller axes"}, {702, "took too long", "without a display"},
        {710, "failed an assertion", "MIXC_CUDA_WAIT=1"}, {714, "hardware error", "Xid"}, {715, "an instruction that the GPU does not have", "cache clear"},
        {716, "a misaligned address", "--device sim"}, {717, "of the wrong space", "MIXC_CUDA_WAIT=1"}, {718, "jumped to no instruction", "MIXC_CUDA_WAIT=1"},
        {719, "a kernel failed", "--device sim"}, {802, "are not ready", "fabric manager"}, {803, "of different versions", "restart the machine"},
        {804, "does not support this GPU", "update the driver"}, {999, "does not know what failed", "dmesg"}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        for (int in_run = 0; in_run < 2; in_run++) {
            Try t;
            char code[64];
            begin(&t);
            snprintf(code, sizeof code, "(error %d of the driver); ", row[i].code);
            t.fake.fail_call = in_run ? CALL_exec_launch : CALL_context_retain;
            t.fake.fail_at = 1;
            t.fake.fail_with = row[i].code;
            Status status = open_device(&t);
            assert_int_equal(status == STATUS_OK, in_run);
            if (in_run) {
                assert_int_equal(load(&t), STATUS_OK);
                status = device_cuda.run(t.loaded, &t.why);
            }
            assert_int_equal(status, row[i].code == 2 ? STATUS_OUT_OF_MEMORY : STATUS_NO_DEVICE);
            const char *remedy = strstr(t.why.text, code);
            if (!strstr(t.why.text, row[i].text) || !remedy || !strstr(remedy, row[i].remedy))
                fail_msg("error %d: %s", row[i].code, t.why.text);
            end(&t);
        }
}

static void test_an_error_that_lasts(void **state)
{
    (void)state;
    Try t;
    float x[10] = {0};
    begin(&t);
    assert_int_equal(open_device(&t), STATUS_OK);
    assert_int_equal(load(&t), STATUS_OK);
    t.fake.fail_call = CALL_stream_wait;
    t.fake.fail_at = 1;
    t.fake.fail_with = 700;
    t.fake.lasts = true;
    assert_int_equal(device_cuda.run(t.loaded, &t.why), STATUS_NO_DEVICE);
    assert_string_equal(t.why.text, "a run of 'affine': a kernel accessed memory that is not its own (error 700 of the driver); "
                        "MIXC_CUDA_WAIT=1 names the kernel; --device sim at a small size shows the line");
    const int calls = t.fake.total;
    t.why = (StatusText){0};
    assert_int_equal(device_cuda.run(t.loaded, &t.why), STATUS_NO_DEVICE);
    assert_string_equal(t.why.text, "the simulated GPU failed before, and is of no use to this process any more");
    t.why = (StatusText){0};
    assert_int_equal(device_cuda.read(t.loaded, 1, 0, x, sizeof x, &t.why), STATUS_NO_DEVICE);
    assert_string_equal(t.why.text, "the simulated GPU failed before, and 'x' is lost with it");
    LoadedProgram *l = NULL;
    t.why = (StatusText){0};
    assert_int_equal(device_cuda.load(t.device, make_program(&t.arena), &l, &t.why), STATUS_NO_DEVICE);
    device_cuda.unload(t.loaded);
    t.loaded = NULL;
    assert_int_equal(t.fake.total, calls);  // nobody calls a driver that is lost
    end(&t);
}

static void test_the_kernel_that_fails_is_named(void **state)
{
    (void)state;
    Try t;
    begin(&t);
    assert_int_equal(open_device(&t), STATUS_OK);
    assert_int_equal(load(&t), STATUS_OK);
    setenv("MIXC_CUDA_WAIT", "1", 1);
    t.fake.fail_call = CALL_stream_wait;
    t.fake.fail_at = 2;
    t.fake.fail_with = 716;
    assert_int_equal(device_cuda.run(t.loaded, &t.why), STATUS_NO_DEVICE);
    unsetenv("MIXC_CUDA_WAIT");
    assert_string_equal(t.why.text, "kernel 'add_one' of 'affine' (its line is not known, which makes 'output.y'): a kernel accessed a misaligned "
                        "address (error 716 of the driver); MIXC_CUDA_WAIT=1 names the kernel; --device sim at a small size shows the line");
    end(&t);
}

static void *run_elsewhere(void *user)
{
    Try *t = user;
    double seconds[2];
    Status status = device_cuda.run_timed(t->loaded, seconds, &t->why);
    if (status == STATUS_OK)
        status = device_cuda.run(t->loaded, &t->why);
    device_cuda.unload(t->loaded);
    t->loaded = NULL;
    return status == STATUS_OK ? t : NULL;
}

static void test_another_thread_may_run_and_unload(void **state)
{
    (void)state;
    Try t;
    pthread_t thread;
    void *good = NULL;
    begin(&t);
    assert_int_equal(open_device(&t), STATUS_OK);
    assert_int_equal(load(&t), STATUS_OK);
    assert_int_equal(pthread_create(&thread, NULL, run_elsewhere, &t), 0);
    assert_int_equal(pthread_join(thread, &good), 0);
    assert_string_equal(t.why.text, "");
    assert_non_null(good);
    assert_int_equal(t.fake.balance, 0);
    end(&t);
}

// Opens, loads, writes, runs, reads. Returns the first status that is not OK.
static Status whole_way(Try *t)
{
    float x[10] = {0};
    double seconds[2];
    Status status = open_device(t);
    if (status == STATUS_OK)
        status = load(t);
    if (status == STATUS_OK)
        status = device_cuda.write(t->loaded, 1, 0, x, sizeof x, &t->why);
    if (status == STATUS_OK)
        status = device_cuda.run(t->loaded, &t->why);
    if (status == STATUS_OK)
        status = device_cuda.run_timed(t->loaded, seconds, &t->why);
    if (status == STATUS_OK)
        status = device_cuda.read(t->loaded, 3, 0, x, sizeof x, &t->why);
    return status;
}

static void test_every_call_fails_once(void **state)
{
    (void)state;
    static const int error[] = {2, 700, 999};
    Try t;
    begin(&t);
    assert_int_equal(whole_way(&t), STATUS_OK);
    const int calls = t.fake.total;
    end(&t);
    assert_true(calls > 30);
    for (size_t e = 0; e < sizeof error / sizeof *error; e++)
        for (int i = 1; i <= calls; i++) {
            begin(&t);
            t.fake.fail_total = i;
            t.fake.fail_with = error[e];
            t.fake.lasts = error[e] == 700;
            const Status status = whole_way(&t);
            if (status == STATUS_OK && !t.fake.has_failed)
                fail_msg("call %d never came", i);
            if (status != STATUS_OK && !t.why.text[0])
                fail_msg("error %d of call %d is not told", error[e], i);
            device_cuda.unload(t.loaded);
            t.loaded = NULL;
            if (error[e] != 700)
                assert_int_equal(t.fake.balance, 0);
            end(&t);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_libraries_that_are_not_there), cmocka_unit_test(test_gpus_that_cannot_be_used),
        cmocka_unit_test(test_architecture), cmocka_unit_test(test_a_plan_that_does_not_fit),
        cmocka_unit_test(test_memory_that_another_program_took), cmocka_unit_test(test_text_that_does_not_compile),
        cmocka_unit_test(test_a_compiler_that_raves), cmocka_unit_test(test_every_error_has_its_sentence),
        cmocka_unit_test(test_an_error_that_lasts), cmocka_unit_test(test_the_kernel_that_fails_is_named),
        cmocka_unit_test(test_another_thread_may_run_and_unload),
        cmocka_unit_test(test_every_call_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
