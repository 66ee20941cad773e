// Scopes and axes. An AxisId of the build's graph is the identity of an axis; AxisInfo keeps what the user calls it.
// Twins are made where they are named: D' in a layer is the first twin of D that no value which came in already holds.
#include "build_state.h"

#include <math.h>
#include <string.h>

Scope *scope_make(Build *b, Scope *parent)
{
    Scope *s = arena_new(b->arena, Scope);
    s->parent = parent;
    return s;
}

Symbol *scope_here(const Scope *scope, const char *name)
{
    return map_get(&scope->map, name);
}

Symbol *scope_add(Build *b, Scope *scope, SymbolKind kind, const char *name, Span at)
{
    Symbol *s = scope_here(scope, name);
    if (!s) {
        s = arena_new(b->arena, Symbol);
        map_set(b->arena, &scope->map, name, s);
    }
    *s = (Symbol){.kind = kind, .name = name, .at = at};
    return s;
}

Symbol *scope_find(const Scope *scope, const char *name, bool *out_outside)
{
    bool outside = false;
    Symbol *sym = NULL;
    for (const Scope *s = scope; s && !sym; s = s->parent) {
        sym = scope_here(s, name);
        outside |= !sym && s->route;
    }
    if (out_outside)
        *out_outside = outside;
    return sym;
}

bool axes_has(const AxisList *list, AxisId axis)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->id[i] == axis)
            return true;
    return false;
}

void axes_add(AxisList *list, AxisId axis)
{
    if (axis && list->n < MAX_AXES && !axes_has(list, axis))
        list->id[list->n++] = axis;
}

const AxisList *axes_of(Build *b, Val v, AxisList *out)
{
    out->n = 0;
    if (v.kind == VAL_TENSOR && v.id) {
        const Type *t = &b->g->node[v.id].type;
        for (size_t i = 0; i < t->n_axes; i++)
            if (!route_hides(b, t->axis[i]))
                out->id[out->n++] = t->axis[i];
    }
    return out;
}

void frame_hold(Frame *f, AxisId axis)
{
    for (size_t i = 0; i < f->n_held; i++)
        if (f->held[i] == axis)
            return;
    if (f->n_held < sizeof f->held / sizeof *f->held)
        f->held[f->n_held++] = axis;
}

static bool is_held(const Frame *f, AxisId axis)
{
    for (size_t i = 0; f && i < f->n_held; i++)
        if (f->held[i] == axis)
            return true;
    return false;
}

int64_t axis_size(Build *b, AxisId axis)
{
    return b->g->axis[axis].size;
}

const char *axis_name(Build *b, AxisId axis)
{
    return axis < b->axis_capacity && b->axis[axis].name ? b->axis[axis].name : b->g->axis[axis].name;
}

static AxisInfo *info_of(Build *b, AxisId id)
{
    if (id >= b->axis_capacity) {
        size_t wider = b->axis_capacity ? 2 * b->axis_capacity : 64;
        while (wider <= id)
            wider *= 2;
        AxisInfo *copy = arena_array(b->arena, AxisInfo, wider);
        if (b->axis_capacity)
            memcpy(copy, b->axis, b->axis_capacity * sizeof *copy);
        b->axis = copy;
        b->axis_capacity = wider;
    }
    return &b->axis[id];
}

// The graph's axis of that name and size which is free to use: NAME, else NAME.2, NAME.3, ..
AxisId axis_beside(Build *b, const char *name, AxisKind kind, int64_t size, Span at, const AxisList *avoid)
{
    for (unsigned n = 1;; n++) {
        const char *graph_name = n == 1 ? name : arena_printf(b->arena, "%s.%u", name, n);
        AxisId id = graph_axis(b->g, graph_name, kind, size, 0);
        if (!id)
            return 0;
        AxisInfo *info = info_of(b, id);
        bool is_taken = avoid ? axes_has(avoid, id) : is_held(b->frame, id);
        if (info->name && (is_taken || info->primes || info->ranged))
            continue;
        if (!info->name)
            *info = (AxisInfo){.name = name, .at = at, .root = id};
        return id;
    }
}

