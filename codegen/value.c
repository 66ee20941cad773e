// The computation of one element of a value, op by op.
#include "emit_parts.h"
#include "random_keys.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// --- texts

const char *render_long(Emitter *E, int64_t value)
{
    bool wide = value > INT32_MAX || value < -(int64_t)INT32_MAX;
    return arena_printf(E->arena, wide ? "%lldL" : "%lld", (long long)value);
}

static const char *render_float(Emitter *E, double c)
{
    if (isnan(c))
        return "float_s(0x7fc00000)";
    float f = (float)c;
    if (isinf(f))
        return f > 0 ? "float_s(0x7f800000)" : "float_s(-0x00800000)";
    const char *s = arena_printf(E->arena, "%.9g", (double)f);
    float back;
    for (int digits = 1; digits < 9; digits++) {
        const char *shorter = arena_printf(E->arena, "%.*g", digits, (double)f);
        if (sscanf(shorter, "%f", &back) == 1 && back == f) {
            s = shorter;
            break;
        }
    }
    return arena_printf(E->arena, strpbrk(s, ".e") ? "%sf" : "%s.0f", s);
}

Val val_const(Emitter *E, double c, ValKind kind)
{
    Val v = {.kind = kind, .is_const = true, .c = c, .prec = PREC_ATOM};
    if (kind == VAL_FLOAT) {
        v.text = render_float(E, c);
    } else {
        v.text = arena_printf(E->arena, c == -2147483648.0 ? "(-2147483647 - 1)" : "%lld", (long long)c);
    }
    if (v.text[0] == '-')
        v.prec = PREC_UNARY;
    return v;
}

Val val_name(const char *name, ValKind kind, bool is_vector)
{
    return (Val){.text = name, .prec = PREC_ATOM, .kind = kind, .is_vector = is_vector};
}

const char *val_text(Emitter *E, Val v, Prec at_least)
{
    return v.prec >= at_least ? v.text : arena_printf(E->arena, "(%s)", v.text);
}

static Val made(const char *text, Prec prec, ValKind kind, bool is_vector)
{
    return (Val){.text = text, .prec = prec, .kind = kind, .is_vector = is_vector};
}

Val val_float(Emitter *E, Val v)
{
    if (v.kind == VAL_FLOAT)
        return v;
    if (v.is_const)
        return val_const(E, v.c, VAL_FLOAT);
    const char *f = v.kind == VAL_MASK ? "one" : "tofloat";
    return made(arena_printf(E->arena, "%s_%c(%s)", f, v.is_vector ? 'v' : 's', v.text), PREC_ATOM, VAL_FLOAT, v.is_vector);
}

Val val_vector(Emitter *E, Val v)
{
    if (v.is_vector)
        return v;
    switch (v.kind) {
    case VAL_FLOAT:
        return made(arena_printf(E->arena, "set_v(%s)", v.text), PREC_ATOM, VAL_FLOAT, true);
    case VAL_INT:
        return made(arena_printf(E->arena, "((vi){0} + %s)", val_text(E, v, PREC_PRODUCT)), PREC_ATOM, VAL_INT, true);
    case VAL_MASK:
        return made(arena_printf(E->arena, "((vi){0} - %s)", val_text(E, v, PREC_PRODUCT)), PREC_ATOM, VAL_MASK, true);
    }
    return v;
}

Val val_named(Emitter *E, Scope *at, Val v, const char *hint)
{
    bool is_name = v.prec == PREC_ATOM && !strpbrk(v.text, "([");
    if (is_name || v.is_const)
        return v;
    const char *type = v.is_vector ? (v.kind == VAL_FLOAT ? "vf" : "vi") : (v.kind == VAL_FLOAT ? "float" : "int");
    const char *name = scope_name(E, at, hint);
    scope_line(at, "const %s %s = %s;", type, name, v.text);
    return val_name(name, v.kind, v.is_vector);
}

