// What is in a row kernel: the members and their classes, the passes they need, the buffers, and whether a causal mask
// bounds the columns.
#include "lower_rows.h"

#include <math.h>

static bool is_inside(const Rows *R, ValueId v)
{
    const uint32_t kernel = R->g->node[v].kernel;
    return kernel == R->L->kernel || !value_is_stored(R->g, v);
}

// All that the stored values need and nobody stores, ascending.
static bool collect(Rows *R, ValueId *list, size_t *out_n)
{
    size_t n = 0;
    bool *seen = arena_array(R->L->arena, bool, R->g->n_nodes);
    for (size_t i = 0; i < R->L->n_members && n < ROWS_MOST; i++) {
        list[n++] = R->L->member[i];
        seen[R->L->member[i]] = true;
    }
    for (size_t i = 0; i < n; i++) {
        const Node *node = &R->g->node[list[i]];
        for (size_t k = 0; k < node->n_in; k++) {
            const ValueId in = node->in[k];
            if (seen[in] || !is_inside(R, in))
                continue;
            if (n == ROWS_MOST)
                return false;
            seen[in] = true;
            list[n++] = in;
        }
    }
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k > 0 && list[k - 1] > list[k]; k--) {
            const ValueId t = list[k];
            list[k] = list[k - 1];
            list[k - 1] = t;
        }
    *out_n = n;
    return true;
}

static bool is_part(uint8_t c)
{
    return c == ROWS_WIDE || c == ROWS_REDUCE || c == ROWS_LINE || c == ROWS_OUT;
}

// Classes under this pair of axes; false when some value does not fit.
static bool classify(Rows *R, const ValueId *list, size_t n, AxisId row, AxisId col)
{
    R->row = row;
    R->col = col;
    R->n_members = 0;
    bool any_out = false;
    for (size_t i = 0; i < n; i++) {
        const RowsClass c = rows_class(R->g, list[i], row, col, R->class_of);
        R->class_of[list[i]] = (uint8_t)c;
        const bool stored = R->g->node[list[i]].kernel == R->L->kernel;
        if (c == ROWS_BAD || (stored && c != ROWS_OUT && c != ROWS_REDUCE && c != ROWS_LINE))
            return false;
        any_out |= c == ROWS_OUT;
        if (is_part((uint8_t)c))
            R->member[R->n_members++] = list[i];
    }
    return any_out;
}

bool rows_find(Rows *R)
{
    ValueId list[ROWS_MOST];
    size_t n;
    R->class_of = arena_array(R->L->arena, uint8_t, R->g->n_nodes);
    R->stage = arena_array(R->L->arena, int, R->g->n_nodes);
    if (!collect(R, list, &n))
        return false;
    for (size_t i = 0; i < n; i++) {
        const Node *node = &R->g->node[list[i]];
        if (node->op != OP_CONTRACT || node->kernel == R->L->kernel)
            continue;
        for (int a = 0; a < node->type.n_axes; a++)
            for (int b = 0; b < node->type.n_axes; b++) {
                const AxisId row = node->type.axis[a], col = node->type.axis[b];
                if (a == b || !classify(R, list, n, row, col) || R->class_of[list[i]] != ROWS_WIDE)
                    continue;
                R->batch = (AxisGroup){.size = 1};
                for (int k = 0; k < node->type.n_axes; k++)
                    if (k != a && k != b) {
                        R->batch.axis[R->batch.n++] = node->type.axis[k];
                        R->batch.size *= graph_size(R->g, node->type.axis[k]);
                    }
                return true;
            }
    }
    return false;
}

// ---------------------------------------------------------------------------------------------------------------
// Stages: values that need a reduction over the whole row wait for the pass after it.

static bool is_expensive(const Node *n)
{
    return n->op == OP_MAP || n->op == OP_RANDOM || n->op == OP_POW || n->op == OP_ATAN2;
}

const RowsBuffer *rows_buffer(const Rows *R, ValueId v)
{
    for (size_t i = 0; i < R->n_buffers; i++)
        if (R->buffer[i].value == v)
            return &R->buffer[i];
    return NULL;
}

