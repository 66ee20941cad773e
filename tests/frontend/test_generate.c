// Text position by position (graph `next`, caches) against text from whole windows: the same scores at every position, past the
// end of a window too, and the same tokens. What a model does that no step can follow is said.
#include "example.h"

#include "generate.h"

#include <stdlib.h>

enum { MOST_TOKENS = 260, MOST_VOCAB = 256 };

typedef struct Heard {                      // what a generator did
    const Generator *g;
    int64_t n;
    int32_t token[MOST_TOKENS];
    float   score[MOST_TOKENS][MOST_VOCAB];
} Heard;

static bool hear(void *user, int32_t token, double probability)
{
    Heard *h = user;
    assert_true(h->n < MOST_TOKENS && probability > 0 && probability <= 1);
    memcpy(h->score[h->n], h->g->scores, (size_t)h->g->n_vocab * sizeof(float));
    h->token[h->n++] = token;
    return true;
}

static const char *read_model(Arena *arena, const char *name)
{
    FILE *f = fopen(arena_printf(arena, MIXC_TESTS "/../models/%s.mix", name), "rb");
    assert_non_null(f);
    Text text = text_make(arena);
    char piece[4096];
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;)
        text_add_n(&text, piece, n);
    fclose(f);
    return text_str(&text);
}

typedef struct Case {
    const char *model;                      // of models/
    const char *text;                       // or this one
    const char *name[4], *value[4];         // bindings
    int64_t     n_tokens;
    const char *device;                     // NULL: cpu
    size_t      only;                       // this prompt only; 0: several
    const char *no_steps;                   // a word of the reason why there are none; NULL: there are
} Case;

static void open_case(Example *e, const Case *c, const char *device)
{
    *e = (Example){0};
    e->sources = sources_make(&e->arena);
    e->diag = diag_make(&e->arena, &e->sources);
    EngineOptions engine = {.device = device, .on_device = {.threads = 2}, .verify = true, .untuned = true};
    example_must(e, engine_open(&engine, &e->engine, &e->why) == STATUS_OK);
    const char *text = c->text ? c->text : read_model(&e->arena, c->model);
    const uint32_t file = sources_add(&e->sources, c->text ? "m.mix" : c->model, text, strlen(text));
    Ast *ast = ast_parse(&e->arena, &e->diag, &e->sources, file);
    Binding binding[6] = {{.name = "B", .value = "1"}};
    BuildOptions build = {.mode = MODE_GENERATE, .binding = binding, .n_bindings = 1};
    for (size_t i = 0; i < 4 && c->name[i]; i++)
        binding[build.n_bindings++] = (Binding){.name = c->name[i], .value = c->value[i]};
    e->module = ast ? build_module(&e->arena, &e->diag, &e->sources, ast, &build) : NULL;
    example_must(e, e->module != NULL);
    example_must(e, engine_load(e->engine, &e->arena, &e->diag, e->module, &(LoadOptions){.generate = true}, &e->net, &e->why) == STATUS_OK);
    example_must(e, net_init(e->net, e->module, 5, &e->why) == STATUS_OK);
}

static void close_case(Example *e)
{
    net_free(e->net);
    engine_close(e->engine);
    arena_free(&e->arena);
}

// The largest difference of scores, in parts of the largest score.
static double distance(const Heard *a, const Heard *b)
{
    double worst = 0, most = 0;
    for (int64_t i = 0; i < a->n; i++)
        for (int64_t v = 0; v < a->g->n_vocab; v++) {
            most = fmax(most, fabs((double)a->score[i][v]));
            worst = fmax(worst, fabs((double)a->score[i][v] - (double)b->score[i][v]));
        }
    return worst / most;
}

static void generate(Example *e, Generator *g, const Case *c, size_t n_prompt, Heard *out)
{
    int32_t prompt[300];
    for (size_t i = 0; i < 300; i++)
        prompt[i] = (int32_t)((i * i + 7) % (size_t)g->n_vocab);
    *out = (Heard){.g = g};
    const GenerateOptions options = {.sample = {.temperature = 1, .top_k = 40, .top_p = 0.95}, .seed = 3, .n_tokens = c->n_tokens};
    example_must(e, generator_run(g, prompt, n_prompt, &options, hear, out, &e->why) == STATUS_OK);
}

