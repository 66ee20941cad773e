// The stage of a program that runs again only when the host has written a parameter or state. See once.c.
#ifndef MIXC_ONCE_H
#define MIXC_ONCE_H

#include "program.h"

// Sets p->n_once, moves those launches to the front (in their order) and makes what the others read of them BUFFER_KEPT,
// `keep_bytes` of it at most; 0: nothing is kept. Before the memory is planned. With keep_bytes the program is for C alone: buffers that
// only CUDA texts read are no longer passed to them.
void find_once_stage(Program *p, Arena *scratch, size_t keep_bytes);

#endif
