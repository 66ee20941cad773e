// Random legal texts, written by walking the grammar, with random blanks, line breaks and comments: each is read without
// a diagnostic, and its canonical form reads back to the same tree and prints to the same bytes. Deterministic.
#include "../frontend/ast_dump.h"
#include "ast.h"
#include "grammar_expr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
// cmocka needs the headers above.
#include <cmocka.h>

enum { DEFAULT_TEXTS = 1500 };

static void bindings(Writer *w, const char *word, void (*value)(Writer *))
{
    token(w, word);
    for (size_t n = 1 + pick(w, 3); n > 0; n--) {
        name(w);
        token(w, "=");
        value(w);
        if (n > 1)
            token(w, ",");
    }
}

static void params(Writer *w, const char *word)
{
    token(w, word);
    for (size_t n = 1 + pick(w, 4); n > 0; n--) {
        name(w);
        if (chance(w, 5)) {
            token(w, ":");
            token(w, "int");
        }
        dims(w);
        if (chance(w, 2)) {
            token(w, "=");
            expr(w);
        }
        for (size_t k = chance(w, 4) ? 1 + pick(w, 2) : 0, first = 1; k > 0; k--, first = 0) {
            token(w, first ? "with" : ";");
            name(w);
            token(w, "=");
            expr(w);
        }
        if (n > 1)
            token(w, ",");
    }
}

static void body(Writer *w);

static void mode(Writer *w)
{
    static const char *const some[] = {"train", "eval", "generate"};
    token(w, some[pick(w, 3)]);
}

static void terms(Writer *w, bool pooled, bool dropless)
{
    for (size_t n = 1 + pick(w, 3); n > 0; n--) {
        if (dropless && chance(w, 3))
            token(w, "dropless ");
        else {
            expr(w);
            if (chance(w, 2)) {
                token(w, "over");
                expr(w);
            }
        }
        if (pooled && chance(w, 3))
            token(w, "pooled");
        if (!pooled && chance(w, 2)) {
            token(w, "in");
            mode(w);
        }
        if (n > 1)
            token(w, ",");
    }
}

static void clause(Writer *w)
{
    static const char *const with_value[] = {"top", "gate", "where"}, *const with_mode[] = {"sample", "noise"},
                      *const with_name[] = {"overflow", "priority"};
    switch (pick(w, 7)) {
    case 0:
        token(w, with_value[pick(w, 3)]);
        expr(w);
        break;
    case 1:
        token(w, with_mode[pick(w, 2)]);
        expr(w);
        if (chance(w, 2)) {
            token(w, "in");
            mode(w);
        }
        break;
    case 2:
        token(w, with_name[pick(w, 2)]);
        token(w, "skip");
        break;
    case 3:
        token(w, "capacity");
        terms(w, false, true);
        break;
    case 4:
        token(w, "assign");
        terms(w, false, false);
        break;
    case 5:
        token(w, "balance");
        terms(w, true, false);
        break;
    default:
        token(w, "dropless");
    }
}

static void value(Writer *w)
{
    if (w->depth > 3 || !chance(w, 5)) {
        expr(w);
        return;
    }
    bool payload = chance(w, 2), experts = !payload || chance(w, 2);
    token(w, "route");
    if (payload)
        expr(w);
    token(w, "by");
    expr(w);
    if (experts) {
        token(w, "to");
        token(w, "E");
        token(w, "experts");
    }
    token(w, "each");
    token(w, "t");
    if (payload) {
        if (chance(w, 2)) {
            token(w, ",");
            token(w, "g");
        }
        if (chance(w, 3)) {
            token(w, "over");
            name(w);
        }
        body(w);
    }
}

static void clauses_value(Writer *w)
{
    token(w, "route");
    token(w, "x");
    token(w, "by");
    token(w, "s");
    token(w, "to");
    token(w, "E");
    token(w, "experts");
    w->in_clauses = true;
    for (size_t n = pick(w, 5); n > 0; n--)
        clause(w);
    w->in_clauses = false;
    token(w, "each");
    token(w, "t");
    body(w);
}

static void statement(Writer *w)
{
    switch (pick(w, w->depth > 3 ? 9 : 12)) {
    case 0:
        axis(w);
        break;
    case 1:
        params(w, chance(w, 3) ? "state" : "param");
        break;
    case 2:
        token(w, chance(w, 3) ? "next" : chance(w, 2) ? "penalty" : "watch");
        name(w);
        token(w, "=");
        expr(w);
        break;
    case 3:
        bindings(w, "const", expr);
        break;
    case 4:
        bindings(w, "layer", post);
        break;
    case 5:
        token(w, "yield");
        value(w);
        break;
    case 6: case 7: case 8:
        text_add(w->out, "y");
        while (chance(w, 4))
            text_add(w->out, chance(w, 2) ? ", z" : " , W'");
        text_add(w->out, chance(w, 2) ? " =" : "= ");
        gap(w);
        value(w);
        break;
    case 9:
        token(w, "repeat");
        token(w, "l");
        token(w, "in");
        expr(w);
        body(w);
        break;
    default:
        token(w, "only");
        if (chance(w, 2))
            mode(w);
        else
            expr(w);
        body(w);
        if (chance(w, 2)) {
            token(w, "else");
            body(w);
        }
    }
    gap(w);
}

