// Text from a trained model, in mode generate, one row. The graph `main` computes a window of T tokens and fills the caches; the
// graph `next` goes on from there by one position at a time (passes/incremental.c). When the window is full its newer half is
// computed once more, at the positions that it then has, and so on.
#ifndef MIXC_GENERATE_H
#define MIXC_GENERATE_H

#include "engine.h"
#include "tokenizer.h"

typedef struct SampleOptions {
    double  temperature;                    // 0: the likeliest token
    int64_t top_k;                          // 0: all
    double  top_p;                          // 1: all
} SampleOptions;

// From the generate section: sampler = greedy, sample(temperature=0.8), top_k(40, temperature=0.8), top_p(0.9).
SampleOptions sample_options(const Field *field, size_t n_fields);

typedef struct Generator {
    Net         *net;                       // main; borrowed
    Net         *next;                      // one position, beside net; owned; NULL: each token costs a run of net
    int64_t      most_steps;                // up to so many tokens a prompt comes in by steps, with more of them by a run of net
    Net         *block;                     // beside net, to be run after each `n_block` positions; owned; NULL: nothing to do
    const Slot  *block_positions;           // int[n_block]
    int64_t      n_block;
    int32_t     *in_block;                  // [n_block]
    const char  *no_steps;                  // why there is no `next`
    const Graph *g;                         // what net runs; borrowed
    const Slot *tokens, *logits;            // int[B,T], f32[B,T,V]
    const Slot *next_tokens, *next_logits;  // int[B,now], f32[B,now,V]
    int64_t     window, n_vocab;
    int32_t    *row;                        // [count of tokens]
    float      *scores;                     // [n_vocab]
    struct Candidate *candidate;            // [n_vocab]
} Generator;

// Finds the input of tokens and the result of scores. BAD_MODEL when the model has no such pair. With an engine, on which `net`
// is loaded with LoadOptions.generate, a graph for one position is loaded beside net, where the model allows it; without
// (NULL), and on the reference device, the whole window is computed for each token. `m` is what net is made of.
Status generator_make(Arena *arena, Engine *engine, Diag *diag, const Module *m, Net *net, Generator *out, StatusText *why);
void   generator_close(Generator *g);       // before net is freed
// Up to how many tokens a text that begins comes in faster by steps than by one run of `main`; 0: it has to begin with such a run,
// because `next` reads caches that only main writes.
int64_t generate_most_steps(const Program *main, const Program *next);

typedef struct GenerateOptions {
    SampleOptions sample;
    uint32_t      seed;
    int64_t       n_tokens;
    double        limit_s;                  // stop after this many seconds; 0: no limit
} GenerateOptions;

// Called for each new token with its probability; false stops.
typedef bool GenerateEach(void *user, int32_t token, double probability);

// `prompt` has at least one token. BAD_MODEL when a token, given or drawn, is none of the model's.
Status generator_run(Generator *g, const int32_t *prompt, size_t n_prompt, const GenerateOptions *options,
                     GenerateEach *each, void *user, StatusText *why);

#endif
