// See train.h: the step loop.
#include "clock.h"
#include "train.h"

#include "generations.h"
#include "index_check.h"
#include "memory.h"
#include "replace_file.h"
#include "route_stats.h"
#include "schedule.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef struct Trainer {
    const TrainJob *job;
    Arena      *arena;
    const TrainSpec *spec;
    Dataset    *data;
    Net        *net, *eval_net, *generate_net;
    DataSlot   *slot; size_t n_slots;       // of the step's inputs
    const Slot **input;                     // [n_slots]
    const Slot *loss, *aux, *norm;
    Generator   generator;
    bool        can_generate;
    RunLog      log;
    Progress    progress;
    FILE       *log_file;
    Checkpoint  at;
    const char *newest;                     // the checkpoint to go on from
    int64_t     stop, every_log, every_eval, every_save, eval_batches;
    int64_t     items_per_step;             // tokens or pictures
    int         keep;                       // checkpoints
    double      start_s;                    // of this session
    double      seconds;                    // of training, over all sessions
    double      loss_sum, aux_sum, busy_s;  // since the last row
    int64_t     n_summed;
    double      last_norm, last_good;
} Trainer;

double run_number(const Module *m, const char *key, double otherwise)
{
    size_t n = strlen(key);
    for (size_t i = 0; i < m->n_run; i++) {
        const Field *f = &m->run[i];
        if (strncmp(f->key, key, n) || (f->key[n] && strcmp(f->key + n, ".0")))
            continue;
        char *end;
        double value = strtod(f->value, &end);
        if (end != f->value && !*end)
            return value;
    }
    return otherwise;
}

// Data, nets, first values. What is opened here train_close gives back.
static Status open_nets(Trainer *t, Diag *diag, StatusText *why)
{
    const TrainJob *job = t->job;
    const bool beside = !(t->spec->ema > 0);        // averaged weights are other weights: then evaluation has its own
    LoadJob load[3] = {{job->train, {.train = true}, false}};
    Net **place[3] = {&t->net}, *net[3] = {NULL};
    size_t n = 1;
    if (job->eval) {
        load[n] = (LoadJob){job->eval, {.train = false}, beside};
        place[n++] = &t->eval_net;
    }
    if (job->generate) {
        load[n] = (LoadJob){job->generate, {.train = false}, beside};
        place[n++] = &t->generate_net;
    }
    Status status = engine_load_all(job->engine, t->arena, diag, load, n, net, why);
    for (size_t i = 0; i < n; i++)
        *place[i] = net[i];
    return status;
}

static Status first_weights(Trainer *t, StatusText *why)
{
    const TrainJob *job = t->job;
    int64_t n = 0, *count = data_counts(t->data, t->arena, &n);
    Status status = net_init_counted(t->net, job->train, job->seed, count, (size_t)n, why);
    // The other nets may hold parameters that the step does not touch.
    if (status == STATUS_OK && t->eval_net)
        status = net_init_counted(t->eval_net, job->eval, job->seed, count, (size_t)n, why);
    if (status == STATUS_OK && t->generate_net)
        status = net_init_counted(t->generate_net, job->generate, job->seed, count, (size_t)n, why);
    Checkpoint ignored;
    if (status == STATUS_OK && job->resume)
        status = checkpoint_load(t->arena, t->newest, t->net, true, false, &ignored, why);
    else if (status == STATUS_OK && job->weights)
        status = checkpoint_load(t->arena, job->weights, t->net, false, true, &ignored, why);
    return status;
}

// The newest checkpoint that is whole, and what it says of the run; its tensors are read later.
static Status find_newest(Trainer *t, StatusText *why)
{
    int skipped = 0;
    Status status = generation_newest(t->arena, t->job->folder, &t->newest, &skipped, why);
    if (status == STATUS_OK)
        status = checkpoint_about(t->arena, t->newest, &t->at, why);
    if (status == STATUS_OK && skipped)
        fprintf(stderr, "mixc train: %d damaged checkpoint%s passed over\n", skipped, skipped == 1 ? " was" : "s were");
    return status;
}

