// Text -> module. See module_text.h.
#include "graph_text.h"
#include "module_fields.h"
#include "module_text.h"

#include <math.h>
#include <string.h>

const char *const train_optimizer_text[] = {[OPTIMIZER_SGD] = "sgd", [OPTIMIZER_ADAM] = "adam", [OPTIMIZER_LAMB] = "lamb"};
const char *const train_schedule_text[] = {[SCHEDULE_CONSTANT] = "constant", [SCHEDULE_LINEAR] = "linear",
                                     [SCHEDULE_COSINE] = "cosine", [SCHEDULE_RSQRT] = "rsqrt"};
const char *const param_role_text[] = {[PARAM_TRAINED] = "trained", [PARAM_STATE] = "state"};
enum { N_OPTIMIZERS = 3, N_SCHEDULES = 4, N_ROLES = 2 };

#define FIELD(name, kind) {#name, offsetof(TrainSpec, name), TRAIN_##kind}
const TrainField train_field[] = {
    FIELD(lr, DOUBLE), FIELD(beta1, DOUBLE), FIELD(beta2, DOUBLE), FIELD(eps, DOUBLE), FIELD(decay, DOUBLE),
    FIELD(momentum, DOUBLE), FIELD(nesterov, DOUBLE), FIELD(correct, DOUBLE), FIELD(trust, DOUBLE), FIELD(clip, DOUBLE),
    FIELD(warmup, INT), FIELD(steps, INT), FIELD(start, DOUBLE), FIELD(floor, DOUBLE), FIELD(batch, INT),
    FIELD(grad_accum, INT), FIELD(ema, DOUBLE), FIELD(bf16, BOOL),
};
const size_t train_field_count = sizeof train_field / sizeof *train_field;
#undef FIELD

double train_field_get(const TrainSpec *t, size_t field)
{
    const char *at = (const char *)t + train_field[field].at;
    switch (train_field[field].kind) {
    case TRAIN_DOUBLE: return *(const double *)(const void *)at;
    case TRAIN_INT:    return (double)*(const int64_t *)(const void *)at;
    case TRAIN_BOOL:   return *(const bool *)(const void *)at;
    }
    return NAN;
}

bool train_field_set(TrainSpec *t, size_t field, double value)
{
    char *at = (char *)t + train_field[field].at;
    switch (train_field[field].kind) {
    case TRAIN_DOUBLE: *(double *)(void *)at = value; return true;
    case TRAIN_INT:
        if (!(fabs(value) <= 9007199254740992.0) || value != floor(value))
            return false;
        *(int64_t *)(void *)at = (int64_t)value;
        return true;
    case TRAIN_BOOL:
        *(bool *)(void *)at = value != 0;
        return value == 0 || value == 1;
    }
    return false;
}

// NAME =
static bool read_key(Scan *s, const char *name)
{
    return scan_expect_word(s, name) && scan_expect(s, '=');
}

static bool read_train(Scan *s, Module *m)
{
    size_t optimizer, schedule;
    if (m->has_train)
        return scan_fail(s, "`train` stands twice");
    if (!scan_expect(s, '{') || !read_key(s, "optimizer") || !scan_choice(s, "an optimiser", train_optimizer_text, N_OPTIMIZERS, &optimizer)
        || !scan_expect(s, ',') || !read_key(s, "schedule") || !scan_choice(s, "a schedule", train_schedule_text, N_SCHEDULES, &schedule))
        return false;
    m->has_train = true;
    m->train = (TrainSpec){.optimizer = (OptimizerKind)optimizer, .schedule = (ScheduleKind)schedule};
    for (size_t i = 0; i < train_field_count; i++) {
        double value;
        if (!scan_expect(s, ',') || !read_key(s, train_field[i].name) || !scan_double(s, "a number", &value))
            return false;
        if (!train_field_set(&m->train, i, value))
            return scan_fail(s, "`%s` cannot be %g", train_field[i].name, value);
    }
    return scan_expect(s, '}');
}

static bool read_param(Scan *s, Module *m)
{
    Param p = {0};
    size_t role;
    const Graph *g = m->graph[0];
    if (!scan_string(s, "a name", &p.name) || !scan_choice(s, "trained or state", param_role_text, N_ROLES, &role)
        || !graph_read_type(s, g, &p.type) || !scan_expect(s, '{') || !read_key(s, "lr") || !scan_double(s, "a rate", &p.lr)
        || !scan_expect(s, ',') || !read_key(s, "decay") || !scan_double(s, "a number", &p.decay) || !scan_expect(s, ',')
        || !read_key(s, "trust") || !scan_double(s, "a number", &p.trust) || !scan_expect(s, '}'))
        return false;
    if (scan_accept_word(s, "lower")
        && (!graph_read_axis(s, g, &p.lower_row) || !scan_expect(s, ',') || !graph_read_axis(s, g, &p.lower_col)))
        return false;
    if (p.lower_row && (!type_has(&p.type, p.lower_row) || !type_has(&p.type, p.lower_col)
                        || graph_size(g, p.lower_row) != graph_size(g, p.lower_col)))
        return scan_fail(s, "`%s` cannot be triangular over these axes", p.name);
    p.role = (ParamRole)role;
    m->param = arena_grow(m->arena, m->param, m->n_params, &m->param_capacity, sizeof *m->param);
    m->param[m->n_params++] = p;
    return true;
}

