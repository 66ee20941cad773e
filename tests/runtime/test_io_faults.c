// Every system call of a save fails once, and then for ever, with every error: the newest checkpoint is always one that
// was written whole, a failure has a message, and nothing is left lying about. The calls below stand in for the C
// library's; they count, fail when told to, and otherwise go to the kernel.
#define _GNU_SOURCE
#include "cache.h"
#include "generations.h"
#include "safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

static struct {
    bool is_on;
    int  calls;                             // so far
    int  fail_at;                           // the call that fails; -1: none
    bool persistent;                        // all after it fail too
    int  error;                             // 0: a short write
} fault = {.fail_at = -1};

static bool fails(void)
{
    if (!fault.is_on)
        return false;
    int call = fault.calls++;
    bool yes = fault.fail_at >= 0 && (fault.persistent ? call >= fault.fail_at : call == fault.fail_at);
    if (yes && fault.error)
        errno = fault.error;
    return yes;
}

ssize_t write(int fd, const void *data, size_t n)
{
    if (fails()) {
        if (fault.error)
            return -1;
        n = n > 1 ? n / 2 : n;
    }
    return syscall(SYS_write, fd, data, n);
}

ssize_t pread(int fd, void *data, size_t n, off_t at)
{
    if (fails()) {
        if (fault.error)
            return -1;
        n = n > 1 ? n / 2 : n;
    }
    return syscall(SYS_pread64, fd, data, n, at);
}

