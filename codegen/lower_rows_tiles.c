// A row kernel in CUDA by tiles: attention as FlashAttention-2 does it (Dao, 2023, "FlashAttention-2: Faster Attention with Better
// Parallelism and Work Partitioning", algorithms 1 and 2), for whatever a row kernel holds.
//
//   job by rows:      a block has rows of a batch element                     a block of 4 warps, a warp has its own rows
//       its rows' operands to shared memory
//       for each pass:                                                        a reduction waits for the pass before it
//           for each tile of columns, as far as a causal mask lets:
//               columns' operands to shared memory                            while the tile before is worked on
//               wide products, in registers                                   mma.sync for bf16, else fmaf
//               masks, exponentials, .. element by element; reductions
//               products that sum columns away += weights * columns
//       statistics and rows of the results, stored
//   job by columns:   the same turned round, for products that sum rows away; the reductions are there by then
//
// A softmax's maximum and sum take one pass with the products: what was summed below a smaller maximum is scaled when a larger one
// comes (tiles_plan sees whether all of it scales alike). Sums have an order of their own, so the bits are the same every time. The two
// jobs are one launch unless the second needs what the first reduces.
#include "lower_rows_tiles.h"

#include <math.h>

#define N(x) ((long long)(x))

static Scope *unrolled(Emitter *E, Scope *at, const char *name, int64_t n)
{
    return scope_block(E, at, arena_printf(E->arena, "_Pragma(\"unroll\") for (int %s = 0; %s < %lld; %s++) {", name, name, N(n), name));
}

// Element (own r, streamed c) of an array of a tile's numbers.
static const char *element(const TilesJob *J, const char *array, const char *r, const char *c)
{
    return arena_printf(J->R->E->arena, J->is_mma ? "%s[%s / 2][%s*2 + %s %% 2]" : "%s[%s][%s]", array, J->is_mma ? c : r,
                        J->is_mma ? r : c, c);
}

static const char *array_of(const TilesJob *J, int64_t columns)
{
    return J->is_mma ? arena_printf(J->R->E->arena, "[%lld][4]", N(columns / 8))
                     : arena_printf(J->R->E->arena, "[%d][%lld]", J->own_each, N(columns / 8));
}

// --- operands

static const char *own_row(const TilesJob *J)
{
    return J->is_mma ? arena_printf(J->R->E->arena, "%s*16", J->warp)
                     : arena_printf(J->R->E->arena, "(%s*%d + %s / 8 * %d)", J->warp, 4 * J->own_each, J->lane, J->own_each);
}

// Copied as it is, or rounded to bf16 on the way.
static void load_stored(TilesJob *J, Scope *at, const RowsTile *t, const char *to, const char *first, int64_t size, int rows)
{
    Rows *R = J->R;
    Emitter *E = R->E;
    const int64_t piece = J->is_mma && t->is_direct ? 8 : 4, unit = t->is_rounded ? 1 : 16 / piece;   // of pitch and stride
    Env env = env_of(E, t->value);
    env_group(E, &env, &R->batch, R->batch_at);
    Ix base = ix_const(E->ix, t->affine.offset);
    for (int i = 0; i < env.n; i++)
        if (env.axis[i] != t->axis)
            base = ix_add(E->ix, base, ix_scale(E->ix, env.at[i], t->affine.stride[i]));
    Text text = text_make(E->arena);
    ix_print(E->ix, base, false, 0, NULL, &text);
    scope_line(at, "%s(%s, %lld, %s + %s + %s*%lld, %lld, %d, %lld - %s, %lld, %lld);", t->is_rounded ? "round_tile_s" : "copy_tile_s", to,
               N(t->pitch * unit), emit_param(E, t->affine.root, false), text_str(&text), first, N(t->row_step), N(t->row_step * unit), rows,
               N(size), first, N(t->padded / piece), N(t->terms.size / piece));
}

