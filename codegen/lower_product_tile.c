// The two helpers that every packed product needs, as C text: the micro-kernel, which keeps a tile of the result in
// vector registers, and the transposing copy. Both are generated for the target's vector length out of GCC's vector
// extensions, without intrinsics, so that any target of gcc and clang can compile them.
#include "lower_product.h"

#include <string.h>

enum { HELPER_NAME = 48 };

static const struct { int lanes, registers, rows, vectors; } variant[] = {
#define VARIANT(lanes, registers, rows, vectors) {lanes, registers, rows, vectors},
#include "variants.def"
#undef VARIANT
};

Tile tile_for(const Target *target)
{
    Tile tile = {.lanes = 4, .rows = 6, .vectors = 2};
    for (size_t i = 0; i < sizeof variant / sizeof *variant; i++)
        if (variant[i].lanes == target->vector_floats && variant[i].registers <= target->vector_registers) {
            tile = (Tile){.lanes = variant[i].lanes, .rows = variant[i].rows, .vectors = variant[i].vectors};
            break;
        }
    return tile;
}

// As many rows per tile as waste the fewest of `n_rows`; of equals, the most.
Tile tile_fit(Tile tile, int64_t n_rows)
{
    const int most = tile.rows, least = most > 10 ? most - 6 : most > 4 ? most - 2 : 1;
    int64_t best = INT64_MAX / 64;
    if (n_rows <= most) {
        tile.rows = n_rows < 1 ? 1 : (int)n_rows;
        return tile;
    }
    for (int rows = most; rows >= least; rows--) {
        const int64_t padded = (n_rows + rows - 1) / rows * rows;
        if (padded * 64 < best * 63) {                      // a smaller tile must save something
            best = padded;
            tile.rows = rows;
        }
    }
    return tile;
}

int tile_width(Tile tile)
{
    return tile.vectors * tile.lanes;
}

const char *tile_name(Arena *arena, Tile tile)
{
    if (tile.pairs)
        return arena_printf(arena, "dots_%dx%d_v", tile.rows, tile_width(tile));
    if (tile.row_step)
        return arena_printf(arena, "tile_%dx%d_r%d_t%d_v", tile.rows, tile_width(tile), tile.row_step, tile.term_step);
    return arena_printf(arena, "tile_%dx%d_v", tile.rows, tile_width(tile));
}

const char *turn_name(Arena *arena, Tile tile)
{
    return arena_printf(arena, "%s_%d_v", tile.pairs ? "turn2" : "turn", tile.lanes);
}

const char *copy_name(Arena *arena, int width)
{
    return arena_printf(arena, "copy_%d_v", width);
}

const char *copy_pairs_name(Arena *arena, int width)
{
    return arena_printf(arena, "copy2_%d_v", width);
}

// The final loop over rows of a tile: `op` is = or +=.
static void store_rows(Tile tile, const char *op, Text *out)
{
    for (int i = 0; i < tile.rows; i++) {
        for (int j = 0; j < tile.vectors; j++)
            text_printf(out, "%s*(vf *)(c + %d*ldc + %d) %s c%d_%d;", j ? " " : "        ", i, j * tile.lanes, op, i, j);
        text_char(out, '\n');
    }
}

void tile_text(Arena *arena, Tile tile, Text *out)
{
    const int width = tile_width(tile), row = tile.row_step ? tile.row_step : 1, term = tile.row_step ? tile.term_step : tile.rows;
    text_printf(out, "// c[i*ldc + j] = (add: +=) sum over k < n of a[i*%d + k*%d] * b[k*ldb + j], for i < %d and j < %d\n", row,
                term, tile.rows, width);
    text_printf(out, "static __attribute__((noinline, unused)) void %s(const float *restrict a, const float *restrict b, "
                "long ldb,\n    float *restrict c, long ldc, long n, int add)\n{\n", tile_name(arena, tile));
    for (int i = 0; i < tile.rows; i++) {
        text_add(out, "    vf");
        for (int j = 0; j < tile.vectors; j++)
            text_printf(out, "%s c%d_%d = {0}", j ? "," : "", i, j);
        text_add(out, ";\n");
    }
    text_add(out, "    for (long k = 0; k < n; k++) {\n");
    for (int j = 0; j < tile.vectors; j++)
        text_printf(out, "        const vf b%d = *(const vf *)(b + %d);\n", j, j * tile.lanes);
    for (int i = 0; i < tile.rows; i++) {
        for (int j = 0; j < tile.vectors; j++)
            text_printf(out, "%sc%d_%d += a[%d]*b%d;", j ? " " : "        ", i, j, i * row, j);
        text_char(out, '\n');
    }
    text_printf(out, "        a += %d;\n        b += ldb;\n    }\n    if (add) {\n", term);
    store_rows(tile, "+=", out);
    text_add(out, "    } else {\n");
    store_rows(tile, "=", out);
    text_add(out, "    }\n}\n");
}

