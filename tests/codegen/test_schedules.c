// Any schedule whatever gives a right kernel, in every family, with the same bits for one thread and three. Knobs are drawn at
// random, each kernel its own. MIXC_TEST_SEEDS=FROM..TO draws others than the usual ones.
#include "run_graph.h"

#include "product_cases.h"

typedef struct Draw {
    uint32_t key;
    Schedule schedule;
} Draw;

// Half of the knobs stay as they are; values lie around tiles, far below and far above.
static const Schedule *draw(void *user, uint64_t kernel)
{
    static const int32_t value[] = {1, 2, 3, 4, 5, 7, 8, 13, 14, 16, 17, 31, 32, 48, 64, 100, 128, 255, 512, 1000, 4096, 99999999};
    Draw *d = user;
    for (int k = 0; k < KNOB_COUNT; k++) {
        const double u = rng_uniform(rng_mix(d->key ^ (uint32_t)kernel), (uint32_t)k);
        const size_t n = sizeof value / sizeof *value;
        d->schedule.knob[k] = u < 0.5 ? 0 : value[(size_t)((u - 0.5) * 2 * (double)n) % n];
    }
    return &d->schedule;
}

static void check_schedules(const char *text, double tolerance)
{
    unsigned long long from = 1, to = 3;
    const char *wanted = getenv("MIXC_TEST_SEEDS");
    if (wanted)
        sscanf(wanted, "%llu..%llu", &from, &to);
    for (unsigned long long seed = from; seed <= to; seed++) {
        Draw d = {.key = rng_key((uint32_t)seed, 5, 1)};
        const Schedules schedules = {.find = draw, .user = &d};
        if (wanted)
            print_message("seed %llu\n", seed);
        run_schedules = &schedules;
        check_graph(text, tolerance);
        run_schedules = NULL;
    }
}

static const char *at_size(Arena *arena, const LoopCase *c, size_t size)
{
    const char *hole = strchr(strstr(c->text, "axis @"), '@');
    return arena_printf(arena, "%.*s%s%s", (int)(hole - c->text), c->text, c->sizes[size], hole + 1);
}

static void check_case(const LoopCase *c, size_t size)
{
    Arena arena = {0};
    check_schedules(at_size(&arena, c, size), 2 * c->tolerance);        // blocks add up in another order
    arena_free(&arena);
}

static void products_and_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_PRODUCT_CASES; i++)
        check_case(&product_case[i], 0);
}

static void loops(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof loop_case / sizeof *loop_case; i += 4)
        check_case(&loop_case[i], 0);
}

static void long_rows_and_totals(void **state)
{
    (void)state;
    check_schedules("graph @main\naxis A = 70, B = 1300\n{\n  %1.x = arg \"x\" : f32[A,B]\n  %2.y = arg \"y\" : f32[A,B]\n"
                    "  %3 = add %1, %2\n  %4.z = map %3 {f = tanh}\n  %5 = mul %1, %2\n"
                    "  %6.c = reduce %5 {f = sum, over = [A]}\n  %7.t = reduce %5 {f = sum, over = [A,B]}\n"
                    "  result \"z\" = %4\n  result \"c\" = %6\n  result \"t\" = %7\n}\n", 5e-6);
}

static const Schedule *fixed(void *user, uint64_t kernel)
{
    (void)kernel;
    return user;
}

// Few rows whose columns are read where they lie: alone, in batches, beside what follows them, and where that cannot be.
static void few_rows(void **state)
{
    (void)state;
    static const char *const schedule[] = {"default", "pack=3", "tile_rows=3 tile_vectors=2 rows=3 cols=32 terms=100 pack=3",
                                           "tile_rows=3 tile_vectors=1 terms=2000 pack=3"};
    static const char *const size[] = {"M = 3, N = 64, B = 1", "M = 4, N = 96, B = 3", "M = 3, N = 45, B = 2", "M = 1, N = 64, B = 5", "M = 9, N = 32, B = 2"};
    Arena arena = {0};
    for (size_t k = 0; k < sizeof schedule / sizeof *schedule; k++)
        for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
            Schedule s;
            assert_true(schedule_parse(schedule[k], &s));
            const Schedules schedules = {.find = fixed, .user = &s};
            run_schedules = &schedules;
            check_graph(arena_printf(&arena, "graph @main\naxis %s, K = 1030\n{\n  %%1.x = arg \"x\" : f32[B,M,K]\n  %%2.w = arg \"w\" : f32[B,K,N]\n"
                                     "  %%3 = contract %%1, %%2 {over = [K]}\n  %%4.bias = arg \"bias\" : f32[N]\n  %%5 = add %%3, %%4\n"
                                     "  %%6.y = map %%5 {f = relu}\n  result \"y\" = %%6\n}\n", size[i]), 2e-5);
        }
    run_schedules = NULL;
    arena_free(&arena);
}

// Attention of many rows, so that blocks and parts differ.
static void attention(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_PRODUCT_CASES; i++) {
        if (strncmp(product_case[i].name, "attention", 9) != 0)
            continue;
        LoopCase c = product_case[i];
        c.sizes[0] = "B = 2, H = 2, T : time = 75, T' : time = 75 twin T, K = 18";
        check_case(&c, 0);
    }
}

static void batches_side_by_side(void **state)
{
    (void)state;
    check_schedules("graph @main\naxis I = 45, J = 24, K = 40, G = 24\n{\n  %1.a = arg \"a\" : f32[I,K,G]\n"
                    "  %2.b = param \"b\" : f32[G,K,J]\n  %3.y = contract %1, %2 {over = [K]} : f32[I,J,G]\n"
                    "  %4.z = map %3 {f = relu} : f32[I,J,G]\n  result \"z\" = %4\n}\n", 5e-6);
}

static void grouped(void **state)
{
    (void)state;
    check_schedules("graph @main\naxis T : time = 130, K = 2, E : expert = 5, D = 40, F = 150\n{\n"
                    "  %1.i = arg \"i\" : int[T,K]\n  %2 = const {value = 1} : int[]\n  %3 = sub %1, %2\n"
                    "  %4.x = arg \"x\" : f32[T,D]\n  %5.W = param \"W\" : f32[E,D,F]\n  %6 = take %5, %3 {axis = E}\n"
                    "  %7.y = contract %4, %6 {over = [D]}\n  %8.dy = arg \"dy\" : f32[T,K,F]\n  %9 = mul %4, %8\n"
                    "  %10.dW = put_add %9, %3 {over = [T,K], to = E}\n  %11 = contract %8, %6 {over = [F]}\n"
                    "  result \"y\" = %7\n  result \"dW\" = %10\n  result \"dx\" = %11\n}\n", 5e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_and_rows),
        cmocka_unit_test(loops),
        cmocka_unit_test(long_rows_and_totals),
        cmocka_unit_test(few_rows),
        cmocka_unit_test(attention),
        cmocka_unit_test(batches_side_by_side),
        cmocka_unit_test(grouped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
