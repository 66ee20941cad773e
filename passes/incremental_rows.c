// Rows: what a value of main is at the new positions only. See incremental.h.
//
// Most ops do at one position what they do at all of them: their operands' rows, and whole operands where an operand does not
// count the axis. What moves along the axis itself - a slice, padding, a window - takes from the whole operand at places
// reckoned from the new positions.
#include "incremental.h"

#include <string.h>

typedef enum RowRule {
    ROW_TOKENS,                             // the new tokens
    ROW_INDEX,                              // the new positions
    ROW_TAKEN,                              // out of the whole value
    ROW_ALIKE,                              // the same op on rows
    ROW_MOVED,                              // out of the whole operand, at other places
    ROW_CONVOLVED,                          // a convolution along the axis
    ROW_UNKNOWN
} RowRule;

static bool listed(const Attr *list, AxisId axis)
{
    for (size_t i = 0; i < list->axes.n; i++)
        if (list->axes.id[i] == axis)
            return true;
    return false;
}

static RowRule rule_of_view(const Node *n, AxisId axis)
{
    switch ((int)n->op) {
    case OP_SLICE: case OP_PAD: return n->attr[2].axis == axis ? ROW_MOVED : ROW_ALIKE;
    case OP_REVERSE: return n->attr[0].axis == axis ? ROW_MOVED : ROW_ALIKE;
    case OP_WINDOW:
        return n->attr[1].axes.id[0] == axis ? ROW_MOVED : n->attr[1].axes.id[1] == axis ? ROW_UNKNOWN : ROW_ALIKE;
    case OP_SPLIT:    return listed(&n->attr[1], axis) ? ROW_UNKNOWN : ROW_ALIKE;
    case OP_MERGE: case OP_UNWINDOW:
        return n->attr[1].axis == axis || listed(&n->attr[0], axis) ? ROW_UNKNOWN : ROW_ALIKE;
    default:          return ROW_ALIKE;     // rename, expand, at
    }
}

static RowRule rule_of(const Steps *s, ValueId v, AxisId axis)
{
    const Node *n = &s->in->node[v];
    const unsigned flags = op_row[n->op].flags;
    if (v == s->tokens)
        return ROW_TOKENS;
    if (n->op == OP_PARAM || n->op == OP_STATE)
        return ROW_TAKEN;
    if (n->op == OP_INDEX)
        return ROW_INDEX;
    if (n->op == OP_ARG || n->op == OP_RANDOM)
        return ROW_UNKNOWN;
    if (!step_varies(s, v) && !(flags & OP_FLAG_POINTWISE) && n->op != OP_EXPAND && n->op != OP_RENAME && n->op != OP_TAKE)
        return ROW_TAKEN;
    if (flags & OP_FLAG_VIEW)
        return rule_of_view(n, axis);
    if (flags & OP_FLAG_POINTWISE)
        return ROW_ALIKE;
    switch ((int)n->op) {
    case OP_CONTRACT: case OP_REDUCE: case OP_TAKE: return ROW_ALIKE;
    case OP_PUT_ADD: case OP_TOPK: return n->attr[1].axis == axis ? ROW_UNKNOWN : ROW_ALIKE;
    case OP_RANK:    return listed(&n->attr[0], axis) ? ROW_UNKNOWN : ROW_ALIKE;
    case OP_SLOT: case OP_ASSIGN: return listed(&n->attr[1], axis) ? ROW_UNKNOWN : ROW_ALIKE;
    case OP_FFTCONV: return n->attr[2].axis == axis ? ROW_CONVOLVED : ROW_ALIKE;
    default:         return ROW_UNKNOWN;
    }
}

// The operand's name for the axis.
static AxisId axis_before(const Node *n, AxisId axis)
{
    for (size_t i = 0; n->op == OP_RENAME && i < n->attr[0].axes.n; i++)
        if (n->attr[1].axes.id[i] == axis)
            return n->attr[0].axes.id[i];
    return axis;
}

void step_rows_plan(Steps *s, ValueId v, AxisId axis)
{
    const Node *n = &s->in->node[v];
    switch (rule_of(s, v, axis)) {
    case ROW_TOKENS: case ROW_INDEX: return;
    case ROW_TAKEN: step_want_whole(s, v); return;
    case ROW_MOVED: step_want_whole(s, n->in[0]); return;
    case ROW_CONVOLVED:
        if (!step_conv_plan(s, v))
            step_fail(s, v, "the tokens make the filter, or it goes round or looks ahead");
        return;
    case ROW_UNKNOWN:
        step_fail(s, v, n->op == OP_ARG ? "an input other than the tokens counts positions" : "it moves positions in a way that is not known step by step");
        return;
    case ROW_ALIKE: break;
    }
    const AxisId before = axis_before(n, axis);
    for (size_t i = 0; i < n->n_in; i++)
        if (type_has(&s->in->node[n->in[i]].type, before))
            step_want_rows(s, n->in[i], before);
        else
            step_want_whole(s, n->in[i]);
}

