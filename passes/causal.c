// causal: proves each `causal over T` claim, or names the op that leaks. Every value that a claim's inputs reach gets a
// record of what it reads (causal_facts.h); the outputs' records decide. The claims are used up.
// Needs: graphs as the front end built them. Keeps: everything else.
#include "causal_facts.h"
#include "pass.h"
#include "rewrite.h"

#include <string.h>

typedef struct Proof {
    PassContext *ctx;
    const Graph *g;
    const Reads  *base;                     // [n_nodes]: when nothing is an input
    Reads        *own;                      // [n_nodes]: for the claim at hand, of values that its inputs reach
    const Reads **reads;                    // [n_nodes]: one of the two
    ValueId       first, last;              // of the nodes that the claim at hand looked at
    Span        *blamed;                    // places already reported
    size_t       n_blamed, blamed_capacity;
} Proof;

static bool is_reached(const Proof *p, ValueId id)
{
    return p->reads[id] != &p->base[id];
}

// Only the nodes between a claim's inputs and its outputs are looked at, so a deep model costs no more per layer.
static void follow_claim(Proof *p, const Claim *c)
{
    const Graph *g = p->g;
    p->first = (ValueId)g->n_nodes;
    p->last = 0;
    for (size_t i = 0; i < c->n_out; i++)
        p->last = c->out[i] > p->last ? c->out[i] : p->last;
    for (size_t i = 0; i < c->n_in; i++)
        if (c->in[i]) {
            p->first = c->in[i] < p->first ? c->in[i] : p->first;
            p->own[c->in[i]] = reads_input(g, &g->node[c->in[i]].type, c->axis);
            p->reads[c->in[i]] = &p->own[c->in[i]];
        }
    for (ValueId id = p->first; id <= p->last; id++) {
        const Node *n = &g->node[id];
        bool reached = false;
        for (size_t i = 0; i < n->n_in; i++)
            reached |= is_reached(p, n->in[i]);
        if (!reached || is_reached(p, id))  // an input is taken as it is, even where another one reaches it
            continue;
        p->own[id] = reads_of_node(g, n, p->reads);
        p->reads[id] = &p->own[id];
    }
}

static void forget_claim(Proof *p, const Claim *c)
{
    for (size_t i = 0; i < c->n_in; i++)
        p->reads[c->in[i]] = &p->base[c->in[i]];
    for (ValueId id = p->first; id <= p->last; id++)
        p->reads[id] = &p->base[id];
}

static bool is_twin(const Graph *g, AxisId a, AxisId b)
{
    return a == b || g->axis[a].twin_of == b || g->axis[b].twin_of == a ||
           (g->axis[a].twin_of && g->axis[a].twin_of == g->axis[b].twin_of);
}

// Whether it reads up to the last position.
static bool reads_all(const Graph *g, const Claim *c, const Reads *r)
{
    return r->all || (r->fixed != NOWHERE && r->fixed >= graph_size(g, c->axis) - 1);
}

// How a record breaks the claim: 0 if it does not.
typedef enum Breach { KEPT, READS_ALL, READS_FIXED, READS_AHEAD } Breach;

static bool steps_over(const Claim *c, const Bound *b)
{
    for (size_t i = 0; i < b->n_terms; i++)
        if (b->term[i].axis == c->axis && b->term[i].stride > 1)
            return true;
    return false;
}

// A value without the claim's axis is judged by the axis that stands for it.
static bool is_ahead(const Graph *g, const Claim *c, const Bound *b, bool has_axis)
{
    int64_t shift = b->shift;
    bool own = false;
    for (size_t i = 0; i < b->n_terms; i++)
        if (b->term[i].stride == 1 && (b->term[i].axis == c->axis || (!has_axis && b->n_terms == 1)))
            own = true;
        else if (b->term[i].axis != c->axis && b->n_terms > 1 && shift < INT64_MAX / 2)
            shift += b->term[i].stride * (graph_size(g, b->term[i].axis) - 1);
        else
            return true;
    return !own || shift > 0;
}

static Breach judge(const Graph *g, const Claim *c, const Reads *r, const Type *type)
{
    bool has_time = false;
    for (size_t i = 0; i < type->n_axes; i++)
        has_time |= is_twin(g, type->axis[i], c->axis);
    if (!has_time)                          // the claim is about positions; this value has none
        return KEPT;
    if (r->all || (r->fixed != NOWHERE && r->fixed > 0 && r->fixed >= c->after))
        return reads_all(g, c, r) ? READS_ALL : READS_FIXED;
    for (size_t i = 0; i < r->n_bounds; i++)
        if (is_ahead(g, c, &r->bound[i], type_has(type, c->axis)))
            return READS_AHEAD;
    return KEPT;
}

