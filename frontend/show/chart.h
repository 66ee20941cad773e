// Line charts as SVG text, for reports. Colours come from CSS classes (chart_style), light and dark.
#ifndef MIXC_CHART_H
#define MIXC_CHART_H

#include "text.h"

typedef struct ChartLine {
    const char   *label;
    const char   *style;                    // "raw" (faint), "main", "second": classes of chart_style
    const double *x, *y;                    // n of each; points that are not finite are gaps
    size_t        n;
    bool          dots;
} ChartLine;

typedef struct Chart {
    const char *title, *x_label;
    int         width, height;
    ChartLine   line[4];
    size_t      n_lines;
} Chart;

extern const char chart_style[];            // CSS for the classes used
// `alone`: a file of its own (name space and style inside), else a piece of HTML.
void chart_svg(const Chart *chart, bool alone, Text *out);
// Adds text with <, >, & and quotes escaped; control characters other than newline and tab, and bytes that are
// not UTF-8, become U+FFFD.
void html_text(Text *out, const char *text);

#endif