AxisId axis_make(Build *b, const char *name, AxisKind kind, int64_t size, Span at)
{
    return axis_beside(b, name, kind, size, at, NULL);
}

// An axis that a body declares is one axis in all turns of a repeat.
static AxisId axis_local(Build *b, const AxisDecl *d, AxisKind kind, int64_t size)
{
    const char *key = arena_printf(b->arena, "%u:%u:%lld", d->name->at.file, d->name->at.begin, (long long)size);
    AxisId id = (AxisId)(uintptr_t)map_get(&b->frame->own_axes, key);
    if (!id)
        id = axis_make(b, d->name->text, kind, size, d->name->at);
    map_set(b->arena, &b->frame->own_axes, key, (void *)(uintptr_t)id);
    return id;
}

AxisId axis_twin(Build *b, AxisId base, unsigned primes, bool of_formal)
{
    AxisId root = info_of(b, base)->root;
    for (unsigned level = info_of(b, base)->primes + primes;; level++) {
        const char *key = arena_printf(b->arena, "%u#%u", root, level);
        AxisId id = (AxisId)(uintptr_t)map_get(&b->twin, key);
        if (!id) {
            Text t = text_make(b->arena);
            text_add(&t, info_of(b, root)->name);
            for (unsigned i = 0; i < level; i++)
                text_char(&t, '\'');
            const char *name = text_str(&t);
            const Axis axis = b->g->axis[root];
            for (unsigned n = 1; !id; n++) {
                const char *graph_name = n == 1 ? name : arena_printf(b->arena, "%s.%u", name, n);
                AxisId made = graph_axis(b->g, graph_name, axis.kind, axis.size, root);
                if (!made)
                    return 0;
                if (!info_of(b, made)->name)
                    id = made;
            }
            *info_of(b, id) = (AxisInfo){.name = name, .at = info_of(b, root)->at, .root = root, .primes = level};
            map_set(b->arena, &b->twin, key, (void *)(uintptr_t)id);
        }
        if (of_formal || !is_held(b->frame, id))
            return id;
    }
}

AxisId axis_stored(Build *b, AxisId axis)
{
    const AxisInfo *info = info_of(b, axis), *root = info_of(b, info->root);
    if (!root->ranged || root->high == axis_size(b, axis))
        return axis;
    AxisId id = graph_axis(b->g, info->name, b->g->axis[axis].kind, root->high, 0);
    AxisInfo *stored = info_of(b, id);
    if (!stored->name)
        *stored = (AxisInfo){.name = info->name, .at = info->at, .root = id, .primes = info->primes};
    return id;
}

// Where twins and local axes are kept: the layer's own scope, so that all its bodies share them.
static Scope *axis_home(Build *b)
{
    return b->frame ? b->frame->scope : b->file_scope;
}

static AxisId find_axis(Build *b, const char *name, bool of_formal)
{
    Symbol *sym = scope_find(b->scope, name, NULL);
    if (sym && sym->kind == SYM_AXIS)
        return sym->axis;
    if (sym && sym->kind == SYM_LAZY_AXIS)
        return axis_force(b, sym);
    size_t n = strlen(name), primes = 0;
    while (n > 1 && name[n - 1] == '\'') {
        n--;
        primes++;
    }
    if (!primes)
        return 0;
    AxisId base = find_axis(b, arena_strndup(b->arena, name, n), of_formal);
    if (!base)
        return 0;
    AxisId id = axis_twin(b, base, (unsigned)primes, of_formal);
    if (id && b->frame) {
        scope_add(b, axis_home(b), SYM_AXIS, name, info_of(b, base)->at)->axis = id;
        frame_hold(b->frame, id);
    }
    return id;
}

AxisId axis_quiet(Build *b, const char *name)
{
    return find_axis(b, name, false);
}

static bool is_axis(const Symbol *s)
{
    return s->kind == SYM_AXIS || s->kind == SYM_LAZY_AXIS;
}

