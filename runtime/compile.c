// See compile.h.
#define _GNU_SOURCE
#include "compile_parts.h"

#include "proc.h"
#include "temp_folder.h"
#include "text.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

enum { DEFAULT_LIMIT_S = 300, MESSAGE_LINES = 6 };

// The usual flags, and those that any compiler for a system with shared objects takes.
static const char *const usual_flag[] = {
    "-std=gnu17", "-O2", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math",
    "-fPIC", "-shared", "-w", NULL,
};
static const char *const plain_flag[] = {"-O2", "-fPIC", "-shared", NULL};
static_assert(sizeof usual_flag / sizeof usual_flag[0] <= COMPILER_MAX_FLAGS, "room for the flags");

const char *const *compiler_flags(const Compiler *c)
{
    return c->is_plain ? plain_flag : usual_flag;
}

Compiler compiler_make(Arena *arena, const char *name)
{
    const char *limit = getenv("MIXC_COMPILE_TIMEOUT");
    double limit_s = limit ? strtod(limit, NULL) : 0;
    if (!name || !name[0])
        name = getenv("CC");
    if (!name || !name[0])
        name = "cc";
    return (Compiler){.arena = arena, .name = arena_strdup(arena, name),
                      .limit_s = limit_s > 0 ? limit_s : DEFAULT_LIMIT_S};
}

// $CC may be a path with spaces in it or several words; a file of that very name comes first.
static bool find(Compiler *c)
{
    static const char *const no_words[] = {NULL};
    c->extra = no_words;
    c->path = proc_find_program(c->arena, c->name);
    if (c->path)
        return true;
    const char **word = arena_array(c->arena, const char *, COMPILER_MAX_WORDS + 1);
    int n = 0;
    for (const char *p = c->name; *p && n < COMPILER_MAX_WORDS;) {
        size_t skip = strspn(p, " \t");
        size_t length = strcspn(p + skip, " \t");
        if (length)
            word[n++] = arena_strndup(c->arena, p + skip, length);
        p += skip + length;
    }
    if (n < 2)
        return false;
    c->path = proc_find_program(c->arena, word[0]);
    c->extra = word + 1;
    return c->path != NULL;
}

// Only what a compiler needs to find itself; the variables that change what it compiles are left out.
const char *const *compiler_env(Arena *arena, const char *tmpdir)
{
    static const char *const kept[] = {"PATH", "HOME", "LD_LIBRARY_PATH"};
    const char **env = arena_array(arena, const char *, 8);
    int n = 0;
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        const char *value = getenv(kept[i]);
        if (value)
            env[n++] = arena_printf(arena, "%s=%s", kept[i], value);
    }
    env[n++] = "LC_ALL=C";
    env[n++] = "CCACHE_DISABLE=1";
    if (tmpdir)
        env[n++] = arena_printf(arena, "TMPDIR=%s", tmpdir);
    return env;
}

int compiler_words(const char **argv, int n, const Compiler *c)
{
    argv[n++] = c->path;
    for (int i = 0; c->extra[i]; i++)
        argv[n++] = c->extra[i];
    return n;
}

Status compiler_identify(Compiler *c, StatusText *why)
{
    if (c->version)
        return STATUS_OK;
    if (!c->path && !find(c)) {
        const char *path = getenv("PATH");
        return status_fail(why, STATUS_NO_COMPILER,
                           "there is no C compiler '%s' on the search path (PATH=%s); install gcc or clang, or name one "
                           "in CC", c->name, path ? path : "");
    }
    const char *argv[COMPILER_MAX_WORDS + 4] = {0};
    argv[compiler_words(argv, 0, c)] = "--version";
    Proc proc = {.argv = argv, .env = compiler_env(c->arena, NULL)};
    Status s = proc_run_all(c->arena, &proc, 1, c->limit_s, why);
    if (s != STATUS_OK)
        return s;
    if (!proc_ok(&proc))
        return status_fail(why, STATUS_NO_COMPILER, "the C compiler '%s' does not work: asked for its version, it "
                           "ended with %s: %.300s", c->path, proc_ending(c->arena, &proc), proc.output);
    c->version = proc.output;
    return STATUS_OK;
}

// What -march=native looks at.
static void add_cpu_features(Text *out)
{
#if defined(__x86_64__) || defined(__i386__)
    static const unsigned leaf[][2] = {{0, 0}, {1, 0}, {7, 0}, {7, 1}, {0xd, 1}, {0x19, 0},
                                       {0x80000001, 0}, {0x80000008, 0}};
    for (size_t i = 0; i < sizeof leaf / sizeof leaf[0]; i++) {
        unsigned a = 0, b = 0, c = 0, d = 0;
        if (!__get_cpuid_count(leaf[i][0], leaf[i][1], &a, &b, &c, &d))
            continue;
        if (leaf[i][0] == 1)
            b &= 0xff00;                    // the rest of ebx numbers the core we happen to run on
        text_printf(out, "%x.%x:%x,%x,%x,%x ", leaf[i][0], leaf[i][1], a, b, c, d);
    }
#else
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[4096];
    while (f && fgets(line, sizeof line, f)) {
        if (!line[strspn(line, " \t\n")])   // the first core speaks for all
            break;
        if (!strstr(line, "MHz") && !strstr(line, "BogoMIPS"))
            text_add(out, line);
    }
    if (f)
        fclose(f);
#endif
}

