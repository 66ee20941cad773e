// ROUTE kernels that give choices their places (passes/fuse_route.c): slots, ranks and assignments of one kind of pools, then what
// follows from them for each choice, then the order of the rows by what is kept, if grouped products will ask for it.
//
// A work item is a pool, run through by one thread. With an order, which is one of all rows, or with one pool, there is a single
// work item: counting in order is cheap next to what the rows are for, and makes the bits the same for any number of threads. In CUDA
// a work item is a block of threads, which counts and sorts together (count_cuda.h); an assignment is one thread's.
#include "lower_route.h"

#include "count_cuda.h"
#include "emit_parts.h"
#include "lower_order.h"
#include "lower_product.h"

#include <string.h>

enum { MOST_MEMBERS = 64, CUDA_THREADS = 128, CUDA_POOLS = 4 };

typedef struct Places {
    Lower   *L;
    Emitter *E;
    Route    route[MOST_MEMBERS]; size_t n_routes;
    ValueId  rest[MOST_MEMBERS]; size_t n_rest;     // element by element, ascending
    ValueId  ready[2 * MOST_MEMBERS]; size_t n_ready;
    bool     has_order;
    Grouped  of;
    RowOrder order;
    uint32_t workspace;
    int64_t  n_work;
    int64_t  warps, dynamic_bytes;                  // CUDA: that count together
} Places;

static void now_ready(Places *p, ValueId v)
{
    p->ready[p->n_ready++] = v;
    p->E->ready = p->ready;
    p->E->n_ready = p->n_ready;
}

// As many warps as whoever counts most groups has room for; then bytes.
static void plan_block(Places *p)
{
    const Graph *g = p->L->g;
    if (p->has_order)
        p->warps = count_cuda_warps(p->of.n_rows, p->of.n_groups + 1);
    for (size_t i = 0; i < p->n_routes; i++) {
        const int64_t warps = count_cuda_can(g, &p->route[i]) ? count_cuda_pool_warps(g, &p->route[i]) : 0;
        if (warps && (!p->warps || warps < p->warps))
            p->warps = warps;
    }
    if (p->has_order && p->warps)
        p->dynamic_bytes = count_cuda_bytes(p->warps, p->of.n_groups + 1);
    for (size_t i = 0; i < p->n_routes; i++) {
        const int64_t bytes = count_cuda_can(g, &p->route[i]) ? count_cuda_pool_bytes(g, &p->route[i], p->warps) : 0;
        p->dynamic_bytes = bytes > p->dynamic_bytes ? bytes : p->dynamic_bytes;
    }
}

static void sort_members(Lower *L, Places *p)
{
    const Graph *g = L->g;
    bool heavy = false;
    for (size_t m = 0; m < L->n_members; m++) {
        const ValueId v = L->member[m];
        const Node *n = &g->node[v];
        if (!(op_row[n->op].flags & OP_FLAG_ROUTING)) {
            p->rest[p->n_rest++] = v;
        } else {
            p->route[p->n_routes++] = route_describe(L, v);
            heavy |= n->op != OP_SLOT || n->n_in == 2;
        }
    }
    const int64_t pools = p->route[0].n_rows;
    // On a GPU many pools are better counted by a block each, and the order by a launch of its own.
    const bool one_item = L->target->is_cuda ? pools <= (heavy ? 1 : CUDA_POOLS) : pools <= 1 || !heavy;
    for (size_t m = 0; m < L->n_members && L->order_for && one_item; m++)
        if (L->order_for[L->member[m]] && grouped_of(g, L->order_for[L->member[m]], &p->of)) {
            p->has_order = true;
            p->order = order_of_rows(&p->of);
            p->workspace = order_workspace(L, &p->order);
            break;
        }
    p->n_work = p->has_order && pools > 0 ? 1 : pools;
    plan_block(p);
}

// The axes of v that are no pool's items: where one work item has all pools, all axes.
static size_t inner_axes(const Places *p, ValueId v, AxisId *out)
{
    const Type *type = &p->L->g->node[v].type;
    size_t n = 0;
    for (int i = 0; i < type->n_axes; i++) {
        bool is_item = false;
        for (size_t k = 0; k < p->route[0].n_items && p->n_work != 1; k++)
            is_item |= p->route[0].item[k] == type->axis[i];
        if (!is_item)
            out[n++] = type->axis[i];
    }
    return n;
}

typedef struct RestStep {
    Places  *p;
    ValueId  v[MOST_MEMBERS]; size_t n;
    Env      env;
    AxisId   axis[MAX_AXES]; size_t n_axes;
} RestStep;

static void rest_step(Emitter *E, Scope *s, Ix at, void *user)
{
    RestStep *step = user;
    Val val[MOST_MEMBERS];
    loop_set(E, &step->env, step->axis, step->n_axes, at);
    for (size_t i = 0; i < step->n; i++)
        val[i] = val_named(E, s, emit_value(E, s, step->v[i], &step->env), "y");
    for (size_t i = 0; i < step->n; i++)
        emit_store(E, s, step->v[i], &step->env, val[i]);
}

