// See chart.h.
#include "chart.h"
#include "utf8.h"

#include <math.h>
#include <string.h>

enum { LEFT = 62, RIGHT = 18, TOP = 40, BOTTOM = 42, MOST_POINTS = 600 };

const char chart_style[] =
    ".chart{--ink:#1c2430;--faint:#6b7686;--grid:#e4e8ee;--c1:#2563c9;--c2:#d9622b;--raw:#9db9e6}\n"
    "@media(prefers-color-scheme:dark){.chart{--ink:#e6eaf0;--faint:#93a0b3;--grid:#2c3542;--c1:#74a7ff;--c2:#ff9a62;--raw:#3d5c8f}}\n"
    ".chart text{font:12px system-ui,sans-serif;fill:var(--faint)}.chart .title{font-weight:600;font-size:14px;fill:var(--ink)}\n"
    ".chart .grid{stroke:var(--grid);stroke-width:1}.chart path{fill:none;stroke-linejoin:round}\n"
    ".chart .raw{stroke:var(--raw);stroke-width:1}.chart .main{stroke:var(--c1);stroke-width:2}\n"
    ".chart .second{stroke:var(--c2);stroke-width:2}.chart circle{fill:var(--c2)}.chart circle.main{fill:var(--c1)}\n";

typedef struct Range { double low, high, step; } Range;

// A range with round ends and about `ticks` steps of 1, 2 or 5 times a power of ten.
static Range nice_range(double low, double high, int ticks)
{
    if (!(low < high)) {
        double pad = low == 0 ? 1 : fabs(low) * 0.1;
        low -= pad;
        high += pad;
    }
    double raw = (high - low) / ticks, power = pow(10, floor(log10(raw))), ratio = raw / power;
    double step = power * (ratio <= 1 ? 1 : ratio <= 2 ? 2 : ratio <= 5 ? 5 : 10);
    return (Range){floor(low / step) * step, ceil(high / step) * step, step};
}

static void find_ranges(const Chart *chart, Range *out_x, Range *out_y)
{
    double x0 = INFINITY, x1 = -INFINITY, y0 = INFINITY, y1 = -INFINITY;
    for (size_t l = 0; l < chart->n_lines; l++)
        for (size_t i = 0; i < chart->line[l].n; i++) {
            double x = chart->line[l].x[i], y = chart->line[l].y[i];
            if (!isfinite(x) || !isfinite(y))
                continue;
            x0 = fmin(x0, x), x1 = fmax(x1, x), y0 = fmin(y0, y), y1 = fmax(y1, y);
        }
    if (!isfinite(x0))
        x0 = y0 = 0, x1 = y1 = 1;
    *out_x = nice_range(x0, x1, 6);
    out_x->low = x0;                        // no empty margin left and right
    out_x->high = x1 > x0 ? x1 : x0 + 1;
    *out_y = nice_range(y0, y1, 5);
}

static void tick_text(Text *out, double v)
{
    double a = fabs(v);
    if (a >= 1e6)
        text_printf(out, "%.4gM", v / 1e6);
    else if (a >= 1e4)
        text_printf(out, "%.4gk", v / 1e3);
    else if (a > 0 && a < 1e-4)
        text_printf(out, "%.1e", v);
    else
        text_printf(out, "%.4g", a < 1e-12 ? 0.0 : v);
}

void html_text(Text *out, const char *text)
{
    size_t left = strlen(text), n;
    for (const char *c = text; left > 0; c += n, left -= n) {
        uint32_t wide;
        size_t read = utf8_read(c, left, &wide);
        n = read ? read : 1;
        switch (*c) {
        case '<': text_add(out, "&lt;"); break;
        case '>': text_add(out, "&gt;"); break;
        case '&': text_add(out, "&amp;"); break;
        case '"': text_add(out, "&quot;"); break;
        default:
            if (!read || (wide < 32 && *c != '\n' && *c != '\t') || wide == 127)
                text_add(out, "\xEF\xBF\xBD");
            else
                text_printf(out, "%.*s", (int)n, c);
        }
    }
}

typedef struct Frame { const Chart *chart; Range x, y; } Frame;

static double at_x(const Frame *f, double x)
{
    return LEFT + (x - f->x.low) / (f->x.high - f->x.low) * (f->chart->width - LEFT - RIGHT);
}

static double at_y(const Frame *f, double y)
{
    return TOP + (f->y.high - y) / (f->y.high - f->y.low) * (f->chart->height - TOP - BOTTOM);
}

