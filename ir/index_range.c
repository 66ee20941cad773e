// See index_range.h: the limit of an input is found by following it through everything that hands its numbers on
// unchanged; bounds by interval arithmetic, one walk over the graph.
#include "index_range.h"

#include <math.h>
#include <string.h>

static bool hands_on(const Node *n)
{
    return (op_row[n->op].flags & OP_FLAG_VIEW) || n->op == OP_EXPAND || n->op == OP_CAST || n->op == OP_STOP;
}

// max(x, -1): a negative number means none.
static bool raises(const Graph *g, const Node *n)
{
    const Node *low = n->op == OP_MAX ? &g->node[n->in[1]] : NULL;
    return low && low->op == OP_CONST && low->attr[0].f < 0;
}

ValueId index_operand(const Node *n, AxisId *out_axis)
{
    *out_axis = n->op == OP_TAKE ? n->attr[0].axis : n->op == OP_PUT_ADD ? n->attr[1].axis : n->op == OP_PUT ? n->attr[0].axis : 0;
    return *out_axis ? n->in[1] : 0;
}

int64_t index_limit(const Graph *g, const char *arg, int64_t *out_least, const char **out_axis)
{
    enum { NOT, RAISED, AS_IT_IS };
    int64_t limit = INT64_MAX;
    Arena scratch = {0};
    uint8_t *carries = arena_array(&scratch, uint8_t, g->n_nodes);
    *out_axis = NULL;
    *out_least = INT64_MIN;
    for (size_t i = 1; i < g->n_nodes; i++) {
        const Node *n = &g->node[i];
        if (n->op == OP_ARG)
            carries[i] = strcmp(n->attr[0].name, arg) == 0 ? AS_IT_IS : NOT;
        else if (hands_on(n) || n->op == OP_TAKE)            // take hands on what it takes from
            carries[i] = carries[n->in[0]];
        else if (raises(g, n))
            carries[i] = carries[n->in[0]] ? RAISED : NOT;
        AxisId axis;
        ValueId index = index_operand(n, &axis);
        if (carries[index] == AS_IT_IS)
            *out_least = 0;
        if (carries[index] && graph_size(g, axis) < limit) {
            limit = graph_size(g, axis);
            *out_axis = g->axis[axis].name;
        }
    }
    arena_free(&scratch);
    return limit;
}

static Bounds hull(Bounds a, Bounds b)
{
    return (Bounds){fmin(a.least, b.least), fmax(a.most, b.most)};
}

static Bounds with_zero(Bounds a)
{
    return hull(a, (Bounds){0, 0});
}

static Bounds times(Bounds a, Bounds b)
{
    const double p[4] = {a.least * b.least, a.least * b.most, a.most * b.least, a.most * b.most};
    Bounds y = {p[0], p[0]};
    for (int i = 0; i < 4; i++) {
        if (isnan(p[i]))
            return (Bounds){-INFINITY, INFINITY};
        y = hull(y, (Bounds){p[i], p[i]});
    }
    return y;
}

static double pool_size(const Graph *g, const Attr *over)
{
    double n = 1;
    for (size_t i = 0; i < over->axes.n; i++)
        n *= (double)graph_size(g, over->axes.id[i]);
    return n;
}

// What the pass `bounds` leaves behind: select(x < n, x, c) is below n, or c.
static bool is_cut(const Graph *g, const Node *n, const Bounds *b, Bounds *out)
{
    const Node *test = &g->node[n->in[0]];
    if (test->op != OP_LT || test->in[0] != n->in[1])
        return false;
    Bounds below = {b[n->in[1]].least, fmin(b[n->in[1]].most, b[test->in[1]].most - 1)};
    *out = hull(below, b[n->in[2]]);
    return n->type.dtype == DTYPE_I32;      // whole numbers: below n is at most n - 1
}

