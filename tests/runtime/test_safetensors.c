// The safetensors reader refuses every kind of damage with one sentence each and takes what it must take; what the
// writer writes reads back; mutated files never crash it.
#include "rng.h"
#include "safetensors.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
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
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/mixc-test-XXXXXX";

typedef struct Case {
    const char *expected;                   // part of the message; NULL: must be accepted
    const char *header;
    size_t      data_bytes;
} Case;

#define T(name, dtype, shape, begin, end) \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static const Case cases[] = {
    // the header as a whole
    {"does not start with '{'", "", 0},
    {"does not start with '{'", "[]", 0},
    {"does not start with '{'", " {}", 0},
    {"does not start with '{'", "\xef\xbb\xbf{}", 0},
    {"not UTF-8", "{\"\xff\":1}", 0},
    {"not UTF-8", "{\"\xc0\xaf\":1}", 0},
    {"not UTF-8", "{\"\xed\xa0\x80\":1}", 0},
    {"not UTF-8", "{\"a\":\"\xf4\x90\x80\x80\"}", 0},
    {"not UTF-8", "{} \xe2\x82", 0},
    {"not JSON", "{", 0},
    {"not JSON", "{}x", 0},
    {"not JSON", "{}{}", 0},
    {"not JSON", "{'a':1}", 0},
    {"not JSON", "{\"a\":}", 0},
    {"not JSON", "{\"a\" 1}", 0},
    {"not JSON", "{\"a\":1,}", 0},
    {"not JSON", "{" T("a", "U8", "[2]", "0", "2") "," "}", 2},
    {"not JSON", "{\"a\nb\":1}", 0},
    {"not JSON", "{\"\\ud800\":1}", 0},
    {"not JSON", "{\"a\\u0000b\":1}", 0},
    {"not JSON", "{\"a\":NaN}", 0},
    {"not JSON", "{/**/}", 0},
    // names and metadata
    {"names something twice", "{" T("a", "U8", "[1]", "0", "1") "," T("a", "U8", "[1]", "1", "2") "}", 2},
    {"names something twice", "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1},
    {"names something twice", "{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0},
    {"names something twice", "{\"__metadata__\":{},\"__metadata__\":{}}", 0},
    {"__metadata__ is not an object", "{\"__metadata__\":[]}", 0},
    {"__metadata__ is not an object", "{\"__metadata__\":null}", 0},
    {"metadata value of 'k' is not a string", "{\"__metadata__\":{\"k\":1}}", 0},
    {"metadata value of 'k' is not a string", "{\"__metadata__\":{\"k\":{\"l\":\"m\"}}}", 0},
    {"metadata value of 'k' is not a string", "{\"__metadata__\":{\"k\":null}}", 0},
    // one tensor's description
    {"not described by an object", "{\"a\":1}", 0},
    {"not described by an object", "{\"a\":null}", 0},
    {"not described by an object", "{\"a\":[]}", 0},
    {"no dtype that is a string", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1},
    {"no dtype that is a string", "{\"a\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,1]}}", 1},
    {"unknown dtype 'F31'", "{" T("a", "F31", "[1]", "0", "4") "}", 4},
    {"unknown dtype 'f32'", "{" T("a", "f32", "[1]", "0", "4") "}", 4},
    {"unknown dtype ''", "{" T("a", "", "[1]", "0", "4") "}", 4},
    {"no shape that is a list", "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1},
    {"no shape that is a list", "{" T("a", "U8", "1", "0", "1") "}", 1},
    {"size that is not a whole number", "{" T("a", "U8", "[1.0]", "0", "1") "}", 1},
    {"size that is not a whole number", "{" T("a", "U8", "[1e0]", "0", "1") "}", 1},
    {"size that is not a whole number", "{" T("a", "U8", "[\"1\"]", "0", "1") "}", 1},
    {"size that is not a whole number", "{" T("a", "U8", "[null]", "0", "1") "}", 1},
    {"size that is not a whole number", "{" T("a", "U8", "[[1]]", "0", "1") "}", 1},
    {"negative size", "{" T("a", "U8", "[-1]", "0", "1") "}", 1},
    {"negative size", "{" T("a", "U8", "[-1,-1]", "0", "1") "}", 1},
    {"not JSON", "{" T("a", "U8", "[18446744073709551617]", "0", "1") "}", 1},
    {"not JSON", "{" T("a", "U8", "[1]", "0", "99999999999999999999") "}", 1},
    {"not JSON", "{" T("a", "U8", "[01]", "0", "1") "}", 1},
    {"more elements than can be counted", "{" T("a", "U8", "[4294967296,4294967296]", "0", "0") "}", 0},
    {"more elements than can be counted", "{" T("a", "U8", "[9223372036854775807,2]", "0", "0") "}", 0},
    {"more bits than can be counted", "{" T("a", "F64", "[4611686018427387904]", "0", "0") "}", 0},
    {"no data_offsets that are two numbers", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1},
    {"no data_offsets that are two numbers", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1},
    {"no data_offsets that are two numbers", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,1]}}", 1},
    {"no data_offsets that are two numbers", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":{}}}", 1},
    {"data offset that is not a whole number", "{" T("a", "U8", "[1]", "0.0", "1") "}", 1},
    {"data offset that is not a whole number", "{" T("a", "U8", "[1]", "0", "\"1\"") "}", 1},
    {"negative data offset", "{" T("a", "U8", "[1]", "-1", "0") "}", 1},
    {"ends before it begins", "{" T("a", "U8", "[1]", "1", "0") "}", 1},
    {"ends beyond the end of the file", "{" T("a", "U8", "[2]", "0", "2") "}", 1},
    {"ends beyond the end of the file", "{" T("a", "U8", "[1]", "9223372036854775806", "9223372036854775807") "}", 1},
    {"has 4 bytes of data, but its shape and dtype need 8", "{" T("a", "F32", "[2]", "0", "4") "}", 4},
    {"has 4 bytes of data, but its shape and dtype need 2", "{" T("a", "F16", "[1]", "0", "4") "}", 4},
    {"has 1 bytes of data, but its shape and dtype need 0", "{" T("a", "F16", "[0]", "0", "1") "}", 1},
    {"has 0 bytes of data, but its shape and dtype need 4", "{" T("a", "F32", "[]", "0", "0") "}", 0},
    {"does not end at a whole byte", "{" T("a", "F4", "[3]", "0", "1") "}", 1},
    {"does not end at a whole byte", "{" T("a", "F6_E2M3", "[3]", "0", "2") "}", 2},
    // how the data is covered
    {"leaves bytes unused before the first tensor", "{" T("a", "U8", "[1]", "1", "2") "}", 2},
    {"leaves unused bytes before it", "{" T("a", "U8", "[1]", "0", "1") "," T("b", "U8", "[1]", "2", "3") "}", 3},
    {"overlaps the data of another", "{" T("a", "U8", "[2]", "0", "2") "," T("b", "U8", "[2]", "1", "3") "}", 3},
    {"overlaps the data of another", "{" T("a", "U8", "[2]", "0", "2") "," T("b", "U8", "[2]", "0", "2") "}", 2},
    {"overlaps the data of another", "{" T("a", "U8", "[3]", "0", "3") "," T("b", "U8", "[0]", "1", "1") "}", 3},
    {"1 bytes after the last tensor belong to nothing", "{" T("a", "U8", "[1]", "0", "1") "}", 2},
    {"5 bytes after the last tensor belong to nothing", "{}", 5},
    // what must be taken
    {NULL, "{}", 0},
    {NULL, "{}      ", 0},
    {NULL, "{\n \"__metadata__\" : {} }", 0},
    {NULL, "{\"__metadata__\":{\"k\":\"v\",\"\xc3\xa4\":\"\\u00e4\"}}", 0},
    {NULL, "{" T("a", "F32", "[]", "0", "4") "}", 4},
    {NULL, "{" T("a", "F32", "[0]", "0", "0") "}", 0},
    {NULL, "{" T("a", "F32", "[0,9223372036854775807]", "0", "0") "}", 0},
    {NULL, "{" T("a", "U8", "[0]", "0", "0") "," T("b", "U8", "[1]", "0", "1") "," T("c", "U8", "[0]", "1", "1") "}", 1},
    {NULL, "{" T("b", "U8", "[1]", "1", "2") "," T("a", "U8", "[1]", "0", "1") "}", 2},
    {NULL, "{" T("", "U8", "[1]", "0", "1") "}", 1},
    {NULL, "{" T("../../etc/passwd", "U8", "[1]", "0", "1") "}", 1},
    {NULL, "{" T("a", "F4", "[2]", "0", "1") "," T("b", "C64", "[1]", "1", "9") "}", 9},
    {NULL, "{\"a\":{\"more\":1,\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1},
};

static size_t make_file(unsigned char *out, const char *header, size_t header_bytes, size_t data_bytes)
{
    for (int i = 0; i < 8; i++)
        out[i] = (unsigned char)((uint64_t)header_bytes >> (8 * i));
    memcpy(out + 8, header, header_bytes);
    memset(out + 8 + header_bytes, 0x3f, data_bytes);
    return 8 + header_bytes + data_bytes;
}

static Status open_copy(const unsigned char *file, size_t n, StatusText *why)
{
    Arena arena = {0};
    Safetensors st;
    unsigned char *copy = malloc(n ? n : 1);         // of the exact size, so that the sanitizer sees every byte too many
    memcpy(copy, file, n);
    Status s = st_open_memory(&arena, "f", copy, n, &st, why);
    for (size_t i = 0; s == STATUS_OK && i < st.n_tensors; i++) {
        assert_ptr_equal(st_find(&st, st.tensor[i].name), &st.tensor[i]);
        float *value = malloc((size_t)st.tensor[i].count * 4 + 1);
        StatusText ignored = {0};
        st_read_f32(&st, &st.tensor[i], value, &ignored);
        free(value);
    }
    free(copy);
    arena_free(&arena);
    return s;
}

static void test_each_rule(void **state)
{
    (void)state;
    static unsigned char file[4096];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const Case *c = &cases[i];
        StatusText why = {0};
        size_t n = make_file(file, c->header, strlen(c->header), c->data_bytes);
        Status s = open_copy(file, n, &why);
        if (!c->expected && s != STATUS_OK)
            fail_msg("case %zu, %s: refused: %s", i, c->header, why.text);
        if (c->expected && (s != STATUS_DAMAGED || !strstr(why.text, c->expected)))
            fail_msg("case %zu, %s: expected '%s', got %d '%s'", i, c->header, c->expected, (int)s, why.text);
    }
    print_message("%zu cases\n", sizeof cases / sizeof cases[0]);
}

