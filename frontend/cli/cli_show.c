// mixc show: the parameters of a model.
#include "cli.h"
#include "independent.h"

#include <ctype.h>
#include <string.h>

typedef struct ShowRow {                    // parameters that differ only in a repeat's number are one row
    const char *name, *type;
    int64_t     each, copies;
} ShowRow;

const char *cli_without_numbers(Arena *arena, const char *name, bool is_layer)
{
    Text out = text_make(arena);
    for (const char *c = name; *c;) {
        size_t n = strcspn(c, "."), letters = 0;
        while (letters < n && !isdigit((unsigned char)c[letters]))
            letters++;
        size_t digits = letters;
        while (digits < n && isdigit((unsigned char)c[digits]))
            digits++;
        bool last = c[n] == 0 && !is_layer;
        if (!last && letters > 0 && letters < n && digits == n && islower((unsigned char)c[0]))
            text_printf(&out, "%.*s*", (int)letters, c);
        else
            text_add_n(&out, c, n);
        c += n;
        if (*c == '.')
            text_char(&out, *c++);
    }
    return arena_strdup(arena, text_str(&out));
}

// What the layer calls an axis. The graph tells axes of one name apart as G, G.2, ..; that is kept only where the
// parameter holds two of them.
static const char *axis_plain_name(Arena *arena, const Graph *g, const Type *type, int a)
{
    const char *name = g->axis[type->axis[a]].name;
    size_t n = strcspn(name, ".");
    for (int k = 0; k < type->n_axes; k++) {
        const char *other = g->axis[type->axis[k]].name;
        if (k != a && strcspn(other, ".") == n && !strncmp(other, name, n))
            return name;
    }
    return arena_strndup(arena, name, n);
}

static const char *shape_text(Arena *arena, const Graph *g, const Type *type)
{
    Text text = text_make(arena);
    text_char(&text, '[');
    for (int a = 0; a < type->n_axes; a++)
        text_printf(&text, "%s%s=%lld", a ? ", " : "", axis_plain_name(arena, g, type, a),
                    (long long)g->axis[type->axis[a]].size);
    text_char(&text, ']');
    return arena_strdup(arena, text_str(&text));
}

static const char *thousands(Arena *arena, int64_t n)
{
    char digits[32];
    int len = snprintf(digits, sizeof digits, "%lld", (long long)n);
    Text text = text_make(arena);
    for (int i = 0; i < len; i++) {
        text_char(&text, digits[i]);
        if ((len - i - 1) % 3 == 0 && i + 1 < len)
            text_char(&text, ',');
    }
    return arena_strdup(arena, text_str(&text));
}

static void show_json(const Module *m, const Graph *g, int64_t total, Text *out)
{
    text_printf(out, "{\"parameters\": %lld, \"parameter_list\": [", (long long)total);
    bool first = true;
    for (size_t i = 0; i < m->n_params; i++) {
        const Param *p = &m->param[i];
        if (p->role != PARAM_TRAINED)
            continue;
        text_add(out, first ? "\n  {\"name\": " : ",\n  {\"name\": ");
        first = false;
        text_json(out, p->name);
        text_add(out, ", \"axes\": [");
        for (int a = 0; a < p->type.n_axes; a++) {
            text_add(out, a ? ", " : "");
            text_json(out, axis_plain_name(out->arena, g, &p->type, a));
        }
        text_add(out, "], \"sizes\": [");
        for (int a = 0; a < p->type.n_axes; a++)
            text_printf(out, "%s%lld", a ? ", " : "", (long long)g->axis[p->type.axis[a]].size);
        text_add(out, "]}");
    }
    text_add(out, "\n]}\n");
}

