// Writing safetensors: the header, then the tensors in order, into a file that is replaced whole (replace_file.h).
#include "safetensors.h"

#include "checked.h"
#include "replace_file.h"
#include "text.h"

#include <stdlib.h>

struct StWriter {
    Arena       arena;
    const char *path;
    FileWriter *file;
    size_t      expected, written;          // bytes of data
};

static const unsigned st_bytes[ST_COUNT] = {
#define ST(id, bits) [ST_##id] = bits / 8,
#include "st_dtypes.def"
#undef ST
};

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

Status st_write_begin(const char *path, const StSource *source, size_t n, const StMeta *meta, size_t n_meta,
                      StWriter **out_writer, StatusText *why)
{
    StWriter *w = calloc(1, sizeof *w);
    if (!w)
        return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory to write '%s'", path);
    w->path = arena_strdup(&w->arena, path);
    Text json = text_make(&w->arena);
    uint8_t length[8];
    Status s = make_header(w, source, n, meta, n_meta, &json) ? STATUS_OK
             : status_fail(why, STATUS_TOO_LARGE, "'%s' would hold a tensor that is too large", path);
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)json.n >> (8 * i));
    if (s == STATUS_OK) s = file_begin(path, &w->file, why);
    if (s == STATUS_OK) s = file_add(w->file, length, 8, why);
    if (s == STATUS_OK) s = file_add(w->file, json.data, json.n, why);
    if (s != STATUS_OK) {
        st_write_end(w, false, why);
        return s;
    }
    *out_writer = w;
    return STATUS_OK;
}

Status st_write_data(StWriter *w, const void *data, size_t bytes, StatusText *why)
{
    if (bytes > w->expected - w->written)
        return status_fail(why, STATUS_INTERNAL, "more data than announced for '%s'", w->path);
    w->written += bytes;
    return file_add(w->file, data, bytes, why);
}

Status st_write_end(StWriter *w, bool keep, StatusText *why)
{
    if (!w)
        return STATUS_OK;
    Status s = STATUS_OK;
    if (keep && w->written != w->expected)
        s = status_fail(why, STATUS_INTERNAL, "%zu of %zu bytes were given for '%s'", w->written, w->expected, w->path);
    Status end = file_end(w->file, keep && s == STATUS_OK, why);
    arena_free(&w->arena);
    free(w);
    return s == STATUS_OK ? end : s;
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
