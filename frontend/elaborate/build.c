// build_module: reads the items of a file, elaborates the entry and cuts the module's graphs out of the result.
#include "build_state.h"

#include "std_files.h"

#include <math.h>
#include <string.h>

// ---- items of a file ----

static void read_items(Build *b, Scope *scope, const Ast *ast, bool is_library);

static Scope *use_library(Build *b, const char *name, Span at)
{
    Scope *known = map_get(&b->library, name);
    if (known)
        return known;
    const StdFile *f = std_file;
    while (f->name && strcmp(f->name, name) != 0)
        f++;
    if (!f->name) {
        if (report(b, at, "E0106", "there is no library `%s`", name)) {
            Text t = text_make(b->arena);
            for (f = std_file; f->name; f++)
                text_printf(&t, " %s", f->name);
            diag_help(b->diag, "there are%s", text_str(&t));
        }
        return NULL;
    }
    const Ast *ast = map_get(b->library_trees, name);
    if (!ast) {
        uint32_t file = sources_add(b->sources, arena_printf(b->arena, "%s.mix", name), f->data, f->n);
        ast = ast_parse(b->arena, b->diag, b->sources, file);
        map_set(b->arena, b->library_trees, f->name, (void *)(uintptr_t)ast);
    }
    Scope *scope = scope_make(b, NULL);
    map_set(b->arena, &b->library, f->name, scope);
    read_items(b, scope, ast, true);
    return scope;
}

static void read_use(Build *b, Scope *scope, const Item *item)
{
    Text t = text_make(b->arena);
    for (const Name *n = item->path; n; n = n->next)
        text_printf(&t, "%s%s", n == item->path ? "" : ".", n->text);
    Scope *library = use_library(b, text_str(&t), item->at);
    if (!library)
        return;
    for (size_t i = 0; i < library->map.capacity; i++) {
        const MapEntry *e = &library->map.entry[i];
        if (!e->key || scope_here(scope, e->key))
            continue;                       // a layer of the file's own goes first
        Symbol *from = e->value;
        if (from->kind == SYM_LAYER) {
            Symbol *sym = scope_add(b, scope, SYM_LAYER, from->name, from->at);
            sym->layer = from->layer;
            sym->is_used = true;
        }
    }
}

static Symbol *add_item(Build *b, Scope *scope, SymbolKind kind, const Name *name)
{
    Symbol *old = scope_here(scope, name->text);
    if (old && !old->is_used) {
        if (report(b, name->at, "E0104", "`%s` is declared twice", name->text))
            diag_label(b->diag, old->at, "first here");
        return NULL;
    }
    return scope_add(b, scope, kind, name->text, name->at);
}

static void remember(Build *b, Symbol *sym)
{
    b->item = arena_grow(b->arena, b->item, b->n_items, &b->item_capacity, sizeof *b->item);
    b->item[b->n_items++] = sym;
}

static void read_layer(Build *b, Scope *scope, const LayerDecl *d, bool is_library)
{
    Symbol *sym = add_item(b, scope, SYM_LAYER, d->name);
    if (!sym)
        return;
    Layer *layer = arena_new(b->arena, Layer);
    *layer = (Layer){.decl = d, .scope = scope, .is_library = is_library};
    sym->layer = layer;
    if (is_library)
        return;
    b->layer = arena_grow(b->arena, b->layer, b->n_layers, &b->layer_capacity, sizeof *b->layer);
    b->layer[b->n_layers++] = layer;
}

static void read_items(Build *b, Scope *scope, const Ast *ast, bool is_library)
{
    for (const Item *i = ast->items; i; i = i->next) {
        switch (i->kind) {
        case ITEM_USE:
            read_use(b, scope, i);
            break;
        case ITEM_AXIS:
            for (const AxisDecl *d = i->axes; d; d = d->next) {
                Symbol *sym = add_item(b, scope, SYM_LAZY_AXIS, d->name);
                if (sym) {
                    sym->axis_decl = d;
                    remember(b, sym);
                }
            }
            break;
        case ITEM_CONST:
            for (const Bind *bind = i->consts; bind; bind = bind->next) {
                Symbol *sym = add_item(b, scope, SYM_LAZY_CONST, bind->name);
                if (sym) {
                    sym->value = bind->value;
                    remember(b, sym);
                }
            }
            break;
        case ITEM_LAYER:
            read_layer(b, scope, i->layer, is_library);
            break;
        case ITEM_SECTION:
            break;
        }
    }
}

