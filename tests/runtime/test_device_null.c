// The null device and what every device checks of a program before it trusts it.
#include "check.h"
#include "device.h"
#include "programs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void test_is_found_by_name(void **state)
{
    (void)state;
    assert_ptr_equal(device_find("cpu"), &device_cpu);
    assert_ptr_equal(device_find("null"), &device_null);
    assert_null(device_find("abacus"));
}

static void test_counts_and_keeps_what_is_written(void **state)
{
    (void)state;
    Arena arena = {0};
    StatusText why = {0};
    DeviceOptions options = {0};
    Device *d = NULL;
    LoadedProgram *l = NULL;
    LoadStats stats;
    float x[N] = {1, 2, 3}, back[N];
    double seconds[3] = {1, 1, 1};
    assert_int_equal(device_null.open(&options, &d, &why), STATUS_OK);
    assert_int_equal(device_null.load(d, make_affine(&arena), &l, &why), STATUS_OK);
    assert_int_equal(device_null.write(l, 1, 0, x, sizeof x, &why), STATUS_OK);
    assert_int_equal(device_null.read(l, 1, 0, back, sizeof back, &why), STATUS_OK);
    assert_memory_equal(x, back, sizeof x);
    assert_int_equal(device_null.run(l, &why), STATUS_OK);
    assert_int_equal(device_null.run_timed(l, seconds, &why), STATUS_OK);
    assert_true(seconds[2] == 0);
    device_null.stats(l, &stats);
    assert_int_equal(stats.launches, 6);
    assert_int_equal(device_null.write(l, 1, 3996, &x[1], 4, &why), STATUS_OK);
    assert_int_equal(device_null.read(l, 1, 3996, back, 4, &why), STATUS_OK);
    assert_true(back[0] == 2);
    assert_int_equal(device_null.write(l, 1, 3996, x, 8, &why), STATUS_INTERNAL);
    assert_string_equal(why.text, "buffer 'x' has 4000 bytes: no 8 from 3996 on");
    assert_int_equal(device_null.write(l, 1, SIZE_MAX, x, 8, &why), STATUS_INTERNAL);
    assert_int_equal(device_null.read(l, 77, 0, back, 4, &why), STATUS_INTERNAL);
    device_null.unload(l);
    device_null.close(d);
    arena_free(&arena);
}

typedef void Break(Program *p);

static void misalign(Program *p)       { p->buffer[2].offset = 4040; }
static void leave_arena(Program *p)    { p->arena_bytes = 4096; }
static void overlap(Program *p)        { p->buffer[3].offset = 4032; }
static void overlap_state(Program *p)  { p->buffer[4].offset = 3968; }
static void bad_buffer(Program *p)     { p->launch[1].buffer[1] = 9; }
static void null_buffer(Program *p)    { p->launch[1].buffer[0] = 0; }
static void bad_kernel(Program *p)     { p->launch[0].kernel = 3; }
static void no_kernel(Program *p)      { p->launch[0].kernel = 0; }
static void bad_name(Program *p)       { p->kernel[1].name = "x; system"; }
static void same_name(Program *p)      { p->kernel[1].name = "add_one"; }
static void too_small(Program *p)      { p->buffer[1].bytes = 100; }
static void huge(Program *p)           { p->buffer[1].size[0] = INT64_MAX; }
static void negative(Program *p)       { p->launch[0].n_work = -1; }
static void cycle(Program *p)          { p->buffer[2].same_as = 3; p->buffer[3].same_as = 2; }
static void shares_larger(Program *p)  { p->buffer[1].same_as = 4; }

// A library's product of 10 by 10 and 10 by 10, all in the buffer of 1000 floats, broken in one place.
static void give_to_library(Program *p, int broken)
{
    LibraryProduct *l = arena_new(p->arena, LibraryProduct);
    const MatrixPlace all = {.param = 0, .offset = 0, .outer = 10, .step = 1};
    *l = (LibraryProduct){.way = 1, .type = DTYPE_F32, .result = DTYPE_F32, .batch = 1, .rows = 10, .cols = 10, .sum = 10, .a = all, .b = all,
                          .y = all, .work = 1};
    p->kernel[1].library = l;
    if (broken == 1)
        l->b.offset = 901;
    else if (broken == 2)
        l->y.param = 7;
    else if (broken == 3)
        l->a.step = -1;
    else if (broken == 4)
        l->work = 9;
    else if (broken == 5)
        l->a.outer = INT64_MAX;
}

static void library_fits(Program *p)     { p->launch[0].kernel = 3; give_to_library(p, 0); }
static void library_beyond(Program *p)   { give_to_library(p, 1); }
static void library_param(Program *p)    { give_to_library(p, 2); }
static void library_backward(Program *p) { give_to_library(p, 3); }
static void library_work(Program *p)     { give_to_library(p, 4); }
static void library_huge(Program *p)     { give_to_library(p, 5); }

static void test_checks(void **state)
{
    (void)state;
    static const struct { Break *change; const char *expected; } row[] = {
        {library_fits, "names kernel 3 of 3"}, {library_beyond, "operand 2 of the library's product in kernel"},
        {library_param, "operand 3 of the library's product"}, {library_backward, "operand 1 of the library's product"},
        {library_work, "a type or argument that does not exist"}, {library_huge, "operand 1 of the library's product"},
        {misalign, "not at a multiple of 64"}, {leave_arena, "ends outside the arena of 4096 bytes"},
        {overlap, "buffers 2 't' (bytes 4032 to 8032) and 3 'output.y' (bytes 4032 to 8032) share memory"},
        {overlap_state, "share memory while both are alive"}, {bad_buffer, "passes buffer 9 of 5"},
        {null_buffer, "passes buffer 0 of 5"}, {bad_kernel, "names kernel 3 of 3"}, {no_kernel, "names kernel 0"},
        {bad_name, "not a C name"}, {same_name, "two kernels are called 'add_one'"},
        {too_small, "needs 4000 bytes and has 100"}, {huge, "size that does not fit"},
        {negative, "negative number of work items"}, {cycle, "shares storage with no buffer"},
        {shares_larger, "is larger than 'count'"},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        Arena arena = {0};
        StatusText why = {0};
        Program *p = make_affine(&arena);
        assert_int_equal(program_check(p, &why), STATUS_OK);
        row[i].change(p);
        assert_int_not_equal(program_check(p, &why), STATUS_OK);
        if (!strstr(why.text, row[i].expected))
            fail_msg("expected '%s', got '%s'", row[i].expected, why.text);
        arena_free(&arena);
    }
}

static void test_reuse_after_the_last_use_is_fine(void **state)
{
    (void)state;
    Arena arena = {0};
    StatusText why = {0};
    Program *p = make_affine(&arena);
    p->buffer[3].offset = 0;                // y is written after x was read for the last time
    assert_int_equal(program_check(p, &why), STATUS_OK);
    p->buffer[3].kind = BUFFER_STATE;       // but a state is always alive
    assert_int_equal(program_check(p, &why), STATUS_INTERNAL);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_found_by_name),
        cmocka_unit_test(test_counts_and_keeps_what_is_written),
        cmocka_unit_test(test_checks),
        cmocka_unit_test(test_reuse_after_the_last_use_is_fine),
    };
    return cmocka_run_group_tests_name("null device", tests, NULL, NULL);
}
