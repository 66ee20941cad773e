// See replace_file.h.
#define _GNU_SOURCE
#include "replace_file.h"

#include "arena.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct FileWriter {
    Arena       arena;
    const char *path, *temporary, *folder;  // temporary NULL: `path` itself is written to
    int         fd;
    Status      status;                     // of everything so far
};

static void release(FileWriter *w)
{
    if (w->fd >= 0)
        close(w->fd);
    arena_free(&w->arena);
    free(w);
}

static Status open_in_place(FileWriter *w, StatusText *why)
{
    w->temporary = NULL;
    w->fd = open(w->path, O_WRONLY | O_CLOEXEC);
    return w->fd >= 0 ? STATUS_OK : status_fail(why, STATUS_IO, "'%s' cannot be written: %s", w->path, strerror(errno));
}

static Status open_temporary(FileWriter *w, StatusText *why)
{
    w->fd = open(w->temporary, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (w->fd < 0)
        return status_fail(why, STATUS_IO, "'%s' cannot be made: %s", w->temporary, strerror(errno));
    // Where the file system has no locks, writing goes on without one.
    if (flock(w->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return status_fail(why, STATUS_IO, "'%s' is being written by another process", w->path);
    if (ftruncate(w->fd, 0) == 0)
        return STATUS_OK;
    Status s = status_fail(why, STATUS_IO, "'%s' cannot be emptied: %s", w->temporary, strerror(errno));
    unlink(w->temporary);
    return s;
}

Status file_begin(const char *path, FileWriter **out_writer, StatusText *why)
{
    struct stat st;
    FileWriter *w = calloc(1, sizeof *w);
    if (!w)
        return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory to write '%s'", path);
    w->fd = -1;
    w->path = arena_strdup(&w->arena, path);
    w->temporary = arena_printf(&w->arena, "%s.tmp", path);
    const char *slash = strrchr(path, '/');
    w->folder = !slash ? "." : slash == path ? "/" : arena_strndup(&w->arena, path, (size_t)(slash - path));
    bool is_special = stat(path, &st) == 0 && !S_ISREG(st.st_mode);
    Status s = is_special ? open_in_place(w, why) : open_temporary(w, why);
    if (s == STATUS_OK)
        *out_writer = w;
    else
        release(w);
    return s;
}

Status file_add(FileWriter *w, const void *data, size_t n, StatusText *why)
{
    const char *p = data;
    while (n > 0 && w->status == STATUS_OK) {
        ssize_t r = write(w->fd, p, n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0) {
            w->status = status_fail(why, STATUS_IO, "'%s' cannot be written: %s", w->temporary ? w->temporary : w->path,
                                    r < 0 ? strerror(errno) : "nothing was taken");
            break;
        }
        p += r;
        n -= (size_t)r;
    }
    return w->status;
}

static Status sync_folder(const FileWriter *w, StatusText *why)
{
    int fd = open(w->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    // EINVAL: a file system that cannot sync a folder; then there is nothing more to do.
    bool ok = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
    int error = errno;
    if (fd >= 0)
        close(fd);
    return ok ? STATUS_OK : status_fail(why, STATUS_IO, "the folder '%s' cannot be made durable: %s", w->folder,
                                        strerror(error));
}

Status file_end(FileWriter *w, bool keep, StatusText *why)
{
    if (!w)
        return STATUS_OK;
    Status s = w->status;
    if (!w->temporary) {
        release(w);
        return s;
    }
    if (s == STATUS_OK && keep && fsync(w->fd) != 0)
        s = status_fail(why, STATUS_IO, "'%s' cannot be made durable: %s", w->temporary, strerror(errno));
    bool renamed = s == STATUS_OK && keep && rename(w->temporary, w->path) == 0;
    if (s == STATUS_OK && keep && !renamed)
        s = status_fail(why, STATUS_IO, "'%s' cannot be put in place: %s", w->path, strerror(errno));
    if (!renamed)
        unlink(w->temporary);
    else
        s = sync_folder(w, why);
    release(w);
    return s;
}

Status file_replace(const char *path, const void *data, size_t n, StatusText *why)
{
    FileWriter *w = NULL;
    Status s = file_begin(path, &w, why);
    if (s != STATUS_OK)
        return s;
    s = file_add(w, data, n, why);
    Status end = file_end(w, s == STATUS_OK, why);
    return s == STATUS_OK ? end : s;
}

Status folder_make(const char *path, StatusText *why)
{
    char part[PATH_MAX];
    const size_t n = strlen(path);
    if (n >= sizeof part)
        return status_fail(why, STATUS_IO, "%s: %s", path, strerror(ENAMETOOLONG));
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != 0)
            continue;
        part[i] = 0;
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return status_fail(why, STATUS_IO, "%s: %s", part, strerror(errno));
        part[i] = path[i];
    }
    return STATUS_OK;
}
