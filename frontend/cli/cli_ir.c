// The verbs that look at the way from a model to its program: dump, opt, emit, plan.
#include "cli.h"

#include "cli_engine.h"
#include "codegen.h"
#include "module_text.h"
#include "nearest.h"
#include "replace_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct Dump {
    Cli        *cli;
    const char *folder, *after;
    ModuleWants wants;
    bool        all, done;
    int         code;
} Dump;

static void dump_text(Dump *dump, size_t index, const char *pass, const Text *text)
{
    const char *path = arena_printf(&dump->cli->arena, "%s/%02zu-%s.ir", dump->folder, index, pass);
    int code = cli_write(dump->cli, path, text_str(text), text->n);
    dump->code = dump->code ? dump->code : code;
    dump->done = true;
}

static void dump_after(void *user, size_t index, const Pass *pass, const Module *m)
{
    Dump *dump = user;
    const char *name = pass ? pass->name : "build";
    if (!(dump->all && pass) && strcmp(dump->after, name))
        return;
    Text text = text_make(&dump->cli->arena);
    module_print(m, &dump->wants, &text);
    dump_text(dump, pass ? index : 0, name, &text);
}

static int check_pass_name(Cli *cli, const char *name, bool with_ends)
{
    if (pass_find(name) || (with_ends && (!strcmp(name, "all") || !strcmp(name, "codegen") || !strcmp(name, "build"))))
        return 0;
    Nearest near = {0};
    for (size_t i = 0; i < pass_count; i++)
        nearest_offer(&near, name, pass_table[i].name);
    if (near.best)
        return cli_usage(cli, "there is no pass `%s`; did you mean `%s`?", name, near.best);
    Text text = text_make(&cli->arena);
    for (size_t i = 0; i < pass_count; i++)
        text_printf(&text, "%s%s", i ? ", " : "", pass_table[i].name);
    return cli_usage(cli, "there is no pass `%s`; the passes are %s%s", name, text_str(&text),
                     with_ends ? ", codegen" : "");
}

int cli_dump(Cli *cli)
{
    int code;
    const char *path = cli_model_file(cli, &code);
    if (!path)
        return code;
    if (!cli_has(cli, OPT_AFTER) || !cli_has(cli, OPT_OUTPUT))
        return cli_usage(cli, "--after PASS (or all) and -o DIR are needed");
    Dump dump = {.cli = cli, .folder = cli->value[OPT_OUTPUT], .after = cli->value[OPT_AFTER]};
    dump.all = !strcmp(dump.after, "all");
    code = check_pass_name(cli, dump.after, true);
    if (code)
        return code;
    StatusText why = {0};
    const Status status = folder_make(dump.folder, &why);
    if (status != STATUS_OK)
        return cli_fail(cli, status, &why);
    PassHooks hooks = {.after = dump_after, .user = &dump};
    CliModel model;
    code = cli_model_open(cli, path, &model);
    if (code)
        return code;
    dump.wants = (ModuleWants){.step = model.train, .next = model.generate, .bf16 = cli_wants_bf16(cli)};
    Program *p = cli_model_program(cli, &model, &hooks, NULL, &code);
    if (p && (dump.all || !strcmp(dump.after, "codegen"))) {
        Text text = text_make(&cli->arena);
        program_print(p, &text);
        dump_text(&dump, pass_count + 1, "codegen", &text);
    }
    cli_model_close(&model);
    return dump.code ? dump.code : code;
}

