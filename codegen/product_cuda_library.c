// Products that a library multiplies (cuBLASLt), where a schedule says so: knob gpu_library. Nothing is fused into those: operands that
// are not stored as they are multiplied are made ready before (product_cuda_ahead.c), and what follows the product is a launch of
// its own, unless the kernel stores the product and nothing else. The kernel keeps its own text, for devices without the library.
#include "product_cuda.h"

enum { WORK_UNIT = 1 << 20, WORK_MOST = 32 };       // bytes; units

bool cuda_wants_library(const ProductCuda *T, const Lower *L)
{
    return T->may_part && L->schedule.knob[KNOB_GPU_LIBRARY] > 0;
}

// Where an operand lies. False: no matrix of a library does.
static bool find_operand(const ProductCuda *T, int which, MatrixPlace *out)
{
    const Graph *g = T->P.E->g;
    const CudaOperand *o = &T->plan.operand[which];
    const AxisGroup *group = T->P.p.group;
    const int64_t n_x = group[which == 0 ? CLASS_ROW : CLASS_COL].size, n_k = group[CLASS_SUM].size;
    if (o->load != CUDA_COPY)
        return false;
    *out = (MatrixPlace){.offset = o->affine.offset, .outer = o->outer, .step = o->step};
    if (!affine_collapse(g, T->P.p.operand[which], &o->affine, &group[CLASS_BATCH], &out->batch))
        return false;
    const bool has_lines = (out->step == 1 && (out->outer >= n_k || n_x == 1)) || (out->outer == 1 && (out->step >= n_x || n_k == 1));
    return has_lines && out->offset >= 0 && out->batch >= 0 && out->outer >= 0 && out->step >= 0;
}

// The value that the kernel stores, if it is the product as the library gives it: 0: there is more to do.
static ValueId find_result(const ProductCuda *T, const Lower *L, MatrixPlace *out)
{
    const Graph *g = L->g;
    const AxisGroup *group = T->P.p.group;
    const ValueId v = L->member[0];
    const Node *n = &g->node[v];
    const bool is_cast = n->op == OP_CAST && n->in[0] == T->P.p.value;      // a sum of bf16 terms, as float32 or rounded
    Affine affine;
    if (L->n_members != 1 || (v != T->P.p.value && !is_cast) || (n->type.dtype != DTYPE_F32 && (n->type.dtype != DTYPE_BF16 || !T->plan.is_bf16))
        || !value_affine(g, v, &affine) || affine.root != v || !affine_collapse(g, v, &affine, &group[CLASS_ROW], &out->outer)
        || !affine_collapse(g, v, &affine, &group[CLASS_COL], &out->step) || !affine_collapse(g, v, &affine, &group[CLASS_BATCH], &out->batch))
        return 0;
    out->offset = affine.offset;
    const bool has_lines = (out->step == 1 && (out->outer >= group[CLASS_COL].size || group[CLASS_ROW].size == 1))
                        || (out->outer == 1 && (out->step >= group[CLASS_ROW].size || group[CLASS_COL].size == 1));
    return has_lines ? v : 0;
}

// Room for parts of the sum: some for every result, a whole number of units.
static int64_t work_bytes(const ProductCuda *T)
{
    const AxisGroup *group = T->P.p.group;
    const double wanted = 32.0 * (double)group[CLASS_BATCH].size * (double)group[CLASS_ROW].size * (double)group[CLASS_COL].size / WORK_UNIT;
    return (wanted > WORK_MOST ? WORK_MOST : wanted < 1 ? 1 : (int64_t)wanted) * WORK_UNIT;
}

bool cuda_find_library(ProductCuda *T, const Lower *L)
{
    LibraryProduct *l = &T->library;
    const AxisGroup *group = T->P.p.group;
    *l = (LibraryProduct){.way = L->schedule.knob[KNOB_GPU_LIBRARY], .type = T->plan.is_bf16 ? DTYPE_BF16 : DTYPE_F32, .result = DTYPE_F32,
                          .batch = group[CLASS_BATCH].size, .rows = group[CLASS_ROW].size, .cols = group[CLASS_COL].size, .sum = group[CLASS_SUM].size};
    if (!cuda_wants_library(T, L) || !find_operand(T, 0, &l->a) || !find_operand(T, 1, &l->b)) {
        l->way = 0;
        return false;
    }
    T->library_result = find_result(T, L, &l->y);
    if (T->library_result)
        l->result = L->g->node[T->library_result].type.dtype;
    else
        l->y = (MatrixPlace){.batch = l->rows * l->cols, .outer = l->cols, .step = 1};
    return true;
}

// The number of a parameter that the text has.
static uint32_t param_of(Emitter *E, ValueId value, uint32_t workspace)
{
    uint32_t i = 0;
    while (i + 1 < E->n_params && (E->param[i].value != value || E->param[i].workspace != workspace))
        i++;
    return i;
}

static uint32_t operand_param(ProductCuda *T, int which)
{
    const ValueId root = T->ahead[which] ? 0 : T->plan.operand[which].affine.root;
    return param_of(T->P.E, root, T->ahead[which]);
}

const LibraryProduct *cuda_library(ProductCuda *T, Lower *L, uint32_t sums)
{
    LibraryProduct *l = arena_new(L->program->arena, LibraryProduct);
    Emitter *E = T->P.E;
    const uint32_t work = lower_workspace(L, "library", DTYPE_F32, work_bytes(T) / 4);
    emit_workspace(E, work, "work", DTYPE_F32, true);
    *l = T->library;
    l->a.param = operand_param(T, 0);
    l->b.param = operand_param(T, 1);
    l->y.param = param_of(E, sums ? 0 : T->library_result, sums);
    l->work = param_of(E, 0, work);
    return l;
}
