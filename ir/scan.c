// See scan.h.
#include "scan.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool starts_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool in_name(char c)
{
    return starts_name(c) || is_digit(c) || c == '\'' || c == '.';
}

Scan scan_make(Arena *arena, Diag *diag, const Sources *sources, uint32_t file)
{
    const SourceFile *f = &sources->file[file];
    Scan s = {.arena = arena, .diag = diag, .file = file, .data = f->data, .n = f->n};
    if (f->n > UINT32_MAX - 1) {
        s.n = 0;
        scan_next(&s);
        scan_fail(&s, "the text is longer than 4 GiB");
        return s;
    }
    scan_next(&s);
    return s;
}

static char peek(const Scan *s, size_t ahead)
{
    return s->at + ahead < s->n ? s->data[s->at + ahead] : 0;
}

static void skip_blank(Scan *s)
{
    for (;;) {
        char c = peek(s, 0);
        if (s->at < s->n && (c == ' ' || c == '\t' || c == '\n' || c == '\r'))
            s->at++;
        else if (c == '/' && peek(s, 1) == '/')
            while (s->at < s->n && s->data[s->at] != '\n')
                s->at++;
        else
            return;
    }
}

static void skip_name(Scan *s)
{
    while (s->at < s->n && in_name(s->data[s->at]))
        s->at++;
}

static TokenKind skip_value(Scan *s, Token *t)
{
    uint64_t number = 0;
    for (s->at++; is_digit(peek(s, 0)); s->at++)
        if ((number = number * 10 + (uint64_t)(s->data[s->at] - '0')) > UINT32_MAX)
            return TOKEN_BAD;
    t->number = (uint32_t)number;
    if (s->data[s->at - 1] == '%')
        return TOKEN_BAD;
    size_t begin = s->at;
    if (peek(s, 0) == '.' && starts_name(peek(s, 1))) {
        begin = ++s->at;
        skip_name(s);
    }
    t->text = (View){s->data + begin, s->at - begin};
    return TOKEN_VALUE;
}

static void skip_number(Scan *s)
{
    if (peek(s, 0) == '-')
        s->at++;
    if (starts_name(peek(s, 0))) {                  // -inf
        skip_name(s);
        return;
    }
    while (is_digit(peek(s, 0)) || peek(s, 0) == '.')
        s->at++;
    if (peek(s, 0) == 'e' || peek(s, 0) == 'E') {
        s->at++;
        if (peek(s, 0) == '-' || peek(s, 0) == '+')
            s->at++;
        while (is_digit(peek(s, 0)))
            s->at++;
    }
}

static TokenKind skip_string(Scan *s)
{
    for (s->at++; s->at < s->n && s->data[s->at] != '\n'; s->at++) {
        if (s->data[s->at] == '"') {
            s->at++;
            return TOKEN_STRING;
        }
        if (s->data[s->at] == '\\' && s->at + 1 < s->n && s->data[s->at + 1] != '\n')
            s->at++;
    }
    return TOKEN_BAD;
}

void scan_next(Scan *s)
{
    skip_blank(s);
    size_t begin = s->at;
    Token *t = &s->token;
    char c = peek(s, 0);
    t->text.n = 0;
    if (s->at >= s->n) {
        t->kind = TOKEN_END;
    } else if (starts_name(c)) {
        t->kind = TOKEN_NAME;
        skip_name(s);
    } else if (c == '%') {
        t->kind = skip_value(s, t);
    } else if (is_digit(c) || (c == '-' && (is_digit(peek(s, 1)) || peek(s, 1) == '.' || peek(s, 1) == 'i'))) {
        t->kind = TOKEN_NUMBER;
        skip_number(s);
    } else if (c == '"') {
        t->kind = skip_string(s);
    } else {
        t->kind = TOKEN_MARK;
        s->at++;
    }
    t->at = (Span){s->file, (uint32_t)begin, (uint32_t)s->at};
    if (t->kind != TOKEN_VALUE)
        t->text = (View){s->data + begin, s->at - begin};
}

bool scan_fail(Scan *s, const char *format, ...)
{
    if (s->failed)
        return false;
    s->failed = true;
    Text text = text_make(s->arena);
    va_list args;
    va_start(args, format);
    text_vprintf(&text, format, args);
    va_end(args);
    diag_error(s->diag, s->token.at, "E0915", "%s", text_str(&text));
    return false;
}

bool scan_is(const Scan *s, char mark)
{
    return s->token.kind == TOKEN_MARK && s->token.text.data[0] == mark;
}

bool scan_is_word(const Scan *s, const char *word)
{
    size_t n = strlen(word);
    return s->token.kind == TOKEN_NAME && s->token.text.n == n && memcmp(s->token.text.data, word, n) == 0;
}

