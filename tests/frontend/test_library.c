// Libraries that `mixc build` writes: the bits of the engine, forward, in training and token by token, in instances on threads of
// their own; weights in and out; what instances say of mistakes.
#include "library.h"

#include "batch.h"
#include "generate.h"
#include "schedule.h"
#include "train.h"

#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

// The functions of a library called `lm`.
typedef struct Lm {
    void *handle;
    void *(*create)(int threads, const char **why);
    void (*destroy)(void *);
    const char *(*error)(const void *);
    int (*load)(void *, const char *), (*save)(void *, const char *);
    int (*write_weight)(void *, const char *, const void *, size_t), (*read_weight)(void *, const char *, void *, size_t);
    int (*set_tokens)(void *, const int32_t *), (*run)(void *), (*get_logits)(const void *, float *);
    int (*train_set_tokens)(void *, const int32_t *), (*train_set_targets)(void *, const int32_t *), (*train_step)(void *, float *);
    long long (*steps)(const void *);
    void *(*text_open)(void *);
    void (*text_close)(void *), (*text_reset)(void *);
    long (*text_length)(const void *);
    int (*text_next)(void *, const int32_t *, int, float *);
} Lm;

typedef struct Case {
    Arena    arena;
    Sources  sources;
    Diag     diag;
    Engine  *engine;
    Module  *forward, *step;
    Net     *net, *train;
    char     folder[64];
    Lm       lm;
    StatusText why;
} Case;

static void must(Case *c, bool good)
{
    if (good)
        return;
    Text t = text_make(&c->arena);
    diag_print(&c->diag, &t, false);
    fail_msg("%s %s", c->why.text, text_str(&t));
}

static Module *build(Case *c, const Ast *ast, ModeName mode, const char *rows)
{
    Binding binding[] = {{"B", rows, false}, {"V", "23", false}};
    return build_module(&c->arena, &c->diag, &c->sources, ast,
                        &(BuildOptions){.size = "tiny", .mode = mode, .with_loss = mode == MODE_TRAIN, .binding = binding, .n_bindings = 2});
}

static void find(Case *c, const char *name, void *function)
{
    void *symbol = dlsym(c->lm.handle, arena_printf(&c->arena, "lm_%s", name));
    memcpy(function, &symbol, sizeof symbol);
}

static void open_functions(Case *c, const char *path)
{
    Lm *lm = &c->lm;
    lm->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!lm->handle)
        fail_msg("%s", dlerror());
    find(c, "create", &lm->create);
    find(c, "destroy", &lm->destroy);
    find(c, "error", &lm->error);
    find(c, "load", &lm->load);
    find(c, "save", &lm->save);
    find(c, "write_weight", &lm->write_weight);
    find(c, "read_weight", &lm->read_weight);
    find(c, "set_tokens", &lm->set_tokens);
    find(c, "run", &lm->run);
    find(c, "get_logits", &lm->get_logits);
    find(c, "train_set_tokens", &lm->train_set_tokens);
    find(c, "train_set_targets", &lm->train_set_targets);
    find(c, "train_step", &lm->train_step);
    find(c, "steps", &lm->steps);
    find(c, "text_open", &lm->text_open);
    find(c, "text_close", &lm->text_close);
    find(c, "text_reset", &lm->text_reset);
    find(c, "text_length", &lm->text_length);
    find(c, "text_next", &lm->text_next);
}

// The model `name` of the zoo as a library, with its initial values, and beside it on the engine.
static void open_case(Case *c, const char *name, bool train, bool bf16)
{
    *c = (Case){0};
    c->sources = sources_make(&c->arena);
    c->diag = diag_make(&c->arena, &c->sources);
    EngineOptions options = {.device = "cpu", .on_device = {.threads = 2}, .bf16 = bf16};
    must(c, engine_open(&options, &c->engine, &c->why) == STATUS_OK);
    const uint32_t file = sources_read(&c->sources, arena_printf(&c->arena, "%s/../models/%s.mix", MIXC_TESTS, name));
    const Ast *ast = ast_parse(&c->arena, &c->diag, &c->sources, file);
    c->forward = build(c, ast, MODE_EVAL, "2");
    c->step = train ? build(c, ast, MODE_TRAIN, "3") : NULL;
    must(c, c->forward && (c->step || !train));
    must(c, engine_load(c->engine, &c->arena, &c->diag, c->forward, &(LoadOptions){0}, &c->net, &c->why) == STATUS_OK);
    must(c, net_init(c->net, c->forward, 5, &c->why) == STATUS_OK);
    if (train) {
        must(c, engine_load(c->engine, &c->arena, &c->diag, c->step, &(LoadOptions){.train = true}, &c->train, &c->why) == STATUS_OK);
        must(c, net_init(c->train, c->step, 5, &c->why) == STATUS_OK);
    }
    strcpy(c->folder, "/tmp/mixc-library-XXXXXX");
    assert_non_null(mkdtemp(c->folder));
    LibraryDone done;
    const LibraryJob job = {.engine = c->engine, .forward = c->forward, .step = c->step, .model = "LM", .file = name,
                            .folder = c->folder, .name = "lm", .initial = true, .seed = 5, .with_sources = true};
    must(c, library_write(&c->arena, &c->diag, &job, &done, &c->why) == STATUS_OK);
    open_functions(c, done.shared);
}

