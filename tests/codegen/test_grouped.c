// GROUPED kernels against the evaluator: rows that choose their matrix, and the sums that are its gradient. Choices are
// dropped, experts stay empty, one expert gets all; sizes lie around tiles and blocks; one thread and three give the same bits.
#include "run_graph.h"

typedef struct Size { int tokens, choices, experts, wide, hidden; } Size;

// A routed feed-forward layer and its gradients by hand. `index` makes %3 from %1 (int leaf) and %2 (const 1).
static const char *layer_text(Arena *arena, Size s, const char *index)
{
    return arena_printf(arena,
        "graph @main\naxis T : time = %d, K = %d, E : expert = %d, D = %d, F = %d\n{\n"
        "  %%1.i = arg \"i\" : int[T,K]\n  %%2 = const {value = 1} : int[]\n  %%3 = %s\n"
        "  %%4.x = arg \"x\" : f32[T,D]\n  %%5.W1 = param \"W1\" : f32[E,D,F]\n  %%6.W2 = param \"W2\" : f32[E,F,D]\n"
        "  %%7.b1 = param \"b1\" : f32[E,F]\n  %%8.gate = arg \"gate\" : f32[T,K]\n  %%9.dy = arg \"dy\" : f32[T,D]\n"
        "  %%10 = take %%5, %%3 {axis = E}\n  %%11 = take %%6, %%3 {axis = E}\n  %%12 = take %%7, %%3 {axis = E}\n"
        "  %%13 = contract %%4, %%10 {over = [D]}\n  %%14.u = add %%13, %%12\n  %%15.h = map %%14 {f = silu}\n"
        "  %%16 = contract %%15, %%11 {over = [F]}\n  %%17 = mul %%16, %%8\n  %%18.y = reduce %%17 {f = sum, over = [K]}\n"
        "  %%19 = mul %%9, %%8 : f32[T,D,K]\n  %%20 = contract %%19, %%11 {over = [D]}\n  %%21 = slope %%14 {f = silu}\n"
        "  %%22.du = mul %%20, %%21\n  %%23 = mul %%15, %%19\n  %%24 = put_add %%23, %%3 {over = [T,K], to = E}\n"
        "  %%25 = mul %%4, %%22\n  %%26 = put_add %%25, %%3 {over = [T,K], to = E}\n"
        "  %%27 = put_add %%22, %%3 {over = [T,K], to = E}\n  %%28 = contract %%22, %%10 {over = [F]}\n"
        "  %%29.dx = reduce %%28 {f = sum, over = [K]}\n"
        "  result \"y\" = %%18\n  grad \"param.W1\" = %%26\n  grad \"param.W2\" = %%24\n  grad \"param.b1\" = %%27\n"
        "  grad \"input.x\" = %%29\n}\n", s.tokens, s.choices, s.experts, s.wide, s.hidden, index);
}

static size_t count_grouped(const Graph *g)
{
    size_t n = 0;
    for (size_t k = 1; k < g->n_kernels; k++)
        n += g->kernel[k] == FAMILY_GROUPED;
    return n;
}

static const char *const all_chosen = "mul %1, %2", *const some_dropped = "sub %1, %2", *const one_expert = "sub %1, %1";

static void sizes(void **state)
{
    (void)state;
    static const Size size[] = {
        {1, 1, 4, 96, 800}, {63, 2, 5, 33, 47}, {64, 1, 7, 40, 64}, {65, 5, 5, 17, 70}, {65, 2, 90, 32, 32}, {300, 2, 3, 24, 300},
        {400, 1, 2, 20, 530},
    };
    Arena arena = {0};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        check_graph(layer_text(&arena, size[i], i % 2 ? some_dropped : i == 2 ? one_expert : all_chosen), 5e-6);
    arena_free(&arena);
}

// Both products of the layer, and the gradients of their rows and weights, are grouped kernels, and share one order of rows.
static void family(void **state)
{
    (void)state;
    Arena arena = {0};
    Ran r;
    compile_graph(&r, layer_text(&arena, (Size){40, 2, 5, 24, 48}, some_dropped), 8);
    assert_int_equal(count_grouped(r.fused), 6);
    size_t n_orders = 0;
    for (size_t i = 0; i < r.program->n_launches; i++)
        n_orders += strstr(r.program->kernel[r.program->launch[i].kernel].name, "order") != NULL;
    assert_int_equal(n_orders, 1);
    arena_free(&r.arena);
    arena_free(&arena);
}

