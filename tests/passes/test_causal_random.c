// The causality proof on random programs of what it knows about: masks from positions, selects, exps, sums over twins,
// windows, slices, time counted by digits. Whatever it accepts must be causal in numbers: no position moves when the future of the input does.
#include "eval.h"
#include "pass.h"
#include "shape.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

PassRun pass_causal;

enum { N_PROGRAMS = 3000, N_NODES = 30, T = 6, D = 2, N_X = T * D };

typedef struct Draw {
    Graph   *g;
    uint64_t state;
    AxisId   time[3], digit[4], D, J, U;    // the digits H, H', J, J' have 2, 2, 3, 3 places
} Draw;

static uint32_t draw(Draw *d, size_t n)
{
    d->state = d->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((d->state >> 33) % n);
}

static ValueId any(Draw *d)
{
    size_t n = d->g->n_nodes - 1;
    return n <= 6 || draw(d, 3) == 0 ? 1 + draw(d, n) : (ValueId)(n - draw(d, 6));
}

static ValueId any_float(Draw *d)
{
    for (int i = 0; i < 10; i++) {
        ValueId v = any(d);
        if (d->g->node[v].type.dtype == DTYPE_F32)
            return v;
    }
    return 1;
}

static AxisId any_time(Draw *d)
{
    return draw(d, 8) ? d->time[draw(d, 3)] : d->digit[draw(d, 4)];
}

static double number(Draw *d)
{
    static const double numbers[] = {0, 1, -1, 0.5, 2, -1e30, -1e29, 1e30, -1e30, 1e-25, 3};
    return numbers[draw(d, sizeof numbers / sizeof *numbers)];
}

// A comparison of positions, perhaps shifted; or of one position with a number.
static void add_mask(Draw *d)
{
    static const Op ops[] = {OP_LE, OP_LE, OP_LT, OP_EQ, OP_NE};
    ValueId a = graph_index(d->g, any_time(d)), b = graph_index(d->g, any_time(d));
    if (draw(d, 4) == 0)
        a = graph_binary(d->g, draw(d, 2) ? OP_ADD : OP_SUB, a, graph_const(d->g, DTYPE_I32, (double)draw(d, 3)));
    if (draw(d, 6) == 0)
        b = graph_const(d->g, DTYPE_I32, (double)draw(d, 5));
    graph_binary(d->g, ops[draw(d, 5)], draw(d, 5) ? a : b, b);
}

static bool add_checked(Draw *d, Op op, const ValueId *in, size_t n_in, const Attr *attr, size_t n_attr)
{
    ShapeCall call = {d->g, NULL, (Span){0}, op, in, n_in, attr, n_attr, NULL};
    Type type;
    int64_t n;
    return shape_infer(&call, &type) && type_count(d->g, &type, &n) && n <= 500 &&
           graph_add(d->g, op, in, n_in, attr, n_attr, NULL);
}

static Attr axes(AxisId *list, uint8_t n)
{
    return (Attr){.kind = ATTR_AXES, .axes = {n, list}};
}

static Attr axis(AxisId id)
{
    return (Attr){.kind = ATTR_AXIS, .axis = id};
}

static Attr whole(int64_t i)
{
    return (Attr){.kind = ATTR_INT, .i = i};
}

static void add_pointwise(Draw *d)
{
    static const Op binary[] = {OP_ADD, OP_SUB, OP_SUB, OP_MUL, OP_MUL, OP_MUL, OP_DIV, OP_MAX, OP_MIN};
    static const Act acts[] = {ACT_EXP, ACT_EXP, ACT_EXP, ACT_TANH, ACT_RELU, ACT_SIGMOID, ACT_ABS, ACT_COS};
    ValueId in[] = {any_float(d), any_float(d), any_float(d)};
    Attr act = {.kind = ATTR_ACT, .act = acts[draw(d, 8)]};
    switch (draw(d, 8)) {
    case 0: case 1: add_checked(d, OP_MAP, in, 1, &act, 1); break;
    case 2: case 3: add_checked(d, OP_SELECT, in, 3, NULL, 0); break;
    case 4: add_checked(d, draw(d, 2) ? OP_NEG : OP_STOP, in, 1, NULL, 0); break;
    default: add_checked(d, binary[draw(d, 9)], in, 2, NULL, 0); break;
    }
}

