// The layout of diagnostics, byte for byte: marks, words that must not collide, tabs, wide characters, long lines,
// several lines, several files, the limit of 12 lines, colours, JSON.
#include "diag.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
// cmocka needs the four headers above.
#include <cmocka.h>

typedef struct Case {
    Arena    arena;
    Sources  sources;
    Diag     diag;
    uint32_t file;
} Case;

// A file whose text begins on line `line`; the lines before are empty.
static void setup(Case *c, const char *name, int line, const char *text)
{
    memset(c, 0, sizeof *c);
    c->sources = sources_make(&c->arena);
    Text t = text_make(&c->arena);
    for (int i = 1; i < line; i++)
        text_char(&t, '\n');
    text_add(&t, text);
    c->file = sources_add(&c->sources, name, text_str(&t), t.n);
    c->diag = diag_make(&c->arena, &c->sources);
}

// The n-th place (from 0) at which `part` stands in the file.
static Span find(const Case *c, const char *part, int n)
{
    const char *data = c->sources.file[c->file].data, *at = strstr(data, part);
    for (; n > 0 && at; n--)
        at = strstr(at + 1, part);
    assert_non_null(at);
    uint32_t begin = (uint32_t)(at - data);
    return (Span){c->file, begin, begin + (uint32_t)strlen(part)};
}

static void expect(Case *c, const char *text)
{
    Text out = text_make(&c->arena);
    diag_print(&c->diag, &out, false);
    assert_string_equal(text_str(&out), text);
    arena_free(&c->arena);
}

static void test_undeclared(void **state)
{
    (void)state;
    Case c;
    setup(&c, "gpt.mix", 7, "  param Wo[Hd,K,D]\n");
    diag_error(&c.diag, find(&c, "Hd", 0), "E0102", "no axis is called `Hd`");
    diag_label(&c.diag, find(&c, "Hd", 0), "not declared");
    diag_help(&c.diag, "`H` (6 heads, line 3) is one letter away");
    expect(&c, "gpt.mix:7:12: error[E0102]: no axis is called `Hd`\n"
               "7 |   param Wo[Hd,K,D]\n"
               "  |            ^^ not declared\n"
               "help: `H` (6 heads, line 3) is one letter away\n");
}

static void test_three_marks(void **state)
{
    (void)state;
    Case c;
    setup(&c, "gpt.mix", 3, "axis B : batch in 1..64, D = 384, H = 7, K = D/H, F = 4*D\n");
    diag_error(&c.diag, find(&c, "K = D/H", 0), "E0110", "axis `K` would have size 54.86");
    diag_label(&c.diag, find(&c, "D = 384", 0), "%s", "");
    diag_label(&c.diag, find(&c, "H = 7", 0), "%s", "");
    diag_label(&c.diag, find(&c, "K = D/H", 0), "384/7 is not whole");
    diag_help(&c.diag, "sizes of H near 7 that divide 384: 6, 8");
    expect(&c, "gpt.mix:3:42: error[E0110]: axis `K` would have size 54.86\n"
               "3 | axis B : batch in 1..64, D = 384, H = 7, K = D/H, F = 4*D\n"
               "  |                          -------  -----  ^^^^^^^ 384/7 is not whole\n"
               "help: sizes of H near 7 that divide 384: 6, 8\n");
}

static void test_operands(void **state)
{
    (void)state;
    Case c;
    setup(&c, "gpt.mix", 12, "  yield softmax(s, over=T') @[T'] v @[H,K] Wo\n");
    Span v = find(&c, " v ", 0);
    diag_error(&c.diag, (Span){c.file, find(&c, "[T']", 0).begin - 1, find(&c, "[T']", 0).begin + 3}, "E0201",
               "cannot sum over `T'`: the right side does not have it");
    diag_label(&c.diag, find(&c, "softmax(s, over=T')", 0), "[B,T,H,T']");
    diag_label(&c.diag, (Span){c.file, v.begin + 1, v.end - 1}, "[B,T,H,K]");
    diag_note(&c.diag, "`v` is made on line 10 and still counts positions by T");
    diag_help_edit(&c.diag, v, "", "give values the key positions' name:  10 |   v = (x @[D] Wv).rename(T -> T')");
    expect(&c, "gpt.mix:12:29: error[E0201]: cannot sum over `T'`: the right side does not have it\n"
               "12 |   yield softmax(s, over=T') @[T'] v @[H,K] Wo\n"
               "   |         ------------------- ^^^^  - [B,T,H,K]\n"
               "   |         [B,T,H,T']\n"
               "note: `v` is made on line 10 and still counts positions by T\n"
               "help= give values the key positions' name:  10 |   v = (x @[D] Wv).rename(T -> T')\n");
}

