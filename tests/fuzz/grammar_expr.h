// Random legal Mix: the writer, and everything below statements: blanks, names, numbers, expressions, types, axes. The rest
// of the grammar is in test_grammar_walk.c.
#ifndef MIXC_GRAMMAR_EXPR_H
#define MIXC_GRAMMAR_EXPR_H

#include "mutate.h"
#include "text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MOST_COMMENTS = 12 };

typedef struct Writer {
    Text     *out;
    uint64_t  r;
    int       depth;                        // of what is being written: deep parts become short
    int       n_comments;
    bool      in_clauses;                   // the words of clauses are no names
} Writer;

static size_t pick(Writer *w, size_t n)
{
    return below(&w->r, n);
}

static bool chance(Writer *w, size_t one_in)
{
    return pick(w, one_in) == 0;
}

// Something between two tokens: mostly one blank.
static void gap(Writer *w)
{
    size_t k = pick(w, 40);
    if (k == 0 && w->n_comments < MOST_COMMENTS) {
        text_printf(w->out, "  # c%d {(\"\n", w->n_comments++);
    } else if (k == 1)
        text_add(w->out, "\n");
    else if (k == 2)
        text_add(w->out, "\n\n  \t");
    else
        text_add(w->out, " ");
}

static void token(Writer *w, const char *s)
{
    text_add(w->out, s);
    gap(w);
}

static void name(Writer *w)
{
    static const char *const some[] = {"x", "y", "T", "T'", "D''", "W_1", "experts_", "nextx", "E", "eval", "a0",
                                       "long_name_of_something", "top", "gate", "noise", "capacity", "where"};
    token(w, some[pick(w, sizeof some / sizeof *some - (w->in_clauses ? 5 : 0))]);
}

static void number(Writer *w)
{
    static const char *const some[] = {"0", "1", "0.5", "1e-5", "2.5E3", "42", "1000000"};
    token(w, some[pick(w, sizeof some / sizeof *some)]);
}

static void expr(Writer *w);
static void post(Writer *w);

static void names(Writer *w, const char *separator)
{
    name(w);
    while (chance(w, 3)) {
        token(w, separator);
        name(w);
    }
}

static void args(Writer *w, bool at_least_one)
{
    for (size_t n = pick(w, 4) + at_least_one; n > 0; n--) {
        switch (pick(w, 7)) {
        case 0:
            name(w);
            token(w, "=");
            expr(w);
            break;
        case 1:
            expr(w);
            token(w, "->");
            expr(w);
            break;
        case 2:
            token(w, "over");
            token(w, "=");
            if (chance(w, 2))
                token(w, "..");
            else
                expr(w);
            break;
        case 3:
            token(w, "train");
            token(w, "=");
            expr(w);
            break;
        default:
            expr(w);
        }
        if (n > 1)
            token(w, ",");
    }
}

static void selectors(Writer *w)
{
    for (size_t n = 1 + pick(w, 3); n > 0; n--) {
        size_t kind = pick(w, 3);
        if (kind > 0) {
            name(w);
            token(w, "=");
        }
        expr(w);
        if (kind == 2) {
            token(w, "..");
            expr(w);
            token(w, "->");
            name(w);
        }
        if (n > 1)
            token(w, ",");
    }
}

static void primary(Writer *w)
{
    switch (w->depth > 4 ? 0 : pick(w, 6)) {
    case 1:
        number(w);
        break;
    case 2:
        token(w, "\"a \\\"b\\\\ \\n\\t\"");
        break;
    case 3:
        token(w, "(");
        expr(w);
        if (chance(w, 4)) {
            token(w, ",");
            args(w, true);
        }
        token(w, ")");
        break;
    default:
        name(w);
    }
}

static void post(Writer *w)
{
    w->depth++;
    primary(w);
    while (w->depth < 6 && chance(w, 3))
        switch (pick(w, 3)) {
        case 0:
            token(w, ".");
            name(w);
            break;
        case 1:
            token(w, "[");
            selectors(w);
            token(w, "]");
            break;
        default:
            token(w, "(");
            args(w, false);
            token(w, ")");
            if (chance(w, 8)) {
                token(w, "tied");
                token(w, "over");
                name(w);
            }
            if (chance(w, 12))
                token(w, "recompute");
        }
    w->depth--;
}

// An operand of a comparison: without another comparison beside it, because they do not chain.
static void sum(Writer *w)
{
    static const char *const operator[] = {"+", "-", "*", "/", "%", "^"};
    w->depth++;
    if (chance(w, 6))
        token(w, "-");
    post(w);
    while (w->depth < 6 && chance(w, 2)) {
        if (chance(w, 4)) {
            token(w, "@[");
            names(w, ",");
            token(w, "]");
            post(w);
            continue;
        }
        token(w, operator[pick(w, sizeof operator / sizeof *operator)]);
        if (chance(w, 8))
            token(w, "-");
        post(w);
    }
    w->depth--;
}

static void expr(Writer *w)
{
    static const char *const comparison[] = {"<", "<=", ">", ">=", "==", "!="};
    sum(w);
    if (chance(w, 10)) {
        token(w, comparison[pick(w, sizeof comparison / sizeof *comparison)]);
        sum(w);
    }
}

static void dims(Writer *w)
{
    token(w, "[");
    for (size_t n = pick(w, 4); n > 0; n--) {
        if (chance(w, 6))
            token(w, "..");
        else
            name(w);
        if (n > 1)
            token(w, ",");
    }
    token(w, "]");
}

static void type(Writer *w)
{
    if (chance(w, 3))
        token(w, "int");
    dims(w);
}

static void axis(Writer *w)
{
    token(w, "axis");
    for (size_t n = 1 + pick(w, 4); n > 0; n--) {
        name(w);
        if (chance(w, 3)) {
            token(w, ":");
            token(w, "batch");
        }
        switch (pick(w, 4)) {
        case 0:
            token(w, "=");
            expr(w);
            break;
        case 1:
            token(w, "in");
            expr(w);
            token(w, "..");
            expr(w);
            break;
        case 2:
            token(w, "twin");
            name(w);
            break;
        default:
            break;
        }
        if (n > 1)
            token(w, ",");
    }
}

#endif
