// What a block of threads does with a stage of operands, and with its sums at the end.
//
// bf16: a warp has a tile of 16 x 8 pieces, each in four registers of a lane, and multiplies fragments that ldmatrix takes from
// shared memory. float32: a lane has 8 x 8 (or 4 x 4) sums; of its warp, 4 lanes go down and 8 across. At the end sums go
// through a strip of shared memory of the warp, so that a lane meets a column of the result, and its neighbour the next.
#include "product_cuda.h"

#include <string.h>

#define N(x) ((long long)(x))

enum { LANES_DOWN = 4, LANES_ACROSS = 8, PIECE_ROWS = 16, PIECE_COLS = 8,
       EPILOGUE_DEPTH = 12 };               // operations from the sum that are looked at

static int pieces_down(const CudaPlan *plan)
{
    return plan->is_bf16 ? plan->tile.warp_rows / PIECE_ROWS : plan->tile.warp_rows / LANES_DOWN;
}

static int pieces_across(const CudaPlan *plan)
{
    return plan->is_bf16 ? plan->tile.warp_cols / PIECE_COLS : plan->tile.warp_cols / LANES_ACROSS;
}

void cuda_declare_sums(ProductCuda *T, Scope *at)
{
    Emitter *E = T->P.E;
    T->acc = emit_name(E, "acc");
    scope_line(at, "float %s[%d][%d]%s = {};", T->acc, pieces_down(&T->plan), pieces_across(&T->plan), T->plan.is_bf16 ? "[4]" : "");
}

// The warp's first row or column inside the block; "0" where all warps have the same.
static const char *warp_place(ProductCuda *T, bool is_row)
{
    const CudaTile *t = &T->plan.tile;
    const int across = t->cols / t->warp_cols, down = t->rows / t->warp_rows;
    if ((is_row ? down : across) == 1)
        return "0";
    if (!is_row)
        return arena_printf(T->P.E->arena, down == 1 ? "%s*%d" : "%s %% %d * %d", T->warp, down == 1 ? t->warp_cols : across, t->warp_cols);
    return arena_printf(T->P.E->arena, across == 1 ? "%s*%d" : "%s / %d * %d", T->warp, across == 1 ? t->warp_rows : across, t->warp_rows);
}

// The same as a term of a sum: "" or "warp*64 + ".
static const char *warp_term(ProductCuda *T, bool is_row)
{
    const char *place = warp_place(T, is_row);
    return strcmp(place, "0") ? arena_printf(T->P.E->arena, "%s + ", place) : "";
}

static const char *part_of(ProductCuda *T, const char *stage, int which)
{
    return T->plan.operand[which].at ? arena_printf(T->P.E->arena, "%s + %lld", stage, N(T->plan.operand[which].at)) : stage;
}

// --- tensor cores

// The address of a lane's row of four 8 x 8 matrices: those of 16 rows (or columns) from `first` on and 16 terms from s*16 on.
// Of operand 0 the second matrix has the next 8 rows, the third the next 8 terms; of operand 1 the other way round.
static void emit_fragment(ProductCuda *T, Scope *at, int which, const char *stage, const char *first, const char *s, const char *to)
{
    Emitter *E = T->P.E;
    const CudaOperand *o = &T->plan.operand[which];
    const char *lane = T->lane;
    const char *outer = which == 0 ? arena_printf(E->arena, "%s / 8 %% 2", lane) : arena_printf(E->arena, "%s / 16", lane);
    const char *term = which == 0 ? arena_printf(E->arena, "%s / 16", lane) : arena_printf(E->arena, "%s / 8 %% 2", lane);
    const char *line = emit_name(E, "line"), *chunk = emit_name(E, "chunk");
    if (o->over_sum) {
        scope_line(at, "const int %s = %s + %s * 8 + %s %% 8, %s = %s*2 + %s;", line, first, outer, lane, chunk, s, term);
        scope_line(at, "ldmatrix4_s(%s, %s + %s*%d + (%s ^ %s)*16);", to, part_of(T, stage, which), line, o->line * 2, chunk, cuda_swizzle(T, which, line));
    } else {
        scope_line(at, "const int %s = %s*16 + %s * 8 + %s %% 8, %s = (%s) / 8 + %s;", line, s, term, lane, chunk, first, outer);
        scope_line(at, "ldmatrix4t_s(%s, %s + %s*%d + (%s ^ %s)*16);", to, part_of(T, stage, which), line, o->line * 2, chunk, cuda_swizzle(T, which, line));
    }
}

