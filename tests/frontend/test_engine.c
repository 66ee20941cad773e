// The engine from C: text to a net, two engines at once, the evaluator and the cpu device on the same steps, and what
// shares memory.
#include "engine.h"

#include "build.h"
#include "schedule.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char model_text[] =
    "mix 1\n"
    "axis B : batch = 5, D = 7, F = 9\n"
    "model M(x: [B,D]) -> y: [B,D] {\n"
    "  param W[D,F] = normal(0.3), b[F] = zeros, V[F,D] = normal(0.3)\n"
    "  y = tanh(x @[D] W + b) @[F] V\n"
    "}\n"
    "data none { source = \"none\" }\n"
    "train M on none {\n"
    "  loss = mean((y - target)*(y - target), over=B*D)\n"
    "  optimizer = adam(lr=1e-2)  batch = 5\n"
    "}\n";

typedef struct Session {
    Arena    arena;
    Sources  sources;
    Diag     diag;
    Module  *module;
    Engine  *engine;
    Net     *net;
    double   loss[6];
    Status   status;
    StatusText why;
    const char *device;
} Session;

static void open_session(Session *s, const char *device)
{
    *s = (Session){.device = device, .status = STATUS_OK};
    s->sources = sources_make(&s->arena);
    s->diag = diag_make(&s->arena, &s->sources);
    s->status = engine_open(
        &(EngineOptions){.device = device, .on_device = {.threads = 1, .cache_dir = ""}, .verify = true},
        &s->engine, &s->why);
    if (s->status == STATUS_OK)
        s->status = engine_load_text(s->engine, &s->arena, &s->diag, &s->sources, "m.mix", model_text,
                                     &(BuildOptions){.mode = MODE_TRAIN, .with_loss = true},
                                     &(LoadOptions){.train = true}, &s->module, &s->net, &s->why);
    if (s->status != STATUS_OK)
        print_error("%s %s\n", s->why.text, s->diag.n_items ? s->diag.item[0].message : "");
    if (s->status == STATUS_OK)
        s->status = net_init(s->net, s->module, 11, &s->why);
}

static void train_some(Session *s)
{
    float x[35], target[35];
    for (int i = 0; i < 35; i++) {
        x[i] = (float)(i % 6) * 0.3f - 0.7f;
        target[i] = (float)(i % 4) * 0.2f;
    }
    for (int step = 0; step < 6 && s->status == STATUS_OK; step++) {
        float loss = NAN;
        s->status = net_write(s->net, net_slot(s->net, BUFFER_INPUT, "x"), x, &s->why);
        if (s->status == STATUS_OK)
            s->status = net_write(s->net, net_slot(s->net, BUFFER_INPUT, "target"), target, &s->why);
        if (s->status == STATUS_OK)
            s->status = net_write_float(s->net, "lr", 1e-2, &s->why);
        if (s->status == STATUS_OK)
            s->status = net_run(s->net, &s->why);
        if (s->status == STATUS_OK)
            s->status = net_read(s->net, net_slot(s->net, BUFFER_OUTPUT, "loss.train"), &loss, &s->why);
        s->loss[step] = (double)loss;
    }
}

static void close_session(Session *s)
{
    net_free(s->net);
    engine_close(s->engine);
    arena_free(&s->arena);
}

static void *whole_session(void *user)
{
    Session *s = user;
    open_session(s, s->device);
    train_some(s);
    return NULL;
}

// Two engines in one process, on two threads, one of them the evaluator.
static void engines_agree_and_share_nothing(void **state)
{
    (void)state;
    Session cpu = {.device = "cpu"}, eval = {.device = "eval"};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, whole_session, &eval), 0);
    whole_session(&cpu);
    pthread_join(thread, NULL);
    assert_string_equal(cpu.why.text, "");
    assert_string_equal(eval.why.text, "");
    for (int step = 0; step < 6; step++)
        assert_true(fabs(cpu.loss[step] - eval.loss[step]) < 1e-5 * fabs(eval.loss[step]));
    assert_true(cpu.loss[5] < cpu.loss[0]);
    assert_true(engine_is_reference(eval.engine));
    assert_null(net_program(eval.net));
    assert_non_null(net_program(cpu.net));
    close_session(&cpu);
    close_session(&eval);
}

static void the_null_device_runs_everything(void **state)
{
    (void)state;
    Session s;
    open_session(&s, "null");
    train_some(&s);
    assert_int_equal(s.status, STATUS_OK);
    assert_true(s.loss[5] == 0);
    close_session(&s);
}

