// Who is chosen, against numbers worked out by hand or published: GShard, Switch, BASE, sinkhorn, experts that choose, noise,
// tables, chunks of features, sigma-MoE, SUT. (Places and weights: test_routes.c.)
#include "route_case.h"

// ---- GShard, Switch, BASE ----

static void gshards_second_choice(void **state)
{
    (void)state;
    static const double z[12] = {2, 1, 0, 2, 1.5, 0, 2, 0, 1, 0, 1, .5};
    static const char text[] =
        "axis T : time = 4, E : expert = 3, K = 2\n"
        "model M(z: [T,E]) -> w: [T,K], slot: [T,K], index: [T,K] {\n"
        "  r = route by z to E experts top K gate softmax(norm=kept) capacity rows(2) over T priority choice balance gshard(1) over T each t\n"
        "  w = r.weight\n  slot = f32(r.slot)\n  index = f32(r.index)\n}\n";
    Case c;
    begin(&c, MODE_TRAIN, false, text, IN({"z", z}));
    eval_case(&c);
    SAME(result(&c, "w"), 1e-6, .731059, .268941, 1, 0, 0, 1, .622459, .377541);
    assert_true(fabs(aux(&c) - 1.399154) < 1e-6);
    end(&c);
    // a later token takes other experts: an earlier one gets its place back
    double later[12];
    memcpy(later, z, sizeof z);
    later[9] = 0, later[10] = .5, later[11] = 1;
    begin(&c, MODE_TRAIN, false, text, IN({"z", later}));
    eval_case(&c);
    SAME(result(&c, "w") + 2, 1e-6, .622459, .377541);
    end(&c);
}

// The second choice is used with probability 2*G2 (Lepikhin et al. 2020): over many tokens that is how often it is.
static void second_choices_are_given_up_at_random(void **state)
{
    (void)state;
    enum { N = 4000 };
    double *z = calloc(N * 3, sizeof *z);
    for (int t = 0; t < N; t++) {
        z[3 * t] = 2;
        z[3 * t + 1] = t % 2 ? 1.5 : 1;
    }
    for (int way = 0; way < 2; way++) {
        char text[512];
        snprintf(text, sizeof text,
                 "axis T : time = 4000, E : expert = 3, K = 2\nmodel M(z: [T,E]) -> w: [T,K], index: [T,K], load: [E] {\n"
                 "  r = route by z to E experts top K gate softmax(norm=%s) sample proportional(2) each t\n"
                 "  w = r.weight\n  index = f32(r.index)\n  load = r.load\n}\n", way ? "kept" : "chosen");
        Case c;
        begin(&c, MODE_TRAIN, false, text, IN({"z", z}));
        eval_case(&c);
        double used[2] = {0};
        for (int t = 0; t < N; t++) {
            const double *w = result(&c, "w") + 2 * t, second = result(&c, "index")[2 * t + 1], g2 = t % 2 ? .377541 : .268941;
            used[t % 2] += second == 1;
            assert_true(second == 1 || second == -1);
            if (!way)                       // weights are of both choices, used or not
                assert_true(fabs(w[0] - (1 - g2)) < 1e-6 && fabs(w[1] - (second == 1 ? g2 : 0)) < 1e-6);
            else                            // what is left has all the weight
                assert_true(second == 1 ? fabs(w[1] - g2) < 1e-6 : w[0] == 1 && w[1] == 0);
        }
        // with norm=kept the probability is that of the plain weight (fairseq)
        double want[2] = {2 * .268941, 2 * .377541};
        if (way) {
            want[0] = 2 * exp(1) / (exp(2) + exp(1) + 1);
            want[1] = 2 * exp(1.5) / (exp(2) + exp(1.5) + 1);
        }
        for (int i = 0; i < 2; i++)         // within four deviations
            assert_true(fabs(used[i] / (N / 2) - want[i]) < 4 * sqrt(.25 / (N / 2)));
        end(&c);
    }
    // a threshold decides without chance, also in eval where it says so
    Case c;
    begin(&c, MODE_EVAL, false,
          "axis T : time = 2, E : expert = 3, K = 2\nmodel M(z: [T,E]) -> w: [T,K] {\n"
          "  r = route by z to E experts top K gate softmax(norm=chosen) sample above(0.3) in eval each t\n  w = r.weight\n}\n", IN({"z", z}));
    eval_case(&c);
    SAME(result(&c, "w"), 1e-6, .731059, 0, .622459, .377541);
    end(&c);
    free(z);
}

