// See bench.h.
#include "bench.h"

#include "generate.h"
#include "kernel_trial.h"
#include "proc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

Status bench_fill(Net *net, const Graph *g, Arena *scratch, StatusText *why)
{
    double **numbers = trial_inputs(scratch, g);
    Status status = STATUS_OK;
    for (ValueId v = 1; v < g->n_nodes && status == STATUS_OK; v++) {
        const Slot *slot = numbers[v] ? net_slot(net, BUFFER_INPUT, g->node[v].attr[0].name) : NULL;
        if (!slot)
            continue;
        float *data = malloc((size_t)slot->count * 4 + 4);
        if (!data)
            return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for the inputs");
        for (int64_t i = 0; i < slot->count; i++)
            if (slot->dtype == DTYPE_I32)
                ((int32_t *)(void *)data)[i] = (int32_t)(numbers[v][i] < 0 ? 0 : numbers[v][i]);
            else
                data[i] = (float)numbers[v][i];
        status = net_write(net, slot, data, why);
        free(data);
    }
    if (status == STATUS_OK)
        status = net_write_float(net, "lr", 1e-4, why);
    return status == STATUS_OK ? net_write_int(net, "step", 1, why) : status;
}

typedef struct Series {                     // sums of times of one thing
    double sum, squares, least;
    size_t n;
} Series;

static void note(Series *s, double seconds)
{
    s->least = s->n == 0 || seconds < s->least ? seconds : s->least;
    s->sum += seconds;
    s->squares += seconds * seconds;
    s->n++;
}

static BenchRow row_of(const Series *s, const char *what)
{
    const double mean = s->n ? s->sum / (double)s->n : 0, spread = s->n > 1 ? s->squares / (double)s->n - mean * mean : 0;
    return (BenchRow){.what = what, .detail = "", .unit = "", .repeats = s->n, .mean_s = mean, .least_s = s->least,
                      .sd_s = spread > 0 ? sqrt(spread * (double)s->n / (double)(s->n - 1)) : 0};
}

static void add_row(Bench *b, BenchRow row)
{
    b->row = arena_grow(b->arena, b->row, b->n, &b->capacity, sizeof *b->row);
    b->row[b->n++] = row;
}

// Tokens where the inputs are tokens, else rows of the batch.
static void set_work(BenchRow *row, const Net *net)
{
    const Slot *slots;
    const size_t n = net_slots(net, &slots);
    for (size_t i = 0; i < n; i++) {
        if (slots[i].kind != BUFFER_INPUT || slots[i].n_axes < 2)
            continue;
        const bool tokens = slots[i].dtype == DTYPE_I32 && slots[i].n_axes == 2;
        row->work = tokens ? (double)slots[i].count : (double)slots[i].size[0];
        row->unit = tokens ? "tokens" : "rows";
        return;
    }
}

static int by_mean(const void *a, const void *b)
{
    const BenchRow *x = a, *y = b;
    return (x->mean_s < y->mean_s) - (x->mean_s > y->mean_s);
}

static void add_kernels(Bench *b, const Program *p, const Series *series, const Sources *sources, size_t most)
{
    BenchRow *row = arena_array(b->arena, BenchRow, p->n_kernels + 1);
    size_t n = 0;
    for (uint32_t k = 1; k < p->n_kernels; k++) {
        BenchRow r = row_of(&series[k], p->kernel[k].name);
        for (size_t l = 0; l < p->n_launches; l++) {
            const Launch *launch = &p->launch[l];
            if (launch->kernel != k)
                continue;
            r.flops += launch->flops;
            r.bytes += launch->bytes;
            r.floor_s += ceiling_floor(&b->ceiling, launch);
            if (!*r.detail)
                r.detail = arena_printf(b->arena, "%s %s:%u", program_kernel_kind(&p->kernel[k]),
                                        launch->at.file ? sources->file[launch->at.file].name : "",
                                        sources_line_col(sources, launch->at.file, launch->at.begin).line);
        }
        row[n++] = r;
    }
    qsort(row, n, sizeof *row, by_mean);
    for (size_t i = 0; i < n && i < most; i++)
        add_row(b, row[i]);
}

Status bench_net(Bench *b, const char *what, Net *net, const Sources *sources, double seconds, size_t n_kernels, StatusText *why)
{
    const Program *p = net_program(net);
    if (!p)
        return status_fail(why, STATUS_NO_DEVICE, "the evaluator has no kernels to time");
    double *now = arena_array(b->arena, double, p->n_launches + 1);
    double *of_kernel = arena_array(b->arena, double, p->n_kernels + 1);
    Series whole = {0}, *series = arena_array(b->arena, Series, p->n_kernels + 1);
    Status status = net_run(net, why);      // the first touches memory
    for (const double begin = proc_now_s(); status == STATUS_OK && (whole.n < 3 || proc_now_s() - begin < seconds);) {
        const double at = proc_now_s();
        status = net_run(net, why);
        note(&whole, proc_now_s() - at);
    }
    for (size_t turn = 0; status == STATUS_OK && n_kernels && turn < whole.n; turn++) {
        status = net_run_timed(net, now, why);
        memset(of_kernel, 0, (p->n_kernels + 1) * sizeof *of_kernel);
        for (size_t l = 0; l < p->n_launches; l++)
            of_kernel[p->launch[l].kernel] += now[l];
        for (uint32_t k = 1; k < p->n_kernels; k++)
            note(&series[k], of_kernel[k]);
    }
    if (status != STATUS_OK)
        return status;
    BenchRow row = row_of(&whole, what);
    set_work(&row, net);
    for (size_t l = 0; l < p->n_launches; l++) {
        row.flops += p->launch[l].flops;
        row.bytes += p->launch[l].bytes;
        row.floor_s += ceiling_floor(&b->ceiling, &p->launch[l]);
    }
    add_row(b, row);
    if (n_kernels)
        add_kernels(b, p, series, sources, n_kernels);
    return STATUS_OK;
}

typedef struct Clock {
    Series series;
    double last, end;
} Clock;

static bool each_token(void *user, int32_t token, double probability)
{
    Clock *c = user;
    const double now = proc_now_s();
    (void)token;
    (void)probability;
    note(&c->series, now - c->last);
    c->last = now;
    return now < c->end || c->series.n < 3;
}

Status bench_generate(Bench *b, Engine *engine, Diag *diag, const Module *m, Net *net, double seconds, StatusText *why)
{
    Generator generator;
    const int32_t prompt[1] = {0};
    Status status = generator_make(b->arena, engine, diag, m, net, &generator, why);
    if (status != STATUS_OK)
        return status;
    Clock clock = {.last = proc_now_s(), .end = proc_now_s() + seconds};
    const GenerateOptions options = {.sample = {.temperature = 1, .top_p = 1}, .n_tokens = 1 << 20, .seed = 1};
    status = generator_run(&generator, prompt, 1, &options, each_token, &clock, why);
    generator_close(&generator);
    BenchRow row = row_of(&clock.series, "generation");
    row.work = 1;
    row.unit = "tokens";
    if (status == STATUS_OK)
        add_row(b, row);
    return status;
}
