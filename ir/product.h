// What a product is made of, for the pass that builds product kernels and the code that lowers them.
//
//   y[g, i, j] = sum over k of a[g, i, k] * b[g, k, j]
//
// Every axis of a contract is of one class: batch g (both operands and the result), row i (operand a and the
// result), column j (operand b and the result) or sum k (both operands). Classes are ordered lists of axes, row-major.
#ifndef MIXC_PRODUCT_H
#define MIXC_PRODUCT_H

#include "graph.h"

typedef enum AxisClass { CLASS_BATCH, CLASS_ROW, CLASS_COL, CLASS_SUM, CLASS_COUNT } AxisClass;

typedef struct AxisGroup {
    uint8_t n;
    AxisId  axis[MAX_AXES];                 // the last one is innermost
    int64_t size;                           // product of the sizes; 1 when there is none
} AxisGroup;

typedef struct Product {
    ValueId   value;                        // the contract
    ValueId   operand[2];                   // [0] holds the rows, [1] the columns
    AxisGroup group[CLASS_COUNT];
} Product;

// Sorts the axes of a contract. The columns are those of the operand that holds the result's innermost axis (of more
// than one element), so that a row of y is contiguous; when a batch axis is innermost operand 1 has the columns.
Product product_of(const Graph *g, ValueId contract);
// Multiplications, saturating.
double  product_flops(const Product *p);
// Worth a register-tiled kernel: enough multiplications, rows and columns, and a sum of more than a few terms. Lanes run over columns, or over
// batches that lie side by side.
bool    product_is_worth(const Graph *g, const Product *p);

// The address of a value that is a view of stored numbers: element i of it lies at
// offset + sum over axes of i[axis] * stride[axis] of root's buffer.
typedef struct Affine {
    ValueId root;                           // a leaf, or a value that a kernel stores
    int64_t offset;
    int64_t stride[MAX_AXES];               // by position in the value's type
} Affine;

// False when some view on the way (pad, window, a merge of axes that do not follow each other) is not affine, or
// something other than a view stands before the stored numbers.
bool value_affine(const Graph *g, ValueId v, Affine *out_affine);
// The same, seen through roundings to bf16: for whoever rounds what it reads.
bool value_affine_rounded(const Graph *g, ValueId v, Affine *out_affine);
// The stride by which a group of axes is one axis in that address; false when they do not collapse. Axes that the
// value does not hold count as stride 0. A group of size 1 has stride 1.
bool affine_collapse(const Graph *g, ValueId v, const Affine *affine, const AxisGroup *group, int64_t *out_stride);
bool value_is_stored(const Graph *g, ValueId v);     // a leaf, or kept by a kernel

// Epilogues. The elements of the anchor are the points of a space whose axes are `atoms`; each value that an
// epilogue computes has one element per point: its axes are lists of atoms (row-major). Splits refine atoms.
enum { MAX_ATOMS = 24 };
typedef struct AtomAxis { uint8_t n, atom[MAX_ATOMS]; } AtomAxis;   // ids of atoms, outermost first
typedef struct AtomMap { ValueId value; AtomAxis axis[MAX_AXES]; } AtomMap;
typedef struct Space {
    Arena   *arena;
    ValueId  anchor;
    uint8_t  n_atoms;
    int64_t  size[MAX_ATOMS];               // of an atom
    AtomMap *map; size_t n_maps, map_capacity;          // by increasing value; map[0] is the anchor's
} Space;

Space          space_make(Arena *arena, const Graph *g, ValueId anchor);
const AtomMap *space_find(const Space *s, ValueId v);   // NULL: not in the space
// Adds node v, which has an operand in the space, when it is elementwise or a one-to-one view there: same points,
// each axis a list of atoms, operands in the space read at the same point. False: it is not, and nothing changed.
bool           space_add(Space *s, const Graph *g, ValueId v);

#endif