static void switch_keeps_the_first_tokens(void **state)
{
    (void)state;
    static const double z[18] = {2, 0, 0, 1, 0, 0, 3, 1, 0, 0, 2, 0, 1.5, 0, 1, 0, 0, 1};
    static const struct { const char *factor; double kept[6]; } cases[] = {
        {"1.0", {1, 1, 0, 1, 0, 1}}, {"1.25", {1, 1, 0, 1, 0, 1}}, {"2.0", {1, 1, 1, 1, 1, 1}}};
    static const double e[6] = {0, 0, 0, 1, 0, 2};
    for (size_t i = 0; i < 3; i++) {
        char text[512];
        snprintf(text, sizeof text,
                 "axis T : time = 6, E : expert = 3, K = 1\nmodel M(z: [T,E]) -> index: [T,K], slot: [T,K], chosen: [T,E] {\n"
                 "  r = route by z to E experts top K capacity %s over T balance switch(1) over T each t\n"
                 "  index = f32(r.index)\n  slot = f32(r.slot)\n  chosen = r.chosen\n}\n", cases[i].factor);
        Case c;
        begin(&c, MODE_TRAIN, false, text, IN({"z", z}));
        eval_case(&c);
        for (int t = 0; t < 6; t++) {
            assert_true(result(&c, "index")[t] == (cases[i].kept[t] ? e[t] : -1));
            assert_true(result(&c, "chosen")[3 * t + (int)e[t]] == 1);      // before any is dropped
        }
        assert_true(fabs(aux(&c) - 1.267974) < 1e-6);
        end(&c);
    }
}

static void base_assigns_evenly_in_training_and_freely_afterwards(void **state)
{
    (void)state;
    static const char text[] =
        "axis T : time = 4, D = 2, E : expert = 2, K = 1\nmodel M(h: [T,D]) -> index: [T,K], y: [T,D] {\n"
        "  c = f32(outer(index(E) * 2 + 1, 1 + 0*index(D)) == 2*index(D) + 1)\n"      // the identity
        "  step = f32(index(D) == 0)\n"
        "  r = route by h @[D] c to E experts top K gate sigmoid assign balanced over T in train, greedy in eval each t\n"
        "  index = f32(r.index)\n  y = route h by r each t, g { yield t + g*step }\n}\n";
    static const double h[8] = {2, 0, 1.5, .5, 1, .2, .2, 1}, other[8] = {2, 0, 1.5, .5, 1, .2, 3, 0};
    Case c;
    begin(&c, MODE_TRAIN, false, text, IN({"h", h}));
    eval_case(&c);
    SAME(result(&c, "index"), 0, 0, 0, 1, 1);
    SAME(result(&c, "y"), 1e-6, 2.880797, 0, 1.5 + .817574, .5, 1 + .549834, .2, .2 + .731059, 1);
    end(&c);
    begin(&c, MODE_EVAL, false, text, IN({"h", h}));
    eval_case(&c);
    SAME(result(&c, "index"), 0, 0, 0, 0, 1);
    end(&c);
    begin(&c, MODE_TRAIN, false, text, IN({"h", other}));
    eval_case(&c);
    SAME(result(&c, "index"), 0, 0, 1, 1, 0);
    end(&c);
    begin(&c, MODE_EVAL, false, text, IN({"h", other}));
    eval_case(&c);
    SAME(result(&c, "index"), 0, 0, 0, 0, 0);
    end(&c);
}

// The best of all even assignments of n items, by trying them all.
static double best_total(const double *s, int n, int experts, int item, int *room)
{
    double best = -INFINITY;
    if (item == n)
        return 0;
    for (int e = 0; e < experts; e++)
        if (room[e]) {
            room[e]--;
            double total = s[item * experts + e] + best_total(s, n, experts, item + 1, room);
            room[e]++;
            best = total > best ? total : best;
        }
    return best;
}

