// What loop kernels in CUDA ask of memory, by the simulator's counters: each number once, in requests of 16 bytes a lane. Skipped
// where there is no NVRTC.
#include "sim_graph.h"

#include "sim/sim_counters.h"

static void compile_for_sim(Ran *r, Device *d, const char *text)
{
    Target target;
    device_sim.target(d, &target);
    compile_for(r, text, &target);
    evaluate(r);
}

// The counters of all launches of a graph, or of its last one; its results are those of the evaluator. Sweeps are made for a GPU only.
static SimCounters count_launches(const char *text, bool only_last, double tolerance)
{
    Ran r;
    StatusText why = {0};
    LoadedProgram *l = NULL;
    SimCounters *each, sum = {0};
    Device *d = open_sim();
    uint64_t bits = 1;
    compile_for_sim(&r, d, text);
    r.ops = &device_sim;
    if (device_sim.load(d, r.program, &l, &why) != STATUS_OK)
        fail_msg("%s", why.text);
    write_leaves(&r, l);
    each = arena_array(&r.arena, SimCounters, r.program->n_launches + 1);
    if (device_sim.run_counted(l, each, &why) != STATUS_OK)
        fail_msg("%s", why.text);
    for (size_t i = only_last ? r.program->n_launches - 1 : 0; i < r.program->n_launches; i++)
        sim_counters_add(&sum, &each[i]);
    const double error = compare_outputs(&r, l, &bits);
    if (!(error <= tolerance))
        fail_msg("error %g", error);
    device_sim.unload(l);
    device_sim.close(d);
    arena_free(&r.arena);
    return sum;
}

static SimCounters count(const char *text)
{
    return count_launches(text, false, 1e-6);
}

// `floor`: bytes that must be read and written. Memory moves that; the caches are asked for `times` as much at most.
static void check(const char *name, const char *text, double floor, double times)
{
    const SimCounters c = count(text);
    const double moved = 32.0 * (double)(c.first_read_sectors + c.first_written_sectors), asked = 32.0 * (double)c.global_sectors;
    const double request = (double)c.global_bytes / (double)c.global_requests;
    print_message("%s: memory moves %.3f of the floor, the caches %.2f, %.0f bytes a request\n", name, moved / floor, asked / floor, request);
    if (moved > 1.01 * floor || asked > (times + 0.06) * floor)
        fail_msg("%s: %g bytes move and %g are asked for; %g must be", name, moved, asked, floor);
    if (request < 400)
        fail_msg("%s: a request of a warp is for %g bytes, not for most of 512", name, request);
}

static void adam_reads_and_writes_each_number_once(void **state)
{
    (void)state;
    check("adam", "graph @main\naxis N = 10240\n{\n  %1 = param \"w\" : f32[N]\n  %2 = state \"m\" : f32[N]\n  %3 = state \"positive_v\" : f32[N]\n"
          "  %4 = arg \"g\" : f32[N]\n  %5 = const {value = 0.9} : f32[]\n  %6 = const {value = 0.1} : f32[]\n  %7 = mul %2, %5\n"
          "  %8 = mul %4, %6\n  %9.m = add %7, %8\n  %10 = mul %3, %5\n  %11 = mul %4, %4\n  %12 = mul %11, %6\n  %13.v = add %10, %12\n"
          "  %14 = map %13 {f = sqrt}\n  %15 = const {value = 1e-8} : f32[]\n  %16 = add %14, %15\n  %17 = div %9, %16\n"
          "  %18 = mul %17, %6\n  %19 = sub %1, %18\n  next \"w\" = %19\n  next \"m\" = %9\n  next \"positive_v\" = %13\n}\n",
          7 * 4.0 * 10240, 1);
}

// The maximum, the sum and the result each go over the row; the second and third time it is in the nearest cache.
static void softmax_reads_its_rows_thrice_from_the_cache(void **state)
{
    (void)state;
    check("softmax", "graph @main\naxis B = 32, D = 256\n{\n  %1 = arg \"x\" : f32[B,D]\n  %2 = reduce %1 {f = max, over = [D]}\n"
          "  %3 = sub %1, %2\n  %4 = map %3 {f = exp}\n  %5 = reduce %4 {f = sum, over = [D]}\n  %6 = div %4, %5\n  result \"y\" = %6\n}\n",
          2 * 4.0 * 32 * 256, 2);
}

static void layer_norm_reads_its_rows_thrice_from_the_cache(void **state)
{
    (void)state;
    check("layer norm", "graph @main\naxis B = 32, D = 256\n{\n  %1 = arg \"x\" : f32[B,D]\n  %2 = reduce %1 {f = sum, over = [D]}\n"
          "  %3 = const {value = 256} : f32[]\n  %4 = div %2, %3\n  %5 = sub %1, %4\n  %6 = mul %5, %5\n  %7 = reduce %6 {f = sum, over = [D]}\n"
          "  %8 = div %7, %3\n  %9 = map %8 {f = rsqrt}\n  %10 = mul %5, %9\n  result \"y\" = %10\n}\n",
          2 * 4.0 * 32 * 256, 2);
}

