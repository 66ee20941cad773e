// Passes keep what a graph computes: random graphs of small whole numbers, evaluated before and after. On whole numbers
// every sum is exact, so a legal rewrite gives the same values, and not only close ones.
#include "eval.h"
#include "grad.h"
#include "pass.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct Random {
    uint64_t seed;
} Random;

static uint32_t pick(Random *r, uint32_t n)
{
    r->seed = r->seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(r->seed >> 33) % n;
}

enum { N_AXES = 9 };

typedef struct Maker {
    Random  r;
    Graph  *g;
    AxisId  axis[N_AXES];                   // B T T' D H K P O J
    ValueId value[256];                     // floats of at most 4 axes
    size_t  n;
    bool    smooth;                         // no `stop`: its gradient is meant to differ from its slope
} Maker;

enum { B, T, T2, D, H, K, P, O, J };

static void keep(Maker *m, ValueId v)
{
    const Type *type = &m->g->node[v].type;
    if (v && type->dtype == DTYPE_F32 && type->n_axes <= 4 && m->n < 256)
        m->value[m->n++] = v;
}

static ValueId any(Maker *m)
{
    return m->value[pick(&m->r, (uint32_t)m->n)];
}

static bool has(const Maker *m, ValueId v, int axis)
{
    return type_has(&m->g->node[v].type, m->axis[axis]);
}

static ValueId whole_const(Maker *m)
{
    static const double c[] = {0, 1, -1, 2, 3};
    return graph_const(m->g, DTYPE_F32, c[pick(&m->r, 5)]);
}

// The union of two values' axes has at most four.
static bool fits(const Maker *m, ValueId a, ValueId b)
{
    const Type *x = &m->g->node[a].type, *y = &m->g->node[b].type;
    size_t n = x->n_axes;
    for (size_t i = 0; i < y->n_axes; i++)
        n += !type_has(x, y->axis[i]);
    return n <= 4;
}

static void add_elementwise(Maker *m)
{
    static const Op ops[] = {OP_ADD, OP_SUB, OP_MUL, OP_MAX, OP_MIN, OP_LT, OP_LE, OP_EQ, OP_NE};
    ValueId a = any(m), b = pick(&m->r, 3) ? any(m) : whole_const(m), c = any(m);
    switch (pick(&m->r, 8)) {
    case 0:  keep(m, graph_unary(m->g, OP_NEG, a)); break;
    case 1:  keep(m, graph_unary(m->g, m->smooth ? OP_NEG : OP_STOP, a)); break;
    case 2:
        if (fits(m, a, b) && fits(m, graph_binary(m->g, OP_ADD, a, b), c))
            keep(m, graph_select(m->g, a, b, c));
        break;
    case 3:  keep(m, graph_map(m->g, pick(&m->r, 2) ? ACT_RELU : ACT_ABS, a)); break;
    case 4:  keep(m, graph_cast(m->g, DTYPE_F32, graph_cast(m->g, DTYPE_I32, a))); break;
    case 5:
        if (pick(&m->r, 2))
            keep(m, graph_binary(m->g, OP_POW, a, graph_const(m->g, DTYPE_F32, 1 + pick(&m->r, 2))));
        else
            keep(m, graph_binary(m->g, OP_DIV, a, graph_const(m->g, DTYPE_F32, pick(&m->r, 2) ? 1 : -1)));
        break;
    default:
        if (fits(m, a, b))
            keep(m, graph_binary(m->g, ops[pick(&m->r, 9)], pick(&m->r, 2) ? a : b, pick(&m->r, 2) ? b : a));
    }
}

