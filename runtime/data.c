// See data.h: finds out what kind of data a section names, and what all kinds share.
#define _GNU_SOURCE
#include "data_kind.h"
#include "index_range.h"

#include <errno.h>
#include <glob.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

const char *data_text(const Dataset *d, const char *key)
{
    for (size_t i = 0; i < d->n_fields; i++)
        if (strcmp(d->field[i].key, key) == 0)
            return d->field[i].value;
    return NULL;
}

Status data_number(const Dataset *d, const char *key, double otherwise, double low, double high, double *out, StatusText *why)
{
    const char *text = data_text(d, key);
    char *end = NULL;
    double value = text ? strtod(text, &end) : otherwise;
    if (text && (end == text || *end))
        return status_fail(why, STATUS_BAD_MODEL, "data: `%s` is '%.60s', not a number", key, text);
    if (!(value >= low && value <= high))
        return status_fail(why, STATUS_BAD_MODEL, "data: `%s` is %g; it must lie between %g and %g", key, value, low, high);
    *out = value;
    return STATUS_OK;
}

const char *data_path(const Dataset *d, const char *path)
{
    if (path[0] == '/' || !d->options.base || !d->options.base[0])
        return path;
    const char *beside = arena_printf(d->arena, "%s/%s", d->options.base, path);
    glob_t found = {0};
    bool is_there = access(beside, F_OK) == 0 || glob(beside, GLOB_NOSORT, NULL, &found) == 0;
    globfree(&found);
    return is_there ? beside : path;
}

const DataSlot *data_slot(const DataSlot *slot, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(slot[i].name, name) == 0)
            return &slot[i];
    return NULL;
}

Status data_read_file(const char *path, size_t max_bytes, char **out, size_t *out_n, StatusText *why)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return status_fail(why, STATUS_IO, "the data file '%s' cannot be opened: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return status_fail(why, STATUS_IO, "the data file '%s' is not a file", path);
    gzFile f = gzopen(path, "re");
    if (!f)
        return status_fail(why, STATUS_IO, "the data file '%s' cannot be opened: %s", path, strerror(errno));
    gzbuffer(f, 1 << 17);
    size_t capacity = (size_t)st.st_size + 2, n = 0;
    char *data = malloc(capacity);
    int r = 1;
    while (data && r > 0 && n <= max_bytes) {
        if (capacity - n < 2) {
            char *bigger = realloc(data, capacity *= 2);
            if (!bigger)
                free(data);
            data = bigger;
            continue;
        }
        size_t room = capacity - n - 1;
        r = gzread(f, data + n, room < 1u << 30 ? (unsigned)room : 1u << 30);
        n += r > 0 ? (size_t)r : 0;
    }
    int error = Z_OK;
    gzerror(f, &error);
    bool whole = gzclose_r(f) == Z_OK && r == 0;
    if (data && error == Z_MEM_ERROR) {     // says nothing about the file
        free(data);
        data = NULL;
    }
    if (!data)
        return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for the data file '%s'", path);
    if (!whole || n > max_bytes) {
        free(data);
        return status_fail(why, whole ? STATUS_TOO_LARGE : STATUS_DAMAGED, whole ? "the data file '%s' is larger than %zu bytes"
                           : "the data file '%s' cannot be read to its end (of at most %zu bytes)", path, max_bytes);
    }
    data[n] = 0;
    *out = data;
    *out_n = n;
    return STATUS_OK;
}