// ---- what to build ----

static bool choose_size(Build *b)
{
    const char *name = b->options->size;
    b->size = section_find(b, SECTION_SIZE, name);
    if (b->size || !name)
        return true;
    diag_error(b->diag, (Span){0}, "E0604", "the file has no size `%s`", name);
    Text t = text_make(b->arena);
    for (const Item *i = b->ast->items; i; i = i->next)
        if (i->kind == ITEM_SECTION && i->section->kind == SECTION_SIZE)
            text_printf(&t, " %s", i->section->name->text);
    if (t.n)
        diag_help(b->diag, "it has%s", text_str(&t));
    return false;
}

static void check_size_names(Build *b)
{
    for (const KeyValue *kv = b->size ? b->size->props : NULL; kv; kv = kv->next) {
        const Symbol *sym = scope_here(b->file_scope, kv->name->text);
        if (!sym || sym->kind == SYM_LAYER)
            report(b, kv->name->at, "E0101", "the file has no axis or constant `%s`", kv->name->text);
    }
}

static bool choose_entry(Build *b)
{
    const char *name = b->options->entry;
    for (size_t i = 0; i < b->n_layers; i++)
        if (name ? strcmp(b->layer[i]->decl->name->text, name) == 0 : b->layer[i]->decl->is_model)
            b->entry = b->layer[i];
    if (!b->entry && name) {
        Symbol *sym = scope_here(b->file_scope, name);
        b->entry = sym && sym->kind == SYM_LAYER ? sym->layer : NULL;
    }
    if (b->entry)
        return true;
    if (b->diag->n_errors)                  // it may be one that was refused
        return false;
    Span top = b->ast->items ? b->ast->items->at : (Span){.file = b->ast->file};
    if (name)
        diag_error(b->diag, (Span){0}, "E0504", "the file has no layer or model `%s`", name);
    else
        diag_error(b->diag, top, "E0504", "the file has no model");
    Text t = text_make(b->arena);
    for (size_t i = 0; i < b->n_layers; i++)
        text_printf(&t, " %s", b->layer[i]->decl->name->text);
    if (t.n)
        diag_help(b->diag, "its layers are%s", text_str(&t));
    else
        diag_help(b->diag, "add `model NAME(x: [B,D]) -> y: [B,D] { .. }`");
    return false;
}

static void read_switches(Build *b)
{
    const Binding *dropout = binding_find(b, "dropout"), *noise = binding_find(b, "noise");
    const Expr *e = dropout ? binding_expr(b, dropout->value) : NULL;
    Number n;
    b->dropout_factor = e && value_of_number(b, e, &n) ? n.value : NAN;
    e = noise ? binding_expr(b, noise->value) : NULL;
    b->noise_off = e && value_of_number(b, e, &n) && n.value == 0;
}

// ---- after the elaboration ----

static int64_t count_of(Build *b, const ParamDecl *d, int64_t *out_all)
{
    int64_t here = 0;
    *out_all = 0;
    for (size_t i = 0; i < b->n_params; i++) {
        int64_t n;
        if (b->param[i]->role != PARAM_TRAINED || !type_count(b->g, &b->param[i]->type, &n))
            continue;
        *out_all += n;
        if (b->param[i]->decl == d)
            here += n;
    }
    return here;
}

static void warn_unread(Build *b, const Layer *layer, const Stmt *body)
{
    for (const Stmt *s = body; s; s = s->next) {
        for (const ParamDecl *d = s->kind == STMT_PARAM ? s->params : NULL; d; d = d->next) {
            if (d->name->text[0] == '_' || map_get(&layer->mentioned, d->name->text))
                continue;
            int64_t all, here = count_of(b, d, &all);
            if (!report_warning(b, d->name->at, "W0501", "parameter `%s` is never read (%s number%s, %.1f %% of the model)",
                                d->name->text, count_text(b->arena, here), here == 1 ? "" : "s",
                                all ? 100.0 * (double)here / (double)all : 0))
                continue;
            diag_label(b->diag, d->name->at, "would be saved and decayed, but never trained");
            diag_help(b->diag, "delete it, or call it `_%s` to keep it silently", d->name->text);
        }
        warn_unread(b, layer, s->body);
        warn_unread(b, layer, s->other);
        if (s->rhs.route)
            warn_unread(b, layer, s->rhs.route->body);
    }
}

typedef struct Shared { Map reported, binding_texts, trees; } Shared;

