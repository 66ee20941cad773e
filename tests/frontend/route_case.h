// A small model with routes in a test: built, evaluated, and its outputs held against numbers.
#ifndef MIXC_ROUTE_CASE_H
#define MIXC_ROUTE_CASE_H

#include "build_run.h"
#include "grad.h"

#include <math.h>
#include <stdlib.h>

typedef struct Input { const char *name; const double *data; } Input;

typedef struct Case {
    Run        run;
    EvalResult result;
    const Graph *g;
    Input      input[24];
    double     seed, step;
} Case;

static inline const double *input_of(void *user, const Graph *g, const Node *n)
{
    (void)g;
    const Case *c = user;
    const char *name = n->attr[0].name;
    for (size_t i = 0; c->input[i].name; i++)
        if (strcmp(c->input[i].name, name) == 0)
            return c->input[i].data;
    return strcmp(name, "seed") == 0 ? &c->seed : strcmp(name, "step") == 0 ? &c->step : NULL;
}

static inline void eval_case(Case *c)
{
    StatusText why = {{0}};
    c->g = module_graph(c->run.module, "main");
    assert_true(graph_verify(c->g, &c->run.diag));
    if (graph_eval(c->g, input_of, c, &c->run.arena, &c->result, &why) != STATUS_OK)
        fail_msg("%s", why.text);
}

// Builds `text` behind the first line; inputs end with a NULL name.
static inline void begin(Case *c, ModeName mode, bool with_stats, const char *text, const Input *inputs)
{
    *c = (Case){.seed = 1, .step = 3};
    start(&c->run);
    char *whole = arena_printf(&c->run.arena, "mix 1\nuse std.norm\n%s", text);
    build_file(&c->run, sources_add(&c->run.sources, "route.mix", whole, strlen(whole)),
               &(BuildOptions){.mode = mode, .with_routing_stats = with_stats});
    must_build(&c->run);
    for (size_t i = 0; inputs[i].name; i++)
        c->input[i] = inputs[i];
}

static inline const double *value(const Case *c, OutputRole role, const char *name)
{
    ValueId id = graph_find_output(c->g, role, name);
    if (!id)
        fail_msg("there is no output %s", name);
    return c->result.value[id];
}

static inline const double *result(const Case *c, const char *name)
{
    return value(c, OUTPUT_RESULT, name);
}

static inline double aux(const Case *c)
{
    return value(c, OUTPUT_LOSS, "aux")[0];
}

static inline void same(const double *got, const double *want, size_t n, double tolerance, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= tolerance))
            fail_msg("%s[%d] is %.10g, not %.10g", what, (int)i, got[i], want[i]);
}

#define SAME(got, tolerance, ...) do { const double want_[] = {__VA_ARGS__}; \
    same(got, want_, sizeof want_ / sizeof *want_, tolerance, #got); } while (0)
#define IN(...) ((const Input[]){__VA_ARGS__, {NULL, NULL}})

static inline void end(Case *c)
{
    finish(&c->run);
}

#endif
