// The free bytes of an arena while pieces come and go: the packers' list of blocks. See plan_free.c.
#ifndef MIXC_PLAN_FREE_H
#define MIXC_PLAN_FREE_H

#include "arena.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct FreeBlock FreeBlock;

typedef struct FreeList {
    FreeBlock *block;                       // block[0] is "none"
    uint32_t   n, capacity, root, unused;   // unused: chain of given back nodes through `right`
} FreeList;

// For at most `most` pieces at a time; free_reset comes before anything else.
FreeList free_make(Arena *scratch, size_t most);
// All of `bytes` are free.
void free_reset(FreeList *f, size_t bytes);
// Takes `size` bytes from the lowest (or highest) block that has them, at its low (or high) end. False: there is no such block.
bool free_take(FreeList *f, size_t size, bool lowest, size_t *out_offset);
// Gives bytes back; free neighbours become one block with them.
void free_give(FreeList *f, size_t begin, size_t size);

#endif
