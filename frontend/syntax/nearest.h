// The nearest of a list of names to a mistyped one, for messages that say "did you mean".
#ifndef MIXC_NEAREST_H
#define MIXC_NEAREST_H

#include <stddef.h>

// Number of single-character insertions, deletions, replacements and swaps of neighbours between two names.
size_t name_distance(const char *a, const char *b);

// A running best match: zero it, offer every candidate, read `best` (NULL: nothing is near enough).
typedef struct Nearest {
    const char *best;                       // borrowed from the candidates
    size_t      distance;
} Nearest;

void nearest_offer(Nearest *nearest, const char *wanted, const char *candidate);

#endif
