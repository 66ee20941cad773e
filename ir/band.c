// See band.h.
#include "band.h"

#include <math.h>

enum { MOST_DEPTH = 12 };                   // of masks in masks; deeper ones say nothing

static bool is_zero(const Graph *g, ValueId v)
{
    const Node *n = &g->node[v];
    while (n->op == OP_EXPAND || n->op == OP_CAST)
        n = &g->node[n->in[0]];
    return n->op == OP_CONST && n->attr[0].f == 0;
}

// i_to - i_from + c, where one of the two may be missing (0).
typedef struct Linear {
    AxisId from, to;
    double c;
} Linear;

static bool linear_add(Linear *x, const Linear *y, bool minus)
{
    const AxisId to = minus ? y->from : y->to, from = minus ? y->to : y->from;
    if ((to && x->to) || (from && x->from))
        return false;
    x->to = to ? to : x->to;
    x->from = from ? from : x->from;
    x->c += minus ? -y->c : y->c;
    return true;
}

static bool linear_of(const Graph *g, ValueId v, int depth, Linear *out)
{
    const Node *n = &g->node[v];
    Linear other;
    *out = (Linear){.c = 0};
    if (depth > MOST_DEPTH)
        return false;
    switch (n->op) {
    case OP_CAST: case OP_EXPAND:
        return n->type.dtype != DTYPE_BF16 && linear_of(g, n->in[0], depth + 1, out);
    case OP_INDEX:
        out->to = n->attr[0].axis;
        return true;
    case OP_CONST:
        out->c = n->attr[0].f;
        return true;
    case OP_NEG:
        return linear_of(g, n->in[0], depth + 1, &other) && linear_add(out, &other, true);
    case OP_ADD: case OP_SUB:
        return linear_of(g, n->in[0], depth + 1, out) && linear_of(g, n->in[1], depth + 1, &other) && linear_add(out, &other, n->op == OP_SUB);
    default:
        return false;
    }
}

static int32_t bound(double x)
{
    return x >= BAND_FAR ? BAND_FAR : x <= -BAND_FAR ? -BAND_FAR : (int32_t)x;
}

// What is left of x's band where y's holds too. Bands along other axes say nothing together: x stays.
static bool meet(bool has_x, bool has_y, Band *x, const Band *y)
{
    Band other = *y;
    if (!has_x || !has_y) {
        *x = has_y ? *y : *x;
        return has_x || has_y;
    }
    if (other.from == x->to && other.to == x->from)
        other = (Band){.from = x->from, .to = x->to, .least = -y->most, .most = -y->least};
    if (other.from == x->from && other.to == x->to) {
        x->least = x->least > other.least ? x->least : other.least;
        x->most = x->most < other.most ? x->most : other.most;
    }
    return true;
}

// Where low <= l <= high; -INFINITY, INFINITY: no such bound. Indices are whole numbers.
static bool interval(const Linear *l, double low, double high, Band *out)
{
    if (!l->from || !l->to || l->from == l->to || !isfinite(l->c))
        return false;
    *out = (Band){.from = l->from, .to = l->to, .least = bound(ceil(low - l->c)), .most = bound(floor(high - l->c))};
    return true;
}

// Where a comparison holds; with `negated`, where it does not.
static bool compared(const Graph *g, const Node *n, bool negated, Band *out)
{
    const Node *left = &g->node[n->in[0]];
    Linear a, b;
    if (n->op == OP_EQ) {
        if (negated || !linear_of(g, n->in[0], 0, &a) || !linear_of(g, n->in[1], 0, &b) || !linear_add(&a, &b, true))
            return false;
        return interval(&a, 0, 0, out);
    }
    while (left->op == OP_EXPAND)
        left = &g->node[left->in[0]];
    const bool is_abs = left->op == OP_MAP && left->attr[0].act == ACT_ABS;
    if (!linear_of(g, is_abs ? left->in[0] : n->in[0], 0, &a) || !linear_of(g, n->in[1], 0, &b))
        return false;
    const double step = n->op == OP_LT ? 1 : 0;
    if (is_abs) {                           // |a| <= b; strictly less: whole numbers up to the one before b
        const double most = step > 0 ? ceil(b.c) - 1 : b.c;
        return !negated && !b.from && !b.to && a.c == floor(a.c) && interval(&a, -most, most, out);
    }
    if (!linear_add(&a, &b, true))          // a - b <= 0, or >= 0 and not 0
        return false;
    if (negated)
        return interval(&a, step > 0 ? 0 : floor(a.c) == a.c ? 1 : 0, INFINITY, out);
    return interval(&a, -INFINITY, step > 0 && floor(a.c) == a.c ? -1 : 0, out);
}

