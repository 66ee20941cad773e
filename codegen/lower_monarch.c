// lower_monarch: a chain of small products as one kernel, each stage with the loops of a product kernel.
//
//   for each block of rows (a work item):
//       for each stage, for each of its batches (or vectors of batches) and blocks of columns:
//           what a work item of that product does, for these rows
//
// A stage is lowered as if it were a kernel of its own: in a copy of the graph each value that is handed on has a kernel number of
// its own, so that the next stage takes it for stored. Where it is stored is told by the emitter (Placed): in the thread's
// scratch, at the place of row 0 were it there. A permutation between stages is nothing but the strides of their operands.
// Columns are packed by a launch of their own, once for all work items.
//
// Needs: the pass fuse_monarch; floats; C only, in CUDA the same value as plain loops.
#include "lower_product.h"
#include "monarch.h"

#include <assert.h>
#include <string.h>

enum { MOST_WANTED_ROWS = 64 };             // what a work item hands on then still fits a second-level cache

typedef struct Stage {
    ProductText P;
    Space       space;
    ValueId     value;                      // what it hands on, or the kernel's result
    uint32_t    kernel, packed;             // in the copy of the graph; the workspace of its columns, 0: they are packed in place
} Stage;

typedef struct Monarch {
    Lower   *L;                             // of the copy
    Stage    stage[MONARCH_MOST_STAGES];
    int      n;
    int64_t  rows, block_rows, width[MONARCH_MOST_STAGES];      // width: of what stage i hands on
} Monarch;

// The graph in which every stage is a kernel of its own. The last one keeps its number.
static Graph *stages_apart(const Lower *L)
{
    Arena *arena = L->arena;
    Graph *g = arena_new(arena, Graph);
    *g = *L->g;
    g->node = arena_array(arena, Node, g->n_nodes);
    memcpy(g->node, L->g->node, g->n_nodes * sizeof *g->node);
    g->kernel = arena_array(arena, KernelFamily, g->n_kernels + L->n_members);
    memcpy(g->kernel, L->g->kernel, g->n_kernels * sizeof *g->kernel);
    for (size_t i = 0; i + 1 < L->n_members; i++) {
        g->kernel[g->n_kernels] = FAMILY_MONARCH;
        g->node[L->member[i]].kernel = (uint32_t)g->n_kernels++;
    }
    return g;
}

static void find_stages(Monarch *M)
{
    for (int i = 0; i < M->n; i++) {
        Stage *s = &M->stage[i];
        Lower own = *M->L;
        s->value = M->L->member[i];
        s->kernel = M->L->g->node[s->value].kernel;
        own.member = &s->value;
        own.n_members = 1;
        own.kernel = s->kernel;
        s->space = product_space(&own);
        s->P = (ProductText){.p = product_of(M->L->g, s->space.anchor)};
        if (i + 1 < M->n)
            M->width[i] = monarch_row_width(M->L->g, s->value, &s->P.p);
    }
    M->rows = M->stage[0].P.p.group[CLASS_ROW].size;
    // As few rows as fill tiles: then the packed rows of a vector of batches lie in the first-level cache. Of a pair of 1024 = 32 x 32
    // features, 14 rows at a time take 0.7 of the time that 64 take.
    const int64_t tile = tile_for(M->L->target).rows, wanted = M->L->schedule.knob[KNOB_ROWS];
    M->block_rows = wanted > 0 ? (wanted < MOST_WANTED_ROWS ? wanted : MOST_WANTED_ROWS) : tile < MONARCH_MOST_ROWS ? MONARCH_MOST_ROWS / tile * tile : MONARCH_MOST_ROWS;
}

