// Runs the blocks of a launch one after another, the warps of a block in turns. Lanes of a warp that went different ways
// run lowest instruction first, so that they meet again at the earliest place; a lane that jumps back very often makes
// room for the others, so that threads which wait for one another go on.
#include "sim_state.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { TURN = 4096,                         // instructions of a warp before the next one's turn
       PATIENCE = 1024 };                   // jumps back before other lanes of the warp are preferred

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

// --- which lanes run

// Leaves the lanes of `mask` where they are and picks those that run next: the lowest, or the highest when the lowest
// were preferred for too long. With no lane left mask is 0.
static void pick_lanes(Warp *w)
{
    for (int l = 0; l < WARP_LANES; l++)
        if (w->mask >> l & 1)
            w->pc[l] = w->at;
    const uint32_t ready = w->live & ~w->waiting;
    uint32_t low = UINT32_MAX, high = 0, chosen;
    for (int l = 0; l < WARP_LANES; l++)
        if (ready >> l & 1) {
            low = w->pc[l] < low ? w->pc[l] : low;
            high = w->pc[l] > high ? w->pc[l] : high;
        }
    chosen = low;
    if (w->n_backward > PATIENCE) {
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

static void branch(Sim *s, Warp *w, const PtxInsn *i, uint32_t taken)
{
    const uint32_t target = (uint32_t)i->offset;
    if (target <= w->at && w->until != UINT32_MAX)
        w->n_backward++;
    if (taken == w->mask) {
        const bool waits = (w->live & ~w->waiting) != w->mask;
        w->at = target;
        if (waits)
            pick_lanes(w);
        return;
    }
    if (taken)
        s->counters->divergent_branches++;
    for (int l = 0; l < WARP_LANES; l++)
        if (w->mask >> l & 1)
            w->pc[l] = taken >> l & 1 ? target : w->at + 1;
    w->mask = 0;
    pick_lanes(w);
}

// The lanes of `who` end, or wait at a barrier, at the instruction where they are; the rest goes on.
static void leave(Warp *w, uint32_t who, bool has_ended)
{
    for (int l = 0; l < WARP_LANES; l++)
        if (w->mask >> l & 1)
            w->pc[l] = who >> l & 1 ? w->at : w->at + 1;
    if (has_ended)
        w->live &= ~who;
    else
        w->waiting |= who;
    w->mask = 0;
    pick_lanes(w);
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

static bool is_move(uint16_t form)
{
    return strncmp(ptx_row[form].name, "mov_", 4) == 0;
}

static bool run_alu(Sim *s, Warp *w, const PtxInsn *i, uint32_t mask)
{
    const PtxRow *row = &ptx_row[i->form];
    const Slot *from[3] = {0};
    uint32_t defined = mask;
    for (int k = 1; k < row->n; k++) {
        from[k - 1] = sim_source(s, w, i->reg[k]);
        if (i->reg[k] < 0 || !(mask & ~w->defined[i->reg[k]]))
            continue;
        if (!is_move(i->form))
            return sim_is_defined(s, w, i, i->reg[k], mask);
        defined &= w->defined[i->reg[k]];
    }
    sim_alu((PtxForm)i->form, &w->reg[i->reg[0]], from[0], from[1], from[2], mask);
    w->defined[i->reg[0]] = (w->defined[i->reg[0]] & ~mask) | defined;
    return true;
}

// Returns false after a failure. Moves w->at on.
static bool run_control(Sim *s, Warp *w, const PtxInsn *i, uint32_t mask)
{
    switch (i->form) {
    case FORM_bra: case FORM_bra_uni:
        if (i->form == FORM_bra_uni && mask != 0 && mask != w->mask)
            return sim_fail(s, i, "lanes part at a jump that says they do not");
        branch(s, w, i, mask);
        return true;
    case FORM_ret: case FORM_exit:
        leave(w, mask, true);
        return true;
    case FORM_bar_sync:
        leave(w, mask, false);
        return true;
    case FORM_trap:
        if (mask)
            return sim_fail(s, i, "thread %u stops the kernel", w->first_thread + (uint32_t)__builtin_ctz(mask));
        break;
    case FORM_membar_cta: case FORM_membar_gl:
        break;
    default:
        if (mask && !sim_exchange(s, w, i, mask))
            return false;
    }
    w->at++;
    return true;
}

static bool step(Sim *s, Warp *w)
{
    if (w->at >= s->kernel->n_insns)
        return sim_fail(s, &s->kernel->insn[s->kernel->n_insns - 1], "a thread runs past the end");
    const PtxInsn *i = &s->kernel->insn[w->at];
    const uint32_t mask = guarded(s, w, i);
    w->n_instructions++;
    s->counters->instructions++;
    s->counters->thread_instructions += (uint64_t)__builtin_popcount(mask);
    if (s->failed)
        return false;
    switch (ptx_row[i->form].kind) {
    case KIND_ALU:
        if (mask && !run_alu(s, w, i, mask))
            return false;
        break;
    case KIND_LD: case KIND_ST: case KIND_ATOM: case KIND_RED:
        if (mask && !sim_memory(s, w, i, mask))
            return false;
        break;
    case KIND_CONTROL:
        return run_control(s, w, i, mask);
    }
    w->at++;
    return true;
}

// A turn of a warp: until all its lanes ended or wait, or the turn is over.
static bool run_warp(Sim *s, Warp *w)
{
    const uint64_t most = s->launch->max_instructions ? s->launch->max_instructions : UINT64_C(1) << 36;
    for (int turn = 0; turn < TURN && w->mask; turn++) {
        if (!step(s, w))
            return false;
        if (w->mask && w->at >= w->until)
            pick_lanes(w);
        if (w->n_instructions > most)
            return sim_fail(s, &s->kernel->insn[w->at], "the warp of thread %u ran %llu instructions and does not end",
                            w->first_thread, (unsigned long long)most);
    }
    return true;
}

// --- blocks

// All lanes of all warps ended or wait. Lets those that wait go on, when they are all there and at one barrier.
static bool release_barrier(Sim *s)
{
    const PtxInsn *barrier = NULL;
    uint32_t n_waiting = 0;
    for (uint32_t k = 0; k < s->n_warps; k++) {
        const Warp *w = &s->warp[k];
        const PtxInsn *of_warp = NULL;
        for (int l = 0; l < WARP_LANES; l++) {
            if (!(w->waiting >> l & 1))
                continue;
            const PtxInsn *here = &s->kernel->insn[w->pc[l]];
            n_waiting++;
            if (of_warp && of_warp != here)
                return sim_fail(s, here, "threads of one warp wait at this barrier and at the one of line %u", of_warp->line);
            of_warp = barrier = here;
        }
    }
    if (n_waiting < s->n_threads)
        return sim_fail(s, barrier, "%u threads wait at the barrier, and the other %u have ended", n_waiting, s->n_threads - n_waiting);
    for (uint32_t k = 0; k < s->n_warps; k++) {
        Warp *w = &s->warp[k];
        for (int l = 0; l < WARP_LANES; l++)
            w->pc[l] += w->waiting >> l & 1;
        w->waiting = 0;
        pick_lanes(w);
    }
    s->epoch++;
    s->counters->barriers++;
    return true;
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
    w->first_thread = first;
    w->live = w->waiting = w->mask = w->at = w->n_backward = 0;
    w->n_instructions = 0;
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
    pick_lanes(w);
}

static bool run_block(Sim *s)
{
    s->epoch++;
    memset(s->shared_defined, 0, s->shared_bytes);
    memset(s->local_defined, 0, s->n_threads * s->kernel->local_bytes);
    for (uint32_t k = 0; k < s->n_warps; k++)
        start_warp(s, &s->warp[k], k * WARP_LANES);
    for (;;) {
        bool ran = false, waits = false;
        for (uint32_t k = 0; k < s->n_warps; k++) {
            Warp *w = &s->warp[k];
            ran = ran || w->mask;
            if (w->mask && !run_warp(s, w))
                return false;
            waits = waits || w->waiting;
        }
        if (!ran && !waits)
            break;
        if (!ran && !release_barrier(s))
            return false;
    }
    s->counters->blocks++;
    return true;
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
    s->traffic = arena_array(arena, Traffic, s->shared_bytes + 1);
    s->local = arena_array(arena, unsigned char, s->n_threads * k->local_bytes + 1);
    s->local_defined = arena_array(arena, uint8_t, s->n_threads * k->local_bytes + 1);
    s->warp = arena_array(arena, Warp, s->n_warps);
    for (uint32_t w = 0; w < s->n_warps; w++) {
        s->warp[w].reg = arena_array(arena, Slot, (size_t)k->n_slots + 1);
        s->warp[w].defined = arena_array(arena, uint32_t, (size_t)k->n_slots + 1);
    }
}

void sim_counters_subtract(SimCounters *from, const SimCounters *what)
{
#define COUNTER(name) from->name -= what->name;
    SIM_COUNTERS
#undef COUNTER
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
    for (s.block[2] = 0; good && s.block[2] < launch->grid[2]; s.block[2]++)
        for (s.block[1] = 0; good && s.block[1] < launch->grid[1]; s.block[1]++)
            for (s.block[0] = 0; good && s.block[0] < launch->grid[0]; s.block[0]++)
                good = run_block(&s);
    arena_free(&s.arena);
    return good ? STATUS_OK : STATUS_INTERNAL;
}
