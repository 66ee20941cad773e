// See cache.h.
#define _GNU_SOURCE
#include "cache.h"

#include "sha256.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SCHEMA = 1, HEADER_BYTES = 8 + 4 + 4 + 8 + 8 + 32, STALE_S = 3600 };
static const char magic[8] = {'M', 'I', 'X', 'C', 'A', 'C', 'H', 'E'};
static const size_t entry_max_bytes = (size_t)256 << 20;

struct Cache {
    char    *folder;                        // NULL: no cache wanted
    char     refused[512];
    int      fd;                            // of the folder; -1: not used
    unsigned n_stored;                      // makes names of temporary files unique in this process
};

typedef struct Header {
    size_t  key_bytes, payload_bytes;
    uint8_t digest[32];
} Header;

static void put_number(uint8_t *to, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_number(const uint8_t *from, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)from[i] << (8 * i);
    return value;
}

static void header_write(const Header *h, uint8_t out[HEADER_BYTES])
{
    memcpy(out, magic, 8);
    put_number(out + 8, SCHEMA, 4);
    put_number(out + 12, 0, 4);
    put_number(out + 16, h->key_bytes, 8);
    put_number(out + 24, h->payload_bytes, 8);
    memcpy(out + 32, h->digest, 32);
}

// `file_bytes`: the lengths must account for every byte of the file.
static bool header_read(const uint8_t *in, size_t file_bytes, Header *out)
{
    if (file_bytes < HEADER_BYTES || memcmp(in, magic, 8) != 0 || get_number(in + 8, 4) != SCHEMA ||
        get_number(in + 12, 4) != 0)
        return false;
    uint64_t key = get_number(in + 16, 8), payload = get_number(in + 24, 8), body = file_bytes - HEADER_BYTES;
    if (key > body || payload != body - key)
        return false;
    *out = (Header){.key_bytes = (size_t)key, .payload_bytes = (size_t)payload};
    memcpy(out->digest, in + 32, 32);
    return true;
}

static char *default_folder(void)
{
    const char *own = getenv("MIXC_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *folder = NULL;
    int n = 0;
    if (own)
        folder = own[0] ? strdup(own) : NULL;
    else if (xdg && xdg[0] == '/')
        n = asprintf(&folder, "%s/mixc", xdg);
    else if (home && home[0] == '/')
        n = asprintf(&folder, "%s/.cache/mixc", home);
    return n < 0 ? NULL : folder;
}

static void make_folders(const char *path)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    if (n >= sizeof part)
        return;
    memcpy(part, path, n + 1);
    for (size_t i = 1; i < n; i++) {
        if (part[i] != '/')
            continue;
        part[i] = 0;
        mkdir(part, 0700);
        part[i] = '/';
    }
    mkdir(part, 0700);
}

static void open_folder(Cache *c)
{
    struct stat st;
    make_folders(c->folder);
    int fd = open(c->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        snprintf(c->refused, sizeof c->refused, "'%.400s' cannot be opened: %s", c->folder, strerror(errno));
        return;
    }
    if (fstat(fd, &st) != 0)
        snprintf(c->refused, sizeof c->refused, "'%.400s' cannot be examined: %s", c->folder, strerror(errno));
    else if (st.st_uid != geteuid())
        snprintf(c->refused, sizeof c->refused, "'%.400s' belongs to another user", c->folder);
    else if (st.st_mode & 077)
        snprintf(c->refused, sizeof c->refused, "'%.400s' has mode %03o; compiled code is kept only in a folder of "
                 "mode 700", c->folder, (unsigned)(st.st_mode & 0777));
    else
        c->fd = fd;
    if (c->fd < 0)
        close(fd);
}

Cache *cache_open(const char *folder)
{
    Cache *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->fd = -1;
    c->folder = !folder ? default_folder() : folder[0] ? strdup(folder) : NULL;
    if (c->folder)
        open_folder(c);
    return c;
}

void cache_close(Cache *c)
{
    if (!c)
        return;
    if (c->fd >= 0)
        close(c->fd);
    free(c->folder);
    free(c);
}

const char *cache_folder(const Cache *c)
{
    return c ? c->folder : NULL;
}

const char *cache_refused(const Cache *c)
{
    return c && c->refused[0] ? c->refused : NULL;
}

static void entry_name(const char *key, char out[80])
{
    uint8_t digest[32];
    sha256_of(key, strlen(key), digest);
    sha256_hex(digest, out);
    memcpy(out + 64, ".mixo", 6);
}

