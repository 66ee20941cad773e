// Reading safetensors. See safetensors.h. Every rule that a file can break has one sentence here, and one file in
// tests/runtime/test_safetensors.c.
#define _GNU_SOURCE
#include "safetensors.h"

#include "checked.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_ENTRIES = 1 << 20 };
static const uint64_t header_max_bytes = 100000000;

const char *const st_dtype_text[ST_COUNT] = {
#define ST(id, bits) [ST_##id] = #id,
#include "st_dtypes.def"
#undef ST
};

static const unsigned st_bits[ST_COUNT] = {
#define ST(id, bits) [ST_##id] = bits,
#include "st_dtypes.def"
#undef ST
};

StDType st_dtype_of(DType dtype)
{
    for (int i = 0; i < ST_COUNT; i++)
        if (strcmp(st_dtype_text[i], dtype_row[dtype].safetensors) == 0)
            return (StDType)i;
    return ST_U8;                           // not reached: tests compare the two tables
}

static bool is_utf8(const unsigned char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        unsigned char c = s[i];
        size_t more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : 4;
        if (more == 4 || more >= n - i)
            return false;
        for (size_t k = 1; k <= more; k++)
            if ((s[i + k] & 0xc0) != 0x80)
                return false;
        if ((c == 0xe0 && s[i + 1] < 0xa0) || (c == 0xed && s[i + 1] > 0x9f) || (c == 0xf0 && s[i + 1] < 0x90) ||
            (c == 0xf4 && s[i + 1] > 0x8f))
            return false;
        i += more + 1;
    }
    return true;
}

// Objects in the header: an upper bound for its entries, found before anything is allocated for them.
static size_t count_objects(const char *s, size_t n)
{
    size_t count = 0;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        if (in_string && s[i] == '\\')
            i++;
        else if (s[i] == '"')
            in_string = !in_string;
        else if (!in_string && s[i] == '{')
            count++;
    }
    return count;
}

static Status damaged(const Safetensors *st, StatusText *why, const char *sentence)
{
    return status_fail(why, STATUS_DAMAGED, "%s: %s", st->path, sentence);
}

static Status damaged_tensor(const Safetensors *st, const char *name, StatusText *why, const char *sentence)
{
    return status_fail(why, STATUS_DAMAGED, "%s: tensor '%.200s' %s", st->path, name, sentence);
}

static Status read_meta(Arena *arena, Safetensors *st, json_t *meta, StatusText *why)
{
    const char *key;
    json_t *value;
    if (!json_is_object(meta))
        return damaged(st, why, "__metadata__ is not an object");
    st->meta = arena_array(arena, StMeta, json_object_size(meta) + 1);
    json_object_foreach(meta, key, value) {
        if (!json_is_string(value))
            return status_fail(why, STATUS_DAMAGED, "%s: the metadata value of '%.200s' is not a string", st->path, key);
        st->meta[st->n_meta++] = (StMeta){arena_strdup(arena, key), arena_strdup(arena, json_string_value(value))};
    }
    return STATUS_OK;
}

static Status read_shape(Arena *arena, const Safetensors *st, StTensor *t, json_t *shape, StatusText *why)
{
    if (!json_is_array(shape))
        return damaged_tensor(st, t->name, why, "has no shape that is a list");
    t->n_dims = json_array_size(shape);
    t->size = arena_array(arena, int64_t, t->n_dims + 1);
    t->count = 1;
    for (size_t i = 0; i < t->n_dims; i++) {
        json_t *size = json_array_get(shape, i);
        if (!json_is_integer(size))
            return damaged_tensor(st, t->name, why, "has a size that is not a whole number");
        t->size[i] = json_integer_value(size);
        if (t->size[i] < 0)
            return damaged_tensor(st, t->name, why, "has a negative size");
        if (!checked_mul_i64(t->count, t->size[i], &t->count))
            return damaged_tensor(st, t->name, why, "has more elements than can be counted");
    }
    return STATUS_OK;
}

static Status read_offsets(const Safetensors *st, StTensor *t, json_t *offsets, StatusText *why)
{
    if (!json_is_array(offsets) || json_array_size(offsets) != 2)
        return damaged_tensor(st, t->name, why, "has no data_offsets that are two numbers");
    json_t *b = json_array_get(offsets, 0), *e = json_array_get(offsets, 1);
    if (!json_is_integer(b) || !json_is_integer(e))
        return damaged_tensor(st, t->name, why, "has a data offset that is not a whole number");
    json_int_t begin = json_integer_value(b), end = json_integer_value(e);
    if (begin < 0 || end < 0)
        return damaged_tensor(st, t->name, why, "has a negative data offset");
    if (end < begin)
        return damaged_tensor(st, t->name, why, "ends before it begins");
    if ((uint64_t)end > st->data_bytes)
        return damaged_tensor(st, t->name, why, "ends beyond the end of the file");
    t->offset = (size_t)begin;
    t->bytes = (size_t)(end - begin);
    return STATUS_OK;
}

