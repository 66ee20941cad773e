// The optimiser step against formulas written here, one number at a time, from the papers' equations.
//
// The model is loss = sum over i of a[i]/2 (w[i] - t[i])^2, so the gradient is a (w - t).
#include "eval.h"
#include "pass.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { N = 3, STEPS = 4, MAX_STATES = 16 };

static const double a0[N] = {1, 2, 0.5}, t0[N] = {0.3, -1, 2}, w0[N] = {1, 0.25, -0.5};

typedef struct Run {                        // the numbers of all leaves between runs of the step graph
    size_t      n;
    const char *name[MAX_STATES];
    double      value[MAX_STATES][N * N];
} Run;

static double *slot(Run *run, const char *name)
{
    for (size_t i = 0; i < run->n; i++)
        if (strcmp(run->name[i], name) == 0)
            return run->value[i];
    assert_true(run->n < MAX_STATES);
    run->name[run->n] = name;
    return memset(run->value[run->n++], 0, sizeof run->value[0]);       // states start at zero
}

static const double *leaf_value(void *user, const Graph *g, const Node *leaf)
{
    (void)g;
    return slot(user, leaf->attr[0].name);
}

static const char model[] =
    "graph @main\naxis D = 3\n{\n"
    "  %1 = arg \"a\" : f32[D]  %2 = arg \"t\" : f32[D]  %3.w = param \"w\" : f32[D]\n"
    "  %4 = sub %3, %2  %5 = mul %4, %4  %6 = mul %5, %1  %7 = const {value = 0.5} : f32[]  %8 = mul %6, %7\n"
    "  %9 = reduce %8 {f = sum, over = [D]}\n  loss \"train\" = %9\n}\n";

static const Module *make_step(Arena *arena, Diag *diag, const char *text, const TrainSpec *t, const Param *param)
{
    Sources sources = sources_make(arena);
    uint32_t file = sources_add(&sources, "model", text, strlen(text));
    Module *m = module_make(arena, diag);
    Graph *g = graph_parse(arena, diag, &sources, file);
    if (!g)
        fail_msg("%s", diag->item[0].message);
    module_add_graph(m, g);
    m->has_train = true;
    m->train = *t;
    m->param = arena_new(arena, Param);
    *m->param = *param;
    m->n_params = 1;
    const char *name = "train_step";
    PassContext ctx = {.arena = arena, .diag = diag, .train = true};
    PassHooks hooks = {.verify = true};
    Module *out = passes_run(&ctx, m, &name, 1, &hooks);
    if (!out)
        fail_msg("%s", diag->item[0].message);
    assert_null(module_graph(out, "main"));
    return out;
}

// Runs the step graph once: every `next` output becomes the leaf's value.
static void run_once(Arena *arena, const Graph *step, Run *run)
{
    EvalResult r;
    StatusText why = {{0}};
    if (graph_eval(step, leaf_value, run, arena, &r, &why) != STATUS_OK)
        fail_msg("%s", why.text);
    for (size_t i = 0; i < step->n_outputs; i++) {
        const Output *o = &step->output[i];
        int64_t n;
        assert_true(type_count(step, &step->node[o->value].type, &n));
        if (o->role == OUTPUT_NEXT)
            memcpy(slot(run, o->name), r.value[o->value], (size_t)n * sizeof(double));
        if (o->role == OUTPUT_WATCH)
            slot(run, o->name)[0] = r.value[o->value][0];
    }
}

static const Param plain = {.name = "w", .role = PARAM_TRAINED, .lr = NAN, .decay = NAN, .trust = NAN};

// One optimiser written out, on whole vectors because clipping and LAMB need norms.
typedef struct Reference {
    double w[N], m[N], v[N], ema[N], ema_weight;
} Reference;

static double norm(const double *x)
{
    double sum = 0;
    for (int i = 0; i < N; i++)
        sum += x[i] * x[i];
    return sqrt(sum);
}

