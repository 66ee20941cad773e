// Long convolutions with implicit filters, from std.hyena and in models/m2bert.mix: numbers that the authors' modules
// gave in double precision, alignment of the directions, and lengths below the grid's.
#include "filled.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const double *result_of(Run *r, const char *text, const char *name, const Fill *fill)
{
    build_text(r, text, &(BuildOptions){.mode = MODE_EVAL});
    must_build(r);
    return filled_result(r, name, fill);
}

static void directions_are_aligned(void **state)
{
    (void)state;
    static const char text[] = "mix 1\naxis T : time = 4\nmodel X(u: [T], f: [T], r: [T]) -> y: [T] {\n"
                               "  y = fftconv(u, f, reverse=r, over=T) + 0.5*u\n}\n";
    const double u[] = {1, 2, 3, 4}, f[] = {1, 10, 100, 1000}, rev[] = {.1, .01, .001, .0001}, pulse[] = {0, 0, 1, 0};
    Fill fill[] = {{"u", "T", 0, 0, 0, 0, u}, {"f", "T", 0, 0, 0, 0, f}, {"r", "T", 0, 0, 0, 0, rev}, {0}};
    Run r;
    near(result_of(&r, text, "y", fill), (double[]){1.734, 13.34, 124.9, 1236}, 4, 1e-12);
    finish(&r);
    fill[0].data = pulse;                   // k_fwd[0] at its place, k_fwd[1] after it, k_rev[0] before it
    near(result_of(&r, text, "y", fill), (double[]){0.01, 0.1, 1.5, 10}, 4, 1e-12);
    finish(&r);
}

static void short_convolution(void **state)
{
    (void)state;
    const double u[] = {1, 2, 3, 4}, w[] = {1, 10, 100};
    const Fill fill[] = {{"u", "T,D", 0, 0, 0, 0, u}, {"w", "D,J", 0, 0, 0, 0, w}, {"b", "D", 0.5, 0, 0, 0, NULL}, {0}};
    Run r;
    near(result_of(&r, "mix 1\nuse std.hyena\naxis T : time = 4, D = 1\nmodel X(u: [T,D]) -> y: [T,D] { y = Short(u) }\n",
                   "y", fill), (double[]){100.5, 210.5, 321.5, 432.5}, 4, 1e-12);
    finish(&r);
}

// Windows with a number of zeros on each side, as in networks for pictures; `same` pads for as many places as entries.
static void zeros_on_each_side(void **state)
{
    (void)state;
    static const char text[] = "mix 1\nconst p = 1\naxis T : time = 4, O = 2, J = 3\nmodel X(x: [T]) -> y: [O,J], z: [O,J] {\n"
                               "  y = x.window(T -> O*J, stride=2, pad=p)\n  z = x.window(T -> O*J, stride=2, pad=same)\n}\n";
    const double x[] = {1, 2, 3, 4};
    const Fill fill[] = {{"x", "T", 0, 0, 0, 0, x}, {0}};
    Run r;
    near(result_of(&r, text, "y", fill), (double[]){0, 1, 2, 2, 3, 4}, 6, 0);
    near(filled_result(&r, "z", fill), (double[]){1, 2, 3, 3, 4, 0}, 6, 0);
    finish(&r);
}

static void features_and_window(void **state)
{
    (void)state;
    static const char text[] = "mix 1\nuse std.hyena\naxis T : time = 8, C = 4\nmodel X(one: []) -> k: [T,C] {\n"
                               "  k = one * Filter[N=8, e=5, o=2, w=1, inner=0]()\n}\n";
    const Fill fill[] = {{"one", "", 1, 0, 0, 0, NULL}, {"Wi", "Z,O", 0, 0, 0, 0, NULL}, {"bi", "O", M_PI / 2, 0, 0, 0, NULL},
                         {"Wo", "O,C", 0.5, 0, 0, 0, NULL}, {.name = "z"}, {.name = "f"}, {0}};     // the network is 1 everywhere
    Run r;
    const double *k = result_of(&r, text, "k", fill), *z = first_value(&r, "X.Filter.z");
    near(z + 5, (double[]){0.142857, 1, 0.707107, -0.000079, -0.707107}, 5, 5e-7);
    near(z + 35, (double[]){1, 1, 0.707107, -0.000550, 0.707107}, 5, 5e-7);
    near(k + 4, (double[]){0.644947, 0.359381, 0.200257, 0.111588}, 4, 5e-7);
    near(k + 28, (double[]){0.046416, 0.000774, 0.000013, 0.000000215}, 4, 5e-7);
    finish(&r);
}

