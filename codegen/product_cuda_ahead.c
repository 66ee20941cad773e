// Operands that a launch before the product computes or rounds: where tiles would read them many times, half the bytes and plain
// copies are worth more than the way through memory. The result is the operand itself, axis by axis, lines that begin at whole
// chunks; products of the same operand share the launch.
#include "product_cuda.h"

#define N(x) ((long long)(x))

enum { THREADS = 256, EACH = 4, PLAIN_REUSE = 4, COMPUTED_REUSE = 3 };

static const double least_flops = 1 << 27;  // below, a launch costs more than it saves

static AxisGroup all_axes(const Graph *g, const Type *type)
{
    AxisGroup all = {.n = type->n_axes, .size = 1};
    for (int i = 0; i < type->n_axes; i++) {
        all.axis[i] = type->axis[i];
        all.size *= graph_size(g, type->axis[i]);
    }
    return all;
}

// Whether the last axis is alone in its class, so that there may be room between its lines.
static bool has_own_lines(const ProductCuda *T, const Type *type)
{
    for (int c = 0; c < CLASS_COUNT; c++) {
        const AxisGroup *group = &T->P.p.group[c];
        for (int i = 0; i < group->n; i++)
            if (group->axis[i] == type->axis[type->n_axes - 1])
                return group->n == 1 && c != CLASS_BATCH;
    }
    return false;
}

static int64_t line_pitch(const ProductCuda *T, const Type *type)
{
    const Graph *g = T->P.E->g;
    const int64_t per = 16 / cuda_element_bytes(&T->plan), inner = graph_size(g, type->axis[type->n_axes - 1]);
    return has_own_lines(T, type) ? (inner + per - 1) / per * per : inner;
}

Affine cuda_ahead_affine(const ProductCuda *T, int which)
{
    const Graph *g = T->P.E->g;
    const Type *type = &g->node[T->P.p.operand[which]].type;
    Affine affine = {.root = 0};
    int64_t stride = 1;
    for (int i = type->n_axes - 1; i >= 0; i--) {
        affine.stride[i] = stride;
        stride *= i == type->n_axes - 1 ? line_pitch(T, type) : graph_size(g, type->axis[i]);
    }
    return affine;
}

// How often tiles read the operand.
static double reuse(const ProductCuda *T, int which)
{
    const double down = (double)T->plan.down;
    if (which == 0)
        return (double)T->plan.across;
    return T->P.gather && !T->P.gather_sum ? down / (double)T->P.p.group[CLASS_BATCH].size : down;
}

bool cuda_wants_ahead(const ProductCuda *T, int which, const Lower *L)
{
    const CudaOperand *o = &T->plan.operand[which];
    const Graph *g = T->P.E->g;
    if (!L->target->is_cuda || o->load == CUDA_COPY || g->node[T->P.p.operand[which]].type.n_axes == 0)
        return false;
    if (cuda_wants_library(T, L))
        return true;                        // nobody else would compute it
    if (L->schedule.knob[KNOB_GPU_AHEAD])
        return L->schedule.knob[KNOB_GPU_AHEAD] == 2;
    return cuda_flops(T) >= least_flops && reuse(T, which) >= (o->load == CUDA_WIDE ? PLAIN_REUSE : COMPUTED_REUSE);
}

// Whether the operand is stored floats in their own order, of which four at a time may be read.
static bool is_plain(const ProductCuda *T, int which, const AxisGroup *all, Affine *affine)
{
    const Graph *g = T->P.E->g;
    const ValueId operand = T->P.p.operand[which];
    int64_t stride;
    return (T->plan.is_bf16 ? value_affine_rounded(g, operand, affine) : value_affine(g, operand, affine))
        && g->node[affine->root].type.dtype == DTYPE_F32 && g->node[affine->root].kernel != T->P.E->kernel
        && affine_collapse(g, operand, affine, all, &stride) && stride == 1 && affine->offset % EACH == 0
        && graph_size(g, all->axis[all->n - 1]) % EACH == 0;
}

