// mixc build: a model as a C library.
#include "batch.h"
#include "cli_trained.h"
#include "library.h"

#include <ctype.h>
#include <string.h>

typedef struct Wanted {
    const char *model_path, *weights_path;  // weights NULL: none of a file
    Ast        *ast;
    Module     *forward, *step;
    bool        by_steps;                   // --mode generate
} Wanted;

static int open_wanted(Cli *cli, const char *path, Wanted *out)
{
    Trained trained = {.model_path = path};
    if (cli_is_folder(path)) {
        const int code = cli_open_run(cli, path, &trained);
        if (code)
            return code;
        if (cli_has(cli, OPT_INIT))         // the model of a run, untrained
            trained.weights_path = NULL;
    }
    if (cli_has(cli, OPT_WEIGHTS) && cli_has(cli, OPT_INIT))
        return cli_usage(cli, "--weights and --init are two answers to one question: which values the library begins with");
    if (cli_has(cli, OPT_WEIGHTS))
        trained.weights_path = cli_weights_path(cli, cli->value[OPT_WEIGHTS]);
    *out = (Wanted){.model_path = trained.model_path, .weights_path = trained.weights_path};
    return 0;
}

// The forward program has one row unless the batch axis is bound, and no loss. Keys of sections are for the training step, so it
// is no mistake that this build does not use them.
static Module *build_forward(Cli *cli, const Ast *ast, bool *out_by_steps, int *out_exit)
{
    BuildOptions options;
    *out_exit = status_exit_code(STATUS_BAD_USAGE);
    if (!cli_build_options(cli, MODE_EVAL, &options))
        return NULL;
    if (options.mode == MODE_TRAIN)
        return cli_usage(cli, "the forward program has --mode eval or generate; --train adds the training step"), NULL;
    *out_by_steps = options.mode == MODE_GENERATE;
    if (*out_by_steps && cli_has(cli, OPT_TRAIN))
        return cli_usage(cli, "a library trains, or it goes token by token: build two; one reads what the other saves"), NULL;
    const char *axis = batch_axis(ast);
    if (axis && !cli_is_bound(cli, axis))
        batch_bind(&cli->arena, &options, axis, 1);
    Module *m = cli_build_quietly(cli, ast, &options, out_exit);
    for (size_t i = 0; i < options.n_bindings; i++)
        options.binding[i].used = options.binding[i].used || strchr(options.binding[i].name, '.');
    if (m && !cli_bindings_used(cli, ast, &options)) {
        *out_exit = status_exit_code(STATUS_BAD_USAGE);
        return NULL;
    }
    return m;
}

static int build_modules(Cli *cli, Wanted *w)
{
    int code = 0;
    w->ast = cli_parse(cli, w->model_path, &code);
    if (!w->ast)
        return code;
    w->forward = build_forward(cli, w->ast, &w->by_steps, &code);
    if (!w->forward || !cli_has(cli, OPT_TRAIN))
        return w->forward ? 0 : code;
    if (!cli_has_section(w->ast, SECTION_TRAIN) || cli_has(cli, OPT_ENTRY))
        return cli_failf(cli, STATUS_BAD_MODEL, "--train needs a model with a `train` section\n"
                         "help: add  train MODEL on DATA { loss = ...  optimizer = adam(lr=3e-4) }");
    cli->diag = diag_make(&cli->arena, &cli->sources);      // the warnings come again
    for (size_t i = 0; i < cli->n_bindings; i++)
        cli->binding[i].used = false;
    w->step = cli_build_mode(cli, w->ast, MODE_TRAIN, 0, &code);
    if (!w->step)
        return code;
    if (w->step->train.grad_accum > 1)
        return cli_failf(cli, STATUS_BAD_MODEL, "a library takes a step in one piece, and train.grad_accum is %lld\n"
                         "help: train.grad_accum=1", (long long)w->step->train.grad_accum);
    return 0;
}

