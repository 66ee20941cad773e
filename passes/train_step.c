// train_step: main becomes step, the graph of one optimiser step.
//
//   loss (main) -> gradients -> [add to "grad/NAME"] -> norm, clip -> update of each parameter and of its states
//
// Needs: main with OUTPUT_LOSS "train". Makes: graph `step` in place of main, with
//   ARG lr (f32[])             the schedule's rate for this step; a parameter with its own peak rate scales it
//   ARG apply (f32[])          with train.grad_accum > 1 only: 1 in the last micro-batch of a step, else 0
//   STATE adam.m/NAME, adam.v/NAME, sgd.m/NAME, ema/NAME, grad/NAME, adam.c1, adam.c2, ema.c    zero at first
//   OUTPUT_NEXT                of every parameter and state, each elementwise in its old value, so that it may be written
//                              over it; the model's own states keep flowing
//   OUTPUT_LOSS, OUTPUT_TERM, OUTPUT_WATCH of main, and OUTPUT_WATCH "grad_norm" (before clipping). Results are dropped.
//
// Gradient accumulation is one graph that runs grad_accum times a step, not two graphs: one program to compile and to
// plan, for one pass over the optimiser's states in each run. Each run adds its share to grad/NAME; where `apply` is 0
// all else keeps its old value.
//
// A parameter that the loss does not depend on is left as it is: it is not in the graph. The result is folded and merged
// (fold, cse), so that what follows sees no leftovers of the gradient rules.
#include "clean.h"
#include "grad.h"
#include "pass.h"
#include "rewrite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Step {
    Graph           *g;
    const TrainSpec *t;
    ValueId          lr, apply;             // apply: 0 when every run is a whole step
    ValueId          correct1, correct2;    // 1/(1 - beta1^t), 1/(1 - beta2^t); 0: no correction
    ValueId          ema_share;             // weight of the new value in the running average; 0: no average
} Step;

typedef struct Trained {                    // one trained parameter
    const Param *param;
    ValueId      w, dw;
    AxisId       experts;                   // it holds a parameter for each of these; 0: it is one
} Trained;

static ValueId num(Step *s, double value)                 { return graph_const(s->g, DTYPE_F32, value); }
static ValueId add(Step *s, ValueId a, ValueId b)         { return graph_binary(s->g, OP_ADD, a, b); }
static ValueId sub(Step *s, ValueId a, ValueId b)         { return graph_binary(s->g, OP_SUB, a, b); }
static ValueId mul(Step *s, ValueId a, ValueId b)         { return graph_binary(s->g, OP_MUL, a, b); }
static ValueId divide(Step *s, ValueId a, ValueId b)      { return graph_binary(s->g, OP_DIV, a, b); }
static ValueId scale(Step *s, ValueId a, double factor)   { return factor == 1 ? a : mul(s, a, num(s, factor)); }
static ValueId root(Step *s, ValueId a)                   { return graph_map(s->g, ACT_SQRT, a); }

static double own(double value, double otherwise)
{
    return isnan(value) ? otherwise : value;
}

// Over all axes but `each` (0: over all).
static ValueId sum_of_squares(Step *s, ValueId x, AxisId each)
{
    const Type type = s->g->node[x].type;
    AxisId axis[MAX_AXES];
    size_t n = 0;
    for (int i = 0; i < type.n_axes; i++)
        if (type.axis[i] != each)
            axis[n++] = type.axis[i];
    return graph_reduce(s->g, RED_SUM, mul(s, x, x), axis, n);
}

static ValueId state(Step *s, const char *prefix, const char *name, Type type)
{
    return graph_leaf(s->g, OP_STATE, arena_printf(s->g->arena, "%s%s", prefix, name), type);
}

// The new value of a leaf. In a run that does not apply, it keeps the old one.
static void next(Step *s, ValueId leaf, ValueId value)
{
    Graph *g = s->g;
    if (s->apply)
        value = graph_select(g, s->apply, value, leaf);
    if (!value)
        return;
    Node *n = &g->node[value];
    n->type = g->node[leaf].type;
    if (!n->hint && g->node[leaf].hint)
        n->hint = arena_printf(g->arena, "new_%s", g->node[leaf].hint);
    graph_output(g, OUTPUT_NEXT, g->node[leaf].attr[0].name, value);
}

// m' = beta m + (1 - beta) x, and its update.
static ValueId running(Step *s, const char *prefix, const char *name, Type type, double beta, ValueId x)
{
    ValueId m = state(s, prefix, name, type);
    ValueId updated = add(s, scale(s, m, beta), scale(s, x, 1 - beta));
    next(s, m, updated);
    return updated;
}

