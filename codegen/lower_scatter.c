// SCATTER kernels: y[.., v, ..] = sum over the axes `over` of dy where index == v (the gradient of an embedding); and put, which
// writes y[.., i, ..] = x and nothing else: what else y holds is there already, or copied by codegen.c.
//
// A work item owns a range of v. It clears its part of y and then goes through all indices in order, adding those rows
// that fall into its range: no two items write the same place, and the order of additions is that of the indices. In CUDA it looks
// at 32 places of the index at once; where there is one number for a place, a block sums it over all its threads.
#include "lower_loop.h"

#include "emit_parts.h"

#include <string.h>

enum { RANGES = 32, MANY_ROWS = 64 };

typedef struct Scatter {
    ValueId  v;
    AxisId   to;
    AxisId   walked[MAX_AXES]; size_t n_walked;     // axes of the index: those summed and those paired
    AxisId   feature[MAX_AXES]; size_t n_feature;   // the others of y but `to`
    Env      env;                           // of the operands and of y
    Ix       place;                         // index of `to`
    bool     zero;
} Scatter;

static bool in_index(const Graph *g, const Node *n, AxisId axis)
{
    return type_has(&g->node[n->in[1]].type, axis);
}

static Scatter describe(const Graph *g, ValueId v)
{
    const Node *n = &g->node[v];
    Scatter s = {.v = v, .to = n->op == OP_PUT ? n->attr[0].axis : n->attr[1].axis};
    const Type *index = &g->node[n->in[1]].type;
    for (int i = 0; i < index->n_axes; i++)
        s.walked[s.n_walked++] = index->axis[i];
    for (int i = 0; i < n->type.n_axes; i++)
        if (n->type.axis[i] != s.to && !in_index(g, n, n->type.axis[i]))
            s.feature[s.n_feature++] = n->type.axis[i];
    return s;
}

// An environment with all axes of the operands and of y.
static Env all_axes(Emitter *E, const Scatter *s)
{
    Env env = env_of(E, s->v);
    for (size_t i = 0; i < s->n_walked; i++)
        if (!env_get(&env, s->walked[i])) {
            env.axis[env.n] = s->walked[i];
            env.at[env.n++] = ix_const(E->ix, 0);
        }
    return env;
}

static const char *offset_text(Emitter *E, Scope *at, const Scatter *s, const char *lane)
{
    Env y = env_of(E, s->v);
    for (int i = 0; i < y.n; i++)
        env_set(&y, y.axis[i], y.axis[i] == s->to ? s->place : env_get(&s->env, y.axis[i]));
    Text t = text_make(E->arena);
    ix_print(E->ix, emit_offset(E, s->v, &y), false, at->lane, lane, &t);
    return text_str(&t);
}

// y[place, features] = 0 or += dy at one place (or one vector of them).
static void scatter_step(Emitter *E, Scope *at, Ix index, void *user)
{
    Scatter *s = user;
    const Node *n = &E->g->node[s->v];
    if (s->n_feature)
        env_set(&s->env, s->feature[s->n_feature - 1], index);
    const char *y = emit_param(E, s->v, true), *assign = s->zero ? "=" : "+=";
    Val x = s->zero ? val_const(E, 0, VAL_FLOAT) : val_float(E, emit_value(E, at, n->in[0], &s->env));
    if (at->lanes == 1) {
        scope_line(at, "%s[%s] %s %s;", y, offset_text(E, at, s, NULL), assign, x.text);
        return;
    }
    x = val_vector(E, x);
    if (n->type.axis[n->type.n_axes - 1] == s->feature[s->n_feature - 1]) {
        scope_line(at, "*(vf *)(%s + %s) %s %s;", y, offset_text(E, at, s, NULL), assign, x.text);
        return;
    }
    x = val_named(E, at, x, "x");
    scope_line(at, "for (int q = 0; q < %d; q++)", at->lanes);
    scope_line(at, s->zero ? "    %s[%s] %s 0.0f;" : "    %s[%s] %s %s[q];", y, offset_text(E, at, s, "q"), assign, x.text);
}

