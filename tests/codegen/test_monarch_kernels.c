// Chains of small block-diagonal products in one kernel, against the evaluator; and chains that must not become one.
#include "run_program.h"

#include "kernel_schedule.h"

#ifdef __SANITIZE_ADDRESS__                 // a kernel can only be sanitized in a program that is
#define SANITIZED " -fsanitize=address"
#else
#define SANITIZED ""
#endif

static bool has_buffer(const Program *p, const char *name)
{
    for (size_t b = 1; b < p->n_buffers; b++)
        if (strcmp(p->buffer[b].name, name) == 0)
            return true;
    return false;
}

// n_fused: kernels of the family monarch. With one at least, the value named h is in no buffer.
static void check_on(const char *text, const Target *target, int n_fused, bool is_wide)
{
    static const char *const all[] = {"fuse_product", "fuse_loops", "fuse_monarch"};
    Case c;
    case_begin(&c, text, target);
    if (!run_passes(&c, all, 3))
        fail_msg("passes: %s", case_error(&c));
    int n = 0;
    for (size_t k = 1; k < c.fused->n_kernels; k++)
        n += c.fused->kernel[k] == FAMILY_MONARCH;
    Text fused = text_make(&c.arena);
    graph_print(c.fused, &fused);
    if (n != n_fused)
        fail_msg("%d chains of products instead of %d in\n%s", n, n_fused, text_str(&fused));
    case_compile(&c, is_wide ? "gcc" : "clang", is_wide ? "-O2 -march=native" SANITIZED : "-O1 -march=native" SANITIZED);
    if (n_fused > 0 && has_buffer(c.program, "h"))
        fail_msg("what is handed on has a buffer in\n%s", text_str(&fused));
    uint64_t hash = 0;
    for (int pieces = 1; pieces <= 3; pieces++) {
        case_run(&c, pieces);
        case_compare(&c, 2e-6);
        assert_true(pieces == 1 || hash == case_hash(&c));
        hash = case_hash(&c);
        case_free_buffers(&c);
    }
    case_end(&c);
}

static void check(const char *text, int n_wide, int n_narrow)
{
    check_on(text, &target_wide, n_wide, true);
    check_on(text, &target_narrow, n_narrow, false);
}

// A Monarch multiply of order 2: k blocks of q x p, then l blocks of s x r, with k*q = r*l.
static const char *order_2(Arena *arena, int rows, int k, int p, int q, int l, int s)
{
    const int r = k*q / l;
    return arena_printf(arena, "graph @main\naxis B = %d, N = %d, K = %d, P = %d, Q = %d, A = %d, R = %d, L = %d, S = %d, M = %d\n{\n"
                        "  %%1.x = arg \"x\" : f32[B,N]\n  %%2.v = param \"v\" : f32[K,Q,P]\n  %%3.w = param \"w\" : f32[L,S,R]\n"
                        "  %%4 = split %%1 {axis = N, to = [K,P]} : f32[B,K,P]\n  %%5.h = contract %%4, %%2 {over = [P]} : f32[B,K,Q]\n"
                        "  %%6 = merge %%5 {axes = [K,Q], to = A} : f32[B,A]\n  %%7 = split %%6 {axis = A, to = [R,L]} : f32[B,R,L]\n"
                        "  %%8 = contract %%7, %%3 {over = [R]} : f32[B,L,S]\n  %%9.y = merge %%8 {axes = [S,L], to = M} : f32[B,M]\n"
                        "  result \"y\" = %%9\n}\n", rows, k*p, k, p, q, k*q, r, l, s, l*s);
}

