// See kernel_order.h.
//
// To put a set S together, what comes after S and what comes before S are looked for, both within the places that S spans.
// A way from S through others back to S shows in the first search. Otherwise the places of all that was found are dealt anew:
// first what S needs, then S, then what needs S, each in the order it had.
#include "kernel_order.h"

#include <stdlib.h>
#include <string.h>

typedef struct Found {                      // a list of items, one for each that acts as one
    uint32_t *item; size_t n, capacity;
} Found;

struct KernelOrder {
    Arena          *arena;
    size_t          n;
    const uint32_t *first_need, *need;
    uint32_t       *first_user, *user;      // of item i: user[first_user[i]] .. user[first_user[i + 1] - 1]
    uint32_t       *head;                   // the item that stands for those it is together with
    uint32_t       *next;                   // round those together
    uint32_t       *place;                  // of heads
    uint32_t       *in_set, *seen, serial;  // heads stamped with the merge at hand
    Found           set, after, before;
    uint64_t       *dealt, *places; size_t free_capacity;
};

KernelOrder *kernel_order_make(Arena *arena, size_t n, const uint32_t *first, const uint32_t *need)
{
    KernelOrder *o = arena_new(arena, KernelOrder);
    *o = (KernelOrder){.arena = arena, .n = n, .first_need = first, .need = need};
    o->first_user = arena_array(arena, uint32_t, n + 2);
    o->user = arena_array(arena, uint32_t, first[n] + 1);
    o->head = arena_array(arena, uint32_t, n);
    o->next = arena_array(arena, uint32_t, n);
    o->place = arena_array(arena, uint32_t, n);
    o->in_set = arena_array(arena, uint32_t, n);
    o->seen = arena_array(arena, uint32_t, n);
    for (uint32_t i = 0; i < first[n]; i++)
        o->first_user[need[i] + 2]++;
    for (size_t i = 2; i < n + 2; i++)
        o->first_user[i] += o->first_user[i - 1];
    for (uint32_t i = 1; i < n; i++) {      // afterwards first_user[k + 1] is where the users of k end
        o->head[i] = o->next[i] = o->place[i] = i;
        for (uint32_t k = first[i]; k < first[i + 1]; k++)
            o->user[o->first_user[need[k] + 1]++] = i;
    }
    return o;
}

static void add_found(KernelOrder *o, Found *list, uint32_t item)
{
    list->item = arena_grow(o->arena, list->item, list->n, &list->capacity, sizeof *list->item);
    list->item[list->n++] = item;
}

// The neighbours of `head` on one side, of any item together with it: those between the places become part of `list`.
// False when one of them is in the set although `head` is not.
static bool add_neighbours(KernelOrder *o, uint32_t head, bool users, uint32_t low, uint32_t high, Found *list)
{
    const uint32_t *first = users ? o->first_user : o->first_need, *neighbour = users ? o->user : o->need;
    uint32_t item = head;
    do {
        for (uint32_t k = first[item]; k < first[item + 1]; k++) {
            uint32_t other = o->head[neighbour[k]];
            if (o->in_set[other] == o->serial) {
                if (o->in_set[head] != o->serial)
                    return false;
                continue;
            }
            if (o->seen[other] == o->serial || o->place[other] < low || o->place[other] > high)
                continue;
            o->seen[other] = o->serial;
            add_found(o, list, other);
        }
        item = o->next[item];
    } while (item != head);
    return true;
}

