// One launch over many buffers: on a GPU the updates of a model's parameters, element by element each, differ only in their sizes, and so do
// the sums over all elements of what updates read (the gradients' squares). Where some of them may run at the same time they become
// the pieces of a sweep (ir/program.h): one kernel, one launch, whose blocks look up which piece is theirs and where it lies. Sums
// take a second sweep, in which a block adds up the chunks of a piece in a fixed order.
//
//   order of kernels --sweep_plan--> steps: a kernel, or kernels that are one sweep --sweep_add--> kernel and launch
//
// A sweep runs where its last piece would have; it ends before a kernel that reads what a piece wrote, or writes what one reads.
#include "sweep.h"

#include "emit_parts.h"
#include "lower_loop.h"

#include <string.h>

enum {
    CHUNK = 2048, SUM_CHUNK = 8192,         // elements of a block: four times four for each thread, or sixteen times
    THREADS = 128, MOST_ARGUMENTS = 60000,
};

static const int64_t no_end = (int64_t)1 << 40;             // of an index that is not known while the text is written

// --- what may be a piece

static uint32_t storage(const Codegen *c, ValueId v)
{
    uint32_t b = c->buffer_of[v];
    while (c->program->buffer[b].same_as)
        b = c->program->buffer[b].same_as;
    return b;
}

static bool has_axes(const Node *n, const Type *type)
{
    return n->type.n_axes == type->n_axes && !memcmp(n->type.axis, type->axis, type->n_axes * sizeof *type->axis);
}

// What the kernel is a total of, over all of its axes, if it is nothing else; 0: it is not.
static ValueId summed(const Codegen *c, uint32_t kernel)
{
    const Node *n = &c->g->node[c->member[c->first[kernel]]];
    const bool is_total = c->first[kernel + 1] - c->first[kernel] == 1 && n->op == OP_REDUCE && n->attr[0].red == RED_SUM && n->type.n_axes == 0;
    return is_total && c->g->node[n->in[0]].type.dtype != DTYPE_I32 ? n->in[0] : 0;
}

// The axes of a piece's elements.
static const Type *type_of(const Codegen *c, uint32_t kernel)
{
    const ValueId operand = summed(c, kernel);
    return &c->g->node[operand ? operand : c->member[c->first[kernel]]].type;
}

// Whether all in c->cone but a total itself is element by element, from the same elements of others and from numbers.
static bool is_flat(const Codegen *c, uint32_t kernel)
{
    const Graph *g = c->g;
    const Type *type = type_of(c, kernel);
    const bool is_total = summed(c, kernel) != 0;
    int64_t count = 0;
    if (g->kernel[kernel] != FAMILY_LOOP || c->first[kernel + 1] - c->first[kernel] > LOOP_MAX_MEMBERS || type->n_axes == 0
        || !type_count(g, type, &count) || count == 0)
        return false;
    for (size_t i = 0; i < c->cone.n; i++) {
        const Node *n = &g->node[c->cone.value[i]];
        const bool is_number = n->type.n_axes == 0, is_stored = n->kernel == kernel;
        if (is_stored && is_total)
            continue;
        if ((!is_number && !has_axes(n, type)) || (is_stored && is_number))
            return false;
        if (c->cone.is_read[i] ? n->type.dtype == DTYPE_I32
                               : n->op == OP_INDEX || n->op == OP_RANDOM || (!(op_row[n->op].flags & OP_FLAG_POINTWISE) && n->op != OP_EXPAND))
            return false;
    }
    return true;
}

// Whether the kernel of c->cone updates parameters or states so.
static bool is_update(const Codegen *c, uint32_t kernel)
{
    bool updates = false;
    if (summed(c, kernel) || !is_flat(c, kernel))
        return false;
    for (uint32_t m = c->first[kernel]; m < c->first[kernel + 1]; m++) {
        const BufferKind kind = c->program->buffer[storage(c, c->member[m])].kind;
        updates |= kind == BUFFER_PARAM || kind == BUFFER_STATE;
    }
    return updates;
}

// Or sums up what updates read, which therefore has to wait for them anyway.
static bool is_sum_for_updates(const Codegen *c, uint32_t kernel, const bool *read_by_update)
{
    if (!summed(c, kernel) || !is_flat(c, kernel))
        return false;
    for (size_t i = 0; i < c->cone.n; i++)
        if (c->cone.is_read[i] && c->g->node[c->cone.value[i]].type.n_axes > 0 && !read_by_update[c->cone.value[i]])
            return false;
    return true;
}

