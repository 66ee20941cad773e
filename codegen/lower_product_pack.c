// Packing: rows or columns of an operand into the panels that the micro-kernel reads front to back.
//
// An operand that is an affine view of stored floats is copied, transposed when its terms are contiguous. Any other
// operand - an index map, an activation, a mask - is emitted in strips into scratch, with lanes along the axis that is
// contiguous in it, and packed from there: this is where a product's prologue happens.
#include "lower_product.h"

#include <string.h>

void env_group(Emitter *E, Env *env, const AxisGroup *group, Ix linear)
{
    for (int i = group->n - 1; i >= 0; i--) {
        const int64_t size = graph_size(E->g, group->axis[i]);
        env_set(env, group->axis[i], i == 0 ? linear : ix_mod(E->ix, linear, size));
        if (i > 0)
            linear = ix_div(E->ix, linear, size);
    }
}

void env_batch(const ProductText *P, Env *env)
{
    AxisGroup group = P->p.group[CLASS_BATCH];
    if (P->lane_index == 0) {
        env_group(P->E, env, &group, P->batch);
        return;
    }
    group.n--;
    env_group(P->E, env, &group, P->outer_batch);
    env_set(env, P->lane_axis, P->lane_index);
}

static const AxisGroup *outer_group(const ProductText *P, int operand)
{
    return &P->p.group[operand == 0 ? CLASS_ROW : CLASS_COL];
}

static int panel_width(const ProductText *P, int operand)
{
    return operand == 0 ? P->plan.tile.rows : tile_width(P->plan.tile);
}

typedef struct Raw {                        // an operand that is floats in memory
    ValueId root;
    int64_t row, step;                      // strides of its rows (or columns) and of its terms
    Affine  affine;
} Raw;

static bool find_raw(const ProductText *P, int operand, Raw *out)
{
    const Graph *g = P->E->g;
    const ValueId v = P->p.operand[operand];
    Raw raw;
    const bool pairs = P->plan.tile.pairs;             // rounds what it reads
    if (!(pairs ? value_affine_rounded(g, v, &raw.affine) : value_affine(g, v, &raw.affine))
        || (g->node[v].type.dtype != DTYPE_F32 && !pairs) || g->node[raw.affine.root].type.dtype != DTYPE_F32 || g->node[raw.affine.root].kernel == P->E->kernel
        || !affine_collapse(g, v, &raw.affine, outer_group(P, operand), &raw.row)
        || !affine_collapse(g, v, &raw.affine, &P->p.group[CLASS_SUM], &raw.step))
        return false;
    raw.root = raw.affine.root;
    *out = raw;
    return true;
}

const char *product_affine_at(ProductText *P, ValueId v, const Affine *affine, const char *buffer, const AxisGroup *group, Ix at_group)
{
    Emitter *E = P->E;
    Env env = env_of(E, v);
    env_batch(P, &env);
    if (group)
        env_group(E, &env, group, at_group);
    Ix at = ix_const(E->ix, affine->offset);
    for (int i = 0; i < env.n; i++)
        at = ix_add(E->ix, at, ix_scale(E->ix, env_get(&env, E->g->node[v].type.axis[i]), affine->stride[i]));
    Text text = text_make(E->arena);
    int64_t constant;
    text_add(&text, buffer);
    if (!ix_is_const(E->ix, at, &constant) || constant != 0) {
        text_add(&text, " + ");
        ix_print(E->ix, at, false, 0, NULL, &text);
    }
    return text_str(&text);
}

// The first element of the batch at hand of the stored numbers behind v.
static const char *affine_base(ProductText *P, ValueId v, const Affine *affine, const char *buffer)
{
    return product_affine_at(P, v, affine, buffer, NULL, 0);
}

static const char *raw_base(ProductText *P, int operand, const Raw *raw)
{
    return affine_base(P, P->p.operand[operand], &raw->affine, emit_param(P->E, raw->root, false));
}

bool pack_result_place(ProductText *P, ValueId v, const char **out_from, int64_t *out_row)
{
    const Graph *g = P->E->g;
    Affine affine;
    int64_t col;
    if (!value_affine(g, v, &affine) || affine.root != v || !affine_collapse(g, v, &affine, &P->p.group[CLASS_ROW], out_row)
        || !affine_collapse(g, v, &affine, &P->p.group[CLASS_COL], &col) || col != 1 || g->node[v].type.dtype != DTYPE_F32)
        return false;
    *out_from = affine_base(P, v, &affine, emit_param(P->E, v, true));
    return true;
}

