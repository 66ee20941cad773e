// How a product is cut for a GPU: the tile of a block and of its warps, and the way of each operand into shared memory.
#include "product_cuda.h"

enum { SHARED_BYTES = 96 << 10, PROCESSORS = 108 };

// The tiles there are, and what part of its peak a processor reaches with each: larger ones read less for each multiplication.
static const struct { CudaTile tile; double part; } tile_row[] = {
    {{128, 128, 64, 32}, 1.0}, {{128, 64, 64, 32}, 0.85}, {{64, 128, 64, 32}, 0.85}, {{64, 64, 32, 32}, 0.7},
    {{32, 64, 32, 32}, 0.45},  {{64, 32, 32, 32}, 0.45},  {{32, 32, 16, 32}, 0.3},
};
enum { N_TILES = sizeof tile_row / sizeof *tile_row, MOST_PARTS = 16, LEAST_STRIPS = 4 };

static int64_t tiles(int64_t n, int64_t side)
{
    return (n + side - 1) / side;
}

int cuda_element_bytes(const CudaPlan *plan)
{
    return plan->is_bf16 ? 2 : 4;
}

// What a product is, on average, where rows choose their matrix: the groups' rows, and of a sum over them a group's share.
static void sizes(const ProductCuda *T, double *batch, double *rows, double *sum)
{
    const AxisGroup *group = T->P.p.group;
    const bool by_row = T->P.gather != NULL && !T->P.gather_sum;
    *batch = by_row ? 1 : (double)group[CLASS_BATCH].size;
    *rows = (double)group[CLASS_ROW].size;
    *sum = T->P.gather_sum ? (double)tiles(group[CLASS_SUM].size, group[CLASS_BATCH].size) : (double)group[CLASS_SUM].size;
}

double cuda_flops(const ProductCuda *T)
{
    double batch, rows, sum;
    sizes(T, &batch, &rows, &sum);
    return 2 * batch * rows * (double)T->P.p.group[CLASS_COL].size * sum;
}

// Cycles: multiplications of the busiest processor at its peak, an entry and an exit for each of its blocks, and the parts' way
// through memory.
static double cycles(const ProductCuda *T, CudaTile tile, double share, int parts)
{
    const CudaPlan *plan = &T->plan;
    const double cols = (double)T->P.p.group[CLASS_COL].size;
    double batch, rows, sum;
    sizes(T, &batch, &rows, &sum);
    const double blocks = batch * (double)(tiles((int64_t)rows, tile.rows) * tiles((int64_t)cols, tile.cols)) * parts;
    const double terms = (double)(tiles(tiles((int64_t)sum, plan->terms), parts) * plan->terms);
    const double block = tile.rows * tile.cols * terms / ((plan->is_bf16 ? 1024 : 64) * share) + 1500;
    return (double)(int64_t)((blocks + PROCESSORS - 1) / PROCESSORS) * block + (parts > 1 ? (2 * parts + 1) * batch * rows * cols / 250 + 4000 : 0);
}

static double share_of(CudaTile tile)
{
    for (int t = 0; t < N_TILES; t++)
        if (tile_row[t].tile.rows == tile.rows && tile_row[t].tile.cols == tile.cols)
            return tile_row[t].part;
    return 1;
}

static int most_parts(const ProductCuda *T, const Schedule *schedule)
{
    const int64_t strips = tiles(T->P.p.group[CLASS_SUM].size, T->plan.terms);
    const int64_t wanted = schedule->knob[KNOB_GPU_PARTS] ? schedule->knob[KNOB_GPU_PARTS] : strips / LEAST_STRIPS;
    const int64_t most = wanted < strips ? wanted : strips;
    return !T->may_part || most < 1 || schedule->knob[KNOB_GPU_LIBRARY] ? 1 : most < MOST_PARTS ? (int)most : MOST_PARTS;
}

static void choose_tile(ProductCuda *T, const Schedule *schedule, int rows)
{
    CudaPlan *plan = &T->plan;
    const int most = most_parts(T, schedule);
    double least = 0;
    for (int t = N_TILES - 1; t >= 0; t--) {
        const CudaTile tile = tile_row[t].tile;
        const bool is_wanted = (rows || schedule->knob[KNOB_GPU_ROWS] == tile.rows) && schedule->knob[KNOB_GPU_COLS] == tile.cols;
        if (rows && tile.rows != rows)
            continue;
        for (int parts = schedule->knob[KNOB_GPU_PARTS] ? most : 1; parts <= most; parts++) {
            const double cost = is_wanted ? -1 / cycles(T, tile, tile_row[t].part, parts)
                                          : cycles(T, tile, tile_row[t].part, parts);
            if (least == 0 || cost < least) {
                least = cost;
                plan->tile = tile;
                plan->parts = parts;
            }
        }
    }
}

