// Paths of instances and parameters. A first walk over a layer's body numbers its call sites in the order of the text, so
// that the second LN is LN.2 in every mode; the path is then the instance, the turns of the repeats, and that name.
#include "build_state.h"

#include <string.h>

typedef struct Scan { Build *b; Layer *layer; Map counts; } Scan;

static void scan_site(Scan *s, const char *space, const void *site, const char *name)
{
    const char *key = arena_printf(s->b->arena, "%s:%s", space, name);
    uintptr_t n = (uintptr_t)map_get(&s->counts, key) + 1;
    map_set(s->b->arena, &s->counts, key, (void *)n);
    map_set_ptr(s->b->arena, &s->layer->ordinal, site, (void *)n);
}

// Removes one name from "r.g": the space of a call that is tied over it.
static const char *space_without(Build *b, const char *space, const char *name)
{
    Text t = text_make(b->arena);
    for (const char *p = space; *p;) {
        size_t n = strcspn(p, ".");
        if (n != strlen(name) || strncmp(p, name, n) != 0) {
            text_add_n(&t, p, n);
            text_char(&t, '.');
        }
        p += n + (p[n] == '.');
    }
    return text_str(&t);
}

static const char *callee_name(const Expr *callee)
{
    if (callee->kind == EXPR_SELECT)
        callee = callee->a;
    return callee->kind == EXPR_NAME ? callee->text : NULL;
}

static void scan_expr(Scan *s, const char *space, const Expr *e)
{
    if (!e)
        return;
    if (e->kind == EXPR_NAME)
        map_set(s->b->arena, &s->layer->mentioned, e->text, s);
    if (e->kind == EXPR_CALL) {
        const char *name = callee_name(e->a);
        if (name)
            scan_site(s, e->tied_over ? space_without(s->b, space, e->tied_over->text) : space, e, name);
    }
    scan_expr(s, space, e->a);
    for (const Arg *a = e->args; a; a = a->next) {
        scan_expr(s, space, a->value);
        scan_expr(s, space, a->to);
    }
    for (const Sel *sel = e->sels; sel; sel = sel->next) {
        scan_expr(s, space, sel->value);
        scan_expr(s, space, sel->end);
    }
    scan_expr(s, space, e->b);
}

static void scan_body(Scan *s, const char *space, const Stmt *body);

static void scan_stmt(Scan *s, const char *space, const Stmt *st)
{
    for (const ParamDecl *p = st->params; p; p = p->next) {
        scan_site(s, space, p, p->name->text);
        scan_expr(s, space, p->init);
    }
    for (const Bind *bind = st->kind == STMT_INSTANCE ? st->binds : NULL; bind; bind = bind->next)
        scan_site(s, space, bind, bind->name->text);
    scan_expr(s, space, st->rhs.expr);
    scan_expr(s, space, st->value);
    const Route *r = st->rhs.route;
    if (r) {
        scan_expr(s, space, r->payload);
        scan_expr(s, space, r->by);
        for (const Clause *c = r->clauses; c; c = c->next) {
            scan_expr(s, space, c->value);
            for (const ClauseTerm *t = c->terms; t; t = t->next)
                scan_expr(s, space, t->value);
        }
        scan_body(s, space, r->body);
    }
    if (st->kind == STMT_REPEAT) {
        scan_body(s, arena_printf(s->b->arena, "%s%s.", space, st->names->text), st->body);
    } else {
        scan_body(s, space, st->body);
        scan_body(s, space, st->other);
    }
}

static void scan_body(Scan *s, const char *space, const Stmt *body)
{
    for (const Stmt *st = body; st; st = st->next)
        scan_stmt(s, space, st);
}

void layer_scan(Build *b, Layer *layer)
{
    if (layer->is_scanned)
        return;
    layer->is_scanned = true;
    Scan s = {.b = b, .layer = layer};
    scan_body(&s, "", layer->decl->body);
}

static const char *path_without(Build *b, const Space *space, const Name *tied_over)
{
    if (!tied_over || !space)
        return space ? space->path : "";
    if (space->repeat && strcmp(space->repeat, tied_over->text) == 0)
        return space->parent->path;
    if (!space->parent)
        return space->path;
    return arena_printf(b->arena, "%s.%s", path_without(b, space->parent, tied_over), space->part);
}

const char *site_path(Build *b, const void *site, const char *name, const Name *tied_over)
{
    uintptr_t n = b->frame ? (uintptr_t)map_get_ptr(&b->frame->layer->ordinal, site) : 1;
    const char *base = path_without(b, b->frame ? b->frame->space : NULL, tied_over);
    if (n > 1)
        return arena_printf(b->arena, "%s.%s.%u", base, name, (unsigned)n);
    return arena_printf(b->arena, "%s.%s", base, name);
}
