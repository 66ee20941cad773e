// See nearest.h. The distance is the restricted Damerau-Levenshtein distance, by the usual three-row recurrence.
#include "nearest.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

enum { NEAREST_LONGEST = 120 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t name_distance(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b);
    if (na > NEAREST_LONGEST || nb > NEAREST_LONGEST)
        return na > nb ? na : nb;
    size_t row[3][NEAREST_LONGEST + 1];
    for (size_t j = 0; j <= nb; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t *now = row[i % 3], *up = row[(i + 2) % 3], *up2 = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            now[j] = least(up[j - 1] + (a[i - 1] != b[j - 1]), least(up[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], up2[j - 2] + 1);
        }
    }
    return row[na % 3][nb];
}

void nearest_offer(Nearest *nearest, const char *wanted, const char *candidate)
{
    size_t d = name_distance(wanted, candidate), n = strlen(wanted);
    size_t allowed = n <= 1 ? 0 : n == 2 ? 1 : n <= 5 ? 2 : n / 3;
    if (n == 1 && d == 1 && candidate[1] == 0 && tolower((unsigned char)*wanted) == tolower((unsigned char)*candidate))
        allowed = 1;                        // any other letter is as far as can be
    bool better = !nearest->best || d < nearest->distance || (d == nearest->distance && strcmp(candidate, nearest->best) < 0);
    if (d <= allowed && better) {
        nearest->best = candidate;
        nearest->distance = d;
    }
}