// Whether every stride but those of `line` keeps `bytes` alignment, as does the beginning.
static bool is_aligned(const Graph *g, ValueId v, const Affine *affine, const AxisGroup *line, int64_t element, int64_t bytes)
{
    if (affine->offset * element % bytes != 0)
        return false;
    const Type *type = &g->node[v].type;
    for (int i = 0; i < type->n_axes; i++) {
        bool inside = graph_size(g, type->axis[i]) == 1;
        for (int k = 0; k < line->n; k++)
            inside = inside || line->axis[k] == type->axis[i];
        if (!inside && affine->stride[i] * element % bytes != 0)
            return false;
    }
    return true;
}

static void find_load(ProductCuda *T, int which)
{
    const ProductText *P = &T->P;
    const Graph *g = P->E->g;
    CudaOperand *o = &T->plan.operand[which];
    const AxisGroup *outer = &P->p.group[which == 0 ? CLASS_ROW : CLASS_COL], *sum = &P->p.group[CLASS_SUM];
    const ValueId v = P->p.operand[which];
    const bool is_gathered = o->gathered = P->gather != NULL && (P->gather_sum || which == 0);
    const bool by_row = is_gathered && !P->gather_sum, by_term = is_gathered && P->gather_sum;
    o->load = CUDA_EACH;
    o->over_sum = pack_over_sum(P, which);
    o->unit = T->plan.is_bf16 ? 2 : 1;
    if (T->ahead[which])
        o->affine = cuda_ahead_affine(T, which);
    else if (!(T->plan.is_bf16 ? value_affine_rounded(g, v, &o->affine) : value_affine(g, v, &o->affine))
             || g->node[o->affine.root].kernel == P->E->kernel)
        return;
    if ((!by_row && !affine_collapse(g, v, &o->affine, outer, &o->outer)) || (!by_term && !affine_collapse(g, v, &o->affine, sum, &o->step)))
        return;
    const bool over_sum = by_row || (!by_term && o->step == 1 && (o->outer != 1 || sum->size > 1));
    if ((over_sum ? o->step : o->outer) != 1)
        return;
    const DType stored = !T->ahead[which] ? g->node[o->affine.root].type.dtype : T->plan.is_bf16 ? DTYPE_BF16 : DTYPE_F32;
    const int bytes = (int)dtype_row[stored].bytes;
    const AxisGroup *line = over_sum ? sum : outer;
    if (T->plan.is_bf16 && stored == DTYPE_F32 && is_aligned(g, v, &o->affine, line, bytes, 16)) {
        o->load = CUDA_WIDE;
        o->unit = 4;
        o->over_sum = over_sum;
        return;
    }
    if (stored != (T->plan.is_bf16 ? DTYPE_BF16 : DTYPE_F32) || line->size * bytes % 4 != 0)
        return;
    for (int width = 16; width >= 4; width /= 2)
        if (is_aligned(g, v, &o->affine, line, bytes, width)) {
            o->load = CUDA_COPY;
            o->unit = width / bytes;
            o->over_sum = over_sum;
            return;
        }
}

static void place_stage(CudaPlan *plan)
{
    plan->stage_bytes = 0;
    for (int which = 0; which < 2; which++) {
        CudaOperand *o = &plan->operand[which];
        const int side = which == 0 ? plan->tile.rows : plan->tile.cols;
        o->n_lines = o->over_sum ? side : plan->terms;
        o->line = o->over_sum ? plan->terms : side;
        o->at = plan->stage_bytes;
        plan->stage_bytes += (int64_t)o->n_lines * o->line * cuda_element_bytes(plan);
    }
}

