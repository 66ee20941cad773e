// A pool of threads that shares out the work items of one kernel call at a time. Items are independent, so the
// result does not depend on the number of threads or on who computes what.
#ifndef MIXC_POOL_H
#define MIXC_POOL_H

#include "status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct Pool Pool;

// Computes items begin <= w < end; `thread` counts from 0.
typedef void PoolWork(void *user, int64_t begin, int64_t end, int thread);

// As many threads as this process may run on, or has processor time for (control groups).
int    pool_default_threads(void);

// `threads` counts the caller, who always takes part: 1 starts no thread. Owned by whoever opened it.
Status pool_open(int threads, Pool **out_pool, StatusText *why);
void   pool_close(Pool *pool);
int    pool_threads(const Pool *pool);

// Runs work(user, ...) over 0 <= w < n in pieces of at least `grain` items and returns when all are done. One caller
// at a time; what the caller wrote before is seen by the work, and the other way round.
void   pool_run(Pool *pool, PoolWork *work, void *user, int64_t n, int64_t grain);

#endif