// What is stored element by element: values of the same axes share a loop.
static void emit_rest(Places *p, Scope *s, Ix pool)
{
    Emitter *E = p->E;
    bool done[MOST_MEMBERS] = {0};
    for (size_t i = 0; i < p->n_rest; i++) {
        const Type *type = &E->g->node[p->rest[i]].type;
        RestStep step = {.p = p, .env = env_of(E, p->rest[i])};
        for (size_t k = i; k < p->n_rest; k++)
            if (!done[k] && E->g->node[p->rest[k]].type.n_axes == type->n_axes
                && !memcmp(E->g->node[p->rest[k]].type.axis, type->axis, type->n_axes * sizeof *type->axis)) {
                step.v[step.n++] = p->rest[k];
                done[k] = true;
            }
        if (!step.n)
            continue;
        step.n_axes = inner_axes(p, p->rest[i], step.axis);
        if (p->n_work != 1)
            loop_set(E, &step.env, p->route[0].item, p->route[0].n_items, pool);
        LoopSpan span = {.hint = "i", .size = loop_count(E->g, step.axis, step.n_axes)};
        loop_lanes(E, s, &span, rest_step, &step);
    }
}

static void emit_pools(Places *p, Scope *s, const Route *r, Ix item)
{
    Emitter *E = p->E;
    Ix pool = item;
    Scope *each = p->n_work == 1 && r->n_rows > 1 ? scope_loop(E, s, "pool", 0, r->n_rows, 1, &pool) : s;
    Env env = route_env(E, r);
    loop_set(E, &env, r->item, r->n_items, pool);
    if (E->dialect == DIALECT_CUDA && count_cuda_can(E->g, r)) {
        count_cuda_pool(E, each, r, &env, p->warps, pool);
        scope_line(each, "__syncthreads();");
    } else {
        route_one_pool(E, each, r, &env, pool);
    }
    if (each != s)
        scope_close(E, each);
}

static void emit_body(Places *p)
{
    Emitter *E = p->E;
    Ix item;
    p->n_ready = 0;
    Scope *work = loop_items(E, "item", p->n_work, &item);
    work->is_floor = true;                  // what one part reads, another part wrote
    for (size_t i = 0; i < p->n_routes; i++) {
        const bool by_block = E->dialect == DIALECT_CUDA && count_cuda_can(E->g, &p->route[i]);
        Scope *by = by_block ? work : loop_single(E, work);
        emit_pools(p, by, &p->route[i], item);
        loop_single_end(E, work, by);
        if (E->dialect == DIALECT_CUDA && !by_block)
            scope_line(work, "__syncthreads();");
        now_ready(p, p->route[i].v);
    }
    emit_rest(p, work, item);
    for (size_t i = 0; i < p->n_rest; i++)
        now_ready(p, p->rest[i]);
    if (p->has_order) {
        const char *ints = emit_workspace(E, p->workspace, "order", DTYPE_I32, true);
        if (E->dialect == DIALECT_CUDA)
            scope_line(work, "__syncthreads();");
        const bool by_block = E->dialect == DIALECT_CUDA && count_cuda_warps(p->of.n_rows, p->of.n_groups + 1) > 0;
        Scope *order = by_block ? scope_block(E, work, "{") : loop_single(E, work);
        if (by_block)
            count_cuda_order(E, order, &p->order, ints, p->warps);
        else
            order_emit(E, order, &p->order, ints);
        loop_single_end(E, work, order);
    }
    loop_items_end(E, work);
}

bool lower_route_places(Lower *L)
{
    const Graph *g = L->g;
    Places *p = arena_new(L->arena, Places);
    p->L = L;
    sort_members(L, p);
    size_t bytes = 0;
    Text comment = text_make(L->arena);
    for (size_t m = 0; m < L->n_members; m++) {
        const Node *n = &g->node[L->member[m]];
        text_add(&comment, m ? "\n" : "");
        lower_describe(g, L->member[m], &comment);
        text_printf(&comment, " = %s", op_row[n->op].text);
        for (int k = 0; k < n->n_in; k++) {
            text_add(&comment, k ? ", " : " of ");
            lower_describe(g, n->in[k], &comment);
        }
    }
    const Node *first = &g->node[p->route[0].v];
    LowerText t = {.hint = first->hint ? first->hint : op_row[first->op].text, .comment = text_str(&comment), .n_work = p->n_work,
                   .grain = 1, .cuda_blocks = p->n_work, .cuda_threads = p->warps ? p->warps * 32 : p->n_rest ? CUDA_THREADS : 32, .cuda_dynamic_bytes = p->dynamic_bytes};
    t.c = p->E = lower_emitter(L, DIALECT_C, NULL);
    emit_body(p);
    t.uses_scratch = t.c->scratch_floats > 0;
    t.scratch_bytes = 4 * t.c->scratch_floats;
    t.cuda = p->E = lower_emitter(L, DIALECT_CUDA, t.c);
    emit_body(p);
    if (type_bytes(g, &g->node[first->in[0]].type, &bytes))
        t.flops = t.bytes = (double)bytes;
    lower_launch(L, &t);
    return true;
}
