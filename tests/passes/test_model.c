// A whole language model, built here by hand: embedding, layers of causal attention and a GELU block, layer norms,
// tied logits, cross entropy. Its gradients against central differences, the shape of its training step, and how the
// passes' time grows with depth.
#include "eval.h"
#include "grad.h"
#include "pass.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

typedef struct Model {
    Graph  *g;
    Module *m;
    AxisId  B, T, T2, V, D, F, H, K;
} Model;

typedef struct Sizes {
    int64_t batch, time, vocabulary, width, heads, layers;
} Sizes;

static ValueId param(Model *x, const char *name, const AxisId *axes, size_t n)
{
    Arena *arena = x->m->arena;
    const char *path = arena_printf(arena, "%s.%s", x->g->layer, name);
    Type type = type_make(DTYPE_F32, axes, n);
    x->m->param = arena_grow(arena, x->m->param, x->m->n_params, &x->m->param_capacity, sizeof *x->m->param);
    x->m->param[x->m->n_params++] = (Param){.name = path, .type = type, .lr = NAN, .decay = NAN, .trust = NAN};
    ValueId w = graph_leaf(x->g, OP_PARAM, path, type);
    x->g->node[w].hint = arena_strdup(arena, name);
    return w;
}

static ValueId number(Model *x, double value)
{
    return graph_const(x->g, DTYPE_F32, value);
}

static ValueId mean(Model *x, ValueId v)
{
    ValueId sum = graph_reduce(x->g, RED_SUM, v, &x->D, 1);
    return graph_binary(x->g, OP_DIV, sum, number(x, (double)graph_size(x->g, x->D)));
}

static ValueId norm(Model *x, ValueId v, const char *name)
{
    Graph *g = x->g;
    ValueId gain = param(x, arena_printf(g->arena, "%s_gain", name), &x->D, 1);
    ValueId bias = param(x, arena_printf(g->arena, "%s_bias", name), &x->D, 1);
    ValueId c = graph_binary(g, OP_SUB, v, mean(x, v));
    ValueId scale = graph_map(g, ACT_RSQRT, graph_binary(g, OP_ADD, mean(x, graph_binary(g, OP_MUL, c, c)), number(x, 1e-5)));
    ValueId y = graph_binary(g, OP_MUL, graph_binary(g, OP_MUL, c, scale), gain);
    return graph_binary(g, OP_ADD, y, bias);
}

static ValueId attention(Model *x, ValueId n)
{
    Graph *g = x->g;
    const AxisId w[] = {x->D, x->H, x->K}, wo[] = {x->H, x->K, x->D};
    ValueId q = graph_contract(g, n, param(x, "Wq", w, 3), &x->D, 1);
    ValueId k = graph_rename(g, graph_contract(g, n, param(x, "Wk", w, 3), &x->D, 1), x->T, x->T2);
    ValueId v = graph_rename(g, graph_contract(g, n, param(x, "Wv", w, 3), &x->D, 1), x->T, x->T2);
    ValueId s = graph_contract(g, q, k, &x->K, 1);
    s = graph_binary(g, OP_DIV, s, number(x, sqrt((double)graph_size(g, x->K))));
    ValueId past = graph_binary(g, OP_LE, graph_index(g, x->T2), graph_index(g, x->T));
    s = graph_select(g, past, s, number(x, -INFINITY));
    ValueId top = graph_unary(g, OP_STOP, graph_reduce(g, RED_MAX, s, &x->T2, 1));
    ValueId e = graph_map(g, ACT_EXP, graph_binary(g, OP_SUB, s, top));
    ValueId p = graph_binary(g, OP_DIV, e, graph_reduce(g, RED_SUM, e, &x->T2, 1));
    ValueId o = graph_contract(g, p, v, &x->T2, 1);
    return graph_contract(g, o, param(x, "Wo", wo, 3), (AxisId[]){x->H, x->K}, 2);
}