static void multiply_pieces(ProductCuda *T, Scope *at, const char *stage)
{
    Emitter *E = T->P.E;
    const CudaPlan *plan = &T->plan;
    const int down = pieces_down(plan), across = pieces_across(plan);
    const char *s = emit_name(E, "s"), *a = emit_name(E, "a"), *b = emit_name(E, "b"), *m = emit_name(E, "m"), *n = emit_name(E, "n");
    scope_line(at, "#pragma unroll");
    Scope *steps = scope_block(E, at, arena_printf(E->arena, "for (int %s = 0; %s < %d; %s++) {", s, s, plan->terms / 16, s));
    scope_line(steps, "unsigned %s[%d][4], %s[%d][4];", a, down, b, across / 2);
    for (int which = 0; which < 2; which++) {
        const int pieces = which == 0 ? down : across / 2;
        scope_line(steps, "#pragma unroll");
        Scope *load = scope_block(E, steps, arena_printf(E->arena, "for (int %s = 0; %s < %d; %s++) {", m, m, pieces, m));
        emit_fragment(T, load, which, stage, arena_printf(E->arena, "%s%s*16", warp_term(T, which == 0), m), s,
                      arena_printf(E->arena, "%s[%s]", which == 0 ? a : b, m));
        scope_close(E, load);
    }
    scope_line(steps, "#pragma unroll");
    scope_line(steps, "for (int %s = 0; %s < %d; %s++)", m, m, down, m);
    scope_line(steps, "    #pragma unroll");
    scope_line(steps, "    for (int %s = 0; %s < %d; %s++)", n, n, across, n);
    scope_line(steps, "        mma_bf16_s(%s[%s][%s], %s[%s], %s[%s / 2][%s %% 2 * 2], %s[%s / 2][%s %% 2 * 2 + 1]);", T->acc, m, n, a, m, b, n, n, b, n, n);
    scope_close(E, steps);
}

// --- float32

// The line of a lane's r-th row (or column), where lines hold terms; else its first element of the h-th four.
static const char *lane_line(ProductCuda *T, int which, const char *r)
{
    const int lanes = which == 0 ? LANES_DOWN : LANES_ACROSS;
    const char *own = which == 0 ? arena_printf(T->P.E->arena, "%s / %d", T->lane, LANES_ACROSS)
                                 : arena_printf(T->P.E->arena, "%s %% %d", T->lane, LANES_ACROSS);
    const char *first = warp_term(T, which == 0);
    if (T->plan.operand[which].over_sum)
        return arena_printf(T->P.E->arena, "%s%s*%d + %s", first, r, lanes, own);
    return arena_printf(T->P.E->arena, "%s%s*%d + %s*4", first, r, lanes * 4, own);
}

// Four terms of a lane's columns from chunk c on, to[q][term]; or of its row r.
static void load_terms(ProductCuda *T, Scope *at, int which, const char *stage, const char *c, const char *to, const char *r)
{
    const CudaOperand *o = &T->plan.operand[which];
    const char *line = emit_name(T->P.E, "line");
    scope_line(at, "const int %s = %s;", line, lane_line(T, which, r));
    scope_line(at, "quad_s(%s + %s*%d + (%s ^ %s)*16, %s);", part_of(T, stage, which), line, o->line * 4, c,
               cuda_swizzle(T, which, line), to);
}

