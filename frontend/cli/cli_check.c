// mixc check and mixc fmt.
#include "cli_engine.h"
#include "fix.h"

#include <errno.h>
#include <string.h>

static bool same_item(const DiagItem *a, const DiagItem *b)
{
    return a->severity == b->severity && a->at.file == b->at.file && a->at.begin == b->at.begin
           && !strcmp(a->message, b->message);
}

// Drops what an earlier mode already said.
static void drop_repeated(Diag *diag, size_t first_new)
{
    size_t kept = first_new;
    for (size_t i = first_new; i < diag->n_items; i++) {
        size_t j = 0;
        while (j < first_new && !same_item(&diag->item[i], &diag->item[j]))
            j++;
        if (j == first_new)
            diag->item[kept++] = diag->item[i];
        else if (diag->item[i].severity == SEVERITY_ERROR)
            diag->n_errors--;
        else
            diag->n_warnings--;
    }
    diag->n_items = kept;
}

// Builds the model in one mode and proves its causal claims.
static void check_mode(Cli *cli, const Ast *ast, ModeName mode, bool check_only)
{
    BuildOptions options;
    cli_build_options(cli, mode, &options);
    options.with_loss = mode != MODE_GENERATE && !options.entry && cli_has_section(ast, SECTION_TRAIN);
    options.check_only = check_only;
    Module *module = build_module(&cli->arena, &cli->diag, &cli->sources, ast, &options);
    if (!module || cli->diag.n_errors || check_only)
        return;
    PassContext ctx = {.arena = &cli->arena, .diag = &cli->diag};
    const char *causal = "causal";
    PassHooks hooks = {.verify = cli_has(cli, OPT_VERIFY)};
    passes_run(&ctx, module, &causal, 1, &hooks);
}

// Makes the edits of `help=` in the file; those that touch another one wait for the next time.
static int apply_edits(Cli *cli, const char *path, uint32_t file)
{
    Text text = text_make(&cli->arena);
    size_t n = fix_apply(&cli->diag, file, &text);
    if (n == 0)
        return 0;
    int code = cli_write(cli, path, text_str(&text), text.n);
    if (!code)
        cli_note(cli, "%s: %zu edit%s applied; check again", path, n, n == 1 ? "" : "s");
    return code;
}

int cli_check(Cli *cli)
{
    const char *path = cli_one_file(cli, "FILE");
    if (!path)
        return status_exit_code(STATUS_BAD_USAGE);
    errno = 0;
    uint32_t file = sources_read(&cli->sources, path);
    if (!file)
        return cli_fail_open(cli, path);
    Ast *ast = ast_parse(&cli->arena, &cli->diag, &cli->sources, file);
    if (!cli->diag.n_errors)
        check_mode(cli, ast, MODE_TRAIN, true);
    for (int mode = MODE_TRAIN; mode < MODE_COUNT && !cli->diag.n_errors; mode++) {
        size_t before = cli->diag.n_items;
        check_mode(cli, ast, (ModeName)mode, false);
        drop_repeated(&cli->diag, before);
    }
    if (cli_has(cli, OPT_FIX)) {
        int code = apply_edits(cli, path, file);
        if (code)
            return code;
    }
    return cli_diagnostics(cli);
}

static int format_one(Cli *cli, const char *path)
{
    int code = 0;
    Ast *ast = cli_parse(cli, path, &code);
    if (!ast)
        return code;
    const SourceFile *f = &cli->sources.file[ast->file];
    Text text = text_make(&cli->arena);
    ast_print(ast, &cli->sources, &text);
    bool same = text.n == f->n && !memcmp(text_str(&text), f->data, f->n);
    if (cli_has(cli, OPT_CHECK)) {
        if (!same)
            printf("%s\n", path);
        return same ? 0 : status_exit_code(STATUS_BAD_MODEL);
    }
    if (!strcmp(path, "-") || !same)
        return cli_write(cli, path, text_str(&text), text.n);
    return 0;
}

int cli_fmt(Cli *cli)
{
    if (cli->n_files == 0)
        return cli_usage(cli, "FILE is missing (- reads standard input)");
    int worst = 0;
    for (size_t i = 0; i < cli->n_files; i++) {
        int code = format_one(cli, cli->file[i]);
        worst = code > worst ? code : worst;
        cli->diag = diag_make(&cli->arena, &cli->sources);
    }
    return worst;
}
