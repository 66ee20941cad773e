// See engine.h: nets that are programs on a device, and what both kinds share.
#include "engine_net.h"

#include "index_range.h"
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

Status net_make_program(Arena *arena, const DeviceOps *ops, Device *device, int threads, const Program *p, Net *beside,
                        Net **out_net, StatusText *why)
{
    Net *net = calloc(1, sizeof *net);
    if (!net)
        return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for a net");
    net->ops = ops;
    net->program = p;
    net->beside = beside;
    net->threads = threads;
    net->slot = arena_array(arena, Slot, p->n_buffers + 1);
    for (uint32_t b = 1; b < p->n_buffers; b++) {
        const Buffer *buffer = &p->buffer[b];
        if (!host_kind(buffer->kind) || !strncmp(buffer->name, CACHE_PREFIX, sizeof CACHE_PREFIX - 1))
            continue;                       // caches are no business of the host
        Slot *slot = &net->slot[net->n_slots++];
        *slot = (Slot){
            .kind = buffer->kind, .name = buffer->name, .dtype = buffer->dtype, .n_axes = buffer->n_axes, .id = b};
        memcpy(slot->axis, buffer->axis, sizeof slot->axis);
        memcpy(slot->size, buffer->size, sizeof slot->size);
        slot->count = (int64_t)(buffer->bytes / dtype_row[buffer->dtype].bytes);
    }
    Status status = beside && ops->load_beside ? ops->load_beside(beside->loaded, p, &net->loaded, why)
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

// On the device a bf16 has 2 bytes; it is converted in pieces of HALF.
enum { HALF = 4096 };

static Status write_half(Net *net, const Slot *slot, int64_t first, int64_t n, const float *data, StatusText *why)
{
    uint16_t half[HALF];
    Status status = STATUS_OK;
    for (int64_t done = 0; done < n && status == STATUS_OK; done += HALF) {
        size_t m = n - done < HALF ? (size_t)(n - done) : HALF;
        for (size_t i = 0; i < m; i++)
            half[i] = st_to_bf16(data[done + (int64_t)i]);
        status = net->ops->write(net->loaded, slot->id, (size_t)(first + done) * 2, half, m * 2, why);
    }
    return status;
}

static Status read_half(Net *net, const Slot *slot, int64_t first, int64_t n, float *data, StatusText *why)
{
    uint16_t half[HALF];
    Status status = STATUS_OK;
    for (int64_t done = 0; done < n && status == STATUS_OK; done += HALF) {
        size_t m = n - done < HALF ? (size_t)(n - done) : HALF;
        status = net->ops->read(net->loaded, slot->id, (size_t)(first + done) * 2, half, m * 2, why);
        for (size_t i = 0; status == STATUS_OK && i < m; i++)
            data[done + (int64_t)i] = st_from_bf16(half[i]);
    }
    return status;
}

Status net_write_part(Net *net, const Slot *slot, int64_t first, int64_t n, const void *data, StatusText *why)
{
    if (first < 0 || n < 0 || first > slot->count || n > slot->count - first)
        return status_fail(why, STATUS_INTERNAL, "`%s` has no elements %lld to %lld", slot->name, (long long)first,
                           (long long)(first + n));
    if (!net->ops)
        return reference_write(net, slot, first, n, data);
    if (slot->dtype == DTYPE_BF16)
        return write_half(net, slot, first, n, data, why);
    return net->ops->write(net->loaded, slot->id, (size_t)first * 4, data, (size_t)n * 4, why);
}

Status net_read_part(Net *net, const Slot *slot, int64_t first, int64_t n, void *data, StatusText *why)
{
    if (first < 0 || n < 0 || first > slot->count || n > slot->count - first)
        return status_fail(why, STATUS_INTERNAL, "`%s` has no elements %lld to %lld", slot->name, (long long)first,
                           (long long)(first + n));
    if (!net->ops)
        return reference_read(net, slot, first, n, data);
    if (slot->dtype == DTYPE_BF16)
        return read_half(net, slot, first, n, data, why);
    return net->ops->read(net->loaded, slot->id, (size_t)first * 4, data, (size_t)n * 4, why);
}

Status net_write(Net *net, const Slot *slot, const void *data, StatusText *why)
{
    return slot ? net_write_part(net, slot, 0, slot->count, data, why) : STATUS_OK;
}

Status net_check_input(const Graph *g, const Slot *slot, const int32_t *value, StatusText *why)
{
    const char *axis;
    int64_t least, limit = slot->dtype == DTYPE_I32 ? index_limit(g, slot->name, &least, &axis) : INT64_MAX;
    if (limit == INT64_MAX)
        return STATUS_OK;
    for (int64_t i = 0; i < slot->count; i++)
        if (value[i] < least || value[i] >= limit)
            return status_fail(why, STATUS_BAD_MODEL, "`%s` has the number %d (element %lld), but it indexes axis `%s`, which "
                               "has the positions 0 to %lld", slot->name, value[i], (long long)i, axis,
                               (long long)limit - 1);
    return STATUS_OK;
}

Status net_read(Net *net, const Slot *slot, void *data, StatusText *why)
{
    return slot ? net_read_part(net, slot, 0, slot->count, data, why) : no_slot(why);
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

Status net_run_counted(Net *net, struct SimCounters *out_counters, StatusText *why)
{
    return net->ops && net->ops->run_counted ? net->ops->run_counted(net->loaded, out_counters, why)
                                             : status_fail(why, STATUS_NO_DEVICE, "only the device sim counts what kernels do");
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

bool net_is_shared(const Net *net, const Slot *slot)
{
    return net->beside && net->ops->is_shared && net->ops->is_shared(net->loaded, slot->id);
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
    enum { PIECE = 65536 };
    void *piece = malloc(PIECE * 4);
    Status status = piece ? STATUS_OK : status_fail(why, STATUS_OUT_OF_MEMORY, "no memory to copy weights");
    for (size_t i = 0; i < to->n_slots && status == STATUS_OK; i++) {
        const Slot *target = &to->slot[i];
        if ((target->kind != BUFFER_PARAM && target->kind != BUFFER_STATE)
            || (from == to->beside && net_is_shared(to, target)))
            continue;
        const Slot *source = average ? average_of(from, target) : NULL;
        source = source ? source : net_slot(from, target->kind, target->name);
        if (!source || source->count != target->count)
            continue;
        for (int64_t at = 0, n; at < source->count && status == STATUS_OK; at += n) {
            n = source->count - at < PIECE ? source->count - at : PIECE;
            status = net_read_part((Net *)from, source, at, n, piece, why);
            if (status == STATUS_OK)
                status = net_write_part(to, target, at, n, piece, why);
        }
    }
    free(piece);
    return status;
}
