// See ceiling.h. Three hand-written kernels run as a program, by the same device and threads as everything else.
#include "ceiling.h"

#include "plan_memory.h"

#include <math.h>

enum { CHAINS = 16, TURNS = 200000, COPY_MIB = 96, BLOCK_MIB = 1, ROUNDS = 7 };

// Independent chains of multiply-adds: as many as hide the latency of two units.
static const char *multiply_add_text(Arena *arena, int lanes)
{
    Text t = text_make(arena);
    text_printf(&t, "typedef float ceiling_v __attribute__((vector_size(%d)));\n", 4 * lanes);
    text_add(&t, "void ceiling_fma(void *const *p, long begin, long end, void *scratch)\n{\n    float *y = p[0];\n    (void)scratch;\n");
    text_add(&t, "    for (long w = begin; w < end; w++) {\n        ceiling_v a = {0}, b = {0};\n        a += 0.999f;\n        b += y[w*64];\n");
    for (int i = 0; i < CHAINS; i++)
        text_printf(&t, "        ceiling_v c%d = b + %d.0f;\n", i, i);
    text_printf(&t, "        for (long k = 0; k < %d; k++) {\n", TURNS);
    for (int i = 0; i < CHAINS; i++)
        text_printf(&t, "            c%d = c%d*a + b;\n", i, i);
    text_add(&t, "        }\n");
    for (int i = 1; i < CHAINS; i++)
        text_printf(&t, "        c0 += c%d;\n", i);
    text_add(&t, "        y[w*64] = c0[0];\n    }\n}\n");
    return text_str(&t);
}

static const char copy_text[] =
    "void ceiling_copy(void *const *p, long begin, long end, void *scratch)\n{\n    const char *x = p[0];\n    char *y = p[1];\n"
    "    (void)scratch;\n    for (long w = begin; w < end; w++)\n"
    "        __builtin_memcpy(y + w*1048576, x + w*1048576, 1048576);\n}\n";

static const char empty_text[] =
    "void ceiling_empty(void *const *p, long begin, long end, void *scratch)\n{\n    (void)p;\n    (void)begin;\n    (void)end;\n"
    "    (void)scratch;\n}\n";

static uint32_t add_buffer(Program *p, const char *name, size_t bytes)
{
    return program_add_buffer(p, (Buffer){.name = name, .kind = BUFFER_STATE, .dtype = DTYPE_F32, .n_axes = 1, .axis = {"n"},
                                          .size = {(int64_t)(bytes / 4)}, .bytes = bytes});
}

static void add_launch(Program *p, const char *name, const char *text, uint32_t a, uint32_t b, int64_t n_work)
{
    const uint32_t kernel = program_add_kernel(p, (Kernel){.name = name, .family = FAMILY_LOOP, .text = text, .n_params = 2});
    Launch launch = {.kernel = kernel, .n_work = n_work, .grain = 1, .cuda_blocks = 1};
    launch.buffer = arena_array(p->arena, uint32_t, 2);
    launch.buffer[0] = a;
    launch.buffer[1] = b;
    program_add_launch(p, launch);
}

Status ceiling_measure(const Engine *engine, Ceiling *out, StatusText *why)
{
    Device *device;
    const DeviceOps *ops = engine_device(engine, &device);
    const Target *target = engine_target(engine);
    if (!ops || target->is_cuda)
        return status_fail(why, STATUS_NO_DEVICE, "ceilings are measured on the device cpu only");
    Arena arena;
    arena_init(&arena);
    Sources sources = sources_make(&arena);
    Diag diag = diag_make(&arena, &sources);
    const int threads = target->threads > 0 ? target->threads : 1;
    const size_t mib = (size_t)1 << 20;
    Program *p = program_make(&arena, "ceiling");
    p->prelude = p->cuda_prelude = "";
    const uint32_t x = add_buffer(p, "x", COPY_MIB * mib), y = add_buffer(p, "y", COPY_MIB * mib);
    add_launch(p, "ceiling_fma", multiply_add_text(&arena, target->vector_floats), y, x, 4 * (int64_t)threads);
    add_launch(p, "ceiling_copy", copy_text, x, y, COPY_MIB / BLOCK_MIB);
    add_launch(p, "ceiling_empty", empty_text, x, y, threads);
    LoadedProgram *loaded = NULL;
    Status status = plan_memory(p, &diag) ? ops->load(device, p, &loaded, why) : STATUS_INTERNAL;
    double least[3] = {INFINITY, INFINITY, INFINITY}, now[3];
    for (int round = 0; round < ROUNDS && status == STATUS_OK; round++) {
        status = ops->run_timed(loaded, now, why);
        for (int i = 0; i < 3; i++)
            least[i] = fmin(least[i], now[i]);
    }
    if (status == STATUS_OK)
        *out = (Ceiling){.flops = 2.0 * CHAINS * TURNS * target->vector_floats * 4 * threads / least[0],
                         .bytes = 2.0 * (double)(COPY_MIB * mib) / least[1], .launch = least[2]};
    if (loaded)
        ops->unload(loaded);
    arena_free(&arena);
    return status;
}

double ceiling_floor(const Ceiling *ceiling, const Launch *launch)
{
    return fmax(launch->flops / ceiling->flops, launch->bytes / ceiling->bytes);
}
