// Text: files joined, turned into tokens once, then cut into windows.
//
//   next(T):  tokens[b, t] = s[o + t], targets[b, t] = s[o + t + 1] with o drawn at random (train) or o = window * T (val)
//   mlm(T):   a share of the places is hidden; targets and places list them (or, with targets[B,T], stand in place)
#include "data_kind.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_BYTES = 1 << 20 };             // of text, encoded at a time

typedef struct TextData {
    void    *token;                         // n of width bytes each: text is long, tokens are small
    int      width;
    size_t   n, n_train;                    // tokens; the first n_train are for training
    bool     masked;
    double   rate;                          // share of hidden places
    int      spans;                         // longest run of hidden places
    int64_t  time, places;                  // sizes T and A, from bind
    int32_t *order;                         // [order_room >= T] scratch of the masking
    int64_t  order_room;
} TextData;

static const DataFieldRow next_field[] = {
    {"tokens", DTYPE_I32, 2, "[B,T]"}, {"targets", DTYPE_I32, 2, "[B,T]"}, {"real", DTYPE_F32, 2, "[B,T]"},
    {"seen", DTYPE_F32, 2, "[B,T]"}, {NULL, 0, 0, NULL},
};
static const DataFieldRow mlm_field[] = {
    {"tokens", DTYPE_I32, 2, "[B,T]"}, {"targets", DTYPE_I32, 2, "[B,A]"}, {"real", DTYPE_F32, 2, "[B,A]"},
    {"places", DTYPE_I32, 2, "[B,A]"}, {"seen", DTYPE_F32, 2, "[B,T]"}, {"segments", DTYPE_I32, 2, "[B,T]"},
    {"swapped", DTYPE_I32, 1, "[B]"}, {NULL, 0, 0, NULL},
};

static int32_t token_at(const TextData *t, size_t i)
{
    switch (t->width) {
    case 1:  return ((const uint8_t *)t->token)[i];
    case 2:  return ((const uint16_t *)t->token)[i];
    default: return ((const int32_t *)t->token)[i];
    }
}

static void put(const DataSlot *slot, size_t i, double value)
{
    if (!slot)
        return;
    if (slot->dtype == DTYPE_F32)
        ((float *)slot->data)[i] = (float)value;
    else
        ((int32_t *)slot->data)[i] = (int32_t)value;
}

static Status text_bind(Dataset *d, const DataSlot *slot, size_t n, StatusText *why)
{
    TextData *t = d->self;
    const DataSlot *tokens = data_slot(slot, n, "tokens"), *targets = data_slot(slot, n, "targets");
    const DataSlot *places = data_slot(slot, n, "places");
    if (!tokens)
        return status_fail(why, STATUS_BAD_MODEL, "the model does not read the data's field `tokens`");
    t->time = tokens->size[1];
    t->places = places ? places->size[1] : targets ? targets->size[1] : t->time;
    for (size_t i = 0; i < n; i++) {
        bool by_place = t->masked && (strcmp(slot[i].name, "targets") == 0 || strcmp(slot[i].name, "real") == 0 ||
                                      strcmp(slot[i].name, "places") == 0);
        int64_t wanted = by_place ? t->places : t->time;
        if (slot[i].n_dims == 2 && slot[i].size[1] != wanted)
            return status_fail(why, STATUS_BAD_MODEL, "the data's field `%s` has %lld positions where %lld are expected",
                               slot[i].name, (long long)slot[i].size[1], (long long)wanted);
    }
    if (t->time < 1 || (uint64_t)t->time + 1 > t->n_train)
        return status_fail(why, STATUS_BAD_MODEL, "the text is too short: a window needs %lld tokens, and the training part has "
                           "%zu of %zu", (long long)t->time + 1, t->n_train, t->n);
    if (t->n - t->n_train > UINT32_MAX || t->n_train > UINT32_MAX)
        return status_fail(why, STATUS_TOO_LARGE, "the text has %zu tokens; a part may have 4,294,967,295", t->n);
    if (t->time > t->order_room) {          // bound again and again: once for each evaluation
        t->order = arena_array(d->arena, int32_t, (size_t)t->time);
        t->order_room = t->time;
    }
    return STATUS_OK;
}