// The same in mode generate, with a window of that many tokens: a library that goes token by token, and a net that can.
static void open_texts(Case *c, const char *name, const char *rows, const char *window)
{
    *c = (Case){0};
    c->sources = sources_make(&c->arena);
    c->diag = diag_make(&c->arena, &c->sources);
    must(c, engine_open(&(EngineOptions){.device = "cpu", .on_device = {.threads = 2}}, &c->engine, &c->why) == STATUS_OK);
    const uint32_t file = sources_read(&c->sources, arena_printf(&c->arena, "%s/../models/%s.mix", MIXC_TESTS, name));
    Binding binding[] = {{"B", rows, false}, {"V", "23", false}, {"N", window, false}};
    const BuildOptions options = {.size = "tiny", .mode = MODE_GENERATE, .binding = binding, .n_bindings = 3};
    c->forward = build_module(&c->arena, &c->diag, &c->sources, ast_parse(&c->arena, &c->diag, &c->sources, file), &options);
    must(c, c->forward != NULL);
    must(c, engine_load(c->engine, &c->arena, &c->diag, c->forward, &(LoadOptions){.generate = true}, &c->net, &c->why) == STATUS_OK);
    must(c, net_init(c->net, c->forward, 5, &c->why) == STATUS_OK);
    strcpy(c->folder, "/tmp/mixc-library-XXXXXX");
    assert_non_null(mkdtemp(c->folder));
    LibraryDone done;
    const LibraryJob job = {.engine = c->engine, .forward = c->forward, .by_steps = true, .model = "LM", .file = name,
                            .folder = c->folder, .name = "lm", .initial = true, .seed = 5};
    must(c, library_write(&c->arena, &c->diag, &job, &done, &c->why) == STATUS_OK);
    assert_true(done.has_texts);
    open_functions(c, done.shared);
}

static void close_case(Case *c)
{
    dlclose(c->lm.handle);
    net_free(c->net);
    net_free(c->train);
    engine_close(c->engine);
    char *const words[] = {"rm", "-rf", c->folder, NULL};
    arena_free(&c->arena);
    const pid_t child = fork();
    if (child == 0)
        execvp(words[0], words);
}

static int32_t *numbers(Case *c, const Slot *slot, int salt)
{
    int32_t *x = arena_array(&c->arena, int32_t, (size_t)slot->count);
    for (int64_t i = 0; i < slot->count; i++)
        x[i] = (int32_t)((i * 7 + i / 5 + salt) % 23);
    return x;
}

static const Slot *slot_of(Net *net, BufferKind kind, const char *name)
{
    const Slot *slot = net_slot(net, kind, name);
    assert_non_null(slot);
    return slot;
}

static float *engine_logits(Case *c, int salt, size_t *out_bytes)
{
    const Slot *tokens = slot_of(c->net, BUFFER_INPUT, "tokens"), *logits = slot_of(c->net, BUFFER_OUTPUT, "output.logits");
    float *y = arena_array(&c->arena, float, (size_t)logits->count);
    must(c, net_write(c->net, tokens, numbers(c, tokens, salt), &c->why) == STATUS_OK);
    must(c, net_run(c->net, &c->why) == STATUS_OK);
    must(c, net_read(c->net, logits, y, &c->why) == STATUS_OK);
    *out_bytes = (size_t)logits->count * 4;
    return y;
}

typedef struct Runner {                     // one instance on a thread of its own
    Case *c;
    int32_t *tokens;
    const float *want;
    float *got;
    size_t bytes;
    int threads, wrong;
} Runner;

