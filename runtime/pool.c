// See pool.h. One 64-bit word says which job is open and which piece of it is next: (job number, piece). A thread takes
// a piece by compare-and-swap on that word, so a thread that slept through a job can never take work of a later
// one by mistake, and the caller never waits for threads that took nothing.
//
//   caller:  fill job, open word = (g, 0), wake sleepers | take pieces | wait until `done` pieces == all
//   worker:  spin on the word, then sleep                | take pieces | the last one wakes a waiting caller
#define _GNU_SOURCE
#include "pool.h"

#include <limits.h>
#include <linux/futex.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    WORKER_SPINS = 4000,                    // about 50 us: longer than the gap between two launches of one step
    CALLER_SPINS = 2000,
    PIECES_PER_THREAD = 8,                  // so that a thread that was interrupted does not hold up the rest
    MAX_THREADS = 1024,
};

typedef struct Worker {
    Pool     *pool;
    pthread_t thread;
    int       index;
} Worker;

struct Pool {
    _Alignas(64) _Atomic uint64_t ticket;   // job << 32 | next piece
    _Alignas(64) _Atomic uint32_t job;      // number of the newest job; what workers sleep on
    _Atomic uint32_t sleepers;
    _Atomic bool     stop;
    _Alignas(64) _Atomic uint32_t done;     // pieces finished; what the caller sleeps on
    _Atomic bool     caller_sleeps;
    // The job. Written by the caller only while no piece is open; atomic because a late worker may look.
    _Alignas(64) _Atomic(PoolWork *) work;
    _Atomic(void *)  user;
    _Atomic int64_t  n, piece;
    _Atomic uint32_t n_pieces;
    int      n_workers;
    Worker  *worker;
};

