// See count_cuda.h.
#include "count_cuda.h"

#include "emit_parts.h"
#include "lower_product.h"

#define N(x) ((long long)(x))

enum { THREADS = 1024, MOST_COUNTS = 16384, LEAST_WARPS = 2, MOST_SORTED = 8192 };

static int64_t blocks_of(int64_t size, int64_t block)
{
    return (size + block - 1) / block;
}

int64_t count_cuda_warps(int64_t n_rows, int64_t n_groups)
{
    int64_t warps = THREADS / 32;
    while (warps > 1 && (warps * n_groups > MOST_COUNTS || warps * 32 > 2 * n_rows))
        warps /= 2;
    return warps * n_groups > MOST_COUNTS ? 0 : warps < LEAST_WARPS ? LEAST_WARPS : warps;
}

int64_t count_cuda_bytes(int64_t warps, int64_t n_groups)
{
    return 4 * (warps * n_groups + warps * 32);
}

// --- stretches of rows

typedef struct Count {                      // names in the text
    Emitter    *E;
    int64_t     warps, n_rows;
    const char *count, *scan;               // ints: of each group and warp, of each thread
    const char *warp, *lane, *first, *last; // the warp's stretch
} Count;

static Count declare_count(Emitter *E, Scope *at, int64_t warps, int64_t n_rows, int64_t n_groups)
{
    const int64_t each = blocks_of(blocks_of(n_rows, warps), 32) * 32;
    Count c = {.E = E, .warps = warps, .n_rows = n_rows, .count = emit_name(E, "count"), .scan = emit_name(E, "scan"), .warp = emit_name(E, "warp"),
               .lane = emit_name(E, "lane"), .first = emit_name(E, "first"), .last = emit_name(E, "last")};
    scope_line(at, "int *const %s = (int *)dynamic, *const %s = %s + %lld;", c.count, c.scan, c.count, N(warps * n_groups));
    scope_line(at, "const int %s = threadIdx.x / 32, %s = threadIdx.x %% 32;", c.warp, c.lane);
    scope_line(at, "const long %s = %s*%lldL, %s = %s + %lld < %lld ? %s + %lld : %lld;", c.first, c.warp, N(each), c.last, c.first, N(each), N(n_rows),
               c.first, N(each), N(n_rows));
    scope_line(at, "for (int i = threadIdx.x; i < %lld; i += %lld)", N(warps * n_groups), N(warps * 32));
    scope_line(at, "    %s[i] = 0;", c.count);
    scope_line(at, "__syncthreads();");
    return c;
}

typedef const char *GroupOf(Emitter *E, Scope *at, Ix row, void *user);     // declares the row's group, an int or a long, -1: none

typedef struct Stretch {                    // a loop over the warp's rows; names in the text
    Scope      *scope;
    const char *row, *group;                // the lane's, what it chose; -1 behind the end
    const char *before, *same;              // lanes whose rows chose the same: how many of them come before, which
} Stretch;

static Stretch open_stretch(const Count *c, Scope *at, GroupOf *group_of, void *user)
{
    Emitter *E = c->E;
    Stretch s = {.row = emit_name(E, "r"), .group = emit_name(E, "group"), .before = emit_name(E, "before"), .same = emit_name(E, "same")};
    const char *r0 = emit_name(E, "r0");
    Scope *rows = s.scope = scope_set_threads(scope_block(E, at, arena_printf(E->arena, "for (long %s = %s; %s < %s; %s += 32) {", r0, c->first, r0,
                                                                              c->last, r0)));
    scope_line(rows, "const long %s = %s + %s;", s.row, r0, c->lane);
    scope_line(rows, "int %s = -1;", s.group);
    Scope *inside = scope_set_threads(scope_block(E, rows, arena_printf(E->arena, "if (%s < %s) {", s.row, c->last)));
    const char *chosen = group_of(E, inside, scope_var(E, inside, s.row, 0, product_top_index(c->n_rows), 1), user);
    scope_line(inside, "%s = (int)%s;", s.group, chosen);
    scope_close(E, inside);
    scope_line(rows, "const unsigned %s = __match_any_sync(0xffffffffu, %s);", s.same, s.group);
    scope_line(rows, "const int %s = __popc(%s & ((1u << %s) - 1));", s.before, s.same, c->lane);
    return s;
}

// count[at] += the rows of the lane's group among the 32, by the first of them.
static void add_rows(const Stretch *s, const char *count, const char *at)
{
    scope_line(s->scope, "if (%s >= 0 && %s == 0)", s->group, s->before);
    scope_line(s->scope, "    %s[%s] += __popc(%s);", count, at, s->same);
    scope_line(s->scope, "__syncwarp();");
}

// --- the order of rows

typedef struct Order {
    const RowOrder *o;
    const char     *ints;
} Order;

