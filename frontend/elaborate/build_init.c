// Initialisers: rows of inits.def, or any expression of constants, positions and values made of them. They are built
// into the same graph as the model; build_finish.c cuts the graph `init` out of it.
#include "build_functions.h"
#include "rng.h"

#include <math.h>
#include <string.h>

typedef struct Init {
    const char *path;
    const Type *type;                       // as stored
    unsigned    draws;
} Init;

// Uniform in [0, 1) over the whole parameter; a stream for each draw, named by the parameter's path.
static ValueId draw(Build *b)
{
    Init *in = b->init;
    const char *key = arena_printf(b->arena, "%s:init.%u", in->path, in->draws++);
    Type type = *in->type;
    type.dtype = DTYPE_F32;
    return random_uniform(b, graph_const(b->g, DTYPE_I32, 0), key, &type);
}

static ValueId times(Build *b, ValueId x, double factor)
{
    return factor == 1 ? x : graph_binary(b->g, OP_MUL, x, scalar(b, factor));
}

// Two independent normal numbers from two uniform ones.
// Source: Box and Muller, A note on the generation of random normal deviates, 1958.
static void normal_pair(Build *b, ValueId *out_first, ValueId *out_second)
{
    Graph *g = b->g;
    ValueId u = graph_binary(g, OP_SUB, scalar(b, 1), draw(b));                          // (0, 1]
    ValueId radius = graph_map(g, ACT_SQRT, times(b, graph_map(g, ACT_LOG, u), -2));
    ValueId angle = times(b, draw(b), 2 * M_PI);
    *out_first = graph_binary(g, OP_MUL, radius, graph_map(g, ACT_COS, angle));
    if (out_second)
        *out_second = graph_binary(g, OP_MUL, radius, graph_map(g, ACT_SIN, angle));
}

static bool number_arg(Build *b, const Expr *e, size_t i, double fallback, double *out)
{
    const Arg *a = e->kind == EXPR_CALL ? call_arg(e, i) : NULL;
    Number n;
    *out = fallback;
    if (!a)
        return true;
    if (!value_of_number(b, a->value, &n))
        return false;
    *out = n.value;
    return true;
}

static Val init_normal(Build *b, const Expr *e)
{
    double s;
    ValueId x;
    if (!number_arg(b, e, 0, 1, &s))
        return val_error();
    normal_pair(b, &x, NULL);
    return val_tensor(times(b, x, s), false);
}

static Val init_uniform(Build *b, const Expr *e)
{
    double low, high;
    if (!number_arg(b, e, 0, 1, &low) || !number_arg(b, e, 1, NAN, &high))
        return val_error();
    if (isnan(high)) {
        high = low;
        low = -low;
    }
    return val_tensor(graph_binary(b->g, OP_ADD, times(b, draw(b), high - low), scalar(b, low)), false);
}

// The first of four draws within two deviations; all four miss once in 230,000 times, and then the last is cut.
static Val init_truncated(Build *b, const Expr *e)
{
    double s;
    ValueId z[4];
    Graph *g = b->g;
    if (!number_arg(b, e, 0, 1, &s))
        return val_error();
    normal_pair(b, &z[0], &z[1]);
    normal_pair(b, &z[2], &z[3]);
    ValueId x = graph_binary(g, OP_MIN, graph_binary(g, OP_MAX, z[3], scalar(b, -2)), scalar(b, 2));
    for (int i = 2; i >= 0; i--) {
        ValueId inside = graph_binary(g, OP_LE, graph_map(g, ACT_ABS, z[i]), scalar(b, 2));
        x = graph_select(g, inside, z[i], x);
    }
    return val_tensor(times(b, x, s), false);
}

static Val init_zeros(Build *b, const Expr *e)
{
    (void)b;
    (void)e;
    return val_number(number_of(0));
}

static Val init_ones(Build *b, const Expr *e)
{
    (void)b;
    (void)e;
    return val_number(number_of(1));
}

static Val init_fill(Build *b, const Expr *e)
{
    Number n;
    return value_of_number(b, call_arg(e, 0)->value, &n) ? val_number(n) : val_error();
}

static Val init_orthogonal(Build *b, const Expr *e)
{
    double gain;
    ValueId x;
    const Type *t = b->init->type;
    if (!number_arg(b, e, 0, 1, &gain))
        return val_error();
    if (t->n_axes < 2) {
        report(b, e->at, "E0119", "`orthogonal` needs a parameter of at least two axes");
        return val_error();
    }
    normal_pair(b, &x, NULL);
    AxisId *rows = arena_array(b->arena, AxisId, 1);
    rows[0] = t->axis[0];
    Attr attr = {.kind = ATTR_AXES, .axes = {.n = 1, .id = rows}};
    return val_tensor(times(b, graph_add(b->g, OP_ORTHO, &x, 1, &attr, 1, NULL), gain), false);
}

