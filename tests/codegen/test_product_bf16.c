// Products of bf16 operands summed in float32: the pair instruction where the machine has it, and the same text compiled
// without it.
#include "run_program.h"

#ifdef __SANITIZE_ADDRESS__                 // a kernel can only be sanitized in a program that is
#define SANITIZED " -fsanitize=address"
#else
#define SANITIZED ""
#endif

static const Target target_pairs = {.name = "cpu", .vector_floats = 16, .vector_registers = 32, .has_bf16_dot = true,
                                    .l1_bytes = 49152, .l2_bytes = 1 << 20, .threads = 2};
static const Target target_small = {.name = "cpu", .vector_floats = 16, .vector_registers = 32, .has_bf16_dot = true,
                                    .l1_bytes = 4096, .l2_bytes = 1 << 16, .threads = 4};

typedef struct Compiler { const char *cc, *flags; } Compiler;

// Without flags: the shifts. With them: the instruction, on a machine that can run it.
static const Compiler compilers[] = {
    {"gcc", "-O1"}, {"clang", "-O1"}, {"gcc", "-O2 -march=native" SANITIZED}, {"clang", "-O2 -march=native" SANITIZED},
};

static size_t n_compilers(void)
{
    return __builtin_cpu_supports("avx512bf16") ? 4 : 2;
}

static bool uses_pairs(const Program *p)
{
    for (size_t k = 1; k < p->n_kernels; k++)
        if (strstr(p->kernel[k].text, "dots_"))
            return true;
    return false;
}

static void begin(Case *c, const char *text, const Target *target, const Compiler *compiler, bool whole)
{
    static const char *const passes[] = {"fuse_product", "fuse_loops"};
    case_begin(c, text, target);
    c->whole = whole;
    if (!run_passes(c, passes, 1))
        fail_msg("passes: %s", case_error(c));
    if (c->fused->n_kernels <= 1)           // the pass leaves it to loops; a product is wanted here all the same
        c->fused->node[c->fused->output[0].value].kernel = graph_add_kernel(c->fused, FAMILY_CONTRACT);
    else if (!run_passes(c, passes, 2))
        fail_msg("passes: %s", case_error(c));
    case_compile(c, compiler->cc, compiler->flags);
    assert_true(uses_pairs(c->program));
}

// Runs the work whole and in pieces: the same bits. `compare` looks at the first run.
static void run(Case *c, void (*compare)(Case *c, const void *user), const void *user)
{
    static const int pieces[] = {1, 2, 3, 7};
    uint64_t hash = 0;
    for (size_t i = 0; i < 4; i++) {
        case_run(c, pieces[i]);
        if (i == 0)
            compare(c, user);
        assert_true(i == 0 || hash == case_hash(c));
        hash = case_hash(c);
        case_free_buffers(c);
    }
    case_end(c);
}

static void against_evaluator(Case *c, const void *tolerance)
{
    case_compare(c, *(const double *)tolerance);
}

typedef struct Sizes { int m, n, k; bool a_turned, b_turned; } Sizes;

// Contracts are allowed any order of terms, so only what the arithmetic promises is asked for: operands are exact after
// rounding, their products are exact in float32 (8 + 8 bits), and each of the K additions, and the one that joins a
// block of terms, rounds once by at most 2^-24 of a partial sum, which is never more than sum |a| |b|. The instruction
// flushes results below 2^-126 to zero, which is far less than that bound for the numbers here.
static void against_naive(Case *c, const void *user)
{
    const Sizes *s = user;
    const Node *leaf[2] = {NULL, NULL};
    const float *y = NULL;
    for (ValueId v = 1; v < c->fused->n_nodes; v++)
        if (c->fused->node[v].op == OP_ARG)
            leaf[c->fused->node[v].attr[0].name[0] - 'a'] = &c->fused->node[v];
    for (uint32_t b = 1; b < c->program->n_buffers; b++)
        if (c->program->buffer[b].kind == BUFFER_OUTPUT)
            y = c->buffer[b];
    assert_true(leaf[0] && leaf[1] && y);
    for (int i = 0; i < s->m; i++)
        for (int j = 0; j < s->n; j++) {
            double sum = 0, size = 0;
            for (int k = 0; k < s->k; k++) {
                const double a = bf16_round(leaf_number(c, leaf[0], (size_t)(s->a_turned ? k * s->m + i : i * s->k + k)));
                const double b = bf16_round(leaf_number(c, leaf[1], (size_t)(s->b_turned ? j * s->k + k : k * s->n + j)));
                sum += a * b;
                size += fabs(a * b);
            }
            const double bound = (s->k + 1 + s->k / 16) * 0x1p-24 * size;
            if (!(fabs((double)y[i * s->n + j] - sum) <= bound))
                fail_msg("%d x %d x %d: y[%d,%d] = %.9g, not %.9g, bound %.3g", s->m, s->n, s->k, i, j,
                         (double)y[i * s->n + j], sum, bound);
        }
}

