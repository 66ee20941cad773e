// Kernels of a program to modules on the device: a few texts of about equal length, compiled over threads, kept by content.
#include "cuda_program.h"

#include "proc.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>

typedef struct Unit {
    Arena       arena;                      // of the thread that compiles it
    const char *text, *key;
    NvrtcImage  image;
    bool        is_missing;                 // from the cache
    Status      status;
    StatusText  why;
} Unit;

typedef struct Build {
    Device *device;
    Unit   *unit;
} Build;

// The kernel, with every line said to be the model's line that it computes: tools that show sources then show the model. What a user may have
// put into the name of a file does not end the string.
static void add_with_lines(const Program *p, size_t kernel, Text *out)
{
    const Launch *launch = program_first_launch(p, kernel);
    const char *file = NULL;
    const uint32_t line = launch ? program_place(p, launch, &file) : 0;
    bool is_continued = false;
    for (const char *at = p->kernel[kernel].cuda; *at;) {
        const size_t length = strcspn(at, "\n");
        if (line && !is_continued) {
            text_printf(out, "#line %u \"", line);
            for (const char *c = file; *c; c++)
                text_char(out, (unsigned char)*c < ' ' || *c == '"' || *c == '\\' ? '?' : *c);
            text_add(out, "\"\n");
        }
        is_continued = length > 0 && at[length - 1] == '\\';
        text_printf(out, "%.*s\n", (int)length, at);
        at += length + (at[length] == '\n');
    }
    if (line)
        text_add(out, "#line 1 \"kernels.cu\"\n");
}

static void compose(LoadedProgram *l, Unit *unit, const int *unit_of, int n)
{
    const Program *p = l->program;
    const Device *d = l->device;
    const char *key = nvrtc_key(d->nvrtc, &l->arena);
    const bool with_lines = getenv("MIXC_CUDA_LINES") != NULL;
    for (int u = 0; u < n; u++) {
        Text text = text_make(&l->arena);
        text_add(&text, p->cuda_prelude ? p->cuda_prelude : "");
        for (size_t k = 1; k < p->n_kernels; k++) {
            if (unit_of[k] != u)
                continue;
            text_char(&text, '\n');
            if (with_lines)
                add_with_lines(p, k, &text);
            else
                text_add(&text, p->kernel[k].cuda);
        }
        unit[u].text = text_str(&text);
        unit[u].key = arena_printf(&l->arena, "program %s\narch %s\nimage %s\n%ssource\n%s", p->name, d->arch,
                                   d->driver->wants_ptx ? "ptx" : "cubin", key, unit[u].text);
    }
}

static void compile_some(void *user, int64_t begin, int64_t end, int thread)
{
    const Build *b = user;
    (void)thread;
    for (int64_t u = begin; u < end; u++) {
        Unit *unit = &b->unit[u];
        if (!unit->is_missing)
            continue;
        const NvrtcJob job = {.name = "kernels.cu", .text = unit->text, .arch = b->device->arch,
                              .wants_ptx = b->device->driver->wants_ptx};
        unit->status = nvrtc_compile(b->device->nvrtc, &unit->arena, &job, &unit->image, &unit->why);
    }
}

// The kernel that a complaint `kernels.cu(N): ...` is about, and its line of the model. "": none.
static const char *blame(LoadedProgram *l, const Unit *unit)
{
    static const char file[] = "kernels.cu(", entry[] = "__global__ void ";
    const Program *p = l->program;
    const char *at = strstr(unit->why.text, file), *text = unit->text;
    if (!at)
        return "";
    const char *name = NULL;
    for (long line = strtol(at + strlen(file), NULL, 10); line > 0 && *text; line--) {
        const size_t length = strcspn(text, "\n");
        const char *here = strstr(text, entry);
        name = here && here < text + length ? here + strlen(entry) : name;
        text += length + (text[length] == '\n');
    }
    for (size_t k = 1; k < p->n_kernels && name; k++) {
        const size_t length = strlen(p->kernel[k].name);
        char place[128] = "its line is not known";
        const Launch *launch = program_first_launch(p, k);
        if (!strncmp(name, p->kernel[k].name, length) && name[length] == '(')
            return arena_printf(&l->arena, " (kernel '%s', %s)", p->kernel[k].name,
                                launch ? program_line(p, launch, place, sizeof place) : place);
    }
    return "";
}

static Status compile_all(LoadedProgram *l, Unit *unit, int n, StatusText *why)
{
    Device *d = l->device;
    Build build = {d, unit};
    for (int u = 0; u < n; u++) {
        CacheFound found = cache_load(d->cache, &l->arena, unit[u].key, &unit[u].image.data, &unit[u].image.n);
        unit[u].is_missing = found != CACHE_HIT;
        l->stats.cache_hits += found == CACHE_HIT;
        l->stats.cache_damaged += found == CACHE_DAMAGED;
    }
    pool_run(d->pool, compile_some, &build, n, 1);
    for (int u = 0; u < n; u++) {
        if (unit[u].status != STATUS_OK)
            return status_fail(why, unit[u].status, "%s%s", unit[u].why.text, blame(l, &unit[u]));
        if (unit[u].is_missing)
            cache_store(d->cache, unit[u].key, unit[u].image.data, unit[u].image.n);
    }
    return STATUS_OK;
}

static Status load_all(LoadedProgram *l, const Unit *unit, const int *unit_of, StatusText *why)
{
    const Program *p = l->program;
    Device *d = l->device;
    for (int u = 0; u < l->n_modules; u++) {
        int error = d->driver->module_load(d->driver->self, &l->module[u], unit[u].image.data);
        if (error != 0)
            return cuda_status(d, error, why, "the compiled kernels of '%s' cannot be loaded", p->name);
    }
    for (size_t k = 1; k < p->n_kernels; k++) {
        const Kernel *kernel = &p->kernel[k];
        int error = d->driver->module_function(d->driver->self, &l->function[k], l->module[unit_of[k]], kernel->name);
        if (error == 0 && kernel->cuda_dynamic_bytes > 0)       // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            error = d->driver->function_set(d->driver->self, l->function[k], 8, (int)kernel->cuda_dynamic_bytes);
        if (error != 0)
            return cuda_status(d, error, why, "kernel '%s' cannot be used", kernel->name);
    }
    return STATUS_OK;
}

Status cuda_build(LoadedProgram *l, StatusText *why)
{
    const Program *p = l->program;
    Device *d = l->device;
    const double begin = proc_now_s();
    Unit unit[CUDA_UNITS_MOST] = {0};
    int *unit_of = arena_array(&l->arena, int, p->n_kernels + 1);
    const int threads = pool_threads(d->pool), n = units_deal(p, true, threads < CUDA_UNITS_MOST ? threads : CUDA_UNITS_MOST, &l->arena, unit_of);
    l->module = arena_array(&l->arena, CudaModule *, (size_t)n + 1);
    l->function = arena_array(&l->arena, CudaFunction *, p->n_kernels + 1);
    l->n_modules = l->stats.units = n;
    l->stats.cache_refused = cache_refused(d->cache);
    for (int u = 0; u < n; u++)
        arena_init(&unit[u].arena);
    compose(l, unit, unit_of, n);
    Status status = compile_all(l, unit, n, why);
    if (status == STATUS_OK)
        status = load_all(l, unit, unit_of, why);
    for (int u = 0; u < n; u++)
        arena_free(&unit[u].arena);
    l->stats.compile_s = proc_now_s() - begin;
    return status;
}
