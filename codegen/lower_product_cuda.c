// A product in CUDA, plainly: a block of 64 threads makes a 32 x 32 tile of c, 4 x 4 elements a thread, from strips of 16
// terms that the threads put into shared memory together. Operands and epilogue are emitted as in the C text, so they
// mean the same; speed is a matter for later.
#include "lower_product.h"

#define N(x) ((long long)(x))

enum { SIDE = 32, TERMS = 16, THREADS = 64, EACH = 4 };

static Ix bounded(Emitter *E, Scope *at, const char *name, int64_t size)
{
    return scope_var(E, at, name, 0, product_top_index(size), 1);
}

static int64_t tiles(int64_t n)
{
    return (n + SIDE - 1) / SIDE;
}

// shared[base + k*SIDE + x] = element x0 + x, k0 + k of the operand, 0 outside.
static void emit_strip(ProductText *P, Scope *at, int operand, const char *x0, const char *k0, int base)
{
    Emitter *E = P->E;
    const AxisGroup *outer = &P->p.group[operand == 0 ? CLASS_ROW : CLASS_COL], *sum = &P->p.group[CLASS_SUM];
    const char *e = emit_name(E, "e"), *x = emit_name(E, "x"), *k = emit_name(E, "k");
    Scope *loop = scope_block(E, at, arena_printf(E->arena, "for (unsigned %s = threadIdx.x; %s < %d; %s += blockDim.x) {", e, e,
                                                  SIDE * TERMS, e));
    scope_set_threads(loop);
    scope_line(loop, "const long %s = %s + %s %% %d, %s = %s + %s / %d;", x, x0, e, SIDE, k, k0, e, SIDE);
    scope_line(loop, "shared[%d + %s] = 0.0f;", base, e);
    Scope *inside = scope_block(E, loop, arena_printf(E->arena, "if (%s < %lld && %s < %lld) {", x, N(outer->size), k,
                                                      N(sum->size)));
    Env env = env_of(E, P->p.operand[operand]);
    env_batch(P, &env);
    env_group(E, &env, outer, bounded(E, inside, x, outer->size));
    env_group(E, &env, sum, bounded(E, inside, k, sum->size));
    const Val val = val_float(E, emit_value(E, inside, P->p.operand[operand], &env));
    scope_line(inside, "shared[%d + %s] = %s;", base, e, val_text(E, val, PREC_COMPARE));
    scope_close(E, inside);
    scope_close(E, loop);
}

static void emit_terms(ProductText *P, Scope *at, const char *acc, const char *i0, const char *j0)
{
    Emitter *E = P->E;
    const char *k0 = emit_name(E, "k0");
    Scope *terms = scope_block(E, at, arena_printf(E->arena, "for (long %s = 0; %s < %lld; %s += %d) {", k0, k0,
                                                   N(P->p.group[CLASS_SUM].size), k0, TERMS));
    emit_strip(P, terms, 0, i0, k0, 0);
    emit_strip(P, terms, 1, j0, k0, SIDE * TERMS);
    scope_line(terms, "__syncthreads();");
    Scope *step = scope_block(E, terms, arena_printf(E->arena, "for (int k = 0; k < %d; k++) {", TERMS));
    scope_line(step, "const float *const a = shared + k*%d + threadIdx.x / %d * %d;", SIDE, SIDE / EACH, EACH);
    scope_line(step, "const float *const b = shared + %d + k*%d + threadIdx.x %% %d * %d;", SIDE * TERMS, SIDE, SIDE / EACH, EACH);
    scope_line(step, "for (int q = 0; q < %d; q++)", EACH * EACH);
    scope_line(step, "    %s[q] = fmaf(a[q / %d], b[q %% %d], %s[q]);", acc, EACH, EACH, acc);
    scope_close(E, step);
    scope_line(terms, "__syncthreads();");
    scope_close(E, terms);
}

// The C text may read an operand from the workspace that the CUDA text reads in place: both take the same arguments.
void product_share_params(Emitter *c, const Emitter *cuda)
{
    for (size_t i = c->n_params; i < cuda->n_params; i++)
        scope_line(c->top, "(void)%s;           // CUDA only", emit_param(c, cuda->param[i].value, cuda->param[i].is_written));
}

void product_cuda(Lower *L, const Product *p, const Space *space, LowerText *text)
{
    Emitter *E = lower_emitter(L, DIALECT_CUDA, text->c);
    ProductText P = {.E = E, .p = *p};
    const int64_t rows = p->group[CLASS_ROW].size, cols = p->group[CLASS_COL].size, batch = p->group[CLASS_BATCH].size;
    const int64_t across = tiles(cols), down = tiles(rows);
    Scope *top = scope_block(E, E->top, "{");
    const char *g = emit_name(E, "g"), *i0 = emit_name(E, "i0"), *j0 = emit_name(E, "j0"), *acc = emit_name(E, "acc");
    if (batch > 1)
        scope_line(top, "const long %s = blockIdx.x / %lld;", g, N(across * down));
    scope_line(top, "const long %s = blockIdx.x / %lld %% %lld * %d, %s = blockIdx.x %% %lld * %d;", i0, N(across), N(down),
               SIDE, j0, N(across), SIDE);
    scope_line(top, "float %s[%d] = {0.0f};", acc, EACH * EACH);
    P.batch = batch > 1 ? scope_var(E, top, g, 0, batch - 1, 1) : ix_const(E->ix, 0);
    emit_terms(&P, top, acc, i0, j0);
    const char *q = emit_name(E, "q"), *i = emit_name(E, "i"), *j = emit_name(E, "j"), *y = emit_name(E, "y");
    Scope *each = scope_block(E, top, arena_printf(E->arena, "for (int %s = 0; %s < %d; %s++) {", q, q, EACH * EACH, q));
    scope_set_threads(each);
    scope_line(each, "const long %s = %s + threadIdx.x / %d * %d + %s / %d;", i, i0, SIDE / EACH, EACH, q, EACH);
    scope_line(each, "const long %s = %s + threadIdx.x %% %d * %d + %s %% %d;", j, j0, SIDE / EACH, EACH, q, EACH);
    Scope *inside = scope_block(E, each, arena_printf(E->arena, "if (%s < %lld && %s < %lld) {", i, N(rows), j, N(cols)));
    scope_line(inside, "const float %s = %s[%s];", y, acc, q);
    product_epilogue_point(&P, inside, space, bounded(E, inside, i, rows), bounded(E, inside, j, cols),
                           val_name(y, VAL_FLOAT, false));
    scope_close(E, inside);
    scope_close(E, each);
    scope_close(E, top);
    product_share_params(text->c, E);
    text->cuda = E;
    text->cuda_blocks = batch * across * down;
    text->cuda_threads = THREADS;
    text->cuda_shared_floats = 2 * SIDE * TERMS;
}
