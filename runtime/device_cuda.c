// The GPU: CUDA text, compiled by NVRTC, run through the driver. Both are found at run time. The device `sim` is this one
// on the simulator's table of driver functions.
//
//   program texts -> a few NVRTC programs over threads -> cubins (kept by content) -> modules
//   memory plan   -> one arena on the device
//   launches      -> captured once as one graph; a run is one launch of it, and the host reads nothing in between
#include "cuda_program.h"

#include "check.h"
#include "sim/sim_driver.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OLDEST_CUDA = 12000, OLDEST_CAPABILITY = 80, LIBRARY_WAYS = 4,
       ATTRIBUTE_MAJOR = 75, ATTRIBUTE_MINOR = 76 };        // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*

// --- errors

typedef struct CudaError {
    int         code;
    bool        is_lasting;                 // no further call of this process will work
    const char *text, *remedy;
} CudaError;

static const CudaError error_row[] = {
    {2, false, "not enough memory on the GPU", "take a smaller batch, or --max-mem; other programs may use it too"},
    {3, false, "the driver is not initialised", "restart the program"},
    {34, false, "this libcuda is a stub for linking", "name the driver's own library in MIXC_LIBCUDA"},
    {35, false, "the driver is older than the libraries that call it", "update the driver"},
    {46, false, "all GPUs are taken, or allow one program only", "is another program running? nvidia-smi shows it, and the compute mode"},
    {100, false, "the driver finds no GPU",
     "is one there, and does CUDA_VISIBLE_DEVICES allow it? --device cpu works without"},
    {101, false, "the driver does not know this GPU", "check CUDA_VISIBLE_DEVICES"},
    {200, false, "the compiled kernels are damaged", "mixc cache clear removes what was kept"},
    {209, false, "the compiled kernels are for another GPU", "mixc cache clear removes what was kept"},
    {214, true, "the GPU's memory has an error that cannot be corrected", "look at nvidia-smi -q and the system's log (dmesg)"},
    {218, false, "the driver cannot read the compiled kernels", "is the driver older than the toolkit? update it"},
    {222, false, "the toolkit is newer than the driver",
     "update the driver, or name an older libnvrtc in MIXC_NVRTC"},
    {500, false, "a kernel is missing from what was compiled", "mixc cache clear removes what was kept"},
    {700, true, "a kernel accessed memory that is not its own",
     "MIXC_CUDA_WAIT=1 names the kernel; --device sim at a small size shows the line"},
    {701, false, "a kernel needs more registers or shared memory than the GPU has", "take smaller axes, or report it as a bug"},
    {702, true, "a kernel took too long, and the system stopped it", "a GPU without a display has no such limit"},
    {710, true, "a kernel failed an assertion", "MIXC_CUDA_WAIT=1 names the kernel"},
    {714, true, "the GPU had a hardware error", "look at the system's log (dmesg) for Xid"},
    {715, true, "a kernel ran an instruction that the GPU does not have", "mixc cache clear removes what was kept"},
    {716, true, "a kernel accessed a misaligned address",
     "MIXC_CUDA_WAIT=1 names the kernel; --device sim at a small size shows the line"},
    {717, true, "a kernel used an address of the wrong space", "MIXC_CUDA_WAIT=1 names the kernel"},
    {718, true, "a kernel jumped to no instruction", "MIXC_CUDA_WAIT=1 names the kernel"},
    {719, true, "a kernel failed", "MIXC_CUDA_WAIT=1 names the kernel; --device sim at a small size shows the line"},
    {802, false, "the GPUs are not ready", "is the fabric manager running?"},
    {803, false, "the driver and its kernel module are of different versions",
     "restart the machine after an update of the driver"},
    {804, false, "the driver does not support this GPU", "update the driver"},
    {999, false, "the driver does not know what failed", "nvidia-smi and the system's log (dmesg) may tell; restart the machine"},
};

static const CudaError *find_error(int code)
{
    for (size_t i = 0; i < sizeof error_row / sizeof *error_row; i++)
        if (error_row[i].code == code)
            return &error_row[i];
    return NULL;
}

