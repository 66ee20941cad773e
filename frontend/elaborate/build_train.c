// Sections: size, data, train and generate; what the command line puts in their place; the loss.
#include "build_state.h"

#include <math.h>
#include <string.h>

// ---- bindings ----

const Binding *binding_find(Build *b, const char *name)
{
    for (size_t i = 0; i < b->options->n_bindings; i++)
        if (strcmp(b->options->binding[i].name, name) == 0) {
            b->options->binding[i].used = true;
            return &b->options->binding[i];
        }
    return NULL;
}

// Reads the text of a value by the grammar of the language; silent when it is none.
const Expr *binding_expr(Build *b, const char *text)
{
    const Expr *known = map_get(b->binding_texts, text);
    if (known)
        return known->kind == EXPR_ERROR ? NULL : known;
    const char *line = arena_printf(b->arena, "mix 1 const value =\n%s\n", text);
    uint32_t file = sources_add(b->sources, "command line", line, strlen(line));
    Diag quiet = diag_make(b->arena, b->sources);
    Ast *ast = ast_parse(b->arena, &quiet, b->sources, file);
    const Item *item = ast ? ast->items : NULL;
    Expr *e = item && item->kind == ITEM_CONST && item->consts ? item->consts->value : NULL;
    if (!e || quiet.n_errors || item->next) {
        e = arena_new(b->arena, Expr);
        e->kind = EXPR_ERROR;
    }
    map_set(b->arena, b->binding_texts, text, e);
    return e->kind == EXPR_ERROR ? NULL : e;
}

// ---- finding keys ----

const Section *section_find(const Build *b, SectionKind kind, const char *name)
{
    for (const Item *i = b->ast->items; i; i = i->next)
        if (i->kind == ITEM_SECTION && i->section->kind == kind &&
            (!name || (i->section->name && strcmp(i->section->name->text, name) == 0)))
            return i->section;
    return NULL;
}

// `key = .. in MODE`: the mode's own, else the one without a mode, else what the mode falls back to.
static const KeyValue *key_find(const Build *b, const Section *s, const char *key)
{
    const KeyValue *plain = NULL, *own = NULL, *lower = NULL;
    for (const KeyValue *kv = s ? s->props : NULL; kv; kv = kv->next) {
        if (strcmp(kv->name->text, key) != 0)
            continue;
        ModeName mode = kv->mode ? mode_named(kv->mode->text) : MODE_NONE;
        if (!kv->mode)
            plain = kv;
        else if (mode == b->mode)
            own = kv;
        else if ((int)mode < (int)b->mode && (!lower || (int)mode > (int)mode_named(lower->mode->text)))
            lower = kv;
    }
    return own ? own : plain ? plain : lower;
}

// ---- fields: what the runtime reads ----

typedef struct Fields { Field *item; size_t n, capacity; } Fields;

static void set_field(Build *b, Fields *f, const char *key, const char *value)
{
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->item[i].key, key) == 0) {
            f->item[i].value = value;
            return;
        }
    f->item = arena_grow(b->arena, f->item, f->n, &f->capacity, sizeof *f->item);
    f->item[f->n++] = (Field){.key = key, .value = value};
}

static const char *number_field(Build *b, Number n)
{
    Text t = text_make(b->arena);
    int64_t whole;
    if (number_whole(n, &whole))
        text_printf(&t, "%lld", (long long)whole);
    else
        text_double(&t, n.value);
    return text_str(&t);
}

static bool is_number_name(Build *b, const char *name)
{
    Symbol *sym = scope_find(b->file_scope, name, NULL);
    return sym && (sym->kind == SYM_AXIS || sym->kind == SYM_LAZY_AXIS || sym->kind == SYM_LAZY_CONST ||
                   sym->kind == SYM_VALUE);
}

static void flatten(Build *b, Fields *f, const char *key, const Expr *e);

static void flatten_args(Build *b, Fields *f, const char *key, const Arg *args)
{
    size_t position = 0;
    for (const Arg *a = args; a; a = a->next) {
        const char *sub = a->name ? arena_printf(b->arena, "%s.%s", key, a->name->text)
                                  : arena_printf(b->arena, "%s.%zu", key, position++);
        if (a->value)
            flatten(b, f, sub, a->value);
    }
    set_field(b, f, arena_printf(b->arena, "%s.count", key), arena_printf(b->arena, "%zu", position));
}

