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
#include <math.h>
#include <string.h>

int64_t loop_count(const Graph *g, const AxisId *axis, size_t n)
{
    int64_t count = 1;
    for (size_t i = 0; i < n; i++)
        count *= graph_size(g, axis[i]);
    return count;
}

static bool is_read(const Lower *L, ValueId v)
{
    const Node *n = &L->g->node[v];
    return n->op == OP_ARG || n->op == OP_PARAM || n->op == OP_STATE || (n->kernel && n->kernel != L->kernel);
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
    for (int i = 0; i < n->n_in; i++) {
        bool reaches = false;
        if (!direct_path(L, n->in[i], to, &reaches, budget) || (reaches && loop_moves_index(n)))
            return false;
        *out_reaches |= reaches;
    }
    return true;
}

// --- sorting the stored values into launches

// Whether v can be made by the same launch as what is in the group already.
static bool joins(const Lower *L, LoopGroup *group, const LoopWish *wish, ValueId v)
{
    if (group->n == LOOP_MAX_MEMBERS)
        return false;
    for (size_t i = 0; i < group->n; i++) {
        bool reaches = false;
        size_t budget = 4096;
        if (!direct_path(L, v, group->member[i], &reaches, &budget) || (reaches && group->is_column[i]))
            return false;
    }
    return loop_join(L->g, &group->wish, group->member, group->n, wish, v);
}

static LoopGroup *sort_members(const Lower *L, size_t *out_n)
{
    LoopGroup *group = NULL;
    size_t n = 0, capacity = 0;
    for (size_t m = 0; m < L->n_members; m++) {
        ValueId v = L->member[m];
        LoopWish wish = loop_ask(L->g, L->kernel, v);
        // Into the last launch, or a new one: so that whatever it reads was made before.
        if (!n || !joins(L, &group[n - 1], &wish, v)) {
            group = arena_grow(L->arena, group, n, &capacity, sizeof *group);
            group[n++] = (LoopGroup){.wish = wish};
        }
        LoopGroup *g = &group[n - 1];
        g->has_columns |= wish.is_column;
        g->is_column[g->n] = wish.is_column;
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
        text_printf(&t, " = %s%s", loop_is_reduction(n) ? "reduction: " : "", op_row[n->op].text);
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
        type_count(L->g, loop_is_reduction(n) ? &L->g->node[n->in[0]].type : &n->type, &count);
        t->flops += 2 * (double)count;
    }
}

static const char *hint_of(const Lower *L, ValueId v)
{
    const Node *n = &L->g->node[v];
    return n->hint ? n->hint : n->op == OP_REDUCE ? red_text[n->attr[0].red] : op_row[n->op].text;
}

// Small values whose lanes lie apart in memory (a short convolution's weights, [channels, taps]) and which are read again for
// row after row: a launch before copies them with the lanes innermost.
typedef struct Turning { Turned value[4]; size_t n; } Turning;

static void launch_turned(Lower *L, Turned *turned)
{
    const Node *n = &L->g->node[turned->value];
    AxisId other[MAX_AXES];
    size_t n_other = 0;
    for (int i = 0; i < n->type.n_axes; i++)
        if (n->type.axis[i] != turned->last)
            other[n_other++] = n->type.axis[i];
    const int64_t rows = loop_count(L->g, other, n_other), lanes = graph_size(L->g, turned->last);
    LowerText t = {.hint = "turned", .comment = arena_printf(L->arena, "%s with its lanes side by side", n->hint ? n->hint : op_row[n->op].text),
                   .n_work = rows, .grain = 16384 / lanes + 1, .cuda_threads = 1};
    turned->workspace = lower_workspace(L, "turned", DTYPE_F32, rows * lanes);
    t.c = lower_emitter(L, DIALECT_C, NULL);
    const char *to = emit_workspace(t.c, turned->workspace, "turned", DTYPE_F32, true);
    Ix item, at;
    Scope *s = loop_items(t.c, "row", rows, &item);
    Scope *loop = scope_loop(t.c, s, "c", 0, lanes, 1, &at);
    Env env = env_of(t.c, turned->value);
    loop_set(t.c, &env, other, n_other, item);
    env_set(&env, turned->last, at);
    Val x = emit_value(t.c, loop, turned->value, &env);
    Text offset = text_make(L->arena);
    ix_print(t.c->ix, emit_offset_turned(t.c, turned->value, &env, turned->last), false, 0, NULL, &offset);
    scope_line(loop, "%s[%s] = %s;", to, text_str(&offset), x.text);
    scope_close(t.c, loop);
    loop_items_end(t.c, s);
    t.bytes = 8 * (double)(rows * lanes);
    t.cuda = lower_emitter(L, DIALECT_CUDA, t.c);       // nothing: no blocks, the launch is left out
    lower_launch(L, &t);
}