// A call NAME_v(..) or NAME_s(..).
static Val call1(Emitter *E, const char *name, Val a)
{
    return made(arena_printf(E->arena, "%s_%c(%s)", name, a.is_vector ? 'v' : 's', a.text), PREC_ATOM, a.kind, a.is_vector);
}

static Val call2(Emitter *E, const char *name, Val a, Val b)
{
    bool vector = a.is_vector || b.is_vector;
    if (vector) {
        a = val_vector(E, a);
        b = val_vector(E, b);
    }
    return made(arena_printf(E->arena, "%s_%c(%s, %s)", name, vector ? 'v' : 's', a.text, b.text), PREC_ATOM, a.kind, vector);
}

static Val infix(Emitter *E, const char *op, Prec prec, Val a, Val b)
{
    // Left-associative: the right side must bind tighter.
    const char *left = val_text(E, a, prec), *right = val_text(E, b, prec + 1);
    const char *form = prec == PREC_PRODUCT ? "%s%s%s" : "%s %s %s";
    return made(arena_printf(E->arena, form, left, op, right), prec, a.kind, a.is_vector || b.is_vector);
}

static Val choose(Emitter *E, Val mask, Val a, Val b)
{
    bool vector = a.is_vector || b.is_vector || mask.is_vector;
    if (vector) {                           // a scalar `?` between vectors is no C: their types differ in alignment
        a = val_vector(E, a);
        b = val_vector(E, b);
        mask = val_vector(E, mask);
    }
    if (vector && !mask.is_vector) {        // `? :` wants one type, and a sum of two vf is not quite a vf
        const char *cast = a.kind == VAL_INT ? "(vi)(%s)" : "(vf)(%s)";
        a.text = arena_printf(E->arena, cast, a.text);
        b.text = arena_printf(E->arena, cast, b.text);
    }
    const char *f = a.kind == VAL_INT ? "seli" : "sel";
    return made(arena_printf(E->arena, "%s_%c(%s, %s, %s)", f, mask.is_vector ? 'v' : 's', mask.text, a.text, b.text),
                PREC_ATOM, a.kind, vector);
}

// --- the table of functions

static const char *const act_value_text[ACT_COUNT] = {
#define ACT(id, text, value, uses, derivative) [ACT_##id] = #value,
#include "acts.def"
#undef ACT
};

static const char *const act_slope_text[ACT_COUNT] = {
#define ACT(id, text, value, uses, derivative) [ACT_##id] = #derivative,
#include "acts.def"
#undef ACT
};

static bool whole_argument(const char *before, const char *after)
{
    while (*after == ' ')
        after++;
    while (*before == ' ')
        before--;
    return (*before == ',' || *before == '(') && (*after == ',' || *after == ')');
}

// An expression of acts.def with the operand put in: m_NAME becomes the helper's form, 0.5 becomes 0.5f.
static Val instantiate(Emitter *E, Scope *at, const char *formula, Val x)
{
    Text out = text_make(E->arena);
    char *end;
    double constant = strtod(formula, &end);
    if (!*end)
        return val_const(E, constant, VAL_FLOAT);
    x = val_named(E, at, val_float(E, x), "x");
    const char *operand = val_text(E, x, PREC_ATOM);
    for (const char *s = formula; *s;) {
        const char *start = s;
        if (isalpha((unsigned char)*s)) {
            while (isalnum((unsigned char)*s) || *s == '_')
                s++;
            size_t n = (size_t)(s - start);
            if (n == 1)
                text_add(&out, operand);
            else if (n == 8 && !memcmp(start, "m_select", n))
                text_add(&out, x.is_vector ? "sel_v" : "sel_s");
            else {
                text_add_n(&out, start + 2, n - 2);
                text_add(&out, x.is_vector ? "_v" : "_s");
            }
        } else if (isdigit((unsigned char)*s)) {
            const char *number = render_float(E, strtod(s, &end));
            s = end;
            bool whole = start > formula && whole_argument(start - 1, s);
            text_printf(&out, whole && x.is_vector ? "set_v(%s)" : "%s", number);
        } else if (s[0] == ' ' && s > formula && (s[1] == '*' || s[1] == '/' || s[-1] == '*' || s[-1] == '/')) {
            s++;
        } else {
            text_char(&out, *s++);
        }
    }
    return made(text_str(&out), strcmp(text_str(&out), operand) ? PREC_COMPARE : PREC_ATOM, VAL_FLOAT, x.is_vector);
}

