// A picture of a model: its graph collapsed to one box a layer, laid out in levels, as SVG or dot.
//
// Boxes are formed so that no cycle arises: a layer's own operations (residual sums and the like) are split into as
// many boxes as needed. Equal iterations of a repeat are drawn once, with their number; or each as one box, with what is in it.
#ifndef MIXC_GRAPH_VIEW_H
#define MIXC_GRAPH_VIEW_H

#include "module.h"

typedef struct ViewBox {
    const char *key;                        // layer path, or the leaf's or output's name
    const char *title, *detail;             // two lines of text
    const char *group;                      // the repeat's iteration it is in ("GPT.l0"); NULL: none
    int         copies;                     // iterations drawn as one
    int64_t     parameters;                 // numbers held
    bool        is_end;                     // an input or a result
    // layout
    int         level, order;
    double      x, y, width, height;
    bool        is_lane;                    // only a place where a long edge passes through a level
} ViewBox;

typedef struct ViewEdge {
    uint32_t from, to;
    bool     again;                         // to the next iteration of a repeat
} ViewEdge;

typedef struct GraphView {
    Arena    *arena;
    ViewBox  *box;  size_t n_boxes, box_capacity;
    ViewEdge *edge; size_t n_edges, edge_capacity;
    double    width, height;
} GraphView;

typedef enum ViewDetail {
    VIEW_FOLDED,                            // equal iterations of a repeat once
    VIEW_ITERATIONS,                        // each iteration as one box
    VIEW_ALL                                // every box of each
} ViewDetail;

GraphView graph_view_make(Arena *arena, const Graph *g, ViewDetail detail);
void graph_view_dot(const GraphView *view, Text *out);
// Lays out and draws. Adds lanes to the view.
void graph_view_svg(GraphView *view, Text *out);

uint32_t graph_view_box(GraphView *view, ViewBox box);
void     graph_view_edge(GraphView *view, uint32_t from, uint32_t to, bool again);   // once per pair
void     graph_view_layout(GraphView *view);

#endif