static void flatten(Build *b, Fields *f, const char *key, const Expr *e)
{
    const char *word = NULL;
    const Arg *args = NULL;
    if (e->kind == EXPR_STRING)
        word = e->text;
    else if (e->kind == EXPR_NAME && !is_number_name(b, e->text))
        word = e->text;
    else if (e->kind == EXPR_CALL && e->a->kind == EXPR_NAME && strcmp(e->a->text, "floor") != 0 &&
             strcmp(e->a->text, "ceil") != 0 && strcmp(e->a->text, "sqrt") != 0 && strcmp(e->a->text, "min") != 0 &&
             strcmp(e->a->text, "max") != 0) {
        word = e->a->text;
        args = e->args;
    }
    if (word) {
        set_field(b, f, key, word);
        set_field(b, f, arena_printf(b->arena, "%s.name", key), word);
        if (args)
            flatten_args(b, f, key, args);
    } else if (e->kind == EXPR_TUPLE) {
        flatten_args(b, f, key, e->args);
    } else {
        Number n;
        if (value_of_number(b, e, &n))
            set_field(b, f, key, number_field(b, n));
    }
}

// Bindings such as data.source=file: what reads as an expression is flattened, anything else is text.
static void override_fields(Build *b, Fields *f, const char *section)
{
    size_t n = strlen(section);
    for (size_t i = 0; i < b->options->n_bindings; i++) {
        Binding *bind = &b->options->binding[i];
        if (strncmp(bind->name, section, n) != 0 || bind->name[n] != '.')
            continue;
        bind->used = true;
        const char *key = bind->name + n + 1;
        const Expr *e = binding_expr(b, bind->value);
        bool plain = e && (e->kind == EXPR_NUMBER || e->kind == EXPR_STRING || e->kind == EXPR_NAME ||
                           e->kind == EXPR_CALL || e->kind == EXPR_TUPLE || e->kind == EXPR_NEGATE);
        if (plain)
            flatten(b, f, key, e);
        else
            set_field(b, f, key, bind->value);
    }
}

static Fields section_fields(Build *b, const Section *s, const char *name, const char *const *skip)
{
    Fields f = {0};
    for (const KeyValue *kv = s ? s->props : NULL; kv; kv = kv->next) {
        bool skipped = false;
        for (size_t i = 0; skip && skip[i]; i++)
            skipped = skipped || strcmp(skip[i], kv->name->text) == 0;
        if (!skipped && key_find(b, s, kv->name->text) == kv)
            flatten(b, &f, kv->name->text, kv->value);
    }
    if (name)
        override_fields(b, &f, name);
    return f;
}

// ---- the train section ----

typedef struct OptionRow { const char *call, *name; size_t offset; double fallback; } OptionRow;

static const OptionRow option_row[] = {
#define OPTION(call, name, field, fallback, summary) {call, name, offsetof(TrainSpec, field), fallback},
#include "keys.def"
};
static const struct { const char *name; OptimizerKind kind; } optimizer_row[] = {
#define OPTIMIZER(name, kind, summary) {name, OPTIMIZER_##kind},
#include "keys.def"
};
static const struct { const char *name; ScheduleKind kind; } schedule_row[] = {
#define SCHEDULE(name, kind, summary) {name, SCHEDULE_##kind},
#include "keys.def"
};

enum { N_OPTIONS = sizeof option_row / sizeof *option_row };

static const Expr *train_key(Build *b, const Section *s, const char *key)
{
    const Binding *bind = binding_find(b, arena_printf(b->arena, "train.%s", key));
    if (bind) {
        const Expr *e = binding_expr(b, bind->value);
        if (e)
            return e;
        diag_error(b->diag, (Span){0}, "E0606", "train.%s=%s: the value is no expression", key, bind->value);
    }
    const KeyValue *kv = key_find(b, s, key);
    return kv ? kv->value : NULL;
}

static double number_key(Build *b, const Section *s, const char *key, double fallback)
{
    const Expr *e = train_key(b, s, key);
    Number n;
    return e && value_of_number(b, e, &n) ? n.value : fallback;
}

