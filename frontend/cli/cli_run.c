// mixc run: a model or layer on given tensors, with losses and gradients; and mixc import.
#include "batch.h"
#include "cli_engine.h"
#include "grad.h"
#include "index_check.h"
#include "route_stats.h"
#include "tensor_bind.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct RunFiles {
    Safetensors weights, inputs;
    bool        has_weights, has_inputs;
    WeightMap  *map;
} RunFiles;

static int open_files(Cli *cli, RunFiles *files)
{
    StatusText why = {0};
    Status status = STATUS_OK;
    if (cli_has(cli, OPT_MAP)) {
        errno = 0;
        uint32_t file = sources_read(&cli->sources, cli->value[OPT_MAP]);
        if (!file)
            return cli_failf(cli, STATUS_IO, "%s: %s", cli->value[OPT_MAP], strerror(errno));
        files->map = weight_map_parse(&cli->arena, &cli->diag, &cli->sources, file);
        if (!files->map)
            return cli_diagnostics(cli);
    }
    if (cli_has(cli, OPT_WEIGHTS)) {
        status = st_open(&cli->arena, cli_weights_path(cli, cli->value[OPT_WEIGHTS]), &files->weights, &why);
        files->has_weights = status == STATUS_OK;
    }
    if (status == STATUS_OK && cli_has(cli, OPT_INPUTS)) {
        status = st_open(&cli->arena, cli->value[OPT_INPUTS], &files->inputs, &why);
        files->has_inputs = status == STATUS_OK;
    }
    return status == STATUS_OK ? 0 : cli_fail(cli, status, &why);
}

static void close_files(RunFiles *files)
{
    if (files->has_weights)
        st_close(&files->weights);
    if (files->has_inputs)
        st_close(&files->inputs);
}

// The layer or model that will be built.
static const LayerDecl *entry_of(const Ast *ast, const char *entry)
{
    const LayerDecl *found = NULL;
    for (const Item *item = ast->items; item; item = item->next)
        if (item->layer && (entry ? !strcmp(item->layer->name->text, entry) : item->layer->is_model))
            found = item->layer;
    return found;
}

static bool size_section_sets(const Ast *ast, const char *size, const char *axis)
{
    for (const Item *item = ast->items; item; item = item->next) {
        if (!item->section || item->section->kind != SECTION_SIZE || (size && strcmp(item->section->name->text, size)))
            continue;
        for (const KeyValue *k = item->section->props; k; k = k->next)
            if (!strcmp(k->name->text, axis))
                return true;
        return false;                       // the one in use
    }
    return false;
}

// Is the axis free to take its size from an input: ranged, without a size, or a layer's own static?
static bool is_unbound(const Cli *cli, const Ast *ast, const LayerDecl *entry, const char *axis)
{
    for (size_t i = 0; i < cli->n_bindings; i++)
        if (!strcmp(cli->binding[i].name, axis))
            return false;
    for (const Item *item = ast->items; item; item = item->next)
        for (const AxisDecl *a = item->axes; a; a = a->next)
            if (!strcmp(a->name->text, axis))
                return !a->size && !a->twin && !size_section_sets(ast, cli->value[OPT_SIZE], axis);
    for (const Static *s = entry->statics; s; s = s->next)
        if (!strcmp(s->name->text, axis))
            return !s->value && !s->is_layer;
    return false;
}

static void bind_axis(Cli *cli, const char *axis, int64_t size)
{
    cli->binding = arena_grow(&cli->arena, cli->binding, cli->n_bindings, &cli->binding_capacity, sizeof *cli->binding);
    cli->binding[cli->n_bindings++] = (Binding){axis, arena_printf(&cli->arena, "%lld", (long long)size), false};
}

// Adds bindings for the axes that only the inputs know.
static void bind_from_inputs(Cli *cli, const Ast *ast, const TensorBind *bind)
{
    const LayerDecl *entry = entry_of(ast, cli->value[OPT_ENTRY]);
    for (const Formal *f = entry ? entry->inputs : NULL; f; f = f->next) {
        MapAxes axes = {0};
        for (const Name *dim = f->type.dims; dim && axes.n < MAX_AXES; dim = dim->next) {
            const char *name = strcmp(dim->text, "..") ? dim->text : batch_axis(ast);
            if (name) {
                axes.name[axes.n] = name;
                axes.size[axes.n++] = -1;
            }
        }
        tensor_bind_sizes(bind, f->name->text, &axes);
        for (size_t a = 0; a < axes.n; a++)
            if (axes.size[a] >= 0 && is_unbound(cli, ast, entry, axes.name[a]))
                bind_axis(cli, axes.name[a], axes.size[a]);
    }
}

