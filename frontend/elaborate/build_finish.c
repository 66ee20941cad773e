// Cuts the graphs `main` and `init` out of the one graph of an elaboration: what the outputs need, in the order in
// which it was written. Values of pooled(x) come last, because they join all uses of an instance.
#include "build_state.h"

#include <math.h>
#include <string.h>

typedef struct Cut {
    Build      *b;
    const Graph *from;
    Graph      *to;
    ValueId    *map;                        // old id -> new; 0: not copied
    AxisId     *axis;
    bool       *is_live, *is_pooled;        // pooled: needs a stand-in
    uint32_t   *pool_of;                    // stand-in -> pool + 1
    ValueId    *stack; size_t n_stack, stack_capacity;
} Cut;

static Cut cut_start(Build *b, const Build *of, const char *name)
{
    const Graph *g = of->g;
    Cut c = {.b = b, .from = g, .to = graph_make(b->arena, b->diag, name)};
    c.map = arena_array(b->arena, ValueId, g->n_nodes);
    c.axis = arena_array(b->arena, AxisId, g->n_axes);
    c.is_live = arena_array(b->arena, bool, g->n_nodes);
    c.is_pooled = arena_array(b->arena, bool, g->n_nodes);
    c.pool_of = arena_array(b->arena, uint32_t, g->n_nodes);
    for (size_t p = 0; p < of->n_pools; p++)
        for (size_t i = 0; i < of->pool[p]->n; i++)
            c.pool_of[of->pool[p]->stand_in[i]] = (uint32_t)p + 1;
    for (size_t i = 1; i < g->n_nodes; i++) {
        c.is_pooled[i] = c.pool_of[i] != 0;
        for (size_t k = 0; k < g->node[i].n_in; k++)
            c.is_pooled[i] = c.is_pooled[i] || c.is_pooled[g->node[i].in[k]];
    }
    return c;
}

static void push(Cut *c, ValueId id)
{
    if (!id || c->is_live[id])
        return;
    c->is_live[id] = true;
    c->stack = arena_grow(c->b->arena, c->stack, c->n_stack, &c->stack_capacity, sizeof *c->stack);
    c->stack[c->n_stack++] = id;
}

static void mark(Cut *c, const Build *of, ValueId root)
{
    push(c, root);
    while (c->n_stack) {
        ValueId id = c->stack[--c->n_stack];
        const Node *n = &c->from->node[id];
        for (size_t k = 0; k < n->n_in; k++)
            push(c, n->in[k]);
        if (c->pool_of[id]) {
            const Pool *p = of->pool[c->pool_of[id] - 1];
            for (size_t i = 0; i < p->n; i++)
                push(c, p->value[i]);
        }
    }
}

static AxisId map_axis(Cut *c, AxisId id)
{
    if (!id || c->axis[id])
        return c->axis[id];
    const Axis *a = &c->from->axis[id];
    AxisId twin = a->twin_of ? map_axis(c, a->twin_of) : 0;
    c->axis[id] = graph_axis(c->to, a->name, a->kind, a->size, twin);
    return c->axis[id];
}

static Type map_type(Cut *c, const Type *t)
{
    Type r = *t;
    for (size_t i = 0; i < t->n_axes; i++)
        r.axis[i] = map_axis(c, t->axis[i]);
    return r;
}

static Attr map_attr(Cut *c, const Attr *a)
{
    Attr r = *a;
    if (a->kind == ATTR_AXIS)
        r.axis = map_axis(c, a->axis);
    if (a->kind == ATTR_AXES) {
        r.axes.id = arena_array(c->b->arena, AxisId, a->axes.n ? a->axes.n : 1);
        for (size_t i = 0; i < a->axes.n; i++)
            r.axes.id[i] = map_axis(c, a->axes.id[i]);
    }
    return r;
}

static void copy_node(Cut *c, ValueId id)
{
    const Node *n = &c->from->node[id];
    ValueId in[8];
    Attr attr[OP_MAX_ATTRS];
    for (size_t k = 0; k < n->n_in; k++)
        in[k] = c->map[n->in[k]];
    Type type = map_type(c, &n->type);      // axes enter the new graph in the order of the values that hold them
    for (size_t k = 0; k < n->n_attr; k++)
        attr[k] = map_attr(c, &n->attr[k]);
    c->to->at = n->at;
    c->to->layer = n->layer;
    bool declared = (op_row[n->op].flags & OP_FLAG_DECLARED) != 0;
    c->map[id] = graph_add(c->to, n->op, in, n->n_in, attr, n->n_attr, declared ? &type : NULL);
    if (c->map[id])
        c->to->node[c->map[id]].hint = n->hint;
}