static int64_t val_windows(const TextData *t)
{
    return (int64_t)((t->n - t->n_train) / (size_t)(t->time + 1));
}

static int64_t text_batches(const Dataset *d, DataSplit split)
{
    const TextData *t = d->self;
    return split == DATA_VAL ? val_windows(t) / d->batch : (int64_t)(t->n_train / (size_t)(t->time * d->batch));
}

// Where the window of row b starts. Validation windows follow each other and wrap when there are fewer than a batch.
static size_t window_start(const Dataset *d, DataSplit split, uint64_t number, int64_t b)
{
    const TextData *t = d->self;
    uint64_t sample = number * (uint64_t)d->batch + (uint64_t)b;
    if (split == DATA_TRAIN) {
        Draws draws = draws_for(d->options.seed, STREAM_WINDOW, sample);
        return draw_below(&draws, (uint32_t)(t->n_train - (size_t)t->time));
    }
    int64_t windows = val_windows(t);
    if (windows == 0)
        return t->n - (size_t)t->time - 1;  // too little was held back: the end of the text
    return t->n_train + (size_t)(sample % (uint64_t)windows) * (size_t)(t->time + 1);
}

static Status next_batch(Dataset *d, DataSplit split, uint64_t number, const DataSlot *slot, size_t n, StatusText *why)
{
    (void)why;
    const TextData *t = d->self;
    const DataSlot *tokens = data_slot(slot, n, "tokens"), *targets = data_slot(slot, n, "targets");
    const DataSlot *real = data_slot(slot, n, "real"), *seen = data_slot(slot, n, "seen");
    for (int64_t b = 0; b < d->batch; b++) {
        size_t start = window_start(d, split, number, b), row = (size_t)(b * t->time);
        for (size_t i = 0; i < (size_t)t->time; i++) {
            put(tokens, row + i, token_at(t, start + i));
            put(targets, row + i, token_at(t, start + i + 1));
            put(real, row + i, 1);
            put(seen, row + i, 1);
        }
    }
    return STATUS_OK;
}

// Chooses the hidden places of one row: marks order[i] = 1. Runs of up to `spans` places, a run of length k with weight
// 1/k (Joshi et al., "SpanBERT", 2020; Lan et al., "ALBERT", 2020, section 4.1).
static int64_t choose_hidden(TextData *t, Draws *draws)
{
    int64_t wanted = llround(t->rate * (double)t->time), hidden = 0;
    if (wanted > t->places) wanted = t->places;
    if (wanted < 1)         wanted = 1;
    double weight = 0;
    for (int k = 1; k <= t->spans; k++)
        weight += 1.0 / k;
    memset(t->order, 0, (size_t)t->time * sizeof *t->order);
    while (hidden < wanted) {
        double u = draw_uniform(draws) * weight;
        int64_t length = 1;
        for (u -= 1; u > 0 && length < t->spans; u -= 1.0 / (double)length)
            length++;
        int64_t at = draw_below(draws, (uint32_t)t->time);
        for (int64_t i = at; i < at + length && i < t->time && hidden < wanted; i++) {
            hidden += !t->order[i];
            t->order[i] = 1;
        }
    }
    return hidden;
}

typedef struct MaskSlots {
    const DataSlot *tokens, *targets, *real, *places, *seen, *segments, *swapped;
} MaskSlots;