// --- sweeps

// Adam for n parameters of such sizes, the last in two axes and with its gradient scaled; the numbers 0.9, .. are the same for all, the rate is
// an argument.
static const char *adam_text(Arena *arena, const int *size, int n, bool numbers_differ)
{
    Text t = text_make(arena);
    int v = 4;
    text_add(&t, "graph @main\naxis ");
    for (int i = 0; i < n; i++)
        text_printf(&t, "%sN%d = %d", i ? ", " : "", i, size[i]);
    text_add(&t, ", M = 3\n{\n  %1 = const {value = 0.9} : f32[]\n  %2 = const {value = 1e-3} : f32[]\n  %3.lr = arg \"positive_lr\" : f32[]\n");
    for (int i = 0; i < n; i++, v += 16) {
        const char *axes = arena_printf(arena, i == n - 1 ? "N%d,M" : "N%d", i);
        text_printf(&t, "  %%%d = param \"w%d\" : f32[%s]\n  %%%d = state \"m%d\" : f32[%s]\n  %%%d = state \"positive_v%d\" : f32[%s]\n"
                    "  %%%d = arg \"g%d\" : f32[%s]\n", v, i, axes, v + 1, i, axes, v + 2, i, axes, v + 3, i, axes);
        text_printf(&t, "  %%%d = mul %%%d, %%1\n  %%%d.m = add %%%d, %%%d\n  %%%d = mul %%%d, %%%d\n  %%%d = mul %%%d, %%1\n  %%%d.v = add %%%d, %%%d\n",
                    v + 4, v + 1, v + 5, v + 4, v + 3, v + 6, v + 3, v + 3, v + 7, v + 2, v + 8, v + 6, v + 7);
        text_printf(&t, "  %%%d = map %%%d {f = sqrt}\n  %%%d = add %%%d, %%2\n  %%%d = div %%%d, %%%d\n  %%%d = mul %%%d, %%3\n", v + 9, v + 8, v + 10,
                    v + 9, v + 11, v + 5, v + 10, v + 12, v + 11);
        text_printf(&t, "  %%%d = const {value = %d} : f32[]\n  %%%d = mul %%%d, %%%d\n  %%%d.w = sub %%%d, %%%d\n", v + 13, numbers_differ ? i + 1 : 2,
                    v + 14, v + 12, v + 13, v + 15, v, v + 14);
    }
    for (int i = 0, at = 4; i < n; i++, at += 16)
        text_printf(&t, "  next \"w%d\" = %%%d\n  next \"m%d\" = %%%d\n  next \"positive_v%d\" = %%%d\n", i, at + 15, i, at + 5, i, at + 8);
    text_add(&t, "}\n");
    return text_str(&t);
}

static size_t launches_of(const char *text, size_t *out_sweeps, size_t *out_pieces)
{
    Ran r;
    Device *d = open_sim();
    compile_for_sim(&r, d, text);
    const size_t n = r.program->n_launches;
    *out_sweeps = *out_pieces = 0;
    for (size_t i = 0; i < n; i++) {
        const Sweep *sweep = r.program->kernel[r.program->launch[i].kernel].sweep;
        *out_sweeps += sweep != NULL;
        *out_pieces += sweep ? sweep->n_pieces : 0;
    }
    Text first = text_make(&r.arena), again = text_make(&r.arena);       // and its text is read back
    program_print(r.program, &first);
    const Program *p = program_parse(&r.arena, &r.diag, &r.sources, sources_add(&r.sources, "p", text_str(&first), first.n));
    assert_non_null(p);
    program_print(p, &again);
    assert_string_equal(text_str(&first), text_str(&again));
    device_sim.close(d);
    arena_free(&r.arena);
    return n;
}

// Any number of parameters is one launch that moves each number once; sizes are odd on purpose.
static void all_parameters_are_one_sweep(void **state)
{
    (void)state;
    static const int size[] = {1, 3, 4, 2047, 2048, 2049, 4100, 40000, 6001};
    enum { N = sizeof size / sizeof *size };
    Arena arena = {0};
    size_t sweeps, pieces;
    double numbers = 0;
    const char *text = adam_text(&arena, size, N, false);
    for (int i = 0; i < N; i++)
        numbers += (double)size[i] * (i == N - 1 ? 3 : 1);
    assert_int_equal(launches_of(text, &sweeps, &pieces), 1);
    assert_true(sweeps == 1 && pieces == N);
    check("adam for nine parameters", text, 7 * 4 * numbers, 1);
    // what differs in a number is no piece of the same sweep
    assert_int_equal(launches_of(adam_text(&arena, size, N, true), &sweeps, &pieces), N);
    assert_int_equal(sweeps, 0);
    arena_free(&arena);
}

