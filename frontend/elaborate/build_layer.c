// Uses of layers: statics, inputs, results, the paths of instances. One Frame is one use; a shared instance is used
// several times under one path, so that its parameters are found again by name.
#include "build_state.h"

#include <string.h>

enum { MAX_INPUTS = 32 };

// ---- finding what is called ----

bool layer_find(Build *b, const Expr *callee, LayerUse *out)
{
    *out = (LayerUse){0};
    const Expr *name = callee->kind == EXPR_SELECT ? callee->a : callee;
    if (name->kind != EXPR_NAME)
        return false;
    Symbol *sym = scope_find(b->scope, name->text, NULL);
    if (!sym || (sym->kind != SYM_LAYER && sym->kind != SYM_INSTANCE))
        return false;
    if (sym->kind == SYM_LAYER) {
        *out = (LayerUse){.layer = sym->layer, .statics = callee->kind == EXPR_SELECT ? callee->sels : NULL,
                          .statics_scope = b->scope};
        return true;
    }
    if (callee->kind == EXPR_SELECT) {
        if (report(b, callee->at, "E0231", "`%s` is one instance: its axes were given where it was declared", name->text))
            diag_label(b->diag, sym->at, "here");
        return true;                        // with no layer: an error
    }
    *out = *sym->instance;
    return true;
}

// ---- statics ----

static const Sel *static_given(Build *b, const LayerUse *use, const Static *s, size_t position)
{
    size_t i = 0;
    for (const Sel *sel = use->statics; sel; sel = sel->next) {
        if (sel->axis ? strcmp(sel->axis->text, s->name->text) == 0 : i == position)
            return sel;
        i += sel->axis == NULL;
    }
    (void)b;
    return NULL;
}

static void check_statics(Build *b, const LayerUse *use)
{
    const LayerDecl *d = use->layer->decl;
    size_t n = 0, position = 0;
    for (const Static *s = d->statics; s; s = s->next)
        n++;
    for (const Sel *sel = use->statics; sel; sel = sel->next) {
        bool known = false;
        if (!sel->axis)
            known = position++ < n;
        for (const Static *s = d->statics; sel->axis && s; s = s->next)
            known = known || strcmp(s->name->text, sel->axis->text) == 0;
        if (!known && report(b, sel->at, "E0232", "layer `%s` has no static `%s`", d->name->text,
                             sel->axis ? sel->axis->text : source_text(b, sel->at))) {
            Text t = text_make(b->arena);
            for (const Static *s = d->statics; s; s = s->next)
                text_printf(&t, "%s%s", s == d->statics ? "" : ", ", s->name->text);
            if (n)
                diag_help(b->diag, "it has %s", text_str(&t));
        }
    }
}

// Binds a static to what `e` names in the current scope: an axis if it is one, else a number.
static void bind_static(Build *b, Scope *into, const Static *s, const Expr *e)
{
    if (e->kind == EXPR_NAME) {
        Symbol *sym = scope_find(b->scope, e->text, NULL);
        bool is_axis = sym ? sym->kind == SYM_AXIS || sym->kind == SYM_LAZY_AXIS : strchr(e->text, '\'') != NULL;
        if (is_axis) {
            AxisId id = axis_find(b, e->text, e->at, false);
            scope_add(b, into, SYM_AXIS, s->name->text, s->name->at)->axis = id;
            return;
        }
    }
    Number n;
    Val v = value_of_number(b, e, &n) ? val_number(n) : val_error();
    scope_add(b, into, SYM_VALUE, s->name->text, s->name->at)->val = v;
}

