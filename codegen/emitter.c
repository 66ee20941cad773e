// See emitter.h. Here: names, parameters, scopes, environments and the combination of values. What is computed for
// each op is in value.c, the view rules in view.c, loads and stores in memory.c.
#include "emitter.h"

#include "emit_parts.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

static const char *const keyword[] = {
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern",
    "float", "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed",
    "sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while", "asm",
    "typeof", "bool", "true", "false", "class", "this", "new", "delete", "template", "operator", "private", "public",
    "try", "catch", "throw", "namespace", "using", "virtual", "friend", "and", "or", "not", "xor", "main",
    "begin", "end", "scratch", "p", "q", "vf", "vi", "vu", "vh", "vd", "vl", "IOTA", "LANES", "unix", "linux", "shared", "dynamic",
};

Emitter *emitter_make(Arena *arena, const Graph *g, const Target *target, Dialect dialect, uint32_t kernel)
{
    Emitter *E = arena_new(arena, Emitter);
    E->arena = arena;
    E->g = g;
    E->target = target;
    E->dialect = dialect;
    E->vl = dialect == DIALECT_C ? target->vector_floats : 1;
    E->ix = ix_table(arena);
    E->kernel = kernel;
    E->top = arena_new(arena, Scope);
    E->top->emitter = E;
    E->top->text = text_make(arena);
    E->top->indent = 1;
    E->top->lanes = 1;
    return E;
}

// --- names

static bool is_taken(const Emitter *E, const char *name)
{
    for (size_t i = 0; i < sizeof keyword / sizeof *keyword; i++)
        if (!strcmp(keyword[i], name))
            return true;
    for (size_t i = 0; i < E->names.n; i++)
        if (!strcmp(E->names.name[i], name))
            return true;
    return false;
}

const char *emit_name(Emitter *E, const char *hint)
{
    Text base = text_make(E->arena);
    const char *last_dot = hint ? strrchr(hint, '.') : NULL;
    for (const char *s = last_dot && last_dot[1] ? last_dot + 1 : hint; s && *s; s++) {
        if (isalpha((unsigned char)*s) || *s == '_' || (isdigit((unsigned char)*s) && base.n))
            text_char(&base, *s);
        else if (*s == '\'')
            text_add(&base, "_1");
        else if (*s == '.' && base.n)
            text_char(&base, '_');
    }
    if (!base.n)
        text_add(&base, "v");
    const char *name = text_str(&base);
    // Names like a helper's, or like a variable inside one, could meet it.
    size_t n = strlen(name);
    if (name[n - 1] == '_' || (n > 2 && name[n - 2] == '_' && (name[n - 1] == 'v' || name[n - 1] == 's')))
        name = arena_printf(E->arena, "%s0", name);
    const char *wanted = name;
    for (int i = 2; is_taken(E, name); i++)
        name = arena_printf(E->arena, "%s_%d", wanted, i);
    E->names.name = arena_grow(E->arena, E->names.name, E->names.n, &E->names.capacity, sizeof *E->names.name);
    E->names.name[E->names.n++] = name;
    return name;
}

static const char *add_param(Emitter *E, ValueId v, uint32_t workspace, const char *hint, DType dtype, bool is_written)
{
    E->param = arena_grow(E->arena, E->param, E->n_params, &E->param_capacity, sizeof *E->param);
    E->param[E->n_params] = (EmitParam){v, workspace, emit_name(E, hint), dtype, is_written};
    return E->param[E->n_params++].name;
}

const char *emit_param(Emitter *E, ValueId v, bool is_written)
{
    for (size_t i = 0; i < E->n_placed; i++)
        if (E->placed[i].value == v)
            return E->placed[i].name;
    for (size_t i = 0; i < E->n_params; i++)
        if (E->param[i].value == v && !E->param[i].workspace) {
            E->param[i].is_written |= is_written;
            return E->param[i].name;
        }
    const Node *n = &E->g->node[v];
    bool is_leaf = n->op == OP_ARG || n->op == OP_PARAM || n->op == OP_STATE;
    const char *hint = n->hint ? n->hint : is_leaf ? n->attr[0].name : op_row[n->op].text;
    return add_param(E, v, 0, hint, n->type.dtype, is_written);
}