static void *run_instance(void *argument)
{
    Runner *r = argument;
    const Lm *lm = &r->c->lm;
    void *m = lm->create(r->threads, NULL);
    r->wrong = !m;
    for (int i = 0; m && i < 5; i++) {
        r->wrong |= lm->set_tokens(m, r->tokens) || lm->run(m) || lm->get_logits(m, r->got);
        r->wrong |= memcmp(r->want, r->got, r->bytes) != 0;
    }
    lm->destroy(m);
    return NULL;
}

static void two_instances(Case *c)
{
    Runner r[2];
    pthread_t thread[2];
    for (int i = 0; i < 2; i++) {
        r[i] = (Runner){.c = c, .threads = i + 1};
        r[i].want = engine_logits(c, 3 * i, &r[i].bytes);
        r[i].got = arena_alloc(&c->arena, r[i].bytes, 1);
        r[i].tokens = numbers(c, slot_of(c->net, BUFFER_INPUT, "tokens"), 3 * i);
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, run_instance, &r[i]), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(r[i].wrong, 0);
    }
}

static void forward_bits(const char *model, bool bf16)
{
    Case c;
    open_case(&c, model, false, bf16);
    assert_null(c.lm.train_step);
    two_instances(&c);
    close_case(&c);
}

static void test_hyena(void **state)
{
    (void)state;
    forward_bits("hyena", false);
}

static void test_moe_bf16(void **state)
{
    (void)state;
    forward_bits("sigma_moe", true);
}

static float engine_step(Case *c, int64_t step)
{
    const Slot *tokens = slot_of(c->train, BUFFER_INPUT, "tokens"), *targets = slot_of(c->train, BUFFER_INPUT, "targets");
    const TrainSpec *spec = &c->step->train;
    float loss = 0;
    must(c, net_write(c->train, tokens, numbers(c, tokens, (int)step), &c->why) == STATUS_OK);
    must(c, net_write(c->train, targets, numbers(c, targets, (int)step + 1), &c->why) == STATUS_OK);
    must(c, net_write_float(c->train, "lr", spec->lr * schedule_factor(spec, step + 1), &c->why) == STATUS_OK);
    must(c, net_write_int(c->train, "step", step, &c->why) == STATUS_OK);
    must(c, net_run(c->train, &c->why) == STATUS_OK);
    must(c, net_read(c->train, slot_of(c->train, BUFFER_OUTPUT, "loss.train"), &loss, &c->why) == STATUS_OK);
    return loss;
}

static void same_weights(Case *c, void *m)
{
    const Slot *slots;
    const size_t n = net_slots(c->train, &slots);
    for (size_t i = 0; i < n; i++) {
        if (slots[i].kind != BUFFER_PARAM && slots[i].kind != BUFFER_STATE)
            continue;
        const size_t count = (size_t)slots[i].count;
        float *want = arena_array(&c->arena, float, count), *got = arena_array(&c->arena, float, count);
        must(c, net_read(c->train, &slots[i], want, &c->why) == STATUS_OK);
        const char *name = arena_printf(&c->arena, "%s.%s", slots[i].kind == BUFFER_PARAM ? "param" : "state", slots[i].name);
        assert_int_equal(c->lm.read_weight(m, name, got, count), 0);
        if (memcmp(want, got, count * 4))
            fail_msg("%s differs from the engine's", name);
    }
}

// Both programs of a library share their weights: after each step the forward program sees the new ones.
static void train_both(Case *c, void *m, int64_t begin, int64_t end)
{
    const Lm *lm = &c->lm;
    for (int64_t step = begin; step < end; step++) {
        float got = 0;
        size_t bytes;
        const float want = engine_step(c, step);
        assert_int_equal(lm->train_set_tokens(m, numbers(c, slot_of(c->train, BUFFER_INPUT, "tokens"), (int)step)), 0);
        assert_int_equal(lm->train_set_targets(m, numbers(c, slot_of(c->train, BUFFER_INPUT, "targets"), (int)step + 1)), 0);
        assert_int_equal(lm->train_step(m, &got), 0);
        assert_memory_equal(&want, &got, 4);
        must(c, net_copy_weights(c->train, c->net, false, &c->why) == STATUS_OK);
        const float *logits = engine_logits(c, (int)step, &bytes);
        float *mine = arena_alloc(&c->arena, bytes, 1);
        assert_int_equal(lm->set_tokens(m, numbers(c, slot_of(c->net, BUFFER_INPUT, "tokens"), (int)step)), 0);
        assert_int_equal(lm->run(m), 0);
        lm->get_logits(m, mine);
        assert_memory_equal(logits, mine, bytes);
    }
    assert_int_equal(lm->steps(m), end);
    same_weights(c, m);
}