static void run_on(Ran *r, const DeviceOps *ops, Device *d)
{
    StatusText why = {0};
    LoadedProgram *l = NULL;
    uint64_t bits = 1;
    r->ops = ops;
    if (ops->load(d, r->program, &l, &why) != STATUS_OK)
        fail_msg("%s", why.text);
    write_leaves(r, l);
    if (ops->run(l, &why) != STATUS_OK)
        fail_msg("%s", why.text);
    const double error = compare_outputs(r, l, &bits);
    if (!(error <= 1e-6))
        fail_msg("%s: error %g", ops->name, error);
    ops->unload(l);
}

// Runs a graph whose kernels are given, both texts of them; returns its launches.
static size_t run_marked(const char *text, size_t *out_sweeps)
{
    Ran r = {0};
    Target target;
    Device *d = open_sim(), *cpu = open_device(2);
    device_sim.target(d, &target);
    r.sources = sources_make(&r.arena);
    r.diag = diag_make(&r.arena, &r.sources);
    r.given = r.fused = graph_parse(&r.arena, &r.diag, &r.sources, sources_add(&r.sources, "test.ir", text, strlen(text)));
    must(&r, r.given != NULL);
    r.program = codegen_program(&r.arena, &r.diag, r.given, &target);
    must(&r, r.program && plan_memory(r.program, &r.diag));
    evaluate(&r);
    run_on(&r, &device_sim, d);
    run_on(&r, &device_cpu, cpu);
    *out_sweeps = 0;
    for (size_t i = 0; i < r.program->n_launches; i++)
        *out_sweeps += r.program->kernel[r.program->launch[i].kernel].sweep != NULL;
    const size_t n = r.program->n_launches;
    device_sim.close(d);
    device_cpu.close(cpu);
    arena_free(&r.arena);
    return n;
}

// The sums of all gradients' squares are two launches, whatever their sizes, and the updates that wait for them one.
static void sums_for_updates_are_two_launches(void **state)
{
    (void)state;
    static const char text[] =
        "graph @main\naxis A = 20001, B = 3, C = 8192\nkernel k1 : loop, k2 : loop, k3 : loop, k4 : loop, k5 : loop, k6 : loop, k7 : loop\n{\n"
        "  %1 = param \"a\" : f32[A]\n  %2 = param \"b\" : f32[B]\n  %3 = param \"c\" : f32[C]\n"
        "  %4 = arg \"x\" : f32[A]\n  %5 = arg \"y\" : f32[B]\n  %6 = arg \"z\" : f32[C]\n"
        "  %7 = mul %4, %4\n  %8 = reduce %7 {f = sum, over = [A]} : f32[] @k1\n  %9 = mul %5, %5\n  %10 = reduce %9 {f = sum, over = [B]} : f32[] @k2\n"
        "  %11 = mul %6, %6\n  %12 = reduce %11 {f = sum, over = [C]} : f32[] @k3\n  %13 = add %8, %10\n  %14 = add %13, %12\n"
        "  %15 = map %14 {f = rsqrt} @k4\n  %16 = mul %4, %15\n  %17 = sub %1, %16 @k5\n  %18 = mul %5, %15\n  %19 = sub %2, %18 @k6\n"
        "  %20 = mul %6, %15\n  %21 = sub %3, %20 @k7\n  next \"a\" = %17\n  next \"b\" = %19\n  next \"c\" = %21\n  watch \"norm\" = %15\n}\n";
    size_t sweeps;
    assert_int_equal(run_marked(text, &sweeps), 4);
    assert_int_equal(sweeps, 3);
}

