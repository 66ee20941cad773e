// The CUDA kernels of every model of the zoo: they compile for sm_80 and sm_90a without a complaint of the assembler that is not
// listed in allowed.txt, and a training step of them - forward, backward, clipping, optimiser -, an evaluation and, where the model has a
// section for it, a generation on the device give what the evaluator gives, each in one launch of a graph. Sizes are those of zoo.txt. A kernel whose text an earlier program had
// is assembled once; every program runs. Of a training step the simulator's own compilation asks the assembler for sm_80 as well.
//
//     test_zoo_gpu [--full] [-j N] [--device cuda] [MODEL..]      without a name the sample; --full: all; -j: in N processes
#include "gate_compiler.h"
#include "zoo_step.h"

#include "codegen.h"
#include "cuda_api.h"
#include "nvrtc.h"
#include "pool.h"
#include "proc.h"

#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N_ARCHS = 2 };

static const char *const arch_name[N_ARCHS] = {"sm_80", "sm_90a"};

typedef struct Test {
    Arena           arena;
    const char     *device;
    const NvrtcApi *nvrtc;
    GateCompiler    compiler;
    Pool           *pool;
    char           *allowed;
    int             n_failed, n_programs, n_kernels;
    uint64_t       *seen; size_t n_seen, seen_capacity;     // hashes of kernels that were compiled
} Test;

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

static void check_log(Test *t, const char *model, const Program *p, size_t n_kernels, const char *arch, const char *log)
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
    if (read.n_kernels != n_kernels)
        fail(t, model, arena_printf(&t->arena, "%s: the assembler tells of %zu kernels, and there are %zu", arch, read.n_kernels, n_kernels));
}

typedef struct Compile {
    const NvrtcApi *nvrtc;
    const char     *text;
    int             first;                  // architecture
    Arena           arena[N_ARCHS];
    NvrtcImage      image[N_ARCHS];
    Status          status[N_ARCHS];
    StatusText      why[N_ARCHS];
} Compile;

static void compile_one(void *user, int64_t begin, int64_t end, int thread)
{
    Compile *c = user;
    (void)thread;
    for (int64_t i = begin + c->first; i < end + c->first; i++)
        c->status[i] = nvrtc_compile(c->nvrtc, &c->arena[i],
                                     &(NvrtcJob){.name = "kernels.cu", .text = c->text, .arch = arch_name[i], .wants_report = true},
                                     &c->image[i], &c->why[i]);
}

// Whether another kernel had this text, but for its name and its comments.
static bool was_seen(Test *t, const Kernel *k)
{
    uint64_t hash = 0xcbf29ce484222325u;
    const size_t length = strlen(k->name);
    for (const char *line = k->cuda; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        if (!strncmp(line, "//", 2))
            continue;
        for (const char *c = line; *c && *c != '\n';) {
            if (!strncmp(c, k->name, length)) {
                c += length;
                continue;
            }
            hash = (hash ^ (unsigned char)*c++) * 0x100000001b3u;
        }
        hash = (hash ^ '\n') * 0x100000001b3u;
    }
    for (size_t i = 0; i < t->n_seen; i++)
        if (t->seen[i] == hash)
            return true;
    t->seen = arena_grow(&t->arena, t->seen, t->n_seen, &t->seen_capacity, sizeof *t->seen);
    t->seen[t->n_seen++] = hash;
    return false;
}

