// mixc tune: searches faster schedules for the kernels of a model and keeps what it measures.
#include "cli_engine.h"
#include "cli_signal.h"
#include "proc.h"
#include "tune.h"
#include "tuned.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

// "90", "90s", "5m", "2h" as seconds.
static bool read_time(Cli *cli, double *out)
{
    const char *text = cli->value[OPT_BUDGET];
    if (!text)
        return true;
    char *end;
    *out = strtod(text, &end);
    const double unit = !strcmp(end, "m") ? 60 : !strcmp(end, "h") ? 3600 : !strcmp(end, "s") || !*end ? 1 : 0;
    *out *= unit;
    if (end == text || unit == 0 || !(*out > 0)) {
        cli_usage(cli, "--budget takes a time like 60s, 5m or 1h, not `%s`", text);
        return false;
    }
    return true;
}

typedef struct Watch {
    Cli   *cli;
    double begin;
    const volatile sig_atomic_t *interrupted;
} Watch;

static bool show_progress(void *user, const Tune *t, size_t i)
{
    Watch *w = user;
    if (*w->interrupted)
        return false;
    const double spent = proc_now_s() - w->begin;
    const int width = 24, filled = (int)((double)width * (double)t->n_known / (double)(t->n_candidates ? t->n_candidates : 1));
    if (cli_has(w->cli, OPT_QUIET))
        return true;
    if (w->cli->tty_err)
        fprintf(stderr, "\r\033[K[%.*s%*s] %zu of %zu measured, %.0f s  %.60s", filled, "########################", width - filled, "",
                t->n_known, t->n_candidates, spent, t->kernel[i].about);
    else if (t->kernel[i].n_known < t->kernel[i].n)
        fprintf(stderr, "%zu of %zu: %s\n", i + 1, t->n, t->kernel[i].about);
    return true;
}

typedef struct Best {
    double      by_default, seconds;        // 0: not known
    const char *schedule;
    size_t      tried, failed;
} Best;

typedef struct Found {
    Arena      *arena;
    const Tune *tune;
    Best       *best;                       // [tune->n]
} Found;

static void collect(void *user, const TuningRow *row)
{
    Found *f = user;
    for (size_t i = 0; i < f->tune->n; i++) {
        Best *b = &f->best[i];
        if (f->tune->kernel[i].key != row->kernel)
            continue;
        b->tried++;
        b->failed += row->outcome != TUNING_OK;
        if (row->outcome != TUNING_OK || row->beside <= 0)
            continue;
        const bool is_default = !strcmp(row->schedule, "default");
        if (is_default)
            b->by_default = row->seconds;
        const double ratio = is_default ? 1 : row->seconds / row->beside;
        if (is_default ? !b->schedule : ratio < 0.985 && row->beside - row->seconds > 1e-7 && (!b->schedule || !strcmp(b->schedule, "default") || ratio < b->seconds)) {
            b->seconds = ratio;
            b->schedule = arena_strdup(f->arena, row->schedule);
        }
    }
}

enum { ABOUT_COLUMNS = 90 };                // of a kernel's description; with -v all of it

static void print_table(Cli *cli, const Tune *t, const Best *best)
{
    double all = 0, gained = 0;
    printf("%5s  %10s  %6s  kernel and its best schedule\n", "runs", "default ms", "gain");
    for (size_t i = 0; i < t->n; i++) {
        if (!best[i].schedule)
            continue;
        const double gain = 1 - best[i].seconds, of_step = best[i].by_default * (double)t->kernel[i].instances;
        all += of_step;
        gained += of_step * gain;
        const bool whole = strlen(t->kernel[i].about) <= ABOUT_COLUMNS || cli_has(cli, OPT_VERBOSE);
        printf("%5zu  %10.3f  %5.1f%%  %.*s%s\n", t->kernel[i].instances, best[i].by_default * 1e3, 100 * gain,
               whole ? INT_MAX : ABOUT_COLUMNS - 2, t->kernel[i].about, whole ? "" : "..");
        if (gain > 0 || cli_has(cli, OPT_VERBOSE))
            printf("%27s%s%s\n", "", best[i].schedule, best[i].failed ? " (others failed: -v in a bug report, please)" : "");
    }
    printf("%zu of %zu kernel structures have a choice; theirs is %.2f ms of a step, %.2f ms (%.1f%%) less when tuned\n", t->n,
           t->n_structures, all * 1e3, gained * 1e3, all > 0 ? 100 * gained / all : 0);
}

typedef struct JsonRows {
    const Tune *tune;
    Text       *out;
} JsonRows;