AxisId axis_find(Build *b, const char *name, Span at, bool of_formal)
{
    AxisId id = find_axis(b, name, of_formal);
    if (id)
        return id;
    Symbol *sym = scope_find(b->scope, name, NULL);
    if (sym && is_axis(sym))
        return 0;                           // its own error was reported
    if (!report(b, at, "E0102", "no axis is called `%s`", name))
        return 0;
    if (sym) {
        diag_label(b->diag, at, "not an axis");
        diag_note(b->diag, "`%s` is a %s (line %u)", name,
                  sym->kind == SYM_LAYER || sym->kind == SYM_INSTANCE ? "layer" : "value", line_of(b, sym->at));
        return 0;
    }
    diag_label(b->diag, at, "not declared");
    const char *near = near_name(b, name, is_axis);
    AxisId other = near ? find_axis(b, near, false) : 0;
    if (other)
        diag_help(b->diag, "`%s` (size %lld, line %u) is close", near, (long long)axis_size(b, other),
                  line_of(b, info_of(b, other)->at));
    else
        diag_help(b->diag, "declare it: `axis %s = 64`", name);
    return 0;
}

bool axes_read(Build *b, const Expr *e, AxisList *out)
{
    if (e->kind == EXPR_BINARY && e->op == BINARY_MUL)
        return axes_read(b, e->a, out) && axes_read(b, e->b, out);
    if (e->kind == EXPR_TUPLE) {
        for (const Arg *a = e->args; a; a = a->next)
            if (!a->value || !axes_read(b, a->value, out))
                return false;
        return true;
    }
    if (e->kind != EXPR_NAME) {
        report(b, e->at, "E0107", "axes are wanted here: one name, or names with `*` between them");
        return false;
    }
    AxisId id = axis_find(b, e->text, e->at, false);
    if (!id)
        return false;
    if (axes_has(out, id)) {
        report(b, e->at, "E0103", "axis `%s` is named twice", e->text);
        return false;
    }
    axes_add(out, id);
    return true;
}

bool axes_names(Build *b, const Name *names, AxisList *out)
{
    bool ok = true;
    out->n = 0;
    for (const Name *n = names; n; n = n->next) {
        if (strcmp(n->text, "..") == 0) {
            for (size_t i = 0; b->frame && i < b->frame->rest.n; i++)
                axes_add(out, b->frame->rest.id[i]);
            continue;
        }
        AxisId id = axis_find(b, n->text, n->at, false);
        if (!id) {
            ok = false;
        } else if (axes_has(out, id)) {
            if (report(b, n->at, "E0103", "axis `%s` is held twice", n->text)) {
                diag_label(b->diag, n->at, "a second time");
                diag_help(b->diag, "a twin has the same size and another name: `%s'`", n->text);
            }
            ok = false;
        } else if (out->n == MAX_AXES) {
            report(b, n->at, "E0108", "a value has at most %d axes", MAX_AXES);
            ok = false;
        } else {
            axes_add(out, id);
        }
    }
    return ok;
}

