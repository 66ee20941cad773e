// See engine.h: opening devices and the pipeline; what a net does is in engine_net.c.
#include "engine_net.h"

#include "codegen.h"
#include "memory.h"
#include "plan_memory.h"
#include "tuned.h"

#include <stdlib.h>
#include <string.h>

struct Engine {
    EngineOptions    options;
    const DeviceOps *ops;                   // NULL: the evaluator
    Device          *device;                // owned
    Target           target;
    Tuned           *tuned;                 // owned; NULL: nothing was measured
};

Status engine_open(const EngineOptions *options, Engine **out_engine, StatusText *why)
{
    const char *name = options->device;
    bool reference = name && !strcmp(name, "eval");
    const DeviceOps *ops = name && !reference ? device_find(name) : NULL;
    if (name && !reference && !ops)
        return status_fail(why, STATUS_NO_DEVICE, "there is no device `%s` here; cpu, cuda, sim, null and eval are known", name);
    Engine *e = calloc(1, sizeof *e);
    if (!e)
        return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for an engine");
    e->options = *options;
    Status status = STATUS_OK;
    if (!name)
        status = device_open_best(&options->on_device, &ops, &e->device, why);
    else if (ops)
        status = ops->open(&options->on_device, &e->device, why);
    e->ops = ops;
    if (status != STATUS_OK) {
        free(e);
        return status;
    }
    if (ops)
        ops->target(e->device, &e->target);
    else
        e->target = (Target){.name = "eval", .vector_floats = 8, .vector_registers = 16, .l1_bytes = 32768,
                             .l2_bytes = 1048576, .threads = 1};
    if (ops && !options->untuned)
        e->tuned = tuned_load(ops, e->device, options->on_device.cache_dir);
    e->target.schedules = tuned_schedules(e->tuned);
    *out_engine = e;
    return STATUS_OK;
}

void engine_close(Engine *engine)
{
    if (!engine)
        return;
    if (engine->ops)
        engine->ops->close(engine->device);
    tuned_free(engine->tuned);
    free(engine);
}

const Target *engine_target(const Engine *engine)
{
    return &engine->target;
}

bool engine_is_reference(const Engine *engine)
{
    return !engine->ops;
}

const DeviceOps *engine_device(const Engine *engine, Device **out_device)
{
    *out_device = engine->device;
    return engine->ops;
}

// The evaluator needs only the passes that make the graph, not those that make kernels.
static const char *const reference_passes[] = {"causal", "fold", "cse", "incremental", "precision", "train_step"};

// Runs the named passes (NULL: all) under a memory budget.
static Module *run_passes(Engine *engine, Arena *arena, Diag *diag, const Module *module, const LoadOptions *options,
                          const char *const *names, size_t n_names, size_t max_bytes)
{
    PassContext ctx = {.arena = arena, .diag = diag, .target = options->target ? options->target : &engine->target,
                       .train = options->train, .generate = options->generate, .max_bytes = max_bytes, .bf16 = engine->options.bf16};
    PassHooks hooks = options->hooks ? *options->hooks : (PassHooks){0};
    hooks.verify = hooks.verify || engine->options.verify;
    return passes_run(&ctx, module, names, n_names, &hooks);
}

static const Graph *wanted_graph(const Module *module, const LoadOptions *options)
{
    return module_graph(module, options->train ? "step" : options->graph ? options->graph : "main");
}

// The graph after the named passes. NULL after an error.
static const Graph *graph_within(Engine *engine, Arena *arena, Diag *diag, const Module *module, const LoadOptions *options,
                                 const char *const *names, size_t n_names, size_t max_bytes)
{
    const Module *done = run_passes(engine, arena, diag, module, options, names, n_names, max_bytes);
    const Graph *g = done ? wanted_graph(done, options) : NULL;
    if (done && !g && options->no_steps)
        *options->no_steps = arena_strdup(diag->arena, done->no_steps ? done->no_steps : "it has no such graph");
    else if (done && !g && options->graph)
        diag_error(diag, (Span){0}, NULL, "the model has no graph `%s`%s%s", options->graph, done->no_steps ? ": " : "",
                   done->no_steps ? done->no_steps : "");
    else if (done && !g)
        diag_error(diag, (Span){0}, NULL, "the model has no `train` section, so there is no training step");
    return g;
}

const Graph *engine_graph(Engine *engine, Arena *arena, Diag *diag, const Module *module, const LoadOptions *options)
{
    return graph_within(engine, arena, diag, module, options, NULL, 0, engine->options.max_bytes);
}

