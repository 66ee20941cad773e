// topk, rank, slot and assign: what ROUTE kernels are made of. They make small integers out of scores; what moves rows by them is
// in the kernels that take and put. A row of scores (topk) or a pool (the others) is run through by one thread: counting in
// order is what makes the result the same for any number of threads.
#include "lower_route.h"

#include "emit_parts.h"
#include "lower_product.h"

#include <math.h>

static void split_axes(const Type *x, const Attr *pool, Route *r)
{
    for (size_t i = 0; i < pool->axes.n; i++)
        r->pool[r->n_pool++] = pool->axes.id[i];
    for (size_t i = 0; i < x->n_axes; i++) {
        bool in_pool = false;
        for (size_t k = 0; k < r->n_pool; k++)
            in_pool |= r->pool[k] == x->axis[i];
        if (!in_pool)
            r->item[r->n_items++] = x->axis[i];
    }
}

Route route_describe(Lower *L, ValueId v)
{
    const Graph *g = L->g;
    const Node *n = &g->node[v];
    Route r = {.v = v};
    if (n->op == OP_TOPK) {
        Type rows = n->type;
        rows.n_axes--;
        split_axes(&rows, &(Attr){.kind = ATTR_AXES}, &r);
    } else {
        split_axes(&n->type, &n->attr[n->op == OP_RANK ? 0 : 1], &r);
    }
    r.n = r.n_turns = loop_count(g, r.pool, r.n_pool);
    if (n->op == OP_SLOT && n->n_in == 2) {
        while (r.n_turn < r.n_pool && type_has(&g->node[n->in[1]].type, r.pool[r.n_pool - 1 - r.n_turn]))
            r.n_turn++;
        r.n_turns = loop_count(g, r.pool + r.n_pool - r.n_turn, r.n_turn);
    }
    if (n->op == OP_RANK || r.n_turn) {
        r.n_floats = r.n_turns;
        r.n_ints = 2 * r.n_turns;
    } else if (n->op == OP_ASSIGN) {
        int64_t experts = graph_size(g, n->attr[0].axis), places = experts ? (r.n + experts - 1) / experts * experts : 0;
        r.n_floats = 2 * (r.n * experts + places);          // doubles
        r.n_ints = 3 * places;
    }
    if (n->op == OP_SLOT)
        r.n_ints += graph_size(g, n->attr[0].axis);
    const int64_t items = r.n_rows = loop_count(g, r.item, r.n_items);
    if (r.n_floats)
        r.floats = lower_workspace(L, "keys", DTYPE_F32, items * r.n_floats);
    if (r.n_ints)
        r.ints = lower_workspace(L, "order", DTYPE_I32, items * r.n_ints);
    return r;
}

static int64_t blocks_of(int64_t size, int64_t block)
{
    return (size + block - 1) / block;
}

static const char *ix_text(Emitter *E, Ix ix, bool inside_product)
{
    Text t = text_make(E->arena);
    ix_print(E->ix, ix, inside_product, 0, NULL, &t);
    return text_str(&t);
}

static void store(Emitter *E, Scope *s, const Route *r, const Env *env, const char *value)
{
    scope_line(s, "%s[%s] = %s;", emit_param(E, r->v, true), ix_text(E, emit_offset(E, r->v, env), false), value);
}

// The work item's part of a workspace, as a pointer variable.
static const char *part(Emitter *E, Scope *s, uint32_t workspace, DType dtype, const char *hint, Ix item, int64_t count)
{
    const char *base = emit_workspace(E, workspace, dtype == DTYPE_F32 ? "keys" : "order", dtype, true);
    const char *name = scope_name(E, s, hint);
    scope_line(s, "%s *%s = %s + %s*%lldL;", dtype == DTYPE_F32 ? "float" : "int", name, base, ix_text(E, item, true),
               (long long)count);
    return name;
}

// Loops over some axes; their indices are set in env.
static Scope *loops(Emitter *E, Scope *at, Env *env, const AxisId *axis, size_t n, Scope **chain)
{
    for (size_t i = 0; i < n; i++) {
        Ix index;
        at = chain[i] = scope_loop(E, at, loop_hint(E, axis[i]), 0, graph_size(E->g, axis[i]), 1, &index);
        env_set(env, axis[i], index);
    }
    return at;
}

static void close_loops(Emitter *E, Scope **chain, size_t n)
{
    while (n)
        scope_close(E, chain[--n]);
}

