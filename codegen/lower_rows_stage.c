// The passes over a block of a row kernel. A pass goes row by row and along each row's columns: it computes what must
// lie in scratch for later (probabilities that a product reads) and the reductions that do not wait for another one.
#include "lower_rows.h"

#include <math.h>
#include <string.h>

typedef struct Stage {
    Rows   *R;
    int     at;
    bool   *needs;                          // [n_nodes] of buffers and reductions: this pass reads it
    ValueId write[ROWS_MOST_PARTS]; size_t n_writes;       // wide values put into buffers
    ValueId reduce[ROWS_MOST]; size_t n_reduces;
    const char *acc[ROWS_MOST];             // C names of the reductions' scalars, vectors
    const char *vec[ROWS_MOST];
} Stage;

static bool is_loaded(const Stage *S, ValueId v)
{
    const RowsBuffer *b = rows_buffer(S->R, v);
    return b != NULL && b->first < S->at;
}

static void mark_needs(Stage *S, ValueId v)
{
    const Rows *R = S->R;
    const Graph *g = R->g;
    if (S->needs[v])
        return;
    if (value_is_stored(g, v) && g->node[v].kernel != R->L->kernel)
        return;
    S->needs[v] = true;
    if (is_loaded(S, v) || R->class_of[v] == ROWS_REDUCE)
        return;
    for (size_t k = 0; k < g->node[v].n_in; k++)
        mark_needs(S, g->node[v].in[k]);
}

static void find_work(Stage *S)
{
    Rows *R = S->R;
    for (size_t i = 0; i < R->n_buffers; i++)
        if (R->buffer[i].first == S->at && !R->buffer[i].by_product)
            S->write[S->n_writes++] = R->buffer[i].value;
    for (size_t i = 0; i < R->n_members; i++)
        if (R->class_of[R->member[i]] == ROWS_REDUCE && R->stage[R->member[i]] == S->at + 1)
            S->reduce[S->n_reduces++] = R->member[i];
    for (size_t i = 0; i < S->n_writes; i++)
        for (size_t k = 0; k < R->g->node[S->write[i]].n_in; k++)
            mark_needs(S, R->g->node[S->write[i]].in[k]);
    for (size_t i = 0; i < S->n_reduces; i++)
        mark_needs(S, R->g->node[S->reduce[i]].in[0]);
}

static Env wide_env(Rows *R, ValueId v, Ix row, Ix col)
{
    Env env = env_of(R->E, v);
    env_group(R->E, &env, &R->batch, R->batch_at);
    env_set(&env, R->row, row);
    env_set(&env, R->col, col);
    return env;
}

static Env line_env(Rows *R, ValueId v, Ix row)
{
    Env env = env_of(R->E, v);
    env_group(R->E, &env, &R->batch, R->batch_at);
    env_set(&env, R->row, row);
    return env;
}

static const char *line_of(const Rows *R, ValueId v)
{
    for (size_t i = 0; i < R->n_members; i++)
        if (R->member[i] == v)
            return R->line[i];
    return NULL;
}

// Reductions of earlier passes, for the row at hand.
static void bind_lines(Rows *R, Scope *row_scope, Ix row, const char *t, const bool *needs, int before)
{
    for (size_t i = 0; i < R->n_members; i++) {
        const ValueId v = R->member[i];
        if (R->class_of[v] != ROWS_REDUCE || R->stage[v] > before || !needs[v])
            continue;
        const char *name = emit_name(R->E, R->g->node[v].hint ? R->g->node[v].hint : "line");
        scope_line(row_scope, "const float %s = %s[%s];", name, R->line[i], minus(R->E, t, R->r0));
        const Env env = line_env(R, v, row);
        emit_bind(R->E, row_scope, v, &env, val_name(name, VAL_FLOAT, false));
    }
}

static const char *place(Rows *R, ValueId v, const char *t, const char *c)
{
    return arena_printf(R->E->arena, "%s + %s*%lld + %s", R->slot[rows_buffer(R, v)->slot], minus(R->E, t, R->r0),
                        (long long)R->stride, c);
}

static void reduce_into(Stage *S, Scope *at, size_t i, Val x, bool vector)
{
    Emitter *E = S->R->E;
    const Red red = S->R->g->node[S->reduce[i]].attr[0].red;
    const char *name = vector ? S->vec[i] : S->acc[i];
    x = vector ? val_vector(E, val_float(E, x)) : val_float(E, x);
    if (red == RED_SUM)
        scope_line(at, "%s += %s;", name, val_text(E, x, PREC_SUM));
    else
        scope_line(at, "%s = %s_%s(%s, %s);", name, red == RED_MAX ? "max" : "min", vector ? "v" : "s", name,
                   val_text(E, x, PREC_COMPARE));
}