static bool bind_from_caller(Build *b, Scope *into, const Static *s, Span at, const LayerDecl *d)
{
    Symbol *sym = scope_find(b->scope, s->name->text, NULL);
    if (sym && (sym->kind == SYM_AXIS || sym->kind == SYM_LAZY_AXIS)) {
        AxisId id = axis_quiet(b, s->name->text);
        scope_add(b, into, SYM_AXIS, s->name->text, s->name->at)->axis = id;
        return id != 0;
    }
    if (sym && sym->kind == SYM_LAZY_CONST) {
        bool ok;
        Number n = const_force(b, sym, &ok);
        scope_add(b, into, SYM_VALUE, s->name->text, s->name->at)->val = ok ? val_number(n) : val_error();
        return ok;
    }
    if (sym && sym->kind == SYM_VALUE && sym->val.kind == VAL_NUMBER) {
        scope_add(b, into, SYM_VALUE, s->name->text, s->name->at)->val = sym->val;
        return true;
    }
    const Binding *bind = binding_find(b, s->name->text);
    const Expr *e = bind ? binding_expr(b, bind->value) : NULL;
    Number n;
    int64_t size;
    if (e && value_of_number(b, e, &n) && number_whole(n, &size) && size >= 1) {
        AxisId id = axis_make(b, s->name->text, AXIS_FEATURE, size, s->name->at);
        scope_add(b, into, SYM_AXIS, s->name->text, s->name->at)->axis = id;
        return id != 0;
    }
    if (report(b, at, "E0109", "`%s` needs `%s`, and nothing of that name is in sight", d->name->text, s->name->text))
        diag_help(b->diag, "say which axis it is: `%s[%s = ..]`", d->name->text, s->name->text);
    scope_add(b, into, SYM_VALUE, s->name->text, s->name->at)->val = val_error();
    return false;
}

// Statics are read where the call stands; defaults in the layer's own scope.
static bool bind_statics(Build *b, Frame *f, const LayerUse *use, Span at)
{
    const LayerDecl *d = use->layer->decl;
    Scope *caller = b->scope;
    size_t position = 0;
    bool ok = true;
    check_statics(b, use);
    for (const Static *s = d->statics; s; s = s->next, position++) {
        if (s->is_layer) {
            report(b, s->at, "E0600", "layers as statics are not built yet");
            ok = false;
            continue;
        }
        const Sel *given = static_given(b, use, s, position);
        const Binding *bind = f->caller || given ? NULL : binding_find(b, s->name->text);
        if (given) {
            b->scope = use->statics_scope;
            bind_static(b, f->scope, s, given->value);
        } else if (bind && s->value) {
            b->scope = f->scope;
            const Expr *e = binding_expr(b, bind->value);
            bind_static(b, f->scope, s, e ? e : s->value);
        } else if (s->value) {
            b->scope = f->scope;
            bind_static(b, f->scope, s, s->value);
        } else {
            b->scope = use->statics_scope;
            ok = bind_from_caller(b, f->scope, s, at, d) && ok;
        }
        b->scope = caller;
        Symbol *sym = scope_here(f->scope, s->name->text);
        if (sym->kind == SYM_AXIS)
            frame_hold(f, sym->axis);
        if ((sym->kind == SYM_AXIS && !sym->axis) || (sym->kind == SYM_VALUE && sym->val.kind == VAL_ERROR))
            ok = false;
    }
    return ok;
}

// ---- inputs and results ----

static bool has_rest(const TypeExpr *t)
{
    for (const Name *n = t->dims; n; n = n->next)
        if (strcmp(n->text, "..") == 0)
            return true;
    return false;
}

// The axes that a type names, `..` left out. In the frame's scope.
static bool named_axes(Build *b, const TypeExpr *t, AxisList *out)
{
    bool ok = true;
    out->n = 0;
    for (const Name *n = t->dims; n; n = n->next) {
        if (strcmp(n->text, "..") == 0)
            continue;
        AxisId id = axis_find(b, n->text, n->at, true);
        if (id && axes_has(out, id) && report(b, n->at, "E0103", "axis `%s` is held twice", n->text))
            diag_help(b->diag, "a twin has the same size and another name: `%s'`", n->text);
        if (id && !axes_has(out, id) && out->n == MAX_AXES) {
            report(b, n->at, "E0108", "a value has at most %d axes", MAX_AXES);
            return false;
        }
        ok &= id && !axes_has(out, id);
        if (id && !axes_has(out, id))
            axes_add(out, id);
    }
    return ok;
}

static DType type_dtype(Build *b, const TypeExpr *t)
{
    if (t->dtype && strcmp(t->dtype->text, "int") != 0 && strcmp(t->dtype->text, "f32") != 0 &&
        strcmp(t->dtype->text, "float") != 0 && strcmp(t->dtype->text, "routing") != 0)
        if (report(b, t->dtype->at, "E0115", "`%s` is no element type", t->dtype->text))
            diag_help(b->diag, "write `int[..]`, or `[..]` for float");
    return t->dtype && strcmp(t->dtype->text, "int") == 0 ? DTYPE_I32 : DTYPE_F32;
}

