// Reductions and products in place: loops around the body, with accumulators outside.
//
// In C, when no loop around it is the lane loop, the reduction's own innermost axis is taken by lanes:
//     vf a = set_v(0.0f);  for (..) for (d..; d += 16) a += x;  const float sum = sum_v(a) + the rest one by one
// In CUDA the threads of the block share that axis out and combine in a fixed order, unless they already share out a
// loop around it.
#include "emit_parts.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>

typedef struct Reduction {
    Red     f;
    bool    is_int;
    AxisId  over[MAX_AXES];                 // in the order of operand 0's type: the last one is innermost
    int     n_over;
    AxisId  index_axis;                     // put_add: the axis whose place the index names; 0: none
    AxisId  taps;                           // fftconv: the filter's axis, the last of `over`; 0: none
    Ix      tap;                            // the index along it
} Reduction;

static bool axis_listed(AxisId axis, const AxisId *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == axis)
            return true;
    return false;
}

// `done`: axes that loops outside reduce already.
static Reduction describe(const Emitter *E, ValueId v, const AxisId *done, size_t n_done)
{
    const Node *n = &E->g->node[v];
    const Type *x = &E->g->node[n->in[0]].type;
    Reduction r = {.f = RED_SUM, .is_int = n->type.dtype == DTYPE_I32};
    const Attr *over = n->op == OP_REDUCE ? &n->attr[1] : n->op == OP_FFTCONV ? &n->attr[4] : &n->attr[0];
    if (n->op == OP_REDUCE)
        r.f = n->attr[0].red;
    if (n->op == OP_PUT_ADD)
        r.index_axis = n->attr[1].axis;
    for (int i = 0; i < x->n_axes; i++)
        for (size_t k = 0; k < over->axes.n; k++)
            if (over->axes.id[k] == x->axis[i] && !axis_listed(x->axis[i], done, n_done))
                r.over[r.n_over++] = x->axis[i];
    if (n->op == OP_FFTCONV)
        r.over[r.n_over++] = r.taps = n->attr[1].axis;
    return r;
}

static Val identity(Emitter *E, const Reduction *r)
{
    static const double value[RED_COUNT] = {[RED_SUM] = 0, [RED_MAX] = -HUGE_VAL, [RED_MIN] = HUGE_VAL};
    static const double value_int[RED_COUNT] = {[RED_SUM] = 0, [RED_MAX] = -2147483648.0, [RED_MIN] = 2147483647};
    return val_const(E, r->is_int ? value_int[r->f] : value[r->f], r->is_int ? VAL_INT : VAL_FLOAT);
}

void emit_accumulate(Emitter *E, Scope *s, Red f, bool is_int, Val acc, Val x)
{
    if (!is_int)
        x = val_float(E, x);
    if (f == RED_SUM) {
        scope_line(s, "%s += %s;", acc.text, x.text);
        return;
    }
    if (acc.is_vector)
        x = val_vector(E, x);
    char form = acc.is_vector ? 'v' : 's';
    if (is_int) {
        x = val_named(E, s, x, "x");
        scope_line(s, "%s = seli_%c(%s %c %s, %s, %s);", acc.text, form, x.text, f == RED_MAX ? '>' : '<', acc.text, x.text,
                   acc.text);
    } else {
        scope_line(s, "%s = %s_%c(%s, %s);", acc.text, f == RED_MAX ? "max" : "min", form, acc.text, x.text);
    }
}

// CUDA texts are compiled without contraction, so they say where one is meant.
static void accumulate_product(Emitter *E, Scope *s, Val acc, const Node *n, const Env *inner)
{
    const Val a = val_float(E, emit_value(E, s, n->in[0], inner)), b = val_float(E, emit_value(E, s, n->in[1], inner));
    scope_line(s, "%s = fmaf(%s, %s, %s);", acc.text, val_text(E, a, PREC_COMPARE), val_text(E, b, PREC_COMPARE), acc.text);
}

