// What `mixc run --grad` differentiates: cotangents given by the caller times the results, plus a loss. See grad.h.
#include "clean.h"
#include "grad.h"
#include "rewrite.h"

#include <string.h>

static ValueId plus(Graph *g, ValueId sum, ValueId term)
{
    return sum ? graph_binary(g, OP_ADD, sum, term) : term;
}

static ValueId find_total(Graph *g, const Graph *in, const RunGradOptions *options)
{
    ValueId total = 0;
    for (size_t i = 0; i < options->n_cotangents; i++) {
        const char *name = options->cotangent[i];
        ValueId y = graph_find_output(in, OUTPUT_RESULT, name);
        if (!y) {
            diag_error(g->diag, (Span){0}, NULL, "`cotangent.%s` is given, and there is no result `%s`", name, name);
            return 0;
        }
        if (g->node[y].type.dtype == DTYPE_I32) {
            diag_error(g->diag, (Span){0}, NULL, "`cotangent.%s` is given, and the result `%s` is whole numbers", name, name);
            return 0;
        }
        Type type = g->node[y].type;
        type.dtype = DTYPE_F32;
        ValueId cotangent = graph_leaf(g, OP_ARG, arena_printf(g->arena, "cotangent.%s", name), type);
        ValueId product = graph_binary(g, OP_MUL, cotangent, graph_cast(g, DTYPE_F32, y));
        total = plus(g, total, graph_reduce(g, RED_SUM, product, type.axis, type.n_axes));
    }
    ValueId loss = graph_find_output(in, OUTPUT_LOSS, options->with_loss ? "train" : "aux");
    if (!loss && options->with_loss) {
        diag_error(g->diag, (Span){0}, NULL, "a gradient of the training loss is asked for, and the model has none");
        return 0;
    }
    if (loss)
        total = plus(g, total, loss);
    if (!total) {
        diag_error(g->diag, (Span){0}, NULL, "there is nothing to differentiate: no cotangent is given and there is no loss");
        diag_help(g->diag, "put `cotangent.NAME` for a result NAME into the inputs file, or add --loss");
    }
    return total;
}

static const Param *find_param(const Module *m, const char *name)
{
    for (size_t i = 0; i < m->n_params; i++)
        if (strcmp(m->param[i].name, name) == 0)
            return &m->param[i];
    return NULL;
}

// The name under which a gradient of this node is wanted; NULL: none is.
static const char *wanted_name(const Module *m, Arena *arena, const Node *n)
{
    if (n->type.dtype == DTYPE_I32)
        return NULL;
    if (n->op == OP_ARG)
        return arena_printf(arena, "input.%s", n->attr[0].name);
    if (n->op != OP_PARAM)
        return NULL;
    const Param *p = find_param(m, n->attr[0].name);
    return p && p->role == PARAM_STATE ? NULL : arena_printf(arena, "param.%s", n->attr[0].name);
}

bool grad_of_run(Module *m, const RunGradOptions *options)
{
    const Graph *in = module_graph(m, "main");
    if (!in) {
        diag_error(m->diag, (Span){0}, NULL, "the module has no graph `main`");
        return false;
    }
    in = graph_cse(m->arena, in);               // an input or parameter is one leaf
    Graph *g = graph_copy(m->arena, in, "main", true);
    g->diag = m->diag;
    ValueId total = find_total(g, in, options);
    if (!total)
        return false;
    Arena scratch = scratch_arena(m->arena);
    ValueId *wrt = arena_array(&scratch, ValueId, in->n_nodes), *grad = arena_array(&scratch, ValueId, in->n_nodes);
    const char **name = arena_array(&scratch, const char *, in->n_nodes);
    size_t n = 0;
    for (ValueId id = 1; id < in->n_nodes; id++)
        if ((name[n] = wanted_name(m, m->arena, &in->node[id])) != NULL)
            wrt[n++] = id;
    bool good = grad_build(g, total, wrt, n, grad);
    for (size_t i = 0; good && i < n; i++) {
        Type type = g->node[wrt[i]].type;
        ValueId d = grad[i] ? grad[i] : graph_expand(g, graph_const(g, type.dtype, 0), type.axis, type.n_axes);
        graph_output(g, OUTPUT_GRAD, name[i], d);
    }
    arena_free(&scratch);
    if (good) {
        graph_sweep(g);
        module_add_graph(m, g);
    }
    return good;
}
