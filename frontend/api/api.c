// See mixc.h: the engine behind a plain C border.
#include "mixc.h"

#include "batch.h"
#include "codegen.h"
#include "engine.h"
#include "generate.h"
#include "index_check.h"
#include "schedule.h"
#include "train.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)MIXC_INTERRUPTED == (int)STATUS_INTERRUPTED && (int)MIXC_BAD_MODEL == (int)STATUS_BAD_MODEL
               && (int)MIXC_NUMERIC == (int)STATUS_NUMERIC, "MixcStatus follows status.def");
_Static_assert((int)MIXC_MAX_AXES == (int)MAX_AXES, "MIXC_MAX_AXES follows MAX_AXES");

struct MixcModel {
    Arena     arena;
    Sources   sources;
    Diag      diag;
    Engine   *engine;
    Module   *module;
    Net      *net;
    const Slot *slot; int n_slots;
    int64_t   steps;
    Generator generator;                    // made when it is first wanted
    bool      generates;                    // opened for generation: main fills the caches
    const char *warnings;
    jmp_buf   no_memory;                    // where a full memory leads while a function of the border runs
};

static MixcStatus tell(MixcError *error, Status status, const char *text)
{
    if (error) {
        error->status = (MixcStatus)status;
        snprintf(error->text, sizeof error->text, "%s", text);
    }
    return (MixcStatus)status;
}

static MixcStatus done(MixcError *error, Status status, const StatusText *why)
{
    return tell(error, status, status == STATUS_OK ? "" : why->text[0] ? why->text : status_sentence(status));
}

static void memory_is_full(void *user, size_t wanted)
{
    (void)wanted;
    longjmp(((MixcModel *)user)->no_memory, 1);
}

const char *mixc_version(void)
{
    return MIXC_VERSION;
}

const char *mixc_status_text(MixcStatus status)
{
    return status_sentence((Status)status);
}

// --- opening

static const char *print_diagnostics(MixcModel *m)
{
    Text text = text_make(&m->arena);
    if (m->diag.n_items)
        diag_print(&m->diag, &text, false);
    return text_str(&text);
}

// "NAME=VALUE" as bindings. False when one is not of that form.
static bool read_bindings(MixcModel *m, const char *const *text, BuildOptions *out)
{
    size_t n = 0;
    while (text && text[n])
        n++;
    out->binding = arena_array(&m->arena, Binding, n + 1);
    for (size_t i = 0; i < n; i++) {
        const char *equals = strchr(text[i], '=');
        if (!equals || equals == text[i])
            return false;
        out->binding[out->n_bindings++] = (Binding){arena_strndup(&m->arena, text[i], (size_t)(equals - text[i])), arena_strdup(&m->arena, equals + 1), false};
    }
    return true;
}

static bool has_section(const Ast *ast, SectionKind kind)
{
    for (const Item *item = ast->items; item; item = item->next)
        if (item->section && item->section->kind == kind)
            return true;
    return false;
}

static bool is_bound(const BuildOptions *options, const char *name)
{
    for (size_t i = 0; name && i < options->n_bindings; i++)
        if (!strcmp(options->binding[i].name, name))
            return true;
    return false;
}

static Status build(MixcModel *m, const Ast *ast, BuildOptions *options, StatusText *why)
{
    const char *axis = batch_axis(ast);
    const bool open = axis && !is_bound(options, axis);
    if (open && options->mode == MODE_GENERATE)
        batch_bind(&m->arena, options, axis, 1);
    m->module = build_module(&m->arena, &m->diag, &m->sources, ast, options);
    if (!m->module || m->diag.n_errors)
        return STATUS_BAD_MODEL;
    if (open && options->mode != MODE_GENERATE && m->module->has_train && m->module->train.batch > 0) {
        int64_t rows;
        Status status = batch_rows(m->module, &rows, why);
        if (status != STATUS_OK)
            return status;
        batch_bind(&m->arena, options, axis, rows);
        m->diag = diag_make(&m->arena, &m->sources);        // the first build's warnings come again
        m->module = build_module(&m->arena, &m->diag, &m->sources, ast, options);
    }
    for (size_t i = 0; i < options->n_bindings && m->module; i++)
        if (!options->binding[i].used && options->mode != MODE_GENERATE)
            return status_fail(why, STATUS_BAD_USAGE, "`%s=%s` changes nothing: the model has no axis, constant or key `%s`",
                               options->binding[i].name, options->binding[i].value, options->binding[i].name);
    return m->module && !m->diag.n_errors ? STATUS_OK : STATUS_BAD_MODEL;
}

