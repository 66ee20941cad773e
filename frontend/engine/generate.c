// See generate.h.
#include "clock.h"
#include "generate.h"

#include "rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct Candidate { double weight; int32_t token; } Candidate;

static double field_number(const Field *field, size_t n_fields, const char *key, double otherwise)
{
    for (size_t i = 0; i < n_fields; i++)
        if (!strcmp(field[i].key, key)) {
            char *end;
            double value = strtod(field[i].value, &end);
            return end != field[i].value && !*end ? value : otherwise;
        }
    return otherwise;
}

static bool sampler_is(const Field *field, size_t n_fields, const char *name)
{
    for (size_t i = 0; i < n_fields; i++)
        if (!strcmp(field[i].key, "sampler.name") && !strcmp(field[i].value, name))
            return true;
    return false;
}

SampleOptions sample_options(const Field *field, size_t n)
{
    double first = field_number(field, n, "sampler.0", 0);
    SampleOptions o = {.temperature = sampler_is(field, n, "greedy") ? 0 : 1, .top_p = 1};
    if (sampler_is(field, n, "top_k"))
        o.top_k = (int64_t)first;
    if (sampler_is(field, n, "top_p") && first > 0)
        o.top_p = first;
    o.temperature = field_number(field, n, "temperature", field_number(field, n, "sampler.temperature", o.temperature));
    o.top_k = (int64_t)field_number(field, n, "top_k", field_number(field, n, "sampler.top_k", (double)o.top_k));
    o.top_p = field_number(field, n, "top_p", field_number(field, n, "sampler.top_p", o.top_p));
    return o;
}

static bool follows(const Slot *scores, const Slot *tokens)
{
    return scores->kind == BUFFER_OUTPUT && !strncmp(scores->name, "output.", 7) && scores->n_axes == 3
           && !strcmp(scores->axis[0], tokens->axis[0]) && !strcmp(scores->axis[1], tokens->axis[1]);
}

// The input of tokens and the result of scores of a net; NULL: there is none.
static void find_slots(const Net *net, const Slot **tokens, const Slot **scores)
{
    const Slot *slots;
    const size_t n = net_slots(net, &slots);
    *tokens = *scores = NULL;
    for (size_t i = 0; i < n && !*tokens; i++)
        if (slots[i].kind == BUFFER_INPUT && slots[i].dtype == DTYPE_I32 && slots[i].n_axes == 2)
            *tokens = &slots[i];
    for (size_t i = 0; i < n && *tokens && !*scores; i++)
        if (follows(&slots[i], *tokens))
            *scores = &slots[i];
}

// What a run takes, roughly, in floating-point operations: reading a byte takes as long as a few of them.
static double cost(const Program *p)
{
    enum { FLOPS_A_BYTE = 5 };
    double sum = 0;
    for (size_t i = 0; i < p->n_launches; i++)
        sum += fmax(p->launch[i].flops, FLOPS_A_BYTE * p->launch[i].bytes);
    return sum;
}

// Whether a program writes all caches that it reads: then a text can begin with it, and what they hold is of no matter.
static bool writes_caches(const Program *p)
{
    bool all = true;
    for (uint32_t b = 1; b < p->n_buffers; b++) {
        bool written = p->buffer[b].kind != BUFFER_STATE || strncmp(p->buffer[b].name, CACHE_PREFIX, sizeof CACHE_PREFIX - 1) != 0;
        for (size_t i = 0; i < p->n_launches && !written; i++) {
            const Launch *l = &p->launch[i];
            for (uint32_t a = 0; a < p->kernel[l->kernel].n_params && a < 64; a++)
                written |= l->buffer[a] == b && program_writes(&p->kernel[l->kernel], a);
        }
        all &= written;
    }
    return all;
}

int64_t generate_most_steps(const Program *main, const Program *next)
{
    return writes_caches(next) ? (int64_t)(cost(main) / fmax(cost(next), 1)) : 0;
}