Env route_env(Emitter *E, const Route *r)
{
    Env env = env_of(E, r->v);
    const Type *x = &E->g->node[E->g->node[r->v].in[0]].type;
    for (int i = 0; i < x->n_axes; i++)
        if (!env_get(&env, x->axis[i])) {
            env.axis[env.n] = x->axis[i];
            env.at[env.n++] = ix_const(E->ix, 0);
        }
    return env;
}

// NaN counts as inf: what is chosen because of it shows in its weight.
const char *route_score(Emitter *E, Scope *s, ValueId x, const Env *env)
{
    Val v = val_named(E, s, val_float(E, emit_value(E, s, x, env)), "score");
    return arena_printf(E->arena, "%s == %s ? %s : %s", v.text, v.text, v.text, val_const(E, HUGE_VAL, VAL_FLOAT).text);
}

// The best so far stay sorted: a better one is inserted, the last falls out.
static void topk_in_turn(Emitter *E, Scope *s, const Route *r, Env *env)
{
    const Node *n = &E->g->node[r->v];
    AxisId axis = n->attr[0].axis, to = n->attr[1].axis;
    long long k = (long long)graph_size(E->g, to);
    const char *best = scope_name(E, s, "best"), *which = scope_name(E, s, "which"), *have = scope_name(E, s, "have");
    scope_line(s, "float %s[%lld];", best, k);
    // volatile: gcc 12 (-O2, AVX-512) turns the copy of a long list into a call, and crashed in it for 12.
    scope_line(s, "%sint %s[%lld];", k > 8 ? "volatile " : "", which, k);
    scope_line(s, "int %s = 0;", have);
    Ix index;
    Scope *each = scope_loop(E, s, loop_hint(E, axis), 0, graph_size(E->g, axis), 1, &index);
    env_set(env, axis, index);
    const char *x = route_score(E, each, n->in[0], env), *at = scope_name(E, each, "at"), *value = scope_name(E, each, "x");
    scope_line(each, "const float %s = %s;", value, x);
    scope_line(each, "if (%s == %lld && !(%s > %s[%lld]))", have, k, value, best, k - 1);
    scope_line(each, "    continue;");
    scope_line(each, "int %s = %s < %lld ? %s++ : %lld;", at, have, k, have, k - 1);
    scope_line(each, "for (; %s > 0 && %s > %s[%s - 1]; %s--) {", at, value, best, at, at);
    scope_line(each, "    %s[%s] = %s[%s - 1];", best, at, best, at);
    scope_line(each, "    %s[%s] = %s[%s - 1];", which, at, which, at);
    scope_line(each, "}");
    scope_line(each, "%s[%s] = %s;", best, at, value);
    scope_line(each, "%s[%s] = %s;", which, at, ix_text(E, index, false));
    scope_close(E, each);
    Scope *out = scope_loop(E, s, loop_hint(E, to), 0, k, 1, &index);
    env_set(env, to, index);
    store(E, out, r, env, arena_printf(E->arena, "%s[%s]", which, ix_text(E, index, false)));
    scope_close(E, out);
}


// An array of the thread's own.
static const char *own_array(Emitter *E, const char *hint, const char *type, int64_t n)
{
    const char *name = emit_name(E, hint);
    scope_line(E->top, "%s *const %s = (%s *)scratch + %zu;", type, name, type, E->scratch_floats);
    E->scratch_floats += ((size_t)n + 31) / 16 * 16;
    return name;
}

enum { MOST_LISTS = 16, MOST_INSERTED = 128 };  // choices up to which vectors of lists are kept, or one list at a time

typedef struct KeyStep {
    Env        *env;
    ValueId     x;
    AxisId      axis;
    const char *keys;
    bool        ranked;                     // as whole numbers, whose bits they hold
} KeyStep;

static void key_step(Emitter *E, Scope *s, Ix at, void *user)
{
    const KeyStep *step = user;
    env_set(step->env, step->axis, at);
    const bool vector = s->lanes > 1;
    const Val x = val_named(E, s, val_float(E, emit_value(E, s, step->x, step->env)), "x");
    const char *place = arena_printf(E->arena, "%s + %s", step->keys, ix_text(E, at, false));
    const char *value = vector ? val_vector(E, x).text : x.text, *form = vector ? "v" : "s";
    if (step->ranked)
        scope_line(s, "*(%s *)(%s) = float_%s(ranked_%s(%s));", vector ? "vf" : "float", place, form, form, value);
    else
        scope_line(s, "*(%s *)(%s) = sel_%s(%s == %s, %s, set_%s(%s));", vector ? "vf" : "float", place, form, value, value, value,
                   form, val_const(E, HUGE_VAL, VAL_FLOAT).text);
}

