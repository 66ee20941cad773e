// `mixc view`: one self-contained page that shows the whole way of a model - source, graph after every pass, generated
// kernels, memory over the schedule, routing, times. Nothing is fetched from anywhere.
#ifndef MIXC_VIEW_H
#define MIXC_VIEW_H

#include "engine.h"

typedef struct ViewStage {                  // the graph after a pass
    const char *name, *summary;
    double      seconds;                    // that the pass took
    const Graph *g;
} ViewStage;

typedef struct ViewPage {
    const char   *title;                    // "models/gpt.mix, size tiny"
    const char   *about;                    // mode, device, threads
    const Sources *sources;
    uint32_t      file;                     // the model's own source
    const ViewStage *stage; size_t n_stages;
    const Program *program;                 // planned
    const double *seconds;                  // [n_launches] least time of each; NULL: not measured
} ViewPage;

void view_html(const ViewPage *page, Text *out);

#endif