// Turns `width` rows of `from` at `stride` into one panel. Groups of lanes go from the last to the first, because each
// writes a whole vector, over the front of the next term.
void pack_turn_panel(ProductText *P, Scope *at, int width, const char *to, const char *from, const char *stride,
                       const char *rows, const char *kn)
{
    const int lanes = P->plan.tile.lanes;
    for (int first = (width - 1) / lanes * lanes; first >= 0; first -= lanes)
        if (first == 0)
            scope_line(at, "%s(%s, %d, %s, %s, %s, %s);", turn_name(P->E->arena, P->plan.tile), to, width, from, stride,
                       rows, kn);
        else
            scope_line(at, "%s(%s + %d, %d, %s + %d*%s, %s, %s - %d, %s);", turn_name(P->E->arena, P->plan.tile), to, first,
                       width, from, first, stride, stride, rows, first, kn);
}

void pack_copy_panel(ProductText *P, Scope *at, int width, const char *to, const char *from, const char *row, const char *step,
                     const char *rows, const char *kn, int room)
{
    if (P->plan.tile.pairs)
        scope_line(at, "%s(%s, %s, %s, %s, %s, %s, %d);", copy_pairs_name(P->E->arena, width), to, from, row, step, rows, kn, room);
    else
        scope_line(at, "%s(%s, %s, %s, %s, %s, %s);", copy_name(P->E->arena, width), to, from, row, step, rows, kn);
}

static void pack_raw(ProductText *P, Scope *at, int operand, const Raw *raw, PackRange r)
{
    Arena *arena = P->E->arena;
    const int width = panel_width(P, operand);
    const char *x = emit_name(P->E, "x");
    Scope *loop = scope_block(P->E, at, arena_printf(arena, "for (long %s = %s; %s < %s; %s += %d) {", x, r.x0, x, r.x1, x,
                                                     width));
    const char *to = arena_printf(arena, "%s + %s*%s", r.to, minus(P->E, x, r.x0), product_places(arena, &P->plan, r.kn));
    const char *from = arena_printf(arena, "%s + %s*%lld", raw_base(P, operand, raw), x, (long long)raw->row);
    if (strcmp(r.k0, "0") != 0)
        from = arena_printf(arena, "%s + %s*%lld", from, r.k0, (long long)raw->step);
    const char *row = arena_printf(arena, "%lld", (long long)raw->row);
    const char *rows = arena_printf(arena, "%s - %s", r.x1, x);
    if (raw->step == 1 && raw->row != 1)
        pack_turn_panel(P, loop, width, to, from, row, rows, r.kn);
    else
        pack_copy_panel(P, loop, width, to, from, row, arena_printf(arena, "%lld", (long long)raw->step), rows, r.kn, 0);
    scope_close(P->E, loop);
}

static bool is_gathered(const ProductText *P, int operand)
{
    return P->gather != NULL && (P->gather_sum || operand == 0);
}

bool pack_lies_across(const ProductText *P, int operand)
{
    const int at = type_find(&P->E->g->node[P->p.operand[operand]].type, P->lane_axis);
    Raw raw;
    return !is_gathered(P, operand) && at >= 0 && find_raw(P, operand, &raw) && raw.affine.stride[at] == 1;
}

// For each term of a panel, its rows at their stride are turned against the batches, which follow each other. Each batch
// gets a whole vector, over the front of the next term, so terms go upwards.
void pack_across(ProductText *P, Scope *at, int operand, PackRange r, int64_t n, int64_t apart)
{
    Raw raw;
    if (!find_raw(P, operand, &raw))
        return;
    Emitter *E = P->E;
    Arena *arena = E->arena;
    const int width = panel_width(P, operand), lanes = P->plan.tile.lanes;
    const char *x = emit_name(E, "x"), *k = emit_name(E, "k"), *to = emit_name(E, "to"), *from = emit_name(E, "from");
    const char *base = emit_name(E, "base"), *turn = turn_name(arena, P->plan.tile);
    scope_line(at, "const float *const %s = %s;", base, raw_base(P, operand, &raw));
    Scope *panels = scope_block(E, at, arena_printf(arena, "for (long %s = %s; %s < %s; %s += %d) {", x, r.x0, x, r.x1, x, width));
    Scope *terms = scope_block(E, panels, arena_printf(arena, "for (long %s = 0; %s < %s; %s++) {", k, k, r.kn, k));
    scope_line(terms, "float *const %s = %s + %s*%s + %s*%d;", to, r.to, minus(E, x, r.x0), r.kn, k, width);
    scope_line(terms, "const float *const %s = %s + %s*%lld + (%s + %s)*%lld;", from, base, x, (long long)raw.row, r.k0, k,
               (long long)raw.step);
    for (int first = (width - 1) / lanes * lanes; first >= 0; first -= lanes)
        scope_line(terms, "%s(%s + %d, %lld, %s + %lld, %lld, %s - %s - %d, %lld);", turn, to, first, (long long)apart, from,
                   (long long)first * raw.row, (long long)raw.row, r.x1, x, first, (long long)n);
    scope_close(E, terms);
    scope_close(E, panels);
}