// The data comes first: a file that is missing is named before anything is compiled, and what reading it takes is gone
// before the step's memory is there.
static Status open_data(Trainer *t, StatusText *why)
{
    const TrainJob *job = t->job;
    DataOptions options = {
        .path = job->data_path, .base = job->data_base, .state = t->at.data_state, .seed = job->seed};
    Status status = data_open(t->arena, job->train->data, job->train->n_data, &options, &t->data, why);
    memory_give_back();
    return status;
}

static Status bind_data(Trainer *t, StatusText *why)
{
    t->slot = data_slots_of(t->arena, t->net, &t->n_slots);
    t->input = arena_array(t->arena, const Slot *, t->n_slots + 1);
    t->items_per_step = 1;
    bool tokens = data_tokenizer(t->data) != NULL;
    for (size_t i = 0; i < t->n_slots; i++) {
        const DataSlot *s = &t->slot[i];
        int64_t items = 1;
        for (int d = 0; d < s->n_dims && (tokens || d < 1); d++)
            items *= s->size[d];
        if (s->dtype == DTYPE_I32 || !tokens)
            t->items_per_step = items > t->items_per_step ? items : t->items_per_step;
        t->input[i] = net_slot(t->net, BUFFER_INPUT, s->name);
    }
    t->items_per_step *= t->spec->grad_accum > 1 ? t->spec->grad_accum : 1;
    Status status = data_bind(t->data, t->slot, t->n_slots, why);
    if (status == STATUS_OK)
        status = data_check_ranges(t->data, module_graph(t->job->train, "main"), why);
    t->at.data_state = data_state(t->data);     // of pictures it is known only now
    return status;
}

static void set_intervals(Trainer *t)
{
    const Module *m = t->job->train;
    t->stop = t->job->stop ? t->job->stop : t->spec->steps > 0 ? t->spec->steps : (int64_t)run_number(m, "steps", 1000);
    t->every_log = (int64_t)run_number(m, "log", t->stop <= 200 ? 1 : 10);
    double tenth = fmax(25, floor((double)t->stop / 10));
    t->every_eval = (int64_t)run_number(m, "eval", tenth);
    t->every_save = (int64_t)run_number(m, "save", (double)t->every_eval);
    t->eval_batches = (int64_t)run_number(m, "eval.batches", 20);
    t->keep = (int)fmax(1, run_number(m, "save.keep", 2));
    t->every_log = t->every_log > 0 ? t->every_log : 1;
    t->loss = net_slot(t->net, BUFFER_OUTPUT, "loss.train");
    t->aux = net_slot(t->net, BUFFER_OUTPUT, "loss.aux");
    t->norm = net_slot(t->net, BUFFER_OUTPUT, "watch.grad_norm");
}

static Status open_log(Trainer *t, StatusText *why)
{
    const char *path = run_path(t->arena, t->job->folder, "log.jsonl");
    if (t->job->resume) {
        Status status = run_log_read(&t->log, path, t->at.step, why);
        if (status != STATUS_OK)
            return status;
    }
    Text kept = text_make(t->arena);        // rows up to the checkpoint: later ones will come again
    for (size_t i = 0; i < t->log.n_rows; i++) {
        log_row_print(&t->log.row[i], &kept);
        text_char(&kept, '\n');
        if (isfinite(t->log.row[i].seconds))
            t->seconds = t->log.row[i].seconds;
        if (isfinite(t->log.row[i].val_loss))
            t->progress.last_val = t->log.row[i].val_loss;
        if (isfinite(t->log.row[i].val_accuracy))
            t->progress.last_accuracy = t->log.row[i].val_accuracy;
    }
    Status status = file_replace(path, text_str(&kept), kept.n, why);
    if (status != STATUS_OK)
        return status;
    t->log_file = fopen(path, "a");
    return t->log_file ? STATUS_OK : status_fail(why, STATUS_IO, "%s: %s", path, strerror(errno));
}

static Status save(Trainer *t, StatusText *why)
{
    const Net *nets[] = {t->net, t->eval_net, t->generate_net};
    Arena scratch = {0};
    Status status = checkpoint_save(generation_path(&scratch, t->job->folder, t->at.step), nets, 3, &t->at, why);
    arena_free(&scratch);
    return status == STATUS_OK ? generation_publish(t->job->folder, t->at.step, t->keep, why) : status;
}

