// Where the buffers of a program lie in a device's memory: as planned, or beside another program that is not running at
// the same time, using its parameters and the room that it needs only while it runs.
#ifndef MIXC_PLACE_H
#define MIXC_PLACE_H

#include "program.h"

typedef struct Placement {
    const Program  *program;                // borrowed
    unsigned char **address;                // [n_buffers]
    const bool     *is_shared;              // [n_buffers] beside another: the storage is the other's; NULL: none is
    // The bytes that hold nothing but TEMP and OUTPUT buffers, between runs free for others; 0: they are mixed with
    // others.
    unsigned char  *room;
    size_t          room_bytes;
} Placement;

// As planned: address = memory + offset. All results live in the arena.
Placement place_at(Arena *arena, const Program *p, unsigned char *memory);

// Beside `other`. First how many bytes of its own the program needs, then the addresses, with `memory` of that size,
// 64-byte aligned. *out_n_shared counts the parameters and states that are those of `other`.
typedef struct PlacePlan {
    uint32_t *shared;                       // [n_buffers] the buffer of `other`; 0: storage of its own
    bool     *stays;                        // [n_buffers] of roots: INPUT, PARAM or STATE
    size_t    low, high;                    // span of the offsets of all others
    bool      uses_room;                    // they fit into the room of `other`
    size_t    bytes;                        // of its own memory
    size_t    n_shared;
} PlacePlan;

PlacePlan place_plan(Arena *arena, const Program *p, const Placement *other);
Placement place_beside(Arena *arena, const Program *p, const PlacePlan *plan, const Placement *other, unsigned char *memory);
// Whether the storage of a buffer is that of the program beside.
static inline bool place_is_shared(const Placement *place, const Program *p, uint32_t buffer)
{
    return place->is_shared && buffer < p->n_buffers && place->is_shared[buffer];
}

#endif