static void add_sum(Draw *d)
{
    ValueId in[] = {any_float(d), any_float(d)};
    AxisId over[] = {draw(d, 5) ? any_time(d) : draw(d, 2) ? d->D : d->J};
    if (draw(d, 2)) {
        Attr attr[] = {{.kind = ATTR_RED, .red = (Red)draw(d, RED_COUNT)}, axes(over, 1)};
        add_checked(d, OP_REDUCE, in, 1, attr, 2);
    } else {
        Attr attr = axes(over, 1);
        add_checked(d, OP_CONTRACT, in, 2, &attr, 1);
    }
}

static void add_view(Draw *d)
{
    ValueId x = any_float(d);
    AxisId a = any_time(d), b = any_time(d), pair[] = {draw(d, 2) ? a : b, d->J};
    Attr rename[] = {axes(&a, 1), axes(&b, 1)}, at[] = {axis(a), whole(draw(d, T))};
    int64_t stride = draw(d, 4) ? 1 : 3;
    Attr window[] = {axis(a), axes(pair, 2), whole(stride), whole((int64_t)draw(d, 4))};
    Attr slice[] = {axis(a), whole(draw(d, 2)), axis(d->U)}, pad[] = {axis(d->U), whole(draw(d, 2)), axis(a)};
    Attr reverse = axis(a);
    switch (draw(d, 9)) {
    case 0: case 1: case 2: case 3: add_checked(d, OP_RENAME, &x, 1, rename, 2); break;
    case 4: add_checked(d, OP_AT, &x, 1, at, 2); break;
    case 5: add_checked(d, OP_WINDOW, &x, 1, window, 4); break;
    case 6: add_checked(d, OP_SLICE, &x, 1, slice, 3); break;
    case 7: add_checked(d, OP_PAD, &x, 1, pad, 3); break;
    default: add_checked(d, OP_REVERSE, &x, 1, &reverse, 1); break;
    }
}

// Time as two digits, a product along one of them with weights that some comparison of places leaves, and back.
static void add_digits(Draw *d)
{
    ValueId x = any_float(d), in[2];
    bool fast = draw(d, 2), turned = draw(d, 6) == 0;
    AxisId h = d->digit[0], j = d->digit[2], time = d->time[0];
    AxisId pair[] = {turned ? j : h, turned ? h : j}, from = fast ? j : h, to = d->digit[fast ? 3 : 1];
    Attr split[] = {axis(time), axes(pair, 2)}, rename[] = {axes(&from, 1), axes(&to, 1)}, over = axes(&to, 1);
    Attr merge[] = {axes(pair, 2), axis(time)};
    Graph *g = d->g;
    if (draw(d, 3)) {
        if (!add_checked(d, OP_SPLIT, &x, 1, split, 2))
            return;
        in[0] = (ValueId)(g->n_nodes - 1);
    } else {
        in[0] = any_float(d);
    }
    if (draw(d, 3)) {
        if (!add_checked(d, OP_RENAME, in, 1, rename, 2))
            return;
        in[0] = (ValueId)(g->n_nodes - 1);
        ValueId a = graph_index(g, to), b = graph_index(g, from);
        in[1] = graph_cast(g, DTYPE_F32, graph_binary(g, draw(d, 4) ? OP_LE : OP_LT, draw(d, 8) ? a : b, draw(d, 8) ? b : a));
        if (!add_checked(d, OP_CONTRACT, in, 2, &over, 1))
            return;
        in[0] = (ValueId)(g->n_nodes - 1);
    }
    if (draw(d, 3))
        add_checked(d, OP_MERGE, in, 1, merge, 2);
}