// What the pass makes of a column, or of a vector of them: the values to be written, and their part of the reductions.
static void compute_column(Stage *S, Scope *loop, Ix row, Ix col, bool vector, Val *out_written)
{
    Emitter *E = S->R->E;
    for (size_t i = 0; i < S->n_writes; i++) {
        const Env env = wide_env(S->R, S->write[i], row, col);
        out_written[i] = val_named(E, loop, val_float(E, emit_value(E, loop, S->write[i], &env)), "p");
    }
    for (size_t i = 0; i < S->n_reduces; i++) {
        const ValueId x = S->R->g->node[S->reduce[i]].in[0];
        const Env env = wide_env(S->R, x, row, col);
        reduce_into(S, loop, i, emit_value(E, loop, x, &env), vector);
    }
}

// Columns of one row: whole vectors, or the rest one by one.
static void emit_columns(Stage *S, Scope *row_scope, Ix row, const char *t, const char *c, bool vector)
{
    Rows *R = S->R;
    Emitter *E = R->E;
    const int lanes = R->tile.lanes;
    Scope *loop = vector
        ? scope_block(E, row_scope, arena_printf(E->arena, "for (; %s + %d <= %s; %s += %d) {", c, lanes, R->nc, c, lanes))
        : scope_block(E, row_scope, arena_printf(E->arena, "for (; %s < %s; %s++) {", c, R->nc, c));
    const Ix col = scope_var(E, loop, c, 0, product_top_index(R->n_cols), vector ? lanes : 1);
    if (vector)
        scope_set_lane(loop, col, lanes);
    for (size_t i = 0; i < R->n_buffers; i++) {
        const ValueId v = R->buffer[i].value;
        if (!S->needs[v] || !is_loaded(S, v))
            continue;
        const char *name = emit_name(E, R->g->node[v].hint ? R->g->node[v].hint : "s");
        scope_line(loop, "const %s %s = *(const %s *)(%s);", vector ? "vf" : "float", name, vector ? "vf" : "float",
                   place(R, v, t, c));
        const Env env = wide_env(R, v, row, col);
        emit_bind(E, loop, v, &env, val_name(name, VAL_FLOAT, vector));
    }
    Val written[ROWS_MOST_PARTS];
    compute_column(S, loop, row, col, vector, written);
    for (size_t i = 0; i < S->n_writes; i++) {
        const Val v = vector ? val_vector(E, written[i]) : written[i];
        scope_line(loop, "*(%s *)(%s) = %s;", vector ? "vf" : "float", place(R, S->write[i], t, c),
                   val_text(E, v, PREC_COMPARE));
    }
    scope_close(E, loop);
}

static const char *start_of(Emitter *E, Red red)
{
    return val_const(E, red == RED_SUM ? 0 : red == RED_MAX ? -HUGE_VAL : HUGE_VAL, VAL_FLOAT).text;
}

static void emit_stage(Stage *S, Scope *at)
{
    Rows *R = S->R;
    Emitter *E = R->E;
    const bool vectors = R->n_cols >= R->tile.lanes, rest = R->n_cols % R->tile.lanes != 0;
    const char *t = emit_name(E, "i"), *c = emit_name(E, "c");
    Scope *rows = scope_block(E, at, arena_printf(E->arena, "for (long %s = %s; %s < %s; %s++) {", t, R->r0, t, R->r1, t));
    const Ix row = scope_var(E, rows, t, 0, product_top_index(R->n_rows), 1);
    bind_lines(R, rows, row, t, S->needs, S->at);
    for (size_t i = 0; i < S->n_reduces; i++) {
        const Red red = R->g->node[S->reduce[i]].attr[0].red;
        S->acc[i] = emit_name(E, "a");
        S->vec[i] = vectors ? emit_name(E, "v") : NULL;
        if (vectors)
            scope_line(rows, "vf %s = (vf){0} + %s;", S->vec[i], start_of(E, red));
        else
            scope_line(rows, "float %s = %s;", S->acc[i], start_of(E, red));
    }
    scope_line(rows, "long %s = 0;", c);
    if (vectors)
        emit_columns(S, rows, row, t, c, true);
    for (size_t i = 0; i < S->n_reduces && vectors; i++) {
        const Red red = R->g->node[S->reduce[i]].attr[0].red;
        scope_line(rows, "%sfloat %s = %s_v(%s);", rest ? "" : "const ", S->acc[i],
                   red == RED_SUM ? "sum" : red == RED_MAX ? "most" : "least", S->vec[i]);
    }
    if (rest)
        emit_columns(S, rows, row, t, c, false);
    for (size_t i = 0; i < S->n_reduces; i++)
        scope_line(rows, "%s[%s] = %s;", line_of(R, S->reduce[i]), minus(E, t, R->r0), S->acc[i]);
    scope_close(E, rows);
}

