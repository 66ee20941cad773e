// Product kernels, inside: the tile, the plan of a product, its packing and its helpers. See lower_product.c.
#ifndef MIXC_LOWER_PRODUCT_H
#define MIXC_LOWER_PRODUCT_H

#include "band.h"
#include "lower.h"
#include "product.h"

// rows x (vectors*lanes) floats. Operand 0 is read at a[i*row_step + k*term_step]; 0, 0: packed, [k][rows].
typedef struct Tile {
    int  lanes, rows, vectors, row_step, term_step;
    bool pairs;                             // panels hold pairs of bf16 terms, see lower_product_pairs.c
} Tile;

// The tile of the target; the same with a number of rows that wastes little of `n_rows`.
Tile        tile_for(const Target *target);
Tile        tile_fit(Tile tile, int64_t n_rows);
int         tile_width(Tile tile);
// The tile that a schedule asks for, where the target's registers hold it; otherwise the usual one for `n_rows`.
Tile        tile_of(const Target *target, const Schedule *schedule, int64_t n_rows);
bool        tile_fits(const Target *target, int rows, int vectors);
int         tile_height(const Target *target, int vectors);     // the most rows that fit, up to 14
double      tile_cycles(Tile tile);         // of a term of the sum

// Helper functions, as text.
const char *tile_name(Arena *arena, Tile tile);                 // tile_14x32_v, tile_14x32_r256_t1_v
const char *turn_name(Arena *arena, Tile tile);                 // turn_16_v
const char *copy_name(Arena *arena, int width);                 // copy_14_v
void        tile_text(Arena *arena, Tile tile, Text *out);
void        turn_text(Arena *arena, Tile tile, Text *out);
void        copy_text(Arena *arena, int width, Text *out);
// The same for pairs of bf16 terms, and the macros that they share.
const char *copy_pairs_name(Arena *arena, int width);           // copy2_14_v; a tile of pairs names dots_.. and turn2_..
void        pairs_prelude(int lanes, Text *out);
void        dots_text(Arena *arena, Tile tile, Text *out);
void        turn_pairs_text(Arena *arena, Tile tile, Text *out);
void        line_pairs_text(Arena *arena, int lanes, Text *out);        // line2_16_v
void        copy_pairs_text(Arena *arena, int width, int lanes, Text *out);
// A band of rows times a panel of columns that lie where they are; see lower_product_band.c.
const char *band_name(Arena *arena, Tile tile);                 // band_14x32_r528_v; without row_step: band_14x32_v
void        band_text(Arena *arena, Tile tile, Text *out);
// The exchanges that transpose t0_0, t0_1, ..; returns the number S of stages: the result is tS_0, tS_1, ..
int         turn_stages(int lanes, Text *out);
// The helpers that the program's kernels call, for its prelude.
void        product_prelude(const Program *p, const Target *target, Text *out);

// How a product is cut. A block of c is rows x cols; the sum goes in blocks too, whose size depends on nothing but the
// product and the caches, so that the bits do not depend on the number of threads.
typedef struct Plan {
    Tile    tile;
    int64_t batch, rows, cols, sum;         // of the product
    int64_t block_rows, block_cols, block_sum;
    int64_t n_row_blocks, n_col_blocks, n_sum_blocks;
    bool    ahead;                          // operand 1 is packed before, by a launch of its own
    bool    in_place;                       // operand 1 is not packed: tiles read it where it lies
    int64_t together;                       // batches of a work item; 0: one
} Plan;

