// mixc profile: where the time of a step goes, kernel by kernel. Inputs are zeros; weights are initial values.
#include "ceiling.h"
#include "cli_engine.h"
#include "proc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct ProfileRow {
    const char *kernel, *what;              // the kernel's name; its family, layer and line
    double      seconds, flops, bytes, floor;   // floor: the least time by the machine's ceilings; 0: not known
    size_t      launches;
} ProfileRow;

typedef struct Profile {
    const Program *program;
    Ceiling     ceiling;                    // flops 0: not measured
    double      wall, total;                // of a step; of its launches, one by one
    ProfileRow *row; size_t n;
} Profile;

static int by_time(const void *a, const void *b)
{
    const ProfileRow *x = a, *y = b;
    return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

static size_t add_up(Cli *cli, const Program *p, const Ceiling *ceiling, const double *seconds, ProfileRow *row)
{
    size_t *row_of = arena_array(&cli->arena, size_t, p->n_kernels + 1), n = 0;
    for (size_t l = 0; l < p->n_launches; l++) {
        const Launch *launch = &p->launch[l];
        size_t *r = &row_of[launch->kernel];
        if (!*r) {
            const char *file = launch->at.file ? cli->sources.file[launch->at.file].name : "";
            row[n++] = (ProfileRow){.kernel = p->kernel[launch->kernel].name};
            row[n - 1].what =
                arena_printf(&cli->arena, "%-8s %s:%u%s%s", program_kernel_kind(&p->kernel[launch->kernel]), file,
                             sources_line_col(&cli->sources, launch->at.file, launch->at.begin).line,
                             launch->layer ? "  " : "", launch->layer ? cli_without_numbers(&cli->arena, launch->layer, true) : "");
            *r = n;
        }
        row[*r - 1].seconds += seconds[l];
        row[*r - 1].flops += launch->flops;
        row[*r - 1].bytes += launch->bytes;
        row[*r - 1].floor += ceiling->flops > 0 ? ceiling_floor(ceiling, launch) : 0;
        row[*r - 1].launches++;
    }
    qsort(row, n, sizeof *row, by_time);
    return n;
}

static void print_rows(Cli *cli, const Profile *f)
{
    size_t shown = f->n > 20 && !cli_has(cli, OPT_VERBOSE) ? 20 : f->n;
    double rest = 0;
    printf("%9s  %5s  %6s  %8s  %7s  %5s  kernel\n", "ms", "share", "runs", "GFLOP/s", "GB/s", "roof");
    for (size_t i = 0; i < f->n; i++) {
        const ProfileRow *r = &f->row[i];
        if (i >= shown) {
            rest += r->seconds;
            continue;
        }
        const double per_second = r->seconds > 0 ? 1 / r->seconds : 0;     // 0: run once, before the steps
        printf("%9.3f  %4.1f%%  %6zu  %8.2f  %7.2f  %4.0f%%  %-28s %s\n", r->seconds * 1e3, 100 * r->seconds / f->total,
               r->launches, r->flops * per_second * 1e-9, r->bytes * per_second * 1e-9, 100 * r->floor * per_second, r->kernel, r->what);
    }
    if (shown < f->n)
        printf("%9.3f  %4.1f%%  the other %zu kernels (-v lists them)\n", rest * 1e3, 100 * rest / f->total, f->n - shown);
    printf("%9.3f  one step; its kernels together %.3f\n", f->wall * 1e3, f->total * 1e3);
    if (f->ceiling.flops > 0)
        printf("roof: share of what this machine can do, %.0f GFLOP/s of float32 multiply-adds or %.1f GB/s copied\n",
               f->ceiling.flops * 1e-9, f->ceiling.bytes * 1e-9);
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

static void print_json(Cli *cli, const Profile *f)
{
    Text text = text_make(&cli->arena);
    text_printf(&text, "{\"seconds\": %.9g, \"wall_seconds\": %.9g, \"ceiling\": {\"flops\": %.9g, \"bytes\": %.9g}, \"kernels\": [",
                f->total, f->wall, f->ceiling.flops, f->ceiling.bytes);
    for (size_t i = 0; i < f->n; i++) {
        const ProfileRow *row = f->row;
        text_add(&text, i ? ",\n  {\"name\": " : "\n  {\"name\": ");
        text_json(&text, row[i].kernel);
        text_printf(&text, ", \"seconds\": %.9g, \"launches\": %zu, \"flops\": %.9g, \"bytes\": %.9g, \"floor_seconds\": %.9g}",
                    row[i].seconds, row[i].launches, row[i].flops, row[i].bytes, row[i].floor);
    }
    text_add(&text, "\n]}\n");
    fputs(text_str(&text), stdout);
}

// The fastest of several steps, launch by launch, and by the clock of the fastest one that was not looked into; in turns, after one
// that warms up. All launches are of one step, so that their sum is what a step takes: the least time of each one by itself would
// add up to less than any step.
// At least `steps` of them, and more up to 100 as long as `seconds` have not passed.
static Status time_steps(Net *net, int64_t steps, double seconds, double *best, double *now, double *wall, StatusText *why)
{
    size_t n = net_program(net)->n_launches;
    const double start = proc_now_s();
    double least = INFINITY;
    Status status = net_run(net, why);
    for (int64_t k = 0; (k < steps || (k < 100 && proc_now_s() - start < seconds)) && status == STATUS_OK; k++) {
        double sum = 0;
        status = net_run_timed(net, now, why);
        for (size_t l = 0; l < n && status == STATUS_OK; l++)
            sum += now[l];
        if (sum < least) {
            memcpy(best, now, n * sizeof *best);
            least = sum;
        }
        const double begin = proc_now_s();
        status = status == STATUS_OK ? net_run(net, why) : status;
        const double spent = proc_now_s() - begin;
        *wall = k == 0 || spent < *wall ? spent : *wall;
    }
    return status;
}

static int profile_net(Cli *cli, const Engine *engine, Net *net, const Module *module)
{
    int64_t steps = 5;
    StatusText why = {0}, unknown = {0};
    Profile f = {.program = net_program(net)};
    if (!cli_int(cli, OPT_STEPS, 1, 1000000, &steps))
        return status_exit_code(STATUS_BAD_USAGE);
    const Program *p = f.program;
    if (!p)
        return cli_usage(cli, "the evaluator has no kernels to time");
    double *best = arena_array(&cli->arena, double, p->n_launches + 1),
           *now = arena_array(&cli->arena, double, p->n_launches + 1);
    Status status = net_init(net, module, cli->seed, &why);
    if (status == STATUS_OK)
        status = net_write_float(net, "lr", 1e-4, &why);
    if (status == STATUS_OK && !strcmp(engine_target(engine)->name, "sim"))
        return cli_profile_sim(cli, net);
    if (status == STATUS_OK)
        status = time_steps(net, steps, cli_has(cli, OPT_STEPS) ? 0 : 0.5, best, now, &f.wall, &why);
    if (status != STATUS_OK)
        return cli_fail(cli, status, &why);
    ceiling_measure(engine, &f.ceiling, &unknown);
    for (size_t l = 0; l < p->n_launches; l++)
        f.total += best[l];
    f.row = arena_array(&cli->arena, ProfileRow, p->n_kernels + 1);
    f.n = add_up(cli, p, &f.ceiling, best, f.row);
    if (cli_has(cli, OPT_JSON))
        print_json(cli, &f);
    else
        print_rows(cli, &f);
    if (!cli_has(cli, OPT_OUTPUT))
        return 0;
    Text trace = text_make(&cli->arena);
    print_trace(cli, p, best, &trace);
    return cli_write(cli, cli->value[OPT_OUTPUT], text_str(&trace), trace.n);
}

static int profile_model(Cli *cli, CliModel *model)
{
    int code = 0;
    Net *net = cli_model_load(cli, model, &code);
    if (net)
        code = profile_net(cli, model->engine, net, model->module);
    net_free(net);
    return code;
}

int cli_profile(Cli *cli)
{
    return cli_with_model(cli, profile_model);
}
