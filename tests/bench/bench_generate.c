// What a token of generated text costs: by steps (caches), or by computing the whole window. A benchmark, not a test;
// tests/bench/generate.sh makes tables with it.
//
//     bench_generate MODEL.mix steps|whole PROMPT TOKENS [processor|kernels] [NAME=VALUE ...]
//
// Random weights, a prompt of PROMPT tokens, then TOKENS more. Prints, in milliseconds: the prompt and the first token; the mean
// and the median of the other tokens; and the caches in KiB. "processor": one thread, processor time, for a machine that is busy
// with other work. "kernels": what the launches of a step take, instead.
#include "engine.h"
#include "generate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_TOKENS = 1 << 16, MOST_BINDINGS = 16 };

typedef struct Clock {
    clockid_t id;
    double    last, *ms;
    size_t    n;
} Clock;

static double now_ms(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "bench_generate: %s\n", what);
    exit(1);
}

static bool each(void *user, int32_t token, double probability)
{
    Clock *c = user;
    const double now = now_ms(c->id);
    (void)token;
    (void)probability;
    c->ms[c->n++] = now - c->last;
    c->last = now;
    return true;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double cache_kib(const Net *net)
{
    const Program *p = net_program(net);
    double bytes = 0;
    for (uint32_t b = 1; b < p->n_buffers; b++)
        if (p->buffer[b].kind == BUFFER_STATE && !strncmp(p->buffer[b].name, CACHE_PREFIX, sizeof CACHE_PREFIX - 1))
            bytes += (double)p->buffer[b].bytes;
    return bytes / 1024;
}

static void print_kernels(Net *net)
{
    const Program *p = net_program(net);
    double *seconds = calloc(p->n_launches + 1, sizeof *seconds), *sum = calloc(p->n_launches + 1, sizeof *sum), all = 0;
    StatusText why = {0};
    enum { RUNS = 20 };
    for (int i = 0; i < RUNS && net_run_timed(net, seconds, &why) == STATUS_OK; i++)
        for (size_t l = 0; l < p->n_launches; l++)
            sum[l] += seconds[l] * 1e6 / RUNS;
    for (size_t l = 0; l < p->n_launches; l++) {
        printf("%9.1f us  %-40s %s\n", sum[l], p->kernel[p->launch[l].kernel].name, p->launch[l].layer ? p->launch[l].layer : "");
        all += sum[l];
    }
    printf("%9.1f us  %zu launches\n", all, p->n_launches);
    free(seconds);
    free(sum);
}

int main(int argc, char **argv)
{
    if (argc < 5)
        fail("MODEL.mix steps|whole PROMPT TOKENS [processor|kernels] [NAME=VALUE ...]");
    const bool steps = !strcmp(argv[2], "steps");
    const size_t n_prompt = strtoul(argv[3], NULL, 10), n_tokens = strtoul(argv[4], NULL, 10);
    bool processor = false, kernels = false;
    Binding binding[MOST_BINDINGS] = {{.name = "B", .value = "1"}};
    BuildOptions build = {.mode = MODE_GENERATE, .binding = binding, .n_bindings = 1};
    for (int i = 5; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        processor |= !strcmp(argv[i], "processor");
        kernels |= !strcmp(argv[i], "kernels");
        if (!equals || build.n_bindings == MOST_BINDINGS)
            continue;
        *equals = 0;
        if (!strcmp(argv[i], "size"))
            build.size = equals + 1;
        else
            binding[build.n_bindings++] = (Binding){.name = argv[i], .value = equals + 1};
    }
    if (n_tokens < 2 || n_tokens > MOST_TOKENS || n_prompt < 1)
        fail("too few or too many tokens");
    Arena arena = {0};
    Sources sources = sources_make(&arena);
    Diag diag = diag_make(&arena, &sources);
    StatusText why = {0};
    Engine *engine = NULL;
    Net *net = NULL;
    Generator g = {0};
    const uint32_t file = sources_read(&sources, argv[1]);
    const Ast *ast = file ? ast_parse(&arena, &diag, &sources, file) : NULL;
    Module *m = ast ? build_module(&arena, &diag, &sources, ast, &build) : NULL;
    if (!m)
        fail("the model cannot be built");
    Status status = engine_open(&(EngineOptions){.device = "cpu", .on_device = {.threads = processor}}, &engine, &why);
    if (status == STATUS_OK)
        status = engine_load(engine, &arena, &diag, m, &(LoadOptions){.generate = steps}, &net, &why);
    if (status == STATUS_OK)
        status = net_init(net, m, 1, &why);
    if (status == STATUS_OK)
        status = generator_make(&arena, steps ? engine : NULL, &diag, m, net, &g, &why);
    if (status != STATUS_OK)
        fail(why.text);
    if (steps && !g.next)
        fail(g.no_steps);
    int32_t *prompt = calloc(n_prompt, sizeof *prompt);
    Clock clock = {.id = processor ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, .ms = calloc(n_tokens, sizeof(double))};
    clock.last = now_ms(clock.id);
    const GenerateOptions options = {.sample = {.temperature = 1, .top_p = 1}, .seed = 1, .n_tokens = (int64_t)n_tokens};
    status = generator_run(&g, prompt, n_prompt, &options, each, &clock, &why);
    if (status != STATUS_OK)
        fail(why.text);
    if (kernels) {
        print_kernels(g.next ? g.next : net);
        if (g.block)
            print_kernels(g.block);
    } else {
        double sum = 0;
        for (size_t i = 1; i < clock.n; i++)
            sum += clock.ms[i];
        qsort(clock.ms + 1, clock.n - 1, sizeof(double), by_value);
        printf("%.3f %.4f %.4f %.0f\n", clock.ms[0], sum / (double)(clock.n - 1), clock.ms[1 + (clock.n - 1) / 2], g.next ? cache_kib(net) : 0.0);
    }
    generator_close(&g);
    net_free(net);
    engine_close(engine);
    arena_free(&arena);
    free(prompt);
    free(clock.ms);
    return 0;
}
