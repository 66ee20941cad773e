// build_module on whole models: parameter counts, paths, graphs that verify and read back, initial values.
#include "build_run.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

// Legal, and equal to what its text reads back as.
static void check_graph(Run *r, const char *name)
{
    Graph *g = module_graph(r->module, name);
    assert_non_null(g);
    assert_true(graph_verify(g, &r->diag));
    Text t = text_make(&r->arena), again = text_make(&r->arena);
    graph_print(g, &t);
    uint32_t file = sources_add(&r->sources, "print.ir", text_str(&t), t.n);
    Graph *back = graph_parse(&r->arena, &r->diag, &r->sources, file);
    if (!back)
        print_message("%s\n", messages(r));
    assert_non_null(back);
    graph_print(back, &again);
    assert_string_equal(text_str(&t), text_str(&again));
}

static const Param *find_param(const Run *r, const char *name)
{
    for (size_t i = 0; i < r->module->n_params; i++)
        if (strcmp(r->module->param[i].name, name) == 0)
            return &r->module->param[i];
    return NULL;
}

// ---- counts ----

static void gpt2_has_its_published_count(void **state)
{
    (void)state;
    Run r;
    build_model(&r, "gpt.mix", &(BuildOptions){.size = "gpt2", .with_loss = true});
    must_build(&r);
    assert_int_equal(count(&r), 124439808);
    assert_int_equal(r.diag.n_warnings, 0);
    check_graph(&r, "main");
    check_graph(&r, "init");
    finish(&r);
}

// The number after "# parameters:" of each design model.
static void design_models_have_the_counts_on_their_second_lines(void **state)
{
    (void)state;
    char folder[1024], path[2048];
    snprintf(folder, sizeof folder, "%s/design/models", MIXC_SHARED);
    DIR *dir = opendir(folder);
    if (!dir)
        skip();
    size_t n = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        size_t length = strlen(e->d_name);
        if (length < 4 || strcmp(e->d_name + length - 4, ".mix") != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        Run r;
        build_path(&r, path, &(BuildOptions){.count_only = true});
        must_build(&r);
        View line = sources_line(&r.sources, 1, 2);
        int64_t want = 0;
        for (size_t i = 0; i < line.n; i++)
            if (line.data[i] >= '0' && line.data[i] <= '9')
                want = 10 * want + (line.data[i] - '0');
        if (count(&r) != want)
            print_message("%s: %" PRId64 " instead of %" PRId64 "\n", e->d_name, count(&r), want);
        assert_int_equal(count(&r), want);
        finish(&r);
        n++;
    }
    closedir(dir);
    assert_true(n >= 18);
}

// ---- paths ----

static void instances_are_named_by_layer_and_text_order(void **state)
{
    (void)state;
    Run r;
    build_text(&r,
        "mix 1\nuse std.norm\naxis B : batch = 2, D = 4\n"
        "layer Lin(x: [B,D]) -> [B,D] {\n  param W[D,D']\n  yield (x @[D] W).rename(D' -> D)\n}\n"
        "model M(x: [B,D]) -> y: [B,D] {\n"
        "  layer twice = Lin\n"
        "  a = Lin(LN(Lin(x)))\n"             // the outer one stands first
        "  repeat l in 2 {\n    a = a + Lin(LN(a))\n    repeat g in 2 { a = Lin(a) tied over l }\n  }\n"
        "  y = twice(twice(a))\n}\n", &(BuildOptions){0});
    must_build(&r);
    static const char *const want[] = {"M.Lin.2.W", "M.LN.gain", "M.LN.bias", "M.Lin.W", "M.l0.LN.gain", "M.l0.LN.bias",
        "M.l0.Lin.W", "M.g0.Lin.W", "M.g1.Lin.W", "M.l1.LN.gain", "M.l1.LN.bias", "M.l1.Lin.W", "M.twice.W"};
    assert_int_equal(r.module->n_params, sizeof want / sizeof *want);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        assert_string_equal(r.module->param[i].name, want[i]);
    finish(&r);
}

static void modes_name_the_same_parameters(void **state)
{
    (void)state;
    const char *text =
        "mix 1\naxis B : batch = 2, D = 4\n"
        "layer Lin(x: [B,D]) -> [B,D] {\n  param W[D,D']\n  yield (x @[D] W).rename(D' -> D)\n}\n"
        "model M(x: [B,D]) -> y: [B,D] {\n"
        "  y = Lin(x)\n  only train { y = y * 2 } else { y = y * 3 }\n  y = Lin(y)\n}\n";
    for (ModeName mode = MODE_TRAIN; mode < MODE_COUNT; mode++) {
        Run r;
        build_text(&r, text, &(BuildOptions){.mode = mode});
        must_build(&r);
        assert_int_equal(r.module->n_params, 2);
        assert_string_equal(r.module->param[1].name, "M.Lin.2.W");
        finish(&r);
    }
}

