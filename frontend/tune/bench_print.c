// See bench.h: the rows as markdown, CSV, JSON and SQL.
#include "bench.h"

#include <string.h>

static double rate(const BenchRow *r)
{
    return r->work > 0 && r->mean_s > 0 ? r->work / r->mean_s : 0;
}

// 0 to 1: how near the row is to what the machine can do; 0 when its work is not known.
static double share(const BenchRow *r)
{
    return r->floor_s > 0 && r->mean_s > 0 ? r->floor_s / r->mean_s : 0;
}

static void print_markdown(const Bench *b, const char *about, Text *out)
{
    text_printf(out, "%s\n\nThe machine: %.0f GFLOP/s of float32 multiply-adds, %.1f GB/s copied, %.1f us for an empty kernel.\n\n",
                about, b->ceiling.flops * 1e-9, b->ceiling.bytes * 1e-9, b->ceiling.launch * 1e6);
    text_add(out, "| what | ms, mean | spread | least | rate | GFLOP/s | GB/s | share of the machine |\n|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < b->n; i++) {
        const BenchRow *r = &b->row[i];
        text_printf(out, "| %s%s%s | %.3f | %.3f | %.3f | ", r->what, *r->detail ? ", " : "", r->detail, r->mean_s * 1e3,
                    r->sd_s * 1e3, r->least_s * 1e3);
        if (r->work > 0)
            text_printf(out, "%.0f %s/s", rate(r), r->unit);
        if (r->flops > 0)
            text_printf(out, " | %.1f | %.1f | %.0f %% |\n", r->flops / r->mean_s * 1e-9, r->bytes / r->mean_s * 1e-9, 100 * share(r));
        else
            text_add(out, " | | | |\n");
    }
}

// Between quotes, those inside twice: CSV with ", SQL with '.
static void quoted(Text *out, const char *text, char quote)
{
    text_char(out, quote);
    for (; *text; text++) {
        if (*text == quote)
            text_char(out, quote);
        text_char(out, *text);
    }
    text_char(out, quote);
}

static void print_csv(const Bench *b, const char *about, Text *out)
{
    text_add(out, "about,what,detail,repeats,mean_s,sd_s,least_s,work,unit,flops,bytes,floor_s,share\n");
    for (size_t i = 0; i < b->n; i++) {
        const BenchRow *r = &b->row[i];
        const char *text[] = {about, r->what, r->detail};
        for (size_t k = 0; k < sizeof text / sizeof *text; k++) {
            quoted(out, text[k], '"');
            text_char(out, ',');
        }
        text_printf(out, "%zu,%.9g,%.9g,%.9g,%.9g,%s,%.9g,%.9g,%.9g,%.4f\n", r->repeats, r->mean_s, r->sd_s, r->least_s, r->work,
                    r->unit, r->flops, r->bytes, r->floor_s, share(r));
    }
}

static void print_json(const Bench *b, const char *about, Text *out)
{
    text_add(out, "{\"about\": ");
    text_json(out, about);
    text_printf(out, ", \"ceiling\": {\"flops\": %.9g, \"bytes\": %.9g, \"launch_s\": %.9g}, \"rows\": [", b->ceiling.flops,
                b->ceiling.bytes, b->ceiling.launch);
    for (size_t i = 0; i < b->n; i++) {
        const BenchRow *r = &b->row[i];
        text_add(out, i ? ",\n  {\"what\": " : "\n  {\"what\": ");
        text_json(out, r->what);
        text_add(out, ", \"detail\": ");
        text_json(out, r->detail);
        text_printf(out, ", \"repeats\": %zu, \"mean_s\": %.9g, \"sd_s\": %.9g, \"least_s\": %.9g, \"work\": %.9g, \"unit\": \"%s\", "
                    "\"flops\": %.9g, \"bytes\": %.9g, \"floor_s\": %.9g, \"share\": %.4f}", r->repeats, r->mean_s, r->sd_s,
                    r->least_s, r->work, r->unit, r->flops, r->bytes, r->floor_s, share(r));
    }
    text_add(out, "\n]}\n");
}

static void print_sql(const Bench *b, const char *about, Text *out)
{
    text_add(out, "CREATE TABLE IF NOT EXISTS bench (about TEXT, what TEXT, detail TEXT, repeats INTEGER, mean_s REAL, sd_s REAL, "
                  "least_s REAL, work REAL, unit TEXT, flops REAL, bytes REAL, floor_s REAL);\n");
    for (size_t i = 0; i < b->n; i++) {
        const BenchRow *r = &b->row[i];
        text_add(out, "INSERT INTO bench VALUES (");
        quoted(out, about, '\'');
        text_add(out, ", ");
        quoted(out, r->what, '\'');
        text_add(out, ", ");
        quoted(out, r->detail, '\'');
        text_printf(out, ", %zu, %.9g, %.9g, %.9g, %.9g, '%s', %.9g, %.9g, %.9g);\n", r->repeats, r->mean_s, r->sd_s, r->least_s,
                    r->work, r->unit, r->flops, r->bytes, r->floor_s);
    }
}

void bench_print(const Bench *b, BenchForm form, const char *about, Text *out)
{
    switch (form) {
    case BENCH_MARKDOWN: print_markdown(b, about, out); break;
    case BENCH_CSV: print_csv(b, about, out); break;
    case BENCH_JSON: print_json(b, about, out); break;
    case BENCH_SQL: print_sql(b, about, out); break;
    }
}
