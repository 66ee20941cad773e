// mixc plan: the memory of a program, and what takes it at its fullest moment.
#include "cli_engine.h"
#include "plan_memory.h"
#include "route_plan.h"

#include <string.h>

static int plan_model(Cli *cli, CliModel *model)
{
    int code = 0;
    const Program *p = cli_model_program(cli, model, NULL, NULL, &code);
    if (!p)
        return code;
    Text text = text_make(&cli->arena), routes = text_make(&cli->arena);
    if (cli_has(cli, OPT_JSON)) {
        route_plan_json(model->module, p, &routes);
        plan_print_json(p, &cli->sources, text_str(&routes), &text);
    } else {
        plan_print(p, &cli->sources, &text);
        route_plan_print(model->module, p, &text);
    }
    fputs(text_str(&text), stdout);
    size_t budget = 0;
    if (cli_bytes(cli, OPT_MAX_MEM, &budget) && budget && p->arena_bytes > budget)
        return cli_failf(cli, STATUS_OVER_BUDGET, "the plan needs %.1f MiB, the budget is %.1f MiB",
                         (double)p->arena_bytes / 1048576, (double)budget / 1048576);
    return code;
}

int cli_plan(Cli *cli)
{
    return cli_with_model(cli, plan_model);
}