Status cuda_status(Device *d, int error, StatusText *why, const char *doing, ...)
{
    if (error == 0)
        return STATUS_OK;
    char what[256];
    const char *text = NULL, *sentence = d->driver->complaint ? d->driver->complaint(d->driver->self) : NULL;
    const CudaError *row = find_error(error);
    va_list args;
    va_start(args, doing);
    vsnprintf(what, sizeof what, doing, args);
    va_end(args);
    d->is_lost = d->is_lost || (row && row->is_lasting && !sentence);      // the simulator goes on
    const Status status = error == 2 ? STATUS_OUT_OF_MEMORY : sentence ? STATUS_INTERNAL : STATUS_NO_DEVICE;
    if (sentence)
        return status_fail(why, status, "%s", sentence);
    if (row)
        return status_fail(why, status, "%s: %s (error %d of the driver); %s", what, row->text, error, row->remedy);
    d->driver->error_text(d->driver->self, error, &text);
    return status_fail(why, status, "%s: %s (error %d of the driver)", what, text ? text : "for a reason that it does not tell", error);
}

// --- opening

static void cuda_close(Device *d)
{
    if (!d)
        return;
    if (d->blas_handle && !d->is_lost && d->driver->context_use(d->driver->self, d->context) == 0)
        d->blas->destroy(d->blas->self, d->blas_handle);
    if (d->flush && !d->is_lost && d->driver->context_use(d->driver->self, d->context) == 0)
        d->driver->memory_free(d->driver->self, d->flush);
    if (d->context && !d->is_lost)
        d->driver->context_release(d->driver->self, d->ordinal);
    sim_driver_close(d->sim);
    cuda_libraries_close(d->libraries);
    pool_close(d->pool);
    cache_close(d->cache);
    free(d);
}

static Status check_versions(Device *d, StatusText *why)
{
    int driver = 0, major = 0, minor = 0;
    Status status = cuda_status(d, d->driver->version(d->driver->self, &driver), why, "the driver does not tell its version");
    if (status != STATUS_OK)
        return status;
    if (driver < OLDEST_CUDA)
        return status_fail(why, STATUS_NO_DEVICE, "the driver is for CUDA %d.%d, and 12.0 or newer is needed; update it", driver / 1000,
                           driver % 1000 / 10);
    if (d->nvrtc->version(d->nvrtc->self, &major, &minor) != 0)
        return status_fail(why, STATUS_NO_DEVICE, "libnvrtc does not tell its version; is it that of CUDA 12 or 13?");
    if (major < OLDEST_CUDA / 1000)
        return status_fail(why, STATUS_NO_DEVICE, "libnvrtc is that of CUDA %d.%d, and 12.0 or newer is needed", major, minor);
    if (major > driver / 1000)
        return status_fail(why, STATUS_NO_DEVICE, "the toolkit is that of CUDA %d.%d and the driver is for CUDA %d.%d; update the driver, "
                           "or name an older libnvrtc in MIXC_NVRTC", major, minor, driver / 1000, driver % 1000 / 10);
    return STATUS_OK;
}

// Code for Hopper and later is for exactly that architecture ("a"), which has what a portable one leaves out.
static Status choose_arch(Device *d, int gpu, StatusText *why)
{
    const DriverApi *api = d->driver;
    int major = 0, minor = 0;
    int error = api->device_attribute(api->self, &major, ATTRIBUTE_MAJOR, gpu);
    error = error ? error : api->device_attribute(api->self, &minor, ATTRIBUTE_MINOR, gpu);
    error = error ? error : api->device_name(api->self, d->name, (int)sizeof d->name, gpu);
    if (error != 0)
        return cuda_status(d, error, why, "the GPU does not say what it is");
    const int capability = 10 * major + minor;
    if (capability < OLDEST_CAPABILITY)
        return status_fail(why, STATUS_NO_DEVICE, "%s has compute capability %d.%d, and 8.0 or newer is needed; --device cpu works "
                           "without", d->name, major, minor);
    if (!nvrtc_knows(d->nvrtc, capability))
        return status_fail(why, STATUS_NO_DEVICE, "%s has compute capability %d.%d, which the toolkit does not know; install a newer one",
                           d->name, major, minor);
    snprintf(d->arch, sizeof d->arch, "sm_%d%s", capability, capability >= 90 ? "a" : "");
    return STATUS_OK;
}

