// Type inference: the shape rule of an op, applied to operands of a graph. graph_add uses it to make a node, the
// verifier to check one.
#ifndef MIXC_SHAPE_H
#define MIXC_SHAPE_H

#include "graph.h"

typedef struct ShapeCall {
    const Graph   *g;
    Diag          *diag;                    // NULL: only the answer is wanted
    Span           at;
    Op             op;
    const ValueId *in;    size_t n_in;
    const Attr    *attr;  size_t n_attr;
    const Type    *declared;                // for DECLARED ops; else ignored
} ShapeCall;

// Sets *out_type to the type of the result; false, with a diagnostic at `at`, when operands or attributes do not fit.
// Codes: E0910 element types, E0911 axes, E0912 sizes and indices, E0913 limits, E0914 malformed nodes.
bool shape_infer(const ShapeCall *call, Type *out_type);

#endif
