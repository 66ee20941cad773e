// Worked numbers of MoEUT and its parts on the evaluator and on the cpu: a whole small model with its gradients, whose numbers
// come from the authors' program in double precision; rotary positions; the order of rows at experts; what must not change.
#include "example.h"

#include <stdlib.h>

static const char *const device[] = {"eval", "cpu"};
static const double tolerance[] = {2e-6, 5e-5};      // weights are rounded to float32; the cpu computes in it

// ---- models/moeut.mix with two layers, used twice, and the loss as a penalty ----

static char *replaced(Arena *arena, const char *text, const char *what, const char *with)
{
    const char *at = strstr(text, what);
    if (!at)
        fail_msg("the model lacks `%s`", what);
    return arena_printf(arena, "%.*s%s%s", (int)(at - text), text, with, at + strlen(what));
}

static char *model_text(Arena *arena)
{
    FILE *f = fopen(MIXC_TESTS "/../models/moeut.mix", "rb");
    assert_non_null(f);
    char *text = arena_array(arena, char, 1 << 16);
    size_t n = fread(text, 1, (1 << 16) - 1, f);
    fclose(f);
    assert_true(n > 1000);
    *strstr(text, "\ndata text") = 0;
    text = replaced(arena, text, "(tokens: int[B,T]) -> logits", "(tokens: int[B,T], targets: int[B,T]) -> logits");
    return replaced(arena, text, "@[D] Wout + bout\n", "@[D] Wout + bout\n  penalty ce = cross_entropy(logits, targets, over=V)\n");
}

enum { V = 6, D = 8, H = 2, K = 4, EXPERTS = 5, HIDDEN = 4, EA = 3 };

static double fill(int p, size_t i)
{
    double k = (double)(i + 1);
    return 0.8 * sin(1.7 * (p + 1) + 2.3 * k + 0.01 * k * k);
}

static void set_filled(Example *e, const char *name, int p, size_t n)
{
    double *x = arena_array(&e->arena, double, n);
    for (size_t i = 0; i < n; i++)
        x[i] = fill(p, i);
    example_set(e, BUFFER_PARAM, name, x, n);
}

// Theirs is [rows, columns], ours [columns, rows].
static void set_turned(Example *e, const char *name, int p, size_t rows, size_t columns)
{
    double *x = arena_array(&e->arena, double, rows * columns);
    for (size_t i = 0; i < rows * columns; i++)
        x[i % columns * rows + i / columns] = fill(p, i);
    example_set(e, BUFFER_PARAM, name, x, rows * columns);
}

static void set_all(Example *e, const char *name, double value)
{
    const double x[D] = {value, value, value, value, value, value, value, value};
    example_set(e, BUFFER_PARAM, name, x, D);
}

static void set_layer(Example *e, int g)
{
    const char *at = arena_printf(&e->arena, "MoEUT.g%d.Block", g);
    const int p = 1 + 9 * g;
    static const char *const wide[] = {"SwitchHead.Wv", "SwitchHead.Wo", "SwitchHead.Sv", "SwitchHead.So",
                                       "SigmaMoE.W1", "SigmaMoE.W2", "SigmaMoE.Ws"};
    static const size_t count[] = {H * EA * D * K, H * EA * K * D, H * EA * D, H * EA * D,
                                   EXPERTS * D * HIDDEN, EXPERTS * HIDDEN * D, EXPERTS * D};
    set_turned(e, arena_printf(&e->arena, "%s.SwitchHead.Wq", at), p, H * K, D);
    set_turned(e, arena_printf(&e->arena, "%s.SwitchHead.Wk", at), p + 1, H * K, D);
    for (int i = 0; i < 7; i++)
        set_filled(e, arena_printf(&e->arena, "%s.%s", at, wide[i]), p + 2 + i, count[i]);
    for (int i = 0; i < 2; i++) {
        set_all(e, arena_printf(&e->arena, "%s.LN%s.gain", at, i ? ".2" : ""), 1);
        set_all(e, arena_printf(&e->arena, "%s.LN%s.bias", at, i ? ".2" : ""), 0);
    }
}

