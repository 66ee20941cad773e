// Loads, stores and atomics. Each access is checked for bounds, alignment, values that nobody wrote, and for other threads that
// touched the place and are not ordered with it (sim_race.c).
#include "sim_state.h"

#include <string.h>

static const uint8_t memory_bytes[] = {[TYPE_pred] = 1, [TYPE_u8] = 1, [TYPE_s8] = 1, [TYPE_u16] = 2, [TYPE_s16] = 2,
    [TYPE_u32] = 4, [TYPE_s32] = 4, [TYPE_f32] = 4, [TYPE_u64] = 8, [TYPE_s64] = 8, [TYPE_f64] = 8};

static const char *verb(const Access *a)
{
    return a->writes && a->reads ? "updates" : a->writes ? "writes" : "reads";
}

// --- global memory

static const SimRegion *nearest_region(const Sim *s, uint64_t address, uint64_t *out_past)
{
    const SimRegion *best = NULL;
    for (size_t i = 0; i < s->launch->n_regions; i++) {
        const SimRegion *r = &s->launch->region[i];
        uint64_t past = address < r->base ? r->base - address : address - r->base;
        if (!best || past < *out_past) {
            best = r;
            *out_past = past;
        }
    }
    return best;
}

static bool fail_outside(Sim *s, const Access *a)
{
    uint64_t past = 0;
    const SimRegion *r = nearest_region(s, a->address, &past);
    if (!r)
        return sim_fail(s, a->insn, "thread %u %s global memory, and the launch has no buffers", a->thread, verb(a));
    return sim_fail(s, a->insn, "thread %u %s %zu bytes outside of every buffer: %llu bytes %s the start of '%s', which has %zu",
                    a->thread, verb(a), a->bytes, (unsigned long long)past, a->address < r->base ? "before" : "after", r->name,
                    r->bytes);
}

static bool holds(const SimRegion *r, const Access *a)
{
    return a->address >= r->base && a->address - r->base <= r->bytes && r->bytes - (a->address - r->base) >= a->bytes;
}

static bool find_global(Sim *s, const Access *a, Place *out)
{
    const SimLaunch *l = s->launch;
    const SimRegion *found = NULL;
    for (size_t k = 0; k < l->n_regions && !found; k++) {
        size_t i = (s->last_region + k) % l->n_regions;
        const SimRegion *r = &l->region[i];
        if (holds(r, a) && (!a->writes || r->is_writable)) {
            s->last_region = i;
            found = r;
        }
    }
    if (!found) {
        for (size_t i = 0; i < l->n_regions; i++)
            if (holds(&l->region[i], a))
                return sim_fail(s, a->insn, "thread %u writes to '%s', which the kernel may only read", a->thread, l->region[i].name);
        return fail_outside(s, a);
    }
    size_t at = (size_t)(a->address - found->base);
    *out = (Place){found->data + at, found->defined ? found->defined + at : NULL};
    for (size_t b = 0; a->reads && out->defined && b < a->bytes; b++)
        if (!out->defined[b])
            return sim_fail(s, a->insn, "thread %u reads byte %zu of '%s', which nobody wrote", a->thread, at + b, found->name);
    // It lies in one page, because it is aligned.
    return !s->can_change[s->last_region] || sim_check_race(s, a, &sim_page(s, a->address)->ground, a->address % PAGE_BYTES, at, found->name);
}

// --- shared and local memory

static bool find_shared(Sim *s, const Access *a, Place *out)
{
    if (a->address > s->shared_bytes || s->shared_bytes - a->address < a->bytes)
        return sim_fail(s, a->insn, "thread %u %s %zu bytes at %llu of shared memory, which has %zu", a->thread, verb(a), a->bytes,
                        (unsigned long long)a->address, s->shared_bytes);
    size_t at = (size_t)a->address;
    *out = (Place){s->shared + at, s->shared_defined + at};
    if (s->n_mbarriers && !a->is_mbarrier && sim_mbarrier_at(s, at, a->bytes))
        return sim_fail(s, a->insn, "thread %u %s %zu bytes at %zu of shared memory, where a barrier is", a->thread, verb(a), a->bytes, at);
    for (size_t b = 0; b < a->bytes; b++) {
        if (s->shared_gap && s->shared_gap[at + b])
            return sim_fail(s, a->insn, "thread %u %s byte %zu of shared memory, which no array has", a->thread, verb(a), at + b);
        if (s->shared_flight[at + b])
            return sim_fail(s, a->insn, "thread %u %s byte %zu of shared memory while a copy to it is under way", a->thread, verb(a), at + b);
        if (a->reads && !out->defined[b] && !s->launch->fill_is_unset)
            return sim_fail(s, a->insn, "thread %u reads byte %zu of shared memory, which nobody wrote", a->thread, at + b);
    }
    return sim_check_race(s, a, &s->ground, at, at, NULL);
}

