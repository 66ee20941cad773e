// What the lexer, the token filter, the grammar and the error messages share while one file is parsed.
// Private to the front end; everybody else includes ast.h.
#ifndef MIXC_PARSE_H
#define MIXC_PARSE_H

#include "ast.h"

enum { MAX_SOURCE_BYTES = 1 << 20, MAX_NAME_BYTES = 200, MAX_SYNTAX_ERRORS = 20 };

// A list under construction: the grammar appends at the end in constant time.
typedef struct NameList { Name *first, *last; } NameList;
typedef struct ArgList { Arg *first, *last; } ArgList;
typedef struct SelList { Sel *first, *last; } SelList;
typedef struct AxisList { AxisDecl *first, *last; } AxisList;
typedef struct BindList { Bind *first, *last; } BindList;
typedef struct StaticList { Static *first, *last; } StaticList;
typedef struct FormalList { Formal *first, *last; } FormalList;
typedef struct ParamList { ParamDecl *first, *last; } ParamList;
typedef struct KeyValueList { KeyValue *first, *last; } KeyValueList;
typedef struct TermList { ClauseTerm *first, *last; } TermList;
typedef struct ClauseList { Clause *first, *last; } ClauseList;
typedef struct CausalList { Causal *first, *last; } CausalList;
typedef struct StmtList { Stmt *first, *last; } StmtList;
typedef struct ItemList { Item *first, *last; } ItemList;
typedef struct CommentList { Comment *first, *last; } CommentList;

// `node` is evaluated more than once.
#define LIST_ADD(list, node)                                                                                           \
    ((list).last ? (void)((list).last->next = (node)) : (void)((list).first = (node)), (void)((list).last = (node)))

// Which body an `only` statement tests for, and what follows `causal over`: small records of the grammar.
typedef struct Condition { ModeName mode; Expr *value; } Condition;
typedef struct Flags { CausalList causal; bool recompute; } Flags;
typedef struct Body { Stmt *first; Span end; } Body;
typedef struct Mods { Name *tied_over; bool recompute; } Mods;
typedef struct AxisSize { Expr *size, *low, *high; Name *twin; } AxisSize;
typedef struct EachHead { Name *each, *gate, *over; } EachHead;

typedef struct Bracket { char open; bool sums; Span at; } Bracket;     // `sums`: it is `@[`, and a value follows its end

// Where parsing goes on after an error.
typedef enum Resume { RESUME_HERE, RESUME_LATER, RESUME_AT_END } Resume;

enum { NO_TOKEN = -1 };

typedef struct Parse {
    Arena         *arena;                   // borrowed
    Diag          *diag;                    // borrowed
    const Sources *sources;                 // borrowed
    uint32_t       file;
    const char    *text;                    // of the file, zero-terminated
    uint32_t       n;
    void          *scanner;
    uint32_t       scan_at;                 // first byte that the scanner has not matched yet

    const char   **name;                    // interned text: open addressing, size a power of two
    size_t         n_names, name_capacity;

    Ast           *ast;
    CommentList    comments;

    Bracket        bracket[AST_MAX_NESTING];
    size_t         n_brackets;
    bool           closed_sums;             // the bracket that was closed last was `@[`
    size_t         clauses_at;              // n_brackets + 1 where `experts` was read; 0: not between `experts` and `each`
    int            previous, before;        // the newest token that was handed out, and the one before it
    Span           previous_at, before_at;

    int            held;                    // a token that waits behind made-up brackets, or NO_TOKEN
    Name          *held_name;
    Span           held_at;
    size_t         n_close;                 // closing brackets to make up before `held`
    size_t         n_head;                  // tokens of a missing `mix 1` still to make up
    bool           made_up;                 // the token handed out last stands nowhere in the file
    bool           skipping;                // after an error: drop tokens up to a place to go on from
    size_t         skip_level;              // brackets open at that place
    size_t         n_tokens, resumed_at;    // handed out so far; the count when an error last chose where to go on
    uint32_t       error_begin;             // place of the newest error + 1; 0: none
    size_t         n_errors;
    bool           stopped;                 // a limit was hit: only closing brackets are handed out
    bool           depth_reported;
} Parse;

// The bracket that closes `open`.
char closing_bracket(char open);

// Reports a syntax error, unless one was already reported at the same place. Returns true when it was new: only then
// may labels and help be added.
bool parse_error(Parse *p, Span at, const char *code, const char *format, ...) __attribute__((format(printf, 4, 5)));

// Called by an `error` rule with the parser's look-ahead: arranges where parsing goes on.
Resume parse_recover(Parse *p, int look_ahead, Span at);

// Reports the newest token as unexpected; `expected` are the grammar's names of what could have stood there.
void parse_unexpected(Parse *p, Span at, const char *const *expected, size_t n_expected);

// Text that is stored once per parse.
const char *parse_intern(Parse *p, const char *text, size_t n);
Name *parse_name(Parse *p, Span at, const char *text, size_t n);

// Nodes. Each returns a new node in the arena.
Expr *expr_leaf(Parse *p, ExprKind kind, Span at, const char *text, double number);
Expr *expr_binary(Parse *p, Span at, Span op_at, BinaryOp op, Expr *a, Expr *b);
Expr *expr_negate(Parse *p, Span at, Span op_at, Expr *a);
Expr *expr_contract(Parse *p, Span at, Span op_at, Expr *a, NameList axes, Expr *b);
Expr *expr_field(Parse *p, Span at, Expr *a, const Name *field);
Expr *expr_select(Parse *p, Span at, Span op_at, Expr *a, SelList sels);
Expr *expr_call(Parse *p, Span at, Expr *a, ArgList args, Mods mods);
Expr *expr_tuple(Parse *p, Span at, Expr *first, ArgList rest);
Expr *expr_parens(Span at, Expr *a);
Arg  *arg_make(Parse *p, Span at, Name *name, Expr *value, Expr *to, bool rest);

#endif