// The mixer of models/m2bert.mix. Seeds of the networks count (W0,b0,W1,b1,W2,b2,W3), forward then backward, module by
// module; `first` is the layer's.
#define MIXER_ROWS(first, path) \
    {.name = path "Long.Filters.z"}, {.name = path "Long.Filters.f"}, {.name = path "Long.2.Filters.z"}, {.name = path "Long.2.Filters.f"}, \
    {path "Long.Filters.Wi", "O,Z", 0, 0.5, first + 10, 7, NULL}, {path "Long.Filters.bi", "O", 0, 0.5, first + 11, 7, NULL}, \
    {path "Long.Filters.l0.W", "O',O", 0, 0.5, first + 12, 7, NULL}, {path "Long.Filters.l0.b", "O'", 0, 0.5, first + 13, 7, NULL}, \
    {path "Long.Filters.l1.W", "O',O", 0, 0.5, first + 14, 7, NULL}, {path "Long.Filters.l1.b", "O'", 0, 0.5, first + 15, 7, NULL}, \
    {path "Long.Filters.Wo", "D,O", 0, 0.5, first + 16, 7, NULL}, {path "Long.skip", "D", 0, 0.5, first + 5, 0, NULL}, \
    {path "Long.2.Filters.Wi", "O,Z", 0, 0.5, first + 24, 7, NULL}, {path "Long.2.Filters.bi", "O", 0, 0.5, first + 25, 7, NULL}, \
    {path "Long.2.Filters.l0.W", "O',O", 0, 0.5, first + 26, 7, NULL}, \
    {path "Long.2.Filters.l0.b", "O'", 0, 0.5, first + 27, 7, NULL}, \
    {path "Long.2.Filters.l1.W", "O',O", 0, 0.5, first + 28, 7, NULL}, \
    {path "Long.2.Filters.l1.b", "O'", 0, 0.5, first + 29, 7, NULL}, \
    {path "Long.2.Filters.Wo", "D,O", 0, 0.5, first + 30, 7, NULL}, {path "Long.2.skip", "D", 0, 0.5, first + 6, 0, NULL}, \
    {path "Wi", "C,D", 0, 0.5, first + 1, 0, NULL}, {path "bi", "C", 0, 0.5, first + 2, 0, NULL}, \
    {path "Short.w", "C,J", 0, 0.5, first + 3, 0, NULL}, {path "Short.b", "C", 0, 0.5, first + 4, 0, NULL}, \
    {path "Wo", "D,D'", 0, 0.5, first + 7, 0, NULL}, {path "bo", "D", 0, 0.5, first + 8, 0, NULL}

static void build_m2bert(Run *r, const char *entry, const char *const *bindings)
{
    Binding binding[12];
    size_t n = 0;
    for (; bindings[2 * n]; n++)
        binding[n] = (Binding){bindings[2 * n], bindings[2 * n + 1], false};
    build_model(r, "m2bert.mix", &(BuildOptions){.mode = MODE_EVAL, .entry = entry, .binding = binding, .n_bindings = n});
    must_build(r);
}

static const double mixed[] = {
    0.09937487, -0.05412244, 0.6228747, 0.69942468, -0.08540285, 0.4669923, 0.90215306, 0.22895519,
    0.7845182, 0.92659419, 0.11557771, -0.37328683, 0.76495908, 0.17904263, -0.00042659, 0.35322813,
    0.11271005, -0.29527068, 0.56580892, 0.93022443, -0.09951501, 0.46045775, 0.91508022, 0.237834,
    0.74352638, 1.07448065, 0.18338774, -0.5088764, 0.44516045, 0.26588581, 0.33512045, 0.32723415};

static void the_mixer_of_m2bert(void **state)
{
    (void)state;
    const Fill fill[] = {{"x", "T,D", 0, 1, 0.25, 0, NULL}, MIXER_ROWS(0, "Mixer."), {0}};
    Run r;
    build_m2bert(&r, "Mixer", (const char *const[]){"B", "1", "T", "8", "N", "8", "D", "4", "O", "4", NULL});
    near(filled_result(&r, "y", fill), mixed, COUNT(mixed), 1e-8);
    finish(&r);
    // Fewer positions than the grid has: the first rows of the features.
    build_m2bert(&r, "Mixer", (const char *const[]){"B", "1", "T", "5", "N", "8", "D", "4", "O", "4", NULL});
    near(filled_result(&r, "y", fill), (double[]){0.10953387, -0.04270805, 0.61478563, 0.6865434}, 4, 1e-8);
    finish(&r);
}

