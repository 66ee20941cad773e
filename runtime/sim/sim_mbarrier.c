// mbarrier, and bulk copies that end at one. A barrier is 8 bytes of shared memory that only these instructions may touch. A phase is over when
// as many arrived as it was made for and all bytes that were announced have come; the next begins at once. Who finds that a phase is over knows
// what those who arrived in it had done. Bulk copies land as late as they may, when somebody asks for their barrier, or, when there is a seed,
// some of them at once; nobody may touch their bytes before somebody has found that the phase is over.
//
// What an arrival of some lanes hands on are all accesses of their warp: lanes of a warp are not told apart. Proxies are not watched.
#include "sim_state.h"

#include <string.h>

enum { BARRIER_BYTES = 8, MOST_ARRIVALS = (1 << 20) - 1, PIECE = 16,
       MOST_WAITS = 1 << 17 };              // of lanes, that find nothing, while no warp of the block does anything else

static Mbarrier *find(Sim *s, uint64_t at)
{
    for (size_t k = 0; k < s->n_mbarriers; k++)
        if (s->mbarrier[k].at == at)
            return &s->mbarrier[k];
    return NULL;
}

const Mbarrier *sim_mbarrier_at(const Sim *s, uint64_t at, size_t bytes)
{
    for (size_t k = 0; k < s->n_mbarriers; k++)
        if (s->mbarrier[k].at < at + bytes && at < s->mbarrier[k].at + BARRIER_BYTES)
            return &s->mbarrier[k];
    return NULL;
}

// The barrier's bytes, for somebody who makes it or uses it: made before, and ordered with that.
static bool touch(Sim *s, const Warp *w, const PtxInsn *i, uint32_t thread, uint64_t at, bool is_made)
{
    const Access a = {.insn = i, .warp = w, .thread = thread, .address = at, .bytes = BARRIER_BYTES, .reads = !is_made, .writes = is_made,
                      .is_strong = !is_made, .is_mbarrier = true};
    Place place = {0};
    if (!sim_find(s, SPACE_SHARED, &a, &place))
        return false;
    if (is_made)
        memset(place.defined, 1, BARRIER_BYTES);
    return true;
}

static bool make(Sim *s, const Warp *w, const PtxInsn *i, uint32_t thread, uint64_t at, uint32_t count)
{
    if (sim_mbarrier_at(s, at, BARRIER_BYTES))
        return sim_fail(s, i, "thread %u makes a barrier at byte %llu of shared memory, where there is one", thread, (unsigned long long)at);
    if (count == 0 || count > MOST_ARRIVALS)
        return sim_fail(s, i, "thread %u makes a barrier for %u arrivals; it takes 1 to %d", thread, count, MOST_ARRIVALS);
    if (!touch(s, w, i, thread, at, true))
        return false;
    s->mbarrier = arena_grow(&s->arena, s->mbarrier, s->n_mbarriers, &s->mbarrier_capacity, sizeof *s->mbarrier);
    s->mbarrier[s->n_mbarriers++] = (Mbarrier){.at = (uint32_t)at, .count = count, .pending = count,
                                               .known = arena_array(&s->arena, uint32_t, s->n_warps),
                                               .done = arena_array(&s->arena, uint32_t, s->n_warps)};
    return true;
}

static void hand_on(Sim *s, Mbarrier *b, Warp *w)
{
    w->known[w->index] = ++w->clock;
    for (uint32_t v = 0; v < s->n_warps; v++)
        b->known[v] = w->known[v] > b->known[v] ? w->known[v] : b->known[v];
}

static void end_phase(Sim *s, Mbarrier *b)
{
    s->n_idle_waits = 0;
    if (b->pending || b->bytes)
        return;
    uint32_t *known = b->done;
    b->done = b->known;
    b->known = known;
    memset(known, 0, s->n_warps * sizeof *known);
    b->pending = b->count;
    b->parity ^= 1;
}

