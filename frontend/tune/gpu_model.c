// See gpu_model.h.
#include "gpu_model.h"

#include <math.h>
#include <string.h>

// Cycles, or a clock's worth, of any of these devices.
static const double issues = 4, l1_bytes = 64, instruction = 4, barrier = 30, first_word = 700, launch_s = 2e-6, overlap_lost = 0.15;
enum { SECTOR = 32, LANES = 32, RESIDENT_THREADS = 2048, RESIDENT_BLOCKS = 32, RESIDENT_BYTES = 160 << 10 };

static const GpuDevice gpu_device[] = {
#define GPU(name, processors, mhz, fp32, tensor, l2, memory) {name, processors, mhz, fp32, tensor, l2, memory},
#include "gpu_devices.def"
#undef GPU
};
enum { N_DEVICES = sizeof gpu_device / sizeof *gpu_device };

const GpuDevice *gpu_device_find(const char *name)
{
    for (size_t i = 0; i < N_DEVICES; i++)
        if (!name || !strcmp(name, gpu_device[i].name))
            return &gpu_device[i];
    return NULL;
}

const char *gpu_device_names(Arena *arena)
{
    Text text = text_make(arena);
    for (size_t i = 0; i < N_DEVICES; i++)
        text_printf(&text, "%s%s", i ? ", " : "", gpu_device[i].name);
    return text_str(&text);
}

// Blocks of a kernel that one processor holds at a time.
static double resident(const Kernel *k)
{
    const int64_t threads = k->cuda_threads > 0 ? k->cuda_threads : 1, bytes = k->cuda_shared_bytes + k->cuda_dynamic_bytes;
    double n = fmin(RESIDENT_BLOCKS, (double)(RESIDENT_THREADS / threads));
    if (bytes > 0)
        n = fmin(n, (double)(RESIDENT_BYTES / bytes));
    return fmax(n, 1);
}

static double launch_cycles(const GpuDevice *d, const Kernel *k, const SimCounters *c)
{
    const double blocks = fmax((double)c->blocks, 1), warps = blocks * ceil((double)(k->cuda_threads > 0 ? k->cuda_threads : 1) / LANES);
    const double part = ceil(blocks / d->processors) / blocks;              // of all work, that of the busiest processor
    const double waves = ceil(blocks / (d->processors * resident(k)));
    const double sectors = (double)c->global_sectors * SECTOR, moved = (double)(c->first_read_sectors + c->first_written_sectors) * SECTOR;
    const double unit[] = {
        (double)c->instructions / issues * part,
        (double)c->flops / d->fp32 * part,
        (double)c->tensor_flops / d->tensor * part,
        (double)(c->shared_requests + c->bank_conflicts) * part,
        sectors / l1_bytes * part,
        sectors / d->l2,
        moved / (d->memory * 1e9) * d->mhz * 1e6,
        waves * (first_word + (double)c->instructions / warps * instruction + (double)c->barriers / blocks * barrier),
    };
    double most = 0, sum = 0;
    for (size_t i = 0; i < sizeof unit / sizeof *unit; i++) {
        most = fmax(most, unit[i]);
        sum += unit[i];
    }
    return most + overlap_lost * (sum - most);
}

double gpu_seconds(const GpuDevice *device, const Program *p, const SimCounters *counted)
{
    double seconds = 0;
    for (size_t i = 0; i < p->n_launches; i++)
        if (counted[i].launches)
            seconds += launch_s + launch_cycles(device, &p->kernel[p->launch[i].kernel], &counted[i]) / (device->mhz * 1e6);
    return seconds;
}
