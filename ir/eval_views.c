// Evaluation of the views. Most walk over the result and read; merge and pad walk over the operand and write.
#include "eval_walk.h"

static void read_along(const Eval *e, const Node *n, Walk *w, int64_t start, double *out, size_t n_out)
{
    const double *x = e->value[n->in[0]];
    w->at[0] = start;
    for (size_t i = 0; i < n_out; i++, walk_next(w))
        out[i] = x[w->at[0]];
}

// A walk over the result in which place 0 follows operand 0.
static Walk follow_x(const Eval *e, const Node *n)
{
    Walk w = walk_over(e->g, &n->type);
    walk_follow(&w, 0, e->g, &e->g->node[n->in[0]].type);
    return w;
}

static int64_t x_stride(const Eval *e, const Node *n, AxisId axis)
{
    return type_stride(e->g, &e->g->node[n->in[0]].type, axis);
}

Status eval_expand(Eval *e, const Node *n, double *out, size_t n_out)
{
    Walk w = follow_x(e, n);
    read_along(e, n, &w, 0, out, n_out);
    return STATUS_OK;
}

Status eval_rename(Eval *e, const Node *n, double *out, size_t n_out)
{
    Walk w = follow_x(e, n);
    const Attr *from = &n->attr[0], *to = &n->attr[1];
    for (size_t k = 0; k < from->axes.n; k++)
        walk_stride(&w, 0, to->axes.id[k], x_stride(e, n, from->axes.id[k]));
    read_along(e, n, &w, 0, out, n_out);
    return STATUS_OK;
}

// i = ((i0*n1 + i1)*n2 + i2)..: the last one steps by one
Status eval_split(Eval *e, const Node *n, double *out, size_t n_out)
{
    Walk w = follow_x(e, n);
    const Attr *to = &n->attr[1];
    int64_t stride = x_stride(e, n, n->attr[0].axis);
    for (size_t k = to->axes.n; k-- > 0; stride *= graph_size(e->g, to->axes.id[k]))
        walk_stride(&w, 0, to->axes.id[k], stride);
    read_along(e, n, &w, 0, out, n_out);
    return STATUS_OK;
}

// A walk over operand 0 in which place 0 follows the result.
static Walk follow_result(const Eval *e, const Node *n, size_t *out_count)
{
    const Type *x = &e->g->node[n->in[0]].type;
    int64_t count = 0;
    type_count(e->g, x, &count);
    *out_count = (size_t)count;
    Walk w = walk_over(e->g, x);
    walk_follow(&w, 0, e->g, &n->type);
    return w;
}

static void write_along(const Eval *e, const Node *n, Walk *w, int64_t start, double *out, size_t n_x)
{
    const double *x = e->value[n->in[0]];
    w->at[0] = start;
    for (size_t i = 0; i < n_x; i++, walk_next(w))
        out[w->at[0]] = x[i];
}

Status eval_merge(Eval *e, const Node *n, double *out, size_t n_out)
{
    (void)n_out;
    size_t n_x;
    Walk w = follow_result(e, n, &n_x);
    const Attr *axes = &n->attr[0];
    int64_t stride = type_stride(e->g, &n->type, n->attr[1].axis);
    for (size_t k = axes->axes.n; k-- > 0; stride *= graph_size(e->g, axes->axes.id[k]))
        walk_stride(&w, 0, axes->axes.id[k], stride);
    write_along(e, n, &w, 0, out, n_x);
    return STATUS_OK;
}

Status eval_at(Eval *e, const Node *n, double *out, size_t n_out)
{
    Walk w = follow_x(e, n);
    read_along(e, n, &w, n->attr[1].i * x_stride(e, n, n->attr[0].axis), out, n_out);
    return STATUS_OK;
}

// y[j] = x[start + j]
Status eval_slice(Eval *e, const Node *n, double *out, size_t n_out)
{
    Walk w = follow_x(e, n);
    int64_t stride = x_stride(e, n, n->attr[0].axis);
    walk_stride(&w, 0, n->attr[2].axis, stride);
    read_along(e, n, &w, n->attr[1].i * stride, out, n_out);
    return STATUS_OK;
}

// y[i] = x[i - start] inside, 0 outside
Status eval_pad(Eval *e, const Node *n, double *out, size_t n_out)
{
    (void)n_out;
    size_t n_x;
    Walk w = follow_result(e, n, &n_x);
    int64_t stride = type_stride(e->g, &n->type, n->attr[2].axis);
    walk_stride(&w, 0, n->attr[0].axis, stride);
    write_along(e, n, &w, n->attr[1].i * stride, out, n_x);
    return STATUS_OK;
}

// y[i] = x[n - 1 - i]
Status eval_reverse(Eval *e, const Node *n, double *out, size_t n_out)
{
    Walk w = follow_x(e, n);
    int64_t stride = x_stride(e, n, n->attr[0].axis);
    walk_stride(&w, 0, n->attr[0].axis, -stride);
    read_along(e, n, &w, (graph_size(e->g, n->attr[0].axis) - 1) * stride, out, n_out);
    return STATUS_OK;
}

static int64_t walk_index(const Walk *w, AxisId axis)
{
    for (size_t i = 0; i < w->n_axes; i++)
        if (w->axis[i] == axis)
            return w->index[i];
    return 0;
}

// y[o, j] = x[o*stride + j - left], 0 outside
Status eval_window(Eval *e, const Node *n, double *out, size_t n_out)
{
    Walk w = follow_x(e, n);
    AxisId axis = n->attr[0].axis, o = n->attr[1].axes.id[0], j = n->attr[1].axes.id[1];
    int64_t stride = n->attr[2].i, left = n->attr[3].i, size = graph_size(e->g, axis), step = x_stride(e, n, axis);
    const double *x = e->value[n->in[0]];
    walk_stride(&w, 0, o, 0);
    walk_stride(&w, 0, j, 0);
    for (size_t i = 0; i < n_out; i++, walk_next(&w)) {
        int64_t place = walk_index(&w, o) * stride + walk_index(&w, j) - left;
        out[i] = place >= 0 && place < size ? x[w.at[0] + place * step] : 0;
    }
    return STATUS_OK;
}

// y[i, j] = x[(i + left - j)/stride, j] where that is whole and inside, else 0
Status eval_unwindow(Eval *e, const Node *n, double *out, size_t n_out)
{
    Walk w = follow_x(e, n);
    AxisId o = n->attr[0].axes.id[0], j = n->attr[0].axes.id[1], to = n->attr[1].axis;
    int64_t stride = n->attr[2].i, left = n->attr[3].i, size = graph_size(e->g, o), step = x_stride(e, n, o);
    const double *x = e->value[n->in[0]];
    walk_stride(&w, 0, to, 0);
    for (size_t i = 0; i < n_out; i++, walk_next(&w)) {
        int64_t reach = walk_index(&w, to) + left - walk_index(&w, j), place = reach / stride;
        out[i] = reach >= 0 && reach % stride == 0 && place < size ? x[w.at[0] + place * step] : 0;
    }
    return STATUS_OK;
}
