// Text of a token -> its value. Malformed numbers, strings and names are reported here and then treated as well-formed
// ones, so that one slip of a finger makes one message.
#include "lex_actions.h"

#include "arena.h"
#include "utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

Span lex_begin(Parse *p, size_t n)
{
    uint32_t begin = p->scan_at;
    p->scan_at += (uint32_t)n;
    return (Span){p->file, begin, p->scan_at};
}

void lex_comment(Parse *p, Span at)
{
    uint32_t end = at.end;
    while (end > at.begin + 1 && strchr(" \t\r\f", p->text[end - 1]))
        end--;
    bool own_line = true;
    for (uint32_t i = at.begin; i > 0 && p->text[i - 1] != '\n' && own_line; i--)
        own_line = strchr(" \t\r\f", p->text[i - 1]) != NULL;
    Comment *c = arena_new(p->arena, Comment);
    c->at = (Span){at.file, at.begin, end};
    c->text = arena_strndup(p->arena, p->text + at.begin, end - at.begin);
    c->own_line = own_line;
    LIST_ADD(p->comments, c);
}

void lex_foreign_comment(Parse *p, Span at)
{
    at.begin += (uint32_t)strspn(p->text + at.begin, " \t");
    at.end = at.begin + 2;
    if (parse_error(p, at, "E0002", "a comment begins with `#`"))
        diag_help_edit(p->diag, at, "#", "write `#`");
}

int lex_name(Parse *p, MIX_STYPE *value, Span at)
{
    const char *s = p->text + at.begin;
    size_t n = at.end - at.begin;
    if (n > MAX_NAME_BYTES) {
        parse_error(p, at, "E0008", "a name of %zu characters; at most %d are allowed", n, MAX_NAME_BYTES);
        n = MAX_NAME_BYTES;
    }
    const char *prime = memchr(s, '\'', n);
    size_t stem = prime ? (size_t)(prime - s) : n;
    if (prime && strspn(prime, "'") < n - stem) {
        if (parse_error(p, at, "E0008", "`%.*s` has a prime in the middle of its name", (int)n, s))
            diag_help(p->diag, "primes stand at the end, as in `T'`; use `_` inside a name");
        n = stem + strspn(prime, "'");
    }
    value->name = parse_name(p, at, s, n);
    return ID;
}

int lex_number(Parse *p, MIX_STYPE *value, Span at)
{
    const char *text = parse_intern(p, p->text + at.begin, at.end - at.begin);
    double number = strtod(text, NULL);
    if (isinf(number)) {
        parse_error(p, at, "E0005", "this number is too large; the largest is about 1.8e308");
        number = 0;
    }
    value->expr = expr_leaf(p, EXPR_NUMBER, at, text, number);
    return NUM;
}

int lex_bad_number(Parse *p, MIX_STYPE *value, Span at)
{
    int n = at.end - at.begin > 40 ? 40 : (int)(at.end - at.begin);
    const char *s = p->text + at.begin;
    if (s[0] == '.') {
        if (parse_error(p, at, "E0005", "a number needs a digit before its point"))
            diag_help_edit(p->diag, (Span){at.file, at.begin, at.begin}, "0", "write `0%.*s`", n, s);
    } else {
        int n_digits = (int)strspn(s, "0123456789.");
        if (parse_error(p, at, "E0005", "`%.*s` is neither a number nor a name", n, s) && n > n_digits)
            diag_help(p->diag, "a name does not start with a digit; a product needs its sign: `%.*s*%.*s`", n_digits, s,
                      n - n_digits, s + n_digits);
    }
    value->expr = expr_leaf(p, EXPR_NUMBER, at, "0", 0);
    return NUM;
}

int lex_string(Parse *p, MIX_STYPE *value, Span at)
{
    const char *s = p->text + at.begin + 1;
    size_t n = at.end - at.begin - 2, n_out = 0;
    char *out = arena_array(p->arena, char, n + 1);
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        if (c == '\\') {
            c = s[++i];
            if (c == 'n')
                c = '\n';
            else if (c == 't')
                c = '\t';
            else if (c != '"' && c != '\\') {
                uint32_t begin = at.begin + (uint32_t)i;
                if (parse_error(p, (Span){at.file, begin, begin + 2}, "E0006", "a string has no escape like this"))
                    diag_help(p->diag, "the escapes are \\\" \\\\ \\n \\t");
            }
        }
        out[n_out++] = c;
    }
    value->expr = expr_leaf(p, EXPR_STRING, at, out, 0);
    return STR;
}