// ---- values ----

static void softmax_of_a_hidden_row_is_zero(void **state)
{
    (void)state;
    Run r;
    build_text(&r,
        "mix 1\naxis B = 2, T = 3\n"
        "model M(x: [B,T], keep: [B,T]) -> y: [B,T] { y = softmax(mask(x, keep=keep), over=T) }\n", &(BuildOptions){0});
    must_build(&r);
    const double x[6] = {1, 2, 3, 4, 5, 6}, keep[6] = {0, 0, 0, 1, 0, 1};
    const double *y = evaluate(&r, "main", OUTPUT_RESULT, "y", &(Leaves){{"x", "keep"}, {x, keep}});
    double e = exp(-2);
    const double want[6] = {0, 0, 0, e / (1 + e), 0, 1 / (1 + e)};
    for (size_t i = 0; i < 6; i++)
        assert_true(fabs(y[i] - want[i]) < 1e-12);
    finish(&r);
}

static void cross_entropy_counts_and_smooths(void **state)
{
    (void)state;
    Run r;
    build_text(&r,
        "mix 1\naxis B = 3, V = 2\n"
        "model M(x: [B,V], t: int[B], w: [B]) -> a: [], b: [], c: [] {\n"
        "  a = cross_entropy(x, t, over=V)\n"
        "  b = cross_entropy(x, t, over=V, where=w)\n"
        "  c = cross_entropy(x, t, over=V, smooth=0.1)\n}\n", &(BuildOptions){0});
    must_build(&r);
    const double x[6] = {1, 0, 0, 2, 3, 3}, t[3] = {0, 0, 1}, w[3] = {1, 0, 1};
    Leaves leaves = {{"x", "t", "w"}, {x, t, w}};
    double l[3], even[3];
    for (int i = 0; i < 3; i++) {
        double lse = log(exp(x[2 * i]) + exp(x[2 * i + 1]));
        l[i] = lse - x[2 * i + (int)t[i]];
        even[i] = lse - (x[2 * i] + x[2 * i + 1]) / 2;
    }
    assert_true(fabs(*evaluate(&r, "main", OUTPUT_RESULT, "a", &leaves) - (l[0] + l[1] + l[2]) / 3) < 1e-12);
    assert_true(fabs(*evaluate(&r, "main", OUTPUT_RESULT, "b", &leaves) - (l[0] + l[2]) / 2) < 1e-12);
    double smooth = 0.9 * (l[0] + l[1] + l[2]) / 3 + 0.1 * (even[0] + even[1] + even[2]) / 3;
    assert_true(fabs(*evaluate(&r, "main", OUTPUT_RESULT, "c", &leaves) - smooth) < 1e-12);
    finish(&r);
}

static void rope_turns_pairs_of_halves(void **state)
{
    (void)state;
    Run r;
    build_text(&r, "mix 1\naxis T = 3, K = 5\nmodel M(x: [T,K]) -> y: [T,K] { y = rope(x, over=T, part=4) }\n",
               &(BuildOptions){0});
    must_build(&r);
    double x[15];
    for (int i = 0; i < 15; i++)
        x[i] = sin(1 + i);
    const double *y = evaluate(&r, "main", OUTPUT_RESULT, "y", &(Leaves){{"x"}, {x}});
    for (int t = 0; t < 3; t++) {
        for (int j = 0; j < 2; j++) {
            double a = t * pow(10000, -2.0 * j / 4), u = x[5 * t + j], v = x[5 * t + j + 2];
            assert_true(fabs(y[5 * t + j] - (u * cos(a) - v * sin(a))) < 1e-12);
            assert_true(fabs(y[5 * t + j + 2] - (v * cos(a) + u * sin(a))) < 1e-12);
        }
        assert_true(y[5 * t + 4] == x[5 * t + 4]);
    }
    finish(&r);
}

static void concat_lays_parts_along_the_new_axis(void **state)
{
    (void)state;
    Run r;
    build_text(&r,
        "mix 1\naxis T = 3, K = 2, Z = 5\n"
        "model M(a: [T,K]) -> y: [T,Z] { y = concat(index(T)/2, a, -a, over=Z) }\n", &(BuildOptions){0});
    must_build(&r);
    const double a[6] = {1, 2, 3, 4, 5, 6};
    const double *y = evaluate(&r, "main", OUTPUT_RESULT, "y", &(Leaves){{"a"}, {a}});
    for (int t = 0; t < 3; t++) {
        const double want[5] = {t / 2.0, a[2 * t], a[2 * t + 1], -a[2 * t], -a[2 * t + 1]};
        for (int z = 0; z < 5; z++)
            assert_true(y[5 * t + z] == want[z]);
    }
    finish(&r);
}