// One product of a convolution: x[o - s + left] * k[s].
static Val conv_body(Emitter *E, Scope *s, const Node *n, const Reduction *r, const Env *inner, Ix place)
{
    Env side[2];
    for (int i = 0; i < 2; i++) {
        side[i] = env_of(E, n->in[i]);
        side[i].n_guards = inner->n_guards;
        for (int k = 0; k < inner->n_guards; k++)
            side[i].guard[k] = inner->guard[k];
        for (int k = 0; k < side[i].n; k++)
            side[i].at[k] = env_get(inner, side[i].axis[k]);
    }
    env_set(&side[1], r->taps, r->tap);
    int64_t size = graph_size(E->g, n->attr[0].axis);
    Ix from = ix_offset(E->ix, ix_sub(E->ix, place, r->tap), n->attr[3].i);
    if (n->attr[5].i && size) {
        env_set(&side[0], n->attr[0].axis, ix_mod(E->ix, from, size));
    } else {
        env_set(&side[0], n->attr[0].axis, from);
        env_guard(E, &side[0], from, 0, size, 1);
    }
    Val a = emit_zero_outside(E, s, n->in[0], &side[0], inner->n_guards, emit_value(E, s, n->in[0], &side[0]));
    Val b = val_float(E, emit_value(E, s, n->in[1], &side[1]));
    a = val_float(E, a);
    return (Val){.text = arena_printf(E->arena, "%s*%s", val_text(E, a, PREC_PRODUCT), val_text(E, b, PREC_UNARY)),
                 .prec = PREC_PRODUCT, .kind = VAL_FLOAT, .is_vector = a.is_vector || b.is_vector};
}

// What is reduced, at one place.
static Val body(Emitter *E, Scope *s, ValueId v, const Reduction *r, const Env *inner, Ix place)
{
    const Node *n = &E->g->node[v];
    if (n->op == OP_REDUCE)
        return emit_value(E, s, n->in[0], inner);
    if (n->op == OP_FFTCONV)
        return conv_body(E, s, n, r, inner, place);
    Val a = emit_value(E, s, n->in[0], inner), b = emit_value(E, s, n->in[1], inner);
    if (n->op == OP_CONTRACT) {
        a = val_float(E, a);
        b = val_float(E, b);
        return (Val){.text = arena_printf(E->arena, "%s*%s", val_text(E, a, PREC_PRODUCT), val_text(E, b, PREC_UNARY)),
                     .prec = PREC_PRODUCT, .kind = VAL_FLOAT, .is_vector = a.is_vector || b.is_vector};
    }
    // put_add: counts where the index names this place
    (void)r;
    Ix difference = place;
    const char *to = NULL;
    Text t = text_make(E->arena);
    LaneForm form = ix_lane(E->ix, difference, s->lane, s->lanes);
    ix_print(E->ix, difference, false, s->lane, NULL, &t);
    to = text_str(&t);
    b = val_named(E, s, b, "index");
    bool vector = form == LANE_UNIT || b.is_vector || a.is_vector;
    const char *mask = form == LANE_UNIT ? arena_printf(E->arena, "iota_v(%s) == %s", to, b.text)
                                         : arena_printf(E->arena, "%s == (int)(%s)", b.text, to);
    bool mask_vector = form == LANE_UNIT || b.is_vector;
    if (!r->is_int)
        a = val_float(E, a);
    Val zero = val_const(E, 0, r->is_int ? VAL_INT : VAL_FLOAT);
    if (vector) {
        a = val_vector(E, a);
        zero = val_vector(E, zero);
    }
    return (Val){.text = arena_printf(E->arena, "%s_%c(%s, %s, %s)", r->is_int ? "seli" : "sel", mask_vector ? 'v' : 's', mask, a.text,
                                      zero.text),
                 .prec = PREC_ATOM, .kind = a.kind, .is_vector = vector};
}

// The environment inside the loops: the operands' axes, those reduced still unset.
static Env inner_env(Emitter *E, ValueId v, const Reduction *r, const Env *env, Ix *out_place)
{
    const Node *n = &E->g->node[v];
    Env inner = {.n_guards = env->n_guards};
    for (int i = 0; i < env->n_guards; i++)
        inner.guard[i] = env->guard[i];
    for (size_t k = 0; k < n->n_in; k++) {
        const Type *x = &E->g->node[n->in[k]].type;
        for (int i = 0; i < x->n_axes; i++) {
            if (env_get(&inner, x->axis[i]))
                continue;
            Ix at = env_get(env, x->axis[i]);
            assert(inner.n < MAX_AXES && "a product over too many axes");
            inner.axis[inner.n] = x->axis[i];
            inner.at[inner.n++] = at ? at : ix_const(E->ix, 0);
        }
    }
    *out_place = r->taps ? env_get(env, n->attr[2].axis) : r->index_axis ? env_get(env, r->index_axis) : 0;
    return inner;
}

static bool in_thread_loop(const Scope *s)
{
    for (; s; s = s->parent)
        if (s->is_thread)
            return true;
    return false;
}

static const char *combine_lanes(const Reduction *r)
{
    static const char *const name[RED_COUNT] = {[RED_SUM] = "sum_v", [RED_MAX] = "most_v", [RED_MIN] = "least_v"};
    return r->is_int ? "sumi_v" : name[r->f];
}

