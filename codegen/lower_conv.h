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

typedef struct ConvFft {                    // a convolution by transforms
    ValueId  v;
    Conv     c;
    AxisId   lane[MAX_AXES]; size_t n_lane;         // together the axis that runs in lanes
    AxisId   other[MAX_AXES]; size_t n_other;       // of the result, beside to and lane
    AxisId   filter[MAX_AXES]; size_t n_filter;     // of the filter, beside taps and lane
    int64_t  lanes, groups, rows, q;                // q: numbers of a block under the root
    bool     both, lane_in_filter, is_cuda;         // is_cuda: the program is for a GPU
    ValueId  skip, sum;                             // sum = v + skip x is what comes out; 0: v is
    uint32_t twiddles, spectra;                     // workspaces
} ConvFft;

// The body of a direct sum, in either dialect.
void conv_direct(const ConvText *text, Emitter *E);

// Stores everything that the kernel keeps at one element (or vector) of the convolution, where `v` (0: the convolution) is `y`.
void conv_store(Emitter *E, Scope *at, const Space *space, ValueId v, const Env *env, Val y);

// CUDA texts of the three launches. conv_cuda_n: numbers of a transform, a power of two; 0: these texts do not reach so far, and what
// follows must not be called. Each fills in blocks, threads and shared memory of `text`.
int64_t conv_cuda_n(const ConvFft *f);
int64_t conv_cuda_spectra_floats(const Graph *g, const ConvFft *f);     // of the workspace
void    conv_cuda_roots(const ConvFft *f, const char *name, Emitter *E, LowerText *text);
void    conv_cuda_spectra(const ConvFft *f, Emitter *E, LowerText *text);
void    conv_cuda(const ConvFft *f, const Space *space, Emitter *E, LowerText *text);

// The same in two steps through memory (lower_conv_long.c), where a block cannot hold a transform: in programs for a GPU, whose launches
// these make. conv_long_columns: the first step of an operand, returns the workspace; conv_long_spectra and conv_long fill in the last
// launch.
bool     conv_is_long(const ConvFft *f);
uint32_t conv_long_columns(Lower *L, const ConvFft *f, int operand);
void     conv_long_spectra(const ConvFft *f, uint32_t columns, Emitter *E, LowerText *text);
void     conv_long(Lower *L, const ConvFft *f, const Space *space, Emitter *E, LowerText *text);

// The same on tensor cores, for what is rounded to bf16 and has a length that fits (lower_conv_mma.c). Both texts have one table of roots.
bool    conv_is_mma(const Graph *g, const ConvFft *f);
int64_t conv_mma_spectra_floats(const Graph *g, const ConvFft *f);      // of the workspace
void    conv_mma_spectra(const ConvFft *f, Emitter *E, LowerText *text);
void    conv_mma(const ConvFft *f, const Space *space, Emitter *E, LowerText *text);

// Lowers by transforms where that pays. False: nothing was done.
bool lower_conv_fft(Lower *L, const ConvText *text);

#endif
