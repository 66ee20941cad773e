// Golden cases of the passes: tests/passes/PASS.ir holds cases split by `----`, each an input graph, `====`, and what the
// pass makes of it. `test_golden --update` rewrites the expected halves; read the difference as carefully as code.
//
// Lines before `graph` that start with `#` say what the case is about, or set options of the module:
//     # train: optimizer=adam lr=0.1 clip=1      makes every param a trained one and sets TrainSpec
// Around every case the graphs are verified and read back, as in all test runs.
#include "pass.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *read_file(Arena *arena, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    Text text = text_make(arena);
    char buffer[4096];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, f)) > 0;)
        text_add_n(&text, buffer, n);
    fclose(f);
    return (char *)text_str(&text);
}

static void set_option(TrainSpec *t, const char *key, const char *value)
{
    static const struct { const char *name; size_t at; } field[] = {
#define FIELD(x) {#x, offsetof(TrainSpec, x)}
        FIELD(lr), FIELD(beta1), FIELD(beta2), FIELD(eps), FIELD(decay), FIELD(momentum), FIELD(nesterov),
        FIELD(correct), FIELD(trust), FIELD(clip), FIELD(ema),
#undef FIELD
    };
    if (strcmp(key, "optimizer") == 0) {
        t->optimizer = strcmp(value, "sgd") == 0 ? OPTIMIZER_SGD : strcmp(value, "adam") == 0 ? OPTIMIZER_ADAM : OPTIMIZER_LAMB;
        return;
    }
    if (strcmp(key, "bf16") == 0) {
        t->bf16 = strcmp(value, "0") != 0;
        return;
    }
    if (strcmp(key, "grad_accum") == 0) {
        t->grad_accum = atoll(value);
        return;
    }
    for (size_t i = 0; i < sizeof field / sizeof *field; i++)
        if (strcmp(field[i].name, key) == 0) {
            *(double *)((char *)t + field[i].at) = strtod(value, NULL);
            return;
        }
    fail_msg("no option `%s`", key);
}

static void read_train_options(Module *m, char *line)
{
    m->has_train = true;
    m->train.grad_accum = 1;
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " ")) {
        char *equals = strchr(word, '=');
        assert_non_null(equals);
        *equals = 0;
        set_option(&m->train, word, equals + 1);
    }
}

static void add_params(Module *m, const Graph *g)
{
    m->param = arena_array(m->arena, Param, g->n_nodes);
    for (ValueId id = 1; id < g->n_nodes; id++)
        if (g->node[id].op == OP_PARAM)
            m->param[m->n_params++] = (Param){.name = g->node[id].attr[0].name, .role = PARAM_TRAINED,
                                              .type = g->node[id].type, .lr = NAN, .decay = NAN, .trust = NAN};
}

// What the pass makes of one input text.
static const char *run_case(Arena *arena, const Pass *pass, const char *input)
{
    Sources sources = sources_make(arena);
    Diag diag = diag_make(arena, &sources);
    Module *m = module_make(arena, &diag);
    const char *p = input;
    while (*p == '#' || *p == '\n') {
        size_t n = strcspn(p, "\n");
        if (strncmp(p, "# train:", 8) == 0)
            read_train_options(m, arena_strndup(arena, p + 8, n - 8));
        p += n + (p[n] == '\n');
    }
    uint32_t file = sources_add(&sources, arena_printf(arena, "%s.ir", pass->name), p, strlen(p));
    Graph *g = graph_parse(arena, &diag, &sources, file);
    Text text = text_make(arena);
    const Module *out = NULL;
    if (g) {
        module_add_graph(m, g);
        add_params(m, g);
        Target target = {.name = "cpu", .vector_floats = 16, .vector_registers = 32, .l1_bytes = 32768, .l2_bytes = 1 << 20,
                         .threads = 2};
        PassContext ctx = {.arena = arena, .diag = &diag, .target = &target, .train = m->has_train, .generate = true};
        PassHooks hooks = {.verify = true};
        out = passes_run(&ctx, m, &pass->name, 1, &hooks);
    }
    for (size_t i = 0; out && i < out->n_graphs; i++)
        graph_print(out->graph[i], &text);
    if (out && out->no_steps)
        text_printf(&text, "# no steps: %s\n", out->no_steps);
    if (!out)
        diag_print(&diag, &text, false);
    return text_str(&text);
}

static bool check_file(const Pass *pass, bool update)
{
    Arena arena = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/passes/%s.ir", MIXC_TESTS, pass->name);
    char *text = read_file(&arena, path);
    if (!text) {
        arena_free(&arena);
        return false;
    }
    Text updated = text_make(&arena);
    bool same = true;
    for (char *c = text, *after; c; c = after) {
        char *end = strstr(c, "\n----\n");
        after = end ? end + 6 : NULL;
        if (end)
            end[1] = 0;
        char *split = strstr(c, "\n====\n");
        const char *expected = split ? split + 6 : "";
        if (split)
            split[1] = 0;
        const char *got = run_case(&arena, pass, c);
        if (strcmp(got, expected) != 0) {
            same = false;
            if (!update)
                print_error("tests/passes/%s.ir, the case\n%s====\nexpected\n%sgot\n%s", pass->name, c, expected, got);
        }
        text_printf(&updated, "%s====\n%s%s", c, got, after ? "----\n" : "");
    }
    if (update && !same) {
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        fputs(text_str(&updated), f);
        fclose(f);
        print_message("rewrote tests/passes/%s.ir\n", pass->name);
    }
    arena_free(&arena);
    assert_true(same || update);
    return true;
}

static bool update;

static void each_pass_makes_what_its_cases_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < pass_count; i++) {
        // causal changes nothing that its text shows: its cases are models, in test_causal.c.
        bool elsewhere = strcmp(pass_table[i].name, "causal") == 0;
        if (!check_file(&pass_table[i], update) && !elsewhere)
            fail_msg("the pass `%s` has no cases: tests/passes/%s.ir is not there", pass_table[i].name, pass_table[i].name);
    }
}

int main(int argc, char **argv)
{
    update = argc > 1 && strcmp(argv[1], "--update") == 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_pass_makes_what_its_cases_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
