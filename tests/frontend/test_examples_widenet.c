// Worked numbers of WideNet and its relatives on the evaluator and on the cpu: who keeps a place under each policy, the
// balance terms of WideNet, Switch and V-MoE with their gradients, and a whole small WideNet with its gradients.
#include "example.h"

static const char *const device[] = {"eval", "cpu"};
static const double tolerance[] = {1e-6, 1e-5};      // the numbers are given to 6 digits and more

// ---- six tokens, four experts, two choices each, places for three ----

static const double prob[24] = {.3, .5, .1, .1,  .5, .3, .1, .1,  .4, .35, .15, .1,
                                .6, .1, .2, .1,  .1, .15, .7, .05,  .45, .25, .2, .1};

// Expert i multiplies by i + 1; token t is t + 1. CLAUSES stand for what the case is about.
static const char *tokens_model(Arena *arena, const char *clauses)
{
    return arena_printf(arena,
        "mix 1\naxis T = 6, E : expert = 4, D = 1\n"
        "model M(p: [T,E], x: [T,D]) -> y: [T,D] {\n"
        "  param W[E,D]\n"
        "  y = route x by log(p) to E experts top 2 %s each t { yield t * W }\n}\n", clauses);
}

static void tokens_open(Example *e, const char *on, const char *clauses, bool grad)
{
    Arena text = {0};
    example_open(e, on, tokens_model(&text, clauses), &(ExampleOptions){.build = {.mode = MODE_TRAIN}, .grad = grad});
    arena_free(&text);
    example_set(e, BUFFER_INPUT, "p", prob, 24);
    example_set(e, BUFFER_INPUT, "x", (const double[]){1, 2, 3, 4, 5, 6}, 6);
    example_set(e, BUFFER_PARAM, "M.W", (const double[]){1, 2, 3, 4}, 4);
}

static void who_keeps_a_place(void **state)
{
    (void)state;
    static const struct { const char *clauses; double y[6]; } policy[] = {
        {"gate softmax dropless", {1.3, 2.2, 3.3, 4.8, 12.0, 5.7}},
        {"gate softmax capacity 1.2 over T priority token", {1.3, 2.2, 3.3, 2.4, 10.5, 0}},
        {"gate softmax capacity rows(3) over T priority token", {1.3, 2.2, 3.3, 2.4, 10.5, 0}},
        {"gate softmax capacity rows(2) over T priority token", {1.3, 2.2, 0, 2.4, 10.5, 0}},    // the released code, for 3
        {"gate softmax capacity rows(3) over T priority choice", {1.0, 2.2, 3.3, 4.8, 10.5, 0}},
        {"gate softmax capacity rows(3) over T priority score", {1.0, 2.2, 0, 4.8, 12.0, 2.7}},
        // Every place there could be: the policies agree.
        {"gate softmax capacity rows(6) over T priority token", {1.3, 2.2, 3.3, 4.8, 12.0, 5.7}},
        {"gate softmax capacity rows(6) over T priority choice", {1.3, 2.2, 3.3, 4.8, 12.0, 5.7}},
        {"gate softmax capacity rows(6) over T priority score", {1.3, 2.2, 3.3, 4.8, 12.0, 5.7}},
        // Weights over the chosen: 0.625 and 0.375 for the first token (Shazeer's order of top k and softmax).
        {"gate softmax(norm=chosen) dropless",
         {1.625, 2.75, 3 + 3 * .35 / .75, 4 * (.6 + 3 * .2) / .8, 5 * (3 * .7 + 2 * .15) / .85, 6 * (.45 + 2 * .25) / .7}},
        // Over those that were kept: a single one has all the weight.
        {"gate softmax(norm=kept) capacity rows(3) over T priority choice",
         {2, 2.75, 3 + 3 * .35 / .75, 4 * (.6 + 3 * .2) / .8, 15, 0}},
        // Who gets no place passes through with its weight.
        {"gate softmax capacity rows(3) over T priority token overflow pass",
         {1.3, 2.2, 3.3, 2.4 + 4 * .6, 10.5 + 5 * .15, 6 * (.45 + .25)}},
    };
    for (size_t d = 0; d < 2; d++)
        for (size_t i = 0; i < sizeof policy / sizeof *policy; i++) {
            Example e;
            tokens_open(&e, device[d], policy[i].clauses, false);
            example_run(&e);
            example_near(policy[i].clauses, example_get(&e, BUFFER_OUTPUT, "output.y"), policy[i].y, 6, tolerance[d]);
            example_close(&e);
        }
}

