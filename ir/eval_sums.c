// Evaluation of sums, products, indexing, and the orthogonal initialiser.
#include "act_math.h"
#include "eval_walk.h"

#include <string.h>

static const Type *type_of(const Eval *e, const Node *n, size_t i)
{
    return &e->g->node[n->in[i]].type;
}

static bool listed(const Attr *list, AxisId axis)
{
    for (size_t i = 0; i < list->axes.n; i++)
        if (list->axes.id[i] == axis)
            return true;
    return false;
}

// y[rest] = sum over `over` of a*b. The places of the summed elements, relative to the first, are worked out once.
Status eval_contract(Eval *e, const Node *n, double *out, size_t n_out)
{
    const Attr *over = &n->attr[0];
    const double *a = e->value[n->in[0]], *b = e->value[n->in[1]];
    Type summed = type_make(DTYPE_F32, over->axes.id, over->axes.n);
    int64_t count = 0;
    type_count(e->g, &summed, &count);
    int64_t *place_a = arena_array(e->arena, int64_t, (size_t)count);
    int64_t *place_b = arena_array(e->arena, int64_t, (size_t)count);
    Walk in = walk_over(e->g, &summed);
    walk_follow(&in, 0, e->g, type_of(e, n, 0));
    walk_follow(&in, 1, e->g, type_of(e, n, 1));
    for (int64_t k = 0; k < count; k++, walk_next(&in)) {
        place_a[k] = in.at[0];
        place_b[k] = in.at[1];
    }
    Walk w = walk_over(e->g, &n->type);
    walk_follow(&w, 0, e->g, type_of(e, n, 0));
    walk_follow(&w, 1, e->g, type_of(e, n, 1));
    for (size_t i = 0; i < n_out; i++, walk_next(&w)) {
        const double *x = a + w.at[0], *y = b + w.at[1];
        double sum = 0;
        for (int64_t k = 0; k < count; k++)
            sum += x[place_a[k]] * y[place_b[k]];
        out[i] = sum;
    }
    return STATUS_OK;
}

// y[o] = sum over s and `over` of x[o - s + left] * k[s]
Status eval_fftconv(Eval *e, const Node *n, double *out, size_t n_out)
{
    AxisId axis = n->attr[0].axis, taps = n->attr[1].axis, to = n->attr[2].axis;
    const Attr *over = &n->attr[4];
    const double *x = e->value[n->in[0]], *k = e->value[n->in[1]];
    int64_t size = graph_size(e->g, axis), n_taps = graph_size(e->g, taps), count = 0;
    int64_t x_step = type_stride(e->g, type_of(e, n, 0), axis), k_step = type_stride(e->g, type_of(e, n, 1), taps);
    Type summed = type_make(DTYPE_F32, over->axes.id, over->axes.n);
    type_count(e->g, &summed, &count);
    Walk w = walk_over(e->g, &n->type);
    walk_follow(&w, 0, e->g, type_of(e, n, 0));
    walk_follow(&w, 1, e->g, type_of(e, n, 1));
    walk_stride(&w, 0, to, 0);
    walk_stride(&w, 1, to, 0);
    Walk in = walk_over(e->g, &summed);
    walk_follow(&in, 0, e->g, type_of(e, n, 0));
    walk_follow(&in, 1, e->g, type_of(e, n, 1));
    for (size_t i = 0; i < n_out; i++, walk_next(&w)) {
        int64_t at = n->attr[3].i;
        for (size_t a = 0; a < w.n_axes; a++)
            at += w.axis[a] == to ? w.index[a] : 0;
        double sum = 0;
        for (int64_t c = 0; c < count; c++, walk_next(&in))
            for (int64_t s = 0; s < n_taps; s++) {
                int64_t from = n->attr[5].i ? ((at - s) % size + size) % size : at - s;
                if (from >= 0 && from < size)
                    sum += x[w.at[0] + in.at[0] + from * x_step] * k[w.at[1] + in.at[1] + s * k_step];
            }
        out[i] = sum;
    }
    return STATUS_OK;
}

Status eval_reduce(Eval *e, const Node *n, double *out, size_t n_out)
{
    Red f = n->attr[0].red;
    const Type *x_type = type_of(e, n, 0);
    const double *x = e->value[n->in[0]];
    int64_t count = 0;
    type_count(e->g, x_type, &count);
    for (size_t i = 0; i < n_out; i++)
        out[i] = f == RED_SUM ? 0 : f == RED_MAX ? -INFINITY : INFINITY;
    Walk w = walk_over(e->g, x_type);
    walk_follow(&w, 0, e->g, &n->type);
    for (int64_t i = 0; i < count; i++, walk_next(&w)) {
        double *y = &out[w.at[0]];
        *y = f == RED_SUM ? *y + x[i] : f == RED_MAX ? m_max(*y, x[i]) : m_min(*y, x[i]);
    }
    return STATUS_OK;
}

static Status check_index(const Eval *e, const Node *n, double index, AxisId axis)
{
    if (index < (double)graph_size(e->g, axis))
        return STATUS_OK;
    return status_fail(e->why, STATUS_BAD_MODEL, "%s: index %g is outside the axis %s, which has size %lld",
                       op_row[n->op].text, index, e->g->axis[axis].name, (long long)graph_size(e->g, axis));
}