static const char *product_text(Arena *arena, const Sizes *s)
{
    return arena_printf(arena, "graph @main\naxis M = %d, N = %d, K = %d\n{\n"
                        "  %%1.a = arg \"a\" : f32[%s]\n  %%2.b = arg \"b\" : f32[%s]\n"
                        "  %%3 = cast %%1 {to = bf16}\n  %%4 = cast %%2 {to = bf16}\n"
                        "  %%5 = contract %%3, %%4 {over = [K]} : bf16[M,N]\n  %%6.y = cast %%5 {to = f32} : f32[M,N]\n"
                        "  result \"y\" = %%6\n}\n", s->m, s->n, s->k, s->a_turned ? "K,M" : "M,K", s->b_turned ? "N,K" : "K,N");
}

// MR = 14, NR = 32: one less, equal, one more; odd numbers of terms; several blocks of rows, columns and terms.
static const int size[][3] = {{1, 1, 1}, {13, 31, 5}, {14, 32, 16}, {15, 33, 17}, {1, 64, 40}, {40, 1, 41}, {29, 65, 131},
                              {113, 97, 401}, {85, 170, 1501}};
enum { N_SIZES = sizeof size / sizeof *size };

static void every_size(bool whole)
{
    const size_t n = n_compilers();
    Arena arena = {0};
    for (size_t s = 0; s < N_SIZES; s++)
        for (size_t form = whole ? s % 2 : 0; form < 4; form += 1 + whole) {
            const Sizes sizes = {size[s][0], size[s][1], size[s][2], form & 1, form & 2};
            const Target *target = (s + form) % 2 ? &target_small : &target_pairs;
            static const double exact = 0;
            Case c;
            begin(&c, product_text(&arena, &sizes), target, &compilers[(s + form + whole) % n], whole);
            if (whole)
                run(&c, against_evaluator, &exact);
            else
                run(&c, against_naive, &sizes);
        }
    arena_free(&arena);
}

static void whole_numbers_are_exact_at_every_size(void **state)
{
    (void)state;
    every_size(true);
}

static void fractions_stay_within_the_bound_of_float32_sums(void **state)
{
    (void)state;
    every_size(false);
}

static void check_graph(const char *text, bool whole, double tolerance)
{
    for (size_t i = 0; i < n_compilers(); i++) {
        Case c;
        begin(&c, text, i % 2 ? &target_small : &target_pairs, &compilers[i], whole);
        run(&c, against_evaluator, &tolerance);
    }
}

static void epilogues_work_in_float32(void **state)
{
    (void)state;
    // bias, activation and residual after the product, the value before the activation kept
    check_graph("graph @main\naxis T : time = 61, D = 35, F = 50\n{\n"
                "  %1.x = arg \"x\" : f32[T,D]\n  %2.w = param \"w\" : f32[D,F]\n  %3.b = param \"b\" : f32[F]\n"
                "  %4 = cast %1 {to = bf16}\n  %5 = cast %2 {to = bf16}\n  %6 = contract %4, %5 {over = [D]}\n"
                "  %7 = cast %6 {to = f32}\n  %8.u = add %7, %3\n  %9.h = map %8 {f = gelu}\n  %10.r = arg \"r\" : f32[T,F]\n"
                "  %11.y = add %9, %10\n  result \"y\" = %11\n  result \"u\" = %8\n}\n", false, 2e-6);
    // heads: split, renamed, merged in another order
    check_graph("graph @main\naxis B = 3, T : time = 19, T' : time = 19 twin T, D = 24, H = 3, K = 10, F = 30, G = 30\n{\n"
                "  %1.x = arg \"x\" : f32[B,T,D]\n  %2.w = param \"w\" : f32[D,F]\n  %3 = cast %1 {to = bf16}\n"
                "  %4 = cast %2 {to = bf16}\n  %5 = contract %3, %4 {over = [D]}\n  %6 = cast %5 {to = f32}\n"
                "  %7 = split %6 {axis = F, to = [H,K]}\n  %8.b = param \"b\" : f32[H,K]\n  %9 = add %7, %8\n"
                "  %10 = rename %9 {from = [T], to = [T']}\n  %11.y = merge %10 {axes = [K,H], to = G}\n  result \"y\" = %11\n}\n",
                false, 2e-6);
}