static const char *group_of_order(Emitter *E, Scope *at, Ix row, void *user)
{
    return order_declare_group(E, ((Order *)user)->o, at, row);
}

// Lists of blocks: each thread those of a group.
static void emit_blocks(const Count *c, const Order *order, Scope *at)
{
    Emitter *E = c->E;
    const RowOrder *o = order->o;
    const char *ints = order->ints;
    const char *n = emit_name(E, "n"), *g0 = emit_name(E, "g0"), *g = emit_name(E, "g"), *from = emit_name(E, "from"), *to = emit_name(E, "to");
    const char *b = emit_name(E, "b"), *blocks = emit_name(E, "blocks");
    const long long block = N(o->cuda_block), groups = N(o->of->n_groups + 1);
    scope_line(at, "int %s = 0;", n);
    Scope *some = scope_block(E, at, arena_printf(E->arena, "for (int %s = 0; %s < %lld; %s += %lld) {", g0, g0, groups, g0, N(c->warps * 32)));
    scope_line(some, "const int %s = %s + (int)threadIdx.x;", g, g0);
    scope_line(some, "const int %s = %s < %lld ? %s[%lld + %s] : 0, %s = %s < %lld ? %s[%lld + %s + 1] : 0;", from, g, groups, ints, N(o->start),
               g, to, g, groups, ints, N(o->start), g);
    scope_line(some, "const int %s = (%s - %s + %lld) / %lld;", blocks, to, from, block - 1, block);
    scope_line(some, "int %s = %s + block_scan_s(%s, %s);", b, n, blocks, c->scan);
    scope_line(some, "for (int first = %s; first < %s; first += %lld) {", from, to, block);
    scope_line(some, "    %s[%lld + %s] = %s;", ints, N(o->block_group), b, g);
    scope_line(some, "    %s[%lld + %s] = first;", ints, N(o->block_first), b);
    scope_line(some, "    %s[%lld + %s++] = first + %lld < %s ? first + %lld : %s;", ints, N(o->block_end), b, block, to, block, to);
    scope_line(some, "}");
    scope_line(some, "%s += %s[blockDim.x - 1];", n, c->scan);
    scope_line(some, "__syncthreads();");
    scope_close(E, some);
    scope_line(at, "if (threadIdx.x == 0)");
    scope_line(at, "    %s[%lld] = %s;", ints, N(o->n_blocks), n);
}

// count[group][warp] -> where the warp's first row of the group goes; where each group begins.
static void emit_places(const Count *c, const Order *order, Scope *at)
{
    Emitter *E = c->E;
    const RowOrder *o = order->o;
    const int64_t n = c->warps * (o->of->n_groups + 1), each = blocks_of(n, c->warps * 32);
    const char *i = emit_name(E, "i"), *own = emit_name(E, "own"), *place = emit_name(E, "place"), *here = emit_name(E, "here");
    const char *from = emit_name(E, "from");
    scope_line(at, "const int %s = (int)threadIdx.x*%lld;", from, N(each));
    scope_line(at, "int %s = 0;", own);
    scope_line(at, "for (int %s = %s; %s < %s + %lld && %s < %lld; %s++)", i, from, i, from, N(each), i, N(n), i);
    scope_line(at, "    %s += %s[%s];", own, c->count, i);
    scope_line(at, "int %s = block_scan_s(%s, %s);", place, own, c->scan);
    Scope *loop = scope_block(E, at, arena_printf(E->arena, "for (int %s = %s; %s < %s + %lld && %s < %lld; %s++) {", i, from, i, from, N(each), i, N(n), i));
    scope_line(loop, "const int %s = %s[%s];", here, c->count, i);
    scope_line(loop, "%s[%s] = %s;", c->count, i, place);
    scope_line(loop, "if (%s %% %lld == 0)", i, N(c->warps));
    scope_line(loop, "    %s[%lld + %s / %lld] = %s;", order->ints, N(o->start), i, N(c->warps), place);
    scope_line(loop, "%s += %s;", place, here);
    scope_close(E, loop);
    scope_line(at, "if (threadIdx.x == 0)");
    scope_line(at, "    %s[%lld] = %lld;", order->ints, N(o->start + o->of->n_groups + 1), N(o->of->n_rows));
    scope_line(at, "__syncthreads();");
}