// Finds them by writing the kernel once.
static void turn_operands(Lower *L, const LoopGroup *group, LoopBody *body, Turning *turning)
{
    enum { MOST = 1 << 16, TIMES = 64 };
    const Type *type = &L->g->node[group->member[0]].type;
    if (group->wish.shape != LOOP_LANES || group->n_flat != 1)
        return;
    const AxisId lane = group->order[type->n_axes - 1];
    Emitter *probe = lower_emitter(L, DIALECT_C, NULL);
    body(L, group, probe);
    for (size_t i = 0; i < probe->n_params && turning->n < sizeof turning->value / sizeof *turning->value; i++) {
        const ValueId v = probe->param[i].value;
        const Type *of = &L->g->node[v].type;
        const int at = v ? type_find(of, lane) : -1;
        int64_t count = 0, results = 0;
        if (at < 0 || probe->param[i].is_written || probe->param[i].workspace || of->dtype != DTYPE_F32 ||
            loop_count(L->g, of->axis + at + 1, (size_t)(of->n_axes - at - 1)) == 1 || !type_count(L->g, of, &count) ||
            !type_count(L->g, type, &results) || count > MOST || results < TIMES * count)
            continue;
        turning->value[turning->n] = (Turned){.value = v, .last = lane};
        launch_turned(L, &turning->value[turning->n++]);
    }
}

// Work items worth a hand-out: about 16k elements; fewer where threads would get an uneven share, but 2k at least.
static int64_t grain_of(const Lower *L, int64_t n_work, int64_t elements)
{
    const int64_t share = elements / (4 * (L->target->threads > 0 ? L->target->threads : 1));
    const int64_t usual = share > 16384 ? 16384 : share > 2048 ? share : 2048;
    const int64_t wanted = L->schedule.knob[KNOB_GRAIN] > 0 ? L->schedule.knob[KNOB_GRAIN] : usual;
    int64_t each = n_work ? elements / n_work : 0;
    int64_t grain = wanted / (each > 0 ? each : 1);
    return grain > 1 ? grain : 1;
}

typedef struct GroupWork {
    int64_t   elements, n_work, grain;
    LoopBody *body;
} GroupWork;

// Cuts a group, and counts what there is to do.
static GroupWork group_work(Lower *L, LoopGroup *group)
{
    const Graph *g = L->g;
    GroupWork work = {.grain = 1};
    for (size_t i = 0; i < group->n; i++) {
        int64_t count = 0;
        const Node *n = &g->node[group->member[i]];
        type_count(g, loop_is_reduction(n) ? &g->node[n->in[0]].type : &n->type, &count);
        work.elements = count > work.elements ? count : work.elements;
    }
    switch (group->wish.shape) {
    case LOOP_LANES:
        work.n_work = lanes_plan(L, group);
        work.grain = grain_of(L, work.n_work, work.elements);
        work.body = lanes_body;
        break;
    case LOOP_ROWS:
        work.n_work = rows_plan(L, group);
        work.grain = grain_of(L, work.n_work, work.elements);
        work.body = rows_body;
        break;
    case LOOP_TOTAL:
        work.n_work = total_plan(L, group);
        work.body = total_body;
        break;
    }
    return work;
}

// Threads of a block for loops over `along` elements: a thread takes some four times four of them, or as many one by one.
static int64_t threads_for(int64_t along)
{
    int64_t threads = 32;
    while (threads < 256 && threads * 16 <= along)
        threads *= 2;
    return threads;
}

