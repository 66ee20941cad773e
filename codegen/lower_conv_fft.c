// Long convolutions by transforms, in C: LANES elements of one axis side by side (codegen/fft.inc).
//
//   filter   the filter serves many rows: its spectra are made by a launch of their own, and two rows are the real and the
//            imaginary part of one transform: both meet the same real filter, so they stay apart.
//   square   the filter has the axes of x, or products are summed (the gradient of a filter): with z = x + i k the imaginary part
//            of z*z is 2 x*k, so one transform does for both, and the sums are of squares of spectra.
//
// CUDA texts sum directly, in the last launch.
#include "lower_conv.h"

#include "emit_parts.h"

enum { FEW_TAPS = 96, MOST_SPECTRA = 1 << 27, TWIDDLES_EACH = 1024 };

typedef struct Fft {
    ValueId  v;
    AxisId   axis, taps, to, lane, pair;    // pair: rows two at a time; 0: none
    AxisId   other[MAX_AXES]; size_t n_other;       // of the result, beside to, lane and pair
    AxisId   filter[MAX_AXES]; size_t n_filter;     // of the filter, beside taps and lane
    int64_t  left, first, last;             // taps that can meet x
    int64_t  n, groups, pairs, n_work;
    bool     square, lane_in_filter;
    uint32_t twiddles, spectra;             // workspaces
} Fft;

