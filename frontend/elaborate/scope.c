// Hash maps with open addressing and linear probing, at most half full.
#include "scope.h"

#include <string.h>

uint64_t hash_text(const char *text)
{
    uint64_t h = 1469598103934665603u;
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 1099511628211u;
    return h;
}

static uint64_t hash_ptr(const void *p)
{
    uint64_t h = (uint64_t)(uintptr_t)p;
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    return h ^ (h >> 33);
}

static MapEntry *find(const Map *map, const void *key, uint64_t hash, bool by_text)
{
    size_t mask = map->capacity - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        MapEntry *e = &map->entry[i];
        if (e->key == NULL || e->key == key)
            return e;
        if (by_text && e->hash == hash && strcmp(e->key, key) == 0)
            return e;
    }
}

static void *get(const Map *map, const void *key, uint64_t hash, bool by_text)
{
    if (map->n == 0)
        return NULL;
    MapEntry *e = find(map, key, hash, by_text);
    return e->key ? e->value : NULL;
}

static void set(Arena *arena, Map *map, const void *key, uint64_t hash, bool by_text, void *value)
{
    if (2 * (map->n + 1) > map->capacity) {
        Map wider = {.capacity = map->capacity ? 2 * map->capacity : 8};
        wider.entry = arena_array(arena, MapEntry, wider.capacity);
        for (size_t i = 0; i < map->capacity; i++)
            if (map->entry[i].key)
                *find(&wider, map->entry[i].key, map->entry[i].hash, by_text) = map->entry[i];
        wider.n = map->n;
        *map = wider;
    }
    MapEntry *e = find(map, key, hash, by_text);
    if (e->key == NULL) {
        map->n++;
        *e = (MapEntry){.key = key, .hash = hash};
    }
    e->value = value;
}

void *map_get(const Map *map, const char *key)
{
    return map->n ? get(map, key, hash_text(key), true) : NULL;
}

void map_set(Arena *arena, Map *map, const char *key, void *value)
{
    set(arena, map, key, hash_text(key), true, value);
}

void *map_get_ptr(const Map *map, const void *key)
{
    return get(map, key, hash_ptr(key), false);
}

void map_set_ptr(Arena *arena, Map *map, const void *key, void *value)
{
    set(arena, map, key, hash_ptr(key), false, value);
}
