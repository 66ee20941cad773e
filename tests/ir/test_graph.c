// Building graphs: axes are interned, types follow from the operands, errors are reported once and travel quietly.
#include "graph.h"
#include "module.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

typedef struct Fixture {
    Arena  arena;
    Diag   diag;
    Graph *g;
    AxisId B, T, D;
} Fixture;

static int set_up(void **state)
{
    Fixture *f = test_calloc(1, sizeof *f);
    f->diag = diag_make(&f->arena, NULL);
    f->g = graph_make(&f->arena, &f->diag, "main");
    f->B = graph_axis(f->g, "B", AXIS_BATCH, 2, 0);
    f->T = graph_axis(f->g, "T", AXIS_TIME, 3, 0);
    f->D = graph_axis(f->g, "D", AXIS_FEATURE, 4, 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    Fixture *f = *state;
    arena_free(&f->arena);
    test_free(f);
    return 0;
}

static const char *type_of(Fixture *f, ValueId v)
{
    Text text = text_make(&f->arena);
    type_print(f->g, &f->g->node[v].type, &text);
    return text_str(&text);
}

static ValueId arg(Fixture *f, const char *name, DType dtype, size_t n, const AxisId *axes)
{
    return graph_leaf(f->g, OP_ARG, name, type_make(dtype, axes, n));
}

static void axes_are_interned(void **state)
{
    Fixture *f = *state;
    assert_int_equal(graph_axis(f->g, "B", AXIS_BATCH, 2, 0), f->B);
    AxisId other = graph_axis(f->g, "B", AXIS_BATCH, 5, 0);
    assert_string_equal(f->g->axis[other].name, "B.2");
    assert_int_equal(graph_axis(f->g, "B", AXIS_BATCH, 5, 0), other);
    assert_string_equal(f->g->axis[graph_axis(f->g, "B", AXIS_TIME, 5, 0)].name, "B.3");
    assert_string_equal(f->g->axis[graph_axis(f->g, "B.2", AXIS_TIME, 9, 0)].name, "B.4");
    assert_int_equal(graph_find_axis(f->g, "B.2"), other);
    assert_int_equal(graph_find_axis(f->g, "Q"), 0);
}

static void many_axes_and_nodes(void **state)
{
    Fixture *f = *state;
    char name[32];
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "A%d", i);
        AxisId a = graph_axis(f->g, name, AXIS_FEATURE, i, 0);
        assert_int_equal(graph_find_axis(f->g, name), a);
    }
    ValueId x = arg(f, "x", DTYPE_F32, 2, (AxisId[]){f->B, f->D});
    for (int i = 0; i < 100000; i++)
        x = graph_unary(f->g, OP_NEG, x);
    assert_int_equal(x, 100001);
    assert_int_equal(f->diag.n_errors, 0);
}

static void types_follow(void **state)
{
    Fixture *f = *state;
    Graph *g = f->g;
    ValueId x = arg(f, "x", DTYPE_F32, 3, (AxisId[]){f->B, f->T, f->D});
    ValueId w = arg(f, "w", DTYPE_F32, 1, (AxisId[]){f->D});
    AxisId H = graph_axis(g, "H", AXIS_FEATURE, 2, 0), K = graph_axis(g, "K", AXIS_FEATURE, 2, 0);
    AxisId T2 = graph_axis(g, "T'", AXIS_TIME, 3, f->T), P = graph_axis(g, "P", AXIS_FEATURE, 2, 0);
    assert_string_equal(type_of(f, graph_binary(g, OP_ADD, w, x)), "f32[D,B,T]");
    assert_string_equal(type_of(f, graph_binary(g, OP_LT, x, w)), "f32[B,T,D]");
    assert_string_equal(type_of(f, graph_contract(g, x, w, &f->D, 1)), "f32[B,T]");
    assert_string_equal(type_of(f, graph_contract(g, x, w, NULL, 0)), "f32[B,T,D]");
    assert_string_equal(type_of(f, graph_reduce(g, RED_MAX, x, &f->T, 1)), "f32[B,D]");
    assert_int_equal(graph_reduce(g, RED_MAX, x, NULL, 0), x);
    ValueId s = graph_split(g, x, f->D, (AxisId[]){H, K}, 2);
    assert_string_equal(type_of(f, s), "f32[B,T,H,K]");
    assert_string_equal(type_of(f, graph_merge(g, s, (AxisId[]){H, K}, 2, f->D)), "f32[B,T,D]");
    assert_string_equal(type_of(f, graph_rename(g, x, f->T, T2)), "f32[B,T',D]");
    assert_string_equal(type_of(f, graph_at(g, x, f->B, 1)), "f32[T,D]");
    assert_string_equal(type_of(f, graph_slice(g, x, f->T, 1, P)), "f32[B,P,D]");
    assert_string_equal(type_of(f, graph_pad(g, graph_slice(g, x, f->T, 1, P), P, 1, f->T)), "f32[B,T,D]");
    assert_string_equal(type_of(f, graph_window(g, x, f->T, T2, P, 1, 1)), "f32[B,T',P,D]");
    assert_string_equal(type_of(f, graph_unwindow(g, graph_window(g, x, f->T, T2, P, 1, 1), T2, P, f->T, 1, 1)),
                        "f32[B,T,P,D]");
    ValueId i = arg(f, "i", DTYPE_I32, 2, (AxisId[]){f->B, H});
    ValueId y = graph_take(g, x, i, f->T);
    assert_string_equal(type_of(f, y), "f32[B,H,D]");
    assert_string_equal(type_of(f, graph_put_add(g, y, i, &H, 1, f->T)), "f32[B,T,D]");
    assert_int_equal(graph_cast(g, DTYPE_F32, x), x);
    assert_string_equal(type_of(f, graph_cast(g, DTYPE_BF16, x)), "bf16[B,T,D]");
    assert_string_equal(type_of(f, graph_index(g, f->T)), "int[T]");
    assert_int_equal(f->diag.n_errors, 0);
}