// Weights of several heads, chosen for each head on its own; rows in another order than the index; a choice for all.
static void paired(void **state)
{
    (void)state;
    check_graph("graph @main\naxis T : time = 37, H = 3, K = 2, E : expert = 4, D = 30, F = 36\n{\n"
                "  %1.i = arg \"i\" : int[T,H,K]\n  %2 = const {value = 1} : int[]\n  %3 = sub %1, %2\n"
                "  %4.x = arg \"x\" : f32[T,D]\n  %5.W = param \"W\" : f32[H,E,D,F]\n  %6 = take %5, %3 {axis = E}\n"
                "  %7.v = contract %4, %6 {over = [D]} : f32[T,H,K,F]\n  %8.dv = arg \"dv\" : f32[T,H,K,F]\n"
                "  %9 = mul %4, %8\n  %10 = put_add %9, %3 {over = [T,K], to = E}\n"
                "  %11.o = arg \"o\" : f32[T,H,D]\n  %12 = contract %11, %6 {over = [D]}\n"
                "  result \"v\" = %7\n  grad \"param.W\" = %10\n  result \"p\" = %12\n}\n", 5e-6);
    check_graph("graph @main\naxis B = 3, T : time = 21, E : expert = 4, D = 30, F = 36\n{\n"
                "  %1.i = arg \"i\" : int[B]\n  %2.x = arg \"x\" : f32[B,D]\n  %3.W = param \"W\" : f32[F,E,D]\n"
                "  %4 = take %3, %1 {axis = E}\n  %5.y = contract %2, %4 {over = [D]} : f32[B,F]\n"
                "  %6.z = arg \"z\" : f32[B,T,D]\n  %7 = contract %6, %4 {over = [D]}\n"
                "  result \"y\" = %5\n  result \"z\" = %7\n}\n", 5e-6);
}

// Adam's update and the sum of squares follow the gradient in its kernel: it is not stored, and states are overwritten in place.
static const char *const update_text =
    "graph @step\naxis T : time = 50, K = 2, E : expert = 6, D = 36, F = 50\n{\n"
    "  %1.i = arg \"i\" : int[T,K]\n  %2 = const {value = 1} : int[]\n  %3 = sub %1, %2\n"
    "  %4.x = arg \"x\" : f32[T,D]\n  %5.du = arg \"du\" : f32[T,K,F]\n  %6.W = param \"W\" : f32[E,D,F]\n"
    "  %7.m = state \"m\" : f32[E,D,F]\n  %8.v = state \"positive v\" : f32[E,D,F]\n  %9.lr = arg \"lr\" : f32[]\n"
    "  %10 = mul %4, %5\n  %11.dW = put_add %10, %3 {over = [T,K], to = E}\n  %12 = mul %11, %11\n"
    "  %13.norm = reduce %12 {f = sum, over = [E,D,F]}\n  %14 = const {value = 0.9} : f32[]\n  %15 = const {value = 0.1} : f32[]\n"
    "  %16 = mul %7, %14\n  %17 = mul %11, %15\n  %18.m = add %16, %17\n  %19 = mul %8, %14\n  %20 = mul %12, %15\n"
    "  %21.v = add %19, %20\n  %22 = map %21 {f = sqrt}\n  %23 = add %22, %15\n  %24 = div %18, %23\n  %25 = mul %24, %9\n"
    "  %26 = sub %6, %25\n  %27 = take %6, %3 {axis = E}\n  %28.dx = contract %5, %27 {over = [F]}\n"
    "  watch \"norm\" = %13\n  next \"W\" = %26\n  next \"m\" = %18\n  next \"positive v\" = %21\n  result \"dx\" = %28\n}\n";

static void update(void **state)
{
    (void)state;
    Ran r;
    compile_graph(&r, update_text, 8);
    assert_int_equal(r.fused->node[11].kernel, 0);
    for (size_t k = 1; k < r.program->n_kernels; k++)
        assert_null(strstr(r.program->kernel[k].name, "copy"));
    arena_free(&r.arena);
    check_graph(update_text, 5e-6);
}

