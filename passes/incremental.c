// incremental: text is generated position by position. Beside main, which computes a window of positions, comes a graph `next`
// that computes the scores of the position after those that are known.
//
//   main    as before, and new values of the states of `next` (OUTPUT_NEXT): it fills them for a text that is there already
//   next    ARG next.position (int[]): where the new token stands; ARG tokens [B,now]; STATE cache/..; the scores [B,now,V]
//   block   only where there are long convolutions (incremental_conv.c): what a full block of positions, ARG next.block
//           (int[block]), means for later ones. To be run when the last position of a block has been computed, before the next one
//           is. main then has an ARG next.position too: how many tokens are known
//
// The scores of `next` are those of main at that position. What is needed of earlier positions is kept in caches, values of main
// along their axis of time, of which each step writes one row: the keys and values of attention, what a long convolution reads.
// What the tokens do not reach and is dear (the filters that a network makes of positions) is kept as main made it.
//
// Which value needs what is found from the scores backwards (incremental_rows.c). That no row reads a row that is not there yet
// is proved as `causal` does it, with the caches as inputs. Where something is not known or not proved, there is no `next`, and
// the module says why (Module.no_steps).
// Needs: a folded graph. Does nothing unless generation is wanted (PassContext.generate).
#include "incremental.h"

#include "clean.h"

#include <string.h>

enum { FEW_ELEMENTS = 4096 };               // functions of so many elements are computed again in each step

bool step_varies(const Steps *s, ValueId v)
{
    return reads_depend(s->reads[v]);
}

void step_fail(Steps *s, ValueId v, const char *why)
{
    if (!s->why) {
        s->why = why;
        s->blamed = v;
    }
}

void step_want_whole(Steps *s, ValueId v)
{
    s->forms[v].whole = true;
}

void step_want_rows(Steps *s, ValueId v, AxisId axis)
{
    Forms *f = &s->forms[v];
    for (size_t i = 0; i < f->n_rows; i++)
        if (f->axis[i] == axis)
            return;
    if (graph_size(s->in, axis) != graph_size(s->in, s->time))
        step_fail(s, v, "it counts other positions than the tokens");
    else if (f->n_rows == MAX_ROWS)
        step_fail(s, v, "it counts positions in too many ways");
    else
        f->axis[f->n_rows++] = axis;
}

// --- what is there

static ValueId find_tokens(const Graph *g)
{
    for (ValueId v = 1; v < g->n_nodes; v++)
        if (g->node[v].op == OP_ARG && g->node[v].type.dtype == DTYPE_I32 && g->node[v].type.n_axes == 2)
            return v;
    return 0;
}

// The result [B,T,V] with a score for every token.
static const Output *find_scores(const Graph *g, ValueId tokens)
{
    const Type *t = &g->node[tokens].type;
    for (size_t i = 0; tokens && i < g->n_outputs; i++) {
        const Type *type = &g->node[g->output[i].value].type;
        if (g->output[i].role == OUTPUT_RESULT && type->n_axes == 3 && type->axis[0] == t->axis[0] && type->axis[1] == t->axis[1])
            return &g->output[i];
    }
    return NULL;
}

// Up to which position each value reads: of the tokens, or of the caches where some are chosen.
static void find_reads(Steps *s, Reads *own)
{
    const Graph *g = s->in;
    for (ValueId v = 1; v < g->n_nodes; v++) {
        own[v] = v == s->tokens ? reads_input(g, &g->node[v].type, s->time) : reads_of_node(g, &g->node[v], s->reads);
        s->reads[v] = &own[v];
    }
}

// The one axis by which the value counts positions, of which each reads none after itself; 0: it is not like that.
static AxisId counted_along(const Steps *s, ValueId v, const Reads *r)
{
    if (r->all || r->fixed != NOWHERE || !r->n_bounds)
        return 0;
    const AxisId axis = r->bound[0].term[0].axis;
    for (size_t i = 0; i < r->n_bounds; i++) {
        const Bound *b = &r->bound[i];
        if (b->n_terms != 1 || b->term[0].axis != axis || b->term[0].stride != 1 || b->shift > 0)
            return 0;
    }
    return type_has(&s->in->node[v].type, axis) && graph_size(s->in, axis) == graph_size(s->in, s->time) ? axis : 0;
}

static bool is_dear(const Graph *g, const Node *n)
{
    int64_t count = 0;
    switch ((int)n->op) {
    case OP_CONTRACT: case OP_REDUCE: case OP_FFTCONV: case OP_PUT_ADD: case OP_TOPK: case OP_RANK: case OP_SLOT: case OP_ASSIGN:
        return true;
    case OP_MAP: case OP_SLOPE: case OP_POW: case OP_ATAN2: case OP_MOD:
        return !type_count(g, &n->type, &count) || count > FEW_ELEMENTS;
    default:
        return false;
    }
}

static void find_dear(Steps *s)
{
    const Graph *g = s->in;
    for (ValueId v = 1; v < g->n_nodes; v++) {
        s->dear[v] = is_dear(g, &g->node[v]);
        for (size_t i = 0; i < g->node[v].n_in; i++)
            s->dear[v] |= s->dear[g->node[v].in[i]];
    }
}

