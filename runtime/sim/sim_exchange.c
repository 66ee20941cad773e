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

// The lane that `lane` reads from: c holds the last lane that may be read, and which bits name a part of the warp. Outside of that it
// reads its own value.
static int partner(const PtxInsn *i, int lane, uint32_t b, uint32_t c, bool *is_inside)
{
    const int segment = (int)(c >> 8 & 31), clamp = (int)(c & 31), step = (int)(b & 31);
    const int last = (lane & segment) | (clamp & ~segment), first = lane & segment;
    int from = 0;
    switch (i->form) {
    case FORM_shfl_sync_up_b32:   from = lane - step; break;
    case FORM_shfl_sync_down_b32: from = lane + step; break;
    case FORM_shfl_sync_bfly_b32: from = lane ^ step; break;
    default:                      from = first | (step & ~segment);
    }
    *is_inside = i->form == FORM_shfl_sync_up_b32 ? from >= last : from <= last;
    return *is_inside ? from : lane;
}

static bool shuffle(Sim *s, Warp *w, const PtxInsn *i, uint32_t mask)
{
    const int first = i->n_results;
    const Slot *a = sim_source(s, w, i->reg[first]), *b = sim_source(s, w, i->reg[first + 1]), *c = sim_source(s, w, i->reg[first + 2]);
    Slot result = w->reg[i->reg[0]];
    for (int l = 0; l < WARP_LANES; l++) {
        if (!(mask >> l & 1))
            continue;
        bool is_inside = true;
        const int from = partner(i, l, b->u32[l], c->u32[l], &is_inside);
        if (first == 2)
            w->reg[i->reg[1]].pred[l] = is_inside;
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
        switch (i->form) {
        case FORM_vote_sync_ballot_b32: d->u32[l] = yes; break;
        case FORM_vote_sync_any_pred:   d->pred[l] = yes != 0; break;
        case FORM_vote_sync_all_pred:   d->pred[l] = yes == mask; break;
        default:                        d->pred[l] = yes == mask || yes == 0;
        }
    }
}

static uint32_t combine(uint16_t form, uint32_t a, uint32_t b)
{
    switch (form) {
    case FORM_redux_sync_min_u32: return a < b ? a : b;
    case FORM_redux_sync_max_u32: return a > b ? a : b;
    case FORM_redux_sync_min_s32: return (int32_t)a < (int32_t)b ? a : b;
    case FORM_redux_sync_max_s32: return (int32_t)a > (int32_t)b ? a : b;
    default:                      return a + b;
    }
}

static void reduce(const Sim *s, Warp *w, const PtxInsn *i, uint32_t mask)
{
    const Slot a = *sim_source(s, w, i->reg[1]);
    uint32_t all = a.u32[__builtin_ctz(mask)];
    for (int l = __builtin_ctz(mask) + 1; l < WARP_LANES; l++)
        if (mask >> l & 1)
            all = combine(i->form, all, a.u32[l]);
    for (int l = 0; l < WARP_LANES; l++)
        if (mask >> l & 1)
            w->reg[i->reg[0]].u32[l] = all;
}

static void match(const Sim *s, Warp *w, const PtxInsn *i, uint32_t mask)
{
    const Slot a = *sim_source(s, w, i->reg[1]);
    for (int l = 0; l < WARP_LANES; l++) {
        uint32_t same = 0;
        for (int k = 0; k < WARP_LANES; k++)
            same |= (uint32_t)((mask >> k & 1) && a.u32[k] == a.u32[l]) << k;
        if (mask >> l & 1)
            w->reg[i->reg[0]].u32[l] = same;
    }
}

