// Gradient rules of products, sums, views, and of take and put_add. The adjoint of each is in the same set of ops.
#include "grad_rules.h"

#include <string.h>

static ValueId in(const Grad *gr, ValueId id, size_t i)
{
    return gr->g->node[id].in[i];
}

// Of weights taken by an index (those of the experts that a token chose) each choice's product is made on its own and the
// choices are summed after: such a product is one with grouped rows. Moves the index's axes to the end of `over`, unless
// nothing else is in it, and returns their number.
static size_t split_chosen(const Graph *g, ValueId weights, AxisId *over, size_t *n_over)
{
    const Node *n = &g->node[weights];
    AxisId kept[MAX_AXES], chosen[MAX_AXES];
    size_t n_kept = 0, n_chosen = 0;
    for (size_t i = 0; i < *n_over && n->op == OP_TAKE; i++)
        if (type_has(&g->node[n->in[1]].type, over[i]))
            chosen[n_chosen++] = over[i];
        else
            kept[n_kept++] = over[i];
    if (n_kept == 0 || n_chosen == 0)
        return 0;
    memcpy(over, kept, n_kept * sizeof *over);
    memcpy(over + n_kept, chosen, n_chosen * sizeof *over);
    *n_over = n_kept;
    return n_chosen;
}

size_t grad_back_axes(const Grad *gr, ValueId y, size_t operand, AxisId *over, AxisId *chosen, size_t *out_n_chosen)
{
    const Graph *g = gr->g;
    ValueId v = g->node[y].in[operand], other = g->node[y].in[1 - operand];
    size_t n_over = axes_minus(&g->node[other].type, &g->node[v].type, over);
    *out_n_chosen = split_chosen(g, other, over, &n_over);
    memcpy(chosen, over + n_over, *out_n_chosen * sizeof *over);
    return n_over;
}

ValueId grad_back(Grad *gr, ValueId y, size_t operand, ValueId dy)
{
    Graph *g = gr->g;
    AxisId over[MAX_AXES], chosen[MAX_AXES];
    size_t n_chosen, n_over = grad_back_axes(gr, y, operand, over, chosen, &n_chosen);
    ValueId other = in(gr, y, 1 - operand), left = operand == 0 ? dy : other, right = operand == 0 ? other : dy;
    return n_over ? graph_contract(g, left, right, over, n_over) : graph_binary(g, OP_MUL, left, right);
}

// y = sum over A of a b. da = sum of dy b over the axes that only b has; each axis of A is in both, so da has it.
void grad_contract(Grad *gr, ValueId y, ValueId dy)
{
    dy = grad_full(gr, dy, y);
    for (size_t i = 0; i < 2; i++) {
        ValueId v = in(gr, y, i);
        if (!grad_wants(gr, v))
            continue;
        AxisId over[MAX_AXES], chosen[MAX_AXES];
        size_t n_chosen;
        grad_back_axes(gr, y, i, over, chosen, &n_chosen);
        ValueId d = grad_gated(gr, y, i, dy);
        grad_push(gr, y, v, graph_reduce(gr->g, RED_SUM, d ? d : grad_back(gr, y, i, dy), chosen, n_chosen));
    }
}

// y[o] = sum of x[o - s + left] k[s]. dx is dy with the filter turned round, dk is dy with x turned round:
//     dx[i] = sum of dy[i - s + S-1-left] k[S-1-s],  dk[s] = sum of dy[s - i + T-1-left] x[T-1-i]
void grad_fftconv(Grad *gr, ValueId y, ValueId dy)
{
    Graph *g = gr->g;
    Node n = g->node[y];
    ValueId operand[2] = {n.in[0], n.in[1]};
    AxisId axis = n.attr[0].axis, taps = n.attr[1].axis, to = n.attr[2].axis;
    bool circular = n.attr[5].i != 0;
    dy = grad_full(gr, dy, y);
    for (size_t i = 0; i < 2; i++) {
        ValueId v = operand[i], other = operand[1 - i];
        if (!grad_wants(gr, v))
            continue;
        AxisId along = i == 0 ? taps : axis, want = i == 0 ? axis : taps, over[MAX_AXES];
        AxisId made = circular ? axis : want;
        uint8_t n_over = 0;
        for (int k = 0; k < g->node[other].type.n_axes; k++) {
            AxisId a = g->node[other].type.axis[k];
            if (a != along && !type_has(&g->node[v].type, a))
                over[n_over++] = a;
        }
        int64_t left = graph_size(g, along) - 1 - n.attr[3].i;
        Attr attr[6] = {{.kind = ATTR_AXIS, .axis = to}, {.kind = ATTR_AXIS, .axis = along}, {.kind = ATTR_AXIS, .axis = made},
                        {.kind = ATTR_INT, .i = left}, {.kind = ATTR_AXES, .axes = {n_over, over}},
                        {.kind = ATTR_INT, .i = circular}};
        ValueId d = graph_fftconv(g, dy, graph_reverse(g, other, along), attr);
        grad_push(gr, y, v, made == want ? d : graph_slice(g, d, made, 0, want));
    }
}

