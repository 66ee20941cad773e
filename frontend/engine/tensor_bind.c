// See tensor_bind.h.
#include "tensor_bind.h"

#include "checked.h"
#include "nearest.h"

#include <stdlib.h>
#include <string.h>

TensorBind tensor_bind_make(Arena *arena, Diag *diag, const WeightMap *map, const Safetensors *weights,
                            const Safetensors *inputs)
{
    return (TensorBind){.arena = arena,
                        .diag = diag,
                        .map = map,
                        .weights = weights,
                        .inputs = inputs,
                        .missing = text_make(arena)};
}

// What stands before a name on either side of a map, by kind. On our side, "" is the form without a prefix.
static const char *kind_prefix(TensorKind kind)
{
    switch (kind) {
    case TENSOR_PARAM: return "param.";
    case TENSOR_STATE: return "state.";
    case TENSOR_INPUT: return "input.";
    case TENSOR_COTANGENT: return "cotangent.";
    case TENSOR_OUTPUT: return "output.";
    case TENSOR_LOSS: return "loss.";
    case TENSOR_GRAD: return "grad.";
    }
    return "";
}

static bool starts(const char *text, const char *prefix)
{
    return !strncmp(text, prefix, strlen(prefix));
}

// The next line about one of ours. A cotangent follows the line of its output; a gradient that of its tensor.
static const MapLine *next_line(const TensorBind *bind, TensorKind kind, const char *name, const MapLine *after)
{
    if (!bind->map)
        return NULL;
    const char *with =
        kind == TENSOR_GRAD
            ? name
            : arena_printf(bind->arena, "%s%s", kind == TENSOR_COTANGENT ? "output." : kind_prefix(kind), name);
    const char *plain = kind == TENSOR_PARAM || kind == TENSOR_STATE ? name : with;
    if (kind == TENSOR_GRAD && starts(name, "param."))
        plain = name + strlen("param.");
    const MapLine *a = weight_map_ours(bind->map, with, after),
                  *b = plain == with ? NULL : weight_map_ours(bind->map, plain, after);
    return !a ? b : !b ? a : a < b ? a : b;
}

static const StTensor *find_in_weights(const TensorBind *bind, TensorKind kind, const char *name)
{
    static const char *const prefixes[] = {"", "param.", "state.", "buffer."};
    const StTensor *t = st_find(bind->weights, arena_printf(bind->arena, "%s%s", kind_prefix(kind), name));
    for (size_t i = 0; !t && i < sizeof prefixes / sizeof *prefixes; i++)
        t = st_find(bind->weights, arena_printf(bind->arena, "%s%s", prefixes[i], name));
    return t;
}

// Their tensor by the name in the map, or ours by its own.
static const StTensor *find_tensor(const TensorBind *bind, TensorKind kind, const char *name)
{
    const Safetensors *st = kind == TENSOR_PARAM || kind == TENSOR_STATE ? bind->weights : bind->inputs;
    if (!st)
        return NULL;
    if (st == bind->weights)
        return find_in_weights(bind, kind, name);
    if (kind == TENSOR_COTANGENT && starts(name, "output."))
        name += strlen("output.");
    const StTensor *t = st_find(st, arena_printf(bind->arena, "%s%s", kind_prefix(kind), name));
    return t || kind == TENSOR_COTANGENT ? t : st_find(st, name);
}

bool tensor_bind_has(const TensorBind *bind, TensorKind kind, const char *name)
{
    const MapLine *line = next_line(bind, kind, name, NULL);
    if (!line)
        return find_tensor(bind, kind, name) != NULL;
    for (; line; line = next_line(bind, kind, name, line))
        if (!find_tensor(bind, kind, line->theirs))
            return false;
    return true;
}

static void note_missing(TensorBind *bind, TensorKind kind, const char *ours, const char *theirs)
{
    const Safetensors *st = kind == TENSOR_PARAM || kind == TENSOR_STATE ? bind->weights : bind->inputs;
    const char *name = theirs ? theirs : ours, *prefix = starts(name, kind_prefix(kind)) ? "" : kind_prefix(kind);
    Nearest near = {0};
    for (size_t i = 0; st && i < st->n_tensors; i++) {
        const char *candidate = st->tensor[i].name;
        nearest_offer(&near, name,
                      starts(candidate, kind_prefix(kind)) ? candidate + strlen(kind_prefix(kind)) : candidate);
    }
    bind->n_missing++;
    text_printf(&bind->missing, "\n  %s%s", prefix, name);
    if (theirs)
        text_printf(&bind->missing, " (for %s)", ours);
    if (near.best)
        text_printf(&bind->missing, "   - there is `%s`", near.best);
}

