// A list of malloc blocks; the newest one is bumped. See arena.h.
#include "arena.h"
#include "checked.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ArenaBlock {
    ArenaBlock *next;
    size_t      used, capacity;
    _Alignas(16) unsigned char data[];
};

enum { ARENA_ALIGN = 16, ARENA_BLOCK = 64 * 1024 };

void arena_init(Arena *arena)
{
    *arena = (Arena){0};
}

void arena_free(Arena *arena)
{
    for (ArenaBlock *b = arena->head, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    arena->head = NULL;
    arena->used_bytes = 0;
}

__attribute__((weak)) void arena_exhausted(size_t wanted_bytes)
{
    fprintf(stderr, "error: out of memory (%zu bytes wanted)\n", wanted_bytes);
}

static void out_of_memory(Arena *arena, size_t wanted)
{
    if (arena->out_of_memory)
        arena->out_of_memory(arena->user, wanted);
    arena_exhausted(wanted);
    abort();
}

void *arena_alloc(Arena *arena, size_t count, size_t size)
{
    size_t bytes, padded;
    if (!checked_mul(count, size, &bytes) || !checked_align(bytes, ARENA_ALIGN, &padded))
        out_of_memory(arena, SIZE_MAX);
    ArenaBlock *b = arena->head;
    if (!b || b->capacity - b->used < padded) {
        size_t capacity = padded > ARENA_BLOCK / 4 ? padded : ARENA_BLOCK, total;
        if (!checked_add(capacity, sizeof *b, &total) || !(b = malloc(total)))
            out_of_memory(arena, padded);
        b->used = 0;
        b->capacity = capacity;
        // A large item gets a block of its own behind the head, so the head's free space stays in use.
        if (arena->head && capacity != ARENA_BLOCK) {
            b->next = arena->head->next;
            arena->head->next = b;
        } else {
            b->next = arena->head;
            arena->head = b;
        }
    }
    void *p = b->data + b->used;
    b->used += padded;
    arena->used_bytes += padded;
    if (bytes)
        memset(p, 0, bytes);
    return p;
}

void *arena_grow(Arena *arena, void *array, size_t n, size_t *capacity, size_t item_size)
{
    if (n < *capacity)
        return array;
    size_t wanted = *capacity ? *capacity * 2 : 8;
    while (wanted <= n)
        wanted *= 2;
    void *bigger = arena_alloc(arena, wanted, item_size);
    if (array && n)
        memcpy(bigger, array, n * item_size);
    *capacity = wanted;
    return bigger;
}

char *arena_strndup(Arena *arena, const char *text, size_t n)
{
    char *copy = arena_alloc(arena, n + 1, 1);
    if (n)
        memcpy(copy, text, n);
    return copy;
}

char *arena_strdup(Arena *arena, const char *text)
{
    return arena_strndup(arena, text, strlen(text));
}

char *arena_printf(Arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *out = arena_alloc(arena, n < 0 ? 1 : (size_t)n + 1, 1);
    if (n >= 0)
        vsnprintf(out, (size_t)n + 1, format, again);
    va_end(again);
    return out;
}