static void mask_row(Dataset *d, const MaskSlots *s, size_t start, Draws *draws, size_t b)
{
    TextData *t = d->self;
    size_t time = (size_t)t->time, half = time / 2, row = b * time, place_row = b * (size_t)t->places, place = 0;
    bool in_place = !s->places && t->places == t->time;      // targets[B,T]
    bool swap = s->swapped && draw_below(draws, 2);
    int32_t mask = d->tokenizer->n_vocab;
    choose_hidden(t, draws);
    put(s->swapped, b, swap);
    for (size_t i = 0; i < time; i++) {
        size_t from = !swap ? i : i < time - half ? i + half : i - (time - half);
        int32_t token = token_at(t, start + from), shown = token;
        if (t->order[i]) {                  // 8 of 10 hidden, 1 of 10 another token, 1 of 10 left alone
            uint32_t u = draw_below(draws, 10);
            shown = u < 8 ? mask : u == 8 ? (int32_t)draw_below(draws, (uint32_t)mask) : token;
        }
        put(s->tokens, row + i, shown);
        put(s->seen, row + i, 1);
        put(s->segments, row + i, i >= time - half);
        if (in_place) {
            put(s->targets, row + i, token);
            put(s->real, row + i, t->order[i]);
        } else if (t->order[i]) {
            put(s->targets, place_row + place, token);
            put(s->real, place_row + place, 1);
            put(s->places, place_row + place++, (double)i);
        }
    }
    for (; !in_place && place < (size_t)t->places; place++) {
        put(s->targets, place_row + place, 0);
        put(s->real, place_row + place, 0);
        put(s->places, place_row + place, 0);
    }
}

static Status mlm_batch(Dataset *d, DataSplit split, uint64_t number, const DataSlot *slot, size_t n, StatusText *why)
{
    (void)why;
    MaskSlots s = {data_slot(slot, n, "tokens"), data_slot(slot, n, "targets"), data_slot(slot, n, "real"),
                   data_slot(slot, n, "places"), data_slot(slot, n, "seen"), data_slot(slot, n, "segments"),
                   data_slot(slot, n, "swapped")};
    for (int64_t b = 0; b < d->batch; b++) {
        // Validation hides the same places whenever it is measured.
        uint64_t sample = (number * (uint64_t)d->batch + (uint64_t)b) * 2 + (split == DATA_VAL);
        Draws draws = draws_for(d->options.seed, STREAM_MASK, sample);
        mask_row(d, &s, window_start(d, split, number, b), &draws, (size_t)b);
    }
    return STATUS_OK;
}

static void text_close(Dataset *d)
{
    free(((TextData *)d->self)->token);
}

static int64_t text_range(const Dataset *d, const char *field)
{
    const TextData *t = d->self;
    if (strcmp(field, "tokens") == 0)
        return d->n_vocabulary;
    if (strcmp(field, "targets") == 0)      // never the mask
        return d->tokenizer->n_vocab;
    return strcmp(field, "places") == 0 ? t->time : 2;
}

static void text_count(const Dataset *d, int64_t *count)
{
    const TextData *t = d->self;
    for (size_t i = 0; i < t->n_train; i++)
        count[token_at(t, i)]++;
}

static const DataKind next_kind = {next_field, text_bind, next_batch, text_batches, text_close, text_range, text_count};
static const DataKind mlm_kind = {mlm_field, text_bind, mlm_batch, text_batches, text_close, text_range, text_count};

// All files one after the other.
static Status read_files(const char *const *path, size_t n_paths, char **out, size_t *out_n, StatusText *why)
{
    static const size_t max_bytes = (size_t)8 << 30;
    char *all = NULL;
    size_t n = 0;
    for (size_t i = 0; i < n_paths; i++) {
        char *one;
        size_t one_n;
        Status s = data_read_file(path[i], max_bytes - n, &one, &one_n, why);
        char *more = s == STATUS_OK && i > 0 ? realloc(all, n + one_n + 1) : NULL;
        if (s != STATUS_OK || (i > 0 && !more)) {
            free(all);
            if (s == STATUS_OK)
                free(one);
            return s != STATUS_OK ? s : status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for the text");
        }
        if (i == 0) {
            all = one;
        } else {
            all = more;
            memcpy(all + n, one, one_n + 1);
            free(one);
        }
        n += one_n;
    }
    *out = all;
    *out_n = n;
    return STATUS_OK;
}

