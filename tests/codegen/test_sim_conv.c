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

// Operands rounded to bf16: the transforms are products on tensor cores, whose operands are rounded as well. Between gates, with a skip,
// and the filter's gradient. `circular` goes round.
static const char *rounded(Arena *arena, const int size[5], int circular)
{
    const int B = size[0], T = size[1], S = size[2], C = size[3], left = size[4];
    Text t = text_make(arena);
    text_printf(&t, "graph @main\naxis B : batch = %d, T : time = %d, S = %d, C = %d\n{\n %%1 = arg \"x\" : f32[B,T,C]\n %%2 = arg \"k\" : f32[S,C]\n"
                    " %%3 = arg \"u\" : f32[B,T,C]\n %%4 = arg \"w\" : f32[B,T,C]\n %%5 = arg \"s\" : f32[C]\n %%6 = mul %%1, %%3\n"
                    " %%7 = cast %%6 {to = bf16}\n %%8 = cast %%2 {to = bf16}\n", B, T, S, C);
    text_printf(&t, " %%9 = fftconv %%7, %%8 {axis = T, taps = S, to = T, left = %d, over = [], circular = %d}\n %%10 = cast %%9 {to = f32}\n"
                    " %%11 = mul %%6, %%5\n %%12 = add %%10, %%11\n %%13 = mul %%12, %%4\n %%14 = cast %%4 {to = bf16}\n", left, circular);
    if (!circular)
        text_printf(&t, " %%15 = fftconv %%14, %%7 {axis = T, taps = T, to = S, left = %d, over = [B], circular = 0}\n %%16 = cast %%15 {to = f32}\n"
                        " result \"d\" = %%16\n", T - 1 - left);
    text_add(&t, " result \"y\" = %13\n}\n");
    return text_str(&t);
}

// Of the largest result: five roundings to 2^-9 each way, which lie both sides.
static const double bf16_bound = 8e-3;

static void bf16_runs_on_tensor_cores(void **state)
{
    static const int size[][5] = {      // B, T, S, C, left
        {2, 256, 256, 16, 0}, {1, 300, 300, 5, 150}, {1, 260, 700, 3, 500}, {2, 1024, 900, 1, -40}, {1, 4001, 3000, 1, 0},
    };
    (void)state;
    Device *d = open_sim();
    for (int i = 0; i < (int)(sizeof size / sizeof *size); i++) {
        Arena arena = {0};
        check_sim(d, rounded(&arena, size[i], 0), arena_printf(&arena, "bf16, size %d", i), bf16_bound, "bfft_up_s");
        if (size[i][2] <= size[i][1] && i == 0)
            check_sim(d, rounded(&arena, size[i], 1), arena_printf(&arena, "bf16, circular, size %d", i), bf16_bound, "bfft_up_s");
        arena_free(&arena);
    }
    device_sim.close(d);
}

// Transforms that no block can hold go through memory in two steps, in programs for a GPU.
static void longer_than_a_block(void **state)
{
    static const int size[][5] = {      // B, T, S, C, left
        {2, 4100, 4100, 1, 0}, {1, 8300, 150, 2, -30}, {1, 65500, 110, 1, 60},
    };
    (void)state;
    Device *d = open_sim();
    run_is_for_cuda = true;
    for (int i = 0; i < (int)(sizeof size / sizeof *size); i++) {
        Arena arena = {0};
        Text axes = text_make(&arena), body = text_make(&arena);
        int id = 1;
        add_case(&axes, &body, &id, size[i], 0);
        check_sim(d, arena_printf(&arena, "graph @main\n%s\n{\n%s result \"y\" = %%5\n%s}\n", text_str(&axes), text_str(&body),
                                  i < 2 ? " result \"d\" = %6\n" : ""), arena_printf(&arena, "long, size %d", i), bound, "CfftSize<64, ");
        arena_free(&arena);
    }
    check_sim(d, "graph @main\naxis B : batch = 1, T : time = 16300, C = 2, S = 120\n{\n %1 = arg \"x\" : f32[B,T,C]\n %2 = arg \"k\" : f32[S,C]\n"
                 " %3 = fftconv %1, %2 {axis = T, taps = S, to = T, left = 5, over = [], circular = 1}\n result \"y\" = %3\n}\n",
              "long, circular", bound, "CfftSize<64, ");
    run_is_for_cuda = false;
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
    for (int t = 512; t <= 4096; t *= 8) {
        const int size[] = {4, t, t, 16, 0};
        check_gate(nvrtc, rounded(&arena, size, 0), arena_printf(&arena, "bf16, length %d", t), "bfft_up_s");
    }
    check_gate(nvrtc, arena_printf(&arena, gated, 8192, 8192, 0, ""), "length 8192 between gates", "cfft_s");
    run_is_for_cuda = true;
    for (int t = 8192; t <= 65536; t *= 8) {
        const int size[] = {4, t, t, 16, 0};
        Text axes = text_make(&arena), body = text_make(&arena);
        int id = 1;
        add_case(&axes, &body, &id, size, 0);
        check_gate(nvrtc, arena_printf(&arena, "graph @main\n%s\n{\n%s result \"y\" = %%5\n result \"d\" = %%6\n}\n", text_str(&axes), text_str(&body)),
                   arena_printf(&arena, "length %d", t), "CfftSize<64, ");
    }
    run_is_for_cuda = false;
    arena_free(&arena);
}

static int run(const NvrtcApi *nvrtc)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_from_one_to_8192),
        cmocka_unit_test(filters_gradients_and_ragged_sizes),
        cmocka_unit_test(circular_ones_gates_and_skips),
        cmocka_unit_test(bf16_runs_on_tensor_cores),
        cmocka_unit_test(longer_than_a_block),
        cmocka_unit_test_prestate(sizes_compile_without_a_spill, (void *)nvrtc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}

int main(void)
{
    return sim_main(run);
}
