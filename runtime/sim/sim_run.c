// Runs the blocks of a launch one after another, the warps of a block in turns, in an order that the seed decides. Which lanes of a warp run is
// sim_lanes.c.
#include "sim_state.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { TURN = 4096 };                       // instructions of a warp before the next one's turn

const char *sim_opcode(const PtxInsn *i, char *out, size_t room)
{
    snprintf(out, room, "%s", ptx_row[i->form].name);
    for (char *c = out; *c; c++)
        *c = *c == '_' ? '.' : *c;
    return out;
}

bool sim_fail(Sim *s, const PtxInsn *i, const char *format, ...)
{
    char text[512], opcode[64], source[256] = "";
    const PtxModule *m = s->launch->module;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (i->source_line && i->source_file < m->n_files) {        // NVRTC puts the current folder before the name
        const char *path = m->file[i->source_file], *slash = strrchr(path, '/');
        snprintf(source, sizeof source, " (%s:%u)", slash ? slash + 1 : path, i->source_line);
    }
    const char *model = s->launch->line ? s->launch->line : "";
    if (!s->failed)
        status_fail(s->why, STATUS_INTERNAL, "%s:%u: %s: %s, in block %u of kernel '%s'%s%s%s", m->name, i->line,
                    sim_opcode(i, opcode, sizeof opcode), text, s->block[0], s->kernel->name, source, model[0] ? " for " : "", model);
    s->failed = true;
    return false;
}

bool sim_is_defined(Sim *s, const Warp *w, const PtxInsn *i, int32_t reg, uint32_t mask)
{
    if (reg < 0 || !(mask & ~w->defined[reg]))
        return true;
    char name[64];
    return sim_fail(s, i, "thread %u reads %s, which has no value",
                    w->first_thread + (uint32_t)__builtin_ctz(mask & ~w->defined[reg]),
                    ptx_register_name(s->kernel, reg, name, sizeof name));
}

// --- instructions

// The lanes that an instruction is for; 0 after a failure, or when it is for none.
static uint32_t guarded(Sim *s, const Warp *w, const PtxInsn *i)
{
    if (i->guard == NO_REG)
        return w->mask;
    if (!sim_is_defined(s, w, i, i->guard, w->mask))
        return 0;
    uint32_t yes = 0;
    const Slot *p = sim_source(s, w, i->guard);
    for (int l = 0; l < WARP_LANES; l++)
        yes |= (uint32_t)p->pred[l] << l;
    return (i->guard_not ? ~yes : yes) & w->mask;
}

// The lanes whose result follows from registers that have a value. A compiler computes ahead what it may not need, so "no value" is
// carried along; it must not decide a jump or an address, and what it is stored to has no value either. A choice needs what it
// chooses, one side of a conjunction can be enough, and a register's low half has a value where the half put into it had one.
static uint32_t defined_lanes(const Sim *s, const Warp *w, const PtxInsn *i)
{
    uint32_t known[4] = {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX};
    for (int k = 1; k < i->n_regs && k < 4; k++)
        known[k] = i->reg[k] < 0 ? UINT32_MAX : w->defined[i->reg[k]];
    if (i->form == FORM_cvt_u32_u64 && i->reg[1] >= 0)
        known[1] |= w->low_defined[i->reg[1]];
    const uint32_t all = known[1] & known[2] & known[3];
    if (all == UINT32_MAX)
        return all;
    const char *name = ptx_row[i->form].name;
    uint32_t yes[4] = {0};
    for (int k = 1; k < i->n_regs && k < 4; k++)
        for (int l = 0; l < WARP_LANES; l++)
            yes[k] |= (uint32_t)(sim_source(s, w, i->reg[k])->pred[l] & 1) << l;
    if (strncmp(name, "selp", 4) == 0)
        return known[3] & ((yes[3] & known[1]) | (~yes[3] & known[2]));
    if (i->form == FORM_and_pred)
        return all | (known[1] & ~yes[1]) | (known[2] & ~yes[2]);
    if (i->form == FORM_or_pred)
        return all | (known[1] & yes[1]) | (known[2] & yes[2]);
    return all;
}