// Axes of size 1, and widths that happen to fit: the axis of the part is the one that Z is made of, else the whole has few
// axes; values with the same axes are stacked.
static void concat_does_not_go_by_sizes_alone(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "axis B : batch = 1, I = 1, P = I + 1, D = 5\nmodel M(c: [D], e: [B,I,D]) -> y: [B,P,D] { y = 2 * concat(c, e, over=P) }\n",
        "axis B : batch = 1, I = 1, P = I + 1, D = 1\nmodel M(c: [D], e: [B,I,D]) -> y: [B,P,D] { y = 2 * concat(c, e, over=P) }\n",
        "axis B : batch = 1, T : time = 1, P = 1 + T, D = 1\nmodel M(c: [B,D], e: [B,T,D]) -> y: [B,P,D] { y = 2 * concat(e, c, over=P) }\n",
        "axis B : batch = 1, T : time = 1, P : time = 2, D = 3\nmodel M(c: [D], e: [B,T,D]) -> y: [B,P,D] { y = 2 * concat(c, e, over=P) }\n",
        "axis B : batch = 1, T : time = 1, D = 1, Z = 2\nmodel M(c: [B,T,D], e: [B,T,D]) -> y: [B,T,D,Z] { y = 2 * concat(c, e, over=Z) }\n",
        "axis B : batch = 1, T : time = 1, D = 1, Z = 2*D\nmodel M(c: [B,T,D], e: [B,T,D]) -> y: [B,T,Z] { y = 2 * concat(c, e, over=Z) }\n",
        "axis B : batch = 1, T : time = 1, D = 1, Z : time = 2*T\nmodel M(c: [B,T,D], e: [B,T',D]) -> y: [B,Z,D] { y = 2 * concat(c, e, over=Z) }\n",
        "axis T : time = 1, Q = 1, Z = 3\nmodel M(a: [T,Q]) -> y: [T,Z] { y = concat(index(T), cos(a), -sin(a), over=Z) }\n",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Run r;
        char text[400];
        snprintf(text, sizeof text, "mix 1\n%s", cases[i]);
        build_text(&r, text, &(BuildOptions){0});
        must_build(&r);
        finish(&r);
    }
}

// A class token [D] before patches [B,I,D]: the whole is stored like the patches, so that norms read rows of D.
static void concat_keeps_the_order_of_the_larger_part(void **state)
{
    (void)state;
    Run r;
    build_text(&r,
        "mix 1\naxis B : batch = 2, I = 3, P = I + 1, D = 5\n"
        "model M(c: [D], e: [B,I,D]) -> y: [B,P,D] { x = concat(c, e, over=P)  y = x*x }\n", &(BuildOptions){0});
    must_build(&r);
    const Graph *g = module_graph(r.module, "main");
    size_t n_whole = 0;
    for (ValueId v = 1; v < g->n_nodes; v++) {
        const Type *type = &g->node[v].type;
        if (type->n_axes != 3 || g->node[v].op == OP_ARG)
            continue;
        n_whole++;
        const char *name[3];
        for (int i = 0; i < 3; i++)
            name[i] = g->axis[type->axis[i]].name;
        assert_string_equal(name[0], "B");
        assert_string_equal(name[2], "D");
    }
    assert_true(n_whole >= 3);
    finish(&r);
}

// ---- initial values ----

static void moments(const double *x, size_t n, double *mean, double *sd)
{
    double s = 0, q = 0;
    for (size_t i = 0; i < n; i++)
        s += x[i];
    s /= (double)n;
    for (size_t i = 0; i < n; i++)
        q += (x[i] - s) * (x[i] - s);
    *mean = s;
    *sd = sqrt(q / (double)n);
}

