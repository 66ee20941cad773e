// The CUDA kernels of every model of the zoo: they compile for sm_80 and sm_90a without a complaint of the assembler that is not
// listed in allowed.txt, and a training step of them - forward, backward, clipping, optimiser - on the device gives what the evaluator
// gives. Sizes are those of zoo.txt. Without arguments the sample; `--full` all of it; `--device cuda` on a GPU; names: those models.
#include "build.h"
#include "codegen.h"
#include "cuda_api.h"
#include "engine.h"
#include "index_range.h"
#include "nvrtc.h"
#include "pool.h"
#include "proc.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_BINDINGS = 16, N_ARCHS = 2, MOST_LINES = 128 };

static const char *const arch_name[N_ARCHS] = {"sm_80", "sm_90a"};

// Float32 against doubles: some hundred kernels one after the other, each with sums of at most some hundred terms. Seen: 1e-6.
static const double bound = 1e-5;

typedef struct Line {
    char        text[256];
    const char *model;
    Binding     binding[MOST_BINDINGS];
    size_t      n_bindings;
    bool        in_sample, is_whole;        // is_whole: leaves are small whole numbers, and nothing may differ
    double      bound;                      // of its own; 0: that of all
} Line;

typedef struct Test {
    Arena           arena;
    const char     *device;
    const NvrtcApi *nvrtc;
    Pool           *pool;
    char           *allowed;
    int             n_failed;
} Test;

typedef struct Loaded {
    Sources sources;
    Diag    diag;
    Engine *engine;
    Module *module;
    Net    *net;
} Loaded;

static char *read_file(Arena *arena, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    char *text = arena_alloc(arena, 1 << 17, 1);
    text[fread(text, 1, (1 << 17) - 1, f)] = 0;
    fclose(f);
    return text;
}

static void fail(Test *t, const char *model, const char *what)
{
    printf("FAIL %s: %s\n", model, what);
    t->n_failed++;
}

// --- the assembler

static bool is_allowed(const Test *t, const char *model, const char *kernel, const char *arch, const char *what)
{
    for (const char *line = t->allowed; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        char m[64], k[64], a[16], w[16], reason[8];
        if (*line == '#' || sscanf(line, "%63s %63s %15s %15s %7s", m, k, a, w, reason) != 5)
            continue;
        if ((!strcmp(m, "*") || !strcmp(m, model)) && (!strcmp(k, "*") || !strcmp(k, kernel)) && (!strcmp(a, "*") || !strcmp(a, arch))
            && !strcmp(w, what))
            return true;
    }
    return false;
}

static const Kernel *find_kernel(const Program *p, const char *name)
{
    for (size_t k = 1; k < p->n_kernels; k++)
        if (!strcmp(p->kernel[k].name, name))
            return &p->kernel[k];
    return NULL;
}

static void check_log(Test *t, const char *model, const Program *p, const char *arch, const char *log)
{
    PtxasLog read = ptxas_read(&t->arena, log);
    for (size_t i = 0; i < read.n_advice; i++)
        if (!is_allowed(t, model, "*", arch, read.advice[i].code))
            fail(t, model, arena_printf(&t->arena, "%s: %s", arch, read.advice[i].text));
    for (size_t i = 0; i < read.n_kernels; i++) {
        const PtxasReport *r = &read.kernel[i];
        const Kernel *k = find_kernel(p, r->kernel);
        if (r->spill_stores + r->spill_loads > 0 && !is_allowed(t, model, r->kernel, arch, "spill"))
            fail(t, model, arena_printf(&t->arena, "%s: kernel %s spills %zu bytes", arch, r->kernel, r->spill_stores));
        if (k && (int64_t)r->registers * k->cuda_threads > 65536 && !is_allowed(t, model, r->kernel, arch, "registers"))
            fail(t, model, arena_printf(&t->arena, "%s: kernel %s takes %d registers in each of %lld threads; a block has 65536", arch,
                                        r->kernel, r->registers, (long long)k->cuda_threads));
    }
    if (read.n_kernels + 1 != p->n_kernels)
        fail(t, model, arena_printf(&t->arena, "%s: the assembler tells of %zu kernels, and there are %zu", arch, read.n_kernels,
                                    p->n_kernels - 1));
}

