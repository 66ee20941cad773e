// put: what is new is written into a state where the state lies, and copied where somebody needs the old one.
#include "run_graph.h"

// A row of a cache, and what reads the cache with the row in it.
static const char *const in_place =
    "graph @main\naxis B : batch = 2, T : time = 5, R : time = 1, D = 19\n{\n %1 = state \"cache\" : f32[B,T,D]\n"
    " %2 = arg \"t\" : int[]\n %3 = arg \"x\" : f32[B,R,D]\n %4 = index {axis = R} : int[R]\n %5 = add %2, %4 : int[R]\n"
    " %6 = map %3 {f = tanh}\n %7 = put %1, %5, %6 {axis = T} : f32[B,T,D]\n %8 = reduce %7 {f = sum, over = [T]}\n"
    " result \"sum\" = %8\n next \"cache\" = %7\n}\n";

// The row is made of the cache itself, and a result shows what was there before.
static const char *const old_is_read =
    "graph @main\naxis B : batch = 2, T : time = 5, D = 19\n{\n %1 = state \"cache\" : f32[B,D,T]\n %2 = arg \"t\" : int[]\n"
    " %3 = take %1, %2 {axis = T} : f32[B,D]\n %4 = reduce %1 {f = sum, over = [T]}\n %5 = add %3, %4\n"
    " %6 = put %1, %2, %5 {axis = T} : f32[B,D,T]\n %7 = reduce %1 {f = max, over = [D]}\n"
    " result \"before\" = %7\n next \"cache\" = %6\n}\n";

// Whole numbers, put twice into what an op made; both indices may be none.
static const char *const of_a_value =
    "graph @main\naxis T : time = 6, R = 3, K = 2\n{\n %1 = arg \"x\" : int[T,K]\n %2 = arg \"i\" : int[R]\n %3 = arg \"y\" : int[R,K]\n"
    " %4 = const {value = 1} : int[]\n %5 = add %1, %4\n %6 = sub %2, %4\n %7 = put %5, %6, %3 {axis = T} : int[T,K]\n"
    " %8 = arg \"k\" : int[T]\n %9 = arg \"z\" : int[T]\n %10 = put %7, %8, %9 {axis = K} : int[T,K]\n result \"r\" = %10\n"
    " result \"s\" = %7\n}\n";

static void test_numbers(void **state)
{
    (void)state;
    check_graph(in_place, 1e-6);
    check_graph(old_is_read, 1e-6);
    check_graph(of_a_value, 0);
}

static size_t count_copies(const char *text)
{
    Ran r;
    size_t n = 0;
    compile_graph(&r, text, 16);
    for (size_t i = 0; i < r.program->n_launches; i++)
        n += strncmp(r.program->kernel[r.program->launch[i].kernel].name, "copy_", 5) == 0;
    arena_free(&r.arena);
    return n;
}

static void test_copies(void **state)
{
    (void)state;
    assert_int_equal(count_copies(in_place), 0);
    assert_true(count_copies(of_a_value) >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