static int64_t count_key(Build *b, const Section *s, const char *key, int64_t fallback)
{
    const Expr *e = train_key(b, s, key);
    Number n;
    int64_t whole;
    if (!e || !value_of_number(b, e, &n))
        return fallback;
    if (number_whole(n, &whole) && whole >= 1)
        return whole;
    report(b, e->at, "E0606", "`%s` must be a whole number of at least 1, not %s", key, number_text(b->arena, n));
    return fallback;
}

// An argument of `call`, or its override train.NAME or train.CALL.NAME.
static bool option(Build *b, const char *call, const char *name, const Expr *e, double *out)
{
    const Binding *bind = binding_find(b, arena_printf(b->arena, "train.%s", name));
    if (!bind && call[0])
        bind = binding_find(b, arena_printf(b->arena, "train.%s.%s", call, name));
    const Expr *value = bind ? binding_expr(b, bind->value) : NULL;
    if (!value && e && e->kind == EXPR_CALL)
        for (const Arg *a = e->args; a; a = a->next)
            if (a->name && strcmp(a->name->text, name) == 0)
                value = a->value;
    Number n;
    if (!value || !value_of_number(b, value, &n))
        return false;
    bool below_one = strncmp(name, "beta", 4) == 0;         // a mean that decays by 1 or more has no limit
    if (!(n.value >= 0) || !isfinite(n.value) || (below_one && n.value >= 1)) {
        report(b, value->at, "E0606", "`%s` must be a number of at least 0%s, not %s", name, below_one ? " and below 1" : "",
               number_text(b->arena, n));
        return false;
    }
    *out = n.value;
    return true;
}

static const char *call_of(const Expr *e)
{
    if (!e)
        return NULL;
    return e->kind == EXPR_NAME ? e->text : e->kind == EXPR_CALL && e->a->kind == EXPR_NAME ? e->a->text : "";
}

static void check_options(Build *b, const char *call, const Expr *e)
{
    for (const Arg *a = e && e->kind == EXPR_CALL ? e->args : NULL; a; a = a->next) {
        bool known = a->name && strcmp(call, "schedule") == 0 &&
                     (strcmp(a->name->text, "warmup") == 0 || strcmp(a->name->text, "steps") == 0);
        for (size_t i = 0; a->name && i < N_OPTIONS; i++)
            known = known || (strcmp(option_row[i].call, call) == 0 && strcmp(option_row[i].name, a->name->text) == 0);
        if (known || !report(b, a->at, "E0606", "%s has no option `%s`", call_of(e), a->name ? a->name->text : "without a name"))
            continue;
        Text t = text_make(b->arena);
        for (size_t i = 0; i < N_OPTIONS; i++)
            if (strcmp(option_row[i].call, call) == 0)
                text_printf(&t, " %s", option_row[i].name);
        diag_help(b->diag, "there are%s%s", text_str(&t), strcmp(call, "schedule") == 0 ? " warmup steps" : "");
    }
}

static void read_optimizer(Build *b, TrainSpec *t, const Expr *e)
{
    const char *name = call_of(e);
    bool known = name == NULL;
    t->optimizer = OPTIMIZER_ADAM;
    for (size_t i = 0; name && i < sizeof optimizer_row / sizeof *optimizer_row; i++)
        if (strcmp(optimizer_row[i].name, name) == 0) {
            t->optimizer = optimizer_row[i].kind;
            known = true;
        }
    if (!known && report(b, e->at, "E0606", "no optimizer is called `%s`", name))
        diag_help(b->diag, "there are sgd, adam and lamb");
    check_options(b, "optimizer", e);
}

static void read_schedule(Build *b, TrainSpec *t, const Section *s, const Expr *e)
{
    const char *name = call_of(e);
    bool known = name == NULL;
    double warmup = number_key(b, s, "warmup", 0), steps = (double)count_key(b, s, "steps", 1000);
    t->schedule = SCHEDULE_CONSTANT;
    for (size_t i = 0; name && i < sizeof schedule_row / sizeof *schedule_row; i++)
        if (strcmp(schedule_row[i].name, name) == 0) {
            t->schedule = schedule_row[i].kind;
            known = true;
        }
    if (!known && report(b, e->at, "E0606", "no schedule is called `%s`", name))
        diag_help(b->diag, "there are constant, linear, cosine and rsqrt");
    check_options(b, "schedule", e);
    option(b, "schedule", "warmup", e, &warmup);
    option(b, "schedule", "steps", e, &steps);
    t->warmup = (int64_t)warmup;
    t->steps = (int64_t)steps;
}