// `log`: what the assembler said of all of them for the first architecture; NULL: nobody asked it.
static void check_compile(Test *t, const char *model, const Program *p, const char *log)
{
    Text text = text_make(&t->arena);
    size_t n_kernels = 0;
    text_add(&text, p->cuda_prelude ? p->cuda_prelude : "");
    for (size_t k = 1; k < p->n_kernels; k++) {
        t->n_kernels++;
        if (was_seen(t, &p->kernel[k]))
            continue;
        text_printf(&text, "\n%s", p->kernel[k].cuda);
        n_kernels++;
    }
    Compile c = {.nvrtc = t->nvrtc, .text = text_str(&text), .first = log ? 1 : 0};
    if (log)
        check_log(t, model, p, p->n_kernels - 1, arch_name[0], log);
    if (n_kernels > 0)
        pool_run(t->pool, compile_one, &c, N_ARCHS - c.first, 1);
    for (int i = c.first; i < N_ARCHS && n_kernels > 0; i++) {
        if (c.status[i] == STATUS_OK)
            check_log(t, model, p, n_kernels, arch_name[i], c.image[i].log);
        else
            fail(t, model, c.why[i].text);
        arena_free(&c.arena[i]);
    }
}

// --- a program

// Runs on both, and compares. A training step twice: the first, and a late one.
static Status compare_runs(Test *t, const Line *line, bool train, Loaded *got, Loaded *want, double *out_error, const char **out_worst,
                           StatusText *why)
{
    Status status = STATUS_OK;
    *out_error = 0;
    *out_worst = "nothing";
    for (int is_late = 0; is_late < (train && !line->is_whole ? 2 : 1) && status == STATUS_OK; is_late++) {
        const char *worst = "";
        status = zoo_run(&t->arena, line, is_late, got, why);
        if (status == STATUS_OK)
            status = zoo_run(&t->arena, line, is_late, want, why);
        const double error = status == STATUS_OK ? zoo_compare(line, is_late, got, want, &worst) : 0;
        if (error > *out_error) {
            *out_error = error;
            *out_worst = worst;
        }
    }
    return status;
}

static void check_program(Test *t, const Line *line, ModeName mode)
{
    static const char *const mode_name[MODE_COUNT] = {[MODE_TRAIN] = "train", [MODE_EVAL] = "eval", [MODE_GENERATE] = "generate"};
    Loaded got = {0}, want = {0};
    StatusText why = {0};
    const double begin = proc_now_s(), most = zoo_line_bound(line);
    ZooRun run = {.mode = mode, .train = mode == MODE_TRAIN, .bf16 = line->bf16, .device = t->device, .on_device = {.threads = 1, .cache_dir = ""}};
    run.on_device.nvrtc = strcmp(t->device, "sim") ? NULL : &t->compiler.api;
    t->compiler.asks_assembler = run.train;
    t->compiler.log = NULL;
    const char *name = arena_printf(&t->arena, "%s %s", line->model, mode_name[mode]), *worst = "";
    double loaded = begin, compiled = begin, error = 0;
    Status status = zoo_load(&t->arena, line, &run, &got, &why);
    loaded = proc_now_s();
    if (status == STATUS_OK)
        check_compile(t, line->model, net_program(got.net), t->compiler.log);
    compiled = proc_now_s();
    run.device = "eval";
    if (status == STATUS_OK)
        status = zoo_load(&t->arena, line, &run, &want, &why);
    if (status == STATUS_OK)
        status = compare_runs(t, line, run.train, &got, &want, &error, &worst, &why);
    LoadStats stats = {0};
    if (status == STATUS_OK)
        net_stats(got.net, &stats);
    const int64_t n_runs = run.train && !line->is_whole ? 2 : 1;
    if (status != STATUS_OK)
        fail(t, name, why.text);
    else if (stats.graph_launches != n_runs)
        fail(t, name, arena_printf(&t->arena, "%lld runs were %lld launches of a graph", (long long)n_runs,
                                   (long long)stats.graph_launches));
    else if (!(error <= most))
        fail(t, name, arena_printf(&t->arena, "'%s' differs by %.3g of its largest number; the bound is %.3g", worst, error, most));
    else
        printf("%-18s %-8s %4zu kernels %4zu launches  error %.1e (%s)  load %.1f s, gate %.1f s, runs %.2f s\n", line->model, mode_name[mode],
               net_program(got.net)->n_kernels - 1, net_program(got.net)->n_launches, error, worst, loaded - begin, compiled - loaded,
               proc_now_s() - compiled);
    fflush(stdout);
    t->n_programs++;
    zoo_unload(&got);
    zoo_unload(&want);
}

