// The order of the rows of grouped products (lower_order.h): a stable counting sort by group, and blocks of rows for the work
// items of products. Rows that chose nothing form a last group.
#include "lower_order.h"

#include "emit_parts.h"
#include "lower_product.h"

#define N(x) ((long long)(x))

enum { MOST_ROWS = 168, LEAST_ROWS = 56 };  // of a block

static int64_t at_most(int64_t a, int64_t most)
{
    return a < most ? a : most;
}

// Rows of a block. They follow from the index alone, so that all products by one index can share its order.
static int64_t rows_of_block(const Grouped *of)
{
    const int64_t even = (2 * (of->n_rows / of->n_groups + 1) + 27) / 28 * 28;
    return at_most(even < LEAST_ROWS ? LEAST_ROWS : even, MOST_ROWS);
}

static int64_t cuda_rows_of_block(const Grouped *of)
{
    const int64_t each = of->n_rows / of->n_groups;
    return each >= 96 ? 128 : each >= 40 ? 64 : 32;
}

RowOrder order_of_rows(const Grouped *of)
{
    const int64_t touched = at_most(of->n_rows, of->n_groups + 1);
    RowOrder o = {.of = of, .block = rows_of_block(of), .start = of->n_rows};
    o.cuda_block = cuda_rows_of_block(of);
    o.most_blocks = of->n_rows / o.block + touched;
    o.most_cuda_blocks = of->n_rows / o.cuda_block + touched;
    const int64_t room = o.most_blocks > o.most_cuda_blocks ? o.most_blocks : o.most_cuda_blocks;
    o.block_group = o.start + of->n_groups + 3;
    o.block_first = o.block_group + room;
    o.block_end = o.block_first + room;
    o.n_blocks = o.block_end + room;
    o.n_ints = o.n_blocks + 1;
    return o;
}

static const AxisGroup *row_axes(const Grouped *of)
{
    return &of->p.group[of->is_sum ? CLASS_SUM : CLASS_ROW];
}

uint64_t order_key(const Graph *g, const Grouped *of)
{
    const AxisGroup *batch = &of->p.group[CLASS_BATCH], *row = row_axes(of);
    const Type *index = &g->node[of->index].type;
    uint64_t key = (uint64_t)of->n_groups;
    for (int i = 0; i < row->n; i++)
        key = key * 31 + (uint64_t)type_find(index, row->axis[i]) + 1;
    for (int i = 0; i < batch->n; i++)
        key = key * 31 + (batch->axis[i] == of->expert ? 29 : (uint64_t)type_find(index, batch->axis[i]) + 1);
    return key;
}

uint32_t order_workspace(Lower *L, const RowOrder *order)
{
    const uint32_t workspace = lower_workspace(L, "order", DTYPE_I32, order->n_ints);
    L->workspace[workspace].made_of = order->of->index;
    L->workspace[workspace].made_key = order_key(L->g, order->of);
    return workspace;
}

const char *order_declare_group(Emitter *E, const RowOrder *o, Scope *at, Ix row)
{
    const char *group = emit_name(E, "group");
    Env env = env_of(E, o->of->index);
    env_group(E, &env, row_axes(o->of), row);
    const Val index = val_named(E, at, emit_value(E, at, o->of->index, &env), "index");
    const AxisGroup *batch = &o->of->p.group[CLASS_BATCH];
    Ix paired = ix_const(E->ix, 0);
    for (int i = 0; i < batch->n; i++) {
        const Ix here = batch->axis[i] == o->of->expert ? ix_const(E->ix, 0) : env_get(&env, batch->axis[i]);
        paired = ix_add(E->ix, ix_scale(E->ix, paired, graph_size(E->g, batch->axis[i])), here);
    }
    Text text = text_make(E->arena);
    ix_print(E->ix, paired, false, 0, NULL, &text);
    scope_line(at, "const long %s = %s < 0 ? %lld : %s + %s;", group, index.text, N(o->of->n_groups), text_str(&text), index.text);
    return group;
}

// Opens the loop over rows; declares the group of the row at hand.
static Scope *open_rows(Emitter *E, const RowOrder *o, Scope *at, const char **out_row, const char **out_group)
{
    const char *r = emit_name(E, "r");
    Scope *rows = scope_block(E, at, arena_printf(E->arena, "for (long %s = 0; %s < %lld; %s++) {", r, r, N(o->of->n_rows), r));
    *out_row = r;
    *out_group = order_declare_group(E, o, rows, scope_var(E, rows, r, 0, product_top_index(o->of->n_rows), 1));
    return rows;
}

// Cuts the rows of each group into blocks of about the same even number, and lists where they begin.
static void emit_blocks(Emitter *E, const RowOrder *o, Scope *once, const char *ints, const char *start)
{
    const char *n = emit_name(E, "n"), *first = emit_name(E, "first"), *g = emit_name(E, "g"), *rows = emit_name(E, "rows");
    const char *blocks = emit_name(E, "blocks"), *step = emit_name(E, "step");
    const int64_t most = E->dialect == DIALECT_C ? o->block : o->cuda_block, height = E->dialect == DIALECT_C ? 2 : most;
    scope_line(once, "int %s = 0;", n);
    Scope *each = scope_block(E, once, arena_printf(E->arena, "for (int %s = 0; %s < %lld; %s++) {", g, g, N(o->of->n_groups + 1), g));
    scope_line(each, "const int %s = %s[%s + 1] - %s[%s], %s = (%s + %lld) / %lld;", rows, start, g, start, g, blocks, rows,
               N(most - 1), N(most));
    scope_line(each, "const int %s = %s ? (%s + %s*%lld - 1) / (%s*%lld) * %lld : 1;", step, blocks, rows, blocks, N(height), blocks,
               N(height), N(height));
    scope_line(each, "for (int %s = %s[%s]; %s < %s[%s + 1]; %s += %s) {", first, start, g, first, start, g, first, step);
    scope_line(each, "    %s[%lld + %s] = %s;", ints, N(o->block_group), n, g);
    scope_line(each, "    %s[%lld + %s] = %s;", ints, N(o->block_first), n, first);
    scope_line(each, "    %s[%lld + %s++] = %s + %s < %s[%s + 1] ? %s + %s : %s[%s + 1];", ints, N(o->block_end), n, first, step,
               start, g, first, step, start, g);
    scope_line(each, "}");
    scope_close(E, each);
    scope_line(once, "%s[%lld] = %s;", ints, N(o->n_blocks), n);
}

void order_emit(Emitter *E, Scope *at, const RowOrder *o, const char *ints)
{
    const char *r, *group;
    const char *start = emit_name(E, "start"), *g = emit_name(E, "g");
    const int64_t groups = o->of->n_groups;
    scope_line(at, "int *const %s = %s + %lld;", start, ints, N(o->start));
    scope_line(at, "for (long %s = 0; %s < %lld; %s++)", g, g, N(groups + 3), g);
    scope_line(at, "    %s[%s] = 0;", start, g);
    Scope *count = open_rows(E, o, at, &r, &group);
    scope_line(count, "%s[%s + 2]++;", start, group);
    scope_close(E, count);
    scope_line(at, "for (long %s = 2; %s < %lld; %s++)", g, g, N(groups + 3), g);
    scope_line(at, "    %s[%s] += %s[%s - 1];", start, g, start, g);
    Scope *place = open_rows(E, o, at, &r, &group);
    scope_line(place, "%s[%s[%s + 1]++] = (int)%s;", ints, start, group, r);
    scope_close(E, place);
    emit_blocks(E, o, at, ints, start);
}