static double reference_step(Reference *r, const TrainSpec *t, double lr, double decay, double trust, int step)
{
    double g[N], u[N];
    for (int i = 0; i < N; i++)
        g[i] = a0[i] * (r->w[i] - t0[i]);
    double total = norm(g), factor = t->clip > 0 && total > t->clip ? t->clip / total : 1;
    for (int i = 0; i < N; i++) {
        g[i] *= factor;
        if (t->optimizer == OPTIMIZER_SGD) {
            g[i] += decay * r->w[i];
            r->m[i] = t->momentum * r->m[i] + g[i];
            u[i] = t->momentum == 0 ? g[i] : t->nesterov != 0 ? g[i] + t->momentum * r->m[i] : r->m[i];
        } else {
            r->m[i] = t->beta1 * r->m[i] + (1 - t->beta1) * g[i];
            r->v[i] = t->beta2 * r->v[i] + (1 - t->beta2) * g[i] * g[i];
            double m = r->m[i], v = r->v[i];
            if (t->correct != 0) {
                m /= 1 - pow(t->beta1, step);
                v /= 1 - pow(t->beta2, step);
            }
            u[i] = m / (sqrt(v) + t->eps);
        }
        u[i] += t->optimizer == OPTIMIZER_SGD ? 0 : decay * r->w[i];
    }
    double ratio = 1;
    if (t->optimizer == OPTIMIZER_LAMB && trust != 0 && norm(r->w) > 0 && norm(u) > 0)
        ratio = norm(r->w) / norm(u);
    // The running average with weights ema^(steps ago), normalised.
    r->ema_weight = t->ema * r->ema_weight + 1;
    for (int i = 0; i < N; i++) {
        r->w[i] -= lr * ratio * u[i];
        r->ema[i] += (r->w[i] - r->ema[i]) / r->ema_weight;
    }
    return total;
}

static void check(const TrainSpec *t, const Param *param)
{
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    const Graph *step = module_graph(make_step(&arena, &diag, model, t, param), "step");
    assert_non_null(step);
    Run *run = arena_new(&arena, Run);
    memcpy(slot(run, "a"), a0, sizeof a0);
    memcpy(slot(run, "t"), t0, sizeof t0);
    memcpy(slot(run, "w"), w0, sizeof w0);
    Reference ref = {.w = {w0[0], w0[1], w0[2]}};
    for (int i = 1; i <= STEPS; i++) {
        double lr = t->lr * (1 - 0.1 * i), share = isnan(param->lr) ? 1 : param->lr / t->lr;
        double decay = isnan(param->decay) ? t->decay : param->decay, trust = isnan(param->trust) ? t->trust : param->trust;
        slot(run, "lr")[0] = lr;
        run_once(&arena, step, run);
        double total = reference_step(&ref, t, lr * share, decay, trust, i);
        assert_true(fabs(slot(run, "grad_norm")[0] - total) < 1e-12 * total);
        for (int k = 0; k < N; k++) {
            assert_true(fabs(slot(run, "w")[k] - ref.w[k]) < 1e-12);
            if (t->ema > 0)
                assert_true(fabs(slot(run, "ema/w")[k] - ref.ema[k]) < 1e-12);
        }
    }
    arena_free(&arena);
}

static const TrainSpec adam = {.optimizer = OPTIMIZER_ADAM, .lr = 0.1, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-3,
                               .correct = 1, .grad_accum = 1};

static void sgd(void **state)
{
    (void)state;
    TrainSpec t = {.optimizer = OPTIMIZER_SGD, .lr = 0.1, .grad_accum = 1};
    check(&t, &plain);
    t.momentum = 0.9;
    check(&t, &plain);
    t.nesterov = 1;
    check(&t, &plain);
    t.decay = 0.05;
    t.clip = 0.5;
    check(&t, &plain);
}

static void adamw(void **state)
{
    (void)state;
    TrainSpec t = adam;
    check(&t, &plain);
    t.decay = 0.1;
    check(&t, &plain);
    t.clip = 1;
    check(&t, &plain);
    t.clip = 100;                           // nothing to clip
    check(&t, &plain);
    t.correct = 0;
    check(&t, &plain);
    t.ema = 0.9;
    check(&t, &plain);
}

static void lamb(void **state)
{
    (void)state;
    TrainSpec t = adam;
    t.optimizer = OPTIMIZER_LAMB;
    t.trust = 1;
    t.decay = 0.01;
    check(&t, &plain);
    Param untrusting = plain;
    untrusting.trust = 0;
    check(&t, &untrusting);
}

static void a_parameter_has_its_own_rate_and_decay(void **state)
{
    (void)state;
    TrainSpec t = adam;
    t.decay = 0.1;
    Param own = plain;
    own.lr = 0.02;
    own.decay = 0;
    check(&t, &own);
}