// Everything before or after the set, between the places. False when a way leads back to the set.
static bool search(KernelOrder *o, bool users, uint32_t low, uint32_t high, Found *list)
{
    list->n = 0;
    for (size_t i = 0; i < o->set.n; i++)
        if (!add_neighbours(o, o->set.item[i], users, low, high, list))
            return false;
    for (size_t i = 0; i < list->n; i++)
        if (!add_neighbours(o, list->item[i], users, low, high, list))
            return false;
    return true;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// Place and head in one number, sorted by place.
static uint64_t *by_place(KernelOrder *o, const Found *list, uint64_t *to)
{
    for (size_t i = 0; i < list->n; i++)
        to[i] = (uint64_t)o->place[list->item[i]] << 32 | list->item[i];
    return to + list->n;
}

// What was found gets the places that it had together: first what the set needs, then the set, then what needs the set.
static uint32_t deal_places(KernelOrder *o)
{
    const size_t n = o->set.n + o->after.n + o->before.n;
    if (n > o->free_capacity) {
        o->free_capacity = n * 2;
        o->dealt = arena_array(o->arena, uint64_t, o->free_capacity);
        o->places = arena_array(o->arena, uint64_t, o->free_capacity);
    }
    uint64_t *before = o->dealt, *after = by_place(o, &o->before, before), *end = by_place(o, &o->after, after);
    by_place(o, &o->set, end);
    memcpy(o->places, o->dealt, n * sizeof *o->places);
    qsort(o->places, n, sizeof *o->places, by_number);
    qsort(before, o->before.n, sizeof *before, by_number);
    qsort(after, o->after.n, sizeof *after, by_number);
    const uint64_t *last = o->places + n - o->after.n;
    for (size_t i = 0; i < o->before.n; i++)
        o->place[(uint32_t)before[i]] = (uint32_t)(o->places[i] >> 32);
    for (size_t i = 0; i < o->after.n; i++)
        o->place[(uint32_t)after[i]] = (uint32_t)(last[i] >> 32);
    return (uint32_t)(o->places[o->before.n] >> 32);
}

static void make_one(KernelOrder *o, uint32_t place)
{
    uint32_t head = o->set.item[0];
    for (size_t i = 1; i < o->set.n; i++) {
        uint32_t other = o->set.item[i], item = other;
        do {
            o->head[item] = head;
            item = o->next[item];
        } while (item != other);
        uint32_t swap = o->next[head];
        o->next[head] = o->next[other];
        o->next[other] = swap;
    }
    o->place[head] = place;
}

bool kernel_order_merge(KernelOrder *o, const uint32_t *item, size_t n_items)
{
    uint32_t low = UINT32_MAX, high = 0;
    o->serial++;
    o->set.n = 0;
    for (size_t i = 0; i < n_items; i++) {
        uint32_t head = o->head[item[i]];
        if (o->in_set[head] == o->serial)
            continue;
        o->in_set[head] = o->serial;
        add_found(o, &o->set, head);
        low = o->place[head] < low ? o->place[head] : low;
        high = o->place[head] > high ? o->place[head] : high;
    }
    if (o->set.n < 2)
        return true;
    if (!search(o, true, low, high, &o->after) || !search(o, false, low, high, &o->before))
        return false;
    make_one(o, deal_places(o));
    return true;
}

bool kernel_order_together(const KernelOrder *o, uint32_t a, uint32_t b)
{
    return o->head[a] == o->head[b];
}

// ---- of a graph ----

// Marks what is reached from the kernel's values through values that nobody stores, inside [first, last].
static void mark_way(const Graph *g, uint32_t kernel, ValueId first, ValueId last, uint32_t *below, uint32_t *above)
{
    for (ValueId v = first; v <= last; v++) {
        const Node *n = &g->node[v];
        bool from = n->kernel == kernel;
        for (int i = 0; i < n->n_in && !n->kernel; i++)
            from |= below[n->in[i]] == kernel;
        if (from)
            below[v] = kernel;
    }
    for (ValueId v = last + 1; v-- > first;) {
        const Node *n = &g->node[v];
        if (n->kernel == kernel || (above[v] == kernel && !n->kernel))
            for (int i = 0; i < n->n_in; i++)
                above[n->in[i]] = kernel;
    }
}

KernelOrder *kernel_order_of_graph(Arena *arena, const Graph *g)
{
    size_t n = g->n_nodes, n_needs = 0;
    uint32_t *first = arena_array(arena, uint32_t, n + 1);
    for (ValueId v = 1; v < n; v++) {
        first[v] = (uint32_t)n_needs;
        n_needs += g->node[v].n_in;
    }
    first[n] = (uint32_t)n_needs;
    uint32_t *need = arena_array(arena, uint32_t, n_needs + 1);
    ValueId *least = arena_array(arena, ValueId, g->n_kernels + 1), *most = arena_array(arena, ValueId, g->n_kernels + 1);
    for (ValueId v = 1; v < n; v++) {
        uint32_t kernel = g->node[v].kernel;
        for (int i = 0; i < g->node[v].n_in; i++)
            need[first[v] + (uint32_t)i] = g->node[v].in[i];
        if (kernel && !least[kernel])
            least[kernel] = v;
        if (kernel)
            most[kernel] = v;
    }
    KernelOrder *o = kernel_order_make(arena, n, first, need);
    uint32_t *below = arena_array(arena, uint32_t, n), *above = arena_array(arena, uint32_t, n);
    Found member = {0};
    for (uint32_t kernel = 1; kernel < g->n_kernels; kernel++) {
        if (!least[kernel])
            continue;
        mark_way(g, kernel, least[kernel], most[kernel], below, above);
        member.n = 0;
        for (ValueId v = least[kernel]; v <= most[kernel]; v++)
            if (g->node[v].kernel == kernel || (!g->node[v].kernel && below[v] == kernel && above[v] == kernel))
                add_found(o, &member, v);
        kernel_order_merge(o, member.item, member.n);
    }
    return o;
}