// Of a sum: dy, the same for all that was summed. Of a maximum or minimum: dy in even parts to the elements that are
// equal to it, as torch.amax does.
void grad_reduce(Grad *gr, ValueId y, ValueId dy)
{
    Graph *g = gr->g;
    ValueId x = in(gr, y, 0);
    Attr over = g->node[y].attr[1];
    if (!grad_wants(gr, x))
        return;
    if (g->node[y].attr[0].red != RED_SUM) {
        ValueId equal = graph_binary(g, OP_EQ, x, y);
        ValueId count = graph_cast(g, g->node[x].type.dtype, graph_reduce(g, RED_SUM, equal, over.axes.id, over.axes.n));
        dy = graph_select(g, equal, graph_binary(g, OP_DIV, dy, count), grad_const(gr, dy, 0));
    }
    grad_push(gr, y, x, dy);
}

// The names back, as far as dy has them.
void grad_rename(Grad *gr, ValueId y, ValueId dy)
{
    Graph *g = gr->g;
    const Node *n = &g->node[y];
    AxisId from[MAX_AXES], to[MAX_AXES];
    uint8_t k = 0;
    for (size_t i = 0; i < n->attr[0].axes.n; i++) {
        if (!type_has(&g->node[dy].type, n->attr[1].axes.id[i]))
            continue;
        from[k] = n->attr[1].axes.id[i];
        to[k++] = n->attr[0].axes.id[i];
    }
    ValueId x = n->in[0];
    Attr attr[2] = {{.kind = ATTR_AXES, .axes = {k, from}}, {.kind = ATTR_AXES, .axes = {k, to}}};
    grad_push(gr, y, x, k ? graph_add(g, OP_RENAME, &dy, 1, attr, 2, NULL) : dy);
}

void grad_split(Grad *gr, ValueId y, ValueId dy)
{
    const Attr *attr = gr->g->node[y].attr;
    dy = grad_full(gr, dy, y);
    grad_push(gr, y, in(gr, y, 0), graph_merge(gr->g, dy, attr[1].axes.id, attr[1].axes.n, attr[0].axis));
}

void grad_merge(Grad *gr, ValueId y, ValueId dy)
{
    const Attr *attr = gr->g->node[y].attr;
    dy = grad_full(gr, dy, y);
    grad_push(gr, y, in(gr, y, 0), graph_split(gr->g, dy, attr[1].axis, attr[0].axes.id, attr[0].axes.n));
}

// dy where the position along the axis is that of the index, 0 elsewhere.
static ValueId place(Grad *gr, ValueId dy, AxisId axis, ValueId index)
{
    Graph *g = gr->g;
    ValueId here = graph_binary(g, OP_EQ, graph_index(g, axis), index);
    return graph_select(g, here, dy, grad_const(gr, dy, 0));
}

void grad_at(Grad *gr, ValueId y, ValueId dy)
{
    const Attr *attr = gr->g->node[y].attr;
    ValueId index = graph_const(gr->g, DTYPE_I32, (double)attr[1].i);
    grad_push(gr, y, in(gr, y, 0), place(gr, dy, attr[0].axis, index));
}

void grad_slice(Grad *gr, ValueId y, ValueId dy)
{
    const Attr *attr = gr->g->node[y].attr;                 // axis, start, to
    dy = grad_full(gr, dy, y);
    grad_push(gr, y, in(gr, y, 0), graph_pad(gr->g, dy, attr[2].axis, attr[1].i, attr[0].axis));
}