static Status load(MixcModel *m, uint32_t file, const MixcOptions *options, StatusText *why)
{
    static const ModeName mode[] = {[MIXC_EVAL] = MODE_EVAL, [MIXC_TRAIN] = MODE_TRAIN, [MIXC_GENERATE] = MODE_GENERATE};
    if ((unsigned)options->mode > MIXC_GENERATE)
        return status_fail(why, STATUS_BAD_USAGE, "there is no such mode");
    BuildOptions how = {.mode = mode[options->mode], .size = options->size, .entry = options->entry};
    if (!read_bindings(m, options->bindings, &how))
        return status_fail(why, STATUS_BAD_USAGE, "a binding must be of the form NAME=VALUE");
    const Ast *ast = ast_parse(&m->arena, &m->diag, &m->sources, file);
    if (m->diag.n_errors)
        return STATUS_BAD_MODEL;
    const bool trains = options->mode == MIXC_TRAIN;
    if (trains && (!has_section(ast, SECTION_TRAIN) || options->entry))
        return status_fail(why, STATUS_BAD_MODEL, "there is no `train` section, so there is no training step");
    how.with_loss = has_section(ast, SECTION_TRAIN) && !options->entry && options->mode != MIXC_GENERATE;
    Status status = build(m, ast, &how, why);
    const EngineOptions engine = {.device = options->device, .on_device.threads = options->threads, .bf16 = options->bf16,
                                  .max_bytes = options->max_bytes, .untuned = options->deterministic};
    if (status == STATUS_OK)
        status = engine_open(&engine, &m->engine, why);
    m->generates = options->mode == MIXC_GENERATE && status == STATUS_OK && !engine_is_reference(m->engine);
    if (status == STATUS_OK)
        status = engine_load(m->engine, &m->arena, &m->diag, m->module, &(LoadOptions){.train = trains, .generate = m->generates}, &m->net, why);
    if (status == STATUS_OK)
        m->n_slots = (int)net_slots(m->net, &m->slot);
    return status;
}

static MixcModel *open_model(const char *name, const char *text, const MixcOptions *options, MixcError *error)
{
    MixcModel *volatile m = calloc(1, sizeof *m);
    StatusText why = {0};
    if (!m) {
        tell(error, STATUS_OUT_OF_MEMORY, "no memory for a model");
        return NULL;
    }
    m->arena = (Arena){.out_of_memory = memory_is_full, .user = m};
    if (setjmp(m->no_memory)) {
        tell(error, STATUS_OUT_OF_MEMORY, "no memory to build the model");
        mixc_close(m);
        return NULL;
    }
    m->sources = sources_make(&m->arena);
    m->diag = diag_make(&m->arena, &m->sources);
    errno = 0;
    const uint32_t file = text ? sources_add(&m->sources, name, text, strlen(text)) : sources_read(&m->sources, name);
    Status status = file ? load(m, file, options ? options : &(MixcOptions){.mode = MIXC_EVAL}, &why)
                         : status_fail(&why, STATUS_IO, "%s: %s", name, strerror(errno));
    if (status != STATUS_OK) {
        if (m->diag.n_errors)
            tell(error, status, print_diagnostics(m));
        else
            done(error, status, &why);
        mixc_close(m);
        return NULL;
    }
    m->warnings = print_diagnostics(m);
    tell(error, STATUS_OK, "");
    return m;
}

MixcModel *mixc_open(const char *path, const MixcOptions *options, MixcError *error)
{
    return open_model(path, NULL, options, error);
}

MixcModel *mixc_open_text(const char *name, const char *text, const MixcOptions *options, MixcError *error)
{
    return open_model(name, text, options, error);
}

void mixc_close(MixcModel *m)
{
    if (!m)
        return;
    generator_close(&m->generator);
    net_free(m->net);
    engine_close(m->engine);
    arena_free(&m->arena);
    free(m);
}

const char *mixc_warnings(const MixcModel *m)
{
    return m->warnings;
}

// --- tensors

