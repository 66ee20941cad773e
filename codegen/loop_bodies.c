// The loops of LOOP kernels, for both dialects: in C a kernel runs through its range of work items and the innermost
// loop steps by vectors; in CUDA a block is a work item and its threads share the innermost loop out.
#include "lower_loop.h"

#include "emit_parts.h"

#include <assert.h>
#include <string.h>

enum { ROWS_CUDA_CHUNKS = 256 };            // of rows, in CUDA: two for each multiprocessor of a large GPU

// --- common pieces

// The scope of one work item; *out_item is its number.
Scope *loop_items(Emitter *E, const char *hint, int64_t n_work, Ix *out_item)
{
    int64_t most = n_work > 0 ? n_work - 1 : 0;
    if (E->dialect == DIALECT_C)
        return scope_loop_text(E, E->top, hint, "begin", "end", 1, 0, most, out_item);
    if (E->grid_loop) {
        Scope *s = scope_loop_text(E, E->top, hint, "blockIdx.x", render_long(E, n_work), 1, 0, most, out_item);
        scope_share(E, s, "gridDim.x");
        return s;
    }
    const char *name = emit_name(E, hint);
    if (most)
        scope_line(E->top, "const long %s = blockIdx.x;", name);
    *out_item = scope_var(E, E->top, name, 0, most, 1);
    return E->top;
}

void loop_items_end(Emitter *E, Scope *item)
{
    if (item != E->top)
        scope_close(E, item);
}

// Sets the indices of `axis`, the last one moving fastest, from a running number.
void loop_set(Emitter *E, Env *env, const AxisId *axis, size_t n, Ix number)
{
    for (size_t k = n; k-- > 0;) {
        int64_t size = graph_size(E->g, axis[k]);
        env_set(env, axis[k], k && size ? ix_mod(E->ix, number, size) : number);
        if (k && size)
            number = ix_div(E->ix, number, size);
    }
}

// The lane loop, and in C what is left over after whole vectors.
void loop_lanes(Emitter *E, Scope *parent, const LoopSpan *span, LoopStep *step, void *user)
{
    Ix at;
    Scope *s;
    int64_t whole = span->size / E->vl * E->vl;
    if (E->dialect == DIALECT_CUDA) {
        if (span->first && span->size % 4 == 0 && span->length % 4 == 0 && !E->one_by_one) {
            s = scope_quads(E, parent, span->hint, arena_printf(E->arena, "%s + threadIdx.x*4L", span->first), span->last, span->size - 4, &at);
        } else if (span->first) {
            s = scope_loop_text(E, parent, span->hint, arena_printf(E->arena, "%s + threadIdx.x", span->first), span->last, 1, 0,
                                span->size - 1, &at);
            scope_share(E, s, "blockDim.x");
            s->is_thread = true;
        } else {
            s = scope_lanes(E, parent, span->hint, 0, span->size, &at);
        }
        step(E, s, at, user);
        scope_close(E, s);
        return;
    }
    if (whole) {
        if (span->first) {
            const char *end = whole == span->size ? span->last
                                                  : arena_printf(E->arena, "(%s < %s ? %s : %s)", span->last, render_long(E, whole),
                                                                 span->last, render_long(E, whole));
            s = scope_loop_text(E, parent, span->hint, span->first, end, E->vl, 0, whole - E->vl, &at);
            scope_set_lane(s, at, E->vl);
        } else {
            s = scope_lanes(E, parent, span->hint, 0, span->size, &at);
        }
        step(E, s, at, user);
        scope_close(E, s);
    }
    if (whole < span->size) {
        const char *from = render_long(E, whole), *to = render_long(E, span->size);
        if (span->first) {
            from = arena_printf(E->arena, "(%s > %s ? %s : %s)", span->first, from, span->first, from);
            to = span->last;
        }
        s = scope_loop_text(E, parent, span->hint, from, to, 1, whole, span->size - 1, &at);
        step(E, s, at, user);
        scope_close(E, s);
    }
}

