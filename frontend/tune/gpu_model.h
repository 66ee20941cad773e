// How long a GPU would take for what the simulator counted: an analytic model with the constants of a named device. It is for
// ranking schedules of one kernel; as times its results are rough.
#ifndef MIXC_GPU_MODEL_H
#define MIXC_GPU_MODEL_H

#include "program.h"
#include "sim/sim_counters.h"

typedef struct GpuDevice {
    const char *name;
    double processors, mhz, fp32, tensor, l2, memory;       // gpu_devices.def
} GpuDevice;

// NULL name: the first. NULL: no such device. gpu_device_names: all of them, for a message.
const GpuDevice *gpu_device_find(const char *name);
const char      *gpu_device_names(Arena *arena);

// Seconds of all launches of a program one after the other; counted[i] is what launch i did. The time of a launch is that of the unit
// that is busy longest: issue slots, multiplications, tensor cores, shared memory with its conflicts, the ways to both caches,
// memory, or the chain of one warp's instructions; and a part of the others', which overlap imperfectly.
double gpu_seconds(const GpuDevice *device, const Program *p, const SimCounters *counted);

#endif
