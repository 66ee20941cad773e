// Tokens of the text forms (graph, program) and the few things that both need to read and print them.
#ifndef MIXC_SCAN_H
#define MIXC_SCAN_H

#include "diag.h"

typedef enum TokenKind {
    TOKEN_END,
    TOKEN_NAME,                             // letters, digits, _ ' and . after a first letter or _
    TOKEN_VALUE,                            // %12 or %12.hint
    TOKEN_NUMBER,                           // 12, -0.5e3, -inf
    TOKEN_STRING,                           // "..."
    TOKEN_MARK,                             // one other character
    TOKEN_BAD
} TokenKind;

typedef struct Token {
    TokenKind kind;
    Span      at;
    View      text;                         // as written; for VALUE the hint
    uint32_t  number;                       // of a VALUE
} Token;

typedef struct Scan {
    Arena      *arena;                      // borrowed; holds what is copied out of the text
    Diag       *diag;                       // borrowed
    uint32_t    file;
    const char *data;
    size_t      n, at;
    Token       token;                      // the one to look at next
    bool        failed;                     // an error was reported; only the first one is
} Scan;

Scan scan_make(Arena *arena, Diag *diag, const Sources *sources, uint32_t file);
void scan_next(Scan *s);
// Reports at the current token, unless something was reported before. Returns false.
bool scan_fail(Scan *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool scan_is(const Scan *s, char mark);
bool scan_is_word(const Scan *s, const char *word);
// Each skips what it accepts and returns whether it was there; the `expect` ones report when it was not.
bool scan_accept(Scan *s, char mark);
bool scan_accept_word(Scan *s, const char *word);
bool scan_expect(Scan *s, char mark);
bool scan_expect_word(Scan *s, const char *word);
bool scan_name(Scan *s, const char *what, const char **out_name);      // copied
bool scan_string(Scan *s, const char *what, const char **out_string);  // without quotes and escapes
bool scan_int(Scan *s, const char *what, int64_t *out_value);
bool scan_size(Scan *s, const char *what, size_t *out_value);          // an int >= 0
bool scan_double(Scan *s, const char *what, double *out_value);        // also inf, -inf, nan
// Finds a name among `n` texts.
bool scan_choice(Scan *s, const char *what, const char *const *text, size_t n, size_t *out_index);

// Whether it can be printed as a NAME token.
bool text_is_name(const char *name);
// "..." with \" \\ \n and \xHH for every other byte that is not printable ASCII: any bytes survive.
void text_string(Text *out, const char *s);

#endif