static bool arrive(Sim *s, Warp *w, const PtxInsn *i, uint32_t thread, Mbarrier *b)
{
    if (b->pending == 0)
        return sim_fail(s, i, "thread %u arrives at a barrier for %u, where all of them are", thread, b->count);
    hand_on(s, b, w);
    b->pending--;
    end_phase(s, b);
    return true;
}

// The bytes of the bulk copy at index k arrive at its barrier.
static bool land(Sim *s, const PtxInsn *i, size_t k)
{
    const Flight f = s->flight[k];
    Mbarrier *b = find(s, f.mbarrier - 1);
    Warp *from = &s->warp[f.thread / WARP_LANES];
    s->flight[k].has_landed = true;
    memset(s->shared_flight + f.to, 0, f.bytes);
    for (uint32_t at = 0; at < f.bytes; at += PIECE) {
        const Access a = {.insn = i, .warp = from, .thread = f.thread, .address = f.to + at, .bytes = PIECE, .writes = true};
        Place to = {0};
        if (!sim_find(s, SPACE_SHARED, &a, &to))
            return false;
        memcpy(to.data, f.from + at, PIECE);
        memset(to.defined, 1, PIECE);
    }
    memset(s->shared_flight + f.to, 1, f.bytes);
    if (!b)
        return sim_fail(s, i, "a copy ends at a barrier that is not there any more");
    hand_on(s, b, from);
    b->bytes -= f.bytes;
    end_phase(s, b);
    return true;
}

static bool land_all(Sim *s, const PtxInsn *i, const Mbarrier *b)
{
    for (size_t k = s->n_flights; k-- > 0;)
        if (s->flight[k].mbarrier == b->at + 1u && !s->flight[k].has_landed && !land(s, i, k))
            return false;
    return true;
}

// Somebody found that they are there.
static void take_over(Sim *s, const Mbarrier *b)
{
    for (size_t k = s->n_flights; k-- > 0;)
        if (s->flight[k].mbarrier == b->at + 1u && s->flight[k].has_landed) {
            memset(s->shared_flight + s->flight[k].to, 0, s->flight[k].bytes);
            s->flight[k] = s->flight[--s->n_flights];
        }
}

static bool start_copy(Sim *s, Warp *w, const PtxInsn *i, int lane)
{
    const uint32_t thread = w->first_thread + (uint32_t)lane, bytes = sim_source(s, w, i->reg[0])->u32[lane];
    const uint64_t to = sim_address(s, w, &i->address[0], lane), from = sim_address(s, w, &i->address[1], lane),
                   at = sim_address(s, w, &i->address[2], lane);
    Place source = {0}, piece = {0};
    if (bytes == 0 || bytes % PIECE)
        return sim_fail(s, i, "thread %u copies %u bytes, which is no multiple of %d", thread, bytes, PIECE);
    if (!touch(s, w, i, thread, at, false))
        return false;
    Mbarrier *b = find(s, at);
    if (!b)
        return sim_fail(s, i, "thread %u names byte %llu of shared memory as a barrier, which nobody made", thread, (unsigned long long)at);
    for (uint32_t k = 0; k < bytes; k += PIECE) {
        const Access read = {.insn = i, .warp = w, .thread = thread, .address = from + k, .bytes = PIECE, .reads = true};
        const Access write = {.insn = i, .warp = w, .thread = thread, .address = to + k, .bytes = PIECE, .writes = true};
        if (!sim_find(s, SPACE_GLOBAL, &read, &piece))
            return false;
        source = k ? source : piece;
        if (!sim_find(s, SPACE_SHARED, &write, &piece))
            return false;
    }
    memset(s->shared_defined + to, 0, bytes);
    memset(s->shared_flight + to, 1, bytes);
    s->flight = arena_grow(&s->arena, s->flight, s->n_flights, &s->flight_capacity, sizeof *s->flight);
    s->flight[s->n_flights++] = (Flight){.thread = thread, .to = (uint32_t)to, .bytes = bytes, .from = source.data, .from_bytes = bytes,
                                         .mbarrier = b->at + 1u};
    s->counters->copy_bytes += bytes;
    return (sim_random(s) & 3) != 1 || land(s, i, s->n_flights - 1);
}

