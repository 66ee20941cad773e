// Checkpoint generations: the newest complete one is found after any crash, damage falls back to the one before, and
// old ones go. A process that is killed while it saves, again and again, never loses the newest generation.
#include "generations.h"
#include "safetensors.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 20000 };

static Status save(const char *folder, int64_t step, int keep, StatusText *why)
{
    Arena arena = {0};
    float *data = malloc(SIZE * sizeof *data);
    for (int i = 0; i < SIZE; i++)
        data[i] = (float)step;
    StSource source = {"x", ST_F32, 1, (int64_t[]){SIZE}, data};
    Status s = st_write(generation_path(&arena, folder, step), &source, 1, NULL, 0, why);
    if (s == STATUS_OK)
        s = generation_publish(folder, step, keep, why);
    free(data);
    arena_free(&arena);
    return s;
}

// The step whose numbers the newest generation holds; all must be the same. -1: none.
static int64_t newest(const char *folder, int *out_skipped)
{
    Arena arena = {0};
    StatusText why = {0};
    const char *path;
    Safetensors st;
    int64_t step = -1;
    if (generation_newest(&arena, folder, &path, out_skipped, &why) == STATUS_OK) {
        float data[SIZE];
        assert_int_equal(st_open(&arena, path, &st, &why), STATUS_OK);
        assert_int_equal(st_read_f32(&st, st_find(&st, "x"), data, &why), STATUS_OK);
        for (int i = 1; i < SIZE; i++)
            assert_true(data[i] == data[0]);
        step = (int64_t)data[0];
        st_close(&st);
    }
    arena_free(&arena);
    return step;
}

static int count_files(const char *folder)
{
    char command[300];
    int n = 0;
    snprintf(command, sizeof command, "ls -A %s | wc -l", folder);
    FILE *f = popen(command, "r");
    assert_int_equal(fscanf(f, "%d", &n), 1);
    pclose(f);
    return n;
}

static void remove_all(const char *folder)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

static void test_newest_and_old(void **state)
{
    (void)state;
    char folder[] = "/tmp/mixc-test-XXXXXX";
    int skipped = 0;
    StatusText why = {0};
    Arena arena = {0};
    assert_non_null(mkdtemp(folder));
    assert_int_equal(newest(folder, &skipped), -1);
    for (int64_t step = 100; step <= 500; step += 100) {
        assert_int_equal(save(folder, step, 2, &why), STATUS_OK);
        assert_int_equal(newest(folder, &skipped), step);
        assert_int_equal(skipped, 0);
    }
    assert_int_equal(count_files(folder), 3);        // two generations and the link
    // The newest is cut: the one before is used.
    assert_int_equal(truncate(generation_path(&arena, folder, 500), 100), 0);
    assert_int_equal(newest(folder, &skipped), 400);
    assert_int_equal(skipped, 1);
    assert_int_equal(truncate(generation_path(&arena, folder, 400), 4), 0);
    const char *path;
    assert_int_equal(generation_newest(&arena, folder, &path, &skipped, &why), STATUS_DAMAGED);
    assert_non_null(strstr(why.text, "no checkpoint in"));
    // Going back to an earlier step leaves no later generation behind.
    why = (StatusText){0};
    assert_int_equal(save(folder, 450, 2, &why), STATUS_OK);
    assert_int_equal(newest(folder, &skipped), 450);
    assert_int_equal(access(generation_path(&arena, folder, 500), F_OK), -1);
    assert_int_equal(generation_newest(&arena, "/nowhere", &path, &skipped, &why), STATUS_IO);
    arena_free(&arena);
    remove_all(folder);
}

static void test_killed_while_saving(void **state)
{
    (void)state;
    char folder[] = "/tmp/mixc-test-XXXXXX";
    assert_non_null(mkdtemp(folder));
    int64_t last = 0;
    int skipped = 0;
    for (int round = 0; round < 40; round++) {
        int ready[2];
        assert_int_equal(pipe(ready), 0);
        pid_t pid = fork();
        if (pid == 0) {
            close(ready[0]);
            for (int64_t step = last + 1;; step++) {
                StatusText why = {0};
                if (save(folder, step, 2, &why) != STATUS_OK)
                    _exit(1);
                if (write(ready[1], &step, sizeof step) != sizeof step)
                    _exit(1);
            }
        }
        close(ready[1]);
        int64_t done = last, step;
        assert_int_equal(read(ready[0], &step, sizeof step), sizeof step);
        done = step;
        usleep((useconds_t)(round * 137 % 3000));
        kill(pid, SIGKILL);
        int status;
        waitpid(pid, &status, 0);
        assert_true(WIFSIGNALED(status));
        fcntl(ready[0], F_SETFL, O_NONBLOCK);
        while (read(ready[0], &step, sizeof step) == sizeof step)
            done = step;
        close(ready[0]);
        int64_t found = newest(folder, &skipped);
        assert_true(found == done || found == done + 1);     // what was reported is there
        assert_int_equal(skipped, 0);
        assert_true(count_files(folder) <= 6);               // nothing piles up
        last = found;
    }
    remove_all(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newest_and_old),
        cmocka_unit_test(test_killed_while_saving),
    };
    return cmocka_run_group_tests_name("generations", tests, NULL, NULL);
}
