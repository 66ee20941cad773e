// Conformance kernels: small PTX texts that say in their first lines what to run and what must come out. They run on any table of driver
// functions, so on the simulator and on a GPU alike.
//
//   // launch KERNEL BLOCKS THREADS [SHARED]  SHARED: bytes of dynamic shared memory
//   // buffer TYPE COUNT seq FIRST STEP       TYPE u32 or f32; each buffer is an argument
//   // buffer TYPE COUNT is V V V ...         the last value is repeated
//   // buffer TYPE COUNT unset                nobody wrote it
//   // expect BUFFER seq FIRST STEP | is V V V ...
//   // count NAME VALUE                       a counter of the simulator
//   // error TEXT                             the simulator's message has it in it; not for a GPU
#ifndef MIXC_TEST_SIM_CASE_H
#define MIXC_TEST_SIM_CASE_H

#include "arena.h"
#include "cuda_api.h"
#include "sim/sim.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CASE_BUFFERS = 8, CASE_VALUES = 4096 };

typedef struct SimCase {
    const DriverApi *api;
    Arena       arena;
    const char *path, *text;
    char        kernel[64];
    unsigned    blocks, threads, shared;
    uint64_t    address[CASE_BUFFERS];
    size_t      bytes[CASE_BUFFERS];
    uint32_t   *data[CASE_BUFFERS];         // as given, then as read back
    bool        is_float[CASE_BUFFERS], is_unset[CASE_BUFFERS];
    size_t      n_buffers;
    SimCounters counters;
    int         error;                      // of the driver; 0: it ran
    char        said[1024];                 // the simulator's sentence
    char        complaint[2048];            // what is wrong with the case; "": nothing
    int         n_checks;
} SimCase;

#define CASE_FAIL(c, ...) ((c)->complaint[0] ? (void)0 : (void)snprintf((c)->complaint, sizeof (c)->complaint, __VA_ARGS__))

static inline const char *case_read(Arena *arena, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    char *text = arena_alloc(arena, 1 << 18, 1);
    text[fread(text, 1, (1 << 18) - 1, f)] = 0;
    fclose(f);
    return text;
}

// COUNT words from `seq FIRST STEP` or `is V V V ...`.
static inline void case_values(const char *how, bool is_float, uint32_t *out, size_t n)
{
    char *end = NULL;
    const bool is_seq = strncmp(how, "seq ", 4) == 0;
    const char *at = how + (is_seq ? 4 : 3);
    double value = strtod(at, &end), step = is_seq ? strtod(end, NULL) : 0;
    for (size_t i = 0; i < n; i++) {
        float f = (float)value;
        if (is_float)
            memcpy(&out[i], &f, 4);
        else
            out[i] = (uint32_t)(int64_t)value;
        value += step;
        at = end;
        double more = is_seq ? 0 : strtod(at, &end);
        if (!is_seq && end != at)
            value = more;
    }
}

static inline void case_launch(SimCase *c, const char *line)
{
    if (sscanf(line, "%63s %u %u %u", c->kernel, &c->blocks, &c->threads, &c->shared) < 3)
        CASE_FAIL(c, "a launch without its sizes: %s", line);
}

static inline void case_buffer(SimCase *c, const char *line)
{
    char type[8];
    size_t n = 0, b = c->n_buffers;
    int begin = 0;
    if (sscanf(line, "%7s %zu %n", type, &n, &begin) != 2 || n == 0 || n > CASE_VALUES || b == CASE_BUFFERS) {
        CASE_FAIL(c, "a buffer that is none: %s", line);
        return;
    }
    c->n_buffers++;
    c->bytes[b] = 4 * n;
    c->data[b] = arena_array(&c->arena, uint32_t, n);
    c->is_float[b] = strcmp(type, "f32") == 0;
    c->is_unset[b] = strcmp(line + begin, "unset") == 0;
    if (!c->is_unset[b])
        case_values(line + begin, c->is_float[b], c->data[b], n);
}

static inline void case_expect(SimCase *c, const char *line)
{
    char *how = NULL;
    const size_t b = strtoul(line, &how, 10);
    c->n_checks++;
    if (c->error || b >= c->n_buffers)
        return;
    const size_t n = c->bytes[b] / 4;
    uint32_t *want = arena_array(&c->arena, uint32_t, n);
    case_values(how + 1, c->is_float[b], want, n);
    for (size_t i = 0; i < n; i++) {
        if (c->data[b][i] == want[i])
            continue;
        float got_f, want_f;
        char got[32], wanted[32];
        memcpy(&got_f, &c->data[b][i], 4);
        memcpy(&want_f, &want[i], 4);
        if (!c->is_float[b])
            snprintf(got, sizeof got, "0x%08x", c->data[b][i]);
        else
            snprintf(got, sizeof got, "%g", (double)got_f);
        if (!c->is_float[b])
            snprintf(wanted, sizeof wanted, "0x%08x", want[i]);
        else
            snprintf(wanted, sizeof wanted, "%g", (double)want_f);
        CASE_FAIL(c, "word %zu of buffer %zu is %s, not %s", i, b, got, wanted);
        return;
    }
}

static inline void case_count(SimCase *c, const char *line)
{
    static const struct { const char *name; size_t at; } all[] = {
#define COUNTER(name) {#name, offsetof(SimCounters, name)},
        SIM_COUNTERS
#undef COUNTER
    };
    char name[64];
    unsigned long long want = 0;
    uint64_t got = 0;
    c->n_checks++;
    if (!c->api->counters || c->error)
        return;
    if (sscanf(line, "%63s %llu", name, &want) != 2)
        CASE_FAIL(c, "a count that is none: %s", line);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i].name, name) == 0) {
            memcpy(&got, (const char *)&c->counters + all[i].at, sizeof got);
            if (got != want)
                CASE_FAIL(c, "%s is %llu, not %llu", name, (unsigned long long)got, want);
            return;
        }
    CASE_FAIL(c, "there is no counter %s", name);
}

