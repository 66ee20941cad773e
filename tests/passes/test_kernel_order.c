// Kernels can always run: whatever the fuse passes put together, no kernel needs, through others, what it stores itself.
//
// The order itself is compared with a search over all items, on random items and random wishes to put some together. The
// passes are run on random graphs that are knotted on purpose: attention, products, sums and gates that read each other's
// results from far away, with gradients. The verifier asks for an order of the kernels after each pass.
#include "grad.h"
#include "kernel_order.h"
#include "pass.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct Random {
    uint64_t seed;
} Random;

static uint32_t pick(Random *r, uint32_t n)
{
    r->seed = r->seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(r->seed >> 33) % n;
}

// ---- the order ----

enum { N = 40 };

typedef struct Items {
    uint32_t first[N + 1], need[4 * N], label[N];           // label: those together have the same
} Items;

// Whether labels need each other in a circle, by the closure of "needs".
static bool has_circle(const Items *s)
{
    bool needs[N][N] = {{false}};
    for (uint32_t i = 1; i < N; i++)
        for (uint32_t k = s->first[i]; k < s->first[i + 1]; k++)
            if (s->label[i] != s->label[s->need[k]])
                needs[s->label[i]][s->label[s->need[k]]] = true;
    for (int b = 0; b < N; b++)
        for (int a = 0; a < N; a++)
            for (int c = 0; needs[a][b] && c < N; c++)
                needs[a][c] |= needs[b][c];
    for (int a = 0; a < N; a++)
        if (needs[a][a])
            return true;
    return false;
}

static void put_together(Items *s, const uint32_t *item, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        const uint32_t from = s->label[item[i]], to = s->label[item[0]];
        for (uint32_t k = 1; k < N; k++)
            if (s->label[k] == from)
                s->label[k] = to;
    }
}

static void merges_agree_with_a_search(void **state)
{
    (void)state;
    size_t accepted = 0, refused = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        Arena arena = {0};
        Random r = {seed};
        Items s = {.first = {0}};
        uint32_t n = 0;
        for (uint32_t i = 1; i < N; i++) {
            s.label[i] = i;
            s.first[i] = n;
            for (uint32_t k = pick(&r, 4); k > 0 && i > 1; k--)
                s.need[n++] = pick(&r, 3) ? i - 1 - pick(&r, i - 1 < 6 ? i - 1 : 6) : 1 + pick(&r, i - 1);
        }
        s.first[N] = n;
        KernelOrder *order = kernel_order_make(&arena, N, s.first, s.need);
        for (int wish = 0; wish < 60; wish++) {
            uint32_t item[4];
            size_t n_items = 2 + pick(&r, 3);
            for (size_t i = 0; i < n_items; i++)
                item[i] = 1 + pick(&r, N - 1);
            Items then = s;
            put_together(&then, item, n_items);
            const bool fits = kernel_order_merge(order, item, n_items);
            if (fits == has_circle(&then))
                fail_msg("seed %d, wish %d: %s", (int)seed, wish, fits ? "a circle was made" : "refused without a circle");
            accepted += fits;
            refused += !fits;
            if (fits)
                s = then;
            for (uint32_t i = 1; i < N; i++)
                assert_int_equal(kernel_order_together(order, i, item[0]), s.label[i] == s.label[item[0]]);
        }
        arena_free(&arena);
    }
    assert_true(accepted > 1000 && refused > 1000);
}

// ---- knotted graphs ----

enum { B, T, T2, D, D2, N_AXES };

typedef struct Maker {
    Random  r;
    Graph  *g;
    AxisId  axis[N_AXES];
    ValueId value[200]; size_t n;           // [B,T,D]
    ValueId line[100]; size_t n_lines;      // [B,T]
    int     n_params;
} Maker;

static ValueId any(Maker *m)
{
    return m->value[pick(&m->r, 3) ? m->n - 1 - pick(&m->r, (uint32_t)(m->n < 5 ? m->n : 5)) : pick(&m->r, (uint32_t)m->n)];
}

static void keep(Maker *m, ValueId v)
{
    if (v && m->n < 200)
        m->value[m->n++] = v;
}

static void keep_line(Maker *m, ValueId v)
{
    if (v && m->n_lines < 100)
        m->line[m->n_lines++] = v;
}

static ValueId weight(Maker *m, int from, int to)
{
    AxisId axes[] = {m->axis[from], m->axis[to]};
    return graph_leaf(m->g, OP_PARAM, arena_printf(m->g->arena, "w%d", m->n_params++), type_make(DTYPE_F32, axes, 2));
}

static ValueId product(Maker *m, ValueId x)
{
    ValueId y = graph_contract(m->g, x, weight(m, D, D2), &m->axis[D], 1);
    return graph_rename(m->g, y, m->axis[D2], m->axis[D]);
}