static void feature_loops(Emitter *E, Scope *outer, Scatter *s, LoopStep *step)
{
    Scope *chain[MAX_AXES], *at = outer;
    size_t depth = 0;
    Ix index;
    for (; depth + 1 < s->n_feature; depth++) {
        at = chain[depth] = scope_loop(E, at, loop_hint(E, s->feature[depth]), 0, graph_size(E->g, s->feature[depth]), 1, &index);
        env_set(&s->env, s->feature[depth], index);
    }
    if (s->n_feature) {
        AxisId last = s->feature[s->n_feature - 1];
        LoopSpan span = {.hint = loop_hint(E, last), .size = graph_size(E->g, last)};
        loop_lanes(E, at, &span, step, s);
    } else {
        Scope *single = loop_single(E, at);
        step(E, single, 0, s);
        loop_single_end(E, at, single);
    }
    while (depth)
        scope_close(E, chain[--depth]);
}

static Scope *walk(Emitter *E, Scope *at, Scatter *s, const AxisId *axis, size_t n, Scope **chain)
{
    for (size_t i = 0; i < n; i++) {
        Ix index;
        at = chain[i] = scope_loop(E, at, loop_hint(E, axis[i]), 0, graph_size(E->g, axis[i]), 1, &index);
        env_set(&s->env, axis[i], index);
    }
    return at;
}

// The axes of y but `to`; whether a work item is a row of them.
static bool row_axes(const Graph *g, const Scatter *s, AxisId *axis, size_t *n_axes)
{
    const Node *n = &g->node[s->v];
    const Type *dy = &g->node[n->in[0]].type;
    *n_axes = 0;
    for (int i = 0; i + 1 < n->type.n_axes; i++)
        axis[(*n_axes)++] = n->type.axis[i];
    return n->type.axis[n->type.n_axes - 1] == s->to && loop_count(g, axis, *n_axes) >= MANY_ROWS && dy->n_axes > 0 &&
           !type_has(&n->type, dy->axis[dy->n_axes - 1]);
}

static void rows_of_scatter(const Scatter *what, int64_t n_rows, Emitter *E)
{
    Scatter s = *what;
    const Node *n = &E->g->node[s.v];
    const int64_t size = graph_size(E->g, s.to);
    AxisId axis[MAX_AXES], summed[MAX_AXES];
    size_t n_axes, n_summed = 0;
    row_axes(E->g, &s, axis, &n_axes);
    for (size_t i = 0; i < s.n_walked; i++)
        if (!type_has(&n->type, s.walked[i]))
            summed[n_summed++] = s.walked[i];
    s.n_feature = 0;
    Ix item;
    Scope *row = loop_items(E, "row", n_rows, &item), *chain[MAX_AXES];
    s.env = all_axes(E, &s);
    loop_set(E, &s.env, axis, n_axes, item);
    Scope *clear = E->dialect == DIALECT_CUDA ? scope_lanes(E, row, loop_hint(E, s.to), 0, size, &s.place)
                                              : scope_loop(E, row, loop_hint(E, s.to), 0, size, 1, &s.place);
    s.zero = true;
    scatter_step(E, clear, 0, &s);
    scope_close(E, clear);
    if (E->dialect == DIALECT_CUDA)
        scope_line(row, "__syncthreads();");
    Scope *one = loop_single(E, row);
    Scope *inner = walk(E, one, &s, summed, n_summed, chain);
    const char *name = scope_name(E, inner, "place");
    scope_line(inner, "const long %s = %s;", name, emit_value(E, inner, n->in[1], &s.env).text);
    Scope *hit = scope_block(E, inner, arena_printf(E->arena, "if (%s >= 0 && %s < %lld) {", name, name, (long long)size));
    s.place = scope_var(E, hit, name, 0, size - 1, 1);
    s.zero = false;
    scatter_step(E, hit, 0, &s);
    scope_close(E, hit);
    while (n_summed)
        scope_close(E, chain[--n_summed]);
    loop_single_end(E, row, one);
    loop_items_end(E, row);
}