// [n_nodes] of values.
static bool *find_read_by_updates(Codegen *c)
{
    bool *read = arena_array(&c->scratch, bool, c->g->n_nodes);
    for (size_t i = 0; i < c->n_order; i++) {
        if (c->g->kernel[c->order[i]] != FAMILY_LOOP)
            continue;
        codegen_cone(c, c->order[i]);
        const bool updates = is_update(c, c->order[i]);
        for (size_t k = 0; updates && k < c->cone.n; k++)
            if (c->cone.is_read[k])
                read[c->cone.value[k]] = true;
    }
    return read;
}

// What pieces of one sweep have in common: the kernel key without sizes.
static void piece_key(const Codegen *c, uint32_t kernel, Text *out)
{
    const Graph *g = c->g;
    for (size_t i = 0; i < c->cone.n; i++) {
        const Node *n = &g->node[c->cone.value[i]];
        text_printf(out, "%d %d %d", c->cone.is_read[i] ? 0 : 1 + (n->kernel == kernel), n->type.dtype, n->type.n_axes > 0);
        for (int k = 0; k < n->n_in && !c->cone.is_read[i]; k++)
            text_printf(out, " %u", c->cones.local[n->in[k]]);
        if (!c->cone.is_read[i])
            text_printf(out, " op %d", n->op);
        for (int k = 0; k < n->n_attr && !c->cone.is_read[i]; k++) {
            const Attr *a = &n->attr[k];
            if (a->kind == ATTR_FLOAT)
                text_printf(out, " %a", (double)a->f);
            else if (a->kind == ATTR_ACT)
                text_printf(out, " act %d", a->act);
            else if (a->kind == ATTR_DTYPE)
                text_printf(out, " to %d", a->dtype);
        }
        text_char(out, '\n');
    }
}

// --- the plan

typedef struct Open {                       // a sweep that may go on
    const char *key;
    uint32_t   *kernel; size_t n, capacity;
} Open;

typedef struct Planner {
    Codegen   *c;
    Open      *open; size_t n_open, open_capacity;
    uint32_t  *read_at, *written_at;        // by storage: the turn in which a piece did
    uint32_t   turn;
    SweepStep *step; size_t n, capacity;
} Planner;

static void add_step(Planner *p, const uint32_t *kernel, size_t n)
{
    uint32_t *own = arena_array(&p->c->scratch, uint32_t, n);
    memcpy(own, kernel, n * sizeof *own);
    p->step = arena_grow(&p->c->scratch, p->step, p->n, &p->capacity, sizeof *p->step);
    p->step[p->n++] = (SweepStep){own, n};
}

static void close_all(Planner *p)
{
    for (size_t i = 0; i < p->n_open; i++)
        add_step(p, p->open[i].kernel, p->open[i].n);
    p->n_open = 0;
    p->turn++;
}

// Whether the kernel of c->cone has to wait for an open sweep, or the sweep for it.
static bool meets_a_piece(const Planner *p, uint32_t kernel)
{
    const Codegen *c = p->c;
    for (size_t i = 0; i < c->cone.n; i++) {
        const ValueId v = c->cone.value[i];
        const bool is_written = !c->cone.is_read[i] && c->g->node[v].kernel == kernel;
        if (!is_written && !c->cone.is_read[i])
            continue;
        const uint32_t b = storage(c, v);
        if (p->written_at[b] == p->turn || (is_written && p->read_at[b] == p->turn))
            return true;
    }
    return false;
}

static void join(Planner *p, uint32_t kernel)
{
    Codegen *c = p->c;
    Text key = text_make(&c->scratch);
    size_t at = 0;
    piece_key(c, kernel, &key);
    while (at < p->n_open && strcmp(p->open[at].key, text_str(&key)) != 0)
        at++;
    if (at == p->n_open) {
        p->open = arena_grow(&c->scratch, p->open, p->n_open, &p->open_capacity, sizeof *p->open);
        p->open[p->n_open++] = (Open){.key = text_str(&key)};
    }
    Open *o = &p->open[at];
    o->kernel = arena_grow(&c->scratch, o->kernel, o->n, &o->capacity, sizeof *o->kernel);
    o->kernel[o->n++] = kernel;
    for (size_t i = 0; i < c->cone.n; i++) {
        const ValueId v = c->cone.value[i];
        if (c->cone.is_read[i])
            p->read_at[storage(c, v)] = p->turn;
        else if (c->g->node[v].kernel == kernel)
            p->written_at[storage(c, v)] = p->turn;
    }
}