// The usual tile for so many rows, and then one block of rows with all of the columns packed ahead if more than one item wants them.
// Returns the cycles of a work item's part.
static double plan_stage(Monarch *M, Stage *s)
{
    const int32_t *knob = M->L->schedule.knob;
    Target alone = *M->L->target;
    alone.threads = 1;                      // rows are shared out, nothing else
    Product p = s->P.p;
    p.group[CLASS_ROW].size = M->block_rows;
    const Schedule usual = {0};
    const Tile tile = plan_product(&p, &alone, false, &usual).tile;
    Schedule want = {0};
    want.knob[KNOB_ROWS] = (int32_t)M->block_rows;
    want.knob[KNOB_TILE_ROWS] = tile.rows;
    want.knob[KNOB_TILE_VECTORS] = tile.vectors;
    want.knob[KNOB_PACK] = 2;
    want.knob[KNOB_BATCHES] = knob[KNOB_BATCHES];
    want.knob[KNOB_TERMS] = knob[KNOB_TERMS];
    s->P.plan = plan_product(&p, &alone, false, &want);
    s->P.E = lower_emitter(M->L, DIALECT_C, NULL);
    s->P.E->kernel = s->kernel;
    const bool across = product_find_across(&s->P, &s->space, &alone, &want);
    s->P.plan.ahead = M->rows > M->block_rows && !(across && pack_lies_across(&s->P, 1));
    assert(s->P.plan.n_row_blocks == 1);
    const double cycles = across ? plan_together_cycles(&s->P.plan, 1, pack_lies_across(&s->P, 1)) : plan_cycles(&s->P.plan, &alone);
    s->P.plan.rows = M->rows;
    return cycles;
}

static void pack_stage(Monarch *M, Stage *s)
{
    if (!s->P.plan.ahead)
        return;
    const uint32_t kernel = M->L->kernel;
    M->L->kernel = s->kernel;
    s->packed = product_pack_ahead(M->L, &s->P);
    M->L->kernel = kernel;
}

static void emit_stage(Stage *s, Emitter *E, Scope *item, const char *r0, const char *r1)
{
    E->kernel = s->kernel;
    s->P.E = E;
    s->P.row0 = r0;
    s->P.row1 = r1;
    const char *workspace = s->packed ? emit_workspace(E, s->packed, "packed", DTYPE_F32, false) : NULL;
    const int64_t n = plan_work(&s->P.plan);
    const char *u = "0";
    Scope *part;
    if (n > 1) {
        u = emit_name(E, "u");
        part = scope_block(E, item, arena_printf(E->arena, "for (long %s = 0; %s < %lld; %s++) {", u, u, (long long)n, u));
    } else {
        part = scope_block(E, item, "{");
    }
    product_item(&s->P, part, &s->space, u, workspace);
    scope_close(E, part);
}

// The place of row 0 of what stage i hands on, were the whole of it there: the block's rows begin at row r0.
static Placed place_handed(Monarch *M, int i, Emitter *E, Scope *item, const char *r0)
{
    const Stage *s = &M->stage[i];
    const char *hint = M->L->g->node[s->value].hint;
    const char *block = product_scratch(E, E->top, hint ? hint : "handed", M->block_rows * M->width[i]);
    const char *name = emit_name(E, hint ? hint : "handed");
    scope_line(item, "float *const %s = (float *)((unsigned long)%s - (unsigned long)(%s*%lld)*sizeof(float));", name, block, r0,
               (long long)M->width[i]);
    return (Placed){s->value, name};
}

static Emitter *emit_chain(Monarch *M)
{
    Emitter *E = lower_emitter(M->L, DIALECT_C, NULL);
    Placed *placed = arena_array(E->arena, Placed, (size_t)M->n);
    const char *w;
    Scope *item = product_items(E, &w);
    const char *r0 = emit_name(E, "r0"), *r1 = emit_name(E, "r1");
    scope_line(item, "const long %s = %s*%lld;", r0, w, (long long)M->block_rows);
    scope_line(item, "const long %s = %s;", r1, product_block_end(E, r0, M->block_rows, M->rows));
    for (int i = 0; i + 1 < M->n; i++)
        placed[i] = place_handed(M, i, E, item, r0);
    E->placed = placed;
    E->n_placed = (size_t)M->n - 1;
    const size_t free_from = E->scratch_floats;             // stages follow each other: their arrays share a place
    size_t most = free_from, bytes;
    const ValueId last = M->stage[M->n - 1].value;
    for (int i = 0; i < M->n; i++) {
        E->scratch_floats = free_from;
        if (i + 1 == M->n && type_bytes(E->g, &E->g->node[last].type, &bytes) && bytes > PRODUCT_STREAMED*E->target->l2_bytes)
            E->stream = last;
        emit_stage(&M->stage[i], E, item, r0, r1);
        most = E->scratch_floats > most ? E->scratch_floats : most;
    }
    E->scratch_floats = most;
    scope_close(E, item);
    if (E->stream)
        scope_line(E->top, "fence_s();");
    return E;
}

