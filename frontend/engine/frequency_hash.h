// Hash layers by frequency: Roller et al., Hash Layers For Large Sparse Models, 2021, "balanced assignment".
#ifndef MIXC_FREQUENCY_HASH_H
#define MIXC_FREQUENCY_HASH_H

#include "arena.h"

#include <stddef.h>
#include <stdint.h>

// expert[v], for v < n: the most frequent first (equal ones in order), each to the expert whose tokens occur least so far
// (the first of them). count: n_counts numbers of occurrences; what lies behind them occurs once, as does all when count is
// NULL, so that every token has its expert.
double *frequency_hash(Arena *arena, size_t n, size_t experts, const int64_t *count, size_t n_counts);

#endif
