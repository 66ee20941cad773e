// Mutants of the project's models that still parse, built and put through all passes: words exchanged for other words of
// the language, numbers changed, pieces moved. A failure has a diagnostic; a success is a legal graph after every pass.
// The same mutants in every run; MIXC_MUTANTS sets how many.
#include "build.h"
#include "mutate.h"
#include "pass.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
// cmocka needs the headers above.
#include <cmocka.h>

enum { DEFAULT_MUTANTS = 1500, MAX_NODES = 1500 };

static const char *const word[] = {
    "T", "D", "B", "V", "x", "y", "T'", "D'", "B*T", "0", "1", "2", "3", "0.5", "1e30", "999999999999", "tokens", "logits",
    "LN", "Attn", "softmax", "mean", "sum", "mask", "concat", "dropout", "rope", "pooled", "index", "cross_entropy",
    "index(T)", "index(T') <= index(T)", ".rename(T -> T')", ".split(D -> H*K)", ".merge(H*K -> D)", "zeros", "normal(2)",
    "orthogonal", "over=T", "where=x", "axis Q = 3", "param W[D]", "state s[D]", "penalty p = 1", "repeat l in 2 { x = x }",
    "only train { y = x }", "tied over l", "causal over T", "in 1..4", "[..,D]", "x[T = 0]", "x[T = 0..2 -> D]", "@[D]",
};

// One word of the text becomes another.
static size_t exchange_word(uint64_t *r, char *text, size_t n)
{
    size_t at = 6 + below(r, n - 6), end;
    while (at < n && !isalnum((unsigned char)text[at]))
        at++;
    for (end = at; end < n && (isalnum((unsigned char)text[end]) || text[end] == '\'' || text[end] == '_'); end++)
        ;
    const char *to = word[below(r, sizeof word / sizeof *word)];
    return splice(text, n, at, end - at, to, strlen(to));
}

static void fail_with(const char *what, const char *text, size_t n, Diag *diag)
{
    Text t = text_make(diag->arena);
    diag_print(diag, &t, false);
    print_message("%s\n%s\n%.*s\n", what, text_str(&t), (int)n, text);
    fail();
}

static bool run_passes(Arena *arena, Diag *diag, const Module *m, bool train)
{
    const Target target = {.name = "cpu", .vector_floats = 16, .vector_registers = 32, .l1_bytes = 32768,
                           .l2_bytes = 1 << 20, .threads = 2};
    PassContext context = {.arena = arena, .diag = diag, .target = &target, .train = train};
    const PassHooks hooks = {.verify = true};
    return passes_run(&context, m, NULL, 0, &hooks) != NULL;
}

// True when it built.
static bool check_mutant(uint64_t *r, const char *text, size_t n)
{
    Arena arena = {0};
    Sources sources = sources_make(&arena);
    Diag diag = diag_make(&arena, &sources);
    Ast *ast = ast_parse(&arena, &diag, &sources, sources_add(&sources, "mutant.mix", text, n));
    BuildOptions options = {.mode = (ModeName)below(r, MODE_COUNT), .with_loss = below(r, 2), .check_only = below(r, 2),
                            .count_only = below(r, 4) == 0};
    Module *m = NULL;
    if (diag.n_errors == 0) {
        m = build_module(&arena, &diag, &sources, ast, &options);
        if (!m && diag.n_errors == 0)
            fail_with("failure without a diagnostic", text, n, &diag);
    }
    if (m && !options.count_only) {
        Graph *g = module_graph(m, "main");
        if (!graph_verify(g, &diag) || !graph_verify(module_graph(m, "init"), &diag))
            fail_with("an illegal graph", text, n, &diag);
        bool train = options.mode == MODE_TRAIN && m->has_train && graph_find_output(g, OUTPUT_LOSS, "train");
        if (g->n_nodes < MAX_NODES && !run_passes(&arena, &diag, m, train) && diag.n_errors == 0)
            fail_with("a pass failed without a diagnostic", text, n, &diag);
    }
    arena_free(&arena);
    return m != NULL;
}

static void mutants_build_or_say_why_not(void **state)
{
    (void)state;
    Corpus *c = calloc(1, sizeof *c);
    char *text = malloc(MAX_BYTES + 256);
    assert_true(c && text);
    corpus_add(c, MIXC_TESTS "/../models/*.mix");
    assert_true(c->n > 0);
    const char *wanted = getenv("MIXC_MUTANTS");
    size_t n_mutants = wanted ? strtoull(wanted, NULL, 10) : DEFAULT_MUTANTS, n_built = 0;
    for (size_t i = 0; i < n_mutants; i++) {
        uint64_t r = i * 0x9e6c63d0876a9a35U + 1;
        const SourceFile *f = &c->sources.file[c->file[i % c->n]];
        size_t n = f->n;
        memcpy(text, f->data, n);
        for (size_t k = 1 + below(&r, 2); k > 0; k--)
            n = below(&r, 8) ? exchange_word(&r, text, n) : mutate_bytes(c, &r, text, n);
        n_built += check_mutant(&r, text, n);
    }
    print_message("%zu of %zu mutants build\n", n_built, n_mutants);
    assert_true(n_built > 0 && n_built < n_mutants);
    arena_free(&c->arena);
    free(text);
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(mutants_build_or_say_why_not)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