static void initial_values_have_their_distributions(void **state)
{
    (void)state;
    Run r;
    build_text(&r,
        "mix 1\naxis B = 1, T = 8, D = 64, E = 48\n"
        "model M(x: [B,D]) -> y: [B,E] {\n"
        "  param n[D,E], u[D,E] = uniform(0.5), t[D,E] = truncated(0.1), o[E,D] = orthogonal(2), l[D,E] = loguniform(0.1, 10)\n"
        "  param r[E,D] = renorm(normal(3), over=D), w[T,T'] = ones with shape = lower(T, T')\n"
        "  y = (x @[D] (n + u + t + l) + x @[D] (o + r)) * sum(w, over=T*T')\n}\n", &(BuildOptions){0});
    must_build(&r);
    const double seed[1] = {7};
    Leaves leaves = {{"seed"}, {seed}};
    double mean, sd;
    const size_t n = 64 * 48;
    moments(evaluate(&r, "init", OUTPUT_NEXT, "M.n", &leaves), n, &mean, &sd);
    assert_true(fabs(mean) < 4 * 0.02 / sqrt((double)n) && fabs(sd / 0.02 - 1) < 0.05);
    moments(evaluate(&r, "init", OUTPUT_NEXT, "M.u", &leaves), n, &mean, &sd);
    assert_true(fabs(sd / (0.5 / sqrt(3)) - 1) < 0.05);
    const double *t = evaluate(&r, "init", OUTPUT_NEXT, "M.t", &leaves);
    moments(t, n, &mean, &sd);
    assert_true(fabs(sd / (0.1 * 0.8796) - 1) < 0.05);          // a normal cut at two deviations
    for (size_t i = 0; i < n; i++)
        assert_true(fabs(t[i]) <= 0.2);
    const double *o = evaluate(&r, "init", OUTPUT_NEXT, "M.o", &leaves), *q = evaluate(&r, "init", OUTPUT_NEXT, "M.r", &leaves);
    double length = 0;
    for (size_t i = 0; i < 48; i++) {
        double same = 0, next = 0, row = 0;
        for (size_t k = 0; k < 64; k++) {
            same += o[64 * i + k] * o[64 * i + k];
            next += o[64 * i + k] * o[64 * ((i + 1) % 48) + k];
            row += q[64 * i + k] * q[64 * i + k];
        }
        assert_true(fabs(same - 4) < 1e-9 && fabs(next) < 1e-9);
        length = i ? length : row;
        assert_true(fabs(row / length - 1) < 1e-9);
    }
    moments(q, n, &mean, &sd);
    assert_true(fabs(sd / 3 - 1) < 0.05);
    const double *l = evaluate(&r, "init", OUTPUT_NEXT, "M.l", &leaves);
    for (size_t i = 0; i < n; i++)
        assert_true(l[i] >= 0.1 && l[i] <= 10);
    const double *w = evaluate(&r, "init", OUTPUT_NEXT, "M.w", &leaves);
    for (size_t i = 0; i < 64; i++)
        assert_true(w[i] == (i % 8 <= i / 8));
    const Param *p = find_param(&r, "M.w");
    assert_true(p && p->lower_row && p->lower_col);
    finish(&r);
}

// Rows (3, 4) and (1, 0), renormalised as the two papers' codes do.
static void rows_are_renormalised(void **state)
{
    (void)state;
    Run r;
    build_text(&r, "mix 1\naxis E = 2, D = 2\nmodel M(x: [D]) -> y: [E] {\n"
               "  a = select(index(E) == 0, index(D) + 3, 1 - index(D))\n"
               "  param w[E,D] = renorm(a, over=D), r[E,D] = renorm(a, over=D, keep=rows)\n  y = x @[D] w + x @[D] r\n}\n", &(BuildOptions){0});
    must_build(&r);
    static const double whole[4] = {2.535462764, 3.380617019, 4.225771274, 0};
    static const double rows[4] = {0.981980506, 1.309307341, 1.636634177, 0};
    const double *w = evaluate(&r, "init", OUTPUT_NEXT, "M.w", &(Leaves){{0}, {0}});
    const double *v = evaluate(&r, "init", OUTPUT_NEXT, "M.r", &(Leaves){{0}, {0}});
    for (size_t i = 0; i < 4; i++)
        assert_true(fabs(w[i] - whole[i]) < 1e-8 && fabs(v[i] - rows[i]) < 1e-8);
    finish(&r);
}

static void a_balanced_hash_is_even_and_differs_by_column(void **state)
{
    (void)state;
    Run r;
    build_text(&r, "mix 1\naxis V = 1001, Q = 3, E = 8\nmodel M(t: int[V]) -> y: int[V,Q] {\n"
               "  state map: int[V,Q] = balanced_hash(E, seed=42)\n  y = map + t\n}\n", &(BuildOptions){0});
    must_build(&r);
    const double *map = evaluate(&r, "init", OUTPUT_NEXT, "M.map", &(Leaves){{0}, {0}});
    size_t load[3][8] = {{0}}, same = 0;
    for (size_t v = 0; v < 1001; v++) {
        for (size_t q = 0; q < 3; q++) {
            assert_true(map[3 * v + q] >= 0 && map[3 * v + q] < 8 && floor(map[3 * v + q]) == map[3 * v + q]);
            load[q][(size_t)map[3 * v + q]]++;
        }
        same += map[3 * v] == map[3 * v + 1];
    }
    for (size_t q = 0; q < 3; q++)
        for (size_t e = 0; e < 8; e++)
            assert_true(load[q][e] == 125 || load[q][e] == 126);
    assert_true(same < 300);                // 125 by chance
    finish(&r);
}