static void load_computed(TilesJob *J, Scope *at, const RowsTile *t, const char *to, const char *first, int64_t size, int rows)
{
    Rows *R = J->R;
    Emitter *E = R->E;
    const char *e = emit_name(E, "e"), *r = emit_name(E, "r"), *k = emit_name(E, "k"), *x = emit_name(E, "x");
    Scope *loop = scope_block(E, at, arena_printf(E->arena, "for (int %s = threadIdx.x; %s < %lld; %s += %d) {", e, e, N(rows * t->padded), e,
                                                  TILES_THREADS));
    scope_line(loop, "const long %s = %s + %s / %lld, %s = %s %% %lld;", r, first, e, N(t->padded), k, e, N(t->padded));
    scope_line(loop, "float %s = 0.0f;", x);
    Scope *inside = scope_block(E, loop, arena_printf(E->arena, "if (%s < %lld && %s < %lld) {", r, N(size), k, N(t->terms.size)));
    Env env = env_of(E, t->value);
    env_group(E, &env, &R->batch, R->batch_at);
    env_set(&env, t->axis, scope_var(E, inside, r, 0, product_top_index(size), 1));
    env_group(E, &env, &t->terms, scope_var(E, inside, k, 0, product_top_index(t->terms.size), 1));
    const Val val = val_float(E, emit_value(E, inside, t->value, &env));
    scope_line(inside, "%s = %s;", x, val_text(E, val, PREC_COMPARE));
    scope_close(E, inside);
    scope_line(loop, J->is_mma ? "%s[%s / %lld * %lld + %s] = half_s(%s);" : "%s[%s / %lld * %lld + %s] = %s;", to, e, N(t->padded), N(t->pitch),
               k, x);
    scope_close(E, loop);
}

static void load_tile(TilesJob *J, Scope *at, const RowsTile *t, const char *to, const char *first)
{
    const int64_t size = t->is_own ? J->n_own : J->n_stream;
    const int rows = t->is_own ? J->own_tile : J->stream_tile;
    if (t->is_direct || t->is_rounded)
        load_stored(J, at, t, to, first, size, rows);
    else
        load_computed(J, at, t, to, first, size, rows);
}

static const char *place_text(const TilesJob *J, int64_t at)
{
    return arena_printf(J->R->E->arena, J->is_mma ? "(unsigned short *)(dynamic + %lld)" : "dynamic + %lld", N(at));
}

// Where the tiles lie; the block's own ones are loaded.
static void place_tiles(TilesJob *J, Scope *at)
{
    Emitter *E = J->R->E;
    int64_t place = 0;
    const char *type = J->is_mma ? "unsigned short" : "float";
    for (size_t i = 0; i < J->n_tiles; i++) {
        RowsTile *t = &J->tile[i];
        t->name = emit_name(E, "tile");
        scope_line(at, "%s *const %s = %s;", type, t->name, place_text(J, place));
        place += t->is_own ? t->floats : J->stages * t->floats;
        if (t->is_own)
            load_tile(J, at, t, t->name, J->first);
    }
    if (J->put_floats > 0) {
        J->put = emit_name(E, "put");
        scope_line(at, "float *const %s = dynamic + %lld + %s*%d;", J->put, N(place), own_row(J), J->stream_tile + 4);
    }
}

static const char *staged(const TilesJob *J, const RowsTile *t, const char *first)
{
    if (t->is_own || J->stages == 1)
        return t->name;
    return arena_printf(J->R->E->arena, "(%s + %s / %d %% 2 * %lld)", t->name, first, J->stream_tile, N(t->floats * (J->is_mma ? 2 : 1)));
}

static bool is_needed(const TilesJob *J, const TilesPass *p, size_t tile)
{
    for (size_t i = 0; i < J->R->n_parts; i++)
        if ((p->product[i] || (p->has_outs && tiles_is_in_job(J, i))) && J->right[i] == (int)tile)
            return true;
    return false;
}

static void load_streamed(TilesJob *J, Scope *at, const TilesPass *p, const char *first)
{
    for (size_t i = 0; i < J->n_tiles; i++)
        if (!J->tile[i].is_own && is_needed(J, p, i))
            load_tile(J, at, &J->tile[i], staged(J, &J->tile[i], first), first);
}

// --- elements

static Env element_env(const TilesJob *J, ValueId v, Ix row, Ix col)
{
    Env env = env_of(J->R->E, v);
    env_group(J->R->E, &env, &J->R->batch, J->R->batch_at);
    env_set(&env, J->R->row, row);
    env_set(&env, J->R->col, col);
    return env;
}

