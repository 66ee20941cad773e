// Random graphs over all ops: generated C against the evaluator.
// MIXC_TEST_SEEDS=FROM..TO runs other seeds than the usual ones.
#include "run_graph.h"

#include "random_graph.h"

static Arena leaf_arena;

static void use_random_leaves(Ran *r)
{
    for (ValueId v = 1; v < r->given->n_nodes; v++)
        if (r->leaf[v])
            r->leaf[v] = (double *)(uintptr_t)random_leaf(&leaf_arena, r->given, &r->given->node[v]);
}

// Rounds f32 leaves to float, so that both sides see the same numbers.
static void round_leaves(Ran *r)
{
    for (ValueId v = 1; v < r->given->n_nodes; v++) {
        int64_t count = 0;
        if (!r->leaf[v] || r->given->node[v].type.dtype == DTYPE_I32)
            continue;
        type_count(r->given, &r->given->node[v].type, &count);
        double *x = arena_array(&r->arena, double, (size_t)count + 1);
        for (int64_t i = 0; i < count; i++)
            x[i] = (double)(float)r->leaf[v][i];
        r->leaf[v] = x;
    }
}

static void check_random(Device *device, int lanes, uint64_t seed)
{
    Arena arena = {0};
    Diag diag = diag_make(&arena, NULL);
    Text text = text_make(&arena), c = text_make(&arena);
    RandomGraphOptions options = {.n_nodes = 30, .tame = true};
    graph_print(random_graph(&arena, &diag, seed, &options), &text);
    Ran r;
    compile_graph(&r, text_str(&text), lanes);
    use_random_leaves(&r);
    round_leaves(&r);
    StatusText why = {0};
    assert_int_equal(graph_eval(r.given, find_leaf, &r, &r.arena, &r.expected, &why), STATUS_OK);
    LoadedProgram *l = NULL;
    codegen_emit_c(r.program, &c);
    if (device_cpu.load(device, r.program, &l, &why) != STATUS_OK)
        fail_msg("seed %llu: %s\n%s", (unsigned long long)seed, why.text, text_str(&c));
    write_leaves(&r, l);
    assert_int_equal(device_cpu.run(l, &why), STATUS_OK);
    uint64_t bits = 1;
    double error = compare_outputs(&r, l, &bits);
    if (!(error <= 2e-4)) {
        Text fused = text_make(&arena);
        graph_print(r.fused, &fused);
        fprintf(stderr, "%s\n%s\n", text_str(&fused), text_str(&c));
        fail_msg("seed %llu: error %g", (unsigned long long)seed, error);
    }
    device_cpu.unload(l);
    arena_free(&r.arena);
    arena_free(&arena);
}

static void test_random_graphs(void **state)
{
    (void)state;
    unsigned long long from = 1, to = 24;
    const char *wanted = getenv("MIXC_TEST_SEEDS");
    if (wanted)
        sscanf(wanted, "%llu..%llu", &from, &to);
    Device *device = open_device(2);
    Target target;
    device_cpu.target(device, &target);
    for (uint64_t seed = from; seed <= to; seed++)
        check_random(device, target.vector_floats, seed);
    device_cpu.close(device);
    arena_free(&leaf_arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_graphs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
