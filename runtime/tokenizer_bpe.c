// Byte pair encoding as in GPT-2. Source: Radford, Wu, Child, Luan, Amodei, Sutskever, "Language Models are Unsupervised
// Multitask Learners", 2019, section 2.2.
//
//   text -> words (a regular expression) -> bytes -> merge the pair of lowest rank, again and again -> tokens
//
// Vocabulary and merge files write a byte as a printable character: the 188 printable bytes of Latin-1 stand for themselves,
// the other 68 for U+0100 and up, in order. A merge joins two tokens into a third, so ranks are looked up by the
// pair of token numbers; words that were seen before are looked up whole.
#define _GNU_SOURCE
#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenizer.h"

#include "rng.h"

#include <errno.h>
#include <jansson.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

static const char pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

typedef struct Merge {
    int32_t left, right;                    // -1: an empty place of the table
    int32_t rank, joined;
} Merge;

struct Bpe {
    int32_t  n_vocab;
    View    *token;                         // bytes of each token; data NULL: no token of that number
    int32_t  byte_token[256];
    Merge   *merge;                         // open addressing, a power of two
    size_t   n_merge;
};

typedef struct TokenTable {                 // token text -> number, while reading
    const View *token;
    int32_t    *slot;
    size_t      n_slots;
} TokenTable;

static uint32_t hash_bytes(const char *s, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)s[i]) * 16777619u;
    return rng_mix(h);
}

static uint32_t hash_pair(int32_t a, int32_t b)
{
    return rng_mix((uint32_t)a * 0x9e3779b1u + rng_mix((uint32_t)b));
}

static size_t table_size(size_t n)
{
    size_t size = 64;
    while (size < 2 * n)
        size *= 2;
    return size;
}

// The byte that a printable stand-in means; -1: none. Advances *p past the character.
static int read_stand_in(const char **p, const char *end)
{
    const unsigned char *s = (const unsigned char *)*p;
    unsigned c = s[0];
    size_t length = 1;
    if (c >= 0xc2 && c < 0xe0 && end - *p >= 2) {
        c = (c & 31u) << 6 | (s[1] & 63u);
        length = 2;
    } else if (c >= 0x80) {
        return -1;
    }
    *p += length;
    if ((c >= 33 && c <= 126) || (c >= 161 && c <= 172) || (c >= 174 && c <= 255))
        return (int)c;
    if (c < 256 || c >= 256 + 68)
        return -1;
    c -= 256;
    return (int)(c < 33 ? c : c < 33 + 34 ? 127 + (c - 33) : 173);
}

// Turns stand-ins into bytes, in place of the arena's copy.
static bool to_bytes(Arena *arena, const char *text, size_t n, View *out)
{
    char *bytes = arena_alloc(arena, n + 1, 1);
    const char *p = text, *end = text + n;
    size_t k = 0;
    while (p < end) {
        int b = read_stand_in(&p, end);
        if (b < 0)
            return false;
        bytes[k++] = (char)b;
    }
    *out = (View){bytes, k};
    return true;
}

static int32_t find_token(const TokenTable *t, const char *s, size_t n)
{
    for (uint32_t h = hash_bytes(s, n);; h++) {
        int32_t k = t->slot[h & (t->n_slots - 1)];
        if (k < 0)
            return -1;
        if (t->token[k].n == n && memcmp(t->token[k].data, s, n) == 0)
            return k;
    }
}

static void add_token(TokenTable *t, int32_t k)
{
    uint32_t h = hash_bytes(t->token[k].data, t->token[k].n);
    while (t->slot[h & (t->n_slots - 1)] >= 0)
        h++;
    t->slot[h & (t->n_slots - 1)] = k;
}

static Status read_vocab(Arena *arena, const char *path, json_t *root, Bpe *bpe, TokenTable *table, StatusText *why)
{
    const char *key;
    json_t *value;
    size_t n = json_object_size(root);
    bpe->token = arena_array(arena, View, n + 1);
    bpe->n_vocab = (int32_t)n;
    *table = (TokenTable){.token = bpe->token, .n_slots = table_size(n)};
    table->slot = arena_array(arena, int32_t, table->n_slots);
    memset(table->slot, 0xff, table->n_slots * sizeof *table->slot);
    json_object_foreach(root, key, value) {
        json_int_t number = json_is_integer(value) ? json_integer_value(value) : -1;
        if (number < 0 || number >= (json_int_t)n || bpe->token[number].data)
            return status_fail(why, STATUS_DAMAGED, "%s: token '%.60s' has no number of its own between 0 and %zu", path,
                               key, n - 1);
        View *token = &bpe->token[number];
        if (!to_bytes(arena, key, strlen(key), token))       // special tokens such as <|endoftext|> are plain text
            *token = (View){arena_strdup(arena, key), strlen(key)};
        add_token(table, (int32_t)number);
    }
    for (int b = 0; b < 256; b++) {
        char c = (char)b;
        bpe->byte_token[b] = find_token(table, &c, 1);
        if (bpe->byte_token[b] < 0)
            return status_fail(why, STATUS_DAMAGED, "%s: there is no token for the byte %d", path, b);
    }
    return STATUS_OK;
}