static void balanced_assignment_is_even_and_optimal(void **state)
{
    (void)state;
    uint32_t seed = 7;
    for (int experts = 2; experts <= 4; experts++)
        for (int trial = 0; trial < 12; trial++) {
            const int n = experts * (1 + trial % (experts == 4 ? 2 : 3));
            double s[64], load[4] = {0}, total = 0;
            for (int i = 0; i < n * experts; i++) {
                seed = seed * 1664525u + 1013904223u;
                s[i] = (double)(seed >> 8) / (1 << 23) - 1;
            }
            char text[300];
            snprintf(text, sizeof text, "axis T : time = %d, E : expert = %d, K = 1\nmodel M(s: [T,E]) -> index: [T,K] {\n"
                     "  r = route by s to E experts top K assign balanced over T each t\n  index = f32(r.index)\n}\n", n, experts);
            Case c;
            begin(&c, MODE_TRAIN, false, text, IN({"s", s}));
            eval_case(&c);
            int room[4] = {n / experts, n / experts, n / experts, n / experts};
            for (int i = 0; i < n; i++) {
                const int e = (int)result(&c, "index")[i];
                load[e]++;
                total += s[i * experts + e];
            }
            for (int e = 0; e < experts; e++)
                assert_true(load[e] == n / experts);
            assert_true(total >= best_total(s, n, experts, 0, room) - 2e-3);   // the stated bound: a thousandth of the spread
            end(&c);
        }
}

// Rows and columns scaled in turn, written out; the choice is that of the scaled matrix.
static void sinkhorn_evens_loads(void **state)
{
    (void)state;
    enum { N = 12, E = 3 };
    double s[N * E], m[N * E], c[E] = {1, 1, 1};
    for (int i = 0; i < N * E; i++)
        s[i] = sin(1.7 * i) + (i % E == 0 ? 1 : 0);         // expert 0 is the favourite
    for (int t = 0; t < N; t++)
        for (int e = 0; e < E; e++)
            m[t * E + e] = exp(s[t * E + e]);
    for (int round = 0; round < 8; round++) {
        double next[E] = {0};
        for (int t = 0; t < N; t++) {
            double sum = 0;
            for (int e = 0; e < E; e++)
                sum += m[t * E + e] * c[e];
            for (int e = 0; e < E; e++)
                next[e] += m[t * E + e] / sum;
        }
        for (int e = 0; e < E; e++)
            c[e] = (double)N / E / next[e];
    }
    Case k, plain;
    static const char text[] = "axis T : time = 12, E : expert = 3, K = 1\nmodel M(s: [T,E]) -> index: [T,K], load: [E] {\n"
        "  r = route by s to E experts top K assign sinkhorn over T in train, greedy in eval each t\n"
        "  index = f32(r.index)\n  load = r.load\n}\n";
    begin(&k, MODE_TRAIN, false, text, IN({"s", s}));
    eval_case(&k);
    begin(&plain, MODE_EVAL, false, text, IN({"s", s}));
    eval_case(&plain);
    double most = 0, most_plain = 0;
    for (int t = 0; t < N; t++) {
        int best = 0;
        for (int e = 1; e < E; e++)
            if (m[t * E + e] * c[e] > m[t * E + best] * c[best])
                best = e;
        assert_true(result(&k, "index")[t] == best);
    }
    for (int e = 0; e < E; e++) {
        most = fmax(most, result(&k, "load")[e]);
        most_plain = fmax(most_plain, result(&plain, "load")[e]);
    }
    assert_true(most < most_plain);
    end(&k);
    end(&plain);
}

// ---- experts choose ----