// Four elements from number `linear` on, of which `inside` (C text) are there, into v.
static void emit_four(ProductCuda *T, Scope *at, int which, const AxisGroup *all, const char *linear, const char *inside, const char *v)
{
    Emitter *E = T->P.E;
    const ValueId value = pack_value(&T->P, which);
    Affine affine;
    if (is_plain(T, which, all, &affine)) {
        const char *from = emit_param(E, affine.root, false);
        scope_line(at, "wide_s(%s + %s%s, %s, %s);", from, affine.offset ? arena_printf(E->arena, "%lld + ", N(affine.offset)) : "", linear, inside, v);
        return;
    }
    const char *h = emit_name(E, "h"), *n = emit_name(E, "n");
    scope_line(at, "#pragma unroll");
    Scope *loop = scope_set_threads(scope_block(E, at, arena_printf(E->arena, "for (int %s = 0; %s < %d; %s++) {", h, h, EACH, h)));
    scope_line(loop, "%s[%s] = 0.0f;", v, h);
    Scope *some = scope_set_threads(scope_block(E, loop, arena_printf(E->arena, "if (%s < %s) {", h, inside)));
    scope_line(some, "const long %s = %s + %s;", n, linear, h);
    Env env = env_of(E, value);
    env_group(E, &env, all, scope_var(E, some, n, 0, product_top_index(all->size), 1));
    const Val val = val_float(E, emit_value(E, some, value, &env));
    scope_line(some, "%s[%s] = %s;", v, h, val_text(E, val, PREC_COMPARE));
    scope_close(E, some);
    scope_close(E, loop);
}

uint32_t cuda_launch_ahead(ProductCuda *like, int which, Lower *L)
{
    ProductCuda T = *like;
    const Graph *g = L->g;
    const Node *n = &g->node[T.P.p.operand[which]];
    const AxisGroup all = all_axes(g, &n->type);
    const int64_t inner = graph_size(g, n->type.axis[n->type.n_axes - 1]), pitch = line_pitch(&T, &n->type);
    const int64_t count = all.size / inner * pitch, room = (count + EACH - 1) / EACH * EACH;
    const uint32_t workspace = lower_workspace(L, T.plan.is_bf16 ? "rounded" : "computed", T.plan.is_bf16 ? DTYPE_BF16 : DTYPE_F32, room);
    Affine affine;
    const bool is_shared = is_plain(&T, which, &all, &affine);
    if (is_shared) {                        // who rounds the same stretch of the same value into the same lines shares it
        L->workspace[workspace].made_of = affine.root;
        L->workspace[workspace].made_key = ((uint64_t)count * 31 + (uint64_t)inner) * 31 + (uint64_t)affine.offset * 2 + T.plan.is_bf16;
    }
    Emitter *c = lower_emitter(L, DIALECT_C, NULL), *E = T.P.E = lower_emitter(L, DIALECT_CUDA, NULL);
    c->n_uses = E->n_uses = NULL;           // what else this kernel reads must not show in a text that others share
    const char *to = emit_workspace(E, workspace, T.plan.is_bf16 ? "rounded" : "computed", T.plan.is_bf16 ? DTYPE_BF16 : DTYPE_F32, true);
    const char *e = emit_name(E, "e"), *v = emit_name(E, "v"), *linear = e, *inside = emit_name(E, "inside");
    scope_line(E->top, "const long %s = (blockIdx.x*%dL + threadIdx.x)*%d;", e, THREADS, EACH);
    Scope *some = scope_set_threads(scope_block(E, E->top, arena_printf(E->arena, "if (%s < %lld) {", e, N(room))));
    if (pitch == inner) {
        scope_line(some, "const long %s = %lld - %s;", inside, N(count), e);
    } else {
        linear = emit_name(E, "linear");
        scope_line(some, "const long %s = %s / %lld * %lld + %s %% %lld, %s = %lld - %s %% %lld;", linear, e, N(pitch), N(inner), e, N(pitch), inside,
                   N(inner), e, N(pitch));
    }
    scope_line(some, "float %s[%d];", v, EACH);
    emit_four(&T, some, which, &all, linear, inside, v);
    if (T.plan.is_bf16) {
        scope_line(some, "round4_s(%s + %s, %s);", to, e, v);
    } else {
        scope_line(some, "put2_s(%s + %s, %s[0], %s[1]);", to, e, v, v);
        scope_line(some, "put2_s(%s + %s + 2, %s[2], %s[3]);", to, e, v, v);
    }
    scope_close(E, some);
    product_share_params(c, E);
    Text comment = text_make(L->arena);
    lower_describe(g, T.P.p.operand[which], &comment);
    text_add(&comment, T.plan.is_bf16 ? " for a GPU: rounded once, before products read it" : " for a GPU: computed once, before products read it");
    lower_launch(L, &(LowerText){.hint = n->hint ? n->hint : "operand", .comment = text_str(&comment), .c = c, .cuda = E, .n_work = 1, .grain = 1,
                                 .cuda_blocks = (room / EACH + THREADS - 1) / THREADS, .cuda_threads = THREADS, .is_shared = is_shared});
    return workspace;
}