static void pairs_of_all_sizes(void **state)
{
    (void)state;
    Arena arena = {0};
    static const struct { int rows, k, p, q, l, s, n_wide, n_narrow; } size[] = {
        {1, 3, 5, 5, 5, 3, 0, 0}, {3, 8, 8, 8, 8, 8, 0, 0}, {17, 3, 5, 5, 5, 3, 0, 0},     // too small to be worth it
        {300, 3, 5, 9, 3, 11, 1, 1}, {64, 8, 8, 8, 8, 8, 1, 1}, {65, 8, 8, 8, 8, 8, 1, 1}, {17, 32, 32, 32, 32, 32, 1, 0},
        {1, 32, 32, 32, 32, 32, 0, 0}, {3, 32, 32, 32, 32, 32, 0, 0}, {64, 32, 32, 32, 32, 32, 1, 0}, {61, 4, 12, 20, 8, 9, 1, 1},
        {33, 16, 7, 33, 24, 13, 1, 0}, {47, 5, 40, 10, 10, 35, 1, 1}, {129, 4, 19, 17, 17, 8, 1, 1}, {129, 2, 19, 17, 17, 8, 0, 0}};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        check(order_2(&arena, size[i].rows, size[i].k, size[i].p, size[i].q, size[i].l, size[i].s), size[i].n_wide, size[i].n_narrow);
    arena_free(&arena);
}

// Digits of the features, one exchanged by each factor; all three products are one kernel.
static void order_3(void **state)
{
    (void)state;
    static const char *const sizes[] = {"B = 65, N = 512, X = 8, Y = 8, Z = 8, U = 8, V = 8, W = 8, M = 512",
                                        "B = 131, N = 140, X = 4, Y = 5, Z = 7, U = 9, V = 8, W = 11, M = 792"};
    Arena arena = {0};
    for (size_t i = 0; i < 2; i++) {
        const char *text = arena_printf(&arena, "graph @main\naxis %s\n{\n  %%1.x = arg \"x\" : f32[B,N]\n"
            "  %%2.b = param \"b\" : f32[Y,Z,U,X]\n  %%3.c = param \"c\" : f32[U,Z,V,Y]\n  %%4.d = param \"d\" : f32[U,V,W,Z]\n"
            "  %%5 = split %%1 {axis = N, to = [X,Y,Z]} : f32[B,X,Y,Z]\n  %%6.h = contract %%5, %%2 {over = [X]} : f32[B,Y,Z,U]\n"
            "  %%7.h = contract %%6, %%3 {over = [Y]} : f32[B,Z,U,V]\n  %%8 = contract %%7, %%4 {over = [Z]} : f32[B,U,V,W]\n"
            "  %%9.y = merge %%8 {axes = [W,V,U], to = M} : f32[B,M]\n  result \"y\" = %%9\n}\n", sizes[i]);
        check_on(text, &target_wide, 1, true);
    }
    arena_free(&arena);
}

// A gate before, a bias, an activation and a gate between, a bias, an activation and what came in behind; two axes of rows.
static void with_what_comes_before_and_behind(void **state)
{
    (void)state;
    check("graph @main\naxis B = 3, T : time = 29, N = 64, K = 8, P = 8, Q = 8, R = 8, L = 8, S = 8\n{\n"
          "  %1.x = arg \"x\" : f32[B,T,N]\n  %2.g = param \"g\" : f32[N]\n  %3 = mul %1, %2\n"
          "  %4.v = param \"v\" : f32[K,Q,P]\n  %5.w = param \"w\" : f32[L,S,R]\n  %6 = split %3 {axis = N, to = [K,P]} : f32[B,T,K,P]\n"
          "  %7 = contract %6, %4 {over = [P]} : f32[B,T,K,Q]\n  %8.b = param \"b\" : f32[K,Q]\n  %9 = add %7, %8 : f32[B,T,K,Q]\n"
          "  %10 = map %9 {f = gelu} : f32[B,T,K,Q]\n  %11.z = arg \"z\" : f32[B,T,K,Q]\n  %12.h = mul %10, %11 : f32[B,T,K,Q]\n"
          "  %13 = rename %12 {from = [K,Q], to = [R,L]} : f32[B,T,R,L]\n  %14 = contract %13, %5 {over = [R]} : f32[B,T,L,S]\n"
          "  %15 = merge %14 {axes = [S,L], to = N} : f32[B,T,N]\n  %16.a = param \"a\" : f32[N]\n  %17 = add %15, %16 : f32[B,T,N]\n"
          "  %18 = map %17 {f = silu} : f32[B,T,N]\n  %19.y = add %18, %1 : f32[B,T,N]\n  result \"y\" = %19\n}\n", 1, 1);
}

