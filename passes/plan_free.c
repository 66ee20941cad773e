// A treap: free blocks ordered by address, each node with the largest block below it, so that taking and giving cost log n.
#include "plan_free.h"

#include <assert.h>

struct FreeBlock {
    size_t   begin, size, largest;          // largest size in this subtree
    uint32_t left, right;                   // 0: none
    uint32_t priority;
};

static void update(FreeList *f, uint32_t i)
{
    FreeBlock *b = &f->block[i];
    size_t left = f->block[b->left].largest, right = f->block[b->right].largest;
    b->largest = b->size;
    if (left > b->largest)
        b->largest = left;
    if (right > b->largest)
        b->largest = right;
}

// Splits the tree into blocks that begin before `at` and the others.
static void split(FreeList *f, uint32_t i, size_t at, uint32_t *out_left, uint32_t *out_right)
{
    if (!i) {
        *out_left = *out_right = 0;
        return;
    }
    FreeBlock *b = &f->block[i];
    if (b->begin < at) {
        split(f, b->right, at, &b->right, out_right);
        *out_left = i;
    } else {
        split(f, b->left, at, out_left, &b->left);
        *out_right = i;
    }
    update(f, i);
}

static uint32_t join(FreeList *f, uint32_t a, uint32_t b)
{
    if (!a || !b)
        return a | b;
    uint32_t top;
    if (f->block[a].priority > f->block[b].priority) {
        f->block[a].right = join(f, f->block[a].right, b);
        top = a;
    } else {
        f->block[b].left = join(f, a, f->block[b].left);
        top = b;
    }
    update(f, top);
    return top;
}

static uint32_t new_block(FreeList *f, size_t begin, size_t size)
{
    uint32_t i = f->unused;
    if (i)
        f->unused = f->block[i].right;
    else
        i = f->n++;
    assert(i < f->capacity);
    uint32_t priority = (uint32_t)(((uint64_t)i * 0x9e3779b97f4a7c15u + begin) * 0xd1342543de82ef95u >> 32);
    f->block[i] = (FreeBlock){.begin = begin, .size = size, .largest = size, .priority = priority};
    return i;
}

FreeList free_make(Arena *scratch, size_t most)
{
    FreeList f = {.capacity = (uint32_t)(2 * most + 4)};
    f.block = arena_array(scratch, FreeBlock, f.capacity);
    return f;
}

void free_reset(FreeList *f, size_t bytes)
{
    f->n = 1;
    f->unused = 0;
    f->root = new_block(f, 0, bytes);
}

// Finds the lowest (or highest) block of at least `size` bytes; 0: none.
static uint32_t find(const FreeList *f, size_t size, bool lowest)
{
    uint32_t i = f->root;
    if (f->block[i].largest < size)
        return 0;
    for (;;) {
        const FreeBlock *b = &f->block[i];
        uint32_t near = lowest ? b->left : b->right, far = lowest ? b->right : b->left;
        if (f->block[near].largest >= size)
            i = near;
        else if (b->size >= size)
            return i;
        else
            i = far;
    }
}

bool free_take(FreeList *f, size_t size, bool lowest, size_t *out_offset)
{
    uint32_t i = find(f, size, lowest), left, middle, right;
    if (!i)
        return false;
    size_t begin = f->block[i].begin, rest = f->block[i].size - size;
    split(f, f->root, begin, &left, &right);
    split(f, right, begin + 1, &middle, &right);
    assert(middle == i);
    *out_offset = lowest ? begin : begin + rest;
    if (rest) {
        f->block[i].begin = lowest ? begin + size : begin;
        f->block[i].size = rest;
        update(f, i);
        left = join(f, left, i);
    } else {
        f->block[i].right = f->unused;
        f->unused = i;
    }
    f->root = join(f, left, right);
    return true;
}

static uint32_t extreme(const FreeList *f, uint32_t i, bool last)
{
    while (i && (last ? f->block[i].right : f->block[i].left))
        i = last ? f->block[i].right : f->block[i].left;
    return i;
}

void free_give(FreeList *f, size_t begin, size_t size)
{
    uint32_t left, middle, right;
    split(f, f->root, begin, &left, &right);
    uint32_t before = extreme(f, left, true), after = extreme(f, right, false);
    if (before && f->block[before].begin + f->block[before].size == begin) {
        split(f, left, f->block[before].begin, &left, &middle);
        begin = f->block[before].begin;
        size += f->block[before].size;
        f->block[before].right = f->unused;
        f->unused = before;
    }
    if (after && f->block[after].begin == begin + size) {
        split(f, right, f->block[after].begin + 1, &middle, &right);
        size += f->block[after].size;
        f->block[after].right = f->unused;
        f->unused = after;
    }
    f->root = join(f, join(f, left, new_block(f, begin, size)), right);
}
