// The cache of compiled objects: what is stored is found, whatever is damaged, planted or half written is not, and
// processes that share a folder do not disturb each other. SHA-256 against the published examples.
#include "cache.h"
#include "rng.h"
#include "sha256.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/mixc-test-XXXXXX";
static const char key[] = "program p\ncompiler /usr/bin/cc\nflags -O2\ncpu x\nversion 12\nsource\nint x;\n";
static const char payload[] = "the payload, with a zero \0 in it";

static void hex_of(const char *text, size_t n, const char *expected)
{
    uint8_t digest[32];
    char hex[65];
    sha256_of(text, n, digest);
    sha256_hex(digest, hex);
    assert_string_equal(hex, expected);
}

static void test_sha256(void **state)
{
    (void)state;
    hex_of("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    hex_of("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    hex_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
           "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char *a = malloc(1000000);
    memset(a, 'a', 1000000);
    hex_of(a, 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    for (size_t n = 0; n < 300; n++) {      // in pieces of every size
        Sha256 sha;
        uint8_t whole[32], parts[32];
        sha256_of(a, n, whole);
        sha256_begin(&sha);
        for (size_t i = 0; i < n; i += n % 7 + 1)
            sha256_add(&sha, a + i, i + n % 7 + 1 <= n ? n % 7 + 1 : n - i);
        sha256_end(&sha, parts);
        assert_memory_equal(whole, parts, 32);
    }
    free(a);
}

static CacheFound load(Cache *c, const char *k)
{
    Arena arena = {0};
    void *data = NULL;
    size_t n = 0;
    CacheFound found = cache_load(c, &arena, k, &data, &n);
    if (found == CACHE_HIT) {
        assert_int_equal(n, sizeof payload);
        assert_memory_equal(data, payload, n);
    }
    arena_free(&arena);
    return found;
}

// A fresh cache folder with one entry; the entry's path goes to `path`.
static Cache *fresh(char path[300])
{
    char command[400], sub[200];
    snprintf(sub, sizeof sub, "%s/c", folder);
    snprintf(command, sizeof command, "rm -rf %s", sub);
    assert_int_equal(system(command), 0);
    Cache *c = cache_open(sub);
    assert_null(cache_refused(c));
    assert_true(cache_store(c, key, payload, sizeof payload));
    uint8_t digest[32];
    char hex[65];
    sha256_of(key, strlen(key), digest);
    sha256_hex(digest, hex);
    snprintf(path, 300, "%s/%s.mixo", sub, hex);
    return c;
}

static size_t read_file(const char *path, unsigned char *out, size_t room)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(out, 1, room, f);
    fclose(f);
    return n;
}

static void write_file(const char *path, const unsigned char *data, size_t n)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, n), n);
    close(fd);
}

static void test_store_and_find(void **state)
{
    (void)state;
    char path[300];
    Cache *c = fresh(path);
    assert_int_equal(load(c, key), CACHE_HIT);
    assert_int_equal(load(c, "another key"), CACHE_MISS);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true(cache_store(c, key, payload, sizeof payload));       // again: replaced
    assert_int_equal(load(c, key), CACHE_HIT);
    cache_close(c);
    c = cache_open("");
    assert_false(cache_store(c, key, payload, 3));
    assert_int_equal(load(c, key), CACHE_MISS);
    assert_null(cache_refused(c));
    cache_close(c);
    assert_int_equal(load(NULL, key), CACHE_MISS);
}

static void test_every_flip_and_every_cut(void **state)
{
    (void)state;
    char path[300];
    static unsigned char good[4096], bad[4096];
    Cache *c = fresh(path);
    size_t n = read_file(path, good, sizeof good);
    for (size_t i = 0; i < n; i++) {
        memcpy(bad, good, n);
        bad[i] ^= (unsigned char)(1 << i % 8);
        write_file(path, bad, n);
        assert_int_equal(load(c, key), CACHE_DAMAGED);
        assert_int_equal(access(path, F_OK), -1);            // gone, so that it is made again
        write_file(path, good, i);
        assert_int_equal(load(c, key), CACHE_DAMAGED);
    }
    memcpy(bad, good, n);
    bad[n] = 0;
    write_file(path, bad, n + 1);                            // one byte too many
    assert_int_equal(load(c, key), CACHE_DAMAGED);
    write_file(path, good, n);
    assert_int_equal(load(c, key), CACHE_HIT);
    cache_close(c);
}

