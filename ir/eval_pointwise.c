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

// The rows of both families: X(rule, op, expression in a (and b)). Each expression stands here once, for whole values and
// for blocks.
#define BINARY_ROWS(X)              \
    X(add, ADD, a + b)              \
    X(sub, SUB, a - b)              \
    X(mul, MUL, a * b)              \
    X(div, DIV, a / b)              \
    X(pow, POW, pow(a, b))          \
    X(mod, MOD, a - b * floor(a / b)) \
    X(max, MAX, m_max(a, b))        \
    X(min, MIN, m_min(a, b))        \
    X(atan2, ATAN2, atan2(a, b))    \
    X(lt, LT, a < b)                \
    X(le, LE, a <= b)               \
    X(eq, EQ, a == b)               \
    X(ne, NE, a != b)

#define UNARY_ROWS(X)                                     \
    X(neg, NEG, -a)                                       \
    X(stop, STOP, a)                                      \
    X(map, MAP, act_value(n->attr[0].act, a))             \
    X(slope, SLOPE, act_slope(n->attr[0].act, a))         \
    X(cast, CAST, cast_value(n->attr[0].dtype, a))

static double cast_value(DType to, double a)
{
    return to == DTYPE_I32 ? trunc(a) : to == DTYPE_BF16 ? bf16_round(a) : a;
}

#define BINARY(name, op, expression)                                              \
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
BINARY_ROWS(BINARY)

Status eval_select(Eval *e, const Node *n, double *out, size_t n_out)
{
    Walk w = follow_operands(e, n);
    const double *c = e->value[n->in[0]], *x = e->value[n->in[1]], *y = e->value[n->in[2]];
    for (size_t i = 0; i < n_out; i++, walk_next(&w))
        out[i] = c[w.at[0]] != 0 ? x[w.at[1]] : y[w.at[2]];
    return STATUS_OK;
}

// One operand: the layouts may still differ, so the walk stays.
#define UNARY(name, op, expression)                                               \
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
UNARY_ROWS(UNARY)

#define BLOCK_BINARY(name, op, expression)      \
    case OP_##op:                               \
        for (size_t i = 0; i < count; i++) {    \
            double a = in[0][i], b = in[1][i];  \
            out[i] = (expression);              \
        }                                       \
        return true;

#define BLOCK_UNARY(name, op, expression)       \
    case OP_##op:                               \
        for (size_t i = 0; i < count; i++) {    \
            double a = in[0][i];                \
            out[i] = (expression);              \
        }                                       \
        return true;

bool eval_block(const Node *n, size_t count, const double *const *in, double *out)
{
    switch (n->op) {
    BINARY_ROWS(BLOCK_BINARY)
    UNARY_ROWS(BLOCK_UNARY)
    case OP_SELECT:
        for (size_t i = 0; i < count; i++)
            out[i] = in[0][i] != 0 ? in[1][i] : in[2][i];
        return true;
    default:
        return false;
    }
}
