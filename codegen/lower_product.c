// lower_contract: a product kernel.
//
//   for each block of c (a work item):
//       for each block of terms:
//           pack the rows of operand 0; pack the columns of operand 1, unless a launch before did
//           for each tile: c += rows * columns, in registers                       (the micro-kernel)
//       for each row of the block: what follows the product, and the stores        (the epilogue)
//
// Blocks of c live in the thread's scratch. The order of every sum depends on the product and the caches only, so the
// bits are the same for any number of threads.
#include "lower_product.h"

#include "emit_parts.h"
#include "grouped.h"

#include <assert.h>
#include <string.h>

enum { MAX_MEMBERS = 512 };

#define N(x) ((long long)(x))

// A number, or the C text of a bounded one.
const char *product_number(Emitter *E, int64_t value)
{
    return arena_printf(E->arena, "%lld", N(value));
}

// The difference of two bounded numbers, as a factor or an index.
const char *minus(Emitter *E, const char *a, const char *b)
{
    return b[0] == '0' && b[1] == 0 ? a : arena_printf(E->arena, "(%s - %s)", a, b);
}

// The last index of an axis, for a loop variable. Never 0: what depends on the variable must stay inside its loop, and
// the emitter knows a variable that cannot move to be a constant.
int64_t product_top_index(int64_t size)
{
    return size > 1 ? size - 1 : 1;
}

// "from + block < size ? from + block : size", or simply "from + block" when the blocks are whole.
const char *product_block_end(Emitter *E, const char *from, int64_t block, int64_t size)
{
    if (block >= size)
        return product_number(E, size);
    if (size % block == 0)
        return arena_printf(E->arena, "%s + %lld", from, N(block));
    return arena_printf(E->arena, "%s + %lld < %lld ? %s + %lld : %lld", from, N(block), N(size), from, N(block), N(size));
}

// Declares `name` in the scope and returns it; a literal needs no declaration.
const char *product_declare(Emitter *E, Scope *at, const char *hint, const char *text)
{
    bool literal = true;
    for (const char *s = text; *s; s++)
        literal = literal && *s >= '0' && *s <= '9';
    if (literal)
        return text;
    const char *name = emit_name(E, hint);
    scope_line(at, "const long %s = %s;", name, text);
    return name;
}

// Part `index` of w = ((i0*n1 + i1)*n2 + i2): w / after % size.
const char *product_part(Emitter *E, Scope *at, const char *hint, const char *w, int64_t size, int64_t after, bool first)
{
    if (size == 1)
        return "0";
    Text text = text_make(E->arena);
    text_add(&text, w);
    if (after > 1)
        text_printf(&text, " / %lld", N(after));
    if (!first)
        text_printf(&text, " %% %lld", N(size));
    return product_declare(E, at, hint, text_str(&text));
}

static Ix index_of(Emitter *E, Scope *at, const char *name, int64_t size)
{
    return size == 1 ? ix_const(E->ix, 0) : scope_var(E, at, name, 0, size - 1, 1);
}

// ---------------------------------------------------------------------------------------------------------------
// Epilogue

// The index of each axis of a value of the epilogue's space, from the anchor's.
static Env space_env(Emitter *E, const Space *space, ValueId v, const Env *anchor)
{
    Ix atom[MAX_ATOMS];
    const AtomMap *from = space_find(space, space->anchor), *to = space_find(space, v);
    for (int i = 0; i < anchor->n; i++) {
        Ix rest = anchor->at[i];
        for (int k = from->axis[i].n - 1; k >= 0; k--) {
            const int64_t size = space->size[from->axis[i].atom[k]];
            atom[from->axis[i].atom[k]] = k == 0 ? rest : ix_mod(E->ix, rest, size);
            rest = ix_div(E->ix, rest, size);
        }
    }
    Env env = env_of(E, v);
    for (int i = 0; i < env.n; i++) {
        Ix at = ix_const(E->ix, 0);
        for (int k = 0; k < to->axis[i].n; k++)
            at = ix_add(E->ix, ix_scale(E->ix, at, space->size[to->axis[i].atom[k]]), atom[to->axis[i].atom[k]]);
        env_set(&env, E->g->node[v].type.axis[i], at);
    }
    return env;
}

