// See pool.h and pool_core.inc.
#define _GNU_SOURCE
#include "pool.h"

#include "pool_core.inc"

Status pool_open(int threads, Pool **out_pool, StatusText *why)
{
    if (threads < 1 || threads > MAX_THREADS)
        return status_fail(why, STATUS_BAD_USAGE, "%d threads were asked for; 1 to %d are possible", threads,
                           MAX_THREADS);
    int error, started;
    Pool *pool = pool_start(threads, &error, &started);
    if (!pool && !started)
        return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for a pool of %d threads", threads);
    if (!pool)
        return status_fail(why, STATUS_OUT_OF_MEMORY, "thread %d of %d could not be started (%s): there is no memory for its "
                           "stack, or too many threads run; --threads says how many are wanted", started + 1, threads,
                           strerror(error));
    *out_pool = pool;
    return STATUS_OK;
}
