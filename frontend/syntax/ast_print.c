// The canonical form of a .mix file (`mixc fmt`): two blanks of indentation, one statement a line, lines of at most
// LINE_WIDTH columns where they can be broken. A block of one statement stays on its head's line when it fits.
//
// Comments keep their places: on lines of their own before what they stood before, or at the end of the line of what
// they stood behind; a comment inside a statement moves before it. Blank lines are kept, of several one. Printing what
// was printed changes nothing.
#include "ast_line.h"

#include <string.h>

typedef struct AstPrinter {
    const char    *source;                  // the file's text
    const Comment *comment;                 // the next one to print
    Text          *out;
    int            indent;
    uint32_t       done;                    // offset in `source` behind what was printed last
    bool           fresh;                   // nothing was printed in this block yet
} AstPrinter;

static void print_statement(AstPrinter *p, const Stmt *s);

// ---- comments and blank lines ------------------------------------------------------------------------------------------

static int newlines_between(const AstPrinter *p, uint32_t from, uint32_t to)
{
    int n = 0;
    for (uint32_t i = from; i < to; i++)
        n += p->source[i] == '\n';
    return n;
}

static bool only_blanks_between(const AstPrinter *p, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        if (!strchr(" \t\r\f", p->source[i]))
            return false;
    return from <= to;
}

static void separate(AstPrinter *p, uint32_t begin)
{
    if (!p->fresh && newlines_between(p, p->done, begin) > 1)
        text_char(p->out, '\n');
    p->fresh = false;
}

// Prints the comments up to the offset `limit`, each on its own line.
static void print_comments(AstPrinter *p, uint32_t limit)
{
    for (; p->comment && p->comment->at.begin < limit; p->comment = p->comment->next) {
        separate(p, p->comment->at.begin);
        text_printf(p->out, "%*s%s\n", p->indent, "", p->comment->text);
        p->done = p->comment->at.end;
    }
}

// What stands before a node: its comments (those inside its head too) and a blank line if there was one.
static void begin_node(AstPrinter *p, uint32_t begin, uint32_t head_end)
{
    print_comments(p, begin);
    if (p->comment && p->comment->at.begin < head_end) {
        print_comments(p, head_end);
        p->done = begin;                    // no blank line between such a comment and its statement
    }
    separate(p, begin > p->done ? begin : p->done);
}

// A comment that stands behind the offset `end` on the same line stays there.
static void end_of_line(AstPrinter *p, uint32_t end)
{
    if (end > p->done)
        p->done = end;
    if (p->comment && p->comment->at.begin >= end && only_blanks_between(p, end, p->comment->at.begin)) {
        text_printf(p->out, "  %s", p->comment->text);
        p->done = p->comment->at.end;
        p->comment = p->comment->next;
    }
    text_char(p->out, '\n');
}

static bool has_comment_in(const AstPrinter *p, Span at)
{
    const Comment *c = p->comment;
    while (c && c->at.begin < at.begin)
        c = c->next;
    return c && c->at.begin < at.end;
}

// ---- heads of statements -----------------------------------------------------------------------------------------------

static void comma(Line *line)
{
    text_add(&line->text, ",");
    line_blank(line, RANK_COMMA);
}

static void print_axes(Line *line, const AxisDecl *axes)
{
    text_add(&line->text, "axis ");
    for (const AxisDecl *a = axes; a; a = a->next) {
        text_add(&line->text, a->name->text);
        if (a->kind)
            text_printf(&line->text, " : %s", a->kind->text);
        if (a->size) {
            text_add(&line->text, " = ");
            print_expr(line, a->size);
        } else if (a->low) {
            text_add(&line->text, " in ");
            print_expr(line, a->low);
            text_add(&line->text, "..");
            print_expr(line, a->high);
        } else if (a->twin)
            text_printf(&line->text, " twin %s", a->twin->text);
        if (a->next)
            comma(line);
    }
}

static void print_binds(Line *line, const char *word, const Bind *binds)
{
    bool instances = !strcmp(word, "layer ");
    text_add(&line->text, word);
    for (const Bind *b = binds; b; b = b->next) {
        text_printf(&line->text, "%s = ", b->name->text);
        if (instances)
            print_instance(line, b->value);
        else
            print_expr(line, b->value);
        if (b->next)
            comma(line);
    }
}

