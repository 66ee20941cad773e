// What the two files of rules share: parts of a record, added and taken away.
#ifndef MIXC_CAUSAL_RULES_H
#define MIXC_CAUSAL_RULES_H

#include "causal_facts.h"

extern const Reads reads_nothing;           // of a value that does not depend on the inputs

// Places along an axis: NOWHERE moved is NOWHERE; what overflows is taken for everything.
int64_t max_place(int64_t a, int64_t b);
int64_t place_moved(int64_t place, int64_t by);

void    reads_add_bound(Reads *r, AxisId axis, int64_t shift);
int64_t reads_take_bound(Reads *r, AxisId axis);            // takes the bound along an axis away and returns it
void    reads_add(Reads *r, const Reads *x);                // what x reads, r reads too
void    reads_add_fact(Reads *r, Region where, unsigned known);
void    reads_set_const(Reads *r, double value);
Reads   reads_pointwise(const Node *n, const Reads *const *in);

#endif
