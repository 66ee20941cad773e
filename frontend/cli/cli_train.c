// mixc train.
#include "cli_signal.h"
#include "cli_trained.h"

#include "replace_file.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static bool progress_kind(const Cli *cli, ProgressKind *out)
{
    const char *how = cli->value[OPT_PROGRESS];
    if (cli_has(cli, OPT_QUIET))
        *out = PROGRESS_NONE;
    else if (!how)
        *out = cli_has(cli, OPT_JSON) ? PROGRESS_JSON : cli->tty_out ? PROGRESS_TTY : PROGRESS_PLAIN;
    else if (!strcmp(how, "tty"))
        *out = PROGRESS_TTY;
    else if (!strcmp(how, "plain"))
        *out = PROGRESS_PLAIN;
    else if (!strcmp(how, "json"))
        *out = PROGRESS_JSON;
    else
        return cli_usage(cli, "--progress takes tty, plain or json, not `%s`", how), false;
    return true;
}

typedef struct Fields { Arena *arena; ReportField *field; size_t n, capacity; } Fields;

static void add_field(Fields *f, const char *name, const char *value)
{
    f->field = arena_grow(f->arena, f->field, f->n, &f->capacity, sizeof *f->field);
    f->field[f->n++] = (ReportField){name, value};
}

// The table of the report: what was asked for, and where it ran.
static Fields report_fields(Cli *cli, const TrainJob *job, const char *path, const Engine *engine)
{
    static const char *const optimizer[] = {
        [OPTIMIZER_SGD] = "sgd", [OPTIMIZER_ADAM] = "adam", [OPTIMIZER_LAMB] = "lamb"};
    static const char *const schedule[] = {[SCHEDULE_CONSTANT] = "constant",
                                           [SCHEDULE_LINEAR] = "linear",
                                           [SCHEDULE_COSINE] = "cosine",
                                           [SCHEDULE_RSQRT] = "rsqrt"};
    Fields f = {.arena = &cli->arena};
    const TrainSpec *t = &job->train->train;
    add_field(&f, "model", path);
    if (cli_has(cli, OPT_SIZE))
        add_field(&f, "size", cli->value[OPT_SIZE]);
    for (size_t i = 0; i < cli->n_bindings; i++)
        add_field(&f, cli->binding[i].name, cli->binding[i].value);
    if (job->data_path)
        add_field(&f, "data", job->data_path);
    add_field(&f, "optimizer",
              arena_printf(&cli->arena, "%s  lr %g  beta %g %g  decay %g  clip %g", optimizer[t->optimizer], t->lr,
                           t->beta1, t->beta2, t->decay, t->clip));
    add_field(&f, "schedule", arena_printf(&cli->arena, "%s  warm-up %lld  steps %lld  floor %g", schedule[t->schedule],
                                           (long long)t->warmup, (long long)t->steps, t->floor));
    add_field(&f, "batch",
              arena_printf(&cli->arena, "%lld in %lld", (long long)t->batch,
                           (long long)(t->grad_accum > 1 ? t->grad_accum : 1)));
    add_field(&f, "seed", arena_printf(&cli->arena, "%u", job->seed));
    for (size_t i = 0; i < job->train->n_data; i++)
        if (!strchr(job->train->data[i].key, '.'))
            add_field(&f, arena_printf(&cli->arena, "data.%s", job->train->data[i].key), job->train->data[i].value);
    const Target *target = engine_target(engine);
    struct utsname system;
    add_field(&f, "device",
              arena_printf(&cli->arena, "%s, %d threads, vectors of %d floats", target->name, target->threads,
                           target->vector_floats));
    if (uname(&system) == 0)
        add_field(&f, "system", arena_printf(&cli->arena, "%s %s %s", system.sysname, system.release, system.machine));
    add_field(&f, "mixc", MIXC_VERSION " " MIXC_COMMIT);
    return f;
}

static const char *absolute(Cli *cli, const char *path)
{
    char full[PATH_MAX];
    return path && realpath(path, full) ? arena_strdup(&cli->arena, full) : path;
}

// Takes the checkpoints of an earlier run away, so that none of them passes for one of the new run.
static void remove_checkpoints(const char *folder)
{
    DIR *dir = opendir(folder);
    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        const char *end = strrchr(entry->d_name, '.');
        bool ours = !strcmp(entry->d_name, "last.safetensors") || !strncmp(entry->d_name, "step-", 5);
        if (ours && end && !strcmp(end, ".safetensors"))
            unlinkat(dirfd(dir), entry->d_name, 0);
    }
    if (dir)
        closedir(dir);
}

// The folder of the run: new, or one to go on in. Returns 0 or an exit code.
static int prepare_folder(Cli *cli, const char *folder, bool *out_resume)
{
    const char *checkpoint = run_path(&cli->arena, folder, "last.safetensors");
    bool there = access(checkpoint, F_OK) == 0;
    StatusText why = {0};
    const Status status = folder_make(folder, &why);
    if (status != STATUS_OK)
        return cli_fail(cli, status, &why);
    *out_resume = cli_has(cli, OPT_RESUME) && there;
    if (cli_has(cli, OPT_RESUME) && !there)
        return cli_failf(cli, STATUS_IO, "%s: there is no checkpoint to go on from", checkpoint);
    if (there && !cli_has(cli, OPT_RESUME) && !cli_has(cli, OPT_FORCE))
        return cli_usage(cli, "%s already holds a run: --resume goes on with it, --force starts over", folder);
    if (!*out_resume)
        remove_checkpoints(folder);
    return 0;
}