// The number of an own or a streamed row as a variable of scope `at`, at most the last one; *out_inside: the condition that it is
// one, NULL where it always is.
static Ix running(TilesJob *J, Scope *at, bool own, const char *each, const char **out_inside)
{
    Emitter *E = J->R->E;
    const int64_t size = own ? J->n_own : J->n_stream, tile = own ? J->own_tile : J->stream_tile;
    const char *name = emit_name(E, own == J->own_is_row ? "i" : "c"), *raw = name;
    const char *text = own ? arena_printf(E->arena, J->is_mma ? "%s + 8*%s" : "%s + %s", J->own0, each)
                     : J->is_mma ? arena_printf(E->arena, "%s + %s + %s / 2 * 8 + %s %% 2", J->tile_at, J->stream0, each, each)
                                 : arena_printf(E->arena, "%s + %s + 8*%s", J->tile_at, J->stream0, each);
    *out_inside = NULL;
    if (size % tile != 0) {
        raw = emit_name(E, "at");
        scope_line(at, "const %s %s = %s, %s = %s < %lld ? %s : %lld;", J->index, raw, text, name, raw, N(size), raw, N(size - 1));
        *out_inside = arena_printf(E->arena, "%s < %lld", raw, N(size));
    } else {
        scope_line(at, "const %s %s = %s;", J->index, name, text);
    }
    return scope_var(E, at, name, 0, product_top_index(size), 1);
}

// Reductions that are known by now, of the row at hand.
static void bind_reductions(TilesJob *J, Scope *at, Ix row, const char *r, const uint32_t *work)
{
    Rows *R = J->R;
    Emitter *E = R->E;
    for (size_t i = 0; i < R->n_members; i++) {
        const ValueId v = R->member[i];
        const Env env = element_env(J, v, row, row);
        if (J->own_is_row && J->red[i] != NULL) {
            emit_bind(E, at, v, &env, val_name(arena_printf(E->arena, "%s[%s]", J->red[i], r), VAL_FLOAT, false));
        } else if (!J->own_is_row && work && work[i]) {
            Text place = text_make(E->arena);
            ix_print(E->ix, ix_add(E->ix, ix_scale(E->ix, R->batch_at, R->n_rows), row), false, 0, NULL, &place);
            const char *name = emit_workspace(E, work[i], "line", DTYPE_F32, false);
            emit_bind(E, at, v, &env, val_name(arena_printf(E->arena, "%s[%s]", name, text_str(&place)), VAL_FLOAT, false));
        }
    }
}

static void bind_products(TilesJob *J, Scope *at, const TilesPass *p, Ix row, Ix col, const char *r, const char *c)
{
    for (size_t i = 0; i < J->R->n_parts; i++) {
        const ValueId v = J->R->part[i].text.p.value;
        if (!p->product[i])
            continue;
        const Env env = element_env(J, v, row, col);
        emit_bind(J->R->E, at, v, &env, val_name(element(J, J->wide[i], r, c), VAL_FLOAT, false));
    }
}

static size_t member_of(const Rows *R, ValueId v)
{
    size_t i = 0;
    while (R->member[i] != v)
        i++;
    return i;
}

static const char *where(Emitter *E, const char *inside, const char *x, const char *otherwise)
{
    return inside ? arena_printf(E->arena, "%s ? %s : %s", inside, x, otherwise) : x;
}

static const char *start_of(Emitter *E, Red red)
{
    return val_const(E, red == RED_SUM ? 0 : red == RED_MAX ? -HUGE_VAL : HUGE_VAL, VAL_FLOAT).text;
}

// The weights of the products that the job stores, at one element.
static void emit_weights(TilesJob *J, Scope *at, Ix row, Ix col, const char *r, const char *c, const char *inside)
{
    Rows *R = J->R;
    Emitter *E = R->E;
    for (size_t i = 0; i < R->n_parts; i++) {
        if (!tiles_is_in_job(J, i))
            continue;
        ValueId w = R->part[i].text.p.operand[0];
        if (J->is_mma && R->g->node[w].op == OP_CAST)       // mma_sum_s rounds
            w = R->g->node[w].in[0];
        const Env env = element_env(J, w, row, col);
        const Val val = val_named(E, at, val_float(E, emit_value(E, at, w, &env)), "w");
        scope_line(at, "%s = %s;", element(J, J->wide[i], r, c), where(E, inside, val.text, "0.0f"));
    }
}

