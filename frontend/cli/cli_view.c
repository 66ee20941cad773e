// mixc view: the whole way of a model, from its text to its kernels, as one page.
#include "cli_engine.h"
#include "proc.h"
#include "view.h"

#include <string.h>

typedef struct Watch {                      // the stages as they come by
    Cli       *cli;
    uint32_t   file;                        // the model's own source
    ViewStage *stage; size_t n, capacity;
    double     last;
} Watch;

static void keep_stage(void *user, size_t index, const Pass *pass, const Module *m)
{
    Watch *w = user;
    (void)index;
    const Graph *g = module_graph(m, "step");
    const double now = proc_now_s();
    w->stage = arena_grow(&w->cli->arena, w->stage, w->n, &w->capacity, sizeof *w->stage);
    ViewStage *s = &w->stage[w->n++];
    *s = view_stage(&w->cli->arena, g ? g : module_graph(m, "main"), &w->cli->sources, w->file);
    s->name = pass ? pass->name : "build";
    s->summary = pass ? pass->summary : "the model as the front end builds it";
    s->seconds = pass ? now - w->last : 0;
    w->last = proc_now_s();
}

// The least time of each launch over a few steps with made-up numbers. NULL: not measured.
static const double *measure(Cli *cli, CliModel *model, const Program *p, int64_t steps, int *out_exit)
{
    StatusText why = {0};
    Net *net = steps > 0 ? cli_model_load(cli, model, out_exit) : NULL;
    if (!net)
        return NULL;
    double *least = arena_array(&cli->arena, double, p->n_launches + 1), *now = arena_array(&cli->arena, double, p->n_launches + 1);
    Status status = net_program(net)->n_launches == p->n_launches ? net_init(net, model->module, cli->seed, &why) : STATUS_INTERNAL;
    if (status == STATUS_OK)
        status = net_run(net, &why);
    for (int64_t k = 0; k < steps && status == STATUS_OK; k++) {
        status = net_run_timed(net, now, &why);
        for (size_t l = 0; l < p->n_launches; l++)
            least[l] = k == 0 || now[l] < least[l] ? now[l] : least[l];
    }
    net_free(net);
    if (status != STATUS_OK)
        *out_exit = cli_fail(cli, status, &why);
    return status == STATUS_OK ? least : NULL;
}

// A step that would take longer than a few seconds is measured only when --steps asks for it.
static int64_t steps_wanted(const Program *p)
{
    double flops = 0;
    for (size_t l = 0; l < p->n_launches; l++)
        flops += p->launch[l].flops;
    return flops < 5e10 && p->arena_bytes < (size_t)1 << 31 ? 3 : 0;
}

static int view_model(Cli *cli, CliModel *model)
{
    const char *path = cli->file[0];
    Watch watch = {.cli = cli, .last = proc_now_s()};
    for (uint32_t f = 1; f < cli->sources.n_files; f++)
        if (!strcmp(cli->sources.file[f].name, path))
            watch.file = f;
    const PassHooks hooks = {.after = keep_stage, .user = &watch};
    int code = 0;
    const Program *p = cli_model_program(cli, model, &hooks, NULL, &code);
    if (!p)
        return code;
    static const char *const mode_text[MODE_COUNT] = {[MODE_TRAIN] = "train", [MODE_EVAL] = "eval", [MODE_GENERATE] = "generate"};
    const char *size = cli->value[OPT_SIZE];
    int64_t steps = steps_wanted(p);
    if (!cli_int(cli, OPT_STEPS, 0, 1000000, &steps))
        return status_exit_code(STATUS_BAD_USAGE);
    ViewPage page = {.sources = &cli->sources, .stage = watch.stage, .n_stages = watch.n, .program = p, .module = model->module, .file = watch.file,
                     .title = arena_printf(&cli->arena, "%s%s%s", strrchr(path, '/') ? strrchr(path, '/') + 1 : path, size ? ", size " : "", size ? size : ""),
                     .about = arena_printf(&cli->arena, "mode %s, device %s, %d threads", mode_text[model->options.mode], engine_target(model->engine)->name,
                                           engine_target(model->engine)->threads)};
    page.seconds = measure(cli, model, p, steps, &code);
    if (!page.seconds)
        page.about = arena_printf(&cli->arena, "%s, not timed: mixc view --steps 3 takes the time", page.about);
    if (code)
        return code;
    if (page.seconds && ceiling_measure(model->engine, &page.ceiling, &(StatusText){0}) != STATUS_OK)
        page.ceiling = (Ceiling){0};
    Text text = text_make(&cli->arena);
    view_html(&page, &text);
    return cli_write(cli, cli->value[OPT_OUTPUT], text_str(&text), text.n);
}

int cli_view(Cli *cli)
{
    return cli_has(cli, OPT_OUTPUT) ? cli_with_model(cli, view_model) : cli_usage(cli, "-o OUT.html is missing");
}