// y = x[axis = index], 0 where the index is negative
Status eval_take(Eval *e, const Node *n, double *out, size_t n_out)
{
    AxisId axis = n->attr[0].axis;
    const double *x = e->value[n->in[0]], *index = e->value[n->in[1]];
    int64_t stride = type_stride(e->g, type_of(e, n, 0), axis);
    Walk w = walk_over(e->g, &n->type);
    walk_follow(&w, 0, e->g, type_of(e, n, 0));
    walk_follow(&w, 1, e->g, type_of(e, n, 1));
    for (size_t i = 0; i < n_out; i++, walk_next(&w)) {
        double at = index[w.at[1]];
        Status status = check_index(e, n, at, axis);
        if (status != STATUS_OK)
            return status;
        out[i] = at < 0 ? 0 : x[w.at[0] + (int64_t)at * stride];
    }
    return STATUS_OK;
}

// y[.., v, ..] = sum over `over` of dy where index == v; a negative index is none
Status eval_put_add(Eval *e, const Node *n, double *out, size_t n_out)
{
    (void)n_out;
    AxisId to = n->attr[1].axis;
    const double *dy = e->value[n->in[0]], *index = e->value[n->in[1]];
    int64_t stride = type_stride(e->g, &n->type, to), count = 0;
    type_count(e->g, type_of(e, n, 0), &count);
    Walk w = walk_over(e->g, type_of(e, n, 0));
    walk_follow(&w, 0, e->g, &n->type);
    walk_follow(&w, 1, e->g, type_of(e, n, 1));
    for (int64_t i = 0; i < count; i++, walk_next(&w)) {
        double at = index[w.at[1]];
        Status status = check_index(e, n, at, to);
        if (status != STATUS_OK)
            return status;
        if (at >= 0)
            out[w.at[0] + (int64_t)at * stride] += dy[i];
    }
    return STATUS_OK;
}

// x, then r[.., i, ..] = y in row-major order of i; a negative index is none
Status eval_put(Eval *e, const Node *n, double *out, size_t n_out)
{
    AxisId axis = n->attr[0].axis;
    const double *index = e->value[n->in[1]], *y = e->value[n->in[2]];
    Type order = *type_of(e, n, 1);         // the index's axes outside, what else y has inside
    const Type *type = type_of(e, n, 2);
    int64_t stride = type_stride(e->g, &n->type, axis), count = 0;
    for (size_t i = 0; i < type->n_axes; i++)
        if (!type_has(&order, type->axis[i]))
            order.axis[order.n_axes++] = type->axis[i];
    if (n_out)
        memcpy(out, e->value[n->in[0]], n_out * sizeof *out);
    type_count(e->g, type, &count);
    Walk w = walk_over(e->g, &order);
    walk_follow(&w, 0, e->g, &n->type);
    walk_follow(&w, 1, e->g, type_of(e, n, 1));
    walk_follow(&w, 2, e->g, type);
    for (int64_t i = 0; i < count; i++, walk_next(&w)) {
        double at = index[w.at[1]];
        Status status = check_index(e, n, at, axis);
        if (status != STATUS_OK)
            return status;
        if (at >= 0)
            out[w.at[0] + (int64_t)at * stride] = y[w.at[2]];
    }
    return STATUS_OK;
}

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

// Gram-Schmidt, each vector against those before it, twice: once leaves an error of the order of the condition number.
static void orthonormalise(double *v, size_t n, size_t length)
{
    for (size_t i = 0; i < n; i++) {
        double *x = v + i * length;
        for (size_t pass = 0; pass < 2; pass++)
            for (size_t k = 0; k < i; k++) {
                double s = dot(x, v + k * length, length);
                for (size_t j = 0; j < length; j++)
                    x[j] -= s * v[k * length + j];
            }
        double norm = sqrt(dot(x, x, length));
        for (size_t j = 0; j < length && norm > 0; j++)
            x[j] /= norm;
    }
}

// The operand as a matrix, rows = the listed axes in that order, columns = the others: the rows are made orthonormal, or
// the columns when there are fewer of them.
Status eval_ortho(Eval *e, const Node *n, double *out, size_t n_out)
{
    const Attr *rows = &n->attr[0];
    const double *x = e->value[n->in[0]];
    Type order = type_make(n->type.dtype, rows->axes.id, rows->axes.n);     // the matrix in row-major order
    int64_t n_rows = 0;
    type_count(e->g, &order, &n_rows);
    for (size_t i = 0; i < n->type.n_axes; i++)
        if (!listed(rows, n->type.axis[i]))
            order.axis[order.n_axes++] = n->type.axis[i];
    size_t height = (size_t)n_rows, width = n_out / height;
    bool by_rows = height <= width;
    double *v = arena_array(e->arena, double, n_out);                       // the vectors, one after another
    Walk w = walk_over(e->g, &order);
    walk_follow(&w, 0, e->g, type_of(e, n, 0));
    walk_follow(&w, 1, e->g, &n->type);
    Walk back = w;
    for (size_t i = 0; i < n_out; i++, walk_next(&w))
        v[by_rows ? i : i % width * height + i / width] = x[w.at[0]];
    orthonormalise(v, by_rows ? height : width, by_rows ? width : height);
    for (size_t i = 0; i < n_out; i++, walk_next(&back))
        out[back.at[1]] = v[by_rows ? i : i % width * height + i / width];
    return STATUS_OK;
}
