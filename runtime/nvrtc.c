// See nvrtc.h.
#include "nvrtc.h"

#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOG_MOST = 1 << 20 };                // of a log that is kept

// No contraction: a text says fmaf where it means it, so that every assembler computes the same.
static const char *const fixed_option[] = {"-lineinfo", "--std=c++17", "-DNDEBUG", "--fmad=false"};
enum { N_FIXED = sizeof fixed_option / sizeof *fixed_option };

static const char *read_log(const NvrtcApi *api, Arena *arena, CudaText *program)
{
    size_t size = 0;
    if (api->log_size(api->self, program, &size) != 0 || size == 0)
        return "";
    char *log = arena_alloc(arena, size + 1, 1);
    if (api->log(api->self, program, log) != 0)
        return "";
    log[size < LOG_MOST ? size : LOG_MOST] = 0;
    return log;
}

// The first line that says `error`, else the first line.
static const char *first_complaint(Arena *arena, const char *log)
{
    const char *at = strstr(log, "error"), *begin = at ? at : log;
    while (begin > log && begin[-1] != '\n')
        begin--;
    return arena_strndup(arena, begin, strcspn(begin, "\n"));
}

static Status take_image(const NvrtcApi *api, Arena *arena, CudaText *program, bool wants_ptx, NvrtcImage *out)
{
    size_t n = 0;
    int error = wants_ptx ? api->ptx_size(api->self, program, &n) : api->cubin_size(api->self, program, &n);
    if (error != 0 || n == 0)
        return STATUS_INTERNAL;
    char *data = arena_alloc(arena, n + 1, 1);
    error = wants_ptx ? api->ptx(api->self, program, data) : api->cubin(api->self, program, data);
    out->data = data;
    out->n = n;
    return error == 0 ? STATUS_OK : STATUS_INTERNAL;
}

Status nvrtc_compile(const NvrtcApi *api, Arena *arena, const NvrtcJob *job, NvrtcImage *out_image, StatusText *why)
{
    CudaText *program = NULL;
    NvrtcImage image = {0};
    const char *option[N_FIXED + 2];
    int n = 0, error = 0;
    // PTX alone needs no assembler, which takes about half of the time.
    const bool is_virtual = job->wants_ptx && !job->wants_report && strncmp(job->arch, "sm_", 3) == 0;
    option[n++] = arena_printf(arena, "--gpu-architecture=%s%s", is_virtual ? "compute_" : "", job->arch + (is_virtual ? 3 : 0));
    for (int i = 0; i < N_FIXED; i++)
        option[n++] = fixed_option[i];
    if (job->wants_report)
        option[n++] = "--ptxas-options=--verbose";
    if (api->create(api->self, &program, job->text, job->name, 0, NULL, NULL) != 0)
        return status_fail(why, STATUS_OUT_OF_MEMORY, "the CUDA compiler does not take a text of %zu bytes", strlen(job->text));
    Status status = STATUS_OK;
    error = api->compile(api->self, program, n, option);
    image.log = read_log(api, arena, program);
    if (error == 1)                         // NVRTC_ERROR_OUT_OF_MEMORY
        status = status_fail(why, STATUS_OUT_OF_MEMORY, "the CUDA compiler has no memory for %s", job->name);
    else if (error != 0)
        status = status_fail(why, STATUS_INTERNAL, "the CUDA text does not compile for %s: %s", job->arch,
                             image.log[0] ? first_complaint(arena, image.log) : arena_printf(arena, "error %d of the compiler", error));
    else if (take_image(api, arena, program, job->wants_ptx, &image) != STATUS_OK)
        status = status_fail(why, STATUS_INTERNAL, "the CUDA compiler gives no %s for %s", job->wants_ptx ? "PTX" : "cubin", job->arch);
    api->destroy(api->self, &program);
    if (status == STATUS_OK)
        *out_image = image;
    return status;
}

const char *nvrtc_key(const NvrtcApi *api, Arena *arena)
{
    int major = 0, minor = 0;
    Text key = text_make(arena);
    api->version(api->self, &major, &minor);
    text_printf(&key, "nvrtc %d.%d\nflags", major, minor);
    for (int i = 0; i < N_FIXED; i++)
        text_printf(&key, " %s", fixed_option[i]);
    text_char(&key, '\n');
    return text_str(&key);
}

bool nvrtc_knows(const NvrtcApi *api, int capability)
{
    int n = 0, arch[128];
    if (api->arch_count(api->self, &n) != 0 || n <= 0 || n > (int)(sizeof arch / sizeof *arch) || api->archs(api->self, arch) != 0)
        return false;
    for (int i = 0; i < n; i++)
        if (arch[i] == capability)
            return true;
    return false;
}

// --- the assembler's log

// The number that stands before `unit` in the line; 0: none.
static size_t number_before(const char *line, size_t length, const char *unit)
{
    for (const char *at = line; (at = strstr(at, unit)) != NULL && at < line + length; at++) {
        const char *digit = at;
        while (digit > line && digit[-1] >= '0' && digit[-1] <= '9')
            digit--;
        if (digit < at)
            return strtoul(digit, NULL, 10);
    }
    return 0;
}

static void read_advice(Arena *arena, PtxasLog *log, const char *line, size_t length)
{
    for (const char *at = line; (at = strstr(at, "(C")) != NULL && at < line + length; at++) {
        size_t digits = strspn(at + 2, "0123456789");
        if (digits != 4 || at[6] != ')')
            continue;
        log->advice = arena_grow(arena, log->advice, log->n_advice, &log->advice_capacity, sizeof *log->advice);
        log->advice[log->n_advice++] =
            (PtxasAdvice){arena_strndup(arena, at + 1, 5), arena_strndup(arena, line, length)};
        return;
    }
}

PtxasLog ptxas_read(Arena *arena, const char *text)
{
    PtxasLog log = {0};
    for (const char *line = text; *line;) {
        const size_t length = strcspn(line, "\n");
        const char *after = NULL, *name = strstr(line, "ptxas info");
        PtxasReport *last = log.n_kernels ? &log.kernel[log.n_kernels - 1] : NULL;
        if (name == line && (after = strstr(line, "Compiling entry function '")) != NULL && after < line + length) {
            after += strlen("Compiling entry function '");
            log.kernel = arena_grow(arena, log.kernel, log.n_kernels, &log.kernel_capacity, sizeof *log.kernel);
            log.kernel[log.n_kernels++] = (PtxasReport){.kernel = arena_strndup(arena, after, strcspn(after, "'\n"))};
        } else if (last && (after = strstr(line, " bytes stack frame")) != NULL && after < line + length) {
            last->stack_bytes += number_before(line, length, " bytes stack frame");
            last->spill_stores += number_before(line, length, " bytes spill stores");
            last->spill_loads += number_before(line, length, " bytes spill loads");
        } else if (last && name == line && (after = strstr(line, "Used ")) != NULL && after < line + length) {
            last->registers = (int)number_before(line, length, " registers");
            last->barriers = (int)number_before(line, length, " barriers");
            last->shared_bytes = number_before(line, length, " bytes smem");
        }
        read_advice(arena, &log, line, length);
        line += length + (line[length] == '\n');
    }
    return log;
}