static void the_filter_of_m2bert(void **state)
{
    (void)state;
    static const char text[] = "mix 1\nuse std.hyena\naxis T : time = 8, C = 4\nmodel X(one: []) -> k: [T,C] {\n"
                               "  f, b = Filters[N=8, o=4]()\n  k = one * f\n}\n";
    const double want[] = {-0.190999, 0.310613, -0.396703, 0.049839, 0.09493, 0.030666, -0.05324, 0.002413};
    const Fill fill[] = {{"one", "", 1, 0, 0, 0, NULL}, {"Wi", "O,Z", 0, 0.5, 10, 7, NULL}, {"bi", "O", 0, 0.5, 11, 7, NULL},
                         {"l0.W", "O',O", 0, 0.5, 12, 7, NULL}, {"l0.b", "O'", 0, 0.5, 13, 7, NULL},
                         {"l1.W", "O',O", 0, 0.5, 14, 7, NULL}, {"l1.b", "O'", 0, 0.5, 15, 7, NULL},
                         {"Wo", "C,O", 0, 0.5, 16, 7, NULL}, {.name = "z"}, {.name = "f"}, {0}};
    Run r;
    const double *k = result_of(&r, text, "k", fill);
    for (int t = 0; t < 8; t++)
        near(&k[4 * t], &want[t], 1, 5e-7);
    finish(&r);
}

static void the_gated_network_of_m2bert(void **state)
{
    (void)state;
    static const char text[] = "mix 1\nuse std.monarch\nuse std.norm\naxis T : time = 8, D = 4, F = 8\n"
                               "model X(x: [T,D]) -> y: [T,D] { y = LN[eps=1e-12](BlockGlu[k=2](x) + x) }\n";
    const Fill fill[] = {{"x", "T,D", 0, 0, 0, 0, mixed}, {"BlockGlu.Blocks.W", "G,Q,P", 0, 0.5, 40, 0, NULL},
                         {"BlockLinear.Blocks.W", "G,Q,P", 0, 0.5, 41, 0, NULL},
                         {"BlockLinear.bias", "D", 0, 0.5, 42, 0, NULL}, {.name = "LN.gain"}, {.name = "LN.bias"}, {0}};
    Run r;
    const double *y = result_of(&r, text, "y", fill);
    near(y, (double[]){-0.6959416, -1.23834048, 0.73107475, 1.20320732}, 4, 2e-7);
    near(y + 28, (double[]){0.70100924, -1.62506425, -0.00744742, 0.93150243}, 4, 2e-7);
    finish(&r);
}

static void the_whole_of_m2bert(void **state)
{
    (void)state;
    const double ids[] = {1, 3, 5, 7, 9, 11, 13, 15}, places[] = {0, 1, 2, 3, 4, 5, 6, 7};
    const Fill fill[] = {
        {"tokens", "T", 0, 0, 0, 0, ids}, {"places", "R", 0, 0, 0, 0, places},
        {"Wte", "V,D", 0, 0.5, 50, 0, NULL}, {"Wty", "G,D", 0, 0.5, 51, 0, NULL}, {"Wpe", "T,D", 0, 0.5, 52, 0, NULL},
        {"M2Bert.LN.gain", "D", 1, 0.1, 53, 0, NULL}, {"M2Bert.LN.bias", "D", 0, 0.5, 54, 0, NULL},
        {"Wt", "D',D", 0, 0.5, 60, 0, NULL}, {"bt", "D'", 0, 0.5, 61, 0, NULL},
        {"M2Bert.LN.2.gain", "D'", 1, 0.1, 62, 0, NULL}, {"M2Bert.LN.2.bias", "D'", 0, 0.5, 63, 0, NULL},
        {"bv", "V", 0, 0.5, 64, 0, NULL},
#define LAYER(first, path) \
        MIXER_ROWS(first, path "Mixer."), \
        {path "BlockGlu.Blocks.W", "G,Q,P", 0, 0.5, first + 40, 0, NULL}, \
        {path "BlockGlu.BlockLinear.Blocks.W", "G,Q,P", 0, 0.5, first + 41, 0, NULL}, \
        {path "BlockGlu.BlockLinear.bias", "D", 0, 0.5, first + 42, 0, NULL}, \
        {path "LN.gain", "D", 1, 0.1, first + 43, 0, NULL}, {path "LN.bias", "D", 0, 0.5, first + 44, 0, NULL}
        LAYER(100, "l0.Block."), LAYER(200, "l1.Block."),
#undef LAYER
        {0}};
    const double first[] = {2.5579187, -1.90107724, 3.09658175, -2.38235839, 3.04602774, -2.70204295};
    const double last[] = {2.41301017, -1.75035304, 2.94499848, -2.23490093};
    Run r;
    build_m2bert(&r, NULL, (const char *const[]){"B", "1", "T", "8", "N", "8", "D", "8", "F", "16", "O", "4", "V", "16", "R", "8",
                                                 "L", "2", NULL});
    const double *y = filled_result(&r, "logits", fill);
    double sum = 0, all = 0;
    for (int i = 0; i < 128; i++) {
        sum += y[i];
        all += fabs(y[i]);
    }
    near(y, first, COUNT(first), 1e-7);
    near(y + 7 * 16, last, COUNT(last), 1e-7);
    near(&sum, (double[]){9.58086989}, 1, 1e-7);
    near(&all, (double[]){213.24786507}, 1, 1e-6);      // of 128 numbers
    finish(&r);
}

