// Counting by one block of threads, in CUDA: rows are given places by what they chose, in order. Each warp counts a stretch of the rows,
// 32 at a time; sums over warps say where its rows of a group begin; then each warp goes through its stretch again. So places are those
// of a single thread that goes through all rows, whatever the number of warps.
#ifndef MIXC_COUNT_CUDA_H
#define MIXC_COUNT_CUDA_H

#include "lower_order.h"
#include "lower_route.h"

// Warps that count n_rows rows in n_groups groups (a power of two, at least 2); 0: their counts have no room.
int64_t count_cuda_warps(int64_t n_rows, int64_t n_groups);
// Bytes of dynamic shared memory that so many warps take.
int64_t count_cuda_bytes(int64_t warps, int64_t n_groups);

// Writes the order of rows into `ints`, the workspace's name.
void    count_cuda_order(Emitter *E, Scope *at, const RowOrder *order, const char *ints, int64_t warps);

// Of a slot or a rank whose pool is at the indices in env: whether a block can do it, bytes, and the text. `item`: number of the pool.
bool    count_cuda_can(const Graph *g, const Route *r);
int64_t count_cuda_pool_warps(const Graph *g, const Route *r);
int64_t count_cuda_pool_bytes(const Graph *g, const Route *r, int64_t warps);
void    count_cuda_pool(Emitter *E, Scope *at, const Route *r, const Env *env, int64_t warps, Ix item);

#endif