static void experts_take_their_best_tokens(void **state)
{
    (void)state;
    static const char text[] =
        "axis B : batch = 2, T : time = 3, E : expert = 3\n"
        "model M(x: [B,T], p: [B,T,E]) -> y: [B,T], chosen: [B,T,E] {\n"
        "  times = f32(index(E) + 1)\n  r = route by log(p) to E experts top 1 gate softmax%s capacity %s assign experts_choose each t\n"
        "  y = route x by r each t { yield t * times }\n  chosen = r.chosen\n}\n";
    static const double p[18] = {.5, .3, .2, .6, .3, .1, .2, .2, .6, .1, .8, .1, .3, .3, .4, .7, .2, .1}, x[6] = {1, 2, 3, 4, 5, 6};
    char whole[700];
    Case c;
    // over B*T, two places each: expert 0 takes tokens 5 and 1, expert 1 takes 3 and 0 (of equals the first), expert 2 takes 2 and 4
    snprintf(whole, sizeof whole, text, "", "1 over B*T");
    begin(&c, MODE_TRAIN, false, whole, IN({"x", x}, {"p", p}));
    eval_case(&c);
    SAME(result(&c, "chosen"), 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 1, 0, 0);
    SAME(result(&c, "y"), 1e-9, 1 * 2 * .3, 2 * 1 * .6, 3 * 3 * .6, 4 * 2 * .8, 5 * 3 * .4, 6 * 1 * .7);
    end(&c);
    // what is added to all scores of a token changes no probability, and no choice (without ties, which rounding would decide)
    double q[18];
    memcpy(q, p, sizeof q);
    q[1] = .32, q[2] = .18;
    snprintf(whole, sizeof whole, text, "", "1 over B*T");
    char *scores = strstr(whole, "log(p)");
    memmove(scores + 12, scores + 6, strlen(scores + 6) + 1);
    memcpy(scores, "(x + log(p))", 12);
    begin(&c, MODE_TRAIN, false, whole, IN({"x", x}, {"p", q}));
    eval_case(&c);
    SAME(result(&c, "chosen"), 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 1, 0, 0);
    end(&c);
    // over T, one place each in a row; nobody takes the first token of the first row
    snprintf(whole, sizeof whole, text, "", "1 over T");
    begin(&c, MODE_TRAIN, false, whole, IN({"x", x}, {"p", p}));
    eval_case(&c);
    SAME(result(&c, "chosen"), 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 1, 0, 0);
    end(&c);
    // five places each: gates normalised over the experts that took the token
    snprintf(whole, sizeof whole, text, "(norm=chosen)", "rows(6) over B*T");
    begin(&c, MODE_TRAIN, false, whole, IN({"x", x}, {"p", p}));
    assert_true(grad_of_run(c.run.module, &(RunGradOptions){.cotangent = (const char *const[]){"y"}, .n_cotangents = 1}));
    static const double ones[6] = {1, 1, 1, 1, 1, 1};
    c.input[2] = (Input){"cotangent.y", ones};
    eval_case(&c);
    for (int t = 0; t < 6; t++) {
        const double mean = p[3 * t] + 2 * p[3 * t + 1] + 3 * p[3 * t + 2];
        assert_true(fabs(result(&c, "y")[t] - x[t] * mean) < 1e-9);
        assert_true(fabs(value(&c, OUTPUT_GRAD, "input.x")[t] - mean) < 1e-9);
    }
    end(&c);
}

// A body with parameters of its own: the same as every token at every expert, weighted, where all are taken.
static void chosen_tokens_meet_their_experts_parameters(void **state)
{
    (void)state;
    enum { T = 5, D = 3, E = 2 };
    static const char text[] =
        "axis T : time = 5, D = 3, E : expert = 2, K = 2\n"
        "model M(x: [T,D], s: [T,E]) -> y: [T,D] {\n"
        "  y = route x by s to E experts %s each t {\n    param W[D,D'], b[D']\n    yield relu(t @[D] W + b).rename(D' -> D)\n  }\n}\n";
    double x[T * D], s[T * E], w[E * D * D], bias[E * D], y[2][T * D];
    for (int i = 0; i < T * D; i++) x[i] = sin(i + 1.0);
    for (int i = 0; i < T * E; i++) s[i] = cos(3.0 * i);
    for (int i = 0; i < E * D * D; i++) w[i] = sin(2.0 * i);
    for (int i = 0; i < E * D; i++) bias[i] = cos(5.0 * i);
    for (int way = 0; way < 2; way++) {
        char whole[700];
        snprintf(whole, sizeof whole, text, way ? "capacity rows(5) over T assign experts_choose" : "top 2");
        Case c;
        begin(&c, MODE_TRAIN, false, whole, IN({"x", x}, {"s", s}, {"M.W", w}, {"M.b", bias}));
        eval_case(&c);
        memcpy(y[way], result(&c, "y"), sizeof y[way]);
        end(&c);
    }
    same(y[1], y[0], T * D, 1e-12, "experts choose all");
}

