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

// Passes as in the pipeline; the number of product kernels is known.
static void check_graph(const char *text, size_t n_products, double tolerance)
{
    static const char *const all[] = {"fuse_product", "fuse_loops"};
    for (int narrow = 0; narrow < 2; narrow++) {
        Case c;
        case_begin(&c, text, narrow ? &target_narrow : &target_wide);
        if (!run_passes(&c, all, 2))
            fail_msg("passes: %s", case_error(&c));
        size_t n = 0;
        for (size_t k = 1; k < c.fused->n_kernels; k++)
            n += c.fused->kernel[k] == FAMILY_CONTRACT;
        assert_int_equal(n, n_products);
        case_compile(&c, narrow ? "clang" : "gcc", narrow ? "-O1 -march=native" SANITIZED : "-O2 -march=native");
        uint64_t hash = 0;
        for (int pieces = 1; pieces <= 3; pieces++) {
            case_run(&c, pieces);
            case_compare(&c, tolerance);
            assert_true(pieces == 1 || hash == case_hash(&c));
            hash = case_hash(&c);
            case_free_buffers(&c);
        }
        case_end(&c);
    }
}

static void epilogues(void **state)
{
    (void)state;
    // bias, activation, residual; the value before the activation is kept for its slope
    check_graph("graph @main\naxis T : time = 61, D = 35, F = 50\n{\n"
                "  %1.x = arg \"x\" : f32[T,D]\n  %2.w = param \"w\" : f32[D,F]\n  %3.b = param \"b\" : f32[F]\n"
                "  %4 = contract %1, %2 {over = [D]}\n  %5.u = add %4, %3\n  %6.h = map %5 {f = gelu}\n"
                "  %7.v = param \"v\" : f32[F,D]\n  %8 = contract %6, %7 {over = [F]}\n  %9.y = add %8, %1\n"
                "  %10.dy = arg \"dy\" : f32[T,D]\n  %11 = contract %10, %7 {over = [D]}\n  %12 = slope %5 {f = gelu}\n"
                "  %13.du = mul %11, %12\n  %14.dw = contract %1, %13 {over = [T]}\n  %15.db = reduce %13 {f = sum, over = [T]}\n"
                "  result \"y\" = %9\n  grad \"param.w\" = %14\n  grad \"param.b\" = %15\n}\n", 4, 2e-6);
    // heads: split, scaled, renamed, merged in another order
    check_graph("graph @main\naxis B = 3, T : time = 19, T' : time = 19 twin T, D = 24, H = 3, K = 10, F = 30, G = 30\n{\n"
                "  %1.x = arg \"x\" : f32[B,T,D]\n  %2.w = param \"w\" : f32[D,F]\n  %3 = contract %1, %2 {over = [D]}\n"
                "  %4 = split %3 {axis = F, to = [H,K]}\n  %5.b = param \"b\" : f32[H,K]\n  %6 = add %4, %5\n"
                "  %7 = rename %6 {from = [T], to = [T']}\n  %8 = merge %7 {axes = [K,H], to = G}\n  %9.c = param \"c\" : f32[T',G]\n"
                "  %10 = mul %8, %9\n  result \"y\" = %10\n}\n", 1, 2e-6);
    // dropout and a mask on the way out, two results
    check_graph("graph @main\naxis T : time = 37, D = 24, F = 45\n{\n"
                "  %1.x = arg \"x\" : f32[T,D]\n  %2.w = param \"w\" : f32[F,D]\n  %3 = contract %1, %2 {over = [D]}\n"
                "  %4.seed = arg \"seed\" : int[]\n  %5.step = arg \"step\" : int[]\n  %6.r = random %4, %5 {stream = 2} : f32[T,F]\n"
                "  %7 = const {value = 0.5} : f32[]\n  %8 = lt %6, %7\n  %9 = const {value = 0} : f32[]\n  %10.y = select %8, %9, %3\n"
                "  result \"y\" = %10\n  result \"x\" = %3\n}\n", 1, 2e-6);
}

static void prologues(void **state)
{
    (void)state;
    // an operand that is normalised and one that is masked on the way in; sums over two axes in another order
    check_graph("graph @main\naxis B = 5, T : time = 23, D = 34, F = 41\n{\n"
                "  %1.x = arg \"x\" : f32[B,T,D]\n  %2.g = param \"g\" : f32[D]\n  %3 = mul %1, %2\n  %4.w = param \"w\" : f32[D,F]\n"
                "  %5.y = contract %3, %4 {over = [D]}\n  %6.dy = arg \"dy\" : f32[T,B,F]\n  %7.m = arg \"m\" : f32[T]\n"
                "  %8 = mul %6, %7\n  %9.dw = contract %1, %8 {over = [B,T]}\n  result \"y\" = %5\n  result \"dw\" = %9\n}\n", 2, 2e-6);
    // a convolution: windows of both image axes, padded; and its gradient's sum
    check_graph("graph @main\naxis B = 2, Y = 9, X = 9, C = 5, Yo = 5, Xo = 5, J = 3, I = 3, O = 17\n{\n"
                "  %1.x = arg \"x\" : f32[B,Y,X,C]\n"
                "  %2 = window %1 {axis = Y, to = [Yo,J], stride = 2, left = 1}\n"
                "  %3 = window %2 {axis = X, to = [Xo,I], stride = 2, left = 1}\n  %4.w = param \"w\" : f32[J,I,C,O]\n"
                "  %5.y = contract %3, %4 {over = [J,I,C]}\n  %6.dy = arg \"dy\" : f32[B,Yo,Xo,O]\n"
                "  %7.dw = contract %3, %6 {over = [B,Yo,Xo]}\n  result \"y\" = %5\n  grad \"param.w\" = %7\n}\n", 2, 2e-6);
    // slices, reversals and single entries of a stored value
    check_graph("graph @main\naxis Z = 3, T : time = 40, P : time = 21, D = 26, F = 33\n{\n"
                "  %1.x = arg \"x\" : f32[Z,T,D]\n  %2 = at %1 {axis = Z, index = 1}\n  %3 = slice %2 {axis = T, start = 7, to = P}\n"
                "  %4 = reverse %3 {axis = P}\n  %5.w = param \"w\" : f32[F,D]\n  %6 = reverse %5 {axis = D}\n"
                "  %7.y = contract %4, %6 {over = [D]}\n  result \"y\" = %7\n}\n", 1, 2e-6);
}

