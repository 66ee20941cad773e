// The helpers of bf16 products, as C text. Operands are packed as pairs: two consecutive terms of one row (or column),
// rounded to bf16, in the 32 bits of one float's place, the earlier term in the low half. Whatever holds for a panel of
// floats holds for a panel of pairs with half the terms.
//
// Where the compiler has AVX512_BF16 a pair costs one instruction, which is spelt in assembly because the compilers'
// intrinsics changed their names and types between versions; it flushes denormals to zero. Elsewhere the same text is
// shifts and float32 arithmetic, so that a file can be compiled by itself for any machine.
#include "lower_product.h"

void pairs_prelude(int lanes, Text *out)
{
    text_add(out,
        "// Pairs of bf16 numbers in 32 bits. ROUND2: x's lanes, then y's, in that order. DOT2: c += both products.\n"
        "typedef int pair __attribute__((may_alias));\n"
        "static inline __attribute__((unused)) void round2_(vh *r, const vf *x, const vf *y)\n"
        "{\n    r[0] = half_v(*x);\n    r[1] = half_v(*y);\n}\n"
        "#ifdef __AVX512BF16__\n"
        "#define ROUND2(r, x, y) __asm__(\"vcvtne2ps2bf16 %1, %2, %0\" : \"=v\"(r) : \"v\"(x), \"v\"(y))\n"
        "#define DOT2(c, x, y) __asm__(\"vdpbf16ps %2, %1, %0\" : \"+v\"(c) : \"v\"(x), \"v\"(y))\n"
        "#else\n"
        "#define ROUND2(r, x, y) round2_((vh *)&(r), &(x), &(y))\n"
        "#define DOT2(c, x, y) ((c) += (vf)((vu)(x) << 16)*(vf)((vu)(y) << 16), \\\n"
        "    (c) += (vf)((vu)(x) & 0xffff0000u)*(vf)((vu)(y) & 0xffff0000u))\n"
        "#endif\n"
        "static inline __attribute__((unused)) int pair_of(float x, float y)\n"
        "{\n    return (int)(half_s(x) | (unsigned)half_s(y) << 16);\n}\n");
    text_printf(out, "// The lanes of x and y in turn, from ROUND2's result.\n"
                "typedef short vs __attribute__((vector_size(%d), aligned(4), may_alias));\n"
                "#define WEAVE2(r) (vi)__builtin_shufflevector((vs)(r), (vs)(r)", 4 * lanes);
    for (int i = 0; i < 2 * lanes; i++)
        text_printf(out, "%s%d", i % 16 ? ", " : ", \\\n    ", i % 2 ? lanes + i / 2 : i / 2);
    text_add(out, ")\n\n");
}

static void dots_rows(Tile tile, const char *op, Text *out)
{
    for (int i = 0; i < tile.rows; i++) {
        for (int j = 0; j < tile.vectors; j++)
            text_printf(out, "%s*(vf *)(c + %d*ldc + %d) %s c%d_%d;", j ? " " : "        ", i, j * tile.lanes, op, i, j);
        text_char(out, '\n');
    }
}

void dots_text(Arena *arena, Tile tile, Text *out)
{
    text_printf(out, "// c[i*ldc + j] = (add: +=) sum over k < n of a[k*%d + i] * b[k*ldb + j], for i < %d and j < %d, where a\n"
                "// and b hold pairs and * adds up both products\n", tile.rows, tile.rows, tile_width(tile));
    text_printf(out, "static __attribute__((noinline, unused)) void %s(const float *restrict a, const float *restrict b, "
                "long ldb,\n    float *restrict c, long ldc, long n, int add)\n{\n", tile_name(arena, tile));
    for (int i = 0; i < tile.rows; i++) {
        text_add(out, "    vf");
        for (int j = 0; j < tile.vectors; j++)
            text_printf(out, "%s c%d_%d = {0}", j ? "," : "", i, j);
        text_add(out, ";\n");
    }
    text_add(out, "    for (long k = 0; k < n; k++) {\n        vi x;\n");
    for (int j = 0; j < tile.vectors; j++)
        text_printf(out, "        const vi b%d = *(const vi *)(b + %d);\n", j, j * tile.lanes);
    for (int i = 0; i < tile.rows; i++) {
        text_printf(out, "        x = *(const pair *)(a + %d) - (vi){0};", i);
        for (int j = 0; j < tile.vectors; j++)
            text_printf(out, " DOT2(c%d_%d, x, b%d);", i, j, j);
        text_char(out, '\n');
    }
    text_printf(out, "        a += %d;\n        b += ldb;\n    }\n    if (add) {\n", tile.rows);
    dots_rows(tile, "+=", out);
    text_add(out, "    } else {\n");
    dots_rows(tile, "=", out);
    text_add(out, "    }\n}\n");
}

