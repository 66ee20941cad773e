// Mutants of the project's own models: bytes flipped, pieces deleted, doubled, moved between files, tokens swapped for
// others. Deterministic: the same mutants in every run, chosen by a counter-based generator. MIXC_MUTANTS sets how many.
#include "mix_check.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka needs the headers above.
#include <cmocka.h>

enum { MAX_FILES = 64, MAX_BYTES = 1 << 16, DEFAULT_MUTANTS = 20000 };

typedef struct Corpus {
    Arena       arena;
    Sources     sources;
    uint32_t    file[MAX_FILES];
    size_t      n;
} Corpus;

static uint64_t random_at(uint64_t *counter)            // splitmix64
{
    uint64_t z = (*counter += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static void add_files(Corpus *c, const char *pattern)
{
    glob_t found;
    memset(&found, 0, sizeof found);
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc && c->n < MAX_FILES; i++) {
            uint32_t file = sources_read(&c->sources, found.gl_pathv[i]);
            if (file != 0 && c->sources.file[file].n < MAX_BYTES / 4)
                c->file[c->n++] = file;
        }
    globfree(&found);
}

static size_t below(uint64_t *r, size_t n)
{
    return n ? (size_t)(random_at(r) % n) : 0;
}

// Replaces `old` bytes at `at` by `with`. Keeps the text below MAX_BYTES.
static size_t splice(char *text, size_t n, size_t at, size_t old, const char *with, size_t n_with)
{
    if (at + old > n || n - old + n_with > MAX_BYTES)
        return n;
    memmove(text + at + n_with, text + at + old, n - at - old);
    memcpy(text + at, with, n_with);
    return n - old + n_with;
}

static const char *const token[] = {
    "(", ")", "[", "]", "{", "}", "@[", "->", "..", "<=", "==", "=", ",", ";", ".", ":", "+", "-", "*", "/", "%", "^",
    " axis ", " const ", " layer ", " model ", " data ", " train ", " generate ", " size ", " on ", " twin ", " param ",
    " state ", " next ", " yield ", " penalty ", " watch ", " repeat ", " in ", " only ", " else ", " with ", " route ",
    " by ", " to ", " experts ", " each ", " over ", " tied ", " recompute ", " causal ", " after ", " allow ", " leak ",
    " top ", " capacity ", " dropless ", " pooled ", " mix 1 ", " use ", " T' ", " 1e-5 ", " \"s\" ", "\"", "#", "\n",
    "\xff", "\xe2\x88\x92", "'", "@", "1e999", " eval ",
};

static size_t mutate(const Corpus *c, uint64_t *r, char *text, size_t n)
{
    size_t at = below(r, n + 1), length = 1 + below(r, 24);
    if (at + length > n)
        length = n - at;
    const SourceFile *other = &c->sources.file[c->file[below(r, c->n)]];
    size_t from = below(r, other->n), copied = 1 + below(r, 200);
    if (from + copied > other->n)
        copied = other->n - from;
    const char *t = token[below(r, sizeof token / sizeof *token)];
    char byte = (char)random_at(r), piece[24];
    switch (random_at(r) % 7) {
    case 0:
        return splice(text, n, at, n > at, &byte, 1);
    case 1:
        return splice(text, n, at, length, "", 0);
    case 2:
        memcpy(piece, text + at, length);
        return splice(text, n, below(r, n + 1), 0, piece, length);
    case 3:
        return splice(text, n, at, length, other->data + from, copied);
    case 4:
        return splice(text, n, at, 0, t, strlen(t));
    case 5:
        return splice(text, n, at, length, t, strlen(t));
    default:
        return at;                          // cut off
    }
}

static void test_mutants(void **state)
{
    (void)state;
    Corpus *c = calloc(1, sizeof *c);
    char *text = malloc(MAX_BYTES + 256);
    assert_true(c && text);
    c->sources = sources_make(&c->arena);
    add_files(c, MIXC_TESTS "/../frontend/std/*.mix");
    add_files(c, MIXC_TESTS "/../models/*.mix");
    add_files(c, MIXC_TESTS "/frontend/syntax/*.mix");
    add_files(c, MIXC_TESTS "/fuzz/corpus_mix/*");
    assert_true(c->n > 0);
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
            n = mutate(c, &r, text, n);
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
