// See eval_pieces.h. Values are wide (they have exactly the axes of the wanted value, in its order, and an op that works
// element by element: computed a block at a time) or known (evaluated whole by eval.c: smaller, or of another op).
#include "eval_pieces.h"
#include "eval_walk.h"
#include "rng.h"

#include <string.h>

typedef struct Known {                      // a value that is there whole, read along the wanted value's axes
    const double *number;
    int64_t       stride[MAX_AXES];
    bool          is_scalar;
} Known;

typedef struct Step {                       // one wide value
    const Node *node;
    size_t      slot;                       // of its block
    size_t      from[3];                    // slots of its operands
    uint32_t    key;                        // OP_RANDOM
    const Known *known;                     // not NULL: not computed, but read
} Step;

struct EvalPieces {
    size_t  n_axes;
    int64_t size[MAX_AXES];
    Step   *step; size_t n_steps;
    size_t  n_slots;
};

static bool is_elementwise(const Node *n)
{
    return n->op == OP_RANDOM || n->op == OP_EXPAND || eval_block(n, 0, NULL, NULL);
}

static bool same_axes(const Type *a, const Type *b)
{
    return a->n_axes == b->n_axes && memcmp(a->axis, b->axis, a->n_axes * sizeof *a->axis) == 0;
}

typedef struct Plan {
    const Graph *g;
    const Type  *type;                      // of the wanted value
    Arena       *arena;
    bool        *wide, *known;              // [n_nodes]
    uint32_t    *readers;                   // [n_nodes] wide readers that are still to come
    size_t      *slot;                      // [n_nodes]
    size_t      *spare; size_t n_spare;
    EvalPieces  *out;
} Plan;

// Wide values back from the wanted one; what they read that is not wide must be known.
static void divide(Plan *p, ValueId value)
{
    const Node *node = p->g->node;
    p->wide[value] = is_elementwise(&node[value]);
    p->known[value] = !p->wide[value];
    p->readers[value] = 1;
    for (ValueId id = value; id > 0; id--) {
        if (!p->wide[id] || node[id].op == OP_RANDOM)
            continue;
        for (size_t i = 0; i < node[id].n_in; i++) {
            ValueId from = node[id].in[i];
            bool wide = same_axes(&node[from].type, p->type) && is_elementwise(&node[from]);
            (wide ? p->wide : p->known)[from] = true;
            p->readers[from]++;
        }
    }
}

// Evaluates what must be known, and the seed and step of random numbers, all at once.
static Status evaluate_known(Plan *p, EvalLeaf *leaf, void *user, EvalResult *out_result, StatusText *why)
{
    Graph some = *p->g;
    some.output = arena_array(p->arena, Output, 3 * p->g->n_nodes + 1);
    some.n_outputs = 0;
    for (ValueId id = 1; id < p->g->n_nodes; id++) {
        const Node *n = &p->g->node[id];
        if (p->known[id])
            some.output[some.n_outputs++] = (Output){.value = id};
        for (size_t i = 0; p->wide[id] && n->op == OP_RANDOM && i < n->n_in; i++)
            some.output[some.n_outputs++] = (Output){.value = n->in[i]};
    }
    return graph_eval_outputs(&some, leaf, user, p->arena, out_result, why);
}

static const Known *make_known(Plan *p, ValueId id, const double *number)
{
    Known *k = arena_new(p->arena, Known);
    k->number = number;
    k->is_scalar = true;
    for (size_t a = 0; a < p->type->n_axes; a++) {
        k->stride[a] = type_stride(p->g, &p->g->node[id].type, p->type->axis[a]);
        k->is_scalar = k->is_scalar && (k->stride[a] == 0 || p->out->size[a] == 1);
    }
    return k;
}

static size_t take_slot(Plan *p)
{
    return p->n_spare ? p->spare[--p->n_spare] : p->out->n_slots++;
}

