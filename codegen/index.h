// Index expressions: where in a buffer a kernel reads or writes. Views (split, merge, slice, window, ...) are composed
// into them, so that a view costs index arithmetic and nothing else.
//
// An expression is a sum of terms `coefficient * atom` and a constant. An atom is a loop variable, a C variable that
// holds a computed index (take), or floor(e/c) or e mod c of an expression. Expressions are hash-consed: equal
// expressions have equal ids. Ranges and divisors are known for each, which is what simplification rests on:
//     (w/6)*6 + w%6 = w        (6*i + j)/6 = i and (6*i + j)%6 = j when 0 <= j < 6        (w/6)%4*6 + w%6 = w%24
#ifndef MIXC_INDEX_H
#define MIXC_INDEX_H

#include "arena.h"
#include "text.h"

#include <stdbool.h>
#include <stdint.h>

typedef uint32_t Ix;                        // an expression; 0: none
typedef struct IxTable IxTable;

IxTable *ix_table(Arena *arena);

Ix ix_const(IxTable *t, int64_t value);
// A C variable `name`, always a multiple of `multiple`, that belongs to loop depth `depth` (0..63), with lo <= value <= hi;
// for a lane variable hi counts the last lane. Each call makes a new variable.
Ix ix_var(IxTable *t, const char *name, int64_t lo, int64_t hi, int64_t multiple, int depth);
// A variable for the places 0 <= value <= most of a group: a sum of it and of what most + 1 divides is divided as if it were not there.
Ix ix_small(IxTable *t, const char *name, int64_t most, int depth);
// The same for a computed index, which depends on the depths in `deps`. `is_vector`: one index per lane.
Ix ix_value(IxTable *t, const char *name, int64_t lo, int64_t hi, uint64_t deps, bool is_vector);
Ix ix_add(IxTable *t, Ix a, Ix b);
Ix ix_sub(IxTable *t, Ix a, Ix b);
Ix ix_offset(IxTable *t, Ix a, int64_t c);              // a + c
Ix ix_scale(IxTable *t, Ix a, int64_t c);               // a * c
Ix ix_div(IxTable *t, Ix a, int64_t c);                 // floor(a / c), c > 0
Ix ix_mod(IxTable *t, Ix a, int64_t c);                 // a - c*floor(a / c), c > 0

bool     ix_is_const(const IxTable *t, Ix a, int64_t *out_value);
int64_t  ix_lo(const IxTable *t, Ix a);
int64_t  ix_hi(const IxTable *t, Ix a);
int64_t  ix_multiple(const IxTable *t, Ix a);           // a known divisor, >= 1; 0: the expression is 0
uint64_t ix_deps(const IxTable *t, Ix a);               // bit d: depends on loop depth d
// Coefficient of a variable when the expression is c*var + rest and rest does not depend on var; else *out_coef is
// left alone and the answer is false.
bool     ix_affine(const IxTable *t, Ix a, Ix var, int64_t *out_coef);

typedef enum LaneForm { LANE_UNIFORM, LANE_UNIT, LANE_OTHER } LaneForm;
// How the expression moves while `var` goes through `lanes` consecutive values from a multiple of `var`'s divisor:
// not at all, by one each time, or some other way.
LaneForm ix_lane(const IxTable *t, Ix a, Ix var, int lanes);

// C text. `inside_product`: add parentheses if it is a sum. `lane`: when not NULL, `var` is printed as `(var + lane)`
// and a vector of indices as `name[lane]`.
void ix_print(const IxTable *t, Ix a, bool inside_product, Ix var, const char *lane, Text *out);

#endif