// CUDA: the index is looked at 32 places at a time, by each warp for itself; then rows that fall into the range are added in order.
// A thread always has the same features, so that nobody waits for anybody.
static void add_by_warps(Emitter *E, Scope *range, Scatter *s, const LoopSpan *span)
{
    const Node *n = &E->g->node[s->v];
    const long long count = (long long)loop_count(E->g, s->walked, s->n_walked), size = (long long)graph_size(E->g, s->to);
    const char *i0 = emit_name(E, "i0"), *i = emit_name(E, "i"), *place = emit_name(E, "place"), *hits = emit_name(E, "hits");
    const char *lane = emit_name(E, "lane"), *row = emit_name(E, "row"), *to = emit_name(E, "to");
    Scope *all = scope_block(E, range, arena_printf(E->arena, "for (long %s = 0; %s < %lld; %s += 32) {", i0, i0, count, i0));
    scope_line(all, "const long %s = %s + threadIdx.x %% 32;", i, i0);
    scope_line(all, "int %s = -1;", place);
    Scope *some = scope_set_threads(scope_block(E, all, arena_printf(E->arena, "if (%s < %lld) {", i, count)));
    loop_set(E, &s->env, s->walked, s->n_walked, scope_var(E, some, i, 0, count ? count - 1 : 0, 1));
    scope_line(some, "%s = %s;", place, emit_value(E, some, n->in[1], &s->env).text);
    scope_close(E, some);
    scope_line(all, "unsigned %s = __ballot_sync(0xffffffffu, %s >= %s && %s < %s);", hits, place, span->first, place, span->last);
    Scope *hit = scope_block(E, all, arena_printf(E->arena, "for (; %s; %s &= %s - 1) {", hits, hits, hits));
    scope_line(hit, "const int %s = __popc(~%s & (%s - 1));", lane, hits, hits);
    scope_line(hit, "const long %s = %s + %s, %s = __shfl_sync(0xffffffffu, %s, %s);", row, i0, lane, to, place, lane);
    loop_set(E, &s->env, s->walked, s->n_walked, scope_var(E, hit, row, 0, count ? count - 1 : 0, 1));
    s->place = scope_var(E, hit, to, 0, size - 1, 1);
    s->zero = false;
    feature_loops(E, hit, s, scatter_step);
    scope_close(E, hit);
    scope_close(E, all);
}

static void scatter_body(const Scatter *what, int64_t length, int64_t n_work, Emitter *E)
{
    Scatter s = *what;
    const Node *n = &E->g->node[s.v];
    int64_t size = graph_size(E->g, s.to);
    Ix item;
    Scope *range = loop_items(E, "range", n_work, &item), *chain[MAX_AXES];
    LoopSpan span = {0};
    loop_block(E, range, item, length, size, &span);
    s.env = all_axes(E, &s);

    AxisId paired[MAX_AXES];
    size_t n_paired = 0;
    for (size_t i = 0; i < s.n_walked; i++)
        if (type_has(&n->type, s.walked[i]))
            paired[n_paired++] = s.walked[i];
    Scope *clear = walk(E, range, &s, paired, n_paired, chain);
    Scope *each = scope_loop_text(E, clear, loop_hint(E, s.to), span.first, span.last, 1, 0, size - 1, &s.place);
    s.zero = true;
    feature_loops(E, each, &s, scatter_step);
    scope_close(E, each);
    while (n_paired)
        scope_close(E, chain[--n_paired]);

    if (E->dialect == DIALECT_CUDA) {
        add_by_warps(E, range, &s, &span);
        loop_items_end(E, range);
        return;
    }
    Scope *inner = walk(E, range, &s, s.walked, s.n_walked, chain);
    Val index = emit_value(E, inner, n->in[1], &s.env);
    const char *name = scope_name(E, inner, "place");
    scope_line(inner, "const long %s = %s;", name, index.text);
    Scope *hit = scope_block(E, inner, arena_printf(E->arena, "if (%s >= %s && %s < %s) {", name, span.first, name, span.last));
    s.place = scope_var(E, hit, name, 0, size - 1, 1);
    s.zero = false;
    feature_loops(E, hit, &s, scatter_step);
    scope_close(E, hit);
    for (size_t i = s.n_walked; i-- > 0;)
        scope_close(E, chain[i]);
    loop_items_end(E, range);
}