static void emit_reductions(TilesJob *J, Scope *at, const TilesPass *p, Ix row, Ix col, const char *r, const char *inside)
{
    Rows *R = J->R;
    Emitter *E = R->E;
    for (size_t k = 0; k < p->n_reds; k++) {
        const Node *n = &R->g->node[p->red[k]];
        const Env env = element_env(J, n->in[0], row, col);
        const Val x = val_named(E, at, val_float(E, emit_value(E, at, n->in[0], &env)), "x");
        const char *name = J->red[member_of(R, p->red[k])];
        if (n->attr[0].red == RED_SUM)
            scope_line(at, "%s[%s] += %s;", name, r, where(E, inside, x.text, "0.0f"));
        else
            scope_line(at, "%s[%s] = %s_s(%s[%s], %s);", name, r, n->attr[0].red == RED_MAX ? "max" : "min", name, r,
                       where(E, inside, x.text, start_of(E, n->attr[0].red)));
    }
}

// A row of the tile below the maximum so far: what was summed before is scaled to it.
static void emit_online_row(TilesJob *J, Scope *at, const TilesPass *p, Ix row, const char *r)
{
    Rows *R = J->R;
    Emitter *E = R->E;
    const ValueId most = p->red[0], sum = p->red[1], x_value = R->g->node[most].in[0], e_value = R->g->node[sum].in[0];
    const char *m = J->red[member_of(R, most)], *l = J->red[member_of(R, sum)], *inside;
    const char *x = emit_name(E, "x"), *top = emit_name(E, "most"), *next = emit_name(E, "next"), *scale = emit_name(E, "scale");
    const char *c = emit_name(E, "c"), *j = emit_name(E, "j");
    scope_line(at, "float %s[%d], %s = %s;", x, J->stream_each, top, start_of(E, RED_MAX));
    Scope *first = unrolled(E, at, c, J->stream_each);
    Ix col = running(J, first, false, c, &inside);
    bind_products(J, first, p, row, col, r, c);
    Env env = element_env(J, x_value, row, col);
    const Val val = val_named(E, first, val_float(E, emit_value(E, first, x_value, &env)), "x");
    scope_line(first, "%s[%s] = %s;", x, c, where(E, inside, val.text, start_of(E, RED_MAX)));
    scope_line(first, "%s = max_s(%s, %s[%s]);", top, top, x, c);
    scope_close(E, first);
    scope_line(at, "%s = max_s(%s[%s], warp_max_s(%s, %d));", top, m, r, top, J->lanes);
    scope_line(at, "const float %s = %s == %s ? 0.0f : %s, %s = exp_s(%s[%s] - %s);", next, top, start_of(E, RED_MAX), top, scale, m, r, next);
    scope_line(at, "%s[%s] = %s;", m, r, top);
    scope_line(at, "%s[%s] *= %s;", l, r, scale);
    for (size_t i = 0; i < R->n_parts; i++)
        if (p->has_outs && tiles_is_in_job(J, i)) {
            const int64_t each = J->tile[J->right[i]].padded / J->lanes;
            scope_line(at, "_Pragma(\"unroll\") for (int %s = 0; %s < %lld; %s++) %s *= %s;", j, j, N(each), j, element(J, J->out[i], r, j), scale);
        }
    env = element_env(J, most, row, row);
    emit_bind(E, at, most, &env, val_name(next, VAL_FLOAT, false));
    emit_bind(E, at, sum, &env, val_const(E, 1, VAL_FLOAT));
    Scope *second = unrolled(E, at, c, J->stream_each);
    col = running(J, second, false, c, &inside);
    bind_products(J, second, p, row, col, r, c);
    env = element_env(J, x_value, row, col);
    emit_bind(E, second, x_value, &env, val_name(arena_printf(E->arena, "%s[%s]", x, c), VAL_FLOAT, false));
    env = element_env(J, e_value, row, col);
    const Val e = val_named(E, second, val_float(E, emit_value(E, second, e_value, &env)), "e");
    scope_line(second, "%s[%s] += %s;", l, r, where(E, inside, e.text, "0.0f"));
    if (p->has_outs)
        emit_weights(J, second, row, col, r, c, inside);
    scope_close(E, second);
}

