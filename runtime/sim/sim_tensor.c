// Tensor cores: mma.sync and ldmatrix. Products are exact; with the accumulator they are cut to 25 fraction bits below the largest of
// them, added as integers, and the sum is cut to float32: what published measurements say of the hardware. On numbers whose sums are
// exact this is the exact sum.
#include "sim_state.h"

#include <math.h>
#include <string.h>

enum { FRACTION_BITS = 25, M = 16, N = 8, K_MOST = 16 };

typedef enum Kind { KIND_BF16, KIND_F16, KIND_TF32 } Kind;

static double element(Kind kind, uint32_t bits)
{
    float f;
    if (kind == KIND_F16) {
        const uint16_t h = (uint16_t)bits;
        _Float16 x;
        memcpy(&x, &h, sizeof x);
        return (double)(float)x;
    }
    bits = kind == KIND_BF16 ? bits << 16 : bits & ~0x1fffu;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

static float cut(double x)
{
    const float f = (float)x;
    return fabs((double)f) > fabs(x) ? nextafterf(f, 0.0f) : f;
}

static float add_up(const double *term, int n)
{
    double largest = 0, plain = 0;
    int64_t sum = 0;
    for (int i = 0; i < n; i++) {
        plain += term[i];
        largest = fabs(term[i]) > largest ? fabs(term[i]) : largest;
    }
    if (!isfinite(plain)) {
        const uint32_t nan = 0x7fffffff;
        float f = (float)plain;
        if (isnan(plain))
            memcpy(&f, &nan, sizeof f);
        return f;
    }
    if (largest == 0)
        return 0.0f;
    const int shift = FRACTION_BITS - ilogb(largest);
    for (int i = 0; i < n; i++)
        sum += (int64_t)trunc(ldexp(term[i], shift));
    return cut(ldexp((double)sum, -shift));
}

typedef struct Shape {
    Kind kind;
    int  k;                                 // terms
} Shape;

static Shape shape_of(uint16_t form)
{
    switch (form) {
    case FORM_mma_sync_aligned_m16n8k16_row_col_f32_bf16_bf16_f32: return (Shape){KIND_BF16, 16};
    case FORM_mma_sync_aligned_m16n8k16_row_col_f32_f16_f16_f32:   return (Shape){KIND_F16, 16};
    case FORM_mma_sync_aligned_m16n8k8_row_col_f32_bf16_bf16_f32:  return (Shape){KIND_BF16, 8};
    case FORM_mma_sync_aligned_m16n8k8_row_col_f32_f16_f16_f32:    return (Shape){KIND_F16, 8};
    case FORM_mma_sync_aligned_m16n8k8_row_col_f32_tf32_tf32_f32:  return (Shape){KIND_TF32, 8};
    default:                                                       return (Shape){KIND_TF32, 4};
    }
}

// Fragments: lane l holds of A the rows l/4 and l/4 + 8, of B the column l/4, of C and D the rows of A and the columns 2(l%4), + 1. Terms:
// 16-bit elements come in pairs 2(l%4), + 1 and 8 more for every second register; tf32 one in a register, l%4 and 4 more.
static void gather(const Sim *s, const Warp *w, const PtxInsn *i, Shape shape, double a[M][K_MOST], double b[K_MOST][N])
{
    const bool is_half = shape.kind != KIND_TF32;
    const int n_a = shape.k / (is_half ? 4 : 2), n_b = n_a / 2, first_a = i->n_results, first_b = first_a + n_a;
    for (int l = 0; l < WARP_LANES; l++) {
        for (int r = 0; r < n_a; r++) {
            const uint32_t bits = sim_source(s, w, i->reg[first_a + r])->u32[l];
            const int row = l / 4 + (r & 1) * 8, term = r / 2 * (is_half ? 8 : 4);
            for (int e = 0; e < (is_half ? 2 : 1); e++)
                a[row][is_half ? term + l % 4 * 2 + e : term + l % 4] = element(shape.kind, is_half ? bits >> 16 * e & 0xffff : bits);
        }
        for (int r = 0; r < n_b; r++) {
            const uint32_t bits = sim_source(s, w, i->reg[first_b + r])->u32[l];
            const int term = r * (is_half ? 8 : 4);
            for (int e = 0; e < (is_half ? 2 : 1); e++)
                b[is_half ? term + l % 4 * 2 + e : term + l % 4][l / 4] = element(shape.kind, is_half ? bits >> 16 * e & 0xffff : bits);
        }
    }
}

// The lanes whose result r follows from registers that have a value: rows of A, columns of B and the number that it is added to.
static void find_defined(const Warp *w, const PtxInsn *i, Shape shape, uint32_t defined[4])
{
    const int n_a = shape.k / (shape.kind != KIND_TF32 ? 4 : 2), n_b = n_a / 2, first_a = i->n_results, first_b = first_a + n_a;
    uint32_t rows = UINT32_MAX, cols = UINT32_MAX;
    for (int k = 0; k < n_a + n_b; k++) {
        const int32_t reg = i->reg[first_a + k];
        const uint32_t unset = reg < 0 ? 0 : ~w->defined[reg];
        for (int l = 0; unset && l < WARP_LANES; l++)
            if (unset >> l & 1 && k < n_a)
                rows &= ~(UINT32_C(1) << (l / 4 + (k & 1) * 8));
            else if (unset >> l & 1)
                cols &= ~(UINT32_C(1) << l / 4);
    }
    for (int r = 0; r < 4; r++) {
        const int32_t c = i->reg[first_b + n_b + r];
        defined[r] = c < 0 ? UINT32_MAX : w->defined[c];
        for (int l = 0; l < WARP_LANES; l++)
            if (!(rows >> (l / 4 + r / 2 * 8) & 1) || !(cols >> (l % 4 * 2 + (r & 1)) & 1))
                defined[r] &= ~(UINT32_C(1) << l);
    }
}

static void multiply(Sim *s, Warp *w, const PtxInsn *i)
{
    const Shape shape = shape_of(i->form);
    double a[M][K_MOST] = {0}, b[K_MOST][N] = {0}, term[K_MOST + 1];
    Slot d[4];
    uint32_t defined[4];
    find_defined(w, i, shape, defined);
    gather(s, w, i, shape, a, b);
    const int first_c = i->n_regs - 4;
    for (int r = 0; r < 4; r++) {
        const Slot *c = sim_source(s, w, i->reg[first_c + r]);
        for (int l = 0; l < WARP_LANES; l++) {
            const int row = l / 4 + r / 2 * 8, col = l % 4 * 2 + (r & 1);
            for (int k = 0; k < shape.k; k++)
                term[k] = a[row][k] * b[k][col];
            term[shape.k] = (double)c->f32[l];
            d[r].f32[l] = add_up(term, shape.k + 1);
        }
    }
    for (int r = 0; r < 4; r++) {
        w->reg[i->reg[r]] = d[r];
        w->defined[i->reg[r]] = defined[r];
    }
    s->counters->tensor_flops += (uint64_t)(2 * M * N * shape.k);
}

// Matrix m of 8 by 8 elements of 16 bits: lane 8 m + r names its row r. Lane l gets the elements 2(l%4), + 1 of row l/4, or of column l/4.
static bool load_matrices(Sim *s, Warp *w, const PtxInsn *i, bool is_turned)
{
    uint64_t address[WARP_LANES] = {0};
    uint16_t matrix[4][8][8];
    bool unset[4][8] = {{false}};           // rows
    for (int l = 0; l < 8 * i->n_results; l++) {
        Place row = {0};
        address[l] = sim_address(s, w, &i->address[0], l);
        const Access a = {.insn = i, .warp = w, .thread = w->first_thread + (uint32_t)l, .address = address[l], .bytes = 16, .reads = true};
        if (!sim_find(s, SPACE_SHARED, &a, &row))
            return false;
        memcpy(matrix[l / 8][l % 8], row.data, 16);
        unset[l / 8][l % 8] = memchr(row.defined, 0, 16) != NULL;
        const uint32_t mask = UINT32_C(0xff) << l / 8 * 8;
        if (l % 8 == 7)
            sim_count_shared(s, address, 16, mask);
    }
    for (int m = 0; m < i->n_results; m++)
        for (int l = 0; l < WARP_LANES; l++) {
            const int x = l / 4, y = l % 4 * 2;
            const uint16_t low = is_turned ? matrix[m][y][x] : matrix[m][x][y], high = is_turned ? matrix[m][y + 1][x] : matrix[m][x][y + 1];
            const bool has_none = is_turned ? unset[m][y] || unset[m][y + 1] : unset[m][x];
            w->reg[i->reg[m]].u32[l] = low | (uint32_t)high << 16;
            w->defined[i->reg[m]] = (w->defined[i->reg[m]] & ~(UINT32_C(1) << l)) | (uint32_t)!has_none << l;
        }
    return true;
}

bool sim_tensor(Sim *s, Warp *w, const PtxInsn *i, uint32_t mask)
{
    const char *name = ptx_row[i->form].name;
    if (strncmp(name, "ldmatrix", 8) == 0)
        return (i->address[0].reg == NO_REG || sim_is_defined(s, w, i, i->address[0].reg, mask))
               && load_matrices(s, w, i, strstr(name, "trans") != NULL);
    multiply(s, w, i);
    return true;
}
