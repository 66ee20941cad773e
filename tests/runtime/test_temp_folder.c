// Folders for temporary files: what a killed process leaves is taken away, what a living one holds is not, and nothing else.
#include "temp_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char parent[] = "/tmp/test-temp-XXXXXX";

static bool is_there(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static void put(Arena *arena, const char *folder, const char *name)
{
    int fd = open(arena_printf(arena, "%s/%s", folder, name), O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
}

// A process that makes a folder, tells its name and is killed.
static const char *folder_of_a_killed_process(Arena *arena)
{
    int to_us[2];
    char path[256] = "";
    assert_int_equal(pipe(to_us), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        TempFolder folder;
        Arena own = {0};
        if (temp_folder_make(&own, &folder, NULL) != STATUS_OK || write(to_us[1], folder.path, strlen(folder.path) + 1) < 0)
            _exit(1);
        for (;;)
            pause();
    }
    assert_true(read(to_us[0], path, sizeof path - 1) > 0);
    put(arena, path, "0.c");
    assert_int_equal(temp_folder_sweep(parent, 0), 0);          // it lives: its folder stays
    assert_true(is_there(path));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(to_us[0]);
    close(to_us[1]);
    return arena_strdup(arena, path);
}

static void what_a_killed_process_left_goes(void **state)
{
    (void)state;
    Arena arena = {0};
    TempFolder mine;
    assert_int_equal(temp_folder_make(&arena, &mine, NULL), STATUS_OK);
    put(&arena, mine.path, "1.so");
    const char *left = folder_of_a_killed_process(&arena);
    assert_int_equal(temp_folder_sweep(parent, 3600), 0);       // too young
    assert_true(is_there(left));
    assert_int_equal(temp_folder_sweep(parent, 0), 1);
    assert_false(is_there(left));
    assert_true(is_there(mine.path));
    temp_folder_remove(&mine);
    assert_false(is_there(mine.path));
    arena_free(&arena);
}

static void nothing_else_is_touched(void **state)
{
    (void)state;
    Arena arena = {0};
    const char *open_to_all = arena_printf(&arena, "%s/mixc-shared", parent), *other = arena_printf(&arena, "%s/mixc-longer-name", parent);
    const char *link = arena_printf(&arena, "%s/mixc-linked", parent), *file = arena_printf(&arena, "%s/mixc-afile1", parent);
    const char *elsewhere = arena_printf(&arena, "%s/elsewhere", parent);
    assert_int_equal(mkdir(open_to_all, 0755), 0);
    assert_int_equal(chmod(open_to_all, 0755), 0);
    assert_int_equal(mkdir(other, 0700), 0);
    assert_int_equal(mkdir(elsewhere, 0700), 0);
    put(&arena, elsewhere, "kept");
    assert_int_equal(symlink(elsewhere, link), 0);
    put(&arena, parent, "mixc-afile1");
    assert_int_equal(temp_folder_sweep(parent, 0), 0);
    assert_true(is_there(open_to_all) && is_there(other) && is_there(link) && is_there(file));
    assert_true(is_there(arena_printf(&arena, "%s/kept", elsewhere)));
    assert_int_equal(temp_folder_sweep("/nonexistent", 0), 0);
    arena_free(&arena);
}

static int open_parent(void **state)
{
    (void)state;
    return mkdtemp(parent) && setenv("TMPDIR", parent, 1) == 0 ? 0 : -1;
}

static int close_parent(void **state)
{
    (void)state;
    Arena arena = {0};
    int code = system(arena_printf(&arena, "rm -rf '%s'", parent));
    arena_free(&arena);
    return code;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_killed_process_left_goes),
        cmocka_unit_test(nothing_else_is_touched),
    };
    return cmocka_run_group_tests(tests, open_parent, close_parent);
}