static void add_view(Maker *m)
{
    Graph *g = m->g;
    const AxisId *x = m->axis;
    ValueId a = any(m);
    switch (pick(&m->r, 9)) {
    case 0: {
        AxisId to[MAX_AXES];
        Type type = g->node[a].type;
        memcpy(to, type.axis, sizeof to);
        int brought = (int)pick(&m->r, N_AXES);
        if (!has(m, a, brought) && type.n_axes < 4) {
            to[type.n_axes++] = x[brought];
            keep(m, graph_expand(g, a, to, type.n_axes));
        }
        break;
    }
    case 1:
        if (has(m, a, T) && !has(m, a, T2)) keep(m, graph_rename(g, a, x[T], x[T2]));
        else if (has(m, a, T2) && !has(m, a, T)) keep(m, graph_rename(g, a, x[T2], x[T]));
        break;
    case 2:
        if (has(m, a, D) && !has(m, a, H) && !has(m, a, K))
            keep(m, graph_split(g, a, x[D], (AxisId[]){x[H], x[K]}, 2));
        break;
    case 3:
        if (has(m, a, H) && has(m, a, K) && !has(m, a, D))
            keep(m, graph_merge(g, a, pick(&m->r, 2) ? (AxisId[]){x[H], x[K]} : (AxisId[]){x[K], x[H]}, 2, x[D]));
        break;
    case 4:
        if (has(m, a, T)) keep(m, graph_at(g, a, x[T], pick(&m->r, 4)));
        break;
    case 5:
        if (has(m, a, T) && !has(m, a, P)) keep(m, graph_slice(g, a, x[T], pick(&m->r, 3), x[P]));
        break;
    case 6:
        if (has(m, a, P) && !has(m, a, T)) keep(m, graph_pad(g, a, x[P], pick(&m->r, 3), x[T]));
        break;
    case 7:
        if (has(m, a, T)) keep(m, graph_reverse(g, a, x[T]));
        break;
    default:
        if (has(m, a, T) && !has(m, a, O) && !has(m, a, J) && g->node[a].type.n_axes < 4)
            keep(m, graph_window(g, a, x[T], x[O], x[J], 2, pick(&m->r, 3)));
        else if (has(m, a, O) && has(m, a, J) && !has(m, a, T))
            keep(m, graph_unwindow(g, a, x[O], x[J], x[T], 2, pick(&m->r, 3)));
    }
}

static void add_sum(Maker *m)
{
    Graph *g = m->g;
    ValueId a = any(m), b = any(m);
    Type type = g->node[a].type;
    AxisId over[MAX_AXES];
    size_t n = 0;
    switch (pick(&m->r, 4)) {
    case 0:
        for (size_t i = 0; i < type.n_axes; i++)
            if (pick(&m->r, 2))
                over[n++] = type.axis[i];
        keep(m, graph_reduce(g, (Red)pick(&m->r, RED_COUNT), a, over, n));
        break;
    case 1:
        for (size_t i = 0; i < type.n_axes; i++)
            if (type_has(&g->node[b].type, type.axis[i]) && pick(&m->r, 2))
                over[n++] = type.axis[i];
        if (n && fits(m, a, b))
            keep(m, graph_contract(g, a, b, over, n));
        break;
    case 2: {                               // what fold_sum_of_choice looks for
        ValueId i = pick(&m->r, 2) ? graph_index(g, m->axis[T2]) : graph_const(g, DTYPE_I32, pick(&m->r, 6));
        ValueId c = graph_select(g, graph_binary(g, OP_EQ, graph_index(g, m->axis[T]), i), a, graph_const(g, DTYPE_F32, 0));
        keep(m, graph_reduce(g, RED_SUM, c, &m->axis[T], 1));
        break;
    }
    default:
        if (has(m, a, T) && !has(m, a, T2))
            keep(m, graph_take(g, a, graph_index(g, m->axis[T2]), m->axis[T]));
    }
}

static Graph *random_graph(Arena *arena, Diag *diag, uint64_t seed, bool smooth)
{
    Maker m = {.r = {seed}, .g = graph_make(arena, diag, "main"), .smooth = smooth};
    Graph *g = m.g;
    m.axis[B] = graph_axis(g, "B", AXIS_BATCH, 2, 0);
    m.axis[T] = graph_axis(g, "T", AXIS_TIME, 4, 0);
    m.axis[T2] = graph_axis(g, "T'", AXIS_TIME, 4, m.axis[T]);
    m.axis[D] = graph_axis(g, "D", AXIS_FEATURE, 6, 0);
    m.axis[H] = graph_axis(g, "H", AXIS_FEATURE, 2, 0);
    m.axis[K] = graph_axis(g, "K", AXIS_FEATURE, 3, 0);
    m.axis[P] = graph_axis(g, "P", AXIS_TIME, pick(&m.r, 3) ? 2 : 4, 0);
    m.axis[O] = graph_axis(g, "O", AXIS_TIME, 2, 0);
    m.axis[J] = graph_axis(g, "J", AXIS_FEATURE, 2, 0);
    for (int i = 0; i < 4; i++) {
        AxisId axes[3];
        size_t n = 0;
        for (int a = 0; a < N_AXES && n < 3; a++)
            if (pick(&m.r, 3) == 0)
                axes[n++] = m.axis[a];
        keep(&m, graph_leaf(g, i < 2 ? OP_ARG : OP_PARAM, arena_printf(arena, "x%d", i), type_make(DTYPE_F32, axes, n)));
    }
    for (int i = 0; i < 30; i++) {
        uint32_t kind = pick(&m.r, 5);
        (kind < 2 ? add_elementwise : kind < 4 ? add_view : add_sum)(&m);
    }
    for (size_t i = 0; i < 4; i++)
        graph_output(g, OUTPUT_RESULT, arena_printf(arena, "y%zu", i), m.value[m.n - 1 - i % m.n]);
    return g;
}

