// Long convolutions, position by position. See incremental.h.
//
// A step cannot sum over all earlier positions, nor wait for a transform. So the positions are cut into blocks of b. With
// y[t] = sum over u of x[u] k[t - u] (and t0 the start of the block that t stands in), a step adds up
//
//     y[t] = past[t] + sum over u from t0 to t of x[u] k[t - u]           b terms
//
// and when a block is full the graph `block` adds what it means for all later positions, in one convolution by transforms:
//
//     past[t] += sum over u in the block of x[u] k[t - u]                 O(T log T), once in b steps
//
// With b about sqrt(T log T) that is O(sqrt(T log T)) for a token, and exact: each pair of positions is counted once, in one of
// the two sums. main fills the past of a prompt's full blocks in the same way. Filters not much longer than a block are summed
// directly. This is the two-level form of the relaxed multiplication of van der Hoeven, Relax, but don't be too lazy, 2002.
#include "incremental.h"

static int64_t block_of(int64_t n_positions)
{
    int64_t log = 1, block = 8;
    while ((INT64_C(1) << log) < n_positions)
        log++;
    while (block*block <= n_positions*log)  // the largest power of two up to 2*sqrt(T log T)
        block *= 2;
    return block;
}

static bool is_long(const Steps *s, const Node *n)
{
    return graph_size(s->in, n->attr[1].axis) > 2*block_of(graph_size(s->in, s->time));
}

bool step_conv_plan(Steps *s, ValueId v)
{
    const Node *n = &s->in->node[v];
    if (step_varies(s, n->in[1]) || n->attr[5].i || n->attr[3].i > 0)
        return false;                       // the tokens make the filter; it goes round, or looks ahead
    step_want_whole(s, n->in[0]);
    step_want_whole(s, n->in[1]);
    s->forms[v].is_long = is_long(s, n);
    return true;
}

static ValueId number(Graph *g, int64_t i)
{
    return graph_const(g, DTYPE_I32, (double)i);
}

// The positions of the block that the first new one stands in: int[block]. The last block may go on beyond the last position.
static ValueId block_positions(Steps *s, ValueId position, int64_t size)
{
    Graph *g = s->rw.out;
    const AxisId axis = graph_axis(g, "block", AXIS_FEATURE, block_of(size), 0);
    const ValueId first = graph_binary(g, OP_SUB, position, graph_binary(g, OP_MOD, position, number(g, block_of(size))));
    return graph_binary(g, OP_ADD, first, graph_index(g, axis));
}

static ValueId below(Graph *g, ValueId at, int64_t size)
{
    return graph_select(g, graph_binary(g, OP_LT, at, number(g, size)), at, number(g, -1));
}

// The order of axes is main's, in which channels lie side by side.
static ValueId in_order(Graph *g, ValueId y, const Type *type)
{
    if (y && type_same_axes(&g->node[y].type, type))
        g->node[y].type = *type;
    return y;
}

// The sum over the filter's taps, or over the terms in the block, of x at `from` times k.
static ValueId sum_of_terms(Steps *s, const Node *n, ValueId from, ValueId k, AxisId summed, const Type *type)
{
    Graph *g = s->rw.out;
    AxisId over[MAX_AXES];
    size_t n_over = 0;
    over[n_over++] = summed;
    for (size_t i = 0; i < n->attr[4].axes.n; i++)
        over[n_over++] = n->attr[4].axes.id[i];
    return in_order(g, graph_contract(g, graph_take(g, s->rw.map[n->in[0]], from, n->attr[0].axis), k, over, n_over), type);
}