void grad_pad(Grad *gr, ValueId y, ValueId dy)
{
    const Attr *attr = gr->g->node[y].attr;                 // axis, start, to
    dy = grad_full(gr, dy, y);
    grad_push(gr, y, in(gr, y, 0), graph_slice(gr->g, dy, attr[2].axis, attr[1].i, attr[0].axis));
}

void grad_reverse(Grad *gr, ValueId y, ValueId dy)
{
    AxisId axis = gr->g->node[y].attr[0].axis;
    bool varies = type_has(&gr->g->node[dy].type, axis);
    grad_push(gr, y, in(gr, y, 0), varies ? graph_reverse(gr->g, dy, axis) : dy);
}

// y[o, j] = x[o*stride + j - left]: dx[i] = sum over j of unwindow(dy)[i, j]
void grad_window(Grad *gr, ValueId y, ValueId dy)
{
    const Attr *attr = gr->g->node[y].attr;                 // axis, to = [O, J], stride, left
    AxisId axis = attr[0].axis, o = attr[1].axes.id[0], j = attr[1].axes.id[1];
    dy = grad_full(gr, dy, y);
    ValueId wide = graph_unwindow(gr->g, dy, o, j, axis, attr[2].i, attr[3].i);
    grad_push(gr, y, in(gr, y, 0), graph_reduce(gr->g, RED_SUM, wide, &j, 1));
}

// An axis like `axis` that none of the values has: its first free twin.
static AxisId fresh_twin(Grad *gr, AxisId axis, ValueId a, ValueId b)
{
    Axis like = gr->g->axis[axis];
    const char *name = like.name;
    AxisId twin = axis;
    while (twin && (type_has(&gr->g->node[a].type, twin) || type_has(&gr->g->node[b].type, twin))) {
        name = arena_printf(gr->scratch, "%s'", name);
        const char *kept = arena_strdup(gr->g->arena, name);
        twin = graph_axis(gr->g, kept, like.kind, like.size, like.twin_of ? like.twin_of : axis);
    }
    return twin;
}

// y[i, j] = x[(i + left - j)/stride, j]: dx[o, j] = dy[o*stride + j - left, j], which is window(dy) of the other j
// read on the diagonal of the two.
void grad_unwindow(Grad *gr, ValueId y, ValueId dy)
{
    Graph *g = gr->g;
    Node n = g->node[y];                                    // axes = [O, J], to, stride, left
    ValueId x = n.in[0];
    AxisId o = n.attr[0].axes.id[0], j = n.attr[0].axes.id[1], axis = n.attr[1].axis;
    if (!grad_wants(gr, x))
        return;
    dy = grad_full(gr, dy, y);
    AxisId twin = fresh_twin(gr, j, dy, x);
    ValueId wide = graph_window(g, graph_rename(g, dy, j, twin), axis, o, j, n.attr[2].i, n.attr[3].i);
    ValueId diagonal = graph_binary(g, OP_EQ, graph_index(g, j), graph_index(g, twin));
    ValueId chosen = graph_select(g, diagonal, wide, grad_const(gr, wide, 0));
    grad_push(gr, y, x, graph_reduce(g, RED_SUM, chosen, &twin, 1));
}

// y = x[axis = i]. Where i brings axes of its own, many results may have read one element, and dx is put_add's sum;
// else each row of x was read once, and dx is dy at that place.
void grad_take(Grad *gr, ValueId y, ValueId dy)
{
    Graph *g = gr->g;
    ValueId x = in(gr, y, 0), index = in(gr, y, 1);
    AxisId axis = g->node[y].attr[0].axis, added[MAX_AXES];
    if (!grad_wants(gr, x))
        return;
    size_t n_added = axes_minus(&g->node[index].type, &g->node[x].type, added);
    if (n_added == 0)
        grad_push(gr, y, x, place(gr, dy, axis, index));
    else
        grad_push(gr, y, x, graph_put_add(g, grad_full(gr, dy, y), index, added, n_added, axis));
}

// y[v] = sum of x where i == v: dx = dy[axis = i]
void grad_put_add(Grad *gr, ValueId y, ValueId dy)
{
    Graph *g = gr->g;
    ValueId index = in(gr, y, 1);
    dy = grad_full(gr, dy, y);
    grad_push(gr, y, in(gr, y, 0), graph_take(g, dy, index, g->node[y].attr[1].axis));
}