const char *emit_workspace(Emitter *E, uint32_t workspace, const char *hint, DType dtype, bool is_written)
{
    for (size_t i = 0; i < E->n_params; i++)
        if (E->param[i].workspace == workspace) {
            E->param[i].is_written |= is_written;
            return E->param[i].name;
        }
    return add_param(E, 0, workspace, hint, dtype, is_written);
}

const char *emit_key(Emitter *E, ValueId v)
{
    for (size_t i = 0; i < E->n_params; i++)
        if (E->param[i].value == v && E->param[i].workspace == EMIT_KEY)
            return E->param[i].name;
    return add_param(E, v, EMIT_KEY, "keys", DTYPE_I32, false);
}

// --- scopes

static Scope *open_scope(Emitter *E, Scope *parent, const char *head, bool is_loop)
{
    Scope *s = arena_new(E->arena, Scope);
    s->emitter = E;
    s->parent = parent;
    s->text = text_make(E->arena);
    s->indent = parent->indent + 1;
    s->depth = parent->depth + 1;
    s->lanes = parent->lanes;
    s->lane = parent->lane;
    s->lane_bit = parent->lane_bit;
    s->head = head;
    s->is_loop = is_loop;
    assert(s->depth < 64 && "scopes nested too deeply");
    return s;
}

Scope *scope_block(Emitter *E, Scope *parent, const char *head)
{
    return open_scope(E, parent, head, false);
}

Ix scope_var(Emitter *E, Scope *s, const char *name, int64_t lo, int64_t hi, int64_t multiple)
{
    s->mask = (uint64_t)1 << s->depth;
    return ix_var(E->ix, name, lo, hi, multiple, s->depth);
}

void scope_set_lane(Scope *s, Ix var, int lanes)
{
    s->lane = var;
    s->lanes = lanes;
    s->lane_bit = (uint64_t)1 << s->depth;
}

int scope_lane_count(const Scope *s)
{
    return s->lanes;
}

Scope *scope_loop_text(Emitter *E, Scope *parent, const char *hint, const char *lo, const char *hi, int64_t step,
                       int64_t least, int64_t most, Ix *out_var)
{
    const char *name = emit_name(E, hint);
    const char *advance = step == 1 ? arena_printf(E->arena, "%s++", name)
                                    : arena_printf(E->arena, "%s += %s", name, render_long(E, step));
    const char *head = arena_printf(E->arena, "for (long %s = %s; %s < %s; %s) {", name, lo, name, hi, advance);
    Scope *s = open_scope(E, parent, head, true);
    s->name = name;
    *out_var = scope_var(E, s, name, least, most + step - 1, step > 1 && least % step == 0 ? step : 1);
    return s;
}

Scope *scope_loop(Emitter *E, Scope *parent, const char *hint, int64_t lo, int64_t hi, int64_t step, Ix *out_var)
{
    int64_t most = hi > lo ? lo + (hi - 1 - lo) / step * step : lo;
    return scope_loop_text(E, parent, hint, render_long(E, lo), render_long(E, hi), step, lo, most, out_var);
}

const char *emit_thread(const Emitter *E)
{
    return E->by_warp ? "threadIdx.x % 32" : "threadIdx.x";
}

const char *emit_threads(const Emitter *E)
{
    return E->by_warp ? "32" : "blockDim.x";
}

Scope *scope_quads(Emitter *E, Scope *parent, const char *hint, const char *first, const char *last, int64_t most, Ix *out_var)
{
    const char *name = emit_name(E, hint), *place = emit_name(E, "e");
    Scope *outer = open_scope(E, parent, arena_printf(E->arena, "for (long %s = %s; %s < %s; %s += %s*4L) {", name, first, name, last,
                                                      name, emit_threads(E)), true);
    outer->name = name;
    outer->is_thread = true;
    const Ix group = scope_var(E, outer, name, 0, most, 4);
    Scope *s = open_scope(E, outer, arena_printf(E->arena, "_Pragma(\"unroll\") for (int %s = 0; %s < 4; %s++) {", place, place, place), true);
    s->name = s->place_name = place;
    s->quad = outer;
    s->mask = (uint64_t)1 << s->depth;
    s->place = ix_small(E->ix, place, 3, s->depth);
    *out_var = ix_add(E->ix, group, s->place);
    return s;
}

