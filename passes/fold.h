// Between the files of the pass fold: the state of one walk and the groups of rules. See fold.c.
#ifndef MIXC_FOLD_H
#define MIXC_FOLD_H

#include "rewrite.h"

typedef struct Fold {
    Rewrite rw;
    bool    drop_stops;
} Fold;

// Each returns the value that stands for node n (whose operands are ids of rw.out), or 0 to keep it.
ValueId fold_node(Fold *f, const Node *n);      // all rules; the result has n's axes
ValueId fold_view(Fold *f, const Node *n);      // fold_axes.c: views of views, views of constants
ValueId fold_sum(Fold *f, const Node *n);       // fold_axes.c: sums of what does not vary

// Whether v is the same number everywhere.
bool    fold_const(const Fold *f, ValueId v, double *out_value);
bool    fold_is(const Fold *f, ValueId v, double value);
// v with the axes of `type`: itself, or expanded.
ValueId fold_as(Fold *f, ValueId v, const Type *type);

#endif