size_t sweep_plan(Codegen *c, SweepStep **out)
{
    const bool *read_by_update = c->target->is_cuda ? find_read_by_updates(c) : NULL;
    Planner p = {.c = c, .turn = 1, .read_at = arena_array(&c->scratch, uint32_t, c->program->n_buffers),
                 .written_at = arena_array(&c->scratch, uint32_t, c->program->n_buffers)};
    for (size_t i = 0; i < c->n_order; i++) {
        const uint32_t kernel = c->order[i];
        if (!c->target->is_cuda || (!p.n_open && c->g->kernel[kernel] != FAMILY_LOOP)) {
            add_step(&p, &kernel, 1);
            continue;
        }
        codegen_cone(c, kernel);
        if (p.n_open && meets_a_piece(&p, kernel))
            close_all(&p);
        if (is_update(c, kernel) || is_sum_for_updates(c, kernel, read_by_update))
            join(&p, kernel);
        else
            add_step(&p, &kernel, 1);
    }
    close_all(&p);
    *out = p.step;
    return p.n;
}

// --- the kernels

typedef struct Piece {
    const Codegen *c;
    uint32_t       kernel;
    const char    *sum;                     // what elements of a total are added to
} Piece;

// All values of the kernel at one element; of a total, the element is added.
static void piece_step(Emitter *E, Scope *s, Ix at, void *user)
{
    const Piece *p = user;
    const ValueId *member = &p->c->member[p->c->first[p->kernel]], operand = summed(p->c, p->kernel);
    const size_t n = p->c->first[p->kernel + 1] - p->c->first[p->kernel];
    const Type *type = type_of(p->c, p->kernel);
    Env env = env_of(E, operand ? operand : member[0]);
    Val val[LOOP_MAX_MEMBERS];
    loop_set(E, &env, type->axis, type->n_axes, at);
    if (operand) {
        emit_accumulate(E, s, RED_SUM, false, val_name(p->sum, VAL_FLOAT, false), val_float(E, emit_value(E, s, operand, &env)));
        return;
    }
    for (size_t i = 0; i < n; i++)
        val[i] = val_named(E, s, emit_value(E, s, member[i], &env), "y");
    for (size_t i = 0; i < n; i++)
        emit_store(E, s, member[i], &env, val[i]);
}

// Names that the function's head declares are nobody else's.
static void reserve_names(Emitter *E)
{
    static const char *const name[] = {"p", "count", "at", "piece", "begin", "end", "scratch", "shared"};
    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
        emit_name(E, name[i]);
}

// A block's chunk of a piece: threads go through fours, then through the one to three last elements.
static void write_chunk(Emitter *E, Piece *piece, int chunk)
{
    LoopSpan span = {.hint = "i", .size = no_end, .length = chunk, .first = emit_name(E, "first")};
    const char *last = emit_name(E, "last"), *whole = span.last = emit_name(E, "whole");
    scope_line(E->top, "const long %s = at[2*blockIdx.x + 1]*%dL;", span.first, chunk);
    scope_line(E->top, "const long %s = %s + %d < count[piece] ? %s + %d : count[piece];", last, span.first, chunk, span.first, chunk);
    scope_line(E->top, "const long %s = %s - %s %% 4;", whole, last, last);
    loop_lanes(E, E->top, &span, piece_step, piece);
    span.first = whole;
    span.last = last;
    E->one_by_one = true;
    loop_lanes(E, E->top, &span, piece_step, piece);
}

static void put_sum(Emitter *E, const char *place, const char *sum)
{
    scope_line(E->top, "%s = block_sum_s(%s, shared);", sum, sum);
    scope_line(E->top, "if (threadIdx.x == 0)");
    scope_line(E->top, "    %s = %s;", place, sum);
}

