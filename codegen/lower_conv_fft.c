// Long convolutions by transforms, in C: LANES elements of the innermost axes side by side (codegen/fft.inc).
//
//   filter   one transform each way for each row; the filter's spectra are made before, by a launch of their own
//   both     the filter has the axes of x, or products are summed (the gradient of a filter): both operands are transformed,
//            and the products of spectra are added up before the way back
//
// The first pass reads the operand as it goes, so a gate on the way in costs no memory; the last one hands its results to
// what follows, so a gate on the way out does not either. A skip, y + s x where s has the filter's axes, is s more in the
// filter at lag 0: it joins the spectra, and x is read once. CUDA texts of the same launches: lower_conv_cuda.c, or
// direct sums where that does not reach.
#include "lower_conv.h"

#include "emit_parts.h"
#include "lower_product.h"

#include <string.h>

enum { MOST_SPECTRA = 1 << 30, TWIDDLES_EACH = 1024, TWIDDLES_HEAD = 16 };

typedef ConvFft Fft;

static bool among(const AxisId *axis, size_t n, AxisId a)
{
    for (size_t i = 0; i < n; i++)
        if (axis[i] == a)
            return true;
    return false;
}

static void find_axes(const Graph *g, const Node *n, Fft *f)
{
    const Type *type = &n->type, *k = &g->node[n->in[1]].type;
    int at = type_find(type, f->c.to);
    int first = at + 1 < type->n_axes ? at + 1 : at - 1;    // what lies behind `to`, or the one axis before it
    int end = at + 1 < type->n_axes ? type->n_axes : at;
    for (int i = first; i < end; i++) {
        f->lane[f->n_lane++] = type->axis[i];
        f->lane_in_filter |= type_has(k, type->axis[i]);
    }
    bool all = true;
    for (int i = 0; i < type->n_axes; i++)
        if (type->axis[i] != f->c.to && !among(f->lane, f->n_lane, type->axis[i])) {
            f->other[f->n_other++] = type->axis[i];
            all &= type_has(k, type->axis[i]);
        }
    for (int i = 0; i < k->n_axes; i++)
        if (k->axis[i] != f->c.taps && !among(f->lane, f->n_lane, k->axis[i]))
            f->filter[f->n_filter++] = k->axis[i];
    f->both = n->attr[4].axes.n || (f->n_other && all);
}

// The factor s of s x where s has axes of the filter only; 0: it is nothing of that kind.
static ValueId skip_of(const Graph *g, const Fft *f, ValueId product)
{
    const Node *n = &g->node[product], *conv = &g->node[f->v];
    if (n->op != OP_MUL || n->kernel || (n->in[0] != conv->in[0]) == (n->in[1] != conv->in[0]))
        return 0;
    const ValueId skip = n->in[0] == conv->in[0] ? n->in[1] : n->in[0];
    const Type *type = &g->node[skip].type;
    for (int i = 0; i < type->n_axes; i++)
        if (type->axis[i] == f->c.taps || !type_has(&g->node[conv->in[1]].type, type->axis[i]))
            return 0;
    return skip;
}

// v + s x, where nothing else here reads v.
static void find_skip(const Lower *L, const Space *space, Fft *f)
{
    const Node *conv = &L->g->node[f->v];
    const int64_t lag0 = conv->attr[3].i;
    if (f->both || f->c.circular || f->c.axis != f->c.to || lag0 < f->c.first || lag0 >= f->c.last || conv->kernel || L->n_uses[f->v] != 1)
        return;
    for (size_t i = 0; i < space->n_maps; i++) {
        const Node *n = &L->g->node[space->map[i].value];
        if (n->op != OP_ADD || (n->in[0] == f->v) == (n->in[1] == f->v))
            continue;
        f->skip = skip_of(L->g, f, n->in[0] == f->v ? n->in[1] : n->in[0]);
        f->sum = f->skip ? space->map[i].value : 0;
        return;
    }
}

