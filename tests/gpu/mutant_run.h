// A loaded model whose kernels can be exchanged one at a time: a driver between the cuda device and the simulator that remembers
// functions and launches, memory that can be put back, and runs that begin at the first launch of a kernel.
#ifndef MIXC_MUTANT_RUN_H
#define MIXC_MUTANT_RUN_H

#include "zoo_step.h"

#include "cuda_api.h"
#include "nvrtc.h"
#define Slot PtxSlot                        // the engine has a Slot too
#include "sim/sim_driver_state.h"
#undef Slot

enum { MOST_FUNCTIONS = 1024, MOST_MODULES = 64 };

typedef struct Between {
    const DriverApi *next;
    DriverApi        api;
    Arena           *arena;
    CudaExec        *exec;
    CudaStream      *stream;
    struct { CudaModule *module; const char *ptx; } module[MOST_MODULES];
    struct { const char *name; CudaFunction *function; CudaModule *module; const PtxKernel *kernel; } function[MOST_FUNCTIONS];
    size_t           n_modules, n_functions;
} Between;

#define DRIVER(field, symbol, parameters, arguments) \
    static int between_##field(void *self, CUDA_PARAMETERS parameters) \
    { \
        return ((Between *)self)->next->field(((Between *)self)->next->self, CUDA_PARAMETERS arguments); \
    }
#include "cuda_api.def"

static inline int keep_module(void *self, CudaModule **out, const void *image)
{
    Between *b = self;
    const int error = between_module_load(self, out, image);
    if (error == 0 && b->n_modules < MOST_MODULES) {
        b->module[b->n_modules].module = *out;
        b->module[b->n_modules++].ptx = arena_strdup(b->arena, image);
    }
    return error;
}

static inline int keep_function(void *self, CudaFunction **out, CudaModule *module, const char *name)
{
    Between *b = self;
    const int error = between_module_function(self, out, module, name);
    if (error == 0 && b->n_functions < MOST_FUNCTIONS) {
        b->function[b->n_functions].name = arena_strdup(b->arena, name);
        b->function[b->n_functions].function = *out;
        b->function[b->n_functions].module = (*out)->module;
        b->function[b->n_functions++].kernel = (*out)->kernel;
    }
    return error;
}

static inline int keep_exec(void *self, CudaExec **out, CudaGraph *graph, unsigned long long flags)
{
    const int error = between_exec_make(self, out, graph, flags);
    ((Between *)self)->exec = *out;
    return error;
}

static inline int keep_stream(void *self, CudaStream **out, unsigned flags)
{
    const int error = between_stream_make(self, out, flags);
    ((Between *)self)->stream = *out;
    return error;
}

static inline int between_expect(void *self, CudaStream *stream, const char *line, const CudaTouch *touch, size_t n)
{
    const Between *b = self;
    return b->next->expect(b->next->self, stream, line, touch, n);
}

static inline int between_demand(void *self, CudaStream *stream, const CudaTouch *touch, size_t n)
{
    const Between *b = self;
    return b->next->demand(b->next->self, stream, touch, n);
}

static inline const char *between_complaint(void *self)
{
    const Between *b = self;
    return b->next->complaint(b->next->self);
}

static inline void between_open(Between *b, Arena *arena, const DriverApi *next)
{
    *b = (Between){.next = next, .arena = arena};
    b->api = (DriverApi){.self = b,
#define DRIVER(field, symbol, parameters, arguments) .field = between_##field,
#include "cuda_api.def"
        .wants_ptx = true, .expect = between_expect, .demand = between_demand, .complaint = between_complaint};
    b->api.module_load = keep_module;
    b->api.module_function = keep_function;
    b->api.exec_make = keep_exec;
    b->api.stream_make = keep_stream;
}

// --- memory

typedef struct Memory {                     // all that was handed out, and which bytes somebody wrote
    unsigned char **data;
    uint8_t       **defined;
    size_t          n;
} Memory;

static inline Memory memory_keep(const SimDriver *s)
{
    Memory m = {.data = calloc(s->n_taken + 1, sizeof *m.data), .defined = calloc(s->n_taken + 1, sizeof *m.defined), .n = s->n_taken};
    for (size_t i = 0; i < m.n; i++) {
        const size_t n = s->taken[i].block.bytes;
        m.data[i] = malloc(n + 1);
        m.defined[i] = malloc(n + 1);
        memcpy(m.data[i], s->taken[i].block.data, n);
        memcpy(m.defined[i], s->taken[i].defined, n);
    }
    return m;
}

static inline void memory_put_back(const Memory *m, SimDriver *s)
{
    for (size_t i = 0; i < m->n; i++) {
        memcpy(s->taken[i].block.data, m->data[i], s->taken[i].block.bytes);
        memcpy(s->taken[i].defined, m->defined[i], s->taken[i].block.bytes);
    }
}

static inline void memory_free(Memory *m)
{
    for (size_t i = 0; i < m->n; i++) {
        free(m->data[i]);
        free(m->defined[i]);
    }
    free(m->data);
    free(m->defined);
    *m = (Memory){0};
}

// --- runs

// Launches first .. first+n-1 of a run, at most to its end. Returns the finding, or NULL; borrowed until the next run.
static inline const char *between_run(Between *b, size_t first, size_t n)
{
    const size_t left = b->exec->n - first;
    CudaExec part = {.node = b->exec->node + first, .n = n < left ? n : left};
    const int error = b->next->exec_launch(b->next->self, &part, b->stream);
    const char *why = error ? b->next->complaint(b->next->self) : NULL;
    return error && !why ? "an error of the driver" : why;
}

// The first launch of function f in a run; the number of launches: there is none.
static inline size_t between_first(const Between *b, size_t f)
{
    size_t i = 0;
    while (i < b->exec->n && b->exec->node[i].function != b->function[f].function)
        i++;
    return i;
}

// The PTX of one kernel: its module's text without the other kernels.
static inline const char *between_ptx(const Between *b, Arena *arena, size_t f)
{
    const char *text = NULL;
    for (size_t m = 0; m < b->n_modules; m++)
        if (b->module[m].module == b->function[f].module)
            text = b->module[m].ptx;
    Text out = text_make(arena);
    static const char entry[] = ".visible .entry ";
    while (text && *text) {
        const char *at = strstr(text, entry);
        if (!at) {
            text_add(&out, text);
            break;
        }
        text_add_n(&out, text, (size_t)(at - text));
        const char *name = at + strlen(entry), *end = strstr(at, "\n}\n");
        const size_t length = strcspn(name, "(");
        end = end ? end + 3 : at + strlen(at);
        if (length == strlen(b->function[f].name) && !strncmp(name, b->function[f].name, length))
            text_add_n(&out, at, (size_t)(end - at));
        text = end;
    }
    return text_str(&out);
}

#endif
