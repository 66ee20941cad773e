// See random_graph.h. An op is drawn, then operands and attributes that have a chance to fit; the shape rules, asked
// quietly, decide. What does not fit is drawn again.
#include "random_graph.h"
#include "rng.h"
#include "shape.h"

#include <string.h>

enum { POOL = 16, MAX_ELEMENTS = 4096, MAX_RESULT_AXES = 5 };

typedef struct Draw {
    Graph   *g;
    uint64_t state;
    const RandomGraphOptions *options;
    AxisId   axis[POOL];
} Draw;

static uint32_t draw(Draw *d, size_t n)
{
    d->state = d->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((d->state >> 33) % n);
}

static void make_axes(Draw *d)
{
    static const int64_t sizes[] = {1, 2, 3, 4, 6, 12, 2, 3, 2, 5};
    for (int i = 0; i < POOL; i++) {
        char name[16];
        snprintf(name, sizeof name, "%c", 'A' + i);
        int64_t size = sizes[draw(d, sizeof sizes / sizeof *sizes)];
        AxisId twin = 0;
        if (i > 3 && draw(d, 4) == 0) {
            twin = d->axis[draw(d, (size_t)i)];
            size = graph_size(d->g, twin);
            snprintf(name, sizeof name, "%s'", d->g->axis[twin].name);
        }
        d->axis[i] = graph_axis(d->g, name, (AxisKind)draw(d, AXIS_KIND_COUNT), size, twin);
    }
}

static ValueId draw_value(Draw *d)
{
    size_t n = d->g->n_nodes - 1;
    return n < 12 || draw(d, 3) == 0 ? 1 + draw(d, n) : (ValueId)(1 + n - 12 + draw(d, 12));    // mostly newer ones
}

static ValueId draw_value_of(Draw *d, DType dtype)
{
    for (int i = 0; i < 20; i++) {
        ValueId v = draw_value(d);
        if (d->g->node[v].type.dtype == dtype)
            return v;
    }
    return draw_value(d);
}

static AxisId draw_axis_of(Draw *d, ValueId v)
{
    const Type *type = &d->g->node[v].type;
    return type->n_axes && draw(d, 8) ? type->axis[draw(d, type->n_axes)] : d->axis[draw(d, POOL)];
}

static Type draw_type(Draw *d, DType dtype)
{
    Type type = {.dtype = dtype};
    size_t wanted = draw(d, 4);
    for (size_t i = 0; i < wanted; i++) {
        AxisId a = d->axis[draw(d, POOL)];
        if (!type_has(&type, a))
            type.axis[type.n_axes++] = a;
    }
    return type;
}

// `n` axes, of the value or of the pool.
static Attr draw_axes(Draw *d, ValueId of, size_t n)
{
    AxisId *list = arena_array(d->g->arena, AxisId, n);
    for (size_t i = 0; i < n; i++)
        list[i] = of ? draw_axis_of(d, of) : d->axis[draw(d, POOL)];
    return (Attr){.kind = ATTR_AXES, .axes = {(uint8_t)n, list}};
}

// All axes of the value and perhaps one more, in another order.
static Attr draw_wider(Draw *d, ValueId x)
{
    Type type = d->g->node[x].type;
    AxisId extra = d->axis[draw(d, POOL)];
    if (!type_has(&type, extra) && type.n_axes < MAX_RESULT_AXES)
        type.axis[type.n_axes++] = extra;
    for (size_t i = type.n_axes; i > 1; i--) {
        size_t k = draw(d, i);
        AxisId swap = type.axis[i - 1];
        type.axis[i - 1] = type.axis[k];
        type.axis[k] = swap;
    }
    AxisId *list = arena_array(d->g->arena, AxisId, type.n_axes);
    memcpy(list, type.axis, type.n_axes * sizeof *list);
    return (Attr){.kind = ATTR_AXES, .axes = {type.n_axes, list}};
}