// Declares the bounds of a block of `size`.
void loop_block(Emitter *E, Scope *s, Ix block, int64_t length, int64_t size, LoopSpan *span)
{
    Text t = text_make(E->arena);
    ix_print(E->ix, ix_scale(E->ix, block, length), false, 0, NULL, &t);
    span->first = scope_name(E, s, "first");
    span->last = scope_name(E, s, "last");
    span->size = size;
    span->length = length;
    scope_line(s, "const long %s = %s;", span->first, text_str(&t));
    if (size % length == 0)
        scope_line(s, "const long %s = %s + %s;", span->last, span->first, render_long(E, length));
    else
        scope_line(s, "const long %s = %s + %s < %s ? %s + %s : %s;", span->last, span->first, render_long(E, length),
                   render_long(E, size), span->first, render_long(E, length), render_long(E, size));
}

// A statement that one thread of the block (or of the warp) makes.
Scope *loop_single(Emitter *E, Scope *s)
{
    return E->dialect == DIALECT_CUDA ? scope_set_threads(scope_block(E, s, arena_printf(E->arena, "if (%s == 0) {", emit_thread(E)))) : s;
}

void loop_single_end(Emitter *E, Scope *outer, Scope *s)
{
    if (s != outer)
        scope_close(E, s);
}

// --- lanes

// Whether the value can be run through as one axis of all its elements: what it reads has the same axes in the same
// order, or none.
static bool is_flat(const Lower *L, ValueId v, const Type *type, size_t *budget)
{
    const Node *n = &L->g->node[v];
    bool leaf = n->op == OP_ARG || n->op == OP_PARAM || n->op == OP_STATE || (n->kernel && n->kernel != L->kernel);
    if (!*budget)
        return false;
    --*budget;
    bool same = n->type.n_axes == type->n_axes && !memcmp(n->type.axis, type->axis, type->n_axes * sizeof *type->axis);
    if (leaf || n->op == OP_RANDOM)
        return same || n->type.n_axes == 0;
    if (n->op == OP_INDEX || (!(op_row[n->op].flags & OP_FLAG_POINTWISE) && n->op != OP_EXPAND))
        return false;
    for (int i = 0; i < n->n_in; i++)
        if (!is_flat(L, n->in[i], type, budget))
            return false;
    return true;
}

static int64_t chunk_of(int64_t rows, int64_t most_chunks)
{
    const int64_t chunk = (rows + most_chunks - 1) / most_chunks;
    return chunk < 4 ? 4 : chunk;
}

int64_t loop_cut_for_cuda(const Lower *L, LoopGroup *group, int64_t n_work)
{
    enum { BLOCK = 1024, LARGE_BLOCK = 2048, LARGE = 1 << 18 };
    if (group->wish.shape == LOOP_LANES && group->lane_size > 2 * BLOCK) {
        const int64_t rows = n_work / group->n_blocks;
        group->block = group->lane_size > LARGE ? LARGE_BLOCK : BLOCK;
        group->n_blocks = (group->lane_size + group->block - 1) / group->block;
        return rows * group->n_blocks;
    }
    if (group->wish.shape == LOOP_ROWS && group->has_columns) {
        const int64_t rows = loop_count(L->g, group->wish.row, group->wish.n_rows);
        group->c_chunks = group->n_chunks;
        group->chunk = chunk_of(rows, ROWS_CUDA_CHUNKS);
        group->n_chunks = (rows + group->chunk - 1) / group->chunk;
        return group->n_chunks;
    }
    return n_work;
}

// A sum with a few results for each channel (the gradient of a short convolution's weights, [channels, taps]): channels run in
// lanes, as they lie in memory, though the result has them elsewhere. Its operands are read once for each of the others.
static bool lanes_across(const Lower *L, LoopGroup *group, const Type *type)
{
    enum { SHARE = 64 };
    const Graph *g = L->g;
    const ValueId v = group->member[0];
    if (group->n != 1 || type->n_axes < 2 || !loop_is_reduction(&g->node[v]))
        return false;
    const AxisId last = type->axis[type->n_axes - 1], lane = loop_memory_axis(g, L->kernel, v);
    const int at = lane ? type_find(type, lane) : -1;
    if (at < 0 || lane == last || graph_size(g, last) >= L->target->vector_floats || graph_size(g, lane) < L->target->vector_floats)
        return false;
    memmove(&group->order[at], &group->order[at + 1], (size_t)(type->n_axes - 1 - at) * sizeof *group->order);
    group->order[type->n_axes - 1] = lane;
    group->n_flat = 1;
    group->lane_size = graph_size(g, lane);
    group->block = group->lane_size < SHARE ? group->lane_size : SHARE;
    group->n_blocks = (group->lane_size + group->block - 1) / group->block;
    return true;
}