// Term c*4 + k of a lane's n rows (or columns), four at a time.
static void load_lines(ProductCuda *T, Scope *at, int which, const char *stage, const char *c, const char *k, const char *to, int n)
{
    const char *r = emit_name(T->P.E, "r");
    scope_line(at, "#pragma unroll");
    scope_line(at, "for (int %s = 0; %s < %d; %s++)", r, r, n / 4, r);
    scope_line(at, "    quad_s(%s + (%s*4 + %s)*%d + (%s)*4, %s + %s*4);", part_of(T, stage, which), c, k,
               T->plan.operand[which].line * 4, lane_line(T, which, r), to, r);
}

static Scope *unrolled(ProductCuda *T, Scope *at, const char *i, int n)
{
    scope_line(at, "#pragma unroll");
    return scope_block(T->P.E, at, arena_printf(T->P.E->arena, "for (int %s = 0; %s < %d; %s++) {", i, i, n, i));
}

// Rows whose terms follow each other: all columns of four terms, then row by row. Otherwise term by term.
static void multiply_numbers(ProductCuda *T, Scope *at, const char *stage)
{
    Emitter *E = T->P.E;
    const CudaPlan *plan = &T->plan;
    const int down = pieces_down(plan), across = pieces_across(plan);
    const bool a_terms = plan->operand[0].over_sum, b_terms = plan->operand[1].over_sum;
    const char *c = emit_name(E, "c"), *a = emit_name(E, "a"), *b = emit_name(E, "b"), *k = emit_name(E, "k"), *r = emit_name(E, "r"), *q = emit_name(E, "q");
    // Unrolled, reads of lines with terms are moved so far ahead that they take 250 registers instead of 130 to 170.
    scope_line(at, a_terms || b_terms ? "#pragma unroll 1" : "#pragma unroll");
    Scope *chunks = scope_block(E, at, arena_printf(E->arena, "for (int %s = 0; %s < %d; %s++) {", c, c, plan->terms / 4, c));
    if (b_terms) {
        scope_line(chunks, "float %s[%d][4];", b, across);
        Scope *cols = unrolled(T, chunks, q, across);
        load_terms(T, cols, 1, stage, c, arena_printf(E->arena, "%s[%s]", b, q), q);
        scope_close(E, cols);
    } else if (a_terms) {
        scope_line(chunks, "float %s[4][%d];", b, across);
        Scope *terms = unrolled(T, chunks, k, 4);
        load_lines(T, terms, 1, stage, c, k, arena_printf(E->arena, "%s[%s]", b, k), across);
        scope_close(E, terms);
    }
    const char *first = a_terms ? r : k, *second = a_terms ? k : r;
    Scope *outer = unrolled(T, chunks, first, a_terms ? down : 4);
    scope_line(outer, "float %s[%d];", a, a_terms ? 4 : down);
    if (a_terms)
        load_terms(T, outer, 0, stage, c, a, r);
    else
        load_lines(T, outer, 0, stage, c, k, a, down);
    if (!a_terms && !b_terms) {
        scope_line(outer, "float %s[%d];", b, across);
        load_lines(T, outer, 1, stage, c, k, b, across);
    }
    const char *at_b = b_terms ? arena_printf(E->arena, "%s[%s][%s]", b, q, k) : a_terms ? arena_printf(E->arena, "%s[%s][%s]", b, k, q)
                                                                                         : arena_printf(E->arena, "%s[%s]", b, q);
    scope_line(outer, "#pragma unroll");
    scope_line(outer, "for (int %s = 0; %s < %d; %s++)", second, second, a_terms ? 4 : down, second);
    scope_line(outer, "    #pragma unroll");
    scope_line(outer, "    for (int %s = 0; %s < %d; %s++)", q, q, across, q);
    scope_line(outer, "        %s[%s][%s] = fmaf(%s[%s], %s, %s[%s][%s]);", T->acc, r, q, a, a_terms ? k : r, at_b, T->acc, r, q);
    scope_close(E, outer);
    scope_close(E, chunks);
}