// One exchange of the transposition: rows i and i + step swap their off-diagonal blocks of `step` lanes.
static void turn_exchange(int lanes, int i, int step, int stage, Text *out)
{
    for (int half = 0; half < 2; half++) {
        text_printf(out, "        const vf t%d_%d = __builtin_shufflevector(t%d_%d, t%d_%d", stage + 1, i + half * step, stage, i,
                    stage, i + step);
        for (int lane = 0; lane < lanes; lane++) {
            const int from = half ? lane | step : lane & ~step;
            text_printf(out, ", %d", (lane & step) ? lanes + (half ? lane : lane - step) : from);
        }
        text_add(out, ");\n");
    }
}

int turn_stages(int lanes, Text *out)
{
    int stage = 0;
    for (int step = lanes / 2; step >= 1; step /= 2, stage++)
        for (int i = 0; i < lanes; i++)
            if (!(i & step))
                turn_exchange(lanes, i, step, stage, out);
    return stage;
}

void turn_text(Arena *arena, Tile tile, Text *out)
{
    const int lanes = tile.lanes;
    text_printf(out, "// to[k*width + i] = from[i*stride + k], or 0 where i >= rows, for k < n; i goes up to %d, or to width\n"
                "// if that is less. Each k writes %d floats.\n", lanes, lanes);
    text_printf(out, "static __attribute__((noinline, unused)) void %s(float *restrict to, long width, const float *restrict from, "
                "long stride,\n    long rows, long n)\n{\n    long k = 0;\n", turn_name(arena, tile));
    text_printf(out, "    for (; k + %d <= n; k += %d) {\n", lanes, lanes);
    for (int i = 0; i < lanes; i++)
        text_printf(out, "        const vf t0_%d = rows > %d ? *(const vf *)(from + %d*stride + k) : (vf){0};\n", i, i, i);
    const int stage = turn_stages(lanes, out);
    for (int i = 0; i < lanes; i++)
        text_printf(out, "        *(vf *)(to + (k + %d)*width) = t%d_%d;\n", i, stage, i);
    // The number of rounds is bounded in so many words: without it gcc warns of what would happen after 2^58 of them.
    text_printf(out, "    }\n    for (int rest = 0; rest < %d && k < n; rest++, k++)\n"
                "        for (long i = 0; i < %d && i < width; i++)\n"
                "            to[k*width + i] = i < rows ? from[i*stride + k] : 0;\n}\n", lanes, lanes);
}

void copy_text(Arena *arena, int width, Text *out)
{
    text_printf(out, "// to[k*%d + i] = from[i*row + k*step], or 0 where i >= rows, for i < %d and k < n\n", width, width);
    text_printf(out, "static __attribute__((noinline, unused)) void %s(float *restrict to, const float *restrict from, "
                "long row, long step,\n    long rows, long n)\n{\n", copy_name(arena, width));
    text_printf(out, "    if (row == 1 && rows >= %d) {\n        for (long k = 0; k < n; k++)\n"
                "            __builtin_memcpy(to + k*%d, from + k*step, %d);\n        return;\n    }\n",
                width, width, 4 * width);
    text_printf(out, "    for (long k = 0; k < n; k++)\n        for (long i = 0; i < %d; i++)\n"
                "            to[k*%d + i] = i < rows ? from[i*row + k*step] : 0;\n}\n", width, width);
}