static void ranged_parameters_are_stored_at_the_upper_bound(void **state)
{
    (void)state;
    Run r;
    Binding bind[] = {{"T", "3", false}};
    build_text(&r,
        "mix 1\naxis B = 1, T : time in 1..8, D = 2\n"
        "model M(x: [B,T,D]) -> y: [B,T,D] {\n  a = index(T) * 10\n  param p[T,D] = outer(a, linspace(1, 2, over=D))\n"
        "  y = x + p\n}\n",
        &(BuildOptions){.binding = bind, .n_bindings = 1});
    must_build(&r);
    assert_true(bind[0].used);
    assert_int_equal(count(&r), 16);
    check_graph(&r, "main");
    check_graph(&r, "init");
    const double *p = evaluate(&r, "init", OUTPUT_NEXT, "M.p", &(Leaves){{0}, {0}});
    for (int t = 0; t < 8; t++)
        assert_true(p[2 * t] == 10 * t && p[2 * t + 1] == 20 * t);
    const double x[6] = {0};
    const double *y = evaluate(&r, "main", OUTPUT_RESULT, "y", &(Leaves){{"x", "M.p"}, {x, p}});
    for (int i = 0; i < 6; i++)
        assert_true(y[i] == p[i]);
    finish(&r);
}

// ---- penalties ----

static void pooled_penalties_count_once(void **state)
{
    (void)state;
    Run r;
    build_text(&r,
        "mix 1\naxis B = 2, D = 2\n"
        "layer P(x: [B,D]) -> [B,D] {\n  param w[D] = ones\n"
        "  m = pooled(mean(x * w, over=B*D))\n  penalty square = m * m\n  penalty plain = mean(x, over=B*D)\n  yield x * 3\n}\n"
        "model M(x: [B,D]) -> y: [B,D] {\n  layer p = P\n  y = p(p(x))\n}\n"
        "train M on d { loss = mean(y, over=B*D) + aux }\n", &(BuildOptions){.with_loss = true});
    must_build(&r);
    const double x[4] = {1, 1, 1, 1}, w[2] = {1, 1};
    Leaves leaves = {{"x", "M.p.w"}, {x, w}};
    // uses see means 1 and 3: pooled 2, squared 4; the plain one counts at each use: 1 + 3
    assert_true(*evaluate(&r, "main", OUTPUT_LOSS, "aux", &leaves) == 8);
    assert_true(*evaluate(&r, "main", OUTPUT_LOSS, "train", &leaves) == 9 + 8);
    check_graph(&r, "main");
    finish(&r);
}

static void many_layers_build_quickly(void **state)
{
    (void)state;
    Run r;
    Binding bind[] = {{"L", "600", false}};
    build_model(&r, "gpt.mix", &(BuildOptions){.with_loss = true, .binding = bind, .n_bindings = 1});
    must_build(&r);
    assert_true(r.module->n_params > 600 * 16);
    finish(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpt2_has_its_published_count),
        cmocka_unit_test(design_models_have_the_counts_on_their_second_lines),
        cmocka_unit_test(instances_are_named_by_layer_and_text_order),
        cmocka_unit_test(modes_name_the_same_parameters),
        cmocka_unit_test(softmax_of_a_hidden_row_is_zero),
        cmocka_unit_test(cross_entropy_counts_and_smooths),
        cmocka_unit_test(rope_turns_pairs_of_halves),
        cmocka_unit_test(concat_lays_parts_along_the_new_axis),
        cmocka_unit_test(concat_does_not_go_by_sizes_alone),
        cmocka_unit_test(concat_keeps_the_order_of_the_larger_part),
        cmocka_unit_test(initial_values_have_their_distributions),
        cmocka_unit_test(rows_are_renormalised),
        cmocka_unit_test(a_balanced_hash_is_even_and_differs_by_column),
        cmocka_unit_test(ranged_parameters_are_stored_at_the_upper_bound),
        cmocka_unit_test(pooled_penalties_count_once),
        cmocka_unit_test(many_layers_build_quickly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
