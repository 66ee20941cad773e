// How a product is cut into blocks: a search over tiles and block counts with a cost in cycles per thread. The cheapest
// of the usual tile is the default; the others, in order of cost, are the candidates for measuring (kernel_schedule.h).
#include "lower_product.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_VECTORS = 4, MOST_TILE_ROWS = 14 };

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int64_t round_up(int64_t a, int64_t b)
{
    return ceil_div(a, b) * b;
}

static int64_t at_least(int64_t a, int64_t least)
{
    return a < least ? least : a;
}

int64_t plan_work(const Plan *plan)
{
    return plan->batch / at_least(plan->together, 1) * plan->n_row_blocks * plan->n_col_blocks;
}

int64_t plan_ahead_work(const Plan *plan)
{
    return plan->batch * plan->n_sum_blocks * plan->n_col_blocks;
}

int64_t plan_packed_cols(const Plan *plan)
{
    return round_up(plan->cols, tile_width(plan->tile));
}

int64_t plan_places(const Plan *plan, int64_t terms)
{
    return plan->tile.pairs ? ceil_div(terms, 2) : terms;
}

const char *product_places(Arena *arena, const Plan *plan, const char *terms)
{
    char *end;
    const long long number = strtoll(terms, &end, 10);
    if (!plan->tile.pairs)
        return terms;
    return *end ? arena_printf(arena, "((%s + 1)/2)", terms)
                : arena_printf(arena, "%lld", (long long)plan_places(plan, number));
}

int64_t plan_packed_floats(const Plan *plan)
{
    return plan->batch * plan_packed_cols(plan) * plan_places(plan, plan->sum) + 2 * tile_width(plan->tile);
}

// At most so many terms per block, in equal blocks of whole vectors.
static void cut_sum_at(Plan *plan, int64_t most)
{
    const int lanes = plan->tile.lanes * (plan->tile.pairs ? 2 : 1);
    plan->n_sum_blocks = at_least(ceil_div(plan->sum, most), 1);
    plan->block_sum = at_least(round_up(ceil_div(plan->sum, plan->n_sum_blocks), lanes), lanes);
    plan->n_sum_blocks = at_least(ceil_div(plan->sum, plan->block_sum), 1);
}

// Terms per block: a panel of operand 1 stays in the first-level cache.
void plan_cut_sum(Plan *plan, size_t l1_bytes)
{
    int64_t most = (int64_t)(l1_bytes ? l1_bytes : 32768) / (4 * tile_width(plan->tile));
    most = most < 64 ? 64 : most > 512 ? 512 : most;
    cut_sum_at(plan, most * (plan->tile.pairs ? 2 : 1));
}

// Two multiply-adds a cycle, two loads a cycle, four cycles until a sum is known. Low wide tiles are a quarter slower than
// that, as measured: compilers then load operand 1 once for each row.
double tile_cycles(Tile tile)
{
    const int r = tile.rows, v = tile.vectors;
    double term = r * v / 2.0 * (r <= 4 && v >= 3 ? 1.25 : 1);
    term = term < (r + v) / 2.0 ? (r + v) / 2.0 : term;
    term = term < 4 ? 4 : term;
    return tile.pairs ? term / 2 : term;
}

// Cycles of a visit to a tile besides: the call, and the sums' way to memory. Measured for 31 tiles, within 10 %.
static double visit_cycles(Tile tile)
{
    return 40 + 1.25 * tile.rows * tile.vectors;
}

// Cycles that the busiest of `threads` spends: multiplications, packing, and the pass over c at the end. The weights
// are cycles per element, measured once; only their rough size matters.
double plan_cycles(const Plan *plan, const Target *target)
{
    const int threads = target->threads > 0 ? target->threads : 1;
    const double rows = (double)plan->block_rows, cols = (double)plan->block_cols, sum = (double)plan->sum;
    const double n_tiles = rows / plan->tile.rows * cols / tile_width(plan->tile);
    double item = n_tiles * (sum * tile_cycles(plan->tile) + (double)plan->n_sum_blocks * visit_cycles(plan->tile));
    item += rows * sum * 0.25 + rows * cols * 1.0 + 1000.0;
    if (!plan->ahead && !plan->in_place)
        item += cols * sum * 0.25;
    const double total = (double)ceil_div(plan_work(plan), threads) * item;
    if (!plan->ahead)
        return total;
    // Packed once, by all threads: through memory, where it is more than their caches hold.
    const CostConstants known = target_cost(target);
    const double floats = (double)plan->batch * (double)plan_packed_cols(plan) * sum, cached = 0.7;
    const bool is_far = 4 * floats > 2.0 * (double)(target->l2_bytes ? target->l2_bytes : 524288) * threads;
    return total + floats * (is_far && known.copy > cached ? known.copy : cached) / threads + known.launch;
}

