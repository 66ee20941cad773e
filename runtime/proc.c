// See proc.h.
#define _GNU_SOURCE
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { OUTPUT_MAX = 16 * 1024 };

double proc_now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// Starts one child in a process group of its own, so that a time limit reaches what it started too.
static int start(const Proc *proc, int output_fd, pid_t *out_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    int error = posix_spawn_file_actions_init(&actions);
    if (error)
        return error;
    error = posix_spawnattr_init(&attr);
    if (error) {
        posix_spawn_file_actions_destroy(&actions);
        return error;
    }
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGINT);
    sigaddset(&defaults, SIGTERM);
    sigaddset(&defaults, SIGPIPE);
    error = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (!error) error = posix_spawn_file_actions_adddup2(&actions, output_fd, 1);
    if (!error) error = posix_spawn_file_actions_adddup2(&actions, output_fd, 2);
    if (!error) error = posix_spawnattr_setpgroup(&attr, 0);
    if (!error) error = posix_spawnattr_setsigmask(&attr, &none);
    if (!error) error = posix_spawnattr_setsigdefault(&attr, &defaults);
    if (!error) error = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                        POSIX_SPAWN_SETSIGDEF);
    if (!error)
        error = posix_spawn(out_pid, proc->argv[0], &actions, &attr, (char *const *)proc->argv,
                            (char *const *)proc->env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

// Waits for one child until `deadline`; returns false when time ran out.
static bool wait_for(pid_t pid, double deadline, int *out_status)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);      // older kernels: fd < 0, then we look every 2 ms
    bool ended = false;
    for (;;) {
        pid_t r = waitpid(pid, out_status, WNOHANG);
        if (r == pid) {
            ended = true;
            break;
        }
        if (r < 0 && errno != EINTR) {                   // somebody else collected it: count it as failed
            *out_status = 127 << 8;
            ended = true;
            break;
        }
        double left = deadline - proc_now_s();
        if (left <= 0)
            break;
        int left_ms = left > 1000 ? 1000000 : (int)(left * 1000) + 1;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        poll(&p, fd >= 0 ? 1 : 0, fd >= 0 ? left_ms : left_ms < 2 ? left_ms : 2);
    }
    if (fd >= 0)
        close(fd);
    return ended;
}

static const char *read_output(Arena *arena, int fd)
{
    char *text = arena_alloc(arena, OUTPUT_MAX + 1, 1);
    size_t n = 0;
    while (n < OUTPUT_MAX) {
        ssize_t r = pread(fd, text + n, OUTPUT_MAX - n, (off_t)n);
        if (r <= 0)
            break;
        n += (size_t)r;
    }
    for (size_t i = 0; i < n; i++)                       // a NUL would hide the rest
        if (!text[i])
            text[i] = '?';
    text[n] = 0;
    return text;
}

static void kill_group(pid_t pid)
{
    int status;
    kill(-pid, SIGKILL);
    kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
}

Status proc_run_all(Arena *arena, Proc *proc, int n, double limit_s, StatusText *why)
{
    pid_t *pid = arena_array(arena, pid_t, (size_t)n);
    int *fd = arena_array(arena, int, (size_t)n);
    double begin = proc_now_s();
    Status s = STATUS_OK;
    int started = 0;
    for (; started < n && s == STATUS_OK; started++) {
        Proc *p = &proc[started];
        fd[started] = memfd_create("mixc-output", MFD_CLOEXEC);
        int error = fd[started] < 0 ? errno : start(p, fd[started], &pid[started]);
        if (error) {
            if (fd[started] >= 0)
                close(fd[started]);
            s = status_fail(why, STATUS_NO_COMPILER, "'%s' cannot be started: %s", p->argv[0], strerror(error));
            break;
        }
    }
    for (int i = 0; i < started; i++) {
        double limit = s == STATUS_OK ? begin + limit_s : 0;      // after a failure nobody is waited for
        if (wait_for(pid[i], limit, &proc[i].wait_status)) {
            proc[i].ended = true;
        } else {
            kill_group(pid[i]);
            proc[i].timed_out = true;
            if (s == STATUS_OK)
                s = status_fail(why, STATUS_NO_COMPILER, "'%s' did not finish within %g seconds and was stopped",
                                proc[i].argv[0], limit_s);
        }
        proc[i].seconds = proc_now_s() - begin;
        proc[i].output = read_output(arena, fd[i]);
        close(fd[i]);
    }
    return s;
}

bool proc_ok(const Proc *proc)
{
    return proc->ended && WIFEXITED(proc->wait_status) && WEXITSTATUS(proc->wait_status) == 0;
}

const char *proc_ending(Arena *arena, const Proc *proc)
{
    if (WIFSIGNALED(proc->wait_status))
        return arena_printf(arena, "killed by signal %d (%s)", WTERMSIG(proc->wait_status),
                            strsignal(WTERMSIG(proc->wait_status)));
    return arena_printf(arena, "exit code %d", WEXITSTATUS(proc->wait_status));
}

static bool is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

const char *proc_find_program(Arena *arena, const char *name)
{
    if (!name[0])
        return NULL;
    if (strchr(name, '/')) {                             // links are kept: some compilers look at their own name
        char cwd[PATH_MAX];
        if (!is_program(name))
            return NULL;
        if (name[0] == '/')
            return arena_strdup(arena, name);
        return getcwd(cwd, sizeof cwd) ? arena_printf(arena, "%s/%s", cwd, name) : NULL;
    }
    const char *path = getenv("PATH");
    while (path && *path) {
        size_t n = strcspn(path, ":");
        if (n > 0 && path[0] == '/') {                   // relative entries are not searched
            const char *candidate = arena_printf(arena, "%.*s/%s", (int)n, path, name);
            if (is_program(candidate))
                return candidate;
        }
        path += n + (path[n] == ':');
    }
    return NULL;
}