static const char *describe(const Monarch *M)
{
    const Graph *g = M->L->g;
    Text out = text_make(M->L->arena);
    for (int i = 0; i < M->n; i++) {
        text_add(&out, i ? "\nthen " : "");
        lower_describe(g, M->stage[i].value, &out);
        text_add(&out, i + 1 < M->n ? ", by blocks of rows: " : ": ");
        lower_describe(g, M->stage[i].P.p.operand[0], &out);
        text_add(&out, " * ");
        lower_describe(g, M->stage[i].P.p.operand[1], &out);
    }
    return text_str(&out);
}

bool lower_monarch(Lower *L)
{
    Lower apart = *L;
    apart.g = stages_apart(L);
    Monarch M = {.L = &apart, .n = (int)L->n_members};
    assert(L->n_members >= 2 && L->n_members <= MONARCH_MOST_STAGES);
    find_stages(&M);
    double flops = 0;
    for (int i = 0; i < M.n; i++) {
        plan_stage(&M, &M.stage[i]);
        pack_stage(&M, &M.stage[i]);
        flops += 2 * product_flops(&M.stage[i].P.p);
    }
    Emitter *E = emit_chain(&M);
    const Node *last = &L->g->node[M.stage[M.n - 1].space.anchor];
    const LowerText text = {.hint = last->hint ? last->hint : "monarch", .comment = describe(&M), .c = E, .grain = 1,
                            .n_work = (M.rows + M.block_rows - 1) / M.block_rows, .uses_scratch = true,
                            .scratch_bytes = 4 * E->scratch_floats, .flops = flops};
    lower_launch(&apart, &text);
    L->launch = apart.launch;
    L->n_launches = apart.n_launches;
    L->workspace = apart.workspace;
    L->n_workspaces = apart.n_workspaces;
    L->member += L->n_members - 1;          // for the plain loops in CUDA: the one value that is stored
    L->n_members = 1;
    return true;
}

// --- schedules

size_t candidates_monarch(Lower *L, size_t most, Candidate **out)
{
    static const int32_t rows[] = {0, 6, 8, 12, 16, 28, 32, 64}, batches[] = {0, 8, 16, 32, 64}, terms[] = {0, 32, 128};
    enum { N_ROWS = sizeof rows / sizeof *rows, N_BATCHES = sizeof batches / sizeof *batches, N_TERMS = sizeof terms / sizeof *terms };
    CandidateList list = {.arena = L->arena};
    Lower apart = *L;
    apart.g = stages_apart(L);
    const int threads = L->target->threads > 0 ? L->target->threads : 1;
    for (size_t i = 0; i < N_ROWS * N_BATCHES * N_TERMS; i++) {
        Schedule s = {0};
        s.knob[KNOB_ROWS] = rows[i % N_ROWS];
        s.knob[KNOB_BATCHES] = batches[i / N_ROWS % N_BATCHES];
        s.knob[KNOB_TERMS] = terms[i / N_ROWS / N_BATCHES];
        apart.schedule = s;
        Monarch M = {.L = &apart, .n = (int)L->n_members};
        find_stages(&M);
        double cycles = 0;
        uint64_t sign = schedule_sign(0, M.block_rows);
        for (int k = 0; k < M.n; k++) {
            const Plan *plan = &M.stage[k].P.plan;
            cycles += plan_stage(&M, &M.stage[k]);
            sign = schedule_sign(schedule_sign(schedule_sign(sign, plan->together), plan->block_sum), plan->block_cols);
        }
        const int64_t items = (M.rows + M.block_rows - 1) / M.block_rows;
        candidates_add(&list, s, (double)((items + threads - 1) / threads) * cycles, sign);
    }
    return candidates_ranked(&list, most, out);
}
