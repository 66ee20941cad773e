// See prelude.h.
#include "prelude.h"
#include "sources.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

const char *const helper_name[HELPER_COUNT] = {
#define HELPER(id, name, signature, body) [HELPER_##id] = name,
#include "helpers.def"
#undef HELPER
};

static const struct { const char *signature, *body; } helper[HELPER_COUNT] = {
#define HELPER(id, name, signature, body) [HELPER_##id] = {signature, body},
#include "helpers.def"
#undef HELPER
};

// CUDA: one number from each thread of the block, combined in a fixed order; every thread gets the result. The number of
// threads is a power of two. The lanes of a warp exchange theirs; a number for each warp goes through shared memory.
#define BLOCK(name, combined)                                                                            \
    "static __device__ __forceinline__ float " name "_s(float x, float *shared)\n{\n"                   \
    "    for (unsigned n = blockDim.x < 32 ? blockDim.x/2 : 16; n; n /= 2) {\n"                          \
    "        const float a = x, b = __shfl_xor_sync(0xffffffffu, x, n);\n        x = " combined ";\n    }\n" \
    "    if (blockDim.x > 32) {\n        if (threadIdx.x % 32 == 0)\n            shared[threadIdx.x / 32] = x;\n" \
    "        __syncthreads();\n        x = shared[0];\n"                                                 \
    "        for (unsigned n = 1; n < blockDim.x / 32; n++) {\n            const float a = x, b = shared[n];\n" \
    "            x = " combined ";\n        }\n        __syncthreads();\n    }\n    return x;\n}\n"

static const char device_function[] = "__device__\n";      // before the scalar text, which is C in both dialects