static ValueId pool_mean(Cut *c, Pool *p, const Node *like)
{
    ValueId sum = 0;
    Graph *g = c->to;
    for (size_t i = 0; i < p->n; i++) {
        ValueId v = c->map[p->value[i]];
        sum = sum ? graph_binary(g, OP_ADD, sum, v) : v;
    }
    ValueId mean = graph_binary(g, OP_MUL, sum, graph_const(g, DTYPE_F32, 1.0 / (double)p->n));
    Type type = map_type(c, &like->type);
    return graph_expand(g, mean, type.axis, type.n_axes);
}

static void copy_live(Cut *c, Build *of)
{
    for (ValueId id = 1; id < c->from->n_nodes; id++)
        if (c->is_live[id] && !c->is_pooled[id])
            copy_node(c, id);
    for (size_t i = 0; i < of->n_pools; i++)
        of->pool[i]->mean = 0;
    for (ValueId id = 1; id < c->from->n_nodes; id++) {
        if (!c->is_live[id] || !c->is_pooled[id])
            continue;
        if (!c->pool_of[id]) {
            copy_node(c, id);
            continue;
        }
        Pool *p = of->pool[c->pool_of[id] - 1];
        if (!p->mean)
            p->mean = pool_mean(c, p, &c->from->node[id]);
        c->map[id] = p->mean;
    }
    c->to->layer = NULL;
    c->to->at = (Span){0};
}

static void cut_claims(Cut *c)
{
    Graph *to = c->to;
    for (size_t i = 0; i < c->from->n_claims; i++) {
        Claim claim = c->from->claim[i], copy = claim;
        copy.axis = map_axis(c, claim.axis);
        copy.in = arena_array(c->b->arena, ValueId, claim.n_in + 1);
        copy.out = arena_array(c->b->arena, ValueId, claim.n_out + 1);
        copy.n_in = copy.n_out = 0;
        for (size_t k = 0; k < claim.n_in; k++)
            if (c->map[claim.in[k]])
                copy.in[copy.n_in++] = c->map[claim.in[k]];
        for (size_t k = 0; k < claim.n_out; k++)
            if (c->map[claim.out[k]])
                copy.out[copy.n_out++] = c->map[claim.out[k]];
        if (!copy.n_out)
            continue;
        to->claim = arena_grow(c->b->arena, to->claim, to->n_claims, &to->claim_capacity, sizeof copy);
        to->claim[to->n_claims++] = copy;
    }
}

// Every value must have a size that memory can be asked for.
static bool check_sizes(Build *b, const Cut *c)
{
    for (ValueId id = 1; id < c->from->n_nodes; id++) {
        const Node *n = &c->from->node[id];
        int64_t count;
        if (!c->is_live[id] || (type_count(c->from, &n->type, &count) && count <= INT64_MAX / 64))
            continue;
        if (report(b, n->at, "E0112", "this value would have more numbers than can be counted"))
            label_axes(b, n->at, val_tensor(id, false));
        return false;
    }
    return true;
}

static bool cut_main(Build *b)
{
    Cut c = cut_start(b, b, "main");
    for (size_t i = 0; i < b->g->n_outputs; i++)
        mark(&c, b, b->g->output[i].value);
    if (!check_sizes(b, &c))
        return false;
    copy_live(&c, b);
    for (size_t i = 0; i < b->g->n_outputs; i++) {
        const Output *o = &b->g->output[i];
        if (c.map[o->value])
            graph_output(c.to, o->role, o->name, c.map[o->value]);
    }
    cut_claims(&c);
    Module *m = b->module;
    for (size_t i = 0; i < b->n_params; i++) {
        const ParamInfo *p = b->param[i];
        Param param = {.name = p->path, .role = p->role, .type = map_type(&c, &p->type), .lr = p->lr,
                       .decay = p->decay, .trust = p->trust, .lower_row = map_axis(&c, p->lower_row),
                       .lower_col = map_axis(&c, p->lower_col), .at = p->decl->name->at};
        m->param = arena_grow(b->arena, m->param, m->n_params, &m->param_capacity, sizeof param);
        m->param[m->n_params++] = param;
    }
    module_add_graph(m, c.to);
    return true;
}

// What the host knows before training.
static bool is_known_leaf(const Node *n)
{
    const char *name = n->attr[0].name;
    return n->op == OP_ARG && (!strcmp(name, "seed") || !strncmp(name, INIT_FREQUENCY_HASH, strlen(INIT_FREQUENCY_HASH)));
}

