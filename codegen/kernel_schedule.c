// See kernel_schedule.h: texts of schedules, and one kernel as a graph of its own.
#include "kernel_schedule.h"

#include "kernel_key.h"
#include "lower.h"

#include <stdlib.h>
#include <string.h>

static const struct { const char *text; int32_t least; } knob_row[KNOB_COUNT] = {
#define KNOB(id, text, least, what) {text, least},
#include "knobs.def"
#undef KNOB
};

CostConstants target_cost(const Target *target)
{
    CostConstants cost = target->schedules ? target->schedules->cost : (CostConstants){0};
    cost.launch = cost.launch > 0 ? cost.launch : 4000;
    cost.copy = cost.copy > 0 ? cost.copy : 0.7;
    return cost;
}

bool schedule_is_default(const Schedule *schedule)
{
    for (int k = 0; k < KNOB_COUNT; k++)
        if (schedule->knob[k])
            return false;
    return true;
}

const char *schedule_text(Arena *arena, const Schedule *schedule)
{
    Text text = text_make(arena);
    for (int k = 0; k < KNOB_COUNT; k++)
        if (schedule->knob[k])
            text_printf(&text, "%s%s=%d", text.n ? " " : "", knob_row[k].text, schedule->knob[k]);
    return text.n ? text_str(&text) : "default";
}

static bool parse_knob(const char *text, size_t n, Schedule *out)
{
    for (int k = 0; k < KNOB_COUNT; k++) {
        const size_t name = strlen(knob_row[k].text);
        if (n <= name + 1 || n > name + 9 || memcmp(text, knob_row[k].text, name) != 0 || text[name] != '=')
            continue;
        int32_t value = 0;
        for (size_t i = name + 1; i < n; i++) {
            if (text[i] < '0' || text[i] > '9')
                return false;
            value = value * 10 + (text[i] - '0');
        }
        out->knob[k] = value;
        return value >= knob_row[k].least;
    }
    return false;
}

bool schedule_parse(const char *text, Schedule *out)
{
    *out = (Schedule){0};
    if (!strcmp(text, "default"))
        return true;
    for (;; text++) {
        const size_t n = strcspn(text, " ");
        if (!parse_knob(text, n, out))
            return false;
        text += n;
        if (!*text)
            return true;
    }
}

uint64_t schedule_sign(uint64_t sign, int64_t number)
{
    sign ^= (uint64_t)number + 0x9e3779b97f4a7c15u + (sign << 6) + (sign >> 2);
    return sign * 0xff51afd7ed558ccdu;
}

void candidates_add(CandidateList *list, Schedule schedule, double cycles, uint64_t sign)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->sign[i] == sign)
            return;
    list->at = arena_grow(list->arena, list->at, list->n, &list->capacity, sizeof *list->at);
    list->sign = arena_grow(list->arena, list->sign, list->n, &list->sign_capacity, sizeof *list->sign);
    list->at[list->n] = (Candidate){schedule, cycles};
    list->sign[list->n++] = sign;
}

// Equal ones in a fixed order, so that a search that goes on meets the same candidates.
static int by_cycles(const void *a, const void *b)
{
    const Candidate *x = a, *y = b;
    return x->cycles != y->cycles ? (x->cycles > y->cycles) - (x->cycles < y->cycles) : memcmp(&x->schedule, &y->schedule, sizeof x->schedule);
}

size_t candidates_ranked(CandidateList *list, size_t most, Candidate **out)
{
    if (list->n > 2)
        qsort(list->at + 1, list->n - 1, sizeof *list->at, by_cycles);
    *out = list->at;
    return list->n < most ? list->n : most;
}

size_t codegen_candidates(Arena *arena, const Graph *g, uint32_t kernel, const Target *target, size_t most, Candidate **out)
{
    const KernelMembers members = kernel_members(arena, g);
    Lower L = {.arena = arena, .g = g, .target = target, .kernel = kernel, .member = &members.member[members.first[kernel]],
               .n_members = members.first[kernel + 1] - members.first[kernel]};
    *out = arena_array(arena, Candidate, 1);
    if (target->is_cuda && g->kernel[kernel] != FAMILY_CONTRACT && g->kernel[kernel] != FAMILY_GROUPED)
        return 1;                           // the knobs of other families are those of their C texts
    switch (g->kernel[kernel]) {
    case FAMILY_CONTRACT: return candidates_contract(&L, most, out);
    case FAMILY_LOOP:     return candidates_loop(&L, most, out);
    case FAMILY_ROWS:     return candidates_rows(&L, most, out);
    case FAMILY_GROUPED:  return candidates_grouped(&L, most, out);
    case FAMILY_MONARCH:  return candidates_monarch(&L, most, out);
    case FAMILY_SCATTER: case FAMILY_ROUTE: case FAMILY_CONV: case FAMILY_COUNT: break;
    }
    return 1;                               // no choice
}

