// Runs a graph text through fuse_loops, code generation and the cpu device, and compares every output with the
// evaluator's. The numbers of the leaves are made from their names.
#ifndef MIXC_TEST_RUN_GRAPH_H
#define MIXC_TEST_RUN_GRAPH_H

#include "codegen.h"
#include "device.h"
#include "eval.h"
#include "kernel_schedule.h"
#include "pass.h"
#include "plan_memory.h"
#include "rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct Ran {
    Arena    arena;
    Diag     diag;
    Sources  sources;
    Graph   *given, *fused;
    Program *program;
    EvalResult expected;
    double **leaf;                          // [n_nodes] of the given graph
    const DeviceOps *ops;                   // where it runs; the cpu unless a test changes it
} Ran;

static const Schedules *run_schedules;      // what kernels are generated under; NULL: as the cost model says
static bool run_is_for_cuda;                // programs are generated for a GPU

// The number of places an int leaf may point to: the smallest axis it is used along.
static int64_t index_limit(const Graph *g, ValueId leaf)
{
    int64_t limit = 7;
    bool *from = calloc(g->n_nodes, 1);
    from[leaf] = true;
    for (ValueId v = leaf + 1; v < g->n_nodes; v++) {
        const Node *n = &g->node[v];
        AxisId axis = 0;
        if (n->op == OP_TAKE && from[n->in[1]])
            axis = n->attr[0].axis;
        else if (n->op == OP_PUT_ADD && from[n->in[1]])
            axis = n->attr[1].axis;
        else if (n->op == OP_PUT && from[n->in[1]])
            axis = n->attr[0].axis;
        else if (n->n_in > 0 && from[n->in[0]] && n->type.dtype == DTYPE_I32)
            from[v] = true;
        if (axis && graph_size(g, axis) < limit)
            limit = graph_size(g, axis);
    }
    free(from);
    return limit;
}

static double *leaf_values(Ran *r, const Graph *g, ValueId v)
{
    const Node *n = &g->node[v];
    int64_t count = 0;
    type_count(g, &n->type, &count);
    double *x = arena_array(&r->arena, double, (size_t)count + 1);
    uint32_t key = rng_key(17, 0, 0);
    for (const char *s = n->attr[0].name; *s; s++)
        key = rng_mix(key ^ (unsigned char)*s);
    int64_t limit = n->type.dtype == DTYPE_I32 ? index_limit(g, v) : 0;
    for (int64_t i = 0; i < count; i++) {
        double u = rng_uniform(key, (uint32_t)i);
        x[i] = limit ? floor(u * (double)limit) : (double)(float)(4 * u - 2);
        if (strncmp(n->attr[0].name, "whole", 5) == 0)
            x[i] = floor(8 * u) - 4;
        if (strncmp(n->attr[0].name, "positive", 8) == 0)
            x[i] = (double)(float)(u + 0.01);
        if (n->type.dtype == DTYPE_BF16)
            x[i] = floor(x[i] * 64) / 64;   // has few enough digits
    }
    return x;
}

static const double *find_leaf(void *user, const Graph *g, const Node *leaf)
{
    const Ran *r = user;
    return r->leaf[leaf - g->node];
}

static void must(Ran *r, bool good)
{
    if (good)
        return;
    Text t = text_make(&r->arena);
    diag_print(&r->diag, &t, false);
    fail_msg("%s", text_str(&t));
}

// Without the expected values, for a target whose facts are `target`.
static void compile_for(Ran *r, const char *text, const Target *target)
{
    memset(r, 0, sizeof *r);
    r->ops = &device_cpu;
    r->sources = sources_make(&r->arena);
    r->diag = diag_make(&r->arena, &r->sources);
    uint32_t file = sources_add(&r->sources, "test.ir", text, strlen(text));
    r->given = graph_parse(&r->arena, &r->diag, &r->sources, file);
    must(r, r->given && graph_verify(r->given, &r->diag));
    Module *m = module_make(&r->arena, &r->diag);
    module_add_graph(m, r->given);
    PassContext ctx = {.arena = &r->arena, .diag = &r->diag, .target = target};
    const char *names[] = {"layout", "fuse_rows", "fuse_route", "fuse_product", "fuse_loops", "fuse_monarch"};
    PassHooks hooks = {.verify = true};
    Module *out = passes_run(&ctx, m, names, 6, &hooks);
    must(r, out != NULL);
    r->fused = module_graph(out, r->given->name);
    r->program = codegen_program(&r->arena, &r->diag, r->fused, target);
    must(r, r->program && plan_memory(r->program, &r->diag));
}

