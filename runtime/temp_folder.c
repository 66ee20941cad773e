// See temp_folder.h.
#define _GNU_SOURCE
#include "temp_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char prefix[] = "mixc-", lock_name[] = "lock";
enum { AGE_S = 60 };

// Removes the files of an open folder; it has no folders in it.
static void empty(DIR *dir)
{
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlinkat(dirfd(dir), e->d_name, 0);
}

// True when no living process holds the folder: its lock can be had, or it never got one.
static bool is_left(int dir)
{
    int lock = openat(dir, lock_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (lock < 0)
        return errno == ENOENT;
    bool free_to_take = flock(lock, LOCK_EX | LOCK_NB) == 0;
    close(lock);
    return free_to_take;
}

static bool sweep_one(int parent, const char *name, long age_s)
{
    struct stat st;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool ours = fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & 077) == 0
                && time(NULL) - st.st_mtime >= age_s && is_left(fd);
    DIR *dir = ours ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    empty(dir);
    closedir(dir);
    return unlinkat(parent, name, AT_REMOVEDIR) == 0;
}

int temp_folder_sweep(const char *parent, long age_s)
{
    int n = 0;
    DIR *dir = opendir(parent);
    for (const struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir))
        if (!strncmp(e->d_name, prefix, sizeof prefix - 1) && strlen(e->d_name) == sizeof prefix - 1 + 6)
            n += sweep_one(dirfd(dir), e->d_name, age_s);
    if (dir)
        closedir(dir);
    return n;
}

Status temp_folder_make(Arena *arena, TempFolder *out_folder, StatusText *why)
{
    const char *tmp = getenv("TMPDIR");
    if (!tmp || tmp[0] != '/')              // a relative one could look like an option of the compiler
        tmp = "/tmp";
    temp_folder_sweep(tmp, AGE_S);
    char *path = arena_printf(arena, "%s/%sXXXXXX", tmp, prefix);
    if (!mkdtemp(path))
        return status_fail(why, STATUS_IO, "no folder for temporary files can be made in '%s': %s", tmp, strerror(errno));
    const char *lock_path = arena_printf(arena, "%s/%s", path, lock_name);
    int lock = open(lock_path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) != 0) {
        Status s = status_fail(why, STATUS_IO, "'%s' cannot be locked: %s", lock_path, strerror(errno));
        *out_folder = (TempFolder){path, lock};
        temp_folder_remove(out_folder);
        return s;
    }
    *out_folder = (TempFolder){path, lock};
    return STATUS_OK;
}

void temp_folder_remove(TempFolder *folder)
{
    DIR *dir = opendir(folder->path);
    if (dir) {
        empty(dir);
        closedir(dir);
        rmdir(folder->path);
    }
    if (folder->lock >= 0)
        close(folder->lock);
    folder->lock = -1;
}
