// `mixc view`: one self-contained page that shows the whole way of a model - source, graph after every pass, generated
// kernels, memory over the schedule, routing, times. Nothing is fetched from anywhere.
#ifndef MIXC_VIEW_H
#define MIXC_VIEW_H

#include "ceiling.h"

typedef struct ViewStage {                  // the graph after a pass
    const char *name, *summary;
    double      seconds;                    // that the pass took
    const char *text;                       // the graph as text
    uint32_t   *at;                         // the model's line that each line of the text stands for; 0: none
    size_t      n_values, n_stored, n_kernels;
    double      bytes;                      // of the stored values; before fusion of all
    double      flops;                      // floating-point operations, if each value is computed once
} ViewStage;

// What is kept of a graph, which may go away afterwards. `file`: the model's own source.
ViewStage view_stage(Arena *arena, const Graph *g, const Sources *sources, uint32_t file);

typedef struct ViewPage {
    const char   *title;                    // "models/gpt.mix, size tiny"
    const char   *about;                    // mode, device, threads
    const Sources *sources;
    uint32_t      file;                     // the model's own source
    const ViewStage *stage; size_t n_stages;
    const Module *module;                   // as built: its routes
    const Program *program;                 // planned
    const double *seconds;                  // [n_launches] least time of each; NULL: not measured
    Ceiling       ceiling;                  // of the device; flops 0: not measured
} ViewPage;

void view_html(const ViewPage *page, Text *out);

#endif
