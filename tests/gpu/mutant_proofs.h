// Why a mutant that nothing accuses is no mistake: what is shown here is shown by running the kernel, never by what its text looks like. Sizes are
// literals of a kernel's text, so what one run compares, jumps to and addresses, all do; only values differ. So a proof is a run that would be
// accused, or would come to something else, if the edit could be seen:
//
//   not told     the comparison never meets the one value that the edit tells apart
//   same value   the register gets the value that it has, or one of two that are the same; or the product is added to zero
//   unused       what a copy fills up may have no value at all: it decides no jump and no address, and reaches no memory
//   no effect    with the edit the same places are accessed and the same bits are stored, on the numbers of two steps and on others of which
//                many are equal; where the edit is of a number, so it is with one that is millions of times as large. Of what copies fill up,
//                of stores to shared memory and of the sign of a difference (which may be squared) only what reaches global memory counts
//   ordered      without the barrier or wait no access races and no copy is touched under way: the accesses are ordered by what is left. A
//                race is found whatever the order of the run was (sim_race.c), but for atomics and volatile accesses; kernels with those
//                are not proved
//   untouched    the array's last bytes, which the edit takes away, lie in no other array then, and nobody touches them
#ifndef MIXC_MUTANT_PROOFS_H
#define MIXC_MUTANT_PROOFS_H

#include "mutant_judge.h"

typedef enum Proof { PROOF_NONE, PROOF_NOT_TOLD, PROOF_SAME_VALUE, PROOF_UNUSED, PROOF_NO_EFFECT, PROOF_ORDERED, PROOF_UNTOUCHED, PROOFS } Proof;

static const char *const proof_name[PROOFS] = {"", "not told", "same value", "unused", "no effect", "ordered", "untouched"};

static inline size_t line_begin(const char *text, size_t at)
{
    while (at > 0 && text[at - 1] != '\n')
        at--;
    return at;
}

static inline bool is_rule(const Candidate *c, const char *name)
{
    return !strcmp(edit_rule[c->site.rule].name, name);
}

// Ends the kernel where the site is: if nothing changes, nobody comes there.
static inline bool is_reached(Subject *s, const Candidate *c, const char *text)
{
    const size_t at = line_begin(text, c->site.at);
    const char *why = "", *probe = arena_printf(&s->arena, "%.*s\ttrap;\n%s", (int)at, text, text + at);
    const char *line = text + at;
    if (strncmp(line + strspn(line, " \t"), ".shared", 7) == 0)
        return true;
    return run_with(s, c->function, c->first, probe, 1, &why) != FATE_SURVIVED;
}

// A comparison whose sides are never what the edit tells apart is the same with and without it: sizes are literals in a kernel's text, so
// what one run compares is what all compare. Of `x < 10`, with equality or against 11, only x = 10 tells; of `x > 10` against 11, x = 11.
static inline bool is_ever_told(Subject *s, const Candidate *c, const char *text)
{
    const size_t at = line_begin(text, c->site.at);
    const bool is_literal = is_rule(c, "end of a loop");
    const char *line = line_at(&s->arena, text, c->site.at), *why = "";
    char test[4], of[16], a[32], b[32];
    if (sscanf(line, "setp.%3[a-z].%15[a-z0-9] %*[^,], %31[^,], %31[^;];", test, of, a, b) != 4)
        return true;
    const bool is_other = is_literal && (test[0] == 'e' || test[0] == 'n' || !strcmp(test, "gt") || !strcmp(test, "le"));
    const bool is_same = !is_literal || !is_other || test[0] == 'e' || test[0] == 'n';
    const char *body = strchr(strstr(text, ".entry"), '{') + 1;
    Text probe = text_make(&s->arena);
    text_printf(&probe, "%.*s\n\t.reg .pred %%equal<2>;\n%.*s", (int)(body - text), text, (int)(text + at - body), body);
    if (is_same)
        text_printf(&probe, "\tsetp.eq.%s %%equal1, %s, %s;\n\t@%%equal1 trap;\n", of, a, b);
    if (is_other)
        text_printf(&probe, "\tsetp.eq.%s %%equal1, %s, %ld;\n\t@%%equal1 trap;\n", of, a, strtol(b, NULL, 10) + 1);
    text_add(&probe, text + at);
    return run_with(s, c->function, c->first, text_str(&probe), 1, &why) != FATE_SURVIVED;
}

