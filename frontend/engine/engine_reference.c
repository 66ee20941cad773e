// See engine.h: nets that are the reference evaluator. Values are kept in double precision between runs.
#include "engine_net.h"

#include "eval.h"

#include <stdlib.h>
#include <string.h>

static Slot *add_slot(Net *net, BufferKind kind, const char *name, const Graph *g, const Type *type, uint32_t id)
{
    Slot *slot = &net->slot[net->n_slots++];
    *slot = (Slot){.kind = kind, .name = name, .dtype = type->dtype, .n_axes = type->n_axes, .id = id};
    for (int a = 0; a < type->n_axes; a++) {
        slot->axis[a] = g->axis[type->axis[a]].name;
        slot->size[a] = g->axis[type->axis[a]].size;
    }
    type_count(g, type, &slot->count);
    return slot;
}

static BufferKind leaf_kind(Op op)
{
    return op == OP_ARG ? BUFFER_INPUT : op == OP_PARAM ? BUFFER_PARAM : BUFFER_STATE;
}

Status net_make_reference(Arena *arena, const Graph *g, Net **out_net, StatusText *why)
{
    Net *net = calloc(1, sizeof *net);
    size_t most = g->n_nodes + g->n_outputs;
    double **number = calloc(most + 1, sizeof *number);
    if (!net || !number) {
        free(net);
        free(number);
        return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for a net");
    }
    net->graph = g;
    net->threads = 1;
    net->number = number;
    net->slot = arena_array(arena, Slot, most + 1);
    for (ValueId i = 1; i < g->n_nodes; i++) {
        const Node *n = &g->node[i];
        if (n->op == OP_ARG || n->op == OP_PARAM || n->op == OP_STATE)
            add_slot(net, leaf_kind(n->op), n->attr[0].name, g, &n->type, i);
    }
    for (size_t i = 0; i < g->n_outputs; i++)
        if (g->output[i].role != OUTPUT_NEXT)
            add_slot(net, BUFFER_OUTPUT, net_output_name(arena, &g->output[i]), g, &g->node[g->output[i].value].type,
                     g->output[i].value);
    for (size_t i = 0; i < net->n_slots; i++) {
        number[i] = calloc((size_t)net->slot[i].count + 1, sizeof **number);
        if (!number[i]) {
            net_free(net);
            return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for the values of the evaluator");
        }
    }
    *out_net = net;
    return STATUS_OK;
}

void reference_free(Net *net)
{
    for (size_t i = 0; net->number && i < net->n_slots; i++)
        free(net->number[i]);
    free(net->number);
}

Status reference_write(Net *net, const Slot *slot, int64_t first, int64_t n, const void *data)
{
    double *to = net->number[slot - net->slot] + first;
    for (int64_t i = 0; i < n; i++)
        to[i] = slot->dtype == DTYPE_I32 ? (double)((const int32_t *)data)[i] : (double)((const float *)data)[i];
    return STATUS_OK;
}

Status reference_read(const Net *net, const Slot *slot, int64_t first, int64_t n, void *data)
{
    const double *from = net->number[slot - net->slot] + first;
    for (int64_t i = 0; i < n; i++)
        if (slot->dtype == DTYPE_I32)
            ((int32_t *)data)[i] = (int32_t)from[i];
        else
            ((float *)data)[i] = (float)from[i];
    return STATUS_OK;
}

static const double *leaf_number(void *user, const Graph *g, const Node *leaf)
{
    (void)g;
    const Net *net = user;
    const Slot *slot = net_slot(net, leaf_kind(leaf->op), leaf->attr[0].name);
    return slot ? net->number[slot - net->slot] : NULL;
}

// Outputs first, then the new values of parameters and states: none of them is read before all are known.
Status reference_run(Net *net, StatusText *why)
{
    const Graph *g = net->graph;
    Arena scratch;
    arena_init(&scratch);
    scratch.out_of_memory = g->arena->out_of_memory;
    scratch.user = g->arena->user;
    EvalResult result;
    Status status = graph_eval_outputs(g, leaf_number, net, &scratch, &result, why);
    for (size_t i = 0; i < net->n_slots && status == STATUS_OK; i++)
        if (net->slot[i].kind == BUFFER_OUTPUT)
            memcpy(net->number[i], result.value[net->slot[i].id], (size_t)net->slot[i].count * sizeof(double));
    for (size_t i = 0; i < g->n_outputs && status == STATUS_OK; i++) {
        const Output *output = &g->output[i];
        if (output->role != OUTPUT_NEXT)
            continue;
        const Slot *slot = net_slot(net, BUFFER_PARAM, output->name);
        slot = slot ? slot : net_slot(net, BUFFER_STATE, output->name);
        if (slot)
            memcpy(net->number[slot - net->slot], result.value[output->value], (size_t)slot->count * sizeof(double));
    }
    arena_free(&scratch);
    return status;
}