static Status find_gpu(Device *d, StatusText *why)
{
    const DriverApi *api = d->driver;
    int n = 0;
    Status status = cuda_status(d, api->init(api->self, 0), why, "the driver does not start");
    if (status == STATUS_OK)
        status = check_versions(d, why);
    if (status == STATUS_OK)
        status = cuda_status(d, api->device_count(api->self, &n), why, "GPUs cannot be counted");
    if (status == STATUS_OK && n <= 0)
        status = cuda_status(d, 100, why, "no GPU");
    if (status == STATUS_OK)
        status = cuda_status(d, api->device_get(api->self, &d->ordinal, 0), why, "the first GPU cannot be used");
    if (status == STATUS_OK)
        status = choose_arch(d, d->ordinal, why);
    if (status == STATUS_OK)
        status = cuda_status(d, api->context_retain(api->self, &d->context, d->ordinal), why, "%s cannot be used", d->name);
    return status;
}

// Takes over libraries and simulator, also when it fails.
static Status open_on(Device *d, const DeviceOptions *options, Device **out_device, StatusText *why)
{
    int threads = options->threads > 0 ? options->threads : pool_default_threads();
    Status status = pool_open(threads < CUDA_UNITS_MOST ? threads : CUDA_UNITS_MOST, &d->pool, why);
    if (status == STATUS_OK) {
        d->cache = cache_open(options->cache_dir);
        status = find_gpu(d, why);
    }
    if (status != STATUS_OK) {
        cuda_close(d);
        return status;
    }
    snprintf(d->about, sizeof d->about, "%s, %s", d->name, d->arch);
    d->nvtx = nvtx_open();
    *out_device = d;
    return STATUS_OK;
}

static Device *make_device(const DeviceOptions *options, StatusText *why)
{
    Device *d = calloc(1, sizeof *d);
    if (d) {
        d->driver = options->driver;
        d->nvrtc = options->nvrtc;
        d->blas = getenv("MIXC_NO_CUBLASLT") ? NULL : options->blas;
        d->looked_for_blas = options->driver != NULL;       // what is installed knows nothing of a GPU that is borrowed
        d->libraries = cuda_libraries_open();
    }
    if (!d || !d->libraries) {
        cuda_close(d);
        status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for the device");
        return NULL;
    }
    return d;
}

static Status cuda_open(const DeviceOptions *options, Device **out_device, StatusText *why)
{
    Device *d = make_device(options, why);
    if (!d)
        return STATUS_OUT_OF_MEMORY;
    Status status = d->driver ? STATUS_OK : cuda_find_driver(d->libraries, &d->driver, why);
    if (status == STATUS_OK && !d->nvrtc)
        status = cuda_find_nvrtc(d->libraries, &d->nvrtc, why);
    if (status == STATUS_OK)
        return open_on(d, options, out_device, why);
    cuda_close(d);
    return status;
}

static Status sim_open(const DeviceOptions *options, Device **out_device, StatusText *why)
{
    Device *d = make_device(options, why);
    if (!d)
        return STATUS_OUT_OF_MEMORY;
    Status status = d->nvrtc ? STATUS_OK : cuda_find_nvrtc(d->libraries, &d->nvrtc, why);
    if (status == STATUS_OK)
        status = sim_driver_open(&d->sim, why);
    if (status == STATUS_OK) {
        d->driver = sim_driver_api(d->sim);
        return open_on(d, options, out_device, why);
    }
    cuda_close(d);
    return status;
}

static const char *cuda_describe(const Device *d)
{
    return d->about;
}

// Whether there is a library is known when it is first wanted; a search then meets refusals where there is none.
static void target(const Device *d, const char *name, Target *out)
{
    const bool may_have_library = d->blas || (!d->looked_for_blas && !d->sim && !getenv("MIXC_NO_CUBLASLT"));
    *out = (Target){.name = name, .is_cuda = true, .vector_floats = 8, .vector_registers = 16, .l1_bytes = 32 << 10,
                    .l2_bytes = 1 << 20, .threads = 1, .library_ways = may_have_library ? LIBRARY_WAYS : 0};
}

