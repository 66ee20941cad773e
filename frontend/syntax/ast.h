// The syntax tree of a .mix file. The grammar's actions build it and nothing else; every node carries its span.
// Lists are singly linked in source order. All text is interned in the arena and checked by the lexer: names are
// letters, digits, underscores and trailing primes.
#ifndef MIXC_AST_H
#define MIXC_AST_H

#include "arena.h"
#include "diag.h"

enum { AST_MAX_DEPTH = 500, AST_MAX_NESTING = 200 };    // of an expression; of brackets

typedef struct Expr Expr;
typedef struct Stmt Stmt;
typedef struct Name { const char *text; Span at; struct Name *next; } Name;

typedef enum ExprKind {
    EXPR_ERROR,
    EXPR_NUMBER,                            // number, text
    EXPR_STRING,                            // text: the content
    EXPR_NAME,                              // text
    EXPR_BINARY,                            // op, a, b
    EXPR_NEGATE,                            // a
    EXPR_CONTRACT,                          // a @[axes] b
    EXPR_FIELD,                             // a.text
    EXPR_SELECT,                            // a[sels]
    EXPR_CALL,                              // a(args) mods; a is a name, a field (method) or a select (statics)
    EXPR_TUPLE                              // (args): two or more
} ExprKind;

typedef enum BinaryOp {
    BINARY_ADD, BINARY_SUB, BINARY_MUL, BINARY_DIV, BINARY_MOD, BINARY_POW,
    BINARY_LT, BINARY_LE, BINARY_GT, BINARY_GE, BINARY_EQ, BINARY_NE
} BinaryOp;

// An argument: `e`, `name = e`, `e -> to`, `over = ..` (name "over", rest)
typedef struct Arg {
    Span        at;
    Name       *name;                       // NULL: positional
    Expr       *value;                      // NULL with `rest`
    Expr       *to;                         // after ->; NULL: none
    bool        rest;                       // `..`
    struct Arg *next;
} Arg;

// A selector: `e`, `A = e`, `A = lo..hi -> N`
typedef struct Sel {
    Span        at;
    Name       *axis;                       // NULL: a bare expression (layer statics such as LN[W])
    Expr       *value;
    Expr       *end;                        // of a range; NULL: not one
    Name       *to;
    struct Sel *next;
} Sel;

struct Expr {
    ExprKind    kind;
    Span        at;
    Span        op_at;                      // the operator, the `@[..]`, the method's name
    BinaryOp    op;
    double      number;
    const char *text;
    Expr       *a, *b;
    Name       *axes;
    Sel        *sels;
    Arg        *args;
    Name       *tied_over;                  // mods of a call: at most one entry each
    bool        recompute;
    bool        parens;                     // written in parentheses (`at` includes them)
    uint32_t    depth;                      // levels below, this one included; at most AST_MAX_DEPTH
};

typedef struct AxisDecl {                   // axis NAME : kind = size | in lo..hi | twin OF
    Span        at;
    Name       *name, *kind, *twin;
    Expr       *size, *low, *high;
    struct AxisDecl *next;
} AxisDecl;

typedef struct TypeExpr {                   // [B,T] | int[B,T] | [..,D] | routing[B,T,E]
    Span        at;
    Name       *dtype;                      // NULL: float
    Name       *dims;                       // a dim ".." is the caller's other axes
    bool        present;                    // false: no type was written
} TypeExpr;

typedef struct Formal {
    Span        at;
    Name       *name;                       // NULL: an unnamed result
    TypeExpr    type;
    struct Formal *next;
} Formal;

typedef struct Static {                     // [T, D, H, drop = 0, layer L]
    Span        at;
    Name       *name;
    Expr       *value;                      // default
    bool        is_layer;
    struct Static *next;
} Static;

typedef struct KeyValue { Span at; Name *name; Expr *value; Name *mode; struct KeyValue *next; } KeyValue;

typedef struct ParamDecl {
    Span        at;
    Name       *name;
    TypeExpr    type;
    Expr       *init;
    KeyValue   *with;
    struct ParamDecl *next;
} ParamDecl;

typedef struct Bind { Span at; Name *name; Expr *value; struct Bind *next; } Bind;   // const N = e; layer a = L[..]

typedef enum ClauseKind {
    CLAUSE_TOP, CLAUSE_SAMPLE, CLAUSE_CAPACITY, CLAUSE_DROPLESS, CLAUSE_GATE, CLAUSE_OVERFLOW, CLAUSE_BALANCE,
    CLAUSE_NOISE, CLAUSE_ASSIGN, CLAUSE_PRIORITY, CLAUSE_WHERE
} ClauseKind;

