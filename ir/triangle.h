// Products with a triangular operand, or of which only a triangle is wanted: half of their terms need not be touched.
//
// A triangular value is what `shape = lower(T, T')` and a written mask are in the graph: select(le(index(a), index(b)), x, 0), its
// elements 0 beyond i_a <= i_b; also with `lt`, with the branches turned round, and as a product with the mask.
#ifndef MIXC_TRIANGLE_H
#define MIXC_TRIANGLE_H

#include "product.h"

// How the three running indices of a product are bounded by each other.
typedef enum Triangle {
    TRIANGLE_NONE,
    TRIANGLE_TERMS_BELOW_ROW, TRIANGLE_TERMS_FROM_ROW,      // only terms k <= i count; only k >= i
    TRIANGLE_TERMS_BELOW_COL, TRIANGLE_TERMS_FROM_COL,      // the same for the column j
    TRIANGLE_COLS_BELOW_ROW, TRIANGLE_COLS_FROM_ROW         // only results j <= i are wanted; only j >= i
} Triangle;

// True when elements of v are 0 unless i_low <= i_high.
bool     triangle_of(const Graph *g, ValueId v, AxisId *out_low, AxisId *out_high);
// What an operand's zeros say about the product's terms.
Triangle triangle_of_product(const Graph *g, const Product *p);
// What the one reader of the product leaves of its result. `reader` 0: there is none.
Triangle triangle_of_result(const Graph *g, const Product *p, ValueId reader);

#endif