// l = E * sum over e of m P, its gradient by the scores, and the form that counts first choices only.
static void balance_of_widenet(void **state)
{
    (void)state;
    // Of the scores: dl/dz = (E/S) p (m - sum of m p), over p: what `log` hands back to the input is that divided by p.
    static const double dz0[4] = {0.0133333, 0.0222222, -0.0122222, -0.0233333};
    static const double dz1[4] = {0.0222222, 0.0133333, -0.0122222, -0.0233333};
    for (size_t d = 0; d < 2; d++) {
        Example e;
        tokens_open(&e, device[d], "gate softmax capacity 1.2 over T balance switch(1) over T", true);
        example_run(&e);
        const double *l = example_get(&e, BUFFER_OUTPUT, "loss.aux"), *dp = example_get(&e, BUFFER_OUTPUT, "grad.input.p");
        example_near("switch", l, (const double[]){1.2722222}, 1, tolerance[d]);
        double got[8];
        for (int i = 0; i < 8; i++)
            got[i] = dp[i] * prob[i];
        example_near("dl/dz of token 0", got, dz0, 4, tolerance[d]);
        example_near("dl/dz of token 1", got + 4, dz1, 4, tolerance[d]);
        for (int t = 0; t < 6; t++) {       // nothing is gained by raising all scores of a token
            double row = 0;
            for (int i = 0; i < 4; i++)
                row += dp[4 * t + i] * prob[4 * t + i];
            assert_true(fabs(row) < 1e-6);
        }
        example_close(&e);
        tokens_open(&e, device[d], "gate softmax balance gshard(1) over T", true);
        example_run(&e);
        example_near("gshard", example_get(&e, BUFFER_OUTPUT, "loss.aux"), (const double[]){1.3888889}, 1, tolerance[d]);
        example_close(&e);
    }
}

// V-MoE: importance, and load by the probability of being chosen again under new noise.
static const char importance_and_load[] =
    "mix 1\nconst sigma = 0.25\naxis T = 6, E : expert = 4\n"
    "model M(p: [T,E]) -> importance: [E], load: [E] {\n"
    "  r = route by log(p) to E experts top 2 gate softmax each t\n"
    "  importance = sum(r.prob, over=T)\n"
    "  last = min(select(r.chosen, r.score, 1e30), over=E)\n"
    "  load = mean(0.5 + 0.5 * erf((r.score - last) / (sigma * sqrt(2))), over=T)\n"
    "  ci = importance - mean(importance, over=E)\n"
    "  penalty imp = mean(ci*ci, over=E) / mean(importance, over=E)^2\n"
    "  cl = load - mean(load, over=E)\n"
    "  penalty load = mean(cl*cl, over=E) / mean(load, over=E)^2\n"
    "}\n";

static void balance_of_vmoe(void **state)
{
    (void)state;
    for (size_t d = 0; d < 2; d++) {
        Example e;
        example_open(&e, device[d], importance_and_load, &(ExampleOptions){.build = {.mode = MODE_TRAIN}});
        example_set(&e, BUFFER_INPUT, "p", prob, 24);
        example_run(&e);
        example_near("importance", example_get(&e, BUFFER_OUTPUT, "output.importance"),
                     (const double[]){2.35, 1.65, 1.45, 0.55}, 4, tolerance[d]);
        example_near("load", example_get(&e, BUFFER_OUTPUT, "output.load"),
                     (const double[]){0.704319, 0.497045, 0.281067, 0.000487}, 4, tolerance[d]);
        example_near("L_imp", example_get(&e, BUFFER_OUTPUT, "term.M.imp"), (const double[]){0.183333}, 1, tolerance[d]);
        example_near("L_load", example_get(&e, BUFFER_OUTPUT, "term.M.load"), (const double[]){0.495408}, 1, tolerance[d]);
        example_close(&e);
    }
}

// ---- scalars ----