static bool is_routing(const TypeExpr *t)
{
    return t->dtype && strcmp(t->dtype->text, "routing") == 0;
}

static Val wrong_input(Build *b, const Formal *formal, Span at, Val v, const AxisList *want, const char *why)
{
    if (report(b, at, "E0207", "`%s` of `%s` wants %s%s%s", formal->name ? formal->name->text : "the input",
               b->frame->layer->decl->name->text, type_dtype(b, &formal->type) == DTYPE_I32 ? "int" : "",
               list_text(b, want), why)) {
        label_axes(b, at, v);
        if (!b->frame->layer->is_library)
            diag_label(b->diag, formal->type.at, "declared here");
    }
    return val_error();
}

static Val take_input(Build *b, const Formal *formal, Val v, Span at)
{
    AxisList want, have;
    Frame *f = b->frame;
    if (v.kind == VAL_ERROR)
        return v;
    if (is_routing(&formal->type)) {
        if (v.kind == VAL_ROUTING)
            return v;
        if (report(b, at, "E0208", "`%s` wants a routing", formal->name->text))
            label_axes(b, at, v);
        return val_error();
    }
    if (!named_axes(b, &formal->type, &want))
        return val_error();
    DType dtype = type_dtype(b, &formal->type);
    bool was_number = v.kind == VAL_NUMBER;
    if (was_number)
        v = to_dtype(b, v, dtype);
    if (v.kind != VAL_TENSOR) {
        if (report(b, at, "E0208", "`%s` wants a value with axes, and this is %s", formal->name->text, axes_text(b, v)))
            label_axes(b, at, v);
        return val_error();
    }
    if (dtype == DTYPE_I32 && val_dtype(b, v) != DTYPE_I32)
        return wrong_input(b, formal, at, v, &want, ": whole numbers");
    if (dtype == DTYPE_F32)
        v = to_float(b, v);
    axes_of(b, v, &have);
    bool rest = has_rest(&formal->type), fits = true;
    for (size_t i = 0; i < want.n; i++)
        fits = fits && (axes_has(&have, want.id[i]) || v.free);
    for (size_t i = 0; i < have.n; i++) {
        if (axes_has(&want, have.id[i]))
            continue;
        fits = fits && rest;
        if (rest)
            axes_add(&f->rest, have.id[i]);
    }
    f->has_rest = f->has_rest || rest;
    if (!fits)
        return wrong_input(b, formal, at, v, &want, rest ? " and any others" : "");
    for (size_t i = 0; i < have.n; i++)
        frame_hold(f, have.id[i]);
    if (v.free && have.n < want.n) {
        for (size_t i = 0; i < want.n; i++)
            axes_add(&have, want.id[i]);
        v = val_tensor(spread(b, v.id, have.id, have.n), true);
    }
    return v;
}

static void start_results(Build *b, Frame *f)
{
    for (const Formal *r = f->layer->decl->results; r; r = r->next)
        f->n_results++;
    f->result = arena_array(b->arena, Val, f->n_results ? f->n_results : 1);
    f->has_result = arena_array(b->arena, bool, f->n_results ? f->n_results : 1);
    f->result_at = arena_array(b->arena, Span, f->n_results ? f->n_results : 1);
}