static bool find_local(Sim *s, const Access *a, Place *out)
{
    const size_t size = s->kernel->local_bytes;
    if (a->address > size || size - a->address < a->bytes)
        return sim_fail(s, a->insn, "thread %u %s %zu bytes at %llu of its local memory, which has %zu", a->thread, verb(a),
                        a->bytes, (unsigned long long)a->address, size);
    size_t at = a->thread * size + (size_t)a->address;
    *out = (Place){s->local + at, s->local_defined + at};
    for (size_t b = 0; a->reads && b < a->bytes; b++)
        if (!out->defined[b])
            return sim_fail(s, a->insn, "thread %u reads byte %llu of its local memory, which it never wrote", a->thread,
                            (unsigned long long)(a->address + b));
    return true;
}

static bool find_param(Sim *s, const Access *a, Place *out)
{
    if (a->address > s->kernel->param_bytes || s->kernel->param_bytes - a->address < a->bytes)
        return sim_fail(s, a->insn, "reads past the kernel's parameters");
    *out = (Place){s->param + a->address, NULL};
    return true;
}

// What the access adds to the trace of the launch; `bits`: what it stores.
static void trace(const Sim *s, PtxSpace space, const Access *a, uint64_t bits)
{
    if (!s->launch->trace || (space != SPACE_GLOBAL && space != SPACE_SHARED))
        return;
    const uint64_t part[] = {a->address, bits, space == SPACE_SHARED ? s->block_number : 0,
                             (uint64_t)a->bytes << 8 | (uint64_t)space << 2 | (uint64_t)a->reads << 1 | a->writes};
    uint64_t h = 0;
    for (size_t k = 0; k < sizeof part / sizeof *part; k++) {
        h = (h ^ part[k]) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 29;
    }
    s->launch->trace[0] += h;
    s->launch->trace[1] += space == SPACE_GLOBAL && a->writes ? h : 0;
}

bool sim_find(Sim *s, PtxSpace space, const Access *a, Place *out)
{
    trace(s, space, a, 0);
    if (a->address % a->bytes != 0)
        return sim_fail(s, a->insn, "thread %u %s %zu bytes at the address 0x%llx, which is no multiple of %zu", a->thread, verb(a),
                        a->bytes, (unsigned long long)a->address, a->bytes);
    switch (space) {
    case SPACE_GLOBAL: return find_global(s, a, out);
    case SPACE_SHARED: return find_shared(s, a, out);
    case SPACE_LOCAL:  return find_local(s, a, out);
    case SPACE_PARAM:  return find_param(s, a, out);
    case SPACE_NONE: case SPACE_GENERIC: break;
    }
    return sim_fail(s, a->insn, "an access to no space");
}

PtxSpace sim_narrow_generic(uint64_t *address)
{
    if (*address - SIM_SHARED_WINDOW < SIM_WINDOW_BYTES) {
        *address -= SIM_SHARED_WINDOW;
        return SPACE_SHARED;
    }
    if (*address - SIM_LOCAL_WINDOW < SIM_WINDOW_BYTES) {
        *address -= SIM_LOCAL_WINDOW;
        return SPACE_LOCAL;
    }
    return SPACE_GLOBAL;
}

// --- counters

// A sector that this launch had not read or written before comes from memory, or goes there.
static void count_first_touch(Sim *s, uint64_t sector, bool reads, bool writes)
{
    const uint64_t address = sector * SECTOR_BYTES, k = address % PAGE_BYTES / SECTOR_BYTES, bit = UINT64_C(1) << k % 64;
    Page *p = sim_page(s, address);
    if (reads && !((p->read[k / 64] | p->written[k / 64]) & bit))
        s->counters->first_read_sectors++;
    if (writes && !(p->written[k / 64] & bit))
        s->counters->first_written_sectors++;
    p->read[k / 64] |= reads ? bit : 0;
    p->written[k / 64] |= writes ? bit : 0;
}