static Val init_blocknormal(Build *b, const Expr *e)
{
    const Type *t = b->init->type;
    ValueId x;
    if (t->n_axes < 2) {
        report(b, e->at, "E0119", "`blocknormal` needs a parameter of at least two axes");
        return val_error();
    }
    normal_pair(b, &x, NULL);
    return val_tensor(times(b, x, 1 / sqrt((double)axis_size(b, t->axis[t->n_axes - 2]))), false);
}

// Standard deviation over some axes, with the number of elements less one below, as frameworks have it.
static ValueId deviation(Build *b, ValueId x, const AxisList *over)
{
    Graph *g = b->g;
    double n = 1 / one_over_size(b, over);
    ValueId mean = times(b, graph_reduce(g, RED_SUM, x, over->id, over->n), 1 / n);
    ValueId c = graph_binary(g, OP_SUB, x, mean);
    ValueId square = graph_reduce(g, RED_SUM, graph_binary(g, OP_MUL, c, c), over->id, over->n);
    return graph_map(g, ACT_SQRT, times(b, square, 1 / (n > 1 ? n - 1 : 1)));
}

// Rows of one length, times the deviation that the whole had (Csordas et al. 2023: routers of feed-forward experts) or that each
// row had (the same, 2024: routers of attention), over the deviation of what came out.
static Val init_renorm(Build *b, const Expr *e)
{
    AxisList over, all;
    Graph *g = b->g;
    Val x = value_of(b, call_arg(e, 0)->value);
    if (x.kind != VAL_TENSOR || !call_over(b, e, x, &over))
        return val_error();
    x = to_float(b, x);
    const Arg *keep = call_named(e, "keep");
    const char *word = !keep ? "whole" : keep->value->kind == EXPR_NAME ? keep->value->text : "";
    if (strcmp(word, "whole") && strcmp(word, "rows")) {
        report(b, keep->at, "E0119", "`renorm` keeps the deviation of the `whole` or of its `rows`");
        return val_error();
    }
    axes_of(b, val_tensor(x.id, false), &all);
    ValueId square = graph_reduce(g, RED_SUM, graph_binary(g, OP_MUL, x.id, x.id), over.id, over.n);
    ValueId y = graph_binary(g, OP_DIV, x.id, graph_map(g, ACT_SQRT, square));
    ValueId wanted = deviation(b, x.id, strcmp(word, "rows") == 0 ? &over : &all);
    ValueId scale = graph_binary(g, OP_DIV, wanted, deviation(b, y, &all));
    return val_tensor(graph_binary(g, OP_MUL, y, scale), false);
}

static bool one_axis(Build *b, const Expr *e, AxisId *out)
{
    AxisList axes = {0};
    if (!axes_read(b, call_arg(e, 0)->value, &axes) || axes.n != 1)
        return false;
    *out = axis_stored(b, axes.id[0]);
    return true;
}

static Val init_unit(Build *b, const Expr *e)
{
    AxisId axis;
    if (!one_axis(b, e, &axis))
        return val_error();
    return val_tensor(graph_binary(b->g, OP_EQ, graph_index(b->g, axis), graph_const(b->g, DTYPE_I32, 0)), true);
}

static Val init_ramp(Build *b, const Expr *e)
{
    AxisId axis;
    if (!one_axis(b, e, &axis))
        return val_error();
    return val_tensor(times(b, graph_cast(b->g, DTYPE_F32, graph_index(b->g, axis)), M_PI), true);
}

static Val init_loguniform(Build *b, const Expr *e)
{
    double low, high;
    if (!number_arg(b, e, 0, 1, &low) || !number_arg(b, e, 1, 1, &high))
        return val_error();
    if (low <= 0 || high <= 0) {
        report(b, e->at, "E0119", "`loguniform` needs two numbers above 0");
        return val_error();
    }
    ValueId x = graph_binary(b->g, OP_ADD, times(b, draw(b), log(high) - log(low)), scalar(b, log(low)));
    return val_tensor(graph_map(b->g, ACT_EXP, x), false);
}

static int64_t common_factor(int64_t a, int64_t c)
{
    while (c) {
        int64_t r = a % c;
        a = c;
        c = r;
    }
    return a;
}

// A permutation of the table's entries, (a*v + c) mod V with a and V coprime, then mod E: every expert gets V/E entries,
// rounded down or up. Each place along a second axis has its own a and c.
static ValueId hash_column(Build *b, AxisId entries, int64_t experts, uint32_t key)
{
    Graph *g = b->g;
    int64_t n = axis_size(b, entries), most = INT32_MAX / n - 1;
    most = most < n ? most : n;
    int64_t a = most > 2 ? most / 2 + rng_bits(key, 0) % (most - most / 2) : 1, c = rng_bits(key, 1) % n;
    while (a > 1 && common_factor(a, n) != 1)
        a--;
    ValueId v = graph_binary(g, OP_MUL, graph_index(g, entries), graph_const(g, DTYPE_I32, (double)a));
    v = graph_binary(g, OP_ADD, v, graph_const(g, DTYPE_I32, (double)c));
    v = graph_binary(g, OP_MOD, v, graph_const(g, DTYPE_I32, (double)n));
    return graph_binary(g, OP_MOD, v, graph_const(g, DTYPE_I32, (double)experts));
}

