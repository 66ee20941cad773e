// The literal cases of every op (tests/ops), all in one graph, through all passes, generated C and the cpu device. What
// the evaluator is held to in double precision, the kernels are held to in float.
#include "engine.h"
#include "op_cases.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_CASES = 400 };

typedef struct Placed {                     // a case, and the prefix of its names in the common graph
    OpCase      c;
    Graph      *g;
    const char *op, *prefix;
} Placed;

typedef struct Together {
    Arena   arena;
    Diag    diag;
    Graph  *all;
    Placed  placed[MAX_CASES];
    size_t  n;
} Together;

static AxisId move_axis(Together *t, const Graph *g, AxisId a)
{
    return graph_axis(t->all, g->axis[a].name, g->axis[a].kind, g->axis[a].size, 0);
}

static Type move_type(Together *t, const Graph *g, const Type *type)
{
    Type moved = *type;
    for (size_t i = 0; i < type->n_axes; i++)
        moved.axis[i] = move_axis(t, g, type->axis[i]);
    return moved;
}

static Attr move_attr(Together *t, const Graph *g, const Attr *attr, const char *prefix)
{
    Attr moved = *attr;
    if (attr->kind == ATTR_AXIS)
        moved.axis = move_axis(t, g, attr->axis);
    if (attr->kind == ATTR_NAME)
        moved.name = arena_printf(&t->arena, "%s.%s", prefix, attr->name);
    if (attr->kind == ATTR_AXES) {
        moved.axes.id = arena_array(&t->arena, AxisId, attr->axes.n);
        for (size_t i = 0; i < attr->axes.n; i++)
            moved.axes.id[i] = move_axis(t, g, attr->axes.id[i]);
    }
    return moved;
}

// Appends a case's graph. Parameters and states become inputs: here only the numbers matter.
static void place(Together *t, const Placed *p)
{
    ValueId *map = arena_array(&t->arena, ValueId, p->g->n_nodes);
    for (ValueId v = 1; v < p->g->n_nodes; v++) {
        const Node *n = &p->g->node[v];
        ValueId in[OP_ANY];
        Attr attr[OP_MAX_ATTRS];
        for (size_t i = 0; i < n->n_in; i++)
            in[i] = map[n->in[i]];
        for (size_t i = 0; i < n->n_attr; i++)
            attr[i] = move_attr(t, p->g, &n->attr[i], p->prefix);
        Type type = move_type(t, p->g, &n->type);
        Op op = n->op == OP_PARAM || n->op == OP_STATE ? OP_ARG : n->op;
        map[v] = graph_add(t->all, op, in, n->n_in, attr, n->n_attr, &type);
        assert_true(map[v] != 0);
        t->all->node[map[v]].type = type;   // some cases write another order of axes
    }
    for (size_t i = 0; i < p->g->n_outputs; i++)
        graph_output(t->all, OUTPUT_RESULT, arena_printf(&t->arena, "%s.%s", p->prefix, p->g->output[i].name),
                     map[p->g->output[i].value]);
}

static bool can_run(const OpCase *c, const Graph *g)
{
    if (!g || c->fails)
        return false;
    for (size_t i = 0; i < c->n_expects; i++)       // numbers that are exact or overflow in double only
        for (size_t k = 0; k < c->expect[i].n; k++)
            if (isfinite(c->expect[i].value[k]) && fabs(c->expect[i].value[k]) > 1e30)
                return false;
    for (size_t v = 1; v < g->n_nodes; v++)
        if (op_row[g->node[v].op].flags & OP_FLAG_HOST)
            return false;
    return true;
}

static void gather(Together *t)
{
    for (int op = OP_ERROR + 1; op < OP_COUNT; op++) {
        OpCase *list;
        size_t n = op_cases_read(&t->arena, arena_printf(&t->arena, MIXC_TESTS "/ops/%s.ir", op_row[op].text), &list);
        for (size_t i = 0; i < n; i++) {
            if (list[i].refuse)
                continue;
            Graph *g = op_case_graph(&list[i], &t->arena, &t->diag);
            if (!can_run(&list[i], g))
                continue;
            assert_true(t->n < MAX_CASES);
            Placed *p = &t->placed[t->n++];
            *p = (Placed){list[i], g, op_row[op].text, arena_printf(&t->arena, "c%zu", t->n)};
            place(t, p);
        }
    }
}