static void write_keys(Emitter *E, Scope *s, const Route *r, Env *env, const char *keys, bool ranked)
{
    const Node *n = &E->g->node[r->v];
    const AxisId axis = n->attr[0].axis;
    LoopSpan span = {.hint = loop_hint(E, axis), .size = graph_size(E->g, axis)};
    KeyStep step = {.env = env, .x = n->in[0], .axis = axis, .keys = keys, .ranked = ranked};
    loop_lanes(E, s, &span, key_step, &step);
}

// Many choices of a row: all of it is sorted.
static void topk_by_sort(Emitter *E, Scope *s, const Route *r, Env *env)
{
    const Node *n = &E->g->node[r->v];
    const AxisId to = n->attr[1].axis;
    const long long size = (long long)graph_size(E->g, n->attr[0].axis);
    const char *keys = own_array(E, "keys", "float", size), *which = own_array(E, "which", "int", 2 * size);
    write_keys(E, s, r, env, keys, false);
    scope_line(s, "order_s(%s, %s, %s + %lldL, %lldL);", keys, which, which, size, size);
    Ix index;
    Scope *out = scope_loop(E, s, loop_hint(E, to), 0, graph_size(E->g, to), 1, &index);
    env_set(env, to, index);
    store(E, out, r, env, arena_printf(E->arena, "%s[%s]", which, ix_text(E, index, false)));
    scope_close(E, out);
}

RouteArrays route_arrays(Emitter *E, const Route *r)
{
    const int64_t size = graph_size(E->g, E->g->node[r->v].attr[0].axis), line = blocks_of(size, E->vl) * E->vl;
    return (RouteArrays){.keys = own_array(E, "keys", "float", line * E->vl), .turned = own_array(E, "turned", "float", line * E->vl)};
}

// The keys of the rows, turned so that each row is a lane, run past sorted lists.
void route_topk_lanes(Emitter *E, Scope *s, const Route *r, const RouteArrays *use, const char *first, const char *last)
{
    const Node *n = &E->g->node[r->v];
    const AxisId to = n->attr[1].axis;
    const int64_t size = graph_size(E->g, n->attr[0].axis), line = blocks_of(size, E->vl) * E->vl, k = graph_size(E->g, to);
    const char *best[MOST_LISTS], *at[MOST_LISTS], *keys = use->keys, *turned = use->turned;
    Env whole = route_env(E, r), *env = &whole;
    Ix row;
    Scope *each = scope_loop_text(E, s, "row", first, last, 1, 0, r->n_rows - 1, &row);
    loop_set(E, env, r->item, r->n_items, row);
    write_keys(E, each, r, env, arena_printf(E->arena, "%s + (%s - %s)*%lld", keys, each->name, first, (long long)line), true);
    scope_close(E, each);
    scope_line(s, "%s(%s, %d, %s, %lld, %s - %s, %lld);", turn_name(E->arena, tile_for(E->target)), turned, E->vl,
               keys, (long long)line, last, first, (long long)size);
    for (int64_t c = 0; c < k; c++) {
        best[c] = emit_name(E, "best");
        at[c] = emit_name(E, "at");
        scope_line(s, "vi %s = (vi){0} + (-2147483647 - 1), %s = {0};", best[c], at[c]);
    }
    scope_line(s, "for (int e = 0; e < %lld; e++) {", (long long)size);
    scope_line(s, "    const vi x = loadi_v(%s + e*%d);", turned, E->vl);
    scope_line(s, "    vi down = x, i = (vi){0} + e;");
    for (int64_t c = 0; c < k; c++)
        scope_line(s, "    topk_step_v(%s, %s);", best[c], at[c]);
    scope_line(s, "}");
    each = scope_loop_text(E, s, "row", first, last, 1, 0, r->n_rows - 1, &row);
    loop_set(E, env, r->item, r->n_items, row);
    for (int64_t c = 0; c < k; c++) {
        env_set(env, to, ix_const(E->ix, c));
        store(E, each, r, env, arena_printf(E->arena, "%s[%s - %s]", at[c], each->name, first));
    }
    scope_close(E, each);
}