static ValueId block(Model *x, ValueId n)
{
    Graph *g = x->g;
    const AxisId w1[] = {x->D, x->F}, w2[] = {x->F, x->D};
    ValueId h = graph_binary(g, OP_ADD, graph_contract(g, n, param(x, "W1", w1, 2), &x->D, 1), param(x, "b1", &x->F, 1));
    return graph_binary(g, OP_ADD, graph_contract(g, graph_map(g, ACT_GELU, h), param(x, "W2", w2, 2), &x->F, 1),
                        param(x, "b2", &x->D, 1));
}

static ValueId cross_entropy(Model *x, ValueId logits, ValueId targets)
{
    Graph *g = x->g;
    const AxisId tokens[] = {x->B, x->T};
    ValueId top = graph_unary(g, OP_STOP, graph_reduce(g, RED_MAX, logits, &x->V, 1));
    ValueId e = graph_map(g, ACT_EXP, graph_binary(g, OP_SUB, logits, top));
    ValueId log_sum = graph_binary(g, OP_ADD, graph_map(g, ACT_LOG, graph_reduce(g, RED_SUM, e, &x->V, 1)), top);
    ValueId nll = graph_binary(g, OP_SUB, log_sum, graph_take(g, logits, targets, x->V));
    double count = (double)(graph_size(g, x->B) * graph_size(g, x->T));
    return graph_binary(g, OP_DIV, graph_reduce(g, RED_SUM, nll, tokens, 2), number(x, count));
}

static Model make_model(Arena *arena, Diag *diag, const Sizes *s)
{
    Model x = {.g = graph_make(arena, diag, "main"), .m = module_make(arena, diag)};
    Graph *g = x.g;
    x.B = graph_axis(g, "B", AXIS_BATCH, s->batch, 0);
    x.T = graph_axis(g, "T", AXIS_TIME, s->time, 0);
    x.T2 = graph_axis(g, "T'", AXIS_TIME, s->time, x.T);
    x.V = graph_axis(g, "V", AXIS_FEATURE, s->vocabulary, 0);
    x.D = graph_axis(g, "D", AXIS_FEATURE, s->width, 0);
    x.F = graph_axis(g, "F", AXIS_FEATURE, 4 * s->width, 0);
    x.H = graph_axis(g, "H", AXIS_FEATURE, s->heads, 0);
    x.K = graph_axis(g, "K", AXIS_FEATURE, s->width / s->heads, 0);
    const AxisId tokens[] = {x.B, x.T}, table[] = {x.V, x.D}, places[] = {x.T, x.D};
    g->layer = "GPT";
    ValueId in = graph_leaf(g, OP_ARG, "tokens", type_make(DTYPE_I32, tokens, 2));
    ValueId targets = graph_leaf(g, OP_ARG, "targets", type_make(DTYPE_I32, tokens, 2));
    ValueId wte = param(&x, "Wte", table, 2);
    ValueId h = graph_binary(g, OP_ADD, graph_take(g, wte, in, x.V), param(&x, "Wpe", places, 2));
    for (int64_t l = 0; l < s->layers; l++) {
        g->layer = arena_printf(arena, "GPT.l%d", (int)l);
        h = graph_binary(g, OP_ADD, h, attention(&x, norm(&x, h, "ln1")));
        h = graph_binary(g, OP_ADD, h, block(&x, norm(&x, h, "ln2")));
    }
    g->layer = "GPT";
    ValueId logits = graph_contract(g, norm(&x, h, "ln"), wte, &x.D, 1);
    graph_output(g, OUTPUT_RESULT, "logits", logits);
    graph_output(g, OUTPUT_LOSS, "train", cross_entropy(&x, logits, targets));
    module_add_graph(x.m, g);
    x.m->has_train = true;
    x.m->train = (TrainSpec){.optimizer = OPTIMIZER_ADAM, .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .decay = 0.1,
                             .correct = 1, .clip = 1, .grad_accum = 1};
    return x;
}

