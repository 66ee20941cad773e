// What a search for schedules asks of a GPU: who it is, so that times are kept under a name, and cold caches.
#include "cuda_program.h"

#include "arena.h"

// CU_DEVICE_ATTRIBUTE_*
enum { ATTRIBUTE_CLOCK_KHZ = 13, ATTRIBUTE_PROCESSORS = 16, ATTRIBUTE_MEMORY_CLOCK_KHZ = 36, ATTRIBUTE_BUS_BITS = 37, ATTRIBUTE_L2_BYTES = 38 };

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

// Writes `times` twice what the second-level cache holds, on the program's stream; nothing where the GPU does not tell.
static int flush(LoadedProgram *l, size_t times)
{
    Device *d = l->device;
    const DriverApi *api = d->driver;
    int error = api->context_use(api->self, d->context);
    if (error == 0 && !d->flush_bytes) {
        d->flush_bytes = 2 * (size_t)attribute(d, ATTRIBUTE_L2_BYTES);
        error = d->flush_bytes ? api->memory_take(api->self, &d->flush, d->flush_bytes) : 0;
    }
    for (size_t i = 0; i < times && error == 0 && d->flush; i++)
        error = api->memory_fill(api->self, d->flush, 0, d->flush_bytes, l->stream);
    return error;
}

Status cuda_chill(LoadedProgram *l, StatusText *why)
{
    if (l->device->sim)                     // its caches are counted, not timed
        return STATUS_OK;
    return cuda_status(l->device, flush(l, 1), why, "the caches of %s cannot be cleared", l->device->name);
}

// A launch and its event take the host some microseconds; where a kernel takes less, the time between two events would be the host's. So the GPU
// gets something to do first, and finds the launches enqueued when it is done. Without memory for that, times are as they are.
void cuda_hold(LoadedProgram *l)
{
    enum { HOST_NS = 8000, BYTES_A_NS = 2500 };         // of a launch with its event; written by a fast GPU
    Device *d = l->device;
    const size_t wanted = l->program->n_launches * (size_t)HOST_NS * BYTES_A_NS;
    if (!d->sim && !d->is_lost && flush(l, 1) == 0 && d->flush_bytes)
        (void)flush(l, wanted / d->flush_bytes);
}