void count_cuda_order(Emitter *E, Scope *at, const RowOrder *o, const char *ints, int64_t warps)
{
    Order order = {o, ints};
    const Count c = declare_count(E, at, warps, o->of->n_rows, o->of->n_groups + 1);
    Stretch s = open_stretch(&c, at, group_of_order, &order);
    add_rows(&s, c.count, arena_printf(E->arena, "%s*%lld + %s", s.group, N(warps), c.warp));
    scope_close(E, s.scope);
    scope_line(at, "__syncthreads();");
    emit_places(&c, &order, at);
    s = open_stretch(&c, at, group_of_order, &order);
    const char *place = arena_printf(E->arena, "%s*%lld + %s", s.group, N(warps), c.warp);
    scope_line(s.scope, "if (%s >= 0)", s.group);
    scope_line(s.scope, "    %s[%s[%s] + %s] = (int)%s;", ints, c.count, place, s.before, s.row);
    scope_line(s.scope, "__syncwarp();");
    add_rows(&s, c.count, place);
    scope_close(E, s.scope);
    emit_blocks(&c, &order, at);
}

// --- slots and ranks

static bool is_slot(const Graph *g, const Route *r)
{
    return g->node[r->v].op == OP_SLOT;
}

static int64_t slot_groups(const Graph *g, const Route *r)
{
    return is_slot(g, r) ? graph_size(g, g->node[r->v].attr[0].axis) : 0;
}

static int64_t sorted_elements(const Graph *g, const Route *r)
{
    return is_slot(g, r) && !r->n_turn ? 0 : r->n_turns;
}

// Keys of turns must be those of the axes that take turns: then they are sorted once.
bool count_cuda_can(const Graph *g, const Route *r)
{
    const Node *n = &g->node[r->v];
    if (n->op != OP_RANK && n->op != OP_SLOT)
        return false;
    for (size_t i = 0; r->n_turn && i + r->n_turn < r->n_pool; i++)
        if (type_has(&g->node[n->in[1]].type, r->pool[i]))
            return false;
    return r->n > 0 && count_cuda_pool_warps(g, r) > 0;
}

int64_t count_cuda_pool_warps(const Graph *g, const Route *r)
{
    return count_cuda_warps(r->n, is_slot(g, r) ? slot_groups(g, r) : 1);
}

int64_t count_cuda_pool_bytes(const Graph *g, const Route *r, int64_t warps)
{
    const int64_t sorted = sorted_elements(g, r);
    return count_cuda_bytes(warps, slot_groups(g, r)) + (sorted <= MOST_SORTED ? 8 * sorted : 0);
}

typedef struct Pool {
    const Route *r;
    Env          env;                       // the pool's indices
    const char  *who;                       // the order of what takes turns; NULL: none does
} Pool;

// The indices of the element that comes `turn`-th in its pool.
static void set_turn(Emitter *E, Scope *at, Pool *p, Ix turn)
{
    const Route *r = p->r;
    if (!p->who) {
        loop_set(E, &p->env, r->pool, r->n_pool, turn);
        return;
    }
    const char *w = emit_name(E, "at");
    Text t = text_make(E->arena);
    ix_print(E->ix, ix_mod(E->ix, turn, r->n_turns), false, 0, NULL, &t);
    scope_line(at, "const long %s = %s[%s];", w, p->who, text_str(&t));
    loop_set(E, &p->env, r->pool + r->n_pool - r->n_turn, r->n_turn, scope_var(E, at, w, 0, product_top_index(r->n_turns), 1));
    loop_set(E, &p->env, r->pool, r->n_pool - r->n_turn, ix_div(E->ix, turn, r->n_turns));
}

static const char *group_of_slot(Emitter *E, Scope *at, Ix row, void *user)
{
    Pool *p = user;
    const char *id = emit_name(E, "id");
    set_turn(E, at, p, row);
    const Val v = emit_value(E, at, E->g->node[p->r->v].in[0], &p->env);
    scope_line(at, "const int %s = %s;", id, v.text);
    return arena_printf(E->arena, "(%s >= 0 && %s < %lld ? %s : -1)", id, id, N(slot_groups(E->g, p->r)), id);
}

static void emit_slots(Emitter *E, Scope *at, Pool *p, int64_t warps)
{
    const Route *r = p->r;
    const long long groups = N(slot_groups(E->g, r));
    const char *sum = emit_name(E, "sum"), *i = emit_name(E, "i"), *here = emit_name(E, "here");
    const Count c = declare_count(E, at, warps, r->n, slot_groups(E->g, r));
    Stretch s = open_stretch(&c, at, group_of_slot, p);
    add_rows(&s, c.count, arena_printf(E->arena, "%s*%lld + %s", c.warp, groups, s.group));
    scope_close(E, s.scope);
    scope_line(at, "__syncthreads();");
    Scope *group = scope_block(E, at, arena_printf(E->arena, "for (int g = threadIdx.x; g < %lld; g += %lld) {", groups, N(warps * 32)));
    scope_line(group, "int %s = 0;", sum);
    Scope *each = scope_block(E, group, arena_printf(E->arena, "for (int %s = g; %s < %lld; %s += %lld) {", i, i, groups * N(warps), i, groups));
    scope_line(each, "const int %s = %s[%s];", here, c.count, i);
    scope_line(each, "%s[%s] = %s;", c.count, i, sum);
    scope_line(each, "%s += %s;", sum, here);
    scope_close(E, each);
    scope_close(E, group);
    scope_line(at, "__syncthreads();");
    s = open_stretch(&c, at, group_of_slot, p);
    const char *place = arena_printf(E->arena, "%s*%lld + %s", c.warp, groups, s.group), *slot = emit_name(E, "slot");
    scope_line(s.scope, "const int %s = %s >= 0 ? %s[%s] + %s : 0;", slot, s.group, c.count, place, s.before);
    Scope *inside = scope_set_threads(scope_block(E, s.scope, arena_printf(E->arena, "if (%s < %s) {", s.row, c.last)));
    set_turn(E, inside, p, scope_var(E, inside, s.row, 0, product_top_index(r->n), 1));
    emit_store(E, inside, r->v, &p->env, val_name(slot, VAL_INT, false));
    scope_close(E, inside);
    scope_line(s.scope, "__syncwarp();");
    add_rows(&s, c.count, place);
    scope_close(E, s.scope);
}

