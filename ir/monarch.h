// Chains of small products in one kernel, as in a Monarch multiply: a work item takes a block of rows through all of them, and what
// one product hands to the next stays in the thread's scratch. The pass that builds such kernels and their lowering both ask here.
//
// A kernel of the family monarch stores its last value. Those that it names before are handed on, from each stage to the next,
// and are never in memory.
#ifndef MIXC_MONARCH_H
#define MIXC_MONARCH_H

#include "product.h"
#include "target.h"

enum { MONARCH_MOST_STAGES = 4, MONARCH_MOST_ROWS = 16 };       // MOST_ROWS: of a work item

// Whether a block of rows that are handed on as `width` floats each (all stages together) fits the cache, and every thread has work.
bool    monarch_fits(const Target *target, int64_t rows, int64_t width);

// Floats that a row of v has, when its outermost axes are the rows of the product: row i of v begins at i times that. 0: they are not.
int64_t monarch_row_width(const Graph *g, ValueId v, const Product *p);

// The stored value that the product reads as its operand 0, where row i of the product reads nothing but row i of that value,
// `width` floats from i*width on; 0: there is none.
ValueId monarch_reads_rows(const Graph *g, const Product *p, int64_t *out_width);

// v is in a kernel of this family and handed on inside it. `last`: the last value of that kernel.
static inline bool monarch_is_inside(const Graph *g, ValueId v, ValueId last)
{
    return g->node[v].kernel != 0 && g->kernel[g->node[v].kernel] == FAMILY_MONARCH && v != last;
}

#endif
