// A small model with given numbers, run forward and backward on a device: for the worked examples of papers.
#ifndef MIXC_TEST_EXAMPLE_H
#define MIXC_TEST_EXAMPLE_H

#include "engine.h"
#include "grad.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

typedef struct Example {
    Arena      arena;
    Sources    sources;
    Diag       diag;
    Module    *module;
    Engine    *engine;
    Net       *net;
    StatusText why;
} Example;

typedef struct ExampleOptions {
    BuildOptions build;
    const char  *cotangent;                 // of a result, to be set; NULL: only aux is differentiated
    bool         grad, train;               // train: one step of the optimiser
} ExampleOptions;

static inline void example_must(Example *e, bool good)
{
    if (good)
        return;
    Text t = text_make(&e->arena);
    diag_print(&e->diag, &t, false);
    fail_msg("%s %s", e->why.text, text_str(&t));
}

static inline void example_open(Example *e, const char *device, const char *text, const ExampleOptions *options)
{
    *e = (Example){0};
    e->sources = sources_make(&e->arena);
    e->diag = diag_make(&e->arena, &e->sources);
    EngineOptions engine = {.device = device, .on_device = {.threads = 1, .cache_dir = ""}, .verify = true};
    example_must(e, engine_open(&engine, &e->engine, &e->why) == STATUS_OK);
    uint32_t file = sources_add(&e->sources, "example.mix", text, strlen(text));
    Ast *ast = ast_parse(&e->arena, &e->diag, &e->sources, file);
    e->module = ast ? build_module(&e->arena, &e->diag, &e->sources, ast, &options->build) : NULL;
    example_must(e, e->module != NULL);
    RunGradOptions grad = {.cotangent = &options->cotangent, .n_cotangents = options->cotangent != NULL};
    example_must(e, !options->grad || grad_of_run(e->module, &grad));
    example_must(e, engine_load(e->engine, &e->arena, &e->diag, e->module, &(LoadOptions){.train = options->train}, &e->net,
                                &e->why) == STATUS_OK);
}

static inline void example_set(Example *e, BufferKind kind, const char *name, const double *x, size_t n)
{
    const Slot *slot = net_slot(e->net, kind, name);
    if (!slot || slot->count != (int64_t)n)
        fail_msg("`%s` does not take %zu numbers", name, n);
    float *f = arena_array(&e->arena, float, n);
    int32_t *whole = arena_array(&e->arena, int32_t, n);
    for (size_t i = 0; i < n; i++) {
        f[i] = (float)x[i];
        whole[i] = (int32_t)x[i];
    }
    example_must(e, net_write(e->net, slot, slot->dtype == DTYPE_I32 ? (void *)whole : (void *)f, &e->why) == STATUS_OK);
}

static inline void example_run(Example *e)
{
    example_must(e, net_run(e->net, &e->why) == STATUS_OK);
}

static inline const double *example_get(Example *e, BufferKind kind, const char *name)
{
    const Slot *slot = net_slot(e->net, kind, name);
    if (!slot)
        fail_msg("there is no `%s`", name);
    float *f = arena_array(&e->arena, float, (size_t)slot->count + 1);
    double *x = arena_array(&e->arena, double, (size_t)slot->count + 1);
    example_must(e, net_read(e->net, slot, f, &e->why) == STATUS_OK);
    for (int64_t i = 0; i < slot->count; i++)
        x[i] = slot->dtype == DTYPE_I32 ? (double)((const int32_t *)(const void *)f)[i] : (double)f[i];
    return x;
}

static inline void example_close(Example *e)
{
    net_free(e->net);
    engine_close(e->engine);
    arena_free(&e->arena);
}

// Each of n numbers within `tolerance` of 1 + its size.
static inline void example_near(const char *what, const double *got, const double *want, size_t n, double tolerance)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= tolerance * (1 + fabs(want[i]))))
            fail_msg("%s[%zu] is %.9g instead of %.9g", what, i, got[i], want[i]);
}

#endif