// A result must have exactly the axes that its type names; a free value is spread over them.
static Val give_result(Build *b, const Formal *r, Val v, Span at)
{
    AxisList want, have;
    Frame *f = b->frame;
    if (v.kind == VAL_NUMBER)
        v = to_float(b, v);
    if (v.kind == VAL_ERROR || v.kind == VAL_ROUTING || is_routing(&r->type))
        return v;
    if (v.kind != VAL_TENSOR || !named_axes(b, &r->type, &want)) {
        if (v.kind != VAL_TENSOR)
            report(b, at, "E0208", "a result with axes is wanted, and this is %s", axes_text(b, v));
        return val_error();
    }
    if (has_rest(&r->type)) {
        AxisList all = f->rest;
        for (size_t i = 0; i < want.n; i++)
            axes_add(&all, want.id[i]);
        want = all;
    }
    axes_of(b, v, &have);
    bool fits = true;
    for (size_t i = 0; i < have.n; i++)
        fits = fits && axes_has(&want, have.id[i]);
    if (fits && have.n < want.n && v.free) {
        AxisList all = have;
        for (size_t i = 0; i < want.n; i++)
            axes_add(&all, want.id[i]);
        return val_tensor(spread(b, v.id, all.id, all.n), true);
    }
    if (fits && have.n == want.n)
        return v;
    if (report(b, at, "E0209", "%s%s%s of `%s` should hold %s, and holds %s", r->name ? "`" : "the result",
               r->name ? r->name->text : "", r->name ? "`" : "", f->layer->decl->name->text, list_text(b, &want),
               list_text(b, &have))) {
        label_axes(b, at, v);
        diag_label(b->diag, r->type.at, "declared here");
    }
    return val_error();
}

static void collect_results(Build *b, Frame *f)
{
    const LayerDecl *d = f->layer->decl;
    size_t i = 0;
    for (const Formal *r = d->results; r; r = r->next, i++) {
        if (f->has_result[i]) {             // by yield
            f->result[i] = give_result(b, r, f->result[i], f->result_at[i]);
            continue;
        }
        Symbol *sym = r->name ? scope_here(f->scope, r->name->text) : NULL;
        if (sym && sym->kind == SYM_VALUE) {
            f->result[i] = give_result(b, r, sym->val, sym->at);
            continue;
        }
        f->result[i] = val_error();
        if (b->is_stopped || !report(b, r->at, "E0502", "%s%s%s of `%s` is never assigned", r->name ? "`" : "the result",
                    r->name ? r->name->text : "", r->name ? "`" : "", d->name->text))
            continue;
        if (r->name)
            diag_help(b->diag, "add `%s = ..`", r->name->text);
        else
            diag_help(b->diag, "end the body with `yield ..`");
    }
}

static void record_claims(Build *b, Frame *f, const Val *in, size_t n_in)
{
    Graph *g = b->g;
    for (const Causal *c = f->layer->decl->causal; c && c->over; c = c->next) {
        Number after = number_of(0);
        AxisId axis = axis_find(b, c->over->text, c->over->at, false);
        if (!axis || (c->after && !value_of_number(b, c->after, &after)))
            continue;
        bool leak = c->leak && mode_named(c->leak->text) == b->mode;
        Claim claim = {.layer = f->path, .at = c->at, .axis = axis, .after = (int64_t)after.value,
                       .leak_allowed = leak};
        claim.in = arena_array(b->arena, ValueId, n_in ? n_in : 1);
        claim.out = arena_array(b->arena, ValueId, f->n_results ? f->n_results : 1);
        for (size_t i = 0; i < n_in; i++)
            if (in[i].kind == VAL_TENSOR)
                claim.in[claim.n_in++] = in[i].id;
        for (size_t i = 0; i < f->n_results; i++)
            if (f->result[i].kind == VAL_TENSOR)
                claim.out[claim.n_out++] = f->result[i].id;
        g->claim = arena_grow(b->arena, g->claim, g->n_claims, &g->claim_capacity, sizeof *g->claim);
        g->claim[g->n_claims++] = claim;
    }
}

static void note_recompute(Build *b, const char *path)
{
    Module *m = b->module;
    for (size_t i = m->n_recompute; i-- > 0;)
        if (strcmp(m->recompute[i], path) == 0)
            return;
    m->recompute = arena_grow(b->arena, m->recompute, m->n_recompute, &m->recompute_capacity, sizeof *m->recompute);
    m->recompute[m->n_recompute++] = path;
}

static Frame *enter(Build *b, Layer *layer, const char *path)
{
    Frame *f = arena_new(b->arena, Frame);
    Space *space = arena_new(b->arena, Space);
    *space = (Space){.path = path, .part = path};
    *f = (Frame){.caller = b->frame, .layer = layer, .path = path, .space = space,
                 .scope = scope_make(b, layer->scope)};
    if (b->frame)
        f->per_expert = b->frame->per_expert;
    layer_scan(b, layer);
    layer->is_called = true;
    start_results(b, f);
    return f;
}