static void check_case(const Case *c)
{
    static const size_t prompts[] = {1, 23, 300};
    Example e;
    Generator whole, steps;
    Heard *a = malloc(sizeof *a), *b = malloc(sizeof *b);
    assert_true(a && b);
    open_case(&e, c, c->device ? c->device : "cpu");
    example_must(&e, generator_make(&e.arena, NULL, &e.diag, e.module, e.net, &whole, &e.why) == STATUS_OK);
    example_must(&e, generator_make(&e.arena, e.engine, &e.diag, e.module, e.net, &steps, &e.why) == STATUS_OK);
    if (c->no_steps && (steps.next || !strstr(steps.no_steps, c->no_steps)))
        fail_msg("%s: `%s` is not said, but: %s", c->model, c->no_steps, steps.no_steps ? steps.no_steps : "there are steps");
    if (!c->no_steps && !steps.next)
        fail_msg("%s: %s", c->model, steps.no_steps);
    assert_null(whole.next);
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts && !c->no_steps; i++) {
        if (c->only && i > 0)
            break;
        generate(&e, &whole, c, c->only ? c->only : prompts[i], a);
        generate(&e, &steps, c, c->only ? c->only : prompts[i], b);
        assert_int_equal(a->n, c->n_tokens);
        assert_int_equal(b->n, c->n_tokens);
        const double error = distance(a, b);
        if (!(error < 1e-5) || memcmp(a->token, b->token, sizeof a->token) != 0)
            fail_msg("%s: after %zu tokens the scores differ by %g", c->model, prompts[i], error);
    }
    generator_close(&steps);
    close_case(&e);
    free(a);
    free(b);
}

static void test_attention(void **state)
{
    (void)state;
    check_case(&(Case){.model = "gpt", .name = {"N"}, .value = {"40"}, .n_tokens = 90});
}

static void test_experts(void **state)
{
    (void)state;
    check_case(&(Case){.model = "moeut", .name = {"N"}, .value = {"40"}, .n_tokens = 60});
    check_case(&(Case){.model = "sut", .name = {"N"}, .value = {"40"}, .n_tokens = 60, .only = 23});
    check_case(&(Case){.model = "ut", .name = {"N"}, .value = {"40"}, .n_tokens = 60, .only = 23});
}

static void test_triangles(void **state)
{
    (void)state;
    check_case(&(Case){.model = "gmlp_lm", .name = {"N"}, .value = {"40"}, .n_tokens = 60});
    check_case(&(Case){.model = "smlp", .name = {"N"}, .value = {"40"}, .n_tokens = 60});
}

// Three blocks and a part of one fit into the window, and it ends twice.
static void test_convolutions(void **state)
{
    (void)state;
    check_case(&(Case){.model = "hyena", .name = {"N"}, .value = {"200"}, .n_tokens = 250});
    check_case(&(Case){.model = "h3", .name = {"N"}, .value = {"200"}, .n_tokens = 250});
    check_case(&(Case){.model = "m2gpt", .name = {"N"}, .value = {"200"}, .n_tokens = 250});
}

// The same programs as CUDA text, on the simulated GPU.
static void test_simulated(void **state)
{
    (void)state;
    check_case(&(Case){.model = "gpt", .name = {"N", "D", "V", "L"}, .value = {"12", "16", "20", "1"}, .n_tokens = 16, .device = "sim", .only = 5});
    check_case(&(Case){.model = "hyena", .name = {"N", "D", "V", "L"}, .value = {"80", "8", "20", "1"}, .n_tokens = 20, .device = "sim", .only = 58});
}

static const char sums_everything[] =
    "mix 1\naxis B : batch in 1..4, T : time in 1..16, V = 9, D = 4\n"
    "model M(tokens: int[B,T]) -> logits: [B,T,V] {\n  param E[V,D]\n  x = E[V = tokens]\n  logits = (x + mean(x, over=T)) @[D] E\n}\n";

// A model that is not causal, and one with products along digits of the positions.
static void test_no_steps(void **state)
{
    (void)state;
    check_case(&(Case){.model = "sum", .text = sums_everything, .name = {"T"}, .value = {"16"}, .n_tokens = 4, .no_steps = "reads more than the positions up to each one"});
    check_case(&(Case){.model = "m2gpt", .name = {"N", "learned"}, .value = {"64", "8"}, .n_tokens = 4, .no_steps = "CausalMonarch: it reads more than"});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_experts),
        cmocka_unit_test(test_triangles),
        cmocka_unit_test(test_convolutions),
        cmocka_unit_test(test_simulated),
        cmocka_unit_test(test_no_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