static void a_hyena_operator(void **state)
{
    (void)state;
    static const char text[] = "mix 1\nuse std.hyena\naxis T : time = 4, D = 2\n"
                               "model X(u: [T,D]) -> y: [T,D] { y = Hyena[N=4, e=3, o=2, w=1](u) }\n";
    const Fill fill[] = {{"u", "T,D", 0, 1, 0.25, 0, NULL},
                         {"Hyena.Wi", "A,D", 0, 0.5, 1, 0, NULL}, {"Hyena.bi", "A", 0, 0.5, 2, 0, NULL},
                         {"Short.w", "A,J", 0, 0.5, 3, 0, NULL}, {"Short.b", "A", 0, 0.5, 4, 0, NULL},
                         {"Filter.Wi", "O,Z", 0, 0.5, 5, 0, NULL}, {"Filter.bi", "O", 0, 0.5, 6, 0, NULL},
                         {"l0.W", "O',O", 0, 0.5, 7, 0, NULL}, {"l0.b", "O'", 0, 0.5, 8, 0, NULL},
                         {"l1.W", "O',O", 0, 0.5, 9, 0, NULL}, {"l1.b", "O'", 0, 0.5, 10, 0, NULL},
                         {"Filter.Wo", "C,O", 0, 0.5, 11, 0, NULL}, {"skip", "D',R", 0, 0.5, 12, 0, NULL},
                         {"Hyena.Wo", "D,D'", 0, 0.5, 13, 0, NULL}, {"bo", "D", 0, 0.5, 14, 0, NULL},
                         {.name = "z"}, {.name = "f"}, {0}};
    const double want[] = {0.489187, 0.475724, 0.468448, 0.436706, 0.431729, 0.371027, 0.420004, 0.34736};
    Run r;
    near(result_of(&r, text, "y", fill), want, COUNT(want), 1e-6);
    finish(&r);
}

// Logits of 8 tokens, of which the fifth and all after it are other ones in the second row.
static bool past_moves(const char *model, const char *const *more)
{
    const double tokens[] = {1, 4, 2, 8, 5, 7, 3, 6, 1, 4, 2, 8, 0, 9, 9, 2}, places[] = {0, 1, 2, 3, 0, 1, 2, 3};
    const Fill fill[] = {{"tokens", "B,T", 0, 0, 0, 0, tokens}, {"places", "B,R", 0, 0, 0, 0, places}, {.name = "*"}, {0}};
    Binding binding[12] = {{"B", "2", false}, {"T", "8", false}, {"N", "8", false}, {"V", "10", false}, {"D", "8", false},
                           {"L", "2", false}};
    size_t n = 6;
    for (size_t i = 0; more[i]; i += 2)
        binding[n++] = (Binding){more[i], more[i + 1], false};
    Run r;
    build_model(&r, model, &(BuildOptions){.mode = MODE_EVAL, .binding = binding, .n_bindings = n});
    must_build(&r);
    const double *y = filled_result(&r, "logits", fill);
    size_t all = !strcmp(model, "m2bert.mix") ? 40 : 80;
    bool same = !memcmp(y, y + all, 40 * sizeof *y);
    if (all == 80)                          // the test can see a change at all
        assert_memory_not_equal(y + 40, y + all + 40, 40 * sizeof *y);
    finish(&r);
    return !same;
}

static void the_future_does_not_move_the_past(void **state)
{
    (void)state;
    assert_false(past_moves("hyena.mix", (const char *const[]){NULL}));
    assert_false(past_moves("m2gpt.mix", (const char *const[]){"P", "4", NULL}));
    assert_false(past_moves("h3.mix", (const char *const[]){"a1", "0", "A", "2", NULL}));
    assert_false(past_moves("flashfftconv.mix", (const char *const[]){"K", "5", NULL}));
    assert_true(past_moves("m2bert.mix", (const char *const[]){"R", "4", "O", "8", NULL}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(directions_are_aligned),
        cmocka_unit_test(short_convolution),
        cmocka_unit_test(zeros_on_each_side),
        cmocka_unit_test(features_and_window),
        cmocka_unit_test(the_mixer_of_m2bert),
        cmocka_unit_test(the_filter_of_m2bert),
        cmocka_unit_test(the_gated_network_of_m2bert),
        cmocka_unit_test(the_whole_of_m2bert),
        cmocka_unit_test(a_hyena_operator),
        cmocka_unit_test(the_future_does_not_move_the_past),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