static void cuda_target(const Device *d, Target *out)
{
    target(d, "cuda", out);
}

static void sim_target(const Device *d, Target *out)
{
    target(d, "sim", out);
}

// --- programs

// After an error that lasts there is nothing that could be given back.
static void cuda_unload(LoadedProgram *l)
{
    if (!l)
        return;
    Device *d = l->device;
    const DriverApi *api = d->driver;
    if (!d->is_lost) {
        api->context_use(api->self, d->context);        // whichever thread this is
        if (l->exec)
            api->exec_free(api->self, l->exec);
        cuda_free_library(l);
        if (l->stream)
            api->stream_free(api->self, l->stream);
        for (int i = 0; i < l->n_modules; i++)
            if (l->module[i])
                api->module_unload(api->self, l->module[i]);
        if (l->memory)
            api->memory_free(api->self, l->memory);
    }
    arena_free(&l->arena);
    free(l);
}

static Status check_kernels(const Program *p, StatusText *why)
{
    for (size_t k = 1; k < p->n_kernels; k++) {
        const Kernel *kernel = &p->kernel[k];
        if (!kernel->cuda)
            return status_fail(why, STATUS_NO_DEVICE, "kernel '%s' has no CUDA text yet; --device cpu runs it", kernel->name);
        if (kernel->n_params > CUDA_PARAMS_MOST && !kernel->sweep)
            return status_fail(why, STATUS_TOO_LARGE, "kernel '%s' has %u arguments; a kernel takes %d", kernel->name, kernel->n_params,
                               CUDA_PARAMS_MOST);
    }
    for (size_t i = 0; i < p->n_launches; i++)
        if (p->launch[i].cuda_blocks > INT32_MAX)
            return status_fail(why, STATUS_TOO_LARGE, "a launch of kernel '%s' has %lld blocks", p->kernel[p->launch[i].kernel].name,
                               (long long)p->launch[i].cuda_blocks);
    return STATUS_OK;
}

// One arena, zeroed, at the plan's offsets; beside another program, what it does not share with it.
static Status allocate(LoadedProgram *l, const Placement *beside, const PlacePlan *plan, size_t bytes, StatusText *why)
{
    Device *d = l->device;
    const DriverApi *api = d->driver;
    Status status = cuda_status(d, api->stream_make(api->self, &l->stream, 1), why, "a stream on %s", d->name);     // NON_BLOCKING
    if (status == STATUS_OK)
        status = cuda_status(d, api->memory_take(api->self, &l->memory, bytes), why, "%.1f MiB on %s for '%s'",
                             (double)bytes / 1048576, d->name, l->program->name);
    if (status == STATUS_OK)
        status = cuda_status(d, api->memory_fill(api->self, l->memory, 0, bytes, l->stream), why, "memory cannot be cleared");
    if (status != STATUS_OK)
        return status;
    unsigned char *memory = (unsigned char *)(uintptr_t)l->memory;
    l->place = beside ? place_beside(&l->arena, l->program, plan, beside, memory) : place_at(&l->arena, l->program, memory);
    return cuda_sweep_tables(l, l->memory + bytes - cuda_sweep_bytes(l->program), why);
}

static Status load(Device *d, const Placement *beside, const Program *p, LoadedProgram **out_loaded, StatusText *why)
{
    if (d->is_lost)
        return status_fail(why, STATUS_NO_DEVICE, "%s failed before, and is of no use to this process any more", d->name);
    Status status = program_check(p, why);
    if (status == STATUS_OK)
        status = check_kernels(p, why);
    if (status == STATUS_OK)
        status = cuda_status(d, d->driver->context_use(d->driver->self, d->context), why, "%s cannot be used", d->name);
    if (status != STATUS_OK)
        return status;
    LoadedProgram *l = calloc(1, sizeof *l);
    if (!l)
        return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for the program");
    l->device = d;
    l->program = p;
    arena_init(&l->arena);
    const PlacePlan plan = beside ? place_plan(&l->arena, p, beside) : (PlacePlan){.bytes = p->arena_bytes};
    const size_t bytes = (plan.bytes ? plan.bytes + 63 : 64) / 64 * 64 + cuda_sweep_bytes(p);
    l->stats.arena_bytes = plan.bytes;
    nvtx_push(&d->nvtx, "load %s", p->name);
    status = cuda_check_memory(d, p, bytes, why);
    if (status == STATUS_OK)
        cuda_prepare_library(l);
    if (status == STATUS_OK)
        status = cuda_build(l, why);
    if (status == STATUS_OK)
        status = allocate(l, beside, &plan, bytes, why);
    if (status == STATUS_OK)
        status = cuda_capture(l, why);
    nvtx_pop(&d->nvtx);
    if (status != STATUS_OK)
        cuda_unload(l);
    else
        *out_loaded = l;
    return status;
}