// --- topk in CUDA

enum { MOST_OF_LANE = 32, MOST_BY_WARP = 32, MOST_SHARED = 12288, SORT_THREADS = 1024 };

bool route_by_warp(const Graph *g, const Route *r)
{
    return graph_size(g, g->node[r->v].attr[0].axis) <= 32 * MOST_OF_LANE && graph_size(g, g->node[r->v].attr[1].axis) <= MOST_BY_WARP;
}

// What is larger than the last choice has been chosen: for rows that no registers hold. They are read once for each choice.
static void topk_again(Emitter *E, Scope *s, const Route *r, Env *env)
{
    const Node *n = &E->g->node[r->v];
    const AxisId axis = n->attr[0].axis, to = n->attr[1].axis;
    const long long size = (long long)graph_size(E->g, axis), k = (long long)graph_size(E->g, to);
    const char *last = scope_name(E, s, "last"), *at = scope_name(E, s, "at"), *e = scope_name(E, s, "e");
    scope_line(s, "float %s = %s;", last, val_const(E, HUGE_VAL, VAL_FLOAT).text);
    scope_line(s, "int %s = -1;", at);
    Ix choice;
    Scope *out = scope_loop(E, s, loop_hint(E, to), 0, k, 1, &choice);
    const char *best = scope_name(E, out, "best"), *here = scope_name(E, out, "here");
    scope_line(out, "float %s = %s;", best, val_const(E, -HUGE_VAL, VAL_FLOAT).text);
    scope_line(out, "int %s = 0x7fffffff;", here);
    Scope *own = scope_set_threads(scope_block(E, out, arena_printf(E->arena, "for (int %s = threadIdx.x %% 32; %s < %lld; %s += 32) {", e, e, size, e)));
    env_set(env, axis, scope_var(E, own, e, 0, size - 1, 1));
    const char *x = scope_name(E, own, "x");
    scope_line(own, "const float %s = %s;", x, route_score(E, own, n->in[0], env));
    scope_line(own, "if ((%s < %s || (%s == %s && %s > %s)) && (%s > %s || %s == 0x7fffffff))", x, last, x, last, e, at, x, best, here);
    scope_line(own, "    %s = %s, %s = %s;", best, x, here, e);
    scope_close(E, own);
    scope_line(out, "%s = warp_first_s(%s, %s);", at, best, here);
    scope_line(out, "%s = %s;", last, best);
    env_set(env, to, choice);
    Scope *one = scope_set_threads(scope_block(E, out, "if (threadIdx.x % 32 == 0) {"));
    store(E, one, r, env, at);
    scope_close(E, one);
    scope_close(E, out);
    scope_line(s, "__syncwarp();");
}

// The warp's lanes have a share of the row each; the best are taken one after the other.
void route_topk_warp(Emitter *E, Scope *s, const Route *r, Env *env)
{
    const Node *n = &E->g->node[r->v];
    const AxisId axis = n->attr[0].axis, to = n->attr[1].axis;
    const long long size = (long long)graph_size(E->g, axis), k = (long long)graph_size(E->g, to);
    if (!k)
        return;
    if (size > 32 * MOST_OF_LANE) {
        topk_again(E, s, r, env);
        return;
    }
    const char *x = scope_name(E, s, "x"), *taken = scope_name(E, s, "taken"), *q = scope_name(E, s, "q"), *e = scope_name(E, s, "e");
    scope_line(s, "float %s[%lld];", x, (size + 31) / 32);
    scope_line(s, "unsigned %s = 0;", taken);
    Scope *own = scope_set_threads(scope_block(E, s, arena_printf(E->arena, "_Pragma(\"unroll\") for (int %s = 0; %s < %lld; %s++) {", q, q,
                                                                  (size + 31) / 32, q)));
    scope_line(own, "const int %s = threadIdx.x %% 32 + 32*%s;", e, q);
    scope_line(own, "%s[%s] = 0.0f;", x, q);
    Scope *some = scope_set_threads(scope_block(E, own, arena_printf(E->arena, "if (%s < %lld) {", e, size)));
    env_set(env, axis, scope_var(E, some, e, 0, size - 1, 1));
    scope_line(some, "%s[%s] = %s;", x, q, route_score(E, some, n->in[0], env));
    scope_close(E, some);
    scope_close(E, own);
    Ix choice;
    Scope *out = scope_loop(E, s, loop_hint(E, to), 0, k, 1, &choice);
    const char *best = scope_name(E, out, "best");
    scope_line(out, "const int %s = warp_best_s(%s, %s, %lld);", best, x, taken, size);
    env_set(env, to, choice);
    Scope *one = scope_set_threads(scope_block(E, out, "if (threadIdx.x % 32 == 0) {"));
    store(E, one, r, env, best);
    scope_close(E, one);
    scope_close(E, out);
    scope_line(s, "__syncwarp();");
}

