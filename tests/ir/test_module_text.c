// The text of modules. Every model of models/, trained and evaluated: after every pass the module's text reads back to the
// same bytes, and the next pass makes of what was read what it made of the module itself, so that `mixc opt` can take up
// the work at any stage. And mutants of a text: the reader refuses them with a diagnostic, or reads a module that prints
// to a fixed point.
#include "build.h"
#include "engine.h"
#include "module_text.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST_STAGES = 32, N_MUTANTS = 4000 };

typedef struct Stages {
    Arena      *arena;
    ModuleWants wants;
    const char *pass[MOST_STAGES], *text[MOST_STAGES];
    size_t      n;
} Stages;

static void keep_stage(void *user, size_t index, const Pass *pass, const Module *m)
{
    (void)index;
    Stages *s = user;
    Text text = text_make(s->arena);
    assert_true(s->n < MOST_STAGES);
    module_print(m, &s->wants, &text);
    s->pass[s->n] = pass ? pass->name : NULL;
    s->text[s->n++] = text_str(&text);
}

static Module *parse(Arena *arena, Diag *diag, const char *text, ModuleWants *wants)
{
    Sources *sources = arena_new(arena, Sources);
    *sources = sources_make(arena);
    *diag = diag_make(arena, sources);
    return module_parse(arena, diag, sources, sources_add(sources, "stage.ir", text, strlen(text)), wants);
}

static void first_difference(const char *path, const char *what, const char *a, const char *b)
{
    size_t i = 0, line = 0;
    for (; a[i] && a[i] == b[i]; i++)
        if (a[i] == '\n')
            line = i + 1;
    fail_msg("%s, %s:\n  %.*s\n  %.*s", path, what, (int)strcspn(a + line, "\n"), a + line, (int)strcspn(b + line, "\n"), b + line);
}

// Reads stage i, prints it, and runs the next pass on it.
static void take_up(const char *path, const Stages *s, size_t i)
{
    Arena arena = {0};
    Diag diag;
    ModuleWants wants;
    Module *m = parse(&arena, &diag, s->text[i], &wants);
    if (!m)
        fail_msg("%s after %s: %s", path, s->pass[i] ? s->pass[i] : "build", diag.item[0].message);
    Text again = text_make(&arena);
    module_print(m, &wants, &again);
    if (strcmp(text_str(&again), s->text[i]) != 0)
        first_difference(path, "reads back as another module", s->text[i], text_str(&again));
    if (i + 1 < s->n) {
        PassContext ctx = {.arena = &arena, .diag = &diag, .train = wants.step, .bf16 = wants.bf16};
        const Module *done = passes_run(&ctx, m, &s->pass[i + 1], 1, NULL);
        if (!done)
            fail_msg("%s: %s refuses what was read: %s", path, s->pass[i + 1], diag.item[0].message);
        Text next = text_make(&arena);
        module_print(done, &wants, &next);
        if (strcmp(text_str(&next), s->text[i + 1]) != 0)
            first_difference(path, s->pass[i + 1], s->text[i + 1], text_str(&next));
    }
    arena_free(&arena);
}

static Stages stages_of(Arena *arena, const char *path, bool train)
{
    Sources sources = sources_make(arena);
    Diag diag = diag_make(arena, &sources);
    uint32_t file = sources_read(&sources, path);
    assert_true(file != 0);
    Ast *ast = ast_parse(arena, &diag, &sources, file);
    Module *m = build_module(arena, &diag, &sources, ast, &(BuildOptions){.mode = train ? MODE_TRAIN : MODE_EVAL, .with_loss = true});
    assert_non_null(m);
    Stages s = {.arena = arena, .wants = {.step = train}};
    PassContext ctx = {.arena = arena, .diag = &diag, .train = train};
    assert_non_null(passes_run(&ctx, m, NULL, 0, &(PassHooks){.after = keep_stage, .user = &s}));
    assert_int_equal(s.n, pass_count + 1);
    return s;
}