static void futex_wait(_Atomic uint32_t *word, uint32_t expected)
{
    syscall(SYS_futex, (uint32_t *)word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int n)
{
    syscall(SYS_futex, (uint32_t *)word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

static inline void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

// Processors' worth of time that this group of processes may use; 0: no limit is known.
static int quota_threads(void)
{
    double quota, period;
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
    bool has_quota = f && fscanf(f, "%lf %lf", &quota, &period) == 2 && quota > 0 && period > 0;   // "max" is no number
    if (f)
        fclose(f);
    return has_quota && quota / period < MAX_THREADS ? (int)ceil(quota / period) : 0;
}

int pool_default_threads(void)
{
    cpu_set_t set;
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        n = CPU_COUNT(&set);
    int quota = quota_threads();
    if (quota > 0 && quota < n)
        n = quota;
    return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : (int)n;
}

// Takes pieces of the open job until none is left.
static void take_pieces(Pool *pool, int thread)
{
    uint64_t ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
    for (;;) {
        uint32_t index = (uint32_t)ticket;
        uint32_t n_pieces = atomic_load_explicit(&pool->n_pieces, memory_order_acquire);
        if (index >= n_pieces)
            return;
        PoolWork *work = atomic_load_explicit(&pool->work, memory_order_relaxed);
        void *user = atomic_load_explicit(&pool->user, memory_order_relaxed);
        int64_t n = atomic_load_explicit(&pool->n, memory_order_relaxed);
        int64_t piece = atomic_load_explicit(&pool->piece, memory_order_relaxed);
        // Success means that this job is still open, so what was just read belongs to it.
        if (!atomic_compare_exchange_weak_explicit(&pool->ticket, &ticket, ticket + 1, memory_order_acq_rel,
                                                   memory_order_acquire))
            continue;
        int64_t begin = (int64_t)index * piece, end = begin + piece < n ? begin + piece : n;
        work(user, begin, end, thread);
        if (atomic_fetch_add(&pool->done, 1) + 1 == n_pieces && atomic_load(&pool->caller_sleeps))
            futex_wake(&pool->done, 1);
        ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
    }
}

static void *worker_main(void *argument)
{
    Worker *worker = argument;
    Pool *pool = worker->pool;
    uint32_t seen = 0;
    for (;;) {
        uint32_t job = atomic_load_explicit(&pool->job, memory_order_acquire);
        for (int spin = 0; job == seen && spin < WORKER_SPINS; spin++) {
            pause_briefly();
            job = atomic_load_explicit(&pool->job, memory_order_acquire);
        }
        if (job == seen) {
            atomic_fetch_add(&pool->sleepers, 1);
            futex_wait(&pool->job, seen);
            atomic_fetch_sub(&pool->sleepers, 1);
            continue;
        }
        seen = job;
        if (atomic_load(&pool->stop))
            return NULL;
        take_pieces(pool, worker->index);
    }
}

static void announce(Pool *pool, uint32_t job)
{
    atomic_store(&pool->job, job);          // sequentially consistent with the sleepers' count: no wake-up is lost
    if (atomic_load(&pool->sleepers) > 0)
        futex_wake(&pool->job, INT_MAX);
}

// Publishes a job of n_pieces pieces. Until then no piece is open: the ticket is first moved to the new job with no
// pieces, so that nobody can take a piece while the fields change.
static uint32_t open_job(Pool *pool, PoolWork *work, void *user, int64_t n, int64_t piece, uint32_t n_pieces)
{
    uint32_t job = atomic_load_explicit(&pool->job, memory_order_relaxed) + 1;
    atomic_store_explicit(&pool->done, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->n_pieces, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->ticket, (uint64_t)job << 32, memory_order_release);
    atomic_store_explicit(&pool->work, work, memory_order_relaxed);
    atomic_store_explicit(&pool->user, user, memory_order_relaxed);
    atomic_store_explicit(&pool->n, n, memory_order_relaxed);
    atomic_store_explicit(&pool->piece, piece, memory_order_relaxed);
    atomic_store_explicit(&pool->n_pieces, n_pieces, memory_order_release);
    return job;
}

static void wait_until_done(Pool *pool, uint32_t n_pieces)
{
    uint32_t done = atomic_load_explicit(&pool->done, memory_order_acquire);
    for (int spin = 0; done != n_pieces && spin < CALLER_SPINS; spin++) {
        pause_briefly();
        done = atomic_load_explicit(&pool->done, memory_order_acquire);
    }
    while (done != n_pieces) {
        atomic_store(&pool->caller_sleeps, true);
        done = atomic_load(&pool->done);
        if (done != n_pieces)
            futex_wait(&pool->done, done);
        atomic_store(&pool->caller_sleeps, false);
        done = atomic_load_explicit(&pool->done, memory_order_acquire);
    }
}

void pool_run(Pool *pool, PoolWork *work, void *user, int64_t n, int64_t grain)
{
    if (n <= 0)
        return;
    int threads = pool->n_workers + 1;
    int64_t pieces = (int64_t)threads * PIECES_PER_THREAD;
    int64_t piece = n / pieces;             // rounded down: 10 items for 2 threads are 10 pieces, not 5
    if (piece < grain)
        piece = grain;
    if (piece < 1)
        piece = 1;
    if (threads == 1 || piece >= n) {
        work(user, 0, n, 0);
        return;
    }
    uint32_t n_pieces = (uint32_t)(n / piece + (n % piece != 0));
    announce(pool, open_job(pool, work, user, n, piece, n_pieces));
    take_pieces(pool, 0);
    wait_until_done(pool, n_pieces);
}

Status pool_open(int threads, Pool **out_pool, StatusText *why)
{
    if (threads < 1 || threads > MAX_THREADS)
        return status_fail(why, STATUS_BAD_USAGE, "%d threads were asked for; 1 to %d are possible", threads,
                           MAX_THREADS);
    Pool *pool = aligned_alloc(64, (sizeof *pool + 63) / 64 * 64);
    Worker *worker = calloc((size_t)threads, sizeof *worker);
    if (!pool || !worker) {
        free(pool);
        free(worker);
        return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for a pool of %d threads", threads);
    }
    memset(pool, 0, sizeof *pool);
    pool->worker = worker;
    for (int i = 1; i < threads; i++) {
        worker[i] = (Worker){.pool = pool, .index = i};
        int error = pthread_create(&worker[i].thread, NULL, worker_main, &worker[i]);
        if (error) {
            pool_close(pool);
            return status_fail(why, STATUS_OUT_OF_MEMORY, "thread %d of %d could not be started (%s): there is no memory for its "
                               "stack, or too many threads run; --threads says how many are wanted", i + 1, threads,
                               strerror(error));
        }
        pool->n_workers = i;
    }
    *out_pool = pool;
    return STATUS_OK;
}

void pool_close(Pool *pool)
{
    if (!pool)
        return;
    atomic_store(&pool->stop, true);
    announce(pool, atomic_load(&pool->job) + 1);
    for (int i = 1; i <= pool->n_workers; i++)
        pthread_join(pool->worker[i].thread, NULL);
    free(pool->worker);
    free(pool);
}

int pool_threads(const Pool *pool)
{
    return pool->n_workers + 1;
}
