// See nvrtc.h.
#include "nvrtc.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

typedef void *Handle;                       // nvrtcProgram

// FUNCTION(field, name, arguments): what we call; every function returns 0 when it did what it should.
#define FUNCTIONS \
    FUNCTION(create, CreateProgram, (Handle *, const char *, const char *, int, const char *const *, const char *const *)) \
    FUNCTION(compile, CompileProgram, (Handle, int, const char *const *)) \
    FUNCTION(log_size, GetProgramLogSize, (Handle, size_t *)) \
    FUNCTION(log, GetProgramLog, (Handle, char *)) \
    FUNCTION(ptx_size, GetPTXSize, (Handle, size_t *)) \
    FUNCTION(ptx, GetPTX, (Handle, char *)) \
    FUNCTION(destroy, DestroyProgram, (Handle *))

struct Nvrtc {
    void *library;
#define FUNCTION(field, name, arguments) int (*field) arguments;
    FUNCTIONS
#undef FUNCTION
};

static void *find_library(const char *given)
{
    static const char *const place[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", "/usr/local/cuda/lib64/libnvrtc.so",
                                        "/usr/local/cuda/lib/libnvrtc.so", "/usr/local/cuda-13.0/lib/libnvrtc.so"};
    if (given)
        return dlopen(given, RTLD_NOW | RTLD_LOCAL);
    void *library = NULL;
    for (size_t i = 0; !library && i < sizeof place / sizeof *place; i++)
        library = dlopen(place[i], RTLD_NOW | RTLD_LOCAL);
    return library;
}

Status nvrtc_open(Nvrtc **out_nvrtc, StatusText *why)
{
    const char *given = getenv("MIXC_NVRTC");
    void *library = find_library(given);
    if (!library && given)
        return status_fail(why, STATUS_NO_DEVICE, "cannot load '%s', the compiler of CUDA text that MIXC_NVRTC names", given);
    if (!library)
        return status_fail(why, STATUS_NO_DEVICE, "cannot load libnvrtc, the compiler of CUDA text; install the CUDA toolkit "
                           "(12 or 13), or name the library in MIXC_NVRTC");
    Nvrtc *n = calloc(1, sizeof *n);
    if (!n) {
        dlclose(library);
        return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for the CUDA compiler");
    }
    n->library = library;
    const char *missing = NULL;
#define FUNCTION(field, name, arguments) \
    *(void **)&n->field = dlsym(library, "nvrtc" #name); \
    missing = n->field ? missing : "nvrtc" #name;
    FUNCTIONS
#undef FUNCTION
    if (missing) {
        nvrtc_close(n);
        return status_fail(why, STATUS_NO_DEVICE, "the CUDA compiler that was found has no %s; is it libnvrtc 12 or 13?", missing);
    }
    *out_nvrtc = n;
    return STATUS_OK;
}

void nvrtc_close(Nvrtc *n)
{
    if (!n)
        return;
    dlclose(n->library);
    free(n);
}

static Status fail_to_compile(const Nvrtc *n, Handle program, Arena *arena, StatusText *why)
{
    size_t size = 0;
    n->log_size(program, &size);
    char *log = arena_alloc(arena, size + 1, 1);
    n->log(program, log);
    char *end = strchr(log, '\n');
    if (end)
        *end = 0;
    return status_fail(why, STATUS_INTERNAL, "the CUDA text does not compile: %s", log);
}

Status nvrtc_ptx(Nvrtc *n, Arena *arena, const char *name, const char *text, const char *arch, const char **out_ptx,
                 StatusText *why)
{
    Handle program = NULL;
    const char *options[] = {arena_printf(arena, "--gpu-architecture=%s", arch), "-lineinfo", "--std=c++17", "-DNDEBUG"};
    if (n->create(&program, text, name, 0, NULL, NULL) != 0)
        return status_fail(why, STATUS_INTERNAL, "the CUDA compiler does not take a text");
    Status status = STATUS_OK;
    size_t size = 0;
    char *ptx = NULL;
    if (n->compile(program, sizeof options / sizeof *options, options) != 0)
        status = fail_to_compile(n, program, arena, why);
    else if (n->ptx_size(program, &size) != 0)
        status = status_fail(why, STATUS_INTERNAL, "the CUDA compiler gives no PTX");
    else {
        ptx = arena_alloc(arena, size + 1, 1);
        if (n->ptx(program, ptx) != 0)
            status = status_fail(why, STATUS_INTERNAL, "the CUDA compiler gives no PTX");
    }
    n->destroy(&program);
    if (status == STATUS_OK)
        *out_ptx = ptx;
    return status;
}