void cuda_emit_multiply(ProductCuda *T, Scope *at, const char *stage)
{
    if (T->plan.is_bf16)
        multiply_pieces(T, at, stage);
    else
        multiply_numbers(T, at, stage);
}

// --- results

static int strip_rows(const CudaPlan *plan)
{
    return plan->is_bf16 ? PIECE_ROWS : LANES_DOWN;
}

// So that a warp's stores meet in no bank: its lanes are 1 or 2 columns apart, or 4.
static int strip_line(const CudaPlan *plan)
{
    return plan->tile.warp_cols + (plan->is_bf16 || plan->operand[1].over_sum ? 8 : 1);
}

int64_t cuda_strip_floats(const CudaPlan *plan)
{
    return (int64_t)strip_rows(plan) * strip_line(plan);
}

// Sums m of every lane into the warp's strip.
static void fill_strip(ProductCuda *T, Scope *at, const char *strip, const char *m)
{
    Emitter *E = T->P.E;
    const int line = strip_line(&T->plan), across = pieces_across(&T->plan);
    const char *n = emit_name(E, "n"), *lane = T->lane;
    scope_line(at, "#pragma unroll");
    Scope *pieces = scope_block(E, at, arena_printf(E->arena, "for (int %s = 0; %s < %d; %s++) {", n, n, across, n));
    if (T->plan.is_bf16) {
        const char *to = emit_name(E, "to");
        scope_line(pieces, "float *const %s = %s + %s / 4 * %d + %s*%d + %s %% 4 * 2;", to, strip, lane, line, n, PIECE_COLS, lane);
        scope_line(pieces, "put2_s(%s, %s[%s][%s][0], %s[%s][%s][1]);", to, T->acc, m, n, T->acc, m, n);
        scope_line(pieces, "put2_s(%s + %d, %s[%s][%s][2], %s[%s][%s][3]);", to, 8 * line, T->acc, m, n, T->acc, m, n);
    } else if (T->plan.operand[1].over_sum) {
        scope_line(pieces, "%s[%s / %d * %d + %s*%d + %s %% %d] = %s[%s][%s];", strip, lane, LANES_ACROSS, line, n, LANES_ACROSS, lane,
                   LANES_ACROSS, T->acc, m, n);
    } else {
        scope_line(pieces, "%s[%s / %d * %d + %s / 4 * %d + %s %% %d * 4 + %s %% 4] = %s[%s][%s];", strip, lane, LANES_ACROSS, line, n,
                   4 * LANES_ACROSS, lane, LANES_ACROSS, n, T->acc, m, n);
    }
    scope_close(E, pieces);
}

// The row inside the warp's tile of row `row` of strip m.
static const char *strip_row(ProductCuda *T, const char *m, const char *row)
{
    if (T->plan.is_bf16)
        return arena_printf(T->P.E->arena, "%s*%d + %s", m, PIECE_ROWS, row);
    if (T->plan.operand[0].over_sum)
        return arena_printf(T->P.E->arena, "%s*%d + %s", m, LANES_DOWN, row);
    return arena_printf(T->P.E->arena, "%s / 4 * %d + (%s)*4 + %s %% 4", m, 4 * LANES_DOWN, row, m);
}

// A division of floats is some thirty instructions with a way aside that is seldom taken. Copies of it side by side give ptxas so many ways
// that it keeps one of them in memory, where registers are plenty; and they hide no latency that matters.
static bool divides(const Graph *g, ValueId sum, ValueId v, int depth)
{
    const Node *n = &g->node[v];
    if (n->op == OP_DIV && n->type.dtype != DTYPE_I32)
        return true;
    for (size_t i = 0; i < n->n_in && depth > 0; i++)
        if (n->in[i] != sum && !value_is_stored(g, n->in[i]) && divides(g, sum, n->in[i], depth - 1))
            return true;
    return false;
}