// Reports a size that is no size. `label` is what it was computed from. There may be no examples and no positions.
static bool whole_size(Build *b, const char *name, AxisKind kind, const Expr *from, Span at, Number n, int64_t *out)
{
    const int64_t least = kind == AXIS_BATCH || kind == AXIS_TIME ? 0 : 1;
    if (number_whole(n, out) && *out >= least)
        return true;
    if (!isfinite(n.value) || fabs(n.value) > 9e15) {
        report(b, at, "E0112", "the size of axis `%s` does not fit", name);
        return false;
    }
    if (!report(b, at, "E0110", "axis `%s` would have size %s", name, number_text(b->arena, n)))
        return false;
    Number num, den;
    if (n.exact && n.den == 1) {
        diag_label(b->diag, at, "a size is at least %lld", (long long)least);
        return false;
    }
    bool quotient = from && from->kind == EXPR_BINARY && from->op == BINARY_DIV && value_of_number(b, from->a, &num) &&
                    value_of_number(b, from->b, &den);
    int64_t whole, by;
    if (!quotient || !number_whole(num, &whole) || !number_whole(den, &by)) {
        diag_label(b->diag, at, "not whole");
        return false;
    }
    diag_label(b->diag, at, "%s/%s is not whole", number_text(b->arena, num), number_text(b->arena, den));
    enum { FAR = 100000 };                  // a size so far away is no help, and looking for it takes its time
    int64_t from_size = by < whole ? by : whole, below = from_size, above = from_size;
    while (whole % below && from_size - below < FAR)
        below--;
    while (whole % above && above - from_size < FAR)
        above++;
    if (below == above)
        diag_help(b->diag, "a size of %s that divides %lld: %lld", source_text(b, from->b->at), (long long)whole, (long long)below);
    else if (whole % below == 0 && whole % above == 0)
        diag_help(b->diag, "sizes of %s near %lld that divide %lld: %lld, %lld", source_text(b, from->b->at),
                  (long long)by, (long long)whole, (long long)below, (long long)above);
    return false;
}

static bool kind_of(Build *b, const Name *kind, AxisKind *out)
{
    *out = AXIS_FEATURE;
    if (!kind)
        return true;
    for (int k = 0; k < AXIS_KIND_COUNT; k++)
        if (strcmp(kind->text, axis_kind_text[k]) == 0) {
            *out = (AxisKind)k;
            return true;
        }
    if (report(b, kind->at, "E0105", "`%s` is no kind of axis", kind->text))
        diag_help(b->diag, "the kinds are batch, time, expert and feature (when none is written)");
    return false;
}

// The value that a size section or the command line gives to a name of the file; NULL: none. Without `--size` the first
// section only fills what the file itself leaves open.
static const Expr *override_of(Build *b, const char *name, bool is_open, bool *out_bound)
{
    *out_bound = false;
    const Binding *bind = binding_find(b, name);
    if (bind) {
        *out_bound = true;
        return binding_expr(b, bind->value);
    }
    for (const KeyValue *kv = b->size && (is_open || b->options->size) ? b->size->props : NULL; kv; kv = kv->next)
        if (strcmp(kv->name->text, name) == 0)
            return kv->value;
    return NULL;
}

static AxisId make_ranged(Build *b, const AxisDecl *d, AxisKind kind, const Expr *override, bool bound)
{
    Number low, high, at;
    int64_t lo, hi, size;
    if (!value_of_number(b, d->low, &low) || !value_of_number(b, d->high, &high))
        return 0;
    if (override && !bound && !value_of_number(b, override, &high))
        return 0;
    if (!whole_size(b, d->name->text, kind, d->low, d->low->at, low, &lo) ||
        !whole_size(b, d->name->text, kind, d->high, d->high->at, high, &hi))
        return 0;
    if (override && !bound && lo > hi)
        lo = hi;
    if (lo > hi) {
        if (report(b, d->low->at, "E0111", "the range of `%s` is empty: %lld..%lld", d->name->text, (long long)lo,
                   (long long)hi))
            diag_label(b->diag, d->high->at, "%lld", (long long)hi);
        return 0;
    }
    size = b->at_low ? lo : hi;
    if (override && bound && !b->at_high) {
        if (!value_of_number(b, override, &at) || !whole_size(b, d->name->text, kind, NULL, d->name->at, at, &size))
            return 0;
        if (size < lo || size > hi) {
            if (report(b, d->name->at, "E0113", "`%s = %lld` lies outside its range %lld..%lld", d->name->text,
                       (long long)size, (long long)lo, (long long)hi)) {
                if (size > hi && d->high->kind == EXPR_NAME)            // in 1..N, N a constant or an axis
                    diag_help(b->diag, "`%s=%lld` widens the range; or give another size", d->high->text, (long long)size);
                else
                    diag_help(b->diag, "widen the range here, or give another size");
            }
            return 0;
        }
    }
    AxisId id = axis_make(b, d->name->text, kind, size, d->name->at);
    if (id) {
        AxisInfo *info = info_of(b, id);
        info->ranged = true;
        info->low = lo;
        info->high = hi;
    }
    return id;
}

