// mixc diff: two files of tensors, tensor by tensor, and where they first part. Dumps and runs: cli_diff_text.c.
#include "cli_diff.h"

#include "safetensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct DiffRow {
    const char *name;
    const char *wrong;                      // shapes differ, or only one file has it; NULL: compared
    double      relative, largest;          // ||a - b|| / ||b||; the largest |a - b|
    int64_t     at;                         // its element
    bool        is_absolute, is_far;
} DiffRow;

// Is `name` in the list "['a', 'b']" that a file's metadata may hold?
static bool listed(const char *list, const char *name)
{
    size_t n = strlen(name);
    const char *seen = list && n ? strstr(list, name) : NULL;
    for (; seen; seen = strstr(seen + 1, name)) {
        char before = seen == list ? ' ' : seen[-1], after = seen[n];
        if (strchr(" ,'\"[", before) && (!after || strchr(" ,'\"]", after)))
            return true;
    }
    return false;
}

// Gradients may differ ten times as much: they pass through twice as many roundings, and some cancel.
static double allowed(const char *name, double tolerance)
{
    return !strncmp(name, "grad.", 5) ? 10 * tolerance : tolerance;
}

static Status compare(const Safetensors *a, const Safetensors *b, const StTensor *ta, const StTensor *tb,
                      double tolerance, DiffRow *row, StatusText *why)
{
    bool same = ta->n_dims == tb->n_dims;
    for (size_t d = 0; same && d < ta->n_dims; d++)
        same = ta->size[d] == tb->size[d];
    if (!same) {
        row->wrong = "shapes differ";
        row->is_far = true;
        return STATUS_OK;
    }
    double *x = malloc((size_t)ta->count * sizeof *x + 8), *y = malloc((size_t)ta->count * sizeof *y + 8);
    Status status = x && y ? st_read_f64(a, ta, x, why)
                           : status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for `%s`", ta->name);
    if (status == STATUS_OK)
        status = st_read_f64(b, tb, y, why);
    double difference = 0, size = 0;
    for (int64_t i = 0; status == STATUS_OK && i < ta->count; i++) {
        double d = fabs(x[i] - y[i]);
        if (x[i] == y[i] || (isnan(x[i]) && isnan(y[i])))
            d = 0;
        else if (isnan(d))
            d = INFINITY;
        difference += d * d;
        size += isfinite(y[i]) ? y[i] * y[i] : 0;       // the others are equal, or infinitely far
        if (d > row->largest) {
            row->largest = d;
            row->at = i;
        }
    }
    free(x);
    free(y);
    const char *short_name = !strncmp(ta->name, "grad.", 5) ? ta->name + 5 : ta->name;
    const char *zeros = st_meta(b, "zero_gradient");
    row->is_absolute = size == 0 || listed(zeros, ta->name) || listed(zeros, short_name);
    row->relative = sqrt(difference) / (row->is_absolute ? 1 : sqrt(size));
    row->is_far = !(row->relative <= allowed(row->name, tolerance));
    return status;
}

static void print_json(Cli *cli, const DiffRow *row, size_t n, const DiffRow *first)
{
    Text text = text_make(&cli->arena);
    text_add(&text, "{\"tensors\": [");
    for (size_t i = 0; i < n; i++) {
        text_add(&text, i ? ",\n  {\"name\": " : "\n  {\"name\": ");
        text_json(&text, row[i].name);
        if (row[i].wrong) {
            text_add(&text, ", \"problem\": ");
            text_json(&text, row[i].wrong);
        } else {
            text_printf(&text, ", \"%s\": ", row[i].is_absolute ? "absolute" : "relative");
            text_double(&text, isfinite(row[i].relative) ? row[i].relative : 1e308);
            text_add(&text, ", \"largest\": ");
            text_double(&text, isfinite(row[i].largest) ? row[i].largest : 1e308);
        }
        text_printf(&text, ", \"equal\": %s}", row[i].is_far ? "false" : "true");
    }
    text_add(&text, "\n], \"first_divergence\": ");
    if (first)
        text_json(&text, first->name);
    else
        text_add(&text, "null");
    text_add(&text, "}\n");
    fputs(text_str(&text), stdout);
}

