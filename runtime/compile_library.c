// See compile.h: a static and a shared library of C files.
#define _GNU_SOURCE
#include "compile_parts.h"

#include "proc.h"
#include "temp_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Making {
    Compiler   *compiler;
    Arena      *arena;                      // of everything that is made on the way
    const char *folder;
    const LibraryFile *file;
    int         n_files;
    const char *march;
    bool        refused;                    // a C file, by the compiler
} Making;

static const char *object_of(const Making *m, int i)
{
    return arena_printf(m->arena, "%s/%d.o", m->folder, i);
}

static Status write_files(const Making *m, StatusText *why)
{
    for (int i = 0; i < m->n_files; i++) {
        const char *path = arena_printf(m->arena, "%s/%s", m->folder, m->file[i].name);
        if (!compiler_write(path, m->file[i].data, m->file[i].n))
            return status_fail(why, STATUS_IO, "'%s' cannot be written: %s", path, strerror(errno));
    }
    return STATUS_OK;
}

static Proc object_job(const Making *m, int i)
{
    static const char *const launcher_flag[] = {"-std=gnu17", "-O2", "-ffp-contract=off", "-fPIC", "-w", NULL};
    const char **argv = arena_array(m->arena, const char *, COMPILER_MAX_WORDS + COMPILER_MAX_FLAGS + 10);
    const bool launcher = m->file[i].kind == LIBRARY_LAUNCHER && !m->compiler->is_plain;
    int n = compiler_words(argv, 0, m->compiler);
    for (const char *const *flag = launcher ? launcher_flag : compiler_flags(m->compiler); *flag; flag++) {
        if (!strcmp(*flag, "-shared"))
            continue;
        argv[n++] = m->march && !strcmp(*flag, "-march=native") ? arena_printf(m->arena, "-march=%s", m->march) : *flag;
    }
    argv[n++] = "-fvisibility=hidden";
    argv[n++] = "-I";
    argv[n++] = m->folder;
    argv[n++] = "-c";
    argv[n++] = "-o";
    argv[n++] = object_of(m, i);
    argv[n++] = arena_printf(m->arena, "%s/%s", m->folder, m->file[i].name);
    return (Proc){.argv = argv, .env = compiler_env(m->arena, m->folder)};
}

static Status make_objects(Making *m, StatusText *why)
{
    Proc *proc = arena_array(m->arena, Proc, (size_t)m->n_files);
    int *of = arena_array(m->arena, int, (size_t)m->n_files), n = 0;
    for (int i = 0; i < m->n_files; i++)
        if (m->file[i].kind != LIBRARY_DATA) {
            of[n] = i;
            proc[n++] = object_job(m, i);
        }
    Status s = proc_run_all(m->arena, proc, n, m->compiler->limit_s, why);
    for (int k = 0; k < n && s == STATUS_OK; k++) {
        if (proc_ok(&proc[k]))
            continue;
        m->refused = true;
        s = status_fail(why, STATUS_INTERNAL, "the C compiler '%s' refused %s (%s): %s", m->compiler->path, m->file[of[k]].name,
                        proc_ending(m->arena, &proc[k]), compiler_said(m->arena, proc[k].output));
    }
    return s;
}

// Runs a program over all objects: argv[n] on are free.
static Status join(const Making *m, const char **argv, int n, bool is_shared, StatusText *why)
{
    for (int i = 0; i < m->n_files; i++)
        if (m->file[i].kind != LIBRARY_DATA)
            argv[n++] = object_of(m, i);
    if (is_shared) {
        argv[n++] = "-lm";
        argv[n++] = "-lpthread";
    }
    Proc proc = {.argv = argv, .env = compiler_env(m->arena, m->folder)};
    Status s = proc_run_all(m->arena, &proc, 1, m->compiler->limit_s, why);
    if (s != STATUS_OK || proc_ok(&proc))
        return s;
    return status_fail(why, STATUS_NO_COMPILER, "'%s' could not make the %s (%s): %s", argv[0],
                       is_shared ? "shared library" : "archive", proc_ending(m->arena, &proc), compiler_said(m->arena, proc.output));
}