int fsync(int fd)
{
    return fails() && fault.error ? -1 : (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to)
{
    return fails() && fault.error ? -1 : (int)syscall(SYS_rename, from, to);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return fails() && fault.error ? -1 : (int)syscall(SYS_renameat, from_dir, from, to_dir, to);
}

int symlinkat(const char *target, int dir, const char *name)
{
    return fails() && fault.error ? -1 : (int)syscall(SYS_symlinkat, target, dir, name);
}

int ftruncate(int fd, off_t n)
{
    return fails() && fault.error ? -1 : (int)syscall(SYS_ftruncate, fd, n);
}

int flock(int fd, int how)
{
    return fails() && fault.error ? -1 : (int)syscall(SYS_flock, fd, how);
}

static char folder[] = "/tmp/mixc-test-XXXXXX";
enum { SIZE = 1000 };

static Status save(int64_t step, StatusText *why)
{
    Arena arena = {0};
    float data[SIZE];
    for (int i = 0; i < SIZE; i++)
        data[i] = (float)step;
    StSource source = {"x", ST_F32, 1, (int64_t[]){SIZE}, data};
    Status s = st_write(generation_path(&arena, folder, step), &source, 1, NULL, 0, why);
    if (s == STATUS_OK)
        s = generation_publish(folder, step, 1, why);
    arena_free(&arena);
    return s;
}

static int64_t newest(void)
{
    Arena arena = {0};
    StatusText why = {0};
    const char *path;
    Safetensors st;
    float data[SIZE];
    int skipped;
    if (generation_newest(&arena, folder, &path, &skipped, &why) != STATUS_OK)
        fail_msg("%s", why.text);
    assert_int_equal(st_open(&arena, path, &st, &why), STATUS_OK);
    assert_int_equal(st_read_f32(&st, st_find(&st, "x"), data, &why), STATUS_OK);
    for (int i = 1; i < SIZE; i++)
        assert_true(data[i] == data[0]);
    st_close(&st);
    arena_free(&arena);
    return (int64_t)data[0];
}

static bool has_leftovers(void)
{
    char command[300];
    snprintf(command, sizeof command, "ls -A %s | grep -q -e tmp -e link", folder);
    return system(command) == 0;
}

static void test_saving(void **state)
{
    (void)state;
    static const int error[] = {EIO, ENOSPC, EDQUOT, EINTR, 0};
    StatusText why = {0};
    int64_t good = 1;
    int sites = 0, failures = 0;
    assert_int_equal(save(good, &why), STATUS_OK);
    for (int persistent = 0; persistent <= 1; persistent++)
        for (size_t e = 0; e < sizeof error / sizeof error[0]; e++)
            for (int at = 0;; at++) {
                if (persistent && (error[e] == EINTR || error[e] == 0))
                    break;                  // for ever interrupted: writing rightly goes on for ever
                why = (StatusText){0};
                fault.is_on = true, fault.calls = 0, fault.fail_at = at, fault.persistent = persistent, fault.error = error[e];
                Status s = save(good + 1, &why);
                bool reached = fault.calls > at;
                fault.is_on = false;
                int64_t found = newest();
                if (s == STATUS_OK) {
                    assert_int_equal(found, good + 1);
                } else {
                    assert_int_equal(s, STATUS_IO);
                    assert_true(strstr(why.text, folder) != NULL);
                    assert_true(found == good || found == good + 1);
                    failures++;
                }
                assert_false(has_leftovers());
                good = found;
                if (!reached)
                    break;
                sites++;
            }
    print_message("%d faults, %d of them fatal to the save\n", sites, failures);
    assert_true(sites > 40);
}

// Reading: an interrupted or short read goes on, any other failure is a message; numbers are whole or not given.
static void test_reading(void **state)
{
    (void)state;
    static const int error[] = {EIO, EINTR, 0};
    StatusText why = {0};
    char path[300];
    float data[SIZE];
    for (int i = 0; i < SIZE; i++)
        data[i] = (float)i;
    snprintf(path, sizeof path, "%s/read", folder);
    StSource source = {"x", ST_F32, 1, (int64_t[]){SIZE}, data};
    assert_int_equal(st_write(path, &source, 1, NULL, 0, &why), STATUS_OK);
    for (size_t e = 0; e < sizeof error / sizeof error[0]; e++)
        for (int at = 0;; at++) {
            Arena arena = {0};
            Safetensors st;
            why = (StatusText){0};
            fault.is_on = true, fault.calls = 0, fault.fail_at = at, fault.persistent = false, fault.error = error[e];
            Status s = st_open(&arena, path, &st, &why);
            if (s == STATUS_OK) {
                s = st_read_f32(&st, st_find(&st, "x"), data, &why);
                st_close(&st);
            }
            bool reached = fault.calls > at;
            fault.is_on = false;
            assert_int_equal(s, reached && error[e] == EIO ? STATUS_IO : STATUS_OK);
            assert_true((s == STATUS_OK) == !why.text[0]);
            for (int i = 0; s == STATUS_OK && i < SIZE; i++)
                assert_true(data[i] == (float)i);
            arena_free(&arena);
            if (!reached)
                break;
        }
    unlink(path);
}

static void test_storing_in_the_cache(void **state)
{
    (void)state;
    char sub[300], command[400];
    static const int error[] = {EIO, ENOSPC, EINTR, 0};
    snprintf(sub, sizeof sub, "%s/cache", folder);
    Cache *c = cache_open(sub);
    for (size_t e = 0; e < 4; e++)
        for (int at = 0;; at++) {
            Arena arena = {0};
            void *data;
            size_t n;
            fault.is_on = true, fault.calls = 0, fault.fail_at = at, fault.persistent = false, fault.error = error[e];
            bool stored = cache_store(c, "key", "payload", 7);
            bool reached = fault.calls > at;
            fault.is_on = false;
            CacheFound found = cache_load(c, &arena, "key", &data, &n);
            assert_true(stored ? found == CACHE_HIT : found != CACHE_DAMAGED);
            snprintf(command, sizeof command, "ls -A %s | grep -q tmp", sub);
            assert_int_not_equal(system(command), 0);
            arena_free(&arena);
            if (!reached)
                break;
        }
    cache_close(c);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_saving),
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_storing_in_the_cache),
    };
    int failed = cmocka_run_group_tests_name("io faults", tests, NULL, NULL);
    char command[256];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) != 0 || failed != 0;
}
