// See habits.h.
#include "habits.h"

#include "parse.h"
// The tokens of the grammar; it needs parse.h.
#include "grammar.h"

#include <ctype.h>
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

// Names in small letters, without `_`; see habit_of_call.
static const struct { const char *name, *advice; } call_habit[] = {
    {"layernorm", "`use std.norm` brings `LN`"},
    {"batchnorm", "`use std.norm` brings `BN`"},
    {"batchnorm2d", "`use std.norm` brings `BN`"},
    {"multiheadattention", "`use std.attention` brings `Attention`"},
    {"linear", "declare `param W[D,F], b[F] = zeros` and write `x @[D] W + b`"},
    {"dense", "declare `param W[D,F], b[F] = zeros` and write `x @[D] W + b`"},
    {"embedding", "declare `param W[V,D]` and look up: `W[V = tokens]`"},
    {"conv1d", "add an axis of offsets and sum over it: `x.window(T -> T*J, pad=same) @[J,D] W`"},
    {"conv2d", "add axes of offsets and sum over them: `x.window(Y -> Y*J, pad=same).window(X -> X*I, pad=same) @[J,I,C] W`"},
    {"matmul", "`a @[D] b` multiplies and sums over D"},
    {"bmm", "`a @[D] b` multiplies and sums over D; axes that both hold are matched"},
    {"mm", "`a @[D] b` multiplies and sums over D"},
    {"dot", "`a @[D] b` multiplies and sums over D"},
    {"einsum", "`a @[D] b` multiplies and sums over D; axes that both hold are matched"},
    {"tensordot", "`a @[D] b` multiplies and sums over D"},
    {"transpose", "axes have names, so their order never matters; another name is given by `x.rename(D -> D')`"},
    {"permute", "axes have names, so their order never matters; another name is given by `x.rename(D -> D')`"},
    {"swapaxes", "axes have names, so their order never matters; another name is given by `x.rename(D -> D')`"},
    {"reshape", "`x.split(D -> H*K)` and `x.merge(H*K -> D)`"},
    {"view", "`x.split(D -> H*K)` and `x.merge(H*K -> D)`"},
    {"flatten", "`x.merge(H*K -> D)`"},
    {"rearrange", "`x.split(D -> H*K)` and `x.merge(H*K -> D)`; order never matters"},
    {"unsqueeze", "values meet by the names of their axes; nothing needs a dimension of size 1"},
    {"squeeze", "`x[A = 0]` drops an axis of size 1"},
    {"expand", "values meet by the names of their axes: the smaller one is repeated"},
    {"broadcastto", "values meet by the names of their axes: the smaller one is repeated"},
    {"cat", "`concat(a, b, over=Z)`"},
    {"concatenate", "`concat(a, b, over=Z)`"},
    {"stack", "`concat(a, b, over=Z)`, with an axis Z = 2 that neither holds"},
    {"where", "`select(c, a, b)` is a where c is not 0, else b"},
    {"maskedfill", "`mask(s, keep=c)` before a softmax, else `select(c, a, b)`"},
    {"tril", "`mask(s, keep=index(T') <= index(T))`"},
    {"triu", "`mask(s, keep=index(T') >= index(T))`"},
    {"arange", "`index(T)` is 0, 1, 2, .. along T"},
    {"range", "`index(T)` is 0, 1, 2, .. along T"},
    {"zeros", "`full(0, over=B*T)`; `zeros` is what a parameter starts with"},
    {"ones", "`full(1, over=B*T)`; `ones` is what a parameter starts with"},
    {"zeroslike", "a plain 0 goes with every value"},
    {"oneslike", "a plain 1 goes with every value"},
    {"pow", "a power is `a^b`"},
    {"square", "`x*x`"},
    {"var", "`mean((x - m)*(x - m), over=D)` with `m = mean(x, over=D)`"},
    {"std", "`sqrt(mean((x - m)*(x - m), over=D))` with `m = mean(x, over=D)`"},
    {"gather", "`x[T = places]` picks the entries at `places`"},
    {"take", "`x[T = places]` picks the entries at `places`"},
    {"topk", "`route x by SCORES to E experts top k each t { .. }` sends each token to its k best"},
    {"argmax", "`accuracy(logits, targets, over=V)` compares the largest entry"},
    {"softmaxcrossentropy", "`cross_entropy(logits, targets, over=V)`"},
    {"nllloss", "`cross_entropy(logits, targets, over=V)`"},
    {"swish", "`silu(x)`"},
    {"cast", "`f32(x)` makes numbers of an int"},
    {"float", "`f32(x)` makes numbers of an int"},
    {"detach", "`stop(x)` is x without a gradient"},
    {"stopgradient", "`stop(x)` is x without a gradient"},
    {"checkpoint", "`Layer(x) recompute` keeps nothing of the layer for the backward pass"},
    {"print", "`watch NAME = ..` logs a number"},
};

const char *habit_of_call(const char *name)
{
    char plain[32];
    size_t n = 0;
    for (; *name && n + 1 < sizeof plain; name++)
        if (*name != '_')
            plain[n++] = (char)tolower((unsigned char)*name);
    plain[n] = 0;
    for (size_t i = 0; !*name && i < sizeof call_habit / sizeof *call_habit; i++)
        if (!strcmp(call_habit[i].name, plain))
            return call_habit[i].advice;
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
    {EACH, '{', "say what one token is called: `each t { .. }`"},
    {TO, EXPERTS, "say along which axis the experts lie: `to E experts`"},
    {TOP, '=', "clauses have no `=`: `top 2`"},
    {CAPACITY, '=', "clauses have no `=`: `capacity 1.25 over B*T`"},
    {GATE, '=', "clauses have no `=`: `gate softmax`"},
    {BALANCE, '=', "clauses have no `=`: `balance switch(0.01) over B*T`"},
    {NOISE, '=', "clauses have no `=`: `noise gaussian(0.1)`"},
    {PRIORITY, '=', "clauses have no `=`: `priority token`"},
    {OVERFLOW, '=', "clauses have no `=`: `overflow skip`"},
    {ASSIGN, '=', "clauses have no `=`: `assign greedy`"},
    {SAMPLE, '=', "clauses have no `=`: `sample 1`"},
};

const char *habit_of_tokens(int before, int token, const char *text, size_t n)
{
    const char *advice = token == ID ? habit_of_word(text, n) : NULL;
    if (advice)
        return advice;
    for (size_t i = 0; i < sizeof token_habit / sizeof *token_habit; i++)
        if (token_habit[i].token == token && (token_habit[i].before == before || token_habit[i].before == ANY_TOKEN))
            return token_habit[i].advice;
    return NULL;
}
