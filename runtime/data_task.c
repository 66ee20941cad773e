// The classic algorithmic tasks, generated: copy, associative recall, ListOps. Sample i of a split is a pure function of
// (seed, split, i); validation samples come from draws of their own.
//
//   copy(symbols=S):        x1 .. xn | x1 .. xn        tokens 0 .. S-1, bar = S; the loss counts the second half
//   recall(keys=K, values=V): k v k v .. k             keys 0 .. K-1, values K .. K+V-1; the answer is the last target
//   listops(args=A, depth=D, least=L): [MAX 2 [MIN 4 7 ] 0 ]        the answer is the label, 0 .. 9
#include "data_kind.h"

#include <string.h>

enum { LIST_DIGITS = 10, LIST_MAX = 10, LIST_MIN, LIST_MED, LIST_SM, LIST_END, LIST_PAD, LIST_VOCABULARY };

typedef struct TaskData TaskData;

// Fills tokens[time + 1] (the last is only a target) and real[time]; returns the label.
typedef int32_t TaskRow(TaskData *t, Draws *draws);

struct TaskData {
    TaskRow *row;
    double   a, b, c;                       // the task's own arguments
    int64_t  time, room;                    // room: for so many the arrays are made
    int32_t *token;                         // [T+1] one sample
    float   *real;                          // [T]
};

static int32_t copy_row(TaskData *t, Draws *draws)
{
    int64_t half = t->time / 2;
    int32_t symbols = (int32_t)t->a;
    for (int64_t i = 0; i <= t->time; i++) {
        t->token[i] = i < half ? (int32_t)draw_below(draws, (uint32_t)symbols)
                    : i > half && i <= 2 * half ? t->token[i - half - 1] : symbols;
        if (i < t->time)
            t->real[i] = i >= half && i < 2 * half;
    }
    return 0;
}

// Arora et al., "Zoology", 2023, section 3, and Fu et al., "H3", 2023, section 3.1: a fixed table of values for
// the sample, pairs drawn from it, then a key that was shown before.
static int32_t recall_row(TaskData *t, Draws *draws)
{
    uint32_t keys = (uint32_t)t->a, values = (uint32_t)t->b;
    int64_t last = t->time - 1, first = last % 2;            // the query stands last; pairs fill what is before it
    uint32_t table = draw_below(draws, UINT32_MAX);
    for (int64_t i = first; i < last; i += 2) {
        uint32_t k = draw_below(draws, keys);
        t->token[i] = (int32_t)k;
        t->token[i + 1] = (int32_t)(keys + (uint32_t)((uint64_t)rng_bits(table, k) * values >> 32));
    }
    if (first)                                               // one place is left: it repeats the first value
        t->token[0] = t->token[2];
    int64_t asked = first + 2 * (int64_t)draw_below(draws, (uint32_t)((last - first) / 2));
    t->token[last] = t->token[asked];
    t->token[t->time] = t->token[asked + 1];
    for (int64_t i = 0; i < t->time; i++)
        t->real[i] = i == last;
    return t->token[asked + 1] - (int32_t)keys;
}

typedef struct ListText {
    TaskData *t;
    Draws    *draws;
    int64_t   n;                            // tokens written; beyond `time` they are only counted
} ListText;

static void list_add(ListText *l, int32_t token)
{
    if (l->n < l->t->time)
        l->t->token[l->n] = token;
    l->n++;
}

static int32_t list_value(int32_t op, int32_t *x, int n)
{
    int32_t sum = 0;
    for (int i = 1; i < n; i++)             // insertion sort: n is small
        for (int k = i; k > 0 && x[k - 1] > x[k]; k--) {
            int32_t swap = x[k];
            x[k] = x[k - 1];
            x[k - 1] = swap;
        }
    for (int i = 0; i < n; i++)
        sum += x[i];
    switch (op) {
    case LIST_MAX: return x[n - 1];
    case LIST_MIN: return x[0];
    case LIST_MED: return (x[(n - 1) / 2] + x[n / 2]) / 2;   // of an even number: the mean of the middle two, cut
    default:       return sum % 10;
    }
}

// Nangia and Bowman, "ListOps", 2018: an operator with two or more arguments, each an operator itself with probability 1/4.
static int32_t list_tree(ListText *l, int depth)
{
    int32_t x[64];
    int32_t op = LIST_MAX + (int32_t)draw_below(l->draws, 4);
    int n = 2 + (int)draw_below(l->draws, (uint32_t)l->t->a - 1);
    list_add(l, op);
    for (int i = 0; i < n; i++) {
        bool nested = depth < (int)l->t->b && draw_below(l->draws, 4) == 0 && l->n <= l->t->time;
        x[i] = nested ? list_tree(l, depth + 1) : (int32_t)draw_below(l->draws, LIST_DIGITS);
        if (!nested)
            list_add(l, x[i]);
    }
    list_add(l, LIST_END);
    return list_value(op, x, n);
}

static int32_t listops_row(TaskData *t, Draws *draws)
{
    ListText l = {t, draws, 0};
    int32_t value = 0;
    // Lists that do not fit are drawn again; after many tries one that is short is taken.
    for (int tries = 0; tries < 1000; tries++) {
        l.n = 0;
        value = list_tree(&l, 1);
        if (l.n <= t->time && ((double)l.n >= t->c || tries >= 500))
            break;
    }
    if (l.n > t->time) {                    // a window for which no drawn list fits: the smallest list there is
        int32_t x = (int32_t)draw_below(draws, LIST_DIGITS);
        l.n = 0;
        list_add(&l, LIST_MAX), list_add(&l, x), list_add(&l, x), list_add(&l, LIST_END);
        value = x;
    }
    for (int64_t i = 0; i <= t->time; i++) {
        if (i >= l.n)
            t->token[i] = LIST_PAD;
        if (i < t->time)
            t->real[i] = i < l.n;
    }
    return value;
}