// ---------------------------------------------------------------------------------------------------------------
// Operands that are computed

// What goes into the strips: packing pairs rounds, so a last rounding is left to it.
ValueId pack_value(const ProductText *P, int operand)
{
    const Graph *g = P->E->g;
    const ValueId v = P->p.operand[operand];
    const Node *n = &g->node[v];
    const bool spare = P->plan.tile.pairs && n->op == OP_CAST && (n->kernel == 0 || n->kernel == P->E->kernel)
        && g->node[n->in[0]].type.dtype == DTYPE_F32;
    return spare ? n->in[0] : v;
}

static Env operand_env(ProductText *P, int operand, Ix x, Ix k)
{
    Env env = env_of(P->E, pack_value(P, operand));
    env_batch(P, &env);
    env_group(P->E, &env, outer_group(P, operand), x);
    env_group(P->E, &env, &P->p.group[CLASS_SUM], k);
    return env;
}

// One strip of the operand: `moving` goes from lo to hi (C texts) with lanes and then one by one; strip[moving - lo] is
// its value. Lanes start at multiples of `multiple`.
typedef struct Strip {
    int         operand;
    bool        over_sum;                   // the moving index is k, else x
    Ix          still;
    const char *lo, *hi, *strip;
    int64_t     most, multiple;
} Strip;

static void emit_strip_loop(ProductText *P, Scope *at, const Strip *s, const char *name, bool vector)
{
    Emitter *E = P->E;
    const int lanes = P->plan.tile.lanes;
    Scope *loop = vector
        ? scope_block(E, at, arena_printf(E->arena, "for (; %s + %d <= %s; %s += %d) {", name, lanes, s->hi, name, lanes))
        : scope_block(E, at, arena_printf(E->arena, "for (; %s < %s; %s++) {", name, s->hi, name));
    const bool aligned = s->multiple % lanes == 0;
    const Ix move = scope_var(E, loop, name, 0, s->most > 1 ? s->most - 1 : 1, vector && aligned ? lanes : 1);
    if (vector)
        scope_set_lane(loop, move, lanes);
    Env env = operand_env(P, s->operand, s->over_sum ? s->still : move, s->over_sum ? move : s->still);
    Val val = val_float(E, emit_value(E, loop, pack_value(P, s->operand), &env));
    if (vector)
        scope_line(loop, "*(vf *)(%s + %s) = %s;", s->strip, minus(E, name, s->lo),
                   val_text(E, val_vector(E, val), PREC_COMPARE));
    else
        scope_line(loop, "%s[%s] = %s;", s->strip, minus(E, name, s->lo), val_text(E, val, PREC_COMPARE));
    scope_close(E, loop);
}

static void emit_strip(ProductText *P, Scope *at, const Strip *s)
{
    const int lanes = P->plan.tile.lanes;
    const char *name = emit_name(P->E, s->over_sum ? "k" : "x");
    scope_line(at, "long %s = %s;", name, s->lo);
    if (s->most >= lanes)
        emit_strip_loop(P, at, s, name, true);
    if (s->most % lanes != 0 || s->multiple % lanes != 0)
        emit_strip_loop(P, at, s, name, false);
}

// The operand's own innermost axis of more than one element is a term.
bool pack_over_sum(const ProductText *P, int operand)
{
    const Graph *g = P->E->g;
    const Type *type = &g->node[pack_value(P, operand)].type;
    const AxisGroup *sum = &P->p.group[CLASS_SUM];
    for (int i = type->n_axes - 1; i >= 0; i--) {
        if (graph_size(g, type->axis[i]) == 1)
            continue;
        for (int k = 0; k < sum->n; k++)
            if (sum->axis[k] == type->axis[i])
                return true;
        break;
    }
    return false;
}