// --- what is needed

static void keep(Steps *s, ValueId v, Kept how, AxisId along)
{
    s->forms[v].kept = how;
    s->forms[v].along = along;
    if (how == KEPT_CACHE)
        step_want_rows(s, v, along);
}

// A view is index arithmetic: what it shows is kept, unless it shows only a part.
static bool is_seen_through(const Node *n)
{
    return (op_row[n->op].flags & OP_FLAG_VIEW) && n->op != OP_AT && n->op != OP_SLICE;
}

static void plan_whole(Steps *s, ValueId v)
{
    const Node *n = &s->in->node[v];
    const bool varies = step_varies(s, v);
    if (n->n_in == 0 && !varies) {
        if (n->op == OP_ARG && n->type.n_axes)
            step_fail(s, v, "the model reads an input beside the tokens");
        return;
    }
    if (n->op == OP_RANDOM)
        step_fail(s, v, "it is drawn for the whole window");
    const AxisId along = varies ? counted_along(s, v, s->reads[v]) : 0;
    const bool part_of_time = varies && !along && (n->op == OP_AT || n->op == OP_SLICE);
    if ((varies || s->dear[v]) && !is_seen_through(n) && !part_of_time) {
        if (varies && !along)
            step_fail(s, v, "it reads more than the positions up to each one, or holds a table of positions by positions");
        else
            keep(s, v, varies ? KEPT_CACHE : KEPT_FIXED, along);
        return;
    }
    for (size_t i = 0; i < n->n_in; i++) {
        if (n->hint && op_row[n->op].flags & OP_FLAG_VIEW)
            s->forms[n->in[i]].seen_as = n->hint;
        step_want_whole(s, n->in[i]);
    }
}

// cache/GPT.l0.Attn.k: the layer, and what the model calls the value. A number where that is taken.
static void name_states(Steps *s)
{
    const Graph *g = s->in;
    size_t n = 0;
    ValueId *named = arena_array(s->scratch, ValueId, g->n_nodes);
    for (ValueId v = 1; v < g->n_nodes; v++) {
        Forms *f = &s->forms[v];
        const Node *node = &g->node[v];
        if (!f->kept && !f->is_long)
            continue;
        const char *hint = node->hint ? node->hint : f->seen_as ? f->seen_as : op_row[node->op].text;
        const char *base = arena_printf(s->ctx->arena, CACHE_PREFIX "%s%s%s", node->layer ? node->layer : "", node->layer ? "." : "", hint);
        f->name = base;
        for (size_t i = 0, again = 2; i < n; i++)
            if (!strcmp(s->forms[named[i]].name, f->name)) {
                f->name = arena_printf(s->ctx->arena, "%s.%zu", base, again++);
                i = SIZE_MAX;               // from the first once more
            }
        f->past = arena_printf(s->ctx->arena, "%s.past", f->name);
        named[n++] = v;
    }
}

static void plan(Steps *s)
{
    step_want_rows(s, s->scores, s->time);
    for (ValueId v = (ValueId)s->in->n_nodes; v-- > 1 && !s->why;) {
        const Forms *f = &s->forms[v];
        size_t n_planned = 0;
        bool whole = false;                 // a whole value may need its rows, and rows the whole value
        while (!s->why && (n_planned < f->n_rows || whole < f->whole)) {
            if (whole < f->whole) {
                whole = true;
                plan_whole(s, v);
            }
            while (n_planned < f->n_rows && !s->why)
                step_rows_plan(s, v, f->axis[n_planned++]);
        }
    }
}

// With the caches as inputs no row may read one that is not there yet: neither the scores nor what goes into a cache.
static void prove(Steps *s)
{
    const Graph *g = s->in;
    Reads *own = arena_array(s->scratch, Reads, g->n_nodes);
    for (ValueId v = 1; v < g->n_nodes && !s->why; v++) {
        const Forms *f = &s->forms[v];
        own[v] = v == s->tokens ? reads_input(g, &g->node[v].type, s->time) : reads_of_node(g, &g->node[v], s->reads);
        if (f->kept == KEPT_CACHE && counted_along(s, v, &own[v]) != f->along)
            step_fail(s, v, "it may read positions that are not there yet");
        if (f->kept == KEPT_CACHE)
            own[v] = reads_input(g, &g->node[v].type, f->along);
        s->reads[v] = &own[v];
    }
    if (!s->why && counted_along(s, s->scores, s->reads[s->scores]) != s->time)
        step_fail(s, s->scores, "the scores are not causal");
}

// --- what is made

static void emit_whole(Steps *s, ValueId v)
{
    const Node *n = &s->in->node[v];
    const Forms *f = &s->forms[v];
    Graph *g = s->rw.out;
    if (!f->kept) {
        rewrite_copy(&s->rw, v);
        return;
    }
    rewrite_at(&s->rw, v);
    const ValueId state = graph_leaf(g, OP_STATE, f->name, n->type);
    s->rw.map[v] = state;
    if (f->kept == KEPT_CACHE && s->place) {
        s->rw.map[v] = graph_put(g, state, s->place, step_rows_value(s, v, f->along), f->along);
        graph_output(g, OUTPUT_NEXT, f->name, s->rw.map[v]);
    }
}