static Status write_text(const char *path, const Text *text, StatusText *why)
{
    return file_replace(path, text_str(text), text->n, why);
}

static Status write_report(Trainer *t, StatusText *why)
{
    const TrainJob *job = t->job;
    Report report = {.title = job->model_name,
                     .log = &t->log,
                     .field = job->field,
                     .n_fields = job->n_fields,
                     .model_text = job->model_text};
    Arena scratch = {0};
    Text html = text_make(&scratch), svg = text_make(&scratch);
    report_html(&report, &html);
    report_loss_svg(&report, &svg);
    Status status = write_text(run_path(&scratch, job->folder, "report.html"), &html, why);
    if (status == STATUS_OK)
        status = write_text(run_path(&scratch, job->folder, "loss.svg"), &svg, why);
    arena_free(&scratch);
    return status;
}

typedef struct Collect { const Tokenizer *tokenizer; Text text; const volatile sig_atomic_t *interrupted; } Collect;

static bool collect_token(void *user, int32_t token, double probability)
{
    (void)probability;
    Collect *c = user;
    tokenizer_decode(c->tokenizer, &token, 1, &c->text);
    return !*c->interrupted;
}

// A short text from the present weights; at most some seconds long.
static Status make_sample(Trainer *t, LogRow *row, StatusText *why)
{
    const Tokenizer *tokenizer = data_tokenizer(t->data);
    if (!t->can_generate || !tokenizer)
        return STATUS_OK;
    Collect c = {tokenizer, text_make(t->arena), t->job->interrupted};
    Status status = net_copy_weights(t->net, t->generate_net, t->spec->ema > 0, why);
    int32_t *prompt = NULL, zero = 0;
    size_t n_prompt = 0;
    StatusText quiet = {0};
    if (status == STATUS_OK && tokenizer_encode(tokenizer, "\n", 1, t->arena, &prompt, &n_prompt, &quiet) != STATUS_OK)
        n_prompt = 0;
    GenerateOptions options = {.sample = sample_options(t->job->generate->generate, t->job->generate->n_generate),
                               .seed = t->job->seed + (uint32_t)t->at.step,
                               .n_tokens = 200,
                               .limit_s = fmin(3, 0.5 + 0.02 * t->seconds)};
    if (status == STATUS_OK)
        status = generator_run(&t->generator, n_prompt ? prompt : &zero, n_prompt ? n_prompt : 1, &options,
                               collect_token, &c, why);
    if (status == STATUS_OK)
        row->sample = arena_strndup(t->arena, text_str(&c.text), tokenizer_whole(text_str(&c.text), c.text.n));
    return status;
}

static Status not_finite(Trainer *t, const char *what, double value, StatusText *why)
{
    Text help = text_make(t->arena);
    if (t->spec->clip == 0)
        text_add(&help, "train.clip=1, ");
    text_printf(&help, "a lower train.lr (it was %.3g)", t->spec->lr * schedule_factor(t->spec, t->at.step));
    if (t->spec->warmup == 0)
        text_add(&help, ", a warm-up");
    return status_fail(
        why, STATUS_NUMERIC,
        "the %s became %s at step %lld (the loss was %.4g before). The checkpoint in %s is untouched.\n"
        "help: try %s, or look at the batch: seed %u, number %lld",
        what, isnan(value) ? "nan" : "infinite", (long long)t->at.step, t->last_good, t->job->folder,
        text_str(&help), t->job->seed,
        (long long)(t->at.step - 1) * (t->spec->grad_accum > 1 ? t->spec->grad_accum : 1));
}

// A route that could not choose is named; else the step is.
static Status broken_step(Trainer *t, const char *what, double value, StatusText *why)
{
    StatusText route = {0};
    if (route_stats_check(t->job->train, t->net, &route) == STATUS_OK)
        return not_finite(t, what, value, why);
    return status_fail(why, STATUS_NUMERIC, "step %lld: %s", (long long)t->at.step, route.text);
}

static double read_scalar(Trainer *t, const Slot *slot)
{
    float value = NAN;
    StatusText ignored = {0};
    return slot && net_read(t->net, slot, &value, &ignored) == STATUS_OK ? (double)value : NAN;
}