// Many choices, or of many: the block sorts the row. `keys`: a workspace for rows that shared memory has no room for; 0: it has.
static void topk_block_sort(Emitter *E, Scope *s, const Route *r, Env *env, uint32_t keys, Ix item)
{
    const Node *n = &E->g->node[r->v];
    const AxisId axis = n->attr[0].axis, to = n->attr[1].axis;
    const long long size = (long long)graph_size(E->g, axis);
    const char *key = scope_name(E, s, "key"), *who = scope_name(E, s, "who");
    if (keys)
        scope_line(s, "float *const %s = %s + %s*%lldL;", key, emit_workspace(E, keys, "keys", DTYPE_F32, true), ix_text(E, item, true), 2 * size);
    else
        scope_line(s, "float *const %s = dynamic;", key);
    scope_line(s, "int *const %s = (int *)(%s + %lld);", who, key, size);
    Scope *each = scope_set_threads(scope_block(E, s, arena_printf(E->arena, "for (long i = threadIdx.x; i < %lld; i += blockDim.x) {", size)));
    env_set(env, axis, scope_var(E, each, "i", 0, size ? size - 1 : 0, 1));
    scope_line(each, "%s[i] = %s;", key, route_score(E, each, n->in[0], env));
    scope_line(each, "%s[i] = (int)i;", who);
    scope_close(E, each);
    scope_line(s, "__syncthreads();");
    scope_line(s, "sort_block_s(%s, %s, %lldL);", key, who, size);
    const long long k = (long long)graph_size(E->g, to);
    Scope *out = scope_set_threads(scope_block(E, s, arena_printf(E->arena, "for (long i = threadIdx.x; i < %lld; i += blockDim.x) {", k)));
    env_set(env, to, scope_var(E, out, "i", 0, k ? k - 1 : 0, 1));
    store(E, out, r, env, arena_printf(E->arena, "%s[i]", who));
    scope_close(E, out);
}

bool route_by_lanes(const Emitter *E, const Route *r)
{
    return E->dialect == DIALECT_C && E->g->node[r->v].op == OP_TOPK && graph_size(E->g, E->g->node[r->v].attr[1].axis) <= MOST_LISTS;
}

void route_topk(Emitter *E, Scope *s, const Route *r, Env *env)
{
    const int64_t k = graph_size(E->g, E->g->node[r->v].attr[1].axis);
    if (k > MOST_INSERTED)
        topk_by_sort(E, s, r, env);
    else if (k)
        topk_in_turn(E, s, r, env);
}

// The items of a topk, LANES at a time.
static void topk_lanes_body(Emitter *E, const Route *r)
{
    Ix item;
    Scope *items = loop_items(E, "item", blocks_of(r->n_rows, E->vl), &item);
    LoopSpan span = {.size = r->n_rows};
    const RouteArrays use = route_arrays(E, r);
    loop_block(E, items, item, E->vl, r->n_rows, &span);
    route_topk_lanes(E, items, r, &use, span.first, span.last);
    loop_items_end(E, items);
}

// Writes the keys of the elements that take turns (the last n_axes axes of the pool) and sorts; returns the order's name.
static const char *sorted(Emitter *E, Scope *s, const Route *r, Env *env, size_t n_axes, ValueId key, bool ascending,
                          const char *keys, const char *who)
{
    Scope *chain[MAX_AXES];
    const AxisId *axis = r->pool + r->n_pool - n_axes;
    const char *at = scope_name(E, s, "n_keys");
    scope_line(s, "long %s = 0;", at);
    Scope *inner = loops(E, s, env, axis, n_axes, chain);
    if (ascending)
        scope_line(inner, "%s[%s++] = -%s;", keys, at, val_text(E, val_float(E, emit_value(E, inner, key, env)), PREC_UNARY));
    else
        scope_line(inner, "%s[%s++] = %s;", keys, at, route_score(E, inner, key, env));
    close_loops(E, chain, n_axes);
    scope_line(s, "order_s(%s, %s, %s + %lldL, %lldL);", keys, who, who, (long long)r->n_turns, (long long)r->n_turns);
    return who;
}

