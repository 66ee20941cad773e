// The CPU: generated C, compiled by the system's compiler, loaded from memory and run on a pool of threads.
//
//   program texts -> translation units -> cache or compiler -> shared objects -> memfd + dlopen -> kernel functions
//
// A loaded program holds one arena at planned offsets; after loading, a run allocates nothing.
#define _GNU_SOURCE
#include "device.h"

#include "cache.h"
#include "check.h"
#include "compile.h"
#include "memory.h"
#include "place.h"
#include "pool.h"
#include "proc.h"
#include "units.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// Of what depends on parameters only, so much may be kept from run to run.
static const size_t most_kept = (size_t)2 << 30;

typedef void KernelFunction(void *const *p, long begin, long end, void *scratch);

struct Device {
    Arena    arena;                         // lives as long as the device
    Pool    *pool;
    Compiler compiler;
    Cache   *cache;
};

typedef struct Unit {
    void *handle;                           // of dlopen
    int   fd;                               // kept open: its number is the name under which the object was loaded
} Unit;

typedef struct CpuLaunch {
    KernelFunction *function;
    void   **argument;
    int64_t  n_work, grain;
    struct LoadedProgram *loaded;
} CpuLaunch;

struct LoadedProgram {
    Device        *device;
    const Program *program;                 // borrowed
    Arena          arena;
    Block          memory, scratch;
    Placement      place;
    size_t         scratch_stride;          // bytes for each thread
    Unit          *unit;
    int            n_units;
    CpuLaunch     *launch;
    bool           is_beside, is_stale;     // is_stale: the launches before n_once have to run
    LoadStats      stats;
};

static Status cpu_open(const DeviceOptions *options, Device **out_device, StatusText *why)
{
    Device *d = calloc(1, sizeof *d);
    if (!d)
        return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for the device");
    arena_init(&d->arena);
    int threads = options->threads > 0 ? options->threads : pool_default_threads();
    Status s = pool_open(threads, &d->pool, why);
    if (s != STATUS_OK) {
        free(d);
        return s;
    }
    d->compiler = compiler_make(&d->arena, options->compiler);
    d->cache = cache_open(options->cache_dir);
    *out_device = d;
    return STATUS_OK;
}

static void cpu_close(Device *d)
{
    if (!d)
        return;
    pool_close(d->pool);
    cache_close(d->cache);
    arena_free(&d->arena);
    free(d);
}

static size_t cache_level_bytes(int name, size_t otherwise)
{
    long n = sysconf(name);
    return n > 0 ? (size_t)n : otherwise;
}

static void cpu_target(const Device *d, Target *out)
{
    *out = (Target){.name = "cpu", .vector_floats = 4, .vector_registers = 16};
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        out->vector_floats = 8;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) {
        out->vector_floats = 16;
        out->vector_registers = 32;
    }
    out->has_bf16_dot = out->vector_floats == 16 && __builtin_cpu_supports("avx512bf16");
#elif defined(__aarch64__)
    out->vector_registers = 32;
#endif
    out->l1_bytes = cache_level_bytes(_SC_LEVEL1_DCACHE_SIZE, 32 << 10);
    out->l2_bytes = cache_level_bytes(_SC_LEVEL2_CACHE_SIZE, 1 << 20);
    out->threads = pool_threads(d->pool);
    out->keep_bytes = most_kept;
}

static Status cpu_identify(Device *d, Arena *arena, const char **out_text, StatusText *why)
{
    Target target;
    Status status = compiler_identify(&d->compiler, why);
    if (status != STATUS_OK)
        return status;
    cpu_target(d, &target);
    *out_text = arena_printf(arena, "cpu\n%sthreads %d\ncaches %zu %zu\n", compiler_key(arena, &d->compiler), target.threads,
                             target.l1_bytes, target.l2_bytes);
    return STATUS_OK;
}

