// Memory and launches of a loaded program: what must fit, the graph that is one run, and runs kernel by kernel for those
// who want to know more.
#include "cuda_program.h"

#include "check.h"
#include "sim/sim_counters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- memory

enum { SHOWN = 3 };                         // buffers that a message names

static size_t storage_bytes(const Program *p, uint32_t b)
{
    return p->buffer[b].same_as ? 0 : p->buffer[b].bytes;
}

// The line of the model that makes the buffer, or uses it, where that is a parameter.
static const char *line_of_buffer(const Program *p, uint32_t b, char *out, size_t room)
{
    const bool is_param = b && p->buffer[b].kind == BUFFER_PARAM;
    for (size_t i = 0; i < p->n_launches; i++) {
        const Launch *launch = &p->launch[i];
        const Kernel *k = &p->kernel[launch->kernel];
        for (uint32_t a = 0; a < k->n_params && !k->sweep; a++)     // whose pieces come from many lines
            if ((is_param || program_writes(k, a)) && program_storage(p, launch->buffer[a]) == b)
                return program_line(p, launch, out, room);
    }
    snprintf(out, room, "%s", is_param ? "a parameter" : "given by the host");
    return out;
}

static void describe_largest(const Program *p, Text *out)
{
    uint32_t shown[SHOWN] = {0};
    for (int n = 0; n < SHOWN; n++) {
        char line[128];
        uint32_t best = 0;
        for (uint32_t b = 1; b < p->n_buffers; b++) {
            bool is_shown = false;
            for (int i = 0; i < n; i++)
                is_shown = is_shown || shown[i] == b;
            if (!is_shown && storage_bytes(p, b) > (best ? p->buffer[best].bytes : 0))
                best = b;
        }
        if (!best)
            return;
        line_of_buffer(p, best, line, sizeof line);
        text_printf(out, "%s'%s' %.1f MiB (%s)", n ? ", " : "; the largest: ", p->buffer[best].name,
                    (double)p->buffer[best].bytes / 1048576, line);
        shown[n] = best;
    }
}

Status cuda_check_memory(Device *d, const Program *p, size_t bytes, StatusText *why)
{
    size_t n_free = 0, n_total = 0;
    int error = d->driver->memory_info(d->driver->self, &n_free, &n_total);
    if (error != 0)
        return cuda_status(d, error, why, "the memory of %s cannot be looked at", d->name);
    if (bytes <= n_free)
        return STATUS_OK;
    Arena arena = {0};
    Text largest = text_make(&arena);
    describe_largest(p, &largest);
    status_fail(why, STATUS_OUT_OF_MEMORY, "the plan needs %.1f MiB and %s has %.1f MiB free of %.1f%s; take a smaller batch, or "
                "--max-mem %zuM", (double)bytes / 1048576, d->name, (double)n_free / 1048576, (double)n_total / 1048576,
                text_str(&largest), n_free >> 20);
    arena_free(&arena);
    return STATUS_OUT_OF_MEMORY;
}

// --- launches

static bool lives_for_a_run(const Program *p, uint32_t b)
{
    const BufferKind kind = p->buffer[program_storage(p, b)].kind;
    return kind == BUFFER_TEMP || kind == BUFFER_OUTPUT;
}

static CudaTouch touch_of(const LoadedProgram *l, uint32_t b, bool is_written, bool is_new)
{
    return (CudaTouch){.name = l->program->buffer[b].name, .address = (uint64_t)(uintptr_t)l->place.address[b],
                       .bytes = l->program->buffer[b].bytes, .is_written = is_written, .is_new = is_new};
}

// What each launch may touch: its arguments. The first that names a buffer of one run finds nothing in it.
static void plan_touches(LoadedProgram *l)
{
    const Program *p = l->program;
    bool *seen = arena_array(&l->arena, bool, p->n_buffers + 1);
    l->touch = arena_array(&l->arena, CudaTouch *, p->n_launches + 1);
    for (size_t i = 0; i < p->n_launches; i++) {
        const Launch *launch = &p->launch[i];
        const Kernel *k = &p->kernel[launch->kernel];
        l->touch[i] = arena_array(&l->arena, CudaTouch, k->n_params + 1);
        if (l->sweep_at[i])
            l->touch[i][k->n_params] = cuda_sweep_touch(l, i);
        for (uint32_t a = 0; a < k->n_params; a++) {
            const uint32_t b = launch->buffer[a], root = program_storage(p, b);
            l->touch[i][a] = touch_of(l, b, program_writes(k, a), !seen[root] && lives_for_a_run(p, b));
        }
        for (uint32_t a = 0; a < k->n_params; a++)
            seen[program_storage(p, launch->buffer[a])] = true;
    }
}

