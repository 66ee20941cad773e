// Where ways that part come together again. Lanes that go different ways at a jump are one group again at the first instruction that is on
// every way from the jump to the end: the jump's nearest post-dominator. An instruction for the whole warp may not be done by lanes that are
// still apart, so every such place has a number, its join. A jump whose ways meet at the end only, or in no end, has join 0.
//
// Source: Cooper, Harvey and Kennedy, 2001, "A Simple, Fast Dominance Algorithm", figure 3; on the reversed graph of blocks.
#include "ptx_parser.h"

enum { NONE = -1, WAYS = 2 };

typedef struct Flow {
    int32_t  n;                             // blocks; block n is the end
    int32_t *first;                         // [n + 1] instruction
    int32_t *block_of;                      // [n_insns + 1]
    int32_t *next[WAYS];                    // [n] NONE: no such way
    int32_t *before, *n_before;             // [WAYS*n], [n + 2]: the blocks that lead to block b are before[n_before[b]] ..
    int32_t *order, n_order;                // blocks from which the end can be reached, each after all that it leads to, but for loops
    int32_t *rank;                          // [n + 1] in `order`; NONE: not there
    int32_t *joins;                         // [n + 1] the post-dominator; NONE: not known
} Flow;

static bool is_jump(const PtxInsn *i)
{
    return i->form == FORM_bra || i->form == FORM_bra_uni;
}

static bool is_end(const PtxInsn *i)
{
    return i->form == FORM_ret || i->form == FORM_exit || i->form == FORM_trap;
}

static void find_blocks(Arena *arena, const PtxKernel *k, Flow *f)
{
    const int32_t n_insns = (int32_t)k->n_insns;
    bool *leads = arena_array(arena, bool, k->n_insns + 1);
    leads[0] = true;
    for (int32_t i = 0; i < n_insns; i++) {
        if (is_jump(&k->insn[i]))
            leads[k->insn[i].target] = true;
        leads[i + 1] |= is_jump(&k->insn[i]) || is_end(&k->insn[i]);
    }
    f->block_of = arena_array(arena, int32_t, k->n_insns + 1);
    f->first = arena_array(arena, int32_t, k->n_insns + 1);
    for (int32_t i = 0; i < n_insns; i++) {
        if (leads[i])
            f->first[f->n++] = i;
        f->block_of[i] = f->n - 1;
    }
    f->first[f->n] = f->block_of[n_insns] = f->n;
    f->first[f->n] = n_insns;
}

static void find_ways(Arena *arena, const PtxKernel *k, Flow *f)
{
    const size_t n = (size_t)f->n;
    for (int w = 0; w < WAYS; w++)
        f->next[w] = arena_array(arena, int32_t, n + 1);
    f->n_before = arena_array(arena, int32_t, n + 2);
    f->before = arena_array(arena, int32_t, WAYS * n + 1);
    for (int32_t b = 0; b < f->n; b++) {
        const int32_t last = f->first[b + 1] - 1;
        const PtxInsn *i = &k->insn[last];
        const bool goes_on = i->guard != NO_REG || !(is_jump(i) || is_end(i));
        f->next[0][b] = is_jump(i) ? f->block_of[i->target] : is_end(i) ? f->n : NONE;
        f->next[1][b] = goes_on ? f->block_of[last + 1] : NONE;
        for (int w = 0; w < WAYS; w++)
            if (f->next[w][b] != NONE)
                f->n_before[f->next[w][b] + 1]++;
    }
    for (int32_t b = 0; b <= f->n; b++)
        f->n_before[b + 1] += f->n_before[b];
    int32_t *at = arena_array(arena, int32_t, n + 2);
    for (int32_t b = 0; b <= f->n; b++)
        at[b] = f->n_before[b];
    for (int32_t b = 0; b < f->n; b++)
        for (int w = 0; w < WAYS; w++)
            if (f->next[w][b] != NONE)
                f->before[at[f->next[w][b]]++] = b;
}

// From the end backwards; `order` gets a block when all that leads to it was visited.
static void find_order(Arena *arena, Flow *f)
{
    const size_t n = (size_t)f->n + 1;
    int32_t *stack = arena_array(arena, int32_t, n), *at = arena_array(arena, int32_t, n), depth = 1;
    bool *is_seen = arena_array(arena, bool, n);
    f->order = arena_array(arena, int32_t, n);
    f->rank = arena_array(arena, int32_t, n);
    for (int32_t b = 0; b <= f->n; b++) {
        f->rank[b] = NONE;
        at[b] = f->n_before[b];
    }
    stack[0] = f->n;
    is_seen[f->n] = true;
    while (depth > 0) {
        const int32_t b = stack[depth - 1];
        if (at[b] == f->n_before[b + 1]) {
            f->rank[b] = f->n_order;
            f->order[f->n_order++] = b;
            depth--;
            continue;
        }
        const int32_t from = f->before[at[b]++];
        if (!is_seen[from]) {
            is_seen[from] = true;
            stack[depth++] = from;
        }
    }
}

static int32_t common(const Flow *f, int32_t a, int32_t b)
{
    while (a != b) {
        while (f->rank[a] < f->rank[b])
            a = f->joins[a];
        while (f->rank[b] < f->rank[a])
            b = f->joins[b];
    }
    return a;
}

static void find_dominators(Arena *arena, Flow *f)
{
    f->joins = arena_array(arena, int32_t, (size_t)f->n + 1);
    for (int32_t b = 0; b < f->n; b++)
        f->joins[b] = NONE;
    f->joins[f->n] = f->n;
    for (bool changed = true; changed;) {
        changed = false;
        for (int32_t k = f->n_order - 2; k >= 0; k--) {         // the last is the end
            const int32_t b = f->order[k];
            int32_t to = NONE;
            for (int w = 0; w < WAYS; w++) {
                const int32_t next = f->next[w][b];
                if (next != NONE && f->joins[next] != NONE)
                    to = to == NONE ? next : common(f, to, next);
            }
            changed |= to != f->joins[b];
            f->joins[b] = to;
        }
    }
}

void ptx_find_joins(Parser *p, PtxKernel *k)
{
    Arena arena = {0};
    Flow f = {0};
    k->n_joins = 1;
    if (k->n_insns == 0)
        return;
    find_blocks(&arena, k, &f);
    find_ways(&arena, k, &f);
    find_order(&arena, &f);
    find_dominators(&arena, &f);
    for (int32_t b = 0; b < f.n; b++) {
        PtxInsn *jump = &k->insn[f.first[b + 1] - 1];
        const int32_t to = f.joins[b];
        if (jump->form != FORM_bra || jump->guard == NO_REG || to == NONE || to == f.n)
            continue;
        PtxInsn *join = &k->insn[f.first[to]];
        if (!join->begins && k->n_joins > UINT16_MAX) {
            p->line = jump->line;
            parser_fail(p, "a kernel with more than %d places where ways come together", UINT16_MAX);
            break;
        }
        if (!join->begins)
            join->begins = (uint16_t)k->n_joins++;
        jump->joins = join->begins;
    }
    arena_free(&arena);
}