// A bijection of [0, n): four rounds of a Feistel network on the next even number of bits; values outside are sent
// through again.
uint64_t data_shuffle(uint64_t i, uint64_t n, uint32_t seed, uint64_t epoch)
{
    unsigned half = 1;
    while (half < 32 && (uint64_t)1 << (2 * half) < n)
        half++;
    uint64_t mask = ((uint64_t)1 << half) - 1;
    uint32_t key = draws_for(seed, STREAM_ORDER, epoch).key;
    do {
        uint64_t left = i >> half, right = i & mask;
        for (uint32_t round = 0; round < 4; round++) {
            uint64_t mixed = left ^ (rng_bits(key + round, (uint32_t)right) & mask);
            left = right;
            right = mixed;
        }
        i = left << half | right;
    } while (i >= n);
    return i;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// The files that a pattern or a folder stands for, in the order of their names.
static Status find_files(Dataset *d, const char *pattern, const char ***out_path, size_t *out_n, StatusText *why)
{
    glob_t found = {0};
    int r = glob(pattern, GLOB_NOSORT, NULL, &found);
    size_t capacity = 0;
    *out_path = NULL;
    *out_n = 0;
    for (size_t i = 0; r == 0 && i < found.gl_pathc; i++) {
        struct stat st;
        if (stat(found.gl_pathv[i], &st) != 0 || !S_ISREG(st.st_mode))
            continue;
        *out_path = arena_grow(d->arena, *out_path, *out_n, &capacity, sizeof **out_path);
        (*out_path)[(*out_n)++] = arena_strdup(d->arena, found.gl_pathv[i]);
    }
    globfree(&found);
    if (r == GLOB_NOSPACE)
        return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory to list the data files '%s'", pattern);
    if (r == GLOB_ABORTED)
        return status_fail(why, STATUS_IO, "the folder of the data '%s' cannot be read", pattern);
    if (*out_n == 0)
        return status_fail(why, STATUS_IO, "no data file is called '%s'; --data PATH or data.source=PATH names another", pattern);
    qsort(*out_path, *out_n, sizeof **out_path, compare_paths);
    return STATUS_OK;
}

static bool is_idx_file(const char *path)
{
    unsigned char head[4];
    gzFile f = gzopen(path, "re");
    bool yes = f && gzread(f, head, 4) == 4 && head[0] == 0 && head[1] == 0 && head[2] == 8 && head[3] == 3;
    if (f)
        gzclose_r(f);
    return yes;
}

// A folder holds pictures when it has a folder in it (a class) or an IDX file of pictures.
static bool is_picture_folder(Dataset *d, const char *path)
{
    glob_t found = {0};
    bool yes = false;
    int r = glob(arena_printf(d->arena, "%s/*", path), GLOB_NOSORT, NULL, &found);
    for (size_t i = 0; r == 0 && i < found.gl_pathc && !yes; i++) {
        struct stat st;
        if (stat(found.gl_pathv[i], &st) == 0)
            yes = S_ISDIR(st.st_mode) || (S_ISREG(st.st_mode) && is_idx_file(found.gl_pathv[i]));
    }
    globfree(&found);
    return yes;
}

static Status open_path(Dataset *d, const char *path, StatusText *why)
{
    struct stat st;
    const char **files;
    size_t n;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        if (!data_text(d, "tokens") && is_picture_folder(d, path))
            return data_open_images(d, path, why);
        path = arena_printf(d->arena, "%s/*", path);
    } else if (stat(path, &st) == 0 && !data_text(d, "tokens") && is_idx_file(path)) {
        return data_open_images(d, path, why);
    }
    Status s = find_files(d, path, &files, &n, why);
    return s == STATUS_OK ? data_open_text(d, files, n, why) : s;
}

static Status check_keys(const Dataset *d, StatusText *why)
{
    static const char *const known[] = {"source", "tokens", "windows", "split", "augment"};
    for (size_t i = 0; i < d->n_fields; i++) {
        bool found = false;
        size_t n = strcspn(d->field[i].key, ".");
        for (size_t k = 0; k < sizeof known / sizeof known[0]; k++)
            found |= strlen(known[k]) == n && strncmp(known[k], d->field[i].key, n) == 0;
        if (!found)
            return status_fail(why, STATUS_BAD_MODEL, "data: there is no key `%.*s`; known are source, tokens, windows, split "
                               "and augment", (int)n, d->field[i].key);
    }
    return STATUS_OK;
}

Status data_open(Arena *arena, const Field *field, size_t n_fields, const DataOptions *options, Dataset **out,
                 StatusText *why)
{
    static const char *const task[] = {"copy", "recall", "listops"};
    Dataset *d = arena_new(arena, Dataset);
    *d = (Dataset){.arena = arena, .field = field, .n_fields = n_fields, .options = *options, .summary = "", .state = ""};
    Status s = check_keys(d, why);
    if (s != STATUS_OK)
        return s;
    const char *name = data_text(d, "source.name"), *path = options->path;
    if (!name)
        name = data_text(d, "source");
    if (!path && !name)
        return status_fail(why, STATUS_BAD_MODEL, "data: there is no `source`; name a file in it, or give --data PATH");
    for (size_t i = 0; !path && i < sizeof task / sizeof task[0]; i++)
        if (strcmp(name, task[i]) == 0)
            s = data_open_task(d, name, why);
    if (s == STATUS_OK && !d->kind) {
        if (!path && strcmp(name, "idx") == 0)
            s = data_open_images(d, NULL, why);
        else
            s = open_path(d, path ? path : data_path(d, name), why);
    }
    if (s == STATUS_OK)
        *out = d;
    else
        data_close(d);
    return s;
}

