// Data sets: windows, masks and tasks are what they say, the same for the same (seed, split, number), and what is wrong with
// the data is said in one sentence. Pictures: test_data_images.c.
#include "data_case.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static void test_next_token_windows(void **state)
{
    (void)state;
    Arena arena = {0};
    char text[1000];
    for (int i = 0; i < 1000; i++)
        text[i] = (char)(i % 251);
    write_file("a.bin", text, sizeof text);
    Dataset *d = open_data(&arena, NULL, FIELDS({"source", "a.bin"}, {"tokens", "bytes"}, {"windows", "next"},
                                                {"split", "parts"}, {"split.train", "0.8"}, {"split.val", "0.2"}));
    int32_t tokens[4 * 16], targets[4 * 16], again[4 * 16];
    DataSlot slot[] = {{"tokens", DTYPE_I32, 2, {4, 16}, tokens}, {"targets", DTYPE_I32, 2, {4, 16}, targets}};
    bind(d, slot, 2);
    int different = 0;
    size_t used = arena.used_bytes;
    for (uint64_t k = 0; k < 200; k++) {
        batch(d, DATA_TRAIN, k, slot, 2);
        for (int b = 0; b < 4; b++)
            for (int t = 0; t < 16; t++) {
                assert_int_equal(targets[b * 16 + t], t < 15 ? tokens[b * 16 + t + 1] : (tokens[b * 16 + 15] + 1) % 251);
                assert_in_range(tokens[b * 16 + t], 0, 250);
            }
        different += k > 0 && memcmp(again, tokens, sizeof tokens) != 0;
        memcpy(again, tokens, sizeof tokens);
    }
    assert_true(different > 190);
    assert_int_equal(arena.used_bytes, used);                // batches allocate nothing
    batch(d, DATA_TRAIN, 199, slot, 2);     // the same number, the same batch
    assert_memory_equal(again, tokens, sizeof tokens);
    assert_int_equal(data_batches(d, DATA_VAL), 200 / 17 / 4);
    batch(d, DATA_VAL, 0, slot, 2);
    assert_int_equal(tokens[0], 800 % 251);
    assert_int_equal(tokens[16], 817 % 251);
    batch(d, DATA_VAL, (uint64_t)data_batches(d, DATA_VAL), slot, 2);
    assert_int_equal(tokens[0], 800 % 251);
    assert_int_equal(data_vocabulary(d), 256);
    int64_t n;
    const int64_t *count = data_counts(d, &arena, &n);       // of the first 800 = 3 * 251 + 47
    assert_int_equal(n, 256);
    assert_true(count[46] == 4 && count[47] == 3 && count[250] == 3 && count[251] == 0);
    assert_non_null(strstr(data_summary(d), "1000 tokens (bytes, 256 different), 800 to train, 200 to validate"));
    data_close(d);
    arena_free(&arena);
}

static void test_characters_and_their_state(void **state)
{
    (void)state;
    Arena arena = {0};
    const char *text = "h\xc3\xa4llo \xe2\x82\xac\xf0\x9f\x98\x80 h\xc3\xa4llo again and again";
    write_file("b.txt", text, strlen(text));
    Dataset *d = open_data(&arena, NULL, FIELDS({"source.name", "b.txt"}, {"tokens", "chars"}));
    const Tokenizer *t = data_tokenizer(d);
    assert_int_equal(data_vocabulary(d), 12);        // space a d g h i l n o, a-umlaut, euro, face
    assert_string_equal(data_state(d), "chars 32 97 100 103 104 105 108 110 111 228 8364 128512");
    write_file("c.txt", "lad had a hall", 14);
    Dataset *e = open_data(&arena, data_state(d), FIELDS({"source", "c.txt"}, {"tokens", "chars"}));
    assert_int_equal(data_vocabulary(e), 12);
    int32_t *token;
    size_t n;
    StatusText why = {0};
    Text back = text_make(&arena);
    assert_int_equal(tokenizer_encode(t, text, strlen(text), &arena, &token, &n, &why), STATUS_OK);
    assert_int_equal(n, strlen(text) - 7);
    tokenizer_decode(t, token, n, &back);
    assert_string_equal(text_str(&back), text);
    assert_int_equal(tokenizer_encode(t, "xyz", 3, &arena, &token, &n, &why), STATUS_DAMAGED);
    assert_non_null(strstr(why.text, "the character 'x' (U+0078) was not"));
    data_close(d);
    data_close(e);
    arena_free(&arena);
    write_file("d.txt", "bad \xff", 5);
    expect_failure(STATUS_DAMAGED, "not UTF-8 at byte 4", NULL, FIELDS({"source", "d.txt"}, {"tokens", "chars"}));
}

