// Operands of a product in CUDA on their way into shared memory: copied by the hardware as they are, or through registers - read
// before the tile at hand is multiplied, put down after it - when they have to be rounded or computed.
#include "product_cuda.h"

#include <assert.h>
#include <string.h>

#define N(x) ((long long)(x))

enum { CHUNK = 16 };                        // bytes

static CudaOperand *operand_of(ProductCuda *T, int which)
{
    return &T->plan.operand[which];
}

static const AxisGroup *outer_of(const ProductCuda *T, int which)
{
    return &T->P.p.group[which == 0 ? CLASS_ROW : CLASS_COL];
}

bool cuda_is_copied(const ProductCuda *T, int which)
{
    return T->plan.operand[which].load == CUDA_COPY;
}

const char *cuda_swizzle(ProductCuda *T, int which, const char *line)
{
    const CudaOperand *o = operand_of(T, which);
    const int bytes = o->line * cuda_element_bytes(&T->plan);
    if (!o->over_sum && !T->plan.is_bf16)
        return "0";                         // read along the line only
    const char *form = bytes >= 128 ? "(%s & 7)" : bytes == 64 ? "(%s >> 1 & 3)" : "(%s >> 2 & 1)";
    return arena_printf(T->P.E->arena, form, line);
}

// The units of a stage that a thread moves: which line and which element of it, which row or column x and term k.
typedef struct Unit {
    Scope      *loop;
    const char *e, *line, *c, *x, *k;
} Unit;

static int n_units(const ProductCuda *T, int which)
{
    const CudaOperand *o = &T->plan.operand[which];
    const int units = o->n_lines * o->line / o->unit;
    assert(units % T->plan.threads == 0 && "every thread moves as many units");
    return units / T->plan.threads;
}

static Unit open_units(ProductCuda *T, Scope *at, int which, const char *k0)
{
    Emitter *E = T->P.E;
    const CudaOperand *o = operand_of(T, which);
    Unit u = {.e = emit_name(E, "e"), .line = emit_name(E, "line"), .c = emit_name(E, "c"), .x = emit_name(E, "x"), .k = emit_name(E, "k")};
    const char *n = emit_name(E, "u"), *x0 = which == 0 ? T->i0 : T->j0;
    scope_line(at, "#pragma unroll");
    u.loop = scope_set_threads(scope_block(E, at, arena_printf(E->arena, "for (int %s = 0; %s < %d; %s++) {", u.e, u.e, n_units(T, which), u.e)));
    scope_line(u.loop, "const int %s = %s*%d + (int)threadIdx.x, %s = %s / %d, %s = %s %% %d%s;", n, u.e, T->plan.threads, u.line, n,
               o->line / o->unit, u.c, n, o->line / o->unit, o->unit > 1 ? arena_printf(E->arena, "*%d", o->unit) : "");
    if (!k0)
        return u;
    scope_line(u.loop, "const long %s = %s + %s, %s = %s + %s;", u.x, x0, o->over_sum ? u.line : u.c, u.k, k0, o->over_sum ? u.c : u.line);
    return u;
}

// Where the unit lies in its stage, in bytes.
static const char *unit_place(ProductCuda *T, int which, const Unit *u)
{
    const CudaOperand *o = operand_of(T, which);
    const int bytes = cuda_element_bytes(&T->plan), per = CHUNK / bytes;
    const char *in_chunk = o->unit == per ? "" : arena_printf(T->P.E->arena, " + %s %% %d*%d", u->c, per, bytes);
    const char *swizzle = cuda_swizzle(T, which, u->line);
    const char *at = o->at ? arena_printf(T->P.E->arena, "%lld + ", N(o->at)) : "";
    if (!strcmp(swizzle, "0"))
        return arena_printf(T->P.E->arena, "%s%s*%d + %s*%d", at, u->line, o->line * bytes, u->c, bytes);
    return arena_printf(T->P.E->arena, "%s%s*%d + (%s / %d ^ %s)*%d%s", at, u->line, o->line * bytes, u->c, per, swizzle, CHUNK, in_chunk);
}

static const char *row_limit(const ProductCuda *T, int which)
{
    const AxisGroup *outer = outer_of(T, which);
    if (which == 0)
        return T->rows_end;
    return outer->size % T->plan.tile.cols == 0 ? NULL : arena_printf(T->P.E->arena, "%lld", N(outer->size));
}

