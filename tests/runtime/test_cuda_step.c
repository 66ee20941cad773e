// A training step on the cuda device, proved by counting on a GPU that computes nothing: the host writes inputs, launches one
// graph, waits, and reads scalars. No call of the driver lies between.
#include "build.h"
#include "engine.h"

#include "cuda_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MOST_BINDINGS = 8, STEPS = 3 };

typedef struct Case {
    const char *file;
    const char *bind[MOST_BINDINGS];        // NAME=VALUE
} Case;

static const Case cases[] = {
    {"gpt.mix", {"V=30", "T=8", "B=2"}},       {"m2gpt.mix", {"V=30", "T=16", "L=1", "B=2"}},
    {"moeut.mix", {"V=30", "T=8", "B=2"}},     {"smlp.mix", {"V=30", "T=8", "B=2"}},
    {"widenet.mix", {"B=2"}},                  {"switch.mix", {"V=30", "T=8", "B=2"}},
    {"hash.mix", {"V=30", "T=8", "B=2"}},
};

typedef struct Step {
    Fake    fake;
    Arena   arena;
    Sources sources;
    Diag    diag;
    Engine *engine;
    Module *module;
    Net    *net;
} Step;

static char *read_model(Arena *arena, const char *file)
{
    FILE *f = fopen(arena_printf(arena, "%s/../models/%s", MIXC_TESTS, file), "rb");
    if (!f)
        fail_msg("no model %s", file);
    char *text = arena_alloc(arena, 1 << 16, 1);
    text[fread(text, 1, (1 << 16) - 1, f)] = 0;
    fclose(f);
    return text;
}

static Status load_step(Step *s, const Case *c, StatusText *why)
{
    Binding binding[MOST_BINDINGS];
    size_t n = 0;
    for (; n < MOST_BINDINGS && c->bind[n]; n++) {
        char *name = arena_printf(&s->arena, "%s", c->bind[n]), *equals = strchr(name, '=');
        *equals = 0;
        binding[n] = (Binding){.name = name, .value = equals + 1};
    }
    const BuildOptions build = {.mode = MODE_TRAIN, .with_loss = true, .binding = binding, .n_bindings = n};
    const EngineOptions options = {.device = "cuda", .on_device = {.threads = 1, .cache_dir = "", .driver = &s->fake.driver,
                                                                   .nvrtc = &s->fake.nvrtc}};
    s->sources = sources_make(&s->arena);
    s->diag = diag_make(&s->arena, &s->sources);
    Status status = engine_open(&options, &s->engine, why);
    if (status == STATUS_OK)
        status = engine_load_text(s->engine, &s->arena, &s->diag, &s->sources, c->file, read_model(&s->arena, c->file), &build,
                                  &(LoadOptions){.train = true}, &s->module, &s->net, why);
    return status;
}

static void close_step(Step *s)
{
    net_free(s->net);
    engine_close(s->engine);
    fake_close(&s->fake);
    arena_free(&s->arena);
}

static int total_less(const Fake *f, const int *before, FakeCall which)
{
    return f->n[which] - before[which];
}

static void run_steps(Step *s, const char *file)
{
    Fake *f = &s->fake;
    StatusText why = {0};
    const Slot *slot = NULL;
    const size_t n_slots = net_slots(s->net, &slot);
    const Program *p = net_program(s->net);
    const int launches = f->n[CALL_launch];
    size_t n_launches = 0;
    for (size_t i = 0; i < p->n_launches; i++)
        n_launches += p->launch[i].cuda_blocks > 0;     // others have nothing to do on a GPU
    if ((size_t)launches != n_launches || f->n[CALL_exec_make] != 1 || f->n[CALL_memory_take] != 1)
        fail_msg("%s: %d of %zu launches captured in %d graphs, %d pieces of memory", file, launches, n_launches, f->n[CALL_exec_make],
                 f->n[CALL_memory_take]);
    for (int step = 0; step < STEPS; step++) {
        int before[CALLS];
        float value = 0;
        for (size_t i = 0; i < n_slots; i++) {
            if (slot[i].kind != BUFFER_INPUT)
                continue;
            void *zeros = calloc((size_t)slot[i].count + 1, 4);
            assert_int_equal(net_write(s->net, &slot[i], zeros, &why), STATUS_OK);
            free(zeros);
        }
        const int copies = f->n[CALL_copy_out];
        memcpy(before, f->n, sizeof before);
        const int total = f->total;
        assert_int_equal(net_run(s->net, &why), STATUS_OK);
        if (total_less(f, before, CALL_exec_launch) != 1 || total_less(f, before, CALL_stream_wait) != 1
            || total_less(f, before, CALL_context_use) != 1 || f->total - total != 3)
            fail_msg("%s: a step is %d calls of the driver, %d of them launches of a graph", file, f->total - total,
                     total_less(f, before, CALL_exec_launch));
        assert_int_equal(f->n[CALL_copy_out], copies);
        assert_int_equal(net_read(s->net, net_slot(s->net, BUFFER_OUTPUT, "loss.train"), &value, &why), STATUS_OK);
    }
    assert_int_equal(f->n[CALL_launch], launches);
    LoadStats stats;
    net_stats(s->net, &stats);
    assert_int_equal(stats.graph_launches, STEPS);
    print_message("%-14s %4d launches in the graph, 1 launch a step, 0 reads in it\n", file, launches);
}

