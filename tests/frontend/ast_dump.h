// A syntax tree as one line of nested parentheses, without places: two trees are equal when their dumps are.
// Written apart from the printer, so that a mistake there does not hide itself.
#ifndef MIXC_AST_DUMP_H
#define MIXC_AST_DUMP_H

#include "ast.h"

static inline void dump_expr(Text *out, const Expr *e);

static inline void dump_names(Text *out, const char *what, const Name *n)
{
    if (!n)
        return;
    text_printf(out, " (%s", what);
    for (; n; n = n->next)
        text_printf(out, " %s", n->text);
    text_add(out, ")");
}

static inline void dump_child(Text *out, const char *what, const Expr *e)
{
    if (!e)
        return;
    text_printf(out, " (%s ", what);
    dump_expr(out, e);
    text_add(out, ")");
}

static inline void dump_expr(Text *out, const Expr *e)
{
    text_printf(out, "(e%d%s", (int)e->kind, e->parens ? "p" : "");
    switch (e->kind) {
    case EXPR_NUMBER:
        text_printf(out, " %.17g", e->number);
        break;
    case EXPR_STRING: case EXPR_NAME: case EXPR_FIELD:
        text_add(out, " ");
        text_json(out, e->text);
        break;
    case EXPR_BINARY:
        text_printf(out, " op%d", (int)e->op);
        break;
    case EXPR_ERROR: case EXPR_NEGATE: case EXPR_CONTRACT: case EXPR_SELECT: case EXPR_CALL: case EXPR_TUPLE:
        break;
    }
    dump_child(out, "a", e->a);
    dump_child(out, "b", e->b);
    dump_names(out, "axes", e->axes);
    for (const Sel *s = e->sels; s; s = s->next) {
        text_add(out, " (sel");
        dump_names(out, "axis", s->axis);
        dump_child(out, "value", s->value);
        dump_child(out, "end", s->end);
        dump_names(out, "to", s->to);
        text_add(out, ")");
    }
    for (const Arg *a = e->args; a; a = a->next) {
        text_printf(out, " (arg%s", a->rest ? " .." : "");
        dump_names(out, "name", a->name);
        dump_child(out, "value", a->value);
        dump_child(out, "to", a->to);
        text_add(out, ")");
    }
    dump_names(out, "tied", e->tied_over);
    text_add(out, e->recompute ? " recompute)" : ")");
}

static inline void dump_type(Text *out, const TypeExpr *t)
{
    text_printf(out, " (type%s", t->present ? "" : " none");
    dump_names(out, "dtype", t->dtype);
    dump_names(out, "dims", t->dims);
    text_add(out, ")");
}

static inline void dump_axes(Text *out, const AxisDecl *a)
{
    for (; a; a = a->next) {
        text_printf(out, " (axis %s", a->name->text);
        dump_names(out, "kind", a->kind);
        dump_names(out, "twin", a->twin);
        dump_child(out, "size", a->size);
        dump_child(out, "low", a->low);
        dump_child(out, "high", a->high);
        text_add(out, ")");
    }
}

static inline void dump_binds(Text *out, const Bind *b)
{
    for (; b; b = b->next)
        dump_child(out, b->name->text, b->value);
}

static inline void dump_key_values(Text *out, const KeyValue *kv)
{
    for (; kv; kv = kv->next) {
        dump_child(out, kv->name->text, kv->value);
        dump_names(out, "mode", kv->mode);
    }
}

static inline void dump_stmts(Text *out, const char *what, const Stmt *s);

static inline void dump_route(Text *out, const Route *r)
{
    text_add(out, " (route");
    dump_child(out, "payload", r->payload);
    dump_child(out, "by", r->by);
    dump_names(out, "experts", r->experts);
    for (const Clause *c = r->clauses; c; c = c->next) {
        text_printf(out, " (clause%d", (int)c->kind);
        dump_child(out, "value", c->value);
        dump_names(out, "name", c->name);
        dump_names(out, "mode", c->mode);
        for (const ClauseTerm *t = c->terms; t; t = t->next) {
            text_printf(out, " (term%s%s", t->pooled ? " pooled" : "", t->dropless ? " dropless" : "");
            dump_child(out, "value", t->value);
            dump_child(out, "over", t->over);
            dump_names(out, "mode", t->mode);
            text_add(out, ")");
        }
        text_add(out, ")");
    }
    dump_names(out, "each", r->each);
    dump_names(out, "gate", r->gate);
    dump_names(out, "over", r->over);
    if (r->has_body)
        dump_stmts(out, "body", r->body);
    text_add(out, ")");
}

static inline void dump_stmts(Text *out, const char *what, const Stmt *s)
{
    text_printf(out, " (%s", what);
    for (; s; s = s->next) {
        text_printf(out, " (s%d mode%d", (int)s->kind, s->kind == STMT_ONLY ? (int)s->mode : -1);
        dump_axes(out, s->axes);
        for (const ParamDecl *p = s->params; p; p = p->next) {
            text_printf(out, " (param %s", p->name->text);
            dump_type(out, &p->type);
            dump_child(out, "init", p->init);
            dump_key_values(out, p->with);
            text_add(out, ")");
        }
        dump_binds(out, s->binds);
        dump_names(out, "names", s->names);
        dump_child(out, "rhs", s->rhs.expr);
        if (s->rhs.route)
            dump_route(out, s->rhs.route);
        dump_child(out, "value", s->value);
        if (s->kind == STMT_REPEAT || s->kind == STMT_ONLY)
            dump_stmts(out, "body", s->body);
        if (s->has_other)
            dump_stmts(out, "other", s->other);
        text_add(out, ")");
    }
    text_add(out, ")");
}

static inline void dump_formals(Text *out, const char *what, const Formal *f)
{
    text_printf(out, " (%s", what);
    for (; f; f = f->next) {
        dump_names(out, "name", f->name);
        dump_type(out, &f->type);
    }
    text_add(out, ")");
}

static inline void dump_layer(Text *out, const LayerDecl *l)
{
    text_printf(out, " (%s %s%s", l->is_model ? "model" : "layer", l->name->text, l->recompute ? " recompute" : "");
    for (const Static *s = l->statics; s; s = s->next) {
        text_printf(out, " (static %s%s", s->name->text, s->is_layer ? " layer" : "");
        dump_child(out, "default", s->value);
        text_add(out, ")");
    }
    dump_formals(out, "in", l->inputs);
    dump_formals(out, "out", l->results);
    for (const Causal *c = l->causal; c; c = c->next) {
        dump_names(out, "causal", c->over);
        dump_child(out, "after", c->after);
        dump_names(out, "leak", c->leak);
    }
    dump_stmts(out, "body", l->body);
    text_add(out, ")");
}

static inline void dump_ast(Text *out, const Ast *ast)
{
    for (const Item *i = ast->items; i; i = i->next) {
        text_printf(out, "(item%d", (int)i->kind);
        dump_names(out, "path", i->path);
        dump_axes(out, i->axes);
        dump_binds(out, i->consts);
        if (i->layer)
            dump_layer(out, i->layer);
        if (i->section) {
            text_printf(out, " (section%d %s", (int)i->section->kind, i->section->name->text);
            dump_names(out, "on", i->section->on);
            dump_key_values(out, i->section->props);
            text_add(out, ")");
        }
        text_add(out, ")\n");
    }
}

#endif
