// Every op of the table on literal inputs (tests/ops/<op>.ir), through the reference evaluator. The expected numbers were
// worked out apart from it. The functions of acts.def also meet central differences.
#include "op_cases.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

// Both sides are double precision; the formulas differ, so a few roundings may too.
static const double tolerance = 1e-13;

static bool close_enough(double a, double b)
{
    if (isnan(a) || isnan(b))
        return isnan(a) && isnan(b);
    return a == b || fabs(a - b) <= tolerance * fmax(fabs(a), fabs(b)) || fabs(a - b) < 1e-15;
}

static void check_outputs(const OpCase *c, const Graph *g, const EvalResult *result, const char *op)
{
    assert_true(c->n_expects > 0);
    for (size_t i = 0; i < c->n_expects; i++) {
        ValueId y = graph_find_output(g, OUTPUT_RESULT, c->expect[i].name);
        if (!y)
            fail_msg("%s, %s: no result is called %s", op, c->title, c->expect[i].name);
        int64_t n;
        assert_true(type_count(g, &g->node[y].type, &n));
        if ((size_t)n != c->expect[i].n)
            fail_msg("%s, %s: %s has %lld elements, %zu are expected", op, c->title, c->expect[i].name, (long long)n,
                     c->expect[i].n);
        for (int64_t k = 0; k < n; k++)
            if (!close_enough(result->value[y][k], c->expect[i].value[k]))
                fail_msg("%s, %s: %s[%lld] is %.17g, not %.17g", op, c->title, c->expect[i].name, (long long)k,
                         result->value[y][k], c->expect[i].value[k]);
    }
}

static void check_case(OpCase *c, const char *op)
{
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    Graph *g = op_case_graph(c, &arena, &diag);
    if (c->refuse) {
        if (g || strcmp(diag.item[0].message, c->refuse) != 0)
            fail_msg("%s, %s: \"%s\" is expected, not \"%s\"", op, c->title, c->refuse, g ? "" : diag.item[0].message);
    } else {
        if (!g)
            fail_msg("%s, %s: %s", op, c->title, diag.item[0].message);
        bool used = false;
        for (size_t i = 1; i < g->n_nodes; i++)
            used |= strcmp(op_row[g->node[i].op].text, op) == 0;
        assert_true(used);
        EvalResult result;
        StatusText why = {0};
        Status status = graph_eval(g, op_case_leaf, c, &arena, &result, &why);
        if (c->fails)
            assert_string_equal(why.text, c->fails);
        else if (status != STATUS_OK)
            fail_msg("%s, %s: %s", op, c->title, why.text);
        else
            check_outputs(c, g, &result, op);
    }
    arena_free(&arena);
}

static void every_op_has_cases_that_hold(void **state)
{
    (void)state;
    size_t n_cases = 0;
    for (int op = OP_ERROR + 1; op < OP_COUNT; op++) {
        Arena arena = {0};
        OpCase *list;
        size_t n = op_cases_read(&arena, arena_printf(&arena, MIXC_TESTS "/ops/%s.ir", op_row[op].text), &list);
        if (!n)
            fail_msg("tests/ops/%s.ir: no cases, or a line that is not understood", op_row[op].text);
        bool expects = false;
        for (size_t i = 0; i < n; i++) {
            check_case(&list[i], op_row[op].text);
            expects |= list[i].n_expects > 0;
        }
        if (!expects)
            fail_msg("tests/ops/%s.ir: no case has a result", op_row[op].text);
        n_cases += n;
        arena_free(&arena);
    }
    print_message("%d ops, %zu cases\n", OP_COUNT - 1, n_cases);
}

static void every_function_has_cases(void **state)
{
    (void)state;
    static const char *const ops[] = {"map", "slope"};
    for (size_t k = 0; k < 2; k++)
        for (int f = 0; f < ACT_COUNT; f++) {
            Arena arena = {0};
            OpCase *list;
            size_t n = op_cases_read(&arena, arena_printf(&arena, MIXC_TESTS "/ops/%s.ir", ops[k]), &list), n_found = 0;
            for (size_t i = 0; i < n; i++)
                n_found += list[i].n_expects && strstr(list[i].text, arena_printf(&arena, "{f = %s}", act_text[f]));
            if (!n_found)
                fail_msg("tests/ops/%s.ir has no case for %s", ops[k], act_text[f]);
            arena_free(&arena);
        }
}

// The slope of each function against (f(x + h) - f(x - h))/2h: the error is of the order h*h plus rounding/h.
static void slopes_match_differences(void **state)
{
    (void)state;
    static const double places[] = {0.3, 0.7, 1.6, 2.9, -0.4, -1.7, -3.3};
    const double h = 1e-5;
    for (int f = 0; f < ACT_COUNT; f++)
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            double x = places[i], y = act_value((Act)f, x);
            if (isnan(y))
                continue;
            double difference = (act_value((Act)f, x + h) - act_value((Act)f, x - h)) / (2 * h);
            double slope = act_slope((Act)f, act_slope_uses_value[f] ? y : x);
            if (fabs(slope - difference) > 1e-8 * (1 + fabs(slope)))
                fail_msg("%s at %g: the slope is %.12g, differences give %.12g", act_text[f], x, slope, difference);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_has_cases_that_hold),
        cmocka_unit_test(every_function_has_cases),
        cmocka_unit_test(slopes_match_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
