// A device runs programs: cpu, cuda, sim (the cuda device on a simulated GPU), null.
#ifndef MIXC_DEVICE_H
#define MIXC_DEVICE_H

#include "program.h"
#include "status.h"
#include "target.h"

#include <stdbool.h>

typedef struct Device Device;
typedef struct LoadedProgram LoadedProgram;   // a compiled program with its arena on the device

typedef struct DeviceOptions {
    int         threads;                    // 0: as many as the machine has
    const char *cache_dir;                  // compiled kernels; NULL: the default, "": none
    const char *compiler;                   // NULL: $CC or cc
    // cuda: another GPU and another compiler than those that are installed, borrowed; sim: the compiler. NULL: installed.
    const struct DriverApi *driver;
    const struct NvrtcApi  *nvrtc;
    const struct BlasApi   *blas;           // cuda, sim: cuBLASLt, borrowed; NULL: the installed one, or none beside a borrowed GPU
} DeviceOptions;

struct SimCounters;

typedef struct LoadStats {                  // of one loaded program
    double      compile_s;                  // compiling, or finding and loading what was compiled before
    double      touch_s;                    // first touch of the arena
    int         units, cache_hits, cache_damaged;   // translation units; found compiled; found damaged, so recompiled
    const char *cache_refused;              // why the cache directory is not used; NULL: it is, or none was wanted
    int         library_kernels;            // that a library computes (cuBLASLt)
    const char *library_refused;            // why it does not compute one that a measurement gave to it; NULL: it does
    size_t      arena_bytes, scratch_bytes;
    int64_t     launches;                   // run so far
    int64_t     graph_launches;             // runs that were one launch of a graph
} LoadStats;

typedef struct DeviceOps {
    const char *name;
    bool   is_lost_by_fork;                 // once opened, children that are forked cannot open it; programs that they start can
    Status (*open)(const DeviceOptions *options, Device **out_device, StatusText *why);
    void   (*close)(Device *device);
    // What was opened, in words: "NVIDIA H100, sm_90a"; borrowed. NULL: the name says all.
    const char *(*describe)(const Device *device);
    // Facts for passes and code generation.
    void   (*target)(const Device *device, Target *out_target);
    // What a time measured on the device depends on, as text in `arena`: processor, threads, caches, compiler. NULL: times
    // are not kept (runtime/tuning.h).
    Status (*identify)(Device *device, Arena *arena, const char **out_text, StatusText *why);
    // Compiles (or finds in the cache) and allocates the arena, zeroed. The device composes its translation units
    // from the program's prelude and kernel texts. The program must outlive what is loaded.
    Status (*load)(Device *device, const Program *p, LoadedProgram **out_loaded, StatusText *why);
    void   (*unload)(LoadedProgram *loaded);
    // The same, beside a program that is loaded on the same device and outlives it, for evaluation and sampling while
    // training, and for generation step by step: parameters and states that `p` only reads, and caches (CACHE_PREFIX) also where
    // it writes them, are those of `other` (same kind, name, type and order of axes), and what only a run needs lies where
    // `other` keeps such things. So a run of either spoils what the last run of the other left in its TEMP and OUTPUT
    // buffers: read outputs first. NULL: not offered.
    Status (*load_beside)(LoadedProgram *other, const Program *p, LoadedProgram **out_loaded, StatusText *why);
    // True for a buffer of a program loaded beside another whose storage is the other's. NULL when load_beside is.
    bool   (*is_shared)(const LoadedProgram *loaded, uint32_t buffer);
    // Host access to bytes offset .. offset+bytes-1 of a buffer: a large one moves in pieces, with no second copy of it.
    // Outside the buffer is INTERNAL (program_reach, check.h).
    Status (*write)(LoadedProgram *loaded, uint32_t buffer, size_t offset, const void *data, size_t bytes,
                    StatusText *why);
    Status (*read)(LoadedProgram *loaded, uint32_t buffer, size_t offset, void *data, size_t bytes, StatusText *why);
    // Runs all launches, in order, and waits; those before n_once only after a parameter or state was written.
    Status (*run)(LoadedProgram *loaded, StatusText *why);
    // The same, and out_seconds[i] is the time of launch i (n_launches long), 0 if it did not have to run.
    Status (*run_timed)(LoadedProgram *loaded, double *out_seconds, StatusText *why);
    // The same, and out_counters[i] (sim/sim_counters.h) is what launch i did. NULL, or NO_DEVICE: not offered.
    Status (*run_counted)(LoadedProgram *loaded, struct SimCounters *out_counters, StatusText *why);
    // Before a run whose time counts: replaces what the caches hold. NULL: they are the host's.
    Status (*chill)(LoadedProgram *loaded, StatusText *why);
    void   (*stats)(const LoadedProgram *loaded, LoadStats *out_stats);
} DeviceOps;

extern const DeviceOps device_cpu, device_cuda, device_null, device_sim;
// NULL: no such device.
const DeviceOps *device_find(const char *name);
// Opens the GPU if it can be used, else the cpu.
Status device_open_best(const DeviceOptions *options, const DeviceOps **out_ops, Device **out_device, StatusText *why);

#endif