// Sorts what takes turns by its keys, descending (ascending: of a slot), equal ones in order. Sets p->who.
static void emit_sort(Emitter *E, Scope *at, Pool *p, int64_t warps, Ix item)
{
    const Route *r = p->r;
    const Node *n = &E->g->node[r->v];
    const bool ascending = n->op == OP_SLOT;
    const char *key = emit_name(E, "key"), *who = emit_name(E, "who");
    if (r->n_turns <= MOST_SORTED) {
        scope_line(at, "float *const %s = dynamic + %lld;", key, N(count_cuda_bytes(warps, slot_groups(E->g, r)) / 4));
        scope_line(at, "int *const %s = (int *)(%s + %lld);", who, key, N(r->n_turns));
    } else {
        Text t = text_make(E->arena);
        ix_print(E->ix, item, true, 0, NULL, &t);
        scope_line(at, "float *const %s = %s + %s*%lldL;", key, emit_workspace(E, r->floats, "keys", DTYPE_F32, true), text_str(&t), N(r->n_floats));
        scope_line(at, "int *const %s = %s + %s*%lldL;", who, emit_workspace(E, r->ints, "order", DTYPE_I32, true), text_str(&t), N(r->n_ints));
    }
    const char *i = emit_name(E, "i");
    Scope *each = scope_set_threads(scope_block(E, at, arena_printf(E->arena, "for (long %s = threadIdx.x; %s < %lld; %s += %lld) {", i, i, N(r->n_turns),
                                                                    i, N(warps * 32))));
    const size_t n_axes = ascending ? r->n_turn : r->n_pool;
    Env env = p->env;
    loop_set(E, &env, r->pool + r->n_pool - n_axes, n_axes, scope_var(E, each, i, 0, product_top_index(r->n_turns), 1));
    if (ascending)
        scope_line(each, "%s[%s] = -%s;", key, i, val_text(E, val_float(E, emit_value(E, each, n->in[1], &env)), PREC_UNARY));
    else
        scope_line(each, "%s[%s] = %s;", key, i, route_score(E, each, n->in[0], &env));
    scope_line(each, "%s[%s] = (int)%s;", who, i, i);
    scope_close(E, each);
    scope_line(at, "__syncthreads();");
    scope_line(at, "sort_block_s(%s, %s, %lldL);", key, who, N(r->n_turns));
    p->who = who;
}

// rank[who[i]] = i.
static void emit_ranks(Emitter *E, Scope *at, Pool *p, int64_t warps)
{
    const Route *r = p->r;
    const char *i = emit_name(E, "i"), *w = emit_name(E, "at");
    Scope *each = scope_set_threads(scope_block(E, at, arena_printf(E->arena, "for (long %s = threadIdx.x; %s < %lld; %s += %lld) {", i, i, N(r->n), i,
                                                                    N(warps * 32))));
    scope_line(each, "const long %s = %s[%s];", w, p->who, i);
    loop_set(E, &p->env, r->pool, r->n_pool, scope_var(E, each, w, 0, product_top_index(r->n), 1));
    emit_store(E, each, r->v, &p->env, val_name(arena_printf(E->arena, "(int)%s", i), VAL_INT, false));
    scope_close(E, each);
}

void count_cuda_pool(Emitter *E, Scope *at, const Route *r, const Env *env, int64_t warps, Ix item)
{
    Pool p = {.r = r, .env = *env};
    Scope *pool = scope_block(E, at, "{");
    if (sorted_elements(E->g, r) > 0)
        emit_sort(E, pool, &p, warps, item);
    if (is_slot(E->g, r))
        emit_slots(E, pool, &p, warps);
    else
        emit_ranks(E, pool, &p, warps);
    scope_close(E, pool);
}