// A register that gets the value it has.
static inline bool is_new_value(Subject *s, const Candidate *c, const char *text)
{
    const size_t at = line_begin(text, c->site.at);
    const char *line = line_at(&s->arena, text, c->site.at), *why = "";
    char of[16], reg[32], value[32];
    if (sscanf(line, "mov.%15[a-z0-9] %31[^,], %31[^;];", of, reg, value) != 3)
        return true;
    const char *body = strchr(strstr(text, ".entry"), '{') + 1, *type = of[0] == 'f' ? of : !strcmp(of, "b64") || !strcmp(of, "u64") ? "s64" : "s32";
    const char *probe = arena_printf(&s->arena, "%.*s\n\t.reg .pred %%equal<2>;\n%.*s\tsetp.ne.%s %%equal1, %s, %s;\n\t@%%equal1 trap;\n%s",
                                     (int)(body - text), text, (int)(text + at - body), body, type, reg, value, text + at);
    return run_with(s, c->function, c->first, probe, 1, &why) != FATE_SURVIVED;
}

// A choice between two whole numbers that are ever different.
static inline bool is_ever_chosen(Subject *s, const Candidate *c, const char *text)
{
    const size_t at = line_begin(text, c->site.at);
    const char *line = line_at(&s->arena, text, c->site.at), *why = "";
    char a[32], b[32];
    if (sscanf(line, "selp.b32 %*[^,], %31[^,], %31[^,],", a, b) != 2)
        return true;
    const char *body = strchr(strstr(text, ".entry"), '{') + 1;
    const char *probe = arena_printf(&s->arena, "%.*s\n\t.reg .pred %%equal<2>;\n\t.reg .b32 %%side<3>;\n%.*s\tmov.b32 %%side1, %s;\n"
                                     "\tmov.b32 %%side2, %s;\n\tsetp.ne.s32 %%equal1, %%side1, %%side2;\n\t@%%equal1 trap;\n%s",
                                     (int)(body - text), text, (int)(text + at - body), body, a, b, text + at);
    return run_with(s, c->function, c->first, probe, SEEDS, &why) != FATE_SURVIVED;
}

// A product that is added to something.
static inline bool adds_something(Subject *s, const Candidate *c, const char *text)
{
    const size_t at = line_begin(text, c->site.at);
    const char *line = line_at(&s->arena, text, c->site.at), *why = "";
    char to[32];
    if (sscanf(line, "fma.rn.f32 %*[^,], %*[^,], %*[^,], %31[^;];", to) != 1)
        return true;
    const char *body = strchr(strstr(text, ".entry"), '{') + 1;
    const char *probe = arena_printf(&s->arena, "%.*s\n\t.reg .pred %%equal<2>;\n%.*s\tsetp.neu.f32 %%equal1, %s, 0f00000000;\n\t@%%equal1 trap;\n%s",
                                     (int)(body - text), text, (int)(text + at - body), body, to, text + at);
    return run_with(s, c->function, c->first, probe, 1, &why) != FATE_SURVIVED;
}

// What copies fill up with zeros may have no value.
static inline bool is_fill_used(Subject *s, const Candidate *c, const char *text)
{
    const char *why = "";
    s->sim->fill_is_unset = true;
    const Fate fate = run_with(s, c->function, c->first, text, SEEDS, &why);
    s->sim->fill_is_unset = false;
    return fate != FATE_SURVIVED;
}

// Whether the edit changes what is accessed, or only `in_memory`: what is stored in global memory.
static inline bool has_effect(Subject *s, const Candidate *c, const char *text, const char *other, bool in_memory)
{
    Trace was, is;
    bool same = other && trace_with(s, c->function, c->first, text, &was) && trace_with(s, c->function, c->first, other, &is);
    for (int numbers = 0; numbers < NUMBERS && same; numbers++)
        same = was.sum[numbers][1] == is.sum[numbers][1] && (in_memory || was.sum[numbers][0] == is.sum[numbers][0]);
    return !same;
}

// A loop of the CUDA text in whose first line, or in whose body, the edit is, with a step that leaves it after one round. NULL: there is none.
static inline const char *with_one_round(Test *t, Subject *s, const Candidate *c, const char *text)
{
    size_t at = c->site.at;
    const bool is_inside = is_rule(c, "accumulation lost");
    for (int n = 0; at > 0 && (text[at - 1] != '\n' || (is_inside && n < 16 && !strstr(line_at(&s->arena, text, at), "for ("))); at--)
        n += text[at - 1] == '\n';
    const size_t length = strcspn(text + at, "\n");
    const char *line = arena_strndup(&s->arena, text + at, length), *step = strstr(line, " += "), *open = strstr(line, ") {");
    if (!strstr(line, "for (") || !step || !open || open < step)
        return NULL;
    return compile(t, s, arena_printf(&s->arena, "%.*s%.*s += 0x20000000%s%s", (int)at, text, (int)(step - line), line, open, text + at + length));
}

