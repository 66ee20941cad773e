// Weight maps: what parses, what is refused and where, and that elements land where the text says, both ways.
#include "weight_map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

typedef struct Fixture { Arena arena; Sources sources; Diag diag; } Fixture;

static WeightMap *parse(Fixture *f, const char *text)
{
    *f = (Fixture){0};
    f->sources = sources_make(&f->arena);
    f->diag = diag_make(&f->arena, &f->sources);
    uint32_t file = sources_add(&f->sources, "w.map", text, strlen(text));
    return weight_map_parse(&f->arena, &f->diag, &f->sources, file);
}

static void names_are_read(void **state)
{
    (void)state;
    Fixture f;
    WeightMap *map = parse(&f, "# a comment\n\nAttn.Wq[D,H,K] = \"q.weight\"[(H K), D]   # why\n"
                               "sgu.bias[T] = \"sgu#b\"[1, T] * -0.5\nloss.aux = \"loss.reg\"\n");
    assert_non_null(map);
    assert_int_equal(map->n_lines, 3);
    assert_string_equal(map->line[0].ours, "Attn.Wq");
    assert_string_equal(map->line[0].theirs, "q.weight");
    assert_int_equal(map->line[0].dim[0].n_axes, 2);
    assert_string_equal(map->line[1].theirs, "sgu#b");
    assert_true(map->line[1].factor == -0.5);
    assert_int_equal(map->line[1].dim[0].n_axes, 0);
    assert_int_equal(map->line[2].n_dims, 0);
    arena_free(&f.arena);
}

static void wrong_lines_are_all_reported(void **state)
{
    (void)state;
    static const struct { const char *text; uint32_t col;
    } wrong[] = {
        {"W[D] \"w\"[D]", 6},        {"W[D] = w[D]", 8},           {"W[D] = \"w[D]", 8},
        {"W[D] = \"w\"[E]", 12},     {"W[D] = \"w\"[D,D]", 14},    {"W[D,E] = \"w\"[D]", 10},
        {"W[D] = \"w\"[2, D]", 12},  {"W[D] = \"w\"[D@4..4]", 12}, {"W[D] = \"w\"[D@4-5]", 15},
        {"W[D] = \"w\"[D] * x", 17}, {"W[D] = \"w\"[D] * 0", 17},  {"W[D] = \"w\"[D] + 1", 15},
        {"W[D = \"w\"[D]", 5},       {"[D] = \"w\"[D]", 1},        {"W[D] = \"w\"[D@0..99999999999999999999]", 17},
        {"W[D] = \"w\"[(D]", 14},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        Fixture f;
        assert_null(parse(&f, wrong[i].text));
        assert_int_equal(f.diag.n_errors, 1);
        assert_int_equal(sources_line_col(&f.sources, f.diag.item[0].at.file, f.diag.item[0].at.begin).col,
                         wrong[i].col);
        arena_free(&f.arena);
    }
    Fixture f;
    assert_null(parse(&f, "W[D] = w\nV[D] = \"v\"[D]\nU[D] = \"u\"\n"));
    assert_int_equal(f.diag.n_errors, 2);
    arena_free(&f.arena);
}

// W[D=2,H=2,K=3] in theirs [(H K), D]: theirs[h*3 + k][d] = W[d][h][k].
static void merges_and_transposes(void **state)
{
    (void)state;
    Fixture f;
    WeightMap *map = parse(&f, "W[D,H,K] = \"q\"[(H K), D] * 2\n");
    MapAxes ours = {3, {"D", "H", "K"}, {2, 2, 3}};
    int64_t shape[2] = {6, 2};
    float theirs[12], w[12] = {0}, back[12] = {0};
    for (int i = 0; i < 12; i++)
        theirs[i] = (float)(i * i);
    MapPlan plan;
    assert_true(weight_map_plan(&f.arena, &f.diag, map->line, &ours, shape, 2, &plan));
    map_plan_read(&plan, DTYPE_F32, plan.factor, theirs, w, NULL);
    for (int d = 0; d < 2; d++)
        for (int h = 0; h < 2; h++)
            for (int k = 0; k < 3; k++)
                assert_true(w[(d * 2 + h) * 3 + k] == 2 * theirs[(h * 3 + k) * 2 + d]);
    map_plan_add(&plan, DTYPE_F32, 1 / plan.factor, w, back);
    assert_memory_equal(back, theirs, sizeof back);
    assert_true(weight_map_shape(&f.diag, map->line, &ours, shape));
    assert_int_equal(shape[0], 6);
    int64_t wrong[2] = {6, 3};
    assert_false(weight_map_plan(&f.arena, &f.diag, map->line, &ours, wrong, 2, &plan));
    assert_int_equal(f.diag.n_errors, 1);
    assert_non_null(strstr(f.diag.item[0].message, "[6,3]"));
    arena_free(&f.arena);
}

