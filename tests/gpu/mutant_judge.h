// A mutant's run: a model loaded twice, on the cuda device over the simulator and as the reference, one of its kernels in another version, and
// what comes of it. Runs in three orders of blocks and warps, the last of a late training step.
#ifndef MIXC_MUTANT_JUDGE_H
#define MIXC_MUTANT_JUDGE_H

#include "mutant_run.h"

#include "kernel_edits.h"

enum { SEEDS = 3, LIMIT = 400000 };         // LIMIT: instructions of a warp; the longest original takes a tenth

typedef enum Fate {
    FATE_RACE, FATE_BOUNDS, FATE_UNSET, FATE_UNWRITTEN, FATE_BARRIER, FATE_COPY, FATE_HANG, FATE_OTHER, FATE_RESULT,     // killed
    FATE_SURVIVED, FATE_EQUAL,
    FATE_NOT_REACHED, FATE_SAME_CODE, FATE_NO_CODE,         // no mutants
    FATES, FATES_KILLED = FATE_SURVIVED
} Fate;

static const char *const fate_name[FATES] = {"race", "bounds", "unset", "unwritten", "barrier", "copy", "hang", "other", "result",
                                             "survived", "proved equal", "not reached", "same code", "no code"};

// The check that a finding of the simulator comes from.
static const struct { const char *part; Fate fate; } finding_row[] = {
    {"with no barrier between", FATE_RACE}, {"nothing orders blocks", FATE_RACE},
    {"while a copy to it is under way", FATE_COPY}, {"ends while its copy", FATE_COPY},
    {"which has no value", FATE_UNSET}, {"which nobody wrote", FATE_UNSET}, {"which it never wrote", FATE_UNSET},
    {"no launch wrote", FATE_UNWRITTEN},
    {"outside of every buffer", FATE_BOUNDS}, {"of shared memory, which has", FATE_BOUNDS}, {"which no array has", FATE_BOUNDS},
    {"of its local memory, which has", FATE_BOUNDS},
    {"which is no multiple", FATE_BOUNDS}, {"which the kernel may only read", FATE_BOUNDS}, {"an access to no space", FATE_BOUNDS},
    {"reads past the kernel's parameters", FATE_BOUNDS},
    {"does not end", FATE_HANG}, {"runs past the end", FATE_HANG},
    {"at the barrier", FATE_BARRIER}, {"at a barrier", FATE_BARRIER}, {"as members", FATE_BARRIER},
    {"which does not take part", FATE_BARRIER}, {"the whole warp must", FATE_BARRIER}, {"the barrier is for", FATE_BARRIER},
    {"lanes part at a jump", FATE_BARRIER},
};

typedef struct Candidate { size_t function, first; EditLevel level; EditSite site; } Candidate;

typedef struct Tally { int n[FATES]; } Tally;

typedef struct Test {
    Arena           arena;
    const NvrtcApi *nvrtc;
    EditRegex       re[EDIT_RULES];
    uint32_t        random;
    int             each;
    bool            is_verbose, is_full;
    int             proved[8];              // by Proof
    Tally           of_rule[EDIT_RULES], all;       // of_rule: at the first row of its level and name
    int             n_failed, n_kernels;
} Test;

typedef struct Subject {
    Arena       arena;
    const Line *line;
    SimDriver  *sim;
    Between     between;
    Loaded      got, want[2];               // want: of the first step, of a late one (zoo_step.h)
    Memory      start[2], base[2];
    size_t      base_at[2];                 // the launch that `base` is before
    int         n_steps;
    const char *prelude;
} Subject;

static inline void fail(Test *t, const char *model, const char *what)
{
    printf("FAIL %s: %s\n", model, what);
    t->n_failed++;
}

// --- running

// Memory as it is before launch `first` of a run of originals.
static inline void go_to(Subject *s, int step, size_t first)
{
    size_t *at = &s->base_at[step];
    if (first < *at) {
        memory_free(&s->base[step]);
        *at = 0;
    }
    memory_put_back(*at ? &s->base[step] : &s->start[step], s->sim);
    if (first == *at)
        return;
    s->sim->seed = 0;
    between_run(&s->between, *at, first - *at);
    memory_free(&s->base[step]);
    s->base[step] = memory_keep(s->sim);
    *at = first;
}

static inline Fate fate_of(const char *finding)
{
    for (size_t i = 0; i < sizeof finding_row / sizeof *finding_row; i++)
        if (strstr(finding, finding_row[i].part))
            return finding_row[i].fate;
    return FATE_OTHER;
}