// Blocks of so many rows and columns, or a little more.
static void cut_at(Plan *plan, int64_t rows, int64_t cols)
{
    plan->block_rows = round_up(rows, plan->tile.rows);
    plan->block_cols = round_up(cols, tile_width(plan->tile));
    plan->n_row_blocks = at_least(ceil_div(plan->rows, plan->block_rows), 1);
    plan->n_col_blocks = at_least(ceil_div(plan->cols, plan->block_cols), 1);
}

// Rows, columns and results of all the batches of an item lie in an eighth of the second-level cache, and every thread has
// a few items. Rows fill whole tiles.
void plan_together(Plan *plan, const Target *target, const Schedule *schedule, int64_t together)
{
    const int32_t *knob = schedule->knob;
    const int64_t floats = (int64_t)(target->l2_bytes ? target->l2_bytes : 524288) / 32, threads = at_least(target->threads, 1);
    plan->together = together;
    cut_sum_at(plan, knob[KNOB_TERMS] > 0 ? knob[KNOB_TERMS] : 64);
    const int64_t wide = knob[KNOB_COLS] > 0 ? knob[KNOB_COLS] : 64;
    const int64_t cols = plan->cols < wide ? plan->cols : wide, share = floats / (together * (cols + plan->block_sum));
    const int64_t spread = ceil_div(plan->rows * plan->batch, together * threads * 4);
    const int64_t few = share < spread ? share : spread;
    int64_t rows = knob[KNOB_ROWS] > 0 ? knob[KNOB_ROWS] : at_least(few / plan->tile.rows, 1) * plan->tile.rows;
    rows = rows < plan->rows ? rows : plan->rows;
    cut_at(plan, at_least(rows, 1), cols);
    plan->ahead = plan->n_row_blocks > 1;
}

double plan_together_cycles(const Plan *plan, int threads, bool b_across)
{
    const double n = (double)plan->together, rows = (double)plan->block_rows, cols = (double)plan->block_cols, sum = (double)plan->sum;
    const double tiles = n * rows / plan->tile.rows * cols / tile_width(plan->tile);
    double item = tiles * (sum * tile_cycles(plan->tile) + (double)plan->n_sum_blocks * visit_cycles(plan->tile)) + n * rows * sum * 0.5 + n * rows * cols;
    if (!plan->ahead)
        item += n * cols * sum * (b_across ? 0.5 : 0.25);
    return (double)ceil_div(plan_work(plan), threads) * (item + 1000.0);
}

// Cuts rows and columns evenly into this many blocks; false when a block would not fit its share of the cache.
static bool cut(Plan *plan, int64_t row_blocks, int64_t col_blocks, int64_t cache_floats)
{
    cut_at(plan, at_least(ceil_div(plan->rows, row_blocks), 1), at_least(ceil_div(plan->cols, col_blocks), 1));
    const int64_t places = plan_places(plan, plan->block_sum);
    const int64_t a = plan->block_rows * places, b = plan->block_cols * places;
    const int64_t c = plan->block_rows * plan->block_cols;
    return a <= cache_floats / 4 && c <= cache_floats * 3 / 8 && (plan->ahead || b <= cache_floats / 4);
}

typedef struct Trials {                     // NULL plan: only the best is kept
    Plan   *plan;
    double *cycles;
    size_t  n, capacity, cycles_capacity;
    Plan    best;
    double  best_cycles;                    // < 0: there is none
    Arena  *arena;
} Trials;