static Status read_numbers(const Safetensors *st, const StTensor *t, DType dtype, void *data, StatusText *why)
{
    return dtype == DTYPE_I32 ? st_read_i32(st, t, data, why) : st_read_f32(st, t, data, why);
}

static void print_sizes(Text *out, const int64_t *size, size_t n)
{
    text_char(out, '[');
    for (size_t i = 0; i < n; i++)
        text_printf(out, "%s%lld", i ? "," : "", (long long)size[i]);
    text_char(out, ']');
}

static Status read_own(TensorBind *bind, TensorKind kind, const char *name, DType dtype, const MapAxes *axes,
                       void *data, StatusText *why)
{
    const Safetensors *st = kind == TENSOR_PARAM || kind == TENSOR_STATE ? bind->weights : bind->inputs;
    const StTensor *t = find_tensor(bind, kind, name);
    if (!t) {
        note_missing(bind, kind, name, NULL);
        return STATUS_OK;
    }
    bool same = t->n_dims == axes->n;
    for (size_t a = 0; same && a < axes->n; a++)
        same = t->size[a] == axes->size[a];
    if (same)
        return read_numbers(st, t, dtype, data, why);
    Text text = text_make(bind->arena);
    print_sizes(&text, t->size, t->n_dims);
    text_add(&text, " in the file, but the model wants [");
    for (size_t a = 0; a < axes->n; a++)
        text_printf(&text, "%s%s=%lld", a ? ", " : "", axes->name[a], (long long)axes->size[a]);
    return status_fail(why, STATUS_BAD_MODEL, "%s: `%s` is %s]; a weight map line can change layouts", st->path,
                       t->name, text_str(&text));
}

Status tensor_bind_read(TensorBind *bind, TensorKind kind, const char *name, DType dtype, const MapAxes *axes,
                        void *data, StatusText *why)
{
    const MapLine *line = next_line(bind, kind, name, NULL);
    if (!line)
        return read_own(bind, kind, name, dtype, axes, data, why);
    const Safetensors *st = kind == TENSOR_PARAM || kind == TENSOR_STATE ? bind->weights : bind->inputs;
    int64_t count = 1;
    for (size_t a = 0; a < axes->n; a++)
        count *= axes->size[a];
    bool *filled = calloc((size_t)count + 1, 1), complete = true;
    Status status = filled ? STATUS_OK : status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for `%s`", name);
    for (const MapLine *l = line; l && status == STATUS_OK; l = next_line(bind, kind, name, l)) {
        const StTensor *t = find_tensor(bind, kind, l->theirs);
        MapPlan plan;
        if (!t) {
            note_missing(bind, kind, name, l->theirs);
            complete = false;
            continue;
        }
        if (!weight_map_plan(bind->arena, bind->diag, l, axes, t->size, t->n_dims, &plan)) {
            status = status_fail(why, STATUS_BAD_MODEL, "a line of the weight map does not fit");
            break;
        }
        void *theirs = malloc((size_t)t->count * 4 + 4);
        status = theirs ? read_numbers(st, t, dtype, theirs, why)
                        : status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for `%s`", t->name);
        if (status == STATUS_OK)
            map_plan_read(&plan, dtype, kind == TENSOR_COTANGENT ? 1 / l->factor : l->factor, theirs, data, filled);
        free(theirs);
    }
    for (int64_t i = 0; status == STATUS_OK && complete && i < count; i++)
        if (!filled[i]) {
            diag_error(bind->diag, line->at, "E0714", "the lines for `%s` leave elements of it without a value", name);
            status = status_fail(why, STATUS_BAD_MODEL, "a line of the weight map does not fit");
            break;
        }
    free(filled);
    return status;
}

void tensor_bind_sizes(const TensorBind *bind, const char *input, MapAxes *axes)
{
    const MapLine *line = next_line(bind, TENSOR_INPUT, input, NULL);
    if (!line) {
        const StTensor *t = find_tensor(bind, TENSOR_INPUT, input);
        for (size_t a = 0; t && t->n_dims == axes->n && a < axes->n; a++)
            if (axes->size[a] < 0)
                axes->size[a] = t->size[a];
        return;
    }
    for (; line; line = next_line(bind, TENSOR_INPUT, input, line)) {
        const StTensor *t = find_tensor(bind, TENSOR_INPUT, line->theirs);
        MapSize found[MAX_AXES];
        size_t n = t ? weight_map_sizes(line, t->size, t->n_dims, axes, found, MAX_AXES) : 0;
        for (size_t i = 0; i < n; i++)
            for (size_t a = 0; a < axes->n; a++)
                if (!strcmp(axes->name[a], found[i].axis) && axes->size[a] < 0)
                    axes->size[a] = found[i].size;
    }
}

