// See tune.h: the parent's side. What a child does is in kernel_trial.c.
#define _GNU_SOURCE
#include "tune.h"

#include "ceiling.h"
#include "codegen.h"
#include "kernel_trial.h"
#include "proc.h"
#include "trial_process.h"
#include "tuned.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SILENCE_MS = 120000, FINALISTS = 3 };     // a child that says nothing for so long hangs
static const double promising = 1;          // of the default's time in the first race: the last ones may find more

// "y[B = 5, D = 37] = x[..] * w[..]": the first line of the kernel's text.
static const char *describe(Arena *arena, const Program *p)
{
    const Launch *last = p->n_launches ? &p->launch[p->n_launches - 1] : NULL;
    const char *text = last ? p->kernel[last->kernel].text : "";
    text += strspn(text, "/ ");
    return arena_strndup(arena, text, strcspn(text, "\n"));
}

static void add_kernel(Tune *t, const KernelClass *class, const Target *target)
{
    Candidate *candidate;
    const size_t n = codegen_candidates(t->arena, t->g, class->kernel, target, t->options.candidates, &candidate);
    if (n < 2)
        return;
    Sources sources = sources_make(t->arena);
    Diag diag = diag_make(t->arena, &sources);
    const Graph *g = codegen_kernel_graph(t->arena, &diag, t->g, class->kernel);
    const Program *p = g ? codegen_program(t->arena, &diag, g, target) : NULL;
    const char *about = p ? describe(t->arena, p) : "";
    const char *family = kernel_family_text[t->g->kernel[class->kernel]], *match = t->options.match;
    const char *key = arena_printf(t->arena, "%016llx", (unsigned long long)class->key);
    if (!p || (match && strcmp(match, family) != 0 && strcmp(match, key) != 0 && !strstr(about, match)))
        return;
    TuneKernel *k = &t->kernel[t->n++];
    *k = (TuneKernel){.key = class->key, .kernel = class->kernel, .instances = class->instances, .about = about,
                      .candidate = candidate, .n = n, .known = arena_array(t->arena, bool, n), .ratio = arena_array(t->arena, double, n)};
    for (size_t i = 0; i < n && t->db; i++) {
        k->known[i] = tuning_find(t->db, k->key, schedule_text(t->arena, &candidate[i].schedule), &k->ratio[i]);
        k->n_known += k->known[i];
    }
    t->n_candidates += n;
    t->n_known += k->n_known;
}

// What takes most of a step comes first, as far as the cost model knows: a budget then goes where it pays.
static int by_weight(const void *a, const void *b)
{
    const TuneKernel *x = a, *y = b;
    const double left = x->candidate[0].cycles * (double)x->instances, right = y->candidate[0].cycles * (double)y->instances;
    return left != right ? (left < right) - (left > right) : (x->kernel > y->kernel) - (x->kernel < y->kernel);
}

static const Schedule *find_nothing(void *user, uint64_t kernel)
{
    (void)user, (void)kernel;
    return NULL;
}

Status tune_calibrate(Tune *t, const char *place, bool anew, StatusText *why)
{
    const Target *target = engine_target(t->engine);
    Ceiling ceiling;
    CostConstants cost;
    Status status = STATUS_OK;
    if (target->is_cuda)
        return STATUS_OK;
    if (anew || !tuned_constants(t->db, &cost)) {
        status = ceiling_measure(t->engine, &ceiling, why);
        if (status != STATUS_OK)
            return status;
        const double threads = target->threads > 0 ? target->threads : 1;
        const double clock = ceiling.flops / (4 * threads * target->vector_floats);         // two multiply-adds a cycle
        cost = (CostConstants){.launch = ceiling.launch * clock, .copy = 8 * threads * clock / ceiling.bytes};
        status = tuned_keep_constants(t->db, &cost, why);
    }
    if (status != STATUS_OK || !tuned_constants(t->db, &cost))
        return status;
    t->face.cost = cost;
    return tuned_move(t->db, t->arena, place, &cost, why);
}

void tune_begin(Tune *t)
{
    KernelClass *class;
    Target target = *engine_target(t->engine);
    t->face.find = find_nothing;
    target.schedules = &t->face;            // candidate 0 is what the cost model says
    const size_t n = codegen_kernel_classes(t->arena, t->g, &class);
    t->n_structures = n;
    t->kernel = arena_array(t->arena, TuneKernel, n + 1);
    for (size_t i = 0; i < n; i++)
        add_kernel(t, &class[i], &target);
    qsort(t->kernel, t->n, sizeof *t->kernel, by_weight);
    for (; t->options.kernels && t->n > t->options.kernels; t->n--) {
        t->n_candidates -= t->kernel[t->n - 1].n;
        t->n_known -= t->kernel[t->n - 1].n_known;
    }
}