static void open_model(Example *e, const char *on, const char *text, bool grad, int n_batch)
{
    Binding bind[] = {{"V", "6", false}, {"D", "8", false}, {"H", "2", false}, {"K", "4", false}, {"E", "5", false},
                      {"k", "2", false}, {"F", "4", false}, {"Ea", "3", false}, {"G", "2", false}, {"R", "2", false},
                      {"T", "5", false}, {"B", n_batch == 1 ? "1" : "2", false}};
    example_open(e, on, text, &(ExampleOptions){.build = {.mode = MODE_TRAIN, .binding = bind, .n_bindings = 12}, .grad = grad});
    set_filled(e, "MoEUT.Wte", 0, V * D);
    set_layer(e, 0);
    set_layer(e, 1);
    set_turned(e, "MoEUT.Wout", 19, V, D);
    set_filled(e, "MoEUT.bout", 20, V);
    set_all(e, "MoEUT.LN.gain", 1);
    set_all(e, "MoEUT.LN.bias", 0);
}

static void set_tokens(Example *e, const double *tokens, const double *targets, size_t n)
{
    example_set(e, BUFFER_INPUT, "tokens", tokens, n);
    example_set(e, BUFFER_INPUT, "targets", targets, n);
}

static const double tokens[5] = {0, 3, 1, 5, 2}, targets[5] = {3, 1, 5, 2, 4};

static const double logits[30] = {
    1.336881769,  2.016529355, -1.517938432, 1.447735621, -1.744284775, -0.966401812,
    0.297296800, -0.777838872, -0.402323649, 0.079104908, -1.443299650, -1.388539287,
    3.013232363,  3.795377235, -4.842977811, 4.566565235,  1.757429881,  2.077005360,
    3.919928486,  3.112148594, -4.339091564, 3.669312787,  1.685690314,  1.633891707,
    3.370788944,  2.376856692, -3.116902860, 2.488758440,  1.040192435,  0.895941758};

static const struct { const char *name; size_t n; double norm, first; } gradient[] = {
    {"Wte", V * D, 7.996214123, -0.341872220},
    {"g0.Block.SwitchHead.Wq", D * H * K, 0.777380953, -0.122601774},
    {"g0.Block.SwitchHead.Wv", H * EA * D * K, 7.481770026, 0.259832695},
    {"g1.Block.SwitchHead.Wo", H * EA * K * D, 18.904478006, -2.297233728},
    {"g0.Block.SwitchHead.Sv", H * EA * D, 1.867249964, 0.185324933},
    {"g1.Block.SwitchHead.So", H * EA * D, 1.483546417, -0.407695617},
    {"g0.Block.SigmaMoE.W1", EXPERTS * D * HIDDEN, 5.051220620, -0.105910895},
    {"g1.Block.SigmaMoE.W2", EXPERTS * HIDDEN * D, 4.366896342, 0.575421338},
    {"g0.Block.SigmaMoE.Ws", EXPERTS * D, 0.595660228, -0.037746881},
    {"g1.Block.SigmaMoE.Ws", EXPERTS * D, 0.211900742, -0.041983968},
    {"g0.Block.LN.gain", D, 1.519800319, 0.825397496},
    {"g1.Block.LN.2.bias", D, 0.073611370, -0.031867387},
    {"Wout", D * V, 1.371422039, -0.143405739},
};

