// Row kernels in CUDA by tiles: passes, operands and sizes. See lower_rows_tiles.c.
#include "lower_rows_tiles.h"

#include <string.h>

// Of a block that leaves room for a second one; of what a thread keeps; places of a value (its root may be a few times larger).
enum { SHARED_BYTES = 96 << 10, REGISTERS = 176, MOST_NARROW = INT32_MAX / 8 };

static int64_t pad(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

static bool is_outside(const Rows *R, ValueId v)
{
    return R->class_of[v] == ROWS_NONE || (value_is_stored(R->g, v) && R->g->node[v].kernel != R->L->kernel);
}

bool tiles_is_in_job(const TilesJob *J, size_t part)
{
    const RowsPart *p = &J->R->part[part];
    return p->is_out && p->over_columns == J->own_is_row;
}

// --- online: a softmax's maximum and sum in one pass

// How a value scales when the maximum that is known so far changes: by exp(-most)^e sum^l.
typedef struct Degree { uint8_t state; int8_t e, l; } Degree;
enum { DEGREE_UNKNOWN, DEGREE_GOOD, DEGREE_NONE };

typedef struct Online {
    const Rows *R;
    ValueId     most, sum;
    Degree     *memo;                       // [n_nodes]
} Online;

static ValueId see_through(const Graph *g, ValueId v)
{
    while (g->node[v].op == OP_EXPAND || g->node[v].op == OP_STOP)
        v = g->node[v].in[0];
    return v;
}

static Degree degree(const Online *O, ValueId v);

static bool is_zero(const Graph *g, ValueId v)
{
    const Node *n = &g->node[see_through(g, v)];
    return n->op == OP_CONST && n->attr[0].f == 0;
}

static Degree degree_alike(const Online *O, ValueId a, ValueId b)
{
    const Graph *g = O->R->g;
    const Degree x = degree(O, a), y = degree(O, b);
    if (is_zero(g, a) || is_zero(g, b))
        return is_zero(g, a) ? y : x;
    return x.state == DEGREE_GOOD && y.state == DEGREE_GOOD && x.e == y.e && x.l == y.l ? x : (Degree){.state = DEGREE_NONE};
}

static Degree degree_of_op(const Online *O, ValueId v)
{
    const Graph *g = O->R->g;
    const Node *n = &g->node[v];
    const Degree none = {.state = DEGREE_NONE}, zero = {.state = DEGREE_GOOD};
    const Node *x = n->n_in > 0 ? &g->node[see_through(g, n->in[0])] : NULL;
    if (n->op == OP_MAP && n->attr[0].act == ACT_EXP && x->op == OP_SUB && see_through(g, x->in[1]) == O->most) {
        const Degree d = degree(O, x->in[0]);
        return d.state == DEGREE_GOOD && d.e == 0 && d.l == 0 ? (Degree){.state = DEGREE_GOOD, .e = 1} : none;
    }
    if (n->op == OP_CAST || n->op == OP_EXPAND || n->op == OP_STOP || n->op == OP_NEG || n->op == OP_RENAME)
        return degree(O, n->in[0]);
    if (n->op == OP_SELECT) {
        const Degree c = degree(O, n->in[0]);
        return c.state == DEGREE_GOOD && c.e == 0 && c.l == 0 ? degree_alike(O, n->in[1], n->in[2]) : none;
    }
    if (n->op == OP_ADD || n->op == OP_SUB)
        return degree_alike(O, n->in[0], n->in[1]);
    if (n->op == OP_MUL || n->op == OP_DIV) {
        const Degree a = degree(O, n->in[0]), b = degree(O, n->in[1]);
        const int sign = n->op == OP_MUL ? 1 : -1;
        if (a.state != DEGREE_GOOD || b.state != DEGREE_GOOD)
            return none;
        return (Degree){.state = DEGREE_GOOD, .e = (int8_t)(a.e + sign * b.e), .l = (int8_t)(a.l + sign * b.l)};
    }
    for (size_t k = 0; k < n->n_in; k++) {
        const Degree d = degree(O, n->in[k]);
        if (d.state != DEGREE_GOOD || d.e != 0 || d.l != 0)
            return none;
    }
    return zero;
}

static Degree degree(const Online *O, ValueId v)
{
    if (O->memo[v].state != DEGREE_UNKNOWN)
        return O->memo[v];
    Degree d = {.state = DEGREE_GOOD};
    if (v == O->most || (v != O->sum && O->R->class_of[v] == ROWS_REDUCE && !is_outside(O->R, v)))
        d.state = DEGREE_NONE;
    else if (v == O->sum)
        d.l = 1;
    else if (!is_outside(O->R, v) && O->R->g->node[v].op != OP_CONTRACT)
        d = degree_of_op(O, v);
    O->memo[v] = d;
    return d;
}

static bool is_red(const Rows *R, const TilesPass *p, Red red)
{
    return p->n_reds == 1 && R->g->node[p->red[0]].attr[0].red == red;
}

// The first two passes become one where they are the maximum and the sum of a softmax, and so does the pass of the products
// where these are sums over the same exponentials.
static void merge_online(TilesJob *J)
{
    const Rows *R = J->R;
    TilesPass *p = J->pass;
    if (J->n_passes < 2 || !is_red(R, &p[0], RED_MAX) || !is_red(R, &p[1], RED_SUM))
        return;
    const Online O = {R, p[0].red[0], p[1].red[0], arena_array(R->L->arena, Degree, R->g->n_nodes)};
    const Degree of_sum = degree(&O, R->g->node[O.sum].in[0]);
    if (of_sum.state != DEGREE_GOOD || of_sum.e != 1 || of_sum.l != 0)
        return;
    p[0].online = true;
    p[0].red[p[0].n_reds++] = O.sum;
    memmove(&p[1], &p[2], (--J->n_passes - 1) * sizeof *p);
    if (J->n_passes != 2 || !p[1].has_outs)
        return;
    for (size_t i = 0; i < R->n_parts; i++) {
        if (!tiles_is_in_job(J, i))
            continue;
        const Degree d = degree(&O, R->part[i].text.p.operand[0]);
        if (d.state != DEGREE_GOOD || d.e != 1 || (d.l != 0 && d.l != -1))
            return;
        p[0].divides[i] = d.l != 0;
    }
    p[0].has_outs = true;
    J->n_passes = 1;
}

// --- passes

static void mark_products(const Rows *R, ValueId v, bool *seen, bool *product)
{
    if (seen[v] || is_outside(R, v) || R->class_of[v] == ROWS_REDUCE)
        return;
    seen[v] = true;
    for (size_t i = 0; i < R->n_parts; i++)
        if (!R->part[i].is_out && R->part[i].text.p.value == v) {
            product[i] = true;
            return;
        }
    for (size_t k = 0; k < R->g->node[v].n_in; k++)
        mark_products(R, R->g->node[v].in[k], seen, product);
}

static void find_products(TilesJob *J, TilesPass *p)
{
    const Rows *R = J->R;
    bool *seen = arena_array(R->L->arena, bool, R->g->n_nodes);
    for (size_t k = 0; k < p->n_reds; k++)
        mark_products(R, R->g->node[p->red[k]].in[0], seen, p->product);
    for (size_t i = 0; i < R->n_parts && p->has_outs; i++)
        if (tiles_is_in_job(J, i))
            mark_products(R, R->part[i].text.p.operand[0], seen, p->product);
}

static bool plan_passes(TilesJob *J)
{
    const Rows *R = J->R;
    bool any = false;
    for (size_t i = 0; i < R->n_parts; i++)
        any |= tiles_is_in_job(J, i);
    for (int stage = 1; J->own_is_row && stage <= R->n_stages; stage++) {
        TilesPass *p = &J->pass[J->n_passes];
        for (size_t i = 0; i < R->n_members; i++) {
            const ValueId v = R->member[i];
            if (R->class_of[v] != ROWS_REDUCE || R->stage[v] != stage)
                continue;
            if (p->n_reds == ROWS_MOST_PARTS || J->n_passes + 2 > TILES_MOST_PASSES)
                return false;
            p->red[p->n_reds++] = v;
        }
        J->n_passes += p->n_reds > 0;
    }
    if (any)
        J->pass[J->n_passes++].has_outs = true;
    if (J->own_is_row)
        merge_online(J);
    for (size_t k = 0; k < J->n_passes; k++)
        find_products(J, &J->pass[k]);
    return true;
}

// --- operands

static bool is_bf16(const Rows *R, ValueId v)
{
    return R->g->node[v].type.dtype == DTYPE_BF16;
}

static AxisGroup axis_alone(const Rows *R, AxisId axis)
{
    return (AxisGroup){.n = 1, .axis = {axis}, .size = graph_size(R->g, axis)};
}

// Rows of pieces of so many elements of `dtype` at addresses that are multiples of the piece.
static bool lies_in_pieces(const TilesJob *J, RowsTile *t, DType dtype, int64_t piece)
{
    const Rows *R = J->R;
    const Graph *g = R->g;
    const AxisGroup rows = axis_alone(R, t->axis);
    int64_t step;
    if (!affine_collapse(g, t->value, &t->affine, &rows, &t->row_step) || !affine_collapse(g, t->value, &t->affine, &t->terms, &step)
        || step != 1 || t->terms.size % piece != 0)
        return false;
    const Node *root = &g->node[t->affine.root];
    bool good = root->type.dtype == dtype && root->kernel != R->L->kernel && t->row_step % piece == 0 && t->affine.offset % piece == 0;
    const Type *type = &g->node[t->value].type;
    for (int i = 0; i < type->n_axes; i++)
        for (int k = 0; k < R->batch.n; k++)
            good = good && (type->axis[i] != R->batch.axis[k] || t->affine.stride[i] % piece == 0);
    return good;
}

static void find_way(const TilesJob *J, RowsTile *t)
{
    const Graph *g = J->R->g;
    t->is_direct = value_affine(g, t->value, &t->affine) && lies_in_pieces(J, t, J->is_mma ? DTYPE_BF16 : DTYPE_F32, J->is_mma ? 8 : 4);
    if (!t->is_direct && J->is_mma)
        t->is_rounded = value_affine_rounded(g, t->value, &t->affine) && lies_in_pieces(J, t, DTYPE_F32, 4);
}

static int find_tile(TilesJob *J, ValueId value, AxisId axis, const AxisGroup *terms, bool is_own)
{
    for (size_t i = 0; i < J->n_tiles; i++) {
        const RowsTile *t = &J->tile[i];
        if (t->value == value && t->axis == axis && t->is_own == is_own && t->terms.n == terms->n
            && memcmp(t->terms.axis, terms->axis, terms->n * sizeof *terms->axis) == 0)
            return (int)i;
    }
    RowsTile *t = &J->tile[J->n_tiles++];
    *t = (RowsTile){.value = value, .axis = axis, .terms = *terms, .is_own = is_own};
    t->padded = pad(terms->size, J->is_mma ? 16 : 4);
    find_way(J, t);
    return (int)J->n_tiles - 1;
}

static void find_tiles(TilesJob *J)
{
    Rows *R = J->R;
    const AxisId own = J->own_is_row ? R->row : R->col, stream = J->own_is_row ? R->col : R->row;
    bool product[ROWS_MOST_PARTS] = {false};
    J->is_mma = true;
    for (size_t k = 0; k < J->n_passes; k++)
        for (size_t i = 0; i < R->n_parts; i++)
            product[i] |= J->pass[k].product[i] || (J->pass[k].has_outs && tiles_is_in_job(J, i));
    for (size_t i = 0; i < R->n_parts; i++)
        if (product[i])
            J->is_mma = J->is_mma && is_bf16(R, R->part[i].text.p.operand[0]) && is_bf16(R, R->part[i].text.p.operand[1]);
    for (size_t i = 0; i < R->n_parts; i++) {
        const Product *p = &R->part[i].text.p;
        if (!product[i])
            continue;
        if (R->part[i].is_out) {
            J->right[i] = find_tile(J, p->operand[1], stream, &p->group[CLASS_COL], false);
            RowsTile *t = &J->tile[J->right[i]];
            t->padded = pad(t->padded, J->is_mma ? 16 : 32);
        } else {
            J->left[i] = find_tile(J, p->operand[J->own_is_row ? 0 : 1], own, &p->group[CLASS_SUM], true);
            J->right[i] = find_tile(J, p->operand[J->own_is_row ? 1 : 0], stream, &p->group[CLASS_SUM], false);
        }
    }
}

// --- sizes

// Floats that a thread keeps in registers in the pass that needs most.
static int64_t registers(const TilesJob *J)
{
    const Rows *R = J->R;
    int64_t most = 0, outs = 0;
    for (size_t i = 0; i < R->n_parts; i++)
        if (tiles_is_in_job(J, i))
            outs += J->own_each * J->tile[J->right[i]].padded / (J->is_mma ? 4 : 8);
    for (size_t k = 0; k < J->n_passes; k++) {
        int64_t n = J->own_each * J->stream_each;       // weights
        for (size_t i = 0; i < R->n_parts; i++)
            n += J->pass[k].product[i] ? J->own_each * J->stream_each : 0;
        n += J->pass[k].has_outs ? outs : 0;
        most = n > most ? n : most;
    }
    return most;
}

// own_each rows of a thread, stream_tile columns: what that needs. False when it is too much.
static bool try_sizes(TilesJob *J, int own_each, int stream_tile, int stages)
{
    const bool mma = J->is_mma;
    J->own_each = own_each;
    J->lanes = mma ? 4 : 8;
    J->own_tile = TILES_WARPS * own_each * 32 / J->lanes;
    J->stream_tile = stream_tile;
    J->stream_each = stream_tile / J->lanes;
    J->stages = stages;
    J->put_floats = 0;
    J->shared_floats = 0;
    for (size_t i = 0; i < J->n_tiles; i++) {
        RowsTile *t = &J->tile[i];
        if (stages > 1 && !t->is_own && !t->is_direct)
            return false;
        t->pitch = t->padded + (mma ? 8 : 4);
        t->floats = (t->is_own ? J->own_tile : J->stream_tile) * t->pitch / (mma ? 2 : 1);
        J->shared_floats += t->is_own ? t->floats : stages * t->floats;
    }
    for (size_t k = 0; k < J->n_passes; k++)
        if (J->pass[k].has_outs && !mma)
            J->put_floats = (int64_t)J->own_tile * (stream_tile + 4);
    J->shared_floats += J->put_floats;
    return 4 * J->shared_floats <= SHARED_BYTES && registers(J) <= REGISTERS;
}

static bool find_sizes(TilesJob *J)
{
    static const struct { int own_each, stream_tile, stages; } size[] = {
        {4, 64, 2}, {4, 64, 1}, {4, 32, 2}, {4, 32, 1}, {2, 64, 2}, {2, 64, 1}, {2, 32, 2}, {2, 32, 1}, {1, 32, 1},
    };
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        if ((J->is_mma && size[i].own_each != 2) || (!J->is_mma && size[i].own_each == 4 && J->n_own <= 32)
            || (size[i].stream_tile == 64 && J->n_stream <= 32) || (size[i].stages > 1 && J->n_stream <= size[i].stream_tile))
            continue;
        if (try_sizes(J, size[i].own_each, size[i].stream_tile, size[i].stages))
            return true;
    }
    return false;
}