static Emitter *write_cuda(Lower *L, Piece *piece, uint32_t part)
{
    Emitter *E = lower_emitter(L, DIALECT_CUDA, NULL);
    reserve_names(E);
    if (!part) {
        for (size_t i = 0; i < L->n_members; i++)   // results first, so that they have their own names
            emit_param(E, L->member[i], true);
        write_chunk(E, piece, CHUNK);
        return E;
    }
    const char *parts = emit_workspace(E, part, "part", DTYPE_F32, true);
    piece->sum = emit_name(E, "sum");
    scope_line(E->top, "float %s = 0.0f;", piece->sum);
    write_chunk(E, piece, SUM_CHUNK);
    put_sum(E, arena_printf(L->arena, "%s[at[2*blockIdx.x + 1]]", parts), piece->sum);
    return E;
}

// A work item is a piece.
static Emitter *write_c(Lower *L, Piece *piece, const Emitter *cuda, uint32_t part)
{
    Emitter *E = lower_emitter(L, DIALECT_C, cuda);
    Ix at;
    reserve_names(E);
    if (!part) {
        Scope *loop = scope_loop_text(E, E->top, "i", "0", "count[piece]", 1, 0, no_end, &at);
        piece_step(E, loop, at, piece);
        scope_close(E, loop);
        return E;
    }
    const char *parts = emit_workspace(E, part, "part", DTYPE_F32, true), *chunk = emit_name(E, "chunk"), *last = emit_name(E, "last");
    piece->sum = emit_name(E, "sum");
    Scope *s = scope_block(E, E->top, arena_printf(L->arena, "for (long %s = 0; %s*%d < count[piece]; %s++) {", chunk, chunk, SUM_CHUNK, chunk));
    scope_line(s, "const long %s = (%s + 1)*%d < count[piece] ? (%s + 1)*%d : count[piece];", last, chunk, SUM_CHUNK, chunk, SUM_CHUNK);
    scope_line(s, "float %s = 0.0f;", piece->sum);
    Scope *loop = scope_loop_text(E, s, "i", arena_printf(L->arena, "%s*%d", chunk, SUM_CHUNK), last, 1, 0, no_end, &at);
    piece_step(E, loop, at, piece);
    scope_close(E, loop);
    scope_line(s, "%s[%s] = %s;", parts, chunk, piece->sum);
    scope_close(E, s);
    return E;
}

// Adds up the chunks of a piece, whose number is its count.
static Emitter *write_addition(Lower *L, const Emitter *like, uint32_t part)
{
    Emitter *E = lower_emitter(L, like ? DIALECT_C : DIALECT_CUDA, like);
    reserve_names(E);
    const char *y = emit_param(E, L->member[0], true), *parts = emit_workspace(E, part, "part", DTYPE_F32, false);
    const char *sum = emit_name(E, "sum"), *i = emit_name(E, "i");
    scope_line(E->top, "float %s = 0.0f;", sum);
    scope_line(E->top, like ? "for (long %s = 0; %s < count[piece]; %s++)" : "for (long %s = threadIdx.x; %s < count[piece]; %s += blockDim.x)", i, i, i);
    scope_line(E->top, "    %s += %s[%s];", sum, parts, i);
    if (like)
        scope_line(E->top, "%s[0] = %s;", y, sum);
    else
        put_sum(E, arena_printf(L->arena, "%s[0]", y), sum);
    return E;
}

static const char *describe(Lower *L, const char *what, size_t n)
{
    Text text = text_make(L->arena);
    for (size_t i = 0; i < L->n_members; i++) {
        text_add(&text, i ? ", " : "");
        lower_describe(L->g, L->member[i], &text);
    }
    text_printf(&text, "%s, and %zu more that are alike", what, n - 1);
    return text_str(&text);
}

// --- the launches

// Every buffer of a piece once.
static double piece_bytes(const Program *p, const uint32_t *buffer, uint32_t n)
{
    double bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        bool seen = false;
        for (uint32_t j = 0; j < i; j++)
            seen |= buffer[j] == buffer[i];
        bytes += seen ? 0 : (double)p->buffer[buffer[i]].bytes;
    }
    return bytes;
}

typedef struct Written {                    // a kernel of a sweep
    Emitter       *cuda, *plain;
    const char    *what;
    int64_t        chunk;
    const int64_t *count;                   // [n] elements of the pieces
    const uint32_t *part;                   // [n] the buffer for its workspace; NULL: there is none
} Written;

