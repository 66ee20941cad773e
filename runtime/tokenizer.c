// See tokenizer.h. Bytes and characters; byte pairs are in tokenizer_bpe.c.
#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>

Tokenizer *tokenizer_bytes(Arena *arena)
{
    Tokenizer *t = arena_new(arena, Tokenizer);
    t->kind = TOKENS_BYTES;
    t->n_vocab = 256;
    return t;
}

// Reads one character. Returns its length in bytes, 0 when the bytes are not UTF-8.
static size_t read_character(const char *text, size_t n, uint32_t *out)
{
    const unsigned char *s = (const unsigned char *)text;
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (s[0] < 0x80) {
        *out = s[0];
        return 1;
    }
    size_t length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc2 ? 2 : 0;
    if (length == 0 || s[0] > 0xf4 || length > n)
        return 0;
    uint32_t c = s[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    if (c < least[length] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0;
    *out = c;
    return length;
}

static void write_character(uint32_t c, Text *out)
{
    char s[4];
    if (c < 0x80) {
        text_char(out, (char)c);
    } else if (c < 0x800) {
        s[0] = (char)(0xc0 | c >> 6), s[1] = (char)(0x80 | (c & 0x3f));
        text_add_n(out, s, 2);
    } else if (c < 0x10000) {
        s[0] = (char)(0xe0 | c >> 12), s[1] = (char)(0x80 | (c >> 6 & 0x3f)), s[2] = (char)(0x80 | (c & 0x3f));
        text_add_n(out, s, 3);
    } else {
        s[0] = (char)(0xf0 | c >> 18), s[1] = (char)(0x80 | (c >> 12 & 0x3f));
        s[2] = (char)(0x80 | (c >> 6 & 0x3f)), s[3] = (char)(0x80 | (c & 0x3f));
        text_add_n(out, s, 4);
    }
}

size_t tokenizer_whole(const char *text, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char c = (unsigned char)text[n - back];
        if ((c & 0xc0) == 0x80)
            continue;
        size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 1;
        return length > back ? n - back : n;
    }
    return n;
}

size_t tokenizer_valid(const char *text, size_t n)
{
    size_t i = 0;
    uint32_t c;
    for (size_t length; i < n && (length = read_character(text + i, n - i, &c)) > 0;)
        i += length;
    return i;
}

Status tokenizer_chars(Arena *arena, const char *text, size_t n, Tokenizer **out, StatusText *why)
{
    enum { N_CODES = 0x110000 };
    unsigned char *seen = calloc(N_CODES / 8, 1);
    if (!seen)
        return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory to list the characters of the text");
    Tokenizer *t = arena_new(arena, Tokenizer);
    t->kind = TOKENS_CHARS;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t length = read_character(text + i, n - i, &c);
        if (length == 0) {
            free(seen);
            return status_fail(why, STATUS_DAMAGED, "the text is not UTF-8 at byte %zu; use `tokens = bytes` for it", i);
        }
        if (!(seen[c / 8] & 1u << c % 8)) {
            seen[c / 8] |= (unsigned char)(1u << c % 8);
            t->n_vocab++;
        }
        i += length;
    }
    t->character = arena_array(arena, uint32_t, (size_t)t->n_vocab + 1);
    int32_t k = 0;
    for (uint32_t c = 0; c < N_CODES; c++)
        if (seen[c / 8] & 1u << c % 8)
            t->character[k++] = c;
    free(seen);
    *out = t;
    return STATUS_OK;
}

Status tokenizer_bpe(Arena *arena, const char *vocab_path, const char *merges_path, Tokenizer **out, StatusText *why)
{
    Tokenizer *t = arena_new(arena, Tokenizer);
    t->kind = TOKENS_BPE;
    t->vocab_path = arena_strdup(arena, vocab_path);
    t->merges_path = arena_strdup(arena, merges_path);
    Status s = bpe_read(arena, vocab_path, merges_path, &t->bpe, &t->n_vocab, why);
    if (s == STATUS_OK)
        *out = t;
    return s;
}

static int32_t find_character(const Tokenizer *t, uint32_t c)
{
    int32_t low = 0, high = t->n_vocab;
    while (low < high) {
        int32_t mid = low + (high - low) / 2;
        if (t->character[mid] < c)
            low = mid + 1;
        else
            high = mid;
    }
    return low < t->n_vocab && t->character[low] == c ? low : -1;
}

