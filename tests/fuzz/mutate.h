// Deterministic mutants of .mix files: bytes flipped, pieces deleted, doubled, moved between files, tokens inserted, words
// and lines exchanged. The same counter gives the same mutant.
#ifndef MIXC_MUTATE_H
#define MIXC_MUTATE_H

#include "source.h"

#include <glob.h>
#include <string.h>

enum { MAX_FILES = 1024, MAX_BYTES = 1 << 16 };

typedef struct Corpus {
    Arena    arena;
    Sources  sources;
    uint32_t file[MAX_FILES];
    size_t   n;
} Corpus;

static inline uint64_t random_at(uint64_t *counter)     // splitmix64
{
    uint64_t z = (*counter += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static inline size_t below(uint64_t *r, size_t n)
{
    return n ? (size_t)(random_at(r) % n) : 0;
}

static inline void corpus_add(Corpus *c, const char *pattern)
{
    glob_t found;
    memset(&found, 0, sizeof found);
    if (!c->sources.arena)
        c->sources = sources_make(&c->arena);
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc && c->n < MAX_FILES; i++) {
            uint32_t file = sources_read(&c->sources, found.gl_pathv[i]);
            if (file != 0 && c->sources.file[file].n < MAX_BYTES / 4)
                c->file[c->n++] = file;
        }
    globfree(&found);
}

// Replaces `old` bytes at `at` by `with`. Keeps the text below MAX_BYTES. Returns the new length.
static inline size_t splice(char *text, size_t n, size_t at, size_t old, const char *with, size_t n_with)
{
    if (at + old > n || n - old + n_with > MAX_BYTES)
        return n;
    memmove(text + at + n_with, text + at + old, n - at - old);
    memcpy(text + at, with, n_with);
    return n - old + n_with;
}

static const char *const mutant_token[] = {
    "(", ")", "[", "]", "{", "}", "@[", "->", "..", "<=", "==", "=", ",", ";", ".", ":", "+", "-", "*", "/", "%", "^",
    " axis ", " const ", " layer ", " model ", " data ", " train ", " generate ", " size ", " on ", " twin ", " param ",
    " state ", " next ", " yield ", " penalty ", " watch ", " repeat ", " in ", " only ", " else ", " with ", " route ",
    " by ", " to ", " experts ", " each ", " over ", " tied ", " recompute ", " causal ", " after ", " allow ", " leak ",
    " top ", " capacity ", " dropless ", " pooled ", " mix 1 ", " use ", " T' ", " 1e-5 ", " \"s\" ", "\"", "#", "\n",
    "\xff", "\xe2\x88\x92", "'", "@", "1e999", " eval ",
};

static inline size_t mutate_bytes(const Corpus *c, uint64_t *r, char *text, size_t n)
{
    size_t at = below(r, n + 1), length = 1 + below(r, 24);
    if (at + length > n)
        length = n - at;
    const SourceFile *other = &c->sources.file[c->file[below(r, c->n)]];
    size_t from = below(r, other->n), copied = 1 + below(r, 200);
    if (from + copied > other->n)
        copied = other->n - from;
    const char *t = mutant_token[below(r, sizeof mutant_token / sizeof *mutant_token)];
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

static inline bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '\'' || c == '.';
}

// The word at or behind a random place: its place and length.
static inline size_t random_word(uint64_t *r, const char *text, size_t n, size_t *out_n)
{
    size_t at = below(r, n);
    while (at > 0 && is_word_char(text[at]) && is_word_char(text[at - 1]))
        at--;
    while (at < n && !is_word_char(text[at]))
        at++;
    size_t end = at;
    while (end < n && is_word_char(text[end]))
        end++;
    *out_n = end - at;
    return at;
}

static inline size_t random_line(uint64_t *r, const char *text, size_t n, size_t *out_n)
{
    size_t at = below(r, n);
    while (at > 0 && text[at - 1] != '\n')
        at--;
    size_t end = at;
    while (end < n && text[end] != '\n')
        end++;
    *out_n = end - at + (end < n);
    return at;
}

// Mutants that mostly still parse: a word replaced by another one of the file or by a number, a line deleted, doubled or
// moved.
static inline size_t mutate_words(uint64_t *r, char *text, size_t n)
{
    static const char *const number[] = {"0", "1", "2", "3", "0.5", "7", "-1", "1e-5", "65536", "4294967296", "1e18"};
    static const char *const operator[] = {"+", "-", "*", "/", "%", "^", "<=", "==", "@[D]", "@[T]", "@[T']", "@[F]"};
    char piece[400];
    size_t n_a, n_b, a = random_word(r, text, n, &n_a), b = random_word(r, text, n, &n_b);
    const char *t = number[below(r, sizeof number / sizeof *number)];
    switch (random_at(r) % 6) {
    case 0: case 1:
        if (n_b > sizeof piece)
            return n;
        memcpy(piece, text + b, n_b);
        return splice(text, n, a, n_a, piece, n_b);
    case 2:
        return splice(text, n, a, n_a, t, strlen(t));
    case 3:
        t = operator[below(r, sizeof operator / sizeof *operator)];
        for (size_t i = a; i < n; i++)
            if (strchr("+-*/", text[i]))
                return splice(text, n, i, 1, t, strlen(t));
        return n;
    case 4:
        a = random_line(r, text, n, &n_a);
        return splice(text, n, a, n_a, "", 0);
    default:
        a = random_line(r, text, n, &n_a);
        b = random_line(r, text, n, &n_b);
        if (n_a > sizeof piece)
            return n;
        memcpy(piece, text + a, n_a);
        return splice(text, n, b, 0, piece, n_a);
    }
}

#endif
