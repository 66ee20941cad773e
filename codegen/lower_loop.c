// LOOP kernels: element-wise chains and reductions.
//
// The values a kernel stores are sorted into launches of one of three shapes:
//
//   lanes   every value has the same axes; the innermost runs in lanes, the others (and blocks of a long innermost one)
//           are work items. Reductions over other axes than the innermost are loops inside the lane loop.
//   rows    a work item is a row: an index for each axis in W. Reductions along the row are made first (the emitter puts
//           them before the loops that need them), then the row's values are written. Softmax, norms, cross entropy.
//           A reduction over W itself (a gain's gradient, a loss) adds up within chunks of rows of a fixed size into a
//           workspace [chunks, ..], and a second launch adds the chunks in order.
//   total   a reduction to a scalar with nothing else to do: chunks of all elements as if they were one axis, then the
//           same second launch.
//
// No sum depends on the number of threads: chunks and lanes are fixed by the sizes.
#include "lower_loop.h"

#include "emit_parts.h"

#include <assert.h>
#include <string.h>

int64_t loop_count(const Graph *g, const AxisId *axis, size_t n)
{
    int64_t count = 1;
    for (size_t i = 0; i < n; i++)
        count *= graph_size(g, axis[i]);
    return count;
}

static bool listed(AxisId axis, const AxisId *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == axis)
            return true;
    return false;
}

// --- what a stored value asks for

typedef struct Look {                       // a walk through the unstored producers of a value
    ValueId inner;                          // the largest reduction found inside; 0: none
    int64_t inner_count;
} Look;

static bool is_reduction(const Node *n)
{
    return n->op == OP_REDUCE || n->op == OP_CONTRACT || (n->op == OP_PUT_ADD && n->attr[0].axes.n);
}

static bool is_read(const Lower *L, ValueId v)
{
    const Node *n = &L->g->node[v];
    return n->op == OP_ARG || n->op == OP_PARAM || n->op == OP_STATE || (n->kernel && n->kernel != L->kernel);
}

static const Attr *reduced_axes(const Node *n)
{
    return n->op == OP_REDUCE ? &n->attr[1] : &n->attr[0];
}

static void look_inside(const Lower *L, ValueId v, bool top, Look *look, ValueId *seen, size_t *n_seen, size_t room)
{
    const Node *n = &L->g->node[v];
    for (size_t i = 0; i < *n_seen; i++)
        if (seen[i] == v)
            return;
    if (is_read(L, v) || *n_seen == room)
        return;
    seen[(*n_seen)++] = v;
    if (!top && is_reduction(n)) {
        int64_t count = 0;
        type_count(L->g, &L->g->node[n->in[0]].type, &count);
        if (count > look->inner_count) {
            look->inner = v;
            look->inner_count = count;
        }
    }
    for (int i = 0; i < n->n_in; i++)
        look_inside(L, n->in[i], false, look, seen, n_seen, room);
}

// Whether every way from `v` down to the stored value `to` of the same kernel keeps all indices.
static bool direct_path(const Lower *L, ValueId v, ValueId to, bool *out_reaches, size_t *budget)
{
    const Node *n = &L->g->node[v];
    if (v == to) {
        *out_reaches = true;
        return true;
    }
    if (v < to || is_read(L, v) || !*budget)
        return *budget > 0;
    --*budget;
    bool index_changes = (op_row[n->op].flags & OP_FLAG_VIEW && n->op != OP_EXPAND) || n->op == OP_TAKE || n->op == OP_PUT_ADD;
    for (int i = 0; i < n->n_in; i++) {
        bool reaches = false;
        if (!direct_path(L, n->in[i], to, &reaches, budget) || (reaches && index_changes))
            return false;
        *out_reaches |= reaches;
    }
    return true;
}

enum { MANY_ROWS = 64, SHORT_ROW = 16384 };

