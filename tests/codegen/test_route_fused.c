// The kernels of fuse_route against the evaluator: the choice with its scores, and places with what follows, at odd sizes; the same
// bits for one thread and for three, and as few kernels as there should be.
#include "run_graph.h"

#include "route_cases.h"

static void check_counts(const RouteCase *c)
{
    Ran r;
    int n_route = 0, n_orders = 0, n_streams = 0;
    compile_only(&r, c->text, 16);
    for (size_t i = 0; i < r.program->n_launches; i++) {
        const Kernel *k = &r.program->kernel[r.program->launch[i].kernel];
        n_route += k->family == FAMILY_ROUTE;
        n_orders += strstr(k->name, "order") != NULL;
        n_streams += strstr(k->text, "stream_v(") != NULL;
    }
    assert_int_equal(n_streams, c == &fused_case[N_FUSED_CASES - 1]);
    assert_int_equal(n_route, c->n_route);
    assert_int_equal(n_orders, c->n_orders);
    arena_free(&r.arena);
}

static void test_fused_choice(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FUSED_CASES; i++) {
        check_counts(&fused_case[i]);
        check_graph(fused_case[i].text, 2e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fused_choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
