// Product kernels against the evaluator, on sizes around the edges of tiles and blocks.
#include "run_program.h"

#ifdef __SANITIZE_ADDRESS__                 // a kernel can only be sanitized in a program that is
#define SANITIZED " -fsanitize=address"
#else
#define SANITIZED ""
#endif

static const char *const passes[] = {"fuse_product"};

static void check(const char *text, const Target *target, bool whole, double tolerance, const char *compiler, const char *flags)
{
    Case c;
    case_begin(&c, text, target);
    c.whole = whole;
    if (!run_passes(&c, passes, 1))
        fail_msg("passes: %s", case_error(&c));
    // Products that the pass leaves to loops are wanted here all the same.
    for (ValueId v = 1; v < c.fused->n_nodes; v++)
        if (c.fused->node[v].op == OP_CONTRACT && c.fused->n_kernels <= 1)
            c.fused->node[c.fused->output[0].value].kernel = graph_add_kernel(c.fused, FAMILY_CONTRACT);
    case_compile(&c, compiler, flags);
    static const int pieces[] = {1, 2, 3, 7};
    uint64_t hash = 0;
    for (size_t i = 0; i < 4; i++) {
        case_run(&c, pieces[i]);
        if (i == 0)
            case_compare(&c, tolerance);
        assert_true(i == 0 || hash == case_hash(&c));
        hash = case_hash(&c);
        case_free_buffers(&c);
    }
    case_end(&c);
}

static const char *product_text(Arena *arena, int m, int n, int k, const char *a, const char *b)
{
    return arena_printf(arena, "graph @main\naxis M = %d, N = %d, K = %d\n{\n"
                        "  %%1.a = arg \"a\" : f32[%s]\n  %%2.b = arg \"b\" : f32[%s]\n"
                        "  %%3.y = contract %%1, %%2 {over = [K]} : f32[M,N]\n  result \"y\" = %%3\n}\n", m, n, k, a, b);
}

static void whole_numbers_are_exact_at_every_size(void **state)
{
    (void)state;
    static const int size[][3] = {{1, 1, 1}, {13, 31, 5}, {14, 32, 16}, {15, 33, 17}, {1, 64, 40}, {40, 1, 40}, {29, 65, 130},
                                  {113, 97, 400}, {200, 170, 800}};
    static const char *const form[][2] = {{"M,K", "K,N"}, {"M,K", "N,K"}, {"K,M", "K,N"}, {"K,M", "N,K"}};
    Arena arena = {0};
    for (size_t s = 0; s < sizeof size / sizeof *size; s++)
        for (size_t f = 0; f < 4; f++) {
            const char *text = product_text(&arena, size[s][0], size[s][1], size[s][2], form[f][0], form[f][1]);
            check(text, s % 2 ? &target_narrow : &target_wide, true, 0, f % 2 ? "clang" : "gcc", s % 3 ? "-O1 -march=native" SANITIZED : "-O1");
        }
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers_are_exact_at_every_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