static void print_params(Line *line, const char *word, const ParamDecl *params)
{
    text_add(&line->text, word);
    for (const ParamDecl *d = params; d; d = d->next) {
        text_add(&line->text, d->name->text);
        if (d->type.dtype)
            text_add(&line->text, ": ");
        print_type(line, &d->type);
        if (d->init) {
            text_add(&line->text, " = ");
            print_expr(line, d->init);
        }
        for (const KeyValue *kv = d->with; kv; kv = kv->next) {
            text_printf(&line->text, "%s%s = ", kv == d->with ? " with " : "; ", kv->name->text);
            print_expr(line, kv->value);
        }
        if (d->next)
            comma(line);
    }
}

static void print_over(Line *line, const ClauseTerm *t)
{
    if (t->over) {
        text_add(&line->text, " over ");
        print_expr(line, t->over);
    }
    if (t->pooled)
        text_add(&line->text, " pooled");
    if (t->mode)
        text_printf(&line->text, " in %s", t->mode->text);
}

static void print_clause(Line *line, const Clause *c)
{
    static const char *const word[] = {
        [CLAUSE_TOP] = "top", [CLAUSE_SAMPLE] = "sample", [CLAUSE_CAPACITY] = "capacity", [CLAUSE_DROPLESS] = "dropless",
        [CLAUSE_GATE] = "gate", [CLAUSE_OVERFLOW] = "overflow", [CLAUSE_BALANCE] = "balance", [CLAUSE_NOISE] = "noise",
        [CLAUSE_ASSIGN] = "assign", [CLAUSE_PRIORITY] = "priority", [CLAUSE_WHERE] = "where",
    };
    line_blank(line, RANK_CLAUSE);
    text_add(&line->text, word[c->kind]);
    if (c->value) {
        text_add(&line->text, " ");
        print_expr(line, c->value);
    }
    if (c->name)
        text_printf(&line->text, " %s", c->name->text);
    for (const ClauseTerm *t = c->terms; t; t = t->next) {
        if (t == c->terms)
            text_add(&line->text, " ");
        else
            comma(line);
        if (t->dropless)
            text_add(&line->text, "dropless");
        else
            print_expr(line, t->value);
        print_over(line, t);
    }
    if (c->mode)
        text_printf(&line->text, " in %s", c->mode->text);
}

static void print_route(Line *line, const Route *r)
{
    text_add(&line->text, "route ");
    if (r->payload) {
        print_expr(line, r->payload);
        text_add(&line->text, " ");
    }
    text_add(&line->text, "by ");
    print_expr(line, r->by);
    if (r->experts)
        text_printf(&line->text, " to %s experts", r->experts->text);
    for (const Clause *c = r->clauses; c; c = c->next)
        print_clause(line, c);
    line_blank(line, RANK_CLAUSE);
    text_printf(&line->text, "each %s", r->each->text);
    if (r->gate)
        text_printf(&line->text, ", %s", r->gate->text);
    if (r->over)
        text_printf(&line->text, " over %s", r->over->text);
}

static void print_rhs(Line *line, const Rhs *rhs)
{
    if (rhs->route)
        print_route(line, rhs->route);
    else
        print_expr(line, rhs->expr);
}

static void print_named(Line *line, const char *word, const Stmt *s)
{
    text_printf(&line->text, "%s %s = ", word, s->names->text);
    print_expr(line, s->value);
}

// The statement up to its first block.
static void print_head(Line *line, const Stmt *s)
{
    static const char *const mode[] = {"train", "eval", "generate"};
    switch (s->kind) {
    case STMT_ERROR:
        break;
    case STMT_AXIS:
        print_axes(line, s->axes);
        break;
    case STMT_PARAM:
        print_params(line, "param ", s->params);
        break;
    case STMT_STATE:
        print_params(line, "state ", s->params);
        break;
    case STMT_NEXT:
        print_named(line, "next", s);
        break;
    case STMT_PENALTY:
        print_named(line, "penalty", s);
        break;
    case STMT_WATCH:
        print_named(line, "watch", s);
        break;
    case STMT_CONST:
        print_binds(line, "const ", s->binds);
        break;
    case STMT_INSTANCE:
        print_binds(line, "layer ", s->binds);
        break;
    case STMT_ASSIGN:
        print_names(line, s->names, ", ");
        text_add(&line->text, " = ");
        print_rhs(line, &s->rhs);
        break;
    case STMT_YIELD:
        text_add(&line->text, "yield ");
        print_rhs(line, &s->rhs);
        break;
    case STMT_REPEAT:
        text_printf(&line->text, "repeat %s in ", s->names->text);
        print_expr(line, s->value);
        break;
    case STMT_ONLY:
        text_add(&line->text, "only ");
        if (s->mode == MODE_NONE)
            print_expr(line, s->value);
        else
            text_add(&line->text, mode[s->mode]);
        break;
    }
}

// ---- blocks ------------------------------------------------------------------------------------------------------------