// Additions and products count once, fused ones twice.
static uint64_t flops_of(uint16_t form)
{
    switch (form) {
    case FORM_fma_rn_f32: return 2;
    case FORM_add_f32: case FORM_add_rn_f32: case FORM_sub_f32: case FORM_sub_rn_f32: case FORM_mul_f32: case FORM_mul_rn_f32: return 1;
    default: return 0;
    }
}

static void run_alu(Sim *s, Warp *w, const PtxInsn *i, uint32_t mask)
{
    const Slot *from[3] = {0};
    for (int k = 1; k < i->n_regs; k++)
        from[k - 1] = sim_source(s, w, i->reg[k]);
    const uint32_t defined = defined_lanes(s, w, i);
    sim_alu((PtxForm)i->form, &w->reg[i->reg[0]], from[0], from[1], from[2], mask);
    w->defined[i->reg[0]] = (w->defined[i->reg[0]] & ~mask) | (defined & mask);
    s->counters->flops += flops_of(i->form) * (uint64_t)__builtin_popcount(mask);
}

// Returns false after a failure. Moves w->at on.
static bool run_control(Sim *s, Warp *w, const PtxInsn *i, uint32_t mask)
{
    switch (i->form) {
    case FORM_bra: case FORM_bra_uni:
        if (i->form == FORM_bra_uni && mask != 0 && mask != w->mask)
            return sim_fail(s, i, "lanes part at a jump that says they do not");
        sim_branch(s, w, i, mask);
        return true;
    case FORM_ret: case FORM_exit:
        return sim_check_landed(s, w, i, mask) && sim_leave(s, w, mask, true);
    case FORM_bar_sync: case FORM_barrier_sync: case FORM_barrier_sync_aligned:
        if (i->number[0] >= BARRIERS)
            return sim_fail(s, i, "barrier %u; a block has %d", i->number[0], BARRIERS);
        if (!mask)
            break;
        return (i->form == FORM_barrier_sync || sim_check_together(s, w, i, mask)) && sim_leave(s, w, mask, false);
    case FORM_trap:
        if (mask)
            return sim_fail(s, i, "thread %u stops the kernel", w->first_thread + (uint32_t)__builtin_ctz(mask));
        break;
    default:                                // fences order nothing that the simulator delays
        break;
    }
    w->at++;
    return true;
}

static bool run_other(Sim *s, Warp *w, const PtxInsn *i, uint32_t mask)
{
    bool good = true;
    if (ptx_row[i->form].meets != MEETS_NOBODY && mask)
        return sim_meet(s, w, i, mask);
    switch (ptx_row[i->form].unit) {
    case UNIT_CONTROL:  return run_control(s, w, i, mask);
    case UNIT_EXCHANGE: good = !mask || sim_exchange(s, w, i, mask); break;
    case UNIT_TENSOR:   break;              // for nobody
    case UNIT_COPY:     good = !mask || sim_copy(s, w, i, mask); break;
    case UNIT_MBARRIER: good = !mask || sim_mbarrier(s, w, i, mask); break;
    case UNIT_NONE:     break;
    }
    w->at++;
    return good;
}

static bool step(Sim *s, Warp *w)
{
    if (w->at >= s->kernel->n_insns)
        return sim_fail(s, &s->kernel->insn[s->kernel->n_insns - 1], "a thread runs past the end");
    const PtxInsn *i = &s->kernel->insn[w->at];
    if (i->begins && w->n_parted)
        sim_join(w, i->begins);
    const uint32_t mask = guarded(s, w, i);
    w->n_instructions++;
    s->counters->instructions++;
    s->counters->thread_instructions += (uint64_t)__builtin_popcount(mask);
    if (s->failed)
        return false;
    switch (ptx_row[i->form].kind) {
    case KIND_ALU:
        if (mask)
            run_alu(s, w, i, mask);
        break;
    case KIND_LD: case KIND_ST: case KIND_ATOM: case KIND_RED:
        if (mask && !sim_memory(s, w, i, mask))
            return false;
        break;
    case KIND_OTHER:
        return run_other(s, w, i, mask);
    }
    w->at++;
    return true;
}