static void says(Case *c, void *m, int status, const char *text)
{
    assert_int_not_equal(status, 0);
    if (!strstr(c->lm.error(m), text))
        fail_msg("`%s` does not say: %s", c->lm.error(m), text);
}

static void write_file(const char *path, const char *text, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fwrite(text, 1, n, f);
    fclose(f);
}

static void header_file(const char *path, const char *json, size_t zeros)
{
    char text[2048] = {0};
    const size_t n = strlen(json);
    text[0] = (char)(n & 255);
    text[1] = (char)(n >> 8);
    memcpy(text + 8, json, n);
    write_file(path, text, 8 + n + zeros);
}

static void mistakes(Case *c)
{
    void *m = c->lm.create(1, NULL);
    int32_t *tokens = numbers(c, slot_of(c->net, BUFFER_INPUT, "tokens"), 0);
    float x[4];
    const char *path = arena_printf(&c->arena, "%s/w", c->folder);
    says(c, m, c->lm.run(m), "`tokens` was not set");
    tokens[3] = 23;
    says(c, m, c->lm.set_tokens(m, tokens), "the number 23 (element 3), but it indexes axis `V`, which has the positions 0 to 22");
    tokens[3] = -1;
    says(c, m, c->lm.set_tokens(m, tokens), "-1");
    tokens[3] = 0;
    assert_int_equal(c->lm.set_tokens(m, tokens), 0);
    assert_int_equal(c->lm.run(m), 0);
    says(c, m, c->lm.run(m), "every run needs all of them");
    says(c, m, c->lm.write_weight(m, "param.GPT.Wxe", x, 4), "lm_weights lists them");
    says(c, m, c->lm.write_weight(m, "GPT.Wte", x, 4), "4 were given");
    says(c, m, c->lm.load(m, "/nowhere/w"), "No such file");
    write_file(path, "short", 5);
    says(c, m, c->lm.load(m, path), "no safetensors file");
    static const char *const damaged[] = {"[]", "{\"a\"", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", "{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999999],\"data_offsets\":[0,4]}}",
                                          "{\"__metadata__\":{\"a\":1}}", "{\"\\"};
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        header_file(path, damaged[i], 4);
        says(c, m, c->lm.load(m, path), "damaged");
    }
    header_file(path, "{\"GPT.Wte\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}", 16);
    says(c, m, c->lm.load(m, path), "another shape");
    header_file(path, "{\"param.GPT.LN.gain\":{\"dtype\":\"F64\",\"shape\":[64],\"data_offsets\":[0,512]}}", 512);
    says(c, m, c->lm.load(m, path), "numbers of type F64");
    header_file(path, "{\"param.GPT.LN.gain\":{\"dtype\":\"F32\",\"shape\":[64],\"data_offsets\":[0,256]}}", 255);
    says(c, m, c->lm.load(m, path), "not all there");
    c->lm.destroy(m);
}

// A library that trains beside the engine, saves and goes on; then what it says of mistakes.
static void test_gpt_trains(void **state)
{
    (void)state;
    Case c;
    open_case(&c, "gpt", true, false);
    void *m = c.lm.create(2, NULL), *other = c.lm.create(1, NULL);
    const char *path = arena_printf(&c.arena, "%s/saved.safetensors", c.folder);
    train_both(&c, m, 0, 3);
    // what it saves, another instance and the engine read
    assert_int_equal(c.lm.save(m, path), 0);
    Checkpoint about = {0};
    must(&c, checkpoint_load(&c.arena, path, c.train, true, false, &about, &c.why) == STATUS_OK);
    assert_int_equal(about.step, 3);
    assert_int_equal(c.lm.load(other, path), 0);
    assert_int_equal(c.lm.steps(other), 3);
    same_weights(&c, other);
    train_both(&c, other, 3, 4);
    c.lm.destroy(m);
    c.lm.destroy(other);
    mistakes(&c);
    close_case(&c);
}

enum { VOCABULARY = 23, MOST_WINDOW = 256 };

