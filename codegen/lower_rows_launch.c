// The launches of a row kernel whose CUDA text goes by tiles (lower_rows_tiles.c): one for both jobs, or a second one for what
// sums over rows where that needs what the first one reduces.
#include "lower_rows_tiles.h"

#define N(x) ((long long)(x))

static bool reaches_reduction(const Rows *R, ValueId v, bool *seen)
{
    if (seen[v] || R->class_of[v] == ROWS_NONE || (value_is_stored(R->g, v) && R->g->node[v].kernel != R->L->kernel))
        return false;
    seen[v] = true;
    if (R->class_of[v] == ROWS_REDUCE)
        return true;
    for (size_t k = 0; k < R->g->node[v].n_in; k++)
        if (reaches_reduction(R, R->g->node[v].in[k], seen))
            return true;
    return false;
}

static bool waits_for_rows(const Rows *R)
{
    bool *seen = arena_array(R->L->arena, bool, R->g->n_nodes);
    for (size_t i = 0; i < R->n_parts; i++)
        if (R->part[i].is_out && !R->part[i].over_columns && reaches_reduction(R, R->part[i].text.p.operand[0], seen))
            return true;
    return false;
}

// Where reductions go that the second launch reads and nobody stores: [batch, rows] each.
static uint32_t *make_work(Rows *R, Emitter *c)
{
    uint32_t *work = arena_array(R->L->arena, uint32_t, ROWS_MOST);
    for (size_t i = 0; i < R->n_members; i++)
        if (R->class_of[R->member[i]] == ROWS_REDUCE && R->g->node[R->member[i]].kernel != R->L->kernel) {
            work[i] = lower_workspace(R->L, "line", DTYPE_F32, R->batch.size * R->n_rows);
            scope_line(c->top, "(void)%s;           // CUDA only", emit_workspace(c, work[i], "line", DTYPE_F32, true));
        }
    return work;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

// The jobs of one launch; either may be empty.
static void launch_text(Rows *R, Emitter *E, TilesJob *rows, TilesJob *cols, const uint32_t *work, LowerText *text)
{
    const int64_t batch = R->batch.size;
    const bool both = rows->n_passes > 0 && cols->n_passes > 0;
    R->E = E;
    Scope *top = scope_block(E, E->top, both ? arena_printf(E->arena, "if (blockIdx.x < %lld) {", N(batch * rows->n_blocks)) : "{");
    tiles_emit(rows->n_passes > 0 ? rows : cols, top, "blockIdx.x", work);
    scope_close(E, top);
    if (both) {
        Scope *rest = scope_block(E, E->top, "else {");
        const char *block = product_declare(E, rest, "block", arena_printf(E->arena, "blockIdx.x - %lld", N(batch * rows->n_blocks)));
        tiles_emit(cols, rest, block, work);
        scope_close(E, rest);
    }
    text->cuda = E;
    text->cuda_blocks = batch * (rows->n_blocks + cols->n_blocks);
    text->cuda_threads = TILES_THREADS;
    text->cuda_dynamic_bytes = 4 * most(rows->shared_floats, cols->shared_floats);
}

// A launch of its own for the second job; its C text has nothing to do.
static void second_launch(Rows *R, TilesJob *cols, const uint32_t *work, const LowerText *first)
{
    Lower *L = R->L;
    TilesJob none = {.n_passes = 0};
    Emitter *E = lower_emitter(L, DIALECT_CUDA, NULL);
    E->ready = L->member;
    E->n_ready = L->n_members;
    LowerText text = {.hint = first->hint, .comment = arena_printf(L->arena, "%s\n(CUDA: what sums over rows; C: nothing is left to do)", first->comment),
                      .grain = 1};
    launch_text(R, E, &none, cols, work, &text);
    text.c = lower_emitter(L, DIALECT_C, E);
    scope_line(text.c->top, "(void)p, (void)begin, (void)end;");
    lower_launch(L, &text);
}

bool rows_tiles(Rows *R, LowerText *text)
{
    TilesJob *rows = arena_new(R->L->arena, TilesJob), *cols = arena_new(R->L->arena, TilesJob), none = {.n_passes = 0};
    if (!tiles_plan(rows, R, true) || !tiles_plan(cols, R, false))
        return false;
    const bool apart = rows->n_passes > 0 && cols->n_passes > 0 && waits_for_rows(R);
    const uint32_t *work = apart ? make_work(R, text->c) : NULL;
    Emitter *E = lower_emitter(R->L, DIALECT_CUDA, text->c);
    launch_text(R, E, rows, apart ? &none : cols, work, text);
    product_share_params(text->c, E);
    lower_launch(R->L, text);
    if (apart)
        second_launch(R, cols, work, text);
    return true;
}