// A turn of a warp: until all its lanes ended or wait, or the turn is over.
static bool run_warp(Sim *s, Warp *w)
{
    const uint64_t most = s->launch->max_instructions ? s->launch->max_instructions : UINT64_C(1) << 36;
    const int length = s->random ? 1 + (int)(sim_random(s) % (sim_random(s) & 1 ? TURN : 16)) : TURN;
    const uint32_t n_idle_waits = s->n_idle_waits;
    for (int turn = 0; turn < length && w->mask; turn++) {
        if (!step(s, w))
            return false;
        if (w->mask && w->at >= w->until)
            sim_pick_lanes(s, w);
        if (w->n_instructions > most && w->mask && w->at < s->kernel->n_insns)
            return sim_fail(s, &s->kernel->insn[w->at], "the warp of thread %u ran %llu instructions and does not end",
                            w->first_thread, (unsigned long long)most);
    }
    if (s->n_idle_waits == n_idle_waits)
        s->n_idle_waits = 0;
    return true;
}

// --- blocks

static uint32_t expected_at(const Sim *s, const PtxInsn *barrier)
{
    return barrier->n_numbers > 1 ? barrier->number[1] : s->n_threads;
}

// The lanes of the warp that wait at barrier `id`. *out_barrier: one of the instructions where they do.
static uint32_t waiting_at(const Sim *s, const Warp *w, uint32_t id, const PtxInsn **out_barrier)
{
    uint32_t mask = 0;
    for (int l = 0; w->waiting && l < WARP_LANES; l++) {
        const PtxInsn *here = w->waiting >> l & 1 ? &s->kernel->insn[w->pc[l]] : NULL;
        if (here && here->number[0] == id) {
            mask |= UINT32_C(1) << l;
            *out_barrier = here;
        }
    }
    return mask;
}

// How many threads wait at barrier `id`, and one of the instructions where they do. Returns false after a failure.
static bool count_waiting(Sim *s, uint32_t id, uint32_t *out_n, const PtxInsn **out_barrier)
{
    *out_n = 0;
    for (uint32_t k = 0; k < s->n_warps; k++) {
        const PtxInsn *here = NULL;
        const uint32_t mask = waiting_at(s, &s->warp[k], id, &here);
        if (!mask)
            continue;
        if (*out_barrier && expected_at(s, *out_barrier) != expected_at(s, here))
            return sim_fail(s, here, "the barrier is for %u threads here and for %u at line %u", expected_at(s, here),
                            expected_at(s, *out_barrier), (*out_barrier)->line);
        *out_barrier = here;
        *out_n += (uint32_t)__builtin_popcount(mask);
    }
    return true;
}

// Lets those at the barrier go on; what each warp that is there did until now is over for all of them. A warp that is there in part is not
// told apart from its other lanes, so it gives and takes nothing.
static void release(Sim *s, uint32_t id)
{
    uint32_t *known = s->joined;
    const PtxInsn *here = NULL;
    memset(known, 0, s->n_warps * sizeof *known);
    for (uint32_t k = 0; k < s->n_warps; k++) {
        Warp *w = &s->warp[k];
        if (!w->waiting || waiting_at(s, w, id, &here) != w->live)
            continue;
        w->known[k] = ++w->clock;
        for (uint32_t v = 0; v < s->n_warps; v++)
            known[v] = w->known[v] > known[v] ? w->known[v] : known[v];
    }
    for (uint32_t k = 0; k < s->n_warps; k++) {
        Warp *w = &s->warp[k];
        const uint32_t mask = waiting_at(s, w, id, &here);
        if (!mask)
            continue;
        if (mask == w->live)
            memcpy(w->known, known, s->n_warps * sizeof *known);
        for (int l = 0; l < WARP_LANES; l++)
            w->pc[l] += mask >> l & 1;
        w->waiting &= ~mask;
        sim_pick_lanes(s, w);
    }
    s->counters->barriers++;
}