static void add_step(Plan *p, ValueId id, const double *const *number)
{
    const Node *n = &p->g->node[id];
    Step *s = &p->out->step[p->out->n_steps++];
    *s = (Step){.node = n};
    if (p->known[id])
        s->known = make_known(p, id, number[id]);
    else if (n->op == OP_RANDOM)
        s->key = rng_key(eval_seed_bits(number[n->in[0]][0]), eval_seed_bits(number[n->in[1]][0]), (uint32_t)n->attr[0].i);
    else
        for (size_t i = 0; i < n->n_in; i++)
            s->from[i] = p->slot[n->in[i]];
    s->slot = p->slot[id] = take_slot(p);   // before the operands' are given back: a block never overwrites what it reads
    for (size_t i = 0; !s->known && n->op != OP_RANDOM && i < n->n_in; i++)
        if (--p->readers[n->in[i]] == 0)
            p->spare[p->n_spare++] = p->slot[n->in[i]];
}

Status eval_pieces_make(const Graph *g, ValueId value, EvalLeaf *leaf, void *user, Arena *arena,
                        const EvalPieces **out_pieces, StatusText *why)
{
    size_t n = g->n_nodes + 1;
    Plan p = {.g = g, .type = &g->node[value].type, .arena = arena, .wide = arena_array(arena, bool, n),
              .known = arena_array(arena, bool, n), .readers = arena_array(arena, uint32_t, n),
              .slot = arena_array(arena, size_t, n), .spare = arena_array(arena, size_t, n),
              .out = arena_new(arena, EvalPieces)};
    p.out->n_axes = p.type->n_axes;
    for (size_t a = 0; a < p.type->n_axes; a++)
        p.out->size[a] = graph_size(g, p.type->axis[a]);
    divide(&p, value);
    size_t n_steps = 0;
    for (ValueId id = 1; id <= value; id++)
        n_steps += p.wide[id] || p.known[id];
    p.out->step = arena_array(arena, Step, n_steps + 1);
    EvalResult result = {0};
    Status status = evaluate_known(&p, leaf, user, &result, why);
    for (ValueId id = 1; id <= value && status == STATUS_OK; id++)
        if (p.wide[id] || p.known[id])
            add_step(&p, id, (const double *const *)result.value);
    if (status == STATUS_OK)
        *out_pieces = p.out;
    return status;
}

size_t eval_pieces_scratch(const EvalPieces *pieces)
{
    return pieces->n_slots * EVAL_BLOCK;
}

static void fill_known(const EvalPieces *p, const Known *k, int64_t begin, size_t n, double *out)
{
    for (size_t i = 0; k->is_scalar && i < n; i++)
        out[i] = k->number[0];
    if (k->is_scalar)
        return;
    int64_t index[MAX_AXES], at = 0, rest = begin;
    for (size_t a = p->n_axes; a-- > 0; rest /= p->size[a]) {
        index[a] = rest % p->size[a];
        at += index[a] * k->stride[a];
    }
    for (size_t i = 0; i < n; i++) {
        out[i] = k->number[at];
        for (size_t a = p->n_axes; a-- > 0; index[a] = 0) {
            at += k->stride[a];
            if (++index[a] < p->size[a])
                break;
            at -= p->size[a] * k->stride[a];
        }
    }
}

static void fill_random(const Step *s, int64_t begin, size_t n, double *out)
{
    uint32_t first = (uint32_t)begin;
    for (size_t i = 0; i < n; i++)
        out[i] = rng_uniform(s->key, first + (uint32_t)i);
}

static void fill_block(const EvalPieces *p, int64_t begin, size_t n, double *scratch)
{
    for (size_t k = 0; k < p->n_steps; k++) {
        const Step *s = &p->step[k];
        double *out = scratch + s->slot * EVAL_BLOCK;
        const double *in[3];
        for (size_t i = 0; i < 3; i++)
            in[i] = scratch + s->from[i] * EVAL_BLOCK;
        if (s->known)
            fill_known(p, s->known, begin, n, out);
        else if (s->node->op == OP_RANDOM)
            fill_random(s, begin, n, out);
        else if (s->node->op == OP_EXPAND)
            memcpy(out, in[0], n * sizeof *out);
        else
            eval_block(s->node, n, in, out);
    }
}

void eval_pieces_fill(const EvalPieces *p, int64_t begin, size_t n, double *scratch, double *out)
{
    for (size_t done = 0; done < n; done += EVAL_BLOCK) {
        size_t m = n - done < EVAL_BLOCK ? n - done : EVAL_BLOCK;
        fill_block(p, begin + (int64_t)done, m, scratch);
        memcpy(out + done, scratch + p->step[p->n_steps - 1].slot * EVAL_BLOCK, m * sizeof *out);
    }
}
