// mixc doctor: what of this machine the engine can use, and what to do about the rest.
#include "cli_engine.h"

#include "cache.h"
#include "compile.h"
#include "cuda_api.h"
#include "device.h"
#include "memory.h"

#include <string.h>
#include <sys/statvfs.h>

typedef enum Verdict { VERDICT_PASS, VERDICT_WARN, VERDICT_FAIL } Verdict;
static const char *const verdict_text[] = {[VERDICT_PASS] = "pass", [VERDICT_WARN] = "warn", [VERDICT_FAIL] = "fail"};

typedef struct Finding {
    const char *what;
    Verdict     verdict;
    const char *found, *remedy;             // remedy "": none needed
} Finding;

typedef struct Doctor {
    Cli    *cli;
    Finding finding[16];
    size_t  n;
    bool    has_cuda, has_sim;
} Doctor;

static void found(Doctor *d, const char *what, Verdict verdict, const char *text, const char *remedy)
{
    d->finding[d->n++] = (Finding){what, verdict, text, verdict == VERDICT_PASS ? "" : remedy};
}

static void look_at_compiler(Doctor *d)
{
    Compiler compiler = compiler_make(&d->cli->arena, NULL);
    StatusText why = {0};
    if (compiler_identify(&compiler, &why) == STATUS_OK)
        found(d, "compiler", VERDICT_PASS,
              arena_printf(&d->cli->arena, "%s: %.*s", compiler.path, (int)strcspn(compiler.version, "\n"),
                           compiler.version),
              "");
    else
        found(d, "compiler", VERDICT_FAIL, arena_strdup(&d->cli->arena, why.text), "apt-get install gcc, or set CC");
}

static void look_at_cache(Doctor *d)
{
    Cache *cache = cache_open(NULL);
    Arena *arena = &d->cli->arena;
    if (cache_folder(cache)) {
        struct statvfs disk;
        const char *folder = arena_strdup(arena, cache_folder(cache));
        double free_gib =
            statvfs(folder, &disk) == 0 ? (double)disk.f_bavail * (double)disk.f_frsize / 1073741824 : 1e9;
        if (free_gib < 0.1)
            found(d, "cache", VERDICT_WARN, arena_printf(arena, "%s has %.0f MiB left", folder, free_gib * 1024),
                  "make room, or set MIXC_CACHE_DIR to another disk");
        else
            found(d, "cache", VERDICT_PASS, folder, "");
    } else {
        found(d, "cache", VERDICT_WARN, cache_refused(cache) ? arena_strdup(arena, cache_refused(cache)) : "no folder",
              "set MIXC_CACHE_DIR to a folder that only you can write to (chmod 700)");
    }
    cache_close(cache);
}

static void look_at_processor(Doctor *d)
{
    Arena *arena = &d->cli->arena;
    Engine *engine = NULL;
    StatusText why = {0};
    EngineOptions options = {.device = "cpu", .on_device.threads = d->cli->threads};
    if (engine_open(&options, &engine, &why) != STATUS_OK) {
        found(d, "processor", VERDICT_FAIL, arena_strdup(arena, why.text), "use --device eval for tiny models");
        return;
    }
    const Target *t = engine_target(engine);
    const char *simd = t->vector_floats >= 16 ? "AVX-512" : t->vector_floats >= 8 ? "AVX2" : "128-bit vectors";
    found(d, "processor", t->vector_floats >= 8 ? VERDICT_PASS : VERDICT_WARN,
          arena_printf(arena, "%s, %d threads, L2 %zu KiB%s", simd, t->threads, t->l2_bytes / 1024,
                       t->has_bf16_dot ? ", bf16 products" : ""),
          "nothing to do: training works, more slowly");
    engine_close(engine);
    size_t memory = memory_available_bytes();
    if (memory != SIZE_MAX)
        found(d, "memory", memory > (size_t)1 << 30 ? VERDICT_PASS : VERDICT_WARN,
              arena_printf(arena, "%.1f GiB available", (double)memory / 1073741824),
              "train smaller batches, or close other programs");
}