Scope *scope_lanes(Emitter *E, Scope *parent, const char *hint, int64_t lo, int64_t hi, Ix *out_var)
{
    if (E->dialect == DIALECT_CUDA && lo == 0 && hi > 0 && hi % 4 == 0 && !E->one_by_one)
        return scope_quads(E, parent, hint, arena_printf(E->arena, "%s*4L", emit_thread(E)), render_long(E, hi), hi - 4, out_var);
    if (E->dialect == DIALECT_CUDA) {
        const char *name = emit_name(E, hint);
        const char *first = lo ? arena_printf(E->arena, "%s + %s", render_long(E, lo), emit_thread(E)) : emit_thread(E);
        const char *head = arena_printf(E->arena, "for (long %s = %s; %s < %s; %s += %s) {", name, first, name, render_long(E, hi), name,
                                        emit_threads(E));
        Scope *s = open_scope(E, parent, head, true);
        s->name = name;
        s->is_thread = true;
        *out_var = scope_var(E, s, name, lo, hi > lo ? hi - 1 : lo, 1);
        return s;
    }
    // The variable stands for all lanes, so even a single round is no constant.
    int64_t end = lo + (hi - lo) / E->vl * E->vl;
    Scope *s = scope_loop_text(E, parent, hint, render_long(E, lo), render_long(E, end), E->vl, lo, end > lo ? end - 1 : lo, out_var);
    scope_set_lane(s, *out_var, E->vl);
    return s;
}

Scope *scope_set_threads(Scope *s)
{
    s->is_thread = true;
    return s;
}

static void forget_name(Emitter *E, const char *name)
{
    for (size_t i = E->names.n; i-- > 0;)
        if (!strcmp(E->names.name[i], name)) {
            memmove(&E->names.name[i], &E->names.name[i + 1], (E->names.n - i - 1) * sizeof *E->names.name);
            E->names.n--;
            return;
        }
}

void scope_close(Emitter *E, Scope *s)
{
    Text *out = &s->parent->text;
    if (s->text.n || !s->is_loop) {
        text_printf(out, "%*s%s\n", 4 * s->parent->indent, "", s->head);
        text_add(out, text_str(&s->text));
        text_printf(out, "%*s}\n", 4 * s->parent->indent, "");
    }
    if (s->name)
        forget_name(E, s->name);            // a later loop over the same axis may use the name again
    for (size_t i = 0; i < s->n_locals; i++)
        forget_name(E, s->local[i]);
    for (size_t i = 0; i < s->n_puts; i++)
        scope_line(s->parent, "%s", s->put[i]);
    if (s->quad)
        scope_close(E, s->quad);
}

void scope_line(Scope *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_printf(&s->text, "%*s", 4 * s->indent, "");
    text_vprintf(&s->text, format, args);
    text_char(&s->text, '\n');
    va_end(args);
}

void scope_share(Emitter *E, Scope *s, const char *step)
{
    const char *advance = strrchr(s->head, ';');
    s->head = arena_printf(E->arena, "%.*s; %s += %s) {", (int)(advance - s->head), s->head, s->name, step);
}

// A fresh name that is free again when `s` is closed.
const char *scope_name(Emitter *E, Scope *s, const char *hint)
{
    s->local = arena_grow(E->arena, s->local, s->n_locals, &s->local_capacity, sizeof *s->local);
    return s->local[s->n_locals++] = emit_name(E, hint);
}

// The outermost scope, from `at` upwards, whose variables determine what depends on `deps`.
Scope *scope_home(Scope *at, uint64_t deps)
{
    while (at->parent && !at->is_floor && !(deps & at->mask))
        at = at->parent;
    return at;
}

