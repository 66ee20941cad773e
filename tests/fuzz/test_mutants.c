// Mutants of the project's own models: bytes flipped, pieces deleted, doubled, moved between files, tokens swapped for
// others. Deterministic: the same mutants in every run, chosen by a counter-based generator. MIXC_MUTANTS sets how many.
#include "mix_check.h"
#include "mutate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka needs the headers above.
#include <cmocka.h>

enum { DEFAULT_MUTANTS = 20000 };

static void test_mutants(void **state)
{
    (void)state;
    Corpus *c = calloc(1, sizeof *c);
    char *text = malloc(MAX_BYTES + 256);
    assert_true(c && text);
    corpus_add(c, MIXC_TESTS "/../frontend/std/*.mix");
    corpus_add(c, MIXC_TESTS "/../models/*.mix");
    corpus_add(c, MIXC_TESTS "/frontend/syntax/*.mix");
    corpus_add(c, MIXC_TESTS "/fuzz/corpus_mix/*");
    assert_true(c->n > 0);
    for (size_t i = 0; i < c->n; i++)       // as they are: what a fuzzer found once stays found
        mix_check(c->sources.file[c->file[i]].data, c->sources.file[c->file[i]].n);
    const char *wanted = getenv("MIXC_MUTANTS");
    size_t n_mutants = wanted ? strtoull(wanted, NULL, 10) : DEFAULT_MUTANTS, n_legal = 0;
    for (size_t i = 0; i < n_mutants; i++) {
        uint64_t r = i * 0x2545f4914f6cdd1dU;
        const SourceFile *f = &c->sources.file[c->file[i % c->n]];
        size_t n = f->n;
        memcpy(text, f->data, n);
        // Half of them are cut to a short piece behind `mix 1`: small texts stay legal more often, and run faster.
        if (i % 2 && n > 400) {
            size_t begin = 6 + below(&r, n - 300);
            n = splice(text, n, begin + 250, n - begin - 250, "", 0);
            n = splice(text, n, 6, begin - 6, "", 0);
        }
        for (size_t k = 1 + below(&r, 4); k > 0; k--)
            n = mutate_bytes(c, &r, text, n);
        n_legal += mix_check(text, n);
    }
    print_message("%zu of %zu mutants are legal\n", n_legal, n_mutants);
    assert_true(n_legal < n_mutants);
    arena_free(&c->arena);
    free(text);
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mutants)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
