// See sim_driver.h. Errors are those of the driver: 1 invalid value, 2 no memory, 218 bad PTX, 500 not found, 719 a kernel
// did what it must not. The sentence is kept for `complaint`.
#include "sim_driver_state.h"

#include "proc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int sim_complain(SimDriver *s, int error)
{
    s->has_complaint = true;
    return error;
}

// `bytes` zeroed, of a type that begins with Owned; NULL: no memory.
static void *own(SimDriver *s, size_t bytes)
{
    Owned *o = calloc(1, bytes);
    if (!o)
        return NULL;
    arena_init(&o->arena);
    o->next = s->owned;
    o->from = &s->owned;
    if (o->next)
        o->next->from = &o->next;
    s->owned = o;
    return o;
}

static void disown(Owned *o)
{
    *o->from = o->next;
    if (o->next)
        o->next->from = o->from;
    arena_free(&o->arena);
    free(o);
}

// --- what a driver says about itself

static int sim_error_text(void *self, int error, const char **out)
{
    (void)self, (void)error;
    *out = "an error of the simulator";
    return 0;
}

static int sim_init(void *self, unsigned flags)
{
    (void)self, (void)flags;
    return 0;
}

static int sim_version(void *self, int *out)
{
    (void)self;
    *out = 1000000;                         // newer than any toolkit
    return 0;
}

static int sim_device_count(void *self, int *out)
{
    (void)self;
    *out = 1;
    return 0;
}

static int sim_device_get(void *self, int *out, int ordinal)
{
    (void)self;
    *out = ordinal;
    return ordinal == 0 ? 0 : 101;
}

static int sim_device_name(void *self, char *out, int room, int device)
{
    (void)self, (void)device;
    snprintf(out, (size_t)room, "the simulated GPU");
    return 0;
}

static int sim_device_attribute(void *self, int *out, int attribute, int device)
{
    const SimDriver *s = self;
    (void)device;
    *out = attribute == 75 ? s->capability / 10 : attribute == 76 ? s->capability % 10 : 0;
    return attribute == 75 || attribute == 76 ? 0 : INVALID;
}

static int sim_context_retain(void *self, CudaContext **out, int device)
{
    (void)device;
    *out = &((SimDriver *)self)->context;
    return 0;
}

static int sim_context_release(void *self, int device)
{
    (void)self, (void)device;
    return 0;
}

static int sim_context_use(void *self, CudaContext *context)
{
    (void)self, (void)context;
    return 0;
}

// --- memory: every byte is kept twice, what it is and whether somebody wrote it

static int sim_memory_info(void *self, size_t *out_free, size_t *out_total)
{
    const SimDriver *s = self;
    const size_t available = memory_available_bytes() / 2;
    *out_free = available;
    *out_total = available + s->in_use;
    return 0;
}

static int sim_memory_take(void *self, uint64_t *out, size_t bytes)
{
    SimDriver *s = self;
    if (bytes == 0)
        return INVALID;
    Taken t = {.address = s->next};
    Taken *taken = realloc(s->taken, (s->n_taken + 1) * sizeof *taken);
    s->taken = taken ? taken : s->taken;
    t.defined = calloc(bytes, 1);
    StatusText why = {0};
    if (!taken || !t.defined || block_map(&t.block, bytes, "simulated memory", false, s->pool, &why) != STATUS_OK) {
        free(t.defined);
        return NO_MEMORY;
    }
    s->taken[s->n_taken++] = t;
    s->next += (bytes + 0x1fffff) / 0x100000 * 0x100000;         // a gap follows
    s->in_use += bytes;
    *out = t.address;
    return 0;
}

static int sim_memory_free(void *self, uint64_t address)
{
    SimDriver *s = self;
    for (size_t i = 0; i < s->n_taken; i++)
        if (s->taken[i].address == address) {
            s->in_use -= s->taken[i].block.bytes;
            block_unmap(&s->taken[i].block);
            free(s->taken[i].defined);
            s->taken[i] = s->taken[--s->n_taken];
            return 0;
        }
    return INVALID;
}

