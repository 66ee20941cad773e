// The reverse sweep: from the total down to the leaves, each node's cotangent is complete when the node is reached,
// because operands come before users. The rules are in grad_rules*.c.
#include "grad.h"
#include "grad_rules.h"
#include "rewrite.h"

#include <assert.h>
#include <string.h>

static GradRule *const grad_rule[OP_COUNT] = {
    [OP_ERROR] = grad_none,
#define OP(id, text, n_in, attrs, shape, eval, grad, lower, flags) [OP_##id] = grad_##grad,
#include "ops.def"
#undef OP
};

// Functions that are flat wherever they have a derivative: those whose row in acts.def says 0.0.
static const char *const act_slope_text[ACT_COUNT] = {
#define ACT(id, text, value, uses, derivative) [ACT_##id] = #derivative,
#include "acts.def"
#undef ACT
};

size_t axes_minus(const Type *a, const Type *b, AxisId *out_axes)
{
    size_t n = 0;
    for (size_t i = 0; i < a->n_axes; i++)
        if (!type_has(b, a->axis[i]))
            out_axes[n++] = a->axis[i];
    return n;
}

ValueId grad_const(Grad *gr, ValueId v, double value)
{
    return graph_const(gr->g, gr->g->node[v].type.dtype, value);
}

bool grad_is_const(const Grad *gr, ValueId v, double value)
{
    const Node *n = &gr->g->node[v];
    return n->op == OP_CONST && n->attr[0].f == value;
}

// Gives a node of the gradient the axis order of the value that it belongs to. The order is layout, not meaning.
static void take_order(Grad *gr, ValueId d, const Type *like)
{
    Type *type = &gr->g->node[d].type, ordered = *type;
    if (d < gr->n_values)
        return;
    ordered.n_axes = 0;
    for (size_t i = 0; i < like->n_axes; i++)
        if (type_has(type, like->axis[i]))
            ordered.axis[ordered.n_axes++] = like->axis[i];
    if (ordered.n_axes == type->n_axes)
        *type = ordered;
}

void grad_push(Grad *gr, ValueId y, ValueId v, ValueId d)
{
    if (!d || !grad_wants(gr, v))
        return;
    take_order(gr, d, &gr->g->node[v].type);
    GradPart *part = arena_new(gr->scratch, GradPart);
    *part = (GradPart){.value = d, .user = y, .next = gr->part[v]};
    gr->part[v] = part;
}

// Sums `d`, which stands for a value with the axes of y, over the axes that neither v nor `keep` has.
static ValueId sum_early(Grad *gr, const Type *y, const Type *v, const Type *keep, ValueId d)
{
    AxisId gone[MAX_AXES], over[MAX_AXES];
    size_t n_gone = axes_minus(y, v, gone), n_over = 0;
    double count = 1;
    for (size_t i = 0; i < n_gone; i++) {
        if (keep && type_has(keep, gone[i]))
            continue;
        if (type_has(&gr->g->node[d].type, gone[i]))
            over[n_over++] = gone[i];
        else
            count *= (double)graph_size(gr->g, gone[i]);     // the same along this axis: the sum is a multiple
    }
    d = graph_reduce(gr->g, RED_SUM, d, over, n_over);
    return count == 1 || !d ? d : graph_binary(gr->g, OP_MUL, d, grad_const(gr, d, count));
}

ValueId grad_sum_to(Grad *gr, ValueId y, ValueId v, ValueId d)
{
    Type of = gr->g->node[y].type, to = gr->g->node[v].type;
    return sum_early(gr, &of, &to, NULL, d);
}

void grad_give(Grad *gr, ValueId y, ValueId v, ValueId d)
{
    if (d && grad_wants(gr, v))
        grad_push(gr, y, v, grad_sum_to(gr, y, v, d));
}

ValueId grad_sum_but(Grad *gr, ValueId y, ValueId v, ValueId f, ValueId d)
{
    Type of = gr->g->node[y].type, to = gr->g->node[v].type, keep = gr->g->node[f].type;
    return sum_early(gr, &of, &to, &keep, d);
}

ValueId grad_sum_late(Grad *gr, ValueId v, ValueId d)
{
    AxisId late[MAX_AXES];
    size_t n_late = d ? axes_minus(&gr->g->node[d].type, &gr->g->node[v].type, late) : 0;
    return graph_reduce(gr->g, RED_SUM, d, late, n_late);
}

void grad_give_op(Grad *gr, ValueId y, ValueId v, Op op, ValueId d, ValueId f)
{
    if (!d || !f || !grad_wants(gr, v))
        return;
    d = grad_sum_but(gr, y, v, f, d);
    d = op == OP_MUL && grad_is_const(gr, d, 1) ? f : graph_binary(gr->g, op, d, f);
    grad_push(gr, y, v, grad_sum_late(gr, v, d));
}