int64_t lanes_plan(Lower *L, LoopGroup *group)
{
    const int64_t block = L->schedule.knob[KNOB_COLS] > 0 ? L->schedule.knob[KNOB_COLS] : 4096;
    const Graph *g = L->g;
    const Type *type = &g->node[group->member[0]].type;
    bool flat = true;
    memcpy(group->order, type->axis, sizeof group->order);
    if (lanes_across(L, group, type))
        return loop_count(g, group->order, (size_t)(type->n_axes - 1)) * group->n_blocks;
    for (size_t i = 0; i < group->n; i++) {
        size_t budget = 2000;
        flat = flat && is_flat(L, group->member[i], type, &budget);
        flat = flat && !memcmp(type->axis, g->node[group->member[i]].type.axis, type->n_axes * sizeof *type->axis);
    }
    group->n_flat = flat ? type->n_axes : type->n_axes > 0;
    size_t n_rows = (size_t)(type->n_axes - group->n_flat);
    int64_t rows = loop_count(g, type->axis, n_rows);
    group->lane_size = loop_count(g, type->axis + n_rows, (size_t)group->n_flat);
    const int64_t vl = L->target->vector_floats > 0 ? L->target->vector_floats : 1, whole = (block + vl - 1) / vl * vl;
    group->block = group->lane_size > 2 * whole ? whole : group->lane_size;
    group->n_blocks = group->block ? (group->lane_size + group->block - 1) / group->block : 0;
    return rows * group->n_blocks;
}

typedef struct LanesStep {
    const LoopGroup *group;
    Env              outer;                 // indices of the axes outside
    const AxisId    *inner; size_t n_inner;
} LanesStep;

// One element for the block: all its threads load what it needs, one stores it, maybe over what they load.
static void wait_for_loads(const Emitter *E, const LoopGroup *group, Scope *around)
{
    if (E->dialect == DIALECT_CUDA && (group->n_flat == 0 || group->lane_size == 1))
        scope_line(around, "__syncthreads();");
}

static void lanes_step(Emitter *E, Scope *s, Ix at, void *user)
{
    LanesStep *step = user;
    Env env = step->outer;
    loop_set(E, &env, step->inner, step->n_inner, at);
    Val val[LOOP_MAX_MEMBERS];
    for (size_t i = 0; i < step->group->n; i++)
        val[i] = val_named(E, s, emit_value(E, s, step->group->member[i], &env), "y");
    if (s->parent)
        wait_for_loads(E, step->group, s->parent);
    for (size_t i = 0; i < step->group->n; i++)
        emit_store(E, s, step->group->member[i], &env, val[i]);
}

void lanes_body(const Lower *L, const LoopGroup *group, Emitter *E)
{
    const Type *type = &L->g->node[group->member[0]].type;
    size_t n_rows = (size_t)(type->n_axes - group->n_flat);
    int64_t rows = loop_count(L->g, group->order, n_rows);
    bool blocked = group->n_blocks > 1;
    Ix item;
    Scope *s = loop_items(E, n_rows ? "row" : "block", rows * group->n_blocks, &item);
    LoopSpan span = {.hint = group->n_flat == 1 ? loop_hint(E, group->order[n_rows]) : "i", .size = group->lane_size};
    Ix row = blocked ? ix_div(E->ix, item, group->n_blocks) : item;
    if (blocked)
        loop_block(E, s, ix_mod(E->ix, item, group->n_blocks), group->block, group->lane_size, &span);
    LanesStep step = {.group = group, .outer = env_of(E, group->member[0]), .inner = group->order + n_rows,
                      .n_inner = (size_t)group->n_flat};
    loop_set(E, &step.outer, group->order, n_rows, row);
    if (group->n_flat)
        loop_lanes(E, s, &span, lanes_step, &step);
    else {
        Scope *single = loop_single(E, s);
        lanes_step(E, single, 0, &step);
        loop_single_end(E, s, single);
    }
    loop_items_end(E, s);
}