Taken *sim_find_taken(SimDriver *s, uint64_t address, size_t bytes)
{
    for (size_t i = 0; i < s->n_taken; i++) {
        Taken *t = &s->taken[i];
        if (address >= t->address && address - t->address <= t->block.bytes && t->block.bytes - (address - t->address) >= bytes)
            return t;
    }
    return NULL;
}

static int sim_memory_fill(void *self, uint64_t to, unsigned char byte, size_t n, CudaStream *stream)
{
    Taken *t = sim_find_taken(self, to, n);
    if (!t || stream->capture)
        return INVALID;
    memset(t->block.data + (to - t->address), byte, n);
    memset(t->defined + (to - t->address), 1, n);
    return 0;
}

static int sim_copy_in(void *self, uint64_t to, const void *from, size_t n, CudaStream *stream)
{
    Taken *t = sim_find_taken(self, to, n);
    if (!t || stream->capture)
        return INVALID;
    memcpy(t->block.data + (to - t->address), from, n);
    memset(t->defined + (to - t->address), 1, n);
    return 0;
}

static int sim_copy_out(void *self, void *to, uint64_t from, size_t n, CudaStream *stream)
{
    const Taken *t = sim_find_taken(self, from, n);
    if (!t || stream->capture)
        return INVALID;
    memcpy(to, t->block.data + (from - t->address), n);
    return 0;
}

// --- modules

static int sim_module_load(void *self, CudaModule **out, const void *image)
{
    SimDriver *s = self;
    CudaModule *m = own(s, sizeof *m);
    if (!m)
        return NO_MEMORY;
    s->why = (StatusText){0};
    if (ptx_parse(&m->owned.arena, "kernels.ptx", image, &m->ptx, &s->why) != STATUS_OK) {
        disown(&m->owned);
        return sim_complain(s, BAD_PTX);
    }
    *out = m;
    return 0;
}

static int sim_module_unload(void *self, CudaModule *module)
{
    (void)self;
    disown(&module->owned);
    return 0;
}

static int sim_module_function(void *self, CudaFunction **out, CudaModule *module, const char *name)
{
    (void)self;
    const PtxKernel *k = ptx_find(module->ptx, name);
    if (!k)
        return NOT_FOUND;
    *out = arena_new(&module->owned.arena, CudaFunction);
    **out = (CudaFunction){module, k};
    return 0;
}

static int sim_function_set(void *self, CudaFunction *function, int attribute, int value)
{
    (void)self, (void)function;
    return attribute == 8 && value >= 0 && value <= 227 << 10 ? 0 : INVALID;
}

// --- streams, graphs, events

static int sim_stream_make(void *self, CudaStream **out, unsigned flags)
{
    (void)flags;
    *out = own(self, sizeof **out);
    return *out ? 0 : NO_MEMORY;
}

static int sim_stream_free(void *self, CudaStream *stream)
{
    (void)self;
    if (stream->capture)
        disown(&stream->capture->owned);
    disown(&stream->owned);
    return 0;
}

static int sim_stream_wait(void *self, CudaStream *stream)
{
    (void)self;
    return stream->capture ? INVALID : 0;
}

static int sim_capture_begin(void *self, CudaStream *stream, int mode)
{
    (void)mode;
    if (stream->capture)
        return INVALID;
    stream->capture = own(self, sizeof *stream->capture);
    return stream->capture ? 0 : NO_MEMORY;
}

static int sim_capture_end(void *self, CudaStream *stream, CudaGraph **out)
{
    (void)self;
    if (!stream->capture)
        return INVALID;
    *out = stream->capture;
    stream->capture = NULL;
    return 0;
}

static int sim_graph_free(void *self, CudaGraph *graph)
{
    (void)self;
    disown(&graph->owned);
    return 0;
}

// The graph that was captured moves into the one that is launched, and leaves an empty one.
static int sim_exec_make(void *self, CudaExec **out, CudaGraph *graph, unsigned long long flags)
{
    (void)flags;
    CudaExec *exec = own(self, sizeof *exec);
    if (!exec)
        return NO_MEMORY;
    exec->owned.arena = graph->owned.arena;
    exec->node = graph->node;
    exec->n = graph->n;
    arena_init(&graph->owned.arena);
    graph->node = NULL;
    graph->n = graph->capacity = 0;
    *out = exec;
    return 0;
}