static bool plan_fft(const Lower *L, ValueId v, Fft *f)
{
    const Graph *g = L->g;
    const Node *n = &g->node[v];
    *f = (Fft){.v = v, .c = conv_of(g, v), .is_cuda = L->target->is_cuda};
    if (!f->c.by_transforms || n->type.n_axes < 2)
        return false;
    find_axes(g, n, f);
    int64_t vl = L->target->vector_floats;
    f->lanes = loop_count(g, f->lane, f->n_lane);
    f->groups = (f->lanes + vl - 1) / vl;
    f->rows = loop_count(g, f->other, f->n_other);
    f->q = f->c.n / f->c.radix;
    double spectra = (double)loop_count(g, f->filter, f->n_filter) * (double)(f->lane_in_filter ? f->groups : 1) * 2 * (double)(f->c.n * vl);
    f->both |= spectra > MOST_SPECTRA;
    return true;
}

static const char *ix_text(Emitter *E, Ix ix)
{
    Text t = text_make(E->arena);
    ix_print(E->ix, ix, true, 0, NULL, &t);
    return text_str(&t);
}

// --- the first and the last pass

typedef struct Item {                       // one kernel's work item while it is written
    Emitter    *E;
    const Fft  *f;
    const Space *space;                     // of what follows the convolution
    Env         env;                        // of the result (or filter), all axes but those of lane and position
    LoopSpan    span;
    const char *tw;
} Item;

typedef struct Pass {
    const Item *item;
    ValueId     v;                          // what is read; 0: the result is stored
    AxisId      along;
    int         n_places;
    Ix          at[20];                     // place i: the index along `along`; 0: there is none
    int         lag0;                       // the place where the skip is added; -1: none
    const char *cells;                      // [places] vectors
} Pass;

static Env lane_env(Emitter *E, const Pass *p, Ix lane)
{
    const Fft *f = p->item->f;
    Env env = env_of(E, p->v ? p->v : f->v);
    for (int i = 0; i < env.n; i++)
        if (env_get(&p->item->env, env.axis[i]))
            env.at[i] = env_get(&p->item->env, env.axis[i]);
    loop_set(E, &env, f->lane, f->n_lane, lane);
    return env;
}

static void pass_step(Emitter *E, Scope *s, Ix lane, void *user)
{
    const Pass *p = user;
    bool vector = scope_lane_count(s) > 1;
    Env env = lane_env(E, p, lane);
    for (int i = 0; i < p->n_places; i++) {
        if (!p->at[i])
            continue;
        const char *cell = vector ? arena_printf(E->arena, "%s[%d]", p->cells, i)
                                  : arena_printf(E->arena, "%s[%d][%s - %s]", p->cells, i, ix_text(E, lane), p->item->span.first);
        env_set(&env, p->along, p->at[i]);
        if (p->v) {
            Val x = val_float(E, emit_value(E, s, p->v, &env));
            scope_line(s, "%s = %s;", cell, (vector ? val_vector(E, x) : x).text);
            if (i == p->lag0)
                scope_line(s, "%s += %s;", cell, val_text(E, val_float(E, emit_value(E, s, p->item->f->skip, &env)), PREC_SUM));
        } else {
            const char *y = scope_name(E, s, "y");
            scope_line(s, "const %s %s = %s;", vector ? "vf" : "float", y, cell);
            conv_store(E, s, p->item->space, p->item->f->sum, &env, val_name(y, VAL_FLOAT, vector));
        }
    }
}

// The lanes of an item: all of a vector, or those that are left.
static void pass_lanes(const Item *item, Scope *s, Pass *p, bool whole)
{
    Emitter *E = item->E;
    const LoopSpan *span = &item->span;
    Ix lane;
    if (whole) {
        lane = scope_var(E, s, span->first, 0, item->f->lanes - E->vl > 0 ? item->f->lanes - E->vl : 1, E->vl);
        scope_set_lane(s, lane, E->vl);
        pass_step(E, s, lane, p);
        return;
    }
    Scope *loop = scope_loop_text(E, s, span->hint, span->first, span->last, 1, 0, item->f->lanes > 1 ? item->f->lanes - 1 : 1, &lane);
    pass_step(E, loop, lane, p);
    scope_close(E, loop);
}

// Calls `body` with whole vectors and, where the last group is short, without.
typedef void ItemBody(const Item *item, Scope *s, bool whole, const void *user);