static void add_buffer(Rows *R, ValueId v, bool by_product)
{
    if (rows_buffer(R, v) == NULL && R->n_buffers < ROWS_MOST_PARTS)
        R->buffer[R->n_buffers++] = (RowsBuffer){.value = v, .by_product = by_product, .first = by_product ? -1 : R->stage[v],
                                                 .last = -1};
}

// Free values are not members, but may wait for a reduction: their operands are looked through.
static int stage_of(Rows *R, ValueId v)
{
    const Node *n = &R->g->node[v];
    const uint8_t c = R->class_of[v];
    if (c == ROWS_NONE || !is_inside(R, v))
        return 0;
    int stage = 0;
    for (size_t k = 0; k < n->n_in; k++) {
        const uint8_t in = R->class_of[n->in[k]];
        const int s = in == ROWS_FREE ? stage_of(R, n->in[k]) : R->stage[n->in[k]];
        if (in != ROWS_NONE && s > stage)
            stage = s;
    }
    return stage + (c == ROWS_REDUCE);
}

static void find_stages(Rows *R)
{
    R->n_stages = 1;
    for (size_t i = 0; i < R->n_members; i++) {
        const ValueId v = R->member[i];
        R->stage[v] = stage_of(R, v);
        if (R->class_of[v] == ROWS_WIDE && R->stage[v] + 1 > R->n_stages)
            R->n_stages = R->stage[v] + 1;
    }
}

// The last stage at which unbuffered wide values that lead to v read it.
static void extend_life(Rows *R, ValueId v, int stage)
{
    for (size_t i = 0; i < R->n_buffers; i++)
        if (R->buffer[i].value == v) {
            if (R->buffer[i].last < stage)
                R->buffer[i].last = stage;
            return;
        }
    const Node *n = &R->g->node[v];
    for (size_t k = 0; k < n->n_in; k++)
        if (R->class_of[n->in[k]] == ROWS_WIDE)
            extend_life(R, n->in[k], stage);
}

static void extend_operands(Rows *R, ValueId v, int stage)
{
    const Node *n = &R->g->node[v];
    for (size_t k = 0; k < n->n_in; k++)
        if (R->class_of[n->in[k]] == ROWS_WIDE)
            extend_life(R, n->in[k], stage);
}

static void find_lives(Rows *R)
{
    for (size_t i = 0; i < R->n_members; i++) {
        const ValueId v = R->member[i];
        if (R->class_of[v] == ROWS_REDUCE)
            extend_operands(R, v, R->stage[v] - 1);
        else if (R->class_of[v] == ROWS_OUT)
            extend_operands(R, v, R->n_stages);
    }
    for (size_t i = 0; i < R->n_buffers; i++)
        if (!R->buffer[i].by_product)
            extend_operands(R, R->buffer[i].value, R->buffer[i].first);
}

// A buffer written in a stage may take the place of one that is read there for the last time: the loop reads a place
// before it writes it.
static void assign_slots(Rows *R)
{
    int free_from[ROWS_MOST_PARTS];         // by slot: the stage whose writes may use it
    R->n_slots = 0;
    for (int stage = -1; stage < R->n_stages; stage++)
        for (size_t i = 0; i < R->n_buffers; i++) {
            RowsBuffer *b = &R->buffer[i];
            if (b->first != stage)
                continue;
            int slot = 0;
            while (slot < R->n_slots && free_from[slot] > stage)
                slot++;
            R->n_slots = slot == R->n_slots ? slot + 1 : R->n_slots;
            b->slot = slot;
            free_from[slot] = b->last > stage ? b->last : stage + 1;
        }
}

static size_t count_wide_readers(const Rows *R, ValueId v, int *out_last)
{
    size_t count = 0;
    for (size_t i = 0; i < R->n_members; i++) {
        const Node *n = &R->g->node[R->member[i]];
        for (size_t k = 0; k < n->n_in; k++)
            if (n->in[k] == v) {
                const int s = R->stage[R->member[i]] - (R->class_of[R->member[i]] == ROWS_REDUCE);
                *out_last = s > *out_last ? s : *out_last;
                count++;
            }
    }
    return count;
}

