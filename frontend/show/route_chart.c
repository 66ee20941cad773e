// See route_chart.h.
//
// A cell is an expert (or a few neighbours, when there are many) during a stretch of steps. Its colour says how its load
// compares with an even share, in steps of half a doubling: blue below, orange above, ink where nobody chose it at all. Cells
// of one colour are one path, so that a page stays small.
#include "route_chart.h"

#include "chart.h"

#include <math.h>
#include <string.h>

enum { LEFT = 62, RIGHT = 18, TOP = 52, WIDTH = 720, MAP_HEIGHT = 176, STRIP = 64, BOTTOM = 40,
       MOST_COLUMNS = 120, MOST_ROWS = 64, OPEN_AT_FIRST = 8, LEVELS = 9, DEAD = LEVELS };

const char route_chart_style[] =
    ".heat{--ink:#1c2430;--faint:#6b7686;--l0:#1747a0;--l1:#3f76d6;--l2:#7fa8ea;--l3:#bdd3f6;--l4:#edf0f4;--l5:#f7d3bf;--l6:#efa37c;"
    "--l7:#dc6f3a;--l8:#a8430f;--l9:#1c2430}\n"
    "@media(prefers-color-scheme:dark){.heat{--ink:#e6eaf0;--faint:#93a0b3;--l0:#8ab8ff;--l1:#5b93ef;--l2:#3c6cbc;--l3:#2c4878;--l4:#262e39;"
    "--l5:#5c3a26;--l6:#8f522c;--l7:#cc7038;--l8:#ffa268;--l9:#f4f6f9}}\n"
    ".heat text{font:12px system-ui,sans-serif;fill:var(--faint)}.heat .title{font-weight:600;font-size:14px;fill:var(--ink)}\n"
    ".heat .h0{fill:var(--l0)}.heat .h1{fill:var(--l1)}.heat .h2{fill:var(--l2)}.heat .h3{fill:var(--l3)}.heat .h4{fill:var(--l4)}"
    ".heat .h5{fill:var(--l5)}.heat .h6{fill:var(--l6)}.heat .h7{fill:var(--l7)}.heat .h8{fill:var(--l8)}.heat .h9{fill:var(--l9)}\n"
    ".heat .frame{fill:none;stroke:var(--faint);stroke-width:1;stroke-opacity:.4}.heat polyline{fill:none;stroke-width:1.6;stroke-linejoin:round}\n"
    ".heat .drop{stroke:var(--l7)}.heat .entropy{stroke:var(--l1)}.heat .dead{stroke:var(--ink);stroke-dasharray:3 3}\n";

typedef struct History {                    // one route, in columns of time
    const LogRoute *last;
    size_t  n_columns, n_rows;              // of cells
    int64_t first_step, last_step;
    double *load;                           // [n_columns * n_rows] relative to an even share; NaN: not known
    double *dropped, *entropy, *dead;       // [n_columns] shares in 0 .. 1; NaN: not known
} History;

static const LogRoute *route_in(const LogRow *row, const LogRoute *like)
{
    for (size_t i = 0; i < row->n_routes; i++)
        if (strcmp(row->route[i].name, like->name) == 0 && row->route[i].n_experts == like->n_experts)
            return &row->route[i];
    return NULL;
}

static double log_of_experts(const LogRoute *route)
{
    return log((double)route->n_experts);
}

static double *nan_array(Arena *arena, size_t n)
{
    double *x = arena_array(arena, double, n + 1);
    for (size_t i = 0; i < n; i++)
        x[i] = NAN;
    return x;
}

static void add_mean(double *mean, double *count, double value)
{
    if (!isfinite(value))
        return;
    *mean = *count > 0 ? *mean + (value - *mean) / (*count + 1) : value;
    ++*count;
}

