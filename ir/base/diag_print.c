// Prints diagnostics for people:
//
//   gpt.mix:12:30: error[E0201]: cannot sum over `T'`: the right side does not have it
//   12 |   yield softmax(s, over=T') @[T'] v @[H,K] Wo
//      |         -------------------  ^^^  - [B,T,H,K]
//      |         [B,T,H,T']
//   note: ..
//   help= ..
//
// Marks of one source line share one row of underlines. The words of the last one stand behind it, the others below
// their marks, each in the first row where they collide with nothing. Columns are terminal columns: tabs become blanks,
// wide characters count two. A diagnostic has at most MAX_LINES lines; what does not fit is left out from the end of
// the labels, never the note or the help.
#include "diag.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_SHOWN = 50, MAX_LINES = 12, MAX_MARKS = 16, MAX_WIDTH = 112, TAB_WIDTH = 4, MARGIN = 24 };

typedef enum Colour { PLAIN, BOLD, RED, YELLOW, BLUE, GREEN } Colour;

typedef struct Printer {
    const Diag *diag;
    Text       *out;
    bool        colour;
    int         gutter;                     // digits of the largest line number shown
    int         n_lines;                    // printed for this diagnostic
    int         most_lines;                 // allowed before the note
} Printer;

typedef struct Mark {                       // an underline in one source line
    int         begin, end;                 // terminal columns, from 0; end > begin
    const char *text;                       // NULL: none
    bool        primary;
} Mark;

static void style(Printer *p, Colour colour)
{
    static const char *const code[] = {"\033[0m", "\033[1m", "\033[1;31m", "\033[1;33m", "\033[1;34m", "\033[1;32m"};
    if (p->colour)
        text_add(p->out, code[colour]);
}

// ---- one source line as terminal columns ---------------------------------------------------------------------------

// The column at which byte `offset` of the line stands.
static int column_of(View line, size_t offset)
{
    int column = 0;
    for (size_t i = 0; i < line.n && i < offset;) {
        uint32_t c = 0;
        size_t n = utf8_read(line.data + i, line.n - i, &c);
        column += c == '\t' ? TAB_WIDTH - column % TAB_WIDTH : n ? utf8_width(c) : 1;
        i += n ? n : 1;
    }
    return column;
}

// Writes the columns [from, to) of a line: tabs as blanks, control characters and malformed bytes as `?`.
static void add_columns(Text *out, View line, int from, int to)
{
    int column = 0;
    for (size_t i = 0; i < line.n && column < to;) {
        uint32_t c = 0;
        size_t n = utf8_read(line.data + i, line.n - i, &c);
        int width = c == '\t' ? TAB_WIDTH - column % TAB_WIDTH : n ? utf8_width(c) : 1;
        if (column >= from && c == '\t')
            text_printf(out, "%*s", width, "");
        else if (column >= from && (n == 0 || c < 0x20 || c == 0x7f))
            text_char(out, '?');
        else if (column >= from)
            text_add_n(out, line.data + i, n);
        column += width;
        i += n ? n : 1;
    }
}

// ---- rows of marks and words -----------------------------------------------------------------------------------------

typedef struct Row {                        // words below the underlines, from left to right
    int   word_at[MAX_MARKS], word_end[MAX_MARKS];
    const char *word[MAX_MARKS];
    int   n_words;
} Row;

static int words_width(const char *text)
{
    return column_of((View){text, strlen(text)}, SIZE_MAX);
}

// May words of this width stand at `at` without touching others of the row?
static bool row_is_free(const Row *row, int at, int width)
{
    for (int i = 0; i < row->n_words; i++)
        if (at < row->word_end[i] + 2 && row->word_at[i] < at + width + 2)
            return false;
    return true;
}

static void row_add(Row *row, int at, const char *text)
{
    int i = row->n_words++;
    for (; i > 0 && row->word_at[i - 1] > at; i--) {
        row->word_at[i] = row->word_at[i - 1];
        row->word_end[i] = row->word_end[i - 1];
        row->word[i] = row->word[i - 1];
    }
    row->word_at[i] = at;
    row->word_end[i] = at + words_width(text);
    row->word[i] = text;
}