static void test_other_line(void **state)
{
    (void)state;
    Case c;
    setup(&c, "smlp.mix", 4,
          "layer Spatial(v: [B,T,F]) -> [B,T,F] causal over T {\n"
          "  param Ws[T,T'] = normal(0.001), bs[T] = ones\n"
          "\n"
          "\n"
          "  yield v.rename(T -> T') @[T'] Ws + bs\n");
    diag_error(&c.diag, find(&c, "@[T']", 0), "E0412",
               "`Spatial` says it is causal over T, but position 3 can see position 7");
    diag_label(&c.diag, find(&c, "causal over T", 0), "claimed here");
    diag_label(&c.diag, find(&c, "@[T']", 0), "sums over all T', with nothing that keeps T' at or before T");
    expect(&c, "smlp.mix:8:27: error[E0412]: `Spatial` says it is causal over T, but position 3 can see position 7\n"
               "4 | layer Spatial(v: [B,T,F]) -> [B,T,F] causal over T {\n"
               "  |                                      ------------- claimed here\n"
               "8 |   yield v.rename(T -> T') @[T'] Ws + bs\n"
               "  |                           ^^^^^ sums over all T', with nothing that keeps T' at or before T\n");
}

static void test_words_do_not_collide(void **state)
{
    (void)state;
    Case c;
    setup(&c, "m.mix", 1, "y = a + b + c + d\n");
    diag_error(&c.diag, find(&c, "+", 0), "E0202", "x");
    const char *const name[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++)
        diag_label(&c.diag, find(&c, name[i], 0), "[B,T,%s]", name[i]);
    expect(&c, "m.mix:1:7: error[E0202]: x\n"
               "1 | y = a + b + c + d\n"
               "  |     - ^ -   -   - [B,T,d]\n"
               "  |             [B,T,c]\n"
               "  |         [B,T,b]\n"
               "  |     [B,T,a]\n");
}

static void test_marks_inside_others(void **state)
{
    (void)state;
    Case c;
    setup(&c, "m.mix", 1, "y = f(a, bb)\n");
    diag_error(&c.diag, find(&c, "f(a, bb)", 0), "E0202", "x");
    diag_label(&c.diag, find(&c, "a", 0), "[A]");
    diag_label(&c.diag, find(&c, "bb", 0), "[B]");
    expect(&c, "m.mix:1:5: error[E0202]: x\n"
               "1 | y = f(a, bb)\n"
               "  |     ^^-^^--^\n"
               "  |          [B]\n"
               "  |       [A]\n");
}

static void test_tabs_and_wide_characters(void **state)
{
    (void)state;
    Case c;
    setup(&c, "m.mix", 1, "\tx = \"\346\274\242\345\255\227 \303\251\" q\tr\n");
    diag_error(&c.diag, find(&c, "q", 0), "E0001", "here");
    diag_label(&c.diag, find(&c, "r", 0), "there");
    expect(&c, "m.mix:1:18: error[E0001]: here\n"
               "1 |     x = \"\346\274\242\345\255\227 \303\251\" q  r\n"
               "  |                  ^  - there\n");
}