static Attr draw_attr(Draw *d, Op op, size_t i, const ValueId *in)
{
    AttrKind kind = op_row[op].attr[i].kind;
    ValueId x = op_row[op].n_in ? in[0] : 0;
    static const Act tame[] = {ACT_SIN, ACT_COS, ACT_TANH, ACT_SIGMOID, ACT_RELU, ACT_GELU, ACT_SILU, ACT_ABS, ACT_ERF};
    switch (kind) {
    case ATTR_INT:
        if (op == OP_FFTCONV && i == 5)
            return (Attr){.kind = kind, .i = draw(d, 2)};
        return (Attr){.kind = kind, .i = op == OP_RANDOM ? draw(d, 100) : (int64_t)draw(d, 4)};
    case ATTR_FLOAT: return (Attr){.kind = kind, .f = draw(d, 2) ? (double)draw(d, 5) : (double)draw(d, 1000) / 333.0 - 1.5};
    case ATTR_AXIS:  return (Attr){.kind = kind, .axis = i == 0 && x ? draw_axis_of(d, x) : op == OP_FFTCONV && i == 1 ? draw_axis_of(d, in[1]) : d->axis[draw(d, POOL)]};
    case ATTR_ACT:
        return (Attr){.kind = kind, .act = d->options->tame ? tame[draw(d, sizeof tame / sizeof *tame)]
                                                            : (Act)draw(d, ACT_COUNT)};
    case ATTR_RED:   return (Attr){.kind = kind, .red = (Red)draw(d, RED_COUNT)};
    case ATTR_DTYPE: return (Attr){.kind = kind, .dtype = !d->options->with_bf16 || draw(d, 2) ? DTYPE_F32 : DTYPE_BF16};
    case ATTR_NAME:  return (Attr){.kind = kind, .name = arena_printf(d->g->arena, "%c%zu", 'a' + (int)draw(d, 26), d->g->n_nodes)};
    case ATTR_AXES:
        if (op == OP_EXPAND)
            return draw_wider(d, x);
        if (op == OP_SPLIT || op == OP_MERGE || op == OP_WINDOW || op == OP_UNWINDOW)
            return draw_axes(d, op == OP_SPLIT || op == OP_WINDOW ? 0 : x, 2);
        if (op == OP_RENAME)
            return draw_axes(d, i == 0 ? x : 0, 1);
        return draw_axes(d, x, op == OP_CONTRACT || op == OP_FFTCONV || op == OP_PUT_ADD || op == OP_REDUCE || (op_row[op].flags & OP_FLAG_ROUTING) ? draw(d, 3) : 1);
    }
    return (Attr){0};
}

// Whole numbers below the size of the axis.
static ValueId in_range(Draw *d, ValueId index, AxisId axis)
{
    Graph *g = d->g;
    if (g->node[index].type.dtype != DTYPE_I32 || graph_size(g, axis) == 0)
        return index;
    const ValueId size = graph_const(g, DTYPE_I32, (double)graph_size(g, axis)), inside = graph_binary(g, OP_MOD, index, size);
    return graph_select(g, graph_binary(g, OP_LT, inside, size), inside, graph_const(g, DTYPE_I32, 0));     // what was no number is 0
}

static bool is_wanted(const Draw *d, Op op)
{
    if (op_row[op].flags & OP_FLAG_HOST)
        return d->options->with_host_ops;
    if (d->options->tame && (op_row[op].flags & OP_FLAG_ROUTING))     // a rounding decides who is larger
        return false;
    return !d->options->tame || (op != OP_DIV && op != OP_POW && op != OP_MOD && op != OP_ATAN2 && op != OP_SLOPE);
}

static void draw_operands(Draw *d, Op op, ValueId *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        in[i] = i == 0 ? draw_value(d) : draw_value_of(d, d->g->node[in[op == OP_SELECT && i == 2]].type.dtype);
    if (op == OP_RANDOM)
        for (size_t i = 0; i < n; i++)
            in[i] = graph_const(d->g, DTYPE_I32, (double)draw(d, 1000));
    if (op == OP_TAKE || op == OP_PUT_ADD || op == OP_PUT)
        in[1] = draw_value_of(d, DTYPE_I32);
    if (op == OP_SELECT)
        in[0] = draw_value_of(d, DTYPE_F32);
}

