// Which elementwise values the backward part makes again because that costs next to nothing: the input of an activation
// is kept for its slope, so its value need not be; a norm's output follows from the norm's input and two numbers a row;
// a dropout mask follows from its key.
//
// A value is made again when it is elementwise and everything of its size that it depends on is there anyway: read by the
// backward part itself, or read more than once in the forward part (a residual stream), so that it is stored. Chains are
// looked through: what matters is where a chain begins. A chain that begins at a product with one reader (its bias and
// activation are that product's epilogue) is kept at its first value that the backward part reads.
#include "recompute.h"
#include "checked.h"

enum { MAX_CHAIN = 16 };                    // elementwise steps that are looked through

typedef struct Choice {
    const Graph *g;
    bool        *is_read;                   // by the backward part itself
    uint8_t     *n_readers;                 // in the forward part, counted to 2
} Choice;

static int64_t count_of(const Graph *g, ValueId v)
{
    int64_t n;
    return type_count(g, &g->node[v].type, &n) ? n : INT64_MAX;
}

static bool is_leaf(const Node *n)
{
    return op_row[n->op].n_in == 0;
}

// A parameter read at an index (an expert's, at what a token chose): no more to keep than the parameter and the index.
static bool is_taken_leaf(const Graph *g, const Node *n)
{
    return n->op == OP_TAKE && is_leaf(&g->node[n->in[0]]);
}

static bool is_cheap(const Node *n)
{
    return (op_row[n->op].flags & (OP_FLAG_POINTWISE | OP_FLAG_VIEW)) != 0;
}

// Operands that matter: not leaves, and not much smaller than the value (a row's statistics are kept gladly).
static size_t large_operands(const Graph *g, ValueId v, ValueId *out)
{
    const Node *n = &g->node[v];
    int64_t size = count_of(g, v);
    size_t found = 0;
    for (size_t i = 0; i < n->n_in && i < 3; i++) {
        bool seen = false;
        for (size_t j = 0; j < found; j++)
            seen |= out[j] == n->in[i];
        const Node *from = &g->node[n->in[i]];
        if (!seen && !is_leaf(from) && !is_taken_leaf(g, from) && count_of(g, n->in[i]) >= (size + 7) / 8)
            out[found++] = n->in[i];
    }
    return found;
}

// Whether v is there in the backward part at no cost: stored anyway, or following from what is.
static bool is_there(const Choice *c, ValueId v, size_t depth)
{
    const Node *n = &c->g->node[v];
    if (is_leaf(n) || c->is_read[v] || c->n_readers[v] > 1)
        return true;
    if (!is_cheap(n) || depth == MAX_CHAIN)
        return false;
    ValueId large[3];
    size_t n_large = large_operands(c->g, v, large);
    for (size_t i = 0; i < n_large; i++)
        if (!is_there(c, large[i], depth + 1))
            return false;
    return true;
}

static bool is_made_again(const Choice *c, ValueId v)
{
    ValueId large[3];
    size_t n_large = large_operands(c->g, v, large);
    // A sum of two large values that is stored anyway is a residual stream: made again, it would be made from the start.
    if (n_large > 1 && c->n_readers[v] > 1)
        return false;
    for (size_t i = 0; i < n_large; i++)
        if (!is_there(c, large[i], 0))
            return false;
    return true;
}

static Choice look(const Graph *g, const bool *forward, Arena *scratch)
{
    Choice c = {.g = g};
    c.is_read = arena_array(scratch, bool, g->n_nodes);
    c.n_readers = arena_array(scratch, uint8_t, g->n_nodes);
    for (ValueId id = 1; id < g->n_nodes; id++)
        for (size_t i = 0; i < g->node[id].n_in; i++) {
            ValueId v = g->node[id].in[i];
            if (!forward[id])
                c.is_read[v] = true;
            else if (c.n_readers[v] < 2)
                c.n_readers[v]++;
        }
    return c;
}

void recompute_mark_cheap(const Graph *g, const bool *forward, Arena *scratch, bool *again)
{
    Choice c = look(g, forward, scratch);
    bool *needed = arena_array(scratch, bool, g->n_nodes);
    for (ValueId id = (ValueId)g->n_nodes; id-- > 1;) {
        const Node *n = &g->node[id];
        if (!forward[id])
            continue;
        needed[id] |= c.is_read[id];
        if (needed[id] && !again[id] && is_taken_leaf(g, n))
            again[id] = true;
        if (needed[id] && !again[id] && (op_row[n->op].flags & OP_FLAG_POINTWISE) && !is_leaf(n))
            again[id] = is_made_again(&c, id);
        bool through = again[id] || (op_row[n->op].flags & OP_FLAG_VIEW);
        for (size_t i = 0; needed[id] && through && i < n->n_in; i++)
            needed[n->in[i]] = true;
    }
    // A view of what is made again is a view of the copy.
    for (ValueId id = 1; id < g->n_nodes; id++)
        if (forward[id] && needed[id] && (op_row[g->node[id].op].flags & OP_FLAG_VIEW))
            again[id] |= again[g->node[id].in[0]];
}

size_t recompute_kept_bytes(const Graph *g, const bool *forward, const bool *again, Arena *scratch)
{
    bool *needed = arena_array(scratch, bool, g->n_nodes);
    size_t total = 0;
    for (ValueId id = (ValueId)g->n_nodes; id-- > 1;) {
        const Node *n = &g->node[id];
        bool through = !forward[id] || (needed[id] && (again[id] || (op_row[n->op].flags & OP_FLAG_VIEW)));
        for (size_t i = 0; through && i < n->n_in; i++)
            needed[n->in[i]] = true;
        size_t bytes;
        if (forward[id] && needed[id] && !through && !is_leaf(n) &&
            (!type_bytes(g, &n->type, &bytes) || !checked_add(total, bytes, &total)))
            return SIZE_MAX;
    }
    return total;
}
