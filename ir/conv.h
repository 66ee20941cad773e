// How a long convolution (op fftconv) is computed: what the fusion and the lowering must agree on.
//
// x has the numbers 0 .. size - 1, the taps that can meet it are first .. last - 1, and result o is number o + shift of their
// product; circular: the sum of that number and the one `size` further on.
#ifndef MIXC_CONV_H
#define MIXC_CONV_H

#include "graph.h"

typedef struct Conv {
    AxisId  axis, taps, to;
    int64_t size, out, first, last, shift;
    bool    circular;
    bool    by_transforms;                  // else every result is summed up directly
    int64_t n;                              // by_transforms: modulo X^n - i, n = 3, 4 or 5 times a power of two
    int     radix;                          // of the root: 3, 4 or 5
} Conv;

// Of a node with op fftconv.
Conv conv_of(const Graph *g, ValueId v);

#endif
