// The log of a run reads back what it wrote; reports are self-contained and escape what they show.
#include "report.h"

#include "chart.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static RunLog some_log(Arena *arena)
{
    RunLog log = run_log_make(arena);
    for (int i = 1; i <= 40; i++) {
        LogRow row = log_row_make();
        row.step = 10 * i;
        row.steps = 400;
        row.loss = 1.4 + 3.0 / i;
        row.lr = 1e-3 * i / 40;
        row.grad_norm = i == 7 ? NAN : 1.0 / i;
        row.tokens_per_s = 31000 + i;
        row.seconds = 4.0 * i;
        LogWatch *watch = arena_array(arena, LogWatch, 2);
        watch[0] = (LogWatch){"load <1>", 1.0 / i};
        watch[1] = (LogWatch){"ent\"ropy", i % 3 ? NAN : 2};
        row.watch = watch;
        row.n_watches = 2;
        LogRoute *route = arena_array(arena, LogRoute, 2);
        double *load = arena_array(arena, double, 100);
        for (int e = 0; e < 100; e++)
            load[e] = e == 7 ? 0 : (e * i % 17) / 8.0;
        route[0] = (LogRoute){"M.<l0>", load, 100, 0.25, 1.5 + i / 100.0, 7};
        route[1] = (LogRoute){"M.l1", load, 4, 0, NAN, 0};
        row.route = route;
        row.n_routes = i == 5 ? 1 : 2;
        if (i % 10 == 0) {
            row.val_loss = 1.5 + 3.0 / i;
            row.sample = "To be <or> \"not\"\n& \x01";
        }
        run_log_add(&log, row);
    }
    return log;
}

static void rows_read_back(void **state)
{
    (void)state;
    Arena arena = {0};
    RunLog log = some_log(&arena), again = run_log_make(&arena);
    char path[] = "/tmp/mixc_log_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    Text text = text_make(&arena);
    for (size_t i = 0; i < log.n_rows; i++) {
        log_row_print(&log.row[i], &text);
        text_char(&text, '\n');
    }
    text_add(&text, "{\"schema\": 1, \"step\": 41");      // cut off by a crash
    assert_int_equal(write(fd, text_str(&text), text.n), text.n);
    close(fd);
    StatusText why = {0};
    assert_int_equal(run_log_read(&again, path, 200, &why), STATUS_OK);
    assert_int_equal(again.n_rows, 20);
    assert_true(again.row[3].loss == log.row[3].loss);
    assert_true(isnan(again.row[6].grad_norm));
    assert_string_equal(again.row[9].sample, log.row[9].sample);
    assert_null(again.row[8].sample);
    assert_int_equal(again.row[1].n_watches, 1);          // the other one is not a number there
    assert_int_equal(again.row[2].n_watches, 2);
    assert_string_equal(again.row[2].watch[1].name, "ent\"ropy");
    assert_true(again.row[2].watch[0].value == log.row[2].watch[0].value);
    assert_int_equal(again.row[4].n_routes, 1);
    assert_int_equal(again.row[3].n_routes, 2);
    assert_string_equal(again.row[3].route[0].name, "M.<l0>");
    assert_int_equal(again.row[3].route[0].n_experts, 100);
    assert_int_equal(again.row[3].route[0].n_dead, 7);
    assert_true(again.row[3].route[0].dropped == 0.25 && fabs(again.row[3].route[0].entropy - 1.54) < 1e-5);
    assert_true(isnan(again.row[3].route[1].entropy));
    for (int e = 0; e < 100; e++)           // written in percent
        assert_true(fabs(again.row[3].route[0].load[e] - log.row[3].route[0].load[e]) <= 0.005 + 1e-9);
    FILE *out = fopen(path, "w");
    fputs("{\"step\": 1}\nnonsense\n{\"step\": 2}\n", out);
    fclose(out);
    assert_int_equal(run_log_read(&again, path, 200, &why), STATUS_DAMAGED);
    assert_non_null(strstr(why.text, "line 2"));
    unlink(path);
    assert_int_equal(run_log_read(&again, path, 200, &why), STATUS_OK);
    arena_free(&arena);
}

