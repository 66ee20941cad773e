// Builds the syntax tree: interned text, node constructors, and the entry that sets scanner and parser up for one file.
//
// The depth of expressions is bounded here, because everybody behind the parser walks them recursively. All memory is
// the arena's, except the parser's own stack, which is bounded by YYMAXDEPTH and freed before mix_parse returns.
#include "parse.h"

#include "grammar.h"
#include "lex_actions.h"
#include "lexer.h"

#include <string.h>

// ---- errors ----------------------------------------------------------------------------------------------------------

bool parse_error(Parse *p, Span at, const char *code, const char *format, ...)
{
    if (p->error_begin == at.begin + 1 || p->n_errors >= MAX_SYNTAX_ERRORS)
        return false;
    p->error_begin = at.begin + 1;
    p->n_errors++;
    Text text = text_make(p->arena);
    va_list args;
    va_start(args, format);
    text_vprintf(&text, format, args);
    va_end(args);
    diag_error(p->diag, at, code, "%s", text_str(&text));
    return true;
}

// ---- names -----------------------------------------------------------------------------------------------------------

static uint64_t hash_text(const char *s, size_t n)
{
    uint64_t h = 0xcbf29ce484222325U;       // FNV-1a
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)s[i]) * 0x100000001b3U;
    return h;
}

static const char **name_slot(const char **table, size_t capacity, const char *s, size_t n)
{
    size_t i = hash_text(s, n) & (capacity - 1);
    while (table[i] && (strncmp(table[i], s, n) || table[i][n]))
        i = (i + 1) & (capacity - 1);
    return &table[i];
}

const char *parse_intern(Parse *p, const char *text, size_t n)
{
    if (2 * (p->n_names + 1) > p->name_capacity) {
        size_t capacity = p->name_capacity ? 2 * p->name_capacity : 256;
        const char **bigger = arena_array(p->arena, const char *, capacity);
        for (size_t i = 0; i < p->name_capacity; i++)
            if (p->name[i])
                *name_slot(bigger, capacity, p->name[i], strlen(p->name[i])) = p->name[i];
        p->name = bigger;
        p->name_capacity = capacity;
    }
    const char **slot = name_slot(p->name, p->name_capacity, text, n);
    if (!*slot) {
        *slot = arena_strndup(p->arena, text, n);
        p->n_names++;
    }
    return *slot;
}

Name *parse_name(Parse *p, Span at, const char *text, size_t n)
{
    Name *name = arena_new(p->arena, Name);
    name->text = parse_intern(p, text, n);
    name->at = at;
    return name;
}

// ---- nodes -----------------------------------------------------------------------------------------------------------

static uint32_t depth_of(const Expr *e)
{
    return e ? e->depth : 0;
}