void epilogue_store(Emitter *E, Scope *at, const Space *space, const Env *anchor)
{
    for (size_t m = 0; m < space->n_maps; m++) {
        const ValueId v = space->map[m].value;
        if (E->g->node[v].kernel != E->kernel)
            continue;
        const Env env = space_env(E, space, v, anchor);
        emit_store(E, at, v, &env, emit_value(E, at, v, &env));
    }
}

// Stores everything that the kernel keeps at one element (or vector) of the anchor, whose value is `acc`.
void product_epilogue_point(ProductText *P, Scope *at, const Space *space, Ix row, Ix col, Val acc)
{
    Emitter *E = P->E;
    Env anchor = env_of(E, space->anchor);
    env_batch(P, &anchor);
    env_group(E, &anchor, &P->p.group[CLASS_ROW], row);
    env_group(E, &anchor, &P->p.group[CLASS_COL], col);
    emit_bind(E, at, space->anchor, &anchor, acc);
    epilogue_store(E, at, space, &anchor);
    for (size_t t = 0; t < P->n_totals; t++) {
        const ValueId x = E->g->node[P->total[t].value].in[0];
        const Env env = space_env(E, space, x, &anchor);
        emit_accumulate(E, at, RED_SUM, false, acc.is_vector ? P->total[t].lanes : P->total[t].rest, emit_value(E, at, x, &env));
    }
}

// One row: columns from j0 to j1 in vectors, then one by one. `acc` is the C text of column j0's address.
void product_epilogue_row(ProductText *P, Scope *at, const Space *space, Ix row, const char *j0, const char *j1,
                         const char *acc)
{
    Emitter *E = P->E;
    const int lanes = P->plan.tile.lanes;
    const char *j = emit_name(E, "j");
    scope_line(at, "long %s = %s;", j, j0);
    for (int vector = P->plan.cols >= lanes; vector >= (P->plan.cols % lanes == 0); vector--) {
        const char *head = vector ? arena_printf(E->arena, "for (; %s + %d <= %s; %s += %d) {", j, lanes, j1, j, lanes)
                                  : arena_printf(E->arena, "for (; %s < %s; %s++) {", j, j1, j);
        Scope *loop = scope_block(E, at, head);
        const Ix col = scope_var(E, loop, j, 0, product_top_index(P->plan.cols), vector ? lanes : 1);
        const char *y = emit_name(E, "y");
        if (vector) {
            scope_set_lane(loop, col, lanes);
            scope_line(loop, "const vf %s = *(const vf *)(%s + %s);", y, acc, minus(E, j, j0));
        } else {
            scope_line(loop, "const float %s = %s[%s];", y, acc, minus(E, j, j0));
        }
        product_epilogue_point(P, loop, space, row, col, val_name(y, VAL_FLOAT, vector));
        scope_close(E, loop);
    }
}

// The values of the kernel: those it stores and what leads to them from the anchor and from stored values, by
// increasing id. The anchor is the largest contract among them, or the convolution.
typedef struct Members {
    ValueId value[MAX_MEMBERS];
    size_t  n;
    ValueId anchor;
} Members;

static void add_member(Members *m, ValueId v)
{
    size_t at = m->n;
    while (at > 0 && m->value[at - 1] > v)
        at--;
    if ((at > 0 && m->value[at - 1] == v) || m->n == MAX_MEMBERS)
        return;
    for (size_t i = m->n++; i > at; i--)
        m->value[i] = m->value[i - 1];
    m->value[at] = v;
}

