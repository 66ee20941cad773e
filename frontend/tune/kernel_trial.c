// See kernel_trial.h.
#include "kernel_trial.h"

#include "codegen.h"
#include "eval.h"
#include "gpu_model.h"
#include "kernel_race.h"
#include "plan_memory.h"
#include "safetensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double most_evaluated = 2e8;   // operations; more would take longer than the search

typedef struct TrialState {
    const Trial *trial;
    FILE        *out;
    Arena        arena;
    Device      *device;
    Target       target;
    double     **input, **wanted;           // wanted[i] of output i; NULL: not known yet
    Racer       *racer;
} TrialState;

static const double *leaf_numbers(void *user, const Graph *g, const Node *leaf)
{
    const TrialState *s = user;
    return s->input[leaf - g->node];
}

static void say(TrialState *s, const char *what, size_t i, const char *why)
{
    fprintf(s->out, "%s %zu ", what, i);
    for (const char *c = why ? why : ""; *c; c++)
        fputc(*c == '\n' ? ' ' : *c, s->out);
    fputc('\n', s->out);
    fflush(s->out);
}

static double operations(const Program *p)
{
    double flops = 0;
    for (size_t i = 0; i < p->n_launches; i++)
        flops += p->launch[i].flops + p->launch[i].bytes;
    return flops;
}

// What the outputs are, from the evaluator; left open when that takes too long.
static void evaluate(TrialState *s, const Program *p)
{
    const Graph *g = s->trial->g;
    EvalResult result;
    StatusText why = {0};
    if (s->trial->is_final || operations(p) > most_evaluated || graph_eval_outputs(g, leaf_numbers, s, &s->arena, &result, &why) != STATUS_OK)
        return;
    s->wanted = arena_array(&s->arena, double *, g->n_outputs + 1);
    for (size_t i = 0; i < g->n_outputs; i++)
        s->wanted[i] = result.value[g->output[i].value];
}

static Status write_inputs(TrialState *s, const Racer *r, StatusText *why)
{
    const Program *p = r->program;
    Status status = STATUS_OK;
    for (uint32_t b = 1; b < p->n_buffers && status == STATUS_OK; b++) {
        const Buffer *buffer = &p->buffer[b];
        const size_t n = buffer->bytes / dtype_row[buffer->dtype].bytes;
        if (buffer->kind != BUFFER_INPUT)
            continue;
        char *data = malloc(buffer->bytes + 4);
        if (!data)
            return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for the inputs of a kernel");
        const double *x = s->input[buffer->value];
        for (size_t i = 0; i < n; i++)
            if (buffer->dtype == DTYPE_I32)
                ((int32_t *)(void *)data)[i] = (int32_t)x[i];
            else if (buffer->dtype == DTYPE_BF16)
                ((uint16_t *)(void *)data)[i] = st_to_bf16((float)x[i]);
            else
                ((float *)(void *)data)[i] = (float)x[i];
        status = s->trial->ops->write(r->loaded, b, 0, data, buffer->bytes, why);
        free(data);
    }
    return status;
}

// The results of output `o`, as doubles in the arena.
static double *read_output(TrialState *s, const Racer *r, size_t o, size_t *out_n, StatusText *why)
{
    const Program *p = r->program;
    const char *name = arena_printf(&s->arena, "output.%s", s->trial->g->output[o].name);
    const uint32_t b = program_find_buffer(p, BUFFER_OUTPUT, name);
    const Buffer *buffer = &p->buffer[b];
    const size_t n = *out_n = buffer->bytes / dtype_row[buffer->dtype].bytes;
    char *data = arena_array(&s->arena, char, buffer->bytes + 4);
    double *x = arena_array(&s->arena, double, n + 1);
    if (s->trial->ops->read(r->loaded, b, 0, data, buffer->bytes, why) != STATUS_OK)
        return NULL;
    for (size_t i = 0; i < n; i++)
        x[i] = buffer->dtype == DTYPE_I32 ? ((int32_t *)(void *)data)[i]
             : buffer->dtype == DTYPE_BF16 ? (double)st_from_bf16(((uint16_t *)(void *)data)[i])
             : (double)((float *)(void *)data)[i];
    return x;
}

// NULL: near enough. Otherwise a sentence.
static const char *compare(TrialState *s, size_t o, const double *got, size_t n)
{
    const Graph *g = s->trial->g;
    const double *want = s->wanted[o];
    bool is_short = false;
    for (ValueId v = 1; v < g->n_nodes; v++)
        is_short |= g->node[v].type.dtype == DTYPE_BF16;
    double most = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(want[i]))
            most = fmax(most, fabs(want[i]));
    const double allowed = (is_short ? 2e-2 : 1e-4) * most + 1e-30;
    for (size_t i = 0; i < n; i++) {
        const bool same = (isnan(want[i]) && isnan(got[i])) || want[i] == got[i] || fabs(want[i] - got[i]) <= allowed;
        if (!same)
            return arena_printf(&s->arena, "element %zu of %s is %.9g, not %.9g", i, g->output[o].name, got[i], want[i]);
    }
    return NULL;
}

