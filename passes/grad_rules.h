// What gradient rules see: the state of one reverse sweep and the ways to hand a cotangent on.
//
// A cotangent may lack axes of its value: it is then the same along them ("lazy"). Sums and means make such ones, and
// the elementwise rules pass them on as they are, so that nothing is expanded that a later product would absorb.
#ifndef MIXC_GRAD_RULES_H
#define MIXC_GRAD_RULES_H

#include "graph.h"

typedef struct GradPart GradPart;

typedef struct Grad {
    Graph     *g;
    Arena     *scratch;
    size_t     n_values;                    // nodes below this id are the function's own; the rest is its gradient
    bool      *wanted;                      // [n_values] depends on something asked for
    GradPart **part;                        // [n_values] contributions to the cotangent, newest first
    ValueId   *d;                           // [n_values] the cotangent, once all its users were visited; 0: none yet
} Grad;

// Rule of an op: given the cotangent of node `id`, gives its operands theirs.
typedef void GradRule(Grad *gr, ValueId id, ValueId dy);

// A part of a cotangent, and the node whose rule gave it.
struct GradPart {
    ValueId   value, user;
    GradPart *next;
};

static inline bool grad_wants(const Grad *gr, ValueId v)
{
    return v < gr->n_values && gr->wanted[v];
}

// Hands `d`, which has axes of v only, to operand v of node y.
void    grad_push(Grad *gr, ValueId y, ValueId v, ValueId d);
// `d` stands for a value with the axes of y: sums it over those that v lacks.
ValueId grad_sum_to(Grad *gr, ValueId y, ValueId v, ValueId d);
// Hands `d` to operand v of node y. `d` stands for a value with the axes of y (lazily); axes that v lacks are summed.
void    grad_give(Grad *gr, ValueId y, ValueId v, ValueId d);
// The same for op(d, f) with op MUL or DIV: sums over axes that f lacks come before it, the others after.
void    grad_give_op(Grad *gr, ValueId y, ValueId v, Op op, ValueId d, ValueId f);
// `d` with all axes of value v, in its order.
ValueId grad_full(Grad *gr, ValueId d, ValueId v);
// The axes of a that b lacks; returns how many.
size_t  axes_minus(const Type *a, const Type *b, AxisId *out_axes);
// A constant of v's element type, and the test for one.
ValueId grad_const(Grad *gr, ValueId v, double value);
bool    grad_is_const(const Grad *gr, ValueId v, double value);

// The rules, one per name in the grad column of ops.def.
#define OP(id, text, n_in, attrs, shape, eval, grad, lower, flags) GradRule grad_##grad;
#include "ops.def"
#undef OP

#endif
