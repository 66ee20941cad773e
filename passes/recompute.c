// recompute: what the backward part of a graph computes again instead of keeping it from the forward part.
//
// Attention. A value that holds an axis and its twin (scores, masks, probabilities over T and T') is as large as the
// square of the sequence. Where the backward part reads such a value, it gets a copy of the chain that made it, down to
// values without such a pair: queries, keys, and the row maximum and sum, which are kept. So each pair of positions
// lives inside one fused kernel, forward and backward, and is never stored.
//
//     forward    s = q @ k      m = max(s)  e = exp(s - m)  l = sum(e)   p = e/l     o = p @ v
//     backward   s'= q @ k                  e'= exp(s'- m)               p'= e'/l    dv = p' @ do   ...
//
// Layers. The values of a layer instance that the module lists (`recompute` after a call, in the language) are computed
// again from what went into it: all but those that a forward node outside the instance reads, which are kept. So one
// layer's activations exist at a time in the backward part, made right before they are needed.
//
// Cheap values. Elementwise values that follow in a few steps from what is there anyway are never kept: the value of an
// activation beside its input, a norm's output, a dropout mask (recompute_cheap.c). Six layers of width 384: 338 MiB
// instead of 468, at the same processor time.
//
// A memory budget (PassContext.max_bytes). While parameters, states and what is kept exceed it, whole layers are
// computed again, from the first one on, as few as fit. Layers are the second step of the path ("GPT.l3"). What is kept
// is an upper bound, since fusion has not run yet; the memory plan has the last word.
//
// The forward part is what a loss, a term, a result or a watched value needs; the rest is the backward part, so no mark
// travels with the graph. cse runs before this pass and not after it: it would merge the copies again.
#include "recompute.h"
#include "checked.h"
#include "pass.h"
#include "rewrite.h"

#include <stdlib.h>
#include <string.h>

typedef struct Recompute {
    Rewrite  rw;
    bool    *forward;                       // [n_nodes]
    bool    *again;                         // [n_nodes] a forward value that the backward part computes again
    ValueId *copy;                          // [n_nodes] of such a value: its copy for the backward part; 0: none yet
    ValueId *later;                         // [n_nodes] of a kept value: `stop` of it; 0: none yet
} Recompute;

static AxisId twin_root(const Graph *g, AxisId axis)
{
    while (g->axis[axis].twin_of)
        axis = g->axis[axis].twin_of;
    return axis;
}

static bool holds_twins(const Graph *g, const Type *type)
{
    for (size_t i = 0; i < type->n_axes; i++)
        for (size_t j = 0; j < i; j++)
            if (twin_root(g, type->axis[i]) == twin_root(g, type->axis[j]))
                return true;
    return false;
}

static void mark_forward(const Graph *g, bool *forward)
{
    for (size_t i = 0; i < g->n_outputs; i++) {
        OutputRole role = g->output[i].role;
        bool watched = role == OUTPUT_WATCH && strcmp(g->output[i].name, "grad_norm") != 0;
        if (role == OUTPUT_LOSS || role == OUTPUT_TERM || role == OUTPUT_RESULT || role == OUTPUT_FAULT || watched)
            forward[g->output[i].value] = true;
    }
    for (size_t id = g->n_nodes; id-- > 1;)
        for (size_t i = 0; forward[id] && i < g->node[id].n_in; i++)
            forward[g->node[id].in[i]] = true;
}

// A kept value as an elementwise copy of `reader` reads it: behind a `stop`, which fold has left nowhere else. To
// fuse_product it says "not here": the copy must not become one more result of the forward kernel that makes the kept
// value. What has fewer axes (a row's statistics) starts no such kernel.
static ValueId read_later(Recompute *r, ValueId old, const Node *reader)
{
    const Node *n = &r->rw.in->node[old];
    if (op_row[n->op].n_in == 0 || n->type.n_axes < reader->type.n_axes)
        return r->rw.map[old];
    if (!r->later[old]) {
        rewrite_at(&r->rw, old);
        r->later[old] = graph_unary(r->rw.out, OP_STOP, r->rw.map[old]);
        r->rw.out->node[r->later[old]].type = n->type;
    }
    return r->later[old];
}

