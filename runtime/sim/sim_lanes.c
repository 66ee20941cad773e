// Which lanes of a warp run, and which wait for one another.
//
// Lanes that went different ways run lowest instruction first, and so come together again at the earliest place; a lane that jumps back very
// often makes room for the others, so that threads which wait for one another go on. With a seed, now and then the highest goes first: nothing
// says that a GPU prefers one.
//
// What the lanes of a warp do together they do when all of them are there. An exchange (`.sync`: shuffles, votes, bar.warp.sync) waits for the
// lanes that it names, however late they come, but for those that have ended; it is a mistake when one of them waits elsewhere for ever. An
// instruction for the whole warp (`.aligned`) must besides be reached by one way: a compiler may take for granted that nobody is late.
//
// Source: PTX ISA 9.0, shfl.sync, vote.sync, match.sync, redux.sync, bar.warp.sync (waits for all non-exited threads of the mask that execute
// the same with the same mask), mma.sync and ldmatrix (`.aligned`).
#include "sim_state.h"

#include <stdio.h>

enum { PATIENCE = 1024 };                   // jumps back before other lanes of the warp are preferred

void sim_pick_lanes(Sim *s, Warp *w)
{
    for (int l = 0; l < WARP_LANES; l++)
        if (w->mask >> l & 1)
            w->pc[l] = w->at;
    const uint32_t ready = w->live & ~w->waiting & ~w->parked;
    uint32_t low = UINT32_MAX, high = 0, chosen;
    for (int l = 0; l < WARP_LANES; l++)
        if (ready >> l & 1) {
            low = w->pc[l] < low ? w->pc[l] : low;
            high = w->pc[l] > high ? w->pc[l] : high;
        }
    chosen = low;
    if (w->n_backward > PATIENCE || (s->random && low < high && (sim_random(s) & 7) == 1)) {
        chosen = high;
        w->n_backward = 0;
    }
    w->mask = 0;
    w->at = chosen;
    w->until = UINT32_MAX;
    for (int l = 0; l < WARP_LANES; l++) {
        if (!(ready >> l & 1))
            continue;
        if (w->pc[l] == chosen)
            w->mask |= UINT32_C(1) << l;
        else if (w->pc[l] > chosen && w->pc[l] < w->until)
            w->until = w->pc[l];
    }
}

// The running lanes of `there` are at instruction `to`, the others behind this one; nobody runs.
static void part(Warp *w, uint32_t there, uint32_t to)
{
    for (int l = 0; l < WARP_LANES; l++)
        if (w->mask >> l & 1)
            w->pc[l] = there >> l & 1 ? to : w->at + 1;
    w->mask = 0;
}

void sim_branch(Sim *s, Warp *w, const PtxInsn *i, uint32_t taken)
{
    const uint32_t target = i->target;
    if (target <= w->at && w->until != UINT32_MAX)
        w->n_backward++;
    if (taken == w->mask) {
        const bool waits = (w->live & ~w->waiting & ~w->parked) != w->mask;
        w->at = target;
        if (waits)
            sim_pick_lanes(s, w);
        return;
    }
    if (taken) {
        s->counters->divergent_branches++;
        w->n_parted += w->parted[i->joins] == 0;
        w->parted[i->joins] |= w->mask;
        w->parted_at[i->joins] = w->at;
    }
    part(w, taken, target);
    sim_pick_lanes(s, w);
}

void sim_join(Warp *w, uint16_t join)
{
    const uint32_t left = w->parted[join] & ~w->mask;
    w->n_parted -= w->parted[join] && !left;
    w->parted[join] = left;
}

// The lanes of `mask` are not on one of several ways of their warp.
bool sim_check_together(Sim *s, const Warp *w, const PtxInsn *i, uint32_t mask)
{
    for (size_t j = 0; w->n_parted && j < s->kernel->n_joins; j++)
        if (w->parted[j] & mask)
            return sim_fail(s, i, "thread %u comes on one of several ways: its warp parted at line %u, and the whole warp must do this together",
                            w->first_thread + (uint32_t)__builtin_ctz(w->parted[j] & mask), s->kernel->insn[w->parted_at[j]].line);
    return true;
}

// --- together

static bool run_together(Sim *s, Warp *w, const PtxInsn *i, uint32_t mask)
{
    switch (ptx_row[i->form].unit) {
    case UNIT_EXCHANGE: return sim_exchange(s, w, i, mask);
    case UNIT_TENSOR:   return sim_tensor(s, w, i, mask);
    default:                                // bar.warp.sync. Lanes that are not all of the warp order nothing: only their own accesses would be over.
        w->clock += mask == w->live;
        return true;
    }
}