static TensorOut *out_named(TensorOuts *outs, const char *name)
{
    for (size_t i = 0; i < outs->n; i++)
        if (!strcmp(outs->tensor[i].name, name))
            return &outs->tensor[i];
    return NULL;
}

static TensorOut *out_add(TensorOuts *outs, Arena *arena, const char *name, DType dtype, const int64_t *size,
                          size_t n_dims)
{
    outs->tensor = arena_grow(arena, outs->tensor, outs->n, &outs->capacity, sizeof *outs->tensor);
    TensorOut *out = &outs->tensor[outs->n++];
    *out = (TensorOut){.name = name, .dtype = dtype, .n_dims = n_dims};
    size_t count = 1;
    for (size_t d = 0; d < n_dims; d++) {
        out->size[d] = size[d];
        count *= (size_t)size[d];
    }
    out->data = arena_alloc(arena, count + 1, 4);
    return out;
}

// The name that a line gives one of ours in the file: gradients of their tensors are called after them.
static const char *their_name(Arena *arena, TensorKind kind, const char *ours, const MapLine *line)
{
    if (kind != TENSOR_GRAD)
        return starts(line->theirs, kind_prefix(kind)) || kind == TENSOR_LOSS
                   ? line->theirs
                   : arena_printf(arena, "%s%s", kind_prefix(kind), line->theirs);
    const char *what = starts(ours, "input.") ? "input." : "param.";
    return arena_printf(arena, "grad.%s%s", starts(line->theirs, what) ? "" : what, line->theirs);
}

// Their shape: as in the file it came from, else the least that holds every line about it.
static bool their_shape(const TensorBind *bind, TensorKind kind, const char *ours, const MapLine *line,
                        const MapAxes *axes, int64_t *out_size, size_t *out_n_dims)
{
    TensorKind source = kind != TENSOR_GRAD ? kind : starts(ours, "input.") ? TENSOR_INPUT : TENSOR_PARAM;
    const StTensor *t =
        source == TENSOR_INPUT || source == TENSOR_PARAM ? find_tensor(bind, source, line->theirs) : NULL;
    if (t && t->n_dims <= line->n_dims) {
        memcpy(out_size, t->size, t->n_dims * sizeof *out_size);
        *out_n_dims = t->n_dims;
        return true;
    }
    *out_n_dims = line->n_dims;
    if (!weight_map_shape(bind->diag, line, axes, out_size))
        return false;
    for (const MapLine *l = weight_map_theirs(bind->map, line->theirs, NULL); l;
         l = weight_map_theirs(bind->map, line->theirs, l))
        for (size_t d = 0; d < l->n_dims && d < line->n_dims; d++)
            if (l->dim[d].has_range && line->dim[d].has_range && out_size[d] >= line->dim[d].end
                && l->dim[d].end > out_size[d])
                out_size[d] = l->dim[d].end;
    return true;
}

bool tensor_outs_add(TensorOuts *outs, TensorBind *bind, TensorKind kind, const char *name, DType dtype,
                     const MapAxes *axes, const void *data)
{
    const MapLine *line = next_line(bind, kind, name, NULL);
    if (!line) {
        const char *own = arena_printf(bind->arena, "%s%s", kind_prefix(kind), name);
        TensorOut *out = out_add(outs, bind->arena, own, dtype, axes->size, axes->n);
        size_t count = 1;
        for (size_t a = 0; a < axes->n; a++)
            count *= (size_t)axes->size[a];
        memcpy(out->data, data, count * 4);
        return true;
    }
    for (; line; line = next_line(bind, kind, name, line)) {
        const char *theirs = their_name(bind->arena, kind, name, line);
        int64_t size[MAX_AXES];
        size_t n_dims;
        TensorOut *out = out_named(outs, theirs);
        if (!out) {
            if (!their_shape(bind, kind, name, line, axes, size, &n_dims))
                return false;
            out = out_add(outs, bind->arena, theirs, dtype, size, n_dims);
        }
        MapPlan plan;
        if (!weight_map_plan(bind->arena, bind->diag, line, axes, out->size, out->n_dims, &plan))
            return false;
        map_plan_add(&plan, dtype, kind == TENSOR_GRAD ? line->factor : 1 / line->factor, data, out->data);
    }
    return true;
}

Status tensor_outs_write(const TensorOuts *outs, Arena *arena, const char *path, StatusText *why)
{
    StSource *source = arena_array(arena, StSource, outs->n + 1);
    for (size_t i = 0; i < outs->n; i++) {
        const TensorOut *t = &outs->tensor[i];
        source[i] = (StSource){t->name, t->dtype == DTYPE_I32 ? ST_I32 : ST_F32, t->n_dims, t->size, t->data};
    }
    return st_write(path, source, outs->n, NULL, 0, why);
}