size_t codegen_kernel_classes(Arena *arena, const Graph *g, KernelClass **out)
{
    const KernelMembers members = kernel_members(arena, g);
    uint32_t *n_uses = arena_array(arena, uint32_t, g->n_nodes);
    ConeScratch scratch = cone_scratch(arena, g);
    Cone cone = {0};
    size_t n = 0;
    KernelClass *list = *out = arena_array(arena, KernelClass, g->n_kernels + 1);
    for (uint32_t k = 1; k < g->n_kernels; k++) {
        if (members.first[k] == members.first[k + 1])
            continue;
        cone_find(arena, g, k, &members.member[members.first[k]], members.first[k + 1] - members.first[k], &scratch, n_uses, &cone);
        Text key = text_make(arena);
        cone_key(g, k, &cone, &scratch, NULL, &key);
        const uint64_t hash = cone_hash(&key);
        size_t i = 0;
        while (i < n && list[i].key != hash)
            i++;
        if (i == n)
            list[n++] = (KernelClass){.key = hash, .kernel = k};
        list[i].instances++;
    }
    return n;
}

// A leaf's own name without its path: "GPT.l0.W1" is W1.
static const char *hint_of(const Node *n)
{
    const bool is_leaf = n->op == OP_ARG || n->op == OP_PARAM || n->op == OP_STATE;
    const char *dot = is_leaf && !n->hint ? strrchr(n->attr[0].name, '.') : NULL;
    return n->hint ? n->hint : dot ? dot + 1 : NULL;
}

// Node `v` of the kernel, in `out`: what the kernel reads becomes an argument.
static ValueId copy_node(Graph *out, const Graph *g, ValueId v, bool is_read, const ValueId *map, size_t serial)
{
    const Node *n = &g->node[v];
    if (is_read) {
        const ValueId arg = graph_leaf(out, OP_ARG, arena_printf(out->arena, "x%zu", serial), n->type);
        out->node[arg].hint = hint_of(n);
        return arg;
    }
    ValueId *in = arena_array(out->arena, ValueId, (size_t)n->n_in + 1);
    for (int i = 0; i < n->n_in; i++)
        in[i] = map[n->in[i]];
    const ValueId id = graph_add(out, n->op, in, n->n_in, n->attr, n->n_attr, &n->type);
    if (id) {
        out->node[id].type = n->type;       // with its order of axes
        out->node[id].hint = n->hint;
    }
    return id;
}

Graph *codegen_kernel_graph(Arena *arena, Diag *diag, const Graph *g, uint32_t kernel)
{
    Graph *out = graph_make(arena, diag, "kernel");
    const KernelMembers members = kernel_members(arena, g);
    ConeScratch scratch = cone_scratch(arena, g);
    Cone cone = {0};
    for (AxisId a = 1; a < g->n_axes; a++)
        graph_axis(out, g->axis[a].name, g->axis[a].kind, g->axis[a].size, g->axis[a].twin_of);
    cone_find(arena, g, kernel, &members.member[members.first[kernel]], members.first[kernel + 1] - members.first[kernel], &scratch,
              arena_array(arena, uint32_t, g->n_nodes), &cone);
    const uint32_t own = graph_add_kernel(out, g->kernel[kernel]);
    ValueId *map = arena_array(arena, ValueId, g->n_nodes);
    size_t n_args = 0;
    for (size_t i = 0; i < cone.n; i++) {
        const ValueId v = cone.value[i];
        n_args += cone.is_read[i];
        out->at = g->node[v].at;
        out->layer = g->node[v].layer;
        map[v] = copy_node(out, g, v, cone.is_read[i], map, n_args);
        if (!map[v])
            return NULL;
        if (!cone.is_read[i] && g->node[v].kernel == kernel)
            out->node[map[v]].kernel = own;
    }
    // A chain stores its last value only.
    const bool is_chain = g->kernel[kernel] == FAMILY_MONARCH;
    for (uint32_t m = is_chain ? members.first[kernel + 1] - 1 : members.first[kernel]; m < members.first[kernel + 1]; m++)
        graph_output(out, OUTPUT_RESULT, arena_printf(arena, "y%u", m - members.first[kernel] + 1), map[members.member[m]]);
    return out;
}
