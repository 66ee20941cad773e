// Byte pair encoding against published numbers of GPT-2, exact round trips, damaged vocabularies, and speed.
#include "rng.h"
#include "tokenizer.h"

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

static const char vocab[] = MIXC_SHARED "/data/gpt2-encoder.json", merges[] = MIXC_SHARED "/data/gpt2-vocab.bpe";

static Tokenizer *gpt2(Arena *arena)
{
    StatusText why = {0};
    Tokenizer *t = NULL;
    if (access(vocab, F_OK) != 0)
        return NULL;
    if (tokenizer_bpe(arena, vocab, merges, &t, &why) != STATUS_OK)
        fail_msg("%s", why.text);
    return t;
}

static void round_trip(const Tokenizer *t, const char *text, size_t n)
{
    Arena arena = {0};
    StatusText why = {0};
    int32_t *token;
    size_t count;
    Text back = text_make(&arena);
    if (tokenizer_encode(t, text, n, &arena, &token, &count, &why) != STATUS_OK)
        fail_msg("%s", why.text);
    tokenizer_decode(t, token, count, &back);
    assert_int_equal(back.n, n);
    if (n)
        assert_memory_equal(back.data, text, n);
    arena_free(&arena);
}

static void test_known_numbers(void **state)
{
    (void)state;
    static const struct { const char *text; int32_t token[12]; } row[] = {
        {"Hello world", {15496, 995, -1}},
        {"Hello, world!", {15496, 11, 995, 0, -1}},
        {"The quick brown fox jumps over the lazy dog", {464, 2068, 7586, 21831, 18045, 625, 262, 16931, 3290, -1}},
        {" the", {262, -1}},
        {"\n", {198, -1}},
        {"", {-1}},
    };
    Arena arena = {0};
    Tokenizer *t = gpt2(&arena);
    if (!t)
        skip();
    assert_int_equal(t->n_vocab, 50257);
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        StatusText why = {0};
        int32_t *token;
        size_t n, k = 0;
        assert_int_equal(tokenizer_encode(t, row[i].text, strlen(row[i].text), &arena, &token, &n, &why), STATUS_OK);
        for (; row[i].token[k] >= 0; k++)
            if (k >= n || token[k] != row[i].token[k])
                fail_msg("'%s': token %zu is %d, not %d", row[i].text, k, k < n ? token[k] : -1, row[i].token[k]);
        assert_int_equal(n, k);
    }
    arena_free(&arena);
}

static void test_round_trips(void **state)
{
    (void)state;
    Arena arena = {0};
    Tokenizer *t = gpt2(&arena);
    if (!t)
        skip();
    static const char *const text[] = {
        "   leading and   inner    spaces  \n\n\t tabs\r\n", "na\xc3\xafve caf\xc3\xa9 \xe2\x82\xac 12345 \xf0\x9f\x98\x80\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x94\xac",
        "\xe4\xbd\xa0\xe5\xa5\xbd\xe4\xb8\x96\xe7\x95\x8c \xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82", "I'll we've they'd it's 'S",
        "broken \xff\xfe bytes \xc3", "\xe2\x82", "a\xc0\x80z",
    };
    for (size_t i = 0; i < sizeof text / sizeof text[0]; i++)
        round_trip(t, text[i], strlen(text[i]));
    round_trip(t, "nul\0inside", 10);
    char *spaces = malloc(5000);
    memset(spaces, ' ', 5000);
    round_trip(t, spaces, 5000);
    for (uint32_t k = 0; k < 300; k++) {    // random bytes, mostly not UTF-8
        size_t n = rng_bits(1, k) % 200;
        for (size_t i = 0; i < n; i++)
            spaces[i] = (char)rng_bits(k, (uint32_t)i + 7);
        round_trip(t, spaces, n);
        round_trip(tokenizer_bytes(&arena), spaces, n);
    }
    free(spaces);
    Text saved = text_make(&arena);
    tokenizer_save(t, &saved);
    Tokenizer *again = NULL;
    StatusText why = {0};
    assert_int_equal(tokenizer_restore(&arena, text_str(&saved), &again, &why), STATUS_OK);
    assert_int_equal(again->n_vocab, 50257);
    arena_free(&arena);
}

