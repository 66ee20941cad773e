// Expressions as canonical text, and the breaking of lines that are too long.
//
// Sums and comparisons have blanks around their operators; products of plain names and numbers have none (`D/H`,
// `2*F`), other products do. Parentheses stand where they were written: the language reads warnings off them.
#include "ast_line.h"

#include <string.h>

// ---- lines -----------------------------------------------------------------------------------------------------------

Line line_make(Arena *arena)
{
    return (Line){.text = text_make(arena)};
}

void line_blank(Line *line, BreakRank rank)
{
    line->brk = arena_grow(line->text.arena, line->brk, line->n_breaks, &line->capacity, sizeof *line->brk);
    line->brk[line->n_breaks++] = (LineBreak){line->text.n, line->depth * RANK_COUNT + (int)rank};
    text_char(&line->text, ' ');
}

void line_open(Line *line, const char *bracket)
{
    text_add(&line->text, bracket);
    line->depth++;
}

void line_close(Line *line, const char *bracket)
{
    line->depth--;
    text_add(&line->text, bracket);
}

// The break to use for the text that begins at `begin` and has `room` columns: the loosest one in the last two thirds of
// the room, the last of those; else the last that fits; else the first there is. NULL: the rest is not broken. `first` is
// the first break that may lie behind `begin`, and is moved on.
static const LineBreak *choose_break(const Line *line, size_t begin, size_t room, size_t *first)
{
    const LineBreak *best = NULL, *last = NULL;
    if (line->text.n - begin <= room)
        return NULL;
    while (*first < line->n_breaks && line->brk[*first].at <= begin)
        ++*first;
    for (size_t i = *first; i < line->n_breaks; i++) {
        const LineBreak *b = &line->brk[i];
        if (b->at - begin > room)
            return best ? best : last ? last : b;
        last = b;
        if (b->at - begin > room / 3 && (!best || b->rank <= best->rank))
            best = b;
    }
    return best ? best : last;
}

void line_emit(const Line *line, Text *out, int indent)
{
    const char *s = text_str(&line->text);
    text_printf(out, "%*s", indent, "");
    size_t begin = 0, first = 0, room = LINE_WIDTH - indent > 40 ? (size_t)(LINE_WIDTH - indent) : 40;
    for (;;) {
        const LineBreak *b = choose_break(line, begin, room, &first);
        if (!b)
            break;
        text_add_n(out, s + begin, b->at - begin);
        text_printf(out, "\n%*s", indent + CONTINUATION, "");
        if (begin == 0)
            room = room > 44 ? room - CONTINUATION : 40;
        begin = b->at + 1;
    }
    text_add_n(out, s + begin, line->text.n - begin);
}

// ---- expressions -------------------------------------------------------------------------------------------------------

static const struct { const char *text; BreakRank rank; } binary[] = {
    [BINARY_ADD] = {"+", RANK_SUM},     [BINARY_SUB] = {"-", RANK_SUM},     [BINARY_MUL] = {"*", RANK_PRODUCT},
    [BINARY_DIV] = {"/", RANK_PRODUCT}, [BINARY_MOD] = {"%", RANK_PRODUCT}, [BINARY_POW] = {"^", RANK_CONTRACT},
    [BINARY_LT] = {"<", RANK_COMPARE},  [BINARY_LE] = {"<=", RANK_COMPARE}, [BINARY_GT] = {">", RANK_COMPARE},
    [BINARY_GE] = {">=", RANK_COMPARE}, [BINARY_EQ] = {"==", RANK_COMPARE}, [BINARY_NE] = {"!=", RANK_COMPARE},
};

// A product whose factors are names, numbers or such products is written without blanks.
static bool is_tight(const Expr *e);

static bool is_tight_factor(const Expr *e)
{
    return e->kind == EXPR_NAME || e->kind == EXPR_NUMBER || (!e->parens && is_tight(e));
}

static bool is_tight(const Expr *e)
{
    return e->kind == EXPR_BINARY && (e->op == BINARY_MUL || e->op == BINARY_DIV) && is_tight_factor(e->a) &&
           is_tight_factor(e->b);
}

