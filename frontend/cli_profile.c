// mixc profile: where the time of a step goes, kernel by kernel. Inputs are zeros; weights are initial values.
#include "cli_engine.h"

#include <stdlib.h>
#include <string.h>

typedef struct ProfileRow {
    const char *kernel, *what;              // the kernel's name; its family, layer and line
    double      seconds, flops, bytes;
    size_t      launches;
} ProfileRow;

static int by_time(const void *a, const void *b)
{
    const ProfileRow *x = a, *y = b;
    return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

static size_t add_up(Cli *cli, const Program *p, const double *seconds, ProfileRow *row)
{
    size_t *row_of = arena_array(&cli->arena, size_t, p->n_kernels + 1), n = 0;
    for (size_t l = 0; l < p->n_launches; l++) {
        const Launch *launch = &p->launch[l];
        size_t *r = &row_of[launch->kernel];
        if (!*r) {
            const char *file = launch->at.file ? cli->sources.file[launch->at.file].name : "";
            row[n++] = (ProfileRow){.kernel = p->kernel[launch->kernel].name};
            row[n - 1].what =
                arena_printf(&cli->arena, "%-8s %s:%u", kernel_family_text[p->kernel[launch->kernel].family], file,
                             sources_line_col(&cli->sources, launch->at.file, launch->at.begin).line);
            *r = n;
        }
        row[*r - 1].seconds += seconds[l];
        row[*r - 1].flops += launch->flops;
        row[*r - 1].bytes += launch->bytes;
        row[*r - 1].launches++;
    }
    qsort(row, n, sizeof *row, by_time);
    return n;
}

static void print_rows(Cli *cli, const ProfileRow *row, size_t n, double total)
{
    size_t shown = n > 20 && !cli_has(cli, OPT_VERBOSE) ? 20 : n;
    double rest = 0;
    printf("%9s  %5s  %6s  %8s  %7s  kernel\n", "ms", "share", "runs", "GFLOP/s", "GB/s");
    for (size_t i = 0; i < n; i++) {
        if (i >= shown) {
            rest += row[i].seconds;
            continue;
        }
        double s = row[i].seconds > 0 ? row[i].seconds : 1e-12;
        printf("%9.3f  %4.1f%%  %6zu  %8.2f  %7.2f  %-28s %s\n", row[i].seconds * 1e3, 100 * row[i].seconds / total,
               row[i].launches, row[i].flops / s * 1e-9, row[i].bytes / s * 1e-9, row[i].kernel, row[i].what);
    }
    if (shown < n)
        printf("%9.3f  %4.1f%%  the other %zu kernels (-v lists them)\n", rest * 1e3, 100 * rest / total, n - shown);
    printf("%9.3f  one step\n", total * 1e3);
}

// Chrome trace events: one after the other, in microseconds.
static void print_trace(Cli *cli, const Program *p, const double *seconds, Text *out)
{
    double at = 0;
    text_add(out, "{\"traceEvents\": [");
    for (size_t l = 0; l < p->n_launches; l++) {
        const Launch *launch = &p->launch[l];
        text_printf(out, "%s\n{\"ph\": \"X\", \"pid\": 1, \"tid\": 1, \"ts\": %.3f, \"dur\": %.3f, \"name\": ",
                    l ? "," : "", at * 1e6, seconds[l] * 1e6);
        text_json(out, p->kernel[launch->kernel].name);
        text_add(out, ", \"args\": {\"layer\": ");
        text_json(out, launch->layer ? launch->layer : "");
        text_printf(out, ", \"line\": %u, \"flops\": %.0f, \"bytes\": %.0f, \"items\": %lld}}",
                    sources_line_col(&cli->sources, launch->at.file, launch->at.begin).line, launch->flops,
                    launch->bytes, (long long)launch->n_work);
        at += seconds[l];
    }
    text_add(out, "\n]}\n");
}

static void print_json(Cli *cli, const ProfileRow *row, size_t n, double total)
{
    Text text = text_make(&cli->arena);
    text_printf(&text, "{\"seconds\": %.9g, \"kernels\": [", total);
    for (size_t i = 0; i < n; i++) {
        text_add(&text, i ? ",\n  {\"name\": " : "\n  {\"name\": ");
        text_json(&text, row[i].kernel);
        text_printf(&text, ", \"seconds\": %.9g, \"launches\": %zu, \"flops\": %.9g, \"bytes\": %.9g}",
                    row[i].seconds, row[i].launches, row[i].flops, row[i].bytes);
    }
    text_add(&text, "\n]}\n");
    fputs(text_str(&text), stdout);
}

// The least time of each launch over several steps, after one that warms up.
static Status time_steps(Net *net, int64_t steps, double *least, double *now, StatusText *why)
{
    size_t n = net_program(net)->n_launches;
    Status status = net_run(net, why);
    for (int64_t k = 0; k < steps && status == STATUS_OK; k++) {
        status = net_run_timed(net, now, why);
        for (size_t l = 0; l < n; l++)
            least[l] = k == 0 || now[l] < least[l] ? now[l] : least[l];
    }
    return status;
}

static int profile_net(Cli *cli, Net *net, const Module *module)
{
    int64_t steps = 5;
    StatusText why = {0};
    if (!cli_int(cli, OPT_STEPS, 1, 1000000, &steps))
        return status_exit_code(STATUS_BAD_USAGE);
    const Program *p = net_program(net);
    if (!p)
        return cli_usage(cli, "the evaluator has no kernels to time");
    double *least = arena_array(&cli->arena, double, p->n_launches + 1),
           *now = arena_array(&cli->arena, double, p->n_launches + 1);
    Status status = net_init(net, module, cli->seed, &why);
    if (status == STATUS_OK)
        status = net_write_float(net, "lr", 1e-4, &why);
    if (status == STATUS_OK)
        status = time_steps(net, steps, least, now, &why);
    if (status != STATUS_OK)
        return cli_fail(cli, status, &why);
    double total = 0;
    for (size_t l = 0; l < p->n_launches; l++)
        total += least[l];
    ProfileRow *row = arena_array(&cli->arena, ProfileRow, p->n_kernels + 1);
    size_t n = add_up(cli, p, least, row);
    if (cli_has(cli, OPT_JSON))
        print_json(cli, row, n, total);
    else
        print_rows(cli, row, n, total);
    if (!cli_has(cli, OPT_OUTPUT))
        return 0;
    Text trace = text_make(&cli->arena);
    print_trace(cli, p, least, &trace);
    return cli_write(cli, cli->value[OPT_OUTPUT], text_str(&trace), trace.n);
}

int cli_profile(Cli *cli)
{
    const char *path = cli_one_file(cli, "FILE");
    if (!path)
        return status_exit_code(STATUS_BAD_USAGE);
    CliModel model;
    int code = cli_model_open(cli, path, &model);
    if (code)
        return code;
    Net *net = cli_model_load(cli, &model, &code);
    if (net)
        code = profile_net(cli, net, model.module);
    net_free(net);
    cli_model_close(&model);
    return code;
}
