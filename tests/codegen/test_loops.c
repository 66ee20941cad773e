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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loop_cases),
        cmocka_unit_test(test_many_updates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
