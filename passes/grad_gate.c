// The gradient of a gate without the values that it gates.
//
// y = w f with f = h @[F] W, W weights, w one number for each row of f (the gate of an expert's result). As it stands,
// dw = sum over D of dy f: the product would be kept for the backward pass, one row of D for each choice. But
//
//     u = dy @[D] W        dw = sum over F of u h        dh = w u
//
// and u is the product that dh needs anyway: h is kept in any case, f is not. Terms that are added to the product hand back
// their own part. (Guo et al. 2025, SonicMoE, has the same equation; here it is a rule for every such product.)
#include "grad_rules.h"

struct GradGate {
    ValueId   product, dy, u;
    size_t    operand;                      // h
    GradGate *next;
};

static size_t n_readers(const Grad *gr, ValueId v)
{
    size_t n = 0;
    for (ValueId id = v + 1; id < gr->n_values; id++)
        for (size_t i = 0; i < gr->g->node[id].n_in; i++)
            n += gr->g->node[id].in[i] == v;
    return n;
}

// A parameter, or experts' parameters at what a token chose.
static bool is_weight(const Graph *g, ValueId v)
{
    while (g->node[v].op == OP_TAKE || g->node[v].op == OP_CAST || g->node[v].op == OP_RENAME)
        v = g->node[v].in[0];
    return g->node[v].op == OP_PARAM;
}

// Whether the axes that y has and v lacks are, as far as f has them, exactly over[0..n).
static bool sums_columns(const Graph *g, ValueId y, ValueId v, ValueId f, const AxisId *over, size_t n)
{
    AxisId gone[MAX_AXES];
    size_t n_gone = axes_minus(&g->node[y].type, &g->node[v].type, gone), n_in_f = 0;
    for (size_t i = 0; i < n_gone; i++) {
        bool found = false;
        for (size_t j = 0; j < n; j++)
            found |= gone[i] == over[j];
        if (type_has(&g->node[f].type, gone[i]) && !found)
            return false;
        n_in_f += found;
    }
    return n > 0 && n_in_f == n;
}

// Which operand of product f is h, if f is such a product: 0 or 1; -1: none.
static int gated_rows(const Grad *gr, ValueId y, ValueId v, ValueId f)
{
    const Node *n = &gr->g->node[f];
    if (f >= gr->n_values || n->op != OP_CONTRACT || n->in[0] == n->in[1] || n_readers(gr, f) != 1)
        return -1;
    for (int i = 0; i < 2; i++) {
        AxisId over[MAX_AXES], chosen[MAX_AXES];
        size_t n_chosen, n_over = grad_back_axes(gr, f, (size_t)i, over, chosen, &n_chosen);
        if (grad_wants(gr, n->in[i]) && is_weight(gr->g, n->in[1 - i]) && sums_columns(gr->g, y, v, f, over, n_over))
            return i;
    }
    return -1;
}

static bool is_gated_sum(const Grad *gr, ValueId f)
{
    return f < gr->n_values && gr->g->node[f].op == OP_ADD && n_readers(gr, f) == 1;
}

static bool has_product(const Grad *gr, ValueId y, ValueId v, ValueId f)
{
    if (gated_rows(gr, y, v, f) >= 0)
        return true;
    const Node *n = &gr->g->node[f];
    return is_gated_sum(gr, f) && (has_product(gr, y, v, n->in[0]) || has_product(gr, y, v, n->in[1]));
}

// The sum of dy f over the axes that v lacks.
static ValueId sum_of(Grad *gr, ValueId y, ValueId v, ValueId dy, ValueId f)
{
    Graph *g = gr->g;
    int rows = gated_rows(gr, y, v, f);
    if (rows < 0 && is_gated_sum(gr, f)) {
        ValueId a = sum_of(gr, y, v, dy, g->node[f].in[0]), b = sum_of(gr, y, v, dy, g->node[f].in[1]);
        return graph_binary(g, OP_ADD, a, b);
    }
    ValueId d = grad_sum_but(gr, y, v, f, dy);
    if (rows < 0)
        return grad_sum_late(gr, v, graph_binary(g, OP_MUL, d, f));
    GradGate *gate = arena_new(gr->scratch, GradGate);
    *gate = (GradGate){.product = f, .dy = d, .u = grad_back(gr, f, (size_t)rows, d), .operand = (size_t)rows, .next = gr->gate};
    gr->gate = gate;
    return grad_sum_late(gr, v, graph_binary(g, OP_MUL, gate->u, g->node[f].in[rows]));
}

bool grad_gate(Grad *gr, ValueId y, ValueId v, ValueId dy, ValueId f)
{
    if (!grad_wants(gr, v) || !has_product(gr, y, v, f))
        return false;
    grad_push(gr, y, v, sum_of(gr, y, v, dy, f));
    return true;
}

ValueId grad_gated(Grad *gr, ValueId y, size_t operand, ValueId dy)
{
    const Node *n = &gr->g->node[dy];
    for (const GradGate *gate = gr->gate; gate; gate = gate->next)
        for (size_t i = 0; i < 2 && gate->product == y && gate->operand == operand && n->op == OP_MUL; i++)
            if (n->in[i] == gate->dy)
                return graph_binary(gr->g, OP_MUL, gate->u, n->in[1 - i]);
    return 0;
}
