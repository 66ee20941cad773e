// The parts of the CONV lowering: direct sums (lower_conv.c) and transforms (lower_conv_fft.c).
#ifndef MIXC_LOWER_CONV_H
#define MIXC_LOWER_CONV_H

#include "lower_loop.h"

// "y[..] = convolution of x[..] by k[..]", for comments.
void conv_describe(const Graph *g, ValueId v, Text *out);

#endif
