// The gradients of every structured layer (tests/cli/structured.mix), parameter by parameter, against central differences
// along one direction each, in double precision on the evaluator.
#include "build_run.h"
#include "grad.h"

#include <math.h>

typedef struct Shift {
    const Graph *init;
    EvalResult   first;                     // of init: the parameters' first values
    const char  *name;                      // this parameter is moved by `by` along the direction
    double       by;
    Arena       *arena;
} Shift;

static double direction(size_t i)
{
    return cos(1.3 * (double)i + 0.2);
}

static const double *moved_leaf(void *user, const Graph *g, const Node *n)
{
    Shift *s = user;
    const char *name = n->attr[0].name;
    int64_t count;
    assert_true(type_count(g, &n->type, &count));
    double *out = arena_array(s->arena, double, (size_t)count);
    if (n->op != OP_PARAM) {                // tokens and targets
        for (int64_t i = 0; i < count; i++)
            out[i] = count > 1 ? (double)((i * 7 + name[1]) % 11) : 0;
        return out;
    }
    const double *value = s->first.value[graph_find_output(s->init, OUTPUT_NEXT, name)];
    bool moves = s->name && !strcmp(name, s->name);
    for (int64_t i = 0; i < count; i++)
        out[i] = value[i] + (moves ? s->by * direction((size_t)i) : 0);
    return out;
}

static double loss(Run *r, Shift *s, const char *name, double by, EvalResult *out)
{
    Graph *g = module_graph(r->module, "main");
    StatusText why = {{0}};
    s->name = name;
    s->by = by;
    assert_int_equal(graph_eval(g, moved_leaf, s, s->arena, out, &why), STATUS_OK);
    return out->value[graph_find_output(g, OUTPUT_LOSS, "train")][0];
}

static void gradients_match_central_differences(void **state)
{
    (void)state;
    const double step = 1e-4;               // the error of a central difference is of the order of its square
    Run r;
    Arena scratch = {0};
    Binding binding[] = {{"B", "2", false}, {"V", "11", false}};
    build_path(&r, MIXC_TESTS "/cli/structured.mix",
               &(BuildOptions){.mode = MODE_TRAIN, .with_loss = true, .binding = binding, .n_bindings = 2});
    must_build(&r);
    assert_true(grad_of_run(r.module, &(RunGradOptions){.with_loss = true}));
    Graph *g = module_graph(r.module, "main");
    Shift s = {.init = module_graph(r.module, "init"), .arena = &r.arena};
    StatusText why = {{0}};
    const double zero = 0;
    Leaves seed = {.name = {"seed"}, .data = {&zero}};
    assert_int_equal(graph_eval(s.init, leaf, &seed, &r.arena, &s.first, &why), STATUS_OK);
    EvalResult at, near_it;
    loss(&r, &s, NULL, 0, &at);
    s.arena = &scratch;
    size_t n_checked = 0;
    for (size_t p = 0; p < r.module->n_params; p++) {
        const Param *param = &r.module->param[p];
        if (param->role != PARAM_TRAINED)
            continue;
        ValueId grad = graph_find_output(g, OUTPUT_GRAD, arena_printf(&scratch, "param.%s", param->name));
        assert_int_not_equal(grad, 0);
        int64_t count;
        assert_true(type_count(g, &g->node[grad].type, &count));
        double slope = 0, size = 0;
        for (int64_t i = 0; i < count; i++) {
            slope += at.value[grad][i] * direction((size_t)i);
            size += fabs(at.value[grad][i]);
        }
        double up = loss(&r, &s, param->name, step, &near_it), down = loss(&r, &s, param->name, -step, &near_it);
        double differs = fabs((up - down) / (2 * step) - slope);
        if (!(differs <= 1e-5 * size + 1e-9))
            fail_msg("%s: slope %g, gradient %g", param->name, (up - down) / (2 * step), slope);
        n_checked += size > 0;
        arena_free(&scratch);
        scratch = (Arena){0};
    }
    print_message("%zu parameters\n", n_checked);
    assert_true(n_checked > 40);
    finish(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(gradients_match_central_differences)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
