// Values that a kernel goes through row by row for the last time are overwritten by what it makes of each row: the scores over a
// vocabulary by their gradient. Two of the largest arrays of a training step are one then. See codegen_state.h.
//
// A row (loop_shape.h, rows) is read first for its reductions and for single numbers taken out of it, all of which are known before
// its elements are written one by one, each from the element at its own place. In CUDA a barrier stands between (loop_bodies.c). Only
// one member may read those elements: another one in the same loop could read what has been overwritten.
#include "codegen_state.h"

#include "lower_loop.h"

#include <string.h>

enum { AT_ITS_PLACE = 1, OF_ITS_ROW = 2, ELSEWHERE = 4 };

static bool same_axes(const Type *a, const Type *b)
{
    return a->n_axes == b->n_axes && !memcmp(a->axis, b->axis, a->n_axes * sizeof(AxisId));
}

static bool is_row(const LoopWish *rows, const Type *type)
{
    for (size_t i = 0; i < rows->n_rows; i++)
        if (!type_has(type, rows->row[i]))
            return false;
    return type->n_axes == rows->n_rows;
}

// How n, whose operands read x as `in` says, reads it.
static uint8_t reads_of(const Graph *g, const Node *n, uint8_t in, uint8_t first, const Type *x, const LoopWish *rows)
{
    if (!in || (in & ELSEWHERE))
        return in;
    if (n->op == OP_REDUCE || n->op == OP_TAKE)
        return is_row(rows, &n->type) && (n->op == OP_REDUCE || (in == first && same_axes(&g->node[n->in[0]].type, x))) ? OF_ITS_ROW : ELSEWHERE;
    if (n->op == OP_EXPAND)
        return in & AT_ITS_PLACE ? ELSEWHERE : in;
    if (!(op_row[n->op].flags & OP_FLAG_POINTWISE) || ((in & AT_ITS_PLACE) && !same_axes(&n->type, x)))
        return ELSEWHERE;
    return in;
}

// The rows of a kernel whose members are all rows, or numbers of a row, or written row by row; false: it is no such kernel.
static bool find_rows(const Codegen *c, uint32_t kernel, LoopWish *out)
{
    bool found = false;
    for (uint32_t m = c->first[kernel]; m < c->first[kernel + 1]; m++) {
        const LoopWish wish = loop_ask(c->g, kernel, c->member[m]);
        if (wish.is_column || wish.shape == LOOP_TOTAL)
            return false;
        if (wish.shape == LOOP_ROWS && !found) {
            *out = wish;
            found = true;
        }
    }
    return found && out->n_rows > 0;
}

// Whether v can be written over x in the kernel of c->cone, which nobody reads later.
static bool can_overwrite(Codegen *c, uint32_t kernel, ValueId v, ValueId x, const LoopWish *rows)
{
    const Graph *g = c->g;
    const Type *type = &g->node[x].type;
    uint8_t *reads = arena_array(&c->scratch, uint8_t, c->cone.n + 1);
    bool comes_from_x = false;
    for (size_t i = 0; i < c->cone.n; i++) {                // operands come first
        const ValueId y = c->cone.value[i];
        const Node *n = &g->node[y];
        if (y == x)
            reads[i] = AT_ITS_PLACE;
        if (c->cone.is_read[i])
            continue;
        uint8_t in = 0;
        for (int k = 0; k < n->n_in; k++)
            in |= reads[c->cones.local[n->in[k]]];
        reads[i] = reads_of(g, n, in, n->n_in ? reads[c->cones.local[n->in[0]]] : 0, type, rows);
        if (n->op == OP_TAKE && reads[i] && n->kernel != kernel)
            reads[i] = ELSEWHERE;           // a number that is not stored is taken wherever it is wanted
        if (n->kernel != kernel || !reads[i])
            continue;
        if ((reads[i] & ELSEWHERE) || (y != v && (reads[i] & AT_ITS_PLACE)) || !(y == v || (is_row(rows, &n->type) && y < v)))
            return false;                   // another member that reads elements may come after v in the same loop
        comes_from_x |= y == v;
    }
    return comes_from_x;
}

void codegen_reuse(Codegen *c, ValueId *old)
{
    const Graph *g = c->g;
    bool *is_output = arena_array(&c->scratch, bool, g->n_nodes), *is_reused = arena_array(&c->scratch, bool, g->n_nodes);
    for (size_t i = 0; i < g->n_outputs; i++)
        is_output[g->output[i].value] = true;
    for (ValueId x = 1; x < g->n_nodes; x++) {
        const uint32_t k = c->reader[x];
        LoopWish rows = {.n_rows = 0};
        if (!k || k == SEVERAL_READERS || !g->node[x].kernel || old[x] || is_output[x] || g->kernel[k] != FAMILY_LOOP
            || g->kernel[g->node[x].kernel] != FAMILY_CONTRACT || c->first[k + 1] - c->first[k] > LOOP_MAX_MEMBERS)
            continue;
        for (uint32_t m = c->first[k]; m < c->first[k + 1]; m++) {
            const ValueId v = c->member[m];     // of a lower number than x it does not come from x, and has its place already
            if (v < x || old[v] || is_output[v] || is_reused[x] || !type_equal(&g->node[v].type, &g->node[x].type) || !find_rows(c, k, &rows))
                continue;
            codegen_cone(c, k);
            if (!can_overwrite(c, k, v, x, &rows))
                continue;
            old[v] = x;
            is_reused[x] = true;
        }
    }
}
