// Hash maps by name or by address, and scopes made of them. All memory comes from an arena; nothing is removed.
#ifndef MIXC_SCOPE_H
#define MIXC_SCOPE_H

#include "arena.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct MapEntry {
    const void *key;
    uint64_t    hash;
    void       *value;
} MapEntry;

typedef struct Map {
    MapEntry *entry;                        // open addressing; capacity is a power of two
    size_t    n, capacity;
} Map;

// By text (the key is kept, not copied).
void  *map_get(const Map *map, const char *key);
void   map_set(Arena *arena, Map *map, const char *key, void *value);
// By address.
void  *map_get_ptr(const Map *map, const void *key);
void   map_set_ptr(Arena *arena, Map *map, const void *key, void *value);

uint64_t hash_text(const char *text);       // FNV-1a

#endif