static Status make_bpe(Dataset *d, StatusText *why)
{
    const char *vocab = data_text(d, "tokens.0"), *merges = data_text(d, "tokens.1");
    static const char *const usual[] = {"merges.txt", "vocab.bpe", "merges.bpe", "gpt2-vocab.bpe", "gpt2-merges.txt"};
    if (!vocab)
        return status_fail(why, STATUS_BAD_MODEL, "data: bpe needs its files: bpe(\"vocab.json\", \"merges.txt\")");
    vocab = data_path(d, vocab);
    if (merges)
        return tokenizer_bpe(d->arena, vocab, data_path(d, merges), &d->tokenizer, why);
    const char *slash = strrchr(vocab, '/');
    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++) {
        merges = arena_printf(d->arena, "%.*s%s", slash ? (int)(slash - vocab) + 1 : 0, vocab, usual[i]);
        FILE *f = fopen(merges, "re");
        if (!f)
            continue;
        fclose(f);
        return tokenizer_bpe(d->arena, vocab, merges, &d->tokenizer, why);
    }
    return status_fail(why, STATUS_IO, "no merge list lies beside '%s'; name it: bpe(\"vocab.json\", \"merges.txt\")", vocab);
}

static Status make_tokenizer(Dataset *d, const char *text, size_t n, StatusText *why)
{
    const char *kind = data_text(d, "tokens.name");
    if (!kind)
        kind = data_text(d, "tokens");
    if (d->options.state)
        return tokenizer_restore(d->arena, d->options.state, &d->tokenizer, why);
    if (!kind || strcmp(kind, "bytes") == 0)
        d->tokenizer = tokenizer_bytes(d->arena);
    else if (strcmp(kind, "chars") == 0)
        return tokenizer_chars(d->arena, text, n, &d->tokenizer, why);
    else if (strcmp(kind, "bpe") == 0)
        return make_bpe(d, why);
    else
        return status_fail(why, STATUS_BAD_MODEL, "data: there are no tokens `%s`; use bytes, chars or bpe(\"vocab.json\")", kind);
    return STATUS_OK;
}

// Where a piece of the text that starts at `at` may end: before a space that follows a printable ASCII character. No
// token reaches over such a place, so pieces encode to the same tokens as the whole.
static size_t piece_end(const char *text, size_t n, size_t at)
{
    size_t end = at + PIECE_BYTES;
    if (end >= n)
        return n;
    while (end < n && !((text[end] == ' ' || text[end] == '\n') && text[end - 1] > ' ' && text[end - 1] < 127))
        end++;
    return end;
}

static void put_token(TextData *t, size_t i, int32_t token)
{
    if (t->width == 1)      ((uint8_t *)t->token)[i] = (uint8_t)token;
    else if (t->width == 2) ((uint16_t *)t->token)[i] = (uint16_t)token;
    else                    ((int32_t *)t->token)[i] = token;
}

// Makes room for `n` tokens, and gives back what is over when `exact`.
static bool make_room(TextData *t, size_t *room, size_t n, bool exact)
{
    if (n <= *room && !exact)
        return true;
    size_t wanted = exact ? n : n + n / 2;
    void *more = realloc(t->token, wanted * (size_t)t->width + 1);
    if (!more)
        return false;
    t->token = more;
    *room = wanted;
    return true;
}