// --- rows

static size_t inner_axes(const Graph *g, const LoopGroup *group, ValueId v, AxisId *out)
{
    size_t n = 0;
    const Type *type = &g->node[v].type;
    for (int i = 0; i < type->n_axes; i++) {
        bool is_row = false;
        for (size_t k = 0; k < group->wish.n_rows; k++)
            is_row |= group->wish.row[k] == type->axis[i];
        if (!is_row)
            out[n++] = type->axis[i];
    }
    return n;
}

int64_t rows_plan(Lower *L, LoopGroup *group)
{
    const int64_t most_chunks = L->schedule.knob[KNOB_PARTS] > 0 ? L->schedule.knob[KNOB_PARTS] : 32;
    int64_t rows = loop_count(L->g, group->wish.row, group->wish.n_rows);
    if (!group->has_columns)
        return rows;
    group->chunk = chunk_of(rows, most_chunks);
    group->n_chunks = (rows + group->chunk - 1) / group->chunk;
    const int64_t cuda_chunk = chunk_of(rows, ROWS_CUDA_CHUNKS), cuda_chunks = (rows + cuda_chunk - 1) / cuda_chunk;
    const int64_t parts = cuda_chunks > group->n_chunks ? cuda_chunks : group->n_chunks;
    for (size_t i = 0; i < group->n; i++) {
        const Type *type = &L->g->node[group->member[i]].type;
        if (group->is_column[i])
            group->part[i] = lower_workspace(L, "part", DTYPE_F32, parts * loop_count(L->g, type->axis, type->n_axes));
    }
    return group->n_chunks;
}

typedef struct RowsStep {
    const LoopGroup *group;
    Ix               chunk;                 // columns: the number of the chunk
    Env              rows;                  // the indices of the row's axes
    AxisId           inner[MAX_AXES]; size_t n_inner;
    Ix               at[MAX_AXES];
    bool             in_nest[LOOP_MAX_MEMBERS];
    bool             zero;                  // only set the columns to 0
    Val              total[LOOP_MAX_MEMBERS];   // columns without axes: their accumulators
} RowsStep;

// Row indices and inner indices together.
static Env full_env(const RowsStep *step)
{
    Env env = step->rows;
    for (size_t i = 0; i < step->n_inner; i++) {
        assert(env.n < MAX_AXES);
        env.axis[env.n] = step->inner[i];
        env.at[env.n++] = step->at[i];
    }
    return env;
}

// part[chunk, element]
static Ix part_offset(Emitter *E, const RowsStep *step, size_t m, const Env *env)
{
    ValueId v = step->group->member[m];
    const Type *type = &E->g->node[v].type;
    return ix_add(E->ix, emit_offset(E, v, env), ix_scale(E->ix, step->chunk, loop_count(E->g, type->axis, type->n_axes)));
}

static const char *part_place(Emitter *E, const RowsStep *step, size_t m, const Env *env)
{
    Text t = text_make(E->arena);
    ix_print(E->ix, part_offset(E, step, m, env), false, 0, NULL, &t);
    return text_str(&t);
}

