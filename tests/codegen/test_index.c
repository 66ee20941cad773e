// Index expressions are simplified to what they are (codegen/index.h): texts of a few that views make.
#include "index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void expect(IxTable *t, Arena *arena, Ix a, const char *want)
{
    Text text = text_make(arena);
    ix_print(t, a, false, 0, NULL, &text);
    assert_string_equal(text_str(&text), want);
}

static Ix digit(IxTable *t, Ix w, int64_t by, int64_t size)
{
    return ix_mod(t, ix_div(t, w, by), size);
}

static void digits_that_meet_again_are_one(void **state)
{
    (void)state;
    Arena arena = {0};
    IxTable *t = ix_table(&arena);
    const Ix w = ix_var(t, "w", 0, 239, 1, 0);
    // all of a number, and a part of it
    expect(t, &arena, ix_add(t, ix_scale(t, ix_div(t, w, 6), 6), ix_mod(t, w, 6)), "w");
    expect(t, &arena, ix_add(t, ix_mod(t, w, 6), ix_scale(t, digit(t, w, 6, 4), 6)), "w%24");
    expect(t, &arena, ix_add(t, ix_scale(t, digit(t, w, 6, 4), 18), ix_scale(t, ix_mod(t, w, 6), 3)), "w%24*3");
    // three digits, in any order
    expect(t, &arena, ix_add(t, ix_add(t, ix_scale(t, digit(t, w, 12, 5), 12), ix_mod(t, w, 3)), ix_scale(t, digit(t, w, 3, 4), 3)), "w%60");
    // digits in another order, or of other numbers, are none
    expect(t, &arena, ix_add(t, ix_scale(t, ix_mod(t, w, 6), 4), digit(t, w, 6, 4)), "w%6*4 + (w/6)%4");
    const Ix v = ix_var(t, "v", 0, 239, 1, 1);
    expect(t, &arena, ix_add(t, ix_mod(t, v, 6), ix_scale(t, digit(t, w, 6, 4), 6)), "(w/6)%4*6 + v%6");
    arena_free(&arena);
}

// A vector that stays in its part of the number loads at once.
static void lanes_go_through_a_part(void **state)
{
    (void)state;
    Arena arena = {0};
    IxTable *t = ix_table(&arena);
    const Ix c = ix_var(t, "c", 0, 191, 16, 0);
    const Ix part = ix_add(t, ix_mod(t, c, 8), ix_scale(t, digit(t, c, 8, 8), 8));
    assert_int_equal(ix_lane(t, part, c, 16), LANE_UNIT);
    assert_int_equal(ix_lane(t, ix_mod(t, c, 8), c, 16), LANE_OTHER);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digits_that_meet_again_are_one),
        cmocka_unit_test(lanes_go_through_a_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