static void print_gutter(Printer *p, uint32_t line)
{
    style(p, BLUE);
    if (line)
        text_printf(p->out, "%*u | ", p->gutter, line);
    else
        text_printf(p->out, "%*s | ", p->gutter, "");
    style(p, PLAIN);
}

static void end_line(Printer *p)
{
    text_char(p->out, '\n');
    p->n_lines++;
}

// Is `a` to be drawn after `b`?
static bool covers_less(const Mark *a, const Mark *b)
{
    int width_a = a->end - a->begin, width_b = b->end - b->begin;
    return width_a < width_b || (width_a == width_b && a->primary);
}

// The underlines, and behind the last of them its words.
static void print_marks(Printer *p, const Mark *mark, size_t n, const Mark *last)
{
    char cell[MAX_WIDTH + 8];
    const Mark *drawn[MAX_MARKS];
    memset(cell, ' ', sizeof cell);
    for (size_t i = 0; i < n; i++) {        // wide ones first: what lies inside another stays visible
        size_t k = i;
        for (; k > 0 && covers_less(drawn[k - 1], &mark[i]); k--)
            drawn[k] = drawn[k - 1];
        drawn[k] = &mark[i];
    }
    int end = 0;
    for (size_t i = 0; i < n; i++)
        for (int c = drawn[i]->begin; c < drawn[i]->end; c++) {
            cell[c] = drawn[i]->primary ? '^' : '-';
            end = c + 1 > end ? c + 1 : end;
        }
    print_gutter(p, 0);
    for (int c = 0; c < end; c++) {
        if (c == 0 || cell[c] != cell[c - 1])
            style(p, cell[c] == '^' ? RED : cell[c] == '-' ? BLUE : PLAIN);
        text_char(p->out, cell[c]);
    }
    style(p, PLAIN);
    if (last && last->text && *last->text)
        text_printf(p->out, " %s", last->text);
    end_line(p);
}

static const Mark *last_mark(const Mark *mark, size_t n)
{
    const Mark *last = NULL;
    for (size_t i = 0; i < n; i++)
        if (!last || mark[i].end > last->end || (mark[i].end == last->end && mark[i].begin >= last->begin &&
                                                 (mark[i].text || !last->text)))
            last = &mark[i];
    return last;
}

// Rows of words below the underlines, from the right to the left mark.
static size_t place_words(const Mark *mark, size_t n, const Mark *last, Row *row)
{
    size_t n_rows = 0;
    for (size_t i = n; i-- > 0;) {
        if (&mark[i] == last || !mark[i].text || !*mark[i].text)
            continue;
        size_t r = 0;
        while (r < n_rows && !row_is_free(&row[r], mark[i].begin, words_width(mark[i].text)))
            r++;
        if (r == n_rows)
            row[n_rows++].n_words = 0;
        row_add(&row[r], mark[i].begin, mark[i].text);
    }
    return n_rows;
}

static void print_words(Printer *p, const Row *row)
{
    print_gutter(p, 0);
    int column = 0;
    for (int i = 0; i < row->n_words; i++) {
        text_printf(p->out, "%*s%s", row->word_at[i] - column, "", row->word[i]);
        column = row->word_end[i];
    }
    end_line(p);
}

// ---- one source line with its marks ------------------------------------------------------------------------------------

// Chooses which columns of a long line are shown, so that all marks are, and moves the marks there.
static void fit_line(View line, Mark *mark, size_t n, int *out_from, int *out_to)
{
    int width = column_of(line, SIZE_MAX);
    int first = width, last = 0;
    for (size_t i = 0; i < n; i++) {
        first = mark[i].begin < first ? mark[i].begin : first;
        last = mark[i].end > last ? mark[i].end : last;
    }
    int from = 0, to = width;
    if (width > MAX_WIDTH) {
        from = last + MARGIN < MAX_WIDTH ? 0 : first > MARGIN ? first - MARGIN : 0;
        to = from + MAX_WIDTH - 8 < width ? from + MAX_WIDTH - 8 : width;
    }
    int shift = from > 0 ? 4 - from : 0;    // "... " stands for what is left out
    for (size_t i = 0; i < n; i++) {
        mark[i].begin = (mark[i].begin < to ? mark[i].begin : to) + shift;
        mark[i].end = (mark[i].end < to ? mark[i].end : to) + shift;
        if (mark[i].end <= mark[i].begin)
            mark[i].end = mark[i].begin + 1;
    }
    *out_from = from;
    *out_to = to;
}