static Merge *find_merge(const Bpe *bpe, int32_t left, int32_t right)
{
    for (uint32_t h = hash_pair(left, right);; h++) {
        Merge *m = &bpe->merge[h & (bpe->n_merge - 1)];
        if (m->left < 0 || (m->left == left && m->right == right))
            return m;
    }
}

static Status add_merge(Arena *arena, const char *path, Bpe *bpe, const TokenTable *table, char *line, int32_t rank,
                        StatusText *why)
{
    char *space = strchr(line, ' ');
    View a = {0}, b = {0};
    if (!space || !to_bytes(arena, line, (size_t)(space - line), &a) || !to_bytes(arena, space + 1, strlen(space + 1), &b))
        return status_fail(why, STATUS_DAMAGED, "%s: '%.60s' is not a pair of tokens", path, line);
    char *both = arena_alloc(arena, a.n + b.n + 1, 1);
    memcpy(both, a.data, a.n);
    memcpy(both + a.n, b.data, b.n);
    int32_t left = find_token(table, a.data, a.n), right = find_token(table, b.data, b.n);
    int32_t joined = find_token(table, both, a.n + b.n);
    if (left < 0 || right < 0 || joined < 0)
        return status_fail(why, STATUS_DAMAGED, "%s: the pair '%.60s' is not in the vocabulary", path, line);
    Merge *m = find_merge(bpe, left, right);
    if (m->left < 0)
        *m = (Merge){left, right, rank, joined};
    return STATUS_OK;
}

static Status read_merges(Arena *arena, const char *path, Bpe *bpe, const TokenTable *table, StatusText *why)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return status_fail(why, STATUS_IO, "the merge list '%s' cannot be opened: %s", path, strerror(errno));
    char *line = NULL;
    size_t capacity = 0;
    int32_t rank = 0;
    Status s = STATUS_OK;
    Arena scratch = {0};
    bpe->n_merge = table_size((size_t)bpe->n_vocab * 2);
    bpe->merge = arena_array(arena, Merge, bpe->n_merge);
    memset(bpe->merge, 0xff, bpe->n_merge * sizeof *bpe->merge);
    for (ssize_t n = getline(&line, &capacity, f); n >= 0 && s == STATUS_OK; n = getline(&line, &capacity, f)) {
        line[strcspn(line, "\r\n")] = 0;
        if (!line[0] || strncmp(line, "#version", 8) == 0)
            continue;
        if (rank >= bpe->n_vocab)
            s = status_fail(why, STATUS_DAMAGED, "%s: there are more pairs than tokens", path);
        else
            s = add_merge(&scratch, path, bpe, table, line, rank++, why);
    }
    free(line);
    fclose(f);
    arena_free(&scratch);
    return s;
}

Status bpe_read(Arena *arena, const char *vocab_path, const char *merges_path, Bpe **out, int32_t *out_n_vocab,
                StatusText *why)
{
    json_error_t error;
    Bpe *bpe = arena_new(arena, Bpe);
    TokenTable table;
    errno = 0;
    json_t *root = json_load_file(vocab_path, JSON_REJECT_DUPLICATES, &error);
    if (!root && errno == ENOMEM)
        return status_fail(why, STATUS_OUT_OF_MEMORY, "%s: no memory to read the vocabulary", vocab_path);
    if (!root && json_error_code(&error) == json_error_cannot_open_file)
        return status_fail(why, STATUS_IO, "the vocabulary '%s' cannot be opened: %s", vocab_path, strerror(errno));
    if (!root || !json_is_object(root) || json_object_size(root) > INT32_MAX / 4) {
        json_decref(root);
        return status_fail(why, STATUS_DAMAGED, "%s: is not a vocabulary, a JSON object from tokens to numbers", vocab_path);
    }
    Status s = read_vocab(arena, vocab_path, root, bpe, &table, why);
    json_decref(root);
    if (s == STATUS_OK)
        s = read_merges(arena, merges_path, bpe, &table, why);
    if (s != STATUS_OK)
        return s;
    *out = bpe;
    *out_n_vocab = bpe->n_vocab;
    return STATUS_OK;
}

void bpe_decode(const Bpe *bpe, int32_t token, Text *out)
{
    if (bpe->token[token].data)
        text_add_n(out, bpe->token[token].data, bpe->token[token].n);
}

typedef struct Word {                       // a word that was encoded before
    const char *text;
    uint32_t    n, first, count;            // its tokens are out[first .. first + count)
} Word;

typedef struct Encoder {
    const Bpe *bpe;
    Arena     *arena;
    int32_t   *out;   size_t n, capacity;
    Word      *word;  size_t n_words, n_slots;
    int32_t   *piece; size_t piece_capacity;
} Encoder;

static void push(Encoder *e, int32_t token)
{
    e->out = arena_grow(e->arena, e->out, e->n, &e->capacity, sizeof *e->out);
    e->out[e->n++] = token;
}

