// See train.h: run.json.
#include "train.h"

#include "replace_file.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

Status run_config_save(const char *path, const RunConfig *config, StatusText *why)
{
    json_t *bindings = json_array();
    for (size_t i = 0; i < config->n_bindings; i++)
        json_array_append_new(bindings, json_pack("{s:s, s:s}", "name", config->name[i], "value", config->value[i]));
    json_t *json = json_pack("{s:i, s:s, s:s?, s:s?, s:s?, s:s?, s:I, s:o}", "schema", 1, "file", config->file, "size",
                             config->size, "data", config->data, "base", config->base, "dtype",
                             config->dtype, "seed",
                             (json_int_t)config->seed, "bindings", bindings);
    if (json && config->memory.peak_bytes)
        json_object_set_new(json, "memory", json_pack("{s:I, s:I}", "planned_bytes", (json_int_t)config->memory.planned_bytes,
                                                      "peak_bytes", (json_int_t)config->memory.peak_bytes));
    char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    Status status = text ? file_replace(path, text, strlen(text), why)
                         : status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for %s", path);
    free(text);
    json_decref(json);
    return status;
}

static const char *copy_string(Arena *arena, const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));
    return text ? arena_strdup(arena, text) : NULL;
}

Status run_config_load(Arena *arena, const char *path, RunConfig *out_config, StatusText *why)
{
    json_error_t error;
    errno = 0;
    json_t *json = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!json)
        return status_fail(why, errno == ENOMEM ? STATUS_OUT_OF_MEMORY : errno ? STATUS_IO : STATUS_DAMAGED, "%s: %s", path,
                           errno ? strerror(errno) : error.text);
    RunConfig c = {.file = copy_string(arena, json, "file"), .size = copy_string(arena, json, "size"),
                   .data = copy_string(arena, json, "data"), .base = copy_string(arena, json, "base"),
                   .dtype = copy_string(arena, json, "dtype"),
                   .seed = (uint32_t)json_integer_value(json_object_get(json, "seed"))};
    const json_t *bindings = json_object_get(json, "bindings"), *memory = json_object_get(json, "memory");
    c.memory = (TrainMemory){(size_t)json_integer_value(json_object_get(memory, "planned_bytes")),
                             (size_t)json_integer_value(json_object_get(memory, "peak_bytes"))};
    size_t n = json_array_size(bindings);
    c.name = arena_array(arena, const char *, n + 1);
    c.value = arena_array(arena, const char *, n + 1);
    bool ok = c.file && json_integer_value(json_object_get(json, "schema")) == 1;
    for (size_t i = 0; i < n && ok; i++) {
        const json_t *b = json_array_get(bindings, i);
        c.name[i] = copy_string(arena, b, "name");
        c.value[i] = copy_string(arena, b, "value");
        ok = c.name[i] && c.value[i];
    }
    c.n_bindings = n;
    json_decref(json);
    if (!ok)
        return status_fail(why, STATUS_DAMAGED, "%s: this is not the description of a run", path);
    *out_config = c;
    return STATUS_OK;
}
