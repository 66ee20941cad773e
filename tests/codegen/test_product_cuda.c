// CUDA products in every form - tiles, layouts of both operands, float32 and bf16, copied, rounded and computed operands - in the
// simulator on whole numbers, whose sums are exact: the evaluator's bits, no finding, no bank conflict. Then
// what the assembler says of them at full size. Skipped where there is no NVRTC.
#include "run_graph.h"

#include "cuda_api.h"
#include "nvrtc.h"
#include "scheduled.h"
#include "sim/sim_counters.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

// Runs it in the simulator; all products' counters are added up.
static SimCounters run_in_sim(Device *d, const char *text, const char *schedule, const char *name, double tolerance)
{
    Ran r;
    StatusText why = {0};
    LoadedProgram *l = NULL;
    uint64_t bits = 1;
    SimCounters sum = {0};
    compile_scheduled(&r, text, schedule, 0);
    evaluate(&r);
    for (size_t k = 1; k < r.program->n_kernels; k++)
        assert_null(strstr(r.program->kernel[k].cuda, "in plain loops"));
    r.ops = &device_sim;
    if (device_sim.load(d, r.program, &l, &why) != STATUS_OK)
        fail_msg("%s, %s: %s", name, schedule, why.text);
    write_leaves(&r, l);
    SimCounters *counters = arena_array(&r.arena, SimCounters, r.program->n_launches + 1);
    if (device_sim.run_counted(l, counters, &why) != STATUS_OK)
        fail_msg("%s, %s: %s", name, schedule, why.text);
    double error = compare_outputs(&r, l, &bits);
    if (!(error <= tolerance)) {
        Text t = text_make(&r.arena);
        codegen_emit_cuda(r.program, &t);
        fprintf(stderr, "%s\n", text_str(&t));
        fail_msg("%s, %s: error %g is above %g", name, schedule, error, tolerance);
    }
    for (size_t i = 0; i < r.program->n_launches; i++)
        if (r.program->kernel[r.program->launch[i].kernel].family != FAMILY_LOOP)
            sim_counters_add(&sum, &counters[i]);
    device_sim.unload(l);
    arena_free(&r.arena);
    return sum;
}

typedef enum Dtypes { FLOATS, ROUNDED, HALVES } Dtypes;      // float32; rounded as they are read; stored as bf16

typedef struct Shape { int m, n, k; bool a_turned, b_turned; Dtypes dtypes; } Shape;

static const char *product_text(Arena *arena, const Shape *s)
{
    const char *type = s->dtypes == HALVES ? "bf16" : "f32";
    static const char *const steps[] = {
        [FLOATS] = "  %3.y = contract %1, %2 {over = [K]}\n  result \"y\" = %3\n",
        [ROUNDED] = "  %3 = cast %1 {to = bf16}\n  %4 = cast %2 {to = bf16}\n  %5 = contract %3, %4 {over = [K]}\n"
                    "  %6.y = cast %5 {to = f32}\n  result \"y\" = %6\n",
        [HALVES] = "  %3 = contract %1, %2 {over = [K]}\n  %4.y = cast %3 {to = f32}\n  result \"y\" = %4\n"};
    return arena_printf(arena, "graph @main\naxis M = %d, N = %d, K = %d\n{\n  %%1.a = arg \"whole_a\" : %s[%s]\n"
                        "  %%2.b = arg \"whole_b\" : %s[%s]\n%s}\n", s->m, s->n, s->k, type, s->a_turned ? "K,M" : "M,K",
                        type, s->b_turned ? "N,K" : "K,N", steps[s->dtypes]);
}

static Device *open_sim(void)
{
    Device *d = NULL;
    StatusText why = {0};
    if (device_sim.open(&(DeviceOptions){.cache_dir = ""}, &d, &why) != STATUS_OK)
        fail_msg("%s", why.text);
    return d;
}