static Members members_of(const Graph *g, const ValueId *stored, size_t n_stored)
{
    Members m = {.n = 0};
    double most = -1;
    for (size_t i = 0; i < n_stored; i++)
        add_member(&m, stored[i]);
    for (size_t i = m.n; i-- > 0;) {                        // operands come before: one way down meets them all
        const ValueId v = m.value[i];
        const Node *n = &g->node[v];
        Grouped grouped;
        if (n->op == OP_PUT_ADD && g->kernel[g->node[stored[0]].kernel] == FAMILY_GROUPED && grouped_of(g, v, &grouped)) {
            m.anchor = v;
            continue;
        }
        if (n->op == OP_FFTCONV) {
            m.anchor = v;
            continue;
        }
        if (n->op == OP_CONTRACT && g->kernel[g->node[stored[0]].kernel] != FAMILY_CONV) {
            const Product p = product_of(g, v);
            if (product_flops(&p) > most) {
                most = product_flops(&p);
                m.anchor = v;
            }
            continue;
        }
        const size_t before = m.n;
        for (size_t k = 0; k < n->n_in; k++)
            if (!value_is_stored(g, n->in[k]) || g->node[n->in[k]].kernel == g->node[stored[0]].kernel)
                add_member(&m, n->in[k]);
        i += m.n - before;
    }
    return m;
}

static Space space_of(Arena *arena, const Graph *g, const Members *m)
{
    Space space = space_make(arena, g, m->anchor);
    for (size_t i = 0; i < m->n; i++) {
        const Node *n = &g->node[m->value[i]];
        bool inside = false;
        for (size_t k = 0; k < n->n_in; k++)
            inside = inside || space_find(&space, n->in[k]) != NULL;
        if (inside && m->value[i] > m->anchor)
            space_add(&space, g, m->value[i]);
    }
    return space;
}

Space product_space(Lower *L)
{
    const Members members = members_of(L->g, L->member, L->n_members);
    assert(members.anchor != 0 && "a product kernel has a product");
    return space_of(L->arena, L->g, &members);
}

// ---------------------------------------------------------------------------------------------------------------
// The kernel

// Work items are counted batch by batch, column block by column block, so that neighbours share packed columns.
ProductBlock product_open_item(ProductText *P, Scope *at, const char *w, const char **out_batch)
{
    Emitter *E = P->E;
    const Plan *plan = &P->plan;
    ProductBlock item;
    const int64_t n_batches = plan->together ? plan->batch / plan->together : plan->batch;
    const char *batch = *out_batch = product_part(E, at, "g", w, n_batches, plan->n_row_blocks * plan->n_col_blocks, true);
    const char *jb = product_part(E, at, "jb", w, plan->n_col_blocks, plan->n_row_blocks, n_batches == 1);
    const char *ib = product_part(E, at, "ib", w, plan->n_row_blocks, 1, n_batches * plan->n_col_blocks == 1);
    item.i0 = plan->n_row_blocks == 1 ? "0" : product_declare(E, at, "i0", arena_printf(E->arena, "%s*%lld", ib, N(plan->block_rows)));
    if (P->row0)
        item.i0 = P->row0;
    item.j0 = plan->n_col_blocks == 1 ? "0" : product_declare(E, at, "j0", arena_printf(E->arena, "%s*%lld", jb, N(plan->block_cols)));
    item.i1 = P->row1 ? P->row1 : product_declare(E, at, "i1", product_block_end(E, item.i0, plan->block_rows, plan->rows));
    item.j1 = product_declare(E, at, "j1", product_block_end(E, item.j0, plan->block_cols, plan->cols));
    P->batch = index_of(E, at, batch, n_batches);
    return item;
}

