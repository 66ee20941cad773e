// One logical line of printed Mix: its text, and the blanks at which it may be broken when it is too long.
// Private to the printer (ast_print.c, ast_print_expr.c).
#ifndef MIXC_AST_LINE_H
#define MIXC_AST_LINE_H

#include "ast.h"

enum { LINE_WIDTH = 110, INDENT = 2, CONTINUATION = 4 };

typedef struct LineBreak {
    size_t at;                              // offset of a blank in `text`
    int    rank;                            // small ranks are broken first
} LineBreak;

typedef struct Line {
    Text       text;
    LineBreak *brk;
    size_t     n_breaks, capacity;
    int        depth;                       // brackets that are open
} Line;

// What separates two parts, from the loosest to the tightest; inside brackets everything is tighter.
typedef enum BreakRank { RANK_CLAUSE, RANK_COMMA, RANK_COMPARE, RANK_SUM, RANK_PRODUCT, RANK_CONTRACT, RANK_COUNT } BreakRank;

Line line_make(Arena *arena);
// A blank at which the line may be broken.
void line_blank(Line *line, BreakRank rank);
void line_open(Line *line, const char *bracket);
void line_close(Line *line, const char *bracket);
// Writes the line at an indentation, broken where it does not fit. No newline at the end.
void line_emit(const Line *line, Text *out, int indent);

void print_expr(Line *line, const Expr *e);
// The right side of `layer a = ..`: a select gives statics there.
void print_instance(Line *line, const Expr *e);
void print_names(Line *line, const Name *names, const char *separator);
void print_type(Line *line, const TypeExpr *type);

#endif