// Kernels of this model say their family, and which candidate the schedule is: 0 is the default, 1 the cost model's next.
static void print_json_place(const Tune *t, const TuningRow *row, Text *out)
{
    for (size_t i = 0; i < t->n; i++) {
        const TuneKernel *k = &t->kernel[i];
        if (k->key != row->kernel)
            continue;
        text_printf(out, ", \"family\": \"%s\"", kernel_family_text[t->g->kernel[k->kernel]]);
        for (size_t c = 0; c < k->n; c++)
            if (!strcmp(schedule_text(t->arena, &k->candidate[c].schedule), row->schedule))
                text_printf(out, ", \"candidate\": %zu, \"cycles\": %.9g", c, k->candidate[c].cycles);
        return;
    }
}

static void print_json_row(void *user, const TuningRow *row)
{
    Text *out = ((JsonRows *)user)->out;
    text_printf(out, "%s{\"kernel\": \"%016llx\", \"schedule\": ", out->n > 16 ? ",\n  " : "\n  ", (unsigned long long)row->kernel);
    text_json(out, row->schedule);
    print_json_place(((JsonRows *)user)->tune, row, out);
    text_printf(out, ", \"outcome\": \"%s\", \"seconds\": %.9g, \"default_seconds\": %.9g, \"about\": ",
                tuning_outcome_text[row->outcome], row->seconds, row->beside);
    text_json(out, row->about);
    text_add(out, "}");
}

static void print_result(Cli *cli, Tune *t, bool finished)
{
    if (cli_has(cli, OPT_JSON)) {
        Text text = text_make(&cli->arena);
        text_add(&text, "{\"timings\": [");
        tuning_list(t->db, print_json_row, &(JsonRows){t, &text});
        text_printf(&text, "\n], \"finished\": %s}\n", finished ? "true" : "false");
        fputs(text_str(&text), stdout);
        return;
    }
    Found found = {&cli->arena, t, arena_array(&cli->arena, Best, t->n + 1)};
    tuning_list(t->db, collect, &found);
    print_table(cli, t, found.best);
    if (!finished)
        printf("%zu of %zu schedules are measured; the same command goes on from here\n", t->n_known, t->n_candidates);
}

static int tune_model(Cli *cli, CliModel *model)
{
    StatusText why = {0}, note = {0};
    int64_t candidates = 8, kernels = 0;
    TuneOptions options = {.seconds = 0.02, .match = cli->value[OPT_KERNEL], .on_device.threads = cli->threads};
    if (!read_time(cli, &options.budget_s) || !cli_int(cli, OPT_CANDIDATES, 2, 100000, &candidates)
        || !cli_int(cli, OPT_KERNELS, 1, 100000, &kernels))
        return status_exit_code(STATUS_BAD_USAGE);
    options.candidates = (size_t)candidates;
    options.kernels = (size_t)kernels;
    Device *device;
    const DeviceOps *ops = engine_device(model->engine, &device);
    const char *place = NULL;
    Status status = ops ? tuned_place(ops, device, &cli->arena, &place, &why) : STATUS_OK;
    if (status != STATUS_OK)
        return cli_fail(cli, status, &why);
    if (!place)
        return cli_failf(cli, STATUS_NO_DEVICE, "kernels of the device `%s` have no schedules to choose from", engine_target(model->engine)->name);
    Tune tune = {.arena = &cli->arena, .engine = model->engine, .options = options};
    tune.g = engine_graph(model->engine, &cli->arena, &cli->diag, model->module, &(LoadOptions){.train = model->train});
    int code = cli_diagnostics(cli);
    if (code || !tune.g)
        return code ? code : status_exit_code(STATUS_INTERNAL);
    status = tuning_open(NULL, place, true, &tune.db, &note, &why);
    if (note.text[0])
        cli_note(cli, "%s", note.text);
    if (status != STATUS_OK)
        return cli_fail(cli, status, &why);
    Watch watch = {cli, proc_now_s(), cli_catch_signals()};
    bool finished;
    tune_begin(&tune);
    if (!tune.n && options.match)
        cli_note(cli, "no kernel that has a choice is described with `%s`; `mixc tune FILE -v` prints the descriptions", options.match);
    status = tune_run(&tune, show_progress, &watch, &finished, &why);
    if (cli->tty_err && !cli_has(cli, OPT_QUIET))
        fprintf(stderr, "\r\033[K");
    if (status == STATUS_OK)
        print_result(cli, &tune, finished);
    tuning_close(tune.db);
    return status != STATUS_OK ? cli_fail(cli, status, &why) : *watch.interrupted ? status_exit_code(STATUS_INTERRUPTED) : 0;
}

int cli_tune(Cli *cli)
{
    return cli_with_model(cli, tune_model);
}
