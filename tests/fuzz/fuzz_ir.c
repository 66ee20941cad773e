// libFuzzer entry for the readers of IR text: graphs, modules and programs. What is refused must have a diagnostic; what is
// accepted must print to a fixed point; small graphs are evaluated too. See run_fuzz_ir.sh beside this file.
#define _GNU_SOURCE
#include "eval.h"
#include "module_text.h"
#include "program.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void demand(bool ok)
{
    if (!ok)
        abort();
}

static const double *zeros(void *user, const Graph *g, const Node *leaf)
{
    int64_t n = 0;
    return type_count(g, &leaf->type, &n) ? arena_array(user, double, (size_t)n + 1) : NULL;
}

static void evaluate(const Graph *g, Arena *arena)
{
    int64_t total = 0;
    for (size_t i = 1; i < g->n_nodes; i++) {
        int64_t n;
        if (!type_count(g, &g->node[i].type, &n) || n > 1000)
            return;
        for (size_t k = 0; g->node[i].op == OP_CONTRACT && k < g->node[i].attr[0].axes.n; k++)
            if (graph_size(g, g->node[i].attr[0].axes.id[k]) > 100)
                return;
        total += n;
    }
    EvalResult result;
    StatusText why = {0};
    if (total < 10000 && graph_eval(g, zeros, arena, arena, &result, &why) != STATUS_OK)
        demand(why.text[0] != 0);
}

static void check_graph(Arena *arena, Diag *diag, Sources *sources, uint32_t file)
{
    Graph *g = graph_parse(arena, diag, sources, file);
    demand(g ? diag->n_errors == 0 : diag->n_errors > 0);
    if (!g)
        return;
    Text first = text_make(arena), second = text_make(arena);
    graph_print(g, &first);
    Graph *again = graph_parse(arena, diag, sources, sources_add(sources, "again", text_str(&first), first.n));
    demand(again && graph_equal(g, again));
    graph_print(again, &second);
    demand(strcmp(text_str(&first), text_str(&second)) == 0);
    evaluate(g, arena);
}

static void check_module(Arena *arena, Diag *diag, Sources *sources, uint32_t file)
{
    ModuleWants wants;
    Module *m = module_parse(arena, diag, sources, file, &wants);
    demand(m ? diag->n_errors == 0 : diag->n_errors > 0);
    if (!m)
        return;
    Text first = text_make(arena), second = text_make(arena);
    module_print(m, &wants, &first);
    Module *again = module_parse(arena, diag, sources, sources_add(sources, "again", text_str(&first), first.n), &wants);
    demand(again);
    module_print(again, &wants, &second);
    demand(strcmp(text_str(&first), text_str(&second)) == 0);
}

static void check_program(Arena *arena, Diag *diag, Sources *sources, uint32_t file)
{
    Program *p = program_parse(arena, diag, sources, file);
    demand(p ? diag->n_errors == 0 : diag->n_errors > 0);
    if (!p)
        return;
    Text first = text_make(arena), second = text_make(arena);
    program_print(p, &first);
    Program *again = program_parse(arena, diag, sources, sources_add(sources, "again", text_str(&first), first.n));
    demand(again);
    program_print(again, &second);
    demand(strcmp(text_str(&first), text_str(&second)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    Arena arena = {0};
    Sources sources = sources_make(&arena);
    Diag diag = diag_make(&arena, &sources);
    uint32_t file = sources_add(&sources, "input", (const char *)data, n);
    if (n > 7 && memcmp(data, "program", 7) == 0)
        check_program(&arena, &diag, &sources, file);
    else if (memmem(data, n, "module {", 8))
        check_module(&arena, &diag, &sources, file);
    else
        check_graph(&arena, &diag, &sources, file);
    arena_free(&arena);
    return 0;
}
