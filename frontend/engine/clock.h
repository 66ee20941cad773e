// Seconds on a clock that never goes back; only differences mean anything.
#ifndef MIXC_CLOCK_H
#define MIXC_CLOCK_H

#include <time.h>

static inline double clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

#endif