ValueId step_rows_value(const Steps *s, ValueId v, AxisId axis)
{
    const Forms *f = &s->forms[v];
    for (size_t i = 0; i < f->n_rows; i++)
        if (f->axis[i] == axis)
            return f->row[i];
    return 0;
}

static Type type_of_rows(const Steps *s, ValueId v, AxisId axis)
{
    Type type = s->in->node[v].type;
    for (size_t i = 0; i < type.n_axes; i++)
        if (type.axis[i] == axis)
            type.axis[i] = s->now;
    return type;
}

// The same op, with the operands' rows. Of a renaming what concerns the axis is gone.
static ValueId emit_alike(Steps *s, ValueId v, AxisId axis)
{
    const Node *n = &s->in->node[v];
    Graph *g = s->rw.out;
    Attr attr[OP_MAX_ATTRS] = {{0}};
    AxisId list[2][MAX_AXES];
    ValueId *in = arena_array(s->scratch, ValueId, n->n_in + 1u);
    const AxisId before = axis_before(n, axis);
    for (size_t i = 0; i < n->n_in; i++)
        in[i] = type_has(&s->in->node[n->in[i]].type, before) ? step_rows_value(s, n->in[i], before) : s->rw.map[n->in[i]];
    size_t n_lists = 0;
    for (size_t i = 0; i < n->n_attr; i++) {
        attr[i] = n->attr[i];
        if (attr[i].kind != ATTR_AXES)
            continue;
        AxisId *to = list[n_lists++ % 2];
        size_t k = 0;
        for (size_t j = 0; j < attr[i].axes.n; j++) {
            const AxisId a = attr[i].axes.id[j];
            if (n->op != OP_RENAME)
                to[k++] = a == axis ? s->now : a;
            else if (n->attr[1].axes.id[j] != axis)
                to[k++] = a;
        }
        attr[i].axes.id = to;
        attr[i].axes.n = (uint8_t)k;
    }
    if (n->op == OP_RENAME && attr[0].axes.n == 0)
        return in[0];
    const Type wanted = type_of_rows(s, v, axis);
    const ValueId made = graph_add(g, n->op, in, n->n_in, attr, n->n_attr, &wanted);
    if (made && type_same_axes(&g->node[made].type, &wanted))
        g->node[made].type = wanted;        // the order of axes is main's
    return made;
}

static ValueId whole_number(Graph *g, int64_t i)
{
    return graph_const(g, DTYPE_I32, (double)i);
}

// Where a view's rows lie along the axis of its operand; beyond its end is nowhere.
static ValueId moved_places(Steps *s, const Node *n, AxisId *out_axis)
{
    Graph *g = s->rw.out;
    const int64_t size = graph_size(s->in, n->attr[0].axis);
    ValueId at = s->place;
    int64_t last = size - 1;                // where the last row lies
    *out_axis = n->attr[0].axis;
    if (n->op == OP_SLICE)
        return graph_binary(g, OP_ADD, at, whole_number(g, n->attr[1].i));
    if (n->op == OP_REVERSE)
        return graph_binary(g, OP_SUB, whole_number(g, size - 1), at);
    if (n->op == OP_PAD) {
        at = graph_binary(g, OP_SUB, at, whole_number(g, n->attr[1].i));
        last = graph_size(s->in, n->attr[2].axis) - 1 - n->attr[1].i;
    } else {
        const AxisId *to = n->attr[1].axes.id;
        last = (graph_size(s->in, to[0]) - 1)*n->attr[2].i + graph_size(s->in, to[1]) - 1 - n->attr[3].i;
        at = graph_binary(g, OP_MUL, at, whole_number(g, n->attr[2].i));
        at = graph_binary(g, OP_ADD, at, graph_index(g, to[1]));
        at = graph_binary(g, OP_SUB, at, whole_number(g, n->attr[3].i));
    }
    if (last < size)
        return at;
    return graph_select(g, graph_binary(g, OP_LT, at, whole_number(g, size)), at, whole_number(g, -1));
}

ValueId step_rows_emit(Steps *s, ValueId v, AxisId axis)
{
    const Node *n = &s->in->node[v];
    Graph *g = s->rw.out;
    AxisId along;
    rewrite_at(&s->rw, v);
    switch (rule_of(s, v, axis)) {
    case ROW_TOKENS: return graph_leaf(g, OP_ARG, arena_strdup(g->arena, n->attr[0].name), type_of_rows(s, v, axis));
    case ROW_INDEX:  return s->place;
    case ROW_TAKEN:  return graph_take(g, s->rw.map[v], s->place, axis);
    case ROW_ALIKE:  return emit_alike(s, v, axis);
    case ROW_MOVED: {
        const ValueId at = moved_places(s, n, &along);
        return graph_take(g, s->rw.map[n->in[0]], at, along);
    }
    case ROW_CONVOLVED: {
        const Type type = type_of_rows(s, v, axis);
        return step_conv_rows(s, v, &type);
    }
    case ROW_UNKNOWN: break;
    }
    return 0;
}