// Rows outside, so that what depends on the row only is computed once.
static void emit_elements(TilesJob *J, Scope *at, const TilesPass *p, const uint32_t *work)
{
    Emitter *E = J->R->E;
    const char *r = emit_name(E, "r"), *c = emit_name(E, "q"), *inside_row, *inside_col;
    const bool own = J->own_is_row;
    Scope *rows = unrolled(E, at, own ? r : c, own ? J->own_each : J->stream_each);
    const Ix row = running(J, rows, own, own ? r : c, &inside_row);
    bind_reductions(J, rows, row, r, work);
    if (p->online) {
        emit_online_row(J, rows, p, row, r);
    } else {
        Scope *cols = unrolled(E, rows, own ? c : r, own ? J->stream_each : J->own_each);
        const Ix col = running(J, cols, !own, own ? c : r, &inside_col);
        const char *inside = own ? inside_col : inside_row;
        bind_products(J, cols, p, row, col, r, c);
        emit_reductions(J, cols, p, row, col, r, inside);
        if (p->has_outs)
            emit_weights(J, cols, row, col, r, c, inside);
        scope_close(E, cols);
    }
    scope_close(E, rows);
}

// --- passes

static void emit_products(TilesJob *J, Scope *at, const TilesPass *p)
{
    Emitter *E = J->R->E;
    for (size_t i = 0; i < J->R->n_parts; i++) {
        const bool weights = p->has_outs && tiles_is_in_job(J, i);
        if (!p->product[i] && !weights)
            continue;
        J->wide[i] = emit_name(E, weights ? "w" : "s");
        scope_line(at, "float %s%s%s;", J->wide[i], array_of(J, J->stream_tile), weights ? "" : " = {}");
        if (weights)
            continue;
        const RowsTile *a = &J->tile[J->left[i]], *b = &J->tile[J->right[i]];
        const int64_t unit = J->is_mma ? 16 : 4, terms = (a->terms.size + unit - 1) / unit * unit;
        scope_line(at, "%s(%s, %s + %s*%lld, %lld, %s%s, %lld, %lld);", J->is_mma ? "mma_dot_s" : "rows_dot_s", J->wide[i], a->name, own_row(J),
                   N(a->pitch), N(a->pitch), staged(J, b, J->tile_at),
                   J->is_mma ? "" : arena_printf(E->arena, " + %s*%lld", J->stream0, N(b->pitch)), N(b->pitch), N(terms));
    }
}

static void emit_sums(TilesJob *J, Scope *at)
{
    const int put = J->stream_tile + 4;
    for (size_t i = 0; i < J->R->n_parts; i++) {
        if (!tiles_is_in_job(J, i))
            continue;
        const RowsTile *v = &J->tile[J->right[i]];
        const char *from = staged(J, v, J->tile_at);
        if (J->is_mma) {
            scope_line(at, "mma_sum_s(%s, %s, %s, %lld);", J->out[i], J->wide[i], from, N(v->pitch));
            continue;
        }
        scope_line(at, "rows_put_s(%s, %s + %s, %d);", J->wide[i], J->put, J->stream0, put);
        scope_line(at, "__syncwarp();");
        scope_line(at, "rows_sum_s(%s, %s, %d, %s + 4*%s, %lld, %d);", J->out[i], J->put, put, from, J->stream0, N(v->pitch), J->stream_tile);
        scope_line(at, "__syncwarp();");
    }
}

static void declare_sums(TilesJob *J, Scope *at, const TilesPass *p)
{
    Rows *R = J->R;
    Emitter *E = R->E;
    for (size_t k = 0; k < p->n_reds; k++) {
        const size_t i = member_of(R, p->red[k]);
        const char *start = start_of(E, R->g->node[p->red[k]].attr[0].red), *hint = R->g->node[p->red[k]].hint;
        J->red[i] = emit_name(E, hint ? hint : "line");
        Text t = text_make(E->arena);
        for (int r = 0; r < J->own_each; r++)
            text_printf(&t, "%s%s", r ? ", " : "", start);
        scope_line(at, "float %s[%d] = {%s};", J->red[i], J->own_each, text_str(&t));
    }
    for (size_t i = 0; i < R->n_parts && p->has_outs; i++)
        if (tiles_is_in_job(J, i)) {
            J->out[i] = emit_name(E, "o");
            scope_line(at, "float %s%s = {};", J->out[i], array_of(J, J->tile[J->right[i]].padded));
        }
}

