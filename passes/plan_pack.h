// Packing of intervals: the part of the memory plan that is pure combinatorics. See plan_pack.c.
#ifndef MIXC_PLAN_PACK_H
#define MIXC_PLAN_PACK_H

#include "arena.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Piece {                      // something that needs `size` bytes at the times first..last
    uint32_t first, last;
    size_t   size;                          // a multiple of PLAN_ALIGN, not 0
    size_t   offset;                        // set by the packers
} Piece;

// The largest sum of sizes alive at one time; no packing is smaller.
size_t pack_lower_bound(Arena *scratch, const Piece *piece, size_t n, uint32_t n_times);
// The bytes that the offsets need.
size_t pack_end(const Piece *piece, size_t n);
// Sets all offsets; returns the bytes used. Pieces that are alive at one time do not overlap.
size_t pack(Arena *scratch, Piece *piece, size_t n, uint32_t n_times);

#endif
