// Worked numbers of sMLP and of the networks it is compared with, on the evaluator and on the cpu: gMLP, spatial experts with both
// ways of routing, BASE, Switch, GShard, hash layers, a Transformer layer; and what a change of one position does to the others.
// The numbers were computed in double precision by two programs that share nothing with this one.
#include "example.h"

static const char *const device[] = {"eval", "cpu"};
static const double tolerance[] = {2e-6, 2e-5};

// ---- one layer each, of two sequences of four positions ----

static const char layers[] =
    "mix 1\nuse std.norm\n"
    "axis B : batch = 2, T : time = 4, D = 8, W = 8, Z = 2, F = 16, C = 2, S = 4, H = 2, K = 4, P : time = 2\n"
    "axis E : expert = 2, N : expert = 4\n"
    "model M(x: [B,T,D], ids: int[B,T]) -> gmlp: [B,T,D], smoe: [B,T,D], greedy: [B,T,D], balanced: [B,T,D], who: [B,T,E],\n"
    "    switch: [B,T,D], gshard: [B,T,D], hash: [B,T,D], attention: [B,T,D], partial: [B,T,D], leaky: [B,T,D] {\n"
    "  param U[D,Z,W], Wt[T,T'] with shape = lower(T, T')\n"
    "  param Vp[W,D], Ws[E,T,T'] with shape = lower(T, T')\n"
    "  param Wc[E,D], W1[N,D,F], W2[N,F,D], B1[E,D,F], B2[E,F,D], Wr[N,D], Wp[E,P], Wl[E,T]\n"
    "  param Wq[D,H,K], Wk[D,H,K], Wv[D,H,K], Wo[H,K,D], F1[D,F], F2[F,D]\n"
    "  z = gelu(LNfree(x) @[D] U)\n"
    "  p = z[Z = 0]\n"
    "  n = LNfree[W](z[Z = 1])\n"
    "  gmlp = x + (p * (n.rename(T -> T') @[T'] Wt + 1)) @[W] Vp\n"
    "  c = n.split(W -> C*S)\n"
    "  m = route c by index(C) % E to E experts gate one each v { yield v.rename(T -> T') @[T'] Ws + 1 }\n"
    "  smoe = x + (p * m.merge(C*S -> W)) @[W] Vp\n"
    "  greedy = route smoe by smoe @[D] Wc to E experts top 1 gate sigmoid assign greedy each t, g {\n"
    "    yield t + g * (relu(LNfree(t) @[D] B1) @[F] B2)\n  }\n"
    "  r = route by smoe @[D] Wc to E experts top 1 gate sigmoid assign balanced each t\n"
    "  who = r.chosen\n"
    "  balanced = route smoe by r each t, g { yield t + g * (relu(LNfree(t) @[D] B1) @[F] B2) }\n"
    "  a = LNfree(x)\n"
    "  sw = route a by a @[D] Wr to N experts top 1 gate softmax capacity rows(2) over B*T priority token\n"
    "      balance switch(1) over B*T each t { yield relu(t @[D] W1) @[F] W2 }\n"
    "  switch = x + sw\n"
    "  gs = route a by a @[D] Wr to N experts top 2 gate softmax(norm=kept) capacity rows(4) over B*T priority choice\n"
    "      each t { yield relu(t @[D] W1) @[F] W2 }\n"
    "  gshard = x + gs\n"
    "  ha = route a by ids % N to N experts gate one each t { yield relu(t @[D] W1) @[F] W2 }\n"
    "  hash = x + ha\n"
    "  k = (a @[D] Wk).rename(T -> T')\n"
    "  v = (a @[D] Wv).rename(T -> T')\n"
    "  s = mask(a @[D] Wq @[K] k / sqrt(K), keep=index(T') <= index(T))\n"
    "  h = x + softmax(s, over=T') @[T'] v @[H,K] Wo\n"
    "  attention = h + gelu(LNfree(h) @[D] F1) @[F] F2\n"
    "  q = p.split(W -> C*S)\n"
    "  pp = route c by mean(c[T = 0..P -> P], over=S) @[P] Wp to E experts top 1 gate sigmoid each v, g {\n"
    "    yield g * q * (v.rename(T -> T') @[T'] Ws + 1) + (1 - g) * q\n  }\n"
    "  partial = x + pp.merge(C*S -> W) @[W] Vp\n"
    "  ll = route c by mean(c, over=S) @[T] Wl to E experts top 1 gate sigmoid each v, g {\n"
    "    yield g * q * (v.rename(T -> T') @[T'] Ws + 1) + (1 - g) * q\n  }\n"
    "  leaky = x + ll.merge(C*S -> W) @[W] Vp\n"
    "}\n";