static const BufferKind buffer_kind[] = {
    [MIXC_INPUT] = BUFFER_INPUT, [MIXC_PARAM] = BUFFER_PARAM, [MIXC_STATE] = BUFFER_STATE, [MIXC_OUTPUT] = BUFFER_OUTPUT};

int mixc_tensors(const MixcModel *m)
{
    return m->n_slots;
}

static const Slot *slot_at(const MixcModel *m, int index, MixcError *error)
{
    if (index >= 0 && index < m->n_slots)
        return &m->slot[index];
    tell(error, STATUS_BAD_USAGE, "there is no tensor of that index");
    return NULL;
}

MixcStatus mixc_tensor(const MixcModel *m, int index, MixcTensor *out, MixcError *error)
{
    const Slot *slot = slot_at(m, index, error);
    if (!slot)
        return MIXC_BAD_USAGE;
    *out = (MixcTensor){.name = slot->name, .type = slot->dtype == DTYPE_I32 ? MIXC_I32 : MIXC_F32, .n_axes = slot->n_axes,
                        .count = slot->count};
    for (int k = 0; k < (int)(sizeof buffer_kind / sizeof *buffer_kind); k++)
        if (buffer_kind[k] == slot->kind)
            out->kind = (MixcKind)k;
    memcpy(out->axis, slot->axis, sizeof out->axis);
    memcpy(out->size, slot->size, sizeof out->size);
    return tell(error, STATUS_OK, "");
}

int mixc_find(const MixcModel *m, MixcKind kind, const char *name)
{
    const Slot *slot = (unsigned)kind <= MIXC_OUTPUT ? net_slot(m->net, buffer_kind[kind], name) : NULL;
    return slot ? (int)(slot - m->slot) : -1;
}

static MixcStatus check_bytes(const Slot *slot, size_t bytes, MixcError *error)
{
    StatusText why = {0};
    if (bytes == (size_t)slot->count * 4)
        return MIXC_OK;
    return done(error, status_fail(&why, STATUS_BAD_USAGE, "`%s` has %lld elements of 4 bytes; %zu bytes were given", slot->name,
                                   (long long)slot->count, bytes), &why);
}

MixcStatus mixc_write(MixcModel *m, int index, const void *data, size_t bytes, MixcError *error)
{
    StatusText why = {0};
    const Slot *slot = slot_at(m, index, error);
    const MixcStatus fits = slot ? check_bytes(slot, bytes, error) : MIXC_BAD_USAGE;
    if (fits != MIXC_OK)
        return fits;
    Status status = slot->kind == BUFFER_INPUT ? net_check_input(module_graph(m->module, "main"), slot, data, &why) : STATUS_OK;
    return done(error, status == STATUS_OK ? net_write(m->net, slot, data, &why) : status, &why);
}

MixcStatus mixc_read(MixcModel *m, int index, void *data, size_t bytes, MixcError *error)
{
    StatusText why = {0};
    const Slot *slot = slot_at(m, index, error);
    const MixcStatus fits = slot ? check_bytes(slot, bytes, error) : MIXC_BAD_USAGE;
    return fits != MIXC_OK ? fits : done(error, net_read(m->net, slot, data, &why), &why);
}

// --- weights

#define GUARD(m, error)                                                                                                \
    if (setjmp((m)->no_memory))                                                                                        \
        return tell(error, STATUS_OUT_OF_MEMORY, "there is not enough memory")

MixcStatus mixc_init(MixcModel *m, uint64_t seed, MixcError *error)
{
    StatusText why = {0};
    GUARD(m, error);
    Status status = net_init(m->net, m->module, seed, &why);
    if (status == STATUS_OK)
        status = net_write_int(m->net, "seed", (int64_t)seed, &why);
    m->steps = 0;
    return done(error, status, &why);
}

MixcStatus mixc_load(MixcModel *m, const char *path, MixcError *error)
{
    StatusText why = {0};
    Checkpoint about = {0};
    GUARD(m, error);
    const bool trains = net_slot(m->net, BUFFER_INPUT, "lr") != NULL;
    const Status status = checkpoint_load(&m->arena, path, m->net, trains, false, &about, &why);
    m->steps = status == STATUS_OK ? about.step : m->steps;
    return done(error, status, &why);
}