static Bounds arg_bounds(const Graph *g, const Node *n)
{
    int64_t least, limit = n->type.dtype == DTYPE_I32 ? index_limit(g, n->attr[0].name, &least, &(const char *){NULL}) : INT64_MAX;
    if (limit == INT64_MAX)
        return (Bounds){-INFINITY, INFINITY};
    return (Bounds){least < 0 ? INT32_MIN : (double)least, (double)limit - 1};
}

static Bounds bounds_of(const Graph *g, const Node *n, const Bounds *b)
{
    const Bounds none = {-INFINITY, INFINITY}, x = n->n_in > 0 ? b[n->in[0]] : none, y = n->n_in > 1 ? b[n->in[1]] : none;
    Bounds cut;
    if (n->op == OP_PAD || n->op == OP_WINDOW || n->op == OP_UNWINDOW || n->op == OP_TAKE)
        return with_zero(x);
    if ((op_row[n->op].flags & OP_FLAG_VIEW) || n->op == OP_STOP)
        return x;
    switch (n->op) {
    case OP_PUT:    return hull(x, b[n->in[2]]);
    case OP_ARG:    return arg_bounds(g, n);
    case OP_CONST:  return (Bounds){n->attr[0].f, n->attr[0].f};
    case OP_INDEX:  return (Bounds){0, (double)graph_size(g, n->attr[0].axis) - 1};
    case OP_RANDOM: return (Bounds){0, 1};
    case OP_ADD:    return (Bounds){x.least + y.least, x.most + y.most};
    case OP_SUB:    return (Bounds){x.least - y.most, x.most - y.least};
    case OP_MUL:    return times(x, y);
    case OP_NEG:    return (Bounds){-x.most, -x.least};
    case OP_MAX:    return (Bounds){fmax(x.least, y.least), fmax(x.most, y.most)};
    case OP_MIN:    return (Bounds){fmin(x.least, y.least), fmin(x.most, y.most)};
    case OP_MOD:    return y.least > 0 ? (Bounds){0, y.most - (n->type.dtype == DTYPE_I32)} : none;
    case OP_LT: case OP_LE: case OP_EQ: case OP_NE:
        return (Bounds){0, 1};
    case OP_SELECT: return is_cut(g, n, b, &cut) ? cut : hull(y, b[n->in[2]]);
    case OP_CAST:
        return n->type.dtype == DTYPE_I32 ? (Bounds){trunc(x.least), trunc(x.most)} : n->type.dtype == DTYPE_BF16 ? none : x;
    case OP_REDUCE: return n->attr[0].red == RED_SUM ? none : x;
    case OP_TOPK: case OP_ASSIGN:
        return (Bounds){-1, (double)graph_size(g, n->attr[0].axis) - 1};
    case OP_RANK:   return (Bounds){0, pool_size(g, &n->attr[0]) - 1};
    case OP_SLOT:   return (Bounds){0, pool_size(g, &n->attr[1]) - 1};
    default:        return none;
    }
}

Bounds *index_bounds(const Graph *g, Arena *arena)
{
    Bounds *b = arena_array(arena, Bounds, g->n_nodes);
    for (size_t i = 1; i < g->n_nodes; i++) {
        const Node *n = &g->node[i];
        b[i] = bounds_of(g, n, b);
        bool whole = n->type.dtype == DTYPE_I32, fits = b[i].least >= INT32_MIN && b[i].most <= INT32_MAX;
        if (whole && !fits)                 // also where a bound is NaN; an int that overflows may be anything
            b[i] = (Bounds){INT32_MIN, INT32_MAX};
        else if (isnan(b[i].least) || isnan(b[i].most))
            b[i] = (Bounds){-INFINITY, INFINITY};
    }
    return b;
}

bool index_is_proved(const Graph *g, const Bounds *bounds, const Node *n)
{
    AxisId axis;
    ValueId index = index_operand(n, &axis);
    return !index || bounds[index].most <= (double)graph_size(g, axis) - 1;
}