static Status check_indices(Trainer *t, StatusText *why)
{
    StatusText index = {0};
    const Status status = index_check_step(t->net, &index);
    if (status != STATUS_OK)
        status_fail(why, status, "step %lld: %s.\nThe checkpoint in %s is untouched.", (long long)t->at.step + 1, index.text, t->job->folder);
    return status;
}

// One optimiser step: grad_accum runs. Leaves at.step one higher.
static Status one_step(Trainer *t, StatusText *why)
{
    int64_t parts = t->spec->grad_accum > 1 ? t->spec->grad_accum : 1;
    double begin = clock_seconds(), loss = 0, aux = 0;
    Status status = net_write_float(t->net, "lr", t->spec->lr * schedule_factor(t->spec, t->at.step + 1), why);
    for (int64_t k = 0; k < parts && status == STATUS_OK; k++) {
        int64_t number = t->at.step * parts + k;
        status = net_load_batch(t->net, t->data, DATA_TRAIN, number, t->slot, t->n_slots, why);
        if (status == STATUS_OK)
            status = net_write_int(t->net, "step", number, why);
        if (status == STATUS_OK)
            status = net_write_float(t->net, "apply", k + 1 == parts, why);
        if (status == STATUS_OK)
            status = net_run(t->net, why);
        if (status == STATUS_OK)
            status = check_indices(t, why);
        loss += read_scalar(t, t->loss) / (double)parts;
        aux += t->aux ? read_scalar(t, t->aux) / (double)parts : 0;
    }
    if (status != STATUS_OK)
        return status;
    t->at.step++;
    t->busy_s += clock_seconds() - begin;
    t->last_norm = read_scalar(t, t->norm);
    if (!isfinite(loss))
        return broken_step(t, "loss", loss, why);
    if (t->norm && !isfinite(t->last_norm))
        return broken_step(t, "gradient norm", t->last_norm, why);
    t->last_good = loss;
    t->loss_sum += loss;
    t->aux_sum += aux;
    t->n_summed++;
    return STATUS_OK;
}

// The scalars that the model logs, as they are after the last step.
static void read_watches(Trainer *t, LogRow *row)
{
    const Slot *slots;
    size_t n = net_slots(t->net, &slots);
    LogWatch *watch = NULL;
    for (size_t i = 0; i < n; i++) {
        const Slot *slot = &slots[i];
        bool wanted = (!strncmp(slot->name, "watch.", 6) || !strncmp(slot->name, "term.", 5)) && strncmp(slot->name, "watch.route.", 12);
        if (slot->kind != BUFFER_OUTPUT || slot->count != 1 || slot->dtype == DTYPE_I32 || !wanted || slot == t->norm)
            continue;
        watch = watch ? watch : arena_array(t->arena, LogWatch, n);
        watch[row->n_watches++] = (LogWatch){strchr(slot->name, '.') + 1, read_scalar(t, slot)};
    }
    row->watch = watch;
}

static const char *route_name(Trainer *t, const RouteStat *stat, size_t i)
{
    size_t use = 1;
    for (size_t k = 0; k < i; k++)
        use += !strcmp(stat[k].info->layer, stat[i].info->layer);
    return use == 1 ? stat[i].info->layer : arena_printf(t->arena, "%s use %zu", stat[i].info->layer, use);
}

// What the routes did in the last step. Only here does the host read it.
static void read_routes(Trainer *t, LogRow *row)
{
    RouteStat *stat;
    row->n_routes = route_stats_read(t->arena, t->job->train, t->net, &stat);
    LogRoute *route = arena_array(t->arena, LogRoute, row->n_routes + 1);
    for (size_t i = 0; i < row->n_routes; i++) {
        double *load = arena_array(t->arena, double, (size_t)stat[i].info->n_experts + 1);
        const double even = stat[i].choices / (double)stat[i].info->n_experts;
        for (int64_t e = 0; e < stat[i].info->n_experts; e++)
            load[e] = even > 0 ? stat[i].load[e] / even : 0;
        route[i] = (LogRoute){.name = route_name(t, stat, i), .load = load, .n_experts = (size_t)stat[i].info->n_experts,
                              .dropped = stat[i].choices > 0 ? stat[i].dropped / stat[i].choices : 0,
                              .entropy = stat[i].entropy, .n_dead = stat[i].n_dead};
    }
    row->route = route;
}

