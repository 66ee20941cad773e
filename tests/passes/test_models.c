// The gradient of every model's training loss, from the text of the model: the slope along a random direction in
// parameter space, by the gradient and by differences of the evaluator. After the passes that change values' makers
// (fold, cse, recompute), so these are covered too.
#include "build.h"
#include "eval.h"
#include "grad.h"
#include "pass.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct Case {
    const char *file;
    const char *bind[8];                    // NAME=VALUE; sizes at which the naive evaluator is quick
} Case;

static const Case cases[] = {
    {"gpt.mix",       {"L=1", "D=8", "H=2", "V=7", "B=2", "T=5", "drop=0.25"}},
    {"bert.mix",      {"L=1", "D=8", "H=2", "V=7", "A=4", "B=2", "T=5", "drop=0"}},
    {"vit.mix",       {"L=1", "D=8", "H=2", "B=2"}},
    {"gmlp.mix",      {"L=1", "D=8", "B=2"}},
    {"gmlp_lm.mix",   {"L=1", "D=8", "V=7", "B=2", "T=5"}},
    {"mlp_mixer.mix", {"L=1", "D=8", "B=2"}},
    {"convmixer.mix", {"L=1", "D=6", "B=2"}},
    {"switch.mix",       {"D=8", "F=6", "V=7", "E=3", "B=2", "T=5"}},
    {"gshard.mix",       {"D=8", "F=6", "V=7", "E=3", "B=2", "T=5"}},
    {"base.mix",         {"D=8", "F=6", "V=7", "E=2", "q=2", "B=2", "T=5"}},
    {"hash.mix",         {"D=8", "F=6", "V=7", "E=3", "B=2", "T=5"}},
    {"smlp.mix",         {"D=8", "F=6", "V=7", "E=2", "B=2", "T=5"}},
    {"smlp_partial.mix", {"D=8", "F=6", "V=7", "E=2", "N=10", "B=2", "T=5"}},
    {"sigma_moe.mix",    {"L=1", "D=8", "F=3", "V=7", "E=5", "N=5", "B=2", "T=5"}},
    {"switchhead.mix",   {"L=1", "D=8", "F=6", "K=4", "V=7", "N=5", "B=2", "T=5"}},
    {"moeut.mix",        {"D=8", "F=3", "K=4", "V=7", "E=5", "k=2", "B=2", "T=5"}},
    {"moeut_dense.mix",  {"L=1", "D=8", "H=2", "K=4", "F=6", "V=7", "B=2", "T=5"}},
};

typedef struct Leaf {
    const char *name;
    Op          op;
    double     *x, *direction;              // direction: of parameters; else NULL
} Leaf;

typedef struct Leaves {
    Leaf  *leaf;
    size_t n;
} Leaves;

static const double *leaf_value(void *user, const Graph *g, const Node *n)
{
    (void)g;
    const Leaves *l = user;
    for (size_t i = 0; i < l->n; i++)
        if (l->leaf[i].op == n->op && strcmp(l->leaf[i].name, n->attr[0].name) == 0)
            return l->leaf[i].x;
    return NULL;
}

static double uniform(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(*seed >> 11) / 9007199254740992.0;
}

static Leaves make_leaves(Arena *arena, const Graph *g)
{
    Leaves l = {.leaf = arena_array(arena, Leaf, g->n_nodes)};
    uint64_t seed = 11;
    for (ValueId id = 1; id < g->n_nodes; id++) {
        const Node *n = &g->node[id];
        int64_t count;
        if ((n->op != OP_ARG && n->op != OP_PARAM && n->op != OP_STATE) || leaf_value(&l, g, n))
            continue;
        assert_true(type_count(g, &n->type, &count));
        Leaf *leaf = &l.leaf[l.n++];
        *leaf = (Leaf){n->attr[0].name, n->op, arena_array(arena, double, (size_t)count + 1), NULL};
        if (n->op == OP_PARAM)
            leaf->direction = arena_array(arena, double, (size_t)count + 1);
        for (int64_t i = 0; i < count; i++) {
            double u = uniform(&seed);
            leaf->x[i] = n->type.dtype == DTYPE_I32 ? floor(4 * u) : n->op == OP_PARAM ? u - 0.4 : u;
            if (leaf->direction)
                leaf->direction[i] = 2 * uniform(&seed) - 1;
        }
    }
    return l;
}

