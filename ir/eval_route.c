// Evaluation of the routing ops, each from its sentence in ops.def.
#include "eval_walk.h"

#include "auction.inc"

#include <math.h>

// The pools of a value: its axes without `over`; and the places of a pool's elements, in its order, from the first one.
typedef struct Pools {
    Walk     each;                          // place 0 is in the value
    int64_t  n_pools, n;
    int64_t *place;                         // [n]
} Pools;

static const Type *type_of(const Eval *e, const Node *n, size_t operand)
{
    return &e->g->node[n->in[operand]].type;
}

static Type without(const Type *x, const AxisId *axes, size_t n)
{
    Type out = {.dtype = x->dtype};
    for (size_t i = 0; i < x->n_axes; i++) {
        bool listed = false;
        for (size_t k = 0; k < n; k++)
            listed |= axes[k] == x->axis[i];
        if (!listed)
            out.axis[out.n_axes++] = x->axis[i];
    }
    return out;
}

static Pools pools_of(const Eval *e, const Type *x, const AxisId *over, size_t n_over)
{
    Pools p = {0};
    Type each = without(x, over, n_over), pool = type_make(x->dtype, over, n_over);
    p.each = walk_over(e->g, &each);
    walk_follow(&p.each, 0, e->g, x);
    type_count(e->g, &each, &p.n_pools);
    type_count(e->g, &pool, &p.n);
    p.place = arena_array(e->arena, int64_t, (size_t)p.n + 1);
    Walk w = walk_over(e->g, &pool);
    walk_follow(&w, 0, e->g, x);
    for (int64_t i = 0; i < p.n; i++, walk_next(&w))
        p.place[i] = w.at[0];
    return p;
}

// Whether element a comes before b in descending order: larger, or equal and earlier. NaN counts as inf.
static bool comes_first(double xa, int64_t a, double xb, int64_t b)
{
    double p = isnan(xa) ? INFINITY : xa, q = isnan(xb) ? INFINITY : xb;
    return p > q || (p == q && a < b);
}

Status eval_topk(Eval *e, const Node *n, double *out, size_t n_out)
{
    const double *x = e->value[n->in[0]];
    AxisId axis = n->attr[0].axis;
    int64_t size = graph_size(e->g, axis), k = graph_size(e->g, n->attr[1].axis);
    int64_t stride = type_stride(e->g, type_of(e, n, 0), axis);
    Walk w = walk_over(e->g, &n->type);
    walk_follow(&w, 0, e->g, type_of(e, n, 0));
    for (size_t i = 0; i < n_out; i++, walk_next(&w)) {
        const double *row = x + w.at[0];    // the last axis of the result counts the choices
        for (int64_t c = 0; c < size; c++) {
            int64_t before = 0;
            for (int64_t other = 0; other < size; other++)
                before += comes_first(row[other * stride], other, row[c * stride], c);
            if (before == (int64_t)i % k)
                out[i] = (double)c;
        }
    }
    return STATUS_OK;
}

Status eval_rank(Eval *e, const Node *n, double *out, size_t n_out)
{
    (void)n_out;
    const double *x = e->value[n->in[0]];
    Pools p = pools_of(e, &n->type, n->attr[0].axes.id, n->attr[0].axes.n);
    for (int64_t pool = 0; pool < p.n_pools; pool++, walk_next(&p.each))
        for (int64_t i = 0; i < p.n; i++) {
            int64_t before = 0, at = p.each.at[0] + p.place[i];
            for (int64_t j = 0; j < p.n; j++)
                before += comes_first(x[p.each.at[0] + p.place[j]], j, x[at], i);
            out[at] = (double)before;
        }
    return STATUS_OK;
}

Status eval_slot(Eval *e, const Node *n, double *out, size_t n_out)
{
    (void)n_out;
    const double *id = e->value[n->in[0]];
    const Attr *over = &n->attr[1];
    double size = (double)graph_size(e->g, n->attr[0].axis);
    Pools p = pools_of(e, &n->type, over->axes.id, over->axes.n);
    // place 1 of `each` and turn_place: in the operand that gives the turns; n_inner elements take turns
    const double *turn = n->n_in == 2 ? e->value[n->in[1]] : NULL;
    int64_t *turn_place = arena_array(e->arena, int64_t, (size_t)p.n + 1), n_inner = 1;
    if (turn) {
        Type pool = type_make(DTYPE_I32, over->axes.id, over->axes.n);
        Walk w = walk_over(e->g, &pool);
        walk_follow(&w, 0, e->g, type_of(e, n, 1));
        for (int64_t i = 0; i < p.n; i++, walk_next(&w))
            turn_place[i] = w.at[0];
        walk_follow(&p.each, 1, e->g, type_of(e, n, 1));
        for (size_t i = 0; i < over->axes.n; i++)
            n_inner *= type_has(type_of(e, n, 1), over->axes.id[i]) ? graph_size(e->g, over->axes.id[i]) : 1;
    }
    for (int64_t pool = 0; pool < p.n_pools; pool++, walk_next(&p.each))
        for (int64_t i = 0; i < p.n; i++) {
            int64_t at = p.each.at[0] + p.place[i], before = 0;
            for (int64_t j = 0; j < p.n; j++) {
                bool earlier = j < i;
                if (turn && i / n_inner == j / n_inner) {
                    double a = turn[p.each.at[1] + turn_place[j]], b = turn[p.each.at[1] + turn_place[i]];
                    earlier = a < b || (a == b && j < i);
                }
                before += earlier && id[p.each.at[0] + p.place[j]] == id[at];
            }
            out[at] = id[at] >= 0 && id[at] < size ? (double)before : 0;
        }
    return STATUS_OK;
}

Status eval_assign(Eval *e, const Node *n, double *out, size_t n_out)
{
    (void)n_out;
    const double *x = e->value[n->in[0]];
    int64_t n_experts = graph_size(e->g, n->attr[0].axis), stride = type_stride(e->g, type_of(e, n, 0), n->attr[0].axis);
    const Attr *over = &n->attr[1];
    Pools to = pools_of(e, &n->type, over->axes.id, over->axes.n), from = pools_of(e, type_of(e, n, 0), over->axes.id, over->axes.n);
    Type each = without(&n->type, over->axes.id, over->axes.n);
    from.each = walk_over(e->g, &each);
    walk_follow(&from.each, 0, e->g, type_of(e, n, 0));
    if (to.n == 0 || n_experts == 0)
        return STATUS_OK;
    size_t places = (size_t)((to.n + n_experts - 1) / n_experts * n_experts);
    double *score = arena_array(e->arena, double, (size_t)(to.n * n_experts)), *price = arena_array(e->arena, double, places);
    int *expert = arena_array(e->arena, int, places), *owner = arena_array(e->arena, int, places);
    int *queue = arena_array(e->arena, int, places);
    for (int64_t pool = 0; pool < to.n_pools; pool++, walk_next(&to.each), walk_next(&from.each)) {
        for (int64_t i = 0; i < to.n; i++)
            for (int64_t c = 0; c < n_experts; c++)
                score[i * n_experts + c] = x[from.each.at[0] + from.place[i] + c * stride];
        auction_s(score, to.n, n_experts, expert, price, owner, queue);
        for (int64_t i = 0; i < to.n; i++)
            out[to.each.at[0] + to.place[i]] = expert[i];
    }
    return STATUS_OK;
}
