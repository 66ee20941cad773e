// Scores over a vocabulary and their gradient are one array (codegen/codegen_reuse.c): the gradient is written row by row over scores
// that nobody reads later. Results are those of the evaluator, on the cpu with one thread and three.
#include "run_graph.h"

// %s: what else becomes of the scores.
static const char *const loss =
    "graph @main\naxis B = 3, T : time = %d, V = %d, D = 48\n{\n %%1 = arg \"x\" : f32[B,T,D]\n %%2 = param \"W\" : f32[D,V]\n"
    " %%3 = contract %%1, %%2 {over = [D]}\n %%4 = arg \"targets\" : int[B,T]\n %%5 = reduce %%3 {f = max, over = [V]}\n %%6 = sub %%3, %%5\n"
    " %%7 = map %%6 {f = exp}\n %%8 = reduce %%7 {f = sum, over = [V]}\n %%9 = map %%8 {f = log}\n %%10 = add %%9, %%5\n"
    " %%11 = take %%3, %%4 {axis = V}\n %%12 = sub %%10, %%11\n %%13 = reduce %%12 {f = sum, over = [B,T]}\n %%14 = div %%7, %%8\n"
    " %%15 = index {axis = V} : int[V]\n %%16 = eq %%15, %%4 : f32[B,T,V]\n %%17 = sub %%14, %%16\n"
    " %%18 = contract %%17, %%2 {over = [V]}\n %%19 = contract %%1, %%17 {over = [B,T]}\n%s result \"loss\" = %%13\n"
    " grad \"input.x\" = %%18\n grad \"param.W\" = %%19\n}\n";

// Places in memory for an element of each token and each word.
static size_t count_wide(const Program *p)
{
    size_t n = 0;
    for (uint32_t b = 1; b < p->n_buffers; b++)
        n += p->buffer[b].n_axes == 3 && !strcmp(p->buffer[b].axis[2], "V");
    return n;
}

static void check_loss(int tokens, int words, const char *more, size_t n_wide)
{
    Arena arena = {0};
    Ran r;
    const char *text = arena_printf(&arena, loss, tokens, words, more);
    compile_only(&r, text, 16);
    assert_int_equal(count_wide(r.program), n_wide);
    arena_free(&r.arena);
    check_graph(text, 5e-6);
    arena_free(&arena);
}

static void gradient_over_scores(void **state)
{
    (void)state;
    check_loss(40, 70, "", 1);
    check_loss(21, 16, "", 1);
    check_loss(5, 530, "", 1);
}

static void scores_that_are_read_again_stay(void **state)
{
    (void)state;
    check_loss(40, 70, " result \"scores\" = %3\n", 2);
    check_loss(40, 70, " %20 = map %3 {f = sin}\n %21 = mul %20, %17\n %22 = reduce %21 {f = sum, over = [V]}\n result \"z\" = %22\n", 2);
    check_loss(40, 70, " result \"gradient\" = %17\n", 2);
}

// A softmax %10 of one product and its gradient %13 from another are made in one loop. Each could be written over a product, but what is
// written first must not be what the other still reads.
static const char *const pair =
    "graph @main\naxis B = 3, T : time = 40, V = 70, D = 48\n{\n %1 = arg \"x\" : f32[B,T,D]\n %2 = param \"W\" : f32[D,V]\n"
    " %3 = contract %1, %2 {over = [D]}\n %4 = param \"U\" : f32[D,V]\n %5 = contract %1, %4 {over = [D]}\n"
    " %6 = reduce %3 {f = max, over = [V]}\n %7 = sub %3, %6\n %8 = map %7 {f = exp}\n %9 = reduce %8 {f = sum, over = [V]}\n"
    " %10 = div %8, %9\n %11 = reduce %1 {f = sum, over = [D]}\n %12 = sub %5, %11\n %13 = mul %12, %10\n"
    " %14 = contract %10, %1 {over = [B,T]}\n %15 = contract %13, %1 {over = [B,T]}\n"
    " %16 = contract %13, %4 {over = [V]}\n result \"dv\" = %14\n result \"dk\" = %15\n result \"dx\" = %16\n}\n";

static void two_gradients_in_a_loop(void **state)
{
    (void)state;
    Ran r;
    compile_only(&r, pair, 16);
    assert_int_equal(count_wide(r.program), 3);        // the gradient is over the second product, which only it reads
    arena_free(&r.arena);
    check_graph(pair, 5e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradient_over_scores),
        cmocka_unit_test(scores_that_are_read_again_stay),
        cmocka_unit_test(two_gradients_in_a_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