static Status load_next(Arena *arena, Engine *engine, Diag *diag, const Module *m, Generator *g, StatusText *why)
{
    const LoadOptions options = {.generate = true, .graph = "next", .no_steps = &g->no_steps, .beside = g->net};
    Status status = engine_load(engine, arena, diag, m, &options, &g->next, why);
    if (g->no_steps)
        return STATUS_OK;
    if (status != STATUS_OK)
        return status;
    find_slots(g->next, &g->next_tokens, &g->next_logits);
    g->most_steps = generate_most_steps(net_program(g->net), net_program(g->next));
    if (!net_slot(g->net, BUFFER_INPUT, POSITION_NAME))
        return STATUS_OK;                   // only where convolutions go by blocks, main asks how many tokens there are
    const LoadOptions of_block = {.generate = true, .graph = "block", .beside = g->net};
    status = engine_load(engine, arena, diag, m, &of_block, &g->block, why);
    if (status == STATUS_OK) {
        g->block_positions = net_slot(g->block, BUFFER_INPUT, BLOCK_NAME);
        g->n_block = g->block_positions->count;
        g->in_block = arena_array(arena, int32_t, (size_t)g->n_block);
    }
    return status;
}

Status generator_make(Arena *arena, Engine *engine, Diag *diag, const Module *m, Net *net, Generator *out, StatusText *why)
{
    Generator g = {.net = net, .g = module_graph(m, "main")};
    find_slots(net, &g.tokens, &g.logits);
    if (!g.tokens)
        return status_fail(why, STATUS_BAD_MODEL, "the model has no input of tokens, int[B,T]");
    if (!g.logits)
        return status_fail(why, STATUS_BAD_MODEL, "the model has no result [%s,%s,V] with a score for every token",
                           g.tokens->axis[0], g.tokens->axis[1]);
    g.window = g.tokens->size[1];
    g.n_vocab = g.logits->size[2];
    g.row = arena_array(arena, int32_t, (size_t)g.tokens->count + 1);
    g.scores = arena_array(arena, float, (size_t)g.n_vocab + 1);
    g.candidate = arena_array(arena, Candidate, (size_t)g.n_vocab + 1);
    Status status = STATUS_OK;
    if (!engine || engine_is_reference(engine))
        g.no_steps = "whole windows are computed here";
    else
        status = load_next(arena, engine, diag, m, &g, why);
    if (status == STATUS_OK)
        *out = g;
    else
        generator_close(&g);
    return status;
}

void generator_close(Generator *g)
{
    net_free(g->block);
    net_free(g->next);
    g->next = g->block = NULL;
}

// Heavier first; equal ones by number, so that the choice is the same everywhere.
static int heavier(const void *a, const void *b)
{
    const Candidate *x = a, *y = b;
    if (x->weight != y->weight)
        return x->weight > y->weight ? -1 : 1;
    return x->token < y->token ? -1 : x->token > y->token;
}

// Draws a token from the scores: softmax at a temperature, cut to the likeliest ones. `u` is uniform in [0, 1).
static int32_t draw(Candidate *c, const float *score, int64_t n, const SampleOptions *o, double u,
                    double *out_probability)
{
    double most = -INFINITY, sum = 0;
    int64_t best = 0;
    for (int64_t i = 0; i < n; i++)
        if ((double)score[i] > most) {
            most = (double)score[i];
            best = i;
        }
    double temperature = o->temperature > 0 ? o->temperature : 1;
    for (int64_t i = 0; i < n; i++) {
        c[i] = (Candidate){exp(((double)score[i] - most) / temperature), (int32_t)i};
        sum += c[i].weight;
    }
    if (o->temperature <= 0) {
        *out_probability = c[best].weight / sum;
        return (int32_t)best;
    }
    int64_t kept = n;
    double kept_sum = sum;
    if ((o->top_k > 0 && o->top_k < n) || o->top_p < 1) {
        qsort(c, (size_t)n, sizeof *c, heavier);
        int64_t most_kept = o->top_k > 0 && o->top_k < n ? o->top_k : n;
        kept = 0;
        kept_sum = 0;
        while (kept < most_kept && (kept == 0 || kept_sum < o->top_p * sum))
            kept_sum += c[kept++].weight;
    }
    double left = u * kept_sum;
    int64_t i = 0;
    while (i + 1 < kept && left >= c[i].weight)
        left -= c[i++].weight;
    *out_probability = c[i].weight / kept_sum;
    return c[i].token;
}