// Runs the body of a frame whose statics and inputs are bound. The caller's frame and scope are current again after.
static void run_frame(Build *b, Frame *f, const Val *in, size_t n_in)
{
    Frame *frame = b->frame;
    Scope *scope = b->scope;
    const char *layer = b->g->layer;
    b->frame = f;
    b->scope = f->scope;
    b->g->layer = f->path;
    run_body(b, f->layer->decl->body);
    collect_results(b, f);
    record_claims(b, f, in, n_in);
    b->frame = frame;
    b->scope = scope;
    b->g->layer = layer;
}

static const Arg *input_arg(const Expr *e, const Formal *formal, size_t position)
{
    const Arg *a = formal->name ? call_named(e, formal->name->text) : NULL;
    return a ? a : call_arg(e, position);
}

static bool check_inputs(Build *b, const Expr *e, const LayerDecl *d)
{
    size_t n_formal = 0, n_args = 0;
    for (const Formal *f = d->inputs; f; f = f->next)
        n_formal++;
    for (const Arg *a = e->args; a; a = a->next) {
        bool known = a->name == NULL;
        for (const Formal *f = d->inputs; f && !known; f = f->next)
            known = f->name && strcmp(f->name->text, a->name->text) == 0;
        if (!known || a->to || !a->value) {
            if (report(b, a->at, "E0222", "`%s` has no input `%s`", d->name->text, a->name ? a->name->text : ".."))
                for (const Static *s = a->name ? d->statics : NULL; s; s = s->next)
                    if (strcmp(s->name->text, a->name->text) == 0)
                        diag_help(b->diag, "what is fixed before stands in brackets: `%s[%s = ..](..)`", d->name->text, s->name->text);
            return false;
        }
        n_args++;
    }
    if (n_args == n_formal)
        return true;
    if (report(b, e->at, "E0223", "`%s` takes %zu input%s, and %zu %s given", d->name->text, n_formal,
               n_formal == 1 ? "" : "s", n_args, n_args == 1 ? "is" : "are")) {
        Text t = text_make(b->arena);
        for (const Formal *f = d->inputs; f; f = f->next)
            text_printf(&t, "%s%s", f == d->inputs ? "" : ", ", f->name ? f->name->text : "_");
        diag_help(b->diag, "they are (%s)", text_str(&t));
    }
    return false;
}

static Val results_of(Build *b, Frame *f)
{
    if (f->n_results == 1)
        return f->result[0];
    (void)b;
    return (Val){.kind = VAL_SEVERAL, .item = f->result, .n_items = f->n_results};
}

static bool calls_itself(Build *b, const Expr *e, const LayerDecl *d)
{
    for (const Frame *f = b->frame; f; f = f->caller) {
        if (f->layer->decl != d)
            continue;
        if (report(b, e->at, "E0233", "`%s` calls itself: building it would never end", d->name->text))
            diag_help(b->diag, "use `repeat` for a network that goes round");
        return true;
    }
    return false;
}