static void draw_axes(const Frame *f, Text *out)
{
    int right = f->chart->width - RIGHT, bottom = f->chart->height - BOTTOM;
    for (double y = f->y.low; y <= f->y.high + f->y.step / 2; y += f->y.step) {
        text_printf(out, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT, right,
                    at_y(f, y), at_y(f, y));
        text_printf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", LEFT - 8, at_y(f, y) + 4);
        tick_text(out, y);
        text_add(out, "</text>\n");
    }
    for (double x = ceil(f->x.low / f->x.step) * f->x.step; x <= f->x.high + f->x.step * 1e-6; x += f->x.step) {
        text_printf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">", at_x(f, x), bottom + 18);
        tick_text(out, x);
        text_add(out, "</text>\n");
    }
    text_printf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">", right, bottom + 34);
    html_text(out, f->chart->x_label);
    text_add(out, "</text>\n");
}

// Long lines are thinned by taking every k-th point; the last one always stays.
static void draw_line(const Frame *f, const ChartLine *line, Text *out)
{
    size_t every = line->n > MOST_POINTS ? (line->n + MOST_POINTS - 1) / MOST_POINTS : 1;
    bool pen_down = false;
    text_printf(out, "<path class=\"%s\" d=\"", line->style);
    for (size_t i = 0; i < line->n; i++) {
        if (i % every && i + 1 != line->n)
            continue;
        if (!isfinite(line->y[i]) || !isfinite(line->x[i])) {
            pen_down = false;
            continue;
        }
        text_printf(out, "%c%.1f %.1f", pen_down ? 'L' : 'M', at_x(f, line->x[i]), at_y(f, line->y[i]));
        pen_down = true;
    }
    text_add(out, "\"/>\n");
    for (size_t i = 0; line->dots && line->n <= 200 && i < line->n; i++) {
        if (!isfinite(line->y[i]) || !isfinite(line->x[i]))
            continue;
        text_printf(out, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>", line->style,
                    at_x(f, line->x[i]), at_y(f, line->y[i]));
        html_text(out, line->label);
        text_printf(out, " %.4g at %.6g</title></circle>\n", line->y[i], line->x[i]);
    }
}

// "train 1.486   val 1.527" at the top right, each after a stroke of its colour. Returns where it begins.
static double draw_legend(const Frame *f, Text *out)
{
    double x = f->chart->width - RIGHT;
    for (size_t l = f->chart->n_lines; l-- > 0;) {
        const ChartLine *line = &f->chart->line[l];
        if (!strcmp(line->style, "raw") || !line->n)
            continue;
        Text label = text_make(out->arena);
        text_printf(&label, "%s ", line->label);
        tick_text(&label, line->y[line->n - 1]);
        text_printf(out, "<text x=\"%.1f\" y=\"22\" text-anchor=\"end\">", x);
        html_text(out, text_str(&label));
        text_add(out, "</text>");
        x -= 6.7 * (double)label.n + 10;
        text_printf(out, "<path class=\"%s\" d=\"M%.1f 18h-16\"/>\n", line->style, x);
        x -= 36;
    }
    return x;
}

// As much of the title's end as there is room for before the legend: of a long path that is what tells it from others.
static void draw_title(const Chart *chart, double right, Text *out)
{
    const size_t n = strlen(chart->title), room = right > LEFT + 40 ? (size_t)((right - LEFT) / 8.2) : 4;
    const char *from = chart->title + (n > room ? n - room + 1 : 0);
    while ((*from & 0xc0) == 0x80)          // not inside a character
        from++;
    text_printf(out, "<text class=\"title\" x=\"%d\" y=\"22\">%s", LEFT, from > chart->title ? "\xE2\x80\xA6" : "");
    html_text(out, from);
    text_add(out, "</text>\n");
}

void chart_svg(const Chart *chart, bool alone, Text *out)
{
    Frame f = {.chart = chart};
    find_ranges(chart, &f.x, &f.y);
    text_printf(out, "<svg class=\"chart\"%s viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"",
                alone ? " xmlns=\"http://www.w3.org/2000/svg\"" : "", chart->width, chart->height);
    html_text(out, chart->title);
    text_add(out, "\">\n");
    if (alone)
        text_printf(
            out,
            "<style>\n%s.chart .paper{fill:#fff}@media(prefers-color-scheme:dark){.chart .paper{fill:#12161c}}\n</style>\n"
            "<rect class=\"paper\" width=\"%d\" height=\"%d\"/>\n",
            chart_style, chart->width, chart->height);
    draw_axes(&f, out);
    for (size_t l = 0; l < chart->n_lines; l++)
        draw_line(&f, &chart->line[l], out);
    draw_title(chart, draw_legend(&f, out), out);
    text_add(out, "</svg>\n");
}