static inline void case_error(SimCase *c, const char *line)
{
    c->n_checks++;
    if (!c->error)
        CASE_FAIL(c, "runs, though it must not: %s", line);
    else if (!strstr(c->said, line))
        CASE_FAIL(c, "says\n  %s\nand not\n  %s", c->said, line);
}

// Calls `use` with what follows `// WORD ` of each such line; returns how many there are.
static inline int case_lines(SimCase *c, const char *word, void (*use)(SimCase *c, const char *line))
{
    const char *mark = arena_printf(&c->arena, "// %s ", word);
    int n = 0;
    for (const char *s = c->text; (s = strstr(s, mark)) != NULL; n++) {
        s += strlen(mark);
        if (use)
            use(c, arena_strndup(&c->arena, s, strcspn(s, "\n")));
    }
    return n;
}

static inline int case_give(SimCase *c, CudaStream *stream)
{
    const DriverApi *api = c->api;
    int error = 0;
    for (size_t b = 0; b < c->n_buffers && !error; b++) {
        error = api->memory_take(api->self, &c->address[b], c->bytes[b]);
        // On a GPU nothing is without a value: it is filled with what is a NaN.
        if (!error && !c->is_unset[b])
            error = api->copy_in(api->self, c->address[b], c->data[b], c->bytes[b], stream);
        else if (!error && !api->expect)
            error = api->memory_fill(api->self, c->address[b], 0xff, c->bytes[b], stream);
    }
    return error;
}

static inline int case_start(SimCase *c, CudaModule *module, CudaStream *stream)
{
    const DriverApi *api = c->api;
    CudaFunction *function = NULL;
    CudaTouch touch[CASE_BUFFERS];
    void *argument[CASE_BUFFERS];
    int error = api->module_function(api->self, &function, module, c->kernel);
    for (size_t b = 0; b < c->n_buffers; b++) {
        touch[b] = (CudaTouch){arena_printf(&c->arena, "b%zu", b), c->address[b], c->bytes[b], true, false};
        argument[b] = &c->address[b];
    }
    if (!error && c->shared)
        error = api->function_set(api->self, function, 8, (int)c->shared);
    if (!error && api->expect)
        error = api->expect(api->self, stream, "", touch, c->n_buffers);
    if (!error)
        error = api->launch(api->self, function, c->blocks, 1, 1, c->threads, 1, 1, c->shared, stream, argument, NULL);
    return error ? error : api->stream_wait(api->self, stream);
}

static inline void case_run(SimCase *c)
{
    const DriverApi *api = c->api;
    CudaModule *module = NULL;
    CudaStream *stream = NULL;
    SimCounters before = {0};
    if (api->counters)
        api->counters(api->self, &before);
    c->error = api->stream_make(api->self, &stream, 0);
    c->error = c->error ? c->error : case_give(c, stream);
    c->error = c->error ? c->error : api->module_load(api->self, &module, c->text);
    c->error = c->error ? c->error : case_start(c, module, stream);
    for (size_t b = 0; b < c->n_buffers && !c->error; b++)
        c->error = api->copy_out(api->self, c->data[b], c->address[b], c->bytes[b], stream);
    c->error = c->error ? c->error : api->stream_wait(api->self, stream);
    const char *said = c->error && api->complaint ? api->complaint(api->self) : NULL;
    snprintf(c->said, sizeof c->said, "%s", said ? said : "");
    if (api->counters) {
        api->counters(api->self, &c->counters);
        sim_counters_subtract(&c->counters, &before);
    }
    for (size_t b = 0; b < c->n_buffers; b++)
        if (c->address[b])
            api->memory_free(api->self, c->address[b]);
    if (module)
        api->module_unload(api->self, module);
    if (stream)
        api->stream_free(api->self, stream);
}

// Runs a file. False when it is not for this driver. What is wrong is in c->complaint. `c->arena` is the caller's to free. With a seed
// a kernel that is wrong must still be found, but maybe elsewhere.
static inline bool sim_case(SimCase *c, const DriverApi *api, const char *folder, const char *name, bool has_seed)
{
    *c = (SimCase){.api = api, .path = name};
    c->text = case_read(&c->arena, arena_printf(&c->arena, "%s/%s", folder, name));
    if (!c->text) {
        CASE_FAIL(c, "cannot be read");
        return true;
    }
    const bool must_fail = case_lines(c, "error", NULL) > 0;
    if (must_fail && !api->expect)
        return false;
    case_lines(c, "launch", case_launch);
    case_lines(c, "buffer", case_buffer);
    case_run(c);
    if (c->error && !must_fail)
        CASE_FAIL(c, "error %d: %s", c->error, c->said);
    if (has_seed && must_fail) {
        c->n_checks++;
        if (!c->error)
            CASE_FAIL(c, "runs, though it must not");
    } else {
        case_lines(c, "error", case_error);
    }
    case_lines(c, "expect", case_expect);
    c->n_checks += has_seed ? case_lines(c, "count", NULL) : 0;
    if (!has_seed)
        case_lines(c, "count", case_count);
    if (c->n_checks == 0)
        CASE_FAIL(c, "checks nothing");
    return true;
}

#endif
