// What the tests of data sets share: a scratch folder, opening, binding and reading batches.
#ifndef MIXC_DATA_CASE_H
#define MIXC_DATA_CASE_H

#include "data.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char folder[] = "/tmp/mixc-test-XXXXXX";

static inline const char *path_of(const char *name)
{
    static char path[4][300];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static inline void write_file(const char *name, const void *data, size_t n)
{
    FILE *f = fopen(path_of(name), "w");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    fclose(f);
}

#define FIELDS(...) (const Field[]){__VA_ARGS__}, sizeof((Field[]){__VA_ARGS__}) / sizeof(Field)

static inline Dataset *open_data(Arena *arena, const char *state, const Field *field, size_t n)
{
    DataOptions options = {.base = folder, .seed = 7, .state = state};
    StatusText why = {0};
    Dataset *d = NULL;
    Status s = data_open(arena, field, n, &options, &d, &why);
    if (s != STATUS_OK)
        fail_msg("%s", why.text);
    return d;
}

static inline void expect_failure(Status wanted, const char *fragment, const char *path, const Field *field, size_t n)
{
    Arena arena = {0};
    DataOptions options = {.base = folder, .path = path};
    StatusText why = {0};
    Dataset *d = NULL;
    Status s = data_open(&arena, field, n, &options, &d, &why);
    if (s != wanted || !strstr(why.text, fragment))
        fail_msg("expected %d '%s', got %d '%s'", (int)wanted, fragment, (int)s, why.text);
    arena_free(&arena);
}

static inline void batch(Dataset *d, DataSplit split, uint64_t number, DataSlot *slot, size_t n)
{
    StatusText why = {0};
    assert_int_equal(data_batch(d, split, number, slot, n, &why), STATUS_OK);
}

static inline void bind(Dataset *d, const DataSlot *slot, size_t n)
{
    StatusText why = {0};
    if (data_bind(d, slot, n, &why) != STATUS_OK)
        fail_msg("%s", why.text);
}

// Runs the tests in the scratch folder and takes it away.
static inline int run_in_folder(const char *name, const struct CMUnitTest *tests, size_t n)
{
    if (!mkdtemp(folder))
        return 1;
    int failed = _cmocka_run_group_tests(name, tests, n, NULL, NULL);
    char command[256];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) != 0 || failed != 0;
}

#endif
