// Routing against numbers worked out by hand or published: places, weights, what is dropped, balance terms and their gradients,
// statistics. (How choices come about: test_route_choices.c.)
#include "route_case.h"

// ---- six tokens, four experts, two choices (WideNet and V-MoE) ----

static const double p6[24] = {.3, .5, .1, .1, .5, .3, .1, .1, .4, .35, .15, .1, .6, .1, .2, .1, .1, .15, .7, .05, .45, .25, .2, .1};
static const double x6[6] = {1, 2, 3, 4, 5, 6};

static void begin_six(Case *c, ModeName mode, const char *clauses, bool with_stats)
{
    char text[1024];
    snprintf(text, sizeof text,
             "axis T : time = 6, E : expert = 4, K = 2\n"
             "model M(x: [T], p: [T,E]) -> y: [T], index: [T,K], weight: [T,K] {\n"
             "  times = f32(index(E) + 1)\n"
             "  r = route by log(p) to E experts top K %s each t\n"
             "  y = route x by r each t { yield t * times }\n"
             "  index = f32(r.index)\n  weight = r.weight\n}\n", clauses);
    begin(c, mode, with_stats, text, IN({"x", x6}, {"p", p6}));
    eval_case(c);
}

static void places_go_by_the_written_priority(void **state)
{
    (void)state;
    static const struct { const char *clauses; double y[6], index[12]; } cases[] = {
        {"dropless", {1.3, 2.2, 3.3, 4.8, 12.0, 5.7}, {1, 0, 0, 1, 0, 1, 0, 2, 2, 1, 0, 1}},
        {"capacity 1.2 over T", {1.3, 2.2, 3.3, 2.4, 10.5, 0}, {1, 0, 0, 1, 0, 1, -1, 2, 2, -1, -1, -1}},
        // the released WideNet code loses a place: P1 with capacity B is P0 with B - 1
        {"capacity rows(floor(1.2*K*T/E) - 1) over T", {1.3, 2.2, 0, 2.4, 10.5, 0}, {1, 0, 0, 1, -1, -1, -1, 2, 2, -1, -1, -1}},
        {"capacity 1.2 over T priority choice", {1.0, 2.2, 3.3, 4.8, 10.5, 0}, {1, -1, 0, 1, 0, 1, 0, 2, 2, -1, -1, -1}},
        {"capacity 1.2 over T priority score", {1.0, 2.2, 0, 4.8, 12.0, 2.7}, {1, -1, 0, 1, -1, -1, 0, 2, 2, 1, 0, -1}},
        // the port's rule: even, and at least 4
        {"capacity rows(max(4, floor(1.2*K*T/E) + floor(1.2*K*T/E) % 2)) over T priority choice",
         {1.0, 2.2, 3.3, 4.8, 12.0, 2.7}, {1, -1, 0, 1, 0, 1, 0, 2, 2, 1, 0, -1}},
        // enough room: all alike
        {"capacity rows(6) over T", {1.3, 2.2, 3.3, 4.8, 12.0, 5.7}, {1, 0, 0, 1, 0, 1, 0, 2, 2, 1, 0, 1}},
        {"capacity rows(6) over T priority score", {1.3, 2.2, 3.3, 4.8, 12.0, 5.7}, {1, 0, 0, 1, 0, 1, 0, 2, 2, 1, 0, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Case c;
        begin_six(&c, MODE_EVAL, cases[i].clauses, false);
        same(result(&c, "y"), cases[i].y, 6, 1e-9, cases[i].clauses);
        same(result(&c, "index"), cases[i].index, 12, 0, cases[i].clauses);
        end(&c);
    }
}

static void weights_are_normalised_as_asked(void **state)
{
    (void)state;
    Case c;
    begin_six(&c, MODE_EVAL, "gate softmax(norm=chosen)", false);
    SAME(result(&c, "weight"), 1e-9, .625, .375, .625, .375, 40 / 75., 35 / 75., .75, .25, 14 / 17., 3 / 17., 45 / 70., 25 / 70.);
    end(&c);
    begin_six(&c, MODE_EVAL, "gate softmax(norm=kept) capacity 1.2 over T", false);
    SAME(result(&c, "weight"), 1e-9, .625, .375, .625, .375, 40 / 75., 35 / 75., 0, 1, 1, 0, 0, 0);
    end(&c);
    begin_six(&c, MODE_EVAL, "gate softmax(norm=chosen) capacity 1.2 over T", false);
    SAME(result(&c, "weight"), 1e-9, .625, .375, .625, .375, 40 / 75., 35 / 75., 0, .25, 14 / 17., 0, 0, 0);
    end(&c);
    begin_six(&c, MODE_EVAL, "gate sigmoid", false);
    SAME(result(&c, "weight"), 1e-9, .5 / 1.5, .3 / 1.3, .5 / 1.5, .3 / 1.3, .4 / 1.4, .35 / 1.35, .6 / 1.6, .2 / 1.2, .7 / 1.7);
    end(&c);
    begin_six(&c, MODE_EVAL, "gate one capacity 1.2 over T", false);
    SAME(result(&c, "weight"), 0, 1, 1, 1, 1, 1, 1, 0, 1, 1, 0, 0, 0);
    end(&c);
}

static void overflow_does_what_it_says(void **state)
{
    (void)state;
    Case c;
    // a dropped choice gives the token itself, weighted: t3 lost expert 0 (.6), t4 expert 1 (.15), t5 both (.45 + .25)
    begin_six(&c, MODE_EVAL, "capacity 1.2 over T overflow pass", false);
    SAME(result(&c, "y"), 1e-9, 1.3, 2.2, 3.3, 2.4 + 4 * .6, 10.5 + 5 * .15, 6 * .7);
    end(&c);
    begin_six(&c, MODE_EVAL, "capacity 1.2 over T overflow error", false);
    SAME(result(&c, "y"), 1e-9, 1.3, 2.2, 3.3);
    assert_true(isnan(result(&c, "y")[3]) && isnan(result(&c, "y")[5]));
    end(&c);
    begin_six(&c, MODE_EVAL, "capacity rows(5) over T overflow error", false);
    SAME(result(&c, "y"), 1e-9, 1.3, 2.2, 3.3, 4.8, 12.0, 5.7);
    end(&c);
    begin_six(&c, MODE_GENERATE, "capacity 1.2 over T overflow error", false);        // generation is dropless
    SAME(result(&c, "y"), 1e-9, 1.3, 2.2, 3.3, 4.8, 12.0, 5.7);
    end(&c);
}

static void balance_terms_have_their_published_values(void **state)
{
    (void)state;
    static const struct { const char *term; double want; } cases[] = {
        {"switch(1) over T", 1.272222}, {"gshard(1) over T", 1.388889}, {"switch(0.01) over T", 0.01272222},
        {"zloss(1) over T", 0.0},           // the scores are logarithms of probabilities: their logsumexp is 0
        // sum of P log P; and minus the mean of sum p log p beside it
        {"entropy(1) over T", .391667 * -.937343 + .275 * -1.290984 + .241667 * -1.420196 + .091667 * -2.389593},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Case c;
        char clauses[128];
        snprintf(clauses, sizeof clauses, "balance %s", cases[i].term);
        begin_six(&c, MODE_TRAIN, clauses, false);
        if (!(fabs(aux(&c) - cases[i].want) < 2e-6))
            fail_msg("%s is %.9g, not %.9g", cases[i].term, aux(&c), cases[i].want);
        end(&c);
    }
}

static void balance_gradients_have_their_closed_form(void **state)
{
    (void)state;
    double z[24];
    for (int i = 0; i < 24; i++)
        z[i] = log(p6[i]);
    Case c;
    begin(&c, MODE_TRAIN, false,
          "axis T : time = 6, E : expert = 4\nmodel M(x: [T], z: [T,E]) -> y: [T] {\n"
          "  y = route x by z to E experts top 2 balance switch(1) over T each t { yield t }\n}\n", IN({"x", x6}, {"z", z}));
    assert_true(grad_of_run(c.run.module, &(RunGradOptions){0}));
    eval_case(&c);
    const double *dz = value(&c, OUTPUT_GRAD, "input.z");
    SAME(dz + 4, 1e-7, 0.0222222, 0.0133333, -0.0122222, -0.0233333);
    SAME(dz, 1e-7, 0.0133333, 0.0222222, -0.0122222, -0.0233333);
    for (int t = 0; t < 6; t++)
        assert_true(fabs(dz[4 * t] + dz[4 * t + 1] + dz[4 * t + 2] + dz[4 * t + 3]) < 1e-12);
    end(&c);
}

// V-MoE's importance and load, written as penalties: the language needs no word for them.
static void other_balance_terms_are_penalties(void **state)
{
    (void)state;
    double z[24];
    for (int i = 0; i < 24; i++)
        z[i] = log(p6[i]);
    Case c;
    begin(&c, MODE_TRAIN, false,
          "axis T : time = 6, E : expert = 4, K = 2\nmodel M(z: [T,E]) -> importance: [], load: [] {\n"
          "  r = route by z to E experts top K each t\n"
          "  i = sum(r.prob, over=T)\n  m = mean(i, over=E)\n  importance = mean((i - m)^2, over=E) / m^2\n"
          "  th = z[E = r.index][K = 1]\n"
          "  q = 1 - 0.5*(1 + erf((th - z) * 4 / sqrt(2)))\n"
          "  l = mean(q, over=T)\n  n = mean(l, over=E)\n  load = mean((l - n)^2, over=E) / n^2\n}\n", IN({"z", z}));
    eval_case(&c);
    SAME(result(&c, "importance"), 1e-6, 0.183333);
    SAME(result(&c, "load"), 1e-6, 0.495408);
    end(&c);
}

static void statistics_count_what_happened(void **state)
{
    (void)state;
    Case c;
    begin_six(&c, MODE_TRAIN, "capacity 1.2 over T", true);
    SAME(value(&c, OUTPUT_WATCH, "route.0.load"), 0, 5, 5, 2, 0);
    SAME(value(&c, OUTPUT_WATCH, "route.0.dropped"), 0, 4);
    SAME(value(&c, OUTPUT_WATCH, "route.0.bad"), 0, 0);
    double entropy = 0;
    for (int i = 0; i < 24; i++)
        entropy -= p6[i] * log(p6[i]) / 6;
    SAME(value(&c, OUTPUT_WATCH, "route.0.entropy"), 1e-9, entropy);
    assert_int_equal(c.run.module->n_routes, 1);
    assert_int_equal(c.run.module->route[0].rows, 3);
    assert_string_equal(c.run.module->route[0].pool, "T");
    end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_go_by_the_written_priority),
        cmocka_unit_test(weights_are_normalised_as_asked),
        cmocka_unit_test(overflow_does_what_it_says),
        cmocka_unit_test(balance_terms_have_their_published_values),
        cmocka_unit_test(balance_gradients_have_their_closed_form),
        cmocka_unit_test(other_balance_terms_are_penalties),
        cmocka_unit_test(statistics_count_what_happened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