// --- indices as values

// The number that an index expression has, as an int: iota + first where it moves with the lanes.
static Val index_value(Emitter *E, Scope *at, Ix e)
{
    int64_t c;
    if (ix_is_const(E->ix, e, &c))
        return val_const(E, (double)c, VAL_INT);
    LaneForm form = ix_lane(E->ix, e, at->lane, at->lanes);
    Text t = text_make(E->arena);
    ix_print(E->ix, e, false, at->lane, form == LANE_OTHER ? "q" : NULL, &t);
    if (form == LANE_UNIFORM) {
        Val number = made(text_str(&t), strpbrk(text_str(&t), " +-*/%") ? PREC_SUM : PREC_ATOM, VAL_INT, false);
        return made(arena_printf(E->arena, "(int)%s", val_text(E, number, PREC_UNARY)), PREC_UNARY, VAL_INT, false);
    }
    if (form == LANE_UNIT)
        return made(arena_printf(E->arena, "iota_v(%s)", text_str(&t)), PREC_ATOM, VAL_INT, true);
    const char *array = scope_name(E, at, "index_at"), *name = scope_name(E, at, "index");
    scope_line(at, "int %s[%d];", array, at->lanes);
    scope_line(at, "for (int q = 0; q < %d; q++)", at->lanes);
    scope_line(at, "    %s[q] = (int)(%s);", array, text_str(&t));
    scope_line(at, "const vi %s = loadi_v(%s);", name, array);
    return val_name(name, VAL_INT, true);
}

// --- ops

static Val operand(Emitter *E, Scope *at, ValueId v, size_t i, const Env *env)
{
    return emit_value(E, at, E->g->node[v].in[i], env);
}

static Val emit_pow(Emitter *E, Scope *at, Val x, Val y)
{
    if (y.is_const && y.c == 2) {
        x = val_named(E, at, x, "x");
        return infix(E, "*", PREC_PRODUCT, x, x);
    }
    if (y.is_const && y.c == 1)
        return x;
    if (y.is_const && y.c == 0.5)
        return call1(E, "sqrt", x);
    if (y.is_const && (y.c == -1 || y.c == -0.5)) {
        Val d = y.c == -1 ? x : call1(E, "sqrt", x);
        return infix(E, "/", PREC_PRODUCT, val_const(E, 1, VAL_FLOAT), d);
    }
    return call2(E, "pow", x, y);
}

// The larger or the smaller one; NaN if either is. A comparison with a number that is no NaN needs one test only.
static Val emit_extreme(Emitter *E, Scope *at, bool max, Val x, Val y)
{
    if (x.is_const && !y.is_const) {
        Val t = x;
        x = y;
        y = t;
    }
    if (x.kind == VAL_INT || (y.is_const && !isnan(y.c))) {
        x = val_named(E, at, x, "x");
        if (!y.is_const)
            y = val_named(E, at, y, "y");
        return choose(E, (Val){.text = infix(E, max ? "<" : ">", PREC_COMPARE, x, y).text, .kind = VAL_MASK,
                               .is_vector = x.is_vector || y.is_vector}, y, x);
    }
    return call2(E, max ? "max" : "min", x, y);
}

static Val emit_compare(Emitter *E, const char *op, Val a, Val b)
{
    if (a.kind != b.kind || a.kind == VAL_MASK) {
        a = val_float(E, a);
        b = val_float(E, b);
    }
    Val m = infix(E, op, PREC_COMPARE, a, b);
    if (a.prec == PREC_COMPARE)
        m.text = arena_printf(E->arena, "(%s) %s %s", a.text, op, val_text(E, b, PREC_SUM));
    m.kind = VAL_MASK;
    return m;
}