// Opens the loop over blocks of terms (a plain block when there is one) and gives its first term and their number.
Scope *product_sum_blocks(ProductText *P, Scope *at, const char **out_k0, const char **out_kn)
{
    Emitter *E = P->E;
    const Plan *plan = &P->plan;
    if (plan->n_sum_blocks == 1) {
        *out_k0 = "0";
        *out_kn = product_number(E, plan->sum);
        return at;
    }
    const char *k0 = emit_name(E, "k0");
    Scope *loop = scope_block(E, at, arena_printf(E->arena, "for (long %s = 0; %s < %lld; %s += %lld) {", k0, k0,
                                                  N(plan->sum), k0, N(plan->block_sum)));
    *out_k0 = k0;
    *out_kn = plan->sum % plan->block_sum == 0
        ? product_number(E, plan->block_sum)
        : product_declare(E, loop, "kn", arena_printf(E->arena, "%lld - %s < %lld ? %lld - %s : %lld", N(plan->sum), k0,
                                              N(plan->block_sum), N(plan->sum), k0, N(plan->block_sum)));
    return loop;
}

const char *product_scratch(Emitter *E, Scope *at, const char *hint, int64_t n)
{
    const char *name = emit_name(E, hint);
    if (E->scratch_floats)
        scope_line(at, "float *const %s = (float *)scratch + %zu;", name, E->scratch_floats);
    else
        scope_line(at, "float *const %s = scratch;", name);
    E->scratch_floats += ((size_t)n + 31) / 16 * 16;       // and room for the vector that ends a panel
    return name;
}

// All tiles of a block: c (+)= a*b.
void product_tiles(ProductText *P, Scope *at, ProductBlock item, const char *a, const char *b, const char *c, const char *k0,
                   const char *kn)
{
    Emitter *E = P->E;
    const Plan *plan = &P->plan;
    const char *places = product_places(E->arena, plan, kn), *skip, *j = emit_name(E, "j"), *i = emit_name(E, "i");
    const char *add = product_begins_with_zeros(P) ? "1" : plan->n_sum_blocks == 1 ? "0" : arena_printf(E->arena, "%s > 0", k0);
    Scope *cols = scope_block(E, at, arena_printf(E->arena, "for (long %s = %s; %s < %s; %s += %d) {", j, item.j0, j, item.j1,
                                                  j, tile_width(plan->tile)));
    Scope *rows = scope_block(E, cols, arena_printf(E->arena, "for (long %s = %s; %s < %s; %s += %d) {", i, item.i0, i,
                                                    item.i1, i, plan->tile.rows));
    const char *n = product_tile_terms(P, rows, i, j, k0, kn, &skip);
    const char *skip_a = skip ? arena_printf(E->arena, " + %s*%d", skip, plan->tile.rows) : "";
    const int64_t ldb = plan->in_place ? bands_columns(P).step : tile_width(plan->tile);
    const char *skip_b = skip ? arena_printf(E->arena, " + %s*%lld", skip, N(ldb)) : "";
    const char *panel = plan->in_place ? j : arena_printf(E->arena, "%s*%s", minus(E, j, item.j0), places);
    scope_line(rows, "%s(%s + %s*%s%s, %s + %s%s, %lld, %s + %s*%lld + %s, %lld, %s, %s);", tile_name(E->arena, plan->tile), a,
               minus(E, i, item.i0), places, skip_a, b, panel, skip_b, N(ldb), c, minus(E, i, item.i0), N(plan->block_cols),
               minus(E, j, item.j0), N(plan->block_cols), n, add);
    scope_close(E, rows);
    scope_close(E, cols);
}