// The factor 1 - beta^t of the bias correction, as a running average of ones. It needs no power and no step number, is
// exact to rounding for small t, where 1 - beta^t would cancel, and starts anew together with the averages it corrects.
static ValueId correction(Step *s, const char *name, double beta)
{
    return running(s, "", name, type_make(DTYPE_F32, NULL, 0), beta, num(s, 1));
}

// Adam's direction (Kingma and Ba 2015, algorithm 1):
//   m' = beta1 m + (1 - beta1) g          v' = beta2 v + (1 - beta2) g^2
//   u  = m'/(1 - beta1^t) / (sqrt(v'/(1 - beta2^t)) + eps)
static ValueId adam_direction(Step *s, const Trained *p, ValueId g)
{
    const TrainSpec *t = s->t;
    Type type = s->g->node[p->w].type;
    ValueId m = running(s, "adam.m/", p->param->name, type, t->beta1, g);
    ValueId v = running(s, "adam.v/", p->param->name, type, t->beta2, mul(s, g, g));
    if (s->correct1) {
        m = mul(s, m, s->correct1);
        v = mul(s, v, s->correct2);
    }
    return divide(s, m, add(s, root(s, v), num(s, t->eps)));
}

// SGD's direction with momentum mu (Sutskever et al. 2013, as torch.optim.SGD writes it: the first buffer is g, and g holds the
// decay of the weights already):
//   b' = mu b + g;  u = b', or with Nesterov's look-ahead u = g + mu b'
static ValueId sgd_direction(Step *s, const Trained *p, ValueId g)
{
    double mu = s->t->momentum;
    if (mu == 0)
        return g;
    ValueId b = state(s, "sgd.m/", p->param->name, s->g->node[p->w].type);
    ValueId updated = add(s, scale(s, b, mu), g);
    next(s, b, updated);
    return s->t->nesterov != 0 ? add(s, scale(s, updated, mu), g) : updated;
}

// LAMB's trust ratio (You et al. 2020, algorithm 2, phi(z) = z): |w| / |u|, or 1 where either is 0. Each expert's part of a
// parameter has its own.
static ValueId trust_ratio(Step *s, const Trained *p, ValueId u)
{
    ValueId norm_w = root(s, sum_of_squares(s, p->w, p->experts)), norm_u = root(s, sum_of_squares(s, u, p->experts));
    ValueId zero = num(s, 0);
    ValueId both = mul(s, graph_binary(s->g, OP_LT, zero, norm_w), graph_binary(s->g, OP_LT, zero, norm_u));
    return graph_select(s->g, both, divide(s, norm_w, norm_u), num(s, 1));
}

static ValueId decayed(Step *s, const Trained *p, ValueId x)
{
    const double decay = own(p->param->decay, s->t->decay);
    return decay == 0 ? x : add(s, x, scale(s, p->w, decay));
}

// w' = w - lr (u + decay w): the decay is decoupled (Loshchilov and Hutter 2019); LAMB scales the bracket by the trust ratio.
// SGD's decay is part of the gradient, so that momentum carries it on, as residual networks are trained (He et al. 2015).
static void update(Step *s, const Trained *p, ValueId g)
{
    const TrainSpec *t = s->t;
    s->g->at = s->g->node[p->w].at;
    s->g->layer = s->g->node[p->w].layer;
    const double peak = own(p->param->lr, t->lr);
    ValueId u = t->optimizer == OPTIMIZER_SGD ? sgd_direction(s, p, decayed(s, p, g)) : decayed(s, p, adam_direction(s, p, g));
    ValueId rate = peak == t->lr ? s->lr : scale(s, s->lr, peak / t->lr);
    if (t->optimizer == OPTIMIZER_LAMB && own(p->param->trust, t->trust) != 0)
        rate = mul(s, rate, trust_ratio(s, p, u));
    ValueId w = sub(s, p->w, mul(s, u, rate));
    next(s, p->w, w);
    if (s->ema_share) {
        // e' = e + share (w' - e) with share = (1 - ema)/(1 - ema^t): the average without the zero that it started from.
        ValueId e = state(s, "ema/", p->param->name, s->g->node[p->w].type);
        next(s, e, add(s, e, mul(s, sub(s, w, e), s->ema_share)));
    }
}

// Keeps what is above the diagonal of a lower-triangular parameter at zero: its gradient there is none.
static ValueId lower_part(Step *s, const Param *p, ValueId dw)
{
    if (!p->lower_row)
        return dw;
    ValueId below = graph_binary(s->g, OP_LE, graph_index(s->g, p->lower_col), graph_index(s->g, p->lower_row));
    Type type = s->g->node[dw].type;
    ValueId masked = graph_select(s->g, below, dw, num(s, 0));
    s->g->node[masked].type = type;
    return masked;
}