// part[chunk, element] += value (or = 0): in CUDA four elements at once, where they lie so.
static void add_to_part(Emitter *E, Scope *s, const RowsStep *step, size_t m, const Env *env, const char *value)
{
    const char *part = emit_workspace(E, step->group->part[m], "part", DTYPE_F32, true), *first = emit_quad(E, s, part_offset(E, step, m, env));
    if (!first) {
        scope_line(s, "%s[%s] %s %s;", part, part_place(E, step, m, env), step->zero ? "=" : "+=", value);
        return;
    }
    const char *four = scope_name(E, s->quad, part);
    scope_line(s->quad, "float %s[4];", four);
    if (!step->zero)
        scope_line(s->quad, "get4_s(%s + %s, %s);", part, first, four);
    scope_line(s, "%s[%s] %s %s;", four, s->place_name, step->zero ? "=" : "+=", value);
    emit_quad_put(E, s, arena_printf(E->arena, "put4_s(%s + %s, %s);", part, first, four));
}

static void rows_lane_step(Emitter *E, Scope *s, Ix at, void *user)
{
    RowsStep *step = user;
    const LoopGroup *group = step->group;
    step->at[step->n_inner - 1] = at;
    Env env = full_env(step);
    Val val[LOOP_MAX_MEMBERS];
    for (size_t m = 0; m < group->n; m++) {
        if (!step->in_nest[m] || step->zero)
            continue;
        ValueId v = group->member[m];
        val[m] = group->is_column[m] ? val_float(E, emit_reduction_part(E, s, v, &env, group->wish.row, group->wish.n_rows))
                                     : val_named(E, s, emit_value(E, s, v, &env), "y");
    }
    for (size_t m = 0; m < group->n; m++) {
        if (!step->in_nest[m])
            continue;
        if (!group->is_column[m]) {
            emit_store(E, s, group->member[m], &env, val[m]);
            continue;
        }
        const char *part = emit_workspace(E, group->part[m], "part", DTYPE_F32, true);
        const char *place = part_place(E, step, m, &env);
        const char *value = step->zero ? "0.0f" : val[m].text;
        LaneForm form = ix_lane(E->ix, emit_offset(E, group->member[m], &env), s->lane, s->lanes);
        if (s->lanes > 1 && form == LANE_UNIT)
            scope_line(s, "*(vf *)(%s + %s) %s %s;", part, place, step->zero ? "=" : "+=",
                       step->zero ? "set_v(0.0f)" : value);
        else if (s->lanes > 1) {
            Text t = text_make(E->arena);
            Ix offset = ix_add(E->ix, emit_offset(E, group->member[m], &env),
                               ix_scale(E->ix, step->chunk, loop_count(E->g, E->g->node[group->member[m]].type.axis,
                                                                       E->g->node[group->member[m]].type.n_axes)));
            ix_print(E->ix, offset, false, s->lane, "q", &t);
            const char *name = step->zero ? "0.0f" : val_named(E, s, val_vector(E, val[m]), "x").text;
            scope_line(s, "for (int q = 0; q < %d; q++)", s->lanes);
            scope_line(s, step->zero ? "    %s[%s] = %s;" : "    %s[%s] += %s[q];", part, text_str(&t), name);
        } else {
            add_to_part(E, s, step, m, &env, value);
        }
    }
}

// Loops over the inner axes around the lane loop.
static void rows_nest(Emitter *E, Scope *row, RowsStep *step)
{
    Scope *chain[MAX_AXES], *s = row;
    size_t depth = 0;
    for (; depth + 1 < step->n_inner; depth++)
        s = chain[depth] = scope_loop(E, s, loop_hint(E, step->inner[depth]), 0, graph_size(E->g, step->inner[depth]), 1,
                                      &step->at[depth]);
    AxisId last = step->inner[step->n_inner - 1];
    LoopSpan span = {.hint = loop_hint(E, last), .size = graph_size(E->g, last)};
    loop_lanes(E, s, &span, rows_lane_step, step);
    while (depth)
        scope_close(E, chain[--depth]);
}

static void row_scalar(Emitter *E, Scope *row, RowsStep *step, size_t m)
{
    const LoopGroup *group = step->group;
    ValueId v = group->member[m];
    if (group->is_column[m]) {
        Val x = emit_reduction_part(E, row, v, &step->rows, group->wish.row, group->wish.n_rows);
        scope_line(row, "%s += %s;", step->total[m].text, val_float(E, x).text);
        return;
    }
    Val x = val_named(E, row, emit_value(E, row, v, &step->rows), "y");
    Scope *single = loop_single(E, row);
    emit_store(E, single, v, &step->rows, x);
    loop_single_end(E, row, single);
}