const char *compiler_key(Arena *arena, const Compiler *c)
{
    Text key = text_make(arena);
    text_printf(&key, "compiler %s", c->path);
    for (int i = 0; c->extra[i]; i++)
        text_printf(&key, " %s", c->extra[i]);
    text_add(&key, "\nflags");
    for (const char *const *flag = compiler_flags(c); *flag; flag++)
        text_printf(&key, " %s", *flag);
    text_add(&key, "\ncpu ");
    add_cpu_features(&key);
    text_add(&key, "\nversion ");
    text_add(&key, c->version);
    text_add(&key, "\n");
    return text_str(&key);
}

bool compiler_write(const char *path, const char *data, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    while (n > 0) {
        ssize_t w = write(fd, data, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            break;
        data += w;
        n -= (size_t)w;
    }
    int error = n ? errno : 0;
    if (close(fd) != 0 && !error)
        error = errno;
    errno = error;
    return error == 0;
}

static bool read_whole(Arena *arena, const char *path, void **out_data, size_t *out_n)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    bool ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    size_t n = 0, size = ok ? (size_t)st.st_size : 0;
    char *data = arena_alloc(arena, size + 1, 1);
    while (ok && n < size) {
        ssize_t r = read(fd, data + n, size - n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            break;
        n += (size_t)r;
    }
    close(fd);
    *out_data = data;
    *out_n = n;
    return ok && n == size;
}

// The first few lines of what the compiler said, on one line.
const char *compiler_said(Arena *arena, const char *output)
{
    Text text = text_make(arena);
    int lines = 0;
    for (const char *p = output; *p && lines < MESSAGE_LINES && text.n < 700; p++) {
        if (*p == '\n') {
            lines++;
            text_add(&text, " | ");
        } else if ((unsigned char)*p >= ' ') {
            text_char(&text, *p);
        }
    }
    return text_str(&text);
}

static Proc make_job(Compiler *c, Arena *arena, const char *folder, int i)
{
    const char **argv = arena_array(arena, const char *, COMPILER_MAX_WORDS + COMPILER_MAX_FLAGS + 8);
    int n = compiler_words(argv, 0, c);
    for (const char *const *flag = compiler_flags(c); *flag; flag++)
        argv[n++] = *flag;
    argv[n++] = "-o";
    argv[n++] = arena_printf(arena, "%s/%d.so", folder, i);
    argv[n++] = arena_printf(arena, "%s/%d.c", folder, i);
    return (Proc){.argv = argv, .env = compiler_env(arena, folder)};
}

static Status compile_in(Compiler *c, Arena *arena, const char *folder, CompiledUnit *unit, const bool *take, int n,
                         bool *out_refused, StatusText *why)
{
    Proc *proc = arena_array(arena, Proc, (size_t)n);
    int *of = arena_array(arena, int, (size_t)n);
    int n_jobs = 0;
    for (int i = 0; i < n; i++) {
        if (take && !take[i])
            continue;
        const char *path = arena_printf(arena, "%s/%d.c", folder, i);
        if (!compiler_write(path, unit[i].text, strlen(unit[i].text)))
            return status_fail(why, STATUS_IO, "'%s' cannot be written: %s", path, strerror(errno));
        of[n_jobs] = i;
        proc[n_jobs++] = make_job(c, arena, folder, i);
    }
    Status s = proc_run_all(arena, proc, n_jobs, c->limit_s, why);
    if (s != STATUS_OK)
        return s;
    for (int k = 0; k < n_jobs; k++) {
        CompiledUnit *u = &unit[of[k]];
        if (!proc_ok(&proc[k])) {
            *out_refused = true;
            return status_fail(why, STATUS_INTERNAL, "the C compiler '%s' refused %s (%s): %s", c->path, u->label,
                               proc_ending(arena, &proc[k]), compiler_said(arena, proc[k].output));
        }
        const char *path = arena_printf(arena, "%s/%d.so", folder, of[k]);
        if (!read_whole(arena, path, &u->data, &u->n))
            return status_fail(why, STATUS_NO_COMPILER, "the C compiler '%s' reported success but left no output for %s",
                               c->path, u->label);
    }
    return STATUS_OK;
}

static Status in_new_folder(Compiler *c, Arena *arena, CompiledUnit *unit, const bool *take, int n, bool *out_refused,
                            StatusText *why)
{
    TempFolder folder;
    Status s = temp_folder_make(arena, &folder, why);
    if (s != STATUS_OK)
        return s;
    s = compile_in(c, arena, folder.path, unit, take, n, out_refused, why);
    temp_folder_remove(&folder);
    return s;
}

// Does it compile an empty program?
bool compiler_works(Compiler *c, Arena *arena, StatusText *why)
{
    CompiledUnit probe = {.text = "int mixc_probe(void) { return 1; }\n", .label = "an empty program"};
    bool refused = false;
    in_new_folder(c, arena, &probe, NULL, 1, &refused, why);
    return !refused;
}

Status compiler_run(Compiler *c, Arena *arena, CompiledUnit *unit, const bool *take, int n, StatusText *why)
{
    StatusText first = {0}, probe = {0};
    bool refused = false;
    Status s = compiler_identify(c, why);
    if (s == STATUS_OK)
        s = in_new_folder(c, arena, unit, take, n, &refused, &first);
    if (refused && !c->is_plain && !compiler_works(c, arena, &probe)) {
        // Not our text. Perhaps a flag: not every compiler knows -march=native or -std=gnu17.
        c->is_plain = true;
        if (compiler_works(c, arena, &(StatusText){0})) {
            first = (StatusText){0};
            refused = false;
            s = in_new_folder(c, arena, unit, take, n, &refused, &first);
        } else {
            c->is_plain = false;
            return status_fail(why, STATUS_NO_COMPILER, "the C compiler does not work: %.900s", probe.text);
        }
    }
    return s == STATUS_OK ? s : first.text[0] ? status_fail(why, s, "%s", first.text) : s;
}
