// Attention in CUDA by tiles: forward and backward, float32 and bf16, around the edges of tiles, in the simulator against the evaluator,
// and through the assembler at the sizes of real heads. Skipped where there is no NVRTC.
#include "sim_graph.h"

#include "attention_case.h"

static const NvrtcApi *the_nvrtc(void **state) { return *state; }

// float32: exponentials within 2 units in the last place, sums of at most 130 terms. bf16: the result is rounded, 2^-9 of it; and p before
// its division by the sum, not behind it: 2^-8 of a sum of p |v|. So 3 * 2^-9 of |v| < 2, of a largest result between 1 and 2.
static const double bound = 3e-6, bound_bf16 = 8e-3;

static void check_case(Device *d, int t, int k, int flags)
{
    Arena arena = {0};
    const char *name = arena_printf(&arena, "attention of %d, heads of %d, form %d", t, k, flags);
    check_sim(d, attention(&arena, t, k, flags), name, flags & CASE_BF16 ? bound_bf16 : bound,
              flags & CASE_BF16 ? "mma_dot_s" : "rows_dot_s");
    arena_free(&arena);
}

static void attention_at_the_edges_of_tiles(void **state)
{
    static const struct { int t, k, flags; } one[] = {
        {1, 5, CASE_CAUSAL}, {17, 32, CASE_DROPOUT}, {70, 8, CASE_CAUSAL | CASE_DROPOUT}, {130, 16, CASE_CAUSAL}, {64, 4, 0},
        {9, 5, CASE_BACKWARD | CASE_CAUSAL}, {33, 40, CASE_BACKWARD | CASE_KNOWN}, {70, 12, CASE_BACKWARD | CASE_DROPOUT},
        {70, 64, CASE_BACKWARD | CASE_CAUSAL | CASE_KNOWN | CASE_DROPOUT},
    };
    (void)state;
    Device *d = open_sim();
    for (size_t i = 0; i < sizeof one / sizeof *one; i++)
        check_case(d, one[i].t, one[i].k, one[i].flags);
    device_sim.close(d);
}

static void attention_on_tensor_cores(void **state)
{
    static const struct { int t, k, flags; } one[] = {
        {17, 5, 0}, {70, 16, CASE_CAUSAL}, {130, 32, CASE_CAUSAL | CASE_STORED}, {33, 64, CASE_STORED | CASE_DROPOUT},
        {33, 16, CASE_BACKWARD | CASE_CAUSAL}, {70, 24, CASE_BACKWARD | CASE_KNOWN | CASE_CAUSAL | CASE_STORED},
    };
    (void)state;
    Device *d = open_sim();
    for (size_t i = 0; i < sizeof one / sizeof *one; i++)
        check_case(d, one[i].t, one[i].k, one[i].flags | CASE_BF16);
    device_sim.close(d);
}

static void heads_of_real_sizes_compile_without_a_spill(void **state)
{
    static const struct { int k, flags; const char *mark; } one[] = {
        {64, 0, "rows_dot_s"}, {64, CASE_BACKWARD | CASE_KNOWN, "rows_dot_s"}, {128, CASE_BACKWARD | CASE_KNOWN, "rows_dot_s"},
        {64, CASE_BF16 | CASE_STORED, "mma_dot_s"}, {128, CASE_BACKWARD | CASE_KNOWN | CASE_BF16 | CASE_STORED, "mma_dot_s"},
    };
    Arena arena = {0};
    for (size_t i = 0; i < sizeof one / sizeof *one; i++)
        check_gate(the_nvrtc(state), attention(&arena, 256, one[i].k, CASE_CAUSAL | one[i].flags),
                   arena_printf(&arena, "heads of %d, form %d", one[i].k, one[i].flags), one[i].mark);
    arena_free(&arena);
}

static int run(const NvrtcApi *nvrtc)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_at_the_edges_of_tiles),
        cmocka_unit_test(attention_on_tensor_cores),
        cmocka_unit_test_prestate(heads_of_real_sizes_compile_without_a_spill, (void *)nvrtc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}

int main(void)
{
    return sim_main(run);
}
