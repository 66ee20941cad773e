// Evaluation element by element. Each rule walks over the result and follows its operands by axis names.
#include "act_math.h"
#include "eval_walk.h"

#include <string.h>

double act_value(Act f, double x)
{
    switch (f) {
#define ACT(id, text, value, uses, derivative) case ACT_##id: return value;
#include "acts.def"
#undef ACT
    case ACT_COUNT: break;
    }
    return NAN;
}

static double act_slope_x(Act f, double x)
{
    switch (f) {
#define X(...) __VA_ARGS__
#define Y(...) NAN
#define ACT(id, text, value, uses, derivative) case ACT_##id: return uses(derivative);
#include "acts.def"
#undef ACT
#undef X
#undef Y
    case ACT_COUNT: break;
    }
    return NAN;
}

static double act_slope_y(Act f, double y)
{
    switch (f) {
#define X(...) NAN
#define Y(...) __VA_ARGS__
#define ACT(id, text, value, uses, derivative) case ACT_##id: return uses(derivative);
#include "acts.def"
#undef ACT
#undef X
#undef Y
    case ACT_COUNT: break;
    }
    return NAN;
}

double act_slope(Act f, double x_or_y)
{
    return act_slope_uses_value[f] ? act_slope_y(f, x_or_y) : act_slope_x(f, x_or_y);
}

double bf16_round(double x)
{
    float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (isfinite(f))
        bits += 0x7FFF + (bits >> 16 & 1);
    bits &= 0xFFFF0000u;
    memcpy(&f, &bits, sizeof f);
    return isnan(x) ? x : (double)f;
}

static Walk follow_operands(const Eval *e, const Node *n)
{
    Walk w = walk_over(e->g, &n->type);
    for (size_t i = 0; i < n->n_in; i++)
        walk_follow(&w, i, e->g, &e->g->node[n->in[i]].type);
    walk_flatten(&w);
    return w;
}

// Defines eval_NAME: out = expression in a (and b).
#define BINARY(name, expression)                                                  \
    Status eval_##name(Eval *e, const Node *n, double *out, size_t n_out)         \
    {                                                                             \
        Walk w = follow_operands(e, n);                                           \
        const double *x = e->value[n->in[0]], *y = e->value[n->in[1]];            \
        for (size_t i = 0; i < n_out; i++, walk_next(&w)) {                       \
            double a = x[w.at[0]], b = y[w.at[1]];                                \
            out[i] = (expression);                                                \
        }                                                                         \
        return STATUS_OK;                                                         \
    }

BINARY(add, a + b)
BINARY(sub, a - b)
BINARY(mul, a * b)
BINARY(div, a / b)
BINARY(pow, pow(a, b))
BINARY(mod, a - b * floor(a / b))
BINARY(max, m_max(a, b))
BINARY(min, m_min(a, b))
BINARY(atan2, atan2(a, b))
BINARY(lt, a < b)
BINARY(le, a <= b)
BINARY(eq, a == b)
BINARY(ne, a != b)

Status eval_select(Eval *e, const Node *n, double *out, size_t n_out)
{
    Walk w = follow_operands(e, n);
    const double *c = e->value[n->in[0]], *x = e->value[n->in[1]], *y = e->value[n->in[2]];
    for (size_t i = 0; i < n_out; i++, walk_next(&w))
        out[i] = c[w.at[0]] != 0 ? x[w.at[1]] : y[w.at[2]];
    return STATUS_OK;
}

// One operand: the layouts may still differ, so the walk stays.
#define UNARY(name, expression)                                                   \
    Status eval_##name(Eval *e, const Node *n, double *out, size_t n_out)         \
    {                                                                             \
        Walk w = follow_operands(e, n);                                           \
        const double *x = e->value[n->in[0]];                                     \
        for (size_t i = 0; i < n_out; i++, walk_next(&w)) {                       \
            double a = x[w.at[0]];                                                \
            out[i] = (expression);                                                \
        }                                                                         \
        return STATUS_OK;                                                         \
    }

UNARY(neg, -a)
UNARY(stop, a)
UNARY(map, act_value(n->attr[0].act, a))
UNARY(slope, act_slope(n->attr[0].act, a))
UNARY(cast, n->attr[0].dtype == DTYPE_I32 ? trunc(a) : n->attr[0].dtype == DTYPE_BF16 ? bf16_round(a) : a)