// How many elements a block of the CUDA text goes through side by side.
static int64_t along_of(const Lower *L, const LoopGroup *group, int64_t elements)
{
    if (group->wish.shape == LOOP_TOTAL)
        return group->chunk;
    if (group->wish.shape == LOOP_LANES)
        return group->n_blocks > 1 ? group->block : group->lane_size;
    const int64_t rows = loop_count(L->g, group->wish.row, group->wish.n_rows);
    return rows > 0 ? elements / rows : 1;
}

static void launch_group(Lower *L, LoopGroup *group, const GroupWork *work)
{
    Turning turning = {.n = 0};
    turn_operands(L, group, work->body, &turning);
    LowerText t = {.hint = hint_of(L, group->member[group->n - 1]), .comment = comment_of(L, group), .n_work = work->n_work,
                   .grain = work->grain};
    t.c = lower_emitter(L, DIALECT_C, NULL);
    for (size_t i = 0; i < group->n; i++)   // results first, so that they have their own names
        if (!group->is_column[i])
            emit_param(t.c, group->member[i], true);
    for (size_t i = 0; i < turning.n; i++)  // CUDA reads them where they are
        emit_param(t.c, turning.value[i].value, false);
    t.c->turned = turning.value;
    t.c->n_turned = turning.n;
    work->body(L, group, t.c);
    t.cuda = lower_emitter(L, DIALECT_CUDA, t.c);
    t.cuda_blocks = loop_cut_for_cuda(L, group, work->n_work);
    t.cuda_threads = threads_for(along_of(L, group, work->elements));
    work->body(L, group, t.cuda);
    measure(L, group, t.c, &t);
    lower_launch(L, &t);
}

static void lower_group(Lower *L, LoopGroup *group)
{
    const GroupWork work = group_work(L, group);
    launch_group(L, group, &work);
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

// --- schedules

// Cycles of the busiest thread: its elements, its hand-outs, and the parts of columns that a launch of their own adds up.
static double group_cycles(const LoopGroup *group, const GroupWork *work, int threads)
{
    const double hand_outs = (double)((work->n_work + work->grain - 1) / work->grain), most = ceil(hand_outs / threads);
    const double each = work->n_work ? (double)work->elements / (double)work->n_work : 0;
    double cycles = most * ((double)work->grain * (each + 10) + 150);
    if (group->has_columns)
        cycles += 4000 + (double)group->n_chunks * 100;
    return cycles;
}

static void try_loop(Lower *L, LoopGroup *group, size_t n, Schedule schedule, CandidateList *list)
{
    double cycles = 0;
    uint64_t sign = 0;
    L->schedule = schedule;
    for (size_t i = 0; i < n; i++) {
        LoopGroup trial = group[i];
        const GroupWork work = group_work(L, &trial);
        cycles += group_cycles(&trial, &work, L->target->threads > 0 ? L->target->threads : 1);
        const int64_t grain = work.grain < work.n_work ? work.grain : work.n_work;
        sign = schedule_sign(schedule_sign(schedule_sign(sign, work.n_work), grain), trial.n_chunks);
    }
    candidates_add(list, schedule, cycles, sign);
}

size_t candidates_loop(Lower *L, size_t most, Candidate **out)
{
    static const int32_t grain[] = {0, 2048, 4096, 8192, 16384, 65536}, block[] = {0, 1024, 2048, 8192, 16384, 65536},
                         parts[] = {0, 8, 16, 32, 128, 256};
    enum { N = sizeof grain / sizeof *grain };
    CandidateList list = {.arena = L->arena};
    size_t n;
    LoopGroup *group = sort_members(L, &n);
    for (int g = 0; g < N; g++)
        for (int b = 0; b < N; b++)
            for (int p = 0; p < N; p++) {
                Schedule schedule = {0};
                schedule.knob[KNOB_GRAIN] = grain[g];
                schedule.knob[KNOB_COLS] = block[b];
                schedule.knob[KNOB_PARTS] = parts[p];
                try_loop(L, group, n, schedule, &list);
            }
    return candidates_ranked(&list, most, out);
}