// Sectors of 32 bytes that the lanes of a warp touch.
void sim_count_global(Sim *s, const uint64_t *address, size_t bytes, uint32_t mask, bool reads, bool writes)
{
    uint64_t seen[2 * WARP_LANES];
    size_t n = 0;
    for (int l = 0; l < WARP_LANES; l++) {
        if (!(mask >> l & 1))
            continue;
        for (uint64_t sector = address[l] / SECTOR_BYTES; sector <= (address[l] + bytes - 1) / SECTOR_BYTES; sector++) {
            size_t i = n;
            while (i > 0 && seen[i - 1] != sector)
                i--;
            if (i == 0 && n < 2 * WARP_LANES)
                seen[n++] = sector;
        }
    }
    for (size_t i = 0; i < n; i++)
        count_first_touch(s, seen[i], reads, writes);
    s->counters->global_requests++;
    s->counters->global_sectors += n;
    s->counters->global_bytes += bytes * (uint64_t)__builtin_popcount(mask);
}

// Passes beyond the first: the largest number of different words that lanes want from one of the 32 banks. Wider
// accesses are served for so many lanes at a time that a pass moves 128 bytes at most.
void sim_count_shared(Sim *s, const uint64_t *address, size_t bytes, uint32_t mask)
{
    const int lanes_at_once = bytes <= 4 ? WARP_LANES : (int)(128 / bytes);
    s->counters->shared_requests++;
    s->counters->shared_bytes += bytes * (uint64_t)__builtin_popcount(mask);
    for (int from = 0; from < WARP_LANES; from += lanes_at_once) {
        uint64_t word[WARP_LANES];
        uint8_t depth[WARP_LANES] = {0}, most = 0;
        int n = 0;
        for (int l = from; l < from + lanes_at_once; l++) {
            if (!(mask >> l & 1))
                continue;
            const uint64_t w = address[l] / (bytes < 4 ? 4 : bytes);
            int k = n;
            while (k > 0 && word[k - 1] != w)
                k--;
            if (k > 0)
                continue;
            word[n++] = w;
            uint8_t *d = &depth[address[l] / 4 % WARP_LANES];
            most = ++*d > most ? *d : most;
        }
        s->counters->bank_conflicts += most > 1 ? (uint64_t)(most - 1) : 0;
    }
}

// --- values

// A register may be wider than what is stored of it.
static uint64_t get(const Sim *s, const Slot *from, int32_t reg, PtxType type, int lane)
{
    switch (reg < 0 ? (memory_bytes[type] < 2 ? 2 : memory_bytes[type]) : s->kernel->slot_bytes[reg]) {
    case 2: return from->u16[lane];
    case 4: return from->u32[lane];
    default: return from->u64[lane];
    }
}

// Widens by the sign of the type, to 64 bits; what the register is too narrow for is not read.
static void put(const Sim *s, Slot *to, int32_t reg, PtxType type, int lane, uint64_t bits)
{
    if (type == TYPE_s8)
        bits = (uint64_t)(int64_t)(int8_t)bits;
    else if (type == TYPE_s16)
        bits = (uint64_t)(int64_t)(int16_t)bits;
    else if (type == TYPE_s32)
        bits = (uint64_t)(int64_t)(int32_t)bits;
    switch (s->kernel->slot_bytes[reg]) {
    case 2: to->u16[lane] = (uint16_t)bits; break;
    case 4: to->u32[lane] = (uint32_t)bits; break;
    default: to->u64[lane] = bits;
    }
}

static void load(Sim *s, Warp *w, const PtxInsn *i, int lane, Place at)
{
    const PtxRow *row = &ptx_row[i->form];
    const PtxType type = (PtxType)row->type[0];
    const size_t bytes = memory_bytes[type];
    for (size_t v = 0; v < row->n; v++) {
        uint64_t bits = 0;
        memcpy(&bits, at.data + v * bytes, bytes);
        put(s, &w->reg[i->reg[v]], i->reg[v], type, lane, bits);
    }
}