const char *cuda_describe_launch(const Program *p, const Launch *launch, char *out, size_t room)
{
    const Kernel *k = &p->kernel[launch->kernel];
    size_t n = strlen(program_line(p, launch, out, room));
    uint32_t made = 0;
    for (uint32_t a = 0; a < k->n_params && n < room; a++) {
        if (!program_writes(k, a) || (k->library && a == k->library->work))
            continue;
        const char *before = made == 0 ? ", which makes " : made < SHOWN ? ", " : ", ..";
        n += (size_t)snprintf(out + n, room - n, made < SHOWN ? "%s'%s'" : "%s", before, p->buffer[launch->buffer[a]].name);
        if (made++ == SHOWN)
            break;
    }
    return out;
}

// Enqueues launch i.
static Status start(LoadedProgram *l, size_t i, StatusText *why)
{
    const Program *p = l->program;
    Device *d = l->device;
    const Launch *launch = &p->launch[i];
    const Kernel *k = &p->kernel[launch->kernel];
    char line[256];
    uint64_t address[CUDA_PARAMS_MOST];
    void *argument[CUDA_PARAMS_MOST];
    if (launch->cuda_blocks <= 0)
        return STATUS_OK;                   // nothing to do; an empty grid is an error of the driver
    const bool is_sweep = l->sweep_at[i] != 0;
    if (is_sweep)
        cuda_sweep_arguments(l, i, address);
    for (uint32_t a = 0; !is_sweep && a < k->n_params; a++)
        address[a] = (uint64_t)(uintptr_t)l->place.address[launch->buffer[a]];
    for (uint32_t a = 0; a < (is_sweep ? CUDA_SWEEP_ARGUMENTS : k->n_params); a++)
        argument[a] = &address[a];
    int error = 0;
    if (d->driver->expect)
        error = d->driver->expect(d->driver->self, l->stream, cuda_describe_launch(p, launch, line, sizeof line), l->touch[i], k->n_params + is_sweep);
    if (error == 0 && l->library[launch->kernel])
        return cuda_launch_library(l, i, why);
    if (error == 0)
        error = d->driver->launch(d->driver->self, l->function[launch->kernel], (unsigned)launch->cuda_blocks, 1, 1,
                                  (unsigned)k->cuda_threads, 1, 1, (unsigned)k->cuda_dynamic_bytes, l->stream, argument, NULL);
    return cuda_status(d, error, why, "kernel '%s' (%s) cannot be launched", k->name, cuda_describe_launch(p, launch, line, sizeof line));
}

// Every output is written in full when the run ends.
static Status demand_outputs(LoadedProgram *l, StatusText *why)
{
    const Program *p = l->program;
    Device *d = l->device;
    if (!d->driver->demand)
        return STATUS_OK;
    CudaTouch *touch = arena_array(&l->arena, CudaTouch, p->n_buffers + 1);
    size_t n = 0;
    for (uint32_t b = 1; b < p->n_buffers; b++)
        if (p->buffer[b].kind == BUFFER_OUTPUT)
            touch[n++] = touch_of(l, b, false, false);
    return cuda_status(d, d->driver->demand(d->driver->self, l->stream, touch, n), why, "outputs cannot be checked");
}

Status cuda_capture(LoadedProgram *l, StatusText *why)
{
    Device *d = l->device;
    const DriverApi *api = d->driver;
    CudaGraph *graph = NULL;
    if (api->expect)
        plan_touches(l);
    // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL; RELAXED where a library may load its kernels at their first launch.
    int error = api->capture_begin(api->self, l->stream, l->stats.library_kernels ? 2 : 1);
    if (error != 0)
        return cuda_status(d, error, why, "the launches of '%s' cannot be recorded", l->program->name);
    Status status = STATUS_OK;
    for (size_t i = 0; i < l->program->n_launches && status == STATUS_OK; i++)
        status = start(l, i, why);
    if (status == STATUS_OK)
        status = demand_outputs(l, why);
    error = api->capture_end(api->self, l->stream, &graph);
    if (status == STATUS_OK)
        status = cuda_status(d, error, why, "the launches of '%s' cannot be recorded", l->program->name);
    if (status == STATUS_OK)
        status = cuda_status(d, api->exec_make(api->self, &l->exec, graph, 0), why, "the graph of '%s' cannot be made", l->program->name);
    if (graph)
        api->graph_free(api->self, graph);
    return status;
}

// A range for one launch: what is launched one by one can be told apart.
static void push_launch(LoadedProgram *l, size_t i)
{
    const Launch *launch = &l->program->launch[i];
    char line[128];
    nvtx_push(&l->device->nvtx, "%s %s%s%s", l->program->kernel[launch->kernel].name, launch->layer ? launch->layer : "",
              launch->layer ? " " : "", program_line(l->program, launch, line, sizeof line));
}

