// See cli_trained.h.
#include "cli_trained.h"

#include "batch.h"
#include "generations.h"
#include "section_keys.h"

#include <string.h>
#include <sys/stat.h>

int cli_model_open(Cli *cli, const char *path, CliModel *out_model)
{
    int code = status_exit_code(STATUS_BAD_USAGE);
    CliModel model = {.engine = NULL};
    model.ast = cli_parse(cli, path, &code);
    if (!model.ast)
        return code;
    bool has_train = cli_has_section(model.ast, SECTION_TRAIN);
    model.generate = cli_has(cli, OPT_GRAPH);
    model.graph = cli->value[OPT_GRAPH];
    if (!cli_build_options(cli, model.generate ? MODE_GENERATE : has_train ? MODE_TRAIN : MODE_EVAL, &model.options))
        return status_exit_code(STATUS_BAD_USAGE);
    ModeName mode = model.options.mode;
    if (model.generate && mode != MODE_GENERATE)
        return cli_usage(cli, "--graph names a graph of generation; the mode is another");
    model.train = has_train && mode == MODE_TRAIN && !model.options.entry;
    model.module = cli_build_mode(cli, model.ast, mode,
                                  mode == MODE_GENERATE && cli_has_section(model.ast, SECTION_GENERATE), &code);
    if (!model.module)
        return code;
    code = cli_engine_open(cli, &model.engine);
    if (!code)
        *out_model = model;
    return code;
}

int cli_with_model(Cli *cli, int (*work)(Cli *cli, CliModel *model))
{
    int code;
    const char *path = cli_model_file(cli, &code);
    if (!path)
        return code;
    CliModel model;
    code = cli_model_open(cli, path, &model);
    if (code)
        return code;
    code = work(cli, &model);
    cli_model_close(&model);
    return code;
}

bool cli_is_bound(const Cli *cli, const char *name)
{
    for (size_t i = 0; i < cli->n_bindings; i++)
        if (!strcmp(cli->binding[i].name, name))
            return true;
    return false;
}

// The build hands on every key that it does not read itself; here the rest is known.
static bool check_keys(Cli *cli)
{
    for (size_t i = 0; i < cli->n_bindings; i++) {
        const char *name = cli->binding[i].name, *near = NULL, *key = strchr(name, '.');
        const char *section = key ? arena_printf(&cli->arena, "%.*s", (int)(key - name), name) : "";
        bool in_section = !strcmp(section, "train") || !strcmp(section, "data") || !strcmp(section, "generate");
        if (!in_section || section_key_known(&cli->arena, section, key + 1, strcspn(key + 1, "."), &near))
            continue;
        if (near)
            cli_usage(cli, "there is no key `%s`; did you mean `%s.%s`?", name, section, near);
        else
            cli_usage(cli, "there is no key `%s`; section %s has %s", name, section, section_keys_text(&cli->arena, section));
        return false;
    }
    return true;
}

static Module *build(Cli *cli, const Ast *ast, BuildOptions *options, int *out_exit)
{
    return options->mode == MODE_GENERATE ? cli_build_quietly(cli, ast, options, out_exit)
                                          : cli_build_ast(cli, ast, options, out_exit);
}

Module *cli_build_mode(Cli *cli, const Ast *ast, ModeName mode, int64_t rows, int *out_exit)
{
    BuildOptions options;
    *out_exit = status_exit_code(STATUS_BAD_USAGE);
    if (!cli_build_options(cli, mode, &options) || !check_keys(cli))
        return NULL;
    options.mode = mode;
    options.with_routing_stats = cli->with_routing_stats;
    options.with_loss = mode != MODE_GENERATE && !options.entry && cli_has_section(ast, SECTION_TRAIN);
    const char *axis = batch_axis(ast);
    if (rows && axis)
        batch_bind(&cli->arena, &options, axis, rows);
    Module *m = build(cli, ast, &options, out_exit);
    if (!m || rows || !axis || cli_is_bound(cli, axis) || !m->has_train || m->train.batch <= 0)
        return m;
    StatusText why = {0};
    int64_t wanted;
    Status status = batch_rows(m, &wanted, &why);
    if (status != STATUS_OK) {
        *out_exit = cli_fail(cli, status, &why);
        return NULL;
    }
    const Graph *g = module_graph(m, "main");
    AxisId id = graph_find_axis(g, axis);
    if (id && graph_size(g, id) == wanted)
        return m;
    batch_bind(&cli->arena, &options, axis, wanted);
    cli->diag = diag_make(&cli->arena, &cli->sources);    // the first build's warnings come again
    return build(cli, ast, &options, out_exit);
}

void cli_adopt(Cli *cli, const RunConfig *config)
{
    if (!cli_has(cli, OPT_SIZE) && config->size)
        cli->value[OPT_SIZE] = config->size;
    if (!cli_has(cli, OPT_DATA) && config->data)
        cli->value[OPT_DATA] = config->data;
    if (!cli_has(cli, OPT_DTYPE) && config->dtype)
        cli->value[OPT_DTYPE] = config->dtype;
    for (size_t i = 0; i < config->n_bindings; i++) {
        if (cli_is_bound(cli, config->name[i]))
            continue;
        cli->binding =
            arena_grow(&cli->arena, cli->binding, cli->n_bindings, &cli->binding_capacity, sizeof *cli->binding);
        cli->binding[cli->n_bindings++] = (Binding){config->name[i], config->value[i], true};    // not every verb uses all
    }
}

bool cli_is_folder(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

int cli_open_run(Cli *cli, const char *folder, Trained *out)
{
    RunConfig config;
    StatusText why = {0};
    Status status = run_config_load(&cli->arena, run_path(&cli->arena, folder, "run.json"), &config, &why);
    if (status != STATUS_OK)
        return cli_fail(cli, status, &why);
    cli_adopt(cli, &config);
    *out = (Trained){run_path(&cli->arena, folder, "model.mix"), cli_weights_path(cli, folder), config.base, config.seed};
    return 0;
}

const char *cli_model_file(Cli *cli, int *out_exit)
{
    const char *path = cli_one_file(cli, "FILE, or the folder of a run,");
    *out_exit = status_exit_code(STATUS_BAD_USAGE);
    if (!path || !cli_is_folder(path))
        return path;
    Trained trained;
    *out_exit = cli_open_run(cli, path, &trained);
    if (*out_exit)
        return NULL;
    *out_exit = status_exit_code(STATUS_BAD_USAGE);         // of what the caller finds wrong next
    cli->file[0] = trained.model_path;
    return trained.model_path;
}

const char *cli_model_name(const Ast *ast)
{
    const char *name = "model";
    for (const Item *item = ast->items; item; item = item->next)
        if (item->layer && item->layer->is_model)
            name = item->layer->name->text;
    return name;
}

const char *cli_folder_of(Arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? arena_strndup(arena, path, (size_t)(slash - path) + 1) : "./";
}

const char *cli_weights_path(const Cli *cli, const char *path)
{
    if (!cli_is_folder(path))
        return path;
    const char *newest = NULL;
    int skipped = 0;
    if (generation_newest(cli->diag.arena, path, &newest, &skipped, NULL) == STATUS_OK) {
        if (skipped)
            cli_note(cli, "mixc %s: a damaged checkpoint was passed over; this is %s", cli->verb->name, newest);
        return newest;
    }
    return run_path(cli->diag.arena, path, "last.safetensors");
}