static void test_planted_entries(void **state)
{
    (void)state;
    char path[300], other[300];
    static unsigned char good[4096];
    Cache *c = fresh(path);
    size_t n = read_file(path, good, sizeof good);
    snprintf(other, sizeof other, "%s/other", folder);
    write_file(other, good, n);
    unlink(path);
    assert_int_equal(symlink(other, path), 0);               // a link somewhere else
    assert_int_equal(load(c, key), CACHE_DAMAGED);
    assert_int_equal(link(other, path), 0);                  // a second name of a file elsewhere
    assert_int_equal(load(c, key), CACHE_DAMAGED);
    write_file(path, good, n);
    chmod(path, 0666);                                       // that others may write
    assert_int_equal(load(c, key), CACHE_DAMAGED);
    assert_int_equal(mkfifo(path, 0600), 0);                 // that would hang
    assert_int_equal(load(c, key), CACHE_DAMAGED);
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(load(c, key), CACHE_DAMAGED);
    rmdir(path);
    // A good entry under the name of another key.
    assert_true(cache_store(c, "wanted", payload, sizeof payload));
    assert_true(cache_store(c, key, payload, sizeof payload));
    uint8_t digest[32];
    char hex[65], name[300];
    sha256_of("wanted", 6, digest);
    sha256_hex(digest, hex);
    snprintf(name, sizeof name, "%s/c/%s.mixo", folder, hex);
    assert_int_equal(rename(path, name), 0);
    assert_int_equal(load(c, "wanted"), CACHE_DAMAGED);
    cache_close(c);
}

static void test_refused_folders(void **state)
{
    (void)state;
    char path[300], sub[300];
    cache_close(fresh(path));
    snprintf(sub, sizeof sub, "%s/c", folder);
    assert_int_equal(chmod(sub, 0750), 0);
    Cache *c = cache_open(sub);
    assert_non_null(strstr(cache_refused(c), "mode 750"));
    assert_int_equal(load(c, key), CACHE_MISS);
    assert_false(cache_store(c, key, payload, 1));
    cache_close(c);
    assert_int_equal(chmod(sub, 0700), 0);
    snprintf(path, sizeof path, "%s/link", folder);
    assert_int_equal(symlink(sub, path), 0);
    c = cache_open(path);
    assert_non_null(cache_refused(c));
    cache_close(c);
    snprintf(path, sizeof path, "%s/file", folder);
    write_file(path, (const unsigned char *)"x", 1);
    c = cache_open(path);
    assert_non_null(cache_refused(c));
    cache_close(c);
    if (geteuid() == 0) {                                    // only root can make a folder of another user
        assert_int_equal(chown(sub, 12345, 12345), 0);
        c = cache_open(sub);
        assert_non_null(strstr(cache_refused(c), "belongs to another user"));
        cache_close(c);
        assert_int_equal(chown(sub, 0, 0), 0);
    }
}

static void test_a_full_disk(void **state)
{
    (void)state;
    char path[300], command[400];
    Cache *c = fresh(path);
    struct rlimit old, tiny;
    getrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_IGN);
    tiny = (struct rlimit){.rlim_cur = 100, .rlim_max = old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &tiny);
    bool stored = cache_store(c, "another", payload, sizeof payload), again = cache_store(c, key, payload, sizeof payload);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_false(stored);
    assert_false(again);
    assert_int_equal(load(c, key), CACHE_HIT);               // the old entry is untouched
    assert_int_equal(load(c, "another"), CACHE_MISS);
    snprintf(command, sizeof command, "test $(ls -A %s/c | wc -l) = 1", folder);
    assert_int_equal(system(command), 0);                    // nothing is left behind
    cache_close(c);
}

static void collect(void *user, const CacheEntry *entry)
{
    if (strcmp(entry->about, "program p\ncompiler /usr/bin/cc\nflags -O2\ncpu x\nversion 12") == 0 && !entry->is_damaged)
        ++*(int *)user;
}

