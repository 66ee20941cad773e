// Tensors of files under our names and layouts, and ours under foreign ones: what run, import, train and eval read
// and write. Without a weight map names and layouts are ours.
#ifndef MIXC_TENSOR_BIND_H
#define MIXC_TENSOR_BIND_H

#include "safetensors.h"
#include "weight_map.h"

typedef enum TensorKind {
    TENSOR_PARAM,
    TENSOR_STATE,
    TENSOR_INPUT,
    TENSOR_COTANGENT,
    TENSOR_OUTPUT,
    TENSOR_LOSS,
    TENSOR_GRAD
} TensorKind;

typedef struct TensorBind {
    Arena             *arena;               // borrowed
    Diag              *diag;                // where a map line that does not fit is reported
    const WeightMap   *map;                 // NULL: none
    const Safetensors *weights, *inputs;    // NULL: none
    Text               missing;             // what could not be found, one indented line each
    size_t             n_missing;
} TensorBind;

TensorBind tensor_bind_make(Arena *arena, Diag *diag, const WeightMap *map, const Safetensors *weights,
                            const Safetensors *inputs);

// Is there a tensor for it in the file (all of them, when several lines fill it)?
bool tensor_bind_has(const TensorBind *bind, TensorKind kind, const char *name);
// Reads one of ours: `data` has an f32 or int for each element. A tensor that is not there goes on the list of missing
// ones and is not an error yet. Errors: BAD_MODEL (with a diagnostic, or in `why`) when shapes differ; the file's.
Status tensor_bind_read(TensorBind *bind, TensorKind kind, const char *name, DType dtype, const MapAxes *axes,
                        void *data, StatusText *why);
// Sizes of axes that the shapes of an input reveal; `axes->size` is -1 where not known yet and is filled in.
void   tensor_bind_sizes(const TensorBind *bind, const char *input, MapAxes *axes);

typedef struct TensorOut {                  // a tensor to be written, under its name in the file
    const char *name;
    DType       dtype;
    size_t      n_dims;
    int64_t     size[MAX_AXES];
    void       *data;
} TensorOut;

typedef struct TensorOuts {
    TensorOut *tensor;
    size_t     n, capacity;
} TensorOuts;

// Adds one of ours. GRAD names are "input.NAME" or "param.NAME". False after a diagnostic.
bool tensor_outs_add(TensorOuts *outs, TensorBind *bind, TensorKind kind, const char *name, DType dtype,
                     const MapAxes *axes, const void *data);
Status tensor_outs_write(const TensorOuts *outs, Arena *arena, const char *path, StatusText *why);

#endif