// The copy of a value that is computed again, made after those of its operands.
static ValueId copy_of(Recompute *r, ValueId old)
{
    const Node *n = &r->rw.in->node[old];
    if (!r->again[old])
        return r->rw.map[old];
    if (r->copy[old])
        return r->copy[old];
    ValueId *in = arena_array(r->rw.scratch, ValueId, n->n_in), kept = r->rw.map[old];
    bool behind_stop = (op_row[n->op].flags & OP_FLAG_POINTWISE) && !holds_twins(r->rw.in, &n->type);
    for (size_t i = 0; i < n->n_in; i++)
        in[i] = behind_stop && !r->again[n->in[i]] ? read_later(r, n->in[i], n) : copy_of(r, n->in[i]);
    r->copy[old] = rewrite_copy_with(&r->rw, old, in);
    r->rw.map[old] = kept;
    return r->copy[old];
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// The outermost listed layer that holds the node: 1 + its place in `list`, which is sorted; 0: none.
static uint32_t listed_layer(const char **list, size_t n, const char *layer, char *scratch)
{
    for (size_t i = 0; n && layer && layer[i]; i++) {
        if (layer[i + 1] != '.' && layer[i + 1] != 0)
            continue;
        memcpy(scratch, layer, i + 1);
        scratch[i + 1] = 0;
        const char *path = scratch, **found = bsearch(&path, list, n, sizeof *list, by_text);
        if (found)
            return (uint32_t)(found - list) + 1;
    }
    return 0;
}

// Marks the values of listed layers, but for those that the forward part reads elsewhere.
static void mark_layers(Recompute *r, const char *const *path, size_t n_paths)
{
    const Graph *g = r->rw.in;
    if (n_paths == 0)
        return;
    const char **list = arena_array(r->rw.scratch, const char *, n_paths);
    memcpy(list, path, n_paths * sizeof *list);
    qsort(list, n_paths, sizeof *list, by_text);
    size_t longest = 0;
    for (ValueId id = 1; id < g->n_nodes; id++)
        if (g->node[id].layer && strlen(g->node[id].layer) > longest)
            longest = strlen(g->node[id].layer);
    char *text = arena_array(r->rw.scratch, char, longest + 1);
    uint32_t *layer = arena_array(r->rw.scratch, uint32_t, g->n_nodes);
    bool *kept = arena_array(r->rw.scratch, bool, g->n_nodes);
    for (ValueId id = 1; id < g->n_nodes; id++) {
        const Node *n = &g->node[id];
        layer[id] = listed_layer(list, n_paths, n->layer, text);
        for (size_t i = 0; r->forward[id] && i < n->n_in; i++)
            kept[n->in[i]] |= layer[n->in[i]] != layer[id];
    }
    for (size_t i = 0; i < g->n_outputs; i++)
        kept[g->output[i].value] = true;
    for (ValueId id = 1; id < g->n_nodes; id++)
        r->again[id] |= r->forward[id] && layer[id] && !kept[id] && op_row[g->node[id].op].n_in > 0;
}

// Marks anew: pairs of twins, the listed layers, and cheap values.
static void mark(Recompute *r, const char *const *path, size_t n_paths)
{
    const Graph *g = r->rw.in;
    for (ValueId id = 1; id < g->n_nodes; id++)
        r->again[id] = r->forward[id] && op_row[g->node[id].op].n_in > 0 && holds_twins(g, &g->node[id].type);
    mark_layers(r, path, n_paths);
    recompute_mark_cheap(g, r->forward, r->rw.scratch, r->again);
}

static size_t leaf_bytes(const Graph *g)
{
    size_t total = 0, bytes;
    for (ValueId id = 1; id < g->n_nodes; id++) {
        Op op = g->node[id].op;
        if ((op == OP_ARG || op == OP_PARAM || op == OP_STATE) &&
            (!type_bytes(g, &g->node[id].type, &bytes) || !checked_add(total, bytes, &total)))
            return SIZE_MAX;
    }
    return total;
}

// The layers of the forward part, in order: the first two steps of the nodes' paths. The listed ones come first.
static size_t find_layers(const Recompute *r, const Module *m, const char ***out_path)
{
    const Graph *g = r->rw.in;
    const char **path = arena_array(r->rw.scratch, const char *, g->n_nodes + m->n_recompute);
    size_t n = 0;
    for (; n < m->n_recompute; n++)
        path[n] = m->recompute[n];
    for (ValueId id = 1; id < g->n_nodes; id++) {
        const char *layer = r->forward[id] ? g->node[id].layer : NULL, *step = layer ? strchr(layer, '.') : NULL;
        if (!step)
            continue;
        size_t length = (size_t)(step - layer) + 1 + strcspn(step + 1, ".");
        if (n > m->n_recompute && strncmp(path[n - 1], layer, length) == 0 && path[n - 1][length] == 0)
            continue;
        path[n++] = arena_strndup(r->rw.scratch, layer, length);
    }
    *out_path = path;
    return n;
}

static bool fits(const Recompute *r, size_t leaves, size_t max_bytes)
{
    size_t kept = recompute_kept_bytes(r->rw.in, r->forward, r->again, r->rw.scratch), total;
    return checked_add(leaves, kept, &total) && total <= max_bytes;
}

static void choose(Recompute *r, const Module *m, size_t max_bytes)
{
    size_t leaves = leaf_bytes(r->rw.in);
    mark(r, m->recompute, m->n_recompute);
    if (max_bytes == 0 || fits(r, leaves, max_bytes))
        return;
    const char **path;
    size_t low = m->n_recompute, high = find_layers(r, m, &path);
    while (low < high) {                                    // the smallest number of layers that fits, or all
        size_t middle = low + (high - low) / 2;
        mark(r, path, middle);
        if (fits(r, leaves, max_bytes))
            high = middle;
        else
            low = middle + 1;
    }
    mark(r, path, low);
}

static Graph *rewrite_graph(PassContext *ctx, const Module *m, const Graph *in)
{
    Arena scratch = scratch_arena(ctx->arena);
    Recompute r = {.rw = rewrite_begin(ctx->arena, &scratch, in)};
    r.forward = arena_array(&scratch, bool, in->n_nodes);
    r.again = arena_array(&scratch, bool, in->n_nodes);
    r.copy = arena_array(&scratch, ValueId, in->n_nodes);
    r.later = arena_array(&scratch, ValueId, in->n_nodes);
    mark_forward(in, r.forward);
    choose(&r, m, ctx->max_bytes);
    for (ValueId id = 1; id < in->n_nodes; id++) {
        const Node *n = &in->node[id];
        if (!r.rw.live[id])
            continue;
        if (r.forward[id]) {
            rewrite_copy(&r.rw, id);
            continue;
        }
        ValueId *operand = arena_array(&scratch, ValueId, n->n_in);
        for (size_t i = 0; i < n->n_in; i++)
            operand[i] = copy_of(&r, n->in[i]);
        rewrite_copy_with(&r.rw, id, operand);
    }
    Graph *out = rewrite_end(&r.rw);
    arena_free(&scratch);
    return out;
}

bool pass_recompute(PassContext *ctx, const Module *in, Module *out)
{
    for (size_t i = 0; i < in->n_graphs; i++)
        module_add_graph(out, strcmp(in->graph[i]->name, "init") == 0 ? in->graph[i] : rewrite_graph(ctx, in, in->graph[i]));
    return true;
}