static Val as_mask(Emitter *E, Val c)
{
    return c.kind == VAL_MASK ? c : emit_compare(E, "!=", c, val_const(E, 0, c.kind));
}

static bool is_zero(Val v)
{
    return v.is_const && v.c == 0;
}

static Val emit_binary(Emitter *E, Scope *at, ValueId v, const Env *env)
{
    const Node *n = &E->g->node[v];
    Val a = operand(E, at, v, 0, env), b = operand(E, at, v, 1, env);
    bool is_int = E->g->node[n->in[0]].type.dtype == DTYPE_I32;
    if (!is_int && n->op != OP_LT && n->op != OP_LE && n->op != OP_EQ && n->op != OP_NE) {
        a = val_float(E, a);
        b = val_float(E, b);
    }
    switch (n->op) {
    case OP_ADD:
        return is_zero(a) ? b : is_zero(b) ? a : infix(E, "+", PREC_SUM, a, b);
    case OP_SUB: return is_zero(b) ? a : infix(E, "-", PREC_SUM, a, b);
    case OP_MUL: return infix(E, "*", PREC_PRODUCT, a, b);
    case OP_DIV: return infix(E, "/", PREC_PRODUCT, a, b);
    case OP_POW: return emit_pow(E, at, val_float(E, a), val_float(E, b));
    case OP_MOD: return call2(E, is_int ? "imod" : "mod", a, b);
    case OP_MAX: return emit_extreme(E, at, true, a, b);
    case OP_MIN: return emit_extreme(E, at, false, a, b);
    case OP_ATAN2: return call2(E, "atan2", a, b);
    case OP_LT: return emit_compare(E, "<", a, b);
    case OP_LE: return emit_compare(E, "<=", a, b);
    case OP_EQ: return emit_compare(E, "==", a, b);
    case OP_NE: return emit_compare(E, "!=", a, b);
    default: break;
    }
    assert(false && "not a binary op");
    return a;
}

static Val emit_select(Emitter *E, Scope *at, ValueId v, const Env *env)
{
    Val c = operand(E, at, v, 0, env);
    Val a = operand(E, at, v, 1, env), b = operand(E, at, v, 2, env);
    if (a.kind != VAL_INT || b.kind != VAL_INT) {
        a = val_float(E, a);
        b = val_float(E, b);
    }
    if (c.is_const)
        return c.c != 0 ? a : b;
    return choose(E, as_mask(E, c), a, b);
}

static Val emit_cast(Emitter *E, ValueId v, Val x)
{
    DType to = E->g->node[v].attr[0].dtype;
    if (to == DTYPE_I32) {
        if (x.kind == VAL_INT)
            return x;
        if (x.is_const)
            return val_const(E, trunc(x.c), VAL_INT);
        x = call1(E, "toint", val_float(E, x));
        x.kind = VAL_INT;
        return x;
    }
    x = val_float(E, x);
    return to == DTYPE_BF16 && !is_zero(x) ? call1(E, "bf16", x) : x;
}