// Two layers: nothing else reads what lies between them either, so all four products are one kernel; where the second layer's input is
// added to its result they are two.
static void layers(void **state)
{
    (void)state;
    static const char *const behind[] = {"  %12.y = map %11 {f = relu} : f32[B,L,S]\n", "  %12.y = add %11, %10 : f32[B,L,S]\n"};
    Arena arena = {0};
    for (int i = 0; i < 2; i++)
        check_on(arena_printf(&arena, "graph @main\naxis B = 40, K = 8, Q = 8, L = 8, S = 8\n{\n  %%1.x = arg \"x\" : f32[B,K,Q]\n"
            "  %%2.v = param \"v\" : f32[K,L,Q]\n  %%3.w = param \"w\" : f32[L,S,K]\n  %%4.h = contract %%1, %%2 {over = [Q]} : f32[B,K,L]\n"
            "  %%5 = contract %%4, %%3 {over = [K]} : f32[B,L,S]\n  %%6.z = map %%5 {f = relu} : f32[B,L,S]\n"
            "  %%7.u = rename %%6 {from = [L,S], to = [K,Q]} : f32[B,K,Q]\n  %%8.h = contract %%7, %%2 {over = [Q]} : f32[B,K,L]\n"
            "  %%9 = contract %%8, %%3 {over = [K]} : f32[B,L,S]\n  %%10 = rename %%7 {from = [K,Q], to = [L,S]} : f32[B,L,S]\n"
            "  %%11 = map %%9 {f = relu} : f32[B,L,S]\n%s  result \"y\" = %%12\n}\n",
            behind[i]), &target_wide, i ? 2 : 1, true);
    arena_free(&arena);
}

// What an output, the backward pass or another reader wants is kept, so that these are two kernels; and so are products whose rows
// are not the same, which are dense, or whose block of rows is too wide.
static void chains_that_stay_apart(void **state)
{
    (void)state;
    static const char *const head = "  %1.x = arg \"x\" : f32[B,K,Q]\n  %2.v = param \"v\" : f32[K,L,Q]\n  %3.w = param \"w\" : f32[L,S,K]\n";
    static const char *const rest[] = {
        "  %4.h = contract %1, %2 {over = [Q]} : f32[B,K,L]\n  %5.y = contract %4, %3 {over = [K]} : f32[B,L,S]\n"
        "  result \"h\" = %4\n  result \"y\" = %5\n",
        "  %4.h = contract %1, %2 {over = [Q]} : f32[B,K,L]\n  %5.y = contract %4, %3 {over = [K]} : f32[B,L,S]\n"
        "  %6.dy = arg \"dy\" : f32[B,L,S]\n  %7.dw = contract %6, %4 {over = [B]} : f32[L,S,K]\n  result \"y\" = %5\n  result \"dw\" = %7\n",
        "  %4.h = contract %1, %2 {over = [Q]} : f32[B,K,L]\n  %5 = contract %4, %3 {over = [K]} : f32[B,L,S]\n"
        "  %6 = rename %4 {from = [K,L], to = [L,S]} : f32[B,L,S]\n  %7.y = add %5, %6 : f32[B,L,S]\n  result \"y\" = %7\n",
        "  %4.h = contract %1, %2 {over = [Q]} : f32[K,B,L]\n  %5.y = contract %4, %3 {over = [K]} : f32[B,L,S]\n  result \"y\" = %5\n",
        "  %4.h = contract %1, %2 {over = [Q]} : f32[B,K,L]\n  %5 = split %4 {axis = B, to = [I,J]} : f32[I,J,K,L]\n"
        "  %6.y = contract %5, %3 {over = [K]} : f32[J,I,L,S]\n  result \"y\" = %6\n",
        "  %4.h = contract %1, %2 {over = [Q]} : f32[B,K,L]\n  %5 = rename %4 {from = [B], to = [F]} : f32[F,K,L]\n"
        "  %6.c = param \"c\" : f32[S,B,L,K]\n  %7.y = contract %5, %6 {over = [K,L]} : f32[F,S,B]\n  result \"y\" = %7\n",
    };
    Arena arena = {0};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        check(arena_printf(&arena, "graph @main\naxis B = 48, F = 48, I = 6, J = 8, K = 8, Q = 8, L = 8, S = 8\n{\n%s%s}\n", head, rest[i]),
              0, 0);
    check("graph @main\naxis B = 48, D = 24, F = 40\n{\n  %1.x = arg \"x\" : f32[B,D]\n  %2.v = param \"v\" : f32[D,F]\n"
          "  %3.w = param \"w\" : f32[F,D]\n  %4.h = contract %1, %2 {over = [D]} : f32[B,F]\n"
          "  %5.y = contract %4, %3 {over = [F]} : f32[B,D]\n  result \"y\" = %5\n}\n", 0, 0);
    check_on(order_2(&arena, 64, 4, 16, 1200, 40, 8), &target_wide, 0, true);
    arena_free(&arena);
}

