// The expected share of dropped choices against a simulation of even routing.
#include "drop_rate.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint32_t draw(uint64_t *seed, uint32_t n)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % n;
}

// Tokens choose k different experts each; what stands beyond `rows` is dropped.
static double simulate(int tokens, int experts, int k, int64_t rows, int trials)
{
    uint64_t seed = 11;
    int64_t dropped = 0;
    int *load = calloc((size_t)experts, sizeof *load), *deck = calloc((size_t)experts, sizeof *deck);
    for (int trial = 0; trial < trials; trial++) {
        memset(load, 0, (size_t)experts * sizeof *load);
        for (int t = 0; t < tokens; t++) {
            for (int e = 0; e < experts; e++)
                deck[e] = e;
            for (int c = 0; c < k; c++) {
                const int at = c + (int)draw(&seed, (uint32_t)(experts - c)), e = deck[at];
                deck[at] = deck[c];
                deck[c] = e;
                dropped += load[e]++ >= rows;
            }
        }
    }
    free(load);
    free(deck);
    return (double)dropped / ((double)trials * tokens * k);
}

static void agrees_with_a_simulation(void **state)
{
    (void)state;
    static const struct { int tokens, experts, k, rows; } cases[] = {
        {16, 4, 1, 4}, {16, 4, 2, 8}, {64, 8, 1, 10}, {64, 8, 2, 20}, {100, 64, 8, 15}, {128, 2, 1, 64}, {6, 4, 2, 3},
        {300, 16, 1, 18}, {5, 3, 3, 2}, {9, 4, 1, 0}, {50, 1, 1, 40}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int trials = 3000;
        const double got = drop_rate(cases[i].tokens, cases[i].experts, cases[i].k, cases[i].rows);
        const double want = simulate(cases[i].tokens, cases[i].experts, cases[i].k, cases[i].rows, trials);
        if (!(fabs(got - want) < 0.004))
            fail_msg("%d tokens, %d experts, top %d, %d rows: %g, but simulated %g", cases[i].tokens, cases[i].experts, cases[i].k,
                     cases[i].rows, got, want);
    }
}

static void has_its_limits(void **state)
{
    (void)state;
    assert_true(drop_rate(0, 4, 1, 0) == 0);
    assert_true(drop_rate(16, 4, 1, -1) == 0);              // dropless
    assert_true(drop_rate(16, 4, 2, 16) == 0);              // room for all
    assert_true(drop_rate(16, 4, 4, 8) == 0.5);             // every token at every expert
    assert_true(fabs(drop_rate(16, 4, 1, 0) - 1) < 1e-12);
    double last = 1;
    for (int64_t rows = 1; rows <= 4096; rows *= 2) {       // falls with room
        const double rate = drop_rate(8192, 64, 2, rows);
        assert_true(rate >= 0 && rate <= last);
        last = rate;
    }
    // large pools at the exact capacity: about sqrt(E / (2 pi n k)) of the choices
    const double rate = drop_rate(1 << 20, 64, 1, (1 << 20) / 64), about = sqrt(64 / (2 * 3.14159265358979 * (1 << 20)));
    assert_true(fabs(rate / about - 1) < 0.02);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_simulation),
        cmocka_unit_test(has_its_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