// `pairs`: both operands are bf16 and the target multiplies pairs of them: a panel then has half as many terms.
Plan    plan_product(const Product *p, const Target *target, bool pairs, const Schedule *schedule);
double  plan_cycles(const Plan *plan, const Target *target);        // of the busiest thread
void    plan_cut_sum(Plan *plan, size_t l1_bytes);          // terms per block
// Whether a product of so few rows whose columns follow each other in memory is worth reading them there, and the plan for it.
bool    plan_few_rows(Plan *plan, const Target *target, const Schedule *schedule);
// The plans worth measuring, as schedules; see codegen_candidates. `lies`: columns follow each other in memory.
size_t  plan_candidates(Arena *arena, const Product *p, const Target *target, bool pairs, bool lies, size_t most, Candidate **out);
// Places that `terms` take in a panel: as many, or half of them in pairs.
int64_t plan_places(const Plan *plan, int64_t terms);
const char *product_places(Arena *arena, const Plan *plan, const char *terms);
int64_t plan_work(const Plan *plan);                        // work items of the main kernel
// Cuts a plan anew for work items of so many batches; cycles of the busiest thread.
void    plan_together(Plan *plan, const Target *target, const Schedule *schedule, int64_t together);
double  plan_together_cycles(const Plan *plan, int threads, bool b_across);
int64_t plan_ahead_work(const Plan *plan);                  // of the launch that packs operand 1
int64_t plan_packed_cols(const Plan *plan);                 // columns, rounded up to tiles

int64_t plan_packed_floats(const Plan *plan);               // of the workspace

// The sum of all elements of a value of the epilogue. Each work item adds up its own, in vectors and what is left of them.
typedef struct ProductTotal {
    ValueId value;                          // the reduction
    Val     lanes, rest;
} ProductTotal;

enum { PRODUCT_STREAMED = 8 };              // second-level caches: a larger result is stored past the caches, where a lowering does so

// One kernel while it is written.
typedef struct ProductText {
    Emitter *E;
    Product  p;
    Plan     plan;
    ProductBand band;                       // terms or tiles that need not be touched
    const char *row0, *row1;                // every work item has these rows; NULL: the plan's blocks
    Ix       batch;                         // linear index of the batch at hand
    AxisId  lane_axis;                      // the batch axis that is contiguous in memory, last of its group; 0: of no matter
    Ix      lane_index, outer_batch;        // its index and that of the axes before it, where batch is taken apart; 0: it is not
    const char *scratch;                    // a place of its own for an unpacked strip
    const char *gather;                     // an array of ints: row x of operand 0 (gather_sum: term k) is number gather[x]
    bool        gather_sum;
    ProductTotal *total; size_t n_totals;
} ProductText;

// Packs rows (operand 0) or columns (operand 1) x0 <= x < x1 of terms k0 <= k < k0 + kn into panels of the tile's rows
// or columns, [x][k][panel], from `to` on; the last panel is filled up with zeros. All but `operand` are C texts. With a
// plan of pairs, k counts pairs there, and k0 is even.
typedef struct PackRange { const char *x0, *x1, *k0, *kn, *to; } PackRange;
void   pack_operand(ProductText *P, Scope *at, int operand, PackRange range);
// The same for `n` batches that lie side by side in memory (P->lane_index is the first): batch l goes to `to + l*apart`, behind
// which as many floats as a vector has are overwritten. pack_lies_across: whether an operand can be packed so.
bool   pack_lies_across(const ProductText *P, int operand);
void   pack_across(ProductText *P, Scope *at, int operand, PackRange range, int64_t n, int64_t apart);
// Floats that pack_operand needs at P->scratch.
size_t pack_scratch_floats(const ProductText *P, int operand);

// Writes the rows x0 <= x < x1 of a gathered operand (gather_sum: its terms k0 <= k < k0 + kn) one after the other, `stride`
// floats apart, each with its terms (its rows or columns). With a plan of pairs a row holds pairs of terms, and two terms
// become one row of pairs; P->scratch has pack_lines_floats then.
void   pack_lines(ProductText *P, Scope *at, int operand, PackRange range, int64_t stride);
size_t pack_lines_floats(const ProductText *P, int operand);
// Where an operand lies that is floats in memory: the C text of its term 0 of row (or column) 0, and the floats from one row
// and from one term to the next. False: it has to be computed or gathered. With a plan of pairs it has to be rounded as well.
bool   pack_place(ProductText *P, int operand, const char **out_from, int64_t *out_row, int64_t *out_step);

