// CUDA texts for families whose skeleton exists in C only: every stored value as plain loops over its own elements, with products
// and reductions inside. Packing launches have nothing to do then. Slow, but complete, and the same numbers.
#include "lower_loop.h"

#include "emit_parts.h"

#include <string.h>

enum { THREADS = 128 };

// The parameters of the C text, in its order; what the loops read besides comes behind.
static void adopt_params(Lower *L, const LowerLaunch *launch, uint64_t writes, Emitter *E)
{
    for (uint32_t a = 0; a < launch->n_args; a++) {
        bool is_written = writes >> a & 1;
        if (launch->workspace[a] == EMIT_KEY)
            emit_key(E, launch->value[a]);
        else if (launch->workspace[a])
            emit_workspace(E, launch->workspace[a], "work", L->workspace[launch->workspace[a]].dtype, is_written);
        else
            emit_param(E, launch->value[a], is_written);
    }
}

static void extend_args(Lower *L, LowerLaunch *launch, const Emitter *E)
{
    launch->n_args = (uint32_t)E->n_params;
    launch->value = arena_array(L->arena, ValueId, E->n_params);
    launch->workspace = arena_array(L->arena, uint32_t, E->n_params);
    for (size_t i = 0; i < E->n_params; i++) {
        launch->value[i] = E->param[i].value;
        launch->workspace[i] = E->param[i].workspace;
    }
}

// The sum of all elements of something.
static bool is_total(const Lower *L, ValueId v)
{
    const Node *n = &L->g->node[v];
    return n->op == OP_REDUCE && n->type.n_axes == 0;
}

// Member m and those behind it with the same axes share a loop: one may overwrite what another reads at the same place. False
// when an earlier one has taken it along.
static bool take_alike(const Lower *L, size_t m, LoopGroup *group)
{
    const Type *type = &L->g->node[L->member[m]].type;
    for (size_t i = 0; i < L->n_members; i++) {
        const Type *other = &L->g->node[L->member[i]].type;
        if (is_total(L, L->member[i]) || other->n_axes != type->n_axes || memcmp(other->axis, type->axis, type->n_axes * sizeof(AxisId)))
            continue;
        if (i < m && i / LOOP_MAX_MEMBERS == m / LOOP_MAX_MEMBERS)
            return false;
        if (i >= m && i / LOOP_MAX_MEMBERS == m / LOOP_MAX_MEMBERS)
            group->member[group->n++] = L->member[i];
    }
    return true;
}

static void write_loops(Lower *L, LowerLaunch *launch, LoopGroup *const *total, size_t n_totals)
{
    Kernel *kernel = &L->program->kernel[launch->kernel];
    Emitter *E = lower_emitter(L, DIALECT_CUDA, NULL);
    Text comment = text_make(L->arena);
    int64_t blocks = 1;
    E->grid_loop = E->one_by_one = true;
    adopt_params(L, launch, kernel->writes, E);
    for (size_t m = 0; m < L->n_members; m++) {
        LoopGroup group = {.wish = {.shape = LOOP_LANES}};
        if (is_total(L, L->member[m]) || !take_alike(L, m, &group))
            continue;
        int64_t n_work = lanes_plan(L, &group);
        lanes_body(L, &group, E);
        blocks = n_work > blocks ? n_work : blocks;
        text_add(&comment, m ? "\n" : "");
        lower_describe(L->g, L->member[m], &comment);
    }
    for (size_t t = 0; t < n_totals; t++) {
        total_body(L, total[t], E);
        blocks = total[t]->n_chunks > blocks ? total[t]->n_chunks : blocks;
    }
    text_add(&comment, ", in plain loops");
    if (E->n_params > 64)
        return;
    extend_args(L, launch, E);
    launch->cuda_blocks = blocks;
    kernel->n_params = launch->n_args;
    kernel->cuda_threads = THREADS;
    kernel->cuda = lower_cuda_function(L, E, text_str(&comment), kernel->name, THREADS / 32);
    kernel->cuda_shared_bytes = 4 * (THREADS / 32);
}

static void write_nothing(Lower *L, LowerLaunch *launch)
{
    Kernel *kernel = &L->program->kernel[launch->kernel];
    Emitter *E = lower_emitter(L, DIALECT_CUDA, NULL);
    adopt_params(L, launch, kernel->writes, E);
    launch->cuda_blocks = 0;                // so it is not launched
    kernel->cuda_threads = 32;
    kernel->cuda = lower_cuda_function(L, E, "nothing: the plain loops of the next kernel read the operands as they are", kernel->name, 1);
}

void lower_plain_cuda_totals(Lower *L, LoopGroup *const *total, size_t n_totals)
{
    KernelFamily family = L->g->kernel[L->kernel];
    if (!L->n_launches || (family != FAMILY_CONTRACT && family != FAMILY_ROWS && family != FAMILY_GROUPED && family != FAMILY_MONARCH))
        return;
    if (L->program->kernel[L->launch[L->n_launches - 1].kernel].cuda)
        return;
    for (size_t i = 0; i + 1 < L->n_launches; i++)
        if (!L->program->kernel[L->launch[i].kernel].cuda)      // one that others share may have its text already
            write_nothing(L, &L->launch[i]);
    write_loops(L, &L->launch[L->n_launches - 1], total, n_totals);
}

void lower_plain_cuda(Lower *L)
{
    lower_plain_cuda_totals(L, NULL, 0);
}