// Any function of three bits: bit abc of the table is its value.
static void logic(const Sim *s, Warp *w, const PtxInsn *i, uint32_t mask)
{
    const Slot *a = sim_source(s, w, i->reg[1]), *b = sim_source(s, w, i->reg[2]), *c = sim_source(s, w, i->reg[3]);
    for (int l = 0; l < WARP_LANES; l++) {
        uint32_t d = 0;
        for (uint32_t k = 0; k < 8; k++)
            if (i->number[0] >> k & 1)
                d |= (k & 4 ? a->u32[l] : ~a->u32[l]) & (k & 2 ? b->u32[l] : ~b->u32[l]) & (k & 1 ? c->u32[l] : ~c->u32[l]);
        if (mask >> l & 1)
            w->reg[i->reg[0]].u32[l] = d;
    }
}

static void take_apart(const Sim *s, Warp *w, const PtxInsn *i, uint32_t mask)
{
    const Slot a = *sim_source(s, w, i->reg[2]);
    for (int l = 0; l < WARP_LANES; l++)
        for (int k = 0; k < 2 && (mask >> l & 1); k++)
            if (i->form == FORM_mov_b32_apart)
                w->reg[i->reg[k]].u16[l] = (uint16_t)(a.u32[l] >> 16 * k);
            else
                w->reg[i->reg[k]].u32[l] = (uint32_t)(a.u64[l] >> 32 * k);
}

static void put_together(const Sim *s, Warp *w, const PtxInsn *i, uint32_t mask)
{
    const Slot a = *sim_source(s, w, i->reg[1]), b = *sim_source(s, w, i->reg[2]);
    for (int l = 0; l < WARP_LANES; l++)
        if (!(mask >> l & 1))
            continue;
        else if (i->form == FORM_mov_b32_together)
            w->reg[i->reg[0]].u32[l] = a.u16[l] | (uint32_t)b.u16[l] << 16;
        else
            w->reg[i->reg[0]].u64[l] = a.u32[l] | (uint64_t)b.u32[l] << 32;
    w->low_defined[i->reg[0]] = i->reg[1] < 0 ? UINT32_MAX : w->defined[i->reg[1]];
}

bool sim_exchange(Sim *s, Warp *w, const PtxInsn *i, uint32_t mask)
{
    uint32_t defined = mask;
    for (int k = i->n_results; k < i->n_regs; k++)
        defined &= i->reg[k] < 0 ? UINT32_MAX : w->defined[i->reg[k]];
    bool is_lanewise = true;
    switch (i->form) {
    case FORM_bfi_b32: case FORM_bfi_b64: insert_fields(s, w, i, mask); break;
    case FORM_lop3_b32: logic(s, w, i, mask); break;
    case FORM_mov_b32_apart: case FORM_mov_b64_apart: take_apart(s, w, i, mask); break;
    case FORM_mov_b32_together: case FORM_mov_b64_together: put_together(s, w, i, mask); break;
    case FORM_activemask_b32:
        for (int l = 0; l < WARP_LANES; l++)
            w->reg[i->reg[0]].u32[l] = mask;
        break;
    default: is_lanewise = false;
    }
    for (int k = i->n_results; !is_lanewise && k < i->n_regs; k++)
        if (!sim_is_defined(s, w, i, i->reg[k], mask))
            return false;
    switch (is_lanewise ? FORM_NONE : i->form) {
    case FORM_NONE: break;
    case FORM_shfl_sync_bfly_b32: case FORM_shfl_sync_down_b32: case FORM_shfl_sync_up_b32: case FORM_shfl_sync_idx_b32:
        if (!shuffle(s, w, i, mask))
            return false;
        break;
    case FORM_match_any_sync_b32: match(s, w, i, mask); break;
    case FORM_vote_sync_ballot_b32: case FORM_vote_sync_any_pred: case FORM_vote_sync_all_pred: case FORM_vote_sync_uni_pred:
        vote(s, w, i, mask);
        break;
    default: reduce(s, w, i, mask);
    }
    for (int k = 0; k < i->n_results; k++)
        w->defined[i->reg[k]] = (w->defined[i->reg[k]] & ~mask) | defined;
    return true;
}
