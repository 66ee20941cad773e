// The counter-based random number of the whole project: a pure function of (seed, step, stream, element), so that
// there is no generator state to save. The same formula stands in generated C and CUDA (codegen/render.c).
#ifndef MIXC_RNG_H
#define MIXC_RNG_H

#include <stdint.h>

// A bijective mixer of 32 bits (two multiply-xorshift rounds).
static inline uint32_t rng_mix(uint32_t x)
{
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    x ^= x >> 16;
    return x;
}

// The key of a stream: computed once per kernel.
static inline uint32_t rng_key(uint32_t seed, uint32_t step, uint32_t stream)
{
    return rng_mix(rng_mix(rng_mix(seed + 0x9e3779b9u) ^ step) + stream * 0x85ebca6bu);
}

// 32 random bits for an element.
static inline uint32_t rng_bits(uint32_t key, uint32_t element)
{
    return rng_mix(rng_mix(element ^ key) + key);
}

// Uniform in [0, 1): 24 bits, so it is exact in float and in double.
static inline double rng_uniform(uint32_t key, uint32_t element)
{
    return (double)(rng_bits(key, element) >> 8) * (1.0 / 16777216.0);
}

#endif
