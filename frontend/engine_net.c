// See engine.h: nets that are programs on a device, and what both kinds share.
#include "engine_net.h"

#include "eval.h"
#include "safetensors.h"

#include <stdlib.h>
#include <string.h>

static Status no_slot(StatusText *why)
{
    return status_fail(why, STATUS_INTERNAL, "a value was read that the program does not have");
}

static bool host_kind(BufferKind kind)
{
    return kind == BUFFER_INPUT || kind == BUFFER_PARAM || kind == BUFFER_STATE || kind == BUFFER_OUTPUT;
}

Status net_make_program(Arena *arena, const DeviceOps *ops, Device *device, const Program *p, Net *beside,
                        Net **out_net, StatusText *why)
{
    Net *net = calloc(1, sizeof *net);
    if (!net)
        return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for a net");
    net->ops = ops;
    net->program = p;
    net->beside = beside;
    net->slot = arena_array(arena, Slot, p->n_buffers + 1);
    int64_t most_half = 0;
    for (uint32_t b = 1; b < p->n_buffers; b++) {
        const Buffer *buffer = &p->buffer[b];
        if (!host_kind(buffer->kind))
            continue;
        Slot *slot = &net->slot[net->n_slots++];
        *slot = (Slot){
            .kind = buffer->kind, .name = buffer->name, .dtype = buffer->dtype, .n_axes = buffer->n_axes, .id = b};
        memcpy(slot->axis, buffer->axis, sizeof slot->axis);
        memcpy(slot->size, buffer->size, sizeof slot->size);
        slot->count = (int64_t)(buffer->bytes / dtype_row[buffer->dtype].bytes);
        if (buffer->dtype == DTYPE_BF16 && slot->count > most_half)
            most_half = slot->count;
    }
    if (most_half)
        net->half = malloc((size_t)most_half * sizeof *net->half);
    Status status = most_half && !net->half ? status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for a net")
             : beside && ops->load_beside   ? ops->load_beside(beside->loaded, p, &net->loaded, why)
                                            : ops->load(device, p, &net->loaded, why);
    if (status != STATUS_OK) {
        net_free(net);
        return status;
    }
    *out_net = net;
    return STATUS_OK;
}

void net_free(Net *net)
{
    if (!net)
        return;
    if (net->loaded)
        net->ops->unload(net->loaded);
    reference_free(net);
    free(net->half);
    free(net);
}

const char *net_output_name(Arena *arena, const Output *output)
{
    const char *prefix = output->role == OUTPUT_RESULT ? "output" : output_role_text[output->role];
    return arena_printf(arena, "%s.%s", prefix, output->name);
}

size_t net_slots(const Net *net, const Slot **out_slots)
{
    *out_slots = net->slot;
    return net->n_slots;
}

const Slot *net_slot(const Net *net, BufferKind kind, const char *name)
{
    for (size_t i = 0; i < net->n_slots; i++)
        if (net->slot[i].kind == kind && !strcmp(net->slot[i].name, name))
            return &net->slot[i];
    return NULL;
}

Status net_write(Net *net, const Slot *slot, const void *data, StatusText *why)
{
    if (!slot)
        return STATUS_OK;
    if (!net->ops)
        return reference_write(net, slot, data, why);
    size_t n = (size_t)slot->count;
    if (slot->dtype != DTYPE_BF16)
        return net->ops->write(net->loaded, slot->id, data, n * 4, why);
    for (size_t i = 0; i < n; i++)
        net->half[i] = st_to_bf16(((const float *)data)[i]);
    return net->ops->write(net->loaded, slot->id, net->half, n * 2, why);
}

Status net_read(Net *net, const Slot *slot, void *data, StatusText *why)
{
    if (!slot)
        return no_slot(why);
    if (!net->ops)
        return reference_read(net, slot, data);
    size_t n = (size_t)slot->count;
    if (slot->dtype != DTYPE_BF16)
        return net->ops->read(net->loaded, slot->id, data, n * 4, why);
    Status status = net->ops->read(net->loaded, slot->id, net->half, n * 2, why);
    for (size_t i = 0; status == STATUS_OK && i < n; i++)
        ((float *)data)[i] = st_from_bf16(net->half[i]);
    return status;
}

Status net_write_float(Net *net, const char *name, double value, StatusText *why)
{
    float f = (float)value;
    return net_write(net, net_slot(net, BUFFER_INPUT, name), &f, why);
}

