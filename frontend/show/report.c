// See report.h.
#include "report.h"

#include "chart.h"
#include "route_chart.h"

#include <math.h>
#include <string.h>

typedef struct Curve { double *x, *y; size_t n; } Curve;

typedef double LogNumber(const LogRow *row);

static double row_loss(const LogRow *row) { return row->loss; }
static double row_val(const LogRow *row) { return row->val_loss; }
static double row_lr(const LogRow *row) { return row->lr; }
static double row_norm(const LogRow *row) { return row->grad_norm; }
static double row_rate(const LogRow *row) { return row->tokens_per_s; }

static Curve curve_of(Arena *arena, const RunLog *log, LogNumber *number)
{
    Curve c = {arena_array(arena, double, log->n_rows + 1), arena_array(arena, double, log->n_rows + 1), 0};
    for (size_t i = 0; i < log->n_rows; i++) {
        double y = number(&log->row[i]);
        if (isfinite(y)) {
            c.x[c.n] = (double)log->row[i].step;
            c.y[c.n++] = y;
        }
    }
    return c;
}

// An exponential mean over about 1/50 of the curve; started without bias.
static Curve smooth(Arena *arena, Curve raw)
{
    Curve c = {raw.x, arena_array(arena, double, raw.n + 1), raw.n};
    double keep = 1 - 1 / fmax(1, (double)raw.n / 50), mean = 0, weight = 0;
    for (size_t i = 0; i < raw.n; i++) {
        mean = keep * mean + (1 - keep) * raw.y[i];
        weight = keep * weight + (1 - keep);
        c.y[i] = mean / weight;
    }
    return c;
}

typedef enum LossChart { LOSS_ALONE, LOSS_WIDE, LOSS_NARROW } LossChart;

static void loss_chart(Arena *arena, const Report *report, LossChart form, Text *out)
{
    Curve raw = curve_of(arena, report->log, row_loss), train = smooth(arena, raw),
          val = curve_of(arena, report->log, row_val);
    Chart chart = {.title = "Loss", .x_label = "step", .width = form == LOSS_NARROW ? 360 : 720,
                   .height = form == LOSS_NARROW ? 240 : 340, .n_lines = 3, .line = {
        {"train", "raw", raw.x, raw.y, raw.n, false}, {"train", "main", train.x, train.y, train.n, false},
        {"val", "second", val.x, val.y, val.n, true}}};
    chart_svg(&chart, form == LOSS_ALONE, out);
}

static void draw_small(const char *title, Curve c, Text *out)
{
    if (c.n < 2)
        return;
    Chart chart = {.title = title, .x_label = "step", .width = 360, .height = 210, .n_lines = 1,
                   .line = {{"now", "main", c.x, c.y, c.n, false}}};
    text_add(out, "<figure>");
    chart_svg(&chart, false, out);
    text_add(out, "</figure>\n");
}

static void small_chart(Arena *arena, const Report *report, const char *title, LogNumber *number, Text *out)
{
    draw_small(title, curve_of(arena, report->log, number), out);
}

// A chart for each scalar that the model watches.
static void watch_charts(Arena *arena, const Report *report, Text *out)
{
    const RunLog *log = report->log;
    const LogRow *last = log->n_rows ? &log->row[log->n_rows - 1] : NULL;
    for (size_t w = 0; last && w < last->n_watches; w++) {
        Curve c = {arena_array(arena, double, log->n_rows + 1), arena_array(arena, double, log->n_rows + 1), 0};
        for (size_t i = 0; i < log->n_rows; i++)
            for (size_t k = 0; k < log->row[i].n_watches; k++)
                if (!strcmp(log->row[i].watch[k].name, last->watch[w].name) && isfinite(log->row[i].watch[k].value)) {
                    c.x[c.n] = (double)log->row[i].step;
                    c.y[c.n++] = log->row[i].watch[k].value;
                }
        draw_small(last->watch[w].name, c, out);
    }
}

void report_loss_svg(const Report *report, Text *out)
{
    Arena scratch;
    arena_init(&scratch);
    scratch.out_of_memory = out->arena->out_of_memory;
    scratch.user = out->arena->user;
    loss_chart(&scratch, report, LOSS_ALONE, out);
    arena_free(&scratch);
}

static const char page_style[] =
    ":root{color-scheme:light dark;--ink:#1c2430;--faint:#5b6675;--paper:#fff;--panel:#f5f7fa;--line:#dfe4ea}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--faint:#93a0b3;--paper:#12161c;--panel:#1a2029;--line:#2c3542}}\n"
    "body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:1020px;margin:0 auto;padding:28px 20px 60px}\n"
    "h1{font-size:24px;margin:0 0 4px}h2{font-size:17px;margin:34px 0 10px}p.lead{color:var(--faint);margin:0 0 20px}\n"
    ".tiles{display:flex;flex-wrap:wrap;gap:12px;margin:0 0 20px}.tile{background:var(--panel);border-radius:8px;padding:10px 16px;min-width:110px}\n"
    ".tile b{display:block;font-size:20px;font-variant-numeric:tabular-nums}.tile span{color:var(--faint);font-size:13px}\n"
    "figure{margin:0;background:var(--panel);border-radius:8px;padding:8px}svg.chart{display:block;width:100%;height:auto}\n"
    "figcaption{color:var(--faint);font-size:13px;padding:2px 8px 4px}.routes figure{margin-top:14px;overflow-x:auto}.routes svg.chart{min-width:34rem}\n"
    ".row{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:14px;margin-top:14px}\n"
    "table{border-collapse:collapse;width:100%}td{padding:4px 10px;border-bottom:1px solid var(--line);vertical-align:top}\n"
    "td:first-child{color:var(--faint);white-space:nowrap;width:1%}td+td{font-family:ui-monospace,monospace;font-size:13px;overflow-wrap:anywhere}\n"
    "pre{background:var(--panel);border-radius:8px;padding:12px 16px;overflow:auto;font:13px/1.5 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere}\n"
    ".narrow{display:none}@media(max-width:560px){.wide{display:none}.narrow{display:block}}\n"
    "details summary{cursor:pointer;color:var(--faint)}\n";

