// Loads and stores: which lanes are side by side in memory, and what padding keeps out of bounds.
#include "emit_parts.h"

static bool guard_is_uniform(const Emitter *E, const Scope *at, const Guard *g)
{
    LaneForm form = ix_lane(E->ix, g->e, at->lane, at->lanes);
    if (form == LANE_UNIFORM)
        return true;
    // All lanes are on one side when the vector and the bounds are aligned.
    bool aligned = ix_multiple(E->ix, g->e) % at->lanes == 0;
    bool lo = g->lo % at->lanes == 0 || ix_lo(E->ix, g->e) >= g->lo;
    bool hi = g->hi % at->lanes == 0 || ix_hi(E->ix, g->e) < g->hi;
    return form == LANE_UNIT && g->by == 1 && aligned && lo && hi;
}

static const char *index_text(Emitter *E, Ix e, bool inside_product, const Scope *at, const char *lane)
{
    Text t = text_make(E->arena);
    ix_print(E->ix, e, inside_product, at->lane, lane, &t);
    return text_str(&t);
}

// A guard as a C condition, for one lane when `lane` is given.
static void guard_text(Emitter *E, const Scope *at, const Guard *g, const char *lane, Text *out)
{
    const char *e = index_text(E, g->e, true, at, lane);
    const char *join = out->n ? " && " : "";
    if (ix_lo(E->ix, g->e) < g->lo) {
        text_printf(out, "%s%s >= %lld", join, e, (long long)g->lo);
        join = " && ";
    }
    if (ix_hi(E->ix, g->e) >= g->hi) {
        text_printf(out, "%s%s < %lld", join, e, (long long)g->hi);
        join = " && ";
    }
    if (g->by > 1)
        text_printf(out, "%s%s%%%d == 0", join, e, g->by);
}

static const char *guards_text(Emitter *E, const Scope *at, const Env *env, const char *lane, bool *out_uniform)
{
    Text t = text_make(E->arena);
    *out_uniform = true;
    for (int i = 0; i < env->n_guards; i++) {
        guard_text(E, at, &env->guard[i], lane, &t);
        *out_uniform &= guard_is_uniform(E, at, &env->guard[i]);
    }
    return text_str(&t);
}

Val emit_guard(Emitter *E, Scope *at, const Env *env)
{
    bool uniform;
    const char *text = guards_text(E, at, env, NULL, &uniform);
    if (uniform)
        return (Val){.text = text, .prec = PREC_COMPARE, .kind = VAL_MASK};
    const char *name = scope_name(E, at, "inside");
    const char *array = scope_name(E, at, "side");
    scope_line(at, "int %s[%d];", array, at->lanes);
    scope_line(at, "for (int q = 0; q < %d; q++)", at->lanes);
    scope_line(at, "    %s[q] = -(%s);", array, guards_text(E, at, env, "q", &uniform));
    scope_line(at, "const vi %s = loadi_v(%s);", name, array);
    return val_name(name, VAL_MASK, true);
}

static const char *loader(DType dtype)
{
    return dtype == DTYPE_I32 ? "loadi_v" : dtype == DTYPE_BF16 ? "loadh_v" : "load_v";
}

// Element `at` of a buffer as C text of a scalar.
static const char *element(Emitter *E, const char *name, DType dtype, const char *offset)
{
    return dtype == DTYPE_BF16 ? arena_printf(E->arena, "loadh_s(%s + %s)", name, offset)
                               : arena_printf(E->arena, "%s[%s]", name, offset);
}

static const Turned *find_turned(const Emitter *E, ValueId v)
{
    for (size_t i = 0; i < E->n_turned; i++)
        if (E->turned[i].value == v)
            return &E->turned[i];
    return NULL;
}

const char *emit_quad(Emitter *E, Scope *at, Ix offset)
{
    int64_t moves;
    if (!at->quad || !ix_affine(E->ix, offset, at->place, &moves) || moves != 1)
        return NULL;
    const Ix first = ix_sub(E->ix, offset, at->place);
    if (ix_multiple(E->ix, first) % 4 != 0)
        return NULL;
    return index_text(E, first, false, at->quad, NULL);
}

void emit_quad_put(Emitter *E, Scope *at, const char *line)
{
    at->put = arena_grow(E->arena, at->put, at->n_puts, &at->put_capacity, sizeof *at->put);
    at->put[at->n_puts++] = line;
}

static const char *quad_word(DType dtype)
{
    return dtype == DTYPE_I32 ? "i" : dtype == DTYPE_BF16 ? "h" : "";
}

// Four elements into registers, before the loop over them.
static Val load_quad(Emitter *E, Scope *at, const char *array, DType dtype, const char *name, const char *first)
{
    const bool is_int = dtype == DTYPE_I32;
    scope_line(at->quad, "%s %s[4];", is_int ? "int" : "float", name);
    scope_line(at->quad, "get4%s_s(%s + %s, %s);", quad_word(dtype), array, first, name);
    return val_name(arena_printf(E->arena, "%s[%s]", name, at->place_name), is_int ? VAL_INT : VAL_FLOAT, false);
}

