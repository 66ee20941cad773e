// cp.async. A copy that was issued is under way: its bytes may not be touched by anybody until the thread that issued it waits for
// its group; then they are written, by that thread and at that time, so that others need a barrier besides. Copies land as late as they
// may, or, when there is a seed, some of them at once: a program that is right cannot tell, and one that is wrong is found either way.
#include "sim_state.h"

#include <string.h>

static void move_bytes(const Flight *f, unsigned char *to)
{
    memset(to, 0, f->bytes);
    memcpy(to, f->from, f->from_bytes);
}

// The bytes of the copy at index k may be used from now on.
static bool land(Sim *s, const Warp *w, const PtxInsn *i, size_t k)
{
    const Flight f = s->flight[k];
    s->flight[k] = s->flight[--s->n_flights];
    for (uint32_t b = 0; b < f.bytes; b++)
        s->shared_flight[f.to + b]--;
    const Access a = {.insn = i, .warp = w, .thread = f.thread, .address = f.to, .bytes = f.bytes, .writes = true};
    Place to = {0};
    if (!sim_find(s, SPACE_SHARED, &a, &to))
        return false;
    if (!f.has_landed)
        move_bytes(&f, to.data);
    memset(to.defined, 1, s->launch->fill_is_unset ? f.from_bytes : f.bytes);
    return true;
}

// All copies of the lanes of `mask` in groups before the last `most`; `all`: those of no group as well.
static bool wait(Sim *s, Warp *w, const PtxInsn *i, uint32_t mask, uint32_t most, bool all)
{
    for (size_t k = s->n_flights; k-- > 0;) {
        if (k >= s->n_flights)
            continue;
        const Flight *f = &s->flight[k];
        const uint32_t lane = f->thread - w->first_thread;
        if (lane >= WARP_LANES || !(mask >> lane & 1) || f->mbarrier)
            continue;
        if ((all || f->group + most < w->n_groups[lane]) && !land(s, w, i, k))
            return false;
    }
    return true;
}

bool sim_check_landed(Sim *s, const Warp *w, const PtxInsn *i, uint32_t mask)
{
    for (size_t k = 0; k < s->n_flights; k++) {
        const uint32_t lane = s->flight[k].thread - w->first_thread;
        if (lane < WARP_LANES && (mask >> lane & 1) && !s->flight[k].mbarrier)
            return sim_fail(s, i, "thread %u ends while its copy to byte %u of shared memory is under way", s->flight[k].thread,
                            s->flight[k].to);
    }
    return true;
}

static bool issue_one(Sim *s, const Warp *w, const PtxInsn *i, int lane, uint64_t to, uint64_t from)
{
    const uint32_t bytes = i->number[0];
    const uint32_t wanted = i->n_regs ? sim_source(s, w, i->reg[0])->u32[lane] : bytes, n = wanted < bytes ? wanted : bytes;
    Access read = {.insn = i, .warp = w, .thread = w->first_thread + (uint32_t)lane, .address = from, .bytes = bytes, .reads = true};
    Access write = {.insn = i, .warp = w, .thread = read.thread, .address = to, .bytes = bytes, .writes = true};
    Place source = {0}, target = {0};
    if (from % bytes != 0)
        return sim_fail(s, i, "thread %u copies %u bytes from the address 0x%llx, which is no multiple of it", read.thread, bytes,
                        (unsigned long long)from);
    // Less than all of it: by bytes, since only those may be read.
    read.bytes = n == bytes ? bytes : 4;
    for (uint32_t b = 0; b < n; b += (uint32_t)read.bytes) {
        Place piece = {0};
        read.address = from + b;
        if (n - b < read.bytes)
            return sim_fail(s, i, "thread %u copies %u bytes, which is no multiple of 4", read.thread, n);
        if (!sim_find(s, SPACE_GLOBAL, &read, &piece))
            return false;
        source = b ? source : piece;
    }
    if (!sim_find(s, SPACE_SHARED, &write, &target))
        return false;
    s->flight = arena_grow(&s->arena, s->flight, s->n_flights, &s->flight_capacity, sizeof *s->flight);
    s->flight[s->n_flights++] = (Flight){.thread = read.thread, .group = w->n_groups[lane], .to = (uint32_t)to, .bytes = bytes,
                                         .from = n ? source.data : target.data, .from_bytes = n};
    for (uint32_t b = 0; b < bytes; b++) {
        s->shared_defined[to + b] = 0;
        s->shared_flight[to + b]++;
    }
    Flight *f = &s->flight[s->n_flights - 1];
    f->has_landed = (sim_random(s) & 3) == 1;
    if (f->has_landed)
        move_bytes(f, target.data);
    return true;
}

static bool issue(Sim *s, const Warp *w, const PtxInsn *i, uint32_t mask)
{
    const uint32_t bytes = i->number[0];
    uint64_t to[WARP_LANES] = {0}, from[WARP_LANES] = {0};
    if (bytes != 4 && bytes != 8 && bytes != 16)
        return sim_fail(s, i, "a copy of %u bytes; it moves 4, 8 or 16", bytes);
    for (int l = 0; l < WARP_LANES; l++) {
        if (!(mask >> l & 1))
            continue;
        to[l] = sim_address(s, w, &i->address[0], l);
        from[l] = sim_address(s, w, &i->address[1], l);
        if (!issue_one(s, w, i, l, to[l], from[l]))
            return false;
    }
    sim_count_global(s, from, bytes, mask, true, false);
    sim_count_shared(s, to, bytes, mask);
    s->counters->copy_bytes += bytes * (uint64_t)__builtin_popcount(mask);
    return true;
}

bool sim_copy(Sim *s, Warp *w, const PtxInsn *i, uint32_t mask)
{
    switch (i->form) {
    case FORM_cp_async_commit_group:
        for (int l = 0; l < WARP_LANES; l++)
            w->n_groups[l] += mask >> l & 1;
        return true;
    case FORM_cp_async_wait_group: return wait(s, w, i, mask, i->number[0], false);
    case FORM_cp_async_wait_all:   return wait(s, w, i, mask, 0, true);
    default:
        for (int k = 0; k < 2; k++)
            if (i->address[k].reg != NO_REG && !sim_is_defined(s, w, i, i->address[k].reg, mask))
                return false;
        if (i->n_regs && !sim_is_defined(s, w, i, i->reg[0], mask))
            return false;
        return issue(s, w, i, mask);
    }
}