// --- a child and what it says

typedef struct Child {
    pid_t pid;
    int   fd;
    char  line[1024];
    size_t n;
} Child;

// What a child is asked: to try schedules and time them, or to time again what was tried before.
typedef struct Question {
    const Schedule *schedule; size_t n;     // the first is the default
    bool            is_final;
    double          seconds;
} Question;

// A child that tries the schedules. It shares nothing with us but the pipe.
static Status start_child(const Tune *t, const TuneKernel *k, const Question *ask, Child *out, StatusText *why)
{
    int fd[2];
    if (pipe2(fd, O_CLOEXEC) != 0)          // compilers that outlive a child do not hold it open
        return status_fail(why, STATUS_IO, "no pipe for a trial: %s", strerror(errno));
    fflush(NULL);
    const pid_t pid = fork();
    if (pid < 0) {
        close(fd[0]);
        close(fd[1]);
        return status_fail(why, STATUS_IO, "no process for a trial: %s", strerror(errno));
    }
    if (pid == 0) {
        close(fd[0]);
        FILE *to = fdopen(fd[1], "w");
        Arena arena;
        arena_init(&arena);
        Sources sources = sources_make(&arena);
        Diag diag = diag_make(&arena, &sources);
        Device *device;
        Target target = *engine_target(t->engine);
        target.schedules = &t->face;
        const DeviceOps *ops = engine_device(t->engine, &device);
        const Graph *g = codegen_kernel_graph(&arena, &diag, t->g, k->kernel);
        const Trial trial = {.g = g, .target = &target, .schedule = ask->schedule, .n = ask->n, .ops = ops, .on_device = &t->options.on_device,
                             .seconds = ask->seconds, .is_final = ask->is_final, .counted_as = t->options.counted_as};
        if (to && g && ops->is_lost_by_fork && !t->options.on_device.driver)
            trial_exec(&trial, fileno(to));
        else if (to && g)
            trial_run(&trial, to);
        _exit(0);
    }
    close(fd[1]);
    *out = (Child){.pid = pid, .fd = fd[0]};
    return STATUS_OK;
}