static void add_attention(Maker *m)
{
    Graph *g = m->g;
    AxisId cols = m->axis[T2];
    ValueId k = graph_rename(g, pick(&m->r, 2) ? product(m, any(m)) : any(m), m->axis[T], cols);
    ValueId v = graph_rename(g, any(m), m->axis[T], cols);
    ValueId s = graph_contract(g, pick(&m->r, 2) ? product(m, any(m)) : any(m), k, &m->axis[D], 1);
    if (m->n_lines && pick(&m->r, 2))
        s = graph_binary(g, OP_MUL, s, m->line[pick(&m->r, (uint32_t)m->n_lines)]);
    ValueId max = graph_reduce(g, RED_MAX, s, &cols, 1);
    ValueId e = graph_map(g, ACT_EXP, graph_binary(g, OP_SUB, s, max)), sum = graph_reduce(g, RED_SUM, e, &cols, 1);
    if (pick(&m->r, 3) == 0)
        keep_line(m, pick(&m->r, 2) ? sum : max);
    keep(m, graph_contract(g, graph_binary(g, OP_DIV, e, sum), v, &cols, 1));
    if (pick(&m->r, 3) == 0)                // the same scores summed the other way
        keep(m, graph_rename(g, graph_contract(g, e, any(m), &m->axis[T], 1), cols, m->axis[T]));
}

static void add_knot(Maker *m)
{
    Graph *g = m->g;
    ValueId x = any(m);
    switch (pick(&m->r, 8)) {
    case 0: case 1: add_attention(m); break;
    case 2: keep(m, product(m, x)); break;
    case 3: keep_line(m, graph_reduce(g, RED_SUM, graph_binary(g, OP_MUL, x, any(m)), &m->axis[D], 1)); break;
    case 4:
        if (m->n_lines)
            keep(m, graph_binary(g, OP_MUL, x, graph_map(g, ACT_SIGMOID, m->line[pick(&m->r, (uint32_t)m->n_lines)])));
        break;
    case 5: keep(m, graph_map(g, ACT_GELU, graph_binary(g, OP_ADD, x, any(m)))); break;
    case 6: keep(m, graph_binary(g, OP_MUL, x, any(m))); break;
    default: {
        AxisId over[] = {m->axis[B], m->axis[T]};
        ValueId mean = graph_reduce(g, RED_SUM, x, over, 2);
        keep(m, graph_binary(g, OP_SUB, any(m), mean));
    }
    }
}

static Module *knotted(Arena *arena, Diag *diag, uint64_t seed)
{
    static const char *const results[] = {"y0", "y1"};
    Maker *m = arena_new(arena, Maker);
    *m = (Maker){.r = {seed * 77 + 5}, .g = graph_make(arena, diag, "main")};
    Graph *g = m->g;
    m->axis[B] = graph_axis(g, "B", AXIS_BATCH, 2, 0);
    m->axis[T] = graph_axis(g, "T", AXIS_TIME, 32, 0);
    m->axis[T2] = graph_axis(g, "T'", AXIS_TIME, 32, m->axis[T]);
    m->axis[D] = graph_axis(g, "D", AXIS_FEATURE, 16, 0);
    m->axis[D2] = graph_axis(g, "D'", AXIS_FEATURE, 16, m->axis[D]);
    keep(m, graph_leaf(g, OP_ARG, "x", type_make(DTYPE_F32, (AxisId[]){m->axis[B], m->axis[T], m->axis[D]}, 3)));
    keep(m, product(m, m->value[0]));
    for (size_t i = 0, n = 10 + pick(&m->r, 30); i < n; i++)
        add_knot(m);
    for (size_t i = 0; i < 2; i++)
        graph_output(g, OUTPUT_RESULT, results[i], m->value[m->n - 1 - i]);
    Module *module = module_make(arena, diag);
    module_add_graph(module, g);
    module->n_params = (size_t)m->n_params;
    module->param = arena_array(arena, Param, module->n_params + 1);
    for (int i = 0; i < m->n_params; i++)
        module->param[i].name = arena_printf(arena, "w%d", i);
    if (seed % 4)
        assert_true(grad_of_run(module, &(RunGradOptions){.cotangent = results, .n_cotangents = 2}));
    return module;
}

static void knotted_graphs_get_kernels_that_run(void **state)
{
    (void)state;
    const char *text = getenv("MIXC_RANDOM_GRAPHS");
    const uint64_t n = text ? strtoull(text, NULL, 10) : 60;
    static const Target target = {.name = "cpu", .vector_floats = 8, .vector_registers = 16, .l1_bytes = 32768, .l2_bytes = 1 << 20,
                                  .threads = 2};
    size_t shared = 0, rows = 0, products = 0;
    for (uint64_t i = 1; i <= n; i++) {
        const uint64_t seed = i == n ? 863 : i;             // 863: a kernel of fuse_product far behind and ahead of a loop
        Arena arena = {0};
        Diag diag = diag_make(&arena, NULL);
        PassContext ctx = {.arena = &arena, .diag = &diag, .target = &target};
        Module *out = passes_run(&ctx, knotted(&arena, &diag, seed), NULL, 0, &(PassHooks){.verify = true});
        if (!out)
            fail_msg("graph %d: %s", (int)seed, diag.item[0].message);
        const Graph *g = module_graph(out, "main");
        size_t *members = arena_array(&arena, size_t, g->n_kernels + 1);
        for (ValueId v = 1; v < g->n_nodes; v++)
            shared += g->node[v].kernel && ++members[g->node[v].kernel] == 2;
        for (uint32_t k = 1; k < g->n_kernels; k++) {
            rows += g->kernel[k] == FAMILY_ROWS;
            products += g->kernel[k] == FAMILY_CONTRACT;
        }
        arena_free(&arena);
    }
    // The order does not forbid everything.
    assert_true(shared > 3 * n && rows > n / 2 && products > 3 * n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_agree_with_a_search),
        cmocka_unit_test(knotted_graphs_get_kernels_that_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
