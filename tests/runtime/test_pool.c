// The pool: every item exactly once, whatever the number of threads, the grain and the timing; and what one call costs.
#include "pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAX_N = 3000 };

typedef struct Work {
    int seen[MAX_N];                        // only the thread that has the item writes it
    int n_threads;
    int64_t n;
    int bad;
} Work;

static void count(void *user, int64_t begin, int64_t end, int thread)
{
    Work *w = user;
    if (begin < 0 || begin >= end || end > w->n || thread < 0 || thread >= w->n_threads)
        w->bad = 1;
    for (int64_t i = begin; i < end; i++)
        w->seen[i]++;
}

static void test_every_item_once(void **state)
{
    (void)state;
    static Work w;
    StatusText why = {0};
    for (int threads = 1; threads <= 7; threads += 2) {
        Pool *pool = NULL;
        assert_int_equal(pool_open(threads, &pool, &why), STATUS_OK);
        assert_int_equal(pool_threads(pool), threads);
        for (int round = 0; round < 300; round++) {
            w = (Work){.n_threads = threads, .n = (round * 37) % MAX_N};
            pool_run(pool, count, &w, w.n, 1 + round % 50);
            assert_int_equal(w.bad, 0);
            for (int64_t i = 0; i < MAX_N; i++)
                assert_int_equal(w.seen[i], i < w.n);
            if (round % 100 == 99)
                usleep(2000);               // let the workers fall asleep
        }
        pool_close(pool);
    }
}

static void test_refuses_odd_numbers(void **state)
{
    (void)state;
    StatusText why = {0};
    Pool *pool = NULL;
    assert_int_equal(pool_open(0, &pool, &why), STATUS_BAD_USAGE);
    assert_non_null(strstr(why.text, "0 threads were asked for"));
    pool_close(NULL);
    assert_true(pool_default_threads() >= 1);
}

static void nothing(void *user, int64_t begin, int64_t end, int thread)
{
    (void)user, (void)begin, (void)end, (void)thread;
}

static void test_cost_of_a_call(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 2; threads++) {
        Pool *pool = NULL;
        StatusText why = {0};
        assert_int_equal(pool_open(threads, &pool, &why), STATUS_OK);
        double best = 1e9;
        for (int round = 0; round < 20; round++) {
            struct timespec a, b;
            clock_gettime(CLOCK_MONOTONIC, &a);
            for (int i = 0; i < 500; i++)
                pool_run(pool, nothing, NULL, 64, 1);
            clock_gettime(CLOCK_MONOTONIC, &b);
            double us = ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / 500e3;
            best = us < best ? us : best;
        }
        print_message("one call with %d thread(s): %.2f us\n", threads, best);
        pool_close(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_item_once),
        cmocka_unit_test(test_refuses_odd_numbers),
        cmocka_unit_test(test_cost_of_a_call),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
