// See kernel_trial.h.
#include "kernel_trial.h"

#include "codegen.h"
#include "eval.h"
#include "plan_memory.h"
#include "proc.h"
#include "safetensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { MOST_ROUNDS = 40, LEAST_ROUNDS = 5, MOST_ATTEMPTS = 4 };
static const double most_evaluated = 2e8;   // operations; more would take longer than the search

typedef struct Runner {                     // one schedule
    const Program *program;
    LoadedProgram *loaded;                  // NULL: out of the race
    double         least;
    int            rounds;
} Runner;

typedef struct TrialState {
    const Trial *trial;
    FILE        *out;
    Arena        arena;
    Device      *device;
    Target       target;
    double     **input, **wanted;           // wanted[i] of output i; NULL: not known yet
    Runner      *runner;
    double      *seconds;                   // of the launches of a run
    char        *flush; size_t flush_bytes;
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
    if (operations(p) > most_evaluated || graph_eval_outputs(g, leaf_numbers, s, &s->arena, &result, &why) != STATUS_OK)
        return;
    s->wanted = arena_array(&s->arena, double *, g->n_outputs + 1);
    for (size_t i = 0; i < g->n_outputs; i++)
        s->wanted[i] = result.value[g->output[i].value];
}

static Status write_inputs(TrialState *s, const Runner *r, StatusText *why)
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
static double *read_output(TrialState *s, const Runner *r, size_t o, size_t *out_n, StatusText *why)
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

static void drop(TrialState *s, Runner *r)
{
    if (r->loaded)
        s->trial->ops->unload(r->loaded);
    r->loaded = NULL;
}

static void check(TrialState *s, size_t i, StatusText *why)
{
    Runner *r = &s->runner[i];
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
    Runner *r = &s->runner[i];
    Target target = s->target;
    StatusText why = {0};
    Sources sources = sources_make(&s->arena);
    Diag diag = diag_make(&s->arena, &sources);
    const Schedules forced = {forced_schedule, (void *)&s->trial->schedule[i]};
    target.schedules = &forced;
    say(s, "try", i, NULL);
    Program *p = codegen_program(&s->arena, &diag, s->trial->g, &target);
    if (!p || !plan_memory(p, &diag)) {
        say(s, "refused", i, "it cannot be generated");
        return;
    }
    r->program = p;
    if (i == 0)
        evaluate(s, p);
    if (s->trial->ops->load(s->device, p, &r->loaded, &why) != STATUS_OK) {
        say(s, "refused", i, why.text);
        r->loaded = NULL;
        return;
    }
    check(s, i, &why);
}

// How often others took a processor from our threads so far.
static long interruptions(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_nivcsw : 0;
}

// A run in which another process had our processor says nothing of the kernel, so it is repeated, a few times.
static void time_once(TrialState *s, Runner *r)
{
    StatusText why = {0};
    for (int attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
        if (s->trial->ops->chill && s->trial->ops->chill(r->loaded, &why) != STATUS_OK)
            return;
        if (!s->trial->ops->chill)
            memset(s->flush, r->rounds, s->flush_bytes);
        const long before = interruptions();
        if (s->trial->ops->run_timed(r->loaded, s->seconds, &why) != STATUS_OK)
            return;
        const bool is_clean = interruptions() == before;
        double sum = 0;
        for (size_t l = 0; l < r->program->n_launches; l++)
            sum += s->seconds[l];
        r->least = r->rounds == 0 || sum < r->least ? sum : r->least;
        r->rounds++;
        if (is_clean)
            return;
    }
}

// How much slower than the best so far a schedule may be and stay in the race.
static double still_in(int round)
{
    return round < 3 ? INFINITY : round < 6 ? 1.3 : round < 12 ? 1.12 : 1.06;
}

// In turns, so that a neighbour's noise meets all alike; who is far behind drops out. The default stays: it is what the others
// are held against.
static void race(TrialState *s)
{
    const size_t n = s->trial->n;
    double best = INFINITY;
    for (int round = 0; round < MOST_ROUNDS; round++) {
        double spent = 0;
        for (size_t i = 0; i < n; i++) {
            Runner *r = &s->runner[i];
            if (!r->loaded || (i > 0 && r->rounds > 0 && r->least > still_in(round) * best))
                continue;
            time_once(s, r);
            best = fmin(best, r->least);
            spent = fmax(spent, r->least * r->rounds);
        }
        if (round + 1 >= LEAST_ROUNDS && spent > s->trial->seconds)
            break;
    }
    for (size_t i = 0; i < n; i++)
        if (s->runner[i].loaded && s->runner[i].rounds)
            fprintf(s->out, "ok %zu %.9g\n", i, s->runner[i].least);
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
    s.flush_bytes = s.target.l2_bytes * 4 + ((size_t)8 << 20);
    s.input = trial_inputs(&s.arena, trial->g);
    s.runner = arena_array(&s.arena, Runner, trial->n + 1);
    for (size_t i = 0; i < trial->n; i++)
        prepare(&s, i);
    size_t most = 1;
    for (size_t i = 0; i < trial->n; i++)
        if (s.runner[i].program && s.runner[i].program->n_launches > most)
            most = s.runner[i].program->n_launches;
    s.seconds = arena_array(&s.arena, double, most);
    s.flush = arena_array(&s.arena, char, s.flush_bytes);
    race(&s);
    for (size_t i = 0; i < trial->n; i++)
        drop(&s, &s.runner[i]);
    trial->ops->close(s.device);
    arena_free(&s.arena);
}