static Status make_shared(const Making *m, const char *path, StatusText *why)
{
    const char **argv = arena_array(m->arena, const char *, COMPILER_MAX_WORDS + (size_t)m->n_files + 8);
    const char *slash = strrchr(path, '/');
    int n = compiler_words(argv, 0, m->compiler);
    argv[n++] = "-shared";
    argv[n++] = arena_printf(m->arena, "-Wl,-soname,%s", slash ? slash + 1 : path);
    argv[n++] = "-o";
    argv[n++] = arena_printf(m->arena, "%s.tmp", path);
    return join(m, argv, n, true, why);
}

static Status make_archive(const Making *m, const char *path, StatusText *why)
{
    const char *name = getenv("AR");
    name = name && name[0] ? name : "ar";
    const char *ar = proc_find_program(m->arena, name);
    if (!ar)
        return status_fail(why, STATUS_NO_COMPILER, "there is no archiver '%s' on the search path; install binutils, or name one "
                           "in AR", name);
    const char **argv = arena_array(m->arena, const char *, (size_t)m->n_files + 8), *part = arena_printf(m->arena, "%s.tmp", path);
    unlink(part);                           // ar adds to what is there
    int n = 0;
    argv[n++] = ar;
    argv[n++] = "rcsD";
    argv[n++] = part;
    return join(m, argv, n, false, why);
}

// Both libraries or none: they get their names when both are there.
static Status publish(const Making *m, const char *archive, const char *shared, StatusText *why)
{
    const char *const path[] = {archive, shared};
    for (int i = 0; i < 2; i++)
        if (rename(arena_printf(m->arena, "%s.tmp", path[i]), path[i]) != 0)
            return status_fail(why, STATUS_IO, "%s: %s", path[i], strerror(errno));
    return STATUS_OK;
}

// Can the results be written? Asked before anything is compiled.
static Status claim(const Making *m, const char *path, StatusText *why)
{
    const int fd = open(arena_printf(m->arena, "%s.tmp", path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return status_fail(why, STATUS_IO, "%s: %s", path, strerror(errno));
    close(fd);
    return STATUS_OK;
}

static Status make_all(Making *m, const char *archive, const char *shared, StatusText *why)
{
    TempFolder folder;
    Status s = temp_folder_make(m->arena, &folder, why);
    if (s != STATUS_OK)
        return s;
    m->folder = folder.path;
    s = claim(m, archive, why);
    if (s == STATUS_OK)
        s = claim(m, shared, why);
    if (s == STATUS_OK)
        s = write_files(m, why);
    if (s == STATUS_OK)
        s = make_objects(m, why);
    if (s == STATUS_OK)
        s = make_shared(m, shared, why);
    if (s == STATUS_OK)
        s = make_archive(m, archive, why);
    if (s == STATUS_OK)
        s = publish(m, archive, shared, why);
    if (s != STATUS_OK) {
        unlink(arena_printf(m->arena, "%s.tmp", archive));
        unlink(arena_printf(m->arena, "%s.tmp", shared));
    }
    temp_folder_remove(&folder);
    return s;
}

Status compiler_library(Compiler *c, Arena *arena, const LibraryFile *file, int n_files, const char *march, const char *archive,
                        const char *shared, StatusText *why)
{
    Making m = {.compiler = c, .arena = arena, .file = file, .n_files = n_files, .march = march};
    StatusText first = {0}, probe = {0};
    Status s = compiler_identify(c, why);
    if (s != STATUS_OK)
        return s;
    s = make_all(&m, archive, shared, &first);
    if (m.refused && march) {
        s = status_fail(why, STATUS_BAD_USAGE, "%s\nhelp: does the compiler know the processor `%s`?", first.text, march);
    } else if (m.refused && !c->is_plain && !compiler_works(c, arena, &probe)) {
        c->is_plain = true;                 // perhaps one of the usual flags: see compiler_run
        m.refused = false;
        first = (StatusText){0};
        if (compiler_works(c, arena, &(StatusText){0}))
            s = make_all(&m, archive, shared, &first);
        else
            s = status_fail(&first, STATUS_NO_COMPILER, "the C compiler does not work: %.900s", probe.text);
    }
    return s == STATUS_OK ? s : status_fail(why, s, "%s", first.text);
}
