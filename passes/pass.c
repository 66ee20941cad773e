// The table of passes and the only place that loops over them: run, verify, read the text back, show.
#include "pass.h"
#include "rewrite.h"

#include <assert.h>
#include <string.h>

#define PASS(name, summary) PassRun pass_##name;
#include "passes.def"
#undef PASS

const Pass pass_table[] = {
#define PASS(name, summary) {#name, summary, pass_##name},
#include "passes.def"
#undef PASS
};
const size_t pass_count = sizeof pass_table / sizeof *pass_table;

const Pass *pass_find(const char *name)
{
    for (size_t i = 0; i < pass_count; i++)
        if (strcmp(pass_table[i].name, name) == 0)
            return &pass_table[i];
    return NULL;
}

// print(parse(print(g))) == print(g), byte for byte. A breach is our bug; it is reported with the pass that made it.
static bool reads_back(PassContext *ctx, const Graph *g, const char *after)
{
    Arena scratch = scratch_arena(ctx->arena);
    Text first = text_make(&scratch), second = text_make(&scratch);
    graph_print(g, &first);
    Sources sources = sources_make(&scratch);
    uint32_t file = sources_add(&sources, arena_printf(&scratch, "%s after %s", g->name, after), text_str(&first), first.n);
    Diag diag = diag_make(&scratch, &sources);
    const Graph *again = graph_parse(&scratch, &diag, &sources, file);
    bool same = false;
    if (!again) {
        diag_error(ctx->diag, (Span){0}, NULL, "internal: the text of graph `%s` after pass `%s` does not read back: %s",
                   g->name, after, diag.n_items ? diag.item[0].message : "no reason given");
    } else {
        graph_print(again, &second);
        same = strcmp(text_str(&first), text_str(&second)) == 0;
        if (!same)
            diag_error(ctx->diag, (Span){0}, NULL,
                       "internal: the text of graph `%s` after pass `%s` reads back as another graph", g->name, after);
    }
    arena_free(&scratch);
    return same;
}

static bool check_module(PassContext *ctx, const Module *m, const char *after)
{
    bool good = true;
    for (size_t i = 0; i < m->n_graphs; i++) {
        size_t before = ctx->diag->n_errors;
        if (!graph_verify(m->graph[i], ctx->diag)) {
            if (ctx->diag->n_errors > before)
                diag_note(ctx->diag, "graph `%s` after pass `%s`", m->graph[i]->name, after);
            good = false;
        } else {
            good = reads_back(ctx, m->graph[i], after) && good;
        }
    }
    return good;
}

static bool is_wanted(const Pass *pass, const char *const *names, size_t n_names)
{
    for (size_t i = 0; names && i < n_names; i++)
        if (strcmp(names[i], pass->name) == 0)
            return true;
    return !names;
}

Module *module_without_graphs(Arena *arena, const Module *in)
{
    Module *m = arena_new(arena, Module);
    *m = *in;
    m->arena = arena;
    m->graph = NULL;
    m->n_graphs = m->graph_capacity = 0;
    return m;
}

Module *passes_run(PassContext *ctx, const Module *in, const char *const *names, size_t n_names, const PassHooks *hooks)
{
    static const PassHooks none;
    if (!hooks)
        hooks = &none;
    Module *m = module_without_graphs(ctx->arena, in);
    for (size_t i = 0; i < in->n_graphs; i++)
        module_add_graph(m, in->graph[i]);
    if (hooks->verify && !check_module(ctx, m, "the front end"))
        return NULL;
    if (hooks->after)
        hooks->after(hooks->user, 0, NULL, m);
    for (size_t i = 0; i < pass_count; i++) {
        const Pass *pass = &pass_table[i];
        if (!is_wanted(pass, names, n_names))
            continue;
        Module *out = module_without_graphs(ctx->arena, m);
        size_t before = ctx->diag->n_errors;
        bool good = pass->run(ctx, m, out);
        assert((good || ctx->diag->n_errors > before) && "a pass that fails says why");
        if (!good || ctx->diag->n_errors > before)
            return NULL;
        m = out;
        if (hooks->verify && !check_module(ctx, m, pass->name))
            return NULL;
        if (hooks->after)
            hooks->after(hooks->user, i + 1, pass, m);
    }
    return m;
}

bool pass_each_graph(PassContext *ctx, const Module *in, Module *out, Graph *(*rewrite)(PassContext *, const Graph *))
{
    for (size_t i = 0; i < in->n_graphs; i++) {
        Graph *g = in->graph[i];
        if (strcmp(g->name, "init") != 0)
            g = rewrite(ctx, g);
        if (!g)
            return false;
        module_add_graph(out, g);
    }
    return true;
}
