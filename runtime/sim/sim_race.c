// Happens-before. Every warp has a clock that moves on at barriers, and knows of every other warp of its block up to which time
// that one's accesses are over. Two accesses to one place, by different threads, one of them a write, must be ordered by that. Blocks
// of a launch are never ordered. Accesses that are made for threads that race (atomics, volatile) race only with plain ones.
//
// Of plain reads every warp's last ones are kept, so that no race of the accesses that were made is missed, whatever their order was: reads that
// are older than a warp's last ones are over when those are. Of writes the last one is enough, because it was ordered with all before.
#include "sim_state.h"

#include <stdio.h>
#include <string.h>

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

static Toucher toucher(const Traffic *t, uint32_t warp, const Reads *r, uint32_t lanes)
{
    return (Toucher){t->block, r->clock, (uint16_t)(warp * WARP_LANES + (uint32_t)__builtin_ctz(lanes)), false};
}

// A write, and the reads of one warp before.
static bool check_reads(Sim *s, const Access *a, const Traffic *t, uint32_t warp, const Reads *r, size_t at, const char *what)
{
    const bool is_own = warp == a->warp->index;
    const uint32_t others = r->lanes & ~(is_own ? UINT32_C(1) << a->thread % WARP_LANES : 0);
    if (!others || (t->block == s->block_number && r->clock < (is_own ? a->warp->clock : a->warp->known[warp])))
        return true;
    const Toucher who = toucher(t, warp, r, others);
    return fail(s, a, &who, false, at, what);
}

// Is the access ordered with all that happened at one place? `at`: its first byte.
static bool check(Sim *s, const Access *a, const Traffic *t, size_t at, const char *what)
{
    if (!is_ordered(&t->writer, s, a))
        return fail(s, a, &t->writer, true, at, what);
    if (!a->writes)
        return true;
    if (!is_ordered(&t->strong_reader, s, a))
        return fail(s, a, &t->strong_reader, false, at, what);
    if (t->other_block && t->other_block != s->block_number)
        return fail(s, a, &(Toucher){.block = t->other_block, .thread = t->other_thread}, false, at, what);
    for (uint32_t v = 0; t->block && t->all && v < s->n_warps; v++)
        if (t->all[v].lanes && !check_reads(s, a, t, v, &t->all[v], at, what))
            return false;
    return !t->block || t->all || check_reads(s, a, t, t->warp, &t->one, at, what);
}

static void record_read(Sim *s, const Access *a, Traffic *t)
{
    const uint32_t warp = a->warp->index;
    if (t->block != s->block_number) {
        if (t->block) {
            t->other_block = t->block;
            t->other_thread = 0;
        }
        t->block = s->block_number;
        t->warp = (uint16_t)warp;
        t->one = (Reads){0};
        if (t->all)
            memset(t->all, 0, s->n_warps * sizeof *t->all);
    }
    if (!t->all && t->warp != warp) {
        t->all = arena_array(&s->arena, Reads, s->n_warps);
        t->all[t->warp] = t->one;
    }
    Reads *r = t->all ? &t->all[warp] : &t->one;
    const uint32_t lane = UINT32_C(1) << a->thread % WARP_LANES;
    r->lanes = r->clock == a->warp->clock ? r->lanes | lane : lane;
    r->clock = a->warp->clock;
}

static void record(Sim *s, const Access *a, Traffic *t)
{
    const Toucher me = {s->block_number, a->warp->clock, (uint16_t)a->thread, a->is_strong};
    if (a->writes)
        t->writer = me;
    else if (a->is_strong)
        t->strong_reader = me;
    else
        record_read(s, a, t);
}

void sim_forget(Ground *g)
{
    for (size_t i = 0; g->word && i < g->n_bytes / WORD; i++)
        g->word[i] = (Traffic){.all = g->word[i].all};
    for (size_t i = 0; g->byte && i < g->n_bytes; i++)
        g->byte[i] = (Traffic){.all = g->byte[i].all};
}

bool sim_check_race(Sim *s, const Access *a, Ground *g, size_t begin, size_t at, const char *what)
{
    const bool is_small = a->bytes < WORD;
    if (!g->word)
        g->word = arena_array(&s->arena, Traffic, g->n_bytes / WORD);
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
        *p = (Page){.number = number, .ground = {.n_bytes = PAGE_BYTES}};
        s->n_pages++;
    }
    s->last_page = p;
    return p;
}