Val emit_load(Emitter *E, Scope *at, ValueId v, const Env *env)
{
    const Node *n = &E->g->node[v];
    const Turned *turned = find_turned(E, v);
    DType dtype = n->type.dtype;
    ValKind kind = dtype == DTYPE_I32 ? VAL_INT : VAL_FLOAT;
    const char *array = turned ? emit_workspace(E, turned->workspace, "turned", dtype, false) : emit_param(E, v, false);
    const char *zero = kind == VAL_INT ? "0" : "0.0f";
    Ix offset = emit_offset_turned(E, v, env, turned ? turned->last : 0);
    LaneForm form = ix_lane(E->ix, offset, at->lane, at->lanes);
    bool uniform;
    const char *guard = guards_text(E, at, env, NULL, &uniform);
    const char *name = scope_name(E, at, n->hint ? n->hint : array);
    const char *text = index_text(E, offset, false, at, NULL);
    const char *type = kind == VAL_INT ? "int" : "float", *vector = kind == VAL_INT ? "vi" : "vf";
    const char *first = *guard ? NULL : emit_quad(E, at, offset);
    if (first)
        return load_quad(E, at, array, dtype, name, first);
    if (form == LANE_UNIFORM && uniform) {
        if (*guard)
            scope_line(at, "const %s %s = %s ? %s : %s;", type, name, guard, element(E, array, dtype, text), zero);
        else
            scope_line(at, "const %s %s = %s;", type, name, element(E, array, dtype, text));
        return val_name(name, kind, false);
    }
    if (form == LANE_UNIT && uniform && *guard) {
        scope_line(at, "%s %s = {0};", vector, name);
        scope_line(at, "if (%s)", guard);
        scope_line(at, "    %s = %s(%s + %s);", name, loader(dtype), array, text);
    } else if (form == LANE_UNIT && uniform) {
        scope_line(at, "const %s %s = %s(%s + %s);", vector, name, loader(dtype), array, text);
    } else {
        const char *lanes = scope_name(E, at, arena_printf(E->arena, "%s_at", array));
        guard = guards_text(E, at, env, "q", &uniform);
        const char *one = element(E, array, dtype, index_text(E, offset, false, at, "q"));
        scope_line(at, "%s %s[%d];", type, lanes, at->lanes);
        scope_line(at, "for (int q = 0; q < %d; q++)", at->lanes);
        if (*guard)
            scope_line(at, "    %s[q] = %s ? %s : %s;", lanes, guard, one, zero);
        else
            scope_line(at, "    %s[q] = %s;", lanes, one);
        scope_line(at, "const %s %s = %s(%s);", vector, name, kind == VAL_INT ? "loadi_v" : "load_v", lanes);
    }
    return val_name(name, kind, true);
}

void emit_store(Emitter *E, Scope *at, ValueId v, const Env *env, Val val)
{
    DType dtype = E->g->node[v].type.dtype;
    const char *array = emit_param(E, v, true);
    Env mine = env_restrict(E, env, v);
    Ix offset = emit_offset(E, v, &mine);
    LaneForm form = ix_lane(E->ix, offset, at->lane, at->lanes);
    const char *text = index_text(E, offset, false, at, NULL);
    if (dtype != DTYPE_I32)
        val = val_float(E, val);
    const char *first = emit_quad(E, at, offset);
    if (first) {
        const char *four = scope_name(E, at->quad, array);
        scope_line(at->quad, "%s %s[4];", dtype == DTYPE_I32 ? "int" : "float", four);
        scope_line(at, "%s[%s] = %s;", four, at->place_name, val.text);
        emit_quad_put(E, at, arena_printf(E->arena, "put4%s_s(%s + %s, %s);", quad_word(dtype), array, first, four));
        return;
    }
    if (form == LANE_UNIFORM) {
        scope_line(at, dtype == DTYPE_BF16 ? "%s[%s] = half_s(%s);" : "%s[%s] = %s;", array, text, val.text);
        return;
    }
    val = val_vector(E, val);
    if (form == LANE_UNIT) {
        const char *type = dtype == DTYPE_I32 ? "vi" : dtype == DTYPE_BF16 ? "vh" : "vf";
        if (v == E->stream && dtype == DTYPE_F32 && ix_multiple(E->ix, offset) % at->lanes == 0) {
            scope_line(at, "stream_v(%s + %s, %s);", array, text, val.text);
            return;
        }
        scope_line(at, dtype == DTYPE_BF16 ? "*(%s *)(%s + %s) = half_v(%s);" : "*(%s *)(%s + %s) = %s;", type, array, text,
                   val.text);
        return;
    }
    const char *name = val_named(E, at, val, "lane").text;
    scope_line(at, "for (int q = 0; q < %d; q++)", at->lanes);
    scope_line(at, dtype == DTYPE_BF16 ? "    %s[%s] = half_s(%s[q]);" : "    %s[%s] = %s[q];", array,
               index_text(E, offset, false, at, "q"), name);
}