static bool glob(const char *pattern, const char *text)
{
    for (; *pattern; pattern++, text++) {
        if (*pattern == '*') {
            for (const char *rest = text;; rest++) {
                if (glob(pattern + 1, rest))
                    return true;
                if (!*rest)
                    return false;
            }
        }
        if (!*text || (*pattern != '?' && *pattern != *text))
            return false;
    }
    return !*text;
}

static void apply_group(Build *b, const Expr *e)
{
    const Arg *pattern = e->kind == EXPR_CALL ? e->args : NULL;
    if (!pattern || pattern->name || !pattern->value || pattern->value->kind != EXPR_STRING) {
        if (report(b, e->at, "E0606", "a group is `group(\"*.LN*\", decay=0)`"))
            diag_note(b->diag, "the pattern is matched with the paths of parameters; * and ? are wild");
        return;
    }
    bool any = false;
    for (size_t i = 0; i < b->n_params; i++) {
        ParamInfo *p = b->param[i];
        if (!glob(pattern->value->text, p->path))
            continue;
        any = true;
        for (const Arg *a = pattern->next; a; a = a->next) {
            Number n;
            double *slot = !a->name ? NULL : strcmp(a->name->text, "lr") == 0 ? &p->lr
                         : strcmp(a->name->text, "decay") == 0 ? &p->decay
                         : strcmp(a->name->text, "trust") == 0 ? &p->trust : NULL;
            if (!slot)
                report(b, a->at, "E0606", "a group sets lr, decay and trust");
            else if (isnan(*slot) && value_of_number(b, a->value, &n))
                *slot = n.value;            // what the parameter says itself goes first
        }
    }
    if (!any && b->diag->n_errors == 0)     // with errors, parameters are missing
        report_warning(b, pattern->at, "W0607", "no parameter's path fits \"%s\"", pattern->value->text);
}

// A batch above the range of the batch axis is computed in the fewest equal pieces that are not.
static int64_t pieces_needed(Build *b, int64_t batch)
{
    for (size_t i = 0; i < b->n_items; i++) {
        AxisId id = b->item[i]->kind == SYM_AXIS ? b->item[i]->axis : 0;
        if (!id || b->g->axis[id].kind != AXIS_BATCH || !b->axis[id].ranged)
            continue;
        int64_t most = b->axis[id].high, n = (batch + most - 1) / most;
        while (n > 1 && batch % n)
            n++;
        return n > 1 ? n : 1;
    }
    return 1;
}

static void read_train(Build *b, const Section *s)
{
    Module *m = b->module;
    TrainSpec *t = &m->train;
    const Expr *optimizer = train_key(b, s, "optimizer"), *schedule = train_key(b, s, "schedule");
    m->has_train = true;
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const OptionRow *o = &option_row[i];
        double *slot = (double *)(void *)((char *)t + o->offset);
        *slot = o->fallback;
        if (o->call[0])
            option(b, o->call, o->name, o->call[0] == 'o' ? optimizer : schedule, slot);
        else
            *slot = number_key(b, s, o->name, o->fallback);
    }
    read_optimizer(b, t, optimizer);
    read_schedule(b, t, s, schedule);
    t->batch = count_key(b, s, "batch", 32);
    t->grad_accum = count_key(b, s, "grad_accum", pieces_needed(b, t->batch));
    const Expr *precision = train_key(b, s, "precision");
    const char *word = call_of(precision);
    t->bf16 = word && strcmp(word, "bf16") == 0;
    if (word && !t->bf16 && strcmp(word, "f32") != 0)
        report(b, precision->at, "E0606", "`precision` is f32 or bf16");
    const Expr *groups = train_key(b, s, "groups");
    if (groups && groups->kind == EXPR_TUPLE) {
        for (const Arg *a = groups->args; a; a = a->next)
            if (a->value)
                apply_group(b, a->value);
    } else if (groups) {
        apply_group(b, groups);
    }
}

