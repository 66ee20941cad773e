// Text from a trained model: the graph `main` in mode generate, one row, a window of the last T tokens; the next token
// is sampled at the last position.
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
    Net         *net;                       // borrowed
    const Graph *g;                         // what net runs; borrowed
    const Slot *tokens, *logits;            // int[B,T], f32[B,T,V]
    int64_t     window, n_vocab;
    int32_t    *row;                        // [count of tokens]
    float      *scores;                     // [count of logits]
    struct Candidate *candidate;            // [n_vocab]
} Generator;

// Finds the input of tokens and the result of scores. BAD_MODEL when the model has no such pair.
Status generator_make(Arena *arena, Net *net, const Graph *g, Generator *out, StatusText *why);

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