// Two micro-batches with targets t+d and t-d make the step of their mean: the gradient is linear in t.
static void micro_batches_add_up_to_one_step(void **state)
{
    (void)state;
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    TrainSpec t = adam;
    t.clip = 1;
    t.ema = 0.9;
    t.grad_accum = 2;
    const Graph *step = module_graph(make_step(&arena, &diag, model, &t, &plain), "step");
    Run *run = arena_new(&arena, Run);
    memcpy(slot(run, "a"), a0, sizeof a0);
    memcpy(slot(run, "w"), w0, sizeof w0);
    slot(run, "lr")[0] = t.lr;
    Reference ref = {.w = {w0[0], w0[1], w0[2]}};
    for (int i = 1; i <= STEPS; i++) {
        for (int half = 0; half < 2; half++) {
            double before[N];
            memcpy(before, slot(run, "w"), sizeof before);
            for (int k = 0; k < N; k++)
                slot(run, "t")[k] = t0[k] + (half ? 0.4 : -0.4);
            slot(run, "apply")[0] = half;
            run_once(&arena, step, run);
            if (!half)
                assert_memory_equal(before, slot(run, "w"), sizeof before);
        }
        reference_step(&ref, &t, t.lr, t.decay, 0, i);
        for (int k = 0; k < N; k++) {
            assert_true(fabs(slot(run, "w")[k] - ref.w[k]) < 1e-12);
            assert_true(fabs(slot(run, "ema/w")[k] - ref.ema[k]) < 1e-12);
            assert_true(slot(run, "grad/w")[k] == 0);
        }
    }
    arena_free(&arena);
}

// shape = lower(T, T'): what is above the diagonal gets no gradient, so it stays zero, decay and all.
static void a_lower_parameter_stays_lower(void **state)
{
    (void)state;
    static const char text[] =
        "graph @main\naxis T : time = 3, T' : time = 3 twin T\n{\n"
        "  %1 = param \"w\" : f32[T,T']  %2 = arg \"x\" : f32[T,T']  %3 = sub %1, %2  %4 = mul %3, %3\n"
        "  %5 = reduce %4 {f = sum, over = [T,T']}\n  loss \"train\" = %5\n}\n";
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    Param lower = plain;
    lower.lower_row = 1;
    lower.lower_col = 2;
    TrainSpec t = adam;
    t.decay = 0.1;
    const Graph *step = module_graph(make_step(&arena, &diag, text, &t, &lower), "step");
    Run *run = arena_new(&arena, Run);
    slot(run, "lr")[0] = 0.1;
    for (int i = 0; i < 9; i++) {
        slot(run, "x")[i] = i + 1;
        slot(run, "w")[i] = i % 3 <= i / 3 ? 0.5 : 0;
    }
    for (int s = 0; s < 3; s++)
        run_once(&arena, step, run);
    double sum = 0;
    for (int i = 0; i < 9; i++) {
        assert_true((slot(run, "w")[i] == 0) == (i % 3 > i / 3));
        sum += i % 3 <= i / 3;
    }
    assert_true(slot(run, "grad_norm")[0] > 0 && sum == 6);
    arena_free(&arena);
}

static void an_own_rate_needs_a_rate_to_scale(void **state)
{
    (void)state;
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    Sources sources = sources_make(&arena);
    Module *m = module_make(&arena, &diag);
    module_add_graph(m, graph_parse(&arena, &diag, &sources, sources_add(&sources, "model", model, sizeof model - 1)));
    Param own = plain;
    own.lr = 0.1;
    m->param = &own;
    m->n_params = 1;
    m->has_train = true;
    const char *name = "train_step";
    PassContext ctx = {.arena = &arena, .diag = &diag, .train = true};
    assert_null(passes_run(&ctx, m, &name, 1, NULL));
    assert_string_equal(diag.item[0].message, "`w` has a learning rate of its own, and the optimiser's is 0");
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sgd),
        cmocka_unit_test(adamw),
        cmocka_unit_test(lamb),
        cmocka_unit_test(a_parameter_has_its_own_rate_and_decay),
        cmocka_unit_test(micro_batches_add_up_to_one_step),
        cmocka_unit_test(a_lower_parameter_stays_lower),
        cmocka_unit_test(an_own_rate_needs_a_rate_to_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