static void the_whole_model(void **state)
{
    (void)state;
    for (size_t d = 0; d < 2; d++) {
        Example e;
        Arena text = {0};
        open_model(&e, device[d], model_text(&text), true, 1);
        assert_true(fabs(fill(0, 0) + 0.610640786) < 1e-9 && fabs(fill(20, 0) - 0.244723470) < 1e-9);
        set_tokens(&e, tokens, targets, 5);
        example_run(&e);
        example_near("logits", example_get(&e, BUFFER_OUTPUT, "output.logits"), logits, 30, tolerance[d]);
        const double *ce = example_get(&e, BUFFER_OUTPUT, "term.MoEUT.ce"), *aux = example_get(&e, BUFFER_OUTPUT, "loss.aux");
        example_near("ce", ce, (const double[]){3.752639037}, 1, tolerance[d]);
        example_near("reg", (const double[]){*aux - *ce}, (const double[]){-0.033426698}, 1, tolerance[d]);
        for (size_t i = 0; i < sizeof gradient / sizeof *gradient; i++) {
            const double *g = example_get(&e, BUFFER_OUTPUT, arena_printf(&e.arena, "grad.param.MoEUT.%s", gradient[i].name));
            double square = 0;
            for (size_t k = 0; k < gradient[i].n; k++)
                square += g[k] * g[k];
            example_near(gradient[i].name, (const double[]){sqrt(square), g[0]},
                         (const double[]){gradient[i].norm, gradient[i].first}, 2, 5 * tolerance[d]);
        }
        example_close(&e);
        arena_free(&text);
    }
}

// Another last token changes no logit before it, and a batch of two is two models: neither logits nor balance are coupled.
static void nothing_looks_ahead_or_across(void **state)
{
    (void)state;
    for (size_t d = 0; d < 2; d++) {
        Example one, two;
        Arena text = {0};
        const double pair[10] = {0, 3, 1, 5, 2, 0, 3, 1, 5, 4}, next[10] = {3, 1, 5, 2, 4, 3, 1, 5, 2, 4};
        open_model(&two, device[d], model_text(&text), false, 2);
        set_tokens(&two, pair, next, 10);
        example_run(&two);
        const double *y = example_get(&two, BUFFER_OUTPUT, "output.logits");
        example_near("first row", y, logits, 30, tolerance[d]);
        example_near("before the change", y + 30, logits, 24, tolerance[d]);
        assert_true(fabs(y[54] - logits[24]) > 1e-3);
        double both = 0, *aux = arena_array(&two.arena, double, 2);
        for (int i = 0; i < 2; i++) {
            open_model(&one, "eval", model_text(&text), false, 1);
            set_tokens(&one, pair + 5 * i, next + 5 * i, 5);
            example_run(&one);
            aux[i] = *example_get(&one, BUFFER_OUTPUT, "loss.aux");
            both += aux[i] / 2;
            example_close(&one);
        }
        example_near("aux of both", example_get(&two, BUFFER_OUTPUT, "loss.aux"), &both, 1, tolerance[d]);
        assert_true(fabs(aux[0] - aux[1]) > 1e-4);
        example_close(&two);
        arena_free(&text);
    }
}

// Routers of zeros: all gates 1/2, and the balance is G (0.01 ln 5 + 2 * 0.001 ln 3), negative.
static void routers_of_zeros(void **state)
{
    (void)state;
    Example e;
    Arena text = {0};
    open_model(&e, "eval", model_text(&text), false, 1);
    static const double zero[H * EA * D] = {0};
    for (int g = 0; g < 2; g++) {
        example_set(&e, BUFFER_PARAM, arena_printf(&e.arena, "MoEUT.g%d.Block.SwitchHead.Sv", g), zero, H * EA * D);
        example_set(&e, BUFFER_PARAM, arena_printf(&e.arena, "MoEUT.g%d.Block.SwitchHead.So", g), zero, H * EA * D);
        example_set(&e, BUFFER_PARAM, arena_printf(&e.arena, "MoEUT.g%d.Block.SigmaMoE.Ws", g), zero, EXPERTS * D);
    }
    set_tokens(&e, tokens, targets, 5);
    example_run(&e);
    double reg = *example_get(&e, BUFFER_OUTPUT, "loss.aux") - *example_get(&e, BUFFER_OUTPUT, "term.MoEUT.ce");
    example_near("reg", &reg, (const double[]){-2 * (0.01 * log(5) + 0.002 * log(3))}, 1, 1e-6);
    example_close(&e);
    arena_free(&text);
}