static void test_a_step_is_one_launch(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        Step s;
        StatusText why = {0};
        memset(&s, 0, sizeof s);
        assert_true(fake_open(&s.fake, true));
        if (load_step(&s, &cases[k], &why) != STATUS_OK)
            fail_msg("%s: %s %s", cases[k].file, why.text, s.diag.n_items ? s.diag.item[0].message : "");
        run_steps(&s, cases[k].file);
        close_step(&s);
    }
}

// A GPU that is too small is told before anything is compiled or taken, with tensors and lines of the model.
static void test_a_model_that_does_not_fit(void **state)
{
    (void)state;
    Step s;
    StatusText why = {0};
    memset(&s, 0, sizeof s);
    assert_true(fake_open(&s.fake, true));
    s.fake.n_free = 1 << 20;
    assert_int_equal(load_step(&s, &cases[0], &why), STATUS_OUT_OF_MEMORY);
    assert_non_null(strstr(why.text, "MiB and the simulated GPU has 1.0 MiB free of 2.0; the largest: '"));
    assert_non_null(strstr(why.text, "(gpt.mix:"));
    assert_non_null(strstr(why.text, "take a smaller batch, or --max-mem 1M"));
    assert_int_equal(s.fake.n[CALL_memory_take] + s.fake.n_compiled + s.fake.n[CALL_module_load], 0);
    print_message("%s\n", why.text);
    close_step(&s);
}

// Nobody names a device: a GPU that can be used is taken, and one that cannot be is no reason to stop.
static void test_the_best_device_is_taken(void **state)
{
    (void)state;
    for (int usable = 0; usable < 2; usable++) {
        Fake fake;
        Engine *engine = NULL;
        StatusText why = {0};
        memset(&fake, 0, sizeof fake);
        assert_true(fake_open(&fake, true));
        fake.n_gpus = usable;
        const EngineOptions options = {.on_device = {.threads = 1, .cache_dir = "", .driver = &fake.driver, .nvrtc = &fake.nvrtc}};
        assert_int_equal(engine_open(&options, &engine, &why), STATUS_OK);
        assert_string_equal(engine_target(engine)->name, usable ? "cuda" : "cpu");
        assert_int_equal(why.text[0], 0);
        engine_close(engine);
        fake_close(&fake);
    }
}

// With MIXC_CUDA_LINES every line of a kernel is that of the model; without, texts do not change when the model's lines move.
static void test_lines_of_the_model(void **state)
{
    (void)state;
    for (int with_lines = 0; with_lines < 2; with_lines++) {
        Step s;
        StatusText why = {0};
        memset(&s, 0, sizeof s);
        assert_true(fake_open(&s.fake, true));
        s.fake.wanted = " \"gpt.mix\"\nextern \"C\" __global__ void k";
        if (with_lines)
            setenv("MIXC_CUDA_LINES", "1", 1);
        const Status status = load_step(&s, &cases[0], &why);
        unsetenv("MIXC_CUDA_LINES");
        assert_int_equal(status, STATUS_OK);
        assert_int_equal(s.fake.n_wanted > 0, with_lines);
        close_step(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_best_device_is_taken),
        cmocka_unit_test(test_a_step_is_one_launch),
        cmocka_unit_test(test_a_model_that_does_not_fit),
        cmocka_unit_test(test_lines_of_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