// The next line, without its end. False when there is none: the child has ended, or hangs and was ended.
static bool next_line(Child *c, char *out, size_t room)
{
    for (;;) {
        char *end = memchr(c->line, '\n', c->n);
        if (end || c->n == sizeof c->line) {
            const size_t n = end ? (size_t)(end - c->line) : c->n, used = end ? n + 1 : n;
            const size_t kept = n < room - 1 ? n : room - 1;
            memcpy(out, c->line, kept);
            out[kept] = 0;
            memmove(c->line, c->line + used, c->n - used);
            c->n -= used;
            return true;
        }
        struct pollfd ready = {.fd = c->fd, .events = POLLIN};
        const int any = poll(&ready, 1, SILENCE_MS);
        if (any < 0 && errno == EINTR)
            continue;
        if (any <= 0) {
            kill(c->pid, SIGKILL);
            return false;
        }
        const ssize_t got = read(c->fd, c->line + c->n, sizeof c->line - c->n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        c->n += (size_t)got;
    }
}

static void end_child(Child *c)
{
    int how;
    close(c->fd);
    while (waitpid(c->pid, &how, 0) < 0 && errno == EINTR)
        ;
}

// What it says of a schedule.
typedef struct Answer {
    char   word[16];                        // try, ok, wrong, refused
    size_t schedule;
    double seconds, ratio;                  // of ok
    int    rounds, wins;
} Answer;

typedef Status OnAnswer(void *user, const Answer *answer, StatusText *why);

// Asks a child and hands on what it says. *out_fell: the schedule it tried when it ended without having said what came of it;
// n: none. *out_any: it said something.
static Status ask_child(const Tune *t, const TuneKernel *k, const Question *ask, OnAnswer *on, void *user, size_t *out_fell, bool *out_any,
                        StatusText *why)
{
    Child child;
    Status status = start_child(t, k, ask, &child, why);
    *out_any = false;
    *out_fell = ask->n;
    if (status != STATUS_OK)
        return status;
    char line[1024];
    while (status == STATUS_OK && next_line(&child, line, sizeof line)) {
        Answer a = {0};
        int at = 0;
        if (sscanf(line, "%15s %zu %n", a.word, &a.schedule, &at) < 2 || a.schedule >= ask->n)
            continue;
        const bool is_ok = !strcmp(a.word, "ok");
        if (is_ok && sscanf(line + at, "%lf %lf %d %d", &a.seconds, &a.ratio, &a.rounds, &a.wins) != 4)
            continue;
        *out_any = true;
        *out_fell = !strcmp(a.word, "try") ? a.schedule : ask->n;
        status = on(user, &a, why);
    }
    end_child(&child);
    return status;
}

// --- all candidates of a kernel

typedef struct Keeping {
    Tune         *t;
    TuneKernel   *k;
    const size_t *which;                    // the candidate of each schedule that the child was given
    double        beside;                   // the default's time; it comes first
} Keeping;

static Status keep(Keeping *K, size_t candidate, TuningOutcome outcome, double ratio, StatusText *why)
{
    Tune *t = K->t;
    TuneKernel *k = K->k;
    const TuningRow row = {.kernel = k->key, .schedule = schedule_text(t->arena, &k->candidate[candidate].schedule), .outcome = outcome,
                           .seconds = ratio * K->beside, .beside = K->beside * (outcome == TUNING_OK), .about = k->about};
    if (k->known[candidate])
        return STATUS_OK;
    k->known[candidate] = true;
    k->ratio[candidate] = outcome == TUNING_OK ? ratio : 0;
    k->n_known++;
    t->n_known++;
    return tuning_put(t->db, &row, why);
}

static Status keep_answer(void *user, const Answer *a, StatusText *why)
{
    Keeping *K = user;
    if (!strcmp(a->word, "ok")) {
        if (K->which[a->schedule] == 0)
            K->beside = a->seconds;
        return keep(K, K->which[a->schedule], TUNING_OK, a->ratio, why);
    }
    if (!strcmp(a->word, "wrong") || !strcmp(a->word, "refused"))
        return keep(K, K->which[a->schedule], a->word[0] == 'w' ? TUNING_WRONG : TUNING_REFUSED, 0, why);
    return STATUS_OK;
}

// Runs one child over the candidates not known yet (and the default, to compare with). *out_tried: it said something.
static Status try_once(Tune *t, TuneKernel *k, bool *out_tried, StatusText *why)
{
    Schedule *schedule = arena_array(t->arena, Schedule, k->n);
    size_t *which = arena_array(t->arena, size_t, k->n), n = 0, fell;
    for (size_t i = 0; i < k->n; i++)
        if (i == 0 || !k->known[i]) {
            which[n] = i;
            schedule[n++] = k->candidate[i].schedule;
        }
    Keeping K = {t, k, which, 0};
    const Question ask = {.schedule = schedule, .n = n, .seconds = t->options.seconds};
    Status status = ask_child(t, k, &ask, keep_answer, &K, &fell, out_tried, why);
    if (status == STATUS_OK && fell < n)
        status = keep(&K, which[fell], TUNING_CRASHED, 0, why);
    return status;
}

// --- the last races

// Of those that beat the default in the first race, the best, [0] first.
static size_t find_finalists(const TuneKernel *k, size_t *out)
{
    size_t n = 0;
    for (; n < FINALISTS; n++) {
        size_t best = 0;
        for (size_t i = 1; i < k->n; i++) {
            bool taken = false;
            for (size_t j = 0; j < n; j++)
                taken |= out[j] == i;
            if (!taken && k->known[i] && k->ratio[i] > 0 && k->ratio[i] < (best ? k->ratio[best] : promising))
                best = i;
        }
        if (!best)
            break;
        out[n] = best;
    }
    return n;
}

typedef struct Final {
    Tune         *t;
    TuneKernel   *k;
    int           number;
    const size_t *which;                    // the candidate of schedule i > 0
    bool         *done;
} Final;

static Status keep_race(Final *F, size_t schedule, double ratio, int rounds, int wins, StatusText *why)
{
    const TuningRace race = {.kernel = F->k->key, .schedule = schedule_text(F->t->arena, &F->k->candidate[F->which[schedule]].schedule),
                             .number = F->number, .ratio = ratio, .rounds = rounds, .wins = wins};
    F->done[schedule] = true;
    return tuning_put_race(F->t->db, &race, why);
}

static Status keep_final(void *user, const Answer *a, StatusText *why)
{
    return strcmp(a->word, "ok") != 0 || a->schedule == 0 ? STATUS_OK : keep_race(user, a->schedule, a->ratio, a->rounds, a->wins, why);
}

// Race `number` of those finalists that have not run it. A schedule that comes to no time there has lost.
static Status run_final(Tune *t, TuneKernel *k, int number, StatusText *why)
{
    Schedule schedule[FINALISTS + 1] = {k->candidate[0].schedule};
    size_t finalist[FINALISTS], which[FINALISTS + 1] = {0}, n = 1, fell;
    bool done[FINALISTS + 1] = {false}, any;
    const size_t n_finalists = find_finalists(k, finalist);
    for (size_t i = 0; i < n_finalists; i++)
        if (!tuning_has_race(t->db, k->key, schedule_text(t->arena, &k->candidate[finalist[i]].schedule), number)) {
            which[n] = finalist[i];
            schedule[n++] = k->candidate[finalist[i]].schedule;
        }
    if (n == 1)
        return STATUS_OK;
    Final F = {t, k, number, which, done};
    const Question ask = {.schedule = schedule, .n = n, .is_final = true, .seconds = 2 * t->options.seconds};
    Status status = ask_child(t, k, &ask, keep_final, &F, &fell, &any, why);
    for (size_t i = 1; i < n && status == STATUS_OK && any; i++)
        if (!done[i])
            status = keep_race(&F, i, 1, 0, 0, why);
    return status;
}

static Status settle(Tune *t, TuneKernel *k, StatusText *why)
{
    Status status = STATUS_OK;
    for (int number = 0; number < TUNING_RACES && status == STATUS_OK; number++)
        status = run_final(t, k, number, why);
    k->is_settled = status == STATUS_OK;
    t->n_settled += k->is_settled;
    return status;
}

Status tune_run(Tune *t, TuneProgress *progress, void *user, bool *out_finished, StatusText *why)
{
    const double begin = proc_now_s();
    Status status = STATUS_OK;
    *out_finished = false;
    for (size_t i = 0; i < t->n && status == STATUS_OK; i++) {
        TuneKernel *k = &t->kernel[i];
        if (t->options.budget_s > 0 && proc_now_s() - begin > t->options.budget_s)
            return STATUS_OK;
        if (progress && !progress(user, t, i))
            return STATUS_OK;
        for (bool tried = true; status == STATUS_OK && tried && k->n_known < k->n;) {
            const size_t before = k->n_known;
            status = try_once(t, k, &tried, why);
            if (k->n_known == before)
                break;
        }
        if (status == STATUS_OK && k->n_known == k->n)
            status = settle(t, k, why);
    }
    *out_finished = status == STATUS_OK && t->n_settled == t->n;
    return status;
}

// --- schedules that somebody else chose

typedef struct Trying {
    const TuneKernel *k;
    int        race;
    TuneVisit *visit;
    void      *user;
} Trying;

static Status show_answer(void *user, const Answer *a, StatusText *why)
{
    const Trying *T = user;
    const TuneHeat heat = {.race = T->race, .schedule = a->schedule, .outcome = a->word, .seconds = a->seconds, .ratio = a->ratio, .rounds = a->rounds,
                           .wins = a->wins};
    (void)why;
    if (strcmp(a->word, "try") != 0)
        T->visit(T->user, T->k, &heat);
    return STATUS_OK;
}

Status tune_try(Tune *t, const Schedule *schedule, size_t n, int races, TuneVisit *visit, void *user, StatusText *why)
{
    Status status = STATUS_OK;
    for (size_t i = 0; i < t->n && status == STATUS_OK; i++)
        for (int race = 0; race < races && status == STATUS_OK; race++) {
            Trying T = {&t->kernel[i], race, visit, user};
            const Question ask = {.schedule = schedule, .n = n, .is_final = true, .seconds = 2 * t->options.seconds};
            size_t fell;
            bool any;
            status = ask_child(t, &t->kernel[i], &ask, show_answer, &T, &fell, &any, why);
            if (status == STATUS_OK && fell < n)
                visit(user, &t->kernel[i], &(TuneHeat){.race = race, .schedule = fell, .outcome = "crashed"});
        }
    return status;
}
