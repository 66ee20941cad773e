// The simulated GPU: the program's CUDA text becomes PTX, and every launch runs in the simulator (sim/sim.h) on buffers
// that it watches. Slow, and it says what is wrong. A launch may touch its own arguments only, each within its bounds;
// buffers of one run begin with nothing in them, so that what nobody computed is found.
#include "device.h"

#include "check.h"
#include "memory.h"
#include "nvrtc.h"
#include "pool.h"
#include "sim/sim.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ARENA_BASE UINT64_C(0x100000000)    // the arena's address on the device

struct Device {
    Pool  *pool;                            // of one thread; block_map touches pages with it
    Nvrtc *nvrtc;
};

struct LoadedProgram {
    const Program *program;                 // borrowed
    Arena          arena;
    PtxModule     *module;
    Block          memory;
    uint8_t       *defined;                 // one for each byte of memory
    SimCounters    counters;
    LoadStats      stats;
};

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void sim_close(Device *d)
{
    if (!d)
        return;
    nvrtc_close(d->nvrtc);
    pool_close(d->pool);
    free(d);
}

static Status sim_open(const DeviceOptions *options, Device **out_device, StatusText *why)
{
    (void)options;
    Device *d = calloc(1, sizeof *d);
    if (!d)
        return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for the device");
    Status s = nvrtc_open(&d->nvrtc, why);
    if (s == STATUS_OK)
        s = pool_open(1, &d->pool, why);
    if (s != STATUS_OK)
        sim_close(d);
    else
        *out_device = d;
    return s;
}

static void sim_target(const Device *d, Target *out)
{
    (void)d;
    *out = (Target){.name = "sim", .is_cuda = true, .vector_floats = 8, .vector_registers = 16, .l1_bytes = 32 << 10,
                    .l2_bytes = 1 << 20, .threads = 1};
}

static void sim_unload(LoadedProgram *l)
{
    if (!l)
        return;
    block_unmap(&l->memory);
    free(l->defined);
    arena_free(&l->arena);
    free(l);
}

static Status compile(Device *d, LoadedProgram *l, StatusText *why)
{
    const Program *p = l->program;
    Text text = text_make(&l->arena);
    const char *ptx = NULL;
    const double start = seconds();
    text_add(&text, p->cuda_prelude ? p->cuda_prelude : "");
    for (size_t k = 1; k < p->n_kernels; k++) {
        if (!p->kernel[k].cuda)
            return status_fail(why, STATUS_NO_DEVICE, "kernel '%s' has no CUDA text yet; --device cpu runs it", p->kernel[k].name);
        text_printf(&text, "\n%s", p->kernel[k].cuda);
    }
    Status s = nvrtc_ptx(d->nvrtc, &l->arena, "kernels.cu", text_str(&text), "sm_80", &ptx, why);
    if (s == STATUS_OK)
        s = ptx_parse(&l->arena, "kernels.ptx", ptx, &l->module, why);
    l->stats.compile_s = seconds() - start;
    l->stats.units = 1;
    return s;
}

static Status sim_load(Device *d, const Program *p, LoadedProgram **out_loaded, StatusText *why)
{
    Status s = program_check(p, why);
    if (s != STATUS_OK)
        return s;
    LoadedProgram *l = calloc(1, sizeof *l);
    const size_t bytes = p->arena_bytes ? p->arena_bytes : 1;
    uint8_t *defined = calloc(bytes, 1);
    if (!l || !defined) {
        free(l);
        free(defined);
        return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for the program");
    }
    l->program = p;
    l->defined = defined;
    l->stats.arena_bytes = p->arena_bytes;
    s = block_map(&l->memory, bytes, "the program's memory", false, d->pool, why);
    if (s == STATUS_OK)
        s = compile(d, l, why);
    for (uint32_t b = 1; b < p->n_buffers; b++)         // what lives across runs begins as zeros
        if (p->buffer[b].kind == BUFFER_PARAM || p->buffer[b].kind == BUFFER_STATE || p->buffer[b].kind == BUFFER_INPUT)
            memset(l->defined + p->buffer[program_storage(p, b)].offset, 1, p->buffer[b].bytes);
    if (s != STATUS_OK)
        sim_unload(l);
    else
        *out_loaded = l;
    return s;
}

// Where a buffer of `bytes` begins; fails when there is no such buffer.
static Status find_bytes(const LoadedProgram *l, uint32_t buffer, size_t bytes, size_t *out_at, StatusText *why)
{
    const Program *p = l->program;
    if (buffer == 0 || buffer >= p->n_buffers)
        return status_fail(why, STATUS_INTERNAL, "program '%s' has no buffer %u", p->name, buffer);
    if (bytes != p->buffer[buffer].bytes)
        return status_fail(why, STATUS_INTERNAL, "buffer '%s' has %zu bytes, not %zu", p->buffer[buffer].name,
                           p->buffer[buffer].bytes, bytes);
    *out_at = p->buffer[program_storage(p, buffer)].offset;
    return STATUS_OK;
}