// The libraries of NVIDIA and the GPU itself; none of them is needed on the cpu.
static void look_at_gpu(Doctor *d)
{
    Arena *arena = &d->cli->arena;
    CudaLibraries *libraries = cuda_libraries_open();
    const DriverApi *driver = NULL;
    const NvrtcApi *nvrtc = NULL;
    const BlasApi *blas = NULL;
    StatusText why[3] = {0};
    int major = 0, minor = 0;
    if (!libraries)
        return;
    if (cuda_find_driver(libraries, &driver, &why[0]) == STATUS_OK)
        found(d, "gpu driver", VERDICT_PASS, arena_strdup(arena, cuda_library_name(libraries, CUDA_DRIVER)), "");
    else
        found(d, "gpu driver", VERDICT_WARN, arena_strdup(arena, why[0].text), "only needed for --device cuda");
    if (cuda_find_nvrtc(libraries, &nvrtc, &why[1]) == STATUS_OK && nvrtc->version(nvrtc->self, &major, &minor) == 0)
        found(d, "nvrtc", VERDICT_PASS, arena_printf(arena, "%s, of CUDA %d.%d", cuda_library_name(libraries, CUDA_NVRTC), major, minor), "");
    else
        found(d, "nvrtc", VERDICT_WARN, arena_strdup(arena, why[1].text), "only needed for --device cuda and --device sim");
    if (cuda_find_blas(libraries, &blas, &why[2]) == STATUS_OK)
        found(d, "cublaslt", VERDICT_PASS, arena_strdup(arena, cuda_library_name(libraries, CUDA_BLAS)), "");
    else
        found(d, "cublaslt", VERDICT_WARN, arena_strdup(arena, why[2].text), "not needed: our own kernels multiply");
    cuda_libraries_close(libraries);
    d->has_sim = nvrtc != NULL;
    if (!driver || !nvrtc)
        return;
    Device *gpu = NULL;
    StatusText no_gpu = {0};
    d->has_cuda = device_cuda.open(&(DeviceOptions){0}, &gpu, &no_gpu) == STATUS_OK;
    if (d->has_cuda)
        found(d, "gpu", VERDICT_PASS, arena_strdup(arena, device_cuda.describe(gpu)), "");
    else
        found(d, "gpu", VERDICT_WARN, arena_strdup(arena, no_gpu.text), "only needed for --device cuda");
    device_cuda.close(gpu);
}

// What --device may say on this machine. The first is taken when nothing is said.
static void sum_up(Doctor *d)
{
    found(d, "devices", VERDICT_PASS, arena_printf(&d->cli->arena, "%scpu%s, eval%s", d->has_cuda ? "cuda (default), " : "",
                                                   d->has_cuda ? "" : " (default)", d->has_sim ? ", sim" : ""), "");
}

int cli_doctor(Cli *cli)
{
    Doctor d = {.cli = cli};
    look_at_compiler(&d);
    look_at_cache(&d);
    look_at_processor(&d);
    look_at_gpu(&d);
    sum_up(&d);
    Verdict worst = VERDICT_PASS;
    Text json = text_make(&cli->arena);
    for (size_t i = 0; i < d.n; i++) {
        const Finding *f = &d.finding[i];
        worst = f->verdict > worst ? f->verdict : worst;
        static const char *const colour[] = {"\033[32m", "\033[33m", "\033[31m"};
        if (cli_has(cli, OPT_JSON)) {
            text_printf(&json, "%s\n  {\"what\": \"%s\", \"verdict\": \"%s\", \"found\": ", i ? "," : "", f->what,
                        verdict_text[f->verdict]);
            text_json(&json, f->found);
            text_add(&json, ", \"remedy\": ");
            text_json(&json, f->remedy);
            text_char(&json, '}');
            continue;
        }
        printf("%s%s%s  %-10s  %s\n", cli->colour_out ? colour[f->verdict] : "", verdict_text[f->verdict],
               cli->colour_out ? "\033[0m" : "", f->what, f->found);
        if (f->remedy[0])
            printf("                  %s\n", f->remedy);
    }
    if (cli_has(cli, OPT_JSON))
        printf("{\"checks\": [%s\n]}\n", text_str(&json));
    return worst == VERDICT_FAIL ? status_exit_code(STATUS_NO_DEVICE) : 0;
}
