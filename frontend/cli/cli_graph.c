// mixc graph: a picture of a model.
#include "cli.h"

#include "graph_view.h"

#include <string.h>

int cli_graph(Cli *cli)
{
    BuildOptions options;
    int code;
    const char *path = cli_model_file(cli, &code);
    if (!path || !cli_build_options(cli, MODE_EVAL, &options))
        return code;
    const char *out = cli->value[OPT_OUTPUT];
    if (!out)
        return cli_usage(cli, "-o OUT.svg or OUT.dot is missing");
    const char *end = strrchr(out, '.');
    bool dot = end && !strcmp(end, ".dot");
    if (!dot && strcmp(out, "-") != 0 && (!end || strcmp(end, ".svg")))
        return cli_usage(cli, "`%s`: the picture is .svg or .dot, or - for an SVG on standard output", out);
    Module *m = cli_module(cli, path, &options, NULL, &code);
    if (!m)
        return code;
    const int times = cli->times[OPT_VERBOSE];
    GraphView view = graph_view_make(&cli->arena, module_graph(m, "main"), times > 1 ? VIEW_ALL : times ? VIEW_ITERATIONS : VIEW_FOLDED);
    Text text = text_make(&cli->arena);
    if (dot)
        graph_view_dot(&view, &text);
    else
        graph_view_svg(&view, &text);
    return cli_write(cli, out, text_str(&text), text.n);
}
