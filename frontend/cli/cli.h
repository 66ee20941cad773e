// The command line: what all verbs share. A verb is a function `int cli_NAME(Cli *)` that returns the exit code.
// Results go to standard output, everything else to standard error.
#ifndef MIXC_CLI_H
#define MIXC_CLI_H

#include "build.h"
#include "status.h"

#include <stdint.h>

typedef enum OptionId {
#define OPTION(id, name, letter, argument, what) OPT_##id,
#include "options.def"
#undef OPTION
    OPT_COUNT
} OptionId;

#define O(id) (UINT64_C(1) << OPT_##id)
static const uint64_t OPTIONS_COMMON = O(HELP) | O(VERSION) | O(VERBOSE) | O(QUIET) | O(JSON) | O(COLOR) | O(DEVICE)
                                       | O(DTYPE) | O(SEED) | O(THREADS) | O(VERIFY) | O(DETERMINISTIC);

typedef struct OptionRow {
    const char *name;
    char        letter;
    const char *argument, *what;
} OptionRow;
extern const OptionRow option_row[OPT_COUNT];

typedef struct Cli Cli;

typedef struct VerbRow {
    const char *name, *usage, *summary, *examples;
    uint64_t    options;
    int       (*run)(Cli *cli);
} VerbRow;
extern const VerbRow verb_row[];
extern const size_t  verb_count;

struct Cli {
    Arena       arena;
    Sources     sources;
    Diag        diag;
    const VerbRow *verb;
    const char *value[OPT_COUNT];           // argument of an option; "" for a switch; NULL: not given
    int         times[OPT_COUNT];
    const char **file;    size_t n_files, file_capacity;         // what is neither an option nor NAME=VALUE
    Binding    *binding;  size_t n_bindings, binding_capacity;
    bool        colour_out, colour_err, tty_out, tty_err;
    uint64_t    seed;
    int         threads;
    bool        with_routing_stats;         // what is built next says what its routes do
    const char *device;                     // what was asked for; NULL: nothing (engine_target says what it became)
};

// Runs a command line and returns the exit code.
int cli_main(int argc, char **argv);

bool cli_has(const Cli *cli, OptionId option);
// Prints `mixc VERB: ...` on standard error and returns 2 (with a pointer to --help).
int cli_usage(const Cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Prints the status's sentence and the explanation; returns its exit code.
int cli_fail(const Cli *cli, Status status, const StatusText *why);
int cli_failf(const Cli *cli, Status status, const char *format, ...) __attribute__((format(printf, 3, 4)));
// The same for a file or folder that errno says cannot be opened, with the nearest name beside it.
int cli_fail_open(Cli *cli, const char *path);
// A line for people on standard error, unless --quiet.
void cli_note(const Cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Numbers of options. Each returns false after printing a usage error.
bool cli_int(const Cli *cli, OptionId option, int64_t low, int64_t high, int64_t *out);
bool cli_double(const Cli *cli, OptionId option, double *out);
bool cli_bytes(const Cli *cli, OptionId option, size_t *out);

// Prints the diagnostics collected so far on standard error; `check --json` as an array on standard output.
// Returns 1 when there are errors, else 0.
int cli_diagnostics(Cli *cli);
// Parses the one FILE of the command line. NULL: `*out_exit` is the exit code, everything is printed.
Ast *cli_parse(Cli *cli, const char *path, int *out_exit);
// Parses and builds; unknown keys are reported with the nearest known one.
Module *cli_module(Cli *cli, const char *path, BuildOptions *options, Ast **out_ast, int *out_exit);
Module *cli_build_ast(Cli *cli, const Ast *ast, BuildOptions *options, int *out_exit);
// The same without a word about keys that this mode does not use.
Module *cli_build_quietly(Cli *cli, const Ast *ast, BuildOptions *options, int *out_exit);
// False after a usage error: a binding that the build did not use, with the nearest name.
bool cli_bindings_used(Cli *cli, const Ast *ast, const BuildOptions *options);
// A safetensors file, or the newest checkpoint of a run's folder.
const char *cli_weights_path(const Cli *cli, const char *path);
// The build options of the command line (size, mode, entry, bindings). False after a usage error.
bool cli_build_options(const Cli *cli, ModeName mode, BuildOptions *out);
// The one model of the command line: a file, or the folder of a run, whose settings are then those of the command line, where it
// does not give its own. NULL: *out_exit, everything is printed.
const char *cli_model_file(Cli *cli, int *out_exit);
// The one FILE of the command line; NULL after a usage error.
const char *cli_one_file(const Cli *cli, const char *what);

// GPT.l3.Attn.Wq -> GPT.l*.Attn.Wq: without the numbers of repeats, which are letters and then digits. The last part of a path is
// a parameter, which keeps its number, or a layer.
const char *cli_without_numbers(Arena *arena, const char *name, bool is_layer);
// Writes a result to a file (- is standard output), by a temporary name and a rename.
int cli_write(const Cli *cli, const char *path, const char *data, size_t n);
int cli_print_help(const Cli *cli, const VerbRow *verb);   // NULL: all verbs
// A page of docs/reference: ops, passes or diagnostics. False: there is no such page.
bool cli_print_reference(const char *word);
int cli_print_version(void);

#define VERB(id, name, usage, summary, options, examples) int cli_##name(Cli *cli);
#include "verbs.def"
#undef VERB

#endif
