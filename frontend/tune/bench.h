// Rows of measurements of one model: forward, training step, generation, and the kernels of the step.
#ifndef MIXC_BENCH_H
#define MIXC_BENCH_H

#include "ceiling.h"
#include "engine.h"

typedef struct BenchRow {
    const char *what;                       // "forward", "training step", "generation", or a kernel's name
    const char *detail;                     // a kernel's family and model line; ""
    size_t      repeats;
    double      mean_s, sd_s, least_s;      // of one run; of all the kernel's launches in one run
    double      work;                       // items per run: tokens or rows; 0: none
    const char *unit;                       // of work; ""
    double      flops, bytes, floor_s;      // of one run; the least time by the machine's ceilings
} BenchRow;

typedef struct Bench {
    Arena     *arena;
    Ceiling    ceiling;
    BenchRow  *row; size_t n, capacity;
} Bench;

// Fills the inputs of a net with made-up numbers that are in range; `g` is its fused graph. lr is small, step is 1.
Status bench_fill(Net *net, const Graph *g, Arena *scratch, StatusText *why);

// Times runs of the net, for at least `seconds` and at least 3 runs. Adds a row, and rows for its `n_kernels` costliest kernels.
Status bench_net(Bench *b, const char *what, Net *net, const Sources *sources, double seconds, size_t n_kernels, StatusText *why);

// Times generating tokens, one after the other. `net` is loaded on `engine`, for generation, from `m`.
Status bench_generate(Bench *b, Engine *engine, Diag *diag, const Module *m, Net *net, double seconds, StatusText *why);

typedef enum BenchForm { BENCH_MARKDOWN, BENCH_CSV, BENCH_JSON, BENCH_SQL } BenchForm;
// `about`: model, size and device, for the title or a column.
void   bench_print(const Bench *b, BenchForm form, const char *about, Text *out);

#endif