// The mean of the rows in each column; experts that share a row of cells are averaged too.
static History gather(Arena *arena, const RunLog *log, const LogRoute *route)
{
    History h = {.last = route};
    size_t n = 0, at = 0;
    for (size_t i = 0; i < log->n_rows; i++)
        n += route_in(&log->row[i], route) != NULL;
    h.n_columns = n < MOST_COLUMNS ? n : MOST_COLUMNS;
    h.n_rows = route->n_experts < MOST_ROWS ? route->n_experts : MOST_ROWS;
    h.load = nan_array(arena, h.n_columns * h.n_rows);
    h.dropped = nan_array(arena, h.n_columns);
    h.entropy = nan_array(arena, h.n_columns);
    h.dead = nan_array(arena, h.n_columns);
    double *count = arena_array(arena, double, h.n_columns * h.n_rows + 1), (*small)[3] = arena_alloc(arena, h.n_columns + 1, sizeof *small);
    const double most = log_of_experts(route);
    for (size_t i = 0; i < log->n_rows; i++) {
        const LogRoute *r = route_in(&log->row[i], route);
        if (!r)
            continue;
        if (at == 0)
            h.first_step = log->row[i].step;
        h.last_step = log->row[i].step;
        h.last = r;
        const size_t column = at++ * h.n_columns / n;
        for (size_t e = 0; e < r->n_experts; e++) {
            const size_t cell = column * h.n_rows + e * h.n_rows / r->n_experts;
            add_mean(&h.load[cell], &count[cell], r->load[e]);
        }
        add_mean(&h.dropped[column], &small[column][0], r->dropped);
        add_mean(&h.entropy[column], &small[column][1], most > 0 ? r->entropy / most : NAN);
        add_mean(&h.dead[column], &small[column][2], r->n_experts ? (double)r->n_dead / (double)r->n_experts : 0);
    }
    return h;
}

// 0 .. 8: load in half doublings from a quarter to four times an even share; 9: nobody.
static int level_of(double load)
{
    if (!(load > 0))
        return DEAD;
    const int level = (int)lround(2 * log2(load)) + LEVELS / 2;
    return level < 0 ? 0 : level >= LEVELS ? LEVELS - 1 : level;
}

static void draw_cells(const History *h, Text *out)
{
    const double w = (double)(WIDTH - LEFT - RIGHT) / (double)h->n_columns, height = (double)MAP_HEIGHT / (double)h->n_rows;
    for (int level = 0; level <= DEAD; level++) {
        bool open = false;
        for (size_t row = 0; row < h->n_rows; row++)
            for (size_t from = 0, to; from < h->n_columns; from = to) {
                to = from + 1;
                const double load = h->load[from * h->n_rows + row];
                if (!isfinite(load) || level_of(load) != level)
                    continue;
                while (to < h->n_columns && isfinite(h->load[to * h->n_rows + row]) && level_of(h->load[to * h->n_rows + row]) == level)
                    to++;
                if (!open)
                    text_printf(out, "<path class=\"h%d\" d=\"", level);
                open = true;
                text_printf(out, "M%.1f %.2fH%.1fv%.2fH%.1fz", LEFT + w * (double)from, TOP + height * (double)row,
                            LEFT + w * (double)to + .3, height + .3, LEFT + w * (double)from);
            }
        if (open)
            text_add(out, "\"/>\n");
    }
    text_printf(out, "<rect class=\"frame\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n", LEFT, TOP, WIDTH - LEFT - RIGHT, MAP_HEIGHT);
}

static void draw_line(const History *h, const char *style, const double *y, Text *out)
{
    const double w = (double)(WIDTH - LEFT - RIGHT) / (double)h->n_columns, top = TOP + MAP_HEIGHT + 14;
    bool any = false;
    for (size_t i = 0; i < h->n_columns; i++) {
        if (!isfinite(y[i]))
            continue;
        if (!any)
            text_printf(out, "<polyline class=\"%s\" points=\"", style);
        any = true;
        text_printf(out, "%.1f,%.1f ", LEFT + w * ((double)i + .5), top + (STRIP - 4) * (1 - fmin(1, fmax(0, y[i]))) + 2);
    }
    if (any)
        text_add(out, "\"/>\n");
}

// The colours from left to right: nobody, a quarter, even, four times.
static void draw_key(Text *out)
{
    int x = WIDTH - RIGHT - 20 - LEVELS * 14;
    text_printf(out, "<text x=\"%d\" y=\"38\" text-anchor=\"end\">share of an expert: none</text>", x - 6);
    text_printf(out, "<rect class=\"h9\" x=\"%d\" y=\"28\" width=\"12\" height=\"12\"/>", x);
    text_printf(out, "<text x=\"%d\" y=\"24\" text-anchor=\"middle\">1/4</text><text x=\"%d\" y=\"24\" text-anchor=\"middle\">even</text>"
                "<text x=\"%d\" y=\"24\" text-anchor=\"end\">4 times</text>", x + 34, x + 20 + 4 * 14 + 7, WIDTH - RIGHT);
    for (int level = 0; level < LEVELS; level++)
        text_printf(out, "<rect class=\"h%d\" x=\"%d\" y=\"28\" width=\"14\" height=\"12\"/>", level, x + 20 + 14 * level);
    text_char(out, '\n');
}