// ---- noise and expert dropout ----

static void an_expert_that_is_left_out_is_not_chosen(void **state)
{
    (void)state;
    enum { N = 2000 };
    static double z[N * 4];
    for (int i = 0; i < N; i++)
        for (int e = 0; e < 4; e++)
            z[4 * i + e] = 4 - e;
    static const char text[] = "axis T : time = 2000, E : expert = 4, K = 2\nmodel M(z: [T,E]) -> index: [T,K], w: [T,K], prob: [T,E] {\n"
        "  r = route by z to E experts top K gate sigmoid noise drop(0.4) balance entropy(1) over T each t\n"
        "  index = f32(r.index)\n  w = r.weight\n  prob = r.prob\n}\n";
    Case c;
    begin(&c, MODE_TRAIN, false, text, IN({"z", z}));
    eval_case(&c);
    int first[5] = {0}, none = 0;
    for (int t = 0; t < N; t++) {
        const double *index = result(&c, "index") + 2 * t, *w = result(&c, "w") + 2 * t;
        first[index[0] < 0 ? 4 : (int)index[0]]++;
        none += index[1] < 0;
        assert_true(index[1] < 0 || index[1] > index[0]);
        assert_true(fabs(w[0] - (index[0] < 0 ? 0 : 1 / (1 + exp(index[0] - 4)))) < 1e-9);
        assert_true(w[1] == 0 || index[1] >= 0);
        assert_true(fabs(result(&c, "prob")[4 * t] - .6439142599) < 1e-9);  // the statistics see all of them
    }
    // expert e is first with probability .6 * .4^e; fewer than two are open with .4^4 + 4*.6*.4^3
    const double want[5] = {.6, .24, .096, .0384, .0256};
    for (int e = 0; e < 5; e++)
        assert_true(fabs((double)first[e] / N - want[e]) < 4 * sqrt(want[e] * (1 - want[e]) / N));
    assert_true(fabs((double)none / N - (.0256 + .1536)) < 4 * sqrt(.15 / N));
    end(&c);
    begin(&c, MODE_EVAL, false, text, IN({"z", z}));
    eval_case(&c);
    for (int t = 0; t < N; t++)
        assert_true(result(&c, "index")[2 * t] == 0 && result(&c, "index")[2 * t + 1] == 1);
    end(&c);
}

static void noise_has_its_spread(void **state)
{
    (void)state;
    enum { N = 4000 };
    static double z[N * 2];
    static const struct { const char *noise; double mean, deviation, low, high; } cases[] = {
        {"gaussian(0.5)", 2, .5, -9, 9}, {"gumbel", 2.5772157, 1.2825498, -9, 99}, {"jitter(0.1)", 2, .2 / 1.7320508, 1.8, 2.2},
        {"learned(0*z)", 2, .6931472, -9, 9}, {"gaussian(0.3) noise jitter(0)", 2, .3, -9, 9}};
    for (int i = 0; i < 2 * N; i++)
        z[i] = 2;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int eval = 0; eval < 2; eval++) {
            char text[300];
            snprintf(text, sizeof text, "axis T : time = 4000, E : expert = 2\nmodel M(z: [T,E]) -> s: [T,E] {\n"
                     "  r = route by z to E experts top 1 noise %s each t\n  s = r.score\n}\n", cases[i].noise);
            Case c;
            begin(&c, eval ? MODE_EVAL : MODE_TRAIN, false, text, IN({"z", z}));
            eval_case(&c);
            double mean = 0, square = 0;
            for (int k = 0; k < 2 * N; k++) {
                const double s = result(&c, "s")[k];
                mean += s / (2 * N);
                square += (s - cases[i].mean) * (s - cases[i].mean) / (2 * N);
                assert_true(s >= cases[i].low && s <= cases[i].high);
            }
            const double want = eval ? 2 : cases[i].mean, spread = eval ? 0 : cases[i].deviation;
            assert_true(fabs(mean - want) <= 5 * spread / sqrt(2 * N) + 1e-9);
            if (!eval)
                assert_true(fabs(sqrt(square) - spread) < .05 * spread);
            end(&c);
        }
}

