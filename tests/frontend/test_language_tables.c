// The tables of docs/language.md are those of the compiler: functions.def, inits.def, keys.def. With the environment
// variable MIXC_UPDATE set, the page is rewritten instead.
#include "source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the headers above.
#include <cmocka.h>

static const char page[] = MIXC_TESTS "/../docs/language.md";

// A cell of a table: `|` would end it.
static void cell(Text *out, const char *s)
{
    for (; *s; s++) {
        if (*s == '|')
            text_char(out, '\\');
        text_char(out, *s);
    }
}

static void row(Text *out, const char *name, const char *middle, const char *summary)
{
    text_printf(out, "| `%s` | ", name);
    cell(out, middle);
    text_add(out, *middle ? " | " : "| ");
    cell(out, summary);
    text_add(out, " |\n");
}

static void functions(Text *out)
{
    text_add(out, "| function | named arguments | |\n|---|---|---|\n");
    static const struct { const char *name, *named, *summary; } table[] = {
#define FUNCTION(name, min, max, named, build, act, summary) {name, named, summary},
#include "functions.def"
#undef FUNCTION
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        Text named = text_make(out->arena);
        for (const char *s = table[i].named; *s;) {
            size_t n = strcspn(s, " ");
            if (n)
                text_printf(&named, "%s`%.*s`", named.n ? " " : "", (int)n, s);
            s += n + (s[n] != 0);
        }
        row(out, table[i].name, text_str(&named), table[i].summary);
    }
}

static void initialisers(Text *out)
{
    text_add(out, "| initialiser | |\n|---|---|\n");
    static const struct { const char *name, *summary; } table[] = {
#define INIT(name, min, max, named, build, summary) {name, summary},
#include "inits.def"
#undef INIT
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        text_printf(out, "| `%s` | ", table[i].name);
        cell(out, table[i].summary);
        text_add(out, " |\n");
    }
}

static void train_options(Text *out)
{
    static const struct { const char *call, *name, *summary; } choice[] = {
#define OPTIMIZER(name, kind, summary) {"optimizer", name, summary},
#define SCHEDULE(name, kind, summary) {"schedule", name, summary},
#include "keys.def"
    };
    static const struct { const char *call, *name; double fallback; const char *summary; } option[] = {
#define OPTION(call, name, field, fallback, summary) {call, name, fallback, summary},
#include "keys.def"
    };
    text_add(out, "| key | value | |\n|---|---|---|\n");
    for (size_t i = 0; i < sizeof choice / sizeof *choice; i++)
        text_printf(out, "| `%s` | `%s(..)` | %s |\n", choice[i].call, choice[i].name, choice[i].summary);
    text_add(out, "\n| option | of | default | |\n|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof option / sizeof *option; i++)
        text_printf(out, "| `%s` | %s | %g | %s |\n", option[i].name, *option[i].call ? option[i].call : "train",
                    option[i].fallback, option[i].summary);
}

// Copies the page with the part between `<!-- NAME -->` and `<!-- end -->` replaced.
static void replace(Text *out, const char *text, const char *name, void (*write)(Text *))
{
    const char *mark = arena_printf(out->arena, "<!-- %s -->\n", name);
    const char *begin = strstr(text, mark);
    assert_non_null(begin);
    begin += strlen(mark);
    const char *end = strstr(begin, "<!-- end -->");
    assert_non_null(end);
    text_add_n(out, text, (size_t)(begin - text));
    text_char(out, '\n');
    write(out);
    text_char(out, '\n');
    text_add(out, end);
}

static void test_tables(void **state)
{
    (void)state;
    Arena arena = {0};
    Sources sources = sources_make(&arena);
    uint32_t file = sources_read(&sources, page);
    assert_true(file != 0);
    const char *text = sources.file[file].data;
    static const struct { const char *name; void (*write)(Text *); } part[] = {
        {"functions", functions}, {"initialisers", initialisers}, {"train options", train_options},
    };
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        Text out = text_make(&arena);
        replace(&out, text, part[i].name, part[i].write);
        text = text_str(&out);
    }
    if (getenv("MIXC_UPDATE")) {
        FILE *f = fopen(page, "wb");
        assert_non_null(f);
        fputs(text, f);
        assert_int_equal(fclose(f), 0);
    } else
        assert_string_equal(sources.file[file].data, text);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tables)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