// The least 1, 3 or 5 times a power of two that is at least `n`.
static int64_t good_size(int64_t n)
{
    int64_t best = INT64_MAX;
    for (int64_t odd = 1; odd <= 5; odd += 2) {
        int64_t size = odd;
        while (size < n)
            size *= 2;
        best = size < best ? size : best;
    }
    return best;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static bool find_size(const Graph *g, const Node *n, Fft *f)
{
    int64_t size = graph_size(g, f->axis), out = graph_size(g, f->to), taps = graph_size(g, f->taps);
    f->first = 0;
    f->last = taps;
    if (n->attr[5].i) {
        f->n = size;
        return good_size(size) == size;
    }
    f->first = most(0, f->left - (size - 1));
    f->last = taps < f->left + out ? taps : f->left + out;
    f->n = good_size(most(most(size, out), most(size + f->last - 1 - f->left, out - (f->first - f->left))));
    return true;
}

static void find_axes(const Graph *g, const Node *n, Fft *f)
{
    const Type *k = &g->node[n->in[1]].type;
    for (int i = 0; i < n->type.n_axes; i++)
        if (n->type.axis[i] != f->to)
            f->lane = n->type.axis[i];
    f->lane_in_filter = type_has(k, f->lane);
    for (int i = 0; i < n->type.n_axes; i++)
        if (n->type.axis[i] != f->to && n->type.axis[i] != f->lane && !type_has(k, n->type.axis[i]) && graph_size(g, n->type.axis[i]) > 1)
            f->pair = n->type.axis[i];
    for (int i = 0; i < k->n_axes; i++)
        if (k->axis[i] != f->taps && k->axis[i] != f->lane)
            f->filter[f->n_filter++] = k->axis[i];
}

static bool plan_fft(const Lower *L, ValueId v, Fft *f)
{
    const Graph *g = L->g;
    const Node *n = &g->node[v];
    *f = (Fft){.v = v, .axis = n->attr[0].axis, .taps = n->attr[1].axis, .to = n->attr[2].axis, .left = n->attr[3].i};
    int64_t count = 0;
    if (n->type.dtype != DTYPE_F32 || !type_count(g, &n->type, &count) || !count || !graph_size(g, f->axis) || !find_size(g, n, f) ||
        f->last - f->first < FEW_TAPS)
        return false;
    find_axes(g, n, f);
    if (!f->lane || f->n >= INT64_C(1) << 26)
        return false;
    int lanes = L->target->vector_floats;
    f->groups = (graph_size(g, f->lane) + lanes - 1) / lanes;
    int64_t spectra = loop_count(g, f->filter, f->n_filter) * (f->lane_in_filter ? f->groups : 1) * 2 * f->n * lanes;
    f->square = n->attr[4].axes.n || !f->pair || spectra > MOST_SPECTRA;
    if (f->square)
        f->pair = 0;
    f->pairs = f->pair ? (graph_size(g, f->pair) + 1) / 2 : 1;
    for (int i = 0; i < n->type.n_axes; i++)
        if (n->type.axis[i] != f->to && n->type.axis[i] != f->lane && n->type.axis[i] != f->pair)
            f->other[f->n_other++] = n->type.axis[i];
    f->n_work = loop_count(g, f->other, f->n_other) * f->groups * f->pairs;
    return true;
}

// --- moving signals in and out of z

typedef struct Move {
    const Fft  *f;
    const Env  *env;                        // of the item: all axes but those that move
    const char *z, *first;
    int         operand, part;              // operand 0, 1; 2: the result is stored
    const char *scale;
} Move;

static const char *ix_text(Emitter *E, Ix ix)
{
    Text t = text_make(E->arena);
    ix_print(E->ix, ix, true, 0, NULL, &t);
    return text_str(&t);
}

static void move_step(Emitter *E, Scope *s, Ix lane, void *user)
{
    const Move *m = user;
    const Fft *f = m->f;
    const Node *n = &E->g->node[f->v];
    ValueId v = m->operand == 2 ? f->v : n->in[m->operand];
    AxisId along = m->operand == 0 ? f->axis : m->operand == 1 ? f->taps : f->to;
    Env env = env_of(E, v);
    for (int i = 0; i < env.n; i++)
        if (env_get(m->env, env.axis[i]))
            env.at[i] = env_get(m->env, env.axis[i]);
    env_set(&env, f->lane, lane);
    bool taps = m->operand == 1;
    Ix at;
    Scope *t = scope_loop(E, s, loop_hint(E, along), taps ? f->first : 0, taps ? f->last : graph_size(E->g, along), 1, &at);
    env_set(&env, along, at);
    const char *place = ix_text(E, at);
    int64_t turn = ((-f->left) % f->n + f->n) % f->n;
    if (taps)
        place = arena_printf(E->arena, "((%s + %lldL) %% %lldL)", place, (long long)turn, (long long)f->n);
    const char *where = arena_printf(E->arena, "%s + (2*%s + %d)*LANES", m->z, place, m->part);
    bool vector = scope_lane_count(t) > 1;
    const char *cell = vector ? arena_printf(E->arena, "*(vf *)(%s)", where)
                              : arena_printf(E->arena, "(%s)[%s - %s]", where, ix_text(E, lane), m->first);
    if (m->operand == 2) {
        const char *name = scope_name(E, t, "y");
        scope_line(t, "const %s %s = %s%s;", vector ? "vf" : "float", name, cell, m->scale);
        emit_store(E, t, v, &env, val_name(name, VAL_FLOAT, vector));
    } else {
        Val x = val_float(E, emit_value(E, t, v, &env));
        scope_line(t, "%s = %s;", cell, (vector ? val_vector(E, x) : x).text);
    }
    scope_close(E, t);
}

static void move(Emitter *E, Scope *s, const Fft *f, const LoopSpan *span, const Env *env, const char *z, int operand, int part,
                 const char *scale)
{
    Move m = {.f = f, .env = env, .z = z, .first = span->first, .operand = operand, .part = part, .scale = scale};
    loop_lanes(E, s, span, move_step, &m);
}

static void clear(Scope *s, const char *z, int64_t n)
{
    scope_line(s, "__builtin_memset(%s, 0, %lldL*2*LANES*sizeof(float));", z, (long long)n);
}

// --- the launches

static void launch(Lower *L, const char *hint, const char *comment, Emitter *c, Emitter *cuda, int64_t n_work, double flops, size_t scratch)
{
    LowerText t = {.hint = hint, .comment = comment, .c = c, .cuda = cuda, .n_work = n_work, .grain = 1, .cuda_blocks = n_work,
                   .cuda_threads = 128, .flops = flops, .bytes = flops / 8, .scratch_bytes = scratch, .uses_scratch = scratch > 0};
    lower_launch(L, &t);
}

static void launch_twiddles(Lower *L, Fft *f)
{
    f->twiddles = lower_workspace(L, "twiddles", DTYPE_F32, 2 * f->n);
    int64_t n_work = (f->n + TWIDDLES_EACH - 1) / TWIDDLES_EACH;
    Emitter *E = lower_emitter(L, DIALECT_C, NULL);
    const char *tw = emit_workspace(E, f->twiddles, "twiddles", DTYPE_F32, true);
    Ix item;
    Scope *s = loop_items(E, "part", n_work, &item);
    scope_line(s, "fft_v(FFT_TWIDDLES, %s, 0, %lldL, %s*%dL);", tw, (long long)f->n, ix_text(E, item), TWIDDLES_EACH);
    loop_items_end(E, s);
    launch(L, "twiddles", "exp(-2 pi i j/n)", E, lower_emitter(L, DIALECT_CUDA, E), n_work, 40.0 * (double)f->n, 0);
}

static void launch_spectra(Lower *L, Fft *f)
{
    int lanes = L->target->vector_floats;
    int64_t groups = f->lane_in_filter ? f->groups : 1, n_work = loop_count(L->g, f->filter, f->n_filter) * groups;
    f->spectra = lower_workspace(L, "spectra", DTYPE_F32, n_work * 2 * f->n * lanes);
    Emitter *E = lower_emitter(L, DIALECT_C, NULL);
    const char *spectra = emit_workspace(E, f->spectra, "spectra", DTYPE_F32, true);
    const char *tw = emit_workspace(E, f->twiddles, "twiddles", DTYPE_F32, false);
    Ix item;
    Scope *s = loop_items(E, "item", n_work, &item);
    LoopSpan span = {.hint = loop_hint(E, f->lane)};
    loop_block(E, s, groups > 1 ? ix_mod(E->ix, item, groups) : ix_const(E->ix, 0), lanes, graph_size(L->g, f->lane), &span);
    Env env = env_of(E, L->g->node[f->v].in[1]);
    loop_set(E, &env, f->filter, f->n_filter, groups > 1 ? ix_div(E->ix, item, groups) : item);
    const char *z = scope_name(E, s, "z");
    scope_line(s, "float *%s = %s + %s*%lldL;", z, spectra, ix_text(E, item), (long long)(2 * f->n * lanes));
    clear(s, z, f->n);
    move(E, s, f, &span, &env, z, 1, 0, "");
    scope_line(s, "fft_v(FFT_FORWARD, %s, %s, %lldL, 0);", z, tw, (long long)f->n);
    scope_line(s, "fft_v(FFT_SCALE, %s, 0, %lldL, 0);", z, (long long)f->n);
    loop_items_end(E, s);
    launch(L, "spectra", "the filter's spectra", E, lower_emitter(L, DIALECT_CUDA, E), n_work, (double)(n_work * f->n * lanes) * 60, 0);
}

// Which spectrum the item's rows meet.
static Ix spectrum_of(Emitter *E, const Fft *f, const Env *env, Ix group)
{
    Ix at = ix_const(E->ix, 0);
    for (size_t i = 0; i < f->n_filter; i++)
        at = ix_add(E->ix, ix_scale(E->ix, at, graph_size(E->g, f->filter[i])), env_get(env, f->filter[i]));
    return f->lane_in_filter ? ix_add(E->ix, ix_scale(E->ix, at, f->groups), group) : at;
}

static void filter_rows(Emitter *E, Scope *s, const Fft *f, const LoopSpan *span, Env *env, Ix group, Ix pair, const char *z, const char *tw)
{
    long long n = (long long)f->n;
    int64_t rows = graph_size(E->g, f->pair);
    const char *spectra = emit_workspace(E, f->spectra, "spectra", DTYPE_F32, false);
    Ix row = ix_scale(E->ix, pair, 2), next = ix_offset(E->ix, row, 1);
    bool odd = rows % 2;
    clear(s, z, f->n);
    for (int store = 0; store <= 1; store++) {
        env_set(env, f->pair, row);
        move(E, s, f, span, env, z, store ? 2 : 0, 0, "");
        Scope *second = odd ? scope_block(E, s, arena_printf(E->arena, "if (%s < %lld) {", ix_text(E, next), (long long)rows)) : s;
        env_set(env, f->pair, next);
        move(E, second, f, span, env, z, store ? 2 : 0, 1, "");
        if (odd)
            scope_close(E, second);
        if (store)
            break;
        scope_line(s, "fft_v(FFT_FORWARD, %s, %s, %lldL, 0);", z, tw, n);
        scope_line(s, "fft_v(FFT_MULTIPLY, %s, %s + %s*(%lldL*LANES), %lldL, 0);", z, spectra, ix_text(E, spectrum_of(E, f, env, group)),
                   2 * n, n);
        scope_line(s, "fft_v(FFT_INVERSE, %s, %s, %lldL, 0);", z, tw, n);
    }
}

static void square_rows(Emitter *E, Scope *s, const Fft *f, const LoopSpan *span, Env *env, const char *z, const char *tw)
{
    const Attr *over = &E->g->node[f->v].attr[4];
    long long n = (long long)f->n;
    const char *sum = scope_name(E, s, "sum");
    scope_line(s, "float *%s = %s + %lldL*LANES;", sum, z, 2 * n);
    clear(s, sum, f->n);
    Scope *chain[MAX_AXES], *each = s;
    for (size_t i = 0; i < over->axes.n; i++) {
        Ix at;
        each = chain[i] = scope_loop(E, each, loop_hint(E, over->axes.id[i]), 0, graph_size(E->g, over->axes.id[i]), 1, &at);
        env->axis[env->n] = over->axes.id[i];
        env->at[env->n++] = at;
    }
    clear(each, z, f->n);
    move(E, each, f, span, env, z, 0, 0, "");
    move(E, each, f, span, env, z, 1, 1, "");
    scope_line(each, "fft_v(FFT_BALANCE, %s, 0, %lldL, 0);", z, n);
    scope_line(each, "fft_v(FFT_FORWARD, %s, %s, %lldL, 0);", z, tw, n);
    scope_line(each, "fft_v(FFT_SQUARE, %s, %s, %lldL, 0);", sum, z, n);
    for (size_t i = over->axes.n; i-- > 0;)
        scope_close(E, chain[i]);
    scope_line(s, "fft_v(FFT_INVERSE, %s, %s, %lldL, 0);", sum, tw, n);
    move(E, s, f, span, env, sum, 2, 1, arena_printf(E->arena, " * (0.5f / %lld)", n));
}

static void fft_body(const Fft *f, Emitter *E)
{
    Ix item, group = ix_const(E->ix, 0), pair = group;
    Scope *s = loop_items(E, "item", f->n_work, &item);
    Ix rest = item;
    if (f->pairs > 1) {
        pair = ix_mod(E->ix, rest, f->pairs);
        rest = ix_div(E->ix, rest, f->pairs);
    }
    if (f->groups > 1) {
        group = ix_mod(E->ix, rest, f->groups);
        rest = ix_div(E->ix, rest, f->groups);
    }
    LoopSpan span = {.hint = loop_hint(E, f->lane)};
    loop_block(E, s, group, E->vl, graph_size(E->g, f->lane), &span);
    Env env = env_of(E, f->v);
    loop_set(E, &env, f->other, f->n_other, rest);
    const char *tw = emit_workspace(E, f->twiddles, "twiddles", DTYPE_F32, false), *z = scope_name(E, s, "z");
    scope_line(s, "float *%s = scratch;", z);
    if (f->square)
        square_rows(E, s, f, &span, &env, z, tw);
    else
        filter_rows(E, s, f, &span, &env, group, pair, z, tw);
    loop_items_end(E, s);
}

bool lower_conv_fft(Lower *L, ValueId v, ConvBody *direct, int64_t direct_work)
{
    Fft f;
    if (!plan_fft(L, v, &f))
        return false;
    launch_twiddles(L, &f);
    if (!f.square)
        launch_spectra(L, &f);
    const Node *n = &L->g->node[v];
    Text comment = text_make(L->arena);
    conv_describe(L->g, v, &comment);
    text_printf(&comment, ", by transforms of %lld", (long long)f.n);
    Emitter *probe = lower_emitter(L, DIALECT_C, NULL);     // the operands of the direct text, for CUDA
    direct(v, direct_work, probe);
    Emitter *E = lower_emitter(L, DIALECT_C, probe);
    fft_body(&f, E);
    Emitter *cuda = lower_emitter(L, DIALECT_CUDA, E);
    direct(v, direct_work, cuda);
    int64_t sums = loop_count(L->g, n->attr[4].axes.id, n->attr[4].axes.n);
    double log2n = 64 - __builtin_clzll((unsigned long long)f.n);
    int lanes = L->target->vector_floats;
    LowerText t = {.hint = n->hint ? n->hint : "conv", .comment = text_str(&comment), .c = E, .cuda = cuda, .n_work = f.n_work, .grain = 1,
                   .cuda_blocks = direct_work, .cuda_threads = 128, .uses_scratch = true,
                   .scratch_bytes = (size_t)(f.square ? 4 : 2) * (size_t)f.n * (size_t)lanes * sizeof(float),
                   .flops = 5.0 * (double)f.n * log2n * (double)(f.square ? sums + 1 : 2) * lanes * (double)f.n_work};
    t.bytes = (double)f.n_work * (double)f.n * lanes * 8 * (double)(f.square ? sums : 1);
    lower_launch(L, &t);
    return true;
}