static const char *const schedule_of[] = {
    "gpu_rows=32 gpu_cols=32", "gpu_rows=64 gpu_cols=64 gpu_stages=2", "gpu_rows=128 gpu_cols=64", "gpu_rows=64 gpu_cols=128",
    "gpu_rows=128 gpu_cols=128", "gpu_rows=32 gpu_cols=64 gpu_stages=4", "gpu_ahead=2", "gpu_parts=3 gpu_rows=32 gpu_cols=64", "gpu_rows=64 gpu_cols=32", "default"};
enum { N_SCHEDULES = sizeof schedule_of / sizeof *schedule_of };

// Chunks of 16 bytes, of 8 and of 4; lines that end inside a chunk; odd ones; one less and one more than a tile.
static const int size_of[][3] = {{40, 72, 48}, {33, 68, 36}, {70, 34, 50}, {65, 63, 49}, {129, 130, 17}};
enum { N_SIZES = sizeof size_of / sizeof *size_of };

static void every_form_sums_exactly(void **state)
{
    (void)state;
    Device *d = open_sim();
    Arena arena = {0};
    size_t n = 0;
    for (Dtypes dtypes = FLOATS; dtypes <= HALVES; dtypes++)
        for (int form = 0; form < 4; form++)
            for (size_t s = 0; s < N_SIZES; s++) {
                if ((s + 2 * (size_t)form + (size_t)dtypes) % N_SIZES > 1 && !getenv("MIXC_FULL"))
                    continue;               // two sizes each, all of them among all forms
                const Shape shape = {size_of[s][0], size_of[s][1], size_of[s][2], form & 1, form & 2, dtypes};
                const char *name = arena_printf(&arena, "%d x %d x %d, form %d, dtypes %d", shape.m, shape.n, shape.k, form, dtypes);
                const SimCounters c = run_in_sim(d, product_text(&arena, &shape), schedule_of[n++ % N_SCHEDULES], name, 0);
                assert_true((c.tensor_flops > 0) == (dtypes != FLOATS));
                if (c.bank_conflicts > 0)
                    fail_msg("%s: %llu bank conflicts", name, (unsigned long long)c.bank_conflicts);
            }
    arena_free(&arena);
    device_sim.close(d);
}

// --- rows that choose their matrix

typedef struct Layer { int tokens, choices, experts, wide, hidden; const char *index; bool is_rounded; } Layer;

// A product through the index, its rows' gradient, and that of the matrices with an update and its norm, on whole numbers.
static const char *layer_text(Arena *arena, const Layer *s)
{
    Text t = text_make(arena);
    text_printf(&t, "graph @step\naxis T : time = %d, K = %d, E : expert = %d, D = %d, F = %d\n{\n"
                "  %%1.i = arg \"i\" : int[T,K]\n  %%2 = const {value = 1} : int[]\n  %%3 = %s\n"
                "  %%4.x = arg \"whole_x\" : f32[T,D]\n  %%5.du = arg \"whole_du\" : f32[T,K,F]\n  %%6.W = param \"whole_W\" : f32[E,D,F]\n",
                s->tokens, s->choices, s->experts, s->wide, s->hidden, s->index);
    if (s->is_rounded)
        text_add(&t, "  %7.x = cast %4 {to = bf16}\n  %8.du = cast %5 {to = bf16}\n  %9.W = cast %6 {to = bf16}\n"
                     "  %10 = take %9, %3 {axis = E}\n  %11 = contract %7, %10 {over = [D]}\n  %12.y = cast %11 {to = f32}\n"
                     "  %13 = contract %8, %10 {over = [F]}\n  %14.dx = cast %13 {to = f32}\n"
                     "  %15 = mul %7, %8\n  %16 = put_add %15, %3 {over = [T,K], to = E}\n  %17.dW = cast %16 {to = f32}\n");
    else
        text_add(&t, "  %7 = take %6, %3 {axis = E}\n  %8.y = contract %4, %7 {over = [D]}\n  %9.dx = contract %5, %7 {over = [F]}\n"
                     "  %10 = mul %4, %5\n  %11.dW = put_add %10, %3 {over = [T,K], to = E}\n");
    const int y = s->is_rounded ? 12 : 8, dx = s->is_rounded ? 14 : 9, dw = s->is_rounded ? 17 : 11;
    text_printf(&t, "  %%%d = mul %%%d, %%%d\n  %%%d.norm = reduce %%%d {f = sum, over = [E,D,F]}\n  %%%d.W = sub %%6, %%%d\n"
                "  result \"y\" = %%%d\n  result \"dx\" = %%%d\n  watch \"norm\" = %%%d\n  next \"whole_W\" = %%%d\n}\n",
                dw + 1, dw, dw, dw + 2, dw + 1, dw + 3, dw, y, dx, dw + 2, dw + 3);
    return text_str(&t);
}

