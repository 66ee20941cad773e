// Parameters and states: found by path, so that shared layers share them; how they are read; random streams.
#include "build_functions.h"

#include <math.h>
#include <string.h>

// ---- random numbers ----

// A stream is a hash of its name; names that meet by chance move on, in the order of the build.
int64_t stream_of(Build *b, const char *key)
{
    uint64_t h = hash_text(key);
    uint32_t stream = (uint32_t)(h ^ (h >> 32)) & 0x7fffffff;
    for (;; stream = (stream + 1) & 0x7fffffff) {
        const char *name = arena_printf(b->arena, "%u", stream);
        const char *owner = map_get(&b->streams, name);
        if (owner && strcmp(owner, key) != 0)
            continue;
        if (!owner)
            map_set(b->arena, &b->streams, name, (void *)(uintptr_t)key);
        return stream;
    }
}

static ValueId scalar_arg(Build *b, ValueId *slot, const char *name)
{
    if (!*slot)
        *slot = graph_leaf(b->g, OP_ARG, name, type_make(DTYPE_I32, NULL, 0));
    return *slot;
}

ValueId seed_value(Build *b)
{
    return scalar_arg(b, &b->seed, "seed");
}

ValueId step_value(Build *b)
{
    return scalar_arg(b, &b->step, "step");
}

ValueId random_uniform(Build *b, ValueId step, const char *key, const Type *type)
{
    return graph_random(b->g, seed_value(b), step, stream_of(b, key), *type);
}

// ---- declarations ----

static bool read_lower(Build *b, const Expr *e, const Type *type, ParamInfo *p)
{
    AxisList axes = {0};
    if (e->kind != EXPR_CALL || e->a->kind != EXPR_NAME || strcmp(e->a->text, "lower") != 0) {
        if (report(b, e->at, "E0235", "the one shape there is: `shape = lower(T, T')`"))
            diag_help(b->diag, "it keeps entries with T' after T at zero");
        return false;
    }
    for (const Arg *a = e->args; a; a = a->next)
        if (!a->value || !axes_read(b, a->value, &axes))
            return false;
    if (axes.n != 2 || axis_size(b, axes.id[0]) != axis_size(b, axes.id[1])) {
        report(b, e->at, "E0235", "`lower` takes two axes of one size: row and column");
        return false;
    }
    p->lower_row = axis_stored(b, axes.id[0]);
    p->lower_col = axis_stored(b, axes.id[1]);
    if (type_has(type, p->lower_row) && type_has(type, p->lower_col))
        return true;
    report(b, e->at, "E0203", "the parameter does not hold both axes of `lower`");
    return false;
}

static void read_options(Build *b, const ParamDecl *d, ParamInfo *p)
{
    Number n;
    for (const KeyValue *kv = d->with; kv; kv = kv->next) {
        const char *key = kv->name->text;
        double *slot = strcmp(key, "lr") == 0 ? &p->lr : strcmp(key, "decay") == 0 ? &p->decay
                     : strcmp(key, "trust") == 0 ? &p->trust : NULL;
        if (slot) {
            if (value_of_number(b, kv->value, &n))
                *slot = n.value;
        } else if (strcmp(key, "shape") == 0) {
            read_lower(b, kv->value, &p->type, p);
        } else if (report(b, kv->at, "E0235", "parameters have no option `%s`", key)) {
            diag_help(b->diag, "there are lr, decay, trust and shape");
        }
    }
}

// c where the column is not after the row, else 0. Gradients vanish there with the values.
static ValueId lower_part(Build *b, ValueId x, AxisId row, AxisId col)
{
    ValueId keep = graph_binary(b->g, OP_LE, graph_index(b->g, col), graph_index(b->g, row));
    return keep_where(b, keep, x, 0);
}

// The parameter as the layer sees it: first entries of ranged axes, nothing above the diagonal.
static ValueId read_param(Build *b, ParamInfo *p, const AxisList *axes)
{
    ValueId x = p->leaf;
    AxisId row = p->lower_row, col = p->lower_col;
    for (size_t i = 0; i < axes->n; i++) {
        AxisId stored = p->type.axis[i];
        if (stored == axes->id[i])
            continue;
        x = graph_slice(b->g, x, stored, 0, axes->id[i]);
        row = row == stored ? axes->id[i] : row;
        col = col == stored ? axes->id[i] : col;
    }
    return row ? lower_part(b, x, row, col) : x;
}

static ValueId first_value(Build *b, ParamInfo *p, const ParamDecl *d, const AxisList *axes)
{
    for (size_t i = 0; i < axes->n; i++)
        if (p->type.axis[i] != axes->id[i])
            return 0;                       // at another size than stored: the build at the upper bounds gives it
    if (!d->init && p->role == PARAM_STATE) // states begin at 0, parameters at normal(0.02)
        return spread(b, graph_const(b->g, p->type.dtype, 0), p->type.axis, p->type.n_axes);
    ValueId v = init_value(b, d->init, p->path, &p->type);
    return v && p->lower_row ? lower_part(b, v, p->lower_row, p->lower_col) : v;
}

