// Instructions that move data between the lanes of a warp, and those with five operands.
#include "sim_state.h"

static uint64_t insert_field(uint64_t from, uint64_t into, uint32_t at, uint32_t length, uint32_t width)
{
    at &= 255;
    length &= 255;
    if (at >= width || length == 0)
        return into;
    const uint64_t mask = (length < 64 ? (UINT64_C(1) << length) - 1 : UINT64_MAX) << at;
    return (into & ~mask) | (from << at & mask);
}

static void insert_fields(const Sim *s, Warp *w, const PtxInsn *i, uint32_t mask)
{
    const Slot *a = sim_source(s, w, i->reg[1]), *b = sim_source(s, w, i->reg[2]), *at = sim_source(s, w, i->reg[3]),
               *length = sim_source(s, w, i->reg[4]);
    Slot *d = &w->reg[i->reg[0]];
    for (int l = 0; l < WARP_LANES; l++) {
        if (!(mask >> l & 1))
            continue;
        if (i->form == FORM_bfi_b32)
            d->u32[l] = (uint32_t)insert_field(a->u32[l], b->u32[l], at->u32[l], length->u32[l], 32);
        else
            d->u64[l] = insert_field(a->u64[l], b->u64[l], at->u32[l], length->u32[l], 64);
    }
}

// The lane that `lane` reads from: c holds the last lane that may be read, and which bits name a part of the warp.
static int partner(const PtxInsn *i, int lane, uint32_t b, uint32_t c)
{
    const int segment = (int)(c >> 8 & 31), clamp = (int)(c & 31), step = (int)(b & 31);
    const int last = (lane & segment) | (clamp & ~segment), first = lane & segment;
    int from = 0;
    switch (i->form) {
    case FORM_shfl_sync_up_b32:
        from = lane - step;
        return from >= last ? from : lane;
    case FORM_shfl_sync_down_b32: from = lane + step; break;
    case FORM_shfl_sync_bfly_b32: from = lane ^ step; break;
    default:                      from = first | (step & ~segment);
    }
    return from <= last ? from : lane;
}

static bool shuffle(Sim *s, Warp *w, const PtxInsn *i, uint32_t mask)
{
    const Slot *a = sim_source(s, w, i->reg[1]), *b = sim_source(s, w, i->reg[2]), *c = sim_source(s, w, i->reg[3]);
    Slot result = w->reg[i->reg[0]];
    for (int l = 0; l < WARP_LANES; l++) {
        if (!(mask >> l & 1))
            continue;
        const int from = partner(i, l, b->u32[l], c->u32[l]);
        if (!(mask >> from & 1))
            return sim_fail(s, i, "lane %d reads from lane %d, which does not take part", l, from);
        result.u32[l] = a->u32[from];
    }
    w->reg[i->reg[0]] = result;
    return true;
}

static void vote(const Sim *s, Warp *w, const PtxInsn *i, uint32_t mask)
{
    const Slot *a = sim_source(s, w, i->reg[1]);
    Slot *d = &w->reg[i->reg[0]];
    uint32_t yes = 0;
    for (int l = 0; l < WARP_LANES; l++)
        yes |= (uint32_t)(mask >> l & a->pred[l] & 1) << l;
    for (int l = 0; l < WARP_LANES; l++) {
        if (!(mask >> l & 1))
            continue;
        if (i->form == FORM_vote_sync_ballot_b32)
            d->u32[l] = yes;
        else
            d->pred[l] = i->form == FORM_vote_sync_any_pred ? yes != 0 : yes == mask;
    }
}

// The lanes that an instruction names as its members must be those that run it. Lanes that went another way and would
// come later are not waited for: the compiler lets them meet before.
static bool check_members(Sim *s, const Warp *w, const PtxInsn *i, int32_t reg, uint32_t mask)
{
    const Slot *m = sim_source(s, w, reg);
    for (int l = 0; l < WARP_LANES; l++)
        if (mask >> l & 1 && m->u32[l] != mask)
            return sim_fail(s, i, "thread %u names the lanes %08x as members, and %08x are there",
                            w->first_thread + (uint32_t)l, m->u32[l], mask);
    return true;
}

bool sim_exchange(Sim *s, Warp *w, const PtxInsn *i, uint32_t mask)
{
    const bool has_result = i->form != FORM_bar_warp_sync;
    int n = 0;
    while (n < 5 && i->reg[n] != NO_REG)
        n++;
    for (int k = has_result; k < n; k++)
        if (!sim_is_defined(s, w, i, i->reg[k], mask))
            return false;
    if (i->form == FORM_bfi_b32 || i->form == FORM_bfi_b64)
        insert_fields(s, w, i, mask);
    else if (!check_members(s, w, i, i->reg[n - 1], mask))
        return false;
    else if (i->form == FORM_vote_sync_ballot_b32 || i->form == FORM_vote_sync_any_pred || i->form == FORM_vote_sync_all_pred)
        vote(s, w, i, mask);
    else if (has_result && !shuffle(s, w, i, mask))
        return false;
    if (has_result)
        w->defined[i->reg[0]] |= mask;
    return true;
}