static void scalars(void **state)
{
    (void)state;
    static const char text[] =
        "mix 1\nuse std.norm\naxis T = 1, D = 4, P = 5, C = 3, Z = 2\n"
        "model M(x: [T,D], a: [P], r: [C], Wr: [C,Z]) -> n: [T,D], g: [P], h: [P], z: [Z], folded: [Z] {\n"
        "  param gain[C], bias[C]\n"
        "  n = LNfree[eps=1e-6](x)\n  g = gelu_tanh(a)\n  h = gelu(a)\n"
        "  m = mean(r, over=C)\n  s = sqrt(mean((r - m)*(r - m), over=C) + 1e-6)\n"
        "  z = ((r - m) / s * gain + bias) @[C] Wr\n"
        "  folded = ((r*gain) @[C] Wr - m * (gain @[C] Wr)) / s + bias @[C] Wr\n}\n";
    for (size_t d = 0; d < 2; d++) {
        Example e;
        example_open(&e, device[d], text, &(ExampleOptions){.build = {.mode = MODE_EVAL}});
        example_set(&e, BUFFER_INPUT, "x", (const double[]){1, 2, 3, 4}, 4);
        example_set(&e, BUFFER_INPUT, "a", (const double[]){-2, -1, .5, 1, 2}, 5);
        example_set(&e, BUFFER_INPUT, "r", (const double[]){1, 2, 4}, 3);
        example_set(&e, BUFFER_INPUT, "Wr", (const double[]){1, 0, 0, 1, 1, -1}, 6);
        example_set(&e, BUFFER_PARAM, "M.gain", (const double[]){2, 1, .5}, 3);
        example_set(&e, BUFFER_PARAM, "M.bias", (const double[]){.1, 0, -.1}, 3);
        example_run(&e);
        example_near("layer norm", example_get(&e, BUFFER_OUTPUT, "output.n"),
                     (const double[]){-1.34164025, -0.44721342, 0.44721342, 1.34164025}, 4, tolerance[d]);
        example_near("gelu_tanh", example_get(&e, BUFFER_OUTPUT, "output.g"),
                     (const double[]){-0.04540231, -0.15880801, 0.34571401, 0.84119199, 1.95459769}, 5, tolerance[d]);
        example_near("gelu", example_get(&e, BUFFER_OUTPUT, "output.h"),
                     (const double[]){-0.04550026, -0.15865525, 0.34573123, 0.84134475, 1.95449974}, 5, tolerance[d]);
        static const double z[2] = {-1.46993636, -0.83541405};
        example_near("router behind a norm", example_get(&e, BUFFER_OUTPUT, "output.z"), z, 2, tolerance[d]);
        example_near("router folded into the norm", example_get(&e, BUFFER_OUTPUT, "output.folded"), z, 2, tolerance[d]);
        example_close(&e);
    }
}

// One step of LAMB from w = (3, 4) with the gradient (0.1, 0.2), as in WideNet and as in ALBERT.
static void lamb(void **state)
{
    (void)state;
    static const struct { const char *options; double w[2]; } form[] = {
        {"decay=0.1", {2.96597752, 3.96336026}},
        {"decay=0.01, correct=0", {2.96470278, 3.96458665}},
    };
    for (size_t d = 0; d < 2; d++)
        for (size_t i = 0; i < 2; i++) {
            Example e;
            Arena text = {0};
            example_open(&e, device[d], arena_printf(&text,
                "mix 1\naxis B : batch = 1, D = 2\n"
                "model M(x: [B,D]) -> y: [B,D] {\n  param w[D]\n  y = w * x\n}\n"
                "data none { source = \"none\" }\n"
                "train M on none {\n  loss = sum(y, over=B*D)\n  optimizer = lamb(lr=0.01, eps=1e-6, %s)  batch = 1\n}\n",
                form[i].options), &(ExampleOptions){.build = {.mode = MODE_TRAIN, .with_loss = true}, .train = true});
            arena_free(&text);
            example_set(&e, BUFFER_INPUT, "x", (const double[]){.1, .2}, 2);
            example_set(&e, BUFFER_PARAM, "M.w", (const double[]){3, 4}, 2);
            example_must(&e, net_write_float(e.net, "lr", 0.01, &e.why) == STATUS_OK);
            example_run(&e);
            example_near(form[i].options, example_get(&e, BUFFER_PARAM, "M.w"), form[i].w, 2, 3e-7);
            example_close(&e);
        }
}

