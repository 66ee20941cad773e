// check --fix: edits are made where they do not touch each other; running it again finishes the rest.
#include "ast.h"
#include "fix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
// cmocka needs the headers above.
#include <cmocka.h>

static void test_edits(void **state)
{
    (void)state;
    Arena arena = {0};
    Sources sources = sources_make(&arena);
    uint32_t file = sources_add(&sources, "m.mix", "abcdef\n", 7);
    Diag diag = diag_make(&arena, &sources);
    diag_error(&diag, (Span){file, 4, 5}, "E0001", "second");
    diag_help_edit(&diag, (Span){file, 4, 5}, "EE", "x");
    diag_error(&diag, (Span){file, 0, 2}, "E0001", "first");
    diag_help_edit(&diag, (Span){file, 0, 2}, "", "x");
    diag_error(&diag, (Span){file, 1, 3}, "E0001", "overlaps the first");
    diag_help_edit(&diag, (Span){file, 1, 3}, "XXX", "x");
    diag_error(&diag, (Span){file, 6, 6}, "E0001", "insertion");
    diag_help_edit(&diag, (Span){file, 6, 6}, "!", "x");
    diag_error(&diag, (Span){file, 6, 6}, "E0001", "the same again");
    diag_help_edit(&diag, (Span){file, 6, 6}, "!", "x");
    diag_error(&diag, (Span){file, 5, 6}, "E0001", "no edit");
    diag_help(&diag, "x");
    diag_error(&diag, (Span){0}, "E0001", "no place");
    diag_help_edit(&diag, (Span){0}, "!", "x");
    Text out = text_make(&arena);
    assert_int_equal(fix_apply(&diag, file, &out), 3);
    assert_string_equal(text_str(&out), "cdEEf!\n");
    arena_free(&arena);
}

static void test_syntax_is_repaired(void **state)
{
    (void)state;
    Arena arena = {0};
    Sources sources = sources_make(&arena);
    const char *text = "axis D = 8\nconst a = .5, b = 2\303\2273\nlayer L(x: [D]) -> [D] {\n"
                       "  repeat l in 2 { only l = 1 { x = x \342\210\222 1 } }\n  yield x\n}\ndata d { source = \"a\n}\n";
    for (int round = 0; round < 3; round++) {
        Diag diag = diag_make(&arena, &sources);
        uint32_t file = sources_add(&sources, "m.mix", text, strlen(text));
        ast_parse(&arena, &diag, &sources, file);
        Text out = text_make(&arena);
        if (fix_apply(&diag, file, &out) == 0)
            assert_int_equal(diag.n_errors, 0);
        text = text_str(&out);
    }
    assert_string_equal(text, "mix 1\naxis D = 8\nconst a = 0.5, b = 2*3\nlayer L(x: [D]) -> [D] {\n"
                              "  repeat l in 2 { only l == 1 { x = x - 1 } }\n  yield x\n}\ndata d { source = \"a\"\n}\n");
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edits),
        cmocka_unit_test(test_syntax_is_repaired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
