// Inside codegen: what codegen.c and codegen_order.c share while one graph becomes a program.
#ifndef MIXC_CODEGEN_STATE_H
#define MIXC_CODEGEN_STATE_H

#include "codegen.h"
#include "kernel_key.h"
#include "lower.h"

typedef struct Known {                      // a lowered structure
    const char *key; size_t n_key;
    uint64_t    hash;
    LowerLaunch *launch; size_t n_launches;  // value: index into the cone instead of an id
    LowerWorkspace *workspace; size_t n_workspaces;
} Known;

typedef struct Made {                       // what some launch has made of a value: LowerWorkspace
    ValueId  of;
    uint64_t key;
    uint32_t buffer;
} Made;

typedef struct NamedLeaf {
    const char *name;
    ValueId     value;
} NamedLeaf;

#define SEVERAL_READERS UINT32_MAX

typedef struct Codegen {
    Arena        *arena;                    // of the program
    Arena         scratch;
    Diag         *diag;
    const Graph  *g;
    const Target *target;
    Program      *program;
    uint32_t     *buffer_of;                // [n_nodes] the buffer that holds the value; 0: none
    uint32_t     *key_of;                   // [n_nodes] the buffer of a random value's key; 0: none
    uint32_t     *n_uses;                   // [n_nodes] see Lower
    ConeScratch   cones;
    Cone          cone;
    const ValueId *member;                  // see KernelMembers
    const uint32_t *first;
    uint32_t     *order; size_t n_order;    // kernels in order of execution
    NamedLeaf    *leaf; size_t n_leaves;    // parameters and states, by name
    bool         *copied;                   // [n_outputs] a NEXT output that cannot be written in place
    uint32_t     *reader;                   // [n_nodes] the kernel that reads what another stores; 0: none
    bool          keeps_weights;            // see Lower
    ValueId      *order_for;                // [n_nodes] see Lower
    Made         *made; size_t n_made, made_capacity;
    Known        *known; size_t n_known, known_capacity;
    uint32_t     *slot; size_t n_slots;     // open addressing by hash; index into known + 1
} Codegen;

// c->cone and c->n_uses of a kernel.
void codegen_cone(Codegen *c, uint32_t kernel);
// Parameters and states of the graph, by name: c->leaf.
void codegen_find_leaves(Codegen *c);
// The leaf that the output replaces; 0: none.
ValueId codegen_replaced_leaf(const Codegen *c, const Output *output);
// old[v]: the leaf whose buffer the value v is to overwrite; 0: none.
ValueId *codegen_replacements(Codegen *c);
// With the order known: old[v] is also the value that v's kernel goes through for the last time, where v can be written over it.
void     codegen_reuse(Codegen *c, ValueId *old);
// Fills c->order. Where kernels would need each other in a circle, the smallest value that was to be overwritten in it is not: `old`
// loses it. False after an error in diag.
bool codegen_order(Codegen *c, ValueId *old);

#endif
