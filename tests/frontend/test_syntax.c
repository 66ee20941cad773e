// Parsing and printing: every model reads without a diagnostic; what is printed reads back to the same tree and prints
// to the same bytes; comments survive; spans are exact; hostile text makes a message, never a crash.
#include "ast.h"
#include "ast_dump.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
// cmocka needs the four headers above.
#include <cmocka.h>

typedef struct Parsed {
    Arena   arena;
    Sources sources;
    Diag    diag;
    Ast    *ast;
} Parsed;

static void parse_n(Parsed *p, const char *text, size_t n)
{
    memset(p, 0, sizeof *p);
    p->sources = sources_make(&p->arena);
    p->diag = diag_make(&p->arena, &p->sources);
    p->ast = ast_parse(&p->arena, &p->diag, &p->sources, sources_add(&p->sources, "t.mix", text, n));
    assert_non_null(p->ast);
}

static void parse(Parsed *p, const char *text)
{
    parse_n(p, text, strlen(text));
}

static void parse_clean(Parsed *p, const char *text)
{
    parse(p, text);
    if (p->diag.n_items > 0) {
        Text out = text_make(&p->arena);
        diag_print(&p->diag, &out, false);
        print_error("%s", text_str(&out));
    }
    assert_int_equal(p->diag.n_items, 0);
}

// Prints, reads that back, and compares trees and bytes. Returns the printed text (in p's arena).
static const char *check_round_trip(Parsed *p)
{
    Text printed = text_make(&p->arena), dump = text_make(&p->arena), dump2 = text_make(&p->arena);
    ast_print(p->ast, &p->sources, &printed);
    dump_ast(&dump, p->ast);
    Parsed again;
    parse_clean(&again, text_str(&printed));
    dump_ast(&dump2, again.ast);
    assert_string_equal(text_str(&dump), text_str(&dump2));
    Text printed2 = text_make(&again.arena);
    ast_print(again.ast, &again.sources, &printed2);
    assert_string_equal(text_str(&printed), text_str(&printed2));
    size_t n = 0, n2 = 0;
    for (const Comment *c = p->ast->comments; c; c = c->next)
        n++;
    for (const Comment *c = again.ast->comments; c; c = c->next)
        n2++;
    assert_int_equal(n, n2);
    arena_free(&again.arena);
    return text_str(&printed);
}

// `canonical`: the files are printed as they are.
static void round_trip_files(const char *pattern, size_t least, bool canonical)
{
    glob_t found;
    memset(&found, 0, sizeof found);
    if (glob(pattern, 0, NULL, &found) != 0)
        assert_int_equal(least, 0);
    assert_true(found.gl_pathc >= least);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        Parsed p = {0};
        p.sources = sources_make(&p.arena);
        p.diag = diag_make(&p.arena, &p.sources);
        uint32_t file = sources_read(&p.sources, found.gl_pathv[i]);
        assert_true(file != 0);
        p.ast = ast_parse(&p.arena, &p.diag, &p.sources, file);
        if (p.diag.n_items > 0)
            print_error("%s: %s\n", found.gl_pathv[i], p.diag.item[0].message);
        assert_int_equal(p.diag.n_items, 0);
        const char *printed = check_round_trip(&p);
        if (canonical)
            assert_string_equal(p.sources.file[file].data, printed);
        arena_free(&p.arena);
    }
    globfree(&found);
}

static void test_models_round_trip(void **state)
{
    (void)state;
    round_trip_files(MIXC_TESTS "/../frontend/std/*.mix", 2, true);
    round_trip_files(MIXC_TESTS "/../models/*.mix", 0, true);
    round_trip_files(MIXC_TESTS "/frontend/syntax/*.mix", 1, false);
    round_trip_files(MIXC_SHARED "/design/models/*.mix", 0, false);
    round_trip_files(MIXC_SHARED "/design/models/std/*.mix", 0, false);
}