static void every_pass_can_be_taken_up(void **state)
{
    (void)state;
    glob_t found;
    assert_int_equal(glob(MIXC_TESTS "/../models/*.mix", 0, NULL, &found), 0);
    for (size_t k = 0; k < 2 * found.gl_pathc; k++) {
        Arena arena = {0};
        const char *path = found.gl_pathv[k / 2];
        Stages s = stages_of(&arena, path, k % 2);
        for (size_t i = 0; i < s.n; i++)
            take_up(path, &s, i);
        arena_free(&arena);
    }
    globfree(&found);
}

// One byte changed, cut out or doubled, or a piece of the text repeated elsewhere.
static char *mutant(Arena *arena, const char *text, size_t n)
{
    char *out = arena_alloc(arena, 2 * n + 2, 1);
    size_t at = (size_t)rand() % n, from = (size_t)rand() % n, length = 1 + (size_t)rand() % 40;
    length = length > n - from ? n - from : length;
    memcpy(out, text, at);
    switch (rand() % 4) {
    case 0: out[at] = (char)(32 + rand() % 95); memcpy(out + at + 1, text + at + 1, n - at - 1); break;
    case 1: memcpy(out + at, text + at + 1, n - at - 1); break;
    case 2: out[at] = text[at]; memcpy(out + at + 1, text + at, n - at); break;
    default: memcpy(out + at, text + from, length); memcpy(out + at + length, text + at, n - at); break;
    }
    return out;
}

static void mutants_are_refused_or_read(void **state)
{
    (void)state;
    Arena arena = {0};
    Stages s = stages_of(&arena, MIXC_TESTS "/cli/tiny.mix", true);
    size_t accepted = 0;
    srand(7);
    for (int k = 0; k < N_MUTANTS; k++) {
        Arena scratch = {0};
        Diag diag;
        ModuleWants wants;
        const char *whole = s.text[k % 3 == 0 ? 0 : 4], *text = whole;
        if (k % 4)                          // most of the text is graph, which other tests mutate: begin near its end
            text = strstr(whole, "module {") - 200;
        char *changed = mutant(&scratch, text, strlen(text));
        char *input = arena_printf(&scratch, "%.*s%s", (int)(text - whole), whole, changed);
        Module *m = parse(&scratch, &diag, input, &wants);
        assert_true(m ? diag.n_errors == 0 : diag.n_errors > 0);
        if (m) {
            Text first = text_make(&scratch), second = text_make(&scratch);
            module_print(m, &wants, &first);
            Module *again = parse(&scratch, &diag, text_str(&first), &wants);
            assert_non_null(again);
            module_print(again, &wants, &second);
            assert_string_equal(text_str(&first), text_str(&second));
            accepted++;
        }
        arena_free(&scratch);
    }
    print_message("%zu of %d mutants are modules\n", accepted, N_MUTANTS);
    assert_true(accepted > N_MUTANTS / 100 && accepted < N_MUTANTS / 2);
    arena_free(&arena);
}

// module_print leaves out the graph `init`, so the reader does not take one: it would be gone after the next pass.
static void first_weights_are_no_part(void **state)
{
    (void)state;
    Arena arena = {0};
    Diag diag;
    ModuleWants wants;
    const char *graph = "graph @%s\naxis A = 2\n{\n  %%1 = arg \"x\" : f32[A]\n  result \"y\" = %%1\n}\n";
    assert_non_null(parse(&arena, &diag, arena_printf(&arena, graph, "main"), &wants));
    assert_null(parse(&arena, &diag, arena_printf(&arena, graph, "init"), &wants));
    assert_non_null(strstr(diag.item[0].message, "`init`"));
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_weights_are_no_part),
        cmocka_unit_test(every_pass_can_be_taken_up),
        cmocka_unit_test(mutants_are_refused_or_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
