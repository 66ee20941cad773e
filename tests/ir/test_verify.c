// The verifier: each rule of a legal graph is broken once, in a graph that is otherwise sound.
#include "graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

typedef void Break(Graph *g);

static void operand_after(Graph *g)       { g->node[3].in[0] = 3; }
static void operand_none(Graph *g)        { g->node[3].in[1] = 0; }
static void wrong_type(Graph *g)          { g->node[3].type.n_axes = 1; }
static void wrong_dtype(Graph *g)         { g->node[3].type.dtype = DTYPE_BF16; }
static void too_many_operands(Graph *g)   { g->node[4].n_in = 2; g->node[4].in = g->node[3].in; }
static void attribute_kind(Graph *g)      { g->node[4].attr[0].kind = ATTR_INT; }
static void attribute_axis(Graph *g)      { g->node[5].attr[1].axes.id[0] = 77; }
static void no_such_op(Graph *g)          { g->node[3].op = OP_COUNT; }
static void kernel_not_there(Graph *g)    { g->node[3].kernel = 1; }
static void kernel_empty(Graph *g)        { graph_add_kernel(g, FAMILY_LOOP); }
static void hint_not_a_name(Graph *g)     { g->node[3].hint = "a b"; }
static void axis_name(Graph *g)           { g->axis[1].name = "B C"; }
static void axis_twice(Graph *g)          { g->axis[2].name = "B"; }
static void axis_size(Graph *g)           { g->axis[2].size = -1; }
static void twin_size(Graph *g)           { g->axis[3].size = 9; }
static void twin_order(Graph *g)          { g->axis[1].twin_of = 3; }
static void graph_name(Graph *g)          { g->name = "a b"; }
static void output_value(Graph *g)        { g->output[0].value = 99; }
static void output_twice(Graph *g)        { graph_output(g, OUTPUT_RESULT, "y", 4); }
static void loss_with_axes(Graph *g)      { graph_output(g, OUTPUT_LOSS, "train", 3); }
static void claim_value(Graph *g)
{
    static ValueId out = 99;
    g->claim = arena_new(g->arena, Claim);
    *g->claim = (Claim){.layer = "Net", .axis = 1, .out = &out, .n_out = 1};
    g->n_claims = 1;
}

static void leaf_types(Graph *g)
{
    AxisId D = graph_find_axis(g, "D");
    graph_leaf(g, OP_ARG, "x", type_make(DTYPE_F32, &D, 1));
}

static const struct { const char *what; Break *change; const char *message; } rules[] = {
    {"operand after", operand_after, "graph @f: %3: operand 1 is %3, which does not come before it"},
    {"operand none", operand_none, "graph @f: %3: operand 2 is %0, which does not come before it"},
    {"type", wrong_type, "graph @f: %3: the type is f32[B], but add gives f32[B,D]"},
    {"dtype", wrong_dtype, "graph @f: %3: the type is bf16[B,D], but add gives f32[B,D]"},
    {"operands", too_many_operands, "map: 2 operands were given, 1 are wanted"},
    {"attribute kind", attribute_kind, "map: the attribute `f` is not sound"},
    {"attribute axis", attribute_axis, "reduce: the attribute `over` is not sound"},
    {"op", no_such_op, "there is no such op"},
    {"kernel", kernel_not_there, "graph @f: %3: there is no kernel k1"},
    {"kernel that stores nothing", kernel_empty, "graph @f: kernel k1: no such family, or it stores nothing"},
    {"hint", hint_not_a_name, "graph @f: %3: the hint `a b` is not a name"},
    {"axis name", axis_name, "graph @f: axis 1: the name `B C` is not a name or not unique"},
    {"axis twice", axis_twice, "graph @f: axis 2: the name `B` is not a name or not unique"},
    {"axis size", axis_size, "graph @f: axis `D`: bad kind or size"},
    {"twin size", twin_size, "graph @f: axis `B'`: a twin comes after its axis and has the same size"},
    {"twin order", twin_order, "graph @f: axis `B`: a twin comes after its axis and has the same size"},
    {"graph name", graph_name, "graph @a b: the graph's name cannot be printed"},
    {"output value", output_value, "graph @f: output 0: bad role, name or value"},
    {"output twice", output_twice, "graph @f: two outputs are result \"y\""},
    {"loss", loss_with_axes, "graph @f: the loss \"train\" is not a scalar"},
    {"claim", claim_value, "graph @f: the claim of Net names an axis or a value that is not there"},
    {"leaf types", leaf_types, "graph @f: %6: arg \"x\" has another type elsewhere"},
};

static Graph *make_sound(Arena *arena, Diag *diag)
{
    Graph *g = graph_make(arena, diag, "f");
    AxisId B = graph_axis(g, "B", AXIS_BATCH, 2, 0), D = graph_axis(g, "D", AXIS_FEATURE, 3, 0);
    graph_axis(g, "B'", AXIS_BATCH, 2, B);
    ValueId x = graph_leaf(g, OP_ARG, "x", type_make(DTYPE_F32, (AxisId[]){B, D}, 2));
    ValueId w = graph_leaf(g, OP_PARAM, "w", type_make(DTYPE_F32, &D, 1));
    ValueId y = graph_map(g, ACT_EXP, graph_binary(g, OP_ADD, x, w));
    graph_output(g, OUTPUT_RESULT, "y", y);
    graph_output(g, OUTPUT_LOSS, "aux", graph_reduce(g, RED_SUM, y, (AxisId[]){B, D}, 2));
    return g;
}

static void each_breach_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        Arena arena = {0};
        Diag diag = diag_make(&arena, NULL);
        Graph *g = make_sound(&arena, &diag);
        assert_true(graph_verify(g, &diag));
        assert_int_equal(diag.n_errors, 0);
        rules[i].change(g);
        if (graph_verify(g, &diag) || diag.n_errors == 0)
            fail_msg("%s: not found", rules[i].what);
        assert_string_equal(diag.item[0].message, rules[i].message);
        arena_free(&arena);
    }
}

static void another_order_of_axes_is_legal(void **state)
{
    (void)state;
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    Graph *g = make_sound(&arena, &diag);
    Type *type = &g->node[3].type;
    AxisId first = type->axis[0];
    type->axis[0] = type->axis[1];
    type->axis[1] = first;
    assert_true(graph_verify(g, &diag));
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_breach_is_found),
        cmocka_unit_test(another_order_of_axes_is_legal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