// Other vector lengths than the machine's: the text is the same for any.
static void lanes(void **state)
{
    (void)state;
    static const int length[] = {4, 8, 16};
    Device *d = open_device(2);
    Arena arena = {0};
    for (size_t i = 0; i < 3; i++) {
        Ran r;
        uint64_t bits = 1;
        StatusText why = {0};
        LoadedProgram *l = NULL;
        compile_graph(&r, layer_text(&arena, (Size){63, 2, 5, 33, 47}, some_dropped), length[i]);
        assert_int_equal(device_cpu.load(d, r.program, &l, &why), STATUS_OK);
        write_leaves(&r, l);
        assert_int_equal(device_cpu.run(l, &why), STATUS_OK);
        assert_true(compare_outputs(&r, l, &bits) <= 5e-6);
        device_cpu.unload(l);
        arena_free(&r.arena);
    }
    device_cpu.close(d);
    arena_free(&arena);
}

static const char *bf16_text(Arena *arena, Size s)
{
    return arena_printf(arena,
        "graph @main\naxis T : time = %d, K = %d, E : expert = %d, D = %d, F = %d\n{\n"
        "  %%1.i = arg \"i\" : int[T,K]\n  %%2 = const {value = 1} : int[]\n  %%3 = sub %%1, %%2\n"
        "  %%4.x = arg \"x\" : f32[T,D]\n  %%5.W = param \"W\" : f32[E,D,F]\n  %%6.du = arg \"du\" : f32[T,K,F]\n"
        "  %%7 = cast %%4 {to = bf16}\n  %%8 = cast %%5 {to = bf16}\n  %%9 = cast %%6 {to = bf16}\n"
        "  %%10 = take %%8, %%3 {axis = E}\n  %%11 = contract %%7, %%10 {over = [D]}\n  %%12.u = cast %%11 {to = f32}\n"
        "  %%13 = contract %%9, %%10 {over = [F]}\n  %%14.dx = cast %%13 {to = f32}\n  %%15 = mul %%7, %%9\n"
        "  %%16 = put_add %%15, %%3 {over = [T,K], to = E}\n  %%17.dW = cast %%16 {to = f32}\n"
        "  result \"u\" = %%12\n  result \"dx\" = %%14\n  grad \"param.W\" = %%17\n}\n",
        s.tokens, s.choices, s.experts, s.wide, s.hidden);
}

// bf16: rows and matrices are rounded to pairs of terms where the machine multiplies such; sums stay in float32. Odd numbers of
// terms, rows and columns; a group with one row. The evaluator sums the same rounded operands exactly.
static void bf16(void **state)
{
    (void)state;
    static const Size size[] = {{65, 2, 5, 33, 47}, {40, 1, 30, 24, 96}, {300, 1, 2, 37, 530}};
    Arena arena = {0};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        check_graph(bf16_text(&arena, size[i]), 5e-6);
    arena_free(&arena);
}

// Where no parameter changes, both products read matrices that were rounded once, and again when the host writes others.
static void bf16_kept(void **state)
{
    (void)state;
    static const Size size[] = {{65, 2, 5, 33, 47}, {90, 1, 3, 24, 300}, {300, 1, 2, 700, 530}};
    Target target = {.name = "cpu", .vector_floats = 16, .vector_registers = 32, .l1_bytes = 32768, .l2_bytes = 1 << 20, .threads = 2,
                     .has_bf16_dot = true, .keep_bytes = 1 << 28};
    Device *d = open_device(2);
    Arena arena = {0};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        Ran r;
        uint64_t bits = 1;
        StatusText why = {0};
        LoadedProgram *l = NULL;
        compile_for(&r, bf16_text(&arena, size[i]), &target);
        evaluate(&r);
        assert_int_equal(r.program->n_once, 2);
        assert_int_equal(device_cpu.load(d, r.program, &l, &why), STATUS_OK);
        for (int again = 0; again < 2; again++) {
            write_leaves(&r, l);
            assert_int_equal(device_cpu.run(l, &why), STATUS_OK);
            assert_true(compare_outputs(&r, l, &bits) <= 5e-6);
            const uint32_t w = program_find_buffer(r.program, BUFFER_PARAM, "W");
            float other = 1000;
            assert_int_equal(device_cpu.write(l, w, 0, &other, sizeof other, &why), STATUS_OK);
            assert_int_equal(device_cpu.run(l, &why), STATUS_OK);
            assert_true(compare_outputs(&r, l, &bits) > 1e-2);
        }
        device_cpu.unload(l);
        arena_free(&r.arena);
    }
    device_cpu.close(d);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(family),
        cmocka_unit_test(paired),
        cmocka_unit_test(update),
        cmocka_unit_test(lanes),
        cmocka_unit_test(bf16),
        cmocka_unit_test(bf16_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
