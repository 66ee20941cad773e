// Building a model and evaluating it on numbers given by a rule: a + b*sin(0.37*i + seed) over the row-major elements of
// a tensor, in an order of axes that the test names, or by an array of its own.
#ifndef MIXC_FILLED_H
#define MIXC_FILLED_H

#include "build_run.h"

#include <math.h>

// Rows are tried in order; `name` is the leaf's, or its end, or "*" for any. A row without an order keeps the first value; a leaf without
// a row is a mistake.
typedef struct Fill {
    const char   *name;
    const char   *order;                    // axes, slowest first, by their names in the layer; one that is missing
                                            // (the direction of a filter) adds `step` to the seed for each place
    double        base, amp, seed, step;
    const double *data;                     // in that order, instead of the rule
} Fill;

typedef struct Filled {
    Run        *run;
    const Fill *fill;                       // ends with a row without a name
} Filled;

static inline bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);
    return n >= k && !strcmp(name + n - k, end) && (n == k || name[n - k - 1] == '.');
}

// The place of an axis in the type, by the name in its layer: `G` for G and G.2.
static inline int axis_place(const Graph *g, const Type *t, const char *name, size_t n)
{
    for (int a = 0; a < t->n_axes; a++) {
        const char *have = g->axis[t->axis[a]].name;
        if (strcspn(have, ".") == n && !strncmp(have, name, n))
            return a;
    }
    return -1;
}

// The element at `at` (an index for each axis of t) under the rule.
static inline double fill_element(const Graph *g, const Type *t, const Fill *f, const int64_t *at)
{
    int64_t flat = 0, other = 0;
    unsigned named = 0;
    for (const char *c = f->order; *c;) {
        size_t n = strcspn(c, ",");
        int a = axis_place(g, t, c, n);
        assert_true(a >= 0);
        named |= 1u << a;
        flat = flat * graph_size(g, t->axis[a]) + at[a];
        c += n + (c[n] == ',');
    }
    for (int a = 0; a < t->n_axes; a++)
        if (!(named >> a & 1))
            other = other * graph_size(g, t->axis[a]) + at[a];
    return f->data ? f->data[flat] : f->base + f->amp * sin(0.37 * (double)flat + f->seed + f->step * (double)other);
}

static inline const double *seed_is_zero(void *user, const Graph *g, const Node *n)
{
    static const double zero = 0;
    (void)user, (void)g, (void)n;
    return &zero;
}

static inline const double *first_value(Run *r, const char *name)
{
    Graph *g = module_graph(r->module, "init");
    EvalResult result;
    StatusText why = {{0}};
    assert_int_equal(graph_eval(g, seed_is_zero, NULL, &r->arena, &result, &why), STATUS_OK);
    ValueId id = graph_find_output(g, OUTPUT_NEXT, name);
    assert_int_not_equal(id, 0);
    return result.value[id];
}

static inline const double *filled_leaf(void *user, const Graph *g, const Node *n)
{
    Filled *filled = user;
    const char *name = n->attr[0].name;
    const Fill *f = filled->fill;
    while (f->name && strcmp(f->name, "*") && !ends_with(name, f->name))
        f++;
    if (!f->name)
        print_message("no row for %s\n", name);
    if (!f->name || !f->order)
        return f->name ? first_value(filled->run, name) : NULL;
    int64_t count, at[MAX_AXES] = {0};
    assert_true(type_count(g, &n->type, &count));
    double *value = arena_array(&filled->run->arena, double, (size_t)count);
    for (int64_t i = 0; i < count; i++) {
        value[i] = fill_element(g, &n->type, f, at);
        for (int a = (int)n->type.n_axes - 1; a >= 0 && ++at[a] == graph_size(g, n->type.axis[a]); a--)
            at[a] = 0;
    }
    return value;
}

// A result of the model, its elements in the order of its type.
static inline const double *filled_result(Run *r, const char *name, const Fill *fill)
{
    Filled filled = {r, fill};
    Graph *g = module_graph(r->module, "main");
    EvalResult result;
    StatusText why = {{0}};
    Status s = graph_eval(g, filled_leaf, &filled, &r->arena, &result, &why);
    if (s != STATUS_OK)
        print_message("%s\n", why.text);
    assert_int_equal(s, STATUS_OK);
    ValueId id = graph_find_output(g, OUTPUT_RESULT, name);
    assert_int_not_equal(id, 0);
    return result.value[id];
}

static inline void near(const double *got, const double *want, size_t n, double tolerance)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= tolerance))
            fail_msg("element %zu is %.9g, not %.9g", i, got[i], want[i]);
}

#endif
