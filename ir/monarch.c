// See monarch.h.
#include "monarch.h"

bool monarch_fits(const Target *target, int64_t rows, int64_t width)
{
    const int64_t floats = (int64_t)(target->l2_bytes ? target->l2_bytes : 524288) / 16;       // a quarter of the cache
    const int64_t threads = target->threads > 0 ? target->threads : 1;
    return width <= floats / MONARCH_MOST_ROWS && rows >= MONARCH_MOST_ROWS / 2 * threads;
}

int64_t monarch_row_width(const Graph *g, ValueId v, const Product *p)
{
    const Type *type = &g->node[v].type;
    const AxisGroup *rows = &p->group[CLASS_ROW];
    int64_t width = 1;
    if (type->n_axes < rows->n)
        return 0;
    for (int i = 0; i < type->n_axes; i++)
        if (i >= rows->n)
            width *= graph_size(g, type->axis[i]);
        else if (type->axis[i] != rows->axis[i])
            return 0;
    return width;
}

static bool is_row(const AxisGroup *rows, AxisId axis)
{
    for (int i = 0; i < rows->n; i++)
        if (rows->axis[i] == axis)
            return true;
    return false;
}

ValueId monarch_reads_rows(const Graph *g, const Product *p, int64_t *out_width)
{
    const ValueId v = p->operand[0];
    const Type *type = &g->node[v].type;
    const AxisGroup *rows = &p->group[CLASS_ROW];
    Affine affine;
    int64_t width, count;
    if (rows->size < 2 || !value_affine(g, v, &affine) || !affine_collapse(g, v, &affine, rows, &width) || width < 1
        || !type_count(g, &g->node[affine.root].type, &count) || count != rows->size * width)
        return 0;
    int64_t first = affine.offset, last = affine.offset;    // of what row 0 reads
    for (int i = 0; i < type->n_axes; i++)
        if (!is_row(rows, type->axis[i])) {
            const int64_t reach = affine.stride[i] * (graph_size(g, type->axis[i]) - 1);
            *(reach < 0 ? &first : &last) += reach;
        }
    *out_width = width;
    return first >= 0 && last < width ? affine.root : 0;
}
