// CONV kernels: a convolution (fftconv) and what follows it element by element. Short filters are summed directly; long ones
// go through transforms (lower_conv_fft.c).
#include "lower_conv.h"

#include "emit_parts.h"
#include "lower_product.h"

typedef struct Direct {
    const ConvText *text;
    Env     env;
    AxisId  last;
} Direct;

void conv_store(Emitter *E, Scope *at, const Space *space, ValueId v, const Env *env, Val y)
{
    emit_bind(E, at, v ? v : space->anchor, env, y);
    epilogue_store(E, at, space, env);
}

static void direct_step(Emitter *E, Scope *s, Ix at, void *user)
{
    Direct *d = user;
    if (d->last)
        env_set(&d->env, d->last, at);
    Val y = val_float(E, emit_value(E, s, d->text->v, &d->env));
    conv_store(E, s, &d->text->space, 0, &d->env, val_named(E, s, y, "y"));
}

// A work item is a row of the result: its last axis runs in lanes, each with its own sum.
void conv_direct(const ConvText *text, Emitter *E)
{
    Ix item;
    Scope *row = loop_items(E, "row", text->n_work, &item);
    const Type *type = &E->g->node[text->v].type;
    Direct d = {.text = text, .env = env_of(E, text->v)};
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

static void lower_direct(Lower *L, const ConvText *text)
{
    const Node *n = &L->g->node[text->v];
    const Attr *over = &n->attr[4];
    int64_t count = 0;
    LowerText t = {.hint = n->hint ? n->hint : "conv", .comment = text->comment, .n_work = text->n_work, .grain = 1,
                   .cuda_blocks = text->n_work, .cuda_threads = 128};
    t.c = lower_emitter(L, DIALECT_C, NULL);
    conv_direct(text, t.c);
    t.cuda = lower_emitter(L, DIALECT_CUDA, t.c);
    conv_direct(text, t.cuda);
    if (type_count(L->g, &n->type, &count))
        t.flops = 2 * (double)count * (double)graph_size(L->g, n->attr[1].axis) *
                  (double)loop_count(L->g, over->axes.id, over->axes.n);
    t.bytes = 4 * (double)count;
    lower_launch(L, &t);
}

static void describe(const Graph *g, ValueId v, Text *out)
{
    lower_describe(g, v, out);
    text_add(out, " = convolution of ");
    lower_describe(g, g->node[v].in[0], out);
    text_add(out, " by ");
    lower_describe(g, g->node[v].in[1], out);
}

bool lower_conv(Lower *L)
{
    ConvText text = {.space = product_space(L)};
    text.v = text.space.anchor;
    text.n_work = rows_of(L->g, text.v);
    Text comment = text_make(L->arena);
    describe(L->g, text.v, &comment);
    for (size_t m = 0; m < L->n_members; m++)
        if (L->member[m] != text.v) {
            text_add(&comment, "\nand ");
            lower_describe(L->g, L->member[m], &comment);
        }
    text.comment = text_str(&comment);
    if (!lower_conv_fft(L, &text))
        lower_direct(L, &text);
    return true;
}