static int64_t block_extent(const ProductText *P, int operand)
{
    return operand == 0 ? P->plan.block_rows : P->plan.block_cols;
}

// What divides the first row (or column) of every block.
static int64_t block_multiple(const ProductText *P, int operand)
{
    return operand == 0 && P->row0 ? 1 : block_extent(P, operand);
}

static bool packs_rows(const ProductText *P, int operand)
{
    return is_gathered(P, operand) ? !P->gather_sum : pack_over_sum(P, operand);
}

// The index of row or term `x`, which may be looked up.
static Ix numbered(ProductText *P, Scope *at, int operand, const char *x, int64_t size)
{
    if (!is_gathered(P, operand))
        return scope_var(P->E, at, x, 0, size - 1, 1);
    const char *r = emit_name(P->E, "r");
    scope_line(at, "const long %s = %s[%s];", r, P->gather, x);
    return scope_var(P->E, at, r, 0, size - 1, 1);
}

// From one strip along rows (or columns) to the next: a block of them, and room for whole vectors.
static int64_t strip_stride(const ProductText *P, int operand)
{
    return block_extent(P, operand) + tile_width(P->plan.tile) + P->plan.tile.lanes;
}

size_t pack_scratch_floats(const ProductText *P, int operand)
{
    Raw raw;
    if (!is_gathered(P, operand) && find_raw(P, operand, &raw))
        return 0;
    const int lanes = P->plan.tile.lanes;
    if (packs_rows(P, operand))
        return (size_t)((panel_width(P, operand) + lanes) * (P->plan.block_sum + lanes));
    return (size_t)(strip_stride(P, operand) * (P->plan.tile.pairs ? 2 : 1));
}

// Strips along the terms: a panel's rows one after the other, then turned.
static void pack_rows_emitted(ProductText *P, Scope *at, int operand, PackRange r)
{
    Emitter *E = P->E;
    Arena *arena = E->arena;
    const int width = panel_width(P, operand);
    const int64_t stride = P->plan.block_sum, size = outer_group(P, operand)->size;
    const char *panel = emit_name(E, "x0"), *x = emit_name(E, "x");
    Scope *panels = scope_block(E, at, arena_printf(arena, "for (long %s = %s; %s < %s; %s += %d) {", panel, r.x0, panel,
                                                    r.x1, panel, width));
    Scope *rows = scope_block(E, panels, arena_printf(arena, "for (long %s = %s; %s < %s + %d && %s < %s; %s++) {", x, panel,
                                                      x, panel, width, x, r.x1, x));
    const Strip strip = {
        .operand = operand, .over_sum = true, .still = numbered(P, rows, operand, x, size), .lo = r.k0,
        .hi = strcmp(r.k0, "0") ? arena_printf(arena, "%s + %s", r.k0, r.kn) : r.kn, .most = P->plan.sum,
        .multiple = P->plan.n_sum_blocks > 1 ? P->plan.block_sum : P->plan.tile.lanes,
        .strip = arena_printf(arena, "%s + (%s - %s)*%lld", P->scratch, x, panel, (long long)stride),
    };
    const char *row = emit_name(E, "strip");
    scope_line(rows, "float *const %s = %s;", row, strip.strip);
    Strip named = strip;
    named.strip = row;
    emit_strip(P, rows, &named);
    scope_close(E, rows);
    pack_turn_panel(P, panels, width, arena_printf(arena, "%s + %s*%s", r.to, minus(E, panel, r.x0), product_places(arena, &P->plan, r.kn)),
                    P->scratch, arena_printf(arena, "%lld", (long long)stride), arena_printf(arena, "%s - %s", r.x1, panel), r.kn);
    scope_close(E, panels);
}