// The axes whose names stand in a size.
static void note_parts(Build *b, const Expr *e, AxisList *out)
{
    if (!e)
        return;
    const AxisId id = e->kind == EXPR_NAME ? find_axis(b, e->text, false) : 0;
    if (id && out->n < MAX_AXES)
        axes_add(out, id);
    if (e->kind == EXPR_BINARY || e->kind == EXPR_NEGATE)
        note_parts(b, e->a, out);
    if (e->kind == EXPR_BINARY)
        note_parts(b, e->b, out);
}

// At file level a binding or a size section may replace the written size.
static AxisId make_axis(Build *b, const AxisDecl *d, bool at_file)
{
    AxisKind kind;
    Number n;
    int64_t size;
    bool bound = false, is_open = !d->size && !d->low && !d->twin;
    const Expr *override = at_file ? override_of(b, d->name->text, is_open, &bound) : NULL;
    if (!kind_of(b, d->kind, &kind))
        return 0;
    if (d->twin) {
        AxisId base = axis_find(b, d->twin->text, d->twin->at, false);
        if (!base)
            return 0;
        AxisKind of = b->g->axis[base].kind;
        AxisId id = at_file ? axis_make(b, d->name->text, of, axis_size(b, base), d->name->at)
                            : axis_local(b, d, of, axis_size(b, base));
        if (id)
            b->g->axis[id].twin_of = base;
        return id;
    }
    if (d->low && !at_file) {
        if (report(b, d->name->at, "E0111", "the range of `%s` must stand at the top of the file", d->name->text))
            diag_note(b->diag, "what is bound at run time is the same for all layers");
        return 0;
    }
    if (d->low)
        return make_ranged(b, d, kind, override, bound);
    const Expr *e = override ? override : d->size;
    if (!e) {
        if (report(b, d->name->at, "E0106", "axis `%s` has no size", d->name->text))
            diag_help(b->diag, "write `axis %s = 64`, or a range: `axis %s in 1..64`", d->name->text, d->name->text);
        return 0;
    }
    if (!value_of_number(b, e, &n) || !whole_size(b, d->name->text, kind, e, override ? d->name->at : e->at, n, &size))
        return 0;
    AxisId id = at_file ? axis_make(b, d->name->text, kind, size, d->name->at) : axis_local(b, d, kind, size);
    if (id)
        note_parts(b, d->size, &info_of(b, id)->made_of);
    return id;
}

AxisId axis_force(Build *b, Symbol *lazy)
{
    if (lazy->evaluating) {
        report(b, lazy->at, "E0114", "the size of `%s` depends on itself", lazy->name);
        return 0;
    }
    if (lazy->kind == SYM_AXIS)
        return lazy->axis;
    Scope *scope = b->scope;
    Frame *frame = b->frame;
    b->scope = b->file_scope;
    b->frame = NULL;
    lazy->evaluating = true;
    AxisId id = make_axis(b, lazy->axis_decl, true);
    lazy->evaluating = false;
    lazy->kind = SYM_AXIS;
    lazy->axis = id;
    b->scope = scope;
    b->frame = frame;
    return id;
}

void axis_declare(Build *b, const AxisDecl *d)
{
    Scope *home = axis_home(b);
    Symbol *old = scope_here(home, d->name->text);
    if (old && old->kind == SYM_AXIS && old->axis && axis_home(b) == b->scope) {
        if (report(b, d->name->at, "E0104", "`%s` is declared twice", d->name->text))
            diag_label(b->diag, old->at, "first here");
        return;
    }
    AxisId id = make_axis(b, d, false);
    scope_add(b, b->scope, SYM_AXIS, d->name->text, d->name->at)->axis = id;
    if (id && b->frame)
        frame_hold(b->frame, id);
}
