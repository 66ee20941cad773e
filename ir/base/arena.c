// A list of blocks; the newest one is bumped. See arena.h. Blocks grow with the arena. Large ones come straight from the
// system: as zeros, so they are not cleared again, and in huge pages where there are any, because a page's first touch
// costs as much as the work on it.
#define _GNU_SOURCE
#include "arena.h"
#include "checked.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct ArenaBlock {
    ArenaBlock *next;
    size_t      used, capacity;
    size_t      mapped_bytes;               // 0: from malloc
    _Alignas(16) unsigned char data[];
};

enum { ARENA_ALIGN = 16, ARENA_BLOCK = 64 * 1024, ARENA_LARGEST = 8 * 1024 * 1024, ROOMY = 256 * 1024, PAGE = 4096, HUGE_PAGE = 2 * 1024 * 1024 };

#if defined(__SANITIZE_ADDRESS__)           // the leak checker does not look into mapped memory
enum { CAN_MAP = 0 };
#else
enum { CAN_MAP = 1 };
#endif

// Whole pages, aligned to huge ones. NULL when the system refuses.
static ArenaBlock *map_block(size_t bytes)
{
    size_t whole, wanted;
    if (!checked_align(bytes, PAGE, &whole) || !checked_add(whole, HUGE_PAGE, &wanted))
        return NULL;
    unsigned char *p = mmap(NULL, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    const size_t before = (HUGE_PAGE - (uintptr_t)p % HUGE_PAGE) % HUGE_PAGE, after = HUGE_PAGE - before;
    if (before)
        munmap(p, before);
    if (after)
        munmap(p + before + whole, after);
    madvise(p + before, whole, MADV_HUGEPAGE);
    ArenaBlock *b = (ArenaBlock *)(void *)(p + before);
    *b = (ArenaBlock){.capacity = whole - sizeof *b, .mapped_bytes = whole};
    return b;
}

// Room for `capacity` bytes or more. NULL when there is no memory.
static ArenaBlock *new_block(size_t capacity)
{
    size_t total;
    if (!checked_add(capacity, sizeof(ArenaBlock), &total))
        return NULL;
    if (CAN_MAP && total >= HUGE_PAGE)
        return map_block(total);
    ArenaBlock *b = malloc(total);
    if (b)
        *b = (ArenaBlock){.capacity = capacity};
    return b;
}

void arena_init(Arena *arena)
{
    *arena = (Arena){0};
}

void arena_free(Arena *arena)
{
    for (ArenaBlock *b = arena->head, *next; b; b = next) {
        next = b->next;
        if (b->mapped_bytes)
            munmap(b, b->mapped_bytes);
        else
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
        size_t usual = arena->used_bytes / 4;
        usual = usual < ARENA_BLOCK ? ARENA_BLOCK : usual > ARENA_LARGEST ? ARENA_LARGEST : usual;
        const size_t wanted = padded <= usual / 4 ? usual : padded >= ROOMY && padded < HUGE_PAGE ? HUGE_PAGE : padded;
        if (!(b = new_block(wanted)))
            out_of_memory(arena, padded);
        // The block with more free space is the head. An item as large as its block goes behind it.
        if (arena->head && b->capacity - padded <= arena->head->capacity - arena->head->used) {
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
    if (bytes && !b->mapped_bytes)
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
