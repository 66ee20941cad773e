// Text to token numbers and back: bytes, characters, or byte pairs (GPT-2's). Encoding and decoding are exact inverses on
// every text that can be encoded.
#ifndef MIXC_TOKENIZER_H
#define MIXC_TOKENIZER_H

#include "arena.h"
#include "status.h"
#include "text.h"

#include <stdint.h>

typedef enum TokenizerKind { TOKENS_BYTES, TOKENS_CHARS, TOKENS_BPE } TokenizerKind;

typedef struct Bpe Bpe;

typedef struct Tokenizer {
    TokenizerKind kind;
    int32_t  n_vocab;                       // tokens are 0 <= t < n_vocab
    uint32_t *character;                    // CHARS: code point of each token, ascending
    Bpe      *bpe;                          // BPE
    const char *vocab_path, *merges_path;   // BPE
} Tokenizer;

// All live in the arena. A tokenizer of bytes cannot fail.
Tokenizer *tokenizer_bytes(Arena *arena);
// The distinct characters of a text, which must be UTF-8 (DAMAGED otherwise, with the place).
Status tokenizer_chars(Arena *arena, const char *text, size_t n, Tokenizer **out, StatusText *why);
// vocab: JSON object, token text -> number. merges: one pair a line, the most important first.
Status tokenizer_bpe(Arena *arena, const char *vocab_path, const char *merges_path, Tokenizer **out, StatusText *why);

// Fails (DAMAGED) when the text has a character that the vocabulary lacks. The numbers live in the arena.
Status tokenizer_encode(const Tokenizer *t, const char *text, size_t n, Arena *arena, int32_t **out_token, size_t *out_n,
                        StatusText *why);
// Appends the bytes of the tokens; numbers outside the vocabulary add nothing. The end of a run of bytes may be cut
// inside a character: whoever streams keeps it back (tokenizer_whole).
void   tokenizer_decode(const Tokenizer *t, const int32_t *token, size_t n, Text *out);
// How many of the first n bytes form whole UTF-8 characters (a cut one at the end is left out).
size_t tokenizer_whole(const char *text, size_t n);
// How many bytes from the start are UTF-8: n when all are.
size_t tokenizer_valid(const char *text, size_t n);

// A line of text that tokenizer_restore turns into the same tokenizer: kept in checkpoints.
void   tokenizer_save(const Tokenizer *t, Text *out);
Status tokenizer_restore(Arena *arena, const char *saved, Tokenizer **out, StatusText *why);

// The byte pair part (tokenizer_bpe.c).
Status bpe_read(Arena *arena, const char *vocab_path, const char *merges_path, Bpe **out, int32_t *out_n_vocab,
                StatusText *why);
Status bpe_encode(const Bpe *bpe, const char *text, size_t n, Arena *arena, int32_t **out_token, size_t *out_n,
                  StatusText *why);
void   bpe_decode(const Bpe *bpe, int32_t token, Text *out);

#endif