// Its training step, its evaluation, and its generation where it has one.
static void check_model(Test *t, const Line *line)
{
    const char *text = zoo_text(&t->arena, line);
    check_program(t, line, MODE_TRAIN);
    check_program(t, line, MODE_EVAL);
    if (text && strstr(text, "\ngenerate"))
        check_program(t, line, MODE_GENERATE);
}

// --- which models

// A model that nobody wrote sizes for is a complaint of a full run.
static void check_all_have_lines(Test *t, const Line *line, size_t n)
{
    DIR *d = opendir(arena_printf(&t->arena, "%s/../models", zoo_tests()));
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

typedef struct Options {
    const char *device;
    bool        is_full, has_names;
    int         workers, worker;            // how many share the lines, and which of them this is
} Options;

static Options read_options(int argc, char **argv)
{
    Options o = {.device = "sim", .workers = 1};
    for (int a = 1; a < argc; a++) {
        if (!strcmp(argv[a], "--full"))
            o.is_full = true;
        else if (!strcmp(argv[a], "--device") && a + 1 < argc)
            o.device = argv[++a];
        else if (!strcmp(argv[a], "-j") && a + 1 < argc)
            o.workers = atoi(argv[++a]) > 0 ? atoi(argv[a]) : 1;
        else
            o.has_names = true;
    }
    return o;
}

static int run(const Options *o, int argc, char **argv)
{
    Test t = {.device = o->device, .allowed = ""};
    CudaLibraries *libraries = cuda_libraries_open();
    StatusText why = {0};
    if (cuda_find_nvrtc(libraries, &t.nvrtc, &why) != STATUS_OK) {
        printf("skipped: %s\n", why.text);
        return 77;
    }
    if (pool_open(o->workers > 1 ? 1 : 2, &t.pool, &why) != STATUS_OK)
        return 1;
    gate_compiler_open(&t.compiler, &t.arena, t.nvrtc);
    t.allowed = zoo_read_file(&t.arena, arena_printf(&t.arena, "%s/gpu/allowed.txt", zoo_tests()));
    Line *line = arena_array(&t.arena, Line, MOST_LINES);
    const size_t n = zoo_read_lines(&t.arena, "zoo.txt", line);
    int n_mine = 0, n_run = 0;
    for (size_t i = 0; i < n; i++)
        if ((o->has_names ? is_named(line[i].model, argc, argv) : o->is_full || line[i].in_sample) && n_mine++ % o->workers == o->worker) {
            check_model(&t, &line[i]);
            n_run++;
        }
    if (o->is_full && !o->has_names && o->worker == 0)
        check_all_have_lines(&t, line, n);
    printf("%d models, %d programs, %d kernels (%zu texts) on %s, %d complaints\n", n_run, t.n_programs, t.n_kernels, t.n_seen, t.device,
           t.n_failed);
    pool_close(t.pool);
    cuda_libraries_close(libraries);
    arena_free(&t.arena);
    return t.n_failed || n_mine == 0;
}

// In processes of their own, because the compiler keeps memory to itself that a leak checker would report.
int main(int argc, char **argv)
{
    Options o = read_options(argc, argv);
    int code = 0;
    for (o.worker = 0; o.worker < o.workers; o.worker++) {
        const pid_t child = fork();
        if (child < 0)
            return 1;
        if (child == 0) {
            code = run(&o, argc, argv);
            fflush(stdout);
            _exit(code);
        }
    }
    for (int w = 0; w < o.workers; w++) {
        int status = 0;
        if (wait(&status) < 0 || !WIFEXITED(status))
            return 1;
        code = WEXITSTATUS(status) == 1 || code == 0 ? WEXITSTATUS(status) : code;
    }
    return code;
}