static void expect_raw(const unsigned char *file, size_t n, const char *expected)
{
    StatusText why = {0};
    assert_int_equal(open_copy(file, n, &why), STATUS_DAMAGED);
    if (!strstr(why.text, expected))
        fail_msg("expected '%s', got '%s'", expected, why.text);
}

static void test_lengths(void **state)
{
    (void)state;
    static unsigned char file[64];
    const char *header = "{" T("a", "U8", "[1]", "0", "1") "}";
    unsigned char good[128];
    size_t n = make_file(good, header, strlen(header), 1);
    for (size_t i = 0; i < 8; i++)
        expect_raw(file, i, "shorter than 8 bytes");
    memcpy(file, "\x03\0\0\0\0\0\0\0{}", 10);
    expect_raw(file, 10, "header ends beyond the end");
    memcpy(file, "\x01\xe1\xf5\x05\0\0\0\0{}", 10);
    expect_raw(file, 10, "longer than 100,000,000");
    memcpy(file, "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
    expect_raw(file, 10, "longer than 100,000,000");
    for (size_t i = 8; i < n; i++) {        // every truncation
        StatusText why = {0};
        assert_int_equal(open_copy(good, i, &why), STATUS_DAMAGED);
    }
    StatusText why = {0};
    assert_int_equal(open_copy(good, n, &why), STATUS_OK);
}

static void test_many_entries(void **state)
{
    (void)state;
    Arena arena = {0};
    for (int n = 100000; n <= 1100000; n += 1000000) {
        Text text = text_make(&arena);
        text_char(&text, '{');
        for (int i = 0; i < n; i++)
            text_printf(&text, "%s\"t%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", i ? "," : "", i);
        text_char(&text, '}');
        unsigned char *file = malloc(text.n + 8);
        make_file(file, text.data, text.n, 0);
        StatusText why = {0};
        Status s = open_copy(file, text.n + 8, &why);
        assert_int_equal(s, n == 100000 ? STATUS_OK : STATUS_DAMAGED);
        assert_true(n == 100000 || strstr(why.text, "more than 1048576 tensors") || strstr(why.text, "longer than"));
        free(file);
        arena_free(&arena);
    }
}

static const char *path_of(const char *name)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void test_round_trip(void **state)
{
    (void)state;
    Arena arena = {0};
    StatusText why = {0};
    Safetensors st;
    float f[6] = {0.1f, -2, INFINITY, NAN, 1e-40f, 3};
    int32_t n[2] = {-7, INT32_MAX};
    uint16_t b[1] = {st_to_bf16(1.00390625f)};
    StSource source[] = {
        {"f \"quoted\" \xc3\xa4", ST_F32, 2, (int64_t[]){2, 3}, f}, {"n", ST_I32, 1, (int64_t[]){2}, n},
        {"b", ST_BF16, 0, NULL, b}, {"empty", ST_F32, 2, (int64_t[]){0, 5}, NULL},
    };
    StMeta meta[] = {{"schema", "1"}, {"text", "a\nb\t\"c\" \x01"}};
    const char *path = path_of("a.safetensors");
    for (int again = 0; again < 2; again++) {
        assert_int_equal(st_write(path, source, 4, meta, 2, &why), STATUS_OK);
        assert_int_equal(st_open(&arena, path, &st, &why), STATUS_OK);
        assert_int_equal(st.n_tensors, 4);
        assert_int_equal(st.data_start % 8, 0);
        assert_string_equal(st_meta(&st, "text"), meta[1].value);
        assert_null(st_meta(&st, "missing"));
        assert_null(st_find(&st, "missing"));
        float back[6];
        assert_int_equal(st_read_f32(&st, st_find(&st, source[0].name), back, &why), STATUS_OK);
        assert_memory_equal(back, f, sizeof f);
        double wide[2];
        assert_int_equal(st_read_f64(&st, st_find(&st, "n"), wide, &why), STATUS_OK);
        assert_true(wide[1] == 2147483647.0);
        assert_int_equal(st_read_as(&st, st_find(&st, "b"), DTYPE_F32, back, &why), STATUS_OK);
        assert_true(back[0] == 1.0f);       // tie to even
        assert_int_equal(st_find(&st, "empty")->count, 0);
        int32_t whole[6];
        assert_int_equal(st_read_i32(&st, st_find(&st, source[0].name), whole, &why), STATUS_DAMAGED);
        assert_non_null(strstr(why.text, "not a 32-bit whole number"));
        why = (StatusText){0};
        st_close(&st);
    }
    assert_int_equal(access(path_of("a.safetensors.tmp"), F_OK), -1);
    arena_free(&arena);
}

static void test_widening(void **state)
{
    (void)state;
    Arena arena = {0};
    StatusText why = {0};
    Safetensors st;
    uint16_t half[6] = {0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00, 0x3555};
    int64_t big[2] = {-5, (int64_t)1 << 40};
    uint8_t yes[3] = {0, 1, 7};
    double d[2] = {0.5, 1e300};
    StSource source[] = {{"half", ST_F16, 1, (int64_t[]){6}, half}, {"big", ST_I64, 1, (int64_t[]){2}, big},
                         {"yes", ST_BOOL, 1, (int64_t[]){3}, yes}, {"d", ST_F64, 1, (int64_t[]){2}, d},
                         {"f8", ST_F8_E4M3, 1, (int64_t[]){3}, yes}};
    assert_int_equal(st_write(path_of("w"), source, 5, NULL, 0, &why), STATUS_OK);
    assert_int_equal(st_open(&arena, path_of("w"), &st, &why), STATUS_OK);
    float f[6];
    int32_t n[3];
    assert_int_equal(st_read_f32(&st, st_find(&st, "half"), f, &why), STATUS_OK);
    assert_true(f[0] == 1 && f[1] == -2 && f[2] == 0x1p-24f && f[3] == 65504 && isinf(f[4]) && f[5] == 0x1.554p-2f);
    assert_int_equal(st_read_i32(&st, st_find(&st, "yes"), n, &why), STATUS_OK);
    assert_true(n[0] == 0 && n[1] == 1 && n[2] == 1);
    assert_int_equal(st_read_f32(&st, st_find(&st, "d"), f, &why), STATUS_OK);
    assert_true(f[0] == 0.5f && isinf(f[1]));
    assert_int_equal(st_read_i32(&st, st_find(&st, "big"), n, &why), STATUS_DAMAGED);
    why = (StatusText){0};
    assert_int_equal(st_read_f32(&st, st_find(&st, "f8"), f, &why), STATUS_DAMAGED);
    assert_non_null(strstr(why.text, "type F8_E4M3, which are not supported"));
    st_close(&st);
    for (int i = 0; i < DTYPE_COUNT; i++)
        assert_string_equal(st_dtype_text[st_dtype_of((DType)i)], dtype_row[i].safetensors);
    assert_true(isnan(st_from_bf16(st_to_bf16(NAN))) && isinf(st_from_bf16(st_to_bf16(3.4e38f))));
    arena_free(&arena);
}

static void test_writing_fails_whole_or_not_at_all(void **state)
{
    (void)state;
    Arena arena = {0};
    StatusText why = {0};
    Safetensors st;
    struct stat info;
    float one[1] = {1}, *many = calloc(100000, 4);
    char path[300];
    snprintf(path, sizeof path, "%s", path_of("kept"));
    StSource small = {"x", ST_F32, 1, (int64_t[]){1}, one}, large = {"x", ST_F32, 1, (int64_t[]){100000}, many};
    assert_int_equal(st_write(path, &small, 1, NULL, 0, &why), STATUS_OK);
    // The disk is full: a limit on the size of files stands in for it.
    struct rlimit old, tiny;
    getrlimit(RLIMIT_FSIZE, &old);
    tiny = (struct rlimit){.rlim_cur = 8192, .rlim_max = old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &tiny);
    Status s = st_write(path, &large, 1, NULL, 0, &why);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(s, STATUS_IO);
    assert_non_null(strstr(why.text, "kept.tmp' cannot be written"));
    assert_int_equal(access(path_of("kept.tmp"), F_OK), -1);
    why = (StatusText){0};
    assert_int_equal(st_write(path_of("no/such/folder"), &small, 1, NULL, 0, &why), STATUS_IO);
    assert_non_null(strstr(why.text, "cannot be made: No such file"));
    why = (StatusText){0};
    assert_int_equal(st_open(&arena, path, &st, &why), STATUS_OK);
    assert_int_equal(st.tensor[0].count, 1);
    st_close(&st);
    assert_int_equal(st_open(&arena, folder, &st, &why), STATUS_IO);
    assert_non_null(strstr(why.text, "is not a file"));
    // What is no file is written to, never replaced: a pipe stays a pipe (and /dev/null what it is).
    assert_int_equal(mkfifo(path_of("pipe"), 0600), 0);
    int reader = open(path_of("pipe"), O_RDWR);
    why = (StatusText){0};
    assert_int_equal(st_write(path_of("pipe"), &small, 1, NULL, 0, &why), STATUS_OK);
    assert_int_equal(lstat(path_of("pipe"), &info), 0);
    assert_true(S_ISFIFO(info.st_mode));
    assert_int_equal(access(path_of("pipe.tmp"), F_OK), -1);
    close(reader);
    free(many);
    arena_free(&arena);
}

// Random damage to good files: bytes changed, cut, repeated; digits and brackets swapped in the header.
static void test_mutations(void **state)
{
    (void)state;
    static const char *const spare = "{}[]\":,0123456789-.eE\\u\xff ";
    static unsigned char file[4096], mutant[8192];
    int taken = 0, total = 20000;
    for (int round = 0; round < total; round++) {
        uint32_t key = rng_key(1, (uint32_t)round, 2), draw = 0;
        const Case *c = &cases[rng_bits(key, draw++) % (sizeof cases / sizeof cases[0])];
        size_t n = make_file(file, c->header, strlen(c->header), c->data_bytes);
        memcpy(mutant, file, n);
        int changes = 1 + (int)(rng_bits(key, draw++) % 3);
        for (int k = 0; k < changes; k++) {
            size_t at = rng_bits(key, draw++) % n;
            switch (rng_bits(key, draw++) % 4) {
            case 0: mutant[at] = (unsigned char)rng_bits(key, draw++); break;
            case 1: mutant[at] = (unsigned char)spare[rng_bits(key, draw++) % strlen(spare)]; break;
            case 2: memmove(mutant + at, mutant + at + 1, n - at - 1); n -= n > 1; break;
            case 3: memmove(mutant + at + 1, mutant + at, n - at); n++; break;
            }
        }
        StatusText why = {0};
        Status s = open_copy(mutant, n, &why);
        assert_true(s == STATUS_OK || (s == STATUS_DAMAGED && why.text[0]));
        taken += s == STATUS_OK;
    }
    print_message("%d of %d mutants were still good files\n", taken, total);
}

// What the fuzzer found interesting.
static void test_corpus(void **state)
{
    (void)state;
    const char *corpus = MIXC_TESTS "/fuzz/corpus_safetensors";
    static unsigned char file[65536];
    int files = 0;
    DIR *dir = opendir(corpus);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", corpus, e->d_name);
        FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (!f)
            continue;
        size_t n = fread(file, 1, sizeof file, f);
        fclose(f);
        StatusText why = {0};
        assert_true(open_copy(file, n, &why) == STATUS_OK || why.text[0]);
        files++;
    }
    closedir(dir);
    assert_true(files > 50);
}

static void test_goldens(void **state)
{
    (void)state;
    const char *goldens = MIXC_SHARED "/goldens";
    DIR *dir = opendir(goldens);
    if (!dir)
        skip();
    int files = 0;
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (!strstr(e->d_name, ".safetensors"))
            continue;
        Arena arena = {0};
        StatusText why = {0};
        Safetensors st;
        char path[600];
        snprintf(path, sizeof path, "%s/%s", goldens, e->d_name);
        assert_int_equal(st_open(&arena, path, &st, &why), STATUS_OK);
        assert_true(st.n_tensors > 2 && st.n_meta > 0);
        for (size_t i = 0; i < st.n_tensors; i++) {
            double *v = arena_array(&arena, double, (size_t)st.tensor[i].count);
            assert_int_equal(st_read_f64(&st, &st.tensor[i], v, &why), STATUS_OK);
        }
        st_close(&st);
        arena_free(&arena);
        files++;
    }
    closedir(dir);
    print_message("%d golden files read\n", files);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_rule),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_many_entries),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_widening),
        cmocka_unit_test(test_writing_fails_whole_or_not_at_all),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_corpus),
        cmocka_unit_test(test_goldens),
    };
    int failed = cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
    char command[256];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) != 0 || failed != 0;
}