static Status cuda_load(Device *d, const Program *p, LoadedProgram **out_loaded, StatusText *why)
{
    return load(d, NULL, p, out_loaded, why);
}

static Status cuda_load_beside(LoadedProgram *other, const Program *p, LoadedProgram **out_loaded, StatusText *why)
{
    return load(other->device, &other->place, p, out_loaded, why);
}

static bool cuda_is_shared(const LoadedProgram *l, uint32_t buffer)
{
    return place_is_shared(&l->place, l->program, buffer);
}

// --- the host's side

static Status check_access(const LoadedProgram *l, uint32_t buffer, size_t offset, size_t bytes, StatusText *why)
{
    Status status = program_reach(l->program, buffer, offset, bytes, why);
    if (status == STATUS_OK && l->device->is_lost)
        return status_fail(why, STATUS_NO_DEVICE, "%s failed before, and '%s' is lost with it", l->device->name,
                           l->program->buffer[buffer].name);
    return status;
}

static Status cuda_write(LoadedProgram *l, uint32_t buffer, size_t offset, const void *data, size_t bytes,
                         StatusText *why)
{
    Device *d = l->device;
    Status status = check_access(l, buffer, offset, bytes, why);
    if (status != STATUS_OK || bytes == 0)
        return status;
    const uint64_t to = (uint64_t)(uintptr_t)l->place.address[buffer] + offset;
    int error = d->driver->context_use(d->driver->self, d->context);
    error = error ? error : d->driver->copy_in(d->driver->self, to, data, bytes, l->stream);
    return cuda_status(d, error, why, "'%s' cannot be written", l->program->buffer[buffer].name);
}

static Status cuda_read(LoadedProgram *l, uint32_t buffer, size_t offset, void *data, size_t bytes, StatusText *why)
{
    Device *d = l->device;
    Status status = check_access(l, buffer, offset, bytes, why);
    if (status != STATUS_OK || bytes == 0)
        return status;
    const uint64_t from = (uint64_t)(uintptr_t)l->place.address[buffer] + offset;
    int error = d->driver->context_use(d->driver->self, d->context);
    error = error ? error : d->driver->copy_out(d->driver->self, data, from, bytes, l->stream);
    error = error ? error : d->driver->stream_wait(d->driver->self, l->stream);
    return cuda_status(d, error, why, "'%s' cannot be read", l->program->buffer[buffer].name);
}

static void cuda_stats(const LoadedProgram *l, LoadStats *out_stats)
{
    *out_stats = l->stats;
}

// All but the name, how it is opened, and the facts that carry the name.
#define CUDA_FUNCTIONS \
    .close = cuda_close, .describe = cuda_describe, .load = cuda_load, .unload = cuda_unload, .load_beside = cuda_load_beside, \
    .is_shared = cuda_is_shared, .write = cuda_write, .read = cuda_read, .run = cuda_run, .run_timed = cuda_run_timed, \
    .run_counted = cuda_run_counted, .stats = cuda_stats, .identify = cuda_identify, .chill = cuda_chill

const DeviceOps device_cuda = {.name = "cuda", .is_lost_by_fork = true, .open = cuda_open, .target = cuda_target, CUDA_FUNCTIONS};
const DeviceOps device_sim = {.name = "sim", .open = sim_open, .target = sim_target, CUDA_FUNCTIONS};