static double loss_at(const Graph *g, Leaves *l, double step)
{
    Arena arena = {0};
    Leaves moved = {.leaf = arena_array(&arena, Leaf, l->n), .n = l->n};
    for (ValueId id = 1; id < g->n_nodes; id++)
        for (size_t i = 0; i < l->n; i++) {
            const Node *n = &g->node[id];
            int64_t count;
            if (n->op != l->leaf[i].op || n->n_attr == 0 || n->attr[0].kind != ATTR_NAME || moved.leaf[i].x ||
                strcmp(n->attr[0].name, l->leaf[i].name) != 0)
                continue;
            assert_true(type_count(g, &n->type, &count));
            moved.leaf[i] = l->leaf[i];
            moved.leaf[i].x = arena_array(&arena, double, (size_t)count + 1);
            for (int64_t k = 0; k < count; k++)
                moved.leaf[i].x[k] = l->leaf[i].x[k] + (l->leaf[i].direction ? step * l->leaf[i].direction[k] : 0);
        }
    EvalResult r;
    StatusText why = {{0}};
    if (graph_eval(g, leaf_value, &moved, &arena, &r, &why) != STATUS_OK)
        fail_msg("%s", why.text);
    double loss = r.value[graph_find_output(g, OUTPUT_LOSS, "train")][0];
    arena_free(&arena);
    return loss;
}

static Module *build(Arena *arena, Diag *diag, Sources *sources, const Case *c)
{
    const char *path = arena_printf(arena, "%s/../models/%s", MIXC_TESTS, c->file);
    uint32_t file = sources_read(sources, path);
    if (!file)
        fail_msg("%s is not there", path);
    const Ast *ast = ast_parse(arena, diag, sources, file);
    Binding binding[8];
    BuildOptions options = {.mode = MODE_TRAIN, .with_loss = true, .binding = binding};
    for (size_t i = 0; i < 8 && c->bind[i]; i++) {
        const char *equals = strchr(c->bind[i], '=');
        binding[options.n_bindings++] = (Binding){arena_strndup(arena, c->bind[i], (size_t)(equals - c->bind[i])),
                                                  equals + 1, false};
    }
    Module *m = ast ? build_module(arena, diag, sources, ast, &options) : NULL;
    if (!m) {
        Text text = text_make(arena);
        diag_print(diag, &text, false);
        fail_msg("%s", text_str(&text));
    }
    return m;
}

static void check_model(const Case *c)
{
    Arena arena = {0};
    Sources sources = sources_make(&arena);
    Diag diag = diag_make(&arena, &sources);
    Module *m = build(&arena, &diag, &sources, c);
    const Graph *plain = module_graph(m, "main");
    Leaves leaves = make_leaves(&arena, plain);
    assert_true(grad_of_run(m, &(RunGradOptions){.with_loss = true}));
    static const char *const names[] = {"fold", "cse", "recompute"};
    const Module *out = passes_run(&(PassContext){.arena = &arena, .diag = &diag}, m, names, 3, &(PassHooks){.verify = true});
    assert_non_null(out);
    const Graph *g = module_graph(out, "main");
    EvalResult r;
    StatusText why = {{0}};
    if (graph_eval(g, leaf_value, &leaves, &arena, &r, &why) != STATUS_OK)
        fail_msg("%s: %s", c->file, why.text);
    double slope = 0, h = 1e-5;
    size_t n_params = 0;
    for (size_t i = 0; i < leaves.n; i++) {
        const Leaf *leaf = &leaves.leaf[i];
        int64_t n;
        if (!leaf->direction)
            continue;
        ValueId d = graph_find_output(g, OUTPUT_GRAD, arena_printf(&arena, "param.%s", leaf->name));
        assert_true(d && type_count(g, &g->node[d].type, &n));
        for (int64_t k = 0; k < n; k++)
            slope += r.value[d][k] * leaf->direction[k];
        n_params++;
    }
    double quotient = (loss_at(plain, &leaves, h) - loss_at(plain, &leaves, -h)) / (2 * h);
    print_message("%-14s %2zu parameters, slope %.10g, by differences %.10g\n", c->file, n_params, slope, quotient);
    // The direction has thousands of components, so the third derivative along it, times h^2, leaves some 1e-6.
    assert_true(fabs(slope - quotient) < 1e-5 * (1 + fabs(slope)));
    assert_true(fabs(slope) > 1e-4 && n_params > 5);
    arena_free(&arena);
}

static void gradients_of_the_models_match(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_model(&cases[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(gradients_of_the_models_match)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