// The scores after the `have` tokens in the row, by computing all of them.
static Status score_window(Generator *g, int64_t have, StatusText *why)
{
    Status status = net_check_input(g->g, g->tokens, g->row, why);
    if (status == STATUS_OK)
        status = net_write(g->net, g->tokens, g->row, why);
    if (status == STATUS_OK)
        status = net_write_int(g->net, POSITION_NAME, have, why);
    if (status == STATUS_OK)
        status = net_run(g->net, why);
    return status == STATUS_OK ? net_read_part(g->net, g->logits, (have - 1) * g->n_vocab, g->n_vocab, g->scores, why) : status;
}

// After the last position of a block: what it means for later ones.
static Status end_block(Generator *g, int64_t have, StatusText *why)
{
    if (!g->block || have % g->n_block || have == g->window)
        return STATUS_OK;
    for (int64_t i = 0; i < g->n_block; i++)
        g->in_block[i] = (int32_t)(have - g->n_block + i);
    const Status status = net_write(g->block, g->block_positions, g->in_block, why);
    return status == STATUS_OK ? net_run(g->block, why) : status;
}

// The same where the caches hold all but the last of them.
static Status score_next(Generator *g, int64_t have, StatusText *why)
{
    const int32_t token = g->row[have - 1];
    Slot one = *g->tokens;
    one.count = 1;
    Status status = net_check_input(g->g, &one, &token, why);
    if (status == STATUS_OK)
        status = net_write_part(g->next, g->next_tokens, 0, 1, &token, why);
    if (status == STATUS_OK)
        status = net_write_int(g->next, POSITION_NAME, have - 1, why);
    if (status == STATUS_OK)
        status = net_run(g->next, why);
    if (status == STATUS_OK)
        status = net_read_part(g->next, g->next_logits, 0, g->n_vocab, g->scores, why);
    return status == STATUS_OK ? end_block(g, have, why) : status;
}

// The scores after tokens that are not in the caches yet: a few of them come in one by one, more of them as a window.
static Status score_new(Generator *g, int64_t have, StatusText *why)
{
    if (!g->next || have > g->most_steps)
        return score_window(g, have, why);
    Status status = STATUS_OK;
    for (int64_t i = 1; i <= have && status == STATUS_OK; i++)
        status = score_next(g, i, why);
    return status;
}

// Takes a token in. In a full window only the newer half stays. Returns how many tokens there are now; *out_moved: they stand
// elsewhere than before.
static int64_t take_in(Generator *g, int64_t have, int32_t token, bool *out_moved)
{
    *out_moved = have == g->window;
    if (*out_moved) {
        const int64_t stay = g->window / 2;
        memmove(g->row, g->row + (have - stay), (size_t)stay * sizeof *g->row);
        memset(g->row + stay, 0, (size_t)(have - stay) * sizeof *g->row);
        have = stay;
    }
    g->row[have] = token;
    return have + 1;
}

Status generator_run(Generator *g, const int32_t *prompt, size_t n_prompt, const GenerateOptions *options,
                     GenerateEach *each, void *user, StatusText *why)
{
    int64_t have = (int64_t)n_prompt < g->window ? (int64_t)n_prompt : g->window;
    memset(g->row, 0, (size_t)g->tokens->count * sizeof *g->row);
    memcpy(g->row, prompt + (n_prompt - (size_t)have), (size_t)have * sizeof *g->row);
    double begin = clock_seconds();
    uint32_t key = rng_key(options->seed, 0, 0x9e4e7a7eu);
    bool is_new = true;
    for (int64_t i = 0; i < options->n_tokens; i++) {
        Status status = g->next && !is_new ? score_next(g, have, why) : score_new(g, have, why);
        if (status != STATUS_OK)
            return status;
        for (int64_t v = 0; v < g->n_vocab; v++)
            if (isnan(g->scores[v]))
                return status_fail(why, STATUS_NUMERIC,
                                   "the scores of the next token are not numbers; are the weights damaged?");
        double probability;
        int32_t token = draw(g->candidate, g->scores, g->n_vocab, &options->sample, rng_uniform(key, (uint32_t)i), &probability);
        if (!each(user, token, probability))
            return STATUS_OK;
        have = take_in(g, have, token, &is_new);
        if (options->limit_s > 0 && clock_seconds() - begin > options->limit_s)
            break;
    }
    return STATUS_OK;
}