static void try_plan(Trials *t, const Plan *plan, double cycles)
{
    if (t->best_cycles < 0 || cycles < t->best_cycles) {
        t->best = *plan;
        t->best_cycles = cycles;
    }
    if (!t->arena)
        return;
    t->plan = arena_grow(t->arena, t->plan, t->n, &t->capacity, sizeof *t->plan);
    t->cycles = arena_grow(t->arena, t->cycles, t->n, &t->cycles_capacity, sizeof *t->cycles);
    t->plan[t->n] = *plan;
    t->cycles[t->n++] = cycles;
}

// All cuts of a plan whose tile and terms are set.
static void try_cuts(Trials *t, const Plan *plan, const Target *target)
{
    const int64_t cache = (int64_t)(target->l2_bytes ? target->l2_bytes : 524288) / 4;
    const int64_t most_rows = at_least(ceil_div(plan->rows, plan->tile.rows), 1);
    const int64_t most_cols = at_least(ceil_div(plan->cols, tile_width(plan->tile)), 1);
    for (int ahead = 0; ahead <= 1; ahead++)
        for (int64_t r = 1; r <= most_rows; r = r < 32 ? r + 1 : r + r / 8)
            for (int64_t c = 1; c <= most_cols; c = c < 16 ? c + 1 : c * 2) {
                Plan trial = *plan;
                trial.ahead = ahead;
                const bool fits = cut(&trial, r, c, cache);
                const bool smallest = r == most_rows && c == most_cols;
                if (fits || (smallest && t->best_cycles < 0))
                    try_plan(t, &trial, plan_cycles(&trial, target));
            }
    Plan last = *plan;
    if (t->best_cycles < 0) {
        cut(&last, most_rows, most_cols, cache);
        try_plan(t, &last, plan_cycles(&last, target));
    }
}

static Plan plan_start(const Product *p, const Target *target, bool pairs)
{
    Plan plan = {.batch = p->group[CLASS_BATCH].size, .rows = p->group[CLASS_ROW].size,
                 .cols = p->group[CLASS_COL].size, .sum = p->group[CLASS_SUM].size};
    plan.tile = tile_fit(tile_for(target), plan.rows);
    plan.tile.pairs = pairs;
    plan_cut_sum(&plan, target->l1_bytes);
    return plan;
}

// The tile with so many vectors, as high as the registers allow and the rows need. False: it would not fit, or be mostly empty.
static bool set_vectors(Plan *plan, const Target *target, int vectors)
{
    plan->tile.vectors = vectors;
    plan->tile.rows = tile_height(target, vectors);
    if (!tile_fits(target, plan->tile.rows, vectors) || (vectors > 1 && (vectors - 1) * plan->tile.lanes >= plan->cols))
        return false;
    plan->tile = tile_fit(plan->tile, plan->rows);
    return true;
}

// The usual tile, unless another one is clearly cheaper: narrow ones waste less of few columns, wide ones take few rows.
static Plan plan_default(const Product *p, const Target *target, bool pairs)
{
    const Plan start = plan_start(p, target, pairs);
    Trials usual = {.best_cycles = -1}, other = {.best_cycles = -1};
    try_cuts(&usual, &start, target);
    for (int vectors = 1; vectors <= MOST_VECTORS; vectors++) {
        Plan plan = start;
        if (vectors == start.tile.vectors || !set_vectors(&plan, target, vectors))
            continue;
        plan_cut_sum(&plan, target->l1_bytes);
        try_cuts(&other, &plan, target);
    }
    return other.best_cycles >= 0 && other.best_cycles < 0.97 * usual.best_cycles ? other.best : usual.best;
}

// One tile of rows reads every column once, so packing them is as much work as the product. Up to four rows gain a fifth from reading
// them where they lie; the tiles of more rows are narrower, and their columns come from memory in shorter runs.
bool plan_few_rows(Plan *plan, const Target *target, const Schedule *schedule)
{
    enum { FEW_ROWS = 4, TERMS = 512 };
    const int32_t *knob = schedule->knob;
    const bool is_default = schedule_is_default(schedule);
    Plan few = *plan;
    if (plan->tile.pairs || !(is_default ? plan->rows <= FEW_ROWS : knob[KNOB_PACK] == 3))
        return false;
    if (is_default) {
        few.tile.rows = (int)few.rows;
        few.tile.vectors = MOST_VECTORS;
        while (few.tile.vectors > 1 && (few.cols % tile_width(few.tile) != 0 || !tile_fits(target, few.tile.rows, few.tile.vectors)))
            few.tile.vectors--;
        cut_sum_at(&few, TERMS);
        cut_at(&few, few.rows, ceil_div(few.cols, at_least(target->threads, 1)));
    }
    if (few.rows > few.tile.rows || few.cols % tile_width(few.tile) != 0 || (is_default && few.tile.vectors < 2))
        return false;
    few.ahead = false;
    few.in_place = true;
    *plan = few;
    return true;
}