// The row statistics that somebody else reads.
static void store_lines(Rows *R, Scope *at, bool *needs)
{
    Emitter *E = R->E;
    size_t n = 0;
    Stage S = {.R = R, .at = R->n_stages, .needs = needs};
    for (size_t i = 0; i < R->L->n_members; i++)
        if (R->class_of[R->L->member[i]] != ROWS_OUT) {
            mark_needs(&S, R->L->member[i]);
            n++;
        }
    if (n == 0)
        return;
    const char *t = emit_name(E, "i");
    Scope *rows = scope_block(E, at, arena_printf(E->arena, "for (long %s = %s; %s < %s; %s++) {", t, R->r0, t, R->r1, t));
    const Ix row = scope_var(E, rows, t, 0, product_top_index(R->n_rows), 1);
    bind_lines(R, rows, row, t, needs, R->n_stages);
    for (size_t i = 0; i < R->L->n_members; i++) {
        const ValueId v = R->L->member[i];
        if (R->class_of[v] == ROWS_OUT)
            continue;
        const Env env = line_env(R, v, row);
        emit_store(E, rows, v, &env, emit_value(E, rows, v, &env));
    }
    scope_close(E, rows);
}

void rows_emit_stages(Rows *R, Scope *at)
{
    bool *needs = arena_array(R->L->arena, bool, R->g->n_nodes);
    for (int stage = 0; stage < R->n_stages; stage++) {
        Stage S = {.R = R, .at = stage, .needs = needs};
        memset(needs, 0, R->g->n_nodes * sizeof *needs);
        find_work(&S);
        if (S.n_writes + S.n_reduces > 0)
            emit_stage(&S, at);
    }
    memset(needs, 0, R->g->n_nodes * sizeof *needs);
    store_lines(R, at, needs);
}

// ---------------------------------------------------------------------------------------------------------------
// CUDA: one row, columns shared out over the threads of the block

static Scope *open_columns(Rows *R, Scope *at, const char **out_name)
{
    *out_name = emit_name(R->E, "c");
    return scope_set_threads(scope_block(R->E, at, arena_printf(R->E->arena, "for (long %s = threadIdx.x; %s < %lld; %s += blockDim.x) {",
                                                                *out_name, *out_name, (long long)R->n_cols, *out_name)));
}

static void emit_columns_cuda(Stage *S, Scope *row_scope, Ix row)
{
    Rows *R = S->R;
    Emitter *E = R->E;
    const char *c;
    Scope *loop = open_columns(R, row_scope, &c);
    const Ix col = scope_var(E, loop, c, 0, product_top_index(R->n_cols), 1);
    for (size_t i = 0; i < R->n_buffers; i++) {
        const ValueId v = R->buffer[i].value;
        if (!S->needs[v] || !is_loaded(S, v))
            continue;
        const char *name = emit_name(E, "s");
        scope_line(loop, "const float %s = (%s)[%s];", name, R->slot[R->buffer[i].slot], c);
        const Env env = wide_env(R, v, row, col);
        emit_bind(E, loop, v, &env, val_name(name, VAL_FLOAT, false));
    }
    Val written[ROWS_MOST_PARTS];
    compute_column(S, loop, row, col, false, written);
    for (size_t i = 0; i < S->n_writes; i++)
        scope_line(loop, "(%s)[%s] = %s;", R->slot[rows_buffer(R, S->write[i])->slot], c,
                   val_text(E, written[i], PREC_COMPARE));
    scope_close(E, loop);
}

static void emit_stage_cuda(Stage *S, Scope *row_scope, Ix row)
{
    Rows *R = S->R;
    Emitter *E = R->E;
    for (size_t i = 0; i < S->n_reduces; i++) {
        const Red red = R->g->node[S->reduce[i]].attr[0].red;
        S->acc[i] = emit_name(E, "a");
        scope_line(row_scope, "float %s = %s;", S->acc[i],
                   start_of(E, red));
    }
    emit_columns_cuda(S, row_scope, row);
    for (size_t i = 0; i < S->n_reduces; i++) {
        const ValueId v = S->reduce[i];
        const Red red = R->g->node[v].attr[0].red;
        const char *name = emit_name(E, R->g->node[v].hint ? R->g->node[v].hint : "line");
        scope_line(row_scope, "const float %s = block_%s_s(%s, shared);", name,
                   red == RED_SUM ? "sum" : red == RED_MAX ? "max" : "min", S->acc[i]);
        const Env env = line_env(R, v, row);
        emit_bind(E, row_scope, v, &env, val_name(name, VAL_FLOAT, false));
    }
    scope_line(row_scope, "__syncthreads();");
}

void rows_emit_stages_cuda(Rows *R, Scope *row_scope, Ix row)
{
    Emitter *E = R->E;
    bool *needs = arena_array(R->L->arena, bool, R->g->n_nodes);
    for (int stage = 0; stage < R->n_stages; stage++) {
        Stage S = {.R = R, .at = stage, .needs = needs};
        memset(needs, 0, R->g->n_nodes * sizeof *needs);
        find_work(&S);
        if (S.n_writes + S.n_reduces > 0)
            emit_stage_cuda(&S, row_scope, row);
    }
    Scope *one = scope_set_threads(scope_block(E, row_scope, "if (threadIdx.x == 0) {"));
    for (size_t i = 0; i < R->L->n_members; i++) {
        const ValueId v = R->L->member[i];
        if (R->class_of[v] == ROWS_OUT)
            continue;
        const Env env = line_env(R, v, row);
        emit_store(E, one, v, &env, emit_value(E, one, v, &env));
    }
    scope_close(E, one);
}