// What helpers are made of, by dialect. A missing form is NULL. The text of a vector form may use its argument once
// only, or name it first.
static const struct { const char *name, *vector, *scalar, *cuda; } builtin[] = {
    {"set", "#define set_v(c) ((c) - (vf){0})\n", "#define set_s(c) (c)\n", "#define set_s(c) (c)\n"},
    {"sel",
     "#define sel_v(m, a, b) ({ const vi m_ = (m); const vf a_ = (a); const vf b_ = (b); \\\n"
     "    (vf)((m_ & (vi)a_) | (~m_ & (vi)b_)); })\n",
     "#define sel_s(m, a, b) ((m) ? (a) : (b))\n", "#define sel_s(m, a, b) ((m) ? (a) : (b))\n"},
    {"seli", "#define seli_v(m, a, b) ({ const vi m_ = (m); const vi a_ = (a); const vi b_ = (b); (m_ & a_) | (~m_ & b_); })\n",
     "#define seli_s(m, a, b) ((m) ? (a) : (b))\n", "#define seli_s(m, a, b) ((m) ? (a) : (b))\n"},
    {"bits", "#define bits_v(x) ((vi)(x))\n",
     "static inline int bits_s(float x) { int i; __builtin_memcpy(&i, &x, sizeof i); return i; }\n",
     "#define bits_s(x) __float_as_int(x)\n"},
    {"float", "#define float_v(i) ((vf)(i))\n",
     "static inline float float_s(int i) { float x; __builtin_memcpy(&x, &i, sizeof x); return x; }\n",
     "#define float_s(i) __int_as_float(i)\n"},
    {"ubits", "#define ubits_v(x) ((vu)(x))\n", "#define ubits_s(x) ((unsigned)bits_s(x))\n",
     "#define ubits_s(x) __float_as_uint(x)\n"},
    {"ufloat", "#define ufloat_v(i) ((vf)(i))\n", "#define ufloat_s(i) float_s((int)(i))\n",
     "#define ufloat_s(i) __uint_as_float(i)\n"},
    {"signed", "#define signed_v(i) ((vi)(i))\n", "#define signed_s(i) ((int)(i))\n", "#define signed_s(i) ((int)(i))\n"},
    {"toint", "#define toint_v(x) __builtin_convertvector((x), vi)\n", "#define toint_s(x) ((int)(x))\n",
     "#define toint_s(x) ((int)(x))\n"},
    {"tofloat", "#define tofloat_v(i) __builtin_convertvector((i), vf)\n", "#define tofloat_s(i) ((float)(i))\n",
     "#define tofloat_s(i) ((float)(i))\n"},
    {"dbl", "#define dbl_v(x) __builtin_convertvector((x), vd)\n", "#define dbl_s(x) ((double)(x))\n",
     "#define dbl_s(x) ((double)(x))\n"},
    {"flt", "#define flt_v(x) __builtin_convertvector((x), vf)\n", "#define flt_s(x) ((float)(x))\n",
     "#define flt_s(x) ((float)(x))\n"},
    {"lbits", "#define lbits_v(x) ((vl)(x))\n",
     "static inline long long lbits_s(double x) { long long i; __builtin_memcpy(&i, &x, sizeof i); return i; }\n",
     "#define lbits_s(x) __double_as_longlong(x)\n"},
    {"dfloat", "#define dfloat_v(i) ((vd)(i))\n",
     "static inline double dfloat_s(long long i) { double x; __builtin_memcpy(&x, &i, sizeof x); return x; }\n",
     "#define dfloat_s(i) __longlong_as_double(i)\n"},
    {"ldbl", "#define ldbl_v(i) __builtin_convertvector((i), vd)\n", "#define ldbl_s(i) ((double)(i))\n",
     "#define ldbl_s(i) ((double)(i))\n"},
    {"narrow", "#define narrow_v(i) __builtin_convertvector((i), vi)\n", "#define narrow_s(i) ((int)(i))\n",
     "#define narrow_s(i) ((int)(i))\n"},
    // Used by kernels directly: a mask as 0 or 1, bf16 numbers, sums over the lanes in a fixed order.
    {"one", "#define one_v(m) ((vf)((m) & 0x3f800000))\n", "#define one_s(m) ((m) ? 1.0f : 0.0f)\n",
     "#define one_s(m) ((m) ? 1.0f : 0.0f)\n"},
    {"iota", "#define iota_v(i) ((int)(i) + (vi)IOTA)\n", NULL, NULL},
    {"load", "#define load_v(p) (*(const vf *)(p))\n", NULL, NULL},
    {"loadi", "#define loadi_v(p) (*(const vi *)(p))\n", NULL, NULL},
    {"loadh", "#define loadh_v(p) ((vf)(__builtin_convertvector(*(const vh *)(p), vu) << 16))\n",
     "#define loadh_s(p) float_s((int)((unsigned)*(p) << 16))\n", "#define loadh_s(p) __uint_as_float((unsigned)*(p) << 16)\n"},
    {"half", "#define half_v(x) __builtin_convertvector(ubits_v(bf16_v(x)) >> 16, vh)\n",
     "#define half_s(x) ((unsigned short)(ubits_s(bf16_s(x)) >> 16))\n",
     "#define half_s(x) ((unsigned short)(ubits_s(bf16_s(x)) >> 16))\n"},
    // A vector past the caches to an aligned place; fence_s() once behind them all.
    {"stream",
     "static inline __attribute__((always_inline)) void stream_v_(float *p, const vf *x)\n{\n"
     "#if defined(__AVX512F__) && !defined(__clang__)\n"
     "    typedef float wide_v0 __attribute__((vector_size(64), may_alias));\n"
     "    if (LANES == 16) {\n        __builtin_ia32_movntps512(p, *(const wide_v0 *)x);\n        return;\n    }\n"
     "#endif\n    *(vf *)p = *x;\n}\n#define stream_v(p, x) ({ const vf x_ = (x); stream_v_((p), &x_); })\n", NULL, NULL},
    {"fence", NULL,
     "#if defined(__SSE__)\n#define fence_s() __builtin_ia32_sfence()\n#else\n#define fence_s() ((void)0)\n#endif\n", NULL},
    {"sum",
     "static inline __attribute__((always_inline)) float sum_v_(const vf *x)\n{\n    vf a = *x;\n"
     "#define STEP(n) a += TURN_##n(a);\n    FOLD(STEP)\n#undef STEP\n"
     "    return a[0];\n}\n#define sum_v(x) ({ const vf x_ = (x); sum_v_(&x_); })\n", NULL, NULL},
    {"most",
     "static inline __attribute__((always_inline)) float most_v_(const vf *x)\n{\n    vf a = *x;\n"
     "#define STEP(n) a = max_v(a, TURN_##n(a));\n    FOLD(STEP)\n#undef STEP\n"
     "    return a[0];\n}\n#define most_v(x) ({ const vf x_ = (x); most_v_(&x_); })\n", NULL, NULL},
    {"least",
     "static inline __attribute__((always_inline)) float least_v_(const vf *x)\n{\n    vf a = *x;\n"
     "#define STEP(n) a = min_v(a, TURN_##n(a));\n    FOLD(STEP)\n#undef STEP\n"
     "    return a[0];\n}\n#define least_v(x) ({ const vf x_ = (x); least_v_(&x_); })\n", NULL, NULL},
#define CUDA_PART(name, text) {name, NULL, NULL, text},
#include "cuda_parts.def"
    {"block_sum", NULL, NULL, BLOCK("block_sum", "a + b")},
    {"block_max", NULL, NULL, BLOCK("block_max", "max_s(a, b)")},
    {"block_min", NULL, NULL, BLOCK("block_min", "min_s(a, b)")},
    {"sumi",
     "static inline __attribute__((always_inline)) int sumi_v_(const vi *x)\n{\n    vi a = *x;\n"
     "#define STEP(n) a += TURN_##n(a);\n    FOLD(STEP)\n#undef STEP\n"
     "    return a[0];\n}\n#define sumi_v(x) ({ const vi x_ = (x); sumi_v_(&x_); })\n", NULL, NULL},
    {"auction", NULL, auction_text, device_function},
    {"order", NULL, order_text, device_function},
    {"topk_step", topk_text, NULL, NULL},
    {"fft", fft_text, NULL, NULL},
};
enum { N_BUILTINS = sizeof builtin / sizeof *builtin };
static_assert(N_BUILTINS <= sizeof ((PreludeUse *)0)->builtin[0], "PreludeUse.builtin has a place for each");

