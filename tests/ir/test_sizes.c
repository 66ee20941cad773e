// Sizes at the edges, in all triples: a value is either counted exactly or refused with a message; nothing wraps round.
#include "graph.h"
#include "random_graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const int64_t sizes[] = {0, 1, 2, 3, 46341, INT32_MAX, (int64_t)INT32_MAX + 1, UINT32_MAX, (int64_t)1 << 32,
                                (int64_t)3037000500, INT64_MAX / 2, INT64_MAX - 1, INT64_MAX};
enum { N_SIZES = sizeof sizes / sizeof *sizes };

static __int128 product(int64_t a, int64_t b, int64_t c)
{
    if (a == 0 || b == 0 || c == 0)
        return 0;
    __int128 ab = (__int128)a * b, most = (__int128)1 << 100;
    return ab > most / c ? most : ab * c;
}

static void values_are_counted_or_refused(void **state)
{
    (void)state;
    for (int i = 0; i < N_SIZES; i++)
        for (int j = 0; j < N_SIZES; j++)
            for (int k = 0; k < N_SIZES; k++) {
                Arena arena = {0};
                Diag diag = diag_make(&arena, NULL);
                Graph *g = graph_make(&arena, &diag, "f");
                AxisId axis[] = {graph_axis(g, "A", AXIS_FEATURE, sizes[i], 0), graph_axis(g, "B", AXIS_FEATURE, sizes[j], 0),
                                 graph_axis(g, "C", AXIS_FEATURE, sizes[k], 0)};
                Type type = type_make(DTYPE_F32, axis, 3);
                __int128 exact = product(sizes[i], sizes[j], sizes[k]);
                int64_t count;
                size_t bytes;
                bool counted = type_count(g, &type, &count);
                if (exact == 0)
                    assert_true(!counted || count == 0);
                else if (exact <= INT64_MAX)
                    assert_true(counted && count == (int64_t)exact);
                else
                    assert_false(counted);
                bool fits = counted && (exact == 0 || exact * 4 <= (__int128)SIZE_MAX);
                assert_int_equal(type_bytes(g, &type, &bytes), fits);
                assert_true(!fits || bytes == (size_t)(exact * 4));
                assert_int_equal(graph_leaf(g, OP_ARG, "x", type) != 0, fits);
                assert_int_equal(diag.n_errors, !fits);
                arena_free(&arena);
            }
}

// Views and windows with extreme sizes and attributes: the rules may refuse, but must not overflow on the way.
static void rules_survive_extremes(void **state)
{
    (void)state;
    for (int i = 0; i < N_SIZES; i++)
        for (int j = 0; j < N_SIZES; j++)
            for (int k = 0; k < N_SIZES; k++) {
                Arena arena = {0};
                Diag diag = diag_make(&arena, NULL);
                Graph *g = graph_make(&arena, &diag, "f");
                AxisId a = graph_axis(g, "A", AXIS_FEATURE, sizes[i], 0), b = graph_axis(g, "B", AXIS_FEATURE, sizes[j], 0);
                AxisId c = graph_axis(g, "C", AXIS_FEATURE, 2, 0);
                ValueId x = graph_leaf(g, OP_ARG, "x", type_make(DTYPE_F32, &a, 1));
                ValueId y = graph_leaf(g, OP_ARG, "y", type_make(DTYPE_F32, (AxisId[]){a, c}, 2));
                const int64_t n[] = {sizes[k], -sizes[k], sizes[k] - 1};
                for (int s = 0; s < 3; s++) {
                    graph_at(g, x, a, n[s]);
                    graph_slice(g, x, a, n[s], b);
                    graph_pad(g, x, a, n[s], b);
                    graph_window(g, x, a, b, c, n[s], n[(s + 1) % 3]);
                    graph_unwindow(g, y, a, c, b, n[s], n[(s + 2) % 3]);
                }
                graph_split(g, x, a, (AxisId[]){b, c}, 2);
                graph_merge(g, y, (AxisId[]){a, c}, 2, b);
                graph_index(g, a);
                assert_true(graph_verify(g, &diag));
                arena_free(&arena);
            }
}

static void too_many_axes_is_said(void **state)
{
    (void)state;
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    Graph *g = graph_make(&arena, &diag, "f");
    ValueId x = graph_const(g, DTYPE_F32, 1);
    char name[16];
    for (int i = 0; i <= MAX_AXES; i++) {
        snprintf(name, sizeof name, "A%d", i);
        AxisId a = graph_axis(g, name, AXIS_FEATURE, 2, 0);
        x = graph_binary(g, OP_ADD, x, graph_leaf(g, OP_ARG, name, type_make(DTYPE_F32, &a, 1)));
        assert_int_equal(x != 0, i < MAX_AXES);
    }
    assert_int_equal(diag.n_errors, 1);
    assert_non_null(strstr(diag.item[0].message, "more than 14 axes"));
    for (int i = 0; i < UINT16_MAX; i++) {
        snprintf(name, sizeof name, "Z%d", i);
        graph_axis(g, name, AXIS_FEATURE, 2, 0);
    }
    assert_true(diag.n_errors > 1);
    assert_int_equal(graph_axis(g, "another", AXIS_FEATURE, 2, 0), 0);
    arena_free(&arena);
}

// Ten times the nodes in about ten times the time would need a clock; here it is enough that a large text works at all.
static void a_large_graph_reads_back(void **state)
{
    (void)state;
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    Graph *g = random_graph(&arena, &diag, 3, &(RandomGraphOptions){.n_nodes = 100000});
    Text first = text_make(&arena), second = text_make(&arena);
    graph_print(g, &first);
    Sources sources = sources_make(&arena);
    Graph *again = graph_parse(&arena, &diag, &sources, sources_add(&sources, "large", text_str(&first), first.n));
    assert_non_null(again);
    graph_print(again, &second);
    assert_true(first.n == second.n && memcmp(first.data, second.data, first.n) == 0);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_counted_or_refused),
        cmocka_unit_test(rules_survive_extremes),
        cmocka_unit_test(too_many_axes_is_said),
        cmocka_unit_test(a_large_graph_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