static size_t add_row(Cli *cli, ShowRow *row, size_t n, const Graph *g, const Param *p, int64_t count)
{
    const char *name = cli_without_numbers(&cli->arena, p->name, false), *type = shape_text(&cli->arena, g, &p->type);
    for (size_t i = 0; i < n; i++)
        if (!strcmp(row[i].name, name) && !strcmp(row[i].type, type)) {
            row[i].copies++;
            return n;
        }
    row[n] = (ShowRow){name, type, count, 1};
    return n + 1;
}

static void show_rows(Cli *cli, const ShowRow *row, size_t n, const char *title)
{
    if (n == 0)
        return;
    size_t name_width = strlen(title), type_width = 4;
    for (size_t i = 0; i < n; i++) {
        name_width = strlen(row[i].name) > name_width ? strlen(row[i].name) : name_width;
        type_width = strlen(row[i].type) > type_width ? strlen(row[i].type) : type_width;
    }
    printf("%-*s  %-*s  %14s\n", (int)name_width, title, (int)type_width, "axes", "numbers");
    for (size_t i = 0; i < n; i++) {
        printf("%-*s  %-*s  %14s", (int)name_width, row[i].name, (int)type_width, row[i].type,
               thousands(&cli->arena, row[i].each * row[i].copies));
        if (row[i].copies > 1)
            printf("   %lld x %s", (long long)row[i].copies, thousands(&cli->arena, row[i].each));
        printf("\n");
    }
}

// Whether examples know of each other: a pool over a batch axis couples them.
static void show_independence(Cli *cli, const Graph *g)
{
    for (AxisId axis = 1; axis < g->n_axes; axis++) {
        if (g->axis[axis].kind != AXIS_BATCH || g->axis[axis].twin_of)
            continue;
        const Node *n = couples_examples(g, axis, &cli->arena);
        printf("examples along %s: ", g->axis[axis].name);
        if (!n) {
            printf("independent of each other\n");
            continue;
        }
        LineCol at = n->at.file ? sources_line_col(&cli->sources, n->at.file, n->at.begin) : (LineCol){0};
        printf("coupled by `%s`%s\n", op_row[n->op].text,
               n->at.file ? arena_printf(&cli->arena, " at %s:%u:%u", cli->sources.file[n->at.file].name, at.line, at.col) : "");
    }
}

static void show_text(Cli *cli, const Module *m, const Graph *g, int64_t total)
{
    ShowRow *row = arena_array(&cli->arena, ShowRow, m->n_params + 1);
    static const char *const title[] = {[PARAM_TRAINED] = "parameter", [PARAM_STATE] = "state (not counted)"};
    for (int role = PARAM_TRAINED; role <= PARAM_STATE; role++) {
        size_t n = 0;
        for (size_t i = 0; i < m->n_params; i++) {
            int64_t count;
            if ((int)m->param[i].role == role && param_count(g, &m->param[i], &count))
                n = add_row(cli, row, n, g, &m->param[i], count);
        }
        show_rows(cli, row, n, title[role]);
    }
    printf("parameters: %s (%.1f MiB as f32)\n", thousands(&cli->arena, total), (double)total * 4 / 1048576);
    show_independence(cli, g);
}

int cli_show(Cli *cli)
{
    BuildOptions options;
    int code;
    const char *path = cli_model_file(cli, &code);
    if (!path || !cli_build_options(cli, MODE_EVAL, &options))
        return code;
    options.count_only = true;              // what cannot run yet can be counted
    Module *m = cli_module(cli, path, &options, NULL, &code);
    if (!m)
        return code;
    const Graph *g = module_graph(m, "main");
    int64_t total = 0;
    for (size_t i = 0; i < m->n_params; i++) {
        int64_t count = 0;
        if (m->param[i].role == PARAM_TRAINED && param_count(g, &m->param[i], &count))
            total += count;
    }
    if (cli_has(cli, OPT_JSON)) {
        Text text = text_make(&cli->arena);
        show_json(m, g, total, &text);
        fputs(text_str(&text), stdout);
    } else {
        show_text(cli, m, g, total);
    }
    return 0;
}