typedef struct Compile {
    const NvrtcApi *nvrtc;
    const char     *text;
    Arena           arena[N_ARCHS];
    NvrtcImage      image[N_ARCHS];
    Status          status[N_ARCHS];
    StatusText      why[N_ARCHS];
} Compile;

static void compile_one(void *user, int64_t begin, int64_t end, int thread)
{
    Compile *c = user;
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        c->status[i] = nvrtc_compile(c->nvrtc, &c->arena[i],
                                     &(NvrtcJob){.name = "kernels.cu", .text = c->text, .arch = arch_name[i], .wants_report = true},
                                     &c->image[i], &c->why[i]);
}

static void check_compile(Test *t, const char *model, const Program *p)
{
    Text text = text_make(&t->arena);
    codegen_emit_cuda(p, &text);
    Compile c = {.nvrtc = t->nvrtc, .text = text_str(&text)};
    pool_run(t->pool, compile_one, &c, N_ARCHS, 1);
    for (int i = 0; i < N_ARCHS; i++) {
        if (c.status[i] == STATUS_OK)
            check_log(t, model, p, arch_name[i], c.image[i].log);
        else
            fail(t, model, c.why[i].text);
        arena_free(&c.arena[i]);
    }
}

// --- a step

static Status load(Test *t, const Line *line, const char *device, Loaded *l, StatusText *why)
{
    const char *text = read_file(&t->arena, arena_printf(&t->arena, "%s/%s/%s", MIXC_TESTS, line->is_whole ? "gpu" : "../models", line->model));
    Binding *binding = arena_array(&t->arena, Binding, MOST_BINDINGS);
    memcpy(binding, line->binding, sizeof line->binding);
    const BuildOptions build = {.mode = MODE_TRAIN, .with_loss = true, .binding = binding, .n_bindings = line->n_bindings};
    *l = (Loaded){.sources = sources_make(&t->arena)};
    l->diag = diag_make(&t->arena, &l->sources);
    if (!text)
        return status_fail(why, STATUS_IO, "no such model");
    Status status = engine_open(&(EngineOptions){.device = device, .on_device = {.threads = 2, .cache_dir = ""}}, &l->engine, why);
    if (status == STATUS_OK)
        status = engine_load_text(l->engine, &t->arena, &l->diag, &l->sources, line->model, text, &build, &(LoadOptions){.train = true},
                                  &l->module, &l->net, why);
    if (status != STATUS_OK && l->diag.n_items)
        snprintf(why->text, sizeof why->text, "%s", l->diag.item[0].message);
    return status;
}

static void unload(Loaded *l)
{
    net_free(l->net);
    engine_close(l->engine);
}