static void print_source_line(Printer *p, uint32_t file, uint32_t number, Mark *mark, size_t n)
{
    View line = sources_line(p->diag->sources, file, number);
    while (line.n > 0 && (line.data[line.n - 1] == '\r' || line.data[line.n - 1] == ' '))
        line.n--;
    int from, to;
    fit_line(line, mark, n, &from, &to);
    print_gutter(p, number);
    if (from > 0)
        text_add(p->out, "... ");
    add_columns(p->out, line, from, to);
    if (to < column_of(line, SIZE_MAX))
        text_add(p->out, " ...");
    end_line(p);
    const Mark *last = last_mark(mark, n);
    Row *row = arena_array(p->out->arena, Row, MAX_MARKS);
    size_t n_rows = place_words(mark, n, last, row);
    print_marks(p, mark, n, last);
    for (size_t r = 0; r < n_rows && p->n_lines < p->most_lines; r++)
        print_words(p, &row[r]);
}

// ---- one diagnostic ------------------------------------------------------------------------------------------------------

typedef struct Place { uint32_t file, line; } Place;

static bool same_span(Span a, Span b)
{
    return a.file == b.file && a.begin == b.begin && a.end == b.end;
}

static Place place_of(const Diag *diag, Span at)
{
    return (Place){at.file, sources_line_col(diag->sources, at.file, at.begin).line};
}

static void add_mark(const Diag *diag, Span at, const char *text, bool primary, Mark *mark, size_t *n)
{
    LineCol lc = sources_line_col(diag->sources, at.file, at.begin);
    View line = sources_line(diag->sources, at.file, lc.line);
    size_t begin = lc.col - 1, end = begin + (at.end - at.begin);
    if (end > line.n)                       // a span of several lines is marked in its first one
        end = line.n;
    Mark m = {.begin = column_of(line, begin), .end = column_of(line, end), .text = text, .primary = primary};
    if (m.end <= m.begin)
        m.end = m.begin + 1;
    if (*n == MAX_MARKS)
        return;
    size_t i = (*n)++;
    for (; i > 0 && mark[i - 1].begin > m.begin; i--)
        mark[i] = mark[i - 1];
    mark[i] = m;
}

// All marks of the item that lie in the given line, from left to right.
static size_t marks_in(const Diag *diag, const DiagItem *item, Place where, Mark *mark)
{
    size_t n = 0;
    const char *own = NULL;
    for (size_t i = 0; i < item->n_labels; i++) {
        const DiagLabel *label = &item->label[i];
        Place at = place_of(diag, label->at);
        if (at.file != where.file || at.line != where.line)
            continue;
        if (same_span(label->at, item->at))
            own = label->text;
        else
            add_mark(diag, label->at, label->text, false, mark, &n);
    }
    Place at = place_of(diag, item->at);
    if (at.file == where.file && at.line == where.line)
        add_mark(diag, item->at, own, true, mark, &n);
    return n;
}

// The lines to show, in order; the diagnostic's own line is always among them.
static size_t lines_to_show(const Diag *diag, const DiagItem *item, Place *place, size_t most)
{
    size_t n = 0;
    place[n++] = place_of(diag, item->at);
    for (size_t i = 0; i < item->n_labels && n < most; i++) {
        Place at = place_of(diag, item->label[i].at);
        bool known = at.line == 0;
        for (size_t k = 0; k < n; k++)
            known |= place[k].file == at.file && place[k].line == at.line;
        if (!known)
            place[n++] = at;
    }
    for (size_t i = 1; i < n; i++)          // insertion sort; lines of other files come last
        for (size_t k = i; k > 0; k--) {
            bool foreign = place[k - 1].file != item->at.file && place[k].file == item->at.file;
            bool later = place[k - 1].file == place[k].file && place[k - 1].line > place[k].line;
            if (!foreign && !later)
                break;
            Place t = place[k];
            place[k] = place[k - 1];
            place[k - 1] = t;
        }
    return n;
}

