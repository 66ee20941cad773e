// The parts of the CONV lowering: direct sums (lower_conv.c) and transforms (lower_conv_fft.c).
#ifndef MIXC_LOWER_CONV_H
#define MIXC_LOWER_CONV_H

#include "lower_loop.h"

// "y[..] = convolution of x[..] by k[..]", for comments.
void conv_describe(const Graph *g, ValueId v, Text *out);

// The body of a direct sum, in either dialect.
typedef void ConvBody(ValueId v, int64_t n_work, Emitter *E);

// Lowers by transforms where that pays; the CUDA text is the direct one. False: nothing was done.
bool lower_conv_fft(Lower *L, ValueId v, ConvBody *direct, int64_t direct_work);

#endif