MixcStatus mixc_save(const MixcModel *m, const char *path, MixcError *error)
{
    StatusText why = {0};
    const Net *const nets[] = {m->net};
    GUARD((MixcModel *)m, error);
    return done(error, checkpoint_save(path, nets, 1, &(Checkpoint){.step = m->steps}, &why), &why);
}

MixcStatus mixc_copy_weights(const MixcModel *from, MixcModel *to, MixcError *error)
{
    StatusText why = {0};
    GUARD(to, error);
    return done(error, net_copy_weights(from->net, to->net, false, &why), &why);
}

// --- running

MixcStatus mixc_run(MixcModel *m, MixcError *error)
{
    StatusText why = {0};
    GUARD(m, error);
    return done(error, net_run(m->net, &why), &why);
}

static const Slot *loss_of(const MixcModel *m)
{
    return net_slot(m->net, BUFFER_OUTPUT, "loss.train");
}

MixcStatus mixc_step(MixcModel *m, float *out_loss, MixcError *error)
{
    StatusText why = {0};
    if (!net_slot(m->net, BUFFER_INPUT, "lr"))
        return tell(error, STATUS_BAD_USAGE, "the model was not opened for training (MIXC_TRAIN)");
    if (m->module->train.grad_accum > 1)
        return tell(error, STATUS_BAD_USAGE, "train.grad_accum is for `mixc train`; bind train.grad_accum=1 here");
    GUARD(m, error);
    const TrainSpec *spec = &m->module->train;
    float loss = 0;
    Status status = net_write_float(m->net, "lr", spec->lr * schedule_factor(spec, m->steps + 1), &why);
    if (status == STATUS_OK)
        status = net_write_int(m->net, "step", m->steps, &why);
    if (status == STATUS_OK)
        status = net_run(m->net, &why);
    if (status == STATUS_OK)
        status = index_check_step(m->net, &why);
    if (status == STATUS_OK)
        status = net_read(m->net, loss_of(m), &loss, &why);
    if (status != STATUS_OK)
        return done(error, status, &why);
    m->steps++;
    if (out_loss)
        *out_loss = loss;
    return isfinite(loss) ? tell(error, STATUS_OK, "") : tell(error, STATUS_NUMERIC, "the loss is not finite");
}

int64_t mixc_steps(const MixcModel *m)
{
    return m->steps;
}

typedef struct Written { int32_t *token; size_t n, most; } Written;

static bool write_token(void *user, int32_t token, double probability)
{
    Written *w = user;
    (void)probability;
    if (w->n < w->most)
        w->token[w->n++] = token;
    return w->n < w->most;
}

MixcStatus mixc_generate(MixcModel *m, const int32_t *prompt, size_t n_prompt, uint32_t seed, double temperature,
                         int32_t *out_tokens, size_t n, MixcError *error)
{
    StatusText why = {0};
    GUARD(m, error);
    Status status = m->generator.net ? STATUS_OK : generator_make(&m->arena, m->generates ? m->engine : NULL, &m->diag, m->module, m->net, &m->generator, &why);
    if (status == STATUS_OK && n_prompt == 0)
        status = status_fail(&why, STATUS_BAD_USAGE, "the prompt needs at least one token");
    GenerateOptions options = {.sample = sample_options(m->module->generate, m->module->n_generate), .seed = seed,
                               .n_tokens = (int64_t)n};
    if (temperature >= 0)
        options.sample.temperature = temperature;
    Written written = {out_tokens, 0, n};
    if (status == STATUS_OK && n > 0)
        status = generator_run(&m->generator, prompt, n_prompt, &options, write_token, &written, &why);
    return done(error, status, &why);
}

// --- looking inside

size_t mixc_memory(const MixcModel *m)
{
    const Program *p = net_program(m->net);
    return p ? p->arena_bytes : 0;
}

const char *mixc_source(const MixcModel *m, const char *language)
{
    MixcModel *own = (MixcModel *)m;
    const Program *p = net_program(m->net);
    const bool cuda = !strcmp(language, "cuda");
    if (!p || (!cuda && strcmp(language, "c") != 0) || setjmp(own->no_memory))
        return NULL;
    Text text = text_make(&own->arena);
    if (cuda)
        codegen_emit_cuda(p, &text);
    else
        codegen_emit_c(p, &text);
    return text_str(&text);
}
