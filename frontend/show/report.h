// report.html and loss.svg of a training run. One file each, nothing fetched from anywhere, readable without scripts,
// light and dark.
#ifndef MIXC_REPORT_H
#define MIXC_REPORT_H

#include "run_log.h"

typedef struct ReportField { const char *name, *value; } ReportField;

typedef struct Report {
    const char  *title;                     // the model
    const RunLog *log;
    const ReportField *field;               // sizes, optimiser, data, environment: shown as a table
    size_t       n_fields;
    const char  *model_text;                // the model's source
} Report;

void report_html(const Report *report, Text *out);
void report_loss_svg(const Report *report, Text *out);

#endif