// Each lane has reduced the columns that it holds.
static void join_lanes(TilesJob *J, Scope *at, const TilesPass *p)
{
    Emitter *E = J->R->E;
    const char *r = emit_name(E, "r");
    for (size_t k = p->online ? 1 : 0; k < p->n_reds; k++) {
        const Red red = J->R->g->node[p->red[k]].attr[0].red;
        const char *name = J->red[member_of(J->R, p->red[k])];
        scope_line(at, "_Pragma(\"unroll\") for (int %s = 0; %s < %d; %s++) %s[%s] = warp_%s_s(%s[%s], %d);", r, r, J->own_each, r, name, r,
                   red == RED_SUM ? "sum" : red == RED_MAX ? "max" : "min", name, r, J->lanes);
    }
}

static void emit_pass(TilesJob *J, Scope *at, const TilesPass *p, const uint32_t *work)
{
    Rows *R = J->R;
    Emitter *E = R->E;
    const int tile = J->stream_tile;
    const char *t = emit_name(E, "t"), *from = "0", *to = arena_printf(E->arena, "%lld", N(J->n_stream));
    if (R->causal && J->own_is_row)
        to = product_declare(E, at, "to", arena_printf(E->arena, "%s + %d < %s ? %s + %d : %s", J->first, J->own_tile, to, J->first, J->own_tile, to));
    else if (R->causal)
        from = product_declare(E, at, "from", arena_printf(E->arena, "%s / %d * %d", J->first, tile, tile));
    declare_sums(J, at, p);
    J->tile_at = t;
    if (J->stages > 1) {
        load_streamed(J, at, p, from);
        scope_line(at, "copies_end_s();");
    }
    Scope *loop = scope_block(E, at, arena_printf(E->arena, "for (%s %s = %s; %s < %s; %s += %d) {", J->index, t, from, t, to, t, tile));
    if (J->stages > 1) {
        const char *next = arena_printf(E->arena, "(%s + %d)", t, tile);
        Scope *more = scope_block(E, loop, arena_printf(E->arena, "if (%s + %d < %s) {", t, tile, to));
        load_streamed(J, more, p, next);
        scope_close(E, more);
    } else {
        load_streamed(J, loop, p, t);
    }
    scope_line(loop, "copies_end_s();");
    scope_line(loop, "copies_wait_s(%d);", J->stages - 1);
    scope_line(loop, "__syncthreads();");
    emit_products(J, loop, p);
    emit_elements(J, loop, p, work);
    if (p->has_outs)
        emit_sums(J, loop);
    scope_line(loop, "__syncthreads();");
    scope_close(E, loop);
    join_lanes(J, at, p);
}

// --- results

// The statistics that somebody reads: those that the kernel stores, and those that the other job needs.
static void store_lines(TilesJob *J, Scope *at, const uint32_t *work)
{
    Rows *R = J->R;
    Emitter *E = R->E;
    const char *r = emit_name(E, "r"), *inside;
    bool any = false;
    for (size_t i = 0; i < R->L->n_members; i++)
        any |= R->class_of[R->L->member[i]] != ROWS_OUT;
    for (size_t i = 0; i < R->n_members && work; i++)
        any |= work[i] != 0;
    if (!any)
        return;
    Scope *rows = unrolled(E, at, r, J->own_each), *one = rows;
    Ix row = running(J, rows, true, r, &inside);
    one = scope_block(E, rows, arena_printf(E->arena, "if (%s%s%s %% %d == 0) {", inside ? inside : "", inside ? " && " : "", J->lane, J->lanes));
    bind_reductions(J, rows, row, r, NULL);
    for (size_t i = 0; i < R->L->n_members; i++) {
        const ValueId v = R->L->member[i];
        if (R->class_of[v] == ROWS_OUT)
            continue;
        const Env env = element_env(J, v, row, row);
        emit_store(E, one, v, &env, emit_value(E, one, v, &env));
    }
    Text place = text_make(E->arena);
    ix_print(E->ix, ix_add(E->ix, ix_scale(E->ix, R->batch_at, R->n_rows), row), false, 0, NULL, &place);
    for (size_t i = 0; i < R->n_members && work; i++)
        if (work[i])
            scope_line(one, "%s[%s] = %s[%s];", emit_workspace(E, work[i], "line", DTYPE_F32, true), text_str(&place), J->red[i], r);
    scope_close(E, one);
    scope_close(E, rows);
}

