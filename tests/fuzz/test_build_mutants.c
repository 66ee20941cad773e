// Mutants of the project's models that mostly still parse, built in every mode: no crash, no hang; failure comes with a
// diagnostic and success without errors; what is built is a legal graph. MIXC_MUTANTS sets how many.
#include "build.h"
#include "mutate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
// cmocka needs the headers above.
#include <cmocka.h>

enum { DEFAULT_MUTANTS = 1500 };

static void show(const char *what, const char *text, size_t n, const Diag *diag)
{
    Text out = text_make(diag->arena);
    diag_print(diag, &out, false);
    print_error("%s\n%s\nThe text:\n%.*s\n", what, text_str(&out), (int)n, text);
}

// Builds the text; returns false after reporting what must not be.
static bool build_check(const char *text, size_t n, ModeName mode, size_t *n_built)
{
    Arena arena = {0};
    Sources sources = sources_make(&arena);
    Diag diag = diag_make(&arena, &sources);
    Ast *ast = ast_parse(&arena, &diag, &sources, sources_add(&sources, "in.mix", text, n));
    bool fine = true, has_train = false;
    for (const Item *i = ast->items; i; i = i->next)
        has_train |= i->kind == ITEM_SECTION && i->section->kind == SECTION_TRAIN;
    if (diag.n_errors == 0) {
        BuildOptions options = {.mode = mode, .with_loss = has_train && mode == MODE_TRAIN};
        Module *m = build_module(&arena, &diag, &sources, ast, &options);
        if (!m && diag.n_errors == 0)
            show("failure without a diagnostic", text, n, &diag), fine = false;
        if (m && diag.n_errors > 0)
            show("a module in spite of errors", text, n, &diag), fine = false;
        if (m && diag.n_errors == 0) {
            ++*n_built;
            for (size_t g = 0; g < m->n_graphs && fine; g++)
                fine = graph_verify(m->graph[g], &diag);
            if (!fine)
                show("an illegal graph was built", text, n, &diag);
        }
        Text out = text_make(&arena);
        diag_print(&diag, &out, false);
    }
    arena_free(&arena);
    return fine;
}

static void test_build_mutants(void **state)
{
    (void)state;
    Corpus *c = calloc(1, sizeof *c);
    char *text = malloc(MAX_BYTES + 512);
    assert_true(c && text);
    corpus_add(c, MIXC_TESTS "/../models/*.mix");
    assert_true(c->n > 0);
    const char *wanted = getenv("MIXC_MUTANTS");
    size_t n_mutants = wanted ? strtoull(wanted, NULL, 10) : DEFAULT_MUTANTS, n_built = 0;
    for (size_t i = 0; i < n_mutants; i++) {
        uint64_t r = i * 0x2545f4914f6cdd1dU + 1;
        const SourceFile *f = &c->sources.file[c->file[i % c->n]];
        size_t n = f->n;
        memcpy(text, f->data, n);
        for (size_t k = 1 + below(&r, 2); k > 0; k--)
            n = mutate_words(&r, text, n);
        clock_t begin = clock();
        assert_true(build_check(text, n, (ModeName)(i / c->n % MODE_COUNT), &n_built));
        double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
        if (seconds > 10)
            print_error("%.1f s for\n%.*s\n", seconds, (int)n, text);
        assert_true(seconds <= 10);
    }
    print_message("%zu of %zu mutants were built\n", n_built, n_mutants);
    assert_true(n_built > 0 && n_built < n_mutants);
    arena_free(&c->arena);
    free(text);
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_build_mutants)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