static void find_buffers(Rows *R)
{
    for (size_t i = 0; i < R->n_members; i++) {
        const ValueId v = R->member[i];
        const Node *n = &R->g->node[v];
        if (R->class_of[v] == ROWS_WIDE && n->op == OP_CONTRACT)
            add_buffer(R, v, true);
        if (R->class_of[v] == ROWS_OUT)
            add_buffer(R, n->in[rows_wide_operand(R->g, v, R->class_of)], false);
    }
    // What is costly and read in a later stage again is kept.
    for (size_t i = 0; i < R->n_members; i++) {
        const ValueId v = R->member[i];
        int last = -1;
        if (R->class_of[v] == ROWS_WIDE && is_expensive(&R->g->node[v]) && count_wide_readers(R, v, &last) > 1
            && last > R->stage[v])
            add_buffer(R, v, false);
    }
}

void rows_plan_buffers(Rows *R)
{
    R->n_rows = graph_size(R->g, R->row);
    R->n_cols = graph_size(R->g, R->col);
    find_stages(R);
    find_buffers(R);
    find_lives(R);
    assign_slots(R);
    R->causal = rows_are_causal(R);
    R->grows = false;
    for (size_t i = 0; i < R->n_members; i++)
        if (R->class_of[R->member[i]] == ROWS_OUT && !rows_out_sums_columns(R->g, R->member[i], R->col))
            R->grows = true;
}

void rows_cut(Rows *R)
{
    const Target *target = R->L->target;
    const int32_t *knob = R->L->schedule.knob;
    R->tile = tile_of(target, &R->L->schedule, R->n_rows);
    R->stride = (R->n_cols + tile_width(R->tile) - 1) / tile_width(R->tile) * tile_width(R->tile);
    R->rows_tile = R->sums_tile = R->tile;
    R->rows_tile.row_step = R->sums_tile.term_step = (int)R->stride;
    R->rows_tile.term_step = R->sums_tile.row_step = 1;
    // Divides the columns of a block, which are whole vectors.
    R->sums_tile.rows = R->tile.lanes > 8 && tile_fits(target, 8, R->tile.vectors) ? 8 : 4;
    const int64_t panels = (R->n_rows + R->tile.rows - 1) / R->tile.rows;
    const int64_t most = knob[KNOB_ROWS] > 0 ? (knob[KNOB_ROWS] + R->tile.rows - 1) / R->tile.rows : R->grows ? 4 : 2;
    R->block_rows = R->tile.rows * (panels < most ? panels : most);
    const int64_t blocks = (R->n_rows + R->block_rows - 1) / R->block_rows;
    const int64_t wanted = 8 * (target->threads > 0 ? target->threads : 1);
    R->chunks = 1;
    if (knob[KNOB_PARTS] > 0 && !R->grows) {
        R->chunks = knob[KNOB_PARTS] < blocks ? knob[KNOB_PARTS] : blocks;
        return;
    }
    while (!R->grows && R->chunks * 2 <= blocks && R->batch.size * R->chunks < wanted)
        R->chunks *= 2;
}

// ---------------------------------------------------------------------------------------------------------------
// Causal masks: what is known of a value where col > row.

typedef enum Beyond { BEYOND_ANY, BEYOND_ZERO, BEYOND_HUGE_NEGATIVE } Beyond;

static const Node *strip(const Rows *R, ValueId v)
{
    const Node *n = &R->g->node[v];
    while (n->op == OP_CAST || n->op == OP_EXPAND || n->op == OP_STOP)
        n = &R->g->node[n->in[0]];
    return n;
}

static bool is_index(const Rows *R, ValueId v, AxisId axis)
{
    const Node *n = strip(R, v);
    return n->op == OP_INDEX && n->attr[0].axis == axis;
}

// 0 or 1: the comparison is that wherever col > row; -1: not known.
static int mask_beyond(const Rows *R, ValueId v)
{
    const Node *n = strip(R, v);
    if (n->op == OP_LE || n->op == OP_LT) {
        if (is_index(R, n->in[0], R->col) && is_index(R, n->in[1], R->row))
            return 0;
        if (is_index(R, n->in[0], R->row) && is_index(R, n->in[1], R->col))
            return 1;
    }
    if (n->op == OP_MUL && (mask_beyond(R, n->in[0]) == 0 || mask_beyond(R, n->in[1]) == 0))
        return 0;
    return -1;
}

static Beyond beyond(const Rows *R, ValueId v);