static uint32_t mixed(uint32_t x)
{
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

// Whole numbers that may index, floats in (-1, 1), the host's scalars as in a run.
static void *make_input(Arena *arena, const Module *module, const Slot *slot, bool whole)
{
    int64_t least = 0;
    const char *axis = NULL;
    int64_t most = index_limit(module_graph(module, "main"), slot->name, &least, &axis);
    float *f = arena_alloc(arena, (size_t)slot->count + 1, 4);
    int32_t *n = (int32_t *)(void *)f;
    const bool is_whole = slot->dtype == DTYPE_I32;
    uint32_t seed = 77;
    for (const char *c = slot->name; *c; c++)
        seed = seed * 31 + (unsigned char)*c;
    if (most > 1000000)
        most = 2;
    for (int64_t i = 0; i < slot->count; i++) {
        const uint32_t bits = mixed(seed + (uint32_t)i);
        if (is_whole)
            n[i] = (int32_t)((int64_t)bits % most);
        else
            f[i] = whole ? (float)((int)(bits % 3) - 1) : (float)(bits >> 8) / 8388608.0f - 1.0f;
    }
    if (slot->n_axes == 0 && is_whole)
        n[0] = strcmp(slot->name, "seed") ? 3 : 11;
    else if (slot->n_axes == 0)
        f[0] = strcmp(slot->name, "apply") && !whole ? 1e-3f : 1.0f;
    if (!strcmp(slot->name, "real") || !strcmp(slot->name, "seen"))
        for (int64_t i = 0; i < slot->count; i++)
            f[i] = mixed(seed + (uint32_t)i) % 8 ? 1.0f : 0.0f;
    return f;
}

static Status run_step(Test *t, const Line *line, Loaded *l, StatusText *why)
{
    const Slot *slot = NULL;
    const size_t n = net_slots(l->net, &slot);
    Status status = net_init(l->net, l->module, 5, why);
    for (size_t i = 0; i < n && status == STATUS_OK; i++)
        if (slot[i].kind == BUFFER_INPUT || (slot[i].kind == BUFFER_PARAM && line->is_whole))
            status = net_write(l->net, &slot[i], make_input(&t->arena, l->module, &slot[i], line->is_whole), why);
    return status == STATUS_OK ? net_run(l->net, why) : status;
}

static double value_of(const Slot *slot, const void *data, int64_t i)
{
    return slot->dtype == DTYPE_I32 ? (double)((const int32_t *)data)[i] : (double)((const float *)data)[i];
}

// The largest difference, of the largest number of the tensor. Adam divides by the root of the second moment, so a parameter is
// compared by what moves it, its moments.
static double compare(Test *t, const Line *line, Loaded *got, Loaded *want, const char **out_worst)
{
    const Slot *slot = NULL;
    const size_t n = net_slots(got->net, &slot);
    double worst = 0;
    *out_worst = "nothing";
    for (size_t i = 0; i < n; i++) {
        const Slot *other = net_slot(want->net, slot[i].kind, slot[i].name);
        const bool is_compared = slot[i].kind == BUFFER_OUTPUT || slot[i].kind == BUFFER_STATE
                                 || (line->is_whole && slot[i].kind == BUFFER_PARAM);
        if (!is_compared || !other || other->count != slot[i].count || (line->is_whole && !strcmp(slot[i].name, "watch.grad_norm")))
            continue;                       // a root is not exact
        StatusText why = {0};
        void *x = arena_alloc(&t->arena, (size_t)slot[i].count + 1, 4), *y = arena_alloc(&t->arena, (size_t)slot[i].count + 1, 4);
        if (net_read(got->net, &slot[i], x, &why) != STATUS_OK || net_read(want->net, other, y, &why) != STATUS_OK)
            return INFINITY;
        double largest = 1e-6, error = 0;
        for (int64_t k = 0; k < slot[i].count; k++)
            largest = fmax(largest, fabs(value_of(other, y, k)));
        for (int64_t k = 0; k < slot[i].count; k++) {
            const double e = fabs(value_of(&slot[i], x, k) - value_of(other, y, k)) / largest;
            error = e <= error ? error : isnan(e) ? INFINITY : e;
        }
        for (int64_t k = 0; line->is_whole && k < slot[i].count; k++)
            if (fabs(value_of(other, y, k)) > 16777216)
                return INFINITY;            // not exact any more
        if (error > worst) {
            worst = error;
            *out_worst = slot[i].name;
        }
    }
    return worst;
}

static void check_model(Test *t, const Line *line)
{
    Loaded got = {0}, want = {0};
    StatusText why = {0};
    const double begin = proc_now_s();
    const double most = line->is_whole ? 0 : line->bound > 0 ? line->bound : bound;
    double loaded = begin, compiled = begin, ran = begin, error = 0;
    const char *worst = "";
    Status status = load(t, line, t->device, &got, &why);
    loaded = proc_now_s();
    if (status == STATUS_OK)
        check_compile(t, line->model, net_program(got.net));
    compiled = proc_now_s();
    if (status == STATUS_OK)
        status = run_step(t, line, &got, &why);
    ran = proc_now_s();
    if (status == STATUS_OK)
        status = load(t, line, "eval", &want, &why);
    if (status == STATUS_OK)
        status = run_step(t, line, &want, &why);
    if (status == STATUS_OK)
        error = compare(t, line, &got, &want, &worst);
    if (status != STATUS_OK)
        fail(t, line->model, why.text);
    else if (!(error <= most))
        fail(t, line->model, arena_printf(&t->arena, "'%s' differs by %.3g of its largest number; the bound is %.3g", worst, error, most));
    else
        printf("%-18s %4zu kernels %4zu launches  error %.1e (%s)  load %.1f s, gate %.1f s, step %.2f s, evaluator %.2f s\n", line->model,
               net_program(got.net)->n_kernels - 1, net_program(got.net)->n_launches, error, worst, loaded - begin, compiled - loaded,
               ran - compiled, proc_now_s() - ran);
    fflush(stdout);
    unload(&got);
    unload(&want);
}

// --- which models

static size_t read_lines(Test *t, Line *line)
{
    char *text = read_file(&t->arena, MIXC_TESTS "/gpu/zoo.txt");
    size_t n = 0;
    for (char *at = text ? strtok(text, "\n") : NULL; at && n < MOST_LINES; at = strtok(NULL, "\n"))
        if (*at != '#')
            snprintf(line[n++].text, sizeof line->text, "%s", at);
    for (size_t i = 0; i < n; i++) {
        for (char *word = strtok(line[i].text, " "); word; word = strtok(NULL, " ")) {
            char *equals = strchr(word, '=');
            if (!strcmp(word, "*"))
                line[i].in_sample = true;
            else if (!strcmp(word, "="))
                line[i].is_whole = true;
            else if (*word == '~')
                line[i].bound = strtod(word + 1, NULL);
            else if (!equals)
                line[i].model = word;
            else if (line[i].n_bindings < MOST_BINDINGS) {
                *equals = 0;
                line[i].binding[line[i].n_bindings++] = (Binding){.name = word, .value = equals + 1};
            }
        }
    }
    return n;
}

// A model that nobody wrote sizes for is a complaint of a full run.
static void check_all_have_lines(Test *t, const Line *line, size_t n)
{
    DIR *d = opendir(MIXC_TESTS "/../models");
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        const size_t length = strlen(e->d_name);
        bool has_line = length < 5 || strcmp(e->d_name + length - 4, ".mix") != 0;
        for (size_t i = 0; i < n && !has_line; i++)
            has_line = line[i].model && !strcmp(line[i].model, e->d_name);
        if (!has_line)
            fail(t, e->d_name, "tests/gpu/zoo.txt has no sizes for it");
    }
    if (d)
        closedir(d);
}

