// Data sets: what a `data` section names, as batches. A batch is a pure function of (seed, split, number): there is no
// reader state to save, and resuming at step n gives the batches that an unbroken run would have seen.
#ifndef MIXC_DATA_H
#define MIXC_DATA_H

#include "module.h"
#include "status.h"
#include "tokenizer.h"

typedef struct Dataset Dataset;

typedef enum DataSplit { DATA_TRAIN, DATA_VAL } DataSplit;

typedef struct DataOptions {
    const char *path;                       // --data: instead of the section's source; NULL: none
    const char *base;                       // folder of the model file, tried first for relative paths; NULL: none
    const char *state;                      // data_state of the run being resumed, evaluated or sampled; NULL: a new run
    uint32_t    seed;
} DataOptions;

// One field of a batch: where its numbers go. Sizes are those of the model's input, batch axis first, row-major.
typedef struct DataSlot {
    const char *name;
    DType       dtype;                      // F32 or I32
    int         n_dims;
    int64_t     size[MAX_AXES];
    void       *data;                       // only data_batch needs it
} DataSlot;

// Opens the data that the fields of a section (module.h) describe. Everything lives in the arena until data_close.
//   text:     source = "FILE" | "*.txt" | "FOLDER"     tokens = bytes | chars | bpe("vocab.json", "merges.bpe")
//             windows = next(T) | mlm(T, rate=0.15, spans=1, most=A)      split = parts(train=0.9, val=0.1)
//   pictures: source = "FOLDER" with IDX files or a folder of PNG/JPEG files per class | idx("IMAGES", "LABELS", ..)
//             augment = flip | crop(2) | (flip, crop(2))
//   tasks:    source = copy(symbols=8) | recall(keys=8, values=8) | listops(args=5, depth=5, least=1)
// Fails with IO (missing file), DAMAGED or BAD_MODEL.
Status data_open(Arena *arena, const Field *field, size_t n_fields, const DataOptions *options, Dataset **out,
                 StatusText *why);
void   data_close(Dataset *data);

// Checks that the data has every field of the batch, in sizes that fit (BAD_MODEL), and prepares for these sizes.
Status data_bind(Dataset *data, const DataSlot *slot, size_t n, StatusText *why);
// Checks that every number the data can hold is one that the model (its graph `main`) can look up; after data_bind.
// Fails with BAD_MODEL: more different tokens or classes than the model's axis is long.
Status data_check_ranges(const Dataset *data, const Graph *g, StatusText *why);
// Fills batch `number` (from 0) of a split into slot[i].data, after data_bind with the same slots. Allocates nothing.
// Training data goes on for ever; validation numbers count modulo data_batches.
Status data_batch(Dataset *data, DataSplit split, uint64_t number, DataSlot *slot, size_t n, StatusText *why);
// Batches of a split in one pass, after data_bind; at least 1.
int64_t data_batches(const Dataset *data, DataSplit split);

// Of text: the tokeniser. NULL: there is none.
const Tokenizer *data_tokenizer(const Dataset *data);
// How many different tokens the batches can hold (mask token included), or classes for pictures.
int64_t data_vocabulary(const Dataset *data);
// How often each of data_vocabulary tokens occurs in the part to train on; in `arena`. NULL: this is not text.
int64_t *data_counts(const Dataset *data, Arena *arena, int64_t *out_n);
// One line for people: what was opened, sizes.
const char *data_summary(const Dataset *data);
// What must be kept with a checkpoint so that the same numbers mean the same: vocabulary, normalisation, classes.
const char *data_state(const Dataset *data);

#endif
