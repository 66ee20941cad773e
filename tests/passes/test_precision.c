// What the pass `precision` rounds where tensor cores multiply bf16, and nowhere else: attention and long convolutions.
#include "pass.h"

#include "../codegen/attention_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const char *convolution(Arena *arena, int length)
{
    return arena_printf(arena, "graph @main\naxis B : batch = 2, T : time = %d, C = 8\n{\n %%1 = arg \"x\" : f32[B,T,C]\n %%2 = arg \"k\" : f32[T,C]\n"
                               " %%3 = fftconv %%1, %%2 {axis = T, taps = T, to = T, left = 0, over = [], circular = 0}\n result \"y\" = %%3\n}\n", length);
}

// Roundings to bf16, after the pass for that target, in attention or (length > 0) a convolution.
static size_t count_roundings(int length, bool is_cuda, bool wants_bf16)
{
    Arena arena = {0};
    Sources sources = sources_make(&arena);
    Diag diag = diag_make(&arena, &sources);
    const char *text = length ? convolution(&arena, length) : attention(&arena, 8, 4, CASE_CAUSAL);
    Graph *g = graph_parse(&arena, &diag, &sources, sources_add(&sources, "attention.ir", text, strlen(text)));
    assert_non_null(g);
    Module *m = module_make(&arena, &diag);
    module_add_graph(m, g);
    const Target target = {.name = is_cuda ? "cuda" : "cpu", .is_cuda = is_cuda, .vector_floats = 8, .vector_registers = 16};
    PassContext ctx = {.arena = &arena, .diag = &diag, .target = &target, .bf16 = wants_bf16};
    const char *names[] = {"precision"};
    const PassHooks hooks = {.verify = true};
    Module *out = passes_run(&ctx, m, names, 1, &hooks);
    assert_non_null(out);
    const Graph *after = module_graph(out, "main");
    size_t n = 0;
    for (ValueId v = 1; v < after->n_nodes; v++)
        n += after->node[v].op == OP_CAST && after->node[v].attr[0].dtype == DTYPE_BF16;
    arena_free(&arena);
    return n;
}

static void attention_is_rounded_for_tensor_cores_only(void **state)
{
    (void)state;
    assert_int_equal(count_roundings(0, false, true), 0);
    assert_int_equal(count_roundings(0, true, false), 0);
    assert_int_equal(count_roundings(0, true, true), 4);       // q, k, the weights and v
}

static void long_convolutions_are_rounded_for_tensor_cores_only(void **state)
{
    (void)state;
    assert_int_equal(count_roundings(512, false, true), 0);
    assert_int_equal(count_roundings(512, true, false), 0);
    assert_int_equal(count_roundings(512, true, true), 2);
    assert_int_equal(count_roundings(12, true, true), 0);   // summed directly
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(attention_is_rounded_for_tensor_cores_only),
                                       cmocka_unit_test(long_convolutions_are_rounded_for_tensor_cores_only)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