typedef struct ClauseTerm {                 // e [over e] [pooled] [in mode]; dropless [in mode]
    Span        at;
    Expr       *value, *over;
    Name       *mode;
    bool        pooled, dropless;
    struct ClauseTerm *next;
} ClauseTerm;

typedef struct Clause {
    ClauseKind  kind;
    Span        at;
    Expr       *value;
    Name       *name, *mode;
    ClauseTerm *terms;
    struct Clause *next;
} Clause;

typedef struct Route {
    Span        at;
    Expr       *payload;                    // NULL: `route by ..`, which only chooses
    Expr       *by;
    Name       *experts;                    // NULL: `route x by r each ..`
    Clause     *clauses;
    Name       *each, *gate, *over;         // each t, g over K
    Stmt       *body;                       // NULL: only chooses
    bool        has_body;
    Span        body_end;
} Route;

typedef struct Rhs { Span at; Expr *expr; Route *route; } Rhs;   // one of the two

typedef enum StmtKind {
    STMT_ERROR, STMT_AXIS, STMT_PARAM, STMT_STATE, STMT_NEXT, STMT_CONST, STMT_ASSIGN, STMT_YIELD, STMT_PENALTY,
    STMT_WATCH, STMT_INSTANCE, STMT_REPEAT, STMT_ONLY
} StmtKind;

typedef enum ModeName { MODE_TRAIN, MODE_EVAL, MODE_GENERATE, MODE_COUNT, MODE_NONE = MODE_COUNT } ModeName;

struct Stmt {
    StmtKind    kind;
    Span        at;
    AxisDecl   *axes;
    ParamDecl  *params;
    Bind       *binds;                      // const, instances
    Name       *names;                      // assign (one or more), next, penalty, watch, repeat
    Rhs         rhs;                        // assign, yield
    Expr       *value;                      // next, penalty, watch, repeat's count, only's condition
    ModeName    mode;                       // only train | only generate | only eval; MODE_NONE: `value`
    Stmt       *body, *other;               // repeat, only .. else
    Span        body_end;                   // the brace that closes `body`
    bool        has_other;
    Stmt       *next;
};

typedef struct Causal {
    Span        at;                         // the whole clause
    Name       *over;                       // NULL: no claim
    Expr       *after;
    Name       *leak;                       // the mode of `allow leak in`
    struct Causal *next;
} Causal;

typedef struct LayerDecl {                  // layer and model
    Span        at;                         // the head, for messages
    bool        is_model;
    Name       *name;
    Static     *statics;
    Formal     *inputs, *results;           // an unnamed result is one Formal without a name
    bool        recompute;
    Causal     *causal;
    Stmt       *body;
    Span        body_end;
} LayerDecl;

typedef enum SectionKind { SECTION_DATA, SECTION_TRAIN, SECTION_GENERATE, SECTION_SIZE } SectionKind;

typedef struct Section {
    SectionKind kind;
    Span        at;
    Name       *name;                       // data NAME, train MODEL, generate MODEL, size NAME
    Name       *on;                         // train MODEL on DATA
    KeyValue   *props;
    Span        body_end;
} Section;

typedef enum ItemKind { ITEM_USE, ITEM_AXIS, ITEM_CONST, ITEM_LAYER, ITEM_SECTION } ItemKind;

typedef struct Item {
    ItemKind    kind;
    Span        at;
    Name       *path;                       // use std.norm
    AxisDecl   *axes;
    Bind       *consts;
    LayerDecl  *layer;
    Section    *section;
    struct Item *next;
} Item;

typedef struct Comment { Span at; const char *text; bool own_line; struct Comment *next; } Comment;   // for fmt

typedef struct Ast {
    uint32_t    file;
    Expr       *edition;                    // the number after `mix`; NULL: missing (an error was reported)
    Item       *items;
    Comment    *comments;                   // in source order
} Ast;

// Parses a file. Always returns a tree (perhaps partial); errors are in diag. After a syntax error the tree holds
// STMT_ERROR and EXPR_ERROR nodes: no later stage should be started on it.
Ast *ast_parse(Arena *arena, Diag *diag, const Sources *sources, uint32_t file);
// Prints canonically (`mixc fmt`): idempotent, comments kept, print(parse(print(x))) == print(x).
void ast_print(const Ast *ast, const Sources *sources, Text *out);

#endif
