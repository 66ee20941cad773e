// Runs a graph two ways for comparison: through passes, generated C, the system's compiler and a plain loop over the
// launches; and through the reference evaluator. Included by tests; every function is static.
#ifndef MIXC_RUN_PROGRAM_H
#define MIXC_RUN_PROGRAM_H

#include "codegen.h"
#include "eval.h"
#include "pass.h"

#include <dlfcn.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

typedef void KernelFunction(void *const *p, long begin, long end, void *scratch);

typedef struct Case {
    Arena    arena;
    Sources  sources;
    Diag     diag;
    Graph   *input, *fused;
    Target   target;
    Program *program;
    void    *library;
    char     folder[64];
    bool     whole;                         // leaves hold small whole numbers: every sum is exact
    void   **buffer;                        // [n_buffers]
} Case;

static const Target target_wide = {.name = "cpu", .vector_floats = 16, .vector_registers = 32, .l1_bytes = 49152,
                                   .l2_bytes = 1 << 20, .threads = 2};
static const Target target_narrow = {.name = "cpu", .vector_floats = 4, .vector_registers = 16, .l1_bytes = 4096,
                                     .l2_bytes = 1 << 16, .threads = 4};

static const char *case_error(Case *c)
{
    return c->diag.n_items ? c->diag.item[0].message : "no diagnostic";
}

// A number for element `i` of a leaf of that name: small and whole, or in (-1, 1).
static double leaf_number(const Case *c, const Node *leaf, size_t i)
{
    uint32_t h = (uint32_t)i * 2654435761u + 12345u;
    for (const char *s = leaf->attr[0].name; *s; s++)
        h = (h ^ (uint32_t)(unsigned char)*s) * 16777619u;
    h ^= h >> 15;
    h *= 2246822519u;
    h ^= h >> 13;
    if (leaf->type.n_axes == 0 && leaf->type.dtype == DTYPE_I32)
        return 7;
    return c->whole ? (double)(h % 7) - 3 : (double)(float)((double)(h % 200001) / 100000 - 1);
}

static const double *eval_leaf(void *user, const Graph *g, const Node *leaf)
{
    Case *c = user;
    int64_t n;
    type_count(g, &leaf->type, &n);
    double *x = arena_array(&c->arena, double, (size_t)n + 1);
    for (size_t i = 0; i < (size_t)n; i++)
        x[i] = leaf_number(c, leaf, i);
    return x;
}

static __attribute__((unused)) bool run_passes(Case *c, const char *const *names, size_t n)
{
    PassContext ctx = {.arena = &c->arena, .diag = &c->diag, .target = &c->target};
    Module *m = module_make(&c->arena, &c->diag);
    module_add_graph(m, c->input);
    PassHooks hooks = {.verify = true};
    Module *out = passes_run(&ctx, m, names, n, &hooks);
    c->fused = out ? module_graph(out, c->input->name) : NULL;
    return c->fused != NULL;
}

static void case_begin(Case *c, const char *text, const Target *target)
{
    memset(c, 0, sizeof *c);
    c->sources = sources_make(&c->arena);
    uint32_t file = sources_add(&c->sources, "case", text, strlen(text));
    c->diag = diag_make(&c->arena, &c->sources);
    c->target = *target;
    c->input = graph_parse(&c->arena, &c->diag, &c->sources, file);
    if (!c->input)
        fail_msg("graph: %s", case_error(c));
}

// Compiles with `cc flags` and loads.
static void case_compile(Case *c, const char *compiler, const char *flags)
{
    c->program = codegen_program(&c->arena, &c->diag, c->fused, &c->target);
    if (!c->program) {
        Text graph = text_make(&c->arena);
        graph_print(c->fused, &graph);
        fail_msg("codegen: %s\n%s", case_error(c), text_str(&graph));
    }
    Text text = text_make(&c->arena);
    codegen_emit_c(c->program, &text);
    strcpy(c->folder, "/tmp/mixc_test_XXXXXX");
    assert_non_null(mkdtemp(c->folder));
    const char *source = arena_printf(&c->arena, "%s/k.c", c->folder), *object = arena_printf(&c->arena, "%s/k.so", c->folder);
    FILE *f = fopen(source, "w");
    assert_non_null(f);
    fputs(text_str(&text), f);
    fclose(f);
    const char *command = arena_printf(&c->arena, "%s -std=c17 -Wall -Wextra -Werror %s -shared -fPIC -o %s %s", compiler,
                                       flags, object, source);
    if (system(command) != 0)
        fail_msg("does not compile: %s", command);
    c->library = dlopen(object, RTLD_NOW | RTLD_LOCAL);
    if (!c->library)
        fail_msg("%s", dlerror());
    unlink(object);
    if (!getenv("KEEP"))
        unlink(source);
    rmdir(c->folder);
}