typedef struct Values {
    const Module *m;
    double      **param;                    // [n_params]
    double       *tokens, *targets;
} Values;

static const double *leaf_value(void *user, const Graph *g, const Node *leaf)
{
    (void)g;
    const Values *v = user;
    const char *name = leaf->attr[0].name;
    if (leaf->op == OP_ARG)
        return strcmp(name, "tokens") == 0 ? v->tokens : v->targets;
    for (size_t i = 0; i < v->m->n_params; i++)
        if (strcmp(v->m->param[i].name, name) == 0)
            return v->param[i];
    return NULL;
}

static double loss_of(const Graph *g, Values *v)
{
    Arena arena = {0};
    EvalResult r;
    assert_int_equal(graph_eval(g, leaf_value, v, &arena, &r, NULL), STATUS_OK);
    double loss = r.value[graph_find_output(g, OUTPUT_LOSS, "train")][0];
    arena_free(&arena);
    return loss;
}

static Values random_values(Arena *arena, const Model *x)
{
    uint64_t seed = 3;
    Values v = {.m = x->m, .param = arena_array(arena, double *, x->m->n_params)};
    for (size_t i = 0; i < x->m->n_params; i++) {
        int64_t n;
        assert_true(type_count(x->g, &x->m->param[i].type, &n));
        v.param[i] = arena_array(arena, double, (size_t)n);
        for (int64_t k = 0; k < n; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            v.param[i][k] = (double)(int64_t)(seed >> 33) / 4294967296.0 - 0.25;
        }
    }
    int64_t n = graph_size(x->g, x->B) * graph_size(x->g, x->T);
    v.tokens = arena_array(arena, double, (size_t)n);
    v.targets = arena_array(arena, double, (size_t)n);
    for (int64_t i = 0; i < n; i++) {
        v.tokens[i] = (double)(i * 5 % graph_size(x->g, x->V));
        v.targets[i] = (double)((i * 3 + 1) % graph_size(x->g, x->V));
    }
    return v;
}

