// Products with a triangle of zeros, on either side and both ways round, and products of which a triangle is wanted: the numbers
// of the whole product, and about half of its time's terms in the text.
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