// uniform(key, element): the key once per kernel, from its buffer when seed and step are inputs; the element's row-major number in the declared type.
static Val emit_random(Emitter *E, Scope *at, ValueId v, const Env *env)
{
    const Node *n = &E->g->node[v];
    Env none = {0}, of_key = {.is_zero = true};     // no value is remembered under such an environment
    Val key;
    if (!memo_find(E->top, v, &of_key, &key)) {
        const char *name;
        if (random_has_key(E->g, n)) {
            const char *buffer = emit_key(E, v);
            name = scope_name(E, E->top, "key");
            scope_line(E->top, "const unsigned %s = (unsigned)%s[0];", name, buffer);
        } else {
            Val seed = emit_value(E, E->top, n->in[0], &none), step = emit_value(E, E->top, n->in[1], &none);
            name = scope_name(E, E->top, "key");
            scope_line(E->top, "const unsigned %s = mix_s(mix_s(mix_s((unsigned)%s + 0x9e3779b9u) ^ (unsigned)%s) + %uu*0x85ebca6bu);",
                       name, val_text(E, seed, PREC_ATOM), val_text(E, step, PREC_ATOM), (unsigned)n->attr[0].i);
        }
        key = val_name(name, VAL_INT, false);
        memo_add(E, E->top, v, &of_key, key);
    }
    Val element = index_value(E, at, emit_offset(E, v, env));
    if (element.is_vector)
        return made(arena_printf(E->arena, "uniform_v((vu){0} + %s, (vu)%s)", key.text, val_text(E, element, PREC_ATOM)),
                    PREC_ATOM, VAL_FLOAT, true);
    return made(arena_printf(E->arena, "uniform_s(%s, (unsigned)%s)", key.text, val_text(E, element, PREC_ATOM)), PREC_ATOM,
                VAL_FLOAT, false);
}

// An input's indices are checked by whoever fills it; one that a kernel made may be negative, which means "none".
static bool may_be_none(const Graph *g, ValueId index)
{
    while ((op_row[g->node[index].op].flags & OP_FLAG_VIEW) && g->node[index].op != OP_PAD)
        index = g->node[index].in[0];
    return g->node[index].op != OP_ARG && !(op_row[g->node[index].op].flags & OP_FLAG_ROUTING);
}

// Whether the value is one number of memory, seen through views: then a load's own guard has made it 0 already.
static bool is_plain(const Emitter *E, ValueId v)
{
    while ((op_row[E->g->node[v].op].flags & OP_FLAG_VIEW) && !emit_is_stored(E, v))
        v = E->g->node[v].in[0];
    return emit_is_stored(E, v);
}

Val emit_zero_outside(Emitter *E, Scope *at, ValueId x, const Env *env, int n_before, Val val)
{
    if (env->n_guards == n_before || env->is_zero || is_plain(E, x))
        return val;
    Env added = {.n_guards = 1, .guard = {env->guard[env->n_guards - 1]}};
    bool is_int = E->g->node[x].type.dtype == DTYPE_I32;
    return choose(E, emit_guard(E, at, &added), is_int ? val : val_float(E, val), val_const(E, 0, is_int ? VAL_INT : VAL_FLOAT));
}

// A value that is computed in place is 0 where the index is none, whatever its function makes of zeros.
static Val emit_take(Emitter *E, Scope *at, ValueId v, const Env *env)
{
    const Node *n = &E->g->node[v];
    AxisId axis = n->attr[0].axis;
    Env mine = *env;
    Val index = emit_value(E, at, n->in[1], &mine);
    Scope *home = at;
    if (!index.is_const)
        index = val_named(E, home, index, "index");
    Env of_index = env_restrict(E, env, n->in[1]);
    int64_t size = graph_size(E->g, axis);
    bool none = may_be_none(E->g, n->in[1]) && env->n_guards < MAX_GUARDS;
    Ix i = index.is_const ? ix_const(E->ix, (int64_t)index.c)
                          : ix_value(E->ix, index.text, none ? -1 : 0, size - 1, env_deps(E, &of_index), index.is_vector);
    Env x = env_of(E, n->in[0]);
    x.n_guards = env->n_guards;
    for (int k = 0; k < env->n_guards; k++)
        x.guard[k] = env->guard[k];
    if (none)
        x.guard[x.n_guards++] = (Guard){.e = i, .lo = 0, .hi = size, .by = 1};
    for (int k = 0; k < x.n; k++)
        x.at[k] = x.axis[k] == axis ? i : env_get(env, x.axis[k]);
    return emit_zero_outside(E, at, n->in[0], &x, env->n_guards, emit_value(E, at, n->in[0], &x));
}

static Val emit_view(Emitter *E, Scope *at, ValueId v, const Env *env)
{
    const Node *n = &E->g->node[v];
    Env x = view_operand(E, v, env);
    return emit_zero_outside(E, at, n->in[0], &x, env->n_guards, emit_value(E, at, n->in[0], &x));
}