// Walks from a value that breaks the claim towards the inputs, as long as an operand is already as bad.
static ValueId find_culprit(const Proof *p, const Claim *c, ValueId id, Breach breach)
{
    for (;;) {
        const Node *n = &p->g->node[id];
        ValueId worse = 0;
        for (size_t i = 0; i < n->n_in && !worse; i++) {
            const Reads *r = p->reads[n->in[i]];
            bool ahead = false;
            for (size_t k = 0; k < r->n_bounds; k++)
                ahead |= r->bound[k].shift > 0 || steps_over(c, &r->bound[k]);
            if (is_reached(p, n->in[i]) &&
                (breach == READS_ALL ? reads_all(p->g, c, r) : breach == READS_FIXED ? r->fixed >= c->after && r->fixed > 0 : ahead))
                worse = n->in[i];
        }
        if (!worse)
            return id;
        id = worse;
    }
}

// The last name of a path: GPT.l3.LN.2 -> LN
static const char *last_name(Arena *arena, const char *path)
{
    size_t end = path ? strlen(path) : 0;
    for (;;) {
        size_t begin = end;
        while (begin && path[begin - 1] != '.')
            begin--;
        if (begin && strspn(path + begin, "0123456789") == end - begin) {
            end = begin - 1;
            continue;
        }
        return arena_strndup(arena, path ? path + begin : "", end - begin);
    }
}

// The summed axis along which an operand reads the inputs.
static const char *summed_axis(const Proof *p, const Node *n)
{
    const Attr *over = n->op == OP_REDUCE ? &n->attr[1] : &n->attr[0];
    for (size_t i = 0; i < over->axes.n; i++)
        for (size_t k = 0; k < n->n_in; k++)
            if (reads_along(p->reads[n->in[k]], over->axes.id[i]))
                return p->g->axis[over->axes.id[i]].name;
    return over->axes.n ? p->g->axis[over->axes.id[0]].name : "?";
}

static void label_culprit(const Proof *p, const Claim *c, const Node *n, Breach breach, int64_t ahead)
{
    Diag *d = p->ctx->diag;
    const char *T = p->g->axis[c->axis].name;
    int64_t fixed = p->reads[n - p->g->node]->fixed;
    if (n->op == OP_AT) {
        diag_label(d, n->at, "every position reads this one");
        return;
    }
    if (breach == READS_FIXED) {
        diag_label(d, n->at, "every position reads positions up to %lld", (long long)fixed);
        return;
    }
    if (breach == READS_AHEAD && ahead > 0) {
        diag_label(d, n->at, "reaches %lld position%s ahead", (long long)ahead, ahead == 1 ? "" : "s");
        return;
    }
    const char *does = n->op == OP_REDUCE && n->attr[0].red != RED_SUM ? "looks at" : "sums over", *axis;
    switch ((int)n->op) {
    case OP_CONTRACT: case OP_REDUCE:
        axis = summed_axis(p, n);
        if (strcmp(axis, T) == 0)
            diag_label(d, n->at, "%s all positions of %s", does, T);
        else
            diag_label(d, n->at, "%s all %s, with nothing that keeps %s at or before %s", does, axis, axis, T);
        break;
    case OP_SPLIT: case OP_MERGE: diag_label(d, n->at, "positions along %s lose their order here", T); break;
    case OP_REVERSE: diag_label(d, n->at, "turns %s round", T); break;
    case OP_TAKE:    diag_label(d, n->at, "may gather from any %s", T); break;
    case OP_PUT_ADD: diag_label(d, n->at, "any %s may be put anywhere", T); break;
    case OP_FFTCONV: diag_label(d, n->at, "the filter reaches later positions of %s", T); break;
    case OP_TOPK:    diag_label(d, n->at, "chooses among all positions of %s", T); break;
    case OP_RANK: case OP_SLOT: case OP_ASSIGN:
        diag_label(d, n->at, "a later position may take the place of an earlier one");
        break;
    case OP_WINDOW:  diag_label(d, n->at, "steps over %s by more than one", T); break;
    default:         diag_label(d, n->at, "mixes positions of %s", T); break;
    }
}