// Every expert is a parameter of its own: the first moves as if it were alone, whatever the second one's norms are; the
// router, which also holds E, is one.
static void lamb_of_experts(void **state)
{
    (void)state;
    static const char text[] =
        "mix 1\naxis B : batch = 2, D = 2, E : expert = 2\n"
        "model M(x: [B,D], own: int[B]) -> y: [B,D], z: [B,E] {\n  param w[E,D], Wr[D,E]\n"
        "  z = x @[D] Wr\n  y = route x by own to E experts gate one each t { yield t * w }\n}\n"
        "data none { source = \"none\" }\n"
        "train M on none {\n  loss = sum(y, over=B*D) + sum(z, over=B*E)\n"
        "  optimizer = lamb(lr=0.01, eps=1e-6, decay=0.1)  batch = 2\n}\n";
    for (size_t d = 0; d < 2; d++) {
        Example e;
        example_open(&e, device[d], text, &(ExampleOptions){.build = {.mode = MODE_TRAIN, .with_loss = true}, .train = true});
        example_set(&e, BUFFER_INPUT, "x", (const double[]){.1, .2, -7, 30}, 4);
        example_set(&e, BUFFER_INPUT, "own", (const double[]){0, 1}, 2);
        example_set(&e, BUFFER_PARAM, "M.w", (const double[]){3, 4, -50, .5}, 4);
        example_set(&e, BUFFER_PARAM, "M.Wr", (const double[]){3, 0, 0, 4}, 4);
        example_must(&e, net_write_float(e.net, "lr", 0.01, &e.why) == STATUS_OK);
        example_run(&e);
        example_near("expert 0", example_get(&e, BUFFER_PARAM, "M.w"), (const double[]){2.96597752, 3.96336026}, 2, 3e-7);
        // The router's directions: (-1 + 0.3, -1, 1, 1 + 0.4), their norm against that of (3, 0, 0, 4).
        const double u[4] = {-.7, -1, 1, 1.4}, w[4] = {3, 0, 0, 4}, ratio = 5 / sqrt(.49 + 1 + 1 + 1.96);
        double want[4];
        for (int i = 0; i < 4; i++)
            want[i] = w[i] - 0.01 * ratio * u[i];
        example_near("router", example_get(&e, BUFFER_PARAM, "M.Wr"), want, 4, 1e-6);
        example_close(&e);
    }
}

// ---- a whole small WideNet ----

static int whole(int c, int i, int j)
{
    return (7 * i + 3 * j + 5 * c) % 11 - 5;
}

static void fill(Example *e, BufferKind kind, const char *name, int c, int rows, int cols, double factor, double plus)
{
    double x[64];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++)
            x[i * cols + j] = plus + whole(c, i, j) * factor;
    example_set(e, kind, name, x, (size_t)(rows * cols));
}

// The same for E experts one after the other, expert e made with c + e.
static void fill_experts(Example *e, const char *name, int c, int rows, int cols, double factor)
{
    double x[192];
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < cols; j++)
                x[(k * rows + i) * cols + j] = whole(c + k, i, j) * factor;
    example_set(e, BUFFER_PARAM, name, x, (size_t)(3 * rows * cols));
}

static void micro_open(Example *e, const char *on, const char *room, const char *act_out)
{
    Arena arena = {0};
    const char *text = arena_printf(&arena,
        "mix 1\nuse std.norm\nuse std.attention\n"
        "axis B : batch = 1, P = 4, D = 4, H = 2, F = 6, E : expert = 3\n"
        "layer MoE(x: [B,P,D]) -> [B,P,D] {\n"
        "  param Wr[D,E], W1[E,D,F], b1[E,F], W2[E,F,D], b2[E,D]\n"
        "  yield route x by x @[D] Wr to E experts top 2 gate softmax capacity %s over B*P priority token\n"
        "      balance switch(0.01) over B*P each t { yield %s(gelu_tanh(t @[D] W1 + b1) @[F] W2 + b2) }\n}\n"
        "model W(x: [B,P,D]) -> y: [B,P,D] {\n"
        "  layer att = Attention[T=P], moe = MoE\n  y = x\n"
        "  repeat l in 2 {\n"
        "    y = y + att(LN[eps=1e-6](y), full(1, over=B*P))\n    y = y + moe(LN[eps=1e-6](y))\n  }\n"
        "  penalty half = 0.5 * sum(y*y, over=B*P*D)\n}\n", room, act_out);
    example_open(e, on, text, &(ExampleOptions){.build = {.mode = MODE_TRAIN}, .grad = true});
    static const char *const matrix[] = {"W.att.Wq", "W.att.Wk", "W.att.Wv", "W.att.Wo"};
    static const char *const bias[] = {"W.att.bq", "W.att.bk", "W.att.bv", "W.att.bo"};
    for (int i = 0; i < 4; i++) {
        fill(e, BUFFER_PARAM, matrix[i], 1 + i, 4, 4, 1 / 10.0, 0);
        fill(e, BUFFER_PARAM, bias[i], 5 + i, 1, 4, 1 / 50.0, 0);
    }
    fill(e, BUFFER_PARAM, "W.moe.Wr", 9, 4, 3, 1 / 4.0, 0);
    fill_experts(e, "W.moe.W1", 10, 4, 6, 1 / 8.0);
    fill_experts(e, "W.moe.b1", 20, 1, 6, 1 / 50.0);
    fill_experts(e, "W.moe.W2", 30, 6, 4, 1 / 8.0);
    fill_experts(e, "W.moe.b2", 40, 1, 4, 1 / 50.0);
    for (int t = 0; t < 2; t++) {
        const char *norm[2] = {arena_printf(&arena, "W.l%d.LN", t), arena_printf(&arena, "W.l%d.LN.2", t)};
        for (int k = 0; k < 2; k++) {
            fill(e, BUFFER_PARAM, arena_printf(&arena, "%s.gain", norm[k]), 50 + 4 * k + t, 1, 4, 1 / 20.0, 1);
            fill(e, BUFFER_PARAM, arena_printf(&arena, "%s.bias", norm[k]), 52 + 4 * k + t, 1, 4, 1 / 50.0, 0);
        }
    }
    fill(e, BUFFER_INPUT, "x", 60, 4, 4, 1 / 5.0, 0);
    arena_free(&arena);
    example_run(e);
}