static bool try_op(Draw *d, Op op)
{
    Graph *g = d->g;
    ValueId in[4];
    Attr attr[OP_MAX_ATTRS];
    size_t n = op_row[op].n_in == OP_ANY ? 1 + draw(d, 2) : op_row[op].n_in, n_attr = op_row[op].n_attr;
    draw_operands(d, op, in, n);
    for (size_t i = 0; i < n_attr; i++)
        attr[i] = draw_attr(d, op, i, in);
    Type declared = draw_type(d, op == OP_RANDOM || draw(d, 4) ? DTYPE_F32 : DTYPE_I32), type;
    if (op == OP_CONST && declared.dtype == DTYPE_I32)
        attr[0].f = (double)draw(d, 5);
    if (op == OP_CAST && g->node[in[0]].type.dtype == DTYPE_F32 && !d->options->with_bf16)
        attr[0].dtype = DTYPE_I32;
    if (op == OP_PUT) {                     // what is put has the axes of what could be taken
        ShapeCall take = {g, NULL, (Span){0}, OP_TAKE, in, 2, attr, n_attr, NULL};
        if (!shape_infer(&take, &type) || type.n_axes > MAX_RESULT_AXES)
            return false;
        in[1] = in_range(d, in[1], attr[0].axis);
        in[2] = graph_take(g, in[0], in[1], attr[0].axis);
    }
    ShapeCall call = {g, NULL, (Span){0}, op, in, n, attr, n_attr, &declared};
    int64_t count;
    if (!shape_infer(&call, &type) || type.n_axes > MAX_RESULT_AXES || !type_count(g, &type, &count) || count > MAX_ELEMENTS)
        return false;
    if (op == OP_TAKE || op == OP_PUT_ADD)
        in[1] = in_range(d, in[1], op == OP_TAKE ? attr[0].axis : attr[1].axis);
    ValueId v = graph_add(g, op, in, n, attr, n_attr, &declared);
    if (v && draw(d, 3) == 0)
        g->node[v].hint = arena_printf(g->arena, "h%u%s", v, draw(d, 5) ? "" : "'");
    return v != 0;
}

// What nobody uses is a result; in this way nothing is dead.
static void add_results(Draw *d)
{
    Graph *g = d->g;
    bool *used = arena_array(g->arena, bool, g->n_nodes);
    for (size_t i = 1; i < g->n_nodes; i++)
        for (size_t k = 0; k < g->node[i].n_in; k++)
            used[g->node[i].in[k]] = true;
    char name[24];
    size_t n = 0;
    for (ValueId i = 1; i < g->n_nodes; i++)
        if (!used[i]) {
            snprintf(name, sizeof name, "r%zu", n++);
            graph_output(g, OUTPUT_RESULT, name, i);
        }
}

Graph *random_graph(Arena *arena, Diag *diag, uint64_t seed, const RandomGraphOptions *options)
{
    static const RandomGraphOptions usual;
    Draw d = {.g = graph_make(arena, diag, "main"), .state = seed * 0x9e3779b97f4a7c15u + 1,
              .options = options ? options : &usual};
    make_axes(&d);
    for (int i = 0; i < 4; i++)
        graph_leaf(d.g, i % 2 ? OP_PARAM : OP_ARG, (const char *[]){"x", "w", "y", "v"}[i], draw_type(&d, DTYPE_F32));
    graph_leaf(d.g, OP_ARG, "i", draw_type(&d, DTYPE_I32));
    graph_index(d.g, d.axis[draw(&d, POOL)]);
    size_t wanted = d.options->n_nodes ? d.options->n_nodes : 24;
    for (size_t tries = 0; d.g->n_nodes <= wanted && tries < 200 * wanted; tries++) {
        Op op = (Op)(OP_ERROR + 1 + draw(&d, OP_COUNT - 1));
        if (is_wanted(&d, op))
            try_op(&d, op);
    }
    add_results(&d);
    return d.g;
}

const double *random_leaf(void *user, const Graph *g, const Node *leaf)
{
    int64_t n = 0;
    if (!type_count(g, &leaf->type, &n))
        return NULL;
    double *value = arena_array(user, double, (size_t)n + 1);
    uint32_t key = 17;
    for (const char *p = leaf->attr[0].name; *p; p++)
        key = rng_mix(key ^ (uint32_t)(unsigned char)*p);
    for (int64_t i = 0; i < n; i++) {
        double u = rng_uniform(key, (uint32_t)i);
        value[i] = leaf->type.dtype == DTYPE_I32 ? (double)(int)(u * 6) : u * 4 - 2;
    }
    return value;
}