// Two of theirs fill one of ours; one of theirs holds two of ours.
static void ranges(void **state)
{
    (void)state;
    Fixture f;
    WeightMap *map = parse(
        &f,
        "W[D,F] = \"lo\"[F@0..2, D]\nW[D,F] = \"hi\"[F@2..5, D]\nQ[F] = \"qk\"[F@0..5]\nK[F] = \"qk\"[F@5..10]\n");
    MapAxes w_axes = {2, {"D", "F"}, {2, 5}}, q_axes = {1, {"F"}, {5}};
    float lo[4] = {1, 2, 3, 4}, hi[6] = {5, 6, 7, 8, 9, 10}, w[10] = {0}, k[5];
    bool filled[10] = {0};
    int64_t lo_shape[2] = {2, 2}, hi_shape[2] = {3, 2}, qk_shape[1] = {10};
    MapPlan plan;
    assert_true(weight_map_plan(&f.arena, &f.diag, &map->line[0], &w_axes, lo_shape, 2, &plan));
    map_plan_read(&plan, DTYPE_F32, 1, lo, w, filled);
    assert_true(weight_map_plan(&f.arena, &f.diag, &map->line[1], &w_axes, hi_shape, 2, &plan));
    map_plan_read(&plan, DTYPE_F32, 1, hi, w, filled);
    float want[10] = {1, 3, 5, 7, 9, 2, 4, 6, 8, 10};
    assert_memory_equal(w, want, sizeof w);
    for (int i = 0; i < 10; i++)
        assert_true(filled[i]);
    float qk[10] = {0, 1, 2, 3, 4, 50, 51, 52, 53, 54}, grad[10] = {0};
    assert_true(weight_map_plan(&f.arena, &f.diag, &map->line[3], &q_axes, qk_shape, 1, &plan));
    map_plan_read(&plan, DTYPE_F32, 1, qk, k, NULL);
    assert_true(k[0] == 50 && k[4] == 54);
    map_plan_add(&plan, DTYPE_F32, 1, k, grad);
    assert_true(grad[4] == 0 && grad[5] == 50 && grad[9] == 54);
    int64_t shape[1];
    assert_true(weight_map_shape(&f.diag, &map->line[3], &q_axes, shape));
    assert_int_equal(shape[0], 10);
    int64_t short_qk[1] = {9};
    assert_false(weight_map_plan(&f.arena, &f.diag, &map->line[3], &q_axes, short_qk, 1, &plan));
    arena_free(&f.arena);
}

static void sizes_are_revealed(void **state)
{
    (void)state;
    Fixture f;
    WeightMap *map = parse(&f, "input.x[B,T,H,D] = \"input.x\"[T, B, (H D)]\n");
    MapAxes known = {4, {"B", "T", "H", "D"}, {-1, -1, 4, -1}};
    int64_t shape[3] = {9, 2, 12};
    MapSize found[4];
    assert_int_equal(weight_map_sizes(map->line, shape, 3, &known, found, 4), 3);
    assert_string_equal(found[0].axis, "T");
    assert_int_equal(found[0].size, 9);
    assert_string_equal(found[2].axis, "D");
    assert_int_equal(found[2].size, 3);
    arena_free(&f.arena);
}

// A tensor of theirs for each expert, without the axis that it is one point of; or with it.
static void unit_dimensions_may_be_absent(void **state)
{
    (void)state;
    Fixture f;
    WeightMap *map = parse(&f, "W[E,D,F] = \"w.0\"[E@0..1, F, D]\nW[E,D,F] = \"w.1\"[E@1..2, F, D]\nb[T] = \"b\"[1, T]\n");
    MapAxes ours = {3, {"E", "D", "F"}, {2, 2, 3}}, b_axes = {1, {"T"}, {4}};
    float theirs[6] = {1, 2, 3, 4, 5, 6}, w[12] = {0}, back[6] = {0};
    int64_t flat[2] = {3, 2}, whole[3] = {1, 3, 2}, row[1] = {4}, wrong[2] = {2, 3};
    bool filled[12] = {0};
    MapPlan plan;
    assert_true(weight_map_plan(&f.arena, &f.diag, &map->line[0], &ours, whole, 3, &plan));
    map_plan_read(&plan, DTYPE_F32, 1, theirs, w, filled);
    assert_true(weight_map_plan(&f.arena, &f.diag, &map->line[1], &ours, flat, 2, &plan));
    map_plan_read(&plan, DTYPE_F32, 2, theirs, w, filled);
    float want[12] = {1, 3, 5, 2, 4, 6, 2, 6, 10, 4, 8, 12};
    assert_memory_equal(w, want, sizeof w);
    for (int i = 0; i < 12; i++)
        assert_true(filled[i]);
    map_plan_add(&plan, DTYPE_F32, 0.5, w, back);
    assert_memory_equal(back, theirs, sizeof back);
    assert_true(weight_map_plan(&f.arena, &f.diag, &map->line[2], &b_axes, row, 1, &plan));
    MapAxes known = {3, {"E", "D", "F"}, {2, -1, -1}};
    MapSize found[4];
    assert_int_equal(weight_map_sizes(&map->line[0], flat, 2, &known, found, 4), 2);
    assert_int_equal(found[0].size, 3);
    assert_int_equal(found[1].size, 2);
    assert_int_equal(f.diag.n_errors, 0);
    assert_false(weight_map_plan(&f.arena, &f.diag, &map->line[0], &ours, wrong, 2, &plan));
    assert_false(weight_map_plan(&f.arena, &f.diag, &map->line[0], &ours, flat, 1, &plan));
    arena_free(&f.arena);
}

static void integers_stay_integers(void **state)
{
    (void)state;
    Fixture f;
    WeightMap *map = parse(&f, "input.t[B,T] = \"input.t\"[T, B]\n");
    MapAxes ours = {2, {"B", "T"}, {1, 3}};
    int64_t shape[2] = {3, 1};
    int32_t theirs[3] = {16777217, -2, 3}, t[3];
    MapPlan plan;
    assert_true(weight_map_plan(&f.arena, &f.diag, map->line, &ours, shape, 2, &plan));
    map_plan_read(&plan, DTYPE_I32, 1, theirs, t, NULL);
    assert_memory_equal(t, theirs, sizeof t);
    arena_free(&f.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_read), cmocka_unit_test(wrong_lines_are_all_reported),
        cmocka_unit_test(merges_and_transposes), cmocka_unit_test(ranges), cmocka_unit_test(sizes_are_revealed),
        cmocka_unit_test(integers_stay_integers), cmocka_unit_test(unit_dimensions_may_be_absent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