enum { N_X = 64, T = 4 };

static double *filled(Example *e, int n, double s, size_t count)
{
    double *x = arena_array(&e->arena, double, count);
    for (size_t k = 0; k < count; k++)
        x[k] = s * sin(1.7 * (double)k + 0.3 * n);
    return x;
}

static void set_param(Example *e, const char *name, int n, double s, size_t count, bool lower)
{
    double *x = filled(e, n, s, count);
    for (size_t k = 0; k < count && lower; k++)
        if (k % T > k / T % T)
            x[k] = 0;
    example_set(e, BUFFER_PARAM, arena_printf(&e->arena, "M.%s", name), x, count);
}

// Theirs has the two halves of a row one after the other, as [D,Z,W] has; heads likewise.
static void open_layers(Example *e, const char *on)
{
    example_open(e, on, layers, &(ExampleOptions){.build = {.mode = MODE_TRAIN}});
    static const struct { const char *name; int n; double s; size_t count; bool lower; } param[] = {
        {"U", 1, .3, 128, false},  {"Wt", 2, .2, 16, true},   {"Vp", 3, .3, 64, false},  {"Ws", 4, .2, 32, true},
        {"Wc", 5, .5, 16, false},  {"W1", 6, .3, 512, false}, {"W2", 7, .3, 512, false}, {"B1", 6, .3, 256, false},
        {"B2", 7, .3, 256, false}, {"Wr", 8, .5, 32, false},  {"Wq", 9, .3, 64, false},  {"Wk", 10, .3, 64, false},
        {"Wv", 11, .3, 64, false}, {"Wo", 12, .3, 64, false}, {"F1", 13, .3, 128, false}, {"F2", 14, .3, 128, false},
        {"Wp", 24, 1, 4, false},   {"Wl", 70, 1, 8, false},
    };
    for (size_t i = 0; i < sizeof param / sizeof *param; i++)
        set_param(e, param[i].name, param[i].n, param[i].s, param[i].count, param[i].lower);
    example_set(e, BUFFER_INPUT, "ids", (const double[]){3, 1, 4, 1, 5, 9, 2, 6}, 8);
}

static const struct { const char *name; double sum, square, first, last; } golden[] = {
    {"gmlp",      0.603006553, 25.252631214, 0.128943373, 0.436527184},
    {"smoe",      0.684840542, 25.847600997, 0.122656928, 0.389789928},
    {"greedy",    0.439233829, 15.996083026, 0.051820578, 0.272809996},
    {"balanced",  0.549829359, 17.061516662, 0.051820578, 0.272809996},
    {"switch",    0.168163376, 23.422847571, -0.032265986, 0.281972849},
    {"gshard",    0.110199883, 17.371578432, -0.049584712, 0.172615067},
    {"hash",      0.228013262, 19.555435355, -0.035681172, -0.027358954},
    {"attention", -0.558338507, 22.693935848, -0.118146788, -0.019458658},
    {"partial",   0.731187116, 26.277730150, 0.113267322, 0.426743285},
};

static void layers_have_their_published_numbers(void **state)
{
    (void)state;
    for (size_t d = 0; d < 2; d++) {
        Example e;
        open_layers(&e, device[d]);
        example_set(&e, BUFFER_INPUT, "x", filled(&e, 0, 1, N_X), N_X);
        example_run(&e);
        for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
            const double *y = example_get(&e, BUFFER_OUTPUT, arena_printf(&e.arena, "output.%s", golden[i].name));
            double got[4] = {0, 0, y[0], y[N_X - 1]};
            for (size_t k = 0; k < N_X; k++) {
                got[0] += y[k];
                got[1] += y[k] * y[k];
            }
            example_near(golden[i].name, got, (const double[]){golden[i].sum, golden[i].square, golden[i].first, golden[i].last}, 4,
                         tolerance[d]);
        }
        // Tokens 2 to 5 go to expert 1, the others to 0.
        const double *who = example_get(&e, BUFFER_OUTPUT, "output.who");
        for (size_t t = 0; t < 8; t++)
            assert_true(who[2 * t + 1] == (t >= 2 && t <= 5) && who[2 * t] == 1 - who[2 * t + 1]);
        example_near("aux", example_get(&e, BUFFER_OUTPUT, "loss.aux"), (const double[]){1.2117701}, 1, tolerance[d]);
        example_close(&e);
    }
}

// ---- what a change at one position of the first sequence does ----

