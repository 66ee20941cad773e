// See drop_rate.h.
#include "drop_rate.h"

#include <math.h>

// Terms are added from the most likely load outwards; the rest is below any digit that is printed.
enum { MOST_DEVIATIONS = 12 };

double drop_rate(int64_t n_tokens, int64_t n_experts, int64_t n_choices, int64_t rows)
{
    const double n = (double)n_tokens, p = (double)n_choices / (double)n_experts;
    if (n_tokens <= 0 || n_choices <= 0 || n_experts <= 0 || rows < 0 || rows >= n_tokens)
        return 0;
    if (n_choices >= n_experts)             // every token at every expert
        return (n - (double)rows) / n;
    const double mean = n * p, width = MOST_DEVIATIONS * (sqrt(n * p * (1 - p)) + 1);
    const int64_t first = rows + 1 > (int64_t)(mean - width) ? rows + 1 : (int64_t)(mean - width) > 0 ? (int64_t)(mean - width) : 0;
    const int64_t last = mean + width < n ? (int64_t)(mean + width) : n_tokens;
    double dropped = 0;
    for (int64_t x = first; x <= last; x++) {
        const double k = (double)x;
        const double log_p = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log1p(-p);
        dropped += (k - (double)rows) * exp(log_p);
    }
    const double rate = dropped / mean;
    return rate < 0 ? 0 : rate > 1 ? 1 : rate;
}
