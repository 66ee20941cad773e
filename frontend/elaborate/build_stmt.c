// Statements of a body, in order.
#include "build_state.h"

#include <string.h>

enum { MAX_TURNS = 100000, MAX_STATEMENTS = 1000000, MAX_NODES = 4000000 };

ModeName mode_named(const char *text)
{
    if (strcmp(text, "train") == 0)
        return MODE_TRAIN;
    if (strcmp(text, "eval") == 0)
        return MODE_EVAL;
    return strcmp(text, "generate") == 0 ? MODE_GENERATE : MODE_NONE;
}

// `only train`: in training. `only eval`: also when generating, which falls back to it.
bool mode_active(const Build *b, ModeName mode)
{
    return mode == b->mode || (mode == MODE_EVAL && b->mode == MODE_GENERATE);
}

static Val eval_rhs(Build *b, const Rhs *rhs)
{
    if (rhs->route)
        return value_of_route(b, rhs->route);
    return rhs->expr ? value_of(b, rhs->expr) : val_error();
}

static void set_hint(Build *b, Val v, const char *name)
{
    if (v.kind != VAL_TENSOR || strchr(name, '\''))
        return;
    Node *n = &b->g->node[v.id];
    if (!n->hint && n->op != OP_ARG && n->op != OP_PARAM && n->op != OP_STATE && n->op != OP_CONST)
        n->hint = name;
}

static bool same_axes(Build *b, Val x, Val y)
{
    AxisList ax, ay;
    axes_of(b, x, &ax);
    axes_of(b, y, &ay);
    if (ax.n != ay.n)
        return false;
    for (size_t i = 0; i < ax.n; i++)
        if (!axes_has(&ay, ax.id[i]))
            return false;
    return true;
}

// The symbol that an assignment in the current scope updates: of this body, or of one around it in the same layer.
static Symbol *assigned_symbol(Build *b, const char *name, bool *out_carried)
{
    *out_carried = false;
    for (Scope *s = b->scope; s; s = s->parent) {
        Symbol *sym = scope_here(s, name);
        if (sym)
            return sym;
        if (s->route || (b->frame && s == b->frame->scope))
            return NULL;                    // the body of a route and other layers keep their names
        *out_carried = *out_carried || s->is_repeat;
    }
    return NULL;
}

static void assign(Build *b, const Name *name, Val v, Span at)
{
    bool carried;
    Symbol *old = assigned_symbol(b, name->text, &carried);
    set_hint(b, v, name->text);
    if (old && (old->kind != SYM_VALUE || old->is_index)) {
        if (report(b, name->at, "E0117", "`%s` is %s: it cannot be assigned", name->text,
                   old->is_index ? "the index of a repeat"
                   : old->kind == SYM_AXIS || old->kind == SYM_LAZY_AXIS ? "an axis" : "a layer"))
            diag_label(b->diag, old->at, "declared here");
        return;
    }
    if (!old || old->is_param) {            // a local value may take the name of a parameter that was read before
        scope_add(b, b->scope, SYM_VALUE, name->text, name->at)->val = v;
        return;
    }
    if (carried && old->val.kind == VAL_TENSOR && v.kind == VAL_TENSOR && !same_axes(b, old->val, v) && !old->val.free) {
        if (report(b, name->at, "E0402", "`%s` is carried round the repeat and must keep its axes", name->text)) {
            diag_label(b->diag, at, "%s here", axes_text(b, v));
            diag_label(b->diag, old->at, "%s before", axes_text(b, old->val));
        }
        v = val_error();
    }
    old->val = v;
    old->at = name->at;
}

static void do_assign(Build *b, const Stmt *s)
{
    Val v = eval_rhs(b, &s->rhs);
    size_t n = 0;
    for (const Name *name = s->names; name; name = name->next)
        n++;
    Span at = s->rhs.at.file ? s->rhs.at : s->at;
    if (n == 1) {
        if (v.kind == VAL_SEVERAL) {
            report(b, at, "E0236", "there are %zu results and one name for them", v.n_items);
            v = val_error();
        }
        if (v.kind == VAL_TEXT) {
            report(b, at, "E0210", "a value is wanted here, and this is text");
            v = val_error();
        }
        assign(b, s->names, v, at);
        return;
    }
    if (v.kind != VAL_ERROR && (v.kind != VAL_SEVERAL || v.n_items != n)) {
        report(b, at, "E0236", "there are %zu names for %zu result%s", n, v.kind == VAL_SEVERAL ? v.n_items : 1,
               v.kind == VAL_SEVERAL ? "s" : "");
        v = val_error();
    }
    size_t i = 0;
    for (const Name *name = s->names; name; name = name->next, i++)
        assign(b, name, v.kind == VAL_SEVERAL ? v.item[i] : val_error(), at);
}