static void store_out(TilesJob *J, Scope *at, size_t part, bool divides, ValueId sum)
{
    Rows *R = J->R;
    Emitter *E = R->E;
    RowsPart *p = &R->part[part];
    const int64_t size = p->text.p.group[CLASS_COL].size;
    const char *r = emit_name(E, "r"), *q = emit_name(E, "q"), *j = emit_name(E, "j"), *y = emit_name(E, "y"), *inside, *inverse = NULL;
    Scope *rows = unrolled(E, at, r, J->own_each), *own = rows;
    const Ix row = running(J, rows, true, r, &inside);
    if (inside)
        own = scope_block(E, rows, arena_printf(E->arena, "if (%s) {", inside));
    if (divides) {
        inverse = emit_name(E, "inverse");
        scope_line(own, "const float %s = 1.0f/%s[%s];", inverse, J->red[member_of(R, sum)], r);
    }
    Scope *each = unrolled(E, own, q, J->tile[J->right[part]].padded / J->lanes);
    scope_line(each, J->is_mma ? "const long %s = %s / 2 * 8 + %s + %s %% 2;" : "const long %s = %s / 4 * 32 + 4*%s + %s %% 4;", j, q, J->stream0, q);
    Scope *in = scope_block(E, each, arena_printf(E->arena, "if (%s < %lld) {", j, N(size)));
    const Ix col = scope_var(E, in, j, 0, product_top_index(size), 1);
    scope_line(in, divides ? "const float %s = %s*%s;" : "const float %s = %s;", y, element(J, J->out[part], r, q), inverse);
    product_epilogue_point(&p->text, in, &p->space, row, col, val_name(y, VAL_FLOAT, false));
    scope_close(E, in);
    scope_close(E, each);
    if (inside)
        scope_close(E, own);
    scope_close(E, rows);
}

static void open_job(TilesJob *J, Scope *at, const char *block)
{
    Rows *R = J->R;
    Emitter *E = R->E;
    Arena *arena = E->arena;
    const char *g = emit_name(E, "g"), *part = block;
    J->warp = emit_name(E, "warp");
    J->lane = emit_name(E, "lane");
    J->first = emit_name(E, "first");
    J->own0 = emit_name(E, "own");
    J->stream0 = emit_name(E, "across");
    scope_line(at, "const int %s = threadIdx.x / 32, %s = threadIdx.x %% 32;", J->warp, J->lane);
    if (J->n_blocks == 1) {
        scope_line(at, "const long %s = %s;", g, block);
    } else if (R->batch.size > 1) {
        scope_line(at, "const long %s = %s / %lld;", g, block, N(J->n_blocks));
        part = arena_printf(arena, "%s %% %lld", block, N(J->n_blocks));
    }
    R->batch_at = R->batch.size > 1 ? scope_var(E, at, g, 0, R->batch.size - 1, 1) : ix_const(E->ix, 0);
    if (R->causal && J->own_is_row)         // the last rows have most to do: they begin
        part = arena_printf(arena, "(%lld - %s)", N(J->n_blocks - 1), part);
    scope_line(at, "const %s %s = %s * %d;", J->index, J->first, J->n_blocks > 1 ? part : "0", J->own_tile);
    scope_line(at, "const int %s = %s %% %d%s;", J->stream0, J->lane, J->lanes, J->is_mma ? " * 2" : "");
    scope_line(at, "const %s %s = %s + %s%s;", J->index, J->own0, J->first, own_row(J), J->is_mma ? arena_printf(arena, " + %s / 4", J->lane) : "");
    for (size_t i = 0; i < R->n_parts; i++) {
        R->part[i].text.E = E;
        R->part[i].text.batch = R->batch_at;
    }
}

void tiles_emit(TilesJob *J, Scope *at, const char *block, const uint32_t *work)
{
    scope_set_threads(at);
    open_job(J, at, block);
    place_tiles(J, at);
    for (size_t k = 0; k < J->n_passes; k++)
        emit_pass(J, at, &J->pass[k], work);
    if (J->own_is_row)
        store_lines(J, at, work);
    const TilesPass *last = &J->pass[J->n_passes - 1];
    for (size_t i = 0; i < J->R->n_parts; i++)
        if (tiles_is_in_job(J, i))
            store_out(J, at, i, last->online && last->divides[i], last->red[1]);
}