// Two texts take turns, in pieces of one token and of several; whatever the way there, the scores are those of the window, to rounding.
static void two_texts(Case *c, void *m, int rows, int window)
{
    const Lm *lm = &c->lm;
    size_t bytes;
    const Slot *slot = slot_of(c->net, BUFFER_INPUT, "tokens");
    must(c, net_write_int(c->net, POSITION_NAME, window, &c->why) == STATUS_OK);
    const float *whole = engine_logits(c, 3, &bytes);
    const int32_t *tokens = numbers(c, slot, 3);
    void *text[2] = {lm->text_open(m), lm->text_open(m)};
    float scores[2 * VOCABULARY];
    for (int begun = 0; begun < 3; begun++) {
        for (int i = 0, step = 0; i < window; step++) {
            const int n = begun == 0 ? 1 : step == 0 ? window/2 + begun : step % 3 + 1, fits = n < window - i ? n : window - i;
            int32_t next[2 * MOST_WINDOW], other[2] = {step % VOCABULARY, 1};
            for (int b = 0; b < rows; b++)
                memcpy(next + b * fits, tokens + b * window + i, (size_t)fits * sizeof *next);
            assert_int_equal(lm->text_next(text[0], next, fits, scores), 0);
            if (lm->text_length(text[1]) == window)
                lm->text_reset(text[1]);
            assert_int_equal(lm->text_next(text[1], other, 1, NULL), 0);
            i += fits;
            for (int b = 0; b < rows; b++)
                for (int v = 0; v < VOCABULARY; v++)        // 2e-5: sums of float32 in another order, of scores near 1
                    assert_float_equal(scores[b * VOCABULARY + v], whole[(b * window + i - 1) * VOCABULARY + v], 2e-5);
        }
        assert_int_equal(lm->text_length(text[0]), window);
        lm->text_reset(text[0]);
    }
    lm->text_close(text[0]);
    lm->text_close(text[1]);
}

typedef struct Said { int32_t token[MOST_WINDOW]; double probability[MOST_WINDOW]; int n; } Said;

static bool note_token(void *user, int32_t token, double probability)
{
    Said *said = user;
    said->token[said->n] = token;
    said->probability[said->n++] = probability;
    return true;
}

// The likeliest token after a prompt, again and again: the bits of the generator of the engine.
static void same_as_generator(Case *c, void *m, int n_prompt, int n)
{
    Generator g;
    Said said = {.n = 0};
    int32_t prompt[MOST_WINDOW];
    float scores[VOCABULARY];
    void *text = c->lm.text_open(m);
    for (int i = 0; i < n_prompt; i++)
        prompt[i] = (i * 7 + 2) % VOCABULARY;
    must(c, generator_make(&c->arena, c->engine, &c->diag, c->forward, c->net, &g, &c->why) == STATUS_OK);
    must(c, generator_run(&g, prompt, (size_t)n_prompt, &(GenerateOptions){.n_tokens = n}, note_token, &said, &c->why) == STATUS_OK);
    assert_int_equal(said.n, n);
    assert_int_equal(c->lm.text_next(text, prompt, n_prompt, scores), 0);
    for (int i = 0; i < n; i++) {
        int32_t best = 0;
        double sum = 0;
        for (int v = 1; v < VOCABULARY; v++)
            best = scores[v] > scores[best] ? v : best;
        for (int v = 0; v < VOCABULARY; v++)
            sum += exp((double)scores[v] - (double)scores[best]);
        assert_int_equal(best, said.token[i]);
        assert_true(1/sum == said.probability[i]);
        assert_int_equal(c->lm.text_next(text, &best, 1, scores), 0);
    }
    c->lm.text_close(text);
    generator_close(&g);
}

static void test_texts(void **state)
{
    (void)state;
    Case c;
    int32_t token[2] = {0, VOCABULARY};
    open_texts(&c, "gpt", "2", "24");
    void *m = c.lm.create(2, NULL), *text = c.lm.text_open(m);
    two_texts(&c, m, 2, 24);
    says(&c, m, c.lm.text_next(text, token, 1, NULL), "the token 23 (number 1) is none of the model's: axis `V` has the positions 0 to 22");
    says(&c, m, c.lm.text_next(text, token, 0, NULL), "0 new tokens");
    says(&c, m, c.lm.text_next(text, token, 25, NULL), "25 more do not fit into the window of 24");
    assert_int_equal(c.lm.text_length(text), 0);
    c.lm.text_close(text);
    c.lm.destroy(m);
    close_case(&c);
}

// Long convolutions go by blocks, and filters are made by the window.
static void test_texts_of_blocks(void **state)
{
    (void)state;
    Case c;
    open_texts(&c, "hyena", "1", "256");
    void *m = c.lm.create(2, NULL);
    two_texts(&c, m, 1, 256);
    same_as_generator(&c, m, 3, 200);
    same_as_generator(&c, m, 100, 60);
    c.lm.destroy(m);
    close_case(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts), cmocka_unit_test(test_texts_of_blocks), cmocka_unit_test(test_gpt_trains), cmocka_unit_test(test_moe_bf16), cmocka_unit_test(test_hyena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
