// Values a piece at a time: for random graphs, the bits of the evaluator, whatever the pieces.
#include "eval_pieces.h"
#include "random_graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_GRAPHS = 250 };

static void compare(Arena *arena, const Graph *g, ValueId v, const double *want, size_t count, uint64_t seed)
{
    const EvalPieces *pieces = NULL;
    StatusText why = {0};
    assert_int_equal(eval_pieces_make(g, v, random_leaf, arena, arena, &pieces, &why), STATUS_OK);
    double *scratch = malloc((eval_pieces_scratch(pieces) + 1) * sizeof *scratch), *got = malloc((count + 1) * sizeof *got);
    assert_true(scratch && got);
    for (size_t at = 0, n; at < count; at += n) {
        n = 1 + (size_t)(seed * 2654435761u + at) % 97 * 16;            // 1 to 1537: across blocks and within them
        n = n > count - at ? count - at : n;
        eval_pieces_fill(pieces, (int64_t)at, n, scratch, got + at);
    }
    if (memcmp(got, want, count * sizeof *got) != 0)
        fail_msg("graph %llu: %%%u (%s) differs", (unsigned long long)seed, v, op_row[g->node[v].op].text);
    free(scratch);
    free(got);
}

static void random_graphs_give_the_same_bits(void **state)
{
    (void)state;
    size_t n_values = 0;
    for (uint64_t seed = 0; seed < N_GRAPHS; seed++) {
        Arena arena = {0};
        Diag diag = diag_make(&arena, NULL);
        EvalResult result;
        const Graph *g = random_graph(&arena, &diag, seed, &(RandomGraphOptions){.with_host_ops = true, .with_bf16 = true});
        StatusText why = {0};
        if (graph_eval(g, random_leaf, &arena, &arena, &result, &why) != STATUS_OK)
            fail_msg("graph %llu: %s", (unsigned long long)seed, why.text);
        for (ValueId v = 1; v < g->n_nodes; v++) {
            int64_t count;
            if (!result.value[v])
                continue;
            assert_true(type_count(g, &g->node[v].type, &count));
            compare(&arena, g, v, result.value[v], (size_t)count, seed);
            n_values++;
        }
        arena_free(&arena);
    }
    print_message("%zu values of %d graphs\n", n_values, N_GRAPHS);
    assert_true(n_values > 10 * N_GRAPHS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_graphs_give_the_same_bits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
