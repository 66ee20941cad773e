// Scopes of build_module: whose axis a name means, statics, entries, modes, sharing, random streams, claims.
#include "build_run.h"

#include <math.h>

#define LIN "layer Lin(x: [..,D]) -> [..,D] {\n  param W[D,D']\n  yield (x @[D] W).rename(D' -> D)\n}\n"

static Graph *main_graph(Run *r)
{
    must_build(r);
    Graph *g = module_graph(r->module, "main");
    assert_true(graph_verify(g, &r->diag));
    return g;
}

static const char *type_of(Run *r, OutputRole role, const char *name)
{
    const Graph *g = module_graph(r->module, "main");
    ValueId id = graph_find_output(g, role, name);
    assert_int_not_equal(id, 0);
    Text t = text_make(&r->arena);
    type_print(g, &g->node[id].type, &t);
    return text_str(&t);
}

static size_t count_op(const Graph *g, Op op)
{
    size_t n = 0;
    for (size_t i = 1; i < g->n_nodes; i++)
        n += g->node[i].op == op;
    return n;
}

static bool has_arg(const Graph *g, const char *name)
{
    for (size_t i = 1; i < g->n_nodes; i++)
        if (g->node[i].op == OP_ARG && strcmp(g->node[i].attr[0].name, name) == 0)
            return true;
    return false;
}

// ---- axes ----

static void a_layers_twins_avoid_those_of_its_input(void **state)
{
    (void)state;
    Run r;
    build_text(&r, "mix 1\naxis B = 2, D = 3\n" LIN
               "model M(x: [B,D]) -> y: [B,D',D] {\n  z = outer(x.rename(D -> D'), index(D) + 1)\n  y = Lin(z)\n}\n",
               &(BuildOptions){0});
    main_graph(&r);
    assert_string_equal(type_of(&r, OUTPUT_RESULT, "y"), "f32[B,D',D]");
    const double x[6] = {1, 2, 3, 4, 5, 6}, w[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    const double *y = evaluate(&r, "main", OUTPUT_RESULT, "y", &(Leaves){{"x", "M.Lin.W"}, {x, w}});
    for (int b = 0; b < 2; b++)
        for (int p = 0; p < 3; p++)
            for (int d = 0; d < 3; d++) {
                double sum = 0;
                for (int k = 0; k < 3; k++)
                    sum += x[3 * b + p] * (k + 1) * w[3 * k + d];
                assert_true(y[9 * b + 3 * p + d] == sum);
            }
    finish(&r);
}

static void a_layers_own_axis_is_not_the_callers_of_the_same_name_and_size(void **state)
{
    (void)state;
    Run r;
    build_text(&r, "mix 1\naxis B = 2, K = 3, D = 3\n"
               "layer Add(x: [..,D]) -> [..,D] {\n  axis K = 3\n  param w[K] = ones\n  yield sum(outer(x, w * (index(K) + 1)), over=K)\n}\n"
               "model M(x: [B,K,D]) -> y: [B,K,D] { y = Add(x) }\n", &(BuildOptions){0});
    main_graph(&r);
    const double x[18] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18}, w[3] = {1, 1, 1};
    const double *y = evaluate(&r, "main", OUTPUT_RESULT, "y", &(Leaves){{"x", "M.Add.w"}, {x, w}});
    for (int i = 0; i < 18; i++)
        assert_true(y[i] == 6 * x[i]);
    finish(&r);
}

static void turns_of_a_repeat_share_the_axes_that_its_body_declares(void **state)
{
    (void)state;
    Run r;
    build_text(&r, "mix 1\naxis B = 2, D = 3\n"
               "model M(x: [B,D]) -> y: [B,D] {\n  repeat l in 3 {\n    axis F = 5\n    param A[D,F], C[F,D]\n"
               "    x = x @[D] A @[F] C\n  }\n  y = x\n}\n", &(BuildOptions){0});
    const Graph *g = main_graph(&r);
    assert_int_equal(g->n_axes, 4);         // the error axis, B, D and one F
    finish(&r);
}