static void errors_travel_quietly(void **state)
{
    Fixture *f = *state;
    Graph *g = f->g;
    ValueId x = arg(f, "x", DTYPE_F32, 2, (AxisId[]){f->B, f->T});
    ValueId bad = graph_reduce(g, RED_SUM, x, &f->D, 1);
    assert_int_equal(bad, 0);
    assert_int_equal(f->diag.n_errors, 1);
    assert_string_equal(f->diag.item[0].message,
                        "reduce: the operand does not hold the axis `D`; the operand is f32[B,T]");
    assert_int_equal(graph_binary(g, OP_ADD, x, graph_map(g, ACT_EXP, bad)), 0);
    assert_int_equal(f->diag.n_errors, 1);
}

static void bad_operands_are_refused(void **state)
{
    Fixture *f = *state;
    Graph *g = f->g;
    ValueId x = arg(f, "x", DTYPE_F32, 2, (AxisId[]){f->B, f->T}), i = arg(f, "i", DTYPE_I32, 1, &f->T);
    AxisId big = graph_axis(g, "big", AXIS_FEATURE, INT64_MAX / 2, 0);
    ValueId wrong[] = {
        graph_binary(g, OP_ADD, x, i), graph_map(g, ACT_EXP, i), graph_binary(g, OP_DIV, i, i),
        graph_select(g, i, x, x), graph_rename(g, x, f->B, f->T), graph_rename(g, x, f->B, f->D),
        graph_split(g, x, f->T, (AxisId[]){f->B, f->D}, 2), graph_at(g, x, f->T, 3), graph_at(g, x, f->T, -1),
        graph_slice(g, x, f->T, 2, f->D), graph_pad(g, x, f->T, 2, f->D), graph_take(g, x, i, f->T),
        graph_take(g, x, x, f->B), graph_expand(g, x, &f->B, 1), graph_window(g, x, f->T, f->D, f->D, 1, 0),
        graph_window(g, x, f->T, f->D, big, 0, 0), graph_const(g, DTYPE_I32, 0.5),
        graph_expand(g, x, (AxisId[]){f->B, f->T, big}, 3), graph_contract(g, x, x, (AxisId[]){f->B, f->B}, 2),
    };
    size_t n = sizeof wrong / sizeof *wrong;
    for (size_t k = 0; k < n; k++)
        assert_int_equal(wrong[k], 0);
    assert_int_equal(f->diag.n_errors, n);
}

static void modules_replace_by_name(void **state)
{
    Fixture *f = *state;
    Module *m = module_make(&f->arena, &f->diag);
    module_add_graph(m, f->g);
    Graph *again = graph_make(&f->arena, &f->diag, "main");
    module_add_graph(m, again);
    module_add_graph(m, graph_make(&f->arena, &f->diag, "init"));
    assert_int_equal(m->n_graphs, 2);
    assert_ptr_equal(module_graph(m, "main"), again);
    assert_null(module_graph(m, "step"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(axes_are_interned, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_axes_and_nodes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(types_follow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(errors_travel_quietly, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_operands_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(modules_replace_by_name, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
