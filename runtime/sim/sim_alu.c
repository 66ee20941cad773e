// The arithmetic of ptx_ops.def: one case for each row, a loop over the lanes in each.
#include "sim_state.h"

#include <math.h>
#include <string.h>

typedef uint8_t pred;
typedef uint16_t u16;
typedef int16_t s16;
typedef uint32_t u32;
typedef int32_t s32;
typedef float f32;
typedef uint64_t u64;
typedef int64_t s64;
typedef double f64;

// Conversions to integers saturate; a NaN gives 0.
static int32_t to_s32(double x)
{
    return x != x ? 0 : x <= -2147483648.0 ? INT32_MIN : x >= 2147483647.0 ? INT32_MAX : (int32_t)x;
}

static uint32_t to_u32(double x)
{
    return !(x > 0) ? 0 : x >= 4294967295.0 ? UINT32_MAX : (uint32_t)x;
}

static int64_t to_s64(double x)
{
    return x != x ? 0 : x < -0x1p63 ? INT64_MIN : x >= 0x1p63 ? INT64_MAX : (int64_t)x;
}

// To the nearest, ties to even; every NaN becomes the one of the ISA.
static uint32_t to_bf16(uint32_t bits)
{
    return (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// To the nearest, ties to even, by way of the compiler's half precision.
static uint16_t to_f16(float x)
{
    const _Float16 h = (_Float16)x;
    uint16_t bits;
    memcpy(&bits, &h, sizeof bits);
    return x != x ? 0x7fff : bits;
}

static float from_f16(uint16_t bits)
{
    _Float16 h;
    memcpy(&h, &bits, sizeof h);
    return (float)h;
}

// To the nearest of 10 fraction bits, ties away from zero.
static uint32_t to_tf32(uint32_t bits)
{
    return (bits & 0x7f800000u) == 0x7f800000u ? bits : (bits + 0x1000u) & ~0x1fffu;
}

// Four bytes out of the eight of b:a; a selector's high bit repeats the sign of its byte.
static uint32_t pick_bytes(uint32_t a, uint32_t b, uint32_t selectors)
{
    const uint64_t both = (uint64_t)b << 32 | a;
    uint32_t r = 0;
    for (unsigned k = 0; k < 4; k++) {
        unsigned selector = selectors >> 4 * k & 15, byte = (unsigned)(both >> 8 * (selector & 7)) & 255;
        if (selector & 8)
            byte = byte & 128 ? 255 : 0;
        r |= byte << 8 * k;
    }
    return r;
}

static uint32_t field(uint32_t a, uint32_t from, uint32_t length)
{
    const uint64_t mask = length < 32 ? (UINT64_C(1) << length) - 1 : UINT32_MAX;
    return from < 32 ? (uint32_t)(a >> from & mask) : 0;
}

// The same, and the field's highest bit fills what is above it.
static int32_t field_s(int32_t a, uint32_t from, uint32_t length)
{
    const uint32_t last = length == 0 ? 0 : from + length - 1 < 31 ? from + length - 1 : 31;
    const uint32_t sign = (uint32_t)a >> last & 1;
    if (length == 0)
        return 0;
    const uint32_t bits = field((uint32_t)a, from, length), width = from < 32 && from + length <= 32 ? length : from < 32 ? 32 - from : 0;
    return (int32_t)(width >= 32 || !sign ? bits : bits | ~((UINT32_C(1) << width) - 1));
}

static uint32_t reverse_bits(uint32_t a)
{
    uint32_t r = 0;
    for (unsigned k = 0; k < 32; k++)
        r |= (a >> k & 1) << (31 - k);
    return r;
}

#define LANES(body) \
    if (mask == UINT32_MAX) \
        for (int l = 0; l < WARP_LANES; l++) { body } \
    else \
        for (int l = 0; l < WARP_LANES; l++) \
            if (mask >> l & 1) { body }

void sim_alu(PtxForm form, Slot *d, const Slot *pa, const Slot *pb, const Slot *pc, uint32_t mask)
{
    switch (form) {
#define ALU1(form, td, ta, value) \
    case FORM_##form: LANES(const ta a = pa->ta[l]; d->td[l] = (td)(value);) break;
#define ALU2(form, td, ta, tb, value) \
    case FORM_##form: LANES(const ta a = pa->ta[l]; const tb b = pb->tb[l]; d->td[l] = (td)(value);) break;
#define ALU3(form, td, ta, tb, tc, value) \
    case FORM_##form: LANES(const ta a = pa->ta[l]; const tb b = pb->tb[l]; const tc c = pc->tc[l]; d->td[l] = (td)(value);) break;
#include "ptx_ops.def"
    default: break;
    }
}

#define BITS_TO(t, bits) ({ t x_; memcpy(&x_, &(uint64_t){bits}, sizeof x_); x_; })

uint64_t sim_atomic(PtxForm form, uint64_t old, uint64_t first, uint64_t second)
{
    uint64_t result = 0;
    switch (form) {
#define ATOM(form, space, t, n, value) \
    case FORM_##form: { \
        const t a = BITS_TO(t, old), b = BITS_TO(t, first), c = BITS_TO(t, second); \
        const t r = (t)(value); \
        (void)a, (void)b, (void)c; \
        memcpy(&result, &r, sizeof r); \
        break; \
    }
#define RED ATOM
#include "ptx_ops.def"
    default: break;
    }
    return result;
}