// Encodes piece by piece in the narrowest type that holds the vocabulary, so that little more than the tokens
// themselves is ever in memory.
static Status encode(Dataset *d, TextData *t, const char *text, size_t n, StatusText *why)
{
    size_t room = 0, n_piece;
    int32_t *token;
    Status s = STATUS_OK;
    t->width = d->tokenizer->n_vocab <= 256 ? 1 : d->tokenizer->n_vocab <= 65536 ? 2 : 4;
    for (size_t at = 0, end; at < n && s == STATUS_OK; at = end) {
        Arena scratch = {0};
        end = piece_end(text, n, at);
        s = tokenizer_encode(d->tokenizer, text + at, end - at, &scratch, &token, &n_piece, why);
        if (s == STATUS_OK && !make_room(t, &room, t->n + n_piece, false))
            s = status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for %zu tokens", t->n + n_piece);
        for (size_t i = 0; s == STATUS_OK && i < n_piece; i++)
            put_token(t, t->n + i, token[i]);
        t->n += s == STATUS_OK ? n_piece : 0;
        arena_free(&scratch);
    }
    if (s == STATUS_OK && !make_room(t, &room, t->n, true))
        s = status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for %zu tokens", t->n);
    return s;
}

// split = parts(train=.., val=..): shares of the whole, in this order.
static Status read_split(Dataset *d, TextData *t, StatusText *why)
{
    double train, val;
    Status s = data_number(d, "split.train", 0.9, 0, 1e9, &train, why);
    if (s == STATUS_OK)
        s = data_number(d, "split.val", train <= 1 ? 1 - train : 0, 0, 1e9, &val, why);
    if (s == STATUS_OK && !(train + val > 0))
        s = status_fail(why, STATUS_BAD_MODEL, "data: the parts of `split` add up to nothing");
    if (s == STATUS_OK)
        t->n_train = (size_t)((double)t->n * (train / (train + val)));
    return s;
}

static Status read_windows(Dataset *d, TextData *t, StatusText *why)
{
    const char *kind = data_text(d, "windows.name");
    double spans = 1;
    if (!kind)
        kind = data_text(d, "windows");
    t->masked = kind && strcmp(kind, "mlm") == 0;
    if (kind && !t->masked && strcmp(kind, "next") != 0)
        return status_fail(why, STATUS_BAD_MODEL, "data: there are no windows `%s`; use next(T) or mlm(T, rate=0.15)", kind);
    Status s = data_number(d, "windows.rate", 0.15, 0, 1, &t->rate, why);
    if (s == STATUS_OK)
        s = data_number(d, "windows.spans", 1, 1, 100, &spans, why);
    t->spans = (int)spans;
    return s;
}

Status data_open_text(Dataset *d, const char *const *path, size_t n_paths, StatusText *why)
{
    char *text = NULL;
    size_t n = 0;
    TextData *t = arena_new(d->arena, TextData);
    Status s = read_windows(d, t, why);
    if (s == STATUS_OK) s = read_files(path, n_paths, &text, &n, why);
    if (s == STATUS_OK) s = make_tokenizer(d, text, n, why);
    if (s == STATUS_OK) s = encode(d, t, text, n, why);
    free(text);
    if (s == STATUS_OK)
        s = read_split(d, t, why);
    if (s != STATUS_OK) {
        free(t->token);
        return s;
    }
    static const char *const kind[] = {[TOKENS_BYTES] = "bytes", [TOKENS_CHARS] = "characters", [TOKENS_BPE] = "byte pairs"};
    Text state = text_make(d->arena);
    tokenizer_save(d->tokenizer, &state);
    d->state = text_str(&state);
    d->self = t;
    d->kind = t->masked ? &mlm_kind : &next_kind;
    d->n_vocabulary = d->tokenizer->n_vocab + t->masked;
    d->summary = arena_printf(d->arena, "%s%s: %zu tokens (%s, %lld different), %zu to train, %zu to validate", path[0],
                              n_paths > 1 ? ", .." : "", t->n, kind[d->tokenizer->kind], (long long)d->n_vocabulary,
                              t->n_train, t->n - t->n_train);
    return STATUS_OK;
}
