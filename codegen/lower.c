// What every lowering shares: emitters, workspaces, and the making of a kernel from a finished body.
#include "lower.h"

#include "emit_parts.h"

#include <assert.h>
#include <string.h>

#define NAME_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"

Emitter *lower_emitter(Lower *L, Dialect dialect, const Emitter *like)
{
    Emitter *E = emitter_make(L->arena, L->g, L->target, dialect, L->kernel);
    E->n_uses = L->n_uses;
    E->ready = L->ready;
    E->n_ready = L->n_ready;
    for (size_t i = 0; like && i < like->n_params; i++) {
        const EmitParam *p = &like->param[i];
        if (p->workspace == EMIT_KEY)
            emit_key(E, p->value);
        else if (p->workspace)
            emit_workspace(E, p->workspace, p->name, p->dtype, p->is_written);
        else
            emit_param(E, p->value, p->is_written);
    }
    return E;
}

uint32_t lower_workspace(Lower *L, const char *hint, DType dtype, int64_t count)
{
    if (!L->n_workspaces)                   // [0] is unused
        L->workspace = arena_grow(L->arena, NULL, L->n_workspaces++, &L->workspace_capacity, sizeof *L->workspace);
    L->workspace = arena_grow(L->arena, L->workspace, L->n_workspaces, &L->workspace_capacity, sizeof *L->workspace);
    L->workspace[L->n_workspaces] = (LowerWorkspace){.hint = hint, .dtype = dtype, .count = count};
    return (uint32_t)L->n_workspaces++;
}

void lower_describe(const Graph *g, ValueId v, Text *out)
{
    const Node *n = &g->node[v];
    text_printf(out, "%s[", n->hint ? n->hint : op_row[n->op].text);
    for (int i = 0; i < n->type.n_axes; i++)
        text_printf(out, "%s%s = %lld", i ? ", " : "", g->axis[n->type.axis[i]].name,
                    (long long)graph_size(g, n->type.axis[i]));
    text_char(out, ']');
}