// --- schedules

// Registers hold a tile, a row of vectors of operand 1 and one number of operand 0.
bool tile_fits(const Target *target, int rows, int vectors)
{
    return rows >= 1 && vectors >= 1 && rows * vectors + vectors + 1 <= target->vector_registers;
}

int tile_height(const Target *target, int vectors)
{
    const int most = (target->vector_registers - 1 - vectors) / vectors;
    return most > MOST_TILE_ROWS ? MOST_TILE_ROWS : most;
}

Tile tile_of(const Target *target, const Schedule *schedule, int64_t n_rows)
{
    const int rows = schedule->knob[KNOB_TILE_ROWS], vectors = schedule->knob[KNOB_TILE_VECTORS];
    Tile tile = tile_for(target);
    if (rows > 99 || vectors > 99 || !tile_fits(target, rows, vectors))
        return tile_fit(tile, n_rows);
    tile.rows = rows;
    tile.vectors = vectors;
    return tile;
}

Plan plan_product(const Product *p, const Target *target, bool pairs, const Schedule *schedule)
{
    const int32_t *knob = schedule->knob;
    if (schedule_is_default(schedule))
        return plan_default(p, target, pairs);
    Plan plan = plan_start(p, target, pairs);
    plan.tile = tile_of(target, schedule, plan.rows);
    plan.tile.pairs = pairs;
    if (knob[KNOB_TERMS] > 0)
        cut_sum_at(&plan, knob[KNOB_TERMS]);
    else
        plan_cut_sum(&plan, target->l1_bytes);
    const int64_t rows = knob[KNOB_ROWS] > 0 ? knob[KNOB_ROWS] : 256, cols = knob[KNOB_COLS] > 0 ? knob[KNOB_COLS] : 256;
    cut_at(&plan, at_least(rows < plan.rows ? rows : plan.rows, 1), at_least(cols < plan.cols ? cols : plan.cols, 1));
    plan.ahead = knob[KNOB_PACK] == 2;
    return plan;
}

static Schedule schedule_of(const Plan *plan)
{
    Schedule s = {0};
    s.knob[KNOB_TILE_ROWS] = plan->tile.rows;
    s.knob[KNOB_TILE_VECTORS] = plan->tile.vectors;
    s.knob[KNOB_ROWS] = (int32_t)plan->block_rows;
    s.knob[KNOB_COLS] = (int32_t)plan->block_cols;
    s.knob[KNOB_TERMS] = (int32_t)plan->block_sum;
    s.knob[KNOB_PACK] = plan->in_place ? 3 : plan->ahead ? 2 : 1;
    return s;
}

static bool same_schedule(const Schedule *a, const Schedule *b)
{
    return !memcmp(a, b, sizeof *a);
}

typedef struct Ranked { double cycles; size_t index; } Ranked;

static int by_cycles(const void *a, const void *b)
{
    const Ranked *x = a, *y = b;
    return x->cycles != y->cycles ? (x->cycles > y->cycles) - (x->cycles < y->cycles) : (x->index > y->index) - (x->index < y->index);
}

static bool is_near(int64_t a, int64_t b)
{
    return a * 4 < b * 5 && b * 4 < a * 5;
}

// True when measuring `plan` would say little that the accepted ones do not say.
static bool is_told(const Plan *plan, const Plan *accepted, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const Plan *a = &accepted[i];
        if (a->tile.rows == plan->tile.rows && a->tile.vectors == plan->tile.vectors && a->ahead == plan->ahead
            && a->in_place == plan->in_place && is_near(a->block_sum, plan->block_sum) && is_near(a->block_rows, plan->block_rows)
            && is_near(a->block_cols, plan->block_cols))
            return true;
    }
    return false;
}

