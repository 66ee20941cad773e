// libmixc, through its header and its shared library alone: a model learns, is saved, evaluated and sampled; two models
// in two threads; every misuse has a sentence.
#include "mixc.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char model[] =
    "mix 1\n"
    "axis B : batch in 1..64, T : time in 1..16, V = 7, D = 8\n"
    "model Next(tokens: int[B,T]) -> logits: [B,T,V] causal over T {\n"
    "  param wte[V,D], w[D,V]\n"
    "  logits = tanh(wte[V = tokens]) @[D] w\n"
    "}\n"
    "data text { source = \"text.txt\"  tokens = chars  windows = next(T) }\n"
    "train Next on text { loss = cross_entropy(logits, targets, over=V)  optimizer = adam(lr=0.05)  batch = 4\n"
    "  schedule = constant(steps=100) }\n"
    "generate Next { sampler = greedy  max_tokens = 8 }\n";

static const char *const bindings[] = {"T=6", NULL};

static MixcModel *open_as(MixcMode mode)
{
    MixcError error;
    MixcModel *m = mixc_open_text("next.mix", model, &(MixcOptions){.mode = mode, .bindings = bindings, .threads = 1}, &error);
    if (!m)
        fprintf(stderr, "%s\n", error.text);
    assert_non_null(m);
    assert_int_equal(error.status, MIXC_OK);
    assert_string_equal(mixc_warnings(m), "");
    return m;
}

// Token n + 1 follows token n: learnt in a few steps.
static double train(MixcModel *m, int steps)
{
    int32_t tokens[4][6], targets[4][6];
    float loss = 0;
    for (int b = 0; b < 4; b++)
        for (int t = 0; t < 6; t++) {
            tokens[b][t] = (b + t) % 7;
            targets[b][t] = (b + t + 1) % 7;
        }
    assert_int_equal(mixc_write(m, mixc_find(m, MIXC_INPUT, "tokens"), tokens, sizeof tokens, NULL), MIXC_OK);
    assert_int_equal(mixc_write(m, mixc_find(m, MIXC_INPUT, "targets"), targets, sizeof targets, NULL), MIXC_OK);
    for (int i = 0; i < steps; i++)
        assert_int_equal(mixc_step(m, &loss, NULL), MIXC_OK);
    return (double)loss;
}

static void learns_saves_and_samples(void **state)
{
    (void)state;
    char path[] = "/tmp/mixc-api-XXXXXX";
    MixcError error;
    close(mkstemp(path));
    MixcModel *m = open_as(MIXC_TRAIN);
    assert_int_equal(mixc_init(m, 3, &error), MIXC_OK);
    const double first = train(m, 1), last = train(m, 60);
    assert_true(first > 1.5 && last < 0.2);
    assert_int_equal(mixc_steps(m), 61);
    assert_int_equal(mixc_save(m, path, &error), MIXC_OK);
    assert_true(mixc_memory(m) > 0);
    assert_non_null(strstr(mixc_source(m, "c"), "void k"));
    assert_non_null(strstr(mixc_source(m, "cuda"), "__global__"));
    assert_null(mixc_source(m, "fortran"));

    MixcModel *g = open_as(MIXC_GENERATE);
    const int32_t prompt[] = {2, 3};
    int32_t out[8];
    assert_int_equal(mixc_load(g, path, &error), MIXC_OK);
    assert_int_equal(mixc_generate(g, prompt, 2, 0, 0, out, 8, &error), MIXC_OK);
    for (int i = 0; i < 8; i++)
        assert_int_equal(out[i], (4 + i) % 7);
    mixc_close(g);

    // evaluation, with weights straight from the training model: results as tensors by name
    MixcModel *e = open_as(MIXC_EVAL);
    const int at = mixc_find(e, MIXC_OUTPUT, "output.logits");
    MixcTensor info;
    assert_int_equal(mixc_copy_weights(m, e, &error), MIXC_OK);
    assert_int_equal(mixc_tensor(e, at, &info, &error), MIXC_OK);
    assert_int_equal(info.n_axes, 3);
    assert_string_equal(info.axis[2], "V");
    assert_int_equal(info.size[0], 4);
    assert_int_equal(info.count, 4 * 6 * 7);
    int32_t tokens[4][6] = {{0}};
    float logits[4][6][7];
    assert_int_equal(mixc_write(e, mixc_find(e, MIXC_INPUT, "tokens"), tokens, sizeof tokens, NULL), MIXC_OK);
    assert_int_equal(mixc_run(e, &error), MIXC_OK);
    assert_int_equal(mixc_read(e, at, logits, sizeof logits, &error), MIXC_OK);
    for (int v = 0; v < 7; v++)
        assert_true(v == 1 || logits[0][0][v] < logits[0][0][1]);

    // going on from the file gives the same bits as going on at once
    MixcModel *again = open_as(MIXC_TRAIN);
    assert_int_equal(mixc_load(again, path, &error), MIXC_OK);
    assert_int_equal(mixc_steps(again), 61);
    assert_true(train(again, 5) == train(m, 5));
    mixc_close(again);
    mixc_close(e);
    mixc_close(m);
    remove(path);
}