static ValueId position_mask(Draw *d, AxisId a, AxisId b)
{
    static const Op ops[] = {OP_LE, OP_LE, OP_LE, OP_LT, OP_NE};
    ValueId i = graph_index(d->g, a), k = graph_index(d->g, b);
    if (draw(d, 4) == 0)
        k = graph_binary(d->g, draw(d, 2) ? OP_ADD : OP_SUB, k, graph_const(d->g, DTYPE_I32, (double)draw(d, 3)));
    if (draw(d, 6) == 0)
        k = graph_const(d->g, DTYPE_I32, (double)(1 + draw(d, 3)));
    bool turned = draw(d, 6) == 0;
    return graph_binary(d->g, ops[draw(d, 5)], turned ? k : i, turned ? i : k);
}

// Attention with some mask: one or two comparisons of positions, or data; the largest score guarded or not.
static void add_softmax(Draw *d)
{
    Graph *g = d->g;
    AxisId t = d->time[0], a = d->time[1 + draw(d, 2)];
    ValueId x = 1, k = graph_rename(g, x, t, a), s = graph_contract(g, x, k, &d->D, 1), mask = position_mask(d, a, t);
    if (draw(d, 3) == 0)
        mask = graph_binary(g, draw(d, 2) ? OP_MUL : OP_MAX, mask, position_mask(d, a, t));
    if (draw(d, 5) == 0)
        mask = graph_binary(g, OP_MUL, mask, graph_binary(g, OP_LT, graph_contract(g, k, k, &d->D, 1), graph_const(g, DTYPE_F32, 2)));
    ValueId low = graph_const(g, DTYPE_F32, draw(d, 5) ? -1e30 : number(d));
    ValueId masked = graph_select(g, mask, s, low), most = graph_reduce(g, RED_MAX, masked, &a, 1);
    if (draw(d, 3) == 0)
        most = graph_binary(g, OP_MAX, most, graph_const(g, DTYPE_F32, draw(d, 3) ? -1e29 : -2e30));
    ValueId e = graph_map(g, ACT_EXP, graph_binary(g, OP_SUB, masked, most));
    ValueId sum = graph_binary(g, OP_ADD, graph_reduce(g, RED_SUM, e, &a, 1), graph_const(g, DTYPE_F32, 1e-30));
    graph_contract(g, graph_binary(g, OP_DIV, e, sum), k, &a, 1);
}

// Small whole numbers made from data, and who comes before whom among them.
static void add_route(Draw *d)
{
    Graph *g = d->g;
    ValueId x = any_float(d), i;
    const Type *type = &g->node[x].type;
    if (type->n_axes == 0 || type_has(type, d->U))
        return;
    AxisId over[2] = {type->axis[draw(d, type->n_axes)], type->axis[draw(d, type->n_axes)]};
    uint8_t n = over[0] == over[1] ? 1 : (uint8_t)(1 + draw(d, 2));
    Attr rank = axes(over, n), slot[] = {axis(d->U), axes(over, n)}, to_int = {.kind = ATTR_DTYPE, .dtype = DTYPE_I32};
    switch (draw(d, 3)) {
    case 0:
        if (add_checked(d, OP_RANK, &x, 1, &rank, 1))
            graph_cast(g, DTYPE_F32, (ValueId)(g->n_nodes - 1));
        break;
    default:
        i = graph_binary(g, OP_LT, graph_const(g, DTYPE_F32, 0.1), x);
        if (add_checked(d, OP_CAST, &i, 1, &to_int, 1)) {
            ValueId in[] = {(ValueId)(g->n_nodes - 1), 0};
            Attr turn = axes(over + n - 1, 1);
            bool by_turn = draw(d, 3) == 0 && add_checked(d, OP_RANK, &x, 1, &turn, 1);
            in[1] = (ValueId)(g->n_nodes - 1);
            if (add_checked(d, OP_SLOT, in, by_turn ? 2 : 1, slot, 2))
                graph_cast(g, DTYPE_F32, (ValueId)(g->n_nodes - 1));
        }
    }
}

