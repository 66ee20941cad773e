// What a training run says while it runs: one line rewritten in place on a terminal, plain lines elsewhere, or JSON.
#ifndef MIXC_PROGRESS_H
#define MIXC_PROGRESS_H

#include "run_log.h"

#include <stdbool.h>
#include <stdio.h>

typedef enum ProgressKind { PROGRESS_NONE, PROGRESS_TTY, PROGRESS_PLAIN, PROGRESS_JSON } ProgressKind;

typedef struct Progress {
    ProgressKind kind;
    FILE        *out;
    bool         utf8;                      // the terminal shows block characters
    const char  *unit;                      // "tok/s", "img/s"
    const RunLog *log;                      // for the curve
    double       last_val, last_accuracy, last_shown_s;
    bool         line_open;                 // a line without its newline is on the terminal
} Progress;

Progress progress_make(ProgressKind kind, FILE *out, const char *unit, const RunLog *log);
// After a row was added to the log. `now_s`: seconds since the start; lines come at most every two seconds (on a
// terminal twenty a second), and always with a validation loss or when `last`.
void progress_row(Progress *p, const LogRow *row, double now_s, bool last);
// A message for people between the lines.
void progress_say(Progress *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Ends an open line.
void progress_end(Progress *p);

// One line: step 1840/5000  37%  loss 1.486  ...  eta 3m12s
void progress_line(const Progress *p, const LogRow *row, Text *out);

#endif