static CompiledUnit *compose(LoadedProgram *l, Arena *work, int *unit_of)
{
    l->n_units = units_deal(l->program, false, pool_threads(l->device->pool), work, unit_of);
    CompiledUnit *unit = arena_array(work, CompiledUnit, (size_t)l->n_units);
    for (int u = 0; u < l->n_units; u++)
        unit[u] = (CompiledUnit){.text = units_text(l->program, u, unit_of, work),
                                 .label = arena_printf(work, "generated C, part %d of %d", u + 1, l->n_units)};
    return unit;
}

static Status open_unit(Unit *unit, const CompiledUnit *compiled, const char *compiler, StatusText *why)
{
    char path[64];
    int fd = memfd_create("mixc-kernels", MFD_CLOEXEC);
    if (fd < 0)
        return status_fail(why, STATUS_IO, "compiled kernels cannot be kept in memory: %s", strerror(errno));
    for (size_t n = 0; n < compiled->n;) {
        ssize_t w = write(fd, (const char *)compiled->data + n, compiled->n - n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0) {
            close(fd);
            return status_fail(why, STATUS_IO, "compiled kernels cannot be kept in memory: %s", strerror(errno));
        }
        n += (size_t)w;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *error = dlerror();
        close(fd);
        return status_fail(why, STATUS_NO_COMPILER, "what the C compiler '%s' made for %s cannot be loaded: %s", compiler,
                           compiled->label, error ? error : "no reason given");
    }
    *unit = (Unit){handle, fd};
    return STATUS_OK;
}

static void close_units(LoadedProgram *l)
{
    for (int u = 0; u < l->n_units; u++) {
        if (!l->unit[u].handle)
            continue;
        dlclose(l->unit[u].handle);
        close(l->unit[u].fd);
        l->unit[u] = (Unit){0};
    }
}

// Loads all units and finds every kernel's function.
static Status open_units(LoadedProgram *l, const CompiledUnit *compiled, const int *unit_of, KernelFunction **function,
                         StatusText *why)
{
    Status s = STATUS_OK;
    const char *compiler = l->device->compiler.path;
    for (int u = 0; u < l->n_units && s == STATUS_OK; u++)
        s = open_unit(&l->unit[u], &compiled[u], compiler, why);
    for (size_t k = 1; k < l->program->n_kernels && s == STATUS_OK; k++) {
        void *symbol = dlsym(l->unit[unit_of[k]].handle, l->program->kernel[k].name);
        if (!symbol)
            s = status_fail(why, STATUS_NO_COMPILER, "what the C compiler '%s' made has no kernel '%s'", compiler,
                            l->program->kernel[k].name);
        memcpy(&function[k], &symbol, sizeof symbol);        // ISO C has no cast from data to function pointers
    }
    if (s != STATUS_OK)
        close_units(l);
    return s;
}

// Cache or compiler, then loading. What loads well is put into the cache; a cached unit that does not load is
// compiled again, once.
static Status build_in(LoadedProgram *l, Arena *work, KernelFunction **function, StatusText *why)
{
    Device *d = l->device;
    int *unit_of = arena_array(work, int, l->program->n_kernels + 1);
    CompiledUnit *compiled = compose(l, work, unit_of);
    size_t n = (size_t)l->n_units;
    l->unit = arena_array(&l->arena, Unit, n);
    l->stats.units = l->n_units;
    l->stats.cache_refused = cache_refused(d->cache);
    if (n == 0)
        return STATUS_OK;
    Status s = compiler_identify(&d->compiler, why);
    if (s != STATUS_OK)
        return s;
    const char **key = arena_array(work, const char *, n);
    bool *missing = arena_array(work, bool, n);
    const char *prefix = compiler_key(work, &d->compiler);
    for (size_t u = 0; u < n; u++) {
        key[u] = arena_printf(work, "program %s\n%ssource\n%s", l->program->name, prefix, compiled[u].text);
        CacheFound found = cache_load(d->cache, work, key[u], &compiled[u].data, &compiled[u].n);
        missing[u] = found != CACHE_HIT;
        l->stats.cache_hits += found == CACHE_HIT;
        l->stats.cache_damaged += found == CACHE_DAMAGED;
    }
    if (l->stats.cache_hits < l->n_units)
        s = compiler_run(&d->compiler, work, compiled, missing, l->n_units, why);
    if (s == STATUS_OK)
        s = open_units(l, compiled, unit_of, function, l->stats.cache_hits ? NULL : why);
    if (s != STATUS_OK && l->stats.cache_hits) {
        l->stats.cache_damaged += l->stats.cache_hits;
        l->stats.cache_hits = 0;
        memset(missing, 1, n * sizeof *missing);
        s = compiler_run(&d->compiler, work, compiled, NULL, l->n_units, why);
        if (s == STATUS_OK)
            s = open_units(l, compiled, unit_of, function, why);
    }
    for (size_t u = 0; u < n && s == STATUS_OK; u++)
        if (missing[u])
            cache_store(d->cache, key[u], compiled[u].data, compiled[u].n);
    return s;
}