// Atomics, volatile accesses and barriers in memory order what the check of races does not follow.
static inline bool has_strong(const char *ptx)
{
    static const char *const part[] = {"\tatom.", "\tred.", ".volatile", ".relaxed", ".acquire", ".release", "mbarrier", "cp.async.bulk"};
    for (size_t k = 0; k < sizeof part / sizeof *part; k++)
        if (strstr(ptx, part[k]))
            return true;
    return false;
}

// Arrays of shared memory lie where they did, but for one that ends earlier.
static inline bool is_same_layout(Subject *s, const Candidate *c, const char *ptx)
{
    Arena arena = {0};
    StatusText why = {0};
    PtxModule *other = NULL;
    const PtxKernel *was = s->between.function[c->function].kernel;
    const PtxKernel *is = ptx_parse(&arena, "kernels.ptx", ptx, &other, &why) == STATUS_OK ? ptx_find(other, was->name) : NULL;
    bool same = is && is->n_symbols == was->n_symbols;
    for (size_t k = 0; same && k < is->n_symbols; k++)
        same = !strcmp(is->symbol[k].name, was->symbol[k].name) && is->symbol[k].offset == was->symbol[k].offset;
    arena_free(&arena);
    return same;
}

// `before`, `after`: the PTX without and with the edit, which is in `text`; nothing accused it.
static inline Proof prove_ptx(Subject *s, const Candidate *c, const char *before, const char *after)
{
    if ((is_rule(c, "bound") || is_rule(c, "end of a loop")) && !is_ever_told(s, c, before))
        return PROOF_NOT_TOLD;
    if ((is_rule(c, "initialisation dropped") && !is_new_value(s, c, before)) || (is_rule(c, "accumulation lost") && !adds_something(s, c, before))
        || (is_rule(c, "operands swapped") && !is_ever_chosen(s, c, before)))
        return PROOF_SAME_VALUE;
    if (is_rule(c, "byte count") && !is_fill_used(s, c, before))
        return PROOF_UNUSED;
    const char *line = line_at(&s->arena, before, c->site.at);
    if (is_rule(c, "bound") && !has_effect(s, c, before, after, false))
        return PROOF_NO_EFFECT;
    const bool is_inside = is_rule(c, "byte count") || (is_rule(c, "store dropped") && strstr(line, "st.shared"))
                           || (is_rule(c, "operands swapped") && !strncmp(line, "sub.", 4));
    if ((c->site.far || is_inside) && !has_effect(s, c, before, after, is_inside)
        && (is_inside || !has_effect(s, c, before, edit_apply(&s->arena, before, c->site.at, c->site.length, c->site.far), false)))
        return PROOF_NO_EFFECT;
    return PROOF_NONE;
}

static inline Proof prove_cuda(Test *t, Subject *s, const Candidate *c, const char *text, const char *before, const char *after)
{
    static const char *const of_places[] = {"bound", "index", "start of a loop", "step", "scale", "operands swapped"};
    bool is_place = false;
    for (size_t k = 0; k < sizeof of_places / sizeof *of_places; k++)
        is_place = is_place || is_rule(c, of_places[k]);
    if (is_place && !has_effect(s, c, before, after, false)
        && (!is_rule(c, "step") || !has_effect(s, c, before, with_one_round(t, s, c, text), false)))
        return PROOF_NO_EFFECT;
    if (is_rule(c, "accumulation lost") && !has_effect(s, c, before, after, true) && !has_effect(s, c, before, with_one_round(t, s, c, text), false))
        return PROOF_SAME_VALUE;
    return PROOF_NONE;
}

static inline Proof prove(Test *t, Subject *s, const Candidate *c, const char *text, const char *before, const char *after)
{
    if (edit_is_order(edit_rule[c->site.rule].name))
        return has_strong(before) ? PROOF_NONE : PROOF_ORDERED;
    if (is_rule(c, "array too small"))
        return is_same_layout(s, c, after) ? PROOF_UNTOUCHED : PROOF_NONE;
    return c->level == EDIT_PTX ? prove_ptx(s, c, before, after) : prove_cuda(t, s, c, text, before, after);
}

#endif