static uint32_t deeper(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

// Gives the node its depth. A node that would be too deep is reported (once) and becomes an error without children.
static Expr *with_depth(Parse *p, Expr *e)
{
    uint32_t depth = deeper(depth_of(e->a), depth_of(e->b));
    for (const Arg *a = e->args; a; a = a->next)
        depth = deeper(depth, deeper(depth_of(a->value), depth_of(a->to)));
    for (const Sel *s = e->sels; s; s = s->next)
        depth = deeper(depth, deeper(depth_of(s->value), depth_of(s->end)));
    e->depth = depth + 1;
    if (e->depth <= AST_MAX_DEPTH)
        return e;
    if (!p->depth_reported && parse_error(p, e->at, "E0007", "this expression has more than %d levels", AST_MAX_DEPTH))
        diag_help(p->diag, "give parts of it names on lines of their own");
    p->depth_reported = true;
    *e = (Expr){.kind = EXPR_ERROR, .at = e->at, .op_at = e->at, .depth = 1};
    return e;
}

static Expr *new_expr(Parse *p, Expr value)
{
    Expr *e = arena_new(p->arena, Expr);
    *e = value;
    return with_depth(p, e);
}

Expr *expr_leaf(Parse *p, ExprKind kind, Span at, const char *text, double number)
{
    return new_expr(p, (Expr){.kind = kind, .at = at, .op_at = at, .text = text, .number = number});
}

Expr *expr_binary(Parse *p, Span at, Span op_at, BinaryOp op, Expr *a, Expr *b)
{
    return new_expr(p, (Expr){.kind = EXPR_BINARY, .at = at, .op_at = op_at, .op = op, .a = a, .b = b});
}

Expr *expr_negate(Parse *p, Span at, Span op_at, Expr *a)
{
    return new_expr(p, (Expr){.kind = EXPR_NEGATE, .at = at, .op_at = op_at, .a = a});
}

Expr *expr_contract(Parse *p, Span at, Span op_at, Expr *a, NameList axes, Expr *b)
{
    return new_expr(p, (Expr){.kind = EXPR_CONTRACT, .at = at, .op_at = op_at, .a = a, .axes = axes.first, .b = b});
}

Expr *expr_field(Parse *p, Span at, Expr *a, const Name *field)
{
    return new_expr(p, (Expr){.kind = EXPR_FIELD, .at = at, .op_at = field->at, .a = a, .text = field->text});
}

Expr *expr_select(Parse *p, Span at, Span op_at, Expr *a, SelList sels)
{
    return new_expr(p, (Expr){.kind = EXPR_SELECT, .at = at, .op_at = op_at, .a = a, .sels = sels.first});
}

Expr *expr_call(Parse *p, Span at, Expr *a, ArgList args, Mods mods)
{
    return new_expr(p, (Expr){.kind = EXPR_CALL, .at = at, .op_at = a->op_at, .a = a, .args = args.first,
                              .tied_over = mods.tied_over, .recompute = mods.recompute});
}

Expr *expr_tuple(Parse *p, Span at, Expr *first, ArgList rest)
{
    Arg *head = arg_make(p, first->at, NULL, first, NULL, false);
    head->next = rest.first;
    return new_expr(p, (Expr){.kind = EXPR_TUPLE, .at = at, .op_at = at, .args = head});
}

Expr *expr_parens(Span at, Expr *a)
{
    a->at = at;
    a->parens = a->kind != EXPR_TUPLE;      // which has its own
    return a;
}

Arg *arg_make(Parse *p, Span at, Name *name, Expr *value, Expr *to, bool rest)
{
    Arg *a = arena_new(p->arena, Arg);
    *a = (Arg){.at = at, .name = name, .value = value, .to = to, .rest = rest};
    return a;
}

// ---- a file ----------------------------------------------------------------------------------------------------------

static bool has_head(const Parse *p)
{
    const char *s = p->text;
    for (;;) {
        s += strspn(s, " \t\r\n\f");
        if (*s != '#')
            break;
        s += strcspn(s, "\n");
    }
    return !strncmp(s, "mix", 3) && s[3] && strchr(" \t", s[3]);
}

static void check_edition(Parse *p)
{
    const Expr *e = p->ast->edition;
    if (e && e->number != 1 &&
        parse_error(p, e->at, "E0017", "this file is written in edition %s of Mix; this compiler knows edition 1", e->text))
        diag_help(p->diag, "use a newer compiler, or start the file with `mix 1`");
}

// Reads the tokens of p->text, from the byte `begin` on.
static void parse_tokens(Parse *p, uint32_t begin)
{
    p->scan_at = begin;
    mix_raw_lex_init_extra(p, &p->scanner);
    void *buffer = mix_raw__scan_bytes(p->text + begin, (int)(p->n - begin), p->scanner);
    mix_parse(p);
    mix_raw__delete_buffer(buffer, p->scanner);
    mix_raw_lex_destroy(p->scanner);
}

Ast *ast_parse(Arena *arena, Diag *diag, const Sources *sources, uint32_t file)
{
    Parse *p = arena_new(arena, Parse);
    const SourceFile *source = &sources->file[file];
    *p = (Parse){.arena = arena, .diag = diag, .sources = sources, .file = file, .text = source->data,
                 .n = (uint32_t)source->n, .held = NO_TOKEN};
    p->ast = arena_new(arena, Ast);
    p->ast->file = file;
    if (!lex_check_text(p))
        return p->ast;
    uint32_t begin = p->n >= 3 && !memcmp(p->text, "\xef\xbb\xbf", 3) ? 3 : 0;      // a byte order mark
    if (!has_head(p) && begin == 0) {
        if (parse_error(p, (Span){file, 0, 0}, "E0009", "a .mix file begins with the line `mix 1`"))
            diag_help_edit(diag, (Span){file, 0, 0}, "mix 1\n", "insert it as the first line");
        p->n_head = 2;
    }
    parse_tokens(p, begin);
    check_edition(p);
    p->ast->comments = p->comments.first;
    return p->ast;
}