static double grad(Example *e, const char *name, size_t at)
{
    return example_get(e, BUFFER_OUTPUT, arena_printf(&e->arena, "grad.param.W.%s", name))[at];
}

static void whole_widenet(void **state)
{
    (void)state;
    static const double y_all[12] = {0.10943030, 0.55348612, 0.36344689, -0.22767219, 0.91535591, -0.92390585,
                                     0.03903809, -0.10760085, 1.05940866, 0.05049417, -0.70944408, -0.25467828};
    for (size_t d = 0; d < 2; d++) {
        Example e;
        micro_open(&e, device[d], "1.5", "");
        example_near("loss", example_get(&e, BUFFER_OUTPUT, "loss.aux"), (const double[]){2.142131539}, 1, tolerance[d]);
        example_near("l0", example_get(&e, BUFFER_OUTPUT, "term.W.moe.switch"), (const double[]){0.0106587320}, 1, 1e-7);
        example_near("l1", example_get(&e, BUFFER_OUTPUT, "term.W.moe.switch.2"), (const double[]){0.0101365539}, 1, 1e-7);
        const double *y = example_get(&e, BUFFER_OUTPUT, "output.y");
        example_near("y", y, y_all, 12, tolerance[d]);
        for (int j = 0; j < 4; j++)         // the last token is the first minus a constant, which norms do not see
            assert_true(fabs(y[12 + j] - (y[j] - 0.2)) < 1e-5);
        const struct { const char *name; size_t at; double value; } want[] = {
            {"moe.Wr", 0, 0.02859210}, {"moe.Wr", 3 + 2, -0.35263830}, {"moe.W1", 0, 0.11240341},
            {"moe.W1", 24 + 2 * 6 + 3, 0.45004736}, {"moe.W2", 48 + 4 + 1, -0.62165480}, {"moe.b2", 0, 0.95714162},
            {"att.Wq", 0, -0.74834388}, {"att.Wo", 4 + 2, -0.06295065}, {"l0.LN.gain", 0, 0.48366439},
            {"l1.LN.gain", 0, -0.19921120}, {"l0.LN.2.gain", 0, -0.30135727}, {"l1.LN.2.gain", 0, -0.05025341},
            {"l1.LN.2.bias", 3, 0.13961456},
        };
        for (size_t i = 0; i < sizeof want / sizeof *want; i++)
            example_near(want[i].name, (const double[]){grad(&e, want[i].name, want[i].at)}, &want[i].value, 1, tolerance[d]);
        example_close(&e);

        micro_open(&e, device[d], "0.75", "");      // places for two: the last token gets none
        example_near("loss", example_get(&e, BUFFER_OUTPUT, "loss.aux"), (const double[]){2.927280828}, 1, tolerance[d]);
        example_near("l1", example_get(&e, BUFFER_OUTPUT, "term.W.moe.switch.2"), (const double[]){0.0102276419}, 1, 1e-7);
        y = example_get(&e, BUFFER_OUTPUT, "output.y");
        example_near("y[0]", y, (const double[]){0.09643597, 0.55124948, 0.34897174, -0.25020619}, 4, tolerance[d]);
        example_near("y[3]", y + 12, (const double[]){-0.89429853, 0.38624135, 0.53134299, -0.70793350}, 4, tolerance[d]);
        example_close(&e);

        micro_open(&e, device[d], "1.5", "gelu_tanh");      // as the released code has it
        example_near("loss", example_get(&e, BUFFER_OUTPUT, "loss.aux"), (const double[]){3.095328212}, 1, tolerance[d]);
        example_close(&e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_keeps_a_place),
        cmocka_unit_test(balance_of_widenet),
        cmocka_unit_test(balance_of_vmoe),
        cmocka_unit_test(scalars),
        cmocka_unit_test(lamb),
        cmocka_unit_test(lamb_of_experts),
        cmocka_unit_test(whole_widenet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