static void each_fill(const Item *item, Scope *s, ItemBody *body, const void *user)
{
    Emitter *E = item->E;
    int64_t vl = E->vl, lanes = item->f->lanes;
    const char *head = lanes % vl == 0 ? "{" : lanes < vl ? NULL : arena_printf(E->arena, "if (%s + LANES == %s) {", item->span.first, item->span.last);
    if (head) {
        Scope *t = scope_block(E, s, head);
        body(item, t, true, user);
        scope_close(E, t);
    }
    if (lanes % vl) {
        Scope *t = scope_block(E, s, head ? "else {" : "{");
        body(item, t, false, user);
        scope_close(E, t);
    }
}

// The bounds in 0 .. q between which the same places of a pass are in range. place i stands at base[i] + j; in range are lo .. hi - 1.
static size_t find_cuts(const int64_t *base, int n, int64_t lo, int64_t hi, int64_t q, int64_t *cut)
{
    size_t n_cuts = 0;
    cut[n_cuts++] = 0;
    for (int i = 0; i < 2 * n; i++) {
        int64_t at = (i % 2 ? hi : lo) - base[i / 2];
        size_t k = n_cuts;
        if (at <= 0 || at >= q)
            continue;
        while (k && cut[k - 1] > at)
            k--;
        if (cut[k - 1] == at)
            continue;
        for (size_t m = n_cuts++; m > k; m--)
            cut[m] = cut[m - 1];
        cut[k] = at;
    }
    cut[n_cuts] = q;
    return n_cuts;
}

// Makes a range of its own of `at`.
static size_t cut_out(int64_t at, int64_t *cut, size_t n_cuts)
{
    for (int64_t edge = at; edge <= at + 1; edge++) {
        size_t k = 0;
        while (cut[k] < edge)
            k++;
        if (cut[k] == edge)
            continue;
        memmove(&cut[k + 1], &cut[k], (n_cuts + 1 - k) * sizeof *cut);
        cut[k] = edge;
        n_cuts++;
    }
    return n_cuts;
}

typedef struct Way {                        // one operand on its way down
    int         operand;                    // 0, 1
    const char *z, *factor;                 // factor: NULL or a number for all of z
} Way;

// The twiddles of the root, perhaps times a factor, as an array that aliases nothing.
static const char *root_twiddles(const Item *item, Scope *s, const char *factor)
{
    const char *u = scope_name(item->E, s, "u");
    scope_line(s, "float %s[10];", u);
    scope_line(s, "for (int i = 0; i < %d; i++)", 2 * item->f->c.radix);
    scope_line(s, "    %s[i] = %s[i]%s%s;", u, item->tw, factor ? "*" : "", factor ? factor : "");
    return u;
}

static void down(const Item *item, Scope *s, bool whole, const void *user)
{
    const Way *way = user;
    Emitter *E = item->E;
    const Fft *f = item->f;
    int r = f->c.radix, n_places = 0;
    const Node *n = &E->g->node[f->v];
    int64_t size = way->operand ? f->c.last - f->c.first : f->c.size, skip = way->operand ? f->c.first : 0;
    int64_t base[10], cut[26];
    int parts = size > f->c.n ? 2 : 1;
    for (int i = 0; i < r * parts; i++)
        base[n_places++] = (i / r) * f->c.n + (i % r) * f->q;
    const char *u = root_twiddles(item, s, way->factor);
    size_t n_cuts = find_cuts(base, n_places, 0, size, f->q, cut);
    const int64_t lag0 = way->operand && f->skip ? n->attr[3].i - f->c.first : -1;
    if (lag0 >= 0)
        n_cuts = cut_out(lag0 % f->q, cut, n_cuts);
    for (size_t i = 0; i < n_cuts; i++) {
        Ix at;
        Scope *t = scope_loop(E, s, "j", cut[i], cut[i + 1], 1, &at);
        const char *j = ix_text(E, at), *x = scope_name(E, t, "x");
        bool full = whole;
        Pass p = {.item = item, .v = n->in[way->operand], .along = way->operand ? f->c.taps : f->c.axis, .n_places = n_places, .cells = x, .lag0 = -1};
        for (int k = 0; k < n_places; k++) {
            if (lag0 >= 0 && base[k] + cut[i] == lag0)
                p.lag0 = k;
            p.at[k] = base[k] + cut[i] < size ? ix_offset(E->ix, at, base[k] + skip) : 0;
            full &= p.at[k] != 0;
        }
        scope_line(t, "vf %s[%d]%s;", x, n_places, full ? "" : " = {0}");
        pass_lanes(item, t, &p, whole);
        scope_line(t, "fft_root_v(%s + %s*2*LANES, %lldL, %s, %d, %d, %s);", way->z, j, (long long)f->q, x, r, parts, u);
        scope_close(E, t);
    }
}