static const char *const watched[] = {"gmlp", "greedy", "partial", "leaky"};

static const struct { size_t at; int what; double moved[T]; } change[] = {
    {2, 0, {0, 0, 0.505917039, 0.000712903}},
    {2, 1, {0, 0, 0.498849545, 0.000743276}},
    {2, 2, {0, 0, 0.504721421, 0.000476369}},
    {3, 2, {0, 0, 0, 0.515465423}},
    {3, 3, {0.037070429, 0.020666149, 0.039302509, 0.527076452}},        // a route that reads all positions
};

static void only_what_is_allowed_moves(void **state)
{
    (void)state;
    for (size_t d = 0; d < 2; d++) {
        Example e;
        open_layers(&e, device[d]);
        const double *before[4];
        example_set(&e, BUFFER_INPUT, "x", filled(&e, 0, 1, N_X), N_X);
        example_run(&e);
        for (size_t i = 0; i < 4; i++)
            before[i] = example_get(&e, BUFFER_OUTPUT, arena_printf(&e.arena, "output.%s", watched[i]));
        for (size_t at = 1; at < T; at++) {
            double *x = filled(&e, 0, 1, N_X);
            for (size_t k = 0; k < 8; k++)
                x[8 * at + k] += 0.5 * cos((double)k);
            example_set(&e, BUFFER_INPUT, "x", x, N_X);
            example_run(&e);
            for (size_t i = 0; i < 4; i++) {
                const double *y = example_get(&e, BUFFER_OUTPUT, arena_printf(&e.arena, "output.%s", watched[i]));
                double moved[2 * T] = {0};
                for (size_t k = 0; k < N_X; k++)
                    moved[k / 8] = fmax(moved[k / 8], fabs(y[k] - before[i][k]));
                for (size_t t = T; t < 2 * T; t++)
                    assert_true(moved[t] == 0);                     // the other sequence
                for (size_t c = 0; c < sizeof change / sizeof *change; c++)
                    if (change[c].at == at && change[c].what == (int)i) {
                        example_near(watched[i], moved, change[c].moved, T, tolerance[d]);
                        for (size_t t = 0; t < at && i < 3; t++)
                            assert_true(moved[t] == 0);             // bits, not only numbers
                    }
                // Within the first two positions a partial route may look ahead.
                if (at == 1 && i == 2)
                    assert_true(moved[0] > 1e-5 && moved[0] < 4e-5);
            }
        }
        example_close(&e);
    }
}

// ---- small numbers by hand ----

static void a_spatial_gate_and_its_gradients(void **state)
{
    (void)state;
    static const double w[9] = {.5, 0, 0, .25, -1, 0, 1, 2, .5}, b[3] = {1, 1, 0};
    static const double z1[6] = {1, 2, 3, -1, 2, 4}, z2[6] = {2, 0, 1, 1, -1, 3}, ones[6] = {1, 1, 1, 1, 1, 1};
    static const double g[6] = {2, 1, .5, 0, 3.5, 3.5};
    for (size_t d = 0; d < 2; d++) {
        Example e;
        const char *result = "y";
        example_open(&e, device[d],
                     "mix 1\nuse std.norm\naxis T : time = 3, C = 2\nmodel M(p: [T,C], n: [T,C]) -> y: [T,C], normed: [T,C] {\n"
                     "  param W[T,T'] with shape = lower(T, T')\n  param b[T]\n"
                     "  y = p * (n.rename(T -> T') @[T'] W + b)\n"
                     "  normed = p * (LNfree[C](n).rename(T -> T') @[T'] W + b)\n}\n",
                     &(ExampleOptions){.build = {.mode = MODE_TRAIN}, .grad = true, .cotangent = result});
        example_set(&e, BUFFER_PARAM, "M.W", w, 9);
        example_set(&e, BUFFER_PARAM, "M.b", b, 3);
        example_set(&e, BUFFER_INPUT, "p", z1, 6);
        example_set(&e, BUFFER_INPUT, "n", z2, 6);
        example_set(&e, BUFFER_INPUT, "cotangent.y", ones, 6);
        example_run(&e);
        example_near("y", example_get(&e, BUFFER_OUTPUT, "output.y"), (const double[]){2, 2, 1.5, 0, 7, 14}, 6, 1e-6);
        const double *dw = example_get(&e, BUFFER_OUTPUT, "grad.param.M.W");
        static const double want[9] = {2, 0, 0, 6, 2, 0, 4, 6, 10};
        for (size_t k = 0; k < 9; k++)
            if (k % 3 <= k / 3)
                example_near("dW", dw + k, want + k, 1, 1e-6);
        example_near("db", example_get(&e, BUFFER_OUTPUT, "grad.param.M.b"), (const double[]){3, 2, 6}, 3, 1e-6);
        example_near("dn", example_get(&e, BUFFER_OUTPUT, "grad.input.n"), (const double[]){3.25, 4.75, 1, 9, 1, 2}, 6, 1e-6);
        example_near("dp", example_get(&e, BUFFER_OUTPUT, "grad.input.p"), g, 6, 1e-6);
        // Rows normalised: 1, -1; 0, 0; -1, 1, up to eps.
        example_near("normed", example_get(&e, BUFFER_OUTPUT, "output.normed"),
                     (const double[]){1.499998, 1.000005, 3.749996, -0.750001, 0.999991, -1.999983}, 6, 1e-6);
        example_close(&e);
    }
}

