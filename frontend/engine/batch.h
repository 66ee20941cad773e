// The batch axis of a model: its name, and how many rows a run of a trained model has.
#ifndef MIXC_BATCH_H
#define MIXC_BATCH_H

#include "build.h"
#include "status.h"

// The first axis of kind batch that the file declares; NULL: none. It is what `..` stands for in an entry's inputs.
const char *batch_axis(const Ast *ast);

// Adds a binding of the axis, or replaces the one there is. Afterwards the bindings are a copy in the arena.
void   batch_bind(Arena *arena, BuildOptions *options, const char *axis, int64_t rows);

// Rows of one run of the training step: train.batch / train.grad_accum. BAD_MODEL when that is no whole number.
Status batch_rows(const Module *m, int64_t *out_rows, StatusText *why);

#endif
