// Building a model in a test, and evaluating its graphs.
#ifndef MIXC_BUILD_RUN_H
#define MIXC_BUILD_RUN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "build.h"
#include "eval.h"

#include <stdio.h>
#include <string.h>

typedef struct Run {
    Arena   arena;
    Sources sources;
    Diag    diag;
    Module *module;
} Run;

static inline void start(Run *r)
{
    memset(r, 0, sizeof *r);
    arena_init(&r->arena);
    r->sources = sources_make(&r->arena);
    r->diag = diag_make(&r->arena, &r->sources);
}

static inline void build_file(Run *r, uint32_t file, const BuildOptions *options)
{
    assert_int_not_equal(file, 0);
    Ast *ast = ast_parse(&r->arena, &r->diag, &r->sources, file);
    r->module = build_module(&r->arena, &r->diag, &r->sources, ast, options);
    if (!r->module)
        assert_true(r->diag.n_errors > 0);  // failure is never silent
}

static inline void build_text(Run *r, const char *text, const BuildOptions *options)
{
    start(r);
    build_file(r, sources_add(&r->sources, "model.mix", text, strlen(text)), options);
}

static inline void build_path(Run *r, const char *path, const BuildOptions *options)
{
    start(r);
    build_file(r, sources_read(&r->sources, path), options);
}

static inline void finish(Run *r)
{
    arena_free(&r->arena);
}

static inline const char *messages(Run *r)
{
    Text t = text_make(&r->arena);
    diag_print(&r->diag, &t, false);
    return text_str(&t);
}

static inline int64_t count(const Run *r)
{
    int64_t all = 0, n;
    const Graph *g = module_graph(r->module, "main");
    for (size_t i = 0; i < r->module->n_params; i++)
        if (r->module->param[i].role == PARAM_TRAINED) {
            assert_true(param_count(g, &r->module->param[i], &n));
            all += n;
        }
    return all;
}

static inline void must_build(Run *r)
{
    if (!r->module)
        print_message("%s\n", messages(r));
    assert_non_null(r->module);
}

// ---- values ----

typedef struct Leaves { const char *name[16]; const double *data[16]; } Leaves;

static inline const double *leaf(void *user, const Graph *g, const Node *n)
{
    (void)g;
    const Leaves *l = user;
    for (size_t i = 0; l->name[i]; i++)
        if (strcmp(l->name[i], n->attr[0].name) == 0)
            return l->data[i];
    return NULL;
}

static inline const double *evaluate(Run *r, const char *graph, OutputRole role, const char *name, Leaves *leaves)
{
    Graph *g = module_graph(r->module, graph);
    EvalResult result;
    StatusText why = {{0}};
    Status s = graph_eval(g, leaf, leaves, &r->arena, &result, &why);
    if (s != STATUS_OK)
        print_message("%s\n", why.text);
    assert_int_equal(s, STATUS_OK);
    ValueId id = graph_find_output(g, role, name);
    assert_int_not_equal(id, 0);
    return result.value[id];
}

// One of the project's models.
static inline void build_model(Run *r, const char *name, const BuildOptions *options)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/../models/%s", MIXC_TESTS, name);
    build_path(r, path, options);
}

#endif
