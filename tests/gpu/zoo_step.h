// One run of a model of the zoo on a device, with leaves made of their names, and how far its results are from those of another
// device. What test_zoo_gpu gates with and test_kernel_mutants judges mutants by. Sizes and bounds are those of zoo.txt.
#ifndef MIXC_ZOO_STEP_H
#define MIXC_ZOO_STEP_H

#include "build.h"
#include "engine.h"
#include "index_range.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BINDINGS = 16, MOST_LINES = 128 };

// Float32 against doubles: some hundred kernels one after the other, each with sums of at most some hundred terms. Seen: 1e-6.
static const double zoo_bound = 1e-5;

typedef struct Line {
    char        text[256];
    const char *model;
    Binding     binding[MOST_BINDINGS];
    size_t      n_bindings;
    bool        in_sample, is_whole;        // is_whole: leaves are small whole numbers, and nothing may differ
    bool        bf16;                       // products read that type
    bool        is_main;                    // no training step
    bool        is_stirred;                 // parameters are not those that a training begins with
    double      bound;                      // of its own; 0: that of all
} Line;

typedef struct Loaded {
    Sources sources;
    Diag    diag;
    Engine *engine;
    Module *module;
    Net    *net;
} Loaded;

// The folder of the tests: where this was built, or MIXC_TESTS for a tree that was carried elsewhere.
static inline const char *zoo_tests(void)
{
    const char *given = getenv("MIXC_TESTS");
    return given && given[0] ? given : MIXC_TESTS;
}

static inline char *zoo_read_file(Arena *arena, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    char *text = arena_alloc(arena, 1 << 17, 1);
    text[fread(text, 1, (1 << 17) - 1, f)] = 0;
    fclose(f);
    return text;
}

// The lines of zoo.txt or another such file of tests/gpu; their text is theirs.
static inline size_t zoo_read_lines(Arena *arena, const char *file, Line *line)
{
    char *text = zoo_read_file(arena, arena_printf(arena, "%s/gpu/%s", zoo_tests(), file));
    size_t n = 0;
    for (char *at = text ? strtok(text, "\n") : NULL; at && n < MOST_LINES; at = strtok(NULL, "\n"))
        if (*at != '#')
            snprintf(line[n++].text, sizeof line->text, "%s", at);
    for (size_t i = 0; i < n; i++) {
        for (char *word = strtok(line[i].text, " "); word; word = strtok(NULL, " ")) {
            char *equals = strchr(word, '=');
            if (!strcmp(word, "*"))
                line[i].in_sample = true;
            else if (!strcmp(word, "="))
                line[i].is_whole = true;
            else if (!strcmp(word, "-"))
                line[i].is_main = true;
            else if (!strcmp(word, "bf16"))
                line[i].bf16 = true;
            else if (*word == '~')
                line[i].bound = strtod(word + 1, NULL);
            else if (!equals)
                line[i].model = word;
            else if (line[i].n_bindings < MOST_BINDINGS) {
                *equals = 0;
                line[i].binding[line[i].n_bindings++] = (Binding){.name = word, .value = equals + 1};
            }
        }
    }
    return n;
}

// How far results may be from those of the evaluator.
static inline double zoo_line_bound(const Line *line)
{
    return line->is_whole ? 0 : line->bound > 0 ? line->bound : zoo_bound;
}

typedef struct ZooRun {
    ModeName      mode;
    bool          train;                    // the graph `step`
    bool          bf16;
    const char   *device;
    DeviceOptions on_device;
} ZooRun;

static inline const char *zoo_text(Arena *arena, const Line *line)
{
    return zoo_read_file(arena, arena_printf(arena, "%s/%s/%s", zoo_tests(), line->is_whole ? "gpu" : "../models", line->model));
}