static void rows_choose_their_matrix(void **state)
{
    (void)state;
    static const Layer layer[] = {
        {40, 2, 5, 36, 50, "sub %1, %2", false},            // some dropped
        {64, 1, 3, 40, 64, "sub %1, %1", false},            // one expert gets all
        {70, 2, 20, 32, 40, "mul %1, %2", true},            // few rows each
        {130, 1, 2, 48, 36, "sub %1, %2", true},
        {33, 3, 2, 35, 33, "sub %1, %2", true}};
    Device *d = open_sim();
    Arena arena = {0};
    for (size_t i = 0; i < sizeof layer / sizeof *layer; i++)
        for (int s = 0; s < 3; s++) {
            if (s == 2 && i % 2 == 0)
                continue;
            const char *name = arena_printf(&arena, "layer %zu", i);
            const SimCounters c = run_in_sim(d, layer_text(&arena, &layer[i]), s == 2 ? "gpu_ahead=2" : s ? "gpu_cols=64 gpu_rows=64" : "default", name, 0);
            assert_true((c.tensor_flops > 0) == layer[i].is_rounded);
        }
    arena_free(&arena);
    device_sim.close(d);
}

// A masked operand on either side, and a masked result: only strips and tiles with something in the band are multiplied.
static void what_is_masked_is_not_multiplied(void **state)
{
    (void)state;
    static const char *const mask[][3] = {
        {"le %3, %2", "select %4, %1, %5", "select %4, %15, %5"}, {"lt %2, %3", "select %4, %5, %1", "select %4, %5, %15"},
        {"le %2, %3", "select %4, %1, %5", "select %4, %15, %5"}};
    Device *d = open_sim();
    Arena arena = {0};
    for (size_t i = getenv("MIXC_FULL") ? 0 : 1; i < sizeof mask / sizeof *mask; i++) {
        const char *text = arena_printf(&arena,
            "graph @main\naxis B : batch = 2, T : time = 130, T' : time = 130 twin T, C = 36\n{\n %%1 = arg \"whole_w\" : f32[T,T']\n"
            " %%2 = index {axis = T}\n %%3 = index {axis = T'}\n %%4 = %s\n %%5 = const {value = 0} : f32[]\n %%6 = %s : f32[T,T']\n"
            " %%7 = arg \"whole_x\" : f32[B,T',C]\n %%8 = arg \"whole_z\" : f32[B,T,C]\n %%9 = arg \"whole_v\" : f32[B,C,T']\n"
            " %%10 = contract %%6, %%7 {over = [T']}\n %%11 = cast %%6 {to = bf16}\n %%12 = cast %%8 {to = bf16}\n"
            " %%13 = contract %%11, %%12 {over = [T]}\n %%14 = contract %%9, %%6 {over = [T']} : f32[B,C,T]\n"
            " %%15 = contract %%8, %%7 {over = [B,C]} : f32[T,T']\n %%16 = %s\n %%17 = cast %%13 {to = f32}\n"
            " result \"a\" = %%10\n result \"b\" = %%17\n result \"c\" = %%14\n result \"d\" = %%16\n}\n", mask[i][0], mask[i][1], mask[i][2]);
        const SimCounters c = run_in_sim(d, text, i == 1 ? "gpu_rows=64 gpu_cols=64" : "gpu_rows=32 gpu_cols=32", mask[i][0], 0);
        const uint64_t whole_flops = 2 * (uint64_t)(2 * 160 * 64 * 144 * 2 + 160 * 160 * 80), whole_tensor = 2 * 2 * 160 * 64 * 160;
        if (i != 1)
            assert_true(10 * c.flops < 8 * whole_flops && 10 * c.tensor_flops < 8 * whole_tensor);
    }
    arena_free(&arena);
    device_sim.close(d);
}