// Whole numbers up to 256 are bf16 numbers, so that prologues in float32 and in double round alike.
static void prologues_round_what_they_computed(void **state)
{
    (void)state;
    // both operands computed, contiguous along rows and columns, along terms, and of two axes in another order
    check_graph("graph @main\naxis B = 5, T : time = 23, D = 35, F = 41\n{\n"
                "  %1.x = arg \"x\" : f32[B,T,D]\n  %2.g = param \"g\" : f32[D]\n  %3 = mul %1, %2\n  %4.w = param \"w\" : f32[D,F]\n"
                "  %5 = cast %3 {to = bf16}\n  %6 = cast %4 {to = bf16}\n  %7 = contract %5, %6 {over = [D]}\n"
                "  %8.y = cast %7 {to = f32}\n  %9.dy = arg \"dy\" : f32[T,B,F]\n  %10.m = arg \"m\" : f32[T]\n"
                "  %11 = mul %9, %10\n  %12 = cast %11 {to = bf16}\n  %13 = cast %1 {to = bf16}\n"
                "  %14 = contract %13, %12 {over = [B,T]}\n  %15.dw = cast %14 {to = f32}\n"
                "  result \"y\" = %8\n  result \"dw\" = %15\n}\n", true, 0);
    // a convolution: windows of both image axes, padded
    check_graph("graph @main\naxis B = 2, Y = 9, X = 9, C = 5, Yo = 5, Xo = 5, J = 3, I = 3, O = 17\n{\n"
                "  %1.x = arg \"x\" : f32[B,Y,X,C]\n  %2 = cast %1 {to = bf16}\n"
                "  %3 = window %2 {axis = Y, to = [Yo,J], stride = 2, left = 1}\n"
                "  %4 = window %3 {axis = X, to = [Xo,I], stride = 2, left = 1}\n  %5.w = param \"w\" : f32[J,I,C,O]\n"
                "  %6 = cast %5 {to = bf16}\n  %7 = contract %4, %6 {over = [J,I,C]}\n  %8.y = cast %7 {to = f32}\n"
                "  result \"y\" = %8\n}\n", true, 0);
    // slices and reversals of stored numbers, before and after the rounding
    check_graph("graph @main\naxis Z = 3, T : time = 40, P : time = 21, D = 27, F = 33\n{\n"
                "  %1.x = arg \"x\" : f32[Z,T,D]\n  %2 = at %1 {axis = Z, index = 1}\n  %3 = slice %2 {axis = T, start = 7, to = P}\n"
                "  %4 = cast %3 {to = bf16}\n  %5 = reverse %4 {axis = P}\n  %6.w = param \"w\" : f32[D,F]\n"
                "  %7 = reverse %6 {axis = D}\n  %8 = cast %7 {to = bf16}\n  %9 = contract %5, %8 {over = [D]}\n"
                "  %10.y = cast %9 {to = f32}\n  result \"y\" = %10\n}\n", true, 0);
    // batches, in another order of axes
    check_graph("graph @main\naxis B = 3, H = 2, T : time = 29, S = 31, K = 19\n{\n"
                "  %1.q = arg \"q\" : f32[B,T,H,K]\n  %2.k = arg \"k\" : f32[H,B,S,K]\n  %3 = cast %1 {to = bf16}\n"
                "  %4 = cast %2 {to = bf16}\n  %5 = contract %3, %4 {over = [K]}\n  %6.s = cast %5 {to = f32}\n"
                "  result \"s\" = %6\n}\n", true, 0);
}

static void a_machine_without_the_instruction_keeps_float32_panels(void **state)
{
    (void)state;
    const Sizes sizes = {30, 40, 50, false, false};
    const double exact = 0;
    Arena arena = {0};
    Target target = target_pairs;
    Case c;
    static const char *const passes[] = {"fuse_product", "fuse_loops"};
    target.has_bf16_dot = false;
    case_begin(&c, product_text(&arena, &sizes), &target);
    c.whole = true;
    assert_true(run_passes(&c, passes, 2));
    case_compile(&c, "gcc", "-O1");
    assert_false(uses_pairs(c.program));
    run(&c, against_evaluator, &exact);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers_are_exact_at_every_size),
        cmocka_unit_test(fractions_stay_within_the_bound_of_float32_sums),
        cmocka_unit_test(epilogues_work_in_float32),
        cmocka_unit_test(prologues_round_what_they_computed),
        cmocka_unit_test(a_machine_without_the_instruction_keeps_float32_panels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
