// Views as index arithmetic: the environment of a view's operand, from that of the view.
#include "emit_parts.h"

#include <assert.h>

// Adds `lo <= e < hi, by divides e` to what must hold.
void env_guard(Emitter *E, Env *env, Ix e, int64_t lo, int64_t hi, int64_t by)
{
    int64_t least = ix_lo(E->ix, e), most = ix_hi(E->ix, e);
    bool whole = by == 1 || ix_multiple(E->ix, e) % by == 0;
    if (least >= lo && most < hi && whole)
        return;
    if (most < lo || least >= hi) {
        env->is_zero = true;
        return;
    }
    Guard guard = {.e = e, .by = whole ? 1 : (int32_t)by, .lo = lo, .hi = hi};
    for (int i = 0; i < env->n_guards; i++) {
        const Guard *g = &env->guard[i];
        if (g->e == e && g->lo == lo && g->hi == hi && g->by == guard.by)
            return;
    }
    assert(env->n_guards < MAX_GUARDS && "more nested paddings than an environment holds");
    env->guard[env->n_guards++] = guard;
}

static Ix merged(Emitter *E, const Env *env, const Attr *axes)
{
    Ix m = ix_const(E->ix, 0);
    for (size_t k = 0; k < axes->axes.n; k++)
        m = ix_add(E->ix, ix_scale(E->ix, m, graph_size(E->g, axes->axes.id[k])), env_get(env, axes->axes.id[k]));
    return m;
}

// The operand's environment with each axis it shares with the view already in place.
static Env start(Emitter *E, const Node *n, const Env *env)
{
    Env x = env_of(E, n->in[0]);
    x.n_guards = env->n_guards;
    x.is_zero = env->is_zero;
    for (int i = 0; i < env->n_guards; i++)
        x.guard[i] = env->guard[i];
    for (int i = 0; i < x.n; i++) {
        Ix at = env_get(env, x.axis[i]);
        if (at)
            x.at[i] = at;
    }
    return x;
}

Env view_operand(Emitter *E, ValueId view, const Env *env)
{
    const Graph *g = E->g;
    IxTable *t = E->ix;
    const Node *n = &g->node[view];
    const Attr *a = n->attr;
    Env x = start(E, n, env);
    switch (n->op) {
    case OP_RENAME:
        for (size_t k = 0; k < a[0].axes.n; k++)
            env_set(&x, a[0].axes.id[k], env_get(env, a[1].axes.id[k]));
        break;
    case OP_SPLIT:
        env_set(&x, a[0].axis, merged(E, env, &a[1]));
        break;
    case OP_MERGE: {
        Ix rest = env_get(env, a[1].axis);
        for (size_t k = a[0].axes.n; k-- > 0;) {
            int64_t size = graph_size(g, a[0].axes.id[k]);
            env_set(&x, a[0].axes.id[k], k && size ? ix_mod(t, rest, size) : rest);
            rest = k && size ? ix_div(t, rest, size) : rest;
        }
        break;
    }
    case OP_AT:
        env_set(&x, a[0].axis, ix_const(t, a[1].i));
        break;
    case OP_SLICE:
        env_set(&x, a[0].axis, ix_offset(t, env_get(env, a[2].axis), a[1].i));
        break;
    case OP_PAD: {
        Ix i = ix_offset(t, env_get(env, a[2].axis), -a[1].i);
        env_set(&x, a[0].axis, i);
        env_guard(E, &x, i, 0, graph_size(g, a[0].axis), 1);
        break;
    }
    case OP_REVERSE:
        env_set(&x, a[0].axis, ix_sub(t, ix_const(t, graph_size(g, a[0].axis) - 1), env_get(env, a[0].axis)));
        break;
    case OP_WINDOW: {
        Ix o = env_get(env, a[1].axes.id[0]), j = env_get(env, a[1].axes.id[1]);
        Ix i = ix_offset(t, ix_add(t, ix_scale(t, o, a[2].i), j), -a[3].i);
        env_set(&x, a[0].axis, i);
        env_guard(E, &x, i, 0, graph_size(g, a[0].axis), 1);
        break;
    }
    case OP_UNWINDOW: {
        AxisId o = a[0].axes.id[0], j = a[0].axes.id[1];
        Ix e = ix_sub(t, ix_offset(t, env_get(env, a[1].axis), a[3].i), env_get(env, j));
        env_set(&x, o, ix_div(t, e, a[2].i));
        env_guard(E, &x, e, 0, graph_size(g, o) * a[2].i, a[2].i);
        break;
    }
    default:                                // expand and what keeps every index
        break;
    }
    return x;
}