// From launch `first` on, in that many orders of warps and blocks, the last of a late step. FATE_SURVIVED: nothing was found. *out_why: what was.
static inline Fate run_orders(Subject *s, size_t first, int orders, const char **out_why)
{
    for (int order = 0; order < orders; order++) {
        const int step = order + 1 == SEEDS && s->n_steps > 1;
        go_to(s, step, first);
        s->sim->seed = (uint64_t)order;
        const char *finding = between_run(&s->between, first, SIZE_MAX), *worst = "";
        if (finding) {
            *out_why = arena_strdup(&s->arena, finding);
            return fate_of(finding);
        }
        const double error = zoo_compare(s->line, step, &s->got, &s->want[step], &worst);
        if (!(error <= zoo_line_bound(s->line))) {
            *out_why = arena_printf(&s->arena, "'%s' differs by %.3g", worst, error);
            return FATE_RESULT;
        }
    }
    return FATE_SURVIVED;
}

// The kernel of this PTX in the place of function f, until it is given back. Memory goes to launch `first` by originals before.
static inline bool put_kernel(Subject *s, size_t f, size_t first, const char *ptx, int steps, Arena *arena, CudaModule *other, const char **out_why)
{
    StatusText why = {0};
    CudaFunction *function = s->between.function[f].function;
    if (ptx_parse(arena, "kernels.ptx", ptx, &other->ptx, &why) != STATUS_OK) {
        *out_why = arena_strdup(&s->arena, why.text);
        return false;
    }
    for (int step = 0; step < steps && step < s->n_steps; step++)
        go_to(s, step, first);
    function->module = other;
    function->kernel = ptx_find(other->ptx, s->between.function[f].name);
    return function->kernel != NULL;
}

static inline void give_kernel_back(Subject *s, size_t f)
{
    s->between.function[f].function->module = s->between.function[f].module;
    s->between.function[f].function->kernel = s->between.function[f].kernel;
}

// What a run with this PTX in the place of function f comes to.
static inline Fate run_with(Subject *s, size_t f, size_t first, const char *ptx, int orders, const char **out_why)
{
    Arena arena = {0};
    CudaModule other = {0};
    Fate fate = FATE_NO_CODE;
    if (put_kernel(s, f, first, ptx, orders == SEEDS ? 2 : 1, &arena, &other, out_why))
        fate = run_orders(s, first, orders, out_why);
    give_kernel_back(s, f);
    arena_free(&arena);
    return fate;
}

// --- other numbers

enum { NUMBERS_FIRST, NUMBERS_LATE, NUMBERS_ONES, NUMBERS_LARGE, NUMBERS };     // of the first step, of the late one, about 1, about 128
static const int about[NUMBERS] = {[NUMBERS_ONES] = 1, [NUMBERS_LARGE] = 128};

// Every number in memory becomes one of some thirty about 1 or 128, with the sign that it had: many are equal, all are half-way between two of bf16,
// no share of a sum is lost, and an exponential of the large ones overflows. Whole numbers are left alone: as floats they are far too small.
static inline void put_other_numbers(SimDriver *sim, int numbers)
{
    for (size_t t = 0; t < sim->n_taken; t++)
        for (size_t at = 0; at + 4 <= sim->taken[t].block.bytes; at += 4) {
            unsigned char *place = (unsigned char *)sim->taken[t].block.data + at;
            uint32_t bits;
            memcpy(&bits, place, sizeof bits);
            const uint32_t power = bits >> 23 & 255, by_chance = zoo_mixed((uint32_t)(at + t));
            if (power < 127 - 60 || power > 127 + 20)
                continue;
            bits = (bits & 0x80000000u) | ((about[numbers] == 1 ? 126u : 133u) + (by_chance & 1)) << 23 | (by_chance & 0x00610000u) | 0x8000u;
            memcpy(place, &bits, sizeof bits);
        }
}

static inline void go_to_numbers(Subject *s, int numbers, size_t first)
{
    go_to(s, numbers == NUMBERS_LATE, first);
    if (numbers >= NUMBERS_ONES)
        put_other_numbers(s->sim, numbers);
}

// What the run left, [slot]; NULL: not compared.
static inline void **results(Subject *s, Arena *arena)
{
    const Slot *slot = NULL;
    const size_t n = net_slots(s->got.net, &slot);
    void **value = arena_array(arena, void *, n + 1);
    for (size_t i = 0; i < n; i++) {
        StatusText why = {0};
        value[i] = zoo_is_compared(s->line, false, &slot[i]) ? arena_alloc(arena, (size_t)slot[i].count + 1, 4) : NULL;
        if (value[i] && net_read(s->got.net, &slot[i], value[i], &why) != STATUS_OK)
            value[i] = NULL;
    }
    return value;
}