// The second factor of a Monarch product and its gradients: blocks take every L-th feature and store every L-th, so that
// batches lie side by side in memory. Sizes around a vector's lanes, whole ones and such as leave a rest.
static void batches_side_by_side(void **state)
{
    (void)state;
    static const int size[][4] = {{70, 32, 32, 32}, {37, 31, 18, 21}, {130, 24, 33, 40}, {61, 9, 17, 65}, {23, 48, 14, 70}};
    Arena arena = {0};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        const int *n = size[i];         // B, L, S, R
        check_graph(arena_printf(&arena, "graph @main\naxis B = %d, L = %d, S = %d, R = %d, N = %d, M = %d\n{\n"
                "  %%1.x = arg \"x\" : f32[B,N]\n  %%2 = split %%1 {axis = N, to = [R,L]}\n  %%3.w = param \"w\" : f32[L,S,R]\n"
                "  %%4 = contract %%2, %%3 {over = [R]} : f32[B,L,S]\n  %%5 = merge %%4 {axes = [S,L], to = M}\n"
                "  %%6.b = param \"b\" : f32[M]\n  %%7.u = add %%5, %%6\n  %%8.y = map %%7 {f = gelu}\n"
                "  %%9.dy = arg \"dy\" : f32[B,M]\n  %%10 = split %%9 {axis = M, to = [S,L]}\n"
                "  %%11 = contract %%10, %%3 {over = [S]} : f32[B,L,R]\n  %%12.dx = merge %%11 {axes = [R,L], to = N}\n"
                "  %%13.dw = contract %%10, %%2 {over = [B]} : f32[L,S,R]\n"
                "  result \"y\" = %%8\n  result \"u\" = %%7\n  grad \"x\" = %%12\n  grad \"param.w\" = %%13\n}\n",
                n[0], n[1], n[2], n[3], n[1] * n[3], n[1] * n[2]), 3, 3e-6);
    }
    // a gradient as the rules of differentiation write it: the blocks' axis is innermost in the product itself, whole vectors of it or not
    static const int n_blocks[] = {4, 16, 20, 48};
    for (size_t i = 0; i < sizeof n_blocks / sizeof *n_blocks; i++)
        check_graph(arena_printf(&arena, "graph @main\naxis B = 45, L = %d, S = 19, R = 33, M = %d\n{\n"
                "  %%1.dy = arg \"dy\" : f32[B,M]\n  %%2 = split %%1 {axis = M, to = [S,L]}\n  %%3.w = param \"w\" : f32[L,S,R]\n"
                "  %%4.dx = contract %%2, %%3 {over = [S]} : f32[B,R,L]\n  %%5.h = arg \"h\" : f32[B,R,L]\n  %%6.u = mul %%4, %%5\n"
                "  %%7.dw = contract %%2, %%5 {over = [B]} : f32[S,R,L]\n  result \"u\" = %%6\n  grad \"dw\" = %%7\n}\n",
                n_blocks[i], 19 * n_blocks[i]), 2, 3e-6);
    // two batch axes, and the inner one is not the last of the product's; an operand that is computed
    check_graph("graph @main\naxis B = 40, L = 16, H = 3, S = 20, R = 36, N = 576, M = 320\n{\n"
                "  %1.x = arg \"x\" : f32[H,B,N]\n  %2 = split %1 {axis = N, to = [R,L]}\n  %3.w = param \"w\" : f32[L,H,S,R]\n"
                "  %4 = map %2 {f = relu}\n  %5 = contract %4, %3 {over = [R]} : f32[L,H,B,S]\n"
                "  %6 = merge %5 {axes = [S,L], to = M}\n  result \"y\" = %6\n}\n", 1, 3e-6);
    arena_free(&arena);
}

static void batches_and_axis_orders(void **state)
{
    (void)state;
    check_graph("graph @main\naxis B = 3, H = 2, T : time = 29, S = 31, K = 18\n{\n"
                "  %1.q = arg \"q\" : f32[B,T,H,K]\n  %2.k = arg \"k\" : f32[H,B,S,K]\n  %3.s = contract %1, %2 {over = [K]}\n"
                "  %4.v = arg \"v\" : f32[B,S,H,K]\n  %5.o = contract %3, %4 {over = [S]}\n  result \"s\" = %3\n  result \"o\" = %5\n}\n",
                2, 2e-6);
    // rows and columns of several axes that do not follow each other in memory
    check_graph("graph @main\naxis A = 5, B = 7, C = 6, D = 11, E = 4, F = 9\n{\n"
                "  %1.x = arg \"x\" : f32[A,E,B,F]\n  %2.y = arg \"y\" : f32[C,F,D,E]\n  %3.z = contract %1, %2 {over = [E,F]}\n"
                "  result \"z\" = %3\n}\n", 1, 2e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers_are_exact_at_every_size),
        cmocka_unit_test(epilogues),
        cmocka_unit_test(prologues),
        cmocka_unit_test(batches_and_axis_orders),
        cmocka_unit_test(batches_side_by_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
