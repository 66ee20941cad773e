// Module -> text. See module_text.h.
#include "module_fields.h"
#include "module_text.h"
#include "scan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void print_number(Text *out, double value)
{
    text_double(out, value);
}

static void print_train(const TrainSpec *t, Text *out)
{
    text_printf(out, "  train {optimizer = %s, schedule = %s", train_optimizer_text[t->optimizer], train_schedule_text[t->schedule]);
    for (size_t i = 0; i < train_field_count; i++) {
        text_printf(out, ", %s = ", train_field[i].name);
        print_number(out, train_field_get(t, i));
    }
    text_add(out, "}\n");
}

static void print_param(const Graph *g, const Param *p, Text *out)
{
    text_add(out, "  param ");
    text_string(out, p->name);
    text_printf(out, " %s ", param_role_text[p->role]);
    type_print(g, &p->type, out);
    text_add(out, " {lr = ");
    print_number(out, p->lr);
    text_add(out, ", decay = ");
    print_number(out, p->decay);
    text_add(out, ", trust = ");
    print_number(out, p->trust);
    text_char(out, '}');
    if (p->lower_row)
        text_printf(out, " lower %s, %s", g->axis[p->lower_row].name, g->axis[p->lower_col].name);
    text_char(out, '\n');
}

static void print_values(const ValueId *value, size_t n, Text *out)
{
    text_char(out, '[');
    for (size_t i = 0; i < n; i++)
        text_printf(out, "%s%%%u", i ? ", " : "", value[i]);
    text_char(out, ']');
}

static void print_claim(const Graph *g, const Claim *c, Text *out)
{
    text_printf(out, "  claim @%s ", g->name);
    text_string(out, c->layer ? c->layer : "");
    text_printf(out, " over %s {after = %lld, leak = %d} ", g->axis[c->axis].name, (long long)c->after, c->leak_allowed);
    print_values(c->in, c->n_in, out);
    text_add(out, " to ");
    print_values(c->out, c->n_out, out);
    text_char(out, '\n');
}

typedef struct Made { const char *layer; ValueId id; } Made;    // who made a node

static int by_layer(const void *a, const void *b)
{
    const Made *x = a, *y = b;
    int order = strcmp(x->layer, y->layer);
    return order ? order : (x->id > y->id) - (x->id < y->id);
}

typedef struct Run { const Made *first; size_t n; } Run;        // the nodes of one layer

static int by_first(const void *a, const void *b)
{
    const Run *x = a, *y = b;
    return (x->first->id > y->first->id) - (x->first->id < y->first->id);
}

static void print_layers(const Graph *g, Text *out)
{
    Arena scratch = {.out_of_memory = out->arena->out_of_memory, .user = out->arena->user};
    Made *made = arena_array(&scratch, Made, g->n_nodes);
    Run *run = arena_array(&scratch, Run, g->n_nodes);
    size_t n = 0, n_runs = 0;
    for (ValueId id = 1; id < g->n_nodes; id++)
        if (g->node[id].layer)
            made[n++] = (Made){g->node[id].layer, id};
    qsort(made, n, sizeof *made, by_layer);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || strcmp(made[i].layer, made[i - 1].layer) != 0)
            run[n_runs++].first = &made[i];
        run[n_runs - 1].n++;
    }
    qsort(run, n_runs, sizeof *run, by_first);
    for (size_t r = 0; r < n_runs; r++) {
        const Made *m = run[r].first;
        text_printf(out, "  layer @%s ", g->name);
        text_string(out, m->layer);
        for (size_t i = 0, end; i < run[r].n; i = end) {
            for (end = i + 1; end < run[r].n && m[end].id == m[end - 1].id + 1; end++) {}
            text_printf(out, " %%%u", m[i].id);
            if (end > i + 1)
                text_printf(out, ":%%%u", m[end - 1].id);
        }
        text_char(out, '\n');
    }
    arena_free(&scratch);
}

void module_print(const Module *m, const ModuleWants *wants, Text *out)
{
    const Graph *axes = NULL;               // whose axes the params' are: they keep their numbers in every graph
    for (size_t i = 0; i < m->n_graphs; i++)
        if (strcmp(m->graph[i]->name, "init") != 0) {
            graph_print(m->graph[i], out);
            axes = axes ? axes : m->graph[i];
        }
    Text rest = text_make(out->arena);
    if (wants->step)
        text_add(&rest, "  want step\n");
    if (wants->next)
        text_add(&rest, "  want next\n");
    if (wants->bf16)
        text_add(&rest, "  want bf16\n");
    if (m->has_train)
        print_train(&m->train, &rest);
    for (size_t i = 0; axes && i < m->n_params; i++)
        print_param(axes, &m->param[i], &rest);
    for (size_t i = 0; i < m->n_recompute; i++) {
        text_add(&rest, "  recompute ");
        text_string(&rest, m->recompute[i]);
        text_char(&rest, '\n');
    }
    for (size_t i = 0; i < m->n_graphs; i++) {
        const Graph *g = m->graph[i];
        if (strcmp(g->name, "init") == 0)
            continue;
        for (size_t c = 0; c < g->n_claims; c++)
            print_claim(g, &g->claim[c], &rest);
        print_layers(g, &rest);
    }
    if (rest.n)
        text_printf(out, "module {\n%s}\n", text_str(&rest));
}