static void slots_have_names_and_shapes(void **state)
{
    (void)state;
    Session s;
    open_session(&s, "eval");
    const Slot *w = net_slot(s.net, BUFFER_PARAM, "M.W");
    assert_non_null(w);
    assert_int_equal(w->n_axes, 2);
    assert_string_equal(w->axis[1], "F");
    assert_int_equal(w->size[1], 9);
    assert_int_equal(w->count, 63);
    assert_null(net_slot(s.net, BUFFER_PARAM, "M.Q"));
    assert_int_equal(net_write(s.net, NULL, NULL, &s.why), STATUS_OK);     // an optional scalar
    float nothing;
    assert_int_not_equal(net_read(s.net, NULL, &nothing, &s.why), STATUS_OK);
    close_session(&s);
}

static void devices_that_are_not_there(void **state)
{
    (void)state;
    Engine *engine = NULL;
    StatusText why = {0};
    assert_int_equal(engine_open(&(EngineOptions){.device = "abacus"}, &engine, &why), STATUS_NO_DEVICE);
    assert_non_null(strstr(why.text, "abacus"));
    assert_null(engine);
}

static void wrong_texts_are_explained(void **state)
{
    (void)state;
    Session s = {0};
    s.sources = sources_make(&s.arena);
    s.diag = diag_make(&s.arena, &s.sources);
    assert_int_equal(engine_open(&(EngineOptions){.device = "null"}, &s.engine, &s.why), STATUS_OK);
    static const char *const wrong[] = {"", "mix 1\nmodel M(x: [Q]) -> y: [Q] { y = x }",
                                        "mix 1\naxis D = 3\nmodel M(x: [D]) -> y: [D] { y = x @[D] x }"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        s.diag = diag_make(&s.arena, &s.sources);
        assert_int_equal(engine_load_text(s.engine, &s.arena, &s.diag, &s.sources, "wrong.mix", wrong[i],
                                          &(BuildOptions){.mode = MODE_EVAL}, &(LoadOptions){0}, &s.module, &s.net,
                                          &(StatusText){0}),
                         STATUS_BAD_MODEL);
        assert_true(s.diag.n_errors > 0);
        assert_null(s.net);
    }
    close_session(&s);
}

static void budgets_are_kept(void **state)
{
    (void)state;
    Session s = {0};
    s.sources = sources_make(&s.arena);
    s.diag = diag_make(&s.arena, &s.sources);
    uint32_t file = sources_add(&s.sources, "m.mix", model_text, sizeof model_text - 1);
    const Ast *ast = ast_parse(&s.arena, &s.diag, &s.sources, file);
    s.module = build_module(&s.arena, &s.diag, &s.sources, ast, &(BuildOptions){.mode = MODE_TRAIN, .with_loss = true});
    assert_int_equal(engine_open(&(EngineOptions){.device = "null", .max_bytes = 1000}, &s.engine, &s.why), STATUS_OK);
    assert_int_equal(engine_load(s.engine, &s.arena, &s.diag, s.module, &(LoadOptions){.train = true}, &s.net, &s.why),
                     STATUS_OVER_BUDGET);
    assert_null(s.net);
    close_session(&s);
}

static void schedules_have_their_shapes(void **state)
{
    (void)state;
    TrainSpec t = {.schedule = SCHEDULE_COSINE, .warmup = 10, .steps = 110, .start = 0, .floor = 0.1};
    assert_true(fabs(schedule_factor(&t, 1) - 0.1) < 1e-12);
    assert_true(schedule_factor(&t, 10) == 1);
    assert_true(fabs(schedule_factor(&t, 60) - 0.55) < 1e-12);
    assert_true(fabs(schedule_factor(&t, 110) - 0.1) < 1e-12);
    assert_true(fabs(schedule_factor(&t, 500) - 0.1) < 1e-12);
    t.schedule = SCHEDULE_LINEAR;
    assert_true(fabs(schedule_factor(&t, 60) - 0.55) < 1e-12);
    t.schedule = SCHEDULE_CONSTANT;
    assert_true(schedule_factor(&t, 60) == 1);
    t.schedule = SCHEDULE_RSQRT;
    assert_true(fabs(schedule_factor(&t, 40) - 0.5) < 1e-12);
    t.warmup = 0;
    assert_true(fabs(schedule_factor(&t, 4) - 0.5) < 1e-12);
    t = (TrainSpec){.schedule = SCHEDULE_LINEAR, .warmup = 4, .start = 0.2, .steps = 4, .floor = 0};
    assert_true(fabs(schedule_factor(&t, 1) - 0.4) < 1e-12);
    assert_true(schedule_factor(&t, 5) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engines_agree_and_share_nothing), cmocka_unit_test(the_null_device_runs_everything),
        cmocka_unit_test(slots_have_names_and_shapes),     cmocka_unit_test(devices_that_are_not_there),
        cmocka_unit_test(wrong_texts_are_explained),       cmocka_unit_test(budgets_are_kept),
        cmocka_unit_test(schedules_have_their_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