static RunConfig config_of(Cli *cli, const char *path, const TrainJob *job)
{
    RunConfig config = {.file = path,
                        .size = cli->value[OPT_SIZE],
                        .data = absolute(cli, cli->value[OPT_DATA]),
                        .dtype = cli->value[OPT_DTYPE],
                        .base = job->data_base,
                        .seed = job->seed,
                        .n_bindings = cli->n_bindings};
    config.name = arena_array(&cli->arena, const char *, cli->n_bindings + 1);
    config.value = arena_array(&cli->arena, const char *, cli->n_bindings + 1);
    for (size_t i = 0; i < cli->n_bindings; i++) {
        config.name[i] = cli->binding[i].name;
        config.value[i] = cli->binding[i].value;
    }
    return config;
}

static int save_config(Cli *cli, const char *folder, const RunConfig *config)
{
    StatusText why = {0};
    Status status = run_config_save(run_path(&cli->arena, folder, "run.json"), config, &why);
    return status == STATUS_OK ? 0 : cli_fail(cli, status, &why);
}

// Builds the three modules of a run. Returns 0 or an exit code.
static int build_all(Cli *cli, const Ast *ast, TrainJob *job)
{
    int code = 0;
    if (!cli_has_section(ast, SECTION_TRAIN))
        return cli_failf(
            cli, STATUS_BAD_MODEL,
            "the model has no `train` section\nhelp: add  train MODEL on DATA { loss = ...  optimizer = adam(lr=3e-4) }");
    cli->with_routing_stats = true;
    job->train = cli_build_mode(cli, ast, MODE_TRAIN, 0, &code);
    cli->with_routing_stats = false;
    if (job->train) {
        if (cli_diagnostics(cli))
            return status_exit_code(STATUS_BAD_MODEL);
        cli->diag = diag_make(&cli->arena, &cli->sources);
        job->eval = cli_build_mode(cli, ast, MODE_EVAL, 0, &code);
    }
    if (!job->train || !job->eval)
        return code;
    if (cli_has_section(ast, SECTION_GENERATE)) {
        job->generate = cli_build_mode(cli, ast, MODE_GENERATE, 1, &code);
        if (!job->generate)
            return code;
    }
    cli->diag = diag_make(&cli->arena, &cli->sources);    // warnings were printed once
    return 0;
}

static int train_ast(Cli *cli, const char *path, const Ast *ast, TrainJob *job)
{
    int code = build_all(cli, ast, job);
    if (code)
        return code;
    if (!cli_has(cli, OPT_SEED) && !job->resume)
        job->seed = (uint32_t)run_number(job->train, "seed", 0);
    RunConfig config = config_of(cli, path, job);
    const SourceFile *source = &cli->sources.file[ast->file];
    code = save_config(cli, job->folder, &config);
    if (!code)
        code = cli_write(cli, run_path(&cli->arena, job->folder, "model.mix"), source->data, source->n);
    if (code)
        return code;
    Engine *engine = NULL;
    code = cli_engine_open(cli, &engine);
    if (code)
        return code;
    Fields fields = report_fields(cli, job, path, engine);
    job->engine = engine;
    job->model_name = cli_model_name(ast);
    job->model_text = source->data;
    job->field = fields.field;
    job->n_fields = fields.n;
    job->interrupted = cli_catch_signals();
    StatusText why = {0};
    Status status = train_run(&cli->arena, &cli->diag, job, &config.memory, &why);
    engine_close(engine);
    if (config.memory.peak_bytes)
        code = save_config(cli, job->folder, &config);
    if (cli->diag.n_errors)
        return cli_diagnostics(cli);
    return status == STATUS_OK ? code : cli_fail(cli, status, &why);
}

int cli_train(Cli *cli)
{
    const char *path = cli_one_file(cli, "FILE");
    if (!path)
        return status_exit_code(STATUS_BAD_USAGE);
    if (!cli_has(cli, OPT_OUT))
        return cli_usage(cli, "--out DIR is missing: where the run goes");
    TrainJob job = {.folder = cli->value[OPT_OUT], .seed = (uint32_t)cli->seed, .progress_out = stdout};
    if (!progress_kind(cli, &job.progress) || !cli_int(cli, OPT_STEPS, 1, INT64_MAX, &job.stop))
        return status_exit_code(STATUS_BAD_USAGE);
    int code;
    Ast *ast = cli_parse(cli, path, &code);
    if (!ast)
        return code;
    code = prepare_folder(cli, job.folder, &job.resume);
    if (code)
        return code;
    if (job.resume) {
        RunConfig config;
        StatusText why = {0};
        Status status = run_config_load(&cli->arena, run_path(&cli->arena, job.folder, "run.json"), &config, &why);
        if (status != STATUS_OK)
            return cli_fail(cli, status, &why);
        code = cli_resume_check(cli, job.folder, &config, &cli->sources.file[ast->file], absolute(cli, cli->value[OPT_DATA]));
        if (code)
            return code;
        cli_adopt(cli, &config);
        if (!cli_has(cli, OPT_SEED))
            job.seed = config.seed;
    }
    job.data_path = cli->value[OPT_DATA];
    job.data_base = absolute(cli, cli_folder_of(&cli->arena, path));
    if (cli_has(cli, OPT_WEIGHTS))
        job.weights = cli_weights_path(cli, cli->value[OPT_WEIGHTS]);
    return train_ast(cli, path, ast, &job);
}