// @NAME of a graph that was read before
static bool read_graph_ref(Scan *s, const Module *m, Graph **out_graph)
{
    const char *name;
    if (!scan_expect(s, '@') || !scan_name(s, "a graph's name", &name))
        return false;
    *out_graph = module_graph(m, name);
    return *out_graph || scan_fail(s, "no graph is called `%s`", name);
}

static bool read_value(Scan *s, const Graph *g, ValueId *out_id)
{
    if (s->token.kind != TOKEN_VALUE || s->token.number == 0 || s->token.number >= g->n_nodes)
        return scan_fail(s, "expected a value of graph `%s`", g->name);
    *out_id = s->token.number;
    scan_next(s);
    return true;
}

// [%1, %2]
static bool read_values(Scan *s, const Graph *g, ValueId **out_list, size_t *out_n)
{
    size_t capacity = 0;
    *out_list = NULL;
    *out_n = 0;
    if (!scan_expect(s, '['))
        return false;
    while (!scan_is(s, ']')) {
        ValueId id = 0;
        if ((*out_n && !scan_expect(s, ',')) || !read_value(s, g, &id))
            return false;
        *out_list = arena_grow(s->arena, *out_list, *out_n, &capacity, sizeof **out_list);
        (*out_list)[(*out_n)++] = id;
    }
    scan_next(s);
    return true;
}

static bool read_claim(Scan *s, const Module *m)
{
    Graph *g;
    Claim c = {0};
    int64_t leak;
    if (!read_graph_ref(s, m, &g) || !scan_string(s, "a layer's path", &c.layer) || !scan_expect_word(s, "over")
        || !graph_read_axis(s, g, &c.axis) || !scan_expect(s, '{') || !read_key(s, "after") || !scan_int(s, "a position", &c.after)
        || !scan_expect(s, ',') || !read_key(s, "leak") || !scan_int(s, "0 or 1", &leak) || !scan_expect(s, '}')
        || !read_values(s, g, &c.in, &c.n_in) || !scan_expect_word(s, "to")
        || !read_values(s, g, &c.out, &c.n_out))
        return false;
    if (leak < 0 || leak > 1 || c.after < 0)
        return scan_fail(s, "a claim has after >= 0 and leak 0 or 1");
    c.leak_allowed = leak == 1;
    g->claim = arena_grow(g->arena, g->claim, g->n_claims, &g->claim_capacity, sizeof *g->claim);
    g->claim[g->n_claims++] = c;
    return true;
}

static bool read_layer(Scan *s, const Module *m)
{
    Graph *g;
    const char *path;
    if (!read_graph_ref(s, m, &g) || !scan_string(s, "a layer's path", &path))
        return false;
    do {
        ValueId first = 0, last;
        if (!read_value(s, g, &first))
            return false;
        last = first;
        if (scan_accept(s, ':') && !read_value(s, g, &last))
            return false;
        if (last < first)
            return scan_fail(s, "a range of values begins with the lower one");
        for (ValueId id = first; id <= last; id++) {
            if (g->node[id].layer)
                return scan_fail(s, "%%%u is made by two layers", id);
            g->node[id].layer = path;
        }
    } while (s->token.kind == TOKEN_VALUE);
    return true;
}

static bool read_line(Scan *s, Module *m, ModuleWants *wants)
{
    const char *path;
    if (scan_accept_word(s, "want")) {
        if (scan_accept_word(s, "step"))
            wants->step = true;
        else if (scan_accept_word(s, "next"))
            wants->next = true;
        else if (scan_expect_word(s, "bf16"))
            wants->bf16 = true;
        return !s->failed;
    }
    if (scan_accept_word(s, "train"))
        return read_train(s, m);
    if (scan_accept_word(s, "param"))
        return read_param(s, m);
    if (scan_accept_word(s, "claim"))
        return read_claim(s, m);
    if (scan_accept_word(s, "layer"))
        return read_layer(s, m);
    if (!scan_expect_word(s, "recompute") || !scan_string(s, "a layer's path", &path))
        return false;
    m->recompute = arena_grow(m->arena, m->recompute, m->n_recompute, &m->recompute_capacity, sizeof *m->recompute);
    m->recompute[m->n_recompute++] = path;
    return true;
}

Module *module_parse(Arena *arena, Diag *diag, const Sources *sources, uint32_t file, ModuleWants *out_wants)
{
    Scan s = scan_make(arena, diag, sources, file);
    Module *m = module_make(arena, diag);
    ModuleWants wants = {0};
    do {
        Graph *g = graph_read(&s);
        if (!g)
            return NULL;
        if (strcmp(g->name, "init") == 0) {     // module_print leaves it out
            scan_fail(&s, "the graph `init`, which draws the first weights, is not part of a module's text");
            return NULL;
        }
        if (module_graph(m, g->name)) {
            scan_fail(&s, "the graph `%s` stands twice", g->name);
            return NULL;
        }
        module_add_graph(m, g);
    } while (scan_is_word(&s, "graph"));
    if (scan_accept_word(&s, "module")) {
        if (!scan_expect(&s, '{'))
            return NULL;
        while (!scan_is(&s, '}'))
            if (!read_line(&s, m, &wants))
                return NULL;
        scan_next(&s);
    }
    if (s.token.kind != TOKEN_END) {
        scan_fail(&s, "expected a graph, `module {` or the end of the text");
        return NULL;
    }
    *out_wants = wants;
    return m;
}
