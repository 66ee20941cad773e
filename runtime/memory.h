// Large blocks straight from the system: page aligned, zeroed, huge pages where there are some.
#ifndef MIXC_MEMORY_H
#define MIXC_MEMORY_H

#include "pool.h"
#include "status.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct Block {
    unsigned char *data;                    // aligned to 2 MiB when larger than that; NULL when empty
    size_t         bytes;                   // asked for
    void          *map;                     // what to give back
    size_t         map_bytes;
} Block;

// Maps a block; touches every page on all threads of the pool when `touch`, so that no page fault comes later. Fails
// with OUT_OF_MEMORY when the machine (or the limit of this group of processes) has not that much left.
Status block_map(Block *out_block, size_t bytes, const char *what, bool touch, Pool *pool, StatusText *why);
void   block_unmap(Block *block);

// Memory that can still be used without swapping; SIZE_MAX when the system does not say.
size_t memory_available_bytes(void);

// Gives memory that was freed back to the system, where the C library keeps it.
void memory_give_back(void);

// Resident memory of this process, now and at its highest; 0: the system does not say.
size_t memory_resident_bytes(void);
size_t memory_peak_bytes(void);

#endif