// Where the panels of columns from j0 on, terms from k0 on, begin in the workspace: [batch][k block][panel][k][width].
const char *product_packed_at(ProductText *P, Scope *at, const char *workspace, const char *j0, const char *k0, const char *kn,
                              bool is_written)
{
    Emitter *E = P->E;
    const Plan *plan = &P->plan;
    const int64_t cols = plan_packed_cols(plan);
    Text text = text_make(E->arena);
    text_add(&text, workspace);
    if (plan->batch > 1) {
        text_add(&text, " + ");
        ix_print(E->ix, ix_scale(E->ix, P->batch, cols * plan_places(plan, plan->sum)), false, 0, NULL, &text);
    }
    if (plan->n_sum_blocks > 1)
        text_printf(&text, " + %s%s*%lld", k0, plan->tile.pairs ? "/2" : "", N(cols));
    if (plan->n_col_blocks > 1)
        text_printf(&text, " + %s*%s", j0, product_places(E->arena, plan, kn));
    const char *name = emit_name(E, "panels");
    scope_line(at, "%sfloat *const %s = %s;", is_written ? "" : "const ", name, text_str(&text));
    return name;
}

// Where term k0 of column 0 lies, of columns that nobody packs.
static const char *columns_at(ProductText *P, Scope *at, const char *k0)
{
    const Columns cols = bands_columns(P);
    const char *name = emit_name(P->E, "columns");
    scope_line(at, "const float *const %s = %s%s;", name, cols.from, strcmp(k0, "0") ? arena_printf(P->E->arena, " + %s*%lld", k0, N(cols.step)) : "");
    return name;
}

static void emit_item(ProductText *P, Scope *at, const Space *space, const char *w, const char *workspace)
{
    Emitter *E = P->E;
    const Plan *plan = &P->plan;
    const char *batch, *k0, *kn, *b = NULL;
    const ProductBlock item = product_open_item(P, at, w, &batch);
    const char *a = product_scratch(E, E->top, "rows", plan->block_rows * plan_places(plan, plan->block_sum));
    const char *c = product_scratch(E, E->top, "c", plan->block_rows * plan->block_cols);
    const bool packs = !plan->ahead && !plan->in_place;
    const size_t strip_a = pack_scratch_floats(P, 0), strip_b = packs ? pack_scratch_floats(P, 1) : 0;
    if (strip_a + strip_b > 0)
        P->scratch = product_scratch(E, E->top, "strip", (int64_t)(strip_a > strip_b ? strip_a : strip_b));
    if (packs)
        b = product_scratch(E, E->top, "cols", plan->block_cols * plan_places(plan, plan->block_sum));
    if (product_begins_with_zeros(P))
        scope_line(at, "__builtin_memset(%s, 0, %lldL*sizeof(float));", c, N(plan->block_rows * plan->block_cols));
    Scope *terms = product_sum_blocks(P, at, &k0, &kn), *inner = terms;
    const char *wanted = product_is_wanted(P, item, k0, kn);
    if (wanted)
        inner = scope_block(E, terms, arena_printf(E->arena, "if (%s) {", wanted));
    pack_operand(P, inner, 0, (PackRange){item.i0, item.i1, k0, kn, a});
    if (plan->ahead)
        b = product_packed_at(P, inner, workspace, item.j0, k0, kn, false);
    else if (plan->in_place)
        b = columns_at(P, inner, k0);
    else
        pack_operand(P, inner, 1, (PackRange){item.j0, item.j1, k0, kn, b});
    product_tiles(P, inner, item, a, b, c, k0, kn);
    if (wanted)
        scope_close(E, inner);
    if (terms != at)
        scope_close(E, terms);
    const char *i = emit_name(E, "i");
    Scope *rows = scope_block(E, at, arena_printf(E->arena, "for (long %s = %s; %s < %s; %s++) {", i, item.i0, i, item.i1, i));
    const Ix row = scope_var(E, rows, i, 0, product_top_index(plan->rows), 1);
    const char *acc = emit_name(E, "acc");
    scope_line(rows, "const float *const %s = %s + %s*%lld;", acc, c, minus(E, i, item.i0), N(plan->block_cols));
    product_epilogue_row(P, rows, space, row, item.j0, item.j1, acc);
    scope_close(E, rows);
}