static void statics_take_axes_by_place_by_name_and_from_the_caller(void **state)
{
    (void)state;
    Run r;
    build_text(&r, "mix 1\nuse std.norm\naxis B = 2, D = 3, W = 4\n"
               "layer Times[D, k = 2, twice = 2*k](x: [..,D]) -> [..,D] {\n  param g[D] = ones\n  yield x * g * twice\n}\n"
               "model M(x: [B,D], w: [B,W]) -> a: [B,D], b: [B,W], c: [B,W], d: [B,D'] {\n"
               "  a = Times(x)\n  b = Times[W](w)\n  c = Times[D=W, k=5](w)\n  d = LN[D'](x.rename(D -> D'))\n}\n",
               &(BuildOptions){0});
    Graph *g = main_graph(&r);
    static const char *const want[] = {"f32[D]", "f32[W]", "f32[W]", "f32[D']", "f32[D']"};
    for (size_t i = 0; i < 5; i++) {
        Text t = text_make(&r.arena);
        type_print(g, &r.module->param[i].type, &t);
        assert_string_equal(text_str(&t), want[i]);
    }
    const double x[6] = {1, 2, 3, 4, 5, 6}, w[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    Leaves leaves = {{"x", "w", "M.Times.g", "M.Times.2.g", "M.Times.3.g", "M.LN.gain", "M.LN.bias"},
                     {x, w, w, w, w, w, w}};
    assert_true(evaluate(&r, "main", OUTPUT_RESULT, "a", &leaves)[1] == 8);
    assert_true(evaluate(&r, "main", OUTPUT_RESULT, "c", &leaves)[0] == 10);
    finish(&r);
}

static void a_library_layer_is_an_entry(void **state)
{
    (void)state;
    Run r;
    Binding bind[] = {{"D", "5", false}, {"eps", "0.5", false}};
    build_text(&r, "mix 1\nuse std.norm\naxis B : batch in 1..7\n",
               &(BuildOptions){.entry = "LN", .binding = bind, .n_bindings = 2});
    main_graph(&r);
    assert_true(bind[0].used && bind[1].used);
    assert_string_equal(type_of(&r, OUTPUT_RESULT, "y"), "f32[B,D]");
    assert_int_equal(count(&r), 10);
    assert_string_equal(r.module->param[0].name, "LN.gain");
    finish(&r);
}

// ---- modes ----

static void modes_fall_back(void **state)
{
    (void)state;
    const char *text = "mix 1\naxis B = 1\nmodel M(x: [B]) -> y: [B] {\n  y = x\n"
                       "  only train { y = y + 1 }\n  only eval { y = y + 10 }\n  only generate { y = y + 100 }\n"
                       "  only train { } else { y = y + 1000 }\n}\n";
    static const double want[] = {1, 1010, 1110};
    for (ModeName mode = MODE_TRAIN; mode < MODE_COUNT; mode++) {
        Run r;
        build_text(&r, text, &(BuildOptions){.mode = mode});
        main_graph(&r);
        const double x[1] = {0};
        assert_true(*evaluate(&r, "main", OUTPUT_RESULT, "y", &(Leaves){{"x"}, {x}}) == want[mode]);
        finish(&r);
    }
}

static void dropout_and_jitter_act_in_training_unless_switched_off(void **state)
{
    (void)state;
    const char *text = "mix 1\naxis B = 4\nmodel M(x: [B]) -> y: [B] { y = jitter(dropout(x, 0.5), 0.1) }\n";
    Binding off[] = {{"dropout", "0", false}, {"noise", "0", false}};
    static const struct { ModeName mode; size_t n, want; } cases[] = {
        {MODE_TRAIN, 0, 2}, {MODE_EVAL, 0, 0}, {MODE_GENERATE, 0, 0}, {MODE_TRAIN, 1, 1}, {MODE_TRAIN, 2, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Run r;
        build_text(&r, text, &(BuildOptions){.mode = cases[i].mode, .binding = off, .n_bindings = cases[i].n});
        Graph *g = main_graph(&r);
        assert_int_equal(count_op(g, OP_RANDOM), cases[i].want);
        assert_true(has_arg(g, "step") == (cases[i].want > 0));
        finish(&r);
    }
}

static int64_t stream_in(const Graph *g, const char *layer, size_t n)
{
    for (size_t i = 1; i < g->n_nodes; i++)
        if (g->node[i].op == OP_RANDOM && strcmp(g->node[i].layer, layer) == 0 && n-- == 0)
            return g->node[i].attr[0].i;
    fail();
    return 0;
}

static void random_streams_belong_to_instances(void **state)
{
    (void)state;
#define DROP "mix 1\naxis B = 4\nlayer Drop(x: [B]) -> [B] { yield dropout(dropout(x, 0.5), 0.5) }\n"
    Run a, b;
    build_text(&a, DROP "model M(x: [B]) -> y: [B] {\n  layer d = Drop\n  y = Drop(d(d(x)))\n}\n", &(BuildOptions){0});
    build_text(&b, DROP "model M(x: [B]) -> y: [B] {\n  layer e = Drop, d = Drop\n  x = e(x)\n  y = d(d(Drop(x)))\n}\n",
               &(BuildOptions){0});
    const Graph *g = main_graph(&a), *h = main_graph(&b);
    int64_t seen[6] = {stream_in(g, "M.d", 0), stream_in(g, "M.d", 1), stream_in(g, "M.d", 2), stream_in(g, "M.d", 3),
                       stream_in(g, "M.Drop", 0), stream_in(g, "M.Drop", 1)};
    for (size_t i = 0; i < 6; i++)
        for (size_t k = 0; k < i; k++)
            assert_true(seen[i] != seen[k]);    // each place, and each use of a shared instance
    for (size_t i = 0; i < 4; i++)
        assert_true(stream_in(h, "M.d", i) == seen[i]);     // whatever else the model holds
    assert_true(stream_in(h, "M.Drop", 0) == seen[4]);
    finish(&a);
    finish(&b);
}

// ---- states, claims, recompute ----

static void states_get_their_next_values_in_training_only(void **state)
{
    (void)state;
    const char *text = "mix 1\nuse std.norm\naxis B = 2, D = 1\nmodel M(x: [B,D]) -> y: [B,D] { y = BN(x) }\n";
    Run r;
    build_text(&r, text, &(BuildOptions){.mode = MODE_TRAIN});
    main_graph(&r);
    assert_int_equal(count(&r), 2);
    const double x[2] = {1, 3}, one[1] = {1}, zero[1] = {0};
    Leaves leaves = {{"x", "M.BN.gain", "M.BN.bias", "M.BN.mu", "M.BN.var"}, {x, one, zero, zero, one}};
    assert_true(fabs(*evaluate(&r, "main", OUTPUT_NEXT, "M.BN.mu", &leaves) - 0.2) < 1e-12);
    assert_true(fabs(*evaluate(&r, "main", OUTPUT_NEXT, "M.BN.var", &leaves) - 1) < 1e-12);
    assert_int_not_equal(graph_find_output(module_graph(r.module, "init"), OUTPUT_NEXT, "M.BN.var"), 0);
    finish(&r);
    build_text(&r, text, &(BuildOptions){.mode = MODE_EVAL});
    Graph *g = main_graph(&r);
    assert_int_equal(graph_find_output(g, OUTPUT_NEXT, "M.BN.mu"), 0);
    assert_int_equal(count_op(g, OP_STATE), 2);
    finish(&r);
}

static void causal_claims_and_recompute_are_recorded(void **state)
{
    (void)state;
    Run r;
    build_text(&r, "mix 1\naxis B = 2, T : time = 4, P = 2\n"
               "layer Id(x: [B,T]) -> [B,T] causal over T after P allow leak in train { yield x + 1 }\n"
               "model M(x: [B,T]) -> y: [B,T] causal over T {\n  y = Id(x)\n  y = Id(y) recompute\n}\n",
               &(BuildOptions){.mode = MODE_TRAIN});
    Graph *g = main_graph(&r);
    assert_int_equal(g->n_claims, 3);
    assert_string_equal(g->claim[0].layer, "M.Id");
    assert_int_equal(g->claim[0].after, 2);
    assert_true(g->claim[0].leak_allowed && !g->claim[2].leak_allowed);
    assert_string_equal(g->axis[g->claim[2].axis].name, "T");
    assert_int_equal(g->claim[2].n_in, 1);
    assert_int_equal(g->claim[2].n_out, 1);
    assert_int_equal(r.module->n_recompute, 1);
    assert_string_equal(r.module->recompute[0], "M.Id.2");
    finish(&r);
    build_text(&r, "mix 1\naxis T : time = 4\nlayer Id(x: [T]) -> [T] causal over T allow leak in train { yield x }\n"
               "model M(x: [T]) -> y: [T] { y = Id(x) }\n", &(BuildOptions){.mode = MODE_EVAL});
    assert_false(main_graph(&r)->claim[0].leak_allowed);
    finish(&r);
}

// ---- numbers ----

static void whole_numbers_stay_whole_until_divided(void **state)
{
    (void)state;
    Run r;
    build_text(&r, "mix 1\naxis T = 5\nconst half = 0.5\n"
               "model M(i: int[T]) -> a: int[T], b: [T], c: [T], d: [], e: [T] {\n"
               "  a = (index(T) + i * 2) % 3\n  b = index(T) / 2\n  c = i ^ 2 + half\n"
               "  d = sum(full(floor(7/2) + min(T, 3) + max(2, half), over=T), over=T)\n  e = i > 1\n}\n",
               &(BuildOptions){0});
    main_graph(&r);
    assert_string_equal(type_of(&r, OUTPUT_RESULT, "a"), "int[T]");
    const double i[5] = {0, 1, 2, 3, 4};
    Leaves leaves = {{"i"}, {i}};
    for (int t = 0; t < 5; t++) {
        assert_true(evaluate(&r, "main", OUTPUT_RESULT, "a", &leaves)[t] == (t + 2 * t) % 3);
        assert_true(evaluate(&r, "main", OUTPUT_RESULT, "b", &leaves)[t] == t / 2.0);
        assert_true(evaluate(&r, "main", OUTPUT_RESULT, "c", &leaves)[t] == t * t + 0.5);
        assert_true(evaluate(&r, "main", OUTPUT_RESULT, "e", &leaves)[t] == (t > 1));
    }
    assert_true(*evaluate(&r, "main", OUTPUT_RESULT, "d", &leaves) == 5 * (3 + 3 + 2));
    finish(&r);
}

static void inputs_keep_clear_of_the_scalars_of_a_run(void **state)
{
    (void)state;
    Run r;
    build_text(&r, "mix 1\naxis B = 2\nmodel M(seed: [B], x: [B]) -> y: [B] { y = dropout(x, 0.5) }\n", &(BuildOptions){0});
    assert_null(r.module);
    assert_string_equal(r.diag.item[0].code, "E0104");
    finish(&r);
    build_text(&r, "mix 1\naxis B = 2\nmodel M(x: [B]) -> y: [B] { y = x }\ntrain M on d { loss = mean(y * step, over=B) }\n",
               &(BuildOptions){.with_loss = true});
    assert_null(r.module);
    finish(&r);
}

static void results_have_the_order_in_which_they_are_declared(void **state)
{
    (void)state;
    Run r;
    build_text(&r, "mix 1\naxis A = 2, B = 3\nmodel M(x: [A,B]) -> y: [B,A] { y = x + 1 }\n", &(BuildOptions){0});
    main_graph(&r);
    assert_string_equal(type_of(&r, OUTPUT_RESULT, "y"), "f32[B,A]");
    finish(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_layers_twins_avoid_those_of_its_input),
        cmocka_unit_test(a_layers_own_axis_is_not_the_callers_of_the_same_name_and_size),
        cmocka_unit_test(turns_of_a_repeat_share_the_axes_that_its_body_declares),
        cmocka_unit_test(statics_take_axes_by_place_by_name_and_from_the_caller),
        cmocka_unit_test(a_library_layer_is_an_entry),
        cmocka_unit_test(modes_fall_back),
        cmocka_unit_test(dropout_and_jitter_act_in_training_unless_switched_off),
        cmocka_unit_test(random_streams_belong_to_instances),
        cmocka_unit_test(states_get_their_next_values_in_training_only),
        cmocka_unit_test(causal_claims_and_recompute_are_recorded),
        cmocka_unit_test(whole_numbers_stay_whole_until_divided),
        cmocka_unit_test(inputs_keep_clear_of_the_scalars_of_a_run),
        cmocka_unit_test(results_have_the_order_in_which_they_are_declared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