static void test_several_files_and_gzip(void **state)
{
    (void)state;
    Arena arena = {0};
    mkdir(path_of("many"), 0700);
    write_file("many/2.txt", "second ", 7);
    write_file("many/1.txt", "first ", 6);
    gzFile f = gzopen(path_of("many/3.txt.gz"), "w");
    gzwrite(f, "third", 5);
    gzclose(f);
    for (int i = 0; i < 2; i++) {
        Dataset *d = open_data(&arena, NULL, FIELDS({"source", i ? "many/*.txt*" : "many"}, {"tokens", "bytes"},
                                                    {"split.train", "1"}, {"split.val", "0"}));
        int32_t tokens[17];
        DataSlot slot[] = {{"tokens", DTYPE_I32, 2, {1, 17}, tokens}};
        bind(d, slot, 1);
        batch(d, DATA_VAL, 0, slot, 1);     // nothing was held back: the end of the text
        const char *text = "first second third";
        for (int t = 0; t < 17; t++)
            assert_int_equal(tokens[t], text[t]);
        data_close(d);
    }
    arena_free(&arena);
}

static void test_masked_windows(void **state)
{
    (void)state;
    enum { B = 8, T = 40, A = 6 };
    Arena arena = {0};
    char text[4000];
    for (int i = 0; i < 4000; i++)
        text[i] = (char)('a' + i % 26);
    write_file("m.txt", text, sizeof text);
    Dataset *d = open_data(&arena, NULL, FIELDS({"source", "m.txt"}, {"tokens", "chars"}, {"windows", "mlm"},
                                                {"windows.0", "40"}, {"windows.rate", "0.15"}, {"windows.spans", "3"},
                                                {"windows.most", "6"}));
    int32_t tokens[B * T], targets[B * A], places[B * A], segments[B * T], swapped[B];
    float real[B * A], seen[B * T];
    DataSlot slot[] = {
        {"tokens", DTYPE_I32, 2, {B, T}, tokens}, {"targets", DTYPE_I32, 2, {B, A}, targets},
        {"places", DTYPE_I32, 2, {B, A}, places}, {"real", DTYPE_F32, 2, {B, A}, real},
        {"seen", DTYPE_F32, 2, {B, T}, seen}, {"segments", DTYPE_I32, 2, {B, T}, segments},
        {"swapped", DTYPE_I32, 1, {B}, swapped},
    };
    bind(d, slot, 7);
    assert_int_equal(data_vocabulary(d), 27);
    int masked = 0, other = 0, kept = 0, swaps = 0;
    for (uint64_t k = 0; k < 100; k++) {
        batch(d, DATA_TRAIN, k, slot, 7);
        for (int b = 0; b < B; b++) {
            assert_in_range(swapped[b], 0, 1);
            swaps += swapped[b];
            bool hidden[T] = {false};
            for (int a = 0; a < A; a++) {
                assert_true(real[b * A + a] == 1);
                assert_true(a == 0 || places[b * A + a] > places[b * A + a - 1]);
                int p = places[b * A + a], shown = tokens[b * T + p], target = targets[b * A + a];
                assert_in_range(target, 0, 25);
                hidden[p] = true;
                masked += shown == 26, kept += shown == target, other += shown != 26 && shown != target;
            }
            int first = -1;                 // what is not hidden continues the alphabet, in both halves
            for (int t = 0; t < T; t++) {
                assert_int_equal(segments[b * T + t], t >= 20);
                if (t == 20)
                    first = -1;
                if (hidden[t])
                    continue;
                assert_true(first < 0 || (tokens[b * T + t] - first - t + 52) % 26 == 0);
                first = (tokens[b * T + t] - t + 52) % 26;
            }
        }
    }
    double total = masked + other + kept;
    assert_true(fabs(masked / total - 0.8) < 0.03 && fabs(kept / total - 0.104) < 0.03);
    assert_true(swaps > 300 && swaps < 500);
    DataSlot whole[] = {{"tokens", DTYPE_I32, 2, {B, T}, tokens}, {"targets", DTYPE_I32, 2, {B, T}, segments},
                        {"real", DTYPE_F32, 2, {B, T}, seen}};
    bind(d, whole, 3);
    batch(d, DATA_TRAIN, 3, whole, 3);
    int count = 0;
    for (int i = 0; i < B * T; i++) {
        count += seen[i] == 1;
        assert_true(seen[i] == 1 || tokens[i] == segments[i]);
    }
    assert_int_equal(count, B * 6);
    data_close(d);
    arena_free(&arena);
}