Scope *product_items(Emitter *E, const char **out_name)
{
    *out_name = emit_name(E, "w");
    return scope_block(E, E->top, arena_printf(E->arena, "for (long %s = begin; %s < end; %s++) {", *out_name, *out_name,
                                               *out_name));
}

void product_item(ProductText *P, Scope *at, const Space *space, const char *w, const char *workspace)
{
    if (P->plan.together > 1)
        product_across_item(P, at, space, w, workspace);
    else
        emit_item(P, at, space, w, workspace);
}

// The main kernel. `workspace`: holds operand 1 packed, or NULL.
static void emit_main(ProductText *P, const Space *space, uint32_t packed)
{
    Emitter *E = P->E;
    const char *w;
    const char *workspace = P->plan.ahead ? emit_workspace(E, packed, "packed", DTYPE_F32, false) : NULL;
    Scope *work = product_items(E, &w);
    product_item(P, work, space, w, workspace);
    scope_close(E, work);
}

// The launch before it: packs operand 1 into the workspace. A work item is a block of columns and one of terms.
static void emit_ahead(ProductText *P, uint32_t packed)
{
    Emitter *E = P->E;
    Plan *plan = &P->plan;
    const char *w, *workspace = emit_workspace(E, packed, "packed", DTYPE_F32, true);
    const size_t strip = pack_scratch_floats(P, 1);
    if (strip > 0)
        P->scratch = product_scratch(E, E->top, "strip", (int64_t)strip);
    Scope *work = product_items(E, &w);
    const char *batch = product_part(E, work, "g", w, plan->batch, plan->n_sum_blocks * plan->n_col_blocks, true);
    const char *kb = product_part(E, work, "kb", w, plan->n_sum_blocks, plan->n_col_blocks, plan->batch == 1);
    const char *jb = product_part(E, work, "jb", w, plan->n_col_blocks, 1, plan->batch * plan->n_sum_blocks == 1);
    P->batch = index_of(E, work, batch, plan->batch);
    const char *k0 = plan->n_sum_blocks == 1 ? "0" : product_declare(E, work, "k0", arena_printf(E->arena, "%s*%lld", kb, N(plan->block_sum)));
    const char *k1 = product_declare(E, work, "k1", product_block_end(E, k0, plan->block_sum, plan->sum));
    const char *kn = plan->n_sum_blocks == 1 ? k1 : product_declare(E, work, "kn", arena_printf(E->arena, "%s - %s", k1, k0));
    const char *j0 = plan->n_col_blocks == 1 ? "0" : product_declare(E, work, "j0", arena_printf(E->arena, "%s*%lld", jb, N(plan->block_cols)));
    const char *j1 = product_declare(E, work, "j1", product_block_end(E, j0, plan->block_cols, plan->cols));
    pack_operand(P, work, 1, (PackRange){j0, j1, k0, kn, product_packed_at(P, work, workspace, j0, k0, kn, true)});
    scope_close(E, work);
}

static void describe(const Graph *g, const Product *p, const Members *m, Text *out)
{
    lower_describe(g, p->value, out);
    text_add(out, " = ");
    lower_describe(g, p->operand[0], out);
    text_add(out, " * ");
    lower_describe(g, p->operand[1], out);
    for (size_t i = 0; i < m->n; i++)
        if (g->node[m->value[i]].kernel != 0 && m->value[i] != p->value) {
            text_add(out, "\nand ");
            lower_describe(g, m->value[i], out);
        }
}

static Emitter *nothing(Lower *L, const Emitter *like)
{
    return lower_emitter(L, DIALECT_CUDA, like);
}

static LowerText launch_text(const ProductText *P, const char *hint, const char *comment)
{
    return (LowerText){.hint = hint, .comment = comment, .c = P->E, .grain = 1, .uses_scratch = P->E->scratch_floats > 0,
                       .scratch_bytes = 4 * P->E->scratch_floats};
}

