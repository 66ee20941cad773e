// The text form of a graph: what prints reads back to the same bytes, and what is wrong is said at its place.
#include "graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char example[] =
    "graph @main\n"
    "axis B : batch = 2, T : time = 3, T' : time = 3 twin T, D = 4, F = 8, H = 2, J = 2\n"
    "kernel k1 : contract, k2 : loop\n"
    "{\n"
    "  %1.x = arg \"x\" : f32[B,T,D]\n"
    "  %2.w = param \"GPT.l0.\\\"W\\\"\" : f32[D,F]\n"
    "  %3 = contract %1, %2 {over = [D]} : f32[T,B,F] @k1\n"
    "  %4.h = map %3 {f = gelu} : f32[B,T,F] @k2\n"
    "  %5 = const {value = -0.1} : f32[]\n"
    "  %6 = const {value = -inf} : f32[]\n"
    "  %7 = mul %4, %5 : f32[B,T,F]\n"
    "  %8 = reduce %7 {f = max, over = [T,F]} : f32[B]\n"
    "  %9 = max %8, %6 : f32[B]\n"
    "  %10 = rename %1 {from = [T], to = [T']} : f32[B,T',D]\n"
    "  %11 = split %1 {axis = D, to = [H,J]} : f32[B,T,H,J]\n"
    "  %12 = cast %11 {to = bf16} : bf16[B,T,H,J]\n"
    "  %13 = index {axis = T} : int[T]\n"
    "  result \"y\" = %9\n"
    "  next \"GPT.l0.\\\"W\\\"\" = %2\n"
    "  watch \"odd \\xff name\\n\" = %13\n"
    "}\n";

static Graph *parse(Arena *arena, Diag *diag, const char *text)
{
    Sources sources = sources_make(arena);
    uint32_t file = sources_add(&sources, "test.ir", text, strlen(text));
    return graph_parse(arena, diag, &sources, file);
}

static void prints_what_it_read(void **state)
{
    (void)state;
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    Graph *g = parse(&arena, &diag, example);
    assert_int_equal(diag.n_errors, 0);
    assert_non_null(g);
    Text out = text_make(&arena);
    graph_print(g, &out);
    assert_string_equal(text_str(&out), example);
    assert_true(graph_equal(g, parse(&arena, &diag, text_str(&out))));
    arena_free(&arena);
}

static void types_and_spacing_may_be_left_out(void **state)
{
    (void)state;
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    Graph *g = parse(&arena, &diag,
                     "graph @f axis B=2 // two\n{ %1 = arg \"x\":f32[B] %2=neg %1 result \"y\"=%2 }");
    assert_non_null(g);
    Text out = text_make(&arena);
    graph_print(g, &out);
    assert_string_equal(text_str(&out), "graph @f\naxis B = 2\n{\n  %1 = arg \"x\" : f32[B]\n"
                                        "  %2 = neg %1 : f32[B]\n  result \"y\" = %2\n}\n");
    arena_free(&arena);
}

// Each text has one fault; the message and the text under it are given.
static const struct { const char *text, *at, *message; } wrong[] = {
    {"grap @f {}", "grap", "expected `graph`"},
    {"graph @f axis B = 2, B = 3 {}", "B", "the axis `B` is declared twice"},
    {"graph @f axis B = -2 {}", "-2", "the size cannot be negative"},
    {"graph @f axis B : space = 2 {}", "space", "expected batch, time, expert or feature"},
    {"graph @f { %2 = const {value = 1} : f32[] }", "%2", "values are numbered in order: expected %1"},
    {"graph @f { %1 = neg %1 }", "%1", "%1 is not defined before it is used"},
    {"graph @f { %1 = nega %1 }", "nega", "no op is called `nega`"},
    {"graph @f { %1 = const {value = 1} }", "}", "expected `:` and the type, which cannot be inferred here"},
    {"graph @f { %1 = const {value = x} : f32[] }", "x", "expected the attribute, a number"},
    {"graph @f { %1 = arg \"x\" : f32[B] }", "B", "no axis is called `B`"},
    {"graph @f axis B = 2 { %1 = arg \"x\" : f32[B] %2 = neg %1 : f32[] }", "%2 = neg %1 : f32[]",
     "the type is written as f32[], but the op gives f32[B]"},
    {"graph @f axis B = 2 { %1 = arg \"x\" : f32[] %2 = reduce %1 {f = sum, over = [B]} }",
     "%2 = reduce %1 {f = sum, over = [B]}",
     "reduce: the operand does not hold the axis `B`; the operand is f32[]"},
    {"graph @f { %1 = const {value = 1} : f32[] @k1 }", "%1 = const {value = 1} : f32[] @k1",
     "graph @f: %1: there is no kernel k1"},
    {"graph @f { result \"y\" = %1 }", "%1", "expected a value of this graph"},
    {"graph @f { %1 = const {value = 1} : f32[] result \"y\" = %1 result \"y\" = %1 }", "",
     "graph @f: two outputs are result \"y\""},
    {"graph @f {} x", "x", "expected the end of the text after `}`"},
    {"graph @f { %1 = arg \"x : f32[] }", "\"x : f32[] }", "expected a name in quotes"},
    {"graph @f { %1 = arg \"\" : f32[] }", "%1 = arg \"\" : f32[]", "arg: the name is empty"},
};

static void faults_are_named_in_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        Arena arena = {0};
        Diag diag = diag_make(&arena, NULL);
        assert_null(parse(&arena, &diag, wrong[i].text));
        assert_int_equal(diag.n_errors, 1);
        assert_string_equal(diag.item[0].message, wrong[i].message);
        Span at = diag.item[0].at;
        assert_string_equal(arena_strndup(&arena, wrong[i].text + at.begin, at.end - at.begin), wrong[i].at);
        arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prints_what_it_read),
        cmocka_unit_test(types_and_spacing_may_be_left_out),
        cmocka_unit_test(faults_are_named_in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
