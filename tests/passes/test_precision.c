// Which products the pass `precision` rounds: attention where tensor cores multiply bf16, and nowhere else.
#include "pass.h"

#include "../codegen/attention_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

// Roundings to bf16 in attention, after the pass for that target.
static size_t count_roundings(bool is_cuda, bool wants_bf16)
{
    Arena arena = {0};
    Sources sources = sources_make(&arena);
    Diag diag = diag_make(&arena, &sources);
    const char *text = attention(&arena, 8, 4, CASE_CAUSAL);
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
    assert_int_equal(count_roundings(false, true), 0);
    assert_int_equal(count_roundings(true, false), 0);
    assert_int_equal(count_roundings(true, true), 4);       // q, k, the weights and v
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(attention_is_rounded_for_tensor_cores_only)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