// Merges the pieces of one word. Words are short; a long run (of spaces, say) costs its length squared at worst, so
// it is cut into pieces of 1,000 bytes, which changes nothing for text that people write.
static void encode_word(Encoder *e, const char *s, size_t n)
{
    int32_t piece[1000];
    size_t count = n;
    for (size_t i = 0; i < n; i++)
        piece[i] = e->bpe->byte_token[(unsigned char)s[i]];
    for (;;) {
        int32_t best = INT32_MAX, joined = 0, left = 0, right = 0;
        for (size_t i = 0; i + 1 < count; i++) {
            const Merge *m = find_merge(e->bpe, piece[i], piece[i + 1]);
            if (m->left >= 0 && m->rank < best)
                best = m->rank, joined = m->joined, left = m->left, right = m->right;
        }
        if (best == INT32_MAX)
            break;
        size_t k = 0;
        for (size_t i = 0; i < count; k++) {
            bool here = i + 1 < count && piece[i] == left && piece[i + 1] == right;
            piece[k] = here ? joined : piece[i];
            i += here ? 2 : 1;
        }
        count = k;
    }
    for (size_t i = 0; i < count; i++)
        push(e, piece[i]);
}

static void grow_words(Encoder *e)
{
    Word *old = e->word;
    size_t n_old = e->n_slots;
    e->n_slots = n_old ? 2 * n_old : 4096;
    e->word = arena_array(e->arena, Word, e->n_slots);
    for (size_t i = 0; i < n_old; i++) {
        if (!old[i].text)
            continue;
        uint32_t h = hash_bytes(old[i].text, old[i].n);
        while (e->word[h & (e->n_slots - 1)].text)
            h++;
        e->word[h & (e->n_slots - 1)] = old[i];
    }
}

static void add_word(Encoder *e, const char *s, size_t n)
{
    if (2 * e->n_words >= e->n_slots)
        grow_words(e);
    for (; n > 1000; s += 1000, n -= 1000)
        encode_word(e, s, 1000);
    uint32_t h = hash_bytes(s, n);
    Word *w = &e->word[h & (e->n_slots - 1)];
    for (; w->text; w = &e->word[++h & (e->n_slots - 1)])
        if (w->n == n && memcmp(w->text, s, n) == 0)
            break;
    if (w->text) {
        for (uint32_t i = 0; i < w->count; i++)
            push(e, e->out[w->first + i]);
        return;
    }
    size_t first = e->n;
    encode_word(e, s, n);
    if (e->n > UINT32_MAX)
        return;
    *w = (Word){s, (uint32_t)n, (uint32_t)first, (uint32_t)(e->n - first)};
    e->n_words++;
}

// Splits into words with the regular expression. Bytes that are not UTF-8 become words of their own.
static Status split_words(Encoder *e, pcre2_code *code, uint32_t options, pcre2_match_data *match, const char *text,
                          size_t n, StatusText *why)
{
    size_t at = 0;
    while (at < n) {
        int r = pcre2_match(code, (PCRE2_SPTR)text, n, at, options, match, NULL);
        if (r == PCRE2_ERROR_NOMATCH) {
            add_word(e, text + at, n - at);
            break;
        }
        if (r < 0)
            return status_fail(why, STATUS_DAMAGED, "the text cannot be split into words at byte %zu (PCRE2 error %d)", at, r);
        const PCRE2_SIZE *range = pcre2_get_ovector_pointer(match);
        if (range[0] > at)
            add_word(e, text + at, range[0] - at);
        if (range[1] <= at)
            return status_fail(why, STATUS_INTERNAL, "the word pattern matched nothing at byte %zu", at);
        add_word(e, text + range[0], range[1] - range[0]);
        at = range[1];
    }
    return STATUS_OK;
}

Status bpe_encode(const Bpe *bpe, const char *text, size_t n, Arena *arena, int32_t **out_token, size_t *out_n,
                  StatusText *why)
{
    int error;
    PCRE2_SIZE where;
    // MATCH_INVALID_UTF: bytes that are not UTF-8 match nothing, and so end up between two matches. It may look at the
    // whole text for every word, so text that is UTF-8 goes without.
    bool valid = tokenizer_valid(text, n) == n;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                     PCRE2_UTF | PCRE2_UCP | (valid ? 0 : PCRE2_MATCH_INVALID_UTF), &error, &where, NULL);
    pcre2_match_data *match = code ? pcre2_match_data_create_from_pattern(code, NULL) : NULL;
    if (!match) {
        pcre2_code_free(code);
        return status_fail(why, STATUS_OUT_OF_MEMORY, "the word pattern cannot be compiled");
    }
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);     // without it, matching is only slower
    Arena scratch = {0};
    Encoder e = {.bpe = bpe, .arena = &scratch};
    Status s = split_words(&e, code, valid ? PCRE2_NO_UTF_CHECK : 0, match, text, n, why);
    pcre2_match_data_free(match);
    pcre2_code_free(code);
    if (s == STATUS_OK) {
        *out_token = arena_array(arena, int32_t, e.n + 1);
        if (e.n)
            memcpy(*out_token, e.out, e.n * sizeof *e.out);
        *out_n = e.n;
    }
    arena_free(&scratch);
    return s;
}