typedef struct BlockView { const Stmt *first; Span end; bool present; } BlockView;

// The block of a statement, or of the route on its right side.
static BlockView block_of(const Stmt *s)
{
    const Route *r = s->rhs.route;
    if (r)
        return (BlockView){r->body, r->body_end, r->has_body};
    return (BlockView){s->body, s->body_end, s->kind == STMT_REPEAT || s->kind == STMT_ONLY};
}

// Writes the whole statement on one line. Returns false when it has blocks of more than one statement or is too long.
static bool print_flat(Line *line, const Stmt *s);

static bool print_flat_block(Line *line, const Stmt *first)
{
    if (first && first->next)
        return false;
    text_add(&line->text, first ? " { " : " { }");
    if (first && !print_flat(line, first))
        return false;
    if (first)
        text_add(&line->text, " }");
    return line->text.n <= LINE_WIDTH;
}

static bool print_flat(Line *line, const Stmt *s)
{
    BlockView block = block_of(s);
    print_head(line, s);
    if (line->text.n > LINE_WIDTH || (block.present && !print_flat_block(line, block.first)))
        return false;
    if (s->has_other) {
        text_add(&line->text, " else");
        return print_flat_block(line, s->other);
    }
    return true;
}

static void print_block(AstPrinter *p, const Stmt *first, Span end)
{
    p->indent += INDENT;
    p->fresh = true;
    for (const Stmt *s = first; s; s = s->next)
        print_statement(p, s);
    print_comments(p, end.begin);
    p->indent -= INDENT;
    p->done = end.end;
    p->fresh = false;
    text_printf(p->out, "%*s}", p->indent, "");
}

// Where the opening brace stands that follows `from`, and the offset behind it.
static uint32_t behind_brace(const AstPrinter *p, uint32_t from)
{
    while (p->source[from] && p->source[from] != '{') {
        if (p->source[from] == '#')
            while (p->source[from + 1] && p->source[from + 1] != '\n')
                from++;
        from++;
    }
    return p->source[from] ? from + 1 : from;
}

// Offset behind the last part of the statement's head.
static uint32_t head_end(const Stmt *s)
{
    const Route *r = s->rhs.route;
    if (r)
        return r->over ? r->over->at.end : r->gate ? r->gate->at.end : r->each->at.end;
    if (s->kind == STMT_REPEAT || s->kind == STMT_ONLY)
        return s->value ? s->value->at.end : s->at.begin;
    return s->at.end;
}

static void print_statement(AstPrinter *p, const Stmt *s)
{
    BlockView block = block_of(s);
    Line line = line_make(p->out->arena);
    bool flat = print_flat(&line, s) && (int)line.text.n + p->indent <= LINE_WIDTH;
    Span behind_head = {s->at.file, head_end(s), s->at.end};
    if (!block.present || (flat && !has_comment_in(p, behind_head))) {
        begin_node(p, s->at.begin, s->at.end);
        line_emit(&line, p->out, p->indent);
        end_of_line(p, s->at.end);
        return;
    }
    begin_node(p, s->at.begin, head_end(s));
    line = line_make(p->out->arena);
    print_head(&line, s);
    text_add(&line.text, " {");
    line_emit(&line, p->out, p->indent);
    end_of_line(p, behind_brace(p, head_end(s)));
    print_block(p, block.first, block.end);
    if (s->has_other) {
        text_add(p->out, " else {");
        end_of_line(p, behind_brace(p, block.end.end));
        print_block(p, s->other, (Span){s->at.file, s->at.end - 1, s->at.end});
    }
    end_of_line(p, s->at.end);
}

// ---- items -------------------------------------------------------------------------------------------------------------

static void print_formals(Line *line, const Formal *formals)
{
    for (const Formal *f = formals; f; f = f->next) {
        if (f->name)
            text_printf(&line->text, "%s: ", f->name->text);
        print_type(line, &f->type);
        if (f->next)
            comma(line);
    }
}

static void print_layer_head(Line *line, const LayerDecl *l)
{
    text_printf(&line->text, "%s %s", l->is_model ? "model" : "layer", l->name->text);
    if (l->statics)
        line_open(line, "[");
    for (const Static *s = l->statics; s; s = s->next) {
        text_printf(&line->text, "%s%s", s->is_layer ? "layer " : "", s->name->text);
        if (s->value) {
            text_add(&line->text, " = ");
            print_expr(line, s->value);
        }
        if (s->next)
            comma(line);
    }
    if (l->statics)
        line_close(line, "]");
    line_open(line, "(");
    print_formals(line, l->inputs);
    line_close(line, ")");
    line_blank(line, RANK_CLAUSE);
    text_add(&line->text, "-> ");
    print_formals(line, l->results);
    if (l->recompute)
        text_add(&line->text, " recompute");
    for (const Causal *c = l->causal; c; c = c->next) {
        line_blank(line, RANK_CLAUSE);
        text_printf(&line->text, "causal over %s", c->over->text);
        if (c->after) {
            text_add(&line->text, " after ");
            print_expr(line, c->after);
        }
        if (c->leak)
            text_printf(&line->text, " allow leak in %s", c->leak->text);
    }
}

