// The memory plan's search for pieces that are hard to pack. See plan_eject.c.
#ifndef MIXC_PLAN_EJECT_H
#define MIXC_PLAN_EJECT_H

#include "plan_pack.h"

// Looks for a packing into `bytes`, at least the size of each piece, beginning with the offsets that are there. Sets them where it
// finds a better one, and returns whether that needs no more than `bytes`. budget: how many pieces may be compared with the one at
// hand, in all.
bool pack_eject(Arena *scratch, Piece *piece, size_t n, size_t bytes, double budget);

#endif