// Results 0 .. count - 1 from `from` on that no product reaches.
static void zeros(const Item *item, Scope *s, bool whole, int64_t from, int64_t end)
{
    Emitter *E = item->E;
    if (from >= end)
        return;
    Ix at;
    Scope *t = scope_loop(E, s, loop_hint(E, item->f->c.to), from, end, 1, &at);
    const char *y = scope_name(E, t, "none");
    scope_line(t, "const vf %s[1] = {0};", y);
    Pass p = {.item = item, .along = item->f->c.to, .n_places = 1, .at = {at}, .cells = y};
    pass_lanes(item, t, &p, whole);
    scope_close(E, t);
}

// Up through the root, each result straight to what follows.
static void up(const Item *item, Scope *s, bool whole, const void *user)
{
    const char *z = user;
    Emitter *E = item->E;
    const Fft *f = item->f;
    int r = f->c.radix;
    int64_t end = f->c.size + f->c.last - f->c.first - 1, lo = f->c.shift > 0 ? f->c.shift : 0, base[10], cut[24];
    int64_t hi = f->c.shift + f->c.out < end ? f->c.shift + f->c.out : end;
    for (int i = 0; i < 2 * r; i++)
        base[i] = (i % 2) * f->c.n + (i / 2) * f->q;
    const char *u = root_twiddles(item, s, NULL);
    size_t n_cuts = find_cuts(base, 2 * r, lo, hi, f->q, cut);
    for (size_t i = 0; i < n_cuts; i++) {
        bool any = false;
        for (int k = 0; k < 2 * r; k++)
            any |= base[k] + cut[i] >= lo && base[k] + cut[i] < hi;
        if (!any)
            continue;
        Ix at;
        Scope *t = scope_loop(E, s, "j", cut[i], cut[i + 1], 1, &at);
        const char *y = scope_name(E, t, "y");
        scope_line(t, "vf %s[%d];", y, 2 * r);
        scope_line(t, "fft_up_v(%s, %s + %s*2*LANES, %lldL, %d, %s);", y, z, ix_text(E, at), (long long)f->q, r, u);
        Pass p = {.item = item, .along = f->c.to, .n_places = 2 * r, .cells = y};
        for (int k = 0; k < 2 * r; k++)
            p.at[k] = base[k] + cut[i] >= lo && base[k] + cut[i] < hi ? ix_offset(E->ix, at, base[k] - f->c.shift) : 0;
        pass_lanes(item, t, &p, whole);
        scope_close(E, t);
    }
    zeros(item, s, whole, 0, lo - f->c.shift < f->c.out ? lo - f->c.shift : f->c.out);
    zeros(item, s, whole, hi - f->c.shift > 0 ? hi - f->c.shift : 0, f->c.out);
}

