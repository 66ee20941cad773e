// See generations.h.
#define _GNU_SOURCE
#include "generations.h"

#include "safetensors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char last_name[] = "last.safetensors", last_temporary[] = "last.safetensors.link";

static const char *file_name(Arena *arena, int64_t step)
{
    return arena_printf(arena, "step-%09lld.safetensors", (long long)step);
}

const char *generation_path(Arena *arena, const char *folder, int64_t step)
{
    return arena_printf(arena, "%s/%s", folder, file_name(arena, step));
}

// The step that a file name stands for; -1: it is no generation.
static int64_t step_of(const char *name)
{
    char *end;
    if (strncmp(name, "step-", 5) != 0 || name[5] < '0' || name[5] > '9')
        return -1;
    errno = 0;
    long long step = strtoll(name + 5, &end, 10);
    return errno == 0 && strcmp(end, ".safetensors") == 0 ? step : -1;
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static Status list_steps(Arena *arena, const char *folder, int64_t **out_step, size_t *out_n, StatusText *why)
{
    DIR *dir = opendir(folder);
    size_t capacity = 0;
    *out_step = NULL;
    *out_n = 0;
    if (!dir)
        return status_fail(why, STATUS_IO, "the folder '%s' cannot be read: %s", folder, strerror(errno));
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        int64_t step = step_of(e->d_name);
        if (step < 0)
            continue;
        *out_step = arena_grow(arena, *out_step, *out_n, &capacity, sizeof **out_step);
        (*out_step)[(*out_n)++] = step;
    }
    closedir(dir);
    if (*out_n)
        qsort(*out_step, *out_n, sizeof **out_step, newest_first);
    return STATUS_OK;
}

static Status point_last_at(int dir, const char *folder, const char *name, StatusText *why)
{
    unlinkat(dir, last_temporary, 0);       // left by a crash
    if (symlinkat(name, dir, last_temporary) != 0)
        return status_fail(why, STATUS_IO, "'%s/%s' cannot be made: %s", folder, last_temporary, strerror(errno));
    if (renameat(dir, last_temporary, dir, last_name) != 0) {
        int error = errno;
        unlinkat(dir, last_temporary, 0);
        return status_fail(why, STATUS_IO, "'%s/%s' cannot be put in place: %s", folder, last_name, strerror(error));
    }
    if (fsync(dir) != 0 && errno != EINVAL)
        return status_fail(why, STATUS_IO, "the folder '%s' cannot be made durable: %s", folder, strerror(errno));
    return STATUS_OK;
}

Status generation_publish(const char *folder, int64_t step, int keep, StatusText *why)
{
    Arena arena = {0};
    int64_t *steps;
    size_t n;
    int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return status_fail(why, STATUS_IO, "the folder '%s' cannot be opened: %s", folder, strerror(errno));
    Status s = point_last_at(dir, folder, file_name(&arena, step), why);
    if (s == STATUS_OK)
        s = list_steps(&arena, folder, &steps, &n, why);
    int kept = 0;
    for (size_t i = 0; s == STATUS_OK && i < n; i++) {
        // Later ones belong to a run that was given up when this one went back; they must not come first after a crash.
        bool keep_it = steps[i] == step || (steps[i] < step && kept < keep);
        if (keep_it)
            kept++;
        else if (unlinkat(dir, file_name(&arena, steps[i]), 0) != 0 && errno != ENOENT)
            s = status_fail(why, STATUS_IO, "the old checkpoint of step %lld in '%s' cannot be removed: %s",
                            (long long)steps[i], folder, strerror(errno));
    }
    close(dir);
    arena_free(&arena);
    return s;
}

static Status try_open(const char *path, StatusText *why)
{
    Arena scratch = {0};
    Safetensors st;
    Status s = st_open(&scratch, path, &st, why);
    if (s == STATUS_OK)
        st_close(&st);
    arena_free(&scratch);
    return s;
}

Status generation_newest(Arena *arena, const char *folder, const char **out_path, int *out_skipped, StatusText *why)
{
    StatusText first = {0};
    struct stat st;
    int64_t *steps;
    size_t n;
    int skipped = 0;
    const char *last = arena_printf(arena, "%s/%s", folder, last_name);
    Status s = try_open(last, &first);
    if (s == STATUS_OK) {
        *out_path = last;
        *out_skipped = 0;
        return STATUS_OK;
    }
    if (s == STATUS_OUT_OF_MEMORY)          // says nothing about the file
        return status_fail(why, s, "%s", first.text);
    skipped += lstat(last, &st) == 0;
    s = list_steps(arena, folder, &steps, &n, why);
    for (size_t i = 0; s == STATUS_OK && i < n; i++) {
        const char *path = generation_path(arena, folder, steps[i]);
        StatusText text = {0};
        Status opened = try_open(path, &text);
        if (opened == STATUS_OK) {
            *out_path = path;
            *out_skipped = skipped;
            return STATUS_OK;
        }
        if (opened == STATUS_OUT_OF_MEMORY)
            return status_fail(why, opened, "%s", text.text);
        skipped += skipped == 0 || i > 0;   // what last.safetensors names is counted once
    }
    if (s == STATUS_OK)
        s = skipped ? status_fail(why, STATUS_DAMAGED, "no checkpoint in '%s' can be used: %.700s", folder, first.text)
                    : status_fail(why, STATUS_IO, "there is no checkpoint in '%s'", folder);
    return s;
}