static const DataFieldRow task_field[] = {
    {"tokens", DTYPE_I32, 2, "[B,T]"}, {"targets", DTYPE_I32, 2, "[B,T]"}, {"real", DTYPE_F32, 2, "[B,T]"},
    {"seen", DTYPE_F32, 2, "[B,T]"}, {"labels", DTYPE_I32, 1, "[B]"}, {NULL, 0, 0, NULL},
};

static Status task_bind(Dataset *d, const DataSlot *slot, size_t n, StatusText *why)
{
    TaskData *t = d->self;
    const DataSlot *tokens = data_slot(slot, n, "tokens");
    if (!tokens)
        return status_fail(why, STATUS_BAD_MODEL, "the model does not read the data's field `tokens`");
    t->time = tokens->size[1];
    for (size_t i = 0; i < n; i++)
        if (slot[i].n_dims == 2 && slot[i].size[1] != t->time)
            return status_fail(why, STATUS_BAD_MODEL, "the data's field `%s` has %lld positions where `tokens` has %lld",
                               slot[i].name, (long long)slot[i].size[1], (long long)t->time);
    if (t->time < 4)
        return status_fail(why, STATUS_BAD_MODEL, "the task needs windows of 4 or more tokens, not %lld", (long long)t->time);
    if (t->time > t->room) {
        t->token = arena_array(d->arena, int32_t, (size_t)t->time + 1);
        t->real = arena_array(d->arena, float, (size_t)t->time);
        t->room = t->time;
    }
    return STATUS_OK;
}

static Status task_batch(Dataset *d, DataSplit split, uint64_t number, const DataSlot *slot, size_t n, StatusText *why)
{
    (void)why;
    TaskData *t = d->self;
    for (int64_t b = 0; b < d->batch; b++) {
        uint64_t sample = (number * (uint64_t)d->batch + (uint64_t)b) * 2 + (split == DATA_VAL);
        Draws draws = draws_for(d->options.seed, STREAM_TASK, sample);
        int32_t label = t->row(t, &draws);
        for (size_t k = 0; k < n; k++) {
            const char *name = slot[k].name;
            bool is_tokens = strcmp(name, "tokens") == 0, is_targets = strcmp(name, "targets") == 0;
            for (int64_t i = 0; i < (slot[k].n_dims == 1 ? 1 : t->time); i++) {
                bool padded = t->row == listops_row && t->token[i] == LIST_PAD;
                double value = slot[k].n_dims == 1 ? label : is_tokens ? t->token[i] : is_targets ? t->token[i + 1]
                             : strcmp(name, "seen") == 0 ? !padded : (double)t->real[i];
                size_t at = slot[k].n_dims == 1 ? (size_t)b : (size_t)(b * t->time + i);
                if (slot[k].dtype == DTYPE_F32)
                    ((float *)slot[k].data)[at] = (float)value;
                else
                    ((int32_t *)slot[k].data)[at] = (int32_t)value;
            }
        }
    }
    return STATUS_OK;
}

// There is no end to the samples; a pass of validation is 16 batches.
static int64_t task_batches(const Dataset *d, DataSplit split)
{
    (void)d;
    return split == DATA_VAL ? 16 : 1000;
}

static int64_t task_range(const Dataset *d, const char *field)
{
    const TaskData *t = d->self;
    if (strcmp(field, "labels") != 0)
        return d->n_vocabulary;
    return t->row == listops_row ? LIST_DIGITS : t->row == recall_row ? (int64_t)t->b : 1;
}

static const DataKind task_kind = {task_field, task_bind, task_batch, task_batches, NULL, task_range, NULL};

Status data_open_task(Dataset *d, const char *name, StatusText *why)
{
    TaskData *t = arena_new(d->arena, TaskData);
    Status s = STATUS_OK;
    if (strcmp(name, "copy") == 0) {
        t->row = copy_row;
        s = data_number(d, "source.symbols", 8, 1, 1e6, &t->a, why);
        d->n_vocabulary = (int64_t)t->a + 1;
    } else if (strcmp(name, "recall") == 0) {
        t->row = recall_row;
        s = data_number(d, "source.keys", 8, 1, 1e6, &t->a, why);
        if (s == STATUS_OK)
            s = data_number(d, "source.values", t->a, 1, 1e6, &t->b, why);
        d->n_vocabulary = (int64_t)t->a + (int64_t)t->b;
    } else {
        t->row = listops_row;
        s = data_number(d, "source.args", 5, 2, 64, &t->a, why);
        if (s == STATUS_OK) s = data_number(d, "source.depth", 5, 1, 64, &t->b, why);
        if (s == STATUS_OK) s = data_number(d, "source.least", 1, 1, 1e6, &t->c, why);
        d->n_vocabulary = LIST_VOCABULARY;
    }
    if (s != STATUS_OK)
        return s;
    d->self = t;
    d->kind = &task_kind;
    d->summary = arena_printf(d->arena, "%s: generated, %lld different tokens", name, (long long)d->n_vocabulary);
    return STATUS_OK;
}
