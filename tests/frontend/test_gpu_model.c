// What a GPU would take for what a simulator counted: each unit is felt when it is the busiest, by the constants of its device.
#include "gpu_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

typedef struct Fixture {
    Arena    arena;
    Program *program;
} Fixture;

// One launch of 1320 blocks of 256 threads.
static int set_up(void **state)
{
    static Fixture f;
    f = (Fixture){0};
    arena_init(&f.arena);
    f.program = program_make(&f.arena, "p");
    const uint32_t kernel = program_add_kernel(f.program, (Kernel){.name = "k", .text = "", .cuda = "", .cuda_threads = 256});
    program_add_launch(f.program, (Launch){.kernel = kernel, .cuda_blocks = 1320, .buffer = arena_array(&f.arena, uint32_t, 1)});
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    arena_free(&((Fixture *)*state)->arena);
    return 0;
}

static SimCounters usual(void)
{
    return (SimCounters){.launches = 1, .blocks = 1320, .instructions = 10560 * 100, .thread_instructions = 10560 * 3200};
}

static double time_of(Fixture *f, const char *device, const SimCounters *c)
{
    return gpu_seconds(gpu_device_find(device), f->program, c);
}

// A copy of 8 GiB is as fast as memory is, within what does not overlap.
static void memory_bounds(void **state)
{
    SimCounters c = usual();
    c.first_read_sectors = c.first_written_sectors = c.global_sectors = (uint64_t)1 << 27;
    const double bytes = 64.0 * (double)c.first_read_sectors;
    const double h100 = time_of(*state, "H100", &c), h200 = time_of(*state, "H200", &c), a100 = time_of(*state, "A100", &c);
    assert_true(h100 > bytes / 3350e9 && h100 < 1.2 * bytes / 3350e9);
    assert_true(h200 > bytes / 4800e9 && h200 < 1.3 * bytes / 4800e9);
    assert_true(a100 > bytes / 1555e9 && a100 < 1.2 * bytes / 1555e9);
}

static void tensor_cores_bound(void **state)
{
    SimCounters c = usual();
    c.tensor_flops = (uint64_t)1e13;
    const double h100 = time_of(*state, "H100", &c), a100 = time_of(*state, "A100", &c);
    assert_true(h100 > 1e13 / 989.5e12 && h100 < 1.2e13 / 989.4e12);
    assert_true(a100 > 3 * h100 && a100 < 3.5 * h100);
}

// More of anything is never faster, and of what is busiest it is slower in proportion.
static void all_units_count(void **state)
{
    static const size_t offset[] = {
        offsetof(SimCounters, instructions), offsetof(SimCounters, flops), offsetof(SimCounters, tensor_flops), offsetof(SimCounters, shared_requests),
        offsetof(SimCounters, bank_conflicts), offsetof(SimCounters, global_sectors), offsetof(SimCounters, first_read_sectors),
        offsetof(SimCounters, first_written_sectors), offsetof(SimCounters, barriers),
    };
    const SimCounters few = usual();
    for (size_t i = 0; i < sizeof offset / sizeof *offset; i++) {
        SimCounters more = few, most = few;
        *(uint64_t *)((char *)&more + offset[i]) += (uint64_t)1 << 40;
        *(uint64_t *)((char *)&most + offset[i]) += (uint64_t)1 << 41;
        const double base = time_of(*state, NULL, &few), one = time_of(*state, NULL, &more), two = time_of(*state, NULL, &most);
        assert_true(one > 10 * base);
        assert_true(two > 1.99 * one && two < 2.01 * one);
    }
}

// Blocks that do not fill the last round of processors cost a whole one.
static void a_tail_is_felt(void **state)
{
    SimCounters even = usual(), odd;
    even.flops = (uint64_t)1e12;
    odd = even;
    odd.blocks = 133;                       // two rounds for little more than one's work
    even.blocks = 132;
    assert_true(time_of(*state, "H100", &odd) > 1.9 * time_of(*state, "H100", &even));
}

static void launches_that_did_not_run_cost_nothing(void **state)
{
    const SimCounters none = {0}, usual_one = usual();
    assert_true(time_of(*state, NULL, &none) <= 0);
    assert_true(time_of(*state, NULL, &usual_one) > 2e-6);
}

static void devices_have_names(void **state)
{
    Fixture *f = *state;
    assert_non_null(gpu_device_find(NULL));
    assert_null(gpu_device_find("K80"));
    assert_string_equal(gpu_device_names(&f->arena), "H100, H200, A100");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(memory_bounds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tensor_cores_bound, set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_units_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_tail_is_felt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(launches_that_did_not_run_cost_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(devices_have_names, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