static MapAxes slot_axes(const Slot *slot)
{
    MapAxes axes = {.n = slot->n_axes};
    for (size_t a = 0; a < axes.n; a++) {
        axes.name[a] = slot->axis[a];
        axes.size[a] = slot->size[a];
    }
    return axes;
}

static int report_missing(Cli *cli, const TensorBind *bind)
{
    if (bind->n_missing == 0)
        return 0;
    return cli_failf(cli, STATUS_BAD_MODEL, "%zu tensor%s missing:%s", bind->n_missing,
                     bind->n_missing == 1 ? " is" : "s are", text_str(&bind->missing));
}

static int bind_failed(Cli *cli, Status status, const StatusText *why)
{
    if (cli->diag.n_errors)
        return cli_diagnostics(cli);
    return cli_fail(cli, status, why);
}

static bool is_host_scalar(const Slot *slot)
{
    return slot->n_axes == 0 && (!strcmp(slot->name, "seed") || !strcmp(slot->name, "step") || !strcmp(slot->name, "lr")
                                 || !strcmp(slot->name, "apply"));
}

typedef struct GivenLeaf { Cli *cli; TensorBind *bind; } GivenLeaf;

// The numbers of a leaf as the files give them, for index_check. What is missing has been reported: zeros.
static const double *given_leaf(void *user, const Graph *g, const Node *leaf)
{
    GivenLeaf *given = user;
    MapAxes axes = {.n = leaf->type.n_axes};
    int64_t count = 0;
    type_count(g, &leaf->type, &count);
    for (size_t a = 0; a < axes.n; a++) {
        axes.name[a] = g->axis[leaf->type.axis[a]].name;
        axes.size[a] = g->axis[leaf->type.axis[a]].size;
    }
    Arena *arena = &given->cli->arena;
    double *number = arena_array(arena, double, (size_t)count + 1);
    void *data = arena_alloc(arena, (size_t)count + 1, 4);
    TensorKind kind = leaf->op == OP_PARAM ? TENSOR_PARAM : leaf->op == OP_STATE ? TENSOR_STATE : TENSOR_INPUT;
    if (leaf->op == OP_ARG && !strcmp(leaf->attr[0].name, "seed"))
        number[0] = (double)given->cli->seed;
    else if (tensor_bind_has(given->bind, kind, leaf->attr[0].name)
             && tensor_bind_read(given->bind, kind, leaf->attr[0].name, leaf->type.dtype, &axes, data, &(StatusText){0}) == STATUS_OK)
        for (int64_t i = 0; i < count; i++)
            number[i] = leaf->type.dtype == DTYPE_I32 ? (double)((int32_t *)data)[i] : (double)((float *)data)[i];
    return number;
}

static int fill_net(Cli *cli, const Graph *g, Net *net, TensorBind *bind)
{
    const Slot *slots;
    size_t n = net_slots(net, &slots);
    StatusText why = {0};
    Status status = net_write_int(net, "seed", (int64_t)cli->seed, &why);
    for (size_t i = 0; i < n && status == STATUS_OK; i++) {
        const Slot *slot = &slots[i];
        if (slot->kind == BUFFER_OUTPUT || is_host_scalar(slot))
            continue;
        bool cotangent = !strncmp(slot->name, "cotangent.", 10);
        TensorKind kind = slot->kind == BUFFER_PARAM ? TENSOR_PARAM : slot->kind == BUFFER_STATE ? TENSOR_STATE
                          : cotangent ? TENSOR_COTANGENT : TENSOR_INPUT;
        MapAxes axes = slot_axes(slot);
        void *data = calloc((size_t)slot->count + 1, 4);
        if (!data)
            return cli_failf(cli, STATUS_OUT_OF_MEMORY, "no memory for `%s`", slot->name);
        status = tensor_bind_read(bind, kind, slot->name + (cotangent ? 10 : 0), slot->dtype, &axes, data, &why);
        if (status == STATUS_OK)
            status = net_check_input(g, slot, data, &why);
        if (status == STATUS_OK)
            status = net_write(net, slot, data, &why);
        free(data);
    }
    if (status == STATUS_OK && bind->n_missing == 0)
        status = index_check(g, given_leaf, &(GivenLeaf){cli, bind}, &cli->sources, &cli->arena, &why);
    return status == STATUS_OK ? report_missing(cli, bind) : bind_failed(cli, status, &why);
}

static bool is_mapped_term(const TensorBind *bind, const char *name)
{
    return bind->map && weight_map_ours(bind->map, arena_printf(bind->arena, "loss.%s", name), NULL);
}

