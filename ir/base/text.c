// See text.h.
#include "text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

Text text_make(Arena *arena)
{
    return (Text){.arena = arena};
}

void text_add_n(Text *text, const char *s, size_t n)
{
    if (text->n + n + 1 > text->capacity) {
        size_t wanted = text->capacity ? text->capacity : 256;
        while (wanted < text->n + n + 1)
            wanted *= 2;
        char *bigger = arena_alloc(text->arena, wanted, 1);
        if (text->n)
            memcpy(bigger, text->data, text->n);
        text->data = bigger;
        text->capacity = wanted;
    }
    if (n)
        memcpy(text->data + text->n, s, n);
    text->n += n;
    text->data[text->n] = 0;
}

void text_add(Text *text, const char *s)
{
    text_add_n(text, s, strlen(s));
}

void text_char(Text *text, char c)
{
    text_add_n(text, &c, 1);
}

void text_vprintf(Text *text, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    char small[256];
    int n = vsnprintf(small, sizeof small, format, args);
    if (n >= 0 && (size_t)n < sizeof small)
        text_add_n(text, small, (size_t)n);
    else if (n >= 0) {
        Arena scratch = {.out_of_memory = text->arena->out_of_memory, .user = text->arena->user};
        char *big = arena_alloc(&scratch, (size_t)n + 1, 1);    // fails loudly: a text never lacks a piece
        vsnprintf(big, (size_t)n + 1, format, again);
        text_add_n(text, big, (size_t)n);
        arena_free(&scratch);
    }
    va_end(again);
}

void text_printf(Text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_vprintf(text, format, args);
    va_end(args);
}

// Length of the UTF-8 sequence at s (1 to 4), or 0 when it is not well formed.
static size_t utf8_length(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    size_t n = s[0] >= 0xC2 && s[0] < 0xE0 ? 2 : s[0] >= 0xE0 && s[0] < 0xF0 ? 3
             : s[0] >= 0xF0 && s[0] < 0xF5 ? 4 : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
        (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
        return 0;
    return n;
}

void text_json(Text *text, const char *s)
{
    text_char(text, '"');
    for (const unsigned char *p = (const unsigned char *)s; *p; ) {
        size_t n = utf8_length(p);
        if (n == 0) {
            text_add(text, "\\ufffd");
            p++;
        } else if (*p == '"' || *p == '\\') {
            text_printf(text, "\\%c", *p++);
        } else if (*p < 0x20 || *p == 0x7F) {
            text_printf(text, "\\u%04x", *p++);
        } else {
            text_add_n(text, (const char *)p, n);
            p += n;
        }
    }
    text_char(text, '"');
}

void text_double(Text *text, double value)
{
    if (isnan(value)) {
        text_add(text, "nan");
    } else if (isinf(value)) {
        text_add(text, value < 0 ? "-inf" : "inf");
    } else {
        char buffer[40];
        for (int digits = 1; digits <= 17; digits++) {
            snprintf(buffer, sizeof buffer, "%.*g", digits, value);
            if (strtod(buffer, NULL) == value)
                break;
        }
        text_add(text, buffer);
    }
}

const char *text_str(const Text *text)
{
    return text->data ? text->data : "";
}
