// Kernels that differ in names only. See merge_kernels.c.
#ifndef MIXC_MERGE_KERNELS_H
#define MIXC_MERGE_KERNELS_H

#include "program.h"

// Of kernels that are the same function the first stays, under its name; launches of the others become launches of it.
void merge_kernels(Program *p, Arena *scratch);

#endif