static bool all_finite(DType dtype, const void *data, int64_t n)
{
    const float *x = data;
    bool finite = true;
    for (int64_t i = 0; dtype != DTYPE_I32 && i < n; i++)
        finite = finite && x[i] - x[i] == 0;
    return finite;
}

// output.NAME, loss.NAME and grad.NAME. Watches stay inside, and so do the terms of `aux`, but for those that a map names.
// Sets *out_finite to whether all of them are finite numbers.
static int read_outputs(Cli *cli, const Net *net, TensorBind *bind, TensorOuts *outs, bool *out_finite)
{
    static const struct { const char *prefix; TensorKind kind; } row[] = {
        {"output.", TENSOR_OUTPUT}, {"loss.", TENSOR_LOSS}, {"grad.", TENSOR_GRAD}, {"term.", TENSOR_LOSS}};
    const Slot *slots;
    size_t n = net_slots(net, &slots);
    for (size_t i = 0; i < n; i++)
        for (size_t r = 0; r < sizeof row / sizeof *row && slots[i].kind == BUFFER_OUTPUT; r++) {
            size_t prefix = strlen(row[r].prefix);
            if (strncmp(slots[i].name, row[r].prefix, prefix))
                continue;
            if (!strcmp(row[r].prefix, "term.") && !is_mapped_term(bind, slots[i].name + prefix))
                continue;
            StatusText why = {0};
            MapAxes axes = slot_axes(&slots[i]);
            void *data = arena_alloc(&cli->arena, (size_t)slots[i].count + 1, 4);
            Status status = net_read((Net *)net, &slots[i], data, &why);
            if (status != STATUS_OK)
                return cli_fail(cli, status, &why);
            *out_finite = *out_finite && all_finite(slots[i].dtype, data, slots[i].count);
            if (!tensor_outs_add(outs, bind, row[r].kind, slots[i].name + prefix, slots[i].dtype, &axes, data))
                return cli_diagnostics(cli);
        }
    return 0;
}

// Names of results for which the inputs hold cotangents.
static const char **cotangents(Cli *cli, const Module *m, const TensorBind *bind, size_t *out_n)
{
    const Graph *g = module_graph(m, "main");
    const char **names = arena_array(&cli->arena, const char *, g->n_outputs + 1);
    size_t n = 0;
    for (size_t i = 0; i < g->n_outputs; i++)
        if (g->output[i].role == OUTPUT_RESULT && tensor_bind_has(bind, TENSOR_COTANGENT, g->output[i].name))
            names[n++] = g->output[i].name;
    *out_n = n;
    return names;
}

// Numbers that are not finite came out: is a route to blame? The model is run again with its routes' statistics.
static int blame_routes(Cli *cli, const CliModel *done, TensorBind *bind)
{
    CliModel again = {.ast = done->ast, .options = done->options, .engine = done->engine};
    int code = 0;
    if (!done->module->n_routes)
        return 0;
    again.options.with_routing_stats = true;
    again.module = cli_build_ast(cli, done->ast, &again.options, &code);
    Net *net = again.module ? cli_model_load(cli, &again, &code) : NULL;
    StatusText why = {0};
    Status status = STATUS_OK;
    if (net)
        code = fill_net(cli, module_graph(again.module, "main"), net, bind);
    if (net && !code)
        status = net_run(net, &why);
    if (net && !code && status == STATUS_OK)
        status = route_stats_check(again.module, net, &why);
    net_free(net);
    return code || status == STATUS_OK ? code : cli_fail(cli, status, &why);
}

static int run_files(Cli *cli, const Ast *ast, RunFiles *files)
{
    int code = status_exit_code(STATUS_BAD_USAGE);
    TensorBind bind = tensor_bind_make(&cli->arena, &cli->diag, files->map, files->has_weights ? &files->weights : NULL,
                                       files->has_inputs ? &files->inputs : NULL);
    bind_from_inputs(cli, ast, &bind);
    CliModel model = {.ast = (Ast *)ast};
    if (!cli_build_options(cli, cli_has(cli, OPT_GRAD) ? MODE_TRAIN : MODE_EVAL, &model.options))
        return code;
    model.options.with_loss = cli_has(cli, OPT_LOSS);
    model.module = cli_build_ast(cli, ast, &model.options, &code);
    if (!model.module)
        return code;
    if (cli_has(cli, OPT_GRAD)) {
        RunGradOptions grad = {.with_loss = cli_has(cli, OPT_LOSS)};
        grad.cotangent = cotangents(cli, model.module, &bind, &grad.n_cotangents);
        if (!grad_of_run(model.module, &grad))
            return cli_diagnostics(cli);
    }
    code = cli_engine_open(cli, &model.engine);
    if (code)
        return code;
    Net *net = cli_model_load(cli, &model, &code);
    StatusText why = {0};
    if (net)
        code = fill_net(cli, module_graph(model.module, "main"), net, &bind);
    if (!code) {
        Status status = net_run(net, &why);
        code = status == STATUS_OK ? 0 : cli_fail(cli, status, &why);
    }
    TensorOuts outs = {0};
    bool finite = true;
    if (!code)
        code = read_outputs(cli, net, &bind, &outs, &finite);
    if (!code && !finite)
        code = blame_routes(cli, &model, &bind);
    if (!code) {
        Status status = tensor_outs_write(&outs, &cli->arena, cli->value[OPT_OUT], &why);
        code = status == STATUS_OK ? 0 : cli_fail(cli, status, &why);
    }
    net_free(net);
    cli_model_close(&model);
    return code;
}

