// Levels, orders and places for graph_view: longest paths, lanes for long edges, a few sweeps by the mean of the
// neighbours' places. Edges to the next iteration of a repeat take no part.
#include "graph_view.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GAP_X = 26, GAP_Y = 34, BOX_HEIGHT = 42, LANE_WIDTH = 10, MARGIN = 24, SWEEPS = 12 };

static void set_levels(GraphView *view)
{
    bool changed = true;
    for (size_t round = 0; changed && round <= view->n_boxes; round++) {
        changed = false;
        for (size_t i = 0; i < view->n_edges; i++) {
            const ViewEdge *e = &view->edge[i];
            if (!e->again && view->box[e->to].level <= view->box[e->from].level) {
                view->box[e->to].level = view->box[e->from].level + 1;
                changed = true;
            }
        }
    }
    // An input stands just above its first reader.
    for (uint32_t b = 0; b < view->n_boxes; b++) {
        int nearest = -1;
        for (size_t i = 0; i < view->n_edges; i++)
            if (view->edge[i].from == b && (nearest < 0 || view->box[view->edge[i].to].level < nearest))
                nearest = view->box[view->edge[i].to].level;
        if (view->box[b].is_end && nearest > 0)
            view->box[b].level = nearest - 1;
    }
}

// Cuts every edge that passes a level into pieces between lanes.
static void add_lanes(GraphView *view)
{
    size_t n = view->n_edges;
    for (size_t i = 0; i < n; i++) {
        ViewEdge e = view->edge[i];
        int low = view->box[e.from].level, high = view->box[e.to].level;
        if (e.again || high - low < 2)
            continue;
        uint32_t from = e.from;
        for (int level = low + 1; level < high; level++) {
            uint32_t lane = graph_view_box(
                view,
                (ViewBox){.key = "", .title = "", .detail = "", .copies = 1, .level = level, .is_lane = true});
            if (level == low + 1)
                view->edge[i] = (ViewEdge){from, lane, false};
            else
                graph_view_edge(view, from, lane, false);
            from = lane;
        }
        graph_view_edge(view, from, e.to, false);
    }
}

typedef struct Key { double at; uint32_t box; } Key;

static int by_key(const void *a, const void *b)
{
    const Key *x = a, *y = b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return x->box < y->box ? -1 : x->box > y->box;
}

static double neighbours(const GraphView *view, uint32_t b, bool above, double otherwise)
{
    double sum = 0;
    int n = 0;
    for (size_t i = 0; i < view->n_edges; i++) {
        const ViewEdge *e = &view->edge[i];
        if (e->again || (above ? e->to : e->from) != b)
            continue;
        const ViewBox *other = &view->box[above ? e->from : e->to];
        sum += other->x + other->width / 2;
        n++;
    }
    return n ? sum / n : otherwise;
}

// Puts a level's boxes in the order of their keys, then as near to the keys as the widths allow.
static void place_level(GraphView *view, Key *key, size_t n)
{
    qsort(key, n, sizeof *key, by_key);
    double x = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        ViewBox *box = &view->box[key[i].box];
        box->order = (int)i;
        box->x = fmax(key[i].at - box->width / 2, x);
        x = box->x + box->width + GAP_X;
    }
    // What was pushed right pulls its left neighbours back by half.
    double shift = 0;
    for (size_t i = 0; i < n; i++)
        shift += view->box[key[i].box].x + view->box[key[i].box].width / 2 - key[i].at;
    for (size_t i = 0; i < n; i++)
        view->box[key[i].box].x -= shift / (double)n;
}

void graph_view_layout(GraphView *view)
{
    set_levels(view);
    add_lanes(view);
    int n_levels = 0;
    for (uint32_t b = 0; b < view->n_boxes; b++) {
        ViewBox *box = &view->box[b];
        size_t letters = strlen(box->title), small = strlen(box->detail);
        box->width = box->is_lane ? LANE_WIDTH : fmax(72, fmax(8.2 * (double)letters, 6.8 * (double)small) + 24);
        box->height = BOX_HEIGHT;
        n_levels = box->level >= n_levels ? box->level + 1 : n_levels;
    }
    Key *key = arena_array(view->arena, Key, view->n_boxes + 1);
    for (int sweep = 0; sweep < SWEEPS; sweep++)
        for (int step = 0; step < n_levels; step++) {
            bool down = sweep % 2 == 0;
            int level = down ? step : n_levels - 1 - step;
            size_t n = 0;
            for (uint32_t b = 0; b < view->n_boxes; b++)
                if (view->box[b].level == level) {
                    double here =
                        sweep == 0 ? (view->box[b].is_lane ? 200.0 : 0.0) : view->box[b].x + view->box[b].width / 2;
                    key[n++] =
                        (Key){neighbours(view, b, down, here) + (view->box[b].is_lane && sweep == 0 ? 60 : 0), b};
                }
            if (n)
                place_level(view, key, n);
        }
    double low = INFINITY, high = -INFINITY;
    for (uint32_t b = 0; b < view->n_boxes; b++) {
        low = fmin(low, view->box[b].x);
        high = fmax(high, view->box[b].x + view->box[b].width);
    }
    for (uint32_t b = 0; b < view->n_boxes; b++) {
        view->box[b].x += MARGIN + 20 - low;
        view->box[b].y = MARGIN + view->box[b].level * (BOX_HEIGHT + GAP_Y);
    }
    view->width = view->n_boxes ? high - low + 2 * MARGIN + 70 : 100;
    view->height = n_levels * (BOX_HEIGHT + GAP_Y) - GAP_Y + 2 * MARGIN;
}