static bool holds(const Graph *g, ValueId condition, bool negated, int depth, Band *out)
{
    const Node *n = &g->node[condition];
    Band other = {0};
    if (depth > MOST_DEPTH)
        return false;
    switch (n->op) {
    case OP_EXPAND: case OP_CAST:
        return holds(g, n->in[0], negated, depth + 1, out);
    case OP_MUL:                            // of masks: all hold
        return !negated && meet(holds(g, n->in[0], false, depth + 1, out), holds(g, n->in[1], false, depth + 1, &other), out, &other);
    case OP_LE: case OP_LT: case OP_EQ:
        return compared(g, n, negated, out);
    default:
        return false;
    }
}

static bool band_at(const Graph *g, ValueId v, int depth, Band *out)
{
    const Node *n = &g->node[v];
    Band other = {0};
    if (depth > MOST_DEPTH)
        return false;
    if (n->op == OP_CAST || n->op == OP_EXPAND)
        return band_at(g, n->in[0], depth + 1, out);
    if (n->op == OP_SELECT) {
        const bool then = is_zero(g, n->in[2]);
        if (!then && !is_zero(g, n->in[1]))
            return false;
        return meet(holds(g, n->in[0], !then, 0, out), band_at(g, n->in[then ? 1 : 2], depth + 1, &other), out, &other);
    }
    if (n->op == OP_MUL)
        return meet(band_at(g, n->in[0], depth + 1, out), band_at(g, n->in[1], depth + 1, &other), out, &other);
    return holds(g, v, false, depth, out);
}

bool band_of(const Graph *g, ValueId v, Band *out_band)
{
    return band_at(g, v, 0, out_band);
}

// Whether the group runs over this axis alone.
static bool is_only(const Graph *g, const AxisGroup *group, AxisId axis)
{
    bool found = false;
    for (int i = 0; i < group->n; i++) {
        found |= group->axis[i] == axis;
        if (group->axis[i] != axis && graph_size(g, group->axis[i]) != 1)
            return false;
    }
    return found;
}

// The band as bounds of (index of `to`) - (index of `from`).
static bool between(const Graph *g, const Band *band, const AxisGroup *from, const AxisGroup *to, ProductBand *out)
{
    const bool straight = is_only(g, from, band->from) && is_only(g, to, band->to);
    if (!straight && !(is_only(g, from, band->to) && is_only(g, to, band->from)))
        return false;
    out->least = straight ? band->least : -band->most;
    out->most = straight ? band->most : -band->least;
    if (out->least <= 1 - from->size)       // bounds that bound nothing
        out->least = -BAND_FAR;
    if (out->most >= to->size - 1)
        out->most = BAND_FAR;
    return out->least > -BAND_FAR || out->most < BAND_FAR;
}

ProductBand band_of_product(const Graph *g, const Product *p, ValueId reader)
{
    ProductBand out = {.kind = BAND_NONE};
    Band band;
    for (int i = 0; i < 2; i++)
        if (band_of(g, p->operand[i], &band) && between(g, &band, &p->group[i == 0 ? CLASS_ROW : CLASS_COL], &p->group[CLASS_SUM], &out)) {
            out.kind = i == 0 ? BAND_TERMS_OF_ROW : BAND_TERMS_OF_COL;
            return out;
        }
    if (!reader || (g->node[reader].op != OP_SELECT && g->node[reader].op != OP_MUL) || !band_of(g, reader, &band) ||
        !between(g, &band, &p->group[CLASS_ROW], &p->group[CLASS_COL], &out))
        return (ProductBand){.kind = BAND_NONE};
    out.kind = BAND_COLS_OF_ROW;
    out.is_choice = g->node[reader].op == OP_SELECT;
    return out;
}

double band_share(const Product *p, const ProductBand *band)
{
    if (band->kind == BAND_NONE)
        return 1;
    const AxisGroup *from = &p->group[band->kind == BAND_TERMS_OF_COL ? CLASS_COL : CLASS_ROW];
    const AxisGroup *to = &p->group[band->kind == BAND_COLS_OF_ROW ? CLASS_COL : CLASS_SUM];
    double n = 0;
    const int64_t steps = from->size < 512 ? from->size : 512;
    for (int64_t s = 0; s < steps; s++) {
        const int64_t i = s * from->size / steps, low = i + band->least < 0 ? 0 : i + band->least;
        const int64_t high = i + band->most >= to->size ? to->size - 1 : i + band->most;
        n += high >= low ? (double)(high - low + 1) : 0;
    }
    return steps && to->size ? n / ((double)steps * (double)to->size) : 1;
}