static void drop(TrialState *s, Racer *r)
{
    if (r->loaded)
        s->trial->ops->unload(r->loaded);
    r->loaded = NULL;
}

static void check(TrialState *s, size_t i, StatusText *why)
{
    Racer *r = &s->racer[i];
    const Graph *g = s->trial->g;
    Status status = write_inputs(s, r, why);
    if (status == STATUS_OK)
        status = s->trial->ops->run(r->loaded, why);
    double **wanted = s->wanted ? s->wanted : arena_array(&s->arena, double *, g->n_outputs + 1);
    const char *wrong = NULL;
    for (size_t o = 0; o < g->n_outputs && status == STATUS_OK && !wrong; o++) {
        size_t n;
        double *got = read_output(s, r, o, &n, why);
        if (!got)
            status = STATUS_INTERNAL;
        else if (!s->wanted)
            wanted[o] = got;
        else
            wrong = compare(s, o, got, n);
    }
    if (status == STATUS_OK && !wrong) {
        s->wanted = wanted;                 // what the first gets right holds for the others
        return;
    }
    say(s, wrong ? "wrong" : "refused", i, wrong ? wrong : why->text);
    drop(s, r);
}

static const Schedule *forced_schedule(void *user, uint64_t kernel)
{
    (void)kernel;
    return user;
}

static void prepare(TrialState *s, size_t i)
{
    Racer *r = &s->racer[i];
    Target target = s->target;
    StatusText why = {0};
    Sources sources = sources_make(&s->arena);
    Diag diag = diag_make(&s->arena, &sources);
    const Schedules forced = {forced_schedule, (void *)&s->trial->schedule[i], s->target.schedules ? s->target.schedules->cost : (CostConstants){0}};
    target.schedules = &forced;
    say(s, "try", i, NULL);
    Program *p = codegen_program(&s->arena, &diag, s->trial->g, &target);
    if (!p || !plan_memory(p, &diag)) {
        say(s, "refused", i, "it cannot be generated");
        return;
    }
    p->sources = NULL;                      // spans are of the model's texts, which are not here; `sources` ends with this function
    r->program = p;
    if (i == 0)
        evaluate(s, p);
    if (s->trial->ops->load(s->device, p, &r->loaded, &why) != STATUS_OK) {
        say(s, "refused", i, why.text);
        r->loaded = NULL;
        return;
    }
    LoadStats stats;
    s->trial->ops->stats(r->loaded, &stats);
    if (!stats.library_refused) {
        check(s, i, &why);
        return;
    }
    say(s, "refused", i, stats.library_refused);        // our own kernel would be timed in its place
    drop(s, r);
}

static void race(TrialState *s)
{
    const Trial *t = s->trial;
    StatusText why = {0};
    Race race = {.ops = t->ops, .device = s->device, .target = &s->target, .racer = s->racer, .n = t->n, .seconds = t->seconds, .is_final = t->is_final,
                 .counted_as = gpu_device_find(t->counted_as)};
    if (race_run(&s->arena, &race, &why) != STATUS_OK) {
        say(s, "unable", 0, why.text);
        return;
    }
    for (size_t i = 0; i < t->n; i++)
        if (s->racer[i].loaded && s->racer[i].n_rounds)
            fprintf(s->out, "ok %zu %.9g %.9g %d %d\n", i, s->racer[i].seconds, s->racer[i].ratio, s->racer[i].n_rounds, s->racer[i].n_wins);
    fflush(s->out);
}

void trial_run(const Trial *trial, FILE *out)
{
    TrialState s = {.trial = trial, .out = out};
    StatusText why = {0};
    arena_init(&s.arena);
    if (trial->ops->open(trial->on_device, &s.device, &why) != STATUS_OK) {
        say(&s, "unable", 0, why.text);
        arena_free(&s.arena);
        return;
    }
    trial->ops->target(s.device, &s.target);
    s.target = trial->target ? *trial->target : s.target;
    s.input = trial_inputs(&s.arena, trial->g);
    s.racer = arena_array(&s.arena, Racer, trial->n + 1);
    for (size_t i = 0; i < trial->n; i++)
        prepare(&s, i);
    race(&s);
    for (size_t i = 0; i < trial->n; i++)
        drop(&s, &s.racer[i]);
    trial->ops->close(s.device);
    arena_free(&s.arena);
}
