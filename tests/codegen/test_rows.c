// Row kernels (attention, forward and backward) against the evaluator, around the edges of tiles.
#include "run_program.h"

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

// Scores over B, H; masked or not, with or without dropout on the probabilities; gradients of q, k and v when wanted.
static const char *attention(Arena *arena, int t, int k, bool causal, bool dropout, bool backward)
{
    Text out = text_make(arena);
    text_printf(&out, "graph @main\naxis B = 2, T : time = %d, T' : time = %d twin T, H = 2, K = %d\n{\n", t, t, k);
    text_add(&out, "  %1.q = arg \"q\" : f32[B,T,H,K]\n  %2.k = arg \"k\" : f32[B,T',H,K]\n  %3.v = arg \"v\" : f32[B,T',H,K]\n"
                   "  %4.s = contract %1, %2 {over = [K]}\n  %5 = const {value = 1.5} : f32[]\n  %6.z = div %4, %5\n"
                   "  %7 = index {axis = T'}\n  %8 = index {axis = T}\n  %9.seen = le %7, %8\n"
                   "  %10 = const {value = -1e30} : f32[]\n");
    text_printf(&out, "  %%11.c = select %%%d, %%6, %%10\n", causal ? 9 : 5);
    text_add(&out, "  %12.m = reduce %11 {f = max, over = [T']}\n  %13 = sub %11, %12\n  %14.e = map %13 {f = exp}\n"
                   "  %15.l = reduce %14 {f = sum, over = [T']}\n  %16.p = div %14, %15\n");
    text_add(&out, "  %17.seed = arg \"seed\" : int[]\n  %18.step = arg \"step\" : int[]\n"
                   "  %19.r = random %17, %18 {stream = 3} : f32[B,T,H,T']\n  %20 = const {value = 0.25} : f32[]\n"
                   "  %21 = lt %20, %19\n  %22 = const {value = 0} : f32[]\n");
    text_printf(&out, "  %%23.d = select %%%d, %%16, %%22\n", dropout ? 21 : 5);
    text_add(&out, "  %24.o = contract %23, %3 {over = [T']}\n  %25.w = arg \"w\" : f32[B,T,H,K]\n  %26 = mul %24, %24\n"
                   "  %27 = reduce %26 {f = sum, over = [B,T,H,K]}\n");
    if (backward) {
        text_add(&out, "  %28.dv = contract %23, %25 {over = [T]}\n  %29.dd = contract %25, %3 {over = [K]}\n");
        text_printf(&out, "  %%30.dp = select %%%d, %%29, %%22\n", dropout ? 21 : 5);
        text_add(&out, "  %31 = mul %30, %16\n  %32.n = reduce %31 {f = sum, over = [T']}\n  %33 = sub %30, %32\n"
                       "  %34.dz = mul %33, %16\n");
        text_printf(&out, "  %%35.ds = select %%%d, %%34, %%22\n", causal ? 9 : 5);
        text_add(&out, "  %36 = div %35, %5\n  %37.dq = contract %36, %2 {over = [T']}\n  %38.dk = contract %1, %36 {over = [T]}\n"
                       "  grad \"input.q\" = %37\n  grad \"input.k\" = %38\n  grad \"input.v\" = %28\n");
    }
    text_add(&out, "  loss \"train\" = %27\n");
    if (!backward)
        text_add(&out, "  result \"o\" = %24\n");
    text_add(&out, "}\n");
    return text_str(&out);
}

static void attention_forward(void **state)
{
    (void)state;
    static const int size[] = {1, 15, 16, 17, 33};
    Arena arena = {0};
    for (size_t i = 0; i < 5; i++)
        for (int form = 0; form < 4; form++)
            check(attention(&arena, size[i], i == 2 ? 32 : 5, form & 1, form & 2, false), i % 2 ? &target_narrow : &target_wide,
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
            check(attention(&arena, size[i], i == 2 ? 32 : 5, form & 1, form & 2, true), i % 2 ? &target_narrow : &target_wide,
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