static bool same(const char *name, const char *s, size_t n)
{
    return strlen(name) == n && !memcmp(name, s, n);
}

static void scan(const char *text, bool form, PreludeUse *use);

static void note(const char *name, size_t n, bool is_vector, PreludeUse *use)
{
    for (size_t h = 0; h < HELPER_COUNT; h++)
        if (same(helper_name[h], name, n) && !use->helper[is_vector][h]) {
            use->helper[is_vector][h] = true;
            use->doubles |= is_vector && strstr(helper[h].body, "dbl$");
            scan(helper[h].body, is_vector, use);
        }
    for (size_t b = 0; b < N_BUILTINS; b++)
        if (same(builtin[b].name, name, n) && !use->builtin[is_vector][b]) {
            const char *text = is_vector ? builtin[b].vector : builtin[b].scalar;
            use->builtin[is_vector][b] = true;
            text = !is_vector && !text ? builtin[b].cuda : text;
            if (text)
                scan(text, is_vector, use);
        }
}

// Notes every NAME_v( and NAME_s(, and every NAME$( in the form at hand.
static void scan(const char *text, bool form, PreludeUse *use)
{
    for (const char *s = text; *s;) {
        const char *start = s;
        while (isalnum((unsigned char)*s) || *s == '_')
            s++;
        size_t n = (size_t)(s - start);
        if (n && s[0] == '$')
            note(start, n, form, use);
        else if (n > 2 && s[0] == '(' && start[n - 2] == '_' && (start[n - 1] == 'v' || start[n - 1] == 's'))
            note(start, n - 2, start[n - 1] == 'v', use);
        if (!n)
            s++;
    }
}

void prelude_scan(const char *text, PreludeUse *use)
{
    scan(text, false, use);
}

static const char *type_name(char letter, bool is_vector)
{
    switch (letter) {
    case 'V': return is_vector ? "vf" : "float";
    case 'I': return is_vector ? "vi" : "int";
    case 'U': return is_vector ? "vu" : "unsigned";
    case 'D': return is_vector ? "vd" : "double";
    case 'L': return is_vector ? "vl" : "long long";
    }
    return NULL;
}

// The template's body, indented: single capital letters are types, $ is the form.
static void print_body(const char *body, bool is_vector, Text *out)
{
    text_add(out, "    ");
    for (const char *s = body; *s;) {
        const char *start = s;
        while (isalnum((unsigned char)*s) || *s == '_')
            s++;
        size_t n = (size_t)(s - start);
        const char *type = n == 1 ? type_name(*start, is_vector) : NULL;
        if (type)
            text_add(out, type);
        else
            text_add_n(out, start, n);
        if (n && *s == '$') {
            text_add(out, is_vector ? "_v" : "_s");
            s++;
        } else if (!n) {
            text_char(out, *s);
            if (*s++ == '\n' && *s)
                text_add(out, "    ");
        }
    }
}

static void print_scalar(Helper h, bool is_cuda, Text *out)
{
    const char *signature = helper[h].signature;
    text_printf(out, "static %s %s %s_s(", is_cuda ? "__device__ __forceinline__" : "inline", type_name(signature[0], false),
                helper_name[h]);
    for (size_t i = 1; signature[i]; i++)
        text_printf(out, "%s%s %c", i > 1 ? ", " : "", type_name(signature[i], false), "xyz"[i - 1]);
    text_add(out, ")\n{\n");
    print_body(helper[h].body, false, out);
    text_add(out, "    return r;\n}\n\n");
}