void data_close(Dataset *d)
{
    if (d && d->kind && d->kind->close)
        d->kind->close(d);
    if (d)
        d->kind = NULL;
}

static Status check_slot(const Dataset *d, const DataSlot *slot, StatusText *why)
{
    const DataFieldRow *row = d->kind->field;
    while (row->name && strcmp(row->name, slot->name) != 0)
        row++;
    if (!row->name) {
        Text known = text_make(d->arena);
        for (row = d->kind->field; row->name; row++)
            text_printf(&known, "%s%s%s", row == d->kind->field ? "" : ", ", row->name, row->axes);
        return status_fail(why, STATUS_BAD_MODEL, "the data has no field `%s`; it has %s", slot->name, text_str(&known));
    }
    if (slot->dtype != row->dtype && !(row->dtype == DTYPE_F32 && slot->dtype == DTYPE_I32 && row->n_dims < 3))
        return status_fail(why, STATUS_BAD_MODEL, "the data's field `%s` is %s%s, and the model wants %s", slot->name,
                           dtype_row[row->dtype].text, row->axes, dtype_row[slot->dtype].text);
    if (slot->n_dims != row->n_dims)
        return status_fail(why, STATUS_BAD_MODEL, "the data's field `%s` is %s%s, and the model wants %d axes", slot->name,
                           dtype_row[row->dtype].text, row->axes, slot->n_dims);
    return STATUS_OK;
}

Status data_bind(Dataset *d, const DataSlot *slot, size_t n, StatusText *why)
{
    for (size_t i = 0; i < n; i++) {
        Status s = check_slot(d, &slot[i], why);
        if (s != STATUS_OK)
            return s;
        if (slot[i].size[0] != slot[0].size[0] || slot[i].size[0] < 1)
            return status_fail(why, STATUS_BAD_MODEL, "the fields `%s` and `%s` have different numbers of rows", slot[0].name,
                               slot[i].name);
    }
    if (n == 0)
        return status_fail(why, STATUS_BAD_MODEL, "the model takes nothing from the data");
    d->batch = slot[0].size[0];
    return d->kind->bind(d, slot, n, why);
}

Status data_check_ranges(const Dataset *d, const Graph *g, StatusText *why)
{
    for (const DataFieldRow *row = d->kind->field; row->name; row++) {
        const char *axis;
        int64_t least, limit = row->dtype == DTYPE_I32 ? index_limit(g, row->name, &least, &axis) : INT64_MAX;
        int64_t range = limit < INT64_MAX ? d->kind->range(d, row->name) : 0;
        if (range > limit)
            return status_fail(why, STATUS_BAD_MODEL, "the data has %lld different values of `%s`, but axis `%s` of the model "
                               "has %lld\nhelp: %s=%lld", (long long)range, row->name, axis, (long long)limit, axis,
                               (long long)range);
    }
    return STATUS_OK;
}

Status data_batch(Dataset *d, DataSplit split, uint64_t number, DataSlot *slot, size_t n, StatusText *why)
{
    if (split == DATA_VAL)
        number %= (uint64_t)data_batches(d, split);
    return d->kind->batch(d, split, number, slot, n, why);
}

int64_t data_batches(const Dataset *d, DataSplit split)
{
    int64_t n = d->kind->batches(d, split);
    return n > 0 ? n : 1;
}

int64_t *data_counts(const Dataset *d, Arena *arena, int64_t *out_n)
{
    *out_n = 0;
    if (!d->kind->count)
        return NULL;
    int64_t *count = arena_array(arena, int64_t, (size_t)d->n_vocabulary + 1);
    d->kind->count(d, count);
    *out_n = d->n_vocabulary;
    return count;
}

const Tokenizer *data_tokenizer(const Dataset *d)   { return d->tokenizer; }
int64_t          data_vocabulary(const Dataset *d)  { return d->n_vocabulary; }
const char      *data_summary(const Dataset *d)     { return d->summary; }
const char      *data_state(const Dataset *d)       { return d->state; }
