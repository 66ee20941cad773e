// See op_cases.h.
#include "op_cases.h"

#include <stdlib.h>
#include <string.h>

static char *read_file(Arena *arena, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    Text text = text_make(arena);
    char buffer[4096];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, f)) > 0; )
        text_add_n(&text, buffer, n);
    fclose(f);
    text_add(&text, "");
    return text.data;
}

// NAME = 1 2 3
static bool read_numbers(Arena *arena, const char *line, OpNumbers *list, size_t *n)
{
    size_t n_name = strcspn(line, " =");
    const char *at = strchr(line, '=');
    if (!at || *n == MAX_CASE_NUMBERS)
        return false;
    OpNumbers numbers = {arena_strndup(arena, line, n_name), NULL, 0};
    size_t capacity = 0;
    for (at++; *at; ) {
        char *end;
        double value = strtod(at, &end);
        if (end == at)
            break;
        numbers.value = arena_grow(arena, numbers.value, numbers.n, &capacity, sizeof(double));
        numbers.value[numbers.n++] = value;
        at = end;
    }
    list[(*n)++] = numbers;
    return at[strspn(at, " \r\n")] == 0;
}

static bool read_line(Arena *arena, const char *line, OpCase *c, Text *graph)
{
    if (strncmp(line, "input ", 6) == 0)
        return read_numbers(arena, line + 6, c->input, &c->n_inputs);
    if (strncmp(line, "expect ", 7) == 0)
        return read_numbers(arena, line + 7, c->expect, &c->n_expects);
    if (strncmp(line, "refuse ", 7) == 0)
        c->refuse = arena_strdup(arena, line + 7);
    else if (strncmp(line, "fails ", 6) == 0)
        c->fails = arena_strdup(arena, line + 6);
    else if (strncmp(line, "// ", 3) == 0 && !c->title)
        c->title = arena_strdup(arena, line + 3);
    else
        text_printf(graph, "%s\n", line);
    return true;
}

size_t op_cases_read(Arena *arena, const char *path, OpCase **out_cases)
{
    char *text = read_file(arena, path);
    OpCase *list = NULL;
    size_t n = 0, capacity = 0;
    OpCase c = {0};
    Text graph = text_make(arena);
    for (char *line = text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        if (strcmp(line, "----") != 0 && next) {
            if (!read_line(arena, line, &c, &graph))
                return 0;
            continue;
        }
        c.text = text_str(&graph);
        list = arena_grow(arena, list, n, &capacity, sizeof *list);
        list[n++] = c;
        c = (OpCase){0};
        graph = text_make(arena);
    }
    *out_cases = list;
    return n;
}

Graph *op_case_graph(const OpCase *c, Arena *arena, Diag *diag)
{
    Sources *sources = arena_new(arena, Sources);
    *sources = sources_make(arena);
    uint32_t file = sources_add(sources, c->title ? c->title : "case", c->text, strlen(c->text));
    return graph_parse(arena, diag, sources, file);
}

const double *op_case_leaf(void *user, const Graph *g, const Node *leaf)
{
    const OpCase *c = user;
    int64_t count;
    for (size_t i = 0; i < c->n_inputs; i++)
        if (strcmp(c->input[i].name, leaf->attr[0].name) == 0 && type_count(g, &leaf->type, &count) &&
            (size_t)count == c->input[i].n)
            return c->input[i].value;
    return NULL;
}
