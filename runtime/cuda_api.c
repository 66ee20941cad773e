// See cuda_api.h. The rows become, for each library, a record of the functions as they are exported, and a table whose
// functions take that record first.
#include "cuda_api.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

typedef struct Driver {
    void *library;
#define DRIVER(field, symbol, parameters, arguments) int (*field) parameters;
#include "cuda_api.def"
} Driver;

typedef struct Compiler {
    void *library;
#define NVRTC(field, symbol, parameters, arguments) int (*field) parameters;
#include "cuda_api.def"
} Compiler;

typedef struct Blas {
    void *library;
#define BLAS(field, symbol, parameters, arguments) int (*field) parameters;
#include "cuda_api.def"
} Blas;

#define DRIVER(field, symbol, parameters, arguments) \
    static int driver_##field(void *self, CUDA_PARAMETERS parameters) { return ((Driver *)self)->field arguments; }
#define NVRTC(field, symbol, parameters, arguments) \
    static int nvrtc_##field(void *self, CUDA_PARAMETERS parameters) { return ((Compiler *)self)->field arguments; }
#define BLAS(field, symbol, parameters, arguments) \
    static int blas_##field(void *self, CUDA_PARAMETERS parameters) { return ((Blas *)self)->field arguments; }
#include "cuda_api.def"

struct CudaLibraries {
    Driver      driver;
    Compiler    nvrtc;
    Blas        blas;
    DriverApi   driver_api;
    NvrtcApi    nvrtc_api;
    BlasApi     blas_api;
    const char *name[CUDA_LIBRARY_COUNT];
};

typedef struct Place {
    const char *variable;                   // names the library
    const char *what, *remedy;              // "cannot load WHAT; REMEDY"
    const char *path[8];
} Place;

static const Place place[CUDA_LIBRARY_COUNT] = {
    [CUDA_DRIVER] = {"MIXC_LIBCUDA", "libcuda, the driver of NVIDIA GPUs", "install the driver, or use --device cpu, or --device sim "
                     "to run the CUDA kernels in the simulator", {"libcuda.so.1", "libcuda.so"}},
    [CUDA_NVRTC] = {"MIXC_NVRTC", "libnvrtc, the compiler of CUDA text", "install the CUDA toolkit (12 or 13), or name the library in "
                    "MIXC_NVRTC", {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", "/usr/local/cuda/lib64/libnvrtc.so",
                    "/usr/local/cuda/lib/libnvrtc.so"}},
    [CUDA_BLAS] = {"MIXC_CUBLASLT", "libcublasLt, NVIDIA's matrix products", "install the CUDA toolkit (12 or 13), or name the library "
                   "in MIXC_CUBLASLT", {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so",
                   "/usr/local/cuda/lib64/libcublasLt.so", "/usr/local/cuda/lib/libcublasLt.so"}},
};

CudaLibraries *cuda_libraries_open(void)
{
    return calloc(1, sizeof(CudaLibraries));
}

// They stay loaded when closed: they have threads and exit handlers of their own.
static void *load(const char *path)
{
    return dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

static Status find(CudaLibraries *l, CudaLibrary which, void **out_library, StatusText *why)
{
    const Place *p = &place[which];
    const char *given = getenv(p->variable);
    for (size_t i = 0; !given && !*out_library && p->path[i]; i++) {
        *out_library = load(p->path[i]);
        l->name[which] = p->path[i];
    }
    if (given) {
        *out_library = load(given);
        l->name[which] = given;
    }
    if (*out_library)
        return STATUS_OK;
    l->name[which] = NULL;
    if (given)
        return status_fail(why, STATUS_NO_DEVICE, "cannot load '%s', which %s names as %s", given, p->variable, p->what);
    return status_fail(why, STATUS_NO_DEVICE, "cannot load %s; %s", p->what, p->remedy);
}

static void *symbol_of(void *library, const char *symbol, const char **missing)
{
    void *found = dlsym(library, symbol);
    *missing = found ? *missing : symbol;
    return found;
}

static Status too_old(CudaLibraries *l, CudaLibrary which, void **library, const char *missing, const char *needed, StatusText *why)
{
    const char *name = l->name[which];
    dlclose(*library);
    *library = NULL;
    l->name[which] = NULL;
    return status_fail(why, STATUS_NO_DEVICE, "'%s' has no %s; %s", name, missing, needed);
}

Status cuda_find_driver(CudaLibraries *l, const DriverApi **out_api, StatusText *why)
{
    const char *missing = NULL;
    Status status = l->driver.library ? STATUS_OK : find(l, CUDA_DRIVER, &l->driver.library, why);
    if (status != STATUS_OK)
        return status;
    l->driver_api = (DriverApi){.self = &l->driver};
#define DRIVER(field, symbol, parameters, arguments) { \
        void *found = symbol_of(l->driver.library, #symbol, &missing); \
        memcpy(&l->driver.field, &found, sizeof found); \
        l->driver_api.field = driver_##field; \
    }
#include "cuda_api.def"
    if (missing)
        return too_old(l, CUDA_DRIVER, &l->driver.library, missing, "the driver of a GPU for CUDA 12 or newer is needed", why);
    *out_api = &l->driver_api;
    return STATUS_OK;
}

Status cuda_find_nvrtc(CudaLibraries *l, const NvrtcApi **out_api, StatusText *why)
{
    const char *missing = NULL;
    Status status = l->nvrtc.library ? STATUS_OK : find(l, CUDA_NVRTC, &l->nvrtc.library, why);
    if (status != STATUS_OK)
        return status;
    l->nvrtc_api = (NvrtcApi){.self = &l->nvrtc};
#define NVRTC(field, symbol, parameters, arguments) { \
        void *found = symbol_of(l->nvrtc.library, #symbol, &missing); \
        memcpy(&l->nvrtc.field, &found, sizeof found); \
        l->nvrtc_api.field = nvrtc_##field; \
    }
#include "cuda_api.def"
    if (missing)
        return too_old(l, CUDA_NVRTC, &l->nvrtc.library, missing, "libnvrtc of CUDA 12 or 13 is needed", why);
    *out_api = &l->nvrtc_api;
    return STATUS_OK;
}

Status cuda_find_blas(CudaLibraries *l, const BlasApi **out_api, StatusText *why)
{
    const char *missing = NULL;
    Status status = l->blas.library ? STATUS_OK : find(l, CUDA_BLAS, &l->blas.library, why);
    if (status != STATUS_OK)
        return status;
    l->blas_api = (BlasApi){.self = &l->blas};
#define BLAS(field, symbol, parameters, arguments) { \
        void *found = symbol_of(l->blas.library, #symbol, &missing); \
        memcpy(&l->blas.field, &found, sizeof found); \
        l->blas_api.field = blas_##field; \
    }
#include "cuda_api.def"
    if (missing)
        return too_old(l, CUDA_BLAS, &l->blas.library, missing, "cuBLASLt of CUDA 12 or 13 is needed", why);
    *out_api = &l->blas_api;
    return STATUS_OK;
}

void cuda_libraries_close(CudaLibraries *l)
{
    if (!l)
        return;
    void *const library[] = {l->driver.library, l->nvrtc.library, l->blas.library};
    for (size_t i = 0; i < sizeof library / sizeof *library; i++)
        if (library[i])
            dlclose(library[i]);
    free(l);
}

const char *cuda_library_name(const CudaLibraries *l, CudaLibrary which)
{
    return l->name[which];
}
