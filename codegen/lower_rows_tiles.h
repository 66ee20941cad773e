// Row kernels in CUDA by tiles, inside: what blocks of one job do, and in how many passes. See lower_rows_tiles.c.
#ifndef MIXC_LOWER_ROWS_TILES_H
#define MIXC_LOWER_ROWS_TILES_H

#include "lower_rows.h"

enum { TILES_MOST_PASSES = 8, TILES_WARPS = 4, TILES_THREADS = 32 * TILES_WARPS };

typedef struct RowsTile {                   // an operand in shared memory: rows along one axis, their terms side by side
    ValueId   value;
    AxisId    axis;
    AxisGroup terms;
    bool      is_own;                       // rows of the block, loaded once; else of the tile at hand
    bool      is_direct;                    // lies in memory as it is wanted: copied 16 bytes at a time
    bool      is_rounded;                   // floats in memory, wanted in bf16: four at a time through registers
    Affine    affine;                       // is_direct, is_rounded: where
    int64_t   row_step;
    int64_t   padded, pitch, floats;        // terms with zeros; elements from row to row; of one stage
    const char *name;                       // C name of it
} RowsTile;

typedef struct TilesPass {                  // once over the tiles
    ValueId red[ROWS_MOST_PARTS]; size_t n_reds;
    bool    online;                         // red[0] is a maximum, red[1] the sum of exponentials below it, made together
    bool    has_outs;                       // the products that the job stores
    bool    divides[ROWS_MOST_PARTS];       // online: part i was summed without the division by red[1]
    bool    product[ROWS_MOST_PARTS];       // part i, a wide product, is needed
} TilesPass;

// A block has its own rows (or columns) of a batch element and goes through the others in tiles.
typedef struct TilesJob {
    Rows   *R;
    Scope  *scope;
    bool    own_is_row, is_mma;
    int     own_each, stream_each;          // of a thread: own x stream elements of a tile
    int     own_tile, stream_tile, lanes;   // lanes: of a warp, that share a row
    int     stages;                         // of the streamed tiles
    int64_t n_own, n_stream, n_blocks;      // blocks: of a batch element
    const char *index;                      // C type of rows and columns: int where that holds every place of a value
    RowsTile tile[2 * ROWS_MOST_PARTS]; size_t n_tiles;
    int     left[ROWS_MOST_PARTS], right[ROWS_MOST_PARTS]; // tiles of part i: own (wide products), streamed
    TilesPass pass[TILES_MOST_PASSES]; size_t n_passes;
    int64_t shared_floats, put_floats;      // put: weights on their way to the other lanes (float32)
    // C names
    const char *warp, *lane, *own0, *stream0, *first, *tile_at, *put;
    const char *out[ROWS_MOST_PARTS], *wide[ROWS_MOST_PARTS];
    const char *red[ROWS_MOST];             // of member i: its values, one for each own row of the thread
} TilesJob;

// False when the job cannot be cut so, or has nothing to do (n_passes is 0 then).
bool tiles_plan(TilesJob *J, Rows *R, bool own_is_row);

bool tiles_is_in_job(const TilesJob *J, size_t part);       // an OUT that the job stores

// The body of a job: block number `block` of it. `work`: workspaces of reductions that nobody stores, by member, for the
// job that makes them and the one that reads them; 0: none.
void tiles_emit(TilesJob *J, Scope *at, const char *block, const uint32_t *work);

#endif
