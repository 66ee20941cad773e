// The CUDA libraries as tables of functions. cuda_libraries_open fills them from what is installed; whoever fills them
// otherwise (the simulator, a fake) is a GPU to everything that is written against them.
#ifndef MIXC_CUDA_API_H
#define MIXC_CUDA_API_H

#include "status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Handles of the libraries; what they point to belongs to who filled the table.
typedef struct CudaContext CudaContext;
typedef struct CudaModule CudaModule;
typedef struct CudaFunction CudaFunction;
typedef struct CudaStream CudaStream;
typedef struct CudaGraph CudaGraph;
typedef struct CudaExec CudaExec;
typedef struct CudaEvent CudaEvent;
typedef struct CudaText CudaText;           // nvrtcProgram

// A piece of memory that a launch may touch, told to who watches.
typedef struct CudaTouch {
    const char *name;
    uint64_t    address;
    size_t      bytes;
    bool        is_written;
    bool        is_new;                     // nothing is in it before this launch
} CudaTouch;

struct SimCounters;

#define CUDA_PARAMETERS(...) __VA_ARGS__

typedef struct DriverApi {
    void *self;                             // the first argument of every function
#define DRIVER(field, symbol, parameters, arguments) int (*field)(void *self, CUDA_PARAMETERS parameters);
#include "cuda_api.def"
    // What a driver has not: NULL in the table of one.
    // The next launch on the stream touches these and nothing else. `line`: of the model, copied; names are borrowed.
    int  (*expect)(void *self, CudaStream *stream, const char *line, const CudaTouch *touch, size_t n);
    // When the work before it on the stream ended, these are written in full.
    int  (*demand)(void *self, CudaStream *stream, const CudaTouch *touch, size_t n);
    const char *(*complaint)(void *self);   // the sentence of the last failure
    void (*counters)(void *self, struct SimCounters *out);      // of all launches so far
    bool wants_ptx;                         // modules are loaded from PTX, not from cubins
} DriverApi;

typedef struct NvrtcApi {
    void *self;
#define NVRTC(field, symbol, parameters, arguments) int (*field)(void *self, CUDA_PARAMETERS parameters);
#include "cuda_api.def"
} NvrtcApi;

typedef struct BlasApi {
    void *self;
#define BLAS(field, symbol, parameters, arguments) int (*field)(void *self, CUDA_PARAMETERS parameters);
#include "cuda_api.def"
} BlasApi;

typedef struct CudaLibraries CudaLibraries;         // what was loaded; owns what `self` points to

typedef enum CudaLibrary { CUDA_DRIVER, CUDA_NVRTC, CUDA_BLAS, CUDA_LIBRARY_COUNT } CudaLibrary;

// Looks for nothing yet. Returns NULL without memory.
CudaLibraries *cuda_libraries_open(void);
void           cuda_libraries_close(CudaLibraries *libraries);
// Each loads its library once: the one that MIXC_LIBCUDA, MIXC_NVRTC or MIXC_CUBLASLT names, else from the search path
// and from where the toolkit is installed. The tables are borrowed. Fails with NO_DEVICE: what is missing, or which
// function an old library has not.
Status cuda_find_driver(CudaLibraries *libraries, const DriverApi **out_api, StatusText *why);
Status cuda_find_nvrtc(CudaLibraries *libraries, const NvrtcApi **out_api, StatusText *why);
Status cuda_find_blas(CudaLibraries *libraries, const BlasApi **out_api, StatusText *why);
// The name under which a library was found; NULL: it was not, or nobody asked.
const char *cuda_library_name(const CudaLibraries *libraries, CudaLibrary which);

#endif
