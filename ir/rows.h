// Row kernels: attention and whatever has its shape. What each value of such a kernel is, for the pass that finds them
// and the code that lowers them.
//
//     s[g, r, c] = sum over k of q[g, r, k] * k[g, c, k]          a WIDE product: a row of scores for each r
//     e = exp(s - m[g, r]), select(mask, ..), e * random, ...     WIDE: elementwise, one element per (g, r, c)
//     m[g, r] = max over c of s[g, r, c]                          REDUCE
//     1/m, m*m, ...                                               LINE: elementwise, one element per (g, r)
//     o[g, r, j] = sum over c of e[g, r, c] * v[g, c, j]          OUT, over the columns: a row of it for each r
//     dv[g, c, j] = sum over r of e[g, r, c] * do[g, r, j]        OUT, over the rows: grows with r
//
// Wide values are as large as the square of the sequence; a row kernel keeps a few rows of them and stores none.
#ifndef MIXC_ROWS_H
#define MIXC_ROWS_H

#include "graph.h"

typedef enum RowsClass {
    ROWS_NONE,                              // outside
    ROWS_WIDE, ROWS_REDUCE, ROWS_LINE, ROWS_OUT,
    ROWS_FREE,                              // over columns, elementwise in row values and outside values only
    ROWS_BAD                                // reads a wide value in a way that a row kernel cannot serve
} RowsClass;

// The class of v when `row` and `col` are the axes of wide values and `class_of` knows all operands.
RowsClass rows_class(const Graph *g, ValueId v, AxisId row, AxisId col, const uint8_t *class_of);
// OUT: sums over the columns (else over the rows). `out_wide`: which operand is the wide one.
bool      rows_out_sums_columns(const Graph *g, ValueId out, AxisId col);
int       rows_wide_operand(const Graph *g, ValueId out, const uint8_t *class_of);
bool      rows_is_wide(const Graph *g, ValueId v, AxisId row, AxisId col);

AxisId    axis_twin_root(const Graph *g, AxisId axis);      // T of T' and T''; the axis itself when it is no twin
bool      type_holds_twins(const Graph *g, const Type *type);

#endif
