// CONV kernels: fftconv. Short filters are summed directly; long ones go through a transform (lower_conv_fft.c).
#include "lower_conv.h"

#include "emit_parts.h"

typedef struct Direct {
    ValueId v;
    Env     env;
    AxisId  last;
} Direct;

static void direct_step(Emitter *E, Scope *s, Ix at, void *user)
{
    Direct *d = user;
    if (d->last)
        env_set(&d->env, d->last, at);
    emit_store(E, s, d->v, &d->env, emit_value(E, s, d->v, &d->env));
}

// A work item is a row of the result: its last axis runs in lanes, each with its own sum.
static void direct_body(ValueId v, int64_t n_work, Emitter *E)
{
    Ix item;
    Scope *row = loop_items(E, "row", n_work, &item);
    const Type *type = &E->g->node[v].type;
    Direct d = {.v = v, .env = env_of(E, v)};
    if (type->n_axes) {
        d.last = type->axis[type->n_axes - 1];
        loop_set(E, &d.env, type->axis, type->n_axes - 1u, item);
        LoopSpan span = {.hint = loop_hint(E, d.last), .size = graph_size(E->g, d.last)};
        loop_lanes(E, row, &span, direct_step, &d);
    } else {
        Scope *single = loop_single(E, row);
        direct_step(E, single, 0, &d);
        loop_single_end(E, row, single);
    }
    loop_items_end(E, row);
}

static int64_t rows_of(const Graph *g, ValueId v)
{
    const Type *type = &g->node[v].type;
    return loop_count(g, type->axis, type->n_axes ? type->n_axes - 1u : 0);
}

static void lower_direct(Lower *L, ValueId v)
{
    const Node *n = &L->g->node[v];
    const Attr *over = &n->attr[4];
    int64_t n_work = rows_of(L->g, v), count = 0;
    Text comment = text_make(L->arena);
    conv_describe(L->g, v, &comment);
    LowerText t = {.hint = n->hint ? n->hint : "conv", .comment = text_str(&comment), .n_work = n_work, .grain = 1,
                   .cuda_blocks = n_work, .cuda_threads = 128};
    t.c = lower_emitter(L, DIALECT_C, NULL);
    direct_body(v, n_work, t.c);
    t.cuda = lower_emitter(L, DIALECT_CUDA, t.c);
    direct_body(v, n_work, t.cuda);
    if (type_count(L->g, &n->type, &count))
        t.flops = 2 * (double)count * (double)graph_size(L->g, n->attr[1].axis) *
                  (double)loop_count(L->g, over->axes.id, over->axes.n);
    t.bytes = 4 * (double)count;
    lower_launch(L, &t);
}

void conv_describe(const Graph *g, ValueId v, Text *out)
{
    lower_describe(g, v, out);
    text_add(out, " = convolution of ");
    lower_describe(g, g->node[v].in[0], out);
    text_add(out, " by ");
    lower_describe(g, g->node[v].in[1], out);
}

bool lower_conv(Lower *L)
{
    for (size_t m = 0; m < L->n_members; m++)
        if (!lower_conv_fft(L, L->member[m], direct_body, rows_of(L->g, L->member[m])))
            lower_direct(L, L->member[m]);
    return true;
}