// Whether the phase of that parity is over. What is under way to the barrier comes now, when somebody asks for it.
static bool wait(Sim *s, Warp *w, const PtxInsn *i, Mbarrier *b, uint32_t parity, bool *out_is_over)
{
    if (b->parity == (parity & 1) && !land_all(s, i, b))
        return false;
    *out_is_over = b->parity != (parity & 1);
    if (*out_is_over)
        take_over(s, b);
    for (uint32_t v = 0; *out_is_over && v < s->n_warps; v++)
        w->known[v] = b->done[v] > w->known[v] ? b->done[v] : w->known[v];
    s->n_idle_waits = *out_is_over ? 0 : s->n_idle_waits + 1;
    if (s->n_idle_waits > MOST_WAITS)
        return sim_fail(s, i, "nobody goes on: the barrier at byte %u of shared memory lacks %u of %u arrivals and %lld bytes", b->at, b->pending,
                        b->count, (long long)b->bytes);
    return true;
}

static bool run_lane(Sim *s, Warp *w, const PtxInsn *i, int lane)
{
    const uint32_t thread = w->first_thread + (uint32_t)lane;
    const uint64_t at = sim_address(s, w, &i->address[0], lane);
    const uint32_t given = i->n_regs > i->n_results ? sim_source(s, w, i->reg[i->n_results])->u32[lane] : 1;
    if (i->form == FORM_mbarrier_init_shared_b64 || i->form == FORM_mbarrier_init_shared__cta_b64)
        return make(s, w, i, thread, at, given);
    if (!touch(s, w, i, thread, at, false))
        return false;
    Mbarrier *b = find(s, at);
    if (!b)
        return sim_fail(s, i, "thread %u names byte %llu of shared memory as a barrier, which nobody made", thread, (unsigned long long)at);
    switch (i->form) {
    case FORM_mbarrier_inval_shared_b64: case FORM_mbarrier_inval_shared__cta_b64:
        *b = s->mbarrier[--s->n_mbarriers];
        return true;
    case FORM_mbarrier_arrive_expect_tx_shared_b64: case FORM_mbarrier_arrive_expect_tx_shared__cta_b64:
    case FORM_mbarrier_arrive_expect_tx_release_cta_shared__cta_b64:
        b->bytes += given;
        return arrive(s, w, i, thread, b);
    case FORM_mbarrier_expect_tx_relaxed_cta_shared__cta_b64:
        b->bytes += given;
        return true;
    case FORM_mbarrier_arrive_shared_b64: case FORM_mbarrier_arrive_shared__cta_b64: case FORM_mbarrier_arrive_release_cta_shared__cta_b64:
        return arrive(s, w, i, thread, b);
    default: {
        bool is_over = false;
        if (!wait(s, w, i, b, given, &is_over))
            return false;
        w->reg[i->reg[0]].pred[lane] = is_over;
        w->defined[i->reg[0]] |= UINT32_C(1) << lane;
        return true;
    }
    }
}

bool sim_mbarrier(Sim *s, Warp *w, const PtxInsn *i, uint32_t mask)
{
    for (int k = 0; k < 3; k++)
        if (i->address[k].reg != NO_REG && !sim_is_defined(s, w, i, i->address[k].reg, mask))
            return false;
    for (int k = i->n_results; k < i->n_regs; k++)
        if (!sim_is_defined(s, w, i, i->reg[k], mask))
            return false;
    const bool is_copy = i->form == FORM_cp_async_bulk_shared__cluster_global_mbarrier__complete_tx__bytes;
    for (int l = 0; l < WARP_LANES; l++)
        if ((mask >> l & 1) && !(is_copy ? start_copy(s, w, i, l) : run_lane(s, w, i, l)))
            return false;
    // The state that an arrival returns is of no use but to wait for it, and we wait by parity.
    if (!is_copy && i->n_results && i->reg[0] >= 0 && s->kernel->slot_bytes[i->reg[0]] == 8)
        w->defined[i->reg[0]] &= ~mask;
    return true;
}
