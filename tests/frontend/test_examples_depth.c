// Worked numbers of adaptive depth on the evaluator and on the cpu: adaptive computation time (Universal Transformer),
// stick-breaking halting and the router of SUT.
#include "example.h"

static const char *const device[] = {"eval", "cpu"};

// The loop of models/ut.mix with given probabilities and states 1, 2, 3, ..
static const char act[] =
    "mix 1\nconst eps = 0.01\naxis B : batch in 1..9, R = 4\n"
    "model M(prob: [B,R]) -> weights: [B,R], basic: [B], sum: [B], steps: [B], rest: [B] {\n"
    "  basic = full(0, over=B)\n  sum = full(0, over=B)\n  open = full(1, over=B)\n  spent = full(0, over=B)\n"
    "  rest = full(0, over=B)\n  steps = full(0, over=B)\n  weights = full(0, over=B*R)\n"
    "  repeat i in R {\n"
    "    p = prob[R = i]\n"
    "    last = open * (spent + p > 1 - eps)\n"
    "    weight = select(last, 1 - spent, p*open)\n"
    "    rest = rest + last * (1 - spent)\n    steps = steps + open\n"
    "    basic = (i + 1) * weight + basic * (1 - weight)\n    sum = sum + (i + 1) * weight\n"
    "    weights = weights + outer(weight, index(R) == i)\n"
    "    open = open - last\n    spent = spent + p*open\n"
    "  }\n}\n";

static void computation_time(void **state)
{
    (void)state;
    static const struct { double p[4], weight[4], basic, sum, steps, rest; } token[] = {
        {{.3, .4, .5, .6}, {.3, .4, .3, 0}, 1.586, 2.0, 3, .3},
        {{.995, .2, .2, .2}, {1, 0, 0, 0}, 1, 1, 1, 1},                     // halts at once: nothing else counts
        {{.25, .25, .25, .25}, {.25, .25, .25, .25}, 1.94921875, 2.5, 4, .25},
        {{.1, .1, .1, .1}, {.1, .1, .1, .1}, 0.9049, 1.0, 4, 0},            // never halts: what is left is not given to any step
    };
    enum { N = sizeof token / sizeof *token };
    for (size_t d = 0; d < 2; d++) {
        Example e;
        Binding bind[] = {{"B", "4", false}};
        example_open(&e, device[d], act, &(ExampleOptions){.build = {.mode = MODE_EVAL, .binding = bind, .n_bindings = 1}});
        double p[4 * N];
        for (int t = 0; t < N; t++)
            memcpy(p + 4 * t, token[t].p, sizeof token[t].p);
        example_set(&e, BUFFER_INPUT, "prob", p, 4 * N);
        example_run(&e);
        static const char *const name[] = {"basic", "sum", "steps", "rest"};
        for (int t = 0; t < N; t++) {
            const double want[] = {token[t].basic, token[t].sum, token[t].steps, token[t].rest};
            example_near("weights", example_get(&e, BUFFER_OUTPUT, "output.weights") + 4 * t, token[t].weight, 4, 1e-6);
            for (int k = 0; k < 4; k++)
                example_near(name[k], example_get(&e, BUFFER_OUTPUT, arena_printf(&e.arena, "output.%s", name[k])) + t,
                             &want[k], 1, 1e-6);
        }
        example_close(&e);
    }
}

// The loop of models/sut.mix with given logits of going on and of halting.
static const char stick[] =
    "mix 1\naxis B : batch = 2, R = 3, Z = 2\n"
    "model M(logit: [B,R,Z]) -> probs: [B,R], depth: [B], alive: [B] {\n"
    "  going = full(0, over=B)\n  sofar = full(0, over=B)\n  alive = full(1, over=B)\n  probs = full(0, over=B*R)\n"
    "  repeat i in R {\n"
    "    z = log_softmax(logit[R = i], over=Z)\n    p = exp(going + z[Z = 1])\n    going = going + z[Z = 0]\n"
    "    sofar = sofar + i*p\n    probs = probs + outer(p, index(R) == i)\n"
    "    alive = select(exp(going) < 0.001, 0, exp(going))\n"
    "  }\n  depth = sofar + alive*R\n}\n";

static void stick_breaking(void **state)
{
    (void)state;
    for (size_t d = 0; d < 2; d++) {
        Example e;
        example_open(&e, device[d], stick, &(ExampleOptions){.build = {.mode = MODE_EVAL}});
        // The second token halts in the first step but for less than a thousandth: no expert runs for it any more.
        example_set(&e, BUFFER_INPUT, "logit", (const double[]){0, 0, 0, 0, 0, 0, -4, 4, 0, 0, 0, 0}, 12);
        example_run(&e);
        example_near("p", example_get(&e, BUFFER_OUTPUT, "output.probs"), (const double[]){.5, .25, .125}, 3, 1e-6);
        example_near("never", example_get(&e, BUFFER_OUTPUT, "output.alive"), (const double[]){.125, 0}, 2, 1e-6);
        example_near("depth", example_get(&e, BUFFER_OUTPUT, "output.depth"), (const double[]){.875}, 1, 1e-6);
        example_close(&e);
    }
}