static Graph *make_program(Arena *arena, Diag *diag, uint64_t seed)
{
    Draw d = {.g = graph_make(arena, diag, "main"), .state = seed * 0x9e3779b97f4a7c15u + 11};
    Graph *g = d.g;
    d.time[0] = graph_axis(g, "T", AXIS_TIME, T, 0);
    d.time[1] = graph_axis(g, "T'", AXIS_TIME, T, d.time[0]);
    d.time[2] = graph_axis(g, "T''", AXIS_TIME, T, d.time[0]);
    d.D = graph_axis(g, "D", AXIS_FEATURE, D, 0);
    d.J = graph_axis(g, "J", AXIS_FEATURE, 3, 0);
    d.digit[0] = graph_axis(g, "H", AXIS_FEATURE, 2, 0);
    d.digit[1] = graph_axis(g, "H'", AXIS_FEATURE, 2, d.digit[0]);
    d.digit[2] = d.J;
    d.digit[3] = graph_axis(g, "J'", AXIS_FEATURE, 3, d.J);
    d.U = graph_axis(g, "U", AXIS_FEATURE, T - 1, 0);
    ValueId x = graph_leaf(g, OP_ARG, "x", type_make(DTYPE_F32, (AxisId[]){d.time[0], d.D}, 2));
    ValueId k = graph_rename(g, x, d.time[0], d.time[1]);
    graph_leaf(g, OP_PARAM, "w", type_make(DTYPE_F32, d.time, 2));
    if (draw(&d, 2))
        graph_contract(g, x, k, &d.D, 1);
    for (int tries = 0; g->n_nodes < N_NODES && tries < 300; tries++)
        switch (draw(&d, 13)) {
        case 11: case 12: add_digits(&d); break;
        case 10: add_route(&d); break;
        case 0: graph_const(g, DTYPE_F32, number(&d)); break;
        case 1: case 2: add_mask(&d); break;
        case 3: add_softmax(&d); break;
        case 4: case 5: add_sum(&d); break;
        case 6: case 7: add_view(&d); break;
        default: add_pointwise(&d); break;
        }
    return g;
}

static const double *leaf(void *user, const Graph *g, const Node *n)
{
    (void)g;
    static const double w[T * T] = {0.3, -1.2, 0.7, 2.1, -0.4, 1.1, 0.2, -0.9, 0.5, 1.7, -2.2, 0.8,
                                    0.1, -0.6, 1.3, 0.9, -1.5, 0.4, 1.9, -0.2, 0.6, 1.4, -0.8, 0.3,
                                    -1.1, 0.7, 1.2, -0.3, 0.9, -1.7, 0.5, 2.3, -0.7, 1.6, -1.4, 0.2};
    return n->op == OP_ARG ? user : w;
}

static void evaluate(Arena *arena, const Graph *g, const double *x, EvalResult *out)
{
    assert_int_equal(graph_eval(g, leaf, (void *)x, arena, out, NULL), STATUS_OK);
}

// The proof takes on trust that numbers are usual or come from masks: programs that make others say nothing about it.
static bool is_within_trust(const Graph *g, const EvalResult *r)
{
    for (size_t v = 1; v < g->n_nodes; v++) {
        int64_t n = 0;
        type_count(g, &g->node[v].type, &n);
        for (int64_t i = 0; i < n; i++) {
            double a = fabs(r->value[v][i]);
            if (!(a <= 1e7 || (a > 1e27 && a < 1e31)))
                return false;
        }
    }
    return true;
}