// All lanes of all warps ended or wait. Lets those go on whose barrier is complete.
static bool release_barriers(Sim *s)
{
    const PtxInsn *left = NULL;
    uint32_t n_left = 0;
    bool any = false;
    for (uint32_t id = 0; id < BARRIERS; id++) {
        const PtxInsn *barrier = NULL;
        uint32_t n = 0;
        if (!count_waiting(s, id, &n, &barrier))
            return false;
        if (n == 0)
            continue;
        const uint32_t expected = expected_at(s, barrier);
        if (n > expected || (barrier->n_numbers > 1 && expected % WARP_LANES != 0))
            return sim_fail(s, barrier, "%u threads wait at a barrier for %u", n, expected);
        if (n == expected) {
            release(s, id);
            any = true;
        } else {
            left = barrier;
            n_left = n;
        }
    }
    if (any)
        return true;
    if (!sim_check_parked(s))
        return false;
    if (!left)
        return true;
    if (expected_at(s, left) == s->n_threads)
        return sim_fail(s, left, "%u threads wait at the barrier, and the other %u have ended or wait elsewhere", n_left,
                        s->n_threads - n_left);
    return sim_fail(s, left, "%u threads wait at the barrier for %u, and nobody else runs", n_left, expected_at(s, left));
}

static void set_special(Sim *s, Warp *w, PtxSpecial which, uint32_t lane, uint32_t value)
{
    const int32_t slot = s->kernel->special[which];
    if (slot == NO_REG)
        return;
    w->reg[slot].u32[lane] = value;
    w->defined[slot] = UINT32_MAX;
}

static void start_warp(Sim *s, Warp *w, uint32_t first)
{
    const uint32_t *block = s->launch->block, *grid = s->launch->grid;
    memset(w->defined, 0, (size_t)s->kernel->n_slots * sizeof *w->defined);
    memset(w->low_defined, 0, (size_t)s->kernel->n_slots * sizeof *w->low_defined);
    w->first_thread = first;
    w->index = first / WARP_LANES;
    w->clock = 1;
    memset(w->known, 0, s->n_warps * sizeof *w->known);
    memset(w->n_groups, 0, sizeof w->n_groups);
    w->live = w->waiting = w->parked = w->mask = w->at = w->n_backward = 0;
    w->n_instructions = 0;
    w->n_parted = 0;
    memset(w->parted, 0, s->kernel->n_joins * sizeof *w->parted);
    for (uint32_t l = 0; l < WARP_LANES; l++) {
        const uint32_t t = first + l;
        const uint32_t tid[3] = {t % block[0], t / block[0] % block[1], t / block[0] / block[1]};
        if (t < s->n_threads)
            w->live |= UINT32_C(1) << l;
        w->pc[l] = 0;
        for (uint32_t d = 0; d < 3; d++) {
            set_special(s, w, (PtxSpecial)(SPECIAL_TID_X + d), l, tid[d]);
            set_special(s, w, (PtxSpecial)(SPECIAL_NTID_X + d), l, block[d]);
            set_special(s, w, (PtxSpecial)(SPECIAL_CTAID_X + d), l, s->block[d]);
            set_special(s, w, (PtxSpecial)(SPECIAL_NCTAID_X + d), l, grid[d]);
        }
        set_special(s, w, SPECIAL_LANEID, l, l);
    }
    sim_pick_lanes(s, w);
}

uint64_t sim_random(Sim *s)
{
    if (!s->random)
        return 0;
    s->random ^= s->random << 13;           // xorshift: never 0 again
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return s->random >> 11;
}

// The warps' order of turns: as they are, or shuffled.
static void order_warps(Sim *s)
{
    for (uint32_t k = 0; k < s->n_warps; k++)
        s->order[k] = k;
    for (uint32_t k = s->n_warps; s->random && k > 1; k--) {
        const uint32_t other = (uint32_t)(sim_random(s) % k), was = s->order[k - 1];
        s->order[k - 1] = s->order[other];
        s->order[other] = was;
    }
}

