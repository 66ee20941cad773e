// Bump allocator: the only allocator in the compiler. Everything in an arena dies with it.
//
// Sizes are checked: `count * size` that overflows, or memory that the system refuses, calls the
// arena's `out_of_memory` handler, which must not return (an embedding longjmps out). An arena without one calls
// arena_exhausted.
#ifndef MIXC_ARENA_H
#define MIXC_ARENA_H

#include <stdarg.h>
#include <stddef.h>

typedef struct ArenaBlock ArenaBlock;

typedef struct Arena {
    ArenaBlock *head;                       // newest block; owned
    size_t      used_bytes;                 // handed out so far, for reports
    void      (*out_of_memory)(void *user, size_t wanted_bytes);   // must not return; NULL: arena_exhausted
    void       *user;
} Arena;

// Makes `arena` empty. A zeroed Arena is also a valid empty one.
void arena_init(Arena *arena);
// Gives all memory back. The arena is empty and usable afterwards.
void arena_free(Arena *arena);

// What an arena without a handler calls when there is no memory; the process aborts when it returns. A program that links
// the library may define it: `mixc` says what happened and leaves with exit code 4.
void arena_exhausted(size_t wanted_bytes);

// Returns zeroed memory for `count` items of `size` bytes each, aligned to 16. Never NULL.
void *arena_alloc(Arena *arena, size_t count, size_t size);
// Copies an array to a larger place when `n + 1` would pass `*capacity` (doubling); else returns it.
void *arena_grow(Arena *arena, void *array, size_t n, size_t *capacity, size_t item_size);

#define arena_new(arena, T)          ((T *)arena_alloc((arena), 1, sizeof(T)))
#define arena_array(arena, T, count) ((T *)arena_alloc((arena), (count), sizeof(T)))

// Copies of text, zero-terminated, in the arena.
char *arena_strdup(Arena *arena, const char *text);
char *arena_strndup(Arena *arena, const char *text, size_t n);
char *arena_printf(Arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
