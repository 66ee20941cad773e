// Overflow-checked arithmetic. Each returns false, and leaves *out alone, when the result does not fit.
#ifndef MIXC_CHECKED_H
#define MIXC_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool checked_add(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

static inline bool checked_mul(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

// Rounds up to a multiple of `align`, a power of two.
static inline bool checked_align(size_t a, size_t align, size_t *out)
{
    size_t r;
    if (!checked_add(a, align - 1, &r))
        return false;
    *out = r & ~(align - 1);
    return true;
}

static inline bool checked_add_i64(int64_t a, int64_t b, int64_t *out)
{
    int64_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

static inline bool checked_mul_i64(int64_t a, int64_t b, int64_t *out)
{
    int64_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

#endif
