// What the CUDA texts of long convolutions share: how a thread reads numbers of an operand and stores results. The texts themselves:
// lower_conv_cuda.c (float32, butterflies), lower_conv_mma.c (bf16, tensor cores), lower_conv_long.c (too long for a block).
#ifndef MIXC_LOWER_CONV_CUDA_H
#define MIXC_LOWER_CONV_CUDA_H

#include "lower_conv.h"

#include "emit_parts.h"
#include "lower_product.h"

#define N(x) ((long long)(x))

enum { CONV_EACH = 16, CONV_MOST_BYTES = 72 << 10 };        // numbers of a thread; shared memory of a block
enum { CONV_MOST = 8192, CONV_MOST_BOTH = 4096, CONV_MOST_LONG = 1 << 20 };     // numbers of a transform in a block, where both operands
                                                            // are transformed, and in two steps

typedef struct ConvBlock {                  // what a block computes, while it is written
    Emitter *E;
    const ConvFft *f;
    const Space *space;
    int64_t  n, channels, step;             // step: between the numbers of a thread
    bool     rounds;                        // numbers are rounded once they are transformed: that of an operand is left out
    Env      env;                           // of the result (or filter), all axes but those of lane and position
    int64_t  lanes;
    Ix       lane;
    const char *inside, *roots, *t, *c;     // C: whether the lane is one; t, c: the thread's first number, its channel
    const char *results;                    // where conv_block_store finds the numbers of the product
} ConvBlock;

// Numbers of the product of x and the taps that meet it.
int64_t conv_cuda_numbers(const ConvFft *f);

// for (int e = 0; e < CONV_EACH; e++), unrolled.
Scope  *conv_unrolled(Emitter *E, Scope *at, const char **out_name);

// Which channel and which numbers thread `unit` (a C text) of channel group `group` has: t, c, lane and inside.
void    conv_block_thread(ConvBlock *b, Scope *s, Ix group, const char *unit);
// The lane and inside of channel `c` of a group of `channels`.
void    conv_block_lane(ConvBlock *b, Scope *s, Ix group, int64_t channels, const char *c);

// `to` = one element of an operand, 0 where it is out of range: `half` 0 number p, 1 number p + n.
void    conv_block_read(ConvBlock *b, Scope *s, int operand, int half, const char *p, const char *to);

// Stores result `o` (declared, in range), whose value is `y`.
void    conv_block_put(ConvBlock *b, Scope *s, const char *o, const char *y);
// Where conv_is_direct: the result, if there is one, that number p (half 1: p + n) of the product is, 0 <= p < n. `value`: a C text.
void    conv_block_put_number(ConvBlock *b, Scope *s, int half, const char *p, const char *value);
// The thread's results, o = t, t + step, ..: numbers o + shift of the product, which lie in b->results as [2*n][channels]; circular: and
// around it.
void    conv_block_store(ConvBlock *b, Scope *s);

// The thread's numbers of an operand's transform, as a name; the axes that the convolution sums are in b->env.
typedef const char *ConvOperand(void *user, Scope *s, int operand);
// `sum` (declared) = the conjugate of the sum of products of two transforms over the axes that the convolution sums, divided by n.
void    conv_sum_products(ConvBlock *b, Scope *s, const char *sum, ConvOperand *operand, void *user);

// Whether each number of the product, of which 2n come out, is one result or none, and there are no others.
bool    conv_is_direct(const ConvFft *f);

// A part of the block's number, as an index; 0 where `size` is 1.
Ix      conv_block_part(Emitter *E, Scope *s, const char *hint, const char *text, int64_t size);
// The row-major index over some axes, of which env has the indices: which spectrum a row of the result meets.
Ix      conv_row(Emitter *E, const AxisId *axis, size_t n, const Env *env);

#endif
