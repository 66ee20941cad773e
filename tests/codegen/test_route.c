// ROUTE kernels against the evaluator: ties, odd sizes, several pools, and the same bits for one thread and for three.
// Scores are whole numbers or far apart, so that float and double agree on who is larger.
#include "run_graph.h"

#define FEW "axis B : batch = 3, T : time = 17, E : expert = 5, K = 2, D = 7, F = 16\n"

static const char *const cases[] = {
    // scores computed in place; ties between whole numbers
    "graph @main\n" FEW "{\n %1 = arg \"x\" : f32[B,T,E]\n %2 = map %1 {f = floor}\n %3 = topk %2 {axis = E, to = K}\n"
    " %4 = topk %1 {axis = E, to = K}\n result \"a\" = %3\n result \"b\" = %4\n}\n",
    "graph @main\n" FEW "{\n %1 = arg \"x\" : f32[B,T,E]\n %2 = map %1 {f = floor}\n %3 = rank %2 {over = [T,E]}\n"
    " %4 = rank %2 {over = [E,B,T]}\n %5 = rank %1 {over = [B]}\n result \"a\" = %3\n result \"b\" = %4\n result \"c\" = %5\n}\n",
    "graph @main\n" FEW "{\n %1 = arg \"i\" : int[B,T,K]\n %2 = slot %1 {axis = E, over = [B,T,K]}\n"
    " %3 = slot %1 {axis = E, over = [K,T]}\n %4 = slot %1 {axis = E, over = [T]}\n"
    " result \"a\" = %2\n result \"b\" = %3\n result \"c\" = %4\n}\n",
    "graph @main\n" FEW "{\n %1 = arg \"i\" : int[B,T,K]\n %2 = arg \"x\" : f32[B,T]\n %3 = rank %2 {over = [B,T]}\n"
    " %4 = slot %1, %3 {axis = E, over = [K,B,T]}\n %5 = rank %2 {over = [T]}\n %6 = slot %1, %5 {axis = E, over = [K,T]}\n"
    " result \"a\" = %4\n result \"b\" = %6\n}\n",
    "graph @main\n" FEW "{\n %1 = arg \"x\" : f32[B,T,E]\n %2 = assign %1 {axis = E, over = [B,T]}\n"
    " %3 = assign %1 {axis = E, over = [T]}\n result \"a\" = %2\n result \"b\" = %3\n}\n",
    // one choice is dropped: its row is zero and takes no part in the gradient's put_add
    // scores by relative positions: rows of R, summed along the last axis; places are repeated, left out, and per row
    "graph @main\naxis B = 5, T : time = 17, S = 19, H = 3, R = 9\n{\n %1 = index {axis = T} : int[T]\n"
    " %2 = index {axis = S} : int[S]\n %3 = sub %2, %1 : int[T,S]\n %4 = const {value = -4} : int[]\n %5 = max %3, %4\n"
    " %6 = const {value = 4} : int[]\n %7 = min %5, %6\n %8 = add %7, %6\n %9 = arg \"dy\" : f32[B,T,H,S]\n"
    " %10 = put_add %9, %8 {over = [S], to = R}\n"
    " %11 = arg \"i\" : int[B,T,S]\n %12 = const {value = 1} : int[]\n %13 = sub %11, %12\n"
    " %14 = put_add %9, %13 {over = [S], to = R}\n result \"a\" = %10\n result \"b\" = %14\n}\n",
    // many choices: compilers have copied these wrongly
    "graph @main\naxis T : time = 33, E : expert = 16, K = 12, Q = 16\n{\n %1 = arg \"x\" : f32[T,E]\n"
    " %2 = topk %1 {axis = E, to = K}\n %3 = topk %1 {axis = E, to = Q}\n result \"a\" = %2\n result \"b\" = %3\n}\n",
    // where the index is none the value is 0, though sigmoid(0) is not, and 0/0 is not
    "graph @main\n" FEW "{\n %1 = arg \"x\" : f32[B,T,E]\n %2 = map %1 {f = exp}\n %3 = reduce %2 {f = sum, over = [E]}\n"
    " %4 = div %2, %3\n %5 = arg \"i\" : int[B,T,K]\n %6 = const {value = 1} : int[]\n %7 = sub %5, %6\n"
    " %8 = const {value = 4} : int[]\n %9 = min %7, %8\n %10 = take %4, %9 {axis = E}\n %11 = map %1 {f = sigmoid}\n"
    " %12 = take %11, %9 {axis = E}\n result \"a\" = %10\n result \"b\" = %12\n}\n",
    "graph @main\n" FEW "{\n %1 = arg \"i\" : int[B,T]\n %2 = arg \"w\" : f32[E,D]\n %3 = slot %1 {axis = E, over = [B,T]}\n"
    " %4 = const {value = 4} : int[]\n %5 = lt %3, %4\n %6 = const {value = -1} : int[]\n %7 = select %5, %1, %6\n"
    " %8 = const {value = 4} : int[]\n %9 = min %7, %8\n"
    " %10 = take %2, %9 {axis = E}\n %11 = put_add %10, %9 {over = [B,T], to = E}\n result \"a\" = %10\n result \"b\" = %11\n}\n",
};

static void test_route_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_graph(cases[i], 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_route_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