// CUDA: a number for each place (a load, say). A block has one and goes through the index with all threads.
static void count_body(const Scatter *what, int64_t n_work, Emitter *E)
{
    Scatter s = *what;
    const Node *n = &E->g->node[s.v];
    const int64_t size = graph_size(E->g, s.to);
    AxisId paired[MAX_AXES], summed[MAX_AXES];
    size_t n_paired = 0, n_summed = 0;
    for (size_t i = 0; i < s.n_walked; i++) {
        if (type_has(&n->type, s.walked[i]))
            paired[n_paired++] = s.walked[i];
        else
            summed[n_summed++] = s.walked[i];
    }
    Ix item, at;
    Scope *work = loop_items(E, "item", n_work, &item);
    s.env = all_axes(E, &s);
    s.place = ix_mod(E->ix, item, size);
    loop_set(E, &s.env, paired, n_paired, ix_div(E->ix, item, size));
    const char *sum = scope_name(E, work, "sum");
    scope_line(work, "float %s = 0.0f;", sum);
    Scope *each = scope_lanes(E, work, "i", 0, loop_count(E->g, summed, n_summed), &at);
    loop_set(E, &s.env, summed, n_summed, at);
    const Val place = val_named(E, each, emit_value(E, each, n->in[1], &s.env), "place");
    Text t = text_make(E->arena);
    ix_print(E->ix, s.place, false, 0, NULL, &t);
    const Val x = val_float(E, emit_value(E, each, n->in[0], &s.env));
    scope_line(each, "%s += %s == (int)(%s) ? %s : 0.0f;", sum, place.text, text_str(&t), val_text(E, x, PREC_SUM));
    scope_close(E, each);
    scope_line(work, "%s = block_sum_s(%s, shared);", sum, sum);
    Scope *one = loop_single(E, work);
    scope_line(one, "%s[%s] = %s;", emit_param(E, s.v, true), offset_text(E, one, &s, NULL), sum);
    loop_single_end(E, work, one);
    loop_items_end(E, work);
}

// One element (or vector) of what is put.
static void put_step(Emitter *E, Scope *at, Ix index, void *user)
{
    Scatter *s = user;
    const Node *n = &E->g->node[s->v];
    if (s->n_feature)
        env_set(&s->env, s->feature[s->n_feature - 1], index);
    Env y = env_of(E, s->v);
    for (int i = 0; i < y.n; i++)
        env_set(&y, y.axis[i], y.axis[i] == s->to ? s->place : env_get(&s->env, y.axis[i]));
    emit_store(E, at, s->v, &y, emit_value(E, at, n->in[2], &s->env));
}

// A single work item: a few rows are put, and in the order of the index.
static void put_body(const Scatter *what, Emitter *E)
{
    Scatter s = *what;
    const Node *n = &E->g->node[s.v];
    const int64_t size = graph_size(E->g, s.to);
    Ix item;
    Scope *all = loop_items(E, "all", 1, &item), *chain[MAX_AXES];
    s.env = all_axes(E, &s);
    emit_param(E, s.v, true);
    Scope *inner = walk(E, all, &s, s.walked, s.n_walked, chain);
    const char *name = scope_name(E, inner, "place");
    scope_line(inner, "const long %s = %s;", name, emit_value(E, inner, n->in[1], &s.env).text);
    Scope *hit = scope_block(E, inner, arena_printf(E->arena, "if (%s >= 0 && %s < %lld) {", name, name, (long long)size));
    s.place = scope_var(E, hit, name, 0, size - 1, 1);
    feature_loops(E, hit, &s, put_step);
    scope_close(E, hit);
    for (size_t i = s.n_walked; i-- > 0;)
        scope_close(E, chain[i]);
    loop_items_end(E, all);
}

