// See index_check.h.
#include "index_check.h"

#include "engine_net.h"
#include "index_range.h"

#include <stdlib.h>
#include <string.h>

static bool is_dear(const Node *n)
{
    return n->op == OP_CONTRACT || n->op == OP_FFTCONV || n->op == OP_ORTHO || (op_row[n->op].flags & OP_FLAG_ROUTING);
}

// dear[v]: v hangs on something dear.
static bool *find_dear(const Graph *g, Arena *arena)
{
    bool *dear = arena_array(arena, bool, g->n_nodes);
    for (ValueId v = 1; v < g->n_nodes; v++) {
        dear[v] = is_dear(&g->node[v]);
        for (size_t i = 0; i < g->node[v].n_in; i++)
            dear[v] = dear[v] || dear[g->node[v].in[i]];
    }
    return dear;
}

// The inputs that a value is computed from: "`a` and `b`".
static const char *origin(const Graph *g, ValueId v, Arena *arena)
{
    bool *needs = arena_array(arena, bool, g->n_nodes);
    size_t n = 0;
    Text text = text_make(arena);
    needs[v] = true;
    for (ValueId id = v; id > 0; id--) {
        const Node *node = &g->node[id];
        for (size_t i = 0; needs[id] && i < node->n_in; i++)
            needs[node->in[i]] = true;
        if (needs[id] && (node->op == OP_ARG || node->op == OP_PARAM || node->op == OP_STATE))
            text_printf(&text, "%s`%s`", n++ ? " and " : "", node->attr[0].name);
    }
    return text_str(&text);
}

static Status refuse(const Graph *g, const Node *n, ValueId index, int64_t element, double number, AxisId axis,
                     const Sources *sources, Arena *arena, StatusText *why)
{
    const char *place = "";
    if (n->at.file)
        place = arena_printf(arena, "%s:%u: ", sources->file[n->at.file].name,
                             sources_line_col(sources, n->at.file, n->at.begin).line);
    return status_fail(why, STATUS_BAD_MODEL,
                       "%sposition %.0f of axis `%s` is looked up (element %lld of the index), but it has the positions 0 to "
                       "%lld; the index is computed from %s", place, number, g->axis[axis].name, (long long)element,
                       (long long)graph_size(g, axis) - 1, origin(g, index, arena));
}

Status index_check(const Graph *g, EvalLeaf *leaf, void *user, const Sources *sources, Arena *arena, StatusText *why)
{
    Arena scratch = {.out_of_memory = arena->out_of_memory, .user = arena->user};
    const Bounds *bounds = index_bounds(g, &scratch);
    const bool *dear = find_dear(g, &scratch);
    Graph some = *g;
    ValueId *node = arena_array(&scratch, ValueId, g->n_nodes);
    some.output = arena_array(&scratch, Output, g->n_nodes);
    some.n_outputs = 0;
    for (ValueId v = 1; v < g->n_nodes; v++) {
        AxisId axis;
        ValueId index = index_operand(&g->node[v], &axis);
        if (index_is_proved(g, bounds, &g->node[v]) || dear[index])
            continue;
        node[some.n_outputs] = v;
        some.output[some.n_outputs++] = (Output){.value = index};
    }
    EvalResult result = {0};
    Status status = some.n_outputs ? graph_eval_outputs(&some, leaf, user, &scratch, &result, why) : STATUS_OK;
    for (size_t k = 0; k < some.n_outputs && status == STATUS_OK; k++) {
        AxisId axis;
        ValueId index = index_operand(&g->node[node[k]], &axis);
        int64_t count = 0;
        type_count(g, &g->node[index].type, &count);
        for (int64_t i = 0; i < count && status == STATUS_OK; i++)
            if (result.value[index][i] >= (double)graph_size(g, axis))
                status = refuse(g, &g->node[node[k]], index, i, result.value[index][i], axis, sources, arena, why);
    }
    arena_free(&scratch);
    return status;
}

// The model's line that an output is computed for, "models/gpt.mix:14: "; empty where it is not known.
static const char *line_of(const Net *net, const Slot *slot, char *out, size_t room)
{
    const Program *p = net->program;
    out[0] = 0;
    for (size_t t = p ? p->n_launches : 0; t-- > 0 && !out[0];) {
        const Launch *l = &p->launch[t];
        const char *file = NULL;
        for (size_t k = 0; k < p->kernel[l->kernel].n_params && !out[0]; k++) {
            const uint32_t line = l->buffer[k] == slot->id ? program_place(p, l, &file) : 0;
            if (line)
                snprintf(out, room, "%s:%u: ", file, line);
        }
    }
    return out;
}

Status index_check_step(Net *net, StatusText *why)
{
    const Slot *slot;
    const size_t n = net_slots(net, &slot);
    for (size_t i = 0; i < n; i++) {
        static const char prefix[] = "fault.";
        if (slot[i].kind != BUFFER_OUTPUT || strncmp(slot[i].name, prefix, sizeof prefix - 1) != 0)
            continue;
        float largest = -1;
        const Status status = net_read(net, &slot[i], &largest, why);
        if (status != STATUS_OK)
            return status;
        if (!(largest >= 0))
            continue;
        const char *axis = slot[i].name + sizeof prefix - 1, *size = strchr(axis, '.');
        char line[300];
        return status_fail(why, STATUS_BAD_MODEL, "%sposition %.0f of axis `%.*s` was looked up, but it has the positions 0 to %lld",
                           line_of(net, &slot[i], line, sizeof line), (double)largest, (int)(size - axis), axis, atoll(size + 1) - 1);
    }
    return STATUS_OK;
}
