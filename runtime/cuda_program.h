// What the parts of the cuda device share; private to runtime. A device is two tables of functions (cuda_api.h), whoever
// filled them; a loaded program is modules, one arena on the device, and one graph that is captured once and launched for
// every run.
#ifndef MIXC_CUDA_PROGRAM_H
#define MIXC_CUDA_PROGRAM_H

#include "device.h"

#include "cache.h"
#include "nvrtc.h"
#include "nvtx.h"
#include "place.h"
#include "pool.h"

struct SimDriver;

enum { CUDA_UNITS_MOST = 8,                // NVRTC programs at a time; each takes some hundred MB while it is compiled
       CUDA_PARAMS_MOST = 512 };            // of a kernel: 4 KiB

struct Device {
    const DriverApi  *driver;               // borrowed: of the libraries, of the simulator, or of who gave them
    const NvrtcApi   *nvrtc;
    const BlasApi    *blas;                 // NULL: not wanted yet, or there is none (cuda_blas)
    void             *blas_handle;          // NULL: not wanted yet
    bool              looked_for_blas;
    CudaLibraries    *libraries;            // owned; NULL: none were loaded
    struct SimDriver *sim;                  // owned; NULL: not simulated
    Pool             *pool;                 // compiles
    Cache            *cache;
    int               ordinal;              // of the GPU
    CudaContext      *context;              // NULL: none is held
    char              name[128], arch[16], about[160];      // "NVIDIA H100", "sm_90a", both
    Nvtx              nvtx;                 // ranges for a profiler that listens
    uint64_t          flush;                // memory that is written to make caches cold; 0: not wanted yet
    size_t            flush_bytes;
    bool              is_lost;              // it answered with an error after which no call is of use
};

struct LoadedProgram {
    Device         *device;
    const Program  *program;                // borrowed
    Arena           arena;
    CudaModule    **module;
    int             n_modules;
    CudaFunction  **function;               // [n_kernels]
    uint64_t        memory;                 // address of the arena on the device; 0: none
    Placement       place;                  // addresses of the device, never followed here
    CudaStream     *stream;
    CudaExec       *exec;                   // one run
    struct LibraryCall **library;           // [n_kernels] of those that cuBLASLt computes; NULL: our own text does
    uint64_t       *sweep_at;               // [n_launches] where the tables of those lie that are sweeps
    CudaTouch     **touch;                  // [n_launches] what each may touch; NULL when nobody watches
    LoadStats       stats;
};

// The status of an error code of the driver; on failure says what was being done, and what to do about it.
Status cuda_status(Device *d, int error, StatusText *why, const char *doing, ...) __attribute__((format(printf, 4, 5)));

// Compiles the kernels in a few texts over threads, or finds them in the cache, and loads them.
Status cuda_build(LoadedProgram *l, StatusText *why);

// Fails with OUT_OF_MEMORY, naming the largest buffers, when the device has not so much left.
Status cuda_check_memory(Device *d, const Program *p, size_t bytes, StatusText *why);
Status cuda_capture(LoadedProgram *l, StatusText *why);
Status cuda_run(LoadedProgram *l, StatusText *why);
Status cuda_run_timed(LoadedProgram *l, double *out_seconds, StatusText *why);
Status cuda_run_counted(LoadedProgram *l, struct SimCounters *out_counters, StatusText *why);

// "models/gpt.mix:14, which makes 'a' and 'b'": where a launch comes from, for errors. Returns out.
const char *cuda_describe_launch(const Program *p, const Launch *launch, char *out, size_t room);

// Tables of sweeps (cuda_sweep.c): their room behind the arena, filling them from address `at` on, what a launch touches and its
// three arguments.
enum { CUDA_SWEEP_ARGUMENTS = 3 };
size_t cuda_sweep_bytes(const Program *p);
Status cuda_sweep_tables(LoadedProgram *l, uint64_t at, StatusText *why);
CudaTouch cuda_sweep_touch(const LoadedProgram *l, size_t i);
void   cuda_sweep_arguments(const LoadedProgram *l, size_t i, uint64_t *out_address);

// Products by cuBLASLt (cuda_library.c). Preparing never fails: what the library cannot do our own kernels do.
const BlasApi *cuda_blas(Device *d);        // NULL: there is none
void   cuda_prepare_library(LoadedProgram *l);
void   cuda_free_library(LoadedProgram *l);
Status cuda_launch_library(LoadedProgram *l, size_t i, StatusText *why);        // enqueues launch i
const char *cuda_library_version(Device *d, Arena *arena);

// For searches (device.h).
Status cuda_identify(Device *d, Arena *arena, const char **out_text, StatusText *why);
Status cuda_chill(LoadedProgram *l, StatusText *why);
void   cuda_hold(LoadedProgram *l);         // keeps the GPU busy while the host enqueues what is to be timed

#endif