static bool past_differs(const Graph *g, ValueId v, const double *a, const double *b, int t)
{
    const Type *type = &g->node[v].type;
    int64_t n = 0, inner = 1;
    type_count(g, type, &n);
    for (int i = type_find(type, graph_find_axis(g, "T")) + 1; i < type->n_axes; i++)
        inner *= graph_size(g, type->axis[i]);
    for (int64_t i = 0; i < n; i++)
        if (i / inner % T <= t && a[i] != b[i])
            return true;
    return false;
}

typedef struct Counts { int within, proved, refused, refused_in_vain; } Counts;

static void check_program(uint64_t seed, Counts *counts)
{
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    Graph *g = make_program(&arena, &diag, seed);
    assert_int_equal(diag.n_errors, 0);
    ValueId in = 1;
    Claim *claim = arena_array(&arena, Claim, g->n_nodes);
    ValueId *id = arena_array(&arena, ValueId, g->n_nodes);
    int64_t after = (int64_t)(seed % 3);
    for (ValueId v = 2; v < g->n_nodes; v++) {
        graph_output(g, OUTPUT_RESULT, arena_printf(&arena, "v%u", v), v);
        id[v] = v;
        if (type_has(&g->node[v].type, graph_find_axis(g, "T")))    // the place says which claim a report is about
            claim[g->n_claims++] = (Claim){.layer = "Net", .at = {0, v, v}, .axis = graph_find_axis(g, "T"),
                                           .after = after, .in = &in, .n_in = 1, .out = &id[v], .n_out = 1};
    }
    g->claim = claim;
    Module *m = module_make(&arena, &diag), *proved = module_make(&arena, &diag);
    module_add_graph(m, g);
    PassContext ctx = {.arena = &arena, .diag = &diag};
    pass_causal(&ctx, m, proved);
    bool *refused = arena_array(&arena, bool, g->n_nodes), *leaks = arena_array(&arena, bool, g->n_nodes);
    for (size_t i = 0; i < diag.n_items; i++)
        refused[diag.item[i].at.begin] = true;

    double x[N_X], y[N_X];
    for (int i = 0; i < N_X; i++)
        x[i] = sin(i * 1.7 + 0.3 + (double)seed) * 1.5;
    EvalResult was, is;
    evaluate(&arena, g, x, &was);
    bool within = is_within_trust(g, &was);
    for (int t = 0; t < T - 1 && within; t++) {
        for (int i = 0; i < N_X; i++)
            y[i] = i / D > t && i / D >= after ? x[i] + 0.7 * cos(i * 2.3 + t) : x[i];
        evaluate(&arena, g, y, &is);
        within = is_within_trust(g, &is);
        for (size_t k = 0; k < g->n_claims; k++)
            leaks[claim[k].out[0]] |= past_differs(g, claim[k].out[0], was.value[claim[k].out[0]], is.value[claim[k].out[0]], t);
    }
    for (size_t k = 0; k < g->n_claims && within; k++) {
        ValueId v = claim[k].out[0];
        if (leaks[v] && !refused[v]) {
            Text text = text_make(&arena);
            graph_print(g, &text);
            print_message("%s", text_str(&text));
            fail_msg("seed %llu: %%%u after %lld is accepted, and leaks", (unsigned long long)seed, v, (long long)after);
        }
        counts->proved += !refused[v];
        counts->refused += refused[v];
        counts->refused_in_vain += refused[v] && !leaks[v];
    }
    counts->within += within;
    arena_free(&arena);
}

static void what_is_accepted_is_causal(void **state)
{
    (void)state;
    Counts counts = {0};
    for (uint64_t seed = 0; seed < N_PROGRAMS; seed++)
        check_program(seed, &counts);
    print_message("%d programs, %d values accepted, %d refused (%d of those did not move in numbers)\n", counts.within,
                  counts.proved, counts.refused, counts.refused_in_vain);
    assert_true(counts.proved > 1000 && counts.refused > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_accepted_is_causal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
