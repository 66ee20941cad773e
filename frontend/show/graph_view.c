// See graph_view.h: from a graph to boxes and edges.
#include "graph_view.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct Maker {
    const Graph *g;
    GraphView   *view;
    uint32_t    *box_of;                    // [n_nodes] box + 1; 0: not drawn by itself
    ValueId     *param_of;                  // [n_nodes] the parameter that a value not drawn is made of; 0: none
    uint64_t   **reaches;                   // reaches[b]: bit set of boxes that b leads to
    size_t       reach_capacity, words;
    uint32_t    *last_node;                 // [box] the newest node, for its type and name
    Text        *ops;                       // [box] names of parameters used
} Maker;

uint32_t graph_view_box(GraphView *view, ViewBox box)
{
    view->box = arena_grow(view->arena, view->box, view->n_boxes, &view->box_capacity, sizeof *view->box);
    view->box[view->n_boxes] = box;
    return (uint32_t)view->n_boxes++;
}

void graph_view_edge(GraphView *view, uint32_t from, uint32_t to, bool again)
{
    for (size_t i = 0; i < view->n_edges; i++)
        if (view->edge[i].from == from && view->edge[i].to == to)
            return;
    view->edge = arena_grow(view->arena, view->edge, view->n_edges, &view->edge_capacity, sizeof *view->edge);
    view->edge[view->n_edges++] = (ViewEdge){from, to, again};
}

// A component that is a repeat's iteration: lower-case letters, then a number.
static bool is_iteration(const char *c, size_t n)
{
    size_t letters = 0;
    while (letters < n && (islower((unsigned char)c[letters]) || c[letters] == '_'))
        letters++;
    size_t digits = letters;
    while (digits < n && isdigit((unsigned char)c[digits]))
        digits++;
    return letters > 0 && letters < n && digits == n;
}

// GPT.l3.Attn.Softmax -> GPT.l3.Attn: the model, iterations, one instance. *out_group: up to the first iteration.
static const char *box_key(Arena *arena, const char *layer, const char **out_group)
{
    const char *c = layer + strcspn(layer, ".");
    *out_group = NULL;
    while (*c == '.') {
        size_t n = strcspn(c + 1, ".");
        bool iteration = is_iteration(c + 1, n);
        c += 1 + n;
        if (iteration && !*out_group)
            *out_group = arena_strndup(arena, layer, (size_t)(c - layer));
        if (!iteration) {
            while (*c == '.' && isdigit((unsigned char)c[1]))     // the instance LN.2
                c += 1 + strcspn(c + 1, ".");
            break;
        }
    }
    return arena_strndup(arena, layer, (size_t)(c - layer));
}

static bool reaches(const Maker *m, uint32_t from, uint32_t to)
{
    return m->reaches[from][to / 64] >> (to % 64) & 1;
}

static uint32_t new_box(Maker *m, ViewBox box)
{
    uint32_t b = graph_view_box(m->view, box);
    m->reaches[b] = arena_array(m->view->arena, uint64_t, m->words);
    m->ops[b] = text_make(m->view->arena);
    return b;
}

static void connect(Maker *m, uint32_t from, uint32_t to)
{
    if (from == to)
        return;
    graph_view_edge(m->view, from, to, false);
    for (uint32_t b = 0; b < m->view->n_boxes; b++)
        if (b == from || reaches(m, b, from)) {
            m->reaches[b][to / 64] |= UINT64_C(1) << (to % 64);
            for (size_t w = 0; w < m->words; w++)
                m->reaches[b][w] |= m->reaches[to][w];
        }
}

static bool is_quiet(const Node *n)
{
    return n->op == OP_CONST || n->op == OP_INDEX || n->op == OP_PARAM || n->op == OP_STATE || n->op == OP_RANDOM;
}

// A node whose operands are all constants, parameters or the like: drawn only where it is used.
static bool is_background(const Maker *m, const Node *n)
{
    if (is_quiet(n))
        return true;
    for (int i = 0; i < n->n_in; i++)
        if (m->box_of[n->in[i]])
            return false;
    return n->op != OP_ARG;
}

static void note_parameters(Maker *m, const Node *n, uint32_t b)
{
    for (int i = 0; i < n->n_in; i++) {
        const Node *p = &m->g->node[m->param_of[n->in[i]]];
        int64_t count;
        if (p->op != OP_PARAM || !type_count(m->g, &p->type, &count))
            continue;
        const char *name = strrchr(p->attr[0].name, '.');
        name = name ? name + 1 : p->attr[0].name;
        const char *seen = strstr(text_str(&m->ops[b]), name);
        if (seen && (seen[strlen(name)] == ' ' || !seen[strlen(name)]))
            continue;
        text_printf(&m->ops[b], "%s%s", m->ops[b].n ? " " : "", name);
        m->view->box[b].parameters += count;
    }
}