static void tile(Text *out, const char *label, const char *format, double value)
{
    if (!isfinite(value))
        return;
    text_add(out, "<div class=\"tile\"><b>");
    text_printf(out, format, value);
    text_printf(out, "</b><span>%s</span></div>\n", label);
}

static void duration(Text *out, double seconds)
{
    long s = (long)(seconds + 0.5);
    if (s >= 3600)
        text_printf(out, "%ldh %02ldm", s / 3600, s / 60 % 60);
    else if (s >= 60)
        text_printf(out, "%ldm %02lds", s / 60, s % 60);
    else
        text_printf(out, "%.1fs", seconds);
}

static void summary_tiles(const RunLog *log, Text *out)
{
    double val = NAN, best = NAN, accuracy = NAN, seconds = NAN, loss = NAN, rate = 0;
    size_t n_rates = 0;
    for (size_t i = 0; i < log->n_rows; i++) {
        const LogRow *row = &log->row[i];
        if (isfinite(row->loss))
            loss = row->loss;
        if (isfinite(row->val_loss)) {
            val = row->val_loss;
            best = isfinite(best) ? fmin(best, val) : val;
        }
        if (isfinite(row->val_accuracy))
            accuracy = row->val_accuracy;
        if (isfinite(row->seconds))
            seconds = row->seconds;
        if (isfinite(row->tokens_per_s) && row->tokens_per_s > 0) {
            rate += 1 / row->tokens_per_s;
            n_rates++;
        }
    }
    text_add(out, "<div class=\"tiles\">\n");
    if (log->n_rows)
        tile(out, "steps", "%.0f", (double)log->row[log->n_rows - 1].step);
    tile(out, "training loss", "%.4f", loss);
    tile(out, "validation loss", "%.4f", val);
    tile(out, "best validation", "%.4f", best);
    tile(out, "validation accuracy", "%.1f %%", 100 * accuracy);
    tile(out, "tokens per second", "%.0f", n_rates ? (double)n_rates / rate : NAN);
    if (isfinite(seconds)) {
        text_add(out, "<div class=\"tile\"><b>");
        duration(out, seconds);
        text_add(out, "</b><span>training time</span></div>\n");
    }
    text_add(out, "</div>\n");
}

static void samples(const RunLog *log, Text *out)
{
    size_t n = 0;
    for (size_t i = log->n_rows; i-- > 0;) {
        if (!log->row[i].sample)
            continue;
        if (n == 0)
            text_add(out, "<h2>Samples</h2>\n");
        if (n == 1)
            text_add(out, "<details><summary>earlier samples</summary>\n");
        text_printf(out, "<p class=\"lead\">after step %lld</p><pre>", (long long)log->row[i].step);
        html_text(out, log->row[i].sample);
        text_add(out, "</pre>\n");
        n++;
    }
    if (n > 1)
        text_add(out, "</details>\n");
}

void report_html(const Report *report, Text *out)
{
    Arena scratch;
    arena_init(&scratch);
    scratch.out_of_memory = out->arena->out_of_memory;
    scratch.user = out->arena->user;
    text_add(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                  "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>");
    html_text(out, report->title);
    text_printf(out, "</title>\n<style>\n%s%s%s</style></head>\n<body>\n<h1>", page_style, chart_style, route_chart_style);
    html_text(out, report->title);
    text_add(out, "</h1>\n<p class=\"lead\">a training run of mixc</p>\n");
    summary_tiles(report->log, out);
    text_add(out, "<figure class=\"wide\">");
    loss_chart(&scratch, report, LOSS_WIDE, out);
    text_add(out, "</figure>\n<figure class=\"narrow\">");      // the same, with letters that a telephone does not shrink
    loss_chart(&scratch, report, LOSS_NARROW, out);
    text_add(out, "</figure>\n<div class=\"row\">\n");
    small_chart(&scratch, report, "Learning rate", row_lr, out);
    small_chart(&scratch, report, "Gradient norm", row_norm, out);
    small_chart(&scratch, report, "Tokens per second", row_rate, out);
    watch_charts(&scratch, report, out);
    text_add(out, "</div>\n");
    route_charts(report->log, out);
    samples(report->log, out);
    text_add(out, "<h2>Configuration and environment</h2>\n<table>\n");
    for (size_t i = 0; i < report->n_fields; i++) {
        text_add(out, "<tr><td>");
        html_text(out, report->field[i].name);
        text_add(out, "</td><td>");
        html_text(out, report->field[i].value);
        text_add(out, "</td></tr>\n");
    }
    text_add(out, "</table>\n");
    if (report->model_text) {
        text_add(out, "<h2>Model</h2>\n<pre>");
        html_text(out, report->model_text);
        text_add(out, "</pre>\n");
    }
    text_add(out, "</body></html>\n");
    arena_free(&scratch);
}
