// Whether examples of a batch are said to be independent, and whether the numbers agree: each verdict is held against changing
// one example and looking at the others.
#include "build.h"
#include "eval.h"
#include "independent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { B = 3, T = 4, D = 6, N = B * T * D };

static const struct { bool independent; const char *body; } cases[] = {
    {true, "yield LN(x)"},
    {true, "param W[D,D']\n yield x + tanh(x @[D] W).rename(D' -> D) - mean(x, over=T)"},
    {true, "v = x.rename(T -> T')\n yield softmax(x @[D] v, over=T') @[T'] v"},
    {true, "param Wr[D,E], W[E,D,D']\n yield route x by x @[D] Wr to E experts top 2 capacity rows(2) over T priority choice each t { yield (t @[D] W).rename(D' -> D) }"},
    {true, "param Wr[D,E], W[E,D,D']\n yield route x by x @[D] Wr to E experts capacity 1 over T assign experts_choose each t { yield (t @[D] W).rename(D' -> D) }"},
    {true, "param Wr[D,E], W[E,D,D']\n yield route x by x @[D] Wr to E experts top 1 dropless each t { yield (t @[D] W).rename(D' -> D) }"},
    {true, "param C[E,D]\n yield route x by x @[D] C to E experts top 1 gate sigmoid assign balanced over T each t, g { yield g*t }"},
    {false, "yield x - mean(x, over=B)"},
    {false, "yield BN(x)"},
    {false, "yield reverse(x, over=B)"},
    {false, "yield x + x[B = 0]"},
    {false, "param Wr[D,E], W[E,D,D']\n yield route x by x @[D] Wr to E experts top 2 capacity rows(4) over B*T each t { yield (t @[D] W).rename(D' -> D) }"},
    {false, "param Wr[D,E], W[E,D,D']\n yield route x by x @[D] Wr to E experts capacity 1 over B*T assign experts_choose each t { yield (t @[D] W).rename(D' -> D) }"},
    {false, "param C[E,D]\n yield route x by x @[D] C to E experts top 1 gate sigmoid assign balanced over B*T each t, g { yield g*t }"},
    {false, "param Wr[D,E], V[E,D]\n r = route by x @[D] Wr to E experts top 1 each t\n yield x + r.load @[E] V"},
};

typedef struct Numbers { double x[N], param[256], one; } Numbers;

static const double *leaf(void *user, const Graph *g, const Node *n)
{
    (void)g;
    const Numbers *numbers = user;
    return n->op != OP_ARG ? numbers->param : strcmp(n->attr[0].name, "x") == 0 ? numbers->x : &numbers->one;
}

static double noise(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (double)(*state >> 8) / (1 << 23) - 1;
}

// Does changing one example change another's results?
static bool couples_in_numbers(Arena *arena, const Graph *g)
{
    Numbers numbers;
    uint32_t state = 5;
    for (size_t i = 0; i < sizeof numbers / sizeof(double); i++)
        ((double *)&numbers)[i] = noise(&state);
    numbers.one = 1;
    EvalResult was, is;
    const ValueId y = graph_find_output(g, OUTPUT_RESULT, "y");
    assert_int_equal(graph_eval(g, leaf, &numbers, arena, &was, NULL), STATUS_OK);
    for (int trial = 0; trial < 12; trial++) {
        Numbers changed = numbers;
        const int row = trial % B;
        for (int i = 0; i < N; i++)
            if (i / D / T == row)
                changed.x[i] += 2 * noise(&state);
        assert_int_equal(graph_eval(g, leaf, &changed, arena, &is, NULL), STATUS_OK);
        for (int i = 0; i < N; i++)
            if (i / D / T != row && memcmp(&was.value[y][i], &is.value[y][i], sizeof(double)) != 0)
                return true;
    }
    return false;
}

static void verdicts_agree_with_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Arena arena = {0};
        Sources sources = sources_make(&arena);
        Diag diag = diag_make(&arena, &sources);
        const char *text = arena_printf(&arena, "mix 1\nuse std.norm\naxis B : batch = 3, T : time = 4, D = 6, E : expert = 3\n"
            "layer L(x: [B,T,D]) -> [B,T,D] {\n %s\n}\nmodel M(x: [B,T,D]) -> y: [B,T,D] { y = L(x) }\n", cases[i].body);
        const Ast *ast = ast_parse(&arena, &diag, &sources, sources_add(&sources, "m.mix", text, strlen(text)));
        Module *m = ast ? build_module(&arena, &diag, &sources, ast, &(BuildOptions){.mode = MODE_TRAIN}) : NULL;
        if (!m) {
            Text out = text_make(&arena);
            diag_print(&diag, &out, false);
            fail_msg("%s\n%s", text, text_str(&out));
        }
        const Graph *g = module_graph(m, "main");
        const bool independent = couples_examples(g, graph_find_axis(g, "B"), &arena) == NULL;
        if (independent != cases[i].independent)
            fail_msg("said to be %s: %s", independent ? "independent" : "coupled", cases[i].body);
        if (couples_in_numbers(&arena, g) == independent)
            fail_msg("the numbers say otherwise: %s", cases[i].body);
        arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(verdicts_agree_with_numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