static void *to_host(Together *t, const Slot *slot, const OpNumbers *numbers)
{
    assert_int_equal((size_t)slot->count, numbers->n);
    float *data = arena_array(&t->arena, float, numbers->n + 1);
    for (size_t i = 0; i < numbers->n; i++)
        if (slot->dtype == DTYPE_I32)
            ((int32_t *)(void *)data)[i] = (int32_t)numbers->value[i];
        else
            data[i] = (float)numbers->value[i];
    return data;
}

static void write_inputs(Together *t, Net *net)
{
    StatusText why = {0};
    for (size_t i = 0; i < t->n; i++)
        for (size_t k = 0; k < t->placed[i].c.n_inputs; k++) {
            const OpNumbers *numbers = &t->placed[i].c.input[k];
            const Slot *slot = net_slot(net, BUFFER_INPUT, arena_printf(&t->arena, "%s.%s", t->placed[i].prefix, numbers->name));
            if (slot && net_write(net, slot, to_host(t, slot, numbers), &why) != STATUS_OK)
                fail_msg("%s", why.text);
        }
}

// A handful of roundings in float; functions are good to a few units in the last place.
static bool close_enough(double got, double wanted)
{
    if (isnan(wanted) || isnan(got))
        return isnan(wanted) && isnan(got);
    return got == wanted || fabs(got - wanted) <= 1e-6 * fabs(wanted) + 3e-7;
}

static void check_output(Together *t, const Placed *p, const OpNumbers *expect, Net *net)
{
    StatusText why = {0};
    const Slot *slot = net_slot(net, BUFFER_OUTPUT, arena_printf(&t->arena, "output.%s.%s", p->prefix, expect->name));
    if (!slot)
        fail_msg("%s, %s: no result %s", p->op, p->c.title, expect->name);
    float *data = arena_array(&t->arena, float, (size_t)slot->count + 1);
    assert_int_equal(net_read(net, slot, data, &why), STATUS_OK);
    assert_int_equal((size_t)slot->count, expect->n);
    for (size_t i = 0; i < expect->n; i++) {
        double got = slot->dtype == DTYPE_I32 ? (double)((int32_t *)(void *)data)[i] : (double)data[i];
        if (!close_enough(got, expect->value[i]))
            fail_msg("%s, %s: %s[%zu] is %.9g, not %.9g", p->op, p->c.title, expect->name, i, got, expect->value[i]);
    }
}

static void kernels_agree_with_every_case(void **state)
{
    (void)state;
    Together *t = test_calloc(1, sizeof *t);
    t->diag = diag_make(&t->arena, NULL);
    t->all = graph_make(&t->arena, &t->diag, "main");
    gather(t);
    Module *m = module_make(&t->arena, &t->diag);
    module_add_graph(m, t->all);
    Engine *engine;
    Net *net = NULL;
    StatusText why = {0};
    assert_int_equal(engine_open(&(EngineOptions){.device = "cpu", .verify = true}, &engine, &why), STATUS_OK);
    if (engine_load(engine, &t->arena, &t->diag, m, &(LoadOptions){0}, &net, &why) != STATUS_OK)
        fail_msg("%s: %s", why.text, t->diag.n_items ? t->diag.item[0].message : "");
    write_inputs(t, net);
    assert_int_equal(net_run(net, &why), STATUS_OK);
    size_t n_outputs = 0;
    for (size_t i = 0; i < t->n; i++)
        for (size_t k = 0; k < t->placed[i].c.n_expects; k++, n_outputs++)
            check_output(t, &t->placed[i], &t->placed[i].c.expect[k], net);
    print_message("%zu cases, %zu results, %zu kernels\n", t->n, n_outputs, net_program(net)->n_kernels - 1);
    net_free(net);
    engine_close(engine);
    arena_free(&t->arena);
    test_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(kernels_agree_with_every_case)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