static const Schedule *fixed(void *user, uint64_t kernel)
{
    (void)kernel;
    return user;
}

static void with_any_schedule(void **state)
{
    (void)state;
    static const char *const text[] = {"rows=1", "rows=64 batches=8", "rows=7 terms=3 batches=99", "rows=9999 batches=16", "batches=4 terms=1 pack=3"};
    Arena arena = {0};
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        Schedule s;
        assert_true(schedule_parse(text[i], &s));
        const Schedules schedules = {.find = fixed, .user = &s};
        Target target = target_wide;
        target.schedules = &schedules;
        check_on(order_2(&arena, 67, 32, 32, 32, 32, 32), &target, 1, true);
        check_on(order_2(&arena, 300, 3, 5, 9, 3, 11), &target, 1, true);
    }
    arena_free(&arena);
}

// What is worth measuring: all of it different, and the kernel as a graph of its own is the same kernel.
static void has_schedules(void **state)
{
    (void)state;
    static const char *const all[] = {"fuse_product", "fuse_loops", "fuse_monarch"};
    Arena arena = {0};
    Case c;
    case_begin(&c, order_2(&arena, 2048, 32, 32, 32, 32, 32), &target_wide);
    assert_true(run_passes(&c, all, 3));
    KernelClass *class, *alone;
    const size_t n = codegen_kernel_classes(&c.arena, c.fused, &class);
    assert_int_equal(n, 1);
    Candidate *candidate;
    assert_int_equal(codegen_candidates(&c.arena, c.fused, class[0].kernel, &target_wide, 8, &candidate), 8);
    assert_true(schedule_is_default(&candidate[0].schedule));
    for (size_t i = 0; i < 8; i++)
        assert_true(candidate[i].cycles > 0 && (i < 2 || candidate[i].cycles >= candidate[i - 1].cycles));
    const Graph *g = codegen_kernel_graph(&c.arena, &c.diag, c.fused, class[0].kernel);
    assert_non_null(g);
    assert_int_equal(g->n_outputs, 1);
    assert_int_equal(codegen_kernel_classes(&c.arena, g, &alone), 1);
    assert_true(alone[0].key == class[0].key);
    arena_free(&c.arena);
    arena_free(&arena);
}

static void not_for_a_gpu(void **state)
{
    (void)state;
    static const char *const all[] = {"fuse_product", "fuse_loops", "fuse_monarch"};
    Arena arena = {0};
    Target gpu = target_wide;
    gpu.is_cuda = true;
    Case c;
    case_begin(&c, order_2(&arena, 64, 8, 8, 8, 8, 8), &gpu);
    assert_true(run_passes(&c, all, 3));
    for (size_t k = 1; k < c.fused->n_kernels; k++)
        assert_int_not_equal(c.fused->kernel[k], FAMILY_MONARCH);
    arena_free(&c.arena);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_of_all_sizes), cmocka_unit_test(order_3), cmocka_unit_test(with_what_comes_before_and_behind),
        cmocka_unit_test(layers), cmocka_unit_test(chains_that_stay_apart), cmocka_unit_test(not_for_a_gpu), cmocka_unit_test(with_any_schedule),
        cmocka_unit_test(has_schedules)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