// The plan for one stored value alone.
static LoopGroup ask(const Lower *L, ValueId v, bool *out_is_column)
{
    const Graph *g = L->g;
    const Node *n = &g->node[v];
    LoopGroup group = {.shape = LOOP_LANES};
    Look look = {0};
    ValueId *seen = arena_array(L->arena, ValueId, 256);
    size_t n_seen = 0;
    look_inside(L, v, true, &look, seen, &n_seen, 256);
    *out_is_column = false;
    if (is_reduction(n)) {
        const Type *x = &g->node[n->in[0]].type;
        const Attr *over = reduced_axes(n);
        AxisId last = x->axis[x->n_axes - 1];
        int64_t rows = loop_count(g, n->type.axis, n->type.n_axes), length = loop_count(g, over->axes.id, over->axes.n);
        bool along = listed(last, over->axes.id, over->axes.n);
        bool simple = n->op == OP_REDUCE && n->attr[0].red == RED_SUM && n->type.dtype != DTYPE_I32;
        int64_t work = rows * length > look.inner_count ? rows * length : look.inner_count;
        if (along && (rows >= MANY_ROWS || work <= SHORT_ROW || !simple)) {
            group.shape = LOOP_ROWS;
            group.n_rows = n->type.n_axes;
            memcpy(group.row, n->type.axis, sizeof group.row);
            return group;
        }
        if (!simple || (!along && (rows >= 4096 || length < 256)))
            return group;
        *out_is_column = true;
        if (n->type.n_axes == 0 && !look.inner) {
            group.shape = LOOP_TOTAL;
            return group;
        }
        group.shape = LOOP_ROWS;
        const Type *inner = look.inner ? &g->node[look.inner].type : NULL;
        bool as_inner = inner && inner->n_axes;     // rows as the reduction inside has them
        for (int i = 0; as_inner && i < inner->n_axes; i++)
            as_inner = listed(inner->axis[i], over->axes.id, over->axes.n);
        for (int i = 0; i < x->n_axes; i++)
            if (listed(x->axis[i], over->axes.id, over->axes.n) &&
                (as_inner ? type_has(inner, x->axis[i]) : x->axis[i] != last || over->axes.n == 1))
                group.row[group.n_rows++] = x->axis[i];
        return group;
    }
    if (look.inner) {
        const Node *r = &g->node[look.inner];
        bool inside = r->type.n_axes < n->type.n_axes || n->type.n_axes == 0;
        for (int i = 0; i < r->type.n_axes; i++)
            inside &= type_has(&n->type, r->type.axis[i]);
        AxisId last = n->type.n_axes ? n->type.axis[n->type.n_axes - 1] : 0;
        if (inside && !type_has(&r->type, last)) {
            group.shape = LOOP_ROWS;
            group.n_rows = r->type.n_axes;
            memcpy(group.row, r->type.axis, sizeof group.row);
            return group;
        }
        if (r->type.n_axes == n->type.n_axes && inside) {
            group.shape = LOOP_ROWS;
            group.n_rows = n->type.n_axes;
            memcpy(group.row, n->type.axis, sizeof group.row);
        }
    }
    return group;
}

// --- sorting the stored values into launches

static bool same_set(const AxisId *a, size_t n_a, const AxisId *b, size_t n_b)
{
    if (n_a != n_b)
        return false;
    for (size_t i = 0; i < n_a; i++)
        if (!listed(a[i], b, n_b))
            return false;
    return true;
}

// Whether v can be made by the same launch as what is in the group already.
static bool joins(const Lower *L, const LoopGroup *group, const LoopGroup *wish, ValueId v, bool is_column)
{
    const Graph *g = L->g;
    const Type *type = &g->node[v].type;
    if (group->n == LOOP_MAX_MEMBERS)
        return false;
    for (size_t i = 0; i < group->n; i++) {
        bool reaches = false;
        size_t budget = 4096;
        if (!direct_path(L, v, group->member[i], &reaches, &budget) || (reaches && group->is_column[i]))
            return false;
    }
    switch (group->shape) {
    case LOOP_LANES: {
        const Type *first = &g->node[group->member[0]].type;
        return wish->shape == LOOP_LANES && same_set(first->axis, first->n_axes, type->axis, type->n_axes);
    }
    case LOOP_ROWS:
        if (is_column) {
            const Attr *over = reduced_axes(&g->node[v]);
            for (size_t i = 0; i < group->n_rows; i++)
                if (!listed(group->row[i], over->axes.id, over->axes.n))
                    return false;
            return wish->shape == LOOP_ROWS && group->n_rows > 0;
        }
        if (wish->shape == LOOP_ROWS)
            return same_set(group->row, group->n_rows, wish->row, wish->n_rows);
        if (is_reduction(&g->node[v]))
            return false;
        for (size_t i = 0; i < group->n_rows; i++)
            if (!type_has(type, group->row[i]))
                return false;
        return wish->shape == LOOP_LANES && type->n_axes > (int)group->n_rows;
    case LOOP_TOTAL: {
        const Type *x = &g->node[g->node[group->member[0]].in[0]].type, *y = &g->node[g->node[v].in[0]].type;
        return wish->shape == LOOP_TOTAL && type_same_axes(x, y);
    }
    }
    return false;
}

