// How a product is cut into blocks: a small search over block counts with a cost in cycles per thread.
#include "lower_product.h"

#include <stdlib.h>

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
    return plan->batch * plan->n_row_blocks * plan->n_col_blocks;
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

// Terms per block: a panel of operand 1 stays in the first-level cache.
void plan_cut_sum(Plan *plan, size_t l1_bytes)
{
    const int lanes = plan->tile.lanes * (plan->tile.pairs ? 2 : 1);
    int64_t most = (int64_t)(l1_bytes ? l1_bytes : 32768) / (4 * tile_width(plan->tile));
    most = most < 64 ? 64 : most > 512 ? 512 : most;
    most *= plan->tile.pairs ? 2 : 1;
    plan->n_sum_blocks = at_least(ceil_div(plan->sum, most), 1);
    plan->block_sum = at_least(round_up(ceil_div(plan->sum, plan->n_sum_blocks), lanes), lanes);
    plan->n_sum_blocks = at_least(ceil_div(plan->sum, plan->block_sum), 1);
}

// Cycles that the busiest of `threads` spends: multiplications, packing, and the pass over c at the end. The weights
// are cycles per element, measured once; only their rough size matters.
static double cost(const Plan *plan, int threads)
{
    const double rows = (double)plan->block_rows, cols = (double)plan->block_cols, sum = (double)plan->sum;
    double item = rows * cols * sum / (plan->tile.lanes * (plan->tile.pairs ? 4.0 : 2.0)) + rows * sum * 0.25 + rows * cols * 1.0 + 1000.0;
    if (!plan->ahead)
        item += cols * sum * 0.25;
    return (double)ceil_div(plan_work(plan), threads) * item;
}

// Cuts rows and columns evenly into this many blocks; false when a block would not fit its share of the cache.
static bool cut(Plan *plan, int64_t row_blocks, int64_t col_blocks, int64_t cache_floats)
{
    const int width = tile_width(plan->tile);
    plan->block_rows = round_up(ceil_div(plan->rows, row_blocks), plan->tile.rows);
    plan->block_cols = round_up(ceil_div(plan->cols, col_blocks), width);
    plan->n_row_blocks = ceil_div(plan->rows, plan->block_rows);
    plan->n_col_blocks = ceil_div(plan->cols, plan->block_cols);
    const int64_t places = plan_places(plan, plan->block_sum);
    const int64_t a = plan->block_rows * places, b = plan->block_cols * places;
    const int64_t c = plan->block_rows * plan->block_cols;
    return a <= cache_floats / 4 && c <= cache_floats * 3 / 8 && (plan->ahead || b <= cache_floats / 4);
}

static Plan plan_with(const Product *p, const Target *target, bool pairs)
{
    Plan plan = {.batch = p->group[CLASS_BATCH].size, .rows = p->group[CLASS_ROW].size,
                 .cols = p->group[CLASS_COL].size, .sum = p->group[CLASS_SUM].size};
    const int threads = target->threads > 0 ? target->threads : 1;
    const int64_t cache = (int64_t)(target->l2_bytes ? target->l2_bytes : 524288) / 4;
    plan.tile = tile_fit(tile_for(target), plan.rows);
    plan.tile.pairs = pairs;
    plan_cut_sum(&plan, target->l1_bytes);
    const int64_t most_rows = at_least(ceil_div(plan.rows, plan.tile.rows), 1);
    const int64_t most_cols = at_least(ceil_div(plan.cols, tile_width(plan.tile)), 1);
    Plan best = plan;
    double best_cost = -1;
    for (int ahead = 0; ahead <= 1; ahead++)
        for (int64_t r = 1; r <= most_rows; r = r < 32 ? r + 1 : r + r / 8)
            for (int64_t c = 1; c <= most_cols; c = c < 16 ? c + 1 : c * 2) {
                Plan trial = plan;
                trial.ahead = ahead;
                const bool fits = cut(&trial, r, c, cache);
                const bool smallest = r == most_rows && c == most_cols;
                if (!fits && !(smallest && best_cost < 0))
                    continue;
                double total = cost(&trial, threads);
                if (ahead)                  // packed once, by all threads, through memory
                    total += (double)plan.batch * (double)plan_packed_cols(&plan) * (double)plan.sum * 0.7 / threads + 4000.0;
                if (best_cost < 0 || total < best_cost) {
                    best = trial;
                    best_cost = total;
                }
            }
    if (best_cost < 0)
        cut(&best, most_rows, most_cols, cache);
    return best;
}

Plan plan_product(const Product *p, const Target *target)
{
    return plan_with(p, target, false);
}

Plan plan_product_pairs(const Product *p, const Target *target)
{
    return plan_with(p, target, true);
}
