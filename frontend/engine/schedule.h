// The learning rate of a step, as a factor of the peak.
#ifndef MIXC_SCHEDULE_H
#define MIXC_SCHEDULE_H

#include "module.h"

// `step` counts from 1: the first update of a warm-up is not zero. With s steps of warm-up and n in all:
//   warm-up    start + (1 - start) * step/s                     while step <= s
//   then, with p = (step - s)/(n - s), at most 1:
//   constant   1
//   linear     1 + (floor - 1)*p
//   cosine     floor + (1 - floor)*(1 + cos(pi p))/2
//   rsqrt      sqrt(max(s, 1)/step), not below floor
double schedule_factor(const TrainSpec *spec, int64_t step);

#endif
