// A module: what the front end makes of a model for one mode, entry and binding of sizes. Graphs by name, the
// parameters, and the training section with every expression already a number.
#ifndef MIXC_MODULE_H
#define MIXC_MODULE_H

#include "graph.h"

#define POSITION_NAME "next.position"       // the scalar int input of `next`; no name of the language has a dot
#define BLOCK_NAME "next.block"             // the positions that `block` adds to the past

typedef enum ParamRole { PARAM_TRAINED, PARAM_STATE } ParamRole;

typedef struct Param {
    const char *name;                       // path: GPT.l3.Attn.Wq
    ParamRole   role;
    Type        type;                       // axes of `main`; the order is the storage order
    double      lr;                         // its own peak rate; NaN: the optimiser's
    double      decay;                      // its own weight decay; NaN: the optimiser's
    double      trust;                      // LAMB: 0 switches the trust ratio off; NaN: the optimiser's
    AxisId      lower_row, lower_col;       // shape = lower(T, T'): 0 above the diagonal; 0: not so
    Span        at;
} Param;

typedef enum OptimizerKind { OPTIMIZER_SGD, OPTIMIZER_ADAM, OPTIMIZER_LAMB } OptimizerKind;
typedef enum ScheduleKind { SCHEDULE_CONSTANT, SCHEDULE_LINEAR, SCHEDULE_COSINE, SCHEDULE_RSQRT } ScheduleKind;

typedef struct TrainSpec {
    OptimizerKind optimizer;
    double lr, beta1, beta2, eps, decay, momentum, nesterov, correct, trust;   // decay is decoupled (AdamW)
    double clip;                            // global gradient norm; 0: off
    ScheduleKind schedule;
    int64_t warmup, steps;                  // in steps; `steps` is the end of the decay
    double  start, floor;                   // factors of the peak at step 0 and at the end
    int64_t batch, grad_accum;
    double  ema;                            // 0: off
    bool    bf16;
} TrainSpec;

// One `key = value` of a section, for what only the runtime reads. `windows = mlm(T, rate=0.15)` gives windows = "mlm",
// windows.name = "mlm", windows.0 = "512", windows.rate = "0.15"; a bare name or string gives KEY and KEY.name alike; a
// list gives KEY.0, KEY.1, .. each in this manner and KEY.count.
typedef struct Field {
    const char *key;
    const char *value;                      // text of a number, a string's content, or a name
} Field;

// One use of a `route` in this mode and at these sizes: what plans and reports say of it.
typedef struct RouteInfo {
    const char *layer;                      // path of the instance: GPT.l3.Switch
    Span        at;
    const char *place;                      // "switch.mix:7:9"
    const char *experts;                    // name of the expert axis
    const char *pool;                       // "B*T": tokens that share places
    const char *choice_axis;                // name in the graph of the axis that counts choices (or an expert's places); NULL
    int64_t     n_experts, n_choices, pool_tokens, n_pools;
    int64_t     rows;                       // places of each expert in a pool; -1: dropless
    double      factor;                     // of `capacity F`; NaN: `rows(N)`
    bool        by_expert, by_number;       // experts choose; whole numbers name the experts
    bool        fails;                      // overflow error
} RouteInfo;

typedef struct Module {
    Arena     *arena;                       // owned by whoever made the module
    Diag      *diag;                        // borrowed
    Graph    **graph; size_t n_graphs, graph_capacity;
    Param     *param; size_t n_params, param_capacity;
    bool       has_train;
    TrainSpec  train;
    Field     *data;     size_t n_data;     // the data section in use
    Field     *generate; size_t n_generate; // the generate section
    Field     *run;      size_t n_run;      // what is left of the train section: eval, save, seed, ...
    RouteInfo *route;    size_t n_routes, route_capacity;       // in the order of their elaboration
    const char *no_steps;                   // why there is no graph `next` though it was wanted; NULL (incremental)
    const char **recompute; size_t n_recompute, recompute_capacity;   // paths of layers that drop their activations
} Module;

#define INIT_FREQUENCY_HASH "frequency_hash."

Module *module_make(Arena *arena, Diag *diag);
void    module_add_graph(Module *m, Graph *g);      // replaces one of the same name
Graph  *module_graph(const Module *m, const char *name);   // NULL: none
// Numbers that are trained: of `shape = lower` only those on and below the diagonal. `g` has the axes of `main`.
// False when the product overflows.
bool    param_count(const Graph *g, const Param *p, int64_t *out_count);

// Graphs by name:
//   init   no inputs but the scalar `seed` and tables INIT_FREQUENCY_HASH "E" (int[V]: the expert of each token, of E, spread
//          by how often the tokens occur); one OUTPUT_NEXT per parameter and state: its first value.
//   main   the forward pass: ARG inputs, PARAM, STATE; OUTPUT_RESULT each result; OUTPUT_LOSS "aux" when there are
//          terms, and "train" when asked for; OUTPUT_NEXT for states. The scalars ARG "seed" and "step" (int[]) are
//          there if something random is.
//   next   made by passes/incremental from main: one position of a text, given the states cache/.. (ARG next.position)
//   block  made beside it where there are long convolutions: what a full block of positions means for later ones
//   step   made by passes/train_step from main: one optimiser step. Scalars ARG "lr" (f32[]) and "step".

#endif
