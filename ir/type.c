// Types: an element type and named axes. See graph.h.
#include "checked.h"
#include "graph.h"

#include <assert.h>
#include <string.h>

Type type_make(DType dtype, const AxisId *axes, size_t n)
{
    assert(n <= MAX_AXES);
    Type type = {.dtype = dtype, .n_axes = (uint8_t)n};
    if (n)
        memcpy(type.axis, axes, n * sizeof *axes);
    return type;
}

int type_find(const Type *type, AxisId axis)
{
    for (int i = 0; i < type->n_axes; i++)
        if (type->axis[i] == axis)
            return i;
    return -1;
}

bool type_has(const Type *type, AxisId axis)
{
    return type_find(type, axis) >= 0;
}

bool type_equal(const Type *a, const Type *b)
{
    return a->dtype == b->dtype && a->n_axes == b->n_axes &&
           memcmp(a->axis, b->axis, a->n_axes * sizeof *a->axis) == 0;
}

bool type_same_axes(const Type *a, const Type *b)
{
    if (a->dtype != b->dtype || a->n_axes != b->n_axes)
        return false;
    for (size_t i = 0; i < a->n_axes; i++)          // no value holds an axis twice, so one direction is enough
        if (!type_has(b, a->axis[i]))
            return false;
    return true;
}

bool type_count(const Graph *g, const Type *type, int64_t *out_count)
{
    int64_t n = 1;
    bool zero = false;
    for (size_t i = 0; i < type->n_axes; i++) {
        int64_t size = graph_size(g, type->axis[i]);
        zero |= size == 0;
        if (size > 0 && !checked_mul_i64(n, size, &n))
            return false;
    }
    *out_count = zero ? 0 : n;
    return true;
}

bool type_bytes(const Graph *g, const Type *type, size_t *out_bytes)
{
    int64_t n;
    return type_count(g, type, &n) && checked_mul((size_t)n, dtype_row[type->dtype].bytes, out_bytes);
}

void type_print(const Graph *g, const Type *type, Text *out)
{
    text_add(out, dtype_row[type->dtype].text);
    text_char(out, '[');
    for (size_t i = 0; i < type->n_axes; i++) {
        if (i)
            text_char(out, ',');
        text_add(out, g->axis[type->axis[i]].name);
    }
    text_char(out, ']');
}
