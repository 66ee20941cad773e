// Products with zeros away from a diagonal, on either side and both ways round, and products of which a band is wanted: the numbers
// of the whole product, and as many operations as the band has.
#include "run_graph.h"

// rows of A by T, terms T'; columns by C. %s: the masked operand's definition as %6, from w = %1 and the mask %4.
static const char *const form =
    "graph @main\naxis B : batch = 3, T : time = %d, T' : time = %d twin T, C = %d\n{\n %%1 = arg \"w\" : f32[T,T']\n"
    " %%2 = index {axis = T}\n %%3 = index {axis = T'}\n %%4 = %s\n %%5 = const {value = 0} : f32[]\n %%6 = %s : f32[T,T']\n"
    " %%7 = arg \"x\" : f32[B,T',C]\n %%8 = arg \"z\" : f32[B,T,C]\n %%9 = arg \"v\" : f32[B,C,T']\n"
    " %%10 = contract %%6, %%7 {over = [T']}\n"      // terms up to the row
    " %%11 = contract %%6, %%8 {over = [T]}\n"       // terms from the row on
    " %%12 = contract %%9, %%6 {over = [T']} : f32[B,C,T]\n"      // the triangle on the columns' side
    " %%13 = contract %%8, %%7 {over = [B,C]} : f32[T,T']\n %%14 = %s\n"
    " result \"a\" = %%10\n result \"b\" = %%11\n result \"c\" = %%12\n result \"d\" = %%14\n}\n";

static void check_masks(int T, int C)
{
    static const char *const mask[][3] = {
        {"le %3, %2", "select %4, %1, %5", "select %4, %13, %5"}, {"lt %3, %2", "mul %1, %4", "mul %4, %13"},
        {"lt %2, %3", "select %4, %5, %1", "select %4, %5, %13"}, {"le %2, %3", "select %4, %1, %5", "select %4, %13, %5"},
    };
    for (size_t i = 0; i < sizeof mask / sizeof *mask; i++) {
        char text[2048];
        snprintf(text, sizeof text, form, T, T, C, mask[i][0], mask[i][1], mask[i][2]);
        check_graph(text, 2e-5);
    }
}

// Local windows: a mask %10 made of %5 to %10, the masked operand, and what is wanted of a product %22. Bounds that leave rows
// without terms, or nothing at all; numbers that are not whole.
#define DIFFERENCE(a, b, value) " %5 = sub " a ", " b "\n %6 = cast %5 {to = f32}\n %7 = const {value = " value "} : f32[]\n"
#define NUMBER(value) " %5 = const {value = " value "} : int[]\n"
#define FILLER " %6 = index {axis = T}\n %7 = index {axis = T}\n"
static const char *const window[][3] = {
    {DIFFERENCE("%2", "%3", "9") " %8 = map %6 {f = abs}\n %9 = index {axis = T}\n %10 = lt %8, %7\n", "mul %10, %1", "mul %22, %10"},
    {DIFFERENCE("%3", "%2", "20") " %8 = map %6 {f = abs}\n %9 = index {axis = T}\n %10 = le %8, %7\n", "select %10, %1, %4", "select %10, %22, %4"},
    {DIFFERENCE("%2", "%3", "4.5") " %8 = lt %6, %7\n %9 = le %3, %2\n %10 = mul %8, %9\n", "select %10, %1, %4", "select %10, %22, %4"},
    {NUMBER("30") " %6 = add %3, %5\n %7 = neg %6\n %8 = neg %2\n %9 = add %8, %5\n %10 = le %9, %7\n", "select %10, %1, %4", "mul %22, %10"},
    {NUMBER("17") FILLER " %8 = sub %3, %5\n %9 = neg %8\n %10 = lt %8, %2\n", "select %10, %4, %1", "select %10, %4, %22"},
    {NUMBER("3") FILLER " %8 = add %3, %5\n %9 = neg %8\n %10 = eq %8, %2\n", "mul %1, %10", "select %10, %22, %4"},
    {DIFFERENCE("%3", "%2", "-5") " %8 = map %6 {f = abs}\n %9 = index {axis = T}\n %10 = lt %8, %7\n", "mul %1, %10", "select %10, %22, %4"},
    {DIFFERENCE("%2", "%3", "12") " %8 = lt %6, %7\n %9 = select %8, %1, %4\n %10 = le %3, %2\n", "select %10, %9, %4", "select %10, %22, %4"},
};

