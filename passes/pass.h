// A pass reads a module and fills a new one: graphs are never edited in place. Order: passes.def.
#ifndef MIXC_PASS_H
#define MIXC_PASS_H

#include "module.h"
#include "target.h"

typedef struct PassContext {
    Arena       *arena;                     // results live here
    Diag        *diag;
    const Target *target;
    bool         train;                     // the step graph is wanted, not only main
    bool         generate;                  // generation is wanted: next, where there can be one (incremental)
    size_t       max_bytes;                 // memory budget; 0: none (recompute)
    bool         bf16;                      // --dtype bf16; train.precision says it too (precision)
} PassContext;

typedef bool PassRun(PassContext *ctx, const Module *in, Module *out);

typedef struct Pass {
    const char *name, *summary;
    PassRun    *run;
} Pass;

extern const Pass pass_table[];             // in pipeline order
extern const size_t pass_count;

typedef struct PassHooks {
    // Called after each pass (and once before the first, with pass NULL). `index` counts from 1.
    void (*after)(void *user, size_t index, const Pass *pass, const Module *m);
    void  *user;
    bool   verify;                          // verify every graph and check that its text reads back, after every pass
} PassHooks;

// Runs the passes whose names are in `names` (NULL: all) in order. Returns NULL after an error in diag.
Module *passes_run(PassContext *ctx, const Module *in, const char *const *names, size_t n_names, const PassHooks *hooks);
const Pass *pass_find(const char *name);

// For passes.
// A module like `in`, in `arena`, still without graphs.
Module *module_without_graphs(Arena *arena, const Module *in);
// Rewrites every graph but `init`, which the evaluator runs once as it stands. False when a rewrite returns NULL.
bool    pass_each_graph(PassContext *ctx, const Module *in, Module *out, Graph *(*rewrite)(PassContext *, const Graph *));

#endif