void build_sections(Build *b)
{
    static const char *const own[] = {"loss", "optimizer", "schedule", "batch", "grad_accum", "precision", "groups",
                                      "ema", NULL};
    const char *name = b->entry->decl->name->text;
    const Section *train = section_find(b, SECTION_TRAIN, name), *generate = section_find(b, SECTION_GENERATE, name);
    const Section *data = train && train->on ? section_find(b, SECTION_DATA, train->on->text) : NULL;
    Module *m = b->module;
    b->scope = b->file_scope;
    if (!data && !train)
        data = section_find(b, SECTION_DATA, NULL);
    if (train) {
        read_train(b, train);
        Fields f = section_fields(b, train, NULL, own);
        for (size_t i = 0; i < b->options->n_bindings; i++) {       // train.save=.. and the like
            Binding *bind = &b->options->binding[i];
            bool is_own = strncmp(bind->name, "train.", 6) != 0;
            for (size_t k = 0; own[k] && !is_own; k++)
                is_own = strncmp(bind->name + 6, own[k], strlen(own[k])) == 0;
            for (size_t k = 0; k < N_OPTIONS && !is_own; k++)
                is_own = strcmp(bind->name + 6, option_row[k].name) == 0;
            if (!is_own && strcmp(bind->name + 6, "warmup") != 0 && strcmp(bind->name + 6, "steps") != 0) {
                bind->used = true;
                const Expr *e = binding_expr(b, bind->value);
                if (e)
                    flatten(b, &f, bind->name + 6, e);
                else
                    set_field(b, &f, bind->name + 6, bind->value);
            }
        }
        m->run = f.item;
        m->n_run = f.n;
    }
    Fields d = section_fields(b, data, "data", NULL), g = section_fields(b, generate, "generate", NULL);
    m->data = d.item;
    m->n_data = d.n;
    m->generate = g.item;
    m->n_generate = g.n;
    check_section_keys(b);
    check_fields(b, train, "train", m->run, m->n_run);
    check_fields(b, data, "data", d.item, d.n);
    check_fields(b, generate, "generate", g.item, g.n);
}

// ---- the loss ----

// The names of penalties and balance terms, each once.
static const char *term_names(Build *b)
{
    Text t = text_make(b->arena);
    for (size_t i = 0; i < b->n_terms; i++) {
        bool known = b->term[i].role != OUTPUT_TERM;
        for (size_t k = 0; k < i; k++)
            known |= strcmp(b->term[k].name, b->term[i].name) == 0 && b->term[k].role == OUTPUT_TERM;
        if (!known)
            text_printf(&t, "%s`%s`", t.n ? ", " : "", b->term[i].name);
    }
    return text_str(&t);
}

void build_loss(Build *b, const Val *results)
{
    const Section *s = section_find(b, SECTION_TRAIN, b->entry->decl->name->text);
    if (!s || b->options->count_only || (!b->options->with_loss && !b->options->check_only))
        return;
    const Expr *e = train_key(b, s, "loss");
    if (!e) {
        if (b->options->with_loss)
            report(b, s->at, "E0503", "the train section has no `loss`");
        return;
    }
    size_t i = 0;
    Scope *scope = scope_make(b, b->loss_scope);
    for (const Formal *r = b->entry->decl->results; r; r = r->next, i++)
        scope_add(b, scope, SYM_VALUE, r->name ? r->name->text : "y", r->at)->val = results[i];
    b->scope = scope;
    b->in_loss = true;
    Val v = value_of(b, e);
    b->in_loss = false;
    b->scope = b->file_scope;
    if (v.kind == VAL_NUMBER)
        v = to_float(b, v);
    if (v.kind == VAL_FIELD) {
        report(b, e->at, "E0603", "how `%s` is shaped cannot be told from this use", v.field->name);
        return;
    }
    if (v.kind != VAL_TENSOR)
        return;
    AxisList axes;
    if (axes_of(b, v, &axes)->n) {
        if (report(b, e->at, "E0234", "a loss is one number, without axes")) {
            label_axes(b, e->at, v);
            diag_help(b->diag, "take the mean over %s", list_text(b, &axes));
        }
        return;
    }
    if (b->aux.kind == VAL_TENSOR && !b->aux_read)
        if (report_warning(b, e->at, "W0305", "the loss leaves out what the model adds to it: %s", term_names(b)))
            diag_help_edit(b->diag, e->at, arena_printf(b->arena, "%s + aux", source_text(b, e->at)),
                           "add them:  loss = .. + aux");
    if (b->options->with_loss)
        graph_output(b->g, OUTPUT_LOSS, "train", to_float(b, v).id);
}