static void gradients_of_the_model_match(void **state)
{
    (void)state;
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    Model x = make_model(&arena, &diag, &(Sizes){.batch = 2, .time = 3, .vocabulary = 5, .width = 4, .heads = 2, .layers = 2});
    Values v = random_values(&arena, &x);
    const Graph *plain = x.g;
    assert_true(grad_of_run(x.m, &(RunGradOptions){.with_loss = true}));
    // Through the clean-up passes as well: they must not change what is computed.
    static const char *const names[] = {"fold", "cse", "recompute"};
    PassContext ctx = {.arena = &arena, .diag = &diag};
    const Module *out = passes_run(&ctx, x.m, names, 3, &(PassHooks){.verify = true});
    assert_non_null(out);
    const Graph *g = module_graph(out, "main");
    EvalResult r;
    assert_int_equal(graph_eval(g, leaf_value, &v, &arena, &r, NULL), STATUS_OK);
    for (size_t i = 0; i < x.m->n_params; i++) {
        const char *name = arena_printf(&arena, "param.%s", x.m->param[i].name);
        ValueId d = graph_find_output(g, OUTPUT_GRAD, name);
        int64_t n;
        assert_true(d && type_count(g, &g->node[d].type, &n));
        for (int64_t k = 0; k < n; k += 3) {
            double *p = &v.param[i][k], p0 = *p, h = 1e-5;
            *p = p0 + h;
            double up = loss_of(plain, &v);
            *p = p0 - h;
            double down = loss_of(plain, &v);
            *p = p0;
            double slope = (up - down) / (2 * h);
            if (!(fabs(r.value[d][k] - slope) < 1e-7 * (1 + fabs(slope))))
                fail_msg("%s[%d]: %.12g, the difference quotient %.12g", name, (int)k, r.value[d][k], slope);
        }
    }
    arena_free(&arena);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// A budget makes the backward part compute more again, as little as fits, and nothing changes in value.
static void a_memory_budget_is_kept_by_computing_again(void **state)
{
    (void)state;
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    Model x = make_model(&arena, &diag, &(Sizes){.batch = 2, .time = 3, .vocabulary = 5, .width = 4, .heads = 2, .layers = 3});
    Values v = random_values(&arena, &x);
    assert_true(grad_of_run(x.m, &(RunGradOptions){.with_loss = true}));
    static const char *const names[] = {"fold", "cse", "recompute"};
    // None; what one layer less keeps; what two less keep; nothing. (Lower than they were: an expert's gain is not kept.)
    static const size_t budget[4] = {0, 6000, 4500, 1};
    const Graph *g[4];
    EvalResult r[4];
    for (int i = 0; i < 4; i++) {
        PassContext ctx = {.arena = &arena, .diag = &diag, .max_bytes = budget[i]};
        const Module *out = passes_run(&ctx, x.m, names, 3, &(PassHooks){.verify = true});
        assert_non_null(out);
        g[i] = module_graph(out, "main");
        assert_int_equal(graph_eval(g[i], leaf_value, &v, &arena, &r[i], NULL), STATUS_OK);
        for (size_t k = 0; k < g[i]->n_outputs; k++) {
            ValueId a = g[0]->output[k].value, b = g[i]->output[k].value;
            int64_t n;
            assert_true(type_count(g[0], &g[0]->node[a].type, &n));
            assert_memory_equal(r[0].value[a], r[i].value[b], (size_t)n * sizeof(double));
        }
    }
    print_message("nodes without a budget %zu, then %zu, %zu, %zu\n", g[0]->n_nodes, g[1]->n_nodes, g[2]->n_nodes,
                  g[3]->n_nodes);
    assert_true(g[0]->n_nodes < g[1]->n_nodes && g[1]->n_nodes < g[2]->n_nodes && g[2]->n_nodes < g[3]->n_nodes);
    arena_free(&arena);
}

typedef struct Timer {
    double last;
    bool   print;
} Timer;

static void after_pass(void *user, size_t index, const Pass *pass, const Module *m)
{
    Timer *t = user;
    double now = seconds();
    (void)index;
    if (t->print && pass)
        print_message("    %-12s %7.3f s  %zu nodes\n", pass->name, now - t->last, m->graph[0]->n_nodes);
    t->last = seconds();
}

// Printed, not tested: a shared machine has no reliable clock.
static void time_grows_with_the_graph_only(void **state)
{
    (void)state;
    for (int64_t layers = 6; layers <= 600; layers *= 10) {
        Arena arena = {0};
        Diag diag = diag_make(&arena, NULL);
        Model x = make_model(&arena, &diag, &(Sizes){.batch = 8, .time = 256, .vocabulary = 65, .width = 384, .heads = 6,
                                                     .layers = layers});
        static const char *const names[] = {"causal", "fold", "cse", "train_step", "recompute"};
        PassContext ctx = {.arena = &arena, .diag = &diag, .train = true};
        Timer timer = {seconds(), layers == 600};
        double start = timer.last;
        Module *out = passes_run(&ctx, x.m, names, 5, &(PassHooks){.after = after_pass, .user = &timer});
        assert_non_null(out);
        const Graph *step = module_graph(out, "step");
        print_message("%d layers: %zu nodes, %zu parameters, %.3f s\n", (int)layers, step->n_nodes, x.m->n_params,
                      seconds() - start);
        assert_true(graph_verify(step, &diag));
        if (layers == 6 && getenv("MIXC_PRINT_STEP")) {
            Text text = text_make(&arena);
            graph_print(step, &text);
            fputs(text_str(&text), stdout);
        }
        arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_the_model_match),
        cmocka_unit_test(a_memory_budget_is_kept_by_computing_again),
        cmocka_unit_test(time_grows_with_the_graph_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
