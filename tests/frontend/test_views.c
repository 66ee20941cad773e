// Pictures of models: levels descend, boxes of a level do not overlap, repeats fold. Progress lines fit what they say.
// The nearest name is the one a person means.
#include "graph_view.h"

#include "build.h"
#include "nearest.h"
#include "progress.h"

#include <glob.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check_layout(const GraphView *view)
{
    for (size_t i = 0; i < view->n_edges; i++)
        if (!view->edge[i].again)
            assert_true(view->box[view->edge[i].to].level > view->box[view->edge[i].from].level);
    for (size_t a = 0; a < view->n_boxes; a++) {
        const ViewBox *x = &view->box[a];
        assert_true(x->x >= 0 && x->x + x->width <= view->width && x->y >= 0 && x->y + x->height <= view->height);
        for (size_t b = 0; b < a; b++) {
            const ViewBox *y = &view->box[b];
            assert_true(x->level != y->level || x->x + x->width <= y->x || y->x + y->width <= x->x);
        }
    }
}

static void check_model(const char *path, ViewDetail detail)
{
    Arena arena = {0};
    Sources sources = sources_make(&arena);
    Diag diag = diag_make(&arena, &sources);
    uint32_t file = sources_read(&sources, path);
    assert_int_not_equal(file, 0);
    const Ast *ast = ast_parse(&arena, &diag, &sources, file);
    const Module *m = build_module(&arena, &diag, &sources, ast, &(BuildOptions){.mode = MODE_EVAL});
    if (m) {                                // some models wait for what is not built yet
        GraphView view = graph_view_make(&arena, module_graph(m, "main"), detail);
        Text dot = text_make(&arena), svg = text_make(&arena);
        graph_view_dot(&view, &dot);
        graph_view_svg(&view, &svg);
        check_layout(&view);
        assert_null(strstr(text_str(&svg), "nan"));
        assert_null(strstr(text_str(&svg), "inf"));
        assert_non_null(strstr(text_str(&dot), "->"));
    }
    arena_free(&arena);
}

static void every_model_has_a_picture(void **state)
{
    (void)state;
    glob_t found;
    assert_int_equal(glob(MIXC_TESTS "/../models/*.mix", 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        check_model(found.gl_pathv[i], VIEW_FOLDED);
        check_model(found.gl_pathv[i], VIEW_ITERATIONS);
        check_model(found.gl_pathv[i], VIEW_ALL);
    }
    globfree(&found);
}

static void repeats_fold(void **state)
{
    (void)state;
    static const char text[] = "mix 1\naxis B : batch = 2, D = 4\n"
                               "layer A(x: [B,D]) -> [B,D] { param W[D,D'] yield (x @[D] W).rename(D' -> D) }\n"
                               "model M(x: [B,D]) -> y: [B,D] { h = x repeat l in 5 { h = h + A(h) } y = h }\n";
    Arena arena = {0};
    Sources sources = sources_make(&arena);
    Diag diag = diag_make(&arena, &sources);
    uint32_t file = sources_add(&sources, "m.mix", text, sizeof text - 1);
    const Ast *ast = ast_parse(&arena, &diag, &sources, file);
    const Module *m = build_module(&arena, &diag, &sources, ast, &(BuildOptions){.mode = MODE_EVAL});
    assert_non_null(m);
    GraphView folded = graph_view_make(&arena, module_graph(m, "main"), VIEW_FOLDED);
    GraphView each = graph_view_make(&arena, module_graph(m, "main"), VIEW_ALL);
    GraphView iterations = graph_view_make(&arena, module_graph(m, "main"), VIEW_ITERATIONS);
    assert_int_equal(folded.n_boxes, 4);    // x, A, the sum, y
    assert_int_equal(folded.box[1].copies, 5);
    assert_int_equal(each.n_boxes, 12);
    assert_int_equal(iterations.n_boxes, 7);    // x, five of them, y
    assert_string_equal(iterations.box[2].title, "l1");
    assert_string_equal(iterations.box[2].detail, "A  16");
    arena_free(&arena);
}

static void nearest_names(void **state)
{
    (void)state;
    static const struct { const char *wanted, *expected;
    } row[] = {{"tran", "train"}, {"evla", "eval"},   {"chekc", "check"},
               {"xyzzy", NULL},   {"train", "train"}, {"generat", "generate"}};
    static const char *const names[] = {"train", "eval", "check", "generate", "explain"};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        Nearest near = {0};
        for (size_t k = 0; k < sizeof names / sizeof *names; k++)
            nearest_offer(&near, row[i].wanted, names[k]);
        if (row[i].expected)
            assert_string_equal(near.best, row[i].expected);
        else
            assert_null(near.best);
    }
    assert_int_equal(name_distance("ab", "ba"), 1);
    assert_int_equal(name_distance("", "abc"), 3);
    assert_int_equal(name_distance("kitten", "sitting"), 3);
}

static void progress_lines(void **state)
{
    (void)state;
    Arena arena = {0};
    RunLog log = run_log_make(&arena);
    char *shown = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&shown, &n);
    Progress p = progress_make(PROGRESS_PLAIN, out, "tok/s", &log);
    LogRow row = log_row_make();
    row.step = 1840;
    row.steps = 5000;
    row.loss = 1.486;
    row.lr = 8.1e-4;
    row.grad_norm = 0.42;
    row.tokens_per_s = 31200;
    row.seconds = 111.7;
    run_log_add(&log, row);
    progress_row(&p, &row, 0, false);
    assert_non_null(strstr(shown, "step 1840/5000  37%  loss 1.486"));
    assert_non_null(strstr(shown, "lr 0.00081  |g| 0.42  31.2k tok/s"));
    assert_non_null(strstr(shown, "eta 3m12s\n"));
    assert_null(strchr(shown, '\r'));
    size_t before = n;
    progress_row(&p, &row, 1, false);       // too soon for a plain line
    assert_int_equal(n, before);
    row.val_loss = 1.527;
    progress_row(&p, &row, 1, false);       // but not for a validation
    assert_non_null(strstr(shown + before, "val 1.527"));
    p.kind = PROGRESS_TTY;
    p.utf8 = true;
    before = n;
    progress_row(&p, &row, 2, false);
    assert_int_equal(shown[before], '\r');
    assert_int_equal(shown[n - 1], '\n');   // a validation keeps its line
    progress_end(&p);
    fclose(out);
    free(shown);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_model_has_a_picture), cmocka_unit_test(repeats_fold), cmocka_unit_test(nearest_names),
        cmocka_unit_test(progress_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