bool scan_accept(Scan *s, char mark)
{
    if (!scan_is(s, mark))
        return false;
    scan_next(s);
    return true;
}

bool scan_accept_word(Scan *s, const char *word)
{
    if (!scan_is_word(s, word))
        return false;
    scan_next(s);
    return true;
}

bool scan_expect(Scan *s, char mark)
{
    return scan_accept(s, mark) || scan_fail(s, "expected `%c`", mark);
}

bool scan_expect_word(Scan *s, const char *word)
{
    return scan_accept_word(s, word) || scan_fail(s, "expected `%s`", word);
}

bool scan_name(Scan *s, const char *what, const char **out_name)
{
    if (s->token.kind != TOKEN_NAME)
        return scan_fail(s, "expected %s", what);
    *out_name = arena_strndup(s->arena, s->token.text.data, s->token.text.n);
    scan_next(s);
    return true;
}

static int hex_digit(char c)
{
    return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool scan_string(Scan *s, const char *what, const char **out_string)
{
    if (s->token.kind != TOKEN_STRING)
        return scan_fail(s, "expected %s in quotes", what);
    const char *p = s->token.text.data + 1, *end = s->token.text.data + s->token.text.n - 1;
    char *out = arena_alloc(s->arena, s->token.text.n, 1);
    for (size_t n = 0; p < end; p++) {
        char c = *p;
        if (c == '\\') {
            c = *++p;
            if (c == 'x' && end - p > 2 && hex_digit(p[1]) >= 0 && hex_digit(p[2]) >= 0) {
                c = (char)(hex_digit(p[1]) * 16 + hex_digit(p[2]));
                p += 2;
            } else if (c == 'n') {
                c = '\n';
            } else if (c != '"' && c != '\\') {
                return scan_fail(s, "a string may escape \\\" \\\\ \\n \\xHH only");
            }
        }
        if (c == 0)
            return scan_fail(s, "a string may not hold a zero byte");
        out[n++] = c;
    }
    *out_string = out;
    scan_next(s);
    return true;
}

bool scan_int(Scan *s, const char *what, int64_t *out_value)
{
    const View *t = &s->token.text;
    if (s->token.kind != TOKEN_NUMBER || t->n > 20)
        return scan_fail(s, "expected %s, a whole number", what);
    char digits[24], *end;
    memcpy(digits, t->data, t->n);
    digits[t->n] = 0;
    errno = 0;
    *out_value = strtoll(digits, &end, 10);
    if (errno || *end)
        return scan_fail(s, "expected %s, a whole number", what);
    scan_next(s);
    return true;
}

bool scan_size(Scan *s, const char *what, size_t *out_value)
{
    int64_t value;
    if (s->token.kind == TOKEN_NUMBER && s->token.text.data[0] == '-')
        return scan_fail(s, "%s cannot be negative", what);
    if (!scan_int(s, what, &value))
        return false;
    *out_value = (size_t)value;
    return true;
}

bool scan_double(Scan *s, const char *what, double *out_value)
{
    const View *t = &s->token.text;
    if (scan_is_word(s, "inf") || scan_is_word(s, "nan")) {
        *out_value = t->data[0] == 'i' ? HUGE_VAL : (double)NAN;
    } else if (s->token.kind == TOKEN_NUMBER && t->n == 4 && memcmp(t->data, "-inf", 4) == 0) {
        *out_value = -HUGE_VAL;
    } else {
        char *digits = arena_strndup(s->arena, t->data, s->token.kind == TOKEN_NUMBER ? t->n : 0), *end;
        *out_value = strtod(digits, &end);
        if (s->token.kind != TOKEN_NUMBER || *end || end == digits || !isfinite(*out_value))
            return scan_fail(s, "expected %s, a number", what);
    }
    scan_next(s);
    return true;
}

bool scan_choice(Scan *s, const char *what, const char *const *text, size_t n, size_t *out_index)
{
    for (size_t i = 0; i < n; i++)
        if (scan_is_word(s, text[i])) {
            *out_index = i;
            scan_next(s);
            return true;
        }
    return scan_fail(s, "expected %s", what);
}

bool text_is_name(const char *name)
{
    if (!starts_name(name[0]))
        return false;
    while (in_name(*name))
        name++;
    return *name == 0;
}

void text_string(Text *out, const char *s)
{
    text_char(out, '"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            text_printf(out, "\\%c", *s);
        else if (*s == '\n')
            text_add(out, "\\n");
        else if ((unsigned char)*s < 0x20 || (unsigned char)*s >= 0x7F)
            text_printf(out, "\\x%02x", (unsigned char)*s);
        else
            text_char(out, *s);
    }
    text_char(out, '"');
}
