// See habits.h.
#include "habits.h"

#include "grammar.h"

#include <string.h>

static const struct { const char *word, *advice; } word_habit[] = {
    {"class", "a layer is `layer NAME(x: [B,D]) -> [B,D] { .. }`"},
    {"def", "a layer is `layer NAME(x: [B,D]) -> [B,D] { .. }`"},
    {"fn", "a layer is `layer NAME(x: [B,D]) -> [B,D] { .. }`"},
    {"func", "a layer is `layer NAME(x: [B,D]) -> [B,D] { .. }`"},
    {"function", "a layer is `layer NAME(x: [B,D]) -> [B,D] { .. }`"},
    {"module", "a layer is `layer NAME(x: [B,D]) -> [B,D] { .. }`"},
    {"import", "a library is brought by `use std.norm`"},
    {"from", "a library is brought by `use std.norm`"},
    {"include", "a library is brought by `use std.norm`"},
    {"dim", "an axis is declared by `axis D = 64`"},
    {"if", "`only CONDITION { .. }` chooses when the model is compiled, `select(c, a, b)` element by element"},
    {"elif", "`only .. { } else { .. }`, with another `only` inside"},
    {"for", "`repeat l in 12 { .. }` repeats; what works on a whole axis needs no loop"},
    {"while", "`repeat l in 12 { .. }` repeats a fixed number of times"},
    {"let", "a value is named by `y = ..`"},
    {"var", "a value is named by `y = ..`"},
    {"val", "a value is named by `y = ..`"},
    {"auto", "a value is named by `y = ..`"},
    {"float", "a value is named by `y = ..`; what is trained is a `param`"},
    {"double", "a value is named by `y = ..`; what is trained is a `param`"},
    {"weight", "what is trained is declared by `param W[D,F]`"},
    {"parameter", "what is trained is declared by `param W[D,F]`"},
    {"return", "`yield ..` gives the result; results with names are assigned: `y = ..`"},
    {"output", "`yield ..` gives the result; results with names are assigned: `y = ..`"},
    {"print", "`watch NAME = ..` logs a number"},
    {"assert", "shapes are checked when the model is compiled; `watch NAME = ..` logs a number"},
    {"lambda", "a function of values is a layer: `layer NAME(x: [..]) -> [..] { yield .. }`"},
};

const char *habit_of_word(const char *text, size_t n)
{
    for (size_t i = 0; i < sizeof word_habit / sizeof *word_habit; i++)
        if (strlen(word_habit[i].word) == n && !strncmp(word_habit[i].word, text, n))
            return word_habit[i].advice;
    return NULL;
}

enum { ANY_TOKEN = -2 };

static const struct { int before, token; const char *advice; } token_habit[] = {
    {REPEAT, NUM, "the iteration has a name: `repeat l in 12 { .. }`"},
    {ANY_TOKEN, DOTDOT, "a repeat counts from 0: `repeat l in 12 { .. }`; a slice is `x[T = 0..4 -> P]`"},
    {ARROW, '[', "the results of a model have names: `-> y: [B,D]`"},
    {'*', '*', "a power is `a^b`"},
    {'/', '/', "a comment begins with `#`; `floor(a/b)` rounds down"},
    {')', ':', "what comes out stands behind an arrow: `-> [B,D]`"},
    {')', '{', "say what comes out: `-> [B,D]`, or `-> y: [B,D]` for a model"},
    {':', '[', "axes stand directly behind the name: `param W[D,F]`"},
    {DOT, ']', "write the axes that are summed: `a @[D] b`"},
    {NUM, ':', "a slice is `x[T = 1..3 -> P]`, and its result has a name and a size of its own"},
    {'[', ':', "a slice is `x[T = 1..3 -> P]`, and its result has a name and a size of its own"},
    {'+', '=', "write `x = x + ..`"},
    {'-', '=', "write `x = x - ..`"},
    {'*', '=', "write `x = x * ..`"},
    {'/', '=', "write `x = x / ..`"},
};

const char *habit_of_tokens(const Parse *p, int before, int token, Span at)
{
    if (token == ID) {
        const char *advice = habit_of_word(p->text + at.begin, at.end - at.begin);
        if (advice)
            return advice;
    }
    for (size_t i = 0; i < sizeof token_habit / sizeof *token_habit; i++)
        if (token_habit[i].token == token && (token_habit[i].before == before || token_habit[i].before == ANY_TOKEN))
            return token_habit[i].advice;
    return NULL;
}
