// See cli_diff.h: dumps line by line, runs step by step.
#define _GNU_SOURCE
#include "cli_diff.h"

#include "run_log.h"
#include "train.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONTEXT = 2 };

typedef struct Lines { View *line; size_t n; } Lines;

static Lines split(Arena *arena, const char *text)
{
    Lines l = {0};
    for (const char *c = text; *c; c++)
        l.n += *c == '\n';
    l.line = arena_array(arena, View, l.n + 1);
    l.n = 0;
    while (*text) {
        const size_t n = strcspn(text, "\n");
        l.line[l.n++] = (View){text, n};
        text += n + (text[n] == '\n');
    }
    return l;
}

static bool same(View a, View b)
{
    return a.n == b.n && !memcmp(a.data, b.data, a.n);
}

static void print_part(const Lines *l, size_t from, size_t to, char sign)
{
    for (size_t i = from; i < to && i < l->n; i++)
        printf("%c %4zu  %.*s\n", sign, i + 1, (int)l->line[i].n, l->line[i].data);
}

// Prints where the texts part: what is equal before, and the stretch up to where they are equal again at the end. Returns
// whether they differ at all.
static bool print_difference(Arena *arena, const char *name, const char *text_a, const char *text_b, bool quiet)
{
    const Lines a = split(arena, text_a), b = split(arena, text_b);
    size_t first = 0, tail = 0;
    while (first < a.n && first < b.n && same(a.line[first], b.line[first]))
        first++;
    if (first == a.n && first == b.n)
        return false;
    while (tail < a.n - first && tail < b.n - first && same(a.line[a.n - 1 - tail], b.line[b.n - 1 - tail]))
        tail++;
    const size_t n_a = a.n - tail - first, n_b = b.n - tail - first, most = 8;
    printf("%s: first difference in line %zu; %zu lines stand against %zu\n", name, first + 1, n_a, n_b);
    if (quiet)
        return true;
    print_part(&a, first > CONTEXT ? first - CONTEXT : 0, first, ' ');
    print_part(&a, first, first + (n_a < most ? n_a : most), '-');
    print_part(&b, first, first + (n_b < most ? n_b : most), '+');
    if (n_a > most || n_b > most)
        printf("  ...\n");
    return true;
}

// The text of a file. NULL: *out_exit, everything is printed.
static const char *read_text(Cli *cli, const char *path, int *out_exit)
{
    errno = 0;
    const uint32_t file = sources_read(&cli->sources, path);
    if (!file)
        *out_exit = cli_failf(cli, STATUS_IO, "%s: %s", path, strerror(errno));
    return file ? cli->sources.file[file].data : NULL;
}

