// Routing in CUDA in the simulator against the evaluator: ties, NaN-free odd sizes, several pools, rows and pools larger than what
// registers and shared memory hold, and as few launches as there should be. Skipped where there is no NVRTC.
#include "sim_graph.h"

#include "route_cases.h"

static const Target cuda_target = {.name = "cuda", .is_cuda = true, .vector_floats = 8, .vector_registers = 16, .l1_bytes = 32768,
                                   .l2_bytes = 1 << 20, .threads = 1};

// Returns the number of launches whose kernels choose, give places or order rows.
static int check_route(Device *d, const char *text, double tolerance)
{
    Ran r;
    StatusText why = {0};
    LoadedProgram *l = NULL;
    uint64_t bits[2] = {1, 1};
    int n = 0;
    compile_for(&r, text, &cuda_target);
    evaluate(&r);
    if (getenv("MIXC_TEST_TEXT")) {
        Text cuda = text_make(&r.arena);
        codegen_emit_cuda(r.program, &cuda);
        fprintf(stderr, "%s\n", text_str(&cuda));
    }
    for (size_t i = 0; i < r.program->n_launches; i++) {
        const Launch *launch = &r.program->launch[i];
        const Kernel *k = &r.program->kernel[launch->kernel];
        n += launch->cuda_blocks > 0 && (k->family == FAMILY_ROUTE || strstr(k->name, "order"));
    }
    r.ops = &device_sim;
    if (device_sim.load(d, r.program, &l, &why) != STATUS_OK)
        fail_msg("%s\n%s", why.text, text);
    for (int i = 0; i < 2; i++) {
        write_leaves(&r, l);
        if (device_sim.run(l, &why) != STATUS_OK)
            fail_msg("%s\n%s", why.text, text);
        const double error = compare_outputs(&r, l, &bits[i]);
        if (!(error <= tolerance))
            fail_msg("error %g is above %g\n%s", error, tolerance, text);
    }
    if (bits[0] != bits[1])
        fail_msg("two runs differ\n%s", text);
    device_sim.unload(l);
    arena_free(&r.arena);
    return n;
}

static void choices_and_places(void **state)
{
    (void)state;
    Device *d = open_sim();
    for (size_t i = 0; i < N_CHOICE_CASES; i++)
        check_route(d, choice_case[i], 1e-6);
    device_sim.close(d);
}

// Scores, choices, places and the order of rows take two launches, with capacity or without.
static void fused_choices_take_two_launches(void **state)
{
    (void)state;
    Device *d = open_sim();
    for (size_t i = 0; i + 1 < N_FUSED_CASES; i++)      // the last is large, and what it is for is the cpu's
        assert_int_equal(check_route(d, fused_case[i].text, 2e-6), fused_case[i].n_route + fused_case[i].n_orders);
    device_sim.close(d);
}

// More than 1024 scores, more than 32 choices, more elements to sort than shared memory holds, one token, one expert; sums at places.
static const char *const edge_case[] = {
    "graph @main\naxis T : time = 3, E : expert = 1100, K = 3, D = 8\n{\n %1 = arg \"x\" : f32[T,D]\n %2 = param \"w\" : f32[D,E]\n"
    " %3 = contract %1, %2 {over = [D]}\n %4 = map %3 {f = floor}\n %5 = topk %4 {axis = E, to = K}\n %6 = take %3, %5 {axis = E}\n"
    " result \"i\" = %5\n result \"w\" = %6\n}\n",
    "graph @main\naxis T : time = 3, E : expert = 1100, K = 3, J = 40\n{\n %1 = arg \"x\" : f32[T,E]\n %2 = map %1 {f = floor}\n"
    " %3 = topk %2 {axis = E, to = K}\n %4 = topk %2 {axis = E, to = J}\n result \"a\" = %3\n result \"b\" = %4\n}\n",
    "graph @main\naxis B = 2, T : time = 12300, J = 5\n{\n %1 = arg \"x\" : f32[B,T]\n %2 = map %1 {f = floor}\n"
    " %3 = rank %2 {over = [T]}\n %4 = topk %2 {axis = T, to = J}\n result \"a\" = %3\n result \"b\" = %4\n}\n",
    // gradients of what is chosen: more features than a warp has lanes, more places than blocks; a number for each place, in pools too
    "graph @main\naxis B = 3, T : time = 47, K = 2, E : expert = 530, D = 300, V = 5\n{\n %1 = arg \"i\" : int[B,T,K]\n"
    " %2 = arg \"dy\" : f32[B,T,K,D]\n %3 = put_add %2, %1 {over = [B,T,K], to = E}\n %4 = arg \"w\" : f32[B,T,K]\n"
    " %5 = put_add %4, %1 {over = [B,T,K], to = E}\n %6 = put_add %4, %1 {over = [T,K], to = V}\n"
    " result \"a\" = %3\n result \"b\" = %5\n result \"c\" = %6\n}\n",
    "graph @main\naxis T : time = 1, E : expert = 1, K = 1\n{\n %1 = arg \"x\" : f32[T,E]\n %2 = topk %1 {axis = E, to = K}\n"
    " %3 = rank %1 {over = [T]}\n %4 = slot %2 {axis = E, over = [K,T]}\n result \"a\" = %2\n result \"b\" = %3\n result \"c\" = %4\n}\n",
};

static void edges(void **state)
{
    (void)state;
    Device *d = open_sim();
    for (size_t i = 0; i < sizeof edge_case / sizeof *edge_case; i++)
        check_route(d, edge_case[i], 2e-6);
    device_sim.close(d);
}

static int run(const NvrtcApi *nvrtc)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choices_and_places),
        cmocka_unit_test(fused_choices_take_two_launches),
        cmocka_unit_test(edges),
    };
    (void)nvrtc;
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}

int main(void)
{
    return sim_main(run);
}