static void draw_labels(const History *h, Text *out)
{
    const int strip = TOP + MAP_HEIGHT + 14, right = WIDTH - RIGHT, bottom = strip + STRIP;
    text_printf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">0</text><text x=\"%d\" y=\"%d\" text-anchor=\"end\">%zu</text>", LEFT - 8,
                TOP + 11, LEFT - 8, TOP + MAP_HEIGHT - 2, h->last->n_experts - 1);
    text_printf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">expert</text>\n", LEFT - 8, TOP + MAP_HEIGHT / 2 + 4);
    text_printf(out, "<rect class=\"frame\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>", LEFT, strip, right - LEFT, STRIP);
    text_printf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">100%%</text><text x=\"%d\" y=\"%d\" text-anchor=\"end\">0</text>\n", LEFT - 8,
                strip + 11, LEFT - 8, bottom - 1);
    text_printf(out, "<text x=\"%d\" y=\"%d\">step %lld</text><text x=\"%d\" y=\"%d\" text-anchor=\"end\">%lld</text>\n", LEFT, bottom + 16,
                (long long)h->first_step, right, bottom + 16, (long long)h->last_step);
    static const struct { const char *style, *label; } key[] = {
        {"drop", "dropped"}, {"entropy", "entropy, of its most"}, {"dead", "experts nobody chose"}};
    for (int i = 0, x = LEFT; i < 3; x += 44 + (int)(6.3 * (double)strlen(key[i++].label)))
        text_printf(out, "<polyline class=\"%s\" points=\"%d,%d %d,%d\"/><text x=\"%d\" y=\"%d\">%s</text>", key[i].style, x, bottom + 28,
                    x + 18, bottom + 28, x + 23, bottom + 32, key[i].label);
    text_char(out, '\n');
}

static void heat_map(const History *h, Text *out)
{
    text_printf(out, "<figure><svg class=\"heat chart\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"load of the experts of ", WIDTH,
                TOP + MAP_HEIGHT + 14 + STRIP + BOTTOM);
    html_text(out, h->last->name);
    text_printf(out, "\">\n<text class=\"title\" x=\"%d\" y=\"22\">", LEFT);
    html_text(out, h->last->name);
    text_add(out, "</text>");
    draw_key(out);
    draw_cells(h, out);
    draw_line(h, "drop", h->dropped, out);
    draw_line(h, "entropy", h->entropy, out);
    draw_line(h, "dead", h->dead, out);
    draw_labels(h, out);
    text_add(out, "</svg><figcaption>at the end: ");
    route_line(h->last, out);
    text_add(out, "</figcaption></figure>\n");
}

void route_charts(const RunLog *log, Text *out)
{
    const LogRow *last = NULL;
    for (size_t i = 0; i < log->n_rows; i++)
        last = log->row[i].n_routes ? &log->row[i] : last;
    if (!last)
        return;
    text_add(out, "<h2>Routes</h2>\n<div class=\"routes\">\n");
    for (size_t i = 0; i < last->n_routes; i++) {
        Arena scratch;
        arena_init(&scratch);
        scratch.out_of_memory = out->arena->out_of_memory;
        scratch.user = out->arena->user;
        if (i == OPEN_AT_FIRST)
            text_printf(out, "<details><summary>%zu more routes</summary>\n", last->n_routes - i);
        const History h = gather(&scratch, log, &last->route[i]);
        heat_map(&h, out);
        arena_free(&scratch);
    }
    if (last->n_routes > OPEN_AT_FIRST)
        text_add(out, "</details>\n");
    text_add(out, "</div>\n");
}

void route_line(const LogRoute *route, Text *out)
{
    double low = INFINITY, high = 0;
    for (size_t e = 0; e < route->n_experts; e++) {
        low = fmin(low, route->load[e]);
        high = fmax(high, route->load[e]);
    }
    text_printf(out, "load %.2f-%.2f (ideal 1)  dropped %.1f%%", isfinite(low) ? low : 0, high, 100 * route->dropped);
    if (isfinite(route->entropy))
        text_printf(out, "  entropy %.2f/%.2f", route->entropy, log_of_experts(route));
    text_printf(out, "  dead %lld/%zu", (long long)route->n_dead, route->n_experts);
}