static Val init_balanced_hash(Build *b, const Expr *e)
{
    AxisId experts;
    double seed;
    const Type *t = b->init->type;
    Graph *g = b->g;
    if (!one_axis(b, e, &experts) || !call_number(b, e, "seed", 0, &seed))
        return val_error();
    int64_t columns = t->n_axes == 2 ? axis_size(b, t->axis[1]) : 1;
    if (t->dtype != DTYPE_I32 || t->n_axes < 1 || t->n_axes > 2 || axis_size(b, t->axis[0]) > INT32_MAX / 2 || columns > 256) {
        report(b, e->at, "E0119", "`balanced_hash` needs a state: int[V] or int[V,Q], with Q up to 256");
        return val_error();
    }
    ValueId table = 0;
    for (int64_t q = 0; q < columns; q++) {
        ValueId column = hash_column(b, t->axis[0], axis_size(b, experts), rng_key((uint32_t)seed, 0, (uint32_t)q));
        if (t->n_axes == 1)
            return val_tensor(column, false);
        ValueId here = graph_binary(g, OP_EQ, graph_index(g, t->axis[1]), graph_const(g, DTYPE_I32, (double)q));
        table = graph_select(g, here, column, table ? table : column);
    }
    return val_tensor(table, false);
}

// The host fills this leaf when it knows how often each token occurs (engine_init.c).
static Val init_frequency_hash(Build *b, const Expr *e)
{
    AxisId experts;
    const Type *t = b->init->type;
    if (!one_axis(b, e, &experts))
        return val_error();
    if (t->dtype != DTYPE_I32 || t->n_axes != 1) {
        report(b, e->at, "E0119", "`frequency_hash` needs a state: int[V]");
        return val_error();
    }
    const char *name = arena_printf(b->arena, INIT_FREQUENCY_HASH "%lld", (long long)axis_size(b, experts));
    return val_tensor(graph_leaf(b->g, OP_ARG, name, *t), false);
}

typedef struct InitRow {
    const char *name;
    unsigned    min, max;
    const char *named;
    Val       (*build)(Build *b, const Expr *e);
    const char *summary;
} InitRow;

#define INIT(name, min, max, named, build, summary) {name, min, max, named, init_##build, summary},
static const InitRow init_row[] = {
#include "inits.def"
    {NULL, 0, 0, NULL, NULL, NULL}
};
#undef INIT

bool init_call(Build *b, const Expr *e, Val *out)
{
    const char *name = e->kind == EXPR_NAME ? e->text : e->kind == EXPR_CALL && e->a->kind == EXPR_NAME ? e->a->text : NULL;
    const InitRow *row = init_row;
    while (name && row->name && strcmp(row->name, name) != 0)
        row++;
    if (!name || !row->name)
        return false;
    unsigned n = 0;
    *out = val_error();
    for (const Arg *a = e->kind == EXPR_CALL ? e->args : NULL; a; a = a->next) {
        if (!a->name)
            n++;
        else if (!strstr(row->named, arena_printf(b->arena, " %s ", a->name->text))) {
            report(b, a->at, "E0222", "`%s` has no argument `%s`", row->name, a->name->text);
            return true;
        }
    }
    if (n < row->min || n > row->max) {
        if (report(b, e->at, "E0223", "`%s` takes %u argument%s, and %u are given", row->name, row->max,
                   row->max == 1 ? "" : "s", n))
            diag_help(b->diag, "%s", row->summary);
        return true;
    }
    b->g->at = e->at;
    *out = row->build(b, e);
    return true;
}

ValueId init_value(Build *b, const Expr *e, const char *path, const Type *type)
{
    Init in = {.path = path, .type = type};
    struct Init *outer = b->init;
    Val v;
    b->init = &in;
    if (e) {
        v = value_of(b, e);
    } else {                                // the default: normal(0.02)
        ValueId x;
        normal_pair(b, &x, NULL);
        v = val_tensor(times(b, x, 0.02), false);
    }
    b->init = outer;
    if (v.kind == VAL_NUMBER)
        v = to_dtype(b, v, type->dtype);
    if (v.kind == VAL_ERROR)
        return 0;
    AxisList axes;
    axes_of(b, v, &axes);
    bool fits = v.kind == VAL_TENSOR;
    for (size_t i = 0; i < axes.n && fits; i++)
        fits = type_has(type, axes.id[i]);
    if (!fits) {
        if (report(b, e->at, "E0119", "the initial value has axes that the parameter lacks")) {
            label_axes(b, e->at, v);
            AxisList want = {.n = type->n_axes};
            memcpy(want.id, type->axis, type->n_axes * sizeof *want.id);
            diag_note(b->diag, "the parameter is %s", list_text(b, &want));
        }
        return 0;
    }
    return spread(b, to_dtype(b, v, type->dtype).id, type->axis, type->n_axes);
}