enum { LEAF_STRIDE = 300, N_LEAVES = 6 };      // x0..x3 and the cotangents of y0 and y1

static const double *leaf_value(void *user, const Graph *g, const Node *leaf)
{
    (void)g;
    const char *name = leaf->attr[0].name;
    size_t number = (size_t)(name[strlen(name) - 1] - '0') + (name[0] == 'c' ? 4 : 0);
    return (double *)user + LEAF_STRIDE * number;
}

// Equal, or both so large that whole numbers are not exact any more and the difference is rounding.
static bool same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b)) || (fabs(a) > 1e12 && fabs(a - b) <= 1e-9 * fabs(a));
}

static void compare(const Graph *before, const Graph *after, double *leaves, uint64_t seed)
{
    Arena arena = {0};
    EvalResult x, y;
    StatusText why = {{0}};
    if (graph_eval(before, leaf_value, leaves, &arena, &x, &why) != STATUS_OK ||
        graph_eval(after, leaf_value, leaves, &arena, &y, &why) != STATUS_OK)
        fail_msg("graph %d: %s", (int)seed, why.text);
    for (size_t i = 0; i < before->n_outputs; i++) {
        const Output *o = &before->output[i];
        ValueId a = o->value, b = graph_find_output(after, o->role, o->name);
        int64_t n;
        assert_true(b && type_count(before, &before->node[a].type, &n));
        // The order of an output's axes is its layout, which passes keep for outputs.
        assert_true(type_equal(&before->node[a].type, &after->node[b].type));
        for (int64_t k = 0; k < n; k++)
            if (!same(x.value[a][k], y.value[b][k]))
                fail_msg("graph %d: %s[%d] was %.17g and is %.17g", (int)seed, o->name, (int)k, x.value[a][k],
                         y.value[b][k]);
    }
    arena_free(&arena);
}

static void check_seed(uint64_t seed, bool with_gradients, const char *const *names, size_t n_names)
{
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    Module *m = module_make(&arena, &diag);
    Graph *g = random_graph(&arena, &diag, seed, false);
    module_add_graph(m, g);
    double leaves[LEAF_STRIDE * N_LEAVES + 6 * 6 * 6 * 6];
    Random r = {seed};
    for (size_t i = 0; i < sizeof leaves / sizeof *leaves; i++)
        leaves[i] = (double)pick(&r, 7) - 3;
    if (with_gradients) {
        const char *const results[] = {"y0", "y1"};
        Param *param = arena_array(&arena, Param, 2);
        param[0].name = "x2", param[1].name = "x3";
        m->param = param;
        m->n_params = 2;
        assert_true(grad_of_run(m, &(RunGradOptions){.cotangent = results, .n_cotangents = 2}));
        g = module_graph(m, "main");
    }
    PassContext ctx = {.arena = &arena, .diag = &diag, .target = &(Target){.name = "cpu", .vector_floats = 8,
                       .vector_registers = 16, .l1_bytes = 32768, .l2_bytes = 1 << 20, .threads = 2}};
    Module *out = passes_run(&ctx, m, names, n_names, &(PassHooks){.verify = true});
    if (!out)
        fail_msg("graph %d: %s", (int)seed, diag.item[0].message);
    compare(g, module_graph(out, "main"), leaves, seed);
    arena_free(&arena);
}

static size_t how_many(void)
{
    const char *text = getenv("MIXC_RANDOM_GRAPHS");
    return text ? (size_t)strtoul(text, NULL, 10) : 300;
}

