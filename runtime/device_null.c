// The null device: checks everything a real one relies on, keeps what the host writes, computes nothing. It is also the
// template for a new device: every function is here, each with what it must check and nothing more.
#include "device.h"

#include "check.h"
#include "memory.h"
#include "pool.h"

#include <stdlib.h>
#include <string.h>

struct Device {
    Pool *pool;                             // of one thread; block_map touches pages with it
};

struct LoadedProgram {
    const Program *program;                 // borrowed
    Block          memory;
    LoadStats      stats;
};

static Status null_open(const DeviceOptions *options, Device **out_device, StatusText *why)
{
    (void)options;
    Device *d = calloc(1, sizeof *d);
    if (!d)
        return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for the device");
    Status s = pool_open(1, &d->pool, why);
    if (s != STATUS_OK)
        free(d);
    else
        *out_device = d;
    return s;
}

static void null_close(Device *d)
{
    if (!d)
        return;
    pool_close(d->pool);
    free(d);
}

static void null_target(const Device *d, Target *out)
{
    (void)d;
    *out = (Target){.name = "null", .vector_floats = 8, .vector_registers = 16, .l1_bytes = 32 << 10,
                    .l2_bytes = 1 << 20, .threads = 1};
}

static void null_unload(LoadedProgram *l)
{
    if (!l)
        return;
    block_unmap(&l->memory);
    free(l);
}

static Status null_load(Device *d, const Program *p, LoadedProgram **out_loaded, StatusText *why)
{
    Status s = program_check(p, why);
    if (s != STATUS_OK)
        return s;
    LoadedProgram *l = calloc(1, sizeof *l);
    if (!l)
        return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for the program");
    l->program = p;
    l->stats.arena_bytes = p->arena_bytes;
    s = block_map(&l->memory, p->arena_bytes ? p->arena_bytes : 1, "the program's memory", false, d->pool, why);
    if (s != STATUS_OK)
        null_unload(l);
    else
        *out_loaded = l;
    return s;
}

static unsigned char *address(const LoadedProgram *l, uint32_t buffer)
{
    return l->memory.data + l->program->buffer[program_storage(l->program, buffer)].offset;
}

static Status null_write(LoadedProgram *l, uint32_t buffer, size_t offset, const void *data, size_t bytes,
                         StatusText *why)
{
    Status s = program_reach(l->program, buffer, offset, bytes, why);
    if (s == STATUS_OK && bytes)
        memcpy(address(l, buffer) + offset, data, bytes);
    return s;
}

static Status null_read(LoadedProgram *l, uint32_t buffer, size_t offset, void *data, size_t bytes, StatusText *why)
{
    Status s = program_reach(l->program, buffer, offset, bytes, why);
    if (s == STATUS_OK && bytes)
        memcpy(data, address(l, buffer) + offset, bytes);
    return s;
}

static Status null_run(LoadedProgram *l, StatusText *why)
{
    (void)why;
    l->stats.launches += (int64_t)l->program->n_launches;
    return STATUS_OK;
}

static Status null_run_timed(LoadedProgram *l, double *out_seconds, StatusText *why)
{
    for (size_t i = 0; i < l->program->n_launches; i++)
        out_seconds[i] = 0;
    return null_run(l, why);
}

static void null_stats(const LoadedProgram *l, LoadStats *out_stats)
{
    *out_stats = l->stats;
}

const DeviceOps device_null = {
    .name = "null", .open = null_open, .close = null_close, .target = null_target, .load = null_load,
    .unload = null_unload, .write = null_write, .read = null_read, .run = null_run, .run_timed = null_run_timed,
    .stats = null_stats,
};