static LoopGroup *sort_members(const Lower *L, size_t *out_n)
{
    LoopGroup *group = NULL;
    size_t n = 0, capacity = 0;
    for (size_t m = 0; m < L->n_members; m++) {
        ValueId v = L->member[m];
        bool is_column;
        LoopGroup wish = ask(L, v, &is_column);
        // Into the last launch, or a new one: so that whatever it reads was made before.
        if (!n || !joins(L, &group[n - 1], &wish, v, is_column)) {
            group = arena_grow(L->arena, group, n, &capacity, sizeof *group);
            group[n++] = wish;
        }
        LoopGroup *g = &group[n - 1];
        g->has_columns |= is_column;
        g->is_column[g->n] = is_column;
        g->member[g->n++] = v;
    }
    *out_n = n;
    return group;
}

// --- texts

static const char *comment_of(const Lower *L, const LoopGroup *group)
{
    Text t = text_make(L->arena);
    for (size_t i = 0; i < group->n; i++) {
        text_add(&t, i ? "\n" : "");
        lower_describe(L->g, group->member[i], &t);
        const Node *n = &L->g->node[group->member[i]];
        text_printf(&t, " = %s%s", is_reduction(n) ? "reduction: " : "", op_row[n->op].text);
        for (int k = 0; k < n->n_in; k++) {
            text_add(&t, k ? ", " : " of ");
            lower_describe(L->g, n->in[k], &t);
        }
    }
    return text_str(&t);
}

static void measure(const Lower *L, const LoopGroup *group, const Emitter *E, LowerText *t)
{
    for (size_t i = 0; i < E->n_params; i++) {
        size_t bytes = 0;
        if (E->param[i].value && type_bytes(L->g, &L->g->node[E->param[i].value].type, &bytes))
            t->bytes += (double)bytes;
    }
    for (size_t i = 0; i < group->n; i++) {
        int64_t count = 0;
        const Node *n = &L->g->node[group->member[i]];
        type_count(L->g, is_reduction(n) ? &L->g->node[n->in[0]].type : &n->type, &count);
        t->flops += 2 * (double)count;
    }
}

static const char *hint_of(const Lower *L, ValueId v)
{
    const Node *n = &L->g->node[v];
    return n->hint ? n->hint : n->op == OP_REDUCE ? red_text[n->attr[0].red] : op_row[n->op].text;
}

static void launch_group(Lower *L, const LoopGroup *group, int64_t n_work, int64_t grain, LoopBody *body)
{
    LowerText t = {.hint = hint_of(L, group->member[group->n - 1]), .comment = comment_of(L, group), .n_work = n_work,
                   .grain = grain, .cuda_blocks = n_work, .cuda_threads = 128};
    t.c = lower_emitter(L, DIALECT_C, NULL);
    body(L, group, t.c);
    t.cuda = lower_emitter(L, DIALECT_CUDA, t.c);
    body(L, group, t.cuda);
    measure(L, group, t.c, &t);
    lower_launch(L, &t);
}

// Work items worth a hand-out: about 16k elements.
static int64_t grain_of(int64_t n_work, int64_t elements)
{
    int64_t each = n_work ? elements / n_work : 0;
    int64_t grain = 16384 / (each > 0 ? each : 1);
    return grain > 1 ? grain : 1;
}

static void lower_group(Lower *L, LoopGroup *group)
{
    const Graph *g = L->g;
    int64_t elements = 0, n_work = 0;
    for (size_t i = 0; i < group->n; i++) {
        int64_t count = 0;
        const Node *n = &g->node[group->member[i]];
        type_count(g, is_reduction(n) ? &g->node[n->in[0]].type : &n->type, &count);
        elements = count > elements ? count : elements;
    }
    switch (group->shape) {
    case LOOP_LANES:
        n_work = lanes_plan(L, group);
        launch_group(L, group, n_work, grain_of(n_work, elements), lanes_body);
        break;
    case LOOP_ROWS:
        n_work = rows_plan(L, group);
        launch_group(L, group, n_work, grain_of(n_work, elements), rows_body);
        break;
    case LOOP_TOTAL:
        n_work = total_plan(L, group);
        launch_group(L, group, n_work, 1, total_body);
        break;
    }
    if (group->has_columns)
        lower_finish(L, group);
}

bool lower_loop(Lower *L)
{
    size_t n;
    LoopGroup *group = sort_members(L, &n);
    for (size_t i = 0; i < n; i++) {
        lower_group(L, &group[i]);
        L->ready = L->member;               // groups follow the order of the members
        L->n_ready += group[i].n;
    }
    return true;
}
