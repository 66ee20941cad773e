// What loop kernels in CUDA ask of memory, by the simulator's counters: each number once, in requests of 16 bytes a lane. Skipped
// where there is no NVRTC.
#include "sim_graph.h"

#include "sim/sim_counters.h"

// The counters of all launches of a graph.
static SimCounters count(const char *text)
{
    Ran r;
    StatusText why = {0};
    LoadedProgram *l = NULL;
    SimCounters *each, sum = {0};
    Device *d = open_sim();
    compile_graph(&r, text, 16);
    r.ops = &device_sim;
    if (device_sim.load(d, r.program, &l, &why) != STATUS_OK)
        fail_msg("%s", why.text);
    write_leaves(&r, l);
    each = arena_array(&r.arena, SimCounters, r.program->n_launches + 1);
    if (device_sim.run_counted(l, each, &why) != STATUS_OK)
        fail_msg("%s", why.text);
    for (size_t i = 0; i < r.program->n_launches; i++)
        sim_counters_add(&sum, &each[i]);
    device_sim.unload(l);
    device_sim.close(d);
    arena_free(&r.arena);
    return sum;
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

static int run(const NvrtcApi *nvrtc)
{
    (void)nvrtc;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adam_reads_and_writes_each_number_once),
        cmocka_unit_test(softmax_reads_its_rows_thrice_from_the_cache),
        cmocka_unit_test(layer_norm_reads_its_rows_thrice_from_the_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}

int main(void)
{
    return sim_main(run);
}