// The same for a value that the kernel stores and that has the axes of the product: row 0, column 0, and the floats from one
// row to the next. False where its columns do not follow each other.
bool   pack_result_place(ProductText *P, ValueId v, const char **out_from, int64_t *out_row);

// For CUDA texts. The C text of where element 0 of v lies in `buffer`, at the batch at hand and, with a group, its element `at_group`;
// whether an operand's own innermost axis is one of terms; and an operand without a last rounding that the plan of pairs does.
const char *product_affine_at(ProductText *P, ValueId v, const Affine *affine, const char *buffer, const AxisGroup *group, Ix at_group);
bool        pack_over_sum(const ProductText *P, int operand);
ValueId     pack_value(const ProductText *P, int operand);

// One panel: rows of `from` at `stride`, turned; or copied with a stride for rows and one for terms. C texts.
void   pack_turn_panel(ProductText *P, Scope *at, int width, const char *to, const char *from, const char *stride,
                       const char *rows, const char *kn);
// `room`: floats that may be read behind the last row of the last term (only pairs make use of it).
void   pack_copy_panel(ProductText *P, Scope *at, int width, const char *to, const char *from, const char *row,
                       const char *step, const char *rows, const char *kn, int room);

// A launch that packs operand 1 of P->plan into a workspace, which is returned. P->E is used up.
uint32_t product_pack_ahead(Lower *L, ProductText *P);

// The value that the kernel computes blocks of, and the space of what follows it.
Space  product_space(Lower *L);

// Pieces of a kernel. Everything in C texts.
typedef struct ProductBlock { const char *i0, *i1, *j0, *j1; } ProductBlock;     // i0 <= row < i1, j0 <= col < j1
// "for (long w = begin; w < end; w++) {"
Scope      *product_items(Emitter *E, const char **out_name);
// Part `index` of w = ((i0*n1 + i1)*n2 + i2): w / after % size. `first`: i0.
const char *product_part(Emitter *E, Scope *at, const char *hint, const char *w, int64_t size, int64_t after, bool first);
// from + block, or the end of the axis.
const char *product_block_end(Emitter *E, const char *from, int64_t block, int64_t size);
// Opens the loop over blocks of terms (`at` itself when there is one) and gives its first term and their number.
Scope      *product_sum_blocks(ProductText *P, Scope *at, const char **out_k0, const char **out_kn);
// All tiles of a block: c = a*b, or c += a*b where this is not the first block of terms: kn terms from k0 on, packed. What
// P->band leaves out is not computed.
void        product_tiles(ProductText *P, Scope *at, ProductBlock block, const char *a, const char *b, const char *c,
                          const char *k0, const char *kn);

// The band of a product: finds it, and makes blocks of terms about as long as it is wide, so that little is packed in vain.
void        product_find_band(const Graph *g, ProductText *P, const Space *space);
// Whether some tile may not get its first terms from the first block: sums then begin with zeros.
bool        product_begins_with_zeros(const ProductText *P);
// The terms of a tile: all of the block's, or those within the band. Returns how many places, as C text; *out_skip: how many of
// the block's come before them (NULL: none). A tile without any is passed over.
const char *product_tile_terms(ProductText *P, Scope *rows, const char *i, const char *j, const char *k0, const char *kn,
                               const char **out_skip);
// The condition under which any of a block of terms or results lies within the band; NULL: always, or it cannot be told here.
const char *product_is_wanted(ProductText *P, ProductBlock item, const char *k0, const char *kn);

// Opens work item w: its blocks of rows and columns, and the batch at hand (with plan.together: *out_batch counts groups of them).
// Then where panels lie in the workspace: [batch][k block][panel][k][width].
ProductBlock product_open_item(ProductText *P, Scope *at, const char *w, const char **out_batch);
const char  *product_packed_at(ProductText *P, Scope *at, const char *workspace, const char *j0, const char *k0, const char *kn,
                               bool is_written);

