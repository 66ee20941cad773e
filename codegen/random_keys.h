// The keys of random streams. A random value's stream is a number of its own, so it cannot stand in a text that layers
// share: the program's first launches make the key of each stream from seed and step, and kernels read theirs.
#ifndef MIXC_RANDOM_KEYS_H
#define MIXC_RANDOM_KEYS_H

#include "program.h"

// Whether the key can be made before everything else: seed and step are inputs.
bool random_has_key(const Graph *g, const Node *n);

// For each value v with key_of[v] != 0: adds a buffer for its key (the same one for the same stream) and sets key_of[v]
// to it, and adds the launches that fill them. buffer_of: the buffers of inputs.
void random_add_keys(Program *p, Arena *scratch, const Graph *g, const uint32_t *buffer_of, uint32_t *key_of);

#endif
