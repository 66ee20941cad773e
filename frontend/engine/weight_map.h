// A weight map: text that says how tensors of another implementation correspond to ours, one line a tensor.
//
//     SwitchHead.Wq[D,H,K] = "q.weight"[(H K), D]           # a merge of two of ours, left factor major
//     Mlp.W1[D,F]          = "up.0"[F@0..64, D]             # a range of ours: two lines may fill it ..
//     Mlp.W1[D,F]          = "up.1"[F@64..128, D]
//     Attn.Wk[D,H,K]       = "qkv"[(H K)@64..128, D]        # .. or a place in a longer one of theirs
//     sgu.bias[T]          = "sgu.bias"[1, T] * 0.5         # ours is half of theirs
//     Moe.W1[E,D,F]        = "expert.0.w"[E@0..1, F, D]     # theirs may be [F, D]: a tensor for each expert
//     loss.aux             = "loss.reg"
//
// Whether `F@0..64` is a range of ours or a place in theirs follows from the sizes: if F has 64 elements it is the
// whole of F at that place, otherwise it is that part of F. A tensor of theirs may lack the dimensions that are 1 or a range
// of length 1, all of them or none. A line is read both ways; `factor` is ours / theirs.
#ifndef MIXC_WEIGHT_MAP_H
#define MIXC_WEIGHT_MAP_H

#include "graph.h"

typedef struct MapDim {                     // one dimension of theirs
    size_t      n_axes;                     // of ours merged into it, left factor major; 0: the literal 1
    const char *axis[MAX_AXES];
    bool        has_range;
    int64_t     begin, end;
    Span        at;
} MapDim;

typedef struct MapLine {
    const char *ours, *theirs;
    size_t      n_axes;                     // of ours, as written on the left
    const char *axis[MAX_AXES];
    size_t      n_dims;
    MapDim      dim[MAX_AXES];
    double      factor;                     // ours = factor * theirs
    Span        at, ours_at, theirs_at;
} MapLine;

typedef struct WeightMap {
    MapLine *line;
    size_t   n_lines, capacity;
} WeightMap;

// The axes of one of our tensors, in storage order.
typedef struct MapAxes {
    size_t      n;
    const char *name[MAX_AXES];
    int64_t     size[MAX_AXES];
} MapAxes;

// Where the elements of ours lie in theirs: the sum over axes of place[axis][index]; -1: not in this line.
typedef struct MapPlan {
    size_t   n_axes;
    int64_t  size[MAX_AXES];
    int64_t *place[MAX_AXES];
    int64_t  n_ours, n_theirs;              // elements
    double   factor;
} MapPlan;

// Parses a loaded file. Returns NULL when a line is wrong (all errors are in diag).
WeightMap *weight_map_parse(Arena *arena, Diag *diag, const Sources *sources, uint32_t file);

// The next line after `after` (NULL: the first) that is about one of ours, or one of theirs. NULL: none.
const MapLine *weight_map_ours(const WeightMap *map, const char *name, const MapLine *after);
const MapLine *weight_map_theirs(const WeightMap *map, const char *name, const MapLine *after);

// The shape that a line gives their tensor, where it lies alone: places count from 0 to their end.
bool weight_map_shape(Diag *diag, const MapLine *line, const MapAxes *ours, int64_t *out_size);

// Sizes of our axes that a line reveals from the shape of theirs: calls `found` for each. Merges reveal an axis when
// `known` gives the others. Quiet: a shape that does not fit is reported by weight_map_plan.
typedef struct MapSize { const char *axis; int64_t size; } MapSize;
size_t weight_map_sizes(const MapLine *line, const int64_t *their_size, size_t n_dims, const MapAxes *known,
                        MapSize *out_found, size_t most);

// Lays out one line. Reports at the line and returns false when the axes or sizes do not fit.
bool weight_map_plan(Arena *arena, Diag *diag, const MapLine *line, const MapAxes *ours, const int64_t *their_size,
                     size_t n_dims, MapPlan *out_plan);

// ours = factor * theirs, for the elements in the line; `filled[i]` (may be NULL) becomes true for each.
// Elements are 4 bytes: f32, or ints when dtype is DTYPE_I32 (then factor must be 1).
void map_plan_read(const MapPlan *plan, DType dtype, double factor, const void *theirs, void *ours, bool *filled);
// theirs += factor * ours.
void map_plan_add(const MapPlan *plan, DType dtype, double factor, const void *ours, void *theirs);

#endif