// The stream is only ever scaled: seven times the embedding gives the same logits, up to the eps of the norms. The authors'
// program moves by 8e-4 too.
static void the_stream_has_no_scale(void **state)
{
    (void)state;
    Example e;
    Arena text = {0};
    open_model(&e, "eval", model_text(&text), false, 1);
    double wte[V * D];
    for (size_t i = 0; i < V * D; i++)
        wte[i] = 7 * fill(0, i);
    example_set(&e, BUFFER_PARAM, "MoEUT.Wte", wte, V * D);
    set_tokens(&e, tokens, targets, 5);
    example_run(&e);
    example_near("logits", example_get(&e, BUFFER_OUTPUT, "output.logits"), logits, 30, 1e-3);
    example_close(&e);
    arena_free(&text);
}

// ---- parts ----

static void positions_rotate_a_part_of_the_head(void **state)
{
    (void)state;
    static const double z[16] = {1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4};
    static const double half[4] = {-1.272232513, -1.838864985, 3, 4}, whole[4] = {-1.413352521, 1.879118067, -2.828857482, 4.058191135};
    for (size_t d = 0; d < 2; d++) {
        Example e;
        example_open(&e, device[d],
                     "mix 1\naxis T : time = 4, K = 4\nmodel M(z: [T,K]) -> half: [T,K], whole: [T,K] {\n"
                     "  half = rope(z, over=T, part=2)\n  whole = rope(z, over=T, part=4)\n}\n",
                     &(ExampleOptions){.build = {.mode = MODE_EVAL}});
        example_set(&e, BUFFER_INPUT, "z", z, 16);
        example_run(&e);
        example_near("half", example_get(&e, BUFFER_OUTPUT, "output.half") + 12, half, 4, tolerance[d]);
        example_near("whole", example_get(&e, BUFFER_OUTPUT, "output.whole") + 12, whole, 4, tolerance[d]);
        example_close(&e);
    }
}

// Six choices of three experts: where they stand, expert by expert, in the order of tokens.
static void choices_are_grouped_in_their_order(void **state)
{
    (void)state;
    static const double chosen[6] = {2, 0, 2, 1, 0, 1}, place[6] = {0, 0, 1, 0, 1, 1}, order[6] = {1, 4, 3, 5, 0, 2};
    static const int start[3] = {0, 2, 4};
    for (size_t d = 0; d < 2; d++) {
        Example e;
        example_open(&e, device[d],
                     "mix 1\naxis T = 3, K = 2, E : expert = 3\nmodel M(c: int[T,K]) -> slot: int[T,K], load: [E] {\n"
                     "  r = route by c to E experts top K gate one capacity rows(3) over T each t\n  slot = r.slot\n  load = 6 * r.load\n}\n",
                     &(ExampleOptions){.build = {.mode = MODE_EVAL}});
        example_set(&e, BUFFER_INPUT, "c", chosen, 6);
        example_run(&e);
        const double *slot = example_get(&e, BUFFER_OUTPUT, "output.slot");
        example_near("slot", slot, place, 6, 0);
        example_near("load", example_get(&e, BUFFER_OUTPUT, "output.load"), (const double[]){2, 2, 2}, 3, 1e-6);
        for (int i = 0; i < 6; i++)
            assert_true(order[start[(int)chosen[i]] + (int)slot[i]] == i);
        example_close(&e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_model),
        cmocka_unit_test(nothing_looks_ahead_or_across),
        cmocka_unit_test(routers_of_zeros),
        cmocka_unit_test(the_stream_has_no_scale),
        cmocka_unit_test(positions_rotate_a_part_of_the_head),
        cmocka_unit_test(choices_are_grouped_in_their_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