static void print_rows(const DiffRow *row, size_t n, const DiffRow *first)
{
    int width = 6;
    for (size_t i = 0; i < n; i++)
        width = (int)strlen(row[i].name) > width ? (int)strlen(row[i].name) : width;
    printf("%-*s  %10s  %10s  at\n", width, "tensor", "relative", "largest");
    for (size_t i = 0; i < n; i++)
        if (row[i].wrong)
            printf("%-*s  %s\n", width, row[i].name, row[i].wrong);
        else
            printf("%-*s  %10.3g  %10.3g  %lld%s%s\n", width, row[i].name, row[i].relative, row[i].largest,
                   (long long)row[i].at, row[i].is_absolute ? "  (absolute: all zero)" : "",
                   row[i].is_far ? "  <- differs" : "");
    if (first)
        printf("first divergence: %s\n", first->name);
}

// Names that only one file has are mentioned; only common ones are compared.
static int compare_all(Cli *cli, const Safetensors *a, const Safetensors *b, double tolerance)
{
    DiffRow *row = arena_array(&cli->arena, DiffRow, a->n_tensors + 1);
    size_t n_only_a = 0, n_common = 0;
    StatusText why = {0};
    for (size_t i = 0; i < a->n_tensors; i++) {
        const StTensor *ta = &a->tensor[i], *tb = st_find(b, ta->name);
        row[i] = (DiffRow){.name = ta->name};
        if (!tb) {
            row[i].wrong = "only in the first file";
            n_only_a++;
            continue;
        }
        n_common++;
        Status status = compare(a, b, ta, tb, tolerance, &row[i], &why);
        if (status != STATUS_OK)
            return cli_fail(cli, status, &why);
    }
    const DiffRow *first = NULL;
    for (size_t i = 0; i < a->n_tensors && !first; i++)
        if (row[i].is_far)
            first = &row[i];
    if (cli_has(cli, OPT_JSON))
        print_json(cli, row, a->n_tensors, first);
    else if (!cli_has(cli, OPT_QUIET) || first)
        print_rows(row, a->n_tensors, first);
    if (b->n_tensors > n_common)
        cli_note(cli, "%zu tensors are only in the second file", b->n_tensors - n_common);
    if (n_common == 0)
        return cli_failf(cli, STATUS_BAD_MODEL, "the files have no tensor in common");
    return first ? status_exit_code(STATUS_NUMERIC) : 0;
}

int diff_tensors(Cli *cli, const char *path_a, const char *path_b, double tolerance)
{
    Safetensors a, b;
    StatusText why = {0};
    Status status = st_open(&cli->arena, path_a, &a, &why);
    if (status != STATUS_OK)
        return cli_fail(cli, status, &why);
    status = st_open(&cli->arena, path_b, &b, &why);
    int code = status == STATUS_OK ? compare_all(cli, &a, &b, tolerance) : cli_fail(cli, status, &why);
    st_close(&a);
    if (status == STATUS_OK)
        st_close(&b);
    return code;
}

static bool is_folder(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

static bool is_run(Cli *cli, const char *path)
{
    return is_folder(path) && access(arena_printf(&cli->arena, "%s/log.jsonl", path), F_OK) == 0;
}

static bool is_dump(const char *path)
{
    const char *dot = strrchr(path, '.');
    return is_folder(path) || (dot && !strcmp(dot, ".ir"));
}

int cli_diff(Cli *cli)
{
    double tolerance = 1e-5;
    if (cli->n_files != 2)
        return cli_usage(cli, "two files are compared, or two folders");
    if (!cli_double(cli, OPT_TOLERANCE, &tolerance))
        return status_exit_code(STATUS_BAD_USAGE);
    const char *a = cli->file[0], *b = cli->file[1];
    if (is_run(cli, a) && is_run(cli, b))
        return diff_runs(cli, a, b, tolerance);
    if (is_dump(a) && is_dump(b) && is_folder(a) == is_folder(b))
        return diff_dumps(cli, a, b);
    return diff_tensors(cli, a, b, tolerance);
}