// -o DIR/NAME, DIR/ or an existing folder, NAME; the name is the model's unless given. Returns 0 or an exit code.
static int choose_names(Cli *cli, const char *model, LibraryJob *job)
{
    const char *output = cli_has(cli, OPT_OUTPUT) ? cli->value[OPT_OUTPUT] : "";
    const char *slash = strrchr(output, '/');
    char *name = arena_strdup(&cli->arena, slash ? slash + 1 : output);
    job->folder = slash ? arena_strndup(&cli->arena, output, slash > output ? (size_t)(slash - output) : 1) : ".";
    if (name[0] && cli_is_folder(output)) {
        job->folder = output;
        name = arena_strdup(&cli->arena, "");
    }
    if (!name[0]) {
        name = arena_strdup(&cli->arena, model);
        for (char *c = name; *c; c++)
            *c = (char)tolower((unsigned char)*c);
    }
    job->name = name;
    if (library_name_ok(name))
        return 0;
    return cli_usage(cli, "a library cannot be called `%s`: its functions begin with that name, so it has letters, digits and _, begins with "
                     "a letter, and is none that C keeps for itself", name);
}

static void print_done(Cli *cli, const LibraryJob *job, const LibraryDone *done)
{
    if (!cli_has(cli, OPT_JSON)) {
        printf("%s\n%s\n%s\n", done->header, done->archive, done->shared);
        for (size_t i = 0; i < done->n_sources; i++)
            printf("%s\n", done->source[i]);
        if (done->no_steps)
            cli_note(cli, "whole windows only, no texts token by token: %s", done->no_steps);
        cli_note(cli, "an instance takes %.1f MiB; cc prog.c -I%s -L%s -l%s -lm -lpthread", (double)done->memory_bytes / 1048576, job->folder,
                 job->folder, job->name);
        return;
    }
    Text text = text_make(&cli->arena);
    text_add(&text, "{\"name\": ");
    text_json(&text, job->name);
    text_add(&text, ", \"header\": ");
    text_json(&text, done->header);
    text_add(&text, ", \"archive\": ");
    text_json(&text, done->archive);
    text_add(&text, ", \"shared\": ");
    text_json(&text, done->shared);
    text_add(&text, ", \"sources\": [");
    for (size_t i = 0; i < done->n_sources; i++) {
        text_add(&text, i ? ", " : "");
        text_json(&text, done->source[i]);
    }
    text_printf(&text, "], \"memory_bytes\": %zu, \"weights\": %zu, \"embedded\": %s, \"train\": %s, \"texts\": %s}\n", done->memory_bytes, done->n_weights,
                job->weights || job->initial ? "true" : "false", job->step ? "true" : "false",
                done->has_texts ? "true" : "false");
    fputs(text_str(&text), stdout);
}

int cli_build(Cli *cli)
{
    const char *path = cli_one_file(cli, "FILE or DIR");
    Wanted wanted = {0};
    if (!path)
        return status_exit_code(STATUS_BAD_USAGE);
    if (cli->device && strcmp(cli->device, "cpu") != 0)
        return cli_usage(cli, "a library runs on the processor: there is no --device %s here; `mixc emit --target cuda` writes CUDA", cli->device);
    cli->device = "cpu";
    int code = open_wanted(cli, path, &wanted);
    code = code ? code : build_modules(cli, &wanted);
    if (code)
        return code;
    const char *model = cli_has(cli, OPT_ENTRY) ? cli->value[OPT_ENTRY] : cli_model_name(wanted.ast);
    LibraryJob job = {.forward = wanted.forward, .step = wanted.step, .by_steps = wanted.by_steps, .model = model, .file = wanted.model_path,
                      .weights = wanted.weights_path, .initial = cli_has(cli, OPT_INIT), .seed = (uint32_t)cli->seed,
                      .with_sources = cli_has(cli, OPT_SOURCES), .march = cli->value[OPT_MARCH]};
    code = choose_names(cli, model, &job);
    code = code ? code : cli_engine_open(cli, &job.engine);
    if (code)
        return code;
    LibraryDone done;
    StatusText why = {0};
    Status status = library_write(&cli->arena, &cli->diag, &job, &done, &why);
    engine_close(job.engine);
    code = cli_diagnostics(cli);
    if (status == STATUS_OK)
        print_done(cli, &job, &done);
    return code ? code : status == STATUS_OK ? 0 : cli_fail(cli, status, &why);
}
