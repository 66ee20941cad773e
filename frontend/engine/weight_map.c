// See weight_map.h. A hand-written parser, one line at a time, so that one bad line does not hide the next.
#include "weight_map.h"

#include "checked.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct MapParser {
    Arena      *arena;
    Diag       *diag;
    uint32_t    file;
    const char *data;                       // of the file
    size_t      i, end;                     // the line: [i, end)
} MapParser;

static Span span_at(const MapParser *p, size_t begin, size_t end)
{
    return (Span){p->file, (uint32_t)begin, (uint32_t)(end > begin ? end : begin + 1)};
}

static void skip_blank(MapParser *p)
{
    while (p->i < p->end && (p->data[p->i] == ' ' || p->data[p->i] == '\t' || p->data[p->i] == '\r'))
        p->i++;
}

static char peek(MapParser *p)
{
    skip_blank(p);
    return p->i < p->end ? p->data[p->i] : 0;
}

static bool accept(MapParser *p, char c)
{
    if (peek(p) != c)
        return false;
    p->i++;
    return true;
}

static bool wrong(MapParser *p, const char *expected)
{
    skip_blank(p);
    Span at = span_at(p, p->i, p->i + 1);
    if (p->i < p->end)
        diag_error(p->diag, at, "E0711", "expected %s, found `%c`", expected, p->data[p->i]);
    else
        diag_error(p->diag, at, "E0711", "expected %s, found the end of the line", expected);
    diag_help(
        p->diag,
        "a line reads:  ours[axes] = \"theirs\"[axes]   for example  Attn.Wq[D,H,K] = \"q.weight\"[(H K), D]");
    return false;
}

static bool expect(MapParser *p, char c, const char *expected)
{
    return accept(p, c) || wrong(p, expected);
}

// Letters, digits, _ and primes; with dots when it is a path.
static const char *parse_name(MapParser *p, bool path, Span *out_at)
{
    skip_blank(p);
    size_t begin = p->i;
    while (p->i < p->end) {
        unsigned char c = (unsigned char)p->data[p->i];
        if (!(isalnum(c) || c == '_' || c == '\'' || (path && c == '.')))
            break;
        p->i++;
    }
    *out_at = span_at(p, begin, p->i);
    if (p->i == begin || (!path && isdigit((unsigned char)p->data[begin]))) {
        p->i = begin;
        return NULL;
    }
    return arena_strndup(p->arena, p->data + begin, p->i - begin);
}

static bool parse_string(MapParser *p, const char **out_text, Span *out_at)
{
    if (peek(p) != '"')
        return wrong(p, "their name in double quotes");
    size_t begin = p->i++;
    Text text = text_make(p->arena);
    while (p->i < p->end && p->data[p->i] != '"') {
        if (p->data[p->i] == '\\' && p->i + 1 < p->end)
            p->i++;
        text_char(&text, p->data[p->i++]);
    }
    if (p->i == p->end) {
        diag_error(p->diag, span_at(p, begin, p->end), "E0711", "this name has no closing quote");
        return false;
    }
    p->i++;
    *out_at = span_at(p, begin, p->i);
    *out_text = arena_strdup(p->arena, text_str(&text));
    return true;
}

static bool parse_int(MapParser *p, int64_t *out)
{
    skip_blank(p);
    size_t begin = p->i;
    int64_t value = 0;
    while (p->i < p->end && isdigit((unsigned char)p->data[p->i])) {
        if (!checked_mul_i64(value, 10, &value) || !checked_add_i64(value, p->data[p->i] - '0', &value)) {
            diag_error(p->diag, span_at(p, begin, p->i + 1), "E0711", "this number is too large");
            return false;
        }
        p->i++;
    }
    if (p->i == begin)
        return wrong(p, "a whole number");
    *out = value;
    return true;
}

static bool parse_axis(MapParser *p, MapDim *dim)
{
    Span at;
    const char *name = parse_name(p, false, &at);
    if (!name)
        return wrong(p, "an axis of ours");
    if (dim->n_axes == MAX_AXES) {
        diag_error(p->diag, at, "E0711", "more than %d axes are merged here", MAX_AXES);
        return false;
    }
    dim->axis[dim->n_axes++] = name;
    return true;
}

// F   (H K)   1   F@0..64   (H K)@0..64
static bool parse_dim(MapParser *p, MapDim *dim)
{
    skip_blank(p);
    size_t begin = p->i;
    *dim = (MapDim){.n_axes = 0};
    if (accept(p, '(')) {
        while (peek(p) != ')')
            if (!parse_axis(p, dim))
                return false;
        p->i++;
    } else if (isdigit((unsigned char)peek(p))) {
        int64_t one;
        if (!parse_int(p, &one))
            return false;
        if (one != 1) {
            diag_error(p->diag, span_at(p, begin, p->i), "E0712",
                       "a dimension of theirs is an axis of ours, a merge or 1");
            return false;
        }
    } else if (!parse_axis(p, dim)) {
        return false;
    }
    if (accept(p, '@')) {
        dim->has_range = true;
        if (!parse_int(p, &dim->begin) || !expect(p, '.', "`..`") || !expect(p, '.', "`..`")
            || !parse_int(p, &dim->end))
            return false;
        if (dim->begin >= dim->end) {
            diag_error(p->diag, span_at(p, begin, p->i), "E0712", "the range %lld..%lld is empty",
                       (long long)dim->begin, (long long)dim->end);
            return false;
        }
    }
    dim->at = span_at(p, begin, p->i);
    return true;
}

