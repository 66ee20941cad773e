// The structure of a graph kernel, as bytes: two kernels with the same key get the same launches.
#ifndef MIXC_KERNEL_KEY_H
#define MIXC_KERNEL_KEY_H

#include "graph.h"

// The values a kernel touches: those it stores, what it computes inside, and what it reads (stored by others, or leaves).
typedef struct Cone {
    ValueId *value; size_t n, capacity;     // operands first, from the stored values in order
    bool    *is_read;                       // [n] a leaf, or stored by another kernel
    size_t   is_read_capacity;
} Cone;

typedef struct ConeScratch {
    uint32_t *stamp;                        // [n_nodes] serial of the kernel that saw the node last
    uint32_t *local;                        // [n_nodes] its number in that kernel
    uint32_t  serial;
} ConeScratch;

ConeScratch cone_scratch(Arena *arena, const Graph *g);
// `cone` is reused: its arrays grow in `arena`. n_uses[v] is set for all values of the cone.
void cone_find(Arena *arena, const Graph *g, uint32_t kernel, const ValueId *member, size_t n_members, ConeScratch *scratch,
               uint32_t *n_uses, Cone *cone);

// Appends the key to `out` (binary, in a Text). order_for: see Lower; NULL where no kernel of the graph writes orders of rows.
void cone_key(const Graph *g, uint32_t kernel, const Cone *cone, const ConeScratch *scratch, const ValueId *order_for, Text *out);
uint64_t cone_hash(const Text *key);

// The values that kernel k of a fused graph stores, ascending: member[first[k]] .. member[first[k + 1] - 1].
typedef struct KernelMembers {
    ValueId  *member;
    uint32_t *first;                        // [n_kernels + 2]
} KernelMembers;

KernelMembers kernel_members(Arena *arena, const Graph *g);

#endif
