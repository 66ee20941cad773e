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

// Two layers, each exp(x*x) of the one before; the "backward" part reads every intermediate value.
static Graph *two_layers(Arena *arena, Diag *diag)
{
    Graph *g = graph_make(arena, diag, "main");
    AxisId axis = graph_axis(g, "D", AXIS_FEATURE, 3, 0);
    ValueId x = graph_leaf(g, OP_ARG, "x", type_make(DTYPE_F32, &axis, 1)), inner[2];
    for (int i = 0; i < 2; i++) {
        g->layer = i ? "Net.l1.Block" : "Net.l0.Block";
        inner[i] = graph_binary(g, OP_MUL, x, x);
        x = graph_map(g, ACT_TANH, inner[i]);
    }
    g->layer = "Net";
    graph_output(g, OUTPUT_LOSS, "train", graph_reduce(g, RED_SUM, x, &axis, 1));
    ValueId back = graph_binary(g, OP_MUL, graph_binary(g, OP_ADD, x, inner[1]), inner[0]);
    graph_output(g, OUTPUT_GRAD, "input.x", back);
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
    double x[] = {0.5, -1, 2};
    EvalResult before, after;
    const Graph *plain = run_pass(&arena, &diag, NULL, 0);
    const char *one[] = {"Net.l1"}, *all[] = {"Net.l1.Block", "Net.l0"};
    // x*x in the two layers, and the product of the backward part.
    assert_int_equal(count(plain, OP_MUL), 3);
    assert_int_equal(count(run_pass(&arena, &diag, one, 1), OP_MUL), 4);
    const Graph *g = run_pass(&arena, &diag, all, 2);
    assert_int_equal(count(g, OP_MUL), 5);
    // The value between the layers is kept, and so is the last one, which the loss reads outside of them.
    assert_int_equal(count(g, OP_MAP), 2);
    assert_int_equal(graph_eval(plain, ramp, x, &arena, &before, NULL), STATUS_OK);
    assert_int_equal(graph_eval(g, ramp, x, &arena, &after, NULL), STATUS_OK);
    ValueId a = graph_find_output(plain, OUTPUT_GRAD, "input.x"), b = graph_find_output(g, OUTPUT_GRAD, "input.x");
    assert_memory_equal(before.value[a], after.value[b], sizeof x);
    arena_free(&arena);
}

static void a_path_names_whole_steps(void **state)
{
    (void)state;
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    const char *near[] = {"Net.l", "Net.l1.Blo", "l1"};
    assert_int_equal(count(run_pass(&arena, &diag, near, 3), OP_MUL), 3);
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
