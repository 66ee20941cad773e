// See train.h: checkpoints. A checkpoint is one safetensors file; the metadata holds what is not a tensor.
#include "train.h"

#include "safetensors.h"

#include <stdlib.h>
#include <string.h>

const char *run_path(Arena *arena, const char *folder, const char *name)
{
    size_t n = strlen(folder);
    return arena_printf(arena, "%s%s%s", folder, n && folder[n - 1] == '/' ? "" : "/", name);
}

static bool is_kept(const Slot *slot)
{
    return slot->kind == BUFFER_PARAM || slot->kind == BUFFER_STATE;
}

static const char *kept_name(Arena *arena, const Slot *slot)
{
    return arena_printf(arena, "%s.%s", slot->kind == BUFFER_PARAM ? "param" : "state", slot->name);
}

typedef struct Kept { const Net *net; const Slot *slot; } Kept;

static Kept *kept_slots(Arena *arena, const Net *const *nets, size_t n_nets, size_t *out_n)
{
    size_t most = 0, n = 0;
    const Slot *slots;
    for (size_t k = 0; k < n_nets; k++)
        most += nets[k] ? net_slots(nets[k], &slots) : 0;
    Kept *kept = arena_array(arena, Kept, most + 1);
    for (size_t k = 0; k < n_nets; k++) {
        size_t n_slots = nets[k] ? net_slots(nets[k], &slots) : 0;
        for (size_t i = 0; i < n_slots; i++) {
            bool first = is_kept(&slots[i]);
            for (size_t j = 0; j < k && first; j++)
                first = !nets[j] || !net_slot(nets[j], slots[i].kind, slots[i].name);
            if (first)
                kept[n++] = (Kept){nets[k], &slots[i]};
        }
    }
    *out_n = n;
    return kept;
}

enum { PIECE = 65536 };                     // elements that move at a time

static Status write_slots(StWriter *writer, const Kept *kept, size_t n, StatusText *why)
{
    void *piece = malloc(PIECE * 4);
    Status status = piece ? STATUS_OK : status_fail(why, STATUS_OUT_OF_MEMORY, "no memory to save");
    for (size_t i = 0; i < n; i++) {
        const Slot *slot = kept[i].slot;
        for (int64_t at = 0, m; at < slot->count && status == STATUS_OK; at += m) {
            m = slot->count - at < PIECE ? slot->count - at : PIECE;
            status = net_read_part((Net *)kept[i].net, slot, at, m, piece, why);
            if (status == STATUS_OK)
                status = st_write_data(writer, piece, (size_t)m * 4, why);
        }
    }
    free(piece);
    return status;
}

Status checkpoint_save(const char *path, const Net *const *nets, size_t n_nets, const Checkpoint *about,
                       StatusText *why)
{
    Arena scratch = {0};
    size_t n;
    const Kept *kept = kept_slots(&scratch, nets, n_nets, &n);
    StSource *source = arena_array(&scratch, StSource, n + 1);
    for (size_t i = 0; i < n; i++) {
        const Slot *slot = kept[i].slot;
        source[i] = (StSource){kept_name(&scratch, slot), slot->dtype == DTYPE_I32 ? ST_I32 : ST_F32, slot->n_axes,
                               slot->size, NULL};
    }
    StMeta meta[] = {{"mixc.checkpoint", "1"},
                     {"mixc.step", arena_printf(&scratch, "%lld", (long long)about->step)},
                     {"mixc.seed", arena_printf(&scratch, "%u", about->seed)},
                     {"mixc.data", about->data_state ? about->data_state : ""}};
    StWriter *writer = NULL;
    Status status = st_write_begin(path, source, n, meta, sizeof meta / sizeof *meta, &writer, why);
    if (status == STATUS_OK) {
        status = write_slots(writer, kept, n, why);
        Status end = st_write_end(writer, status == STATUS_OK, why);
        status = status == STATUS_OK ? end : status;
    }
    arena_free(&scratch);
    return status;
}

static Status read_about(Arena *arena, const Safetensors *st, Checkpoint *about, StatusText *why)
{
    const char *version = st_meta(st, "mixc.checkpoint"), *step = st_meta(st, "mixc.step"),
               *seed = st_meta(st, "mixc.seed"), *data = st_meta(st, "mixc.data");
    if (!version)
        return STATUS_OK;                   // plain weights
    if (strcmp(version, "1") || !step || !seed)
        return status_fail(why, STATUS_DAMAGED,
                           "%s: this checkpoint is of version %s, which this program does not read", st->path,
                           version);
    about->step = strtoll(step, NULL, 10);
    about->seed = (uint32_t)strtoul(seed, NULL, 10);
    about->data_state = data && data[0] ? arena_strdup(arena, data) : NULL;
    return STATUS_OK;
}

Status checkpoint_about(Arena *arena, const char *path, Checkpoint *out_about, StatusText *why)
{
    Arena scratch = {0};
    Safetensors st;
    Status status = st_open(&scratch, path, &st, why);
    if (status == STATUS_OK) {
        status = read_about(arena, &st, out_about, why);
        st_close(&st);
    }
    arena_free(&scratch);
    return status;
}

static Status read_slot(const Safetensors *st, Net *net, const Slot *slot, const StTensor *t, StatusText *why)
{
    bool same = t->n_dims == slot->n_axes;
    for (int a = 0; same && a < slot->n_axes; a++)
        same = t->size[a] == slot->size[a];
    if (!same)
        return status_fail(why, STATUS_BAD_MODEL,
                           "%s: `%s` has another shape than in the model; was it trained with other sizes?",
                           st->path, t->name);
    void *piece = malloc(PIECE * 4);
    Status status = piece ? STATUS_OK : status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for `%s`", t->name);
    for (int64_t at = 0, m; at < slot->count && status == STATUS_OK; at += m) {
        m = slot->count - at < PIECE ? slot->count - at : PIECE;
        StTensor part = st_part(t, at, m);
        status = slot->dtype == DTYPE_I32 ? st_read_i32(st, &part, piece, why) : st_read_f32(st, &part, piece, why);
        if (status == STATUS_OK)
            status = net_write_part(net, slot, at, m, piece, why);
    }
    free(piece);
    return status;
}

Status checkpoint_load(Arena *arena, const char *path, Net *net, bool with_states, bool average,
                       Checkpoint *out_about, StatusText *why)
{
    Arena scratch = {0};
    Safetensors st;
    Checkpoint about = {0};
    Status status = st_open(&scratch, path, &st, why);
    if (status != STATUS_OK)
        return arena_free(&scratch), status;
    status = read_about(arena, &st, &about, why);
    const Slot *slots;
    size_t n = net_slots(net, &slots);
    for (size_t i = 0; i < n && status == STATUS_OK; i++) {
        if (!is_kept(&slots[i]))
            continue;
        const char *name = kept_name(&scratch, &slots[i]);
        const StTensor *t = average && slots[i].kind == BUFFER_PARAM
                                ? st_find(&st, arena_printf(&scratch, "state.ema/%s", slots[i].name))
                                : NULL;
        t = t ? t : st_find(&st, name);
        if (!t)
            t = st_find(&st, slots[i].name);
        if (t)
            status = read_slot(&st, net, &slots[i], t, why);
        else if (slots[i].kind == BUFFER_PARAM || with_states)
            status = status_fail(why, STATUS_BAD_MODEL, "%s: there is no `%s`", path, name);
    }
    st_close(&st);
    arena_free(&scratch);
    if (status == STATUS_OK)
        *out_about = about;
    return status;
}
