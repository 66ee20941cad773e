// Every model of models/, evaluated, trained and, where it generates, generating, at its smallest size: after every pass each graph is legal and its text
// reads back to the same bytes; so does the text of the program at the end.
#include "build.h"
#include "engine.h"
#include "program.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void fail_with(const char *path, const char *what, const Diag *diag)
{
    Text text = text_make(diag->arena);
    diag_print(diag, &text, false);
    fail_msg("%s: %s\n%s", path, what, text_str(&text));
}

static void check_program(const char *path, Arena *arena, Diag *diag, const Program *p)
{
    Text first = text_make(arena), second = text_make(arena);
    program_print(p, &first);
    Sources sources = sources_make(arena);
    Program *again = program_parse(arena, diag, &sources, sources_add(&sources, path, text_str(&first), first.n));
    if (!again)
        fail_with(path, "the program's text does not read back", diag);
    program_print(again, &second);
    if (strcmp(text_str(&first), text_str(&second)) != 0)
        fail_msg("%s: the program's text reads back as another one", path);
}

static bool has_generate(const Ast *ast)
{
    for (const Item *item = ast->items; item; item = item->next)
        if (item->section && item->section->kind == SECTION_GENERATE)
            return true;
    return false;
}

// False: the model has no such mode.
static bool check_model(const char *path, ModeName mode)
{
    const bool train = mode == MODE_TRAIN;
    Arena arena = {0};
    Sources sources = sources_make(&arena);
    Diag diag = diag_make(&arena, &sources);
    uint32_t file = sources_read(&sources, path);
    assert_true(file != 0);
    Ast *ast = ast_parse(&arena, &diag, &sources, file);
    if (ast && mode == MODE_GENERATE && !has_generate(ast))
        return arena_free(&arena), false;
    BuildOptions build = {.mode = mode, .with_loss = mode != MODE_GENERATE};
    Module *module = ast ? build_module(&arena, &diag, &sources, ast, &build) : NULL;
    if (!module)
        fail_with(path, "is not built", &diag);
    Engine *engine;
    StatusText why = {0};
    assert_int_equal(engine_open(&(EngineOptions){.device = "null", .verify = true}, &engine, &why), STATUS_OK);
    Program *p = engine_program(engine, &arena, &diag, module, &(LoadOptions){.train = train});
    if (!p)
        fail_with(path, train ? "has no training program" : "has no program", &diag);
    check_program(path, &arena, &diag, p);
    engine_close(engine);
    arena_free(&arena);
    return true;
}

static void texts_read_back_at_every_stage(void **state)
{
    (void)state;
    glob_t found;
    int n_generate = 0;
    assert_int_equal(glob(MIXC_TESTS "/../models/*.mix", 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        check_model(found.gl_pathv[i], MODE_EVAL);
        check_model(found.gl_pathv[i], MODE_TRAIN);
        n_generate += check_model(found.gl_pathv[i], MODE_GENERATE);
    }
    assert_true(n_generate >= 10);
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts_read_back_at_every_stage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
