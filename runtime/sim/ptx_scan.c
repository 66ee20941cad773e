// The scanner of PTX text: names, numbers, strings, marks.
#include "ptx_parser.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void parser_fail(Parser *p, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!p->failed)
        status_fail(p->why, STATUS_INTERNAL, "%s:%u: %s", p->module->name, p->line, text);
    p->failed = true;
    p->token = TOKEN_END;
    p->text = "";
}

// --- the scanner

static void skip_space(Parser *p)
{
    for (;;) {
        if (*p->s == '\n')
            p->line++;
        if (*p->s == ' ' || *p->s == '\t' || *p->s == '\n' || *p->s == '\r')
            p->s++;
        else if (p->s[0] == '/' && p->s[1] == '/')
            p->s += strcspn(p->s, "\n");
        else if (p->s[0] == '/' && p->s[1] == '*') {
            const char *end = strstr(p->s + 2, "*/");
            for (end = end ? end + 2 : p->s + strlen(p->s); p->s < end; p->s++)
                p->line += *p->s == '\n';
        } else
            return;
    }
}

static bool is_name(const char *s)
{
    return (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') || *s == '_' || *s == '$'
        || *s == '.' || *s == '%';
}

static void scan_number(Parser *p)
{
    char *end = NULL;
    p->token = TOKEN_NUMBER;
    p->is_negative = *p->s == '-';
    const char *s = p->s + p->is_negative;
    if (s[0] == '0' && (s[1] == 'f' || s[1] == 'F' || s[1] == 'd' || s[1] == 'D'))
        p->number = strtoull(s + 2, &end, 16);
    else
        p->number = strtoull(s, &end, 0);
    if (*end == 'U')
        end++;
    if (p->is_negative)
        p->number = 0 - p->number;
    p->s = end;
}

void parser_next(Parser *p)
{
    if (p->failed)
        return;
    skip_space(p);
    const char *from = p->s;
    p->text = "";
    if (!*from)
        p->token = TOKEN_END;
    else if ((*from >= '0' && *from <= '9') || (*from == '-' && from[1] >= '0' && from[1] <= '9'))
        scan_number(p);
    else if (is_name(from)) {
        while (is_name(p->s) || (p->s[0] == ':' && p->s[1] == ':'))
            p->s += *p->s == ':' ? 2 : 1;
        p->token = TOKEN_NAME;
        p->text = arena_strndup(p->arena, from, (size_t)(p->s - from));
    } else if (*from == '"') {
        size_t n = strcspn(from + 1, "\"\n");
        p->s = from + 1 + n + (from[1 + n] == '"');
        p->token = TOKEN_STRING;
        p->text = arena_strndup(p->arena, from + 1, n);
    } else {
        p->token = TOKEN_MARK;
        p->text = arena_strndup(p->arena, p->s++, 1);
    }
}

bool parser_is(const Parser *p, const char *text)
{
    return p->token != TOKEN_END && p->token != TOKEN_NUMBER && strcmp(p->text, text) == 0;
}

bool parser_take(Parser *p, const char *text)
{
    if (!parser_is(p, text))
        return false;
    parser_next(p);
    return true;
}

void parser_expect(Parser *p, const char *text)
{
    if (!parser_take(p, text))
        parser_fail(p, "expected `%s`, found `%s`", text, p->token == TOKEN_NUMBER ? "a number" : p->text);
}

uint64_t parser_number(Parser *p)
{
    uint64_t n = p->number;
    if (p->token != TOKEN_NUMBER)
        parser_fail(p, "expected a number, found `%s`", p->text);
    parser_next(p);
    return n;
}

const char *parser_name(Parser *p)
{
    const char *name = p->text;
    if (p->token != TOKEN_NAME)
        parser_fail(p, "expected a name, found `%s`", p->text);
    parser_next(p);
    return name;
}