static void test_long_line(void **state)
{
    (void)state;
    Case c;
    Text t = {0};
    Arena arena = {0};
    t.arena = &arena;
    text_add(&t, "y = start");
    for (int i = 0; i < 60; i++)
        text_add(&t, " + 12345");
    text_add(&t, " + bad + ");
    for (int i = 0; i < 60; i++)
        text_add(&t, " + 12345");
    setup(&c, "m.mix", 1, text_str(&t));
    arena_free(&arena);
    diag_error(&c.diag, find(&c, "bad", 0), "E0102", "no value is called `bad`");
    Text out = text_make(&c.arena);
    diag_print(&c.diag, &out, false);
    const char *line = strchr(text_str(&out), '\n') + 1, *mark = strchr(line, '\n') + 1;
    assert_true(strcspn(line, "\n") < 124);
    assert_int_equal(strstr(line, "bad") - line, strchr(mark, '^') - mark);
    assert_memory_equal(line, "1 | ... ", 8);
    assert_memory_equal(mark - 5, " ...\n", 5);
    arena_free(&c.arena);
}

static void test_span_of_several_lines(void **state)
{
    (void)state;
    Case c;
    setup(&c, "m.mix", 1, "y = (a +\n  b)\n");
    diag_error(&c.diag, find(&c, "(a +\n  b)", 0), "E0202", "x");
    expect(&c, "m.mix:1:5: error[E0202]: x\n"
               "1 | y = (a +\n"
               "  |     ^^^^\n");
}

static void test_at_most_12_lines(void **state)
{
    (void)state;
    Case c;
    setup(&c, "m.mix", 1, "a\nb\nc\nd\ne\nf\ng\nh\n");
    diag_error(&c.diag, find(&c, "h", 0), "E0202", "x");
    for (int i = 0; i < 7; i++)
        diag_label(&c.diag, (Span){c.file, 2U * (uint32_t)i, 2U * (uint32_t)i + 1}, "label %d", i);
    diag_note(&c.diag, "a note");
    diag_help(&c.diag, "first\nsecond");
    Text out = text_make(&c.arena);
    diag_print(&c.diag, &out, false);
    int n = 0;
    for (const char *s = text_str(&out); *s; s++)
        n += *s == '\n';
    assert_true(n <= 12);
    assert_non_null(strstr(text_str(&out), "8 | h\n  | ^\n"));
    assert_non_null(strstr(text_str(&out), "note: a note\nhelp: first\nsecond\n"));
    arena_free(&c.arena);
}

static void test_without_place_and_order(void **state)
{
    (void)state;
    Case c;
    setup(&c, "m.mix", 1, "abc\n");
    diag_error(&c.diag, (Span){0}, "E0901", "no place");
    diag_warning(&c.diag, find(&c, "c", 0), NULL, "second");
    diag_error(&c.diag, find(&c, "b", 0), "E0202", "first");
    diag_error(&c.diag, find(&c, "b", 0), "E0202", "first");
    expect(&c, "m.mix:1:2: error[E0202]: first\n"
               "1 | abc\n"
               "  |  ^\n"
               "\n"
               "m.mix:1:3: warning: second\n"
               "1 | abc\n"
               "  |   ^\n"
               "\n"
               "error[E0901]: no place\n");
}

static void test_two_files(void **state)
{
    (void)state;
    Case c;
    setup(&c, "m.mix", 1, "use me\n");
    uint32_t other = sources_add(&c.sources, "std.norm", "\nlayer LN\n", 10);
    diag_error(&c.diag, find(&c, "me", 0), "E0202", "x");
    diag_label(&c.diag, (Span){other, 7, 9}, "declared here");
    expect(&c, "m.mix:1:5: error[E0202]: x\n"
               "1 | use me\n"
               "  |     ^^\n"
               "in std.norm:\n"
               "2 | layer LN\n"
               "  |       -- declared here\n");
}

static void test_end_of_file(void **state)
{
    (void)state;
    Case c;
    setup(&c, "m.mix", 1, "abc\n");
    diag_error(&c.diag, (Span){c.file, 4, 4}, "E0004", "x");
    expect(&c, "m.mix:2:1: error[E0004]: x\n"
               "2 | \n"
               "  | ^\n");
}

