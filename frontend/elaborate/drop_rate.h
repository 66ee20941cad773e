// How many choices a capacity drops when routing is even: the number behind W0303 and the capacity table of `mixc plan`.
#ifndef MIXC_DROP_RATE_H
#define MIXC_DROP_RATE_H

#include <stdint.h>

// The expected share of choices that find no place, when each of `n_tokens` tokens chooses `n_choices` different experts of
// `n_experts` at random, all alike, and an expert has `rows` places (negative: no limit, 0).
//
//   loads X are binomial (n_tokens, k/E);  rate = E[max(X - rows, 0)] * E / (n_tokens * k)
//
// Exact for k = 1; for more the loads of one expert still are binomial, as a token chooses it at most once. Routers that are
// not even drop more.
double drop_rate(int64_t n_tokens, int64_t n_experts, int64_t n_choices, int64_t rows);

#endif