// On other numbers, held against the original; what differs between two runs of that is not compared, and if it is accused there, nothing is.
static inline Fate run_on(Subject *s, int numbers, size_t f, size_t first, const char *ptx, const char **out_why)
{
    Arena arena = {0};
    CudaModule other = {0};
    void **want[2] = {0};
    const Slot *slot = NULL;
    const size_t n = net_slots(s->got.net, &slot);
    const double bound = fmax(zoo_line_bound(s->line), zoo_bound);
    bool good = true;
    for (int order = 0; order < 2 && good; order++) {
        go_to_numbers(s, numbers, first);
        s->sim->seed = (uint64_t)order;
        const char *finding = between_run(&s->between, first, SIZE_MAX);
        good = !finding;
        *out_why = good ? "" : arena_printf(&s->arena, "(on numbers about %d the original is accused: %s)", about[numbers], finding);
        want[order] = results(s, &arena);
    }
    Fate fate = FATE_SURVIVED;
    go_to_numbers(s, numbers, first);
    if (good && put_kernel(s, f, first, ptx, 0, &arena, &other, out_why)) {
        s->sim->seed = 0;
        const char *finding = between_run(&s->between, first, SIZE_MAX);
        void **got = results(s, &arena);
        if (finding) {
            *out_why = arena_strdup(&s->arena, finding);
            fate = fate_of(finding);
        }
        for (size_t i = 0; i < n && fate == FATE_SURVIVED; i++)
            if (got[i] && want[0][i] && want[1][i] && zoo_difference(&slot[i], want[1][i], want[0][i]) <= bound
                && !(zoo_difference(&slot[i], got[i], want[0][i]) <= bound)) {
                *out_why = arena_printf(&s->arena, "'%s' differs on numbers about %d", slot[i].name, about[numbers]);
                fate = FATE_RESULT;
            }
    }
    give_kernel_back(s, f);
    arena_free(&arena);
    return fate;
}

typedef struct Trace { uint64_t sum[NUMBERS][2]; } Trace;           // SimLaunch.trace

// The sums of what all threads access and store. False: something was found, or it is no code.
static inline bool trace_with(Subject *s, size_t f, size_t first, const char *ptx, Trace *out)
{
    bool good = true;
    *out = (Trace){0};
    for (int numbers = 0; numbers < NUMBERS && good; numbers++) {
        if (numbers == NUMBERS_LATE && s->n_steps < 2)
            continue;
        Arena arena = {0};
        CudaModule other = {0};
        const char *why = "";
        go_to_numbers(s, numbers, first);
        good = put_kernel(s, f, first, ptx, 0, &arena, &other, &why);
        s->sim->trace = out->sum[numbers];
        s->sim->seed = 0;
        good = good && !between_run(&s->between, first, SIZE_MAX);
        s->sim->trace = NULL;
        give_kernel_back(s, f);
        arena_free(&arena);
    }
    return good;
}

// --- texts

static inline const char *compile(Test *t, Subject *s, const char *text)
{
    NvrtcImage image = {0};
    StatusText why = {0};
    const NvrtcJob job = {.name = "kernels.cu", .text = text, .arch = "sm_80", .wants_ptx = true};
    return nvrtc_compile(t->nvrtc, &s->arena, &job, &image, &why) == STATUS_OK ? image.data : NULL;
}

static inline const char *line_at(Arena *arena, const char *text, size_t at)
{
    while (at > 0 && text[at - 1] != '\n')
        at--;
    at += strspn(text + at, " \t");
    char *line = arena_strndup(arena, text + at, strcspn(text + at, "\n"));
    for (char *c = line; *c; c++)
        *c = *c == '\t' ? ' ' : *c;
    return line;
}

static inline const char *kernel_text(const Subject *s, size_t f)
{
    const Program *p = net_program(s->got.net);
    for (size_t k = 1; k < p->n_kernels; k++)
        if (!strcmp(p->kernel[k].name, s->between.function[f].name))
            return p->kernel[k].cuda;
    return "";
}

static inline const char *text_of(Subject *s, EditLevel level, size_t f)
{
    return level == EDIT_PTX ? between_ptx(&s->between, &s->arena, f) : arena_printf(&s->arena, "%s\n%s", s->prelude, kernel_text(s, f));
}

#endif