// Circular: up in place, then each result is a sum of two numbers.
static void up_around(const Item *item, Scope *s, bool whole, const void *user)
{
    const char *z = user;
    Emitter *E = item->E;
    const Fft *f = item->f;
    long long n = (long long)f->c.n, q = (long long)f->q, size = (long long)f->c.size;
    int r = f->c.radix;
    const char *u = root_twiddles(item, s, NULL);
    scope_line(s, "for (long j = 0; j < %lldL; j++) {", q);
    scope_line(s, "    vf y[%d];", 2 * r);
    scope_line(s, "    fft_up_v(y, %s + j*2*LANES, %lldL, %d, %s);", z, q, r, u);
    scope_line(s, "    for (int i = 0; i < %d; i++)", 2 * r);
    scope_line(s, "        ((vf *)%s)[2*(j + i/2*%lldL) + i%%2] = y[i];", z, q);
    scope_line(s, "}");
    Ix at;
    Scope *t = scope_loop(E, s, loop_hint(E, f->c.to), 0, f->c.out, 1, &at);
    const char *y = scope_name(E, t, "sum"), *c = scope_name(E, t, "at");
    scope_line(t, "const long %s = (%s + %lldL) %% %lldL;", c, ix_text(E, at), (long long)f->c.shift, size);
    scope_line(t, "vf %s[1] = {((const vf *)%s)[2*(%s %% %lldL) + %s / %lldL]};", y, z, c, n, c, n);
    scope_line(t, "if (%s + %lldL < %lldL)", c, size, size + (long long)f->c.last - 1);
    scope_line(t, "    %s[0] += ((const vf *)%s)[2*((%s + %lldL) %% %lldL) + (%s + %lldL) / %lldL];", y, z, c, size, n, c, size, n);
    Pass p = {.item = item, .along = f->c.to, .n_places = 1, .at = {at}, .cells = y};
    pass_lanes(item, t, &p, whole);
    scope_close(E, t);
}

// --- the launches

