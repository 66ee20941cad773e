// The CUDA kernels of every model of the zoo: they compile for sm_80 and sm_90a without a complaint of the assembler that is not
// listed in allowed.txt, and a training step of them - forward, backward, clipping, optimiser - on the device gives what the evaluator
// gives. Sizes are those of zoo.txt. Without arguments the sample; `--full` all of it; `--device cuda` on a GPU; names: those models.
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
    Pool           *pool;
    char           *allowed;
    int             n_failed;
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

static void check_model(Test *t, const Line *line)
{
    Loaded got = {0}, want = {0};
    StatusText why = {0};
    const double begin = proc_now_s(), most = zoo_line_bound(line);
    ZooRun run = {.mode = MODE_TRAIN, .train = true, .device = t->device, .on_device = {.threads = 2, .cache_dir = ""}};
    double loaded = begin, compiled = begin, error = 0;
    const char *worst = "";
    Status status = zoo_load(&t->arena, line, &run, &got, &why);
    loaded = proc_now_s();
    if (status == STATUS_OK)
        check_compile(t, line->model, net_program(got.net));
    compiled = proc_now_s();
    run.device = "eval";
    if (status == STATUS_OK)
        status = zoo_load(&t->arena, line, &run, &want, &why);
    if (status == STATUS_OK)
        status = compare_runs(t, line, run.train, &got, &want, &error, &worst, &why);
    if (status != STATUS_OK)
        fail(t, line->model, why.text);
    else if (!(error <= most))
        fail(t, line->model, arena_printf(&t->arena, "'%s' differs by %.3g of its largest number; the bound is %.3g", worst, error, most));
    else
        printf("%-18s %4zu kernels %4zu launches  error %.1e (%s)  load %.1f s, gate %.1f s, runs %.2f s\n", line->model,
               net_program(got.net)->n_kernels - 1, net_program(got.net)->n_launches, error, worst, loaded - begin, compiled - loaded,
               proc_now_s() - compiled);
    fflush(stdout);
    zoo_unload(&got);
    zoo_unload(&want);
}

// --- which models

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
    t.allowed = zoo_read_file(&t.arena, MIXC_TESTS "/gpu/allowed.txt");
    Line *line = arena_array(&t.arena, Line, MOST_LINES);
    const size_t n = zoo_read_lines(&t.arena, "zoo.txt", line);
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