static void rank_body(Emitter *E, Scope *s, const Route *r, Env *env, Ix item)
{
    const char *keys = part(E, s, r->floats, DTYPE_F32, "key", item, r->n_floats);
    const char *who = part(E, s, r->ints, DTYPE_I32, "who", item, r->n_ints);
    sorted(E, s, r, env, r->n_pool, E->g->node[r->v].in[0], false, keys, who);
    Ix turn;
    Scope *each = scope_loop(E, s, "turn", 0, r->n, 1, &turn);
    const char *at = scope_name(E, each, "at");
    scope_line(each, "const long %s = %s[%s];", at, who, ix_text(E, turn, false));
    loop_set(E, env, r->pool, r->n_pool, scope_var(E, each, at, 0, r->n ? r->n - 1 : 0, 1));
    store(E, each, r, env, arena_printf(E->arena, "(int)%s", ix_text(E, turn, true)));
    scope_close(E, each);
}

static void slot_body(Emitter *E, Scope *s, const Route *r, Env *env, Ix item)
{
    const Node *n = &E->g->node[r->v];
    int64_t size = graph_size(E->g, n->attr[0].axis);
    const char *ints = part(E, s, r->ints, DTYPE_I32, "who", item, r->n_ints), *count = scope_name(E, s, "count");
    const char *keys = r->n_turn ? part(E, s, r->floats, DTYPE_F32, "key", item, r->n_floats) : NULL;
    scope_line(s, "int *%s = %s + %lldL;", count, ints, r->n_turn ? 2LL * (long long)r->n_turns : 0LL);
    scope_line(s, "for (long i = 0; i < %lldL; i++)", (long long)size);
    scope_line(s, "    %s[i] = 0;", count);
    Scope *chain[MAX_AXES], *each = loops(E, s, env, r->pool, r->n_pool - r->n_turn, chain), *turns = NULL;
    if (r->n_turn) {
        sorted(E, each, r, env, r->n_turn, n->in[1], true, keys, ints);
        Ix turn;
        turns = scope_loop(E, each, "turn", 0, r->n_turns, 1, &turn);
        const char *at = scope_name(E, turns, "at");
        scope_line(turns, "const long %s = %s[%s];", at, ints, ix_text(E, turn, false));
        loop_set(E, env, r->pool + r->n_pool - r->n_turn, r->n_turn, scope_var(E, turns, at, 0, r->n_turns ? r->n_turns - 1 : 0, 1));
    }
    Scope *inner = turns ? turns : each;
    Val id = emit_value(E, inner, n->in[0], env);
    const char *name = scope_name(E, inner, "id");
    scope_line(inner, "const int %s = %s;", name, id.text);
    store(E, inner, r, env, arena_printf(E->arena, "%s >= 0 && %s < %lld ? %s[%s]++ : 0", name, name, (long long)size, count, name));
    if (turns)
        scope_close(E, turns);
    close_loops(E, chain, r->n_pool - r->n_turn);
}

static void assign_body(Emitter *E, Scope *s, const Route *r, Env *env, Ix item)
{
    const Node *n = &E->g->node[r->v];
    AxisId expert = n->attr[0].axis;
    int64_t experts = graph_size(E->g, expert), places = experts ? (r->n + experts - 1) / experts * experts : 0;
    if (!places)
        return;
    const char *ints = part(E, s, r->ints, DTYPE_I32, "who", item, r->n_ints), *score_name = scope_name(E, s, "scores");
    const char *floats = part(E, s, r->floats, DTYPE_F32, "room", item, r->n_floats), *at = scope_name(E, s, "n_scores");
    scope_line(s, "double *%s = (double *)%s;", score_name, floats);
    scope_line(s, "long %s = 0;", at);
    Scope *chain[MAX_AXES], *inner = loops(E, s, env, r->pool, r->n_pool, chain);
    Ix index;
    Scope *each = scope_loop(E, inner, loop_hint(E, expert), 0, experts, 1, &index);
    env_set(env, expert, index);
    scope_line(each, "%s[%s++] = %s;", score_name, at, val_float(E, emit_value(E, each, n->in[0], env)).text);
    scope_close(E, each);
    close_loops(E, chain, r->n_pool);
    scope_line(s, "auction_s(%s, %lldL, %lldL, %s, %s + %lldL, %s + %lldL, %s + %lldL);", score_name, (long long)r->n,
               (long long)experts, ints, score_name, (long long)(r->n * experts), ints, (long long)places, ints, 2LL * (long long)places);
    scope_line(s, "%s = 0;", at);
    inner = loops(E, s, env, r->pool, r->n_pool, chain);
    store(E, inner, r, env, arena_printf(E->arena, "%s[%s++]", ints, at));
    close_loops(E, chain, r->n_pool);
}