// Products whose batches lie side by side in memory, in an operand or in what is stored (lower_product_batch.c): finds the
// axis, puts it last in its group and cuts the plan; what a work item of several batches does.
bool   product_find_across(ProductText *P, const Space *space, const Target *target, const Schedule *schedule);
size_t product_across_candidates(const ProductText *P, const Space *space, const Target *target, size_t most, Candidate **out);
void   product_across_item(ProductText *P, Scope *at, const Space *space, const char *w, const char *workspace);

// Work item w of a product, of either kind. `workspace`: holds operand 1 packed, or NULL.
void   product_item(ProductText *P, Scope *at, const Space *space, const char *w, const char *workspace);

// Stores what the kernel keeps of a row of the anchor: columns j0 <= j < j1, whose values start at `acc`.
void   product_epilogue_row(ProductText *P, Scope *at, const Space *space, Ix row, const char *j0, const char *j1,
                            const char *acc);

// The same product for CUDA: fills in the CUDA half of `text`, whose C half is finished; launches that come before are made.
void   product_cuda(Lower *L, const Product *p, const ProductBand *band, const Space *space, LowerText *text);
// The schedules of the CUDA text.
size_t product_cuda_candidates(Lower *L, const Product *p, const ProductBand *band, size_t most, Candidate **out);
// Parameters that only the CUDA emitter met join the C emitter.
void   product_share_params(Emitter *c, const Emitter *cuda);
// Stores everything that the kernel keeps at one element (or vector) of the anchor, whose value is `acc`.
void   product_epilogue_point(ProductText *P, Scope *at, const Space *space, Ix row, Ix col, Val acc);

// The same, where the anchor's value at `anchor` is bound already.
void   epilogue_store(Emitter *E, Scope *at, const Space *space, const Env *anchor);

// Bands (lower_bands.c): rows that were copied one after the other, times columns where they lie.
enum { BANDS_MOST_TERMS = 512 };            // of a row: so many and room for a vector fill a third of the second-level cache
typedef struct Columns {
    bool        is_place, in_place;         // floats in memory; with columns that follow each other
    const char *from;
    int64_t     row, step;
} Columns;
typedef struct Bands {
    const char *a, *panel, *c;              // the thread's arrays: rows, a panel of columns if bands_need_panel, results
    int64_t     c_line;
    const char *next;                       // the batch whose columns are wanted next; NULL: the same again
    const char *packed;                     // a workspace that holds all panels of columns ready; NULL: there is none
} Bands;
Columns bands_columns(ProductText *P);
bool    bands_need_panel(ProductText *P);
// From one copied row to the next, and the tile for it.
int64_t bands_line(const Plan *plan);
Tile    bands_tile(const Plan *plan);
// c (`add`: +)= rows * columns of the block, terms k0 <= k < k0 + kn.
void    bands_emit(ProductText *P, Scope *at, ProductBlock block, const char *k0, const char *kn, const Bands *use, const char *add);

// Small texts. `product_declare` names a text unless it is a literal; `minus` is a - b, as a factor; a scratch array is
// the thread's own. The last index of an axis is never 0: what depends on a variable must stay inside its loop, and the
// emitter knows a variable that cannot move to be a constant.
const char *product_number(Emitter *E, int64_t value);
const char *product_declare(Emitter *E, Scope *at, const char *hint, const char *text);
const char *product_scratch(Emitter *E, Scope *at, const char *hint, int64_t n);
const char *minus(Emitter *E, const char *a, const char *b);
int64_t     product_top_index(int64_t size);
// Sets the axes of a group from their common row-major index.
void   env_group(Emitter *E, Env *env, const AxisGroup *group, Ix linear);
// Sets those of the batch at hand.
void   env_batch(const ProductText *P, Env *env);

#endif
