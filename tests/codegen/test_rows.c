// Row kernels (attention, forward and backward) against the evaluator, around the edges of tiles.
#include "run_program.h"

#include "attention_case.h"

#ifdef __SANITIZE_ADDRESS__                 // a kernel can only be sanitized in a program that is
#define SANITIZED " -fsanitize=address"
#else
#define SANITIZED ""
#endif

static const char *const passes[] = {"recompute", "fuse_rows", "fuse_product", "fuse_loops"};

static size_t count_family(const Graph *g, KernelFamily family)
{
    size_t n = 0;
    for (size_t k = 1; k < g->n_kernels; k++)
        n += g->kernel[k] == family;
    return n;
}

static void check(const char *text, const Target *target, size_t n_rows_kernels, double tolerance, const char *compiler,
                  const char *flags)
{
    Case c;
    case_begin(&c, text, target);
    if (!run_passes(&c, passes, 4))
        fail_msg("passes: %s", case_error(&c));
    assert_int_equal(count_family(c.fused, FAMILY_ROWS), n_rows_kernels);
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

static void attention_forward(void **state)
{
    (void)state;
    static const int size[] = {1, 15, 16, 17, 33};
    Arena arena = {0};
    for (size_t i = 0; i < 5; i++)
        for (int form = 0; form < 4; form++)
            check(attention(&arena, size[i], i == 2 ? 32 : 5, (form & 1 ? CASE_CAUSAL : 0) | (form & 2 ? CASE_DROPOUT : 0)), i % 2 ? &target_narrow : &target_wide,
                  1, 1e-6, form & 1 ? "clang" : "gcc", form & 2 ? "-O1 -march=native" SANITIZED : "-O1");
    arena_free(&arena);
}

static void attention_backward(void **state)
{
    (void)state;
    static const int size[] = {1, 15, 16, 17, 33, 70};
    Arena arena = {0};
    for (size_t i = 0; i < 6; i++)
        for (int form = 0; form < 4; form++)
            check(attention(&arena, size[i], i == 2 ? 32 : 5,
                            CASE_BACKWARD | (form & 1 ? CASE_CAUSAL : 0) | (form & 2 ? CASE_DROPOUT : 0)), i % 2 ? &target_narrow : &target_wide,
                  2, 2e-6, form & 1 ? "gcc" : "clang", form & 2 ? "-O1 -march=native" SANITIZED : "-O1");
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_forward),
        cmocka_unit_test(attention_backward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
