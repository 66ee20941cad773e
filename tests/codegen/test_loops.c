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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loop_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
