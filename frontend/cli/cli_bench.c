// mixc bench: how fast a model is here - forward, training step, generation, kernels - beside what the machine can do.
#include "bench.h"
#include "cli_trained.h"

#include <string.h>

// The form that a path's ending asks for; without one markdown, or what --json says. False: nothing is written so.
static bool find_form(const Cli *cli, BenchForm *out_form)
{
    static const struct { const char *ending; BenchForm form; } known[] = {
        {".md", BENCH_MARKDOWN}, {".csv", BENCH_CSV}, {".json", BENCH_JSON}, {".sql", BENCH_SQL}};
    const char *path = cli_has(cli, OPT_OUTPUT) ? cli->value[OPT_OUTPUT] : "-", *slash = strrchr(path, '/');
    const char *dot = strrchr(slash ? slash : path, '.');
    *out_form = cli_has(cli, OPT_JSON) ? BENCH_JSON : BENCH_MARKDOWN;
    for (size_t i = 0; dot && i < sizeof known / sizeof *known; i++)
        if (!strcmp(dot, known[i].ending)) {
            *out_form = known[i].form;
            return true;
        }
    return !dot;
}

typedef struct BenchJob {
    Cli    *cli;
    Ast    *ast;
    Engine *engine;
    Bench   bench;
    double  seconds;
    size_t  n_kernels;
} BenchJob;

// One mode of the model; `rows` as for cli_build_mode.
static int bench_mode(BenchJob *job, const char *what, ModeName mode, int64_t rows)
{
    Cli *cli = job->cli;
    int code = 0;
    StatusText why = {0};
    Net *net = NULL;
    Module *module = cli_build_mode(cli, job->ast, mode, rows, &code);
    if (!module)
        return code;
    const LoadOptions options = {.train = mode == MODE_TRAIN,
                                 .generate = mode == MODE_GENERATE && !engine_is_reference(job->engine)};
    const Graph *g = engine_graph(job->engine, &cli->arena, &cli->diag, module, &options);
    Status status = g ? engine_load(job->engine, &cli->arena, &cli->diag, module, &options, &net, &why) : STATUS_BAD_MODEL;
    code = cli_diagnostics(cli);
    if (status == STATUS_OK)
        status = net_init(net, module, cli->seed, &why);
    if (status == STATUS_OK)
        status = bench_fill(net, g, &cli->arena, &why);
    if (status == STATUS_OK)
        status = mode == MODE_GENERATE ? bench_generate(&job->bench, job->engine, &cli->diag, module, net, job->seconds, &why)
               : bench_net(&job->bench, what, net, &cli->sources, job->seconds, mode == MODE_TRAIN ? job->n_kernels : 0, &why);
    net_free(net);
    return code ? code : status == STATUS_OK ? 0 : cli_fail(cli, status, &why);
}

static int bench_all(BenchJob *job)
{
    StatusText why = {0};
    Status status = ceiling_measure(job->engine, &job->bench.ceiling, &why);
    if (status != STATUS_OK)
        return cli_fail(job->cli, status, &why);
    int code = bench_mode(job, "forward", MODE_EVAL, 0);
    if (!code && cli_has_section(job->ast, SECTION_TRAIN))
        code = bench_mode(job, "training step", MODE_TRAIN, 0);
    if (!code && cli_has_section(job->ast, SECTION_GENERATE))
        code = bench_mode(job, "generation", MODE_GENERATE, 1);
    return code;
}

int cli_bench(Cli *cli)
{
    int64_t n_kernels = 10;
    double seconds = 1;
    BenchForm form;
    int code;
    if (!find_form(cli, &form))
        return cli_usage(cli, "`%s`: the table is .md, .csv, .json or .sql", cli->value[OPT_OUTPUT]);
    const char *path = cli_model_file(cli, &code);
    if (!path)
        return code;
    if (!cli_int(cli, OPT_KERNELS, 0, 100000, &n_kernels) || !cli_double(cli, OPT_SECONDS, &seconds))
        return status_exit_code(STATUS_BAD_USAGE);
    BenchJob job = {.cli = cli, .bench.arena = &cli->arena, .seconds = seconds, .n_kernels = (size_t)n_kernels};
    job.ast = cli_parse(cli, path, &code);
    if (!job.ast)
        return code;
    code = cli_engine_open(cli, &job.engine);
    if (code)
        return code;
    code = bench_all(&job);
    const char *size = cli->value[OPT_SIZE];
    const char *about = arena_printf(&cli->arena, "%s%s%s, device %s, %d threads%s", path, size ? ", size " : "", size ? size : "",
                                     engine_target(job.engine)->name, engine_target(job.engine)->threads,
                                     engine_target(job.engine)->schedules ? ", tuned" : "");
    engine_close(job.engine);
    if (code)
        return code;
    Text text = text_make(&cli->arena);
    bench_print(&job.bench, form, about, &text);
    return cli_write(cli, cli_has(cli, OPT_OUTPUT) ? cli->value[OPT_OUTPUT] : "-", text_str(&text), text.n);
}