static bool results_divide(const Emitter *E, const Space *space)
{
    for (size_t m = 0; m < space->n_maps; m++)
        if (E->g->node[space->map[m].value].kernel == E->kernel && space->map[m].value != space->anchor
            && divides(E->g, space->anchor, space->map[m].value, EPILOGUE_DEPTH))
            return true;
    return false;
}

void cuda_emit_results(ProductCuda *T, Scope *at, const Space *space)
{
    Emitter *E = T->P.E;
    const CudaPlan *plan = &T->plan;
    const AxisGroup *group = T->P.p.group;
    const int cols = plan->tile.warp_cols, strip_floats = (int)cuda_strip_floats(plan);
    const char *strip = emit_name(E, "strip"), *m = emit_name(E, "m"), *e = emit_name(E, "e"), *i = emit_name(E, "i"), *j = emit_name(E, "j");
    const char *y = emit_name(E, "y"), *wi = warp_term(T, true), *wj = warp_term(T, false);
    scope_line(at, "float *const %s = dynamic + %s*%d;", strip, T->warp, strip_floats);
    scope_line(at, "#pragma unroll");
    Scope *strips = scope_block(E, at, arena_printf(E->arena, "for (int %s = 0; %s < %d; %s++) {", m, m, pieces_down(plan), m));
    fill_strip(T, strips, strip, m);
    scope_line(strips, "__syncwarp();");
    if (results_divide(E, space))
        scope_line(strips, "#pragma unroll 1");
    Scope *each = scope_set_threads(scope_block(E, strips, arena_printf(E->arena, "for (int %s = %s; %s < %d; %s += 32) {", e, T->lane, e,
                                                                        strip_rows(plan) * cols, e)));
    const char *in_strip = arena_printf(E->arena, "%s / %d", e, cols);
    scope_line(each, "const long %s = %s + %s%s, %s = %s + %s%s %% %d;", i, T->i0, wi, strip_row(T, m, in_strip), j, T->j0, wj, e, cols);
    const char *end_i = T->rows_end, *end_j = group[CLASS_COL].size % plan->tile.cols ? product_number(E, group[CLASS_COL].size) : NULL;
    Text head = text_make(E->arena);
    if (end_i)
        text_printf(&head, "if (%s < %s", i, end_i);
    if (end_j)
        text_printf(&head, "%s%s < %s", end_i ? " && " : "if (", j, end_j);
    text_add(&head, end_i || end_j ? ") {" : "{");
    Scope *inside = scope_set_threads(scope_block(E, each, text_str(&head)));
    scope_line(inside, "const float %s = %s[%s / %d * %d + %s %% %d];", y, strip, e, cols, strip_line(plan), e, cols);
    if (T->part) {
        scope_line(inside, "%s[%s*%lld + %s] = %s;", T->part, i, N(group[CLASS_COL].size), j, y);
        scope_close(E, inside);
        scope_close(E, each);
        scope_line(strips, "__syncwarp();");
        scope_close(E, strips);
        return;
    }
    const char *row = i;
    if (T->P.gather && !T->P.gather_sum) {
        row = emit_name(E, "row");
        scope_line(inside, "const long %s = %s[%s];", row, T->P.gather, i);
    }
    product_epilogue_point(&T->P, inside, space, scope_var(E, inside, row, 0, product_top_index(group[CLASS_ROW].size), 1),
                           scope_var(E, inside, j, 0, product_top_index(group[CLASS_COL].size), 1), val_name(y, VAL_FLOAT, false));
    scope_close(E, inside);
    scope_close(E, each);
    scope_line(strips, "__syncwarp();");
    scope_close(E, strips);
}
