// SHA-256 (FIPS 180-4), for cache entries and checkpoints: integrity first, speed second.
#ifndef MIXC_SHA256_H
#define MIXC_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct Sha256 {
    uint32_t state[8];
    uint64_t n;                             // bytes so far
    uint8_t  block[64];
} Sha256;

void sha256_begin(Sha256 *sha);
void sha256_add(Sha256 *sha, const void *data, size_t n);
void sha256_end(Sha256 *sha, uint8_t out_digest[32]);
void sha256_of(const void *data, size_t n, uint8_t out_digest[32]);
// 64 hexadecimal digits and a zero.
void sha256_hex(const uint8_t digest[32], char out_text[65]);

#endif