// Everything that is loaded lives in `arena`.
static inline Status zoo_load(Arena *arena, const Line *line, const ZooRun *run, Loaded *l, StatusText *why)
{
    const char *text = zoo_text(arena, line);
    Binding *binding = arena_array(arena, Binding, MOST_BINDINGS);
    memcpy(binding, line->binding, sizeof line->binding);
    const BuildOptions build = {.mode = run->mode, .with_loss = run->train, .binding = binding, .n_bindings = line->n_bindings};
    *l = (Loaded){.sources = sources_make(arena)};
    l->diag = diag_make(arena, &l->sources);
    if (!text)
        return status_fail(why, STATUS_IO, "no such model");
    Status status = engine_open(&(EngineOptions){.device = run->device, .on_device = run->on_device, .bf16 = run->bf16}, &l->engine, why);
    if (status == STATUS_OK)
        status = engine_load_text(l->engine, arena, &l->diag, &l->sources, line->model, text, &build, &(LoadOptions){.train = run->train},
                                  &l->module, &l->net, why);
    if (status == STATUS_BAD_MODEL && l->diag.n_items)
        snprintf(why->text, sizeof why->text, "%s", l->diag.item[0].message);
    return status;
}

static inline void zoo_unload(Loaded *l)
{
    net_free(l->net);
    engine_close(l->engine);
}