void cuda_plan(ProductCuda *T, const Schedule *schedule, int rows)
{
    const Product *p = &T->P.p;
    const Graph *g = T->P.E->g;
    CudaPlan *plan = &T->plan;
    *plan = (CudaPlan){.is_bf16 = g->node[p->operand[0]].type.dtype == DTYPE_BF16 && g->node[p->operand[1]].type.dtype == DTYPE_BF16};
    T->P.plan.tile.pairs = plan->is_bf16;
    plan->terms = plan->is_bf16 ? 32 : 16;
    choose_tile(T, schedule, rows);
    plan->threads = plan->tile.rows / plan->tile.warp_rows * (plan->tile.cols / plan->tile.warp_cols) * 32;
    plan->down = tiles(p->group[CLASS_ROW].size, plan->tile.rows);
    plan->across = tiles(p->group[CLASS_COL].size, plan->tile.cols);
    find_load(T, 0);
    find_load(T, 1);
    place_stage(plan);
    plan->stages = schedule->knob[KNOB_GPU_STAGES] > 1 ? schedule->knob[KNOB_GPU_STAGES] : plan->is_bf16 ? 4 : 3;
    while (plan->stages > 2 && plan->stages * plan->stage_bytes > SHARED_BYTES)
        plan->stages--;
}

// Ways of a library, a little ahead of the best of ours: they cost nothing to compile, and only time tells.
static void add_library(const Lower *L, const ProductCuda *like, CandidateList *list)
{
    double best = 0;
    for (size_t i = 0; i < list->n; i++)
        best = i == 0 || list->at[i].cycles < best ? list->at[i].cycles : best;
    for (int way = 1; way <= L->target->library_ways && like->may_part; way++) {
        ProductCuda T = *like;
        Lower with = *L;
        Schedule s = {0};
        s.knob[KNOB_GPU_LIBRARY] = way;
        with.schedule = s;
        cuda_plan(&T, &s, 0);
        const bool ahead[2] = {cuda_wants_ahead(&T, 0, &with), cuda_wants_ahead(&T, 1, &with)};
        for (int which = 0; which < 2; which++)
            T.ahead[which] = ahead[which];
        cuda_plan(&T, &s, 0);
        if (cuda_find_library(&T, &with))
            candidates_add(list, s, best * (0.9 + 0.001 * way), schedule_sign(schedule_sign(UINT64_MAX, way), KNOB_GPU_LIBRARY));
    }
}

// Every tile with two to four stages, with operands made ready or not, and with the sum in parts.
size_t cuda_candidates(Lower *L, const ProductCuda *like, int rows, size_t most, Candidate **out)
{
    CandidateList list = {.arena = L->arena};
    for (int t = -1; t < N_TILES; t++)
        for (int i = 0; i < (t < 0 ? 1 : 3 * 2 * 4); i++) {
            ProductCuda T = *like;
            Lower with = *L;
            Schedule s = with.schedule = (Schedule){0};
            if (t >= 0) {
                s.knob[KNOB_GPU_ROWS] = tile_row[t].tile.rows;
                s.knob[KNOB_GPU_COLS] = tile_row[t].tile.cols;
                s.knob[KNOB_GPU_STAGES] = 2 + i % 3;
                s.knob[KNOB_GPU_AHEAD] = 1 + i / 3 % 2;
                s.knob[KNOB_GPU_PARTS] = 1 << i / 6;
            }
            with.schedule = s;
            cuda_plan(&T, &s, rows);
            const bool ahead = cuda_wants_ahead(&T, 0, &with) || cuda_wants_ahead(&T, 1, &with);
            const uint64_t tile = schedule_sign((uint64_t)T.plan.tile.rows, T.plan.tile.cols);
            candidates_add(&list, s, cycles(&T, T.plan.tile, share_of(T.plan.tile), T.plan.parts),
                           schedule_sign(schedule_sign(schedule_sign(tile, T.plan.stages), T.plan.parts), ahead));
        }
    if (rows == 0)
        add_library(L, like, &list);
    return candidates_ranked(&list, most, out);
}

void cuda_prepare(ProductCuda *T, Lower *L, int rows)
{
    cuda_plan(T, &L->schedule, rows);
    const bool wants[2] = {cuda_wants_ahead(T, 0, L), cuda_wants_ahead(T, 1, L)};
    for (int which = 0; which < 2; which++)
        if (wants[which])
            T->ahead[which] = cuda_launch_ahead(T, which, L);
    cuda_plan(T, &L->schedule, rows);
}

int64_t cuda_shared_bytes(const CudaPlan *plan)
{
    const int64_t stages = plan->stages * plan->stage_bytes, strips = plan->threads / 32 * cuda_strip_floats(plan) * 4;
    return stages > strips ? stages : strips;
}
