// The log of a training run: one JSON object a line (log.jsonl), the same that --progress json prints. The report and
// the curves are made from it, so a resumed run has its whole history.
#ifndef MIXC_RUN_LOG_H
#define MIXC_RUN_LOG_H

#include "status.h"
#include "text.h"

#include <stdint.h>

enum { RUN_LOG_SCHEMA = 1 };

typedef struct LogWatch {                   // a `watch`, balance term or penalty of the model, at the row's step
    const char *name;
    double      value;
} LogWatch;

typedef struct LogRoute {                   // a use of a `route` in the row's step
    const char   *name;                     // path of its layer; with several uses of it "PATH use 2"
    const double *load; size_t n_experts;   // choices of each expert, relative to an even share
    double        dropped;                  // share of the choices
    double        entropy;                  // of the router, in nats, mean over tokens; NaN: not known
    int64_t       n_dead;                   // experts that nobody chose
} LogRoute;

typedef struct LogRow {                     // what is not known is NaN or NULL
    int64_t step, steps;                    // steps done; planned
    double  loss;                           // mean since the last row
    double  aux;                            // its part in balance terms and penalties
    double  lr, grad_norm;
    double  tokens_per_s, seconds;          // seconds of training so far, over all sessions
    double  val_loss, val_accuracy;         // accuracy: of data with labels
    const char *sample;                     // generated text
    const LogWatch *watch; size_t n_watches;
    const LogRoute *route; size_t n_routes;
} LogRow;

typedef struct RunLog {
    Arena  *arena;                          // borrowed
    LogRow *row;
    size_t  n_rows, capacity;
} RunLog;

RunLog run_log_make(Arena *arena);
LogRow log_row_make(void);                  // everything unknown
void   run_log_add(RunLog *log, LogRow row);
// The row as one line of JSON without a newline; unknown fields are left out.
void   log_row_print(const LogRow *row, Text *out);
// Reads a file, up to and including step `last`; a last line that was cut off is ignored. A missing file is empty.
Status run_log_read(RunLog *log, const char *path, int64_t last, StatusText *why);

#endif