static Status read_tensor(Arena *arena, const Safetensors *st, StTensor *t, json_t *entry, StatusText *why)
{
    if (!json_is_object(entry))
        return damaged_tensor(st, t->name, why, "is not described by an object");
    json_t *dtype = json_object_get(entry, "dtype");
    if (!json_is_string(dtype))
        return damaged_tensor(st, t->name, why, "has no dtype that is a string");
    for (t->dtype = 0; t->dtype < ST_COUNT; t->dtype++)
        if (strcmp(st_dtype_text[t->dtype], json_string_value(dtype)) == 0)
            break;
    if (t->dtype == ST_COUNT)
        return status_fail(why, STATUS_DAMAGED, "%s: tensor '%.200s' has the unknown dtype '%.60s'", st->path, t->name,
                           json_string_value(dtype));
    Status s = read_shape(arena, st, t, json_object_get(entry, "shape"), why);
    if (s == STATUS_OK)
        s = read_offsets(st, t, json_object_get(entry, "data_offsets"), why);
    if (s != STATUS_OK)
        return s;
    size_t bits;
    if (!checked_mul((size_t)t->count, st_bits[t->dtype], &bits))
        return damaged_tensor(st, t->name, why, "has more bits than can be counted");
    if (bits % 8 != 0)
        return damaged_tensor(st, t->name, why, "does not end at a whole byte");
    if (bits / 8 != t->bytes)
        return status_fail(why, STATUS_DAMAGED, "%s: tensor '%.200s' has %zu bytes of data, but its shape and dtype need "
                           "%zu", st->path, t->name, t->bytes, bits / 8);
    return STATUS_OK;
}

static int by_offset(const void *a, const void *b)
{
    const StTensor *x = *(StTensor *const *)a, *y = *(StTensor *const *)b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(StTensor *const *)a)->name, (*(StTensor *const *)b)->name);
}

// The data must be covered exactly: no hole, no overlap, nothing left over.
static Status check_cover(Arena *arena, Safetensors *st, StatusText *why)
{
    StTensor **sorted = arena_array(arena, StTensor *, st->n_tensors + 1);
    size_t end = 0;
    for (size_t i = 0; i < st->n_tensors; i++)
        sorted[i] = &st->tensor[i];
    qsort(sorted, st->n_tensors, sizeof *sorted, by_offset);
    for (size_t i = 0; i < st->n_tensors; i++) {
        if (sorted[i]->offset < end)
            return damaged_tensor(st, sorted[i]->name, why, "overlaps the data of another tensor");
        if (sorted[i]->offset > end)
            return damaged_tensor(st, sorted[i]->name, why, end == 0 ? "leaves bytes unused before the first tensor"
                                                                     : "leaves unused bytes before it");
        end += sorted[i]->bytes;
    }
    if (end != st->data_bytes)
        return status_fail(why, STATUS_DAMAGED, "%s: %zu bytes after the last tensor belong to nothing", st->path,
                           st->data_bytes - end);
    qsort(sorted, st->n_tensors, sizeof *sorted, by_name);
    st->by_name = sorted;
    return STATUS_OK;
}

static Status read_entries(Arena *arena, Safetensors *st, json_t *root, StatusText *why)
{
    const char *key;
    json_t *value;
    st->tensor = arena_array(arena, StTensor, json_object_size(root) + 1);
    json_object_foreach(root, key, value) {
        Status s;
        if (strcmp(key, "__metadata__") == 0) {
            s = read_meta(arena, st, value, why);
        } else {
            StTensor *t = &st->tensor[st->n_tensors++];
            t->name = arena_strdup(arena, key);
            s = read_tensor(arena, st, t, value, why);
        }
        if (s != STATUS_OK)
            return s;
    }
    return check_cover(arena, st, why);
}

