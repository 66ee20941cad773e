// Random graphs: they verify, their text reads back to the same graph and the same bytes, they evaluate. And mutants of
// their text: whatever bytes come, the reader either refuses them with a diagnostic or reads a legal graph.
#include "random_graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { N_GRAPHS = 10000, N_EVALUATED = 400, N_MUTANTS = 20000 };

static Graph *parse(Arena *arena, Diag *diag, const char *text, size_t n)
{
    Sources sources = sources_make(arena);
    return graph_parse(arena, diag, &sources, sources_add(&sources, "random.ir", text, n));
}

static void texts_read_back(void **state)
{
    (void)state;
    size_t n_seen[OP_COUNT] = {0};
    static const RandomGraphOptions all = {.with_host_ops = true, .with_bf16 = true};
    for (uint64_t seed = 0; seed < N_GRAPHS; seed++) {
        Arena arena = {0};
        Diag diag = diag_make(&arena, NULL);
        Graph *g = random_graph(&arena, &diag, seed, &all);
        assert_true(graph_verify(g, &diag));
        Text first = text_make(&arena), second = text_make(&arena);
        graph_print(g, &first);
        Graph *again = parse(&arena, &diag, text_str(&first), first.n);
        if (!again)
            fail_msg("seed %llu: %s", (unsigned long long)seed, diag.item[0].message);
        assert_true(graph_equal(g, again));
        graph_print(again, &second);
        assert_string_equal(text_str(&first), text_str(&second));
        for (size_t i = 1; i < g->n_nodes; i++)
            n_seen[g->node[i].op]++;
        arena_free(&arena);
    }
    for (int op = OP_ERROR + 1; op < OP_COUNT; op++)
        if (n_seen[op] < 20)
            fail_msg("%s occurs only %zu times", op_row[op].text, n_seen[op]);
}

// Memory that is used again must not change an output.
static void compare_with_reuse(Arena *arena, const Graph *g, const EvalResult *kept)
{
    EvalResult result;
    assert_int_equal(graph_eval_outputs(g, random_leaf, arena, arena, &result, NULL), STATUS_OK);
    for (size_t i = 0; i < g->n_outputs; i++) {
        ValueId v = g->output[i].value;
        int64_t n;
        assert_true(type_count(g, &g->node[v].type, &n));
        assert_memory_equal(result.value[v], kept->value[v], (size_t)n * sizeof(double));
    }
}

static void they_evaluate(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < N_EVALUATED; seed++) {
        Arena arena = {0};
        Diag diag = diag_make(&arena, NULL);
        Graph *g = random_graph(&arena, &diag, seed, NULL);
        EvalResult result;
        StatusText why = {0};
        // An index may be NaN's cast or beyond the exact whole numbers of a double: refused, not misread.
        Status status = graph_eval(g, random_leaf, &arena, &arena, &result, &why);
        if (status != STATUS_OK && !strstr(why.text, "is outside the axis"))
            fail_msg("seed %llu: %s", (unsigned long long)seed, why.text);
        if (status == STATUS_OK)
            compare_with_reuse(&arena, g, &result);
        arena_free(&arena);
    }
}

static uint32_t draw(uint64_t *state, size_t n)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*state >> 33) % n);
}

// A few edits: a byte changed, a piece dropped, doubled, moved, or a telling word put in.
static size_t mutate(char *text, size_t n, size_t capacity, uint64_t *state)
{
    static const char *const words[] = {"%0", "%1", "%99", "-1", "9223372036854775807", "99999999999999999999", "[", "]",
        "{", "}", "= ", " : f32[]", "twin", "T'", "@k1", "@k0", "\"", "\\", "nan", "-inf", "1e999", "axis A = 3",
        "result \"r0\" = %1", "kernel k1 : loop", "expand", "\n", "\xff"};
    for (uint32_t edits = 1 + draw(state, 3); edits > 0 && n > 0; edits--) {
        size_t at = draw(state, n), span = 1 + draw(state, 12);
        if (span > n - at)
            span = n - at;
        const char *word = words[draw(state, sizeof words / sizeof *words)];
        switch (draw(state, 4)) {
        case 0:
            text[at] = (char)draw(state, 256);
            break;
        case 1:
            memmove(text + at, text + at + span, n - at - span);
            n -= span;
            break;
        case 2:
            if (n + span <= capacity) {
                memmove(text + at + span, text + at, n - at);
                n += span;
            }
            break;
        default:
            span = strlen(word);
            if (n + span <= capacity) {
                memmove(text + at + span, text + at, n - at);
                memcpy(text + at, word, span);
                n += span;
            }
        }
    }
    return n;
}

static void mutants_are_refused_or_legal(void **state)
{
    (void)state;
    enum { CAPACITY = 16384 };
    size_t n_accepted = 0;
    uint64_t draws = 1;
    for (size_t i = 0; i < N_MUTANTS; i++) {
        Arena arena = {0};
        Diag diag = diag_make(&arena, NULL);
        Text first = text_make(&arena), second = text_make(&arena), third = text_make(&arena);
        static const RandomGraphOptions small = {.n_nodes = 10, .with_host_ops = true, .with_bf16 = true};
        graph_print(random_graph(&arena, &diag, i % 500, &small), &first);
        char *text = arena_alloc(&arena, CAPACITY, 1);
        assert_true(first.n < CAPACITY);
        memcpy(text, first.data, first.n);
        size_t n = mutate(text, first.n, CAPACITY, &draws);
        Graph *g = parse(&arena, &diag, text, n);
        assert_true(g ? diag.n_errors == 0 : diag.n_errors > 0);
        if (g) {
            n_accepted++;
            graph_print(g, &second);
            Graph *again = parse(&arena, &diag, second.data, second.n);
            assert_non_null(again);
            graph_print(again, &third);
            assert_string_equal(text_str(&second), text_str(&third));
        }
        arena_free(&arena);
    }
    print_message("%d mutants, %zu of them legal\n", N_MUTANTS, n_accepted);
    assert_true(n_accepted > N_MUTANTS / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_read_back),
        cmocka_unit_test(they_evaluate),
        cmocka_unit_test(mutants_are_refused_or_legal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