static inline void compile_only(Ran *r, const char *text, int lanes)
{
    Target target = {.name = "cpu", .vector_floats = lanes, .vector_registers = 32, .l1_bytes = 32768, .l2_bytes = 1 << 20, .threads = 2,
                     .is_cuda = run_is_for_cuda, .schedules = run_schedules};
#if defined(__x86_64__)
    target.has_bf16_dot = lanes == 16 && __builtin_cpu_supports("avx512bf16");
#endif
    compile_for(r, text, &target);
}

// What the evaluator says of the graph that was compiled.
static inline void evaluate(Ran *r)
{
    r->leaf = arena_array(&r->arena, double *, r->given->n_nodes);
    for (ValueId v = 1; v < r->given->n_nodes; v++)
        if (r->given->node[v].op == OP_ARG || r->given->node[v].op == OP_PARAM || r->given->node[v].op == OP_STATE)
            r->leaf[v] = leaf_values(r, r->given, v);
    StatusText why = {0};
    if (graph_eval(r->given, find_leaf, r, &r->arena, &r->expected, &why) != STATUS_OK)
        fail_msg("%s", why.text);
}

static inline void compile_graph(Ran *r, const char *text, int lanes)
{
    compile_only(r, text, lanes);
    evaluate(r);
}

static size_t bytes_of(const Program *p, uint32_t b)
{
    size_t n = dtype_row[p->buffer[b].dtype].bytes;
    for (int i = 0; i < p->buffer[b].n_axes; i++)
        n *= (size_t)p->buffer[b].size[i];
    return n;
}

static inline void write_leaves(Ran *r, LoadedProgram *l)
{
    const Graph *g = r->given;
    StatusText why = {0};
    for (ValueId v = 1; v < g->n_nodes; v++) {
        const Node *n = &g->node[v];
        if (!r->leaf[v])
            continue;
        BufferKind kind = n->op == OP_ARG ? BUFFER_INPUT : n->op == OP_PARAM ? BUFFER_PARAM : BUFFER_STATE;
        uint32_t b = program_find_buffer(r->program, kind, n->attr[0].name);
        if (!b)
            continue;
        size_t bytes = bytes_of(r->program, b), count = bytes / dtype_row[n->type.dtype].bytes;
        char *data = arena_alloc(&r->arena, bytes + 1, 1);
        for (size_t i = 0; i < count; i++) {
            if (n->type.dtype == DTYPE_I32)
                ((int32_t *)(void *)data)[i] = (int32_t)r->leaf[v][i];
            else if (n->type.dtype == DTYPE_F32)
                ((float *)(void *)data)[i] = (float)r->leaf[v][i];
            else {
                float f = (float)r->leaf[v][i];
                uint32_t bits;
                memcpy(&bits, &f, 4);
                ((uint16_t *)(void *)data)[i] = (uint16_t)(bits >> 16);
                bits &= 0xffff0000u;
                memcpy(&f, &bits, 4);
                r->leaf[v][i] = (double)f;
            }
        }
        if (bytes)
            assert_int_equal(r->ops->write(l, b, 0, data, bytes, &why), STATUS_OK);
    }
}

static const char *buffer_name(Ran *r, const Output *o)
{
    const char *prefix = o->role == OUTPUT_RESULT ? "output" : output_role_text[o->role];
    return o->role == OUTPUT_NEXT ? o->name : arena_printf(&r->arena, "%s.%s", prefix, o->name);
}