// Texts and compiled objects are gone again when this returns: what runs is in the memory of the loader.
static Status build(LoadedProgram *l, KernelFunction **function, StatusText *why)
{
    Arena work = {0};
    Status s = build_in(l, &work, function, why);
    arena_free(&work);
    memory_give_back();
    return s;
}

// `beside` NULL: everything in memory of its own, as planned.
static Status allocate(LoadedProgram *l, const Placement *beside, StatusText *why)
{
    const Program *p = l->program;
    Pool *pool = l->device->pool;
    PlacePlan plan = beside ? place_plan(&l->arena, p, beside) : (PlacePlan){.bytes = p->arena_bytes};
    size_t bytes = plan.bytes ? plan.bytes : 1;              // never empty, so that every pointer handed out is real
    size_t scratch = 1;
    for (size_t k = 1; k < p->n_kernels; k++)
        if (p->kernel[k].scratch_bytes > scratch)
            scratch = p->kernel[k].scratch_bytes;
    l->scratch_stride = (scratch + 127) / 128 * 128;         // two lines: neighbours are fetched in pairs
    double begin = proc_now_s();
    Status s = block_map(&l->memory, bytes, "the program's memory", true, pool, why);
    if (s == STATUS_OK)
        s = block_map(&l->scratch, l->scratch_stride * (size_t)pool_threads(pool), "the threads' scratch memory", true,
                      pool, why);
    l->stats.touch_s = proc_now_s() - begin;
    l->stats.arena_bytes = plan.bytes;
    l->stats.scratch_bytes = l->scratch.bytes;
    if (s == STATUS_OK)
        l->place = beside ? place_beside(&l->arena, p, &plan, beside, l->memory.data)
                          : place_at(&l->arena, p, l->memory.data);
    return s;
}

// Everything a run needs, so that it only walks an array.
static void prepare(LoadedProgram *l, KernelFunction *const *function)
{
    const Program *p = l->program;
    l->launch = arena_array(&l->arena, CpuLaunch, p->n_launches + 1);
    for (size_t i = 0; i < p->n_launches; i++) {
        const Launch *from = &p->launch[i];
        uint32_t n = p->kernel[from->kernel].n_params;
        CpuLaunch *to = &l->launch[i];
        *to = (CpuLaunch){.function = function[from->kernel], .n_work = from->n_work, .loaded = l,
                          .grain = units_grain(from),
                          .argument = arena_array(&l->arena, void *, n + 1)};
        for (uint32_t a = 0; a < n; a++)
            to->argument[a] = l->place.address[from->buffer[a]];
    }
}

static void cpu_unload(LoadedProgram *l)
{
    if (!l)
        return;
    close_units(l);
    block_unmap(&l->memory);
    block_unmap(&l->scratch);
    arena_free(&l->arena);
    free(l);
}

