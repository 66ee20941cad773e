// See cli_engine.h.
#include "cli_engine.h"

#include <string.h>

bool cli_has_section(const Ast *ast, SectionKind kind)
{
    for (const Item *item = ast->items; item; item = item->next)
        if (item->section && item->section->kind == kind)
            return true;
    return false;
}

bool cli_wants_bf16(const Cli *cli)
{
    return cli->value[OPT_DTYPE] && strcmp(cli->value[OPT_DTYPE], "bf16") == 0;
}

int cli_engine_open(Cli *cli, Engine **out_engine)
{
    EngineOptions options = {.device = cli->device,
                             .on_device.threads = cli->threads,
                             .verify = cli_has(cli, OPT_VERIFY),
                             .untuned = cli_has(cli, OPT_DETERMINISTIC),
                             .bf16 = cli_wants_bf16(cli)};
    if (!cli_bytes(cli, OPT_MAX_MEM, &options.max_bytes))
        return status_exit_code(STATUS_BAD_USAGE);
    StatusText why = {0};
    Status status = engine_open(&options, out_engine, &why);
    return status == STATUS_OK ? 0 : cli_fail(cli, status, &why);
}

void cli_model_close(CliModel *model)
{
    engine_close(model->engine);
    model->engine = NULL;
}

Program *cli_model_program(Cli *cli, CliModel *model, const PassHooks *hooks, const Target *target, int *out_exit)
{
    Program *p = engine_program(model->engine, &cli->arena, &cli->diag, model->module,
                                &(LoadOptions){.train = model->train, .generate = model->generate, .graph = model->graph, .hooks = hooks, .target = target});
    *out_exit = cli_diagnostics(cli);
    if (!p && *out_exit == 0)
        *out_exit = cli_failf(cli, STATUS_INTERNAL, "the model was refused without a reason");
    return p;
}

Net *cli_model_load(Cli *cli, CliModel *model, int *out_exit)
{
    Net *net = NULL;
    StatusText why = {0};
    Status status = engine_load(model->engine, &cli->arena, &cli->diag, model->module,
                                &(LoadOptions){.train = model->train, .generate = model->generate, .graph = model->graph}, &net, &why);
    *out_exit = cli_diagnostics(cli);
    if (status != STATUS_OK && *out_exit == 0)
        *out_exit = cli_fail(cli, status, &why);
    return status == STATUS_OK ? net : NULL;
}