// A number that ends before `end`: 14 of "_14x"; -1: none.
static int number_after(const char **text)
{
    int n = -1;
    for (; **text >= '0' && **text <= '9' && n < 10000000; (*text)++)
        n = (n < 0 ? 0 : 10 * n) + (**text - '0');
    return n;
}

typedef enum HelperKind { TILE, TURN, COPY, BAND, DOTS, BAND_PAIRS, LINE_PAIRS, TURN_PAIRS, COPY_PAIRS, N_KINDS } HelperKind;

static const char *const kind_name[N_KINDS] = {[TILE] = "tile_", [TURN] = "turn_", [COPY] = "copy_", [BAND] = "band_",
                                               [DOTS] = "dots_", [BAND_PAIRS] = "band2_", [LINE_PAIRS] = "line2_",
                                               [TURN_PAIRS] = "turn2_", [COPY_PAIRS] = "copy2_"};

// The helper called at `text` ("tile_14x32_v(..."), into `out_name`; N_KINDS when it is none of ours.
static HelperKind read_call(const char *text, int lanes, char (*out_name)[HELPER_NAME], Tile *out_tile)
{
    HelperKind kind = TILE;
    while (kind < N_KINDS && strncmp(text, kind_name[kind], strlen(kind_name[kind])) != 0)
        kind++;
    if (kind == N_KINDS)
        return N_KINDS;
    const char *s = text + strlen(kind_name[kind]);
    const bool tile = kind == TILE || kind == BAND || kind == DOTS || kind == BAND_PAIRS;
    const int first = number_after(&s);
    int second = lanes;
    if (tile && *s == 'x') {
        s++;
        second = number_after(&s);
    }
    *out_tile = (Tile){.lanes = lanes, .rows = first, .vectors = second / lanes, .pairs = kind >= DOTS};
    if (tile && strncmp(s, "_r", 2) == 0) {
        s += 2;
        out_tile->row_step = number_after(&s);
        if (strncmp(s, "_t", 2) == 0) {
            s += 2;
            out_tile->term_step = number_after(&s);
        }
    }
    if (first <= 0 || second <= 0 || strncmp(s, "_v(", 3) != 0 || s - text >= HELPER_NAME)
        return N_KINDS;
    snprintf(*out_name, sizeof *out_name, "%.*s", (int)(s - text), text);
    return kind;
}

static void helper_text(Arena *arena, HelperKind kind, Tile tile, Text *out)
{
    switch (kind) {
    case TILE:       tile_text(arena, tile, out); break;
    case TURN:       turn_text(arena, tile, out); break;
    case COPY:       copy_text(arena, tile.rows, out); break;
    case BAND:
    case BAND_PAIRS: band_text(arena, tile, out); break;
    case LINE_PAIRS: line_pairs_text(arena, tile.lanes, out); break;
    case DOTS:       dots_text(arena, tile, out); break;
    case TURN_PAIRS: turn_pairs_text(arena, tile, out); break;
    case COPY_PAIRS: copy_pairs_text(arena, tile.rows, tile.lanes, out); break;
    case N_KINDS:    break;
    }
    text_char(out, '\n');
}

void product_prelude(const Program *p, const Target *target, Text *out)
{
    enum { MOST = 512 };
    char known[MOST][HELPER_NAME];
    size_t n_known = 0;
    bool pairs = false;
    for (size_t k = 1; k < p->n_kernels; k++)
        for (const char *s = p->kernel[k].text; *s && n_known < MOST; s++) {
            Tile tile;
            if (*s != 't' && *s != 'c' && *s != 'd' && *s != 'b' && *s != 'l')
                continue;
            const HelperKind kind = read_call(s, target->vector_floats, &known[n_known], &tile);
            bool is_new = kind != N_KINDS;
            for (size_t i = 0; i < n_known && is_new; i++)
                is_new = strcmp(known[i], known[n_known]) != 0;
            if (!is_new)
                continue;
            if (tile.pairs && !pairs)
                pairs_prelude(tile.lanes, out);
            pairs |= tile.pairs;
            helper_text(p->arena, kind, tile, out);
            n_known++;
        }
}