Val layer_call(Build *b, const Expr *e, const LayerUse *use)
{
    const LayerDecl *d = use->layer->decl;
    Val arg[MAX_INPUTS] = {{0}}, in[MAX_INPUTS] = {{0}};
    size_t n = 0;
    bool ok = check_inputs(b, e, d);
    for (const Formal *f = d->inputs; ok && f && n < MAX_INPUTS; f = f->next, n++) {
        const Arg *a = input_arg(e, f, n);
        arg[n] = a ? value_of(b, a->value) : val_error();
        if (arg[n].kind == VAL_FIELD)
            arg[n] = arg[n].field->id ? val_tensor(arg[n].field->id, false) : val_error();
    }
    if (!ok)
        return val_error();
    if (calls_itself(b, e, d))
        return val_error();
    const char *path = use->path ? use->path : site_path(b, e, d->name->text, e->tied_over);
    if (e->tied_over) {
        const Space *s = b->frame ? b->frame->space : NULL;
        while (s && !(s->repeat && strcmp(s->repeat, e->tied_over->text) == 0))
            s = s->parent;
        if (!s && report(b, e->tied_over->at, "E0401", "`tied over %s`: no repeat around this call counts `%s`",
                         e->tied_over->text, e->tied_over->text))
            diag_help(b->diag, "name the index of a `repeat` that the call stands in");
    }
    if (e->recompute || d->recompute)
        note_recompute(b, path);
    Frame *f = enter(b, use->layer, path);
    ok = bind_statics(b, f, use, e->at);
    Frame *frame = b->frame;
    Scope *scope = b->scope;
    b->frame = f;
    b->scope = f->scope;
    n = 0;
    for (const Formal *formal = d->inputs; ok && formal && n < MAX_INPUTS; formal = formal->next, n++) {
        const Arg *a = input_arg(e, formal, n);
        b->g->at = a->at;
        in[n] = take_input(b, formal, arg[n], a->value->at);
        Symbol *sym = scope_add(b, f->scope, SYM_VALUE, formal->name->text, formal->name->at);
        sym->val = in[n];
        ok = ok && in[n].kind != VAL_ERROR;
    }
    b->frame = frame;
    b->scope = scope;
    if (ok)
        run_frame(b, f, in, n);
    return ok ? results_of(b, f) : val_error();
}

// ---- the entry: inputs become ARGs ----

static Val entry_input(Build *b, Frame *f, const Formal *formal)
{
    AxisList want, all = {0};
    if (name_is_taken(b, formal->name->text, formal->name->at))
        return val_error();
    if (!named_axes(b, &formal->type, &want))
        return val_error();
    if (is_routing(&formal->type)) {
        report(b, formal->at, "E0600", "an entry with a routing as input is not built yet");
        return val_error();
    }
    if (has_rest(&formal->type)) {          // the file's batch axis B, if there is one
        Symbol *sym = scope_find(b->file_scope, "B", NULL);
        AxisId batch = sym && (sym->kind == SYM_AXIS || sym->kind == SYM_LAZY_AXIS) ? axis_force(b, sym) : 0;
        if (batch && b->g->axis[batch].kind == AXIS_BATCH && !axes_has(&want, batch))
            axes_add(&f->rest, batch);
        f->has_rest = true;
        all = f->rest;
    }
    for (size_t i = 0; i < want.n; i++)
        axes_add(&all, want.id[i]);
    for (size_t i = 0; i < all.n; i++)
        frame_hold(f, all.id[i]);
    const Type type = type_make(type_dtype(b, &formal->type), all.id, all.n);
    int64_t n;
    if (!type_count(b->g, &type, &n) || n > INT64_MAX / 64) {
        report(b, formal->name->at, "E0112", "`%s` would have more numbers than can be counted", formal->name->text);
        return val_error();
    }
    b->g->at = formal->at;
    return val_tensor(graph_leaf(b->g, OP_ARG, formal->name->text, type), false);
}

bool layer_entry(Build *b, Layer *layer, Val *out_results)
{
    LayerUse use = {.layer = layer, .statics_scope = b->file_scope};
    Val in[MAX_INPUTS] = {{0}};
    size_t n = 0;
    Frame *f = enter(b, layer, layer->decl->name->text);
    b->entry_frame = f;
    b->loss_scope = scope_make(b, b->file_scope);
    bool ok = bind_statics(b, f, &use, layer->decl->name->at);
    b->frame = f;
    b->scope = f->scope;
    b->g->layer = f->path;
    for (const Formal *formal = layer->decl->inputs; ok && formal && n < MAX_INPUTS; formal = formal->next, n++) {
        in[n] = entry_input(b, f, formal);
        scope_add(b, f->scope, SYM_VALUE, formal->name->text, formal->name->at)->val = in[n];
        scope_add(b, b->loss_scope, SYM_VALUE, formal->name->text, formal->name->at)->val = in[n];
        ok = ok && in[n].kind != VAL_ERROR;
    }
    b->frame = NULL;
    b->scope = b->file_scope;
    if (layer->decl->recompute)
        note_recompute(b, f->path);
    if (ok)
        run_frame(b, f, in, n);
    for (size_t i = 0; i < f->n_results; i++)
        out_results[i] = ok ? f->result[i] : val_error();
    return ok;
}