// A piece that reads what another one writes comes after it, and one that overwrites what another reads too; the others still share
// a launch.
static void sweeps_keep_the_order(void **state)
{
    (void)state;
    static const char head[] =
        "graph @main\naxis A = 300\nkernel k1 : loop, k2 : loop, k3 : loop, k4 : loop\n{\n  %1 = param \"a\" : f32[A]\n  %2 = param \"b\" : f32[A]\n"
        "  %3 = param \"c\" : f32[A]\n  %4 = param \"d\" : f32[A]\n  %5 = arg \"x\" : f32[A]\n";
    static const char tail[] = "  next \"a\" = %6\n  next \"b\" = %7\n  next \"c\" = %8\n  next \"d\" = %9\n}\n";
    static const struct { const char *body; size_t launches, sweeps; } row[] = {
        {"  %6 = sub %1, %5 @k1\n  %7 = sub %2, %5 @k2\n  %8 = sub %3, %5 @k3\n  %9 = sub %4, %5 @k4\n", 1, 1},
        {"  %6 = sub %1, %5 @k1\n  %7 = sub %2, %6 @k2\n  %8 = sub %3, %5 @k3\n  %9 = sub %4, %5 @k4\n", 2, 1},     // b reads the new a
        {"  %6 = sub %1, %5 @k1\n  %7 = sub %2, %6 @k2\n  %8 = sub %3, %7 @k3\n  %9 = sub %4, %8 @k4\n", 4, 0},     // a chain
        {"  %6 = sub %1, %5 @k1\n  %7 = sub %2, %1 @k2\n  %8 = sub %3, %5 @k3\n  %9 = sub %4, %5 @k4\n", 2, 1},     // b reads the old a
        {"  %6 = sub %1, %5 @k1\n  %7 = mul %2, %5 @k2\n  %8 = sub %3, %5 @k3\n  %9 = mul %4, %5 @k4\n", 2, 2}};     // two kinds
    Arena arena = {0};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        size_t sweeps;
        const size_t n = run_marked(arena_printf(&arena, "%s%s%s", head, row[i].body, tail), &sweeps);
        if (n != row[i].launches || sweeps != row[i].sweeps)
            fail_msg("case %zu: %zu launches, %zu sweeps", i, n, sweeps);
    }
    arena_free(&arena);
}

// The C text of a sweep does the same, piece by piece: compiled and called here.
static void its_text_in_c_is_right(void **state)
{
    (void)state;
    static const int size[] = {5, 1, 33};
    Arena arena = {0};
    Ran r;
    StatusText why = {0};
    LoadedProgram *l = NULL;
    uint64_t bits = 1;
    Device *sim = open_sim(), *d = open_device(2);
    compile_for_sim(&r, sim, adam_text(&arena, size, 3, false));
    r.ops = &device_cpu;
    if (device_cpu.load(d, r.program, &l, &why) != STATUS_OK)
        fail_msg("%s", why.text);
    write_leaves(&r, l);
    assert_int_equal(device_cpu.run(l, &why), STATUS_OK);
    assert_true(compare_outputs(&r, l, &bits) <= 1e-6);
    device_cpu.unload(l);
    device_cpu.close(d);
    device_sim.close(sim);
    arena_free(&r.arena);
    arena_free(&arena);
}

// A long convolution in bf16 issues three fifths of the instructions that it does in float32 and asks shared memory for a fourth as often,
// never twice for one bank.
static void tensor_cores_save_instructions_of_a_convolution(void **state)
{
    SimCounters c[2];
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        Arena arena = {0};
        const char *type = bf16 ? "bf16" : "f32";
        c[bf16] = count_launches(arena_printf(&arena, "graph @main\naxis B : batch = 1, T : time = 1024, C = 8\n{\n  %%1 = arg \"x\" : f32[B,T,C]\n"
                                              "  %%2 = arg \"k\" : f32[T,C]\n  %%3 = cast %%1 {to = %s}\n  %%4 = cast %%2 {to = %s}\n  %%5 = fftconv %%3, %%4 "
                                              "{axis = T, taps = T, to = T, left = 0, over = [], circular = 0}\n  %%6 = cast %%5 {to = f32}\n"
                                              "  result \"y\" = %%6\n}\n", type, type), true, bf16 ? 8e-3 : 3e-6);
        print_message("convolution in %s: %.0f instructions, %.0f conflicts of %.0f requests to shared memory\n", type, (double)c[bf16].instructions,
                      (double)c[bf16].bank_conflicts, (double)c[bf16].shared_requests);
        arena_free(&arena);
    }
    assert_true(c[1].tensor_flops > 0 && c[0].tensor_flops == 0);
    assert_true(10 * c[1].instructions < 6 * c[0].instructions);
    assert_true(4 * c[1].shared_requests < c[0].shared_requests);
    assert_int_equal(c[1].bank_conflicts, 0);
}

static int run(const NvrtcApi *nvrtc)
{
    (void)nvrtc;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adam_reads_and_writes_each_number_once),
        cmocka_unit_test(softmax_reads_its_rows_thrice_from_the_cache),
        cmocka_unit_test(layer_norm_reads_its_rows_thrice_from_the_cache),
        cmocka_unit_test(all_parameters_are_one_sweep),
        cmocka_unit_test(sweeps_keep_the_order),
        cmocka_unit_test(sums_for_updates_are_two_launches),
        cmocka_unit_test(its_text_in_c_is_right),
        cmocka_unit_test(tensor_cores_save_instructions_of_a_convolution),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}

int main(void)
{
    return sim_main(run);
}
