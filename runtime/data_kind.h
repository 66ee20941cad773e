// Inside the data readers: what a kind of data provides, and how a section's fields are read.
#ifndef MIXC_DATA_KIND_H
#define MIXC_DATA_KIND_H

#include "data.h"
#include "rng.h"

typedef struct DataFieldRow {               // a field that a kind can fill
    const char *name;
    DType       dtype;
    int         n_dims;
    const char *axes;                       // for messages: "[B,T]"
} DataFieldRow;

typedef struct DataKind {
    const DataFieldRow *field;              // ends with name NULL
    Status  (*bind)(Dataset *d, const DataSlot *slot, size_t n, StatusText *why);
    Status  (*batch)(Dataset *d, DataSplit split, uint64_t number, const DataSlot *slot, size_t n, StatusText *why);
    int64_t (*batches)(const Dataset *d, DataSplit split);
    void    (*close)(Dataset *d);           // NULL: nothing to do
    // The numbers of an int field are 0 <= x < range; after bind.
    int64_t (*range)(const Dataset *d, const char *field);
    // Adds how often each token occurs in the part to train on. NULL: there are no tokens.
    void    (*count)(const Dataset *d, int64_t *count);
} DataKind;

struct Dataset {
    Arena          *arena;                  // borrowed
    const Field    *field; size_t n_fields; // borrowed
    DataOptions     options;
    const DataKind *kind;
    void           *self;                   // of the kind
    Tokenizer      *tokenizer;
    int64_t         n_vocabulary;
    const char     *summary, *state;
    int64_t         batch;                  // size of the batch axis, from data_bind
};

// Each opens its kind: sets kind, self, tokenizer, n_vocabulary, summary, state.
Status data_open_text(Dataset *d, const char *const *path, size_t n_paths, StatusText *why);
Status data_open_images(Dataset *d, const char *path, StatusText *why);
Status data_open_task(Dataset *d, const char *name, StatusText *why);

// Fields of the section. Text: NULL when there is none. Numbers: checked to lie between low and high (BAD_MODEL).
const char *data_text(const Dataset *d, const char *key);
Status data_number(const Dataset *d, const char *key, double otherwise, double low, double high, double *out, StatusText *why);
// A path of the section: relative ones are looked up beside the model file, then in the current folder.
const char *data_path(const Dataset *d, const char *path);
// The slot of a name; NULL: not asked for.
const DataSlot *data_slot(const DataSlot *slot, size_t n, const char *name);
// The whole of a file, unpacked when it is gzipped, with a zero behind it. The caller frees it.
Status data_read_file(const char *path, size_t max_bytes, char **out, size_t *out_n, StatusText *why);

// Streams of random numbers that the readers use: a stream each, so that they are independent.
enum { STREAM_WINDOW = 0xda7a0001u, STREAM_MASK, STREAM_ORDER, STREAM_AUGMENT, STREAM_TASK };

// A sequence of draws for one sample.
typedef struct Draws {
    uint32_t key, next;
} Draws;

static inline Draws draws_for(uint32_t seed, uint32_t stream, uint64_t sample)
{
    return (Draws){rng_key(seed ^ rng_mix((uint32_t)(sample >> 32)), (uint32_t)sample, stream), 0};
}

static inline uint32_t draw_below(Draws *d, uint32_t n)
{
    return (uint32_t)((uint64_t)rng_bits(d->key, d->next++) * n >> 32);
}

static inline double draw_uniform(Draws *d)
{
    return rng_uniform(d->key, d->next++);
}

// Position i of a pseudo-random order of n items; every (seed, epoch) has its own.
uint64_t data_shuffle(uint64_t i, uint64_t n, uint32_t seed, uint64_t epoch);

#endif