static Status read_header(Arena *arena, Safetensors *st, const char *header, size_t n, StatusText *why)
{
    json_error_t error;
    if (n == 0 || header[0] != '{')
        return damaged(st, why, "the header does not start with '{'");
    if (!is_utf8((const unsigned char *)header, n))
        return damaged(st, why, "the header is not UTF-8");
    if (count_objects(header, n) > (size_t)MAX_ENTRIES + 2)
        return status_fail(why, STATUS_DAMAGED, "%s: the header has more than %d tensors", st->path, MAX_ENTRIES);
    errno = 0;
    json_t *root = json_loadb(header, n, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        if (errno == ENOMEM)                // the parser blames the text
            return status_fail(why, STATUS_OUT_OF_MEMORY, "%s: no memory to read the header", st->path);
        if (json_error_code(&error) == json_error_duplicate_key)
            return status_fail(why, STATUS_DAMAGED, "%s: the header names something twice (%.160s)", st->path, error.text);
        return status_fail(why, STATUS_DAMAGED, "%s: the header is not JSON (byte %d: %.160s)", st->path, error.position,
                           error.text);
    }
    Status s = read_entries(arena, st, root, why);
    json_decref(root);
    return s;
}

// Reads n bytes at an offset of the file.
static Status read_bytes(const Safetensors *st, size_t offset, void *out, size_t n, StatusText *why)
{
    unsigned char *to = out;
    if (st->fd < 0) {
        if (n)
            memcpy(to, st->memory + offset, n);
        return STATUS_OK;
    }
    while (n > 0) {
        ssize_t r = pread(st->fd, to, n, (off_t)offset);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return status_fail(why, STATUS_IO, "%s: cannot be read: %s", st->path, strerror(errno));
        if (r == 0)
            return status_fail(why, STATUS_IO, "%s: became shorter while it was read", st->path);
        to += r;
        offset += (size_t)r;
        n -= (size_t)r;
    }
    return STATUS_OK;
}

static Status open_bytes(Arena *arena, Safetensors *st, size_t file_bytes, StatusText *why)
{
    unsigned char length[8];
    uint64_t n = 0;
    if (file_bytes < 8)
        return damaged(st, why, "the file is shorter than 8 bytes");
    Status s = read_bytes(st, 0, length, 8, why);
    if (s != STATUS_OK)
        return s;
    for (int i = 0; i < 8; i++)
        n |= (uint64_t)length[i] << (8 * i);
    if (n > header_max_bytes)
        return damaged(st, why, "the header is longer than 100,000,000 bytes");
    if (n > file_bytes - 8)
        return damaged(st, why, "the header ends beyond the end of the file");
    st->data_start = 8 + (size_t)n;
    st->data_bytes = file_bytes - st->data_start;
    if (st->data_bytes > INT64_MAX)
        return damaged(st, why, "the file is too long");
    char *header = malloc((size_t)n + 1);
    if (!header)
        return status_fail(why, STATUS_OUT_OF_MEMORY, "%s: no memory for the header", st->path);
    s = read_bytes(st, 8, header, (size_t)n, why);
    if (s == STATUS_OK)
        s = read_header(arena, st, header, (size_t)n, why);
    free(header);
    return s;
}

Status st_open_memory(Arena *arena, const char *path, const void *data, size_t n, Safetensors *out, StatusText *why)
{
    *out = (Safetensors){.path = arena_strdup(arena, path), .fd = -1, .memory = data};
    return open_bytes(arena, out, n, why);
}

Status st_open(Arena *arena, const char *path, Safetensors *out, StatusText *why)
{
    struct stat info;
    *out = (Safetensors){.path = arena_strdup(arena, path), .fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (out->fd < 0)
        return status_fail(why, STATUS_IO, "%s: cannot be opened: %s", path, strerror(errno));
    Status s = STATUS_OK;
    if (fstat(out->fd, &info) != 0)
        s = status_fail(why, STATUS_IO, "%s: cannot be examined: %s", path, strerror(errno));
    else if (!S_ISREG(info.st_mode))
        s = status_fail(why, STATUS_IO, "%s: is not a file", path);
    else
        s = open_bytes(arena, out, (size_t)info.st_size, why);
    if (s != STATUS_OK)
        st_close(out);
    return s;
}

void st_close(Safetensors *st)
{
    if (st->fd >= 0)
        close(st->fd);
    st->fd = -1;
}

const StTensor *st_find(const Safetensors *st, const char *name)
{
    StTensor wanted = {.name = name}, *key = &wanted;
    StTensor **found = st->n_tensors ? bsearch(&key, st->by_name, st->n_tensors, sizeof key, by_name) : NULL;
    return found ? *found : NULL;
}

const char *st_meta(const Safetensors *st, const char *key)
{
    for (size_t i = 0; i < st->n_meta; i++)
        if (strcmp(st->meta[i].key, key) == 0)
            return st->meta[i].value;
    return NULL;
}

Status st_read_raw(const Safetensors *st, const StTensor *t, void *out, StatusText *why)
{
    return read_bytes(st, st->data_start + t->offset, out, t->bytes, why);
}
