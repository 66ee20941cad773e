// mixc tune: searches faster schedules for the kernels of a model and keeps what it measures.
#include "cli_engine.h"
#include "cli_signal.h"
#include "gpu_model.h"
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
    double      by_default, ratio;          // 0: not known; of the best schedule's time to the default's
    const char *schedule;
    size_t      failed;
} Best;

typedef struct Found {
    Arena      *arena;
    const Tune *tune;
    Best       *best;                       // [tune->n]
} Found;

static Best *best_of(const Found *f, uint64_t kernel)
{
    for (size_t i = 0; i < f->tune->n; i++)
        if (f->tune->kernel[i].key == kernel)
            return &f->best[i];
    return NULL;
}

static void collect(void *user, const TuningRow *row)
{
    Best *b = best_of(user, row->kernel);
    if (!b)
        return;
    b->failed += row->outcome != TUNING_OK;
    if (!strcmp(row->schedule, "default") && row->outcome == TUNING_OK)
        *b = (Best){.by_default = row->seconds, .ratio = 1, .schedule = "default", .failed = b->failed};
}

static void collect_winner(void *user, const TuningRow *row)
{
    const Found *f = user;
    Best *b = best_of(f, row->kernel);
    if (b && b->schedule) {
        b->ratio = row->final;
        b->schedule = arena_strdup(f->arena, row->schedule);
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
        const double gain = 1 - best[i].ratio, of_step = best[i].by_default * (double)t->kernel[i].instances;
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
    text_printf(out, ", \"outcome\": \"%s\", \"seconds\": %.9g, \"default_seconds\": %.9g, ", tuning_outcome_text[row->outcome], row->seconds,
                row->beside);
    if (row->final > 0)
        text_printf(out, "\"final_ratio\": %.6g, \"rounds\": %d, \"wins\": %d, ", row->final, row->rounds, row->wins);
    text_add(out, "\"about\": ");
    text_json(out, row->about);
    text_add(out, "}");
}

static void print_json_best(void *user, const TuningRow *row)
{
    Text *out = user;
    text_printf(out, "%s\n  \"%016llx\": ", text_str(out)[out->n - 1] == '{' ? "" : ",", (unsigned long long)row->kernel);
    text_json(out, row->schedule);
}

static void print_result(Cli *cli, Tune *t, bool finished)
{
    if (cli_has(cli, OPT_JSON)) {
        Text text = text_make(&cli->arena);
        text_add(&text, "{\"timings\": [");
        tuning_list(t->db, print_json_row, &(JsonRows){t, &text});
        text_add(&text, "\n], \"best\": {");
        tuning_winners(t->db, print_json_best, &text);
        text_printf(&text, "\n}, \"finished\": %s}\n", finished ? "true" : "false");
        fputs(text_str(&text), stdout);
        return;
    }
    Found found = {&cli->arena, t, arena_array(&cli->arena, Best, t->n + 1)};
    tuning_list(t->db, collect, &found);
    tuning_winners(t->db, collect_winner, &found);
    print_table(cli, t, found.best);
    if (!finished)
        printf("%zu of %zu schedules are measured, %zu of %zu kernels are done; the same command goes on from here\n", t->n_known,
               t->n_candidates, t->n_settled, t->n);
}

// --- schedules that the user chose

enum { MOST_TRIED = 64 };

// "A; B": the default, then these.
static bool read_schedules(Cli *cli, Schedule *out, size_t *out_n)
{
    *out_n = 1;
    out[0] = (Schedule){0};
    for (const char *at = cli->value[OPT_TRY]; *at; at += strspn(at, "; ")) {
        size_t n = strcspn(at, ";");
        const char *next = at + n;
        while (n && at[n - 1] == ' ')
            n--;
        const char *text = arena_strndup(&cli->arena, at, n);
        if (*out_n == MOST_TRIED || !schedule_parse(text, &out[*out_n])) {
            cli_usage(cli, "--try takes schedules like \"tile_rows=8 pack=2; terms=128\" (at most %d), not `%s`; docs/tuning.md has the knobs", MOST_TRIED - 1,
                      text);
            return false;
        }
        ++*out_n;
        at = next;
    }
    return true;
}

typedef struct Heats {
    Cli        *cli;
    Tune       *tune;
    const Schedule *schedule;
    Text       *json;                       // NULL: a table
    const TuneKernel *last;
    size_t      n;
} Heats;

static void show_heat(void *user, const TuneKernel *k, const TuneHeat *heat)
{
    Heats *h = user;
    const char *schedule = schedule_text(h->tune->arena, &h->schedule[heat->schedule]);
    const bool is_ok = !strcmp(heat->outcome, "ok");
    if (h->json) {
        text_printf(h->json, "%s{\"kernel\": \"%016llx\", \"race\": %d, \"schedule\": ", h->n++ ? ",\n  " : "\n  ", (unsigned long long)k->key, heat->race);
        text_json(h->json, schedule);
        text_printf(h->json, ", \"outcome\": \"%s\", \"seconds\": %.9g, \"ratio\": %.6g, \"rounds\": %d, \"wins\": %d}", heat->outcome, heat->seconds,
                    heat->ratio, heat->rounds, heat->wins);
        return;
    }
    if (h->last != k)
        printf("%s\n%4s  %10s  %8s  %9s  schedule\n", k->about, "race", "ms", "default", "faster in");
    h->last = k;
    if (is_ok)
        printf("%4d  %10.4f  %7.1f%%  %4d/%-4d  %s\n", heat->race + 1, heat->seconds * 1e3, 100 * heat->ratio, heat->wins, heat->rounds, schedule);
    else
        printf("%4d  %10s  %8s  %9s  %s\n", heat->race + 1, heat->outcome, "", "", schedule);
}

static int try_schedules(Cli *cli, Tune *tune)
{
    Schedule schedule[MOST_TRIED];
    size_t n;
    StatusText why = {0};
    if (!read_schedules(cli, schedule, &n))
        return status_exit_code(STATUS_BAD_USAGE);
    tune_begin(tune);
    if (!tune->n)
        cli_note(cli, "there is no such kernel that has a choice");
    Text text = text_make(&cli->arena);
    Heats heats = {.cli = cli, .tune = tune, .schedule = schedule, .json = cli_has(cli, OPT_JSON) ? &text : NULL};
    const Status status = tune_try(tune, schedule, n, TUNING_RACES, show_heat, &heats, &why);
    if (heats.json)
        printf("{\"heats\": [%s\n]}\n", text_str(&text));
    return status == STATUS_OK ? 0 : cli_fail(cli, status, &why);
}

// --- the search

static int tune_model(Cli *cli, CliModel *model)
{
    StatusText why = {0}, note = {0};
    int64_t candidates = 8, kernels = 0;
    TuneOptions options = {.seconds = 0.02, .match = cli->value[OPT_KERNEL], .counted_as = cli->value[OPT_AS], .on_device.threads = cli->threads};
    if (!read_time(cli, &options.budget_s) || !cli_int(cli, OPT_CANDIDATES, 2, 100000, &candidates)
        || !cli_int(cli, OPT_KERNELS, 1, 100000, &kernels))
        return status_exit_code(STATUS_BAD_USAGE);
    if (!gpu_device_find(options.counted_as)) {
        cli_usage(cli, "--as takes one of %s, not `%s`", gpu_device_names(&cli->arena), options.counted_as);
        return status_exit_code(STATUS_BAD_USAGE);
    }
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
    if (options.counted_as && gpu_device_find(options.counted_as) != gpu_device_find(NULL))
        place = arena_printf(&cli->arena, "%sas %s\n", place, options.counted_as);         // kept apart: runs use what was found for the usual one
    Tune tune = {.arena = &cli->arena, .engine = model->engine, .options = options};
    tune.g = engine_graph(model->engine, &cli->arena, &cli->diag, model->module, &(LoadOptions){.train = model->train});
    int code = cli_diagnostics(cli);
    if (code || !tune.g)
        return code ? code : status_exit_code(STATUS_INTERNAL);
    if (engine_target(model->engine)->schedules)
        tune.face.cost = engine_target(model->engine)->schedules->cost;
    if (cli_has(cli, OPT_TRY))
        return try_schedules(cli, &tune);
    status = tuning_open(NULL, place, true, &tune.db, &note, &why);
    if (note.text[0])
        cli_note(cli, "%s", note.text);
    if (status != STATUS_OK)
        return cli_fail(cli, status, &why);
    status = tune_calibrate(&tune, place, cli_has(cli, OPT_CALIBRATE), &why);
    if (status != STATUS_OK) {
        tuning_close(tune.db);
        return cli_fail(cli, status, &why);
    }
    if (cli_has(cli, OPT_CALIBRATE))
        cli_note(cli, "a launch takes %.0f cycles, a float to memory and back %.2f of a thread", tune.face.cost.launch, tune.face.cost.copy);
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