// Opens an entry if it is a plain file that only this user can have written. Returns -1 with errno.
static int open_entry(const Cache *c, const char *name, size_t *out_bytes)
{
    struct stat st;
    int fd = openat(c->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink > 1 ||
        (st.st_mode & 022) || st.st_size < 0 || (uint64_t)st.st_size > entry_max_bytes) {
        close(fd);
        errno = EPERM;
        return -1;
    }
    *out_bytes = (size_t)st.st_size;
    return fd;
}

static bool read_all(int fd, uint8_t *data, size_t n)
{
    while (n > 0) {
        ssize_t r = read(fd, data, n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return false;
        data += r;
        n -= (size_t)r;
    }
    return true;
}

static bool write_all(int fd, const void *data, size_t n)
{
    const uint8_t *p = data;
    while (n > 0) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return false;
        p += w;
        n -= (size_t)w;
    }
    return true;
}

// Reads a whole entry and verifies all but the key. The bytes are the caller's to free.
static uint8_t *read_entry(const Cache *c, const char *name, Header *out_header, bool *out_is_there)
{
    size_t bytes = 0;
    int fd = open_entry(c, name, &bytes);
    *out_is_there = fd >= 0 || errno != ENOENT;
    if (fd < 0)
        return NULL;
    uint8_t *data = malloc(bytes + 1), digest[32];
    bool ok = data && read_all(fd, data, bytes) && header_read(data, bytes, out_header);
    if (ok) {
        sha256_of(data + HEADER_BYTES + out_header->key_bytes, out_header->payload_bytes, digest);
        ok = memcmp(digest, out_header->digest, 32) == 0;
    }
    if (ok)
        futimens(fd, (struct timespec[2]){{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}});   // for cache_gc
    close(fd);
    if (!ok) {
        free(data);
        data = NULL;
    }
    return data;
}

CacheFound cache_load(Cache *c, Arena *arena, const char *key, void **out_data, size_t *out_n)
{
    char name[80];
    bool is_there;
    Header h;
    if (!c || c->fd < 0)
        return CACHE_MISS;
    entry_name(key, name);
    uint8_t *entry = read_entry(c, name, &h, &is_there);
    if (!entry && !is_there)
        return CACHE_MISS;
    bool ok = entry && h.key_bytes == strlen(key) && memcmp(entry + HEADER_BYTES, key, h.key_bytes) == 0;
    if (ok) {
        void *data = arena_alloc(arena, h.payload_bytes + 1, 1);
        memcpy(data, entry + HEADER_BYTES + h.key_bytes, h.payload_bytes);
        *out_data = data;
        *out_n = h.payload_bytes;
    } else {
        unlinkat(c->fd, name, 0);
    }
    free(entry);
    return ok ? CACHE_HIT : CACHE_DAMAGED;
}

