// Reading models for the verbs: parse, build, and what is printed when that fails.
#include "cli.h"

#include "nearest.h"
#include "replace_file.h"
#include "section_keys.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

static void print_all(const char *data, FILE *to)
{
    fflush(stdout);
    fputs(data, to);
}

int cli_diagnostics(Cli *cli)
{
    Text text = text_make(&cli->arena);
    if (cli_has(cli, OPT_JSON) && cli->verb->run == cli_check) {
        diag_print_json(&cli->diag, &text);
        print_all(text_str(&text), stdout);
    } else if (cli->diag.n_items) {
        diag_print(&cli->diag, &text, cli->colour_err);
        print_all(text_str(&text), stderr);
    }
    for (size_t i = 0; i < cli->diag.n_items; i++)
        if (!strncmp(cli->diag.item[i].message, "internal:", 9))
            return status_exit_code(STATUS_INTERNAL);
    return cli->diag.n_errors ? status_exit_code(STATUS_BAD_MODEL) : 0;
}

int cli_fail_open(Cli *cli, const char *path)
{
    const int reason = errno;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *folder = slash ? arena_strndup(&cli->arena, path, (size_t)(slash - path) + 1) : NULL;
    Nearest near = {0};
    DIR *dir = reason == ENOENT && *name ? opendir(folder ? folder : ".") : NULL;
    for (const struct dirent *e; dir && (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.')
            nearest_offer(&near, name, arena_strdup(&cli->arena, e->d_name));
    if (dir)
        closedir(dir);
    if (near.best)
        return cli_failf(cli, STATUS_IO, "%s: %s\nhelp: did you mean %s%s?", path, strerror(reason), folder ? folder : "", near.best);
    return cli_failf(cli, STATUS_IO, "%s: %s", path, strerror(reason));
}

Ast *cli_parse(Cli *cli, const char *path, int *out_exit)
{
    errno = 0;
    uint32_t file = sources_read(&cli->sources, path);
    if (!file) {
        *out_exit = cli_fail_open(cli, path);
        return NULL;
    }
    Ast *ast = ast_parse(&cli->arena, &cli->diag, &cli->sources, file);
    if (cli->diag.n_errors) {
        *out_exit = cli_diagnostics(cli);
        return NULL;
    }
    return ast;
}

// Axes, constants and keys that the file knows: the nearest to a mistyped one.
static const char *nearest_key(const Cli *cli, const Ast *ast, const char *wanted)
{
    Nearest near = {0};
    for (const Item *item = ast->items; item; item = item->next) {
        for (const AxisDecl *a = item->axes; a; a = a->next)
            nearest_offer(&near, wanted, a->name->text);
        for (const Bind *b = item->consts; b; b = b->next)
            nearest_offer(&near, wanted, b->name->text);
        const Section *section = item->section;
        if (!section || section->kind == SECTION_SIZE)
            continue;
        const char *prefix = section->kind == SECTION_DATA    ? "data"
                             : section->kind == SECTION_TRAIN ? "train"
                                                              : "generate";
        for (const KeyValue *k = section->props; k; k = k->next)
            nearest_offer(&near, wanted, arena_printf(cli->diag.arena, "%s.%s", prefix, k->name->text));
    }
    return near.best;
}

// `batch=8`, where `train.batch=8` is meant; NULL: no section has such a key.
static const char *key_of_section(Cli *cli, const char *name)
{
    static const char *const section[] = {"train", "data", "generate"};
    for (size_t i = 0; i < sizeof section / sizeof *section; i++) {
        const char *near;
        if (section_key_known(&cli->arena, section[i], name, strlen(name), &near))
            return arena_printf(&cli->arena, "%s.%s", section[i], name);
    }
    return NULL;
}

bool cli_bindings_used(Cli *cli, const Ast *ast, const BuildOptions *options)
{
    bool ok = true;
    for (size_t i = 0; i < options->n_bindings; i++) {
        const Binding *b = &options->binding[i];
        if (b->used)
            continue;
        const char *best = key_of_section(cli, b->name);
        if (!best)
            best = nearest_key(cli, ast, b->name);
        if (best)
            cli_usage(cli, "`%s=%s` changes nothing: the model has no `%s`; did you mean `%s`?", b->name, b->value,
                      b->name, best);
        else
            cli_usage(cli, "`%s=%s` changes nothing: the model has no axis, constant or key `%s`", b->name,
                      b->value, b->name);
        ok = false;
    }
    return ok;
}

Module *cli_build_quietly(Cli *cli, const Ast *ast, BuildOptions *options, int *out_exit)
{
    Module *module = build_module(&cli->arena, &cli->diag, &cli->sources, ast, options);
    if (!module || cli->diag.n_errors) {
        *out_exit = cli_diagnostics(cli);
        if (*out_exit == 0)
            *out_exit = cli_failf(cli, STATUS_INTERNAL, "the model was refused without a reason");
        return NULL;
    }
    return module;
}

Module *cli_build_ast(Cli *cli, const Ast *ast, BuildOptions *options, int *out_exit)
{
    Module *module = cli_build_quietly(cli, ast, options, out_exit);
    if (module && !cli_bindings_used(cli, ast, options)) {
        *out_exit = status_exit_code(STATUS_BAD_USAGE);
        return NULL;
    }
    return module;
}

Module *cli_module(Cli *cli, const char *path, BuildOptions *options, Ast **out_ast, int *out_exit)
{
    Ast *ast = cli_parse(cli, path, out_exit);
    Module *module = ast ? cli_build_ast(cli, ast, options, out_exit) : NULL;
    if (module && out_ast)
        *out_ast = ast;
    return module;
}

bool cli_build_options(const Cli *cli, ModeName mode, BuildOptions *out)
{
    static const char *const names[MODE_COUNT] = {
        [MODE_TRAIN] = "train", [MODE_EVAL] = "eval", [MODE_GENERATE] = "generate"};
    if (cli_has(cli, OPT_MODE)) {
        size_t m = 0;
        while (m < MODE_COUNT && strcmp(names[m], cli->value[OPT_MODE]))
            m++;
        if (m == MODE_COUNT) {
            cli_usage(cli, "--mode takes train, eval or generate, not `%s`", cli->value[OPT_MODE]);
            return false;
        }
        mode = (ModeName)m;
    }
    *out = (BuildOptions){.entry = cli->value[OPT_ENTRY], .size = cli->value[OPT_SIZE], .mode = mode,
                          .binding = cli->binding, .n_bindings = cli->n_bindings};
    return true;
}

int cli_write(const Cli *cli, const char *path, const char *data, size_t n)
{
    if (!strcmp(path, "-"))
        return fwrite(data, 1, n, stdout) == n ? 0 : cli_failf(cli, STATUS_IO, "standard output: %s", strerror(errno));
    StatusText why = {0};
    Status status = file_replace(path, data, n, &why);
    return status == STATUS_OK ? 0 : cli_failf(cli, status, "%s", why.text);
}