static void test_list_gc_clear(void **state)
{
    (void)state;
    char path[300], name[300];
    CacheTotal total, removed;
    StatusText why = {0};
    int known = 0;
    Cache *c = fresh(path);
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "key %d", i);
        assert_true(cache_store(c, name, payload, sizeof payload));
    }
    snprintf(name, sizeof name, "%s/c/README", folder);
    write_file(name, (const unsigned char *)"not ours", 8);
    snprintf(name, sizeof name, "%s/c/tmp-1-1", folder);
    write_file(name, (const unsigned char *)"left over", 9);
    struct timespec old[2] = {{.tv_sec = time(NULL) - 7200}, {.tv_sec = time(NULL) - 7200}};
    utimensat(AT_FDCWD, name, old, 0);
    assert_int_equal(cache_list(c, true, collect, &known, &total, &why), STATUS_OK);
    assert_int_equal(known, 1);
    assert_int_equal(total.n_entries, 6);
    assert_int_equal(total.n_damaged, 0);
    utimensat(AT_FDCWD, path, old, 0);                       // the one with `key` is the oldest
    size_t one = total.bytes / 6;
    assert_int_equal(cache_gc(c, 5 * one + 60, 0, &removed, &why), STATUS_OK);
    assert_int_equal(removed.n_entries, 2);                  // the left-over file and the oldest entry
    assert_int_equal(load(c, key), CACHE_MISS);
    assert_int_equal(load(c, "key 3"), CACHE_HIT);
    assert_true(cache_store(c, key, payload, sizeof payload));
    write_file(path, (const unsigned char *)"broken", 6);
    assert_int_equal(cache_list(c, true, NULL, NULL, &total, &why), STATUS_OK);
    assert_int_equal(total.n_damaged, 1);
    assert_int_equal(cache_gc(c, SIZE_MAX, 0, &removed, &why), STATUS_OK);
    assert_int_equal(removed.n_damaged, 1);
    assert_int_equal(cache_clear(c, &removed, &why), STATUS_OK);
    assert_int_equal(removed.n_entries, 5);
    snprintf(name, sizeof name, "%s/c/README", folder);
    assert_int_equal(access(name, F_OK), 0);
    cache_close(c);
}

// Several processes store and load the same few keys; some are killed on the way.
static void test_processes_share_a_folder(void **state)
{
    (void)state;
    char path[300], sub[200];
    Cache *c = fresh(path);
    pid_t pid[6];
    snprintf(sub, sizeof sub, "%s/c", folder);
    for (int p = 0; p < 6; p++) {
        pid[p] = fork();
        if (pid[p] == 0) {
            Cache *mine = cache_open(sub);
            char k[20];
            for (uint32_t i = 0; i < 150; i++) {
                snprintf(k, sizeof k, "key %u", rng_bits((uint32_t)p, i) % 8);
                CacheFound found = load(mine, k);
                if (found == CACHE_DAMAGED || (found == CACHE_MISS && !cache_store(mine, k, payload, sizeof payload)))
                    _exit(1);
                if (i % 10 == 9)
                    cache_store(mine, k, payload, sizeof payload);
            }
            _exit(0);
        }
    }
    usleep(3000);
    kill(pid[5], SIGKILL);
    for (int p = 0; p < 6; p++) {
        int status;
        waitpid(pid[p], &status, 0);
        if (p < 5)
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    CacheTotal total;
    StatusText why = {0};
    assert_int_equal(cache_list(c, true, NULL, NULL, &total, &why), STATUS_OK);
    assert_int_equal(total.n_entries, 9);
    assert_int_equal(total.n_damaged, 0);
    cache_close(c);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_store_and_find),
        cmocka_unit_test(test_every_flip_and_every_cut),
        cmocka_unit_test(test_planted_entries),
        cmocka_unit_test(test_refused_folders),
        cmocka_unit_test(test_a_full_disk),
        cmocka_unit_test(test_list_gc_clear),
        cmocka_unit_test(test_processes_share_a_folder),
    };
    int failed = cmocka_run_group_tests_name("cache", tests, NULL, NULL);
    char command[256];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) != 0 || failed != 0;
}