static bool is_named(const char *model, int argc, char **argv)
{
    for (int a = 1; a < argc; a++)
        if (!strncmp(argv[a], model, strlen(argv[a])))
            return true;
    return false;
}

static int run(int argc, char **argv)
{
    Test t = {.device = "sim", .allowed = ""};
    CudaLibraries *libraries = cuda_libraries_open();
    StatusText why = {0};
    bool is_full = false, has_names = false;
    for (int a = 1; a < argc; a++) {
        if (!strcmp(argv[a], "--full"))
            is_full = true;
        else if (!strcmp(argv[a], "--device") && a + 1 < argc)
            t.device = argv[++a];
        else
            has_names = true;
    }
    if (cuda_find_nvrtc(libraries, &t.nvrtc, &why) != STATUS_OK) {
        printf("skipped: %s\n", why.text);
        return 77;
    }
    if (pool_open(2, &t.pool, &why) != STATUS_OK)
        return 1;
    t.allowed = read_file(&t.arena, MIXC_TESTS "/gpu/allowed.txt");
    Line *line = arena_array(&t.arena, Line, MOST_LINES);
    const size_t n = read_lines(&t, line);
    int n_run = 0;
    for (size_t i = 0; i < n; i++)
        if (has_names ? is_named(line[i].model, argc, argv) : is_full || line[i].in_sample) {
            check_model(&t, &line[i]);
            n_run++;
        }
    if (is_full && !has_names)
        check_all_have_lines(&t, line, n);
    printf("%d models on %s, %d complaints\n", n_run, t.device, t.n_failed);
    pool_close(t.pool);
    cuda_libraries_close(libraries);
    arena_free(&t.arena);
    return t.n_failed || n_run == 0;
}

// In a process of its own, because the compiler keeps memory to itself that a leak checker would report.
int main(int argc, char **argv)
{
    const pid_t child = fork();
    if (child == 0) {
        const int code = run(argc, argv);
        fflush(stdout);
        _exit(code);
    }
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