static bool is_whole(Sim *s, const Warp *w, const PtxInsn *i)
{
    return w->live == UINT32_MAX
           || sim_fail(s, i, "only the lanes %08x of the warp are left, and the whole warp must be there", w->live);
}

// Barriers of a warp meet each other wherever they are written; everything else meets itself.
static bool is_same_meeting(const PtxInsn *a, const PtxInsn *b)
{
    return a == b || (a->form == FORM_bar_warp_sync && b->form == FORM_bar_warp_sync);
}

// Those whose partners have all come, or ended, go on.
static bool meet(Sim *s, Warp *w)
{
    for (int l = 0; l < WARP_LANES; l++) {
        if (!(w->parked >> l & 1))
            continue;
        const PtxInsn *i = &s->kernel->insn[w->pc[l]];
        uint32_t there = 0;
        for (int k = 0; k < WARP_LANES; k++)
            if (w->parked >> k & 1 && w->names[k] == w->names[l] && is_same_meeting(i, &s->kernel->insn[w->pc[k]]))
                there |= UINT32_C(1) << k;
        if (ptx_row[i->form].meets == MEETS_WARP && !is_whole(s, w, i))
            return false;
        if (there != (w->names[l] & w->live))
            continue;
        if (!run_together(s, w, i, there))
            return false;
        w->parked &= ~there;
        for (int k = 0; k < WARP_LANES; k++)
            w->pc[k] += there >> k & 1;
    }
    return true;
}

bool sim_meet(Sim *s, Warp *w, const PtxInsn *i, uint32_t mask)
{
    const bool is_aligned = ptx_row[i->form].meets == MEETS_WARP;
    const int32_t members = is_aligned ? NO_REG : i->reg[i->n_regs - 1];
    uint32_t others = 0;                    // that some lane waits for
    if (is_aligned ? !is_whole(s, w, i) || !sim_check_together(s, w, i, mask) : !sim_is_defined(s, w, i, members, mask))
        return false;
    for (uint32_t l = 0; l < WARP_LANES; l++) {
        if (!(mask >> l & 1))
            continue;
        w->names[l] = is_aligned ? UINT32_MAX : sim_source(s, w, members)->u32[l];
        if (!(w->names[l] >> l & 1))
            return sim_fail(s, i, "thread %u names the lanes %08x as members, and is not one of them", w->first_thread + l, w->names[l]);
        others |= (w->names[l] & w->live) ^ mask;
    }
    if (!others) {
        w->at++;
        return run_together(s, w, i, mask);
    }
    part(w, mask, w->at);
    w->parked |= mask;
    const bool good = meet(s, w);
    sim_pick_lanes(s, w);
    return good;
}

bool sim_leave(Sim *s, Warp *w, uint32_t who, bool has_ended)
{
    bool good = true;
    part(w, who, w->at);
    if (has_ended) {
        w->live &= ~who;
        good = meet(s, w);
    } else
        w->waiting |= who;
    sim_pick_lanes(s, w);
    return good;
}

// Where a lane is that others wait for.
static void tell_where(const Sim *s, const Warp *w, uint32_t lane, char *out, size_t room)
{
    char opcode[64];
    const PtxInsn *i = w->pc[lane] < s->kernel->n_insns ? &s->kernel->insn[w->pc[lane]] : NULL;
    if (!(w->live >> lane & 1) || !i)
        snprintf(out, room, "has ended");
    else if (w->parked >> lane & 1 && ptx_row[i->form].meets == MEETS_NAMED)
        snprintf(out, room, "waits at line %u, %s, for the lanes %08x", i->line, sim_opcode(i, opcode, sizeof opcode), w->names[lane]);
    else
        snprintf(out, room, "waits at line %u, %s", i->line, sim_opcode(i, opcode, sizeof opcode));
}

bool sim_check_parked(Sim *s)
{
    for (uint32_t k = 0; k < s->n_warps; k++) {
        const Warp *w = &s->warp[k];
        if (!w->parked)
            continue;
        const uint32_t lane = (uint32_t)__builtin_ctz(w->parked);
        const PtxInsn *i = &s->kernel->insn[w->pc[lane]];
        uint32_t there = 0;
        for (int l = 0; l < WARP_LANES; l++)
            if (w->parked >> l & 1 && w->names[l] == w->names[lane] && is_same_meeting(i, &s->kernel->insn[w->pc[l]]))
                there |= UINT32_C(1) << l;
        const uint32_t missing = (uint32_t)__builtin_ctz(w->names[lane] & ~there);
        char where[160];
        tell_where(s, w, missing, where, sizeof where);
        return sim_fail(s, i, "thread %u names the lanes %08x as members and waits for thread %u, which %s", w->first_thread + lane,
                        w->names[lane], w->first_thread + missing, where);
    }
    return true;
}
