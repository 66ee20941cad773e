// Grouped products: products whose rows choose their own matrix. What the expert layers of a routed model are made of.
//
//   rows:  y[r, j] = sum over k of a[r, k] * w[p, i[r], k, j]               contract(a, take(w, i))
//   sums:  y[p, e, i, j] = sum over r with i[r] == e of a[r, i] * b[r, j]   put_add(mul(a, b), i): the gradient of w
//
// r runs over all axes of the index: tokens and choices. A group is a point of the paired axes p, which w and the index
// share, and an expert; its rows are those that chose it. A choice below 0 belongs to no group: its y is 0.
#ifndef MIXC_GROUPED_H
#define MIXC_GROUPED_H

#include "product.h"

typedef struct Grouped {
    ValueId value, index;
    ValueId through;                        // the take or the mul, which nobody stores
    AxisId  expert;
    bool    is_sum;                         // the second form
    int64_t n_rows, n_groups;
    // Form one: operands a and w; rows r, batch [p.., expert]. Form two: operands a and b; sum r, batch [p.., expert].
    Product p;
} Grouped;

// Whether a contract or a put_add has one of the two forms, by structure alone.
bool grouped_of(const Graph *g, ValueId v, Grouped *out);
// ... and is large enough for sorting its rows to be worth it.
bool grouped_is_worth(const Grouped *p);

#endif