ValueId grad_full(Grad *gr, ValueId d, ValueId v)
{
    Type full = gr->g->node[v].type;
    if (!d)
        return 0;
    take_order(gr, d, &full);
    const Type *type = &gr->g->node[d].type;
    bool same = type->n_axes == full.n_axes;
    return same && type_same_axes(type, &full) ? d : graph_expand(gr->g, d, full.axis, full.n_axes);
}

// Whether a derivative flows from node n to its operand.
static bool flows(const Graph *g, const Node *n, size_t operand)
{
    if (grad_rule[n->op] == grad_none || n->type.dtype == DTYPE_I32 || g->node[n->in[operand]].type.dtype == DTYPE_I32)
        return false;
    switch (n->op) {
    case OP_SELECT:
        return operand > 0;
    case OP_TAKE:
    case OP_PUT_ADD:
        return operand == 0;
    case OP_MAP:
        return strcmp(act_slope_text[n->attr[0].act], "0.0") != 0;
    default:
        return true;
    }
}

static void mark_wanted(Grad *gr, const ValueId *wrt, size_t n_wrt)
{
    for (size_t i = 0; i < n_wrt; i++)
        gr->wanted[wrt[i]] = true;
    for (ValueId id = 1; id < gr->n_values; id++) {
        const Node *n = &gr->g->node[id];
        for (size_t i = 0; i < n->n_in && !gr->wanted[id]; i++)
            gr->wanted[id] = gr->wanted[n->in[i]] && flows(gr->g, n, i);
    }
    gr->wanted[0] = false;
}

// What to call a value: its hint, or the last step of a leaf's path where that is a plain name; NULL: nothing.
static const char *name_of(const Graph *g, ValueId id)
{
    const Node *n = &g->node[id];
    if (n->hint || n->n_attr == 0 || n->attr[0].kind != ATTR_NAME)
        return n->hint;
    const char *dot = strrchr(n->attr[0].name, '.'), *name = dot ? dot + 1 : n->attr[0].name;
    size_t n_plain = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    return n_plain && name[n_plain] == 0 ? name : NULL;
}

// The sum of all contributions, in the order in which they were given.
static ValueId collect(Grad *gr, ValueId id)
{
    GradPart *first = NULL;
    for (GradPart *p = gr->part[id], *next; p; p = next) {
        next = p->next;
        p->next = first;
        first = p;
    }
    gr->part[id] = first;
    ValueId d = 0;
    for (GradPart *p = first; p; p = p->next)
        d = d ? graph_binary(gr->g, OP_ADD, d, p->value) : p->value;
    take_order(gr, d, &gr->g->node[id].type);
    const char *hint = name_of(gr->g, id);
    if (d >= gr->n_values && hint && !gr->g->node[d].hint)
        gr->g->node[d].hint = arena_printf(gr->g->arena, "d%s", hint);
    return gr->d[id] = d;
}

bool grad_build(Graph *g, ValueId total, const ValueId *wrt, size_t n, ValueId *out_grad)
{
    const Type *type = &g->node[total].type;
    if (!total || type->dtype == DTYPE_I32 || type->n_axes) {
        diag_error(g->diag, g->node[total].at, NULL, "a gradient is taken of one number, and the total is not one");
        return false;
    }
    Arena scratch = scratch_arena(g->arena);
    Grad gr = {.g = g, .scratch = &scratch, .n_values = g->n_nodes};
    gr.wanted = arena_array(&scratch, bool, gr.n_values);
    gr.part = arena_array(&scratch, GradPart *, gr.n_values);
    gr.d = arena_array(&scratch, ValueId, gr.n_values);
    Span at = g->at;
    const char *layer = g->layer;
    size_t errors = g->diag->n_errors;

    mark_wanted(&gr, wrt, n);
    grad_push(&gr, 0, total, grad_const(&gr, total, 1));
    for (ValueId id = total; id > 0; id--) {
        if (!gr.wanted[id] || !gr.part[id])
            continue;
        g->at = g->node[id].at;
        g->layer = g->node[id].layer;
        grad_rule[g->node[id].op](&gr, id, collect(&gr, id));
    }
    for (size_t i = 0; i < n; i++) {
        g->at = g->node[wrt[i]].at;
        g->layer = g->node[wrt[i]].layer;
        ValueId d = grad_full(&gr, gr.d[wrt[i]], wrt[i]);
        if (d && !type_equal(&g->node[d].type, &g->node[wrt[i]].type))
            d = graph_expand(g, d, g->node[wrt[i]].type.axis, g->node[wrt[i]].type.n_axes);
        out_grad[i] = d;
    }
    g->at = at;
    g->layer = layer;
    arena_free(&scratch);
    return g->diag->n_errors == errors;
}
