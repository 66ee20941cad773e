// The micro-kernel of grouped products, as C text: a band of rows times a panel of columns that nobody packed. Rows of
// operand 0 lie a fixed number of floats apart (or its terms a given number); rows of operand 1 are read where they are.
//
// A band is cut into tiles of even heights, about equal, so that at most one row of it is wasted. What comes from memory is
// asked for while tiles are multiplied: by rows of operand 0 that follow each other, the next panel of operand 1; by terms
// that follow each other, for each tile what the epilogue will read or write there.
#include "lower_product.h"

const char *band_name(Arena *arena, Tile tile)
{
    const char *kind = tile.pairs ? "band2" : "band";
    if (tile.row_step)
        return arena_printf(arena, "%s_%dx%d_r%d_v", kind, tile.rows, tile_width(tile), tile.row_step);
    return arena_printf(arena, "%s_%dx%d_v", kind, tile.rows, tile_width(tile));
}

static const char *part_name(Arena *arena, Tile tile)
{
    return arena_printf(arena, "part%s", band_name(arena, tile) + sizeof "band" - 1);
}

static const char *terms_of_a(Tile tile)
{
    return tile.row_step ? "" : "long lda, ";
}

static void part_rows(Tile tile, const char *op, Text *out)
{
    for (int i = 0; i < tile.rows; i++) {
        for (int j = 0; j < tile.vectors; j++)
            text_printf(out, "%s*(vf *)(c + %d*ldc + %d) %s c%d_%d;", j ? " " : "        ", i, j * tile.lanes, op, i, j);
        text_char(out, '\n');
    }
}

static void part_text(Arena *arena, Tile tile, Text *out)
{
    const int row = tile.row_step ? tile.row_step : 1, line = 16;
    text_printf(out, "static __attribute__((noinline, unused)) void %s(const float *restrict a, %sconst float *restrict b, long ldb,\n"
                "    float *restrict c, long ldc, long n, int add, const float *next, long step)\n{\n", part_name(arena, tile), terms_of_a(tile));
    for (int i = 0; i < tile.rows; i++) {
        text_add(out, "    vf");
        for (int j = 0; j < tile.vectors; j++)
            text_printf(out, "%s c%d_%d = {0}", j ? "," : "", i, j);
        text_add(out, ";\n");
    }
    text_add(out, "    for (long k = 0; k < n; k++) {\n");
    for (int j = 0; j < tile_width(tile); j += line) {
        text_printf(out, "        __builtin_prefetch(next + %d, 0, 2);\n", j);
        if (tile.pairs)
            text_printf(out, "        __builtin_prefetch(next + step + %d, 0, 2);\n", j);
    }
    const char *vector = tile.pairs ? "vi" : "vf";
    for (int j = 0; j < tile.vectors; j++)
        text_printf(out, "        const %s b%d = *(const %s *)(b + %d);\n", vector, j, vector, j * tile.lanes);
    if (tile.pairs)
        text_add(out, "        vi x;\n");
    for (int i = 0; i < tile.rows; i++) {
        if (tile.pairs)
            text_printf(out, "        x = *(const pair *)(a + %d) - (vi){0};", i * row);
        for (int j = 0; j < tile.vectors; j++)
            text_printf(out, tile.pairs ? "%sDOT2(c%d_%d, x, b%d);" : "%sc%d_%d += a[%d]*b%d;", j || tile.pairs ? " " : "        ", i, j,
                        tile.pairs ? j : i * row, j);
        text_char(out, '\n');
    }
    text_printf(out, "        a += %s;\n        b += ldb;\n        next += %sstep;\n    }\n    if (add) {\n", tile.row_step ? "1" : "lda",
                tile.pairs ? "2*" : "");
    part_rows(tile, "+=", out);
    text_add(out, "    } else {\n");
    part_rows(tile, "=", out);
    text_add(out, "    }\n}\n");
}

void band_text(Arena *arena, Tile tile, Text *out)
{
    const int most = tile.rows;
    const char *lda = tile.row_step ? "" : "lda, ";
    for (tile.rows = most; tile.rows > 0; tile.rows -= 2)
        part_text(arena, tile, out);
    tile.rows = most;
    const char *term = tile.row_step ? arena_printf(arena, "i*%d + k", tile.row_step) : "i + k*lda";
    text_printf(out, "// c[i*ldc + j] = (add: +=) sum over k < n of a[%s] * b[k*ldb + j], for i < rows and j < %d; an odd last row\n"
                "// takes a row of rubbish along.%s Fetches %d floats from each next + %s*step on.\n", term, tile_width(tile),
                tile.pairs ? " a and b hold pairs, * adds up both products." : "", tile_width(tile), tile.row_step ? "k" : "i");
    text_printf(out, "static __attribute__((noinline, unused)) void %s(long rows, const float *a, %sconst float *b, long ldb, float *c,\n"
                "    long ldc, long n, int add, const float *next, long step)\n{\n", band_name(arena, tile), terms_of_a(tile));
    text_printf(out, "    while (rows > 0) {\n        const long tiles = (rows + %d)/%d, height = ((rows + tiles - 1)/tiles + 1)/2*2;\n"
                "        switch (height) {\n", most - 1, most);
    for (tile.rows = most; tile.rows > 0; tile.rows -= 2)
        text_printf(out, "        case %d: %s(a, %sb, ldb, c, ldc, n, add, next, step); break;\n", tile.rows, part_name(arena, tile), lda);
    tile.rows = most;
    text_printf(out, "        }\n        rows -= height;\n        a += height*%d;\n        c += height*ldc;\n%s    }\n}\n",
                tile.row_step ? tile.row_step : 1,
                tile.row_step ? "        next = b;\n        step = 0;\n" : "        next += height*step;\n");
}

void line_pairs_text(Arena *arena, int lanes, Text *out)
{
    (void)arena;
    text_printf(out, "// to[k/2] = the pair from[k], from[k + 1] for even k < n; an odd last one is paired with 0\n"
                "static __attribute__((noinline, unused)) void line2_%d_v(float *restrict to, const float *restrict from, long n)\n{\n"
                "    long k = 0;\n    for (; k + %d <= n; k += %d) {\n        vi r;\n"
                "        ROUND2(r, *(const vf *)(from + k), *(const vf *)(from + k + %d));\n        *(vi *)(to + k/2) = r;\n    }\n"
                "    for (; k < n; k += 2)\n        *(pair *)(to + k/2) = pair_of(from[k], k + 1 < n ? from[k + 1] : 0);\n}\n",
                lanes, 2 * lanes, 2 * lanes, lanes);
}