// An initial value must not depend on inputs or on other parameters.
static bool init_is_constant(Build *b, const Cut *c, const ParamInfo *p)
{
    for (ValueId id = 1; id < c->from->n_nodes; id++) {
        const Node *n = &c->from->node[id];
        if (!c->is_live[id] || n->op > OP_STATE || n->op < OP_ARG)
            continue;
        if (is_known_leaf(n))
            continue;
        Span at = p->decl->init ? p->decl->init->at : p->decl->at;
        if (report(b, at, "E0118", "the initial value depends on %s `%s`",
                   n->op == OP_ARG ? "the input" : "the parameter", n->attr[0].name))
            diag_note(b->diag, "only constants, positions and values made of them are known before training");
        return false;
    }
    return true;
}

static bool needs_check(const Build *of, const ParamInfo *p)
{
    return p->decl->init && p->decl->init->kind != EXPR_NUMBER && of->g->node[p->init].n_in > 0;
}

static bool cut_init(Build *b, Build *of)
{
    Cut c = cut_start(b, of, "init");
    for (size_t i = 0; i < of->n_params; i++)
        if (of->param[i]->init)
            mark(&c, of, of->param[i]->init);
    bool ok = true;
    for (ValueId id = 1; ok && id < c.from->n_nodes; id++)
        ok = !c.is_live[id] || c.from->node[id].op > OP_STATE || is_known_leaf(&c.from->node[id]);
    if (!ok) {                              // find whose it is
        for (size_t i = 0; i < of->n_params; i++) {
            const ParamInfo *p = of->param[i];
            if (!p->init || !needs_check(of, p))
                continue;
            Cut one = cut_start(b, of, "init");
            mark(&one, of, p->init);
            if (!init_is_constant(b, &one, p))
                break;
        }
        return false;
    }
    copy_live(&c, of);
    for (size_t i = 0; i < of->n_params; i++)
        if (of->param[i]->init)
            graph_output(c.to, OUTPUT_NEXT, of->param[i]->path, c.map[of->param[i]->init]);
    module_add_graph(b->module, c.to);
    return true;
}

bool build_cut(Build *b, Build *init_from)
{
    return cut_init(b, init_from) && cut_main(b);
}

// ---- outputs of the elaboration, before the cut ----

static bool *pooled_flags(Build *b)
{
    return b->n_pools ? cut_start(b, b, "flags").is_pooled : NULL;
}

// A pooled penalty counts once, however often its instance is used: the last use stands for all.
static bool is_repeated(Build *b, const bool *pooled, Map *last, size_t i)
{
    const Term *t = &b->term[i];
    return pooled && pooled[t->id] && (uintptr_t)map_get(last, t->key) != i + 1;
}

static void add_terms(Build *b)
{
    bool *pooled = pooled_flags(b);
    Map last = {0}, names = {0};
    ValueId aux = 0;
    for (size_t i = 0; i < b->n_terms; i++)
        map_set(b->arena, &last, b->term[i].key, (void *)(uintptr_t)(i + 1));
    for (size_t i = 0; i < b->n_terms; i++) {
        const Term *t = &b->term[i];
        if (is_repeated(b, pooled, &last, i))
            continue;
        uintptr_t n = (uintptr_t)map_get(&names, t->name) + 1;
        map_set(b->arena, &names, t->name, (void *)n);
        const char *name = n == 1 ? t->name : arena_printf(b->arena, "%s.%zu", t->name, (size_t)n);
        graph_output(b->g, t->role, name, t->id);
        if (t->role == OUTPUT_TERM)
            aux = aux ? graph_binary(b->g, OP_ADD, aux, t->id) : t->id;
    }
    b->aux = aux ? val_tensor(aux, false) : val_number(number_of(0));
    if (aux)
        graph_output(b->g, OUTPUT_LOSS, "aux", aux);
}

static ValueId in_written_order(Build *b, const Formal *r, Val v)
{
    AxisList want;
    Frame *frame = b->frame;
    Scope *scope = b->scope;
    b->frame = b->entry_frame;
    b->scope = b->entry_frame->scope;
    bool ok = axes_names(b, r->type.dims, &want);
    b->frame = frame;
    b->scope = scope;
    const Type *t = &b->g->node[v.id].type;
    if (!ok || want.n != t->n_axes)
        return v.id;
    return spread(b, v.id, want.id, want.n);
}

void build_outputs(Build *b, const Val *results)
{
    size_t i = 0;
    add_terms(b);
    for (const Formal *r = b->entry->decl->results; r; r = r->next, i++) {
        if (results[i].kind != VAL_TENSOR)
            continue;
        b->g->at = r->at;
        graph_output(b->g, OUTPUT_RESULT, r->name ? r->name->text : "y", in_written_order(b, r, results[i]));
    }
    for (size_t k = 0; k < b->n_params; k++)
        if (b->param[k]->next)
            graph_output(b->g, OUTPUT_NEXT, b->param[k]->path, b->param[k]->next);
}