static void fill_leaf(Case *c, uint32_t b)
{
    const Buffer *buffer = &c->program->buffer[b];
    const Node *leaf = &c->fused->node[buffer->value];
    for (size_t i = 0; i < buffer->bytes / 4; i++)
        if (leaf->type.dtype == DTYPE_I32)
            ((int *)c->buffer[b])[i] = (int)leaf_number(c, leaf, i);
        else
            ((float *)c->buffer[b])[i] = (float)leaf_number(c, leaf, i);
}

// Runs all launches; work is handed out in `pieces` pieces, the last one first.
static __attribute__((unused)) void case_run(Case *c, int pieces)
{
    const Program *p = c->program;
    c->buffer = arena_array(&c->arena, void *, p->n_buffers);
    for (uint32_t b = 1; b < p->n_buffers; b++) {
        if (p->buffer[b].same_as) {
            c->buffer[b] = c->buffer[p->buffer[b].same_as];
            continue;
        }
        c->buffer[b] = malloc(p->buffer[b].bytes + 1);
        memset(c->buffer[b], 0xff, p->buffer[b].bytes);    // NaNs
        if (p->buffer[b].kind == BUFFER_INPUT || p->buffer[b].kind == BUFFER_PARAM || p->buffer[b].kind == BUFFER_STATE)
            fill_leaf(c, b);
    }
    for (size_t i = 0; i < p->n_launches; i++) {
        const Launch *l = &p->launch[i];
        const Kernel *k = &p->kernel[l->kernel];
        KernelFunction *function;
        *(void **)&function = dlsym(c->library, k->name);
        assert_non_null(function);
        void *args[64];
        for (uint32_t a = 0; a < k->n_params; a++)
            args[a] = c->buffer[l->buffer[a]];
        const size_t scratch_bytes = (k->scratch_bytes + 63) / 64 * 64;
        for (int64_t piece = pieces; piece-- > 0;) {
            void *scratch = scratch_bytes ? aligned_alloc(64, scratch_bytes) : NULL;
            if (scratch)
                memset(scratch, 0xff, scratch_bytes);
            function(args, (long)(l->n_work * piece / pieces), (long)(l->n_work * (piece + 1) / pieces), scratch);
            free(scratch);
        }
    }
}

static __attribute__((unused)) void case_free_buffers(Case *c)
{
    for (uint32_t b = 1; b < c->program->n_buffers; b++)
        if (!c->program->buffer[b].same_as)
            free(c->buffer[b]);
}

static __attribute__((unused)) uint32_t output_buffer(const Case *c, const Output *o)
{
    for (uint32_t b = 1; b < c->program->n_buffers; b++)
        if (c->program->buffer[b].kind == BUFFER_OUTPUT && c->program->buffer[b].value == o->value)
            return b;
    return 0;
}

// Compares every output with the evaluator: |difference| <= tolerance * (largest magnitude of that output).
static __attribute__((unused)) void case_compare(Case *c, double tolerance)
{
    EvalResult want;
    StatusText why = {0};
    if (graph_eval(c->input, eval_leaf, c, &c->arena, &want, &why) != STATUS_OK)
        fail_msg("evaluator failed");
    for (size_t i = 0; i < c->fused->n_outputs; i++) {
        const Output *o = &c->fused->output[i];
        const Node *n = &c->fused->node[o->value];
        if (!type_equal(&n->type, &c->input->node[c->input->output[i].value].type))
            fail_msg("output %s has another type", o->name);
        const double *x = want.value[c->input->output[i].value];
        const float *y = c->buffer[output_buffer(c, o)];
        int64_t count;
        type_count(c->fused, &n->type, &count);
        double most = 0;
        for (int64_t k = 0; k < count; k++)
            most = fmax(most, fabs(x[k]));
        for (int64_t k = 0; k < count; k++)
            if (!(fabs(y[k] - x[k]) <= tolerance * most))
                fail_msg("output %s, element %lld: %.9g, expected %.9g (largest %g)", o->name, (long long)k, (double)y[k], x[k],
                         most);
    }
}

// Hash of all outputs' bits.
static __attribute__((unused)) uint64_t case_hash(const Case *c)
{
    uint64_t h = 1469598103934665603u;
    for (uint32_t b = 1; b < c->program->n_buffers; b++)
        if (c->program->buffer[b].kind == BUFFER_OUTPUT)
            for (size_t i = 0; i < c->program->buffer[b].bytes; i++)
                h = (h ^ ((const unsigned char *)c->buffer[b])[i]) * 1099511628211u;
    return h;
}

static void case_end(Case *c)
{
    if (c->library)
        dlclose(c->library);
    arena_free(&c->arena);
}

#endif