// How many of the unit's elements are inside, as C text: all, none, or what is left of the line. Without `bounded` it may be any
// number below 0 and above the unit.
static const char *unit_inside(ProductCuda *T, int which, const Unit *u, int scale, bool bounded)
{
    Arena *arena = T->P.E->arena;
    const CudaOperand *o = operand_of(T, which);
    const int64_t line_size = (o->over_sum ? &T->P.p.group[CLASS_SUM] : outer_of(T, which))->size;
    const char *outer = row_limit(T, which), *all = arena_printf(arena, "%d", o->unit * scale);
    const char *line_end = o->over_sum ? outer : T->k_end, *end = o->over_sum ? T->k_end : outer;
    const char *line = o->over_sum ? u->x : u->k, *along = o->over_sum ? u->k : u->x;
    const bool whole = line_size % o->unit == 0 && !(end && strpbrk(end, "abcdefghijklmnopqrstuvwxyz"));
    if (!end)
        return line_end ? arena_printf(arena, "%s < %s ? %s : 0", line, line_end, all) : all;
    if (whole)
        return line_end ? arena_printf(arena, "%s < %s && %s < %s ? %s : 0", line, line_end, along, end, all)
                        : arena_printf(arena, "%s < %s ? %s : 0", along, end, all);
    const char *left = scale == 1 ? arena_printf(arena, "%s - %s", end, along) : arena_printf(arena, "(%s - %s)*%d", end, along, scale);
    left = bounded ? arena_printf(arena, "at_most_s(%s, %s)", left, all) : left;
    return line_end ? arena_printf(arena, "%s < %s ? %s : 0", line, line_end, left) : left;
}

static DType stored_type(const ProductCuda *T, int which)
{
    return !T->ahead[which] ? T->P.E->g->node[T->plan.operand[which].affine.root].type.dtype : T->plan.is_bf16 ? DTYPE_BF16 : DTYPE_F32;
}

static const char *buffer_of(ProductCuda *T, int which)
{
    return T->ahead[which] ? emit_workspace(T->P.E, T->ahead[which], "operand", stored_type(T, which), false)
                           : emit_param(T->P.E, T->plan.operand[which].affine.root, false);
}

// The unit's address, as C text.
static const char *unit_from(ProductCuda *T, int which, const Unit *u)
{
    Emitter *E = T->P.E;
    const CudaOperand *o = operand_of(T, which);
    if (!o->gathered) {
        const char *x = o->outer == 1 ? u->x : arena_printf(E->arena, "%s*%lld", u->x, N(o->outer));
        const char *k = o->step == 1 ? u->k : arena_printf(E->arena, "%s*%lld", u->k, N(o->step));
        return arena_printf(E->arena, "%s + %s + %s", o->from, x, k);
    }
    if (!T->P.gather_sum)
        return arena_printf(E->arena, "%s[%s] + %s", o->from, u->e, u->k);
    const char *r = emit_name(E, "r");
    scope_line(u->loop, "const long %s = %s[%s < %s ? %s : %s];", r, T->P.gather, u->k, T->k_end, u->k, T->k_begin);
    const Ix at = scope_var(E, u->loop, r, 0, product_top_index(T->P.p.group[CLASS_SUM].size), 1);
    return arena_printf(E->arena, "%s + %s", product_affine_at(&T->P, T->P.p.operand[which], &o->affine, buffer_of(T, which),
                                                               &T->P.p.group[CLASS_SUM], at), u->x);
}

// The lines of a gathered operand, looked up once.
static void declare_lines(ProductCuda *T, Scope *at, int which, const char *type)
{
    Emitter *E = T->P.E;
    CudaOperand *o = operand_of(T, which);
    const char *name = emit_name(E, "from"), *r = emit_name(E, "r");
    scope_line(at, "const %s *%s[%d];", type, name, n_units(T, which));
    const Unit u = open_units(T, at, which, "0");
    scope_line(u.loop, "const long %s = %s[%s < %s ? %s : %s];", r, T->P.gather, u.x, T->rows_end, u.x, T->i0);
    const Ix row = scope_var(E, u.loop, r, 0, product_top_index(outer_of(T, which)->size), 1);
    scope_line(u.loop, "%s[%s] = %s;", name, u.e, product_affine_at(&T->P, T->P.p.operand[which], &o->affine,
                                                                    buffer_of(T, which), outer_of(T, which), row));
    scope_close(E, u.loop);
    o->from = name;
}

void cuda_declare_operand(ProductCuda *T, Scope *at, int which)
{
    Emitter *E = T->P.E;
    CudaOperand *o = operand_of(T, which);
    if (o->load == CUDA_WIDE || o->load == CUDA_EACH) {
        const bool pairs = o->load == CUDA_EACH && T->plan.is_bf16;
        o->next = emit_name(E, "next");
        scope_line(at, "%s %s[%d];", pairs ? "unsigned" : "float", o->next, n_units(T, which) * (o->load == CUDA_WIDE ? o->unit : 1));
    }
    if (o->load == CUDA_EACH || (o->gathered && T->P.gather_sum))
        return;
    const char *type = stored_type(T, which) == DTYPE_F32 ? "float" : "unsigned short";
    if (o->gathered) {
        declare_lines(T, at, which, type);
        return;
    }
    o->from = emit_name(E, "from");
    scope_line(at, "const %s *const %s = %s;", type, o->from,
               product_affine_at(&T->P, T->P.p.operand[which], &o->affine, buffer_of(T, which), NULL, 0));
}