// The length of the first lines of a text.
static size_t first_lines(const char *text, int lines)
{
    const char *end = text;
    while (*end && lines > 0)
        lines -= *end++ == '\n';
    return (size_t)(end - text);
}

static Status add_row(Trainer *t, bool evaluate, bool last, StatusText *why)
{
    LogRow row = log_row_make();
    EvalScore score = {.loss = NAN, .accuracy = NAN};
    Status status = STATUS_OK;
    row.step = t->at.step;
    row.steps = t->stop;
    t->seconds += t->busy_s;
    if (t->n_summed) {
        row.loss = t->loss_sum / (double)t->n_summed;
        row.aux = t->aux ? t->aux_sum / (double)t->n_summed : NAN;
        row.tokens_per_s = (double)(t->items_per_step * t->n_summed) / fmax(t->busy_s, 1e-9);
    }
    row.lr = t->spec->lr * schedule_factor(t->spec, t->at.step);
    row.grad_norm = t->last_norm;
    read_watches(t, &row);
    read_routes(t, &row);
    row.seconds = t->seconds;
    t->loss_sum = t->aux_sum = t->busy_s = 0;
    t->n_summed = 0;
    if (evaluate && t->eval_net) {
        status = net_copy_weights(t->net, t->eval_net, t->spec->ema > 0, why);
        if (status == STATUS_OK)
            status = eval_score(t->eval_net, t->data, t->eval_batches, &score, why);
        row.val_loss = score.loss;
        row.val_accuracy = score.accuracy;
    }
    if (evaluate && t->eval_net && status == STATUS_OK && !isfinite(row.val_loss))
        status = not_finite(t, "validation loss", row.val_loss, why);
    if (evaluate && status == STATUS_OK)
        status = make_sample(t, &row, why);
    if (status == STATUS_OK && evaluate)
        status = data_bind(t->data, t->slot, t->n_slots, why);
    if (status != STATUS_OK)
        return status;
    run_log_add(&t->log, row);
    Arena scratch = {0};
    Text line = text_make(&scratch);
    log_row_print(&row, &line);
    bool written = fprintf(t->log_file, "%s\n", text_str(&line)) > 0 && fflush(t->log_file) == 0;
    arena_free(&scratch);
    if (!written)
        return status_fail(why, STATUS_IO, "%s/log.jsonl: %s", t->job->folder, strerror(errno));
    progress_row(&t->progress, &row, clock_seconds() - t->start_s, last);
    if (row.sample && t->progress.kind != PROGRESS_JSON)
        progress_say(&t->progress, "---- sample\n%.*s\n----", (int)first_lines(row.sample, 6), row.sample);
    return STATUS_OK;
}

static bool is_due(int64_t step, int64_t every)
{
    return every > 0 && step % every == 0;
}

static Status loop(Trainer *t, StatusText *why)
{
    Status status = STATUS_OK;
    int64_t saved = t->job->resume ? t->at.step : -1;
    while (status == STATUS_OK && t->at.step < t->stop && !*t->job->interrupted) {
        status = one_step(t, why);
        bool last = t->at.step == t->stop, evaluate = last || is_due(t->at.step, t->every_eval);
        if (status == STATUS_OK && (evaluate || is_due(t->at.step, t->every_log)))
            status = add_row(t, evaluate, last, why);
        if (status == STATUS_OK && (last || is_due(t->at.step, t->every_save))) {
            status = save(t, why);
            saved = t->at.step;
        }
        if (status == STATUS_OK && evaluate)
            status = write_report(t, why);
    }
    progress_end(&t->progress);
    if (status == STATUS_OK && *t->job->interrupted && t->at.step < t->stop) {
        t->seconds += t->busy_s;
        if (saved != t->at.step)
            status = save(t, why);
        if (status == STATUS_OK)
            status = write_report(t, why);
        if (status == STATUS_OK)
            return status_fail(why, STATUS_INTERRUPTED,
                               "stopped after step %lld and saved; go on with: --out %s --resume",
                               (long long)t->at.step, t->job->folder);
    }
    return status;
}