void turn_pairs_text(Arena *arena, Tile tile, Text *out)
{
    const int lanes = tile.lanes, step = 2 * lanes;
    text_printf(out, "// to[k/2*width + i] = the pair from[i*stride + k], from[i*stride + k + 1], 0 where i >= rows or past n, for\n"
                "// even k < n; i goes up to %d, or to width if that is less. Each k writes %d pairs.\n", lanes, lanes);
    text_printf(out, "static __attribute__((noinline, unused)) void %s(float *restrict to, long width, const float *restrict from, "
                "long stride,\n    long rows, long n)\n{\n    long k = 0;\n", turn_name(arena, tile));
    text_printf(out, "    for (; k + %d <= n; k += %d, to += %d*width) {\n        vf ", step, step, lanes);
    for (int i = 0; i < lanes; i++)
        text_printf(out, "%st0_%d = {0}", i ? ", " : "", i);
    text_add(out, ";\n");
    for (int i = 0; i < lanes; i++)
        text_printf(out, "        if (rows > %d)\n            ROUND2(t0_%d, *(const vf *)(from + %d*stride + k), "
                    "*(const vf *)(from + %d*stride + k + %d));\n", i, i, i, i, lanes);
    const int stages = turn_stages(lanes, out);
    for (int i = 0; i < lanes; i++)
        text_printf(out, "        *(vf *)(to + %d*width) = t%d_%d;\n", i, stages, i);
    text_printf(out, "    }\n    for (int rest = 0; rest < %d && k < n; rest++, k += 2, to += width)\n"
                "        for (long i = 0; i < %d && i < width; i++)\n"
                "            *(pair *)(to + i) = i >= rows ? 0 : pair_of(from[i*stride + k], k + 1 < n ? from[i*stride + k + 1] : 0);\n"
                "}\n", lanes, lanes);
}

// Whole vectors may be read past the rows of a term where something of the same array follows; lanes that are no rows
// are cleared, and exactly `width` pairs are written.
void copy_pairs_text(Arena *arena, int width, int lanes, Text *out)
{
    const int vectors = (width + lanes - 1) / lanes;
    text_printf(out, "// to[k/2*%d + i] = the pair from[i*row + k*step], from[i*row + (k + 1)*step], 0 where i >= rows or past n,\n"
                "// for i < %d and even k < n; `room` floats may be read behind the last row of the last term\n", width, width);
    text_printf(out, "static __attribute__((noinline, unused)) void %s(float *restrict to, const float *restrict from, "
                "long row, long step,\n    long rows, long n, long room)\n{\n", copy_pairs_name(arena, width));
    text_printf(out, "    const long end = (step > 0 ? (n - 1)*step : 0) + rows + room;\n"
                "    const int last = rows < %d ? (int)rows : %d;\n", width, width);
    for (int j = 0; j < vectors; j++)
        text_printf(out, "    const vi keep%d = ((vi)IOTA + %d) < last;\n", j, j * lanes);
    text_printf(out, "    for (long k = 0; k < n; k += 2, to += %d) {\n        const float *const x = from + k*step;\n"
                "        if (row == 1 && k + 1 < n && (step > 0 ? k + 1 : k)*step + %d <= end) {\n            vi r;\n", width,
                vectors * lanes);
    for (int j = 0; j < vectors; j++) {
        const int left = width - j * lanes < lanes ? width - j * lanes : lanes;
        text_printf(out, "            ROUND2(r, *(const vf *)(x + %d), *(const vf *)(x + step + %d));\n"
                    "            r = WEAVE2(r) & keep%d;\n", j * lanes, j * lanes, j);
        text_printf(out, "            __builtin_memcpy(to + %d, &r, %d);\n", j * lanes, 4 * left);
    }
    text_printf(out, "            continue;\n        }\n        for (long i = 0; i < %d; i++)\n"
                "            *(pair *)(to + i) = i >= rows ? 0 : pair_of(x[i*row], k + 1 < n ? x[i*row + step] : 0);\n    }\n}\n",
                width);
}