// What has no value leaves none behind.
static void store(Sim *s, Warp *w, const PtxInsn *i, int lane, PtxSpace space, const Access *a, Place at)
{
    const PtxRow *row = &ptx_row[i->form];
    const PtxType type = (PtxType)row->type[0];
    const size_t bytes = memory_bytes[type];
    for (size_t v = 0; v < row->n; v++) {
        const int32_t reg = i->reg[v];
        const uint64_t bits = get(s, sim_source(s, w, reg), reg, type, lane);
        memcpy(at.data + v * bytes, &bits, bytes);
        trace(s, space, a, bits ^ (v + 1) << 60);
        if (at.defined)
            memset(at.defined + v * bytes, reg < 0 || (w->defined[reg] >> lane & 1), bytes);
    }
}

static void update(Sim *s, Warp *w, const PtxInsn *i, int lane, Place at)
{
    const PtxRow *row = &ptx_row[i->form];
    const PtxType type = (PtxType)row->type[0];
    uint64_t bits = 0, operand[2] = {0};
    memcpy(&bits, at.data, memory_bytes[type]);
    for (int v = 0; v < row->n; v++)
        operand[v] = get(s, sim_source(s, w, i->reg[i->n_results + v]), i->reg[i->n_results + v], type, lane);
    const uint64_t result = sim_atomic((PtxForm)i->form, bits, operand[0], operand[1]);
    if (row->kind == KIND_ATOM)
        put(s, &w->reg[i->reg[0]], i->reg[0], type, lane, bits);
    memcpy(at.data, &result, memory_bytes[type]);
}

uint64_t sim_address(const Sim *s, const Warp *w, const PtxAddress *a, int lane)
{
    const Slot *base = a->reg == NO_REG ? NULL : sim_source(s, w, a->reg);
    return (base ? a->is_narrow ? base->u32[lane] : base->u64[lane] : 0) + (uint64_t)a->offset;
}

bool sim_memory(Sim *s, Warp *w, const PtxInsn *i, uint32_t mask)
{
    const PtxRow *row = &ptx_row[i->form];
    const bool is_atomic = row->kind == KIND_ATOM || row->kind == KIND_RED;
    if (i->address[0].reg != NO_REG && !sim_is_defined(s, w, i, i->address[0].reg, mask))
        return false;
    for (int k = i->n_results; is_atomic && k < i->n_regs; k++)
        if (!sim_is_defined(s, w, i, i->reg[k], mask))
            return false;
    Access a = {.insn = i, .warp = w, .bytes = (size_t)memory_bytes[row->type[0]] * (is_atomic ? 1 : row->n),
                .reads = row->kind != KIND_ST, .writes = row->kind != KIND_LD, .is_strong = row->is_strong};
    uint64_t address[WARP_LANES] = {0};
    PtxSpace space = row->space;
    uint32_t unset = 0;
    for (int l = 0; l < WARP_LANES; l++) {
        if (!(mask >> l & 1))
            continue;
        Place place = {0};
        address[l] = sim_address(s, w, &i->address[0], l);
        space = row->space == SPACE_GENERIC ? sim_narrow_generic(&address[l]) : row->space;
        a.address = address[l];
        a.thread = w->first_thread + (uint32_t)l;
        if (!sim_find(s, space, &a, &place))
            return false;
        for (int v = 0; space == SPACE_GLOBAL && a.writes && v < i->n_regs; v++)
            if (!sim_is_defined(s, w, i, i->reg[v], UINT32_C(1) << l & (v < i->n_results ? 0 : UINT32_MAX)))
                return false;
        unset |= (uint32_t)(a.reads && place.defined && memchr(place.defined, 0, a.bytes)) << l;
        if (is_atomic)
            update(s, w, i, l, place);
        else if (row->kind == KIND_LD)
            load(s, w, i, l, place);
        else
            store(s, w, i, l, space, &a, place);
    }
    for (int v = 0; v < i->n_results; v++)
        w->defined[i->reg[v]] = (w->defined[i->reg[v]] | mask) & ~unset;
    if (space == SPACE_GLOBAL)
        sim_count_global(s, address, a.bytes, mask, a.reads, a.writes);
    else if (space == SPACE_SHARED)
        sim_count_shared(s, address, a.bytes, mask);
    return true;
}