// What a search may try on a GPU: the default first, tiles and parts that differ, each of which computes the same.
static void there_are_schedules_to_choose_from(void **state)
{
    (void)state;
    const Shape shape = {96, 100, 160, false, false, ROUNDED};
    Device *d = open_sim();
    Arena arena = {0};
    Candidate *list = NULL;
    Ran r;
    const char *text = product_text(&arena, &shape);
    compile_scheduled(&r, text, "default", 0);
    const Target target = {.name = "cuda", .is_cuda = true, .vector_floats = 8, .vector_registers = 16, .threads = 1};
    const size_t n = codegen_candidates(&arena, r.fused, 1, &target, 40, &list);
    assert_true(n == 40 && schedule_is_default(&list[0].schedule));
    for (size_t i = 0; i < n; i += 13)
        run_in_sim(d, text, schedule_text(&arena, &list[i].schedule), "candidate", 0);
    arena_free(&r.arena);
    const Layer layer = {40, 2, 5, 36, 150, "sub %1, %2", true};
    compile_scheduled(&r, layer_text(&arena, &layer), "default", 0);
    uint32_t grouped = 1;
    while (r.fused->kernel[grouped] != FAMILY_GROUPED)
        grouped++;
    assert_true(codegen_candidates(&arena, r.fused, grouped, &target, 40, &list) > 4);
    run_in_sim(d, layer_text(&arena, &layer), schedule_text(&arena, &list[3].schedule), "candidate", 0);
    arena_free(&r.arena);
    arena_free(&arena);
    device_sim.close(d);
}

// Two products of one operand round it once.
static void an_operand_is_rounded_once(void **state)
{
    (void)state;
    Ran r;
    compile_scheduled(&r, "graph @main\naxis M = 40, N = 40, K = 40\n{\n  %1.x = arg \"x\" : f32[M,K]\n  %2.v = arg \"v\" : f32[K,N]\n"
                      "  %3.w = arg \"w\" : f32[K,N]\n  %4 = cast %1 {to = bf16}\n  %5 = cast %2 {to = bf16}\n  %6 = cast %3 {to = bf16}\n"
                      "  %7 = contract %4, %5 {over = [K]}\n  %8.y = cast %7 {to = f32}\n  %9 = contract %4, %6 {over = [K]}\n"
                      "  %10.z = cast %9 {to = f32}\n  result \"y\" = %8\n  result \"z\" = %10\n}\n", "gpu_ahead=2", 0);
    int n_rounded = 0;
    for (size_t i = 0; i < r.program->n_launches; i++)
        n_rounded += strstr(r.program->kernel[r.program->launch[i].kernel].cuda, "round4_s(") != NULL;
    assert_int_equal(n_rounded, 3);
    arena_free(&r.arena);
}

// --- at full size

typedef struct Assembler {
    CudaLibraries  *libraries;
    const NvrtcApi *api;
} Assembler;

static int64_t threads_of(const Program *p, const char *kernel, int64_t *out_dynamic)
{
    for (size_t k = 1; k < p->n_kernels; k++)
        if (!strcmp(p->kernel[k].name, kernel)) {
            *out_dynamic = p->kernel[k].cuda_dynamic_bytes;
            return p->kernel[k].cuda_threads;
        }
    fail_msg("the program has no kernel %s", kernel);
    return 0;
}

