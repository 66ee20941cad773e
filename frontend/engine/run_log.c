// See run_log.h.
#include "run_log.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

RunLog run_log_make(Arena *arena)
{
    return (RunLog){.arena = arena};
}

LogRow log_row_make(void)
{
    return (LogRow){
        .loss = NAN, .aux = NAN, .lr = NAN, .grad_norm = NAN, .tokens_per_s = NAN, .seconds = NAN, .val_loss = NAN,
        .val_accuracy = NAN};
}

void run_log_add(RunLog *log, LogRow row)
{
    log->row = arena_grow(log->arena, log->row, log->n_rows, &log->capacity, sizeof *log->row);
    log->row[log->n_rows++] = row;
}

// The numeric fields, for printing and reading alike.
typedef struct NumberField { const char *name; size_t offset; } NumberField;
static const NumberField number_field[] = {
    {"loss", offsetof(LogRow, loss)}, {"tokens_per_s", offsetof(LogRow, tokens_per_s)}, {"lr", offsetof(LogRow, lr)},
    {"grad_norm", offsetof(LogRow, grad_norm)}, {"aux", offsetof(LogRow, aux)}, {"seconds", offsetof(LogRow, seconds)},
    {"val_loss", offsetof(LogRow, val_loss)}, {"val_accuracy", offsetof(LogRow, val_accuracy)},
};
enum { N_NUMBER_FIELDS = sizeof number_field / sizeof *number_field };

static double *number_of(LogRow *row, size_t field)
{
    return (double *)(void *)((char *)row + number_field[field].offset);
}

// Loads are written in percent of an even share: that is as exact as a picture needs, and short.
static void print_routes(const LogRow *row, Text *out)
{
    for (size_t i = 0; i < row->n_routes; i++) {
        const LogRoute *r = &row->route[i];
        text_add(out, i ? ", {\"name\": " : ", \"routes\": [{\"name\": ");
        text_json(out, r->name);
        text_printf(out, ", \"dropped\": %.6g, ", r->dropped);
        if (isfinite(r->entropy))
            text_printf(out, "\"entropy\": %.6g, ", r->entropy);
        text_printf(out, "\"dead\": %lld, \"load_percent\": [", (long long)r->n_dead);
        for (size_t e = 0; e < r->n_experts; e++)
            text_printf(out, "%s%.0f", e ? "," : "", fmin(100 * r->load[e], 1e9));
        text_add(out, "]}");
    }
    if (row->n_routes)
        text_char(out, ']');
}

void log_row_print(const LogRow *row, Text *out)
{
    LogRow copy = *row;
    text_printf(out, "{\"schema\": %d, \"step\": %lld, \"steps\": %lld", RUN_LOG_SCHEMA, (long long)row->step,
                (long long)row->steps);
    for (size_t f = 0; f < N_NUMBER_FIELDS; f++) {
        double value = *number_of(&copy, f);
        if (!isfinite(value))
            continue;
        text_printf(out, ", \"%s\": ", number_field[f].name);
        text_double(out, value);
    }
    if (row->sample) {
        text_add(out, ", \"sample\": ");
        text_json(out, row->sample);
    }
    const char *between = ", \"watch\": {";
    for (size_t i = 0; i < row->n_watches; i++) {
        if (!isfinite(row->watch[i].value))
            continue;
        text_add(out, between);
        text_json(out, row->watch[i].name);
        text_add(out, ": ");
        text_double(out, row->watch[i].value);
        between = ", ";
    }
    if (!between[2])
        text_char(out, '}');
    print_routes(row, out);
    text_char(out, '}');
}

static void parse_watches(Arena *arena, json_t *json, LogRow *out)
{
    json_t *watches = json_object_get(json, "watch"), *value;
    const char *name;
    LogWatch *watch = arena_array(arena, LogWatch, json_object_size(watches) + 1);
    json_object_foreach(watches, name, value)
        if (json_is_number(value))
            watch[out->n_watches++] = (LogWatch){arena_strdup(arena, name), json_number_value(value)};
    out->watch = watch;
}

static void parse_routes(Arena *arena, json_t *json, LogRow *out)
{
    json_t *routes = json_object_get(json, "routes"), *value, *one;
    size_t i, e;
    LogRoute *route = arena_array(arena, LogRoute, json_array_size(routes) + 1);
    json_array_foreach(routes, i, value) {
        const char *name = json_string_value(json_object_get(value, "name"));
        json_t *loads = json_object_get(value, "load_percent"), *entropy = json_object_get(value, "entropy");
        double *load = arena_array(arena, double, json_array_size(loads) + 1);
        if (!name)
            continue;
        json_array_foreach(loads, e, one)
            load[e] = json_number_value(one) / 100;
        route[out->n_routes++] = (LogRoute){.name = arena_strdup(arena, name), .load = load, .n_experts = json_array_size(loads),
            .dropped = json_number_value(json_object_get(value, "dropped")),
            .entropy = json_is_number(entropy) ? json_number_value(entropy) : NAN,
            .n_dead = json_integer_value(json_object_get(value, "dead"))};
    }
    out->route = route;
}

// False with errno ENOMEM: nothing is known of the line.
static bool parse_row(Arena *arena, const char *line, size_t n, LogRow *out)
{
    errno = 0;
    json_t *json = json_loadb(line, n, 0, NULL);
    json_t *step = json_object_get(json, "step");
    bool ok = json_is_object(json) && json_is_integer(step);
    if (ok) {
        *out = log_row_make();
        out->step = json_integer_value(step);
        out->steps = json_integer_value(json_object_get(json, "steps"));
        for (size_t f = 0; f < N_NUMBER_FIELDS; f++) {
            const json_t *value = json_object_get(json, number_field[f].name);
            if (json_is_number(value))
                *number_of(out, f) = json_number_value(value);
        }
        const char *sample = json_string_value(json_object_get(json, "sample"));
        out->sample = sample ? arena_strdup(arena, sample) : NULL;
        parse_watches(arena, json, out);
        parse_routes(arena, json, out);
    }
    json_decref(json);
    return ok;
}

Status run_log_read(RunLog *log, const char *path, int64_t last, StatusText *why)
{
    FILE *in = fopen(path, "rb");
    if (!in)
        return errno == ENOENT ? STATUS_OK : status_fail(why, STATUS_IO, "%s: %s", path, strerror(errno));
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    Status status = STATUS_OK;
    for (size_t number = 1; (n = getline(&line, &capacity, in)) > 0; number++) {
        LogRow row;
        bool whole = line[n - 1] == '\n';
        if (parse_row(log->arena, line, (size_t)n, &row)) {
            if (row.step <= last)
                run_log_add(log, row);
        } else if (errno == ENOMEM) {
            status = status_fail(why, STATUS_OUT_OF_MEMORY, "%s: no memory to read line %zu", path, number);
            break;
        } else if (whole) {
            status = status_fail(why, STATUS_DAMAGED, "%s: line %zu is not a log entry", path, number);
            break;
        }
    }
    if (status == STATUS_OK && ferror(in))
        status = status_fail(why, STATUS_IO, "%s: %s", path, strerror(errno));
    free(line);
    fclose(in);
    return status;
}