bool emit_is_stored(const Emitter *E, ValueId v)
{
    const Node *n = &E->g->node[v];
    if (n->op == OP_ARG || n->op == OP_PARAM || n->op == OP_STATE || (n->kernel && n->kernel != E->kernel))
        return true;
    for (size_t i = 0; i < E->n_ready; i++)
        if (E->ready[i] == v)
            return true;
    return false;
}

const char *emitter_text(Emitter *E)
{
    return text_str(&E->top->text);
}

// --- environments

Env env_of(Emitter *E, ValueId v)
{
    const Type *type = &E->g->node[v].type;
    Env env = {.n = type->n_axes};
    for (int i = 0; i < type->n_axes; i++) {
        env.axis[i] = type->axis[i];
        env.at[i] = ix_const(E->ix, 0);
    }
    return env;
}

void env_set(Env *env, AxisId axis, Ix at)
{
    for (int i = 0; i < env->n; i++)
        if (env->axis[i] == axis)
            env->at[i] = at;
}

Ix env_get(const Env *env, AxisId axis)
{
    for (int i = 0; i < env->n; i++)
        if (env->axis[i] == axis)
            return env->at[i];
    return 0;
}

uint64_t env_deps(const Emitter *E, const Env *env)
{
    uint64_t deps = 0;
    for (int i = 0; i < env->n; i++)
        deps |= ix_deps(E->ix, env->at[i]);
    for (int i = 0; i < env->n_guards; i++)
        deps |= ix_deps(E->ix, env->guard[i].e);
    return deps;
}

// The part of `env` that an operand with the axes of `v` needs, in v's order.
Env env_restrict(const Emitter *E, const Env *env, ValueId v)
{
    const Type *type = &E->g->node[v].type;
    Env sub = *env;
    sub.n = type->n_axes;
    for (int i = 0; i < type->n_axes; i++) {
        sub.axis[i] = type->axis[i];
        sub.at[i] = env_get(env, type->axis[i]);
        assert(sub.at[i] && "an operand has an axis that its reader does not give");
    }
    return sub;
}

static bool env_equal(const Env *a, const Env *b)
{
    return a->n == b->n && a->n_guards == b->n_guards && a->is_zero == b->is_zero &&
           !memcmp(a->axis, b->axis, a->n * sizeof *a->axis) && !memcmp(a->at, b->at, a->n * sizeof *a->at) &&
           !memcmp(a->guard, b->guard, a->n_guards * sizeof *a->guard);
}

bool memo_find(const Scope *at, ValueId v, const Env *env, Val *out)
{
    for (; at; at = at->parent)
        for (const Memo *m = at->memo[v % MEMO_BUCKETS]; m; m = m->next)
            if (m->value == v && env_equal(&m->env, env)) {
                *out = m->val;
                return true;
            }
    return false;
}

void memo_add(Emitter *E, Scope *at, ValueId v, const Env *env, Val val)
{
    Memo *m = arena_new(E->arena, Memo);
    *m = (Memo){.value = v, .env = *env, .val = val, .next = at->memo[v % MEMO_BUCKETS]};
    at->memo[v % MEMO_BUCKETS] = m;
}

void emit_bind(Emitter *E, Scope *at, ValueId v, const Env *env, Val val)
{
    Env mine = env_restrict(E, env, v);
    memo_add(E, at, v, &mine, val);
}

Ix emit_offset_turned(Emitter *E, ValueId v, const Env *env, AxisId last)
{
    const Type *type = &E->g->node[v].type;
    Ix offset = last ? env_get(env, last) : ix_const(E->ix, 0);
    int64_t stride = last ? graph_size(E->g, last) : 1;
    for (int i = type->n_axes; i-- > 0;) {
        if (type->axis[i] == last)
            continue;
        offset = ix_add(E->ix, offset, ix_scale(E->ix, env_get(env, type->axis[i]), stride));
        stride *= graph_size(E->g, type->axis[i]);
    }
    return offset;
}

Ix emit_offset(Emitter *E, ValueId v, const Env *env)
{
    return emit_offset_turned(E, v, env, 0);
}