static bool is_positive_const(const Rows *R, ValueId v)
{
    const Node *n = strip(R, v);
    return n->op == OP_CONST && n->attr[0].f > 0;
}

static Beyond beyond_of_map(Act f, Beyond x)
{
    if (x == BEYOND_HUGE_NEGATIVE)
        return f == ACT_EXP || f == ACT_SIGMOID || f == ACT_RELU ? BEYOND_ZERO : BEYOND_ANY;
    const bool keeps_zero = f == ACT_SIN || f == ACT_TANH || f == ACT_RELU || f == ACT_SILU || f == ACT_GELU
                         || f == ACT_GELU_TANH || f == ACT_ERF || f == ACT_ABS || f == ACT_SIGN;
    return x == BEYOND_ZERO && keeps_zero ? BEYOND_ZERO : BEYOND_ANY;
}

static Beyond beyond_of_binary(const Rows *R, const Node *n)
{
    const Beyond a = beyond(R, n->in[0]), b = beyond(R, n->in[1]);
    switch ((int)n->op) {
    case OP_ADD:
        if (a == BEYOND_ZERO && b == BEYOND_ZERO)
            return BEYOND_ZERO;
        return a == BEYOND_HUGE_NEGATIVE || b == BEYOND_HUGE_NEGATIVE ? BEYOND_HUGE_NEGATIVE : BEYOND_ANY;
    case OP_SUB:
        if (a == BEYOND_ZERO && b == BEYOND_ZERO)
            return BEYOND_ZERO;
        return a == BEYOND_HUGE_NEGATIVE && b != BEYOND_HUGE_NEGATIVE ? BEYOND_HUGE_NEGATIVE : BEYOND_ANY;
    case OP_MUL:
        if (a == BEYOND_ZERO || b == BEYOND_ZERO)
            return BEYOND_ZERO;
        return (a == BEYOND_HUGE_NEGATIVE && is_positive_const(R, n->in[1]))
            || (b == BEYOND_HUGE_NEGATIVE && is_positive_const(R, n->in[0])) ? BEYOND_HUGE_NEGATIVE : BEYOND_ANY;
    case OP_DIV:
        return a == BEYOND_HUGE_NEGATIVE && !is_positive_const(R, n->in[1]) ? BEYOND_ANY : a;
    default:
        return BEYOND_ANY;
    }
}

static Beyond beyond(const Rows *R, ValueId v)
{
    const Node *n = strip(R, v);
    if (mask_beyond(R, v) == 0)
        return BEYOND_ZERO;
    switch ((int)n->op) {
    case OP_CONST:
        return n->attr[0].f == 0 ? BEYOND_ZERO : n->attr[0].f <= -1e9 ? BEYOND_HUGE_NEGATIVE : BEYOND_ANY;
    case OP_SELECT: {
        const int mask = mask_beyond(R, n->in[0]);
        const Beyond yes = beyond(R, n->in[1]), no = beyond(R, n->in[2]);
        return mask == 0 ? no : mask == 1 ? yes : yes == no ? yes : BEYOND_ANY;
    }
    case OP_NEG:
        return beyond(R, n->in[0]) == BEYOND_ZERO ? BEYOND_ZERO : BEYOND_ANY;
    case OP_MAP:
        return beyond_of_map(n->attr[0].act, beyond(R, n->in[0]));
    case OP_ADD: case OP_SUB: case OP_MUL: case OP_DIV:
        return beyond_of_binary(R, n);
    default:
        return BEYOND_ANY;
    }
}

bool rows_are_causal(const Rows *R)
{
    for (size_t i = 0; i < R->n_members; i++) {
        const ValueId v = R->member[i];
        const Node *n = &R->g->node[v];
        if (R->class_of[v] == ROWS_OUT
            && beyond(R, n->in[rows_wide_operand(R->g, v, R->class_of)]) != BEYOND_ZERO)
            return false;
        if (R->class_of[v] != ROWS_REDUCE)
            continue;
        const Beyond b = beyond(R, n->in[0]);
        const bool skips = (n->attr[0].red == RED_SUM && b == BEYOND_ZERO)
                        || (n->attr[0].red == RED_MAX && b == BEYOND_HUGE_NEGATIVE);
        if (!skips)
            return false;
    }
    return R->n_rows == R->n_cols;
}
