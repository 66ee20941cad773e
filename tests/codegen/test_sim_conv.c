// Long convolutions in CUDA: in the simulator against the evaluator, and through the assembler. Skipped where there is no NVRTC.
#include "sim_graph.h"

#include "conv_cases.h"

// Of the largest result: some three roundings for each factor of a transform, both ways, and as many of the filter's.
static const double bound = 3e-6;

static void lengths_from_one_to_8192(void **state)
{
    static const struct { int t, c, left; } one[] = {{97, 5, 0}, {130, 3, 64}, {700, 2, 0}, {2049, 2, -3}, {8192, 1, 0}};
    (void)state;
    Device *d = open_sim();
    Arena arena = {0};
    for (size_t i = 0; i < sizeof one / sizeof *one; i++)
        check_sim(d, arena_printf(&arena, "graph @main\naxis B : batch = 1, T : time = %d, C = %d\n{\n %%1 = arg \"x\" : f32[B,T,C]\n"
                                          " %%2 = arg \"k\" : f32[T,C]\n %%3 = fftconv %%1, %%2 {axis = T, taps = T, to = T, left = %d, "
                                          "over = [], circular = 0}\n result \"y\" = %%3\n}\n", one[i].t, one[i].c, one[i].left),
                  arena_printf(&arena, "length %d", one[i].t), bound, "cfft_s");
    arena_free(&arena);
    device_sim.close(d);
}

static void filters_gradients_and_ragged_sizes(void **state)
{
    static const int size[][5] = {      // B, T, S, C, left
        {2, 96, 96, 16, 0}, {1, 150, 300, 5, 150}, {2, 331, 97, 1, -4}, {1, 9, 300, 33, 2}, {2, 120, 500, 3, 500}, {1, 250, 90, 17, -100},
    };
    (void)state;
    Device *d = open_sim();
    for (int i = 0; i < (int)(sizeof size / sizeof *size); i++) {
        Arena arena = {0};
        Text axes = text_make(&arena), body = text_make(&arena);
        int id = 1;
        add_case(&axes, &body, &id, size[i], 0);
        check_sim(d, arena_printf(&arena, "graph @main\n%s\n{\n%s result \"y\" = %%5\n result \"d\" = %%6\n}\n", text_str(&axes), text_str(&body)),
                  arena_printf(&arena, "size %d", i), bound, "cfft_s");
        arena_free(&arena);
    }
    device_sim.close(d);
}

static void circular_ones_gates_and_skips(void **state)
{
    (void)state;
    Device *d = open_sim();
    Arena arena = {0};
    for (size_t i = 0; i < 2; i++)
        check_sim(d, cases[i], arena_printf(&arena, "form %zu", i), bound, "cfft_s");
    check_sim(d, arena_printf(&arena, gated, 300, 300, 0, ""), "gates", bound, "cfft_s");
    check_sim(d, arena_printf(&arena, gated, 200, 300, 131, " result \"conv\" = %7\n"), "a kept convolution between gates", bound, "cfft_s");
    arena_free(&arena);
    device_sim.close(d);
}

static void sizes_compile_without_a_spill(void **state)
{
    const NvrtcApi *nvrtc = *state;
    Arena arena = {0};
    for (int t = 128; t <= 4096; t *= 32) {
        const int size[] = {4, t, t, 16, 0};
        Text axes = text_make(&arena), body = text_make(&arena);
        int id = 1;
        add_case(&axes, &body, &id, size, 0);
        check_gate(nvrtc, arena_printf(&arena, "graph @main\n%s\n{\n%s result \"y\" = %%5\n result \"d\" = %%6\n}\n", text_str(&axes), text_str(&body)),
                   arena_printf(&arena, "length %d", t), "cfft_s");
    }
    // A filter's gradient beyond 4096 keeps three transforms in 128 registers and spills some of it: not among these.
    check_gate(nvrtc, arena_printf(&arena, gated, 8192, 8192, 0, ""), "length 8192 between gates", "cfft_s");
    arena_free(&arena);
}

static int run(const NvrtcApi *nvrtc)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_from_one_to_8192),
        cmocka_unit_test(filters_gradients_and_ragged_sizes),
        cmocka_unit_test(circular_ones_gates_and_skips),
        cmocka_unit_test_prestate(sizes_compile_without_a_spill, (void *)nvrtc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}

int main(void)
{
    return sim_main(run);
}
