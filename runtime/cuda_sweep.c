// Sweeps (ir/program.h) on a GPU: a kernel of many pieces takes tables in place of arguments, because there are more than a launch can
// carry. They lie behind the arena, one for each launch, and are written once, when addresses are known:
//
//   addresses [n_params] of 8 bytes | elements [n_pieces] of 8 | piece and chunk [blocks] of 4 and 4
#include "cuda_program.h"

#include <string.h>

enum { ALIGNED = 64 };

typedef struct Tables { size_t count_at, block_at, bytes; } Tables;         // bytes: a multiple of ALIGNED

static Tables tables_of(const Program *p, const Launch *launch)
{
    const Kernel *k = &p->kernel[launch->kernel];
    Tables t = {.count_at = k->n_params * sizeof(uint64_t)};
    t.block_at = t.count_at + k->sweep->n_pieces * sizeof(int64_t);
    t.bytes = (t.block_at + (size_t)launch->cuda_blocks * 2 * sizeof(int32_t) + ALIGNED - 1) / ALIGNED * ALIGNED;
    return t;
}

static bool is_sweep(const Program *p, const Launch *launch)
{
    return p->kernel[launch->kernel].sweep && launch->cuda_blocks > 0;
}

size_t cuda_sweep_bytes(const Program *p)
{
    size_t bytes = 0;
    for (size_t i = 0; i < p->n_launches; i++)
        if (is_sweep(p, &p->launch[i]))
            bytes += tables_of(p, &p->launch[i]).bytes;
    return bytes;
}

// The tables of one launch, as the device sees them.
static void *fill(LoadedProgram *l, const Launch *launch, const Tables *t)
{
    const Kernel *k = &l->program->kernel[launch->kernel];
    char *data = arena_alloc(&l->arena, t->bytes, 1);
    uint64_t *address = (uint64_t *)(void *)data;
    int64_t *count = (int64_t *)(void *)(data + t->count_at);
    int32_t *at = (int32_t *)(void *)(data + t->block_at);
    int64_t block = 0;
    for (uint32_t a = 0; a < k->n_params; a++)
        address[a] = (uint64_t)(uintptr_t)l->place.address[launch->buffer[a]];
    for (uint32_t i = 0; i < k->sweep->n_pieces; i++) {
        count[i] = k->sweep->count[i];
        for (int64_t c = 0; c * k->sweep->chunk < count[i] && block < launch->cuda_blocks; c++, block++) {
            at[2 * block] = (int32_t)i;
            at[2 * block + 1] = (int32_t)c;
        }
    }
    return data;
}

Status cuda_sweep_tables(LoadedProgram *l, uint64_t at, StatusText *why)
{
    const Program *p = l->program;
    Device *d = l->device;
    l->sweep_at = arena_array(&l->arena, uint64_t, p->n_launches + 1);
    for (size_t i = 0; i < p->n_launches; i++) {
        if (!is_sweep(p, &p->launch[i]))
            continue;
        const Tables t = tables_of(p, &p->launch[i]);
        int error = d->driver->copy_in(d->driver->self, at, fill(l, &p->launch[i], &t), t.bytes, l->stream);
        error = error ? error : d->driver->stream_wait(d->driver->self, l->stream);
        if (error != 0)
            return cuda_status(d, error, why, "the tables of kernel '%s' cannot be written", p->kernel[p->launch[i].kernel].name);
        l->sweep_at[i] = at;
        at += t.bytes;
    }
    return STATUS_OK;
}

CudaTouch cuda_sweep_touch(const LoadedProgram *l, size_t i)
{
    return (CudaTouch){.name = "the tables of a sweep", .address = l->sweep_at[i], .bytes = tables_of(l->program, &l->program->launch[i]).bytes};
}

void cuda_sweep_arguments(const LoadedProgram *l, size_t i, uint64_t *out_address)
{
    const Tables t = tables_of(l->program, &l->program->launch[i]);
    out_address[0] = l->sweep_at[i];
    out_address[1] = l->sweep_at[i] + t.count_at;
    out_address[2] = l->sweep_at[i] + t.block_at;
}
