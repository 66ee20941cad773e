// See train.h: batches into nets, and what a net scores on held-out data.
#include "train.h"

#include <math.h>
#include <string.h>

DataSlot *data_slots_of(Arena *arena, const Net *net, size_t *out_n)
{
    const Slot *slots;
    size_t n = net_slots(net, &slots), k = 0;
    DataSlot *out = arena_array(arena, DataSlot, n + 1);
    for (size_t i = 0; i < n; i++) {
        if (slots[i].kind != BUFFER_INPUT || slots[i].n_axes == 0)
            continue;
        DataSlot *s = &out[k++];
        *s = (DataSlot){.name = slots[i].name,
                        .dtype = slots[i].dtype == DTYPE_I32 ? DTYPE_I32 : DTYPE_F32,
                        .n_dims = slots[i].n_axes};
        memcpy(s->size, slots[i].size, sizeof s->size);
        s->data = arena_alloc(arena, (size_t)slots[i].count + 1, 4);
    }
    *out_n = k;
    return out;
}

Status net_load_batch(Net *net, Dataset *data, DataSplit split, int64_t number, DataSlot *slot, size_t n,
                      StatusText *why)
{
    Status status = data_batch(data, split, (uint64_t)number, slot, n, why);
    for (size_t i = 0; i < n && status == STATUS_OK; i++)
        status = net_write(net, net_slot(net, BUFFER_INPUT, slot[i].name), slot[i].data, why);
    return status;
}

typedef struct Classes {                    // scores of a row's classes, and which class is right
    const Slot    *scores;                  // f32[B, classes]; NULL: the data has no labels, or the model no such result
    const int32_t *label;                   // [B], of the batch
    float         *number;                  // [B, classes]
} Classes;

// A result with the labels' axis and one more: the first such.
static Classes find_classes(Arena *arena, const Net *net, const DataSlot *slot, size_t n)
{
    Classes c = {0};
    const Slot *labels = net_slot(net, BUFFER_INPUT, "labels"), *slots;
    size_t n_slots = net_slots(net, &slots);
    for (size_t i = 0; i < n; i++)
        if (!strcmp(slot[i].name, "labels") && slot[i].dtype == DTYPE_I32 && slot[i].n_dims == 1)
            c.label = slot[i].data;
    for (size_t i = 0; c.label && labels && i < n_slots && !c.scores; i++) {
        const Slot *s = &slots[i];
        if (s->kind == BUFFER_OUTPUT && s->dtype != DTYPE_I32 && s->n_axes == 2 && !strncmp(s->name, "output.", 7)
            && !strcmp(s->axis[0], labels->axis[0]))
            c.scores = s;
    }
    if (c.scores)
        c.number = arena_array(arena, float, (size_t)c.scores->count + 1);
    return c;
}

// Rows whose highest score is the label's; of equal scores the first counts.
static int64_t count_right(const Classes *c)
{
    int64_t right = 0, classes = c->scores->size[1];
    for (int64_t b = 0; b < c->scores->size[0]; b++) {
        const float *row = c->number + b * classes;
        int64_t best = 0;
        for (int64_t k = 1; k < classes; k++)
            best = row[k] > row[best] ? k : best;
        right += classes > 0 && best == c->label[b];
    }
    return right;
}

Status eval_score(Net *net, Dataset *data, int64_t batches, EvalScore *out_score, StatusText *why)
{
    Arena scratch = {0};
    size_t n;
    DataSlot *slot = data_slots_of(&scratch, net, &n);
    const Slot *loss = net_slot(net, BUFFER_OUTPUT, "loss.train");
    Classes classes = find_classes(&scratch, net, slot, n);
    Status status = loss ? data_bind(data, slot, n, why)
                         : status_fail(why, STATUS_BAD_MODEL, "the model has no loss to evaluate");
    int64_t all = status == STATUS_OK ? data_batches(data, DATA_VAL) : 0, right = 0;
    int64_t count = batches > 0 && batches < all ? batches : all;
    double sum = 0;
    for (int64_t i = 0; i < count && status == STATUS_OK; i++) {
        float value = 0;
        status = net_load_batch(net, data, DATA_VAL, i, slot, n, why);
        if (status == STATUS_OK)
            status = net_run(net, why);
        if (status == STATUS_OK)
            status = net_read(net, loss, &value, why);
        if (status == STATUS_OK && classes.scores)
            status = net_read(net, classes.scores, classes.number, why);
        if (status == STATUS_OK && classes.scores)
            right += count_right(&classes);
        sum += (double)value;
        if (!isfinite(value))               // the net's statistics are of this batch
            break;
    }
    if (status == STATUS_OK)
        *out_score = (EvalScore){
            .loss = sum / (double)count,
            .accuracy = classes.scores ? (double)right / (double)(count * classes.scores->size[0]) : NAN,
            .batches = count};
    arena_free(&scratch);
    return status;
}