static int diff_files(Cli *cli, const char *name, const char *a, const char *b, bool quiet, bool *out_differ)
{
    int code = 0;
    const char *text_a = read_text(cli, a, &code), *text_b = text_a ? read_text(cli, b, &code) : NULL;
    if (text_b)
        *out_differ = print_difference(&cli->arena, name, text_a, text_b, quiet);
    return code;
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int is_stage(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot && dot > entry->d_name && !strcmp(dot, ".ir");
}

// The names of the stages in a folder, in order, in the arena. False when there are none.
static bool read_stages(Arena *arena, const char *folder, const char ***out_name, size_t *out_n)
{
    struct dirent **entry;
    const int n = scandir(folder, &entry, is_stage, alphasort);
    if (n < 0)
        return false;
    *out_name = arena_array(arena, const char *, (size_t)n + 1);
    *out_n = (size_t)n;
    for (int i = 0; i < n; i++) {
        (*out_name)[i] = arena_strdup(arena, entry[i]->d_name);
        free(entry[i]);
    }
    free(entry);
    return n > 0;
}

// Prints which stages only `a` has. Returns how many `b` has too.
static size_t print_alone(Arena *arena, const char *a, const char *b, const char *const *name, size_t n)
{
    size_t n_common = 0;
    for (size_t i = 0; i < n; i++)
        if (access(arena_printf(arena, "%s/%s", b, name[i]), F_OK) == 0)
            n_common++;
        else
            printf("%s: only in %s\n", name[i], a);
    return n_common;
}

// The stages that both folders have, in order. Only the first that differs is shown in detail.
static int diff_folders(Cli *cli, const char *a, const char *b)
{
    Arena *arena = &cli->arena;
    const char **in_a, **in_b = NULL;
    size_t n_a = 0, n_b = 0, n_differ = 0;
    if (!read_stages(arena, a, &in_a, &n_a))
        return cli_failf(cli, STATUS_IO, "%s holds no IR (*.ir) and no run (log.jsonl)", a);
    read_stages(arena, b, &in_b, &n_b);
    const size_t n_common = print_alone(arena, a, b, in_a, n_a);
    print_alone(arena, b, a, in_b, n_b);
    for (size_t i = 0; i < n_a; i++) {
        const char *path_a = arena_printf(arena, "%s/%s", a, in_a[i]), *path_b = arena_printf(arena, "%s/%s", b, in_a[i]);
        bool differ = false;
        if (access(path_b, F_OK) != 0)
            continue;
        const int code = diff_files(cli, in_a[i], path_a, path_b, n_differ > 0 && !cli_has(cli, OPT_VERBOSE), &differ);
        if (code)
            return code;
        n_differ += differ;
    }
    if (!n_common)
        return cli_failf(cli, STATUS_BAD_MODEL, "the folders have no stage in common");
    if (!n_differ)
        cli_note(cli, "%zu stages are equal", n_common);
    return n_differ ? status_exit_code(STATUS_NUMERIC) : 0;
}

int diff_dumps(Cli *cli, const char *a, const char *b)
{
    const char *dot = strrchr(a, '.');
    if (!dot || strcmp(dot, ".ir") != 0)
        return diff_folders(cli, a, b);
    bool differ = false;
    const int code = diff_files(cli, name_of(a), a, b, false, &differ);
    return code ? code : differ ? status_exit_code(STATUS_NUMERIC) : 0;
}

static const LogRow *row_at(const RunLog *log, int64_t step)
{
    for (size_t i = 0; i < log->n_rows; i++)
        if (log->row[i].step == step)
            return &log->row[i];
    return NULL;
}

static double relative(double x, double y)
{
    const double off = x == y || (isnan(x) && isnan(y)) ? 0 : fabs(x - y) / fmax(fabs(y), 1e-30);
    return isnan(off) ? INFINITY : off;
}

int diff_runs(Cli *cli, const char *a, const char *b, double tolerance)
{
    RunLog log_a = run_log_make(&cli->arena), log_b = run_log_make(&cli->arena);
    StatusText why = {0};
    Status status = run_log_read(&log_a, run_path(&cli->arena, a, "log.jsonl"), INT64_MAX, &why);
    if (status == STATUS_OK)
        status = run_log_read(&log_b, run_path(&cli->arena, b, "log.jsonl"), INT64_MAX, &why);
    if (status != STATUS_OK)
        return cli_fail(cli, status, &why);
    size_t n_common = 0;
    bool differ = false;
    double largest = 0;
    for (size_t i = 0; i < log_a.n_rows; i++) {
        const LogRow *x = &log_a.row[i], *y = row_at(&log_b, x->step);
        if (!y)
            continue;
        n_common++;
        double off = relative(x->loss, y->loss);
        if (!isnan(x->val_loss) && !isnan(y->val_loss))     // not every step is held against the text held out
            off = fmax(off, relative(x->val_loss, y->val_loss));
        largest = fmax(largest, off);
        if (!differ && !(off <= tolerance)) {
            printf("losses first part at step %lld: %.9g and %.9g", (long long)x->step, x->loss, y->loss);
            if (!isnan(x->val_loss) || !isnan(y->val_loss))
                printf(", held out %.9g and %.9g", x->val_loss, y->val_loss);
            printf("\n");
            differ = true;
        }
    }
    if (!differ && !cli_has(cli, OPT_QUIET))
        printf("losses agree in %zu logged steps, to %.3g\n", n_common, largest);
    const int code = diff_tensors(cli, cli_weights_path(cli, a), cli_weights_path(cli, b), tolerance);
    return code ? code : differ ? status_exit_code(STATUS_NUMERIC) : 0;
}