static int sim_exec_free(void *self, CudaExec *exec)
{
    (void)self;
    disown(&exec->owned);
    return 0;
}

static int sim_event_make(void *self, CudaEvent **out, unsigned flags)
{
    (void)flags;
    *out = own(self, sizeof **out);
    return *out ? 0 : NO_MEMORY;
}

static int sim_event_free(void *self, CudaEvent *event)
{
    (void)self;
    disown(&event->owned);
    return 0;
}

static int sim_event_record(void *self, CudaEvent *event, CudaStream *stream)
{
    (void)self, (void)stream;
    event->seconds = proc_now_s();
    return 0;
}

static int sim_event_ms(void *self, float *out, CudaEvent *from, CudaEvent *to)
{
    (void)self;
    *out = (float)((to->seconds - from->seconds) * 1e3);
    return 0;
}

// --- the driver

static const char *sim_complaint(void *self)
{
    SimDriver *s = self;
    if (!s->has_complaint)
        return NULL;
    s->has_complaint = false;
    return s->why.text;
}

static void sim_counters(void *self, SimCounters *out)
{
    *out = ((const SimDriver *)self)->counters;
}

static Status read_number(const char *variable, uint64_t otherwise, uint64_t *out, StatusText *why)
{
    const char *text = getenv(variable);
    char *end = NULL;
    *out = text ? strtoull(text, &end, 10) : otherwise;
    if (text && (end == text || *end))
        return status_fail(why, STATUS_BAD_USAGE, "%s is a number, not '%s'", variable, text);
    return STATUS_OK;
}

Status sim_driver_open(SimDriver **out_driver, StatusText *why)
{
    uint64_t seed = 0, arch = 0, limit = 0;
    Status status = read_number("MIXC_SIM_SEED", 0, &seed, why);
    if (status == STATUS_OK)
        status = read_number("MIXC_SIM_ARCH", 80, &arch, why);
    if (status == STATUS_OK)
        status = read_number("MIXC_SIM_LIMIT", 0, &limit, why);
    SimDriver *s = status == STATUS_OK ? calloc(1, sizeof *s) : NULL;
    if (status == STATUS_OK && !s)
        status = status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for the simulator");
    if (status == STATUS_OK)
        status = pool_open(1, &s->pool, why);
    if (status != STATUS_OK) {
        free(s);
        return status;
    }
    s->next = FIRST_ADDRESS;
    s->seed = seed;
    s->limit = limit;
    s->capability = arch < 1000 ? (int)arch : 0;
    s->api = (DriverApi){.self = s, .expect = sim_expect, .demand = sim_demand, .complaint = sim_complaint,
                         .counters = sim_counters, .wants_ptx = true, .launch = sim_launch_kernel,
#define SIM(field) .field = sim_##field
        SIM(error_text), SIM(init), SIM(version), SIM(device_count), SIM(device_get), SIM(device_name), SIM(device_attribute),
        SIM(context_retain), SIM(context_release), SIM(context_use), SIM(memory_info), SIM(memory_take), SIM(memory_free),
        SIM(memory_fill), SIM(copy_in), SIM(copy_out), SIM(module_load), SIM(module_unload), SIM(module_function),
        SIM(function_set), SIM(stream_make), SIM(stream_free), SIM(stream_wait), SIM(capture_begin), SIM(capture_end),
        SIM(graph_free), SIM(exec_make), SIM(exec_free), SIM(exec_launch), SIM(event_make), SIM(event_free), SIM(event_record),
        SIM(event_ms),
#undef SIM
    };
    *out_driver = s;
    return STATUS_OK;
}

void sim_driver_close(SimDriver *s)
{
    if (!s)
        return;
    while (s->owned)
        disown(s->owned);
    while (s->n_taken)
        sim_memory_free(s, s->taken[0].address);
    free(s->taken);
    pool_close(s->pool);
    free(s);
}

const DriverApi *sim_driver_api(SimDriver *s)
{
    return &s->api;
}