// The newest box of that key which the node can join without making a cycle, else a new one.
static uint32_t box_for(Maker *m, const Node *n, const char *key, const char *group)
{
    for (uint32_t b = (uint32_t)m->view->n_boxes; b-- > 0;) {
        if (m->view->box[b].is_end || strcmp(m->view->box[b].key, key))
            continue;
        bool cycle = false;
        for (int i = 0; i < n->n_in; i++) {
            uint32_t from = m->box_of[n->in[i]];
            cycle = cycle || (from && from - 1 != b && reaches(m, b, from - 1));
        }
        if (!cycle)
            return b;
        break;
    }
    return new_box(m, (ViewBox){.key = key, .group = group, .copies = 1});
}

static const char *type_text(const Maker *m, ValueId value)
{
    Text text = text_make(m->view->arena);
    const Type *type = &m->g->node[value].type;
    for (int a = 0; a < type->n_axes; a++)
        text_printf(&text, "%s%s", a ? "," : "[", m->g->axis[type->axis[a]].name);
    text_add(&text, type->n_axes ? "]" : "scalar");
    return arena_strdup(m->view->arena, text_str(&text));
}

static void place_node(Maker *m, ValueId id)
{
    const Node *n = &m->g->node[id];
    if (is_background(m, n)) {
        m->param_of[id] = n->op == OP_PARAM ? id : 0;
        for (int i = 0; i < n->n_in && !m->param_of[id]; i++)
            m->param_of[id] = m->param_of[n->in[i]];
        return;
    }
    uint32_t b;
    if (n->op == OP_ARG) {
        const char *name = n->attr[0].name;
        if (n->type.n_axes == 0)
            return;
        b = new_box(m, (ViewBox){.key = name, .title = name, .detail = type_text(m, id), .copies = 1, .is_end = true});
    } else {
        const char *group;
        const char *key = box_key(m->view->arena, n->layer ? n->layer : "", &group);
        b = box_for(m, n, key, group);
        for (int i = 0; i < n->n_in; i++)
            if (m->box_of[n->in[i]])
                connect(m, m->box_of[n->in[i]] - 1, b);
        note_parameters(m, n, b);
        m->last_node[b] = id;
    }
    m->box_of[id] = b + 1;
}

static void count_text(Text *out, int64_t n)
{
    if (n >= 1000000)
        text_printf(out, "%.1fM", (double)n / 1e6);
    else if (n >= 10000)
        text_printf(out, "%.0fk", (double)n / 1e3);
    else
        text_printf(out, "%lld", (long long)n);
}

static const char *op_text(const Node *n)
{
    return n->op == OP_MAP ? act_text[n->attr[0].act] : op_row[n->op].text;
}

static void name_box(Maker *m, uint32_t b)
{
    ViewBox *box = &m->view->box[b];
    if (box->is_end)
        return;
    const char *dot = box->key;
    for (const char *c = box->key; *c; c++)
        if (*c == '.' && isalpha((unsigned char)c[1]))
            dot = c + 1;
    bool own = dot == box->key || is_iteration(dot, strlen(dot));
    const Node *last = &m->g->node[m->last_node[b]];
    Text title = text_make(m->view->arena), detail = text_make(m->view->arena);
    if (!own)
        text_add(&title, dot);
    else if (m->ops[b].n && m->ops[b].n < 24)
        text_printf(&title, "%s %s", last->hint ? last->hint : op_text(last), text_str(&m->ops[b]));
    else if (last->hint)
        text_printf(&title, "%s (%s)", last->hint, op_text(last));
    else
        text_add(&title, op_text(last));
    text_add(&detail, type_text(m, m->last_node[b]));
    if (box->parameters) {
        text_add(&detail, "  ");
        count_text(&detail, box->parameters);
    }
    box->title = arena_strdup(m->view->arena, text_str(&title));
    box->detail = arena_strdup(m->view->arena, text_str(&detail));
}

// Is `b` the same repeat as `a`, in a later iteration? GPT.l0, GPT.l7
static bool same_repeat(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b);
    while (na && isdigit((unsigned char)a[na - 1]))
        na--;
    while (nb && isdigit((unsigned char)b[nb - 1]))
        nb--;
    return na == nb && !strncmp(a, b, na);
}

