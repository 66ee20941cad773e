// mixc profile --device sim: what the kernels of a step do, counted in the simulator. Facts, not times.
#include "cli_engine.h"

#include "sim/sim_counters.h"

#include <stdlib.h>
#include <string.h>

typedef struct CountRow {
    const char *kernel, *where;             // the kernel's name; its family and model line
    size_t      launches;
    SimCounters sum;
} CountRow;

static int by_slots(const void *a, const void *b)
{
    const CountRow *x = a, *y = b;
    return (x->sum.instructions < y->sum.instructions) - (x->sum.instructions > y->sum.instructions);
}

static size_t add_up(Cli *cli, const Program *p, const SimCounters *counters, CountRow *row, SimCounters *out_total)
{
    size_t *row_of = arena_array(&cli->arena, size_t, p->n_kernels + 1), n = 0;
    for (size_t l = 0; l < p->n_launches; l++) {
        const Launch *launch = &p->launch[l];
        size_t *r = &row_of[launch->kernel];
        if (!*r) {
            char line[256];
            const Kernel *k = &p->kernel[launch->kernel];
            row[n++] = (CountRow){.kernel = k->name};
            row[n - 1].where = arena_printf(&cli->arena, "%-8s %s", program_kernel_kind(k),
                                            program_line(p, launch, line, sizeof line));
            *r = n;
        }
        row[*r - 1].launches++;
        sim_counters_add(&row[*r - 1].sum, &counters[l]);
        sim_counters_add(out_total, &counters[l]);
    }
    qsort(row, n, sizeof *row, by_slots);
    return n;
}

// Slots in thousands; bytes in KiB: asked for by lanes, between the caches, from and to memory.
static void print_row(const char *kernel, const char *where, size_t launches, const SimCounters *c)
{
    const double kib = 1.0 / 1024, full = c->instructions ? (double)c->thread_instructions / (double)c->instructions / 32 : 0;
    printf("%6zu %9.1f %4.0f%% %9.1f %9.1f %9.1f %9.1f %8.1f %9.1f %9.1f  %-28s %s\n", launches, (double)c->instructions * 1e-3,
           100 * full, (double)c->flops * 1e-3, (double)c->tensor_flops * 1e-3, (double)c->global_bytes * kib,
           (double)c->global_sectors * 32 * kib, (double)(c->first_read_sectors + c->first_written_sectors) * 32 * kib,
           (double)c->shared_bytes * kib, (double)c->bank_conflicts * 1e-3, kernel, where);
}

static void print_rows(Cli *cli, const CountRow *row, size_t n, const SimCounters *total)
{
    const size_t shown = n > 20 && !cli_has(cli, OPT_VERBOSE) ? 20 : n;
    SimCounters rest = {0};
    size_t launches = 0, rest_launches = 0;
    printf("%6s %9s %5s %9s %9s %9s %9s %8s %9s %9s  kernel\n", "runs", "kslots", "full", "kflop", "ktensor", "asked KiB", "L2 KiB",
           "mem KiB", "shared KB", "kconflict");
    for (size_t i = 0; i < n; i++) {
        launches += row[i].launches;
        if (i < shown) {
            print_row(row[i].kernel, row[i].where, row[i].launches, &row[i].sum);
        } else {
            sim_counters_add(&rest, &row[i].sum);
            rest_launches += row[i].launches;
        }
    }
    if (shown < n)
        print_row(arena_printf(&cli->arena, "the other %zu kernels", n - shown), "(-v lists them)", rest_launches, &rest);
    print_row("one step", "", launches, total);
}

static void print_json(Cli *cli, const CountRow *row, size_t n)
{
    Text text = text_make(&cli->arena);
    text_add(&text, "{\"kernels\": [");
    for (size_t i = 0; i < n; i++) {
        const SimCounters *c = &row[i].sum;
        text_add(&text, i ? ",\n  {\"name\": " : "\n  {\"name\": ");
        text_json(&text, row[i].kernel);
#define COUNTER(name) text_printf(&text, ", \"" #name "\": %llu", (unsigned long long)c->name);
        SIM_COUNTERS
#undef COUNTER
        text_char(&text, '}');
    }
    text_add(&text, "\n]}\n");
    fputs(text_str(&text), stdout);
}

int cli_profile_sim(Cli *cli, Net *net)
{
    const Program *p = net_program(net);
    SimCounters *counters = arena_array(&cli->arena, SimCounters, p->n_launches + 1), total = {0};
    CountRow *row = arena_array(&cli->arena, CountRow, p->n_kernels + 1);
    StatusText why = {0};
    Status status = net_run_counted(net, counters, &why);
    if (status != STATUS_OK)
        return cli_fail(cli, status, &why);
    const size_t n = add_up(cli, p, counters, row, &total);
    if (cli_has(cli, OPT_JSON))
        print_json(cli, row, n);
    else
        print_rows(cli, row, n, &total);
    return 0;
}