static void do_yield(Build *b, const Stmt *s)
{
    Val v = eval_rhs(b, &s->rhs);
    Frame *f = b->frame;
    Span at = s->rhs.at.file ? s->rhs.at : s->at;
    set_hint(b, v, "y");
    if (f->route_yield) {
        *f->route_yield = v;
        f->route_has_yield = true;
        return;
    }
    if (f->n_results == 1) {
        f->result[0] = v;
        f->has_result[0] = true;
        f->result_at[0] = at;
        return;
    }
    if (v.kind == VAL_SEVERAL && v.n_items == f->n_results) {
        for (size_t i = 0; i < f->n_results; i++) {
            f->result[i] = v.item[i];
            f->has_result[i] = true;
            f->result_at[i] = at;
        }
    } else if (v.kind != VAL_ERROR) {
        if (report(b, s->at, "E0237", "`yield` gives one value, and `%s` has %zu results", f->layer->decl->name->text,
                   f->n_results))
            diag_help(b->diag, "assign each result by its name");
    }
}

// A penalty counts in training only.
static void record(Build *b, OutputRole role, const char *name, const char *key, ValueId id)
{
    if (role == OUTPUT_TERM && b->mode != MODE_TRAIN)
        return;
    b->term = arena_grow(b->arena, b->term, b->n_terms, &b->term_capacity, sizeof *b->term);
    b->term[b->n_terms++] = (Term){.role = role, .key = key, .id = id,
                                   .name = arena_printf(b->arena, "%s.%s", b->frame->space->path, name)};
}

void add_term(Build *b, const char *name, const char *key, ValueId id)
{
    record(b, OUTPUT_TERM, name, key, id);
}

static void do_term(Build *b, const Stmt *s)
{
    Val v = value_of(b, s->value);
    if (v.kind == VAL_NUMBER)
        v = to_float(b, v);
    if (v.kind == VAL_ERROR)
        return;
    AxisList axes;
    axes_of(b, v, &axes);
    bool is_penalty = s->kind == STMT_PENALTY;
    if (v.kind != VAL_TENSOR || (is_penalty && axes.n)) {
        if (report(b, s->value->at, "E0234", "a penalty is one number, without axes")) {
            label_axes(b, s->value->at, v);
            diag_help(b->diag, "take the mean or the sum over the axes that are left");
        }
        return;
    }
    const char *key = arena_printf(b->arena, "%s:%u:%u", b->frame->space->path, s->at.file, s->at.begin);
    record(b, is_penalty ? OUTPUT_TERM : OUTPUT_WATCH, s->names->text, key, to_float(b, v).id);
}

static void do_instances(Build *b, const Stmt *s)
{
    for (const Bind *bind = s->binds; bind; bind = bind->next) {
        LayerUse use;
        const Expr *e = bind->value;
        if (!layer_find(b, e, &use) || !use.layer || use.path) {
            if (report(b, e->at, "E0225", "a layer is wanted here: `layer att = Attention[T=P]`"))
                diag_label(b->diag, e->at, "no layer");
            Symbol *sym = scope_add(b, b->scope, SYM_VALUE, bind->name->text, bind->name->at);
            sym->val = val_error();
            continue;
        }
        Symbol *sym = scope_add(b, b->scope, SYM_INSTANCE, bind->name->text, bind->name->at);
        sym->instance = arena_new(b->arena, LayerUse);
        *sym->instance = use;
        sym->instance->path = site_path(b, bind, bind->name->text, NULL);
        sym->instance->owner = b->frame;
    }
}

