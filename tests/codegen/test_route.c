// ROUTE kernels against the evaluator: ties, odd sizes, several pools, and the same bits for one thread and for three.
// Scores are whole numbers or far apart, so that float and double agree on who is larger.
#include "run_graph.h"

#include "route_cases.h"

static void test_route_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CHOICE_CASES; i++)
        check_graph(choice_case[i], 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_route_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