// tests/frontend/syntax/NAME.mix prints as NAME.fmt.
static void test_print_golden(void **state)
{
    (void)state;
    Parsed p = {0};
    p.sources = sources_make(&p.arena);
    p.diag = diag_make(&p.arena, &p.sources);
    uint32_t file = sources_read(&p.sources, MIXC_TESTS "/frontend/syntax/everything.mix");
    uint32_t golden = sources_read(&p.sources, MIXC_TESTS "/frontend/syntax/everything.fmt");
    assert_true(file != 0 && golden != 0);
    p.ast = ast_parse(&p.arena, &p.diag, &p.sources, file);
    assert_string_equal(check_round_trip(&p), p.sources.file[golden].data);
    arena_free(&p.arena);
}

static void test_precedence(void **state)
{
    (void)state;
    static const struct { const char *text, *same; } pair[] = {
        {"a+b*c", "a+(b*c)"},         {"a*b @[W] V", "a*(b @[W] V)"},     {"-a^2", "-(a^2)"},
        {"a^b^c", "a^(b^c)"},         {"a-b-c", "(a-b)-c"},               {"a<b+c", "a<(b+c)"},
        {"-a @[D] b", "(-a) @[D] b"}, {"a @[D] b @[F] c", "(a @[D] b) @[F] c"}, {"a/b*c", "(a/b)*c"},
        {"-x.y", "-(x.y)"},           {"a%b+c", "(a%b)+c"},               {"x @[D] f(y)[T = 0]", "x @[D] (f(y)[T = 0])"},
    };
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++) {
        Text dump[2];
        Parsed p[2];
        for (int k = 0; k < 2; k++) {
            char text[200];
            snprintf(text, sizeof text, "mix 1\nconst q = %s\n", k ? pair[i].same : pair[i].text);
            parse_clean(&p[k], text);
            dump[k] = text_make(&p[k].arena);
            dump_ast(&dump[k], p[k].ast);
        }
        char *without = arena_strdup(&p[1].arena, text_str(&dump[1])), *to = without;
        for (const char *s = text_str(&dump[1]); *s; s++) {
            *to++ = *s;
            if (*s >= '0' && *s <= '9' && s[1] == 'p')      // the mark of written parentheses
                s++;
        }
        *to = 0;
        assert_string_equal(text_str(&dump[0]), without);
        arena_free(&p[0].arena);
        arena_free(&p[1].arena);
    }
}

static void test_spans(void **state)
{
    (void)state;
    const char *text = "mix 1\nlayer L(x: [D]) -> [D] {\n  y = (x @[D, F] W2).rename(D -> D')\n  yield y }\n";
    Parsed p;
    parse_clean(&p, text);
    const Stmt *s = p.ast->items->layer->body;
    const Expr *call = s->rhs.expr, *contract = call->a->a;
    assert_int_equal(call->kind, EXPR_CALL);
    assert_memory_equal(text + call->at.begin, "(x @[D, F] W2).rename(D -> D')\n", 31);
    assert_int_equal(call->at.end - call->at.begin, 30);
    assert_memory_equal(text + call->op_at.begin, "rename(", 7);
    assert_int_equal(call->op_at.end - call->op_at.begin, 6);
    assert_int_equal(contract->kind, EXPR_CONTRACT);
    assert_true(contract->parens);
    assert_memory_equal(text + contract->at.begin, "(x", 2);
    assert_memory_equal(text + contract->op_at.begin, "@[D, F]", 7);
    assert_int_equal(contract->op_at.end - contract->op_at.begin, 7);
    assert_memory_equal(text + contract->axes->next->at.begin, "F]", 2);
    assert_memory_equal(text + p.ast->items->layer->at.begin, "layer L(x: [D]) -> [D]", 22);
    assert_int_equal(p.ast->items->layer->at.end - p.ast->items->layer->at.begin, 22);
    assert_int_equal(text[p.ast->items->layer->body_end.begin], '}');
    arena_free(&p.arena);
}

static void test_words_are_names_elsewhere(void **state)
{
    (void)state;
    Parsed p;
    parse_clean(&p, "mix 1\n"
                    "axis top = 4, gate = 3\n"
                    "layer L(model: [D], data: [D]) -> [D] {\n"
                    "  size = fftconv(model, data, gate=top, where=noise)\n"
                    "  y = route x by s to E experts top 2 noise gaussian(sample, where=top) in train each t { yield t }\n"
                    "  top = y\n"
                    "  yield top + size\n"
                    "}\n"
                    "data d { windows = next(top) }\n");
    check_round_trip(&p);
    arena_free(&p.arena);
}