// Adds this run's share to what was gathered so far; the step that applies starts the next sum at zero.
static ValueId accumulate(Step *s, const Trained *p, ValueId dw)
{
    if (!s->apply)
        return dw;
    ValueId sum = state(s, "grad/", p->param->name, s->g->node[p->w].type);
    ValueId total = add(s, sum, scale(s, dw, 1.0 / (double)s->t->grad_accum));
    ValueId kept = graph_select(s->g, s->apply, num(s, 0), total);
    s->g->node[kept].type = s->g->node[p->w].type;
    graph_output(s->g, OUTPUT_NEXT, s->g->node[sum].attr[0].name, kept);
    return total;
}

static ValueId plus(Step *s, ValueId total, ValueId x)
{
    return total ? add(s, total, x) : x;
}

// Adds terms of one type to `total` in groups of eight; 0 takes a term's place then.
static ValueId add_alike(Step *s, ValueId total, const Trained *p, ValueId *term, size_t n)
{
    const Type type = s->g->node[p[0].dw].type;
    ValueId group = 0;
    size_t in_group = 0;
    for (size_t i = 0; i < n; i++) {
        if (!term[i] || !type_equal(&s->g->node[p[i].dw].type, &type))
            continue;
        group = in_group ? add(s, group, term[i]) : term[i];
        term[i] = 0;
        in_group = (in_group + 1) % 8;
        if (in_group == 0)
            total = plus(s, total, group);
    }
    return in_group ? plus(s, total, group) : total;
}

// The norm of all gradients together. Squares are added in groups of eight, so that no number is added to thousands of others,
// and type by type: so the kernels that do it repeat, and a deeper model has no other ones.
static ValueId global_norm(Step *s, const Trained *p, size_t n, Arena *scratch)
{
    ValueId *term = arena_array(scratch, ValueId, n), total = 0;
    for (size_t i = 0; i < n; i++) {
        s->g->at = s->g->node[p[i].w].at;
        term[i] = sum_of_squares(s, p[i].dw, 0);
    }
    s->g->at = (Span){0};
    for (size_t i = 0; i < n; i++)
        if (term[i])
            total = add_alike(s, total, p + i, term + i, n - i);
    ValueId norm = root(s, total);
    if (norm)
        s->g->node[norm].hint = "grad_norm";
    return norm;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const Param *const *)a)->name, (*(const Param *const *)b)->name);
}

// The trained parameters that main reads, in the module's order.
static size_t find_trained(const Module *m, const Graph *main, Arena *scratch, Trained *out)
{
    const Param **sorted = arena_array(scratch, const Param *, m->n_params);
    ValueId *leaf = arena_array(scratch, ValueId, m->n_params);
    for (size_t i = 0; i < m->n_params; i++)
        sorted[i] = &m->param[i];
    if (m->n_params)
        qsort(sorted, m->n_params, sizeof *sorted, by_name);
    for (ValueId id = 1; id < main->n_nodes; id++) {
        if (main->node[id].op != OP_PARAM)
            continue;
        const Param key = {.name = main->node[id].attr[0].name}, *k = &key;
        const Param **found = m->n_params ? bsearch(&k, sorted, m->n_params, sizeof *sorted, by_name) : NULL;
        if (found && (*found)->role == PARAM_TRAINED)
            leaf[*found - m->param] = id;
    }
    size_t n = 0;
    for (size_t i = 0; i < m->n_params; i++)
        if (leaf[i])
            out[n++] = (Trained){.param = &m->param[i], .w = leaf[i]};
    return n;
}

static bool lr_is_sound(const Module *m, Diag *diag)
{
    for (size_t i = 0; i < m->n_params; i++) {
        const Param *p = &m->param[i];
        if (p->role == PARAM_TRAINED && !isnan(p->lr) && p->lr != m->train.lr && m->train.lr == 0) {
            diag_error(diag, p->at, NULL, "`%s` has a learning rate of its own, and the optimiser's is 0", p->name);
            diag_note(diag, "a rate of its own is a share of the optimiser's, so that one schedule scales both");
            return false;
        }
    }
    return true;
}

static bool add_gradients(Step *s, ValueId loss, Trained *p, size_t *n, Arena *scratch)
{
    ValueId *wrt = arena_array(scratch, ValueId, *n), *grad = arena_array(scratch, ValueId, *n);
    for (size_t i = 0; i < *n; i++)
        wrt[i] = p[i].w;
    if (!grad_build(s->g, loss, wrt, *n, grad))
        return false;
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++)
        if (grad[i]) {
            p[kept] = p[i];
            p[kept++].dw = grad[i];
        }
    *n = kept;
    if (kept)
        return true;
    diag_error(s->g->diag, s->g->node[loss].at, "E0505", "the loss does not depend on any trained parameter");
    return false;
}