// How many of the accepted have the tile and the way of packing of `plan`.
static size_t n_alike(const Plan *plan, const Plan *accepted, size_t n)
{
    size_t alike = 0;
    for (size_t i = 0; i < n; i++)
        alike += accepted[i].tile.vectors == plan->tile.vectors && accepted[i].ahead == plan->ahead && accepted[i].in_place == plan->in_place;
    return alike;
}

// Tiles and terms worth a look: the usual one, wider and lower ones, longer and shorter blocks of the sum.
static void try_tiles(Trials *t, const Product *p, const Target *target, bool pairs)
{
    const Plan start = plan_start(p, target, pairs);
    static const int64_t terms[] = {128, 192, 256, 384, 512, 1024};
    for (int vectors = 1; vectors <= MOST_VECTORS; vectors++) {
        Plan plan = start;
        int64_t last = 0;
        if (!set_vectors(&plan, target, vectors))
            continue;
        for (size_t i = 0; i < sizeof terms / sizeof *terms; i++) {
            cut_sum_at(&plan, terms[i]);
            if (plan.block_sum != last)
                try_cuts(t, &plan, target);
            last = plan.block_sum;
        }
    }
}

// Those that read columns where they lie, where that is possible: wide tiles first.
static size_t add_few_rows(const Plan *first, const Target *target, Plan *accepted, Candidate *list, size_t n, size_t most)
{
    static const int64_t terms[] = {512, 256, 1024};
    const Schedule s = {.knob[KNOB_PACK] = 3};
    Plan plan = *first;
    if (plan.tile.pairs)
        return n;
    for (int vectors = MOST_VECTORS; vectors > 1; vectors /= 2)
        for (size_t i = 0; i < sizeof terms / sizeof *terms && n < most; i++) {
            plan.tile.rows = (int)(plan.rows < MOST_TILE_ROWS ? plan.rows : MOST_TILE_ROWS);
            plan.tile.vectors = vectors;
            plan.in_place = false;
            cut_sum_at(&plan, terms[i]);
            cut_at(&plan, plan.rows, ceil_div(plan.cols, at_least(target->threads, 1)));
            if (!tile_fits(target, plan.tile.rows, vectors) || !plan_few_rows(&plan, target, &s) || is_told(&plan, accepted, n))
                continue;
            accepted[n] = plan;
            list[n++] = (Candidate){schedule_of(&plan), plan_cycles(&plan, target)};
        }
    return n;
}

// The cheapest first, but at most two of a kind before two of every other kind: what the model gets wrong, it gets wrong for a
// tile or a way of packing as a whole.
size_t plan_candidates(Arena *arena, const Product *p, const Target *target, bool pairs, bool lies, size_t most, Candidate **out)
{
    Plan first = plan_default(p, target, pairs);
    if (lies)
        plan_few_rows(&first, target, &(Schedule){0});
    Trials t = {.best_cycles = -1, .arena = arena};
    try_tiles(&t, p, target, pairs);
    Ranked *order = arena_array(arena, Ranked, t.n + 1);
    for (size_t i = 0; i < t.n; i++)
        order[i] = (Ranked){t.cycles[i], i};
    qsort(order, t.n, sizeof *order, by_cycles);
    Candidate *list = *out = arena_array(arena, Candidate, most + 1);
    Plan *accepted = arena_array(arena, Plan, most + 1);
    const Schedule usual = schedule_of(&first);
    list[0] = (Candidate){.cycles = plan_cycles(&first, target)};
    accepted[0] = first;
    size_t n = lies ? add_few_rows(&first, target, accepted, list, 1, most) : 1;
    for (size_t quota = 2; n < most && quota < 4 * most; quota *= 2)
        for (size_t i = 0; i < t.n && n < most; i++) {
            const Plan *plan = &t.plan[order[i].index];
            const Schedule s = schedule_of(plan);
            if (same_schedule(&s, &usual) || n_alike(plan, accepted, n) >= quota || is_told(plan, accepted, n))
                continue;
            accepted[n] = *plan;
            list[n++] = (Candidate){s, order[i].cycles};
        }
    return n;
}