// ---- tables ----

static void whole_numbers_name_the_expert(void **state)
{
    (void)state;
    static const double x[4] = {1, 2, 3, 4}, id[4] = {3, 1, 4, 1}, map[5] = {0, 1, 1, 0, 1};
    Case c;
    begin(&c, MODE_TRAIN, false,
          "axis T : time = 4, V = 5, E : expert = 2\nmodel M(x: [T], ids: int[T]) -> y: [T], load: [E], kept: [T] {\n"
          "  state map: int[V] = balanced_hash(E)\n  times = f32(10 * index(E) + 1)\n  table = map[V = ids]\n"
          "  r = route by table to E experts each t\n  y = route x by r each t { yield t * times }\n  load = r.load\n"
          "  kept = route x by table to E experts capacity rows(2) over T each t { yield t * times }\n}\n",
          IN({"x", x}, {"ids", id}, {"M.map", map}));
    eval_case(&c);
    SAME(result(&c, "y"), 0, 1, 22, 33, 44);
    SAME(result(&c, "load"), 1e-12, .25, .75);
    SAME(result(&c, "kept"), 0, 1, 22, 33, 0);              // the third of expert 1 finds no place
    end(&c);
    // several tables, each token at one expert of each: the results add up
    static const double maps[10] = {0, 1, 1, 0, 1, 1, 0, 1, 1, 1};
    begin(&c, MODE_TRAIN, false,
          "axis T : time = 4, V = 5, E : expert = 2, K = 2\nmodel M(x: [T], ids: int[T], live: [T]) -> y: [T] {\n"
          "  state map: int[V,K]\n  times = f32(10 * index(E) + 1)\n"
          "  y = route x by map[V = ids] to E experts top K where live each t { yield t * times }\n}\n",
          IN({"x", x}, {"ids", id}, {"live", (const double[]){1, 1, 0, 1}}, {"M.map", maps}));
    eval_case(&c);
    // map[3] = (1, 0), map[1] = (1, 0), map[4] = (1, 1)
    SAME(result(&c, "y"), 0, 12, 24, 0, 48);
    end(&c);
}

// ---- chunks of the hidden axis, through spatial gates (sMLP) ----

static void chunks_of_features_go_through_spatial_gates(void **state)
{
    (void)state;
    static const char text[] =
        "axis T : time = 2, H = 4, C = 2, W = 2, E : expert = 2\n"
        "model M(x: [T,H], r: int[C]) -> y: [T,H] {\n  param Ws[E,T,T'] with shape = lower(T, T')\n  param bs[E,T]\n"
        "  c = route x.split(H -> C*W) by r to E experts each v { yield v.rename(T -> T') @[T'] Ws + bs }\n"
        "  y = c.merge(C*W -> H)\n}\n";
    static const double x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, ws[8] = {1, 0, 2, 3, .5, 0, -1, 1}, bs[4] = {0, 0, 1, 1};
    Case c;
    begin(&c, MODE_EVAL, false, text, IN({"x", x}, {"r", (const double[]){0, 1}}, {"M.Ws", ws}, {"M.bs", bs}));
    eval_case(&c);
    SAME(result(&c, "y"), 1e-12, 1, 2, 2.5, 3, 17, 22, 5, 5);
    end(&c);
    begin(&c, MODE_EVAL, false, text, IN({"x", x}, {"r", (const double[]){1, 0}}, {"M.Ws", ws}, {"M.bs", bs}));
    eval_case(&c);
    SAME(result(&c, "y"), 1e-12, 1.5, 2, 3, 4, 5, 5, 27, 32);
    end(&c);
}

// ---- sigma-MoE and SUT ----

