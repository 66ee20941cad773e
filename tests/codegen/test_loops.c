// LOOP and SCATTER kernels against the evaluator: element-wise chains, views, reductions, norms, losses, embeddings,
// optimiser updates; odd sizes on purpose; the same bits for one thread and for three.
#include "run_graph.h"

#include "loop_cases.h"

static const char *with_sizes(char *text, size_t room, const LoopCase *c, size_t i)
{
    const char *at = strchr(c->text, '@');
    at = strchr(at + 1, '@');               // the first one names the graph
    snprintf(text, room, "%.*s%s%s", (int)(at - c->text), c->text, c->sizes[i], at + 1);
    return text;
}

static void test_loop_cases(void **state)
{
    (void)state;
    char text[8192];
    for (size_t k = 0; k < N_LOOP_CASES; k++)
        for (size_t i = 0; i < LOOP_CASE_SIZES && loop_case[k].sizes[i]; i++)
            check_graph(with_sizes(text, sizeof text, &loop_case[k], i), loop_case[k].tolerance);
}

// Thirty states that all read one another, in one kernel by hand: more than one launch, so nothing may be overwritten early.
static void test_many_updates(void **state)
{
    (void)state;
    Arena arena = {0};
    Text t = text_make(&arena);
    enum { MANY = 30 };
    text_add(&t, "graph @main\naxis D = 50\nkernel k1 : loop\n{\n");
    for (int i = 1; i <= MANY; i++)
        text_printf(&t, "  %%%d = state \"s%d\" : f32[D]\n", i, i);
    for (int i = 1; i <= MANY; i++)
        text_printf(&t, "  %%%d = add %%%d, %%%d : f32[D] @k1\n", MANY + i, i, i % MANY + 1);
    for (int i = 1; i <= MANY; i++)
        text_printf(&t, "  next \"s%d\" = %%%d\n", i, MANY + i);
    text_add(&t, "}\n");
    check_graph(text_str(&t), 1e-6);
    arena_free(&arena);
}

// A chain of 20,000 values, and one that doubles its operand at each step: neither the stack nor the text explodes.
static void test_long_chains(void **state)
{
    (void)state;
    Arena arena = {0};
    Text t = text_make(&arena);
    enum { LONG = 20000 };
    text_add(&t, "graph @main\naxis D = 20\n{\n  %1 = arg \"x\" : f32[D]\n");
    for (int i = 2; i <= LONG; i++)
        text_printf(&t, i % 2 ? "  %%%d = neg %%%d\n" : "  %%%d = reverse %%%d {axis = D}\n", i, i - 1);
    text_printf(&t, "  result \"y\" = %%%d\n}\n", LONG);
    check_graph(text_str(&t), 1e-6);
    t = text_make(&arena);
    text_add(&t, "graph @main\naxis D = 20\n{\n  %1 = arg \"x\" : f32[D]\n  %2 = const {value = 0.5} : f32[]\n");
    for (int i = 3; i <= 400; i += 2)
        text_printf(&t, "  %%%d = add %%%d, %%%d\n  %%%d = mul %%%d, %%2\n", i, i == 3 ? 1 : i - 1, i == 3 ? 1 : i - 1, i + 1, i);
    text_printf(&t, "  result \"y\" = %%%d\n}\n", 400);
    check_graph(text_str(&t), 1e-6);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loop_cases),
        cmocka_unit_test(test_many_updates),
        cmocka_unit_test(test_long_chains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
