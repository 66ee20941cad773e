// The functions that acts.def is written in, for double precision. The generated dialects have their own (see
// codegen/render.h); these serve the evaluator and constant folding.
#ifndef MIXC_ACT_MATH_H
#define MIXC_ACT_MATH_H

#include <math.h>

static inline double m_exp(double x)   { return exp(x); }
static inline double m_log(double x)   { return log(x); }
static inline double m_sqrt(double x)  { return sqrt(x); }
static inline double m_sin(double x)   { return sin(x); }
static inline double m_cos(double x)   { return cos(x); }
static inline double m_tanh(double x)  { return tanh(x); }
static inline double m_erf(double x)   { return erf(x); }
static inline double m_abs(double x)   { return fabs(x); }
static inline double m_floor(double x) { return floor(x); }

static inline double m_sign(double x)
{
    return x > 0 ? 1 : x < 0 ? -1 : x;              // zero and NaN stay
}

// The larger one; NaN if either is.
static inline double m_max(double a, double b)
{
    return a > b || isnan(a) ? a : b;
}

static inline double m_min(double a, double b)
{
    return a < b || isnan(a) ? a : b;
}

static inline double m_select(int c, double a, double b)
{
    return c ? a : b;
}

// d/dx x*s(x) = s + x*s*(1 - s) with s = 1/(1 + exp(-x))
static inline double m_silu_slope(double x)
{
    double s = 1.0 / (1.0 + exp(-x));
    return s * (1.0 + x * (1.0 - s));
}

// d/dx 0.5*x*(1 + t(u)) with u = a*(x + b*x^3), t = tanh: 0.5*(1 + t) + 0.5*x*(1 - t^2)*u'
static inline double m_gelu_tanh_slope(double x)
{
    double a = 0.79788456080286536, b = 0.044715, t = tanh(a * (x + b * x * x * x));
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * a * (1.0 + 3.0 * b * x * x);
}

#endif