static bool reads_pairs(const Lower *L, const Product *p)
{
    return L->target->has_bf16_dot && L->g->node[p->operand[0]].type.dtype == DTYPE_BF16
        && L->g->node[p->operand[1]].type.dtype == DTYPE_BF16;
}

static const char *product_hint(const Graph *g, const Product *p)
{
    return g->node[p->value].hint ? g->node[p->value].hint : "product";
}

uint32_t product_pack_ahead(Lower *L, ProductText *P)
{
    const uint32_t workspace = lower_workspace(L, "packed", DTYPE_F32, plan_packed_floats(&P->plan));
    P->E = lower_emitter(L, DIALECT_C, NULL);
    emit_ahead(P, workspace);
    LowerText text = launch_text(P, arena_printf(L->arena, "%s_pack", product_hint(L->g, &P->p)), "packs the columns of the next product");
    text.n_work = plan_ahead_work(&P->plan);
    if (L->keeps_weights && P->plan.tile.pairs)             // rounded, and half the bytes: worth keeping
        text.flops = (double)plan_packed_floats(&P->plan);
    text.cuda = nothing(L, text.c);         // the CUDA text of the product reads its operands where they are
    text.cuda_threads = 32;                 // and no blocks: it is not launched
    lower_launch(L, &text);
    return workspace;
}

// Columns could be read where they lie.
static bool columns_lie(ProductText *P, const Target *target)
{
    P->batch = ix_const(P->E->ix, 0);
    return P->band.kind == BAND_NONE && !target->is_cuda && bands_columns(P).in_place;
}

bool lower_contract(Lower *L)
{
    const Graph *g = L->g;
    const Members members = members_of(g, L->member, L->n_members);
    assert(members.anchor != 0 && "a product kernel has a contract");
    ProductText P = {.p = product_of(g, members.anchor)};
    P.plan = plan_product(&P.p, L->target, reads_pairs(L, &P.p), &L->schedule);
    const Space space = space_of(L->arena, g, &members);
    product_find_band(g, &P, &space);
    P.E = lower_emitter(L, DIALECT_C, NULL);
    if (!product_find_across(&P, &space, L->target, &L->schedule) && columns_lie(&P, L->target))
        plan_few_rows(&P.plan, L->target, &L->schedule);
    P.plan.ahead = P.plan.ahead && !L->target->is_cuda;     // what only the C text would read
    Text comment = text_make(L->arena);
    describe(g, &P.p, &members, &comment);
    const uint32_t workspace = P.plan.ahead ? product_pack_ahead(L, &P) : 0;
    P.E = lower_emitter(L, DIALECT_C, NULL);
    emit_main(&P, &space, workspace);
    LowerText text = launch_text(&P, product_hint(g, &P.p), text_str(&comment));
    text.n_work = plan_work(&P.plan);
    text.flops = 2 * band_share(&P.p, &P.band) * product_flops(&P.p);
    product_cuda(L, &P.p, &P.band, &space, &text);
    lower_launch(L, &text);
    return true;
}

size_t candidates_contract(Lower *L, size_t most, Candidate **out)
{
    const Members members = members_of(L->g, L->member, L->n_members);
    const Product p = product_of(L->g, members.anchor);
    const Space space = space_of(L->arena, L->g, &members);
    ProductText P = {.p = p, .plan = plan_product(&p, L->target, reads_pairs(L, &p), &L->schedule), .E = lower_emitter(L, DIALECT_C, NULL)}, trial;
    product_find_band(L->g, &P, &space);
    if (L->target->is_cuda)
        return product_cuda_candidates(L, &p, &P.band, most, out);
    trial = P;
    return product_find_across(&trial, &space, L->target, &L->schedule) ? product_across_candidates(&P, &space, L->target, most, out)
                                                                       : plan_candidates(L->arena, &p, L->target, reads_pairs(L, &p), columns_lie(&P, L->target), most, out);
}
