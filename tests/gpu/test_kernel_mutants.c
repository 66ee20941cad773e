// Does the simulator find mistakes of the generator? Kernels of the zoo, CUDA text and PTX, are changed by one edit each (kernel_edits.h); the
// model then runs as in test_zoo_gpu, and the mutant is killed when a check accuses it or a result is not that of the evaluator (in bf16: of
// the original). Runs in three orders of blocks and warps; what survives that runs on other numbers too, held against the original.
// No original may be accused.
//
// An edit of what never runs is no mutant. What survives is either proved to compute the same (mutant_proofs.h) or counts against the simulator.
//
//     test_kernel_mutants [--full] [--each N] [--seed N] [--line N] [-v] [MODEL..]      the sample of mutants.txt, a few edits of each rule; --full: all
#include "mutant_proofs.h"

#include "proc.h"

#include <sys/wait.h>
#include <unistd.h>

// MIXC_KEEP_MUTANTS: a folder for the texts of those that survive.
static void keep_text(Subject *s, const Candidate *c, const char *text, Fate fate)
{
    const char *folder = getenv("MIXC_KEEP_MUTANTS");
    FILE *f = folder && fate == FATE_SURVIVED ? fopen(arena_printf(&s->arena, "%s/%s.%s.%d", folder, s->line->model,
                                                                   s->between.function[c->function].name, c->site.line), "w") : NULL;
    if (f) {
        fputs(text, f);
        fclose(f);
    }
}

// --- a mutant