static void sigma_moe_routes_by_one_tensor_and_carries_another(void **state)
{
    (void)state;
    static const double x[3] = {1, -1, 2}, w1[18] = {1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, -1, 0, 1},
                        w2[18] = {1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1}, one[3] = {1, 1, 1}, zero[3] = {0};
    Case c;
    begin(&c, MODE_EVAL, false,
          "axis T : time = 1, D = 3, S = 2, E : expert = 3\nmodel M(x: [T,D]) -> y: [T,D] {\n  param W1[E,D,S], W2[E,S,D]\n"
          "  z = LN(x).rename(D -> E)\n  y = route x by z to E experts top 2 gate sigmoid each t { yield relu(t @[D] W1) @[S] W2 }\n}\n",
          IN({"x", x}, {"M.W1", w1}, {"M.W2", w2}, {"M.LN.gain", one}, {"M.LN.bias", zero}));
    eval_case(&c);
    SAME(result(&c, "y"), 1e-8, 1.699260629, 0.56642021, 4.676919025);
    end(&c);
}

static void entropy_is_of_the_sequence_or_of_the_batch(void **state)
{
    (void)state;
    static const double z[6] = {2, 0, 0, 0, 2, 0};
    static const struct { const char *sizes, *over; double want; } cases[] = {
        {"B : batch = 1, T : time = 2", "T", -0.9584716004}, {"B : batch = 2, T : time = 1", "T", -0.6655726819},
        {"B : batch = 2, T : time = 1", "B*T", -0.9584716004}};
    for (size_t i = 0; i < 3; i++) {
        char text[300];
        snprintf(text, sizeof text, "axis %s, E : expert = 3\nmodel M(z: [B,T,E]) -> load: [E] {\n"
                 "  r = route by z to E experts top 1 gate sigmoid balance entropy(1) over %s each t\n  load = r.load\n}\n",
                 cases[i].sizes, cases[i].over);
        Case c;
        begin(&c, MODE_TRAIN, false, text, IN({"z", z}));
        assert_true(grad_of_run(c.run.module, &(RunGradOptions){0}));
        eval_case(&c);
        assert_true(fabs(aux(&c) - cases[i].want) < 1e-9);
        if (i != 1)
            SAME(value(&c, OUTPUT_GRAD, "input.z"), 1e-8, 0.0600894, 0.008132216, -0.068221616, 0.008132216, 0.0600894, -0.068221616);
        end(&c);
    }
}

static void mutual_information_is_that_of_token_and_expert(void **state)
{
    (void)state;
    static const double z[8] = {2, 1, 0, -1, 0, 0, 3, 1};
    Case c;
    begin(&c, MODE_TRAIN, false,
          "axis T : time = 2, E : expert = 4, K = 2\nmodel M(z: [T,E]) -> w: [T,K] {\n"
          "  r = route by z to E experts top K gate softmax(norm=chosen) balance mi(1) over T each t\n  w = r.weight\n}\n", IN({"z", z}));
    eval_case(&c);
    SAME(result(&c, "w"), 1e-6, .731057750, .268941120);   // the published code adds 1e-6 to the sum
    assert_true(fabs(aux(&c) - -0.378191806) < 1e-8);
    end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gshards_second_choice),
        cmocka_unit_test(second_choices_are_given_up_at_random),
        cmocka_unit_test(switch_keeps_the_first_tokens),
        cmocka_unit_test(base_assigns_evenly_in_training_and_freely_afterwards),
        cmocka_unit_test(balanced_assignment_is_even_and_optimal),
        cmocka_unit_test(sinkhorn_evens_loads),
        cmocka_unit_test(experts_take_their_best_tokens),
        cmocka_unit_test(chosen_tokens_meet_their_experts_parameters),
        cmocka_unit_test(an_expert_that_is_left_out_is_not_chosen),
        cmocka_unit_test(noise_has_its_spread),
        cmocka_unit_test(whole_numbers_name_the_expert),
        cmocka_unit_test(chunks_of_features_go_through_spatial_gates),
        cmocka_unit_test(sigma_moe_routes_by_one_tensor_and_carries_another),
        cmocka_unit_test(entropy_is_of_the_sequence_or_of_the_batch),
        cmocka_unit_test(mutual_information_is_that_of_token_and_expert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
