// First values on a device are those of the evaluator, rounded once: every initialiser, on one thread and on three, over
// more elements than are handed over at a time, and for bf16.
#include "build_run.h"
#include "engine.h"

#include <stdlib.h>

typedef struct InitCase { const char *name, *text, *param; } InitCase;

// Every row of inits.def has its case; a hash makes states.
static const InitCase init_case[] = {
    {"normal", "normal(0.3)", "A,B"},
    {"uniform", "uniform(-1, 3)", "A,B"},
    {"truncated", "truncated(0.5)", "A,B"},
    {"zeros", "zeros", "A,B"},
    {"ones", "ones", "A,B"},
    {"fill", "fill(0.1)", "A,B"},
    {"orthogonal", "orthogonal(2)", "R,S"},
    {"blocknormal", "blocknormal", "A,B"},
    {"renorm", "renorm(normal(1), over=A)", "A,B"},
    {"unit", "unit(A)", "A,B"},
    {"ramp", "ramp(B)", "A,B"},
    {"loguniform", "loguniform(0.001, 0.1)", "A,B"},
    {"balanced_hash", "balanced_hash(S, seed=7)", "A"},
    {"frequency_hash", "frequency_hash(S)", "A"},
    {NULL, "0.5 * normal(1) + uniform(0.25)", "B,A"},        // an expression
};
enum { N_CASES = sizeof init_case / sizeof *init_case };

static const char *const row_name[] = {
#define INIT(name, min, max, named, build, summary) name,
#include "inits.def"
#undef INIT
};

static const double *seed_leaf(void *user, const Graph *g, const Node *leaf)
{
    static const double zero = 0;
    static double even[1 << 20];            // of frequency_hash when nothing was counted
    int64_t n = 0;
    if (!strncmp(leaf->attr[0].name, INIT_FREQUENCY_HASH, strlen(INIT_FREQUENCY_HASH))) {
        assert_true(type_count(g, &leaf->type, &n) && n <= 1 << 20);
        for (int64_t i = 0; i < n; i++)
            even[i] = (double)(i % atoll(leaf->attr[0].name + strlen(INIT_FREQUENCY_HASH)));
        return even;
    }
    return strcmp(leaf->attr[0].name, "seed") == 0 ? user : &zero;
}

// What the evaluator says, as f32 or int32.
static void *want_of(Run *r, double seed, int64_t *out_count)
{
    const Graph *g = module_graph(r->module, "init");
    const Output *o = &g->output[0];
    EvalResult result;
    assert_int_equal(graph_eval(g, seed_leaf, &seed, &r->arena, &result, NULL), STATUS_OK);
    assert_true(type_count(g, &g->node[o->value].type, out_count));
    float *want = malloc((size_t)*out_count * 4);
    assert_non_null(want);
    for (int64_t i = 0; i < *out_count; i++)
        if (g->node[o->value].type.dtype == DTYPE_I32)
            ((int32_t *)(void *)want)[i] = (int32_t)result.value[o->value][i];
        else
            want[i] = (float)result.value[o->value][i];
    return want;
}

static void compare(const InitCase *c, const char *device, int threads)
{
    char text[600];
    bool state = c->name && strstr(c->name, "_hash");
    snprintf(text, sizeof text,
             "mix 1\naxis A = 701, B = 499, R = 33, S = 20\n"
             "model M(x: [%s]) -> y: [%s] {\n  %s p%s[%s] = %s\n  y = %s\n}\n", c->param, c->param,
             state ? "state" : "param", state ? ": int" : "", c->param, c->text, state ? "select(p < 3, x, 2*x)" : "x * p");
    Run r;
    build_text(&r, text, &(BuildOptions){.mode = MODE_EVAL});
    if (!r.module)
        fail_msg("%s: %s", c->text, messages(&r));
    Engine *engine;
    Net *net;
    StatusText why = {0};
    int64_t count = 0;
    EngineOptions options = {.device = device, .on_device = {.threads = threads, .cache_dir = ""}};
    assert_int_equal(engine_open(&options, &engine, &why), STATUS_OK);
    assert_int_equal(engine_load(engine, &r.arena, &r.diag, r.module, &(LoadOptions){.train = false}, &net, &why), STATUS_OK);
    assert_int_equal(net_init(net, r.module, 5, &why), STATUS_OK);
    void *want = want_of(&r, 5, &count), *got = malloc((size_t)count * 4);
    const Slot *slot = net_slot(net, state ? BUFFER_STATE : BUFFER_PARAM, "M.p");
    assert_true(got && slot && slot->count == count);
    assert_int_equal(net_read(net, slot, got, &why), STATUS_OK);
    if (memcmp(got, want, (size_t)count * 4) != 0)
        fail_msg("%s on %s with %d threads: not the evaluator's bits", c->text, device, threads);
    free(want);
    free(got);
    net_free(net);
    engine_close(engine);
    finish(&r);
}

static void every_initialiser_has_the_evaluators_bits(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++)
        compare(&init_case[i], "null", 1);
}

static void threads_change_nothing(void **state)
{
    (void)state;
    compare(&init_case[2], "cpu", 1);
    compare(&init_case[2], "cpu", 3);
    compare(&init_case[2], "eval", 1);
}

static void every_row_has_a_case(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof row_name / sizeof *row_name; i++) {
        size_t k = 0;
        while (k < N_CASES && (!init_case[k].name || strcmp(init_case[k].name, row_name[i]) != 0))
            k++;
        if (k == N_CASES)
            fail_msg("the initialiser `%s` has no case here", row_name[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_initialiser_has_the_evaluators_bits),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(every_row_has_a_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