static void print_layer(AstPrinter *p, const Item *item)
{
    const LayerDecl *l = item->layer;
    Line line = line_make(p->out->arena);
    print_layer_head(&line, l);
    Span behind_head = {item->at.file, l->at.end, item->at.end};
    if (!has_comment_in(p, behind_head) && print_flat_block(&line, l->body)) {
        line_emit(&line, p->out, 0);
    } else {
        line = line_make(p->out->arena);
        print_layer_head(&line, l);
        text_add(&line.text, " {");
        line_emit(&line, p->out, 0);
        end_of_line(p, behind_brace(p, l->at.end));
        print_block(p, l->body, l->body_end);
    }
}

static void print_prop(Line *line, const KeyValue *kv)
{
    text_printf(&line->text, "%s = ", kv->name->text);
    print_expr(line, kv->value);
    if (kv->mode)
        text_printf(&line->text, " in %s", kv->mode->text);
}

static uint32_t section_head_end(const Section *s)
{
    return s->on ? s->on->at.end : s->name->at.end;
}

// On a single line where it fits; else one key a line.
static void print_section(AstPrinter *p, const Section *s)
{
    static const char *const word[] = {"data", "train", "generate", "size"};
    Line line = line_make(p->out->arena);
    text_printf(&line.text, "%s %s", word[s->kind], s->name->text);
    if (s->on)
        text_printf(&line.text, " on %s", s->on->text);
    text_add(&line.text, " {");
    Line flat = line_make(p->out->arena);
    text_add(&flat.text, text_str(&line.text));
    for (const KeyValue *kv = s->props; kv; kv = kv->next) {
        text_add(&flat.text, kv == s->props ? " " : "  ");
        print_prop(&flat, kv);
    }
    text_add(&flat.text, " }");
    Span behind_head = {s->at.file, section_head_end(s), s->at.end};
    if (flat.text.n <= LINE_WIDTH && !has_comment_in(p, behind_head)) {
        text_add(p->out, text_str(&flat.text));
        return;
    }
    text_add(p->out, text_str(&line.text));
    end_of_line(p, behind_brace(p, section_head_end(s)));
    p->indent += INDENT;
    p->fresh = true;
    for (const KeyValue *kv = s->props; kv; kv = kv->next) {
        begin_node(p, kv->at.begin, kv->at.end);
        line = line_make(p->out->arena);
        print_prop(&line, kv);
        line_emit(&line, p->out, p->indent);
        end_of_line(p, kv->at.end);
    }
    p->indent -= INDENT;
    print_block(p, NULL, s->body_end);
}

static void print_item(AstPrinter *p, const Item *item)
{
    uint32_t head = item->kind == ITEM_LAYER     ? item->layer->at.end
                    : item->kind == ITEM_SECTION ? section_head_end(item->section)
                                                 : item->at.end;
    begin_node(p, item->at.begin, head);
    Line line = line_make(p->out->arena);
    switch (item->kind) {
    case ITEM_USE:
        text_add(&line.text, "use ");
        print_names(&line, item->path, ".");
        break;
    case ITEM_AXIS:
        print_axes(&line, item->axes);
        break;
    case ITEM_CONST:
        print_binds(&line, "const ", item->consts);
        break;
    case ITEM_LAYER:
        print_layer(p, item);
        break;
    case ITEM_SECTION:
        print_section(p, item->section);
        break;
    }
    line_emit(&line, p->out, 0);
    end_of_line(p, item->at.end);
}

void ast_print(const Ast *ast, const Sources *sources, Text *out)
{
    AstPrinter p = {.source = sources->file[ast->file].data, .comment = ast->comments, .out = out, .fresh = true};
    uint32_t begin = ast->edition ? ast->edition->at.begin : 0, end = ast->edition ? ast->edition->at.end : 0;
    print_comments(&p, begin);
    text_printf(out, "mix %s", ast->edition ? ast->edition->text : "1");
    p.fresh = false;
    end_of_line(&p, end);
    for (const Item *item = ast->items; item; item = item->next)
        print_item(&p, item);
    print_comments(&p, UINT32_MAX);
}