static ParamInfo *make_param(Build *b, const Stmt *stmt, const ParamDecl *d, const char *path, const AxisList *axes)
{
    ParamInfo *p = arena_new(b->arena, ParamInfo);
    AxisList stored = {0};
    for (size_t i = 0; i < axes->n; i++)
        stored.id[stored.n++] = axis_stored(b, axes->id[i]);
    bool is_int = d->type.dtype && strcmp(d->type.dtype->text, "int") == 0;
    *p = (ParamInfo){.path = path, .decl = d, .role = stmt->kind == STMT_STATE ? PARAM_STATE : PARAM_TRAINED,
                     .lr = NAN, .decay = NAN, .trust = NAN};
    p->type = type_make(is_int ? DTYPE_I32 : DTYPE_F32, stored.id, stored.n);
    if (is_int && p->role == PARAM_TRAINED)
        if (report(b, d->at, "E0204", "a parameter is trained and must be float"))
            diag_help(b->diag, "whole numbers are kept in a `state`");
    int64_t n;
    if (!type_count(b->g, &p->type, &n) || n > INT64_MAX / 64) {
        report(b, d->name->at, "E0112", "`%s` would have more numbers than can be counted", d->name->text);
        return NULL;
    }
    read_options(b, d, p);
    b->g->at = d->name->at;
    p->leaf = graph_leaf(b->g, p->role == PARAM_STATE ? OP_STATE : OP_PARAM, path, p->type);
    p->read = read_param(b, p, axes);
    p->init = first_value(b, p, d, axes);
    map_set(b->arena, &b->param_by_path, path, p);
    b->param = arena_grow(b->arena, b->param, b->n_params, &b->param_capacity, sizeof(ParamInfo *));
    b->param[b->n_params++] = p;
    return p;
}

static void declare_one(Build *b, const Stmt *stmt, const ParamDecl *d)
{
    AxisList own, axes = b->frame->per_expert;
    bool ok = axes_names(b, d->type.dims, &own);
    for (size_t i = 0; i < own.n; i++)
        axes_add(&axes, own.id[i]);
    Symbol *old = scope_here(b->scope, d->name->text);
    if (old && old->kind == SYM_VALUE && old->is_param) {
        if (report(b, d->name->at, "E0104", "`%s` is declared twice", d->name->text))
            diag_label(b->diag, old->at, "first here");
        return;
    }
    Symbol *sym = scope_add(b, b->scope, SYM_VALUE, d->name->text, d->name->at);
    sym->is_param = true;
    sym->val = val_error();
    if (!ok)
        return;
    const char *path = site_path(b, d, d->name->text, NULL);
    ParamInfo *p = map_get(&b->param_by_path, path);
    if (!p)
        p = make_param(b, stmt, d, path, &axes);
    if (!p)
        return;
    bool same = p->type.n_axes == axes.n;
    for (size_t i = 0; same && i < axes.n; i++)
        same = p->type.axis[i] == axis_stored(b, axes.id[i]);
    if (!same) {
        if (report(b, d->name->at, "E0116", "`%s` is shared, and its uses give it different axes", path))
            diag_note(b->diag, "%s in one use, and other axes before", list_text(b, &axes));
        return;
    }
    sym->param = p;
    sym->val = val_tensor(p->read, false);
    if (b->frame->per_expert.n)
        sym->val = route_read(b, sym->val);
}

void declare_params(Build *b, const Stmt *stmt)
{
    for (const ParamDecl *d = stmt->params; d; d = d->next)
        declare_one(b, stmt, d);
}

// A state over a ranged axis is kept at the upper bound, and a step has values for fewer.
static void explain_bound(Build *b, const ParamInfo *p, const AxisList *have, const char *state)
{
    for (size_t i = 0; i < have->n; i++) {
        const AxisId kept = axis_stored(b, have->id[i]);
        if (kept == have->id[i] || !type_has(&p->type, kept))
            continue;
        const char *axis = b->g->axis[have->id[i]].name;
        diag_note(b->diag, "`%s` is kept for all of the range of `%s`, %lld, and the value has %lld", state, axis,
                  (long long)axis_size(b, kept), (long long)axis_size(b, have->id[i]));
        diag_help(b->diag, "give `%s` one size, for example `%s = %lld`", axis, axis, (long long)axis_size(b, kept));
        return;
    }
}

// next NAME = e: after a training step the state is e. The last use of a shared layer gives the value.
void assign_next(Build *b, const Stmt *s)
{
    const Name *name = s->names;
    Symbol *sym = scope_find(b->scope, name->text, NULL);
    Val v = value_of(b, s->value);
    if (!sym || !sym->is_param) {
        report(b, name->at, "E0405", "`next` wants a state, and `%s` is none", name->text);
        return;
    }
    ParamInfo *p = sym->param;
    if (!p || p->role != PARAM_STATE) {
        if (sym->val.kind != VAL_ERROR)
            report(b, name->at, "E0405", "`next` wants a state; `%s` is a parameter, which the optimiser updates", name->text);
        return;
    }
    if (v.kind == VAL_NUMBER)
        v = to_dtype(b, v, p->type.dtype);
    if (v.kind != VAL_TENSOR || b->mode != MODE_TRAIN)
        return;
    AxisList have;
    axes_of(b, v, &have);
    bool fits = true;
    for (size_t i = 0; i < have.n; i++)
        fits = fits && type_has(&p->type, have.id[i]);
    if (!fits || (have.n < p->type.n_axes && !v.free)) {
        if (report(b, s->value->at, "E0209", "the next value of `%s` must have its axes", name->text)) {
            label_axes(b, s->value->at, v);
            explain_bound(b, p, &have, name->text);
        }
        return;
    }
    v = to_dtype(b, v, p->type.dtype);
    p->next = spread(b, v.id, p->type.axis, p->type.n_axes);
    p->next_at = s->at;
}