// The codes of all diagnostics, in order of place.
static const char *codes_of(Parsed *p)
{
    Text out = text_make(&p->arena);
    for (size_t i = 0; i < p->diag.n_items; i++)
        text_printf(&out, "%s%u:%s", i ? " " : "", sources_line_col(&p->sources, 1, p->diag.item[i].at.begin).line,
                    p->diag.item[i].code);
    return text_str(&out);
}

static void test_recovery_goes_on(void **state)
{
    (void)state;
    static const struct { const char *text, *codes; } each[] = {
        {"mix 1\naxis D = , E = 3\nconst N = 4 4\nlayer L(x: [D]) -> [D] {\n  y = x +\n  z = 2 y\n  yield z\n}\n"
         "model M(x: [D] -> y: [D] { y = x }\ntrain M on d { loss = y  batch = = 3 }\nuse 3\n",
         "2:E0001 3:E0013 5:E0011 6:E0013 9:E0001 10:E0001 11:E0001"},
        {"mix 1\nlayer L(x: [D]) -> [D] {\n  repeat i in 3 {\n    y = x\n  yield y\nlayer M(x: [D]) -> [D] { yield x }\n",
         "6:E0004"},
        {"mix 1\nlayer L(x: [D]) -> [D] {\n  y = f(x,\n  z = 3\n  yield y)\n}\n", "5:E0004 5:E0004"},
        {"mix 1\nlayer L(x: [D]) -> [D] {\n  y = f(x\n  z = g(y\n  yield z\n}\nconst N = 4 +\n", "4:E0004 5:E0004 7:E0011"},
        {"axis D = 3\n", "1:E0009"},
        {"mix 2\naxis D = 3\n", "1:E0017"},
        {"mix 1\nx = 3\nlayer L() -> [D] { yield 3 }\n}\nconst N = )\n", "2:E0001 4:E0004 5:E0004 5:E0011"},
        {"mix 1\nlayer L() -> [D] {\n  only a = 1 { b = 2 2 }\n  only a == 1 { b = 2 2 } else { c = }\n}\n",
         "3:E0015 4:E0013 4:E0011"},
        {"mix 1\nlayer L(x: [D]) -> [D] {\n  state s[D]\n  y = x +\n  next s = y\n  yield y\n}\n", "4:E0011"},
    };
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        Parsed p;
        parse(&p, each[i].text);
        assert_string_equal(codes_of(&p), each[i].codes);
        arena_free(&p.arena);
    }
}

static char *repeated(const char *head, const char *part, size_t n, const char *tail)
{
    char *text = malloc(strlen(head) + n * strlen(part) + strlen(tail) + 1), *s = text;
    assert_non_null(text);
    s = stpcpy(s, head);
    for (size_t i = 0; i < n; i++)
        s = stpcpy(s, part);
    stpcpy(s, tail);
    return text;
}

static void test_depth_is_bounded(void **state)
{
    (void)state;
    static const struct { const char *head, *part; size_t n; const char *tail; } each[] = {
        {"mix 1\nconst N = ", "(", 100000, "1"},
        {"mix 1\nconst N = ", "-", 100000, "1"},
        {"mix 1\nconst N = 1", " + 1", 100000, ""},
        {"mix 1\nconst N = 1", " ^ 1", 100000, ""},
        {"mix 1\nconst N = x", ".f(1)", 50000, ""},
        {"mix 1\nconst N = x", "[T = x", 50000, ""},
        {"mix 1\nlayer L() -> [D] {", " repeat i in 3 {", 50000, ""},
        {"mix 1\nlayer L() -> [D] {", " only train { } else {", 30000, ""},
        {"mix 1\nlayer L() -> [D] {", " y = route x by s each t {", 20000, ""},
        {"mix 1\nconst N = f(", "a -> f(", 50000, ""},
        {"mix 1\nconst N = x", " @[D] (x", 50000, ""},
        {"mix 1\n", "}", 100000, ""},
        {"mix 1\n", "{", 100000, ""},
    };
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        char *text = repeated(each[i].head, each[i].part, each[i].n, each[i].tail);
        Parsed p;
        parse(&p, text);
        assert_true(p.diag.n_errors > 0 && p.diag.n_errors <= 20);
        arena_free(&p.arena);
        free(text);
    }
}