// The newest iteration that a box reads from; NULL: none.
static const char *group_before(const GraphView *view, uint32_t b)
{
    const char *group = NULL;
    uint32_t newest = 0;
    for (size_t i = 0; i < view->n_edges; i++) {
        const ViewEdge *e = &view->edge[i];
        if (e->to == b && view->box[e->from].group && e->from >= newest) {
            newest = e->from;
            group = view->box[e->from].group;
        }
    }
    return group;
}

static bool is_read_in(const GraphView *view, uint32_t b, const char *group)
{
    for (size_t i = 0; i < view->n_edges; i++) {
        const char *to = view->box[view->edge[i].to].group;
        if (view->edge[i].from == b && to && (!strcmp(to, group) || same_repeat(to, group)))
            return true;
    }
    return false;
}

// One instance that is used in several places: the shared layer of a universal transformer.
static bool is_shared(const GraphView *view, const ViewBox *box)
{
    size_t uses = 0;
    for (uint32_t c = 0; c < view->n_boxes; c++)
        uses += !view->box[c].is_end && !strcmp(view->box[c].key, box->key);
    return uses > 1;
}

// A model's own operations in the body of a repeat (residual sums) carry the model's path alone. They belong to the
// iteration that they read from, when the repeat reads them too; in the last iteration, when they look like those. Nor does the path of
// a layer that all iterations share name one of them: each use belongs to the iteration that it reads from.
static void group_own_boxes(GraphView *view)
{
    for (uint32_t b = 0; b < view->n_boxes; b++) {
        ViewBox *box = &view->box[b];
        const bool shared = strchr(box->key, '.') && is_shared(view, box);
        const char *group = box->is_end || box->group || (strchr(box->key, '.') && !shared) ? NULL : group_before(view, b);
        bool belongs = group && (shared || is_read_in(view, b, group));
        for (uint32_t c = 0; group && !belongs && c < b; c++) {
            const ViewBox *other = &view->box[c];
            belongs = other->group && same_repeat(other->group, group) && !strcmp(other->key, box->key)
                      && !strcmp(other->title, box->title) && !strcmp(other->detail, box->detail);
        }
        if (belongs)
            box->group = group;
    }
}

// Boxes of one iteration, in order; `*out_n` of them.
static uint32_t *boxes_of(const GraphView *view, const char *group, size_t *out_n)
{
    uint32_t *list = arena_array(view->arena, uint32_t, view->n_boxes + 1);
    size_t n = 0;
    for (uint32_t b = 0; b < view->n_boxes; b++)
        if (view->box[b].group && !strcmp(view->box[b].group, group))
            list[n++] = b;
    *out_n = n;
    return list;
}

// Folds iterations that look like the first one into it. `into[b]`: the box that stands for b.
static void fold_repeats(const GraphView *view, uint32_t *into)
{
    for (uint32_t b = 0; b < view->n_boxes; b++)
        into[b] = b;
    for (uint32_t b = 0; b < view->n_boxes; b++) {
        const char *group = view->box[b].group;
        if (!group || into[b] != b)
            continue;
        size_t n;
        const uint32_t *first = boxes_of(view, group, &n);
        if (first[0] != b)
            continue;
        for (uint32_t c = b + 1; c < view->n_boxes; c++) {
            const char *other = view->box[c].group;
            size_t n_other;
            if (!other || into[c] != c || !strcmp(other, group) || !same_repeat(group, other))
                continue;
            const uint32_t *later = boxes_of(view, other, &n_other);
            bool same = n_other == n && later[0] == c;
            for (size_t i = 0; same && i < n; i++)
                same = !strcmp(view->box[first[i]].title, view->box[later[i]].title)
                       && !strcmp(view->box[first[i]].detail, view->box[later[i]].detail);
            for (size_t i = 0; same && i < n; i++) {
                into[later[i]] = first[i];
                view->box[first[i]].copies++;
            }
        }
    }
}

// "LN.2" -> "LN, ", unless the list has it; a model's own operations ("x (add)") are not named.
static void list_name(Text *list, const ViewBox *box)
{
    const size_t n = strcspn(box->title, ". ");
    if (box->title[n] == ' ' || !n)
        return;
    for (const char *seen = text_str(list); *seen; seen += strcspn(seen, ",") + 2)
        if (strcspn(seen, ",") == n && !strncmp(seen, box->title, n))
            return;
    text_printf(list, "%.*s, ", (int)n, box->title);
}

