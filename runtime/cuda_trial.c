// What a search for schedules asks of a GPU: who it is, so that times are kept under a name, and cold caches.
#include "cuda_program.h"

#include "arena.h"

// CU_DEVICE_ATTRIBUTE_*
enum { ATTRIBUTE_CLOCK_KHZ = 13, ATTRIBUTE_PROCESSORS = 16, ATTRIBUTE_MEMORY_CLOCK_KHZ = 36, ATTRIBUTE_BUS_BITS = 37, ATTRIBUTE_L2_BYTES = 38 };

static const size_t least_flush = (size_t)64 << 20;

// What it does not tell is 0.
static int attribute(const Device *d, int which)
{
    int value = 0;
    return d->driver->device_attribute(d->driver->self, &value, which, d->ordinal) == 0 ? value : 0;
}

Status cuda_identify(Device *d, Arena *arena, const char **out_text, StatusText *why)
{
    int version = 0;
    Status status = cuda_status(d, d->driver->version(d->driver->self, &version), why, "the driver does not tell its version");
    if (status != STATUS_OK)
        return status;
    *out_text = arena_printf(arena, "%s\n%s\ndriver %d\nprocessors %d at %d kHz\nmemory %d bits at %d kHz, cache %d\n%s\n%s", d->sim ? "sim" : "cuda",
                             d->about, version, attribute(d, ATTRIBUTE_PROCESSORS), attribute(d, ATTRIBUTE_CLOCK_KHZ),
                             attribute(d, ATTRIBUTE_BUS_BITS), attribute(d, ATTRIBUTE_MEMORY_CLOCK_KHZ), attribute(d, ATTRIBUTE_L2_BYTES),
                             cuda_library_version(d, arena), nvrtc_key(d->nvrtc, arena));
    return STATUS_OK;
}

// Twice what the second-level cache holds is written on the program's stream. That also keeps the GPU busy while the host
// enqueues what is to be timed, so that a short kernel's time is its own and not that of the way to it.
Status cuda_chill(LoadedProgram *l, StatusText *why)
{
    Device *d = l->device;
    const DriverApi *api = d->driver;
    if (d->sim)                             // its caches are counted, not timed
        return STATUS_OK;
    int error = api->context_use(api->self, d->context);
    if (error == 0 && !d->flush) {
        const size_t wanted = 2 * (size_t)attribute(d, ATTRIBUTE_L2_BYTES);
        d->flush_bytes = wanted > least_flush ? wanted : least_flush;
        error = api->memory_take(api->self, &d->flush, d->flush_bytes);
    }
    if (error == 0)
        error = api->memory_fill(api->self, d->flush, 0, d->flush_bytes, l->stream);
    return cuda_status(d, error, why, "the caches of %s cannot be cleared", d->name);
}
