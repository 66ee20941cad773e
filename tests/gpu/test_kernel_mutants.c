// Does the simulator find mistakes of the generator? Kernels of the zoo, CUDA text and PTX, are changed by one edit each (kernel_edits.h); the
// model then runs as in test_zoo_gpu, and the mutant is killed when a check accuses it or a result is not that of the evaluator (in bf16: of the original). Runs in three
// orders of blocks and warps. No original may be accused.
//
// An edit of what never runs is no mutant. What survives must be in equivalent.txt, with the reason why it computes the same.
//
//     test_kernel_mutants [--full] [--each N] [--seed N] [--line N] [-v] [MODEL..]      the sample of mutants.txt, a few edits of each rule; --full: all
#include "mutant_run.h"

#include "kernel_edits.h"

#include "proc.h"

#include <sys/wait.h>
#include <unistd.h>

enum { SEEDS = 3, LIMIT = 400000 };         // LIMIT: instructions of a warp; the longest original takes a tenth

typedef enum Fate {
    FATE_RACE, FATE_BOUNDS, FATE_UNSET, FATE_UNWRITTEN, FATE_BARRIER, FATE_COPY, FATE_HANG, FATE_OTHER, FATE_RESULT,     // killed
    FATE_SURVIVED, FATE_EQUIVALENT,
    FATE_NOT_REACHED, FATE_SAME_CODE, FATE_NO_CODE,         // no mutants
    FATES, FATES_KILLED = FATE_SURVIVED
} Fate;

static const char *const fate_name[FATES] = {"race", "bounds", "unset", "unwritten", "barrier", "copy", "hang", "other", "result",
                                             "survived", "equivalent", "not reached", "same code", "no code"};