static bool parse_factor(MapParser *p, double *out)
{
    skip_blank(p);
    char word[64];
    size_t n = 0, begin = p->i;
    while (p->i < p->end && n + 1 < sizeof word
           && (isalnum((unsigned char)p->data[p->i]) || strchr("+-.", p->data[p->i])))
        word[n++] = p->data[p->i++];
    word[n] = 0;
    char *stop;
    double value = strtod(word, &stop);
    if (n == 0 || *stop)
        return p->i = begin, wrong(p, "a number");
    if (!(value > -1e300 && value < 1e300) || value == 0) {
        diag_error(p->diag, span_at(p, begin, p->i), "E0712", "a factor is a finite number other than 0");
        return false;
    }
    *out = value;
    return true;
}

static bool parse_ours(MapParser *p, MapLine *line)
{
    line->ours = parse_name(p, true, &line->ours_at);
    if (!line->ours)
        return wrong(p, "the name of one of our tensors");
    if (accept(p, '[') && !accept(p, ']')) {
        do {
            Span at;
            const char *axis = parse_name(p, false, &at);
            if (!axis)
                return wrong(p, "an axis of ours");
            if (line->n_axes == MAX_AXES) {
                diag_error(p->diag, at, "E0711", "a tensor has at most %d axes", MAX_AXES);
                return false;
            }
            line->axis[line->n_axes++] = axis;
        } while (accept(p, ','));
        return expect(p, ']', "`,` or `]`");
    }
    return true;
}

static bool parse_theirs(MapParser *p, MapLine *line)
{
    if (!parse_string(p, &line->theirs, &line->theirs_at))
        return false;
    if (accept(p, '[') && !accept(p, ']')) {
        do {
            if (line->n_dims == MAX_AXES) {
                diag_error(p->diag, line->theirs_at, "E0711", "a tensor has at most %d dimensions", MAX_AXES);
                return false;
            }
            if (!parse_dim(p, &line->dim[line->n_dims++]))
                return false;
        } while (accept(p, ','));
        return expect(p, ']', "`,` or `]`");
    }
    return true;
}

// Each axis of ours stands exactly once on the right.
static bool check_axes(MapParser *p, const MapLine *line)
{
    size_t uses[MAX_AXES] = {0};
    for (size_t d = 0; d < line->n_dims; d++)
        for (size_t k = 0; k < line->dim[d].n_axes; k++) {
            size_t a = 0;
            while (a < line->n_axes && strcmp(line->axis[a], line->dim[d].axis[k]))
                a++;
            if (a == line->n_axes) {
                diag_error(p->diag, line->dim[d].at, "E0712", "`%s` is not an axis on the left", line->dim[d].axis[k]);
                diag_label(p->diag, line->ours_at, "its axes are named here");
                return false;
            }
            if (++uses[a] > 1) {
                diag_error(p->diag, line->dim[d].at, "E0712", "axis `%s` is used twice", line->axis[a]);
                return false;
            }
        }
    for (size_t a = 0; a < line->n_axes; a++)
        if (!uses[a]) {
            diag_error(p->diag, line->theirs_at, "E0712", "axis `%s` of ours is missing on the right", line->axis[a]);
            return false;
        }
    return true;
}

static bool parse_line(MapParser *p, WeightMap *map)
{
    if (peek(p) == 0)
        return true;
    MapLine line = {.factor = 1};
    size_t begin = p->i;
    if (!parse_ours(p, &line) || !expect(p, '=', "`=`") || !parse_theirs(p, &line))
        return false;
    if (accept(p, '*') && !parse_factor(p, &line.factor))
        return false;
    line.at = span_at(p, begin, p->i);
    if (peek(p) != 0)
        return wrong(p, "the end of the line (or `* FACTOR`)");
    if (!check_axes(p, &line))
        return false;
    map->line = arena_grow(p->arena, map->line, map->n_lines, &map->capacity, sizeof *map->line);
    map->line[map->n_lines++] = line;
    return true;
}

// Where the line's content ends: at a # outside quotes, or at its end.
static size_t content_end(const char *data, size_t begin, size_t end)
{
    bool quoted = false;
    for (size_t i = begin; i < end; i++) {
        if (data[i] == '\\' && quoted)
            i++;
        else if (data[i] == '"')
            quoted = !quoted;
        else if (data[i] == '#' && !quoted)
            return i;
    }
    return end;
}

WeightMap *weight_map_parse(Arena *arena, Diag *diag, const Sources *sources, uint32_t file)
{
    const SourceFile *f = &sources->file[file];
    WeightMap *map = arena_new(arena, WeightMap);
    bool ok = true;
    for (size_t begin = 0; begin < f->n;) {
        const char *newline = memchr(f->data + begin, '\n', f->n - begin);
        size_t end = newline ? (size_t)(newline - f->data) : f->n;
        MapParser p = {arena, diag, file, f->data, begin, content_end(f->data, begin, end)};
        ok = parse_line(&p, map) && ok;
        begin = end + 1;
    }
    return ok ? map : NULL;
}

const MapLine *weight_map_ours(const WeightMap *map, const char *name, const MapLine *after)
{
    for (size_t i = after ? (size_t)(after - map->line) + 1 : 0; i < map->n_lines; i++)
        if (!strcmp(map->line[i].ours, name))
            return &map->line[i];
    return NULL;
}

const MapLine *weight_map_theirs(const WeightMap *map, const char *name, const MapLine *after)
{
    for (size_t i = after ? (size_t)(after - map->line) + 1 : 0; i < map->n_lines; i++)
        if (!strcmp(map->line[i].theirs, name))
            return &map->line[i];
    return NULL;
}
