// Small hand-written programs for the tests of devices.
#ifndef MIXC_TEST_PROGRAMS_H
#define MIXC_TEST_PROGRAMS_H

#include "program.h"

#include <string.h>

static inline uint32_t add_buffer(Program *p, const char *name, BufferKind kind, int64_t n, size_t offset)
{
    Buffer b = {.name = name, .kind = kind, .dtype = DTYPE_F32, .n_axes = 1, .axis = {"N"}, .size = {n},
                .bytes = (size_t)n * 4, .offset = offset};
    if (offset + b.bytes > p->arena_bytes)
        p->arena_bytes = (offset + b.bytes + 63) / 64 * 64;
    return program_add_buffer(p, b);
}

static inline void add_launch(Program *p, uint32_t kernel, const uint32_t *buffer, int64_t n_work, int64_t grain)
{
    Launch l = {.kernel = kernel, .n_work = n_work, .grain = grain};
    l.buffer = arena_array(p->arena, uint32_t, p->kernel[kernel].n_params + 1);
    for (uint32_t i = 0; i < p->kernel[kernel].n_params; i++)
        l.buffer[i] = buffer[i];
    program_add_launch(p, l);
}

static inline uint32_t add_kernel(Program *p, const char *name, const char *text, uint32_t n_params, size_t scratch)
{
    return program_add_kernel(p, (Kernel){.name = name, .family = FAMILY_LOOP, .text = text, .n_params = n_params,
                                          .scratch_bytes = scratch});
}

enum { N = 1000 };

// y = 2 x + 1 by way of a temporary; `count` grows by one in place with every run.
//   x: input, t: temporary, y: output, count: state. Buffers 1, 2, 3, 4.
static inline Program *make_affine(Arena *arena)
{
    Program *p = program_make(arena, "affine");
    p->prelude = "static inline float twice(float v) { return v + v; }\n";
    uint32_t x = add_buffer(p, "x", BUFFER_INPUT, N, 0), t = add_buffer(p, "t", BUFFER_TEMP, N, 4032);
    uint32_t y = add_buffer(p, "output.y", BUFFER_OUTPUT, N, 8064), c = add_buffer(p, "count", BUFFER_STATE, 1, 12096);
    uint32_t k1 = add_kernel(p, "double_it",
        "void double_it(void *const *p, long begin, long end, void *scratch)\n"
        "{\n    const float *x = p[0];\n    float *y = p[1], *s = scratch;\n"
        "    for (long i = begin; i < end; i++) { s[0] = twice(x[i]); y[i] = s[0]; }\n}\n", 2, 64);
    uint32_t k2 = add_kernel(p, "add_one",
        "void add_one(void *const *p, long begin, long end, void *scratch)\n"
        "{\n    const float *x = p[0];\n    float *y = p[1];\n    (void)scratch;\n"
        "    for (long i = begin; i < end; i++) y[i] = x[i] + 1;\n}\n", 2, 0);
    add_launch(p, k1, (uint32_t[]){x, t}, N, 1);
    add_launch(p, k2, (uint32_t[]){t, y}, N, 100);
    add_launch(p, k2, (uint32_t[]){c, c}, 1, 1);
    return p;
}

#endif