// The check that a finding of the simulator comes from.
static const struct { const char *part; Fate fate; } finding_row[] = {
    {"with no barrier between", FATE_RACE}, {"nothing orders blocks", FATE_RACE},
    {"while a copy to it is under way", FATE_COPY}, {"ends while its copy", FATE_COPY},
    {"which has no value", FATE_UNSET}, {"which nobody wrote", FATE_UNSET}, {"which it never wrote", FATE_UNSET},
    {"no launch wrote", FATE_UNWRITTEN},
    {"outside of every buffer", FATE_BOUNDS}, {"of shared memory, which has", FATE_BOUNDS}, {"of its local memory, which has", FATE_BOUNDS},
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
    char           *equivalent;
    uint32_t        random;
    int             each;
    bool            is_verbose;
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

static void fail(Test *t, const char *model, const char *what)
{
    printf("FAIL %s: %s\n", model, what);
    t->n_failed++;
}

// --- running

// Memory as it is before launch `first` of a run of originals.
static void go_to(Subject *s, int step, size_t first)
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

static Fate fate_of(const char *finding)
{
    for (size_t i = 0; i < sizeof finding_row / sizeof *finding_row; i++)
        if (strstr(finding, finding_row[i].part))
            return finding_row[i].fate;
    return FATE_OTHER;
}

// From launch `first` on, in that many orders of warps and blocks, the last of a late step. FATE_SURVIVED: nothing was found. *out_why: what was.
static Fate run_orders(Subject *s, size_t first, int orders, const char **out_why)
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

// With the kernel of this PTX in the place of function f.
static Fate run_with(Subject *s, size_t f, size_t first, const char *ptx, int orders, const char **out_why)
{
    Arena arena = {0};
    CudaModule other = {0};
    StatusText why = {0};
    Fate fate = FATE_NO_CODE;
    CudaFunction *function = s->between.function[f].function;
    if (ptx_parse(&arena, "kernels.ptx", ptx, &other.ptx, &why) == STATUS_OK) {
        go_to(s, 0, first);                 // by originals
        if (orders == SEEDS && s->n_steps > 1)
            go_to(s, 1, first);
        function->module = &other;
        function->kernel = ptx_find(other.ptx, s->between.function[f].name);
        fate = function->kernel ? run_orders(s, first, orders, out_why) : FATE_NO_CODE;
        function->module = s->between.function[f].module;
        function->kernel = s->between.function[f].kernel;
    } else
        *out_why = arena_strdup(&s->arena, why.text);
    arena_free(&arena);
    return fate;
}

// --- a mutant

static const char *compile(Test *t, Subject *s, const char *text)
{
    NvrtcImage image = {0};
    StatusText why = {0};
    const NvrtcJob job = {.name = "kernels.cu", .text = text, .arch = "sm_80", .wants_ptx = true};
    return nvrtc_compile(t->nvrtc, &s->arena, &job, &image, &why) == STATUS_OK ? image.data : NULL;
}

static const char *line_at(Arena *arena, const char *text, size_t at)
{
    while (at > 0 && text[at - 1] != '\n')
        at--;
    at += strspn(text + at, " \t");
    char *line = arena_strndup(arena, text + at, strcspn(text + at, "\n"));
    for (char *c = line; *c; c++)
        *c = *c == '\t' ? ' ' : *c;
    return line;
}

// Ends the kernel where the site is: if nothing changes, nobody comes there.
static bool is_reached(Subject *s, const Candidate *c, const char *text)
{
    size_t at = c->site.at;
    while (at > 0 && text[at - 1] != '\n')
        at--;
    const char *why = "", *probe = arena_printf(&s->arena, "%.*s\ttrap;\n%s", (int)at, text, text + at);
    const char *line = text + at;
    if (strncmp(line + strspn(line, " \t"), ".shared", 7) == 0)
        return true;
    return run_with(s, c->function, c->first, probe, 1, &why) != FATE_SURVIVED;
}

// A comparison whose sides are never what the edit tells apart is the same with and without it: sizes are literals in a kernel's text, so
// what one run compares is what all compare. Of `x < 10`, with equality or against 11, only x = 10 tells; of `x > 10` against 11, x = 11.
static bool is_ever_told(Subject *s, const Candidate *c, const char *text)
{
    size_t at = c->site.at;
    while (at > 0 && text[at - 1] != '\n')
        at--;
    const bool is_literal = !strcmp(edit_rule[c->site.rule].name, "end of a loop");
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
static bool is_new_value(Subject *s, const Candidate *c, const char *text)
{
    size_t at = c->site.at;
    while (at > 0 && text[at - 1] != '\n')
        at--;
    const char *line = line_at(&s->arena, text, c->site.at), *why = "";
    char of[16], reg[32], value[32];
    if (sscanf(line, "mov.%15[a-z0-9] %31[^,], %31[^;];", of, reg, value) != 3)
        return true;
    const char *body = strchr(strstr(text, ".entry"), '{') + 1, *type = of[0] == 'f' ? of : !strcmp(of, "b64") || !strcmp(of, "u64") ? "s64" : "s32";
    const char *probe = arena_printf(&s->arena, "%.*s\n\t.reg .pred %%equal<2>;\n%.*s\tsetp.ne.%s %%equal1, %s, %s;\n\t@%%equal1 trap;\n%s",
                                     (int)(body - text), text, (int)(text + at - body), body, type, reg, value, text + at);
    return run_with(s, c->function, c->first, probe, 1, &why) != FATE_SURVIVED;
}

// A product that is added to something.
static bool adds_something(Subject *s, const Candidate *c, const char *text)
{
    size_t at = c->site.at;
    while (at > 0 && text[at - 1] != '\n')
        at--;
    const char *line = line_at(&s->arena, text, c->site.at), *why = "";
    char to[32];
    if (sscanf(line, "fma.rn.f32 %*[^,], %*[^,], %*[^,], %31[^;];", to) != 1)
        return true;
    const char *body = strchr(strstr(text, ".entry"), '{') + 1;
    const char *probe = arena_printf(&s->arena, "%.*s\n\t.reg .pred %%equal<2>;\n%.*s\tsetp.neu.f32 %%equal1, %s, 0f00000000;\n\t@%%equal1 trap;\n%s",
                                     (int)(body - text), text, (int)(text + at - body), body, to, text + at);
    return run_with(s, c->function, c->first, probe, 1, &why) != FATE_SURVIVED;
}

// Nothing that a barrier is for comes behind, or that waits for copies, and no jump leads back. A last wait without which no thread ends with a
// copy under way has nothing to wait for.
static bool is_last(const char *text, size_t at, bool is_wait)
{
    const char *rest = text + at + strcspn(text + at, "\n");
    bool last = is_wait ? !strstr(rest, "cp.async") : !strstr(rest, ".shared.") && !strstr(rest, "ldmatrix");
    for (const char *jump = rest; last && (jump = strstr(jump, "bra")) != NULL; jump++) {
        char label[64];
        if (sscanf(jump, "bra%*[.a-z] %62[^;];", label) != 1 && sscanf(jump, "bra %62[^;];", label) != 1)
            continue;
        strcat(label, ":");
        last = strstr(rest, label) != NULL;
    }
    return last;
}

// A loop that no thread goes round twice: a step into the far changes nothing. Then neither does another step, and a sum in it is what is
// added first. `at`: in the loop's first line, or behind it.
static bool goes_round(Test *t, Subject *s, const Candidate *c, const char *text)
{
    size_t at = c->site.at;
    const bool is_inside = !strcmp(edit_rule[c->site.rule].name, "accumulation lost");
    for (int n = 0; at > 0 && (text[at - 1] != '\n' || (is_inside && n < 16 && !strstr(line_at(&s->arena, text, at), "for ("))); at--)
        n += text[at - 1] == '\n';
    const size_t length = strcspn(text + at, "\n");
    const char *line = arena_strndup(&s->arena, text + at, length), *why = "", *step = strstr(line, " += ");
    const char *open = strstr(line, ") {");
    if (!strstr(line, "for (") || !step || !open || open < step)
        return true;
    const char *probe = arena_printf(&s->arena, "%.*s%.*s += 0x20000000%s%s", (int)at, text, (int)(step - line), line, open, text + at + length);
    const char *ptx = compile(t, s, probe);
    return !ptx || run_with(s, c->function, c->first, ptx, 1, &why) != FATE_SURVIVED;
}

// The line and its neighbours, with one space for each gap.
static const char *around(Arena *arena, const char *text, size_t at)
{
    size_t begin = at, end = at;
    for (int n = 0; begin > 0 && (n += text[begin - 1] == '\n') < 3;)
        begin--;
    for (int n = 0; text[end] && (n += text[end] == '\n') < 3;)
        end++;
    Text out = text_make(arena);
    for (size_t i = begin; i < end; i++) {
        const bool is_gap = strchr(" \t\n", text[i]) != NULL;
        if (!is_gap || (out.n && out.data[out.n - 1] != ' '))
            text_char(&out, is_gap ? ' ' : text[i]);
    }
    return text_str(&out);
}

// A row of equivalent.txt: LEVEL RULE | MODEL or * | a part of the line and its neighbours | reason.
static bool is_listed(const Test *t, const Subject *s, const Candidate *c, const char *lines)
{
    const EditRule *rule = &edit_rule[c->site.rule];
    for (const char *row = t->equivalent; row && *row; row += strcspn(row, "\n"), row += *row == '\n') {
        char level[8], name[64], model[64], part[128], reason[8];
        if (*row == '#' || sscanf(row, "%7s %63[^|]| %63[^|]| %127[^|]| %7[^\n]", level, name, model, part, reason) != 5)
            continue;
        char *const field[] = {name, model, part};
        for (size_t i = 0; i < 3; i++)
            for (size_t n = strlen(field[i]); n > 0 && field[i][n - 1] == ' '; n--)
                field[i][n - 1] = 0;
        if (!strcmp(level, rule->level == EDIT_PTX ? "ptx" : "cuda") && !strcmp(name, rule->name)
            && (!strcmp(model, "*") || !strcmp(model, s->line->model)) && strstr(lines, part))
            return true;
    }
    return false;
}

static const char *kernel_text(const Subject *s, size_t f)
{
    const Program *p = net_program(s->got.net);
    for (size_t k = 1; k < p->n_kernels; k++)
        if (!strcmp(p->kernel[k].name, s->between.function[f].name))
            return p->kernel[k].cuda;
    return "";
}

static const char *text_of(Subject *s, EditLevel level, size_t f)
{
    return level == EDIT_PTX ? between_ptx(&s->between, &s->arena, f) : arena_printf(&s->arena, "%s\n%s", s->prelude, kernel_text(s, f));
}

static bool is_proved_equal(Test *t, Subject *s, const Candidate *c, const char *text)
{
    const char *rule = edit_rule[c->site.rule].name;
    if (c->level == EDIT_CUDA)
        return !goes_round(t, s, c, text);
    if (!strcmp(rule, "bound") || !strcmp(rule, "end of a loop"))
        return !is_ever_told(s, c, text);
    if (!strcmp(rule, "initialisation dropped"))
        return !is_new_value(s, c, text);
    if (!strcmp(rule, "accumulation lost"))
        return !adds_something(s, c, text);
    const bool is_wait = !strncmp(rule, "wait", 4), is_commit = !strcmp(rule, "commit dropped");
    if ((is_wait || is_commit) && !strstr(text, "cp.async.ca") && !strstr(text, "cp.async.cg"))
        return true;                        // nothing is copied
    return (is_wait || !strcmp(rule, "barrier dropped")) && is_last(text, c->site.at, is_wait);
}

static Fate judge(Test *t, Subject *s, const Candidate *c)
{
    const char *text = text_of(s, c->level, c->function), *ptx = edit_apply(&s->arena, text, &c->site), *why = "";
    if (c->level == EDIT_CUDA) {
        const char *before = compile(t, s, text);
        ptx = compile(t, s, ptx);
        if (!ptx || !before)
            return FATE_NO_CODE;
        if (!strcmp(ptx, before))
            return FATE_SAME_CODE;
    }
    Fate fate = run_with(s, c->function, c->first, ptx, SEEDS, &why);
    const char *line = line_at(&s->arena, text, c->site.at);
    const EditRule *rule = &edit_rule[c->site.rule];
    if (fate == FATE_SURVIVED && c->level == EDIT_PTX && !is_reached(s, c, text))
        fate = FATE_NOT_REACHED;
    if (fate == FATE_SURVIVED && is_proved_equal(t, s, c, text))
        fate = FATE_EQUIVALENT;
    if (fate == FATE_SURVIVED && is_listed(t, s, c, around(&s->arena, text, c->site.at)))
        fate = FATE_EQUIVALENT;
    const char *folder = getenv("MIXC_KEEP_MUTANTS");       // of the texts of those that survive
    FILE *kept = folder && fate == FATE_SURVIVED ? fopen(arena_printf(&s->arena, "%s/%s.%s.%d", folder, s->line->model,
                                                                      s->between.function[c->function].name, c->site.line), "w") : NULL;
    if (kept) {
        fputs(text, kept);
        fclose(kept);
    }
    if (fate == FATE_SURVIVED || t->is_verbose)
        printf("%-12s %s %s, %s, line %d: %s: `%s` -> `%s` %s\n", fate_name[fate], s->line->model, s->between.function[c->function].name,
               c->level == EDIT_PTX ? "PTX" : "CUDA text", c->site.line, rule->name, line, c->site.becomes, why);
    return fate;
}

// --- a model

static uint32_t draw(Test *t, uint32_t n)
{
    t->random = zoo_mixed(t->random + 0x9e3779b9u);
    return t->random % n;
}

static int rule_group(int rule)
{
    int r = 0;
    while (edit_rule[r].level != edit_rule[rule].level || strcmp(edit_rule[r].name, edit_rule[rule].name))
        r++;
    return r;
}

static int by_first(const void *a, const void *b)
{
    const Candidate *x = a, *y = b;
    return x->first != y->first ? (x->first > y->first) - (x->first < y->first)
                                : (x->site.at > y->site.at) - (x->site.at < y->site.at);
}

// t->each sites of every rule, by chance, in the order of launches.
static size_t choose(Test *t, Subject *s, Candidate **out)
{
    Candidate *all = NULL, *chosen = NULL;
    size_t n_all = 0, all_capacity = 0, n = 0, capacity = 0;
    int taken[EDIT_RULES] = {0};
    for (size_t f = 0; f < s->between.n_functions; f++) {
        const size_t first = between_first(&s->between, f);
        t->n_kernels += first < s->between.exec->n;
        for (int level = 0; level < EDIT_LEVELS && first < s->between.exec->n; level++) {
            const char *text = text_of(s, (EditLevel)level, f);
            const size_t begin = level == EDIT_CUDA ? strlen(s->prelude) + 1 : 0;
            const EditSites sites = edit_find(&s->arena, t->re, (EditLevel)level, text, begin);
            for (size_t i = 0; i < sites.n; i++) {
                all = arena_grow(&s->arena, all, n_all, &all_capacity, sizeof *all);
                all[n_all++] = (Candidate){f, first, (EditLevel)level, sites.site[i]};
            }
        }
    }
    for (size_t i = n_all; i > 1; i--) {
        const size_t j = draw(t, (uint32_t)i);
        const Candidate c = all[i - 1];
        all[i - 1] = all[j];
        all[j] = c;
    }
    for (size_t i = 0; i < n_all; i++)
        if (taken[rule_group(all[i].site.rule)]++ < t->each) {
            chosen = arena_grow(&s->arena, chosen, n, &capacity, sizeof *chosen);
            chosen[n++] = all[i];
        }
    if (n > 1)
        qsort(chosen, n, sizeof *chosen, by_first);
    *out = chosen;
    return n;
}

static Status open_subject(Test *t, Subject *s, StatusText *why)
{
    const bool train = !s->line->is_main;
    Status status = sim_driver_open(&s->sim, why);
    if (status != STATUS_OK)
        return status;
    s->sim->limit = LIMIT;
    between_open(&s->between, &s->arena, sim_driver_api(s->sim));
    const ZooRun here = {.mode = train ? MODE_TRAIN : MODE_EVAL, .train = train, .bf16 = s->line->bf16, .device = "cuda",
                         .on_device = {.threads = 2, .cache_dir = "", .driver = &s->between.api, .nvrtc = t->nvrtc}};
    ZooRun reference = here;
    // The evaluator does not round to bf16: there a mutant is held against the original.
    reference.device = s->line->bf16 ? "sim" : "eval";
    reference.on_device = (DeviceOptions){.threads = 2, .cache_dir = ""};
    status = zoo_load(&s->arena, s->line, &here, &s->got, why);
    s->n_steps = train && !s->line->is_whole ? 2 : 1;
    for (int step = 0; step < s->n_steps && status == STATUS_OK; step++) {
        status = zoo_load(&s->arena, s->line, &reference, &s->want[step], why);
        if (status == STATUS_OK)
            status = zoo_run(&s->arena, s->line, step, &s->want[step], why);
        if (status == STATUS_OK)
            status = zoo_write(&s->arena, s->line, step, &s->got, why);
        s->start[step] = memory_keep(s->sim);
    }
    if (status != STATUS_OK)
        return status;
    s->prelude = net_program(s->got.net)->cuda_prelude;
    s->prelude = s->prelude ? s->prelude : "";
    return STATUS_OK;
}

static void close_subject(Subject *s)
{
    for (int step = 0; step < 2; step++) {
        memory_free(&s->start[step]);
        memory_free(&s->base[step]);
        zoo_unload(&s->want[step]);
    }
    zoo_unload(&s->got);
    sim_driver_close(s->sim);
    arena_free(&s->arena);
}

static void check_model(Test *t, const Line *line)
{
    Subject s = {.line = line};
    StatusText why = {0};
    const double begin = proc_now_s();
    const char *finding = "";
    Candidate *c = NULL;
    Tally of_model = {0};
    if (open_subject(t, &s, &why) != STATUS_OK)
        fail(t, line->model, why.text);
    else if (run_orders(&s, 0, SEEDS, &finding) != FATE_SURVIVED)
        fail(t, line->model, arena_printf(&s.arena, "the original is accused: %s", finding));
    else {
        const size_t n = choose(t, &s, &c);
        for (size_t i = 0; i < n; i++) {
            const Fate fate = judge(t, &s, &c[i]);
            t->of_rule[rule_group(c[i].site.rule)].n[fate]++;
            t->all.n[fate]++;
            of_model.n[fate]++;
        }
        int killed = 0;
        for (int f = 0; f < FATES_KILLED; f++)
            killed += of_model.n[f];
        printf("%-18s %3zu kernels: %d mutants killed, %d survived, %d equivalent; %d edits are no mutants; %.1f s\n", line->model,
               s.between.n_functions, killed, of_model.n[FATE_SURVIVED], of_model.n[FATE_EQUIVALENT],
               of_model.n[FATE_NOT_REACHED] + of_model.n[FATE_SAME_CODE] + of_model.n[FATE_NO_CODE], proc_now_s() - begin);
    }
    fflush(stdout);
    close_subject(&s);
}

// --- all

static void print_row(const char *name, const char *level, const Tally *tally)
{
    int killed = 0;
    for (int f = 0; f < FATES_KILLED; f++)
        killed += tally->n[f];
    printf("| %s | %s | %d |", name, level, killed + tally->n[FATE_SURVIVED]);
    for (int f = 0; f <= FATE_EQUIVALENT; f++)
        printf(" %d |", tally->n[f]);
    printf("\n");
}

static void print_table(const Test *t)
{
    printf("\n| edit | of | mutants |");
    for (int f = 0; f <= FATE_EQUIVALENT; f++)
        printf(" %s |", fate_name[f]);
    printf("\n|---|---|");
    for (int f = 0; f <= FATE_EQUIVALENT + 1; f++)
        printf("---|");
    printf("\n");
    for (int r = 0; r < EDIT_RULES; r++)
        if (rule_group(r) == r)
            print_row(edit_rule[r].name, edit_rule[r].level == EDIT_PTX ? "PTX" : "CUDA text", &t->of_rule[r]);
    print_row("all", "", &t->all);
}

static bool is_named(const char *model, int argc, char **argv)
{
    for (int a = 1; a < argc; a++)
        if (!strncmp(argv[a], model, strlen(argv[a])))
            return true;
    return false;
}

// A sample of some twenty edits may have several that change nothing; the aim is that of the full set.
static int conclude(Test *t, bool is_full)
{
    const int least = is_full ? 95 : 75;

    int killed = 0;
    for (int f = 0; f < FATES_KILLED; f++)
        killed += t->all.n[f];
    const int n = killed + t->all.n[FATE_SURVIVED];
    printf("%d kernels, %d mutants, %d killed (%.1f %%), %d survived, %d are listed as equal, %d originals accused\n", t->n_kernels, n, killed,
           n ? 100.0 * killed / n : 0.0, t->all.n[FATE_SURVIVED], t->all.n[FATE_EQUIVALENT], t->n_failed);
    return t->n_failed || n == 0 || 100 * killed < least * n;
}

static int run(int argc, char **argv)
{
    Test t = {0};
    CudaLibraries *libraries = cuda_libraries_open();
    StatusText why = {0};
    bool is_full = false, has_names = false;
    int only = -1;
    for (int a = 1; a < argc; a++) {
        if (!strcmp(argv[a], "--line") && a + 1 < argc)
            only = atoi(argv[++a]);
        else if (!strcmp(argv[a], "--full"))
            is_full = true;
        else if (!strcmp(argv[a], "--each") && a + 1 < argc)
            t.each = atoi(argv[++a]);
        else if (!strcmp(argv[a], "--seed") && a + 1 < argc)
            t.random = (uint32_t)atoi(argv[++a]);
        else if (!strcmp(argv[a], "-v"))
            t.is_verbose = true;
        else
            has_names = true;
    }
    t.each = t.each > 0 ? t.each : is_full ? 3 : 2;
    if (cuda_find_nvrtc(libraries, &t.nvrtc, &why) != STATUS_OK) {
        printf("skipped: %s\n", why.text);
        return 77;
    }
    if (!edit_rules_open(t.re)) {
        printf("FAIL: a pattern of edit_rule is none\n");
        return 1;
    }
    t.equivalent = zoo_read_file(&t.arena, arena_printf(&t.arena, "%s/gpu/equivalent.txt", zoo_tests()));
    Line *line = arena_array(&t.arena, Line, MOST_LINES);
    const size_t n = zoo_read_lines(&t.arena, "mutants.txt", line);
    for (size_t i = 0; i < n; i++)
        if (only >= 0 ? (int)i == only : has_names ? is_named(line[i].model, argc, argv) : is_full || line[i].in_sample)
            check_model(&t, &line[i]);
    print_table(&t);
    const int code = conclude(&t, is_full);
    edit_rules_close(t.re);
    cuda_libraries_close(libraries);
    arena_free(&t.arena);
    return code;
}

// In a process of its own, because the compiler keeps memory to itself that a leak checker would report.
int main(int argc, char **argv)
{
    const pid_t child = fork();
    if (child == 0) {
        const int code = run(argc, argv);
        fflush(stdout);
        _exit(code);
    }
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
