// Writing safetensors so that a crash at any moment leaves the old file or the whole new one:
// temporary file in the same folder (locked, always the same name, so that crashes leave at most one), fsync, rename, fsync of
// the folder.
#define _GNU_SOURCE
#include "safetensors.h"

#include "checked.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

struct StWriter {
    Arena     arena;
    const char *path, *temporary, *folder;
    int       fd;
    size_t    expected, written;            // bytes of data
    Status    status;                       // of everything so far
};

static const unsigned st_bytes[ST_COUNT] = {
#define ST(id, bits) [ST_##id] = bits / 8,
#include "st_dtypes.def"
#undef ST
};

static Status write_bytes(StWriter *w, const void *data, size_t n, StatusText *why)
{
    const char *p = data;
    while (n > 0) {
        ssize_t r = write(w->fd, p, n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return w->status = status_fail(why, STATUS_IO, "'%s' cannot be written: %s", w->temporary,
                                           r < 0 ? strerror(errno) : "nothing was taken");
        p += r;
        n -= (size_t)r;
    }
    return STATUS_OK;
}

static bool make_header(StWriter *w, const StSource *source, size_t n, const StMeta *meta, size_t n_meta, Text *json)
{
    text_char(json, '{');
    if (n_meta > 0) {
        text_add(json, "\"__metadata__\":{");
        for (size_t i = 0; i < n_meta; i++) {
            text_add(json, i ? "," : "");
            text_json(json, meta[i].key);
            text_char(json, ':');
            text_json(json, meta[i].value);
        }
        text_char(json, '}');
    }
    for (size_t i = 0; i < n; i++) {
        size_t bytes = st_bytes[source[i].dtype], begin = w->expected;
        text_add(json, i || n_meta ? "," : "");
        text_json(json, source[i].name);
        text_printf(json, ":{\"dtype\":\"%s\",\"shape\":[", st_dtype_text[source[i].dtype]);
        for (size_t k = 0; k < source[i].n_dims; k++) {
            if (source[i].size[k] < 0 || !checked_mul(bytes, (size_t)source[i].size[k], &bytes))
                return false;
            text_printf(json, "%s%lld", k ? "," : "", (long long)source[i].size[k]);
        }
        if (!checked_add(begin, bytes, &w->expected))
            return false;
        text_printf(json, "],\"data_offsets\":[%zu,%zu]}", begin, w->expected);
    }
    text_char(json, '}');
    while (json->n % 8 != 0)                // so that the data starts at a multiple of 8
        text_char(json, ' ');
    return true;
}

static Status open_temporary(StWriter *w, StatusText *why)
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

static void release(StWriter *w)
{
    if (w->fd >= 0)
        close(w->fd);
    arena_free(&w->arena);
    free(w);
}

Status st_write_begin(const char *path, const StSource *source, size_t n, const StMeta *meta, size_t n_meta,
                      StWriter **out_writer, StatusText *why)
{
    StWriter *w = calloc(1, sizeof *w);
    if (!w)
        return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory to write '%s'", path);
    w->fd = -1;
    w->path = arena_strdup(&w->arena, path);
    w->temporary = arena_printf(&w->arena, "%s.tmp", path);
    const char *slash = strrchr(path, '/');
    w->folder = !slash ? "." : slash == path ? "/" : arena_strndup(&w->arena, path, (size_t)(slash - path));
    Text json = text_make(&w->arena);
    uint8_t length[8];
    Status s = make_header(w, source, n, meta, n_meta, &json) ? STATUS_OK
             : status_fail(why, STATUS_TOO_LARGE, "'%s' would hold a tensor that is too large", path);
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)json.n >> (8 * i));
    if (s == STATUS_OK) s = open_temporary(w, why);
    bool is_mine = s == STATUS_OK;
    if (s == STATUS_OK) s = write_bytes(w, length, 8, why);
    if (s == STATUS_OK) s = write_bytes(w, json.data, json.n, why);
    if (s != STATUS_OK) {
        if (is_mine)
            unlink(w->temporary);
        release(w);
        return s;
    }
    *out_writer = w;
    return STATUS_OK;
}

Status st_write_data(StWriter *w, const void *data, size_t bytes, StatusText *why)
{
    if (w->status != STATUS_OK)
        return w->status;
    if (bytes > w->expected - w->written)
        return w->status = status_fail(why, STATUS_INTERNAL, "more data than announced for '%s'", w->path);
    w->written += bytes;
    return write_bytes(w, data, bytes, why);
}

static Status sync_folder(const StWriter *w, StatusText *why)
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

Status st_write_end(StWriter *w, bool keep, StatusText *why)
{
    if (!w)
        return STATUS_OK;
    Status s = w->status;
    if (s == STATUS_OK && keep && w->written != w->expected)
        s = status_fail(why, STATUS_INTERNAL, "%zu of %zu bytes were given for '%s'", w->written, w->expected, w->path);
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

Status st_write(const char *path, const StSource *source, size_t n, const StMeta *meta, size_t n_meta, StatusText *why)
{
    StWriter *w = NULL;
    Status s = st_write_begin(path, source, n, meta, n_meta, &w, why);
    if (s != STATUS_OK)
        return s;
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        size_t bytes = st_bytes[source[i].dtype];
        for (size_t k = 0; k < source[i].n_dims; k++)
            bytes *= (size_t)source[i].size[k];
        s = st_write_data(w, source[i].data, bytes, why);
    }
    Status end = st_write_end(w, s == STATUS_OK, why);
    return s == STATUS_OK ? end : s;
}
