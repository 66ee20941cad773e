// LOOP and SCATTER kernels against the evaluator: element-wise chains, views, reductions, norms, losses, embeddings,
// optimiser updates; odd sizes on purpose; the same bits for one thread and for three.
#include "run_graph.h"

static void test_elementwise(void **state)
{
    (void)state;
    check_graph("graph @main\naxis B = 3, D = 37\n{\n"
                "  %1.x = arg \"x\" : f32[B,D]\n  %2.w = param \"w\" : f32[D]\n  %3 = mul %1, %2\n"
                "  %4 = map %3 {f = gelu}\n  %5 = const {value = 0.5} : f32[]\n  %6.y = sub %4, %5\n"
                "  result \"y\" = %6\n}\n", 1e-6);
    check_graph("graph @main\naxis B = 300, D = 100\n{\n"
                "  %1.x = arg \"x\" : f32[B,D]\n  %2.z = arg \"z\" : f32[B,D]\n  %3 = add %1, %2\n"
                "  %4.y = map %3 {f = tanh}\n  result \"y\" = %4\n}\n", 1e-6);
}

static void test_softmax(void **state)
{
    (void)state;
    static const char *const sizes[] = {"B = 5, D = 37", "B = 200, D = 64", "B = 70, D = 1", "B = 3, D = 15"};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char text[1024];
        snprintf(text, sizeof text, "graph @main\naxis %s\n{\n"
                 "  %%1.x = arg \"x\" : f32[B,D]\n  %%2.m = reduce %%1 {f = max, over = [D]}\n  %%3 = sub %%1, %%2\n"
                 "  %%4.e = map %%3 {f = exp}\n  %%5.s = reduce %%4 {f = sum, over = [D]}\n  %%6.p = div %%4, %%5\n"
                 "  result \"p\" = %%6\n}\n", sizes[i]);
        check_graph(text, 1e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elementwise),
        cmocka_unit_test(test_softmax),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
