// See tune.h: the parent's side. What a child does is in kernel_trial.c.
#define _GNU_SOURCE
#include "tune.h"

#include "codegen.h"
#include "kernel_trial.h"
#include "proc.h"
#include "trial_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SILENCE_MS = 120000 };               // a child that says nothing for so long hangs

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
    if (!p || (match && strcmp(match, family) != 0 && !strstr(about, match)))
        return;
    TuneKernel *k = &t->kernel[t->n++];
    *k = (TuneKernel){.key = class->key, .kernel = class->kernel, .instances = class->instances, .about = about,
                      .candidate = candidate, .n = n, .known = arena_array(t->arena, bool, n)};
    for (size_t i = 0; i < n; i++) {
        k->known[i] = tuning_has(t->db, k->key, schedule_text(t->arena, &candidate[i].schedule));
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

void tune_begin(Tune *t)
{
    KernelClass *class;
    Target target = *engine_target(t->engine);
    target.schedules = NULL;                // candidate 0 is what the cost model says
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

// A child that tries the schedules. It shares nothing with us but the pipe.
static Status start_child(const Tune *t, const TuneKernel *k, const Schedule *schedule, size_t n, Child *out, StatusText *why)
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
        const DeviceOps *ops = engine_device(t->engine, &device);
        const Graph *g = codegen_kernel_graph(&arena, &diag, t->g, k->kernel);
        const Trial trial = {.g = g, .target = &target, .schedule = schedule, .n = n, .ops = ops, .on_device = &t->options.on_device,
                             .seconds = t->options.seconds};
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

// Keeps the outcome of schedule `i` of those the child was given.
static Status keep(Tune *t, TuneKernel *k, size_t candidate, TuningOutcome outcome, double seconds, double beside, StatusText *why)
{
    const TuningRow row = {.kernel = k->key, .schedule = schedule_text(t->arena, &k->candidate[candidate].schedule),
                           .outcome = outcome, .seconds = seconds, .beside = beside, .about = k->about};
    if (k->known[candidate])
        return STATUS_OK;
    k->known[candidate] = true;
    k->n_known++;
    t->n_known++;
    return tuning_put(t->db, &row, why);
}

// The default comes first: its time is what the others of the race are held against.
static Status keep_time(Tune *t, TuneKernel *k, size_t candidate, double seconds, double *beside, StatusText *why)
{
    if (candidate == 0)
        *beside = seconds;
    return keep(t, k, candidate, TUNING_OK, seconds, *beside, why);
}

// Runs one child over the candidates not known yet (and the default, to compare with). *out_tried: it said something.
static Status try_once(Tune *t, TuneKernel *k, bool *out_tried, StatusText *why)
{
    Schedule *schedule = arena_array(t->arena, Schedule, k->n);
    size_t *which = arena_array(t->arena, size_t, k->n), n = 0, trying = 0;
    bool any = false;
    for (size_t i = 0; i < k->n; i++)
        if (i == 0 || !k->known[i]) {
            which[n] = i;
            schedule[n++] = k->candidate[i].schedule;
        }
    Child child;
    Status status = start_child(t, k, schedule, n, &child, why);
    char line[1024], word[16];
    double beside = 0;
    bool *done = arena_array(t->arena, bool, n);
    while (status == STATUS_OK && next_line(&child, line, sizeof line)) {
        size_t i = 0;
        int at = 0;
        if (sscanf(line, "%15s %zu %n", word, &i, &at) < 2 || i >= n)
            continue;
        any = true;
        trying = i;
        done[i] = done[i] || strcmp(word, "try") != 0;
        if (!strcmp(word, "ok"))
            status = keep_time(t, k, which[i], strtod(line + at, NULL), &beside, why);
        else if (!strcmp(word, "wrong") || !strcmp(word, "refused"))
            status = keep(t, k, which[i], word[0] == 'w' ? TUNING_WRONG : TUNING_REFUSED, 0, 0, why);
    }
    *out_tried = any;
    if (status != STATUS_OK && !any)
        return status;
    end_child(&child);
    if (any && !done[trying] && status == STATUS_OK)        // it fell over this one
        status = keep(t, k, which[trying], TUNING_CRASHED, 0, 0, why);
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
    }
    *out_finished = status == STATUS_OK && t->n_known == t->n_candidates;
    return status;
}