static const char *windowed(char *text, size_t room, int T, int S, int C, size_t i, const char *round)
{
    snprintf(text, room,
        "graph @main\naxis B : batch = 3, T : time = %d, T' : time = %d, C = %d\n{\n %%1 = arg \"w\" : f32[T,T']\n"
        " %%2 = index {axis = T}\n %%3 = index {axis = T'}\n %%4 = const {value = 0} : f32[]\n%s %%11 = %s : f32[T,T']\n"
        " %%12 = arg \"x\" : f32[B,T',C]\n %%13 = arg \"z\" : f32[B,T,C]\n %%14 = arg \"v\" : f32[B,C,T']\n"
        " %%15 = cast %%11 {to = %s}\n %%16 = cast %%12 {to = %s}\n %%17 = cast %%13 {to = %s}\n %%18 = cast %%14 {to = %s}\n"
        " %%19 = contract %%15, %%16 {over = [T']} : %s[B,T,C]\n %%20 = contract %%15, %%17 {over = [T]} : %s[B,T',C]\n"
        " %%21 = contract %%18, %%15 {over = [T']} : %s[B,C,T]\n %%22 = contract %%13, %%12 {over = [B,C]} : f32[T,T']\n %%23 = %s\n"
        " result \"a\" = %%19\n result \"b\" = %%20\n result \"c\" = %%21\n result \"d\" = %%23\n}\n",
        T, S, C, window[i][0], window[i][1], round, round, round, round, round, round, round, window[i][2]);
    return text;
}

// A bf16 result is rounded to 8 bits: one unit more or less where sums in another order fall on the other side.
static void test_windows(void **state)
{
    (void)state;
    char text[4096];
    for (size_t i = 0; i < sizeof window / sizeof *window; i++) {
        check_graph(windowed(text, sizeof text, 45, 45, 40, i, "f32"), 2e-5);
        check_graph(windowed(text, sizeof text, 90, 41, 33, i, "bf16"), 8e-3);
    }
}

static void test_long_windows(void **state)
{
    (void)state;
    char text[4096];
    check_graph(windowed(text, sizeof text, 700, 650, 33, 2, "f32"), 2e-5);
    check_graph(windowed(text, sizeof text, 500, 700, 33, 1, "bf16"), 8e-3);
}

static void test_small(void **state)
{
    (void)state;
    check_masks(45, 40);
}

static void test_blocks(void **state)
{
    (void)state;
    char text[2048];
    snprintf(text, sizeof text, form, 700, 700, 33, "le %3, %2", "select %4, %1, %5", "select %4, %13, %5");
    check_graph(text, 2e-5);
}

// Three products skip terms and one skips tiles; without the mask none does.
static void test_skipped(void **state)
{
    (void)state;
    for (int masked = 0; masked <= 1; masked++) {
        Ran r;
        char text[2048];
        snprintf(text, sizeof text, form, 700, 700, 33, masked ? "le %3, %2" : "ne %3, %2", "select %4, %1, %5", "select %4, %13, %5");
        compile_only(&r, text, 16);
        double flops = 0, whole = 2 * (3 * 3 + 3) * 700.0 * 700 * 33 - 2 * 700.0 * 700;
        for (size_t l = 0; l < r.program->n_launches; l++)
            if (r.program->kernel[r.program->launch[l].kernel].family == FAMILY_CONTRACT)
                flops += r.program->launch[l].flops;
        assert_true(masked ? flops < 0.55 * whole : flops > 0.9 * whole);
        arena_free(&r.arena);
    }
}

static double product_flops_of(const char *text)
{
    Ran r;
    compile_only(&r, text, 16);
    double flops = 0;
    for (size_t l = 0; l < r.program->n_launches; l++) {
        const Kernel *kernel = &r.program->kernel[r.program->launch[l].kernel];
        if (kernel->family == FAMILY_CONTRACT && !strstr(kernel->name, "_pack"))    // rounding while packing is no multiplication
            flops += r.program->launch[l].flops;
    }
    arena_free(&r.arena);
    return flops;
}

// The share of all terms that each mask leaves of 700 positions. The last one is a mask in a mask, of which the weight's gradient sees
// the outer one.
static void test_windows_cost_their_width(void **state)
{
    (void)state;
    static const double share[] = {17 / 700.0, 41 / 700.0, 5 / 700.0, 0.419, 0.478, 1 / 700.0, 0, (9 * 12 / 700.0 + 3 * 0.5) / 12};
    char text[4096];
    for (size_t i = 0; i < sizeof window / sizeof *window; i++)
        for (int pairs = 0; pairs <= 1; pairs++) {
            const double whole = 2 * (3 * 3 + 3) * 700.0 * 700 * 33;
            const double flops = product_flops_of(windowed(text, sizeof text, 700, 700, 33, i, pairs ? "bf16" : "f32"));
            assert_true(flops <= 1.02 * share[i] * whole && flops >= 0.9 * share[i] * whole);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_skipped),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_long_windows),
        cmocka_unit_test(test_windows_cost_their_width),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