int cli_emit(Cli *cli)
{
    int code;
    const char *path = cli_model_file(cli, &code);
    if (!path)
        return code;
    const char *language = cli_has(cli, OPT_TARGET) ? cli->value[OPT_TARGET] : "c";
    bool cuda = !strcmp(language, "cuda");
    if (!cli_has(cli, OPT_OUTPUT))
        return cli_usage(cli, "-o OUT is missing (- is standard output)");
    if (!cuda && strcmp(language, "c"))
        return cli_usage(cli, "--target takes c or cuda, not `%s`", language);
    CliModel model;
    code = cli_model_open(cli, path, &model);
    if (code)
        return code;
    Target target = *engine_target(model.engine);
    if (cuda) {
        target.name = "cuda";
        target.is_cuda = true;
    }
    Program *p = cli_model_program(cli, &model, NULL, &target, &code);
    if (p) {
        Text text = text_make(&cli->arena);
        if (cuda)
            codegen_emit_cuda(p, &text);
        else
            codegen_emit_c(p, &text);
        code = cli_write(cli, cli->value[OPT_OUTPUT], text_str(&text), text.n);
    }
    cli_model_close(&model);
    return code;
}

// "fold,cse" -> names. Returns 0 or an exit code.
static int split_passes(Cli *cli, const char ***out_names, size_t *out_n)
{
    const char **names = arena_array(&cli->arena, const char *, strlen(cli->value[OPT_PASSES]) + 1);
    size_t n = 0;
    for (const char *c = cli->value[OPT_PASSES]; *c;) {
        size_t len = strcspn(c, ",");
        const char *name = arena_strndup(&cli->arena, c, len);
        int code = check_pass_name(cli, name, false);
        if (code)
            return code;
        names[n++] = name;
        c += len + (c[len] == ',');
    }
    *out_names = names;
    *out_n = n;
    return 0;
}

// A program's text (what `dump` writes after codegen) reads back and prints, too; passes work on graphs.
static int opt_program(Cli *cli, uint32_t file)
{
    if (cli_has(cli, OPT_PASSES))
        return cli_usage(cli, "passes work on graphs, and this is a program");
    Program *p = program_parse(&cli->arena, &cli->diag, &cli->sources, file);
    cli_diagnostics(cli);
    if (!p)
        return status_exit_code(STATUS_BAD_MODEL);
    Text text = text_make(&cli->arena);
    program_print(p, &text);
    return cli_write(cli, cli->value[OPT_OUTPUT], text_str(&text), text.n);
}

int cli_opt(Cli *cli)
{
    const char *path = cli_one_file(cli, "FILE.ir");
    if (!path)
        return status_exit_code(STATUS_BAD_USAGE);
    if (!cli_has(cli, OPT_OUTPUT))
        return cli_usage(cli, "-o OUT.ir is missing (- is standard output)");
    errno = 0;
    uint32_t file = sources_read(&cli->sources, path);
    if (!file)
        return cli_failf(cli, STATUS_IO, "%s: %s", path, strerror(errno));
    if (!strncmp(cli->sources.file[file].data, "program ", 8))
        return opt_program(cli, file);
    const char **names = arena_new(&cli->arena, const char *);
    size_t n_names = 0;
    int code = cli_has(cli, OPT_PASSES) ? split_passes(cli, &names, &n_names) : 0;
    if (code)
        return code;
    ModuleWants wants;
    Module *m = module_parse(&cli->arena, &cli->diag, &cli->sources, file, &wants);
    if (!m)
        return cli_diagnostics(cli), status_exit_code(STATUS_BAD_MODEL);
    Engine *engine = NULL;
    StatusText why = {0};
    Status status = engine_open(&(EngineOptions){.device = "eval"}, &engine, &why);
    if (status != STATUS_OK)
        return cli_fail(cli, status, &why);
    PassContext ctx = {.arena = &cli->arena, .diag = &cli->diag, .target = engine_target(engine),
                       .train = wants.step, .generate = wants.next, .bf16 = wants.bf16 || cli_wants_bf16(cli)};
    PassHooks hooks = {.verify = true};
    const Module *done = passes_run(&ctx, m, names, n_names, &hooks);
    engine_close(engine);
    if (!done || cli->diag.n_errors)
        return cli_diagnostics(cli), status_exit_code(STATUS_BAD_MODEL);
    cli_diagnostics(cli);
    Text text = text_make(&cli->arena);
    module_print(done, &wants, &text);
    return cli_write(cli, cli->value[OPT_OUTPUT], text_str(&text), text.n);
}
