// See source.h.
#include "source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Sources sources_make(Arena *arena)
{
    Sources s = {.arena = arena};
    sources_add(&s, "", "", 0);
    return s;
}

uint32_t sources_add(Sources *sources, const char *name, const char *data, size_t n)
{
    sources->file = arena_grow(sources->arena, sources->file, sources->n_files, &sources->capacity,
                               sizeof *sources->file);
    SourceFile *f = &sources->file[sources->n_files];
    f->name = arena_strdup(sources->arena, name);
    f->data = arena_strndup(sources->arena, data, n);
    f->n = n;
    f->n_lines = 1;
    for (size_t i = 0; i < n; i++)
        f->n_lines += data[i] == '\n';
    f->line_start = arena_array(sources->arena, uint32_t, f->n_lines);
    size_t line = 1;
    for (size_t i = 0; i < n; i++)
        if (data[i] == '\n')
            f->line_start[line++] = (uint32_t)i + 1;
    return (uint32_t)sources->n_files++;
}

uint32_t sources_read(Sources *sources, const char *path)
{
    FILE *in = strcmp(path, "-") ? fopen(path, "rb") : stdin;
    if (!in)
        return 0;
    char *data = NULL;
    size_t n = 0, capacity = 0;
    int error = 0;
    for (;;) {
        if (n == capacity) {
            capacity = capacity ? 2 * capacity : 16384;
            char *bigger = realloc(data, capacity);
            if (!bigger) {
                error = ENOMEM;
                break;
            }
            data = bigger;
        }
        size_t got = fread(data + n, 1, capacity - n, in);
        n += got;
        if (got == 0) {
            error = ferror(in) ? (errno ? errno : EIO) : 0;
            break;
        }
    }
    if (in != stdin)
        fclose(in);
    uint32_t file = 0;
    if (!error && n < UINT32_MAX)
        file = sources_add(sources, strcmp(path, "-") ? path : "<stdin>", data, n);
    else
        errno = error ? error : EFBIG;
    free(data);
    return file;
}

LineCol sources_line_col(const Sources *sources, uint32_t file, uint32_t offset)
{
    if (file == 0 || file >= sources->n_files)
        return (LineCol){0, 0};
    const SourceFile *f = &sources->file[file];
    size_t low = 0, high = f->n_lines;      // the line is in [low, high)
    while (high - low > 1) {
        size_t mid = (low + high) / 2;
        if (f->line_start[mid] <= offset)
            low = mid;
        else
            high = mid;
    }
    return (LineCol){(uint32_t)low + 1, offset - f->line_start[low] + 1};
}

View sources_line(const Sources *sources, uint32_t file, uint32_t line)
{
    if (file == 0 || file >= sources->n_files || line == 0 || line > sources->file[file].n_lines)
        return (View){"", 0};
    const SourceFile *f = &sources->file[file];
    size_t begin = f->line_start[line - 1];
    size_t end = line < f->n_lines ? f->line_start[line] - 1 : f->n;
    return (View){f->data + begin, end - begin};
}

Span span_join(Span a, Span b)
{
    if (a.file == 0)
        return b;
    if (b.file != a.file)
        return a;
    return (Span){a.file, a.begin < b.begin ? a.begin : b.begin, a.end > b.end ? a.end : b.end};
}