// A router that reads a chunk at all steps chooses by the last one, and all steps feel it; one that reads the first step does not.
static void a_route_that_reads_all_steps_leaks(void **state)
{
    (void)state;
    for (size_t d = 0; d < 2; d++) {
        Example e;
        example_open(&e, device[d],
                     "mix 1\naxis T : time = 5, P : time = 1, C = 1, E : expert = 2\n"
                     "model M(y: [T,C]) -> leaky: [T,C], sound: [T,C] {\n"
                     "  a = (index(T') <= index(T)) * (index(E) + 1)\n"
                     "  r = select(index(E) == 0, 1, 2 * (index(T) == 4) - (index(T) == 0))\n"
                     "  leaky = route y by sum(y * r, over=T) to E experts top 1 gate one each c { yield c.rename(T -> T') @[T'] a }\n"
                     "  f = select(index(E) == 0, 1, -1)\n"
                     "  s = sum(outer(y[T = 0..P -> P], f), over=P)\n"
                     "  sound = route y by s to E experts top 1 gate one each c { yield c.rename(T -> T') @[T'] a }\n}\n",
                     &(ExampleOptions){.build = {.mode = MODE_EVAL}});
        static const double last[2] = {1, 6};
        static const double leaky[2][5] = {{1, 2, 3, 4, 5}, {2, 4, 6, 8, 20}}, sound[2][5] = {{1, 2, 3, 4, 5}, {1, 2, 3, 4, 10}};
        for (int i = 0; i < 2; i++) {
            example_set(&e, BUFFER_INPUT, "y", (const double[]){1, 1, 1, 1, last[i]}, 5);
            example_run(&e);
            example_near("leaky", example_get(&e, BUFFER_OUTPUT, "output.leaky"), leaky[i], 5, 1e-6);
            example_near("sound", example_get(&e, BUFFER_OUTPUT, "output.sound"), sound[i], 5, 1e-6);
        }
        example_close(&e);
    }
}

// Tokens that occur 50, 20, 15, 10 and 5 times to two experts: the first to one, all others to the other.
static void a_hash_by_frequency_spreads_the_load(void **state)
{
    (void)state;
    static const int64_t count[5] = {50, 20, 15, 10, 5}, turned[5] = {5, 10, 15, 20, 50};
    static const double want[5] = {0, 1, 1, 1, 1}, turned_want[5] = {1, 1, 1, 1, 0}, even[5] = {0, 1, 0, 1, 0};
    for (size_t d = 0; d < 2; d++) {
        Example e;
        example_open(&e, device[d],
                     "mix 1\naxis V = 5, E = 2\nmodel M(x: int[V]) -> y: int[V] {\n"
                     "  state map: int[V] = frequency_hash(E)\n  y = map + x\n}\n", &(ExampleOptions){.build = {.mode = MODE_EVAL}});
        example_set(&e, BUFFER_INPUT, "x", (const double[]){0, 0, 0, 0, 0}, 5);
        const struct { const int64_t *count; const double *want; } c[] = {{count, want}, {turned, turned_want}, {NULL, even}};
        for (size_t i = 0; i < 3; i++) {
            example_must(&e, net_init_counted(e.net, e.module, 1, c[i].count, 5, &e.why) == STATUS_OK);
            example_run(&e);
            example_near("map", example_get(&e, BUFFER_OUTPUT, "output.y"), c[i].want, 5, 0);
        }
        example_close(&e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_have_their_published_numbers),
        cmocka_unit_test(only_what_is_allowed_moves),
        cmocka_unit_test(a_spatial_gate_and_its_gradients),
        cmocka_unit_test(a_route_that_reads_all_steps_leaks),
        cmocka_unit_test(a_hash_by_frequency_spreads_the_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