// sum over the outputs of cotangent times y, as the definition says; the cotangents are the last two leaves.
static double total(const Graph *g, double *leaves)
{
    Arena arena = {0};
    EvalResult r;
    assert_int_equal(graph_eval(g, leaf_value, leaves, &arena, &r, NULL), STATUS_OK);
    double sum = 0;
    for (int i = 0; i < 2; i++) {
        ValueId y = graph_find_output(g, OUTPUT_RESULT, i ? "y1" : "y0");
        int64_t n;
        assert_true(type_count(g, &g->node[y].type, &n));
        for (int64_t k = 0; k < n; k++)
            sum += leaves[LEAF_STRIDE * (size_t)(4 + i) + (size_t)k] * r.value[y][k];
    }
    arena_free(&arena);
    return sum;
}

// The slope along a random direction, from the gradient and from a difference. Random real leaves meet no kink but those
// that are there by construction, where both sides move alike. True when the graph could be judged.
static bool check_gradient(uint64_t seed)
{
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    Module *m = module_make(&arena, &diag);
    Graph *plain = random_graph(&arena, &diag, seed, true);
    module_add_graph(m, plain);
    enum { N = LEAF_STRIDE * N_LEAVES + 6 * 6 * 6 * 6 };
    double leaves[N], direction[N], moved[N];
    Random r = {seed + 1};
    for (size_t i = 0; i < N; i++) {
        leaves[i] = (double)pick(&r, 2000001) / 1e6 - 1;
        direction[i] = i < LEAF_STRIDE * 4 ? (double)pick(&r, 2000001) / 1e6 - 1 : 0;
    }
    Param param[2] = {{.name = "x2"}, {.name = "x3"}};
    m->param = param;
    m->n_params = 2;
    const char *const results[] = {"y0", "y1"};
    assert_true(grad_of_run(m, &(RunGradOptions){.cotangent = results, .n_cotangents = 2}));
    const Graph *g = module_graph(m, "main");
    EvalResult e;
    assert_int_equal(graph_eval(g, leaf_value, leaves, &arena, &e, NULL), STATUS_OK);
    double slope = 0, h = 1e-6, side[2];
    for (size_t i = 0; i < g->n_outputs; i++) {
        const Output *o = &g->output[i];
        int64_t n;
        if (o->role != OUTPUT_GRAD || o->name[6] == 'c')
            continue;
        assert_true(type_count(g, &g->node[o->value].type, &n));
        size_t leaf = LEAF_STRIDE * (size_t)(o->name[strlen(o->name) - 1] - '0');
        for (int64_t k = 0; k < n; k++)
            slope += e.value[o->value][k] * direction[leaf + (size_t)k];
    }
    for (int s = 0; s < 2; s++) {
        for (size_t i = 0; i < N; i++)
            moved[i] = leaves[i] + (s ? -h : h) * direction[i];
        side[s] = total(plain, moved);
    }
    double size = fabs(side[0]) + fabs(side[1]), quotient = (side[0] - side[1]) / (2 * h);
    bool judged = isfinite(size) && size < 1e4 && fabs(slope) < 1e4;
    arena_free(&arena);
    // Rounding gives 1e-16 size/h; curvature h^2 times third derivatives, which powers of sums can make large.
    if (judged && !(fabs(slope - quotient) <= 1e-6 * (1 + fabs(slope)) + 1e-9 * size))
        fail_msg("graph %d: the slope is %.12g by the gradient and %.12g by a difference", (int)seed, slope, quotient);
    return judged;
}

static void gradients_of_random_graphs_match_differences(void **state)
{
    (void)state;
    size_t judged = 0;
    for (uint64_t seed = 1; seed <= how_many(); seed++)
        judged += check_gradient(seed);
    assert_true(judged > how_many() / 2);
}

static void clean_up_keeps_values(void **state)
{
    (void)state;
    static const char *const names[] = {"fold", "cse", "recompute"};
    for (uint64_t seed = 1; seed <= how_many(); seed++)
        check_seed(seed, false, names, 3);
}

static void clean_up_keeps_gradients(void **state)
{
    (void)state;
    static const char *const names[] = {"fold", "cse", "recompute"};
    for (uint64_t seed = 1; seed <= how_many(); seed++)
        check_seed(seed, true, names, 3);
}

static void the_whole_pipeline_keeps_values(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= how_many(); seed++) {
        check_seed(seed, false, NULL, 0);
        check_seed(seed, true, NULL, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_random_graphs_match_differences),
        cmocka_unit_test(clean_up_keeps_values),
        cmocka_unit_test(clean_up_keeps_gradients),
        cmocka_unit_test(the_whole_pipeline_keeps_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