static int evaluate(const int32_t **p)
{
    int32_t op = *(*p)++, n = 0, x[64] = {0};
    if (op < 10)
        return op;
    while (**p != 14)
        x[n++] = evaluate(p);
    (*p)++;
    int best = x[0], sum = 0, low = 0;
    for (int i = 0; i < n; i++) {
        best = op == 10 ? (x[i] > best ? x[i] : best) : op == 11 ? (x[i] < best ? x[i] : best) : best;
        sum += x[i];
    }
    if (op == 12) {                         // the median, by counting
        int rank[2], found = 0;
        for (int k = 0; k < 2; k++) {
            int wanted = k ? n / 2 : (n - 1) / 2;
            for (low = 0;; low++) {
                found = 0;
                for (int i = 0; i < n; i++)
                    found += x[i] <= low;
                if (found > wanted)
                    break;
            }
            rank[k] = low;
        }
        return (rank[0] + rank[1]) / 2;
    }
    return op == 13 ? sum % 10 : best;
}

static void test_tasks(void **state)
{
    (void)state;
    enum { B = 8, T = 24 };
    Arena arena = {0};
    int32_t tokens[B * T], targets[B * T], labels[B];
    float real[B * T], seen[B * T];
    DataSlot slot[] = {{"tokens", DTYPE_I32, 2, {B, T}, tokens}, {"targets", DTYPE_I32, 2, {B, T}, targets},
                       {"real", DTYPE_F32, 2, {B, T}, real}, {"labels", DTYPE_I32, 1, {B}, labels},
                       {"seen", DTYPE_F32, 2, {B, T}, seen}};
    Dataset *d = open_data(&arena, NULL, FIELDS({"source", "copy"}, {"source.symbols", "5"}));
    bind(d, slot, 5);
    assert_int_equal(data_vocabulary(d), 6);
    batch(d, DATA_TRAIN, 0, slot, 5);
    for (int b = 0; b < B; b++)
        for (int t = 0; t < T; t++)
            if (real[b * T + t] != 0)
                assert_int_equal(targets[b * T + t], tokens[b * T + t - T / 2]);
            else
                assert_true(t < T / 2);
    for (int keys = 4; keys <= 5; keys++) {
        char number[16];
        snprintf(number, sizeof number, "%d", keys);
        d = open_data(&arena, NULL, FIELDS({"source", "recall"}, {"source.keys", number}, {"source.values", "3"}));
        bind(d, slot, 5);
        for (uint64_t k = 0; k < 20; k++) {
            batch(d, DATA_TRAIN, k, slot, 5);
            for (int b = 0; b < B; b++) {
                const int32_t *x = tokens + b * T;
                int answers = 0;
                for (int t = T % 2 == 0; t < T - 1; t += 2)
                    if (x[t] == x[T - 1]) {
                        assert_int_equal(x[t + 1], targets[b * T + T - 1]);
                        answers++;
                    }
                assert_true(answers > 0 && real[b * T + T - 1] == 1 && real[b * T] == 0);
                assert_int_equal(labels[b], targets[b * T + T - 1] - keys);
            }
        }
    }
    d = open_data(&arena, NULL, FIELDS({"source", "listops"}, {"source.args", "4"}, {"source.depth", "4"},
                                       {"source.least", "10"}));
    bind(d, slot, 5);
    int classes = 0;
    for (uint64_t k = 0; k < 200; k++) {
        batch(d, DATA_TRAIN, k, slot, 5);
        for (int b = 0; b < B; b++) {
            const int32_t *p = tokens + b * T;
            assert_int_equal(evaluate(&p), labels[b]);
            for (const int32_t *q = tokens + b * T; q < tokens + b * T + T; q++)
                assert_true((*q == 15) == (q >= p) && (seen[q - tokens] == 1) == (q < p));
            assert_true(p - (tokens + b * T) >= 10);
            classes |= 1 << labels[b];
        }
    }
    assert_int_equal(classes, 1023);
    arena_free(&arena);
}

