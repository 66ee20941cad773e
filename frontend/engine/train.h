// Training runs: the step loop, and the folder of a run.
//
//   DIR/model.mix run.json        the model's text; size, bindings, data and seed: what eval and generate need
//   DIR/step-*.safetensors        checkpoints: param.NAME, state.NAME and what resuming needs; last.safetensors names
//                                 the newest. No clock is in them: equal runs leave equal bytes.
//   DIR/log.jsonl report.html loss.svg
#ifndef MIXC_TRAIN_H
#define MIXC_TRAIN_H

#include "data.h"
#include "engine.h"
#include "generate.h"
#include "progress.h"
#include "report.h"

#include <signal.h>

typedef struct TrainJob {
    Engine       *engine;                   // borrowed, like everything here
    const Module *train;                    // mode train, with the loss
    const Module *eval;                     // mode eval, with the loss; NULL: no validation
    const Module *generate;                 // mode generate; NULL: no samples
    const char   *folder;
    const char   *model_name, *model_text;
    const char   *data_path, *data_base;
    uint32_t      seed;
    int64_t       stop;                     // stop after this step; 0: the schedule's end
    bool          resume;
    const char   *weights;                  // start from these; NULL: from initial values
    ProgressKind  progress;
    FILE         *progress_out;
    const ReportField *field; size_t n_fields;   // for the report
    const volatile sig_atomic_t *interrupted;    // set by a signal handler
} TrainJob;

typedef struct TrainMemory {                // 0: not known
    size_t planned_bytes;                   // what the loaded programs hold
    size_t peak_bytes;                      // resident memory of the process at its highest
} TrainMemory;

// *out_memory is set once training began. Errors: INTERRUPTED after saving; NUMERIC when the loss is not finite (the last
// checkpoint stays as it was).
Status train_run(Arena *arena, Diag *diag, const TrainJob *job, TrainMemory *out_memory, StatusText *why);

typedef struct EvalScore {
    double  loss;                           // mean over the batches
    double  accuracy;                       // share of rows whose label has the highest score; NaN: the data has no labels
    int64_t batches;
} EvalScore;

// Over `batches` validation batches (0: all).
Status eval_score(Net *net, Dataset *data, int64_t batches, EvalScore *out_score, StatusText *why);
Status net_load_batch(Net *net, Dataset *data, DataSplit split, int64_t number, DataSlot *slot, size_t n, StatusText *why);
// The inputs of a net that a data set fills.
DataSlot *data_slots_of(Arena *arena, const Net *net, size_t *out_n);

// A number of the train section that only the loop reads: `key = 5`, `key = every(5)`.
double run_number(const Module *m, const char *key, double otherwise);

typedef struct Checkpoint {
    int64_t     step;
    const char *data_state;                 // NULL: none
    uint32_t    seed;
} Checkpoint;

// What a checkpoint says of its run, without reading a tensor.
Status checkpoint_about(Arena *arena, const char *path, Checkpoint *out_about, StatusText *why);
const char *run_path(Arena *arena, const char *folder, const char *name);
// Parameters and states of all nets; one that several have is taken from the first.
Status checkpoint_save(const char *path, const Net *const *nets, size_t n_nets, const Checkpoint *about,
                       StatusText *why);
// Reads what the file and the net have in common; parameters of the net that the file lacks are an error.
// An eval net holds only the model's own states; a step's net those of the optimiser too (wanted: with_states).
// `average`: where the file has a running average of a parameter (state.ema/NAME), that instead.
Status checkpoint_load(Arena *arena, const char *path, Net *net, bool with_states, bool average,
                       Checkpoint *out_about, StatusText *why);

// run.json: what a run was started with. Bindings are those of the command line, in order.
typedef struct RunConfig {
    const char *file;                       // the model file, for messages
    const char *size, *data, *base, *dtype; // NULL: none
    uint32_t    seed;
    const char **name, **value; size_t n_bindings;
    TrainMemory memory;                     // of the last session that ended
} RunConfig;

Status run_config_save(const char *path, const RunConfig *config, StatusText *why);
Status run_config_load(Arena *arena, const char *path, RunConfig *out_config, StatusText *why);

#endif