// CUDA: a number taken out of a row is known to all threads before the row's elements are written, maybe over it (codegen_reuse.c).
static void wait_for_taken(Emitter *E, Scope *row, const LoopGroup *group, size_t m)
{
    bool any = false;
    for (size_t i = 0; i < m; i++)
        any |= E->g->node[group->member[i]].op == OP_TAKE;
    if (any && E->dialect == DIALECT_CUDA && !E->by_warp)
        scope_line(row, "__syncthreads();");
}

// Calls for each set of members that share inner loops; those without any are scalars of the row.
static void rows_stages(Emitter *E, Scope *row, RowsStep *step, bool zero)
{
    const LoopGroup *group = step->group;
    bool done[LOOP_MAX_MEMBERS] = {0};
    for (size_t m = 0; m < group->n; m++) {
        if (done[m] || (zero && !group->is_column[m]))
            continue;
        step->n_inner = inner_axes(E->g, group, group->member[m], step->inner);
        step->zero = zero;
        if (!step->n_inner) {
            if (!zero)
                row_scalar(E, row, step, m);
            continue;
        }
        memset(step->in_nest, 0, sizeof step->in_nest);
        for (size_t o = m; o < group->n; o++) {
            AxisId axis[MAX_AXES];
            size_t n = inner_axes(E->g, group, group->member[o], axis), found = 0;
            for (size_t i = 0; i < n; i++)
                for (size_t k = 0; k < step->n_inner; k++)
                    found += axis[i] == step->inner[k];
            if (n == step->n_inner && found == n && (!zero || group->is_column[o]))
                done[o] = step->in_nest[o] = true;
        }
        if (!zero)
            wait_for_taken(E, row, group, m);
        rows_nest(E, row, step);
    }
}

void rows_at(Emitter *E, Scope *row, const LoopGroup *group, const Env *at)
{
    RowsStep step = {.group = group, .rows = *at};
    rows_stages(E, row, &step, false);
}

void rows_body(const Lower *L, const LoopGroup *group, Emitter *E)
{
    int64_t rows = loop_count(L->g, group->wish.row, group->wish.n_rows);
    RowsStep step = {.group = group};
    step.rows.n = (uint8_t)group->wish.n_rows;
    memcpy(step.rows.axis, group->wish.row, sizeof step.rows.axis);
    Ix item, row_at;
    if (!group->has_columns) {
        Scope *row = loop_items(E, "row", rows, &item);
        loop_set(E, &step.rows, group->wish.row, group->wish.n_rows, item);
        rows_stages(E, row, &step, false);
        loop_items_end(E, row);
        return;
    }
    Scope *chunk = loop_items(E, "chunk", group->n_chunks, &step.chunk);
    LoopSpan span;
    loop_block(E, chunk, step.chunk, group->chunk, rows, &span);
    rows_stages(E, chunk, &step, true);
    for (size_t m = 0; m < group->n; m++)
        if (group->is_column[m] && !E->g->node[group->member[m]].type.n_axes) {
            const Node *n = &E->g->node[group->member[m]];
            step.total[m] = val_name(scope_name(E, chunk, n->hint ? n->hint : "total"), VAL_FLOAT, false);
            scope_line(chunk, "float %s = 0.0f;", step.total[m].text);
        }
    Scope *row = scope_loop_text(E, chunk, "row", span.first, span.last, 1, 0, rows ? rows - 1 : 0, &row_at);
    loop_set(E, &step.rows, group->wish.row, group->wish.n_rows, row_at);
    rows_stages(E, row, &step, false);
    scope_close(E, row);
    for (size_t m = 0; m < group->n; m++)
        if (group->is_column[m] && !E->g->node[group->member[m]].type.n_axes) {
            Scope *single = loop_single(E, chunk);
            Text t = text_make(E->arena);
            ix_print(E->ix, step.chunk, false, 0, NULL, &t);
            scope_line(single, "%s[%s] = %s;", emit_workspace(E, group->part[m], "part", DTYPE_F32, true), text_str(&t),
                       step.total[m].text);
            loop_single_end(E, chunk, single);
        }
    loop_items_end(E, chunk);
}