static void test_huge_tokens(void **state)
{
    (void)state;
    static const struct { const char *head, *part; size_t n; const char *tail; bool fine; } each[] = {
        {"mix 1\nconst ", "a", 1000000, " = 1\n", false},
        {"mix 1\nconst a = ", "9", 1000000, "\n", false},
        {"mix 1\nconst a = 0.", "0", 1000000, "1\n", true},
        {"mix 1\nconst a = \"", "s", 1000000, "\"\n", true},
        {"mix 1\nconst a = \"", "s", 1000000, "\n", false},
        {"mix 1\n#", "c", 1000000, "\n", true},
        {"mix 1\nconst a = 1", "e", 1000000, "\n", false},
        {"mix 1\nconst a = T", "'", 1000000, "\n", false},
        {"mix 1\nconst a = 1 ", "@", 1000000, "\n", false},
        {"mix 1\n", "\n", 1040000, "", true},
        {"mix 1\n#", "c", 1200000, "\n", false},
    };
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        char *text = repeated(each[i].head, each[i].part, each[i].n, each[i].tail);
        Parsed p;
        parse(&p, text);
        assert_int_equal(p.diag.n_errors == 0, each[i].fine);
        arena_free(&p.arena);
        free(text);
    }
}

// Half a megabyte of one list: looking ahead, appending and breaking lines must not be quadratic (that took minutes).
static void test_long_lists(void **state)
{
    (void)state;
    static const struct { const char *head, *part; size_t n; const char *tail; } each[] = {
        {"mix 1\nconst a = f(x", ",x", 250000, ")\n"},
        {"mix 1\naxis a", ",a", 250000, "\n"},
        {"mix 1\nconst a = x[", "a,", 250000, "a]\n"},
        {"mix 1\nlayer L() -> [D] {", "a=1 ", 120000, "}\n"},
        {"mix 1\ndata d {", "a=b ", 120000, "}\n"},
        {"mix 1\n", "#\n", 250000, ""},
    };
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        char *text = repeated(each[i].head, each[i].part, each[i].n, each[i].tail);
        clock_t begin = clock();
        Parsed p;
        parse_clean(&p, text);
        Text out = text_make(&p.arena);
        ast_print(p.ast, &p.sources, &out);
        assert_true((double)(clock() - begin) / CLOCKS_PER_SEC < 10);
        arena_free(&p.arena);
        free(text);
    }
}

static void test_bytes_that_are_not_text(void **state)
{
    (void)state;
    static const struct { const char *text; size_t n; } each[] = {
        {"mix 1\nconst\0N = 3\n", 17}, {"mix 1\n# \xff\n", 10},     {"mix 1\n\"\xc0\x80\"", 10},
        {"\xed\xa0\x80", 3},           {"mix 1\n\xf4\x90\x80\x80", 10}, {"mix 1 \xe2\x82", 8},
    };
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        Parsed p;
        parse_n(&p, each[i].text, each[i].n);
        assert_int_equal(p.diag.n_errors, 1);
        assert_string_equal(p.diag.item[0].code, "E0003");
        arena_free(&p.arena);
    }
    Parsed p;                               // a byte order mark and carriage returns are fine
    parse_clean(&p, "\xef\xbb\xbfmix 1\r\nconst N = 3 # \xc3\xa9\r\n");
    assert_string_equal(check_round_trip(&p), "mix 1\nconst N = 3  # \xc3\xa9\n");
    arena_free(&p.arena);
}

static void test_empty(void **state)
{
    (void)state;
    Parsed p;
    parse(&p, "");
    assert_string_equal(codes_of(&p), "1:E0009");
    arena_free(&p.arena);
    parse_clean(&p, "# only a comment\nmix 1");
    assert_string_equal(check_round_trip(&p), "# only a comment\nmix 1\n");
    arena_free(&p.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models_round_trip),
        cmocka_unit_test(test_print_golden),
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_spans),
        cmocka_unit_test(test_words_are_names_elsewhere),
        cmocka_unit_test(test_recovery_goes_on),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_huge_tokens),
        cmocka_unit_test(test_long_lists),
        cmocka_unit_test(test_bytes_that_are_not_text),
        cmocka_unit_test(test_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