static void test_what_is_wrong_is_said(void **state)
{
    (void)state;
    write_file("tiny.txt", "tiny", 4);
    expect_failure(STATUS_BAD_MODEL, "there is no `source`", NULL, NULL, 0);
    expect_failure(STATUS_BAD_MODEL, "there is no key `sauce`", NULL, FIELDS({"sauce.name", "x"}));
    expect_failure(STATUS_IO, "no data file is called", NULL, FIELDS({"source", "missing.txt"}));
    expect_failure(STATUS_IO, "no data file is called '/nowhere'", "/nowhere", FIELDS({"source", "tiny.txt"}));
    expect_failure(STATUS_BAD_MODEL, "there are no tokens `words`", NULL, FIELDS({"source", "tiny.txt"}, {"tokens", "words"}));
    expect_failure(STATUS_BAD_MODEL, "there are no windows `all`", NULL, FIELDS({"source", "tiny.txt"}, {"windows", "all"}));
    expect_failure(STATUS_BAD_MODEL, "`windows.rate` is 'much', not a number", NULL,
                   FIELDS({"source", "tiny.txt"}, {"windows", "mlm"}, {"windows.rate", "much"}));
    expect_failure(STATUS_BAD_MODEL, "it must lie between 0 and 1", NULL,
                   FIELDS({"source", "tiny.txt"}, {"windows", "mlm"}, {"windows.rate", "2"}));
    expect_failure(STATUS_BAD_MODEL, "bpe needs its files", NULL, FIELDS({"source", "tiny.txt"}, {"tokens", "bpe"}));
    expect_failure(STATUS_IO, "cannot be opened: No such file", NULL,
                   FIELDS({"source", "tiny.txt"}, {"tokens", "bpe"}, {"tokens.0", "no.json"}, {"tokens.1", "no.bpe"}));
    expect_failure(STATUS_BAD_MODEL, "`source.symbols` is 0", NULL, FIELDS({"source", "copy"}, {"source.symbols", "0"}));
    write_file("x-images.idx3", "\0\0\x8\3\0\0\0\2\0\0\0\1\0\0\0\1ab", 18);
    write_file("x-labels.idx1", "\0\0\x8\1\0\0\0\1a", 9);
    expect_failure(STATUS_DAMAGED, "has 2 pictures and", NULL, FIELDS({"source", "x-images.idx3"}));
    write_file("x-images.idx3", "\0\0\x8\3\0\0\0\2\0\0\0\1\0\0\0\1a", 17);
    expect_failure(STATUS_DAMAGED, "too short or too long", NULL, FIELDS({"source", "x-images.idx3"}));
    write_file("x-images.idx3", "\0\0\x8\3\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 16);
    expect_failure(STATUS_DAMAGED, "IDX file", NULL, FIELDS({"source", "x-images.idx3"}));
    Arena arena = {0};
    StatusText why = {0};
    int32_t tokens[8];
    Dataset *d = open_data(&arena, NULL, FIELDS({"source", "tiny.txt"}));
    DataSlot slot[] = {{"tokens", DTYPE_I32, 2, {1, 8}, tokens}, {"labels", DTYPE_I32, 1, {1}, tokens}};
    assert_int_equal(data_bind(d, slot, 1, &why), STATUS_BAD_MODEL);
    assert_string_equal(why.text, "the text is too short: a window needs 9 tokens, and the training part has 3 of 4");
    why = (StatusText){0};
    assert_int_equal(data_bind(d, slot, 2, &why), STATUS_BAD_MODEL);
    assert_string_equal(why.text, "the data has no field `labels`; it has tokens[B,T], targets[B,T], real[B,T], seen[B,T]");
    why = (StatusText){0};
    assert_int_equal(data_bind(d, (DataSlot[]){{"tokens", DTYPE_F32, 2, {1, 8}, tokens}}, 1, &why), STATUS_BAD_MODEL);
    assert_string_equal(why.text, "the data's field `tokens` is int[B,T], and the model wants f32");
    data_close(d);
    arena_free(&arena);
}

// A text of several pieces gives the tokens that it has as a whole.
static void test_long_text_in_pieces(void **state)
{
    (void)state;
    const char *path = MIXC_SHARED "/data/tinyshakespeare.txt", *vocab = MIXC_SHARED "/data/gpt2-encoder.json";
    if (access(path, F_OK) != 0)
        skip();
    Arena arena = {0};
    FILE *f = fopen(path, "r");
    char *text = malloc(3 << 20);
    size_t n = fread(text, 1, 1 << 20, f), count;
    memcpy(text + n, text, n);              // two pieces and a cut in the middle of something
    fclose(f);
    n = 2 * n - 3;
    write_file("long.txt", text, n);
    Dataset *d = open_data(&arena, NULL, FIELDS({"source", "long.txt"}, {"tokens", "bpe"}, {"tokens.0", vocab},
                                                {"split.train", "0.5"}));
    int32_t *whole;
    StatusText why = {0};
    assert_int_equal(tokenizer_encode(data_tokenizer(d), text, n, &arena, &whole, &count, &why), STATUS_OK);
    enum { T = 1000 };
    int32_t tokens[T];
    DataSlot slot[] = {{"tokens", DTYPE_I32, 2, {1, T}, tokens}};
    bind(d, slot, 1);
    size_t at = (size_t)((double)count * 0.5);
    for (int64_t k = 0; k < data_batches(d, DATA_VAL); k++, at += T + 1) {
        batch(d, DATA_VAL, (uint64_t)k, slot, 1);
        assert_memory_equal(tokens, whole + at, sizeof tokens);
    }
    data_close(d);
    free(text);
    arena_free(&arena);
}

// Numbers that the model cannot look up are refused before anything runs.
static void test_ranges(void **state)
{
    (void)state;
    Arena arena = {0};
    Sources sources = sources_make(&arena);
    Diag diag = diag_make(&arena, &sources);
    StatusText why = {0};
    write_file("r.txt", "hello, all the world", 20);
    Dataset *d = open_data(&arena, NULL, FIELDS({"source", "r.txt"}, {"tokens", "chars"}));      // 11 characters
    int32_t tokens[4], targets[4];
    DataSlot slot[] = {{"tokens", DTYPE_I32, 2, {1, 4}, tokens}, {"targets", DTYPE_I32, 2, {1, 4}, targets}};
    bind(d, slot, 2);
    for (int64_t v = 10; v <= 12; v++) {
        Graph *g = graph_make(&arena, &diag, "main");
        AxisId b = graph_axis(g, "B", AXIS_BATCH, 1, 0), t = graph_axis(g, "T", AXIS_TIME, 4, 0);
        AxisId vocabulary = graph_axis(g, "V", AXIS_FEATURE, v, 0), u = graph_axis(g, "U", AXIS_FEATURE, 4, 0);
        ValueId x = graph_leaf(g, OP_ARG, "tokens", type_make(DTYPE_I32, (AxisId[]){b, t}, 2));
        graph_leaf(g, OP_ARG, "targets", type_make(DTYPE_I32, (AxisId[]){b, t}, 2));
        ValueId w = graph_leaf(g, OP_PARAM, "w", type_make(DTYPE_F32, (AxisId[]){vocabulary}, 1));
        ValueId y = graph_take(g, w, graph_rename(g, x, t, u), vocabulary);
        graph_output(g, OUTPUT_RESULT, "y", y);
        Status s = data_check_ranges(d, g, &why);
        assert_int_equal(s, v < 11 ? STATUS_BAD_MODEL : STATUS_OK);
    }
    assert_string_equal(why.text, "the data has 11 different values of `tokens`, but axis `V` of the model has 10\nhelp: V=11");
    data_close(d);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next_token_windows),
        cmocka_unit_test(test_characters_and_their_state),
        cmocka_unit_test(test_several_files_and_gzip),
        cmocka_unit_test(test_masked_windows),
        cmocka_unit_test(test_tasks),
        cmocka_unit_test(test_what_is_wrong_is_said),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_long_text_in_pieces),
    };
    return run_in_folder("data", tests, sizeof tests / sizeof *tests);
}
