// The parts of the CONV lowering: direct sums (lower_conv.c) and transforms (lower_conv_fft.c).
#ifndef MIXC_LOWER_CONV_H
#define MIXC_LOWER_CONV_H

#include "conv.h"
#include "lower_loop.h"
#include "product.h"

typedef struct ConvText {
    ValueId     v;                          // the convolution
    Space       space;                      // of what follows it, element by element
    const char *comment;
    int64_t     n_work;                     // of the direct sum: rows of the result
} ConvText;

// The body of a direct sum, in either dialect.
void conv_direct(const ConvText *text, Emitter *E);

// Stores everything that the kernel keeps at one element (or vector) of the convolution, where `v` (0: the convolution) is `y`.
void conv_store(Emitter *E, Scope *at, const Space *space, ValueId v, const Env *env, Val y);

// Lowers by transforms where that pays; the CUDA text is the direct one. False: nothing was done.
bool lower_conv_fft(Lower *L, const ConvText *text);

#endif
