// What the compiler of CUDA text is asked for, and what is read from the assembler's log. The log is text; the compiler is needed for
// the last test only, and that is skipped without it.
#include "nvrtc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const char log_text[] =
    "ptxas info    : 0 bytes gmem\n"
    "ptxas info    : Compiling entry function 'k1_product' for 'sm_90a'\n"
    "ptxas info    : Function properties for k1_product\n"
    "    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads\n"
    "ptxas info    : Used 168 registers, used 2 barriers, 49152 bytes smem, 400 bytes cmem[0]\n"
    "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to function call in the "
    "function 'k1_product'\n"
    "ptxas info    : Compiling entry function 'k2' for 'sm_90a'\n"
    "ptxas info    : Function properties for k2\n"
    "ptxas         .     0 bytes stack frame, 0 bytes spill stores, 4 bytes spill loads\n"
    "ptxas info    : Used 12 registers, used 1 barriers, 368 bytes cmem[0]\n"
    "ptxas info    : Compile time = 4.1 ms\n"
    "kernels.cu(7): warning #177-D (Chapter 3): variable \"c\" was declared but never referenced\n";

static void test_log(void **state)
{
    (void)state;
    Arena arena = {0};
    PtxasLog log = ptxas_read(&arena, log_text);
    assert_int_equal(log.n_kernels, 2);
    assert_string_equal(log.kernel[0].kernel, "k1_product");
    assert_int_equal(log.kernel[0].registers, 168);
    assert_int_equal(log.kernel[0].barriers, 2);
    assert_int_equal(log.kernel[0].stack_bytes, 16);
    assert_int_equal(log.kernel[0].spill_stores, 8);
    assert_int_equal(log.kernel[0].spill_loads, 12);
    assert_int_equal(log.kernel[0].shared_bytes, 49152);
    assert_string_equal(log.kernel[1].kernel, "k2");
    assert_int_equal(log.kernel[1].registers, 12);
    assert_int_equal(log.kernel[1].spill_loads, 4);
    assert_int_equal(log.kernel[1].spill_stores + log.kernel[1].shared_bytes, 0);
    assert_int_equal(log.n_advice, 1);
    assert_string_equal(log.advice[0].code, "C7510");
    assert_non_null(strstr(log.advice[0].text, "serialized"));
    arena_free(&arena);
}

static void test_logs_that_are_cut(void **state)
{
    (void)state;
    char *text = strdup(log_text);
    for (size_t n = strlen(text); n-- > 0;) {
        Arena arena = {0};
        text[n] = 0;
        assert_true(ptxas_read(&arena, text).n_kernels <= 2);
        arena_free(&arena);
    }
    free(text);
}

// Sums keep their own rounding, a spill is seen, and an error is told.
static void test_compile(void **state)
{
    (void)state;
    StatusText why = {0};
    Arena arena = {0};
    const NvrtcApi *api = NULL;
    NvrtcImage image = {0};
    CudaLibraries *libraries = cuda_libraries_open();
    if (cuda_find_nvrtc(libraries, &api, &why) != STATUS_OK) {
        cuda_libraries_close(libraries);
        skip();
    }
    assert_true(nvrtc_knows(api, 80) && nvrtc_knows(api, 90) && !nvrtc_knows(api, 35));
    const char *text = "extern \"C\" __global__ void k(float *x) { x[0] = x[1]*x[2] + x[3]; }\n";
    assert_int_equal(nvrtc_compile(api, &arena, &(NvrtcJob){.name = "t.cu", .text = text, .arch = "sm_80", .wants_ptx = true}, &image, &why),
                     STATUS_OK);
    assert_non_null(strstr(image.data, "mul.rn.f32"));
    assert_null(strstr(image.data, "fma"));
    // Sixty-four numbers at once in thirty-two registers.
    const char *spills = "extern \"C\" __global__ void __launch_bounds__(1024, 2) k(float *x, int n) {\n float a[64] = {0};\n"
                         " for (int k = 0; k < n; k++)\n#pragma unroll\n  for (int i = 0; i < 64; i++) a[i] = fmaf(x[k], x[k + i], a[i]);\n"
                         "#pragma unroll\n for (int i = 0; i < 64; i++) x[i + threadIdx.x] = a[i];\n}\n";
    assert_int_equal(nvrtc_compile(api, &arena, &(NvrtcJob){.name = "t.cu", .text = spills, .arch = "sm_90a", .wants_report = true}, &image,
                                   &why), STATUS_OK);
    PtxasLog log = ptxas_read(&arena, image.log);
    assert_int_equal(log.n_kernels, 1);
    assert_int_equal(log.kernel[0].registers, 32);
    assert_true(log.kernel[0].spill_stores > 0);
    assert_int_equal(nvrtc_compile(api, &arena, &(NvrtcJob){.name = "t.cu", .text = "__device__ int x = y;\n", .arch = "sm_80"}, &image, &why),
                     STATUS_INTERNAL);
    assert_string_equal(why.text, "the CUDA text does not compile for sm_80: t.cu(1): error: identifier \"y\" is undefined");
    arena_free(&arena);
    cuda_libraries_close(libraries);
}

// In a process of its own, because the compiler keeps memory to itself that a leak checker would report.
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log), cmocka_unit_test(test_logs_that_are_cut), cmocka_unit_test(test_compile),
    };
    const pid_t child = fork();
    if (child == 0) {
        const int failed = cmocka_run_group_tests(tests, NULL, NULL);
        fflush(stdout);
        _exit(failed);
    }
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
