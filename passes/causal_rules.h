// What the two files of rules share: parts of a record, added and taken away.
#ifndef MIXC_CAUSAL_RULES_H
#define MIXC_CAUSAL_RULES_H

#include "causal_facts.h"

extern const Reads reads_nothing;           // of a value that does not depend on the inputs

// Places along an axis: NOWHERE moved is NOWHERE; what overflows is taken for everything.
int64_t max_place(int64_t a, int64_t b);
int64_t place_moved(int64_t place, int64_t by);

void    reads_add_bound(Reads *r, const Bound *b);          // one without terms is a fixed position
void    reads_add(Reads *r, const Reads *x);                // what x reads, r reads too
// In every bound the place along `axis` becomes i_to + by, or with to = 0 the place `by`.
void    reads_replace(Reads *r, AxisId axis, AxisId to, int64_t by);
// The same where i_axis is the sum of stride[k] * i_to[k] over n axes, plus by.
void    reads_replace_all(Reads *r, AxisId axis, const AxisId *to, const int64_t *stride, size_t n, int64_t by);
int64_t bound_take(Bound *b, AxisId axis);                  // takes a term out; its stride, or 0
void    bound_add(Bound *b, AxisId axis, int64_t stride);
bool    reads_forget(Reads *r, AxisId axis);                // takes the bounds along it away; whether there were any
void    reads_add_fact(Reads *r, Region where, unsigned known);
void    reads_set_const(Reads *r, double value);
Reads   reads_pointwise(const Node *n, const Reads *const *in);

#endif
