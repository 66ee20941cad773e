// Graphs in the simulator against the evaluator, and their kernels through the assembler. Included by tests that say main through
// sim_main; every function is static.
#ifndef MIXC_TEST_SIM_GRAPH_H
#define MIXC_TEST_SIM_GRAPH_H

#include "run_graph.h"

#include "cuda_api.h"
#include "nvrtc.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static inline Device *open_sim(void)
{
    Device *d = NULL;
    StatusText why = {0};
    if (device_sim.open(&(DeviceOptions){.cache_dir = ""}, &d, &why) != STATUS_OK)
        fail_msg("%s", why.text);
    return d;
}

// Some kernel's CUDA text says `mark`.
static inline bool sim_says(const Program *p, const char *mark)
{
    for (size_t k = 1; k < p->n_kernels; k++)
        if (p->kernel[k].cuda && strstr(p->kernel[k].cuda, mark))
            return true;
    return false;
}

// Runs a compiled graph twice: no finding, the same bits, and within the tolerance of the evaluator. NULL: `mark` does not matter.
static inline void check_sim(Device *d, const char *text, const char *name, double tolerance, const char *mark)
{
    Ran r;
    StatusText why = {0};
    LoadedProgram *l = NULL;
    uint64_t bits[2] = {1, 1};
    compile_graph(&r, text, 16);
    if (mark && !sim_says(r.program, mark))
        fail_msg("%s: no kernel says %s", name, mark);
    if (getenv("MIXC_TEST_TEXT")) {
        Text cuda = text_make(&r.arena);
        codegen_emit_cuda(r.program, &cuda);
        fprintf(stderr, "%s\n", text_str(&cuda));
    }
    r.ops = &device_sim;
    if (device_sim.load(d, r.program, &l, &why) != STATUS_OK)
        fail_msg("%s: %s", name, why.text);
    for (int i = 0; i < 2; i++) {
        write_leaves(&r, l);
        if (device_sim.run(l, &why) != STATUS_OK)
            fail_msg("%s: %s", name, why.text);
        const double error = compare_outputs(&r, l, &bits[i]);
        if (getenv("MIXC_TEST_VERBOSE"))
            print_message("%s: error %.3g\n", name, error);
        if (!(error <= tolerance))
            fail_msg("%s: error %g is above %g", name, error, tolerance);
    }
    if (bits[0] != bits[1])
        fail_msg("%s: two runs differ", name);
    device_sim.unload(l);
    arena_free(&r.arena);
}

// Its kernels compile for both architectures with no advice of the assembler and no spill.
static inline void check_gate(const NvrtcApi *nvrtc, const char *text, const char *name, const char *mark)
{
    static const char *const arch[] = {"sm_80", "sm_90a"};
    for (int a = 0; a < 2; a++) {
        Ran r;
        StatusText why = {0};
        NvrtcImage image;
        compile_only(&r, text, 16);
        if (mark && !sim_says(r.program, mark))
            fail_msg("%s: no kernel says %s", name, mark);
        Text cuda = text_make(&r.arena);
        codegen_emit_cuda(r.program, &cuda);
        if (getenv("MIXC_TEST_TEXT"))
            fprintf(stderr, "%s\n", text_str(&cuda));
        const NvrtcJob job = {.name = "kernels.cu", .text = text_str(&cuda), .arch = arch[a], .wants_report = true};
        if (nvrtc_compile(nvrtc, &r.arena, &job, &image, &why) != STATUS_OK)
            fail_msg("%s: %s", name, why.text);
        const PtxasLog log = ptxas_read(&r.arena, image.log);
        if (log.n_advice > 0)
            fail_msg("%s, %s: %s", name, arch[a], log.advice[0].text);
        assert_int_equal(log.n_kernels + 1, r.program->n_kernels);
        for (size_t k = 0; k < log.n_kernels; k++) {
            if (getenv("MIXC_TEST_VERBOSE"))
                print_message("%s %s %s: %d registers, stack %zu\n", name, arch[a], log.kernel[k].kernel, log.kernel[k].registers,
                              log.kernel[k].stack_bytes);
            if (log.kernel[k].spill_stores + log.kernel[k].spill_loads + log.kernel[k].stack_bytes > 0)
                fail_msg("%s, %s: %s spills %zu bytes and has a stack of %zu", name, arch[a], log.kernel[k].kernel,
                         log.kernel[k].spill_stores, log.kernel[k].stack_bytes);
        }
        arena_free(&r.arena);
    }
}

// In a process of its own, because NVRTC keeps memory to itself that a leak checker would report. 77 where there is no NVRTC.
static inline int sim_main(int (*run)(const NvrtcApi *nvrtc))
{
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        CudaLibraries *libraries = cuda_libraries_open();
        const NvrtcApi *nvrtc = NULL;
        StatusText why = {0};
        int code = 77;
        if (cuda_find_nvrtc(libraries, &nvrtc, &why) != STATUS_OK)
            fprintf(stderr, "skipped: %s\n", why.text);
        else
            code = run(nvrtc);
        fflush(NULL);
        _exit(code);
    }
    int status = 0;
    return child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) ? 1 : WEXITSTATUS(status);
}

#endif
