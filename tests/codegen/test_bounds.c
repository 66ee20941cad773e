// Indices beyond their axis, in kernels: what an input holds can never make a kernel read or write outside. A read is 0,
// an addition goes nowhere. The indices here are far enough outside to end the process if they were followed.
#include "engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// Two kernels with the same ops, one reading an input as it is, one a number that another kernel made.
static const char text[] =
    "graph @main\n"
    "axis B = 37, V = 5, D = 19\n"
    "{\n"
    "  %1.table = param \"table\" : f32[V,D]\n"
    "  %2.i = arg \"i\" : int[B]\n"
    "  %3.far = arg \"far\" : int[B]\n"
    "  %4.c = const {value = 100000} : int[]\n"
    "  %5.j = mul %3, %4\n"
    "  %6.direct = take %1, %2 {axis = V}\n"
    "  %7.beyond = take %1, %5 {axis = V}\n"
    "  %8.dy = arg \"dy\" : f32[B,D]\n"
    "  %9.put = put_add %8, %5 {over = [B], to = V}\n"
    "  %10.own = state \"own\" : int[B]\n"
    "  %11.stored = take %1, %10 {axis = V}\n"
    "  %12.wide = take %1, %5 {axis = D}\n"
    "  result \"direct\" = %6\n"
    "  result \"beyond\" = %7\n"
    "  result \"put\" = %9\n"
    "  result \"j\" = %5\n"
    "  result \"stored\" = %11\n"
    "  result \"wide\" = %12\n"
    "}\n";
enum { B = 37, V = 5, D = 19 };

static float *read_all(Net *net, const char *name, int64_t n)
{
    const Slot *slot = net_slot(net, BUFFER_OUTPUT, name);
    float *data = malloc((size_t)n * sizeof *data);
    StatusText why = {0};
    assert_true(slot && data && slot->count == n);
    assert_int_equal(net_read(net, slot, data, &why), STATUS_OK);
    return data;
}

static void expect_rows(Net *net, const char *name, const int32_t *index)
{
    float *y = read_all(net, name, B * D);
    for (int b = 0; b < B; b++)
        for (int d = 0; d < D; d++) {
            float want = index[b] >= 0 && index[b] < V ? (float)(1 + index[b] * D + d) : 0;
            if (y[b * D + d] != want)
                fail_msg("%s[%d, %d] with index %d is %g, not %g", name, b, d, index[b], (double)y[b * D + d], (double)want);
        }
    free(y);
}

static void nothing_outside_is_touched(void **state)
{
    (void)state;
    Arena arena = {0};
    Sources sources = sources_make(&arena);
    Diag diag = diag_make(&arena, &sources);
    Module *m = module_make(&arena, &diag);
    Graph *g = graph_parse(&arena, &diag, &sources, sources_add(&sources, "bounds.ir", text, sizeof text - 1));
    if (!g)
        fail_msg("%s", diag.item[0].message);
    module_add_graph(m, g);
    Engine *engine;
    Net *net;
    StatusText why = {0};
    assert_int_equal(engine_open(&(EngineOptions){.device = "cpu", .verify = true}, &engine, &why), STATUS_OK);
    if (engine_load(engine, &arena, &diag, m, &(LoadOptions){0}, &net, &why) != STATUS_OK)
        fail_msg("%s: %s", why.text, diag.n_items ? diag.item[0].message : "");
    float table[V * D], dy[B * D];
    int32_t i[B], far[B], j[B], own[B];
    for (int k = 0; k < V * D; k++)
        table[k] = (float)(k + 1);
    for (int k = 0; k < B * D; k++)
        dy[k] = 1;
    for (int b = 0; b < B; b++) {
        i[b] = b % V;
        far[b] = b % 3 == 0 ? 0 : b % 3 == 1 ? 20000 - b : b - 20000;
        j[b] = far[b] * 100000;
        own[b] = b % 4 == 0 ? b % V : b % 2 ? INT32_MAX - b : INT32_MIN + b;
    }
    assert_int_equal(net_write(net, net_slot(net, BUFFER_PARAM, "table"), table, &why), STATUS_OK);
    assert_int_equal(net_write(net, net_slot(net, BUFFER_INPUT, "i"), i, &why), STATUS_OK);
    assert_int_equal(net_write(net, net_slot(net, BUFFER_INPUT, "far"), far, &why), STATUS_OK);
    assert_int_equal(net_write(net, net_slot(net, BUFFER_INPUT, "dy"), dy, &why), STATUS_OK);
    assert_int_equal(net_write(net, net_slot(net, BUFFER_STATE, "own"), own, &why), STATUS_OK);
    assert_int_equal(net_run(net, &why), STATUS_OK);
    expect_rows(net, "output.direct", i);
    expect_rows(net, "output.beyond", j);
    expect_rows(net, "output.stored", own);
    float *put = read_all(net, "output.put", V * D), *wide = read_all(net, "output.wide", B * V);
    for (int v = 0; v < V; v++)
        for (int d = 0; d < D; d++)
            assert_true(put[v * D + d] == (v == 0 ? (float)((B + 2) / 3) : 0));
    float sum = 0, want = 0;
    for (int k = 0; k < B * V; k++)
        sum += wide[k];
    for (int v = 0; v < V; v++)
        want += table[v * D] * (float)((B + 2) / 3);
    assert_true(sum == want);
    free(put);
    free(wide);
    net_free(net);
    engine_close(engine);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_outside_is_touched)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