static int count_lines(const char *text)
{
    int n = text != NULL;
    for (const char *s = text; s && *s; s++)
        n += *s == '\n';
    return n;
}

static void print_source(Printer *p, const DiagItem *item)
{
    Place place[MAX_LINES / 2];
    size_t n = lines_to_show(p->diag, item, place, (size_t)(p->most_lines - 1) / 2);
    uint32_t largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = place[i].line > largest ? place[i].line : largest;
    p->gutter = snprintf(NULL, 0, "%u", largest);
    int most_lines = p->most_lines;
    for (size_t i = 0; i < n; i++) {
        bool foreign = place[i].file != item->at.file;
        if (p->n_lines + 2 + foreign > most_lines)
            continue;
        if (foreign) {
            text_printf(p->out, "in %s:", p->diag->sources->file[place[i].file].name);
            end_line(p);
        }
        // Two lines stay free for each line still to come, the diagnostic's own line among them.
        p->most_lines = most_lines - 2 * (int)(n - 1 - i);
        Mark mark[MAX_MARKS];
        size_t n_marks = marks_in(p->diag, item, place[i], mark);
        print_source_line(p, place[i].file, place[i].line, mark, n_marks);
    }
    p->most_lines = most_lines;
}

// Text of a note or help; stops at the limit of lines.
static void print_remark(Printer *p, const char *head, const char *text, int most)
{
    if (!text)
        return;
    style(p, GREEN);
    text_add(p->out, head);
    style(p, PLAIN);
    text_char(p->out, ' ');
    while (*text && p->n_lines + 1 < most) {
        size_t n = strcspn(text, "\n");
        text_add_n(p->out, text, n);
        text += n + (text[n] == '\n');
        if (*text)
            end_line(p);
    }
    if (*text)                              // the last line that is allowed
        text_add_n(p->out, text, strcspn(text, "\n"));
    end_line(p);
}

static void print_item(Printer *p, const DiagItem *item)
{
    bool placed = p->diag->sources && item->at.file != 0 && item->at.file < p->diag->sources->n_files;
    if (placed) {
        LineCol lc = sources_line_col(p->diag->sources, item->at.file, item->at.begin);
        style(p, BOLD);
        text_printf(p->out, "%s:%u:%u: ", p->diag->sources->file[item->at.file].name, lc.line, lc.col);
    }
    style(p, item->severity == SEVERITY_ERROR ? RED : YELLOW);
    text_add(p->out, item->severity == SEVERITY_ERROR ? "error" : "warning");
    if (item->code)
        text_printf(p->out, "[%s]", item->code);
    style(p, PLAIN);
    text_printf(p->out, ": %s", item->message);
    p->n_lines = 0;
    end_line(p);
    int remarks = count_lines(item->note) + count_lines(item->help);
    p->most_lines = MAX_LINES - remarks > 3 ? MAX_LINES - remarks : 3;
    if (placed)
        print_source(p, item);
    print_remark(p, "note:", item->note, MAX_LINES - (item->help != NULL));
    print_remark(p, item->help_is_edit ? "help=" : "help:", item->help, MAX_LINES);
}

// ---- all of them ---------------------------------------------------------------------------------------------------------

static int by_place(const void *a, const void *b)
{
    const DiagItem *x = *(const DiagItem *const *)a, *y = *(const DiagItem *const *)b;
    uint32_t fx = x->at.file - 1, fy = y->at.file - 1;      // no place: last
    if (fx != fy)
        return fx < fy ? -1 : 1;
    if (x->at.begin != y->at.begin)
        return x->at.begin < y->at.begin ? -1 : 1;
    return x < y ? -1 : x > y;
}

static bool same_item(const DiagItem *a, const DiagItem *b)
{
    return a->severity == b->severity && same_span(a->at, b->at) && !strcmp(a->message, b->message);
}

