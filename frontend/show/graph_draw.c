// The two ways to write a graph_view down.
#include "graph_view.h"

#include "chart.h"

#include <math.h>
#include <string.h>

static const char svg_style[] =
    ".mix{--ink:#1c2430;--faint:#5b6675;--paper:#fff;--box:#eef3fb;--edge:#8b97a8;--end:#fdf1e7;--line:#b9cbe8;--group:#f6f7f9}\n"
    "@media(prefers-color-scheme:dark){.mix{--ink:#e6eaf0;--faint:#93a0b3;--paper:#12161c;--box:#1d2a40;--edge:#64748a;--end:#3a2a1c;"
    "--line:#3a5484;--group:#181d25}}\n"
    ".mix text{font:13px system-ui,sans-serif;fill:var(--ink);text-anchor:middle}.mix .small{font-size:11px;fill:var(--faint)}\n"
    ".mix .paper{fill:var(--paper)}.mix .box{fill:var(--box);stroke:var(--line)}.mix .end{fill:var(--end);stroke:var(--line)}\n"
    ".mix .group{fill:var(--group);stroke:var(--line);stroke-dasharray:4 3}.mix .edge{fill:none;stroke:var(--edge);stroke-width:1.4}\n"
    ".mix .tip{fill:var(--edge)}.mix .times{text-anchor:end;font-weight:600}\n";

static void draw_groups(const GraphView *view, Text *out)
{
    for (uint32_t b = 0; b < view->n_boxes; b++) {
        const ViewBox *first = &view->box[b];
        if (!first->group)
            continue;
        double x0 = INFINITY, y0 = INFINITY, x1 = -INFINITY, y1 = -INFINITY;
        bool is_first = true;
        for (uint32_t c = 0; c < view->n_boxes; c++) {
            const ViewBox *box = &view->box[c];
            if (!box->group || strcmp(box->group, first->group))
                continue;
            is_first = is_first && c >= b;
            x0 = fmin(x0, box->x), y0 = fmin(y0, box->y);
            x1 = fmax(x1, box->x + box->width), y1 = fmax(y1, box->y + box->height);
        }
        if (!is_first)
            continue;
        text_printf(out, "<rect class=\"group\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"10\"/>\n",
                    x0 - 12, y0 - 12, x1 - x0 + 24, y1 - y0 + 24);
        if (first->copies > 1)
            text_printf(out, "<text class=\"times\" x=\"%.1f\" y=\"%.1f\">&#215;%d</text>\n", x1 + 44, y0 + 6,
                        first->copies);
    }
}

// Straight down between neighbours of a level; lanes are passed in a smooth line.
static void draw_edge(const GraphView *view, const ViewEdge *e, Text *out)
{
    const ViewBox *a = &view->box[e->from], *b = &view->box[e->to];
    double x0 = a->x + a->width / 2, y0 = a->y + a->height, x1 = b->x + b->width / 2, y1 = b->y;
    if (e->again)
        return;
    double bend = (y1 - y0) * 0.5;
    text_printf(out, "<path class=\"edge\" d=\"M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f", x0, y0, x0, y0 + bend, x1,
                y1 - bend, x1, y1);
    if (b->is_lane)
        text_printf(out, "V%.1f", y1 + b->height);
    text_add(out, "\"/>\n");
    if (!b->is_lane)
        text_printf(out, "<path class=\"tip\" d=\"M%.1f %.1fl-4 -7h8z\"/>\n", x1, y1);
}

void graph_view_svg(GraphView *view, Text *out)
{
    graph_view_layout(view);
    text_printf(
        out,
        "<svg class=\"mix\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" height=\"%.0f\">\n"
        "<style>\n%s</style>\n<rect class=\"paper\" width=\"100%%\" height=\"100%%\"/>\n",
        view->width, view->height, view->width, view->height, svg_style);
    draw_groups(view, out);
    for (size_t i = 0; i < view->n_edges; i++)
        draw_edge(view, &view->edge[i], out);
    for (uint32_t b = 0; b < view->n_boxes; b++) {
        const ViewBox *box = &view->box[b];
        if (box->is_lane)
            continue;
        double middle = box->x + box->width / 2;
        text_printf(out, "<g><title>");
        html_text(out, box->key);
        text_printf(out, "</title><rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"%d\"/>",
                    box->is_end ? "end" : "box", box->x, box->y, box->width, box->height, box->is_end ? 20 : 6);
        text_printf(out, "<text x=\"%.1f\" y=\"%.1f\">", middle, box->y + 18);
        html_text(out, box->title);
        text_printf(out, "</text><text class=\"small\" x=\"%.1f\" y=\"%.1f\">", middle, box->y + 34);
        html_text(out, box->detail);
        text_add(out, "</text></g>\n");
    }
    text_add(out, "</svg>\n");
}

static void dot_string(Text *out, const char *text)
{
    text_char(out, '"');
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\')
            text_char(out, '\\');
        text_char(out, *c);
    }
    text_char(out, '"');
}

static void dot_box(const GraphView *view, uint32_t b, const char *indent, Text *out)
{
    const ViewBox *box = &view->box[b];
    text_printf(out, "%sb%u [%slabel=", indent, b, box->is_end ? "shape=oval, " : "");
    Text label = text_make(view->arena);
    text_printf(&label, "%s\n%s", box->title, box->detail);
    dot_string(out, text_str(&label));
    text_add(out, "];\n");
}

void graph_view_dot(const GraphView *view, Text *out)
{
    text_add(out, "digraph model {\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n");
    for (uint32_t b = 0; b < view->n_boxes; b++) {
        const char *group = view->box[b].group;
        bool first = true;
        for (uint32_t c = 0; group && c < b; c++)
            first = first && !(view->box[c].group && !strcmp(view->box[c].group, group));
        if (!group) {
            dot_box(view, b, "  ", out);
        } else if (first) {
            text_printf(out, "  subgraph cluster_%u {\n    label=", b);
            dot_string(out, view->box[b].copies > 1
                                ? arena_printf(view->arena, "%s x %d", group, view->box[b].copies)
                                : group);
            text_add(out, ";\n");
            for (uint32_t c = b; c < view->n_boxes; c++)
                if (view->box[c].group && !strcmp(view->box[c].group, group))
                    dot_box(view, c, "    ", out);
            text_add(out, "  }\n");
        }
    }
    for (size_t i = 0; i < view->n_edges; i++)
        text_printf(out, "  b%u -> b%u%s;\n", view->edge[i].from, view->edge[i].to,
                    view->edge[i].again ? " [style=dashed, constraint=false]" : "");
    text_add(out, "}\n");
}