static void lower_put(Lower *L, ValueId v)
{
    const Node *n = &L->g->node[v];
    Scatter s = describe(L->g, v);
    Text comment = text_make(L->arena);
    lower_describe(L->g, v, &comment);
    text_printf(&comment, ": what is new goes to its place, the rest stays");
    LowerText t = {.hint = n->hint ? n->hint : "put", .comment = text_str(&comment), .n_work = 1, .grain = 1, .cuda_blocks = 1,
                   .cuda_threads = 128};
    t.c = lower_emitter(L, DIALECT_C, NULL);
    put_body(&s, t.c);
    t.cuda = lower_emitter(L, DIALECT_CUDA, t.c);
    put_body(&s, t.cuda);
    size_t bytes = 0;
    if (type_bytes(L->g, &L->g->node[n->in[2]].type, &bytes))
        t.bytes = 2 * (double)bytes + 1;
    t.flops = 1;
    lower_launch(L, &t);
}

static void emit_scatter(const Scatter *s, bool by_row, int64_t length, int64_t n_work, Emitter *E)
{
    if (by_row)
        rows_of_scatter(s, n_work, E);
    else
        scatter_body(s, length, n_work, E);
}

// On a GPU ranges are smaller and more, and the threads of a block have about four features each.
static void scatter_cuda(Lower *L, const Scatter *s, bool by_row, LowerText *t)
{
    enum { CUDA_RANGES = 264, MOST_THREADS = 256 };
    const int64_t size = graph_size(L->g, s->to), features = loop_count(L->g, s->feature, s->n_feature);
    const int64_t paired = size ? loop_count(L->g, L->g->node[s->v].type.axis, L->g->node[s->v].type.n_axes) / size : 0;
    const int64_t length = size ? (size + CUDA_RANGES - 1) / CUDA_RANGES : 1;
    t->cuda = lower_emitter(L, DIALECT_CUDA, t->c);
    t->cuda_threads = 128;
    if (by_row) {
        rows_of_scatter(s, t->n_work, t->cuda);
    } else if (s->n_feature == 0 && size * paired <= CUDA_RANGES * 4) {
        t->cuda_blocks = size * paired;
        t->cuda_threads = 256;
        count_body(s, t->cuda_blocks, t->cuda);
    } else {
        t->cuda_blocks = size ? (size + length - 1) / length : 0;
        for (t->cuda_threads = 32; t->cuda_threads < MOST_THREADS && t->cuda_threads * 4 < features;)
            t->cuda_threads *= 2;
        scatter_body(s, length, t->cuda_blocks, t->cuda);
    }
}

bool lower_scatter(Lower *L)
{
    for (size_t m = 0; m < L->n_members; m++) {
        ValueId v = L->member[m];
        if (L->g->node[v].op == OP_PUT) {
            lower_put(L, v);
            continue;
        }
        if (L->g->node[v].op != OP_PUT_ADD || L->g->node[v].type.dtype != DTYPE_F32) {
            diag_error(L->diag, L->g->node[v].at, NULL, "internal: a scatter kernel stores `%s`, which is no f32 put_add",
                       op_row[L->g->node[v].op].text);
            return false;
        }
        Scatter s = describe(L->g, v);
        int64_t size = graph_size(L->g, s.to), length = size ? (size + RANGES - 1) / RANGES : 1;
        int64_t n_work = (size + length - 1) / length;
        AxisId axis[MAX_AXES];
        size_t n_axes;
        const bool by_row = row_axes(L->g, &s, axis, &n_axes);
        if (by_row)
            n_work = loop_count(L->g, axis, n_axes);
        Text comment = text_make(L->arena);
        lower_describe(L->g, v, &comment);
        text_printf(&comment, " = sum of dy where the index names the place; in order of the index");
        LowerText t = {.hint = L->g->node[v].hint ? L->g->node[v].hint : "put_add", .comment = text_str(&comment), .n_work = n_work,
                       .grain = by_row ? 16 : 1, .cuda_blocks = n_work, .cuda_threads = 128};
        t.c = lower_emitter(L, DIALECT_C, NULL);
        emit_scatter(&s, by_row, length, n_work, t.c);
        scatter_cuda(L, &s, by_row, &t);
        size_t bytes = 0;
        if (type_bytes(L->g, &L->g->node[v].type, &bytes))
            t.bytes = (double)bytes;
        if (type_bytes(L->g, &L->g->node[L->g->node[v].in[0]].type, &bytes))
            t.bytes += 2 * (double)bytes;
        t.flops = t.bytes / 4;
        lower_launch(L, &t);
    }
    return true;
}
