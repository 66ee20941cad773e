// Products in CUDA, inside: how a product is cut for a GPU, and the pieces of its text. See lower_product_cuda.c.
#ifndef MIXC_PRODUCT_CUDA_H
#define MIXC_PRODUCT_CUDA_H

#include "lower.h"
#include "lower_product.h"

// How an operand comes into shared memory.
typedef enum CudaLoad {
    CUDA_COPY,                              // as it is stored, by cp.async of 16, 8 or 4 bytes
    CUDA_WIDE,                              // four stored floats at a time, rounded to bf16 on the way
    CUDA_EACH                               // computed, element by element: index maps, prologues, odd strides
} CudaLoad;

// An operand's part of a stage is lines of 16-byte chunks. A line is a row (or column) with its terms, or a term with its rows,
// whichever lies so in memory. Chunk c of line l is at place c ^ swizzle(l), so that neither copies nor fragments meet in a bank.
typedef struct CudaOperand {
    CudaLoad load;
    bool     over_sum;                      // a line holds terms
    bool     gathered;                      // rows (or terms) are looked up in P.gather
    int      unit;                          // elements that one thread moves at a time
    Affine   affine;                        // COPY, WIDE: where it lies
    int64_t  outer, step;                   // from one row (or column), and from one term, to the next
    int      n_lines, line;                 // lines of a stage; elements of one
    int64_t  at;                            // byte of the stage where it begins
    const char *from, *next;                // names in the text: its first element, what a thread holds of the next tile
} CudaOperand;

typedef struct CudaTile { int rows, cols, warp_rows, warp_cols; } CudaTile;     // of a block, of a warp

typedef struct CudaPlan {
    bool        is_bf16;                    // operands are rounded to bf16 and multiplied by tensor cores; else float32
    CudaTile    tile;
    int         terms, stages, threads;
    int         parts;                      // of the sum; more than one: each goes to memory, and a second launch adds them up
    int64_t     across, down;               // tiles
    int64_t     stage_bytes;
    CudaOperand operand[2];
} CudaPlan;

// The text of one kernel while it is written: the product, its plan, and names that its parts share.
typedef struct ProductCuda {
    ProductText P;
    CudaPlan    plan;
    bool        may_part;                   // the sum, where there are few tiles
    uint32_t    ahead[2];                   // workspace that holds the operand ready to be copied; 0: none
    const char *i0, *j0;                    // the block's first row and column
    const char *rows_end, *k_begin, *k_end; // C texts: behind the last row, the first and behind the last term
    const char *n_strips;                   // of terms; NULL: as many as the product has
    const char *part;                       // C text: where the part at hand lies, row 0, column 0; NULL: there are none
    const char *lane, *warp, *acc;
    LibraryProduct library;                 // its way is 0: the product is ours. Parameters are not known yet
    ValueId     library_result;             // what it stores; 0: sums, which a second launch reads
} ProductCuda;

// Fills in everything but the names. `schedule` may say how; `rows`: of the tile, where they are given, else 0.
void     cuda_plan(ProductCuda *T, const Schedule *schedule, int rows);
// Operations; of a grouped product those of its rows, once.
double   cuda_flops(const ProductCuda *T);
int      cuda_element_bytes(const CudaPlan *plan);
// The swizzle of line `line` (C text) of an operand, as C text that binds tighter than ^; "0" where there is none.
const char *cuda_swizzle(ProductCuda *T, int operand, const char *line);

// Operands that a launch before the product makes: whether one is worth it, the launch, which returns the workspace, and where the
// operand's elements lie there.
bool     cuda_wants_ahead(const ProductCuda *T, int operand, const Lower *L);
uint32_t cuda_launch_ahead(ProductCuda *T, int operand, Lower *L);
Affine   cuda_ahead_affine(const ProductCuda *T, int operand);

// Whether the schedule leaves the product to a library, and whether it fits one: then T->library is filled in. cuda_library is what the
// finished text of T->P.E says to the device, with its parameters; `sums`: the workspace that results go to, or 0.
bool     cuda_wants_library(const ProductCuda *T, const Lower *L);
bool     cuda_find_library(ProductCuda *T, const Lower *L);
const LibraryProduct *cuda_library(ProductCuda *T, Lower *L, uint32_t sums);
// The plan of a product, with such launches made.
void     cuda_prepare(ProductCuda *T, Lower *L, int rows);

// The schedules worth measuring; `rows` as above.
size_t   cuda_candidates(Lower *L, const ProductCuda *like, int rows, size_t most, Candidate **out);

// Loads. `stage`, `k0`: C texts, the stage to fill and its first term.
bool cuda_is_copied(const ProductCuda *T, int operand);
void cuda_declare_operand(ProductCuda *T, Scope *at, int operand);
void cuda_emit_copy(ProductCuda *T, Scope *at, int operand, const char *stage, const char *k0);       // starts copies
void cuda_emit_fetch(ProductCuda *T, Scope *at, int operand, const char *k0);                         // into registers
void cuda_emit_put(ProductCuda *T, Scope *at, int operand, const char *stage);                        // from there to shared memory

// All terms of a stage; then what follows the product, at every element of the block.
void cuda_declare_sums(ProductCuda *T, Scope *at);
void cuda_emit_multiply(ProductCuda *T, Scope *at, const char *stage);
void cuda_emit_results(ProductCuda *T, Scope *at, const Space *space);
int64_t cuda_strip_floats(const CudaPlan *plan);            // of a warp

// Declares the first row and column of tile number `b` of a product.
void cuda_place_tile(ProductCuda *T, Scope *at, const char *b);
// The block's loop over terms and what follows; the block's place is known.
void cuda_emit_block(ProductCuda *T, Scope *at, const Space *space);
int64_t cuda_shared_bytes(const CudaPlan *plan);

#endif
