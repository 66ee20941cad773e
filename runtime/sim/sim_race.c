// Happens-before. Every warp has a clock that moves on at barriers, and knows of every other warp of its block up to which time
// that one's accesses are over. Two accesses to one place, by different threads, one of them a write, must be ordered by that. Blocks
// of a launch are never ordered. Accesses that are made for threads that race (atomics, volatile) race only with plain ones.
#include "sim_state.h"

#include <stdio.h>

#define PAGE_NONE UINT64_MAX

static bool is_ordered(const Toucher *t, const Sim *s, const Access *a)
{
    if (t->block == 0 || (t->is_strong && a->is_strong))
        return true;
    if (t->block != s->block_number)
        return false;
    if (t->thread == a->thread)
        return true;
    const uint32_t warp = t->thread / WARP_LANES;
    return t->clock < (warp == a->warp->index ? a->warp->clock : a->warp->known[warp]);
}

static const char *verb(const Access *a)
{
    return a->writes && a->reads ? "updates" : a->writes ? "writes" : "reads";
}

// `what`: a buffer; NULL: shared memory.
static bool fail(Sim *s, const Access *a, const Toucher *other, bool other_wrote, size_t at, const char *what)
{
    char name[96] = "shared memory";
    if (what)
        snprintf(name, sizeof name, "'%s'", what);
    const char *did = other_wrote ? "wrote" : "read";
    if (other->block != s->block_number)
        return sim_fail(s, a->insn, "thread %u %s byte %zu of %s, which thread %u of block %u %s: nothing orders blocks", a->thread,
                        verb(a), at, name, other->thread, other->block - 1, did);
    return sim_fail(s, a->insn, "thread %u %s byte %zu of %s, which thread %u %s with no barrier between", a->thread, verb(a), at, name,
                    other->thread, did);
}

// Is the access ordered with all that happened at one place? `at`: its first byte.
static bool check(Sim *s, const Access *a, const Traffic *t, size_t at, const char *what)
{
    if (!is_ordered(&t->writer, s, a))
        return fail(s, a, &t->writer, true, at, what);
    for (int r = 0; a->writes && r < 2; r++)
        if (!is_ordered(&t->reader[r], s, a))
            return fail(s, a, &t->reader[r], false, at, what);
    return true;
}

static void record(const Sim *s, const Access *a, Traffic *t)
{
    const Toucher me = {s->block_number, a->warp->clock, (uint16_t)a->thread, a->is_strong};
    if (a->writes) {
        t->writer = me;
        return;
    }
    if (t->reader[0].block != me.block || t->reader[0].thread != me.thread)
        t->reader[1] = t->reader[0];
    t->reader[0] = me;
}

bool sim_check_race(Sim *s, const Access *a, Ground *g, size_t begin, size_t at, const char *what)
{
    const bool is_small = a->bytes < WORD;
    if (is_small && !g->byte)
        g->byte = arena_array(&s->arena, Traffic, g->n_bytes);
    for (size_t k = 0; k < a->bytes; k += is_small ? a->bytes : WORD)
        if (!check(s, a, &g->word[(begin + k) / WORD], at + k, what))
            return false;
    for (size_t k = 0; g->byte && k < a->bytes; k++)
        if (!check(s, a, &g->byte[begin + k], at + k, what))
            return false;
    for (size_t k = 0; is_small && k < a->bytes; k++)
        record(s, a, &g->byte[begin + k]);
    for (size_t k = 0; !is_small && k < a->bytes; k += WORD)
        record(s, a, &g->word[(begin + k) / WORD]);
    return true;
}

static size_t place_of(const Sim *s, uint64_t number)
{
    size_t at = (size_t)(number * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (s->page_capacity - 1);
    while (s->page[at].number != PAGE_NONE && s->page[at].number != number)
        at = (at + 1) & (s->page_capacity - 1);
    return at;
}

static void grow_pages(Sim *s)
{
    const Page *old = s->page;
    const size_t n = s->page_capacity;
    s->page_capacity = n ? 2 * n : 64;
    s->page = arena_array(&s->arena, Page, s->page_capacity);
    for (size_t i = 0; i < s->page_capacity; i++)
        s->page[i].number = PAGE_NONE;
    for (size_t i = 0; i < n; i++)
        if (old[i].number != PAGE_NONE)
            s->page[place_of(s, old[i].number)] = old[i];
    s->last_page = NULL;
}

Page *sim_page(Sim *s, uint64_t address)
{
    const uint64_t number = address / PAGE_BYTES;
    if (s->last_page && s->last_page->number == number)
        return s->last_page;
    if (2 * (s->n_pages + 1) > s->page_capacity)
        grow_pages(s);
    Page *p = &s->page[place_of(s, number)];
    if (p->number == PAGE_NONE) {
        *p = (Page){.number = number, .ground = {.n_bytes = PAGE_BYTES, .word = arena_array(&s->arena, Traffic, PAGE_BYTES / WORD)}};
        s->n_pages++;
    }
    s->last_page = p;
    return p;
}