// Which parameters hold one for each expert: those that a route takes by the expert.
static void find_experts(const Graph *main, Trained *p, size_t n, Arena *scratch)
{
    AxisId *experts = arena_array(scratch, AxisId, main->n_nodes);
    for (ValueId v = 1; v < main->n_nodes; v++) {
        const Node *take = &main->node[v];
        if (take->op != OP_TAKE || main->axis[take->attr[0].axis].kind != AXIS_EXPERT)
            continue;
        ValueId from = take->in[0];
        while (main->node[from].op == OP_CAST)
            from = main->node[from].in[0];
        experts[from] = take->attr[0].axis;
    }
    for (size_t i = 0; i < n; i++)
        p[i].experts = experts[p[i].w];
}

static void add_updates(Step *s, Trained *p, size_t n, Arena *scratch)
{
    const TrainSpec *t = s->t;
    Type scalar = type_make(DTYPE_F32, NULL, 0);
    s->lr = graph_leaf(s->g, OP_ARG, "lr", scalar);
    if (t->grad_accum > 1)
        s->apply = graph_leaf(s->g, OP_ARG, "apply", scalar);
    for (size_t i = 0; i < n; i++) {
        s->g->at = s->g->node[p[i].w].at;
        s->g->layer = s->g->node[p[i].w].layer;
        p[i].dw = accumulate(s, &p[i], lower_part(s, p[i].param, p[i].dw));
    }
    s->g->at = (Span){0};
    s->g->layer = NULL;
    ValueId norm = global_norm(s, p, n, scratch), factor = 0;
    graph_output(s->g, OUTPUT_WATCH, "grad_norm", norm);
    // min(1, clip/norm) (Pascanu et al. 2013, algorithm 1)
    if (t->clip > 0)
        factor = graph_binary(s->g, OP_MIN, num(s, 1), divide(s, num(s, t->clip), norm));
    if (t->optimizer != OPTIMIZER_SGD && t->correct != 0) {
        s->correct1 = divide(s, num(s, 1), correction(s, "adam.c1", t->beta1));
        s->correct2 = divide(s, num(s, 1), correction(s, "adam.c2", t->beta2));
    }
    if (t->ema > 0)
        s->ema_share = divide(s, num(s, 1 - t->ema), correction(s, "ema.c", t->ema));
    for (size_t i = 0; i < n; i++)
        update(s, &p[i], factor ? mul(s, p[i].dw, factor) : p[i].dw);
}

static Graph *make_step(PassContext *ctx, const Module *m, const Graph *main)
{
    main = graph_cse(ctx->arena, main);         // a parameter is one leaf
    ValueId loss = graph_find_output(main, OUTPUT_LOSS, "train");
    if (!loss) {
        diag_error(ctx->diag, (Span){0}, NULL, "there is nothing to train: the graph has no training loss");
        return NULL;
    }
    if (!lr_is_sound(m, ctx->diag))
        return NULL;
    Arena scratch = scratch_arena(ctx->arena);
    Graph *g = graph_copy(ctx->arena, main, "step", false);
    g->diag = ctx->diag;
    Step s = {.g = g, .t = &m->train};
    for (size_t i = 0; i < main->n_outputs; i++)
        if (main->output[i].role != OUTPUT_RESULT)
            graph_output(g, main->output[i].role, main->output[i].name, main->output[i].value);
    Trained *p = arena_array(&scratch, Trained, m->n_params);
    size_t n = find_trained(m, main, &scratch, p), errors = ctx->diag->n_errors;
    find_experts(main, p, n, &scratch);
    bool good = add_gradients(&s, loss, p, &n, &scratch);
    if (good)
        add_updates(&s, p, n, &scratch);
    arena_free(&scratch);
    if (!good || ctx->diag->n_errors > errors)
        return NULL;
    return graph_cse(ctx->arena, graph_fold(ctx->arena, g, true));
}

bool pass_train_step(PassContext *ctx, const Module *in, Module *out)
{
    const Graph *main = module_graph(in, "main");
    bool wanted = ctx->train && main;
    if (wanted && !in->has_train) {
        diag_error(ctx->diag, (Span){0}, NULL, "a training step is wanted, and the model has no train section");
        return false;
    }
    for (size_t i = 0; i < in->n_graphs; i++)
        if (!wanted || in->graph[i] != main)
            module_add_graph(out, in->graph[i]);
    if (!wanted)
        return true;
    Graph *step = make_step(ctx, in, main);
    if (step)
        module_add_graph(out, step);
    return step != NULL;
}
