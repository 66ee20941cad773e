// A model of the command line on its device: what dump, emit, plan, run, eval and generate share.
#ifndef MIXC_CLI_ENGINE_H
#define MIXC_CLI_ENGINE_H

#include "cli.h"
#include "engine.h"

typedef struct CliModel {
    Ast        *ast;
    Module     *module;
    Engine     *engine;
    BuildOptions options;
    bool        train;                      // the training step is meant
    bool        generate;                   // generation position by position is meant: main with caches, and
    const char *graph;                      // which graph of it (LoadOptions.graph); NULL: main
} CliModel;

bool cli_has_section(const Ast *ast, SectionKind kind);
bool cli_wants_bf16(const Cli *cli);        // --dtype bf16
// Opens the device of --device. Returns 0 or an exit code.
int  cli_engine_open(Cli *cli, Engine **out_engine);
// Parses, builds and opens the device: in --mode, else train when the file has a train section, else eval; with as many
// rows in a batch as training has (one when generating).
int  cli_model_open(Cli *cli, const char *path, CliModel *out_model);
void cli_model_close(CliModel *model);
// What a verb of one model does: the model of its one file, opened, worked on and closed. Returns the exit code.
int  cli_with_model(Cli *cli, int (*work)(Cli *cli, CliModel *model));
// The planned program; `target` NULL: the device's. NULL: `*out_exit` says why, everything is printed.
Program *cli_model_program(Cli *cli, CliModel *model, const PassHooks *hooks, const Target *target, int *out_exit);
// Loads the model (its `main`, or `step` when model->train). NULL as above.
Net *cli_model_load(Cli *cli, CliModel *model, int *out_exit);

// profile on the device sim: what kernels do, instead of how long they take. Returns the exit code.
int cli_profile_sim(Cli *cli, Net *net);

#endif