static Graph *cleaned(Steps *s)
{
    Graph *g = s->rw.out;
    g->at = (Span){0};
    g->layer = NULL;
    graph_sweep(g);
    return graph_cse(s->ctx->arena, graph_fold(s->ctx->arena, g, true));
}

static Graph *emit_next(Steps *s, const Output *scores)
{
    s->rw = rewrite_begin(s->ctx->arena, s->scratch, s->in);
    Graph *g = s->rw.out;
    g->name = "next";
    s->now = graph_axis(g, "now", AXIS_TIME, 1, 0);
    s->position = graph_leaf(g, OP_ARG, POSITION_NAME, type_make(DTYPE_I32, NULL, 0));
    s->place = graph_binary(g, OP_ADD, s->position, graph_index(g, s->now));
    for (ValueId v = 1; v < s->in->n_nodes; v++) {
        Forms *f = &s->forms[v];
        const bool whole_first = f->whole && f->kept != KEPT_CACHE;
        if (whole_first)
            emit_whole(s, v);
        for (size_t i = 0; i < f->n_rows; i++)
            f->row[i] = step_rows_emit(s, v, f->axis[i]);
        if (f->whole && !whole_first)
            emit_whole(s, v);
    }
    graph_output(g, OUTPUT_RESULT, arena_strdup(g->arena, scores->name), step_rows_value(s, s->scores, s->time));
    return cleaned(s);
}

// What is done after each full block of positions; NULL: nothing.
static Graph *emit_block(Steps *s)
{
    if (!step_has_blocks(s))
        return NULL;
    s->rw = rewrite_begin(s->ctx->arena, s->scratch, s->in);
    s->rw.out->name = "block";
    s->place = 0;                           // nothing is put
    for (ValueId v = 1; v < s->in->n_nodes; v++)
        if (s->forms[v].whole)
            emit_whole(s, v);
    step_block_emit(s);
    return cleaned(s);
}

// main, with a new value of every state of next.
static Graph *with_caches(const Steps *s)
{
    Graph *g = graph_copy(s->ctx->arena, s->in, s->in->name, true);
    for (ValueId v = 1; v < s->in->n_nodes; v++)
        if (s->forms[v].kept)
            graph_output(g, OUTPUT_NEXT, s->forms[v].name, v);
    step_conv_fill(s, g);
    return g;
}

static const char *reason(const Steps *s)
{
    const Node *n = &s->in->node[s->blamed];
    Text t = text_make(s->ctx->arena);
    if (n->layer || n->hint)
        text_printf(&t, "%s%s%s: ", n->layer ? n->layer : "", n->layer && n->hint ? "." : "", n->hint ? n->hint : "");
    text_printf(&t, "%s (%s)", s->why, op_row[n->op].text);
    return text_str(&t);
}

static bool has_next(const Graph *g)
{
    bool any = false;
    for (size_t i = 0; i < g->n_outputs; i++)
        any |= g->output[i].role == OUTPUT_NEXT;
    return any;
}

static void make_steps(PassContext *ctx, const Graph *main, Module *out)
{
    Arena scratch = scratch_arena(ctx->arena);
    Steps s = {.ctx = ctx, .scratch = &scratch, .in = main, .tokens = find_tokens(main)};
    const Output *scores = find_scores(main, s.tokens);
    if (!scores || has_next(main)) {
        out->no_steps = scores ? "the model changes states of its own" : "the model has no scores [B,T,V] of tokens [B,T]";
        arena_free(&scratch);
        return;
    }
    s.scores = scores->value;
    s.batch = main->node[s.tokens].type.axis[0];
    s.time = main->node[s.tokens].type.axis[1];
    s.reads = arena_array(&scratch, const Reads *, main->n_nodes);
    s.dear = arena_array(&scratch, bool, main->n_nodes);
    s.forms = arena_array(&scratch, Forms, main->n_nodes);
    find_reads(&s, arena_array(&scratch, Reads, main->n_nodes));
    find_dear(&s);
    plan(&s);
    if (!s.why)
        prove(&s);
    name_states(&s);
    out->no_steps = s.why ? reason(&s) : NULL;
    if (!s.why) {
        module_add_graph(out, emit_next(&s, scores));
        Graph *block = emit_block(&s);
        if (block)
            module_add_graph(out, block);
        module_add_graph(out, with_caches(&s));
    }
    arena_free(&scratch);
}

bool pass_incremental(PassContext *ctx, const Module *in, Module *out)
{
    for (size_t i = 0; i < in->n_graphs; i++)
        module_add_graph(out, in->graph[i]);
    const Graph *main = ctx->generate ? module_graph(in, "main") : NULL;
    if (main)
        make_steps(ctx, main, out);
    return true;
}
