// recompute of listed layers (the text form has no layers, so these graphs are built here; attention is in recompute.ir).
#include "eval.h"
#include "pass.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const double *ramp(void *user, const Graph *g, const Node *leaf)
{
    (void)g, (void)leaf;
    return user;
}

// Two layers of two products each; the "backward" part reads what is inside both, and the result.
static Graph *two_layers(Arena *arena, Diag *diag)
{
    Graph *g = graph_make(arena, diag, "main");
    AxisId d = graph_axis(g, "D", AXIS_FEATURE, 3, 0), f = graph_axis(g, "F", AXIS_FEATURE, 2, 0);
    ValueId x = graph_leaf(g, OP_ARG, "x", type_make(DTYPE_F32, &d, 1)), inner[2];
    ValueId w = graph_leaf(g, OP_PARAM, "w", type_make(DTYPE_F32, (AxisId[]){d, f}, 2));
    for (int i = 0; i < 2; i++) {
        g->layer = i ? "Net.l1.Block" : "Net.l0.Block";
        inner[i] = graph_contract(g, x, w, &d, 1);
        x = graph_contract(g, inner[i], w, &f, 1);
    }
    g->layer = "Net";
    graph_output(g, OUTPUT_LOSS, "train", graph_reduce(g, RED_SUM, x, &d, 1));
    ValueId back = graph_contract(g, inner[0], inner[1], &f, 1);
    graph_output(g, OUTPUT_GRAD, "input.x", graph_binary(g, OP_MUL, back, x));
    return g;
}

static size_t count(const Graph *g, Op op)
{
    size_t n = 0;
    for (ValueId id = 1; id < g->n_nodes; id++)
        n += g->node[id].op == op;
    return n;
}

static const Graph *run_pass(Arena *arena, Diag *diag, const char **paths, size_t n_paths)
{
    Module *m = module_make(arena, diag);
    module_add_graph(m, two_layers(arena, diag));
    m->recompute = paths;
    m->n_recompute = n_paths;
    const char *name = "recompute";
    PassContext ctx = {.arena = arena, .diag = diag};
    Module *out = passes_run(&ctx, m, &name, 1, &(PassHooks){.verify = true});
    assert_non_null(out);
    return module_graph(out, "main");
}

static void a_listed_layer_is_computed_again(void **state)
{
    (void)state;
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    double x[] = {0.5, -1, 2, 1, 3, -2};
    EvalResult before, after;
    const Graph *plain = run_pass(&arena, &diag, NULL, 0);
    const char *one[] = {"Net.l1"}, *all[] = {"Net.l1.Block", "Net.l0"};
    // Four products in the layers and one in the backward part; what is inside a listed layer is made twice. Its
    // result is not: the next layer reads it, and the loss.
    assert_int_equal(count(plain, OP_CONTRACT), 5);
    assert_int_equal(count(run_pass(&arena, &diag, one, 1), OP_CONTRACT), 6);
    const Graph *g = run_pass(&arena, &diag, all, 2);
    assert_int_equal(count(g, OP_CONTRACT), 7);
    assert_int_equal(graph_eval(plain, ramp, x, &arena, &before, NULL), STATUS_OK);
    assert_int_equal(graph_eval(g, ramp, x, &arena, &after, NULL), STATUS_OK);
    ValueId a = graph_find_output(plain, OUTPUT_GRAD, "input.x"), b = graph_find_output(g, OUTPUT_GRAD, "input.x");
    assert_memory_equal(before.value[a], after.value[b], 3 * sizeof *x);
    arena_free(&arena);
}

static void a_path_names_whole_steps(void **state)
{
    (void)state;
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    const char *near[] = {"Net.l", "Net.l1.Blo", "l1"};
    assert_int_equal(count(run_pass(&arena, &diag, near, 3), OP_CONTRACT), 5);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_listed_layer_is_computed_again),
        cmocka_unit_test(a_path_names_whole_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