static void do_repeat(Build *b, const Stmt *s)
{
    Number n;
    int64_t count;
    if (!value_of_number(b, s->value, &n))
        return;
    if (!number_whole(n, &count) || count < 0 || count > MAX_TURNS) {
        report(b, s->value->at, "E0238", "a repeat runs a whole number of times, up to %d, not %s", MAX_TURNS,
               number_text(b->arena, n));
        return;
    }
    Scope *outer = b->scope;
    Space *space = b->frame->space;
    for (int64_t i = 0; i < count && !b->is_stopped; i++) {
        Space *turn = arena_new(b->arena, Space);
        const char *part = arena_printf(b->arena, "%s%lld", s->names->text, (long long)i);
        *turn = (Space){.parent = space, .repeat = s->names->text, .part = part,
                        .path = arena_printf(b->arena, "%s.%s", space->path, part)};
        b->frame->space = turn;
        b->scope = scope_make(b, outer);
        b->scope->is_repeat = true;
        Symbol *index = scope_add(b, b->scope, SYM_VALUE, s->names->text, s->names->at);
        index->val = val_number(number_of(i));
        index->is_index = true;
        run_body(b, s->body);
    }
    b->frame->space = space;
    b->scope = outer;
}

static void refuse_params(Build *b, const Stmt *body)
{
    for (const Stmt *s = body; s; s = s->next) {
        if (s->kind == STMT_PARAM || s->kind == STMT_STATE)
            if (report(b, s->at, "E0404", "parameters cannot be declared inside `only`"))
                diag_help(b->diag, "declare them before it: every mode has the same parameters");
        refuse_params(b, s->body);
        refuse_params(b, s->other);
    }
}

static void do_only(Build *b, const Stmt *s)
{
    bool active;
    refuse_params(b, s->body);
    refuse_params(b, s->other);
    if (s->mode != MODE_NONE) {
        active = mode_active(b, s->mode);
    } else {
        Number n;
        // `eval` is a name to the grammar
        if (s->value->kind == EXPR_NAME && mode_named(s->value->text) != MODE_NONE)
            active = mode_active(b, mode_named(s->value->text));
        else if (value_of_number(b, s->value, &n))
            active = number_true(n);
        else
            return;
    }
    run_body(b, active ? s->body : s->other);
}

static void do_consts(Build *b, const Stmt *s)
{
    for (const Bind *bind = s->binds; bind; bind = bind->next) {
        Number n;
        bool ok = value_of_number(b, bind->value, &n);
        scope_add(b, b->scope, SYM_VALUE, bind->name->text, bind->name->at)->val = ok ? val_number(n) : val_error();
    }
}

static void run_stmt(Build *b, const Stmt *s)
{
    switch (s->kind) {
    case STMT_ERROR:
        return;
    case STMT_AXIS:
        for (const AxisDecl *d = s->axes; d; d = d->next)
            axis_declare(b, d);
        return;
    case STMT_PARAM:
    case STMT_STATE:    declare_params(b, s); return;
    case STMT_NEXT:     assign_next(b, s); return;
    case STMT_CONST:    do_consts(b, s); return;
    case STMT_ASSIGN:   do_assign(b, s); return;
    case STMT_YIELD:    do_yield(b, s); return;
    case STMT_PENALTY:
    case STMT_WATCH:    do_term(b, s); return;
    case STMT_INSTANCE: do_instances(b, s); return;
    case STMT_REPEAT:   do_repeat(b, s); return;
    case STMT_ONLY:     do_only(b, s); return;
    }
}

// A few nested repeats or layers that use each other twice ask for more than any machine holds.
static bool is_too_long(Build *b, const Stmt *s)
{
    if (b->n_turns++ < MAX_STATEMENTS && b->g->n_nodes < MAX_NODES)
        return false;
    b->n_turns = MAX_STATEMENTS;
    if (!b->is_stopped)
        report(b, s->at, "E0233", "the model is too long: %d statements or %d operations, all layers and repeats written out",
               MAX_STATEMENTS, MAX_NODES);
    b->is_stopped = true;
    return true;
}

void run_body(Build *b, const Stmt *body)
{
    for (const Stmt *s = body; s && !b->is_stopped && !is_too_long(b, s); s = s->next)
        run_stmt(b, s);
}
