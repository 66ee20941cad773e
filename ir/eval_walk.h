// Inside the evaluator: the state of one evaluation, and walking over the elements of a value in row-major order while
// following the matching places in other values.
#ifndef MIXC_EVAL_WALK_H
#define MIXC_EVAL_WALK_H

#include "eval.h"

typedef struct Eval {
    const Graph *g;
    EvalLeaf    *leaf;
    void        *user;
    Arena       *arena;
    StatusText  *why;
    double     **value;                     // [n_nodes]
} Eval;

// Fills `out`, which has n_out elements (at least 1) and is zero.
typedef Status EvalRule(Eval *e, const Node *n, double *out, size_t n_out);

// The rules outside eval.c, by the file that holds them.
EvalRule eval_add, eval_sub, eval_mul, eval_div, eval_pow, eval_mod, eval_max, eval_min, eval_atan2, eval_lt, eval_le,
    eval_eq, eval_ne, eval_select, eval_neg, eval_map, eval_slope, eval_cast, eval_stop;             // eval_pointwise.c
EvalRule eval_expand, eval_rename, eval_split, eval_merge, eval_at, eval_slice, eval_pad, eval_reverse, eval_window,
    eval_unwindow;                                                                                   // eval_views.c
EvalRule eval_contract, eval_fftconv, eval_reduce, eval_take, eval_put_add, eval_put, eval_ortho;                            // eval_sums.c

EvalRule eval_topk, eval_rank, eval_slot, eval_assign;                                               // eval_route.c

// Elementwise rules on `count` elements whose operands lie beside one another, in the same order: out[i] from in[k][i].
// False when the op is not elementwise; with count 0 that is all it does. `out` may not be an operand.
bool eval_block(const Node *n, size_t count, const double *const *in, double *out);
// A seed or step as 32 bits; numbers that no int can hold are taken for 0.
uint32_t eval_seed_bits(double x);

enum { WALK_PLACES = 3 };

typedef struct Walk {
    size_t  n_axes;
    AxisId  axis[MAX_AXES];
    int64_t size[MAX_AXES], index[MAX_AXES];
    int64_t stride[WALK_PLACES][MAX_AXES];  // how far place k moves per step along the axis; 0 when it lacks it
    int64_t at[WALK_PLACES];                // where place k is now
} Walk;

// Elements between neighbours along `axis`; 0 when the type lacks it.
int64_t type_stride(const Graph *g, const Type *type, AxisId axis);
// A walk over the axes of `type`, no place moving yet.
Walk walk_over(const Graph *g, const Type *type);
// Place k follows in a value of type `x`, by axis names.
void walk_follow(Walk *w, size_t k, const Graph *g, const Type *x);
// Sets the stride of place k along one axis of the walk.
void walk_stride(Walk *w, size_t k, AxisId axis, int64_t stride);
// Joins axes that every place walks through as if they were one; afterwards the walk is not to be asked for an axis.
void walk_flatten(Walk *w);
// Goes to the next element; at the end, back to the first.
void walk_next(Walk *w);

#endif
