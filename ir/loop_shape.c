// See loop_shape.h.
#include "loop_shape.h"

#include <string.h>

enum { MANY_ROWS = 64, SHORT_ROW = 16384, MOST_SEEN = 256 };

bool loop_is_reduction(const Node *n)
{
    return n->op == OP_REDUCE || n->op == OP_CONTRACT || (n->op == OP_PUT_ADD && n->attr[0].axes.n);
}

const Attr *loop_reduced_axes(const Node *n)
{
    return n->op == OP_REDUCE ? &n->attr[1] : &n->attr[0];
}

bool loop_moves_index(const Node *n)
{
    return ((op_row[n->op].flags & OP_FLAG_VIEW) && n->op != OP_EXPAND) || n->op == OP_TAKE || n->op == OP_PUT_ADD ||
           n->op == OP_PUT || n->op == OP_FFTCONV;
}

static bool listed(AxisId axis, const AxisId *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == axis)
            return true;
    return false;
}

static bool all_listed(const AxisId *axis, size_t n_axes, const AxisId *list, size_t n)
{
    for (size_t i = 0; i < n_axes; i++)
        if (!listed(axis[i], list, n))
            return false;
    return true;
}

static int64_t count_of(const Graph *g, const AxisId *axis, size_t n)
{
    int64_t count = 1;
    for (size_t i = 0; i < n; i++)
        count *= graph_size(g, axis[i]);
    return count;
}

// A walk through what is computed in place: finds the largest reduction. (A put_add there is a few comparisons for each element.)
typedef struct Look {
    const Graph *g;
    uint32_t     kernel;
    ValueId      seen[MOST_SEEN]; size_t n_seen;
    ValueId      inner;                     // 0: none
    int64_t      inner_count;
} Look;

static bool was_seen(const Look *look, ValueId v)
{
    for (size_t i = 0; i < look->n_seen; i++)
        if (look->seen[i] == v)
            return true;
    return false;
}

static void look_inside(Look *look, ValueId v, bool top)
{
    const Node *n = &look->g->node[v];
    if (n->op == OP_ARG || n->op == OP_PARAM || n->op == OP_STATE || (n->kernel && n->kernel != look->kernel) ||
        look->n_seen == MOST_SEEN || was_seen(look, v))
        return;
    look->seen[look->n_seen++] = v;
    int64_t count = 0;
    if (!top && loop_is_reduction(n) && n->op != OP_PUT_ADD && type_count(look->g, &look->g->node[n->in[0]].type, &count) && count > look->inner_count) {
        look->inner = v;
        look->inner_count = count;
    }
    for (int i = 0; i < n->n_in; i++)
        look_inside(look, n->in[i], false);
}

static void set_rows(LoopWish *wish, const AxisId *axis, size_t n)
{
    wish->shape = LOOP_ROWS;
    wish->n_rows = n;
    memcpy(wish->row, axis, n * sizeof *axis);
}

// The axis along which the numbers behind `v` lie side by side: that of the largest operand in memory, whatever order of axes
// the values computed in place on the way have.
static AxisId last_in_memory(const Graph *g, uint32_t kernel, ValueId v)
{
    for (;;) {
        const Node *n = &g->node[v];
        const bool in_place = !n->kernel || n->kernel == kernel;
        if (!n->n_in || !in_place || !((op_row[n->op].flags & OP_FLAG_POINTWISE) || n->op == OP_EXPAND || n->op == OP_STOP))
            return n->type.n_axes ? n->type.axis[n->type.n_axes - 1] : 0;
        ValueId largest = n->in[0];
        for (int i = 1; i < n->n_in; i++)
            if (g->node[n->in[i]].type.n_axes > g->node[largest].type.n_axes)
                largest = n->in[i];
        if (g->node[largest].type.n_axes < n->type.n_axes)
            return n->type.axis[n->type.n_axes - 1];
        v = largest;
    }
}

// The operand that most numbers are read from: of a vector times a matrix the matrix, which is read once, while the vector
// stays near.
static ValueId largest_operand(const Graph *g, const Node *n)
{
    int64_t count[2] = {0, 0};
    if (n->op != OP_CONTRACT || !type_count(g, &g->node[n->in[0]].type, &count[0]) || !type_count(g, &g->node[n->in[1]].type, &count[1]))
        return n->in[0];
    return n->in[count[1] > count[0]];
}

AxisId loop_memory_axis(const Graph *g, uint32_t kernel, ValueId v)
{
    return last_in_memory(g, kernel, largest_operand(g, &g->node[v]));
}

