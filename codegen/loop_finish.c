// The launches behind a LOOP kernel with sums over rows or of everything: they add up the chunks, in order.
#include "lower_loop.h"

#include "emit_parts.h"

typedef struct FinishStep {
    const LoopGroup *group;
    size_t           member;
    int64_t          count;
} FinishStep;

static void finish_step(Emitter *E, Scope *s, Ix at, void *user)
{
    FinishStep *step = user;
    ValueId v = step->group->member[step->member];
    const Node *n = &E->g->node[v];
    bool vector = s->lanes > 1;
    const char *part = emit_workspace(E, step->group->part[step->member], "part", DTYPE_F32, false);
    const char *name = scope_name(E, s, n->hint ? n->hint : "total");
    scope_line(s, "%s %s = %s;", vector ? "vf" : "float", name, vector ? "set_v(0.0f)" : "0.0f");
    Ix chunk;
    if (E->dialect == DIALECT_CUDA)         // so that many loads are under way
        scope_line(s, "#pragma unroll 16");
    Scope *loop = scope_loop(E, s, "chunk", 0, step->group->n_chunks, 1, &chunk);
    Text t = text_make(E->arena);
    ix_print(E->ix, ix_add(E->ix, ix_scale(E->ix, chunk, step->count), at), false, 0, NULL, &t);
    scope_line(loop, vector ? "%s += load_v(%s + %s);" : "%s += %s[%s];", name, part, text_str(&t));
    scope_close(E, loop);
    Env env = env_of(E, v);
    loop_set(E, &env, n->type.axis, n->type.n_axes, at);
    emit_store(E, s, v, &env, val_name(name, VAL_FLOAT, vector));
}

// Columns of a work item.
static int64_t finish_block(Dialect dialect)
{
    return dialect == DIALECT_C ? 256 : 32;
}

static void finish_body(const LoopGroup *group, size_t member, int64_t count, Emitter *E)
{
    Ix item;
    const int64_t block = finish_block(E->dialect), n_blocks = (count + block - 1) / block;
    FinishStep step = {group, member, count};
    Scope *s = loop_items(E, "block", n_blocks, &item);
    if (count == 1) {
        Scope *single = loop_single(E, s);
        finish_step(E, single, ix_const(E->ix, 0), &step);
        loop_single_end(E, s, single);
    } else {
        LoopSpan span = {.hint = "i", .size = count};
        if (n_blocks > 1)
            loop_block(E, s, item, block, count, &span);
        loop_lanes(E, s, &span, finish_step, &step);
    }
    loop_items_end(E, s);
}

void lower_finish(Lower *L, LoopGroup *group)
{
    for (size_t m = 0; m < group->n; m++) {
        if (!group->is_column[m])
            continue;
        const Node *n = &L->g->node[group->member[m]];
        int64_t count = loop_count(L->g, n->type.axis, n->type.n_axes), n_blocks = (count + 255) / 256;
        const int64_t cuda_block = finish_block(DIALECT_CUDA), cuda_blocks = (count + cuda_block - 1) / cuda_block;
        Text comment = text_make(L->arena);
        lower_describe(L->g, group->member[m], &comment);
        text_printf(&comment, ": adds up %lld chunks", (long long)group->n_chunks);
        LowerText t = {.hint = n->hint ? n->hint : "total", .comment = text_str(&comment), .n_work = n_blocks, .grain = 4,
                       .cuda_blocks = cuda_blocks, .cuda_threads = cuda_block, .flops = (double)(count * group->n_chunks),
                       .bytes = 4.0 * (double)(count * group->n_chunks)};
        LoopGroup c = *group, cuda = *group;
        c.n_chunks = group->c_chunks ? group->c_chunks : group->n_chunks;
        t.c = lower_emitter(L, DIALECT_C, NULL);
        finish_body(&c, m, count, t.c);
        t.cuda = lower_emitter(L, DIALECT_CUDA, t.c);
        t.cuda->one_by_one = true;          // many threads for few columns
        finish_body(&cuda, m, count, t.cuda);
        lower_launch(L, &t);
    }
}