// Strips along rows (or columns): one term of the whole block, then cut into the panels.
static void pack_terms_emitted(ProductText *P, Scope *at, int operand, PackRange r)
{
    Emitter *E = P->E;
    Arena *arena = E->arena;
    const int width = panel_width(P, operand);
    const char *k = emit_name(E, "k"), *panel = emit_name(E, "x0");
    Scope *terms = scope_block(E, at, arena_printf(arena, "for (long %s = %s; %s < %s + %s; %s++) {", k, r.k0, k, r.k0, r.kn,
                                                   k));
    const Strip strip = {
        .operand = operand, .over_sum = false, .still = numbered(P, terms, operand, k, P->plan.sum), .lo = r.x0,
        .hi = r.x1, .most = outer_group(P, operand)->size, .strip = P->scratch, .multiple = block_multiple(P, operand),
    };
    emit_strip(P, terms, &strip);
    Scope *panels = scope_block(E, terms, arena_printf(arena, "for (long %s = %s; %s < %s; %s += %d) {", panel, r.x0, panel,
                                                       r.x1, panel, width));
    pack_copy_panel(P, panels, width,
               arena_printf(arena, "%s + %s*%s + %s*%d", r.to, minus(E, panel, r.x0), r.kn, minus(E, k, r.k0), width),
               arena_printf(arena, "%s + %s", P->scratch, minus(E, panel, r.x0)), "1", "0",
               arena_printf(arena, "%s - %s", r.x1, panel), "1", 0);
    scope_close(E, panels);
    scope_close(E, terms);
}

// The same for pairs: two strips at a time, one where the terms end.
static void pack_pairs_emitted(ProductText *P, Scope *at, int operand, PackRange r)
{
    Emitter *E = P->E;
    Arena *arena = E->arena;
    const int width = panel_width(P, operand);
    const long long stride = (long long)strip_stride(P, operand);
    const char *k2 = emit_name(E, "k2"), *n = emit_name(E, "n"), *k = emit_name(E, "k"), *panel = emit_name(E, "x0");
    const char *strip_name = emit_name(E, "strip");
    const char *k1 = strcmp(r.k0, "0") ? arena_printf(arena, "%s + %s", r.k0, r.kn) : r.kn;
    Scope *pairs = scope_block(E, at, arena_printf(arena, "for (long %s = %s; %s < %s; %s += 2) {", k2, r.k0, k2, k1, k2));
    scope_line(pairs, "const long %s = %s + 1 < %s ? 2 : 1;", n, k2, k1);
    Scope *terms = scope_block(E, pairs, arena_printf(arena, "for (long %s = %s; %s < %s + %s; %s++) {", k, k2, k, k2, n, k));
    scope_line(terms, "float *const %s = %s + (%s - %s)*%lld;", strip_name, P->scratch, k, k2, stride);
    const Strip strip = {
        .operand = operand, .over_sum = false, .still = scope_var(E, terms, k, 0, product_top_index(P->plan.sum), 1),
        .lo = r.x0, .hi = r.x1, .most = outer_group(P, operand)->size, .strip = strip_name,
        .multiple = block_multiple(P, operand),
    };
    emit_strip(P, terms, &strip);
    scope_close(E, terms);
    Scope *panels = scope_block(E, pairs, arena_printf(arena, "for (long %s = %s; %s < %s; %s += %d) {", panel, r.x0, panel,
                                                       r.x1, panel, width));
    pack_copy_panel(P, panels, width,
               arena_printf(arena, "%s + %s*%s + %s/2*%d", r.to, minus(E, panel, r.x0),
                            product_places(arena, &P->plan, r.kn), minus(E, k2, r.k0), width),
               arena_printf(arena, "%s + %s", P->scratch, minus(E, panel, r.x0)), "1", arena_printf(arena, "%lld", stride),
               arena_printf(arena, "%s - %s", r.x1, panel), n, tile_width(P->plan.tile));
    scope_close(E, panels);
    scope_close(E, pairs);
}

void pack_operand(ProductText *P, Scope *at, int operand, PackRange range)
{
    Raw raw;
    if (!is_gathered(P, operand) && find_raw(P, operand, &raw))
        pack_raw(P, at, operand, &raw, range);
    else if (packs_rows(P, operand))
        pack_rows_emitted(P, at, operand, range);
    else if (P->plan.tile.pairs)
        pack_pairs_emitted(P, at, operand, range);
    else
        pack_terms_emitted(P, at, operand, range);
}

size_t pack_lines_floats(const ProductText *P, int operand)
{
    if (!P->plan.tile.pairs)
        return 0;
    return (size_t)(packs_rows(P, operand) ? P->plan.block_sum + tile_width(P->plan.tile) : 2 * strip_stride(P, operand));
}

