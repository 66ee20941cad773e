// CONV kernels against the evaluator: by transforms and directly, and the same bits for one thread and for three.
#include "run_graph.h"

// A filter over rows (gated on the way in), one that reaches both ways, and a filter's gradient; lengths that are no good sizes.
static const char *const form =
    "graph @main\naxis B : batch = %d, T : time = %d, S = %d, C = %d\n{\n"
    " %%1 = arg \"x\" : f32[B,T,C]\n %%2 = arg \"k\" : f32[S,C]\n %%3 = arg \"g\" : f32[B,T,C]\n %%4 = mul %%1, %%3\n"
    " %%5 = fftconv %%4, %%2 {axis = T, taps = S, to = T, left = %d, over = [], circular = 0}\n"
    " %%6 = fftconv %%1, %%3 {axis = T, taps = T, to = S, left = %d, over = [B], circular = 0}\n"
    " result \"y\" = %%5\n result \"d\" = %%6\n}\n";

static void test_lengths(void **state)
{
    (void)state;
    static const int size[][5] = {      // B, T, S, C, left
        {2, 96, 96, 16, 0}, {3, 127, 127, 19, 0}, {1, 150, 300, 5, 150}, {4, 211, 100, 8, 3}, {2, 331, 97, 1, -4}, {2, 700, 64, 4, 0},
        {3, 640, 640, 3, 0},
    };
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        char text[1024];
        snprintf(text, sizeof text, form, size[i][0], size[i][1], size[i][2], size[i][3], size[i][4], size[i][1] - 1 - size[i][4]);
        check_graph(text, 5e-6);
    }
}

// Circular ones; several axes of rows and filters; filters that lack the innermost axis.
static const char *const cases[] = {
    "graph @main\naxis B : batch = 3, T : time = 128, C = 6\n{\n %1 = arg \"x\" : f32[B,T,C]\n %2 = arg \"k\" : f32[T,C]\n"
    " %3 = fftconv %1, %2 {axis = T, taps = T, to = T, left = 5, over = [], circular = 1}\n result \"y\" = %3\n}\n",
    "graph @main\naxis B : batch = 2, T : time = 101, C = 6\n{\n %1 = arg \"x\" : f32[C,B,T]\n %2 = arg \"k\" : f32[T,C]\n"
    " %3 = fftconv %1, %2 {axis = T, taps = T, to = T, left = 5, over = [], circular = 1}\n result \"y\" = %3\n}\n",
    "graph @main\naxis B : batch = 2, T : time = 101, H = 3, I = 5, J = 20\n{\n %1 = arg \"x\" : f32[B,T,H,I,J]\n"
    " %2 = arg \"k\" : f32[T,H]\n %3 = fftconv %1, %2 {axis = T, taps = T, to = T, left = 0, over = [], circular = 0}\n"
    " %4 = fftconv %1, %2 {axis = T, taps = T, to = T, left = 0, over = [H], circular = 0}\n result \"y\" = %3\n result \"z\" = %4\n}\n",
    // a value computed in place that is not 0 where what it is made of is
    "graph @main\naxis B : batch = 2, T : time = 11, S = 5, C = 20\n{\n %1 = arg \"x\" : f32[B,T,C]\n %2 = arg \"k\" : f32[S,C]\n"
    " %3 = arg \"g\" : f32[B,T]\n %4 = map %3 {f = exp}\n %5 = div %1, %4\n %6 = map %5 {f = cos}\n"
    " %7 = fftconv %6, %2 {axis = T, taps = S, to = T, left = 2, over = [], circular = 0}\n result \"y\" = %7\n}\n",
    "graph @main\naxis B : batch = 2, T : time = 130, H = 3, C = 4\n{\n %1 = arg \"x\" : f32[B,C,T]\n"
    " %2 = arg \"k\" : f32[H,C,T]\n %3 = fftconv %1, %2 {axis = T, taps = T, to = T, left = 64, over = [], circular = 0}\n"
    " result \"y\" = %3\n}\n",
};

// What stands before and behind a convolution is part of its kernel: one kernel, for short filters and for long ones. The
// result of the convolution itself may be kept too.
static const char *const gated =
    "graph @main\naxis B : batch = 3, T : time = %d, S = %d, C = 21\n{\n %%1 = arg \"x\" : f32[B,T,C]\n"
    " %%2 = arg \"k\" : f32[S,C]\n %%3 = arg \"before\" : f32[B,T,C]\n %%4 = arg \"behind\" : f32[B,T,C]\n %%5 = arg \"skip\" : f32[C]\n"
    " %%6 = mul %%1, %%3\n %%7.conv = fftconv %%6, %%2 {axis = T, taps = S, to = T, left = 0, over = [], circular = 0}\n"
    " %%8 = mul %%6, %%5\n %%9 = add %%7, %%8\n %%10.y = mul %%9, %%4\n result \"y\" = %%10\n%s}\n";

static void test_gates(void **state)
{
    (void)state;
    static const int size[][2] = {{3, 2}, {40, 5}, {64, 64}, {300, 300}, {333, 111}};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        for (int kept = 0; kept <= 1; kept++) {
            char text[1024];
            snprintf(text, sizeof text, gated, size[i][0], size[i][1], kept ? " result \"conv\" = %7\n" : "");
            check_graph(text, 5e-6);
        }
}

static void test_forms(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_graph(cases[i], 5e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_gates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