static inline uint32_t zoo_mixed(uint32_t x)
{
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

// Whole numbers that may index, floats in (-1, 1), the host's scalars as in a run.
static inline void *zoo_input(Arena *arena, const Module *module, const Slot *slot, bool whole)
{
    int64_t least = 0;
    const char *axis = NULL;
    int64_t most = index_limit(module_graph(module, "main"), slot->name, &least, &axis);
    float *f = arena_alloc(arena, (size_t)slot->count + 1, 4);
    int32_t *n = (int32_t *)(void *)f;
    const bool is_whole = slot->dtype == DTYPE_I32;
    uint32_t seed = 77;
    for (const char *c = slot->name; *c; c++)
        seed = seed * 31 + (unsigned char)*c;
    if (most > 1000000)
        most = 2;
    for (int64_t i = 0; i < slot->count; i++) {
        const uint32_t bits = zoo_mixed(seed + (uint32_t)i);
        if (is_whole)
            n[i] = (int32_t)((int64_t)bits % most);
        else
            f[i] = whole ? (float)((int)(bits % 3) - 1) : (float)(bits >> 8) / 8388608.0f - 1.0f;
    }
    if (slot->n_axes == 0 && is_whole)
        n[0] = strcmp(slot->name, "seed") ? 3 : 11;
    else if (slot->n_axes == 0)
        f[0] = strcmp(slot->name, "apply") && !whole ? 1e-3f : 1.0f;
    if (!strcmp(slot->name, "real") || !strcmp(slot->name, "seen"))
        for (int64_t i = 0; i < slot->count; i++)
            f[i] = zoo_mixed(seed + (uint32_t)i) % 8 ? 1.0f : 0.0f;
    return f;
}

// The states that an optimiser keeps of a parameter, as after many steps: then the update divides by something that is not small, and a
// parameter shows how it was made.
static inline void *zoo_moment(Arena *arena, const Slot *slot)
{
    const bool is_square = !strncmp(slot->name, "adam.v/", 7);
    float *f = arena_alloc(arena, (size_t)slot->count + 1, 4);
    for (int64_t i = 0; i < slot->count; i++) {
        const float u = (float)(zoo_mixed(99 + (uint32_t)i + (uint32_t)slot->name[strlen(slot->name) - 1]) >> 8) / 16777216.0f;
        f[i] = is_square ? 1e-4f + 1e-4f * u : 0.01f * (u - 0.5f);
    }
    return f;
}

// A parameter as after some training: biases that are not 0, gains that are not 1, so that it shows which one was read.
static inline Status zoo_stir(Arena *arena, Loaded *l, const Slot *slot, StatusText *why)
{
    float *f = arena_alloc(arena, (size_t)slot->count + 1, 4);
    Status status = slot->dtype == DTYPE_F32 ? net_read(l->net, slot, f, why) : STATUS_OK;
    if (status != STATUS_OK || slot->dtype != DTYPE_F32)
        return status;
    uint32_t seed = 5;
    for (const char *c = slot->name; *c; c++)
        seed = seed * 31 + (unsigned char)*c;
    for (int64_t i = 0; i < slot->count; i++)
        f[i] += 0.1f * ((float)(zoo_mixed(seed + (uint32_t)i) >> 8) / 16777216.0f - 0.5f);
    for (int64_t i = 0; i < slot->count; i += 5) {              // half-way between two of bf16
        uint32_t bits;
        memcpy(&bits, &f[i], sizeof bits);
        bits = (bits & 0xffff0000u) | 0x8000u;
        memcpy(&f[i], &bits, sizeof bits);
    }
    return net_write(l->net, slot, f, why);
}

// Everything that the host writes before a run. `is_late`: a step with moments, and a learning rate that shows, instead of the first.
static inline Status zoo_write(Arena *arena, const Line *line, bool is_late, Loaded *l, StatusText *why)
{
    const Slot *slot = NULL;
    const size_t n = net_slots(l->net, &slot);
    const float rate = 1;
    Status status = net_init(l->net, l->module, 5, why);
    for (size_t i = 0; i < n && status == STATUS_OK; i++) {
        if (slot[i].kind == BUFFER_INPUT || (slot[i].kind == BUFFER_PARAM && line->is_whole))
            status = net_write(l->net, &slot[i], zoo_input(arena, l->module, &slot[i], line->is_whole), why);
        if (status == STATUS_OK && slot[i].kind == BUFFER_PARAM && line->is_stirred)
            status = zoo_stir(arena, l, &slot[i], why);
        if (status == STATUS_OK && is_late && slot[i].kind == BUFFER_STATE && strchr(slot[i].name, '/'))
            status = net_write(l->net, &slot[i], zoo_moment(arena, &slot[i]), why);
        if (status == STATUS_OK && is_late && slot[i].kind == BUFFER_INPUT && !strcmp(slot[i].name, "lr"))
            status = net_write(l->net, &slot[i], &rate, why);
    }
    return status;
}

static inline Status zoo_run(Arena *arena, const Line *line, bool is_late, Loaded *l, StatusText *why)
{
    const Status status = zoo_write(arena, line, is_late, l, why);
    return status == STATUS_OK ? net_run(l->net, why) : status;
}

static inline double zoo_value(const Slot *slot, const void *data, int64_t i)
{
    return slot->dtype == DTYPE_I32 ? (double)((const int32_t *)data)[i] : (double)((const float *)data)[i];
}

// Whether results are compared. In a first step Adam divides by the root of a square that may be next to
// nothing, so a parameter is compared by what moves it, its moments; in a late one by itself.
static inline bool zoo_is_compared(const Line *line, bool is_late, const Slot *slot)
{
    return slot->kind == BUFFER_OUTPUT || slot->kind == BUFFER_STATE || ((line->is_whole || is_late) && slot->kind == BUFFER_PARAM);
}

// The largest difference of x from y, of the largest number of y.
static inline double zoo_difference(const Slot *slot, const void *x, const void *y)
{
    double largest = 1e-6, error = 0;
    for (int64_t k = 0; k < slot->count; k++)
        largest = fmax(largest, fabs(zoo_value(slot, y, k)));
    for (int64_t k = 0; k < slot->count; k++) {
        const double e = fabs(zoo_value(slot, x, k) - zoo_value(slot, y, k)) / largest;
        error = e <= error ? error : isnan(e) ? INFINITY : e;
    }
    return error;
}

// The largest difference of all, and where.
static inline double zoo_compare(const Line *line, bool is_late, const Loaded *got, const Loaded *want, const char **out_worst)
{
    const Slot *slot = NULL;
    const size_t n = net_slots(got->net, &slot);
    double worst = 0;
    *out_worst = "nothing";
    for (size_t i = 0; i < n; i++) {
        const Slot *other = net_slot(want->net, slot[i].kind, slot[i].name);
        if (!zoo_is_compared(line, is_late, &slot[i]) || !other || other->count != slot[i].count)
            continue;
        StatusText why = {0};
        Arena scratch = {0};
        void *x = arena_alloc(&scratch, (size_t)slot[i].count + 1, 4), *y = arena_alloc(&scratch, (size_t)slot[i].count + 1, 4);
        const bool is_read = net_read(got->net, &slot[i], x, &why) == STATUS_OK && net_read(want->net, other, y, &why) == STATUS_OK;
        double error = is_read ? zoo_difference(&slot[i], x, y) : INFINITY;
        for (int64_t k = 0; is_read && line->is_whole && k < slot[i].count; k++)
            if (fabs(zoo_value(other, y, k)) > 16777216)
                error = INFINITY;           // not exact any more
        arena_free(&scratch);
        if (line->is_whole && !strcmp(slot[i].name, "watch.grad_norm") && error < 5e-7)
            continue;                       // a root is not exact
        if (error > worst) {
            worst = error;
            *out_worst = slot[i].name;
        }
    }
    return worst;
}

#endif