static Val emit_op(Emitter *E, Scope *at, ValueId v, const Env *env)
{
    const Node *n = &E->g->node[v];
    switch (n->op) {
    case OP_CONST:
        return val_const(E, n->attr[0].f, n->type.dtype == DTYPE_I32 ? VAL_INT : VAL_FLOAT);
    case OP_INDEX: return index_value(E, at, env->at[0]);
    case OP_RANDOM: return emit_random(E, at, v, env);
    case OP_ADD: case OP_SUB: case OP_MUL: case OP_DIV: case OP_POW: case OP_MOD: case OP_MAX: case OP_MIN:
    case OP_ATAN2: case OP_LT: case OP_LE: case OP_EQ: case OP_NE:
        return emit_binary(E, at, v, env);
    case OP_SELECT: return emit_select(E, at, v, env);
    case OP_NEG: {
        Val x = operand(E, at, v, 0, env);
        x = x.kind == VAL_MASK ? val_float(E, x) : x;
        return made(arena_printf(E->arena, "-%s", val_text(E, x, PREC_ATOM)), PREC_UNARY, x.kind, x.is_vector);
    }
    case OP_MAP:
        if (n->attr[0].act == ACT_RELU)
            return emit_extreme(E, at, true, val_float(E, operand(E, at, v, 0, env)), val_const(E, 0, VAL_FLOAT));
        return instantiate(E, at, act_value_text[n->attr[0].act], operand(E, at, v, 0, env));
    case OP_SLOPE: return instantiate(E, at, act_slope_text[n->attr[0].act], operand(E, at, v, 0, env));
    case OP_CAST: return emit_cast(E, v, operand(E, at, v, 0, env));
    case OP_STOP: return operand(E, at, v, 0, env);
    case OP_EXPAND: case OP_RENAME: case OP_SPLIT: case OP_MERGE: case OP_AT: case OP_SLICE: case OP_PAD: case OP_REVERSE:
    case OP_WINDOW: case OP_UNWINDOW:
        return emit_view(E, at, v, env);
    case OP_CONTRACT: case OP_REDUCE: case OP_PUT_ADD: case OP_FFTCONV:
        return emit_reduction(E, at, v, env);
    case OP_TAKE: return emit_take(E, at, v, env);
    case OP_TOPK: case OP_RANK: case OP_SLOT: case OP_ASSIGN: case OP_PUT:     // always stored
    case OP_ERROR: case OP_ARG: case OP_PARAM: case OP_STATE: case OP_ORTHO: case OP_COUNT: break;
    }
    assert(false && "an op that kernels do not compute");
    return val_const(E, 0, VAL_FLOAT);
}

Val emit_value(Emitter *E, Scope *at, ValueId v, const Env *env_in)
{
    const Node *n = &E->g->node[v];
    if (env_in->is_zero)
        return val_const(E, 0, n->type.dtype == DTYPE_I32 ? VAL_INT : VAL_FLOAT);
    Env env = env_restrict(E, env_in, v);
    Scope *home = scope_home(at, env_deps(E, &env));
    Val val;
    if (memo_find(home, v, &env, &val))
        return val;
    if (emit_is_stored(E, v)) {
        val = emit_load(E, home, v, &env);
    } else {
        val = emit_op(E, home, v, &env);
        bool once = E->n_uses && E->n_uses[v] == 1 && !n->kernel && home == at && !n->hint && strlen(val.text) < 48;
        bool view = (op_row[n->op].flags & OP_FLAG_VIEW) || n->op == OP_STOP;
        bool is_name = val.prec == PREC_ATOM && !strpbrk(val.text, "([");
        if (!is_name && (once || (view && n->op != OP_PAD)))
            return val;
        val = val_named(E, home, val, n->hint ? n->hint : op_row[n->op].text);
    }
    memo_add(E, home, v, &env, val);
    return val;
}
