// What train, eval and generate share: a model built for a mode with its batch axis bound, and the folder of a run.
#ifndef MIXC_CLI_TRAINED_H
#define MIXC_CLI_TRAINED_H

#include "cli_engine.h"
#include "train.h"

// Builds `ast` for a mode. `rows`: the size of the batch axis; 0: as bound, else from train.batch / train.grad_accum.
// Bindings of the command line must be used by `train` and `eval` builds; others may leave some. NULL: *out_exit.
Module *cli_build_mode(Cli *cli, const Ast *ast, ModeName mode, int64_t rows, int *out_exit);

// Makes the command line's size, bindings, data and seed those of a run, where it does not give its own.
void cli_adopt(Cli *cli, const RunConfig *config);

// Is what the command asks for the run that is in `folder`? Model text, size, data (`data`: its full path), seed, element type
// and bindings; what only says how long and how often may change. Returns 0, or an exit code after naming every difference.
int cli_resume_check(Cli *cli, const char *folder, const RunConfig *run, const SourceFile *source, const char *data);

typedef struct Trained {                    // a run's folder, or a file and weights
    const char *model_path, *weights_path, *base;
    uint32_t    seed;
} Trained;

// The folder of a run: its model, its newest checkpoint, and its settings for what the command line leaves open. Returns 0 or an
// exit code.
int  cli_open_run(Cli *cli, const char *folder, Trained *out);
bool cli_is_folder(const char *path);
// Is NAME=VALUE on the command line (or in the adopted settings)?
bool cli_is_bound(const Cli *cli, const char *name);

const char *cli_model_name(const Ast *ast);     // of the last model in the file
const char *cli_folder_of(Arena *arena, const char *path);

#endif