// Two gathered terms at a time, woven into a row of pairs; one where the terms end.
static void pack_line_pairs(ProductText *P, Scope *at, int operand, PackRange r, int64_t stride)
{
    Emitter *E = P->E;
    Arena *arena = E->arena;
    const int width = tile_width(P->plan.tile);
    const long long apart = (long long)strip_stride(P, operand);
    const char *k1 = strcmp(r.k0, "0") ? arena_printf(arena, "%s + %s", r.k0, r.kn) : r.kn;
    const char *k2 = emit_name(E, "k2"), *n = emit_name(E, "n"), *k = emit_name(E, "k"), *x = emit_name(E, "x0"), *line = emit_name(E, "line");
    const char *strip_name = emit_name(E, "strip");
    Scope *pairs = scope_block(E, at, arena_printf(arena, "for (long %s = %s; %s < %s; %s += 2) {", k2, r.k0, k2, k1, k2));
    scope_line(pairs, "const long %s = %s + 1 < %s ? 2 : 1;", n, k2, k1);
    scope_line(pairs, "float *const %s = %s + %s/2*%lld;", line, r.to, minus(E, k2, r.k0), (long long)stride);
    Scope *terms = scope_block(E, pairs, arena_printf(arena, "for (long %s = %s; %s < %s + %s; %s++) {", k, k2, k, k2, n, k));
    scope_line(terms, "float *const %s = %s + (%s - %s)*%lld;", strip_name, P->scratch, k, k2, apart);
    const Strip strip = {
        .operand = operand, .over_sum = false, .strip = strip_name, .still = numbered(P, terms, operand, k, P->plan.sum),
        .lo = r.x0, .hi = r.x1, .most = outer_group(P, operand)->size, .multiple = block_multiple(P, operand),
    };
    emit_strip(P, terms, &strip);
    scope_close(E, terms);
    Scope *panels = scope_block(E, pairs, arena_printf(arena, "for (long %s = %s; %s < %s; %s += %d) {", x, r.x0, x, r.x1, x, width));
    pack_copy_panel(P, panels, width, arena_printf(arena, "%s + %s", line, minus(E, x, r.x0)),
                    arena_printf(arena, "%s + %s", P->scratch, minus(E, x, r.x0)), "1", arena_printf(arena, "%lld", apart),
                    arena_printf(arena, "%s - %s", r.x1, x), n, width);
    scope_close(E, panels);
    scope_close(E, pairs);
}

void pack_lines(ProductText *P, Scope *at, int operand, PackRange r, int64_t stride)
{
    Emitter *E = P->E;
    Arena *arena = E->arena;
    const bool over_sum = packs_rows(P, operand), pairs = P->plan.tile.pairs;
    if (pairs && !over_sum) {
        pack_line_pairs(P, at, operand, r, stride);
        return;
    }
    const char *k1 = strcmp(r.k0, "0") ? arena_printf(arena, "%s + %s", r.k0, r.kn) : r.kn;
    const char *first = over_sum ? r.x0 : r.k0, *end = over_sum ? r.x1 : k1;
    const char *i = emit_name(E, over_sum ? "x" : "k"), *line = emit_name(E, "line");
    Scope *lines = scope_block(E, at, arena_printf(arena, "for (long %s = %s; %s < %s; %s++) {", i, first, i, end, i));
    scope_line(lines, "float *const %s = %s + %s*%lld;", line, r.to, minus(E, i, first), (long long)stride);
    const int64_t lanes = P->plan.tile.lanes;
    const Strip strip = {
        .operand = operand, .over_sum = over_sum, .strip = pairs ? P->scratch : line,
        .still = numbered(P, lines, operand, i, over_sum ? outer_group(P, operand)->size : P->plan.sum),
        .lo = over_sum ? r.k0 : r.x0, .hi = over_sum ? k1 : r.x1,
        .most = over_sum ? P->plan.sum : outer_group(P, operand)->size,
        .multiple = over_sum ? (P->plan.n_sum_blocks > 1 ? P->plan.block_sum : lanes) : block_multiple(P, operand),
    };
    emit_strip(P, lines, &strip);
    if (pairs)
        scope_line(lines, "line2_%d_v(%s, %s, %s);", P->plan.tile.lanes, line, P->scratch, r.kn);
    scope_close(E, lines);
}

bool pack_place(ProductText *P, int operand, const char **out_from, int64_t *out_row, int64_t *out_step)
{
    Raw raw;
    if (is_gathered(P, operand) || !find_raw(P, operand, &raw))
        return false;
    *out_from = raw_base(P, operand, &raw);
    *out_row = raw.row;
    *out_step = raw.step;
    return true;
}
