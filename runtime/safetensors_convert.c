// Reading tensors as the numbers we compute with, a piece at a time through a small buffer.
#include "safetensors.h"

#include <math.h>
#include <string.h>

enum { PIECE = 4096 };                      // elements

float st_from_bf16(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

uint16_t st_to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (isnan(value))
        return (uint16_t)(bits >> 16 | 0x40);        // quiet, so that the cut payload cannot make it infinite
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static double from_f16(uint16_t bits)
{
    int exponent = bits >> 10 & 31;
    double fraction = bits & 1023, sign = bits >> 15 ? -1 : 1;
    if (exponent == 31)
        return fraction != 0 ? copysign(NAN, sign) : sign * INFINITY;
    return exponent == 0 ? sign * ldexp(fraction, -24) : sign * ldexp(fraction + 1024, exponent - 25);
}

// Numbers of one piece as doubles: exact for every type but the 64-bit integers, which are handled apart.
#define WIDEN(id, T, expression)                                    \
    case ST_##id:                                                   \
        for (size_t i = 0; i < n; i++) {                            \
            T v;                                                    \
            memcpy(&v, raw + i * sizeof v, sizeof v);               \
            out[i] = (double)(expression);                          \
        }                                                           \
        return true;

static bool widen(StDType dtype, const unsigned char *raw, size_t n, double *out)
{
    switch (dtype) {
    WIDEN(BOOL, uint8_t, v != 0)
    WIDEN(U8, uint8_t, v)
    WIDEN(I8, int8_t, v)
    WIDEN(I16, int16_t, v)
    WIDEN(U16, uint16_t, v)
    WIDEN(F16, uint16_t, from_f16(v))
    WIDEN(BF16, uint16_t, st_from_bf16(v))
    WIDEN(I32, int32_t, v)
    WIDEN(U32, uint32_t, v)
    WIDEN(F32, float, v)
    WIDEN(F64, double, v)
    WIDEN(I64, int64_t, v)
    WIDEN(U64, uint64_t, v)
    case ST_F4:
    case ST_F6_E2M3:
    case ST_F6_E3M2:
    case ST_F8_E5M2:
    case ST_F8_E4M3:
    case ST_F8_E8M0:
    case ST_C64:
    case ST_COUNT: break;
    }
    return false;
}

typedef Status Narrow(const Safetensors *st, const StTensor *t, const double *value, size_t n, void *out, size_t at,
                      StatusText *why);

static Status to_f32(const Safetensors *st, const StTensor *t, const double *value, size_t n, void *out, size_t at,
                     StatusText *why)
{
    (void)st, (void)t, (void)why;
    for (size_t i = 0; i < n; i++)
        ((float *)out)[at + i] = (float)value[i];
    return STATUS_OK;
}

static Status to_f64(const Safetensors *st, const StTensor *t, const double *value, size_t n, void *out, size_t at,
                     StatusText *why)
{
    (void)st, (void)t, (void)why;
    memcpy((double *)out + at, value, n * sizeof *value);
    return STATUS_OK;
}

static Status to_bf16(const Safetensors *st, const StTensor *t, const double *value, size_t n, void *out, size_t at,
                      StatusText *why)
{
    (void)st, (void)t, (void)why;
    for (size_t i = 0; i < n; i++)
        ((uint16_t *)out)[at + i] = st_to_bf16((float)value[i]);
    return STATUS_OK;
}

static Status to_i32(const Safetensors *st, const StTensor *t, const double *value, size_t n, void *out, size_t at,
                     StatusText *why)
{
    for (size_t i = 0; i < n; i++) {
        double v = value[i];
        if (!(v >= INT32_MIN && v <= INT32_MAX) || v != floor(v))
            return status_fail(why, STATUS_DAMAGED, "%s: tensor '%.200s' holds %g at element %zu, which is not a 32-bit "
                               "whole number", st->path, t->name, v, (size_t)t->first + at + i);
        ((int32_t *)out)[at + i] = (int32_t)v;
    }
    return STATUS_OK;
}

StTensor st_part(const StTensor *t, int64_t first, int64_t n)
{
    StTensor part = *t;
    size_t width = t->count ? t->bytes / (size_t)t->count : 0;
    part.offset = t->offset + (size_t)first * width;
    part.bytes = (size_t)n * width;
    part.count = n;
    part.first = t->first + first;
    return part;
}

static Status convert(const Safetensors *st, const StTensor *t, Narrow *narrow, void *out, StatusText *why)
{
    unsigned char raw[PIECE * 8];
    double value[PIECE];
    StTensor part = *t;
    size_t count = (size_t)t->count, width = count ? t->bytes / count : 0;
    for (size_t at = 0; at < count; at += PIECE) {
        size_t n = count - at < PIECE ? count - at : PIECE;
        part.offset = t->offset + at * width;
        part.bytes = n * width;
        Status s = st_read_raw(st, &part, raw, why);
        if (s != STATUS_OK)
            return s;
        if (!widen(t->dtype, raw, n, value))
            return status_fail(why, STATUS_DAMAGED, "%s: tensor '%.200s' has elements of type %s, which are not supported",
                               st->path, t->name, st_dtype_text[t->dtype]);
        s = narrow(st, t, value, n, out, at, why);
        if (s != STATUS_OK)
            return s;
    }
    return STATUS_OK;
}

Status st_read_f32(const Safetensors *st, const StTensor *t, float *out, StatusText *why)
{
    return t->dtype == ST_F32 ? st_read_raw(st, t, out, why) : convert(st, t, to_f32, out, why);
}

Status st_read_f64(const Safetensors *st, const StTensor *t, double *out, StatusText *why)
{
    return t->dtype == ST_F64 ? st_read_raw(st, t, out, why) : convert(st, t, to_f64, out, why);
}

Status st_read_i32(const Safetensors *st, const StTensor *t, int32_t *out, StatusText *why)
{
    return t->dtype == ST_I32 ? st_read_raw(st, t, out, why) : convert(st, t, to_i32, out, why);
}

Status st_read_as(const Safetensors *st, const StTensor *t, DType dtype, void *out, StatusText *why)
{
    switch (dtype) {
    case DTYPE_F32:  return st_read_f32(st, t, out, why);
    case DTYPE_I32:  return st_read_i32(st, t, out, why);
    case DTYPE_BF16: return t->dtype == ST_BF16 ? st_read_raw(st, t, out, why) : convert(st, t, to_bf16, out, why);
    case DTYPE_COUNT: break;
    }
    return status_fail(why, STATUS_INTERNAL, "no such element type");
}
