// Reading UTF-8, and how wide a character stands on a terminal.
#ifndef MIXC_UTF8_H
#define MIXC_UTF8_H

#include <stddef.h>
#include <stdint.h>

// Reads the character at `s` (at most `n` bytes). Returns its length in bytes, or 0 when it is malformed: too long a
// spelling, a surrogate, beyond U+10FFFF, cut off.
size_t utf8_read(const char *s, size_t n, uint32_t *out_char);
// Terminal columns of a character: 0 for marks that combine with the one before, 2 for wide ones, else 1.
int utf8_width(uint32_t c);

#endif