// int holds every place of every value that has rows or columns.
static bool is_narrow(const Rows *R)
{
    int64_t most = 0, wide;
    bool narrow = !__builtin_mul_overflow(R->n_rows, R->n_cols, &wide) && !__builtin_mul_overflow(wide, R->batch.size, &most) && most < MOST_NARROW;
    for (size_t i = 0; i < R->n_parts; i++)
        for (int k = 0; k < 2; k++)
            narrow = narrow && type_count(R->g, &R->g->node[R->part[i].text.p.operand[k]].type, &most) && most < MOST_NARROW;
    for (size_t i = 0; i < R->n_parts; i++)
        narrow = narrow && type_count(R->g, &R->g->node[R->part[i].text.p.value].type, &most) && most < MOST_NARROW;
    return narrow;
}

bool tiles_plan(TilesJob *J, Rows *R, bool own_is_row)
{
    *J = (TilesJob){.R = R, .own_is_row = own_is_row};
    J->n_own = own_is_row ? R->n_rows : R->n_cols;
    J->n_stream = own_is_row ? R->n_cols : R->n_rows;
    if (!plan_passes(J))
        return false;
    if (J->n_passes == 0)
        return true;
    find_tiles(J);
    if (!find_sizes(J))
        return false;
    J->n_blocks = (J->n_own + J->own_tile - 1) / J->own_tile;
    J->index = is_narrow(R) ? "int" : "long";
    return true;
}
