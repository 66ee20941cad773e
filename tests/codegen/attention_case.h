// Attention as graph text, forward and backward.
#ifndef MIXC_TEST_ATTENTION_CASE_H
#define MIXC_TEST_ATTENTION_CASE_H

#include "arena.h"
#include "text.h"

#include <stdarg.h>

enum {
    CASE_CAUSAL = 1, CASE_DROPOUT = 2,      // on the probabilities
    CASE_BACKWARD = 4,                      // gradients of q, k and v
    CASE_KNOWN = 8,                         // backward: the row statistics are given
    CASE_BF16 = 16,                         // the products' operands are rounded to bf16
    CASE_STORED = 32,                       // bf16: the inputs are bf16
};

typedef struct CaseText {
    Text out;
    int  n, flags;
} CaseText;

// The next value: its name (or nothing) and what it is.
static inline int __attribute__((format(printf, 2, 3))) case_value(CaseText *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_printf(&c->out, "  %%%d", ++c->n);
    text_vprintf(&c->out, format, args);
    text_char(&c->out, '\n');
    va_end(args);
    return c->n;
}

// A value as the products read it.
static inline int case_operand(CaseText *c, int of)
{
    return c->flags & CASE_BF16 ? case_value(c, " = cast %%%d {to = bf16}", of) : of;
}

static inline int case_leaf(CaseText *c, const char *name, const char *axes)
{
    const bool stored = c->flags & CASE_STORED;
    const int leaf = case_value(c, ".%s = arg \"%s\" : %s[%s]", name, name, stored ? "bf16" : "f32", axes);
    return stored ? leaf : case_operand(c, leaf);
}

static inline int case_product(CaseText *c, const char *name, int a, int b, const char *over)
{
    const int y = case_value(c, "%s%s = contract %%%d, %%%d {over = [%s]}", c->flags & CASE_BF16 ? "" : ".", c->flags & CASE_BF16 ? "" : name, a, b, over);
    return c->flags & CASE_BF16 ? case_value(c, ".%s = cast %%%d {to = f32}", name, y) : y;
}

// Scores over B, H of T rows and as many columns, heads of `k`; softmax, dropout, the weighted sum, and with CASE_BACKWARD the
// gradients for a gradient w of the result.
static inline const char *attention(Arena *arena, int t, int k, int flags)
{
    CaseText c = {.out = text_make(arena), .flags = flags};
    text_printf(&c.out, "graph @main\naxis B = 2, T : time = %d, T' : time = %d twin T, H = 2, K = %d\n{\n", t, t, k);
    const int q = case_leaf(&c, "q", "B,T,H,K"), key = case_leaf(&c, "k", "B,T',H,K"), v = case_leaf(&c, "v", "B,T',H,K");
    const int s = case_product(&c, "s", q, key, "K"), scale = case_value(&c, " = const {value = %g} : f32[]", k > 8 ? k / 4.0 : 1.5);
    const int z = case_value(&c, ".z = div %%%d, %%%d", s, scale), column = case_value(&c, " = index {axis = T'}");
    const int row = case_value(&c, " = index {axis = T}"), seen = case_value(&c, ".seen = le %%%d, %%%d", column, row);
    const int low = case_value(&c, " = const {value = -1e30} : f32[]"), zero = case_value(&c, " = const {value = 0} : f32[]");
    const int x = case_value(&c, ".c = select %%%d, %%%d, %%%d", flags & CASE_CAUSAL ? seen : scale, z, low);
    const int m = flags & CASE_KNOWN ? case_value(&c, ".m = arg \"m\" : f32[B,T,H]") : case_value(&c, ".m = reduce %%%d {f = max, over = [T']}", x);
    const int below = case_value(&c, " = sub %%%d, %%%d", x, m), e = case_value(&c, ".e = map %%%d {f = exp}", below);
    const int l = flags & CASE_KNOWN ? case_value(&c, ".l = arg \"positive_l\" : f32[B,T,H]")
                                     : case_value(&c, ".l = reduce %%%d {f = sum, over = [T']}", e);
    const int p = case_value(&c, ".p = div %%%d, %%%d", e, l);
    const int seed = case_value(&c, ".seed = arg \"seed\" : int[]"), step = case_value(&c, ".step = arg \"step\" : int[]");
    const int chance = case_value(&c, ".r = random %%%d, %%%d {stream = 3} : f32[B,T,H,T']", seed, step);
    const int quarter = case_value(&c, " = const {value = 0.25} : f32[]"), kept = case_value(&c, " = lt %%%d, %%%d", quarter, chance);
    const int mask = flags & CASE_DROPOUT ? kept : scale;
    const int d = case_operand(&c, case_value(&c, ".d = select %%%d, %%%d, %%%d", mask, p, zero));
    Text results = text_make(arena);
    if (!(flags & CASE_KNOWN)) {
        const int o = case_product(&c, "o", d, v, "T'"), square = case_value(&c, " = mul %%%d, %%%d", o, o);
        const int loss = case_value(&c, " = reduce %%%d {f = sum, over = [B,T,H,K]}", square);
        text_printf(&results, "  loss \"train\" = %%%d\n  result \"o\" = %%%d\n", loss, o);
    }
    if (flags & CASE_BACKWARD) {
        const int w = case_leaf(&c, "w", "B,T,H,K"), dv = case_product(&c, "dv", d, w, "T"), dd = case_product(&c, "dd", w, v, "K");
        const int dp = case_value(&c, ".dp = select %%%d, %%%d, %%%d", mask, dd, zero), both = case_value(&c, " = mul %%%d, %%%d", dp, p);
        const int n = flags & CASE_KNOWN ? case_value(&c, ".n = arg \"n\" : f32[B,T,H]") : case_value(&c, ".n = reduce %%%d {f = sum, over = [T']}", both);
        const int off = case_value(&c, " = sub %%%d, %%%d", dp, n), dz = case_value(&c, ".dz = mul %%%d, %%%d", off, p);
        const int cut = case_value(&c, ".ds = select %%%d, %%%d, %%%d", flags & CASE_CAUSAL ? seen : scale, dz, zero);
        const int ds = case_operand(&c, case_value(&c, " = div %%%d, %%%d", cut, scale));
        const int dq = case_product(&c, "dq", ds, key, "T'"), dk = case_product(&c, "dk", q, ds, "T");
        text_printf(&results, "  grad \"input.q\" = %%%d\n  grad \"input.k\" = %%%d\n  grad \"input.v\" = %%%d\n", dq, dk, dv);
    }
    text_printf(&c.out, "%s}\n", text_str(&results));
    return text_str(&c.out);
}

#endif