static Status encode_chars(const Tokenizer *t, const char *text, size_t n, int32_t *token, size_t *out_n, StatusText *why)
{
    int32_t ascii[128];
    for (uint32_t c = 0; c < 128; c++)
        ascii[c] = find_character(t, c);
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t length = read_character(text + i, n - i, &c);
        if (length == 0)
            return status_fail(why, STATUS_DAMAGED, "the text is not UTF-8 at byte %zu", i);
        int32_t k = c < 128 ? ascii[c] : find_character(t, c);
        if (k < 0)
            return status_fail(why, STATUS_DAMAGED, "the character '%.*s' (U+%04X) was not in the text that the "
                               "vocabulary of %d characters was made from", (int)length, text + i, c, t->n_vocab);
        token[(*out_n)++] = k;
        i += length;
    }
    return STATUS_OK;
}

Status tokenizer_encode(const Tokenizer *t, const char *text, size_t n, Arena *arena, int32_t **out_token, size_t *out_n,
                        StatusText *why)
{
    if (t->kind == TOKENS_BPE)
        return bpe_encode(t->bpe, text, n, arena, out_token, out_n, why);
    int32_t *token = arena_array(arena, int32_t, n + 1);
    size_t count = 0;
    Status s = STATUS_OK;
    if (t->kind == TOKENS_CHARS)
        s = encode_chars(t, text, n, token, &count, why);
    else
        for (; count < n; count++)
            token[count] = (unsigned char)text[count];
    *out_token = token;
    *out_n = count;
    return s;
}

void tokenizer_decode(const Tokenizer *t, const int32_t *token, size_t n, Text *out)
{
    for (size_t i = 0; i < n; i++) {
        if (token[i] < 0 || token[i] >= t->n_vocab)
            continue;
        switch (t->kind) {
        case TOKENS_BYTES: text_char(out, (char)token[i]); break;
        case TOKENS_CHARS: write_character(t->character[token[i]], out); break;
        case TOKENS_BPE:   bpe_decode(t->bpe, token[i], out); break;
        }
    }
}

// Saved as "bytes", "chars 10 32 33 ..." (code points) or "bpe PATH\nPATH".
void tokenizer_save(const Tokenizer *t, Text *out)
{
    switch (t->kind) {
    case TOKENS_BYTES:
        text_add(out, "bytes");
        break;
    case TOKENS_CHARS:
        text_add(out, "chars");
        for (int32_t i = 0; i < t->n_vocab; i++)
            text_printf(out, " %u", t->character[i]);
        break;
    case TOKENS_BPE:
        text_printf(out, "bpe %s\n%s", t->vocab_path, t->merges_path);
        break;
    }
}

static Status restore_chars(Arena *arena, const char *list, Tokenizer **out, StatusText *why)
{
    Tokenizer *t = arena_new(arena, Tokenizer);
    t->kind = TOKENS_CHARS;
    t->character = arena_array(arena, uint32_t, strlen(list) / 2 + 1);
    while (*list) {
        char *end;
        unsigned long c = strtoul(list, &end, 10);
        if (end == list || c > 0x10ffff || (t->n_vocab && c <= t->character[t->n_vocab - 1]))
            return status_fail(why, STATUS_DAMAGED, "the saved list of characters is damaged");
        t->character[t->n_vocab++] = (uint32_t)c;
        list = end;
    }
    *out = t;
    return STATUS_OK;
}

Status tokenizer_restore(Arena *arena, const char *saved, Tokenizer **out, StatusText *why)
{
    const char *second = strchr(saved, '\n');
    if (strcmp(saved, "bytes") == 0) {
        *out = tokenizer_bytes(arena);
        return STATUS_OK;
    }
    if (strncmp(saved, "chars", 5) == 0)
        return restore_chars(arena, saved + 5, out, why);
    if (strncmp(saved, "bpe ", 4) == 0 && second)
        return tokenizer_bpe(arena, arena_strndup(arena, saved + 4, (size_t)(second - saved) - 4), second + 1, out, why);
    return status_fail(why, STATUS_DAMAGED, "the saved vocabulary is of no known kind");
}