static void add_launch(Codegen *c, Lower *L, const uint32_t *kernel, size_t n, const Written *w)
{
    Program *program = c->program;
    const uint32_t n_own = (uint32_t)w->cuda->n_params;
    uint32_t *place = arena_array(&c->scratch, uint32_t, n_own);     // of a parameter, in the cone
    const Node *last = &c->g->node[L->member[L->n_members - 1]];
    Launch launch = {.n_work = (int64_t)n, .grain = 1, .at = last->at, .buffer = arena_array(program->arena, uint32_t, n * n_own)};
    codegen_cone(c, kernel[0]);
    for (uint32_t a = 0; a < n_own; a++)
        place[a] = w->cuda->param[a].workspace ? 0 : c->cones.local[w->cuda->param[a].value];
    for (size_t i = 0; i < n; i++) {
        uint32_t *own = &launch.buffer[i * n_own];
        codegen_cone(c, kernel[i]);
        for (uint32_t a = 0; a < n_own; a++)
            own[a] = w->cuda->param[a].workspace ? w->part[i] : c->buffer_of[c->cone.value[place[a]]];
        launch.cuda_blocks += (w->count[i] + w->chunk - 1) / w->chunk;
        launch.flops += 2 * (double)w->count[i] * (double)L->n_members;
        launch.bytes += piece_bytes(program, own, n_own);
    }
    Sweep *sweep = arena_new(program->arena, Sweep);
    *sweep = (Sweep){.n_pieces = (uint32_t)n, .n_own = n_own, .chunk = w->chunk, .count = w->count};
    launch.kernel = lower_sweep(L, last->hint ? last->hint : op_row[last->op].text, describe(L, w->what, n), w->plain, w->cuda, sweep, THREADS);
    program_add_launch(program, launch);
}

static void add_some(Codegen *c, const uint32_t *kernel, size_t n)
{
    Program *program = c->program;
    codegen_cone(c, kernel[0]);
    Piece piece = {.c = c, .kernel = kernel[0]};
    const bool is_total = summed(c, kernel[0]) != 0;
    Lower L = {.arena = &c->scratch, .diag = c->diag, .g = c->g, .target = c->target, .program = program, .kernel = kernel[0],
               .member = &c->member[c->first[kernel[0]]], .n_members = c->first[kernel[0] + 1] - c->first[kernel[0]], .n_uses = c->n_uses};
    const uint32_t workspace = is_total ? lower_workspace(&L, "part", DTYPE_F32, 1) : 0;
    int64_t *count = arena_array(program->arena, int64_t, n), *chunks = arena_array(program->arena, int64_t, n);
    uint32_t *part = arena_array(&c->scratch, uint32_t, n);
    for (size_t i = 0; i < n; i++) {
        type_count(c->g, type_of(c, kernel[i]), &count[i]);
        chunks[i] = (count[i] + SUM_CHUNK - 1) / SUM_CHUNK;
        if (is_total)
            part[i] = program_add_buffer(program, (Buffer){.name = "part", .kind = BUFFER_TEMP, .dtype = DTYPE_F32, .bytes = (size_t)chunks[i] * sizeof(float),
                                                           .n_axes = 1, .axis = {"n"}, .size = {chunks[i]}});
    }
    Written w = {.what = is_total ? ": chunks of the sum" : ", element by element", .chunk = is_total ? SUM_CHUNK : CHUNK, .count = count, .part = part};
    w.cuda = write_cuda(&L, &piece, workspace);
    w.plain = write_c(&L, &piece, w.cuda, workspace);
    add_launch(c, &L, kernel, n, &w);
    if (!is_total)
        return;
    w = (Written){.what = ": adds up its chunks", .chunk = no_end, .count = chunks, .part = part};
    w.cuda = write_addition(&L, NULL, workspace);
    w.plain = write_addition(&L, w.cuda, workspace);
    add_launch(c, &L, kernel, n, &w);
}

void sweep_add(Codegen *c, const SweepStep *step)
{
    enum { MOST = MOST_ARGUMENTS / 64 };    // a kernel has at most 64 parameters that it writes, and here few others
    for (size_t i = 0; i < step->n; i += MOST)
        add_some(c, &step->kernel[i], step->n - i < MOST ? step->n - i : MOST);
}