static void train_close(Trainer *t)
{
    if (t->log_file)
        fclose(t->log_file);
    net_free(t->generate_net);
    net_free(t->eval_net);
    net_free(t->net);
    if (t->data)
        data_close(t->data);
}

// What the loaded programs hold: the step's plan, what evaluation and samples have beside it, the threads' scratch. The
// evaluator plans nothing: 0.
static size_t planned_bytes(const Trainer *t)
{
    const Net *nets[] = {t->net, t->eval_net, t->generate_net};
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        LoadStats stats = {0};
        if (nets[i])
            net_stats(nets[i], &stats);
        bytes += stats.arena_bytes + stats.scratch_bytes;
    }
    return bytes;
}

static void say_end(Trainer *t, TrainMemory *out_memory)
{
    const double mib = 1048576;
    TrainMemory m = {planned_bytes(t), memory_peak_bytes()};
    *out_memory = m;
    if (m.planned_bytes && m.peak_bytes > m.planned_bytes)
        progress_say(&t->progress, "memory %.1f MiB planned, %.1f MiB at most: the program itself and the data are %.1f MiB",
                     (double)m.planned_bytes / mib, (double)m.peak_bytes / mib,
                     (double)(m.peak_bytes - m.planned_bytes) / mib);
}

static void say_start(Trainer *t)
{
    LoadStats stats;
    net_stats(t->net, &stats);
    size_t planned = planned_bytes(t);
    int64_t numbers = 0;
    const Slot *slots;
    size_t n = net_slots(t->net, &slots);
    for (size_t i = 0; i < n; i++)
        if (slots[i].kind == BUFFER_PARAM)
            numbers += slots[i].count;
    progress_say(&t->progress, "data   %s", data_summary(t->data));
    bool millions = numbers >= 1000000;
    progress_say(
        &t->progress, "model  %s: %.4g%s parameters; memory %.*f MiB; %s in %.2fs", t->job->model_name,
        (double)numbers / (millions ? 1e6 : 1e3), millions ? "M" : "k", planned < (size_t)10 << 20 ? 2 : 0,
        (double)planned / 1048576,
        stats.units && stats.cache_hits == stats.units ? "kernels from the cache" : "compiled", stats.compile_s);
    if (stats.library_kernels)
        progress_say(&t->progress, "       %d kernels are products of cuBLASLt", stats.library_kernels);
    if (stats.library_refused)
        progress_say(&t->progress, "note   %s", stats.library_refused);
    if (t->at.step)
        progress_say(&t->progress, "going on after step %lld", (long long)t->at.step);
}

Status train_run(Arena *arena, Diag *diag, const TrainJob *job, TrainMemory *out_memory, StatusText *why)
{
    Trainer t = {.job = job,
                 .arena = arena,
                 .spec = &job->train->train,
                 .last_good = NAN,
                 .last_norm = NAN,
                 .start_s = clock_seconds()};
    t.at = (Checkpoint){.seed = job->seed};
    t.log = run_log_make(arena);
    Status status = job->resume ? find_newest(&t, why) : STATUS_OK;
    if (status == STATUS_OK)
        status = open_data(&t, why);
    if (status == STATUS_OK)
        status = open_nets(&t, diag, why);
    if (status == STATUS_OK)
        status = first_weights(&t, why);
    if (status == STATUS_OK)
        status = bind_data(&t, why);
    if (status == STATUS_OK && t.generate_net)
        t.can_generate = generator_make(arena, NULL, diag, job->generate, t.generate_net, &t.generator, &(StatusText){0}) == STATUS_OK;
    if (status == STATUS_OK)
        status = net_write_int(t.net, "seed", (int64_t)job->seed, why);
    t.progress = progress_make(job->progress, job->progress_out, "tok/s", &t.log);
    if (status == STATUS_OK) {
        if (!data_tokenizer(t.data))
            t.progress.unit = "examples/s";
        set_intervals(&t);
        status = open_log(&t, why);
    }
    if (status == STATUS_OK) {
        say_start(&t);
        status = loop(&t, why);
        say_end(&t, out_memory);
    }
    train_close(&t);
    return status;
}