static bool run_block(Sim *s)
{
    memset(s->shared_defined, 0, s->shared_bytes);
    memset(s->shared_flight, 0, s->shared_bytes);
    sim_forget(&s->ground);
    memset(s->local_defined, 0, s->n_threads * s->kernel->local_bytes);
    s->n_flights = s->n_mbarriers = s->n_idle_waits = 0;
    for (uint32_t k = 0; k < s->n_warps; k++)
        start_warp(s, &s->warp[k], k * WARP_LANES);
    for (;;) {
        bool ran = false, waits = false;
        order_warps(s);
        for (uint32_t k = 0; k < s->n_warps; k++) {
            Warp *w = &s->warp[s->order[k]];
            ran = ran || w->mask;
            if (w->mask && !run_warp(s, w))
                return false;
            waits = waits || w->waiting || w->parked;
        }
        if (!ran && !waits)
            break;
        if (!ran && !release_barriers(s))
            return false;
    }
    s->counters->blocks++;
    return s->n_flights == 0 || sim_fail(s, &s->kernel->insn[s->kernel->n_insns - 1], "the block ends while thread %u's copy to byte %u of shared "
                                         "memory is under way", s->flight[0].thread, s->flight[0].to);
}

// --- the launch

static Status check_launch(const SimLaunch *l, const PtxKernel *k, StatusText *why)
{
    const uint64_t threads = (uint64_t)l->block[0] * l->block[1] * l->block[2];
    if (!k)
        return status_fail(why, STATUS_INTERNAL, "%s has no kernel '%s'", l->module->name, l->kernel);
    if (l->block[0] > 1024 || l->block[1] > 1024 || l->block[2] > 64 || threads == 0 || threads > 1024)
        return status_fail(why, STATUS_INTERNAL, "kernel '%s': a block of %u by %u by %u threads; it has 1 to 1024", k->name,
                           l->block[0], l->block[1], l->block[2]);
    if (k->max_threads && threads > k->max_threads)
        return status_fail(why, STATUS_INTERNAL, "kernel '%s': a block of %llu threads, and it says %u at most", k->name,
                           (unsigned long long)threads, k->max_threads);
    if (!l->grid[0] || l->grid[0] > INT32_MAX || !l->grid[1] || l->grid[1] > 65535 || !l->grid[2] || l->grid[2] > 65535)
        return status_fail(why, STATUS_INTERNAL, "kernel '%s': a grid of %u by %u by %u blocks", k->name, l->grid[0], l->grid[1],
                           l->grid[2]);
    if (l->n_args != k->n_params)
        return status_fail(why, STATUS_INTERNAL, "kernel '%s' takes %zu arguments, not %zu", k->name, k->n_params, l->n_args);
    if (k->shared_bytes + l->shared_bytes > 227 << 10)
        return status_fail(why, STATUS_INTERNAL, "kernel '%s' wants %zu bytes of shared memory; a block has 232448", k->name,
                           k->shared_bytes + l->shared_bytes);
    return STATUS_OK;
}

// Bytes between the arrays that the kernel declares.
static void find_gaps(Sim *s)
{
    const PtxKernel *k = s->kernel;
    s->shared_gap = arena_array(&s->arena, uint8_t, s->shared_bytes + 1);
    memset(s->shared_gap, 1, k->shared_bytes);
    for (size_t i = 0; i < k->n_symbols; i++)
        if (k->symbol[i].space == SPACE_SHARED)
            memset(s->shared_gap + k->symbol[i].offset, 0, k->symbol[i].bytes);
    if (!memchr(s->shared_gap, 1, k->shared_bytes))
        s->shared_gap = NULL;
}