static void pages_stand_alone(void **state)
{
    (void)state;
    Arena arena = {0};
    RunLog log = some_log(&arena);
    ReportField fields[] = {{"model", "<script>"}, {"batch", "16"}};
    Report report = {
        .title = "GPT & <co>", .log = &log, .field = fields, .n_fields = 2, .model_text = "mix 1\n# a < b\n"};
    Text html = text_make(&arena), svg = text_make(&arena);
    report_html(&report, &html);
    report_loss_svg(&report, &svg);
    assert_null(strstr(text_str(&html), "<script>"));
    assert_null(strstr(text_str(&html), "src="));
    assert_null(strstr(text_str(&html), "href="));
    assert_null(strchr(text_str(&html), 1));
    assert_null(strstr(text_str(&html), "nan"));
    assert_non_null(strstr(text_str(&html), "GPT &amp; &lt;co&gt;"));
    Text odd = text_make(&arena);
    html_text(&odd, "\x01 \xc3\xa9 \xd9 \xe2\x82");       // a control character, a letter, bytes that are not UTF-8
    assert_string_equal(text_str(&odd), "\xef\xbf\xbd \xc3\xa9 \xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd");
    assert_non_null(strstr(text_str(&html), "2m 40s"));
    assert_non_null(strstr(text_str(&html), "load of the experts of M.&lt;l0&gt;"));
    assert_non_null(strstr(text_str(&html), "class=\"h9\" d=\"M"));    // nobody chose expert 7
    assert_non_null(strstr(text_str(&html), "dropped 25.0%  entropy 1.90/4.61  dead 7/100"));
    assert_non_null(strstr(text_str(&html), "load &lt;1&gt;"));
    assert_non_null(strstr(text_str(&svg), "xmlns"));
    const char *keep = getenv("MIXC_KEEP_REPORT");
    if (keep) {
        FILE *out = fopen(keep, "w");
        fputs(text_str(&html), out);
        fclose(out);
    }
    arena_free(&arena);
}

static void odd_curves_draw(void **state)
{
    (void)state;
    Arena arena = {0};
    double x[3] = {0, 1, 2}, flat[3] = {2, 2, 2}, bad[3] = {NAN, INFINITY, NAN};
    Chart charts[] = {
        {.title = "none", .x_label = "step", .width = 300, .height = 200},
        {.title = "flat",
         .x_label = "step",
         .width = 300,
         .height = 200,
         .n_lines = 1,
         .line = {{"a", "main", x, flat, 3, true}}},
        {.title = "bad",
         .x_label = "step",
         .width = 300,
         .height = 200,
         .n_lines = 1,
         .line = {{"a", "main", x, bad, 3, true}}},
        {.title = "one",
         .x_label = "step",
         .width = 300,
         .height = 200,
         .n_lines = 1,
         .line = {{"a", "main", x, flat, 1, true}}},
    };
    for (size_t i = 0; i < sizeof charts / sizeof *charts; i++) {
        Text svg = text_make(&arena);
        chart_svg(&charts[i], true, &svg);
        assert_true(svg.n < 10000);
        assert_non_null(strstr(text_str(&svg), "</svg>"));
    }
    // a title that would meet the legend keeps its end
    Text svg = text_make(&arena);
    charts[1].title = "SomeModel.l17.Switch.a_term_with_a_long_name";
    chart_svg(&charts[1], false, &svg);
    assert_non_null(strstr(text_str(&svg), "aria-label=\"SomeModel.l17.Switch.a_term_with_a_long_name\""));
    assert_null(strstr(text_str(&svg), ">SomeModel"));
    assert_non_null(strstr(text_str(&svg), "\xE2\x80\xA6"));
    assert_non_null(strstr(text_str(&svg), "_long_name</text>"));
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_read_back), cmocka_unit_test(pages_stand_alone), cmocka_unit_test(odd_curves_draw),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
