// Row kernels, inside: what is in the group and how it is computed. See lower_rows.c.
#ifndef MIXC_LOWER_ROWS_H
#define MIXC_LOWER_ROWS_H

#include "lower_product.h"
#include "rows.h"

enum { ROWS_MOST = 256, ROWS_MOST_PARTS = 16 };

typedef struct RowsBuffer {                 // a wide value that lies in scratch: block_rows x stride floats
    ValueId     value;
    int         slot;                       // buffers whose lives do not meet share one
    int         first, last;                // stages that write and that last read it
    bool        by_product;                 // the micro-kernel writes it, before stage 0
} RowsBuffer;

typedef struct RowsPart {                   // a product of the group
    ProductText text;                       // operand 0: rows (a wide value's columns, for an OUT over rows)
    bool        is_out, over_columns;
    const char *cols;                       // C name of operand 1's panels, or of the sums of an OUT over rows
    const char *sums;
    Space       space;                      // of an OUT's epilogue
} RowsPart;

typedef struct Rows {
    Lower   *L;
    const Graph *g;
    Emitter *E;
    AxisId   row, col;
    AxisGroup batch;
    uint8_t *class_of;                      // [n_nodes]
    int     *stage;                         // [n_nodes] the pass over the block after which the value can be known
    ValueId  member[ROWS_MOST]; size_t n_members;          // ascending, free values and outside ones not among them
    RowsBuffer buffer[ROWS_MOST_PARTS]; size_t n_buffers;
    RowsPart part[ROWS_MOST_PARTS]; size_t n_parts;
    int      n_stages, n_slots;
    bool     grows;                         // an OUT over rows adds block after block, in order
    bool     causal;                        // columns beyond the row count for nothing
    Tile     tile, rows_tile, sums_tile;    // of packed rows; of a buffer's rows; of a buffer's columns
    int64_t  n_rows, n_cols, block_rows, stride, chunks;   // chunks: work items per batch element
    const char *slot[ROWS_MOST_PARTS];      // C names of the buffers
    const char *line[ROWS_MOST];            // C names of the row arrays of member i (reductions); NULL
    Ix       batch_at;
    const char *r0, *r1, *nc;               // the block at hand: its rows, its columns
} Rows;

// Finds what a ROWS kernel holds. False when it has not the shape of a row kernel.
bool rows_find(Rows *R);
// What lies in scratch and when; then the tile and the size of a block, as the schedule says.
void rows_plan_buffers(Rows *R);
void rows_cut(Rows *R);
// Columns after the row (col > row) make no difference: a mask hides them from every reduction and product.
bool rows_are_causal(const Rows *R);
// The passes over a block between its first products and its last ones.
void rows_emit_stages(Rows *R, Scope *at);

const RowsBuffer *rows_buffer(const Rows *R, ValueId v);
// The same for one row in CUDA, where the block's threads share out the columns. R->slot names the shared buffers.
void rows_emit_stages_cuda(Rows *R, Scope *row_scope, Ix row);
// Fills in the CUDA half of `text`, whose C half is finished; R's emitter and names become those of the CUDA text.
void rows_cuda(Rows *R, LowerText *text);
// Adds the launches of `text`, whose C half is finished, with CUDA texts by tiles. False, and nothing is done, where tiles do not fit.
bool rows_tiles(Rows *R, LowerText *text);

#endif