static void find_what_changes(Sim *s)
{
    const SimLaunch *l = s->launch;
    s->can_change = arena_array(&s->arena, bool, l->n_regions + 1);
    for (size_t i = 0; i < l->n_regions; i++)
        for (size_t k = 0; k < l->n_regions; k++)
            s->can_change[i] |= l->region[k].is_writable && l->region[k].base < l->region[i].base + l->region[i].bytes
                                && l->region[i].base < l->region[k].base + l->region[k].bytes;
}

static void set_up(Sim *s)
{
    const SimLaunch *l = s->launch;
    const PtxKernel *k = s->kernel;
    Arena *arena = &s->arena;
    s->n_threads = l->block[0] * l->block[1] * l->block[2];
    s->n_warps = (s->n_threads + WARP_LANES - 1) / WARP_LANES;
    s->param = arena_array(arena, unsigned char, k->param_bytes + 1);
    size_t arg = 0;
    for (size_t i = 0; i < k->n_symbols; i++)
        if (k->symbol[i].space == SPACE_PARAM)
            memcpy(s->param + k->symbol[i].offset, &l->arg[arg++], k->symbol[i].bytes < 8 ? k->symbol[i].bytes : 8);
    s->shared_bytes = k->shared_bytes + l->shared_bytes;
    s->shared = arena_array(arena, unsigned char, s->shared_bytes + 1);
    s->shared_defined = arena_array(arena, uint8_t, s->shared_bytes + 1);
    s->shared_flight = arena_array(arena, uint8_t, s->shared_bytes + 1);
    s->ground.n_bytes = (s->shared_bytes + WORD) / WORD * WORD;
    find_gaps(s);
    find_what_changes(s);
    s->order = arena_array(arena, uint32_t, s->n_warps + 1);
    s->joined = arena_array(arena, uint32_t, s->n_warps + 1);
    s->random = l->seed;
    s->local = arena_array(arena, unsigned char, s->n_threads * k->local_bytes + 1);
    s->local_defined = arena_array(arena, uint8_t, s->n_threads * k->local_bytes + 1);
    s->warp = arena_array(arena, Warp, s->n_warps);
    for (uint32_t w = 0; w < s->n_warps; w++) {
        s->warp[w].reg = arena_array(arena, Slot, (size_t)k->n_slots + 1);
        s->warp[w].defined = arena_array(arena, uint32_t, (size_t)k->n_slots + 1);
        s->warp[w].low_defined = arena_array(arena, uint32_t, (size_t)k->n_slots + 1);
        s->warp[w].parted = arena_array(arena, uint32_t, k->n_joins);
        s->warp[w].parted_at = arena_array(arena, uint32_t, k->n_joins);
        s->warp[w].known = arena_array(arena, uint32_t, s->n_warps + 1);
    }
}

Status sim_launch(const SimLaunch *launch, SimCounters *counters, StatusText *why)
{
    const PtxKernel *k = ptx_find(launch->module, launch->kernel);
    Status status = check_launch(launch, k, why);
    if (status != STATUS_OK || k->n_insns == 0)
        return status;
    Sim s = {.launch = launch, .kernel = k, .counters = counters, .why = why};
    set_up(&s);
    counters->launches++;
    bool good = true;
    const uint64_t n = (uint64_t)launch->grid[0] * launch->grid[1] * launch->grid[2];
    // With a seed blocks begin somewhere and go round, in one direction or the other.
    const uint64_t first = sim_random(&s) % n;
    const bool is_backward = sim_random(&s) & 1;
    for (uint64_t turn = 0; turn < n && good; turn++) {
        const uint64_t b = (first + (is_backward ? n - turn : turn)) % n;
        s.block_number = (uint32_t)b + 1;
        s.block[0] = (uint32_t)(b % launch->grid[0]);
        s.block[1] = (uint32_t)(b / launch->grid[0] % launch->grid[1]);
        s.block[2] = (uint32_t)(b / launch->grid[0] / launch->grid[1]);
        good = run_block(&s);
    }
    arena_free(&s.arena);
    return good ? STATUS_OK : STATUS_INTERNAL;
}