// Pointers to the items in order of place, without repetitions.
static const DiagItem **sorted(const Diag *diag, Arena *arena, size_t *out_n)
{
    const DiagItem **item = arena_array(arena, const DiagItem *, diag->n_items + 1);
    for (size_t i = 0; i < diag->n_items; i++)
        item[i] = &diag->item[i];
    qsort(item, diag->n_items, sizeof *item, by_place);
    size_t n = 0;
    for (size_t i = 0; i < diag->n_items; i++) {
        bool repeated = false;
        for (size_t k = n; k > 0 && same_span(item[k - 1]->at, item[i]->at) && !repeated; k--)
            repeated = same_item(item[k - 1], item[i]);
        if (!repeated)
            item[n++] = item[i];
    }
    *out_n = n;
    return item;
}

void diag_print(const Diag *diag, Text *out, bool colour)
{
    size_t n;
    const DiagItem **item = sorted(diag, out->arena, &n);
    size_t n_shown = n < MAX_SHOWN ? n : MAX_SHOWN, n_kept = n < diag->n_items ? n : diag->n_errors + diag->n_warnings;
    for (size_t i = 0; i < n_shown; i++) {
        Printer p = {.diag = diag, .out = out, .colour = colour};
        if (i > 0)
            text_char(out, '\n');
        print_item(&p, item[i]);
    }
    if (n_shown < n)
        text_printf(out, "\nand %zu more\n", n_kept - n_shown);
}

// ---- JSON ------------------------------------------------------------------------------------------------------------------

static void json_place(const Diag *diag, Text *out, Span at)
{
    if (!diag->sources || at.file == 0 || at.file >= diag->sources->n_files) {
        text_add(out, "\"file\": null, \"line\": null, \"col\": null, \"end_line\": null, \"end_col\": null");
        return;
    }
    LineCol begin = sources_line_col(diag->sources, at.file, at.begin);
    LineCol end = sources_line_col(diag->sources, at.file, at.end);
    text_add(out, "\"file\": ");
    text_json(out, diag->sources->file[at.file].name);
    text_printf(out, ", \"line\": %u, \"col\": %u, \"end_line\": %u, \"end_col\": %u", begin.line, begin.col, end.line,
                end.col);
}

static void json_text(Text *out, const char *before, const char *key, const char *value)
{
    text_printf(out, "%s\"%s\": ", before, key);
    if (value)
        text_json(out, value);
    else
        text_add(out, "null");
}

static void json_edit(const Diag *diag, Text *out, const DiagItem *item)
{
    text_add(out, ", \"edit\": ");
    if (!item->help_is_edit) {
        text_add(out, "null");
        return;
    }
    text_add(out, "{");
    json_place(diag, out, item->edit_at);
    json_text(out, ", ", "text", item->edit);
    text_add(out, "}");
}

static void json_item(const Diag *diag, Text *out, const DiagItem *item)
{
    text_add(out, "{");
    json_text(out, "", "code", item->code);
    json_text(out, ", ", "severity", item->severity == SEVERITY_ERROR ? "error" : "warning");
    json_text(out, ", ", "message", item->message);
    text_add(out, ", ");
    json_place(diag, out, item->at);
    text_add(out, ", \"labels\": [");
    for (size_t i = 0; i < item->n_labels; i++) {
        text_add(out, i ? ", {" : "{");
        json_place(diag, out, item->label[i].at);
        json_text(out, ", ", "text", item->label[i].text);
        text_add(out, "}");
    }
    text_add(out, "]");
    json_text(out, ", ", "note", item->note);
    json_text(out, ", ", "help", item->help);
    json_edit(diag, out, item);
    text_add(out, "}");
}

void diag_print_json(const Diag *diag, Text *out)
{
    size_t n;
    const DiagItem **item = sorted(diag, out->arena, &n);
    text_add(out, "[");
    for (size_t i = 0; i < n; i++) {
        text_add(out, i ? ",\n " : "\n ");
        json_item(diag, out, item[i]);
    }
    text_add(out, n ? "\n]\n" : "]\n");
}