static Status sim_write(LoadedProgram *l, uint32_t buffer, const void *data, size_t bytes, StatusText *why)
{
    size_t at = 0;
    Status s = find_bytes(l, buffer, bytes, &at, why);
    if (s != STATUS_OK)
        return s;
    memcpy(l->memory.data + at, data, bytes);
    memset(l->defined + at, 1, bytes);
    return STATUS_OK;
}

static Status sim_read(LoadedProgram *l, uint32_t buffer, void *data, size_t bytes, StatusText *why)
{
    size_t at = 0;
    Status s = find_bytes(l, buffer, bytes, &at, why);
    if (s == STATUS_OK)
        memcpy(data, l->memory.data + at, bytes);
    return s;
}

// A buffer of this run only has nothing in it before the first launch that names it.
static void forget(LoadedProgram *l, const Launch *launch, bool *seen)
{
    const Program *p = l->program;
    for (uint32_t a = 0; a < p->kernel[launch->kernel].n_params; a++) {
        const uint32_t b = program_storage(p, launch->buffer[a]);
        const Buffer *buffer = &p->buffer[b];
        if (!seen[b] && (buffer->kind == BUFFER_TEMP || buffer->kind == BUFFER_OUTPUT))
            memset(l->defined + buffer->offset, 0, buffer->bytes);
        seen[b] = true;
    }
}

static Status run_launch(LoadedProgram *l, const Launch *launch, StatusText *why)
{
    const Program *p = l->program;
    const Kernel *k = &p->kernel[launch->kernel];
    enum { MOST = 256 };
    SimRegion region[MOST];
    uint64_t arg[MOST];
    if (k->n_params > MOST)
        return status_fail(why, STATUS_TOO_LARGE, "kernel '%s' has %u arguments; the simulator takes %d", k->name, k->n_params, MOST);
    for (uint32_t a = 0; a < k->n_params; a++) {
        const Buffer *b = &p->buffer[launch->buffer[a]];
        const size_t at = p->buffer[program_storage(p, launch->buffer[a])].offset;
        arg[a] = ARENA_BASE + at;
        region[a] = (SimRegion){.name = b->name, .base = arg[a], .bytes = b->bytes, .data = l->memory.data + at,
                                .defined = l->defined + at, .is_writable = a < 64 && (k->writes >> a & 1)};
    }
    SimLaunch sim = {.module = l->module, .kernel = k->name, .grid = {(uint32_t)launch->cuda_blocks, 1, 1},
                     .block = {(uint32_t)k->cuda_threads, 1, 1}, .arg = arg, .n_args = k->n_params, .region = region,
                     .n_regions = k->n_params};
    if (launch->cuda_blocks <= 0 || launch->cuda_blocks > INT32_MAX)
        return status_fail(why, STATUS_TOO_LARGE, "a launch of kernel '%s' has %lld blocks", k->name, (long long)launch->cuda_blocks);
    l->stats.launches++;
    return sim_launch(&sim, &l->counters, why);
}

// Every byte of an output was written by the run.
static Status check_outputs(const LoadedProgram *l, StatusText *why)
{
    const Program *p = l->program;
    for (uint32_t b = 1; b < p->n_buffers; b++) {
        const Buffer *o = &p->buffer[b];
        const uint8_t *defined = l->defined + p->buffer[program_storage(p, b)].offset;
        const uint8_t *gap = o->kind == BUFFER_OUTPUT ? memchr(defined, 0, o->bytes) : NULL;
        if (gap)
            return status_fail(why, STATUS_INTERNAL, "no launch wrote byte %zu of '%s'", (size_t)(gap - defined), o->name);
    }
    return STATUS_OK;
}

static Status sim_run_timed(LoadedProgram *l, double *out_seconds, StatusText *why)
{
    const Program *p = l->program;
    Arena scratch = {0};
    bool *seen = arena_array(&scratch, bool, p->n_buffers + 1);
    Status s = STATUS_OK;
    for (size_t i = 0; s == STATUS_OK && i < p->n_launches; i++) {
        const double start = seconds();
        forget(l, &p->launch[i], seen);
        s = run_launch(l, &p->launch[i], why);
        if (out_seconds)
            out_seconds[i] = seconds() - start;
    }
    if (s == STATUS_OK)
        s = check_outputs(l, why);
    arena_free(&scratch);
    return s;
}

static Status sim_run(LoadedProgram *l, StatusText *why)
{
    return sim_run_timed(l, NULL, why);
}

static void sim_stats(const LoadedProgram *l, LoadStats *out_stats)
{
    *out_stats = l->stats;
}

const DeviceOps device_sim = {
    .name = "sim", .open = sim_open, .close = sim_close, .target = sim_target, .load = sim_load, .unload = sim_unload,
    .write = sim_write, .read = sim_read, .run = sim_run, .run_timed = sim_run_timed, .stats = sim_stats,
};