void route_one_pool(Emitter *E, Scope *s, const Route *r, Env *env, Ix item)
{
    switch (E->g->node[r->v].op) {
    case OP_RANK: rank_body(E, s, r, env, item); break;
    case OP_SLOT: slot_body(E, s, r, env, item); break;
    default: assign_body(E, s, r, env, item); break;
    }
}

static void topk_body(Emitter *E, const Route *r)
{
    if (route_by_lanes(E, r)) {
        topk_lanes_body(E, r);
        return;
    }
    Ix item;
    Scope *items = loop_items(E, "item", r->n_rows, &item);
    Env env = route_env(E, r);
    loop_set(E, &env, r->item, r->n_items, item);
    route_topk(E, items, r, &env);
    loop_items_end(E, items);
}

static void topk_cuda(Lower *L, const Route *r, LowerText *t)
{
    Emitter *E = t->cuda = lower_emitter(L, DIALECT_CUDA, t->c);
    const int64_t size = graph_size(L->g, L->g->node[r->v].attr[0].axis);
    const bool by_warp = E->by_warp = route_by_warp(L->g, r);
    const uint32_t keys = by_warp || size <= MOST_SHARED ? 0 : lower_workspace(L, "keys", DTYPE_F32, 2 * size * r->n_rows);
    Ix item;
    Scope *items = loop_items(E, "item", r->n_rows, &item);
    Env env = route_env(E, r);
    loop_set(E, &env, r->item, r->n_items, item);
    if (by_warp)
        route_topk_warp(E, items, r, &env);
    else
        topk_block_sort(E, items, r, &env, keys, item);
    loop_items_end(E, items);
    product_share_params(t->c, E);
    for (t->cuda_threads = 32; !by_warp && t->cuda_threads < SORT_THREADS && t->cuda_threads < size / 4;)
        t->cuda_threads *= 2;
    t->cuda_dynamic_bytes = by_warp || keys ? 0 : 8 * size;
}

// A topk whose scores another kernel has made.
static void lower_topk(Lower *L, ValueId v)
{
    const Route r = route_describe(L, v);
    const Node *n = &L->g->node[v];
    size_t bytes = 0;
    Text comment = text_make(L->arena);
    lower_describe(L->g, v, &comment);
    text_printf(&comment, " = %s of ", op_row[n->op].text);
    lower_describe(L->g, n->in[0], &comment);
    LowerText t = {.hint = n->hint ? n->hint : op_row[n->op].text, .comment = text_str(&comment), .n_work = r.n_rows, .grain = 64,
                   .cuda_blocks = r.n_rows, .cuda_threads = 32};
    t.c = lower_emitter(L, DIALECT_C, NULL);
    topk_body(t.c, &r);
    t.uses_scratch = t.c->scratch_floats > 0;
    t.scratch_bytes = 4 * t.c->scratch_floats;
    topk_cuda(L, &r, &t);
    if (type_bytes(L->g, &L->g->node[n->in[0]].type, &bytes))
        t.flops = t.bytes = (double)bytes;
    if (route_by_lanes(t.c, &r)) {
        t.n_work = blocks_of(r.n_rows, t.c->vl);
        t.grain = 4;
    }
    lower_launch(L, &t);
}

bool lower_route(Lower *L)
{
    for (size_t m = 0; m < L->n_members; m++)
        if (L->g->node[L->member[m]].op == OP_CONTRACT)
            return lower_route_tokens(L);
    if (L->n_members > 1 || L->g->node[L->member[0]].op != OP_TOPK)
        return lower_route_places(L);
    lower_topk(L, L->member[0]);
    return true;
}