static void help_culprit(const Proof *p, const Claim *c, const Node *n, Breach breach, int64_t ahead)
{
    Diag *d = p->ctx->diag;
    const char *T = p->g->axis[c->axis].name;
    if (n->op == OP_CONTRACT) {
        for (size_t i = 0; i < n->n_in; i++)
            if (p->g->node[n->in[i]].op == OP_PARAM) {
                diag_help(d, "store only the past: `param %s[..] = .. with shape = lower(%s, %s)`",
                          last_name(p->ctx->arena, p->g->node[n->in[i]].attr[0].name), T, summed_axis(p, n));
                return;
            }
        if (strcmp(summed_axis(p, n), T) != 0)
            diag_help(d, "mask what is summed: `keep = index(%s) <= index(%s)`", summed_axis(p, n), T);
    } else if (n->op == OP_REDUCE && strcmp(summed_axis(p, n), T) != 0) {
        diag_help(d, "%s: `mask(.., keep = index(%s) <= index(%s))`",
                  breach == READS_AHEAD && ahead > 0 ? "let the mask keep none of them" : "mask it first", summed_axis(p, n), T);
    } else if (n->op == OP_WINDOW && breach == READS_AHEAD) {
        diag_help(d, "`pad=past` reads only the positions up to here");
    }
}

static bool was_blamed(Proof *p, Span at)
{
    for (size_t i = 0; at.file && i < p->n_blamed; i++)
        if (memcmp(&p->blamed[i], &at, sizeof at) == 0)
            return true;
    p->blamed = arena_grow(p->ctx->arena, p->blamed, p->n_blamed, &p->blamed_capacity, sizeof *p->blamed);
    p->blamed[p->n_blamed++] = at;
    return false;
}

// "position 3 can see position 7", with positions that the axis has
static const char *example(const Proof *p, const Claim *c, const Reads *r, Breach breach, int64_t ahead)
{
    int64_t size = graph_size(p->g, c->axis), from = 0, to = size - 1;
    if (breach == READS_ALL && size >= 8) {
        from = 3;
        to = 7;
    } else if (breach == READS_FIXED) {
        to = r->fixed;
    } else if (breach == READS_AHEAD && ahead > 0) {
        from = size > ahead + 3 ? 3 : 0;
        to = from + ahead;
    }
    if (from >= to || to >= size)
        return "a position can see later ones";
    return arena_printf(p->ctx->arena, "position %lld can see position %lld", (long long)from, (long long)to);
}

static void report(Proof *p, const Claim *c, ValueId out, Breach breach)
{
    Diag *d = p->ctx->diag;
    const Node *n = &p->g->node[find_culprit(p, c, out, breach)];
    if (was_blamed(p, n->at))
        return;
    const Reads *at = p->reads[n - p->g->node], *r = p->reads[out];
    int64_t ahead = 0;
    for (size_t i = 0; i < at->n_bounds; i++)
        ahead = at->bound[i].shift > ahead ? at->bound[i].shift : ahead;
    const char *layer = last_name(p->ctx->arena, c->layer), *T = p->g->axis[c->axis].name;
    const char *seen = example(p, c, r, breach, ahead);
    Span place = n->at.file ? n->at : c->at;
    if (c->leak_allowed)
        diag_warning(d, place, "W0412", "`%s` is not causal over %s in this mode, as it allows: %s", layer, T, seen);
    else
        diag_error(d, place, "E0412", "`%s` says it is causal over %s, but %s", layer, T, seen);
    diag_label(d, c->at, "claimed here");
    label_culprit(p, c, n, breach, ahead);
    if (!c->leak_allowed)
        help_culprit(p, c, n, breach, ahead);
}

static void prove(Proof *p, const Claim *c)
{
    follow_claim(p, c);
    for (size_t i = 0; i < c->n_out; i++) {
        Breach breach = judge(p->g, c, p->reads[c->out[i]], &p->g->node[c->out[i]].type);
        if (breach != KEPT) {
            report(p, c, c->out[i], breach);
            break;
        }
    }
    forget_claim(p, c);
}

static Graph *prove_graph(PassContext *ctx, const Graph *g)
{
    Graph *out = arena_new(ctx->arena, Graph);
    *out = *g;
    out->claim = NULL;
    out->n_claims = out->claim_capacity = 0;
    if (!g->n_claims)
        return out;
    Arena scratch = scratch_arena(ctx->arena);
    Reads *base = arena_array(&scratch, Reads, g->n_nodes);
    const Reads **reads = arena_array(&scratch, const Reads *, g->n_nodes);
    for (ValueId id = 0; id < g->n_nodes; id++) {
        reads[id] = &base[id];
        if (id)
            base[id] = reads_of_node(g, &g->node[id], reads);
    }
    Proof p = {.ctx = ctx, .g = g, .base = base, .own = arena_array(&scratch, Reads, g->n_nodes), .reads = reads};
    for (size_t i = 0; i < g->n_claims; i++)
        prove(&p, &g->claim[i]);
    arena_free(&scratch);
    return out;
}

bool pass_causal(PassContext *ctx, const Module *in, Module *out)
{
    size_t before = ctx->diag->n_errors;
    for (size_t i = 0; i < in->n_graphs; i++)
        module_add_graph(out, prove_graph(ctx, in->graph[i]));
    return ctx->diag->n_errors == before;
}
