// How the kernels of a program become C files, and how their work is handed out: the same for what runs at once (device_cpu.c)
// and for a library that is kept (`mixc build`).
#ifndef MIXC_UNITS_H
#define MIXC_UNITS_H

#include "program.h"

// Deals the kernels out to at most `most` units of about equal length of text (`cuda`: of CUDA text): unit_of[k] for each kernel, of
// p->n_kernels. Returns how many are used.
int units_deal(const Program *p, bool cuda, int most, Arena *scratch, int *unit_of);

// One unit: the prelude and its kernels. In the arena.
char *units_text(const Program *p, int unit, const int *unit_of, Arena *arena);

// Work items that a thread takes at least: all of them where a launch touches too little to be worth waking anybody.
int64_t units_grain(const Launch *launch);

#endif
