// See engine.h: first values of parameters and states. They are computed as the evaluator would, bit for bit, but in pieces
// and on all threads (eval_pieces.h), so that a large model starts quickly and in no more memory than it needs.
#include "engine_net.h"

#include "eval_pieces.h"
#include "frequency_hash.h"
#include "pool.h"

#include <stdlib.h>
#include <string.h>

enum { PIECE = 256 * EVAL_BLOCK };          // elements handed to the device at a time

typedef struct InitLeaf {
    double         seed;
    const int64_t *count;                   // [n] of tokens; NULL: not known
    size_t         n;
    Arena         *arena;                   // of tables, while one value is made
} InitLeaf;

static const double *init_leaf(void *user, const Graph *g, const Node *leaf)
{
    static const double zero = 0;
    InitLeaf *init = user;
    if (leaf->op != OP_ARG)
        return NULL;
    const char *experts = leaf->attr[0].name + strlen(INIT_FREQUENCY_HASH);
    int64_t entries;
    if (!strncmp(leaf->attr[0].name, INIT_FREQUENCY_HASH, strlen(INIT_FREQUENCY_HASH)) && type_count(g, &leaf->type, &entries))
        return frequency_hash(init->arena, (size_t)entries, strtoull(experts, NULL, 10), init->count, init->n);
    return strcmp(leaf->attr[0].name, "seed") ? &zero : &init->seed;
}

typedef struct Fill {
    Pool   *pool;
    void   *number;                         // [PIECE] f32 or int32, as the slot wants
    bool    whole;
    double *scratch;                        // [threads][stride]
    size_t  stride;
    // the piece in work
    const EvalPieces *pieces;
    int64_t first;
    size_t  n;
} Fill;

static void fill_blocks(void *user, int64_t begin, int64_t end, int thread)
{
    const Fill *f = user;
    double *scratch = f->scratch + f->stride * (size_t)thread, *value = scratch + f->stride - EVAL_BLOCK;
    for (int64_t block = begin; block < end; block++) {
        size_t at = (size_t)block * EVAL_BLOCK, n = f->n - at < EVAL_BLOCK ? f->n - at : EVAL_BLOCK;
        eval_pieces_fill(f->pieces, f->first + (int64_t)at, n, scratch, value);
        for (size_t i = 0; i < n; i++)
            if (f->whole)
                ((int32_t *)f->number)[at + i] = (int32_t)value[i];
            else
                ((float *)f->number)[at + i] = (float)value[i];
    }
}

// One output of `init`, written where its name says.
static Status init_one(Net *net, const Graph *init, const Output *output, InitLeaf *leaf, Fill *f, StatusText *why)
{
    const Slot *slot = net_slot(net, BUFFER_PARAM, output->name);
    slot = slot ? slot : net_slot(net, BUFFER_STATE, output->name);
    if (!slot || net_is_shared(net, slot))
        return STATUS_OK;
    Arena scratch;
    arena_init(&scratch);
    scratch.out_of_memory = init->arena->out_of_memory;
    scratch.user = init->arena->user;
    leaf->arena = &scratch;
    Status status = eval_pieces_make(init, output->value, init_leaf, leaf, &scratch, &f->pieces, why);
    if (status == STATUS_OK) {
        f->stride = eval_pieces_scratch(f->pieces) + EVAL_BLOCK;
        f->scratch = arena_array(&scratch, double, f->stride * (size_t)pool_threads(f->pool));
        f->whole = slot->dtype == DTYPE_I32;
    }
    for (f->first = 0; f->first < slot->count && status == STATUS_OK; f->first += (int64_t)f->n) {
        f->n = slot->count - f->first < PIECE ? (size_t)(slot->count - f->first) : PIECE;
        pool_run(f->pool, fill_blocks, f, (int64_t)((f->n + EVAL_BLOCK - 1) / EVAL_BLOCK), 4);
        status = net_write_part(net, slot, f->first, (int64_t)f->n, f->number, why);
    }
    arena_free(&scratch);
    return status;
}

Status net_init(Net *net, const Module *module, uint64_t seed, StatusText *why)
{
    return net_init_counted(net, module, seed, NULL, 0, why);
}

Status net_init_counted(Net *net, const Module *module, uint64_t seed, const int64_t *count, size_t n, StatusText *why)
{
    const Graph *init = module_graph(module, "init");
    if (!init)
        return STATUS_OK;
    InitLeaf leaf = {.seed = (double)seed, .count = count, .n = n};
    Fill fill = {.number = malloc(PIECE * 4)};
    Status status = fill.number ? pool_open(net->threads, &fill.pool, why)
                                : status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for initial values");
    for (size_t i = 0; i < init->n_outputs && status == STATUS_OK; i++)
        if (init->output[i].role == OUTPUT_NEXT)
            status = init_one(net, init, &init->output[i], &leaf, &fill, why);
    pool_close(fill.pool);
    free(fill.number);
    return status;
}