// A name that no kernel of the program has yet.
static const char *kernel_name(Lower *L, const char *hint)
{
    Text base = text_make(L->arena);
    for (const char *s = hint; *s; s++)
        text_char(&base, (*s >= '0' && *s <= '9') || *s == '_' || (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ? *s : '_');
    return arena_printf(L->program->arena, "k%zu_%s", L->program->n_kernels, text_str(&base));
}

static void add_comment(const char *comment, Text *out)
{
    for (const char *s = comment; s && *s;) {
        const char *end = strchr(s, '\n');
        size_t n = end ? (size_t)(end - s) : strlen(s);
        text_add(out, "// ");
        text_add_n(out, s, n);
        text_char(out, '\n');
        s += n + (end != NULL);
    }
}

static const char *const c_type[DTYPE_COUNT] = {
#define DTYPE(id, text, bytes, c, cuda, st) [DTYPE_##id] = c,
#include "dtypes.def"
#undef DTYPE
};

static bool holds_name(const char *text, const char *name)
{
    const size_t n = strlen(name);
    for (const char *s = strstr(text, name); s; s = strstr(s + 1, name))
        if ((s == text || !strchr(NAME_LETTERS, s[-1])) && (!s[n] || !strchr(NAME_LETTERS, s[n])))
            return true;
    return false;
}

static const char *c_function(Lower *L, const LowerText *t, const char *name)
{
    const Emitter *E = t->c;
    Text out = text_make(L->program->arena);
    add_comment(t->comment, &out);
    text_printf(&out, "void %s(void *const *p, long begin, long end, void *scratch)\n{\n", name);
    for (size_t i = 0; i < E->n_params; i++)
        if (holds_name(text_str(&E->top->text), E->param[i].name))
            text_printf(&out, "    %s%s *%s = p[%zu];\n", E->param[i].is_written ? "" : "const ", c_type[E->param[i].dtype],
                        E->param[i].name, i);
    if (!t->uses_scratch)
        text_add(&out, "    (void)scratch;\n");
    text_add(&out, text_str(&E->top->text));
    text_add(&out, "}\n");
    return text_str(&out);
}

static int64_t shared_floats(const LowerText *t)
{
    if (t->cuda_shared_floats)
        return t->cuda_shared_floats;
    // Sums over a block put those of its warps there.
    const int64_t warps = t->cuda_threads > 32 ? t->cuda_threads / 32 : 1;
    return holds_name(text_str(&t->cuda->top->text), "shared") ? warps : 0;
}

const char *lower_cuda_function(Lower *L, const Emitter *E, const char *comment, const char *name, int64_t shared)
{
    Text out = text_make(L->program->arena);
    add_comment(comment, &out);
    text_add(&out, "extern \"C\" __global__ void ");
    if (E->launch_threads)
        text_printf(&out, "__launch_bounds__(%d) ", E->launch_threads);
    text_printf(&out, "%s(", name);
    for (size_t i = 0; i < E->n_params; i++)
        text_printf(&out, "%s%s%s *%s", i ? ", " : "", E->param[i].is_written ? "" : "const ", c_type[E->param[i].dtype],
                    E->param[i].name);
    text_add(&out, ")\n{\n");
    if (holds_name(text_str(&E->top->text), "shared"))
        text_printf(&out, "    __shared__ float shared[%lld];\n", (long long)shared);
    if (holds_name(text_str(&E->top->text), "dynamic"))
        text_add(&out, "    extern __shared__ __align__(128) float dynamic[];\n");
    text_add(&out, text_str(&E->top->text));
    text_add(&out, "}\n");
    return text_str(&out);
}

void lower_launch(Lower *L, const LowerText *t)
{
    Program *p = L->program;
    const char *name = kernel_name(L, t->hint);
    const Emitter *E = t->c;
    assert(!t->cuda || t->cuda->n_params == E->n_params);
    Kernel kernel = {.name = name, .family = L->g->kernel[L->kernel], .n_params = (uint32_t)E->n_params,
                     .text = c_function(L, t, name),
                     .cuda = t->cuda ? lower_cuda_function(L, t->cuda, t->comment, name, shared_floats(t)) : NULL,
                     .scratch_bytes = t->scratch_bytes, .cuda_threads = t->cuda_threads,
                     .cuda_shared_bytes = t->cuda ? 4 * shared_floats(t) : 0,
                     .cuda_dynamic_bytes = t->cuda ? t->cuda_dynamic_bytes : 0, .library = t->library};
    LowerLaunch launch = {.n_args = (uint32_t)E->n_params, .n_work = t->n_work, .grain = t->grain,
                          .cuda_blocks = t->cuda_blocks, .flops = t->flops, .bytes = t->bytes};
    launch.value = arena_array(L->arena, ValueId, E->n_params);
    launch.workspace = arena_array(L->arena, uint32_t, E->n_params);
    for (size_t i = 0; i < E->n_params; i++) {
        launch.value[i] = E->param[i].value;
        launch.workspace[i] = E->param[i].workspace;
        if (i < 64 && !E->param[i].is_written && !holds_name(text_str(&E->top->text), E->param[i].name))
            kernel.c_ignores |= (uint64_t)1 << i;
        if (E->param[i].is_written) {
            assert(i < 64 && "a kernel that writes more than 64 buffers");
            kernel.writes |= (uint64_t)1 << i;
        }
    }
    launch.is_shared = t->is_shared;
    launch.kernel = program_add_kernel(p, kernel);
    L->launch = arena_grow(L->arena, L->launch, L->n_launches, &L->launch_capacity, sizeof *L->launch);
    L->launch[L->n_launches++] = launch;
}

// The pointers of a piece.
static void add_pointers(const Emitter *E, const char *indent, Text *out)
{
    for (size_t i = 0; i < E->n_params; i++) {
        const EmitParam *p = &E->param[i];
        if (holds_name(text_str(&E->top->text), p->name))
            text_printf(out, "%s%s%s *const %s = (%s%s *)p[piece*%zu + %zu];\n", indent, p->is_written ? "" : "const ", c_type[p->dtype], p->name,
                        p->is_written ? "" : "const ", c_type[p->dtype], E->n_params, i);
    }
}

static const char *sweep_function(Lower *L, const Emitter *E, const char *comment, const char *name, const Sweep *sweep)
{
    Text out = text_make(L->program->arena);
    add_comment(comment, &out);
    text_printf(&out, "void %s(void *const *p, long begin, long end, void *scratch)\n{\n    static const long count[] = {", name);
    for (uint32_t i = 0; i < sweep->n_pieces; i++)
        text_printf(&out, "%s%s%lld", i ? "," : "", i % 16 ? " " : "\n        ", (long long)sweep->count[i]);
    text_add(&out, "};\n    (void)scratch;\n    for (long piece = begin; piece < end; piece++) {\n");
    add_pointers(E, "    ", &out);
    text_add(&out, text_str(&E->top->text));
    text_add(&out, "    }\n}\n");
    return text_str(&out);
}

static const char *sweep_cuda_function(Lower *L, const Emitter *E, const char *comment, const char *name, int64_t shared)
{
    Text out = text_make(L->program->arena);
    add_comment(comment, &out);
    text_printf(&out, "extern \"C\" __global__ void %s(void *const *p, const long *count, const int *at)\n{\n"
                      "    const int piece = at[2*blockIdx.x];\n", name);
    if (shared)
        text_printf(&out, "    __shared__ float shared[%lld];\n", (long long)shared);
    add_pointers(E, "    ", &out);
    text_add(&out, text_str(&E->top->text));
    text_add(&out, "}\n");
    return text_str(&out);
}

uint32_t lower_sweep(Lower *L, const char *hint, const char *comment, const Emitter *c, const Emitter *cuda, const Sweep *sweep, int64_t threads)
{
    const char *name = kernel_name(L, hint);
    const int64_t shared = holds_name(text_str(&cuda->top->text), "shared") ? threads : 0;
    Kernel kernel = {.name = name, .family = L->g->kernel[L->kernel], .cuda_shared_bytes = 4 * shared, .n_params = sweep->n_own * sweep->n_pieces, .sweep = sweep,
                     .text = sweep_function(L, c, comment, name, sweep), .cuda = sweep_cuda_function(L, cuda, comment, name, shared), .cuda_threads = threads};
    for (size_t i = 0; i < cuda->n_params; i++)
        if (cuda->param[i].is_written) {
            assert(i < 64 && "a kernel that writes more than 64 buffers");
            kernel.writes |= (uint64_t)1 << i;
        }
    return program_add_kernel(L->program, kernel);
}