ValueId step_conv_rows(Steps *s, ValueId v, const Type *type)
{
    const Node *n = &s->in->node[v];
    Graph *g = s->rw.out;
    const int64_t size = graph_size(s->in, s->time), left = n->attr[3].i;
    const AxisId taps = n->attr[1].axis;
    const ValueId k = s->rw.map[n->in[1]], at = graph_binary(g, OP_ADD, s->place, number(g, left));
    ValueId y;
    if (!s->forms[v].is_long) {             // the filter may count its taps as x does its positions
        const AxisId tap = taps != n->attr[0].axis ? taps : graph_axis(g, "tap", AXIS_FEATURE, graph_size(s->in, taps), 0);
        const ValueId from = graph_binary(g, OP_SUB, at, graph_index(g, tap));
        y = sum_of_terms(s, n, from, tap == taps ? k : graph_rename(g, k, taps, tap), tap, type);
    } else {
        const ValueId from = block_positions(s, s->position, size);
        const ValueId near = graph_take(g, k, graph_binary(g, OP_SUB, at, from), taps);
        y = sum_of_terms(s, n, size % block_of(size) ? below(g, from, size) : from, near, g->node[from].type.axis[0], type);
        const ValueId past = graph_leaf(g, OP_STATE, s->forms[v].past, n->type);
        y = graph_binary(g, OP_ADD, graph_take(g, past, s->place, n->attr[2].axis), y);
    }
    return in_order(g, y, type);
}

// What a full block means for later positions. The convolution's results count from the block's start.
static void add_block(Steps *s, ValueId v, ValueId positions)
{
    const Node *n = &s->in->node[v];
    Graph *g = s->rw.out;
    const AxisId block = g->node[positions].type.axis[0];
    const AxisId lag = graph_axis(g, "lag", AXIS_FEATURE, graph_size(s->in, n->attr[2].axis), 0);
    rewrite_at(&s->rw, v);
    const ValueId x = graph_take(g, s->rw.map[n->in[0]], positions, n->attr[0].axis);
    Attr attr[6];
    for (size_t i = 0; i < 6; i++)
        attr[i] = n->attr[i];
    attr[0].axis = block;
    attr[2].axis = lag;
    const ValueId y = graph_fftconv(g, x, s->rw.map[n->in[1]], attr);
    const ValueId first = graph_at(g, positions, block, 0);
    const ValueId after = graph_binary(g, OP_SUB, graph_index(g, n->attr[2].axis), first);
    const ValueId past = graph_leaf(g, OP_STATE, s->forms[v].past, n->type);
    const ValueId sum = graph_binary(g, OP_ADD, past, graph_take(g, y, after, lag));
    if (sum)
        g->node[sum].type = n->type;
    graph_output(g, OUTPUT_NEXT, s->forms[v].past, sum);
}

bool step_has_blocks(const Steps *s)
{
    bool any = false;
    for (ValueId v = 1; v < s->in->n_nodes; v++)
        any |= s->forms[v].is_long;
    return any;
}

void step_block_emit(Steps *s)
{
    Graph *g = s->rw.out;
    const AxisId block = graph_axis(g, "block", AXIS_FEATURE, block_of(graph_size(s->in, s->time)), 0);
    const ValueId positions = graph_leaf(g, OP_ARG, BLOCK_NAME, type_make(DTYPE_I32, &block, 1));
    for (ValueId v = 1; v < s->in->n_nodes; v++)
        if (s->forms[v].is_long)
            add_block(s, v, positions);
}

// In main: the past of the full blocks among the tokens that are known.
void step_conv_fill(const Steps *s, Graph *g)
{
    const int64_t size = graph_size(s->in, s->time);
    ValueId full = 0;
    for (ValueId v = 1; v < s->in->n_nodes; v++) {
        const Node *n = &s->in->node[v];
        if (!s->forms[v].is_long)
            continue;
        if (!full) {
            const ValueId known = graph_leaf(g, OP_ARG, POSITION_NAME, type_make(DTYPE_I32, NULL, 0));
            full = graph_binary(g, OP_SUB, known, graph_binary(g, OP_MOD, known, number(g, block_of(size))));
        }
        g->at = n->at;
        g->layer = n->layer;
        const ValueId inside = graph_binary(g, OP_LT, graph_index(g, n->attr[0].axis), full);
        const ValueId x = graph_select(g, inside, n->in[0], graph_const(g, DTYPE_F32, 0));
        if (!x)
            continue;
        g->node[x].type = s->in->node[n->in[0]].type;
        const ValueId past = graph_fftconv(g, x, n->in[1], n->attr);
        g->node[past].type = n->type;
        graph_output(g, OUTPUT_NEXT, s->forms[v].past, past);
    }
    g->at = (Span){0};
    g->layer = NULL;
}
