// What gradient rules see: the state of one reverse sweep and the ways to hand a cotangent on.
//
// A cotangent may lack axes of its value: it is then the same along them ("lazy"). Sums and means make such ones, and
// the elementwise rules pass them on as they are, so that nothing is expanded that a later product would absorb.
#ifndef MIXC_GRAD_RULES_H
#define MIXC_GRAD_RULES_H

#include "graph.h"

typedef struct GradPart GradPart;
typedef struct GradGate GradGate;

typedef struct Grad {
    Graph     *g;
    Arena     *scratch;
    size_t     n_values;                    // nodes below this id are the function's own; the rest is its gradient
    bool      *wanted;                      // [n_values] depends on something asked for
    GradPart **part;                        // [n_values] contributions to the cotangent, newest first
    ValueId   *d;                           // [n_values] the cotangent, once all its users were visited; 0: none yet
    GradGate  *gate;                        // products whose gates had their gradient from one (grad_gate.c), newest first
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
// The two halves of it: `d` summed over the axes of y that neither v nor f has, and over those that v lacks.
ValueId grad_sum_but(Grad *gr, ValueId y, ValueId v, ValueId f, ValueId d);
ValueId grad_sum_late(Grad *gr, ValueId v, ValueId d);
// `d` with all axes of value v, in its order.
ValueId grad_full(Grad *gr, ValueId d, ValueId v);
// The axes of a that b lacks; returns how many.
size_t  axes_minus(const Type *a, const Type *b, AxisId *out_axes);
// A constant of v's element type, and the test for one.
ValueId grad_const(Grad *gr, ValueId v, double value);
bool    grad_is_const(const Grad *gr, ValueId v, double value);

// Of product y = a @ b: dy @ b for its operand a (the other way round for b). over: the axes of this sum; chosen: axes of a
// choice that are still to be summed, each choice having been multiplied on its own. Returns how many `over` has.
size_t  grad_back_axes(const Grad *gr, ValueId y, size_t operand, AxisId *over, AxisId *chosen, size_t *out_n_chosen);
ValueId grad_back(Grad *gr, ValueId y, size_t operand, ValueId dy);
// grad_gate.c. For y = v f: hands v its gradient if f is a product with weights, or a sum with one, that v gates; false: not so.
bool    grad_gate(Grad *gr, ValueId y, ValueId v, ValueId dy, ValueId f);
// grad_back of a product whose cotangent is a gate times something, from the product that grad_gate made; 0: there is none.
ValueId grad_gated(Grad *gr, ValueId y, size_t operand, ValueId dy);

// The rules, one per name in the grad column of ops.def.
#define OP(id, text, n_in, attrs, shape, eval, grad, lower, flags) GradRule grad_##grad;
#include "ops.def"
#undef OP

#endif