static void test_a_whole_text(void **state)
{
    (void)state;
    Arena arena = {0};
    Tokenizer *t = gpt2(&arena);
    FILE *f = fopen(MIXC_SHARED "/data/tinyshakespeare.txt", "r");
    if (!t || !f)
        skip();
    char *text = malloc(1 << 21);
    size_t n = fread(text, 1, 1 << 21, f), count;
    fclose(f);
    int32_t *token;
    StatusText why = {0};
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    assert_int_equal(tokenizer_encode(t, text, n, &arena, &token, &count, &why), STATUS_OK);
    clock_gettime(CLOCK_MONOTONIC, &b);
    print_message("%zu bytes, %zu tokens in %.0f ms\n", n, count,
                  (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6);
    assert_int_equal(count, 338025);        // as other implementations count this text
    round_trip(t, text, n);
    Tokenizer *chars = NULL;
    assert_int_equal(tokenizer_chars(&arena, text, n, &chars, &why), STATUS_OK);
    assert_int_equal(chars->n_vocab, 65);
    round_trip(chars, text, n);
    free(text);
    arena_free(&arena);
}

static void test_damaged_vocabularies(void **state)
{
    (void)state;
    char folder[] = "/tmp/mixc-test-XXXXXX", path[100], list[100];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/v.json", folder);
    snprintf(list, sizeof list, "%s/m.bpe", folder);
    static const struct { const char *vocab, *expected; } row[] = {
        {"[]", "is not a vocabulary"}, {"{", "is not a vocabulary"}, {"{\"a\":5}", "has no number of its own"},
        {"{\"a\":0,\"b\":0}", "has no number of its own"}, {"{\"a\":-1}", "has no number of its own"},
        {"{\"a\":\"0\"}", "has no number of its own"}, {"{\"a\":0}", "there is no token for the byte 0"},
        {"{}", "there is no token for the byte 0"},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        Arena arena = {0};
        StatusText why = {0};
        Tokenizer *t = NULL;
        FILE *f = fopen(path, "w");
        fputs(row[i].vocab, f);
        fclose(f);
        assert_int_equal(tokenizer_bpe(&arena, path, list, &t, &why), STATUS_DAMAGED);
        if (!strstr(why.text, row[i].expected))
            fail_msg("%s", why.text);
        arena_free(&arena);
    }
    Arena arena = {0};
    StatusText why = {0};
    Tokenizer *t = NULL;
    static const char *const saved[] = {"", "chars 5 4", "chars 5 x", "chars 9999999", "bpe only", "words"};
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(tokenizer_restore(&arena, saved[i], &t, &why), STATUS_DAMAGED);
    if (access(vocab, F_OK) == 0) {
        FILE *f = fopen(list, "w");
        fputs("#version: 0.2\nxq qx\nbroken\n", f);
        fclose(f);
        why = (StatusText){0};
        assert_int_equal(tokenizer_bpe(&arena, vocab, list, &t, &why), STATUS_DAMAGED);
        assert_non_null(strstr(why.text, "xq qx"));
        unlink(list);
    }
    arena_free(&arena);
    unlink(path);
    rmdir(folder);
}

static void test_whole_characters(void **state)
{
    (void)state;
    assert_int_equal(tokenizer_whole("abc", 3), 3);
    assert_int_equal(tokenizer_whole("ab\xc3", 3), 2);
    assert_int_equal(tokenizer_whole("\xc3\xa4", 2), 2);
    assert_int_equal(tokenizer_whole("\xf0\x9f\x98", 3), 0);
    assert_int_equal(tokenizer_whole("\xf0\x9f\x98\x80", 4), 4);
    assert_int_equal(tokenizer_whole("\x80\x80\x80\x80", 4), 4);
    assert_int_equal(tokenizer_whole("", 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_numbers),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_a_whole_text),
        cmocka_unit_test(test_damaged_vocabularies),
        cmocka_unit_test(test_whole_characters),
    };
    return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}