static LoopWish ask_reduction(const Graph *g, ValueId v, const Look *look)
{
    const Node *n = &g->node[v];
    const Type *x = &g->node[n->in[0]].type, *inner = look->inner ? &g->node[look->inner].type : NULL;
    const Attr *over = loop_reduced_axes(n);
    LoopWish wish = {.shape = LOOP_LANES};
    AxisId last = last_in_memory(g, look->kernel, largest_operand(g, n));
    if (n->op == OP_CONTRACT && (!n->type.n_axes || n->type.axis[n->type.n_axes - 1] != last))
        last = last_in_memory(g, look->kernel, n->in[0]);
    int64_t rows = count_of(g, n->type.axis, n->type.n_axes), length = count_of(g, over->axes.id, over->axes.n);
    int64_t work = rows * length > look->inner_count ? rows * length : look->inner_count;
    bool along = listed(last, over->axes.id, over->axes.n);
    bool simple = n->op == OP_REDUCE && n->attr[0].red == RED_SUM && n->type.dtype != DTYPE_I32;
    if (along && (rows >= MANY_ROWS || work <= SHORT_ROW || !simple)) {
        set_rows(&wish, n->type.axis, n->type.n_axes);
        return wish;
    }
    if (!simple || (!along && (rows >= 4096 || length < 256)))
        return wish;
    wish.is_column = true;
    if (n->type.n_axes == 0 && !inner) {
        wish.shape = LOOP_TOTAL;
        return wish;
    }
    wish.shape = LOOP_ROWS;
    // Rows as the reduction inside has them, or all reduced axes but the innermost.
    bool as_inner = inner && inner->n_axes && all_listed(inner->axis, inner->n_axes, over->axes.id, over->axes.n);
    for (int i = 0; i < x->n_axes; i++)
        if (listed(x->axis[i], over->axes.id, over->axes.n) &&
            (as_inner ? type_has(inner, x->axis[i]) : x->axis[i] != last || over->axes.n == 1))
            wish.row[wish.n_rows++] = x->axis[i];
    return wish;
}

LoopWish loop_ask(const Graph *g, uint32_t kernel, ValueId v)
{
    const Node *n = &g->node[v];
    LoopWish wish = {.shape = LOOP_LANES};
    Look look = {.g = g, .kernel = kernel};
    look_inside(&look, v, true);
    if (loop_is_reduction(n))
        return ask_reduction(g, v, &look);
    if (!look.inner)
        return wish;
    const Node *r = &g->node[look.inner];
    const Type *x = &g->node[r->in[0]].type;
    const Attr *over = loop_reduced_axes(r);
    bool inside = all_listed(r->type.axis, r->type.n_axes, n->type.axis, n->type.n_axes);
    bool along = x->n_axes && listed(x->axis[x->n_axes - 1], over->axes.id, over->axes.n);
    // A number for the whole value: the loop over a large value makes it first, and stays many work items.
    int64_t count = 0;
    bool large = !r->type.n_axes && (!type_count(g, &n->type, &count) || count > SHORT_ROW);
    if (inside && along && !large)
        set_rows(&wish, r->type.axis, r->type.n_axes);
    return wish;
}

static bool same_set(const AxisId *a, size_t n_a, const AxisId *b, size_t n_b)
{
    return n_a == n_b && all_listed(a, n_a, b, n_b);
}

// A value written in lanes can be written row by row.
static bool has_rows(const Graph *g, ValueId v, const LoopWish *rows)
{
    const Type *type = &g->node[v].type;
    return !loop_is_reduction(&g->node[v]) && type->n_axes >= rows->n_rows &&
           all_listed(rows->row, rows->n_rows, type->axis, type->n_axes);
}

bool loop_join(const Graph *g, LoopWish *group, const ValueId *member, size_t n_members, const LoopWish *wish, ValueId v)
{
    const Node *n = &g->node[v], *first = &g->node[member[0]];
    switch (group->shape) {
    case LOOP_LANES:
        if (wish->shape == LOOP_LANES)
            return same_set(first->type.axis, first->type.n_axes, n->type.axis, n->type.n_axes);
        if (wish->shape == LOOP_TOTAL || !wish->n_rows)
            return false;
        for (size_t i = 0; i < n_members; i++)
            if (!has_rows(g, member[i], wish))
                return false;
        *group = *wish;
        return true;
    case LOOP_ROWS:
        if (wish->is_column) {
            const Attr *over = loop_reduced_axes(n);
            return wish->shape == LOOP_ROWS && group->n_rows && all_listed(group->row, group->n_rows, over->axes.id, over->axes.n);
        }
        if (wish->shape == LOOP_ROWS)
            return same_set(group->row, group->n_rows, wish->row, wish->n_rows);
        return wish->shape == LOOP_LANES && has_rows(g, v, group) && (group->n_rows || !n->type.n_axes);
    case LOOP_TOTAL:
        return wish->shape == LOOP_TOTAL && type_same_axes(&g->node[first->in[0]].type, &g->node[n->in[0]].type);
    }
    return false;
}