// Launch by launch, waiting after each, so that the one that fails can be named.
static Status run_waiting(LoadedProgram *l, void (*after)(LoadedProgram *l, size_t i, void *user), void *user, StatusText *why)
{
    Device *d = l->device;
    const Program *p = l->program;
    Status status = STATUS_OK;
    for (size_t i = 0; i < p->n_launches && status == STATUS_OK; i++) {
        const Launch *launch = &p->launch[i];
        char line[256];
        push_launch(l, i);
        status = start(l, i, why);
        if (status == STATUS_OK)
            status = cuda_status(d, d->driver->stream_wait(d->driver->self, l->stream), why, "kernel '%s' of '%s' (%s)",
                                 p->kernel[launch->kernel].name, launch->layer ? launch->layer : p->name,
                                 cuda_describe_launch(p, launch, line, sizeof line));
        nvtx_pop(&d->nvtx);
        if (after && status == STATUS_OK)
            after(l, i, user);
    }
    l->stats.launches += (int64_t)p->n_launches;
    return status;
}

// The context is one of a thread, and a program may be run by another one than loaded it.
static Status enter(Device *d, StatusText *why)
{
    if (d->is_lost)
        return status_fail(why, STATUS_NO_DEVICE, "%s failed before, and is of no use to this process any more", d->name);
    return cuda_status(d, d->driver->context_use(d->driver->self, d->context), why, "%s cannot be used", d->name);
}

Status cuda_run(LoadedProgram *l, StatusText *why)
{
    Device *d = l->device;
    const DriverApi *api = d->driver;
    Status status = enter(d, why);
    if (status != STATUS_OK)
        return status;
    if (getenv("MIXC_CUDA_WAIT"))
        return run_waiting(l, NULL, NULL, why);
    nvtx_push(&d->nvtx, "run %s", l->program->name);
    int error = api->exec_launch(api->self, l->exec, l->stream);
    if (error == 0)
        error = api->stream_wait(api->self, l->stream);
    nvtx_pop(&d->nvtx);
    l->stats.launches += (int64_t)l->program->n_launches;
    l->stats.graph_launches++;
    return cuda_status(d, error, why, "a run of '%s'", l->program->name);
}

Status cuda_run_timed(LoadedProgram *l, double *out_seconds, StatusText *why)
{
    Device *d = l->device;
    const DriverApi *api = d->driver;
    const size_t n = l->program->n_launches;
    Status status = enter(d, why);
    if (status != STATUS_OK)
        return status;
    Arena scratch = {0};
    CudaEvent **event = arena_array(&scratch, CudaEvent *, n + 2);
    for (size_t i = 0; i <= n && status == STATUS_OK; i++)
        status = cuda_status(d, api->event_make(api->self, &event[i], 0), why, "time cannot be taken");
    if (status == STATUS_OK)
        cuda_hold(l);
    for (size_t i = 0; i < n && status == STATUS_OK; i++) {
        push_launch(l, i);
        status = cuda_status(d, api->event_record(api->self, event[i], l->stream), why, "time cannot be taken");
        if (status == STATUS_OK)
            status = start(l, i, why);
        nvtx_pop(&d->nvtx);
    }
    if (status == STATUS_OK)
        status = cuda_status(d, api->event_record(api->self, event[n], l->stream), why, "time cannot be taken");
    if (status == STATUS_OK)
        status = cuda_status(d, api->stream_wait(api->self, l->stream), why, "a run of '%s'", l->program->name);
    for (size_t i = 0; i < n && status == STATUS_OK; i++) {
        float ms = 0;
        status = cuda_status(d, api->event_ms(api->self, &ms, event[i], event[i + 1]), why, "time cannot be taken");
        out_seconds[i] = (double)ms * 1e-3;
    }
    for (size_t i = 0; i <= n; i++)
        if (event[i])
            api->event_free(api->self, event[i]);
    l->stats.launches += (int64_t)n;
    arena_free(&scratch);
    return status;
}

static void take_counters(LoadedProgram *l, size_t i, void *user)
{
    const DriverApi *api = l->device->driver;
    struct SimCounters *all = user;
    api->counters(api->self, &all[i]);
}

Status cuda_run_counted(LoadedProgram *l, SimCounters *out_counters, StatusText *why)
{
    if (!l->device->driver->counters)
        return status_fail(why, STATUS_NO_DEVICE, "%s does not count what kernels do; --device sim does", l->device->name);
    SimCounters before;
    l->device->driver->counters(l->device->driver->self, &before);
    Status status = run_waiting(l, take_counters, out_counters, why);
    for (size_t i = l->program->n_launches; i-- > 0 && status == STATUS_OK;)
        sim_counters_subtract(&out_counters[i], i ? &out_counters[i - 1] : &before);
    return status;
}