// The boxes first .. last-1, of one iteration, as one. `is_again`: their weights were counted before.
static ViewBox iteration_box(const GraphView *view, uint32_t first, uint32_t last, bool is_again)
{
    const ViewBox *begin = &view->box[first];
    const char *dot = strrchr(begin->group, '.');
    ViewBox box = {.key = begin->group, .title = dot ? dot + 1 : begin->group, .copies = 1};
    Text names = text_make(view->arena), detail = text_make(view->arena);
    for (uint32_t b = first; b < last; b++) {
        list_name(&names, &view->box[b]);
        box.parameters += view->box[b].parameters;
    }
    const size_t n = names.n > 2 ? names.n - 2 : 0, most = 44;
    text_printf(&detail, "%.*s%s", (int)(n < most ? n : most), text_str(&names), n > most ? ".." : "");
    if (box.parameters) {
        text_add(&detail, n ? "  " : "");
        if (is_again)
            text_add(&detail, "same weights");
        else
            count_text(&detail, box.parameters);
    }
    box.detail = arena_strdup(view->arena, text_str(&detail));
    return box;
}

// Neighbours of one iteration become one box.
static GraphView by_iterations(const GraphView *view)
{
    uint32_t *moved = arena_array(view->arena, uint32_t, view->n_boxes + 1);
    GraphView out = {.arena = view->arena};
    for (uint32_t b = 0, next; b < view->n_boxes; b = next) {
        const char *group = view->box[b].group;
        next = b + 1;
        while (group && next < view->n_boxes && view->box[next].group && !strcmp(view->box[next].group, group))
            next++;
        bool is_again = false;
        for (size_t i = 0; group && i < out.n_boxes; i++)
            is_again |= !strcmp(out.box[i].key, group);
        const uint32_t to = graph_view_box(&out, group ? iteration_box(view, b, next, is_again) : view->box[b]);
        for (uint32_t c = b; c < next; c++)
            moved[c] = to;
    }
    for (size_t i = 0; i < view->n_edges; i++) {
        const uint32_t from = moved[view->edge[i].from], to = moved[view->edge[i].to];
        if (from != to)
            graph_view_edge(&out, from, to, from > to);
    }
    return out;
}

static GraphView folded(GraphView *view)
{
    uint32_t *into = arena_array(view->arena, uint32_t, view->n_boxes + 1),
             *moved = arena_array(view->arena, uint32_t, view->n_boxes + 1);
    fold_repeats(view, into);
    GraphView out = {.arena = view->arena};
    for (uint32_t b = 0; b < view->n_boxes; b++)
        if (into[b] == b)
            moved[b] = graph_view_box(&out, view->box[b]);
    for (size_t i = 0; i < view->n_edges; i++) {
        ViewEdge e = view->edge[i];
        const char *from = view->box[e.from].group, *to = view->box[e.to].group;
        bool again = from && to && strcmp(from, to) && into[e.to] != e.to;
        again |= moved[into[e.from]] > moved[into[e.to]];       // by way of boxes between the iterations
        if (moved[into[e.from]] != moved[into[e.to]] || again)
            graph_view_edge(&out, moved[into[e.from]], moved[into[e.to]], again);
    }
    return out;
}

GraphView graph_view_make(Arena *arena, const Graph *g, ViewDetail detail)
{
    GraphView view = {.arena = arena};
    size_t most = g->n_nodes + g->n_outputs;
    Maker m = {.g = g, .view = &view, .words = (most + 63) / 64};
    m.box_of = arena_array(arena, uint32_t, g->n_nodes + 1);
    m.param_of = arena_array(arena, ValueId, g->n_nodes + 1);
    m.reaches = arena_array(arena, uint64_t *, most + 1);
    m.last_node = arena_array(arena, uint32_t, most + 1);
    m.ops = arena_array(arena, Text, most + 1);
    for (ValueId id = 1; id < g->n_nodes; id++)
        place_node(&m, id);
    for (uint32_t b = 0; b < view.n_boxes; b++)
        name_box(&m, b);
    group_own_boxes(&view);
    for (size_t i = 0; i < g->n_outputs; i++) {
        const Output *o = &g->output[i];
        if ((o->role != OUTPUT_RESULT && o->role != OUTPUT_LOSS) || !m.box_of[o->value])
            continue;
        const char *name = o->role == OUTPUT_LOSS ? arena_printf(arena, "loss.%s", o->name) : o->name;
        uint32_t b = new_box(
            &m,
            (ViewBox){.key = name, .title = name, .detail = type_text(&m, o->value), .copies = 1, .is_end = true});
        graph_view_edge(&view, m.box_of[o->value] - 1, b, false);
    }
    return detail == VIEW_ALL ? view : detail == VIEW_ITERATIONS ? by_iterations(&view) : folded(&view);
}