static Build *build_start(Arena *arena, Diag *diag, Sources *sources, const Ast *ast, const BuildOptions *options,
                          Shared *shared)
{
    Build *b = arena_new(arena, Build);
    *b = (Build){.arena = arena, .diag = diag, .sources = sources, .options = options, .ast = ast,
                 .mode = options->mode, .reported = &shared->reported, .binding_texts = &shared->binding_texts,
                 .library_trees = &shared->trees};
    b->g = graph_make(arena, diag, "elaboration");
    b->module = module_make(arena, diag);
    b->file_scope = scope_make(b, NULL);
    b->scope = b->file_scope;
    b->aux = val_number(number_of(0));
    b->dropout_factor = NAN;
    return b;
}

// Walks the model once. False when there were errors.
static bool elaborate(Build *b)
{
    size_t errors = b->diag->n_errors;
    read_items(b, b->file_scope, b->ast, false);
    if (!choose_size(b) || !choose_entry(b))
        return false;
    check_size_names(b);
    for (size_t i = 0; i < b->n_items; i++) {
        bool ok;
        if (b->item[i]->kind == SYM_LAZY_AXIS)
            axis_force(b, b->item[i]);
        else if (b->item[i]->kind == SYM_LAZY_CONST)
            const_force(b, b->item[i], &ok);
    }
    read_switches(b);
    size_t n = 1;
    for (const Formal *r = b->entry->decl->results; r; r = r->next)
        n++;
    Val *results = arena_array(b->arena, Val, n);
    layer_entry(b, b->entry, results);
    build_outputs(b, results);
    build_loss(b, results);
    build_sections(b);
    return b->diag->n_errors == errors;
}

// A layer that nothing calls can be checked alone when all it needs has a name in the file.
static bool stands_alone(const Build *b, const Layer *layer)
{
    for (const Static *s = layer->decl->statics; s; s = s->next)
        if (s->is_layer || (!s->value && !scope_here(b->file_scope, s->name->text)))
            return false;
    for (const Formal *f = layer->decl->inputs; f; f = f->next)
        if (f->type.dtype && strcmp(f->type.dtype->text, "routing") == 0)
            return false;
    return true;
}

static void check_uncalled(Build *b, Shared *shared)
{
    for (size_t i = 0; i < b->n_layers; i++) {
        Layer *layer = b->layer[i];
        if (layer->is_called || !stands_alone(b, layer))
            continue;
        BuildOptions *options = arena_new(b->arena, BuildOptions);
        *options = *b->options;
        options->entry = layer->decl->name->text;
        Build *alone = build_start(b->arena, b->diag, b->sources, b->ast, options, shared);
        elaborate(alone);
        for (size_t k = 0; k < b->n_layers && k < alone->n_layers; k++)
            b->layer[k]->is_called = b->layer[k]->is_called || alone->layer[k]->is_called;
    }
}

static bool has_open_range(const Build *b)
{
    for (size_t i = 0; i < b->n_items; i++) {
        AxisId id = b->item[i]->kind == SYM_AXIS ? b->item[i]->axis : 0;
        if (id && b->axis[id].ranged && b->axis[id].low < b->axis[id].high)
            return true;
    }
    return false;
}

static bool needs_upper(const Build *b)
{
    for (size_t i = 0; i < b->n_params; i++)
        if (!b->param[i]->init)
            return true;
    return false;
}

Module *build_module(Arena *arena, Diag *diag, Sources *sources, const Ast *ast, const BuildOptions *options)
{
    Shared shared = {0};
    if (diag->n_errors)
        return NULL;
    Build *b = build_start(arena, diag, sources, ast, options, &shared);
    bool ok = elaborate(b);
    if (options->check_only && b->entry)
        check_uncalled(b, &shared);
    if (!ok || diag->n_errors)
        return NULL;
    for (size_t i = 0; i < b->n_layers; i++)
        if (b->layer[i]->is_scanned)
            warn_unread(b, b->layer[i], b->layer[i]->decl->body);
    Build *upper = b;
    if (needs_upper(b)) {                   // initial values at the sizes that are stored
        upper = build_start(arena, diag, sources, ast, options, &shared);
        upper->at_high = true;
        if (!elaborate(upper))
            return NULL;
    }
    if (options->check_only && has_open_range(b)) {
        Build *low = build_start(arena, diag, sources, ast, options, &shared);
        low->at_low = true;
        if (!elaborate(low))
            return NULL;
    }
    if (!build_cut(b, upper))
        return NULL;
    return diag->n_errors ? NULL : b->module;
}