void cuda_emit_copy(ProductCuda *T, Scope *at, int which, const char *stage, const char *k0)
{
    Emitter *E = T->P.E;
    const CudaOperand *o = operand_of(T, which);
    const int bytes = cuda_element_bytes(&T->plan);
    const Unit u = open_units(T, at, which, k0);
    const char *from = unit_from(T, which, &u);
    scope_line(u.loop, "copy%d_s(%s + %s, %s, %s);", o->unit * bytes, stage, unit_place(T, which, &u), from,
               unit_inside(T, which, &u, bytes, true));
    scope_close(E, u.loop);
}

static Ix index_at(ProductCuda *T, Scope *at, const char *name, const char *limit, int64_t size, bool is_looked_up)
{
    Emitter *E = T->P.E;
    (void)limit;
    if (is_looked_up) {
        const char *r = emit_name(E, "r");
        scope_line(at, "const long %s = %s[%s];", r, T->P.gather, name);
        name = r;
    }
    return scope_var(E, at, name, 0, product_top_index(size), 1);
}

// The element at row or column x, term k, as a float variable; 0 outside.
static const char *emit_element(ProductCuda *T, Scope *at, int which, const char *x, const char *k)
{
    Emitter *E = T->P.E;
    const CudaOperand *o = operand_of(T, which);
    const AxisGroup *outer = outer_of(T, which), *sum = &T->P.p.group[CLASS_SUM];
    const char *limit = row_limit(T, which), *v = emit_name(E, "v");
    Text head = text_make(E->arena);
    if (limit)
        text_printf(&head, "if (%s < %s", x, limit);
    if (T->k_end)
        text_printf(&head, "%s%s < %s", limit ? " && " : "if (", k, T->k_end);
    text_add(&head, limit || T->k_end ? ") {" : "{");
    scope_line(at, "float %s = 0.0f;", v);
    Scope *inside = scope_set_threads(scope_block(E, at, text_str(&head)));
    const ValueId value = pack_value(&T->P, which);
    Env env = env_of(E, value);
    env_batch(&T->P, &env);
    env_group(E, &env, outer, index_at(T, inside, x, limit, outer->size, o->gathered && !T->P.gather_sum));
    env_group(E, &env, sum, index_at(T, inside, k, T->k_end, sum->size, o->gathered && T->P.gather_sum));
    const Val val = val_float(E, emit_value(E, inside, value, &env));
    scope_line(inside, "%s = %s;", v, val_text(E, val, PREC_COMPARE));
    scope_close(E, inside);
    return v;
}

static void fetch_each(ProductCuda *T, const Unit *u, int which)
{
    Emitter *E = T->P.E;
    const CudaOperand *o = operand_of(T, which);
    const char *x = u->x, *k = u->k;
    if (!T->plan.is_bf16) {
        scope_line(u->loop, "%s[%s] = %s;", o->next, u->e, emit_element(T, u->loop, which, x, k));
        return;
    }
    const char *pair = emit_name(E, "pair"), *h = emit_name(E, "h"), *moved = emit_name(E, o->over_sum ? "k" : "x");
    scope_line(u->loop, "float %s[2];", pair);
    scope_line(u->loop, "#pragma unroll");
    Scope *both = scope_set_threads(scope_block(E, u->loop, arena_printf(E->arena, "for (int %s = 0; %s < 2; %s++) {", h, h, h)));
    scope_line(both, "const long %s = %s + %s;", moved, o->over_sum ? k : x, h);
    scope_line(both, "%s[%s] = %s;", pair, h, emit_element(T, both, which, o->over_sum ? x : moved, o->over_sum ? moved : k));
    scope_close(E, both);
    scope_line(u->loop, "%s[%s] = pair_s(%s[0], %s[1]);", o->next, u->e, pair, pair);
}

void cuda_emit_fetch(ProductCuda *T, Scope *at, int which, const char *k0)
{
    Emitter *E = T->P.E;
    const CudaOperand *o = operand_of(T, which);
    const Unit u = open_units(T, at, which, k0);
    if (o->load == CUDA_WIDE) {
        const char *from = unit_from(T, which, &u);
        scope_line(u.loop, "wide_s(%s, %s, %s + %s*4);", from, unit_inside(T, which, &u, 1, false), o->next, u.e);
    } else {
        fetch_each(T, &u, which);
    }
    scope_close(E, u.loop);
}

void cuda_emit_put(ProductCuda *T, Scope *at, int which, const char *stage)
{
    Emitter *E = T->P.E;
    const CudaOperand *o = operand_of(T, which);
    const Unit u = open_units(T, at, which, NULL);
    const char *to = arena_printf(E->arena, "%s + %s", stage, unit_place(T, which, &u));
    if (o->load == CUDA_WIDE)
        scope_line(u.loop, "round4_s(%s, %s + %s*4);", to, o->next, u.e);
    else
        scope_line(u.loop, "*(%s *)(%s) = %s[%s];", T->plan.is_bf16 ? "unsigned" : "float", to, o->next, u.e);
    scope_close(E, u.loop);
}