static void body(Writer *w)
{
    token(w, "{");
    w->depth++;
    for (size_t n = pick(w, w->depth > 2 ? 3 : 6); n > 0; n--)
        statement(w);
    w->depth--;
    token(w, "}");
}

static void formals(Writer *w, size_t least)
{
    for (size_t n = least + pick(w, 3); n > 0; n--) {
        name(w);
        token(w, ":");
        type(w);
        if (n > 1)
            token(w, ",");
    }
}

static void layer(Writer *w, bool is_model)
{
    token(w, is_model ? "model" : "layer");
    name(w);
    if (chance(w, 3)) {
        token(w, "[");
        for (size_t n = 1 + pick(w, 3); n > 0; n--) {
            bool is_layer = chance(w, 6);
            if (is_layer)
                token(w, "layer");
            name(w);
            if (!is_layer && chance(w, 3)) {
                token(w, "=");
                expr(w);
            }
            if (n > 1)
                token(w, ",");
        }
        token(w, "]");
    }
    token(w, "(");
    formals(w, is_model);
    token(w, ")");
    token(w, "->");
    if (!is_model && chance(w, 2))
        type(w);
    else
        formals(w, 1);
    while (chance(w, 4)) {
        if (chance(w, 3)) {
            token(w, "recompute");
            continue;
        }
        token(w, "causal");
        token(w, "over");
        token(w, "T");
        if (chance(w, 2)) {
            token(w, "after");
            w->depth += 5;
            primary(w);
            w->depth -= 5;
        }
        if (chance(w, 2)) {
            token(w, "allow");
            token(w, "leak");
            token(w, "in");
            mode(w);
        }
    }
    body(w);
}

static void section(Writer *w)
{
    static const char *const word[] = {"data d", "train M on d", "generate M", "size s"};
    token(w, word[pick(w, 4)]);
    token(w, "{");
    for (size_t n = pick(w, 5); n > 0; n--) {
        text_add(w->out, n % 2 ? "loss =" : "batch = ");
        gap(w);
        expr(w);
        if (chance(w, 6)) {
            token(w, "in");
            mode(w);
        }
    }
    token(w, "}");
}

static void file(Writer *w)
{
    text_add(w->out, chance(w, 3) ? "# head\n\nmix 1\n" : "mix 1 ");
    for (size_t n = pick(w, 7); n > 0; n--) {
        switch (pick(w, 6)) {
        case 0:
            token(w, "use");
            names(w, ".");
            break;
        case 1:
            axis(w);
            break;
        case 2:
            bindings(w, "const", expr);
            break;
        case 3:
            section(w);
            break;
        case 4:
            layer(w, true);
            break;
        default:
            layer(w, false);
        }
        text_add(w->out, "\n");
    }
}

static size_t n_comments(const Ast *ast)
{
    size_t n = 0;
    for (const Comment *c = ast->comments; c; c = c->next)
        n++;
    return n;
}

static void check(uint64_t seed, bool with_clauses)
{
    Arena arena = {0};
    Sources sources = sources_make(&arena);
    Diag diag = diag_make(&arena, &sources);
    Text text = text_make(&arena), printed = text_make(&arena), again = text_make(&arena), dump = text_make(&arena),
         dump2 = text_make(&arena), messages = text_make(&arena);
    Writer w = {.out = &text, .r = seed};
    file(&w);
    if (with_clauses) {
        text_add(&text, "\nlayer Routed(x: [B]) -> [B] { yield ");
        clauses_value(&w);
        text_add(&text, "}");
    }
    Ast *ast = ast_parse(&arena, &diag, &sources, sources_add(&sources, "walk.mix", text_str(&text), text.n));
    ast_print(ast, &sources, &printed);
    Ast *second = ast_parse(&arena, &diag, &sources, sources_add(&sources, "print.mix", text_str(&printed), printed.n));
    ast_print(second, &sources, &again);
    dump_ast(&dump, ast);
    dump_ast(&dump2, second);
    if (diag.n_items > 0 || strcmp(text_str(&printed), text_str(&again)) || n_comments(ast) != n_comments(second)) {
        diag_print(&diag, &messages, false);
        print_error("seed %llu\n%s\n%s\n---- printed\n%s---- again\n%s", (unsigned long long)seed, text_str(&messages),
                    text_str(&text), text_str(&printed), text_str(&again));
    }
    assert_int_equal(diag.n_items, 0);
    assert_string_equal(text_str(&printed), text_str(&again));
    const char *a = text_str(&dump), *b = text_str(&dump2);
    size_t same = 0;
    while (a[same] && a[same] == b[same])
        same++;
    if (a[same] || b[same])
        print_error("seed %llu: the trees differ:\n%.300s\n%.300s\n", (unsigned long long)seed,
                    a + (same > 100 ? same - 100 : 0), b + (same > 100 ? same - 100 : 0));
    assert_true(!a[same] && !b[same]);
    assert_int_equal(n_comments(ast), n_comments(second));
    arena_free(&arena);
}

static void test_walk(void **state)
{
    (void)state;
    const char *wanted = getenv("MIXC_TEXTS");
    uint64_t n = wanted ? strtoull(wanted, NULL, 10) : DEFAULT_TEXTS;
    for (uint64_t i = 0; i < n; i++)
        check(i * 0x9e3779b97f4a7c15U, i % 3 == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_walk)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
