// See trial_process.h. The text:
//
//     device cuda
//     threads 2
//     seconds 0.02
//     final 0                                    1: Trial.is_final
//     as H100                                    if Trial.counted_as
//     cache /home/me/.cache/mixc                 if one is named, and the compiler likewise
//     try gpu_rows=128 gpu_cols=64               a line for each schedule
//     graph
//     ...                                        the graph's text form, to the end
#define _GNU_SOURCE
#include "trial_process.h"

#include "text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void trial_print(const Trial *trial, FILE *to)
{
    Arena arena;
    arena_init(&arena);
    Text graph = text_make(&arena);
    graph_print(trial->g, &graph);
    fprintf(to, "device %s\nthreads %d\nseconds %.17g\nfinal %d\n", trial->ops->name, trial->on_device->threads, trial->seconds, trial->is_final);
    if (trial->counted_as)
        fprintf(to, "as %s\n", trial->counted_as);
    if (trial->on_device->cache_dir)
        fprintf(to, "cache %s\n", trial->on_device->cache_dir);
    if (trial->on_device->compiler)
        fprintf(to, "compiler %s\n", trial->on_device->compiler);
    for (size_t i = 0; i < trial->n; i++)
        fprintf(to, "try %s\n", schedule_text(&arena, &trial->schedule[i]));
    fprintf(to, "graph\n%s", text_str(&graph));
    fflush(to);
    arena_free(&arena);
}

typedef struct Request {
    const DeviceOps *ops;
    DeviceOptions    on_device;
    double           seconds;
    bool             is_final;
    const char      *counted_as;
    Schedule        *schedule; size_t n, capacity;
} Request;

// One line before the graph. False: it says nothing that we know.
static bool read_line(Arena *arena, char *line, Request *r)
{
    char *value = strchr(line, ' ');
    if (!value)
        return false;
    *value++ = 0;
    if (!strcmp(line, "device")) {
        r->ops = device_find(value);
        return r->ops != NULL;
    }
    if (!strcmp(line, "threads"))
        r->on_device.threads = atoi(value);
    else if (!strcmp(line, "seconds"))
        r->seconds = strtod(value, NULL);
    else if (!strcmp(line, "final"))
        r->is_final = atoi(value) != 0;
    else if (!strcmp(line, "as"))
        r->counted_as = value;
    else if (!strcmp(line, "cache"))
        r->on_device.cache_dir = value;
    else if (!strcmp(line, "compiler"))
        r->on_device.compiler = value;
    else if (!strcmp(line, "try")) {
        r->schedule = arena_grow(arena, r->schedule, r->n, &r->capacity, sizeof *r->schedule);
        return schedule_parse(value, &r->schedule[r->n++]);
    } else
        return false;
    return true;
}

// All of the stream, and a 0.
static char *read_all(Arena *arena, FILE *in)
{
    Text text = text_make(arena);
    for (int c; (c = fgetc(in)) != EOF;)
        text_char(&text, (char)c);
    return arena_strndup(arena, text_str(&text), text.n);
}

int trial_serve(FILE *in, FILE *out)
{
    Arena arena;
    arena_init(&arena);
    Sources sources = sources_make(&arena);
    Diag diag = diag_make(&arena, &sources);
    Request r = {.seconds = 0.02};
    char *at = read_all(&arena, in);
    bool good = true;
    while (good && strncmp(at, "graph\n", 6) != 0) {
        char *end = strchr(at, '\n');
        good = end != NULL;
        if (!good)
            break;
        *end = 0;
        good = read_line(&arena, at, &r);
        at = end + 1;
    }
    const Graph *g = NULL;
    if (good && r.ops && r.n)
        g = graph_parse(&arena, &diag, &sources, sources_add(&sources, "kernel", at + 6, strlen(at + 6)));
    if (g)
        trial_run(&(Trial){.g = g, .schedule = r.schedule, .n = r.n, .ops = r.ops, .on_device = &r.on_device, .seconds = r.seconds,
                           .is_final = r.is_final, .counted_as = r.counted_as}, out);
    else
        fprintf(out, "unable 0 what to try cannot be read\n");
    fflush(out);
    arena_free(&arena);
    return g ? 0 : status_exit_code(STATUS_INTERNAL);
}

void trial_exec(const Trial *trial, int fd)
{
    const int request = memfd_create("mixc-trial", 0);
    FILE *to = request >= 0 ? fdopen(request, "w") : NULL;
    if (!to)
        return;
    trial_print(trial, to);
    if (lseek(request, 0, SEEK_SET) == 0 && dup2(request, STDIN_FILENO) >= 0 && dup2(fd, STDOUT_FILENO) >= 0)
        execl("/proc/self/exe", "mixc", TRIAL_ARGUMENT, (char *)NULL);
}