static void test_colour(void **state)
{
    (void)state;
    Case c;
    setup(&c, "m.mix", 1, "abc\n");
    diag_error(&c.diag, find(&c, "b", 0), "E0202", "x");
    diag_help(&c.diag, "y");
    Text out = text_make(&c.arena);
    diag_print(&c.diag, &out, true);
    assert_string_equal(text_str(&out), "\033[1mm.mix:1:2: \033[1;31merror[E0202]\033[0m: x\n"
                                        "\033[1;34m1 | \033[0mabc\n"
                                        "\033[1;34m  | \033[0m\033[0m \033[1;31m^\033[0m\n"
                                        "\033[1;32mhelp:\033[0m y\n");
    arena_free(&c.arena);
}

static void test_a_flood_is_bounded(void **state)
{
    (void)state;
    Case c;
    setup(&c, "m.mix", 1, "abc\n");
    for (int i = 0; i < 100000; i++) {
        diag_error(&c.diag, find(&c, "b", 0), "E0202", "number %d", i);
        diag_label(&c.diag, find(&c, "c", 0), "label %d", i);
        diag_help(&c.diag, "help %d", i);
    }
    assert_int_equal(c.diag.n_errors, 100000);
    assert_true(c.arena.used_bytes < 64 << 20);
    Text out = text_make(&c.arena);
    diag_print(&c.diag, &out, false);
    assert_non_null(strstr(text_str(&out), "number 49\n"));
    assert_null(strstr(text_str(&out), "number 50\n"));
    assert_non_null(strstr(text_str(&out), "help: help 49\n\nand 99950 more\n"));
    arena_free(&c.arena);
}

static void test_json(void **state)
{
    (void)state;
    Case c;
    setup(&c, "m\"\\.mix", 3, "abc\n");
    diag_error(&c.diag, find(&c, "b", 0), "E0202", "quote \" and \xff");
    diag_label(&c.diag, find(&c, "c", 0), "label");
    diag_help_edit(&c.diag, find(&c, "ab", 0), "new", "use `new`");
    diag_warning(&c.diag, (Span){0}, NULL, "no place");
    Text out = text_make(&c.arena);
    diag_print_json(&c.diag, &out);
    json_t *root = json_loads(text_str(&out), 0, NULL);
    assert_non_null(root);
    assert_int_equal(json_array_size(root), 2);
    json_t *first = json_array_get(root, 0), *second = json_array_get(root, 1);
    assert_string_equal(json_string_value(json_object_get(first, "code")), "E0202");
    assert_string_equal(json_string_value(json_object_get(first, "severity")), "error");
    assert_string_equal(json_string_value(json_object_get(first, "file")), "m\"\\.mix");
    assert_int_equal(json_integer_value(json_object_get(first, "line")), 3);
    assert_int_equal(json_integer_value(json_object_get(first, "col")), 2);
    assert_int_equal(json_integer_value(json_object_get(first, "end_col")), 3);
    json_t *label = json_array_get(json_object_get(first, "labels"), 0);
    assert_string_equal(json_string_value(json_object_get(label, "text")), "label");
    json_t *edit = json_object_get(first, "edit");
    assert_string_equal(json_string_value(json_object_get(edit, "text")), "new");
    assert_int_equal(json_integer_value(json_object_get(edit, "col")), 1);
    assert_true(json_is_null(json_object_get(second, "line")));
    assert_true(json_is_null(json_object_get(second, "code")));
    assert_true(json_is_null(json_object_get(second, "edit")));
    json_decref(root);
    arena_free(&c.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_undeclared),
        cmocka_unit_test(test_three_marks),
        cmocka_unit_test(test_operands),
        cmocka_unit_test(test_other_line),
        cmocka_unit_test(test_words_do_not_collide),
        cmocka_unit_test(test_marks_inside_others),
        cmocka_unit_test(test_tabs_and_wide_characters),
        cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_span_of_several_lines),
        cmocka_unit_test(test_at_most_12_lines),
        cmocka_unit_test(test_without_place_and_order),
        cmocka_unit_test(test_two_files),
        cmocka_unit_test(test_end_of_file),
        cmocka_unit_test(test_colour),
        cmocka_unit_test(test_a_flood_is_bounded),
        cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