static const char router[] =
    "mix 1\naxis T = 2, E : expert = 4, K = 2\n"
    "model M(z: [T,E]) -> prob: [T,E], weight: [T,K], code: [] {\n"
    "  r = route by z to E experts top K gate softmax(norm=chosen) balance mi(1) over T each t\n"
    "  prob = r.prob\n  weight = r.weight\n"
    "  q = mean(r.prob, over=T)\n"
    "  code = -(mean(sum(r.prob * log(r.prob), over=E), over=T) + sum(q * log(q), over=E))\n"
    "}\n";

static void router_of_sut(void **state)
{
    (void)state;
    for (size_t d = 0; d < 2; d++) {
        Example e;
        example_open(&e, device[d], router, &(ExampleOptions){.build = {.mode = MODE_TRAIN}});
        example_set(&e, BUFFER_INPUT, "z", (const double[]){2, 1, 0, -1, 0, 0, 3, 1}, 8);
        example_run(&e);
        example_near("p", example_get(&e, BUFFER_OUTPUT, "output.prob"),
                     (const double[]){.643914260, .236882820, .087144320, .032058600}, 4, 1e-6);
        // The released code adds 1e-6 to the sum: 0.73105775 and 0.26894112.
        example_near("gates", example_get(&e, BUFFER_OUTPUT, "output.weight"), (const double[]){.731057750, .268941120}, 2, 2e-6);
        example_near("H(e|x) - H(e)", example_get(&e, BUFFER_OUTPUT, "loss.aux"), (const double[]){-.378191806}, 1, 1e-6);
        example_near("both of one sign", example_get(&e, BUFFER_OUTPUT, "output.code"), (const double[]){1.997807156}, 1, 1e-6);
        example_close(&e);
    }
}

// Two uses of one router, with weights that grow small: `pooled` counts every token by its weight, in whichever use it
// comes. The clauses are what is written out beside them.
static const char pooled[] =
    "mix 1\naxis B : batch = 2, T : time = 3, E : expert = 4, D = 2, U = 2\n"
    "layer Route(x: [B,T,D], w: [B,T]) -> [B,T,D] {\n"
    "  param Wr[D,E], W1[E,D,D']\n"
    "  r = route by x @[D] Wr to E experts top 2 gate softmax where w\n"
    "      balance mi(1) over T pooled, entropy(1) over B*T pooled each t\n"
    "  n = pooled(sum(w, over=B*T))\n  p = pooled(sum(w * r.prob, over=B*T)) / n\n"
    "  penalty all = sum(p * log(p), over=E)\n"
    "  nt = pooled(sum(w, over=T))\n  pt = pooled(sum(w * r.prob, over=T)) / nt\n"
    "  own = pooled(sum(w * r.prob * log(r.prob), over=T*E)) / nt\n"
    "  penalty both = mean(sum(pt * log(pt), over=E) - own, over=B)\n"
    "  yield route x by r each t { yield (t @[D] W1).rename(D' -> D) }\n}\n"
    "model M(x: [B,T,D], w: [B,T,U]) -> y: [B,T,D] {\n"
    "  layer route1 = Route\n  y = x\n  repeat i in U { y = y + route1(y, w[U = i]) }\n}\n";

static void pooled_statistics(void **state)
{
    (void)state;
    for (size_t d = 0; d < 2; d++) {
        Example e;
        example_open(&e, device[d], pooled, &(ExampleOptions){.build = {.mode = MODE_TRAIN}});
        double x[12], w[12] = {1, 1, .7, .2, 1, 0, .9, .1, .4, 0, 1, .3}, Wr[8], W1[16];
        for (int i = 0; i < 16; i++) {
            W1[i] = sin(3 * i) / 2;
            if (i < 12)
                x[i] = sin(5 * i);
            if (i < 8)
                Wr[i] = cos(2 * i);
        }
        example_set(&e, BUFFER_INPUT, "x", x, 12);
        example_set(&e, BUFFER_INPUT, "w", w, 12);
        example_set(&e, BUFFER_PARAM, "M.route1.Wr", Wr, 8);
        example_set(&e, BUFFER_PARAM, "M.route1.W1", W1, 16);
        example_run(&e);
        static const char *const pair[][2] = {{"entropy", "all"}, {"mi", "both"}};
        for (size_t i = 0; i < sizeof pair / sizeof *pair; i++) {
            const double *clause = example_get(&e, BUFFER_OUTPUT, arena_printf(&e.arena, "term.M.route1.%s", pair[i][0]));
            const double *written = example_get(&e, BUFFER_OUTPUT, arena_printf(&e.arena, "term.M.route1.%s", pair[i][1]));
            assert_true(fabs(written[0]) > 0.01);
            example_near(pair[i][0], clause, written, 1, 1e-6);
        }
        example_close(&e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(computation_time),
        cmocka_unit_test(stick_breaking),
        cmocka_unit_test(router_of_sut),
        cmocka_unit_test(pooled_statistics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
