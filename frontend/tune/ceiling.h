// What this machine can do at most: multiply-adds a second out of registers, bytes a second through memory; on all of the
// device's threads, measured when asked (about a third of a second).
#ifndef MIXC_CEILING_H
#define MIXC_CEILING_H

#include "engine.h"

typedef struct Ceiling {
    double flops;                           // float32 operations a second; a multiply-add is two
    double bytes;                           // bytes a second, read and written together, of a copy that fits no cache
    double launch;                          // seconds that an empty kernel takes
} Ceiling;

Status ceiling_measure(const Engine *engine, Ceiling *out, StatusText *why);

// The least time in which the launch could be done: its operations or its bytes, whichever takes longer.
double ceiling_floor(const Ceiling *ceiling, const Launch *launch);

#endif