Status net_write_int(Net *net, const char *name, int64_t value, StatusText *why)
{
    int32_t i = (int32_t)value;
    return net_write(net, net_slot(net, BUFFER_INPUT, name), &i, why);
}

Status net_run(Net *net, StatusText *why)
{
    return net->ops ? net->ops->run(net->loaded, why) : reference_run(net, why);
}

Status net_run_timed(Net *net, double *out_seconds, StatusText *why)
{
    return net->ops ? net->ops->run_timed(net->loaded, out_seconds, why)
                    : status_fail(why, STATUS_NO_DEVICE, "the evaluator has no launches to time");
}

const Program *net_program(const Net *net)
{
    return net->program;
}

void net_stats(const Net *net, LoadStats *out_stats)
{
    *out_stats = (LoadStats){0};
    if (net->ops)
        net->ops->stats(net->loaded, out_stats);
}

typedef struct InitLeaf { double seed; } InitLeaf;

static const double *init_leaf(void *user, const Graph *g, const Node *leaf)
{
    (void)g;
    static const double zero = 0;
    InitLeaf *init = user;
    if (leaf->op != OP_ARG)
        return NULL;
    return strcmp(leaf->attr[0].name, "seed") ? &zero : &init->seed;
}

// True when the slot's storage is that of the net beside it.
static bool is_shared(const Net *net, const Slot *slot)
{
    return net->beside && net->ops->is_shared && net->ops->is_shared(net->loaded, slot->id);
}

// Evaluates one output of `init` with only what it needs, and writes it where its name says.
static Status init_one(Net *net, const Graph *init, const Output *output, uint64_t seed, StatusText *why)
{
    const Slot *slot = net_slot(net, BUFFER_PARAM, output->name);
    slot = slot ? slot : net_slot(net, BUFFER_STATE, output->name);
    if (!slot || is_shared(net, slot))
        return STATUS_OK;
    Arena scratch;
    arena_init(&scratch);
    scratch.out_of_memory = init->arena->out_of_memory;
    scratch.user = init->arena->user;
    Graph one = *init;
    one.output = (Output *)output;
    one.n_outputs = 1;
    EvalResult result;
    InitLeaf leaf = {(double)seed};
    Status status = graph_eval_outputs(&one, init_leaf, &leaf, &scratch, &result, why);
    if (status == STATUS_OK) {
        const double *value = result.value[output->value];
        float *data = arena_array(&scratch, float, (size_t)slot->count + 1);
        int32_t *whole = (int32_t *)(void *)data;
        for (int64_t i = 0; i < slot->count; i++)
            if (slot->dtype == DTYPE_I32)
                whole[i] = (int32_t)value[i];
            else
                data[i] = (float)value[i];
        status = net_write(net, slot, data, why);
    }
    arena_free(&scratch);
    return status;
}

Status net_init(Net *net, const Module *module, uint64_t seed, StatusText *why)
{
    const Graph *init = module_graph(module, "init");
    Status status = STATUS_OK;
    for (size_t i = 0; init && i < init->n_outputs && status == STATUS_OK; i++)
        if (init->output[i].role == OUTPUT_NEXT)
            status = init_one(net, init, &init->output[i], seed, why);
    return status;
}

// The running average of a parameter; NULL: none is kept.
static const Slot *average_of(const Net *net, const Slot *param)
{
    static const char prefix[] = "ema/";
    for (size_t i = 0; param->kind == BUFFER_PARAM && i < net->n_slots; i++)
        if (net->slot[i].kind == BUFFER_STATE && !strncmp(net->slot[i].name, prefix, sizeof prefix - 1)
            && !strcmp(net->slot[i].name + sizeof prefix - 1, param->name))
            return &net->slot[i];
    return NULL;
}

Status net_copy_weights(const Net *from, Net *to, bool average, StatusText *why)
{
    Status status = STATUS_OK;
    for (size_t i = 0; i < to->n_slots && status == STATUS_OK; i++) {
        const Slot *target = &to->slot[i];
        if ((target->kind != BUFFER_PARAM && target->kind != BUFFER_STATE)
            || (from == to->beside && is_shared(to, target)))
            continue;
        const Slot *source = average ? average_of(from, target) : NULL;
        source = source ? source : net_slot(from, target->kind, target->name);
        if (!source || source->count != target->count)
            continue;
        void *data = malloc((size_t)source->count * 4 + 4);
        if (!data)
            return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory to copy `%s`", source->name);
        status = net_read((Net *)from, source, data, why);
        if (status == STATUS_OK)
            status = net_write(to, target, data, why);
        free(data);
    }
    return status;
}