// What stays is the program, packed; graphs, expressions and plans die with the arena that they are made in.
static Program *program_within(Engine *engine, Arena *arena, Diag *diag, const Module *module,
                               const LoadOptions *options, const char *const *names, size_t n_names,
                               size_t max_bytes)
{
    Arena work = {.out_of_memory = arena->out_of_memory, .user = arena->user};
    const Graph *g = graph_within(engine, &work, diag, module, options, names, n_names, max_bytes);
    Target target = options->target ? *options->target : engine->target;
    if (engine->options.max_bytes || options->beside)       // memory is short, or shared with a program that uses all of it
        target.keep_bytes = 0;
    Program *p = g ? codegen_program(&work, diag, g, &target) : NULL;
    Program *packed = p && plan_memory(p, diag) ? program_copy(arena, p) : NULL;
    arena_free(&work);
    return packed;
}

// What the passes keep under a budget is an estimate made before fusion. Where the plan turns out larger than the
// budget, they are asked for that much less, a few times; causality has been proved by then.
Program *engine_program(Engine *engine, Arena *arena, Diag *diag, const Module *module, const LoadOptions *options)
{
    size_t wanted = engine->options.max_bytes, budget = wanted, n = 0;
    Program *best = program_within(engine, arena, diag, module, options, NULL, 0, budget);
    const char **names = arena_array(arena, const char *, pass_count);
    for (size_t i = 0; i < pass_count; i++)
        if (strcmp(pass_table[i].name, "causal") != 0)
            names[n++] = pass_table[i].name;
    for (int again = 0; again < 8 && wanted && best && best->arena_bytes > wanted && budget > 1; again++) {
        size_t less = (best->arena_bytes - wanted) << again;    // twice as much each time
        budget = budget > less ? budget - less : 1;
        Program *p = program_within(engine, arena, diag, module, options, names, n, budget);
        if (!p || p->arena_bytes < best->arena_bytes)
            best = p;
    }
    return best;
}

static Status load_reference(Engine *engine, Arena *arena, Diag *diag, const Module *module, const LoadOptions *options,
                             Net **out_net, StatusText *why)
{
    const Module *done = run_passes(engine, arena, diag, module, options, reference_passes,
                                    sizeof reference_passes / sizeof *reference_passes, engine->options.max_bytes);
    const Graph *g = done ? wanted_graph(done, options) : NULL;
    if (!g)
        return status_fail(why, STATUS_BAD_MODEL, "the model was not accepted");
    return net_make_reference(arena, g, out_net, why);
}

static Status check_budget(const Engine *engine, const Program *p, StatusText *why)
{
    size_t most = engine->options.max_bytes;
    if (!most || p->arena_bytes <= most)
        return STATUS_OK;
    return status_fail(why, STATUS_OVER_BUDGET, "the plan needs %.1f MiB, the budget (--max-mem) is %.1f MiB",
                       (double)p->arena_bytes / 1048576, (double)most / 1048576);
}

// All programs are made before the first is loaded: a step's memory and a compiler's are never there at once.
Status engine_load_all(Engine *engine, Arena *arena, Diag *diag, const LoadJob *job, size_t n, Net **out_nets,
                       StatusText *why)
{
    Status status = STATUS_OK;
    const Program **program = arena_array(arena, const Program *, n);
    for (size_t i = 0; i < n && engine->ops && status == STATUS_OK; i++) {
        program[i] = engine_program(engine, arena, diag, job[i].module, &job[i].options);
        status = program[i] ? check_budget(engine, program[i], why)
                            : status_fail(why, STATUS_BAD_MODEL, "the model was not accepted");
    }
    memory_give_back();
    for (size_t i = 0; i < n && status == STATUS_OK; i++) {
        Net *beside = job[i].beside_first && i > 0 ? out_nets[0] : job[i].options.beside;
        status = engine->ops ? net_make_program(arena, engine->ops, engine->device, engine->target.threads, program[i],
                                                beside, &out_nets[i], why)
                             : load_reference(engine, arena, diag, job[i].module, &job[i].options, &out_nets[i], why);
    }
    return status;
}

Status engine_load(Engine *engine, Arena *arena, Diag *diag, const Module *module, const LoadOptions *options,
                   Net **out_net, StatusText *why)
{
    return engine_load_all(engine, arena, diag, &(LoadJob){module, *options, false}, 1, out_net, why);
}

Status engine_load_text(Engine *engine, Arena *arena, Diag *diag, Sources *sources, const char *name,
                        const char *text, const BuildOptions *build, const LoadOptions *load, Module **out_module,
                        Net **out_net, StatusText *why)
{
    uint32_t file = sources_add(sources, name, text, strlen(text));
    const Ast *ast = ast_parse(arena, diag, sources, file);
    Module *module = diag->n_errors ? NULL : build_module(arena, diag, sources, ast, build);
    if (!module)
        return status_fail(why, STATUS_BAD_MODEL, "%s: the model was not accepted", name);
    Status status = engine_load(engine, arena, diag, module, load, out_net, why);
    if (status == STATUS_OK)
        *out_module = module;
    return status;
}