static void misuse_is_explained(void **state)
{
    (void)state;
    MixcError error;
    int32_t number[24] = {0};
    assert_null(mixc_open("no-such-file.mix", NULL, &error));
    assert_int_equal(error.status, MIXC_IO);
    assert_non_null(strstr(error.text, "no-such-file.mix"));
    assert_null(mixc_open_text("bad.mix", "mix 1\nmodel M(x: [D]) -> y: [D] { y = x + z }\n", NULL, &error));
    assert_int_equal(error.status, MIXC_BAD_MODEL);
    assert_non_null(strstr(error.text, "bad.mix:2"));
    assert_null(mixc_open_text("next.mix", model, &(MixcOptions){.device = "abacus"}, &error));
    assert_int_equal(error.status, MIXC_NO_DEVICE);
    assert_null(mixc_open_text("next.mix", model, &(MixcOptions){.bindings = (const char *const[]){"T", NULL}}, &error));
    assert_int_equal(error.status, MIXC_BAD_USAGE);
    assert_null(mixc_open_text("next.mix", model, &(MixcOptions){.bindings = (const char *const[]){"Q=3", NULL}}, &error));
    assert_int_equal(error.status, MIXC_BAD_USAGE);
    assert_non_null(strstr(error.text, "`Q"));
    assert_null(mixc_open_text("next.mix", model, &(MixcOptions){.bindings = bindings, .max_bytes = 64}, &error));
    assert_int_equal(error.status, MIXC_OVER_BUDGET);

    MixcModel *m = open_as(MIXC_EVAL);
    const int tokens = mixc_find(m, MIXC_INPUT, "tokens");
    assert_int_equal(mixc_find(m, MIXC_PARAM, "tokens"), -1);
    assert_int_equal(mixc_write(m, -1, number, 4, &error), MIXC_BAD_USAGE);
    assert_int_equal(mixc_write(m, tokens, number, 8, &error), MIXC_BAD_USAGE);
    assert_non_null(strstr(error.text, "24 elements"));
    number[5] = 7;
    assert_int_equal(mixc_write(m, tokens, number, sizeof number, &error), MIXC_BAD_MODEL);
    assert_non_null(strstr(error.text, "axis `V`"));
    assert_int_equal(mixc_step(m, NULL, &error), MIXC_BAD_USAGE);
    assert_int_equal(mixc_load(m, "no-such-file", &error), MIXC_IO);
    assert_true(strlen(mixc_status_text(MIXC_DAMAGED)) > 0 && strlen(mixc_version()) > 0);
    mixc_close(m);
    mixc_close(NULL);
}

typedef struct Worker { double loss; uint64_t seed; } Worker;

static void *work(void *user)
{
    Worker *w = user;
    MixcModel *m = open_as(MIXC_TRAIN);
    mixc_init(m, w->seed, NULL);
    w->loss = train(m, 20);
    mixc_close(m);
    return NULL;
}

static void models_in_two_threads(void **state)
{
    (void)state;
    Worker alone[2] = {{0, 1}, {0, 2}}, together[2] = {{0, 1}, {0, 2}};
    pthread_t thread[2];
    for (int i = 0; i < 2; i++)
        work(&alone[i]);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, work, &together[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    assert_true(alone[0].loss != alone[1].loss);
    for (int i = 0; i < 2; i++)
        assert_true(alone[i].loss == together[i].loss);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learns_saves_and_samples),
        cmocka_unit_test(misuse_is_explained),
        cmocka_unit_test(models_in_two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