int cli_run(Cli *cli)
{
    const char *path = cli_one_file(cli, "FILE");
    if (!path)
        return status_exit_code(STATUS_BAD_USAGE);
    if (!cli_has(cli, OPT_INPUTS) || !cli_has(cli, OPT_OUT))
        return cli_usage(cli, "--inputs I and --out O are needed");
    int code;
    Ast *ast = cli_parse(cli, path, &code);
    if (!ast)
        return code;
    RunFiles files = {0};
    code = open_files(cli, &files);
    if (!code)
        code = run_files(cli, ast, &files);
    close_files(&files);
    return code;
}

static void say_mapping(const TensorBind *bind, const Param *p)
{
    bool any = false;
    for (size_t i = 0; bind->map && i < bind->map->n_lines; i++) {
        const MapLine *l = &bind->map->line[i];
        const char *ours = !strncmp(l->ours, "param.", 6) ? l->ours + 6 : l->ours;
        if (strcmp(ours, p->name))
            continue;
        printf("%s <- %s\n", p->name, l->theirs);
        any = true;
    }
    if (!any)
        printf("%s <- (same name)%s\n", p->name, tensor_bind_has(bind, TENSOR_PARAM, p->name) ? "" : "   missing");
}

// Reads every parameter and state through the map and writes them under our names.
static int import_all(Cli *cli, const Module *m, TensorBind *bind)
{
    const Graph *g = module_graph(m, "main");
    bool dry = cli_has(cli, OPT_DRY_RUN);
    TensorBind own = tensor_bind_make(&cli->arena, &cli->diag, NULL, NULL, NULL);
    TensorOuts outs = {0};
    StatusText why = {0};
    for (size_t i = 0; i < m->n_params; i++) {
        const Param *p = &m->param[i];
        MapAxes axes = {.n = p->type.n_axes};
        int64_t count = 1;
        for (size_t a = 0; a < axes.n; a++) {
            axes.name[a] = g->axis[p->type.axis[a]].name;
            axes.size[a] = g->axis[p->type.axis[a]].size;
            count *= axes.size[a];
        }
        if (dry)
            say_mapping(bind, p);
        void *data = arena_alloc(&cli->arena, (size_t)count + 1, 4);
        TensorKind kind = p->role == PARAM_STATE ? TENSOR_STATE : TENSOR_PARAM;
        Status status = tensor_bind_read(bind, kind, p->name, p->type.dtype, &axes, data, &why);
        if (status != STATUS_OK)
            return bind_failed(cli, status, &why);
        tensor_outs_add(&outs, &own, kind, p->name, p->type.dtype, &axes, data);
    }
    int code = report_missing(cli, bind);
    if (code || dry)
        return code;
    Status status = tensor_outs_write(&outs, &cli->arena, cli->value[OPT_OUTPUT], &why);
    return status == STATUS_OK ? 0 : cli_fail(cli, status, &why);
}

int cli_import(Cli *cli)
{
    const char *path = cli_one_file(cli, "FILE");
    BuildOptions options;
    int code = status_exit_code(STATUS_BAD_USAGE);
    if (!path || !cli_build_options(cli, MODE_EVAL, &options))
        return code;
    if (!cli_has(cli, OPT_WEIGHTS) || !(cli_has(cli, OPT_OUTPUT) || cli_has(cli, OPT_DRY_RUN)))
        return cli_usage(cli, "--weights W and -o OUT (or --dry-run) are needed");
    Module *m = cli_module(cli, path, &options, NULL, &code);
    if (!m)
        return code;
    RunFiles files = {0};
    code = open_files(cli, &files);
    if (!code) {
        TensorBind bind = tensor_bind_make(&cli->arena, &cli->diag, files.map, &files.weights, NULL);
        code = import_all(cli, m, &bind);
    }
    close_files(&files);
    return code;
}