int lex_open_string(Parse *p, MIX_STYPE *value, Span at)
{
    if (parse_error(p, at, "E0006", "this string is not closed on its line"))
        diag_help_edit(p->diag, (Span){at.file, at.end, at.end}, "\"", "end it with `\"`");
    value->expr = expr_leaf(p, EXPR_STRING, at, "", 0);
    return STR;
}

// Characters that people paste from papers and word processors, what Mix writes instead, and the token that stands in
// for them so that one message is enough.
static const struct { uint32_t character; const char *instead; int token; } look_alike[] = {
    {0x2032, "'", NO_TOKEN}, {0x2019, "'", NO_TOKEN}, {0x2018, "'", NO_TOKEN}, {0x00b4, "'", NO_TOKEN},
    {0x201c, "\"", NO_TOKEN}, {0x201d, "\"", NO_TOKEN}, {0x2212, "-", '-'}, {0x2013, "-", '-'}, {0x2014, "-", '-'},
    {0x00d7, "*", '*'}, {0x00b7, "*", '*'}, {0x22c5, "*", '*'}, {0x00f7, "/", '/'}, {0x2264, "<=", LE},
    {0x2265, ">=", GE}, {0x2260, "!=", NE}, {0x2192, "->", ARROW}, {0x2026, "..", DOTDOT}, {0x00a0, " ", NO_TOKEN},
    {0x2208, "in", IN},
};

static int foreign_symbol(Parse *p, Span at, uint32_t c)
{
    const char *s = p->text + at.begin;
    bool is_new = parse_error(p, at, "E0002", "`%.*s` is not used in Mix%s", (int)(at.end - at.begin), s,
                              c < 0x80 ? "" : " outside comments");
    for (size_t i = 0; i < sizeof look_alike / sizeof *look_alike; i++)
        if (look_alike[i].character == c) {
            if (is_new)
                diag_help_edit(p->diag, at, look_alike[i].instead, "write `%s`", look_alike[i].instead);
            return look_alike[i].token;
        }
    return NO_TOKEN;
}

int lex_foreign(Parse *p, Span at)
{
    const char *s = p->text + at.begin;
    switch (*s) {
    case '@':
        if (parse_error(p, at, "E0012", "`@` needs the axes that it sums over"))
            diag_help(p->diag, "write `a @[D] b` to multiply and sum over D");
        return '*';
    case '\'':
        if (parse_error(p, at, "E0002", "a prime belongs directly behind a name, as in `T'`"))
            diag_help(p->diag, "text is written in double quotes: \"..\"");
        return NO_TOKEN;
    case '!':
        parse_error(p, at, "E0002", "`!` is not used in Mix: \"not equal\" is `!=`, and `1 - x` negates a 0 or 1");
        return NO_TOKEN;
    case '&': case '|':
        parse_error(p, at, "E0002", "`%c` is not used in Mix: comparisons are 0 or 1, so `*` is \"and\", `max` is \"or\"",
                    *s);
        return '*';
    default:
        break;
    }
    if (*s == '?') {
        if (parse_error(p, at, "E0002", "`?` is not used in Mix"))
            diag_help(p->diag, "`select(c, a, b)` is a where c is not 0, else b");
        return NO_TOKEN;
    }
    if ((unsigned char)*s < 0x20 || *s == 0x7f) {
        parse_error(p, at, "E0002", "a control character (code %d) is not allowed here", *s);
        return NO_TOKEN;
    }
    uint32_t c = 0;
    utf8_read(s, at.end - at.begin, &c);
    return foreign_symbol(p, at, c);
}

bool lex_check_text(Parse *p)
{
    if (p->n > MAX_SOURCE_BYTES) {
        if (parse_error(p, (Span){p->file, 0, 0}, "E0003", "this file has %u bytes; a .mix file may have %d", p->n,
                        MAX_SOURCE_BYTES))
            diag_help(p->diag, "weights and data do not belong into the model's text");
        return false;
    }
    for (uint32_t i = 0; i < p->n;) {
        uint32_t c;
        size_t n = utf8_read(p->text + i, p->n - i, &c);
        Span at = {p->file, i, i + 1};
        if (n == 0)
            parse_error(p, at, "E0003", "byte 0x%02x is not UTF-8 text", (unsigned char)p->text[i]);
        else if (c == 0)
            parse_error(p, at, "E0003", "a zero byte: this is not a text file");
        if (n == 0 || c == 0)
            return false;
        i += (uint32_t)n;
    }
    return true;
}
