// Exact arithmetic for sizes and constants: rationals of 64-bit integers while they fit, a double beside them always.
// An axis size must be exact and whole; everything else may fall back to the double.
#ifndef MIXC_SIZES_H
#define MIXC_SIZES_H

#include "ast.h"
#include "text.h"

typedef struct Number {
    bool    exact;                          // num/den is the value; den > 0, reduced
    int64_t num, den;
    double  value;
} Number;

Number number_of(int64_t n);
Number number_double(double value);
// A literal as written (`0.25`, `1e-5`): exact when its digits fit, else `fallback`.
Number number_literal(const char *text, double fallback);
// Exact when both are and the result fits. Division and % by zero give an inexact NaN or infinity.
Number number_binary(BinaryOp op, Number a, Number b);
Number number_negate(Number a);
Number number_floor(Number a);
Number number_ceil(Number a);
bool   number_whole(Number a, int64_t *out);   // exact, whole
bool   number_true(Number a);
// Shortest text: `12`, `54.86`, `1e-05`.
const char *number_text(Arena *arena, Number a);
// 12480 -> "12,480"
const char *count_text(Arena *arena, int64_t n);

#endif