// `t` holds the CUDA half; without one there is nothing to launch.
static void launch(Lower *L, LowerText t, const char *hint, const char *comment, Emitter *c, int64_t n_work, double flops)
{
    t.hint = hint;
    t.comment = comment;
    t.c = c;
    t.n_work = n_work;
    t.grain = 1;
    t.flops = flops;
    t.bytes = flops / 8;
    t.cuda_threads = t.cuda_threads > 0 ? t.cuda_threads : 32;
    lower_launch(L, &t);
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void launch_twiddles(Lower *L, Fft *f)
{
    f->twiddles = lower_workspace(L, "twiddles", DTYPE_F32, larger(TWIDDLES_HEAD + 2 * f->c.n, 2 * conv_cuda_n(f)));
    int64_t n_nodes = 0, nodes = f->c.radix;
    for (int64_t m = f->q; m > 1; m /= 4, nodes *= 4)
        n_nodes += nodes;
    int64_t n_work = (n_nodes + TWIDDLES_EACH - 1) / TWIDDLES_EACH;
    Emitter *E = lower_emitter(L, DIALECT_C, NULL);
    const char *tw = emit_workspace(E, f->twiddles, "twiddles", DTYPE_F32, true);
    Ix item;
    Scope *s = loop_items(E, "part", n_work, &item);
    scope_line(s, "fft_v(FFT_TWIDDLES, 0, 0, 0, %s, %lldL, %d, %s*%dL);", tw, (long long)f->c.n, f->c.radix, ix_text(E, item), TWIDDLES_EACH);
    loop_items_end(E, s);
    LowerText text = {.cuda = lower_emitter(L, DIALECT_CUDA, E)};
    if (conv_cuda_n(f))
        conv_cuda_roots(f, tw, text.cuda, &text);
    launch(L, text, "twiddles", "the roots of i that the transforms multiply by", E, n_work, 80.0 * (double)n_nodes);
}

static Item open_item(Emitter *E, const Fft *f, const Space *space, Scope *s, Ix group)
{
    Item item = {.E = E, .f = f, .space = space, .span = {.hint = "lane"}};
    item.tw = emit_workspace(E, f->twiddles, "twiddles", DTYPE_F32, false);
    loop_block(E, s, group, E->vl, f->lanes, &item.span);
    if (f->lanes % E->vl == 0)
        scope_line(s, "(void)%s;", item.span.last);
    return item;
}

static void launch_spectra(Lower *L, Fft *f)
{
    int lanes = L->target->vector_floats;
    const bool mma = conv_is_mma(L->g, f);
    int64_t groups = f->lane_in_filter ? f->groups : 1, n_work = loop_count(L->g, f->filter, f->n_filter) * groups;
    f->spectra = lower_workspace(L, "spectra", DTYPE_F32, larger(n_work * 2 * f->c.n * lanes,
                                                                       mma ? conv_mma_spectra_floats(L->g, f) : conv_cuda_spectra_floats(L->g, f)));
    const uint32_t columns = conv_is_long(f) ? conv_long_columns(L, f, 1) : 0;
    Emitter *E = lower_emitter(L, DIALECT_C, NULL);
    const char *spectra = emit_workspace(E, f->spectra, "spectra", DTYPE_F32, true), *tw;
    Ix at;
    Scope *s = loop_items(E, "item", n_work, &at);
    Item item = open_item(E, f, NULL, s, groups > 1 ? ix_mod(E->ix, at, groups) : ix_const(E->ix, 0));
    item.env = env_of(E, L->g->node[f->v].in[1]);
    loop_set(E, &item.env, f->filter, f->n_filter, groups > 1 ? ix_div(E->ix, at, groups) : at);
    tw = arena_printf(E->arena, "(float *)%s", item.tw);
    const char *z = scope_name(E, s, "z");
    scope_line(s, "float *%s = %s + %s*%lldL;", z, spectra, ix_text(E, at), (long long)(2 * f->c.n * lanes));
    Way way = {.operand = 1, .z = z, .factor = arena_printf(E->arena, "(1.0f/%lld)", (long long)f->c.n)};
    each_fill(&item, s, down, &way);
    scope_line(s, "fft_v(FFT_FORWARD, %s, %s, %s, %s, %lldL, %d, 0);", z, z, z, tw, (long long)f->c.n, f->c.radix);
    loop_items_end(E, s);
    LowerText text = {.cuda = lower_emitter(L, DIALECT_CUDA, E)};
    if (conv_cuda_n(f)) {
        if (conv_is_long(f))
            conv_long_spectra(f, columns, text.cuda, &text);
        else
            (mma ? conv_mma_spectra : conv_cuda_spectra)(f, text.cuda, &text);
        product_share_params(E, text.cuda);
    }
    launch(L, text, "spectra", "the filter's spectra", E, n_work, (double)(n_work * f->c.n * lanes) * 60);
}

// Which spectrum the item's rows meet.
static Ix spectrum_of(Emitter *E, const Fft *f, const Env *env, Ix group)
{
    Ix at = ix_const(E->ix, 0);
    for (size_t i = 0; i < f->n_filter; i++)
        at = ix_add(E->ix, ix_scale(E->ix, at, graph_size(E->g, f->filter[i])), env_get(env, f->filter[i]));
    return f->lane_in_filter ? ix_add(E->ix, ix_scale(E->ix, at, f->groups), group) : at;
}

static void emit_both(Item *item, Scope *s, const char *z)
{
    Emitter *E = item->E;
    const Fft *f = item->f;
    const Attr *over = &E->g->node[f->v].attr[4];
    long long n = (long long)f->c.n;
    const char *k = scope_name(E, s, "k"), *sum = scope_name(E, s, "sum");
    scope_line(s, "float *%s = %s + %lldL*LANES, *%s = %s + %lldL*LANES;", k, z, 2 * n, sum, z, 4 * n);
    scope_line(s, "__builtin_memset(%s, 0, %lldL*LANES*sizeof(float));", sum, 2 * n);
    Scope *chain[MAX_AXES], *each = s;
    for (size_t i = 0; i < over->axes.n; i++) {
        Ix at;
        each = chain[i] = scope_loop(E, each, loop_hint(E, over->axes.id[i]), 0, graph_size(E->g, over->axes.id[i]), 1, &at);
        item->env.axis[item->env.n] = over->axes.id[i];
        item->env.at[item->env.n++] = at;
    }
    Way of_x = {.operand = 0, .z = z, .factor = arena_printf(E->arena, "(1.0f/%lld)", n)}, of_k = {.operand = 1, .z = k};
    each_fill(item, each, down, &of_x);
    each_fill(item, each, down, &of_k);
    scope_line(each, "fft_v(FFT_ADD, %s, %s, %s, (float *)%s, %lldL, %d, 0);", z, k, sum, item->tw, n, f->c.radix);
    for (size_t i = over->axes.n; i-- > 0;)
        scope_close(E, chain[i]);
    item->env.n = (uint8_t)(item->env.n - over->axes.n);
    scope_line(s, "fft_v(FFT_INVERSE, %s, %s, %s, (float *)%s, %lldL, %d, 0);", sum, sum, sum, item->tw, n, f->c.radix);
    each_fill(item, s, f->c.circular ? up_around : up, sum);
}

static void fft_body(const Fft *f, const Space *space, Emitter *E)
{
    Ix at, group = ix_const(E->ix, 0), row;
    Scope *s = loop_items(E, "item", f->rows * f->groups, &at);
    row = at;
    if (f->groups > 1) {                    // the rows that meet one spectrum follow each other
        group = f->rows > 1 ? ix_div(E->ix, at, f->rows) : at;
        row = f->rows > 1 ? ix_mod(E->ix, at, f->rows) : ix_const(E->ix, 0);
    }
    Item item = open_item(E, f, space, s, group);
    item.env = env_of(E, f->v);
    loop_set(E, &item.env, f->other, f->n_other, row);
    const char *z = scope_name(E, s, "z");
    long long n = (long long)f->c.n;
    scope_line(s, "float *%s = scratch;", z);
    if (f->both) {
        emit_both(&item, s, z);
    } else {
        Way way = {.operand = 0, .z = z};
        const char *spectra = emit_workspace(E, f->spectra, "spectra", DTYPE_F32, false);
        each_fill(&item, s, down, &way);
        scope_line(s, "fft_v(FFT_CONVOLVE, %s, (float *)%s + %s*(%lldL*LANES), %s, (float *)%s, %lldL, %d, 0);", z, spectra,
                   ix_text(E, spectrum_of(E, f, &item.env, group)), 2 * n, z, item.tw, n, f->c.radix);
        each_fill(&item, s, f->c.circular ? up_around : up, z);
    }
    loop_items_end(E, s);
}

bool lower_conv_fft(Lower *L, const ConvText *text)
{
    Fft f;
    if (!plan_fft(L, text->v, &f))
        return false;
    find_skip(L, &text->space, &f);
    launch_twiddles(L, &f);
    if (!f.both)
        launch_spectra(L, &f);
    const Node *n = &L->g->node[text->v];
    const bool direct = conv_cuda_n(&f) == 0;
    Emitter *probe = lower_emitter(L, DIALECT_C, NULL);     // the operands of the direct text, for CUDA
    if (direct)
        conv_direct(text, probe);
    Emitter *E = lower_emitter(L, DIALECT_C, probe);
    fft_body(&f, &text->space, E);
    Emitter *cuda = lower_emitter(L, DIALECT_CUDA, E);
    if (direct)
        conv_direct(text, cuda);
    double sums = (double)loop_count(L->g, n->attr[4].axes.id, n->attr[4].axes.n);
    double levels = 64 - __builtin_clzll((unsigned long long)f.c.n), lanes = L->target->vector_floats;
    LowerText t = {.hint = n->hint ? n->hint : "conv", .c = E, .cuda = cuda, .n_work = f.rows * f.groups, .grain = 1,
                   .comment = arena_printf(L->arena, "%s, modulo X^%lld - i", text->comment, (long long)f.c.n),
                   .cuda_blocks = text->n_work, .cuda_threads = 128, .uses_scratch = true,
                   .scratch_bytes = (size_t)(f.both ? 6 : 2) * (size_t)f.c.n * (size_t)lanes * sizeof(float)};
    t.flops = 5 * (double)f.c.n * levels * (f.both ? 2 * sums + 1 : 2) * lanes * (double)t.n_work;
    t.bytes = (double)t.n_work * (double)f.c.n * lanes * 8 * (f.both ? sums : 1);
    if (!direct) {
        if (conv_is_long(&f))
            conv_long(L, &f, &text->space, cuda, &t);
        else
            (conv_is_mma(L->g, &f) ? conv_mma : conv_cuda)(&f, &text->space, cuda, &t);
        product_share_params(E, cuda);
    }
    lower_launch(L, &t);
    return true;
}
