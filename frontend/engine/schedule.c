// See schedule.h.
#include "schedule.h"

#include <math.h>

double schedule_factor(const TrainSpec *spec, int64_t step)
{
    double warmup = (double)spec->warmup, s = (double)step;
    if (step <= spec->warmup)
        return spec->start + (1 - spec->start) * s / warmup;
    double left = (double)(spec->steps - spec->warmup), p = left > 0 ? fmin((s - warmup) / left, 1) : 1;
    switch (spec->schedule) {
    case SCHEDULE_CONSTANT: return 1;
    case SCHEDULE_LINEAR:   return 1 + (spec->floor - 1) * p;
    case SCHEDULE_COSINE:   return spec->floor + (1 - spec->floor) * (1 + cos(3.14159265358979323846 * p)) / 2;
    case SCHEDULE_RSQRT:    return fmax(sqrt(fmax(warmup, 1) / s), spec->floor);
    }
    return 1;
}
