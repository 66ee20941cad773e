// The engine: the one pipeline from a module to something that runs.
//
//     module --passes--> graph --codegen--> program --plan_memory--> device --> Net
//
// Everything hangs from an Engine; several may live in one process, on several threads. A Net is a compiled graph
// with its memory: write its inputs, parameters and states by name, run, read its outputs. On the device "eval" a Net
// is the reference evaluator, which needs no compiler and is what everything else is compared with.
//
//     Engine *e; Module *module; Net *net; float loss;
//     engine_open(&(EngineOptions){.device = "cpu"}, &e, &why);
//     engine_load_text(e, &arena, &diag, &sources, "gpt.mix", text, &(BuildOptions){.mode = MODE_TRAIN, .with_loss = true},
//                      &(LoadOptions){.train = true}, &module, &net, &why);
//     net_init(net, module, seed, &why);
//     net_write(net, net_slot(net, BUFFER_INPUT, "tokens"), tokens, &why);
//     net_run(net, &why);
//     net_read(net, net_slot(net, BUFFER_OUTPUT, "loss.train"), &loss, &why);
#ifndef MIXC_ENGINE_H
#define MIXC_ENGINE_H

#include "build.h"
#include "device.h"
#include "pass.h"

typedef struct Engine Engine;
typedef struct Net Net;

typedef struct EngineOptions {
    const char   *device;                   // a name of device_find, or "eval"; NULL: the GPU if it can be used, else "cpu"
    DeviceOptions on_device;
    size_t        max_bytes;                // memory budget; 0: none
    bool          bf16;                     // products with parameters read bf16 operands
    bool          untuned;                  // the cost model decides, whatever was measured on this machine
    bool          verify;                   // verify and read back every graph after every pass
} EngineOptions;

// Errors: STATUS_NO_DEVICE, STATUS_NO_COMPILER.
Status engine_open(const EngineOptions *options, Engine **out_engine, StatusText *why);
void   engine_close(Engine *engine);
const Target *engine_target(const Engine *engine);
bool   engine_is_reference(const Engine *engine);
const DeviceOps *engine_device(const Engine *engine, Device **out_device);     // NULL on the device "eval"

typedef struct LoadOptions {
    bool             train;                 // the graph `step`, else `main`
    bool             generate;              // `main` fills the caches of generation; other graphs can be wanted then:
    const char      *graph;                 // "next" (passes/incremental.c); NULL: as above
    const char     **no_steps;              // with graph: where to say why there is none, in diag's arena, in place of an error
    const PassHooks *hooks;                 // NULL: none
    const Target    *target;                // NULL: the device's; another one for engine_program only
    Net             *beside;                // share this net's parameters and working memory (device.h, load_beside); it
                                            // must outlive the new one: read the outputs of one before running the other
} LoadOptions;

// The pipeline up to the fused graph. NULL after an error in diag.
const Graph *engine_graph(Engine *engine, Arena *arena, Diag *diag, const Module *module, const LoadOptions *options);
// The pipeline up to the planned program. Returns NULL after an error in diag. Works on the device "eval" too.
Program *engine_program(Engine *engine, Arena *arena, Diag *diag, const Module *module, const LoadOptions *options);
// The whole pipeline. `arena` must outlive the net. Errors: STATUS_BAD_MODEL when diag holds the errors; the device's.
Status engine_load(Engine *engine, Arena *arena, Diag *diag, const Module *module, const LoadOptions *options,
                   Net **out_net, StatusText *why);
// Several at once, in this order. Every program is made, and what that took given back, before the first is loaded. On
// failure those nets are set that were loaded before.
typedef struct LoadJob {
    const Module *module;
    LoadOptions   options;
    bool          beside_first;             // beside the first net of these (LoadOptions.beside)
} LoadJob;
Status engine_load_all(Engine *engine, Arena *arena, Diag *diag, const LoadJob *job, size_t n, Net **out_nets,
                       StatusText *why);
// From the text of a model: parse, build with these sizes, load. `diag` was made with `sources`.
Status engine_load_text(Engine *engine, Arena *arena, Diag *diag, Sources *sources, const char *name,
                        const char *text, const BuildOptions *build, const LoadOptions *load, Module **out_module,
                        Net **out_net, StatusText *why);
void   net_free(Net *net);

typedef struct Slot {                       // a place that the host writes or reads
    BufferKind  kind;                       // INPUT, PARAM, STATE or OUTPUT
    const char *name;                       // "tokens"; "GPT.wte"; "output.logits", "loss.train", "grad.param.GPT.wte"
    DType       dtype;                      // on the host bf16 is f32: net_write and net_read convert
    uint8_t     n_axes;
    const char *axis[MAX_AXES];
    int64_t     size[MAX_AXES];
    int64_t     count;                      // elements
    uint32_t    id;
} Slot;

size_t      net_slots(const Net *net, const Slot **out_slots);
const Slot *net_slot(const Net *net, BufferKind kind, const char *name);   // NULL: there is none
// 4 bytes an element: f32 or int32. Writing a NULL slot does nothing, so that optional scalars read well.
Status net_write(Net *net, const Slot *slot, const void *data, StatusText *why);
Status net_read(Net *net, const Slot *slot, void *data, StatusText *why);
// Elements first .. first+n-1 of a slot, row-major: a large one in pieces.
Status net_write_part(Net *net, const Slot *slot, int64_t first, int64_t n, const void *data, StatusText *why);
Status net_read_part(Net *net, const Slot *slot, int64_t first, int64_t n, void *data, StatusText *why);
// Whole numbers for an input, held against the axis that graph `g` indexes with them as they are: BAD_MODEL, with the
// number and the axis. `value` has slot->count numbers; other types pass.
Status net_check_input(const Graph *g, const Slot *slot, const int32_t *value, StatusText *why);
// Scalars of the host: "lr", "step", "seed". Does nothing when the graph has no such input.
Status net_write_float(Net *net, const char *name, double value, StatusText *why);
Status net_write_int(Net *net, const char *name, int64_t value, StatusText *why);
Status net_run(Net *net, StatusText *why);
// The same, and out_seconds[i] is the time of launch i of net_program(net). NO_DEVICE on the device "eval".
Status net_run_timed(Net *net, double *out_seconds, StatusText *why);
// The same, and out_counters[i] (sim/sim_counters.h) is what launch i did. NO_DEVICE where nobody counts: all but the device "sim".
struct SimCounters;
Status net_run_counted(Net *net, struct SimCounters *out_counters, StatusText *why);
const Program *net_program(const Net *net);  // NULL on the device "eval"
void   net_stats(const Net *net, LoadStats *out_stats);

// First values of parameters and states from the module's graph `init`, with the bits of the evaluator, on as many threads
// as the device has; optimiser states are zero. What is shared with the net beside it is left as it is. Tables that depend on
// how often each token occurs take every token as equally frequent.
Status net_init(Net *net, const Module *module, uint64_t seed, StatusText *why);
// The same, and token v < n occurs count[v] times.
Status net_init_counted(Net *net, const Module *module, uint64_t seed, const int64_t *count, size_t n, StatusText *why);
// Parameters and states that both nets have, from one to the other. `average`: where `from` keeps a running average of a
// parameter (the state ema/NAME of a training step), that instead.
Status net_copy_weights(const Net *from, Net *to, bool average, StatusText *why);

#endif