const char *loop_hint(Emitter *E, AxisId axis)
{
    char *low = arena_strdup(E->arena, E->g->axis[axis].name);
    for (char *c = low; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return low;
}

Val emit_reduction(Emitter *E, Scope *home, ValueId v, const Env *env)
{
    return emit_reduction_part(E, home, v, env, NULL, 0);
}

Val emit_reduction_part(Emitter *E, Scope *home, ValueId v, const Env *env, const AxisId *done, size_t n_done)
{
    const Node *n = &E->g->node[v];
    Reduction r = describe(E, v, done, n_done);
    Ix place;
    Env inner = inner_env(E, v, &r, env, &place);
    ValKind kind = r.is_int ? VAL_INT : VAL_FLOAT;
    if (r.n_over == 0) {
        Val x = body(E, home, v, &r, &inner, place);
        return r.is_int ? x : val_float(E, x);
    }
    bool by_lane_outside = (env_deps(E, env) & home->lane_bit) != 0;
    AxisId last = r.over[r.n_over - 1];
    int64_t size = graph_size(E->g, last);
    bool own_lanes = E->dialect == DIALECT_C && !by_lane_outside && size >= E->vl && !(r.is_int && r.f != RED_SUM) &&
                     !r.index_axis && !r.taps;
    bool threads = E->dialect == DIALECT_CUDA && !in_thread_loop(home) && !r.is_int;
    const char *hint = n->hint ? n->hint : n->op == OP_REDUCE ? red_text[r.f] : "dot";
    const char *vector_type = r.is_int ? "vi" : "vf", *scalar_type = r.is_int ? "int" : "float";
    Val start = identity(E, &r);
    Val lanes = {0}, acc = {0};
    bool rest = !own_lanes || size % E->vl != 0;
    bool acc_vector = by_lane_outside;
    if (own_lanes) {
        lanes = val_name(scope_name(E, home, hint), kind, true);
        scope_line(home, "%s %s = %s;", vector_type, lanes.text, val_vector(E, start).text);
    }
    if (rest) {
        acc = val_name(scope_name(E, home, hint), kind, acc_vector);
        scope_line(home, "%s %s = %s;", acc_vector ? vector_type : scalar_type, acc.text,
                   acc_vector ? val_vector(E, start).text : start.text);
    }
    Scope *chain[MAX_AXES], *s = home;
    int depth = 0;
    for (int i = 0; i + 1 < r.n_over; i++) {
        Ix at;
        s = chain[depth++] = scope_loop(E, s, loop_hint(E, r.over[i]), 0, graph_size(E->g, r.over[i]), 1, &at);
        env_set(&inner, r.over[i], at);
    }
    Ix at;
    if (own_lanes) {
        Scope *loop = scope_lanes(E, s, loop_hint(E, last), 0, size, &at);
        env_set(&inner, last, at);
        emit_accumulate(E, loop, r.f, r.is_int, lanes, body(E, loop, v, &r, &inner, place));
        scope_close(E, loop);
    }
    if (rest) {
        int64_t from = own_lanes ? size / E->vl * E->vl : 0;
        Scope *loop = threads ? scope_lanes(E, s, loop_hint(E, last), 0, size, &at)
                              : scope_loop(E, s, loop_hint(E, last), from, size, 1, &at);
        if (r.taps)
            r.tap = at;
        else
            env_set(&inner, last, at);
        if (E->dialect == DIALECT_CUDA && n->op == OP_CONTRACT)
            accumulate_product(E, loop, acc, n, &inner);
        else
            emit_accumulate(E, loop, r.f, r.is_int, acc, body(E, loop, v, &r, &inner, place));
        scope_close(E, loop);
    }
    while (depth)
        scope_close(E, chain[--depth]);
    if (threads) {
        static const char *const block[RED_COUNT] = {[RED_SUM] = "sum", [RED_MAX] = "max", [RED_MIN] = "min"};
        if (E->by_warp)
            scope_line(home, "%s = warp_%s_s(%s, 32);", acc.text, block[r.f], acc.text);
        else
            scope_line(home, "%s = block_%s_s(%s, shared);", acc.text, block[r.f], acc.text);
    }
    if (!own_lanes)
        return acc;
    Val total = {.text = arena_printf(E->arena, "%s(%s)", combine_lanes(&r), lanes.text), .prec = PREC_ATOM, .kind = kind};
    if (rest && r.f == RED_SUM)
        total = (Val){.text = arena_printf(E->arena, "%s + %s", total.text, acc.text), .prec = PREC_SUM, .kind = kind};
    else if (rest)
        total.text = arena_printf(E->arena, "%s_s(%s, %s)", r.f == RED_MAX ? "max" : "min", total.text, acc.text);
    return val_named(E, home, total, hint);
}