// --- totals

int64_t total_plan(Lower *L, LoopGroup *group)
{
    enum { LEAST = 4096 };
    const int64_t most_chunks = L->schedule.knob[KNOB_PARTS] > 0 ? L->schedule.knob[KNOB_PARTS] : 256;
    const Node *n = &L->g->node[group->member[0]];
    int64_t count = 0;
    type_count(L->g, &L->g->node[n->in[0]].type, &count);
    int64_t chunk = (count + most_chunks - 1) / most_chunks;
    chunk = (chunk + 63) / 64 * 64;
    group->chunk = chunk > LEAST ? chunk : LEAST;
    group->n_chunks = (count + group->chunk - 1) / group->chunk;
    for (size_t i = 0; i < group->n; i++)
        group->part[i] = lower_workspace(L, "part", DTYPE_F32, group->n_chunks);
    return group->n_chunks;
}

typedef struct TotalStep {
    const LoopGroup *group;
    Val lanes[LOOP_MAX_MEMBERS], rest[LOOP_MAX_MEMBERS];
} TotalStep;

static void total_step(Emitter *E, Scope *s, Ix at, void *user)
{
    TotalStep *step = user;
    const Graph *g = E->g;
    const Type *type = &g->node[g->node[step->group->member[0]].in[0]].type;
    Env env = {.n = type->n_axes};
    memcpy(env.axis, type->axis, sizeof env.axis);
    loop_set(E, &env, type->axis, type->n_axes, at);
    for (size_t m = 0; m < step->group->n; m++) {
        const Attr *over = &g->node[step->group->member[m]].attr[1];
        Val x = emit_reduction_part(E, s, step->group->member[m], &env, over->axes.id, over->axes.n);
        emit_accumulate(E, s, RED_SUM, false, s->lanes > 1 ? step->lanes[m] : step->rest[m], x);
    }
}

void total_body(const Lower *L, const LoopGroup *group, Emitter *E)
{
    int64_t count = 0;
    Ix chunk;
    TotalStep step = {.group = group};
    type_count(L->g, &L->g->node[L->g->node[group->member[0]].in[0]].type, &count);
    Scope *s = loop_items(E, "chunk", group->n_chunks, &chunk);
    LoopSpan span = {.hint = "i"};
    loop_block(E, s, chunk, group->chunk, count, &span);
    bool vectors = E->dialect == DIALECT_C, rest = !vectors || count % E->vl;
    for (size_t m = 0; m < group->n; m++) {
        const char *hint = L->g->node[group->member[m]].hint;
        if (vectors) {
            step.lanes[m] = val_name(scope_name(E, s, hint ? hint : "total"), VAL_FLOAT, true);
            scope_line(s, "vf %s = set_v(0.0f);", step.lanes[m].text);
        }
        if (rest) {
            step.rest[m] = val_name(scope_name(E, s, "rest"), VAL_FLOAT, false);
            scope_line(s, "float %s = 0.0f;", step.rest[m].text);
        }
    }
    loop_lanes(E, s, &span, total_step, &step);
    Text place = text_make(E->arena);
    ix_print(E->ix, chunk, false, 0, NULL, &place);
    for (size_t m = 0; m < group->n; m++) {
        const char *part = emit_workspace(E, group->part[m], "part", DTYPE_F32, true);
        if (vectors) {
            scope_line(s, "%s[%s] = sum_v(%s)%s%s;", part, text_str(&place), step.lanes[m].text, rest ? " + " : "",
                       rest ? step.rest[m].text : "");
            continue;
        }
        scope_line(s, "%s = block_sum_s(%s, shared);", step.rest[m].text, step.rest[m].text);
        Scope *single = loop_single(E, s);
        scope_line(single, "%s[%s] = %s;", part, text_str(&place), step.rest[m].text);
        loop_single_end(E, s, single);
    }
    loop_items_end(E, s);
}
