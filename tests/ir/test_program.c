// The text form of a program: any kernel text survives, what prints reads back, and damage is refused.
#include "program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static Program *parse(Arena *arena, Diag *diag, const char *text)
{
    Sources sources = sources_make(arena);
    uint32_t file = sources_add(&sources, "test.program", text, strlen(text));
    return program_parse(arena, diag, &sources, file);
}

static Program *make_example(Arena *arena, const char *text)
{
    Program *p = program_make(arena, "a \"program\"");
    p->arena_bytes = 256;
    p->live_peak_bytes = 192;
    p->prelude = "#include <math.h>\n\nstatic int x;\n";
    uint32_t x = program_add_buffer(p, (Buffer){.name = "x", .kind = BUFFER_INPUT, .dtype = DTYPE_BF16, .n_axes = 2,
        .axis = {"B", "T'.2"}, .size = {2, 3}, .bytes = 12, .value = 4});
    uint32_t s = program_add_buffer(p, (Buffer){.name = "GPT.s", .kind = BUFFER_STATE, .bytes = 4, .offset = 64});
    uint32_t y = program_add_buffer(p, (Buffer){.name = "output.y", .kind = BUFFER_OUTPUT, .bytes = 4, .offset = 64,
                                                .same_as = s});
    uint32_t k = program_add_kernel(p, (Kernel){.name = "sum_1", .family = FAMILY_ROWS, .text = text, .cuda = text,
        .n_params = 3, .scratch_bytes = 128, .writes = 4, .cuda_threads = 32, .cuda_shared_bytes = 1, .cuda_dynamic_bytes = 512});
    program_add_kernel(p, (Kernel){.name = "empty", .text = "", .n_params = 0});
    Launch l = {.kernel = k, .buffer = arena_array(arena, uint32_t, 3), .n_work = 1, .grain = 1, .cuda_blocks = 7,
                .flops = 6, .bytes = 0.1, .layer = "GPT.l0"};
    l.buffer[0] = x;
    l.buffer[1] = s;
    l.buffer[2] = y;
    program_add_launch(p, l);
    return p;
}

static void any_text_survives(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "\n", "x", "x\n", "\n\n", "| x\n! y\n  z", "a\r\n// \"b\n", "\x01\xff\n }\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        Arena arena = {0};
        Diag diag = diag_make(&arena, NULL);
        Text first = text_make(&arena), second = text_make(&arena);
        program_print(make_example(&arena, texts[i]), &first);
        Program *p = parse(&arena, &diag, text_str(&first));
        assert_int_equal(diag.n_errors, 0);
        assert_non_null(p);
        assert_string_equal(p->kernel[1].text, texts[i]);
        assert_string_equal(p->kernel[1].cuda, texts[i]);
        assert_null(p->kernel[2].cuda);
        program_print(p, &second);
        assert_string_equal(text_str(&first), text_str(&second));
        arena_free(&arena);
    }
}

static void reads_as_written(void **state)
{
    (void)state;
    Arena arena = {0};
    Text out = text_make(&arena);
    program_print(make_example(&arena, "int f;\n"), &out);
    assert_string_equal(text_str(&out),
        "program \"a \\\"program\\\"\" arena 256 live 192\n"
        "prelude\n  | #include <math.h>\n  |\n  | static int x;\n"
        "cuda_prelude\n"
        "buffer %1 \"x\" : input bf16[B = 2, T'.2 = 3] bytes 12 value %4\n"
        "buffer %2 \"GPT.s\" : state f32[] bytes 4 offset 64\n"
        "buffer %3 \"output.y\" : output f32[] bytes 4 offset 64 same %2\n"
        "kernel %1 sum_1 : rows params 3 writes [2] scratch 128 threads 32 shared 1 dynamic 512\n"
        "  | int f;\n  cuda\n  | int f;\n"
        "kernel %2 empty : loop params 0\n"
        "launch %1 [%1, %2, %3] work 1 grain 1 blocks 7 flops 6 bytes 0.1 layer \"GPT.l0\"\nend\n");
    arena_free(&arena);
}

static void damage_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "", "program", "program \"p\" prelude", "program \"p\" arena -1 prelude cuda_prelude",
        "program \"p\" prelude cuda_prelude buffer %2 \"x\" : input f32[]",
        "program \"p\" prelude cuda_prelude buffer %1 \"x\" : input f32[B = 2] bytes 7",
        "program \"p\" prelude cuda_prelude buffer %1 \"x\" : input f32[A = 9000000000000, B = 9000000000000] bytes 7",
        "program \"p\" prelude cuda_prelude buffer %1 \"x\" : input f32[] bytes 4 same %2 end",
        "program \"p\" prelude cuda_prelude kernel %1 f'g : loop params 0",
        "program \"p\" prelude cuda_prelude kernel %1 \"f(\" : loop params 0",
        "program \"p\" prelude cuda_prelude kernel %1 f : loop params 1 writes [1]",
        "program \"p\" prelude cuda_prelude launch %1 []",
        "program \"p\" prelude cuda_prelude kernel %1 f : loop params 1 launch %1 [%1]",
        "program \"p\" prelude cuda_prelude kernel %1 f : loop params 0", "program \"p\" prelude cuda_prelude end end",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        Arena arena = {0};
        Diag diag = diag_make(&arena, NULL);
        assert_null(parse(&arena, &diag, wrong[i]));
        assert_int_equal(diag.n_errors, 1);
        arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_text_survives),
        cmocka_unit_test(reads_as_written),
        cmocka_unit_test(damage_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
