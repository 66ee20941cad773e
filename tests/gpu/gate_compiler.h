// A compiler between the device sim and NVRTC. The simulator wants PTX, for which no assembler runs; while `asks_assembler` is set the text is
// compiled for the architecture itself, which gives the same PTX and what the assembler says. So the gate needs no compilation of its own for
// the architecture that the simulator runs.
#ifndef MIXC_GATE_COMPILER_H
#define MIXC_GATE_COMPILER_H

#include "arena.h"
#include "cuda_api.h"

#include <stdio.h>
#include <string.h>

enum { GATE_OPTIONS = 16 };

typedef struct GateCompiler {
    const NvrtcApi *next;
    NvrtcApi        api;                    // for DeviceOptions; with one thread
    Arena          *arena;
    bool            asks_assembler;
    const char     *log;                    // of the last compilation that asked; NULL: none
} GateCompiler;

#define NVRTC(field, symbol, parameters, arguments) \
    static inline int gate_##field(void *self, CUDA_PARAMETERS parameters) \
    { \
        const GateCompiler *g = self; \
        return g->next->field(g->next->self, CUDA_PARAMETERS arguments); \
    }
#include "cuda_api.def"

static inline int gate_compile_for_real(void *self, CudaText *text, int n, const char *const *option)
{
    static const char virtual[] = "--gpu-architecture=compute_";
    GateCompiler *g = self;
    const char *all[GATE_OPTIONS + 1];
    char arch[64];
    size_t length = 0;
    if (!g->asks_assembler || n < 1 || n > GATE_OPTIONS || strncmp(option[0], virtual, strlen(virtual)) != 0)
        return g->next->compile(g->next->self, text, n, option);
    snprintf(arch, sizeof arch, "--gpu-architecture=sm_%s", option[0] + strlen(virtual));
    memcpy(all, option, (size_t)n * sizeof *option);
    all[0] = arch;
    all[n] = "--ptxas-options=--verbose";
    const int error = g->next->compile(g->next->self, text, n + 1, all);
    if (error == 0 && g->next->log_size(g->next->self, text, &length) == 0) {
        char *log = arena_alloc(g->arena, length + 1, 1);
        g->log = g->next->log(g->next->self, text, log) == 0 ? log : NULL;
    }
    return error;
}

// `arena`, which logs are put into, and `next` are borrowed.
static inline void gate_compiler_open(GateCompiler *g, Arena *arena, const NvrtcApi *next)
{
    *g = (GateCompiler){.next = next, .arena = arena, .api = {.self = g,
#define NVRTC(field, symbol, parameters, arguments) .field = gate_##field,
#include "cuda_api.def"
    }};
    g->api.compile = gate_compile_for_real;
}

#endif