// No spill, no advice, and a block fits a processor; prints what a kernel takes.
static void check_assembler(const Assembler *as, const char *graph, const char *name, const char *schedule, const char *arch)
{
    Ran r;
    StatusText why = {0};
    NvrtcImage image = {0};
    compile_scheduled(&r, graph, schedule, 0);
    Text text = text_make(&r.arena);
    codegen_emit_cuda(r.program, &text);
    const NvrtcJob job = {.name = "kernels.cu", .text = text_str(&text), .arch = arch, .wants_report = true};
    if (nvrtc_compile(as->api, &r.arena, &job, &image, &why) != STATUS_OK)
        fail_msg("%s", why.text);
    const PtxasLog log = ptxas_read(&r.arena, image.log);
    for (size_t i = 0; i < log.n_advice; i++)
        fail_msg("%s: %s", arch, log.advice[i].text);
    for (size_t i = 0; i < log.n_kernels; i++) {
        const PtxasReport *k = &log.kernel[i];
        int64_t dynamic = 0;
        const int64_t threads = threads_of(r.program, k->kernel, &dynamic);
        print_message("%-6s %-28s %-24s %-14s %4lld threads, %3d registers, %lld bytes shared\n", arch, name, schedule, k->kernel, (long long)threads,
                      k->registers, (long long)dynamic);
        if (k->spill_stores + k->spill_loads + k->stack_bytes > 0)
            fail_msg("%s, %s, %s: %zu bytes of stack", arch, name, schedule, k->stack_bytes);
        assert_true(k->registers * threads <= 65536);
    }
    arena_free(&r.arena);
}

static void nothing_spills_at_full_size(void **state)
{
    (void)state;
    Assembler as = {.libraries = cuda_libraries_open()};
    StatusText why = {0};
    assert_int_equal(cuda_find_nvrtc(as.libraries, &as.api, &why), STATUS_OK);
    static const char *const read[] = {"float32", "rounded to bf16", "bf16"};
    Arena arena = {0};
    int n = 0;
    for (Dtypes dtypes = FLOATS; dtypes <= HALVES; dtypes++)
        for (int form = 0; form < 4; form++, n++) {
            if (form % 2 != (int)dtypes % 2 && !getenv("MIXC_FULL"))
                continue;
            const Shape s = {4096, 4096, 1024, form & 1, form & 2, dtypes};
            check_assembler(&as, product_text(&arena, &s), arena_printf(&arena, "%s, %s x %s", read[dtypes], form & 1 ? "[K,M]" : "[M,K]", form & 2 ? "[N,K]" : "[K,N]"),
                            schedule_of[n % 3 ? 4 : form], n % 2 ? "sm_80" : "sm_90a");
        }
    for (int rounded = 0; rounded < 2; rounded++) {
        const Layer layer = {4096, 4, 64, 512, 1024, "sub %1, %2", rounded};
        check_assembler(&as, layer_text(&arena, &layer), rounded ? "64 experts, rounded to bf16" : "64 experts, float32", "default", rounded ? "sm_80" : "sm_90a");
    }
    arena_free(&arena);
    cuda_libraries_close(as.libraries);
}

static int run_here(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_sums_exactly),
        cmocka_unit_test(rows_choose_their_matrix),
        cmocka_unit_test(what_is_masked_is_not_multiplied),
        cmocka_unit_test(there_are_schedules_to_choose_from),
        cmocka_unit_test(an_operand_is_rounded_once),
        cmocka_unit_test(nothing_spills_at_full_size),
    };
    Device *d = NULL;
    StatusText why = {0};
    if (device_sim.open(&(DeviceOptions){.cache_dir = ""}, &d, &why) != STATUS_OK) {
        fprintf(stderr, "skipped: %s\n", why.text);
        return 77;
    }
    device_sim.close(d);
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}

// In a process of its own, because NVRTC keeps memory to itself that a leak checker would report.
int main(void)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        int code = run_here();
        fflush(NULL);
        _exit(code);
    }
    int status = 0;
    return child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) ? 1 : WEXITSTATUS(status);
}