static Status load(Device *d, const Placement *beside, const Program *p, LoadedProgram **out_loaded, StatusText *why)
{
    Status s = program_check(p, why);
    if (s != STATUS_OK)
        return s;
    LoadedProgram *l = calloc(1, sizeof *l);
    if (!l)
        return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for the program");
    l->device = d;
    l->program = p;
    arena_init(&l->arena);
    KernelFunction **function = arena_array(&l->arena, KernelFunction *, p->n_kernels + 1);
    double begin = proc_now_s();
    s = build(l, function, why);
    l->stats.compile_s = proc_now_s() - begin;
    if (s == STATUS_OK)
        s = allocate(l, beside, why);
    if (s != STATUS_OK) {
        cpu_unload(l);
        return s;
    }
    prepare(l, function);
    l->is_stale = true;
    l->is_beside = beside != NULL;
    *out_loaded = l;
    return STATUS_OK;
}

static Status cpu_load(Device *d, const Program *p, LoadedProgram **out_loaded, StatusText *why)
{
    return load(d, NULL, p, out_loaded, why);
}

static Status cpu_load_beside(LoadedProgram *other, const Program *p, LoadedProgram **out_loaded, StatusText *why)
{
    return load(other->device, &other->place, p, out_loaded, why);
}

static bool cpu_is_shared(const LoadedProgram *l, uint32_t buffer)
{
    return place_is_shared(&l->place, l->program, buffer);
}

static Status cpu_write(LoadedProgram *l, uint32_t buffer, size_t offset, const void *data, size_t bytes,
                        StatusText *why)
{
    Status s = program_reach(l->program, buffer, offset, bytes, why);
    if (s == STATUS_OK && bytes)
        memcpy(l->place.address[buffer] + offset, data, bytes);
    if (s == STATUS_OK && l->program->buffer[buffer].kind != BUFFER_INPUT)
        l->is_stale = true;
    return s;
}

static Status cpu_read(LoadedProgram *l, uint32_t buffer, size_t offset, void *data, size_t bytes, StatusText *why)
{
    Status s = program_reach(l->program, buffer, offset, bytes, why);
    if (s == STATUS_OK && bytes)
        memcpy(data, l->place.address[buffer] + offset, bytes);
    return s;
}

static void run_piece(void *user, int64_t begin, int64_t end, int thread)
{
    const CpuLaunch *c = user;
    c->function(c->argument, (long)begin, (long)end, c->loaded->scratch.data + c->loaded->scratch_stride * (size_t)thread);
}

// Where a run begins: behind what the last one left as it must be. What lies beside another program shares its parameters,
// which change unseen.
static size_t first_launch(LoadedProgram *l)
{
    size_t first = l->is_stale || l->is_beside ? 0 : l->program->n_once;
    l->is_stale = false;
    return first;
}

static Status cpu_run(LoadedProgram *l, StatusText *why)
{
    (void)why;
    Pool *pool = l->device->pool;
    size_t n = l->program->n_launches;
    for (size_t i = first_launch(l); i < n; i++)
        pool_run(pool, run_piece, &l->launch[i], l->launch[i].n_work, l->launch[i].grain);
    l->stats.launches += (int64_t)n;
    return STATUS_OK;
}

static Status cpu_run_timed(LoadedProgram *l, double *out_seconds, StatusText *why)
{
    (void)why;
    size_t n = l->program->n_launches, first = first_launch(l);
    for (size_t i = 0; i < first; i++)
        out_seconds[i] = 0;
    for (size_t i = first; i < n; i++) {
        double begin = proc_now_s();
        pool_run(l->device->pool, run_piece, &l->launch[i], l->launch[i].n_work, l->launch[i].grain);
        out_seconds[i] = proc_now_s() - begin;
    }
    l->stats.launches += (int64_t)n;
    return STATUS_OK;
}

static void cpu_stats(const LoadedProgram *l, LoadStats *out_stats)
{
    *out_stats = l->stats;
}

const DeviceOps device_cpu = {
    .name = "cpu", .open = cpu_open, .close = cpu_close, .target = cpu_target, .identify = cpu_identify, .load = cpu_load, .unload = cpu_unload,
    .load_beside = cpu_load_beside, .is_shared = cpu_is_shared,
    .write = cpu_write, .read = cpu_read, .run = cpu_run, .run_timed = cpu_run_timed, .stats = cpu_stats,
};