bool cache_store(Cache *c, const char *key, const void *data, size_t n)
{
    char name[80], temporary[64];
    uint8_t head[HEADER_BYTES];
    Header h = {.key_bytes = strlen(key), .payload_bytes = n};
    if (!c || c->fd < 0 || h.key_bytes + n + HEADER_BYTES > entry_max_bytes)
        return false;
    entry_name(key, name);
    snprintf(temporary, sizeof temporary, "tmp-%ld-%u", (long)getpid(), c->n_stored++);
    int fd = openat(c->fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    sha256_of(data, n, h.digest);
    header_write(&h, head);
    bool ok = write_all(fd, head, sizeof head) && write_all(fd, key, h.key_bytes) && write_all(fd, data, n) &&
              fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    ok = ok && renameat(c->fd, temporary, c->fd, name) == 0;
    if (!ok)
        unlinkat(c->fd, temporary, 0);
    return ok;
}

// What is before the line "source" of a key, in the arena.
static const char *about_key(Arena *arena, const char *key, size_t n)
{
    const char *text = arena_strndup(arena, key, n);
    const char *end = strstr(text, "\nsource\n");
    return end ? arena_strndup(arena, text, (size_t)(end - text)) : text;
}

static CacheEntry look_at(Cache *c, Arena *arena, const char *name, bool verify)
{
    CacheEntry e = {.name = arena_strdup(arena, name), .is_damaged = true, .about = ""};
    struct stat st;
    if (fstatat(c->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        e.bytes = (size_t)st.st_size;
        e.used_s = (int64_t)st.st_mtime;
    }
    if (!verify) {
        e.is_damaged = false;
        return e;
    }
    size_t bytes = 0;
    char expected[80];
    Header h;
    int fd = open_entry(c, name, &bytes);
    uint8_t *data = fd >= 0 ? malloc(bytes + 1) : NULL, digest[32];
    if (data && read_all(fd, data, bytes) && header_read(data, bytes, &h)) {
        char *key = arena_strndup(arena, (const char *)data + HEADER_BYTES, h.key_bytes);
        sha256_of(data + HEADER_BYTES + h.key_bytes, h.payload_bytes, digest);
        entry_name(key, expected);
        e.is_damaged = memcmp(digest, h.digest, 32) != 0 || strcmp(expected, name) != 0;
        e.about = about_key(arena, key, h.key_bytes);
    }
    free(data);
    if (fd >= 0)
        close(fd);
    return e;
}

static bool is_temporary(const char *name)
{
    return strncmp(name, "tmp-", 4) == 0;
}

static bool is_entry(const char *name)
{
    size_t n = strlen(name);
    return n == 69 && strcmp(name + 64, ".mixo") == 0;
}

// The names in the folder, sorted. Anything that is not ours is left alone.
static Status read_names(Cache *c, Arena *arena, const char ***out_name, size_t *out_n, StatusText *why)
{
    *out_name = NULL;
    *out_n = 0;
    if (!c || c->fd < 0)
        return STATUS_OK;
    int fd = openat(c->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return status_fail(why, STATUS_IO, "the cache folder '%s' cannot be read: %s", c->folder, strerror(errno));
    }
    size_t capacity = 0;
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (!is_entry(e->d_name) && !is_temporary(e->d_name))
            continue;
        *out_name = arena_grow(arena, *out_name, *out_n, &capacity, sizeof **out_name);
        (*out_name)[(*out_n)++] = arena_strdup(arena, e->d_name);
    }
    closedir(dir);
    return STATUS_OK;
}

static int by_use(const void *a, const void *b)
{
    const CacheEntry *x = a, *y = b;
    if (x->used_s != y->used_s)
        return x->used_s < y->used_s ? 1 : -1;
    return strcmp(x->name, y->name);
}

// All entries and temporary files, newest first.
static Status read_entries(Cache *c, Arena *arena, bool verify, CacheEntry **out_entry, size_t *out_n, StatusText *why)
{
    const char **name;
    Status s = read_names(c, arena, &name, out_n, why);
    if (s != STATUS_OK)
        return s;
    *out_entry = arena_array(arena, CacheEntry, *out_n + 1);
    for (size_t i = 0; i < *out_n; i++)
        (*out_entry)[i] = look_at(c, arena, name[i], verify && is_entry(name[i]));
    qsort(*out_entry, *out_n, sizeof **out_entry, by_use);
    return STATUS_OK;
}

Status cache_list(Cache *c, bool verify, CacheVisit *visit, void *user, CacheTotal *out_total, StatusText *why)
{
    Arena arena;
    CacheEntry *entry;
    size_t n;
    CacheTotal total = {0};
    arena_init(&arena);
    Status s = read_entries(c, &arena, verify, &entry, &n, why);
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        if (is_temporary(entry[i].name))
            continue;
        total.n_entries++;
        total.bytes += entry[i].bytes;
        total.n_damaged += entry[i].is_damaged;
        if (visit)
            visit(user, &entry[i]);
    }
    if (out_total)
        *out_total = total;
    arena_free(&arena);
    return s;
}

Status cache_gc(Cache *c, size_t max_bytes, int64_t max_age_s, CacheTotal *out_removed, StatusText *why)
{
    Arena arena;
    CacheEntry *entry;
    size_t n, kept = 0;
    CacheTotal removed = {0};
    arena_init(&arena);
    Status s = read_entries(c, &arena, true, &entry, &n, why);
    int64_t now = (int64_t)time(NULL);
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        const CacheEntry *e = &entry[i];
        int64_t age = now - e->used_s;
        bool remove = is_temporary(e->name) ? age > STALE_S
                    : e->is_damaged || (max_age_s > 0 && age > max_age_s) || e->bytes > max_bytes - kept;
        if (!remove) {
            kept += is_temporary(e->name) ? 0 : e->bytes;
            continue;
        }
        if (unlinkat(c->fd, e->name, 0) != 0)
            continue;
        removed.n_entries++;
        removed.bytes += e->bytes;
        removed.n_damaged += e->is_damaged;
    }
    if (out_removed)
        *out_removed = removed;
    arena_free(&arena);
    return s;
}

Status cache_clear(Cache *c, CacheTotal *out_removed, StatusText *why)
{
    Arena arena;
    CacheEntry *entry;
    size_t n;
    CacheTotal removed = {0};
    arena_init(&arena);
    Status s = read_entries(c, &arena, false, &entry, &n, why);
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        if (unlinkat(c->fd, entry[i].name, 0) != 0) {
            s = status_fail(why, STATUS_IO, "'%s' in the cache cannot be removed: %s", entry[i].name, strerror(errno));
            break;
        }
        removed.n_entries++;
        removed.bytes += entry[i].bytes;
    }
    if (out_removed)
        *out_removed = removed;
    arena_free(&arena);
    return s;
}
