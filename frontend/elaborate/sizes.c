// Exact arithmetic for sizes. Every step is overflow-checked; what does not fit becomes an inexact double, which no
// axis accepts as its size.
#include "sizes.h"

#include "checked.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

static int64_t gcd(int64_t a, int64_t b)
{
    while (b != 0) {
        int64_t r = a % b;
        a = b;
        b = r;
    }
    return a < 0 ? -a : a;
}

static Number ratio(int64_t num, int64_t den)
{
    if (den == 0 || num == INT64_MIN || den == INT64_MIN)
        return number_double((double)num / (double)den);
    int64_t d = gcd(num, den);
    if (d > 1) {
        num /= d;
        den /= d;
    }
    if (den < 0) {
        num = -num;
        den = -den;
    }
    return (Number){.exact = true, .num = num, .den = den, .value = (double)num / (double)den};
}

Number number_of(int64_t n)
{
    return (Number){.exact = true, .num = n, .den = 1, .value = (double)n};
}

Number number_double(double value)
{
    return (Number){.exact = false, .num = 0, .den = 1, .value = value};
}

Number number_literal(const char *text, double fallback)
{
    int64_t num = 0, den = 1;
    const char *p = text;
    bool fraction = false;
    for (; isdigit((unsigned char)*p) || (*p == '.' && !fraction); p++) {
        if (*p == '.') {
            fraction = true;
            continue;
        }
        if (!checked_mul_i64(num, 10, &num) || !checked_add_i64(num, *p - '0', &num) ||
            (fraction && !checked_mul_i64(den, 10, &den)))
            return number_double(fallback);
    }
    if (p == text)
        return number_double(fallback);
    if (*p == 'e' || *p == 'E') {
        char *end;
        long exponent = strtol(p + 1, &end, 10);
        if (end == p + 1 || exponent > 18 || exponent < -18)
            return number_double(fallback);
        for (long i = 0; i < labs(exponent); i++)
            if (!checked_mul_i64(exponent > 0 ? num : den, 10, exponent > 0 ? &num : &den))
                return number_double(fallback);
        p = end;
    }
    if (*p != 0)
        return number_double(fallback);
    Number n = ratio(num, den);
    n.value = fallback;                     // the double that the lexer read is the nearest one
    return n;
}

static bool exact_sum(Number a, Number b, int64_t sign, Number *out)
{
    int64_t x, y, num, den;
    if (!checked_mul_i64(a.num, b.den, &x) || !checked_mul_i64(b.num, a.den, &y) || !checked_mul_i64(y, sign, &y) ||
        !checked_add_i64(x, y, &num) || !checked_mul_i64(a.den, b.den, &den))
        return false;
    *out = ratio(num, den);
    return true;
}

static bool exact_product(Number a, int64_t num, int64_t den, Number *out)
{
    // cross-reduced first, so that D/H*H stays small
    int64_t d1 = gcd(a.num, den), d2 = gcd(num, a.den);
    if (d1 == 0 || d2 == 0)
        return false;
    int64_t x, y;
    if (!checked_mul_i64(a.num / d1, num / d2, &x) || !checked_mul_i64(a.den / d2, den / d1, &y))
        return false;
    *out = ratio(x, y);
    return true;
}

static int compare(Number a, Number b)
{
    int64_t x, y;
    if (a.exact && b.exact && checked_mul_i64(a.num, b.den, &x) && checked_mul_i64(b.num, a.den, &y))
        return x < y ? -1 : x > y;
    return a.value < b.value ? -1 : a.value > b.value;
}

static Number power(Number a, Number b)
{
    int64_t n;
    if (a.exact && number_whole(b, &n) && n >= 0 && n <= 64) {
        Number r = number_of(1);
        for (int64_t i = 0; i < n; i++)
            r = number_binary(BINARY_MUL, r, a);
        return r;
    }
    return number_double(pow(a.value, b.value));
}

Number number_binary(BinaryOp op, Number a, Number b)
{
    Number r;
    bool exact = a.exact && b.exact;
    switch (op) {
    case BINARY_ADD:
        return exact && exact_sum(a, b, 1, &r) ? r : number_double(a.value + b.value);
    case BINARY_SUB:
        return exact && exact_sum(a, b, -1, &r) ? r : number_double(a.value - b.value);
    case BINARY_MUL:
        return exact && exact_product(a, b.num, b.den, &r) ? r : number_double(a.value * b.value);
    case BINARY_DIV:
        return exact && b.num != 0 && exact_product(a, b.den, b.num, &r) ? r : number_double(a.value / b.value);
    case BINARY_MOD:
        if (exact && b.num != 0) {
            Number q = number_floor(number_binary(BINARY_DIV, a, b));
            return number_binary(BINARY_SUB, a, number_binary(BINARY_MUL, b, q));
        }
        return number_double(a.value - b.value * floor(a.value / b.value));
    case BINARY_POW: return power(a, b);
    case BINARY_LT:  return number_of(compare(a, b) < 0);
    case BINARY_LE:  return number_of(compare(a, b) <= 0);
    case BINARY_GT:  return number_of(compare(a, b) > 0);
    case BINARY_GE:  return number_of(compare(a, b) >= 0);
    case BINARY_EQ:  return number_of(compare(a, b) == 0);
    case BINARY_NE:  return number_of(compare(a, b) != 0);
    }
    return number_double(NAN);
}

Number number_negate(Number a)
{
    if (a.exact && a.num != INT64_MIN)
        return (Number){.exact = true, .num = -a.num, .den = a.den, .value = -a.value};
    return number_double(-a.value);
}

Number number_floor(Number a)
{
    if (!a.exact)
        return fabs(a.value) < 9e15 ? number_of((int64_t)floor(a.value)) : number_double(floor(a.value));
    int64_t q = a.num / a.den;
    if (a.num % a.den < 0)
        q--;
    return number_of(q);
}

Number number_ceil(Number a)
{
    return number_negate(number_floor(number_negate(a)));
}

bool number_whole(Number a, int64_t *out)
{
    if (!a.exact || a.den != 1)
        return false;
    *out = a.num;
    return true;
}

bool number_true(Number a)
{
    return a.exact ? a.num != 0 : a.value != 0;
}

const char *number_text(Arena *arena, Number a)
{
    if (a.exact && a.den == 1)
        return arena_printf(arena, "%" PRId64, a.num);
    double m = fabs(a.value);
    if (m >= 0.01 && m < 1e7) {
        char *s = arena_printf(arena, "%.2f", a.value);
        return s;
    }
    return arena_printf(arena, "%.4g", a.value);
}

const char *count_text(Arena *arena, int64_t n)
{
    char digits[32], out[48];
    int len = snprintf(digits, sizeof digits, "%" PRId64, n);
    size_t o = 0;
    for (int i = 0; i < len; i++) {
        out[o++] = digits[i];
        int left = len - 1 - i;
        if (left > 0 && left % 3 == 0 && digits[i] != '-')
            out[o++] = ',';
    }
    return arena_strndup(arena, out, o);
}