static void print_string(Line *line, const char *s)
{
    text_char(&line->text, '"');
    for (; *s; s++) {
        const char *escape = *s == '\n' ? "\\n" : *s == '\t' ? "\\t" : *s == '"' ? "\\\"" : *s == '\\' ? "\\\\" : NULL;
        if (escape)
            text_add(&line->text, escape);
        else
            text_char(&line->text, *s);
    }
    text_char(&line->text, '"');
}

static void print_binary(Line *line, const Expr *e)
{
    bool tight = e->op == BINARY_POW || is_tight(e);
    print_expr(line, e->a);
    if (!tight)
        line_blank(line, binary[e->op].rank);
    text_add(&line->text, binary[e->op].text);
    if (!tight)
        text_char(&line->text, ' ');
    print_expr(line, e->b);
}

void print_names(Line *line, const Name *names, const char *separator)
{
    for (const Name *n = names; n; n = n->next) {
        text_add(&line->text, n->text);
        if (n->next)
            text_add(&line->text, separator);
    }
}

void print_type(Line *line, const TypeExpr *type)
{
    if (type->dtype)
        text_add(&line->text, type->dtype->text);
    text_add(&line->text, "[");
    print_names(line, type->dims, ",");
    text_add(&line->text, "]");
}

// Selectors: `x[T = 0]`; statics, `LN[eps=1e-6]`, without blanks.
static void print_select(Line *line, const Expr *e, bool statics)
{
    print_expr(line, e->a);
    line_open(line, "[");
    for (const Sel *s = e->sels; s; s = s->next) {
        if (s->axis)
            text_printf(&line->text, statics ? "%s=" : "%s = ", s->axis->text);
        print_expr(line, s->value);
        if (s->end) {
            text_add(&line->text, "..");
            print_expr(line, s->end);
            text_printf(&line->text, " -> %s", s->to->text);
        }
        if (s->next) {
            text_add(&line->text, ",");
            line_blank(line, RANK_COMMA);
        }
    }
    line_close(line, "]");
}

static void print_args(Line *line, const Arg *args)
{
    line_open(line, "(");
    for (const Arg *a = args; a; a = a->next) {
        if (a->name)
            text_printf(&line->text, "%s=", a->name->text);
        if (a->rest)
            text_add(&line->text, "..");
        else
            print_expr(line, a->value);
        if (a->to) {
            text_add(&line->text, " -> ");
            print_expr(line, a->to);
        }
        if (a->next) {
            text_add(&line->text, ",");
            line_blank(line, RANK_COMMA);
        }
    }
    line_close(line, ")");
}

void print_instance(Line *line, const Expr *e)
{
    if (e->kind == EXPR_SELECT && !e->parens)
        print_select(line, e, true);
    else
        print_expr(line, e);
}

static void print_call(Line *line, const Expr *e)
{
    print_instance(line, e->a);
    print_args(line, e->args);
    if (e->tied_over)
        text_printf(&line->text, " tied over %s", e->tied_over->text);
    if (e->recompute)
        text_add(&line->text, " recompute");
}

static void print_bare(Line *line, const Expr *e)
{
    switch (e->kind) {
    case EXPR_ERROR:
        break;
    case EXPR_NUMBER: case EXPR_NAME:
        text_add(&line->text, e->text);
        break;
    case EXPR_STRING:
        print_string(line, e->text);
        break;
    case EXPR_BINARY:
        print_binary(line, e);
        break;
    case EXPR_NEGATE:
        text_add(&line->text, "-");
        print_expr(line, e->a);
        break;
    case EXPR_CONTRACT:
        print_expr(line, e->a);
        line_blank(line, RANK_CONTRACT);
        text_add(&line->text, "@[");
        print_names(line, e->axes, ",");
        text_add(&line->text, "] ");
        print_expr(line, e->b);
        break;
    case EXPR_FIELD:
        print_expr(line, e->a);
        text_printf(&line->text, ".%s", e->text);
        break;
    case EXPR_SELECT:
        print_select(line, e, false);
        break;
    case EXPR_CALL:
        print_call(line, e);
        break;
    case EXPR_TUPLE:
        print_args(line, e->args);
        break;
    }
}

void print_expr(Line *line, const Expr *e)
{
    bool parens = e->parens;
    if (parens)
        line_open(line, "(");
    print_bare(line, e);
    if (parens)
        line_close(line, ")");
}