static void print_vector(Helper h, Text *out)
{
    const char *signature = helper[h].signature, *result = type_name(signature[0], true);
    text_printf(out, "static inline __attribute__((always_inline)) void %s_v_(%s *r_", helper_name[h], result);
    for (size_t i = 1; signature[i]; i++)
        text_printf(out, ", const %s *%c_", type_name(signature[i], true), "xyz"[i - 1]);
    text_add(out, ")\n{\n");
    for (size_t i = 1; signature[i]; i++)
        text_printf(out, "    const %s %c = *%c_;\n", type_name(signature[i], true), "xyz"[i - 1], "xyz"[i - 1]);
    print_body(helper[h].body, true, out);
    text_printf(out, "    *r_ = r;\n}\n#define %s_v(", helper_name[h]);
    for (size_t i = 1; signature[i]; i++)
        text_printf(out, "%s%c", i > 1 ? ", " : "", "xyz"[i - 1]);
    text_add(out, ") ({ ");
    for (size_t i = 1; signature[i]; i++)
        text_printf(out, "const %s %c_ = (%c); ", type_name(signature[i], true), "xyz"[i - 1], "xyz"[i - 1]);
    text_printf(out, "%s r_; %s_v_(&r_", result, helper_name[h]);
    for (size_t i = 1; signature[i]; i++)
        text_printf(out, ", &%c_", "xyz"[i - 1]);
    text_add(out, "); r_; })\n\n");
}

// The ones that helpers are made of stand before them, the others behind.
static void print_builtins(const PreludeUse *use, bool late, int lanes, Text *out)
{
    size_t n = out->n;
    bool behind = false;
    for (size_t b = 0; b < N_BUILTINS; b++) {
        behind |= !strcmp(builtin[b].name, "sum");
        if (behind != late)
            continue;
        if (use->builtin[0][b] && !lanes && builtin[b].cuda)
            text_printf(out, "%s%s", builtin[b].cuda, builtin[b].cuda == device_function ? builtin[b].scalar : "");
        if (use->builtin[0][b] && lanes && builtin[b].scalar)
            text_add(out, builtin[b].scalar);
        if (use->builtin[1][b] && lanes && builtin[b].vector)
            text_add(out, builtin[b].vector);
    }
    if (out->n > n)
        text_char(out, '\n');
}

// TURN_n(a): the lanes of a, n further on. FOLD(STEP): STEP(n) for half the lanes, a quarter, .., one; what a sum or a
// maximum over the lanes is made of, without a way through memory.
static void print_folds(const PreludeUse *use, int lanes, Text *out)
{
    bool used = false, behind = false;
    for (size_t b = 0; b < N_BUILTINS; b++) {
        behind |= !strcmp(builtin[b].name, "sum");
        used |= behind && use->builtin[1][b];
    }
    if (!used)
        return;
    for (int n = lanes / 2; n > 0; n /= 2) {
        text_printf(out, "#define TURN_%d(a) __builtin_shufflevector(a, a", n);
        for (int i = 0; i < lanes; i++)
            text_printf(out, ", %d", (i + n) % lanes);
        text_add(out, ")\n");
    }
    text_add(out, "#define FOLD(DO)");
    for (int n = lanes / 2; n > 0; n /= 2)
        text_printf(out, " DO(%d)", n);
    text_add(out, "\n\n");
}

void prelude_print(const PreludeUse *use, int lanes, Text *out)
{
    if (lanes) {
        text_printf(out, "enum { LANES = %d };\n", lanes);
        text_printf(out, "typedef float vf __attribute__((vector_size(%d), aligned(4), may_alias));\n", 4 * lanes);
        text_printf(out, "typedef int vi __attribute__((vector_size(%d), aligned(4), may_alias));\n", 4 * lanes);
        text_printf(out, "typedef unsigned vu __attribute__((vector_size(%d), aligned(4), may_alias));\n", 4 * lanes);
        text_printf(out, "typedef unsigned short vh __attribute__((vector_size(%d), aligned(2), may_alias));\n", 2 * lanes);
        if (use->doubles) {
            text_printf(out, "typedef double vd __attribute__((vector_size(%d)));\n", 8 * lanes);
            text_printf(out, "typedef long long vl __attribute__((vector_size(%d)));\n", 8 * lanes);
        }
        text_add(out, "#define IOTA {");
        for (int i = 0; i < lanes; i++)
            text_printf(out, "%s%d", i ? ", " : "", i);
        text_add(out, "}\n\n");
    }
    if (lanes)
        print_folds(use, lanes, out);
    print_builtins(use, false, lanes, out);
    for (int h = 0; h < HELPER_COUNT; h++) {
        if (use->helper[0][h])
            print_scalar((Helper)h, !lanes, out);
        if (use->helper[1][h] && lanes)
            print_vector((Helper)h, out);
    }
    print_builtins(use, true, lanes, out);
}