// Largest error over the outputs, each relative to 1 + its largest number. `bits` collects a hash of all of them.
static inline double compare_outputs(Ran *r, LoadedProgram *l, uint64_t *bits)
{
    const Graph *g = r->given;
    double worst = 0;
    StatusText why = {0};
    for (size_t i = 0; i < g->n_outputs; i++) {
        const Output *o = &g->output[i];
        const char *name = buffer_name(r, o);
        uint32_t b = program_find_buffer(r->program, BUFFER_OUTPUT, name);
        if (o->role == OUTPUT_NEXT)
            b = program_find_buffer(r->program, BUFFER_PARAM, name) ? program_find_buffer(r->program, BUFFER_PARAM, name)
                                                                    : program_find_buffer(r->program, BUFFER_STATE, name);
        if (!b)
            fail_msg("no buffer `%s`", name);
        size_t bytes = bytes_of(r->program, b);
        char *data = arena_alloc(&r->arena, bytes + 8, 1);
        if (bytes)
            assert_int_equal(r->ops->read(l, b, 0, data, bytes, &why), STATUS_OK);
        DType dtype = g->node[o->value].type.dtype;
        size_t count = bytes / dtype_row[dtype].bytes;
        const double *want = r->expected.value[o->value];
        double scale = 1, error = 0;
        for (size_t k = 0; k < bytes; k++)
            *bits = (*bits ^ (unsigned char)data[k]) * 0x100000001b3u;
        for (size_t k = 0; k < count; k++)
            if (isfinite(want[k]) && fabs(want[k]) > scale)
                scale = fabs(want[k]);
        for (size_t k = 0; k < count; k++) {
            float f;
            if (dtype == DTYPE_I32)
                f = (float)((int32_t *)(void *)data)[k];
            else if (dtype == DTYPE_BF16) {
                uint32_t u = (uint32_t)((uint16_t *)(void *)data)[k] << 16;
                memcpy(&f, &u, 4);
            } else
                f = ((float *)(void *)data)[k];
            double e = isnan(want[k]) ? (isnan(f) ? 0 : INFINITY)
                     : isinf(want[k]) ? ((double)f == want[k] ? 0 : INFINITY) : fabs((double)f - want[k]) / scale;
            if (!(e <= error))
                error = isnan(e) ? INFINITY : e;
        }
        if (!(error <= worst))
            worst = error;
        if (getenv("MIXC_TEST_VERBOSE"))
            print_message("%s: error %.3g, scale %.3g\n", name, error, scale);
    }
    return worst;
}

static inline Device *open_device(int threads)
{
    DeviceOptions options = {.threads = threads, .cache_dir = ""};
    Device *d = NULL;
    StatusText why = {0};
    if (device_cpu.open(&options, &d, &why) != STATUS_OK)
        fail_msg("%s", why.text);
    return d;
}

// Compiles once, runs with one and with three threads: the same bits, and near the evaluator.
static inline void check_graph(const char *text, double tolerance)
{
    Ran r;
    Device *few = open_device(1), *many = open_device(3);
    Target target;
    device_cpu.target(few, &target);
    compile_graph(&r, text, target.vector_floats);
    uint64_t bits[2] = {1, 1};
    for (int i = 0; i < 2; i++) {
        StatusText why = {0};
        LoadedProgram *l = NULL;
        if (device_cpu.load(i ? many : few, r.program, &l, &why) != STATUS_OK) {
            Text t = text_make(&r.arena);
            codegen_emit_c(r.program, &t);
            fail_msg("%s\n%s", why.text, text_str(&t));
        }
        write_leaves(&r, l);
        assert_int_equal(device_cpu.run(l, &why), STATUS_OK);
        double error = compare_outputs(&r, l, &bits[i]);
        if (!(error <= tolerance)) {
            Text t = text_make(&r.arena);
            graph_print(r.fused, &t);
            codegen_emit_c(r.program, &t);
            fail_msg("error %g is above %g in\n%s", error, tolerance, text_str(&t));
        }
        device_cpu.unload(l);
    }
    assert_true(bits[0] == bits[1]);
    device_cpu.close(few);
    device_cpu.close(many);
    arena_free(&r.arena);
}

#endif