static Fate judge(Test *t, Subject *s, const Candidate *c)
{
    const char *text = text_of(s, c->level, c->function), *why = "", *before = text;
    const char *after = edit_apply(&s->arena, text, c->site.at, c->site.length, c->site.becomes);
    if (c->level == EDIT_CUDA) {
        before = compile(t, s, text);
        after = compile(t, s, after);
        if (!after || !before)
            return FATE_NO_CODE;
        if (!strcmp(after, before))
            return FATE_SAME_CODE;
    }
    Fate fate = run_with(s, c->function, c->first, after, SEEDS, &why);
    if (fate == FATE_SURVIVED && c->level == EDIT_PTX && !is_reached(s, c, text))
        fate = FATE_NOT_REACHED;
    const bool is_of_values = !edit_is_order(edit_rule[c->site.rule].name);
    for (int numbers = NUMBERS_ONES; numbers < NUMBERS && fate == FATE_SURVIVED && is_of_values; numbers++)
        fate = run_on(s, numbers, c->function, c->first, after, &why);
    if (t->is_full && fate == FATE_RESULT) {                // proofs are tried on those that are known to be unequal
        const Proof wrong = prove(t, s, c, text, before, after);
        if (wrong)
            fail(t, s->line->model, arena_printf(&s->arena, "the proof '%s' holds for a mutant of %s, line %d, %s, that differs: %s", proof_name[wrong],
                                                 s->between.function[c->function].name, c->site.line, edit_rule[c->site.rule].name, why));
    }
    const Proof proof = fate == FATE_SURVIVED ? prove(t, s, c, text, before, after) : PROOF_NONE;
    t->proved[proof]++;
    if (proof) {
        fate = FATE_EQUAL;
        why = proof_name[proof];
    }
    keep_text(s, c, text, fate);
    if (fate == FATE_SURVIVED || t->is_verbose)
        printf("%-12s %s %s, %s, line %d: %s: `%s` -> `%s` %s\n", fate_name[fate], s->line->model, s->between.function[c->function].name,
               c->level == EDIT_PTX ? "PTX" : "CUDA text", c->site.line, edit_rule[c->site.rule].name,
               line_at(&s->arena, text, c->site.at), c->site.becomes, why);
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
        printf("%-18s %3zu kernels: %d mutants killed, %d survived, %d proved equal; %d edits are no mutants; %.1f s\n", line->model,
               s.between.n_functions, killed, of_model.n[FATE_SURVIVED], of_model.n[FATE_EQUAL],
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
    for (int f = 0; f <= FATE_EQUAL; f++)
        printf(" %d |", tally->n[f]);
    printf("\n");
}

static void print_table(const Test *t)
{
    printf("\n| edit | of | mutants |");
    for (int f = 0; f <= FATE_EQUAL; f++)
        printf(" %s |", fate_name[f]);
    printf("\n|---|---|");
    for (int f = 0; f <= FATE_EQUAL + 1; f++)
        printf("---|");
    printf("\n");
    for (int r = 0; r < EDIT_RULES; r++)
        if (rule_group(r) == r)
            print_row(edit_rule[r].name, edit_rule[r].level == EDIT_PTX ? "PTX" : "CUDA text", &t->of_rule[r]);
    print_row("all", "", &t->all);
    for (int p = PROOF_NONE + 1; p < PROOFS; p++)
        printf("%s%s %d", p > 1 ? ", " : "\nproved equal: ", proof_name[p], t->proved[p]);
    printf("\n");
}

static bool is_named(const char *model, int argc, char **argv)
{
    for (int a = 1; a < argc; a++)
        if (!strncmp(argv[a], model, strlen(argv[a])))
            return true;
    return false;
}

// A sample of some twenty edits may have several that change nothing; the aim is that of the full set.
static int conclude(Test *t)
{
    const int least = t->is_full ? 95 : 85;

    int killed = 0;
    for (int f = 0; f < FATES_KILLED; f++)
        killed += t->all.n[f];
    const int n = killed + t->all.n[FATE_SURVIVED];
    printf("%d kernels, %d mutants, %d killed (%.1f %%), %d survived, %d are proved equal, %d originals accused or proofs refuted\n",
           t->n_kernels, n, killed, n ? 100.0 * killed / n : 0.0, t->all.n[FATE_SURVIVED], t->all.n[FATE_EQUAL], t->n_failed);
    return t->n_failed || n == 0 || 100 * killed < least * n;
}

static int run(int argc, char **argv)
{
    Test t = {0};
    CudaLibraries *libraries = cuda_libraries_open();
    StatusText why = {0};
    bool has_names = false;
    int only = -1;
    uint32_t seed = 0;
    for (int a = 1; a < argc; a++) {
        if (!strcmp(argv[a], "--line") && a + 1 < argc)
            only = atoi(argv[++a]);
        else if (!strcmp(argv[a], "--full"))
            t.is_full = true;
        else if (!strcmp(argv[a], "--each") && a + 1 < argc)
            t.each = atoi(argv[++a]);
        else if (!strcmp(argv[a], "--seed") && a + 1 < argc)
            seed = (uint32_t)atoi(argv[++a]);
        else if (!strcmp(argv[a], "-v"))
            t.is_verbose = true;
        else
            has_names = true;
    }
    t.each = t.each > 0 ? t.each : t.is_full ? 3 : 2;
    if (cuda_find_nvrtc(libraries, &t.nvrtc, &why) != STATUS_OK) {
        printf("skipped: %s\n", why.text);
        return 77;
    }
    if (!edit_rules_open(t.re)) {
        printf("FAIL: a pattern of edit_rule is none\n");
        return 1;
    }
    Line *line = arena_array(&t.arena, Line, MOST_LINES);
    const size_t n = zoo_read_lines(&t.arena, "mutants.txt", line);
    for (size_t i = 0; i < n; i++)
        line[i].is_stirred = !line[i].is_whole;
    for (size_t i = 0; i < n; i++)
        if (only >= 0 ? (int)i == only : has_names ? is_named(line[i].model, argc, argv) : t.is_full || line[i].in_sample) {
            t.random = zoo_mixed(seed + (uint32_t)i);           // so that --full is all lines, each with --line
            check_model(&t, &line[i]);
        }
    print_table(&t);
    const int code = conclude(&t);
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
